//! A whole folder, with a log open on it or not.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_with_everything_in_it_verifies_and_is_not_changed() {
    let (disk, log) = lively_disk().await;
    let live = verified(&open(&disk));
    assert!(live.ok(), "{:#?}", live.findings);
    log.close().await;
    drop(log);
    let before = bytes(&disk);
    let folder = open(&disk);
    let report = verified(&folder);
    assert!(report.ok(), "{:#?}", report.findings);
    assert_eq!(report.head, folder.head());
    assert_eq!(
        (report.commits, report.commits_chained),
        (report.head.commit, report.head.commit)
    );
    assert!(report.digests > 0 && report.blobs > 0, "{report:?}");
    assert!(folder.verify(Some(&report.head), &mut |_| {}).ok());
    let summary = folder.summary();
    assert!(
        summary.runs.len() > 1 && summary.blobs > 0 && summary.clean,
        "{summary:?}"
    );
    assert_eq!(summary.tip, report.head);
    folder.streams().expect("streams");
    assert!(before == bytes(&disk), "reading changes no byte");
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_and_records_are_those_of_the_log() {
    let (disk, log) = lively_disk().await;
    let folder = open(&disk);
    let streams = folder.streams().expect("streams");
    for stream in &streams {
        let records: Vec<_> = folder
            .records(Some(stream.id))
            .map(|record| record.expect("whole"))
            .collect();
        assert_eq!(records.len() as u64, stream.records, "{stream:?}");
        if stream.deleted {
            continue;
        }
        let named = stream.name.as_ref().expect("a name");
        assert_eq!(&log.stream_name(stream.id).await.expect("a name"), named);
        let mut next = stream.first.max(log.oldest(stream.id).await.expect("oldest"));
        let there = |next: u64| records.iter().filter(move |record| record.position >= next);
        let mut expected = there(next);
        while next <= stream.last {
            for record in log.read(stream.id, next, 1_000).await.expect("read") {
                next = record.position + 1;
                assert_eq!(expected.next(), Some(&record));
            }
        }
        assert_eq!(expected.next(), None);
    }
    let name_of = |text: &str| {
        streams
            .iter()
            .find(|stream| stream.name.as_ref().is_some_and(|name| name.name() == text))
    };
    assert_eq!(name_of("fork-of-1").expect("there").parent.expect("a fork").position, 7);
    assert!(name_of("stream-0").expect("there").trimmed > 9);
    assert_eq!(streams.iter().filter(|stream| stream.erased).count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_come_in_their_order_with_what_is_left_of_them() {
    let (disk, log) = lively_disk().await;
    let folder = open(&disk);
    let commits: Vec<_> = folder.commits(0).map(|commit| commit.expect("whole")).collect();
    let numbers: Vec<u64> = commits.iter().map(|commit| commit.commit).collect();
    assert_eq!(numbers, (1..=log.last_commit()).collect::<Vec<_>>());
    assert_eq!(commits.last().map(|commit| commit.hash), Some(folder.head().hash));
    let mut by_stream: Vec<Record> = commits.iter().flat_map(|commit| commit.records.clone()).collect();
    by_stream.sort_by_key(|record| (record.stream, record.position));
    assert_eq!(by_stream, all(&folder));
    let later: Vec<_> = folder.commits(200).map(|commit| commit.expect("whole")).collect();
    assert_eq!(later[..], commits[200..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_clusters_and_uses_again_meanwhile_is_found_in_runs() {
    let (disk, log) = lively_disk().await;
    let folder = open(&disk);
    let expected: Vec<_> = open(&disk).commits(0).map(|commit| commit.expect("whole")).collect();
    let records = all(&open(&disk));
    let begun = open(&disk);
    let mut under_way = begun.records(None);
    let mut read = vec![under_way.next().expect("a record").expect("whole")];
    // The segments that the folders hold are written over by now.
    for round in 20..24 {
        fill(&log, round, 60).await;
        cluster(&log).await;
    }
    assert!(folder.commits(0).map(|commit| commit.expect("whole")).eq(expected));
    assert!(folder.records(None).map(|record| record.expect("whole")).eq(records));
    assert!(verified(&folder).ok());
    read.extend(under_way.map(|record| record.expect("whole")));
    assert!(read == all(&folder));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_a_log_is_refused() {
    let empty = MemoryDisk::new();
    assert!(matches!(Folder::open(Arc::new(empty)), Err(FolderError::Empty(_))));
    let (disk, _log) = lively_disk().await;
    disk.remove("manifest").expect("remove");
    assert!(matches!(Folder::open(Arc::new(disk)), Err(FolderError::Damaged(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_erased_is_not_shown_though_files_still_hold_it() {
    let disk = MemoryDisk::new();
    let log = Log::open(options(Arc::new(disk.clone()))).expect("open");
    append(&log, to("carl", "diary"), vec![note("a secret")]).await;
    cluster(&log).await;
    // Neither clustering nor recovery has seen the erasure yet.
    let before = copy_of(&disk);
    log.erase(Erase::Principal("carl".to_owned())).await.expect("erased");
    let run = before
        .list()
        .expect("list")
        .into_iter()
        .find(|name| name.starts_with("run-"));
    let run = run.expect("a run");
    let after = copy_of(&disk);
    let mut manifest = crate::segment::manifest::Manifest::read(&after)
        .expect("read")
        .expect("a manifest");
    let old = crate::segment::manifest::Manifest::read(&before)
        .expect("read")
        .expect("a manifest");
    put(&after, &run, &file(&before, &run));
    manifest.erasing = log.last_commit();
    manifest.runs[0] = old.runs[0].clone();
    manifest.write(&after).expect("written");
    let folder = open(&after);
    assert!(
        folder
            .records(None)
            .all(|record| !record.expect("whole").payload.starts_with(b"a secret"))
    );
    let commits = folder.commits(0).map(|commit| commit.expect("whole"));
    assert!(
        commits
            .flat_map(|commit| commit.records)
            .all(|record| !record.payload.starts_with(b"a secret"))
    );
    assert!(verified(&folder).ok());
}
