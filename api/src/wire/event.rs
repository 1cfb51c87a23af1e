//! Events: what a request's records look like to a client, and the bytes of an SSE frame.
//! Which records a client may see, and when a stream ends, is in `server/sse`.

use std::fmt;
use std::io::{self, Write};

use bytes::{BufMut, BytesMut};
use flowstate_engine::item::{self, item_id};
use flowstate_engine::record::{ContentDelta, Fact, SessionDescribed};
use flowstate_log::record::{Record, SubStreamId};
use serde::{Serialize, Serializer};

use super::item::{Content, Item};
use super::trace::{Asked, TraceItem};

/// Whose event it is, and how it is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Whose<'a> {
    pub(crate) request: &'a str,
    pub(crate) sub: SubStreamId,
    pub(crate) session: &'a str,
    pub(crate) names: StopNames,
}

/// What the end of a request is called that was stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum StopNames {
    /// `request.incomplete`, which every client ends on.
    #[default]
    One,
    /// `request.aborted` if somebody asked for it, `request.interrupted` if nobody did: for later clients.
    Two,
}

/// What an event tells.
#[derive(Debug)]
pub(crate) struct Event {
    name: &'static str,
    fields: Fields,
}

/// What an event has besides the envelope.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Fields {
    Status {
        status: &'static str,
    },
    Item {
        item: Box<Item>,
    },
    Content {
        item_id: String,
        content_index: u32,
        content: Content,
    },
    Delta {
        item_id: String,
        content_index: u32,
        delta: String,
    },
    Trace {
        item: Box<TraceItem>,
    },
    Updated {
        item_id: String,
        patch: Box<Asked>,
    },
    Described {
        session_id: String,
        #[serde(flatten)]
        description: SessionDescribed,
    },
}

impl Event {
    /// An item of a trace exists.
    pub(crate) fn added(item: TraceItem) -> Self {
        Self::of_trace("item.added", item)
    }

    /// An item of a trace is final.
    pub(crate) fn done(item: TraceItem) -> Self {
        Self::of_trace("item.done", item)
    }

    fn of_trace(name: &'static str, item: TraceItem) -> Self {
        let item = Box::new(item);
        Self {
            name,
            fields: Fields::Trace { item },
        }
    }

    /// These fields of an item of a trace are others now; its `item.done` has them too.
    pub(crate) fn updated(item_id: String, patch: Asked) -> Self {
        let patch = Box::new(patch);
        Self {
            name: "item.updated",
            fields: Fields::Updated { item_id, patch },
        }
    }

    /// The event that tells of a record of a request, which states `fact`; `None` if clients are told nothing of its kind.
    pub(crate) fn of(fact: Fact, record: &Record, whose: &Whose<'_>) -> Option<Self> {
        let &Whose {
            request,
            sub,
            session,
            names,
        } = whose;
        let status = |name, status| Self {
            name,
            fields: Fields::Status { status },
        };
        let item = |name, record| Self {
            name,
            fields: Fields::Item {
                item: Box::new(item::Item::new(sub, request, record).into()),
            },
        };
        let content = |name, item, part, content: item::ContentPart| Self {
            name,
            fields: Fields::Content {
                item_id: item_id(sub, item),
                content_index: part,
                content: content.into(),
            },
        };
        Some(match fact {
            Fact::RequestAccepted(_) => status("request.created", "in_progress"),
            Fact::RequestStarted(_) => status("request.in_progress", "in_progress"),
            Fact::ItemAdded(added) => item("item.added", added.item),
            Fact::ContentAdded(added) => content("content.added", added.item, added.part, added.content),
            Fact::ContentDelta(more) => Self::of_delta(sub, more),
            Fact::ContentDone(done) => content("content.done", done.item, done.part, done.content),
            Fact::ItemCompleted(completed) => item("item.done", completed.item),
            Fact::RequestCompleted(_) => status("request.completed", "completed"),
            Fact::RequestFailed(_) => status("request.failed", "failed"),
            Fact::RequestInterrupted(stopped) => match names {
                StopNames::One => status("request.incomplete", "incomplete"),
                StopNames::Two if stopped.was_asked_for() => status("request.aborted", "aborted"),
                StopNames::Two => status("request.interrupted", "interrupted"),
            },
            Fact::SessionDescribed(description) => Self {
                name: "session.metadata.changed",
                fields: Fields::Described {
                    session_id: session.to_owned(),
                    description,
                },
            },
            // Final as it is added, and nothing follows: one record is one event.
            Fact::StateChanged(_)
            | Fact::StateNoted(_)
            | Fact::ResourceCreated(_)
            | Fact::ResourceChanged(_)
            | Fact::ResourceWritten(_)
            | Fact::ResourceDeleted(_)
            | Fact::ResourceNoted(_) => Self {
                name: "item.added",
                fields: Fields::Item {
                    item: Box::new(item::Item::of_change(sub, request, record, &fact)?.into()),
                },
            },
            Fact::SessionCreated(_)
            | Fact::RequestResumed(_)
            | Fact::ModelCalled(_)
            | Fact::ModelReplied(_)
            | Fact::ModelFailed(_)
            | Fact::ToolReturned(_)
            | Fact::BlockStarted(_)
            | Fact::BlockEnded(_)
            | Fact::RouteChosen(_)
            | Fact::CancelRequested(_)
            | Fact::InstanceStateChanged(_)
            | Fact::ResourceAccessed(_)
            | Fact::MediaStored(_) => return None,
        })
    }

