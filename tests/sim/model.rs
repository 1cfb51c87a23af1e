//! The whole public surface of the log against a model in memory: random appends with conditions, sub-streams, keys, large payloads and
//! forks, among closes, power cuts and lost view stores, with segments so small that clustering never stops.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flowstate_log::append::{Append, Appended, Appending, Expect, NewRecord, Part, Sub, Target};
use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::env::SeededEnv;
use flowstate_log::error::AppendError;
use flowstate_log::limits::Limits;
use flowstate_log::record::{IdempotencyKey, StreamId, SubStreamId, Subject};
use flowstate_log::view::ViewId;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::log::{LinesFold, name, note, options, read_all};

const CASES: u64 = 256;
const OPERATIONS: usize = 32;
const CASES_AT_ONCE: usize = 4;
const STREAMS: usize = 5;

#[test]
fn whatever_happens_the_log_says_what_the_model_says() {
    let cases = std::env::var("FLOWSTATE_MODEL_CASES").map_or(CASES, |cases| cases.parse().expect("a number"));
    let first = std::env::var("FLOWSTATE_MODEL_SEED").map_or(0, |seed| seed.parse().expect("a number"));
    run_cases(first..first + cases, |seed| async move {
        let mut world = World::new(seed, Limits::default());
        for _ in 0..OPERATIONS {
            world.step().await;
        }
        world.finish().await;
    });
}

/// Runs a case for each seed, several at once; the seed of one that fails is printed.
pub(crate) fn run_cases<F: Future<Output = ()>>(seeds: std::ops::Range<u64>, case: impl Fn(u64) -> F + Sync) {
    let next = AtomicU64::new(seeds.start);
    std::thread::scope(|scope| {
        for _ in 0..CASES_AT_ONCE {
            scope.spawn(|| {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(1)
                    .enable_all()
                    .build()
                    .expect("runtime");
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let told = Told(seed);
                    runtime.block_on(case(seed));
                    drop(told);
                }
            });
        }
    });
}

/// Says which seed it was when a case panics.
struct Told(u64);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("seed {} failed", self.0);
        }
    }
}

/// One record as it must be read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Line {
    text: String,
    subject: u16,
    sub: Option<(SubStreamId, u64)>,
}

/// One stream as it must be.
#[derive(Debug, Clone, Default)]
pub(crate) struct StreamModel {
    id: Option<StreamId>,
    /// What is shared with the parent comes first.
    lines: Vec<Line>,
    /// Positions of each sub-stream's records.
    subs: BTreeMap<SubStreamId, Vec<u64>>,
    /// What was appended under a key, and its places.
    keys: BTreeMap<IdempotencyKey, (String, Vec<(u64, u64)>)>,
}

impl StreamModel {
    fn version(&self, subject: Subject) -> u64 {
        let last = self.lines.iter().rposition(|line| line.subject == subject.0);
        last.map_or(0, |at| at as u64 + 1)
    }
}

/// What the log must say.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    streams: BTreeMap<String, StreamModel>,
    subs: BTreeMap<String, (String, SubStreamId)>,
}

/// What an append must be told: its places and whether it is a repetition, or why it is refused.
type Expected = Result<(Vec<(u64, u64)>, bool), &'static str>;

impl Model {
    fn named(&self, target: &Target) -> Option<String> {
        match target {
            Target::Name(name) | Target::Fork { name, .. } => Some(name.name().to_owned()),
            Target::Id(id) => self.with_id(*id),
        }
    }

    fn with_id(&self, id: StreamId) -> Option<String> {
        let mut found = self.streams.iter().filter(|(_, stream)| stream.id == Some(id));
        found.next().map(|(name, _)| name.clone())
    }

    fn apply(&mut self, append: &Append) -> Expected {
        let said = said(append);
        let first = self.named(&append.parts[0].stream).unwrap_or_default();
        if let (Some(key), Some(stream)) = (&append.key, self.streams.get(&first))
            && let Some((before, places)) = stream.keys.get(key)
        {
            return match *before == said {
                true => Ok((places.clone(), true)),
                false => Err("key reused"),
            };
        }
        let mut after = self.clone();
        let mut places = Vec::new();
        for part in &append.parts {
            let stream = self.named(&part.stream).ok_or("unknown stream")?;
            self.check(&stream, part)?;
            places.push(after.take_in(&stream, part)?);
        }
        if let Some(key) = &append.key {
            let stream = after.streams.get_mut(&first).expect("just appended to");
            stream.keys.insert(key.clone(), (said, places.clone()));
        }
        *self = after;
        Ok((places, false))
    }

