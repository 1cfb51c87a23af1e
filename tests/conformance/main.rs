//! The contract's checks as cases in files, against the server as a process, over a socket, on a folder.

mod abandon;
mod call;
mod case;
mod judge;
mod matcher;
mod perform;
mod servers;
mod spoil;
mod stream;
mod suite;
mod values;

use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flowstate_tests::http::PATIENCE;
use tokio::sync::{OnceCell, Semaphore};

use self::judge::judge;
use self::perform::perform;
use self::servers::Servers;
use self::suite::Suite;
use self::values::Results;

/// Checks that the server does not pass yet, and why. One that passes must leave this list.
const PENDING: &[(u32, &str)] = &[];

/// Longest wait for anything in a case that is not expected to pass.
const PENDING_PATIENCE: Duration = Duration::from_secs(5);

/// How many cases run at once, besides the slow ones.
const SIDE_BY_SIDE: usize = 12;

/// What came of a case.
struct Outcome {
    check: u32,
    title: String,
    results: Result<Results, String>,
}

/// Why a check is not expected to pass.
fn reason<'a>(check: u32, pending: &[(u32, &'a str)]) -> Option<&'a str> {
    let entry = pending.iter().find(|(number, _)| *number == check);
    entry.map(|(_, reason)| *reason)
}

/// What is not as expected: a check that fails, or one that passes although it is on the list of those that do not.
fn wrong<'a>(outcomes: impl Iterator<Item = (u32, &'a str, Result<(), &'a str>)>, pending: &[(u32, &str)]) -> String {
    let mut wrong = String::new();
    for (check, title, result) in outcomes {
        let _ = match (result, reason(check, pending)) {
            (Ok(()), None) => Ok(()),
            (Err(why), None) => writeln!(wrong, "check {check} ({title}) fails:\n  {why}"),
            (Ok(()), Some(_)) => writeln!(wrong, "check {check} passes: take it off the list of those that do not"),
            (Err(why), Some(reason)) => {
                eprintln!("check {check} is pending ({reason}): {why}");
                Ok(())
            }
        };
    }
    wrong
}

fn suite() -> Suite {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance");
    Suite::read(&folder).unwrap_or_else(|problems| panic!("{}", problems.join("\n")))
}

/// Runs all cases, once for all tests.
async fn outcomes() -> &'static (Suite, Vec<Outcome>) {
    static OUTCOMES: OnceCell<(Suite, Vec<Outcome>)> = OnceCell::const_new();
    OUTCOMES.get_or_init(run).await
}

async fn run() -> (Suite, Vec<Outcome>) {
    let suite = Arc::new(suite());
    let servers = tokio::task::spawn_blocking(Servers::start);
    let servers = Arc::new(servers.await.expect("servers"));
    let side_by_side = Arc::new(Semaphore::new(SIDE_BY_SIDE));
    let numbers: Vec<u32> = suite.cases().map(|(_, case)| case.check).collect();
    let only = std::env::var("FLOWSTATE_CONFORMANCE_ONLY").ok().map(|list| {
        let list = list.split(',').map(|number| number.parse().expect("numbers of checks"));
        list.collect::<Vec<u32>>()
    });
    let numbers = numbers
        .into_iter()
        .filter(|number| only.as_ref().is_none_or(|only| only.contains(number)));
    let tasks = numbers.map(|number| {
        let (suite, servers, side_by_side) = (Arc::clone(&suite), Arc::clone(&servers), Arc::clone(&side_by_side));
        tokio::spawn(async move {
            let (section, case) = suite.cases().find(|(_, case)| case.check == number).expect("a case");
            let _turn = match case.slow {
                true => None,
                false => Some(side_by_side.acquire().await.expect("a turn")),
            };
            let servers = match case.own_server {
                true => {
                    let own = tokio::task::spawn_blocking(move || servers.own());
                    Arc::new(own.await.expect("a server"))
                }
                false => servers,
            };
            let patience = match reason(number, PENDING) {
                Some(_) => PENDING_PATIENCE,
                None => PATIENCE,
            };
            let results = perform(section, case, servers, patience).await.and_then(|results| {
                let failures = case.then.iter().filter_map(|matcher| judge(matcher, &results).err());
                let failures: Vec<String> = failures.collect();
                match failures.is_empty() {
                    true => Ok(results),
                    false => Err(failures.join("\n  ")),
                }
            });
            Outcome {
                check: number,
                title: format!("{}: {}", section.section, case.title),
                results,
            }
        })
    });
    let mut outcomes = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        outcomes.push(task.await.expect("a case"));
    }
    (Arc::into_inner(suite).expect("the cases have ended"), outcomes)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_conforms() {
    let (_, outcomes) = outcomes().await;
    let outcomes = outcomes.iter().map(|outcome| {
        let result = outcome.results.as_ref().map(drop).map_err(String::as_str);
        (outcome.check, outcome.title.as_str(), result)
    });
    let wrong = wrong(outcomes, PENDING);
    assert!(wrong.is_empty(), "{wrong}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_matcher_can_fail() {
    let (suite, outcomes) = outcomes().await;
    let mut report = String::new();
    let passed = outcomes
        .iter()
        .filter_map(|outcome| Some((outcome.check, outcome.results.as_ref().ok()?)));
    for (check, results) in passed {
        let (_, case) = suite.cases().find(|(_, case)| case.check == check).expect("a case");
        for what in spoil::blind(&case.then, results) {
            let _ = writeln!(
                report,
                "check {check} does not notice that what it has got is spoilt: {what}"
            );
        }
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn what_fails_is_told_and_what_passes_is_not_pending() {
    let told = |result, pending: &[(u32, &str)]| wrong([(1, "t", result)].into_iter(), pending);
    assert_eq!(told(Ok(()), &[(2, "no route")]), "");
    assert_eq!(told(Err("why"), &[(1, "no route")]), "");
    assert_eq!(told(Err("why"), &[]), "check 1 (t) fails:\n  why\n");
    assert!(told(Ok(()), &[(1, "no route")]).contains("check 1 passes"));
}

#[test]
fn pending_checks_are_in_the_contract_once() {
    let mut numbers: Vec<u32> = PENDING.iter().map(|(number, _)| *number).collect();
    let count = numbers.len();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), count);
    assert!(numbers.iter().all(|number| (1..=suite::CHECKS).contains(number)));
    assert!(PENDING.iter().all(|(_, why)| !why.is_empty()));
}
