//! What a flow declares about a scope: the type of its state, where the state begins, its rules, and what clients see of it.
//! `scope/def` is that without its type, `scope/view` what blocks need of it, `scope/op` has the operations as data, `scope/check` what
//! must hold before one is appended, `scope/state` what a block calls, `scope/overlay` what a run knows of a state; which records
//! hold a state is in [`crate::projection::state`]. `scope/instance` is the state that an execution of a sequencer has for itself.

mod check;
mod def;
mod error;
mod fit;
mod instance;
mod left;
mod live;
pub(crate) mod op;
mod op_error;
pub(crate) mod overlay;
mod partial;
mod state;
mod versioned;
mod view;
mod write;

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::block::Answering;
use crate::error::{BlockError, Problem};
use crate::flow::ClientValue;
use crate::flow::client_data::{ClientData, Derive};
use crate::resource::{Definition, ResourceDef, ScopeResources};
use crate::schema::deserialize;
use crate::value::{Data, Val};

pub use error::{InstanceError, StateError, StateProblem};
pub use instance::InstanceRef;
pub use op::{Difference, Fields, StateOp};
pub use op_error::OpError;
pub use state::StateRef;
pub use view::{View, view};
pub use write::{Write, Written};

pub(crate) use def::ScopeDef;
pub(crate) use instance::InstanceState;
pub(crate) use partial::fields as fields_of_state;
pub(crate) use view::{FieldNeed, ViewDef, Views};
pub(crate) use write::{ResourceMark, ScopeWrite};

/// The state of a scope that has none, for a scope that only has resources: `scope::<NoState>().resource(&PLAN)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
pub struct NoState {}

/// Declares a scope whose state is an `S`, which begins as `S::default()`.
pub fn scope<S: Data + Default>() -> Scope<S> {
    Scope {
        client_data: Vec::new(),
        exposed: Vec::new(),
        commuting: Vec::new(),
        set_by_clients: Vec::new(),
        shared: false,
        rules: None,
        initial: None,
        resources: Vec::new(),
        _state: std::marker::PhantomData,
    }
}

type Rules = Arc<dyn Fn(&Value) -> Vec<Problem> + Send + Sync>;

/// A scope's declaration; see [`scope`].
#[derive(Clone)]
pub struct Scope<S> {
    client_data: Vec<ClientData>,
    exposed: Vec<String>,
    commuting: Vec<String>,
    set_by_clients: Vec<String>,
    shared: bool,
    rules: Option<Rules>,
    initial: Option<S>,
    resources: Vec<Arc<ResourceDef>>,
    _state: std::marker::PhantomData<fn() -> S>,
}

impl<S: Data + Default> Scope<S> {
    /// Shows clients, under `name`, what `derive` makes of the state. Beside this and [`Scope::expose`] nothing of a state ever
    /// reaches a client.
    pub fn client_data<R, F>(mut self, name: impl Into<String>, derive: F) -> Self
    where
        R: Serialize,
        F: Fn(&S) -> R + Send + Sync + 'static,
    {
        let derive =
            move |state: &Val| -> Result<Value, BlockError> { Ok(serde_json::to_value(derive(state.get::<S>()?))?) };
        self.client_data.push(ClientData {
            name: name.into(),
            derive: Derive::OfState(Arc::new(derive)),
        });
        self
    }

    /// Shows clients, under `name`, what `derive` makes of the state and the resources of this scope, and of nothing else: a value that has a
    /// JSON form, or a future of a `Result` of one. It is asked for each snapshot that wants it, has 5 s, and fails alone.
    pub fn client_data_with<R, M, F>(mut self, name: impl Into<String>, derive: F) -> Self
    where
        R: ClientValue<M>,
        F: Fn(S, ScopeResources) -> R + Send + Sync + 'static,
    {
        let derive = move |state: Val, resources: ScopeResources| match state.take::<S>() {
            Ok(state) => derive(state, resources).client_value(),
            Err(error) => Answering::Now(Err(error)),
        };
        self.client_data.push(ClientData {
            name: name.into(),
            derive: Derive::OfScope(Arc::new(derive)),
        });
        self
    }

    /// Lets whoever makes a session say what this field of its state begins as. Without this, only the flow does.
    pub fn set_by_clients(mut self, field: impl Into<String>) -> Self {
        self.set_by_clients.push(field.into());
        self
    }

    /// Shows clients a field as it is: in snapshots under its name, and in the changes that they are told of while a request runs.
    pub fn expose(mut self, field: impl Into<String>) -> Self {
        let field = field.into();
        let name = field.clone();
        let derive = move |state: &Val| -> Result<Value, BlockError> {
            let mut state = serde_json::to_value(state.get::<S>()?)?;
            Ok(state.get_mut(&field).map(Value::take).unwrap_or_default())
        };
        self.exposed.push(name.clone());
        self.client_data.push(ClientData {
            name,
            derive: Derive::OfState(Arc::new(derive)),
        });
        self
    }

    /// Holds every `set` and `atomic` to the rules that the state's type declares with `garde`. Operations that commute can't be held to
    /// rules over a whole state, so they are refused on all fields but those named by [`Scope::commuting`].
    pub fn validated(mut self) -> Self
    where
        S: garde::Validate,
        S::Context: Default,
    {
        self.rules = Some(Arc::new(|state| match deserialize::<S>("", state) {
            Err(problem) => vec![problem],
            Ok(state) => match state.validate() {
                Ok(()) => Vec::new(),
                Err(report) => {
                    let problems = report.iter();
                    problems
                        .map(|(path, error)| Problem::new(path.to_string(), error.to_string()))
                        .collect()
                }
            },
        }));
        self
    }

    /// Allows operations that commute on a field of a state with rules: no rule depends on it. A rule of the field itself is found when
    /// the flow is built, one that compares it with others is yours to know.
    pub fn commuting(mut self, field: impl Into<String>) -> Self {
        self.commuting.push(field.into());
        self
    }

    /// A resource or collection that each session, user or project has.
    pub fn resource<T: Data + Default, K>(mut self, resource: &Definition<T, K>) -> Self {
        self.resources.push(resource.def().clone());
        self
    }

    /// What the state begins as, instead of its type's default.
    pub(crate) fn beginning_as(mut self, state: S) -> Self {
        self.initial = Some(state);
        self
    }

    /// One state, and one of each resource, for all kinds of flow that declare it shared, with the same types. Of users and projects only;
    /// without this each kind of flow has a state of its own for each of them.
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }
}
