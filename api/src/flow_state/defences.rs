//! What a server is told about its defences: who may call, and how much.

use std::sync::Arc;

use crate::FlowStateBuilder;
use crate::auth::Authenticate;

impl FlowStateBuilder {
    /// Calls need a credential that `authenticator` accepts, or another that is named so; the first that does says who calls. Sessions, requests
    /// and resources are then those of the caller alone. Without this there is one trust domain: whoever reaches the server may do everything.
    pub fn authenticate(mut self, authenticator: impl Authenticate) -> Self {
        self.defences.authenticators.push(Arc::new(authenticator));
        self
    }
}
