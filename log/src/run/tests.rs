//! What a run promises: what was put in comes out, in order, and what was not put in never does.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use proptest::prelude::*;

use super::apart::put_together;
use super::block::{Packer, unpack};
use super::build::Built;
use super::*;
use crate::codec::v1::{RECORD_HEADER_FRAME, RecordHeader, get_record_header};
use crate::codec::{decode_record, encode_record};
use crate::disk::faulty::{Call, FaultyDisk};
use crate::disk::memory::{Choice, MemoryDisk};
use crate::disk::{Disk, DiskFile};
use crate::record::{Carried, Extras, Name, Record};
use std::sync::Arc;

const META: Meta = Meta {
    store: [0xab; 16],
    first_commit: 1,
    last_commit: 1 << 40,
    created_us: 7,
};

#[derive(Debug, Clone, PartialEq)]
struct Given {
    key: Key,
    form: Form,
    frame: Vec<u8>,
    snapshot: bool,
}

fn stream(number: u8) -> StreamId {
    StreamId([number; 16])
}

fn given(of: u8, position: u64, form: Form, payload: &[u8]) -> Given {
    let mut header = RecordHeader {
        stream: [of; 16],
        position,
        sub_stream: [of ^ 1; 16],
        sub_number: position % 200,
        subject: 0,
        kind: 21,
        commit: position + 3,
        index: u32::from(of),
        time_us: 1_717_171_717_430_000 + position as i64,
        causation: [0; 16],
        origin: 5,
        extras_bytes: 0,
        payload_bytes: 0,
    };
    let opens = Carried {
        stream: (position == 1).then(|| Name::new("p", "session/s").expect("a valid name")),
        ..Carried::default()
    };
    let mut frame = Vec::new();
    encode_record(&mut frame, &mut header, &opens, payload);
    if form == Form::Erased {
        frame.truncate(RECORD_HEADER_FRAME);
        frame.extend_from_slice(&[of; 32]);
    }
    Given {
        key: (stream(of), position),
        form,
        frame,
        snapshot: position.is_multiple_of(5),
    }
}

fn stubs() -> Vec<Stub> {
    [(1, 0), (1, 7), (9, 2)]
        .map(|(commit, index)| Stub {
            commit,
            index,
            digest: [commit as u8; 32],
        })
        .to_vec()
}

const COMMITS: [&[u8]; 3] = [b"first", b"", b"third"];

fn build(disk: &dyn Disk, number: u32, block_bytes: usize, records: &[Given]) -> Built {
    let mut ignore = |_| ();
    let mut builder = RunBuilder::create(disk, number, block_bytes, &mut ignore).expect("create");
    for record in records {
        builder.push(record.form, &record.frame, record.snapshot).expect("push");
        if record.snapshot {
            builder.blob([1; 32], record.key.0, record.key.1);
        }
    }
    builder.finish(META, COMMITS, stubs()).expect("finish")
}

fn open(disk: &dyn Disk, number: u32) -> Result<Run, RunError> {
    Run::open(disk, number, Arc::new(BlockCache::new(1 << 20)))
}

fn plain(entry: &Entry) -> (Key, Form, Vec<u8>) {
    (entry.key(), entry.form, entry.frame.to_vec())
}

fn expected<'a>(records: impl IntoIterator<Item = &'a Given>) -> Vec<(Key, Form, Vec<u8>)> {
    records
        .into_iter()
        .map(|of| (of.key, of.form, of.frame.clone()))
        .collect()
}

fn all<T>(items: impl Iterator<Item = Result<T, RunError>>) -> Vec<T> {
    items.collect::<Result<_, _>>().expect("an intact section")
}

/// What a read gives of them.
fn records_of<'a>(given: impl IntoIterator<Item = &'a Given>) -> Vec<Record> {
    let record = |of: &Given| match of.form {
        Form::Whole => decode_record(&Bytes::from(of.frame.clone())).expect("a record").0,
        Form::Erased => Record {
            erased: true,
            ..get_record_header(&of.frame)
                .expect("a header")
                .into_record(Extras::default(), Bytes::new())
        },
    };
    given.into_iter().map(record).collect()
}

