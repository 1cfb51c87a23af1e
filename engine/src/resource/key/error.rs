//! Why a key is refused.

use std::fmt;

use super::KEY_LEN_MAX;

/// So much of a key that is refused is shown, in characters.
pub(super) const SHOWN_MAX: usize = 100;

/// Why a key is none of a collection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key:?} is no key{}: {problem}", of(.pattern))]
pub struct KeyError {
    /// The collection's pattern; empty if no collection was asked for.
    pub pattern: String,
    /// The key, cut if it is long.
    pub key: String,
    /// What is wrong with it.
    pub problem: KeyProblem,
}

impl KeyError {
    pub(super) fn new(pattern: &str, key: impl fmt::Display, problem: KeyProblem) -> Self {
        Self {
            pattern: pattern.to_owned(),
            key: key.to_string().chars().take(SHOWN_MAX).collect(),
            problem,
        }
    }
}

fn of(pattern: &str) -> String {
    match pattern {
        "" => String::new(),
        pattern => format!(" of {pattern:?}"),
    }
}

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyProblem {
    /// Nothing is left of it, or of a parameter's value.
    #[error("it is empty{}; give it at least one character besides slashes", .0.as_ref().map(|name| format!(" at {name:?}")).unwrap_or_default())]
    Empty(Option<String>),
    /// It is longer than keys may be.
    #[error("it has {0} bytes with what stands before it, and {KEY_LEN_MAX} are allowed; shorten it")]
    TooLong(usize),
    /// It has a character that nobody sees.
    #[error("it has the character U+{:04X}, which nobody sees; leave that out", u32::from(*.0))]
    Unseen(char),
    /// It has a segment that means a place and is no name.
    #[error("the segment {0:?} is no name; write the key out in full")]
    Dots(String),
    /// A parameter's value is more than one segment.
    #[error("the value of {0:?} has a slash or backslash; replace it by another character")]
    Separator(String),
    /// It has more levels than the pattern.
    #[error(
        "it has several segments, and the pattern has one level; take out its slashes, or end the pattern with `/**`"
    )]
    Levels,
    /// A text was given for parameters.
    #[error("it is text, and the pattern has parameters; give a text for each: {}", .0.join(", "))]
    NeedsParameters(Vec<String>),
    /// Parameters were given for a wildcard.
    #[error("it is parameters, and the pattern has a wildcard; give the text that this stands for")]
    NeedsText,
    /// A parameter was not given.
    #[error("the parameter {0:?} is missing; give it a text")]
    Missing(String),
    /// A parameter that the pattern does not have.
    #[error("the pattern has no parameter {name:?}; it has {}", .known.join(", "))]
    Unknown {
        /// Its name.
        name: String,
        /// What the pattern has.
        known: Vec<String>,
    },
    /// A parameter was given twice.
    #[error("the parameter {0:?} is given twice; give it once")]
    Twice(String),
    /// Neither by itself nor behind what all keys begin with.
    #[error("the pattern does not have it, neither as a whole key nor as what differs of one")]
    NoMatch,
}
