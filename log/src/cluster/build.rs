//! Makes the files of runs: from segments, by sorting; from runs, by merging.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Ends;
use super::removal::{Fate, Removals};
use crate::codec::v1::RECORD_HEADER_FRAME;
use crate::codec::{self, CommitHead};
use crate::error::ClusterError;
use crate::log::Shared;
use crate::record::{Digest, Extras, Kind, StreamId};
use crate::run::{BLOCK_BYTES, Form, Merge, Meta, Run, RunBuilder, Stub};
use crate::segment::Slot;

/// Keeps to `Limits::cluster_bytes_per_second_max`.
pub(super) struct Pace<'a> {
    shared: &'a Shared,
    since: Duration,
    bytes: u64,
}

impl<'a> Pace<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self {
            shared,
            since: shared.env.monotonic(),
            bytes: 0,
        }
    }

    /// Takes a rest if more was moved than the time that passed allows.
    fn moved(&mut self, bytes: u64) {
        let most = self.shared.limits.cluster_bytes_per_second_max;
        // With segments piling up, what is waited for matters more.
        let urgent = self.shared.slots.len() > self.shared.limits.cluster_segments_max / 2;
        if most == 0 || urgent || self.shared.cluster.stopping() {
            return;
        }
        self.bytes += bytes;
        let due = Duration::from_secs_f64(self.bytes as f64 / most as f64);
        let passed = self.shared.env.monotonic().saturating_sub(self.since);
        if due > passed {
            std::thread::sleep((due - passed).min(Duration::from_millis(200)));
        }
    }
}

/// A run that was written, and what was left out of it.
pub(super) struct Made {
    pub(super) run: Arc<Run>,
    pub(super) dropped: u64,
    /// Blobs that records left out referred to.
    pub(super) blobs: Vec<Digest>,
}

/// A record in a segment that was read.
struct Place {
    stream: StreamId,
    position: u64,
    segment: u32,
    offset: u32,
    bytes: u32,
}

/// Segments that were read, with their records in the order of a run.
pub(super) struct Sorted {
    segments: Vec<Bytes>,
    places: Vec<Place>,
    commits: Vec<Bytes>,
    pub(super) ends: Ends,
    /// Their last commit and its hash.
    pub(super) last: u64,
    pub(super) hash: Digest,
}

/// Reads segments whole, and checks every record: what does not check stays where it is.
pub(super) fn sort(shared: &Shared, slots: &[Arc<Slot>], before: u64) -> Result<Sorted, ClusterError> {
    let mut sorted = Sorted {
        segments: Vec::new(),
        places: Vec::new(),
        commits: Vec::new(),
        ends: Ends::new(),
        last: before,
        hash: Digest::default(),
    };
    for (number, slot) in slots.iter().enumerate() {
        let name = Slot::name(slot.number);
        let base = sorted.last + 1;
        let commits: Vec<_> = shared
            .slots
            .commits(base, usize::MAX)
            .into_iter()
            .map(|(place, _)| place)
            .take_while(|place| place.generation == slot.generation)
            .collect();
        let end = commits
            .last()
            .map_or(0, |last| last.offset as usize + last.bytes as usize);
        let mut bytes = vec![0; end];
        slot.file
            .read_at(0, &mut bytes)
            .map_err(ClusterError::io(&format!("reading {name}")))?;
        let bytes = Bytes::from(bytes);
        for place in commits {
            let damaged = |what: &str| ClusterError::Damaged(format!("commit {} in {name}: {what}", place.commit));
            let from = place.offset as usize;
            let whole = bytes.slice(from..from + place.bytes as usize);
            let frame = codec::decode_commit(&whole).ok_or_else(|| damaged("it does not check"))?;
            if frame.header.commit != place.commit {
                return Err(damaged("another commit stands in its place"));
            }
            let mut at = frame.body;
            let body_end = frame.body + frame.header.body_bytes as usize;
            while at < body_end {
                let (record, length) = codec::decode_record(&whole.slice(at..body_end)).map_err(damaged)?;
                sorted.places.push(Place {
                    stream: record.stream,
                    position: record.position,
                    segment: number as u32,
                    offset: (from + at) as u32,
                    bytes: length as u32,
                });
                let last = sorted.ends.entry(record.stream).or_default();
                *last = record.position.max(*last);
                at += length;
            }
            sorted.commits.push(whole.slice(..frame.body));
            sorted.last = place.commit;
            sorted.hash = frame.hash;
        }
        sorted.segments.push(bytes);
    }
    sorted
        .places
        .sort_unstable_by_key(|place| (place.stream, place.position));
    Ok(sorted)
}

