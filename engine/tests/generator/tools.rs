//! The loop: who runs tools, in which order results are, what a failure becomes, and where it ends.

use std::sync::Arc;

use flowstate_engine::model::{AssistantPart, Finish, ModelMessage, Native, ToolResult};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{BlockStarted, Fact, ModelReplied};
use flowstate_engine::{Principal, RequestStatus, Submission};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use super::support::*;

/// The tools' results that each call of the model was shown last.
fn results(script: &Script) -> Vec<Vec<ToolResult>> {
    let of = |messages: &[ModelMessage]| match messages.last() {
        Some(ModelMessage::Tool { results }) => results.clone(),
        _ => Vec::new(),
    };
    script.asked().iter().map(|asked| of(&asked.messages)).collect()
}

#[tokio::test]
async fn text_and_tools_keep_their_order_and_the_last_words_are_the_output() {
    let script = Script::new([
        vec![
            text("Let me look."),
            call("1", "look", json!({"q": "x"})),
            end(Finish::ToolCalls),
        ],
        says("It is x."),
    ]);
    let ran = run(&script, asks().tool(echo("look")), "what?".to_owned()).await;
    assert_eq!(ran.output(), "It is x.");
    assert_eq!(
        ran.items(),
        [
            "message completed: Let me look.",
            "tool_output completed: look \"found x\"",
            "message completed: It is x."
        ]
    );
    let [first, second] = &script.asked()[..] else {
        panic!("two calls")
    };
    assert_eq!(first.tools[0].parameters["properties"]["q"]["type"], "string");
    let ModelMessage::Assistant { parts } = &second.messages[1] else {
        panic!("{:?}", second.messages)
    };
    assert!(matches!(&parts[..], [AssistantPart::Text { .. }, AssistantPart::ToolUse(call)] if call.id == "1"));
    let expected = ToolResult {
        id: "1".into(),
        name: "look".into(),
        content: "found x".into(),
        is_error: false,
    };
    assert_eq!(results(&script)[1], [expected]);
}

/// All of a step are in at once (else the barrier holds them for ever), and the order is that of the calls.
#[tokio::test]
async fn calls_of_one_step_run_at_once_and_all_are_settled_in_the_order_of_the_calls() {
    let barrier = Arc::new(Barrier::new(3));
    let meets = |name: &str| {
        let barrier = barrier.clone();
        handler(name).run(move |query: Query, _| {
            let barrier = barrier.clone();
            async move {
                barrier.wait().await;
                match query.q.as_str() {
                    "bad" => Err(BlockError::new("bad", "it is bad")),
                    q => Ok(format!("found {q}")),
                }
            }
        })
    };
    let script = Script::new([
        calls([
            call("1", "a", json!({"q": "bad"})),
            call("2", "b", json!({"q": "y"})),
            call("3", "a", json!({"q": "z"})),
        ]),
        says("done"),
    ]);
    let ran = run(&script, asks().tool(meets("a")).tool(meets("b")), "go".to_owned()).await;
    assert_eq!(ran.output(), "done");
    let told: Vec<_> = results(&script)[1]
        .iter()
        .map(|result| (result.id.clone(), result.content.clone(), result.is_error))
        .collect();
    let expected = [
        ("1", "it is bad", true),
        ("2", "found y", false),
        ("3", "found z", false),
    ];
    assert_eq!(
        told,
        expected.map(|(id, content, is_error)| (id.to_owned(), content.to_owned(), is_error))
    );
    let mut items = ran.items();
    items.sort();
    assert_eq!(
        items,
        [
            "message completed: done",
            "tool_output completed: a \"found z\"",
            "tool_output completed: b \"found y\"",
            "tool_output failed: a failed with bad"
        ]
    );
}

#[tokio::test]
async fn what_can_not_be_called_is_told_to_the_model_and_nothing_runs() {
    let script = Script::new([
        calls([
            call("1", "nowhere", json!({})),
            call("2", "look", "{not json"),
            call("3", "look", json!({"p": 1})),
            call("4", "look", ""),
        ]),
        says("sorry"),
    ]);
    let ran = run(&script, asks().tool(echo("look")), "go".to_owned()).await;
    assert_eq!(ran.output(), "sorry");
    let told = &results(&script)[1];
    assert!(told.iter().all(|result| result.is_error));
    for (result, says) in told.iter().zip([
        "no tool \"nowhere\"; there are: look",
        "not JSON",
        "q: is required",
        "q: is required",
    ]) {
        assert!(result.content.contains(says), "{result:?} lacks {says}");
    }
    let ran_tools =
        |fact: &&Fact| matches!(fact, Fact::BlockStarted(BlockStarted { path, .. }) if path.contains("tool."));
    assert_eq!(ran.facts.iter().filter(ran_tools).count(), 0);
}

