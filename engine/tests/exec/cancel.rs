//! Cancelling: a record that stops the chain, its arms and the background work, and closes what they left open.

use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::{BlockStatus, Fact, decode};
use flowstate_engine::{CancelError, Finished, Principal};

use crate::support::{Counter, Journal, after, begins, cancelled, engine, engine_that, submission, talker};

#[tokio::test]
async fn cancelling_stops_arms_and_background_work_and_closes_what_is_open() {
    let (begun, dropped, journal) = (Counter::default(), Counter::default(), Journal::default());
    let told = journal.clone();
    let chain = sequencer::<String>("s")
        .work(begins::<String, String>(&begun, &dropped))
        .then_all([begins(&begun, &dropped), talker()])
        .map(|all, _| all.concat())
        .rescue(any_error().run(|_: Rescued, _: Ctx| async { Ok("a cancel is no error".to_owned()) }));
    let flow = flow("f")
        .action("a", action(chain))
        .on_finished(move |told_: Finished, _: Ctx| {
            told.write(format!("{:?}", told_.status));
            async { Ok(()) }
        })
        .instance("i")
        .expect("a flow");
    let engine = engine(flow).await;
    let ran = cancelled(&engine, "x", (&begun, 2)).await;
    assert_eq!(dropped.get(), 2);
    assert_eq!(
        ran.result
            .error
            .as_ref()
            .map(|error| error.message().to_owned())
            .as_deref(),
        Some("it was cancelled")
    );
    assert_eq!(journal.read(), ["Interrupted"]);
    for line in ran.trace() {
        let hook = line.starts_with("on_finished");
        assert!(
            hook == line.ends_with("completed") && hook != line.ends_with("cancelled"),
            "{line}"
        );
    }
    let items = ran.items();
    let (notice, others) = items.split_last().expect("items");
    assert_eq!(*notice, ("the request was stopped".to_owned(), "completed"));
    assert!(others.iter().all(|(_, status)| *status == "incomplete"), "{items:?}");
    assert!(
        !engine.cancel(&Principal::default(), "r").await.expect("a request"),
        "it has ended"
    );
}

#[tokio::test]
async fn a_cancel_inside_any_method_leaves_nothing_open() {
    let (begun, dropped) = (Counter::default(), Counter::default());
    let block = || begins::<String, String>(&begun, &dropped);
    let listed = |block: Block<String, String>| block.map_input(|text: String, _| text);
    let chains: Vec<Block<String, String>> = vec![
        sequencer::<String>("then").then(block()).build(),
        sequencer::<String>("tap").tap(block()).build(),
        sequencer::<String>("until").do_until(|_, _| true, block()).build(),
        sequencer::<String>("while").do_while(|_, _| true, block()).build(),
        sequencer::<String>("parallel")
            .parallel((arm("a", block()),))
            .map(|(a,): (String,), _| a)
            .build(),
        sequencer::<String>("each")
            .map(|text, _| vec![text])
            .for_each(listed(block()))
            .map(|all, _| all.concat())
            .build(),
        sequencer::<String>("any").then_any([block()]).build(),
        sequencer::<String>("race").race([block()]).build(),
        sequencer::<String>("work").work(block()).wait_for_work().build(),
        sequencer::<String>("background")
            .map(|text, _| vec![text])
            .for_each_background(block())
            .map(|all, _| all.concat())
            .build(),
        router("router").route("a", block()).decide(|_, _, (a,)| a),
        sequencer::<String>("branch")
            .branch([case("a", |text: String, _| text, |_: &String, _| true, block())])
            .build(),
        block().retry(Retry::attempts(2)),
    ];
    for (at, chain) in chains.into_iter().enumerate() {
        let name = chain.name().to_owned();
        let flow = flow("f").action("a", action(chain)).instance("i").expect("a flow");
        let ran = cancelled(&engine(flow).await, "x", (&begun, at + 1)).await;
        assert_eq!(dropped.get(), at + 1, "{name}");
        assert!(
            ran.trace().iter().any(|line| line.ends_with("cancelled")) || name == "background",
            "{name}"
        );
    }
}

