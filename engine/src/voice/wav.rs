//! WAV files: made, and asked how long they are.

use bytes::Bytes;

/// Length of the header that [`wav`] writes.
pub(super) const HEADER_BYTES: usize = 44;

/// One channel of 16 bits per sample.
pub(super) fn wav(samples_per_second: u32, samples: &[i16]) -> Bytes {
    let data = u32::try_from(samples.len() * 2).unwrap_or(u32::MAX);
    let mut file = Vec::with_capacity(HEADER_BYTES + samples.len() * 2);
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(data + 36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend_from_slice(&16u32.to_le_bytes());
    file.extend_from_slice(&1u16.to_le_bytes()); // PCM
    file.extend_from_slice(&1u16.to_le_bytes()); // channels
    file.extend_from_slice(&samples_per_second.to_le_bytes());
    file.extend_from_slice(&(samples_per_second * 2).to_le_bytes());
    file.extend_from_slice(&2u16.to_le_bytes()); // bytes of all channels
    file.extend_from_slice(&16u16.to_le_bytes()); // bits
    file.extend_from_slice(b"data");
    file.extend_from_slice(&data.to_le_bytes());
    samples
        .iter()
        .for_each(|sample| file.extend_from_slice(&sample.to_le_bytes()));
    file.into()
}

/// How many seconds a WAV file plays; `None` if it is none. One that was written as a stream does not know its length: then it is what is there.
pub fn wav_duration(file: &[u8]) -> Option<f64> {
    let word = |at: usize| Some(u32::from_le_bytes(*file.get(at..)?.first_chunk()?));
    if file.get(..4)? != b"RIFF" || file.get(8..12)? != b"WAVE" {
        return None;
    }
    let (mut at, mut bytes_per_second) = (12, 0);
    loop {
        let (id, length) = (file.get(at..at + 4)?, word(at + 4)? as usize);
        let left = file.len().saturating_sub(at + 8);
        match id {
            b"fmt " => bytes_per_second = word(at + 16)?,
            b"data" if bytes_per_second > 0 => return Some(length.min(left) as f64 / f64::from(bytes_per_second)),
            _ => {}
        }
        // A chunk of an odd length has a byte behind it.
        at = at.checked_add(8 + length + length % 2)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_knows_how_long_it_is() {
        let file = wav(8_000, &[0; 12_000]);
        assert_eq!(wav_duration(&file), Some(1.5));
        let mut endless = file.to_vec();
        endless[40..44].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(wav_duration(&endless), Some(1.5), "written as a stream");
        let mut listed = file[..36].to_vec();
        listed.extend_from_slice(b"LIST\x03\0\0\0abc\0");
        listed.extend_from_slice(&file[36..]);
        assert_eq!(wav_duration(&listed), Some(1.5), "with a chunk of another kind");
        for cut in 0..HEADER_BYTES {
            assert_eq!(wav_duration(&file[..cut]), None, "{cut} bytes");
        }
        assert_eq!(wav_duration(b"\xff\xf3\x40\xc4"), None);
    }
}