    fn check(&self, name: &str, part: &Part) -> Result<(), &'static str> {
        let none = StreamModel::default();
        let found = self.streams.get(name);
        let stream = found.unwrap_or(&none);
        for expect in &part.expect {
            let (actual, expected, refusal) = match expect {
                Expect::Absent => (u64::from(found.is_some()), 0, "stream exists"),
                Expect::Exists => (u64::from(found.is_some()), 1, "stream absent"),
                Expect::Position(position) => (stream.lines.len() as u64, *position, "position"),
                Expect::Version(subject, version) => (stream.version(*subject), *version, "version"),
                Expect::SubStreamAt(sub, number) => {
                    (stream.subs.get(sub).map_or(0, Vec::len) as u64, *number, "sub-stream")
                }
            };
            if actual != expected {
                return Err(refusal);
            }
        }
        match (&part.stream, found) {
            (Target::Fork { .. }, Some(_)) => Err("stream exists"),
            _ => Ok(()),
        }
    }

    fn take_in(&mut self, name: &str, part: &Part) -> Result<(u64, u64), &'static str> {
        if let Target::Fork { parent, position, .. } = &part.stream {
            let parent = self.with_id(*parent).ok_or("unknown stream")?;
            let lines = self.streams[&parent].lines.get(..*position as usize);
            let fork = StreamModel {
                lines: lines.ok_or("fork out of range")?.to_vec(),
                ..StreamModel::default()
            };
            self.streams.insert(name.to_owned(), fork);
        }
        let stream = self.streams.entry(name.to_owned()).or_default();
        let first = stream.lines.len() as u64 + 1;
        for record in &part.records {
            let position = stream.lines.len() as u64 + 1;
            let sub = match &record.sub {
                None => None,
                Some(Sub::Open(id, name_of_sub)) => {
                    if self.subs.contains_key(name_of_sub.name()) || stream.subs.contains_key(id) {
                        return Err("sub-stream taken");
                    }
                    self.subs.insert(name_of_sub.name().to_owned(), (name.to_owned(), *id));
                    stream.subs.insert(*id, vec![position]);
                    Some((*id, 1))
                }
                Some(Sub::Next(id)) => {
                    let positions = stream.subs.get_mut(id).ok_or("unknown sub-stream")?;
                    positions.push(position);
                    Some((*id, positions.len() as u64))
                }
            };
            stream.lines.push(Line {
                text: String::from_utf8_lossy(&record.payload).into_owned(),
                subject: record.subject.0,
                sub,
            });
        }
        Ok((first, stream.lines.len() as u64))
    }
}

/// What makes one append another under the same key.
fn said(append: &Append) -> String {
    let part = |part: &Part| match &part.stream {
        Target::Name(name) | Target::Fork { name, .. } => format!("{name:?} {:?}", part.records),
        Target::Id(id) => format!("{id:?} {:?}", part.records),
    };
    append.parts.iter().map(part).collect()
}

fn refusal(error: &AppendError) -> &'static str {
    match error {
        AppendError::StreamExists(_) => "stream exists",
        AppendError::StreamAbsent(_) => "stream absent",
        AppendError::UnknownStream(_) => "unknown stream",
        AppendError::PositionMismatch { .. } => "position",
        AppendError::VersionMismatch { .. } => "version",
        AppendError::SubStreamMismatch { .. } => "sub-stream",
        AppendError::SubStreamTaken(_) => "sub-stream taken",
        AppendError::UnknownSubStream(_) => "unknown sub-stream",
        AppendError::KeyReused(_) => "key reused",
        AppendError::ForkOutOfRange { .. } => "fork out of range",
        other => panic!("no model refuses with: {other}"),
    }
}

/// A log, the model of it, and what happens to both.
pub(crate) struct World {
    seed: u64,
    pub(crate) choice: Choice,
    limits: Limits,
    chain: bool,
    pub(crate) disk: MemoryDisk,
    pub(crate) views: MemoryViews,
    log: Option<Log>,
    model: Model,
    opens: u64,
    made: u64,
    sent: Vec<Append>,
}

