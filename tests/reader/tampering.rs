//! Whoever alters a log and recomputes the plain checksums is found out.

use std::path::PathBuf;

use flowstate_log::append::Append;
use flowstate_tests::log::{note, part};

use crate::data::{Data, durable, found, no_python, payload, python, roomy};

#[tokio::test(flavor = "multi_thread")]
async fn without_the_chain_segments_are_checked_by_their_hash() {
    if no_python() {
        return;
    }
    let data = Data::new();
    let log = data.open_as(roomy(), false);
    let many = (0..7).map(|at| note(payload(at + 8))).collect();
    for records in [vec![note("one")], many, vec![note(payload(4))], vec![note("last")]] {
        durable(&log, Append::of(vec![part("s", records)])).await;
    }
    log.close().await;
    drop(log);
    assert_eq!(data.is_intact()["unchained"], 4);
    data.tamper("alter", 2);
    found(&data.verify(), "does not link to commit 2", "alter");
}

/// Six commits in one segment: of one record each but for the third and fourth.
async fn six_commits(last: &str) -> Data {
    let data = Data::new();
    let log = data.open(roomy());
    for (turn, last) in [("a", last), ("b", "b"), ("c", "c"), ("d", "d"), ("e", "e"), ("f", "f")] {
        let records = match turn {
            "c" | "d" => vec![note("first"), note("second"), note("third")],
            _ => vec![note(last.to_owned())],
        };
        durable(&log, Append::of(vec![part("s", records)])).await;
    }
    log.close().await;
    data
}

#[tokio::test(flavor = "multi_thread")]
async fn tampering_with_segments_is_found() {
    if no_python() {
        return;
    }
    let data = six_commits("a").await;
    assert_eq!(data.is_intact()["commit"], 6);
    for (how, commit, what) in [
        ("alter", 2, "commit 2 does not match its records"),
        ("alter", 6, "commit 6 does not match its records"),
        ("alter-rehashed", 2, "commit 3 does not link to commit 2"),
        ("remove-record", 3, "commit 3 does not match its records"),
        ("remove-commit", 2, "commit 3 stands where commit 2 belongs"),
        ("remove-commit", 6, "commit 6 was acknowledged"),
        ("swap-records", 4, "commit 4 does not match its records"),
        ("swap-commits", 3, "commit 4 stands where commit 3 belongs"),
    ] {
        let copy = data.copy();
        copy.tamper(how, commit);
        found(&copy.verify(), what, how);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_replaced_by_an_intact_one_is_found() {
    if no_python() {
        return;
    }
    // The same ids, times and links; only what is said differs.
    let (data, twin) = (six_commits("a").await, six_commits("A").await);
    twin.is_intact();
    let beside = PathBuf::from(format!("{}.twin", data.path()));
    std::fs::rename(twin.folder.path(), &beside).expect("put it beside");
    data.tamper("replace-commit", 1);
    std::fs::remove_dir_all(beside).expect("clean up");
    found(&data.verify(), "commit 2 does not link to commit 1", "replace-commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_was_rolled_back_is_found_by_a_head_kept_elsewhere() {
    if no_python() {
        return;
    }
    let data = six_commits("a").await;
    let head = python("flowstate_reader.py", &["heads", data.path()]);
    assert!(head.status.success());
    let kept = data.folder.path().join("head.json");
    std::fs::write(&kept, &head.stdout).expect("write");
    let against = |data: &Data| {
        let kept = kept.to_str().expect("UTF-8");
        python("flowstate_reader.py", &["verify", data.path(), "--head", kept])
    };
    assert!(against(&data).status.success());
    let rolled_back = data.copy();
    rolled_back.tamper("roll-back", 2);
    assert_eq!(rolled_back.is_intact()["commit"], 4, "nothing in the folder tells");
    found(&against(&rolled_back), "it was rolled back", "roll-back");

    // And written on from there, so that the number is reached again.
    let log = rolled_back.open(roomy());
    for _ in 0..3 {
        durable(&log, Append::of(vec![part("s", vec![note("other")])])).await;
    }
    log.close().await;
    found(&against(&rolled_back), "history was replaced", "roll-back");
    let other = six_commits("A").await;
    found(&against(&other), "commit 6 is not the one", "another history");
}

pub(crate) fn tampering_with_runs_is_found(data: &Data) {
    for (how, what) in [
        ("run-alter", "does not match its records"),
        ("run-alter-rehashed", "does not link to commit"),
        ("run-remove-record", "missing are those with index"),
        ("run-remove-middle", "are missing"),
        ("run-remove-last", "at the end of some stream some are missing"),
        ("run-swap", "does not match its records"),
        ("run-erase", "no record says that the stream was erased"),
    ] {
        let copy = data.copy();
        copy.tamper(how, 0);
        found(&copy.verify(), what, how);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_was_altered_or_lost_is_found() {
    if no_python() {
        return;
    }
    let data = Data::new();
    let log = data.open(roomy());
    durable(&log, Append::of(vec![part("s", vec![note(vec![b'x'; 20_000])])])).await;
    log.close().await;
    data.is_intact();
    let is_blob = |entry: &std::fs::DirEntry| entry.file_name().to_string_lossy().starts_with("blob-");
    let mut files = std::fs::read_dir(data.log())
        .expect("list")
        .map(|entry| entry.expect("list"));
    let blob = files.find(is_blob).expect("a blob").path();
    std::fs::write(&blob, vec![b'y'; 20_000]).expect("alter");
    found(&data.verify(), "was altered", "altered");
    std::fs::remove_file(&blob).expect("remove");
    found(&data.verify(), "is missing", "removed");
}
