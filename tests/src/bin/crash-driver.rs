//! A process that appends to a log and writes down what it was told, to be killed. See `flowstate_tests::store`.
//!
//! `crash-driver <data folder> <ledger> <seed> [--cycle n] [--rounds n] [--tasks n] [--fixed] [--buffered] [--die-at call:n:before|after|torn]
//! [--without-sync]`
//! `crash-driver verify <data folder> <ledger>`: one line, and 0 if every promise holds.
//! `crash-driver control|verify-control <folder> <ledger>`: the same for a bare file.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use flowstate_log::Durability;
use flowstate_log::disk::memory::Choice;
use flowstate_tests::store::driver::{Work, repeatable, work_on};
use flowstate_tests::store::faults::{self, Faults};
use flowstate_tests::store::ledger::{self, Event, Ledger};
use flowstate_tests::store::verify::{self, Depth};
use flowstate_tests::store::{adapter, control};

fn main() -> ExitCode {
    faults::tell_panics();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let done = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| match words[..] {
            ["verify", folder, ledger] => runtime.block_on(judge(Path::new(folder), Path::new(ledger))),
            ["control", folder, ledger] => {
                control::write(Path::new(folder), Path::new(ledger)).map_err(|error| error.to_string())
            }
            ["verify-control", folder, ledger] => judge_control(Path::new(folder), Path::new(ledger)),
            [folder, ledger, seed, ref options @ ..] => {
                runtime.block_on(drive(Path::new(folder), Path::new(ledger), seed, options))
            }
            _ => Err(
                "crash-driver <data folder> <ledger> <seed> [options], or verify, control, verify-control".to_owned(),
            ),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crash-driver: {error}");
            ExitCode::FAILURE
        }
    }
}

fn number<T: std::str::FromStr>(text: Option<&&str>) -> Result<T, String> {
    let text = text.ok_or("an option lacks its value")?;
    text.parse().map_err(|_| format!("{text} is not a number"))
}

async fn drive(folder: &Path, ledger: &Path, seed: &str, options: &[&str]) -> Result<(), String> {
    let seed: u64 = number(Some(&seed))?;
    let mut choice = Choice::new(seed);
    let mut limits = adapter::limits(&mut choice);
    let mut plan = Work {
        cycle: 0,
        seed: choice.bits(),
        tasks: 1 + choice.below(6) as u32,
        rounds: None,
        bytes: [64, 600, 2_000][choice.below(3)],
    };
    let mut faults = Faults::default();
    let mut durability = Durability::Sync;
    let mut rest = options.iter();
    while let Some(option) = rest.next() {
        match *option {
            // What only the death of the process may not take back.
            "--buffered" => {
                durability = Durability::Buffered {
                    sync_every_ms: [1, 20, 1_000][choice.below(3)],
                }
            }
            "--cycle" => plan.cycle = number(rest.next())?,
            "--rounds" => plan.rounds = Some(number(rest.next())?),
            "--tasks" => plan.tasks = number(rest.next())?,
            "--fixed" => (limits, plan.bytes) = (adapter::fixed_limits(), 1_100),
            "--without-sync" => faults.lie(),
            "--die-at" => faults = Faults::at(Some(rest.next().ok_or("--die-at lacks its point")?.parse()?)),
            other => return Err(format!("there is no option {other}")),
        }
    }
    let earlier = repeatable(&ledger::read(ledger)?);
    let ledger = Arc::new(Ledger::in_file(ledger).map_err(|error| error.to_string())?);
    ledger.note(Event::Life {
        cycle: plan.cycle,
        seed,
    });
    let disk = faults.disk(adapter::disk(folder).map_err(|error| error.to_string())?);
    let views = faults.views(adapter::view_store(folder));
    let log = adapter::open_with(disk, views, limits, durability).map_err(|error| error.to_string())?;
    ledger.note(Event::Opened { cycle: plan.cycle });
    work_on(&log, &ledger, plan, &earlier).await;
    log.close().await;
    Ok(())
}

async fn judge(folder: &Path, ledger: &Path) -> Result<(), String> {
    let events = ledger::read(ledger)?;
    let verdict = verify::folder(folder, &events, Depth::Rebuild).await?;
    println!("{verdict}");
    let first = verdict.breaches.first();
    first.map_or(Ok(()), |(kind, what)| Err(format!("{kind:?}: {what}")))
}

fn judge_control(folder: &Path, ledger: &Path) -> Result<(), String> {
    let (acked, lost) = control::verify(folder, ledger).map_err(|error| error.to_string())?;
    println!("acked={acked} lost={lost}");
    if lost == 0 {
        Ok(())
    } else {
        Err("the device loses what was synced".to_owned())
    }
}
