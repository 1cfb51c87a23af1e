//! The runtime over the real log, in memory: what a submitted request leaves behind, and what the projections say about it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::item::{ItemBody, ItemStatus};
use flowstate_engine::model::{Model, ModelError, ModelEvent, ModelRequest, ScriptedModel};
use flowstate_engine::prelude::*;
use flowstate_engine::record::{Fact, HistoryRange, ModelCalled, SESSION_STATE, decode};
use flowstate_engine::{
    Accepted, ItemPage, Principal, RequestRef, RequestStatus, SessionQuery, Snapshot, SnapshotQuery, Submission,
    SubmitError,
};
use flowstate_log::Options;
use flowstate_log::disk::faulty::{Call, FaultyDisk};
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::env::SeededEnv;
use flowstate_log::error::Remedy;
use flowstate_log::record::Record;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use parking_lot::Mutex;
use serde_json::{Value, json};

#[derive(Clone, Serialize, Deserialize, JsonSchema, Validate)]
struct ChatInput {
    #[garde(length(min = 1))]
    message: String,
    #[garde(range(max = 9))]
    #[serde(default)]
    mood: u8,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
struct ChatState {
    turns: u32,
    topic: Option<String>,
}

/// Gives these events to every request and remembers what it was asked; then hangs, if told so.
struct Puppet {
    events: Vec<Result<ModelEvent, ModelError>>,
    hangs: bool,
    asked: Arc<Mutex<Vec<ModelRequest>>>,
}

impl Puppet {
    fn new(events: Vec<Result<ModelEvent, ModelError>>) -> Self {
        Self {
            events,
            hangs: false,
            asked: Arc::default(),
        }
    }

    fn hanging_after(text: &str) -> Self {
        Self {
            hangs: true,
            ..Self::new(vec![Ok(ModelEvent::Text(text.into()))])
        }
    }
}

impl Model for Puppet {
    fn name(&self) -> &str {
        "puppet"
    }

    fn stream(&self, request: ModelRequest) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
        self.asked.lock().push(request);
        let events = stream::iter(self.events.clone());
        if self.hangs {
            events.chain(stream::pending()).boxed()
        } else {
            events.boxed()
        }
    }
}

fn said(text: &str) -> Vec<Result<ModelEvent, ModelError>> {
    vec![
        Ok(ModelEvent::Text(text.into())),
        Ok(ModelEvent::End {
            finish: "stop".into(),
            usage: None,
        }),
    ]
}

fn chat_flow() -> Flow {
    let chat = generator("chat")
        .prompt("Be brief.")
        .history(History::all())
        .user(|input: &ChatInput, _ctx| input.message.clone());
    let count = handler("count").run(|answer: String, ctx: Ctx| async move {
        ctx.session::<ChatState>().inc("turns", 1).await?;
        Ok(answer)
    });
    let misuse = |input: Value, ctx: Ctx| async move {
        let state = ctx.session::<ChatState>();
        match input.as_str() {
            Some("unknown") => state.inc("tunrs", 1).await.map(drop)?,
            Some("text") => state.inc("topic", 1).await.map(drop)?,
            Some("negative") => state.inc("turns", -1).await.map(drop)?,
            Some("type") => state.patch(json!({"topic": 7})).await.map(drop)?,
            Some("shape") => state.patch(7).await.map(drop)?,
            _ => {
                state.inc("turns", 2).await?;
                state.patch(json!({"topic": "tea"})).await?;
            }
        }
        Ok(serde_json::to_value(state.get().await?)?)
    };
    flow("chat")
        .action(
            "chat",
            action(sequencer("pipeline").then(chat).then(count))
                .user_message(|input: &ChatInput| input.message.clone()),
        )
        .action("state", action(misuse))
        .action(
            "panic",
            action(|_: (), _: Ctx| async move { if true { panic!("boom") } else { Ok(()) } }),
        )
        .session(scope::<ChatState>().client_data("turns", |state: &ChatState| state.turns))
        .instance("default")
        .expect("a flow")
}

fn other_flow() -> Flow {
    let echo = |input: Value, _: Ctx| async move { Ok(input) };
    let twice = |input: Value, _: Ctx| async move { Ok(vec![input.clone(), input]) };
    let complain = |input: String, _: Ctx| async move { Err::<(), _>(BlockError::new("c", input.repeat(2))) };
    let mute = generator::<Value>("mute").history(History::all());
    flow("other")
        .action("mute", action(mute))
        .action("echo", action(echo))
        .action("twice", action(twice))
        .action("complain", action(complain))
        .instance("default")
        .expect("a flow")
}

