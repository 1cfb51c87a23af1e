//! The routes' handlers, one file per first noun of the path, and how paths and queries are read.

pub(crate) mod actions;
pub(crate) mod flows;
pub(crate) mod requests;
pub(crate) mod resources;
pub(crate) mod sessions;
pub(crate) mod streams;
pub(crate) mod voice;

use std::collections::HashMap;
use std::convert::Infallible;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The variable segments of the path, each percent-decoded after the path was split.
pub(crate) struct Segments<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(rejection) => Err(ApiError::Path(rejection.body_text())),
        }
    }
}

/// The query. What is malformed counts as not given.
#[derive(Default)]
pub(crate) struct Params(HashMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let params = Query::try_from_uri(&parts.uri).map(|Query(params)| params);
        Ok(Self(params.unwrap_or_default()))
    }
}

impl Params {
    /// A text, trimmed; an empty one is not given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|text| text.trim()).filter(|text| !text.is_empty())
    }

    /// Digits only; what is beyond the largest number is that number.
    pub(crate) fn integer(&self, name: &str) -> Option<usize> {
        let digits = self.text(name)?;
        let is_integer = digits.bytes().all(|byte| byte.is_ascii_digit());
        is_integer.then(|| digits.parse().unwrap_or(usize::MAX))
    }

    /// `true` or `1`.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.text(name)
            .is_some_and(|text| text == "1" || text.eq_ignore_ascii_case("true"))
    }

    /// Texts between commas; `None` if there is none.
    pub(crate) fn list(&self, name: &str) -> Option<Vec<String>> {
        let entries: Vec<String> = self
            .text(name)?
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
            .map(str::to_owned)
            .collect();
        (!entries.is_empty()).then_some(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        let uri = format!("/?{query}").parse().unwrap();
        Params(Query::try_from_uri(&uri).unwrap().0)
    }

    #[test]
    fn integers_are_digits_only() {
        for (query, expected) in [
            ("n=0", Some(0)),
            ("n=%2012%20", Some(12)),
            ("n=99999999999999999999999", Some(usize::MAX)),
            ("n=-1", None),
            ("n=%2B1", None),
            ("n=1.5", None),
            ("n=", None),
            ("n", None),
            ("m=1", None),
        ] {
            assert_eq!(params(query).integer("n"), expected, "{query}");
        }
    }

    #[test]
    fn flags_and_lists_are_forgiving() {
        assert!(params("f=TRUE").flag("f") && params("f=1").flag("f"));
        assert!(!params("f=yes").flag("f") && !params("f").flag("f"));
        assert_eq!(params("l=a,%20b%2C,c").list("l").unwrap(), ["a", "b", "c"]);
        assert_eq!(params("l=,%20,").list("l"), None);
    }
}
