//! What a trimmed stream begins with: everything that its given-up records had made, in the record that gives them up. So a stream's
//! rows can be rebuilt from what is left of it. The payload of a [`Kind::STREAM_TRIMMED`](crate::record::Kind::STREAM_TRIMMED) record, JSON.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::index::{Head, Index, SubStream};
use crate::record::{Name, Record, StreamId, SubStreamId};
use crate::view::inline::{Registered, Slot, Views};
use crate::view::{Fold, Row};

/// The payload.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// The first position that is kept.
    pub(crate) below: u64,
    /// Everything else here reflects the stream up to this position.
    pub(crate) as_of: u64,
    time_us: i64,
    versions: Vec<(u16, u64)>,
    subs: Vec<Sub>,
    pub(crate) views: Vec<ViewRows>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Sub {
    id: Text,
    principal: String,
    name: String,
    last: u64,
    count: u64,
    stride: Vec<u64>,
}

/// A fold's rows.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ViewRows {
    pub(crate) view: u8,
    pub(crate) version: u32,
    rows: Vec<(Text, Text)>,
}

/// Bytes as JSON: `t` and the text if they are UTF-8, otherwise `x` and their hexadecimal digits.
#[derive(Debug, Clone)]
struct Text(Vec<u8>);

impl Serialize for Text {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.collect_str(&format_args!("t{text}")),
            Err(_) => {
                let hex: String = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
                serializer.collect_str(&format_args!("x{hex}"))
            }
        }
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let malformed = || serde::de::Error::custom("bytes begin with t (text) or x (hexadecimal)");
        match text.split_at_checked(1) {
            Some(("t", text)) => Ok(Self(text.as_bytes().to_vec())),
            Some(("x", hex)) if hex.len() % 2 == 0 && hex.is_ascii() => {
                let bytes = (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16));
                bytes.collect::<Result<_, _>>().map(Self).map_err(|_| malformed())
            }
            _ => Err(malformed()),
        }
    }
}

impl Snapshot {
    /// Of a stream as it stands: `slots` are its folds and `subs` all of its sub-streams that have records from `below` on.
    pub(crate) fn of(
        head: &Head,
        below: u64,
        as_of: u64,
        slots: &[Slot],
        subs: Vec<(SubStreamId, SubStream)>,
    ) -> Result<Self, String> {
        let sub = |(id, sub): (SubStreamId, SubStream)| Sub {
            id: Text(id.0.to_vec()),
            principal: sub.name.as_ref().map_or("", Name::principal).to_owned(),
            name: sub.name.as_ref().map_or("", Name::name).to_owned(),
            last: sub.last,
            count: sub.count,
            stride: sub.stride,
        };
        let mut kept = Vec::new();
        for slot in slots {
            let view = &slot.of.view;
            if let Some(position) = slot.failed {
                return Err(format!("the view {} failed at position {position}", view.name()));
            }
            let mut rows = Vec::new();
            slot.fold.rows(&mut |row: Row| {
                if let Some(value) = row.value {
                    rows.push((Text(row.key), Text(value)));
                }
            });
            kept.push(ViewRows {
                view: view.id().0,
                version: view.version(),
                rows,
            });
        }
        Ok(Self {
            below,
            as_of,
            time_us: head.time_us,
            versions: head
                .versions
                .iter()
                .map(|(subject, position)| (*subject, *position))
                .collect(),
            subs: subs.into_iter().map(sub).collect(),
            views: kept,
        })
    }

    pub(crate) fn read(record: &Record) -> Result<Self, String> {
        serde_json::from_slice(&record.payload).map_err(|error| format!("a snapshot can't be read: {error}"))
    }

    /// The index of the stream at `as_of`, without the places of its records.
    pub(crate) fn index(&self, position: u64) -> Result<Index, String> {
        let head = Head {
            time_us: self.time_us,
            trimmed: self.below - 1,
            snapshot: position,
            versions: self.versions.iter().copied().collect(),
            ..Head::default()
        };
        let mut index = Index::stored(self.as_of, head, 0);
        index.changed.head = true;
        for sub in &self.subs {
            let id: [u8; 16] = sub.id.0[..].try_into().map_err(|_| "a sub-stream's id has 16 bytes")?;
            let known = SubStream {
                name: Name::new(&sub.principal, &sub.name).ok(),
                last: sub.last,
                count: sub.count,
                stride: sub.stride.clone(),
                stride_written: 0,
            };
            index.restore_sub(SubStreamId(id), known, 0);
            index.changed.subs.insert(SubStreamId(id));
        }
        Ok(index)
    }

    /// The folds of the stream at `as_of`.
    pub(crate) fn folds(&self, views: &Views, stream: StreamId, name: &Name) -> Result<Vec<Slot>, String> {
        let fold = |of| self.fold_of(of, stream, name);
        views.registered().into_iter().map(fold).collect()
    }

    /// The same of one view.
    pub(crate) fn fold_of(&self, of: Arc<Registered>, stream: StreamId, name: &Name) -> Result<Slot, String> {
        let view = of.view.clone();
        let kept = self.views.iter().find(|kept| kept.view == view.id().0);
        let Some(kept) = kept else {
            return Ok(self.whole(view.unkept(stream, name)?, of));
        };
        let row = |(key, value): &(Text, Text)| Row {
            key: key.0.clone(),
            value: Some(value.0.clone()),
        };
        let rows = kept.rows.iter().map(row).collect();
        let fold = match kept.version == view.version() {
            true => view.load(stream, name, rows),
            false => view.upgrade(stream, name, kept.version, rows),
        };
        Ok(self.whole(fold?, of))
    }

    /// A fold with everything that it has yet to be written.
    fn whole(&self, fold: Box<dyn Fold>, of: Arc<Registered>) -> Slot {
        let mut slot = Slot::new(fold, of, self.as_of);
        slot.whole = true;
        slot.dirty = true;
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_kind_read_back() {
        for bytes in [&b""[..], b"text", "\u{0}\u{fc}".as_bytes(), &[0xff, 0, 0xfe]] {
            let json = serde_json::to_string(&Text(bytes.to_vec())).expect("JSON");
            let back: Text = serde_json::from_str(&json).expect("the same");
            assert_eq!(back.0, bytes);
        }
        for malformed in ["\"\"", "\"y\"", "\"x0\"", "\"xzz\"", "1"] {
            assert!(serde_json::from_str::<Text>(malformed).is_err(), "{malformed}");
        }
    }
}
