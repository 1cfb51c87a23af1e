//! What the formatters take.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// A piece of text that may be missing: text, or an `Option` of it.
pub trait Text {
    /// The text, if there is one.
    fn as_text(&self) -> Option<&str>;
}

impl Text for str {
    fn as_text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Text for String {
    fn as_text(&self) -> Option<&str> {
        Some(self)
    }
}

impl Text for Cow<'_, str> {
    fn as_text(&self) -> Option<&str> {
        Some(self)
    }
}

impl<T: Text + ?Sized> Text for &T {
    fn as_text(&self) -> Option<&str> {
        (**self).as_text()
    }
}

impl<T: Text> Text for Option<T> {
    fn as_text(&self) -> Option<&str> {
        self.as_ref().and_then(T::as_text)
    }
}

/// Text, or a function that makes it. `M` only tells these apart.
pub trait Content<M> {
    #[doc(hidden)]
    fn content(self) -> String;
}

/// Marks [`Content`] for text.
pub struct AsItIs;
/// Marks [`Content`] for functions.
pub struct Lazy;

impl<T: Text> Content<AsItIs> for T {
    fn content(self) -> String {
        self.as_text().unwrap_or_default().to_owned()
    }
}

impl<T: Text, F: FnOnce() -> T> Content<Lazy> for F {
    fn content(self) -> String {
        self().as_text().unwrap_or_default().to_owned()
    }
}

/// Keys and values in the order in which they stand in JSON: an object, or an array of pairs.
pub(super) struct Pairs(pub(super) Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Pairs;

    fn expecting(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.write_str("an object or pairs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Pairs, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = array.next_element()? {
            pairs.push(pair);
        }
        Ok(Pairs(pairs))
    }
}
