//! What is refused, with which status, naming what; and that nothing is kept of it.

use axum::body::Body;
use axum::http::Request;
use flowstate_tests::http::{call, chat, get, get_request, post_request, stream};
use serde_json::{Value, json};

use super::quick;

const POST: &str = "/api/flows/hello-chat/actions/chat";

fn good() -> Value {
    json!({ "input": { "message": "hi" }, "userId": "u-1" })
}

fn with(change: impl FnOnce(&mut Value)) -> String {
    let mut body = good();
    change(&mut body);
    body.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_calls_get_a_clear_error_and_leave_nothing_behind() {
    let (server, router) = quick().await;
    chat(&router, Some("mine"), "taken", "hello").await;
    stream(&router, "taken", "", &[]).await;
    let commits = server.ready().await.expect("open").log().last_commit();

    let post = |path: &str, body: String| post_request(path, &[], body);
    let headers = |headers: &[(&str, &str)]| post_request(POST, headers, good().to_string());
    let cases: Vec<(&str, Request<Body>, u16, &str)> = vec![
        (
            "malformed JSON",
            post(POST, "{\"input\": {\"message\": \"hi\"}, ".into()),
            400,
            "JSON",
        ),
        ("an array", post(POST, "[]".into()), 400, "object"),
        ("a number", post(POST, "3".into()), 400, "object"),
        ("nothing", post(POST, String::new()), 400, "JSON"),
        ("deep nesting", post(POST, "[".repeat(100_000)), 400, ""),
        ("not UTF-8", post_request(POST, &[], vec![b'"', 0xFF, b'"']), 400, ""),
        (
            "no user",
            post(
                POST,
                with(|body| drop(body.as_object_mut().expect("object").remove("userId"))),
            ),
            400,
            "userId",
        ),
        (
            "a blank user",
            post(POST, with(|body| body["userId"] = json!("  "))),
            400,
            "userId",
        ),
        (
            "a user of the wrong type",
            post(POST, with(|body| body["userId"] = json!(7))),
            400,
            "userId",
        ),
        (
            "a control character",
            post(POST, with(|body| body["userId"] = json!("a\nb"))),
            400,
            "userId",
        ),
        (
            "a long session",
            post(POST, with(|body| body["sessionId"] = json!("x".repeat(300)))),
            400,
            "sessionId",
        ),
        (
            "two projects",
            post(
                POST,
                with(|body| (body["projectId"], body["orgId"]) = (json!("a"), json!("b"))),
            ),
            400,
            "orgId",
        ),
        (
            "an empty message",
            post(POST, with(|body| body["input"]["message"] = json!(""))),
            400,
            "message",
        ),
        (
            "a message of the wrong type",
            post(POST, with(|body| body["input"]["message"] = json!(1))),
            400,
            "message",
        ),
        (
            "no message",
            post(POST, with(|body| body["input"] = json!({}))),
            400,
            "message",
        ),
        (
            "no input",
            post(
                POST,
                with(|body| drop(body.as_object_mut().expect("object").remove("input"))),
            ),
            400,
            "input",
        ),
        (
            "an unknown action",
            post("/api/flows/hello-chat/actions/dance", good().to_string()),
            400,
            "dance",
        ),
        (
            "an unknown flow",
            post("/api/flows/none/actions/chat", good().to_string()),
            404,
            "none",
        ),
        (
            "another user's session",
            post(
                "/api/flows/hello-chat/mine/actions/chat",
                with(|body| body["userId"] = json!("u-2")),
            ),
            400,
            "user",
        ),
        (
            "another project's session",
            post(
                "/api/flows/hello-chat/mine/actions/chat",
                with(|body| body["projectId"] = json!("p")),
            ),
            400,
            "project",
        ),
        (
            "a request id that is taken",
            post(POST, with(|body| body["requestId"] = json!("taken"))),
            409,
            "taken",
        ),
        (
            "too large",
            post(POST, with(|body| body["input"]["message"] = json!("x".repeat(1 << 20)))),
            413,
            "",
        ),
        (
            "no content type",
            post_request(POST, &[("content-type", "")], good().to_string()),
            415,
            "application/json",
        ),
        (
            "text",
            headers(&[("content-type", "text/plain")]),
            415,
            "application/json",
        ),
        (
            "a form",
            headers(&[("content-type", "application/x-www-form-urlencoded")]),
            415,
            "application/json",
        ),
        (
            "a foreign host",
            headers(&[("host", "attacker.example")]),
            421,
            "attacker.example",
        ),
        (
            "a foreign origin",
            headers(&[("origin", "http://attacker.example")]),
            403,
            "rigin",
        ),
        ("a null origin", headers(&[("origin", "null")]), 403, "rigin"),
        (
            "another port's origin",
            headers(&[("origin", "http://127.0.0.1:9999")]),
            403,
            "rigin",
        ),
        (
            "an unknown session",
            get_request("/api/flows/sessions/none", &[]),
            404,
            "none",
        ),
        (
            "an unknown session's state",
            get_request("/api/flows/sessions/none/state", &[]),
            404,
            "none",
        ),
        (
            "an unknown flow's stream",
            get_request("/api/flows/none/requests/taken/stream", &[]),
            404,
            "none",
        ),
        (
            "an unknown path",
            get_request("/api/flows/nope/nope/nope", &[]),
            404,
            "",
        ),
        (
            "a foreign host on GET",
            get_request("/api/flows", &[("host", "attacker.example")]),
            421,
            "",
        ),
        (
            "a path that is not UTF-8",
            get_request("/api/flows/sessions/%FF", &[]),
            400,
            "",
        ),
        (
            "a method",
            Request::put("/api/flows")
                .header("host", "localhost")
                .body(Body::empty())
                .expect("a request"),
            405,
            "",
        ),
        ("no route", get_request("/api/flows/none/of/these", &[]), 404, ""),
    ];
    for (what, request, status, names) in cases {
        let answer = call(&router, request).await;
        assert_eq!(answer.status, status, "{what}: {}", answer.text());
        assert!(
            answer.content_type.starts_with("application/json"),
            "{what}: {}",
            answer.content_type
        );
        let body = answer.json();
        let error = body["error"].as_str().unwrap_or_else(|| panic!("{what}: {body}"));
        assert!(!error.is_empty() && error.len() < 1_000, "{what}: {error}");
        assert!(
            body["code"].as_str().is_some_and(|code| !code.is_empty()),
            "{what}: {body}"
        );
        assert!(body.to_string().contains(names), "{what} should name {names}: {body}");
        for detail in body["details"].as_array().into_iter().flatten() {
            assert!(
                detail["path"].is_string() && detail["message"].is_string(),
                "{what}: {body}"
            );
        }
    }
    assert_eq!(
        server.ready().await.expect("open").log().last_commit(),
        commits,
        "a refused call leaves no record"
    );
    let sessions = get(&router, "/api/flows/sessions").await;
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_request_is_404_after_a_while_and_so_is_one_of_another_flow() {
    let (_server, router) = quick().await;
    chat(&router, Some("s"), "r", "hello").await;
    let unknown = call(&router, get_request("/api/flows/hello-chat/requests/none/stream", &[])).await;
    assert_eq!(unknown.status, 404);
    assert!(
        unknown.json()["error"]
            .as_str()
            .is_some_and(|error| error.contains("none"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_looks_odd_and_is_right_is_accepted() {
    let (_server, router) = quick().await;
    let cases = [
        (
            POST.to_owned(),
            vec![("content-type", "application/json; charset=utf-8")],
            good().to_string(),
        ),
        (
            POST.to_owned(),
            vec![("host", "localhost:9"), ("origin", "http://localhost:9")],
            good().to_string(),
        ),
        (POST.to_owned(), vec![("host", "[::1]:4400")], good().to_string()),
        (
            "/api/flows/hello%2Dchat/a%20b%2Fc%C3%A9/actions/chat".to_owned(),
            vec![],
            good().to_string(),
        ),
        (
            POST.to_owned(),
            vec![],
            with(|body| body["sessionId"] = json!("  trimmed ")),
        ),
        (
            POST.to_owned(),
            vec![],
            with(|body| (body["projectId"], body["orgId"]) = (json!("p"), json!("p"))),
        ),
        (
            POST.to_owned(),
            vec![],
            with(|body| body["metadata"] = json!("ignored")),
        ),
    ];
    for (path, headers, body) in cases {
        let answer = call(&router, post_request(&path, &headers, body)).await;
        assert_eq!(answer.status, 202, "{path} {headers:?}: {}", answer.text());
    }
    for session in ["a%20b%2Fc%C3%A9", "trimmed"] {
        get(&router, &format!("/api/flows/sessions/{session}")).await;
    }
    // The path's session wins over the body's.
    let body = with(|body| body["sessionId"] = json!("in-the-body"));
    let answer = call(
        &router,
        post_request("/api/flows/hello-chat/in-the-path/actions/chat", &[], body),
    )
    .await;
    assert_eq!(answer.json()["session"]["id"], "in-the-path");
}
