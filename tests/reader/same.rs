//! The reader and the log read the same, wherever the records lie.

use std::path::Path;

use bytes::Bytes;
use flowstate_log::Log;
use flowstate_log::append::{Append, Part, Target};
use flowstate_log::record::{IdempotencyKey, Name, SubStreamId, Subject};
use flowstate_tests::log::{name, note, part, sub_note};
use serde_json::json;

use crate::compare::reads_the_same;
use crate::data::{Data, durable, no_python, payload, roomy, scripts, tiny};
use crate::tampering::tampering_with_runs_is_found;

/// Streams of every shape, spread over as many segments as it takes for most of them to be in runs.
async fn write_much(log: &Log, salt: u64) {
    let sub = SubStreamId([salt as u8 + 1; 16]);
    let opening = sub_note(sub, Some(&format!("req:{salt}")), "{\"input\":\"hi\"}");
    let owned = Name::new("ann", &format!("owned/{salt}")).expect("a name");
    let large = Bytes::from(
        payload(salt)
            .repeat(40)
            .iter()
            .copied()
            .chain([1; 20_000])
            .collect::<Vec<_>>(),
    );
    let mut first = Append::of(vec![
        part("session/a", vec![note("{}"), opening]),
        Part {
            stream: Target::Name(owned.clone()),
            expect: Vec::new(),
            records: vec![note(large.clone()), note(large)],
        },
    ]);
    first.key = IdempotencyKey::new(format!("key {salt}").as_bytes());
    let streams = durable(log, first).await;
    durable(
        log,
        Append::of(vec![part(&format!("brief/{salt}"), vec![note("only")])]),
    )
    .await;
    for turn in 0..80 {
        let mut about = sub_note(sub, None, payload(3 * turn));
        (about.subject, about.origin, about.causation) = (Subject(2), turn, sub.0);
        let notes = (0..turn % 5).map(|at| note(payload(turn + at))).collect::<Vec<_>>();
        let mut parts = vec![part("session/a", vec![about])];
        if !notes.is_empty() {
            parts.push(part(&format!("session/{}", turn % 4), notes));
        }
        durable(log, Append::of(parts)).await;
        durable(log, Append::of(vec![part("alone", vec![note(payload(turn))])])).await;
        if turn == 60 {
            let fork = Part {
                stream: Target::Fork {
                    name: name(&format!("fork/{salt}")),
                    parent: streams[0],
                    position: 20,
                },
                expect: Vec::new(),
                records: vec![note("of the fork")],
            };
            let forked = durable(log, Append::of(vec![fork])).await;
            let again = Part {
                stream: Target::Fork {
                    name: name(&format!("fork of a fork/{salt}")),
                    parent: forked[0],
                    position: 21,
                },
                expect: Vec::new(),
                records: vec![note("of the fork's fork"), note(payload(9).repeat(9))],
            };
            durable(log, Append::of(vec![again])).await;
        }
    }
}

fn names(salt: u64) -> Vec<Name> {
    let plain = ["session/a", "session/0", "session/1", "session/2", "session/3", "alone"].map(str::to_owned);
    let forks = ["fork", "fork of a fork", "brief"].map(|text| format!("{text}/{salt}"));
    let owned = Name::new("ann", &format!("owned/{salt}")).expect("a name");
    let plain = plain.iter().chain(&forks).map(|text| name(text));
    plain.chain([owned]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_written_from_the_docs_reads_what_the_log_reads() {
    if no_python() {
        return;
    }
    let data = Data::new();
    let log = data.open(tiny());
    write_much(&log, 0).await;
    let tip = log.last_commit();
    log.close().await;
    drop(log);
    assert!(data.runs() > 0, "the clustering made runs");
    let said = data.is_intact();
    assert_eq!((&said["commit"], &said["unchained"]), (&json!(tip), &json!(0)));
    reads_the_same(&data, &names(0), tiny()).await;

    // The same after another start, with more in it.
    let log = data.open(tiny());
    write_much(&log, 1).await;
    log.close().await;
    drop(log);
    data.is_intact();
    let mut all = names(0);
    all.extend(
        names(1)
            .into_iter()
            .filter(|name| name.name().ends_with("/1") && !name.name().starts_with("session")),
    );
    reads_the_same(&data, &all, tiny()).await;
    tampering_with_runs_is_found(&data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_format_1_that_was_written_on_from_reads_the_same() {
    if no_python() {
        return;
    }
    let data = Data::new();
    data.copy_from(&Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/log-v1"));
    assert_eq!(data.is_intact()["unchained"], 3);
    let log = data.open(tiny());
    write_much(&log, 0).await;
    log.close().await;
    drop(log);
    assert!(data.runs() > 0, "the clustering made runs");
    assert_eq!(data.is_intact()["unchained"], 3);
    let mut all = names(0);
    all.extend([name("session/s"), name("other")]);
    reads_the_same(&data, &all, tiny()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_open_is_refused_and_a_copy_of_it_reads() {
    if no_python() {
        return;
    }
    let data = Data::new();
    let log = data.open(roomy());
    durable(&log, Append::of(vec![part("s", vec![note("one")])])).await;
    assert_eq!(data.verify().status.code(), Some(2));
    data.copy().is_intact();
    log.close().await;
}

#[test]
fn the_reader_knows_every_kind() {
    let kinds = std::fs::read_to_string(scripts().join("kinds.py")).expect("read");
    for info in flowstate_engine::record::KINDS {
        let line = format!("    {}: \"{}\",\n", info.kind.0, info.name);
        assert!(kinds.contains(&line), "kinds.py lacks {line}");
    }
}
