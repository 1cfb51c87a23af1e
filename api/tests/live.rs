//! Live resources: a client that merges what it is told into the snapshot that it has, as clients do, has what a new snapshot would give it;
//! and every way of being told gives the same bytes.

mod support;

use axum::Router;
use flowstate::engine::record::ScopeKind;
use flowstate::engine::{ClientAccess, Collection, Definition, NoState, Resource, collection, resource};
use flowstate::prelude::*;
use serde_json::{Map, Value, json};

use support::{asked, call, frames, send, serving};

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct File {
    language: String,
    lines: u32,
    secret: String,
}

fn shown<K: 'static>(definition: Definition<File, K>) -> Definition<File, K> {
    definition.client_data(|file: &File| json!({"language": file.language, "lines": file.lines}))
}

fn plan() -> Resource<File> {
    shown(resource("plan").client(ClientAccess::new().live()))
}

fn files() -> Collection<File> {
    shown(collection("files", "files/**").client(ClientAccess::new().live().read_state().prefetch(10)))
}

fn notes() -> Collection<File> {
    shown(collection("notes", "notes/*").client(ClientAccess::new().live().read_state().prefetch(10)))
}

fn quiet() -> Resource<File> {
    shown(resource("quiet").client(ClientAccess::new()))
}

async fn work(_: Value, ctx: Ctx) -> Result<(), BlockError> {
    let (plan, files) = (ctx.resource(&plan())?, ctx.collection(&files())?);
    let notes = ctx.collection_of(ScopeKind::User, &notes())?;
    plan.state()
        .patch(json!({"language": "en", "secret": "SECRET"}))
        .await?;
    for key in ["src/main.rs", "readme.md"] {
        let file = files.get_or_create(key).await?;
        file.state().patch(json!({"language": key, "secret": "SECRET"})).await?;
        file.write_content("SECRET").await?;
        file.state().inc("lines", 3).await?;
    }
    notes.get_or_create("a").await?.state().inc("lines", 1).await?;
    notes.create("b").await?;
    notes.delete("b").await?;
    ctx.resource(&quiet())?.state().inc("lines", 1).await?;
    plan.state().atomic(|plan| File { lines: 9, ..plan }).await?;
    Ok(())
}

async fn router() -> Router {
    let flow = flow("f")
        .action("work", action(handler("work").run(work)))
        .session(
            scope::<NoState>()
                .resource(&plan())
                .resource(&files())
                .resource(&quiet()),
        )
        .user(scope::<NoState>().resource(&notes()))
        .instance("default")
        .expect("a flow");
    let router = serving(flow).build().expect("a server").router().expect("routes");
    let made = json!({"userId": "u", "sessionId": "s"});
    assert_eq!(asked(&router, "POST", "/api/flows/f/sessions", Some(made)).await.0, 201);
    router
}

async fn run(router: &Router, request: &str) {
    let body = json!({"userId": "u", "requestId": request});
    let posted = asked(router, "POST", "/api/flows/f/s/actions/work", Some(body)).await;
    assert_eq!(posted.0, 202);
    let told = told(router, request, 0).await;
    assert!(told.contains("request.completed"), "{told}");
}

/// The bytes of a request's stream behind a number.
async fn told(router: &Router, request: &str, after: u64) -> String {
    let path = format!("/api/flows/f/requests/{request}/stream?starting_after={after}");
    let (_, _, told) = send(router, call("GET", &path, &[], "")).await;
    String::from_utf8(told.to_vec()).expect("text")
}

async fn snapshot(router: &Router) -> Value {
    asked(router, "GET", "/api/flows/sessions/s/state", None).await.1["resources"].take()
}

/// What a client has of each resource: of one its client data, of a collection that of each instance by its topic.
fn held(resources: &Value) -> Value {
    let scopes = resources.as_object().expect("scopes").iter();
    let held = scopes.map(|(scope, entries)| {
        let entries = entries.as_object().expect("entries").iter().map(|(name, entry)| {
            let data = match entry.get("count") {
                None => entry["clientData"].clone(),
                Some(_) => {
                    let instances = entry["prefetched"].as_array().into_iter().flatten();
                    let data = instances.map(|instance| {
                        let topic = instance["topic"].as_str().expect("a topic");
                        (topic.to_owned(), instance["clientData"].clone())
                    });
                    Value::Object(data.collect())
                }
            };
            (name.clone(), data)
        });
        (scope.clone(), Value::Object(entries.collect()))
    });
    Value::Object(held.collect())
}

