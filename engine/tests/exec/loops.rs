//! do_until, do_while, loop_back: how often they run, where each pass stands, and their bounds.

use flowstate_engine::prelude::*;
use serde_json::json;

use crate::support::{Counter, add, fails, run};

#[tokio::test]
async fn do_until_runs_until_the_condition_on_the_output_holds() {
    let ran = run(sequencer::<i64>("s").do_until(|n, _| *n >= 3, add(1)), 1).await;
    assert_eq!(ran.output(), &json!(3));
    assert_eq!(
        ran.trace(),
        [
            "root: completed",
            "root/do_until[0]/iter[0]: completed",
            "root/do_until[0]/iter[1]: completed"
        ]
    );
    assert_eq!(
        run(sequencer::<i64>("s").do_until(|_, _| true, add(1)), 1)
            .await
            .output(),
        &json!(2),
        "once at least"
    );
}

#[tokio::test]
async fn do_while_runs_once_at_least_and_as_long_as_the_condition_holds() {
    assert_eq!(
        run(sequencer::<i64>("s").do_while(|n, _| *n < 5, add(1)), 1)
            .await
            .output(),
        &json!(5)
    );
    assert_eq!(
        run(sequencer::<i64>("s").do_while(|_, _| false, add(1)), 1)
            .await
            .output(),
        &json!(2)
    );
}

#[tokio::test]
async fn the_connector_of_a_loop_runs_for_the_first_input_only() {
    let count = Counter::default();
    let counted = count.clone();
    let block = add(1).map_input(move |n: i64, _| {
        counted.add(1);
        n * 10
    });
    assert_eq!(
        run(sequencer::<i64>("s").do_until(|n, _| *n > 12, block), 1)
            .await
            .output(),
        &json!(13)
    );
    assert_eq!(count.get(), 1);
}

#[tokio::test]
async fn a_loop_that_does_not_end_fails_after_250_passes_or_as_many_as_it_says() {
    let ran = run(sequencer::<i64>("s").do_until(|_, _| false, add(1)), 0).await;
    assert_eq!(ran.error().code(), "loop_limit");
    assert_eq!(ran.blocks().len(), 251);
    let ran = run(sequencer::<i64>("s").do_while(|_, _| true, add(1)).max_passes(3), 0).await;
    assert!(ran.error().message().contains("3 passes"), "{}", ran.error());
    let ran = run(
        sequencer::<i64>("s").do_until(|n, _| *n == 300, add(1)).max_passes(300),
        0,
    )
    .await;
    assert_eq!(ran.output(), &json!(300));
}

#[tokio::test]
async fn loop_back_goes_to_the_named_step_at_most_so_often() {
    let chain = sequencer::<i64>("s")
        .then(add(100))
        .then(add(1))
        .loop_back("add-1", 2)
        .map(|n, _| n);
    let ran = run(chain, 0).await;
    assert_eq!(ran.output(), &json!(103), "then it goes on, without an error");
    assert_eq!(
        ran.trace()[2..],
        [
            "root/then[1]: completed",
            "root/loop[1]/then[1]: completed",
            "root/loop[2]/then[1]: completed"
        ]
    );
}

#[tokio::test]
async fn loop_back_asks_its_condition_and_finds_labels() {
    let chain = sequencer::<i64>("s")
        .label("again")
        .map(|n, _| n * 2)
        .loop_back("again", 50)
        .when(|n, _| *n < 100);
    assert_eq!(run(chain, 3).await.output(), &json!(192));
}

#[tokio::test]
async fn an_error_in_a_pass_fails_the_loop() {
    let chain = sequencer::<i64>("s").do_until(|_, _| true, fails("bad"));
    assert_eq!(run(chain, 1).await.error().code(), "bad");
    let nested = sequencer::<i64>("inner").do_while(|n, _| *n % 10 != 0, add(1));
    let ran = run(sequencer::<i64>("outer").do_until(|n, _| *n >= 20, nested), 1).await;
    assert_eq!(ran.output(), &json!(20));
    assert!(
        ran.trace()
            .contains(&"root/do_until[0]/iter[1]/do_while[0]/iter[9]: completed".to_owned())
    );
}

#[tokio::test]
async fn a_rescue_inside_a_loop_back_guards_every_pass() {
    let chain = sequencer::<i64>("s")
        .label("try")
        .then(handler("picky").run(|n: i64, _| async move {
            if n % 2 == 0 {
                Ok(n)
            } else {
                Err(BlockError::new("odd", n.to_string()))
            }
        }))
        .rescue(on_code("odd").run(|error: Rescued, _: Ctx| async move { Ok(error.message.parse::<i64>()? + 1) }))
        .map(|n, _| n + 1)
        .loop_back("try", 2);
    let ran = run(chain, 1).await;
    assert_eq!(ran.output(), &json!(7));
    assert!(
        ran.trace().contains(&"root/loop[2]/rescue[1].0: completed".to_owned()),
        "{:?}",
        ran.trace()
    );
}
