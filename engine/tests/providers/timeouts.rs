//! How long is waited.

use std::time::Duration;

use flowstate_engine::model::{ModelErrorKind, ModelEvent, providers};
use futures_util::StreamExt;

use super::server::{End, Reply, Server};
use super::support::{Answer, PROTOCOLS, ask, question, recording, route};

const SHORT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn the_first_byte_must_come_in_time() {
    for protocol in PROTOCOLS {
        // Nothing at all; a head but no body; a refusal that is not told to its end still is one.
        for end in [End::Mute, End::Silence] {
            let server = Server::start([Reply::events("").then(end)]).await;
            let mut way = route(protocol, &server.url);
            way.timeouts.first_byte = SHORT;
            let answer = Answer::of(ask(&way, question()).await);
            assert_eq!(answer.error().kind, ModelErrorKind::Timeout, "{protocol:?}: {answer:?}");
            assert_eq!(answer.error().message, "no answer within 500ms", "{protocol:?}");
            assert!(answer.error().retryable);
        }
        let server = Server::start([Reply::status(503, "Busy").then(End::Silence)]).await;
        let mut way = route(protocol, &server.url);
        way.timeouts.first_byte = SHORT;
        let answer = Answer::of(ask(&way, question()).await);
        assert_eq!(
            (answer.error().status, answer.error().message.as_str()),
            (Some(503), "Busy")
        );
    }
}

#[tokio::test]
async fn what_goes_on_may_not_stop_for_long() {
    for protocol in PROTOCOLS {
        let half = recording(protocol, "text")
            .split("世")
            .next()
            .expect("a half")
            .to_owned();
        let server = Server::start([Reply::events(half).then(End::Silence)]).await;
        let mut way = route(protocol, &server.url);
        way.timeouts.idle = SHORT;
        let answer = Answer::of(ask(&way, question()).await);
        assert_eq!(answer.text(), "Grüße", "what came is told: {protocol:?}");
        assert_eq!(answer.error().kind, ModelErrorKind::Timeout, "{protocol:?}: {answer:?}");
        assert_eq!(
            answer.error().message,
            "nothing more of the answer within 500ms",
            "{protocol:?}"
        );
    }
}

#[tokio::test]
async fn an_answer_that_nobody_reads_any_more_is_stopped() {
    for protocol in PROTOCOLS {
        let half = recording(protocol, "text")
            .split("世")
            .next()
            .expect("a half")
            .to_owned();
        let server = Server::start([Reply::events(half).then(End::Silence)]).await;
        let model = providers::connect(&route(protocol, &server.url)).expect("a model");
        let mut answer = model.stream(question());
        let first = answer.next().await.expect("a piece").expect("no failure");
        assert_eq!(first, ModelEvent::Text("Grüße".to_owned()), "{protocol:?}");
        drop(answer);
        // The server waits until the other side goes.
        let gone = tokio::time::timeout(Duration::from_secs(20), server.served()).await;
        gone.expect("the connection is closed");
    }
}
