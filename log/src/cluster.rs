//! Clustering: behind the writer, on a thread of its own, full segments become runs sorted by stream and position, runs of one size become
//! larger ones, and what was trimmed, deleted or erased is left out on the way. Readers never notice: a new run is listed in the manifest, then
//! shown, then the segments are let go. `cluster/build` makes the files, `cluster/removal` says what is left out.

mod build;
pub(crate) mod removal;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::error::ClusterError;
use crate::levels::Levels;
use crate::log::Shared;
use crate::record::StreamId;
use crate::run::Run;
use crate::segment::Slot;
use crate::segment::manifest::{Hex, RunEntry};
use crate::segment::supply;
use build::{Made, Pace};
use removal::Removals;

/// How often to look for something to do without being asked.
const LOOK_EVERY: Duration = Duration::from_millis(1_000);
/// Segments that one pass takes at most: what it holds in memory.
const SEGMENTS_AT_ONCE: usize = 4;
/// Free segments that are kept for use.
const FREE_SEGMENTS: usize = 2;
/// A run is made anew for the sake of space when so much of it may go.
const GONE_SHARE: f64 = 0.2;

#[derive(Default)]
struct Signals {
    stop: bool,
    nudged: bool,
    /// Raised with every pass that ended, well or not.
    passes: u64,
    /// The last pass failed.
    failed: bool,
}

/// Wakes the clustering, and is told what it did.
#[derive(Default)]
pub(crate) struct Cluster {
    signals: Mutex<Signals>,
    changed: Condvar,
    /// Held during a pass: one at a time, whoever asks for it.
    pass: Mutex<()>,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// What is worth it by now.
    Regular,
    /// Every full segment, and every run that has anything to leave out.
    All,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Clustered {
    /// Runs that were written.
    pub runs: u64,
    /// Records in them.
    pub records: u64,
    /// Records that were left out: trimmed, deleted or erased.
    pub records_dropped: u64,
    /// Bytes written.
    pub bytes_written: u64,
    /// Bytes of segments, runs and payload files that came free.
    pub bytes_freed: u64,
}

impl Cluster {
    pub(crate) fn nudge(&self) {
        self.signals.lock().nudged = true;
        self.changed.notify_all();
    }

    pub(crate) fn stop(&self) {
        self.signals.lock().stop = true;
        self.changed.notify_all();
    }

    fn rest(&self, most: Duration) {
        self.changed.wait_for(&mut self.signals.lock(), most);
    }

    fn stopping(&self) -> bool {
        self.signals.lock().stop
    }

    /// Waits while `too_many` holds, for a pass to change that; not if passes fail.
    pub(crate) fn wait_while(&self, too_many: impl Fn() -> bool) {
        let mut signals = self.signals.lock();
        while too_many() && !signals.stop && !signals.failed {
            signals.nudged = true;
            self.changed.notify_all();
            self.changed.wait_for(&mut signals, Duration::from_millis(50));
        }
    }

    /// The thread: passes until stopped.
    pub(crate) fn run(&self, shared: &Arc<Shared>) {
        loop {
            {
                let mut signals = self.signals.lock();
                if !signals.stop && !signals.nudged {
                    self.changed.wait_for(&mut signals, LOOK_EVERY);
                }
                if signals.stop {
                    return;
                }
                signals.nudged = false;
            }
            if shared.poison.get().is_none() {
                let passed = self.pass(shared, Effort::Regular);
                let mut signals = self.signals.lock();
                signals.passes += 1;
                signals.failed = passed.is_err();
                if let Err(error) = passed {
                    tracing::error!(%error, "clustering failed: segments stay as they are, and it is tried again");
                }
                self.changed.notify_all();
            }
            shared.let_go_of_idle_streams();
        }
    }

