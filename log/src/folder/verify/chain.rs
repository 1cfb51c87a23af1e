//! Follows the chain: each commit links to the one before, and its header stands for its records, wherever they lie by now. In a run records are
//! sorted by stream, so their digests are gathered for so many commits at once.

use bytes::Bytes;

use super::{Verify, bare};
use crate::codec::v1::{FRAME, RECORD_HEADER_FRAME};
use crate::codec::{self, CommitHead};
use crate::folder::held::HeldRun;
use crate::folder::report::Damage;
use crate::record::Digest;
use crate::run::{Entry, Form, Run, RunError, Salvage};

/// Records whose digests are gathered at once: 32 bytes each.
const WINDOW_RECORDS: usize = 2 << 20;
const WINDOW_COMMITS: usize = 1 << 20;

/// Where the chain has been followed to.
pub(super) struct Chain {
    pub(super) commit: u64,
    pub(super) hash: Digest,
}

/// Commits whose records are gathered.
#[derive(Default)]
struct Window {
    first: u64,
    commits: Vec<Expected>,
    digests: Vec<Digest>,
    present: Vec<bool>,
}

struct Expected {
    /// Where its digests begin.
    at: usize,
    records: u32,
    digest: Digest,
}

impl Window {
    fn is_full(&self) -> bool {
        self.digests.len() >= WINDOW_RECORDS || self.commits.len() >= WINDOW_COMMITS
    }

    fn put(&mut self, commit: u64, index: u32, digest: Digest) -> Result<(), &'static str> {
        let Some(expected) = commit
            .checked_sub(self.first)
            .and_then(|at| self.commits.get(usize::try_from(at).ok()?))
        else {
            return Ok(());
        };
        if index >= expected.records {
            return Err("its commit was written with fewer records");
        }
        let at = expected.at + index as usize;
        if std::mem::replace(&mut self.present[at], true) {
            return Err("there is another record in the same place of its commit");
        }
        self.digests[at] = digest;
        Ok(())
    }
}

/// What a record is to the chain, and what it says.
fn digest_of(entry: &Entry) -> Digest {
    let head = &entry.frame[..RECORD_HEADER_FRAME];
    let body = match entry.form {
        Form::Whole => codec::digest(codec::body(&entry.frame)),
        Form::Erased => Digest(entry.frame[RECORD_HEADER_FRAME..].try_into().unwrap_or_default()),
    };
    codec::record_digest(head, &body)
}

impl Chain {
    pub(super) fn at((commit, hash): (u64, Digest)) -> Self {
        Self { commit, hash }
    }

    /// Takes one step.
    pub(super) fn link(&mut self, verify: &mut Verify<'_>, file: &str, head: &CommitHead) {
        let header = &head.header;
        let wrong = if header.commit != self.commit + 1 {
            Some(format!("commit {} follows commit {}", header.commit, self.commit))
        } else if header.previous != self.hash {
            let what = "the commit does not link to the one before it: one of them is not what was written";
            Some(what.to_owned())
        } else {
            None
        };
        if let Some(what) = wrong {
            verify.find(Damage::in_file(file, what).of_commit(header.commit));
        }
        (self.commit, self.hash) = (header.commit, head.hash);
        verify.note_kept(self);
        verify.report.commits += 1;
        verify.report.commits_chained += u64::from(header.records_digest != Digest::default());
        if !verify.stores.contains(&header.store) {
            verify.stores.push(header.store);
        }
    }

    /// The records of a commit in a segment.
    pub(super) fn slot_commit(
        &mut self,
        verify: &mut Verify<'_>,
        file: &str,
        offset: u64,
        head: &CommitHead,
        body: &Bytes,
    ) {
        let header = &head.header;
        let damaged = |at: usize, what: &str| {
            let damage = Damage::in_file(file, what).at(offset + (head.bytes + at) as u64, (body.len() - at) as u64);
            damage.of_commit(header.commit)
        };
        let mut digests = Vec::with_capacity((header.records as usize).min(body.len() / FRAME + 1));
        let mut at = 0;
        while at < body.len() {
            match codec::decode_record(&body.slice(at..)) {
                Ok((record, length)) => {
                    if (record.commit, record.index as usize) != (header.commit, digests.len()) {
                        verify.find(damaged(at, "a record says that it stands elsewhere"));
                    }
                    let frame = &body[at..at + length];
                    digests.push(codec::record_digest(frame, &codec::digest(codec::body(frame))));
                    verify.record(&record);
                    at += length;
                }
                Err(what) => {
                    verify.find(damaged(at, what));
                    return;
                }
            }
        }
        if digests.len() != header.records as usize {
            verify.find(damaged(0, "the commit was written with another number of records"));
        }
        let chained = header.records_digest != Digest::default();
        if chained && codec::records_digest(&digests) != header.records_digest {
            verify.find(damaged(
                0,
                "the commit's records are not those that it was written with",
            ));
        }
    }

    /// All of a run.
    pub(super) fn run(&mut self, verify: &mut Verify<'_>, held: &HeldRun) {
        let Some(run) = &held.run else {
            (self.commit, self.hash) = (held.entry.last, held.entry.hash.0);
            return;
        };
        if let Err(error) = self.run_records(verify, held, run) {
            verify.broken = true;
            self.holes(verify, held, run, &error);
            (self.commit, self.hash) = (held.entry.last, held.entry.hash.0);
            return;
        }
        if (self.commit, self.hash) != (held.entry.last, held.entry.hash.0) {
            let what = "the run does not end with the commit that the manifest lists";
            verify.find(Damage::in_file(held.name(), what).of_commit(held.entry.last));
            (self.commit, self.hash) = (held.entry.last, held.entry.hash.0);
        }
        verify.moved("runs", run.file_bytes());
    }

