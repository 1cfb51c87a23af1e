//! What the contract's functions share: short ways to append, a view, and everything that a log shows.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::append::{Append, Appended, Expect, NewRecord, Part, Sub, Target};
use crate::error::AppendError;
use crate::handle::Log;
use crate::record::{Kind, Name, Record, StreamId, SubStreamId, Subject};
use crate::verbs::{CommitFilter, ListedStream, StreamOrder, StreamQuery};
use crate::view::{Fold, IndexRows, Row, View, ViewId};
use crate::view_store::Entry;

/// What the contract appends.
pub(super) const NOTE: Kind = Kind(16);
/// On this one the view panics.
pub(super) const PANIC: Kind = Kind(17);
/// The view does not look at these.
pub(super) const OTHER: Kind = Kind(18);
/// The view.
pub(super) const TEXTS: ViewId = ViewId(1);

pub(super) fn name(text: &str) -> Name {
    Name::new("", text).expect("a valid name")
}

pub(super) fn named(text: &str) -> Target {
    Target::Name(name(text))
}

pub(super) fn note(text: &str) -> NewRecord {
    NewRecord {
        kind: NOTE,
        subject: Subject::NONE,
        sub: None,
        causation: [0; 16],
        origin: 0,
        payload: Bytes::copy_from_slice(text.as_bytes()),
    }
}

pub(super) fn about(subject: Subject, text: &str) -> NewRecord {
    NewRecord { subject, ..note(text) }
}

pub(super) fn of_sub(sub: Sub, text: &str) -> NewRecord {
    NewRecord {
        sub: Some(sub),
        ..note(text)
    }
}

pub(super) fn part(stream: Target, records: Vec<NewRecord>) -> Part {
    Part {
        stream,
        expect: Vec::new(),
        records,
    }
}

pub(super) async fn append(log: &Log, append: Append) -> Result<Appended, AppendError> {
    log.append(append).await?.await
}

/// Appends to one stream under conditions.
pub(super) async fn put(
    log: &Log,
    stream: Target,
    expect: Vec<Expect>,
    records: Vec<NewRecord>,
) -> Result<Appended, AppendError> {
    let part = Part {
        stream,
        expect,
        records,
    };
    append(log, Append::of(vec![part])).await
}

/// Appends texts, each by itself, and tells the stream.
pub(super) async fn notes(log: &Log, stream: &str, texts: &[&str]) -> StreamId {
    let mut id = None;
    for text in texts {
        let appended = put(log, named(stream), Vec::new(), vec![note(text)]).await;
        id = Some(appended.expect("an append").parts[0].stream);
    }
    id.expect("at least one text")
}

pub(super) fn texts(records: &[Record]) -> Vec<String> {
    let text = |record: &Record| String::from_utf8_lossy(&record.payload).into_owned();
    records.iter().map(text).collect()
}

/// All records of a stream that are left.
pub(super) async fn all(log: &Log, stream: StreamId) -> Vec<Record> {
    let mut next = log.oldest(stream).await.expect("a stream");
    let mut records: Vec<Record> = Vec::new();
    loop {
        let page = log.read(stream, next, usize::MAX).await.expect("a page");
        let Some(last) = page.last() else { return records };
        next = last.position + 1;
        records.extend(page);
    }
}

/// The view's texts of a stream.
pub(super) async fn shown(log: &Log, stream: StreamId) -> Vec<String> {
    let shown = log.view(stream, TEXTS, |fold: &TextsFold| fold.texts());
    shown.await.expect("a view")
}

/// The same at a position.
pub(super) async fn shown_at(log: &Log, stream: StreamId, position: u64) -> Vec<String> {
    let shown = log.view_at(stream, TEXTS, position, |fold: &TextsFold| fold.texts());
    shown.await.expect("a view of the past")
}

/// The view's index row of a stream's name.
pub(super) async fn indexed(log: &Log, stream: &str) -> Option<String> {
    let rows = log.index(TEXTS, stream.as_bytes(), None, 10).await.expect("index rows");
    let row = rows
        .into_iter()
        .find(|(key, _)| key.starts_with(&[stream.as_bytes(), b"/"].concat()));
    row.map(|(_, value)| String::from_utf8_lossy(&value).into_owned())
}

/// Everything that a log shows of its live streams.
#[derive(Debug, PartialEq)]
pub struct Contents {
    store: [u8; 16],
    last_commit: u64,
    streams: Vec<ListedStream>,
    by_activity: Vec<ListedStream>,
    records: Vec<Vec<Record>>,
    commits: Vec<(u64, u32, StreamId, u64)>,
    views: Vec<Option<Vec<String>>>,
    index: Vec<Entry>,
    subs: Vec<(SubStreamId, u64, u64, u64)>,
}

impl Contents {
    /// The first thing in which another log shows something else.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let names = self.streams.iter().map(|listed| &listed.name);
        let streams = names.zip(self.records.iter().zip(&self.views));
        let of_stream = streams.zip(other.records.iter().zip(&other.views));
        let differs = of_stream.into_iter().find(|((_, mine), theirs)| mine != theirs);
        match differs {
            _ if self.store != other.store => Some("another store".to_owned()),
            _ if self.last_commit != other.last_commit => Some("another last commit".to_owned()),
            _ if self.streams != other.streams => Some(format!("{:?} and {:?}", self.streams, other.streams)),
            _ if self.by_activity != other.by_activity => Some("another order by activity".to_owned()),
            Some(((name, mine), theirs)) => Some(format!("{name:?}: {mine:?} and {theirs:?}")),
            _ if self.commits != other.commits => Some(format!("{:?} and {:?}", self.commits, other.commits)),
            _ if self.index != other.index => Some(format!("{:?} and {:?}", self.index, other.index)),
            _ if self.subs != other.subs => Some(format!("{:?} and {:?}", self.subs, other.subs)),
            _ => None,
        }
    }
}

