//! Sessions of which a part, or everything, is gone: trimmed ones, deleted ones, and ids that are used again.

use flowstate_log::verbs::Trim;
use serde_json::json;

use crate::support::{JSON, asked, call, frames};
use crate::{Hold, chat, events, holds, post, read, router, session_stream};

#[tokio::test]
async fn what_is_left_of_a_trimmed_session_is_shown() {
    let server = chat(&Hold::default()).build().expect("a server");
    let router = server.router().expect("routes");
    for request in ["one", "two"] {
        post(&router, "say", "s", request, json!(request)).await;
        events(&router, request).await;
    }
    let engine = server.ready().await.expect("an engine");
    let stream = engine.session_records(&Default::default(), "s").await;
    let stream = stream.expect("a look").expect("a session");
    let records = engine.log().read(stream, 1, 1_000).await.expect("records");
    // In the middle of the second request: its message is left, and its beginning is not.
    let second = records
        .iter()
        .rfind(|record| record.sub.is_some_and(|(_, number)| number == 1));
    let from = second.expect("its first record").position + 1;
    engine
        .log()
        .trim(stream, Trim::Before(from))
        .await
        .expect("it is trimmed");

    for query in ["", "?starting_after=1"] {
        let (_, bytes) = read(session_stream(&router, query, &[]).await, holds("request.completed", 2)).await;
        let shown = frames(&bytes);
        assert_eq!(shown[0].0.as_deref(), Some(format!("s:{from}").as_str()), "{query}");
    }
    let (_, bytes) = read(
        session_stream(&router, "?bootstrap=true", &[]).await,
        holds("item.done", 1),
    )
    .await;
    assert!(String::from_utf8_lossy(&bytes).contains("you said two"));
    let (status, polled) = asked(&router, "GET", "/api/flows/sessions/s/events", None).await;
    assert_eq!(
        (status, &polled["events"][0]["data"]["requestId"]),
        (200, &json!("two")),
        "{polled}"
    );

    let (status, snapshot) = asked(&router, "GET", "/api/flows/sessions/s/state?include_items=true", None).await;
    let items = snapshot["items"].as_array().expect("items");
    assert_eq!((status, items.len()), (200, 2), "{snapshot}");
    let (status, listed) = asked(&router, "GET", "/api/flows/sessions/s/requests", None).await;
    assert_eq!(
        (status, listed["requests"].as_array().map(Vec::len)),
        (200, Some(2)),
        "{listed}"
    );
    // In the middle of an item: its end says all of it.
    let mut ends = polled["events"].as_array().expect("events").iter();
    let end = ends.rfind(|event| event["event"] == "item.done").expect("an end")["id"].clone();
    let end: u64 = end
        .as_str()
        .and_then(|id| id.strip_prefix("s:")?.parse().ok())
        .expect("a position");
    engine
        .log()
        .trim(stream, Trim::Before(end))
        .await
        .expect("it is trimmed");
    let (_, bytes) = read(
        session_stream(&router, "?bootstrap=true", &[]).await,
        holds("item.done", 2),
    )
    .await;
    let shown = frames(&bytes);
    assert_eq!(
        (&shown[0].1["type"], &shown[1].1["type"]),
        (&json!("item.added"), &json!("item.done"))
    );
    assert!(String::from_utf8_lossy(&bytes).contains("you said two"), "{shown:?}");
    post(&router, "say", "s", "three", json!("more")).await;
    let last = events(&router, "three").await;
    assert_eq!(last.last().expect("its end").1["type"], "request.completed");
}

#[tokio::test]
async fn a_cursor_of_a_session_that_had_the_id_before_is_none_of_the_one_that_has_it() {
    let router = router(&Hold::default()).await;
    for request in ["one", "two"] {
        post(&router, "say", "s", request, json!(request)).await;
        events(&router, request).await;
    }
    let (status, _) = asked(&router, "DELETE", "/api/flows/sessions/s", None).await;
    assert_eq!(status, 204);
    post(&router, "say", "s", "new", json!("new")).await;
    let stream = session_stream(&router, "", &[("last-event-id", "s:30")]).await;
    let (_, bytes) = read(stream, holds("request.completed", 2)).await;
    assert_eq!(frames(&bytes)[0].1["type"], "request.created");
}

#[tokio::test]
async fn a_session_is_deleted_though_its_caller_leaves() {
    let router = router(&Hold::default()).await;
    post(&router, "hold", "s", "held", json!(null)).await;
    let (stream, _) = read(session_stream(&router, "", &[]).await, holds("content.delta", 2)).await;
    let second = session_stream(&router, "", &[]).await;
    let delete = tower::ServiceExt::oneshot(router.clone(), call("DELETE", "/api/flows/sessions/s", &[JSON], ""));
    // Left while it waits for what runs, or just after that has ended.
    tokio::select! {
        _ = read(second, holds("request.incomplete", 1)) => {}
        _ = delete => {}
    }
    let (_, rest) = read(stream, |_| false).await;
    assert!(
        !String::from_utf8_lossy(&rest).contains("request.completed"),
        "it is stopped"
    );
    let (status, _) = asked(&router, "GET", "/api/flows/sessions/s", None).await;
    assert_eq!(status, 404);
}
