//! The segments of a folder: which commits they hold, found by reading them from front to back.

use std::sync::Arc;

use bytes::Bytes;

use super::report::Damage;
use crate::codec::{self, COMMIT_ALIGN, COMMIT_FRAME, CommitFrame, TERMINATOR};
use crate::disk::DiskFile;
use crate::disk::ahead::Ahead;
use crate::record::Digest;
use crate::segment::Slot;
use crate::segment::manifest::Entry;

/// A segment, held open. A server may use it again: what is read from it later counts only if it checks.
pub(super) struct HeldSlot {
    pub(super) entry: Entry,
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) commits: u64,
    /// Up to the end of its last commit.
    pub(super) bytes_used: u64,
}

impl HeldSlot {
    pub(super) fn name(&self) -> String {
        Slot::name(self.entry.slot)
    }
}

/// Where a commit lies.
#[derive(Debug, Clone, Copy)]
pub(super) struct CommitAt {
    pub(super) commit: u64,
    pub(super) hash: Digest,
    /// Which of the held segments.
    pub(super) slot: u32,
    pub(super) offset: u32,
    pub(super) bytes: u32,
}

/// What is found on the way through the segments.
pub(super) struct SlotScan {
    pub(super) store: [u8; 16],
    /// Take in what lies behind damage.
    pub(super) lenient: bool,
    pub(super) tip: (u64, Digest),
    pub(super) epoch: u64,
    pub(super) commits: Vec<CommitAt>,
    /// The highest commit that a commit behind the end says was durable.
    pub(super) proof: u64,
    /// Where the first segment ended that others follow, or that has something behind its end.
    pub(super) end: Option<Damage>,
    pub(super) damage: Vec<Damage>,
}

impl SlotScan {
    /// Reads a segment. Its use is the one that the manifest says, or whatever its first commit says.
    pub(super) fn take(&mut self, number: u32, mut entry: Entry, file: Arc<dyn DiskFile>, any_use: bool) -> HeldSlot {
        let length = file.len().unwrap_or(0);
        let mut ahead = Ahead::new(file.clone(), length.min(u32::MAX.into()));
        if any_use && let Some((frame, _)) = commit_at(&mut ahead, 0) {
            entry.generation = frame.header.generation as u32;
            entry.base = frame.header.commit;
        }
        let mut slot = HeldSlot {
            entry,
            file,
            commits: 0,
            bytes_used: 0,
        };
        let mut at = 0;
        // Behind the end of the log everything is evidence only.
        let mut over = !self.lenient && self.end.is_some();
        while !over {
            let found = commit_at(&mut ahead, at).filter(|(frame, _)| self.is_of(frame, &slot));
            match found {
                Some((frame, _)) if frame.header.commit <= self.tip.0 => at += frame.bytes as u64,
                Some((frame, _)) if self.lenient || self.follows(&frame) => {
                    if !self.follows(&frame) {
                        self.note_jump(&slot, at, &frame);
                    }
                    self.tip = (frame.header.commit, frame.hash);
                    self.epoch = self.epoch.max(frame.header.epoch);
                    self.commits.push(CommitAt {
                        commit: frame.header.commit,
                        hash: frame.hash,
                        slot: number,
                        offset: at as u32,
                        bytes: frame.bytes as u32,
                    });
                    if slot.entry.base == 0 {
                        slot.entry.base = frame.header.commit;
                    }
                    slot.commits += 1;
                    at += frame.bytes as u64;
                    slot.bytes_used = at;
                }
                _ => {
                    over = true;
                    if self.lenient
                        && let Some((next, _)) = self.search(&mut ahead, at, &slot).next()
                    {
                        let damage = Damage::in_file(slot.name(), "bytes that are no commit of this log");
                        self.damage.push(damage.at(at, next - at).of_commit(self.tip.0 + 1));
                        at = next;
                        over = false;
                    }
                }
            }
        }
        self.note_end(&mut ahead, at, &slot);
        slot
    }

    fn is_of(&self, frame: &CommitFrame, slot: &HeldSlot) -> bool {
        frame.header.store == self.store && frame.header.generation == u64::from(slot.entry.generation)
    }

    fn follows(&self, frame: &CommitFrame) -> bool {
        frame.header.commit == self.tip.0 + 1 && frame.header.previous == self.tip.1
    }

    fn note_jump(&mut self, slot: &HeldSlot, at: u64, frame: &CommitFrame) {
        let (before, commit) = (self.tip.0, frame.header.commit);
        let what = if commit == before + 1 {
            "the commit does not link to the one before it".to_owned()
        } else {
            format!("commits {} to {} are missing before it", before + 1, commit - 1)
        };
        let damage = Damage::in_file(slot.name(), what).at(at, 0);
        self.damage.push(damage.of_commit(before + 1));
    }

    /// Notes what stands behind the last commit of a segment.
    fn note_end(&mut self, ahead: &mut Ahead, at: u64, slot: &HeldSlot) {
        let mut found = None;
        let mut proof = 0;
        for (offset, frame) in self.search(ahead, at, slot) {
            if frame.header.commit > self.tip.0 {
                found = found.or(Some(offset));
                proof = proof.max(frame.header.durable_through);
            }
        }
        self.proof = self.proof.max(proof);
        let terminator = ahead.get(at, TERMINATOR).unwrap_or_default();
        let begun = found.is_some() || terminator.iter().any(|byte| *byte != 0);
        if begun && self.end.is_none() {
            let damage = Damage::in_file(slot.name(), "the commit does not check");
            self.end = Some(
                damage
                    .at(at, found.map_or(0, |next| next - at))
                    .of_commit(self.tip.0 + 1),
            );
        }
    }

    /// Commits of this use of the segment from an offset on.
    fn search<'a>(
        &self,
        ahead: &'a mut Ahead,
        from: u64,
        slot: &HeldSlot,
    ) -> impl Iterator<Item = (u64, CommitFrame)> + use<'a> {
        let (store, generation) = (self.store, u64::from(slot.entry.generation));
        let mut at = from;
        std::iter::from_fn(move || {
            while at < ahead.end() {
                let some = ahead.get(at, 64 << 10).unwrap_or_default();
                if some.is_empty() {
                    return None;
                }
                // Most of it is zeroes, most of the time.
                if some.iter().all(|byte| *byte == 0) {
                    at += (some.len() as u64).next_multiple_of(COMMIT_ALIGN as u64);
                    continue;
                }
                for offset in (0..some.len()).step_by(COMMIT_ALIGN) {
                    if !some[offset..].starts_with(b"FSc") {
                        continue;
                    }
                    let here = at + offset as u64;
                    if let Some((frame, _)) = commit_at(ahead, here)
                        && frame.header.store == store
                        && frame.header.generation == generation
                    {
                        at = here + frame.bytes as u64;
                        return Some((here, frame));
                    }
                }
                at += (some.len() as u64).next_multiple_of(COMMIT_ALIGN as u64);
            }
            None
        })
    }
}

/// The intact commit at an offset, whoever wrote it, with its bytes.
pub(super) fn commit_at(ahead: &mut Ahead, offset: u64) -> Option<(CommitFrame, Bytes)> {
    let head = codec::decode_commit_head(&ahead.get(offset, COMMIT_FRAME).ok()?)?;
    let bytes = (head.bytes + head.header.body_bytes as usize).next_multiple_of(COMMIT_ALIGN);
    let bytes = ahead.get(offset, bytes).ok()?;
    let frame = codec::decode_commit(&bytes)?;
    let bytes = bytes.slice(..frame.bytes);
    Some((frame, bytes))
}
