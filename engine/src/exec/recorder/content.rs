//! The content of open items, as it comes: parts and the text that they have more.

use super::Recorder;
use crate::error::RecordError;
use crate::exec::ctx::Place;
use crate::item::ContentPart;
use crate::record::{ContentAdded, ContentDelta, ContentDone};

impl Recorder {
    /// Adds a part to an open item.
    pub(crate) async fn add_content(&self, place: &Place, item: u32, content: ContentPart) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let part = state.open.parts(item).ok_or(RecordError::NotOpen { item, part: 0 })?;
        let part = u32::try_from(part).map_err(|_| RecordError::NotOpen { item, part: u32::MAX })?;
        self.queue(&mut state, place.origin(), ContentAdded { item, part, content }.into())
            .await?;
        Ok(())
    }

    /// Adds text to a part of an open item. The hot path: one small JSON encode, one push.
    pub(crate) async fn add_delta(
        &self,
        place: &Place,
        item: u32,
        part: u32,
        delta: String,
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        if state.open.part(item, part).is_none() {
            return Err(RecordError::NotOpen { item, part });
        }
        self.queue(&mut state, place.origin(), ContentDelta { item, part, delta }.into())
            .await?;
        Ok(())
    }

    /// States that a part has all its text.
    pub(crate) async fn finish_content(&self, place: &Place, item: u32, part: u32) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let content = state
            .open
            .part(item, part)
            .cloned()
            .ok_or(RecordError::NotOpen { item, part })?;
        self.queue(&mut state, place.origin(), ContentDone { item, part, content }.into())
            .await?;
        Ok(())
    }
}
