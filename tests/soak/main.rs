//! A server under clients that come, go, stall and resume: what each was shown in pieces is what the log has, nothing stays open, and memory
//! does not grow. A few seconds, or `FLOWSTATE_SOAK_SECONDS`; memory is judged from ten minutes on, when everything is warm.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use flowstate_log::disk::memory::Choice;
use flowstate_log::env::{Env, SystemEnv};
use flowstate_tests::http::{Frame, PATIENCE, take_frames};
use flowstate_tests::process::Server;
use flowstate_tests::variable;
use reqwest::{Client, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const BINARY: &str = env!("CARGO_BIN_EXE_flowstate-under-test");
const CLIENTS: u64 = 24;
/// From so many seconds on memory is judged: in half of them caches are filled.
const JUDGED_SECONDS: u64 = 600;
/// Most that memory may grow from one look to the next, in KiB, in the middle of all looks of the second half. What visits leave would be seen each time;
/// a merge of runs, for which the log takes memory that the allocator keeps, is a step now and then.
const GROWTH_KIB_MAX: u64 = 256;
/// Most memory at the end, in MiB: what the log keeps of its tail, of blocks and of streams, and what a merge takes.
const MEMORY_MIB_MAX: u64 = 320;
/// How often memory is looked at.
const SAMPLES: u64 = 40;

/// What was done, by kind.
#[derive(Debug, Default)]
struct Done {
    visits: AtomicU64,
    resumed: AtomicU64,
    stalled: AtomicU64,
    stopped: AtomicU64,
    frames: AtomicU64,
}

fn one(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// A client of the server at `url`.
struct Visitor {
    http: Client,
    url: String,
    name: String,
    choice: Choice,
    done: Arc<Done>,
}

impl Visitor {
    /// One request, read in one of the ways that clients have.
    async fn visit(&mut self, number: u64) {
        let (session, request) = (
            format!("{}-{}", self.name, number / 4),
            format!("{}-{number}", self.name),
        );
        let way = self.choice.below(6);
        let stream = format!("/api/flows/hello-chat/requests/{request}/stream");
        // Who opens the stream before there is a request waits for it.
        let early = (way == 0).then(|| tokio::spawn(self.get(&stream, None)));
        let asked =
            json!({"input": {"message": format!("tell me about {request}")}, "userId": "u", "requestId": request});
        let post = format!("{}/api/flows/hello-chat/{session}/actions/chat", self.url);
        let posted = self.http.post(post).json(&asked).send().await.expect("an answer");
        assert_eq!(posted.status(), StatusCode::ACCEPTED);
        let seen = match (way, early) {
            (_, Some(early)) => self.read(early.await.expect("a call"), u64::MAX).await,
            (1..=3, _) => self.in_pieces(&stream, way == 3).await,
            (4, _) => {
                let mut seen = self.read(self.get(&stream, None).await, 8).await;
                let abort = format!("{}/api/flows/hello-chat/requests/{request}/abort", self.url);
                let stopped = self.http.post(abort).send().await.expect("an answer").status();
                assert!(
                    [StatusCode::NO_CONTENT, StatusCode::CONFLICT].contains(&stopped),
                    "{stopped}"
                );
                one(&self.done.stopped);
                let last = seen.last().map(|frame| frame.number);
                seen.extend(self.read(self.get(&stream, last).await, u64::MAX).await);
                seen
            }
            // Who leaves at once comes back for all of it.
            _ => {
                self.in_session(&session).await;
                self.read(self.get(&stream, None).await, u64::MAX).await
            }
        };
        assert!(seen.last().is_some_and(Frame::is_terminal), "{way}: {:?}", seen.last());
        assert_eq!(seen.iter().filter(|frame| frame.is_terminal()).count(), 1);
        let whole = self.read(self.get(&stream, None).await, u64::MAX).await;
        assert_eq!(seen, whole, "{way}: what was shown in pieces is what there is");
        self.done.frames.fetch_add(seen.len() as u64, Ordering::Relaxed);
        one(&self.done.visits);
        if number % 4 == 3 {
            let deleted = self
                .http
                .delete(format!("{}/api/flows/sessions/{session}", self.url))
                .send()
                .await;
            assert_eq!(deleted.expect("an answer").status(), StatusCode::NO_CONTENT);
        }
    }

    /// A stream from behind an event on; the call, which waits for nothing of this.
    fn get(&self, path: &str, last: Option<u64>) -> impl Future<Output = Response> + Send + use<> {
        let mut call = self.http.get(format!("{}{path}", self.url));
        if let Some(last) = last {
            call = call.header("last-event-id", last.to_string());
        }
        async move {
            let response = call.send().await.expect("an answer");
            assert_eq!(response.status(), StatusCode::OK);
            response
        }
    }

    /// The next frames, at least so many unless the stream ends before.
    async fn read(&self, mut response: Response, count: u64) -> Vec<Frame> {
        let (mut text, mut frames) = (String::new(), Vec::new());
        while (frames.len() as u64) < count {
            let chunk = timeout(PATIENCE, response.chunk())
                .await
                .expect("in time")
                .expect("a chunk");
            let Some(chunk) = chunk else { break };
            text.push_str(std::str::from_utf8(&chunk).expect("whole characters"));
            frames.extend(take_frames(&mut text));
        }
        frames
    }

    /// Reads a stream, leaves it in the middle and comes back, until its end; or stays, and takes nothing for a while.
    async fn in_pieces(&mut self, stream: &str, stalls: bool) -> Vec<Frame> {
        let mut seen: Vec<Frame> = Vec::new();
        while !seen.last().is_some_and(Frame::is_terminal) {
            let response = self.get(stream, seen.last().map(|frame| frame.number)).await;
            if stalls {
                sleep(Duration::from_millis(200 + self.choice.below(800) as u64)).await;
                one(&self.done.stalled);
            }
            let count = 1 + self.choice.below(30) as u64;
            seen.extend(self.read(response, count).await);
            one(&self.done.resumed);
        }
        seen
    }

    /// Looks at the whole session as it is, and leaves in the middle.
    async fn in_session(&mut self, session: &str) {
        let path = format!("/api/flows/sessions/{session}/stream?bootstrap=true");
        let mut response = self.get(&path, None).await;
        for _ in 0..self.choice.below(10) {
            let chunk = timeout(Duration::from_secs(1), response.chunk()).await;
            if !matches!(chunk, Ok(Ok(Some(_)))) {
                break;
            }
        }
    }
}

/// A number of the server's metrics.
async fn metric(http: &Client, url: &str, name: &str) -> u64 {
    let text = http
        .get(format!("{url}/metrics"))
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    line.and_then(|value| value.parse().ok())
        .unwrap_or_else(|| panic!("no {name}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_come_and_go_and_nothing_grows() {
    let seconds = variable("FLOWSTATE_SOAK_SECONDS", 5);
    let folder = tempfile::tempdir().expect("a folder");
    let server = Server::start(BINARY, folder.path(), &["--scripted-tokens-per-second", "1000"]);
    let (clock, done) = (Arc::new(SystemEnv::new()), Arc::new(Done::default()));
    let until = clock.monotonic() + Duration::from_secs(seconds);
    let mut visitors = Vec::new();
    for number in 0..CLIENTS {
        let mut visitor = Visitor {
            http: flowstate_tests::http::client(),
            url: server.url.clone(),
            name: format!("c{number}"),
            choice: Choice::new(number + variable("FLOWSTATE_SOAK_SEED", 1)),
            done: done.clone(),
        };
        let clock = clock.clone();
        visitors.push(tokio::spawn(async move {
            for number in 0.. {
                if clock.monotonic() > until {
                    return;
                }
                visitor.visit(number).await;
            }
        }));
    }
    let mut samples = Vec::new();
    for _ in 0..SAMPLES {
        sleep(Duration::from_secs(seconds) / SAMPLES as u32).await;
        samples.push(server.memory_kib());
    }
    for visitor in visitors {
        visitor.await.expect("a visitor is content");
    }
    let http = flowstate_tests::http::client();
    let active: Value = {
        let answer = http
            .get(format!("{}/api/flows/active-requests", server.url))
            .send()
            .await;
        answer.expect("an answer").json().await.expect("JSON")
    };
    assert_eq!(active, json!({"entries": []}), "nothing runs");
    // Who left is noticed when there is something to tell.
    let closed = async {
        while metric(&http, &server.url, "flowstate_http_open_streams").await > 0 {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, closed).await.expect("no stream stays open");
    let mut growth: Vec<u64> = samples[samples.len() / 2..]
        .windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .collect();
    growth.sort_unstable();
    let growth = growth[growth.len() / 2];
    println!("{done:?}; memory grows by {growth} KiB from look to look; KiB: {samples:?}");
    assert!(done.visits.load(Ordering::Relaxed) >= CLIENTS, "{done:?}");
    if seconds >= JUDGED_SECONDS {
        assert!(growth <= GROWTH_KIB_MAX, "memory grows: {samples:?}");
        let last = samples.last().copied().unwrap_or_default() >> 10;
        assert!(last <= MEMORY_MIB_MAX, "memory: {samples:?}");
    }
}