async fn open(model: impl Model, options: &Options) -> Engine {
    let builder = Engine::builder()
        .flow(other_flow())
        .flow(chat_flow())
        .model(Arc::new(model));
    builder.open(options.clone()).await.expect("an engine")
}

async fn engine(model: impl Model) -> Engine {
    open(model, &Options::in_memory()).await
}

fn submission(action: &str, input: Value) -> Submission {
    Submission {
        flow: "chat".into(),
        action: action.into(),
        input: Some(input),
        user: "ann".into(),
        session: Some("s1".into()),
        ..Submission::default()
    }
}

async fn find(engine: &Engine, accepted: &Accepted) -> RequestRef {
    let found = engine
        .request(&Principal::default(), &accepted.flow, &accepted.request, Duration::ZERO)
        .await;
    found.expect("a readable request").expect("a request")
}

/// The request's records up to the one for which `last` holds, in order and without gaps.
async fn records_until(engine: &Engine, accepted: &Accepted, last: impl Fn(&Fact) -> bool) -> Vec<(Record, Fact)> {
    let mut follow = engine
        .log()
        .follow_sub(&find(engine, accepted).await.sub, 0)
        .await
        .expect("a cursor");
    let mut seen = Vec::new();
    loop {
        let page = tokio::time::timeout(Duration::from_secs(10), follow.page())
            .await
            .expect("in time")
            .expect("records");
        for record in page {
            let fact = decode(&record).expect("a fact");
            assert_eq!(
                record.sub.expect("in the request").1,
                seen.len() as u64 + 1,
                "numbers are dense"
            );
            let ends = last(&fact);
            seen.push((record, fact));
            if ends {
                return seen;
            }
        }
    }
}

async fn run(engine: &Engine, submission: Submission) -> Vec<(Record, Fact)> {
    let accepted = engine.submit(submission).await.expect("accepted");
    records_until(engine, &accepted, Fact::is_terminal).await
}

/// What the request with these records gave.
async fn output(engine: &Engine, records: &[(Record, Fact)]) -> Option<Value> {
    let Fact::RequestAccepted(accepted) = &records[0].1 else {
        panic!("{:?}", records[0].1)
    };
    let principal = Principal::default();
    let found = engine.request(&principal, &accepted.flow, &accepted.request, Duration::ZERO);
    let found = found.await.expect("readable").expect("a request");
    engine.output(&found).await.expect("readable")
}

/// Kinds that tell where blocks began and ended, which is a theme of its own.
const EXECUTION: [u16; 2] = [40, 41];

/// Kinds of the records in order, without those of [`EXECUTION`].
fn kinds(records: &[(Record, Fact)]) -> Vec<u16> {
    let kinds = records.iter().map(|(record, _)| record.kind.0);
    let mut kinds: Vec<u16> = kinds.filter(|kind| !EXECUTION.contains(kind)).collect();
    kinds.dedup();
    kinds
}

async fn snapshot(engine: &Engine, session: &str) -> Snapshot {
    let query = SnapshotQuery {
        client_data: None,
        items: Some(ItemPage {
            types: None,
            offset: 0,
            limit: 100,
        }),
    };
    engine
        .snapshot(&Principal::default(), session, &query)
        .await
        .expect("readable")
        .expect("a session")
}

fn delta(fact: &Fact) -> Option<&str> {
    match fact {
        Fact::ContentDelta(delta) => Some(&delta.delta),
        _ => None,
    }
}

fn text(body: &ItemBody) -> String {
    match body {
        ItemBody::Message { content, .. } => content.iter().map(|part| part.as_text()).collect(),
        ItemBody::Error { message, .. } => message.clone(),
        other => panic!("{other:?} has no text"),
    }
}

