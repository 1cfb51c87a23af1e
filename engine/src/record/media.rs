//! Bytes that parts of items refer to: stored once, whatever describes them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::framed;

/// See [`super::Fact::MediaStored`]. Its payload is a line of JSON, then the bytes as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct MediaStored {
    /// Their media type.
    pub media_type: String,
    /// The bytes.
    #[serde(skip)]
    pub bytes: Bytes,
}

impl MediaStored {
    pub(super) fn encode(&self) -> Result<Bytes, serde_json::Error> {
        framed::encode(self, &self.bytes)
    }

    /// Shares the payload's memory.
    pub(super) fn decode(payload: &Bytes) -> Result<Self, serde_json::Error> {
        let (head, bytes) = framed::decode::<Self>(payload)?;
        Ok(Self { bytes, ..head })
    }
}
