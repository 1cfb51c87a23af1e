//! Resources over HTTP: what clients read, make, write and delete, what they are told, and that nothing else leaves the server.

use axum::Router;
use axum::http::Method;
use flowstate::engine::{ClientAccess, Collection, NoState, Resource, collection, resource};
use flowstate::prelude::*;
use flowstate::{FlowState, Store, lsm, memory};
use flowstate_tests::http::{Answer, Frame, call, get, get_request, post_request, request, stream};
use serde_json::{Value, json};

/// The flow's kind: that of the paths in `flowstate_tests::http`.
const KIND: &str = "hello-chat";
const BASE: &str = "/api/flows/sessions/s/resources";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct State {
    n: i64,
    secret: String,
}

fn everything() -> ClientAccess {
    ClientAccess::new().read_content().create().update().delete()
}

fn plan() -> Resource<State> {
    resource("plan")
        .client(ClientAccess::new().read_content())
        .render(|body: String, state: State| format!("{body} ({})", state.n))
}

fn files() -> Collection<State> {
    collection("files", "files/**").client(everything())
}

/// Two, in each scope with this name.
fn small() -> Collection<State> {
    collection("small", "small/*").max_instances(2).client(everything())
}

/// The user's.
fn notes() -> Collection<State> {
    collection("notes", "notes/*").client(everything())
}

fn hidden() -> Collection<State> {
    collection("hidden", "hidden/*").content("SECRET")
}

fn known() -> Collection<State> {
    collection("known", "known/*")
        .content("SECRET")
        .client(ClientAccess::new())
}

fn rules() -> Resource<State> {
    resource("rules").content("SECRET").client(ClientAccess::new())
}

fn failing() -> Resource<State> {
    let fails = |_: String, _: State| Err::<String, _>(BlockError::new("failed", "SECRET"));
    let access = ClientAccess::new().read_content();
    resource("failing").content("SECRET").client(access).render(fails)
}

/// Does what its input says.
async fn act(input: String, ctx: Ctx) -> Result<String, BlockError> {
    let secret = || State {
        n: 7,
        secret: "SECRET".into(),
    };
    match input.as_str() {
        "plan" => {
            let plan = ctx.resource(&plan())?;
            plan.state().inc("n", 3).await?;
            plan.write_content("a plan").await?;
        }
        "files" => {
            let files = ctx.collection(&files())?;
            files.create("readme.md").await?.write_content("hello").await?;
            files.create("src/main.rs").await?.write_content("fn main() {}").await?;
            files.create("content").await?.write_content("named so").await?;
        }
        "notes" => {
            let notes = ctx.collection(&notes())?;
            let note = notes.create("a").await?;
            note.state().inc("n", 1).await?;
            note.write_content("a note").await?;
            notes.delete("a").await?;
        }
        "secrets" => {
            ctx.session::<State>().set(secret()).await?;
            ctx.user::<State>().set(secret()).await?;
            ctx.project::<State>().expect("a project").set(secret()).await?;
            ctx.resource(&plan())?.state().set(secret()).await?;
            ctx.resource(&rules())?.write_content("SECRET").await?;
            ctx.collection(&files())?.create_as("mine", secret()).await?;
            // Of those that clients may know of, they are told the key of what has changed.
            for (collection, key) in [(hidden(), "SECRET"), (known(), "kept")] {
                let made = ctx.collection(&collection)?.create_as(key, secret()).await?;
                made.write_content("SECRET").await?;
            }
        }
        "hidden" => {
            let hidden = ctx.collection(&hidden())?;
            hidden.create("a").await?.write_content("text").await?;
            hidden.get("a").await?.state().inc("n", 1).await?;
            hidden.delete("a").await?;
        }
        _ => {}
    }
    Ok(input)
}

