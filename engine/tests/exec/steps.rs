//! Steps with one block at a time: then, then_if, map, tap, tap_if, branch, exit_if; connectors, and what fails a build.

use flowstate_engine::prelude::*;
use garde::Validate;
use serde_json::json;

use crate::support::{Journal, add, fails, panics, run};

#[tokio::test]
async fn a_handler_may_be_a_plain_function() {
    let halves = handler("halves").run_sync(|n: i64, ctx: Ctx| match n % 2 {
        0 => Ok(format!("{} by {}", n / 2, ctx.block_name())),
        _ => Err(BlockError::new("odd", "it is odd")),
    });
    assert_eq!(run(halves.clone(), 6).await.output(), &json!("3 by halves"));
    assert_eq!(run(halves, 7).await.error().code(), "odd");
}

#[tokio::test]
async fn a_sequencer_without_steps_gives_its_input() {
    assert_eq!(run(sequencer::<i64>("empty"), 7).await.output(), &json!(7));
}

#[tokio::test]
async fn then_hands_each_output_on() {
    let length = handler("length").run(|text: String, _ctx| async move { Ok(text.len() as i64) });
    let ran = run(sequencer::<String>("s").then(length).then(add(1)), "four".to_owned()).await;
    assert_eq!(ran.output(), &json!(5));
    assert_eq!(
        ran.trace(),
        ["root: completed", "root/then[0]: completed", "root/then[1]: completed"]
    );
}

#[tokio::test]
async fn an_error_stops_the_chain_at_its_step() {
    let ran = run(sequencer::<i64>("s").then(fails::<i64, i64>("bad")).then(add(1)), 1).await;
    assert_eq!((ran.error().code(), ran.error().message()), ("bad", "it is bad"));
    assert_eq!(ran.trace(), ["root: failed", "root/then[0]: failed"]);
    let (_, ended) = ran.blocks().remove(0);
    assert_eq!(
        ended.error.and_then(|error| error.place).as_deref(),
        Some("root/then[0]")
    );
}

#[tokio::test]
async fn then_if_runs_its_block_and_connector_only_if_the_condition_holds() {
    let connected = Journal::default();
    let block = |journal: &Journal| {
        let journal = journal.clone();
        add(10).map_input(move |n: i64, _ctx| {
            journal.write("connected");
            n
        })
    };
    let small = sequencer::<i64>("s").then_if(|n, _| *n < 5, block(&connected));
    assert_eq!(run(small.clone(), 1).await.output(), &json!(11));
    assert_eq!(run(small, 9).await.output(), &json!(9));
    assert_eq!(connected.read(), ["connected"]);
}

#[tokio::test]
async fn conditions_may_be_async_and_may_fail() {
    let later = sequencer::<i64>("s").then_if(
        |n, _| {
            let small = *n < 5;
            async move { Ok(small) }
        },
        add(10),
    );
    assert_eq!(run(later, 1).await.output(), &json!(11));
    let failing = sequencer::<i64>("s").then_if(|_, _| Err::<bool, _>(BlockError::new("unsure", "who knows")), add(10));
    assert_eq!(run(failing, 1).await.error().code(), "unsure");
    let panicking = sequencer::<i64>("s").then_if(|n, _| if *n > 0 { panic!("no idea") } else { true }, add(10));
    let ran = run(panicking, 1).await;
    assert_eq!(ran.error().code(), "panic");
    assert!(ran.error().message().contains("no idea"), "{}", ran.error());
}

#[tokio::test]
async fn map_changes_the_value_without_a_block() {
    let ran = run(
        sequencer::<i64>("s")
            .map(|n, _| n * 2)
            .map(|n, _| async move { Ok(format!("<{n}>")) }),
        4,
    )
    .await;
    assert_eq!(ran.output(), &json!("<8>"));
    assert_eq!(ran.trace(), ["root: completed"]);
    let failing = sequencer::<i64>("s").map(|_, _| Err::<i64, _>(BlockError::new("unmapped", "no")));
    assert_eq!(run(failing, 4).await.error().code(), "unmapped");
}

#[tokio::test]
async fn tap_is_waited_for_and_leaves_the_value() {
    let journal = Journal::default();
    let note = |journal: &Journal| {
        let journal = journal.clone();
        handler("note").run(move |n: i64, _ctx| {
            journal.write(n.to_string());
            async { Ok("ignored".to_owned()) }
        })
    };
    let chain = sequencer::<i64>("s")
        .tap(note(&journal))
        .then(add(1))
        .tap_if(|n, _| *n > 100, note(&journal))
        .tap_if(|n, _| *n == 2, note(&journal));
    assert_eq!(run(chain, 1).await.output(), &json!(2));
    assert_eq!(journal.read(), ["1", "2"]);
    let failing = sequencer::<i64>("s").tap(fails::<i64, ()>("tapped"));
    assert_eq!(run(failing, 1).await.error().code(), "tapped");
}

#[tokio::test]
async fn branch_runs_the_first_case_whose_condition_holds_on_its_own_input() {
    let chain = || {
        sequencer::<String>("s").branch([
            case(
                "number",
                |text: String, _| Ok(text.parse::<i64>().unwrap_or(-1)),
                |n: &i64, _| *n >= 0,
                add(1),
            ),
            case(
                "length",
                |text: String, _| text.len() as i64,
                |_: &i64, _| true,
                add(100),
            ),
        ])
    };
    let ran = run(chain(), "41".to_owned()).await;
    assert_eq!(ran.output(), &json!(42));
    assert_eq!(ran.trace(), ["root: completed", "root/branch[0].number: completed"]);
    assert_eq!(run(chain(), "abc".to_owned()).await.output(), &json!(103));
    let none = sequencer::<i64>("s").branch([case("never", |n: i64, _| n, |_: &i64, _| false, add(1))]);
    let ran = run(none, 1).await;
    assert_eq!(ran.error().code(), "no_matching_branch");
    assert!(ran.error().message().contains("never"));
}

