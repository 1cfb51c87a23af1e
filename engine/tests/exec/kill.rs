//! Killed at every append and after every record: what recovery makes of a request, for flows that use every method.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use flowstate_engine::item::{ContentPart, ItemBody, ItemStatus};
use flowstate_engine::model::Model;
use flowstate_engine::prelude::*;
use flowstate_engine::record::{
    BlockEnded, BlockStatus, CancelRequested, Fact, ItemCompleted, ItemRecord, RequestInterrupted, ScopeKind, decode,
};
use flowstate_engine::{
    ClientAccess, EngineBuilder, Eviction, Principal, RequestStatus, SnapshotQuery, StateOp, Submission, collection,
    resource,
};
use flowstate_log::append::{Append, NewRecord, Part, Sub, Target};
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::disk::{Disk, DiskFile};
use flowstate_log::record::{Kind, Name, Record, Subject};
use flowstate_log::{Log, Options};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{Counter, Sayer, fails, holds_to_the_laws, recorded, submission};

#[derive(Clone, Default, Serialize, Deserialize, JsonSchema)]
struct Tally {
    count: i64,
}

/// Counts in the session's state, shows a message, and gives the next number.
fn tick() -> Block<i64, i64> {
    handler("tick").run(|n: i64, ctx: Ctx| async move {
        ctx.session::<Tally>().inc("count", 1).await?;
        let message = ctx.emit().open_message().await?;
        message.append(format!("tick {n}")).await?;
        message.done().await?;
        Ok(n + 1)
    })
}

/// Fails the first time that the request comes to it.
fn second_time() -> Block<i64, i64> {
    handler("second_time").run(|n: i64, ctx: Ctx| async move {
        let times = ctx.request_state::<Tally>().inc("count", 1).await?;
        match times.value().as_i64() {
            Some(1) => Err(BlockError::new("execution_error", "not yet")),
            _ => Ok(n),
        }
    })
}

/// Writes its input down in the request's own state.
fn notes() -> Block<i64, i64> {
    handler("notes").run(|n: i64, ctx: Ctx| async move {
        ctx.request_state::<Tally>().set(Tally { count: n + 40 }).await?;
        Ok(n)
    })
}

/// Gives what was written down.
fn recalls() -> Block<i64, i64> {
    handler("recalls").run(|_: i64, ctx: Ctx| async move { Ok(ctx.request_state::<Tally>().get().await?.count) })
}

/// Writes a body and states of resources of the session and of its user, where one instance makes room for another.
fn keeps() -> Block<i64, i64> {
    let notes = resource::<Tally>("notes").client(ClientAccess::new());
    let files = collection::<Tally>("files", "files/*")
        .max_instances(2)
        .eviction(Eviction::Lru)
        .client(ClientAccess::new());
    let (plan, kept) = (notes.clone(), files.clone());
    let keeps = handler("keeps").run(move |n: i64, ctx: Ctx| {
        let (notes, files) = (plan.clone(), kept.clone());
        async move {
            let notes = ctx.resource(&notes)?;
            notes.state().inc("count", 1).await?;
            notes.write_content(format!("note {n}")).await?;
            let files = ctx.collection(&files)?;
            for key in ["a", "b", "c"] {
                files.get_or_create(key).await?.state().set(Tally { count: n }).await?;
            }
            Ok(n + files.count().await? as i64)
        }
    });
    keeps.session_resource(&notes).user_resource(&files)
}

fn each(n: i64) -> Vec<i64> {
    (0..n).collect()
}

