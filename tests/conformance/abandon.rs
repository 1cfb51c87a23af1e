//! A call by a client that is gone once it has the head of the answer.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a body of JSON, reads the head of the answer, and resets the connection.
pub(crate) async fn abandon(url: &str, method: &str, path: &str, body: &str) -> Result<Value, String> {
    let call = async {
        let host = url.trim_start_matches("http://");
        let mut socket = TcpStream::connect(host).await?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.windows(4).any(|end| end == b"\r\n\r\n") {
            head.push(socket.read_u8().await?);
        }
        // What was not read is lost, and the server is told so.
        socket.set_zero_linger()?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&head).into_owned())
    };
    let head = call.await.map_err(|error| error.to_string())?;
    let status: Option<u16> = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Ok(json!({"status": status, "text": head}))
}