fn read_part(
    run: &Run,
    of: StreamId,
    from: u64,
    to: u64,
    mut bytes_max: usize,
    access: Access,
) -> Result<Vec<Record>, RunError> {
    let mut found = Vec::new();
    run.read(of, from, to, &mut bytes_max, access, &mut found)?;
    Ok(found)
}

/// Reads a range to its end, in as many calls as it takes.
fn read_all(run: &Run, of: StreamId, from: u64, to: u64, bytes_max: usize) -> Result<Vec<Record>, RunError> {
    let (mut found, mut next) = (Vec::new(), from);
    loop {
        let page = read_part(run, of, next, to, bytes_max, Access::Wait)?;
        let Some(last) = page.last() else { return Ok(found) };
        next = last.position + 1;
        found.extend(page);
    }
}

fn tokens(streams: u8, positions: std::ops::Range<u64>) -> Vec<Given> {
    let record = |of, position: u64| {
        given(
            of,
            position,
            Form::Whole,
            format!("{{\"delta\":\"{position:0100}\"}}").as_bytes(),
        )
    };
    (0..streams)
        .flat_map(|of| positions.clone().map(move |position| record(of, position)))
        .collect()
}

fn payload() -> impl Strategy<Value = Vec<u8>> {
    let noise = |sizes| proptest::collection::vec(any::<u8>(), sizes);
    prop_oneof![
        4 => noise(0..300),
        3 => (0usize..600).prop_map(|bytes| vec![b'a'; bytes]),
        1 => noise(0..40 << 10),
    ]
}

