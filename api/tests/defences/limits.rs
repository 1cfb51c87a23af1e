//! What is too much is refused at once, and there is room again when what took it has ended.

use std::time::Duration;

use flowstate::Limits;
use flowstate::auth::ApiKey;
use flowstate::auth::{ApiKeys, Identity};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{PATIENCE, Server, assert_refused, builder, request, rest, status, until};

/// A stream of a request that does not come: it is held for some seconds.
const HELD: &str = "GET /api/flows/chat/requests/none/stream HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
/// The head of a call whose body does not come.
const HALF: &str = "POST /api/flows/chat/actions/say HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9\r\nexpect: 100-continue\r\n\r\n";

/// Tries again until there is room.
async fn until_200(server: &Server, path: &str) {
    let began = Instant::now();
    loop {
        let answer = server.call("GET", path, "").await;
        if status(&answer) == 200 {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "no room again: {answer}");
    }
}

/// A connection whose call waits for its body.
async fn half(server: &Server) -> TcpStream {
    let mut socket = server.connect().await;
    socket.write_all(HALF.as_bytes()).await.expect("sent");
    // Asked for when the body is read: the call has its share by then.
    until(&mut socket, "100 Continue").await;
    socket
}

#[tokio::test]
async fn connections_are_bounded_per_address_and_in_all() {
    let few = Limits {
        connections_per_address: 2,
        ..Limits::default()
    };
    let none_left = Limits {
        connections: 2,
        ..Limits::default()
    };
    for (limits, expected) in [(few, 429), (none_left, 503)] {
        let server = Server::with(limits).await;
        let (first, second) = (half(&server).await, half(&server).await);
        let answer = server.call("GET", "/api/flows", "").await;
        assert_refused(&answer, expected, "a third connection");
        drop(first);
        until_200(&server, "/api/flows").await;
        drop(second);
        server.stop().await;
    }
}

#[tokio::test]
async fn calls_are_bounded_per_client_and_in_all_and_never_wait_in_line() {
    let few = Limits {
        calls_per_client: 2,
        ..Limits::default()
    };
    let none_left = Limits {
        calls: 2,
        ..Limits::default()
    };
    for (limits, expected) in [(few, 429), (none_left, 503)] {
        let server = Server::with(limits).await;
        let (first, second) = (half(&server).await, half(&server).await);
        assert_refused(&server.call("GET", "/api/flows", "").await, expected, "a third call");
        for open in ["/livez", "/readyz", "/api/flows/healthz"] {
            let answer = server.call("GET", open, "").await;
            assert!(
                ![429, 503].contains(&status(&answer)) || !answer.contains("too many"),
                "{open}: {answer}"
            );
        }
        drop(first);
        until_200(&server, "/api/flows").await;
        drop(second);
        server.stop().await;
    }
}

#[tokio::test]
async fn streams_are_bounded_and_one_that_waits_for_its_request_counts() {
    let few = Limits {
        streams_per_client: 1,
        ..Limits::default()
    };
    let none_left = Limits {
        streams: 1,
        ..Limits::default()
    };
    for (limits, expected) in [(few, 429), (none_left, 503)] {
        let server = Server::with(limits).await;
        let mut held = server.connect().await;
        held.write_all(HELD.as_bytes()).await.expect("sent");
        // The one that is held and this one race for the only place: one of them gets it.
        let second = server.send(HELD).await;
        let first = rest(&mut held).await;
        let mut statuses = [status(&first), status(&second)];
        statuses.sort_unstable();
        let mut wanted = [404, expected];
        wanted.sort_unstable();
        assert_eq!(statuses, wanted, "{first} {second}");
        let refused = if status(&first) == 404 { &second } else { &first };
        assert_refused(refused, expected, "a second stream");

        // Both have ended: there is room for a stream, and while it is open, for no other; calls are something else.
        let say = request(
            "POST",
            "/api/flows/chat/s/actions/say",
            r#"{"input":"hello","userId":"u","requestId":"r"}"#,
        );
        assert_eq!(status(&server.send(say).await), 202);
        let mut open = server.connect().await;
        open.write_all(request("GET", "/api/flows/sessions/s/stream", "").as_bytes())
            .await
            .expect("sent");
        until(&mut open, "event: request.created").await;
        assert_refused(&server.send(HELD).await, expected, "a stream beside an open one");
        server.assert_alive("too many streams").await;
        drop(open);
        let began = Instant::now();
        while status(&server.send(HELD).await) != 404 {
            assert!(began.elapsed() < PATIENCE, "no room again");
        }
        server.stop().await;
    }
}