#[tokio::test]
async fn a_cancel_is_a_record_of_the_session_and_is_asked_once() {
    let (begun, dropped) = (Counter::default(), Counter::default());
    let flow = flow("f")
        .action("a", action(begins::<String, String>(&begun, &dropped)))
        .instance("i")
        .expect("a flow");
    let engine = engine(flow).await;
    let ran = cancelled(&engine, "x", (&begun, 1)).await;
    let found = engine
        .log()
        .sub_stream(&flowstate_log::record::Name::new("", "r").expect("a name"))
        .await;
    let found = found.expect("readable").expect("the request");
    let records = engine.log().read(found.stream, 1, 1_000).await.expect("records");
    let asked = records
        .iter()
        .find(|record| matches!(decode(record), Ok(Fact::CancelRequested(_))))
        .expect("the record");
    assert_eq!((asked.sub, asked.causation), (None, found.id.0));
    assert!(matches!(ran.facts.last(), Some(Fact::RequestInterrupted(_))));
    let unknown = engine.cancel(&Principal::default(), "nobody").await;
    assert!(matches!(unknown, Err(CancelError::UnknownRequest(_))));
}

/// Sleeps for an hour, and counts that it began.
fn sleeps(begun: &Counter) -> Block<String, String> {
    let begun = begun.clone();
    handler("sleeps").run(move |text: String, _| {
        begun.add(1);
        async move {
            tokio::time::sleep(Duration::from_secs(3_600)).await;
            Ok(text)
        }
    })
}

#[tokio::test]
async fn a_cancel_ends_a_request_whatever_it_waits_for() {
    let calls = |tool: Block<String, String>| {
        let tool = tool.tool().expect("a tool");
        handler("calls").run(move |text: String, ctx: Ctx| {
            let tool = tool.clone();
            async move {
                tool.call("c1", serde_json::json!({"input": text}), &ctx).await?;
                Ok(text)
            }
        })
    };
    let s = || sequencer::<String>("s");
    let begun = Counter::default();
    let blocks = [
        ("a model", talker(), 1),
        ("a handler", sleeps(&begun), 1),
        ("a model in a tool", calls(talker()), 1),
        (
            "a fan-out",
            s().then_all([talker(), sleeps(&begun)])
                .map(|all, _| all.concat())
                .build(),
            2,
        ),
        ("work", s().work(sleeps(&begun)).work(talker()).build(), 2),
        (
            "work that is waited for",
            s().work(sleeps(&begun)).wait_for_work().build(),
            1,
        ),
    ];
    for (name, block, waits) in blocks {
        let flow = flow("f").action("a", action(block)).instance("i").expect("a flow");
        let engine = engine_that(flow, &begun).await;
        let ran = cancelled(&engine, "x", (&begun, begun.get() + waits)).await;
        let trace = ran.trace();
        assert!(
            trace.iter().any(|line| line.ends_with(": cancelled")),
            "{name}: {trace:?}"
        );
    }
}

#[tokio::test]
async fn who_goes_away_stops_neither_the_chain_nor_its_work() {
    let (begun, gate) = (Counter::default(), Counter::default());
    let waits = |name: &str| {
        let begun = begun.clone();
        let counted = move |text: String, _: Ctx| {
            begun.add(1);
            text
        };
        after::<String>(&gate, 1).map_input(counted).named(name)
    };
    let chain = sequencer::<String>("s").work(waits("work")).then(waits("chain"));
    let flow = flow("f").action("a", action(chain)).instance("i").expect("a flow");
    let engine = engine(flow).await;
    let run = engine.run_submission(flowstate_engine::Submission {
        request: Some("r".into()),
        ..submission("x")
    });
    tokio::select! {
        ended = run => panic!("{ended:?}"),
        () = begun.reached(2) => {}
    }
    gate.add(1);
    let found = engine.request(&Principal::default(), "f", "r", Duration::ZERO).await;
    let sub = found.expect("readable").expect("a request").sub;
    let mut follow = engine.log().follow_sub(&sub, 0).await.expect("a cursor");
    let mut facts = Vec::new();
    while !facts.last().is_some_and(Fact::is_terminal) {
        let page = tokio::time::timeout(Duration::from_secs(20), follow.page()).await;
        let page = page.expect("in time").expect("records");
        facts.extend(page.iter().map(|record| decode(record).expect("a fact")));
    }
    assert!(matches!(facts.last(), Some(Fact::RequestCompleted(_))), "{facts:#?}");
    let completed = |fact: &&Fact| matches!(fact, Fact::BlockEnded(ended) if ended.status == BlockStatus::Completed);
    assert_eq!(facts.iter().filter(completed).count(), 3, "{facts:#?}");
}
