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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use sha2::{Digest, Sha256};

    use super::super::line::hex;
    use super::*;

    fn record(stream: u8, position: u64, more: Value) -> Value {
        let mut line = json!({
            "type": "record", "stream": hex(&[stream; 16]), "position": position, "kind": 40, "commit": position,
            "index": 0, "time_us": 5, "text": "said",
        });
        if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
            line.extend(more);
        }
        line
    }

    /// What an export of two streams and a fork holds, without the trailer.
    fn lines() -> Vec<Value> {
        let named = |name: &str| json!({ "stream_name": { "name": name } });
        let sub = |number: u64| json!({ "id": hex(&[9; 16]), "number": number });
        vec![
            json!({ "type": "header", "format": "flowstate-export", "version": 1, "store": hex(&[1; 16]), "commit": 9 }),
            record(1, 1, named("session/one")),
            record(
                1,
                2,
                json!({ "sub_stream": sub(1), "sub_stream_name": { "principal": "p", "name": "request/r" } }),
            ),
            record(
                1,
                3,
                json!({ "sub_stream": sub(2), "origin": hex(&[7; 8]), "causation": hex(&[8; 16]) }),
            ),
            record(
                2,
                1,
                json!({ "stream_name": { "name": "session/two" }, "repeatable": { "key": "6b", "through": 2 } }),
            ),
            record(2, 2, json!({ "bytes": "ff00", "text": null })),
            json!({ "type": "damage", "what": "something" }),
            record(
                3,
                3,
                json!({ "stream_name": { "name": "fork" }, "parent": { "stream": hex(&[1; 16]), "position": 2 } }),
            ),
        ]
    }

    fn sealed(line: &Value) -> String {
        let json = line.to_string();
        let check = &hex(&Sha256::digest(&json.as_bytes()[1..]))[..16];
        format!("{{\"check\":\"{check}\",{}\n", &json[1..])
    }

    /// An export of these lines that checks, whatever they say.
    fn export(lines: &[Value]) -> String {
        let mut text: String = lines.iter().map(sealed).collect();
        let of = |kind: &'static str| lines.iter().filter(move |line| line["type"] == kind);
        let streams: HashSet<String> = of("record").map(|line| line["stream"].to_string()).collect();
        let trailer = json!({
            "type": "trailer", "streams": streams.len(), "records": of("record").count(),
            "damage": of("damage").count(), "sha256": hex(&Sha256::digest(text.as_bytes())),
        });
        text.push_str(&sealed(&trailer));
        text
    }

    fn read(text: &[u8]) -> Result<Plan, Failure> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let place = folder.path().join("export");
        std::fs::write(&place, text).expect("written");
        Plan::read(&place, "")
    }

    #[test]
    fn an_export_of_streams_and_a_fork_is_whole() {
        let plan = read(export(&lines()).as_bytes()).unwrap_or_else(|_| panic!("an export"));
        let whole: Vec<_> = plan
            .streams
            .iter()
            .map(|of| (of.first, of.whole_through, of.left_out))
            .collect();
        assert_eq!((whole, plan.damage), (vec![(1, 3, 0), (1, 2, 0), (3, 3, 0)], 1));
    }

    /// Values that a field may be made to have.
    fn values() -> impl Strategy<Value = Value> {
        let numbers = any::<u64>().prop_map(Value::from).boxed();
        prop_oneof![
            numbers,
            prop_oneof![Just(0), Just(1), Just(2), Just(u64::MAX)].prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[0-9a-f]{0,40}".prop_map(Value::from),
            "\\PC{0,20}".prop_map(Value::from),
            prop_oneof![
                Just(Value::Null),
                Just(json!([])),
                Just(json!({})),
                Just(json!({ "id": "0", "number": 0 }))
            ],
        ]
    }

    const FIELDS: [&str; 16] = [
        "type",
        "stream",
        "position",
        "stream_name",
        "parent",
        "sub_stream",
        "sub_stream_name",
        "kind",
        "subject",
        "commit",
        "origin",
        "repeatable",
        "erased",
        "text",
        "bytes",
        "version",
    ];

    proptest! {
        #[test]
        fn a_changed_export_is_refused(at: prop::sample::Index, bit in 0..8u8, cut: bool) {
            let mut text = export(&lines()).into_bytes();
            let at = at.index(text.len());
            match cut {
                true => text.truncate(at),
                false => text[at] ^= 1 << bit,
            }
            prop_assert!(read(&text).is_err());
        }

        #[test]
        fn whatever_lines_say_that_check_nothing_panics(
            changes in prop::collection::vec((any::<prop::sample::Index>(), prop::sample::select(&FIELDS), values()), 1..4),
            swap: Option<(prop::sample::Index, prop::sample::Index)>,
        ) {
            let mut lines = lines();
            for (line, field, value) in changes {
                let line = line.index(lines.len());
                lines[line][field] = value;
            }
            if let Some((one, other)) = swap {
                let (one, other) = (one.index(lines.len()), other.index(lines.len()));
                lines.swap(one, other);
            }
            if let Ok(plan) = read(export(&lines).as_bytes()) {
                for stream in plan.in_order() {
                    prop_assert!(stream.is_empty() || stream.whole_through - stream.first < lines.len() as u64);
                }
            }
        }
    }
}
