//! Resources: the bodies of what clients ask for and do, and the answers.

use flowstate_engine::{InstancePage, ResourceInfo, ShownInstance};
use serde::Serialize;
use serde_json::{Map, Value};

use super::json::type_name;
use super::problem::Problem;

/// The answer with the body of a resource, or of an instance.
#[derive(Debug, Serialize)]
pub(crate) struct ContentAnswer {
    #[serde(rename = "ref")]
    pub(crate) resource: String,
    /// As it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) topic: Option<String>,
    /// Null if there is none.
    pub(crate) content: Option<String>,
}

/// The answer when an instance was made.
#[derive(Debug, Serialize)]
pub(crate) struct CreatedAnswer {
    pub(crate) topic: String,
}

/// The answer when an instance was written or deleted.
#[derive(Debug, Serialize)]
pub(crate) struct ChangedAnswer {
    #[serde(rename = "ref")]
    pub(crate) resource: String,
    /// As it was asked for.
    pub(crate) topic: String,
}

/// An instance of a collection.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Instance {
    topic: String,
    storage_key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_data: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

impl From<ShownInstance> for Instance {
    fn from(instance: ShownInstance) -> Self {
        Self {
            topic: instance.topic,
            storage_key: instance.storage_key,
            client_data: instance.client_data,
            content: instance.content,
        }
    }
}

/// The answer to GET /api/flows/sessions/{id}/resources/{ref}.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstancesBody {
    items: Vec<Instance>,
    pagination: InstancePagination,
    /// Only if there is more: a reader goes on as long as it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct InstancePagination {
    offset: usize,
    limit: usize,
    total: usize,
    has_more: bool,
    next_offset: usize,
    next_cursor: Option<String>,
}

impl InstancesBody {
    pub(crate) fn new(page: InstancePage, offset: usize, limit: usize) -> Self {
        let last = page.instances.last().map(|instance| instance.storage_key.clone());
        let next_cursor = last.filter(|_| page.has_more);
        Self {
            pagination: InstancePagination {
                offset,
                limit,
                total: page.total,
                has_more: page.has_more,
                next_offset: offset.saturating_add(page.instances.len()).min(page.total),
                next_cursor: next_cursor.clone(),
            },
            items: page.instances.into_iter().map(Into::into).collect(),
            next_cursor,
        }
    }
}

/// The answer to GET /api/flows/sessions/{id}/manifest.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestBody {
    pub(crate) flow_kind: String,
    pub(crate) resources: Vec<ManifestEntry>,
}

/// A resource that clients may do something with.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestEntry {
    #[serde(rename = "ref")]
    resource: String,
    kind: &'static str,
    scope: &'static str,
    has_client_data: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pattern: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prefetch_window: Option<usize>,
    client: Grants,
}

#[derive(Debug, Serialize)]
struct Grants {
    #[serde(skip_serializing_if = "Map::is_empty")]
    content: Map<String, Value>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    state: Map<String, Value>,
}

impl From<ResourceInfo> for ManifestEntry {
    fn from(info: ResourceInfo) -> Self {
        let access = info.access;
        let [create, update, delete] = access.changes();
        let granted = |grants: &[(&str, bool)]| {
            let granted = grants.iter().filter(|(_, is_granted)| *is_granted);
            granted
                .map(|(verb, _)| ((*verb).to_owned(), Value::Bool(true)))
                .collect()
        };
        Self {
            resource: info.name,
            kind: if info.pattern.is_some() { "collection" } else { "single" },
            scope: info.scope.as_str(),
            has_client_data: info.has_client_data,
            prefetch_window: info.pattern.is_some().then(|| access.prefetches()),
            pattern: info.pattern,
            client: Grants {
                content: granted(&[
                    ("read", access.reads_content()),
                    ("create", create),
                    ("update", update),
                    ("delete", delete),
                ]),
                state: granted(&[("read", access.reads_state())]),
            },
        }
    }
}

/// The body of a POST that makes an instance.
#[derive(Debug, PartialEq)]
pub(crate) struct CreateBody {
    /// Trimmed.
    pub(crate) topic: String,
    pub(crate) content: Option<String>,
}

impl CreateBody {
    /// Reads the fields; every problem is told. Fields that are not known are left alone.
    pub(crate) fn from_fields(mut fields: Map<String, Value>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let topic = match fields.remove("topic") {
            Some(Value::String(topic)) if !topic.trim().is_empty() => topic.trim().to_owned(),
            None | Some(Value::Null | Value::String(_)) => {
                problems.push(Problem::new(
                    "topic",
                    "is required: send which instance to make, as a string",
                ));
                String::new()
            }
            Some(other) => {
                problems.push(not_a_string("topic", &other));
                String::new()
            }
        };
        let content = match fields.remove("content") {
            None | Some(Value::Null) => None,
            Some(Value::String(content)) => Some(content),
            Some(other) => {
                problems.push(not_a_string("content", &other));
                None
            }
        };
        match problems.is_empty() {
            true => Ok(Self { topic, content }),
            false => Err(problems),
        }
    }
}

/// The content that the body of a PATCH has: exactly as it was sent.
pub(crate) fn content_of(mut fields: Map<String, Value>) -> Result<String, Vec<Problem>> {
    match fields.remove("content") {
        Some(Value::String(content)) => Ok(content),
        None => Err(vec![Problem::new("content", "is required: send the whole new text")]),
        Some(other) => Err(vec![not_a_string("content", &other)]),
    }
}

fn not_a_string(path: &str, value: &Value) -> Problem {
    Problem::new(path, &format!("must be a string, not {}", type_name(value)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(body: Value) -> Map<String, Value> {
        match body {
            Value::Object(fields) => fields,
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn topics_are_trimmed_and_contents_are_not() {
        let body = CreateBody::from_fields(fields(json!({"topic": " a b\n", "content": " x\n", "more": 1})));
        let expected = CreateBody {
            topic: "a b".into(),
            content: Some(" x\n".into()),
        };
        assert_eq!(body, Ok(expected));
        let body = CreateBody::from_fields(fields(json!({"topic": "a", "content": null})));
        assert_eq!(body.map(|body| body.content), Ok(None));
        assert_eq!(content_of(fields(json!({"content": " "}))), Ok(" ".into()));
    }

    #[test]
    fn every_wrong_field_is_named() {
        let paths = |problems: Vec<Problem>| problems.into_iter().map(|problem| problem.path).collect::<Vec<_>>();
        for (body, wrong) in [
            (json!({}), vec!["topic"]),
            (json!({"topic": " \t", "content": 3}), vec!["topic", "content"]),
            (json!({"topic": ["a"], "content": {}}), vec!["topic", "content"]),
        ] {
            let problems = CreateBody::from_fields(fields(body.clone())).expect_err("problems");
            assert_eq!(paths(problems), wrong, "{body}");
        }
        for body in [json!({}), json!({"content": null}), json!({"content": ["a"]})] {
            assert_eq!(paths(content_of(fields(body)).expect_err("a problem")), ["content"]);
        }
    }
}
