//! Heads of calls that are malformed or malicious: framing, lengths, methods, hosts, origins.

use flowstate::Limits;

use super::{Server, builder, request, status};

const ACTION: &str = "/api/flows/chat/actions/say";
const BODY: &str = r#"{"input":"hi","userId":"u"}"#;

/// A POST with these headers, which says nothing of its length itself.
fn post(headers: &str, body: &str) -> String {
    format!(
        "POST {ACTION} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n{headers}\r\n{body}"
    )
}

#[tokio::test]
async fn a_head_that_two_servers_could_read_differently_is_refused_and_the_connection_closed() {
    let server = Server::start(builder()).await;
    let commits = server.state.ready().await.expect("ready").log().last_commit();
    let length = BODY.len();
    let chunked = format!("{length:x}\r\n{BODY}\r\n0\r\n\r\n");
    let mut wrong = Vec::new();
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    for (what, bytes) in [
        (
            "two lengths",
            post(&format!("content-length: {length}\r\ncontent-length: 3\r\n"), BODY),
        ),
        (
            "a list of lengths",
            post(&format!("content-length: {length}, 3\r\n"), BODY),
        ),
        ("a signed length", post(&format!("content-length: +{length}\r\n"), BODY)),
        ("a negative length", post("content-length: -1\r\n", BODY)),
        ("a length in hexadecimal", post("content-length: 0x1b\r\n", BODY)),
        (
            "a length beyond all numbers",
            post("content-length: 99999999999999999999999\r\n", BODY),
        ),
        (
            "an encoding that is not chunks",
            post("transfer-encoding: identity\r\n", BODY),
        ),
        (
            "chunks and something after them",
            post("transfer-encoding: chunked, identity\r\n", &chunked),
        ),
        ("chunks in disguise", post("transfer-encoding: xchunked\r\n", &chunked)),
        (
            "a space before the colon",
            post(&format!("content-length : {length}\r\n"), BODY),
        ),
        (
            "a folded header",
            post(
                &format!("x-a: 1\r\n content-length: 3\r\ncontent-length: {length}\r\n"),
                BODY,
            ),
        ),
        (
            "NUL in a header",
            post(&format!("x-a: a\0b\r\ncontent-length: {length}\r\n"), BODY),
        ),
        (
            "a bare CR in a header",
            post(&format!("x-a: a\rb\r\ncontent-length: {length}\r\n"), BODY),
        ),
        (
            "a header without a name",
            post(&format!(": x\r\ncontent-length: {length}\r\n"), BODY),
        ),
        (
            "a chunk length that is none",
            post("transfer-encoding: chunked\r\n", "zz\r\nhi\r\n0\r\n\r\n"),
        ),
        (
            "a chunk length beyond all numbers",
            post("transfer-encoding: chunked\r\n", "fffffffffffffffff\r\nhi\r\n"),
        ),
        (
            "a chunk that is longer than it says",
            post("transfer-encoding: chunked\r\n", &format!("2\r\n{BODY}\r\n0\r\n\r\n")),
        ),
        (
            "no version",
            format!("GET /api/flows\r\nhost: localhost\r\n\r\n{smuggled}"),
        ),
        (
            "another version",
            format!("GET /api/flows HTTP/3.0\r\nhost: localhost\r\n\r\n{smuggled}"),
        ),
        (
            "HTTP/2",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0".to_owned(),
        ),
        (
            "a space in the path",
            format!("GET /api/ flows HTTP/1.1\r\nhost: localhost\r\n\r\n{smuggled}"),
        ),
        (
            "a header line too early",
            format!("\0GET / HTTP/1.1\r\nhost: localhost\r\n\r\n{smuggled}"),
        ),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}".to_owned()),
    ] {
        let answer = server.send(&bytes).await;
        if ![0, 400].contains(&status(&answer)) {
            wrong.push(format!("{what}: {answer}"));
        }
        assert_eq!(
            answer.matches("HTTP/1.1 ").count(),
            usize::from(status(&answer) > 0),
            "{what}: one answer: {answer}"
        );
        server.assert_alive(what).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        server.state.ready().await.expect("ready").log().last_commit(),
        commits,
        "nothing is kept"
    );
    server.stop().await;
}

#[tokio::test]
async fn nothing_is_read_behind_a_call_in_chunks() {
    let server = Server::start(builder()).await;
    let smuggled = "GET /smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let chunked = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
    let (length, chunks) = ("content-length: 5\r\n", "transfer-encoding: chunked\r\n");
    for headers in [
        format!("{length}{chunks}"),
        format!("{chunks}{length}"),
        chunks.to_owned(),
    ] {
        let call = post(&headers, &chunked).replacen("connection: close\r\n", "", 1);
        let answer = server.send(call + smuggled).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{headers}: {answer}");
        assert_eq!(status(&answer), 202, "{headers}: {answer}");
    }
    server.stop().await;
}

