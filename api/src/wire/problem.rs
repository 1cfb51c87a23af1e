//! The body of every answer that is not a success. Which status and code it comes with is in `server/error`.

use serde::Serialize;

/// What was wrong and what to do about it.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorBody {
    pub(crate) error: String,
    pub(crate) code: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) details: Vec<Problem>,
}

/// One thing that is wrong, by the path of the field that is to blame.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Problem {
    pub(crate) path: String,
    pub(crate) message: String,
}

impl Problem {
    /// Both texts may quote what a caller sent, so they are cut.
    pub(crate) fn new(path: &str, message: &str) -> Self {
        Self {
            path: excerpt(path),
            message: excerpt(message),
        }
    }
}

/// A text that may come from a caller, cut to what an answer can bear.
pub(crate) fn excerpt(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_cut_between_characters() {
        assert_eq!(excerpt(&"é".repeat(200)), "é".repeat(200));
        assert_eq!(excerpt(&"é".repeat(201)), format!("{}…", "é".repeat(200)));
    }
}
