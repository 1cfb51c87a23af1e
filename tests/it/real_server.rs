//! The whole product with a server of models that others wrote, if one is named: `FLOWSTATE_REAL_SERVER=http://127.0.0.1:4000/v1`, with
//! `FLOWSTATE_REAL_MODEL` and `FLOWSTATE_REAL_KEY`. The command is started as a user would start it, with nothing but variables.

use flowstate_tests::http::{client, take_frames};
use flowstate_tests::process::Server;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_flowstate-under-test");

fn named(name: &str) -> Option<String> {
    std::env::var(format!("FLOWSTATE_REAL_{name}"))
        .ok()
        .filter(|value| !value.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_built_in_chat_is_answered_by_a_server_that_others_wrote() {
    let Some(url) = named("SERVER") else { return };
    let model = named("MODEL").unwrap_or_else(|| "gpt-4o-mini".to_owned());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = named("KEY").unwrap_or_else(|| "none".to_owned());
    let variables = [
        ("FLOWSTATE_MODEL", format!("openai-chat/{model}")),
        ("OPENAI_BASE_URL", url),
        ("OPENAI_API_KEY", key),
    ];
    let server = Server::start_with(BINARY, folder.path(), &[], &variables);
    let mut answers = Vec::new();
    for (request, message) in [("r1", "Hello, who are you?"), ("r2", "And again?")] {
        let body = json!({ "input": { "message": message }, "userId": "u", "requestId": request });
        let post = client().post(format!("{}/api/flows/hello-chat/s/actions/chat", server.url));
        assert_eq!(post.json(&body).send().await.expect("an answer").status(), 202);
        let stream = client().get(format!("{}/api/flows/hello-chat/requests/{request}/stream", server.url));
        let mut text = stream.send().await.expect("a stream").text().await.expect("a body");
        let frames = take_frames(&mut text);
        let deltas: Vec<&str> = frames.iter().filter_map(|frame| frame.data["delta"].as_str()).collect();
        println!("{message} {} pieces: {}", deltas.len(), deltas.concat());
        assert_eq!(
            frames.last().map(|frame| frame.kind()),
            Some("request.completed"),
            "{frames:?}"
        );
        answers.push(deltas.concat());
    }
    assert!(answers.iter().all(|answer| !answer.is_empty()), "{answers:?}");
}