fn records() -> impl Strategy<Value = Vec<Given>> {
    let form = prop_oneof![5 => Just(Form::Whole), 1 => Just(Form::Erased)];
    let record = (
        (0u8..6, prop_oneof![1u64..40, any::<u32>().prop_map(u64::from)]),
        (form, payload()),
    );
    proptest::collection::vec(record, 0..60).prop_map(|records| {
        let sorted: BTreeMap<_, _> = records.into_iter().collect();
        let record = |((of, position), (form, payload)): (_, (_, Vec<u8>))| given(of, position, form, &payload);
        sorted.into_iter().map(record).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_was_put_in_comes_out(
        records in records(), block_bytes in prop_oneof![Just(1usize), 200usize..3_000, Just(BLOCK_BYTES)],
        from in 0u64..40, length in 0u64..40, bytes_max in 0usize..100_000,
    ) {
        let disk = MemoryDisk::new();
        let built = build(&disk, 1, block_bytes, &records);
        let run = open(&disk, 1).expect("open");
        run.verify().expect("verify");
        prop_assert_eq!(run.footer(), &built.footer);
        prop_assert_eq!(run.file_bytes(), built.file_bytes);
        prop_assert_eq!(all(run.scan()).iter().map(plain).collect::<Vec<_>>(), expected(&records));
        prop_assert_eq!(all(run.commits()), COMMITS);
        prop_assert_eq!(all(run.stubs()), stubs());
        let blobs: Vec<_> = all(run.blobs()).iter().map(|blob| (blob.stream, blob.position)).collect();
        prop_assert_eq!(blobs, records.iter().filter(|of| of.snapshot).map(|of| of.key).collect::<Vec<_>>());

        let mut spans = Vec::new();
        for of in (0..7).map(stream) {
            let mine: Vec<_> = records.iter().filter(|record| record.key.0 == of).collect();
            let span = run.span(of, Access::Now).expect("span");
            prop_assert_eq!(span.map(|s| (s.first, s.last, s.records, s.snapshot)), mine.first().map(|first| {
                let snapshots = mine.iter().filter(|of| of.snapshot).map(|of| of.key.1);
                (first.key.1, mine[mine.len() - 1].key.1, mine.len() as u64, snapshots.max().unwrap_or(0))
            }));
            spans.extend(span);
            let range = from..=from + length;
            let wanted = records_of(mine.iter().copied().filter(|of| range.contains(&of.key.1)));
            prop_assert_eq!(read_all(&run, of, from, from + length, bytes_max).expect("read"), wanted);
            prop_assert_eq!(read_all(&run, of, 0, u64::MAX, bytes_max).expect("read"), records_of(mine));
        }
        prop_assert_eq!(all(run.streams()), spans);
    }

    #[test]
    fn a_merge_of_runs_is_all_their_records_in_order(records in records(), choice: u64) {
        let (disk, mut choice) = (MemoryDisk::new(), Choice::new(choice));
        let mut parts = [const { Vec::new() }; 4];
        for record in &records {
            parts[choice.below(4)].push(record.clone());
        }
        let runs: Vec<_> = parts.iter().zip(1..).map(|(part, number)| {
            build(&disk, number, 700, part);
            open(&disk, number).expect("open")
        }).collect();
        let merged: Vec<_> = all(Merge::new(&runs)).iter().map(plain).collect();
        prop_assert_eq!(merged, expected(&records));
    }

    #[test]
    fn a_block_of_noise_is_refused_without_a_panic(noise in proptest::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(unpack(&noise).is_err());
        drop(put_together(&noise));
    }
}

#[test]
fn headers_that_are_damaged_behind_a_checksum_are_refused_or_differ_without_a_panic() {
    let (mut raw, mut starts, mut apart) = (Vec::new(), Vec::new(), Vec::new());
    for record in tokens(2, 1..4) {
        starts.push(raw.len());
        raw.push(0);
        raw.extend_from_slice(&record.frame);
    }
    super::apart::set_apart(&raw, &starts, &mut apart);
    assert_eq!(put_together(&apart).expect("as it was"), raw);
    assert!(
        put_together(&[&apart[..], &[0]].concat()).is_err(),
        "bytes that belong to nothing"
    );
    for bit in 0..apart.len() * 8 {
        apart[bit / 8] ^= 1 << (bit % 8);
        if let Ok(damaged) = put_together(&apart) {
            assert_ne!(damaged, raw, "bit {bit} stands for nothing");
            let (damaged, mut at) = (Bytes::from(damaged), 0);
            while let Ok((_, next)) = Entry::take(&damaged, at) {
                at = next;
            }
        }
        apart[bit / 8] ^= 1 << (bit % 8);
    }
}

fn content(disk: &dyn Disk) -> Vec<u8> {
    let file = disk.open(&name(1)).expect("open");
    let mut bytes = vec![0; file.len().expect("len") as usize];
    file.read_at(0, &mut bytes).expect("read");
    bytes
}

fn with_content(bytes: &[u8]) -> MemoryDisk {
    let disk = MemoryDisk::new();
    disk.create(&name(1))
        .expect("create")
        .write_at(0, bytes)
        .expect("write");
    disk
}

fn small() -> Vec<Given> {
    let mut records = tokens(3, 1..5);
    records.push(given(3, 9, Form::Erased, b"gone"));
    records.push(given(4, 1, Form::Whole, &[0x5a; 700]));
    records
}

#[test]
fn every_single_bit_flip_is_found_and_never_read() {
    let disk = MemoryDisk::new();
    let records = small();
    build(&disk, 1, 600, &records);
    let intact = content(&disk);
    for bit in 0..intact.len() * 8 {
        let mut damaged = intact.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(run) = open(&with_content(&damaged), 1) else {
            continue;
        };
        assert!(run.verify().is_err(), "flip of bit {bit} went unnoticed");
        for of in (0..5).map(stream) {
            let mine = records_of(records.iter().filter(|record| record.key.0 == of));
            if let Ok(read) = read_all(&run, of, 0, u64::MAX, 1 << 20) {
                assert_eq!(read, mine, "flip of bit {bit} was read");
            }
            if let Ok(span) = run.span(of, Access::Wait) {
                assert_eq!(
                    span.map(|span| span.records),
                    Some(mine.len() as u64),
                    "flip of bit {bit} was read"
                );
            }
        }
    }
}

#[test]
fn a_file_of_another_length_is_no_run() {
    let disk = MemoryDisk::new();
    build(&disk, 1, 600, &small());
    let intact = content(&disk);
    for length in 0..intact.len() {
        let opened = open(&with_content(&intact[..length]), 1);
        assert!(matches!(opened, Err(RunError::Damaged { .. })), "cut at {length}");
    }
    let longer = [&intact[..], &[0]].concat();
    assert!(matches!(open(&with_content(&longer), 1), Err(RunError::Damaged { .. })));
}

#[test]
fn a_file_under_another_number_is_refused() {
    let disk = MemoryDisk::new();
    build(&disk, 1, 600, &small());
    disk.rename(&name(1), &name(2)).expect("rename");
    let Err(error) = open(&disk, 2) else {
        panic!("opened run 1 as run 2")
    };
    assert!(error.to_string().contains("says that it is run 1"), "{error}");
}

/// A run whose parts are whole but contradict each other: `change` is given the index, the footer's JSON and where the trailer says that it is.
fn with_end(change: impl Fn(&mut Vec<entry::Place>, &mut serde_json::Value, &mut u64)) -> Result<Run, RunError> {
    let disk = MemoryDisk::new();
    let built = build(&disk, 1, 600, &small());
    let run = open(&disk, 1).expect("as it was");
    let mut bytes = content(&disk);
    let mut places = [run.records, run.streams].concat();
    let mut json = serde_json::to_value(&built.footer).expect("json");
    let index_at = built.footer.sections.index.offset;
    let mut shift = 0;
    change(&mut places, &mut json, &mut shift);
    bytes.truncate(index_at as usize);
    let mut raw = Vec::new();
    places.iter().for_each(|place| place.put(&mut raw));
    let mut packer = Packer::default();
    let length = packer.pack(&raw, None, &mut bytes);
    json["sections"]["index"]["bytes"] = length.into();
    json["sections"]["index"]["blocks"] = 1.into();
    let offset = bytes.len() as u64;
    let length = packer.pack(json.to_string().as_bytes(), None, &mut bytes);
    bytes.extend_from_slice(&footer::trailer(offset + shift, length as u32));
    open(&with_content(&bytes), 1)
}

fn with_footer(change: impl Fn(&mut serde_json::Value)) -> Result<Run, RunError> {
    with_end(|_, json, _| change(json))
}

#[test]
fn an_index_that_contradicts_the_file_is_found_at_opening() {
    let refused = |change: fn(&mut Vec<entry::Place>)| {
        let opened = with_end(|places, _, _| change(places));
        matches!(opened, Err(RunError::Damaged { .. }))
    };
    assert!(!refused(|_| ()));
    assert!(refused(|places| places[0].offset += 1), "a gap");
    assert!(refused(|places| places[1].position = places[0].position), "no order");
    assert!(refused(|places| places.push(places[0])), "a block too many");
    assert!(refused(|places| places.truncate(places.len() - 1)), "a block too few");
    assert!(
        refused(|places| places.last_mut().expect("a block").bytes += 1),
        "a block too long"
    );
}

#[test]
fn a_trailer_that_points_past_the_file_is_found() {
    for shift in [1, 1_000, u64::MAX / 2] {
        let opened = with_end(|_, _, offset| *offset = shift);
        assert!(matches!(opened, Err(RunError::Damaged { .. })));
    }
}

#[test]
fn a_footer_that_contradicts_the_file_is_found() {
    with_footer(|_| ()).expect("opens").verify().expect("as it was");
    let opened = with_footer(|json| json["format"] = 4.into());
    assert!(matches!(opened, Err(RunError::Format { format: 4, .. })));
    for (field, value) in [("offset", 9), ("bytes", u64::MAX), ("blocks", 1)] {
        let opened = with_footer(|json| json["sections"]["records"][field] = value.into());
        assert!(matches!(opened, Err(RunError::Damaged { .. })), "{field}");
    }
    for section in ["commits", "stubs", "blobs"] {
        let opened = with_footer(|json| json["sections"][section]["offset"] = 8.into());
        assert!(matches!(opened, Err(RunError::Damaged { .. })), "{section}");
    }
    for field in ["records", "streams", "raw_bytes", "last_commit"] {
        let run = with_footer(|json| json[field] = 3.into()).expect("opens");
        assert!(run.verify().is_err(), "{field}");
    }
    let run = with_footer(|json| json["sections"]["stubs"]["blocks"] = 0.into()).expect("opens");
    assert!(run.verify().is_err());
}

#[test]
fn sections_that_contradict_each_other_are_found() {
    let (disk, other) = (MemoryDisk::new(), MemoryDisk::new());
    let second = given(1, 6, Form::Whole, b"of the second stream");
    let records = |positions| [tokens(1, positions), vec![second.clone()]].concat();
    let built = build(&disk, 1, 600, &records(16..19));
    // Another section of the same length.
    let other_streams = |first| {
        build(&other, 1, 600, &records(first..first + 3))
            .footer
            .sections
            .streams
    };
    let alike = |section: &footer::Section| section.bytes == built.footer.sections.streams.bytes;
    let replaced = (17..60).map(other_streams).find(alike).expect("some are as long");
    let (mut mixed, other) = (content(&disk), content(&other));
    let range = |section: footer::Section| section.offset as usize..section.end() as usize;
    mixed[range(built.footer.sections.streams)].copy_from_slice(&other[range(replaced)]);
    let run = open(&with_content(&mixed), 1).expect("each section is whole");
    assert!(run.verify().is_err(), "the streams of another run");

    let records = tokens(2, 1..2);
    build(&disk, 1, 1, &records);
    let mut run = open(&disk, 1).expect("open");
    run.verify().expect("as it was");
    let last = run.records.pop().expect("a block for each record");
    run.footer.sections.records.bytes -= u64::from(last.bytes);
    run.footer.sections.records.blocks -= 1;
    run.footer.records -= 1;
    run.footer.streams -= 1;
    run.footer.raw_bytes -= records[1].frame.len() as u64;
    assert!(run.verify().is_err(), "a stream without records");

    let mut run = open(&disk, 1).expect("open");
    run.records[1].position += 1;
    assert!(run.verify().is_err(), "an index of another run");
    let mut run = open(&disk, 1).expect("open");
    run.streams[1].stream = stream(9);
    assert!(run.verify().is_err(), "an index of another run");
}

#[test]
fn a_block_that_claims_more_than_the_bound_is_refused_before_memory_is_taken() {
    let mut block = Vec::new();
    Packer::default().pack(&[7; 1_000], None, &mut block);
    assert_eq!(unpack(&block).expect("as it was"), [7; 1_000][..]);
    for field in [0, 4] {
        let mut larger = block.clone();
        larger[field..field + 4].copy_from_slice(&(RAW_BYTES_MAX as u32 + 1).to_le_bytes());
        let error = unpack(&larger).expect_err("too large");
        assert!(error.contains("larger than any"), "{error}");
    }
}

#[test]
fn a_read_keeps_to_its_bounds() {
    let disk = MemoryDisk::new();
    let records = tokens(3, 10..110);
    build(&disk, 1, 1_000, &records);
    let run = open(&disk, 1).expect("open");
    let positions = |from, to, bytes_max| -> Vec<u64> {
        let read = read_part(&run, stream(1), from, to, bytes_max, Access::Wait).expect("read");
        assert!(read.iter().all(|record| record.stream == stream(1)));
        read.iter().map(|record| record.position).collect()
    };
    assert_eq!(positions(0, 9, 1 << 20), [0u64; 0]);
    assert_eq!(positions(0, 10, 1 << 20), [10]);
    assert_eq!(positions(109, u64::MAX, 1 << 20), [109]);
    assert_eq!(positions(110, u64::MAX, 1 << 20), [0u64; 0]);
    assert_eq!(positions(50, 49, 1 << 20), [0u64; 0]);
    assert_eq!(positions(0, u64::MAX, usize::MAX).len(), 100);
    assert_eq!(positions(20, 60, 0), [20], "the first record always comes");
    let frame = records[0].frame.len();
    assert_eq!(positions(20, 60, 3 * frame), [20, 21, 22]);
    assert_eq!(positions(20, 60, 4 * frame - 1), [20, 21, 22]);
    assert_eq!(run.span(stream(9), Access::Wait).expect("span"), None);
    let span = run.span(stream(2), Access::Wait).expect("span").expect("it is there");
    assert_eq!(
        (span.first, span.last, span.records, span.snapshot),
        (10, 109, 100, 105)
    );
}

/// A disk whose page cache is empty, and that counts reads.
#[derive(Clone)]
struct Cold {
    inner: Arc<dyn Disk>,
    reads: Arc<AtomicU64>,
}

struct ColdFile(Arc<dyn DiskFile>, Arc<AtomicU64>);

impl Disk for Cold {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        self.inner.create(name)
    }
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(ColdFile(self.inner.open(name)?, self.reads.clone())))
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }
    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn sync_dir(&self) -> io::Result<()> {
        self.inner.sync_dir()
    }
    fn lock(&self) -> io::Result<Box<dyn Any + Send + Sync>> {
        self.inner.lock()
    }
    fn describe(&self) -> String {
        self.inner.describe()
    }
}

