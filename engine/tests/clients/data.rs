//! Client data: what its functions are given, and what becomes of those that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::ScopeKind;
use flowstate_engine::{
    Collection, Eviction, NoState, Principal, Resource, ScopeResources, SnapshotQuery, collection, resource,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::support::*;

fn plan() -> Resource<State> {
    let begins = State {
        n: 1,
        ..State::default()
    };
    let shown = |body: String, state: State| format!("{body} {}", state.n);
    resource("plan").initial(begins).content("plan").render(shown)
}

fn files() -> Collection<State> {
    collection("files", "files/**").content("empty")
}

/// Everything that a reader gives.
async fn all(resources: ScopeResources) -> Result<Value, BlockError> {
    let keys = |page: Vec<(String, State)>| {
        page.into_iter()
            .map(|(key, state)| json!([key, state.n]))
            .collect::<Value>()
    };
    let files = files();
    Ok(json!({
        "scope": resources.scope().as_str(),
        "plan": resources.state(&plan()).await?.n,
        "content": resources.content(&plan()).await?,
        "found": resources.find(&files, "src/a").await?.map(|state| state.n),
        "missed": resources.find(&files, "none").await?.map(|state| state.n),
        "list": keys(resources.list(&files, None).await?),
        "below": keys(resources.list(&files, Some("src/")).await?),
        "page": keys(resources.list_page(&files, None, Some("files/b"), 1).await?),
        "count": resources.count(&files).await?,
        "body": resources.instance_content(&files, "b").await?,
        "begins": resources.instance_content(&files, "src/a").await?,
        "none": resources.instance_content(&files, "none").await?,
    }))
}

fn scoped() -> flowstate_engine::Scope<State> {
    scope::<State>()
        .resource(&plan())
        .resource(&files())
        .client_data_with("all", |_: State, resources| all(resources))
        .client_data_with("value", |state: State, _| state.n)
        .client_data_with("result", |state: State, _| Ok::<_, BlockError>(json!({"n": state.n})))
}

#[tokio::test]
async fn an_entry_is_made_of_the_state_and_the_resources_of_its_scope() {
    let engine = engine(
        going(|input, ctx| async move {
            let Some(scope) = input.as_str() else {
                return Ok(Value::Null);
            };
            let (scope, n) = match scope {
                "session" => (ScopeKind::Session, 10),
                "user" => (ScopeKind::User, 20),
                _ => (ScopeKind::Project, 30),
            };
            match scope {
                ScopeKind::Session => ctx.session::<State>().inc("n", n).await?,
                ScopeKind::User => ctx.user::<State>().inc("n", n).await?,
                _ => ctx.project::<State>().expect("a project").inc("n", n).await?,
            };
            ctx.resource_of(scope, &plan())?.state().inc("n", n).await?;
            let files = ctx.collection_of(scope, &files())?;
            for (key, more) in [("src/a", 1), ("b", 2), ("c", 3)] {
                files.create(key).await?.state().inc("n", n + more).await?;
            }
            files.get("b").await?.write_content(format!("body {n}")).await?;
            Ok(Value::Null)
        })
        .session(scoped())
        .user(scoped())
        .project(scoped()),
    )
    .await;
    go(&engine, "s", Some("p"), Value::Null).await;
    let nothing = |scope: &str| {
        json!({"all": {
            "scope": scope, "plan": 1, "content": "plan 1", "found": null, "missed": null, "list": [], "below": [], "page": [], "count": 0,
            "body": null, "begins": null, "none": null,
        }, "value": 0, "result": {"n": 0}})
    };
    let shown = snapshot(&engine, "s", None).await;
    assert_eq!(shown.client_data_errors, []);
    let expected = json!({"session": nothing("session"), "user": nothing("user"), "project": nothing("project")});
    assert_eq!(json(shown.client_data), expected);

    for scope in ["session", "user", "project"] {
        go(&engine, "s", None, scope.into()).await;
    }
    let something = |scope: &str, n: i64| {
        json!({"all": {
            "scope": scope, "plan": n + 1, "content": format!("plan {}", n + 1), "found": n + 1, "missed": null,
            "list": [["files/b", n + 2], ["files/c", n + 3], ["files/src/a", n + 1]], "below": [["files/src/a", n + 1]],
            "page": [["files/c", n + 3]], "count": 3, "body": format!("body {n}"), "begins": "empty", "none": null,
        }, "value": n, "result": {"n": n}})
    };
    let shown = snapshot(&engine, "s", None).await;
    assert_eq!(shown.client_data_errors, []);
    let mut expected = json!({
        "session": something("session", 10), "user": something("user", 20), "project": something("project", 30),
    });
    assert_eq!(json(shown.client_data), expected);

    // Another session of the user, in no project, has its own resources and the user's.
    go(&engine, "t", None, Value::Null).await;
    let shown = snapshot(&engine, "t", None).await;
    expected["session"] = nothing("session");
    expected.as_object_mut().expect("scopes").remove("project");
    assert_eq!(json(shown.client_data), expected);
}

#[tokio::test]
async fn another_scopes_resources_can_not_be_read() {
    let theirs = || resource::<State>("theirs");
    let other_type = || resource::<NoState>("plan");
    let engine = engine(
        going(|_, _| async move { Ok(Value::Null) })
            .user(scope::<NoState>().resource(&theirs()))
            .session(
                scope::<State>()
                    .resource(&plan())
                    .client_data_with("theirs", move |_: State, resources| async move {
                        Ok(resources.state(&theirs()).await?)
                    })
                    .client_data_with("nobodys", |_: State, resources| async move {
                        Ok(resources.content(&resource::<State>("nobodys")).await?)
                    })
                    .client_data_with("typed", move |_: State, resources| async move {
                        Ok(resources.state(&other_type()).await?)
                    })
                    .client_data_with("key", |_: State, resources| async move {
                        Ok(resources.find(&collection::<State>("plan", "plan/*"), "a").await?)
                    }),
            ),
    )
    .await;
    go(&engine, "s", None, Value::Null).await;
    let shown = snapshot(&engine, "s", None).await;
    assert!(shown.client_data.is_empty(), "{:?}", shown.client_data);
    let why: Vec<(&str, &str)> = shown
        .client_data_errors
        .iter()
        .map(|error| (error.name.as_str(), error.message.as_str()))
        .collect();
    let says = [
        ("theirs", "is the user's"),
        ("nobodys", "is not declared"),
        ("typed", "another type"),
        ("key", "is a collection"),
    ];
    assert_eq!(why.len(), says.len(), "{why:?}");
    for ((name, message), (expected, says)) in why.into_iter().zip(says) {
        assert!(name == expected && message.contains(says), "{name}: {message}");
    }
}

#[tokio::test]
async fn an_entry_that_fails_panics_or_hangs_is_reported_and_the_others_are_given() {
    let (begun, done) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let gate = Arc::new(Gate::default());
    let (hangs, slow) = (begun.clone(), done.clone());
    let session = scope::<State>()
        .resource(&files())
        .client_data_with("fails", |_: State, _| async move {
            Err::<Value, _>(BlockError::new("tired", "not today"))
        })
        .client_data_with("fails_at_once", |_: State, _| {
            Err::<Value, BlockError>(BlockError::new("tired", "nor now"))
        })
        .client_data_with("panics", |_: State, _| -> i64 { panic!("no value") })
        .client_data_with("panics_later", |_: State, resources| async move {
            let count = resources.count(&files()).await?;
            assert!(count > 7, "too few");
            Ok(count)
        })
        .client_data_with("hangs", move |_: State, _| {
            let hangs = hangs.clone();
            async move {
                hangs.notify_one();
                std::future::pending::<()>().await;
                Ok(1)
            }
        })
        .client_data_with("slow", move |_: State, resources| {
            let slow = slow.clone();
            async move {
                let count = resources.count(&files()).await?;
                slow.notify_one();
                Ok(count)
            }
        })
        .client_data("plain", |state: &State| state.n);
    let user = scope::<State>().client_data_with("n", |state: State, _| state.n);
    let flow = going(|_, _| async move { Ok(Value::Null) }).session(session).user(user);
    let engine = open(flow, gate.clone(), &memory()).await;
    go(&engine, "s", None, Value::Null).await;
    let shown = tokio::spawn({
        let engine = engine.clone();
        async move { snapshot(&engine, "s", None).await }
    });
    begun.notified().await;
    done.notified().await;
    assert!(!shown.is_finished(), "it waits for what hangs");
    gate.pass();
    let shown = tokio::time::timeout(Duration::from_secs(20), shown).await;
    let shown = shown.expect("in time").expect("a snapshot");
    assert_eq!(
        json(shown.client_data),
        json!({"session": {"slow": 0, "plain": 0}, "user": {"n": 0}})
    );
    let why: Vec<(&str, &str)> = shown
        .client_data_errors
        .iter()
        .map(|error| (error.name.as_str(), error.message.as_str()))
        .collect();
    let says = [
        ("fails", "not today"),
        ("fails_at_once", "nor now"),
        ("panics", "it panicked: no value"),
        ("panics_later", "it panicked: too few"),
        ("hangs", "longer than 5s"),
    ];
    assert_eq!(why.len(), says.len(), "{why:?}");
    for ((name, message), (expected, says)) in why.into_iter().zip(says) {
        assert!(name == expected && message.contains(says), "{name}: {message}");
    }
    assert!(
        gate.waits().iter().all(|time| *time == Duration::from_secs(5)),
        "{:?}",
        gate.waits()
    );
}

static READ: AtomicU32 = AtomicU32::new(0);

/// A state that counts how often it is read.
#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(from = "State", into = "State")]
struct Counted(State);

impl From<State> for Counted {
    fn from(state: State) -> Self {
        READ.fetch_add(1, Ordering::SeqCst);
        Self(state)
    }
}

impl From<Counted> for State {
    fn from(counted: Counted) -> Self {
        counted.0
    }
}

#[tokio::test]
async fn what_is_not_asked_for_is_neither_made_nor_read() {
    let (asked, unasked) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let counting = |counter: &Arc<AtomicU32>| {
        let counter = counter.clone();
        move || counter.fetch_add(1, Ordering::SeqCst)
    };
    let (one, other) = (counting(&asked), counting(&unasked));
    let session = scope::<State>()
        .client_data_with("asked", move |_: State, _| one())
        .client_data_with("unasked", move |_: State, _| other());
    let user = scope::<Counted>().client_data_with("n", |counted: Counted, _| counted.0.n);
    let engine = engine(going(|_, _| async move { Ok(Value::Null) }).session(session).user(user)).await;
    go(&engine, "s", None, Value::Null).await;
    let before = READ.load(Ordering::SeqCst);
    let shown = snapshot(&engine, "s", Some(&[("session", "asked"), ("session", "none")])).await;
    assert_eq!(json(shown.client_data), json!({"session": {"asked": 0}}));
    assert_eq!((asked.load(Ordering::SeqCst), unasked.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(
        READ.load(Ordering::SeqCst),
        before,
        "the user's state was not asked for"
    );
    let shown = snapshot(&engine, "s", Some(&[("user", "n")])).await;
    assert_eq!(json(shown.client_data), json!({"user": {"n": 0}}));
    assert_eq!((asked.load(Ordering::SeqCst), unasked.load(Ordering::SeqCst)), (1, 0));
    assert_eq!(READ.load(Ordering::SeqCst), before + 1);
}

#[tokio::test]
async fn what_clients_look_at_counts_as_no_access() {
    let access = flowstate_engine::ClientAccess::new().read_content();
    let recent = move || {
        let recent = collection::<State>("recent", "recent/*")
            .max_instances(2)
            .eviction(Eviction::Lru);
        recent.content("text").client(access)
    };
    let session = scope::<State>()
        .resource(&recent())
        .client_data_with("a", move |_: State, resources| async move {
            resources.instance_content(&recent(), "a").await?;
            Ok(resources.find(&recent(), "a").await?)
        });
    let made = going(move |input, ctx| async move {
        let key = input.as_str().unwrap_or_default().to_owned();
        ctx.collection(&recent())?.create(key).await?;
        Ok(Value::Null)
    });
    let engine = engine(made.session(session)).await;
    go(&engine, "s", None, "a".into()).await;
    go(&engine, "s", None, "b".into()).await;
    let tail = engine.log().tail(stream(&engine).await).await.expect("a tail");
    let shown = snapshot(&engine, "s", None).await;
    assert_eq!(json(shown.client_data), json!({"session": {"a": State::default()}}));
    assert_eq!(
        content(&engine, "recent", Some("a")).await.expect("a"),
        Some("text".into())
    );
    assert_eq!(
        engine.log().tail(stream(&engine).await).await.expect("a tail"),
        tail,
        "nothing is recorded"
    );
    go(&engine, "s", None, "c".into()).await;
    let gone = content(&engine, "recent", Some("a")).await.expect_err("it made room");
    assert_eq!(gone.to_string(), "the collection \"recent\" has no \"a\"");
    assert!(content(&engine, "recent", Some("b")).await.is_ok());
}

#[tokio::test]
async fn no_state_and_no_body_is_in_a_snapshot_that_is_not_declared_for_it() {
    let shown = || flowstate_engine::ClientAccess::new().read_content();
    let plan = move || resource::<State>("plan").content("SECRET body").client(shown());
    let hidden = || collection::<State>("hidden", "hidden/*").content("SECRET body");
    let files = move || {
        collection::<State>("files", "files/*")
            .content("SECRET body")
            .client(shown())
    };
    let scoped = move || {
        scope::<State>()
            .resource(&plan())
            .resource(&hidden())
            .resource(&files())
            .client_data("n", |state: &State| state.n)
            .client_data_with("files", move |_: State, resources| async move {
                Ok(resources.count(&files()).await?)
            })
    };
    let secret = || State {
        n: 7,
        secret: "SECRET state".into(),
    };
    let engine = engine(
        going(move |_, ctx| async move {
            ctx.session::<State>().set(secret()).await?;
            ctx.user::<State>().set(secret()).await?;
            ctx.resource(&plan())?.state().set(secret()).await?;
            ctx.collection(&files())?.create_as("a", secret()).await?;
            ctx.collection(&hidden())?.create_as("SECRET key", secret()).await?;
            Ok(Value::Null)
        })
        .session(scoped())
        .user(scoped()),
    )
    .await;
    go(&engine, "s", None, Value::Null).await;
    let query = SnapshotQuery {
        client_data: None,
        items: Some(flowstate_engine::ItemPage {
            hidden: false,
            types: None,
            offset: 0,
            limit: 1_000,
        }),
    };
    let found = engine.snapshot(&Principal::default(), "s", &query).await;
    let text = format!("{:?}", found.expect("readable").expect("a session"));
    assert!(!text.contains("SECRET") && !text.contains("hidden"), "{text}");
    assert!(
        text.contains("\"n\": Number(7)") && text.contains("Collection { count: 1, prefetched: [] }"),
        "{text}"
    );
}
