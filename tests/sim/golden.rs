//! Every format that was ever written stays readable, and the present one does not change unnoticed.
//! `FLOWSTATE_BLESS=1` writes the files of the present format; those of older ones are never written again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use flowstate_log::Log;
use flowstate_log::append::Append;
use flowstate_log::disk::fs::FsDisk;
use flowstate_log::limits::Limits;
use flowstate_log::record::{SubStreamId, Subject};
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::log::{append, name, note, options, part, read_all, small_limits, sub_note, texts};

const FILES: [&str; 4] = ["manifest", "watermark", "slot-000001", "slot-000002"];

fn fixture(format: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/log-v{format}"))
}

fn open(folder: &Path) -> Log {
    let mut options = options(
        Arc::new(FsDisk::open(folder).expect("a folder")),
        Arc::new(MemoryViews::new()),
        1,
    );
    options.limits = Limits {
        segment_bytes: 4 << 10,
        commit_bytes_max: 2 << 10,
        inline_bytes_max: 1 << 10,
        // Nothing in the background: the bytes depend on the calls alone.
        checkpoint_interval_ms: 1_000_000,
        watermark_interval_ms: 1_000_000,
        ..small_limits()
    };
    Log::open(options).expect("open")
}

async fn write(folder: &Path) {
    let log = open(folder);
    let sub = SubStreamId([0xAB; 16]);
    let mut about = sub_note(sub, None, "{\"op\":{\"inc\":{\"turns\":1}}}");
    (about.subject, about.origin, about.causation) = (Subject(1), u64::MAX - 1, sub.0);
    let first = part(
        "session/s",
        vec![note("{\"user\":\"ü\"}"), sub_note(sub, Some("req:1"), "{}")],
    );
    for parts in [
        vec![first],
        vec![part("session/s", vec![about])],
        vec![part("other", vec![note("")])],
    ] {
        log.append(Append::of(parts))
            .await
            .expect("queue")
            .await
            .expect("durable");
    }
    log.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn format_2_is_written_byte_for_byte_as_ever() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    write(folder.path()).await;
    if std::env::var_os("FLOWSTATE_BLESS").is_some() {
        std::fs::create_dir_all(fixture(2)).expect("make the folder");
        for file in FILES {
            std::fs::copy(folder.path().join(file), fixture(2).join(file)).expect("copy");
        }
    }
    // The watermark and the manifest are rewritten at times that depend on threads; the records are not.
    let file = "slot-000001";
    let (now, then) = (
        std::fs::read(folder.path().join(file)),
        std::fs::read(fixture(2).join(file)),
    );
    assert!(
        now.expect("read") == then.expect("read the fixture"),
        "{file} differs: a new format needs a new number"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn format_1_is_read_and_written_on_from() {
    is_read(1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn format_2_is_read() {
    is_read(2).await;
}

async fn is_read(format: u16) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for file in FILES {
        std::fs::copy(fixture(format).join(file), folder.path().join(file)).expect("copy");
    }
    let log = open(folder.path());
    let stream = log
        .stream(&name("session/s"))
        .await
        .expect("names")
        .expect("the stream");
    let records = read_all(&log, stream).await;
    assert_eq!(
        texts(&records),
        ["{\"user\":\"ü\"}", "{}", "{\"op\":{\"inc\":{\"turns\":1}}}"]
    );
    assert_eq!(records[2].sub, Some((SubStreamId([0xAB; 16]), 2)));
    assert_eq!(
        (records[2].subject, records[2].origin, records[2].commit),
        (Subject(1), u64::MAX - 1, 2)
    );
    assert_eq!(
        log.sub_stream(&name("req:1"))
            .await
            .expect("names")
            .expect("the sub-stream")
            .first,
        2
    );
    assert!(log.stream(&name("other")).await.expect("names").is_some());
    append(&log, "session/s", "more").await.expect("append");
    log.close().await;
    drop(log);
    let log = open(folder.path());
    assert_eq!(
        texts(&read_all(&log, stream).await).last().map(String::as_str),
        Some("more")
    );
    log.close().await;
}
