//! `erase`: everything of a user, for good. The records are erased and clustered away, the view store is made anew without them, and then
//! every file is looked into.

use std::collections::HashSet;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::path::Path;

use flowstate_engine::{Principal, offline};
use flowstate_log::Log;
use flowstate_log::record::StreamId;
use flowstate_log::verbs::Erase;
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;
use super::output::{Output, bytes};
use super::proof::{Known, Proof};
use super::{cluster, place, rebuild};

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct EraseArgs {
    /// The user: all streams of the principal of this name, and without principals all sessions of this user.
    #[arg(value_name = "USER", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    user: String,

    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

#[derive(Serialize)]
struct Told<'a> {
    user: &'a str,
    streams: u64,
    records: u64,
    clustered: Value,
    proof: &'a Proof,
}

pub(super) async fn run(folder: &Path, args: &EraseArgs, out: &Output) -> Result<(), Failure> {
    let options = place::options(folder)?;
    let log = place::open_with(options.clone()).await?;
    let known = known(folder, &log, &args.user).await;
    let erased = match known {
        Ok(known) => match confirmed(args, &known) {
            Ok(()) => {
                let _bar = out.spinner("erasing and clustering");
                erase(&log, &args.user, &known).await.map(|done| (known, done))
            }
            Err(failure) => Err(failure),
        },
        Err(failure) => Err(failure),
    };
    log.close().await;
    drop(log);
    let (known, (streams, done)) = erased?;
    // Rows that were replaced may lie in the view store's files for long.
    let bar = out.spinner("rebuilding the views");
    let log = rebuild::anew(options).await?;
    log.close().await;
    drop((log, bar));
    let records = known.records;
    let bar = out.spinner("looking into every file");
    let proof = known.look(&place::read(folder)?, folder)?;
    drop(bar);
    let told = Told {
        user: &args.user,
        streams,
        records,
        clustered: cluster::told(&done),
        proof: &proof,
    };
    out.say(&told, || {
        let mut lines = vec![
            format!("erased {records} records in {streams} streams"),
            cluster::text(&done),
            format!(
                "looked for {} texts in {} files ({}); {} more texts are in records of others too",
                proof.texts,
                proof.files,
                bytes(proof.bytes),
                proof.texts_of_others
            ),
        ];
        lines.extend(
            proof
                .files_left
                .iter()
                .map(|file| format!("still there: in {}", file.display())),
        );
        lines.push(
            if proof.ok() {
                "nothing is left"
            } else {
                "something is left"
            }
            .to_owned(),
        );
        lines.join("\n")
    })?;
    out.note("backups and exports that were made before still hold it: make a new backup and remove the old ones");
    match proof.ok() {
        true => Ok(()),
        false => Err(Failure::Found(format!(
            "{} records and {} files still hold something of {:?}: run `flowstate log cluster` and `flowstate log rebuild`; files that no command knows are to be removed by hand",
            proof.records_left,
            proof.files_left.len(),
            args.user
        ))),
    }
}

async fn known(folder: &Path, log: &Log, user: &str) -> Result<Known, Failure> {
    let sessions = offline::streams_of_user(log, &Principal::default(), user).await?;
    let sessions: HashSet<StreamId> = sessions.into_iter().collect();
    let known = Known::collect(&place::read(folder)?, user, sessions)?;
    match known.streams.is_empty() {
        true => Err(Failure::Usage(format!(
            "nothing in the folder is of the user {user:?}: nothing was changed; if an erasure was interrupted, `flowstate log cluster` and `flowstate log rebuild` end it"
        ))),
        false => Ok(known),
    }
}

fn confirmed(args: &EraseArgs, known: &Known) -> Result<(), Failure> {
    if args.yes {
        return Ok(());
    }
    if !stdin().is_terminal() {
        return Err(Failure::Usage(
            "an erasure can't be taken back: confirm it with --yes; nothing was changed".to_owned(),
        ));
    }
    let _ = write!(
        stderr(),
        "{} records in {} streams of {:?} will be gone for good. Type the user's name to go on: ",
        known.records,
        known.streams.len(),
        args.user
    );
    let mut typed = String::new();
    stdin()
        .read_line(&mut typed)
        .map_err(Failure::io("reading the answer"))?;
    match typed.trim_end_matches(['\r', '\n']) == args.user {
        true => Ok(()),
        false => Err(Failure::Usage("that is another name: nothing was changed".to_owned())),
    }
}

/// Erases what is known, and all of the principal of that name. How many streams that were.
async fn erase(log: &Log, user: &str, known: &Known) -> Result<(u64, flowstate_log::Clustered), Failure> {
    let mut live = Vec::new();
    for stream in &known.streams {
        if log
            .stream_name(*stream)
            .await
            .is_ok_and(|name| name.principal().is_empty())
        {
            live.push(*stream);
        }
    }
    live.sort_unstable();
    let mut erased = 0;
    if !live.is_empty() {
        erased += log.erase(Erase::Streams(live)).await?;
    }
    erased += log.erase(Erase::Principal(user.to_owned())).await?;
    Ok((erased, cluster::clustered(log).await?))
}
