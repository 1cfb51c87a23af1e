//! Text on its way to stdout and stderr: written whole, and with nothing in it that a terminal would obey.

use std::io::{IsTerminal, Write, stdout};

use super::failure::Failure;

/// Without what a terminal would obey: models, and servers, say what they like.
pub(super) fn plain(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() && c != '\n' && c != '\t' {
            '\u{fffd}'
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

/// JSON as this stream gets it: for a terminal, what it would obey and JSON leaves as it is, is escaped.
pub(super) fn json(line: String, stream: &impl IsTerminal) -> String {
    match line.contains(is_raw) && stream.is_terminal() {
        true => escaped(&line),
        false => line,
    }
}

/// Control characters that JSON has as they are; only its texts can hold them.
fn is_raw(c: char) -> bool {
    matches!(c, '\u{7f}'..='\u{9f}')
}

fn escaped(line: &str) -> String {
    let mut escaped = String::with_capacity(line.len());
    for c in line.chars() {
        match is_raw(c) {
            true => escaped.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => escaped.push(c),
        }
    }
    escaped
}

/// Writes to stdout, all of it.
pub(super) fn print(text: &[u8]) -> Result<(), Failure> {
    let mut out = stdout().lock();
    out.write_all(text)
        .and_then(|()| out.flush())
        .map_err(Failure::unwritten)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_and_json_says_the_same() {
        let said = json!({ "delta": "a\u{1b}[2J\u{7f}\u{80}\u{9b}\u{9f}\u{a0}é\n" });
        let line = said.to_string();
        let shown = escaped(&line);
        assert!(
            shown.contains("\\u007f\\u0080\\u009b\\u009f\u{a0}é") && !shown.contains(char::is_control),
            "{shown:?}"
        );
        assert_eq!(serde_json::from_str::<Value>(&shown).ok(), Some(said));
        assert_eq!(plain("a\u{1b}[2J\r\u{9b}\n\tb"), "a\u{fffd}[2J\u{fffd}\u{fffd}\n\tb");
    }
}
