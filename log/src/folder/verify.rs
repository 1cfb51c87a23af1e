//! Checks everything that a folder claims: every checksum, the chain from its origin to its tip, that each stream has all of its positions,
//! and that nothing is missing but what was trimmed or deleted. `verify/chain` follows commits, `verify/streams` knows what there must be.

mod chain;
mod streams;

use std::collections::HashMap;

use super::places::Places;
use super::report::{Damage, Head, Progress, VerifyReport};
use super::{Folder, Held};
use crate::codec::{self, CommitHead};
use crate::disk::ahead::Ahead;
use crate::record::{BlobRef, Digest, Extras, Record, StreamId};
use crate::segment::manifest;
use chain::Chain;
use streams::Streams;

/// How often to begin again because a server used a segment again.
const TRIES: usize = 5;

/// The state of a verification.
struct Verify<'a> {
    held: &'a Held,
    report: VerifyReport,
    progress: &'a mut dyn FnMut(Progress),
    total: u64,
    streams: Streams,
    /// With the first record that refers to each.
    blobs: HashMap<Digest, (BlobRef, StreamId, u64)>,
    /// The commit that a kept head names, and its hash here.
    kept: Option<(u64, Option<Digest>)>,
    /// Stores that wrote the commits.
    stores: Vec<[u8; 16]>,
    /// Records that commits were written with and that are not there.
    gone: u64,
    /// A run could not be read to its end: what it would have said is not known.
    broken: bool,
}

pub(super) fn verify(folder: &Folder, against: Option<&Head>, progress: &mut dyn FnMut(Progress)) -> VerifyReport {
    let mut held = folder.held.clone();
    for _ in 0..TRIES {
        // Segments first: they are what a server may use again meanwhile.
        if let Some(report) = once(folder, &held, against, progress, false) {
            return report;
        }
        match folder.newer() {
            Some(newer) => held = newer,
            None => break,
        }
    }
    once(folder, &held, against, progress, true).unwrap_or_else(|| report(&held))
}

fn report(held: &Held) -> VerifyReport {
    VerifyReport {
        head: super::summary::head(held),
        commits: 0,
        commits_chained: 0,
        records: 0,
        digests: 0,
        streams: 0,
        blobs: 0,
        bytes: 0,
        findings: Vec::new(),
        findings_left_out: 0,
    }
}

/// `None` if a segment was used again meanwhile.
fn once(
    folder: &Folder,
    held: &Held,
    against: Option<&Head>,
    progress: &mut dyn FnMut(Progress),
    last_try: bool,
) -> Option<VerifyReport> {
    let runs: u64 = held.runs.iter().map(|run| run.entry.bytes).sum();
    let slots: u64 = held.slots.iter().map(|slot| slot.bytes_used).sum();
    let mut verify = Verify {
        held,
        report: report(held),
        progress,
        total: runs + slots,
        streams: Streams::default(),
        blobs: HashMap::new(),
        kept: against.map(|head| (head.commit, None)),
        stores: vec![held.manifest.store],
        gone: 0,
        broken: !held.damage.is_empty(),
    };
    for damage in &held.damage {
        verify.find(damage.clone());
    }
    let mut chain = Chain::at(held.manifest.clustered());
    if !verify.slots(&mut chain) && !last_try && !held.is_current().unwrap_or(true) {
        return None;
    }
    let mut chain = Chain::at((held.manifest.origin.0, held.manifest.origin.1.0));
    verify.note_kept(&chain);
    for run in &held.runs {
        chain.run(&mut verify, run);
    }
    verify.streams();
    verify.blobs(folder);
    verify.against(against);
    let report = &mut verify.report;
    report.streams = verify.streams.count();
    (verify.progress)(Progress {
        step: "verified",
        done: verify.total,
        total: verify.total,
    });
    Some(verify.report)
}

