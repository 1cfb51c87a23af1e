//! `import`: appends what an export holds, through the verbs of an open log. The file is read twice: first all of it is checked, then it is
//! appended, in batches with keys, so that an import that was interrupted is gone on with by doing it again.
//!
//! Times, commits and ids of streams are given by the log that takes the records in: those of the file are not kept.

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::{Path, PathBuf};

use flowstate_engine::offline;
use flowstate_log::Log;
use flowstate_log::append::{Append, Appending, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::folder::Progress;
use flowstate_log::record::{IdempotencyKey, Kind, Name, StreamId, SubStreamId, Subject};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::failure::Failure;
use super::line::{RecordLine, hex, id, unhex};
use super::lines::{Line, Reader};
use super::output::{Bar, Output};
use super::place;
use super::plan::{Plan, StreamPlan};

/// What the keys of an import's appends begin with.
const KEY: &str = "flowstate-import:";
/// Digits of the file's hash in a key.
const KEY_DIGITS: usize = 32;
/// A batch is full with so many records, or so many bytes of payload.
const BATCH_RECORDS: usize = 256;
const BATCH_BYTES: usize = 256 << 10;
/// Records of one append with a key of its own.
const KEYED_RECORDS_MAX: usize = 4_096;
/// Batches on their way at once.
const BATCHES_AT_ONCE: usize = 128;
/// Streams that a refusal names.
const NAMED: usize = 5;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ImportArgs {
    /// The export. It is read twice, so it must be a file.
    #[arg(value_name = "FILE")]
    from: PathBuf,

    /// Put this before the names of all sessions, other streams and requests, so that they do not meet those that are there.
    #[arg(long, value_name = "PREFIX", default_value = "", hide_default_value = true)]
    as_new_names: String,

    /// Import each stream as far as all its records are there, and leave out what follows a gap (damaged, trimmed or erased).
    #[arg(long)]
    partial: bool,
}

#[derive(Serialize)]
struct LeftOut {
    stream: String,
    records: u64,
    why: String,
}

#[derive(Default, Serialize)]
struct Told {
    streams: u64,
    records: u64,
    /// Records that an earlier run of the same import had brought in.
    repeated: u64,
    left_out: Vec<LeftOut>,
}

/// Whether a key, in hexadecimal, is one that an import gave.
pub(super) fn is_own_key(key: &str) -> bool {
    key.starts_with(&hex(KEY.as_bytes()))
}

pub(super) async fn run(folder: &Path, args: &ImportArgs, out: &Output) -> Result<(), Failure> {
    if !args.from.is_file() {
        return Err(Failure::Usage(format!(
            "{} is no file: an export is read twice, so save it to a file first",
            args.from.display()
        )));
    }
    let plan = Plan::read(&args.from, &args.as_new_names)?;
    let left_out: Vec<LeftOut> = plan.streams.iter().filter_map(left_out).collect();
    if let Some(first) = left_out.first().filter(|_| !args.partial) {
        return Err(Failure::Failed(format!(
            "{} streams are not wholly in the export, the first of them {} ({}); nothing was imported. \
             Import what is whole with --partial, or move the log with `flowstate log backup` and `restore`",
            left_out.len(),
            first.stream,
            first.why
        )));
    }
    let log = place::open_with(place::options_of_new(folder)?).await?;
    let mut import = Import {
        log: &log,
        plan: &plan,
        prefix: &args.as_new_names,
        reader: Reader::open(&args.from)?,
        told: Told {
            left_out,
            ..Told::default()
        },
        under_way: VecDeque::new(),
    };
    let done = match import.refuse_existing().await {
        Ok(()) => import.all(&out.bar()).await,
        Err(failure) => Err(failure),
    };
    let told = import.told;
    log.close().await;
    done?;
    out.say(&told, || {
        let mut text = format!(
            "{} records of {} streams are in ({} of them were there already)",
            told.records, told.streams, told.repeated
        );
        for gap in &told.left_out {
            text.push_str(&format!(
                "\nleft out {} records of {}: {}",
                gap.records, gap.stream, gap.why
            ));
        }
        text
    })
}

fn left_out(stream: &StreamPlan) -> Option<LeftOut> {
    (stream.left_out > 0).then(|| LeftOut {
        stream: stream.shown(),
        records: stream.left_out,
        why: stream.why.clone().unwrap_or_default(),
    })
}

struct Import<'a> {
    log: &'a Log,
    plan: &'a Plan,
    prefix: &'a str,
    reader: Reader,
    told: Told,
    /// Appends in order, with the position of the first and the number of their records.
    under_way: VecDeque<(Appending, u64, u64)>,
}

