//! What a model sees of the session before: whole turns, tools included.

use flowstate_engine::History;
use flowstate_engine::item::{Audience, ContentPart, Role};
use flowstate_engine::model::{AssistantPart, Finish, ModelMessage, UserPart};
use flowstate_engine::prelude::*;
use serde_json::json;

use super::support::*;

async fn session(script: &Script, history: History) -> Engine {
    let block = asks().tool(echo("look")).history(history);
    let flow = flow("f").action("a", action(block).user_message(|input: &String| input.clone()));
    engine_of(script, flow.instance("i").expect("a flow")).await
}

#[tokio::test]
async fn calls_and_results_of_earlier_turns_are_shown_as_calls_and_results() {
    let script = Script::new([
        vec![
            thought("Hm."),
            text("Looking."),
            call("1", "look", json!({"q": "x"})),
            call("2", "nope", json!({})),
            end(Finish::ToolCalls),
        ],
        says("It is x."),
        says("Yes."),
    ]);
    let engine = session(&script, History::all()).await;
    run_on(&engine, "s", "what?").await.output();
    run_on(&engine, "s", "sure?").await.output();
    let shown = &script.asked()[2].messages;
    assert_eq!(shown.len(), 5, "{shown:#?}");
    assert_eq!(shown[0], ModelMessage::user("what?"));
    let ModelMessage::Assistant { parts } = &shown[1] else {
        panic!("{shown:?}")
    };
    let kinds: Vec<&str> = parts
        .iter()
        .map(|part| match part {
            AssistantPart::Text { .. } => "text",
            AssistantPart::Reasoning { .. } => "reasoning",
            AssistantPart::ToolUse(call) => &call.id,
            AssistantPart::Native(_) => "native",
        })
        .collect();
    assert_eq!(kinds, ["reasoning", "text", "1", "2"]);
    let ModelMessage::Tool { results } = &shown[2] else {
        panic!("{shown:?}")
    };
    let results: Vec<_> = results
        .iter()
        .map(|result| (result.id.as_str(), result.is_error))
        .collect();
    assert_eq!(results, [("1", false), ("2", true)]);
    assert_eq!(
        shown[3..],
        [ModelMessage::assistant("It is x."), ModelMessage::user("sure?")]
    );
}

#[tokio::test]
async fn limits_keep_whole_turns_and_always_the_running_one() {
    for (history, first_shown) in [
        (History::all(), 0),
        (History::turns(3), 4),
        (History::turns(0), 6),
        // Each turn counts 5 + 5 tokens: 4 a message, 1 its text. The running one has only its question.
        (History::tokens(25), 4),
        (History::tokens(24), 5),
        (History::tokens(0), 6),
        (History::tokens(1_000), 0),
        (History::tokens(1_000).turns_max(2), 5),
    ] {
        let script = Script::new((0..7).map(|n| says(&format!("a{n}"))));
        let engine = session(&script, history).await;
        for n in 0..7 {
            run_on(&engine, "s", format!("q{n}")).await.output();
        }
        let expected: Vec<String> = (first_shown..7)
            .flat_map(|n| [format!("user: q{n}"), format!("assistant: a{n}")])
            .take((7 - first_shown) * 2 - 1)
            .collect();
        assert_eq!(script.heard()[6], expected, "{history:?}");
    }
}

/// More turns than are read at once.
#[tokio::test]
async fn a_limit_of_tokens_reads_back_as_far_as_it_must() {
    let script = Script::new((0..41).map(|n| says(&format!("a{n}"))));
    let engine = session(&script, History::tokens(10 * 36 + 5)).await;
    for n in 0..41 {
        run_on(&engine, "s", format!("q{n}")).await.output();
    }
    let heard = script.heard();
    assert_eq!((heard[40].len(), heard[40][0].as_str()), (73, "user: q4"));
}

#[tokio::test]
async fn only_what_is_meant_for_models_is_shown() {
    let script = Script::new([says("ok")]);
    let tells = handler("tells").run(|input: String, ctx: Ctx| async move {
        ctx.emit().to(Audience::Trace).message("hidden").await?;
        ctx.emit().model_only("for the model").await?;
        let file = ContentPart::File {
            media_type: "image/png".into(),
            data: "aGk=".into(),
            filename: None,
        };
        ctx.emit()
            .message_as(Role::User, vec![ContentPart::text("see"), file])
            .await?;
        ctx.emit().message_as(Role::Developer, "mind this").await?;
        ctx.emit().status("busy").await?;
        Ok(input)
    });
    let block = sequencer::<String>("s")
        .then(tells)
        .then(asks().history(History::all()));
    run(&script, block, "go".to_owned()).await.output();
    assert_eq!(
        script.heard()[0],
        ["assistant: for the model", "user: see", "system: mind this", "user: go"]
    );
    let ModelMessage::User { parts } = &script.asked()[0].messages[1] else {
        panic!("a user's message")
    };
    assert!(matches!(&parts[1], UserPart::File { media_type, .. } if media_type == "image/png"));
}