impl DiskFile for ColdFile {
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.read_at(offset, into)
    }
    fn try_read_at(&self, _: u64, _: &mut [u8]) -> io::Result<bool> {
        Ok(false)
    }
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }
}

fn cold() -> Cold {
    Cold {
        inner: Arc::new(MemoryDisk::new()),
        reads: Arc::default(),
    }
}

#[test]
fn who_may_not_wait_gets_what_is_in_memory_and_no_more() {
    let disk = cold();
    build(&disk, 1, 1_000, &tokens(2, 1..101));
    let run = open(&disk, 1).expect("open");
    let would_block = |failed: Option<RunError>| matches!(failed, Some(RunError::WouldBlock { run: 1 }));
    assert!(would_block(run.span(stream(1), Access::Now).err()));
    assert!(would_block(
        read_part(&run, stream(1), 1, 100, 1 << 20, Access::Now).err()
    ));
    run.span(stream(1), Access::Wait).expect("span");
    run.span(stream(1), Access::Now).expect("the block is in the cache");
    let waited = read_part(&run, stream(1), 1, 20, 1 << 20, Access::Wait).expect("read");
    assert_eq!(waited.len(), 20);
    let at_once = read_part(&run, stream(1), 1, 20, 1 << 20, Access::Now).expect("in the cache");
    assert_eq!(at_once, waited);
    let at_once = read_part(&run, stream(1), 1, 100, 1 << 20, Access::Now).expect("what is in the cache");
    assert!((20..100).contains(&at_once.len()), "{}", at_once.len());
}

