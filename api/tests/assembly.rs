//! How a server is put together, opened, mounted and disposed of.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode};
use flowstate::engine::EngineOpenError;
use flowstate::engine::model::ScriptedModel;
use flowstate::log::{Options, Storage};
use flowstate::prelude::*;
use flowstate::{FlowState, FlowStateBuilder, Profile, ReadyError, Slot, Store, StoreAdapter, lsm, memory};
use futures_util::future::{BoxFuture, join_all};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tower::ServiceExt;

fn flow_of(kind: &str) -> Flow {
    let answer = generator("answer").user(|input: &String, _ctx| input.clone());
    flow(kind)
        .action("say", action(answer).user_message(String::clone))
        .instance("default")
        .expect("a flow")
}

fn server() -> FlowStateBuilder {
    FlowState::builder().models(Models::new()).flow(flow_of("chat"))
}

/// A store in memory that counts, and that opens only as often as it is let.
#[derive(Default)]
struct Counted {
    realised: AtomicUsize,
    disposed: AtomicUsize,
    /// As many of the first attempts fail.
    failures: usize,
}

struct Adapter(Arc<Counted>, Arc<Semaphore>);

impl StoreAdapter for Adapter {
    fn name(&self) -> &str {
        "counted"
    }

    fn slots(&self) -> &[Slot] {
        &[Slot::Primary, Slot::Queue]
    }

    fn realise(&self) -> BoxFuture<'_, Result<Storage, EngineOpenError>> {
        Box::pin(async {
            let before = self.0.realised.fetch_add(1, Ordering::SeqCst);
            self.1.acquire().await.expect("it is open").forget();
            match before < self.0.failures {
                true => Err(EngineOpenError::Store("it is not there yet".into())),
                false => Ok(Options::in_memory().into()),
            }
        })
    }

    fn dispose(&self) -> BoxFuture<'_, Result<(), Box<dyn Error + Send + Sync>>> {
        Box::pin(async {
            self.0.disposed.fetch_add(1, Ordering::SeqCst);
            Err("it would not go".into())
        })
    }
}

/// Such a store, its counts, and what lets it open.
fn counted(failures: usize) -> (Store, Arc<Counted>, Arc<Semaphore>) {
    let counts = Arc::new(Counted {
        failures,
        ..Counted::default()
    });
    let gate = Arc::new(Semaphore::new(0));
    (Store::new(Adapter(counts.clone(), gate.clone())), counts, gate)
}

async fn send(router: &Router, method: &str, uri: &str, body: &Value) -> (StatusCode, Bytes) {
    let request = Request::builder().method(method).uri(uri).header("host", "localhost");
    let request = match body {
        Value::Null => request.body(Body::empty()),
        body => request
            .header("content-type", "application/json")
            .body(body.to_string().into()),
    };
    let response = router
        .clone()
        .oneshot(request.expect("a request"))
        .await
        .expect("an answer");
    let status = response.status();
    (status, response.into_body().collect().await.expect("a body").to_bytes())
}

#[test]
fn everything_that_is_wrong_is_told_when_it_is_built() {
    let asks = generator::<String>("asks").model("nobody").user(|text, _| text.clone());
    let asking = flow("asking")
        .action("ask", action(asks))
        .instance("default")
        .expect("a flow");
    let built = server()
        .flow_as("twice", asking)
        .flow_as("twice", flow_of("chat"))
        .settings(1u8)
        .settings(2u8)
        .profile("dev", Profile::default())
        .default_profile("prod")
        .allow_host("a b")
        .allow_origin("null")
        .build();
    let problems = built.err().expect("many problems").problems;
    for part in [
        "two flows have the key \"twice\"",
        "two flows have the kind \"chat\"",
        "no model is named \"nobody\"",
        "settings of the type u8 are given twice",
        "the profile \"dev\" has no primary store",
        "default_profile names the profile \"prod\"",
        "allow_host: \"a b\"",
        "allow_origin: \"null\"",
    ] {
        let said = problems.iter().filter(|problem| problem.contains(part)).count();
        assert_eq!(said, 1, "{part}: {problems:#?}");
    }
    assert_eq!(problems.len(), 8, "{problems:#?}");
    let none = server().build().err().expect("no store").to_string();
    assert!(none.contains("no store is named"), "{none}");
}

#[test]
fn building_opens_nothing_and_needs_no_runtime() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let built = server().store(lsm(&data)).build().expect("a server");
    let _ = built.router().expect("routes");
    assert!(!data.exists());
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        built.ready().await.expect("open");
        built.dispose().await;
    });
    assert!(data.exists());
}

