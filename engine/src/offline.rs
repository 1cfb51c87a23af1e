//! What tools need that open the engine's log while no engine runs: its views, and what its names and payloads mean.

use std::sync::Arc;

use bytes::Bytes;
use flowstate_log::Log;
use flowstate_log::append::{Append, Expect, NewRecord, Part, Target};
use flowstate_log::error::{AppendError, ReadError, ViewError};
use flowstate_log::record::{Kind, Name, NameError, StreamId};
use flowstate_log::verbs::Trim;
use flowstate_log::view::View;
use serde_json::Value;

use crate::error::RecordError;
use crate::principal::Principal;
use crate::projection;
use crate::projection::session::List;
use crate::record::{DecodeError, Fact, RequestAccepted, ResourceWritten, SessionCreated, decode};

/// Rows that are looked at in one go.
const ROWS_AT_ONCE: usize = 1_000;
/// What the names of sessions' streams begin with.
const SESSION: &str = "session/";

/// The engine's views. A log that is opened without them has its view store emptied.
pub fn views() -> Vec<Arc<dyn View>> {
    projection::views()
}

/// Name of the stream that holds a session.
pub fn session_stream(principal: &Principal, session: &str) -> Result<Name, NameError> {
    principal.session_stream(session)
}

/// The streams of all sessions of a user, and the user's own. The log must have been opened with [`views`].
pub async fn streams_of_user(log: &Log, principal: &Principal, user: &str) -> Result<Vec<StreamId>, ViewError> {
    let prefix = List::User(user).prefix(principal.as_str());
    let (mut found, mut after) = (Vec::new(), None::<Vec<u8>>);
    loop {
        let view = projection::session::ID;
        let rows = log.index(view, &prefix, after.as_deref(), ROWS_AT_ONCE).await?;
        let Some((last, _)) = rows.last() else { break };
        after = Some(last.clone());
        for (key, _) in &rows {
            if let Some(id) = key.last_chunk::<16>() {
                found.push(StreamId(*id));
            }
        }
    }
    if let Ok(name) = principal.user_stream(user) {
        let own = log.stream(&name).await;
        found.extend(own.map_err(|error| ViewError::Store(error.to_string()))?);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// A stream's name with a prefix before what its callers call it: of a session before the session's id.
pub fn renamed_stream(name: &Name, prefix: &str) -> Result<Name, NameError> {
    let renamed = match name.name().strip_prefix(SESSION) {
        Some(session) => format!("{SESSION}{prefix}{session}"),
        None => format!("{prefix}{}", name.name()),
    };
    Name::new(name.principal(), &renamed)
}

/// What a record says when session and request are called otherwise. Payloads that name neither are unchanged.
pub fn renamed_payload(kind: Kind, payload: &Bytes, prefix: &str) -> Bytes {
    let fields: &[&str] = match kind {
        SessionCreated::KIND => &["session"],
        RequestAccepted::KIND => &["session", "request"],
        _ => return payload.clone(),
    };
    let Ok(Value::Object(mut said)) = serde_json::from_slice(payload) else {
        return payload.clone();
    };
    for field in fields {
        if let Some(Value::String(id)) = said.get_mut(*field) {
            id.insert_str(0, prefix);
        }
    }
    serde_json::to_vec(&said).map_or_else(|_| payload.clone(), Bytes::from)
}

/// Writes the last bodies of a stream's resources anew that lie where `trim` gives everything up, so that they stay. Gives what is then to be given up,
/// and how many bodies there were. The log must have been opened with [`views`], and no engine may run on it.
pub async fn carry_bodies(log: &Log, stream: StreamId, trim: Trim) -> Result<(Trim, u64), CarryError> {
    let tail = log.tail(stream).await?;
    let trim = match trim {
        Trim::KeepLast(count) => Trim::Before((tail + 1).saturating_sub(count)),
        trim => trim,
    };
    let bodies: Vec<u64> =
        projection::resource::read(log, stream, |resources| resources.last_bodies().collect()).await?;
    let mut carried = 0;
    for position in bodies {
        if matches!(trim, Trim::Before(below) if position >= below) {
            continue;
        }
        let records = log.read_positions(stream, &[position]).await?;
        let Some(record) = records.first().filter(|record| !record.erased) else {
            continue;
        };
        if matches!(trim, Trim::OlderThan(time_us) if record.time_us >= time_us) {
            continue;
        }
        let Fact::ResourceWritten(written) = decode(record)? else {
            continue;
        };
        let fact = Fact::from(ResourceWritten {
            item: None,
            carried: true,
            ..written
        });
        let record = NewRecord {
            kind: fact.kind(),
            subject: record.subject,
            sub: None,
            causation: [0; 16],
            origin: 0,
            payload: fact.encode().map_err(|error| RecordError::Encode(error.to_string()))?,
        };
        let part = Part {
            stream: Target::Id(stream),
            expect: vec![Expect::Exists],
            records: vec![record],
        };
        log.append(Append::of(vec![part])).await?.await?;
        carried += 1;
    }
    Ok((trim, carried))
}

/// Why a stream's bodies could not be written anew. Nothing was given up.
#[derive(Debug, thiserror::Error)]
pub enum CarryError {
    /// The views can't be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The stream can't be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A body can't be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A body can't be recorded.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A body can't be recorded.
    #[error(transparent)]
    Append(#[from] AppendError),
}