#[test]
fn a_long_range_takes_few_reads_and_a_read_again_none() {
    let disk = cold();
    build(&disk, 1, 1_000, &tokens(1, 1..2_001));
    let run = Run::open(&disk, 1, Arc::new(BlockCache::new(64 << 20))).expect("open");
    assert_eq!(
        disk.reads.swap(0, Ordering::Relaxed),
        1,
        "the end of the file is all that opening needs"
    );
    let read = || {
        let read = read_part(&run, stream(0), 1, 2_000, 1 << 20, Access::Wait);
        read.expect("read").len()
    };
    assert_eq!(read(), 2_000);
    let reads = disk.reads.swap(0, Ordering::Relaxed);
    assert!(reads <= 2, "{reads} reads");
    assert_eq!(read(), 2_000);
    assert_eq!(disk.reads.load(Ordering::Relaxed), 0);
    assert_eq!(all(run.scan()).len(), 2_000);
    assert_eq!(disk.reads.load(Ordering::Relaxed), 1, "a scan reads past the cache");
}

#[test]
fn the_cache_keeps_its_bound_and_forgets_a_run() {
    let disk = MemoryDisk::new();
    build(&disk, 1, BLOCK_BYTES, &tokens(4, 1..1_001));
    let cache = Arc::new(BlockCache::new(200_000));
    let run = Run::open(&disk, 1, cache.clone()).expect("open");
    for of in (0..4).chain(0..4).map(stream) {
        assert_eq!(read_all(&run, of, 1, 1_000, 10_000).expect("read").len(), 1_000);
        assert!((1..=200_000).contains(&cache.bytes()), "{}", cache.bytes());
    }
    let held = run.records.iter().filter(|place| cache.holds(1, place.offset)).count();
    assert!((1..=200_000 / (BLOCK_BYTES - 500)).contains(&held), "{held} blocks");
    all(run.scan());
    cache.forget(2);
    assert_ne!(cache.bytes(), 0);
    cache.forget(1);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn a_builder_refuses_what_is_out_of_order_or_malformed() {
    let disk = MemoryDisk::new();
    let mut ignore = |_| ();
    let (first, second) = (given(1, 1, Form::Whole, b"one"), given(1, 2, Form::Whole, b"two"));
    let other = given(0, 9, Form::Whole, b"of a stream before");
    let mut builder = RunBuilder::create(&disk, 1, BLOCK_BYTES, &mut ignore).expect("create");
    builder.push(Form::Whole, &second.frame, false).expect("push");
    for refused in [&first.frame, &second.frame, &other.frame] {
        let pushed = builder.push(Form::Whole, refused, false);
        assert!(matches!(pushed, Err(BuildError::Refused { .. })));
    }
    let next = given(1, 3, Form::Whole, b"three").frame;
    let mut flipped = next.clone();
    flipped[3] ^= 1;
    for (form, frame) in [
        (Form::Whole, &next[..next.len() - 1]),
        (Form::Erased, &next[..]),
        (Form::Whole, &flipped),
        (Form::Whole, &[]),
    ] {
        assert!(matches!(
            builder.push(form, frame, false),
            Err(BuildError::Refused { .. })
        ));
    }
    let later = Meta {
        first_commit: 6,
        ..META
    };
    let finished = builder.finish(later, COMMITS, []);
    assert!(
        matches!(finished, Err(BuildError::Refused { .. })),
        "a record of commit 5"
    );

    let finish = |commits: &[Vec<u8>], stubs: Vec<Stub>| {
        let mut ignore = |_| ();
        let builder = RunBuilder::create(&disk, 1, BLOCK_BYTES, &mut ignore).expect("create");
        builder.finish(META, commits, stubs)
    };
    let backwards = stubs().into_iter().rev().collect();
    assert!(matches!(finish(&[], backwards), Err(BuildError::Refused { .. })));
    assert!(matches!(
        finish(&[vec![0; 1 << 16]], Vec::new()),
        Err(BuildError::Refused { .. })
    ));
}

#[test]
fn a_run_is_written_in_few_writes_that_are_told_and_synced_once() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    let mut writes = Vec::new();
    let mut note = |bytes| writes.push(bytes);
    let mut builder = RunBuilder::create(&disk, 1, BLOCK_BYTES, &mut note).expect("create");
    let mut choice = Choice::new(1);
    for position in 1..=2_000 {
        let noise: Vec<u8> = (0..100).flat_map(|_| choice.bits().to_le_bytes()).collect();
        let record = given(1, position, Form::Whole, &noise);
        builder.push(record.form, &record.frame, false).expect("push");
    }
    let built = builder.finish(META, COMMITS, []).expect("finish");
    assert_eq!(writes.iter().sum::<u64>(), built.file_bytes);
    assert!(
        writes.len() > 1 && writes[..writes.len() - 1].iter().all(|bytes| *bytes >= 256 << 10),
        "{writes:?}"
    );
    assert_eq!(disk.syncs("run-"), 1);
    open(&disk, 1).expect("open").verify().expect("verify");
}

