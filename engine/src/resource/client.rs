//! What clients may do with a resource.

/// What clients may do with a resource, or with the instances of a collection. Nothing by default; that a resource has one at all tells clients
/// that it exists, and of its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientAccess {
    pub(crate) read_content: bool,
    pub(crate) create: bool,
    pub(crate) update: bool,
    pub(crate) delete: bool,
}

impl ClientAccess {
    /// Only that it exists, and when it changes.
    pub fn new() -> Self {
        Self::default()
    }

    /// They may read its body, as it is rendered.
    pub fn read_content(mut self) -> Self {
        self.read_content = true;
        self
    }

    /// They may make instances. Of collections only.
    pub fn create(mut self) -> Self {
        self.create = true;
        self
    }

    /// They may write the bodies of instances. Of collections only.
    pub fn update(mut self) -> Self {
        self.update = true;
        self
    }

    /// They may delete instances. Of collections only.
    pub fn delete(mut self) -> Self {
        self.delete = true;
        self
    }

    /// What a resource that is no collection can't have.
    pub(super) fn problem_of_one(self) -> Option<&'static str> {
        (self.create || self.update || self.delete)
            .then_some("clients can create, update and delete instances of collections only")
    }
}
