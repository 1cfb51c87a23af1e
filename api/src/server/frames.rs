//! From records to what clients are sent: which of them a client may see, and the bytes of their events. Streams, resumed, replayed and live
//! ones alike, and answers to polls are made here; bytes that records refer to are read from the log when the record is sent.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::sync::Arc;
use std::vec;

use bytes::BytesMut;
use flowstate_engine::item::item_id;
use flowstate_engine::record::{self, ContentDelta, DecodeError, Fact};
use flowstate_engine::{Engine, Media, QueryError, RequestRef};
use flowstate_log::error::ReadError;
use flowstate_log::record::{Record, StreamId, SubStreamId};

use super::traces::Traces;
use crate::wire::delta::{Names, StoredDelta};
use crate::wire::event::{Event, FrameId, StopNames, Whose};

/// So many encoded bytes are sent before more are made: a record can stand for much more than it has.
pub(crate) const SENT_BYTES: usize = 1 << 20;
/// What a frame takes besides its record's payload, about.
const FRAME_BYTES: usize = 256;

#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("an event can't be encoded: {0}")]
    Encode(#[from] io::Error),
}

/// How far a page of records was encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The page has more.
    More,
    /// More may come.
    Open,
    /// Nothing comes after it.
    Terminal,
}

/// Whose records they are.
#[derive(Debug, Clone)]
pub(crate) enum Scope {
    /// Of one request. A frame's id is the request's and the number of its record.
    Request,
    /// Of a session with this id, all its requests. A frame's id is the session's and the position of its record.
    Session(Arc<str>),
}

/// What events are made as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Frames of `text/event-stream`.
    Sse,
    /// Elements of a JSON array, with a comma before each.
    Json,
}

/// What the server's settings, and the caller, say about events.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    /// What clients don't see is sent too.
    pub(crate) trace: bool,
    pub(crate) names: StopNames,
}

/// What is known of a request whose events are sent.
struct Known {
    request: Arc<str>,
    /// Its id, and what the ids of its items begin with, as JSON.
    names: (String, String),
    /// Items that clients may not see; what their content says is not sent either.
    hidden: BTreeSet<u32>,
    media: Media,
    /// Its first record is at this position.
    first: u64,
    /// What its execution records came to, for whoever looks at traces.
    traces: Option<Box<Traces>>,
}

/// Turns records of one stream, in order, into events.
pub(crate) struct Frames {
    engine: Engine,
    stream: StreamId,
    scope: Scope,
    form: Form,
    shown: Shown,
    known: HashMap<SubStreamId, Known>,
    /// Of the session, once an event has told it.
    session: Option<String>,
    /// Where the last record was that is encoded, or left out.
    last: Option<(Arc<str>, u64)>,
    pub(crate) bytes: BytesMut,
}

impl Frames {
    pub(crate) fn new(engine: Engine, stream: StreamId, scope: Scope, form: Form, shown: Shown) -> Self {
        Self {
            engine,
            stream,
            scope,
            form,
            shown,
            known: HashMap::new(),
            session: None,
            last: None,
            bytes: BytesMut::new(),
        }
    }

    /// Says what is known of a request. `after` is the number of the last of its records that its reader has.
    pub(crate) async fn know(&mut self, request: &RequestRef, after: u64) -> Result<(), QueryError> {
        // From the start on, every item is seen being added.
        let is_whole = self.engine.log().oldest(request.sub.stream).await? <= request.sub.first;
        let hidden = match after {
            0 if is_whole => BTreeSet::new(),
            _ => self.engine.hidden_items(request).await?,
        };
        let known = Known {
            request: request.row.request.as_str().into(),
            names: names(&request.row.request, request.sub.id),
            hidden,
            media: self.engine.media(&request.sub),
            first: request.sub.first,
            traces: self.shown.trace.then(|| {
                let action = format!("{}/{}", request.row.flow, request.row.action);
                Box::new(Traces::new(request.sub.id, request.row.request.as_str().into(), action))
            }),
        };
        self.known.insert(request.sub.id, known);
        Ok(())
    }

