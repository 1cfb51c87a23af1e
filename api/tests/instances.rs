//! What clients see of the states of resources: in lists, one by one, in snapshots, and which there are.

mod support;

use axum::Router;
use flowstate::engine::{ClientAccess, Collection, Definition, Resource, collection, resource};
use flowstate::prelude::*;
use serde_json::{Value, json};

use support::{asked, serving};

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct File {
    language: String,
    secret: String,
}

fn shown<K: 'static>(definition: Definition<File, K>) -> Definition<File, K> {
    definition.client_data(|file: &File| json!({"language": file.language}))
}

fn files() -> Collection<File> {
    let access = ClientAccess::new()
        .read_content()
        .read_state()
        .prefetch(2)
        .prefetch_content();
    shown(collection("files", "files/**").client(access.create()))
}

fn plan() -> Resource<File> {
    let access = ClientAccess::new().read_content().prefetch_content();
    shown(resource("plan").content("the plan").client(access))
}

fn plain() -> Collection<File> {
    collection("plain", "plain/*").client(ClientAccess::new().create())
}

fn failing() -> Collection<File> {
    let access = ClientAccess::new().read_state();
    collection("failing", "failing/*")
        .client(access)
        .client_data(|_: &File| -> Value { panic!("as it is told") })
}

/// A session with files `0` to `4`, of which `3` lies deeper, and one of what fails.
async fn router() -> Router {
    let make = handler("make").run(|_: Value, ctx: Ctx| async move {
        let files = ctx.collection(&files())?;
        for n in 0..5 {
            let file = File {
                language: format!("l{n}"),
                secret: "SECRET".into(),
            };
            let key = if n == 3 { "deep/3".to_owned() } else { n.to_string() };
            let made = files.create_as(key, file).await?;
            made.write_content(format!("body {n}")).await?;
        }
        ctx.collection(&failing())?.create("one").await?;
        Ok(())
    });
    let has = scope::<flowstate::engine::NoState>();
    let has = has
        .resource(&files())
        .resource(&plan())
        .resource(&plain())
        .resource(&failing());
    let flow = flow("f")
        .action("make", action(make))
        .session(has)
        .instance("default")
        .expect("a flow");
    let router = serving(flow).build().expect("a server").router().expect("routes");
    let body = json!({"userId": "u", "requestId": "r"});
    assert_eq!(
        asked(&router, "POST", "/api/flows/f/s/actions/make", Some(body))
            .await
            .0,
        202
    );
    // It ends when the request does.
    let stream = support::call("GET", "/api/flows/f/requests/r/stream", &[], "");
    let (_, _, told) = support::send(&router, stream).await;
    assert!(String::from_utf8_lossy(&told).contains("request.completed"));
    router
}

const BASE: &str = "/api/flows/sessions/s/resources";

fn topics(page: &Value) -> Vec<&str> {
    let items = page["items"].as_array().expect("items").iter();
    items.map(|item| item["topic"].as_str().expect("a topic")).collect()
}

