//! The writer and the thread beside it under many schedules, chosen at random and by PCT (few switches, anywhere): the real code over a disk in
//! memory, with the log's other threads left out. A failing schedule is printed; `shuttle::replay` runs it again.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use shuttle::rand::{Rng, thread_rng};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread::{self, JoinHandle};
use tokio::sync::{Semaphore, oneshot};

use super::front::Front;
use super::*;
use crate::append::Expect;
use crate::codec::decode_commit;
use crate::disk::memory::MemoryDisk;
use crate::disk::{Disk, DiskFile};
use crate::env::SeededEnv;
use crate::limits::Limits;
use crate::log::Options;
use crate::recovery;
use crate::threads::TASKS_NEVER_RUN;
use crate::view_store::memory::MemoryViews;

const SEGMENT_BYTES: u64 = 16 << 10;
/// Bytes of the queue's room.
const ROOM: usize = 100;
/// No stream is there yet.
const NEVER: u64 = 1 << 40;

/// So that a commit need not be about what the one before is about.
const STREAMS: [&str; 2] = ["s", "t"];

/// Which of them is a caller's.
fn stream_of(caller: usize) -> usize {
    caller / 10 % STREAMS.len()
}

/// What was written, and in which order callers were told.
#[derive(Default)]
struct Journal {
    /// A commit is being written or synced.
    busy: bool,
    last: u64,
    synced: u64,
    /// Which write fails, counted from 1; 0 for none.
    fails_at: u64,
    /// The commit whose write failed.
    failed: Option<u64>,
    /// Commits at the start of a slot.
    slots: u64,
    /// Callers, as they were told.
    told: Vec<usize>,
    violations: Vec<String>,
}

impl Journal {
    fn check(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.violations.push(what());
        }
    }
}

/// The disk, with a point at which others go on in each call that writes a commit.
struct Watched {
    disk: MemoryDisk,
    journal: Arc<Mutex<Journal>>,
}

struct WatchedFile {
    file: Arc<dyn DiskFile>,
    journal: Arc<Mutex<Journal>>,
}

impl Watched {
    fn file(&self, name: &str, file: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        if !Slot::is_name(name) {
            return file;
        }
        let journal = self.journal.clone();
        Arc::new(WatchedFile { file, journal })
    }
}

impl Disk for Watched {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.create(name)?))
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.disk.open(name)?))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn std::any::Any + Send + Sync>> {
        self.disk.lock()
    }
    fn describe(&self) -> String {
        self.disk.describe()
    }
}

impl DiskFile for WatchedFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let fails = {
            let mut journal = self.journal.lock();
            let commit = decode_commit(bytes).map_or(0, |frame| frame.header.commit);
            let (last, busy, failed) = (journal.last, journal.busy, journal.failed);
            journal.check(commit == last + 1, || {
                format!("commit {commit} is written after {last}")
            });
            journal.check(!busy, || format!("commit {commit} is written before {last} has landed"));
            journal.check(failed.is_none(), || {
                format!("commit {commit} is written after a failure")
            });
            journal.busy = true;
            journal.last = commit;
            journal.slots += u64::from(offset == 0);
            commit == journal.fails_at
        };
        thread::yield_now();
        if fails {
            let mut journal = self.journal.lock();
            journal.busy = false;
            journal.failed = Some(journal.last);
            return Err(io::Error::other("planted"));
        }
        self.file.write_at(offset, bytes)
    }

    fn sync(&self) -> io::Result<()> {
        thread::yield_now();
        self.file.sync()?;
        let mut journal = self.journal.lock();
        journal.busy = false;
        journal.synced = journal.last;
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.file.read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }
}

/// Notes when a caller is told, then wakes it.
struct Notes {
    caller: usize,
    journal: Arc<Mutex<Journal>>,
    then: Waker,
}

impl Wake for Notes {
    fn wake(self: Arc<Self>) {
        self.journal.lock().told.push(self.caller);
        self.then.wake_by_ref();
    }
}

/// An answer on its way.
struct Asked {
    caller: usize,
    refused: bool,
    journal: Arc<Mutex<Journal>>,
    sequenced: oneshot::Receiver<Appended>,
    outcome: oneshot::Receiver<Result<Appended, AppendError>>,
}

impl Asked {
    fn poll_with(&mut self, then: &Waker) -> Poll<Result<Appended, AppendError>> {
        let waker = Waker::from(Arc::new(Notes {
            caller: self.caller,
            journal: self.journal.clone(),
            then: then.clone(),
        }));
        let polled = Pin::new(&mut self.outcome).poll(&mut Context::from_waker(&waker));
        polled.map(|sent| sent.unwrap_or(Err(AppendError::Closed)))
    }

