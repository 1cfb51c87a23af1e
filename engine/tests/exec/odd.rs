//! Flows as nobody means them: what they do is still recorded whole, ends, and takes nothing else with it.

use std::sync::Arc;

use flowstate_engine::item::{Audience, Container};
use flowstate_engine::model::ModelMessage;
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::{Finished, NetworkError, Principal, RequestStatus, Started};
use flowstate_log::Options;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{
    Counter, Journal, Ran, Waits, add, after, engine, engine_on, fails, hangs, read, recorded, run, run_flow, run_on,
    submission,
};

/// More than a record takes.
const TOO_LARGE: usize = 1 << 20;

/// An engine whose records take less than [`TOO_LARGE`].
async fn small_engine<I: Data, O: Data, M>(block: impl IntoBlock<I, O, M>) -> Engine {
    let mut options = Options::in_memory();
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 900 << 10;
    let flow = flow("f").action("a", action(block)).instance("i").expect("a flow");
    Engine::builder().flow(flow).open(options).await.expect("an engine")
}

#[tokio::test]
async fn methods_nest_in_each_other() {
    let lost = Counter::default();
    let mut block = add(1);
    for level in 0..24 {
        let inner = block.named(format!("level-{level}"));
        block = match level % 4 {
            0 => sequencer::<i64>("race").race([hangs(&lost), inner]).build(),
            1 => sequencer::<i64>("each")
                .map(|n, _| vec![n, n])
                .for_each(inner)
                .max_concurrency(1)
                .map(|all, _| all[0])
                .build(),
            2 => sequencer::<i64>("parallel")
                .parallel((arm("good", inner), arm("rescued", fails::<i64, i64>("bad").rescued())))
                .map(|(good, _): (i64, i64), _| good)
                .build(),
            _ => sequencer::<i64>("rescue")
                .then(inner)
                .rescue(any_error().run(|_: Rescued, _: Ctx| async { Ok(-1) }))
                .build(),
        };
    }
    let ran = run(block, 1).await;
    assert_eq!(ran.output(), &json!(2));
    assert_eq!(
        lost.get(),
        126,
        "in each of the six races, as often as it ran: 2 + 4 + 8 + .. + 64"
    );
}

trait RescuedBlock {
    fn rescued(self) -> Self;
}

impl RescuedBlock for Block<i64, i64> {
    /// Gives 0 when it fails.
    fn rescued(self) -> Self {
        let chain = sequencer::<i64>("rescued").then(self);
        chain
            .rescue(any_error().run(|_: Rescued, _: Ctx| async { Ok(0) }))
            .build()
    }
}

#[tokio::test]
async fn flows_that_nest_deeply_run() {
    let nested = |depth: usize| {
        let inside = |block, _| sequencer::<i64>("s").then(block).build();
        (1..depth).fold(add(1), inside)
    };
    let ran = run(nested(64), 1).await;
    assert_eq!((ran.output(), ran.blocks().len()), (&json!(2), 64));
    let error = flow("f")
        .action("a", action(nested(66)))
        .instance("i")
        .expect_err("too deep");
    // Said once, by the block that is one too many and not by those around it.
    let says: Vec<_> = error
        .problems
        .iter()
        .filter(|problem| problem.contains("64 deep"))
        .collect();
    assert_eq!(says.len(), 1, "{error}");
}

#[tokio::test]
async fn jumps_and_exits_are_their_own_sequencers() {
    let looping = || {
        sequencer::<i64>("loop")
            .label("again")
            .then(add(1))
            .loop_back("again", 3)
    };
    let exits = sequencer::<i64>("exits")
        .then(looping())
        .exit_if(|_, _| true)
        .then(fails::<i64, i64>("never"));
    let inner = sequencer::<i64>("inner").then(exits).then(add(10));
    let chain = sequencer::<i64>("outer")
        .label("again")
        .branch([
            case("low", |n: i64, _| n, |n: &i64, _| *n < 20, inner.build()),
            case("high", |n: i64, _| n, |_: &i64, _| true, looping().build()),
        ])
        .loop_back("again", 2);
    // Each pass adds 4, and 10 as long as it is low.
    assert_eq!(run(chain, 0).await.output(), &json!(14 + 14 + 4));
}

