//! Routers: the chosen route runs with the router's input, and the choice is recorded before it starts.

use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use serde_json::json;

use crate::support::{add, fails, run};

#[tokio::test]
async fn the_chosen_route_runs_and_the_choice_is_recorded_before_it_starts() {
    let mode = router("mode")
        .route("small", add(1))
        .route("large", add(100))
        .decide(|n, _ctx, (small, large)| if *n < 10 { small } else { large });
    let ran = run(sequencer::<i64>("s").then(mode), 50).await;
    assert_eq!(ran.output(), &json!(150));
    assert_eq!(ran.trace()[2], "root/then[0]/route.large: completed");
    let place = |find: &dyn Fn(&Fact) -> bool| ran.facts.iter().position(find).expect("a record");
    let chosen = place(
        &|fact| matches!(fact, Fact::RouteChosen(chosen) if chosen.path == "root/then[0]" && chosen.route == "large"),
    );
    let started = place(&|fact| matches!(fact, Fact::BlockStarted(block) if block.path.ends_with("route.large")));
    assert!(chosen < started);
}

#[tokio::test]
async fn a_decision_may_take_its_time_and_may_fail() {
    let later = router("later")
        .route("one", add(1))
        .decide(|_, _ctx, (one,)| async move {
            tokio::task::yield_now().await;
            Ok(one)
        });
    assert_eq!(run(later, 1).await.output(), &json!(2));
    let unsure = router("unsure")
        .route("one", add(1))
        .decide(|_, _ctx, _| Err(BlockError::new("unsure", "who knows")));
    assert_eq!(run(unsure, 1).await.error().code(), "unsure");
    let failing = router("failing")
        .route("one", fails::<i64, i64>("bad"))
        .decide(|_, _ctx, (one,)| one);
    assert_eq!(run(failing, 1).await.error().code(), "bad");
}

#[tokio::test]
async fn routers_nest() {
    let inner = router("inner")
        .route("a", add(1))
        .route("b", add(2))
        .decide(|n, _, (a, b)| if n % 2 == 0 { a } else { b });
    let outer = router("outer")
        .route("in", inner)
        .route("c", add(3))
        .decide(|n, _, (inner, c)| if *n < 10 { inner } else { c });
    let ran = run(outer, 3).await;
    assert_eq!(
        (ran.output(), ran.trace().last().map(String::as_str)),
        (&json!(5), Some("root/route.in/route.b: completed"))
    );
}

#[tokio::test]
async fn a_choice_of_another_router_is_a_typed_error() {
    let kept = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let (keep, reuse) = (kept.clone(), kept);
    let first = router("first")
        .route("one", add(1))
        .decide(move |_, _, (one,)| *keep.lock().insert(one));
    let second = router("second")
        .route("two", add(2))
        .decide(move |_, _, (own,)| reuse.lock().unwrap_or(own));
    let ran = run(sequencer::<i64>("s").then(first).then(second), 1).await;
    assert_eq!(ran.error().code(), "foreign_choice");
    assert!(ran.error().message().contains("\"second\""), "{}", ran.error());
}

#[test]
fn two_routes_of_one_name_fail_the_build() {
    let twice = router("mode")
        .route("a", add(1))
        .route("a", add(2))
        .decide(|_, _, (a, _)| a);
    let error = flow("f")
        .action("a", action(twice))
        .instance("i")
        .expect_err("two of a name");
    assert!(error.to_string().contains("\"a\" is declared twice"), "{error}");
}
