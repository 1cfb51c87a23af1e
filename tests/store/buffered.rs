//! A log that syncs later: a power cut may take back a suffix of the commits, and nothing that was synced.

use std::sync::Arc;

use flowstate_log::Durability;
use flowstate_log::disk::memory::MemoryDisk;
use flowstate_log::view_store::memory::MemoryViews;
use flowstate_tests::store::adapter;
use flowstate_tests::store::driver::{Work, work};
use flowstate_tests::store::judge::judge;
use flowstate_tests::store::ledger::{Event, Ledger};
use flowstate_tests::store::verify;

/// Stores, and cuts of each.
const STORES: u64 = 8;
const CUTS: u64 = 25;

/// What a ledger says of commits up to `last`. Whether a later operation is there is open, and what was decided on one is worth nothing.
fn as_of(events: &[Event], last: u64) -> Vec<Event> {
    let kept = |event: &&Event| match event {
        Event::Done { commit, .. } => *commit <= last,
        Event::Refused { .. } | Event::Saw { .. } | Event::SawFold { .. } => false,
        _ => true,
    };
    events.iter().filter(kept).cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_power_cut_takes_back_a_suffix_and_nothing_that_was_synced() {
    let (mut taken_back, mut kept) = (0, 0);
    for seed in 0..STORES {
        let (disk, views, ledger) = (MemoryDisk::new(), MemoryViews::new(), Arc::new(Ledger::in_memory()));
        let mut limits = adapter::fixed_limits();
        if seed % 2 == 0 {
            // Only full segments are synced.
            (limits.checkpoint_interval_ms, limits.watermark_interval_ms) = (60_000, 60_000);
        }
        let durability = Durability::Buffered {
            sync_every_ms: [60_000, 2][seed as usize / 2 % 2],
        };
        let (log_disk, log_views) = (Arc::new(disk.clone()), Arc::new(views.clone()));
        let log = adapter::open_with(log_disk, log_views, limits, durability).expect("open");
        let plan = Work {
            cycle: 0,
            seed,
            tasks: 3,
            rounds: Some(80),
            bytes: 900,
        };
        let working = tokio::spawn({
            let (log, ledger) = (log.clone(), ledger.clone());
            async move { work(&log, &ledger, plan).await }
        });
        for cut in 0..CUTS {
            if cut + 1 == CUTS {
                // Whatever is not synced by now is not synced by another append.
                while !working.is_finished() {
                    tokio::task::yield_now().await;
                }
            }
            let (synced, views) = (log.last_synced_commit(), views.copy());
            let left = disk.crash(seed << 8 | cut);
            let events = ledger.events();
            let found = verify::read(Arc::new(left), Arc::new(views), &events).await;
            let found = found.unwrap_or_else(|error| panic!("store {seed}, cut {cut}: {error}"));
            // What the recovery itself appended, about a tail that it cut, comes after all that was left.
            let told = found.streams.get(adapter::NODE).and_then(|node| node.records.first());
            let last = told.map_or(found.last_commit, |told| told.commit - 1);
            assert!(
                last >= synced,
                "store {seed}, cut {cut}: {synced} was synced and {last} is the last"
            );
            let lost = |event: &&Event| matches!(event, Event::Done { commit, .. } if *commit > last);
            taken_back += events.iter().filter(lost).count();
            let verdict = judge(&as_of(&events, last), &found);
            verdict.must_hold(&format!("store {seed}, cut {cut}"));
            kept += verdict.acked;
        }
        working.await.expect("no panic");
        log.close().await;
    }
    println!(
        "{} cuts took back {taken_back} acknowledged appends and kept {kept}",
        STORES * CUTS
    );
    assert!(taken_back > 0, "no cut took anything back: they do not cut");
    assert!(kept > 0, "everything was taken back");
}
