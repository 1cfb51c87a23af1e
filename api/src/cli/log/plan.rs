//! The first pass of an import: the whole file is read and checked, and it is worked out what is to be appended, before anything is.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use flowstate_engine::offline;
use flowstate_log::limits::Limits;
use flowstate_log::record::{IdempotencyKey, Kind, Name, StreamId};

use super::failure::Failure;
use super::line::{RecordLine, id, stream_id, unhex};
use super::lines::{Header, Line, Reader, Trailer};

/// What a file holds.
pub(super) struct Plan {
    pub(super) header: Header,
    /// Of the whole file: the same for the same file only.
    pub(super) sha256: String,
    /// Streams as they stand in the file.
    pub(super) streams: Vec<StreamPlan>,
    pub(super) damage: u64,
}

/// One stream of it.
#[derive(Debug)]
pub(super) struct StreamPlan {
    pub(super) id: StreamId,
    /// The name that it is to have; `None` if the file does not tell.
    pub(super) name: Option<Name>,
    pub(super) parent: Option<(StreamId, u64)>,
    /// Where its first record stands in the file.
    pub(super) offset: u64,
    /// Position of its own first record.
    pub(super) first: u64,
    /// From the first up to here all records are there; below `first` if the first is missing.
    pub(super) whole_through: u64,
    /// Records behind that, and what is missing before them.
    pub(super) left_out: u64,
    pub(super) why: Option<String>,
    /// It was deleted, and is there for its forks.
    pub(super) deleted: bool,
    /// The key of its first append, if it had one.
    pub(super) first_key: Option<Vec<u8>>,
    /// Names of its sub-streams.
    pub(super) sub_names: Vec<Name>,
}

impl StreamPlan {
    fn leave_out(&mut self, why: impl Into<String>) {
        self.left_out += 1;
        self.why.get_or_insert(why.into());
    }

    /// Nothing of it can be imported.
    pub(super) fn is_empty(&self) -> bool {
        self.name.is_none() || self.whole_through < self.first
    }

    /// What it is called in messages.
    pub(super) fn shown(&self) -> String {
        self.name
            .as_ref()
            .map_or_else(|| self.id.to_string(), |name| format!("{:?}", name.name()))
    }
}

impl Plan {
    /// Reads and checks a file. Names get `prefix` before them.
    pub(super) fn read(place: &Path, prefix: &str) -> Result<Self, Failure> {
        let mut reader = Reader::open(place)?;
        let header = reader.header()?;
        let mut plan = Self {
            header,
            sha256: String::new(),
            streams: Vec::new(),
            damage: 0,
        };
        let mut seen = HashSet::new();
        let mut subs = HashMap::new();
        let mut found = Trailer::default();
        loop {
            let offset = reader.offset();
            match reader.next()? {
                None => return Err(reader.wrong("the file is cut short: there is no trailer")),
                Some(Line::Header(_)) => return Err(reader.wrong("there is a second header")),
                Some(Line::Damage(_)) => found.damage += 1,
                Some(Line::Trailer(trailer)) => {
                    found.streams = plan.streams.len() as u64;
                    found.sha256 = reader.hash();
                    if trailer != found {
                        return Err(reader
                            .wrong("the trailer does not match the lines before: some are missing, or were changed"));
                    }
                    if reader.next()?.is_some() {
                        return Err(reader.wrong("something follows the trailer"));
                    }
                    plan.sha256 = trailer.sha256;
                    plan.damage = trailer.damage;
                    plan.leave_out_orphans();
                    return Ok(plan);
                }
                Some(Line::Record(line)) => {
                    found.records += 1;
                    let stream = stream_id(&line.stream).map_err(|error| reader.wrong(error))?;
                    if plan.streams.last().is_none_or(|last| last.id != stream) {
                        if !seen.insert(stream) {
                            return Err(reader.wrong("the records of a stream do not stand together"));
                        }
                        let begun = begun(&line, stream, offset, prefix);
                        plan.streams.push(begun.map_err(|error| reader.wrong(error))?);
                        subs.clear();
                    }
                    if let Some(last) = plan.streams.last_mut() {
                        take(last, &line, &mut subs, prefix).map_err(|error| reader.wrong(error))?;
                    }
                }
            }
        }
    }

