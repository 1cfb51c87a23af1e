//! What an action leaves behind, and what clients and models see of it.

use std::collections::BTreeSet;

use flowstate_engine::item::ItemStatus;
use flowstate_engine::model::ScriptedModel;
use flowstate_engine::record::{Fact, HistoryRange, ModelCalled, SESSION_STATE};
use flowstate_engine::{Principal, RequestStatus, SnapshotQuery};
use serde_json::{Value, json};

use crate::support::{
    Puppet, delta, engine, find, kinds, output, records_until, run, said, snapshot, submission, text,
};

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
        system: Some(vec!["Be brief.".into()]),
        history: Some(HistoryRange {
            from: message,
            to: message,
        }),
        ..ModelCalled::default()
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
        .map(|message| format!("{}: {}", message.role().as_str(), message.text()))
        .collect();
    assert_eq!(
        texts,
        [
            "system: Be brief.",
            "user: Why tea?",
            "assistant: Because.",
            "user: Really?"
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
