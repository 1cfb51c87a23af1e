//! What an identity may name in a call.

use flowstate::auth::{ApiKey, ApiKeys, Identity};
use serde_json::{Value, json};

use super::{get, post, send, server};

const ACTION: &str = "/api/flows/chat/s/actions/say";

fn body(change: impl FnOnce(&mut Value)) -> Value {
    let mut body = json!({ "input": "hello" });
    change(&mut body);
    body
}

#[tokio::test]
async fn the_user_is_the_credentials_and_projects_are_in_its_claims() {
    let keys = ApiKeys::new();
    let text_of = |name: &str, identity: Identity| {
        let (key, text) = ApiKey::generate(name, &identity).expect("a key");
        keys.add(key).expect("a new key");
        text
    };
    let ann = text_of("ann", Identity::new("acme", "ann").project("p1"));
    let bob = text_of("bob", Identity::new("acme", "bob"));
    let router = server()
        .authenticate(keys.clone())
        .build()
        .expect("a server")
        .router()
        .expect("routes");

    for (token, body, status, code) in [
        (&ann, body(|body| body["userId"] = json!("bob")), 400, "invalid_request"),
        (
            &ann,
            body(|body| body["projectId"] = json!("p2")),
            404,
            "project_not_found",
        ),
        (&ann, body(|body| body["orgId"] = json!("p2")), 404, "project_not_found"),
        (
            &bob,
            body(|body| body["projectId"] = json!("p1")),
            404,
            "project_not_found",
        ),
        (&ann, body(|body| body["userId"] = json!("ann")), 202, ""),
        (&bob, body(|_| ()), 202, ""),
    ] {
        let (got, _, answer) = send(&router, post(ACTION, token, body.clone())).await;
        assert_eq!(got.as_u16(), status, "{body}: {answer}");
        assert_eq!(answer["code"].as_str().unwrap_or_default(), code, "{body}: {answer}");
    }
    let in_project = body(|body| (body["projectId"], body["sessionId"]) = (json!("p1"), json!("t")));
    let (status, _, answer) = send(&router, post("/api/flows/chat/actions/say", &ann, in_project)).await;
    assert_eq!(status.as_u16(), 202, "{answer}");

    // Both have a session `s`, and each sees only theirs.
    for (token, user, sessions) in [(&ann, "ann", 2), (&bob, "bob", 1)] {
        let (_, _, list) = send(&router, get("/api/flows/sessions", token)).await;
        let list = list["sessions"].as_array().expect("a list");
        assert_eq!(list.len(), sessions, "{list:?}");
        assert!(list.iter().all(|session| session["userId"] == user), "{list:?}");
    }
    let (status, _, _) = send(&router, get("/api/flows/sessions?userId=bob", &ann)).await;
    assert_eq!(status.as_u16(), 400);
    let (status, _, _) = send(&router, get("/api/flows/sessions/t", &bob)).await;
    assert_eq!(status.as_u16(), 404);
}