#[tokio::test]
async fn an_action_leaves_its_records_in_order_with_dense_numbers() {
    let engine = engine(ScriptedModel::new(0)).await;
    let records = run(&engine, submission("chat", json!({"message": "Why tea?"}))).await;

    assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 22, 23, 26, 24, 30]);
    let deltas: Vec<&str> = records.iter().filter_map(|(_, fact)| delta(fact)).collect();
    assert!(deltas.len() >= 20, "every token is a record: {deltas:?}");
    let last = &records.last().expect("a last record").0;
    assert_eq!(output(&engine, &records).await, Some(Value::from(deltas.concat())));
    assert!(deltas.concat().contains("Why tea?"));

    let Fact::RequestAccepted(accepted) = &records[0].1 else {
        panic!("{:?}", records[0].1)
    };
    let message = records.iter().find(|(record, _)| record.kind.0 == 23);
    let message = message.expect("the user's message").0.position;
    let called = records.iter().find_map(|(_, fact)| match fact {
        Fact::ModelCalled(called) => Some(called.clone()),
        _ => None,
    });
    let expected = ModelCalled {
        model: "scripted".into(),
        instance: format!("{}:root/then[0]:0", accepted.request),
        prompt: Some("Be brief.".into()),
        history: Some(HistoryRange {
            from: message,
            to: message,
        }),
        user: None,
    };
    assert_eq!(
        called,
        Some(expected),
        "the history refers to the user's message instead of copying it"
    );

    let sub = last.sub.expect("in the request").0;
    assert!(records.iter().all(|(record, _)| record.causation == sub.0));
    let origins: BTreeSet<u64> = records
        .iter()
        .filter(|(record, _)| record.kind.0 == 21)
        .map(|(record, _)| record.origin)
        .collect();
    assert!(
        origins.len() == 1 && !origins.contains(&0),
        "deltas name the block that made them"
    );
    let state = records
        .iter()
        .find(|(record, _)| record.kind.0 == 24)
        .expect("a state change");
    assert_eq!(state.0.subject, SESSION_STATE);

    let items: Vec<_> = records
        .iter()
        .filter_map(|(_, fact)| match fact {
            Fact::ItemCompleted(completed) => Some(&completed.item),
            _ => None,
        })
        .collect();
    assert_eq!((items[0].index, text(&items[0].body).as_str()), (0, "Why tea?"));
    assert_eq!(items[0].provenance.instance, "runtime");
    assert_eq!((items[1].index, text(&items[1].body)), (1, deltas.concat()));
    let provenance = &items[1].provenance;
    assert_eq!(provenance.instance, format!("{}:root/then[0]:0", accepted.request));
    assert_eq!(provenance.parent, Some(format!("{}:root:0", accepted.request)));
    assert_eq!(provenance.definition.as_deref(), Some("chat/chat/root/then[0]"));
    assert!(items[0].ts_ms <= items[1].ts_ms);
}

#[tokio::test]
async fn a_second_turn_sees_the_first_and_its_own_message_once() {
    let model = Puppet::new(said("Because."));
    let asked = model.asked.clone();
    let engine = engine(model).await;
    run(&engine, submission("chat", json!({"message": "Why tea?"}))).await;
    run(&engine, submission("chat", json!({"message": "Really?"}))).await;
    let asked = asked.lock();
    let texts: Vec<_> = asked[1]
        .messages
        .iter()
        .map(|message| (message.role.as_str(), message.text.as_str()))
        .collect();
    assert_eq!(
        texts,
        [
            ("system", "Be brief."),
            ("user", "Why tea?"),
            ("assistant", "Because."),
            ("user", "Really?")
        ]
    );
}

#[tokio::test]
async fn state_operations_are_visible_at_once_and_to_clients() {
    let engine = engine(Puppet::new(said("a"))).await;
    let records = run(&engine, submission("state", json!("go"))).await;
    let expected = json!({"turns": 2, "topic": "tea"});
    assert_eq!(output(&engine, &records).await, Some(expected));
    assert_eq!(snapshot(&engine, "s1").await.client_data["session"]["turns"], json!(2));
    let query = SnapshotQuery {
        client_data: Some(vec![("session".into(), "none".into())]),
        items: None,
    };
    let filtered = engine
        .snapshot(&Principal::default(), "s1", &query)
        .await
        .expect("readable")
        .expect("a session");
    assert!(filtered.client_data.is_empty() && filtered.items.is_none());
}

