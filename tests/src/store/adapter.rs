//! The one place where the checker calls the log: how it is opened, appended to and read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::append::{Append, Appended, Appending, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::disk::Disk;
use flowstate_log::disk::fs::FsDisk;
use flowstate_log::disk::memory::Choice;
use flowstate_log::env::SystemEnv;
use flowstate_log::error::{AppendError, OpenError, ReadError};
use flowstate_log::limits::Limits;
use flowstate_log::record::{IdempotencyKey, Name, Record, StreamId, SubStreamId, Subject};
use flowstate_log::view_store::fjall::FjallViews;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::view_store::{Entry as StoredRow, OpenViewStore};
use flowstate_log::{Durability, Log, Options};

use super::contents::{Contents, Entry, Rows, Stream, Sub as SubAt};
use super::ledger::Refusal;
use super::plan::{Condition, Key, Op, OpId, OpSub, payload, sub_id, sub_name};
use super::tally::{LOUD, QUIET, TALLY, Tally, TallyFold, TallyView, stream_of};

/// The log's own stream.
pub const NODE: &str = "\0node";
/// Longest payload that drivers write.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 10;
/// Longest payload that [`fixed_limits`] keeps in a segment; longer ones are files of their own.
pub const INLINE_BYTES_MAX: usize = 1 << 10;

/// Bounds by seed, so that lives of one store differ.
pub fn limits(choice: &mut Choice) -> Limits {
    let mut of = |values: &[u64]| values[choice.below(values.len())];
    Limits {
        segment_bytes: of(&[64 << 10, 64 << 10, 128 << 10, 512 << 10]),
        commit_bytes_max: of(&[32 << 10, 48 << 10, 64 << 10]) as usize,
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        commit_appends_max: of(&[1, 3, 4_096]) as usize,
        queue_appends_max: of(&[1, 4, 8_192]) as usize,
        checkpoint_interval_ms: of(&[1, 5, 50, 500]),
        watermark_interval_ms: of(&[1, 5, 50, 10_000]),
        tail_bytes_max: of(&[0, 4 << 10, 16 << 20]) as usize,
        view_lag_bytes_max: of(&[16 << 10, 64 << 20]),
        inline_bytes_max: of(&[64, 1 << 10, 8 << 10]) as usize,
        cluster_segments_min: of(&[1, 2, 3]) as usize,
        cluster_segments_max: of(&[3, 16]) as usize,
        run_fan_out: of(&[2, 3, 8]) as usize,
        run_bytes_max: of(&[128 << 10, 1 << 30]),
        cache_bytes_max: of(&[0, 64 << 10, 64 << 20]),
        idle_streams_max: of(&[0, 3, 10_000]) as usize,
        ..Limits::default()
    }
}

/// Small bounds, the same each time.
pub fn fixed_limits() -> Limits {
    Limits {
        segment_bytes: 16 << 10,
        commit_bytes_max: 12 << 10,
        payload_bytes_max: PAYLOAD_BYTES_MAX,
        checkpoint_interval_ms: 2,
        watermark_interval_ms: 2,
        inline_bytes_max: INLINE_BYTES_MAX,
        cluster_segments_min: 1,
        run_fan_out: 2,
        idle_streams_max: 2,
        ..Limits::default()
    }
}

/// The disk of a data folder.
pub fn disk(folder: &Path) -> std::io::Result<Arc<dyn Disk>> {
    Ok(Arc::new(FsDisk::open(&folder.join("log"))?))
}

/// The view store of a data folder.
pub fn view_store(folder: &Path) -> Arc<dyn OpenViewStore> {
    Arc::new(FjallViews::at(&folder.join("views")))
}

/// How often a locked folder is tried again, a millisecond apart.
const LOCKED_TRIES: u32 = 2_000;

/// Opens a log on this disk with the checker's view. A folder that this process has just closed can seem locked: a child that is being
/// started meanwhile shares the open lock file until it runs its own program. So a locked folder is tried again for a while.
pub fn open(disk: Arc<dyn Disk>, view_store: Arc<dyn OpenViewStore>, limits: Limits) -> Result<Log, OpenError> {
    open_with(disk, view_store, limits, Durability::Sync)
}