#[tokio::test]
async fn heads_have_a_bound_and_methods_and_hosts_are_the_known_ones() {
    let server = Server::start(builder()).await;
    let get =
        |headers: &str| format!("GET /api/flows HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    let many = |count: usize| (0..count).map(|n| format!("x-{n}: 1\r\n")).collect::<String>();
    let Limits {
        headers,
        head_bytes,
        uri_bytes,
        ..
    } = Limits::default();
    let mut wrong = Vec::new();
    let preflight = "origin: http://evil.example\r\naccess-control-request-method: POST\r\n";
    for (what, bytes, expected) in [
        ("as many headers as there may be", get(&many(headers - 2)), 200),
        ("one more", get(&many(headers - 1)), 431),
        ("10,000 headers", get(&many(10_000)), 431),
        (
            "a header of 1 MiB",
            get(&format!("x-a: {}\r\n", "x".repeat(1 << 20))),
            431,
        ),
        (
            "a header as large as the head",
            get(&format!("x-a: {}\r\n", "x".repeat(head_bytes))),
            431,
        ),
        (
            "a header of half of it",
            get(&format!("x-a: {}\r\n", "x".repeat(head_bytes / 2))),
            200,
        ),
        (
            "a long path",
            request("GET", &format!("/{}", "x".repeat(uri_bytes)), ""),
            414,
        ),
        (
            "a path of 64 KiB",
            request("GET", &format!("/{}", "x".repeat(64 << 10)), ""),
            431,
        ),
        ("TRACE", request("TRACE", "/api/flows", ""), 405),
        ("CONNECT", request("CONNECT", "localhost:80", ""), 404),
        ("a verb of one's own", request("FLOW", "/api/flows", ""), 405),
        ("a verb in small letters", request("get", "/api/flows", ""), 405),
        (
            "a method that is overridden",
            request("GET", ACTION, "").replacen("host:", "x-http-method-override: POST\r\nhost:", 1),
            405,
        ),
        ("OPTIONS of everything", request("OPTIONS", "*", ""), 404),
        (
            "a preflight of a foreign page",
            request("OPTIONS", ACTION, "").replacen("host:", &format!("{preflight}host:"), 1),
            405,
        ),
        (
            "a foreign host",
            get("").replacen("localhost", "attacker.example", 1),
            421,
        ),
        (
            "a foreign host that looks like it",
            get("").replacen("localhost", "localhost.attacker.example", 1),
            421,
        ),
        (
            "a host with a user",
            get("").replacen("localhost", "localhost@attacker.example", 1),
            421,
        ),
        (
            "an absolute address of a foreign host",
            get("").replacen("/api", "http://attacker.example/api", 1),
            421,
        ),
        ("no host", get("").replacen("host: localhost\r\n", "", 1), 400),
        ("two hosts", get("host: localhost\r\n"), 400),
        (
            "HTTP/1.0 without a host",
            "GET /api/flows HTTP/1.0\r\n\r\n".to_owned(),
            400,
        ),
        ("a token in the query", request("GET", "/api/flows?token=x", ""), 200),
        (
            "a path that climbs",
            request("GET", "/api/flows/../../etc/passwd", ""),
            404,
        ),
        (
            "a path that climbs, encoded",
            request("GET", "/api/flows/%2e%2e/%2e%2e/etc/passwd", ""),
            404,
        ),
        ("a path with NUL", request("GET", "/api/flows/sessions/%00", ""), 404),
        (
            "a path with lines",
            request("GET", "/api/flows/sessions/a%0d%0aset-cookie:%20x", ""),
            404,
        ),
        ("doubled slashes", request("GET", "//api//flows", ""), 404),
    ] {
        let answer = server.send(&bytes).await;
        if status(&answer) != expected {
            let answer: String = answer.chars().take(300).collect();
            wrong.push(format!("{what}, not {expected}: {answer}"));
        }
        assert!(!answer.contains("\nset-cookie:"), "{what}: {answer}");
        assert!(!answer.contains("access-control-allow-origin"), "{what}: {answer}");
        server.assert_alive(what).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // Pages of other sites, and what they embed; links to here are followed.
    for (headers, expected) in [
        ("origin: http://evil.example\r\n", 403),
        ("origin: null\r\n", 403),
        ("origin: http://localhost:1\r\n", 403),
        ("origin: http://localhost\r\n", 200),
        ("sec-fetch-site: cross-site\r\nsec-fetch-mode: no-cors\r\n", 403),
        ("sec-fetch-site: cross-site\r\n", 403),
        ("sec-fetch-site: cross-site\r\nsec-fetch-mode: navigate\r\n", 200),
        ("sec-fetch-site: same-origin\r\nsec-fetch-mode: cors\r\n", 200),
        ("sec-fetch-site: none\r\nsec-fetch-mode: navigate\r\n", 200),
    ] {
        let answer = server.send(get(headers)).await;
        assert_eq!(status(&answer), expected, "{headers}: {answer}");
    }
    // Many calls at once on one connection are answered in their order.
    let one = "GET /api/flows/capabilities HTTP/1.1\r\nhost: localhost\r\n\r\n".repeat(1_000);
    let answers = server.send(one + &request("GET", "/last", "")).await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 1_000);
    assert!(answers.ends_with('}') && answers.contains("HTTP/1.1 404"));
    server.stop().await;
}
