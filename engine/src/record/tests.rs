//! What is on disks: a change here is a change of every log there is.

use flowstate_log::record::{Extras, StreamId};
use serde_json::{Value, json};

use super::*;
use crate::item::Visibility;

fn record(kind: u16, payload: &Value) -> Record {
    Record {
        stream: StreamId([0; 16]),
        position: 1,
        sub: None,
        subject: Subject::NONE,
        kind: Kind(kind),
        commit: 1,
        index: 0,
        time_us: 0,
        causation: [0; 16],
        origin: 0,
        extras: Extras::default(),
        erased: false,
        payload: payload.to_string().into(),
    }
}

/// What is on disks: a change here is a change of every log there is.
#[test]
fn kinds_and_payloads_are_pinned() {
    let item = json!({"index": 1, "ts_ms": 2, "status": "failed",
        "provenance": {"block_name": "b", "instance": "r:root:0", "parent": "p", "phase": "main", "step_index": 3,
            "attempt": 0, "definition": "f/a/root"},
        "visibility": {"client": true, "history": false}, "owned_by": "r:root:0",
        "body": {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "t"}]}});
    let error = json!({"index": 0, "ts_ms": 0, "status": "in_progress",
        "provenance": {"block_name": "", "instance": "", "phase": "main"},
        "visibility": {"client": true, "history": true}, "transient": true,
        "body": {"type": "error", "message": "m", "code": "c", "details": [1]}});
    let part = json!({"type": "output_text", "text": "t"});
    let change = json!({"index": 1, "ts_ms": 2, "provenance": {"block_name": "b", "instance": "i", "phase": "main"},
        "owned_by": "r:root:0", "path": "n", "delta": {"n": 1}});
    let payloads = [
        (
            16,
            "SessionCreated",
            json!({"session": "s", "user": "u", "project": "p", "flow": "f", "flow_id": "i", "state": {"n": 1}}),
        ),
        (
            17,
            "RequestAccepted",
            json!({"request": "r", "session": "s", "flow": "f", "flow_id": "i", "action": "a", "user": "u",
            "project": "p", "input": 1, "metadata": {"k": 1}, "at_ms": 5}),
        ),
        (18, "RequestStarted", json!({})),
        (19, "ItemAdded", json!({"item": error})),
        (20, "ContentAdded", json!({"item": 1, "part": 0, "content": part})),
        (21, "ContentDelta", json!({"item": 1, "part": 0, "delta": "d"})),
        (22, "ContentDone", json!({"item": 1, "part": 0, "content": part})),
        (23, "ItemCompleted", json!({"item": item})),
        (
            24,
            "StateChanged",
            json!({"scope": "user", "op": {"inc": {"n": 1}}, "base": {"n": 5}, "flow": "f", "item": change}),
        ),
        (
            25,
            "ModelCalled",
            json!({"model": "m", "instance": "i", "step": 1, "system": ["p"], "history": {"from": 1, "to": 2},
            "said": [{"role": "system", "text": "t"}, {"role": "user", "parts": [{"type": "text", "text": "u"},
            {"type": "file", "media_type": "image/png", "data": "d", "filename": "f"}]}, {"role": "assistant", "parts": []},
            {"role": "tool", "results": [{"id": "c", "name": "t", "content": "r", "is_error": true}]}], "tools": ["t"]}),
        ),
        (
            26,
            "ModelReplied",
            json!({"model": "m", "instance": "i", "step": 1, "parts": [{"type": "said", "from": 1, "bytes": 2},
            {"type": "text", "text": "t"}, {"type": "reasoning", "item": 1, "text": "t", "native": {"format": "f", "value": 1}},
            {"type": "tool_use", "id": "c", "name": "t", "arguments": "{}", "native": {"format": "f", "value": 1}},
            {"type": "native", "format": "f", "value": 1}, {"type": "source", "item": 1}], "finish": "stop",
            "usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_tokens": 3, "cache_write_tokens": 4,
            "reasoning_tokens": 5}, "total": {"input_tokens": 1, "output_tokens": 2}, "item": 1}),
        ),
        (
            27,
            "StateNoted",
            json!({"scope": "project", "operation": "set", "item": change}),
        ),
        (
            28,
            "ModelFailed",
            json!({"model": "m", "instance": "i", "step": 1, "kind": "rate_limit", "message": "m", "status": 429,
            "retry_in_ms": 6}),
        ),
        (
            29,
            "ToolReturned",
            json!({"instance": "i", "step": 1, "call": 2, "same_as": 3, "item": 4, "content": "c", "is_error": true}),
        ),
        (30, "RequestCompleted", json!({"output": 1, "same_as": 2, "item": 3})),
        (
            31,
            "RequestFailed",
            json!({"code": "c", "message": "m", "details": 1, "retryable": true}),
        ),
        (32, "RequestInterrupted", json!({"reason": "r"})),
        (33, "RequestResumed", json!({"blocks": [3, 4]})),
        (
            40,
            "BlockStarted",
            json!({"path": "root", "block": "b", "kind": "handler", "attempt": 1, "phase": "work"}),
        ),
        (
            41,
            "BlockEnded",
            json!({"started": 3, "status": "failed", "output": 1, "same_as": 4, "item": 5, "error": {"code": "c",
            "message": "m", "details": 1, "retryable": true, "place": "root", "cause": {"code": "", "message": ""}},
            "retry_in_ms": 6}),
        ),
        (42, "RouteChosen", json!({"path": "root", "route": "a", "attempt": 1})),
        (43, "CancelRequested", json!({"request": "r"})),
        (
            44,
            "InstanceStateChanged",
            json!({"path": "root", "attempt": 1, "op": {"inc": {"n": 1}}}),
        ),
        // Bytes follow, of which there are none here.
        (45, "MediaStored", json!({"media_type": "audio/wav"})),
        (
            46,
            "ResourceCreated",
            json!({"at": {"scope": "user", "flow": "f", "resource": "files", "key": "files/a"}, "state": {"n": 1}}),
        ),
        (
            47,
            "ResourceChanged",
            json!({"at": {"scope": "session", "resource": "files", "key": "files/a", "of": 4}, "op": {"inc": {"n": 1}},
                "base": {"n": 3}, "item": change}),
        ),
        // The text follows, which is empty here.
        (
            48,
            "ResourceWritten",
            json!({"at": {"scope": "session", "resource": "plan"}, "item": change}),
        ),
        (
            49,
            "ResourceDeleted",
            json!({"at": {"scope": "session", "resource": "files", "key": "files/a", "of": 4}, "evicted": true}),
        ),
        (
            50,
            "ResourceAccessed",
            json!({"at": {"scope": "session", "resource": "files", "key": "files/a", "of": 4}}),
        ),
        (
            51,
            "ResourceNoted",
            json!({"scope": "user", "path": "files/a", "change": "deleted", "item": change}),
        ),
        (
            52,
            "SessionDescribed",
            json!({"title": "t", "description": "d", "tags": ["a"], "metadata": {"k": 1}}),
        ),
    ];
    let names: Vec<_> = payloads.iter().map(|(kind, name, _)| (*kind, *name)).collect();
    assert_eq!(
        KINDS.iter().map(|info| (info.kind.0, info.name)).collect::<Vec<_>>(),
        names
    );
    for (kind, name, payload) in payloads {
        let fact = decode(&record(kind, &payload)).expect(name);
        assert_eq!(fact.kind().0, kind);
        let encoded = fact.encode().expect(name);
        assert_eq!(serde_json::from_slice::<Value>(&encoded).ok(), Some(payload), "{name}");
    }
}