#[test]
fn what_it_was_built_from_can_be_asked() {
    let built = server()
        .flow_as("main", flow_of("other"))
        .profile("dev", Profile::primary(memory()))
        .profile("prod", Profile::primary(memory()).slot(Slot::Blobs, memory()))
        .default_profile("dev")
        .env(|name| (name == "FSD_ENV").then(|| "prod".to_owned()))
        .settings("hello")
        .build()
        .expect("a server");
    assert_eq!(built.active_profile(), "prod");
    let meta = built.meta();
    assert_eq!(meta.flow_keys, ["chat/default", "main"]);
    assert_eq!(meta.profile_keys, ["dev", "prod"]);
    let slots = BTreeMap::from([
        ("dev".to_owned(), vec![Slot::Primary]),
        ("prod".to_owned(), vec![Slot::Primary, Slot::Blobs]),
    ]);
    assert_eq!(meta.declared_slots, slots);
    assert_eq!(built.settings::<&str>(), Ok(&"hello"));
    assert!(built.settings::<String>().is_err());
}

#[tokio::test]
async fn callers_share_one_opening_and_one_that_goes_away_does_not_stop_it() {
    let (store, counts, gate) = counted(0);
    let built = server().store(store).build().expect("a server");
    {
        let mut gone = Box::pin(built.ready());
        assert!(futures_util::poll!(&mut gone).is_pending());
    }
    let router = built.router().expect("routes");
    let null = Value::Null;
    let calls = join_all([
        send(&router, "GET", "/api/flows", &null),
        send(&router, "GET", "/api/flows", &null),
    ]);
    let opened = tokio::join!(built.ready(), calls, async {
        tokio::task::yield_now().await;
        gate.add_permits(9);
    });
    assert!(opened.0.is_ok());
    assert_eq!(opened.1.map_status(), [200, 200]);
    assert_eq!(counts.realised.load(Ordering::SeqCst), 1);
    built.dispose().await;
}

trait Statuses {
    fn map_status(&self) -> Vec<u16>;
}

impl Statuses for Vec<(StatusCode, Bytes)> {
    fn map_status(&self) -> Vec<u16> {
        self.iter().map(|(status, _)| status.as_u16()).collect()
    }
}

#[tokio::test]
async fn a_failed_opening_is_told_to_all_who_waited_and_tried_again_by_the_next() {
    let (store, counts, gate) = counted(1);
    let built = server().store(store).build().expect("a server");
    let router = built.router().expect("routes");
    let null = Value::Null;
    let (first, second, (status, body), ()) = tokio::join!(
        built.ready(),
        built.ready(),
        send(&router, "GET", "/api/flows", &null),
        async { gate.add_permits(9) }
    );
    for failed in [first, second] {
        let failed = failed.err().expect("a failure").to_string();
        assert!(failed.contains("it is not there yet"), "{failed}");
    }
    let said: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status.as_u16(), &said["code"]), (503, &json!("unavailable")));
    assert!(!said.to_string().contains("not there yet"), "{said}");
    assert_eq!(counts.realised.load(Ordering::SeqCst), 1);
    assert_eq!(send(&router, "GET", "/api/flows", &null).await.0, StatusCode::OK);
    assert_eq!(counts.realised.load(Ordering::SeqCst), 2);
    built.dispose().await;
}

#[tokio::test]
async fn disposing_waits_for_an_opening_and_reaches_every_store_of_every_profile_once() {
    let (active, of_active, gate) = counted(0);
    let (other, of_other, _) = counted(0);
    let built = server()
        .env(|_| None)
        .profile("dev", Profile::primary(active.clone()).slot(Slot::Queue, active))
        .profile("prod", Profile::primary(other))
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    let mut opening = Box::pin(built.ready());
    assert!(futures_util::poll!(&mut opening).is_pending());
    let mut disposing = Box::pin(built.dispose());
    assert!(futures_util::poll!(&mut disposing).is_pending());
    assert!(matches!(built.ready().await, Err(ReadyError::Disposed)));
    assert!(matches!(built.router(), Err(ReadyError::Disposed)));
    assert_eq!(of_active.disposed.load(Ordering::SeqCst), 0);
    gate.add_permits(1);
    tokio::join!(disposing, built.dispose());
    assert!(matches!(opening.await, Err(ReadyError::Disposed)));
    built.dispose().await;
    for (counts, realised) in [(of_active, 1), (of_other, 0)] {
        assert_eq!(counts.realised.load(Ordering::SeqCst), realised);
        assert_eq!(counts.disposed.load(Ordering::SeqCst), 1);
    }
    assert_eq!(send(&router, "GET", "/api/flows", &Value::Null).await.0.as_u16(), 503);
}