    /// Does what there is to do. On an error everything is as it was, but for a file that the next open removes.
    pub(crate) fn pass(&self, shared: &Arc<Shared>, effort: Effort) -> Result<Clustered, ClusterError> {
        let _one_at_a_time = self.pass.lock();
        let mut done = Clustered::default();
        let mut pace = Pace::new(shared);
        shared
            .files
            .remove_doubtful()
            .map_err(shared.doubtful("removing runs"))?;
        loop {
            let full = full_segments(shared);
            let worth = match effort {
                Effort::Regular => full.len() >= shared.limits.cluster_segments_min,
                Effort::All => !full.is_empty(),
            };
            if !worth || self.stopping() {
                break;
            }
            let some = full.into_iter().take(SEGMENTS_AT_ONCE).collect();
            segments(shared, some, &mut pace, &mut done)?;
        }
        while !self.stopping() && merge_one(shared, &mut pace, &mut done)? {}
        clean(shared, effort, &mut pace, &mut done)?;
        let keep = if removal::erasing(shared) { 0 } else { FREE_SEGMENTS };
        let freed = shared.files.discard_free(keep);
        done.bytes_freed += freed.map_err(shared.doubtful("removing free segments"))?;
        removal::finish_erasing(shared)?;
        let swept = shared.blobs.sweep(|| shared.poison.get().is_some());
        done.bytes_freed += swept.map_err(shared.doubtful("removing payload files"))?;
        Ok(done)
    }
}

/// Segments that nothing more is written to, oldest first.
fn full_segments(shared: &Shared) -> Vec<Arc<Slot>> {
    let active = shared.active_generation();
    let full = |slot: &Arc<Slot>| Some(slot.generation) != active;
    shared.slots.all().into_iter().filter(full).collect()
}

/// Makes one run of some segments.
fn segments(
    shared: &Arc<Shared>,
    slots: Vec<Arc<Slot>>,
    pace: &mut Pace<'_>,
    done: &mut Clustered,
) -> Result<(), ClusterError> {
    let manifest = shared.files.manifest();
    let (before, _) = manifest.clustered();
    let sorted = build::sort(shared, &slots, before)?;
    if sorted.last == before {
        return Ok(());
    }
    // A view store that had not seen these commits would have to be rebuilt from runs.
    shared.wait_for_rows(sorted.last);
    let removals = Removals::through(shared, sorted.last);
    let number = manifest.run + 1;
    let made = build::from_segments(shared, &sorted, number, &removals, pace)
        .inspect_err(|_| remove_unfinished(shared, number))?;
    let entry = RunEntry {
        run: number,
        first: before + 1,
        last: sorted.last,
        hash: Hex(sorted.hash),
        bytes: made.run.file_bytes(),
        cleaned: sorted.last,
    };
    let generations: Vec<u32> = slots.iter().map(|slot| slot.generation).collect();
    let listed = shared
        .files
        .list_run(number, &generations, |manifest| manifest.runs.push(entry));
    listed.map_err(shared.doubtful("listing a run"))?;
    let mut runs = shared.levels.get().runs.clone();
    done.count(&made);
    let released = made.blobs;
    runs.push(made.run);
    shared.levels.set(Levels { runs });
    // From here on readers look into the run; those that are under way hold their segments.
    for (stream, position) in &sorted.ends {
        if let Some(cell) = shared.streams.get(*stream) {
            cell.index.write().release(*position);
        }
    }
    shared.slots.release(sorted.last, &generations);
    shared.blobs.release(&released);
    Ok(())
}

/// Gives back the room of a run that was not built to its end, and that no manifest lists.
fn remove_unfinished(shared: &Shared, number: u32) {
    // If this fails, the next run of this number or the next open replaces it.
    let _ = shared.files.disk.remove(&crate::run::name(number));
}

impl Clustered {
    fn count(&mut self, made: &Made) {
        self.runs += 1;
        self.records += made.run.footer().records;
        self.records_dropped += made.dropped;
        self.bytes_written += made.run.file_bytes();
    }
}

/// Merges the oldest neighbours of one size, if there are enough of them.
fn merge_one(shared: &Arc<Shared>, pace: &mut Pace<'_>, done: &mut Clustered) -> Result<bool, ClusterError> {
    let runs = shared.levels.get().runs.clone();
    let fan_out = shared.limits.run_fan_out;
    let tier = |run: &Run| (run.file_bytes().max(1) as f64).log(fan_out as f64).round() as u32;
    let mut from = 0;
    while from < runs.len() {
        let size = tier(&runs[from]);
        let alike = runs[from..].iter().take_while(|run| tier(run) <= size).count();
        let bytes: u64 = runs[from..from + alike].iter().map(|run| run.file_bytes()).sum();
        if alike >= fan_out && bytes <= shared.limits.run_bytes_max {
            replace(shared, &runs[from..from + alike], pace, done)?;
            return Ok(true);
        }
        from += 1;
    }
    Ok(false)
}

/// Writes runs anew that have much to leave out.
fn clean(shared: &Arc<Shared>, effort: Effort, pace: &mut Pace<'_>, done: &mut Clustered) -> Result<(), ClusterError> {
    let manifest = shared.files.manifest();
    let (clustered, _) = manifest.clustered();
    for entry in &manifest.runs {
        if shared.cluster.stopping() || entry.cleaned == clustered {
            continue;
        }
        let runs = shared.levels.get().runs.clone();
        let Some(run) = runs.iter().find(|run| run.number() == entry.run) else {
            continue;
        };
        let gone = removal::gone_from(shared, run, entry.cleaned, clustered)?;
        let enough = gone.records as f64 >= GONE_SHARE * run.footer().records as f64;
        if gone.erased || (gone.records > 0 && (enough || effort == Effort::All)) {
            replace(shared, std::slice::from_ref(run), pace, done)?;
        }
    }
    Ok(())
}

/// Makes one run of neighbours, and shows it in their place.
fn replace(
    shared: &Arc<Shared>,
    old: &[Arc<Run>],
    pace: &mut Pace<'_>,
    done: &mut Clustered,
) -> Result<(), ClusterError> {
    let manifest = shared.files.manifest();
    let (clustered, _) = manifest.clustered();
    let number = manifest.run + 1;
    let removals = Removals::through(shared, clustered);
    let made =
        build::from_runs(shared, old, number, &removals, pace).inspect_err(|_| remove_unfinished(shared, number))?;
    let numbers: Vec<u32> = old.iter().map(|run| run.number()).collect();
    let freed: u64 = old.iter().map(|run| run.file_bytes()).sum();
    let bytes = made.run.file_bytes();
    let listed = shared.files.list_run(number, &[], |manifest| {
        let at = manifest
            .runs
            .iter()
            .position(|entry| numbers.contains(&entry.run))
            .unwrap_or(0);
        let replaced: Vec<RunEntry> = manifest.runs.drain(at..at + numbers.len()).collect();
        if let (Some(first), Some(last)) = (replaced.first(), replaced.last()) {
            let entry = RunEntry {
                run: number,
                first: first.first,
                last: last.last,
                hash: last.hash,
                bytes,
                cleaned: clustered,
            };
            manifest.runs.insert(at, entry);
        }
    });
    listed.map_err(shared.doubtful("listing a run"))?;
    let mut runs = shared.levels.get().runs.clone();
    let at = runs.iter().position(|run| numbers.contains(&run.number())).unwrap_or(0);
    done.count(&made);
    let released = made.blobs;
    runs.splice(at..at + numbers.len(), [made.run]);
    shared.levels.set(Levels { runs });
    for number in numbers {
        shared.cache.forget(number);
        // Those who read it hold the file.
        let removed = shared.files.disk.remove(&crate::run::name(number));
        removed.map_err(ClusterError::io("removing a run"))?;
    }
    shared.files.disk.sync_dir().map_err(shared.doubtful("removing runs"))?;
    done.bytes_freed += freed;
    shared.blobs.release(&released);
    Ok(())
}

impl Shared {
    /// What a failed replacement of the manifest, or a failed sync of the folder, leads to. On a full disk either state of it will do, and
    /// it is tried again. After any other failure no later sync can be believed to cover what this one should have: the log stops.
    pub(crate) fn doubtful(&self, what: &'static str) -> impl FnOnce(std::io::Error) -> ClusterError {
        move |error| {
            if !supply::passes(&error) {
                self.poison.set(format!("{what}: {error}"));
            }
            ClusterError::io(what)(error)
        }
    }