#[tokio::test]
async fn sequencers_without_steps_hand_on_what_they_get() {
    let empty = |name: &str| sequencer::<i64>(name).build();
    let chain = sequencer::<i64>("s")
        .then(empty("a"))
        .work(empty("b"))
        .parallel((arm("c", empty("c")),))
        .map(|(n,): (i64,), _| Vec::from_iter((n > 1).then_some(n)))
        .for_each(empty("d"))
        .map(|all, _| all.len() as i64)
        .race([empty("e")])
        .rescue(any_error().run(|_: Rescued, _: Ctx| async { Ok(9) }));
    assert_eq!(run(chain, 1).await.output(), &json!(0));
    assert_eq!(run(empty("alone"), 7).await.output(), &json!(7));
}

/// Panics, whatever it should be.
fn boom<T>() -> T {
    panic!("boom")
}

#[tokio::test]
async fn whatever_panics_is_the_error_of_its_block_and_can_be_rescued() {
    let s = || sequencer::<i64>("s");
    let places: Vec<(&str, Block<i64, i64>)> = vec![
        ("a connector", add(1).map_input(|_: i64, _| boom::<i64>())),
        (
            "a later connector",
            add(1).map_input(|_: i64, _| async { Ok(boom::<i64>()) }),
        ),
        ("an output's", add(1).map_output(|_: i64, _| boom::<i64>())),
        ("on_completed", add(1).on_completed(|_, _| boom::<()>())),
        ("map", s().map(|_, _| boom::<i64>()).build()),
        ("then_if", s().then_if(|_, _| boom::<bool>(), add(1)).build()),
        ("exit_if", s().exit_if(|_, _| boom::<bool>()).build()),
        ("do_until", s().do_until(|_, _| boom::<bool>(), add(1)).build()),
        (
            "loop_back",
            s().label("l")
                .then(add(1))
                .loop_back("l", 2)
                .when(|_, _| boom::<bool>())
                .build(),
        ),
        (
            "a case",
            s().branch([case("c", |n: i64, _| n, |_: &i64, _| boom::<bool>(), add(1))])
                .build(),
        ),
        (
            "a case's connector",
            s().branch([case("c", |_: i64, _| boom::<i64>(), |_: &i64, _| true, add(1))])
                .build(),
        ),
        (
            "work's connector",
            s().work(add(1).map_input(|_: i64, _| boom::<i64>())).build(),
        ),
        (
            "decide",
            router("r").route("a", add(1)).decide(|_, _, (_,)| boom::<Choice>()),
        ),
        (
            "a container",
            s().container_with(|_: &i64, _: &Ctx| boom::<Container>()).build(),
        ),
        (
            "for_each_with",
            s().map(|n, _| vec![n])
                .for_each_with([add(1)], |_, _, [_]| boom::<Choice>())
                .map(|all, _| all.len() as i64)
                .build(),
        ),
    ];
    for (place, block) in places {
        let journal = Journal::default();
        let told = journal.clone();
        let flow = flow("f")
            .action("a", action(block.clone()))
            .on_finished(move |ended: Finished, _: Ctx| {
                told.write(format!("{:?}", ended.status));
                async { Ok(()) }
            });
        let ran = run_flow(flow.instance("i").expect("a flow"), 1).await;
        assert_eq!(ran.error().code(), "panic", "{place}");
        assert!(
            ran.error().message().ends_with("panicked: boom"),
            "{place}: {}",
            ran.error()
        );
        assert_eq!(journal.read(), ["Failed"], "{place}: the hooks are told");
        assert_eq!(run(block.rescued(), 1).await.output(), &json!(0), "{place}");
    }
}

#[tokio::test]
async fn a_panic_around_the_blocks_of_a_request_is_an_error_too() {
    let journal = Journal::default();
    let told = journal.clone();
    let finished = move |ended: Finished, _: Ctx| {
        told.write(format!("{:?}", ended.status));
        async { Ok(()) }
    };
    let words = action(add(1)).user_message(|_: &i64| boom::<String>());
    let words = flow("f").action("a", words).on_finished(finished.clone()).instance("i");
    assert_eq!(run_flow(words.expect("a flow"), 1).await.error().code(), "panic");
    let hook = add(1).map_input(|_: Started, _| boom::<i64>());
    let hook = flow("f")
        .action("a", action(add(1)))
        .on_started(hook)
        .on_finished(finished)
        .instance("i");
    assert_eq!(run_flow(hook.expect("a flow"), 1).await.output(), &json!(2));
    assert_eq!(journal.read(), ["Failed", "Completed"]);
}

