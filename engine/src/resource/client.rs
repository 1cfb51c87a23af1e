//! What clients may do with a resource.

/// Most instances that a snapshot has of one collection.
const PREFETCH_MAX: usize = 200;

/// What clients may do with a resource, or with the instances of a collection. Nothing by default; that a resource has one at all tells clients
/// that it exists, and of its changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClientAccess {
    pub(crate) read_content: bool,
    pub(crate) create: bool,
    pub(crate) update: bool,
    pub(crate) delete: bool,
    pub(crate) read_state: bool,
    pub(crate) prefetch: usize,
    pub(crate) prefetch_content: bool,
    pub(crate) live: bool,
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

    /// They may list the instances, and ask for one: what [`Definition::client_data`](crate::Definition::client_data) makes of each state. Of
    /// collections only.
    pub fn read_state(mut self) -> Self {
        self.read_state = true;
        self
    }

    /// Snapshots of the session have the first `count` instances, in the order of their keys. Of collections only.
    pub fn prefetch(mut self, count: usize) -> Self {
        self.prefetch = count;
        self
    }

    /// Snapshots of the session have the rendered body, of a collection those of the instances that they have. Only with
    /// [`ClientAccess::read_content`].
    pub fn prefetch_content(mut self) -> Self {
        self.prefetch_content = true;
        self
    }

    /// Of each change that a request makes they are told at once what [`Definition::client_data`](crate::Definition::client_data) makes of the state then, so
    /// that they need not ask. Of a collection only with [`ClientAccess::read_state`], and only if its keys begin with its name: `files` and `files/**`.
    pub fn live(mut self) -> Self {
        self.live = true;
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
        if self.create || self.update || self.delete {
            return Some("clients can create, update and delete instances of collections only");
        }
        (self.read_state || self.prefetch > 0).then_some("only collections have instances to list and to prefetch")
    }

    /// Whether clients may do anything but know of it.
    pub(crate) fn grants_anything(self) -> bool {
        self.read_content || self.read_state || self.create || self.update || self.delete
    }

    /// They may read its body.
    pub fn reads_content(&self) -> bool {
        self.read_content
    }

    /// They may list its instances.
    pub fn reads_state(&self) -> bool {
        self.read_state
    }

    /// They may make, write and delete instances.
    pub fn changes(&self) -> [bool; 3] {
        [self.create, self.update, self.delete]
    }

    /// They are told what its state became.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// So many instances snapshots have.
    pub fn prefetches(&self) -> usize {
        self.prefetch
    }

    /// What nothing can have.
    pub(super) fn problem(self) -> Option<&'static str> {
        if self.prefetch > PREFETCH_MAX {
            return Some("at most 200 instances can be prefetched");
        }
        (self.prefetch_content && !self.read_content).then_some("bodies that clients may not read can't be prefetched")
    }
}
