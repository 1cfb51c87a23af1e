//! Workloads that the benches share: what is written, and the limit that it is compared with.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use flowstate_log::append::{Append, NewRecord, Part, Target};
use flowstate_log::env::{Env, SystemEnv};
use flowstate_log::record::{Kind, Name, Subject};

/// One streamed token as JSON, about 200 bytes: the record of the append workloads.
pub fn token(number: u64) -> Bytes {
    let text = format!(
        "{{\"type\":\"content.delta\",\"request\":\"req_0190f3a27c5e7b8c\",\"item\":\"item_0190f3a27c5e7b8c_2\",\
         \"index\":0,\"delta\":\"lorem ipsum dolor \",\"sequence_number\":{number:08},\"ts\":1717171717430,\"pad\":\"0123456789012345\"}}"
    );
    Bytes::from(text)
}

/// An append of one token to a stream of its own.
pub fn append_of(stream: &Name, number: u64) -> Append {
    let record = NewRecord {
        kind: Kind(Kind::FIRST_OPEN),
        subject: Subject::NONE,
        sub: None,
        causation: [0; 16],
        origin: 0,
        payload: token(number),
    };
    let part = Part {
        stream: Target::Name(stream.clone()),
        expect: Vec::new(),
        records: vec![record],
    };
    Append { parts: vec![part] }
}

/// The machine's limit: a zero-filled file, `group` tokens per write, one fdatasync per write. Nothing else.
pub struct Limit {
    file: File,
    bytes: u64,
    at: u64,
}

impl Limit {
    /// A file of 64 MiB of zeroes in `folder`.
    pub fn new(folder: &Path) -> std::io::Result<Self> {
        let bytes = 64 << 20;
        let file = File::create(folder.join("limit"))?;
        for step in 0..64 {
            file.write_all_at(&vec![0; 1 << 20], step << 20)?;
        }
        file.sync_all()?;
        Ok(Self { file, bytes, at: 0 })
    }

    /// Writes `count` tokens in groups.
    pub fn write(&mut self, count: u64, group: u64) -> std::io::Result<()> {
        let mut number = 0;
        while number < count {
            let mut buffer = Vec::new();
            for _ in 0..group.min(count - number) {
                let token = token(number);
                buffer.extend_from_slice(&(token.len() as u32).to_le_bytes());
                buffer.extend_from_slice(&token);
                number += 1;
            }
            if self.at + buffer.len() as u64 > self.bytes {
                self.at = 0;
            }
            self.file.write_all_at(&buffer, self.at)?;
            self.file.sync_data()?;
            self.at += buffer.len() as u64;
        }
        Ok(())
    }
}

/// How long something takes, by the clock that the project allows itself.
pub fn timed<R>(run: impl FnOnce() -> R) -> (Duration, R) {
    let clock = SystemEnv::new();
    let result = run();
    (clock.monotonic(), result)
}