#[tokio::test]
async fn what_no_record_takes_fails_where_it_is_made() {
    let large = || "x".repeat(TOO_LARGE);
    let gives = handler("gives").run(move |_: i64, _| async move { Ok(large()) });
    let chain = sequencer::<i64>("s")
        .then(gives.clone())
        .rescue(any_error().run(|_: Rescued, _: Ctx| async { Ok("small".to_owned()) }));
    assert_eq!(run_on(&small_engine(chain).await, 1).await.output(), &json!("small"));
    let ran = run_on(&small_engine(gives).await, 1).await;
    assert_eq!(ran.trace(), ["root: failed"]);
    let shows = handler("shows").run(move |_: i64, ctx: Ctx| async move {
        let refused = ctx.emit().message(large()).await.is_err();
        ctx.emit().message("small").await?;
        Ok(refused)
    });
    let ran = run_on(&small_engine(shows).await, 1).await;
    assert_eq!((ran.output(), ran.items().len()), (&json!(true), 1));
    // An error with too much to say, of a block in a container.
    let fails = handler("fails").run(move |_: i64, _| async move { Err::<i64, _>(BlockError::new("large", large())) });
    let chain = sequencer::<i64>("s").container("card", "Card").then(fails);
    let ran = run_on(&small_engine(chain).await, 1).await;
    assert_eq!(ran.trace(), ["root: failed", "root/then[0]: failed"]);
}

#[tokio::test]
async fn a_request_may_have_thousands_of_items_open_or_not() {
    let shows = handler("shows").run(|n: usize, ctx: Ctx| async move {
        for at in 0..n {
            ctx.emit().message(format!("{at}")).await?;
            ctx.emit().open_message().await?.append("cut").await?;
        }
        Ok(n)
    });
    let ran = run(shows, 3_000).await;
    let items = ran.items();
    let closed = items.iter().filter(|item| **item == ("cut".to_owned(), "incomplete"));
    assert_eq!((items.len(), closed.count()), (6_000, 3_000));
}

#[tokio::test]
async fn what_a_spawned_task_shows_is_seen_while_its_block_waits() {
    let gate = Counter::default();
    let opened = gate.clone();
    let spawns = handler("spawns").run(move |n: i64, ctx: Ctx| {
        let opened = opened.clone();
        async move {
            tokio::spawn(async move {
                // The block waits by now.
                tokio::task::yield_now().await;
                let _ = ctx.emit().message("from beside").await;
            });
            opened.reached(1).await;
            Ok(n)
        }
    });
    let flow = flow("f").action("a", action(spawns)).instance("i").expect("a flow");
    let engine = engine(flow).await;
    let accepted = engine.submit(submission(1)).await.expect("accepted");
    let found = engine
        .request(&Principal::default(), "f", &accepted.request, Default::default())
        .await;
    let sub = found.expect("readable").expect("a request").sub;
    let mut follow = engine.log().follow_sub(&sub, 0).await.expect("a cursor");
    let mut facts = Vec::new();
    while !facts.last().is_some_and(Fact::is_terminal) {
        let page = tokio::time::timeout(std::time::Duration::from_secs(10), follow.page()).await;
        let page = page.expect("in time").expect("records");
        facts.extend(
            page.iter()
                .map(|record| flowstate_engine::record::decode(record).expect("a fact")),
        );
        if gate.get() == 0 && facts.iter().any(|fact| matches!(fact, Fact::ItemAdded(_))) {
            gate.add(1);
        }
    }
    assert!(matches!(facts.last(), Some(Fact::RequestCompleted(_))));
}