#[derive(Debug)]
struct Tone(&'static str);

#[tokio::test]
async fn blocks_find_settings_by_their_type() {
    let tone = handler("tone").run(|_: String, ctx: Ctx| async move { Ok(ctx.settings::<Tone>()?.0.to_owned()) });
    let other = handler("other").run(|_: String, ctx: Ctx| async move { Ok(*ctx.settings::<u64>()?) });
    let asks = flow("asks")
        .action("tone", action(tone))
        .action("other", action(other))
        .instance("default")
        .expect("a flow");
    let built = server()
        .flow(asks)
        .settings(Tone("warm"))
        .store(memory())
        .build()
        .expect("a server");
    let engine = built.ready().await.expect("open");
    let run = async |action: &str| {
        let submission = flowstate::engine::Submission {
            flow: "asks".into(),
            action: action.into(),
            input: Some(json!("")),
            user: "u".into(),
            ..Default::default()
        };
        engine.run_submission(submission).await
    };
    let ran = run("tone").await.expect("a result");
    assert!(format!("{ran:?}").contains("warm"), "{ran:?}");
    let ran = format!("{:?}", run("other").await);
    assert!(ran.contains("no settings of the type u64"), "{ran}");
    assert_eq!(built.settings::<Tone>().expect("settings").0, "warm");
}

#[tokio::test]
async fn it_works_under_any_prefix_of_any_application() {
    let built = server()
        .model(ScriptedModel::new(0))
        .store(memory())
        .build()
        .expect("a server");
    let routes = || built.router().expect("routes");
    let nested = Router::new().nest_service("/ai/v1", routes());
    let nested_routes = Router::new().nest("/ai/v1", routes());
    for (host, name) in [(nested, "one"), (nested_routes, "two")] {
        let body = json!({"userId": "u", "requestId": name, "input": "hello"});
        let (status, accepted) = send(&host, "POST", "/ai/v1/api/flows/chat/actions/say", &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{accepted:?}");
        let stream = format!("/ai/v1/api/flows/chat/requests/{name}/stream");
        let (status, events) = send(&host, "GET", &stream, &Value::Null).await;
        let events = String::from_utf8_lossy(&events).into_owned();
        assert!(
            status == StatusCode::OK && events.contains("request.completed"),
            "{events}"
        );
        let (status, error) = send(&host, "GET", "/ai/v1/nope", &Value::Null).await;
        let error: Value = serde_json::from_slice(&error).expect("JSON");
        assert_eq!((status.as_u16(), &error["code"]), (404, &json!("route_not_found")));
        assert_eq!(
            send(&host, "GET", "/api/flows", &Value::Null).await.0,
            StatusCode::NOT_FOUND
        );
    }
}

#[tokio::test]
async fn probes_are_told_how_far_it_is_and_begin_what_has_not_begun() {
    let (store, counts, gate) = counted(1);
    let built = server().store(store).build().expect("a server");
    let router = built.router().expect("routes");
    let told = async |uri: &str| {
        let (status, body) = send(&router, "GET", uri, &Value::Null).await;
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        (status.as_u16(), body["status"].as_str().expect("a status").to_owned())
    };
    let expect = async |live: u16, ready: (u16, &str), health: (u16, &str)| {
        assert_eq!(told("/livez").await.0, live);
        assert_eq!(told("/readyz").await, (ready.0, ready.1.to_owned()));
        assert_eq!(told("/api/flows/healthz").await, (health.0, health.1.to_owned()));
    };
    assert_eq!(told("/livez").await.0, 200);
    assert_eq!(counts.realised.load(Ordering::SeqCst), 0);
    expect(200, (503, "initializing"), (503, "initializing")).await;
    let begun = async {
        while counts.realised.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await;
        }
    };
    let begun = tokio::time::timeout(std::time::Duration::from_secs(5), begun).await;
    begun.expect("the probe began an opening");
    // The attempt that the probe began fails, and the next probe's is held.
    gate.add_permits(1);
    let failed = built.ready().await;
    assert!(failed.is_err());
    expect(200, (503, "initializing"), (500, "error")).await;
    gate.add_permits(1);
    built.ready().await.expect("open");
    assert_eq!(counts.realised.load(Ordering::SeqCst), 2);
    expect(200, (200, "ok"), (200, "ok")).await;
    built.dispose().await;
    expect(200, (503, "stopping"), (503, "stopping")).await;
    assert_eq!(send(&router, "PUT", "/readyz", &Value::Null).await.0.as_u16(), 405);
}
