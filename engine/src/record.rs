//! The facts that the engine appends: pinned kinds, and the structs whose JSON is a record's payload.
//! Fields may be added, never renamed; missing ones default and unknown ones are ignored, so every version reads every log.
//! What a client is sent is not here: the API makes its own types from these.

use bytes::Bytes;
use flowstate_log::record::{Kind, Record, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::error::BlockError;
use crate::item::{ContentPart, ItemBody, ItemStatus, Phase, Provenance, Visibility};
use crate::scope::{Fields, OpError, StateOp};

/// Subject of the records that change a session's state.
pub const SESSION_STATE: Subject = Subject(1);
/// Subject of the records that change a request's state.
pub const REQUEST_STATE: Subject = Subject(2);
/// Subject, in a user's or project's stream, of the records that change the state that all flows share.
pub const SHARED_STATE: Subject = Subject(3);

/// Subject, in a user's or project's stream, of the records that change the state of one kind of flow. Two kinds may have the same.
pub fn flow_state(flow: &str) -> Subject {
    let hash = xxh3_64(flow.as_bytes()).to_le_bytes();
    Subject(0x4000 | (u16::from_le_bytes([hash[0], hash[1]]) & 0x3fff))
}

/// Whether running a request again depends on a fact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replay {
    /// A run that is repeated from the log must find it.
    Replayed,
    /// It only describes what happened.
    Observed,
}

/// A kind of record, for documents and tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KindInfo {
    /// Its pinned number.
    pub kind: Kind,
    /// The fact's name.
    pub name: &'static str,
    /// Whether a repeated run depends on it.
    pub replay: Replay,
}

macro_rules! facts {
    ($($(#[$doc:meta])* $number:literal $name:ident $replay:ident;)*) => {
        /// One fact: what a record states.
        #[derive(Debug, Clone, PartialEq)]
        pub enum Fact {
            $($(#[$doc])* $name($name),)*
        }

        $(impl $name {
            /// The pinned kind.
            pub const KIND: Kind = Kind($number);
        }

        impl From<$name> for Fact {
            fn from(fact: $name) -> Self {
                Self::$name(fact)
            }
        })*

        /// Every kind that the engine appends, by number.
        pub const KINDS: &[KindInfo] = &[
            $(KindInfo { kind: $name::KIND, name: stringify!($name), replay: Replay::$replay },)*
        ];

        impl Fact {
            /// The kind of record that states it.
            pub fn kind(&self) -> Kind {
                match self {
                    $(Self::$name(_) => $name::KIND,)*
                }
            }

            /// The payload of such a record.
            pub(crate) fn encode(&self) -> Result<Bytes, serde_json::Error> {
                match self {
                    $(Self::$name(fact) => serde_json::to_vec(fact),)*
                }
                .map(Bytes::from)
            }
        }

        /// What a record states.
        pub fn decode(record: &Record) -> Result<Fact, DecodeError> {
            match record.kind {
                $($name::KIND => serde_json::from_slice(&record.payload).map(Fact::$name),)*
                kind => return Err(DecodeError::UnknownKind { kind, position: record.position }),
            }
            .map_err(|error| DecodeError::Payload {
                kind: record.kind,
                position: record.position,
                message: error.to_string(),
            })
        }
    };
}

facts! {
    /// Position 1 of a session's stream, in no request.
    16 SessionCreated Replayed;
    /// Number 1 of a request: what was asked, by whom.
    17 RequestAccepted Replayed;
    /// Number 2: the run began.
    18 RequestStarted Observed;
    /// An item exists.
    19 ItemAdded Replayed;
    /// An item has one more part.
    20 ContentAdded Replayed;
    /// A part has more text.
    21 ContentDelta Replayed;
    /// A part is whole.
    22 ContentDone Replayed;
    /// An item is final.
    23 ItemCompleted Replayed;
    /// A scope's state changed.
    24 StateChanged Replayed;
    /// A model was asked.
    25 ModelCalled Observed;
    /// A model answered; the text is in the item, stored once.
    26 ModelReplied Replayed;
    /// The request changed the state of its user or project: the operation is in that stream, in the same commit.
    27 StateNoted Observed;
    /// The last of a request that gave its output.
    30 RequestCompleted Replayed;
    /// The last of a request that failed.
    31 RequestFailed Replayed;
    /// The last of a request that was stopped.
    32 RequestInterrupted Replayed;
    /// A block began.
    40 BlockStarted Observed;
    /// A block ended.
    41 BlockEnded Replayed;
    /// A router chose.
    42 RouteChosen Replayed;
    /// Someone asked that a request be stopped; in the session's stream, in no request.
    43 CancelRequested Replayed;
    /// The state of one execution of a sequencer changed.
    44 InstanceStateChanged Replayed;
}

impl Fact {
    /// Whether nothing of a request comes after it.
    pub fn is_terminal(&self) -> bool {
        matches!(
            self,
            Self::RequestCompleted(_) | Self::RequestFailed(_) | Self::RequestInterrupted(_)
        )
    }
}

/// Why a record has no meaning here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Its kind is not one of [`KINDS`]: a newer version wrote it, or another program.
    #[error("the record at position {position} is of the unknown kind {}", kind.0)]
    UnknownKind {
        /// Its kind.
        kind: Kind,
        /// Its position.
        position: u64,
    },
    /// Its payload is not what its kind says.
    #[error("the record at position {position} (kind {}) can't be read: {message}", kind.0)]
    Payload {
        /// Its kind.
        kind: Kind,
        /// Its position.
        position: u64,
        /// What the JSON reader said.
        message: String,
    },
}

/// See [`Fact::SessionCreated`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionCreated {
    /// The session's id.
    pub session: String,
    /// Its user.
    pub user: String,
    /// Its project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// Kind of its flow.
    pub flow: String,
    /// Instance of its flow.
    pub flow_id: String,
    /// Its state before anything changed it.
    pub state: Value,
}

/// See [`Fact::RequestAccepted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestAccepted {
    /// The request's id.
    pub request: String,
    /// Its session.
    pub session: String,
    /// Kind of its flow.
    pub flow: String,
    /// Instance of its flow.
    pub flow_id: String,
    /// What was asked for.
    pub action: String,
    /// Who asked.
    pub user: String,
    /// The session's project.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The input as it was sent.
    pub input: Value,
    /// What the caller wants remembered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
    /// When it was asked: milliseconds since the Unix epoch.
    pub at_ms: i64,
}

/// See [`Fact::RequestStarted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestStarted {}

/// An item, at the time of the record that holds it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemRecord {
    /// Its number in the request, from 0.
    #[serde(default)]
    pub index: u32,
    /// When it was added: milliseconds since the Unix epoch.
    #[serde(default)]
    pub ts_ms: i64,
    /// How far it is.
    #[serde(default)]
    pub status: ItemStatus,
    /// What made it.
    #[serde(default)]
    pub provenance: Provenance,
    /// Who gets to see it.
    #[serde(default)]
    pub visibility: Visibility,
    /// Shown live only.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub transient: bool,
    /// The block instance of the container that it is in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owned_by: Option<String>,
    /// What it says.
    pub body: ItemBody,
}

