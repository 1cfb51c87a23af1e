//! Sessions and requests over HTTP: made, described, listed, deleted; stopped and done again; and the events of a whole session.

mod items;
mod kept;
#[path = "../support/mod.rs"]
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::BodyDataStream;
use flowstate::FlowStateBuilder;
use flowstate::prelude::*;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt;

use support::{JSON, asked, call, frames, send, serving};

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Note {
    theme: String,
    count: u32,
}

/// What its actions wait for.
#[derive(Clone, Default)]
struct Hold {
    goes_on: Arc<Notify>,
    fails: Arc<AtomicBool>,
}

/// The flow `chat`: `say` answers, `hold` says half of a message and waits, `fail` fails while it is told to.
fn chat(hold: &Hold) -> FlowStateBuilder {
    let (holds, fails) = (hold.clone(), hold.clone());
    let say = handler("say").run(|input: String, ctx: Ctx| async move {
        ctx.session::<Note>().inc("count", 1).await?;
        ctx.emit().message(format!("you said {input}")).await?;
        Ok(input)
    });
    let half = handler("hold").run(move |_: Value, ctx: Ctx| {
        let holds = holds.clone();
        async move {
            let message = ctx.emit().open_message().await?;
            message.append("half ").await?;
            ctx.durable().await?;
            holds.goes_on.notified().await;
            message.append("and half").await?;
            message.done().await?;
            Ok(())
        }
    });
    let fail = handler("fail").run(move |input: Value, _: Ctx| {
        let fails = fails.fails.clone();
        async move {
            match fails.load(Ordering::SeqCst) {
                true => Err(BlockError::new("no_luck", "it failed")),
                false => Ok(input),
            }
        }
    });
    let flow = flow("chat")
        .action("say", action(say).user_message(String::clone))
        .action("hold", action(half))
        .action("fail", action(fail))
        .session(scope::<Note>().expose("theme").expose("count").set_by_clients("theme"))
        .instance("default")
        .expect("a flow");
    serving(flow)
}

async fn router(hold: &Hold) -> Router {
    chat(hold).build().expect("a server").router().expect("routes")
}

async fn post(router: &Router, action: &str, session: &str, request: &str, input: Value) -> (u16, Value) {
    let body = json!({"userId": "ann", "requestId": request, "input": input});
    asked(
        router,
        "POST",
        &format!("/api/flows/chat/{session}/actions/{action}"),
        Some(body),
    )
    .await
}

/// The events of a request, once it has ended.
async fn events(router: &Router, request: &str) -> Vec<(Option<String>, Value)> {
    let uri = format!("/api/flows/chat/requests/{request}/stream");
    let (status, _, body) = send(router, call("GET", &uri, &[], "")).await;
    assert_eq!(status, 200);
    frames(&body)
}

#[tokio::test]
async fn a_session_is_made_described_and_deleted() {
    let router = router(&Hold::default()).await;
    let new = json!({"userId": "ann", "sessionId": "s", "projectId": "p", "title": " Soup ", "tags": ["a", 3, " b "], "metadata": {"k": 1}});
    let (status, made) = asked(&router, "POST", "/api/flows/chat/sessions", Some(new.clone())).await;
    assert_eq!(status, 201, "{made}");
    let session = &made["session"];
    for (field, value) in [
        ("id", json!("s")),
        ("flowKind", json!("chat")),
        ("userId", json!("ann")),
        ("projectId", json!("p")),
        ("orgId", json!("p")),
        ("title", json!("Soup")),
        ("tags", json!(["a", "b"])),
        ("metadata", json!({"k": 1})),
    ] {
        assert_eq!(session[field], value, "{field}");
    }
    assert!(session.get("state").is_none());
    let (status, error) = asked(&router, "POST", "/api/flows/chat/sessions", Some(new)).await;
    assert_eq!((status, &error["code"]), (409, &json!("session_exists")));

    let path = "/api/flows/sessions/s";
    let change = json!({"title": "", "metadata": {"m": 2}, "tags": null});
    let (status, described) = asked(&router, "PATCH", &format!("{path}/metadata"), Some(change)).await;
    assert_eq!(status, 200, "{described}");
    assert_eq!(described["session"]["metadata"], json!({"k": 1, "m": 2}));
    assert_eq!(described["session"]["tags"], json!(["a", "b"]));
    assert!(described["session"].get("title").is_none(), "blank takes it away");
    assert_eq!(asked(&router, "GET", path, None).await.1, described);

    assert_eq!(asked(&router, "DELETE", path, None).await, (204, Value::Null));
    for (method, path) in [
        ("GET", path.to_owned()),
        ("GET", format!("{path}/state")),
        ("GET", format!("{path}/requests")),
        ("DELETE", path.to_owned()),
    ] {
        assert_eq!(asked(&router, method, &path, None).await.0, 404, "{method} {path}");
    }
    let (_, listed) = asked(&router, "GET", "/api/flows/sessions", None).await;
    assert_eq!(listed, json!({"sessions": []}));
    // Another incarnation has nothing of the first.
    let (status, again) = asked(
        &router,
        "POST",
        "/api/flows/chat/sessions",
        Some(json!({"userId": "ann", "sessionId": "s"})),
    )
    .await;
    assert_eq!((status, again["session"].get("metadata")), (201, None));
}

