//! GET the description of everything that is served, in OpenAPI 3.1: `openapi.json` beside the sources, and a path for each action with what it takes.

use std::sync::LazyLock;

use axum::Json;
use axum::extract::State;
use flowstate_engine::FlowDescription;
use serde_json::{Map, Value, json};

use super::Api;

/// What holds for every server. It is part of the program, so it can be read.
static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../openapi.json")).unwrap_or_default());

/// The path under which any action is run.
const ACTION: &str = "/api/flows/{kind}/actions/{action}";
/// Where sessions are made.
const SESSIONS: &str = "/api/flows/{kind}/sessions";

/// GET /openapi.json
pub(crate) async fn openapi(State(api): State<Api>) -> Json<Value> {
    let flows = api.engine.flows().iter().map(|flow| flow.describe());
    Json(document(flows, api.asks_who))
}

/// Whether a call needs a credential decides who says whose it is: the credential, or the call.
fn document(flows: impl Iterator<Item = FlowDescription> + Clone, asks_who: bool) -> Value {
    let mut document = DOCUMENT.clone();
    document["security"] = match asks_who {
        true => json!([{"bearer": []}]),
        false => json!([]),
    };
    if !asks_who {
        // Of a flow that is not named it is known only if it holds for all of them.
        if flows.clone().all(|flow| flow.require_user) {
            document["components"]["schemas"]["ActionBody"]["required"] = json!(["userId"]);
            let new = &mut document["paths"][SESSIONS]["post"]["requestBody"]["content"]["application/json"];
            new["schema"]["required"] = json!(["userId"]);
        }
        let sound = &mut document["paths"]["/api/flows/transcribe"]["post"]["requestBody"]["content"];
        sound["application/json"]["schema"]["required"] = json!(["audio", "userId"]);
    }
    document["info"]["version"] = env!("CARGO_PKG_VERSION").into();
    let any = document["paths"][ACTION]["post"].clone();
    for flow in flows {
        for action in &flow.actions {
            let name = format!("{}.{}", flow.kind, action.name);
            let place = format!("#/components/schemas/{}", escaped(&name));
            let mut schema = action.input_schema.clone();
            relocate(&mut schema, &place);
            document["components"]["schemas"][&name] = schema;
            let mut body = document["components"]["schemas"]["ActionBody"].clone();
            body["properties"]["input"] = json!({"$ref": place});
            let needs_input = (!action.takes_nothing).then_some("input");
            let needs_user = (flow.require_user && !asks_who).then_some("userId");
            let required: Vec<&str> = needs_input.into_iter().chain(needs_user).collect();
            body["required"] = json!(required);
            let mut post = any.clone();
            post["operationId"] = format!("run.{name}").into();
            post["parameters"] = post["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|at| at["in"] != "path")
                .cloned()
                .collect();
            post["requestBody"]["content"]["application/json"]["schema"] = body;
            let path = ACTION
                .replace("{kind}", &encoded(&flow.kind))
                .replace("{action}", &encoded(&action.name));
            document["paths"][path] = Value::Object(Map::from_iter([("post".to_owned(), post)]));
        }
    }
    document
}

/// References within a schema, from where it is now.
fn relocate(schema: &mut Value, place: &str) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(inside) = reference.strip_prefix('#')
            {
                *reference = format!("{place}{inside}");
            }
            fields.remove("$schema");
            fields.values_mut().for_each(|value| relocate(value, place));
        }
        Value::Array(values) => values.iter_mut().for_each(|value| relocate(value, place)),
        _ => {}
    }
}

/// A name in a JSON pointer that is a fragment of a URI.
fn escaped(name: &str) -> String {
    encoded(&name.replace('~', "~0").replace('/', "~1"))
}

/// A name as one segment of a path.
fn encoded(name: &str) -> String {
    let keeps = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    name.bytes().fold(String::new(), |mut encoded, byte| {
        match keeps(byte) {
            true => encoded.push(char::from(byte)),
            false => encoded.push_str(&format!("%{byte:02X}")),
        }
        encoded
    })
}

#[cfg(test)]
mod tests {
    use flowstate_engine::prelude::*;

    use super::*;

    #[derive(Clone, Serialize, Deserialize, JsonSchema)]
    struct Inner {
        word: String,
    }

    #[derive(Clone, Serialize, Deserialize, JsonSchema)]
    struct Input {
        inner: Inner,
    }

    /// Every reference of the document.
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn each_action_has_a_path_and_every_reference_leads_somewhere() {
        let nothing = handler("nothing").run(|input: Input, _: Ctx| async move { Ok(input) });
        let flow = flow("a b")
            .action("c~d", action(nothing))
            .instance("i")
            .expect("a flow");
        let known = document([flow.describe()].into_iter(), true);
        let document = document([flow.describe()].into_iter(), false);
        let post = &document["paths"]["/api/flows/a%20b/actions/c~d"]["post"];
        let body = &post["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["required"], json!(["input", "userId"]));
        let path = &known["paths"]["/api/flows/a%20b/actions/c~d"]["post"];
        let body_of_known = &path["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body_of_known["required"], json!(["input"]));
        assert_eq!(known["security"], json!([{"bearer": []}]));
        assert_eq!(body["properties"]["input"]["$ref"], "#/components/schemas/a%20b.c~0d");
        assert!(
            post["parameters"]
                .as_array()
                .is_some_and(|parameters| parameters.iter().all(|at| at["in"] != "path"))
        );
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 100);
        for reference in found {
            let pointer = reference.strip_prefix('#').expect("inside");
            let pointer = pointer.replace("%20", " ");
            assert!(document.pointer(&pointer).is_some(), "{reference} leads nowhere");
        }
    }
}
