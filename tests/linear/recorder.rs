//! Records what concurrent tasks ask of a log and are told, while the power is cut now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowstate_log::Log;
use flowstate_log::append::{Append, Expect, NewRecord};
use flowstate_log::disk::memory::Choice;
use flowstate_log::error::AppendError;
use flowstate_log::record::{IdempotencyKey, Record, StreamId, Subject};
use flowstate_tests::linear::{Asked, Condition, Entry, Operation, Told};
use flowstate_tests::log::{name, note, part};
use parking_lot::Mutex;
use tokio::sync::RwLock;

const TASKS: u64 = 8;
const STREAMS: usize = 3;
/// Of so many operations of a task one cuts the power, if the store allows it.
const CUT_ONE_IN: usize = 60;

/// The operations on each stream.
pub(crate) type History = Vec<Vec<Operation>>;

/// What can be opened again after its power was cut.
pub(crate) trait Store: Send {
    fn open(&self) -> Log;
    /// From now on [`Store::open`] opens what a power cut at this instant leaves; `false` if the power can't be cut.
    fn cut(&mut self, seed: u64) -> bool;
}

/// How a log lies, to see that it is caught. Each now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A read shows what an earlier one showed.
    StaleRead,
    /// A refused append is told to be appended.
    RefusedIsAcked,
    /// An append is acknowledged and goes nowhere.
    AckedIsLost,
    /// The same append with the same key is appended twice.
    RepeatedIsAppended,
}

struct World {
    store: Mutex<Box<dyn Store>>,
    /// With the number of power cuts before it.
    log: RwLock<(u64, Log)>,
    clock: AtomicU64,
    told: Mutex<Heard>,
    fault: Option<Fault>,
}

#[derive(Default)]
struct Heard {
    cuts: u64,
    history: History,
}