#[tokio::test]
async fn a_state_operation_that_does_not_fit_is_refused_and_nothing_is_appended() {
    let engine = engine(Puppet::new(said("a"))).await;
    run(&engine, submission("state", json!("go"))).await;
    for (misuse, part) in [
        ("unknown", "\"tunrs\"; it has topic; turns"),
        (
            "text",
            "session state can't be changed so: the field \"topic\" is not a number",
        ),
        ("negative", ""),
        ("type", "topic: 7"),
        ("shape", "can only be given an object of fields, not 7"),
    ] {
        if misuse == "negative" {
            // Two are there: one less still fits, three less do not.
            for _ in 0..2 {
                assert_eq!(
                    run(&engine, submission("state", json!(misuse)))
                        .await
                        .last()
                        .expect("records")
                        .0
                        .kind
                        .0,
                    30
                );
            }
        }
        let records = run(&engine, submission("state", json!(misuse))).await;
        let Some((_, Fact::RequestFailed(failed))) = records.last() else {
            panic!("{misuse}: {records:?}")
        };
        assert_eq!(failed.code, "invalid_state", "{misuse}");
        assert!(failed.message.contains(part), "{misuse}: {}", failed.message);
        assert!(!kinds(&records).contains(&24), "{misuse} was recorded");
    }
}

#[tokio::test]
async fn bad_input_lists_every_problem_and_leaves_nothing() {
    let engine = engine(Puppet::new(said("a"))).await;
    let bad = Submission {
        user: String::new(),
        ..submission("chat", json!({"message": "", "mood": 12}))
    };
    let Err(SubmitError::Invalid { details }) = engine.submit(bad).await else {
        panic!("accepted")
    };
    let mut paths: Vec<&str> = details.iter().map(|problem| problem.path.as_str()).collect();
    paths.sort_unstable();
    assert_eq!(paths, ["input.message", "input.mood", "user"]);
    assert!(matches!(
        engine
            .submit(Submission {
                input: None,
                ..submission("chat", Value::Null)
            })
            .await,
        Err(SubmitError::Invalid { .. })
    ));
    assert!(matches!(
        engine.submit(submission("shout", json!({}))).await,
        Err(SubmitError::UnknownAction { known, .. }) if known == ["chat", "state", "panic"]
    ));
    assert!(matches!(
        engine.submit(Submission { flow: "nope".into(), ..submission("chat", json!({})) }).await,
        Err(SubmitError::UnknownFlow(kind)) if kind == "nope"
    ));
    assert!(
        engine
            .session(&Principal::default(), "s1")
            .await
            .expect("readable")
            .is_none()
    );
}

#[tokio::test]
async fn a_session_is_kept_to_its_user_flow_and_project() {
    let engine = engine(Puppet::new(said("a"))).await;
    let first = Submission {
        project: Some("p".into()),
        ..submission("chat", json!({"message": "hi"}))
    };
    run(&engine, first.clone()).await;
    run(
        &engine,
        Submission {
            project: None,
            ..first.clone()
        },
    )
    .await;
    for (what, wrong) in [
        (
            "user",
            Submission {
                user: "bob".into(),
                ..first.clone()
            },
        ),
        (
            "flow",
            Submission {
                flow: "other".into(),
                action: "echo".into(),
                ..first.clone()
            },
        ),
        (
            "project",
            Submission {
                project: Some("q".into()),
                ..first.clone()
            },
        ),
    ] {
        let outcome = engine.submit(wrong).await;
        assert!(
            matches!(&outcome, Err(SubmitError::SessionMismatch { what: said, .. }) if said.contains(what)),
            "{outcome:?}"
        );
    }
    let detail = engine
        .session(&Principal::default(), "s1")
        .await
        .expect("readable")
        .expect("a session");
    assert_eq!(
        (detail.summary.project.as_deref(), detail.summary.requests),
        (Some("p"), 2)
    );
    let elsewhere = Submission {
        principal: Principal::new("tenant"),
        user: "bob".into(),
        ..first
    };
    assert!(
        engine.submit(elsewhere).await.is_ok(),
        "another principal's session of the same id is another session"
    );
}

