//! Keys of a collection: what callers ask with, and what is stored.
//!
//! A key is made plain before it is used: composed as Unicode's NFC has it, with slashes for backslashes, none at its ends and none twice. What is
//! then empty, longer than 512 bytes, a `.` or `..` on the way, or has characters that nobody sees (control and format characters, and
//! whatever else Unicode says may be ignored in display) is refused, so that no two keys look alike for that. Otherwise keys are compared byte by byte.

mod error;
#[cfg(test)]
mod tests;

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use icu_normalizer::ComposingNormalizerBorrowed;
use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
use icu_properties::{CodePointMapData, CodePointSetData};

use super::pattern::{Pattern, Segment};
pub use error::{KeyError, KeyProblem};

/// Longest storage key, in bytes.
const KEY_LEN_MAX: usize = 512;

/// What an instance of a collection is asked for with: text if the pattern has a wildcard, else a text for each parameter.
///
/// It is the key without what all keys of the collection begin with: `readme.md` of `files/*` is `files/readme.md`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// What the wildcard stands for.
    Path(String),
    /// Each parameter with its value.
    Params(Vec<(String, String)>),
}

impl Key {
    /// A key of parameters: `Key::params([("topic", "tea")])`.
    pub fn params<N: Into<String>, V: Into<String>>(params: impl IntoIterator<Item = (N, V)>) -> Self {
        let params = params.into_iter();
        Self::Params(params.map(|(name, value)| (name.into(), value.into())).collect())
    }
}

impl From<&str> for Key {
    fn from(path: &str) -> Self {
        Self::Path(path.to_owned())
    }
}

impl From<String> for Key {
    fn from(path: String) -> Self {
        Self::Path(path)
    }
}

impl From<&String> for Key {
    fn from(path: &String) -> Self {
        Self::Path(path.clone())
    }
}

impl<N: Into<String>, V: Into<String>, const COUNT: usize> From<[(N, V); COUNT]> for Key {
    fn from(params: [(N, V); COUNT]) -> Self {
        Self::params(params)
    }
}

impl<N: Into<String>, V: Into<String>> From<Vec<(N, V)>> for Key {
    fn from(params: Vec<(N, V)>) -> Self {
        Self::params(params)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => to.write_str(path),
            Self::Params(params) => {
                let params: Vec<String> = params.iter().map(|(name, value)| format!("{name}={value}")).collect();
                to.write_str(&params.join(","))
            }
        }
    }
}

/// A whole key, plain: `files/readme.md`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StorageKey(Arc<str>);

impl StorageKey {
    /// Makes a whole key plain, of whatever it is one.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        plain(text)
            .and_then(Self::of)
            .map_err(|problem| KeyError::new("", text, problem))
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(key: String) -> Result<Self, KeyProblem> {
        match key.len() {
            0..=KEY_LEN_MAX => Ok(Self(key.into())),
            len => Err(KeyProblem::TooLong(len)),
        }
    }
}

impl Borrow<str> for StorageKey {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StorageKey {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str(&self.0)
    }
}

impl Pattern {
    /// The whole key of what is asked for with `key`, which is what differs between the keys: a whole key is taken for that, too.
    pub fn storage_key(&self, key: &Key) -> Result<StorageKey, KeyError> {
        let made = match key {
            Key::Path(path) => self.of_path(path),
            Key::Params(params) => self.of_params(params),
        };
        made.and_then(StorageKey::of)
            .map_err(|problem| KeyError::new(self.as_str(), key, problem))
    }

    /// The keys that a client's `topic` may mean, in the order in which they are to be looked for: it may be a whole key, or what differs of one.
    pub fn client_key(&self, topic: &str) -> Result<Vec<StorageKey>, KeyError> {
        let failed = |problem| KeyError::new(self.as_str(), topic, problem);
        let whole = plain(topic).map_err(failed)?;
        let behind = match self.literal_prefix() {
            "" => None,
            prefix => Some(format!("{prefix}{whole}")),
        };
        let fitting = [Some(whole), behind]
            .into_iter()
            .flatten()
            .filter(|key| self.matches(key));
        let mut keys = Vec::new();
        let mut problem = KeyProblem::NoMatch;
        for key in fitting {
            match StorageKey::of(key) {
                Ok(key) => keys.push(key),
                Err(too_long) => problem = too_long,
            }
        }
        match keys.is_empty() {
            false => Ok(keys),
            true => Err(failed(problem)),
        }
    }

