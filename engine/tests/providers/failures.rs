//! What goes wrong, and how it is told.

use std::time::Duration;

use flowstate_engine::model::{ModelErrorKind, ModelMessage, ModelRequest, Protocol, Secret, UserPart, providers};
use serde_json::json;

use super::server::{End, Reply, Server};
use super::support::{Answer, KEY, PROTOCOLS, ask, exchange, question, recording, route};

/// A refusal as the protocol words it.
pub fn refusal(protocol: Protocol, status: u16, message: &str) -> Reply {
    let body = match protocol {
        Protocol::Anthropic => {
            json!({"type": "error", "error": {"type": "some_error", "message": message}, "request_id": "req_1"})
        }
        Protocol::Google => json!({"error": {"code": status, "message": message, "status": "SOME_ERROR"}}),
        _ => json!({"error": {"message": message, "type": "some_error", "param": null, "code": null}}),
    };
    Reply::status(status, body.to_string())
}

#[tokio::test]
async fn a_status_says_what_to_do() {
    use ModelErrorKind::{Auth, BadRequest, Provider, RateLimit};
    for protocol in PROTOCOLS {
        for (status, kind) in [
            (400, BadRequest),
            (401, Auth),
            (403, Auth),
            (404, BadRequest),
            (413, BadRequest),
            (422, BadRequest),
            (429, RateLimit),
            (500, Provider),
            (502, Provider),
            (503, Provider),
            (529, Provider),
            (307, BadRequest),
        ] {
            let reply =
                refusal(protocol, status, "Because of reasons.").header("location", "http://127.0.0.1:9/elsewhere");
            let (answer, _) = exchange(protocol, reply, question()).await;
            let error = answer.error();
            assert_eq!(
                (error.kind, error.status),
                (kind, Some(status)),
                "{protocol:?}: {error:?}"
            );
            assert_eq!(error.message, "Because of reasons.", "{protocol:?} {status}");
            assert_eq!(error.retryable, kind.is_retryable(), "{protocol:?} {status}");
            assert_eq!(error.model, route(protocol, "").name);
            assert_eq!(error.retry_after_ms, None);
            assert!(answer.parts.is_empty());
        }
    }
}

#[tokio::test]
async fn a_refusal_may_have_any_body() {
    for protocol in PROTOCOLS {
        for (body, message) in [
            ("", "502 Bad Gateway without a word"),
            ("<html>Bad gateway</html>", "<html>Bad gateway</html>"),
            (r#"{"detail":"Not now"}"#, "Not now"),
            (r#"{"error":"Not now"}"#, "Not now"),
            (
                "data: {\"error\": {\"message\": \"Not now\"}}\n\ndata: [DONE]",
                "Not now",
            ),
        ] {
            let (answer, _) = exchange(protocol, Reply::status(502, body), question()).await;
            assert_eq!(answer.error().message, message, "{protocol:?}");
        }
        let (answer, _) = exchange(protocol, Reply::status(502, "é".repeat(1 << 20)), question()).await;
        assert!(
            answer.error().message.chars().count() <= 2_002,
            "a long one is shortened"
        );
    }
}

#[tokio::test]
async fn a_provider_that_is_asked_too_much_says_when_to_come_back() {
    for protocol in PROTOCOLS {
        for (name, value, ms) in [
            ("retry-after", "7", 7_000),
            ("retry-after-ms", "1500", 1_500),
            ("retry-after", "Wed, 21 Oct 2015 07:28:30 GMT", 30_000),
        ] {
            let reply = refusal(protocol, 429, "Slow down.").header(name, value);
            let reply = reply.header("date", "Wed, 21 Oct 2015 07:28:00 GMT");
            let (answer, _) = exchange(protocol, reply, question()).await;
            assert_eq!(answer.error().kind, ModelErrorKind::RateLimit, "{protocol:?}");
            assert_eq!(answer.error().retry_after_ms, Some(ms), "{protocol:?} {name}: {value}");
        }
    }
    let spent = Reply::status(
        429,
        json!({"error": {"message": "Spent.", "code": "insufficient_quota"}}).to_string(),
    );
    let (answer, _) = exchange(Protocol::OpenAiChat, spent, question()).await;
    assert!(!answer.error().retryable, "what is used up is not back in a minute");
}

#[tokio::test]
async fn a_provider_may_fail_in_the_middle() {
    for protocol in PROTOCOLS {
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "error")), question()).await;
        assert_eq!(answer.text(), "Half of", "{protocol:?}");
        assert_eq!(
            answer.error().kind,
            ModelErrorKind::Provider,
            "{protocol:?}: {answer:?}"
        );
        assert!(
            answer.error().message.contains("[redacted]"),
            "{protocol:?}: {answer:?}"
        );
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "limited")), question()).await;
        assert_eq!(answer.text(), "Half of", "{protocol:?}");
        assert_eq!(
            answer.error().kind,
            ModelErrorKind::RateLimit,
            "{protocol:?}: {answer:?}"
        );
        assert_eq!(answer.error().message, "Rate limit reached.", "{protocol:?}");
        let expected = (protocol == Protocol::Google).then_some(7_000);
        assert_eq!(answer.error().retry_after_ms, expected, "{protocol:?}");
    }
}

