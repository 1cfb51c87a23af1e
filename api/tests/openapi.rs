//! The description of the routes is that of the routes: what is served is described, and what is described is served. And errors as problems.

mod support;

use std::collections::BTreeSet;

use axum::Router;
use flowstate::FlowState;
use flowstate::prelude::*;
use serde_json::{Value, json};

use support::{JSON, asked, call, send, serving};

#[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
struct Question {
    #[garde(length(min = 1))]
    text: String,
}

fn router() -> Router {
    let ask = handler("ask").run(|input: Question, _: Ctx| async move { Ok(input.text) });
    let flow = flow("chat")
        .action("ask", action(ask).validated())
        .instance("default")
        .expect("a flow");
    serving(flow).build().expect("a server").router().expect("routes")
}

async fn document(router: &Router) -> Value {
    let (status, document) = asked(router, "GET", "/openapi.json", None).await;
    assert_eq!(status, 200);
    document
}

/// What the tail of a path stands for in the description.
const TAILS: [&str; 3] = ["{topic}", "{topic}/content", "content"];

#[tokio::test]
async fn every_path_is_described_and_no_other() {
    let router = router();
    let document = document(&router).await;
    let described: BTreeSet<String> = document["paths"].as_object().expect("paths").keys().cloned().collect();
    let mut served: BTreeSet<String> = ["/livez", "/readyz", "/api/flows/healthz", "/api/flows/chat/actions/ask"]
        .map(str::to_owned)
        .into();
    for path in FlowState::paths() {
        let is_page = ["/", "/app.js", "/style.css"].contains(&path.as_str());
        let is_alias = path.starts_with("/api/api/") || path == "/api/flows/";
        match path.strip_suffix("{*rest}") {
            _ if is_page || is_alias => {}
            Some(before) => served.extend(TAILS.map(|tail| format!("{before}{tail}"))),
            None => drop(served.insert(path)),
        }
    }
    assert_eq!(described, served);
}

#[tokio::test]
async fn every_method_that_is_described_is_served_and_no_other() {
    let router = router();
    let document = document(&router).await;
    for (path, methods) in document["paths"].as_object().expect("paths") {
        for method in ["get", "post", "patch", "delete", "put"] {
            let uri = path.replace("{kind}", "none").replace(['{', '}'], "");
            let (status, headers, body) = send(&router, call(&method.to_uppercase(), &uri, &[JSON], "{}")).await;
            let error: Value = serde_json::from_slice(&body).unwrap_or_default();
            let is_routed = status != 405 && error["code"] != "route_not_found";
            // A topic may be `content`, and what can be written there is a resource, which nobody writes.
            let is_ambiguous = path.ends_with("/content") && ["patch", "delete"].contains(&method);
            let is_described = methods.get(method).is_some();
            assert!(
                is_routed == is_described || (is_ambiguous && !is_described),
                "{method} {path}: {status} {error}"
            );
            let allowed = headers.get("allow").and_then(|allowed| allowed.to_str().ok());
            let allows = |method: &str| allowed.is_none_or(|allowed| allowed.split(',').any(|one| one == method));
            assert!(
                is_routed
                    || methods
                        .as_object()
                        .expect("methods")
                        .keys()
                        .all(|name| allows(&name.to_uppercase())),
                "{path}: {allowed:?}"
            );
            assert!(
                is_routed || allowed.is_none() || !allows(&method.to_uppercase()),
                "{method} {path}: {allowed:?}"
            );
        }
    }
}

#[tokio::test]
async fn answers_that_are_described_are_those_that_are_given() {
    let router = router();
    let document = document(&router).await;
    let input = &document["paths"]["/api/flows/chat/actions/ask"]["post"]["requestBody"]["content"]["application/json"]
        ["schema"]["properties"]["input"];
    let place = input["$ref"]
        .as_str()
        .and_then(|place| place.strip_prefix('#'))
        .expect("a reference");
    let schema = document.pointer(place).expect("a schema");
    assert_eq!(schema["properties"]["text"]["minLength"], 1);
    // Each operation has a name of its own.
    let operations = document["paths"].as_object().expect("paths").values();
    let ids: Vec<&str> = operations
        .flat_map(|path| path.as_object().expect("methods").values())
        .filter_map(|operation| operation["operationId"].as_str())
        .collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len());

    let status = |of: &Value, status: u16| of["responses"].get(status.to_string()).is_some();
    let paths = &document["paths"];
    let made = asked(
        &router,
        "POST",
        "/api/flows/chat/sessions",
        Some(json!({"userId": "u", "sessionId": "s"})),
    )
    .await;
    assert!(made.0 == 201 && status(&paths["/api/flows/{kind}/sessions"]["post"], 201));
    for (path, uri) in [
        ("/api/flows/sessions/{session}", "/api/flows/sessions/s"),
        ("/api/flows/sessions/{session}/state", "/api/flows/sessions/s/state"),
        (
            "/api/flows/sessions/{session}/requests",
            "/api/flows/sessions/s/requests",
        ),
        ("/api/flows", "/api/flows"),
    ] {
        let (given, body) = asked(&router, "GET", uri, None).await;
        assert!(status(&paths[path]["get"], given), "{path}: {given}");
        let schema = &paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"];
        let resolved = match schema["$ref"].as_str() {
            Some(place) => document.pointer(&place[1..]).expect("a schema"),
            None => schema,
        };
        for field in resolved["required"].as_array().expect("fields") {
            assert!(
                body.get(field.as_str().expect("a name")).is_some(),
                "{path} lacks {field}"
            );
        }
    }
}

#[tokio::test]
async fn errors_are_problems_for_whoever_takes_them() {
    let router = router();
    for (accept, is_problem) in [
        ("application/problem+json", true),
        ("text/html, Application/Problem+JSON;q=0.9", true),
        ("application/json", false),
        ("*/*", false),
    ] {
        let (status, headers, body) = send(
            &router,
            call("GET", "/api/flows/sessions/nope", &[("accept", accept)], ""),
        )
        .await;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!((status.as_u16(), &body["code"]), (404, &json!("session_not_found")));
        let media_type = if is_problem {
            "application/problem+json"
        } else {
            "application/json"
        };
        assert_eq!(headers["content-type"], media_type, "{accept}");
        let kind = if is_problem {
            json!("urn:flowstate:error:session_not_found")
        } else {
            Value::Null
        };
        assert_eq!(body["type"], kind);
        if is_problem {
            assert_eq!(
                (&body["title"], &body["status"], &body["detail"]),
                (&json!("Not Found"), &json!(404), &body["error"])
            );
        }
    }
    // What is no error stays what it is.
    let (_, headers, _) = send(
        &router,
        call("GET", "/api/flows", &[("accept", "application/problem+json")], ""),
    )
    .await;
    assert_eq!(headers["content-type"], "application/json");
}