fn flow_of_all() -> Flow {
    let failing_entry = |_: State, _| Err::<Value, BlockError>(BlockError::new("failed", "SECRET"));
    let session = scope::<State>()
        .resource(&plan())
        .resource(&files())
        .resource(&small())
        .resource(&hidden())
        .resource(&known())
        .resource(&failing())
        .client_data("n", |state: &State| state.n)
        .client_data_with("failing", failing_entry)
        .client_data_with("files", |_: State, resources| async move {
            let files = resources.list(&files(), None).await?;
            Ok(files.into_iter().map(|(key, _)| key).collect::<Vec<_>>())
        });
    let user = scope::<State>()
        .resource(&notes())
        .client_data("n", |state: &State| state.n);
    let project = scope::<State>()
        .resource(&rules())
        .client_data("n", |state: &State| state.n);
    flow(KIND)
        .action("chat", action(handler("act").run(act)))
        .session(session)
        .user(user)
        .project(project)
        .instance("default")
        .expect("a flow")
}

async fn serve(flow: Flow, store: Store) -> (FlowState, Router) {
    let builder = FlowState::builder().models(Models::new()).flow(flow).store(store);
    let built = builder.build().expect("a server");
    let router = built.router().expect("routes");
    (built, router)
}

async fn server() -> (FlowState, Router) {
    serve(flow_of_all(), memory()).await
}

/// Runs the action in the session `s`, and gives its stream.
async fn act_on(router: &Router, request: &str, input: &str, project: Option<&str>) -> Vec<Frame> {
    let body = json!({"input": input, "userId": "ann", "sessionId": "s", "requestId": request, "projectId": project});
    let path = format!("/api/flows/{KIND}/actions/chat");
    let answer = call(router, post_request(&path, &[], body.to_string())).await;
    assert_eq!(answer.status, 202, "{}", answer.text());
    let frames = stream(router, request, "", &[]).await;
    assert_eq!(frames.last().map(Frame::kind), Some("request.completed"));
    frames
}

async fn read(router: &Router, path: &str) -> Answer {
    call(router, get_request(&format!("{BASE}/{path}"), &[])).await
}

async fn change(router: &Router, method: Method, path: &str, body: Value) -> Answer {
    let body = if method == Method::DELETE {
        String::new()
    } else {
        body.to_string()
    };
    call(router, request(method, &format!("{BASE}/{path}"), &[], body)).await
}

/// Status and code of a refusal.
fn refused(answer: &Answer) -> (u16, String) {
    let body = answer.json();
    assert!(
        body["error"]
            .as_str()
            .is_some_and(|error| !error.is_empty() && error.len() < 500),
        "{body}"
    );
    (
        answer.status.as_u16(),
        body["code"].as_str().unwrap_or_default().to_owned(),
    )
}

