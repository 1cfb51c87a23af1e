//! Where an item comes from: the block instance that made it, and its place in the run.

use serde::{Deserialize, Serialize};

/// Which part of a run made an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The chain that leads to the request's output.
    #[default]
    Main,
    /// What runs beside it: background work and hooks.
    Work,
}

/// The block instance that made an item.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// The block's name.
    pub block_name: String,
    /// `<request id>:<path>:<attempt>`, or `runtime`.
    pub instance: String,
    /// The instance that ran this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Which part of the run.
    pub phase: Phase,
    /// The step of the sequencer that ran it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_index: Option<u32>,
    /// How often it was tried before, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
    /// `<flow kind>/<action>/<path>`: the same block in every request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
}

impl Provenance {
    /// Of what the runtime itself adds: the user's message, a terminal error.
    pub(crate) fn runtime() -> Self {
        Self {
            block_name: "runtime".into(),
            instance: "runtime".into(),
            ..Self::default()
        }
    }

    /// Whether the runtime itself added the item.
    pub(crate) fn is_of_runtime(&self) -> bool {
        self.instance == "runtime"
    }
}
