//! A view that costs as little as one can: a count of bytes per stream.

use std::sync::Arc;

use flowstate_log::record::{Kind, Name, Record, StreamId};
use flowstate_log::view::{Fold, IndexRows, Row, View, ViewId};

struct Counting;

/// The view.
pub fn view() -> Arc<dyn View> {
    Arc::new(Counting)
}

#[derive(Default)]
struct Count {
    bytes: u64,
    changed: bool,
}

impl Count {
    fn row(&self) -> Row {
        Row {
            key: b"bytes".to_vec(),
            value: Some(self.bytes.to_be_bytes().to_vec()),
        }
    }
}

impl View for Counting {
    fn id(&self) -> ViewId {
        ViewId(1)
    }

    fn name(&self) -> &'static str {
        "counting"
    }

    fn version(&self) -> u32 {
        1
    }

    fn folds(&self, _: Kind) -> bool {
        true
    }

    fn empty(&self, _: StreamId, _: &Name) -> Box<dyn Fold> {
        Box::new(Count::default())
    }

    fn load(&self, _: StreamId, _: &Name, rows: Vec<Row>) -> Result<Box<dyn Fold>, String> {
        let value = rows.first().and_then(|row| row.value.as_deref());
        let bytes = value.and_then(|value| value.try_into().ok()).ok_or("no count")?;
        Ok(Box::new(Count {
            bytes: u64::from_be_bytes(bytes),
            changed: false,
        }))
    }
}

impl Fold for Count {
    fn apply(&mut self, record: &Record, _: &mut dyn IndexRows) {
        self.bytes += record.payload.len() as u64;
        self.changed = true;
    }

    fn changed(&mut self, rows: &mut dyn FnMut(Row)) {
        if std::mem::take(&mut self.changed) {
            rows(self.row());
        }
    }

    fn rows(&self, rows: &mut dyn FnMut(Row)) {
        rows(self.row());
    }
}