/// Reads all of it.
pub async fn contents(log: &Log) -> Contents {
    let list = |order| StreamQuery {
        order,
        limit: usize::MAX,
        ..StreamQuery::default()
    };
    let by_activity = log.list(list(StreamOrder::LastActivity)).await.expect("a list");
    let mut streams = by_activity.clone();
    streams.sort_by(|one, other| one.name.cmp(&other.name));
    let (mut records, mut views, mut subs) = (Vec::new(), Vec::new(), Vec::new());
    for stream in &streams {
        let of_stream = all(log, stream.stream).await;
        for record in &of_stream {
            if let (Some((sub, _)), Some(sub_name)) = (record.sub, &record.extras.sub_stream)
                // What a fork shares with its parent is not its own.
                && let Ok(info) = log.sub_stream_info(stream.stream, sub).await
            {
                assert_eq!(log.sub_stream(sub_name).await.expect("a look"), Some(info));
                subs.push((sub, info.first, info.last, info.count));
            }
        }
        let shown = log.view(stream.stream, TEXTS, |fold: &TextsFold| fold.texts());
        views.push(shown.await.ok());
        records.push(of_stream);
    }
    let mut commits = Vec::new();
    let mut cursor = log.commits_start();
    loop {
        let page = log
            .commits(cursor, &CommitFilter::default(), usize::MAX)
            .await
            .expect("a page");
        // Those of deleted streams, and those that were trimmed, may go at any time.
        let left = |record: &&Record| {
            let of_stream = streams
                .iter()
                .zip(&records)
                .find(|(listed, _)| listed.stream == record.stream);
            let oldest = of_stream.and_then(|(_, left): (_, &Vec<Record>)| left.first());
            oldest.is_some_and(|oldest| record.position >= oldest.position)
        };
        let live = page.records.iter().filter(left);
        commits.extend(live.map(|record| (record.commit, record.index, record.stream, record.position)));
        cursor = page.next;
        if page.at_tip {
            break;
        }
    }
    Contents {
        store: log.commits_start().store,
        last_commit: log.last_commit(),
        index: log.index(TEXTS, b"", None, usize::MAX).await.expect("index rows"),
        streams,
        by_activity,
        records,
        commits,
        views,
        subs,
    }
}

/// A view that keeps every text as a row, and an index row with the stream's name, the count of texts and the last one.
pub(super) struct Texts;

#[derive(Default)]
pub(super) struct TextsFold {
    texts: BTreeMap<u64, String>,
    written: u64,
    name: Vec<u8>,
}

impl TextsFold {
    fn texts(&self) -> Vec<String> {
        self.texts.values().cloned().collect()
    }

    fn key(&self, count: usize) -> Vec<u8> {
        [&self.name[..], b"/", &(count as u32).to_be_bytes()].concat()
    }
}

impl View for Texts {
    fn id(&self) -> ViewId {
        TEXTS
    }

    fn name(&self) -> &'static str {
        "texts"
    }

    fn version(&self) -> u32 {
        1
    }

    fn folds(&self, kind: Kind) -> bool {
        kind == NOTE || kind == PANIC
    }

    fn empty(&self, _: StreamId, name: &Name) -> Box<dyn Fold> {
        Box::new(TextsFold {
            name: name.name().into(),
            ..TextsFold::default()
        })
    }

    fn load(&self, _: StreamId, name: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let mut fold = TextsFold {
            name: name.name().into(),
            ..TextsFold::default()
        };
        for row in rows {
            let position = u64::from_be_bytes(row.key.try_into().map_err(|_| "a malformed key")?);
            let text = String::from_utf8(row.value.unwrap_or_default()).map_err(|error| error.to_string())?;
            fold.texts.insert(position, text);
            fold.written = fold.written.max(position);
        }
        Ok(Box::new(fold))
    }
}

impl Fold for TextsFold {
    fn apply(&mut self, record: &Record, index: &mut dyn IndexRows) {
        assert!(record.kind != PANIC, "asked to");
        let text = String::from_utf8_lossy(&record.payload).into_owned();
        let replaced = self.texts.insert(record.position, text);
        assert_eq!(replaced, None, "each record is taken in once");
        index.delete(self.key(self.texts.len() - 1));
        index.put(self.key(self.texts.len()), record.payload.to_vec());
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        for (position, text) in self.texts.range(self.written + 1..) {
            rows(Row {
                key: position.to_be_bytes().to_vec(),
                value: Some(text.clone().into_bytes()),
            });
        }
        self.written = self.texts.last_key_value().map_or(0, |(position, _)| *position);
    }

    fn index_rows(&self, index: &mut dyn IndexRows) {
        if let Some((_, text)) = self.texts.last_key_value() {
            index.put(self.key(self.texts.len()), text.clone().into_bytes());
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        for (position, text) in &self.texts {
            rows(Row {
                key: position.to_be_bytes().to_vec(),
                value: Some(text.clone().into_bytes()),
            });
        }
    }
}
