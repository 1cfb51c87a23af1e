//! Resources: the bodies of what clients ask for and do, and the answers.

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
