//! Views beside the inline ones: trailing ones, a view built anew while the old one serves, a view as it was at a position.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::record::{Kind, Name, Record, StreamId};
use flowstate_log::verbs::Trim;
use flowstate_log::view::{Fold, IndexRows, Row, Timing, View, ViewId};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::log::{append, name, options};

/// Sums up how long payloads are, in units of its own: one row and one index row a stream.
struct Lengths {
    version: u32,
    unit: u64,
    timing: Timing,
}

#[derive(Default)]
struct LengthsFold {
    name: Vec<u8>,
    unit: u64,
    sum: u64,
    changed: bool,
}

impl LengthsFold {
    fn row(&self) -> Row {
        Row {
            key: b"sum".to_vec(),
            value: Some(self.sum.to_be_bytes().to_vec()),
        }
    }
}

impl View for Lengths {
    fn id(&self) -> ViewId {
        ViewId(2)
    }
    fn name(&self) -> &'static str {
        "lengths"
    }
    fn version(&self) -> u32 {
        self.version
    }
    fn timing(&self) -> Timing {
        self.timing
    }
    fn folds(&self, _: Kind) -> bool {
        true
    }
    fn empty(&self, _: StreamId, name: &Name) -> Box<dyn Fold> {
        Box::new(LengthsFold {
            name: name.name().into(),
            unit: self.unit,
            ..LengthsFold::default()
        })
    }
    fn load(&self, stream: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let value = rows.into_iter().next().and_then(|row| row.value).ok_or("no row")?;
        let sum = u64::from_be_bytes(value.try_into().map_err(|_| "a malformed row")?);
        let _ = stream;
        Ok(Box::new(LengthsFold {
            name: name.name().into(),
            unit: self.unit,
            sum,
            changed: false,
        }))
    }
    fn upgrade(&self, stream: StreamId, name: &Name, _: u32, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        self.load(stream, name, rows)
    }
}

impl Fold for LengthsFold {
    fn apply(&mut self, record: &Record, index: &mut dyn IndexRows) {
        self.sum += record.payload.len() as u64 * self.unit;
        self.changed = true;
        self.index_rows(index);
    }
    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        if std::mem::take(&mut self.changed) {
            rows(self.row());
        }
    }
    fn index_rows(&self, index: &mut dyn IndexRows) {
        index.put(self.name.clone(), self.sum.to_be_bytes().to_vec());
    }
    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        rows(self.row());
    }
}

fn with(disk: &MemoryDisk, views: &MemoryViews, lengths: Lengths) -> Options {
    let mut options = options(Arc::new(disk.clone()), Arc::new(views.clone()), 7);
    options.limits.cluster_segments_min = 1;
    options.limits.run_fan_out = 2;
    options.views.push(Arc::new(lengths));
    options
}

fn inline(version: u32, unit: u64) -> Lengths {
    Lengths {
        version,
        unit,
        timing: Timing::Inline,
    }
}

async fn sum(log: &Log, stream: &str) -> u64 {
    let stream = log.stream(&name(stream)).await.expect("names").expect("the stream");
    log.view(stream, ViewId(2), |fold: &LengthsFold| fold.sum)
        .await
        .expect("view")
}

