//! Where a client wants a stream to go on: the number of the last event that it has.
//! What lies beyond a request's end is decided where the stream is opened, in `server/routes/requests`.

/// Largest number that a JavaScript client can hold exactly.
const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// The number after which to go on; 0 is the start. `starting_after` goes before `last_event_id`; what is malformed counts as not given.
/// `last_event_id` is the `id:` of a frame of this request, or its number alone.
pub(crate) fn cursor(request_id: &str, starting_after: Option<&str>, last_event_id: Option<&str>) -> u64 {
    starting_after
        .and_then(|text| number(text.trim()))
        .or_else(|| {
            let id = last_event_id?.trim();
            match id.rsplit_once(':') {
                Some((request, n)) => number(n).filter(|_| request == request_id),
                None => number(id),
            }
        })
        .unwrap_or(0)
}

fn number(digits: &str) -> Option<u64> {
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())
        .flatten()
        .filter(|&n| n <= SAFE_INTEGER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_goes_first_and_what_is_malformed_is_not_there() {
        for (query, header, expected) in [
            (None, None, 0),
            (Some("5"), None, 5),
            (Some(" 5 "), Some("r:9"), 5),
            (Some("0"), Some("r:9"), 0),
            (Some("9007199254740991"), None, 9_007_199_254_740_991),
            (Some("9007199254740992"), Some("r:2"), 2),
            (Some("99999999999999999999"), None, 0),
            (Some("abc"), None, 0),
            (Some("abc"), Some("r:9"), 9),
            (Some("-1"), None, 0),
            (Some("+1"), None, 0),
            (Some("2.5"), None, 0),
            (Some(""), Some("r:4"), 4),
            (Some("٣"), None, 0),
            (None, Some("r:5"), 5),
            (None, Some("42"), 42),
            (None, Some("other:5"), 0),
            (None, Some(":5"), 0),
            (None, Some("r:"), 0),
            (None, Some("r:-5"), 0),
            (None, Some("r"), 0),
            (None, Some(""), 0),
        ] {
            assert_eq!(cursor("r", query, header), expected, "{query:?} {header:?}");
        }
    }

    #[test]
    fn a_frame_id_is_split_at_its_last_colon() {
        assert_eq!(cursor("a:1:b", None, Some("a:1:b:7")), 7);
        assert_eq!(cursor("a:1", None, Some("a:1")), 0, "names the request a");
        assert_eq!(cursor("é:1", None, Some("é:1:3")), 3);
    }
}