    fn run_records(&mut self, verify: &mut Verify<'_>, held: &HeldRun, run: &Run) -> Result<(), RunError> {
        let file = held.name();
        let mut heads = run.commits();
        let mut stubs = run.stubs().peekable();
        let mut blobs = 0;
        let mut first = true;
        loop {
            let mut window = Window {
                first: self.commit + 1,
                ..Window::default()
            };
            while !window.is_full() {
                let Some(bytes) = heads.next().transpose()? else { break };
                let Some(head) = codec::decode_commit_head(&bytes) else {
                    let what = "a commit's header does not check";
                    verify.find(Damage::in_file(&file, what).of_commit(self.commit + 1));
                    break;
                };
                self.link(verify, &file, &head);
                let fits = (head.header.body_bytes as usize) / FRAME;
                let records = head.header.records.min(u32::try_from(fits).unwrap_or(u32::MAX));
                window.commits.push(Expected {
                    at: window.digests.len(),
                    records,
                    digest: head.header.records_digest,
                });
                let end = window.digests.len() + records as usize;
                window.digests.resize(end, Digest::default());
                window.present.resize(end, false);
            }
            if window.commits.is_empty() && !first {
                break;
            }
            let mut wrong = Vec::new();
            let mut visit = |entry: &Entry, record: Option<crate::record::Record>| {
                let (commit, index) = (entry.header.commit, entry.header.index);
                if commit >= window.first
                    && let Err(what) = window.put(commit, index, digest_of(entry))
                {
                    let damage = Damage::in_file(&file, what).of_commit(commit);
                    wrong.push(damage.of_record(entry.stream(), entry.position()));
                }
                if first {
                    let record = record.unwrap_or_else(|| bare(entry.header));
                    verify.report.digests += u64::from(record.erased);
                    blobs += u64::from(record.extras.blob.is_some());
                    verify.record(&record);
                }
            };
            match first {
                // The first look checks everything else too.
                true => run.verify_with(&mut visit)?,
                false => {
                    for entry in run.scan() {
                        visit(&entry?, None);
                    }
                }
            }
            let last = window.first + window.commits.len() as u64;
            while let Some(Ok(stub)) = stubs.peek() {
                let stub = *stub;
                if stub.commit >= last {
                    break;
                }
                stubs.next();
                verify.report.digests += 1;
                verify.gone += 1;
                match window.put(stub.commit, stub.index, Digest(stub.digest)) {
                    Ok(()) => {}
                    Err(what) => wrong.push(Damage::in_file(&file, what).of_commit(stub.commit)),
                }
            }
            for damage in wrong {
                verify.find(damage);
            }
            check(verify, &file, &window);
            first = false;
        }
        let mut listed = 0;
        for blob in run.blobs() {
            blob?;
            listed += 1;
        }
        if listed != blobs {
            let what = format!("the run lists {listed} payload files, and its records refer to {blobs}");
            verify.find(Damage::in_file(&file, what));
        }
        Ok(())
    }

    /// Tells all of a run's damage, and takes in what can be read.
    fn holes(&mut self, verify: &mut Verify<'_>, held: &HeldRun, run: &std::sync::Arc<Run>, error: &RunError) {
        let before = verify.report.findings.len();
        for entry in Salvage::of(run, None) {
            match entry {
                Ok(entry) if entry.form == Form::Whole => {
                    if let Err(what) = codec::decode_record(&entry.frame) {
                        let damage = Damage::in_file(held.name(), what).of_commit(entry.header.commit);
                        verify.find(damage.of_record(entry.stream(), entry.position()));
                    }
                }
                Ok(_) => {}
                Err(hole) => {
                    let damage = Damage::in_file(held.name(), hole.what).at(hole.offset, hole.bytes);
                    verify.find(match hole.from {
                        Some((stream, position)) => damage.of_record(stream, position),
                        None => damage,
                    });
                }
            }
        }
        if verify.report.findings.len() == before {
            let offset = match error {
                RunError::Damaged { offset, .. } => *offset,
                _ => 0,
            };
            let damage = Damage::in_file(held.name(), error.to_string()).at(offset, 0);
            verify.find(damage.of_commit(held.entry.first));
        }
    }
}

/// Whether the commits of a window have all of their records, or the digests of those that are gone, or nothing at all.
fn check(verify: &mut Verify<'_>, file: &str, window: &Window) {
    for (number, expected) in window.commits.iter().enumerate() {
        let range = expected.at..expected.at + expected.records as usize;
        let present = window.present[range.clone()].iter().filter(|present| **present).count();
        let commit = window.first + number as u64;
        if present == 0 {
            verify.gone += u64::from(expected.records);
        } else if present < range.len() {
            let missing = window.present[range].iter().position(|present| !present).unwrap_or(0);
            let what = format!("record {missing} of the commit is missing, and no digest stands for it");
            verify.find(Damage::in_file(file, what).of_commit(commit));
        } else if expected.digest != Digest::default()
            && codec::records_digest(&window.digests[range]) != expected.digest
        {
            let what = "the commit's records are not those that it was written with";
            verify.find(Damage::in_file(file, what).of_commit(commit));
        }
    }
}
