//! Panics, answers that break off, and records that are too large.

use flowstate_engine::item::ItemStatus;
use flowstate_engine::model::{ModelError, ModelErrorKind, ModelEvent};
use flowstate_engine::record::Fact;
use flowstate_engine::{Submission, SubmitError};
use flowstate_log::Options;
use serde_json::{Value, json};

use crate::support::{Puppet, engine, kinds, open, run, said, snapshot, submission, text};

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
    let error = ModelError::new("puppet", ModelErrorKind::Provider, "overloaded");
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
        assert_eq!(kinds(&records), [17, 18, 19, 23, 25, 19, 20, 21, 23, 28, 19, 23, 31]);
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