/// What goes into a run, and what of it is left out.
struct Sifted<'a> {
    builder: RunBuilder<'a>,
    removals: &'a Removals<'a>,
    stubs: Vec<Stub>,
    blobs: Vec<Digest>,
}

impl Sifted<'_> {
    fn take(
        &mut self,
        form: Form,
        frame: &[u8],
        pass_over: impl FnOnce() -> Option<Extras>,
    ) -> Result<(), ClusterError> {
        let header = codec::v1::get_record_header(frame).map_err(|what| ClusterError::Damaged(what.to_owned()))?;
        let (stream, position) = (StreamId(header.stream), header.position);
        let fate = self.removals.of(stream, position, Kind(header.kind))?;
        let snapshot = header.kind == Kind::STREAM_TRIMMED.0;
        let head = &frame[..RECORD_HEADER_FRAME];
        let body = || match form {
            Form::Whole => codec::digest(codec::body(frame)),
            Form::Erased => Digest(frame[RECORD_HEADER_FRAME..].try_into().unwrap_or_default()),
        };
        let carries = if header.extras_bytes > 0 && form == Form::Whole {
            pass_over()
        } else {
            None
        };
        let blob = carries.and_then(|extras| extras.blob);
        match fate {
            Fate::Kept => {
                self.builder.push(form, frame, snapshot)?;
                if let Some(blob) = blob {
                    self.builder.blob(blob.address.0, stream, position);
                }
            }
            Fate::Erased => {
                let erased = [head, &body().0].concat();
                self.builder.push(Form::Erased, &erased, snapshot)?;
                self.blobs.extend(blob.map(|blob| blob.address));
            }
            Fate::Dropped => {
                self.stubs.push(Stub {
                    commit: header.commit,
                    index: header.index,
                    digest: codec::record_digest(head, &body()).0,
                });
                self.blobs.extend(blob.map(|blob| blob.address));
            }
        }
        Ok(())
    }
}

fn extras_of(frame: &Bytes) -> Option<Extras> {
    codec::decode_record(frame).ok().map(|(record, _)| record.extras)
}

pub(super) fn from_segments(
    shared: &Arc<Shared>,
    sorted: &Sorted,
    number: u32,
    removals: &Removals<'_>,
    pace: &mut Pace<'_>,
) -> Result<Made, ClusterError> {
    let read: u64 = sorted.segments.iter().map(|bytes| bytes.len() as u64).sum();
    pace.moved(read);
    let mut on_written = |bytes| pace.moved(bytes);
    let disk = &*shared.files.disk;
    let mut sifted = Sifted {
        builder: RunBuilder::create(disk, number, BLOCK_BYTES, &mut on_written)?,
        removals,
        stubs: Vec::new(),
        blobs: Vec::new(),
    };
    for place in &sorted.places {
        let from = place.offset as usize;
        let frame = sorted.segments[place.segment as usize].slice(from..from + place.bytes as usize);
        sifted.take(Form::Whole, &frame, || extras_of(&frame))?;
    }
    let first = sorted.last + 1 - sorted.commits.len() as u64;
    finish(
        shared,
        sifted,
        number,
        (first, sorted.last),
        sorted.commits.iter().cloned().map(Ok),
        Vec::new(),
    )
}

