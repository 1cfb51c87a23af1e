//! The prompt: its parts, their order, and when they are made anew.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use flowstate_engine::History;
use flowstate_engine::model::ModelMessage;
use flowstate_engine::prelude::*;
use serde_json::json;

use super::support::*;

#[tokio::test]
async fn the_parts_stand_in_their_order_and_empty_ones_are_left_out() {
    let script = Script::new([says("ok")]);
    let block = asks()
        .prompt("Be brief.")
        .context("One.")
        .context_with(|_, _| String::new())
        .context_with(|_, _| None::<String>)
        .context_with(|input: &String, _| format!("About {input}."))
        .context_with(|input: &String, ctx: Ctx| {
            let input = input.clone();
            async move { Ok(format!("{} asks {input}.", ctx.user_id())) }
        })
        .history_with(|_, _| vec![ModelMessage::user("before"), ModelMessage::assistant("yes")]);
    run(&script, block, "tea".to_owned()).await.output();
    let heard = [
        "system: Be brief.",
        "system: One.",
        "system: About tea.",
        "system: u asks tea.",
    ];
    let said = ["user: before", "assistant: yes", "user: tea"];
    assert_eq!(script.heard(), [[heard.as_slice(), &said].concat()]);
}

#[tokio::test]
async fn no_prompt_and_no_context_is_no_system_message() {
    let script = Script::new([says("ok")]);
    run(&script, asks().prompt("").context(""), "tea".to_owned())
        .await
        .output();
    assert_eq!(script.heard(), [["user: tea"]]);
}

#[tokio::test]
async fn the_user_slot_takes_messages_and_fixed_words() {
    let script = Script::new([says("ok"), says("ok"), says("ok")]);
    let several = generator::<String>("g").user(|input: &String, _| {
        vec![
            ModelMessage::user("first"),
            ModelMessage::assistant("so?"),
            ModelMessage::user(input.clone()),
        ]
    });
    run(&script, several, "then".to_owned()).await.output();
    run(&script, generator::<String>("g").user_fixed("always"), String::new())
        .await
        .output();
    let in_time = generator::<String>("g").user(|input: &String, _| {
        let message = ModelMessage::user(input.clone());
        async move { Ok(message) }
    });
    run(&script, in_time, "later".to_owned()).await.output();
    let heard = script.heard();
    assert_eq!(heard[0], ["user: first", "assistant: so?", "user: then"]);
    assert_eq!(heard[1..], [["user: always"], ["user: later"]]);
}

#[tokio::test]
async fn the_users_words_are_shown_once() {
    let script = Script::new([says("one"), says("two")]);
    let block = asks().history(History::all());
    let flow = flow("f").action("a", action(block).user_message(|input: &String| input.clone()));
    let engine = engine_of(&script, flow.instance("i").expect("a flow")).await;
    run_on(&engine, "s", "tea").await.output();
    run_on(&engine, "s", "tea").await.output();
    let heard = script.heard();
    assert_eq!(heard[0], ["user: tea"]);
    assert_eq!(
        heard[1],
        ["user: tea", "assistant: one", "user: tea"],
        "once more in the second turn"
    );
}

