//! Context that is made of states: which ones, when they are read, and what it adds.

use flowstate_engine::prelude::*;
use flowstate_engine::{ContextFn, Submission};
use serde_json::json;

use super::support::*;

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Research {
    found: Vec<String>,
    mode: Option<String>,
}

/// The part of the session that the context is made of.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Found {
    found: Vec<String>,
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Settings {
    language: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            language: "Dutch".into(),
        }
    }
}

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Project {
    rules: u32,
}

fn found() -> ContextFn {
    context_fn(|session: Found| session.found.join(","))
}

/// A flow that adds its input to what was found, then asks, with all three states declared.
fn flow_of(asks: flowstate_engine::Generator<String>) -> Flow {
    let find = handler("find").run(|word: String, ctx: Ctx| async move {
        if !word.is_empty() {
            ctx.session::<Found>().push("found", &word).await?;
        }
        Ok(word)
    });
    let user = |_: &String, _: Ctx| "now".to_owned();
    let chain = sequencer::<String>("chain").then(find).then(asks.user(user));
    let flow = flow("f").action("a", action(chain)).session(scope::<Research>());
    let flow = flow.user(scope::<Settings>()).project(scope::<Project>());
    flow.instance("i").expect("a flow")
}

/// What a model hears that is asked with this context once `word` was found.
async fn heard(context: ContextFn, word: &str) -> Vec<String> {
    let script = Script::new([says("ok")]);
    let engine = engine_of(&script, flow_of(generator("g").context(context))).await;
    run_on(&engine, "s", word).await.output();
    script.heard().remove(0)
}

#[tokio::test]
async fn it_is_made_of_one_state_or_two_or_three() {
    assert_eq!(heard(found(), "tea").await, ["system: tea", "user: now"]);
    let two = context_fn(|session: Found, user: Settings| format!("{} in {}", session.found.len(), user.language));
    assert_eq!(heard(two, "tea").await, ["system: 1 in Dutch", "user: now"]);
    let three = context_fn(|session: Research, user: Settings, project: Option<Project>| {
        assert!(session.mode.is_none());
        format!("{} {:?}", user.language, project.map(|project| project.rules))
    });
    assert_eq!(heard(three, "tea").await, ["system: Dutch None", "user: now"]);
}

#[tokio::test]
async fn the_project_is_there_if_the_session_has_one() {
    let rule = handler("rule").run(|word: String, ctx: Ctx| async move {
        let project = ctx.project::<Project>().expect("a project");
        project.inc("rules", 3).await?;
        Ok(word)
    });
    let ctx = context_fn(|_: Found, _: Settings, project: Option<Project>, ctx: Ctx| {
        let rules = project.map(|project| project.rules);
        rules.map(|rules| format!("{rules} rules of {}", ctx.project_id().unwrap_or("nobody")))
    });
    let chain = sequencer::<String>("chain").then(rule).then(asks().context(ctx));
    let flow = flow("f").action("a", action(chain)).session(scope::<Research>());
    let flow = flow.user(scope::<Settings>()).project(scope::<Project>());
    let script = Script::new([says("ok")]);
    let engine = engine_of(&script, flow.instance("i").expect("a flow")).await;
    let submission = Submission {
        flow: "f".into(),
        action: "a".into(),
        input: Some("now".into()),
        user: "u".into(),
        project: Some("boats".into()),
        ..Submission::default()
    };
    let ran = engine.run_submission(submission).await.expect("a result");
    assert_eq!(ran.output, "ok", "{:?}", ran.error);
    assert_eq!(script.heard(), [["system: 3 rules of boats", "user: now"]]);
}

#[tokio::test]
async fn it_takes_a_ctx_and_gives_results_and_futures() {
    let with_ctx = context_fn(|session: Found, ctx: Ctx| format!("{} for {}", session.found.join(","), ctx.user_id()));
    assert_eq!(heard(with_ctx, "tea").await[0], "system: tea for u");
    let in_time = context_fn(|session: Found, _: Settings, ctx: Ctx| async move {
        let again = ctx.session::<Found>().get().await?;
        Ok(format!("{} {}", session.found.join(","), again.found.len()))
    });
    assert_eq!(heard(in_time, "tea").await[0], "system: tea 1");
    let result = context_fn(|session: Found| Ok::<_, BlockError>(session.found.first().cloned()));
    assert_eq!(heard(result, "tea").await[0], "system: tea");
}

#[tokio::test]
async fn it_is_read_anew_before_every_step() {
    let note = handler("note").run(|query: Query, ctx: Ctx| async move {
        ctx.session::<Found>().push("found", &query.q).await?;
        Ok("noted".to_owned())
    });
    let script = Script::new([
        calls([call("1", "note", json!({"q": "tea"}))]),
        calls([call("2", "note", json!({"q": "rum"}))]),
        says("done"),
    ]);
    let block = generator("g").context(found()).context("Fixed.").tool(note);
    let engine = engine_of(&script, flow_of(block)).await;
    run_on(&engine, "s", "").await.output();
    let systems: Vec<Vec<String>> = script
        .heard()
        .into_iter()
        .map(|heard| heard.into_iter().filter(|line| line.starts_with("system")).collect())
        .collect();
    assert_eq!(
        systems,
        [
            vec!["system: Fixed."],
            vec!["system: tea", "system: Fixed."],
            vec!["system: tea,rum", "system: Fixed."]
        ]
    );
}

#[tokio::test]
async fn nothing_to_say_adds_nothing() {
    assert_eq!(heard(found(), "").await, ["user: now"]);
    let none = context_fn(|session: Research| session.mode);
    assert_eq!(heard(none, "tea").await, ["user: now"]);
}

#[tokio::test]
async fn one_value_serves_many_generators() {
    let shared = found();
    assert_eq!(heard(shared.clone(), "tea").await[0], "system: tea");
    assert_eq!(heard(shared, "rum").await[0], "system: rum");
}

#[tokio::test]
async fn a_state_that_cannot_be_read_fails_the_generator() {
    let script = Script::default();
    let ran = run(&script, asks().context(found()), "hi".to_owned()).await;
    assert_eq!(ran.error().code(), "invalid_state");
    let says = "the session state is not declared by the flow \"f\"";
    assert!(ran.error().to_string().contains(says), "{}", ran.error());
    let wrong = context_fn(|_: Found| Err::<String, _>(BlockError::new("no_words", "it has none")));
    let engine = engine_of(&script, flow_of(generator("g").context(wrong))).await;
    assert_eq!(run_on(&engine, "s", "tea").await.error().code(), "no_words");
    assert!(script.asked().is_empty());
}
