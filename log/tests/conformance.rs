//! Every log keeps the contract: segments in memory, segments that are clustered all the time, and the control.

use flowstate_log::limits::Limits;
use flowstate_log::lsm::{LsmLog, LsmOptions};
use flowstate_log::record::Name;
use flowstate_log::verbs::conformance::{self, contents};
use flowstate_log::{Durability, Log, Options};

fn segments(options: &Options) -> Log {
    let options = Options {
        views: conformance::views(),
        ..options.clone()
    };
    Log::open(options).expect("open")
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_in_memory_keep_the_contract() {
    let options = Options::in_memory();
    conformance::run(|| segments(&options)).await;
}

/// Everything is small: segments are full after a few appends, and streams and blocks are let go of at once.
fn tiny() -> Limits {
    Limits {
        segment_bytes: 32 << 10,
        commit_bytes_max: 16 << 10,
        payload_bytes_max: 64 << 10,
        inline_bytes_max: 4 << 10,
        tail_bytes_max: 8 << 10,
        append_records_max: 256,
        read_records_max: 64,
        read_bytes_max: 32 << 10,
        checkpoint_interval_ms: 2,
        watermark_interval_ms: 2,
        cluster_segments_min: 1,
        cluster_segments_max: 4,
        run_fan_out: 2,
        cache_bytes_max: 64 << 10,
        idle_streams_max: 2,
        ..Limits::default()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_clustered_all_the_time_keep_the_contract() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let options = || Options {
        limits: tiny(),
        ..Options::in_folder(folder.path()).expect("a folder")
    };
    conformance::run(|| segments(&options())).await;
    let log = segments(&options());
    let before = contents(&log).await;
    let clustered = log.segments().expect("it has segments").cluster().await;
    clustered.expect("it is clustered");
    let after = contents(&log).await;
    assert_eq!(
        before.difference(&after),
        None,
        "clustering changes nothing that is shown"
    );
}

fn control(folder: &std::path::Path, limits: Limits, durability: Durability) -> Log {
    let options = LsmOptions {
        views: conformance::views(),
        limits,
        durability,
        ..LsmOptions::in_folder(folder)
    };
    LsmLog::open(options).expect("open")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_keeps_the_contract() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    conformance::run(|| control(folder.path(), Limits::default(), Durability::Sync)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_keeps_the_contract_with_small_bounds_and_buffered() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let buffered = Durability::Buffered { sync_every_ms: 5 };
    conformance::run(|| control(folder.path(), tiny(), buffered)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_control_belongs_to_one_process_at_a_time() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = control(folder.path(), Limits::default(), Durability::Sync);
    let second = LsmLog::open(LsmOptions::in_folder(folder.path())).map(|_| ());
    assert!(
        matches!(second, Err(flowstate_log::error::OpenError::Locked(_))),
        "{second:?}"
    );
    drop(log);
    drop(control(folder.path(), Limits::default(), Durability::Sync));
}

#[tokio::test(flavor = "multi_thread")]
async fn views_that_changed_are_folded_anew_from_the_tree() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    conformance::run(|| control(folder.path(), Limits::default(), Durability::Sync)).await;
    let log = control(folder.path(), Limits::default(), Durability::Sync);
    // Of this one the old rows know more than the records: what came after a failure.
    let failing = log.stream(&Name::new("", "failing").expect("a name")).await;
    let failing = failing.expect("a look").expect("a stream");
    log.delete(failing).await.expect("a deletion");
    let before = contents(&log).await;
    drop(log);
    // Opened without any view, the rows are of none.
    drop(LsmLog::open(LsmOptions::in_folder(folder.path())).expect("open"));
    let log = control(folder.path(), Limits::default(), Durability::Sync);
    assert_eq!(before.difference(&contents(&log).await), None);
}