#[tokio::test]
async fn what_a_session_begins_with_is_checked() {
    let router = router(&Hold::default()).await;
    let make = |body: Value| {
        let router = router.clone();
        async move { asked(&router, "POST", "/api/flows/chat/sessions", Some(body)).await }
    };
    for (body, status, code) in [
        (json!({}), 400, "invalid_request"),
        (json!({"userId": "u", "title": 3}), 400, "invalid_request"),
        (
            json!({"userId": "u", "title": "t".repeat(2_000)}),
            400,
            "invalid_request",
        ),
        (json!({"userId": "u", "tags": vec!["t"; 65]}), 400, "invalid_request"),
        (
            json!({"userId": "u", "metadata": {"k": "v".repeat(40_000)}}),
            400,
            "invalid_request",
        ),
        (json!({"userId": "u", "sessionId": "a\nb"}), 400, "invalid_request"),
        (json!({"userId": "u", "state": {"count": 1}}), 403, "state_not_allowed"),
        (json!({"userId": "u", "state": {"theme": 1}}), 400, "invalid_request"),
        (
            json!({"userId": "u", "state": [{"theme": "dark"}]}),
            400,
            "invalid_request",
        ),
        (json!({"userId": "u", "metadata": 0}), 400, "invalid_request"),
        (
            json!({"userId": "u", "projectId": "a", "orgId": "b"}),
            400,
            "invalid_request",
        ),
    ] {
        let (answered, error) = make(body.clone()).await;
        assert_eq!((answered, &error["code"]), (status, &json!(code)), "{body}: {error}");
    }
    assert_eq!(
        asked(&router, "GET", "/api/flows/sessions", None).await.1,
        json!({"sessions": []})
    );
    let (status, error) = asked(
        &router,
        "POST",
        "/api/flows/nope/sessions",
        Some(json!({"userId": "u"})),
    )
    .await;
    assert_eq!((status, &error["code"]), (404, &json!("flow_not_found")));
    let (status, made) = make(json!({"userId": "u", "state": {"theme": "dark"}})).await;
    assert_eq!(status, 201);
    let id = made["session"]["id"].as_str().expect("an id");
    let (_, state) = asked(&router, "GET", &format!("/api/flows/sessions/{id}/state"), None).await;
    assert_eq!(state["clientData"]["session"], json!({"theme": "dark", "count": 0}));
    // What says nothing changes nothing, not even when it was changed last.
    let metadata = format!("/api/flows/sessions/{id}/metadata");
    let (status, same) = asked(&router, "PATCH", &metadata, Some(json!({"title": null}))).await;
    assert_eq!((status, &same), (200, &made));
}

#[tokio::test]
async fn metadata_is_bounded_in_all_and_not_only_in_what_is_sent() {
    let router = router(&Hold::default()).await;
    let new = json!({"userId": "ann", "sessionId": "s", "metadata": {"a": "v".repeat(20_000)}});
    assert_eq!(
        asked(&router, "POST", "/api/flows/chat/sessions", Some(new)).await.0,
        201
    );
    let more = json!({"metadata": {"b": "v".repeat(20_000)}});
    let (status, error) = asked(&router, "PATCH", "/api/flows/sessions/s/metadata", Some(more)).await;
    assert_eq!((status, &error["details"][0]["path"]), (400, &json!("metadata")));
}

