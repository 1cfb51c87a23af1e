//! Which models flows get for the names that they use.

use std::sync::Arc;

use flowstate_engine::RequestStatus;
use flowstate_engine::model::{Models, Preset, Reply, ScriptedModel};
use flowstate_engine::prelude::*;
use flowstate_log::Options;
use serde_json::json;

fn asking(model: &str) -> Flow {
    let asks = generator::<String>("asks").model(model).user(|text, _| text.clone());
    flow("chat")
        .action("ask", action(asks))
        .instance("default")
        .expect("a flow")
}

async fn engine(flow: Flow, models: Models) -> Engine {
    let builder = Engine::builder().flow(flow).models(models);
    builder.open(Options::in_memory()).await.expect("an engine")
}

#[tokio::test]
async fn a_model_that_cannot_be_reached_fails_its_request_with_its_name_and_the_missing_variable() {
    for (name, parts) in [
        ("gpt-5-mini", ["openai/gpt-5-mini", "OPENAI_API_KEY"]),
        ("anthropic/claude-x", ["anthropic/claude-x", "ANTHROPIC_API_KEY"]),
        ("vercel/openai/gpt-5", ["vercel/openai/gpt-5", "AI_GATEWAY_API_KEY"]),
        ("preset/fast", ["preset/fast", "GEMINI_API_KEY"]),
    ] {
        let engine = engine(asking(name), Models::new().env(|_| None)).await;
        let result = engine.run("chat", "ask", "hi").await.expect("run");
        assert_eq!(result.status, RequestStatus::Failed);
        let error = result.error.expect("an error");
        assert_eq!((error.code(), error.is_retryable()), ("model_error", false));
        for part in parts {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        engine.close().await;
    }
}

#[tokio::test]
async fn a_name_that_means_nothing_is_refused_when_the_engine_is_opened() {
    for (name, part) in [
        ("gtp-5", "no model is named \"gtp-5\""),
        ("opnai/gpt-5", "there is no such provider"),
        ("preset/none", "there is no such preset"),
        ("vercel/gpt-5", "a gateway's model is named with its provider"),
    ] {
        let builder = Engine::builder().flow(asking(name));
        let error = builder
            .open(Options::in_memory())
            .await
            .err()
            .expect("an error")
            .to_string();
        let place = "flow \"chat\", action \"ask\", block \"asks\": ";
        assert!(error.contains(place) && error.contains(part), "{error}");
    }
    let builder = Engine::builder().models(Models::new().intent("chat", ["gpt-5"]));
    let error = builder
        .open(Options::in_memory())
        .await
        .err()
        .expect("an error")
        .to_string();
    assert!(error.contains("no default model"), "{error}");
}

#[tokio::test]
async fn names_lead_to_the_models_that_answer() {
    let scripted = |name: &str| Arc::new(ScriptedModel::script([Reply::text(name)]).named(name));
    for (asked, answer) in [
        ("b", "b"),
        ("preset/mine", "b"),
        ("intent/chat", "b"),
        ("intent/unknown", "a"),
    ] {
        let models = Models::new()
            .model(scripted("a"))
            .model(scripted("b"))
            .preset("mine", Preset::new(["openai/gpt-5", "b"]))
            .intent("chat", ["openai/gpt-5", "b", "a"]);
        let engine = engine(asking(asked), models).await;
        let result = engine.run("chat", "ask", "hi").await.expect("run");
        assert_eq!(result.output, answer, "{asked}: {:?}", result.error);
        engine.close().await;
    }
}

#[tokio::test]
async fn any_block_may_ask_what_a_name_means() {
    let tell = handler("tell").run(|name: String, ctx: Ctx| async move {
        let resolved = ctx.resolve_model(name.as_str())?;
        let names = resolved
            .candidates
            .iter()
            .map(|candidate| candidate.model.name().to_owned());
        Ok((resolved.requested.clone(), names.collect::<Vec<_>>()))
    });
    let flow = flow("chat")
        .action("tell", action(tell))
        .instance("default")
        .expect("a flow");
    let engine = engine(
        flow,
        Models::new().preset("mine", Preset::new(["openai/gpt-5", "scripted"])),
    )
    .await;
    let told = engine.run("chat", "tell", "preset/mine").await.expect("run");
    assert_eq!(told.output, json!(["preset/mine", ["scripted"]]));
    let failed = engine.run("chat", "tell", "openai/gpt-5").await.expect("run");
    assert!(
        failed
            .error
            .is_some_and(|error| error.message().contains("OPENAI_API_KEY"))
    );
    assert_eq!(engine.models().default_model(), "scripted");
}
