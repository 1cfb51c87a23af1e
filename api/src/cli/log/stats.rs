//! `stats`: what the records are, by kind and by stream, and what they take.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use flowstate_log::record::{Kind, StreamId};
use serde::Serialize;

use super::failure::Failure;
use super::line::{NameLine, kind_name};
use super::output::{Output, bytes};
use super::{place, select};

/// What memory keeps for each record that is in no run.
const INDEXED_BYTES: u64 = 12;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct StatsArgs {
    /// How many of the largest streams to list.
    #[arg(long, value_name = "N", default_value = "10")]
    largest: usize,
}

#[derive(Debug, Default, Clone, Copy, Serialize)]
struct Total {
    records: u64,
    payload_bytes: u64,
}

impl Total {
    fn add(&mut self, payload: usize) {
        self.records += 1;
        self.payload_bytes += payload as u64;
    }
}

#[derive(Serialize)]
struct OfKind {
    kind: u16,
    name: String,
    #[serde(flatten)]
    total: Total,
}

#[derive(Serialize)]
struct OfStream {
    id: String,
    name: Option<NameLine>,
    shown: String,
    #[serde(flatten)]
    total: Total,
}

#[derive(Serialize)]
struct Told {
    #[serde(flatten)]
    total: Total,
    streams: u64,
    kinds: Vec<OfKind>,
    largest: Vec<OfStream>,
    /// Payload bytes of what is in runs, by the bytes of the runs and their large payloads; below 1 the rest of the records outweighs what
    /// compression saves.
    compression_ratio: Option<f64>,
    /// Records that memory knows one by one while a server runs: those that are in no run yet.
    indexed_records: u64,
    indexed_bytes: u64,
}

pub(super) fn run(folder: &Path, args: &StatsArgs, out: &Output) -> Result<(), Failure> {
    let files = place::read(folder)?;
    let summary = files.summary();
    let (mut total, mut in_runs) = (Total::default(), Total::default());
    let mut kinds: BTreeMap<u16, Total> = BTreeMap::new();
    let mut streams: HashMap<StreamId, Total> = HashMap::new();
    for record in files.records(None) {
        let record = record?;
        let payload = record.payload.len();
        total.add(payload);
        kinds.entry(record.kind.0).or_default().add(payload);
        streams.entry(record.stream).or_default().add(payload);
        if record.commit <= summary.clustered_through {
            // What lies in a blob is not compressed.
            in_runs.add(if record.extras.blob.is_some() { 0 } else { payload });
        }
    }
    let known: HashMap<_, _> = files.streams()?.into_iter().map(|stream| (stream.id, stream)).collect();
    let mut by_size: Vec<_> = streams.iter().collect();
    by_size.sort_by_key(|(id, total)| (Reverse(total.payload_bytes), **id));
    let largest = by_size.into_iter().take(args.largest).map(|(id, total)| {
        let name = known.get(id).and_then(|stream| stream.name.as_ref());
        OfStream {
            id: id.to_string(),
            name: name.map(NameLine::from),
            shown: name.map_or_else(|| id.to_string(), select::shown),
            total: *total,
        }
    });
    let indexed_records = total.records - in_runs.records;
    let told = Told {
        total,
        streams: streams.len() as u64,
        largest: largest.collect(),
        kinds: kinds
            .into_iter()
            .map(|(kind, total)| OfKind {
                kind,
                name: kind_name(Kind(kind)).into_owned(),
                total,
            })
            .collect(),
        compression_ratio: (summary.bytes.runs > 0).then(|| in_runs.payload_bytes as f64 / summary.bytes.runs as f64),
        indexed_records,
        indexed_bytes: indexed_records * INDEXED_BYTES,
    };
    out.say(&told, || text(&told))
}

fn text(told: &Told) -> String {
    let total = |total: &Total| format!("{:>12} records {:>12}", total.records, bytes(total.payload_bytes));
    let mut lines = vec![format!("{}  in {} streams", total(&told.total), told.streams)];
    lines.push("by kind".to_owned());
    lines.extend(
        told.kinds
            .iter()
            .map(|kind| format!("{}  {}", total(&kind.total), kind.name)),
    );
    lines.push("largest streams".to_owned());
    lines.extend(
        told.largest
            .iter()
            .map(|stream| format!("{}  {}", total(&stream.total), stream.shown)),
    );
    if let Some(ratio) = told.compression_ratio {
        lines.push(format!("runs take one byte for {ratio:.2} bytes of payload"));
    }
    lines.push(format!(
        "{} records are in no run yet: a server keeps {} in memory to find them",
        told.indexed_records,
        bytes(told.indexed_bytes)
    ));
    lines.join("\n")
}
