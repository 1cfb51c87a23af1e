//! Tampering by somebody who knows the formats and recomputes every checksum: only the chain can tell.

use super::*;
use crate::codec::v1::RecordHeader;
use crate::codec::{self, CommitHead};
use crate::record::{Digest, Extras};
use crate::run::{BLOCK_BYTES, BlockCache, Form, Meta, Run, RunBuilder};
use crate::segment::manifest::Manifest;

type Frame = (Form, Vec<u8>);

/// A closed log of which every commit but the last few has one record.
async fn plain() -> (MemoryDisk, Head) {
    let disk = MemoryDisk::new();
    let log = Log::open(options(Arc::new(disk.clone()))).expect("open");
    for number in 0..40 {
        let stream = format!("s{}", number % 3);
        append(&log, to("", &stream), vec![note(format!("number {number}"))]).await;
        append(&log, to("", "pairs"), vec![note("first"), note("second")]).await;
    }
    append(&log, to("", "last of its stream"), vec![note("one")]).await;
    append(&log, to("", "last of its stream"), vec![note("two")]).await;
    cluster(&log).await;
    for number in 0..10 {
        append(&log, to("", "tail"), vec![note(format!("number {number}"))]).await;
    }
    log.close().await;
    let report = verified(&open(&disk));
    assert!(report.ok(), "{:#?}", report.findings);
    (disk, report.head)
}

/// Makes the run anew with other entries.
fn rewrite(disk: &MemoryDisk, change: impl FnOnce(Vec<Frame>) -> Vec<Frame>) -> MemoryDisk {
    let disk = copy_of(disk);
    let mut manifest = Manifest::read(&disk).expect("read").expect("a manifest");
    let entry = manifest.runs.last_mut().expect("a run");
    let run = Run::open(&disk, entry.run, Arc::new(BlockCache::new(1 << 20))).expect("a run");
    let frames = run.scan().map(|entry| entry.expect("an entry"));
    let frames = change(frames.map(|entry| (entry.form, entry.frame.to_vec())).collect());
    let built = MemoryDisk::new();
    let mut ignored = |_| {};
    let mut builder = RunBuilder::create(&built, entry.run, BLOCK_BYTES, &mut ignored).expect("create");
    for (form, frame) in frames {
        builder.push(form, &frame, false).expect("a frame");
    }
    let meta = Meta {
        store: manifest.store,
        first_commit: entry.first,
        last_commit: entry.last,
        created_us: 0,
    };
    let commits: Vec<Bytes> = run.commits().map(|commit| commit.expect("a head")).collect();
    let stubs: Vec<_> = run.stubs().map(|stub| stub.expect("a stub")).collect();
    let made = builder.finish(meta, commits, stubs).expect("built");
    entry.bytes = made.file_bytes;
    put(
        &disk,
        &crate::run::name(entry.run),
        &file(&built, &crate::run::name(entry.run)),
    );
    manifest.write(&disk).expect("written");
    disk
}

/// A frame with something changed, whole by itself.
fn changed(frame: &[u8], change: impl FnOnce(&mut RecordHeader, &mut Vec<u8>)) -> Frame {
    let (record, _) = codec::decode_record(&Bytes::copy_from_slice(frame)).expect("a record");
    let (mut header, _) = codec::decode_header(frame).expect("a header");
    let (extras, mut payload): (Extras, Vec<u8>) = (record.extras, record.payload.to_vec());
    change(&mut header, &mut payload);
    let mut bytes = Vec::new();
    codec::encode_record(&mut bytes, &mut header, &extras, &payload);
    (Form::Whole, bytes)
}

fn payload(frame: &Frame) -> Vec<u8> {
    let (record, _) = codec::decode_record(&Bytes::copy_from_slice(&frame.1)).expect("a record");
    record.payload.to_vec()
}

fn at(frames: &[Frame], text: &str) -> usize {
    frames
        .iter()
        .position(|frame| payload(frame) == text.as_bytes())
        .expect("a record")
}

