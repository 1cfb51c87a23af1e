//! Background work: work, work_if, background, for_each_background, wait_for_work; and that a request waits for it.

use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{BlockStatus, Fact};
use flowstate_engine::{Finished, StepErrored};
use serde_json::json;

use crate::support::{Counter, Journal, Waits, add, after, engine_on, fails, hangs, panics, run, run_flow, run_on};

/// Writes its input once the gate is open.
fn writes(journal: &Journal, gate: &Counter) -> Block<i64, i64> {
    let journal = journal.clone();
    sequencer::<i64>("writes")
        .then(after(gate, 1))
        .map(move |n, _| {
            journal.write(n.to_string());
            n
        })
        .build()
}

/// Opens the gate.
fn opens(gate: &Counter) -> Block<i64, i64> {
    let gate = gate.clone();
    handler("opens").run(move |n: i64, _| {
        gate.add(1);
        async move { Ok(n) }
    })
}

#[tokio::test]
async fn work_runs_beside_the_chain_and_the_request_waits_for_it() {
    let (journal, gate) = (Journal::default(), Counter::default());
    let seen = journal.clone();
    let writes = || writes(&journal, &gate);
    let chain = sequencer::<i64>("s")
        .work(writes())
        .background(writes().map_input(|n: i64, _| n + 1))
        .work_if(|n, _| *n > 100, writes())
        .work_if(|n, _| *n == 1, writes().map_input(|n: i64, _| n + 2))
        .then(add(10))
        .then(opens(&gate))
        .map(move |n, _| n * i64::from(seen.read().is_empty()));
    let ran = run(chain, 1).await;
    assert_eq!(ran.output(), &json!(11), "nothing had ended when the chain did");
    assert_eq!(journal.read(), ["1", "2", "3"]);
    let work = ran
        .blocks()
        .into_iter()
        .find(|(started, _)| started.path == "root/work[0]")
        .expect("the work");
    assert_eq!(serde_json::to_value(work.0.phase).ok(), Some(json!("work")));
    assert_eq!(work.1.status, BlockStatus::Completed);
}

#[tokio::test]
async fn work_that_work_starts_is_waited_for_too() {
    let (journal, gate) = (Journal::default(), Counter::default());
    let writes = || writes(&journal, &gate);
    let inner = sequencer::<i64>("inner")
        .work(writes())
        .work(writes())
        .then(opens(&gate));
    run(sequencer::<i64>("outer").work(inner), 5).await.output();
    assert_eq!(journal.read(), ["5", "5"]);
}

#[tokio::test]
async fn a_failure_of_work_is_told_and_fails_nothing() {
    let journal = Journal::default();
    let told = journal.clone();
    let chain = sequencer::<i64>("s")
        .work(fails::<i64, ()>("bad"))
        .work(panics::<i64, ()>())
        .then(add(1));
    let flow = flow("f")
        .action("a", action(chain))
        .on_step_errored(move |step: StepErrored, _: Ctx| {
            told.write(step.error.code);
            async { Ok(()) }
        })
        .instance("i")
        .expect("a flow");
    let ran = run_flow(flow, 1).await;
    assert_eq!(
        (ran.output(), journal.read()),
        (&json!(2), vec!["bad".to_owned(), "panic".to_owned()])
    );
    let connector = fails::<i64, ()>("x").map_input(|_: i64, _| Err::<i64, _>(BlockError::new("unconnected", "no")));
    let ran = run(sequencer::<i64>("s").work(connector), 1).await;
    assert_eq!(ran.error().code(), "unconnected", "a connector runs in the chain");
}

#[tokio::test]
async fn wait_for_work_waits_and_fails_only_if_told_to() {
    let (journal, gate) = (Journal::default(), Counter::default());
    let seen = journal.clone();
    let chain = sequencer::<i64>("s")
        .work(writes(&journal, &gate))
        .work(opens(&gate))
        .wait_for_work()
        .map(move |_, _| seen.read().len());
    assert_eq!(run(chain, 1).await.output(), &json!(1));
    let chain = || {
        sequencer::<i64>("s")
            .work(fails::<i64, ()>("bad"))
            .work(fails::<i64, ()>("worse"))
    };
    assert_eq!(run(chain().wait_for_work(), 1).await.output(), &json!(1));
    assert_eq!(
        run(chain().wait_for_work().fail_on_error(), 1).await.error().code(),
        "bad"
    );
}

