//! The n-th call of each kind fails, for every n until a run is through: EIO and ENOSPC, once and from then on. Expected of each:
//! a clean error or a stop, no acknowledgement after a stop, an answer for everyone who waits, and nothing acknowledged lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use flowstate_log::Log;
use flowstate_log::disk::Disk;
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::error::{AppendError, OpenError};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::store::adapter;
use flowstate_tests::store::driver::{Work, ask, work};
use flowstate_tests::store::faults::{Faults, Harm, Point, Step, file_kind};
use flowstate_tests::store::ledger::{Event, Ledger};
use flowstate_tests::store::plan::{Op, OpId, OpPart, OpRecord};
use flowstate_tests::store::verify::{self, Depth};
use futures_util::future::join_all;

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
/// How the error begins that tells of a stop. What could not be looked up for an append fails that append alone.
const STOPPED: &str = "the log stopped accepting appends";
/// Longest wait for anything.
const HANG: Duration = Duration::from_secs(5);
/// Appends that wait at once; together they need more than one segment.
const WAITERS: u32 = 16;
/// Crowds after the work: the segments that they need are prepared meanwhile, which may fail too.
const CROWDS: u32 = 1;
/// Further crowds after a failure, by the end of which it must have been noticed.
const CROWDS_TO_NOTICE: u32 = 3;
/// Crowds by the end of which something must have been clustered.
const CROWDS_TO_CLUSTER: u32 = 200;
/// Between two tries on a disk that was full.
const BETWEEN_TRIES: Duration = Duration::from_millis(100);
/// Runs at once: they mostly wait.
const BATCH: u64 = 24;
/// A kind with more calls than this in a run of bounded work does not end.
const CALLS_MAX: u64 = 5_000;

/// How a run with a failing call went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ended {
    /// The call was never made: the run is through.
    Untouched,
    /// The log did not open, and said why.
    NotOpened,
    /// It stopped accepting appends.
    Stopped,
    /// Appends were refused as `Full`, and accepted when there was room.
    FullThenHealed,
    /// The log went on; what failed was not needed, or was done again.
    WentOn,
    /// It failed while the log closed.
    AtClose,
}

/// Appends that wait together, every one of which has to be answered. Returns how many were acknowledged, and a refusal.
async fn crowd(log: &Log, ledger: &Arc<Ledger>, number: u32) -> (u32, Option<AppendError>) {
    let one = |waiter: u32| {
        let (log, ledger) = (log.clone(), ledger.clone());
        let id = OpId {
            cycle: 1,
            task: 100 + waiter,
            number,
        };
        // Mostly what goes into segments; of every eighth, one that becomes a file of its own.
        let record = |number: u32| OpRecord {
            bytes: match number {
                0 if waiter.is_multiple_of(8) => adapter::PAYLOAD_BYTES_MAX,
                _ => adapter::INLINE_BYTES_MAX,
            },
            subject: 0,
            quiet: waiter.is_multiple_of(2),
            sub: None,
        };
        let part = OpPart {
            stream: format!("crowd-{}", waiter % 3),
            fork: None,
            expect: Vec::new(),
            records: (0..2).map(record).collect(),
        };
        tokio::spawn(async move { ask(&log, &ledger, id, &Op::of(vec![part])).await })
    };
    let waiting: Vec<_> = (0..WAITERS).map(one).collect();
    let (mut acked, mut refused) = (0, None);
    for one in waiting {
        let answered = tokio::time::timeout(HANG, one)
            .await
            .expect("everyone who waits is answered");
        match answered.expect("no panic") {
            Ok(_) => acked += 1,
            Err(error) => refused = Some(error),
        }
    }
    (acked, refused)
}

type Before = Arc<(MemoryDisk, MemoryViews, Vec<Event>)>;

/// A store as a power cut leaves it, whose recovery has something to rewrite, and what its driver was told.
async fn cut_off() -> (MemoryDisk, MemoryViews, Vec<Event>) {
    let (disk, views, ledger) = (MemoryDisk::new(), MemoryViews::new(), Arc::new(Ledger::in_memory()));
    let mut limits = adapter::fixed_limits();
    limits.watermark_interval_ms = 60_000;
    let log = adapter::open(Arc::new(disk.clone()), Arc::new(views.clone()), limits).expect("open");
    let plan = Work {
        cycle: 0,
        seed: 3,
        tasks: 2,
        rounds: Some(8),
        bytes: 2_000,
    };
    work(&log, &ledger, plan).await;
    let left = (disk.crash(1), views.copy(), ledger.events());
    log.close().await;
    left
}

