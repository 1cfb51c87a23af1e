//! The real binary, killed at random moments under load, checked against what its clients had been told.
//! 30 cycles; `FLOWSTATE_CRASH_CYCLES` asks for more, `FLOWSTATE_CRASH_SEED` for other moments.

mod ends;
mod loops;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowstate_log::disk::memory::Choice;
use flowstate_tests::http::{Frame, PATIENCE, take_frames};
use flowstate_tests::process::Server;
use flowstate_tests::variable;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// The command under test.
const BINARY: &str = env!("CARGO_BIN_EXE_flowstate-under-test");
const CLIENTS: usize = 6;

/// What one client was told about its request.
#[derive(Default)]
struct Told {
    session: String,
    accepted: bool,
    frames: Vec<Frame>,
}

/// Frames received by all clients so far, and where to stop.
struct Count {
    frames: AtomicU64,
    stop_at: u64,
    reached: Notify,
}

/// Posts and reads streams, one request after the other, until the server is gone.
async fn client(url: String, name: String, count: Arc<Count>) -> BTreeMap<String, Told> {
    let http = flowstate_tests::http::client();
    let mut told: BTreeMap<String, Told> = BTreeMap::new();
    for number in 0.. {
        let request = format!("{name}-{number}");
        let session = format!("{name}-{}", number / 3);
        let body =
            json!({ "input": { "message": format!("tell me about {request}") }, "userId": "u", "requestId": request });
        let mine = told.entry(request.clone()).or_default();
        mine.session = session.clone();
        let posted = http
            .post(format!("{url}/api/flows/hello-chat/{session}/actions/chat"))
            .json(&body)
            .send()
            .await;
        let Ok(answer) = posted else { return told };
        assert_eq!(answer.status(), 202);
        // Headers may have been received and the body not: only a whole answer tells.
        if answer.bytes().await.is_err() {
            return told;
        }
        mine.accepted = true;
        let Ok(mut stream) = http
            .get(format!("{url}/api/flows/hello-chat/requests/{request}/stream"))
            .send()
            .await
        else {
            return told;
        };
        let mut bytes = Vec::new();
        loop {
            match stream.chunk().await {
                Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
                Ok(None) => break,
                Err(_) => return told,
            }
            let whole = bytes
                .windows(2)
                .rposition(|pair| pair == b"\n\n")
                .map_or(0, |at| at + 2);
            let mut text = String::from_utf8(bytes.drain(..whole).collect()).expect("whole frames");
            let frames = take_frames(&mut text);
            let total = count.frames.fetch_add(frames.len() as u64, Ordering::Relaxed) + frames.len() as u64;
            mine.frames.extend(frames);
            if total >= count.stop_at {
                count.reached.notify_one();
            }
        }
        assert!(
            mine.frames.last().is_some_and(Frame::is_terminal),
            "a stream ended without its terminal event"
        );
    }
    told
}

async fn whole_stream(http: &reqwest::Client, url: &str, request: &str) -> Option<Vec<Frame>> {
    let answer = http
        .get(format!("{url}/api/flows/hello-chat/requests/{request}/stream"))
        .send()
        .await
        .expect("an answer");
    if answer.status() == 404 {
        return None;
    }
    assert_eq!(answer.status(), 200);
    let mut text = tokio::time::timeout(PATIENCE, answer.text())
        .await
        .expect("the stream ends")
        .expect("a body");
    let frames = take_frames(&mut text);
    assert_eq!(text, "");
    Some(frames)
}