#[tokio::test]
async fn bodies_on_their_way_share_so_much_memory() {
    let server = Server::with(Limits {
        bodies_bytes: 1_000,
        ..Limits::default()
    })
    .await;
    let body = format!(r#"{{"input":"hello","userId":"u","pad":"{}"}}"#, "x".repeat(600));
    let call = request("POST", "/api/flows/chat/actions/say", &body);
    let mut slow = server.connect().await;
    let (most, last) = call.split_at(call.len() - 10);
    slow.write_all(most.as_bytes()).await.expect("sent");
    let began = Instant::now();
    loop {
        // Until the first one's bytes have been read, this one finds room.
        let answer = server.send(&call).await;
        if status(&answer) == 503 {
            assert_refused(&answer, 503, "a second body");
            break;
        }
        assert_eq!(status(&answer), 202, "{answer}");
        assert!(began.elapsed() < PATIENCE, "there is room for ever");
    }
    slow.write_all(last.as_bytes()).await.expect("sent");
    assert_eq!(status(&rest(&mut slow).await), 202);
    assert_eq!(status(&server.send(&call).await), 202);
    server.stop().await;
}

#[tokio::test]
async fn a_client_is_the_user_of_a_credential_wherever_they_call_from() {
    let keys = ApiKeys::new();
    let token = |name: &str, user: &str| {
        let (key, text) = ApiKey::generate(name, &Identity::new("acme", user)).expect("a key");
        keys.add(key).expect("a new key");
        text
    };
    let (ann, anns_other, bob) = (token("1", "ann"), token("2", "ann"), token("3", "bob"));
    let limits = Limits {
        calls_per_client: 1,
        ..Limits::default()
    };
    let server = Server::start(builder().authenticate(keys.clone()).limits(limits)).await;
    let with = |text: &str, token: &str| text.replacen("host:", &format!("authorization: Bearer {token}\r\nhost:"), 1);
    let mut half = server.connect().await;
    half.write_all(with(HALF, &ann).as_bytes()).await.expect("sent");
    until(&mut half, "100 Continue").await;
    let get = request("GET", "/api/flows", "");
    for token in [&ann, &anns_other] {
        assert_refused(&server.send(with(&get, token)).await, 429, "the same user");
    }
    let spoofed = with(&get, &ann).replacen(
        "host:",
        "x-forwarded-for: 10.9.8.7\r\nforwarded: for=10.9.8.7\r\nhost:",
        1,
    );
    assert_refused(&server.send(spoofed).await, 429, "the same user, said to be elsewhere");
    assert_eq!(status(&server.send(with(&get, &bob)).await), 200);
    drop(half);
    server.stop().await;
}

#[tokio::test]
async fn heads_bodies_and_pauses_have_an_end() {
    let limits = Limits {
        head_time: Duration::from_millis(300),
        idle_time: Duration::from_millis(900),
        body_time: Duration::from_millis(300),
        body_bytes: 1_000,
        uri_bytes: 200,
        json_depth: 5,
        json_keys: 5,
        ..Limits::default()
    };
    let server = Server::with(limits).await;

    // Nothing at all, a head that never ends, and a second head on a connection that has had an answer.
    for (what, bytes, from, to) in [
        ("nothing", "", 900, 5_000),
        ("half a head", "GET /api/flows HTTP/1.1\r\nhost: loc", 300, 850),
        (
            "an answer and half a head",
            "GET /nowhere HTTP/1.1\r\nhost: localhost\r\n\r\nGET /",
            0,
            5_000,
        ),
    ] {
        let mut socket = server.connect().await;
        let began = Instant::now();
        socket.write_all(bytes.as_bytes()).await.expect("sent");
        rest(&mut socket).await;
        let took = began.elapsed().as_millis();
        assert!((from..to).contains(&took), "{what}: {took} ms");
    }
    // A byte now and then does not help.
    let mut socket = server.connect().await;
    let began = Instant::now();
    for byte in "GET /api/flows HTTP/1.1\r\nhost: localhost-and-a-long-name".bytes() {
        if socket.write_all(&[byte]).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    rest(&mut socket).await;
    assert!(began.elapsed() < Duration::from_secs(10));

    let slow = server.send(HALF).await;
    assert_eq!(
        status(slow.trim_start_matches("HTTP/1.1 100 Continue\r\n\r\n")),
        408,
        "{slow}"
    );
    let action = "/api/flows/chat/actions/say";
    let padded = |pad: String| format!(r#"{{"input":"hello","userId":"u","pad":{pad}}}"#);
    for (what, answer, expected) in [
        (
            "a long path",
            server.call("GET", &format!("/{}", "x".repeat(200)), "").await,
            414,
        ),
        (
            "a long query",
            server.call("GET", &format!("/api/flows?{}", "x".repeat(190)), "").await,
            414,
        ),
        (
            "a large body",
            server
                .call("POST", action, &padded(format!("\"{}\"", "x".repeat(1_000))))
                .await,
            413,
        ),
        (
            "a deep body",
            server.call("POST", action, &padded("[[[[[]]]]]".to_owned())).await,
            400,
        ),
        (
            "a wide body",
            server
                .call(
                    "POST",
                    action,
                    &padded(r#"{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1}"#.to_owned()),
                )
                .await,
            400,
        ),
        (
            "all of it at the bound",
            server.call("POST", action, &padded("[[[[]]]]".to_owned())).await,
            202,
        ),
    ] {
        assert_eq!(status(&answer), expected, "{what}: {answer}");
    }
    server.assert_alive("all of it").await;
    server.stop().await;
}