impl World {
    /// A log that was just made. Its bounds are chosen by the seed, but for those that are not the default ones.
    pub(crate) fn new(seed: u64, given: Limits) -> Self {
        let mut choice = Choice::new(seed);
        let segments = 1 + choice.below(2);
        let usual = Limits::default();
        let or = |given: usize, usual: usize, chosen: usize| if given == usual { chosen } else { given };
        let limits = Limits {
            segment_bytes: [4 << 10, 8 << 10, 16 << 10][choice.below(3)],
            commit_bytes_max: 4 << 10,
            payload_bytes_max: 64 << 10,
            inline_bytes_max: 512,
            tail_bytes_max: [0, 2 << 10][choice.below(2)],
            checkpoint_interval_ms: [1, 20][choice.below(2)],
            watermark_interval_ms: 5,
            cluster_segments_min: segments,
            cluster_segments_max: segments + choice.below(4),
            run_fan_out: 2 + choice.below(3),
            run_bytes_max: [8 << 10, 1 << 20][choice.below(2)],
            cache_bytes_max: [0, 64 << 10][choice.below(2)],
            idle_streams_max: or(given.idle_streams_max, usual.idle_streams_max, choice.below(5)),
            ..usual
        };
        let mut world = Self {
            seed,
            chain: choice.below(2) == 0,
            choice,
            limits,
            disk: MemoryDisk::new(),
            views: MemoryViews::new(),
            log: None,
            model: Model::default(),
            opens: 0,
            made: 0,
            sent: Vec::new(),
        };
        world.open();
        world
    }

    pub(crate) fn log(&self) -> &Log {
        self.log.as_ref().expect("open")
    }

    /// How to open what is on a disk.
    pub(crate) fn options(&self, disk: &MemoryDisk, views: &MemoryViews) -> Options {
        Options {
            // Later opens mint ids that sort before: forks come before what they continue.
            env: Arc::new(SeededEnv::new(u64::MAX - self.seed * 1_000 - self.opens)),
            limits: self.limits.clone(),
            chain: self.chain,
            ..options(Arc::new(disk.clone()), Arc::new(views.clone()), 0)
        }
    }

    fn open(&mut self) {
        self.opens += 1;
        let options = self.options(&self.disk, &self.views);
        let opened = Log::open(options).unwrap_or_else(|error| panic!("seed {}: refused: {error}", self.seed));
        self.log = Some(opened);
    }

    /// Something happens.
    pub(crate) async fn step(&mut self) {
        match self.choice.below(20) {
            0..=11 => self.burst().await,
            12 | 13 => self.fork().await,
            14 => self.reopen().await,
            15 => self.kill().await,
            16 => self.rebuild().await,
            _ => self.look().await,
        }
    }

    /// Checks everything: now, after a close, and with a view store made anew.
    pub(crate) async fn finish(&mut self) {
        self.check().await;
        self.rebuild().await;
        self.check().await;
        self.log().close().await;
    }

    fn number(&mut self) -> u64 {
        self.made += 1;
        self.made
    }

    fn a_name(&mut self) -> String {
        format!("s{}", self.choice.below(STREAMS))
    }

    fn a_sub(&mut self, model: &Model, stream: &str) -> Option<SubStreamId> {
        let subs = &model.streams.get(stream)?.subs;
        subs.keys().nth(self.choice.below(subs.len().max(1))).copied()
    }