#[tokio::test]
async fn a_tool_may_be_any_block_and_its_input_need_be_no_object() {
    let double = handler("double").run(|n: i64, _| async move { Ok(n * 2) });
    let chain = sequencer::<i64>("twice-doubled")
        .then(double.clone())
        .then(double.clone());
    let choose = router("choose").route("d", double).decide(|_, _, (d,)| d);
    let inner = generator::<Query>("inner").user(|query: &Query, _| query.q.clone());
    let script = Script::new([
        calls([
            call("1", "twice-doubled", json!({"input": 3})),
            call("2", "choose", json!({"input": 4})),
            call("3", "inner", json!({"q": "deep"})),
        ]),
        says("inner words"),
        says("done"),
    ]);
    let block = asks().tool(chain).tool(choose).tool(inner);
    let ran = run(&script, block, "go".to_owned()).await;
    assert_eq!(ran.output(), "done");
    let told: Vec<String> = results(&script)[2]
        .iter()
        .map(|result| result.content.clone())
        .collect();
    assert_eq!(told, ["12", "8", "inner words"]);
    let path = "root/tool.choose[0.1]/route.d";
    assert!(
        ran.facts
            .iter()
            .any(|fact| matches!(fact, Fact::BlockStarted(started) if started.path == path))
    );
}

#[tokio::test]
async fn a_panic_in_a_tool_is_an_error_result() {
    let panics = handler("look").run(|query: Query, _| async move {
        match query.q.is_empty() {
            true => Ok(String::new()),
            false => panic!("no {}", query.q),
        }
    });
    let script = Script::new([calls([call("1", "look", json!({"q": "luck"}))]), says("oh")]);
    assert_eq!(run(&script, asks().tool(panics), "go".to_owned()).await.output(), "oh");
    assert!(results(&script)[1][0].content.contains("no luck"));
}

#[tokio::test]
async fn a_loop_that_does_not_end_ends_after_as_many_steps_as_it_may_have() {
    let again = || vec![text("hm"), call("1", "look", json!({"q": "x"})), end(Finish::ToolCalls)];
    for (block, steps) in [
        (asks().tool(echo("look")), 8),
        (asks().tool(echo("look")).steps_max(3), 3),
        (asks().tool(echo("look")).steps_max(1), 1),
    ] {
        let script = Script::new((0..steps).map(|_| again()));
        let ran = run(&script, block, "go".to_owned()).await;
        assert_eq!(ran.output(), "hm", "the last step's text");
        assert_eq!(script.asked().len(), steps);
        let outputs = ran
            .items()
            .iter()
            .filter(|item| item.starts_with("tool_output completed"))
            .count();
        assert_eq!(outputs, steps, "the tools of the last step are settled too");
    }
}

#[tokio::test]
async fn what_the_provider_runs_itself_is_no_call_and_the_model_goes_on() {
    let native = Native {
        format: "test".into(),
        value: json!({"searched": "tea"}),
    };
    let searched = Ok(flowstate_engine::model::ModelEvent::Native(native.clone()));
    let script = Script::new([vec![searched, end(Finish::Pause)], says("tea is hot")]);
    let ran = run(&script, asks(), "go".to_owned()).await;
    assert_eq!(ran.output(), "tea is hot");
    let back = script.asked()[1].messages[1].clone();
    let parts = vec![AssistantPart::Native(native)];
    assert_eq!(
        back,
        ModelMessage::Assistant { parts },
        "it is shown its own part again"
    );
}

#[tokio::test]
async fn calls_without_ids_or_with_one_id_get_ids_of_their_own() {
    let script = Script::new([
        calls([
            call("", "look", json!({"q": "a"})),
            call("x", "look", json!({"q": "b"})),
            call("x", "look", json!({"q": "c"})),
        ]),
        says("done"),
    ]);
    run(&script, asks().tool(echo("look")), "go".to_owned()).await.output();
    let ids: Vec<String> = results(&script)[1].iter().map(|result| result.id.clone()).collect();
    assert_eq!(ids, ["call_0_0", "x", "call_0_2"]);
}

#[tokio::test]
async fn usage_is_summed() {
    let script = Script::new([calls([call("1", "look", json!({"q": "x"}))]), says("done")]);
    let ran = run(&script, asks().tool(echo("look")), "go".to_owned()).await;
    let totals: Vec<_> = ran
        .facts
        .iter()
        .filter_map(|fact| match fact {
            Fact::ModelReplied(ModelReplied { total, .. }) => {
                total.map(|total| (total.input_tokens, total.output_tokens))
            }
            _ => None,
        })
        .collect();
    assert_eq!(totals, [(10, 2), (20, 4)]);
}

#[tokio::test]
async fn a_tool_that_is_stopped_is_closed_and_the_model_is_not_asked_again() {
    let script = Script::new([calls([call("1", "hangs", json!({"q": "x"}))])]);
    let (began, begins) = tokio::sync::oneshot::channel::<()>();
    let began = Arc::new(parking_lot::Mutex::new(Some(began)));
    let hangs = handler("hangs").run(move |_: Query, _| {
        let began = began.lock().take();
        async move {
            drop(began);
            std::future::pending::<Result<Value, BlockError>>().await
        }
    });
    let engine = engine(&script, asks().tool(hangs)).await;
    let submission = Submission {
        flow: "f".into(),
        action: "a".into(),
        input: Some(json!("go")),
        user: "u".into(),
        request: Some("r".into()),
        ..Submission::default()
    };
    let (result, ()) = tokio::join!(engine.run_submission(submission), async {
        let _ = begins.await;
        assert!(engine.cancel(&Principal::default(), "r").await.expect("asked"));
    });
    let result = result.expect("a result");
    assert_eq!(result.status, RequestStatus::Interrupted);
    let tool = result.items.iter().find(|item| item.body.type_name() == "tool_output");
    assert_eq!(tool.expect("the tool's item").status.as_str(), "incomplete");
    assert_eq!(script.asked().len(), 1);
}
