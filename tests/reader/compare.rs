//! What the reader says of records, against what the log gives for them.

use flowstate_log::limits::Limits;
use flowstate_log::record::{Name, Record};
use flowstate_tests::log::read_all;
use serde_json::{Value, json};

use crate::data::{Data, python};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the reader has to say of a record.
pub(crate) fn line(name: &Name, record: &Record) -> Value {
    let payload = match std::str::from_utf8(&record.payload) {
        Ok(text) => json!({ "payload": text }),
        Err(_) => json!({ "payload_hex": hex(&record.payload) }),
    };
    let extras = &record.extras;
    let some = |id: &[u8]| id.iter().any(|byte| *byte != 0).then(|| hex(id));
    json!({
        "stream": record.stream.to_string(),
        "principal": name.principal(),
        "name": name.name(),
        "position": record.position,
        "kind": record.kind.0,
        "subject": record.subject.0,
        "sub_stream": record.sub.map(|(id, _)| id.to_string()),
        "sub_number": record.sub.map_or(0, |(_, number)| number),
        "commit": record.commit,
        "index": record.index,
        "time_us": record.time_us,
        "causation": some(&record.causation),
        "origin": record.origin,
        "parent": extras.parent.map(|parent| json!({"stream": parent.stream.to_string(), "position": parent.position})),
        "repeatable": extras.repeatable.as_ref().map(|repeatable| json!({
            "key": hex(repeatable.key.bytes()),
            "fingerprint": repeatable.fingerprint,
            "parts": repeatable.parts.iter().map(|part| json!({
                "stream": part.stream.to_string(), "first": part.first, "last": part.last,
            })).collect::<Vec<_>>(),
        })),
        "blob": extras.blob.map(|blob| blob.address.to_string()),
        "payload": payload.get("payload"),
        "payload_hex": payload.get("payload_hex"),
    })
}

/// Every field that is compared, from what the reader says.
pub(crate) fn compared(said: &Value, like: &Value) -> Value {
    let fields = like.as_object().expect("an object").keys();
    fields.map(|key| (key.clone(), said[key].clone())).collect()
}

/// The reader's dump, against what the log gives for every stream that the dump names; the log is closed in between.
pub(crate) async fn reads_the_same(data: &Data, names: &[Name], limits: Limits) {
    let output = python("flowstate_reader.py", &["dump", data.path()]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let dump = String::from_utf8(output.stdout).expect("UTF-8");
    let said: Vec<Value> = dump
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();

    let log = data.open(limits);
    let mut streams = Vec::new();
    for name in names {
        let stream = log.stream(name).await.expect("names");
        streams.push((stream.unwrap_or_else(|| panic!("no stream {name:?}")), name));
    }
    streams.sort();
    let mut expected = Vec::new();
    for (stream, name) in streams {
        let records = read_all(&log, stream).await;
        expected.extend(records.iter().map(|record| line(name, record)));
    }
    log.close().await;
    assert!(expected.len() > 3);
    for (said, expected) in said.iter().zip(&expected) {
        assert_eq!(compared(said, expected), *expected);
    }
    assert_eq!(said.len(), expected.len(), "records that only one of the two has");
}
