//! parallel, then_all, then_any, race, for_each: outputs in order, what a failure stops, and what it leaves behind.

use flowstate_engine::prelude::*;
use serde_json::json;

use crate::support::{Counter, add, after, begins, fails, hangs, panics, run, run_that, talker};

#[tokio::test]
async fn parallel_gives_every_output_by_its_arm() {
    let chain = sequencer::<i64>("s")
        .parallel((
            arm("one", add(1)),
            arm("text", |n: i64, _: Ctx| async move { Ok(n.to_string()) }),
        ))
        .map(|(one, text): (i64, String), _| format!("{one} {text}"));
    let ran = run(chain, 4).await;
    assert_eq!(ran.output(), &json!("5 4"));
    assert_eq!(
        ran.trace(),
        [
            "root: completed",
            "root/parallel[0].one: completed",
            "root/parallel[0].text: completed"
        ]
    );
}

#[derive(Clone, Serialize, Deserialize, JsonSchema)]
struct Research {
    facts: i64,
    #[serde(default)]
    tone: Option<i64>,
}

#[tokio::test]
async fn parallel_into_makes_a_struct_by_the_names_of_the_arms() {
    let chain = sequencer::<i64>("s").parallel_into::<Research, _>((arm("facts", add(1)), arm("tone", add(2))));
    assert_eq!(run(chain, 1).await.output(), &json!({"facts": 2, "tone": 3}));
    let wrong = sequencer::<i64>("s").parallel_into::<Research, _>((arm("mood", add(1)),));
    let error = flow("f")
        .action("a", action(wrong))
        .instance("i")
        .expect_err("wrong names")
        .to_string();
    assert!(
        error.contains("no field \"mood\"") && error.contains("no arm gives the field \"facts\""),
        "{error}"
    );
}

#[tokio::test]
async fn a_failed_arm_stops_the_others_and_closes_what_they_left_open() {
    let (dropped, said) = (Counter::default(), Counter::default());
    let late = sequencer::<String>("late")
        .then(after(&said, 2))
        .then(fails::<String, String>("late"))
        .build();
    let inner = sequencer::<String>("inner").then(talker());
    let chain = sequencer::<String>("s")
        .parallel((
            arm("talks", inner),
            arm("fails", late),
            arm("hangs", begins::<String, String>(&said, &dropped)),
        ))
        .map(|_, _| "unreached".to_owned())
        .rescue(any_error().run(handler("saved").run(|error: Rescued, _| async move { Ok(error.code) })));
    let ran = run_that(chain, "and on".to_owned(), &said).await;
    assert_eq!(ran.output(), &json!("late"));
    assert_eq!(dropped.get(), 1, "it was dropped while it ran");
    assert_eq!(ran.items(), [("so and on".to_owned(), "incomplete")]);
    assert_eq!(
        ran.trace(),
        [
            "root: completed",
            "root/parallel[0].talks: cancelled",
            "root/parallel[0].talks/then[0]: cancelled",
            "root/parallel[0].fails: failed",
            "root/parallel[0].fails/then[0]: completed",
            "root/parallel[0].hangs: cancelled",
            "root/parallel[0].fails/then[1]: failed",
            "root/rescue[2].0: completed"
        ]
    );
    let closed = ran
        .facts
        .iter()
        .position(|fact| matches!(fact, flowstate_engine::record::Fact::ItemCompleted(_)));
    let rescue = ran.facts.iter().position(
        |fact| matches!(fact, flowstate_engine::record::Fact::BlockStarted(started) if started.path.contains("rescue")),
    );
    assert!(
        closed < rescue,
        "what was left open is closed before the next step starts"
    );
}

#[tokio::test]
async fn a_panicking_arm_fails_like_any_other() {
    let dropped = Counter::default();
    let chain = sequencer::<i64>("s").then_all([hangs::<i64, i64>(&dropped), panics()]);
    let ran = run(chain, 1).await;
    assert_eq!((ran.error().code(), dropped.get()), ("panic", 1));
}

#[tokio::test]
async fn then_all_gives_a_list_in_the_order_of_the_blocks() {
    let ended = Counter::default();
    let counted = |by: i64| {
        let ended = ended.clone();
        add(by).on_completed(move |_, _| {
            ended.add(1);
        })
    };
    let last = after(&ended, 2);
    assert_eq!(
        run(sequencer::<i64>("s").then_all([last, counted(1), counted(2)]), 1)
            .await
            .output(),
        &json!([1, 2, 3])
    );
    assert_eq!(
        run(sequencer::<i64>("s").then_all(Vec::<Block<i64, i64>>::new()), 1)
            .await
            .output(),
        &json!([])
    );
}