    /// More text of a part.
    pub(crate) fn of_delta(sub: SubStreamId, more: ContentDelta) -> Self {
        Self {
            name: "content.delta",
            fields: Fields::Delta {
                item_id: item_id(sub, more.item),
                content_index: more.part,
                delta: more.delta,
            },
        }
    }

    /// Appends the frame of event `number` of `request`, which was recorded at `ts` (milliseconds since the Unix epoch). `id` is what a client
    /// resumes by; without one the frame has none.
    pub(crate) fn frame(
        &self,
        id: Option<FrameId<'_>>,
        of: FrameId<'_>,
        ts: i64,
        frames: &mut BytesMut,
    ) -> io::Result<()> {
        let mut frames = frames.writer();
        if let Some(id) = id {
            writeln!(frames, "id: {id}")?;
        }
        write!(frames, "event: {}\ndata: ", self.name)?;
        // JSON escapes every control character inside strings, so the data is one line whatever a text holds.
        serde_json::to_writer(&mut frames, &self.data(of, ts))?;
        frames.write_all(b"\n\n")
    }

    /// Appends the event as JSON, with the name and the id of its frame.
    pub(crate) fn json(&self, id: FrameId<'_>, of: FrameId<'_>, ts: i64, json: &mut BytesMut) -> io::Result<()> {
        let event = JsonEvent {
            id,
            event: self.name,
            data: self.data(of, ts),
        };
        Ok(serde_json::to_writer(json.writer(), &event)?)
    }

    fn data<'a>(&'a self, of: FrameId<'a>, ts: i64) -> Data<'a> {
        Data {
            stream: "request",
            r#type: self.name,
            request_id: of.of,
            sequence_number: of.number,
            ts,
            id: of,
            fields: &self.fields,
        }
    }
}

/// An event where there are no frames.
#[derive(Serialize)]
struct JsonEvent<'a> {
    id: FrameId<'a>,
    event: &'static str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct Data<'a> {
    stream: &'static str,
    r#type: &'static str,
    #[serde(rename = "requestId")]
    request_id: &'a str,
    sequence_number: u64,
    ts: i64,
    id: FrameId<'a>,
    #[serde(flatten)]
    fields: &'a Fields,
}

/// A frame's id, by which a client resumes: a request and its record's number, or a session and its record's position. Ids hold no control
/// characters, so it can't end its line.
#[derive(Clone, Copy)]
pub(crate) struct FrameId<'a> {
    pub(crate) of: &'a str,
    pub(crate) number: u64,
}

impl fmt::Display for FrameId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.of, self.number)
    }
}