pub(super) fn from_runs(
    shared: &Arc<Shared>,
    old: &[Arc<Run>],
    number: u32,
    removals: &Removals<'_>,
    pace: &mut Pace<'_>,
) -> Result<Made, ClusterError> {
    let mut on_written = |bytes: u64| pace.moved(2 * bytes);
    let disk = &*shared.files.disk;
    let mut sifted = Sifted {
        builder: RunBuilder::create(disk, number, BLOCK_BYTES, &mut on_written)?,
        removals,
        stubs: Vec::new(),
        blobs: Vec::new(),
    };
    for entry in Merge::new(old.iter().map(|run| &**run)) {
        let entry = entry?;
        if entry.form == Form::Whole {
            // Damage is not carried on under a fresh block checksum.
            codec::decode_record(&entry.frame).map_err(|what| {
                ClusterError::Damaged(format!(
                    "record {} of stream {}: {what}",
                    entry.position(),
                    entry.stream()
                ))
            })?;
        }
        sifted.take(entry.form, &entry.frame, || extras_of(&entry.frame))?;
    }
    let range = match (old.first(), old.last()) {
        (Some(first), Some(last)) => (first.footer().first_commit, last.footer().last_commit),
        _ => return Err(ClusterError::Damaged("there is nothing to merge".to_owned())),
    };
    let mut stubs = Vec::new();
    for run in old {
        for stub in run.stubs() {
            stubs.push(stub?);
        }
    }
    let commits = old
        .iter()
        .flat_map(|run| run.commits())
        .map(|commit| commit.map_err(ClusterError::from));
    finish(shared, sifted, number, range, commits, stubs)
}

fn finish(
    shared: &Arc<Shared>,
    sifted: Sifted<'_>,
    number: u32,
    (first_commit, last_commit): (u64, u64),
    commits: impl Iterator<Item = Result<Bytes, ClusterError>>,
    mut stubs: Vec<Stub>,
) -> Result<Made, ClusterError> {
    let dropped = sifted.stubs.len() as u64;
    stubs.extend(sifted.stubs);
    stubs.sort_unstable();
    let meta = Meta {
        store: shared.store,
        first_commit,
        last_commit,
        created_us: shared.env.now_us(),
    };
    let mut failed = None;
    let mut heads = Vec::new();
    for commit in commits {
        match commit {
            Ok(commit) => heads.push(commit),
            Err(error) => failed = Some(error),
        }
    }
    if let Some(error) = failed {
        return Err(error);
    }
    let stubs = collapse(&heads, stubs);
    let built = sifted.builder.finish(meta, &heads, stubs)?;
    shared
        .files
        .disk
        .sync_dir()
        .map_err(shared.doubtful("syncing the folder"))?;
    let run = Run::open(&*shared.files.disk, number, shared.cache.clone())?;
    if (run.footer(), run.file_bytes()) != (&built.footer, built.file_bytes) {
        return Err(ClusterError::Damaged(format!(
            "{} reads otherwise than it was written",
            crate::run::name(number)
        )));
    }
    Ok(Made {
        run: Arc::new(run),
        dropped,
        blobs: sifted.blobs,
    })
}

/// A commit of which nothing is left needs no digests of its records: its header stands for them in the chain.
fn collapse(heads: &[Bytes], stubs: Vec<Stub>) -> Vec<Stub> {
    let mut kept = Vec::with_capacity(stubs.len());
    let mut stubs = stubs.into_iter().peekable();
    for head in heads.iter().filter_map(|head| codec::decode_commit_head(head)) {
        let CommitHead { header, .. } = head;
        let mut of_commit = Vec::new();
        while let Some(stub) = stubs.next_if(|stub| stub.commit <= header.commit) {
            of_commit.push(stub);
        }
        if of_commit.len() < header.records as usize {
            kept.extend(of_commit);
        }
    }
    kept
}
