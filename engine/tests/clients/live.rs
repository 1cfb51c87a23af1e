//! Live resources: what clients are told that each change left, and that it is what they would have been shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowstate_engine::item::{ChangeType, Item, ItemBody, ResourceChange};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{ScopeKind, decode};
use flowstate_engine::{
    ClientAccess, Collection, Definition, Eviction, FlowBuilder, InstanceQuery, Principal, Resource, ResourceEntry,
    collection, resource,
};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::support::*;

fn live() -> ClientAccess {
    ClientAccess::new().live()
}

fn shown<K: 'static>(definition: Definition<State, K>) -> Definition<State, K> {
    definition.client_data(|state: &State| json!({"n": state.n, "sum": state.n + 1}))
}

fn plan() -> Resource<State> {
    shown(resource("plan").client(live()))
}

fn files() -> Collection<State> {
    shown(collection("files", "files/**").client(live().read_state()))
}

/// The user's, capped: of three the first made makes room.
fn notes() -> Collection<State> {
    let notes = collection("notes", "notes/*")
        .max_instances(3)
        .eviction(Eviction::Oldest);
    shown(notes.client(live().read_state()))
}

fn house() -> Resource<State> {
    shown(resource("house").client(live()))
}

fn with_all(flow: FlowBuilder) -> FlowBuilder {
    flow.session(scope::<State>().resource(&plan()).resource(&files()))
        .user(scope::<State>().resource(&notes()))
        .project(scope::<State>().resource(&house()))
}

/// What the requests of the session `s` tell of resources, in order.
async fn told(engine: &Engine) -> Vec<ResourceChange> {
    let records = engine.log().read(stream(engine).await, 1, 10_000).await;
    let items = records.expect("records").into_iter().filter_map(|record| {
        let (sub, _) = record.sub?;
        Item::of_change(sub, "r", &record, &decode(&record).expect("a fact"))
    });
    let changes = items.filter_map(|item| match item.body {
        ItemBody::ResourceChange(change) => Some(change),
        _ => None,
    });
    changes.collect()
}

fn deltas(changes: &[ResourceChange], path: &str) -> Vec<Option<Value>> {
    let of = changes.iter().filter(|change| change.resource_path == path);
    of.map(|change| change.delta.clone()).collect()
}

/// What clients are shown of a resource when they ask, by the path that changes are told of.
async fn asked(engine: &Engine, path: &str) -> Option<Value> {
    if let Some((name, topic)) = path.split_once('/') {
        let found = engine.instance(&Principal::default(), "s", name, topic).await;
        return found.expect("readable").and_then(|instance| instance.client_data);
    }
    let snapshot = snapshot(engine, "s", Some(&[])).await;
    let mut scopes = snapshot.resources.into_values();
    match scopes.find_map(|mut scope| scope.remove(path)) {
        Some(ResourceEntry::One { client_data, .. }) => client_data,
        other => panic!("{path}: {other:?}"),
    }
}

async fn act(input: &str, ctx: &Ctx) -> Result<(), BlockError> {
    let whole = |n| State {
        n,
        secret: "SECRET".into(),
    };
    let (plan, files, notes) = (
        ctx.resource(&plan())?,
        ctx.collection(&files())?,
        ctx.collection(&notes())?,
    );
    match input {
        "inc" => {
            plan.state().inc("n", 2).await?;
        }
        "patch" => drop(plan.state().patch(json!({"n": 5, "secret": "SECRET"})).await?),
        "set" => drop(plan.state().set(whole(7)).await?),
        "atomic" => drop(
            plan.state()
                .atomic(|state| State {
                    n: state.n * 2,
                    ..state
                })
                .await?,
        ),
        "body" => drop(plan.write_content("SECRET").await?),
        "create" => drop(files.create_as("src/a", whole(1)).await?),
        "file inc" => {
            files.get("src/a").await?.state().inc("n", 1).await?;
        }
        "file set" => drop(files.get("src/a").await?.state().set(whole(9)).await?),
        "file body" => drop(files.get("src/a").await?.write_content("SECRET").await?),
        "delete" => drop(files.delete("src/a").await?),
        "house" => {
            ctx.resource(&house())?.state().inc("n", 3).await?;
        }
        note => drop(notes.create_as(note, whole(4)).await?),
    }
    Ok(())
}

