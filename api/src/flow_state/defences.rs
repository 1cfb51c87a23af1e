//! What a server is told about its defences: who may call, from where, and how much.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::auth::Authenticate;
use crate::server::limits::Limits;
use crate::{FlowState, FlowStateBuilder, ServeError};

impl FlowStateBuilder {
    /// Calls need a credential that `authenticator` accepts, or another that is named so; the first that does says who calls. Sessions, requests
    /// and resources are then those of the caller alone. Without this there is one trust domain: whoever reaches the server may do everything.
    pub fn authenticate(mut self, authenticator: impl Authenticate) -> Self {
        self.defences.authenticators.push(Arc::new(authenticator));
        self
    }

    /// Serves addresses that other machines can reach although nobody is asked for a credential: for a server behind something that keeps
    /// strangers out, such as a proxy with a login or a network of its own.
    pub fn allow_unauthenticated_public(mut self) -> Self {
        self.defences.is_public = true;
        self
    }

    /// How much the server takes on; [`Limits::default`] without this.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.defences.limits = limits;
        self
    }
}

impl FlowState {
    /// The templates of all paths that are served, such as `/api/flows/sessions/{session}`: for whoever puts something in front of them.
    pub fn paths() -> Vec<String> {
        crate::server::paths().templates()
    }

    /// Refuses an address that strangers can reach if everybody may do everything.
    pub(super) fn check_exposure(&self, listener: &TcpListener) -> Result<(), ServeError> {
        let address = listener.local_addr().map_err(ServeError::Listen)?;
        match is_exposed(address) && !self.life.guard.gate.may_be_public() {
            true => Err(ServeError::Exposed(address)),
            false => Ok(()),
        }
    }
}

/// Whether other machines can reach it.
pub(crate) fn is_exposed(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}
