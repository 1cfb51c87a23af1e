//! The items of the requests in a list: the same as in the session's snapshot, asked for, and bounded.

use axum::Router;
use flowstate::engine::item::Audience;
use flowstate::prelude::*;
use serde_json::{Value, json};

use crate::support::{asked, serving};
use crate::{events, post};

/// Shows so many messages of so many bytes, and what only traces have.
async fn show(input: (u64, usize), ctx: Ctx) -> Result<(), BlockError> {
    let (messages, bytes) = input;
    for number in 0..messages {
        ctx.emit().message(format!("{number}{}", "x".repeat(bytes))).await?;
    }
    ctx.emit().status("transient").await?;
    ctx.emit().component("card", json!({"n": messages})).await?;
    ctx.emit().to(Audience::Trace).message("HIDDEN").await?;
    Ok(())
}

fn serve(trace_access: bool) -> Router {
    let flow = flow("chat")
        .action("show", action(handler("show").run(show)))
        .instance("default")
        .expect("a flow");
    let server = match trace_access {
        true => serving(flow).trace_access(),
        false => serving(flow),
    };
    server.build().expect("a server").router().expect("routes")
}

async fn run(router: &Router, request: &str, messages: u64, bytes: usize) {
    post(router, "show", "s", request, json!([messages, bytes])).await;
    events(router, request).await;
}

async fn list(router: &Router, query: &str) -> (u16, Vec<Value>) {
    let path = format!("/api/flows/sessions/s/requests?{query}");
    let (status, mut body) = asked(router, "GET", &path, None).await;
    (
        status,
        body["requests"].as_array_mut().map(std::mem::take).unwrap_or_default(),
    )
}

/// What the snapshot has of a request.
async fn in_snapshot(router: &Router, request: &str, query: &str) -> Vec<Value> {
    let path = format!("/api/flows/sessions/s/state?include_items=true&{query}");
    let mut snapshot = asked(router, "GET", &path, None).await.1;
    let items = snapshot["items"].as_array_mut().map(std::mem::take).expect("items");
    items.into_iter().filter(|item| item["requestId"] == request).collect()
}

#[tokio::test]
async fn requests_are_listed_with_the_items_that_a_snapshot_has_if_that_is_asked_for() {
    let router = serve(true);
    run(&router, "one", 2, 0).await;
    run(&router, "two", 1, 0).await;
    for query in ["", "include_items=false", "include_items=no"] {
        let listed = list(&router, query).await.1;
        assert!(
            listed.len() == 2 && listed.iter().all(|request| request.get("items").is_none()),
            "{listed:?}"
        );
    }
    for (query, of_one) in [
        ("", 3_usize),
        ("item_types=message", 2),
        ("include=trace", 4),
        ("item_types=status", 0),
    ] {
        let listed = list(&router, &format!("include_items=true&{query}")).await.1;
        assert_eq!(listed.len(), 2);
        for request in &listed {
            let id = request["id"].as_str().expect("an id");
            let items = request["items"].as_array().expect("items");
            assert_eq!(*items, in_snapshot(&router, id, query).await, "{id} {query}");
            assert_eq!(
                items.len(),
                if id == "one" { of_one } else { of_one.saturating_sub(1) },
                "{id} {query}"
            );
            assert_eq!(request.get("hasMoreItems"), None);
            assert_eq!(request.to_string().contains("HIDDEN"), query == "include=trace");
        }
    }
    let closed = serve(false);
    run(&closed, "one", 1, 0).await;
    for query in ["include=trace", "unfiltered=true", "item_types=block_trace"] {
        assert_eq!(
            list(&closed, &format!("include_items=true&{query}")).await.0,
            403,
            "{query}"
        );
    }
    let listed = list(&closed, "include_items=true").await.1;
    assert!(!listed[0].to_string().contains("HIDDEN"), "{listed:?}");
}

#[tokio::test]
async fn lists_with_items_are_bounded_and_gone_on_with() {
    const MIB: usize = 1 << 20;
    let router = serve(false);
    run(&router, "many", 1_001, 0).await;
    let listed = list(&router, "include_items=true").await.1;
    assert_eq!(listed[0]["items"].as_array().map(Vec::len), Some(1_000));
    assert_eq!(listed[0]["hasMoreItems"], true);
    for request in ["big-1", "big-2", "big-3"] {
        run(&router, request, 5, MIB).await;
    }
    let mut ids = Vec::new();
    let mut sizes = Vec::new();
    while ids.len() < 4 {
        let listed = list(&router, &format!("include_items=true&offset={}", ids.len()))
            .await
            .1;
        assert!(!listed.is_empty(), "it ended behind {ids:?}");
        sizes.push(listed.len());
        ids.extend(listed.into_iter().map(|request| request["id"].clone()));
    }
    assert_eq!(ids, ["big-3", "big-2", "big-1", "many"]);
    assert_eq!(sizes[0], 2, "8 MiB are enough: {sizes:?}");
    for n in 0..100 {
        run(&router, &format!("r{n}"), 0, 0).await;
    }
    assert_eq!(list(&router, "").await.1.len(), 104);
    assert_eq!(list(&router, "include_items=true&limit=500").await.1.len(), 100);
    assert_eq!(
        list(&router, "include_items=true&offset=100&item_types=component")
            .await
            .1
            .len(),
        4
    );
}