#[test]
fn a_disk_that_fails_is_an_error_that_names_the_run() {
    let disk = FaultyDisk::new(Arc::new(MemoryDisk::new()));
    for call in [Call::Create, Call::Write, Call::Sync] {
        disk.fail(call, "run-", 0, io::ErrorKind::StorageFull, false);
        let mut ignore = |_| ();
        let built = RunBuilder::create(&disk, 1, BLOCK_BYTES, &mut ignore)
            .and_then(|builder| builder.finish(META, COMMITS, stubs()));
        let error = built.expect_err("the call failed").to_string();
        assert!(error.contains("run-000001"), "{error}");
    }
    build(&disk, 1, 600, &small());
    let run = open(&disk, 1).expect("open");
    for access in [Access::Wait, Access::Now] {
        disk.fail(Call::Read, "run-", 0, io::ErrorKind::Other, false);
        let read = read_part(&run, stream(1), 1, 9, 1 << 20, access);
        assert!(matches!(read, Err(RunError::Io { .. })));
    }
    disk.fail(Call::Read, "run-", 0, io::ErrorKind::Other, false);
    let mut scan = run.scan();
    assert!(
        scan.next().is_some_and(|entry| entry.is_err()) && scan.next().is_none(),
        "a scan ends after an error"
    );
    assert!(
        matches!(open(&disk, 2), Err(RunError::Io { .. })),
        "there is no such run"
    );
}