/// A flow for every method, by its name.
fn flows() -> Vec<(&'static str, Block<i64, i64>)> {
    let s = || sequencer::<i64>("s");
    let sum = |all: Vec<i64>, _: Ctx| all.iter().sum::<i64>();
    let both = |(a, b): (i64, i64), _: Ctx| a + b;
    vec![
        ("then", s().then(tick()).then(tick()).build()),
        (
            "then_if",
            s().then_if(|_, _| true, tick()).then_if(|_, _| false, tick()).build(),
        ),
        ("map", s().map(|n, _| n + 1).then(tick()).build()),
        ("tap", s().tap(tick()).build()),
        ("tap_if", s().tap_if(|_, _| true, tick()).build()),
        (
            "parallel",
            s().parallel((arm("a", tick()), arm("b", tick()))).map(both).build(),
        ),
        ("then_all", s().then_all([tick(), tick()]).map(sum).build()),
        ("for_each", s().map(|_, _| each(3)).for_each(tick()).map(sum).build()),
        (
            "for_each_background",
            s().map(|_, _| each(3)).for_each_background(tick()).map(sum).build(),
        ),
        ("then_any", s().then_any([fails("bad"), tick()]).build()),
        ("race", s().race([tick(), tick()]).build()),
        (
            "branch",
            s().branch([case("a", |n: i64, _| n, |_: &i64, _| true, tick())])
                .build(),
        ),
        ("do_until", s().do_until(|n, _| *n > 2, tick()).build()),
        ("do_while", s().do_while(|n, _| *n < 2, tick()).build()),
        (
            "loop_back",
            s().label("again").then(tick()).loop_back("again", 2).build(),
        ),
        ("work", s().work(tick()).then(tick()).build()),
        ("work_if", s().work_if(|_, _| true, tick()).build()),
        ("background", s().background(tick()).build()),
        ("wait_for_work", s().work(tick()).wait_for_work().then(tick()).build()),
        (
            "rescue",
            s().then(tick())
                .then(fails::<i64, i64>("bad"))
                .rescue(any_error().run(tick().map_input(|_: Rescued, _| 7)))
                .build(),
        ),
        ("exit_if", s().then(tick()).exit_if(|_, _| true).then(tick()).build()),
        (
            "container",
            s().container("card", "Card")
                .then(s().container("card", "In").then(tick()))
                .build(),
        ),
        ("router", router("r").route("a", tick()).decide(|_, _, (a,)| a)),
        (
            "retry",
            s().then(tick())
                .then(fails::<i64, i64>("execution_error"))
                .build()
                .retry(Retry::attempts(2)),
        ),
        (
            "retry_that_helps",
            s().then(tick()).then(second_time()).build().retry(Retry::attempts(2)),
        ),
        (
            "generator",
            s().then(tick())
                .then(
                    generator::<i64>("says")
                        .model(Arc::new(Sayer::default()) as Arc<dyn Model>)
                        .history(History::all())
                        .user(|_: &i64, _| "end".to_owned()),
                )
                .map(|words: String, _| words.len() as i64)
                .then(tick())
                .build(),
        ),
        ("resources", s().then(tick()).then(keeps()).then(tick()).build()),
        ("request_state", s().then(notes()).then(tick()).then(recalls()).build()),
        (
            "work_that_outlives",
            s().work(s().then(tick()).then(tick()).then(tick()))
                .then(tick())
                .build(),
        ),
        (
            "work_within",
            s().then(s().work(s().then(tick()).then(tick())).then(tick()))
                .then(tick())
                .build(),
        ),
    ]
}

fn on(disk: impl Disk) -> Options {
    let mut options = Options {
        disk: Arc::new(disk),
        ..Options::in_memory()
    };
    (options.limits.segment_bytes, options.limits.commit_bytes_max) = (1 << 20, 1 << 20);
    options.limits.payload_bytes_max = 900 << 10;
    options
}

/// A disk in memory of which a copy is kept, as a power cut would leave it, after every write and sync of the log.
#[derive(Clone, Default)]
struct Cut {
    inner: MemoryDisk,
    left: Arc<Mutex<Vec<MemoryDisk>>>,
}

impl Cut {
    fn now(&self) {
        let mut left = self.left.lock();
        let seed = left.len() as u64;
        left.push(self.inner.crash(seed));
    }

    fn file(&self, name: &str, inner: Arc<dyn DiskFile>) -> Arc<dyn DiskFile> {
        match name.starts_with("slot") {
            true => Arc::new(CutFile {
                inner,
                cut: self.clone(),
            }),
            false => inner,
        }
    }
}

struct CutFile {
    inner: Arc<dyn DiskFile>,
    cut: Cut,
}

