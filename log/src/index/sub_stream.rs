//! Where a sub-stream's records stand in their stream: its ends, and the position of every 256th record.

use crate::limits::SUB_STREAM_STRIDE;
use crate::record::Name;

/// Where a sub-stream's records stand in their stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SubStream {
    /// Known if it was opened since the stream came into use, or was asked for by name.
    pub(crate) name: Option<Name>,
    pub(crate) last: u64,
    pub(crate) count: u64,
    /// Positions of the records numbered 1, 257, 513, ...
    pub(crate) stride: Vec<u64>,
    /// How many of them its rows have.
    pub(crate) stride_written: usize,
}

impl SubStream {
    /// Position of its record number 1.
    pub(crate) fn first(&self) -> u64 {
        self.stride.first().copied().unwrap_or(0)
    }

    /// Takes in its next record.
    pub(crate) fn push(&mut self, position: u64, number: u64) -> Result<(), String> {
        if number != self.count + 1 {
            return Err(format!("number {number} follows {} in a sub-stream", self.count));
        }
        self.count = number;
        self.last = position;
        if (number - 1).is_multiple_of(SUB_STREAM_STRIDE) {
            self.stride.push(position);
        }
        Ok(())
    }

    /// A position at or before that of record `number`, found without reading: at most the records that others put between are too many.
    pub(crate) fn floor(&self, number: u64) -> u64 {
        let before = number.saturating_sub(1);
        let step = (before / SUB_STREAM_STRIDE).min((self.stride.len() as u64).saturating_sub(1));
        self.stride.get(step as usize).copied().unwrap_or(1) + (before - step * SUB_STREAM_STRIDE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resume_starts_at_or_before_its_record_and_never_far_before() {
        // Two sub-streams, one record in three is the second's.
        let (mut subs, mut places) = ([SubStream::default(), SubStream::default()], [Vec::new(), Vec::new()]);
        for position in 1..=3_000u64 {
            let which = usize::from(position % 3 == 0);
            places[which].push(position);
            subs[which]
                .push(position, places[which].len() as u64)
                .expect("the next record");
        }
        for (sub, places) in subs.iter().zip(&places) {
            for (number, position) in (1u64..).zip(places) {
                let floor = sub.floor(number);
                assert!(floor <= *position, "record {number} would be missed");
                let interleaved = position - floor;
                assert!(
                    interleaved <= SUB_STREAM_STRIDE * 3,
                    "{interleaved} records too many before {number}"
                );
            }
        }
    }
}
