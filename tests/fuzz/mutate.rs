//! Spoils bytes as disks, editors and enemies do: flipped bits, cuts, splices, boundary values where a number may stand.

use flowstate_log::disk::memory::Choice;

/// Numbers at which lengths and counts go wrong.
const BOUNDARIES: [u64; 10] = [
    0,
    1,
    0x7f,
    0xff,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0xffff_ffff,
    0x7fff_ffff_ffff_ffff,
    u64::MAX,
];
/// Most bytes that a splice moves.
const SPLICE_MAX: usize = 64;

/// Spoils `bytes` in one to four ways; `other` is something valid to splice from.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], choice: &mut Choice) {
    for _ in 0..1 + choice.below(4) {
        if bytes.is_empty() {
            bytes.extend_from_slice(other);
        }
        let at = choice.below(bytes.len().max(1));
        match choice.below(7) {
            0 => bytes[at] ^= 1 << choice.below(8),
            1 => bytes[at] = choice.bits() as u8,
            2 => bytes.truncate(at),
            3 => {
                let number = BOUNDARIES[choice.below(BOUNDARIES.len())].to_le_bytes();
                let width = [1, 2, 4, 8][choice.below(4)].min(bytes.len() - at);
                bytes[at..at + width].copy_from_slice(&number[..width]);
            }
            4 if !other.is_empty() => {
                let from = choice.below(other.len());
                let piece = &other[from..(from + 1 + choice.below(SPLICE_MAX)).min(other.len())];
                let end = (at + piece.len()).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            5 => {
                let end = (at + 1 + choice.below(SPLICE_MAX)).min(bytes.len());
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            _ => drop(bytes.drain(at..(at + 1 + choice.below(SPLICE_MAX)).min(bytes.len()))),
        }
    }
}
