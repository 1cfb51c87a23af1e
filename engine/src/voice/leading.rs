//! What players tell pieces of audio apart by. Known ones take two parts of one message whose first 15 bytes are alike for one, and play it once;
//! bare MP3 begins alike wherever it was made in one way. So each gets a leading tag of a length of its own, as any player skips.

use bytes::{BufMut, Bytes, BytesMut};

use super::SpeechFormat;

/// ID3, version 2.3, no flags; its length follows.
const TAG: &[u8] = b"ID3\x03\0\0";
/// A frame of a tag: private, empty but for its owner's name, which is empty.
const FRAME: &[u8] = b"PRIV\0\0\0\x01\0\0\0";
/// Most that a tag's length can say.
const LENGTH_MAX: u32 = (1 << 28) - 1;

/// The audio of part `part` of a message.
pub(crate) fn told_apart(audio: Bytes, media_type: &str, part: u32) -> Bytes {
    let mp3 = [SpeechFormat::Mp3.media_type(), "audio/mp3"].contains(&media_type);
    // The frame, and padding.
    let length = FRAME.len() as u32 + part;
    if !mp3 || length > LENGTH_MAX {
        return audio;
    }
    let mut tagged = BytesMut::with_capacity(TAG.len() + 4 + length as usize + audio.len());
    tagged.put_slice(TAG);
    // Seven bits in each byte.
    tagged.put_slice(&[21, 14, 7, 0].map(|shift| (length >> shift) as u8 & 0x7f));
    tagged.put_slice(FRAME);
    tagged.put_bytes(0, part as usize);
    tagged.put_slice(&audio);
    tagged.freeze()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn parts_of_mp3_begin_differently_and_go_on_as_they_were() {
        let frames = Bytes::from_static(b"\xff\xf3\x44\xc4 the same for every sentence");
        let mut begin = HashSet::new();
        for part in 1..300 {
            let tagged = told_apart(frames.clone(), "audio/mpeg", part);
            let length = tagged[6..10]
                .iter()
                .fold(0, |length, bits| length << 7 | usize::from(*bits));
            assert_eq!(tagged[10 + length..], frames);
            assert!(begin.insert(tagged.slice(..15)), "part {part}");
        }
        assert_eq!(
            told_apart(frames.clone(), "audio/wav", 3),
            frames,
            "it has its length in it"
        );
    }
}
