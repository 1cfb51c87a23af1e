//! One seed, one history: whatever the log's own threads do meanwhile, what a caller is told and what is read, ids and times included,
//! depends on the seed alone. Nothing here waits for two things at once; power cuts, clusterings and reopens come by seed.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use flowstate_log::append::{Append, Expect, Part, Target};
use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::limits::Limits;
use flowstate_log::record::{IdempotencyKey, StreamId, SubStreamId};
use flowstate_log::verbs::{CommitFilter, Trim};
use flowstate_log::view::ViewId;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_log::{Log, Options};
use flowstate_tests::log::{LinesFold, name, note, options, part, small_limits, sub_note};

const SEEDS: u64 = 24;
const STEPS: usize = 60;
const STREAMS: usize = 4;

fn open(disk: &MemoryDisk, views: &MemoryViews, seed: u64) -> Log {
    let options = Options {
        limits: Limits {
            segment_bytes: 4 << 10,
            commit_bytes_max: 4 << 10,
            inline_bytes_max: 512,
            tail_bytes_max: 0,
            cluster_segments_min: 2,
            run_fan_out: 2,
            idle_streams_max: 1,
            checkpoint_interval_ms: 1,
            ..small_limits()
        },
        ..options(Arc::new(disk.clone()), Arc::new(views.clone()), seed)
    };
    Log::open(options).expect("open")
}

/// A trace: what was told, step by step, as text.
async fn run(seed: u64) -> Vec<String> {
    let mut choice = Choice::new(seed);
    let (mut disk, mut views) = (MemoryDisk::new(), MemoryViews::new());
    let mut log = open(&disk, &views, seed);
    let mut streams: Vec<StreamId> = Vec::new();
    let mut told = Vec::new();
    for step in 0..STEPS {
        let any = |choice: &mut Choice, streams: &[StreamId]| streams.get(choice.below(streams.len().max(1))).copied();
        let said = match choice.below(16) {
            0..=7 => {
                let mut one = part(&format!("s{}", choice.below(STREAMS)), vec![note(format!("{step}"))]);
                if choice.below(3) == 0 {
                    one.expect.push(Expect::Position(choice.below(6) as u64));
                }
                if choice.below(4) == 0 {
                    let sub = SubStreamId([step as u8 + 1; 16]);
                    one.records.push(sub_note(
                        sub,
                        Some(&format!("sub-{step}")),
                        "x".repeat(choice.below(900)),
                    ));
                }
                let append = Append {
                    parts: vec![one],
                    key: (choice.below(3) == 0)
                        .then(|| IdempotencyKey::new(&[choice.below(5) as u8]))
                        .flatten(),
                };
                told_of(&log, append, &mut streams).await
            }
            8 => match any(&mut choice, &streams) {
                Some(parent) => {
                    let fork = Part {
                        stream: Target::Fork {
                            name: name(&format!("fork-{step}")),
                            parent,
                            position: 1 + choice.below(4) as u64,
                        },
                        expect: Vec::new(),
                        records: vec![note("own")],
                    };
                    told_of(&log, Append::of(vec![fork]), &mut streams).await
                }
                None => String::new(),
            },
            9 => match any(&mut choice, &streams) {
                Some(stream) => format!("{:?}", log.trim(stream, Trim::KeepLast(3)).await),
                None => String::new(),
            },
            10 if choice.below(3) == 0 => match any(&mut choice, &streams) {
                Some(stream) => format!("{:?}", log.delete(stream).await),
                None => String::new(),
            },
            11 => {
                log.segments().expect("segments").cluster().await.expect("clustered");
                "clustered".to_owned()
            }
            12 => {
                log.close().await;
                drop(log);
                log = open(&disk, &views, seed + 1_000 * (step as u64 + 1));
                "reopened".to_owned()
            }
            13 => {
                // Rows may be older than the log, never newer: copied first.
                let left = (views.copy(), disk.crash(choice.bits()));
                log.close().await;
                drop(log);
                (views, disk) = left;
                log = open(&disk, &views, seed + 1_000 * (step as u64 + 1));
                "cut".to_owned()
            }
            _ => match any(&mut choice, &streams) {
                Some(stream) => look(&log, stream).await,
                None => String::new(),
            },
        };
        told.push(format!("{step}: {said}"));
    }
    for stream in streams {
        told.push(look(&log, stream).await);
    }
    let page = log
        .commits(log.commits_start(), &CommitFilter::default(), usize::MAX)
        .await;
    let own = |record: &&flowstate_log::record::Record| record.kind.0 >= flowstate_log::record::Kind::FIRST_OPEN;
    for record in page.expect("a page").records.iter().filter(own) {
        told.push(format!("{} {} {}", record.commit, record.index, record.position));
    }
    log.close().await;
    told
}

async fn told_of(log: &Log, append: Append, streams: &mut Vec<StreamId>) -> String {
    let outcome = match log.append(append).await {
        Ok(appending) => appending.await,
        Err(error) => Err(error),
    };
    for part in outcome.iter().flat_map(|appended| &appended.parts) {
        if !streams.contains(&part.stream) {
            streams.push(part.stream);
        }
    }
    format!("{outcome:?}")
}

async fn look(log: &Log, stream: StreamId) -> String {
    let Ok(oldest) = log.oldest(stream).await else {
        return format!("{stream} is deleted");
    };
    let (mut records, mut next) = (Vec::new(), oldest);
    loop {
        let page = log.read(stream, next, 1_000).await.expect("a page");
        let Some(last) = page.last() else { break };
        next = last.position + 1;
        records.extend(page);
    }
    let lines = log.view(stream, ViewId(1), |fold: &LinesFold| fold.lines.clone()).await;
    format!("{records:?} {lines:?}")
}

fn hash(trace: &[String]) -> u64 {
    let mut hasher = DefaultHasher::new();
    trace.hash(&mut hasher);
    hasher.finish()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_seed_has_one_history() {
    let seeds = std::env::var("FLOWSTATE_TRACE_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number"));
    for seed in 0..seeds {
        let (one, other) = (run(seed).await, run(seed).await);
        let differ = one.iter().zip(&other).find(|(one, other)| one != other);
        assert_eq!(differ, None, "seed {seed}");
        assert_eq!(hash(&one), hash(&other), "seed {seed}");
    }
    assert_ne!(hash(&run(0).await), hash(&run(1).await), "the seed is what decides");
}