/// Records that are appended as one.
struct Batch {
    first: u64,
    key: IdempotencyKey,
    /// The last position that must be in it; 0 if any may end it.
    through: u64,
    records: Vec<NewRecord>,
    bytes: usize,
}

impl Import<'_> {
    /// Refuses names that are taken, but by an earlier run of this import.
    async fn refuse_existing(&self) -> Result<(), Failure> {
        let same_store = self.plan.header.store == hex(&self.log.commits_start().store);
        let (mut taken, mut ours) = (Vec::new(), HashSet::new());
        let streams = self.plan.in_order();
        for stream in &streams {
            let Some(name) = &stream.name else { continue };
            let Some(there) = self.log.stream(name).await? else {
                continue;
            };
            let begun = self.log.read(there, stream.first, 1).await;
            let key = begun.ok().and_then(|records| {
                let first = records.into_iter().next().filter(|record| record.stream == there)?;
                Some(first.extras.repeatable.as_ref()?.key.clone())
            });
            let foreign = stream.first_key.is_some() && same_store && self.prefix.is_empty();
            match key == Some(self.first_key(stream)?) && !foreign {
                true => drop(ours.insert(there)),
                false => taken.push(format!("the stream {:?}", name.name())),
            }
        }
        for name in streams.iter().flat_map(|stream| &stream.sub_names) {
            if let Some(sub) = self.log.sub_stream(name).await?
                && !ours.contains(&sub.stream)
            {
                taken.push(format!("the request {:?}", name.name()));
            }
        }
        if taken.is_empty() {
            return Ok(());
        }
        let more = match taken.len().saturating_sub(NAMED) {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        taken.truncate(NAMED);
        Err(Failure::Failed(format!(
            "these exist already: {}{more}; nothing was imported. Give what is imported other names with --as-new-names PREFIX",
            taken.join(", ")
        )))
    }

    fn first_key(&self, stream: &StreamPlan) -> Result<IdempotencyKey, Failure> {
        match &stream.first_key {
            Some(key) => key_of(key),
            None => self.key(stream.first),
        }
    }

    /// The key of the batch that begins at a position: the same whenever the same file is imported.
    fn key(&self, first: u64) -> Result<IdempotencyKey, Failure> {
        let file = self.plan.sha256.get(..KEY_DIGITS).unwrap_or_default();
        key_of(format!("{KEY}{file}:{first}").as_bytes())
    }

    async fn all(&mut self, bar: &Bar) -> Result<(), Failure> {
        let plan = self.plan;
        let total: u64 = plan
            .streams
            .iter()
            .map(|stream| stream.whole_through + 1 - stream.first)
            .sum();
        let mut hidden = Vec::new();
        let mut ids = HashMap::new();
        for stream in plan.in_order() {
            let Some(name) = &stream.name else { continue };
            self.stream(stream, name, &mut ids).await?;
            self.told.streams += 1;
            bar.show(Progress {
                step: "importing",
                done: self.told.records,
                total,
            });
            if stream.deleted {
                hidden.push(name);
            }
        }
        self.wait_for(0).await?;
        // Last, when the forks that need them are there.
        for name in hidden {
            if let Some(id) = self.log.stream(name).await? {
                self.log.delete(id).await?;
            }
        }
        Ok(())
    }

    async fn stream(
        &mut self,
        stream: &StreamPlan,
        name: &Name,
        ids: &mut HashMap<StreamId, StreamId>,
    ) -> Result<(), Failure> {
        let begin = match stream.parent {
            None => Target::Name(name.clone()),
            Some((parent, position)) => {
                // The parent's records must be there before they can be shared.
                self.wait_for(0).await?;
                let parent = match ids.get(&parent) {
                    Some(id) => *id,
                    None => self.id_of(parent, ids).await?,
                };
                Target::Fork {
                    name: name.clone(),
                    parent,
                    position,
                }
            }
        };
        self.reader.seek(stream.offset)?;
        let mut batch: Option<Batch> = None;
        let mut due = stream.first;
        while due <= stream.whole_through {
            let line = match self.reader.next()? {
                Some(Line::Record(line)) if line.stream == stream.id.to_string() => line,
                Some(Line::Damage(_)) => continue,
                _ => return Err(self.reader.wrong("the file was changed while it was read")),
            };
            let own = line.repeatable.as_ref();
            let full = batch.as_ref().is_some_and(|batch| match batch.through {
                0 => batch.records.len() >= BATCH_RECORDS || batch.bytes >= BATCH_BYTES,
                through => due > through || batch.records.len() >= KEYED_RECORDS_MAX,
            });
            if (full || own.is_some())
                && let Some(full) = batch.take()
            {
                self.append(stream, name, &begin, full).await?;
            }
            let (key, through) = match own {
                Some(own) => (key_of(&unhex(&own.key).unwrap_or_default())?, own.through),
                None => (self.key(due)?, 0),
            };
            let record = self.record(&line)?;
            let batch = batch.get_or_insert(Batch {
                first: due,
                key,
                through,
                records: Vec::new(),
                bytes: 0,
            });
            batch.bytes += record.payload.len();
            batch.records.push(record);
            due += 1;
        }
        match batch {
            Some(rest) => self.append(stream, name, &begin, rest).await,
            None => Ok(()),
        }
    }

    /// The id that a stream of the file has here.
    async fn id_of(&self, parent: StreamId, ids: &mut HashMap<StreamId, StreamId>) -> Result<StreamId, Failure> {
        let found = self.plan.streams.iter().find(|stream| stream.id == parent);
        let name = found.and_then(|stream| stream.name.as_ref());
        let id = match name {
            Some(name) => self.log.stream(name).await?,
            None => None,
        };
        let id =
            id.ok_or_else(|| Failure::Failed(format!("the stream {parent}, which a fork continues, was not found")))?;
        ids.insert(parent, id);
        Ok(id)
    }

    fn record(&self, line: &RecordLine) -> Result<NewRecord, Failure> {
        let wrong = |error: String| self.reader.wrong(error);
        let sub = match (&line.sub_stream, &line.sub_stream_name) {
            (Some(sub), Some(name)) => {
                let name = Name::new(&name.principal, &format!("{}{}", self.prefix, name.name));
                let name = name.map_err(|error| wrong(error.to_string()))?;
                Some(Sub::Open(self.sub_id(id(&sub.id).map_err(wrong)?), name))
            }
            (Some(sub), None) => Some(Sub::Next(self.sub_id(id(&sub.id).map_err(wrong)?))),
            (None, _) => None,
        };
        let causation = match &line.causation {
            Some(causation) => self.sub_id(id(causation).map_err(wrong)?).0,
            None => [0; 16],
        };
        let origin = line.origin.as_deref().map(|origin| u64::from_str_radix(origin, 16));
        let payload = line.payload().map_err(wrong)?;
        Ok(NewRecord {
            kind: Kind(line.kind),
            subject: Subject(line.subject),
            sub,
            causation,
            origin: origin
                .transpose()
                .map_err(|error| wrong(error.to_string()))?
                .unwrap_or(0),
            payload: match self.prefix {
                "" => payload,
                prefix => offline::renamed_payload(Kind(line.kind), &payload, prefix),
            },
        })
    }

    /// The id of a sub-stream: its own, or under new names one that follows from the prefix.
    fn sub_id(&self, id: [u8; 16]) -> SubStreamId {
        if self.prefix.is_empty() {
            return SubStreamId(id);
        }
        let hash: [u8; 32] = Sha256::new()
            .chain_update(self.prefix)
            .chain_update([0])
            .chain_update(id)
            .finalize()
            .into();
        SubStreamId(std::array::from_fn(|at| hash[at]))
    }

    async fn append(&mut self, stream: &StreamPlan, name: &Name, begin: &Target, batch: Batch) -> Result<(), Failure> {
        let (target, expect) = match batch.first == stream.first {
            true => (begin.clone(), Expect::Absent),
            false => (Target::Name(name.clone()), Expect::Position(batch.first - 1)),
        };
        let count = batch.records.len() as u64;
        let append = Append {
            parts: vec![Part {
                stream: target,
                expect: vec![expect],
                records: batch.records,
            }],
            key: Some(batch.key),
        };
        let appending = self.log.append(append).await?;
        self.under_way.push_back((appending, batch.first, count));
        self.wait_for(BATCHES_AT_ONCE).await
    }

    /// Waits until at most so many appends are on their way.
    async fn wait_for(&mut self, most: usize) -> Result<(), Failure> {
        while self.under_way.len() > most {
            let Some((appending, first, count)) = self.under_way.pop_front() else {
                break;
            };
            let appended = appending.await.map_err(|error| {
                Failure::Failed(format!(
                    "{error}; {} records are in, and the same import goes on from there when it is done again",
                    self.told.records
                ))
            })?;
            if appended
                .parts
                .first()
                .is_none_or(|part| part.first != first || part.last != first + count - 1)
            {
                return Err(Failure::Failed(format!(
                    "records were not appended where they belong ({:?} instead of {first}): the log was changed since an earlier import",
                    appended.parts.first().map(|part| part.first)
                )));
            }
            self.told.records += count;
            self.told.repeated += if appended.repeated { count } else { 0 };
        }
        Ok(())
    }
}

fn key_of(bytes: &[u8]) -> Result<IdempotencyKey, Failure> {
    IdempotencyKey::new(bytes).ok_or_else(|| Failure::Failed("a key in the export is none".to_owned()))
}
