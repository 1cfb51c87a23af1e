//! `export`: records as JSON Lines, of everything or of one stream. What is damaged is left out and told, if that was asked for.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use flowstate_log::folder::{Damage, Folder, Progress, StreamSummary};
use flowstate_log::record::{Name, StreamId};
use serde::Serialize;

use super::failure::Failure;
use super::file::Target;
use super::line::{NameLine, RecordLine, hex};
use super::lines::{Header, Line, Trailer, Writer};
use super::output::Output;
use super::{import, place, select};

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    one: select::One,

    /// Leave out what can't be read, and tell each damage; the exit code is 1 if there was any.
    #[arg(long)]
    around_damage: bool,

    /// File to write, which must not exist; `-` for stdout.
    #[arg(value_name = "FILE")]
    to: PathBuf,
}

#[derive(Serialize)]
struct Told<'a> {
    file: &'a Path,
    commit: u64,
    streams: u64,
    records: u64,
    damage: u64,
}

pub(super) fn run(folder: &Path, args: &ExportArgs, out: &Output) -> Result<(), Failure> {
    let files = match args.around_damage {
        true => place::read_damaged(folder)?,
        false => place::read(folder)?,
    };
    let name = args.one.name()?;
    let streams = files.streams()?;
    let wanted = wanted(&streams, name.as_ref())?;
    let head = files.head();
    let header = Header::new(hex(&head.store), head.commit, name.as_ref().map(NameLine::from));
    let mut export = Export {
        writer: Writer::new(Target::create(&args.to)?),
        around_damage: args.around_damage,
        out,
        count: Trailer::default(),
    };
    export.writer.line(&Line::Header(header))?;
    export.records(&files, &wanted)?;
    let Export { writer, count, .. } = export;
    writer.finish(count.clone())?;
    let told = Told {
        file: &args.to,
        commit: head.commit,
        streams: count.streams,
        records: count.records,
        damage: count.damage,
    };
    if args.to != Path::new("-") {
        out.say(&told, || {
            format!(
                "{} records of {} streams, as of commit {}, are in {}",
                told.records,
                told.streams,
                told.commit,
                told.file.display()
            )
        })?;
    }
    match count.damage {
        0 => Ok(()),
        damage => Err(Failure::Found(format!(
            "{damage} damaged places were left out; each is a line of type \"damage\" in the export"
        ))),
    }
}

struct Export<'a> {
    writer: Writer,
    around_damage: bool,
    out: &'a Output,
    count: Trailer,
}

impl Export<'_> {
    fn records(&mut self, files: &Folder, wanted: &HashSet<StreamId>) -> Result<(), Failure> {
        let summary = files.summary();
        for damage in summary.damage {
            self.damage(damage)?;
        }
        let only = wanted.iter().next().copied().filter(|_| wanted.len() == 1);
        let total = summary.bytes.runs + summary.slots.iter().map(|slot| slot.bytes_used).sum::<u64>();
        let bar = self.out.bar();
        let (mut last, mut done) = (None, 0);
        for record in files.records(only) {
            let record = match record {
                Ok(record) => record,
                Err(damage) => {
                    self.damage(damage)?;
                    continue;
                }
            };
            if !wanted.contains(&record.stream) {
                continue;
            }
            let mut line = RecordLine::from(&record);
            // What an import added is not the log's own.
            line.repeatable
                .take_if(|repeatable| import::is_own_key(&repeatable.key));
            done += record.payload.len() as u64;
            self.count.streams += u64::from(last.replace(record.stream) != Some(record.stream));
            self.count.records += 1;
            self.writer.line(&Line::Record(Box::new(line)))?;
            if self.count.records.is_multiple_of(1_024) {
                bar.show(Progress {
                    step: "exporting",
                    done,
                    total,
                });
            }
        }
        Ok(())
    }

    fn damage(&mut self, damage: Damage) -> Result<(), Failure> {
        if !self.around_damage {
            return Err(damage.into());
        }
        self.count.damage += 1;
        self.out.note(&format!("left out: {damage}"));
        self.writer.damage(&damage)
    }
}

/// The streams to export: with each fork those that it continues. Not the log's own stream, and nothing that is hidden and not needed.
fn wanted(streams: &[StreamSummary], only: Option<&Name>) -> Result<HashSet<StreamId>, Failure> {
    let by_id: HashMap<_, _> = streams.iter().map(|stream| (stream.id, stream)).collect();
    let mut open: Vec<&StreamSummary> = match only {
        Some(name) => vec![select::find(streams, name)?],
        None => {
            let own = |stream: &StreamSummary| stream.name.as_ref().is_some_and(select::is_own);
            let shown = streams
                .iter()
                .filter(|stream| !stream.deleted && !stream.erased && !own(stream));
            shown.collect()
        }
    };
    let mut wanted = HashSet::new();
    while let Some(stream) = open.pop() {
        if wanted.insert(stream.id)
            && let Some(parent) = stream.parent
        {
            open.extend(by_id.get(&parent.stream));
        }
    }
    Ok(wanted)
}