#[tokio::test]
async fn each_change_tells_what_clients_would_be_shown_then_and_a_deletion_tells_nothing() {
    let flow = with_all(going(|input, ctx| async move {
        act(input.as_str().unwrap_or_default(), &ctx).await?;
        Ok(Value::Null)
    }));
    let engine = engine(flow).await;
    let mut seen = 0;
    for (input, path, expected) in [
        ("inc", "plan", Some(2)),
        ("patch", "plan", Some(5)),
        ("set", "plan", Some(7)),
        ("atomic", "plan", Some(14)),
        ("body", "plan", Some(14)),
        ("create", "files/src/a", Some(1)),
        ("file inc", "files/src/a", Some(2)),
        ("file set", "files/src/a", Some(9)),
        ("file body", "files/src/a", Some(9)),
        ("delete", "files/src/a", None),
        ("create", "files/src/a", Some(1)),
        ("house", "house", Some(3)),
        ("one", "notes/one", Some(4)),
        ("two", "notes/two", Some(4)),
        ("three", "notes/three", Some(4)),
    ] {
        go(&engine, "s", Some("home"), json!(input)).await;
        let told = told(&engine).await;
        let (_, new) = told.split_at(seen);
        seen = told.len();
        let [change] = new else { panic!("{input}: {new:?}") };
        assert_eq!(change.resource_path, path);
        assert_eq!(change.delta, expected.map(|n| json!({"n": n, "sum": n + 1})), "{input}");
        assert_eq!(change.change == ChangeType::Deleted, expected.is_none(), "{input}");
        assert_eq!(asked(&engine, path).await, change.delta, "{input}");
    }
    // Who makes room is told of as deleted, in the same append as who is made.
    go(&engine, "s", Some("home"), json!("four")).await;
    let told = told(&engine).await;
    let new: Vec<_> = told[seen..]
        .iter()
        .map(|change| json!([change.resource_path, change.change.as_str(), change.delta]))
        .collect();
    let expected = [
        json!(["notes/one", "deleted", null]),
        json!(["notes/four", "created", {"n": 4, "sum": 5}]),
    ];
    assert_eq!(new, expected);
    assert!(!format!("{told:?}").contains("SECRET"));
}

/// Many requests beside each other, of one session, whose user's and whose own resources they change.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_told_of_a_change_is_its_own_whoever_writes_beside_it() {
    const REQUESTS: i64 = 8;
    const ROUNDS: i64 = 12;
    let flow = with_all(going(|input, ctx| async move {
        let (plan, files) = (ctx.resource(&plan())?, ctx.collection(&files())?);
        let (file, house) = (files.get_or_create("shared").await?, ctx.resource(&house())?);
        let by = input.as_i64().unwrap_or_default();
        for round in 0..ROUNDS {
            plan.state().inc("n", 1).await?;
            house.state().inc("n", 1).await?;
            file.state().inc("n", 1).await?;
            match by % 2 {
                0 => drop(file.write_content(format!("{by} {round}")).await?),
                _ => drop(files.create_as(format!("{by}-{round}"), State::default()).await?),
            }
        }
        Ok(Value::Null)
    }));
    let engine = engine(flow).await;
    join_all((0..REQUESTS).map(|by| go(&engine, "s", Some("home"), json!(by)))).await;
    let told = told(&engine).await;
    let total = REQUESTS * ROUNDS;
    let value = |n: i64| json!({"n": n, "sum": n + 1});
    for path in ["plan", "house"] {
        let expected: Vec<_> = (1..=total).map(|n| Some(value(n))).collect();
        assert_eq!(deltas(&told, path), expected, "{path}");
        assert_eq!(asked(&engine, path).await, Some(value(total)));
    }
    // Bodies leave the state as it is: the numbers repeat, and never go back.
    let file = deltas(&told, "files/shared");
    let told_of: Vec<i64> = file
        .iter()
        .map(|delta| {
            let delta = delta.as_ref().expect("a delta");
            delta["n"].as_i64().expect("a number")
        })
        .collect();
    assert!(told_of.is_sorted(), "{told_of:?}");
    assert_eq!(told_of.len() as i64, 1 + total + REQUESTS / 2 * ROUNDS);
    assert_eq!(told_of.last(), Some(&total));
    let mut distinct = told_of.clone();
    distinct.dedup();
    assert_eq!(distinct, (0..=total).collect::<Vec<_>>(), "each change is told of");
}

/// Some write an instance while another deletes it and makes it anew: nothing is told of one that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_is_told_of_an_instance_that_is_gone() {
    const ROUNDS: usize = 40;
    let (tried, is_over) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let flow = with_all(going(move |input, ctx| {
        let (tried, is_over) = (tried.clone(), is_over.clone());
        async move {
            let files = ctx.collection(&files())?;
            if input == json!("deletes") {
                for _ in 0..ROUNDS {
                    files.create_as("a", State::default()).await?;
                    tried.notified().await;
                    files.delete("a").await?;
                }
                is_over.store(true, Ordering::SeqCst);
                return Ok(Value::Null);
            }
            let mut round = 0;
            while !is_over.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
                let Some(file) = files.find("a").await? else { continue };
                let state = file.state();
                round += 1;
                let written = match round % 3 {
                    0 => state.inc("n", 1).await.map_err(BlockError::from).err(),
                    1 => state.set(State::default()).await.map_err(BlockError::from).err(),
                    _ => file.write_content("x").await.map_err(BlockError::from).err(),
                };
                tried.notify_one();
                // It may be gone, or another's each time, and then that is said.
                let code = written.as_ref().map(BlockError::code);
                let expected = ["resource_not_found", "concurrent_modification"];
                assert!(code.is_none_or(|code| expected.contains(&code)), "{written:?}");
            }
            Ok(Value::Null)
        }
    }));
    let pauses = Arc::new(Gate::default());
    pauses.pass();
    let engine = open(flow, pauses, &memory()).await;
    let all = ["deletes", "writes", "writes", "writes"];
    join_all(all.map(|what| go(&engine, "s", None, json!(what)))).await;
    let (mut is_there, mut updates) = (false, 0);
    for change in told(&engine).await {
        let was_there = is_there;
        is_there = change.change != ChangeType::Deleted;
        updates += usize::from(change.change == ChangeType::Updated);
        assert_eq!(was_there, change.change != ChangeType::Created, "{change:?}");
        assert_eq!(change.delta.is_some(), is_there, "{change:?}");
    }
    assert!(updates > 0);
}

