//! A view store in memory: for tests, and for logs that live in memory themselves.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Change, Entry, OpenViewStore, StoreError, ViewStore};

/// A sorted map. Clones are the same map, so that it outlives the log that it is opened by.
#[derive(Clone, Default)]
pub struct MemoryViews {
    rows: Arc<Mutex<BTreeMap<Vec<u8>, Vec<u8>>>>,
}

impl MemoryViews {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the present state, changing no more: what a restored backup of the store would be.
    pub fn copy(&self) -> Self {
        Self {
            rows: Arc::new(Mutex::new(self.rows.lock().clone())),
        }
    }

    /// All entries, in order.
    pub fn entries(&self) -> Vec<Entry> {
        self.rows.lock().iter().map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

impl ViewStore for MemoryViews {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.rows.lock().get(key).cloned())
    }

    fn write(&self, batch: Vec<Change>) -> Result<(), StoreError> {
        let mut rows = self.rows.lock();
        for (key, value) in batch {
            match value {
                Some(value) => rows.insert(key, value),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn scan(&self, from: Bound<&[u8]>, to: Bound<&[u8]>, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let rows = self.rows.lock();
        let range = rows.range::<[u8], _>((from, to));
        Ok(range.take(limit).map(|(k, v)| (k.clone(), v.clone())).collect())
    }

    fn compact(&self) -> Result<(), StoreError> {
        Ok(())
    }

    fn flush(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl OpenViewStore for MemoryViews {
    fn open(&self) -> Result<Box<dyn ViewStore>, StoreError> {
        Ok(Box::new(self.clone()))
    }

    fn discard(&self) -> Result<(), StoreError> {
        self.rows.lock().clear();
        Ok(())
    }

    fn describe(&self) -> String {
        "memory".to_owned()
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn memory_keeps_the_contract() {
        super::super::conformance::run(&super::MemoryViews::new());
    }
}
