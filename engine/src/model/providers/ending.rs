//! How an answer ended: why, and what it used.

use rig_core::completion::{CompletionResponse, FinishReason};
use serde_json::Value;

use super::super::{Finish, Usage};

/// Why the provider failed the answer, if it did without an error in the stream.
pub(super) fn failed(response: &CompletionResponse) -> Option<&String> {
    match response.finish_reason() {
        Some(FinishReason::Other(reason)) if reason == "failed" || reason == "cancelled" => response.error.as_ref(),
        _ => None,
    }
}

/// Why the answer ended.
pub(super) fn finish(response: &CompletionResponse) -> Finish {
    if response.raw.get("stop_reason").and_then(Value::as_str) == Some("pause_turn") {
        return Finish::Pause;
    }
    match response.finish_reason() {
        None | Some(FinishReason::Stop) => Finish::Stop,
        Some(FinishReason::Length) => Finish::Length,
        Some(FinishReason::ToolCalls) => Finish::ToolCalls,
        Some(FinishReason::ContentFilter) => Finish::ContentFilter,
        // Google's servers say STOP, others that speak its protocol this.
        Some(FinishReason::Other(reason)) if reason == "FUNCTION_CALL" => Finish::ToolCalls,
        Some(FinishReason::Other(reason)) => Finish::Other(reason),
        Some(_) => Finish::Other("unknown".to_owned()),
    }
}

/// What it used, if its provider says.
pub(super) fn usage(response: &CompletionResponse) -> Option<Usage> {
    let usage = &response.usage;
    usage.is_reported().then(|| Usage {
        input_tokens: usage.input_tokens.unwrap_or(0),
        output_tokens: usage.output_tokens.unwrap_or(0),
        cache_read_tokens: usage.cached_input_tokens.unwrap_or(0),
        cache_write_tokens: usage.cache_creation_input_tokens.unwrap_or(0),
        reasoning_tokens: usage.reasoning_tokens.unwrap_or(0),
    })
}