fn finds(disk: &MemoryDisk, what: &str) {
    let report = verified(&open(disk));
    assert!(!report.ok(), "{what} went unnoticed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_made_anew_as_it_was_verifies() {
    let (disk, head) = plain().await;
    let same = rewrite(&disk, |frames| frames);
    assert!(open(&same).verify(Some(&head), &mut |_| {}).ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_taken_out_of_a_run_are_missed() {
    let (disk, _) = plain().await;
    for text in ["number 7", "first", "second", "two", "one"] {
        let cut = rewrite(&disk, |mut frames| {
            frames.remove(at(&frames, text));
            frames
        });
        finds(&cut, text);
    }
    // All of a stream.
    let cut = rewrite(&disk, |mut frames| {
        frames.retain(|frame| !["one", "two"].contains(&&*String::from_utf8_lossy(&payload(frame))));
        frames
    });
    finds(&cut, "a whole stream taken out");
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_are_put_into_a_run_are_found() {
    let (disk, _) = plain().await;
    for index in [0, 1] {
        let more = rewrite(&disk, |mut frames| {
            let last = at(&frames, "two");
            let forged = changed(&frames[last].1, |header, payload| {
                header.position += 1;
                header.index = index;
                *payload = b"three".to_vec();
            });
            frames.insert(last + 1, forged);
            frames
        });
        finds(&more, "a record put in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_run_that_change_places_or_content_are_found() {
    let (disk, _) = plain().await;
    let swapped = rewrite(&disk, |mut frames| {
        let (one, two) = (at(&frames, "one"), at(&frames, "two"));
        let (said_one, said_two) = (payload(&frames[one]), payload(&frames[two]));
        frames[one] = changed(&frames[one].1, |_, payload| *payload = said_two);
        frames[two] = changed(&frames[two].1, |_, payload| *payload = said_one);
        frames
    });
    finds(&swapped, "payloads that changed places");
    let replaced = rewrite(&disk, |mut frames| {
        let seven = at(&frames, "number 7");
        frames[seven] = changed(&frames[seven].1, |_, payload| *payload = b"number 8".to_vec());
        frames
    });
    finds(&replaced, "a payload that was replaced");
    let later = rewrite(&disk, |mut frames| {
        let seven = at(&frames, "number 7");
        frames[seven] = changed(&frames[seven].1, |header, _| header.time_us += 1);
        frames
    });
    finds(&later, "a time that was changed");
    let erased = rewrite(&disk, |mut frames| {
        let seven = at(&frames, "number 7");
        let forged = [&frames[seven].1[..codec::v1::RECORD_HEADER_FRAME], &[5; 32]].concat();
        frames[seven] = (Form::Erased, forged);
        frames
    });
    finds(&erased, "a forged digest of an erased record");
}

/// Writes the commits of the last used segment anew from one on; `relink`: as if they had always been so.
fn forge(disk: &MemoryDisk, number: usize, relink: bool) -> MemoryDisk {
    let disk = copy_of(disk);
    let summary = open(&disk).summary();
    let slot = summary
        .slots
        .iter()
        .rfind(|slot| slot.commits > 3)
        .expect("a used segment");
    let name = format!("slot-{:06}", slot.number);
    let mut bytes = file(&disk, &name);
    let (mut at, mut count) = (0, 0);
    let mut previous: Option<Digest> = None;
    while at < slot.bytes_used as usize {
        let frame = codec::decode_commit(&bytes[at..]).expect("a commit");
        let CommitHead { mut header, .. } = codec::decode_commit_head(&bytes[at..]).expect("a head");
        let body = Bytes::copy_from_slice(&bytes[at + frame.body..at + frame.body + header.body_bytes as usize]);
        let mut buffer = Vec::new();
        codec::begin_commit(&mut buffer);
        let mut offset = 0;
        let mut digests = Vec::new();
        while offset < body.len() {
            let (_, length) = codec::decode_header(&body[offset..]).expect("a header");
            let whole = body.slice(offset..offset + length);
            let (_, forged) = changed(&whole, |_, payload| {
                if count == number {
                    payload[0] = b'!';
                }
            });
            digests.push(codec::record_digest(&forged, &codec::digest(codec::body(&forged))));
            buffer.extend_from_slice(&forged);
            offset += length;
        }
        if relink {
            header.records_digest = codec::records_digest(&digests);
            header.previous = previous.unwrap_or(header.previous);
        }
        let (hash, length) = codec::finish_commit(&mut buffer, header);
        previous = Some(hash);
        bytes[at..at + length].copy_from_slice(&buffer[..length]);
        at += frame.bytes;
        count += 1;
    }
    put(&disk, &name, &bytes);
    disk
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_of_a_segment_that_is_made_anew_is_found() {
    let (disk, head) = plain().await;
    assert!(
        open(&forge(&disk, usize::MAX, true))
            .verify(Some(&head), &mut |_| {})
            .ok()
    );
    // In the middle the next commit does not link to it: that is a log that lost commits.
    let middle = forge(&disk, 4, false);
    assert!(Folder::open(Arc::new(middle.clone())).is_err());
    let folder = Folder::open_damaged(Arc::new(middle)).expect("readable");
    assert!(!verified(&folder).ok());
    // Nothing links to the last one, but its own header speaks of its records.
    let last = forge(&disk, 9, false);
    finds(&last, "a record of the last commit that was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_is_written_anew_or_rolled_back_is_found_by_a_kept_head() {
    let (disk, head) = plain().await;
    let forged = forge(&disk, 4, true);
    assert!(verified(&open(&forged)).ok(), "a history of its own");
    let report = open(&forged).verify(Some(&head), &mut |_| {});
    assert!(
        report.findings.iter().any(|found| found.what.contains("written anew")),
        "{:?}",
        report.findings
    );

    let log = reopened(&disk);
    let earlier = copy_of(&disk);
    fill(&log, 0, 20).await;
    log.close().await;
    let later = open(&disk).head();
    assert!(
        open(&disk).verify(Some(&head), &mut |_| {}).ok(),
        "an earlier head is on the way"
    );
    assert!(verified(&open(&earlier)).ok());
    let report = open(&earlier).verify(Some(&later), &mut |_| {});
    assert!(
        report.findings.iter().any(|found| found.what.contains("rolled back")),
        "{:?}",
        report.findings
    );
}