#[tokio::test]
async fn an_answer_without_its_end_is_cut() {
    for protocol in PROTOCOLS {
        let whole = recording(protocol, "text");
        let half = whole.split("世").next().expect("a half").to_owned();
        // The piece before it is whole, since its events are.
        for end in [End::Whole, End::Closed] {
            let reply = Reply::events(half.clone()).then(end);
            let (answer, _) = exchange(protocol, reply, question()).await;
            assert_eq!(answer.text(), "Grüße", "{protocol:?}");
            assert_eq!(answer.error().kind, ModelErrorKind::Cut, "{protocol:?}: {answer:?}");
            assert!(answer.error().retryable);
        }
        let (answer, _) = exchange(protocol, Reply::events(""), question()).await;
        assert_eq!(answer.error().kind, ModelErrorKind::Cut, "{protocol:?}: {answer:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_read_is_malformed() {
    for protocol in PROTOCOLS {
        let (answer, _) = exchange(protocol, Reply::events(recording(protocol, "malformed")), question()).await;
        assert_eq!(answer.text(), "Half of", "{protocol:?}");
        assert_eq!(
            answer.error().kind,
            ModelErrorKind::Malformed,
            "{protocol:?}: {answer:?}"
        );
        for (body, content_type) in [("<html>Sign in</html>", "text/html"), ("{}", "application/json")] {
            let reply = Reply::events(body).header("content-type", content_type);
            let (answer, _) = exchange(protocol, reply, question()).await;
            assert_eq!(
                answer.error().kind,
                ModelErrorKind::Malformed,
                "{protocol:?}: {answer:?}"
            );
            assert!(
                answer.error().message.contains(content_type),
                "{protocol:?}: {answer:?}"
            );
        }
    }
}

#[tokio::test]
async fn nobody_there_is_a_network_failure() {
    for protocol in PROTOCOLS {
        // A port that was free a moment ago.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let nobody = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let answer = Answer::of(ask(&route(protocol, &nobody), question()).await);
        assert_eq!(answer.error().kind, ModelErrorKind::Network, "{protocol:?}: {answer:?}");
        assert!(answer.error().message.contains("refused"), "{answer:?}");
        // Somebody who does not speak TLS.
        let server = Server::start([Reply::events("")]).await;
        let answer = Answer::of(ask(&route(protocol, &server.url.replace("http:", "https:")), question()).await);
        assert_eq!(answer.error().kind, ModelErrorKind::Network, "{protocol:?}: {answer:?}");
        // Somebody who hangs up before a word.
        let server = Server::start([Reply::events("").then(End::Gone)]).await;
        let answer = Answer::of(ask(&route(protocol, &server.url), question()).await);
        assert_eq!(answer.error().kind, ModelErrorKind::Network, "{protocol:?}: {answer:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_asked_is_not_sent() {
    for protocol in PROTOCOLS {
        let mut odd_options = question();
        odd_options.provider_options = ["openai", "anthropic", "google"]
            .map(|name| (name.to_owned(), json!(7)))
            .into_iter()
            .collect();
        let mut odd_file = question();
        odd_file.messages.push(ModelMessage::User {
            parts: vec![UserPart::File {
                media_type: "application/x-unheard-of".to_owned(),
                data: "AA==".to_owned(),
                filename: None,
            }],
        });
        for (request, word) in [
            (odd_options, "no object"),
            (odd_file, "unheard-of"),
            (ModelRequest::new(vec![]), ""),
        ] {
            let server = Server::start([]).await;
            let answer = Answer::of(ask(&route(protocol, &server.url), request).await);
            assert_eq!(
                answer.error().kind,
                ModelErrorKind::BadRequest,
                "{protocol:?}: {answer:?}"
            );
            assert!(answer.error().message.contains(word), "{protocol:?}: {answer:?}");
            assert!(server.asked().is_empty());
        }
    }
}

#[tokio::test]
async fn a_key_that_no_header_can_have_makes_no_model() {
    for protocol in PROTOCOLS {
        let mut way = route(protocol, "http://127.0.0.1:9");
        way.key = Some(Secret::new(format!("{KEY}\n")));
        way.timeouts.connect = Duration::from_secs(1);
        let Err(error) = providers::connect(&way) else {
            panic!("a model with such a key")
        };
        assert_eq!(error.kind, ModelErrorKind::Unavailable);
        assert!(!format!("{error:?}").contains(KEY), "{error:?}");
    }
}
