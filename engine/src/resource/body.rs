//! Bodies, read from the records that have them.

use bytes::Bytes;
use flowstate_log::Log;
use flowstate_log::record::StreamId;

use super::error::ResourceProblem;
use crate::projection::resource;
use crate::record::{Fact, ResourceAt, ResourceWritten, decode};

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
        resources
            .instance(at)
            .and_then(|instance| instance.bodies.last().copied())
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
        let instance = resources.instance(at);
        instance.map(|instance| instance.bodies.clone()).unwrap_or_default()
    });
    let oldest = log.oldest(stream).await?;
    let version = |(index, version)| ContentVersion { version, index };
    let all = all.await?.into_iter().enumerate().map(version);
    Ok(all.filter(|version| version.version >= oldest).collect())
}

/// The body that the record at this position has.
pub(crate) async fn read(
    log: &Log,
    stream: StreamId,
    at: &ResourceAt,
    position: u64,
) -> Result<String, ResourceProblem> {
    let none = |why| ResourceProblem::NoBody { version: position, why };
    let records = log.read_positions(stream, &[position]).await?;
    let Some(record) = records.first().filter(|record| record.kind == ResourceWritten::KIND) else {
        return Err(none("no body was written there"));
    };
    if record.erased {
        return Err(none("it was erased"));
    }
    match decode(record) {
        Ok(Fact::ResourceWritten(written)) if is_same(&written.at, at) => text(written.text),
        _ => Err(none("what was written there is another resource's, or can't be read")),
    }
}

fn is_same(one: &ResourceAt, other: &ResourceAt) -> bool {
    (&one.flow, &one.resource, &one.key) == (&other.flow, &other.resource, &other.key)
}

/// A body as text. It was one when it was written.
pub(crate) fn text(body: Bytes) -> Result<String, ResourceProblem> {
    // Without a copy if nothing else has the memory.
    Ok(String::from_utf8(body.into()).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
}
