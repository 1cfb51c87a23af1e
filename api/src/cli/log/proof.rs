//! Whether an erased user's text is gone: texts are taken from the user's records before, and looked for afterwards, byte by byte in every
//! file of the data folder, and in what the records say that compressed files hold.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use flowstate_engine::record::SessionCreated;
use flowstate_log::folder::Folder;
use flowstate_log::record::{Kind, Record, StreamId};
use serde::Serialize;
use serde_json::Value;

use super::failure::Failure;

/// Shorter texts say too little about whose they are.
const TEXT_BYTES_MIN: usize = 12;
/// So much of a text is looked for.
const TEXT_BYTES_MAX: usize = 64;
/// Most texts that are looked for.
const TEXTS_MAX: usize = 20_000;
/// Bytes of a file that are looked at in one go.
const CHUNK: usize = 1 << 20;

/// What is known of a user before the erasure.
pub(super) struct Known {
    /// Streams that hold the user's records, those hidden included.
    pub(super) streams: HashSet<StreamId>,
    /// Pieces of their payloads, as they stand on disk.
    texts: BTreeSet<Vec<u8>>,
    pub(super) records: u64,
}

/// What was looked for, and what was found.
#[derive(Debug, Serialize)]
pub(super) struct Proof {
    /// Texts that were looked for in files.
    pub(super) texts: usize,
    /// Texts of the user that records of others hold too, which therefore say nothing about files.
    pub(super) texts_of_others: usize,
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Records of the user that can still be read.
    pub(super) records_left: u64,
    /// Files that hold one of the texts.
    pub(super) files_left: Vec<PathBuf>,
}

impl Proof {
    pub(super) fn ok(&self) -> bool {
        self.records_left == 0 && self.files_left.is_empty()
    }
}

impl Known {
    /// Reads all records, and takes what is the user's: by principal, or without principals by the session's user. `streams` is known already.
    pub(super) fn collect(files: &Folder, user: &str, streams: HashSet<StreamId>) -> Result<Self, Failure> {
        let mut known = Self {
            streams,
            texts: BTreeSet::new(),
            records: 0,
        };
        for stream in files.streams()? {
            let own = stream.name.as_ref().is_some_and(|name| name.principal() == user);
            // Forks are made after what they continue, and ids ascend with time.
            if own
                || stream
                    .parent
                    .is_some_and(|parent| known.streams.contains(&parent.stream))
            {
                known.streams.insert(stream.id);
            }
        }
        for record in files.records(None) {
            let record = record?;
            let principals = record
                .extras
                .stream
                .as_ref()
                .is_some_and(|name| !name.principal().is_empty());
            if record.kind == SessionCreated::KIND && !principals && user_of(&record).as_deref() == Some(user) {
                known.streams.insert(record.stream);
            }
            if known.streams.contains(&record.stream) {
                known.records += 1;
                known.take(&record.payload);
            }
        }
        Ok(known)
    }

    fn take(&mut self, payload: &[u8]) {
        if self.texts.len() >= TEXTS_MAX {
            return;
        }
        match serde_json::from_slice(payload) {
            Ok(value) => self.take_json(&value),
            Err(_) if payload.len() >= TEXT_BYTES_MIN => {
                self.texts.insert(payload[..payload.len().min(TEXT_BYTES_MAX)].to_vec());
            }
            Err(_) => {}
        }
    }

    fn take_json(&mut self, value: &Value) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| self.take_json(value)),
            Value::Object(fields) => fields.values().for_each(|value| self.take_json(value)),
            Value::String(text) if text.len() >= TEXT_BYTES_MIN => {
                let end = text.floor_char_boundary(TEXT_BYTES_MAX);
                // As JSON has it, without the quotes.
                let written = serde_json::to_vec(&text[..end]).unwrap_or_default();
                self.texts.insert(written[1..written.len().max(2) - 1].to_vec());
            }
            _ => {}
        }
    }

    /// Looks for all of it in a data folder whose log is closed.
    pub(super) fn look(self, files: &Folder, folder: &Path) -> Result<Proof, Failure> {
        let mut texts: Vec<Vec<u8>> = self.texts.into_iter().collect();
        let before = texts.len();
        let mut proof = Proof {
            texts: 0,
            texts_of_others: 0,
            files: 0,
            bytes: 0,
            records_left: 0,
            files_left: Vec::new(),
        };
        let finder = finder(&texts)?;
        let mut of_others = HashSet::new();
        for record in files.records(None) {
            let record = record?;
            match self.streams.contains(&record.stream) {
                true => {
                    let told = record.kind == Kind::STREAM_DELETED || record.erased;
                    proof.records_left += u64::from(!told);
                }
                false => {
                    let found = finder.find_overlapping_iter(&record.payload);
                    of_others.extend(found.map(|found| found.pattern().as_usize()));
                }
            }
        }
        let mut numbers = 0..;
        texts.retain(|_| numbers.next().is_some_and(|number| !of_others.contains(&number)));
        proof.texts = texts.len();
        proof.texts_of_others = before - texts.len();
        let finder = self::finder(&texts)?;
        proof.look_into(folder, &finder)?;
        Ok(proof)
    }
}

