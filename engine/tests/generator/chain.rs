//! What is tried when a model does not answer, and what of that is recorded.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::Timer;
use flowstate_engine::model::{Model, ModelError, ModelErrorKind, ModelEvent, ModelRequest};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, ModelFailed};
use flowstate_log::Options;
use futures_util::FutureExt;
use futures_util::future::{self, BoxFuture};
use futures_util::stream::BoxStream;
use parking_lot::Mutex;

use super::support::*;

/// No time passes; what was to be waited is written down.
#[derive(Clone, Default)]
struct Waits(Arc<Mutex<Vec<u128>>>);

impl Timer for Waits {
    fn wait(&self, time: Duration) -> BoxFuture<'static, ()> {
        self.0.lock().push(time.as_millis());
        future::ready(()).boxed()
    }
}

struct Named(&'static str, Script);

impl Model for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        self.1.stream(request)
    }
}

fn fails(kind: ModelErrorKind) -> Events {
    fails_as("a", kind)
}

fn fails_as(model: &str, kind: ModelErrorKind) -> Events {
    vec![Err(ModelError::new(model, kind, format!("{kind:?}")))]
}

/// Runs with the models `a` and `b`; gives how long was waited.
async fn ran(a: Vec<Events>, b: Vec<Events>) -> (Ran, Vec<u128>) {
    let waits = Waits::default();
    let flow = flow("f").action("a", action(asks().model(["a", "b"])));
    let engine = Engine::builder()
        .flow(flow.instance("i").expect("a flow"))
        .model(Arc::new(Named("a", Script::new(a))))
        .model(Arc::new(Named("b", Script::new(b))))
        .timer(Arc::new(waits.clone()));
    let engine = engine.open(Options::in_memory()).await.expect("an engine");
    let ran = run_on(&engine, "s", "go").await;
    let waited = waits.0.lock().clone();
    (ran, waited)
}

fn failures(ran: &Ran) -> Vec<(String, ModelErrorKind, Option<u64>)> {
    let failed = ran.facts.iter().filter_map(|fact| match fact {
        Fact::ModelFailed(ModelFailed {
            model,
            kind,
            retry_in_ms,
            ..
        }) => Some((model.clone(), *kind, *retry_in_ms)),
        _ => None,
    });
    failed.collect()
}

#[tokio::test]
async fn a_model_is_asked_twice_and_then_the_next_one() {
    use ModelErrorKind::{Network, RateLimit};
    let mut slow = fails(RateLimit);
    slow[0] = slow[0].clone().map_err(|error| error.retry_after(2_500));
    let (ran, waited) = ran(vec![slow, fails(Network)], vec![says("here")]).await;
    assert_eq!(ran.output(), "here");
    assert_eq!(waited, [2_500], "as long as the provider asks");
    assert_eq!(
        failures(&ran),
        [("a".into(), RateLimit, Some(2_500)), ("a".into(), Network, None)]
    );
    let replied = ran.facts.iter().find_map(|fact| match fact {
        Fact::ModelReplied(replied) => Some(replied.model.clone()),
        _ => None,
    });
    assert_eq!(replied.as_deref(), Some("b"));
}

#[tokio::test]
async fn what_can_not_succeed_goes_to_the_next_at_once() {
    let (ran, waited) = ran(vec![fails(ModelErrorKind::Auth)], vec![says("here")]).await;
    assert_eq!((ran.output(), waited.len()), (&"here".into(), 0));
}

#[tokio::test]
async fn after_the_first_piece_nothing_else_is_tried() {
    for piece in [text("Well"), thought("Hm")] {
        let (ran, waited) = ran(vec![vec![piece]], vec![says("here")]).await;
        let error = ran.error().typed::<ModelError>().expect("a model's error");
        assert_eq!(
            (error.kind, error.model.as_str(), waited.len()),
            (ModelErrorKind::Cut, "a", 0)
        );
        assert_eq!(ran.items().len(), 1, "what came stays");
    }
}

#[tokio::test]
async fn when_all_fail_the_error_lists_every_attempt() {
    use ModelErrorKind::{BadRequest, Provider};
    let (ran, waited) = ran(vec![fails(Provider), fails(Provider)], vec![fails_as("b", BadRequest)]).await;
    let error = ran.error().typed::<ModelError>().expect("a model's error");
    assert_eq!((error.attempts.len(), waited), (3, vec![1_000]));
    assert!(
        error.message.contains("Provider") && error.message.contains("BadRequest"),
        "{error}"
    );
    assert!(ran.error().is_retryable(), "one of them may answer later");
}
