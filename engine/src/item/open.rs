//! The items of one request that are not final yet, as its facts leave them.
//! The recorder, recovery and snapshots all rebuild a half-finished item here, so they can't disagree about it.

use std::collections::BTreeMap;

use crate::item::{ContentPart, ItemBody, ItemStatus};
use crate::record::{Fact, ItemRecord};

/// Open items by their number in the request.
#[derive(Default)]
pub(crate) struct OpenItems(BTreeMap<u32, ItemRecord>);

impl OpenItems {
    /// Takes in the next fact of the request; gives the final item if it completes one.
    /// Facts about items that are not open change nothing.
    pub(crate) fn apply(&mut self, fact: &Fact) -> Option<ItemRecord> {
        match fact {
            Fact::ItemAdded(added) => {
                self.0.insert(added.item.index, added.item.clone());
            }
            Fact::ContentAdded(added) => {
                let item = self.0.get_mut(&added.item);
                if let Some(parts) = item.and_then(|item| item.body.parts_mut()) {
                    parts.push(added.content.clone());
                }
            }
            Fact::ContentDelta(delta) => {
                let part = self.part_mut(delta.item, delta.part);
                if let Some(text) = part.and_then(ContentPart::text_mut) {
                    text.push_str(&delta.delta);
                }
            }
            Fact::ContentDone(done) => {
                if let Some(part) = self.part_mut(done.item, done.part) {
                    part.clone_from(&done.content);
                }
            }
            Fact::ItemCompleted(completed) => {
                self.0.remove(&completed.item.index);
                return Some(completed.item.clone());
            }
            _ => {}
        }
        None
    }

    /// A part as it is now.
    pub(crate) fn part(&self, item: u32, part: u32) -> Option<&ContentPart> {
        self.0.get(&item)?.body.parts()?.get(part as usize)
    }

    /// How many parts an item has; `None` if it is not open or has none by nature.
    pub(crate) fn parts(&self, item: u32) -> Option<usize> {
        self.0.get(&item)?.body.parts().map(Vec::len)
    }

    /// An item as it is now.
    pub(crate) fn get(&self, item: u32) -> Option<&ItemRecord> {
        self.0.get(&item)
    }

    /// What each open item ends as when its run ends with `status`. An item that began final stays what it is.
    pub(crate) fn closed_as(&self, status: ItemStatus) -> impl Iterator<Item = ItemRecord> + '_ {
        let items = self.closing_order().into_iter().filter_map(|index| self.0.get(&index));
        items.map(move |item| closed(item.clone(), status))
    }

    /// The order in which open items are closed together: containers after what is in them.
    pub(crate) fn closing_order(&self) -> Vec<u32> {
        let is_container = |item: &&ItemRecord| matches!(item.body, ItemBody::Container(_));
        let (containers, others): (Vec<_>, Vec<_>) = self.0.values().partition(is_container);
        let order = others.into_iter().chain(containers.into_iter().rev());
        order.map(|item| item.index).collect()
    }

    fn part_mut(&mut self, item: u32, part: u32) -> Option<&mut ContentPart> {
        self.0.get_mut(&item)?.body.parts_mut()?.get_mut(part as usize)
    }
}

/// The item with its final status.
pub(crate) fn closed(mut item: ItemRecord, status: ItemStatus) -> ItemRecord {
    if item.status == ItemStatus::InProgress {
        item.status = status;
    }
    item
}