#[tokio::test]
async fn a_request_id_is_taken_once_and_known_under_its_flow_only() {
    let engine = engine(Puppet::new(said("a"))).await;
    let first = Submission {
        request: Some("r/1".into()),
        ..submission("chat", json!({"message": "hi"}))
    };
    run(&engine, first.clone()).await;
    let again = Submission {
        session: Some("s2".into()),
        ..first
    };
    assert!(matches!(engine.submit(again).await, Err(SubmitError::RequestIdTaken(id)) if id == "r/1"));
    assert!(
        engine
            .session(&Principal::default(), "s2")
            .await
            .expect("readable")
            .is_none(),
        "no session for nothing"
    );
    let principal = Principal::default();
    let found = engine
        .request(&principal, "chat", "r/1", Duration::ZERO)
        .await
        .expect("readable");
    assert_eq!(found.map(|request| request.row.status), Some(RequestStatus::Completed));
    assert!(
        engine
            .request(&principal, "other", "r/1", Duration::ZERO)
            .await
            .expect("readable")
            .is_none()
    );
    assert!(
        engine
            .request(&principal, "chat", "r/2", Duration::from_millis(1))
            .await
            .expect("readable")
            .is_none()
    );
}

#[tokio::test]
async fn a_panic_fails_the_request_with_an_error_item_and_nothing_else() {
    let engine = engine(Puppet::new(said("a"))).await;
    let records = run(&engine, submission("panic", Value::Null)).await;
    assert_eq!(kinds(&records), [17, 18, 19, 23, 31]);
    let Some((_, Fact::RequestFailed(failed))) = records.last() else {
        panic!("{records:?}")
    };
    assert!(failed.code == "panic" && failed.message.contains("boom"), "{failed:?}");
    let items = snapshot(&engine, "s1").await.items.expect("items");
    assert_eq!(
        (items[0].status, items[0].body.type_name()),
        (ItemStatus::Failed, "error")
    );
    run(&engine, submission("state", json!("go"))).await;
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_closed_as_failed_with_what_came() {
    let error = ModelError {
        model: "puppet".into(),
        message: "overloaded".into(),
        retryable: true,
    };
    for (events, message) in [
        (
            vec![
                Ok(ModelEvent::Text("Tea".into())),
                Ok(ModelEvent::Text(" is".into())),
                Err(error),
            ],
            "overloaded",
        ),
        (
            vec![Ok(ModelEvent::Text("Tea".into())), Ok(ModelEvent::Text(" is".into()))],
            "broke off",
        ),
    ] {
        let engine = engine(Puppet::new(events)).await;
        let records = run(&engine, submission("chat", json!({"message": "Why tea?"}))).await;
        assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 23, 19, 23, 31]);
        let Some((_, Fact::RequestFailed(failed))) = records.last() else {
            panic!("{records:?}")
        };
        assert!(
            failed.code == "model_error" && failed.retryable && failed.message.contains(message),
            "{failed:?}"
        );
        let closed = records.iter().find_map(|(record, fact)| match fact {
            Fact::ItemCompleted(completed) if completed.item.index == 1 => Some(record.origin),
            _ => None,
        });
        assert!(
            closed.is_some_and(|origin| origin != 0),
            "the block closes its own item"
        );
        let items = snapshot(&engine, "s1").await.items.expect("items");
        let ends: Vec<_> = items
            .iter()
            .map(|item| (item.index, item.status, text(&item.body)))
            .collect();
        assert_eq!(ends[0], (0, ItemStatus::Completed, "Why tea?".into()));
        assert_eq!(ends[1], (1, ItemStatus::Failed, "Tea is".into()));
        assert_eq!((ends[2].0, ends[2].1), (2, ItemStatus::Failed));
    }
}

#[tokio::test]
async fn a_model_is_never_asked_nothing() {
    let model = Puppet::new(said("a"));
    let asked = model.asked.clone();
    let engine = engine(model).await;
    let nothing = Submission {
        flow: "other".into(),
        ..submission("mute", Value::Null)
    };
    let records = run(&engine, nothing).await;
    assert_eq!(kinds(&records), [17, 18, 19, 23, 31]);
    assert!(
        matches!(&records.last().expect("records").1, Fact::RequestFailed(failed) if failed.code == "empty_prompt")
    );
    assert!(asked.lock().is_empty());
}