/// See [`Fact::ItemAdded`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemAdded {
    /// The item as it begins.
    pub item: ItemRecord,
}

/// See [`Fact::ContentAdded`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentAdded {
    /// The item.
    #[serde(default)]
    pub item: u32,
    /// The part's number, from 0.
    #[serde(default)]
    pub part: u32,
    /// The part as it begins.
    pub content: ContentPart,
}

/// See [`Fact::ContentDelta`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ContentDelta {
    /// The item.
    pub item: u32,
    /// The part.
    pub part: u32,
    /// What it has more.
    pub delta: String,
}

/// See [`Fact::ContentDone`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContentDone {
    /// The item.
    #[serde(default)]
    pub item: u32,
    /// The part.
    #[serde(default)]
    pub part: u32,
    /// The whole part.
    pub content: ContentPart,
}

/// See [`Fact::ItemCompleted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ItemCompleted {
    /// The complete, final item.
    pub item: ItemRecord,
}

/// Whose state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScopeKind {
    /// One request's.
    Request,
    /// The session's.
    #[default]
    Session,
    /// The user's, in all sessions.
    User,
    /// The project's, for all users.
    Project,
}

impl ScopeKind {
    /// Its name: `request`, `session`, `user`, `project`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Session => "session",
            Self::User => "user",
            Self::Project => "project",
        }
    }
}

/// See [`Fact::StateChanged`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StateChanged {
    /// Whose state.
    pub scope: ScopeKind,
    /// What was done to it.
    pub op: StateOp,
    /// What the named fields begin as that it does not have.
    #[serde(skip_serializing_if = "Map::is_empty")]
    pub base: Fields,
    /// Of a user or project: the kind of flow whose state it is; absent if all flows share it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// How clients are told; absent in a user's or project's stream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<ChangeItem>,
}

impl StateChanged {
    /// Changes `state`, whole or not at all.
    pub(crate) fn apply_to(&self, state: &mut Fields) -> Result<(), OpError> {
        let missing = self.base.iter().filter(|(field, _)| !state.contains_key(*field));
        let missing: Vec<_> = missing.map(|(field, value)| (field.clone(), value.clone())).collect();
        for (field, value) in &missing {
            state.insert(field.clone(), value.clone());
        }
        let applied = self.op.apply_to(state);
        if applied.is_err() {
            missing.iter().for_each(|(field, _)| drop(state.remove(field)));
        }
        applied
    }
}

/// See [`Fact::StateNoted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StateNoted {
    /// Whose state.
    pub scope: ScopeKind,
    /// [`StateOp::name`] of what was done to it.
    pub operation: String,
    /// How clients are told.
    pub item: ChangeItem,
}

/// The item that tells clients of a change.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ChangeItem {
    /// Its number in the request, from 0.
    pub index: u32,
    /// When it was made: milliseconds since the Unix epoch.
    pub ts_ms: i64,
    /// What made it.
    pub provenance: Provenance,
    /// The field, or `field.key`; only of an exposed field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What changed; exposed fields only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delta: Option<Value>,
}

