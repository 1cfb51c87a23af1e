//! What is not spoken: whatever nobody asked to hear, or nobody sees.

use std::sync::Arc;

use flowstate_engine::item::{Audience, Role};
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_log::Options;
use serde_json::json;

use super::support::*;

#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
struct Answer {
    text: String,
}

/// Runs it with this metadata, and gives what it was said aloud.
async fn spoken_of<M>(
    block: impl IntoBlock<String, String, M>,
    answer: &str,
    metadata: serde_json::Value,
) -> Vec<String> {
    let (mouth, voice) = (Mouth::default().says(answer), Voice::default());
    let engine = engine(block, &mouth, &voice).await;
    let mut submission = submission();
    submission.metadata = metadata.as_object().cloned();
    engine.submit(submission).await.expect("accepted");
    let facts = facts(&engine).await;
    assert!(matches!(facts.last(), Some(Fact::RequestCompleted(_))), "{facts:?}");
    voice.texts()
}

#[tokio::test]
async fn a_request_that_does_not_ask_for_it_is_not_spoken_to() {
    for metadata in [
        json!(null),
        json!({}),
        json!({"voice": {}}),
        json!({"voice": {"ttsEnabled": false}}),
        json!({"voice": {"ttsEnabled": "true"}}),
        json!({"voice": true}),
        json!({"ttsEnabled": true}),
    ] {
        let texts = spoken_of(asks(), "One. Two.", metadata.clone()).await;
        assert_eq!(texts, [""; 0], "{metadata}");
    }
    let wanted = json!({"voice": {"ttsEnabled": true, "inputModality": "voice"}});
    assert_eq!(spoken_of(asks(), "One. Two.", wanted).await, ["One.", "Two."]);
}

#[tokio::test]
async fn a_flow_without_a_voice_says_nothing() {
    let mouth = Mouth::default().says("One. Two.");
    let flow = flow("f").action("a", action(asks())).instance("i").expect("a flow");
    let engine = builder(flow, &mouth)
        .open(Options::in_memory())
        .await
        .expect("an engine");
    submit(&engine).await;
    assert_eq!(told(&facts(&engine).await), ["said", "message completed", "end"]);
}

#[tokio::test]
async fn what_clients_do_not_see_or_is_no_message_is_not_spoken() {
    let wanted = || json!({"voice": {"ttsEnabled": true}});
    for audience in [Audience::History, Audience::Trace] {
        let texts = spoken_of(asks().emit_audience(audience), "One. Two.", wanted()).await;
        assert_eq!(texts, [""; 0], "{audience:?}");
    }
    assert_eq!(spoken_of(asks().emit(false), "One. Two.", wanted()).await, [""; 0]);
    let structured = sequencer::<String>("s")
        .then(asks().output::<Answer>())
        .map(|answer: Answer, _| answer.text);
    assert_eq!(
        spoken_of(structured, r#"{"text": "One. Two."}"#, wanted()).await,
        [""; 0]
    );
    let in_work = sequencer::<String>("s").work(asks());
    assert_eq!(spoken_of(in_work, "One. Two.", wanted()).await, [""; 0]);
}

#[tokio::test]
async fn other_roles_and_thoughts_are_not_spoken() {
    let block = handler("says").run(|_: String, ctx: Ctx| async move {
        ctx.emit().message_as(Role::User, "One. Two.").await?;
        ctx.emit().message("Whole. Message.").await?;
        let thought = ctx.emit().open_reasoning().await?;
        thought.append("Three. Four. ").await?;
        thought.done().await?;
        Ok(String::new())
    });
    let texts = spoken_of(block, "", json!({"voice": {"ttsEnabled": true}})).await;
    assert_eq!(texts, [""; 0]);
}

#[tokio::test]
async fn nothing_but_the_flow_s_own_requests_knows_of_the_voice() {
    let voice = Voice::default();
    let mute = flow("f").action("a", action(asks())).instance("i").expect("a flow");
    let config = VoiceConfig::tts(Arc::new(voice.clone()));
    let other = flow("other").action("a", action(asks())).voice(config);
    let mouth = Mouth::default().says("One. Two.");
    let builder = builder(mute, &mouth).flow(other.instance("i").expect("a flow"));
    let engine = builder.open(Options::in_memory()).await.expect("an engine");
    submit(&engine).await;
    facts(&engine).await;
    assert_eq!(voice.texts(), [""; 0]);
}
