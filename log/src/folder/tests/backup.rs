//! Backups and what is restored from them.

use std::io::ErrorKind;

use super::*;
use crate::disk::faulty::{Call, FaultyDisk};
use crate::disk::fs::FsDisk;

const NEW_STORE: [u8; 16] = [0xb0; 16];

fn backup(disk: &MemoryDisk, to: &dyn Disk) -> BackupReport {
    open(disk).backup(to, &mut |_| {}).expect("a backup")
}

fn restored(from: &dyn Disk) -> (MemoryDisk, RestoreReport) {
    let to = MemoryDisk::new();
    let report = restore(
        from,
        Arc::new(to.clone()),
        NEW_STORE,
        RestoreOptions::default(),
        &mut |_| {},
    );
    (to, report.expect("restored"))
}

/// Everything but what only an erased or trimmed record had.
async fn opens_and_goes_on(disk: &MemoryDisk) {
    let log = reopened(disk);
    let before = log.last_commit();
    fill(&log, 50, 10).await;
    assert!(log.last_commit() > before);
    cluster(&log).await;
    log.close().await;
    let report = verified(&open(disk));
    assert!(report.ok(), "{:#?}", report.findings);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_five_increments_restores_what_the_log_was() {
    let disk = MemoryDisk::new();
    let to = MemoryDisk::new();
    let log = Log::open(options(Arc::new(disk.clone()))).expect("open");
    lively(&log).await;
    for round in 0..5 {
        fill(&log, 100 + round, 25).await;
        if round % 2 == 1 {
            cluster(&log).await;
        }
        let report = backup(&disk, &to);
        assert_eq!(report.head.commit, log.last_commit());
        assert_eq!(report.before.is_some(), round > 0);
        let (copy, restored) = restored(&to);
        assert_eq!(
            (restored.backup.commit, restored.backup.hash),
            (report.head.commit, report.head.hash)
        );
        assert_eq!(restored.head.store, NEW_STORE);
        let folder = open(&copy);
        assert!(folder.verify(Some(&report.head), &mut |_| {}).ok());
        let live: Vec<Record> = all(&open(&disk));
        let mut copied = all(&folder);
        // What was given up after an older run was copied may be there still.
        copied.retain(|record| {
            live.binary_search_by_key(&(record.stream, record.position), |live| (live.stream, live.position))
                .is_ok()
        });
        let same = restored.head.hash == report.head.hash;
        assert!(!same || copied == live, "round {round}");
        if !same {
            assert!(restored.head.commit > report.head.commit);
        }
        opens_and_goes_on(&copy).await;
    }
    let nothing = backup(&disk, &to);
    assert_eq!(
        (nothing.runs_made, nothing.runs_copied, nothing.bytes_written),
        (0, 0, 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_while_a_server_appends_and_clusters_are_whole() {
    let folder = tempfile::tempdir().expect("a folder");
    let fs: Arc<dyn Disk> = Arc::new(FsDisk::open(&folder.path().join("log")).expect("a disk"));
    let target = FsDisk::open(&folder.path().join("backup")).expect("a disk");
    let log = Log::open(options(fs.clone())).expect("open");
    fill(&log, 0, 20).await;
    let writing = tokio::spawn({
        let log = log.clone();
        async move {
            for round in 1..12 {
                fill(&log, round, 40).await;
                cluster(&log).await;
            }
        }
    });
    let mut backups = 0;
    while !writing.is_finished() || backups < 3 {
        let disk = fs.clone();
        let target = FsDisk::open(&folder.path().join("backup")).expect("a disk");
        let done = tokio::task::spawn_blocking(move || {
            Folder::open(disk).and_then(|folder| folder.backup(&target, &mut |_| {}))
        });
        let report = done.await.expect("no panic").expect("a backup");
        let (copy, restored) = restored(&FsDisk::open(&folder.path().join("backup")).expect("a disk"));
        assert_eq!(restored.head.hash, report.head.hash);
        let live = log.commits_start();
        assert!(live.commit <= report.head.commit);
        drop(copy);
        backups += 1;
    }
    writing.await.expect("no panic");
    let last = Folder::open(fs.clone())
        .expect("open")
        .backup(&target, &mut |_| {})
        .expect("a backup");
    assert_eq!(last.head.commit, log.last_commit());
    let (copy, _) = restored(&target);
    let live = Folder::open(fs).expect("open");
    assert_eq!(all(&open(&copy)), all(&live));
    opens_and_goes_on(&copy).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_backup_is_gone_on_with_whatever_call_failed() {
    let (disk, log) = lively_disk().await;
    let first = MemoryDisk::new();
    backup(&disk, &first);
    fill(&log, 70, 40).await;
    let expected = all(&open(&disk));
    for begun in [false, true] {
        for call in [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
            for after in 0.. {
                let inner = if begun { copy_of(&first) } else { MemoryDisk::new() };
                let before = begun.then(|| bytes(&inner));
                let faulty = FaultyDisk::new(Arc::new(inner.clone()));
                faulty.fail(call, "", after, ErrorKind::StorageFull, true);
                let failed = open(&disk).backup(&faulty, &mut |_| {});
                faulty.heal();
                if failed.is_err()
                    && !begun
                    && let Ok(listed) = inner.open("backup.json")
                {
                    assert!(listed.len().expect("len") > 0);
                    assert_eq!(
                        restored(&inner).1.backup,
                        open(&disk).head(),
                        "listed only when it is whole"
                    );
                }
                if let (Err(_), Some(before)) = (&failed, before) {
                    // What the backup was is still all there; the listing at least as old or new.
                    for (name, bytes) in before.iter().filter(|(name, _)| name.starts_with("run-")) {
                        assert_eq!(&file(&inner, name), bytes);
                    }
                    let listed = file(&inner, "backup.json");
                    let kept = before
                        .iter()
                        .any(|(name, bytes)| name == "backup.json" && *bytes == listed);
                    assert!(kept || open(&disk).head().commit == restored(&inner).1.backup.commit);
                }
                backup(&disk, &inner);
                let names = inner.list().expect("list");
                assert!(
                    !names.iter().any(|name| name.contains("part") || name.ends_with(".new")),
                    "{names:?}"
                );
                // Restoring each of them takes long: those on the way are all alike.
                if after % 7 == 0 {
                    let (copy, _) = restored(&inner);
                    let mut copied = all(&open(&copy));
                    copied.retain(|record| record.commit <= open(&disk).head().commit);
                    let there = |record: &Record| {
                        expected
                            .binary_search_by_key(&(record.stream, record.position), |e| (e.stream, e.position))
                            .is_ok()
                    };
                    copied.retain(there);
                    assert_eq!(copied, expected);
                }
                if failed.is_ok() {
                    break;
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_is_no_log_and_begins_anew() {
    let (disk, _log) = lively_disk().await;
    let from = MemoryDisk::new();
    backup(&disk, &from);
    for call in [Call::Create, Call::Write, Call::Sync, Call::Rename, Call::SyncDir] {
        for after in 0.. {
            let to = MemoryDisk::new();
            let faulty = FaultyDisk::new(Arc::new(to.clone()));
            faulty.fail(call, "", after, ErrorKind::StorageFull, true);
            let done = restore(
                &from,
                Arc::new(faulty.clone()),
                NEW_STORE,
                RestoreOptions::default(),
                &mut |_| {},
            );
            if done.is_ok() {
                break;
            }
            // Only the last sync of the folder comes after the manifest has its name.
            let named = to.open("manifest").is_ok();
            assert!(!named || call == Call::SyncDir);
            if !named {
                restore(
                    &from,
                    Arc::new(to.clone()),
                    NEW_STORE,
                    RestoreOptions::default(),
                    &mut |_| {},
                )
                .expect("restored");
            }
            assert!(verified(&open(&to)).ok());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn erasures_since_the_backup_are_made_again() {
    let disk = MemoryDisk::new();
    let log = Log::open(options(Arc::new(disk.clone()))).expect("open");
    append(
        &log,
        to("dora", "diary"),
        vec![note("a secret of hers"), note(vec![3; 6 << 10])],
    )
    .await;
    append(&log, to("dora", "other"), vec![note("a secret too")]).await;
    fill(&log, 0, 30).await;
    cluster(&log).await;
    let target = MemoryDisk::new();
    let taken = backup(&disk, &target);
    log.erase(Erase::Principal("dora".to_owned())).await.expect("erased");
    let copy = MemoryDisk::new();
    let options_ = RestoreOptions {
        erasures_from: Some(Arc::new(disk.clone())),
    };
    let report = restore(&target, Arc::new(copy.clone()), NEW_STORE, options_, &mut |_| {}).expect("restored");
    assert_eq!((report.streams_erased, report.backup), (2, taken.head));
    let folder = open(&copy);
    assert!(folder.verify(Some(&taken.head), &mut |_| {}).ok());
    assert!(
        !all(&folder)
            .iter()
            .any(|record| record.payload.windows(6).any(|part| part == b"secret"))
    );
    let names = copy.list().expect("list");
    for stored in names.iter().map(|name| file(&copy, name)) {
        assert!(!stored.windows(8).any(|part| part == b"a secret"));
    }
    opens_and_goes_on(&copy).await;
    // A later increment into the old backup: what it holds of her is erased by the restore.
    backup(&disk, &target);
    let (copy, report) = restored(&target);
    assert!(
        !all(&open(&copy))
            .iter()
            .any(|record| record.payload.windows(6).any(|part| part == b"secret"))
    );
    assert!(report.head.commit >= report.backup.commit);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_refused_where_it_does_not_belong() {
    let (disk, log) = lively_disk().await;
    let target = MemoryDisk::new();
    backup(&disk, &target);
    let other = MemoryDisk::new();
    let other_log = Log::open(Options {
        env: Arc::new(SeededEnv::new(8)),
        ..options(Arc::new(other.clone()))
    });
    fill(&other_log.expect("open"), 0, 90).await;
    let refused = open(&other).backup(&target, &mut |_| {});
    assert!(matches!(refused, Err(FolderError::Target(_))), "{refused:?}");
    log.close().await;
    let stray = MemoryDisk::new();
    put(&stray, "photo.jpg", b"not ours");
    assert!(matches!(
        open(&disk).backup(&stray, &mut |_| {}),
        Err(FolderError::Target(_))
    ));
    let full: Arc<dyn Disk> = Arc::new(stray.clone());
    let refused = restore(&target, full, NEW_STORE, RestoreOptions::default(), &mut |_| {});
    assert!(matches!(refused, Err(FolderError::Target(_))));
    assert_eq!(stray.list().expect("list"), ["photo.jpg"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_backup_is_not_restored() {
    let (disk, _log) = lively_disk().await;
    let target = MemoryDisk::new();
    backup(&disk, &target);
    for name in target.list().expect("list") {
        let damaged = copy_of(&target);
        let mut bytes = file(&damaged, &name);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        put(&damaged, &name, &bytes);
        let to = MemoryDisk::new();
        let done = restore(
            &damaged,
            Arc::new(to.clone()),
            NEW_STORE,
            RestoreOptions::default(),
            &mut |_| {},
        );
        assert!(done.is_err(), "{name}");
        assert!(to.open("manifest").is_err());
    }
}
