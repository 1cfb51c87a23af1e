//! `tail`: records in the order in which they became durable. Reads the folder's files, so that a server may be writing to them; shows
//! nothing that a crash could take back, which is why it is a moment behind.

use std::collections::{HashMap, VecDeque};
use std::fs;
use std::path::Path;
use std::time::Duration;

use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::folder::{Damage, Folder};
use flowstate_log::record::{Name, Record, StreamId};

use super::failure::Failure;
use super::line::{RecordLine, hex, kind_name};
use super::output::Output;
use super::{place, select, time};

/// Records that are shown of the past when no position is given.
const LAST: usize = 10;
/// How often to look for more.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Looking takes at most one part in so many of the time.
const LOOK_SHARE: u32 = 4;
/// Longest text of a payload in a line for people.
const SHOWN_CHARS: usize = 200;

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct TailArgs {
    #[command(flatten)]
    one: select::One,

    /// Begin with this position of the stream, or with this commit if no stream is named. Without it: with the last 10 records.
    #[arg(long, value_name = "N")]
    from: Option<u64>,

    /// Go on with what comes, until interrupted.
    #[arg(long)]
    follow: bool,
}

/// What was shown, and how to show more.
struct Tail<'a> {
    out: &'a Output,
    only: Option<StreamId>,
    names: HashMap<StreamId, Name>,
    /// The last commit that was shown.
    commit: u64,
}

pub(super) async fn run(folder: &Path, args: &TailArgs, out: &Output) -> Result<(), Failure> {
    let files = place::read(folder)?;
    let durable = place::durable(&files.summary());
    let streams = files.streams()?;
    let name = args.one.name()?;
    let only = match &name {
        Some(name) => Some(select::find(&streams, name)?.id),
        None => None,
    };
    let names = streams
        .into_iter()
        .filter_map(|stream| Some((stream.id, stream.name?)))
        .collect();
    let mut tail = Tail {
        out,
        only,
        names,
        commit: durable,
    };
    tail.past(&files, args.from, durable)?;
    drop(files);
    if !args.follow {
        return Ok(());
    }
    let env = SystemEnv::new();
    let mut seen = Vec::new();
    loop {
        // The watermark says what is durable; while it is the same, nothing is.
        let watermark = fs::read(folder.join("log/watermark")).unwrap_or_default();
        let began = env.monotonic();
        if watermark != seen {
            seen = watermark;
            tail.further(&place::read(folder)?)?;
        }
        let took = env.monotonic().saturating_sub(began);
        tokio::time::sleep(LOOK_EVERY.max(took * LOOK_SHARE)).await;
    }
}

impl Tail<'_> {
    /// What there is already, from the position given or the last few.
    fn past(&mut self, files: &Folder, from: Option<u64>, durable: u64) -> Result<(), Failure> {
        let mut last = VecDeque::new();
        let mut take = |tail: &mut Self, record: Record| match from {
            Some(_) => tail.show(&record),
            None => {
                tail.learn(&record);
                last.push_back(record);
                if last.len() > LAST {
                    last.pop_front();
                }
                Ok(())
            }
        };
        if let Some(stream) = self.only {
            for record in files.records(Some(stream)) {
                let record = self.intact(record)?;
                if record.commit <= durable && record.position >= from.unwrap_or(0) {
                    take(self, record)?;
                }
            }
        } else {
            let after = from
                .unwrap_or(durable.saturating_sub(LAST as u64 - 1))
                .saturating_sub(1);
            for commit in files.commits(after) {
                let commit = self.intact(commit)?;
                if commit.commit > durable {
                    break;
                }
                for record in commit.records {
                    take(self, record)?;
                }
            }
        }
        last.iter().try_for_each(|record| self.show(record))
    }

    /// What became durable since.
    fn further(&mut self, files: &Folder) -> Result<(), Failure> {
        let durable = place::durable(&files.summary());
        for commit in files.commits(self.commit) {
            let commit = self.intact(commit)?;
            if commit.commit > durable {
                break;
            }
            for record in &commit.records {
                self.learn(record);
                if self.only.is_none_or(|only| only == record.stream) {
                    self.show(record)?;
                }
            }
            self.commit = commit.commit;
        }
        Ok(())
    }

    fn intact<T>(&self, read: Result<T, Damage>) -> Result<T, Failure> {
        Ok(read?)
    }

    fn learn(&mut self, record: &Record) {
        if let Some(name) = &record.extras.stream {
            self.names.insert(record.stream, name.clone());
        }
    }

    fn show(&mut self, record: &Record) -> Result<(), Failure> {
        self.learn(record);
        self.out.say(&RecordLine::from(record), || self.text(record))
    }

    fn text(&self, record: &Record) -> String {
        let stream = self
            .names
            .get(&record.stream)
            .map_or_else(|| record.stream.to_string(), select::shown);
        let said = match (record.erased, std::str::from_utf8(&record.payload)) {
            (true, _) => "(erased)".to_owned(),
            (false, Ok(text)) => text.chars().take(SHOWN_CHARS).collect(),
            (false, Err(_)) => hex(&record.payload[..record.payload.len().min(SHOWN_CHARS / 2)]),
        };
        format!(
            "{}.{} {} {stream}#{} {} {}",
            record.commit,
            record.index,
            time::rfc3339(record.time_us),
            record.position,
            kind_name(record.kind),
            said.escape_debug()
        )
    }
}