/// See [`Fact::ModelCalled`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelCalled {
    /// The model.
    pub model: String,
    /// The block instance that asked it.
    pub instance: String,
    /// The system prompt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Between which records the history lies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history: Option<HistoryRange>,
    /// The user's words, unless they end the history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// Positions in the session's stream, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct HistoryRange {
    /// Where the first item of the history was completed.
    pub from: u64,
    /// Where the last one was.
    pub to: u64,
}

/// See [`Fact::ModelReplied`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelReplied {
    /// The model.
    pub model: String,
    /// Why it ended, in its own word.
    pub finish: String,
    /// What it used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageRecord>,
    /// The item that has the text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
}

/// Tokens that a model call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct UsageRecord {
    /// Read.
    pub input_tokens: u64,
    /// Written.
    pub output_tokens: u64,
}

/// See [`Fact::RequestCompleted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestCompleted {
    /// What the action's block returned.
    pub output: Value,
}

/// See [`Fact::RequestFailed`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestFailed {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same request may succeed later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
}

/// See [`Fact::RequestInterrupted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RequestInterrupted {
    /// What stopped it.
    pub reason: String,
}

/// What a block is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockKind {
    /// One async function.
    #[default]
    Handler,
    /// It asks a model.
    Generator,
    /// A chain of steps.
    Sequencer,
    /// It runs one of several blocks.
    Router,
}

/// See [`Fact::BlockStarted`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockStarted {
    /// Its place in the run: `root/then[0]`.
    pub path: String,
    /// Its name.
    pub block: String,
    /// What it is.
    pub kind: BlockKind,
    /// How often it was tried before, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// Which part of the run it is in.
    #[serde(skip_serializing_if = "is_main")]
    pub phase: Phase,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

fn is_main(phase: &Phase) -> bool {
    *phase == Phase::Main
}

/// How a block ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlockStatus {
    /// It gave its output.
    #[default]
    Completed,
    /// It failed.
    Failed,
    /// It was stopped, because nothing waits for it any more.
    Cancelled,
}

/// See [`Fact::BlockEnded`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct BlockEnded {
    /// Number, in the request, of the record that says that it began.
    pub started: u64,
    /// How it ended.
    pub status: BlockStatus,
    /// What it gave, unless `same_as` or `item` says where that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Number of the record whose `output` is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub same_as: Option<u64>,
    /// The item whose text is what it gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub item: Option<u32>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorRecord>,
    /// After how many milliseconds it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_in_ms: Option<u64>,
}

/// Why a block failed.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorRecord {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// What else is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
    /// Whether the same may succeed later.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub retryable: bool,
    /// Path of the block instance where it came up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// What led to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<Box<ErrorRecord>>,
}

impl From<&BlockError> for ErrorRecord {
    fn from(error: &BlockError) -> Self {
        Self {
            code: error.code().to_owned(),
            message: error.message().to_owned(),
            details: error.details().cloned(),
            retryable: error.is_retryable(),
            place: error.place().map(str::to_owned),
            cause: error.cause().map(|cause| Box::new(cause.into())),
        }
    }
}

/// See [`Fact::RouteChosen`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct RouteChosen {
    /// Place of the router.
    pub path: String,
    /// Name of the route.
    pub route: String,
}

/// See [`Fact::InstanceStateChanged`].
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct InstanceStateChanged {
    /// Place of the sequencer.
    pub path: String,
    /// How often that was tried before, from 0.
    #[serde(skip_serializing_if = "is_zero")]
    pub attempt: u32,
    /// What was done to its state.
    pub op: StateOp,
}

/// See [`Fact::CancelRequested`]. The record's causation is the request's sub-stream.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CancelRequested {
    /// The request's id.
    pub request: String,
}

#[cfg(test)]
mod tests {
    use flowstate_log::record::{Extras, StreamId};
    use serde_json::json;

    use super::*;

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
            "path": "n", "delta": {"n": 1}});
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
                json!({"model": "m", "instance": "i", "prompt": "p", "history": {"from": 1, "to": 2}, "user": "u"}),
            ),
            (
                26,
                "ModelReplied",
                json!({"model": "m", "finish": "stop", "usage": {"input_tokens": 1, "output_tokens": 2}, "item": 1}),
            ),
            (
                27,
                "StateNoted",
                json!({"scope": "project", "operation": "set", "item": change}),
            ),
            (30, "RequestCompleted", json!({"output": 1})),
            (
                31,
                "RequestFailed",
                json!({"code": "c", "message": "m", "details": 1, "retryable": true}),
            ),
            (32, "RequestInterrupted", json!({"reason": "r"})),
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
            (42, "RouteChosen", json!({"path": "root", "route": "a"})),
            (43, "CancelRequested", json!({"request": "r"})),
            (
                44,
                "InstanceStateChanged",
                json!({"path": "root", "attempt": 1, "op": {"inc": {"n": 1}}}),
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
}
