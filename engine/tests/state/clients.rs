//! What clients are told of a state while it changes, and what they find in a snapshot.

use flowstate_engine::item::{Item, ItemBody};
use flowstate_engine::record::{Fact, ScopeKind};
use flowstate_engine::{Principal, SnapshotQuery, Submission};
use flowstate_log::record::SubStreamId;
use serde_json::{Value, json};

use super::support::*;
use flowstate_engine::prelude::*;

/// Scope, operation, path and delta of each change, as clients are told.
fn told(records: &[(flowstate_log::record::Record, Fact)]) -> Vec<Value> {
    let items = records
        .iter()
        .filter_map(|(record, fact)| Item::of_change(SubStreamId([1; 16]), "r", record, fact));
    let mut indices = Vec::new();
    let told = items.map(|item| {
        assert!(item.transient && item.visibility.client && !item.visibility.history);
        assert_eq!(item.provenance.block_name, "inline");
        indices.push(item.index);
        let ItemBody::StateChange(change) = item.body else {
            panic!("{:?}", item.body)
        };
        assert!(change.version > 0);
        json!([change.scope.as_str(), change.operation, change.path, change.delta])
    });
    let told = told.collect();
    assert!(indices.is_sorted_by(|a, b| a < b), "{indices:?}");
    told
}

#[tokio::test]
async fn clients_learn_which_scope_changed_and_values_only_of_exposed_fields() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let session = ctx.session::<State>();
            session.inc("n", 2).await?;
            session.inc_all([("n", 1), ("m", 1)]).await?;
            session.push("list", 7).await?;
            session.record_set("map", "k", 1).await?;
            session.record_delete("map", "k").await?;
            session.patch(json!({"word": "tea", "m": 2})).await?;
            session.atomic(|state| State { m: 9, ..state }).await?;
            session.set(State::default()).await?;
            let user = ctx.user::<State>();
            user.push("list", 1).await?;
            user.inc("n", 1).await?;
            ctx.request_state::<State>().inc("n", 1).await?;
            Ok(Value::Null)
        })
        .request(scope::<State>())
        .session(scope::<State>().expose("m").expose("map"))
        .user(scope::<State>().expose("list")),
    )
    .await;
    let records = records(&engine, to("f", "ann", "s", Value::Null)).await;
    assert_eq!(
        told(&records),
        [
            json!(["session", "increment", null, null]),
            json!(["session", "increment", null, {"m": 1}]),
            json!(["session", "push", null, null]),
            json!(["session", "patch", "map.k", {"map": {"k": 1}}]),
            json!(["session", "delete_key", "map.k", {"map": "k"}]),
            json!(["session", "patch", null, {"m": 2}]),
            json!(["session", "atomic", null, null]),
            json!(["session", "set", null, {"m": 0}]),
            json!(["user", "push", "list", 1]),
            json!(["user", "increment", null, null]),
            json!(["request", "increment", null, null]),
        ]
    );
    let noted = records.iter().any(|(_, fact)| match fact {
        Fact::StateChanged(change) => change.scope == ScopeKind::User,
        _ => false,
    });
    assert!(!noted, "what a user's state became is in the user's stream only");
}

#[tokio::test]
async fn a_snapshot_has_what_the_session_the_user_and_the_project_show() {
    let shown = || {
        scope::<State>()
            .expose("n")
            .client_data("double", |state: &State| state.n * 2)
    };
    let engine = engine(
        going("f", |_, ctx| async move {
            ctx.session::<State>().inc("n", 1).await?;
            ctx.user::<State>().inc("n", 2).await?;
            if let Some(project) = ctx.project::<State>() {
                project.inc("n", 3).await?;
            }
            Ok(Value::Null)
        })
        .session(shown())
        .user(shown())
        .project(shown()),
    )
    .await;
    let snapshot = async |session: &str| {
        let query = SnapshotQuery::default();
        let found = engine.snapshot(&Principal::default(), session, &query).await;
        json(found.expect("readable").expect("a session").client_data)
    };
    let in_project = Submission {
        project: Some("p".into()),
        ..to("f", "ann", "s", Value::Null)
    };
    run(&engine, in_project).await.expect("done");
    let entry = |n: i64| json!({"n": n, "double": 2 * n});
    assert_eq!(
        snapshot("s").await,
        json!({"session": entry(1), "user": entry(2), "project": entry(3)})
    );
    run(&engine, to("f", "ann", "t", Value::Null)).await.expect("done");
    assert_eq!(snapshot("t").await, json!({"session": entry(1), "user": entry(4)}));
}

#[tokio::test]
async fn versions_that_clients_are_told_rise_in_the_order_of_the_changes() {
    let engine = engine(
        going("f", |_, ctx| async move {
            let (session, user) = (ctx.session::<State>(), ctx.user::<State>());
            let mut versions = vec![session.inc("n", 1).await?.version()];
            user.inc("n", 1).await?;
            versions.push(session.set(State::default()).await?.version());
            user.atomic(|state| State {
                m: state.m + 7,
                ..state
            })
            .await?;
            Ok(json!(versions))
        })
        .session(scope::<State>())
        .user(scope::<State>()),
    )
    .await;
    let mut of_user = Vec::new();
    for session in ["a", "b"] {
        let records = records(&engine, to("f", "ann", session, Value::Null)).await;
        let mut of_session = Vec::new();
        for (record, fact) in &records {
            let told = Item::of_change(SubStreamId([1; 16]), "r", record, fact);
            if let Some(ItemBody::StateChange(change)) = told.map(|item| item.body) {
                match change.scope {
                    ScopeKind::User => of_user.push(change.version),
                    _ => of_session.push(change.version),
                }
            }
        }
        let Some((_, Fact::RequestCompleted(done))) = records.last() else {
            panic!("{records:?}")
        };
        assert_eq!(json!(of_session), output(&records, done), "what `Written` says");
    }
    let name = flowstate_log::record::Name::new("", "user/ann").expect("a name");
    let stream = engine.log().stream(&name).await.expect("names").expect("the user");
    let records = engine.log().read(stream, 1, 100).await.expect("records");
    let commits: Vec<u64> = records.iter().map(|record| record.commit).collect();
    assert_eq!(of_user, commits, "the commits of the changes in the user's stream");
    assert!(of_user.is_sorted_by(|a, b| a < b), "{of_user:?}");
}