async fn sums(log: &Log) -> Vec<(String, u64)> {
    let rows = log.index(ViewId(2), b"", None, 1_000).await.expect("index");
    let sum = |(key, value): (Vec<u8>, Vec<u8>)| {
        (
            String::from_utf8(key).expect("a name"),
            u64::from_be_bytes(value.try_into().expect("a sum")),
        )
    };
    rows.into_iter().map(sum).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trailing_view_follows_and_survives() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let trailing = || Lengths {
        timing: Timing::Trailing,
        ..inline(1, 1)
    };
    let mut slow = with(&disk, &views, trailing());
    slow.limits.checkpoint_interval_ms = 1_000_000;
    let log = Log::open(slow).expect("open");
    append(&log, "s", "four").await.expect("append");
    assert_eq!(
        sum(&log, "s").await,
        0,
        "it takes nothing in before the acknowledgement"
    );
    log.close().await;
    drop(log);
    let log = Log::open(with(&disk, &views, trailing())).expect("open");
    assert_eq!(sum(&log, "s").await, 4);
    append(&log, "s", "more").await.expect("append");
    while sum(&log, "s").await != 8 {
        tokio::task::yield_now().await;
    }
    let left = disk.crash(1);
    log.close().await;
    let log = Log::open(with(&left, &MemoryViews::new(), trailing())).expect("open");
    assert_eq!((sum(&log, "s").await, sums(&log).await), (8, vec![("s".to_owned(), 8)]));
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_built_anew_while_the_old_one_serves() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = Log::open(with(&disk, &views, inline(1, 1))).expect("open");
    let text = "x".repeat(500);
    for number in 0..400 {
        append(&log, &format!("s{}", number % 20), &text).await.expect("append");
    }
    let s1 = log.stream(&name("s1")).await.expect("names").expect("s1");
    log.trim(s1, Trim::KeepLast(3)).await.expect("trim");
    let s2 = log.stream(&name("s2")).await.expect("names").expect("s2");
    log.delete(s2).await.expect("delete");
    let segments = log.segments().expect("segments").clone();
    segments.cluster().await.expect("cluster");

    // Appends go on all the while; a reader never sees anything but one whole version or the other.
    let done = Arc::new(AtomicBool::new(false));
    let appending = {
        let (log, done, text) = (log.clone(), done.clone(), text.clone());
        tokio::spawn(async move {
            let mut count = 0u64;
            while !done.load(Ordering::Relaxed) {
                append(&log, "s0", &text).await.expect("append");
                count += 1;
                let seen = sum(&log, "s0").await;
                let expected = (20 + count) * 500;
                assert!(seen == expected || seen == expected * 10, "{seen} after {expected}");
            }
            count
        })
    };
    let replaced = segments.replace_view(Arc::new(inline(2, 10))).await.expect("replaced");
    done.store(true, Ordering::Relaxed);
    let count = appending.await.expect("appends");
    assert!(replaced.streams >= 20, "{replaced:?}");
    let check = async |log: &Log| {
        assert_eq!(sum(log, "s0").await, (20 + count) * 5_000);
        assert_eq!(sum(log, "s3").await, 20 * 5_000);
        let listed = sums(log).await;
        assert_eq!(listed.len(), 19, "{listed:?}");
        assert!(!listed.iter().any(|(stream, _)| stream == "s2"));
        assert!(listed.contains(&("s0".to_owned(), (20 + count) * 5_000)));
    };
    check(&log).await;
    append(&log, "s3", "tenth").await.expect("append");
    assert_eq!(sum(&log, "s3").await, 20 * 5_000 + 50);
    log.close().await;
    drop(log);
    // Its rows are gone on from after a restart, and nothing of the old version is left.
    let log = Log::open(with(&disk, &views, inline(2, 10))).expect("open");
    assert_eq!(sum(&log, "s3").await, 20 * 5_000 + 50);
    let spaces: Vec<u8> = views
        .entries()
        .iter()
        .filter(|(key, _)| key[0] == b'x')
        .map(|(key, _)| key[1])
        .collect();
    assert!(spaces.contains(&0x82) && !spaces.contains(&2), "{spaces:?}");
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_is_told_as_it_was_at_a_position() {
    let (disk, views) = (MemoryDisk::new(), MemoryViews::new());
    let log = Log::open(with(&disk, &views, inline(1, 1))).expect("open");
    for text in ["a", "bb", "ccc"] {
        append(&log, "s", text).await.expect("append");
    }
    let stream = log.stream(&name("s")).await.expect("names").expect("s");
    let at = async |position| {
        log.view_at(stream, ViewId(2), position, |fold: &LengthsFold| fold.sum)
            .await
    };
    assert_eq!(at(0).await.expect("before everything"), 0);
    assert_eq!(at(2).await.expect("in the middle"), 3);
    assert_eq!(at(3).await.expect("now"), 6);
    assert!(at(4).await.expect_err("ahead").to_string().contains("ends at 3"));
    assert_eq!(sums(&log).await, [("s".to_owned(), 6)], "looking back changes nothing");
    log.close().await;
}