#[tokio::test]
async fn requests_are_listed_and_one_that_failed_is_done_again() {
    let hold = Hold::default();
    let router = router(&hold).await;
    hold.fails.store(true, Ordering::SeqCst);
    assert_eq!(post(&router, "say", "s", "one", json!("x")).await.0, 202);
    events(&router, "one").await;
    assert_eq!(post(&router, "fail", "s", "two", json!({"a": 1})).await.0, 202);
    let ended = events(&router, "two").await;
    assert_eq!(
        ended.last().map(|(_, data)| &data["type"]),
        Some(&json!("request.failed"))
    );

    let list = |query: &'static str| {
        let router = router.clone();
        async move {
            let (status, body) = asked(&router, "GET", &format!("/api/flows/sessions/s/requests{query}"), None).await;
            assert_eq!(status, 200);
            let ids = body["requests"].as_array().expect("a list").iter();
            ids.map(|request| {
                format!(
                    "{}:{}",
                    request["id"].as_str().unwrap_or(""),
                    request["status"].as_str().unwrap_or("")
                )
            })
            .collect::<Vec<_>>()
        }
    };
    assert_eq!(list("").await, ["two:failed", "one:completed"]);
    assert_eq!(list("?limit=1").await, ["two:failed"]);
    assert_eq!(list("?offset=1&limit=-1").await, ["one:completed"]);
    assert_eq!(list("?status=completed").await, ["one:completed"]);
    assert_eq!(list("?status=in_progress&limit=1").await, [""; 0]);
    assert_eq!(list("?status=never").await, [""; 0]);

    let retry = "/api/flows/chat/sessions/s/requests/two/retry";
    hold.fails.store(false, Ordering::SeqCst);
    let (status, accepted) = asked(&router, "POST", retry, None).await;
    assert_eq!(
        (status, &accepted["request"]["retryOf"]),
        (202, &json!("two")),
        "{accepted}"
    );
    let again = accepted["request"]["id"].as_str().expect("an id").to_owned();
    let ended = events(&router, &again).await;
    assert_eq!(
        ended.last().map(|(_, data)| &data["type"]),
        Some(&json!("request.completed"))
    );
    let (_, body) = asked(&router, "GET", "/api/flows/sessions/s/requests?limit=1", None).await;
    assert_eq!(body["requests"][0]["retryOf"], "two");
    assert!(body["requests"][0].get("input").is_none());

    for (uri, body, status, code) in [
        (
            "/api/flows/chat/sessions/s/requests/one/retry",
            None,
            409,
            "not_retryable",
        ),
        (
            "/api/flows/chat/sessions/s/requests/nope/retry",
            None,
            404,
            "request_not_found",
        ),
        (
            "/api/flows/chat/sessions/nope/requests/one/retry",
            None,
            404,
            "session_not_found",
        ),
        (
            "/api/flows/nope/sessions/s/requests/one/retry",
            None,
            404,
            "flow_not_found",
        ),
        (retry, Some(json!([])), 400, "invalid_body"),
    ] {
        let (answered, error) = asked(&router, "POST", uri, body).await;
        assert_eq!((answered, &error["code"]), (status, &json!(code)), "{uri}: {error}");
    }
}