/// Records a history of `operations` for each task, and a look at everything at the end.
pub(crate) async fn record(store: Box<dyn Store>, seed: u64, operations: usize, fault: Option<Fault>) -> History {
    let log = store.open();
    let world = Arc::new(World {
        store: Mutex::new(store),
        log: RwLock::new((0, log)),
        clock: AtomicU64::new(0),
        told: Mutex::new(Heard {
            cuts: 0,
            history: vec![Vec::new(); STREAMS],
        }),
        fault,
    });
    let tasks: Vec<_> = (0..TASKS)
        .map(|number| {
            let mut task = Task::new(world.clone(), seed, number);
            tokio::spawn(async move {
                for _ in 0..operations {
                    task.step().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a task");
    }
    let mut last = Task::new(world.clone(), seed, TASKS);
    for stream in 0..STREAMS {
        last.perform(stream, Asked::Bounds).await;
        let mut from = 1;
        while let Told::Read(read) = last.perform(stream, Asked::Read { from, limit: 1_000 }).await
            && !read.is_empty()
        {
            from += read.len() as u64;
        }
    }
    world.log.read().await.1.close().await;
    std::mem::take(&mut world.told.lock().history)
}

struct Task {
    world: Arc<World>,
    choice: Choice,
    number: u64,
    made: u64,
    /// Where each stream and its subjects stood when this task last heard of them.
    lasts: [u64; STREAMS],
    versions: [[u64; 3]; STREAMS],
    /// Appends with keys that may be sent again.
    keyed: Vec<(usize, Asked)>,
    /// What a read showed.
    shown: Vec<(usize, Asked, Told)>,
}

impl Task {
    fn new(world: Arc<World>, seed: u64, number: u64) -> Self {
        Self {
            world,
            choice: Choice::new(seed.wrapping_mul(1_000).wrapping_add(number)),
            number,
            made: 0,
            lasts: [0; STREAMS],
            versions: [[0; 3]; STREAMS],
            keyed: Vec::new(),
            shown: Vec::new(),
        }
    }

    async fn step(&mut self) {
        let stream = self.choice.below(STREAMS);
        if self.choice.below(CUT_ONE_IN) == 0 {
            self.cut().await;
        }
        match self.choice.below(10) {
            0..=4 => {
                let asked = self.an_append(stream);
                self.perform(stream, asked).await;
            }
            5 if !self.keyed.is_empty() => {
                let (stream, asked) = self.keyed[self.choice.below(self.keyed.len())].clone();
                self.perform(stream, asked).await;
            }
            6 => drop(self.perform(stream, Asked::Bounds).await),
            _ => {
                let from = 1 + self.choice.below(self.lasts[stream] as usize + 1) as u64;
                let limit = 1 + self.choice.below(10);
                self.perform(stream, Asked::Read { from, limit }).await;
            }
        }
    }

    fn an_append(&mut self, stream: usize) -> Asked {
        let entries: Vec<Entry> = (0..1 + self.choice.below(2))
            .map(|_| {
                self.made += 1;
                Entry {
                    value: self.number << 32 | self.made,
                    subject: self.choice.below(3) as u16,
                }
            })
            .collect();
        let condition = match self.choice.below(3) {
            0 => None,
            1 => Some(Condition::Position(self.lasts[stream])),
            _ => {
                let subject = 1 + self.choice.below(2) as u16;
                Some(Condition::Version(subject, self.versions[stream][subject as usize]))
            }
        };
        let key = (self.choice.below(3) == 0).then_some(entries[0].value);
        let asked = Asked::Append {
            entries,
            condition,
            key,
        };
        if key.is_some() {
            self.keyed.push((stream, asked.clone()));
        }
        asked
    }

    /// Asks the log and notes what it told, unless the power was cut meanwhile: then a read counts as not asked, and of an append nobody
    /// knows.
    async fn perform(&mut self, stream: usize, asked: Asked) -> Told {
        let world = self.world.clone();
        let (cuts, log) = world.log.read().await.clone();
        let call = world.clock.fetch_add(1, Ordering::SeqCst);
        let told = match self.lie(stream, &asked, &log).await {
            Some(told) => told,
            None => ask(&log, stream, &asked).await,
        };
        let mut heard = world.told.lock();
        let told = if heard.cuts == cuts { told } else { Told::Unknown };
        let back = world.clock.fetch_add(1, Ordering::SeqCst);
        self.learn(stream, &asked, &told);
        if told != Told::Unknown || matches!(asked, Asked::Append { .. }) {
            heard.history[stream].push(Operation {
                call,
                back,
                asked,
                told: told.clone(),
            });
        }
        told
    }

    fn learn(&mut self, stream: usize, asked: &Asked, told: &Told) {
        match (asked, told) {
            (Asked::Append { entries, .. }, Told::Appended { first, repeated: false }) => {
                for (position, entry) in (*first..).zip(entries) {
                    self.versions[stream][entry.subject as usize] = position;
                    self.lasts[stream] = position;
                }
            }
            (Asked::Append { condition, .. }, Told::Refused(actual)) => match condition {
                Some(Condition::Version(subject, _)) => self.versions[stream][*subject as usize] = *actual,
                _ => self.lasts[stream] = *actual,
            },
            (Asked::Bounds, Told::Bounds(_, last)) => self.lasts[stream] = *last,
            (Asked::Read { .. }, Told::Read(_)) => self.shown.push((stream, asked.clone(), told.clone())),
            _ => {}
        }
    }

    /// What a log that lies tells now.
    async fn lie(&mut self, stream: usize, asked: &Asked, log: &Log) -> Option<Told> {
        let fault = self.world.fault?;
        if self.choice.below(4) > 0 {
            return None;
        }
        let appended = |first| Told::Appended { first, repeated: false };
        match (fault, asked) {
            (Fault::StaleRead, Asked::Read { .. }) => {
                let same = |(of, before, _): &&(usize, Asked, Told)| *of == stream && before == asked;
                self.shown.iter().find(same).map(|(.., told)| told.clone())
            }
            (Fault::StaleRead, Asked::Bounds) => Some(Told::Bounds(1, self.lasts[stream].saturating_sub(1))),
            (Fault::RefusedIsAcked, Asked::Append { .. }) => match ask(log, stream, asked).await {
                Told::Refused(actual) => Some(appended(actual + 1)),
                told => Some(told),
            },
            (Fault::AckedIsLost, Asked::Append { condition: None, .. }) => match ask(log, stream, &Asked::Bounds).await
            {
                Told::Bounds(_, last) => Some(appended(last + 1)),
                _ => None,
            },
            (
                Fault::RepeatedIsAppended,
                Asked::Append {
                    entries,
                    condition,
                    key: Some(_),
                },
            ) => {
                let unkeyed = Asked::Append {
                    entries: entries.clone(),
                    condition: *condition,
                    key: None,
                };
                Some(ask(log, stream, &unkeyed).await)
            }
            _ => None,
        }
    }

    /// Cuts the power: what was told before is what the log may not take back. Others wait for the reopened log.
    async fn cut(&mut self) {
        let mut log = self.world.log.write().await;
        {
            let mut heard = self.world.told.lock();
            if !self.world.store.lock().cut(self.choice.bits()) {
                return;
            }
            heard.cuts += 1;
        }
        log.1.close().await;
        *log = (log.0 + 1, self.world.store.lock().open());
    }
}

fn stream_name(stream: usize) -> String {
    format!("s{stream}")
}

/// Asks the log. What fails for another reason than a condition is unknown.
async fn ask(log: &Log, stream: usize, asked: &Asked) -> Told {
    match asked {
        Asked::Append {
            entries,
            condition,
            key,
        } => {
            let records = entries.iter().map(|entry| NewRecord {
                subject: Subject(entry.subject),
                ..note(entry.value.to_string())
            });
            let mut part = part(&stream_name(stream), records.collect());
            part.expect.extend(condition.map(|condition| match condition {
                Condition::Position(position) => Expect::Position(position),
                Condition::Version(subject, version) => Expect::Version(Subject(subject), version),
            }));
            let append = Append {
                parts: vec![part],
                key: key.and_then(|key| IdempotencyKey::new(&key.to_be_bytes())),
            };
            let outcome = match log.append(append).await {
                Ok(appending) => appending.await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(appended) => Told::Appended {
                    first: appended.parts[0].first,
                    repeated: appended.repeated,
                },
                Err(AppendError::PositionMismatch { actual, .. } | AppendError::VersionMismatch { actual, .. }) => {
                    Told::Refused(actual)
                }
                Err(AppendError::Closed | AppendError::Poisoned(_)) => Told::Unknown,
                Err(error) => panic!("no append of these is refused with: {error}"),
            }
        }
        Asked::Read { from, limit } => match id(log, stream).await {
            None => Told::Read(Vec::new()),
            Some(id) => {
                let records = log.read(id, *from, *limit).await.expect("a read");
                Told::Read(records.iter().map(entry).collect())
            }
        },
        Asked::Bounds => match id(log, stream).await {
            None => Told::Bounds(1, 0),
            Some(id) => Told::Bounds(
                log.oldest(id).await.expect("a stream"),
                log.tail(id).await.expect("a stream"),
            ),
        },
    }
}

async fn id(log: &Log, stream: usize) -> Option<StreamId> {
    log.stream(&name(&stream_name(stream))).await.expect("names")
}

fn entry(record: &Record) -> Entry {
    Entry {
        value: String::from_utf8_lossy(&record.payload).parse().expect("a number"),
        subject: record.subject.0,
    }
}