    fn minted(&mut self) -> SubStreamId {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&self.number().to_be_bytes());
        SubStreamId(id)
    }

    fn a_record(&mut self, model: &Model, stream: &str) -> NewRecord {
        let number = self.number();
        let length = match self.choice.below(12) {
            0 => 513 + self.choice.below(4_000),
            _ => self.choice.below(200),
        };
        let sub = match self.choice.below(6) {
            0 => {
                // Mostly a name and an id of its own; sometimes one that is taken, by another stream perhaps.
                let (id, text) = (self.minted(), format!("sub-{number}"));
                let taken = self.choice.below(model.subs.len().max(1));
                match (self.choice.below(6), model.subs.keys().nth(taken).cloned()) {
                    (0, Some(taken)) => Some(Sub::Open(id, name(&taken))),
                    (1, _) => Some(Sub::Open(self.a_sub(model, stream).unwrap_or(id), name(&text))),
                    _ => Some(Sub::Open(id, name(&text))),
                }
            }
            1..=3 => self.a_sub(model, stream).map(Sub::Next),
            _ if self.choice.below(30) == 0 => Some(Sub::Next(self.minted())),
            _ => None,
        };
        NewRecord {
            subject: Subject(self.choice.below(3) as u16),
            sub,
            ..note(format!("{number}:{}", "x".repeat(length)))
        }
    }

    fn an_expectation(&mut self, model: &Model, stream: &str) -> Expect {
        let found = model.streams.get(stream).cloned().unwrap_or_default();
        let off = u64::from(self.choice.below(8) == 0);
        match self.choice.below(5) {
            0 => Expect::Position(found.lines.len() as u64 + off),
            1 => {
                let subject = Subject(1 + self.choice.below(2) as u16);
                Expect::Version(subject, found.version(subject) + off)
            }
            2 => match self.a_sub(model, stream) {
                Some(sub) => Expect::SubStreamAt(sub, found.subs[&sub].len() as u64 + off),
                None => Expect::SubStreamAt(self.minted(), off),
            },
            _ if (off == 0) == found.lines.is_empty() => Expect::Absent,
            _ => Expect::Exists,
        }
    }

    /// An append on what the model says.
    fn an_append(&mut self, model: &Model) -> Append {
        if !self.sent.is_empty() && self.choice.below(8) == 0 {
            let again = self.choice.below(self.sent.len());
            let mut again = self.sent[again].clone();
            if self.choice.below(4) == 0 {
                again.parts[0].records[0].payload = "something else".into();
            }
            return again;
        }
        let mut parts = Vec::new();
        for _ in 0..1 + self.choice.below(8) / 6 {
            let stream = self.a_name();
            let expect = match self.choice.below(3) {
                0 => vec![self.an_expectation(model, &stream)],
                _ => Vec::new(),
            };
            let records = (0..1 + self.choice.below(3))
                .map(|_| self.a_record(model, &stream))
                .collect();
            let id = model.streams.get(&stream).and_then(|stream| stream.id);
            let stream = match id {
                Some(id) if self.choice.below(3) == 0 => Target::Id(id),
                _ => Target::Name(name(&stream)),
            };
            parts.push(Part {
                stream,
                expect,
                records,
            });
        }
        let mut append = Append::of(parts);
        if self.choice.below(3) == 0 {
            append.key = IdempotencyKey::new(format!("key-{}", self.number()).as_bytes());
            self.sent.push(append.clone());
        }
        append
    }

    /// Queues some appends, each decided on what comes before it. Returns them with what they must be told, and the model after all.
    async fn queue(&mut self) -> (Vec<(Append, Expected, Result<Appending, AppendError>)>, Model) {
        let mut model = self.model.clone();
        let mut queued = Vec::new();
        for _ in 0..1 + self.choice.below(6) {
            let append = self.an_append(&model);
            let expected = model.apply(&append);
            let sent = self.log().append(append.clone()).await;
            queued.push((append, expected, sent));
        }
        (queued, model)
    }

    pub(crate) async fn burst(&mut self) {
        let (queued, model) = self.queue().await;
        for (append, expected, sent) in queued {
            let outcome = match sent {
                Ok(appending) => appending.await,
                Err(error) => Err(error),
            };
            self.compare(&append, &expected, &outcome);
            self.learn(&append, outcome.ok());
        }
        self.adopt(model);
    }

    fn compare(&self, append: &Append, expected: &Expected, outcome: &Result<Appended, AppendError>) {
        let told = match outcome {
            Ok(appended) => {
                let places = appended.parts.iter().map(|part| (part.first, part.last)).collect();
                Ok((places, appended.repeated))
            }
            Err(error) => Err(refusal(error)),
        };
        assert_eq!(told, *expected, "seed {}: {append:?}", self.seed);
    }

    /// The ids of streams that were opened.
    fn learn(&mut self, append: &Append, outcome: Option<Appended>) {
        for (part, place) in append
            .parts
            .iter()
            .zip(outcome.iter().flat_map(|appended| &appended.parts))
        {
            if let Target::Name(name) | Target::Fork { name, .. } = &part.stream {
                let stream = self.model.streams.entry(name.name().to_owned()).or_default();
                let known = stream.id.get_or_insert(place.stream);
                assert_eq!(*known, place.stream, "seed {}: {name:?} is another stream", self.seed);
            }
        }
    }

    fn adopt(&mut self, mut model: Model) {
        for (name, stream) in &mut model.streams {
            stream.id = self.model.streams.get(name).and_then(|known| known.id);
        }
        self.model = model;
    }

    async fn fork(&mut self) {
        let parents: Vec<(StreamId, usize)> = self
            .model
            .streams
            .values()
            .filter_map(|stream| Some((stream.id?, stream.lines.len())))
            .collect();
        if parents.is_empty() {
            return;
        }
        let (parent, tail) = parents[self.choice.below(parents.len())];
        let text = match self.choice.below(6) {
            0 => self.a_name(),
            _ => format!("fork-{}", self.number()),
        };
        // Sometimes one too far.
        let beyond = usize::from(self.choice.below(8) == 0);
        let position = 1 + self.choice.below(tail + beyond) as u64;
        let model = self.model.clone();
        let records = (0..1 + self.choice.below(3))
            .map(|_| self.a_record(&model, ""))
            .collect();
        let target = Target::Fork {
            name: name(&text),
            parent,
            position,
        };
        let append = Append::of(vec![Part {
            stream: target,
            expect: Vec::new(),
            records,
        }]);
        let mut model = self.model.clone();
        let expected = model.apply(&append);
        let outcome = match self.log().append(append.clone()).await {
            Ok(appending) => appending.await,
            Err(error) => Err(error),
        };
        self.compare(&append, &expected, &outcome);
        self.learn(&append, outcome.ok());
        self.adopt(model);
    }

    pub(crate) async fn reopen(&mut self) {
        self.log().close().await;
        self.log = None;
        self.open();
        self.check().await;
    }

    /// The power goes while appends are on their way.
    pub(crate) async fn kill(&mut self) {
        let (queued, _) = self.queue().await;
        let some = self.choice.below(queued.len() + 1);
        let mut queued = queued.into_iter();
        for (append, expected, sent) in queued.by_ref().take(some) {
            let outcome = match sent {
                Ok(appending) => appending.await,
                Err(error) => Err(error),
            };
            self.compare(&append, &expected, &outcome);
            assert_eq!(self.model.apply(&append), expected);
            self.learn(&append, outcome.ok());
        }
        // Its rows may be older than the log, never newer: copied first.
        let views = self.views.copy();
        let left = self.disk.crash(self.choice.bits());
        self.log().close().await;
        self.log = None;
        (self.disk, self.views) = (left, views);
        self.open();
        // Of what was not acknowledged the first few may be there, each of them whole.
        for (append, ..) in queued {
            let mut model = self.model.clone();
            let Ok((places, false)) = model.apply(&append) else {
                continue;
            };
            let mut there = Vec::new();
            for (part, (first, _)) in append.parts.iter().zip(places) {
                let stream = self.model.named(&part.stream).unwrap_or_default();
                let id = self.log().stream(&name(&stream)).await.expect("names");
                let tail = match id {
                    Some(id) => self.log().tail(id).await.expect("tail"),
                    None => 0,
                };
                there.push(tail >= first);
            }
            assert!(
                there.iter().all(|one| *one == there[0]),
                "seed {}: a part of {append:?} is missing",
                self.seed
            );
            if !there[0] {
                break;
            }
            self.model = model;
        }
        for name_of in self.model.streams.keys().cloned().collect::<Vec<_>>() {
            let id = self.log().stream(&name(&name_of)).await.expect("names");
            let stream = self.model.streams.get_mut(&name_of).expect("it is there");
            assert!(id.is_some(), "seed {}: {name_of} is lost", self.seed);
            assert!(stream.id.is_none() || stream.id == id, "seed {}: {name_of}", self.seed);
            stream.id = id;
        }
        self.check().await;
    }

    /// The view store is lost, and made anew from the records: with the very same rows.
    pub(crate) async fn rebuild(&mut self) {
        self.log().close().await;
        self.log = None;
        let before = std::mem::take(&mut self.views);
        self.open();
        self.log().close().await;
        self.log = None;
        let (before, after) = (before.entries(), self.views.entries());
        let differ: Vec<_> = before
            .iter()
            .filter(|entry| !after.contains(entry))
            .chain(after.iter().filter(|entry| !before.contains(entry)))
            .map(|(key, value)| (key.escape_ascii().to_string(), value.escape_ascii().to_string()))
            .collect();
        assert!(differ.is_empty(), "seed {}: rows differ: {differ:#?}", self.seed);
        self.open();
    }

    /// One look at something.
    async fn look(&mut self) {
        let names: Vec<String> = self.model.streams.keys().cloned().collect();
        if let Some(name) = names.get(self.choice.below(names.len().max(1))) {
            self.check_stream(name).await;
        }
    }

    /// Compares everything that can be asked.
    pub(crate) async fn check(&mut self) {
        for name in self.model.streams.keys().cloned().collect::<Vec<_>>() {
            self.check_stream(&name).await;
        }
        let taken: BTreeSet<String> = self.model.subs.keys().cloned().collect();
        let nobodys = name("nobody's");
        assert!(!taken.contains("nobody's"));
        assert_eq!(self.log().sub_stream(&nobodys).await.expect("names"), None);
    }

    async fn check_stream(&mut self, named: &str) {
        let seed = self.seed;
        let stream = self.model.streams[named].clone();
        let log = self.log().clone();
        let id = log.stream(&name(named)).await.expect("names");
        let id = id.unwrap_or_else(|| panic!("seed {seed}: {named} is lost"));
        assert_eq!(stream.id, Some(id), "seed {seed}: {named}");
        assert_eq!(log.stream_name(id).await.expect("name"), name(named));
        let tail = stream.lines.len() as u64;
        assert_eq!(log.tail(id).await.expect("tail"), tail, "seed {seed}: {named}");

        let line = |record: &flowstate_log::record::Record| {
            assert_eq!(record.stream, id);
            let line = Line {
                text: String::from_utf8_lossy(&record.payload).into_owned(),
                subject: record.subject.0,
                sub: record.sub,
            };
            (record.position, line)
        };
        let all: Vec<(u64, Line)> = (1..).zip(stream.lines.iter().cloned()).collect();
        let found: Vec<(u64, Line)> = read_all(&log, id).await.iter().map(line).collect();
        assert_eq!(found, all, "seed {seed}: {named}");

        let (from, limit) = (1 + self.choice.below(tail as usize), 1 + self.choice.below(9));
        let back = log.read_back(id, from as u64, limit).await.expect("read back");
        let back: Vec<(u64, Line)> = back.iter().map(line).collect();
        let expected: Vec<(u64, Line)> = all[..from].iter().rev().take(limit).cloned().collect();
        assert_eq!(back, expected, "seed {seed}: {named} back from {from}");
        let positions: Vec<u64> = (0..limit)
            .map(|_| 1 + self.choice.below(tail as usize) as u64)
            .collect();
        let picked = log.read_positions(id, &positions).await.expect("read positions");
        let picked: Vec<(u64, Line)> = picked.iter().map(line).collect();
        let expected: Vec<(u64, Line)> = positions.iter().map(|at| all[*at as usize - 1].clone()).collect();
        assert_eq!(picked, expected, "seed {seed}: {named} at {positions:?}");

        let lines = log.view(id, ViewId(1), |fold: &LinesFold| fold.lines.clone());
        let folded: Vec<(u64, String)> = lines.await.expect("view").into_iter().collect();
        let expected: Vec<(u64, String)> = all.iter().map(|(at, line)| (*at, line.text.clone())).collect();
        assert_eq!(folded, expected, "seed {seed}: the view of {named}");
        let listed = log
            .index(ViewId(1), format!("{named}/").as_bytes(), None, 9)
            .await
            .expect("index");
        let key = [named.as_bytes(), b"/", &(tail as u32).to_be_bytes()].concat();
        let expected = (key, expected.last().expect("a record").1.clone().into_bytes());
        assert_eq!(listed, [expected], "seed {seed}: the rows of {named}");

        for (sub, positions) in &stream.subs {
            let info = log.sub_stream_info(id, *sub).await.expect("sub-stream");
            let ends = (info.first, info.last, info.count);
            let expected = (positions[0], positions[positions.len() - 1], positions.len() as u64);
            assert_eq!(ends, expected, "seed {seed}: {sub:?} of {named}");
            let after = self.choice.below(positions.len() + 1);
            let mut cursor = log.follow_sub(&info, after as u64).await.expect("follow");
            let mut seen = Vec::new();
            while after + seen.len() < positions.len() {
                let page = cursor.page().await.expect("page");
                seen.extend(page.iter().map(|record| record.position));
            }
            assert_eq!(
                seen,
                positions[after..],
                "seed {seed}: {sub:?} of {named} after {after}"
            );
        }
        for (text, (_, sub)) in self.model.subs.iter().filter(|(_, (of, _))| of == named) {
            let info = log.sub_stream(&name(text)).await.expect("names");
            let info = info.unwrap_or_else(|| panic!("seed {seed}: the sub-stream {text} is lost"));
            assert_eq!((info.stream, info.id), (id, *sub), "seed {seed}: {text}");
        }
    }
}
