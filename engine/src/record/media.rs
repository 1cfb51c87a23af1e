//! Bytes that parts of items refer to: stored once, whatever describes them.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Between what is said of the bytes and the bytes.
const END_OF_HEAD: u8 = b'\n';

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
        let head = serde_json::to_vec(self)?;
        let mut payload = BytesMut::with_capacity(head.len() + 1 + self.bytes.len());
        payload.put_slice(&head);
        payload.put_u8(END_OF_HEAD);
        payload.put_slice(&self.bytes);
        Ok(payload.freeze())
    }

    /// Shares the payload's memory.
    pub(super) fn decode(payload: &Bytes) -> Result<Self, serde_json::Error> {
        // JSON as it is written here has no such byte in it.
        let end = payload.iter().position(|byte| *byte == END_OF_HEAD);
        let end = end.unwrap_or(payload.len());
        let head: Self = serde_json::from_slice(&payload[..end])?;
        let bytes = payload.slice((end + 1).min(payload.len())..);
        Ok(Self { bytes, ..head })
    }
}