#[tokio::test]
async fn a_request_is_stopped_and_says_so() {
    let hold = Hold::default();
    let router = router(&hold).await;
    assert_eq!(post(&router, "hold", "s", "r", Value::Null).await.0, 202);
    let (status, body) = asked(&router, "GET", "/api/flows/chat/requests/r/status", None).await;
    assert_eq!((status, &body["status"]), (200, &json!("in_progress")));
    assert!(body["ageMs"].as_i64() >= Some(0) && body["lastHeartbeatAt"].as_i64() >= body["startedAtMs"].as_i64());
    let (_, active) = asked(&router, "GET", "/api/flows/active-requests", None).await;
    assert_eq!(active["entries"][0]["requestId"], "r");
    assert_eq!(active["entries"][0]["sessionId"], "s");

    let abort = "/api/flows/chat/requests/r/abort";
    assert_eq!(asked(&router, "POST", abort, None).await, (204, Value::Null));
    let told = events(&router, "r").await;
    let types: Vec<&str> = told.iter().filter_map(|(_, data)| data["type"].as_str()).collect();
    assert_eq!(types.last(), Some(&"request.incomplete"));
    let notice = told
        .iter()
        .find(|(_, data)| data["item"]["type"] == "status")
        .expect("a notice");
    assert_eq!(notice.1["item"]["id"], "item_status_aborted_r");
    assert_eq!(notice.1["item"]["detail"]["code"], "system.request_aborted");
    assert!(notice.1["item"].get("transient").is_none());
    let half = told
        .iter()
        .rfind(|(_, data)| data["item"]["type"] == "message")
        .expect("a message");
    assert_eq!(
        (&half.1["type"], &half.1["item"]["status"]),
        (&json!("item.done"), &json!("incomplete"))
    );

    let (status, error) = asked(&router, "POST", abort, None).await;
    assert_eq!((status, &error["code"]), (409, &json!("request_ended")));
    assert_eq!(
        asked(&router, "POST", "/api/flows/chat/requests/nope/abort", None)
            .await
            .0,
        404
    );
    let (_, listed) = asked(&router, "GET", "/api/flows/sessions/s/requests?status=aborted", None).await;
    assert_eq!(listed["requests"][0]["id"], "r");
    let (_, listed) = asked(
        &router,
        "GET",
        "/api/flows/sessions/s/requests?status=interrupted",
        None,
    )
    .await;
    assert_eq!(listed, json!({"requests": []}));
    let (_, state) = asked(&router, "GET", "/api/flows/sessions/s/state?include_items=1", None).await;
    assert_eq!(state["items"][1]["id"], "item_status_aborted_r", "it is remembered");
    let (_, left) = asked(&router, "POST", "/api/flows/users/ann/check-interrupted", None).await;
    assert_eq!(left, json!({"interrupted": []}), "somebody asked for it");
    let (_, active) = asked(&router, "GET", "/api/flows/active-requests", None).await;
    assert_eq!(active, json!({"entries": []}));
}

#[tokio::test]
async fn the_end_of_what_was_stopped_may_be_called_as_later_clients_know_it() {
    let hold = Hold::default();
    let router = chat(&hold)
        .later_stop_names()
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    post(&router, "hold", "s", "r", Value::Null).await;
    asked(&router, "POST", "/api/flows/chat/requests/r/abort", None).await;
    let told = events(&router, "r").await;
    let last = told
        .last()
        .map(|(_, data)| (data["type"].clone(), data["status"].clone()));
    assert_eq!(last, Some((json!("request.aborted"), json!("aborted"))));
}

#[tokio::test]
async fn what_a_crash_left_is_told_until_it_is_done_again() {
    let disk = flowstate::log::disk::memory::MemoryDisk::new();
    let options = |disk: &flowstate::log::disk::memory::MemoryDisk| {
        let mut options = flowstate::log::Options::in_memory();
        options.disk = Arc::new(disk.clone());
        flowstate::Store::with(options)
    };
    let hold = Hold::default();
    let first = chat(&hold).store(options(&disk)).build().expect("a server");
    post(&first.router().expect("routes"), "hold", "s", "r", Value::Null).await;
    let crashed = disk.crash(1);
    first.dispose().await;

    let second = chat(&hold).store(options(&crashed)).build().expect("a server");
    let router = second.router().expect("routes");
    let check = "/api/flows/users/ann/check-interrupted";
    let (status, left) = asked(&router, "POST", check, None).await;
    assert_eq!(
        (status, &left["interrupted"][0]["requestId"]),
        (200, &json!("r")),
        "{left}"
    );
    assert_eq!(
        asked(&router, "POST", "/api/flows/users/bob/check-interrupted", None)
            .await
            .1,
        json!({"interrupted": []})
    );
    assert_eq!(
        asked(&router, "POST", &format!("{check}?staleThresholdMs=soon"), None)
            .await
            .0,
        400
    );
    assert_eq!(
        events(&router, "r").await.last().map(|(_, data)| &data["type"]),
        Some(&json!("request.incomplete"))
    );
    hold.goes_on.notify_one();
    let (status, _) = asked(&router, "POST", "/api/flows/chat/sessions/s/requests/r/retry", None).await;
    assert_eq!(status, 202);
    assert_eq!(asked(&router, "POST", check, None).await.1, json!({"interrupted": []}));
    second.dispose().await;
}

