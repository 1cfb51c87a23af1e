//! What is seen of an answer on its way to the decoder: the ids of calls of tools as the calls open, which the decoder tells only
//! when they are whole. What it is not told: the trace that the call is part of. And what it must not see, since it traces it: keys in what a provider says of its failure.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use futures_util::StreamExt;
use parking_lot::Mutex;
use reqwest::header::HeaderValue;
use rig_core::driver::{Exchange, Opening, Transport};
use rig_core::http_client::DynHttpClient;
use rig_core::wire::{Encoded, Wire, WireFrame};
use serde_json::Value;

use super::super::Protocol;
use super::secrets::Secrets;
use crate::trace::TraceParent;

/// Ids of calls that opened and were not asked for yet, oldest first.
pub(super) struct Seen {
    protocol: Protocol,
    ids: Mutex<(VecDeque<String>, HashSet<String>)>,
    /// The header that the call is sent with.
    trace: Option<HeaderValue>,
}

impl Seen {
    pub(super) fn new(protocol: Protocol, trace: Option<TraceParent>) -> Self {
        Self {
            trace: trace.and_then(|trace| HeaderValue::try_from(trace.to_string()).ok()),
            protocol,
            ids: Mutex::default(),
        }
    }

    /// The id of the next call that opened.
    pub(super) fn next_call(&self) -> Option<String> {
        self.ids.lock().0.pop_front()
    }

    fn look(&self, frame: &str) {
        let (mark, places): (_, &[&str]) = match self.protocol {
            Protocol::OpenAiResponses => ("response.output_item.added", &["/item/call_id"]),
            Protocol::OpenAiChat => ("\"tool_calls\"", &["/choices/0/delta/tool_calls"]),
            Protocol::Anthropic => ("\"tool_use\"", &["/content_block/id"]),
            // Google's calls come whole.
            Protocol::Google => return,
        };
        if !frame.contains(mark) {
            return;
        }
        let Ok(frame) = serde_json::from_str::<Value>(frame) else {
            return;
        };
        for found in places.iter().filter_map(|place| frame.pointer(place)) {
            match found {
                Value::Array(calls) => calls.iter().for_each(|call| self.keep(call.get("id"))),
                id => self.keep(Some(id)),
            }
        }
    }

    fn keep(&self, id: Option<&Value>) {
        let Some(id) = id.and_then(Value::as_str).filter(|id| !id.is_empty()) else {
            return;
        };
        let (open, known) = &mut *self.ids.lock();
        if known.insert(id.to_owned()) {
            open.push_back(id.to_owned());
        }
    }
}

/// The transport, watched.
#[derive(Clone)]
pub(super) struct Watched {
    http: DynHttpClient,
    seen: Arc<Seen>,
    secrets: Secrets,
}

impl Watched {
    pub(super) fn new(http: DynHttpClient, seen: Arc<Seen>, secrets: Secrets) -> Self {
        Self { http, seen, secrets }
    }
}

impl<W: Wire<Payload = Encoded, Frame = WireFrame>> Transport<W> for Watched {
    #[allow(clippy::result_large_err, reason = "the error is the adapter's")]
    fn send(&self, mut payload: Encoded, exchange: Exchange) -> Opening<WireFrame> {
        if let Some(trace) = &self.seen.trace {
            payload.request.headers_mut().insert("traceparent", trace.clone());
        }
        let opening = Transport::<W>::send(&self.http, payload, exchange);
        let (seen, secrets) = (self.seen.clone(), self.secrets.clone());
        Opening::new(async move {
            Ok(opening.await?.map_frames(|frames| {
                frames.map(move |frame| {
                    let frame = frame?;
                    let text = frame.as_str();
                    seen.look(&text);
                    // In an answer itself it is the model's word, and stays.
                    if secrets.are_in(&text) && is_failure(&text) {
                        return Ok(WireFrame::Text(secrets.redact(&text)));
                    }
                    Ok(frame)
                })
            }))
        })
    }
}

/// Whether this is no piece of an answer, as far as one can tell: a failure, something unknown, or nothing that can be read.
fn is_failure(frame: &str) -> bool {
    let Ok(frame) = serde_json::from_str::<Value>(frame) else {
        return true;
    };
    match frame.get("type").and_then(Value::as_str) {
        Some(kind) if kind.starts_with("response.") => kind == "response.failed",
        Some(kind) => !kind.starts_with("content_block_"),
        None => frame.get("error").is_some_and(|error| !error.is_null()) || !is_chunk(&frame),
    }
}

fn is_chunk(frame: &Value) -> bool {
    frame.get("choices").is_some() || frame.get("candidates").is_some()
}