impl Proof {
    fn look_into(&mut self, folder: &Path, finder: &AhoCorasick) -> Result<(), Failure> {
        let failed = || Failure::io(format!("reading {}", folder.display()));
        for entry in fs::read_dir(folder).map_err(failed())? {
            let entry = entry.map_err(failed())?;
            let kind = entry.file_type().map_err(failed())?;
            if kind.is_dir() {
                self.look_into(&entry.path(), finder)?;
            } else if kind.is_file() {
                self.look_at(&entry.path(), finder)
                    .map_err(Failure::io(format!("reading {}", entry.path().display())))?;
            }
        }
        Ok(())
    }

    fn look_at(&mut self, place: &Path, finder: &AhoCorasick) -> std::io::Result<()> {
        let mut file = File::open(place)?;
        let overlap = finder.max_pattern_len().saturating_sub(1);
        let mut buffer = vec![0; CHUNK + overlap];
        let (mut kept, mut found) = (0, false);
        loop {
            let read = file.read(&mut buffer[kept..])?;
            if read == 0 {
                break;
            }
            self.bytes += read as u64;
            let filled = kept + read;
            found |= finder.is_match(&buffer[..filled]);
            // A text may lie across two reads.
            let keep = overlap.min(filled);
            buffer.copy_within(filled - keep..filled, 0);
            kept = keep;
        }
        self.files += 1;
        if found {
            self.files_left.push(place.to_owned());
        }
        Ok(())
    }
}

fn finder(texts: &[Vec<u8>]) -> Result<AhoCorasick, Failure> {
    AhoCorasick::new(texts).map_err(|error| Failure::Failed(format!("the texts to look for can't be used: {error}")))
}

fn user_of(record: &Record) -> Option<String> {
    let created: SessionCreated = serde_json::from_slice(&record.payload).ok()?;
    Some(created.user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(payloads: &[&str]) -> Known {
        let mut known = Known {
            streams: HashSet::new(),
            texts: BTreeSet::new(),
            records: 0,
        };
        payloads.iter().for_each(|payload| known.take(payload.as_bytes()));
        known
    }

    #[test]
    fn texts_are_looked_for_as_they_stand_on_disk() {
        let known = known(&[
            r#"{"a":["short","a text of some length"],"b":{"c":"with \"quotes\" and more"}}"#,
            "plain text, no json",
        ]);
        let texts: Vec<_> = known
            .texts
            .iter()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        assert_eq!(
            texts,
            [
                "a text of some length",
                "plain text, no json",
                r#"with \"quotes\" and more"#
            ]
        );
    }

    #[test]
    fn a_text_across_two_reads_is_found() {
        let texts = vec![b"the secret of the user".to_vec()];
        let finder = finder(&texts).expect("a finder");
        let place = std::env::temp_dir().join(format!("flowstate-proof-{}", std::process::id()));
        for offset in [0, CHUNK - 5, CHUNK + 10, 2 * CHUNK - 21] {
            let mut bytes = vec![0; offset];
            bytes.extend_from_slice(&texts[0]);
            fs::write(&place, &bytes).expect("write");
            let mut proof = Proof {
                texts: 1,
                texts_of_others: 0,
                files: 0,
                bytes: 0,
                records_left: 0,
                files_left: Vec::new(),
            };
            proof.look_at(&place, &finder).expect("read");
            assert!(!proof.ok(), "at {offset}");
            assert_eq!(proof.bytes, bytes.len() as u64);
        }
        fs::remove_file(&place).expect("remove");
    }
}