/// The same with another promise.
pub fn open_with(
    disk: Arc<dyn Disk>,
    view_store: Arc<dyn OpenViewStore>,
    limits: Limits,
    durability: Durability,
) -> Result<Log, OpenError> {
    let options = Options {
        durability,
        disk,
        view_store,
        env: Arc::new(SystemEnv::new()),
        limits,
        views: vec![Arc::new(TallyView)],
        ..Options::in_memory()
    };
    for _ in 0..LOCKED_TRIES {
        match Log::open(options.clone()) {
            Err(OpenError::Locked(_)) => std::thread::park_timeout(Duration::from_millis(1)),
            opened => return opened,
        }
    }
    Log::open(options)
}

fn name(text: &str) -> Name {
    Name::new("", text).expect("drivers choose short names")
}

/// The stream of this name and its last position.
pub async fn tail(log: &Log, stream: &str) -> Option<(StreamId, u64)> {
    let id = log.stream(&name(stream)).await.ok()??;
    Some((id, log.tail(id).await.ok()?))
}

/// Queues an operation, or the repetition of the one whose key it carries.
pub async fn append(log: &Log, id: OpId, op: &Op) -> Result<Appending, AppendError> {
    let id = op.key.unwrap_or(id);
    let mut targets = Vec::with_capacity(op.parts.len());
    for part in &op.parts {
        targets.push(match &part.fork {
            None => Target::Name(name(&part.stream)),
            Some((parent, position)) => Target::Fork {
                name: name(&part.stream),
                parent: log
                    .stream(&name(parent))
                    .await
                    .map_err(|error| AppendError::Lookup(error.to_string()))?
                    .ok_or_else(|| AppendError::StreamAbsent(name(parent)))?,
                position: *position,
            },
        });
    }
    let record = |part: usize, at: usize| {
        let record = &op.parts[part].records[at];
        let key = Key {
            op: id,
            part: part as u16,
            record: at as u16,
        };
        NewRecord {
            kind: if record.quiet { QUIET } else { LOUD },
            subject: Subject(record.subject),
            sub: record.sub.map(|sub| match sub {
                OpSub::Open(opener) => Sub::Open(SubStreamId(sub_id(opener)), name(&sub_name(opener))),
                OpSub::Next(opener) => Sub::Next(SubStreamId(sub_id(opener))),
            }),
            causation: sub_id(id),
            origin: u64::from(id.number),
            payload: payload(key, record.bytes).into(),
        }
    };
    let expect = |condition: &Condition| match condition {
        Condition::Absent => Expect::Absent,
        Condition::Exists => Expect::Exists,
        Condition::Position(at) => Expect::Position(*at),
        Condition::Version(subject, at) => Expect::Version(Subject(*subject), *at),
        Condition::SubAt(opener, at) => Expect::SubStreamAt(SubStreamId(sub_id(*opener)), *at),
    };
    let parts = op
        .parts
        .iter()
        .zip(targets)
        .enumerate()
        .map(|(at, (part, stream))| Part {
            stream,
            expect: part.expect.iter().map(expect).collect(),
            records: (0..part.records.len()).map(|number| record(at, number)).collect(),
        });
    let append = Append {
        parts: parts.collect(),
        key: op.key.and_then(|key| IdempotencyKey::new(key.to_string().as_bytes())),
    };
    log.append(append).await
}

/// Positions of an acknowledgement.
pub fn places(appended: &Appended) -> Vec<([u8; 16], u64, u64)> {
    let parts = appended.parts.iter();
    parts.map(|part| (part.stream.0, part.first, part.last)).collect()
}

/// A refusal that says that nothing was written; `None` if the outcome is open.
pub fn refusal(error: &AppendError) -> Option<Refusal> {
    Some(match error {
        AppendError::StreamExists(_) => Refusal::StreamExists,
        AppendError::StreamAbsent(_) | AppendError::UnknownStream(_) => Refusal::StreamAbsent,
        AppendError::PositionMismatch { actual, .. } => Refusal::Position(*actual),
        AppendError::VersionMismatch { subject, actual, .. } => Refusal::Version(subject.0, *actual),
        AppendError::SubStreamMismatch { actual, .. } => Refusal::SubAt(*actual),
        AppendError::SubStreamTaken(_) => Refusal::SubTaken,
        AppendError::UnknownSubStream(_) => Refusal::UnknownSub,
        AppendError::Full(_) => Refusal::Full,
        AppendError::Invalid(what) => Refusal::Invalid(what.clone()),
        AppendError::KeyReused(_) | AppendError::Forked(_) | AppendError::ForkOutOfRange { .. } => {
            Refusal::Invalid(error.to_string())
        }
        AppendError::Lookup(_) | AppendError::ViewsFailed | AppendError::Poisoned(_) | AppendError::Closed => {
            return None;
        }
    })
}