    /// The id by which a client goes on behind everything that was encoded or left out.
    pub(crate) fn last(&self) -> Option<FrameId<'_>> {
        let (of, number) = self.last.as_ref()?;
        Some(FrameId { of, number: *number })
    }

    /// Encodes records of a page until that is much, or the page or the request is at its end.
    pub(crate) async fn push(&mut self, page: &mut vec::IntoIter<Record>) -> Result<End, StreamError> {
        let payload: usize = page.as_slice().iter().map(|record| record.payload.len()).sum();
        self.bytes.reserve((payload + page.len() * FRAME_BYTES).min(SENT_BYTES));
        for record in page {
            let Some((sub, number)) = record.sub else {
                if let Scope::Session(session) = &self.scope {
                    self.last = Some((session.clone(), record.position));
                }
                continue; // of the session, not of a request
            };
            if self.copied(&record, sub, number) {
                if self.bytes.len() >= SENT_BYTES {
                    return Ok(End::More);
                }
                continue;
            }
            let fact = record::decode(&record)?;
            let is_last = fact.is_terminal();
            if !self.known.contains_key(&sub) {
                let Some(request) = self.engine.request_in(self.stream, sub).await? else {
                    continue;
                };
                self.know(&request, number - 1).await?;
            }
            self.encode(&record, (sub, number), fact, true).await?;
            match (is_last, &self.scope) {
                (true, Scope::Request) => return Ok(End::Terminal),
                (true, Scope::Session(_)) => drop(self.known.remove(&sub)),
                (false, _) => {}
            }
            if self.bytes.len() >= SENT_BYTES {
                return Ok(End::More);
            }
        }
        Ok(End::Open)
    }

    /// Encodes a piece of text without reading it; `false` if the record is none, or not as it is written here.
    fn copied(&mut self, record: &Record, sub: SubStreamId, number: u64) -> bool {
        if record.kind != ContentDelta::KIND || self.form != Form::Sse {
            return false;
        }
        let Some(known) = self.known.get_mut(&sub) else {
            return false;
        };
        let Some(delta) = StoredDelta::read(&record.payload) else {
            return false;
        };
        let (of, at) = match &self.scope {
            Scope::Request => (&known.request, number),
            Scope::Session(session) => (session, record.position),
        };
        if self.shown.trace || !known.hidden.contains(&delta.item) {
            let names = Names {
                request: &known.names.0,
                item: &known.names.1,
            };
            let id = FrameId { of, number: at };
            delta.frame(id, names, number, record.time_us / 1_000, &mut self.bytes);
        }
        if let Some(traces) = &mut known.traces {
            traces.pass(number);
        }
        self.last = Some((of.clone(), at));
        true
    }

    /// Encodes facts that a session's records come to. Their frames have no ids: who has not all of them begins anew.
    pub(crate) async fn fold(&mut self, facts: Vec<(Record, Fact)>) -> Result<(), StreamError> {
        for (record, fact) in facts {
            let Some(of) = record.sub else { continue };
            if !self.known.contains_key(&of.0) {
                let Some(request) = self.engine.request_in(self.stream, of.0).await? else {
                    continue;
                };
                // What was open when the session was folded may have ended since, and goes on behind it.
                self.know(&request, request.sub.count).await?;
            }
            self.encode(&record, of, fact, false).await?;
        }
        Ok(())
    }

    /// A frame that has an id and nothing else: from here on records follow.
    pub(crate) fn mark(&mut self, session: Arc<str>, position: u64) {
        let id = FrameId {
            of: &session,
            number: position,
        };
        self.bytes.extend_from_slice(format!("id: {id}\n\n").as_bytes());
        self.last = Some((session, position));
    }

    async fn encode(
        &mut self,
        record: &Record,
        (sub, number): (SubStreamId, u64),
        mut fact: Fact,
        is_resumable: bool,
    ) -> Result<(), StreamError> {
        let Some(known) = self.known.get_mut(&sub) else {
            return Ok(());
        };
        let traced = match &mut known.traces {
            // What a session comes to is items only.
            Some(traces) if is_resumable => {
                let log = self.engine.log();
                traces.catch_up(log, record, known.first, number - 1).await?;
                traces.take(number, record, &fact)
            }
            _ => None,
        };
        let (of, at) = match &self.scope {
            Scope::Request => (known.request.clone(), number),
            Scope::Session(session) => (session.clone(), record.position),
        };
        if known.is_shown(&fact) || self.shown.trace {
            known.media.fill(number, &mut fact).await?;
            if matches!(fact, Fact::SessionDescribed(_)) && self.session.is_none() {
                self.session = self.engine.session_id(self.stream).await?;
            }
            let whose = Whose {
                request: &known.request,
                sub,
                session: self.session.as_deref().unwrap_or_default(),
                names: self.shown.names,
            };
            if let Some(event) = traced.or_else(|| Event::of(fact, record, &whose)) {
                let id = FrameId { of: &of, number: at };
                let (own, ts) = (
                    FrameId {
                        of: &known.request,
                        number,
                    },
                    record.time_us / 1_000,
                );
                match self.form {
                    Form::Sse => event.frame(is_resumable.then_some(id), own, ts, &mut self.bytes)?,
                    Form::Json => {
                        self.bytes.extend_from_slice(b",");
                        event.json(id, own, ts, &mut self.bytes)?;
                    }
                }
            }
        }
        if is_resumable {
            self.last = Some((of, at));
        }
        Ok(())
    }
}

