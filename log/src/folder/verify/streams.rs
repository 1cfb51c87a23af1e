//! Which records there must be: of each stream all positions, of each sub-stream all numbers, but for what was trimmed or deleted. Fed in any
//! order, as long as each stream's records mostly come in theirs.

use std::collections::HashMap;

use crate::folder::report::Damage;
use crate::index::ERASED;
use crate::record::{Kind, Name, Record, StreamId, SubStreamId};

#[derive(Default)]
struct Stream {
    /// Positions that are there, both ends included.
    present: Vec<(u64, u64)>,
    /// Positions up to this one are of the stream that it continues; `None` while its first record was not seen.
    base: Option<u64>,
    name: Option<Name>,
    trimmed: u64,
    snapshot: u64,
    deleted: bool,
    erased: bool,
}

/// Numbers of a sub-stream that are there.
struct Sub {
    first: u64,
    last: u64,
    count: u64,
    position: u64,
}

/// What is known of all streams.
#[derive(Default)]
pub(super) struct Streams {
    streams: HashMap<StreamId, Stream>,
    subs: HashMap<(StreamId, SubStreamId), Sub>,
}

impl Streams {
    pub(super) fn count(&self) -> u64 {
        self.streams.len() as u64
    }

    pub(super) fn name(&self, stream: StreamId) -> Option<&Name> {
        self.streams.get(&stream)?.name.as_ref()
    }

    pub(super) fn take(&mut self, record: &Record) {
        let position = record.position;
        let stream = self.streams.entry(record.stream).or_default();
        match stream.present.last_mut() {
            Some(last) if last.1 + 1 == position => last.1 = position,
            _ => stream.present.push((position, position)),
        }
        if let Some(name) = &record.extras.stream {
            stream.name = Some(name.clone());
            if record.kind != Kind::STREAM_TRIMMED {
                stream.base = Some(position - 1);
            }
        }
        match record.kind {
            Kind::STREAM_TRIMMED => {
                stream.trimmed = stream.trimmed.max(record.origin.saturating_sub(1));
                stream.snapshot = stream.snapshot.max(position);
            }
            Kind::STREAM_DELETED => {
                stream.deleted = true;
                stream.erased |= record.origin == ERASED;
            }
            _ => {}
        }
        if let Some((id, number)) = record.sub {
            let sub = self.subs.entry((record.stream, id)).or_insert(Sub {
                first: number,
                last: number,
                count: 0,
                position,
            });
            sub.first = sub.first.min(number);
            sub.last = sub.last.max(number);
            sub.count += 1;
        }
    }

    /// What does not hold. `missing`: how many records are gone with good reason; at most, if `uncertain`.
    pub(super) fn judge(&self, missing: &mut u64, uncertain: &mut bool) -> Vec<Damage> {
        let mut damage = Vec::new();
        for (id, stream) in &self.streams {
            stream.judge(*id, missing, uncertain, &mut damage);
        }
        for ((stream, id), sub) in &self.subs {
            let known = self.streams.get(stream);
            let lost_some = known.is_some_and(|stream| stream.trimmed > 0 || stream.deleted);
            let dense = sub.first == 1 && sub.count == sub.last;
            // What is left of a trimmed one is its end.
            if dense || (lost_some && sub.count <= sub.last) {
                continue;
            }
            let what = format!(
                "sub-stream {id} has {} records with the numbers {} to {}",
                sub.count, sub.first, sub.last
            );
            damage.push(Damage::in_file("records", what).of_record(*stream, sub.position));
        }
        damage.sort_by_key(|damage| (damage.stream, damage.position));
        damage
    }
}

impl Stream {
    fn judge(&self, id: StreamId, missing: &mut u64, uncertain: &mut bool, damage: &mut Vec<Damage>) {
        let mut present = self.present.clone();
        present.sort_unstable();
        *uncertain |= self.base.is_none();
        let base = self.base.unwrap_or(0);
        let mut next = base + 1;
        for (first, last) in present {
            if first < next {
                let what = "the stream has records twice, or before its first one";
                damage.push(Damage::in_file("records", what).of_record(id, first));
            }
            let gap = next..first;
            if !gap.is_empty() {
                // An earlier snapshot may go when a later one is there.
                let allowed = self.deleted || gap.end - 1 <= self.trimmed.max(self.snapshot.saturating_sub(1));
                match allowed {
                    true => *missing += gap.end - gap.start,
                    false => {
                        let what = format!(
                            "positions {} to {} are missing, and were not trimmed or deleted",
                            gap.start,
                            gap.end - 1
                        );
                        damage.push(Damage::in_file("records", what).of_record(id, gap.start));
                    }
                }
            }
            next = next.max(last + 1);
        }
        if self.base.is_none() && self.trimmed == 0 && !self.deleted && !self.erased {
            let what = "the stream's first record is missing, and with it its name";
            damage.push(Damage::in_file("records", what).of_record(id, 1));
        }
    }
}
