//! The call of an action: the fields of its body, and the answer when it was accepted.
//! Reading JSON is in `wire/json`; checking the input against the action's schema is the engine's.

use serde::Serialize;
use serde_json::{Map, Value};

use super::fields::Fields;
use super::problem::Problem;

/// The body of a POST to an action.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ActionBody {
    /// The action's input; `None` if the key is missing.
    pub(crate) input: Option<Value>,
    /// Who asks.
    /// Absent only where the flow allows it.
    pub(crate) user_id: Option<String>,
    /// The session to run in, if the path names none.
    pub(crate) session_id: Option<String>,
    /// The request id that the client chose.
    pub(crate) request_id: Option<String>,
    /// The project that the session belongs to (`projectId`, or its alias `orgId`).
    pub(crate) project_id: Option<String>,
    /// Kept with the request.
    pub(crate) metadata: Option<Map<String, Value>>,
}

impl ActionBody {
    /// Reads the fields; every problem is told, by path. Fields that are not known are left alone.
    pub(crate) fn from_fields(fields: Map<String, Value>, requires_user: bool) -> Result<Self, Vec<Problem>> {
        let mut fields = Fields::new(fields);
        let body = Self {
            user_id: fields.user(requires_user),
            session_id: fields.text("sessionId"),
            request_id: fields.text("requestId"),
            project_id: fields.project(),
            metadata: fields.object("metadata"),
            input: fields.take("input"),
        };
        fields.finish(body)
    }
}

/// The answer 202: the request is durable and can be followed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AcceptedBody<'a> {
    pub(crate) status: &'static str,
    pub(crate) request_id: &'a str,
    pub(crate) request: AcceptedRequest<'a>,
    pub(crate) session: AcceptedSession<'a>,
}

/// The request, in [`AcceptedBody`].
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AcceptedRequest<'a> {
    pub(crate) id: &'a str,
    pub(crate) flow_kind: &'a str,
    pub(crate) flow_id: &'a str,
    pub(crate) action_name: &'a str,
    pub(crate) status: &'static str,
    /// The request that it does again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_of: Option<&'a str>,
}

/// The session, in [`AcceptedBody`].
#[derive(Debug, Serialize)]
pub(crate) struct AcceptedSession<'a> {
    pub(crate) id: &'a str,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value) -> Result<ActionBody, Vec<String>> {
        let Value::Object(fields) = body else {
            panic!("not an object")
        };
        ActionBody::from_fields(fields, true).map_err(|problems| {
            problems
                .into_iter()
                .map(|problem| format!("{}: {}", problem.path, problem.message))
                .collect()
        })
    }

    #[test]
    fn a_user_may_be_absent_where_the_flow_allows_it() {
        let body = ActionBody::from_fields(Map::new(), false).unwrap();
        assert_eq!(body.user_id, None);
        let body = ActionBody::from_fields(Map::from_iter([("userId".to_owned(), json!(7))]), false);
        assert!(body.is_err(), "it may not be something else");
    }

    #[test]
    fn texts_are_trimmed_and_empty_is_absent() {
        let body = read(json!({
            "userId": " u ", "sessionId": "\t", "requestId": " r:1\n", "orgId": "home", "metadata": {"a": 1}, "input": null, "other": 1
        }))
        .unwrap();
        assert_eq!(body.user_id.as_deref(), Some("u"));
        assert_eq!(body.session_id, None);
        assert_eq!(body.request_id.as_deref(), Some("r:1"));
        assert_eq!(body.project_id.as_deref(), Some("home"));
        assert_eq!(body.metadata.unwrap()["a"], 1);
        assert_eq!(body.input, Some(Value::Null));
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (body, problems) in [
            (json!({}), vec!["userId: is required: send who asks, as a string"]),
            (
                json!({"userId": "  "}),
                vec!["userId: is required: send who asks, as a string"],
            ),
            (json!({"userId": 3}), vec!["userId: must be a string, not a number"]),
            (
                json!({"userId": [], "sessionId": {}, "requestId": true, "projectId": 1, "orgId": 1.5}),
                vec![
                    "userId: must be a string, not an array",
                    "sessionId: must be a string, not an object",
                    "requestId: must be a string, not a boolean",
                    "projectId: must be a string, not a number",
                    "orgId: must be a string, not a number",
                ],
            ),
            (
                json!({"userId": "u", "projectId": "a", "orgId": "b"}),
                vec!["orgId: differs from projectId: it is another name for it, send one of them"],
            ),
        ] {
            assert_eq!(read(body.clone()).unwrap_err(), problems, "{body}");
        }
    }

    #[test]
    fn both_names_of_the_project_may_agree_and_metadata_that_is_no_object_is_ignored() {
        let body =
            read(json!({"userId": "u", "projectId": "a", "orgId": " a ", "metadata": [1], "sessionId": null})).unwrap();
        assert_eq!(body.project_id.as_deref(), Some("a"));
        assert_eq!(body.metadata, None);
        assert_eq!(body.input, None);
    }
}
