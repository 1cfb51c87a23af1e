//! Seeded work on an open log by several tasks, everything noted: what is asked before it is queued, what was answered, what was seen.
//! Ends when the process is killed, or after a number of rounds for runs that are to be compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use flowstate_log::Log;
use flowstate_log::append::{Appended, Appending};
use flowstate_log::disk::memory::Choice;
use flowstate_log::error::AppendError;

use super::adapter;
use super::ledger::{Event, Ledger};
use super::plan::{Condition, Key, Op, OpId, OpPart, OpRecord, OpSub, key_of};

/// Streams that all tasks of all lives append to.
const SHARED_STREAMS: usize = 5;
/// Subjects that records are about; 0 is none.
const SUBJECTS: usize = 4;

/// How much work, by whom.
#[derive(Debug, Clone, Copy)]
pub struct Work {
    /// The life of the process.
    pub cycle: u32,
    /// What the choices follow from.
    pub seed: u64,
    /// Tasks at once.
    pub tasks: u32,
    /// Rounds of each task; without end if `None`.
    pub rounds: Option<u32>,
    /// Longest usual payload.
    pub bytes: usize,
}

/// Operations that a ledger tells of and that may be asked for again: acknowledged, or cut off with nothing that could refuse them.
pub fn repeatable(events: &[Event]) -> Vec<(OpId, Op)> {
    let mut known: BTreeMap<OpId, (&Op, bool)> = BTreeMap::new();
    for event in events {
        match event {
            Event::Start { id, op } if op.key == Some(*id) => drop(known.insert(*id, (op, false))),
            Event::Done { id, .. } => known.get_mut(id).into_iter().for_each(|(_, done)| *done = true),
            Event::Refused { id, .. } => drop(known.remove(id)),
            _ => {}
        }
    }
    let sure = |(_, (op, done)): &(OpId, (&Op, bool))| *done || op.is_unconditional();
    let all = known.into_iter().filter(sure);
    all.map(|(id, (op, _))| (id, op.clone())).collect()
}

/// Does the work. Returns when all rounds are done or the log accepts nothing more.
pub async fn work(log: &Log, ledger: &Arc<Ledger>, plan: Work) {
    work_on(log, ledger, plan, &[]).await;
}

/// The same, repeating operations of earlier lives too.
pub async fn work_on(log: &Log, ledger: &Arc<Ledger>, work: Work, earlier: &[(OpId, Op)]) {
    let mut tasks = Vec::new();
    for task in 0..work.tasks {
        let worker = Worker {
            log: log.clone(),
            ledger: ledger.clone(),
            choice: Choice::new(work.seed ^ u64::from(task).wrapping_mul(0x9E37_79B9)),
            next: OpId {
                cycle: work.cycle,
                task,
                number: 0,
            },
            bytes: work.bytes,
            subs: Vec::new(),
            versions: Vec::new(),
            forks: Vec::new(),
            keyed: earlier.to_vec(),
            ended: false,
        };
        tasks.push(tokio::spawn(worker.run(work.rounds)));
    }
    for task in tasks {
        task.await.expect("a driver's task does not panic");
    }
}

/// One operation, noted: what is asked, and what is answered.
pub async fn ask(log: &Log, ledger: &Ledger, id: OpId, op: &Op) -> Result<Appended, AppendError> {
    ledger.note(Event::Start { id, op: op.clone() });
    let queued = adapter::append(log, id, op).await;
    answer(ledger, id, queued).await
}

async fn answer(ledger: &Ledger, id: OpId, queued: Result<Appending, AppendError>) -> Result<Appended, AppendError> {
    let outcome = match queued {
        Ok(appending) => appending.await,
        Err(error) => Err(error),
    };
    ledger.note(match &outcome {
        Ok(appended) => Event::Done {
            id,
            commit: appended.commit,
            parts: adapter::places(appended),
        },
        Err(error) => match adapter::refusal(error) {
            Some(why) => Event::Refused { id, why },
            None => {
                let why = error.to_string();
                Event::Failed { id, why }
            }
        },
    });
    outcome
}

struct Worker {
    log: Log,
    ledger: Arc<Ledger>,
    choice: Choice,
    next: OpId,
    bytes: usize,
    /// Sub-streams that this task opened: stream, opener, last number.
    subs: Vec<(String, OpId, u64)>,
    /// Versions that this task made: stream, subject, position.
    versions: Vec<(String, u16, u64)>,
    /// Forks that this task made.
    forks: Vec<String>,
    /// Operations that can be repeated.
    keyed: Vec<(OpId, Op)>,
    ended: bool,
}