    /// Forks of what is not there wholly up to where they begin.
    fn leave_out_orphans(&mut self) {
        // As often as forks are deep: one that goes takes its own forks with it.
        loop {
            let there: HashMap<StreamId, u64> = self
                .streams
                .iter()
                .filter(|stream| !stream.is_empty())
                .map(|stream| (stream.id, stream.whole_through))
                .collect();
            let mut changed = false;
            for stream in self.streams.iter_mut().filter(|stream| !stream.is_empty()) {
                if let Some((parent, position)) = stream.parent
                    && there.get(&parent).is_none_or(|through| *through < position)
                {
                    stream.left_out += stream.whole_through + 1 - stream.first;
                    stream.why = Some(format!(
                        "it continues the stream {parent}, which is not there up to {position}"
                    ));
                    stream.whole_through = stream.first - 1;
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }

    /// Streams to import, each behind the one that it continues.
    pub(super) fn in_order(&self) -> Vec<&StreamPlan> {
        let mut ordered: Vec<&StreamPlan> = Vec::new();
        let mut placed: HashSet<StreamId> = HashSet::new();
        let mut rest: Vec<&StreamPlan> = self.streams.iter().filter(|stream| !stream.is_empty()).collect();
        loop {
            let before = rest.len();
            rest.retain(|stream| {
                let ready = stream.parent.is_none_or(|(parent, _)| placed.contains(&parent));
                if ready {
                    placed.insert(stream.id);
                    ordered.push(stream);
                }
                !ready
            });
            // What is left continues itself, which no log makes.
            if rest.len() == before {
                return ordered;
            }
        }
    }
}

fn begun(line: &RecordLine, id: StreamId, offset: u64, prefix: &str) -> Result<StreamPlan, String> {
    let name = line.stream_name.as_ref().map(|name| name.name()).transpose()?;
    let renamed = |name: Name| match prefix {
        "" => Ok(name),
        prefix => offline::renamed_stream(&name, prefix).map_err(|error| error.to_string()),
    };
    let parent = match &line.parent {
        Some(parent) => Some((stream_id(&parent.stream)?, parent.position)),
        None => None,
    };
    let first = match parent {
        Some((_, position)) => position.checked_add(1).ok_or("a fork can't begin there")?,
        None => 1,
    };
    Ok(StreamPlan {
        id,
        name: name.map(renamed).transpose()?,
        parent,
        offset,
        first,
        whole_through: first - 1,
        left_out: 0,
        why: None,
        deleted: false,
        first_key: match &line.repeatable {
            Some(repeatable) => Some(unhex(&repeatable.key).ok_or("the key is not hexadecimal")?),
            None => None,
        },
        sub_names: Vec::new(),
    })
}

/// Adds a record to what is known of its stream.
fn take(
    stream: &mut StreamPlan,
    line: &RecordLine,
    subs: &mut HashMap<[u8; 16], u64>,
    prefix: &str,
) -> Result<(), String> {
    let payload = line.payload()?;
    if payload.len() > Limits::default().payload_bytes_max {
        return Err(format!(
            "the payload has {} bytes, which is more than a log takes",
            payload.len()
        ));
    }
    if let Some(repeatable) = &line.repeatable {
        let key = unhex(&repeatable.key).and_then(|key| IdempotencyKey::new(&key));
        key.ok_or("the key is none")?;
    }
    if let Some(causation) = &line.causation {
        id(causation)?;
    }
    let due = stream.whole_through + 1;
    if line.kind < Kind::FIRST_OPEN {
        match Kind(line.kind) {
            Kind::STREAM_DELETED => stream.deleted = true,
            Kind::STREAM_TRIMMED => stream.leave_out("it was trimmed: what made its state is not in the export"),
            _ => stream.leave_out("it has a record that only a log itself appends"),
        }
        return Ok(());
    }
    if stream.name.is_none() || stream.why.is_some() || line.position != due {
        stream.leave_out(match line.position > 1 && due == stream.first {
            true => format!(
                "its first records are missing: it was trimmed, or they are damaged (it begins at {})",
                line.position
            ),
            false => format!("record {due} is missing"),
        });
        return Ok(());
    }
    if line.erased {
        stream.leave_out(format!("record {due} was erased"));
        return Ok(());
    }
    if let Some(sub) = &line.sub_stream {
        let known = subs.entry(id(&sub.id)?).or_default();
        if sub.number != *known + 1 || (sub.number == 1) != line.sub_stream_name.is_some() {
            // In a fork sub-streams may go on that its parent opened.
            let inherited = stream.parent.is_some() && *known == 0 && sub.number > 1 && line.sub_stream_name.is_none();
            if !inherited {
                return Err(format!(
                    "the sub-stream {} has no record {} before this one",
                    sub.id,
                    *known + 1
                ));
            }
        }
        *known = sub.number;
    }
    if let Some(name) = &line.sub_stream_name {
        let renamed = format!("{prefix}{}", name.name);
        let name = Name::new(&name.principal, &renamed).map_err(|error| error.to_string())?;
        stream.sub_names.push(name);
    }
    stream.whole_through = due;
    Ok(())
}