    /// What differs of a whole key.
    pub fn topic<'a>(&self, storage_key: &'a str) -> &'a str {
        storage_key.strip_prefix(self.literal_prefix()).unwrap_or(storage_key)
    }

    fn of_path(&self, path: &str) -> Result<String, KeyProblem> {
        if self.parameters().next().is_some() {
            return Err(KeyProblem::NeedsParameters(self.names()));
        }
        let path = plain(path)?;
        if path.contains('/') && self.segments().last() == Some(&Segment::Any) {
            return Err(KeyProblem::Levels);
        }
        Ok(format!("{}{path}", self.literal_prefix()))
    }

    fn of_params(&self, params: &[(String, String)]) -> Result<String, KeyProblem> {
        let known = self.names();
        if known.is_empty() {
            return Err(KeyProblem::NeedsText);
        }
        for (at, (name, _)) in params.iter().enumerate() {
            if !known.contains(name) {
                return Err(KeyProblem::Unknown {
                    name: name.clone(),
                    known,
                });
            }
            if params[..at].iter().any(|(earlier, _)| earlier == name) {
                return Err(KeyProblem::Twice(name.clone()));
            }
        }
        let segment = |segment: &Segment| match segment {
            Segment::Literal(literal) => Ok(literal.to_string()),
            Segment::Any | Segment::Deep => Err(KeyProblem::NeedsText),
            Segment::Parameter(name) => match params.iter().find(|(given, _)| **given == **name) {
                Some((_, value)) => plain_value(name, value),
                None => Err(KeyProblem::Missing(name.to_string())),
            },
        };
        let segments: Vec<String> = self.segments().iter().map(segment).collect::<Result<_, _>>()?;
        Ok(segments.join("/"))
    }

    fn names(&self) -> Vec<String> {
        self.parameters().map(str::to_owned).collect()
    }
}

/// The value of a parameter, which is one segment.
fn plain_value(name: &str, value: &str) -> Result<String, KeyProblem> {
    if value.contains(['/', '\\']) {
        return Err(KeyProblem::Separator(name.to_owned()));
    }
    plain(value).map_err(|problem| match problem {
        KeyProblem::Empty(_) => KeyProblem::Empty(Some(name.to_owned())),
        problem => problem,
    })
}

/// How keys begin that begin with a text: it is written as they are, and may end anywhere.
pub(super) fn plain_prefix(text: &str) -> String {
    let text = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    let mut plain = String::with_capacity(text.len());
    for c in text.chars().map(|c| if c == '\\' { '/' } else { c }) {
        if c != '/' || !(plain.is_empty() || plain.ends_with('/')) {
            plain.push(c);
        }
    }
    plain
}

/// A key, or a part of one, as it is stored.
fn plain(text: &str) -> Result<String, KeyProblem> {
    // Composing takes time with the length; it leaves more than a quarter of any text.
    if text.len() > 4 * KEY_LEN_MAX {
        return Err(KeyProblem::TooLong(text.len()));
    }
    if let Some(unseen) = text.chars().find(|&c| is_unseen(c)) {
        return Err(KeyProblem::Unseen(unseen));
    }
    let text = ComposingNormalizerBorrowed::new_nfc().normalize(text);
    let segments: Vec<&str> = text.split(['/', '\\']).filter(|segment| !segment.is_empty()).collect();
    match segments.iter().find(|segment| matches!(**segment, "." | "..")) {
        Some(dots) => Err(KeyProblem::Dots((*dots).to_owned())),
        None if segments.is_empty() => Err(KeyProblem::Empty(None)),
        None => Ok(segments.join("/")),
    }
}

/// Whether a character leaves no mark: a control or format character, a separator of lines, or what Unicode says may be ignored in display.
fn is_unseen(c: char) -> bool {
    use GeneralCategory as Is;
    let is = CodePointMapData::<GeneralCategory>::new().get(c);
    matches!(
        is,
        Is::Control | Is::Format | Is::LineSeparator | Is::ParagraphSeparator
    ) || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
}