impl Worker {
    async fn run(mut self, rounds: Option<u32>) {
        let mut round = 0;
        while !self.ended && rounds.is_none_or(|rounds| round < rounds) {
            round += 1;
            match self.choice.below(8) {
                0 => self.burst().await,
                1 if self.choice.below(2) == 0 && !self.keyed.is_empty() => self.repeat().await,
                1 => self.look().await,
                _ => {
                    let (id, op) = self.operation().await;
                    let queued = self.queue(id, &op).await;
                    self.settle(id, &op, queued).await;
                }
            }
        }
    }

    /// Asks again for what was asked for before; learns nothing from it.
    async fn repeat(&mut self) {
        let (_, op) = self.keyed[self.choice.below(self.keyed.len())].clone();
        let id = self.id();
        let queued = self.queue(id, &op).await;
        let answered = answer(&self.ledger, id, queued).await;
        self.ended |= answered.is_err_and(|error| adapter::refusal(&error).is_none());
    }

    /// Several operations queued one after the other before the first is answered.
    async fn burst(&mut self) {
        let mut waiting = Vec::new();
        for _ in 0..2 + self.choice.below(6) {
            let op = Op {
                parts: vec![self.plain_part()],
                key: None,
            };
            let id = self.id();
            let queued = self.queue(id, &op).await;
            waiting.push((id, op, queued));
        }
        for (id, op, queued) in waiting {
            self.settle(id, &op, queued).await;
        }
    }

    async fn queue(&mut self, id: OpId, op: &Op) -> Result<Appending, AppendError> {
        self.ledger.note(Event::Start { id, op: op.clone() });
        adapter::append(&self.log, id, op).await
    }

    async fn settle(&mut self, id: OpId, op: &Op, queued: Result<Appending, AppendError>) {
        match answer(&self.ledger, id, queued).await {
            Ok(appended) => {
                for (part, at) in op.parts.iter().zip(&appended.parts) {
                    self.learn(part, at.first);
                }
                if op.key.is_some() {
                    self.keyed.push((id, op.clone()));
                }
            }
            Err(error) => self.ended |= adapter::refusal(&error).is_none(),
        }
    }

    fn learn(&mut self, part: &OpPart, first: u64) {
        if part.fork.is_some() {
            self.forks.push(part.stream.clone());
        }
        for (position, record) in (first..).zip(&part.records) {
            if record.subject != 0 {
                self.versions.push((part.stream.clone(), record.subject, position));
            }
            match record.sub {
                Some(OpSub::Open(opener)) => self.subs.push((part.stream.clone(), opener, 1)),
                Some(OpSub::Next(opener)) => {
                    let mine = self.subs.iter_mut().find(|(_, other, _)| *other == opener);
                    mine.into_iter().for_each(|(.., count)| *count += 1);
                }
                None => {}
            }
        }
    }

    fn id(&mut self) -> OpId {
        self.next.number += 1;
        self.next
    }

    fn stream(&mut self) -> String {
        match self.choice.below(8) {
            0 if !self.forks.is_empty() && self.choice.below(2) == 0 => {
                self.forks[self.choice.below(self.forks.len())].clone()
            }
            0 => format!("own-{}-{}-{}", self.next.cycle, self.next.task, self.next.number / 16),
            _ => format!("shared-{}", self.choice.below(SHARED_STREAMS)),
        }
    }

    fn record(&mut self, sub: Option<OpSub>) -> OpRecord {
        let largest = match self.choice.below(32) {
            0 => adapter::PAYLOAD_BYTES_MAX,
            _ => self.bytes,
        };
        OpRecord {
            bytes: 16 + self.choice.below(largest - 15),
            subject: self.choice.below(SUBJECTS) as u16,
            quiet: self.choice.below(4) == 0,
            sub,
        }
    }

    fn plain_part(&mut self) -> OpPart {
        OpPart {
            stream: self.stream(),
            fork: None,
            expect: Vec::new(),
            records: vec![self.record(None)],
        }
    }