#[tokio::test]
async fn instances_are_listed_in_pages_that_end() {
    let router = router().await;
    let list = |query: &str| {
        let (router, uri) = (router.clone(), format!("{BASE}/files{query}"));
        async move {
            let (status, page) = asked(&router, "GET", &uri, None).await;
            assert_eq!(status, 200, "{page}");
            assert!(!page.to_string().contains("SECRET"));
            page
        }
    };
    let all = list("").await;
    assert_eq!(topics(&all), ["0", "1", "2", "4", "deep/3"]);
    let first = json!({"topic": "0", "storageKey": "files/0", "clientData": {"language": "l0"}});
    assert_eq!(all["items"][0], first);
    let pagination =
        json!({"offset": 0, "limit": 50, "total": 5, "hasMore": false, "nextOffset": 5, "nextCursor": null});
    assert_eq!(all["pagination"], pagination);
    assert!(
        all.get("nextCursor").is_none(),
        "a reader goes on as long as it is there"
    );

    let (mut cursor, mut found) = (String::new(), Vec::new());
    for _ in 0..5 {
        let page = list(&format!("?limit=2&cursor={cursor}")).await;
        found.extend(topics(&page).into_iter().map(str::to_owned));
        match page.get("nextCursor") {
            Some(next) => cursor = next.as_str().expect("a key").to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ["0", "1", "2", "4", "deep/3"]);
    assert_eq!(topics(&list("?offset=3&limit=1").await), ["4"]);
    for prefix in ["deep/", "files/deep/"] {
        let page = list(&format!("?topicPrefix={prefix}")).await;
        assert_eq!(
            (topics(&page), &page["pagination"]["total"]),
            (vec!["deep/3"], &json!(1))
        );
    }
    for query in ["?limit=500", "?limit=0", "?limit=x", "?offset=-1"] {
        let (status, error) = asked(&router, "GET", &format!("{BASE}/files{query}"), None).await;
        assert_eq!((status, &error["code"]), (400, &json!("invalid_request")), "{query}");
    }
}

#[tokio::test]
async fn one_instance_is_shown_or_null() {
    let router = router().await;
    let deep = json!({"topic": "deep/3", "storageKey": "files/deep/3", "clientData": {"language": "l3"}});
    for topic in ["deep/3", "deep%2F3", "files/deep/3"] {
        assert_eq!(
            asked(&router, "GET", &format!("{BASE}/files/{topic}"), None).await,
            (200, deep.clone()),
            "{topic}"
        );
    }
    assert_eq!(
        asked(&router, "GET", &format!("{BASE}/files/nope"), None).await,
        (200, Value::Null)
    );
    for (uri, status, code) in [
        ("files/..", 400, "invalid_topic"),
        ("plan", 400, "not_a_collection"),
        ("plain", 403, "resource_not_granted"),
        ("plain/x", 403, "resource_not_granted"),
        ("nope", 404, "resource_not_found"),
    ] {
        let (answered, error) = asked(&router, "GET", &format!("{BASE}/{uri}"), None).await;
        assert_eq!((answered, &error["code"]), (status, &json!(code)), "{uri}: {error}");
    }
    let unknown = asked(&router, "GET", "/api/flows/sessions/nope/resources/files", None).await;
    assert_eq!(unknown.0, 404);
    // What fails takes nothing with it.
    let (status, page) = asked(&router, "GET", &format!("{BASE}/failing"), None).await;
    assert_eq!(
        (status, &page["items"]),
        (200, &json!([{"topic": "one", "storageKey": "failing/one"}]))
    );
}

#[tokio::test]
async fn snapshots_have_what_is_prefetched_and_nothing_else() {
    let router = router().await;
    let (_, state) = asked(&router, "GET", "/api/flows/sessions/s/state", None).await;
    let resources = &state["resources"]["session"];
    assert_eq!(
        resources["plan"],
        json!({"clientData": {"language": ""}, "content": "the plan"})
    );
    let prefetched = |n: u32| json!({"topic": n.to_string(), "storageKey": format!("files/{n}"), "clientData": {"language": format!("l{n}")}, "content": format!("body {n}")});
    assert_eq!(
        resources["files"],
        json!({"count": 5, "prefetched": [prefetched(0), prefetched(1)]})
    );
    assert_eq!(resources["plain"], json!({"count": 0}));
    assert!(!state.to_string().contains("SECRET"));
}

#[tokio::test]
async fn the_manifest_has_what_clients_can_use() {
    let router = router().await;
    let (status, manifest) = asked(&router, "GET", "/api/flows/sessions/s/manifest", None).await;
    let expected = json!({"flowKind": "f", "resources": [
        {"ref": "failing", "kind": "collection", "scope": "session", "hasClientData": true, "pattern": "failing/*", "prefetchWindow": 0,
            "client": {"state": {"read": true}}},
        {"ref": "files", "kind": "collection", "scope": "session", "hasClientData": true, "pattern": "files/**", "prefetchWindow": 2,
            "client": {"content": {"read": true, "create": true}, "state": {"read": true}}},
        {"ref": "plain", "kind": "collection", "scope": "session", "hasClientData": false, "pattern": "plain/*", "prefetchWindow": 0,
            "client": {"content": {"create": true}}},
        {"ref": "plan", "kind": "single", "scope": "session", "hasClientData": true, "client": {"content": {"read": true}}},
    ]});
    assert_eq!((status, manifest), (200, expected));
    assert_eq!(
        asked(&router, "GET", "/api/flows/sessions/nope/manifest", None).await.0,
        404
    );
}

#[tokio::test]
async fn what_clients_are_shown_is_checked_when_the_flow_is_built() {
    for (definition, says) in [
        (
            resource::<File>("plan").client(ClientAccess::new().read_state()),
            "only collections",
        ),
        (
            resource::<File>("plan").client(ClientAccess::new().prefetch_content()),
            "may not read",
        ),
        (shown(resource::<File>("plan")), "is not for clients"),
    ] {
        let has = scope::<flowstate::engine::NoState>().resource(&definition);
        let nothing = handler("nothing").run(|input: Value, _: Ctx| async move { Ok(input) });
        let built = flow("f").action("a", action(nothing)).session(has).instance("default");
        let error = built.map(drop).expect_err("a problem").to_string();
        assert!(error.contains(says), "{error}");
    }
    let many = collection::<File>("files", "files/*").client(ClientAccess::new().prefetch(201));
    let nothing = handler("nothing").run(|input: Value, _: Ctx| async move { Ok(input) });
    let has = scope::<flowstate::engine::NoState>().resource(&many);
    assert!(
        flow("f")
            .action("a", action(nothing))
            .session(has)
            .instance("default")
            .is_err()
    );
}
