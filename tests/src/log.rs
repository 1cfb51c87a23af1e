//! Helpers for tests of the log: short ways to append, and a view whose rows can be compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use flowstate_log::append::{Append, Appended, NewRecord, Part, Sub, Target};
use flowstate_log::disk::Disk;
use flowstate_log::env::SeededEnv;
use flowstate_log::error::AppendError;
use flowstate_log::limits::Limits;
use flowstate_log::record::{Kind, Name, Record, StreamId, SubStreamId, Subject};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};
use flowstate_log::view_store::OpenViewStore;
use flowstate_log::{Log, Options};

/// The kind that tests append.
pub const NOTE: Kind = Kind(16);
/// A kind on which the test view panics.
pub const PANIC: Kind = Kind(17);

/// A name without a principal.
pub fn name(name: &str) -> Name {
    Name::new("", name).expect("a valid name")
}

/// A record outside any sub-stream.
pub fn note(payload: impl Into<Bytes>) -> NewRecord {
    NewRecord {
        kind: NOTE,
        subject: Subject::NONE,
        sub: None,
        causation: [0; 16],
        origin: 0,
        payload: payload.into(),
    }
}

/// A record of a sub-stream: its first, under this name, or the next.
pub fn sub_note(sub: SubStreamId, open: Option<&str>, payload: impl Into<Bytes>) -> NewRecord {
    let sub = match open {
        Some(text) => Sub::Open(sub, name(text)),
        None => Sub::Next(sub),
    };
    NewRecord {
        sub: Some(sub),
        ..note(payload)
    }
}

/// Records for the stream of this name, without conditions.
pub fn part(stream: &str, records: Vec<NewRecord>) -> Part {
    Part {
        stream: Target::Name(name(stream)),
        expect: Vec::new(),
        records,
    }
}

/// Appends one record and waits until it is durable.
pub async fn append(log: &Log, stream: &str, payload: &str) -> Result<Appended, AppendError> {
    let append = Append::of(vec![part(stream, vec![note(payload.to_owned())])]);
    log.append(append).await?.await
}

/// Small bounds, so that tests reach them.
pub fn small_limits() -> Limits {
    Limits {
        segment_bytes: 64 << 10,
        commit_bytes_max: 16 << 10,
        payload_bytes_max: 64 << 10,
        inline_bytes_max: 8 << 10,
        tail_bytes_max: 16 << 10,
        checkpoint_interval_ms: 5,
        watermark_interval_ms: 5,
        ..Limits::default()
    }
}

/// A log on this disk with the test view.
pub fn options(disk: Arc<dyn Disk>, view_store: Arc<dyn OpenViewStore>, seed: u64) -> Options {
    Options {
        disk,
        view_store,
        env: Arc::new(SeededEnv::new(seed)),
        limits: small_limits(),
        views: vec![Arc::new(Lines)],
        ..Options::in_memory()
    }
}

/// All records of a stream, read page by page.
pub async fn read_all(log: &Log, stream: StreamId) -> Vec<Record> {
    let mut records = Vec::new();
    loop {
        let page = log.read(stream, records.len() as u64 + 1, 1_000).await.expect("read");
        if page.is_empty() {
            return records;
        }
        records.extend(page);
    }
}

/// Payloads as text.
pub fn texts(records: &[Record]) -> Vec<String> {
    records
        .iter()
        .map(|record| String::from_utf8_lossy(&record.payload).into_owned())
        .collect()
}

/// A view that keeps every payload as a row of its own, and an index row with the stream's count.
pub struct Lines;

/// Its fold.
#[derive(Default)]
pub struct LinesFold {
    /// Position -> payload.
    pub lines: BTreeMap<u64, String>,
    written: u64,
    name: Vec<u8>,
}

impl View for Lines {
    fn id(&self) -> ViewId {
        ViewId(1)
    }
    fn name(&self) -> &'static str {
        "lines"
    }
    fn version(&self) -> u32 {
        1
    }
    fn folds(&self, kind: Kind) -> bool {
        kind == NOTE || kind == PANIC
    }
    fn empty(&self, _: StreamId, name: &Name) -> Box<dyn Fold> {
        Box::new(LinesFold {
            name: name.name().into(),
            ..LinesFold::default()
        })
    }
    fn load(&self, stream: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let _ = stream;
        let mut fold = LinesFold {
            name: name.name().into(),
            ..LinesFold::default()
        };
        for row in rows {
            let position = u64::from_be_bytes(row.key.try_into().map_err(|_| "a malformed key")?);
            fold.lines.insert(
                position,
                String::from_utf8_lossy(&row.value.unwrap_or_default()).into_owned(),
            );
            fold.written = fold.written.max(position);
        }
        Ok(Box::new(fold))
    }
}

impl Fold for LinesFold {
    fn apply(&mut self, record: &Record, index: &mut dyn IndexRows) {
        assert!(record.kind != PANIC, "asked to");
        let replaced = self
            .lines
            .insert(record.position, String::from_utf8_lossy(&record.payload).into_owned());
        assert_eq!(replaced, None, "each record is taken in once");
        // The row moves: the old place is removed, as lists sorted by time do.
        let key = |count: usize| [&self.name[..], b"/", &(count as u32).to_be_bytes()].concat();
        index.delete(key(self.lines.len() - 1));
        index.put(key(self.lines.len()), record.payload.to_vec());
    }
    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        for (position, text) in self.lines.range(self.written + 1..) {
            rows(Row {
                key: position.to_be_bytes().to_vec(),
                value: Some(text.clone().into_bytes()),
            });
        }
        self.written = self.lines.last_key_value().map_or(0, |(position, _)| *position);
    }
    fn index_rows(&self, index: &mut dyn IndexRows) {
        if let Some((_, text)) = self.lines.last_key_value() {
            index.put(
                [&self.name[..], b"/", &(self.lines.len() as u32).to_be_bytes()].concat(),
                text.clone().into_bytes(),
            );
        }
    }
    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        for (position, text) in &self.lines {
            rows(Row {
                key: position.to_be_bytes().to_vec(),
                value: Some(text.clone().into_bytes()),
            });
        }
    }
}