#[tokio::test]
async fn a_session_that_is_deleted_ends_what_runs_in_it() {
    let hold = Hold::default();
    let router = router(&hold).await;
    let waiting = Arc::strong_count(&hold.goes_on);
    post(&router, "hold", "s", "r", Value::Null).await;
    let stream = session_stream(&router, "", &[]).await;
    let (stream, first) = read(stream, holds("half ", 1)).await;
    let rest = tokio::spawn(read(stream, |_| false));
    assert_eq!(asked(&router, "DELETE", "/api/flows/sessions/s", None).await.0, 204);
    let (_, rest) = rest.await.expect("it ends");
    let told = frames(&[first, rest].concat());
    // Who reads is told of the end, unless the session is gone before.
    let types: Vec<&str> = told.iter().filter_map(|(_, data)| data["type"].as_str()).collect();
    assert!(types.iter().all(|name| *name != "request.completed"), "{types:?}");
    let status = asked(&router, "GET", "/api/flows/chat/requests/r/status", None).await;
    assert_eq!(status.0, 404);
    let (_, active) = asked(&router, "GET", "/api/flows/active-requests", None).await;
    assert_eq!(active, json!({"entries": []}), "nothing runs on");
    assert_eq!(Arc::strong_count(&hold.goes_on), waiting, "what it held is let go");
}

#[tokio::test]
async fn a_key_makes_a_post_happen_once() {
    let hold = Hold::default();
    let router = router(&hold).await;
    let post = |key: &'static str, body: Value| {
        let router = router.clone();
        async move {
            let request = call(
                "POST",
                "/api/flows/chat/actions/say",
                &[JSON, ("idempotency-key", key)],
                body.to_string(),
            );
            let (status, _, body) = send(&router, request).await;
            (status.as_u16(), serde_json::from_slice::<Value>(&body).expect("JSON"))
        }
    };
    let body = json!({"userId": "ann", "input": "x"});
    let first = post("k", body.clone()).await;
    assert_eq!(first.0, 202);
    assert_eq!(post("k", body.clone()).await, first, "the same request and session");
    let (status, error) = post("k", json!({"userId": "ann", "input": "y"})).await;
    assert_eq!((status, &error["code"]), (422, &json!("idempotency_key_reused")));
    assert_ne!(post("other", body).await.1["requestId"], first.1["requestId"]);
    let (_, sessions) = asked(&router, "GET", "/api/flows/sessions", None).await;
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(2));
    assert_eq!(post("", json!({"userId": "ann", "input": "x"})).await.0, 400);
}

#[tokio::test]
async fn an_action_answers_with_its_stream_if_that_is_what_its_caller_takes() {
    let router = router(&Hold::default()).await;
    let body = json!({"userId": "ann", "sessionId": "s", "requestId": "r", "input": "x"}).to_string();
    let request = call(
        "POST",
        "/api/flows/chat/actions/say",
        &[JSON, ("accept", "text/event-stream")],
        body,
    );
    let (status, headers, body) = send(&router, request).await;
    assert_eq!(
        (status.as_u16(), &headers["x-request-id"], &headers["x-session-id"]),
        (200, &"r".parse().unwrap(), &"s".parse().unwrap())
    );
    assert_eq!(frames(&body), events(&router, "r").await);
}

