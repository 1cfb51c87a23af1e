//! Which resources clients may know of, and what they may read of them.

use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::prelude::*;
use flowstate_engine::record::ScopeKind;
use flowstate_engine::{
    ClientAccess, Collection, Principal, Resource, ResourceAccessError as Error, ResourceEntry, collection, resource,
};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::support::*;

fn readable() -> ClientAccess {
    ClientAccess::new().read_content()
}

fn plan() -> Resource<State> {
    resource("plan")
        .client(readable())
        .render(|body: String, state: State| format!("{body} ({})", state.n))
}

fn files() -> Collection<State> {
    collection("files", "files/**").client(readable())
}

/// A flow with a plan and files in each scope, and some that clients may not know of, or not read.
fn flow_of_all() -> flowstate_engine::FlowBuilder {
    let session = scope::<State>()
        .resource(&plan())
        .resource(&files())
        .resource(&resource::<State>("hidden").content("SECRET"))
        .resource(&resource::<State>("known").content("SECRET").client(ClientAccess::new()))
        .resource(&resource::<State>("both").content("SECRET"))
        .client_data("n", |state: &State| state.n);
    let user = scope::<State>()
        .resource(&plan())
        .resource(&resource::<State>("both").content("the user's").client(readable()))
        .resource(
            &collection::<State>("notes", "notes/*")
                .content("a note")
                .client(readable()),
        );
    let project = scope::<State>().resource(&resource::<State>("house").content("rules").client(readable()));
    going(|input, ctx| async move {
        match input.as_str() {
            Some("plan") => {
                let plan = ctx.resource(&plan())?;
                plan.state().inc("n", 4).await?;
                plan.write_content("a plan").await?;
            }
            Some("files") => {
                let files = ctx.collection(&files())?;
                files.create("src/main.rs").await?.write_content("fn main() {}").await?;
                files.create("bare").await?;
                files.create("files/twice").await?.write_content("below").await?;
                files.create("twice").await?.write_content("above").await?;
            }
            Some("notes") => {
                let notes = ctx.collection_of(ScopeKind::User, &collection::<State>("notes", "notes/*"))?;
                notes.create("a").await?;
            }
            _ => {}
        }
        Ok(Value::Null)
    })
    .session(session)
    .user(user)
    .project(project)
}