#[test]
fn a_record_that_two_runs_have_ends_a_merge() {
    let disk = MemoryDisk::new();
    build(&disk, 1, 600, &tokens(1, 1..4));
    build(&disk, 2, 600, &tokens(1, 3..6));
    let runs = [open(&disk, 1).expect("open"), open(&disk, 2).expect("open")];
    let merged: Vec<_> = Merge::new(&runs).collect();
    assert_eq!(merged.len(), 4);
    assert!(matches!(merged[3], Err(RunError::Damaged { run: 2, .. })));
}

/// Streamed tokens of 200 bytes of JSON, as the append benchmark has them, from `streams` sessions that stream at once.
fn build_tokens(disk: &dyn Disk, streams: u64, positions: u64) -> Built {
    let mut ignore = |_| ();
    let mut builder = RunBuilder::create(disk, 1, BLOCK_BYTES, &mut ignore).expect("create");
    let mut choice = Choice::new(1);
    let mut ids: Vec<[u8; 16]> = (0..streams).map(|_| id(&mut choice)).collect();
    ids.sort();
    let mut frame = Vec::new();
    for (of, stream) in (0..).zip(ids) {
        let mut request = [0; 16];
        for position in 1..=positions {
            if position % 200 == 1 {
                request = id(&mut choice);
            }
            let sequence = position * streams + of;
            let payload = format!(
                "{{\"type\":\"content.delta\",\"request\":\"req_0190f3a27c5e7b8c\",\"item\":\"item_0190f3a27c5e7b8c_2\",\
                 \"index\":0,\"delta\":\"lorem ipsum dolor \",\"sequence_number\":{position:08},\"ts\":1717171717430,\
                 \"pad\":\"0123456789012345\"}}"
            );
            assert_eq!(payload.len(), 200);
            let mut header = RecordHeader {
                stream,
                position,
                sub_stream: request,
                sub_number: (position - 1) % 200 + 1,
                subject: 0,
                kind: 21,
                commit: sequence / 64 + 1,
                index: (sequence % 64) as u32,
                time_us: (1_717_171_717_430_000 + sequence * 7 + choice.bits() % 50) as i64,
                causation: request,
                origin: 0x1234_5678_9abc_def0,
                extras_bytes: 0,
                payload_bytes: 0,
            };
            frame.clear();
            encode_record(&mut frame, &mut header, &Carried::default(), payload.as_bytes());
            builder.push(Form::Whole, &frame, false).expect("push");
        }
    }
    let header = [0x5a; 84];
    builder
        .finish(
            META,
            std::iter::repeat_n(header, (streams * positions / 64) as usize),
            [],
        )
        .expect("finish")
}

fn id(choice: &mut Choice) -> [u8; 16] {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&choice.bits().to_le_bytes());
    id[8..].copy_from_slice(&choice.bits().to_le_bytes());
    id
}

#[test]
fn a_streamed_token_takes_less_than_a_sixth_of_its_json() {
    let disk = MemoryDisk::new();
    let built = build_tokens(&disk, 10, 2_000);
    let bytes = built.file_bytes as f64 / built.footer.records as f64;
    assert!(bytes < 200.0 / 6.0, "{bytes} bytes for each record");
}
