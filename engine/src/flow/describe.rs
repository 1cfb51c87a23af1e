//! What a listing shows of a flow.

use serde_json::Value;

use super::Flow;

/// What a listing shows of a flow.
#[derive(Debug, Clone, PartialEq)]
pub struct FlowDescription {
    /// Its kind.
    pub kind: String,
    /// Its instance id.
    pub id: String,
    /// Whether a request must name a user.
    pub require_user: bool,
    /// Its actions, in declaration order.
    pub actions: Vec<ActionDescription>,
}

/// What a listing shows of an action.
#[derive(Debug, Clone, PartialEq)]
pub struct ActionDescription {
    /// Its name.
    pub name: String,
    /// JSON schema (draft 2020-12) of its input.
    pub input_schema: Value,
    /// Whether it may be asked without an input, which is null.
    pub takes_nothing: bool,
}

impl Flow {
    /// What a listing shows of it.
    pub fn describe(&self) -> FlowDescription {
        FlowDescription {
            kind: self.kind.clone(),
            id: self.id.clone(),
            require_user: self.requires_user(),
            actions: self
                .actions
                .iter()
                .map(|action| ActionDescription {
                    name: action.name.clone(),
                    input_schema: action.schema.json().clone(),
                    takes_nothing: action.parse(&Value::Null).is_ok(),
                })
                .collect(),
        }
    }
}