fn code(error: Result<Option<String>, Error>) -> String {
    let text = format!("{:?}", error.expect_err("an error"));
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_snapshot_has_the_resources_that_clients_may_know_of() {
    let engine = engine(flow_of_all()).await;
    for input in ["", "files", "notes"] {
        go(&engine, "s", Some("p"), input.into()).await;
    }
    go(&engine, "t", None, Value::Null).await;
    let told = async |session: &str, wanted| {
        let shown = snapshot(&engine, session, wanted).await;
        let entry = |entry: ResourceEntry| match entry {
            ResourceEntry::One { .. } => json!({}),
            ResourceEntry::Collection { count, .. } => json!({"count": count}),
        };
        let scopes = shown.resources.into_iter().map(|(scope, entries)| {
            let entries = entries.into_iter().map(|(name, told)| (name, entry(told)));
            (scope, entries.collect::<Value>())
        });
        scopes.collect::<Value>()
    };
    let user = json!({"plan": {}, "both": {}, "notes": {"count": 1}});
    let all = json!({
        "session": {"plan": {}, "known": {}, "files": {"count": 4}}, "user": user, "project": {"house": {}},
    });
    assert_eq!(told("s", None).await, all);
    assert_eq!(
        told("s", Some(&[("user", "none")])).await,
        all,
        "the filter is for client data"
    );
    let mine = json!({"session": {"plan": {}, "known": {}, "files": {"count": 0}}, "user": user});
    assert_eq!(told("t", None).await, mine);
}

#[tokio::test]
async fn a_flow_without_resources_for_clients_has_none_in_its_snapshot() {
    let session = scope::<State>().resource(&resource::<State>("hidden"));
    let engine = engine(going(|_, _| async move { Ok(Value::Null) }).session(session)).await;
    go(&engine, "s", None, Value::Null).await;
    assert!(snapshot(&engine, "s", None).await.resources.is_empty());
}

#[tokio::test]
async fn a_body_is_given_as_it_is_rendered_and_nothing_if_there_is_none() {
    let engine = engine(flow_of_all()).await;
    go(&engine, "s", Some("p"), Value::Null).await;
    assert_eq!(content(&engine, "plan", None).await.expect("a resource"), None);
    assert_eq!(
        content(&engine, "house", None).await.expect("the project's"),
        Some("rules".into())
    );
    go(&engine, "s", None, "plan".into()).await;
    go(&engine, "s", None, "files".into()).await;
    go(&engine, "s", None, "notes".into()).await;
    assert_eq!(
        content(&engine, "plan", None).await.expect("a resource"),
        Some("a plan (4)".into())
    );
    let both = content(&engine, "both", None)
        .await
        .expect("the one that clients may know of");
    assert_eq!(both, Some("the user's".into()));
    for (topic, expected) in [
        ("src/main.rs", Some("fn main() {}")),
        ("files/src/main.rs", Some("fn main() {}")),
        ("\\src//main.rs/", Some("fn main() {}")),
        ("bare", None),
        // A whole key goes first.
        ("files/twice", Some("above")),
        ("files/files/twice", Some("below")),
        ("twice", Some("above")),
    ] {
        let found = content(&engine, "files", Some(topic)).await.expect("an instance");
        assert_eq!(found.as_deref(), expected, "{topic}");
    }
    assert_eq!(
        content(&engine, "notes", Some("a")).await.expect("the user's"),
        Some("a note".into())
    );
}

#[tokio::test]
async fn what_clients_may_not_read_is_refused() {
    let engine = engine(flow_of_all()).await;
    go(&engine, "s", None, "files".into()).await;
    let principal = Principal::default();
    let unknown = engine.resource_content(&principal, "none", "plan", None).await;
    assert_eq!(code(unknown), "UnknownSession");
    let other = engine.resource_content(&Principal::new("bob"), "s", "plan", None).await;
    assert_eq!(code(other), "UnknownSession");
    for (resource, topic, expected) in [
        ("none", None, "UnknownResource"),
        ("", None, "UnknownResource"),
        ("hidden", None, "UnknownResource"),
        // The session has no project.
        ("house", None, "UnknownResource"),
        ("known", None, "NotGranted"),
        ("files", None, "IsACollection"),
        ("plan", Some("a"), "NotACollection"),
        ("files", Some("none"), "NotFound"),
        ("files", Some(""), "Topic"),
        ("files", Some("../plan"), "Topic"),
        ("files", Some("a\0b"), "Topic"),
        ("notes", Some("a/b"), "Topic"),
        ("notes", Some("a"), "NotFound"),
    ] {
        assert_eq!(
            code(content(&engine, resource, topic).await),
            expected,
            "{resource} {topic:?}"
        );
    }
}

#[tokio::test]
async fn a_body_that_can_not_be_rendered_is_an_error_and_none_waits_for_ever() {
    let begun = Arc::new(Notify::new());
    let hangs = begun.clone();
    let session =
        scope::<State>()
            .resource(
                &resource::<State>("panics")
                    .content("x")
                    .client(readable())
                    .render(|_: String, _: State| -> String { panic!("no text") }),
            )
            .resource(
                &resource::<State>("fails")
                    .content("x")
                    .client(readable())
                    .render(|_: String, _: State| Err::<String, _>(BlockError::new("tired", "not today"))),
            )
            .resource(&resource::<State>("hangs").content("x").client(readable()).render(
                move |body: String, _: State| {
                    let hangs = hangs.clone();
                    async move {
                        hangs.notify_one();
                        std::future::pending::<()>().await;
                        Ok(body)
                    }
                },
            ));
    let gate = Arc::new(Gate::default());
    let flow = going(|_, _| async move { Ok(Value::Null) }).session(session);
    let engine = open(flow, gate.clone(), &memory()).await;
    go(&engine, "s", None, Value::Null).await;
    let panicked = content(&engine, "panics", None).await.expect_err("it panics");
    assert!(
        matches!(&panicked, Error::Render(error) if error.to_string().contains("no text")),
        "{panicked:?}"
    );
    let failed = content(&engine, "fails", None).await.expect_err("it fails");
    assert!(
        matches!(&failed, Error::Render(error) if error.code() == "tired"),
        "{failed:?}"
    );
    let read = tokio::spawn({
        let engine = engine.clone();
        async move { content(&engine, "hangs", None).await }
    });
    begun.notified().await;
    assert!(!read.is_finished());
    gate.pass();
    let late = tokio::time::timeout(Duration::from_secs(20), read)
        .await
        .expect("in time");
    assert!(matches!(late.expect("a task"), Err(Error::RenderTime { seconds: 5 })));
}
