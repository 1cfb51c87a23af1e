//! What a session holds up to a position, folded: as few facts as show a client what it would have seen, the text of open parts up to there
//! in one piece.

use std::collections::{BTreeMap, VecDeque};

use flowstate_log::record::{Record, StreamId, SubStreamId};

use super::Engine;
use crate::error::QueryError;
use crate::projection::items::ItemEntry;
use crate::projection::{RequestStatus, items, requests};
use crate::record::{ContentAdded, Fact, ItemAdded, decode};

/// Records that are read at once, and completed items that are.
const READ_RECORDS: usize = 1_000;
const READ_ITEMS: usize = 8;

/// See [`Engine::prefix`].
pub struct Prefix {
    engine: Engine,
    stream: StreamId,
    position: u64,
    /// Of completed items that are not given yet, in the order in which they were added.
    completed: VecDeque<(u64, u64)>,
    /// What is open, and of what requests, by position.
    open: BTreeMap<u64, (Record, Fact)>,
}

impl Engine {
    /// What the session in `stream` holds that clients see, up to its last visible record. What comes after is to be followed from there.
    pub async fn prefix(&self, stream: StreamId) -> Result<Prefix, QueryError> {
        let log = self.log();
        let position = log.tail(stream).await?;
        // Of what was trimmed nothing is told.
        let oldest = log.oldest(stream).await?;
        // Of items that were added meanwhile nothing is told; those that were completed meanwhile were open.
        let (completed, open) = items::read(log, stream, |items| {
            let shown = items.entries().iter().filter(|entry| {
                entry.client
                    && !entry.transient
                    && entry.added <= position
                    && entry.added.max(entry.completed) >= oldest
            });
            let (completed, open): (Vec<_>, Vec<_>) =
                shown.partition(|entry| (1..=position).contains(&entry.completed));
            let completed: VecDeque<(u64, u64)> =
                completed.iter().map(|entry| (entry.added, entry.completed)).collect();
            // Of what is open, and was trimmed in part, it can't be told what there is.
            let open = open.into_iter().filter(|entry| entry.added >= oldest);
            (completed, open.cloned().collect::<Vec<ItemEntry>>())
        })
        .await?;
        let running = requests::read(log, stream, |requests| {
            let running = requests.all().filter(|(_, row)| {
                row.status == RequestStatus::InProgress && (oldest..=position).contains(&row.position)
            });
            running.map(|(_, row)| row.position).collect::<Vec<u64>>()
        })
        .await?;
        let mut prefix = Prefix {
            engine: self.clone(),
            stream,
            position,
            completed,
            open: BTreeMap::new(),
        };
        prefix.read_open(&open, &running).await?;
        Ok(prefix)
    }
}

impl Prefix {
    /// The position up to which it tells.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// The next facts, each with a record of its item; `None` if there are no more. What is completed comes first.
    pub async fn page(&mut self) -> Result<Option<Vec<(Record, Fact)>>, QueryError> {
        let some = self.completed.len().min(READ_ITEMS);
        if some == 0 {
            let open = std::mem::take(&mut self.open);
            return Ok((!open.is_empty()).then(|| open.into_values().collect()));
        }
        let places: Vec<(u64, u64)> = self.completed.drain(..some).collect();
        let oldest = self.engine.log().oldest(self.stream).await?;
        // Of an item whose first record was trimmed the last one says everything.
        let positions: Vec<u64> = places
            .iter()
            .flat_map(|(added, completed)| [if *added < oldest { *completed } else { *added }, *completed])
            .collect();
        let records = self.engine.log().read_positions(self.stream, &positions).await?;
        let mut facts = Vec::with_capacity(records.len());
        for pair in records.chunks_exact(2) {
            let Fact::ItemCompleted(completed) = decode(&pair[1])? else {
                continue;
            };
            // It is shown as it is now from the start.
            let added = ItemAdded {
                item: completed.item.clone(),
            };
            facts.push((pair[0].clone(), added.into()));
            facts.push((pair[1].clone(), completed.into()));
        }
        Ok(Some(facts))
    }

    /// Reads what is open from its records: items as they were added, parts with the text that they have.
    async fn read_open(&mut self, open: &[ItemEntry], running: &[u64]) -> Result<(), QueryError> {
        let log = self.engine.log();
        for record in log.read_positions(self.stream, running).await? {
            let fact = decode(&record)?;
            self.open.insert(record.position, (record, fact));
        }
        let Some(mut from) = open.iter().map(|entry| entry.added).min() else {
            return Ok(());
        };
        let is_open = |sub: SubStreamId, item: u32| open.iter().any(|entry| entry.sub() == sub && entry.index == item);
        // Where the fact is that tells of a part.
        let mut parts: BTreeMap<(SubStreamId, u32, u32), u64> = BTreeMap::new();
        while from <= self.position {
            let records = log.read(self.stream, from, READ_RECORDS).await?;
            let Some(last) = records.last() else { break };
            from = last.position + 1;
            for record in records {
                let Some((sub, _)) = record.sub.filter(|_| record.position <= self.position) else {
                    continue;
                };
                let (at, fact) = (record.position, decode(&record)?);
                match &fact {
                    Fact::ItemAdded(added) if is_open(sub, added.item.index) => {}
                    Fact::ContentAdded(added) if is_open(sub, added.item) => {
                        parts.insert((sub, added.item, added.part), at);
                    }
                    Fact::ContentDone(done) if is_open(sub, done.item) => {
                        if let Some(added) = parts
                            .remove(&(sub, done.item, done.part))
                            .and_then(|at| self.open.get_mut(&at))
                        {
                            added.1 = ContentAdded {
                                item: done.item,
                                part: done.part,
                                content: done.content.clone(),
                            }
                            .into();
                        }
                    }
                    Fact::ContentDelta(delta) => {
                        // The part is told of where its text ends.
                        let part = parts.get_mut(&(sub, delta.item, delta.part));
                        let Some(place) = part else { continue };
                        let Some((_, Fact::ContentAdded(mut added))) = self.open.remove(place) else {
                            continue;
                        };
                        if let Some(text) = added.content.text_mut() {
                            text.push_str(&delta.delta);
                        }
                        *place = at;
                        self.open.insert(at, (record, added.into()));
                        continue;
                    }
                    _ => continue,
                }
                self.open.insert(at, (record, fact));
            }
        }
        Ok(())
    }
}
