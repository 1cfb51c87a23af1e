//! Bodies, read from the records that have them.

use bytes::Bytes;
use flowstate_log::Log;
use flowstate_log::error::ReadError;
use flowstate_log::record::StreamId;

use super::error::ResourceProblem;
use crate::projection::resource;
use crate::record::{Fact, ResourceAt, decode};

/// One of the bodies that a resource has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentVersion {
    /// Its version: position of the record that has it, in the stream of the resource's scope.
    pub version: u64,
    /// How many were written before it, since the instance was made.
    pub index: usize,
}

/// Where the last body of a resource lies; `None` if none was written.
pub(crate) async fn last(log: &Log, stream: StreamId, at: &ResourceAt) -> Result<Option<u64>, ResourceProblem> {
    let last = resource::read(log, stream, |resources| {
        resources.of(at).and_then(|instance| instance.bodies.last().copied())
    });
    Ok(last.await?)
}

/// Where all its bodies lie that were not given up, the first one first.
pub(crate) async fn versions(
    log: &Log,
    stream: StreamId,
    at: &ResourceAt,
) -> Result<Vec<ContentVersion>, ResourceProblem> {
    let all = resource::read(log, stream, |resources| {
        let instance = resources.of(at);
        instance.map(|instance| instance.bodies.clone()).unwrap_or_default()
    });
    let all = all.await?;
    let oldest = log.oldest(stream).await?;
    let version = |(index, version)| ContentVersion { version, index };
    let all = all.into_iter().enumerate().map(version);
    Ok(all.filter(|version| version.version >= oldest).collect())
}

/// One of its bodies.
pub(crate) async fn version(
    log: &Log,
    stream: StreamId,
    at: &ResourceAt,
    version: u64,
) -> Result<String, ResourceProblem> {
    let is_its_own = resource::read(log, stream, |resources| {
        let bodies = resources.of(at).map(|instance| &instance.bodies);
        bodies.is_some_and(|bodies| bodies.binary_search(&version).is_ok())
    });
    match is_its_own.await? {
        true => read(log, stream, version).await,
        false => Err(ResourceProblem::NoBody {
            version,
            why: "none of its bodies was written there",
        }),
    }
}

/// The body that the record at this position has.
pub(crate) async fn read(log: &Log, stream: StreamId, position: u64) -> Result<String, ResourceProblem> {
    let none = |why| ResourceProblem::NoBody { version: position, why };
    let records = match log.read_positions(stream, &[position]).await {
        Err(ReadError::Trimmed { .. }) => return Err(none("it was given up with the past of its stream")),
        records => records?,
    };
    match records.first() {
        Some(record) if record.erased => Err(none("it was erased")),
        Some(record) => match decode(record) {
            Ok(Fact::ResourceWritten(written)) => Ok(text(written.text)),
            _ => Err(none("its record has none")),
        },
        None => Err(none("there is no such record")),
    }
}

/// A body as text. It was one when it was written.
pub(crate) fn text(body: Bytes) -> String {
    // Without a copy if nothing else has the memory.
    String::from_utf8(body.into()).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}
