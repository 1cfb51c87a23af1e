//! What happens behind the acknowledgement: order, back-pressure and failures of views, and the clock.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use flowstate_log::Log;
use flowstate_log::append::Append;
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::env::{Env, SeededEnv};
use flowstate_log::error::{AppendError, Remedy};
use flowstate_log::record::{Kind, Name, Record, StreamId};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::view_store::{Change, Entry, OpenViewStore, StoreError, ViewStore};
use flowstate_tests::log::{LinesFold, append, name, note, options, part, read_all};
use parking_lot::{Condvar, Mutex};

/// A gate that is closed until opened.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    changed: Condvar,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock() = true;
    }
    fn open(&self) {
        *self.closed.lock() = false;
        self.changed.notify_all();
    }
    fn pass(&self) {
        self.changed.wait_while(&mut self.closed.lock(), |closed| *closed);
    }
}

/// Opens a gate when a test ends, however it ends: a log can't be closed behind a closed one.
struct OpensAtLast(Arc<Gate>);

impl Drop for OpensAtLast {
    fn drop(&mut self) {
        self.0.open();
    }
}

/// What a gated fold sends when it has come to a record that says `hold`.
const HELD: u64 = u64::MAX;

/// A view whose fold waits at a gate, or panics when it is to write its rows.
struct Gated {
    gate: Arc<Gate>,
    arrived: Mutex<mpsc::Sender<u64>>,
}

struct GatedFold {
    gate: Arc<Gate>,
    arrived: mpsc::Sender<u64>,
    position: u64,
    boom: bool,
}

impl View for Gated {
    fn id(&self) -> ViewId {
        ViewId(9)
    }
    fn name(&self) -> &'static str {
        "gated"
    }
    fn version(&self) -> u32 {
        1
    }
    fn folds(&self, _: Kind) -> bool {
        true
    }
    fn empty(&self, _: StreamId, _: &Name) -> Box<dyn Fold> {
        Box::new(GatedFold {
            gate: self.gate.clone(),
            arrived: self.arrived.lock().clone(),
            position: 0,
            boom: false,
        })
    }
    fn load(&self, stream: StreamId, name: &Name, _: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        Ok(self.empty(stream, name))
    }
}