#[tokio::test]
async fn wait_for_work_gives_up_after_its_timeout() {
    let gate = Counter::default();
    let timed_out = gate.clone();
    let chain = sequencer::<i64>("s")
        .work(after(&gate, 1))
        .wait_for_work()
        .timeout(Duration::from_secs(3_600))
        .build()
        .on_errored(move |_, _| {
            timed_out.add(1);
        });
    let waits = Waits::default();
    let ran = run_on(&engine_on(chain, &waits).await, 1).await;
    assert_eq!(waits.read(), [3_600_000]);
    assert_eq!(
        (ran.error().code(), ran.error().is_retryable()),
        ("timeout_error", true)
    );
    assert_eq!(ran.trace()[1], "root/work[0]: completed", "the work goes on");
}

#[tokio::test]
async fn wait_for_work_waits_for_its_own_sequencer_only() {
    let (journal, gate) = (Journal::default(), Counter::default());
    let seen = journal.clone();
    let inner = sequencer::<i64>("inner").wait_for_work();
    let chain = sequencer::<i64>("s")
        .work(writes(&journal, &gate))
        .then(inner)
        .then(opens(&gate))
        .map(move |_, _| seen.read().len());
    assert_eq!(run(chain, 1).await.output(), &json!(0));
}

#[tokio::test]
async fn for_each_background_runs_every_element_whatever_the_others_do() {
    let journal = Journal::default();
    let picky = |journal: &Journal| {
        let journal = journal.clone();
        handler("picky").run(move |n: i64, _| {
            let journal = journal.clone();
            async move {
                journal.write(n.to_string());
                if n == 2 {
                    Err(BlockError::new("two", "not two"))
                } else {
                    Ok(())
                }
            }
        })
    };
    let chain = |journal: &Journal| {
        sequencer::<Vec<i64>>("s")
            .for_each_background(picky(journal))
            .max_concurrency(1)
    };
    let ran = run(chain(&journal).map(|all, _| all.len()), vec![1, 2, 3]).await;
    assert_eq!(
        (ran.output(), journal.read()),
        (&json!(3), ["1", "2", "3"].map(str::to_owned).to_vec())
    );
    let ran = run(chain(&journal).wait_for_work().fail_on_error(), vec![1, 2, 3]).await;
    assert_eq!(ran.error().code(), "two");
    let by_choice = sequencer::<Vec<i64>>("s")
        .for_each_background_with([add(1), add(2)], |n, _, [one, two]| if *n == 1 { one } else { two });
    let ran = run(by_choice, vec![1, 2]).await;
    assert_eq!(ran.blocks().len(), 3);
}

#[tokio::test]
async fn a_stopped_arm_leaves_its_background_work_running() {
    let (journal, gate, dropped) = (Journal::default(), Counter::default(), Counter::default());
    let arm = sequencer::<i64>("arm")
        .work(writes(&journal, &gate))
        .then(hangs::<i64, i64>(&dropped))
        .build();
    let chain = sequencer::<i64>("s").race([arm, add(1)]).then(opens(&gate));
    let ran = run(chain, 7).await;
    assert_eq!(
        (ran.output(), journal.read(), dropped.get()),
        (&json!(8), vec!["7".to_owned()], 1)
    );
    assert!(
        ran.trace().contains(&"root/race[0].0/work[0]: completed".to_owned()),
        "{:?}",
        ran.trace()
    );
}

#[tokio::test]
async fn work_that_a_hook_starts_is_over_before_the_last_record() {
    let (journal, gate) = (Journal::default(), Counter::default());
    let late = sequencer::<Finished>("late")
        .map(|_, _| 9)
        .work(writes(&journal, &gate))
        .then(opens(&gate));
    let flow = flow("f")
        .action("a", action(add(1)))
        .on_finished(late)
        .instance("i")
        .expect("a flow");
    let ran = run_flow(flow, 1).await;
    assert_eq!(journal.read(), ["9"]);
    assert!(matches!(ran.facts.last(), Some(Fact::RequestCompleted(_))));
}

#[tokio::test]
async fn a_failed_request_waits_for_its_work_too() {
    let (journal, gate) = (Journal::default(), Counter::default());
    let failed = gate.clone();
    let ran = run(
        sequencer::<i64>("s")
            .work(writes(&journal, &gate))
            .then(fails::<i64, i64>("bad").on_errored(move |_, _| {
                failed.add(1);
            })),
        3,
    )
    .await;
    assert_eq!((ran.error().code(), journal.read()), ("bad", vec!["3".to_owned()]));
}
