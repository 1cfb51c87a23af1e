//! Values between blocks: typed for the people who write blocks, erased for what runs them.

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::BlockError;

/// What may travel between blocks. Implemented for every type that has these traits:
/// JSON to be recorded and checked, `Clone` because several steps may get the same value.
pub trait Data: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static {}

impl<T: Serialize + DeserializeOwned + JsonSchema + Clone + Send + Sync + 'static> Data for T {}

/// A value of some [`Data`] type. It stays as it is until its JSON is needed.
#[derive(Clone)]
pub(crate) struct Val(Arc<dyn Datum>);

/// Where the JSON of a value is recorded in its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recorded {
    /// In the record of this number.
    Record(u64),
    /// As the text of this item.
    Item(u32),
}

/// A value and where it is recorded: 0 nowhere, `number << 1` in a record, `item << 1 | 1` in an item.
struct Kept<T> {
    recorded: AtomicU64,
    value: T,
}

trait Datum: Any + Send + Sync {
    fn json(&self) -> Result<Value, serde_json::Error>;
    fn type_name(&self) -> &'static str;
    fn recorded(&self) -> &AtomicU64;
}

impl<T: Data> Datum for Kept<T> {
    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(&self.value)
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }

    fn recorded(&self) -> &AtomicU64 {
        &self.recorded
    }
}

impl Val {
    /// Erases a value.
    pub(crate) fn new<T: Data>(value: T) -> Self {
        Self(Arc::new(Kept {
            recorded: AtomicU64::new(0),
            value,
        }))
    }

    /// The value. The builders' types rule out another type, so `Err` means a bug in a builder.
    pub(crate) fn get<T: Data>(&self) -> Result<&T, BlockError> {
        let any: &dyn Any = &*self.0;
        let kept = any.downcast_ref::<Kept<T>>();
        kept.map(|kept| &kept.value)
            .ok_or_else(|| mismatch::<T>(self.0.type_name()))
    }

    /// The value by itself: moved out if nothing else holds it, else cloned.
    pub(crate) fn take<T: Data>(self) -> Result<T, BlockError> {
        let is = self.0.type_name();
        let any: Arc<dyn Any + Send + Sync> = self.0;
        let kept = any.downcast::<Kept<T>>().map_err(|_| mismatch::<T>(is))?;
        Ok(match Arc::try_unwrap(kept) {
            Ok(kept) => kept.value,
            Err(shared) => shared.value.clone(),
        })
    }

    /// Its JSON.
    pub(crate) fn json(&self) -> Result<Value, BlockError> {
        self.0.json().map_err(|error| {
            let what = format!("a value of type {} has no JSON form: {error}", self.0.type_name());
            BlockError::new("value_not_json", what)
        })
    }

    /// Where its JSON is recorded, so that it is stored once.
    pub(crate) fn recorded(&self) -> Option<Recorded> {
        match self.0.recorded().load(Ordering::Relaxed) {
            0 => None,
            item if item & 1 == 1 => u32::try_from(item >> 1).ok().map(Recorded::Item),
            number => Some(Recorded::Record(number >> 1)),
        }
    }

    /// Remembers where its JSON is recorded.
    pub(crate) fn set_recorded(&self, at: Recorded) {
        let packed = match at {
            Recorded::Record(number) => number << 1,
            Recorded::Item(item) => u64::from(item) << 1 | 1,
        };
        self.0.recorded().store(packed, Ordering::Relaxed);
    }
}

fn mismatch<T>(is: &str) -> BlockError {
    let want = std::any::type_name::<T>();
    BlockError::new("value_type", format!("a block expects {want} and got {is}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_as_what_it_was_and_as_nothing_else() {
        let value = Val::new(7_u32);
        assert_eq!(value.get::<u32>().ok(), Some(&7));
        assert_eq!(value.clone().take::<u32>().ok(), Some(7));
        assert_eq!(value.json().ok(), Some(Value::from(7)));
        let error = value.take::<String>().expect_err("not a string");
        assert_eq!(error.code(), "value_type");
    }

    #[test]
    fn a_value_knows_where_it_is_recorded() {
        let value = Val::new(7_u32);
        assert_eq!(value.recorded(), None);
        for at in [Recorded::Record(12), Recorded::Item(0), Recorded::Item(u32::MAX)] {
            value.set_recorded(at);
            assert_eq!(value.clone().recorded(), Some(at));
        }
    }
}
