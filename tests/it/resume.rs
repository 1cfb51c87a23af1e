//! Streams: cut anywhere, watched by many, opened early, interleaved.

use std::sync::Arc;
use std::time::Duration;

use flowstate::log::Options;
use flowstate::log::disk::faulty::FaultyDisk;
use flowstate::log::disk::memory::MemoryDisk;
use flowstate::{Store, memory};
use flowstate_tests::http::{Frame, Live, call, chat, get, post_request, stream, stream_path};
use serde_json::json;

use super::{quick, server};

fn after(frames: &[Frame], number: u64) -> Vec<Frame> {
    frames.iter().filter(|frame| frame.number > number).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_from_every_number() {
    let (_server, router) = quick().await;
    chat(&router, Some("s"), "req:1", "hello").await;
    let whole = stream(&router, "req:1", "", &[]).await;
    let last = whole.last().expect("frames").number;
    for number in 0..=last + 2 {
        let rest = after(&whole, number);
        let by_query = stream(&router, "req:1", &format!("?starting_after={number}"), &[]).await;
        assert_eq!(by_query, rest, "starting after {number}");
        let id = format!("req:1:{number}");
        assert_eq!(
            stream(&router, "req:1", "", &[("last-event-id", &id)]).await,
            rest,
            "after the frame {id}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_is_none_replays_everything() {
    let (_server, router) = quick().await;
    chat(&router, Some("s"), "r", "hello").await;
    let whole = stream(&router, "r", "", &[]).await;
    for (query, id, cursor) in [
        ("?starting_after=abc", "", 0),
        ("?starting_after=-1", "", 0),
        ("?starting_after=2.5", "", 0),
        ("?starting_after=", "r:4", 4),
        ("?starting_after=abc", "r:4", 4),
        ("?starting_after=5", "r:9", 5),
        ("", "other:5", 0),
        ("", "r:x", 0),
        ("", "5", 5),
        ("?starting_after=0", "", 0),
        ("?starting_after=99999999999999999999999", "", 0),
    ] {
        let frames = stream(&router, "r", query, &[("last-event-id", id)]).await;
        assert_eq!(frames, after(&whole, cursor), "{query} with {id:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_subscribers_see_the_same_bytes_and_a_cut_leaves_no_gap() {
    let (_server, router) = server(memory(), 400).await;
    chat(&router, Some("s"), "r", "hello").await;
    let one = tokio::spawn(Live::open(&router, &stream_path("r")).await.rest());
    let mut cut = Live::open(&router, &stream_path("r")).await;
    let mut seen = Vec::new();
    while seen.len() < 10 {
        seen.extend(cut.next().await);
    }
    drop(cut);
    let last = seen.last().map_or(0, |frame: &Frame| frame.number);
    let beyond = tokio::spawn(
        Live::open(&router, &format!("{}?starting_after=9999", stream_path("r")))
            .await
            .rest(),
    );
    seen.extend(
        Live::open(&router, &format!("{}?starting_after={last}", stream_path("r")))
            .await
            .rest()
            .await,
    );
    let one = one.await.expect("a subscriber");
    assert_eq!(one, seen);
    assert!(one.last().expect("frames").is_terminal());
    let raw = |frames: &[Frame]| frames.iter().map(|frame| frame.raw.clone()).collect::<String>();
    assert_eq!(
        raw(&one),
        raw(&stream(&router, "r", "", &[]).await),
        "live and replayed are the same bytes"
    );
    assert_eq!(
        beyond.await.expect("a subscriber").last().map(Frame::is_terminal),
        Some(true),
        "a cursor beyond the end is clamped"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_may_be_opened_before_its_request() {
    let (_server, router) = quick().await;
    let early = tokio::spawn({
        let router = router.clone();
        async move { stream(&router, "early", "", &[]).await }
    });
    // Let it get there first.
    tokio::task::yield_now().await;
    chat(&router, None, "early", "hello").await;
    let early = early.await.expect("a subscriber");
    assert_eq!(early[0].number, 1);
    assert_eq!(early, stream(&router, "early", "", &[]).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_of_one_session_do_not_mix() {
    let (_server, router) = server(memory(), 1_000).await;
    let requests: Vec<String> = (0..100).map(|number| format!("r{number}")).collect();
    let mut runs = Vec::new();
    for request in &requests {
        let (router, request) = (router.clone(), request.clone());
        runs.push(tokio::spawn(async move {
            chat(&router, Some("shared"), &request, &format!("this is {request}!")).await;
            Live::open(&router, &stream_path(&request)).await.rest().await
        }));
    }
    for (request, run) in requests.iter().zip(runs) {
        let frames = run.await.expect("a run");
        assert!(frames.iter().all(|frame| frame.data["requestId"] == json!(request)));
        let text: String = frames.iter().filter_map(|frame| frame.data["delta"].as_str()).collect();
        assert!(text.contains(&format!("this is {request}!")), "{text}");
        assert_eq!(frames, stream(&router, request, "", &[]).await);
    }
    let snapshot = get(&router, "/api/flows/sessions/shared/state").await;
    assert_eq!(
        snapshot["clientData"]["session"]["turns"], 100,
        "increments never get lost"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_before_it_is_durable() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    let (_server, router) = server(Store::with(options), 0).await;
    chat(&router, Some("s"), "before", "hello").await;
    stream(&router, "before", "", &[]).await;
    let turns = async || get(&router, "/api/flows/sessions/s/state").await["clientData"]["session"]["turns"].clone();

    disk.hold_syncs("slot-000001");
    let body = json!({ "input": { "message": "hi" }, "userId": "u-1", "requestId": "held" }).to_string();
    let posted = tokio::spawn({
        let router = router.clone();
        async move { call(&router, post_request("/api/flows/hello-chat/s/actions/chat", &[], body)).await }
    });
    let mut streamed = tokio::spawn({
        let router = router.clone();
        async move { stream(&router, "held", "", &[]).await }
    });
    tokio::task::block_in_place(|| disk.wait_for_held(1));
    assert!(
        tokio::time::timeout(Duration::from_millis(100), &mut streamed)
            .await
            .is_err(),
        "a frame before the sync"
    );
    assert!(!posted.is_finished(), "answered before the sync");
    assert_eq!(turns().await, 1);
    let detail = get(&router, "/api/flows/sessions/s").await;
    assert_eq!(detail["session"]["latestRequestId"], "before");
    disk.release();
    assert_eq!(posted.await.expect("posted").status, 202);
    assert!(streamed.await.expect("streamed").last().expect("frames").is_terminal());
    assert_eq!(turns().await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn open_streams_end_when_the_server_closes_and_the_request_is_closed() {
    let (server, router) = server(memory(), 20).await;
    chat(&router, Some("s"), "r", "hello").await;
    let mut live = Live::open(&router, &stream_path("r")).await;
    live.next().await;
    let rest = tokio::spawn(live.rest());
    server.dispose().await;
    rest.await.expect("the body ends");
    let answer = call(
        &router,
        post_request(
            "/api/flows/hello-chat/actions/chat",
            &[],
            json!({ "input": { "message": "x" }, "userId": "u" }).to_string(),
        ),
    )
    .await;
    assert_eq!(answer.status, 503);
}
