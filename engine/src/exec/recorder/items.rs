//! Items: added, whole at once or closed with what they have.

use std::sync::Arc;

use super::{RUNTIME, Recorder, State};
use crate::error::RecordError;
use crate::exec::ctx::Place;
use crate::item::open::closed;
use crate::item::{ItemBody, ItemStatus, Provenance, Visibility};
use crate::record::{ItemAdded, ItemCompleted, ItemRecord};

/// What a request shows that it is about when only background work is left of it, unless a block has said.
const FINISHING: &str = "finishing";

impl Recorder {
    /// Adds an item and gives its number.
    pub(crate) async fn add_item(
        &self,
        place: &Arc<Place>,
        status: ItemStatus,
        visibility: Visibility,
        body: ItemBody,
    ) -> Result<u32, RecordError> {
        let mut state = self.state.lock().await;
        let mut item = self.new_item(&mut state, self.provenance(place), status, visibility, body);
        item.owned_by = place.owned_by(&self.request);
        let index = item.index;
        state.owners.insert(index, place.clone());
        self.queue(&mut state, place.origin(), ItemAdded { item }.into())
            .await?;
        Ok(index)
    }

    /// An open item goes on as this block's.
    pub(crate) async fn adopt_item(&self, place: &Arc<Place>, item: u32) {
        self.state.lock().await.owners.insert(item, place.clone());
    }

    /// Adds an item of the runtime that is whole at once.
    pub(in crate::exec) async fn add_whole_item(
        &self,
        visibility: Visibility,
        body: ItemBody,
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let item = self.new_item(
            &mut state,
            Provenance::runtime(),
            ItemStatus::Completed,
            visibility,
            body,
        );
        self.queue(&mut state, RUNTIME, ItemAdded { item: item.clone() }.into())
            .await?;
        self.queue(&mut state, RUNTIME, ItemCompleted { item }.into()).await?;
        Ok(())
    }

    /// Adds an item of a block that is whole at once. One that has a key takes the place of the one that had it before.
    /// Gives its number.
    pub(crate) async fn add_whole(
        &self,
        place: &Place,
        visibility: Visibility,
        body: ItemBody,
    ) -> Result<u32, RecordError> {
        let mut state = self.state.lock().await;
        self.add_whole_to(&mut state, place, visibility, body).await
    }

    async fn add_whole_to(
        &self,
        state: &mut State,
        place: &Place,
        visibility: Visibility,
        body: ItemBody,
    ) -> Result<u32, RecordError> {
        let key = body.key().map(str::to_owned);
        let mut item = self.new_item(state, self.provenance(place), ItemStatus::Completed, visibility, body);
        item.owned_by = place.owned_by(&self.request);
        if let Some(key) = key {
            // The time stays what it was, so that the item stays where it was.
            (item.index, item.ts_ms) = *state.keyed.entry(key).or_insert((item.index, item.ts_ms));
        }
        let index = item.index;
        self.queue(state, place.origin(), ItemAdded { item: item.clone() }.into())
            .await?;
        self.queue(state, place.origin(), ItemCompleted { item }.into()).await?;
        Ok(index)
    }

    /// Shows what the request is about, unless it shows just that.
    pub(crate) async fn set_status(
        &self,
        place: &Place,
        message: Option<String>,
        blocked: Option<bool>,
        background_tasks: Option<u32>,
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let Some(status) = state.status.changed(message, blocked, background_tasks) else {
            return Ok(());
        };
        let body = ItemBody::Status(status.clone());
        self.add_whole_to(&mut state, place, Visibility::CLIENT, body).await?;
        state.status = status;
        Ok(())
    }

    /// Shows that the main chain has ended and so much runs beside it: who asked may ask for more.
    pub(in crate::exec) async fn finishing(&self, background_tasks: u32) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let message = state.status.message.is_empty().then(|| FINISHING.to_owned());
        let Some(status) = state.status.changed(message, Some(false), Some(background_tasks)) else {
            return Ok(());
        };
        let body = ItemBody::Status(status.clone());
        let completed = ItemStatus::Completed;
        let item = self.new_item(&mut state, Provenance::runtime(), completed, Visibility::CLIENT, body);
        self.queue(&mut state, RUNTIME, ItemAdded { item: item.clone() }.into())
            .await?;
        self.queue(&mut state, RUNTIME, ItemCompleted { item }.into()).await?;
        state.status = status;
        Ok(())
    }

    /// Closes an open item with what it has. A message that is whole and not spoken out yet is closed when it is.
    pub(crate) async fn complete_item(&self, place: &Place, item: u32, status: ItemStatus) -> Result<(), RecordError> {
        self.complete_item_with(place, item, status, |_| {}).await
    }

    /// The same, with what became of it in the end.
    pub(crate) async fn complete_item_with(
        &self,
        place: &Place,
        item: u32,
        status: ItemStatus,
        end: impl FnOnce(&mut ItemBody),
    ) -> Result<(), RecordError> {
        let mut state = self.state.lock().await;
        let mut item = state
            .open
            .get(item)
            .cloned()
            .ok_or(RecordError::NotOpen { item, part: 0 })?;
        let is_whole = status == ItemStatus::Completed;
        if is_whole && (state.speech.as_mut()).is_some_and(|speech| speech.holds(item.index)) {
            return Ok(());
        }
        end(&mut item.body);
        self.queue(
            &mut state,
            place.origin(),
            ItemCompleted {
                item: closed(item, status),
            }
            .into(),
        )
        .await?;
        Ok(())
    }

    pub(super) fn new_item(
        &self,
        state: &mut State,
        provenance: Provenance,
        status: ItemStatus,
        visibility: Visibility,
        body: ItemBody,
    ) -> ItemRecord {
        let (index, ts_ms) = self.next_item(state);
        ItemRecord {
            index,
            ts_ms,
            status,
            provenance,
            visibility,
            transient: body.is_transient(),
            owned_by: None,
            body,
        }
    }

    /// Number and time of the next item.
    pub(super) fn next_item(&self, state: &mut State) -> (u32, i64) {
        let index = state.items;
        state.items += 1;
        state.last_ts_ms = state.last_ts_ms.max(self.env.now_us() / 1_000);
        (index, state.last_ts_ms)
    }

    pub(super) fn provenance(&self, place: &Place) -> Provenance {
        place.provenance(&self.request, &self.action)
    }
}
