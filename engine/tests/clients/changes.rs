//! What clients do to the collections of a session: what is recorded, who is told, and what is refused.

use std::sync::{Arc, OnceLock};

use flowstate_engine::prelude::*;
use flowstate_engine::record::Fact;
use flowstate_engine::{
    ClientAccess, Collection, Eviction, InstanceContext, Principal, ResourceAccessError as Error, SessionQuery,
    collection, resource,
};
use flowstate_log::Log;
use futures_util::future::{join_all, poll_immediate};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::support::*;

fn everything() -> ClientAccess {
    ClientAccess::new().read_content().create().update().delete()
}

/// What hooks were told, with the last commit at that time.
#[derive(Clone, Default)]
struct Told {
    log: Arc<OnceLock<Log>>,
    told: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Told {
    fn tell(&self, what: String, context: &InstanceContext) {
        let what = format!(
            "{what} of {}/{}/{}",
            context.scope().as_str(),
            context.scope_id(),
            context.collection()
        );
        let commit = self.log.get().map_or(0, Log::last_commit);
        self.told.lock().push((what, commit));
    }

    fn take(&self) -> Vec<String> {
        let told = std::mem::take(&mut *self.told.lock());
        told.into_iter().map(|(what, _)| what).collect()
    }
}

fn files(told: &Told) -> Collection<State> {
    let (created, updated, deleted) = (told.clone(), told.clone(), told.clone());
    collection("files", "files/**")
        .initial(State {
            n: 5,
            ..State::default()
        })
        .content("begins")
        .client(everything())
        .on_instance_created(move |key, state: &State, context| {
            created.tell(format!("created {key} {}", state.n), context)
        })
        .on_instance_updated(move |key, _: &State, _: &State, context| updated.tell(format!("updated {key}"), context))
        .on_instance_deleted(move |key, context| deleted.tell(format!("deleted {key}"), context))
}

/// An engine whose flow has these files and more in the session and others in the user; the action gives nothing.
async fn with_files(more: flowstate_engine::Scope<State>) -> (Engine, Told) {
    let told = Told::default();
    let session = more.resource(&files(&told));
    let user = scope::<State>()
        .resource(&collection::<State>("notes", "notes/*").client(everything()))
        .resource(&collection::<State>("sealed", "sealed/*").client(ClientAccess::new()));
    let flow = going(|_, _| async move { Ok(Value::Null) }).session(session).user(user);
    let engine = engine(flow).await;
    let _ = told.log.set(engine.log().clone());
    go(&engine, "s", None, Value::Null).await;
    (engine, told)
}

fn name(error: &Error) -> String {
    let text = format!("{error:?}");
    text.split([' ', '(', '{']).next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_instance_is_made_with_its_body_in_one_append_and_in_no_request() {
    let (engine, told) = with_files(scope::<State>()).await;
    let before = engine.log().last_commit();
    create(&engine, "files", "src/a", Some("fn a() {}"))
        .await
        .expect("made");
    create(&engine, "files", "bare", None).await.expect("made");
    create(&engine, "files", "empty", Some("")).await.expect("made");

    let records = clients_records(&engine).await;
    let facts: Vec<Value> = records
        .iter()
        .map(|(record, fact)| {
            assert_eq!((record.causation, record.origin), ([0; 16], 0));
            match fact {
                Fact::ResourceCreated(created) => {
                    assert_eq!(created.item, None, "there is no request to tell it in");
                    json!(["created", created.at.path(), created.state["n"]])
                }
                Fact::ResourceWritten(written) => {
                    assert_eq!(written.item, None);
                    json!(["written", written.at.path(), String::from_utf8_lossy(&written.text)])
                }
                other => panic!("{other:?}"),
            }
        })
        .collect();
    assert_eq!(
        facts,
        [
            json!(["created", "files/src/a", 5]),
            json!(["written", "files/src/a", "fn a() {}"]),
            json!(["created", "files/bare", 5]),
            json!(["created", "files/empty", 5]),
            json!(["written", "files/empty", ""]),
        ]
    );
    assert_eq!(records[0].0.commit, records[1].0.commit, "both or neither");
    for (topic, expected) in [("src/a", "fn a() {}"), ("bare", "begins"), ("empty", "")] {
        let found = content(&engine, "files", Some(topic)).await.expect("an instance");
        assert_eq!(found.as_deref(), Some(expected), "{topic}");
    }
    let of = "of session/s/files";
    let commits: Vec<u64> = told.told.lock().iter().map(|(_, commit)| *commit).collect();
    let created: Vec<u64> = [0, 2, 3].map(|at: usize| records[at].0.commit).to_vec();
    assert!(
        created[0] > before && created == commits,
        "hooks are told of what is durable: {created:?} {commits:?}"
    );
    assert_eq!(
        told.take(),
        [
            format!("created files/src/a 5 {of}"),
            format!("created files/bare 5 {of}"),
            format!("created files/empty 5 {of}"),
        ]
    );
}

#[tokio::test]
async fn bodies_are_replaced_and_instances_deleted_by_any_form_of_their_topic() {
    let (engine, told) = with_files(scope::<State>()).await;
    create(&engine, "files", "a", Some("one")).await.expect("made");
    write(&engine, "files", "a", "two").await.expect("written");
    write(&engine, "files", "files/a", "three").await.expect("written");
    assert_eq!(
        content(&engine, "files", Some("a")).await.expect("a"),
        Some("three".into())
    );
    let missing = write(&engine, "files", "b", "x").await.expect_err("there is none");
    assert_eq!(name(&missing), "NotFound");
    let there = create(&engine, "files", "/files//a/", Some("x"))
        .await
        .expect_err("there is one");
    assert_eq!(name(&there), "Exists");

    delete(&engine, "files", "files/a").await.expect("deleted");
    let tail = engine.log().tail(stream(&engine).await).await.expect("a tail");
    delete(&engine, "files", "a").await.expect("nothing to do");
    delete(&engine, "files", "never").await.expect("nothing to do");
    assert_eq!(
        engine.log().tail(stream(&engine).await).await.expect("a tail"),
        tail,
        "nothing is recorded"
    );
    let gone = content(&engine, "files", Some("a")).await.expect_err("it is gone");
    assert_eq!(name(&gone), "NotFound");
    let gone = write(&engine, "files", "a", "x").await.expect_err("it is gone");
    assert_eq!(name(&gone), "NotFound");
    create(&engine, "files", "a", None).await.expect("made anew");
    assert_eq!(
        content(&engine, "files", Some("a")).await.expect("a"),
        Some("begins".into()),
        "its body went with it"
    );
    let of = "of session/s/files";
    assert_eq!(
        told.take(),
        [
            format!("created files/a 5 {of}"),
            format!("deleted files/a {of}"),
            format!("created files/a 5 {of}"),
        ]
    );
}

#[tokio::test]
async fn what_clients_may_not_do_is_refused_and_leaves_nothing() {
    let sealed = |name: &str| collection::<State>(name, format!("{name}/*"));
    let session = scope::<State>()
        .resource(
            &resource::<State>("plan")
                .content("x")
                .client(ClientAccess::new().read_content()),
        )
        .resource(&sealed("hidden"))
        .resource(&sealed("known").client(ClientAccess::new()))
        .resource(&sealed("fixed").client(everything()).read_only())
        .resource(&collection::<State>("pairs", "pairs/[a]/[b]").client(everything()));
    let (engine, _) = with_files(session).await;
    create(&engine, "fixed", "there", None)
        .await
        .expect("it has no body of its own");
    let tail = engine.log().tail(stream(&engine).await).await.expect("a tail");
    for (resource, topic, expected) in [
        ("none", "a", "UnknownResource"),
        ("hidden", "a", "UnknownResource"),
        ("plan", "a", "NotACollection"),
        ("known", "a", "NotGranted"),
        ("sealed", "a", "NotGranted"),
        ("notes", "a", "NotTheSessions"),
        ("notes", "a/b", "Topic"),
        ("files", "", "Topic"),
        ("files", "..", "Topic"),
        ("files", "a/../b", "Topic"),
        ("files", "a\u{202e}b", "Topic"),
        ("files", "a\nb", "Topic"),
        ("pairs", "one", "Topic"),
    ] {
        let long = "x".repeat(600);
        for topic in [topic, if expected == "Topic" { &long } else { topic }] {
            let refused = create(&engine, resource, topic, Some("x")).await.expect_err("create");
            assert_eq!(name(&refused), expected, "create {resource} {topic:?}");
            let refused = write(&engine, resource, topic, "x").await.expect_err("write");
            assert_eq!(name(&refused), expected, "write {resource} {topic:?}");
            let refused = delete(&engine, resource, topic).await.expect_err("delete");
            assert_eq!(name(&refused), expected, "delete {resource} {topic:?}");
        }
    }
    for refused in [
        create(&engine, "fixed", "a", Some("x")).await,
        write(&engine, "fixed", "there", "x").await,
    ] {
        assert_eq!(name(&refused.expect_err("read-only")), "ReadOnly");
    }
    for refused in [
        create(&engine, "files", "a", Some(&"x".repeat(65 << 10))).await,
        create(&engine, "files", "b", Some(&"x".repeat(64 << 10))).await,
    ] {
        assert_eq!(name(&refused.expect_err("too large")), "TooLarge");
    }
    let principal = Principal::default();
    let unknown = engine.create_resource(&principal, "none", "files", "a", None).await;
    assert_eq!(name(&unknown.expect_err("no session")), "UnknownSession");
    let other = engine.delete_resource(&Principal::new("bob"), "s", "files", "a").await;
    assert_eq!(name(&other.expect_err("not bob's")), "UnknownSession");
    assert_eq!(
        engine.log().tail(stream(&engine).await).await.expect("a tail"),
        tail,
        "nothing is recorded"
    );
    create(&engine, "pairs", "pairs/1/2", None).await.expect("a whole key");
    create(&engine, "pairs", "3/4", None)
        .await
        .expect("what differs of one");
    engine.close().await;
    let closed = create(&engine, "files", "late", None).await.expect_err("closed");
    assert!(
        matches!(closed, Error::Unavailable { .. } | Error::Query(_)),
        "{closed:?}"
    );
}

#[tokio::test]
async fn a_grant_is_for_one_kind_of_change() {
    let may = |name: &str, access| collection::<State>(name, format!("{name}/*")).client(access);
    let session = scope::<State>()
        .resource(&may("makes", ClientAccess::new().create()))
        .resource(&may("writes", ClientAccess::new().update()))
        .resource(&may("deletes", ClientAccess::new().delete()));
    let (engine, _) = with_files(session).await;
    let outcome = |done: Result<(), Error>| done.map_or_else(|error| name(&error), |()| "done".to_owned());
    let (no, none) = ("NotGranted", "NotFound");
    for (resource, expected) in [
        ("makes", ["done", no, no]),
        ("writes", [no, none, no]),
        ("deletes", [no, no, "done"]),
    ] {
        let done = [
            outcome(create(&engine, resource, "a", None).await),
            outcome(write(&engine, resource, "a", "x").await),
            outcome(delete(&engine, resource, "a").await),
        ];
        assert_eq!(done, expected, "{resource}");
        assert_eq!(
            name(&content(&engine, resource, Some("a")).await.expect_err("not granted")),
            no
        );
    }
}

#[tokio::test]
async fn a_full_collection_refuses_or_somebody_makes_room() {
    let capped = |name: &str| {
        collection::<State>(name, format!("{name}/*"))
            .max_instances(2)
            .client(everything())
    };
    let told = Told::default();
    let gone = told.clone();
    let oldest = capped("oldest").eviction(Eviction::Oldest);
    let oldest = oldest.on_instance_deleted(move |key, context| gone.tell(format!("deleted {key}"), context));
    let session = scope::<State>()
        .resource(&capped("full"))
        .resource(&oldest)
        .resource(&capped("lru").eviction(Eviction::Lru));
    let (engine, _) = with_files(session).await;
    for resource in ["full", "oldest", "lru"] {
        for topic in ["a", "b"] {
            create(&engine, resource, topic, Some("x")).await.expect("room");
        }
        write(&engine, resource, "a", "y").await.expect("written");
    }
    let full = create(&engine, "full", "c", None).await.expect_err("full");
    assert!(matches!(&full, Error::Full { max, .. } if max.get() == 2), "{full:?}");
    create(&engine, "oldest", "c", None).await.expect("a makes room");
    create(&engine, "lru", "c", None)
        .await
        .expect("b makes room: a was written since");
    let left = async |resource: &str| {
        let mut left = Vec::new();
        for topic in ["a", "b", "c"] {
            if content(&engine, resource, Some(topic)).await.is_ok() {
                left.push(topic);
            }
        }
        left
    };
    assert_eq!(left("full").await, ["a", "b"]);
    assert_eq!(left("oldest").await, ["b", "c"]);
    assert_eq!(left("lru").await, ["a", "c"]);
    assert_eq!(told.take(), ["deleted oldest/a of session/s/oldest"]);
    delete(&engine, "full", "a").await.expect("deleted");
    create(&engine, "full", "c", None).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_makes_an_instance_and_no_more_than_the_cap() {
    let capped = collection::<State>("capped", "capped/*")
        .max_instances(5)
        .client(everything());
    let (engine, told) = with_files(scope::<State>().resource(&capped)).await;
    let same = (0..24).map(|number| {
        let engine = engine.clone();
        async move {
            create(&engine, "files", "same", Some(&number.to_string()))
                .await
                .map(|()| number)
        }
    });
    let outcomes = join_all(same.map(tokio::spawn)).await;
    let (mut made, mut refused) = (Vec::new(), 0);
    for outcome in outcomes {
        match outcome.expect("a task") {
            Ok(number) => made.push(number.to_string()),
            Err(Error::Exists { .. }) => refused += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((made.len(), refused), (1, 23));
    assert_eq!(
        content(&engine, "files", Some("same")).await.expect("one").as_ref(),
        made.first()
    );
    assert_eq!(told.take().len(), 1);

    let others = (0..24).map(|number| {
        let engine = engine.clone();
        async move { create(&engine, "capped", &number.to_string(), None).await }
    });
    let outcomes = join_all(others.map(tokio::spawn)).await;
    let (mut made, mut full) = (0, 0);
    for outcome in outcomes {
        match outcome.expect("a task") {
            Ok(()) => made += 1,
            Err(Error::Full { .. }) => full += 1,
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((made, full), (5, 19));
}

#[tokio::test]
async fn the_session_is_updated_by_what_clients_change_and_by_nothing_that_they_read() {
    let (engine, _) = with_files(scope::<State>()).await;
    go(&engine, "t", None, Value::Null).await;
    let order = async || {
        let sessions = engine.sessions(&Principal::default(), &SessionQuery::default()).await;
        let sessions = sessions.expect("readable").into_iter();
        sessions
            .map(|session| (session.session, session.updated_commit))
            .collect::<Vec<_>>()
    };
    let ids = |order: &[(String, u64)]| order.iter().map(|(id, _)| id.clone()).collect::<Vec<_>>();
    let mut last = order().await;
    assert_eq!(ids(&last), ["t", "s"]);
    content(&engine, "files", Some("none")).await.expect_err("none");
    delete(&engine, "files", "none").await.expect("nothing to do");
    snapshot(&engine, "s", None).await;
    assert_eq!(order().await, last, "nothing has changed");
    create(&engine, "files", "a", Some("x")).await.expect("made");
    for step in 0..3 {
        let now = order().await;
        assert_eq!(ids(&now), ["s", "t"], "step {step}");
        assert!(
            now[0].1 > last.iter().map(|(_, commit)| *commit).max().unwrap_or_default(),
            "step {step}"
        );
        last = now;
        match step {
            0 => write(&engine, "files", "a", "y").await.expect("written"),
            1 => delete(&engine, "files", "a").await.expect("deleted"),
            _ => {}
        }
    }
}

#[tokio::test]
async fn a_run_sees_what_clients_did_and_clients_what_a_run_did() {
    let files = || collection::<State>("files", "files/*").client(everything());
    let flow = going(move |input, ctx| async move {
        let files = ctx.collection(&files())?;
        let Some(key) = input.as_str() else {
            return Ok(Value::Null);
        };
        match files.find(key).await? {
            Some(file) => {
                let body = file.read_content().await?.unwrap_or_default();
                file.write_content(format!("{body}, seen")).await?;
            }
            None => drop(files.create(key).await?),
        }
        Ok(Value::Null)
    });
    let engine = engine(flow.session(scope::<State>().resource(&files()))).await;
    go(&engine, "s", None, Value::Null).await;
    create(&engine, "files", "a", Some("mine")).await.expect("made");
    go(&engine, "s", None, "a".into()).await;
    assert_eq!(
        content(&engine, "files", Some("a")).await.expect("a"),
        Some("mine, seen".into())
    );
    go(&engine, "s", None, "b".into()).await;
    write(&engine, "files", "b", "written").await.expect("the run made it");
    delete(&engine, "files", "a").await.expect("deleted");
    go(&engine, "s", None, "a".into()).await;
    assert_eq!(content(&engine, "files", Some("a")).await.expect("made anew"), None);
}

#[tokio::test]
async fn a_caller_who_goes_away_keeps_no_hook_from_what_has_happened() {
    let (told, options) = (Told::default(), memory());
    let flow = || going(|_, _| async move { Ok(Value::Null) }).session(scope::<State>().resource(&files(&told)));
    let engine = open(flow(), Arc::default(), &options).await;
    go(&engine, "s", None, Value::Null).await;
    for polls in 0..60 {
        let topic = polls.to_string();
        let mut making = Box::pin(create(&engine, "files", &topic, Some("x")));
        for _ in 0..polls {
            if poll_immediate(&mut making).await.is_some() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
    engine.close().await;
    let engine = open(flow(), Arc::default(), &options).await;
    let records = clients_records(&engine).await;
    let made = records.iter().filter_map(|(_, fact)| match fact {
        Fact::ResourceCreated(created) => Some(format!("created {} 5 of session/s/files", created.at.path())),
        _ => None,
    });
    let mut made: Vec<String> = made.collect();
    assert!(
        !made.is_empty() && made.len() < 60,
        "some were dropped before they began: {}",
        made.len()
    );
    // Each is told by itself, in any order.
    let mut told = told.take();
    told.sort();
    made.sort();
    assert_eq!(told, made);
}
