//! What a view store contains: every key family, in one place. Ids and view numbers have fixed widths, so no family's or
//! stream's range reaches into another's.

use crate::record::StreamId;
use crate::view::ViewId;

/// `m`: the one row that says what the others reflect.
pub(crate) const META: &[u8] = b"m";

/// `p` stream view: up to which position of the stream the view's rows reflect it. 8 bytes, big-endian.
pub(crate) fn position(stream: StreamId, view: ViewId) -> Vec<u8> {
    family(b'p', &stream.0, &[view.0])
}

/// `r` stream view key: one row of one stream.
pub(crate) fn row(stream: StreamId, view: ViewId, key: &[u8]) -> Vec<u8> {
    let mut whole = family(b'r', &stream.0, &[view.0]);
    whole.extend_from_slice(key);
    whole
}

/// `x` view key: one row of a view across streams.
pub(crate) fn index(view: ViewId, key: &[u8]) -> Vec<u8> {
    family(b'x', &[view.0], key)
}

/// Bytes that come before the caller's own part of a `row` key.
pub(crate) const ROW_PREFIX: usize = 1 + 16 + 1;
/// Bytes that come before the caller's own part of an `index` key.
pub(crate) const INDEX_PREFIX: usize = 2;

/// The first key after all that start with `prefix`; `None` if there is no such key.
pub(crate) fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut next = prefix[..=end].to_vec();
    next[end] += 1;
    Some(next)
}

fn family(tag: u8, first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(1 + first.len() + second.len());
    key.push(tag);
    key.extend_from_slice(first);
    key.extend_from_slice(second);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_where_the_next_begins() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(&[1, 255, 255]), Some(vec![2]));
        assert_eq!(after_prefix(&[255, 255]), None);
    }
}
