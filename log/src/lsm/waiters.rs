//! Who waits for something that is not there yet, by what they wait for.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Those who wait.
pub(super) struct Waiters<K>(Mutex<HashMap<K, (usize, Arc<Notify>)>>);

impl<K> Default for Waiters<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: Hash + Eq + Clone> Waiters<K> {
    /// Waits from now on, until the guard is dropped; `None` if `most` callers wait already.
    pub(super) fn register(&self, key: &K, most: usize) -> Option<Waiting<'_, K>> {
        let mut waiting = self.0.lock();
        if most != usize::MAX && waiting.values().map(|(count, _)| count).sum::<usize>() >= most {
            return None;
        }
        let (count, notify) = waiting.entry(key.clone()).or_default();
        *count += 1;
        Some(Waiting {
            waiters: self,
            key: key.clone(),
            notify: notify.clone(),
        })
    }

    /// Wakes those who wait for one of these.
    pub(super) fn wake<'a>(&self, keys: impl Iterator<Item = &'a K>)
    where
        K: 'a,
    {
        let waiting = self.0.lock();
        if !waiting.is_empty() {
            keys.filter_map(|key| waiting.get(key))
                .for_each(|(_, notify)| notify.notify_waiters());
        }
    }
}

/// One who waits.
pub(super) struct Waiting<'a, K: Hash + Eq> {
    waiters: &'a Waiters<K>,
    key: K,
    pub(super) notify: Arc<Notify>,
}

impl<K: Hash + Eq> Drop for Waiting<'_, K> {
    fn drop(&mut self) {
        let mut waiting = self.waiters.0.lock();
        if let Some((count, _)) = waiting.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}