#[tokio::test]
async fn a_snapshot_shows_a_running_answer_as_far_as_it_is() {
    let engine = engine(Puppet::hanging_after("Tea is")).await;
    let accepted = engine
        .submit(submission("chat", json!({"message": "Why tea?"})))
        .await
        .expect("accepted");
    let records = records_until(&engine, &accepted, |fact| matches!(fact, Fact::ContentDelta(_))).await;
    let request = find(&engine, &accepted).await;
    let snapshot = snapshot(&engine, "s1").await;
    let items = snapshot.items.expect("items");
    assert_eq!(snapshot.total, 2);
    assert_eq!(
        (items[1].status, text(&items[1].body).as_str()),
        (ItemStatus::InProgress, "Tea is")
    );
    assert_eq!(items[1].id, format!("item_{}_1", request.sub.id));
    assert_eq!(items[1].request, accepted.request);
    assert_eq!(request.row.status, RequestStatus::InProgress);
    assert_eq!(records.len() as u64, request.sub.count);
    assert!(engine.hidden_items(&request).await.expect("readable").is_empty());
    engine.close().await;
}

#[tokio::test]
async fn closing_interrupts_runs_and_accepts_nothing_more() {
    let options = Options::in_memory();
    let engine = open(Puppet::hanging_after("Tea is"), &options).await;
    let accepted = engine
        .submit(submission("chat", json!({"message": "Why tea?"})))
        .await
        .expect("accepted");
    records_until(&engine, &accepted, |fact| matches!(fact, Fact::ContentDelta(_))).await;
    engine.close().await;
    assert!(matches!(
        engine.submit(submission("state", json!("go"))).await,
        Err(SubmitError::Unavailable { .. })
    ));
    drop(engine);

    let engine = open(Puppet::new(said("a")), &options).await;
    let records = records_until(&engine, &accepted, Fact::is_terminal).await;
    assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 23, 32]);
    assert!(
        matches!(&records.last().expect("records").1, Fact::RequestInterrupted(end) if end.reason.contains("engine"))
    );
}

#[test]
fn recovery_closes_what_a_dead_process_left_open() {
    let options = Options::in_memory();
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let dying = runtime();
    let accepted = dying.block_on(async {
        let engine = open(Puppet::hanging_after("Tea is"), &options).await;
        let accepted = engine
            .submit(submission("chat", json!({"message": "Why tea?"})))
            .await
            .expect("accepted");
        records_until(&engine, &accepted, |fact| matches!(fact, Fact::ContentDelta(_))).await;
        accepted
    });
    // The tasks of the run die with their runtime, and with them the last handle of the log.
    drop(dying);

    runtime().block_on(async {
        let engine = open(Puppet::new(said("a")), &options).await;
        let records = records_until(&engine, &accepted, Fact::is_terminal).await;
        assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 23, 32]);
        let items = snapshot(&engine, "s1").await.items.expect("items");
        assert_eq!(
            (items[1].status, text(&items[1].body).as_str()),
            (ItemStatus::Incomplete, "Tea is")
        );
        assert_eq!(find(&engine, &accepted).await.row.status, RequestStatus::Interrupted);
        engine.close().await;
        drop(engine);

        let engine = open(Puppet::new(said("a")), &options).await;
        let again = records_until(&engine, &accepted, Fact::is_terminal).await;
        assert_eq!(again.len(), records.len(), "a closed request is left alone");
        run(&engine, submission("chat", json!({"message": "And now?"}))).await;
        engine.close().await;
    });
}

#[tokio::test]
async fn sessions_are_listed_newest_first_by_user_and_flow() {
    // Its clock moves by a millisecond whenever it is asked.
    let options = Options {
        env: Arc::new(SeededEnv::new(1)),
        ..Options::in_memory()
    };
    let engine = open(Puppet::new(said("a")), &options).await;
    for (session, user, flow, action) in [
        ("1", "ann", "chat", "state"),
        ("2", "bob", "chat", "state"),
        ("3", "ann", "other", "echo"),
        ("1", "ann", "chat", "state"),
    ] {
        let (session, user, flow) = (Some(session.into()), user.into(), flow.into());
        run(
            &engine,
            Submission {
                session,
                user,
                flow,
                ..submission(action, json!("go"))
            },
        )
        .await;
    }
    let list = async |user: Option<&str>, flow: Option<&str>, limit, offset| {
        let query = SessionQuery {
            user: user.map(Into::into),
            flow: flow.map(Into::into),
            limit,
            offset,
        };
        let sessions = engine.sessions(&Principal::default(), &query).await.expect("readable");
        sessions.into_iter().map(|summary| summary.session).collect::<Vec<_>>()
    };
    assert_eq!(list(None, None, None, 0).await, ["1", "3", "2"]);
    assert_eq!(list(Some("ann"), None, None, 0).await, ["1", "3"]);
    assert_eq!(list(None, Some("chat"), None, 1).await, ["2"]);
    assert_eq!(list(None, None, Some(1), 1).await, ["3"]);
    assert!(list(Some("an"), None, None, 0).await.is_empty());
}