impl DiskFile for CutFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)?;
        self.cut.now();
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.inner.sync()?;
        self.cut.now();
        Ok(())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, into)
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
}

impl Disk for Cut {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(self.file(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }

    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock()
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}

fn built(block: &Block<i64, i64>) -> EngineBuilder {
    let flow = flow("f").action("a", action(block.clone()));
    let tally = scope::<Tally>().client_data("count", |tally: &Tally| tally.count);
    let flow = flow.session(tally).request(scope::<Tally>());
    Engine::builder().flow(flow.instance("i").expect("a flow"))
}

async fn open(block: &Block<i64, i64>, options: Options) -> Engine {
    built(block).open(options).await.expect("an engine")
}

/// All records of the session `s`, in order; empty if there is none.
async fn records(engine: &Engine) -> Vec<Record> {
    let name = Name::new("", "session/s").expect("a name");
    let Some(stream) = engine.log().stream(&name).await.expect("readable") else {
        return Vec::new();
    };
    engine.log().read(stream, 1, 1_000).await.expect("records")
}

/// What clients see of the session's count.
async fn count(engine: &Engine) -> Option<Value> {
    let snapshot = engine
        .snapshot(&Principal::default(), "s", &SnapshotQuery::default())
        .await;
    let shown = snapshot.expect("readable")?.client_data;
    Some(shown["session"]["count"].clone())
}

fn stated(record: &Record) -> (Kind, &[u8]) {
    (record.kind, &record.payload)
}

/// Runs the flow to its end and gives its records and the disk's crashes.
async fn complete(block: &Block<i64, i64>) -> (Vec<Record>, Vec<MemoryDisk>) {
    let cut = Cut::default();
    let engine = open(block, on(cut.clone())).await;
    let submission = Submission {
        request: Some("r".into()),
        session: Some("s".into()),
        ..submission(0)
    };
    let result = tokio::time::timeout(Duration::from_secs(20), engine.run_submission(submission)).await;
    result.expect("in time").expect("a result");
    let records = records(&engine).await;
    engine.close().await;
    let left = std::mem::take(&mut *cut.left.lock());
    (records, left)
}

/// What is there after a restart: a prefix of the complete records, then what closes what that left open, and the state of that prefix.
/// Gives the length of the prefix; what closes it may begin as the complete records go on, unless the length is `known`.
async fn holds(
    name: &str,
    block: &Block<i64, i64>,
    disk: MemoryDisk,
    complete: &[Record],
    known: Option<usize>,
) -> usize {
    let engine = open(block, on(disk)).await;
    let recovered = records(&engine).await;
    let same = recovered.iter().zip(complete);
    let same = same.take_while(|(left, whole)| stated(left) == stated(whole)).count();
    let facts: Vec<Fact> = recovered.iter().map(|record| decode(record).expect("a fact")).collect();
    let is_prefix = |kept: &usize| facts[*kept..] == closing(&facts[..*kept]);
    let kept = (known.unwrap_or(0)..=known.unwrap_or(same)).rev().find(is_prefix);
    let kept = kept.unwrap_or_else(|| panic!("{name}: {same} as in the complete run, of {known:?}: {facts:#?}"));
    assert!(kept <= same, "{name}: {kept} were written");
    if !facts.is_empty() {
        let ticks = facts[..kept].iter().filter(|fact| is_tick(fact)).count();
        let shown = count(&engine).await;
        assert_eq!(
            shown,
            Some(json!(ticks)),
            "{name}: the state after {kept} is their fold"
        );
        holds_to_the_laws(&facts[1..]);
        let found = engine.request(&Principal::default(), "f", "r", Duration::ZERO).await;
        let interrupted = found.expect("readable").expect("a request").row.status == RequestStatus::Interrupted;
        assert_eq!(interrupted, kept < facts.len(), "{name}: after {kept}");
    }
    engine.close().await;
    kept
}

fn is_tick(fact: &Fact) -> bool {
    matches!(fact, Fact::StateChanged(change) if change.scope == ScopeKind::Session && matches!(change.op, StateOp::Inc(_)))
}

/// The records that close what a session's first records leave open of its only request, worked out in the test's own way.
fn closing(prefix: &[Fact]) -> Vec<Fact> {
    if prefix.last().is_none_or(Fact::is_terminal) {
        return Vec::new();
    }
    let mut items: Vec<ItemRecord> = Vec::new();
    let mut blocks = Vec::new();
    for (position, fact) in prefix.iter().enumerate() {
        match fact {
            Fact::ItemAdded(added) => items.push(added.item.clone()),
            Fact::ContentAdded(part) => parts(&mut items, part.item).push(part.content.clone()),
            Fact::ContentDelta(more) => {
                let part = &mut parts(&mut items, more.item)[more.part as usize];
                let text = format!("{}{}", part.as_text(), more.delta);
                *part = ContentPart::text(text);
            }
            Fact::ItemCompleted(ended) => items.retain(|item| item.index != ended.item.index),
            // The session's first record is in no request, so that a position is a number and one.
            Fact::BlockStarted(_) => blocks.push(position as u64),
            Fact::BlockEnded(ended) => blocks.retain(|started| *started != ended.started),
            _ => {}
        }
    }
    let is_container = |item: &ItemRecord| item.body.type_name() == "container";
    items.sort_by_key(|item| match is_container(item) {
        false => i64::from(item.index),
        true => i64::from(u32::MAX) + i64::from(u32::MAX - item.index),
    });
    let items = items.into_iter().map(|mut item| {
        if item.status == ItemStatus::InProgress {
            item.status = ItemStatus::Incomplete;
        }
        Fact::from(ItemCompleted { item })
    });
    let blocks = blocks.into_iter().rev().map(|started| {
        Fact::from(BlockEnded {
            started,
            status: BlockStatus::Cancelled,
            ..Default::default()
        })
    });
    let end = RequestInterrupted {
        reason: "the process ended while the request ran".into(),
    };
    items.chain(blocks).chain([Fact::from(end)]).collect()
}

fn parts(items: &mut [ItemRecord], index: u32) -> &mut Vec<ContentPart> {
    let item = items.iter_mut().find(|item| item.index == index).expect("an open item");
    match &mut item.body {
        ItemBody::Message { content, .. } => content,
        other => panic!("{other:?} has no parts"),
    }
}

#[tokio::test]
async fn a_power_cut_at_any_write_leaves_a_prefix_that_is_closed() {
    for (name, block) in flows() {
        let (records, left) = complete(&block).await;
        let mut seen = Vec::new();
        for disk in left {
            seen.push(holds(name, &block, disk, &records, None).await);
        }
        assert_eq!(seen.first(), Some(&0), "{name}: {seen:?}");
        assert_eq!(seen.last(), Some(&records.len()), "{name}: {seen:?}");
        seen.dedup();
        assert!(seen.len() > 3, "{name}: cut in the middle: {seen:?}");
    }
}

/// A log that ends after the first `count` of these records.
async fn written(records: &[Record], count: usize) -> MemoryDisk {
    let disk = MemoryDisk::new();
    let log = Log::open(on(disk.clone())).expect("a log");
    let records = records[..count].iter().map(|record| NewRecord {
        kind: record.kind,
        subject: record.subject,
        sub: record.sub.map(|(sub, number)| match number {
            1 => Sub::Open(sub, Name::new("", "r").expect("a name")),
            _ => Sub::Next(sub),
        }),
        causation: record.causation,
        origin: record.origin,
        payload: record.payload.clone(),
    });
    let part = Part {
        stream: Target::Name(Name::new("", "session/s").expect("a name")),
        expect: Vec::new(),
        records: records.collect(),
    };
    append(&log, part).await;
    log.close().await;
    disk
}

async fn append(log: &Log, part: Part) {
    let appending = log.append(Append::of(vec![part])).await.expect("room");
    appending.await.expect("durable");
}

#[tokio::test]
async fn a_cancel_that_the_process_did_not_live_to_honour_is_why_the_request_ends() {
    let block = sequencer::<i64>("s").then(tick()).build();
    let (records, _) = complete(&block).await;
    let disk = written(&records, 5).await;
    let log = Log::open(on(disk.clone())).expect("a log");
    let cancel = NewRecord {
        kind: CancelRequested::KIND,
        subject: Subject::NONE,
        sub: None,
        causation: records[1].causation,
        origin: 0,
        payload: r#"{"request":"r"}"#.into(),
    };
    let part = Part {
        stream: Target::Name(Name::new("", "session/s").expect("a name")),
        expect: Vec::new(),
        records: vec![cancel],
    };
    append(&log, part).await;
    log.close().await;
    let engine = open(&block, on(disk)).await;
    let (row, facts) = recorded(&engine, "r").await;
    assert_eq!((row.status, row.cancelled), (RequestStatus::Interrupted, true));
    holds_to_the_laws(&facts);
    match facts.last() {
        Some(Fact::RequestInterrupted(end)) => assert_eq!(end.reason, "it was cancelled"),
        other => panic!("{other:?}"),
    }
    engine.close().await;
}

#[tokio::test]
async fn a_log_that_ends_after_any_record_is_closed() {
    for (name, block) in flows() {
        let (records, _) = complete(&block).await;
        for count in 2..=records.len() {
            let disk = written(&records, count).await;
            holds(name, &block, disk, &records, Some(count)).await;
        }
    }
}

/// Opens such a log, goes on with the request in it, and gives its records when it has ended.
async fn resumed(block: &Block<i64, i64>, disk: MemoryDisk) -> Vec<Record> {
    let engine = built(block)
        .resume_open_requests()
        .open(on(disk))
        .await
        .expect("an engine");
    let found = engine.request(&Principal::default(), "f", "r", Duration::ZERO).await;
    let sub = found.expect("readable").expect("a request").sub;
    let mut follow = engine.log().follow_sub(&sub, 0).await.expect("a cursor");
    let mut facts = Vec::new();
    while !facts.last().is_some_and(Fact::is_terminal) {
        let page = tokio::time::timeout(Duration::from_secs(20), follow.page()).await;
        let page = page.unwrap_or_else(|_| panic!("it goes on: {facts:#?}"));
        facts.extend(
            page.expect("records")
                .iter()
                .map(|record| decode(record).expect("a fact")),
        );
    }
    holds_to_the_laws(&facts);
    let records = records(&engine).await;
    engine.close().await;
    records
}

/// What a request gave, or failed with, from its records.
fn given(records: &[Record]) -> Value {
    let facts: Vec<Fact> = records.iter().map(|record| decode(record).expect("a fact")).collect();
    let completed = match facts.last() {
        Some(Fact::RequestCompleted(completed)) => completed,
        Some(Fact::RequestFailed(failed)) => return json!([failed.code, failed.message]),
        _ => panic!("it did not end: {facts:#?}"),
    };
    match completed.same_as {
        // The session's first record is in no request.
        Some(number) => match &facts[usize::try_from(number).expect("small")] {
            Fact::BlockEnded(ended) => ended.output.clone().expect("an output"),
            other => panic!("{other:?}"),
        },
        None => completed.output.clone().expect("an output"),
    }
}

/// How often each block began, by its place; with `open`, only those that have not ended.
fn begun(records: &[Record], open: bool) -> BTreeMap<String, usize> {
    let facts: Vec<Fact> = records.iter().map(|record| decode(record).expect("a fact")).collect();
    let has_ended = |started: u64| {
        let ends = |fact: &Fact| matches!(fact, Fact::BlockEnded(ended) if ended.started == started);
        facts.iter().any(ends)
    };
    let mut begun = BTreeMap::new();
    for (position, fact) in facts.iter().enumerate() {
        if let Fact::BlockStarted(started) = fact
            && !(open && has_ended(position as u64))
        {
            *begun
                .entry(format!("{} {}", started.path, started.attempt))
                .or_default() += 1;
        }
    }
    begun
}

/// The places whose blocks have given an output.
fn completed(records: &[Record]) -> BTreeSet<String> {
    let facts: Vec<Fact> = records.iter().map(|record| decode(record).expect("a fact")).collect();
    let ended = facts.iter().filter_map(|fact| match fact {
        Fact::BlockEnded(ended) if ended.status == BlockStatus::Completed => Some(ended.started),
        _ => None,
    });
    let place = |started| match &facts[usize::try_from(started).expect("small")] {
        Fact::BlockStarted(started) => started.path.clone(),
        other => panic!("{other:?}"),
    };
    ended.map(place).collect()
}

#[tokio::test]
async fn a_request_that_is_gone_on_with_after_any_record_gives_what_it_gave() {
    for (name, block) in flows() {
        let (whole, _) = complete(&block).await;
        let output = given(&whole);
        for count in 2..=whole.len() {
            let disk = written(&whole, count).await;
            let records = resumed(&block, disk).await;
            assert_eq!(given(&records), output, "{name}: after {count}");
            // What had ended is not begun again, and what ran is begun once more.
            let (usual, open) = (begun(&whole, false), begun(&whole[..count], true));
            for (place, times) in begun(&records, false) {
                // A race may be over before its second arm has begun, or not.
                let usual = *usual.get(&place).unwrap_or(&usize::from(name == "race"));
                let may = usual + open.get(&place).unwrap_or(&0);
                assert!(
                    times <= may,
                    "{name}: after {count}, {place} began {times} times instead of {may}"
                );
            }
            // And everything that is done when nothing dies is done, work that outlives its sequencer too.
            let done = completed(&records);
            let missing: Vec<_> = completed(&whole).difference(&done).cloned().collect();
            assert!(
                missing.is_empty() || name == "race",
                "{name}: after {count}, not done: {missing:?}"
            );
        }
    }
}

/// Cut off again in what it did after the first restart, and once more.
#[tokio::test]
async fn a_request_may_be_gone_on_with_more_than_once() {
    for (name, block) in flows() {
        let (whole, _) = complete(&block).await;
        let output = given(&whole);
        let first = resumed(&block, written(&whole, whole.len() / 2).await).await;
        for count in whole.len() / 2 + 1..first.len() {
            let second = resumed(&block, written(&first, count).await).await;
            assert_eq!(given(&second), output, "{name}: after {count}");
            let third = resumed(&block, written(&second, (count + second.len()) / 2).await).await;
            assert_eq!(given(&third), output, "{name}: after {count} and more");
        }
    }
}

/// More than an append may have records.
const MANY: usize = 5_000;

#[tokio::test]
async fn more_may_be_open_than_one_append_may_close() {
    let begun = Counter::default();
    let counted = begun.clone();
    let hangs = handler("hangs").run(move |n: i64, ctx: Ctx| {
        let counted = counted.clone();
        async move {
            let message = ctx.emit().open_message().await?;
            message.append("and").await?;
            counted.add(1);
            std::future::pending::<()>().await;
            Ok(n)
        }
    });
    let chain = sequencer::<i64>("s").map(|_, _| (0..MANY as i64).collect::<Vec<_>>());
    let block = chain.for_each(hangs).map(|all, _| all.len() as i64).build();
    let disk = MemoryDisk::new();
    let engine = open(&block, on(disk.clone())).await;
    let accepted = engine.submit(submission(0)).await.expect("accepted");
    begun.reached(MANY).await;
    let found = engine
        .request(&Principal::default(), "f", &accepted.request, Duration::ZERO)
        .await;
    let sub = found.expect("readable").expect("a request").sub;
    let mut follow = engine.log().follow_sub(&sub, 0).await.expect("a cursor");
    let mut seen = 0;
    // Accepted, started, the root; and the start, the item, its part and its text of each.
    while seen < 3 + 4 * MANY {
        let page = tokio::time::timeout(Duration::from_secs(20), follow.page()).await;
        seen += page.expect("in time").expect("records").len();
    }
    let left = disk.crash(1);
    engine.close().await;
    let (_, closed) = recorded(&engine, &accepted.request).await;
    let recovered = open(&block, on(left)).await;
    let (row, facts) = recorded(&recovered, &accepted.request).await;
    assert_eq!(row.status, RequestStatus::Interrupted);
    for facts in [closed, facts] {
        // What was open, closed, and the last record.
        assert_eq!(facts.len(), seen + 2 * MANY + 1 + 1);
        holds_to_the_laws(&facts);
    }
    recovered.close().await;
}