/// A request's id, and what the ids of its items begin with: JSON strings, the latter without its end.
fn names(request: &str, sub: SubStreamId) -> (String, String) {
    let id = serde_json::Value::from(request).to_string();
    let item = item_id(sub, 0);
    (id, format!("\"{}", item.strip_suffix('0').unwrap_or(&item)))
}

impl Known {
    /// Whether clients may see a fact; remembers the hidden items that it introduces.
    fn is_shown(&mut self, fact: &Fact) -> bool {
        match fact {
            Fact::ItemAdded(added) if !added.item.visibility.client => {
                self.hidden.insert(added.item.index);
                false
            }
            Fact::ItemCompleted(completed) => completed.item.visibility.client,
            Fact::ContentAdded(content) => !self.hidden.contains(&content.item),
            Fact::ContentDelta(content) => !self.hidden.contains(&content.item),
            Fact::ContentDone(content) => !self.hidden.contains(&content.item),
            Fact::ItemAdded(_)
            | Fact::SessionCreated(_)
            | Fact::SessionDescribed(_)
            | Fact::RequestAccepted(_)
            | Fact::RequestStarted(_)
            | Fact::RequestResumed(_)
            | Fact::StateChanged(_)
            | Fact::StateNoted(_)
            | Fact::ModelCalled(_)
            | Fact::ModelReplied(_)
            | Fact::ModelFailed(_)
            | Fact::ToolReturned(_)
            | Fact::RequestCompleted(_)
            | Fact::RequestFailed(_)
            | Fact::RequestInterrupted(_)
            | Fact::BlockStarted(_)
            | Fact::BlockEnded(_)
            | Fact::RouteChosen(_)
            | Fact::CancelRequested(_)
            | Fact::InstanceStateChanged(_)
            | Fact::ResourceCreated(_)
            | Fact::ResourceChanged(_)
            | Fact::ResourceWritten(_)
            | Fact::ResourceDeleted(_)
            | Fact::ResourceAccessed(_)
            | Fact::ResourceNoted(_)
            | Fact::MediaStored(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use flowstate_engine::item::{ItemBody, ItemStatus, Role, Visibility};
    use flowstate_engine::record::{ContentDelta, ItemAdded, ItemCompleted, ItemRecord, ModelCalled, RequestCompleted};
    use flowstate_log::record::{Extras, Kind, StreamId, Subject};
    use flowstate_log::{Options, SubStreamInfo};
    use serde::Serialize;

    use super::*;

    const SUB: SubStreamId = SubStreamId([7; 16]);

    fn record(number: u64, kind: Kind, payload: impl Serialize) -> Record {
        Record {
            stream: StreamId([1; 16]),
            position: number,
            sub: Some((SUB, number)),
            subject: Subject::NONE,
            kind,
            commit: number,
            index: 0,
            time_us: 5_000_999,
            causation: SUB.0,
            origin: 0,
            extras: Extras::default(),
            erased: false,
            payload: serde_json::to_vec(&payload).unwrap().into(),
        }
    }

    fn item(index: u32, client: bool) -> ItemRecord {
        ItemRecord {
            index,
            ts_ms: 1,
            status: ItemStatus::InProgress,
            provenance: Default::default(),
            visibility: Visibility { client, history: true },
            transient: false,
            owned_by: None,
            body: ItemBody::Message {
                role: Role::Assistant,
                content: Vec::new(),
            },
        }
    }

    /// Two items whose records alternate; item 1 is hidden.
    fn records() -> Vec<Record> {
        let delta = |item| ContentDelta {
            item,
            part: 0,
            delta: "x".to_owned(),
        };
        vec![
            record(1, ItemAdded::KIND, ItemAdded { item: item(0, true) }),
            record(2, ItemAdded::KIND, ItemAdded { item: item(1, false) }),
            record(3, ModelCalled::KIND, ModelCalled::default()),
            record(4, ContentDelta::KIND, delta(1)),
            record(5, ContentDelta::KIND, delta(0)),
            record(6, ItemCompleted::KIND, ItemCompleted { item: item(1, false) }),
            record(7, ItemCompleted::KIND, ItemCompleted { item: item(0, true) }),
            record(8, RequestCompleted::KIND, RequestCompleted::default()),
            record(9, ContentDelta::KIND, delta(0)),
        ]
    }

    fn ids(frames: &BytesMut) -> Vec<String> {
        let text = str::from_utf8(frames).unwrap();
        let ids = text.lines().filter_map(|line| line.strip_prefix("id: r:"));
        ids.map(str::to_owned).collect()
    }

    async fn frames(hidden: BTreeSet<u32>) -> Frames {
        let engine = Engine::builder().open(Options::in_memory()).await.unwrap();
        let request = SubStreamInfo {
            stream: StreamId([1; 16]),
            id: SUB,
            first: 1,
            last: 9,
            count: 9,
        };
        let shown = Shown {
            trace: false,
            names: StopNames::One,
        };
        let media = engine.media(&request);
        let mut frames = Frames::new(engine, request.stream, Scope::Request, Form::Sse, shown);
        let known = Known {
            request: "r".into(),
            names: names("r", SUB),
            hidden,
            media,
            first: 1,
            traces: None,
        };
        frames.known.insert(SUB, known);
        frames
    }

    #[tokio::test]
    async fn hidden_items_and_their_content_are_left_out_and_nothing_follows_the_end() {
        let mut frames = frames(BTreeSet::new()).await;
        assert_eq!(frames.push(&mut records().into_iter()).await.unwrap(), End::Terminal);
        assert_eq!(ids(&frames.bytes), ["1", "5", "7", "8"]);
    }

    #[tokio::test]
    async fn content_of_a_hidden_item_stays_hidden_when_resumed_in_its_middle() {
        let mut frames = frames(BTreeSet::from([1])).await;
        let mut page = records()[3..7].to_vec().into_iter();
        assert_eq!(frames.push(&mut page).await.unwrap(), End::Open);
        assert_eq!(ids(&frames.bytes), ["5", "7"]);
    }

    #[tokio::test]
    async fn what_is_encoded_is_sent_before_it_is_much() {
        let mut frames = frames(BTreeSet::new()).await;
        let delta = ContentDelta {
            item: 0,
            part: 0,
            delta: "x".repeat(SENT_BYTES / 2),
        };
        let records: Vec<_> = (1..=5)
            .map(|number| record(number, ContentDelta::KIND, &delta))
            .collect();
        let (mut page, mut sent) = (records.into_iter(), Vec::new());
        loop {
            let end = frames.push(&mut page).await.unwrap();
            sent.push(ids(&frames.bytes.split()));
            if end == End::Open {
                break;
            }
        }
        assert_eq!(sent, [vec!["1", "2"], vec!["3", "4"], vec!["5"]]);
    }

    #[tokio::test]
    async fn a_record_without_meaning_ends_the_stream_after_what_came_before() {
        let mut records = records();
        records[4].kind = Kind(999);
        let mut frames = frames(BTreeSet::new()).await;
        let end = frames.push(&mut records.into_iter()).await;
        assert!(matches!(end, Err(StreamError::Decode(_))));
        assert_eq!(ids(&frames.bytes), ["1"]);
    }
}
