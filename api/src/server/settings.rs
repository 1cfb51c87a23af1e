//! What a server does otherwise if it is told to.

use super::frames::Shown;
use crate::server::error::ApiError;
use crate::server::routes::Params;
use crate::wire::event::StopNames;

/// Types of items that are for whoever looks at traces.
const TRACE_TYPES: [&str; 6] = [
    "block_output",
    "block_trace",
    "block_debug",
    "router_decision",
    "state_snapshot",
    "sequencer_state_snapshot",
];

/// See the module.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// Callers may ask for what clients don't see.
    pub(crate) trace_access: bool,
    /// What the end of a request is called that was stopped.
    pub(crate) stop_names: StopNames,
    /// The model that writes down what was spoken if a caller names none.
    pub(crate) transcription_model: Option<String>,
}

impl Settings {
    /// What a call for a stream, or for a poll, wants to see of it. `include=trace`, its older name `unfiltered=true`,
    /// or a type of traces in `item_types`, asks for everything.
    pub(crate) fn shown(&self, params: &Params) -> Result<Shown, ApiError> {
        let include = params.list("include").unwrap_or_default();
        let types = params.list("item_types").unwrap_or_default();
        let of_traces = types.iter().any(|name| TRACE_TYPES.contains(&name.as_str()));
        let trace = of_traces || include.iter().any(|what| what == "trace") || params.flag("unfiltered");
        match trace && !self.trace_access {
            true => Err(ApiError::TraceDenied),
            false => Ok(Shown {
                trace,
                names: self.stop_names,
            }),
        }
    }
}
