//! A server that others wrote, if one is named: `FLOWSTATE_REAL_SERVER=http://127.0.0.1:4000/v1`, with
//! `FLOWSTATE_REAL_PROTOCOL` (`openai-chat`), `FLOWSTATE_REAL_MODEL` and `FLOWSTATE_REAL_KEY`. `FLOWSTATE_REAL_TOOLS=1`: the model
//! calls tools that it is offered.

use std::time::Duration;

use flowstate_engine::model::{Finish, ModelErrorKind, ModelMessage, Route, Secret, ToolResult};

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
    let protocol = PROTOCOLS.into_iter().find(|protocol| folder(*protocol) == wanted);
    let mut way = route(protocol.expect("a protocol"), "");
    way.base_url = Some(url);
    way.model = named("MODEL").unwrap_or(way.model);
    way.key = named("KEY").map(Secret::new);
    way.timeouts.idle = Duration::from_secs(60);

    let answer = Answer::of(ask(&way, question()).await);
    println!(
        "text in {} pieces: {:?}, {:?}",
        answer.texts.len(),
        answer.text(),
        answer.end
    );
    assert!(!answer.text().is_empty(), "{answer:?}");
    assert_eq!(*answer.finish(), Finish::Stop);
    if named("TOOLS").is_some() {
        calls_tools(&way).await;
    }
    // From another runtime, when the first one's connections are kept.
    let (other, asked) = (way.clone(), question());
    let elsewhere = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime
            .expect("a runtime")
            .block_on(async { Answer::of(ask(&other, asked).await).text() })
    });
    assert_eq!(elsewhere.join().expect("an answer"), answer.text());
    let again = Answer::of(ask(&way, question()).await);
    assert_eq!(again.text(), answer.text(), "when that runtime is gone: {again:?}");
    refuses(way).await;
}

/// Two steps: calls of tools, and an answer once the tools gave something.
async fn calls_tools(way: &Route) {
    let mut request = question();
    request.tools = tools();
    let answer = Answer::of(ask(way, request.clone()).await);
    for call in answer.calls() {
        println!("calls {} {} {}", call.id, call.name, call.arguments);
    }
    println!("{} deltas of arguments", answer.deltas.len());
    assert!(!answer.calls().is_empty(), "{answer:?}");
    assert_eq!(*answer.finish(), Finish::ToolCalls);
    let results = answer.calls().into_iter().map(|call| ToolResult {
        id: call.id.clone(),
        name: call.name.clone(),
        content: "sunny".to_owned(),
        is_error: false,
    });
    let results = results.collect();
    request.messages.push(answer.message());
    request.messages.push(ModelMessage::Tool { results });
    let answer = Answer::of(ask(way, request).await);
    println!("then: {:?}", answer.text());
    assert!(!answer.text().is_empty(), "{answer:?}");
    assert_eq!(*answer.finish(), Finish::Stop);
}

async fn refuses(mut way: Route) {
    if way.key.is_some() {
        way.key = Some(Secret::new("sk-wrong-0000"));
        let answer = Answer::of(ask(&way, question()).await);
        println!("a wrong key: {:?} {}", answer.error().kind, answer.error());
        let kind = answer.error().kind;
        assert!(
            matches!(kind, ModelErrorKind::Auth | ModelErrorKind::BadRequest),
            "{answer:?}"
        );
        assert!(!format!("{answer:?}").contains("sk-wrong-0000"), "{answer:?}");
    }
}