#[tokio::test]
async fn flows_and_models_that_do_not_fit_together_are_all_named() {
    let asks = generator::<Value>("g").model("gpt").user(|_, _| "hi".into());
    let asking = flow("chat").action("a", action(asks)).instance("i").expect("a flow");
    let builder = Engine::builder()
        .flow(chat_flow())
        .flow(asking)
        .model(Arc::new(Puppet::new(Vec::new())));
    let error = builder
        .model(Arc::new(Puppet::new(Vec::new())))
        .open(Options::in_memory())
        .await
        .err()
        .expect("an error");
    let text = error.to_string();
    for part in [
        "two flows have the kind \"chat\"",
        "two models have the name \"puppet\"",
        "no model is named \"gpt\"",
    ] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
}

#[tokio::test]
async fn a_caller_who_goes_away_stops_nothing() {
    let engine = engine(Puppet::new(said("a"))).await;
    let id = "left";
    let mut submitting = Box::pin(engine.submit(Submission {
        request: Some(id.into()),
        ..submission("chat", json!({"message": "hi"}))
    }));
    assert!((&mut submitting).now_or_never().is_none());
    drop(submitting);
    let found = engine
        .request(&Principal::default(), "chat", id, Duration::from_secs(10))
        .await;
    let request = found.expect("readable").expect("accepted all the same");
    let mut follow = engine.log().follow_sub(&request.sub, 0).await.expect("a cursor");
    loop {
        let page = tokio::time::timeout(Duration::from_secs(10), follow.page()).await;
        let page = page.expect("in time").expect("records");
        if page.iter().any(|record| record.kind.0 == 30) {
            break;
        }
    }
}

#[tokio::test]
async fn requests_that_race_for_a_new_session_all_get_in() {
    let engine = engine(Puppet::new(said("a"))).await;
    let submissions = (0..8).map(|_| engine.submit(submission("state", json!("go"))));
    let accepted = futures_util::future::join_all(submissions).await;
    for accepted in accepted {
        records_until(&engine, &accepted.expect("accepted"), Fact::is_terminal).await;
    }
    assert_eq!(snapshot(&engine, "s1").await.client_data["session"]["turns"], json!(16));
    let detail = engine
        .session(&Principal::default(), "s1")
        .await
        .expect("readable")
        .expect("a session");
    assert_eq!(detail.summary.requests, 8);
}

#[tokio::test]
async fn what_is_too_large_for_a_record_fails_the_request_and_is_said() {
    let mut options = Options::in_memory();
    options.limits.payload_bytes_max = 4 << 10;
    let piece = "\u{1}".repeat(100);
    let events = vec![Ok(ModelEvent::Text(piece.clone())); 40];
    let engine = open(Puppet::new(events), &options).await;

    let records = run(&engine, submission("chat", json!({"message": "hi"}))).await;
    assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 23, 19, 23, 31]);
    let Some((_, Fact::RequestFailed(failed))) = records.last() else {
        panic!("{records:?}")
    };
    assert_eq!(failed.code, "item_too_large");
    let deltas = records.iter().filter(|(record, _)| record.kind.0 == 21).count();
    assert!(deltas > 0);
    let items = snapshot(&engine, "s1").await.items.expect("items");
    assert_eq!(
        (items[1].status, text(&items[1].body)),
        (ItemStatus::Failed, piece.repeat(deltas))
    );

    let long = |field: &str| Submission {
        flow: "other".into(),
        session: Some("s2".into()),
        ..submission(field, json!("x".repeat(3 << 10)))
    };
    for action in ["twice", "complain"] {
        let records = run(&engine, long(action)).await;
        assert_eq!(kinds(&records), [17, 18, 19, 23, 31], "{action}");
        let Some((_, Fact::RequestFailed(failed))) = records.last() else {
            panic!("{records:?}")
        };
        assert_eq!(failed.code, "record_refused", "{action}");
    }
    let too_long = Submission {
        input: Some(json!("x".repeat(5 << 10))),
        ..long("echo")
    };
    assert!(matches!(
        engine.submit(too_long).await,
        Err(SubmitError::Invalid { .. })
    ));
}

