//! What is done with folders that a log made: whole ones, damaged ones, tampered ones, and their backups.

mod backup;
mod damage;
mod reading;
mod tamper;

use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::append::{Append, Appended, NewRecord, Part, Sub, Target};
use crate::disk::memory::MemoryDisk;
use crate::env::SeededEnv;
use crate::limits::Limits;
use crate::record::{Kind, Name, SubStreamId, Subject};
use crate::verbs::{Erase, Trim};
use crate::view_store::memory::MemoryViews;
use crate::{Log, Options};

pub(super) fn options(disk: Arc<dyn Disk>) -> Options {
    Options {
        disk,
        view_store: Arc::new(MemoryViews::new()),
        env: Arc::new(SeededEnv::new(7)),
        limits: Limits {
            segment_bytes: 32 << 10,
            commit_bytes_max: 16 << 10,
            inline_bytes_max: 4 << 10,
            checkpoint_interval_ms: 5,
            watermark_interval_ms: 5,
            run_fan_out: 4,
            ..Limits::default()
        },
        ..Options::in_memory()
    }
}

pub(super) fn name(principal: &str, name: &str) -> Name {
    Name::new(principal, name).expect("a valid name")
}

pub(super) fn note(payload: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        kind: Kind(16),
        subject: Subject::NONE,
        sub: None,
        causation: [0; 16],
        origin: 0,
        payload: payload.into(),
    }
}

pub(super) async fn append(log: &Log, stream: Target, records: Vec<NewRecord>) -> Appended {
    let part = Part {
        stream,
        expect: Vec::new(),
        records,
    };
    log.append(Append::of(vec![part]))
        .await
        .expect("queued")
        .await
        .expect("appended")
}

/// A log that was there before: with ids that it never gave.
pub(super) fn reopened(disk: &MemoryDisk) -> Log {
    let options = Options {
        env: Arc::new(SeededEnv::new(1_000)),
        ..options(Arc::new(disk.clone()))
    };
    Log::open(options).expect("the log opens")
}

pub(super) fn to(principal: &str, stream: &str) -> Target {
    Target::Name(name(principal, stream))
}

/// Appends to several streams, with sub-streams and payload files, enough for several segments.
pub(super) async fn fill(log: &Log, round: u64, records: u64) {
    for number in 0..records {
        let stream = format!("stream-{}", number % 5);
        let text = format!("round {round} record {number} {}", "x".repeat((number % 300) as usize));
        append(log, to("ann", &stream), vec![note(text.clone()), note("second")]).await;
        if number % 10 == 0 {
            let sub = SubStreamId(log.env().mint());
            let open = Sub::Open(sub, name("", &format!("request-{round}-{number}")));
            let in_sub = |sub| NewRecord {
                sub: Some(sub),
                ..note(text.clone())
            };
            append(log, to("bob", "requests"), vec![in_sub(open), in_sub(Sub::Next(sub))]).await;
        }
        if number % 25 == 0 {
            let large = vec![(round + number) as u8; 6 << 10];
            append(log, to("bob", "large"), vec![note(large)]).await;
        }
    }
}

pub(super) async fn cluster(log: &Log) {
    let segments = log.segments().expect("segments");
    segments.seal().await.expect("sealed");
    segments.cluster().await.expect("clustered");
}

/// A log with everything in it, clustered in between; returns the streams that were erased.
pub(super) async fn lively(log: &Log) -> Vec<StreamId> {
    fill(log, 0, 60).await;
    cluster(log).await;
    let stream = |text| {
        let name = name("ann", text);
        async move { log.stream(&name).await.expect("asked").expect("there") }
    };
    let (zero, one, two) = (
        stream("stream-0").await,
        stream("stream-1").await,
        stream("stream-2").await,
    );
    let fork = |name_: &str, parent, position| Target::Fork {
        name: name("ann", name_),
        parent,
        position,
    };
    append(log, fork("fork-of-1", one, 7), vec![note("other")]).await;
    append(log, fork("fork-of-2", two, 3), vec![note("other")]).await;
    log.trim(zero, Trim::Before(9)).await.expect("trimmed");
    log.delete(stream("stream-3").await).await.expect("deleted");
    log.delete(stream("fork-of-2").await).await.expect("deleted");
    append(
        log,
        to("carl", "secret"),
        vec![note("to be erased"), note(vec![9; 5 << 10])],
    )
    .await;
    let secret = log
        .stream(&name("carl", "secret"))
        .await
        .expect("asked")
        .expect("there");
    fill(log, 1, 60).await;
    cluster(log).await;
    log.erase(Erase::Principal("carl".to_owned())).await.expect("erased");
    log.trim(zero, Trim::KeepLast(5)).await.expect("trimmed");
    for round in 2..6 {
        fill(log, round, 30).await;
        cluster(log).await;
    }
    fill(log, 9, 20).await;
    vec![secret]
}

pub(super) async fn lively_disk() -> (MemoryDisk, Log) {
    let disk = MemoryDisk::new();
    let log = Log::open(options(Arc::new(disk.clone()))).expect("open");
    lively(&log).await;
    (disk, log)
}

pub(super) fn open(disk: &MemoryDisk) -> Folder {
    Folder::open(Arc::new(disk.clone())).expect("a folder")
}

pub(super) fn all(folder: &Folder) -> Vec<Record> {
    folder.records(None).map(|record| record.expect("no damage")).collect()
}

pub(super) fn verified(folder: &Folder) -> VerifyReport {
    folder.verify(None, &mut |_| {})
}

/// Bytes of every file.
pub(super) fn bytes(disk: &dyn Disk) -> Vec<(String, Vec<u8>)> {
    let names = disk.list().expect("list");
    let read = |name: String| {
        let bytes = file(disk, &name);
        (name, bytes)
    };
    names.into_iter().map(read).collect()
}

pub(super) fn file(disk: &dyn Disk, name: &str) -> Vec<u8> {
    let file = disk.open(name).expect("open");
    let mut bytes = vec![0; file.len().expect("len") as usize];
    file.read_at(0, &mut bytes).expect("read");
    bytes
}

pub(super) fn copy_of(disk: &dyn Disk) -> MemoryDisk {
    let copy = MemoryDisk::new();
    for (name, bytes) in bytes(disk) {
        put(&copy, &name, &bytes);
    }
    copy
}

pub(super) fn put(disk: &dyn Disk, name: &str, bytes: &[u8]) {
    disk.create(name).expect("create").write_at(0, bytes).expect("write");
}
