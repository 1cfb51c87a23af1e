//! Payloads with bytes as they are: a line of JSON says what they are, then they follow.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Between what is said of the bytes and the bytes.
const END_OF_HEAD: u8 = b'\n';

pub(super) fn encode(head: &impl Serialize, bytes: &[u8]) -> Result<Bytes, serde_json::Error> {
    let head = serde_json::to_vec(head)?;
    let mut payload = BytesMut::with_capacity(head.len() + 1 + bytes.len());
    payload.put_slice(&head);
    payload.put_u8(END_OF_HEAD);
    payload.put_slice(bytes);
    Ok(payload.freeze())
}

/// What is said of the bytes, and the bytes, which share the payload's memory.
pub(crate) fn decode<H: DeserializeOwned>(payload: &Bytes) -> Result<(H, Bytes), serde_json::Error> {
    // JSON as it is written here has no such byte in it.
    let end = payload.iter().position(|byte| *byte == END_OF_HEAD);
    let end = end.unwrap_or(payload.len());
    let head = serde_json::from_slice(&payload[..end])?;
    Ok((head, payload.slice((end + 1).min(payload.len())..)))
}
