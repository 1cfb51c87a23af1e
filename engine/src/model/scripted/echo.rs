//! Answers that follow from the messages alone.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio::time::{Interval, interval};
use xxhash_rust::xxh3::xxh3_64;

use crate::item::Role;
use crate::model::{Finish, ModelError, ModelEvent, ModelMessage, Usage};

/// Most characters of the question that an answer repeats.
const ECHO_CHARS_MAX: usize = 2_000;
/// Longest piece of a word that is one token.
const TOKEN_CHARS_MAX: usize = 6;

const OPENINGS: [&str; 4] = [
    "Good question. You wrote:",
    "Let me take that one step at a time. You wrote:",
    "Happy to help. You wrote:",
    "Here is what I make of it. You wrote:",
];
/// An answer has three of them, so that at the usual pace it takes about two seconds: long enough to be interrupted.
const CLOSINGS: [&str; 4] = [
    "I am the scripted model, so this answer only depends on what was said in this conversation, and it comes one token at a time.",
    "No network was asked for this: the scripted model makes every answer from the conversation itself, word by word.",
    "Ask again with the same conversation and you will read exactly these words, since nothing here is left to chance.",
    "Every piece of this answer was stored before you saw it, so you may close the page and come back to read the rest.",
];

/// The answer to these messages at this pace.
pub(super) fn stream(
    messages: &[ModelMessage],
    tokens_per_second: u32,
) -> BoxStream<'static, Result<ModelEvent, ModelError>> {
    let tokens = tokens(&answer(messages));
    let read = messages.iter().map(|message| count(&message.text())).sum();
    let end = ModelEvent::End {
        finish: Finish::Stop,
        usage: Some(Usage::new(read, tokens.len() as u64)),
    };
    let pieces = stream::iter(tokens).map(ModelEvent::Text).chain(stream::iter([end]));
    stream::unfold((pieces.boxed(), None), move |(mut pieces, clock)| async move {
        let mut clock: Option<Interval> = clock;
        if tokens_per_second > 0 {
            clock
                .get_or_insert_with(|| interval(Duration::from_secs(1) / tokens_per_second))
                .tick()
                .await;
        }
        let piece = pieces.next().await?;
        Some((Ok(piece), (pieces, clock)))
    })
    .boxed()
}

pub(super) fn answer(messages: &[ModelMessage]) -> String {
    let mut said = Vec::new();
    for message in messages {
        said.extend_from_slice(message.role().as_str().as_bytes());
        said.push(0);
        said.extend_from_slice(message.text().as_bytes());
        said.push(0);
    }
    let hash = xxh3_64(&said) as usize;
    let question = messages.iter().rev().find(|message| message.role() == Role::User);
    let question = question.map(ModelMessage::text).unwrap_or_default();
    let echo: String = question.trim().chars().take(ECHO_CHARS_MAX).collect();
    let closing = |n: usize| CLOSINGS[(hash / 4 + n) % 4];
    format!(
        "{} \"{echo}\". {} {} {}",
        OPENINGS[hash % 4],
        closing(0),
        closing(1),
        closing(2)
    )
}

/// Word pieces; a piece that begins a word has the space before it.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut token = String::new();
    for c in text.chars() {
        let starts_word = c.is_whitespace() && !token.ends_with(char::is_whitespace);
        if !token.is_empty() && (starts_word || token.trim_start().chars().count() == TOKEN_CHARS_MAX) {
            tokens.push(std::mem::take(&mut token));
        }
        token.push(c);
    }
    tokens.extend((!token.is_empty()).then_some(token));
    tokens
}

fn count(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Vec<ModelMessage> {
        vec![ModelMessage::user(text)]
    }

    #[test]
    fn an_answer_repeats_the_question_in_at_least_twenty_tokens_that_join_to_it() {
        for question in ["", "Why is the sky blue?", "Grüße 👋🏽 \u{2028}\nand more"] {
            let answer = answer(&ask(question));
            assert!(answer.contains(question), "{answer}");
            let tokens = tokens(&answer);
            assert!(tokens.len() >= 20, "{} tokens", tokens.len());
            assert_eq!(tokens.concat(), answer);
        }
    }

    #[test]
    fn an_answer_depends_on_the_messages_only() {
        assert_eq!(answer(&ask("a")), answer(&ask("a")));
        let answers: std::collections::BTreeSet<String> = (0..32)
            .map(|n| answer(&[ask(&n.to_string()), ask("a")].concat()))
            .collect();
        assert!(answers.len() > 4, "earlier messages count: {answers:?}");
    }
}
