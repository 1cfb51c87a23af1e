//! Who calls: the one seam between a call's credential and the engine's principal. Two implementations come along, [`ApiKeys`] and [`Jwt`];
//! what the server does with an identity is in `server/gate`.

mod api_key;
mod api_keys;
mod jwt;
mod key_file;

use std::collections::BTreeSet;
use std::time::SystemTime;

use axum::http::header;
use axum::http::request::Parts;
use flowstate_engine::Principal;
use futures_util::future::BoxFuture;

pub use api_key::ApiKey;
pub use api_keys::{ApiKeyError, ApiKeys};
pub use jwt::{Jwt, JwtAlgorithm, JwtError};
pub(crate) use key_file::edit as edit_key_file;

/// Longest tenant and user together, in bytes: what a principal can hold.
const NAMES_BYTES_MAX: usize = 255;
/// Longest user, in bytes: as for every id.
const USER_BYTES_MAX: usize = 200;
/// Longest token that is looked at. A longer one is refused unread.
const TOKEN_BYTES_MAX: usize = 8 << 10;

/// Finds out who calls.
///
/// Implementations look at the head of a call only, and take credentials from its headers, never from its query. They are asked again
/// while a stream is open, so that a credential that was taken back ends it.
pub trait Authenticate: Send + Sync + 'static {
    /// Whose call this is. Whatever is wrong with a credential is [`AuthError::Refused`]: which of it is not told to callers.
    fn authenticate<'a>(&'a self, call: &'a Parts) -> BoxFuture<'a, Result<Identity, AuthError>>;
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Users of one tenant share its projects. May be empty.
    pub tenant: String,
    /// The user. Sessions, requests and what is known of the user are theirs alone.
    pub user: String,
    /// The projects that the user may name.
    pub projects: BTreeSet<String>,
    /// When the credential ends; open streams end then. `None` if only by being taken back.
    pub expires: Option<SystemTime>,
    /// Whether this is who runs the server: `/metrics` is for them only.
    pub is_operator: bool,
}

/// Why a call has no identity.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// There is no credential, or none that counts.
    #[error("the call has no valid credential")]
    Refused,
    /// It could not be found out. Callers are told to try again, without the reason.
    #[error("credentials can't be checked: {0}")]
    Unavailable(String),
}

impl Identity {
    /// This user of this tenant, without projects.
    pub fn new(tenant: impl Into<String>, user: impl Into<String>) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
            projects: BTreeSet::new(),
            expires: None,
            is_operator: false,
        }
    }

    /// May name this project.
    #[must_use]
    pub fn project(mut self, project: impl Into<String>) -> Self {
        self.projects.insert(project.into());
        self
    }

    /// What is wrong with its names; compared byte by byte, so nothing is normalised.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let Self { tenant, user, .. } = self;
        let odd = |text: &str| text.contains(char::is_control) || text.trim() != text;
        if user.is_empty() {
            Some("the user is empty")
        } else if odd(user) || odd(tenant) {
            Some("the tenant or the user has a control character, or a space at an end")
        } else if user.len() > USER_BYTES_MAX || tenant.len() + user.len() > NAMES_BYTES_MAX {
            Some("the tenant or the user is too long")
        } else {
            None
        }
    }

    /// The engine's name for it.
    pub(crate) fn principal(&self) -> Option<Principal> {
        match self.problem() {
            None => Principal::of_user(&self.tenant, &self.user),
            Some(_) => None,
        }
    }

    /// Whether `other` is the same with the same rights, however long either lasts.
    pub(crate) fn is_still(&self, other: &Identity) -> bool {
        let Self {
            tenant,
            user,
            projects,
            expires: _,
            is_operator,
        } = self;
        (tenant, user, projects, is_operator) == (&other.tenant, &other.user, &other.projects, &other.is_operator)
    }
}

/// The token of `authorization: Bearer <token>`, if the header is given once and the token is not too long to be one.
pub fn bearer_token(call: &Parts) -> Option<&str> {
    let mut values = call.headers.get_all(header::AUTHORIZATION).into_iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    let counts = scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    counts.then_some(token)
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn token(values: &[&str]) -> Option<String> {
        let mut request = Request::get("/?token=query&access_token=query");
        for value in values {
            request = request.header("authorization", *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        bearer_token(&parts).map(str::to_owned)
    }

    #[test]
    fn a_token_is_one_of_the_header_and_never_of_the_query() {
        assert_eq!(token(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(token(&["bearer  abc "]).as_deref(), Some("abc"));
        let long = format!("Bearer {}", "x".repeat(TOKEN_BYTES_MAX + 1));
        for values in [
            &[][..],
            &["Bearer "],
            &["Bearer"],
            &["Basic abc"],
            &["abc"],
            &["Bearer a", "Bearer a"],
            &[&long],
        ] {
            assert_eq!(token(values), None, "{values:?}");
        }
    }

    #[test]
    fn names_that_could_be_taken_for_others_are_no_identity() {
        for (tenant, user) in [("", "ann"), ("acme", "Ａnn"), ("a", &"x".repeat(USER_BYTES_MAX))] {
            assert!(Identity::new(tenant, user).principal().is_some(), "{tenant} {user}");
        }
        for (tenant, user) in [
            ("acme", ""),
            ("acme", "ann "),
            (" acme", "ann"),
            ("acme", "a\0nn"),
            ("ac\u{1f}me", "ann"),
            ("acme", "a\u{85}nn"),
            ("acme", &"x".repeat(USER_BYTES_MAX + 1)),
            (&"x".repeat(NAMES_BYTES_MAX), "a"),
        ] {
            assert_eq!(Identity::new(tenant, user).principal(), None, "{tenant} {user}");
        }
    }
}
