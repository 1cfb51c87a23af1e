//! What clients see of a scope: named values derived from its state and its resources. One that fails or hangs is reported and takes no other with it.
//!
//! Raw state stays inside by construction: an entry's function is given one scope's state and a reader of that scope's resources, and a snapshot
//! has what these functions give and nothing else. No type that has a state or a body has a way into [`crate::Snapshot`].

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{Either, join_all, select};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::block::{Answering, AtOnce, InTime, OrError};
use crate::error::BlockError;
use crate::exec::panic_message;
use crate::resource::ScopeResources;
use crate::scope::{Fields, ScopeDef};
use crate::timer::Timer;
use crate::value::Val;

/// Longest time that one entry may take; all of a snapshot are asked at once.
const ENTRY_TIME_MAX: Duration = Duration::from_secs(5);

/// What a function of client data may return: any value that has a JSON form, a `Result` of one, or a future of such a `Result`. `M` only
/// tells these apart.
pub trait ClientValue<M>: Send {
    #[doc(hidden)]
    fn client_value(self) -> Answering<Value>;
}

fn json(value: impl Serialize) -> Result<Value, BlockError> {
    Ok(serde_json::to_value(value)?)
}

impl<R: Serialize + Send> ClientValue<AtOnce> for R {
    fn client_value(self) -> Answering<Value> {
        Answering::Now(json(self))
    }
}

impl<R: Serialize + Send> ClientValue<OrError> for Result<R, BlockError> {
    fn client_value(self) -> Answering<Value> {
        Answering::Now(self.and_then(json))
    }
}

impl<R, F> ClientValue<InTime> for F
where
    R: Serialize,
    F: Future<Output = Result<R, BlockError>> + Send + 'static,
{
    fn client_value(self) -> Answering<Value> {
        Answering::Later(async move { self.await.and_then(json) }.boxed())
    }
}

/// One entry.
#[derive(Clone)]
pub(crate) struct ClientData {
    pub(crate) name: String,
    pub(crate) derive: Derive,
}

/// Makes an entry's value.
#[derive(Clone)]
pub(crate) enum Derive {
    /// From the typed state.
    OfState(OfState),
    /// From the typed state and the scope's resources.
    OfScope(OfScope),
}

type OfState = Arc<dyn Fn(&Val) -> Result<Value, BlockError> + Send + Sync>;
type OfScope = Arc<dyn Fn(Val, ScopeResources) -> Answering<Value> + Send + Sync>;

/// The values of the wanted entries, and for those that have none, why.
pub(crate) async fn derive(
    scope: &ScopeDef,
    stored: &Fields,
    resources: &ScopeResources,
    timer: &dyn Timer,
    wanted: impl Fn(&str) -> bool,
) -> (Map<String, Value>, Vec<(String, String)>) {
    let (mut values, mut errors) = (Map::new(), Vec::new());
    let entries: Vec<&ClientData> = scope.client_data.iter().filter(|entry| wanted(&entry.name)).collect();
    if entries.is_empty() {
        return (values, errors);
    }
    let Some(state) = scope.typed(stored) else {
        return (values, errors);
    };
    let state = state.map_err(|message| format!("the stored state is not of the declared type: {message}"));
    let derived = entries.iter().map(|entry| {
        let derived = entry.derive.value(state.clone(), resources.clone(), timer);
        derived.boxed()
    });
    let derived = join_all(derived.collect::<Vec<_>>()).await;
    for (entry, value) in entries.into_iter().zip(derived) {
        match value {
            Ok(value) => drop(values.insert(entry.name.clone(), value)),
            Err(message) => errors.push((entry.name.clone(), message)),
        }
    }
    (values, errors)
}

impl Derive {
    /// The value, or why there is none.
    async fn value(
        &self,
        state: Result<Val, String>,
        resources: ScopeResources,
        timer: &dyn Timer,
    ) -> Result<Value, String> {
        let state = state?;
        let derived = match self {
            Self::OfState(derive) => catch_unwind(AssertUnwindSafe(|| derive(&state))),
            Self::OfScope(derive) => {
                let deriving = async move { derive(state, resources).get().await };
                let deriving = AssertUnwindSafe(deriving).catch_unwind().boxed();
                match select(deriving, timer.wait(ENTRY_TIME_MAX)).await {
                    Either::Left((derived, _)) => derived,
                    Either::Right(_) => return Err(format!("it took longer than {ENTRY_TIME_MAX:?}")),
                }
            }
        };
        match derived {
            Ok(value) => value.map_err(|error| error.to_string()),
            Err(panic) => Err(format!("it panicked: {}", panic_message(&*panic))),
        }
    }
}

#[cfg(test)]
mod tests {
    use flowstate_log::{Log, Options};
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;
    use crate::block::handler;
    use crate::exec::Ctx;
    use crate::flow::{action, flow};
    use crate::record::ScopeKind;
    use crate::scope::scope;
    use crate::timer::TokioTimer;

    #[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
    struct State {
        turns: u32,
    }

    /// What a scope shows whose stored state is this, if it shows these entries.
    async fn shown(def: &ScopeDef, stored: Value, wanted: &[&str]) -> (Value, Vec<(String, String)>) {
        let nothing = handler("nothing").run(|input: u32, _: Ctx| async move { Ok(input) });
        let flow = flow("f").action("go", action(nothing)).instance("default");
        let mut options = Options::in_memory();
        (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
        options.limits.payload_bytes_max = 900 << 10;
        let log = Log::open(options).expect("a log");
        let resources = ScopeResources::new(log, None, ScopeKind::Session, Arc::new(flow.expect("a flow")));
        let Value::Object(stored) = stored else {
            panic!("no fields")
        };
        let (values, errors) = derive(def, &stored, &resources, &TokioTimer, |name| wanted.contains(&name)).await;
        (Value::Object(values), errors)
    }

    #[tokio::test]
    async fn an_entry_that_panics_is_reported_and_the_others_are_given() {
        let def = scope::<State>()
            .client_data("bad", |_: &State| -> u32 { panic!("no value") })
            .client_data("turns", |state: &State| state.turns)
            .client_data("unasked", |state: &State| state.turns)
            .erase("session", &mut Vec::new());
        let (values, errors) = shown(&def, json!({"turns": 3}), &["bad", "turns"]).await;
        assert_eq!(values, json!({"turns": 3}));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].0 == "bad" && errors[0].1.contains("no value"), "{errors:?}");
    }

    #[tokio::test]
    async fn a_field_that_a_stored_state_does_not_have_yet_begins_as_in_a_new_session() {
        let def = scope::<State>()
            .client_data("turns", |state: &State| state.turns)
            .erase("session", &mut Vec::new());
        let (values, errors) = shown(&def, json!({"other": 1}), &["turns"]).await;
        assert_eq!((values, errors), (json!({"turns": 0}), Vec::new()));
    }
}