impl Verify<'_> {
    fn find(&mut self, damage: Damage) {
        if self.report.findings.len() < VerifyReport::FINDINGS_MAX {
            self.report.findings.push(damage);
        } else {
            self.report.findings_left_out += 1;
        }
    }

    fn moved(&mut self, step: &'static str, bytes: u64) {
        self.report.bytes += bytes;
        (self.progress)(Progress {
            step,
            done: self.report.bytes.min(self.total),
            total: self.total,
        });
    }

    fn note_kept(&mut self, chain: &Chain) {
        if let Some((commit, hash)) = &mut self.kept
            && *commit == chain.commit
        {
            *hash = Some(chain.hash);
        }
    }

    /// Takes in what a record says, whatever order they come in.
    fn record(&mut self, record: &Record) {
        self.report.records += 1;
        self.streams.take(record);
        if let Some(blob) = record.extras.blob {
            let first = (blob, record.stream, record.position);
            self.blobs.entry(blob.address).or_insert(first);
        }
    }

    /// Every commit of the segments; `false` if one is not what it was when the folder was opened.
    fn slots(&mut self, chain: &mut Chain) -> bool {
        let mut same = true;
        for (number, slot) in self.held.slots.iter().enumerate() {
            let mut ahead = Ahead::new(slot.file.clone(), slot.bytes_used);
            for at in self.held.commits.iter().filter(|at| at.slot as usize == number) {
                let bytes = ahead.get(at.offset.into(), at.bytes as usize).unwrap_or_default();
                let frame = codec::decode_commit(&bytes).filter(|frame| frame.hash == at.hash);
                let Some(frame) = frame else {
                    let damage = Damage::in_file(slot.name(), "the commit does not check any more");
                    self.find(damage.at(at.offset.into(), at.bytes.into()).of_commit(at.commit));
                    same = false;
                    continue;
                };
                let head = CommitHead {
                    header: frame.header,
                    hash: frame.hash,
                    bytes: frame.body,
                };
                chain.link(self, &slot.name(), &head);
                let end = frame.body + frame.header.body_bytes as usize;
                chain.slot_commit(
                    self,
                    &slot.name(),
                    at.offset.into(),
                    &head,
                    &bytes.slice(frame.body..end),
                );
                self.moved("segments", at.bytes.into());
            }
        }
        same
    }

    fn streams(&mut self) {
        if self.broken {
            return;
        }
        let mut missing = 0;
        let mut uncertain = false;
        let streams = std::mem::take(&mut self.streams);
        for damage in streams.judge(&mut missing, &mut uncertain) {
            self.find(damage);
        }
        self.streams = streams;
        // Damage that was found already explains what is missing.
        let wrong = self.gone > missing || (self.gone < missing && !uncertain);
        if wrong && self.report.findings.is_empty() {
            let what = format!(
                "commits were written with {} records that are not there, and {missing} were trimmed or deleted: \
                 records were taken out or put in behind the log's back",
                self.gone
            );
            self.find(Damage::in_file(manifest::FILE, what));
        }
    }

    fn blobs(&mut self, folder: &Folder) {
        let blobs = std::mem::take(&mut self.blobs);
        for (blob, stream, position) in blobs.into_values() {
            let name = self.streams.name(stream).cloned();
            self.report.blobs += 1;
            let what = match check_blob(self.held, name.as_ref().map(|name| name.principal()), &blob) {
                Ok(()) => {
                    self.moved("payload files", blob.bytes);
                    continue;
                }
                Err(what) => what,
            };
            // A server may have given it up with its record.
            if folder.given_up(stream, position) {
                continue;
            }
            let damage = Damage::in_file(crate::blob::file_name(&blob.address), what).at(0, blob.bytes);
            self.find(damage.of_record(stream, position));
        }
    }

    fn against(&mut self, against: Option<&Head>) {
        let (Some(head), Some((_, found))) = (against, self.kept) else {
            return;
        };
        let what = match found {
            Some(hash) if hash == head.hash => return,
            _ if !self.stores.contains(&head.store) => format!("the head that was kept is of another store: {head}"),
            None if head.commit > self.report.head.commit => format!(
                "the log ends with commit {}, and there was a commit {}: it was rolled back",
                self.report.head.commit, head.commit
            ),
            None => format!("commit {} of the head that was kept is not there", head.commit),
            Some(hash) => format!(
                "commit {} has the hash {hash}, and had {}: history was written anew",
                head.commit, head.hash
            ),
        };
        self.find(Damage::in_file(manifest::FILE, what).of_commit(head.commit));
    }
}

/// Reads a blob in pieces and compares it with its address.
fn check_blob(held: &Held, principal: Option<&str>, blob: &BlobRef) -> Result<(), String> {
    use sha2::{Digest as _, Sha256};
    let open = held.disk.open(&crate::blob::file_name(&blob.address));
    let (file, bytes) = open
        .and_then(|file| Ok((file.clone(), file.len()?)))
        .map_err(|error| format!("the payload can't be read: {error}"))?;
    if bytes != blob.bytes {
        return Err(format!("the payload has {bytes} bytes, not {}", blob.bytes));
    }
    let (Some(principal), true) = (principal, held.listed) else {
        return Ok(());
    };
    let mut hash = Sha256::new();
    hash.update(crate::blob::address_prefix(&held.manifest.salt, principal));
    let mut piece = vec![0; 1 << 20];
    let mut at = 0;
    while at < bytes {
        let some = (bytes - at).min(piece.len() as u64) as usize;
        let read = file.read_at(at, &mut piece[..some]);
        read.map_err(|error| format!("the payload can't be read: {error}"))?;
        hash.update(&piece[..some]);
        at += some as u64;
    }
    match Digest(hash.finalize().into()) == blob.address {
        true => Ok(()),
        false => Err("the payload's content does not match its address".to_owned()),
    }
}

impl Folder {
    /// Whether a record is gone from the folder as it is now.
    fn given_up(&self, stream: StreamId, position: u64) -> bool {
        if self.damaged || self.held.is_current().unwrap_or(true) && self.runs_are_current() {
            return false;
        }
        let Some(newer) = self.newer() else { return false };
        let places = Places::of(&newer);
        let in_slots = places
            .records
            .binary_search_by_key(&(stream, position), |at| (at.stream, at.position));
        in_slots.is_err() && !matches!(super::lookup::record_in_runs(&newer, stream, position), Some(Some(_)))
    }

    fn runs_are_current(&self) -> bool {
        let now = manifest::Manifest::read(&*self.held.disk);
        now.is_ok_and(|now| now.is_some_and(|now| now.runs == self.held.manifest.runs))
    }
}

/// A record without what it says, for those of which only the header is left.
fn bare(header: codec::v1::RecordHeader) -> Record {
    let mut record = header.into_record(Extras::default(), bytes::Bytes::new());
    record.erased = true;
    record
}
