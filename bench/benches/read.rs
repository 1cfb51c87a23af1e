//! W2 and W3: resumes of 100 records at random places, and all streams in order, from each place that records can be in; beside them
//! the limits: the same reads from a file that has the streams one after the other (`by-stream`), and from one in the order of W2 with an
//! index in memory (`interleaved`).
//!
//! FLOWSTATE_BENCH_RECORDS: records (500,000), in FLOWSTATE_BENCH_STREAMS streams (1,000). FLOWSTATE_BENCH_RESUMES: a round (3,000).
//! Arguments name rows: `cargo bench -p flowstate-bench --bench read -- by-stream cached`.

use std::path::Path;

use bytes::Bytes;
use flowstate_bench::drive::Ran;
use flowstate_bench::layout::Layout;
use flowstate_bench::load::{groups, load, settle, stream_ids};
use flowstate_bench::table::{named, print_load, rounds, size};
use flowstate_bench::timed;
use flowstate_bench::words::Random;
use flowstate_log::limits::Limits;
use flowstate_log::record::StreamId;
use flowstate_log::{Log, Options};
use tokio::runtime::Runtime;

const RECORDS: usize = 100;

/// Where records are read from.
enum Place {
    File(Layout),
    Log(Log, Vec<StreamId>),
}

impl Place {
    fn log(runtime: &Runtime, folder: &Path, streams: u64, limits: Limits) -> Self {
        let mut options = Options::in_folder(folder).expect("a folder");
        options.limits = limits;
        let log = Log::open(options).expect("a log");
        let ids = stream_ids(runtime, &log, streams);
        Self::Log(log, ids)
    }

    /// Records that were read, from number `from` (the first is 0) on.
    fn read(&self, runtime: &Runtime, stream: u64, from: u64, limit: usize) -> usize {
        match self {
            Self::File(layout) => layout.read(stream, from as usize, limit).expect("intact records").0,
            Self::Log(log, ids) => {
                let read = log.read(ids[stream as usize], from + 1, limit);
                runtime.block_on(read).expect("intact records").len()
            }
        }
    }
}

fn measure(runtime: &Runtime, place: &Place, streams: u64, each: u64, resumes: u64) -> [f64; 4] {
    let mut random = Random::new(11);
    let mut ran = Ran::default();
    // The newest records of a settled log are in no run yet.
    let first_of = (each * 8 / 10).saturating_sub(RECORDS as u64).max(1);
    for _ in 0..resumes {
        let (stream, from) = (random.below(streams), random.below(first_of));
        let (took, found) = timed(|| place.read(runtime, stream, from, RECORDS));
        assert!(found > 0, "a resume found nothing");
        ran.records += found as u64;
        ran.elapsed += took;
        ran.waits.push(took);
    }
    ran.waits.sort_unstable();
    let (took, count) = timed(|| {
        let mut count = 0;
        for stream in 0..streams {
            let mut next = 0;
            while next < each {
                next += place.read(runtime, stream, next, 1_000) as u64;
            }
            count += next;
        }
        count
    });
    // Whole resumes: one read may give fewer where the kind of place changes.
    let resumed = ran.records as f64 / RECORDS as f64 / ran.elapsed.as_secs_f64();
    [
        resumed,
        ran.wait_us(0.5),
        ran.wait_us(0.99),
        count as f64 / took.as_secs_f64(),
    ]
}

fn main() {
    let (records, streams) = (
        size("FLOWSTATE_BENCH_RECORDS", 500_000),
        size("FLOWSTATE_BENCH_STREAMS", 1_000),
    );
    let (each, resumes) = (records / streams, size("FLOWSTATE_BENCH_RESUMES", 3_000));
    let runtime = Runtime::new().expect("a runtime");
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let unclustered = Limits {
        cluster_segments_min: usize::MAX,
        cluster_segments_max: usize::MAX,
        tail_bytes_max: 0,
        ..Limits::default()
    };
    let whole_tail = Limits {
        tail_bytes_max: usize::MAX,
        ..unclustered.clone()
    };
    let clustered = Limits {
        cluster_segments_min: 1,
        tail_bytes_max: 0,
        cache_bytes_max: 1 << 30,
        ..Limits::default()
    };
    let uncached = Limits {
        cache_bytes_max: 0,
        ..clustered.clone()
    };
    let loaded = |name: &str, limits: &Limits| {
        let mut options = Options::in_folder(&path(name)).expect("a folder");
        options.limits = limits.clone();
        let log = Log::open(options).expect("a log");
        load(&runtime, &log, streams, each);
        log
    };
    let log = loaded("tail", &whole_tail);
    let tail = Place::Log(log.clone(), stream_ids(&runtime, &log, streams));
    runtime.block_on(loaded("unclustered", &unclustered).close());
    for name in ["clustered", "uncached"] {
        let log = loaded(name, &clustered);
        settle(&path(name));
        runtime.block_on(log.close());
    }
    let order = || {
        groups(streams, each)
            .flatten()
            .flat_map(|(stream, tokens)| tokens.into_iter().map(move |token| (stream, token)))
    };
    let mut by_stream: Vec<(u64, Bytes)> = order().collect();
    by_stream.sort_by_key(|(stream, _)| *stream);
    let layout = |name: &str, records: &mut dyn Iterator<Item = (u64, Bytes)>| {
        Place::File(Layout::create(&path(name), streams, records).expect("a file"))
    };
    let mut places = vec![
        ("by-stream", layout("by-stream", &mut by_stream.into_iter())),
        ("interleaved", layout("interleaved", &mut order())),
        ("tail", tail),
        (
            "segments",
            Place::log(&runtime, &path("unclustered"), streams, unclustered.clone()),
        ),
        ("cached", Place::log(&runtime, &path("clustered"), streams, clustered)),
        ("uncached", Place::log(&runtime, &path("uncached"), streams, uncached)),
    ];
    let rows = named(&places.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    places.retain(|(name, _)| rows.contains(name));
    print_load();
    println!("{records} records in {streams} streams; resumes of {RECORDS}");
    println!(
        "{:<20}{:>12}{:>10}{:>10}{:>16}",
        "", "resumes/s", "p50 us", "p99 us", "replay rec/s"
    );
    let numbers = rounds(3, places.len(), |row| {
        measure(&runtime, &places[row].1, streams, each, resumes)
    });
    for ((name, _), [rate, p50, p99, replay]) in places.iter().zip(numbers) {
        println!("{name:<20}{rate:>12.0}{p50:>10.1}{p99:>10.1}{replay:>16.0}");
    }
    print_load();
    for (_, place) in places {
        if let Place::Log(log, _) = place {
            runtime.block_on(log.close());
        }
    }
}
