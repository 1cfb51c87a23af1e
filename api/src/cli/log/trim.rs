//! `trim`: gives up the first records of one stream or of all.

use std::path::Path;
use std::time::Duration;

use flowstate_engine::offline::carry_bodies;
use flowstate_log::Log;
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::record::{Name, StreamId};
use flowstate_log::verbs::Trim;
use serde::Serialize;

use super::failure::Failure;
use super::line::NameLine;
use super::output::Output;
use super::{place, rebuild, select, time};

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).args(["before", "older_than", "keep_last"]))]
#[command(group = clap::ArgGroup::new("whose").required(true).args(["stream", "session", "all"]))]
pub(super) struct TrimArgs {
    /// Give up the records before this position.
    #[arg(long, value_name = "N", conflicts_with = "all")]
    before: Option<u64>,

    /// Give up the records that are older, such as 30d, 12h or 2w.
    #[arg(long, value_name = "TIME", value_parser = time::length)]
    older_than: Option<Duration>,

    /// Give up all but the last so many records.
    #[arg(long, value_name = "N")]
    keep_last: Option<u64>,

    #[command(flatten)]
    one: select::One,

    /// Of every stream.
    #[arg(long)]
    all: bool,
}

#[derive(Serialize)]
struct Told {
    stream: NameLine,
    id: String,
    /// The first position that it had before.
    oldest_before: u64,
    /// The first position that it still has.
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(super) async fn run(folder: &Path, args: &TrimArgs, out: &Output) -> Result<(), Failure> {
    let what = match (args.before, args.older_than, args.keep_last) {
        (Some(position), ..) => Trim::Before(position),
        (_, Some(length), _) => {
            let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
            Trim::OlderThan(SystemEnv::new().now_us().saturating_sub(length))
        }
        (.., count) => Trim::KeepLast(count.unwrap_or(u64::MAX)),
    };
    let name = args.one.name()?;
    let log = place::open(folder).await?;
    let done = trim(&log, name, what, out).await;
    log.close().await;
    done
}

async fn trim(log: &Log, name: Option<Name>, what: Trim, out: &Output) -> Result<(), Failure> {
    let streams: Vec<(StreamId, Name)> = match name {
        Some(name) => {
            let id = log.stream(&name).await?.ok_or_else(|| select::absent(&name))?;
            vec![(id, name)]
        }
        None => {
            let all = rebuild::all_streams(log).await?;
            all.into_iter().map(|stream| (stream.stream, stream.name)).collect()
        }
    };
    let (mut trimmed, mut refused) = (0_u64, 0_u64);
    for (id, name) in streams {
        let oldest_before = log.oldest(id).await?;
        // What resources say last stays, wherever it was written.
        let left = match carry_bodies(log, id, what).await {
            Ok((what, _)) => log.trim(id, what).await.map_err(|error| error.to_string()),
            Err(error) => Err(format!("the bodies of its resources could not be kept: {error}")),
        };
        let told = Told {
            stream: NameLine::from(&name),
            id: id.to_string(),
            oldest_before,
            oldest: left.as_ref().ok().copied(),
            error: left.as_ref().err().cloned(),
        };
        match &left {
            Ok(oldest) => trimmed += oldest.saturating_sub(oldest_before),
            Err(_) => refused += 1,
        }
        out.say(&told, || match &left {
            Ok(oldest) if *oldest == oldest_before => format!("{}: nothing to give up", select::shown(&name)),
            Ok(oldest) => format!("{}: begins at {oldest} now", select::shown(&name)),
            Err(error) => format!("{}: not trimmed: {error}", select::shown(&name)),
        })?;
    }
    if trimmed > 0 {
        out.note("the space comes back with the next clustering: `flowstate log cluster` does it now");
    }
    match refused {
        0 => Ok(()),
        count => Err(Failure::Found(format!("{count} streams could not be trimmed"))),
    }
}