#[tokio::test]
async fn functions_are_asked_again_before_each_later_step_but_not_for_history_and_user() {
    let (prompts, users) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counted = |count: &Arc<AtomicU32>| {
        let count = count.clone();
        move || count.fetch_add(1, Ordering::Relaxed) + 1
    };
    let (prompt, user) = (counted(&prompts), counted(&users));
    let script = Script::new([
        calls([call("1", "look", json!({"q": "x"}))]),
        calls([call("2", "late", json!({"q": "y"}))]),
        says("done"),
    ]);
    let late = echo("late").tool().expect("a tool");
    let steps = prompts.clone();
    let block = generator::<String>("g")
        .prompt_with(move |_, _| format!("Prompt {}.", prompt()))
        .context("Fixed.")
        .user(move |input: &String, _| format!("{input} {}", user()))
        .tool(echo("look"))
        .tools_with(move |_, _| match steps.load(Ordering::Relaxed) {
            0 | 1 => Vec::new(),
            _ => vec![late.clone()],
        });
    let ran = run(&script, block, "hi".to_owned()).await;
    assert_eq!(ran.output(), "done");
    let heard = script.heard();
    let systems: Vec<&[String]> = heard.iter().map(|messages| &messages[..3]).collect();
    for (step, system) in systems.iter().enumerate() {
        let prompt = format!("system: Prompt {}.", step + 1);
        assert_eq!(**system, [prompt, "system: Fixed.".into(), "user: hi 1".into()]);
    }
    let offered: Vec<usize> = script.asked().iter().map(|asked| asked.tools.len()).collect();
    assert_eq!(offered, [1, 2, 2]);
    assert_eq!(users.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_slot_that_fails_fails_the_block() {
    let script = Script::default();
    let block = asks().prompt_with(|_, _| Err::<String, _>(BlockError::new("no_prompt", "it is gone")));
    assert_eq!(run(&script, block, "hi".to_owned()).await.error().code(), "no_prompt");
    assert!(script.asked().is_empty());
}

#[tokio::test]
async fn nothing_to_answer_is_told_before_a_model_is_asked() {
    let script = Script::default();
    let block = generator::<String>("g").user(|_, _| None::<String>);
    assert_eq!(
        run(&script, block, "hi".to_owned()).await.error().code(),
        "empty_prompt"
    );
    assert!(script.asked().is_empty());
}

#[test]
fn what_is_wrong_with_a_generator_is_told_when_the_flow_is_built() {
    let of = |block: flowstate_engine::Generator<String>| {
        let built = flow("f").action("a", action(block)).instance("i");
        built.expect_err("a problem").to_string()
    };
    let none: [&str; 0] = [];
    for (block, problem) in [
        (generator::<String>("g"), "nothing to answer"),
        (asks().model(none), "list of models is empty"),
        (asks().steps_max(0), "steps_max is 0"),
        (asks().repair(flowstate_engine::Repair::fail()), ".output::<T>()"),
        (asks().provider_options("openai", json!(1)), "\"openai\""),
        (
            asks().tool(echo("look")).tool(echo("look")),
            "two of its tools are named \"look\"",
        ),
    ] {
        let told = of(block);
        assert!(told.contains(problem), "{told}");
    }
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Notes {
    found: Vec<String>,
}

#[tokio::test]
async fn slots_may_read_the_states_of_scopes_and_of_executions_around_them() {
    let notes = handler("notes").run(|word: String, ctx: Ctx| async move {
        let around = ctx
            .target::<Notes>("research")?
            .ok_or_else(|| BlockError::new("lost", "no research"))?;
        around.push("found", format!("all about {word}")).await?;
        ctx.session::<Notes>().push("found", word.to_uppercase()).await?;
        Ok(word)
    });
    let answers = generator::<String>("answers")
        .context_with(|_, ctx: Ctx| async move { Ok(ctx.session::<Notes>().get().await?.found.join(",")) })
        .user(|word: &String, ctx: Ctx| {
            let word = word.clone();
            async move {
                let around = ctx
                    .target::<Notes>("research")?
                    .ok_or_else(|| BlockError::new("lost", "no research"))?;
                Ok(format!("{word}: {}", around.get().await?.found.join(",")))
            }
        });
    let research = sequencer::<String>("research")
        .state::<Notes>()
        .then(notes)
        .then(answers);
    let script = Script::new([says("ok")]);
    let flow = flow("f").action("a", action(research)).session(scope::<Notes>());
    let engine = engine_of(&script, flow.instance("i").expect("a flow")).await;
    run_on(&engine, "s", "tea").await.output();
    assert_eq!(script.heard(), [["system: TEA", "user: tea: all about tea"]]);
}
