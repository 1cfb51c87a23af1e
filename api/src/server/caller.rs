//! Who calls, as authentication found out; what a call may name follows from it. Without authentication there is one trust domain: whoever
//! reaches the server may name any user, session and project.

use std::collections::BTreeSet;
use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use flowstate_engine::Principal;

use super::error::ApiError;
use crate::auth::Identity;
use crate::wire::problem::Problem;

/// Who calls. Put into a request's extensions by authentication; the default without it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Caller {
    /// Whose sessions and requests there are for this call.
    pub(crate) principal: Principal,
    /// The user and the projects that were proven; `None` without authentication.
    pub(crate) proven: Option<Proven>,
}

/// What authentication has proven.
#[derive(Debug, Clone)]
pub(crate) struct Proven {
    pub(crate) user: String,
    pub(crate) projects: BTreeSet<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

impl Caller {
    /// The caller that was found out; `None` if the identity is none that the engine can name.
    pub(crate) fn of(identity: &Identity) -> Option<Self> {
        Some(Self {
            principal: identity.principal()?.within(identity.projects.clone()),
            proven: Some(Proven {
                user: identity.user.clone(),
                projects: identity.projects.clone(),
            }),
        })
    }

    /// The user of a call that names `named`, at `path`: the proven one, which it may repeat, or else the one that it names.
    pub(crate) fn user(&self, path: &str, named: Option<String>) -> Result<Option<String>, ApiError> {
        let Some(proven) = &self.proven else { return Ok(named) };
        match named {
            Some(named) if named != proven.user => Err(ApiError::Fields(vec![Problem::new(
                path,
                "is not who the credential was given to: leave it out",
            )])),
            _ => Ok(Some(proven.user.clone())),
        }
    }

    /// The project of a call, which has to be one of those that were proven.
    pub(crate) fn project(&self, named: Option<String>) -> Result<Option<String>, ApiError> {
        match (&self.proven, named) {
            (Some(proven), Some(named)) if !proven.projects.contains(&named) => Err(ApiError::UnknownProject(named)),
            (_, named) => Ok(named),
        }
    }
}