/// Everything that was told is still so, and what was interrupted is closed.
async fn check(url: &str, told: &HashMap<String, Told>) -> u64 {
    let http = flowstate_tests::http::client();
    let mut interrupted = 0;
    for (request, told) in told {
        let found = match told.accepted || !told.frames.is_empty() {
            true => whole_stream(&http, url, request)
                .await
                .unwrap_or_else(|| panic!("{request} was accepted and is gone")),
            // Never answered: both outcomes are right, and looking for it would wait for it to come.
            false => continue,
        };
        assert!(
            found.starts_with(&told.frames),
            "{request}: what a client was told is not what is there"
        );
        assert!(
            found.windows(2).all(|pair| pair[0].number < pair[1].number),
            "{request}: numbers"
        );
        assert_eq!(
            found.iter().filter(|frame| frame.is_terminal()).count(),
            1,
            "{request}: one terminal event"
        );
        let last = found.last().expect("frames");
        assert!(last.is_terminal());
        let mut open: BTreeMap<&str, &Value> = BTreeMap::new();
        for frame in &found {
            let item = &frame.data["item"];
            match frame.kind() {
                "item.added" => drop(open.insert(item["id"].as_str().expect("an id"), item)),
                "item.done" => drop(open.remove(item["id"].as_str().expect("an id"))),
                _ => {}
            }
        }
        assert!(open.is_empty(), "{request}: items stay open: {open:?}");
        if last.kind() == "request.incomplete" {
            interrupted += 1;
            let texts: String = found.iter().filter_map(|frame| frame.data["delta"].as_str()).collect();
            let cut = found
                .iter()
                .rev()
                .find(|frame| frame.kind() == "item.done" && frame.data["item"]["status"] == "incomplete");
            if let Some(cut) = cut {
                assert_eq!(
                    cut.data["item"]["content"][0]["text"].as_str().unwrap_or_default(),
                    texts,
                    "{request}: the text so far"
                );
            }
        }
    }
    interrupted
}

async fn next_action_works(url: &str, cycle: u64) {
    let http = flowstate_tests::http::client();
    let request = format!("after-{cycle}");
    let body = json!({ "input": { "message": "are you there?" }, "userId": "u", "requestId": request });
    let answer = http
        .post(format!("{url}/api/flows/hello-chat/after/actions/chat"))
        .json(&body)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 202);
    let frames = whole_stream(&http, url, &request).await.expect("the request");
    assert_eq!(frames.last().map(Frame::kind), Some("request.completed"));
    let state = http
        .get(format!("{url}/api/flows/sessions/after/state"))
        .send()
        .await
        .expect("an answer");
    let state: Value = state.json().await.expect("JSON");
    assert_eq!(
        state["clientData"]["session"]["turns"],
        cycle + 1,
        "every answer was counted once"
    );
}

fn start(data: &Path) -> Server {
    Server::start(BINARY, data, &["--scripted-tokens-per-second", "300"])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_keeps_every_word_that_it_told() {
    let cycles = variable("FLOWSTATE_CRASH_CYCLES", 30);
    let mut choice = Choice::new(variable("FLOWSTATE_CRASH_SEED", 1));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut all: HashMap<String, Told> = HashMap::new();
    let (mut interrupted, mut received) = (0, 0);
    for cycle in 0..cycles {
        let mut server = start(folder.path());
        let count = Arc::new(Count {
            frames: AtomicU64::new(0),
            stop_at: 1 + choice.below(400) as u64,
            reached: Notify::new(),
        });
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client_number| {
                tokio::spawn(client(
                    server.url.clone(),
                    format!("c{cycle}-{client_number}"),
                    count.clone(),
                ))
            })
            .collect();
        tokio::time::timeout(PATIENCE, count.reached.notified())
            .await
            .expect("frames arrive");
        server.kill();
        let mut told = HashMap::new();
        for client in clients {
            told.extend(client.await.expect("a client"));
        }
        received += told.values().map(|told| told.frames.len() as u64).sum::<u64>();

        if cycle % 5 == 1 {
            std::fs::remove_dir_all(folder.path().join("views")).expect("there is a view store");
        }
        if cycle % 3 == 2 {
            // Killed again while it recovers, at some moment of its start.
            let mut again = flowstate_tests::process::command(BINARY, folder.path(), &["--listen", "127.0.0.1:0"])
                .spawn()
                .expect("start");
            let waits = choice.below(40) as u64;
            let _ = tokio::time::timeout(Duration::from_millis(waits), std::future::pending::<()>()).await;
            again.kill().expect("kill");
            again.wait().expect("wait");
        }
        let mut server = start(folder.path());
        interrupted += check(&server.url, &told).await;
        next_action_works(&server.url, cycle).await;
        if cycle % 10 == 9 {
            check(&server.url, &all).await;
        }
        server.kill();
        all.extend(told);
    }
    println!(
        "{cycles} cycles, {} requests, {received} frames received, {interrupted} requests interrupted",
        all.len()
    );
    assert!(
        interrupted > 0,
        "no kill hit a running request: the test does not do its work"
    );
}