/// Counts how many run at once.
fn crowd(running: &Counter, most: &Counter) -> Block<i64, i64> {
    let (running, most) = (running.clone(), most.clone());
    handler("crowd").run(move |n: i64, _| {
        let (running, most) = (running.clone(), most.clone());
        async move {
            let now = running.add(1);
            most.add(now.saturating_sub(most.get()));
            tokio::task::yield_now().await;
            running.sub();
            Ok(n)
        }
    })
}

#[tokio::test]
async fn no_more_run_at_once_than_was_said() {
    for (at_once, expected) in [(1, 1), (3, 3), (100, 8)] {
        let (running, most) = (Counter::default(), Counter::default());
        let chain = sequencer::<Vec<i64>>("s")
            .for_each(crowd(&running, &most))
            .max_concurrency(at_once);
        assert_eq!(
            run(chain, (0..8).collect()).await.output(),
            &json!([0, 1, 2, 3, 4, 5, 6, 7])
        );
        assert_eq!(most.get(), expected, "at most {at_once}");
    }
}

#[tokio::test]
async fn for_each_runs_a_block_for_every_element_and_keeps_their_order() {
    let ran = run(sequencer::<Vec<i64>>("s").for_each(add(1)), vec![3, 1, 2]).await;
    assert_eq!(ran.output(), &json!([4, 2, 3]));
    assert_eq!(ran.trace()[1], "root/for_each[0]/iter[0]: completed");
    assert_eq!(
        run(sequencer::<Option<Vec<i64>>>("s").for_each(add(1)), None)
            .await
            .output(),
        &json!([])
    );
    let dropped = Counter::default();
    let one_fails = sequencer::<Vec<i64>>("s").for_each_with(
        [fails::<i64, i64>("bad"), hangs(&dropped)],
        |n, index, [bad, good]| {
            assert!(index < 3);
            if *n == 3 { bad } else { good }
        },
    );
    let ran = run(one_fails, vec![1, 2, 3]).await;
    assert_eq!((ran.error().code(), dropped.get()), ("bad", 2));
}

#[tokio::test]
async fn a_choice_of_another_step_is_refused() {
    let kept = std::sync::Arc::new(parking_lot::Mutex::new(None));
    let (keep, reuse) = (kept.clone(), kept);
    let chain = sequencer::<Vec<i64>>("s")
        .for_each_with([add(1)], move |_, _, [choice]| *keep.lock().insert(choice))
        .for_each_with([add(1)], move |_, _, [own]| reuse.lock().unwrap_or(own));
    assert_eq!(run(chain, vec![1]).await.error().code(), "foreign_choice");
}

#[tokio::test]
async fn then_any_takes_the_first_that_succeeds_and_starts_no_more() {
    let chain = sequencer::<i64>("s").then_any([fails("one"), add(1), panics()]);
    let ran = run(chain, 1).await;
    assert_eq!(ran.output(), &json!(2));
    assert_eq!(
        ran.trace(),
        [
            "root: completed",
            "root/then_any[0].0: failed",
            "root/then_any[0].1: completed"
        ]
    );
    let none = sequencer::<i64>("s").then_any([fails::<i64, i64>("one"), fails("two")]);
    let ran = run(none, 1).await;
    assert_eq!(ran.error().code(), "aggregate_error");
    let details = ran.error().details().expect("every cause");
    assert_eq!(
        (&details[0]["code"], &details[1]["code"]),
        (&json!("one"), &json!("two"))
    );
}

#[tokio::test]
async fn race_takes_the_first_success_and_drops_the_others_at_once() {
    let (dropped, said) = (Counter::default(), Counter::default());
    let slow = after(&said, 1).map_output(|_: String, _| "won".to_owned());
    let seen = dropped.clone();
    let chain = sequencer::<String>("s")
        .race([hangs(&dropped), fails("bad"), talker(), slow])
        .map(move |winner, _| format!("{winner} over {}", seen.get()));
    let ran = run_that(chain, "and on".to_owned(), &said).await;
    assert_eq!(ran.output(), &json!("won over 1"));
    assert_eq!(ran.items(), [("so and on".to_owned(), "incomplete")]);
    let all_fail = sequencer::<i64>("s").race([fails::<i64, i64>("one"), fails("two")]);
    assert_eq!(run(all_fail, 1).await.error().code(), "aggregate_error");
}

#[tokio::test]
async fn what_a_nested_fan_out_left_open_is_closed_with_the_outer_one() {
    let inner = sequencer::<String>("inner")
        .then_all([talker(), talker()])
        .map(|all, _| all.concat());
    let said = Counter::default();
    let wins = after(&said, 2).map_output(|_: String, _| "won".to_owned());
    let chain = sequencer::<String>("s").race([inner.build(), wins]);
    let ran = run_that(chain, "x".to_owned(), &said).await;
    assert_eq!(ran.output(), &json!("won"));
    assert_eq!(
        ran.items(),
        [("so x".to_owned(), "incomplete"), ("so x".to_owned(), "incomplete")]
    );
}