/// A stream's fold.
pub async fn tally(log: &Log, stream: StreamId) -> Result<Tally, String> {
    let read = log.view(stream, TALLY, |fold: &TallyFold| fold.tally.clone());
    read.await.map_err(|error| error.to_string())
}

/// All index rows.
pub async fn index(log: &Log) -> Result<Rows, String> {
    let rows = log.index(TALLY, b"", None, usize::MAX).await;
    rows.map_err(|error| error.to_string())
}

/// Everything that an open log shows, of the streams and sub-streams of these names and of those that its index names.
pub async fn contents(log: &Log, streams: &BTreeSet<String>, subs: &BTreeSet<OpId>) -> Result<Contents, String> {
    let index = index(log).await?;
    let mut names = streams.clone();
    names.insert(NODE.to_owned());
    names.extend(index.iter().filter_map(|(key, _)| stream_of(key)));
    let mut found = Contents {
        last_commit: log.last_commit(),
        index,
        ..Contents::default()
    };
    for stream in names {
        let Some((id, tail)) = tail(log, &stream).await else {
            continue;
        };
        let mut records = Vec::new();
        loop {
            let page = log.read(id, records.len() as u64 + 1, usize::MAX).await;
            let page = page.map_err(|error| error.to_string())?;
            if page.is_empty() {
                break;
            }
            records.extend(page.into_iter().map(entry));
        }
        let tally = tally(log, id).await?;
        // A fork's own records begin with the last one that says that it forks.
        let own = records
            .iter()
            .rposition(|entry: &Entry| entry.forks.is_some())
            .unwrap_or(0);
        let records_own = records.split_off(own);
        let read = Stream {
            id: id.0,
            tail,
            shared: records,
            records: records_own,
            tally,
        };
        found.streams.insert(stream, read);
    }
    for opener in subs {
        let called = sub_name(*opener);
        if let Some(info) = log
            .sub_stream(&name(&called))
            .await
            .map_err(|error| error.to_string())?
        {
            let at = SubAt {
                stream: info.stream.0,
                id: info.id.0,
                first: info.first,
                last: info.last,
                count: info.count,
            };
            found.subs.insert(called, at);
        }
    }
    Ok(found)
}

/// Every record of the streams of these names, each read by itself: what damage leaves readable.
pub async fn one_by_one(
    log: &Log,
    streams: &BTreeSet<String>,
) -> Result<BTreeMap<(String, u64), Result<Record, ReadError>>, String> {
    let mut all = BTreeMap::new();
    for stream in streams {
        let Some((id, tail)) = tail(log, stream).await else {
            continue;
        };
        for position in 1..=tail {
            let read = log.read(id, position, 1).await;
            let one = read.map(|records| records.into_iter().next());
            let found = one
                .transpose()
                .ok_or_else(|| format!("{stream:?} has nothing at {position}"))?;
            all.insert((stream.clone(), position), found);
        }
    }
    Ok(all)
}

fn entry(record: Record) -> Entry {
    Entry {
        position: record.position,
        commit: record.commit,
        index: record.index,
        sub: record.sub.map(|(id, number)| (id.0, number)),
        subject: record.subject.0,
        kind: record.kind.0,
        time_us: record.time_us,
        causation: record.causation,
        origin: record.origin,
        forks: record.extras.parent.map(|parent| (parent.stream.0, parent.position)),
        opens: record.extras.stream.as_ref().map(|name| name.name().to_owned()),
        opens_sub: record.extras.sub_stream.as_ref().map(|name| name.name().to_owned()),
        payload: record.payload.to_vec(),
    }
}

/// The rows of a closed view store, but for the one that says how far they reach.
pub fn stored_rows(store: &dyn OpenViewStore) -> Result<Rows, String> {
    use std::ops::Bound::Unbounded;
    let rows = store
        .open()
        .and_then(|store| store.scan(Unbounded, Unbounded, usize::MAX));
    Ok(without_meta(rows.map_err(|error| error.to_string())?))
}

/// The same of a store in memory.
pub fn memory_rows(store: &MemoryViews) -> Rows {
    without_meta(store.entries())
}

fn without_meta(rows: Vec<StoredRow>) -> Rows {
    rows.into_iter().filter(|(key, _)| key != b"m").collect()
}
