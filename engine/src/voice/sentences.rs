//! Text as it comes, cut into what is spoken at once.

/// Most characters that are spoken at once: a text without the end of a sentence is cut before the last word that fits.
pub(crate) const SENTENCE_CHARS_MAX: usize = 1_000;

/// What of a text was not spoken yet. A sentence ends with `.`, `!` or `?` before white space.
#[derive(Debug, Default)]
pub(crate) struct Sentences {
    rest: String,
    chars: usize,
    /// The last character may end a sentence.
    may_end: bool,
}

impl Sentences {
    /// Takes in more of the text, and gives the sentences that it ends.
    pub(crate) fn push(&mut self, more: &str, mut sentence: impl FnMut(String)) {
        for c in more.chars() {
            if self.may_end && c.is_whitespace() {
                self.cut(self.rest.len(), &mut sentence);
            }
            self.may_end = matches!(c, '.' | '!' | '?');
            if self.rest.is_empty() && c.is_whitespace() {
                continue;
            }
            if self.chars == SENTENCE_CHARS_MAX {
                let word = self.rest.rfind(char::is_whitespace);
                self.cut(word.unwrap_or(self.rest.len()), &mut sentence);
            }
            self.rest.push(c);
            self.chars += 1;
        }
    }

    /// The text is whole: gives what is left of it.
    pub(crate) fn end(&mut self, mut sentence: impl FnMut(String)) {
        self.cut(self.rest.len(), &mut sentence);
        self.may_end = false;
    }

    /// What has no letter and no digit can't be said.
    fn cut(&mut self, at: usize, sentence: &mut impl FnMut(String)) {
        let rest = self.rest.get(at..).unwrap_or_default().trim_start().to_owned();
        self.rest.truncate(at);
        let said = self.rest.trim();
        if said.chars().any(char::is_alphanumeric) {
            sentence(said.to_owned());
        }
        self.chars = rest.chars().count();
        self.rest = rest;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(pieces: &[&str]) -> Vec<String> {
        let (mut sentences, mut said) = (Sentences::default(), Vec::new());
        for piece in pieces {
            sentences.push(piece, |sentence| said.push(sentence));
        }
        sentences.end(|sentence| said.push(sentence));
        said
    }

    #[test]
    fn a_sentence_ends_before_white_space() {
        for (text, expected) in [
            ("One. Two! Three? Four", vec!["One.", "Two!", "Three?", "Four"]),
            (
                "Pi is 3.14 or so.\n\nReally?!  Yes",
                vec!["Pi is 3.14 or so.", "Really?!", "Yes"],
            ),
            ("Wait... what.", vec!["Wait...", "what."]),
            ("See e.g. this", vec!["See e.g.", "this"]),
            ("No end", vec!["No end"]),
            ("  \n ", vec![]),
            ("--- ** . !\n# 🦀. Ja.", vec!["Ja."]),
            ("**1.** Grüße.", vec!["**1.** Grüße."]),
            ("", vec![]),
        ] {
            assert_eq!(cut(&[text]), expected, "{text:?}");
        }
    }

    #[test]
    fn a_long_text_without_an_end_is_cut_between_words() {
        let words = "word ".repeat(SENTENCE_CHARS_MAX / 5 + 1);
        let said = cut(&[&words]);
        assert_eq!((said.len(), said[0].chars().count()), (2, SENTENCE_CHARS_MAX - 1));
        assert_eq!(said[1], "word");
        let unbroken = "ä".repeat(2 * SENTENCE_CHARS_MAX + 1);
        let lengths: Vec<_> = cut(&[&unbroken]).iter().map(|said| said.chars().count()).collect();
        assert_eq!(lengths, [SENTENCE_CHARS_MAX, SENTENCE_CHARS_MAX, 1]);
    }

    proptest! {
        /// However the text comes in pieces, the same is said, in order, and no letter is lost.
        #[test]
        fn pieces_do_not_matter(pieces in prop::collection::vec("[a-c .!?\n*]{0,9}", 0..12)) {
            let text = pieces.concat();
            let parts: Vec<&str> = pieces.iter().map(String::as_str).collect();
            let said = cut(&parts);
            prop_assert_eq!(&said, &cut(&[&text]));
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            prop_assert_eq!(letters(&said.concat()), letters(&text));
        }
    }
}