#[tokio::test]
async fn what_cannot_be_told_keeps_no_change_from_being_made() {
    fn failing() -> Resource<State> {
        let failing = resource("failing").client(live());
        failing.client_data(|state: &State| match state.n {
            2 => panic!("SECRET"),
            3 => Some("x".repeat(300 << 10)),
            4 => None,
            // More than a record of this log may have.
            5 => Some("y".repeat(65 << 10)),
            n => Some(n.to_string()),
        })
    }
    let flow = going(|_, ctx| async move {
        for _ in 0..6 {
            ctx.resource(&failing())?.state().inc("n", 1).await?;
        }
        let theirs = ctx.resource_of(ScopeKind::User, &failing())?;
        theirs.state().patch(json!({"n": 5})).await?;
        theirs.state().patch(json!({"n": 7})).await?;
        Ok(Value::Null)
    });
    let flow = flow
        .session(scope::<State>().resource(&failing()))
        .user(scope::<State>().resource(&failing()));
    let engine = engine(flow).await;
    go(&engine, "s", None, Value::Null).await;
    let expected = [
        Some(json!("1")),
        None,
        None,
        Some(Value::Null),
        None,
        Some(json!("6")),
        None,
        Some(json!("7")),
    ];
    assert_eq!(deltas(&told(&engine).await, "failing"), expected);
}

#[tokio::test]
async fn only_what_is_live_is_told_and_nothing_that_clients_may_not_know_of() {
    let quiet = || shown(resource::<State>("quiet").client(ClientAccess::new()));
    let hidden = || resource::<State>("hidden");
    let flow = going(move |_, ctx| async move {
        ctx.resource(&quiet())?.state().inc("n", 1).await?;
        ctx.resource(&hidden())?.state().inc("n", 1).await?;
        Ok(Value::Null)
    });
    let engine = engine(flow.session(scope::<State>().resource(&quiet()).resource(&hidden()))).await;
    go(&engine, "s", None, Value::Null).await;
    let told = told(&engine).await;
    let [change] = &*told else { panic!("{told:?}") };
    assert_eq!((change.resource_path.as_str(), &change.delta), ("quiet", &None));
}

#[test]
fn what_could_not_be_told_is_said_when_the_flow_is_built() {
    fn problem<K: 'static>(definition: Definition<State, K>) -> String {
        let flow = going(|_, _| async move { Ok(Value::Null) });
        let flow = flow.session(scope::<State>().resource(&definition));
        flow.instance("default")
            .err()
            .map_or(String::new(), |error| error.to_string())
    }
    let listed = live().read_state();
    assert_eq!(problem(plan()) + &problem(files()), "");
    assert!(problem(resource("plan").client(live())).contains("no client data"));
    assert!(problem(shown(collection("files", "files/*").client(live()))).contains("read_state"));
    for pattern in ["docs/*", "files/deep/*", "[topic]/files"] {
        let named = problem(shown(collection("files", pattern).client(listed)));
        assert!(named.contains("begin with its name"), "{pattern}: {named}");
    }
    let by_parameter = shown(collection::<State>("pairs", "pairs/[a]/[b]").client(listed));
    assert_eq!(problem(by_parameter), "");
    let two = going(|_, _| async move { Ok(Value::Null) }).session(
        scope::<State>()
            .resource(&plan())
            .resource(&shown(resource("plan").client(ClientAccess::new()))),
    );
    let differs = two.instance("default").err().map(|error| error.to_string());
    assert!(differs.is_some_and(|error| error.contains("what clients may do with it")));
}

#[tokio::test]
async fn lists_and_changes_tell_the_same_of_every_instance() {
    let flow = with_all(going(|_, ctx| async move {
        for n in 0..5 {
            let file = ctx.collection(&files())?.create(n.to_string()).await?;
            file.state().patch(json!({"n": n})).await?;
        }
        Ok(Value::Null)
    }));
    let engine = engine(flow).await;
    go(&engine, "s", None, Value::Null).await;
    let query = InstanceQuery {
        limit: 10,
        ..InstanceQuery::default()
    };
    let page = engine.list_instances(&Principal::default(), "s", "files", &query).await;
    let told = told(&engine).await;
    let page = page.expect("a list").instances;
    assert_eq!(page.len(), 5);
    for instance in page {
        let last = deltas(&told, &instance.storage_key).pop();
        assert_eq!(last, Some(instance.client_data), "{}", instance.storage_key);
    }
}