/// Merges an item as clients do: under the entry of its path, or by topic under the entry whose name and a slash its path begins with.
fn merge(held: &mut Value, item: &Map<String, Value>) {
    let scope = held[item["scope"].as_str().expect("a scope")].as_object_mut();
    let scope = scope.expect("a scope with entries");
    let path = item["resourcePath"].as_str().expect("a path");
    match scope.get_mut(path) {
        Some(entry) => *entry = item["delta"].clone(),
        None => {
            let (name, topic) = path.split_once('/').expect("a collection");
            let instances = scope[name].as_object_mut().expect("instances");
            match item.get("delta") {
                Some(delta) => drop(instances.insert(topic.to_owned(), delta.clone())),
                None => drop(instances.remove(topic)),
            }
        }
    }
}

fn changes(data: impl IntoIterator<Item = Value>) -> Vec<Value> {
    let items = data.into_iter().map(|mut data| data["item"].take());
    items.filter(|item| item["type"] == "resource_change").collect()
}

#[tokio::test]
async fn who_merges_what_is_told_has_what_a_new_snapshot_gives() {
    let router = router().await;
    let mut held_by_client = held(&snapshot(&router).await);
    run(&router, "r").await;
    let all = told(&router, "r", 0).await;
    let items = changes(frames(all.as_bytes()).into_iter().map(|(_, data)| data));
    assert_eq!(items.len(), 15);
    for item in &items {
        let item = item.as_object().expect("an item");
        let (path, change) = (&item["resourcePath"], &item["changeType"]);
        let is_told = path != "quiet" && change != "deleted";
        assert_eq!(item.get("delta").is_some(), is_told, "{item:?}");
        if path != "quiet" {
            merge(&mut held_by_client, item);
        }
    }
    let mut now = held(&snapshot(&router).await);
    assert_eq!(
        now["session"]["quiet"],
        json!({"language": "", "lines": 1}),
        "asked for"
    );
    now["session"]["quiet"]["lines"] = json!(0);
    assert_eq!(held_by_client, now);
    assert_eq!(
        now["session"]["files"]["src/main.rs"],
        json!({"language": "src/main.rs", "lines": 3})
    );
    let of_file = items.iter().rfind(|item| item["resourcePath"] == "files/src/main.rs");
    let path = "/api/flows/sessions/s/resources/files/src%2Fmain.rs";
    let (_, instance) = asked(&router, "GET", path, None).await;
    assert_eq!(of_file.expect("an item")["delta"], instance["clientData"]);
    assert!(!all.contains("SECRET"));
}

#[tokio::test]
async fn what_is_told_is_the_same_however_it_is_asked_for() {
    let router = router().await;
    run(&router, "r").await;
    // What changes it later changes nothing that was told.
    let first = told(&router, "r", 0).await;
    run(&router, "later").await;
    let all = frames(first.as_bytes());
    assert_eq!(told(&router, "r", 0).await, first);
    for after in 0..all.len() as u64 {
        let rest = told(&router, "r", after).await;
        assert!(first.ends_with(&rest), "behind {after}");
    }
    let expected = changes(all.into_iter().map(|(_, data)| data));
    let polled = asked(&router, "GET", "/api/flows/f/requests/r/events", None).await.1;
    let polled = polled["events"].as_array().expect("events").clone();
    assert_eq!(
        changes(polled.into_iter().map(|mut event| event["data"].take())),
        expected
    );
    let polled = asked(&router, "GET", "/api/flows/sessions/s/events", None).await.1;
    let polled = polled["events"].as_array().expect("events").clone();
    let data = polled.into_iter().map(|mut event| event["data"].take());
    let of_r = data.filter(|data| data["requestId"] == "r");
    assert_eq!(changes(of_r), expected);
}
