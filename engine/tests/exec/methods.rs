//! Every method that runs blocks: what an error inside of it becomes, and that a sequencer with it is a tool like any block.
//! A cancel inside of each is in `cancel`, and what each gives in the file of its theme.

use flowstate_engine::prelude::*;
use serde_json::{Value, json};

use crate::support::{add, fails, run};

/// A block with every method around the block, by the method's name.
fn methods(block: &Block<i64, i64>) -> Vec<(&'static str, Block<i64, i64>)> {
    let s = || sequencer::<i64>("s");
    let block = || block.clone();
    let sum = |all: Vec<i64>, _: Ctx| all.iter().sum::<i64>();
    let two = |n: i64, _: Ctx| vec![n, n];
    vec![
        ("then", s().then(block()).build()),
        ("then_if", s().then_if(|_, _| true, block()).build()),
        ("tap", s().tap(block()).build()),
        ("tap_if", s().tap_if(|_, _| true, block()).build()),
        ("map", s().map(|n, _| n + 1).then(block()).build()),
        (
            "parallel",
            s().parallel((arm("a", block()), arm("b", block())))
                .map(|(a, b): (i64, i64), _| a + b)
                .build(),
        ),
        ("then_all", s().then_all([block(), block()]).map(sum).build()),
        ("for_each", s().map(two).for_each(block()).map(sum).build()),
        (
            "branch",
            s().branch([case("a", |n: i64, _| n, |_: &i64, _| true, block())])
                .build(),
        ),
        ("do_until", s().do_until(|n, _| *n > 3, block()).build()),
        ("do_while", s().do_while(|n, _| *n < 3, block()).build()),
        (
            "loop_back",
            s().label("again").then(block()).loop_back("again", 2).build(),
        ),
        (
            "exit_if",
            s().then(block()).exit_if(|_, _| true).then(fails("never")).build(),
        ),
        ("router", router("s").route("a", block()).decide(|_, _, (a,)| a)),
        ("then_any", s().then_any([block(), block()]).build()),
        ("race", s().race([block(), block()]).build()),
        (
            "rescue",
            s().then(block())
                .rescue(any_error().run(|_: Rescued, _: Ctx| async { Ok(0) }))
                .build(),
        ),
        ("work", s().work(block()).build()),
        ("work_if", s().work_if(|_, _| true, block()).build()),
        ("background", s().background(block()).build()),
        (
            "wait_for_work",
            s().work(block()).wait_for_work().fail_on_error().build(),
        ),
        (
            "for_each_background",
            s().map(two).for_each_background(block()).map(sum).build(),
        ),
    ]
}

#[tokio::test]
async fn an_error_inside_of_every_method_is_what_the_method_says() {
    for (name, block) in methods(&fails("bad")) {
        let ran = run(block, 1).await;
        let became = match ran.result.error.as_ref() {
            Some(error) => json!(error.code()),
            None => ran.result.output.clone(),
        };
        let expected = match name {
            "then_any" | "race" => json!("aggregate_error"),
            "rescue" => json!(0),
            "work" | "work_if" | "background" => json!(1),
            "for_each_background" => json!(2),
            _ => json!("bad"),
        };
        assert_eq!(became, expected, "{name}");
        assert!(
            ran.trace().iter().any(|line| line.ends_with(": failed")),
            "{name}: {:?}",
            ran.trace()
        );
    }
}

#[tokio::test]
async fn every_method_runs_the_same_as_a_tool() {
    for (name, block) in methods(&add(1)) {
        let tool = block.tool().expect("a tool");
        let calls = handler("calls").run(move |n: i64, ctx: Ctx| {
            let tool = tool.clone();
            async move { tool.call("c1", json!({"input": n}), &ctx).await }
        });
        let (step, tool) = (run(block, 1).await, run::<i64, Value, _>(calls, 1).await);
        assert_eq!(tool.output(), step.output(), "{name}");
        let places = |lines: Vec<String>, below: &str| -> Vec<String> {
            let own = |line: &String| line.strip_prefix(below).map(str::to_owned);
            lines.iter().filter_map(own).collect()
        };
        let below = places(tool.trace(), "root/tool.s[c1]");
        assert_eq!(
            below,
            places(step.trace(), "root"),
            "{name}: the same blocks at the same places"
        );
    }
}