    async fn operation(&mut self) -> (OpId, Op) {
        let id = self.id();
        let mut part = self.plain_part();
        let key = (self.choice.below(3) == 0).then_some(id);
        match self.choice.below(15) {
            0..=2 => {}
            3 => part.records = (0..2 + self.choice.below(3)).map(|_| self.record(None)).collect(),
            4 | 5 => {
                let op = self.several(part).await;
                return (id, Op { key, ..op });
            }
            6 => {
                part.stream = format!("own-{}-{}-{}", id.cycle, id.task, id.number / 24);
                part.expect.push(Condition::Absent);
            }
            7 => part.expect.push(Condition::Exists),
            8 | 9 => {
                part.records = vec![self.record(Some(OpSub::Open(id)))];
                if self.choice.below(2) == 0 {
                    part.records.push(self.record(Some(OpSub::Next(id))));
                }
            }
            10 | 11 => self.next_of_sub(&mut part),
            12 => {
                let tail = adapter::tail(&self.log, &part.stream).await.map_or(0, |(_, tail)| tail);
                let expected = if self.choice.below(4) == 0 {
                    tail + 1_000_000
                } else {
                    tail
                };
                part.expect.push(Condition::Position(expected));
            }
            13 => self.fork(id, &mut part).await,
            _ => self.on_version(&mut part),
        }
        let parts = vec![part];
        (id, Op { parts, key })
    }

    /// Several streams at once; sometimes one of them twice, sometimes with a condition that only one of them has.
    async fn several(&mut self, first: OpPart) -> Op {
        let mut parts = vec![first];
        for _ in 0..1 + self.choice.below(2) {
            let mut part = self.plain_part();
            part.records.push(self.record(None));
            parts.push(part);
        }
        match self.choice.below(4) {
            0 => parts[0].stream = parts[1].stream.clone(),
            1 => {
                let tail = adapter::tail(&self.log, &parts[1].stream)
                    .await
                    .map_or(0, |(_, tail)| tail);
                parts[1]
                    .expect
                    .push(Condition::Position(tail + self.choice.below(2) as u64));
            }
            _ => {}
        }
        Op::of(parts)
    }

    /// Goes on from some position of a stream that is there.
    async fn fork(&mut self, id: OpId, part: &mut OpPart) {
        if let Some((_, tail)) = adapter::tail(&self.log, &part.stream).await
            && tail > 0
        {
            let position = 1 + self.choice.below(tail as usize) as u64;
            let parent = std::mem::replace(&mut part.stream, format!("fork-{id}"));
            part.fork = Some((parent, position));
        }
    }

    fn next_of_sub(&mut self, part: &mut OpPart) {
        if self.subs.is_empty() {
            // Nobody opened it: refused.
            part.records[0].sub = Some(OpSub::Next(self.next));
            return;
        }
        let (stream, opener, count) = self.subs[self.choice.below(self.subs.len())].clone();
        part.stream = stream;
        part.records = (0..1 + self.choice.below(3))
            .map(|_| self.record(Some(OpSub::Next(opener))))
            .collect();
        match self.choice.below(4) {
            0 => part.expect.push(Condition::SubAt(opener, count)),
            1 => part.expect.push(Condition::SubAt(opener, count + 1)),
            // Taken: refused.
            2 if self.choice.below(3) == 0 => part.records[0].sub = Some(OpSub::Open(opener)),
            _ => {}
        }
    }

    fn on_version(&mut self, part: &mut OpPart) {
        let (stream, subject, position) = match self.versions.len() {
            0 => (part.stream.clone(), 1, 0),
            known => {
                let recent = known - 1 - self.choice.below(known.min(4));
                self.versions[recent].clone()
            }
        };
        part.stream = stream;
        part.expect.push(Condition::Version(subject, position));
        part.records[0].subject = subject;
    }

    /// Reads, and notes what is visible: from now on it has to stay.
    async fn look(&mut self) {
        let stream = format!("shared-{}", self.choice.below(SHARED_STREAMS));
        let Some((id, tail)) = adapter::tail(&self.log, &stream).await else {
            return;
        };
        let from = match self.choice.below(3) {
            0 => 1 + self.choice.below(tail as usize) as u64,
            _ => tail.saturating_sub(3).max(1),
        };
        match self.log.read(id, from, 8).await {
            Ok(records) => {
                let keys: Vec<Key> = records.iter().filter_map(|record| key_of(&record.payload)).collect();
                self.ledger.note(Event::Saw {
                    stream: stream.clone(),
                    from,
                    keys,
                });
            }
            Err(error) => self.ledger.note(Event::ReadFailed { why: error.to_string() }),
        }
        match adapter::tally(&self.log, id).await {
            Ok(tally) => {
                let (last, hash) = tally.last();
                self.ledger.note(Event::SawFold { stream, last, hash });
            }
            Err(why) => self.ledger.note(Event::ReadFailed { why }),
        }
    }
}
