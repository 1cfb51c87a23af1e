//! The facts that the engine appends: pinned kinds, and the structs whose JSON is a record's payload.
//! Fields may be added, never renamed; missing ones default and unknown ones are ignored, so every version reads every log.
//! What a client is sent is not here: the API makes its own types from these.

mod block;
pub(crate) mod framed;
mod item;
mod media;
mod model;
mod request;
mod resource;
mod state;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use flowstate_log::record::{Kind, Record, Subject};
use xxhash_rust::xxh3::xxh3_64;

pub use block::{BlockEnded, BlockKind, BlockStarted, BlockStatus, ErrorRecord, RouteChosen};
pub use item::{ContentAdded, ContentDelta, ContentDone, ItemAdded, ItemCompleted, ItemRecord};
pub use media::MediaStored;
pub use model::{HistoryRange, ModelCalled, ModelFailed, ModelReplied, ReplyPart, ToolReturned};
pub(crate) use request::CANCELLED;
pub use request::{
    CancelRequested, RequestAccepted, RequestCompleted, RequestFailed, RequestInterrupted, RequestResumed,
    RequestStarted, SessionCreated, SessionDescribed,
};
pub use resource::{
    ResourceAccessed, ResourceAt, ResourceChanged, ResourceCreated, ResourceDeleted, ResourceNoted, ResourceWritten,
};
pub use state::{ChangeItem, InstanceStateChanged, ScopeKind, StateChanged, StateNoted};

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

/// So many subjects the instances of a collection are spread over.
const RESOURCE_SUBJECTS: u64 = 32;

/// Subject of the records that change the state of a resource, in the stream of its scope. Two resources may have the same; the instances of a
/// collection are spread over several.
pub fn resource_subject(at: &ResourceAt) -> Subject {
    Subject(0x8000 | subject_within(at, at.key.as_deref()))
}

/// Subject of the records that make and delete the instances of a collection: never one of a state. Where one makes room for another all have one;
/// without a cap they are spread over several, so that they are made beside each other.
pub fn collection_subject(at: &ResourceAt, is_capped: bool) -> Subject {
    Subject(0xc000 | subject_within(at, at.key.as_deref().filter(|_| !is_capped)))
}

/// 14 bits.
fn subject_within(at: &ResourceAt, spread: Option<&str>) -> u16 {
    let family = [at.flow.as_deref().unwrap_or_default(), "\0", &at.resource].concat();
    let within = spread.map_or(0, |key| xxh3_64(key.as_bytes()) % RESOURCE_SUBJECTS);
    let hash = xxh3_64(family.as_bytes()).wrapping_add(within).to_le_bytes();
    u16::from_le_bytes([hash[0], hash[1]]) & 0x3fff
}

fn is_zero_position(position: &u64) -> bool {
    *position == 0
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
                    Self::MediaStored(media) => return media.encode(),
                    Self::ResourceWritten(written) => return written.encode(),
                    _ => {}
                }
                match self {
                    $(Self::$name(fact) => serde_json::to_vec(fact),)*
                }
                .map(Bytes::from)
            }
        }

        /// What a record states.
        pub fn decode(record: &Record) -> Result<Fact, DecodeError> {
            let unreadable = |error: serde_json::Error| DecodeError::Payload {
                kind: record.kind,
                position: record.position,
                message: error.to_string(),
            };
            if record.kind == MediaStored::KIND {
                return MediaStored::decode(&record.payload).map(Fact::from).map_err(unreadable);
            }
            if record.kind == ResourceWritten::KIND {
                return ResourceWritten::decode(&record.payload).map(Fact::from).map_err(unreadable);
            }
            match record.kind {
                $($name::KIND => serde_json::from_slice(&record.payload).map(Fact::$name),)*
                kind => return Err(DecodeError::UnknownKind { kind, position: record.position }),
            }
            .map_err(unreadable)
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
    25 ModelCalled Replayed;
    /// A model answered.
    26 ModelReplied Replayed;
    /// The request changed the state of its user or project: the operation is in that stream, in the same commit.
    27 StateNoted Observed;
    /// A model did not answer.
    28 ModelFailed Observed;
    /// A tool that a model called gave its result, or failed.
    29 ToolReturned Replayed;
    /// The last of a request that gave its output.
    30 RequestCompleted Replayed;
    /// The last of a request that failed.
    31 RequestFailed Replayed;
    /// The last of a request that was stopped.
    32 RequestInterrupted Replayed;
    /// Another process goes on with the request.
    33 RequestResumed Replayed;
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
    /// Bytes that parts of the request's items refer to by this record's number.
    45 MediaStored Replayed;
    /// A collection has one more instance.
    46 ResourceCreated Replayed;
    /// The state of a resource changed.
    47 ResourceChanged Replayed;
    /// The body of a resource was written.
    48 ResourceWritten Replayed;
    /// A collection has one instance less.
    49 ResourceDeleted Replayed;
    /// An instance of a collection was looked at, which counts for who makes room.
    50 ResourceAccessed Replayed;
    /// The request changed a resource of its user or project: the change is in that stream, in the same commit.
    51 ResourceNoted Observed;
    /// What a session is called changed: in no request if a client did it.
    52 SessionDescribed Observed;
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
