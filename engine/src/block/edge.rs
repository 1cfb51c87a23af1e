//! The type of a block's input or output, as what its schema says and as what JSON must become.

use serde_json::Value;

use crate::error::Problem;
use crate::schema::{Schema, deserialize};
use crate::value::{Data, Val};

/// One edge of a block.
#[derive(Clone, Copy)]
pub(crate) struct Edge {
    schema: fn() -> Result<Schema, String>,
    parse: fn(&str, &Value) -> Result<Val, Problem>,
}

impl Edge {
    /// The edge for a `T`.
    pub(crate) fn of<T: Data>() -> Self {
        Self {
            schema: Schema::of::<T>,
            parse: |root, value| deserialize::<T>(root, value).map(Val::new),
        }
    }

    /// The schema; `Err` says why the type has no usable one.
    pub(crate) fn schema(&self) -> Result<Schema, String> {
        (self.schema)()
    }

    /// The typed value; the problem has its path below `root`.
    pub(crate) fn parse(&self, root: &str, value: &Value) -> Result<Val, Problem> {
        (self.parse)(root, value)
    }
}
