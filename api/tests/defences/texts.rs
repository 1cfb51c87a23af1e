//! Names and texts of callers never become a part of the framing, of a stream or of anything else.

use serde_json::{Value, json};

use super::{Server, builder, status};

/// What would end a line, a frame or a text somewhere.
const NASTY: &str = "a\n\nevent: request.failed\ndata: {}\n\nid: x:9\rb\r\nc\u{2028}d\u{2029}e\u{85}f\u{0}g\u{b}h\u{c}i\u{feff}\u{1b}[31m</script>";

/// The events of a stream as a browser reads them: lines end with CR, LF or both.
fn events(stream: &str) -> Vec<(String, String, String)> {
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    let frames = lines
        .split("\n\n")
        .filter(|frame| !frame.is_empty() && !frame.starts_with(':'));
    let field = |frame: &str, name: &str| {
        let values = frame
            .split('\n')
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        values.map(str::to_owned).collect::<Vec<_>>().join("\n")
    };
    frames
        .map(|frame| (field(frame, "id"), field(frame, "event"), field(frame, "data")))
        .collect()
}

/// The body of an answer in chunks.
fn dechunked(answer: &str) -> String {
    let (_, mut rest) = answer.split_once("\r\n\r\n").expect("a body");
    let mut body = String::new();
    while let Some((length, more)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).expect("a length");
        body.push_str(&more[..length]);
        rest = &more[length + 2..];
        if length == 0 {
            break;
        }
    }
    body
}

#[tokio::test]
async fn what_a_model_or_a_caller_says_stays_text_and_ids_keep_their_frames() {
    let server = Server::start(builder()).await;
    // Ids may have anything that is not a control character.
    let request = "r:1 \u{2028}é/..%2F?#&=\u{200b}\u{202e}";
    let body = json!({ "input": NASTY, "userId": "u", "requestId": request }).to_string();
    let answer = server.call("POST", "/api/flows/chat/s/actions/say", &body).await;
    assert_eq!(status(&answer), 202, "{answer}");

    let path: String = request.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let answer = server
        .call("GET", &format!("/api/flows/chat/requests/{path}/stream"), "")
        .await;
    assert_eq!(status(&answer), 200, "{answer}");
    let stream = dechunked(&answer);
    let events = events(&stream);
    let mut said = String::new();
    for (number, (id, event, data)) in events.iter().enumerate() {
        let data: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        assert_eq!(data["type"], event.as_str(), "event {number}");
        assert_eq!(id, &format!("{request}:{}", data["sequence_number"]), "event {number}");
        if event == "content.delta" {
            said.push_str(data["delta"].as_str().unwrap_or_default());
        }
    }
    assert_eq!(
        events.last().map(|(_, event, _)| event.as_str()),
        Some("request.completed")
    );
    let texts = events
        .iter()
        .filter(|(_, _, data)| data.contains("request.failed"))
        .count();
    assert!(texts > 0, "the nasty text was in the stream");
    let input = serde_json::to_string(NASTY).expect("JSON");
    assert!(
        stream.contains(input.trim_matches('"').split('\\').next().expect("a part")),
        "{said}"
    );
    server.assert_alive("all of it").await;
    server.stop().await;
}

#[tokio::test]
async fn hostile_cursors_are_as_good_as_none() {
    let server = Server::start(builder()).await;
    let say = r#"{"input":"hi","userId":"u","requestId":"r"}"#;
    assert_eq!(
        status(&server.call("POST", "/api/flows/chat/s/actions/say", say).await),
        202
    );
    let stream = async |query: &str, header: &str| {
        let header = match header {
            "" => String::new(),
            value => format!("last-event-id: {value}\r\n"),
        };
        let call = format!(
            "GET /api/flows/chat/requests/r/stream{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{header}\r\n"
        );
        let answer = server.send(call).await;
        (status(&answer), answer)
    };
    let (_, whole) = stream("", "").await;
    let whole = events(&dechunked(&whole)).len();
    assert!(whole > 3);
    for (query, header) in [
        ("?starting_after=-1", ""),
        ("?starting_after=x", ""),
        ("?starting_after=", ""),
        ("?starting_after=1.5", ""),
        ("", "x"),
        ("", "r:"),
        ("", "r:x"),
        ("", "other:3"),
        ("", ":"),
        ("", "r:-3"),
        ("", "\u{e9}"),
        ("?starting_after=0", "r:2"),
    ] {
        let (status, answer) = stream(query, header).await;
        assert_eq!(status, 200, "{query} {header}: {answer}");
        assert_eq!(events(&dechunked(&answer)).len(), whole, "{query} {header}");
    }
    let (status_of_long, _) = stream("", &"9".repeat(1 << 20)).await;
    assert_eq!(status_of_long, 431);
    server.stop().await;
}
