//! Which keys a collection has.
//!
//! | pattern | has | is asked with |
//! |---|---|---|
//! | `files/*` | one level below `files/` | text: `readme.md` |
//! | `files/**` | any level below it, at least one | text: `src/main.rs` |
//! | `[topic]/observations` | what the parameters make of it | parameters: `[("topic", "tea")]` |
//!
//! A pattern either ends with one wildcard behind literal segments, or has parameters among them: never both, so that it is plain how its keys
//! are asked for. A wildcard or a parameter is a whole segment. Literal segments have letters, digits, `_`, `-` and `.`.

#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

/// Longest pattern, in bytes: half of a key, so that what two patterns share is never too long to be one.
const PATTERN_LEN_MAX: usize = 256;

/// Which keys a collection has: `files/*`, `files/**`, `[topic]/observations`.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: Box<str>,
    segments: Box<[Segment]>,
    /// So much of the text is the same in all keys.
    prefix_len: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    Literal(Box<str>),
    /// One segment.
    Any,
    /// One or more.
    Deep,
    Parameter(Box<str>),
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pattern:?} is no pattern: {problem}")]
pub struct PatternError {
    /// The text.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: PatternProblem,
}

/// What is wrong with a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternProblem {
    /// It has no characters.
    #[error("it is empty; write `files/*`, `files/**` or `[topic]/observations`")]
    Empty,
    /// It is longer than patterns may be.
    #[error("it has {0} bytes, and {PATTERN_LEN_MAX} are allowed")]
    TooLong(usize),
    /// It begins or ends with a slash, or has two in a row.
    #[error("it has an empty segment; write one slash between segments, and none around them")]
    EmptySegment,
    /// A segment is neither a literal, nor a wildcard, nor a parameter.
    #[error("the segment {0:?} is none; it may be `*`, `**`, `[parameter]`, or letters, digits, `_`, `-` and `.`")]
    Segment(String),
    /// A segment leads nowhere.
    #[error("the segment {0:?} is part of no key; leave it out")]
    Dots(String),
    /// A parameter's name is none.
    #[error(
        "the parameter {0:?} has no name that is one; begin it with a letter or `_`, and go on with these and digits"
    )]
    Parameter(String),
    /// Two parameters have one name.
    #[error("it has the parameter {0:?} twice; give each a name of its own")]
    DuplicateParameter(String),
    /// A wildcard has something behind it.
    #[error("a wildcard may only be the last segment; name the others as parameters, like `a/[b]/c`")]
    WildcardNotLast,
    /// It has parameters and a wildcard.
    #[error("it has parameters and a wildcard; take either, like `[a]/[b]` or `a/*`")]
    Mixed,
    /// All its keys would be one.
    #[error("it is one key; end it with `/*` or `/**`, or put a parameter like `[topic]` into it")]
    Fixed,
}

impl Pattern {
    /// Reads a pattern.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        Self::read(text).map_err(|problem| PatternError {
            pattern: text.to_owned(),
            problem,
        })
    }

    fn read(text: &str) -> Result<Self, PatternProblem> {
        if text.is_empty() {
            return Err(PatternProblem::Empty);
        }
        if text.len() > PATTERN_LEN_MAX {
            return Err(PatternProblem::TooLong(text.len()));
        }
        let segments: Box<[Segment]> = text.split('/').map(Segment::read).collect::<Result<_, _>>()?;
        let wildcard = segments.iter().position(Segment::is_wildcard);
        if wildcard.is_some_and(|at| at + 1 < segments.len()) {
            return Err(PatternProblem::WildcardNotLast);
        }
        let mut names: Vec<&str> = segments.iter().filter_map(Segment::parameter).collect();
        match (wildcard, names.is_empty()) {
            (None, true) => return Err(PatternProblem::Fixed),
            (Some(_), false) => return Err(PatternProblem::Mixed),
            _ => names.sort_unstable(),
        }
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(PatternProblem::DuplicateParameter(twice[0].to_owned()));
        }
        let literals = segments.iter().map_while(Segment::literal);
        let prefix_len = literals.map(|literal| literal.len() + 1).sum();
        Ok(Self {
            text: text.into(),
            prefix_len,
            segments,
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What all keys begin with, with the slash behind it; empty if the pattern begins with what differs.
    pub fn literal_prefix(&self) -> &str {
        &self.text[..self.prefix_len]
    }

    /// The names of its parameters, in their order; none if it has a wildcard.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(Segment::parameter)
    }

    /// Whether some key is in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut mine, mut others) = (self.segments.iter(), other.segments.iter());
        loop {
            return match (mine.next(), others.next()) {
                (None, None) => true,
                // The other has a segment here, and so has whatever it goes on with.
                (Some(Segment::Deep), Some(_)) | (Some(_), Some(Segment::Deep)) => true,
                (Some(Segment::Literal(mine)), Some(Segment::Literal(other))) if mine != other => false,
                (Some(_), Some(_)) => continue,
                _ => false,
            };
        }
    }

    /// Whether a storage key is one of its.
    pub fn matches(&self, key: &str) -> bool {
        let mut segments = key.split('/');
        let fits = self.segments.iter().all(|expected| match (expected, segments.next()) {
            (_, None | Some("")) => false,
            (Segment::Literal(literal), Some(segment)) => **literal == *segment,
            (Segment::Deep, Some(_)) => segments.all(|segment| !segment.is_empty()),
            (Segment::Any | Segment::Parameter(_), Some(_)) => true,
        });
        fits && segments.next().is_none()
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.segments
    }
}

impl Segment {
    fn read(text: &str) -> Result<Self, PatternProblem> {
        let is_named = |c: char| c.is_ascii_alphanumeric() || c == '_';
        match text {
            "" => Err(PatternProblem::EmptySegment),
            "*" => Ok(Self::Any),
            "**" => Ok(Self::Deep),
            "." | ".." => Err(PatternProblem::Dots(text.to_owned())),
            _ => match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
                Some(name) if name.starts_with(|c: char| c.is_ascii_digit()) => {
                    Err(PatternProblem::Parameter(name.into()))
                }
                Some(name) if name.is_empty() || !name.chars().all(is_named) => {
                    Err(PatternProblem::Parameter(name.into()))
                }
                Some(name) => Ok(Self::Parameter(name.into())),
                None if text.chars().all(|c| is_named(c) || c == '-' || c == '.') => Ok(Self::Literal(text.into())),
                None => Err(PatternProblem::Segment(text.to_owned())),
            },
        }
    }

    fn is_wildcard(&self) -> bool {
        matches!(self, Self::Any | Self::Deep)
    }

    fn literal(&self) -> Option<&str> {
        match self {
            Self::Literal(literal) => Some(literal),
            _ => None,
        }
    }

    fn parameter(&self) -> Option<&str> {
        match self {
            Self::Parameter(name) => Some(name),
            _ => None,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        Self::parse(text)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "Pattern({:?})", self.text)
    }
}
