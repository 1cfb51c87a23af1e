//! A chat: what is answered, streamed and remembered.

use flowstate::{Store, fjall, lsm, memory};
use flowstate_tests::http::{Live, call, chat, get, get_request, stream, stream_path};
use serde_json::{Value, json};

use super::{quick, server};

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_streams_in_the_documented_order() {
    let (_server, router) = quick().await;
    let accepted = chat(
        &router,
        None,
        "req-1",
        "How long do lentils cook? \u{2028}\"é🍲\"\n\nevent: x",
    )
    .await;
    let session = accepted["session"]["id"].as_str().expect("a session").to_owned();
    assert_eq!(accepted["status"], "in_progress");
    assert_eq!(accepted["requestId"], "req-1");
    let request = json!({ "id": "req-1", "flowKind": "hello-chat", "flowId": "default", "actionName": "chat", "status": "in_progress" });
    assert_eq!(accepted["request"], request);

    let frames = stream(&router, "req-1", "", &[]).await;
    let kinds: Vec<&str> = frames.iter().map(|frame| frame.kind()).collect();
    let deltas = kinds.iter().filter(|kind| **kind == "content.delta").count();
    assert!(deltas >= 20, "{deltas} tokens");
    let mut expected = vec![
        "request.created",
        "request.in_progress",
        "item.added",
        "item.done",
        "item.added",
        "content.added",
    ];
    expected.extend(vec!["content.delta"; deltas]);
    // The count of turns goes up, and what was said last is kept: clients are told that the session's state changed, and nothing of it.
    let changes = ["item.added", "item.added"];
    expected.extend(["content.done", "item.done"].into_iter().chain(changes));
    expected.push("request.completed");
    assert_eq!(kinds, expected);
    assert_eq!((frames[0].number, frames[1].number), (1, 2));
    for (frame, status) in [(0, "in_progress"), (1, "in_progress"), (frames.len() - 1, "completed")] {
        assert_eq!(frames[frame].data["status"], status);
    }

    let user = &frames[2].data["item"];
    assert_eq!(
        (&user["type"], &user["role"], &user["status"]),
        (&json!("message"), &json!("user"), &json!("completed"))
    );
    assert_eq!(
        user["content"],
        json!([{ "type": "output_text", "text": "How long do lentils cook? \u{2028}\"é🍲\"\n\nevent: x" }])
    );
    assert_eq!(
        user["provenance"],
        json!({ "blockName": "runtime", "blockInstanceId": "runtime", "phase": "main" })
    );
    assert_eq!(
        frames[2].data["item"], frames[3].data["item"],
        "an item that is whole at once is done as it was added"
    );

    let (added, done) = (&frames[4].data["item"], &frames[frames.len() - 4].data["item"]);
    assert_eq!(
        (&added["status"], &added["content"]),
        (&json!("in_progress"), &json!([]))
    );
    let text: String = frames.iter().filter_map(|frame| frame.data["delta"].as_str()).collect();
    assert_eq!(
        done["content"],
        json!([{ "type": "output_text", "text": text }]),
        "the whole text is what was streamed"
    );
    assert!(
        text.contains("How long do lentils cook?"),
        "the question is echoed: {text}"
    );
    for same in ["id", "ts", "itemIndex", "provenance", "requestId"] {
        assert_eq!(added[same], done[same], "{same}");
    }
    assert_eq!((&user["itemIndex"], &done["itemIndex"]), (&json!(0), &json!(1)));
    assert_eq!(done["provenance"]["blockName"], "answer");
    for (frame, operation) in frames[frames.len() - 3..].iter().zip(["increment", "patch"]) {
        let change = &frame.data["item"];
        assert_eq!(
            (&change["type"], &change["scope"], &change["operation"]),
            (&json!("state_change"), &json!("session"), &json!(operation))
        );
        assert_eq!((&change["path"], &change["delta"]), (&Value::Null, &Value::Null));
    }
    for frame in &frames[5..frames.len() - 4] {
        assert_eq!(
            (&frame.data["itemId"], &frame.data["contentIndex"]),
            (&done["id"], &json!(0))
        );
    }

    // State, items and the list agree with what was streamed.
    let snapshot = get(
        &router,
        &format!("/api/flows/sessions/{session}/state?include_items=true"),
    )
    .await;
    assert_eq!(snapshot["clientData"], json!({ "session": { "turns": 1 } }));
    assert_eq!(
        (&snapshot["state"], &snapshot["sessionId"], &snapshot["flowKind"]),
        (&json!({}), &json!(session), &json!("hello-chat"))
    );
    assert_eq!(snapshot["items"], json!([user, done]));
    assert_eq!(
        snapshot["pagination"],
        json!({ "offset": 0, "limit": 100, "total": 2, "hasMore": false, "nextOffset": 2 })
    );
    let detail = get(&router, &format!("/api/flows/sessions/{session}")).await;
    assert_eq!(detail["session"]["latestRequestId"], "req-1");
    assert_eq!(
        (&detail["session"]["userId"], &detail["session"]["flowKind"]),
        (&json!("u-1"), &json!("hello-chat"))
    );
    assert_eq!(detail["session"].get("state"), None, "raw state stays inside");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_flows_are_listed_with_their_inputs() {
    let (_server, router) = quick().await;
    for path in ["/api/flows", "/api/flows/"] {
        let flows = get(&router, path).await;
        let flow = &flows["flows"][0];
        assert_eq!(
            (&flow["kind"], &flow["id"], &flow["requireUser"]),
            (&json!("hello-chat"), &json!("default"), &json!(true))
        );
        assert_eq!(flow["actions"], json!(["chat"]));
        let field = &flow["actionSchemas"]["chat"]["fields"]["message"];
        assert_eq!(
            (&field["type"], &field["required"], &field["minLength"]),
            (&json!("string"), &json!(true), &json!(1))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_listed_newest_first_and_filtered() {
    let (_server, router) = quick().await;
    for (number, session) in ["a", "b", "c"].into_iter().enumerate() {
        chat(&router, Some(session), &format!("r{number}"), "hi").await;
        stream(&router, &format!("r{number}"), "", &[]).await;
    }
    chat(&router, Some("a"), "r3", "again").await;
    stream(&router, "r3", "", &[]).await;
    let ids = async |query: &str| -> Vec<Value> {
        let list = get(&router, &format!("/api/flows/sessions{query}")).await;
        list["sessions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|session| session["id"].clone())
            .collect()
    };
    assert_eq!(ids("").await, ["a", "c", "b"]);
    assert_eq!(ids("?flowKind=hello-chat&userId=u-1").await, ["a", "c", "b"]);
    assert_eq!(ids("?limit=1&offset=1").await, ["c"]);
    assert_eq!(
        ids("?limit=-1").await,
        ["a", "c", "b"],
        "a limit that is none counts as absent"
    );
    assert_eq!(ids("?userId=u").await, Vec::<Value>::new());
    assert_eq!(ids("?flowKind=other").await, Vec::<Value>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_goes_on_and_pages_its_items() {
    let (_server, router) = quick().await;
    for number in 0..6 {
        chat(&router, Some("s"), &format!("r{number}"), &format!("question {number}")).await;
        stream(&router, &format!("r{number}"), "", &[]).await;
    }
    let mut ids = Vec::new();
    let mut offset = 0;
    for page in 0..3 {
        let path = format!("/api/flows/sessions/s/state?include_items=1&limit=5&offset={offset}");
        let snapshot = get(&router, &path).await;
        let pagination = &snapshot["pagination"];
        ids.extend(
            snapshot["items"]
                .as_array()
                .expect("items")
                .iter()
                .map(|item| item["id"].as_str().unwrap_or_default().to_owned()),
        );
        offset = [5, 10, 12][page];
        assert_eq!(
            (&pagination["hasMore"], &pagination["nextOffset"], &pagination["total"]),
            (&json!(page < 2), &json!(offset), &json!(12))
        );
    }
    assert_eq!(ids.len(), 12);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 12, "ids are unique in the session");
    let filtered = get(
        &router,
        "/api/flows/sessions/s/state?clientData=turns,user.x&include_items=true&item_types=error",
    )
    .await;
    assert_eq!(filtered["clientData"], json!({ "session": { "turns": 6 } }));
    assert_eq!(
        (&filtered["items"], &filtered["pagination"]["total"]),
        (&json!([]), &json!(0))
    );
    let none = get(&router, "/api/flows/sessions/s/state?clientData=session.other").await;
    assert_eq!(
        none["clientData"].get("session").and_then(|data| data.get("turns")),
        None
    );
    assert_eq!((none.get("items"), none.get("pagination")), (None, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_answer_is_in_the_snapshot_as_far_as_it_came() {
    let (server, router) = server(memory(), 400).await;
    chat(
        &router,
        Some("s"),
        "r",
        "a question of some length, so that the answer takes a while",
    )
    .await;
    let mut live = Live::open(&router, &stream_path("r")).await;
    let mut seen = Vec::new();
    while seen
        .iter()
        .filter(|frame: &&flowstate_tests::http::Frame| frame.kind() == "content.delta")
        .count()
        < 3
    {
        seen.extend(live.next().await);
    }
    let snapshot = get(&router, "/api/flows/sessions/s/state?include_items=true").await;
    let item = &snapshot["items"][1];
    let streamed: String = seen.iter().filter_map(|frame| frame.data["delta"].as_str()).collect();
    assert_eq!(item["status"], "in_progress");
    let text = item["content"][0]["text"].as_str().expect("text");
    assert!(text.starts_with(&streamed), "{text:?} does not go on from {streamed:?}");
    seen.extend(live.rest().await);
    let whole: String = seen.iter().filter_map(|frame| frame.data["delta"].as_str()).collect();
    assert!(whole.starts_with(text));
    server.dispose().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).expect("make the folder");
    for entry in std::fs::read_dir(from).expect("read the folder") {
        let entry = entry.expect("read the folder");
        let target = to.join(entry.file_name());
        match entry.file_type().expect("a type").is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(std::fs::copy(entry.path(), &target).expect("copy")),
        }
    }
}

/// Opens the server, asks these questions, and gives every answer that there is to GET.
async fn run(store: Store, requests: std::ops::Range<u32>, known: u32) -> Vec<String> {
    let (server, router) = server(store, 0).await;
    for number in requests {
        let session = format!("s{}", number % 2);
        chat(&router, Some(&session), &format!("r{number}"), "hello").await;
        stream(&router, &format!("r{number}"), "", &[]).await;
    }
    let mut paths = vec!["/api/flows/sessions".to_owned()];
    for session in ["s0", "s1"] {
        let path = format!("/api/flows/sessions/{session}");
        paths.extend([format!("{path}/state?include_items=true"), path]);
    }
    paths.extend((0..known).map(|number| stream_path(&format!("r{number}"))));
    let mut answers = Vec::new();
    for path in paths {
        answers.push(call(&router, get_request(&path, &[])).await.text());
    }
    server.dispose().await;
    answers
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_over_the_control_changes_no_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    run(fjall(folder.path()), 0..2, 2).await;
    let answers = run(fjall(folder.path()), 2..5, 5).await;
    assert!(answers.iter().all(|answer| answer.len() > 50), "{answers:?}");
    assert_eq!(run(fjall(folder.path()), 0..0, 5).await, answers, "after a restart");
    assert!(answers[1].contains("\"turns\":3"), "{}", answers[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_and_a_lost_or_old_view_store_change_no_answer() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (views, old) = (folder.path().join("views"), folder.path().join("old"));
    let run = |requests, known| run(lsm(folder.path()), requests, known);
    run(0..2, 2).await;
    copy(&views, &old);
    let answers = run(2..5, 5).await;
    assert!(answers.iter().all(|answer| answer.len() > 50), "{answers:?}");
    assert_eq!(run(0..0, 5).await, answers, "after a restart");
    std::fs::remove_dir_all(&views).expect("there is a view store");
    assert_eq!(run(0..0, 5).await, answers, "without the view store");
    std::fs::remove_dir_all(&views).expect("there is one again");
    copy(&old, &views);
    assert_eq!(run(0..0, 5).await, answers, "with an older copy of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_served_whole() {
    let (_server, router) = quick().await;
    for (path, kind, has) in [
        ("/", "text/html", "<form"),
        ("/app.js", "text/javascript", "fetch("),
        ("/style.css", "text/css", "prefers-color-scheme"),
    ] {
        let answer = call(&router, get_request(path, &[])).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.content_type.starts_with(kind), "{path}: {}", answer.content_type);
        assert!(answer.text().contains(has), "{path}");
        assert!(
            !answer.text().contains("https://") && !answer.text().contains("src=\"http"),
            "{path} asks elsewhere"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_whole_while_sessions_are_updated() {
    let (_server, router) = quick().await;
    for number in 0..300 {
        chat(&router, Some(&format!("s{number}")), &format!("first-{number}"), "hi").await;
    }
    let updating = tokio::spawn({
        let router = router.clone();
        async move {
            for number in 0..600 {
                chat(
                    &router,
                    Some(&format!("s{}", number * 7 % 300)),
                    &format!("again-{number}"),
                    "hi",
                )
                .await;
            }
        }
    });
    while !updating.is_finished() {
        let list = get(&router, "/api/flows/sessions?userId=u-1").await;
        let ids = list["sessions"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|session| session["id"].to_string());
        assert_eq!(ids.collect::<std::collections::BTreeSet<_>>().len(), 300);
        assert_eq!(list["sessions"].as_array().map(Vec::len), Some(300), "each once");
    }
    updating.await.expect("updates");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_large_items_ends_early_and_paging_goes_on() {
    let (_server, router) = quick().await;
    let large = "x".repeat(900 << 10);
    for number in 0..12 {
        chat(&router, Some("s"), &format!("r{number}"), &large).await;
        stream(&router, &format!("r{number}"), "", &[]).await;
    }
    let (mut offset, mut items, mut pages) = (0, 0, 0);
    loop {
        let answer = call(
            &router,
            get_request(
                &format!("/api/flows/sessions/s/state?include_items=true&offset={offset}"),
                &[],
            ),
        )
        .await;
        assert!(answer.body.len() < 16 << 20, "{} bytes in a page", answer.body.len());
        let snapshot = answer.json();
        let page = &snapshot["pagination"];
        items += snapshot["items"].as_array().map_or(0, Vec::len);
        pages += 1;
        assert_eq!(page["nextOffset"], items);
        offset = items;
        if page["hasMore"] == false {
            break;
        }
    }
    assert_eq!(items, 24);
    assert!(pages > 1, "12 MB of items in one page");
}
