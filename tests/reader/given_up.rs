//! What streams gave up leaves a chain that holds.

use flowstate_log::append::Append;
use flowstate_tests::log::{name, note, part};
use serde_json::{Value, json};

use crate::compare::{compared, line};
use crate::data::{Data, durable, found, no_python, payload, python, tiny};

/// A log that was written by other hands, from the docs: what its streams gave up is gone after the clustering.
async fn forged(arguments: &[&str]) -> Data {
    let data = Data::new();
    let output = python("forge.py", &[&[data.path()], arguments].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    data.is_intact();
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_holds_over_what_was_given_up() {
    if no_python() {
        return;
    }
    let data = forged(&[]).await;
    let log = data.open(tiny());
    for turn in 0..100 {
        durable(
            &log,
            Append::of(vec![part("filler", vec![note(payload(turn).repeat(3))])]),
        )
        .await;
    }
    let kept = |name: &'static str, from: u64| {
        let log = log.clone();
        async move {
            let stream = log.stream(&self::name(name)).await.expect("names").expect("the stream");
            let mut records = Vec::new();
            loop {
                let page = log.read(stream, from + records.len() as u64, 10).await.expect("read");
                if page.is_empty() {
                    break;
                }
                records.extend(page);
            }
            (stream, records)
        }
    };
    let (trimmed, records) = kept("trimmed", 4).await;
    assert_eq!(
        records.iter().map(|record| record.position).collect::<Vec<_>>(),
        [4, 5, 6]
    );
    let (fork, shared) = kept("fork", 1).await;
    assert!(shared[0].erased && !shared[1].erased);
    log.close().await;
    drop(log);
    let said = data.is_intact();
    assert_eq!((&said["dropped"], &said["erased"]), (&json!(5), &json!(2)));

    let dumped = |stream: &str| -> Vec<Value> {
        let output = python("flowstate_reader.py", &["dump", data.path(), "--stream", stream]);
        let lines = String::from_utf8(output.stdout).expect("UTF-8");
        lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    };
    for (name, stream, records) in [("trimmed", trimmed, &records), ("fork", fork, &shared)] {
        let said = dumped(&stream.to_string());
        assert_eq!(said.len(), records.len());
        for (said, record) in said.iter().zip(records) {
            let mut expected = line(&self::name(name), record);
            if record.erased {
                expected["payload"] = Value::Null;
                expected["erased"] = json!(true);
            }
            assert_eq!(compared(said, &expected), expected);
        }
    }
    for how in ["run-remove-middle", "run-alter", "run-remove-record"] {
        let copy = data.copy();
        copy.tamper(how, 0);
        found(&copy.verify(), "", how);
    }
}