    fn wait(mut self) -> Answered {
        let outcome = shuttle::future::block_on(std::future::poll_fn(|cx| self.poll_with(cx.waker())));
        self.answered(outcome)
    }

    /// What it was told by now.
    fn now(mut self) -> Answered {
        match self.poll_with(Waker::noop()) {
            Poll::Ready(outcome) => self.answered(outcome),
            Poll::Pending => panic!("caller {} is not told", self.caller),
        }
    }

    fn answered(mut self, outcome: Result<Appended, AppendError>) -> Answered {
        let sequenced = self.sequenced.try_recv().ok();
        if let Ok(appended) = &outcome {
            assert!(!self.refused, "what it expects does not hold");
            assert_eq!(sequenced.as_ref(), Some(appended));
            let synced = self.journal.lock().synced;
            assert!(appended.commit <= synced, "told before the sync");
        }
        Answered {
            caller: self.caller,
            refused: self.refused,
            outcome,
        }
    }
}

struct Answered {
    caller: usize,
    refused: bool,
    outcome: Result<Appended, AppendError>,
}

/// What callers have.
#[derive(Clone)]
struct Way {
    queue: Arc<Queue>,
    front: Front,
    journal: Arc<Mutex<Journal>>,
    room: Arc<Semaphore>,
    limits: Arc<Limits>,
    runtime: Option<tokio::runtime::Handle>,
}

impl Way {
    /// `None` if the queue is closed.
    fn ask(&self, caller: usize, refused: bool) -> Option<Asked> {
        let append = Append::of(vec![Part {
            stream: Target::Name(Name::new("p", STREAMS[stream_of(caller)]).expect("a name")),
            expect: refused.then_some(Expect::Position(NEVER)).into_iter().collect(),
            records: vec![NewRecord {
                kind: Kind(Kind::FIRST_OPEN),
                subject: Subject::NONE,
                sub: None,
                causation: [0; 16],
                origin: 0,
                payload: Bytes::from_static(b"payload"),
            }],
        }]);
        let (to_sequenced, sequenced) = oneshot::channel();
        let (outcome, answer) = oneshot::channel();
        let mut asked = Asked {
            caller,
            refused,
            journal: self.journal.clone(),
            sequenced,
            outcome: answer,
        };
        assert!(asked.poll_with(Waker::noop()).is_pending());
        let queued = Queued {
            bytes: queued::bytes_in_commit(&self.limits, &append, false).expect("it fits"),
            append,
            prepared: vec![Prepared::default()],
            forks: Vec::new(),
            fingerprint: 0,
            held: Held {
                room: Some(self.room.clone().try_acquire_owned().expect("there is room")),
                ..Held::default()
            },
            sequenced: Some(to_sequenced),
            outcome,
            runtime: self.runtime.clone(),
        };
        self.front.append(Box::new(queued)).then_some(asked)
    }

    /// A caller that appends three times, and waits for each or for all together, and now and then expects what does not hold.
    fn caller(&self, task: usize) -> JoinHandle<Vec<Answered>> {
        let way = self.clone();
        thread::spawn(move || {
            let mut rng = thread_rng();
            let (mut answered, mut asked) = (Vec::new(), Vec::new());
            let patient = rng.gen_bool(0.5);
            for number in 0..3 {
                asked.extend(way.ask(10 * task + number, rng.gen_bool(0.1)));
                if patient {
                    answered.extend(asked.drain(..).map(Asked::wait));
                }
            }
            answered.extend(asked.drain(..).map(Asked::wait));
            answered
        })
    }

    fn three(&self, task: usize) -> Vec<Asked> {
        (0..3)
            .filter_map(|number| self.ask(10 * task + number, false))
            .collect()
    }

    /// Sends what is answered in its turn.
    fn command(&self, command: fn(oneshot::Sender<()>) -> Command) -> Result<(), oneshot::error::RecvError> {
        let (done, answer) = oneshot::channel();
        // One that comes too late is dropped, and with it who would answer.
        let _ = self.queue.push(command(done));
        shuttle::future::block_on(answer)
    }
}

fn options(disk: Arc<dyn Disk>) -> Options {
    Options {
        disk,
        view_store: Arc::new(MemoryViews::new()),
        env: Arc::new(SeededEnv::new(1)),
        limits: Limits {
            segment_bytes: SEGMENT_BYTES,
            commit_bytes_max: 8 << 10,
            inline_bytes_max: 1 << 10,
            commit_appends_max: 4,
            ..Limits::default()
        },
        ..Options::in_memory()
    }
}

