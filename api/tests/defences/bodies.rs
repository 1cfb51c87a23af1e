//! Bodies and queries that are malformed or malicious, beyond those of `tests/it/bad_input.rs`.

use serde_json::Value;

use super::{Server, builder, status};

const ACTION: &str = "/api/flows/chat/s/actions/say";

fn body_of(answer: &str) -> Value {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test]
async fn json_that_readers_could_take_differently_is_refused() {
    let server = Server::start(builder()).await;
    let commits = server.state.ready().await.expect("ready").log().last_commit();
    let mut wrong = Vec::new();
    let good = |more: &str| format!(r#"{{"input":"hi","userId":"u"{more}}}"#);
    for (what, body) in [
        ("a key twice", good(r#","userId":"v""#)),
        ("a key twice, one of them escaped", good(r#","user\u0049d":"v""#)),
        ("a key twice, deep inside", good(r#","metadata":{"a":[{"b":1,"b":2}]}"#)),
        ("half a surrogate pair", good(r#","metadata":{"a":"\ud800"}"#)),
        (
            "a surrogate pair in the wrong order",
            good(r#","metadata":{"a":"\udc00\ud800"}"#),
        ),
        ("a number beyond all", good(r#","metadata":{"a":1e400}"#)),
        ("no number", good(r#","metadata":{"a":NaN}"#)),
        ("no end", good(r#","metadata":{"a":Infinity}"#)),
        (
            "an integer that would be altered",
            good(r#","metadata":{"a":123456789012345678901234567890}"#),
        ),
        (
            "a negative integer that would be altered",
            good(r#","metadata":{"a":[-9223372036854775809]}"#),
        ),
        ("a leading zero", good(r#","metadata":{"a":01}"#)),
        ("a comment", good(r#"/* */"#)),
        ("a comma too many", good(",")),
        ("another object", format!("{}{}", good(""), good(""))),
        ("a byte order mark", format!("\u{feff}{}", good(""))),
        ("a raw line break in a text", good(",\"metadata\":{\"a\":\"x\ny\"}")),
        (
            "100,000 brackets",
            good(&format!(r#","metadata":{{"a":{}"#, "[".repeat(100_000))),
        ),
        (
            "100,000 objects",
            good(&format!(r#","metadata":{}"#, r#"{"a":"#.repeat(100_000))),
        ),
        ("NUL in an id", good(r#","sessionId":"a\u0000b""#)),
        ("lines in an id", good(r#","requestId":"r\r\ndata: x""#)),
        ("a Unicode line break in an id", good(r#","requestId":"r\u0085x""#)),
        ("a number for an id", good(r#","requestId":7"#)),
        ("an object for an id", good(r#","requestId":{"$ne":""}"#)),
    ] {
        let path = match body.contains("sessionId") {
            true => "/api/flows/chat/actions/say",
            false => ACTION,
        };
        let answer = server.call("POST", path, &body).await;
        if status(&answer) != 400 {
            wrong.push(format!("{what}: {answer}"));
        }
        assert!(answer.len() < 2_000, "{what}: what was sent is not sent back");
        server.assert_alive(what).await;
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(
        server.state.ready().await.expect("ready").log().last_commit(),
        commits,
        "nothing is kept"
    );

    // What only looks odd is kept as it is: names of prototypes, large numbers that are exact, `1e30`, NUL in content.
    let odd = good(
        r#","metadata":{"__proto__":{"x":1},"constructor":2,"a":[18446744073709551615,-9223372036854775808,1e30,"\u0000\u2028"]}"#,
    );
    let answer = server.call("POST", ACTION, &odd).await;
    assert_eq!(status(&answer), 202, "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn queries_are_clamped_and_never_reach_further() {
    let server = Server::start(builder()).await;
    let say = r#"{"input":"hi","userId":"u","requestId":"r"}"#;
    assert_eq!(status(&server.call("POST", ACTION, say).await), 202);
    for (query, sessions) in [
        ("", 1),
        ("?limit=-1", 1),
        ("?limit=1e9", 1),
        ("?limit=99999999999999999999999", 1),
        ("?offset=99999999999999999999999", 0),
        ("?offset=-1", 1),
        ("?userId=*", 0),
        ("?userId[]=a", 1),
        ("?userId=u%00", 0),
        ("?userId=%ff", 0),
        ("?flowKind=' or 1=1 --", 0),
        ("?%", 1),
    ] {
        let answer = server
            .call("GET", &format!("/api/flows/sessions{}", query.replace(' ', "%20")), "")
            .await;
        assert_eq!(status(&answer), 200, "{query}: {answer}");
        let body = body_of(&answer);
        assert_eq!(
            body["sessions"].as_array().map(Vec::len),
            Some(sessions),
            "{query}: {body}"
        );
    }
    for query in [
        "clientData=session.__raw",
        "clientData=user.secret,project.*",
        "item_types=*&include_items=true",
        "limit=-1&include_items=true&offset=x",
    ] {
        let answer = server
            .call("GET", &format!("/api/flows/sessions/s/state?{query}"), "")
            .await;
        assert_eq!(status(&answer), 200, "{query}: {answer}");
    }
    server.stop().await;
}