impl Fold for GatedFold {
    fn apply(&mut self, record: &Record, _: &mut dyn IndexRows) {
        let is_held = &record.payload[..] == b"hold";
        let _ = self.arrived.send(if is_held { HELD } else { record.position });
        if &record.payload[..] != b"open" {
            self.gate.pass();
        }
        self.position = record.position;
        self.boom = &record.payload[..] == b"boom";
    }
    fn changed(&mut self, _: &mut dyn FnMut(Row)) {
        assert!(!self.boom, "asked to");
    }
    fn rows(&self, _: &mut dyn FnMut(Row)) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_shown_after_it_is_folded() {
    let (gate, (arrived, arrivals)) = (Arc::new(Gate::default()), mpsc::channel());
    let mut options = options(Arc::new(MemoryDisk::new()), Arc::new(MemoryViews::new()), 1);
    options.views = vec![Arc::new(Gated {
        gate: gate.clone(),
        arrived: Mutex::new(arrived),
    })];
    let log = Log::open(options).expect("open");
    append(&log, "s", "one").await.expect("append");
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    let mut follow = log.follow(stream, 2).await.expect("follow");
    let _opens = OpensAtLast(gate.clone());
    gate.close();
    let second = tokio::spawn({
        let log = log.clone();
        async move {
            append(&log, "s", "two").await.expect("append");
            append(&log, "t", "one").await.expect("append")
        }
    });
    tokio::task::block_in_place(|| arrivals.iter().find(|position| *position == 2)).expect("the fold has the record");
    let early = tokio::time::timeout(Duration::from_millis(50), follow.page()).await;
    assert!(early.is_err(), "read before it was folded");
    assert_eq!(log.tail(stream).await.ok(), Some(1));
    gate.open();
    assert_eq!(follow.page().await.expect("page").len(), 1);
    second.await.expect("appended");
    let position = log.view(stream, ViewId(9), |fold: &GatedFold| fold.position).await;
    assert_eq!(position.expect("view"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_panics_behind_the_ack_stops_the_views_and_not_the_log_in_silence() {
    let (arrived, _arrivals) = mpsc::channel();
    let mut options = options(Arc::new(MemoryDisk::new()), Arc::new(MemoryViews::new()), 1);
    options.views = vec![Arc::new(Gated {
        gate: Arc::default(),
        arrived: Mutex::new(arrived),
    })];
    options.limits.view_lag_bytes_max = 32 << 10;
    let log = Log::open(options).expect("open");
    append(&log, "s", "boom").await.expect("append");
    let filler = "x".repeat(4 << 10);
    let mut appended = 0;
    let refused = loop {
        let one = tokio::time::timeout(Duration::from_secs(20), append(&log, "t", &filler)).await;
        match one.expect("an answer, not a hang") {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
        assert!(appended < 100, "the lag has a bound");
    };
    assert!(matches!(refused, AppendError::ViewsFailed), "{refused}");
    log.close().await;
}

/// A view store that can't be read while it is broken.
#[derive(Clone)]
struct BrokenViews(MemoryViews, Arc<AtomicBool>);

impl BrokenViews {
    fn readable(&self) -> Result<(), StoreError> {
        match self.1.load(Ordering::Acquire) {
            true => Err(StoreError("a sector can't be read".to_owned())),
            false => Ok(()),
        }
    }
}

impl OpenViewStore for BrokenViews {
    fn open(&self) -> Result<Box<dyn ViewStore>, StoreError> {
        Ok(Box::new(self.clone()))
    }
    fn discard(&self) -> Result<(), StoreError> {
        self.0.discard()
    }
    fn describe(&self) -> String {
        self.0.describe()
    }
}

impl ViewStore for BrokenViews {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.readable()?;
        self.0.get(key)
    }
    fn write(&self, batch: Vec<Change>) -> Result<(), StoreError> {
        self.0.write(batch)
    }
    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.readable()?;
        self.0.scan(from, to, limit)
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }
    fn compact(&self) -> Result<(), StoreError> {
        self.0.compact()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_that_can_not_be_looked_up_says_so_and_can_be_sent_again() {
    let broken = Arc::new(AtomicBool::new(false));
    let views = BrokenViews(MemoryViews::new(), broken.clone());
    let log = Log::open(options(Arc::new(MemoryDisk::new()), Arc::new(views), 1)).expect("open");
    broken.store(true, Ordering::Release);
    // Nobody uses this name: only the rows know whether a stream has it.
    let refused = append(&log, "s", "one")
        .await
        .expect_err("what can't be looked up is not decided");
    assert!(matches!(refused, AppendError::Lookup(_)), "{refused}");
    assert_eq!(refused.kind(), Remedy::Retry);
    assert!(refused.to_string().contains("a sector can't be read"), "{refused}");
    broken.store(false, Ordering::Release);
    let appended = append(&log, "s", "one").await.expect("the same again");
    assert_eq!((appended.parts[0].first, appended.repeated), (1, false));
}

/// A view store whose writes wait at a gate.
#[derive(Clone)]
struct SlowViews(MemoryViews, Arc<Gate>);

impl OpenViewStore for SlowViews {
    fn open(&self) -> Result<Box<dyn ViewStore>, StoreError> {
        Ok(Box::new(self.clone()))
    }
    fn discard(&self) -> Result<(), StoreError> {
        self.0.discard()
    }
    fn describe(&self) -> String {
        "slow".to_owned()
    }
}

impl ViewStore for SlowViews {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.0.get(key)
    }
    fn write(&self, batch: Vec<Change>) -> Result<(), StoreError> {
        self.1.pass();
        self.0.write(batch)
    }
    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.0.scan(from, to, limit)
    }
    fn flush(&self) -> Result<(), StoreError> {
        self.0.flush()
    }
    fn compact(&self) -> Result<(), StoreError> {
        self.0.compact()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_wait_while_the_views_are_too_far_behind() {
    let gate = Arc::new(Gate::default());
    let views = SlowViews(MemoryViews::new(), gate.clone());
    let mut options = options(Arc::new(MemoryDisk::new()), Arc::new(views), 1);
    options.limits.view_lag_bytes_max = 64 << 10;
    let log = Log::open(options).expect("open");
    let _opens = OpensAtLast(gate.clone());
    gate.close();
    let filler = "x".repeat(4 << 10);
    let mut appended = 0;
    while tokio::time::timeout(Duration::from_millis(300), append(&log, "s", &filler))
        .await
        .is_ok()
    {
        appended += 1;
        assert!(appended < 100, "appends went on without bound");
    }
    assert!(appended >= 10, "{appended} appends before the bound");
    gate.open();
    append(&log, "s", "after").await.expect("append");
    let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
    // The one that was waiting was queued and counts too.
    assert_eq!(read_all(&log, stream).await.len(), appended + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn index_rows_are_exact_while_they_move_to_the_store() {
    let mut options = options(Arc::new(MemoryDisk::new()), Arc::new(MemoryViews::new()), 1);
    options.limits.checkpoint_interval_ms = 1;
    let log = Log::open(options).expect("open");
    let mut writers = Vec::new();
    for stream in ["a", "b", "c"] {
        let log = log.clone();
        writers.push(tokio::spawn(async move {
            for number in 1..=400u32 {
                let text = format!("{stream}{number}");
                append(&log, stream, &text).await.expect("append");
                // One row, at the count's key: the row before is gone, this one is there, wherever they are kept.
                let rows = log
                    .index(ViewId(1), format!("{stream}/").as_bytes(), None, 10)
                    .await
                    .expect("index");
                let key = [stream.as_bytes(), b"/", &number.to_be_bytes()].concat();
                assert_eq!(rows, [(key, text.into_bytes())]);
            }
        }));
    }
    for writer in writers {
        writer.await.expect("a writer");
    }
    let a = log.stream(&name("a")).await.expect("names").expect("the stream");
    let lines = log.view(a, ViewId(1), |fold: &LinesFold| fold.lines.len()).await;
    assert_eq!(lines.expect("view"), 400);
}

/// A clock that goes back.
struct Backwards(SeededEnv, AtomicI64);

impl Env for Backwards {
    fn now_us(&self) -> i64 {
        self.1.fetch_sub(1_000, Ordering::Relaxed)
    }
    fn monotonic(&self) -> Duration {
        self.0.monotonic()
    }
    fn mint(&self) -> [u8; 16] {
        self.0.mint()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn times_of_a_stream_never_go_back() {
    let disk = MemoryDisk::new();
    for round in 0..2 {
        let mut options = options(Arc::new(disk.clone()), Arc::new(MemoryViews::new()), 1);
        options.env = Arc::new(Backwards(
            SeededEnv::new(round),
            AtomicI64::new(1_000_000 - 100_000 * round as i64),
        ));
        let log = Log::open(options).expect("open");
        for _ in 0..5 {
            append(&log, "s", "x").await.expect("append");
        }
        let stream = log.stream(&name("s")).await.expect("names").expect("the stream");
        let times: Vec<i64> = read_all(&log, stream)
            .await
            .iter()
            .map(|record| record.time_us)
            .collect();
        assert!(times.is_sorted(), "{times:?}");
        log.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_fold_tells_of_can_be_read() {
    let (gate, (arrived, arrivals)) = (Arc::new(Gate::default()), mpsc::channel());
    let mut options = options(Arc::new(MemoryDisk::new()), Arc::new(MemoryViews::new()), 1);
    options.views = vec![Arc::new(Gated {
        gate: gate.clone(),
        arrived: Mutex::new(arrived),
    })];
    let log = Log::open(options).expect("open");
    let _opens = OpensAtLast(gate.clone());
    // Two streams in one commit, the fold of one held up. Which is folded first is not said, so several times.
    for round in 0..16 {
        let (free, held) = (format!("free{round}"), format!("held{round}"));
        append(&log, &free, "x").await.expect("append");
        append(&log, &held, "x").await.expect("append");
        let stream = log.stream(&name(&free)).await.expect("names").expect("the stream");
        gate.close();
        let both = Append::of(vec![part(&free, vec![note("open")]), part(&held, vec![note("hold")])]);
        let both = log.append(both).await.expect("queue");
        tokio::task::block_in_place(|| arrivals.iter().find(|position| *position == HELD)).expect("the fold is held");
        let looking = tokio::spawn({
            let log = log.clone();
            async move { log.view(stream, ViewId(9), |fold: &GatedFold| fold.position).await }
        });
        if let Ok(told) = tokio::time::timeout(Duration::from_millis(30), looking).await {
            let (told, tail) = (
                told.expect("join").expect("view"),
                log.tail(stream).await.expect("a tail"),
            );
            assert!(
                told <= tail,
                "round {round}: a fold told of record {told}, and the stream ends at {tail}"
            );
        }
        gate.open();
        both.await.expect("durable");
    }
}