/// A disk with a log that was never written to, and slots that are ready.
fn fresh() -> MemoryDisk {
    static FRESH: OnceLock<MemoryDisk> = OnceLock::new();
    let fresh = FRESH.get_or_init(|| {
        let disk = MemoryDisk::new();
        let recovered = recovery::recover(options(Arc::new(disk.clone()))).expect("a new log");
        for _ in 0..3 {
            recovered.shared.files.prepare(SEGMENT_BYTES).expect("a slot");
        }
        disk.sync_dir().expect("sync");
        disk
    });
    fresh.crash(0)
}

/// A runtime whose tasks the scheduler runs, or does not; it is asked for its kind only.
fn runtime() -> tokio::runtime::Handle {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let made = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .build()
            .expect("a runtime")
    };
    RUNTIME.get_or_init(made).handle().clone()
}

#[derive(Clone, Copy, Default)]
struct Scenario {
    /// Callers come from a runtime.
    runtime: bool,
    tasks_never_run: bool,
    /// One of the first writes fails.
    fails: bool,
}

/// One execution: a new log and its writer, what `act` does, the end, and what must hold by then.
fn once(scenario: Scenario, act: impl Fn(&Way) -> Vec<Answered>) {
    TASKS_NEVER_RUN.set(scenario.tasks_never_run);
    let fails_at = if scenario.fails {
        thread_rng().gen_range(1..4)
    } else {
        0
    };
    let journal = Arc::new(Mutex::new(Journal {
        fails_at,
        ..Journal::default()
    }));
    let disk = fresh();
    let watched = Watched {
        disk: disk.clone(),
        journal: journal.clone(),
    };
    let recovered = recovery::recover(options(Arc::new(watched))).expect("a log");
    let shared = recovered.shared;
    let queue = Arc::new(Queue::default());
    let pipeline = Pipeline::new(shared.store, true, recovered.position, shared.stats.clone());
    let syncer = Syncer::start(pipeline, queue.clone()).expect("a thread");
    let way = Way {
        front: Front {
            shared: shared.clone(),
            queue: queue.clone(),
            syncing: syncer.shared(),
        },
        queue,
        journal: journal.clone(),
        room: Arc::new(Semaphore::new(ROOM)),
        limits: Arc::new(shared.limits.clone()),
        runtime: scenario.runtime.then(runtime),
    };
    let writer = Writer::new(shared.clone(), way.queue.clone(), syncer);
    let writing = thread::spawn(move || writer.run());

    let mut answered = act(&way);
    let _ = way.command(Command::Close);
    writing.join().expect("the writer ends");
    assert!(way.ask(99, false).is_none(), "a closed queue takes nothing");
    assert_eq!(way.room.available_permits(), ROOM, "room is given back");

    let journal = journal.lock();
    assert!(journal.violations.is_empty(), "{:?}", journal.violations);
    let place = |caller| journal.told.iter().position(|told| *told == caller);
    answered.sort_by_key(|answered| place(answered.caller));
    let (mut positions, mut latest) = ([0; STREAMS.len()], [0; 10]);
    for Answered {
        caller,
        refused,
        outcome,
    } in &answered
    {
        assert!(*caller >= latest[caller / 10], "{:?}", journal.told);
        match outcome {
            Ok(appended) => {
                let position = &mut positions[stream_of(*caller)];
                assert_eq!(appended.parts[0].first, *position + 1, "{:?}", journal.told);
                *position += 1;
                assert!(journal.failed.is_none_or(|failed| appended.commit < failed));
            }
            Err(AppendError::Closed) => continue,
            Err(AppendError::Poisoned(_)) => assert!(journal.failed.is_some()),
            Err(AppendError::PositionMismatch { .. }) => assert!(refused),
            Err(error) => panic!("caller {caller}: {error}"),
        }
        latest[caller / 10] = *caller;
    }
    let whole = journal.last - u64::from(journal.failed.is_some());
    assert_eq!(journal.synced, whole);
    drop(shared);
    let again = recovery::recover(options(Arc::new(disk))).expect("the log opens again");
    assert_eq!(again.position.commit, whole);
}

fn explore(scenario: Scenario, act: fn(&Way) -> Vec<Answered>) {
    let schedules = std::env::var("FLOWSTATE_SCHEDULES").map_or(2_000, |number| number.parse().expect("a number"));
    let mut config = shuttle::Config::new();
    config.stack_size = 1 << 20;
    config.max_steps = shuttle::MaxSteps::FailAfter(20_000);
    let random = shuttle::Runner::new(RandomScheduler::new(schedules), config.clone());
    random.run(move || once(scenario, act));
    let pct = shuttle::Runner::new(PctScheduler::new(4, schedules), config);
    pct.run(move || once(scenario, act));
}

