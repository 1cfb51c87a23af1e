//! Commits in their order. Segments have them so; runs are sorted by stream, and are gone through once for each so many bytes of commits.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::Folder;
use super::held::{Held, HeldRun};
use super::report::{CommitRecords, Damage};
use super::slots::CommitAt;
use crate::codec::{self, CommitHead};
use crate::run::{Run, Salvage};

/// Bytes of commits that are put in order at once.
const WINDOW_BYTES: u64 = 64 << 20;
const WINDOW_COMMITS: usize = 64 << 10;
/// How often to look again because a server was faster.
const TRIES: usize = 5;

/// The commits of a folder.
pub(super) struct Commits<'a> {
    folder: &'a Folder,
    held: Arc<Held>,
    after: u64,
    ready: VecDeque<Result<CommitRecords, Damage>>,
    tries: usize,
}

impl<'a> Commits<'a> {
    pub(super) fn new(folder: &'a Folder, after: u64) -> Self {
        Self {
            folder,
            held: folder.held.clone(),
            after: after.max(folder.held.manifest.origin.0),
            ready: folder.held.damage.iter().cloned().map(Err).collect(),
            tries: 0,
        }
    }

    /// Makes the next commits ready; `false` at the end.
    fn fill(&mut self) -> bool {
        let next = self.after + 1;
        if next > self.folder.held.tip.0 {
            return false;
        }
        let held = self.held.clone();
        let run = held
            .runs
            .iter()
            .find(|run| (run.entry.first..=run.entry.last).contains(&next));
        if let Some(run) = run {
            match &run.run {
                Some(open) => self.take_run(run, open, next),
                None => {
                    let what = format!(
                        "commits {next} to {} can't be put in order; read it by stream",
                        run.entry.last
                    );
                    let damage = Damage::in_file(run.name(), what).of_commit(next);
                    self.ready.push_back(Err(damage));
                    self.after = run.entry.last;
                }
            }
            return true;
        }
        match held.commits.binary_search_by_key(&next, |at| at.commit) {
            Ok(at) => self.take_slot(held.commits[at]),
            Err(_) => {
                let later = held.runs.iter().map(|run| run.entry.first);
                let later = later.chain(held.commits.iter().map(|at| at.commit));
                let found = later.filter(|commit| *commit > next).min();
                let last = found.map_or(self.folder.held.tip.0, |found| found - 1);
                let what = format!("commits {next} to {last} are missing");
                let damage = Damage::in_file(crate::segment::manifest::FILE, what).of_commit(next);
                self.ready.push_back(Err(damage));
                self.after = last;
            }
        }
        true
    }

    fn take_slot(&mut self, at: CommitAt) {
        let slot = &self.held.slots[at.slot as usize];
        let mut bytes = vec![0; at.bytes as usize];
        let read = slot.file.read_at(at.offset.into(), &mut bytes);
        let frame = codec::decode_commit(&bytes).filter(|frame| read.is_ok() && frame.hash == at.hash);
        let Some(frame) = frame else {
            if self.tries < TRIES
                && let Some(newer) = self.folder.newer()
            {
                self.tries += 1;
                self.held = newer;
                return;
            }
            let damage = Damage::in_file(slot.name(), "the commit does not check any more");
            let damage = damage.at(at.offset.into(), at.bytes.into()).of_commit(at.commit);
            self.ready.push_back(Err(damage));
            self.after = at.commit;
            return;
        };
        self.tries = 0;
        let bytes = Bytes::from(bytes);
        let end = frame.body + frame.header.body_bytes as usize;
        let mut records = Vec::with_capacity(frame.header.records as usize);
        let mut offset = frame.body;
        while offset < end {
            match codec::decode_record(&bytes.slice(offset..end)) {
                Ok((record, length)) => {
                    records.push(record);
                    offset += length;
                }
                Err(what) => {
                    let damage = Damage::in_file(slot.name(), what);
                    let damage = damage.at(u64::from(at.offset) + offset as u64, (end - offset) as u64);
                    self.ready.push_back(Err(damage.of_commit(at.commit)));
                    break;
                }
            }
        }
        self.after = at.commit;
        self.ready.push_back(Ok(CommitRecords {
            commit: at.commit,
            store: frame.header.store,
            epoch: frame.header.epoch,
            hash: frame.hash,
            written: frame.header.records,
            records,
        }));
    }

    /// The next commits of a run, as many as are worth a look through it.
    fn take_run(&mut self, held: &HeldRun, run: &Arc<Run>, next: u64) {
        let mut commits: BTreeMap<u64, CommitRecords> = BTreeMap::new();
        let mut bytes = 0;
        // A run that was made meanwhile may hold commits that came after the folder was opened.
        let tip = self.folder.held.tip.0;
        let mut last = held.entry.last.min(tip);
        for head in run.commits() {
            let head = match head.map(|head| codec::decode_commit_head(&head)) {
                Ok(Some(head)) => head,
                Ok(None) => continue,
                Err(error) => {
                    let damage = Damage::in_file(held.name(), error.to_string());
                    self.ready.push_back(Err(damage.of_commit(next)));
                    break;
                }
            };
            let CommitHead { header, hash, .. } = head;
            if header.commit < next {
                continue;
            }
            if header.commit > tip {
                break;
            }
            if bytes > WINDOW_BYTES || commits.len() >= WINDOW_COMMITS {
                last = header.commit - 1;
                break;
            }
            bytes += u64::from(header.body_bytes);
            let commit = CommitRecords {
                commit: header.commit,
                store: header.store,
                epoch: header.epoch,
                hash,
                written: header.records,
                records: Vec::new(),
            };
            commits.insert(header.commit, commit);
        }
        for entry in Salvage::of(run, None) {
            let decoded = match entry {
                Ok(entry) if (next..=last).contains(&entry.header.commit) => {
                    let key = (entry.stream(), entry.position());
                    entry.record().map_err(|what| {
                        let damage = Damage::in_file(held.name(), what);
                        damage.of_commit(entry.header.commit).of_record(key.0, key.1)
                    })
                }
                Ok(_) => continue,
                Err(hole) => {
                    let damage = Damage::in_file(held.name(), hole.what).at(hole.offset, hole.bytes);
                    Err(match hole.from {
                        Some((stream, position)) => damage.of_record(stream, position),
                        None => damage,
                    })
                }
            };
            match decoded {
                Ok(record) => {
                    if let Some(commit) = commits.get_mut(&record.commit) {
                        commit.records.push(record);
                    }
                }
                Err(damage) => self.ready.push_back(Err(damage)),
            }
        }
        self.after = last;
        for (_, mut commit) in commits {
            commit.records.sort_unstable_by_key(|record| record.index);
            self.ready.push_back(Ok(commit));
        }
    }
}

impl Iterator for Commits<'_> {
    type Item = Result<CommitRecords, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(mut ready) = self.ready.pop_front() {
                if let Ok(commit) = &mut ready {
                    let mut damage = Vec::new();
                    commit
                        .records
                        .retain_mut(|record| match self.folder.complete(record, None) {
                            Some(what) => {
                                damage.push(what);
                                false
                            }
                            None => true,
                        });
                    for damage in damage.into_iter().rev() {
                        self.ready.push_front(Err(damage));
                    }
                }
                return Some(ready);
            }
            if !self.fill() {
                return None;
            }
        }
    }
}