/// What the log does after the work, in which the call may have failed.
async fn after_work(log: &Log, faults: &Faults, ledger: &Arc<Ledger>, what: &str) -> Ended {
    for number in 1..=CROWDS + CROWDS_TO_NOTICE {
        if number > CROWDS && faults.fired().is_empty() {
            return Ended::Untouched;
        }
        match crowd(log, ledger, number).await {
            (_, Some(AppendError::Poisoned(_))) => {
                let (acked, again) = crowd(log, ledger, number + 1).await;
                let stopped = acked == 0 && matches!(again, Some(AppendError::Poisoned(_)));
                assert!(stopped, "{what}: {acked} acknowledged after a stop: {again:?}");
                let told = tokio::time::timeout(HANG, log.poisoned()).await;
                assert!(told.is_ok(), "{what}: who watches the log is not told");
                return Ended::Stopped;
            }
            (_, Some(AppendError::Full(_))) => {
                faults.set(None);
                for again in 0.. {
                    let (acked, _) = crowd(log, ledger, 100 + again).await;
                    if acked == WAITERS {
                        return Ended::FullThenHealed;
                    }
                    assert!(again < 50, "{what}: it does not heal");
                    let stopped = tokio::time::timeout(BETWEEN_TRIES, log.poisoned()).await;
                    if let Ok(reason) = stopped {
                        // Who needs room only waits for it; a write of the watermark or of a commit that fails is a stop.
                        let written = |name: &str| name == "watermark" || name.starts_with("slot-");
                        let in_place = faults.fired().iter().any(|(_, name)| written(name));
                        assert!(in_place, "{what}: a full disk is no reason to stop: {reason}");
                        return Ended::Stopped;
                    }
                }
            }
            (_, Some(other)) => panic!("{what}: refused as {other:?}"),
            (_, None) => {}
        }
    }
    if faults.fired().is_empty() {
        Ended::Untouched
    } else {
        Ended::WentOn
    }
}

/// A run comes to be when the disk is well again.
async fn clusters_again(log: &Log, ledger: &Arc<Ledger>, disk: &MemoryDisk, what: &str) {
    let in_run = || {
        disk.list()
            .is_ok_and(|names| names.iter().any(|name| file_kind(name) == "run"))
    };
    for number in 0..CROWDS_TO_CLUSTER {
        if in_run() {
            return;
        }
        let (acked, refused) = crowd(log, ledger, 1_000 + number).await;
        assert_eq!(acked, WAITERS, "{what}: {refused:?} on a disk that is well");
    }
    assert!(in_run(), "{what}: nothing is clustered any more");
}

/// Nothing that was queued after somebody had been told of the stop is acknowledged.
fn no_ack_after_the_stop(events: &[Event], what: &str) {
    let told = |event: &Event| matches!(event, Event::Failed { why, .. } if why.starts_with(STOPPED));
    let stop = events.iter().position(told);
    let Some(stop) = stop else { return };
    let late = events[stop..].iter().filter_map(|event| match event {
        Event::Start { id, .. } => Some(*id),
        _ => None,
    });
    for id in late {
        let acked = events
            .iter()
            .any(|event| matches!(event, Event::Done { id: other, .. } if *other == id));
        assert!(!acked, "{what}: {id} was queued after the stop and acknowledged");
    }
}

async fn run(point: Point, before: Option<Before>) -> Ended {
    let what = format!(
        "{point:?} in {}",
        if before.is_some() {
            "a recovery"
        } else {
            "a first start"
        }
    );
    let (disk, views, mut events) = match before.as_deref() {
        Some((disk, views, events)) => (disk.crash(1), views.copy(), events.clone()),
        None => (MemoryDisk::new(), MemoryViews::new(), Vec::new()),
    };
    let (faults, ledger) = (Faults::at(Some(point)), Arc::new(Ledger::in_memory()));
    let (faulty, faulty_views) = (
        faults.disk(Arc::new(disk.clone())),
        faults.views(Arc::new(views.clone())),
    );
    let ended = match adapter::open(faulty, faulty_views, adapter::fixed_limits()) {
        Err(error) => {
            let typed = matches!(error, OpenError::Io { .. } | OpenError::ViewStore(_));
            assert!(
                typed && !faults.fired().is_empty(),
                "{what}: a failing call is no damage: {error}"
            );
            Ended::NotOpened
        }
        Ok(log) => {
            let plan = Work {
                cycle: 1,
                seed: 9,
                tasks: 2,
                rounds: Some(10),
                bytes: 2_000,
            };
            let worked = tokio::time::timeout(HANG, work(&log, &ledger, plan)).await;
            worked.unwrap_or_else(|_| panic!("{what}: appends hang"));
            let ended = after_work(&log, &faults, &ledger, &what).await;
            let of_runs = |(_, name): &(Step, String)| file_kind(name) == "run";
            if ended == Ended::WentOn && faults.fired().iter().all(of_runs) {
                faults.set(None);
                clusters_again(&log, &ledger, &disk, &what).await;
            }
            let closed = tokio::time::timeout(HANG, log.close()).await;
            closed.unwrap_or_else(|_| panic!("{what}: closing hangs"));
            match ended {
                Ended::Untouched if !faults.fired().is_empty() => Ended::AtClose,
                ended => ended,
            }
        }
    };
    no_ack_after_the_stop(&ledger.events(), &what);
    events.extend(ledger.events());
    // What a restart finds, and what power cuts would have left. The disk is well again.
    for left in [disk.crash(point.number), disk.crash(point.number + 1), disk] {
        let judged = verify::store(Arc::new(left), Arc::new(views.copy()), &events, Depth::Once).await;
        let verdict =
            judged.unwrap_or_else(|error| panic!("{what}, {ended:?}: refused on a disk that is well: {error}"));
        verdict.must_hold(&format!("{what}, {ended:?}"));
    }
    if let Ended::WentOn = ended {
        may_go_on(point, &faults.fired(), &what);
    }
    ended
}