impl Serialize for FrameId<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use flowstate_engine::record::{ChangeItem, ContentDelta, RequestCompleted, ScopeKind, StateChanged, StateNoted};
    use flowstate_log::record::{Extras, Kind, StreamId, Subject};
    use serde_json::{Value, json};

    use super::*;

    fn event(fact: impl Into<Fact>, request: &str) -> Option<Event> {
        let record = Record {
            stream: StreamId([0; 16]),
            position: 40,
            sub: None,
            subject: Subject::NONE,
            kind: Kind(0),
            commit: 90,
            index: 0,
            time_us: 0,
            causation: [0; 16],
            origin: 0,
            extras: Extras::default(),
            erased: false,
            payload: Default::default(),
        };
        let whose = Whose {
            request,
            sub: SubStreamId([0xab; 16]),
            session: "s",
            names: StopNames::One,
        };
        Event::of(fact.into(), &record, &whose)
    }

    fn frame(fact: impl Into<Fact>, request: &str) -> String {
        let event = event(fact, request).unwrap();
        let mut frames = BytesMut::new();
        let id = FrameId { of: request, number: 7 };
        event.frame(Some(id), id, 1_717_171_717_300, &mut frames).unwrap();
        String::from_utf8(frames.to_vec()).unwrap()
    }

    #[test]
    fn a_frame_has_id_event_and_one_line_of_data() {
        assert_eq!(
            frame(RequestCompleted::default(), "req_9"),
            "id: req_9:7\nevent: request.completed\ndata: {\"stream\":\"request\",\"type\":\"request.completed\",\
             \"requestId\":\"req_9\",\"sequence_number\":7,\"ts\":1717171717300,\"id\":\"req_9:7\",\"status\":\"completed\"}\n\n"
        );
    }

    #[test]
    fn no_text_starts_a_line_of_its_own_and_every_text_comes_back() {
        for text in [
            "a\n\nevent: request.completed\ndata: {}\n\n",
            "\r\n\r",
            "\u{2028}\u{85}\0",
            "\"quoted\" \\ 🦀 é",
        ] {
            let delta = ContentDelta {
                item: 3,
                part: 0,
                delta: text.to_owned(),
            };
            let frame = frame(delta, "r:\"1\"");
            let lines: Vec<&str> = frame.split(['\n', '\r']).collect();
            assert_eq!(lines.len(), 5, "{frame:?}");
            assert_eq!(lines[0], "id: r:\"1\":7");
            let data: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
            assert_eq!(data["delta"], text);
            assert_eq!(data["id"], "r:\"1\":7");
            assert_eq!(data["itemId"], json!(item_id(SubStreamId([0xab; 16]), 3)));
            assert_eq!(data["contentIndex"], 0);
        }
    }

    #[test]
    fn a_change_of_a_state_is_told_without_the_state() {
        let item = ChangeItem {
            index: 2,
            delta: Some(json!({"turns": 1})),
            ..ChangeItem::default()
        };
        let told = |frame: String| -> Value {
            let data = frame.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            let data: Value = serde_json::from_str(data).unwrap();
            assert_eq!(data["type"], "item.added");
            let item = &data["item"];
            json!([
                item["type"],
                item["status"],
                item["transient"],
                item["scope"],
                item["operation"],
                item["delta"],
                item["version"]
            ])
        };
        let op = serde_json::from_value(json!({"inc": {"turns": 1, "secret": 7}})).unwrap();
        let changed = StateChanged {
            op,
            item: Some(item.clone()),
            ..StateChanged::default()
        };
        assert_eq!(
            told(frame(changed, "r")),
            json!(["state_change", "completed", true, "session", "increment", {"turns": 1}, 40])
        );
        let noted = StateNoted {
            scope: ScopeKind::User,
            operation: "atomic".into(),
            item,
        };
        assert_eq!(
            told(frame(noted, "r")),
            json!(["state_change", "completed", true, "user", "atomic", {"turns": 1}, 90])
        );
        assert!(
            event(StateChanged::default(), "r").is_none(),
            "older records tell nothing"
        );
    }
}
