//! Values between blocks: typed for the people who write blocks, erased for what runs them.

use std::any::Any;
use std::sync::Arc;

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

trait Datum: Any + Send + Sync {
    fn json(&self) -> Result<Value, serde_json::Error>;
    fn type_name(&self) -> &'static str;
}

impl<T: Data> Datum for T {
    fn json(&self) -> Result<Value, serde_json::Error> {
        serde_json::to_value(self)
    }

    fn type_name(&self) -> &'static str {
        std::any::type_name::<T>()
    }
}

impl Val {
    /// Erases a value.
    pub(crate) fn new<T: Data>(value: T) -> Self {
        Self(Arc::new(value))
    }

    /// The value. The builders' types rule out another type, so `Err` means a bug in a builder.
    pub(crate) fn get<T: Data>(&self) -> Result<&T, BlockError> {
        let any: &dyn Any = &*self.0;
        any.downcast_ref().ok_or_else(|| mismatch::<T>(self.0.type_name()))
    }

    /// The value by itself: moved out if nothing else holds it, else cloned.
    pub(crate) fn take<T: Data>(self) -> Result<T, BlockError> {
        let is = self.0.type_name();
        let any: Arc<dyn Any + Send + Sync> = self.0;
        let typed = any.downcast::<T>().map_err(|_| mismatch::<T>(is))?;
        Ok(Arc::unwrap_or_clone(typed))
    }

    /// Its JSON.
    pub(crate) fn json(&self) -> Result<Value, BlockError> {
        self.0.json().map_err(|error| {
            let what = format!("a value of type {} has no JSON form: {error}", self.0.type_name());
            BlockError::new("value_not_json", what)
        })
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
}