/// What a stream sends until `done` says that it is enough, or until it ends.
async fn read(mut stream: BodyDataStream, done: impl Fn(&[u8]) -> bool) -> (BodyDataStream, Vec<u8>) {
    let mut bytes = Vec::new();
    let reading = async {
        while !done(&bytes) {
            match stream.next().await {
                Some(chunk) => bytes.extend_from_slice(&chunk.expect("a chunk")),
                None => break,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading)
        .await
        .expect("in time");
    (stream, bytes)
}

fn holds(text: &'static str, times: usize) -> impl Fn(&[u8]) -> bool {
    move |bytes| String::from_utf8_lossy(bytes).matches(text).count() >= times
}

async fn session_stream(router: &Router, query: &str, headers: &[(&str, &str)]) -> BodyDataStream {
    let uri = format!("/api/flows/sessions/s/stream{query}");
    let response = router
        .clone()
        .oneshot(call("GET", &uri, headers, ""))
        .await
        .expect("a stream");
    assert_eq!(response.status(), 200);
    response.into_body().into_data_stream()
}

#[tokio::test]
async fn one_cursor_follows_a_session_over_its_requests() {
    let router = router(&Hold::default()).await;
    post(&router, "say", "s", "one", json!("a")).await;
    let stream = session_stream(&router, "", &[]).await;
    let (stream, first) = read(stream, holds("request.completed", 2)).await;
    post(&router, "say", "s", "two", json!("b")).await;
    let (_, second) = read(stream, holds("request.completed", 2)).await;
    let all = frames(&[first, second].concat());

    // Data is that of the requests' own streams; only the frames' ids differ.
    let own: Vec<Value> = [events(&router, "one").await, events(&router, "two").await]
        .concat()
        .into_iter()
        .map(|(_, data)| data)
        .collect();
    assert_eq!(all.iter().map(|(_, data)| data.clone()).collect::<Vec<_>>(), own);
    let ids: Vec<u64> = all
        .iter()
        .map(|(id, _)| {
            id.as_ref()
                .and_then(|id| id.strip_prefix("s:")?.parse().ok())
                .expect("an id of the session")
        })
        .collect();
    assert!(ids.is_sorted_by(|one, other| one < other), "{ids:?}");

    // From any of them on, nothing is missing and nothing comes twice.
    for at in [0, all.len() / 2, all.len() - 2] {
        let id = all[at].0.clone().expect("an id");
        let number = id.strip_prefix("s:").expect("a position").to_owned();
        let left = all.len() - at - 1;
        let data = move |bytes: &[u8]| frames(bytes).len() >= left;
        let (_, by_header) = read(session_stream(&router, "", &[("last-event-id", &id)]).await, &data).await;
        let (_, by_query) = read(
            session_stream(&router, &format!("?starting_after={number}"), &[]).await,
            &data,
        )
        .await;
        assert_eq!(frames(&by_header), all[at + 1..]);
        assert_eq!(by_header, by_query);
    }
    for query in ["?since=1", "?session_created_at=1"] {
        let (status, _) = asked(&router, "GET", &format!("/api/flows/sessions/s/stream{query}"), None).await;
        assert_eq!(status, 404, "{query}: a client of that dialect stops");
    }
    assert_eq!(
        asked(&router, "GET", "/api/flows/sessions/nope/stream", None).await.0,
        404
    );
}

#[tokio::test]
async fn who_comes_in_the_middle_is_given_the_text_so_far_and_then_goes_on() {
    let hold = Hold::default();
    let router = router(&hold).await;
    post(&router, "say", "s", "one", json!("a")).await;
    events(&router, "one").await;
    post(&router, "hold", "s", "two", Value::Null).await;
    // Until half of it is there.
    let _seen = read(session_stream(&router, "", &[]).await, holds("half ", 1)).await;
    let stream = session_stream(&router, "?bootstrap=true", &[]).await;
    let (stream, opening) = read(stream, holds("\nid: s:", 1)).await;
    hold.goes_on.notify_one();
    let (_, live) = read(stream, holds("request.completed", 2)).await;

    let opening = frames(&opening);
    let (mark, told) = opening.split_last().expect("a mark");
    assert!(
        mark.1.is_null() && mark.0.as_ref().is_some_and(|id| id.starts_with("s:")),
        "{mark:?}"
    );
    assert!(
        told.iter().all(|(id, _)| id.is_none()),
        "who has not all of it begins anew"
    );
    let types: Vec<&str> = told.iter().filter_map(|(_, data)| data["type"].as_str()).collect();
    let whole = ["item.added", "item.done"];
    let expected = [&whole[..], &whole, &["request.created", "item.added", "content.added"]].concat();
    assert_eq!(types, expected);
    assert_eq!(
        told[2].1["item"]["content"][0]["text"], "you said a",
        "whole from the start"
    );
    let (item, content) = (&told[5].1, &told[6].1);
    assert_eq!(item["item"]["content"], json!([]));
    assert_eq!(
        (&content["itemId"], &content["content"]["text"]),
        (&item["item"]["id"], &json!("half "))
    );

    // What follows belongs to what was told, and the text is whole.
    let live = frames(&live);
    let deltas: String = live.iter().filter_map(|(_, data)| data["delta"].as_str()).collect();
    assert_eq!(deltas, "and half");
    let done = live
        .iter()
        .find(|(_, data)| data["type"] == "item.done")
        .expect("its end");
    assert_eq!(done.1["item"]["content"][0]["text"], "half and half");
    assert_eq!(done.1["item"]["id"], item["item"]["id"]);
    // No number comes twice on a connection: clients drop the second.
    let mut seen = std::collections::HashSet::new();
    for (_, data) in told.iter().chain(&live) {
        assert!(
            seen.insert((data["requestId"].clone(), data["sequence_number"].clone())),
            "{data}"
        );
    }
}

#[tokio::test]
async fn polls_give_what_streams_give() {
    let hold = Hold::default();
    let router = router(&hold).await;
    post(&router, "hold", "s", "r", Value::Null).await;
    for base in ["/api/flows/chat/requests/r", "/api/flows/sessions/s"] {
        let (mut cursor, mut polled) = (String::new(), Vec::new());
        let mut polls = 0;
        loop {
            let uri = format!("{base}/events?wait_ms=2000");
            let request = call("GET", &uri, &[("last-event-id", &cursor)], "");
            let (status, _, body) = send(&router, request).await;
            let answer: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(status, 200, "{answer}");
            polled.extend(answer["events"].as_array().expect("events").clone());
            cursor = answer["cursor"].as_str().expect("a cursor").to_owned();
            polls += 1;
            hold.goes_on.notify_one();
            let ended = polled.iter().any(|event| event["event"] == "request.completed");
            assert_eq!(answer["done"], json!(ended && base.contains("requests")));
            if ended {
                break;
            }
            assert!(polls < 50, "{polled:?}");
        }
        let data: Vec<&Value> = polled.iter().map(|event| &event["data"]).collect();
        let streamed = events(&router, "r").await;
        assert_eq!(data, streamed.iter().map(|(_, data)| data).collect::<Vec<_>>());
        // Behind the end there is nothing, and a request's poll says so at once.
        if base.contains("requests") {
            let (_, answer) = asked(&router, "GET", &format!("{base}/events?starting_after=999"), None).await;
            assert_eq!(answer, json!({"events": [], "cursor": cursor, "done": true}));
        } else {
            let position = cursor.strip_prefix("s:").expect("its session");
            let uri = format!("{base}/events?wait_ms=0&starting_after={position}");
            let (_, answer) = asked(&router, "GET", &uri, None).await;
            assert_eq!(answer, json!({"events": [], "cursor": cursor, "done": false}));
        }
    }
}

#[tokio::test]
async fn traces_are_shown_only_where_that_is_set() {
    let hidden = handler("hide").run(|input: String, ctx: Ctx| async move {
        ctx.emit()
            .to(flowstate::engine::item::Audience::Trace)
            .message("for the trace")
            .await?;
        Ok(input)
    });
    let flow = || {
        flow("chat")
            .action("say", action(hidden.clone()))
            .instance("default")
            .expect("a flow")
    };
    let (closed, open) = (serving(flow()), serving(flow()).trace_access());
    for (builder, opens) in [(closed, false), (open, true)] {
        let router = builder.build().expect("a server").router().expect("routes");
        post(&router, "say", "s", "r", json!("x")).await;
        let plain = events(&router, "r").await;
        assert!(plain.iter().all(|(_, data)| data["item"]["type"] != "message"));
        let (_, state) = asked(
            &router,
            "GET",
            "/api/flows/sessions/s/state?include_items=1&item_types=message",
            None,
        )
        .await;
        assert_eq!(state["pagination"]["total"], 0, "nor counted");
        for uri in [
            "/api/flows/chat/requests/r/stream?include=trace",
            "/api/flows/chat/requests/r/stream?unfiltered=true",
            "/api/flows/chat/requests/r/events?include=trace",
            "/api/flows/sessions/s/events?include=trace",
            "/api/flows/sessions/s/state?include_items=1&include=trace",
            "/api/flows/sessions/s/state?include_items=1&item_types=message,block_trace",
        ] {
            let (status, _, body) = send(&router, call("GET", uri, &[], "")).await;
            let shows = String::from_utf8_lossy(&body).contains("for the trace");
            assert_eq!(
                (status.as_u16(), shows),
                if opens { (200, true) } else { (403, false) },
                "{uri}"
            );
        }
    }
}

#[tokio::test]
async fn the_server_says_what_it_can_do() {
    let router = router(&Hold::default()).await;
    assert_eq!(
        asked(&router, "GET", "/api/flows/capabilities", None).await,
        (200, json!({"userStream": false}))
    );
    assert_eq!(asked(&router, "GET", "/api/flows/users/u/stream", None).await.0, 501);
    let (_, flows) = asked(&router, "GET", "/api/flows", None).await;
    assert_eq!(asked(&router, "GET", "/api/api/flows", None).await, (200, flows));
    let sound = json!({"userId": "u", "audio": "AAAA"});
    let (status, error) = asked(&router, "POST", "/api/flows/transcribe", Some(sound)).await;
    assert_eq!((status, &error["code"]), (501, &json!("transcription_not_configured")));
    for body in [
        json!({"audio": "AAAA"}),
        json!({"userId": "u"}),
        json!({"userId": "u", "audio": "%"}),
    ] {
        assert_eq!(asked(&router, "POST", "/api/flows/transcribe", Some(body)).await.0, 400);
    }
}

#[tokio::test]
async fn whoever_comes_second_with_a_key_is_answered_like_the_first() {
    let router = router(&Hold::default()).await;
    let post = || {
        let body = json!({"userId": "ann", "input": "x"}).to_string();
        let headers = [JSON, ("idempotency-key", "k")];
        let request = call("POST", "/api/flows/chat/actions/say", &headers, body);
        let router = router.clone();
        async move {
            let (status, _, body) = send(&router, request).await;
            (status.as_u16(), serde_json::from_slice::<Value>(&body).expect("JSON"))
        }
    };
    let answers = futures_util::future::join_all((0..8).map(|_| post())).await;
    for (status, answer) in &answers {
        assert_eq!((*status, answer), (202, &answers[0].1));
    }
    let (_, sessions) = asked(&router, "GET", "/api/flows/sessions", None).await;
    assert_eq!(sessions["sessions"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_stream_counts_as_one_however_it_was_asked_for() {
    let hold = Hold::default();
    let limits = flowstate::Limits {
        streams: 1,
        ..flowstate::Limits::default()
    };
    let router = chat(&hold).limits(limits).build().expect("a server");
    let router = router.router().expect("routes");
    let body = json!({"userId": "ann", "sessionId": "s", "requestId": "r", "input": null}).to_string();
    let headers = [JSON, ("accept", "text/event-stream")];
    let request = call("POST", "/api/flows/chat/actions/hold", &headers, body.clone());
    let open = router.clone().oneshot(request).await.expect("a stream");
    assert_eq!(open.status(), 200);
    for (method, uri) in [
        ("GET", "/api/flows/chat/requests/r/stream"),
        ("HEAD", "/api/flows/sessions/s/events"),
        ("GET", "/api/flows/sessions/s/events?wait_ms=0"),
        ("POST", "/api/flows/chat/actions/say"),
    ] {
        let (status, _, _) = send(&router, call(method, uri, &headers, body.clone())).await;
        assert_eq!(status, 503, "{method} {uri}");
    }
    let (status, _) = asked(&router, "GET", "/api/flows/chat/requests/r/status", None).await;
    assert_eq!(status, 200, "what opens no stream is answered");
    drop(open);
    let (status, _) = asked(&router, "GET", "/api/flows/sessions/s/events?wait_ms=0", None).await;
    assert_eq!(status, 200, "it is let go with the stream");
}

#[tokio::test]
async fn a_poll_of_a_session_that_is_deleted_is_told_so() {
    let router = router(&Hold::default()).await;
    let new = json!({"userId": "ann", "sessionId": "s"});
    assert_eq!(
        asked(&router, "POST", "/api/flows/chat/sessions", Some(new)).await.0,
        201
    );
    let uri = "/api/flows/sessions/s/events?starting_after=1";
    let (polled, deleted) = tokio::join!(asked(&router, "GET", uri, None), async {
        tokio::task::yield_now().await;
        asked(&router, "DELETE", "/api/flows/sessions/s", None).await.0
    });
    assert_eq!(deleted, 204);
    assert_eq!((polled.0, &polled.1["code"]), (404, &json!("session_not_found")));
}
