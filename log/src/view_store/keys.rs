//! What a view store contains: every key family, in one place. Ids and view numbers have fixed widths, so no family's or
//! stream's range reaches into another's.

use crate::record::{IdempotencyKey, Name, StreamId, SubStreamId};
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

/// `s` stream: what is known of it as a whole. JSON.
pub(crate) fn stream(stream: StreamId) -> Vec<u8> {
    family(b's', &stream.0, &[])
}

/// `n` name: the stream that has it.
pub(crate) fn stream_name(name: &Name) -> Vec<u8> {
    named(b'n', name.principal(), name.name())
}

/// The keys of all streams of this principal whose names start with `prefix` start with this.
pub(crate) fn stream_names(principal: &str, prefix: &str) -> Vec<u8> {
    named(b'n', principal, prefix)
}

/// `a` time stream: streams by last activity, newest first (the time is stored as its complement).
pub(crate) fn activity(time_us: i64, stream: StreamId) -> Vec<u8> {
    family(b'a', &(!time_us as u64).to_be_bytes(), &stream.0)
}

/// Stream and time of an `a` key.
pub(crate) fn activity_of(key: &[u8]) -> Option<(i64, StreamId)> {
    let time = !u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    Some((time as i64, StreamId(key.get(9..25)?.try_into().ok()?)))
}

/// `u` name: the stream and id of the sub-stream that has it.
pub(crate) fn sub_name(name: &Name) -> Vec<u8> {
    named(b'u', name.principal(), name.name())
}

/// `i` stream sub-stream: its last position and count. 8 bytes each, big-endian.
pub(crate) fn sub(stream: StreamId, sub: SubStreamId) -> Vec<u8> {
    family(b'i', &stream.0, &sub.0)
}

/// All `i` keys of a stream start with this.
pub(crate) fn subs(stream: StreamId) -> Vec<u8> {
    family(b'i', &stream.0, &[])
}

/// `j` stream sub-stream number: position of the record with this number, for every 256th. 8 bytes, big-endian.
pub(crate) fn stride(stream: StreamId, sub: SubStreamId, number: u32) -> Vec<u8> {
    let mut key = family(b'j', &stream.0, &sub.0);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// All `j` keys of a sub-stream start with this.
pub(crate) fn strides(stream: StreamId, sub: SubStreamId) -> Vec<u8> {
    family(b'j', &stream.0, &sub.0)
}

/// `k` stream key: what an append with this idempotency key was answered. JSON.
pub(crate) fn answered(stream: StreamId, key: &IdempotencyKey) -> Vec<u8> {
    family(b'k', &stream.0, key.bytes())
}

/// All `k` keys of a stream start with this.
pub(crate) fn answers(stream: StreamId) -> Vec<u8> {
    family(b'k', &stream.0, &[])
}

/// `f` parent fork: the last position that they share. 8 bytes, big-endian.
pub(crate) fn fork(parent: StreamId, fork: StreamId) -> Vec<u8> {
    family(b'f', &parent.0, &fork.0)
}

/// All `f` keys of a parent start with this.
pub(crate) fn forks(parent: StreamId) -> Vec<u8> {
    family(b'f', &parent.0, &[])
}

/// `d` commit stream: a stream whose records went, or lost their payloads, by that commit. Empty value.
pub(crate) fn removal(commit: u64, stream: StreamId) -> Vec<u8> {
    family(b'd', &commit.to_be_bytes(), &stream.0)
}

/// Commit and stream of a `d` key.
pub(crate) fn removal_of(key: &[u8]) -> Option<(u64, StreamId)> {
    let commit = u64::from_be_bytes(key.get(1..9)?.try_into().ok()?);
    Some((commit, StreamId(key.get(9..25)?.try_into().ok()?)))
}

/// Everything that is kept of one stream alone starts with one of these: its own rows, positions, sub-streams and keys.
pub(crate) fn of_stream(stream: StreamId) -> [Vec<u8>; 5] {
    [b'r', b'p', b'i', b'j', b'k'].map(|tag| family(tag, &stream.0, &[]))
}

/// The principal's length in front: no principal's range reaches into another's.
fn named(tag: u8, principal: &str, name: &str) -> Vec<u8> {
    let mut key = vec![tag];
    key.extend_from_slice(&(principal.len() as u16).to_be_bytes());
    key.extend_from_slice(principal.as_bytes());
    key.extend_from_slice(name.as_bytes());
    key
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