#[test]
fn stored_bytes_follow_a_line_that_says_what_they_are() {
    for bytes in [&b"\n\0{}\n\xff"[..], b"", b"\n"] {
        let media = MediaStored {
            media_type: "audio/\nmpeg".into(),
            bytes: Bytes::copy_from_slice(bytes),
        };
        let payload = Fact::from(media.clone()).encode().expect("a payload");
        let line = &br#"{"media_type":"audio/\nmpeg"}"#[..];
        assert_eq!(payload, [line, b"\n", bytes].concat());
        let mut record = record(45, &json!(null));
        record.payload = payload;
        assert_eq!(decode(&record), Ok(Fact::MediaStored(media)));
    }
    let mut record = record(45, &json!(null));
    record.payload = Bytes::from_static(br#"{"later": 1}"#);
    assert_eq!(decode(&record), Ok(Fact::MediaStored(MediaStored::default())));
    let refers =
        json!({"type": "output_audio", "media_type": "audio/wav", "stored": 7, "transcript": "t", "duration": 1.5});
    let part = serde_json::from_value::<crate::item::ContentPart>(refers.clone()).expect("a part");
    assert_eq!(serde_json::to_value(part).ok(), Some(refers));
}

#[test]
fn missing_fields_default_and_unknown_ones_are_ignored() {
    let accepted = decode(&record(17, &json!({"request": "r", "later": true})));
    let expected = RequestAccepted {
        request: "r".into(),
        ..RequestAccepted::default()
    };
    assert_eq!(accepted, Ok(Fact::RequestAccepted(expected)));
    let bare = json!({"item": {"body": {"type": "message", "role": "user", "later": 1}}});
    let Ok(Fact::ItemCompleted(ItemCompleted { item })) = decode(&record(23, &bare)) else {
        panic!("a bare item is an item");
    };
    assert_eq!(
        item.visibility,
        Visibility {
            client: true,
            history: false
        }
    );
}

#[test]
fn what_has_no_meaning_is_named_with_its_place() {
    assert_eq!(
        decode(&record(99, &json!({}))),
        Err(DecodeError::UnknownKind {
            kind: Kind(99),
            position: 1
        })
    );
    let error = decode(&record(21, &json!({"delta": 7}))).expect_err("a number is no text");
    assert!(error.to_string().contains("position 1 (kind 21)"), "{error}");
}