fn is(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_of_a_resource_is_given_as_it_is_rendered() {
    let (_server, router) = server().await;
    act_on(&router, "r1", "", None).await;
    let none = read(&router, "plan/content").await;
    assert_eq!(
        (none.status.as_u16(), none.json()),
        (200, json!({"ref": "plan", "content": null}))
    );
    act_on(&router, "r2", "plan", None).await;
    let plan = read(&router, "plan/content").await;
    assert_eq!(
        (plan.status.as_u16(), plan.json()),
        (200, json!({"ref": "plan", "content": "a plan (3)"}))
    );
    for (path, expected) in [
        ("files/content", is(400, "is_a_collection")),
        ("known/content", is(400, "is_a_collection")),
        ("hidden/content", is(404, "resource_not_found")),
        ("none/content", is(404, "resource_not_found")),
        // The session has no project.
        ("rules/content", is(404, "resource_not_found")),
        ("failing/content", is(500, "internal")),
    ] {
        assert_eq!(refused(&read(&router, path).await), expected, "{path}");
    }
    let unknown = get_request("/api/flows/sessions/none/resources/plan/content", &[]);
    assert_eq!(refused(&call(&router, unknown).await), is(404, "session_not_found"));

    let body = json!({"input": "", "userId": "ann", "sessionId": "p", "projectId": "home"}).to_string();
    let post = post_request(&format!("/api/flows/{KIND}/actions/chat"), &[], body);
    assert_eq!(call(&router, post).await.status, 202);
    let theirs = call(
        &router,
        get_request("/api/flows/sessions/p/resources/rules/content", &[]),
    )
    .await;
    assert_eq!(refused(&theirs), is(403, "resource_not_granted"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_of_an_instance_is_given_by_its_topic() {
    let (_server, router) = server().await;
    act_on(&router, "r1", "files", None).await;
    for (path, topic, content) in [
        ("readme.md", "readme.md", "hello"),
        ("files/readme.md", "files/readme.md", "hello"),
        ("src/main.rs", "src/main.rs", "fn main() {}"),
        ("src%2Fmain.rs", "src/main.rs", "fn main() {}"),
        ("files%2fsrc%2fmain%2Ers", "files/src/main.rs", "fn main() {}"),
        ("content", "content", "named so"),
        ("files/content", "files/content", "named so"),
    ] {
        let answer = read(&router, &format!("files/{path}/content")).await;
        let expected = json!({"ref": "files", "topic": topic, "content": content});
        assert_eq!((answer.status.as_u16(), answer.json()), (200, expected), "{path}");
    }
    let small = json!({"topic": "a"});
    assert_eq!(change(&router, Method::POST, "small", small).await.status, 201);
    let bare = read(&router, "small/a/content").await.json();
    assert_eq!(bare, json!({"ref": "small", "topic": "a", "content": null}));
    for (path, expected) in [
        ("plan/readme.md/content", is(400, "not_a_collection")),
        ("small/a/b/content", is(400, "invalid_topic")),
        ("known/a/content", is(403, "resource_not_granted")),
        ("hidden/a/content", is(404, "resource_not_found")),
        ("none/a/content", is(404, "resource_not_found")),
        ("files/none/content", is(404, "resource_not_found")),
        ("notes/none/content", is(404, "resource_not_found")),
    ] {
        assert_eq!(refused(&read(&router, path).await), expected, "{path}");
    }
    let unknown = get_request("/api/flows/sessions/none/resources/files/a/content", &[]);
    assert_eq!(refused(&call(&router, unknown).await), is(404, "session_not_found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn instances_are_made_written_and_deleted_and_the_session_is_updated() {
    let (_server, router) = server().await;
    act_on(&router, "r1", "", None).await;
    let updated = async || get(&router, "/api/flows/sessions/s").await["session"]["updatedAt"].as_i64();
    let commits = async || _server.ready().await.expect("open").log().last_commit();
    let before = updated().await;

    let made = change(
        &router,
        Method::POST,
        "files",
        json!({"topic": " todo.md\n", "content": "- buy\n"}),
    )
    .await;
    assert_eq!((made.status.as_u16(), made.json()), (201, json!({"topic": "todo.md"})));
    assert_eq!(
        read(&router, "files/todo.md/content").await.json()["content"],
        "- buy\n",
        "exactly as it was sent"
    );
    let again = change(&router, Method::POST, "files", json!({"topic": "files/todo.md"})).await;
    assert_eq!(refused(&again), is(409, "resource_exists"));

    let written = change(
        &router,
        Method::PATCH,
        "files/todo.md/content",
        json!({"content": "- sell"}),
    )
    .await;
    assert_eq!(
        (written.status.as_u16(), written.json()),
        (200, json!({"ref": "files", "topic": "todo.md"}))
    );
    assert_eq!(read(&router, "files/todo.md/content").await.json()["content"], "- sell");
    let state = get(&router, "/api/flows/sessions/s/state").await;
    assert_eq!(state["clientData"]["session"]["files"], json!(["files/todo.md"]));
    assert_eq!(state["resources"]["session"]["files"], json!({"count": 1}));

    let deep = json!({"topic": "a/b/content", "content": "deep"});
    assert_eq!(change(&router, Method::POST, "files", deep).await.status, 201);
    let written = change(
        &router,
        Method::PATCH,
        "files/a%2Fb/content/content",
        json!({"content": "x"}),
    )
    .await;
    assert_eq!(written.json(), json!({"ref": "files", "topic": "a/b/content"}));
    let gone = change(&router, Method::DELETE, "files/a/b/content", Value::Null).await;
    assert_eq!(
        (gone.status.as_u16(), gone.json()),
        (200, json!({"ref": "files", "topic": "a/b/content"}))
    );
    let gone = change(&router, Method::DELETE, "files/todo.md", Value::Null).await;
    assert_eq!(
        (gone.status.as_u16(), gone.json()),
        (200, json!({"ref": "files", "topic": "todo.md"}))
    );
    assert!(updated().await >= before && before.is_some());
    let last = commits().await;
    for path in ["files/todo.md", "files/never/there"] {
        let missing = change(&router, Method::DELETE, path, Value::Null).await;
        assert_eq!(missing.status, 200, "{path}: {}", missing.text());
    }
    assert_eq!(commits().await, last, "what is not there is deleted without a record");
    assert_eq!(
        refused(&read(&router, "files/todo.md/content").await),
        is(404, "resource_not_found")
    );
    let state = get(&router, "/api/flows/sessions/s/state").await;
    assert_eq!(state["resources"]["session"]["files"], json!({"count": 0}));
    let list = get(&router, "/api/flows/sessions").await;
    let detail = get(&router, "/api/flows/sessions/s").await;
    assert_eq!(list["sessions"][0]["updatedAt"], detail["session"]["updatedAt"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_that_are_not_possible_are_refused_with_their_status() {
    let (server, router) = server().await;
    act_on(&router, "r1", "files", None).await;
    for topic in ["a", "b"] {
        let made = change(&router, Method::POST, "small", json!({"topic": topic})).await;
        assert_eq!(made.status, 201);
    }
    let commits = server.ready().await.expect("open").log().last_commit();
    let (post, patch, delete) = (Method::POST, Method::PATCH, Method::DELETE);
    let (topic, text) = (json!({"topic": "a"}), json!({"content": "x"}));
    let large = json!({"topic": "large", "content": "x".repeat(1 << 20)});
    for (method, path, body, expected) in [
        (&post, "plan", topic.clone(), is(400, "not_a_collection")),
        (&post, "files", json!({}), is(400, "invalid_request")),
        (&post, "files", json!({"topic": "  "}), is(400, "invalid_request")),
        (&post, "files", json!({"topic": 3}), is(400, "invalid_request")),
        (
            &post,
            "files",
            json!({"topic": "x", "content": 3}),
            is(400, "invalid_request"),
        ),
        (&post, "files", json!(["x"]), is(400, "invalid_body")),
        (&post, "small", json!({"topic": "a/b"}), is(400, "invalid_topic")),
        (&post, "known", topic.clone(), is(403, "resource_not_granted")),
        (&post, "hidden", topic.clone(), is(404, "resource_not_found")),
        (&post, "none", topic.clone(), is(404, "resource_not_found")),
        (
            &post,
            "files",
            json!({"topic": "readme.md"}),
            is(409, "resource_exists"),
        ),
        (&post, "small", json!({"topic": "c"}), is(409, "collection_full")),
        (&post, "notes", topic.clone(), is(501, "scope_not_supported")),
        (&post, "files", large.clone(), is(413, "body_too_large")),
        (&patch, "plan/content", text.clone(), is(400, "not_a_collection")),
        (&patch, "plan/a/content", text.clone(), is(400, "not_a_collection")),
        (&patch, "files/content", text.clone(), is(400, "invalid_topic")),
        (&patch, "files/readme.md/content", json!({}), is(400, "invalid_request")),
        (
            &patch,
            "files/readme.md/content",
            json!({"content": null}),
            is(400, "invalid_request"),
        ),
        (
            &patch,
            "files/readme.md/content",
            json!({"content": ["x"]}),
            is(400, "invalid_request"),
        ),
        (&patch, "files/readme.md/content", json!(3), is(400, "invalid_body")),
        (&patch, "files/readme.md/content", large, is(413, "body_too_large")),
        (&patch, "known/a/content", text.clone(), is(403, "resource_not_granted")),
        (
            &patch,
            "files/none/content",
            text.clone(),
            is(404, "resource_not_found"),
        ),
        (&patch, "hidden/a/content", text.clone(), is(404, "resource_not_found")),
        (&patch, "notes/a/content", text.clone(), is(501, "scope_not_supported")),
        (&patch, "files/readme.md", text.clone(), is(405, "method_not_allowed")),
        (&delete, "plan/a", Value::Null, is(400, "not_a_collection")),
        (&delete, "small/a/b", Value::Null, is(400, "invalid_topic")),
        (&delete, "known/a", Value::Null, is(403, "resource_not_granted")),
        (&delete, "hidden/a", Value::Null, is(404, "resource_not_found")),
        (&delete, "notes/a", Value::Null, is(501, "scope_not_supported")),
        (&delete, "files", Value::Null, is(405, "method_not_allowed")),
        (&post, "files/readme.md", topic, is(405, "method_not_allowed")),
        (
            &Method::PUT,
            "files/readme.md/content",
            text,
            is(405, "method_not_allowed"),
        ),
    ] {
        let shown: String = body.to_string().chars().take(50).collect();
        let answer = change(&router, method.clone(), path, body).await;
        assert_eq!(refused(&answer), expected, "{method} {path} {shown}");
    }
    for (method, path, body) in [
        (post, "", json!({"topic": "a"})),
        (patch, "/a/content", json!({"content": "x"})),
        (delete, "/a", Value::Null),
    ] {
        let path = format!("/api/flows/sessions/none/resources/files{path}");
        let answer = call(&router, request(method.clone(), &path, &[], body.to_string())).await;
        assert_eq!(refused(&answer), is(404, "session_not_found"), "{method}");
    }
    assert_eq!(
        server.ready().await.expect("open").log().last_commit(),
        commits,
        "what is refused leaves no record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_topics_are_refused_everywhere() {
    let (server, router) = server().await;
    act_on(&router, "r1", "files", None).await;
    let commits = server.ready().await.expect("open").log().last_commit();
    let long = "x".repeat(600);
    let longer = "x/".repeat(20_000);
    for topic in [
        "..",
        "%2e%2e",
        "a/../b",
        "a%2F..%2Fb",
        "..%5C..%5Cetc",
        ".",
        "a%00b",
        "%00",
        "a%0Ab",
        "a%1b%5B2J",
        "%E2%80%AE",
        "%20%E2%80%8B",
        "%ff",
        "a%c3",
        "%ed%a0%80",
        "/",
        "%2F",
        &long,
        &longer,
    ] {
        for (method, path, body) in [
            (Method::GET, format!("files/{topic}/content"), Value::Null),
            (Method::PATCH, format!("files/{topic}/content"), json!({"content": "x"})),
            (Method::DELETE, format!("files/{topic}"), Value::Null),
        ] {
            let answer = change(&router, method.clone(), &path, body).await;
            let shown: String = topic.chars().take(40).collect();
            // One that is longer than any path is not looked at.
            let expected = if topic == longer { 414 } else { 400 };
            assert_eq!(answer.status, expected, "{method} {shown}: {}", answer.text());
            assert!(
                ["invalid_topic", "invalid_path", "uri_too_long"].contains(&&*refused(&answer).1),
                "{}",
                answer.text()
            );
        }
    }
    for topic in [
        "..",
        "a/../b",
        "a\u{0}b",
        "a\nb",
        "\u{202e}x",
        "\u{200b}",
        "/",
        "\\",
        &long,
        &longer,
    ] {
        let answer = change(&router, Method::POST, "files", json!({"topic": topic})).await;
        assert_eq!(refused(&answer), is(400, "invalid_topic"), "{topic:.40}");
    }
    for resource in ["..", "%00", "%2F", &long] {
        for answer in [
            read(&router, &format!("{resource}/content")).await,
            change(&router, Method::POST, resource, json!({"topic": "a"})).await,
        ] {
            assert_eq!(refused(&answer), is(404, "resource_not_found"), "{resource:.40}");
        }
    }
    assert_eq!(refused(&read(&router, "%ff/content").await), is(400, "invalid_path"));
    assert_eq!(
        server.ready().await.expect("open").log().last_commit(),
        commits,
        "what is refused leaves no record"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn content_at_the_end_of_a_path_is_never_part_of_a_topic_that_is_read() {
    let (_server, router) = server().await;
    act_on(&router, "r1", "files", None).await;
    // The resource's, and not that of the instance named so.
    assert_eq!(
        refused(&read(&router, "files/content").await),
        is(400, "is_a_collection")
    );
    // One item's state: not granted, and not mistaken for a body.
    for path in ["files/readme.md", "files/readme.md%2Fcontent", "files/src/main.rs"] {
        assert_eq!(
            refused(&read(&router, path).await),
            is(403, "resource_not_granted"),
            "{path}"
        );
    }
    assert_eq!(refused(&read(&router, "files").await), is(403, "resource_not_granted"));
    let gone = change(&router, Method::DELETE, "files/content", Value::Null).await;
    assert_eq!(gone.json(), json!({"ref": "files", "topic": "content"}));
    assert_eq!(
        refused(&read(&router, "files/content/content").await),
        is(404, "resource_not_found")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_change_nothing_and_configured_ones_may() {
    let allowed = "http://app.example";
    let builder = FlowState::builder()
        .models(Models::new())
        .flow(flow_of_all())
        .store(memory());
    let server = builder.allow_origin(allowed).build().expect("a server");
    let router = server.router().expect("routes");
    act_on(&router, "r1", "files", None).await;
    let path = format!("{BASE}/files/readme.md");
    let commits = server.ready().await.expect("open").log().last_commit();
    let calls = || {
        [
            (Method::PATCH, format!("{path}/content"), r#"{"content":"x"}"#),
            (Method::POST, format!("{BASE}/files"), r#"{"topic":"x"}"#),
            (Method::DELETE, path.clone(), ""),
        ]
    };
    for origin in ["http://attacker.example", "null"] {
        for (method, path, body) in calls() {
            let answer = call(&router, request(method.clone(), &path, &[("origin", origin)], body)).await;
            assert_eq!(refused(&answer), is(403, "origin_not_allowed"), "{method} {origin}");
        }
    }
    assert_eq!(
        server.ready().await.expect("open").log().last_commit(),
        commits,
        "what is refused leaves no record"
    );
    for (method, path, body) in calls() {
        let answer = call(&router, request(method.clone(), &path, &[("origin", allowed)], body)).await;
        assert!(answer.status.is_success(), "{method}: {}", answer.text());
    }
    use tower::ServiceExt;
    let asked = [("origin", allowed), ("access-control-request-method", "DELETE")];
    let preflight = router.clone().oneshot(request(Method::OPTIONS, &path, &asked, ""));
    let preflight = preflight.await.expect("an answer");
    assert_eq!(preflight.status(), 204);
    let methods = preflight.headers()["access-control-allow-methods"]
        .to_str()
        .expect("text");
    assert!(methods.contains("PATCH") && methods.contains("DELETE"), "{methods}");
}

/// Scope, path and change of what a stream tells of resources.
fn told(frames: &[Frame]) -> Vec<Value> {
    let changes = frames
        .iter()
        .filter(|frame| frame.data["item"]["type"] == "resource_change");
    let told = changes.map(|frame| {
        let item = &frame.data["item"];
        assert_eq!((frame.kind(), &item["transient"]), ("item.added", &json!(true)));
        assert!(item["version"].is_u64(), "{item}");
        assert!(
            item.get("state").is_none() && item.get("content").is_none() && item.get("delta").is_none(),
            "{item}"
        );
        json!([item["scope"], item["resourcePath"], item["changeType"]])
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_which_resource_changed_if_clients_may_know_of_it() {
    let (_server, router) = server().await;
    let update = |scope: &str, path: &str| json!([scope, path, "updated"]);
    let frames = act_on(&router, "r1", "plan", None).await;
    assert_eq!(told(&frames), [update("session", "plan"), update("session", "plan")]);
    let frames = act_on(&router, "r2", "files", None).await;
    let created = |path: &str| [json!(["session", path, "created"]), update("session", path)];
    let expected = ["files/readme.md", "files/src/main.rs", "files/content"].map(created);
    assert_eq!(told(&frames), expected.concat());
    // The user's: the change itself is in another stream, and told in this one.
    let frames = act_on(&router, "r3", "notes", None).await;
    let note = "notes/a";
    let expected = [
        json!(["user", note, "created"]),
        update("user", note),
        update("user", note),
        json!(["user", note, "deleted"]),
    ];
    assert_eq!(told(&frames), expected);
    assert!(
        frames.iter().all(|frame| !frame.raw.contains("a note")),
        "bodies are not told"
    );
    let frames = act_on(&router, "r4", "hidden", None).await;
    assert_eq!(told(&frames), [Value::Null; 0]);
    assert!(frames.iter().all(|frame| !frame.raw.contains("hidden/")), "{frames:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_names_what_clients_may_know_of_and_the_project_twice() {
    let (_server, router) = server().await;
    act_on(&router, "r1", "files", Some("home")).await;
    let state = get(&router, "/api/flows/sessions/s/state?clientData=user.n").await;
    assert_eq!(
        state["resources"],
        json!({
            "session": {"plan": {}, "failing": {}, "files": {"count": 3}, "small": {"count": 0}, "known": {"count": 0}},
            "user": {"notes": {"count": 0}},
            "project": {"rules": {}},
            "org": {"rules": {}},
        })
    );
    assert_eq!(state["clientData"], json!({"user": {"n": 0}}));

    let bare = flow(KIND).action(
        "chat",
        action(handler("act").run(async |input: String, _: Ctx| Ok(input))),
    );
    let bare = bare.session(scope::<NoState>().resource(&hidden())).instance("default");
    let (_server, router) = serve(bare.expect("a flow"), memory()).await;
    act_on(&router, "r1", "", None).await;
    let state = get(&router, "/api/flows/sessions/s/state").await;
    assert_eq!(state.get("resources"), None, "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_and_no_stream_has_a_state_or_a_body_that_is_not_declared_to_be_shown() {
    let (_server, router) = server().await;
    let mut answers: Vec<(String, String)> = Vec::new();
    let frames = act_on(&router, "r1", "secrets", Some("home")).await;
    assert!(frames.iter().any(|frame| frame.data["item"]["type"] == "state_change"));
    answers.extend(frames.into_iter().map(|frame| ("a frame".to_owned(), frame.raw)));
    let state = "/api/flows/sessions/s/state";
    let mut paths: Vec<String> = [
        "/api/flows",
        "/api/flows/sessions",
        "/api/flows/sessions?userId=ann&flowKind=hello-chat",
        "/api/flows/sessions/s",
        "/api/flows/hello-chat/requests/r1/stream?starting_after=2",
        "/api/flows/sessions/s/requests",
        "/api/flows/sessions/s/manifest",
    ]
    .map(str::to_owned)
    .to_vec();
    let types = "item_types=state_change,resource_change,message,error,component,status,source,tool_output,container";
    for query in [
        "",
        "include_items=true",
        "clientData=failing,secret,user.secret",
        &format!("include_items=1&{types}"),
    ] {
        paths.push(format!("{state}?{query}"));
    }
    for resource in [
        "plan", "files", "small", "notes", "hidden", "known", "rules", "failing", "none",
    ] {
        for rest in [
            "",
            "/content",
            "/mine/content",
            "/mine",
            "/kept/content",
            "/kept",
            "/SECRET/content",
            "/SECRET",
        ] {
            paths.push(format!("{BASE}/{resource}{rest}"));
        }
    }
    for path in paths {
        // A caller's own words may come back.
        let text = call(&router, get_request(&path, &[])).await.text().replace(&path, "");
        answers.push((format!("GET {path}"), text));
    }
    for resource in ["plan", "files", "hidden", "known", "rules", "failing"] {
        for (method, path, body) in [
            (Method::POST, resource.to_owned(), json!({"topic": "mine"})),
            (
                Method::PATCH,
                format!("{resource}/mine/content"),
                json!({"content": "x"}),
            ),
            (Method::DELETE, format!("{resource}/mine"), Value::Null),
        ] {
            let what = format!("{method} {path}");
            answers.push((what, change(&router, method, &path, body).await.text()));
        }
    }
    assert!(answers.len() > 80, "{}", answers.len());
    let snapshot = answers
        .iter()
        .find(|(what, _)| what.ends_with("state?"))
        .map(|(_, text)| text);
    assert!(
        snapshot.is_some_and(|text| text.contains("\"n\":7") && text.contains("files/mine")),
        "{snapshot:?}"
    );
    for (what, text) in answers {
        let asked = what.contains("SECRET");
        let text = if asked {
            text.replace("\\\"SECRET\\\"", "")
        } else {
            text
        };
        assert!(!text.contains("SECRET"), "{what}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_clients_did_is_there_after_a_restart_and_a_flow_that_is_gone_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, router) = serve(flow_of_all(), lsm(folder.path())).await;
    act_on(&router, "r1", "files", None).await;
    let made = change(
        &router,
        Method::POST,
        "files",
        json!({"topic": "todo", "content": "- buy"}),
    )
    .await;
    assert_eq!(made.status, 201);
    change(&router, Method::DELETE, "files/readme.md", Value::Null).await;
    let paths = [
        "/api/flows/sessions",
        "/api/flows/sessions/s/state",
        "/api/flows/sessions/s/resources/files/todo/content",
    ];
    let answers = async |router: &Router| {
        let mut answers = Vec::new();
        for path in paths {
            answers.push(call(router, get_request(path, &[])).await.text());
        }
        answers
    };
    let before = answers(&router).await;
    assert!(before[2].contains("- buy"), "{before:?}");
    server.dispose().await;
    let (server, router) = serve(flow_of_all(), lsm(folder.path())).await;
    assert_eq!(answers(&router).await, before);
    server.dispose().await;
    std::fs::remove_dir_all(folder.path().join("views")).expect("there is a view store");
    let (server, router) = serve(flow_of_all(), lsm(folder.path())).await;
    assert_eq!(answers(&router).await, before, "without the view store");
    server.dispose().await;

    let other = flow("other").action("chat", action(handler("act").run(act)));
    let other = other.session(scope::<State>().resource(&files())).instance("default");
    let (server, router) = serve(other.expect("a flow"), lsm(folder.path())).await;
    for answer in [
        read(&router, "files/todo/content").await,
        change(&router, Method::POST, "files", json!({"topic": "b"})).await,
    ] {
        assert_eq!(refused(&answer), is(404, "flow_not_found"));
    }
    server.dispose().await;
}