    fn active_generation(&self) -> Option<u32> {
        self.active_slot().map(|slot| slot.generation)
    }

    /// Waits until the view store reflects this commit and would keep it through a power cut, or has failed: then it is rebuilt anyway.
    fn wait_for_rows(&self, commit: u64) {
        while self.views.written() < commit && self.views.failed.get().is_none() && !self.cluster.stopping() {
            self.keeper.nudge(true);
            self.views.wait_for_write(Duration::from_millis(20));
        }
        if let Err(error) = self.views.store.flush() {
            tracing::error!(%error, "flushing the view store failed; it is rebuilt if that loses something");
        }
    }

    /// Lets go of streams that nobody uses, of deleted ones all and of others beyond those that may stay, and of what their rows say.
    fn let_go_of_idle_streams(&self) {
        // Without a view store that is up to date nothing comes back.
        if self.views.failed.get().is_some() {
            return;
        }
        let all = self.streams.all();
        for cell in &all {
            cell.index.read().settle();
        }
        let Some(epoch) = self.flights.turn() else { return };
        let idle = |cell: &crate::index::Cell| {
            let index = cell.index.read();
            index.clustered() == index.last() && !index.changed.head && !self.views.is_behind(cell.id)
        };
        // Appends that looked before these streams were there, and found none, are waited for.
        let patience = Duration::from_millis(100);
        let started = self.env.monotonic();
        while !self.flights.arrived_before(epoch) {
            if self.env.monotonic().saturating_sub(started) > patience || self.cluster.stopping() {
                return;
            }
            self.cluster.rest(Duration::from_millis(1));
        }
        let over = all.len().saturating_sub(self.limits.idle_streams_max);
        let mut deleted: Vec<StreamId> = Vec::new();
        let mut last_used: Vec<(i64, StreamId)> = Vec::new();
        for cell in all {
            if idle(&cell) {
                let index = cell.index.read();
                match index.head.deleted {
                    true => deleted.push(cell.id),
                    false => last_used.push((index.head.time_us, cell.id)),
                }
            }
            let _eviction = self.eviction.write();
            self.streams.forget(&cell, epoch, |cell| !self.views.is_behind(cell.id));
        }
        let over = over.saturating_sub(deleted.len());
        if over > 0 {
            last_used.sort_unstable();
        }
        let mut some = deleted;
        some.extend(last_used.into_iter().take(over).map(|(_, id)| id));
        if some.is_empty() {
            return;
        }
        let _eviction = self.eviction.write();
        self.streams.evict(some, idle);
    }
}

/// By stream: the position of its last record in what was sorted.
type Ends = HashMap<StreamId, u64>;
