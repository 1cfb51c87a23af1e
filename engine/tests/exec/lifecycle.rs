//! Hooks: their order, what they get, and that they change nothing.

use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::{Completed, Errored, Finished, FlowError, RequestStatus, Started};
use serde_json::json;

use crate::support::{Journal, add, fails, panics, run_flow};

/// A flow whose hooks write down that they were told.
fn watched(block: Block<i64, i64>, journal: &Journal) -> Result<Flow, FlowError> {
    let write = |name: &'static str| {
        let journal = journal.clone();
        move |text: String| journal.write(format!("{name} {text}"))
    };
    let (started, completed, errored, finished) = (
        write("started"),
        write("completed"),
        write("errored"),
        write("finished"),
    );
    let (of_action, action_errored) = (write("action completed"), write("action errored"));
    let noted = {
        let journal = journal.clone();
        sequencer::<i64>("noted").tap(move |n: i64, _: Ctx| {
            journal.write(format!("block {n}"));
            async { Ok(()) }
        })
    };
    flow("f")
        .action(
            "a",
            action(noted.then(block))
                .on_completed(move |told: Completed, _: Ctx| {
                    of_action(told.output.to_string());
                    async { Ok(()) }
                })
                .on_errored(move |told: Errored, _: Ctx| {
                    action_errored(told.error.code);
                    async { Ok(()) }
                }),
        )
        .on_started(move |told: Started, _: Ctx| {
            started(told.action);
            async { Ok(()) }
        })
        .on_completed(move |told: Completed, _: Ctx| {
            completed(told.output.to_string());
            async { Ok(()) }
        })
        .on_errored(move |told: Errored, _: Ctx| {
            errored(told.error.message);
            async { Ok(()) }
        })
        .on_finished(move |told: Finished, _: Ctx| {
            finished(format!("{:?}", told.status));
            async { Ok(()) }
        })
        .instance("i")
}

#[tokio::test]
async fn hooks_of_a_success_run_in_their_order_before_the_last_record() {
    let journal = Journal::default();
    let ran = run_flow(watched(add(1), &journal).expect("a flow"), 1).await;
    assert_eq!(ran.output(), &json!(2));
    assert_eq!(
        journal.read(),
        [
            "started a",
            "block 1",
            "action completed 2",
            "completed 2",
            "finished Completed"
        ]
    );
    assert_eq!(ran.trace()[0], "on_started[0]: completed");
    assert_eq!(
        ran.trace().last().map(String::as_str),
        Some("on_finished[0]: completed")
    );
    assert!(matches!(ran.facts.last(), Some(Fact::RequestCompleted(_))));
}

#[tokio::test]
async fn hooks_of_a_failure_run_in_their_order_before_the_last_record() {
    let journal = Journal::default();
    let ran = run_flow(watched(fails("bad"), &journal).expect("a flow"), 1).await;
    assert_eq!(ran.error().code(), "bad");
    assert_eq!(
        journal.read(),
        [
            "started a",
            "block 1",
            "action errored bad",
            "errored it is bad",
            "finished Failed"
        ]
    );
}

#[tokio::test]
async fn a_hook_may_be_any_block_and_several_may_be_declared() {
    let journal = Journal::default();
    let (first, second) = (journal.clone(), journal.clone());
    let note = handler("note").run(move |n: usize, ctx: Ctx| {
        first.write(format!("{n} at {}", ctx.path()));
        async { Ok(()) }
    });
    let flow = flow("f")
        .action("a", action(add(1)))
        .on_started(
            sequencer::<Started>("count")
                .map(|told, _| told.action.len())
                .then(note),
        )
        .on_started(move |_: Started, _: Ctx| {
            second.write("second");
            async { Ok(()) }
        })
        .instance("i")
        .expect("a flow");
    run_flow(flow, 1).await;
    assert_eq!(journal.read(), ["1 at on_started[0]/then[1]", "second"]);
}

#[tokio::test]
async fn a_failing_hook_is_recorded_and_changes_nothing() {
    let flow = flow("f")
        .action("a", action(add(1)).on_completed(panics::<Completed, ()>()))
        .on_started(fails::<Started, ()>("started"))
        .on_completed(fails::<Completed, ()>("completed"))
        .on_finished(fails::<Finished, ()>("finished"))
        .instance("i")
        .expect("a flow");
    let ran = run_flow(flow, 1).await;
    assert_eq!(ran.output(), &json!(2));
    assert_eq!(
        ran.trace(),
        [
            "on_started[0]: failed",
            "root: completed",
            "action.on_completed[0]: failed",
            "on_completed[0]: failed",
            "on_finished[0]: failed"
        ]
    );
}

#[tokio::test]
async fn a_run_gives_output_items_state_and_status() {
    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct Count {
        count: i64,
    }
    let counts = handler("counts").run(|n: i64, ctx: Ctx| async move {
        ctx.session::<Count>().inc("count", n).await?;
        Ok(n)
    });
    let flow = flow("f")
        .action("a", action(counts).user_message(|n: &i64| n.to_string()))
        .session(scope::<Count>())
        .instance("i")
        .expect("a flow");
    let ran = run_flow(flow, 3).await;
    assert_eq!((ran.result.status, ran.output()), (RequestStatus::Completed, &json!(3)));
    assert_eq!(ran.result.state, json!({"count": 3}));
    assert_eq!(ran.items(), [("3".to_owned(), "completed")]);
}