/// What may fail without stopping the log, and why.
fn may_go_on(point: Point, fired: &[(Step, String)], what: &str) {
    let Harm::Fails { errno, .. } = point.harm else { return };
    let of = |prefix: &str| fired.iter().all(|(_, name)| name.starts_with(prefix));
    let harmless = match point.step {
        // The rows are in memory, and the next open brings the store up to date or rebuilds it.
        Step::ViewOpen | Step::ViewWrite | Step::ViewFlush => true,
        // A read is told as an error to who asked, and asked again the next time.
        Step::Read | Step::Len | Step::Open | Step::List => true,
        // A run that was not made is made again as another file: nothing was told on it, and what it was made from is still there.
        Step::Create | Step::Write | Step::Sync if of("run-") => true,
        // Whichever manifest stands after that is true: nothing that one of them lists is touched before the clustering's next try.
        Step::Create | Step::Rename if of("manifest") => true,
        // What nobody needs any more stays until the next open.
        Step::Remove => true,
        // Tried again by those who wait for room, before anybody needed it.
        _ => errno == ENOSPC,
    };
    assert!(harmless, "{what}: {fired:?} failed and the log went on");
}

/// All calls of a first start, or of a recovery and what follows it.
async fn every_call(before: Option<Before>) -> BTreeMap<(&'static str, i32, bool, Ended), u64> {
    let mut outcomes = BTreeMap::new();
    for (step, name) in Step::ALL {
        let takes_room = !matches!(step, Step::Open | Step::List | Step::Lock | Step::Read | Step::Len);
        let full = [(ENOSPC, false), (ENOSPC, true)].into_iter().filter(|_| takes_room);
        for (errno, sticky) in [(EIO, false), (EIO, true)].into_iter().chain(full) {
            for first in (1..).step_by(BATCH as usize) {
                assert!(first < CALLS_MAX, "there is no end of {name}");
                let harm = Harm::Fails { errno, sticky };
                let numbers = first..first + BATCH;
                let runs = numbers.map(|number| tokio::spawn(run(Point { step, number, harm }, before.clone())));
                let ends: Vec<Ended> = join_all(runs)
                    .await
                    .into_iter()
                    .map(|end| end.expect("no panic"))
                    .collect();
                for ended in &ends {
                    *outcomes.entry((name, errno, sticky, *ended)).or_default() += 1;
                }
                if ends.contains(&Ended::Untouched) {
                    break;
                }
            }
        }
    }
    outcomes
}

#[tokio::test(flavor = "multi_thread")]
async fn any_failing_call_stops_the_log_or_is_told_and_loses_nothing() {
    let before = Arc::new(cut_off().await);
    let both = [None, Some(before)].map(|before| tokio::spawn(every_call(before)));
    let mut outcomes: BTreeMap<(&str, i32, bool, Ended), u64> = BTreeMap::new();
    for all in join_all(both).await {
        for (outcome, runs) in all.expect("no panic") {
            *outcomes.entry(outcome).or_default() += runs;
        }
    }
    for ((name, errno, sticky, ended), runs) in &outcomes {
        println!("{name} errno={errno} sticky={sticky}: {ended:?} x{runs}");
    }
    println!("{} runs", outcomes.values().sum::<u64>());
    let seen = |ended: Ended| outcomes.keys().any(|(.., other)| *other == ended);
    for ended in [
        Ended::NotOpened,
        Ended::Stopped,
        Ended::FullThenHealed,
        Ended::WentOn,
        Ended::AtClose,
    ] {
        assert!(
            seen(ended),
            "no run ended as {ended:?}: the faults do not do their work"
        );
    }
}
