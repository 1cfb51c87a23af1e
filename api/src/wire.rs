//! What goes over the wire: serde types for JSON bodies and SSE frames, and how they are made from the engine's types.
//! Nothing here is written to disk, and nothing that is written to disk is serialised for a client.

pub(crate) mod action;
pub(crate) mod cursor;
pub(crate) mod delta;
pub(crate) mod event;
pub(crate) mod fields;
pub(crate) mod flow;
pub(crate) mod item;
pub(crate) mod json;
pub(crate) mod problem;
pub(crate) mod request;
pub(crate) mod resource;
pub(crate) mod session;
pub(crate) mod trace;
pub(crate) mod voice;