#[tokio::test]
async fn a_full_disk_leaves_no_hole_in_a_request_and_it_is_closed_when_there_is_room() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let mut options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    options.limits.segment_bytes = 1 << 20;
    options.limits.commit_bytes_max = 1 << 20;
    options.limits.payload_bytes_max = 900 << 10;
    // Far more than the slots that are ready when the disk is full.
    let pieces: Vec<String> = (0..40_000).map(|n| format!("{n},")).collect();
    let whole = pieces.concat();
    let events = pieces.into_iter().map(ModelEvent::Text).map(Ok).collect();
    let engine = open(Puppet::new(events), &options).await;
    let accepted = engine.submit(submission("chat", json!({"message": "hi"}))).await;
    let accepted = accepted.expect("accepted");
    disk.fail(Call::Create, "", 0, std::io::ErrorKind::StorageFull, true);
    let refused = loop {
        match engine.submit(submission("state", json!("go"))).await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(
            &refused,
            SubmitError::Unavailable {
                remedy: Remedy::Retry,
                ..
            }
        ),
        "{refused}"
    );
    engine.close().await;
    drop(engine);
    disk.heal();

    let engine = open(Puppet::new(said("a")), &options).await;
    let records = records_until(&engine, &accepted, Fact::is_terminal).await;
    // The last record may just fit in what is left of the slot; else the next start has written it.
    match &records.last().expect("records").1 {
        Fact::RequestFailed(failed) => assert_eq!(failed.code, "log_full"),
        last => assert!(matches!(last, Fact::RequestInterrupted(_)), "{last:?}"),
    }
    let said: String = records.iter().filter_map(|(_, fact)| delta(fact)).collect();
    assert!(
        !said.is_empty() && said.len() < whole.len(),
        "the disk was full in the middle of the answer"
    );
    assert!(whole.starts_with(&said), "no delta is missing between others");
    let items = snapshot(&engine, "s1").await.items.expect("items");
    assert!(items.iter().any(|item| item.index == 1 && text(&item.body) == said));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_ends_while_the_disk_is_full_is_closed_when_there_is_room_again() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let mut options = Options {
        disk: Arc::new(disk.clone()),
        ..Options::in_memory()
    };
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 900 << 10;
    let gate = Arc::new(tokio::sync::Notify::new());
    let ends = gate.clone();
    let waits = move |_: Value, _: Ctx| {
        let ends = ends.clone();
        async move {
            ends.notified().await;
            Ok("done".to_owned())
        }
    };
    let app = flow("chat")
        .action("wait", action(waits))
        .instance("default")
        .expect("a flow");
    let engine = Engine::builder().flow(app).open(options).await.expect("open");
    let accepted = engine.submit(submission("wait", json!({}))).await.expect("accepted");
    records_until(&engine, &accepted, |fact| matches!(fact, Fact::RequestStarted(_))).await;

    // No further segment can be made, and what is left of this one is used up by somebody else.
    disk.fail(Call::Write, "slot-000003", 0, std::io::ErrorKind::StorageFull, true);
    let fill = async |bytes: usize| {
        let record = flowstate_log::append::NewRecord {
            kind: flowstate_log::record::Kind(999),
            subject: Default::default(),
            sub: None,
            causation: [0; 16],
            origin: 0,
            payload: vec![b'x'; bytes].into(),
        };
        let name = flowstate_log::record::Name::new("", "filler").expect("a name");
        let part = flowstate_log::append::Part {
            stream: flowstate_log::append::Target::Name(name),
            expect: Vec::new(),
            records: vec![record],
        };
        let append = flowstate_log::append::Append::of(vec![part]);
        engine.log().append(append).await.expect("queue").await
    };
    for size in [100 << 10, 10 << 10, 1 << 10, 100, 1] {
        while fill(size).await.is_ok() {}
    }
    gate.notify_one();
    let ended = records_until(&engine, &accepted, Fact::is_terminal);
    tokio::pin!(ended);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut ended).await;
    assert!(early.is_err(), "there is no room for it");
    disk.heal();
    let ended = tokio::time::timeout(Duration::from_secs(30), ended).await;
    let records = ended.expect("it is closed, without a restart");
    // What the block recorded of it was lost with the append that found no room.
    assert_eq!(output(&engine, &records).await, Some(json!("done")));
}
