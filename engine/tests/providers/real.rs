//! A server that others wrote, if one is named: `FLOWSTATE_REAL_SERVER=http://127.0.0.1:4000/v1` with
//! `FLOWSTATE_REAL_PROTOCOL` (`openai-chat`), `FLOWSTATE_REAL_MODEL`, `FLOWSTATE_REAL_KEY`.

use std::time::Duration;

use flowstate_engine::model::{Finish, ModelErrorKind, Secret};

use super::support::{Answer, PROTOCOLS, ask, folder, question, route, tools};

fn named(name: &str) -> Option<String> {
    std::env::var(format!("FLOWSTATE_REAL_{name}"))
        .ok()
        .filter(|value| !value.is_empty())
}

#[tokio::test]
async fn a_server_that_others_wrote_answers() {
    let Some(url) = named("SERVER") else { return };
    let wanted = named("PROTOCOL").unwrap_or_else(|| "openai-chat".to_owned());
    let protocol = PROTOCOLS
        .into_iter()
        .find(|protocol| folder(*protocol) == wanted)
        .expect("a protocol");
    let mut way = route(protocol, "");
    way.base_url = Some(url);
    way.model = named("MODEL").unwrap_or_else(|| "mock".to_owned());
    way.key = named("KEY").map(Secret::new);
    way.timeouts.idle = Duration::from_secs(60);

    let answer = Answer::of(ask(&way, question()).await);
    println!("text in {} pieces: {:?}", answer.texts.len(), answer.text());
    assert!(!answer.text().is_empty(), "{answer:?}");
    assert_eq!(*answer.finish(), Finish::Stop);

    if let Some(model) = named("TOOL_MODEL") {
        let (mut way, mut request) = (way.clone(), question());
        way.model = model;
        request.tools = tools();
        let answer = Answer::of(ask(&way, request).await);
        println!("calls: {:?}, {} deltas", answer.calls(), answer.deltas.len());
        assert!(!answer.calls().is_empty(), "{answer:?}");
        assert_eq!(*answer.finish(), Finish::ToolCalls);
    }

    way.model = "no-such-model-0".to_owned();
    let answer = Answer::of(ask(&way, question()).await);
    println!("an unknown model: {}", answer.error());
    assert!(
        matches!(answer.error().kind, ModelErrorKind::BadRequest | ModelErrorKind::Auth),
        "{answer:?}"
    );

    if way.key.is_some() {
        way.key = Some(Secret::new("sk-wrong-0000"));
        let answer = Answer::of(ask(&way, question()).await);
        println!("a wrong key: {}", answer.error());
        assert_eq!(answer.error().kind, ModelErrorKind::Auth, "{answer:?}");
        assert!(!answer.error().message.contains("sk-wrong-0000"), "{answer:?}");
    }
}
