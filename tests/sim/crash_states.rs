//! What a power cut leaves: any 512-byte pieces of what was not synced. Nothing acknowledged is lost, and nothing is refused.

use std::collections::HashMap;
use std::sync::Arc;

use flowstate_log::Log;
use flowstate_log::append::Append;
use flowstate_log::disk::faulty::FaultyDisk;
use flowstate_log::disk::memory::{Choice, MemoryDisk};
use flowstate_log::view::ViewId;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::log::{LinesFold, name, note, options, part, read_all, texts};

const STATES: u64 = 2_000;

#[test]
fn no_power_cut_loses_what_was_acknowledged() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("runtime");
    let mut torn = 0;
    for seed in 0..STATES / 20 {
        torn += runtime.block_on(states_of_one_run(seed));
    }
    assert!(
        torn > 0,
        "no crash state left a torn tail: the disk does not do its work"
    );
}

/// Appends under load, takes 20 crash states on the way, and checks each against what was acknowledged by then.
/// Every second state is cut off once more while it recovers.
async fn states_of_one_run(seed: u64) -> usize {
    let mut choice = Choice::new(seed);
    let disk = MemoryDisk::new();
    let held = FaultyDisk::new(Arc::new(disk.clone()));
    let views = MemoryViews::new();
    let log = Log::open(options(Arc::new(held.clone()), Arc::new(views.clone()), seed)).expect("open");
    let mut acknowledged: HashMap<String, Vec<String>> = HashMap::new();
    let mut torn = 0;
    for state in 0..20u64 {
        let mut queue = async |waiting: &mut Vec<_>, part_of: &str| {
            for number in 0..1 + choice.below(8) {
                let stream = format!("s{}", choice.below(3));
                let text = format!("{state}-{part_of}-{number}-{}", "x".repeat(choice.below(3_000)));
                let append = Append::of(vec![part(&stream, vec![note(text.clone())])]);
                waiting.push((stream, text, log.append(append).await.expect("queue")));
            }
        };
        let (mut before, mut rest) = (Vec::new(), Vec::new());
        queue(&mut before, "before").await;
        for (stream, text, appending) in before {
            appending.await.expect("durable");
            acknowledged.entry(stream).or_default().push(text);
        }
        // The power goes while a sync is on its way, and more waits behind it.
        held.hold_syncs("slot");
        queue(&mut rest, "during").await;
        tokio::task::block_in_place(|| held.wait_for_held(1));
        queue(&mut rest, "behind").await;
        // The store's rows may be older than the log, never newer: copied first.
        let seen = views.copy();
        let mut left = disk.crash(choice.bits());
        held.release();
        if state % 2 == 1 {
            let again = Log::open(options(Arc::new(left.clone()), Arc::new(MemoryViews::new()), seed))
                .expect("no state is refused");
            left = left.crash(choice.bits());
            again.close().await;
        }
        let reopened = Log::open(options(Arc::new(left.clone()), Arc::new(seen), seed))
            .unwrap_or_else(|error| panic!("seed {seed}, state {state}: refused: {error}"));
        torn += usize::from(reopened.stream(&name_of_node()).await.expect("names").is_some());
        for (stream, texts_then) in &acknowledged {
            let id = reopened
                .stream(&name(stream))
                .await
                .expect("names")
                .unwrap_or_else(|| panic!("seed {seed}: {stream} is lost"));
            let found = texts(&read_all(&reopened, id).await);
            let rows = reopened.view(id, ViewId(1), |fold: &LinesFold| {
                fold.lines.values().cloned().collect::<Vec<_>>()
            });
            assert_eq!(
                rows.await.expect("view"),
                found,
                "seed {seed}, state {state}: the rows of {stream} are not its fold"
            );
            let listed = reopened
                .index(ViewId(1), format!("{stream}/").as_bytes(), None, 10)
                .await
                .expect("index");
            let last = found.last().map(|text| text.clone().into_bytes());
            assert_eq!(
                listed.into_iter().map(|(_, value)| value).collect::<Vec<_>>(),
                Vec::from_iter(last),
                "seed {seed}, state {state}"
            );
            assert!(
                found.starts_with(texts_then),
                "seed {seed}, state {state}: {stream} lost an acknowledged record"
            );
        }
        reopened.close().await;
        for (stream, text, appending) in rest {
            appending.await.expect("durable");
            acknowledged.entry(stream).or_default().push(text);
        }
    }
    log.close().await;
    torn
}

fn name_of_node() -> flowstate_log::record::Name {
    name("\0node")
}
