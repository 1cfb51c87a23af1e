//! The frame of a piece of text, from the bytes of its record: most of what is ever sent. The text is JSON where it is stored and JSON where it is
//! sent, so it is copied, and neither read nor written again.

use bytes::{BufMut, BytesMut};

use super::event::FrameId;

/// A `content.delta` as it is stored, its text still JSON.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StoredDelta<'a> {
    pub(crate) item: u32,
    part: u32,
    /// A JSON string, quotes included, of one line.
    delta: &'a [u8],
}

impl<'a> StoredDelta<'a> {
    /// What a payload says, if it is written just as it is written here; whatever else may mean the same is for the decoder.
    pub(crate) fn read(payload: &'a [u8]) -> Option<Self> {
        let (item, rest) = number(payload.strip_prefix(b"{\"item\":")?)?;
        let (part, rest) = number(rest.strip_prefix(b",\"part\":")?)?;
        let delta = rest.strip_prefix(b",\"delta\":")?.strip_suffix(b"}")?;
        is_string(delta).then_some(Self { item, part, delta })
    }

    /// Appends the frame that [`super::event::Event::frame`] would make of it. `request` and `item` are JSON strings: the request's id, and what
    /// the ids of its items begin with, without the quote at its end.
    pub(crate) fn frame(&self, id: FrameId<'_>, of: Names<'_>, number: u64, ts: i64, frames: &mut BytesMut) {
        let request = &of.request[..of.request.len() - 1];
        frames.put_slice(b"id: ");
        frames.put_slice(id.of.as_bytes());
        frames.put_u8(b':');
        put_number(id.number, frames);
        frames.put_slice(
            b"\nevent: content.delta\ndata: {\"stream\":\"request\",\"type\":\"content.delta\",\"requestId\":",
        );
        frames.put_slice(of.request.as_bytes());
        frames.put_slice(b",\"sequence_number\":");
        put_number(number, frames);
        frames.put_slice(b",\"ts\":");
        if ts < 0 {
            frames.put_u8(b'-');
        }
        put_number(ts.unsigned_abs(), frames);
        frames.put_slice(b",\"id\":");
        frames.put_slice(request.as_bytes());
        frames.put_u8(b':');
        put_number(number, frames);
        frames.put_slice(b"\",\"itemId\":");
        frames.put_slice(of.item.as_bytes());
        put_number(self.item.into(), frames);
        frames.put_slice(b"\",\"contentIndex\":");
        put_number(self.part.into(), frames);
        frames.put_slice(b",\"delta\":");
        frames.put_slice(self.delta);
        frames.put_slice(b"}\n\n");
    }
}

/// What the frames of a request's deltas have in common, as JSON.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'a> {
    /// The request's id, with its quotes.
    pub(crate) request: &'a str,
    /// The ids of its items up to their number, with the quote before.
    pub(crate) item: &'a str,
}

/// A whole number as JSON has it, and what follows it.
fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, rest) = bytes.split_at(digits);
    Some((str::from_utf8(number).ok()?.parse().ok()?, rest))
}

/// Whether it is one JSON string and nothing else. One that is has no line break in it.
fn is_string(json: &[u8]) -> bool {
    let Some(inner) = json.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")) else {
        return false;
    };
    let mut bytes = inner.iter();
    while let Some(byte) = bytes.next() {
        let is_allowed = match byte {
            0..0x20 | b'"' => false,
            b'\\' => match bytes.next() {
                Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => true,
                // Two of these may be one character; that is for the decoder.
                _ => false,
            },
            _ => true,
        };
        if !is_allowed {
            return false;
        }
    }
    str::from_utf8(inner).is_ok()
}

fn put_number(mut number: u64, into: &mut BytesMut) {
    let mut digits = [0; 20];
    let mut from = digits.len();
    loop {
        from -= 1;
        digits[from] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    into.put_slice(&digits[from..]);
}

#[cfg(test)]
mod tests {
    use flowstate_engine::item::item_id;
    use flowstate_engine::record::ContentDelta;
    use flowstate_log::record::SubStreamId;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::event::Event;

    const SUB: SubStreamId = SubStreamId([0xab; 16]);

    fn payload(delta: &ContentDelta) -> Vec<u8> {
        serde_json::to_vec(delta).expect("a payload")
    }

    proptest! {
        #[test]
        fn a_copied_frame_is_the_frame_that_would_be_made(
            text in "(?s).{0,40}", request in "[a-z\"\\\\é:]{1,9}", item: u32, part: u32, number: u64, ts: i64,
        ) {
            let delta = ContentDelta { item, part, delta: text };
            let stored = payload(&delta);
            let copied = StoredDelta::read(&stored);
            // Only what is written as \u… is left to the decoder.
            prop_assert_eq!(copied.is_none(), stored.windows(2).any(|pair| pair == b"\\u"));
            let Some(copied) = copied else { return Ok(()) };
            let id = FrameId { of: "session", number: 9 };
            let (mut made, mut put) = (BytesMut::new(), BytesMut::new());
            let event = Event::of_delta(SUB, delta);
            event.frame(Some(id), FrameId { of: &request, number }, ts, &mut made).expect("a frame");
            let request = serde_json::to_string(&request).expect("JSON");
            let first = item_id(SUB, 0);
            let names = Names { request: &request, item: &format!("\"{}", first.trim_end_matches('0')) };
            copied.frame(id, names, number, ts, &mut put);
            prop_assert_eq!(str::from_utf8(&made), str::from_utf8(&put));
        }

        #[test]
        fn what_is_taken_for_a_string_is_one(json in "\"?[a\\\\\"nu0\\n ]{0,12}\"?") {
            if is_string(json.as_bytes()) {
                prop_assert!(serde_json::from_str::<String>(&json).is_ok(), "{json}");
                prop_assert!(!json.contains('\n'));
            }
        }
    }

    #[test]
    fn what_is_written_otherwise_is_left_to_the_decoder() {
        for payload in [
            "{\"part\":0,\"item\":0,\"delta\":\"a\"}",
            "{\"item\":0,\"part\":0,\"delta\":\"a\" }",
            "{\"item\":0,\"part\":0,\"delta\":\"a\"\n\n,\"more\":\"b\"}",
            "{\"item\":0,\"part\":0,\"delta\":7}",
            "{\"item\":4294967296,\"part\":0,\"delta\":\"a\"}",
            "{\"item\":0,\"part\":0,\"delta\":\"\\u000a\"}",
            "{}",
            "",
        ] {
            assert_eq!(StoredDelta::read(payload.as_bytes()), None, "{payload}");
        }
    }
}