/// Everyone's answers.
fn all(tasks: Vec<JoinHandle<Vec<Answered>>>) -> Vec<Answered> {
    let told = tasks.into_iter().flat_map(|task| task.join().expect("a caller ends"));
    told.collect()
}

fn crowd(way: &Way) -> Vec<Answered> {
    let answered = all((0..3).map(|task| way.caller(task)).collect());
    assert_eq!(answered.len(), 9);
    let given_up = answered
        .iter()
        .any(|answered| matches!(answered.outcome, Err(AppendError::Closed)));
    assert!(!given_up, "everyone is told");
    answered
}

/// Callers of two streams that never wait: while what one has written is taken in, another writes.
#[test]
fn what_was_written_is_visible_before_more_is_put_behind_it() {
    explore(Scenario::default(), |way| {
        let tasks = (0..4).map(|task| {
            let way = way.clone();
            thread::spawn(move || {
                let asked: Vec<Asked> = (0..5)
                    .filter_map(|number| {
                        thread::yield_now();
                        way.ask(10 * task + number, false)
                    })
                    .collect();
                asked.into_iter().map(Asked::wait).collect::<Vec<_>>()
            })
        });
        all(tasks.collect())
    });
}

#[test]
fn a_crowd_is_answered() {
    explore(Scenario::default(), crowd);
}

#[test]
fn a_crowd_is_answered_with_the_help_of_its_runtime() {
    let runtime = true;
    explore(
        Scenario {
            runtime,
            ..Scenario::default()
        },
        crowd,
    );
}

#[test]
fn a_crowd_is_answered_though_its_runtime_never_runs_a_task() {
    explore(
        Scenario {
            runtime: true,
            tasks_never_run: true,
            ..Scenario::default()
        },
        crowd,
    );
}

#[test]
fn after_a_write_that_fails_everyone_is_refused() {
    let scenario = Scenario {
        runtime: true,
        fails: true,
        ..Scenario::default()
    };
    explore(scenario, |way| {
        let mut answered = crowd(way);
        if way.journal.lock().failed.is_some() {
            let later = way.ask(90, false).expect("the queue is open").wait();
            assert!(matches!(later.outcome, Err(AppendError::Poisoned(_))));
            answered.push(later);
        }
        answered
    });
}

#[test]
fn closing_waits_for_what_was_sent_before() {
    explore(Scenario::default(), |way| {
        let others = vec![way.caller(0), way.caller(1)];
        let mine = way.three(2);
        assert_eq!(mine.len(), 3);
        way.command(Command::Close).expect("it is answered");
        let mut answered: Vec<Answered> = mine.into_iter().map(Asked::now).collect();
        assert!(answered.iter().all(|answered| answered.outcome.is_ok()));
        assert!(way.ask(29, false).is_none(), "nothing is taken in after it");
        answered.extend(all(others));
        answered
    });
}

#[test]
fn a_queue_that_is_closed_is_worked_off() {
    explore(
        Scenario {
            runtime: true,
            ..Scenario::default()
        },
        |way| {
            let others = vec![way.caller(0), way.caller(1)];
            let mine = way.three(2);
            way.queue.close();
            let mut answered: Vec<Answered> = mine.into_iter().map(Asked::wait).collect();
            answered.extend(all(others));
            let told = answered
                .iter()
                .all(|answered| !matches!(answered.outcome, Err(AppendError::Closed)));
            assert!(told, "what was taken in is answered");
            answered
        },
    );
}

#[test]
fn sealing_waits_for_what_was_sent_before_and_ends_the_segment() {
    explore(
        Scenario {
            runtime: true,
            ..Scenario::default()
        },
        |way| {
            let others = vec![way.caller(0), way.caller(1)];
            let mine = way.three(2);
            way.command(Command::Seal).expect("it is answered");
            let synced = way.journal.lock().synced;
            let mut answered: Vec<Answered> = mine.into_iter().map(Asked::wait).collect();
            for answered in &answered {
                let appended = answered.outcome.as_ref().expect("it is appended");
                assert!(appended.commit <= synced, "the seal was told before");
            }
            answered.extend(way.ask(29, false).map(Asked::wait));
            answered.extend(all(others));
            assert_eq!(way.journal.lock().slots, 2);
            answered
        },
    );
}

#[test]
fn a_queue_that_is_closed_while_the_writer_rests_ends_it() {
    explore(Scenario::default(), |way| {
        let answered = crowd(way);
        way.queue.close();
        answered
    });
}
