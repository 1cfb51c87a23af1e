//! rescue: what it guards, which handler it takes, and what happens if that fails too.

use flowstate_engine::model::{ModelError, ModelErrorKind};
use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::{RateLimitError, StepErrored};
use serde_json::{Value, json};

use crate::support::{Journal, add, fails, run, run_flow};

fn says(text: &'static str) -> Block<Rescued, String> {
    handler(format!("says-{text}")).run(move |_: Rescued, _| async move { Ok(text.to_owned()) })
}

fn model_fails() -> Block<String, String> {
    handler("model").run(|_: String, _| async move {
        Err::<String, _>(ModelError::new("m", ModelErrorKind::Provider, "overloaded"))?;
        Ok(String::new())
    })
}

#[tokio::test]
async fn it_guards_the_steps_before_it_and_the_chain_goes_on_after_it() {
    let chain = sequencer::<String>("s")
        .then(fails::<String, String>("bad"))
        .map(|text, _| format!("{text} skipped"))
        .rescue(any_error().run(says("saved")))
        .map(|text, _| format!("{text} and on"));
    assert_eq!(run(chain, String::new()).await.output(), &json!("saved and on"));
    let after = sequencer::<String>("s")
        .rescue(any_error().run(says("saved")))
        .then(fails::<String, String>("bad"));
    assert_eq!(
        run(after, String::new()).await.error().code(),
        "bad",
        "what comes after is not guarded"
    );
    let unused = sequencer::<String>("s").rescue(any_error().run(says("saved")));
    assert_eq!(run(unused, "fine".to_owned()).await.output(), &json!("fine"));
}

#[tokio::test]
async fn handlers_are_taken_by_the_type_of_the_error_in_their_order() {
    let chain = || {
        sequencer::<String>("s").then(model_fails()).rescue([
            on::<RateLimitError>().run(|_: Rescued<RateLimitError>, _: Ctx| async move { Ok("limited".to_owned()) }),
            on::<ModelError>().run(|error: Rescued<ModelError>, _: Ctx| async move {
                Ok(format!(
                    "{} of {} at {}",
                    error.error.message,
                    error.error.model,
                    error.place.unwrap_or_default()
                ))
            }),
            any_error().run(says("any")),
        ])
    };
    assert_eq!(
        run(chain(), String::new()).await.output(),
        &json!("overloaded of m at root/then[0]")
    );
    let by_code = sequencer::<String>("s")
        .then(fails::<String, String>("odd"))
        .rescue([on_code("even").run(says("even")), on_code("odd").run(says("odd"))]);
    assert_eq!(run(by_code, String::new()).await.output(), &json!("odd"));
    let none = sequencer::<String>("s")
        .then(fails::<String, String>("odd"))
        .rescue(on_code("even").run(says("even")));
    assert_eq!(run(none, String::new()).await.error().code(), "odd");
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
struct OutOfTea {
    cups: u32,
}

impl ErrorType for OutOfTea {
    const CODE: &'static str = "out_of_tea";

    fn message(&self) -> String {
        format!("{} cups short", self.cups)
    }
}

#[tokio::test]
async fn an_error_type_of_the_application_is_found_with_its_fields() {
    let pours = handler("pours").run(|n: u32, _| async move { Err::<u32, _>(BlockError::of(OutOfTea { cups: n })) });
    let chain = sequencer::<u32>("s")
        .then(pours)
        .rescue(on::<OutOfTea>().run(|error: Rescued<OutOfTea>, _: Ctx| async move { Ok(error.error.cups * 10) }));
    assert_eq!(run(chain, 4).await.output(), &json!(40));
}

#[tokio::test]
async fn a_failing_handler_falls_to_the_next_and_its_error_has_the_first_as_its_cause() {
    let chain = |last: Block<Rescued, String>| {
        sequencer::<String>("s").then(fails::<String, String>("first")).rescue([
            any_error().run(fails::<Rescued, String>("second")),
            on_code("first").run(last),
        ])
    };
    assert_eq!(run(chain(says("saved")), String::new()).await.output(), &json!("saved"));
    let ran = run(chain(fails("third")), String::new()).await;
    assert_eq!(ran.error().code(), "third");
    let (_, root) = ran.blocks().remove(0);
    let cause = root.error.expect("an error").cause.expect("a cause");
    assert_eq!(cause.code, "first");
}

#[tokio::test]
async fn an_error_that_one_rescue_leaves_goes_on_to_the_next() {
    let chain = sequencer::<String>("s")
        .then(fails::<String, String>("first"))
        .rescue(any_error().run(fails::<Rescued, String>("second")))
        .map(|_, _| "skipped".to_owned())
        .rescue(on_code("second").run(says("later")));
    assert_eq!(run(chain, String::new()).await.output(), &json!("later"));
    let inner = sequencer::<String>("inner")
        .then(fails::<String, String>("deep"))
        .rescue(on_code("other").run(says("no")));
    let outer = sequencer::<String>("outer")
        .then(inner)
        .rescue(on_code("deep").run(says("outer")));
    assert_eq!(run(outer, String::new()).await.output(), &json!("outer"));
}

#[tokio::test]
async fn what_fails_in_an_arm_can_be_rescued_there() {
    let guarded = |by: i64| {
        let block = if by == 2 { fails("bad") } else { add(by) };
        let rescued = any_error().run(|_: Rescued, _: Ctx| async move { Ok(0_i64) });
        sequencer::<i64>(format!("guarded-{by}"))
            .then(block)
            .rescue(rescued)
            .build()
    };
    let ran = run(sequencer::<i64>("s").then_all([guarded(1), guarded(2), guarded(3)]), 1).await;
    assert_eq!(ran.output(), &json!([2, 0, 4]));
}

#[tokio::test]
async fn a_rescued_error_is_told_to_on_step_errored() {
    let journal = Journal::default();
    let told = journal.clone();
    let chain = sequencer::<String>("s")
        .then(fails::<String, String>("bad"))
        .rescue(any_error().run(says("saved")));
    let flow = flow("f")
        .action("a", action(chain))
        .on_step_errored(move |step: StepErrored, _: Ctx| {
            told.write(format!(
                "{} at {}",
                step.error.code,
                step.error.place.unwrap_or_default()
            ));
            async { Ok(()) }
        })
        .instance("i")
        .expect("a flow");
    let ran = run_flow(flow, "").await;
    assert_eq!(
        (ran.output(), journal.read()),
        (&json!("saved"), vec!["bad at root/then[0]".to_owned()])
    );
    assert!(
        ran.facts
            .iter()
            .any(|fact| matches!(fact, Fact::BlockStarted(hook) if hook.path.starts_with("on_step_errored")))
    );
    let _: &Value = ran.output();
}
