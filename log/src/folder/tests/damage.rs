//! Damaged folders: everything outside the damage is read, and the damage is named.

use std::collections::BTreeSet;

use super::*;

async fn closed() -> MemoryDisk {
    let (disk, log) = lively_disk().await;
    log.close().await;
    disk
}

fn first(disk: &MemoryDisk, prefix: &str) -> String {
    let names = disk.list().expect("list");
    names.into_iter().find(|name| name.starts_with(prefix)).expect("a file")
}

/// As many as fit into a block, if they said nothing.
const BLOCK_RECORDS_MAX: usize = crate::run::BLOCK_BYTES / crate::codec::v1::FRAME;

type Key = (StreamId, u64);

/// Records and the files that damage was told of.
fn salvaged(disk: &MemoryDisk) -> (BTreeSet<Key>, Vec<Damage>) {
    let folder = Folder::open_damaged(Arc::new(disk.clone())).expect("readable");
    let (mut keys, mut damage) = (BTreeSet::new(), Vec::new());
    for record in folder.records(None) {
        match record {
            Ok(record) => assert!(keys.insert((record.stream, record.position))),
            Err(what) => damage.push(what),
        }
    }
    assert!(!verified(&folder).ok(), "damage is found by verifying too");
    (keys, damage)
}

fn keys(disk: &MemoryDisk) -> BTreeSet<Key> {
    let records = all(&open(disk));
    records.iter().map(|record| (record.stream, record.position)).collect()
}

fn flip(disk: &MemoryDisk, name: &str, at: usize) {
    let mut bytes = file(disk, name);
    bytes[at] ^= 0x10;
    put(disk, name, &bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_anywhere_in_a_run_costs_what_stands_there_and_no_more() {
    let disk = closed().await;
    let expected = keys(&disk);
    let runs = open(&disk).summary().runs;
    let largest = runs.iter().max_by_key(|run| run.records).expect("a run");
    assert!(
        largest.records > 2 * BLOCK_RECORDS_MAX as u64,
        "a run of several blocks"
    );
    let name = crate::run::name(largest.number);
    let length = file(&disk, &name).len();
    for at in (0..length).step_by(length / 37) {
        let damaged = copy_of(&disk);
        flip(&damaged, &name, at);
        let (found, damage) = salvaged(&damaged);
        assert!(found.is_subset(&expected));
        // One block of records at most.
        let lost = expected.len() - found.len();
        assert!(lost <= BLOCK_RECORDS_MAX, "{lost} lost by a flip at {at} of {length}");
        assert!(
            at < 8 || lost == 0 || damage.iter().any(|damage| damage.file == name),
            "{damage:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_without_an_end_is_read_from_its_front_past_damage() {
    let disk = closed().await;
    let expected = keys(&disk);
    let runs = open(&disk).summary().runs;
    let largest = runs.iter().max_by_key(|run| run.records).expect("a run");
    let name = crate::run::name(largest.number);
    let mut bytes = file(&disk, &name);
    bytes.truncate(bytes.len() - 10);
    // In the first block.
    bytes[100] ^= 1;
    put(&disk, &name, &bytes);
    let (found, damage) = salvaged(&disk);
    assert!(found.is_subset(&expected));
    let lost = expected.len() - found.len();
    assert!((1..=BLOCK_RECORDS_MAX).contains(&lost), "{lost} lost");
    assert!(
        damage
            .iter()
            .any(|damage| damage.file == name && damage.offset == Some(8)),
        "{damage:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flipped_bit_in_a_segment_costs_its_commit() {
    let disk = closed().await;
    let expected = keys(&disk);
    let summary = open(&disk).summary();
    let slot = summary
        .slots
        .iter()
        .find(|slot| slot.commits > 3)
        .expect("a used segment");
    let name = format!("slot-{:06}", slot.number);
    for at in (0..slot.bytes_used as usize).step_by(slot.bytes_used as usize / 20) {
        let damaged = copy_of(&disk);
        flip(&damaged, &name, at);
        assert!(
            Folder::open(Arc::new(damaged.clone())).is_err(),
            "acknowledged commits are missing"
        );
        let (found, damage) = salvaged(&damaged);
        assert!(found.is_subset(&expected));
        assert!((1..=2).contains(&(expected.len() - found.len())), "flip at {at}");
        assert!(
            damage
                .iter()
                .any(|damage| damage.file == name && damage.commit.is_some()),
            "{damage:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_manifest_the_files_are_the_log() {
    let disk = closed().await;
    let expected = keys(&disk);
    let head = open(&disk).head();
    for lost in [true, false] {
        let damaged = copy_of(&disk);
        match lost {
            true => damaged.remove("manifest").expect("remove"),
            false => flip(&damaged, "manifest", 40),
        }
        let folder = Folder::open_damaged(Arc::new(damaged.clone())).expect("readable");
        assert_eq!(folder.head(), head);
        let (found, damage) = salvaged(&damaged);
        assert_eq!(found, expected);
        assert_eq!(damage[0].file, "manifest");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_missing_are_named_and_the_rest_is_read() {
    let disk = closed().await;
    let expected = keys(&disk);
    for prefix in ["run-", "slot-", "blob-", "watermark"] {
        let damaged = copy_of(&disk);
        let name = match prefix {
            "slot-" => format!("slot-{:06}", open(&disk).summary().slots[0].number),
            prefix => first(&damaged, prefix),
        };
        damaged.remove(&name).expect("remove");
        let (found, damage) = salvaged(&damaged);
        assert!(damage.iter().any(|damage| damage.file == name), "{name}: {damage:?}");
        assert!(found.is_subset(&expected) && !found.is_empty());
        if prefix == "watermark" {
            assert_eq!(found, expected);
        }
        if prefix == "blob-" {
            assert_eq!(expected.len() - found.len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_tail_is_no_damage() {
    let disk = closed().await;
    let summary = open(&disk).summary();
    let slot = summary
        .slots
        .iter()
        .rfind(|slot| slot.commits > 0)
        .expect("a used segment");
    let name = format!("slot-{:06}", slot.number);
    let mut bytes = file(&disk, &name);
    let at = slot.bytes_used as usize;
    bytes[at..at + 5].copy_from_slice(b"FSc\x02g");
    put(&disk, &name, &bytes);
    assert_eq!(open(&disk).head(), summary.tip);
    assert!(verified(&open(&disk)).ok());
}
