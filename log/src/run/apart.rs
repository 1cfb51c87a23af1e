//! Headers set apart: a reversible rearrangement of a block of records that lets LZ4 halve what it takes, and is no slower to read.
//! Drawn in `docs/FORMAT.md`.

use super::RAW_BYTES_MAX;
use super::entry::{TAG, body_bytes};
use crate::codec::v1::RECORD_HEADER_FRAME as HEADER;

const MALFORMED: &str = "the headers that were set apart are malformed";

/// Rearranges a block whose entries start at `starts`, which is not empty.
pub(super) fn set_apart(raw: &[u8], starts: &[usize], into: &mut Vec<u8>) {
    let header = |start: usize| &raw[start + TAG..start + TAG + HEADER];
    let first = header(starts[0]);
    let mut changes = [false; HEADER];
    for &start in &starts[1..] {
        for (change, (one, other)) in changes.iter_mut().zip(header(start).iter().zip(first)) {
            *change |= one != other;
        }
    }
    into.clear();
    into.extend_from_slice(&(starts.len() as u32).to_le_bytes());
    into.extend(starts.iter().map(|&start| raw[start]));
    into.extend_from_slice(first);
    into.push(changes.iter().filter(|change| **change).count() as u8);
    let columns = || (0..HEADER).filter(|&column| changes[column]);
    into.extend(columns().map(|column| column as u8));
    for column in columns() {
        let at = |start: usize| raw[start + TAG + column];
        into.extend(starts.windows(2).map(|pair| at(pair[1]).wrapping_sub(at(pair[0]))));
    }
    let ends = starts[1..].iter().copied().chain([raw.len()]);
    for (&start, end) in starts.iter().zip(ends) {
        into.extend_from_slice(&raw[start + TAG + HEADER..end]);
    }
}

/// The block that [`set_apart`] was given.
pub(super) fn put_together(apart: &[u8]) -> Result<Vec<u8>, &'static str> {
    let (count, rest) = apart.split_first_chunk::<4>().ok_or(MALFORMED)?;
    let count = u32::from_le_bytes(*count) as usize;
    let (tags, rest) = rest.split_at_checked(count).ok_or(MALFORMED)?;
    let (first, rest) = rest.split_first_chunk::<HEADER>().ok_or(MALFORMED)?;
    let (&columns, rest) = rest.split_first().ok_or(MALFORMED)?;
    let (columns, rest) = rest.split_at_checked(columns as usize).ok_or(MALFORMED)?;
    let steps = count.checked_sub(1).ok_or(MALFORMED)?;
    if columns.iter().any(|&column| column as usize >= HEADER) {
        return Err(MALFORMED);
    }
    let (differences, mut bodies) = rest.split_at_checked(columns.len() * steps).ok_or(MALFORMED)?;
    let bytes = count * (TAG + HEADER) + bodies.len();
    if bytes > RAW_BYTES_MAX {
        return Err("the block is larger than any that is written");
    }

    let mut raw = Vec::with_capacity(bytes);
    let mut header = *first;
    for (number, &tag) in tags.iter().enumerate() {
        if let Some(step) = number.checked_sub(1) {
            for (at, &column) in columns.iter().enumerate() {
                let byte = &mut header[column as usize];
                *byte = byte.wrapping_add(differences[at * steps + step]);
            }
        }
        raw.push(tag);
        raw.extend_from_slice(&header);
        let (body, rest) = bodies.split_at_checked(body_bytes(tag, &header)?).ok_or(MALFORMED)?;
        raw.extend_from_slice(body);
        bodies = rest;
    }
    if bodies.is_empty() { Ok(raw) } else { Err(MALFORMED) }
}
