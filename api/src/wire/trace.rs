//! What whoever looks at traces is sent of the execution of blocks: items of their own types, which no other client sees.

use flowstate_engine::model::Usage;
use flowstate_engine::record::{BlockKind, ErrorRecord};
use serde::Serialize;
use serde_json::Value;

/// An item of the trace.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceItem {
    pub(crate) id: String,
    pub(crate) r#type: &'static str,
    pub(crate) status: &'static str,
    pub(crate) request_id: String,
    /// The number of the record that added it: items of a trace are not counted among the others.
    pub(crate) item_index: u64,
    pub(crate) ts: i64,
    pub(crate) provenance: TraceProvenance,
    pub(crate) item_visibility: Hidden,
    pub(crate) agent_type: &'static str,
    #[serde(flatten)]
    pub(crate) body: TraceBody,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TraceProvenance {
    pub(crate) block_name: String,
    pub(crate) block_instance_id: String,
    pub(crate) phase: &'static str,
    pub(crate) block_definition_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent_block_instance_id: Option<String>,
    pub(crate) attempt: u32,
}

/// Nobody but whoever looks at traces sees it.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(crate) struct Hidden {
    client: bool,
    history: bool,
}

#[derive(Debug, Clone, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(crate) enum TraceBody {
    Block(Box<BlockTrace>),
    Router {
        router_name: String,
        selected_route: String,
    },
}

/// One execution of a block.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct BlockTrace {
    pub(crate) block_name: String,
    pub(crate) block_kind: BlockKind,
    pub(crate) block_instance_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) input: Option<Input>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) output: Option<BlockValue>,
    #[serde(flatten)]
    pub(crate) asked: Asked,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) tool_call: Option<ToolCall>,
    pub(crate) started_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) completed_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<Error>,
    /// After so many milliseconds it is tried again, which is another item.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_in_ms: Option<u64>,
}

/// What a generator asked, and what that took.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Asked {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) generator: Option<Generator>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model_usage: Option<ModelUsage>,
}

#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Generator {
    pub(crate) model: String,
    pub(crate) tools: Vec<String>,
    pub(crate) prompt: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) user: Option<String>,
    /// The calls that did not succeed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) failures: Vec<ModelFailure>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelFailure {
    pub(crate) model: String,
    pub(crate) kind: flowstate_engine::model::ModelErrorKind,
    pub(crate) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_in_ms: Option<u64>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelUsage {
    model: String,
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_tokens: Option<u64>,
}

impl ModelUsage {
    pub(crate) fn new(model: String, usage: &Usage) -> Self {
        let unless_none = |tokens: u64| (tokens > 0).then_some(tokens);
        Self {
            model,
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.input_tokens.saturating_add(usage.output_tokens),
            cache_read_tokens: unless_none(usage.cache_read_tokens),
            cache_creation_tokens: unless_none(usage.cache_write_tokens),
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Input {
    pub(crate) source: BlockValue,
}

/// A value, or where it is.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum BlockValue {
    Inline { value: Value },
    Ref { source_item_id: String },
}

/// The call of a model that a block answers.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolCall {
    pub(crate) call_id: String,
    pub(crate) name: String,
    pub(crate) arguments: String,
    pub(crate) generator_block: String,
}

/// Why a block failed, with everything that is known.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Error {
    message: String,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<Box<Error>>,
}

impl From<ErrorRecord> for Error {
    fn from(error: ErrorRecord) -> Self {
        Self {
            message: error.message,
            code: error.code,
            details: error.details,
            place: error.place,
            cause: error.cause.map(|cause| Box::new((*cause).into())),
        }
    }
}
