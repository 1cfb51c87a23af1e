//! Streams end when their credential does, and can be resumed with another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::http::request::Parts;
use flowstate::auth::{ApiKeys, AuthError, Authenticate, Identity, bearer_token};
use flowstate::engine::model::{Model, ModelError, ModelEvent, ModelRequest};
use flowstate::prelude::*;
use flowstate::{FlowState, FlowStateBuilder, memory};
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::{self, BoxStream, StreamExt};
use serde_json::json;
use tokio::time::timeout;
use tower::ServiceExt;

use super::{get, key, post, send, status};

const STREAM: &str = "/api/flows/chat/requests/r/stream";

/// A model that is asked and never answers.
struct Silent;

impl Model for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    fn stream(&self, _: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        stream::pending().boxed()
    }
}

fn silent() -> FlowStateBuilder {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    let chat = flow("chat").action("say", action(answer)).instance("default");
    FlowState::builder()
        .flow(chat.expect("a flow"))
        .models(Models::new())
        .model(Silent)
        .store(memory())
}

/// Begins a request that never ends.
async fn begin(router: &Router, token: &str) {
    let body = json!({ "input": "hello", "requestId": "r" });
    assert_eq!(
        status(router, post("/api/flows/chat/actions/say", token, body)).await,
        202
    );
}

/// Reads the stream to its end; the text, and how long it was open.
async fn read(router: &Router, token: &str) -> (String, Duration) {
    let opened = tokio::time::Instant::now();
    let response = router.clone().oneshot(get(STREAM, token)).await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    let mut chunks = response.into_body().into_data_stream();
    let mut text = String::new();
    let patience = Duration::from_secs(300);
    while let Some(chunk) = timeout(patience, chunks.next()).await.expect("an end in time") {
        assert!(opened.elapsed() < patience, "an end in time");
        text.push_str(str::from_utf8(&chunk.expect("bytes")).expect("text"));
    }
    (text, opened.elapsed())
}

/// The stream ended between two frames, without a terminal event, so that it is resumed.
fn assert_resumable(text: &str) {
    assert!(text.contains("event: request.created"), "{text}");
    assert!(text.ends_with(": the credential has ended\n\n"), "{text}");
    for terminal in ["completed", "failed", "incomplete"] {
        assert!(!text.contains(&format!("event: request.{terminal}")), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_soon_after_its_key_was_removed_and_goes_on_with_another_of_the_same_user() {
    let ((one, first), (two, second)) = (key("one", "ann"), key("two", "ann"));
    let keys = ApiKeys::new();
    keys.add(one).expect("a new key");
    keys.add(two).expect("a new key");
    let router = silent()
        .authenticate(keys.clone())
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    begin(&router, &first).await;

    let later = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        keys.remove("one");
    };
    let ((text, open), ()) = tokio::join!(read(&router, &first), later);
    assert_resumable(&text);
    assert!((100..=130).contains(&open.as_secs()), "{open:?}");

    let last = text
        .lines()
        .rev()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("an id");
    let mut resumed = get(STREAM, &first);
    resumed
        .headers_mut()
        .insert("last-event-id", last.parse().expect("a value"));
    assert_eq!(status(&router, resumed).await, 401);
    let mut resumed = get(STREAM, &second);
    resumed
        .headers_mut()
        .insert("last-event-id", last.parse().expect("a value"));
    let response = router.clone().oneshot(resumed).await.expect("an answer");
    assert_eq!(response.status().as_u16(), 200);
    let mut chunks = response.into_body().into_data_stream();
    let next = chunks.next().await.expect("more").expect("bytes");
    let next = str::from_utf8(&next).expect("text");
    assert!(!next.contains(last), "nothing is sent again: {next}");
}

/// Tokens are user names; what is known of them can change.
#[derive(Clone, Default)]
struct Changing {
    expires: Option<SystemTime>,
    fewer_projects: Arc<AtomicBool>,
    down: Arc<AtomicBool>,
}

impl Authenticate for Changing {
    fn authenticate<'a>(&'a self, call: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>> {
        let identity = match bearer_token(call) {
            _ if self.down.load(Ordering::Relaxed) => Err(AuthError::Unavailable("the secret reason".to_owned())),
            None => Err(AuthError::Refused),
            Some(user) => {
                let mut identity = Identity::new("", user).project("p1");
                identity.expires = self.expires;
                if self.fewer_projects.load(Ordering::Relaxed) {
                    identity.projects.clear();
                }
                Ok(identity)
            }
        };
        Box::pin(ready(identity))
    }
}

#[tokio::test]
async fn a_stream_ends_when_its_credential_expires() {
    #[allow(clippy::disallowed_methods)] // as who gives out credentials would
    let expires = SystemTime::now() + Duration::from_millis(300);
    let authenticator = Changing {
        expires: Some(expires),
        ..Changing::default()
    };
    let router = silent()
        .authenticate(authenticator)
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    begin(&router, "ann").await;
    let (text, open) = read(&router, "ann").await;
    assert_resumable(&text);
    assert!(open < Duration::from_secs(10), "before the next check: {open:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_when_the_rights_of_its_credential_change_or_can_not_be_checked() {
    for change in ["fewer projects", "down"] {
        let authenticator = Changing::default();
        let server = silent().authenticate(authenticator.clone());
        let router = server.build().expect("a server").router().expect("routes");
        begin(&router, "ann").await;
        let later = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            match change {
                "down" => authenticator.down.store(true, Ordering::Relaxed),
                _ => authenticator.fewer_projects.store(true, Ordering::Relaxed),
            }
        };
        let ((text, open), ()) = tokio::join!(read(&router, "ann"), later);
        assert_resumable(&text);
        assert!((100..=130).contains(&open.as_secs()), "{change}: {open:?}");
    }
}

#[tokio::test]
async fn who_can_not_be_checked_is_told_to_try_again_and_not_why() {
    let authenticator = Changing::default();
    authenticator.down.store(true, Ordering::Relaxed);
    let router = silent()
        .authenticate(authenticator)
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    let (status, headers, body) = send(&router, get("/api/flows", "ann")).await;
    assert_eq!(
        (status.as_u16(), &headers["retry-after"]),
        (503, &"1".parse().expect("a value"))
    );
    assert!(!body.to_string().contains("secret"), "{body}");
}

#[tokio::test]
async fn an_identity_with_names_that_could_be_another_is_nobody() {
    let router = silent()
        .authenticate(Changing::default())
        .build()
        .expect("a server")
        .router()
        .expect("routes");
    assert_eq!(status(&router, get("/api/flows", "ann")).await, 200);
    assert_eq!(status(&router, get("/api/flows", &"x".repeat(201))).await, 401);
}
