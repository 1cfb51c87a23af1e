//! What each type of item has of its own, as clients see it.

use flowstate_engine::item::{self, ContentPart, ItemBody};
use serde::Serialize;
use serde_json::Value;

/// What a type of item has of its own.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub(super) enum Body {
    Message {
        role: &'static str,
        content: Vec<Content>,
    },
    Reasoning {
        summary: Vec<Content>,
    },
    ToolOutput {
        block_name: String,
        tool_call: ToolCall,
        #[serde(skip_serializing_if = "Option::is_none")]
        output: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Failure>,
    },
    ToolCallProgress {
        tool_call: ToolCall,
    },
    Component {
        component: String,
        data: Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
    },
    Container {
        block_name: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        component: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        label: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        metadata: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Failure>,
    },
    Source {
        source_type: &'static str,
        source_id: String,
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        provider_metadata: Option<Value>,
    },
    Status {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<Value>,
        #[serde(skip_serializing_if = "Option::is_none")]
        blocked: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        background_tasks: Option<u32>,
    },
    StateChange {
        scope: &'static str,
        operation: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        path: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delta: Option<Value>,
        version: u64,
    },
    ResourceChange {
        scope: &'static str,
        resource_path: String,
        change_type: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        version: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        delta: Option<Value>,
    },
    StepError {
        message: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        block_name: Option<String>,
        recovered: bool,
    },
    Error {
        message: String,
        code: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        details: Option<Value>,
    },
}

/// A model's call of a tool.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ToolCall {
    call_id: String,
    name: String,
    arguments: String,
    generator_block: String,
}

