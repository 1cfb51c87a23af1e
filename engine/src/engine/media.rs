//! The bytes that parts of items refer to, as clients are shown them: read from the request's records, as base64.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flowstate_log::error::ReadError;
use flowstate_log::{Log, SubStreamInfo};

use super::Engine;
use crate::error::QueryError;
use crate::item::{ContentPart, ItemBody};
use crate::record::{Fact, MediaStored, decode};

/// Reads the bytes that the facts of one request refer to. It remembers the last ones, which the next facts are about.
pub struct Media {
    log: Log,
    request: SubStreamInfo,
    last: Option<(u64, String)>,
}

impl Engine {
    /// For the facts of this request.
    pub fn media(&self, request: &SubStreamInfo) -> Media {
        Media::new(self.log(), *request)
    }
}

impl Media {
    pub(super) fn new(log: &Log, request: SubStreamInfo) -> Self {
        Self {
            log: log.clone(),
            request,
            last: None,
        }
    }

    /// Puts what is stored into the parts that record `number` of the request, which states `fact`, describes. What was given up stays empty.
    pub async fn fill(&mut self, number: u64, fact: &mut Fact) -> Result<(), QueryError> {
        match fact {
            Fact::MediaStored(media) => {
                self.last = Some((number, STANDARD.encode(&media.bytes)));
                Ok(())
            }
            Fact::ContentAdded(added) => self.fill_parts(std::slice::from_mut(&mut added.content)).await,
            Fact::ContentDone(done) => self.fill_parts(std::slice::from_mut(&mut done.content)).await,
            Fact::ItemAdded(added) => self.fill_body(&mut added.item.body).await,
            Fact::ItemCompleted(completed) => self.fill_body(&mut completed.item.body).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn fill_body(&mut self, body: &mut ItemBody) -> Result<(), QueryError> {
        match body.parts_mut() {
            Some(parts) => self.fill_parts(parts).await,
            None => Ok(()),
        }
    }

    async fn fill_parts(&mut self, parts: &mut [ContentPart]) -> Result<(), QueryError> {
        let mut wanted: BTreeMap<u64, &mut String> = BTreeMap::new();
        for part in parts {
            if let ContentPart::OutputAudio { audio, stored, .. } = part
                && let Some(number) = stored.take()
            {
                match &self.last {
                    Some((last, bytes)) if *last == number => audio.clone_from(bytes),
                    _ => drop(wanted.insert(number, audio)),
                }
            }
        }
        let (Some((first, _)), Some((last, _))) = (wanted.first_key_value(), wanted.last_key_value()) else {
            return Ok(());
        };
        let (mut after, last) = (first.saturating_sub(1), *last);
        let mut records = self.log.follow_sub(&self.request, after).await?;
        while after < last {
            let page = match records.page().await {
                // Meanwhile.
                Err(ReadError::Trimmed { .. }) => return Ok(()),
                page => page?,
            };
            for record in page {
                after = record.sub.map_or(after, |(_, number)| number);
                if let Some(audio) = wanted.remove(&after)
                    && record.kind == MediaStored::KIND
                    && !record.erased
                    && let Fact::MediaStored(media) = decode(&record)?
                {
                    *audio = STANDARD.encode(&media.bytes);
                }
            }
        }
        Ok(())
    }
}

/// Whether parts of an item refer to bytes that are stored elsewhere.
pub(super) fn is_stored(body: &ItemBody) -> bool {
    let is_stored = |part: &ContentPart| matches!(part, ContentPart::OutputAudio { stored: Some(_), .. });
    body.parts().is_some_and(|parts| parts.iter().any(is_stored))
}

/// How much of an item is base64.
pub(super) fn audio_bytes(body: &ItemBody) -> usize {
    let bytes = |part: &ContentPart| match part {
        ContentPart::OutputAudio { audio, .. } => audio.len(),
        _ => 0,
    };
    body.parts().map_or(0, |parts| parts.iter().map(bytes).sum())
}