#[tokio::test]
async fn exit_if_skips_the_rest() {
    let chain = || {
        sequencer::<i64>("s")
            .exit_if(|n, _| *n > 10)
            .then(add(1))
            .exit_with(|n, _| *n == 1, |n, _| n - 1)
            .then(add(5))
    };
    assert_eq!(run(chain(), 11).await.output(), &json!(11));
    assert_eq!(run(chain(), 0).await.output(), &json!(0));
    assert_eq!(run(chain(), 1).await.output(), &json!(7));
    let outer = sequencer::<i64>("outer").then(chain()).then(add(1_000));
    assert_eq!(
        run(outer, 11).await.output(),
        &json!(1_011),
        "only the inner sequencer ends"
    );
}

#[tokio::test]
async fn connectors_compose_and_outputs_can_be_mapped() {
    let block = add(1)
        .map_input(|text: String, _ctx| Ok(text.parse::<i64>()?))
        .map_input(|n: u8, _ctx| n.to_string());
    let block = block.map_output(|n: i64, _ctx| vec![n]);
    assert_eq!(run(block.clone(), 7).await.output(), &json!([8]));
    let failing = add(1).map_input(|text: String, _ctx| Ok(text.parse::<i64>()?));
    let ran = run(failing, "x".to_owned()).await;
    assert_eq!(ran.error().code(), "execution_error");
    assert!(ran.error().message().contains("invalid digit"), "{}", ran.error());
}

#[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
struct Order {
    #[garde(range(max = 9))]
    count: u32,
    #[garde(length(min = 1))]
    name: String,
}

#[tokio::test]
async fn inputs_and_outputs_are_checked_with_every_problem_by_its_path() {
    let order = || Order {
        count: 10,
        name: String::new(),
    };
    let strict = handler("strict")
        .run(|order: Order, _ctx| async move { Ok(order.count) })
        .validated();
    let ran = run(sequencer::<i64>("s").map(move |_, _| order()).then(strict), 1).await;
    assert_eq!(ran.error().code(), "validation_error");
    let details = ran.error().details().expect("problems").to_string();
    assert!(
        details.contains("input.count") && details.contains("input.name"),
        "{details}"
    );
    let sloppy = handler("sloppy")
        .run(|order: Order, _ctx| async move { Ok(order) })
        .validated_output();
    let ran = run(sequencer::<i64>("s").map(move |_, _| order()).then(sloppy), 1).await;
    assert_eq!(ran.error().code(), "output_validation_error");
    let details = ran.error().details().expect("problems").to_string();
    assert!(
        details.contains("output.count") && details.contains("output.name"),
        "{details}"
    );
    assert!(ran.error().message().contains("\"sloppy\""), "{}", ran.error());
}

#[tokio::test]
async fn a_block_tells_of_its_end() {
    let journal = Journal::default();
    let told = |journal: &Journal, block: Block<i64, i64>| {
        let (completed, errored) = (journal.clone(), journal.clone());
        block
            .on_completed(move |n, _ctx| completed.write(format!("gave {n}")))
            .on_errored(move |error, _ctx| {
                errored.write(format!("failed with {}", error.code()));
                Err::<(), _>(BlockError::new("ignored", "ignored"))
            })
    };
    run(told(&journal, add(1)), 1).await;
    run(told(&journal, fails("bad")), 1).await;
    assert_eq!(journal.read(), ["gave 2", "failed with bad"]);
    let strict = add(1).on_completed(|_, _ctx| Err::<(), _>(BlockError::new("unwanted", "no")));
    assert_eq!(
        run(strict, 1).await.error().code(),
        "unwanted",
        "the block fails with its on_completed"
    );
}

#[tokio::test]
async fn a_panic_in_a_block_fails_the_request() {
    let ran = run(sequencer::<i64>("s").then(panics::<i64, i64>()), 1).await;
    assert_eq!(ran.error().code(), "panic");
    assert!(
        ran.error().message().contains("\"panics\" panicked: boom"),
        "{}",
        ran.error()
    );
    assert_eq!(ran.trace(), ["root: failed", "root/then[0]: failed"]);
}

#[test]
fn what_is_wrong_with_a_sequencer_is_found_when_the_flow_is_built_all_at_once() {
    let wrong = sequencer::<i64>("wrong")
        .label("a")
        .then(add(1))
        .label("a")
        .then(add(2))
        .loop_back("nowhere", 1)
        .max_concurrency(2)
        .map(|n, _| n.to_string())
        .loop_back("add-1", 1)
        .race(Vec::<Block<String, i64>>::new())
        .parallel((arm("x/y", add(1)), arm("z", add(1)), arm("z", add(1))))
        .label("last");
    let error = flow("f")
        .action("a", action(wrong))
        .on_started(handler(" ").run(|_: flowstate_engine::Started, _| async { Ok(()) }))
        .instance("i")
        .expect_err("wrong");
    let text = error.to_string();
    for part in [
        "\"a\" is declared twice",
        "\"nowhere\", and no step",
        "max_concurrency",
        "takes a i64",
        "race has no block",
        "\"x/y\"",
        "\"z\" is used twice",
        "\"last\" has no step",
        "on_started",
        "no name",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}