/// Why something failed.
#[derive(Debug, Serialize)]
pub(super) struct Failure {
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

/// One part of an item's content.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case", rename_all_fields = "camelCase")]
pub(crate) enum Content {
    /// Text: what takes deltas in a message.
    OutputText {
        text: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        annotations: Vec<Value>,
    },
    /// What takes deltas in a thought.
    ReasoningText {
        text: String,
    },
    Refusal {
        text: String,
    },
    File {
        media_type: String,
        data: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
    },
    OutputAudio {
        media_type: String,
        audio: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        transcript: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        duration: Option<f64>,
    },
}

impl From<ItemBody> for Body {
    fn from(body: ItemBody) -> Self {
        match body {
            ItemBody::Message { role, content } => Self::Message {
                role: role.as_str(),
                content: content.into_iter().map(Content::from).collect(),
            },
            ItemBody::Reasoning { summary } => Self::Reasoning {
                summary: summary.into_iter().map(Content::from).collect(),
            },
            ItemBody::ToolOutput(tool) => Self::ToolOutput {
                block_name: tool.block_name,
                tool_call: tool.call.into(),
                output: tool.output,
                error: tool.error.map(Failure::from),
            },
            ItemBody::ToolCallProgress(call) => Self::ToolCallProgress { tool_call: call.into() },
            ItemBody::Component(component) => Self::Component {
                component: component.component,
                data: component.data,
                key: component.key,
            },
            ItemBody::Container(container) => Self::Container {
                block_name: container.block_name,
                component: container.component,
                label: container.label,
                metadata: container.metadata,
                error: container.error.map(Failure::from),
            },
            ItemBody::Source(source) => Self::Source {
                source_type: "url",
                source_id: source.source_id,
                url: source.url,
                title: source.title,
                provider_metadata: source.provider_metadata,
            },
            ItemBody::Status(status) => Self::Status {
                message: status.message,
                detail: status.detail,
                blocked: status.blocked,
                background_tasks: status.background_tasks,
            },
            ItemBody::StateChange(change) => Self::StateChange {
                scope: change.scope.as_str(),
                operation: change.operation,
                path: change.path,
                delta: change.delta,
                version: change.version,
            },
            ItemBody::ResourceChange(change) => Self::ResourceChange {
                scope: change.scope.as_str(),
                resource_path: change.resource_path,
                change_type: change.change.as_str(),
                version: change.version,
                delta: change.delta,
            },
            ItemBody::StepError(error) => Self::StepError {
                message: error.message,
                code: error.code,
                block_name: error.block_name,
                recovered: error.recovered,
            },
            ItemBody::Error { message, code, details } => Self::Error { message, code, details },
        }
    }
}

impl From<item::ToolCall> for ToolCall {
    fn from(call: item::ToolCall) -> Self {
        Self {
            call_id: call.call_id,
            name: call.name,
            arguments: call.arguments,
            generator_block: call.generator,
        }
    }
}

impl From<item::Failure> for Failure {
    fn from(failure: item::Failure) -> Self {
        Self {
            message: failure.message,
            code: failure.code,
            details: failure.details,
        }
    }
}

impl From<ContentPart> for Content {
    fn from(part: ContentPart) -> Self {
        match part {
            ContentPart::OutputText { text, annotations } => Self::OutputText { text, annotations },
            ContentPart::ReasoningText { text } => Self::ReasoningText { text },
            ContentPart::Refusal { text } => Self::Refusal { text },
            ContentPart::File {
                media_type,
                data,
                filename,
            } => Self::File {
                media_type,
                data,
                filename,
            },
            ContentPart::OutputAudio {
                media_type,
                audio,
                stored: _,
                transcript,
                duration,
            } => Self::OutputAudio {
                media_type,
                audio,
                transcript,
                duration,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Each type as it is stored, and as it is sent.
    #[test]
    fn every_type_has_its_fields() {
        let call = json!({"call_id": "call_5", "name": "nutrition", "arguments": "{}", "generator": "cook"});
        let sent_call = json!({"callId": "call_5", "name": "nutrition", "arguments": "{}", "generatorBlock": "cook"});
        let cases = [
            (
                json!({"type": "message", "role": "developer", "content": [
                    {"type": "output_text", "text": "a", "annotations": [1]}, {"type": "refusal", "text": "no"},
                    {"type": "file", "media_type": "text/plain", "data": "aGk=", "filename": "f"},
                    {"type": "output_audio", "media_type": "audio/wav", "audio": "UklG", "transcript": "t", "duration": 1.5}]}),
                json!({"role": "developer", "content": [
                    {"type": "output_text", "text": "a", "annotations": [1]}, {"type": "refusal", "text": "no"},
                    {"type": "file", "mediaType": "text/plain", "data": "aGk=", "filename": "f"},
                    {"type": "output_audio", "mediaType": "audio/wav", "audio": "UklG", "transcript": "t", "duration": 1.5}]}),
            ),
            (
                json!({"type": "reasoning", "summary": [{"type": "reasoning_text", "text": "hm"}]}),
                json!({"summary": [{"type": "reasoning_text", "text": "hm"}]}),
            ),
            (
                json!({"type": "tool_output", "block_name": "nutrition", "call": call, "output": {"kcal": 230}}),
                json!({"blockName": "nutrition", "toolCall": sent_call, "output": {"kcal": 230}}),
            ),
            (
                json!({"type": "tool_output", "call": call, "error": {"message": "m", "code": "c", "details": 1}}),
                json!({"blockName": "", "toolCall": sent_call, "error": {"message": "m", "code": "c", "details": 1}}),
            ),
            (
                json!({"type": "tool_call_progress", "call_id": "call_5", "name": "nutrition", "arguments": "{}", "generator": "cook"}),
                json!({"toolCall": sent_call}),
            ),
            (
                json!({"type": "component", "component": "countdown", "key": "k", "data": {"left": 1}}),
                json!({"component": "countdown", "key": "k", "data": {"left": 1}}),
            ),
            (
                json!({"type": "container", "block_name": "pipe", "component": "card", "label": "Cooking", "metadata": {"a": 1}}),
                json!({"blockName": "pipe", "component": "card", "label": "Cooking", "metadata": {"a": 1}}),
            ),
            (
                json!({"type": "source", "source_id": "s1", "url": "https://example.org", "title": "t", "provider_metadata": {}}),
                json!({"sourceType": "url", "sourceId": "s1", "url": "https://example.org", "title": "t", "providerMetadata": {}}),
            ),
            (
                json!({"type": "status", "message": "m", "detail": {"code": "c"}, "blocked": false, "background_tasks": 2}),
                json!({"message": "m", "detail": {"code": "c"}, "blocked": false, "backgroundTasks": 2}),
            ),
            (
                json!({"type": "state_change", "scope": "request", "operation": "push", "path": "l", "delta": 1, "version": 4}),
                json!({"scope": "request", "operation": "push", "path": "l", "delta": 1, "version": 4}),
            ),
            (
                json!({"type": "resource_change", "scope": "project", "resource_path": "files/a", "change": "deleted", "version": 2}),
                json!({"scope": "project", "resourcePath": "files/a", "changeType": "deleted", "version": 2}),
            ),
            (
                json!({"type": "resource_change", "scope": "user", "resource_path": "plan", "change": "updated", "delta": {"done": 1}}),
                json!({"scope": "user", "resourcePath": "plan", "changeType": "updated", "delta": {"done": 1}}),
            ),
            (
                json!({"type": "step_error", "message": "m", "code": "c", "block_name": "b", "recovered": true}),
                json!({"message": "m", "code": "c", "blockName": "b", "recovered": true}),
            ),
            (
                json!({"type": "error", "message": "m", "code": "c", "details": [1]}),
                json!({"message": "m", "code": "c", "details": [1]}),
            ),
        ];
        for (stored, sent) in cases {
            let body: ItemBody = serde_json::from_value(stored.clone()).unwrap();
            let again = serde_json::to_value(&body).unwrap();
            assert_eq!(
                serde_json::from_value::<ItemBody>(again).unwrap(),
                body,
                "it is stored whole"
            );
            assert_eq!(serde_json::to_value(Body::from(body)).unwrap(), sent, "{stored}");
        }
    }
}