#[tokio::test]
async fn a_context_that_outlives_its_block_or_its_request_does_no_harm() {
    let kept = Arc::new(Mutex::new(None::<Ctx>));
    let (keep, kept_in, used) = (kept.clone(), kept.clone(), Counter::default());
    let keeps = handler("keeps").run(move |n: i64, ctx: Ctx| {
        *keep.lock() = Some(ctx);
        async move { Ok(n) }
    });
    let counted = used.clone();
    let uses = handler("uses").run(move |n: i64, _| {
        let (ctx, counted) = (kept_in.lock().clone(), counted.clone());
        async move {
            // As the block before, which has ended.
            let open = ctx.expect("it ran").emit().open_message().await?;
            open.append("late").await?;
            counted.add(1);
            Ok(n)
        }
    });
    let flow = flow("f")
        .action("a", action(sequencer::<i64>("s").then(keeps).then(uses)))
        .session(scope::<Kept>())
        .instance("i")
        .expect("a flow");
    let engine = engine(flow).await;
    let ran = run_on(&engine, 1).await;
    assert_eq!((ran.output(), used.get()), (&json!(1), 1));
    assert_eq!(
        ran.items(),
        [("late".to_owned(), "incomplete")],
        "the end of the request closed it"
    );
    let ctx = kept.lock().clone().expect("it ran");
    assert!(ctx.emit().message("too late").await.is_err());
    assert!(ctx.emit().open_message().await.is_err());
    assert!(ctx.session::<Kept>().inc("n", 1).await.is_err());
    assert!(ctx.session::<Kept>().set(Kept { n: 5 }).await.is_err());
    let tool = add(1).tool().expect("a tool");
    assert!(tool.call("c", json!({"input": 1}), &ctx).await.is_err());
    let (_, facts) = recorded(&engine, &ran.result.accepted.request).await;
    assert_eq!(facts, ran.facts, "nothing is recorded after the last record");
}

#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Kept {
    n: u32,
}

#[tokio::test]
async fn names_may_have_any_characters_but_slashes() {
    let waits = Waits::default();
    let failed = Counter::default();
    let tries = failed.clone();
    let flaky = handler("flaky: [0]").run(move |n: i64, ctx: Ctx| {
        let (tries, first) = (tries.clone(), ctx.attempt_number() == 0);
        async move {
            if first {
                return Err(BlockError::of(NetworkError { message: "gone".into() }));
            }
            tries.add(1);
            Ok(n)
        }
    });
    // The names of two arms that begin alike: what fails in one closes nothing in the other.
    let waits_for_it = sequencer::<i64>("é/ü").then(after::<i64>(&failed, 1));
    let arms = sequencer::<i64>("s\n").parallel((
        arm("a.b", waits_for_it),
        arm("a", flaky.retry(Retry::attempts(2))),
        arm("a:b [1]", add(1)),
    ));
    let chain = arms.map(|(a, b, c): (i64, i64, i64), _| a + b + c);
    let ran = run_on(&engine_on(chain, &waits).await, 1).await;
    assert_eq!(ran.output(), &json!(4));
    let status = |path: &str| {
        ran.trace()
            .into_iter()
            .filter(|line| line.starts_with(path))
            .collect::<Vec<_>>()
    };
    assert_eq!(status("root/parallel[0].a.b: "), ["root/parallel[0].a.b: completed"]);
    assert_eq!(status("root/parallel[0].a: ").len(), 2);
}

#[tokio::test]
async fn a_block_may_read_the_history_that_a_model_would_see() {
    let seen = Arc::new(Mutex::new(Vec::<Vec<ModelMessage>>::new()));
    let read_by = seen.clone();
    let reads = handler("reads").run(move |text: String, ctx: Ctx| {
        let seen = read_by.clone();
        async move {
            ctx.emit().message(format!("about {text}")).await?;
            ctx.emit().to(Audience::Trace).message("hidden").await?;
            let (all, last) = (
                ctx.history(History::all()).await?,
                ctx.history(History::turns(1)).await?,
            );
            seen.lock().extend([all, last]);
            Ok(text)
        }
    });
    let asks = action(reads).user_message(|text: &String| text.clone());
    let flow = flow("f").action("a", asks).instance("i").expect("a flow");
    let engine = engine(flow).await;
    for text in ["tea", "cups"] {
        let in_session = flowstate_engine::Submission {
            session: Some("s".into()),
            ..submission(text)
        };
        let result = engine.run_submission(in_session).await.expect("a result");
        let ran: Ran = read(&engine, result).await;
        assert_eq!(ran.result.status, RequestStatus::Completed);
    }
    let seen = seen.lock();
    let texts = |messages: &[ModelMessage]| -> Value {
        messages
            .iter()
            .map(|message| format!("{:?}: {}", message.role(), message.text()))
            .collect()
    };
    assert_eq!(texts(&seen[0]), json!(["User: tea", "Assistant: about tea"]));
    assert_eq!(
        texts(&seen[2]),
        json!([
            "User: tea",
            "Assistant: about tea",
            "User: cups",
            "Assistant: about cups"
        ])
    );
    assert_eq!(texts(&seen[3]), json!(["User: cups", "Assistant: about cups"]));
}
