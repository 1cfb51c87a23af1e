//! What a block declares to need of the states, see [`crate::scope::view`], and of the resources.

use std::sync::Arc;

use super::{Block, Generator};
use crate::record::ScopeKind;
use crate::resource::Definition;
use crate::scope::View;
use crate::value::Data;

impl<I: Data, O: Data> Block<I, O> {
    /// The part of the request's state that the block needs. It then sees and changes no more of it; the flow has what its blocks need.
    pub fn request_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::Request, view)
    }

    /// The same of the session's state.
    pub fn session_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::Session, view)
    }

    /// The same of the user's state.
    pub fn user_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::User, view)
    }

    /// The same of the project's state.
    pub fn project_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::Project, view)
    }

    /// A resource or collection that the block needs of each session. The flow has what its blocks need.
    pub fn session_resource<S: Data + Default, K>(self, resource: &Definition<S, K>) -> Self {
        self.need_resource(ScopeKind::Session, resource)
    }

    /// The same of each user.
    pub fn user_resource<S: Data + Default, K>(self, resource: &Definition<S, K>) -> Self {
        self.need_resource(ScopeKind::User, resource)
    }

    /// The same of each project.
    pub fn project_resource<S: Data + Default, K>(self, resource: &Definition<S, K>) -> Self {
        self.need_resource(ScopeKind::Project, resource)
    }

    fn need<S: Data + Default>(self, scope: ScopeKind, view: View<S>) -> Self {
        self.with(|def| Arc::make_mut(&mut def.views).add(scope, view, &mut def.problems))
    }

    fn need_resource<S: Data + Default, K>(self, scope: ScopeKind, resource: &Definition<S, K>) -> Self {
        self.with(|def| Arc::make_mut(&mut def.views).add_resource(scope, resource.def().clone()))
    }
}

impl<I: Data, O: Data> Generator<I, O> {
    /// The part of the request's state that its functions need. They then see and change no more of it; the flow has what its blocks need.
    pub fn request_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::Request, view)
    }

    /// The same of the session's state.
    pub fn session_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::Session, view)
    }

    /// The same of the user's state.
    pub fn user_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::User, view)
    }

    /// The same of the project's state.
    pub fn project_state<S: Data + Default>(self, view: View<S>) -> Self {
        self.need(ScopeKind::Project, view)
    }

    /// A resource or collection that its functions need of each session. The flow has what its blocks need.
    pub fn session_resource<S: Data + Default, K>(self, resource: &Definition<S, K>) -> Self {
        self.need_resource(ScopeKind::Session, resource)
    }

    /// The same of each user.
    pub fn user_resource<S: Data + Default, K>(self, resource: &Definition<S, K>) -> Self {
        self.need_resource(ScopeKind::User, resource)
    }

    /// The same of each project.
    pub fn project_resource<S: Data + Default, K>(self, resource: &Definition<S, K>) -> Self {
        self.need_resource(ScopeKind::Project, resource)
    }

    fn need<S: Data + Default>(mut self, scope: ScopeKind, view: View<S>) -> Self {
        self.views.add(scope, view, &mut self.problems);
        self
    }

    fn need_resource<S: Data + Default, K>(mut self, scope: ScopeKind, resource: &Definition<S, K>) -> Self {
        self.views.add_resource(scope, resource.def().clone());
        self
    }
}
