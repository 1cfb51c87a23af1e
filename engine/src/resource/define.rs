//! How resources and collections are declared: builders whose results are values that other crates can export.

use std::any::TypeId;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use serde::Serialize;

use super::client::ClientAccess;
use super::def::{CollectionDef, Identity, Initial, Project, Render, ResourceDef};
use super::hooks::{Hooks, InstanceContext};
use super::template;
use crate::block::Answer;
use crate::scope::{Scope, scope};
use crate::value::{Data, Val};

/// One resource of a scope.
pub struct One;
/// A collection of them, which are made and deleted at run time.
pub struct Many;

/// A resource: a typed state and a text body, of each session, user or project. See [`resource`].
pub type Resource<S> = Definition<S, One>;
/// A collection of resources of one type. See [`collection`].
pub type Collection<S> = Definition<S, Many>;

/// Who makes room when a collection is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Eviction {
    /// Nobody: `create` fails.
    #[default]
    None,
    /// Whoever was not asked for longest, by any request. Each request that reads an instance records that once.
    Lru,
    /// Whoever was made first.
    Oldest,
}

impl Eviction {
    /// Its name: `none`, `lru`, `oldest`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lru => "lru",
            Self::Oldest => "oldest",
        }
    }
}

/// Declares a resource whose state is an `S`, which begins as `S::default()`. `name` is what it is called in its scope: letters, digits, `_`, `-` and `.`.
/// It belongs to whatever scope it is attached to, by [`Scope::resource`] of a flow or by a block that needs it.
pub fn resource<S: Data + Default>(name: impl Into<String>) -> Resource<S> {
    Definition::new(name.into(), None)
}

/// Declares a collection of resources whose states are an `S` each. `pattern` says which keys there are: `files/*` (one level),
/// `files/**` (any depth) or with parameters, `[topic]/observations`.
pub fn collection<S: Data + Default>(name: impl Into<String>, pattern: impl Into<String>) -> Collection<S> {
    let many = CollectionOptions {
        pattern: pattern.into(),
        max: None,
        eviction: Eviction::None,
        hooks: Hooks::default(),
    };
    Definition::new(name.into(), Some(many))
}

/// A declared resource (`K` is [`One`]) or collection (`K` is [`Many`], and what is said of its content and access holds for each instance).
/// Cheap to attach; keep it in a `LazyLock`, or make it by a function.
pub struct Definition<S, K> {
    options: Options<S>,
    def: OnceLock<Arc<ResourceDef>>,
    _kind: PhantomData<fn() -> K>,
}

#[derive(Clone)]
struct Options<S> {
    name: String,
    scope: Scope<S>,
    contents: Vec<Initial>,
    render: Option<(Render, TypeId)>,
    read_only: bool,
    llm_readable: bool,
    llm_writable: bool,
    client: Option<ClientAccess>,
    client_data: Option<(Project, TypeId)>,
    many: Option<CollectionOptions>,
}

#[derive(Clone)]
struct CollectionOptions {
    pattern: String,
    max: Option<usize>,
    eviction: Eviction,
    hooks: Hooks,
}

impl<S: Clone, K> Clone for Definition<S, K> {
    fn clone(&self) -> Self {
        Self {
            options: self.options.clone(),
            def: self.def.clone(),
            _kind: PhantomData,
        }
    }
}

impl<S: Data + Default, K> Definition<S, K> {
    fn new(name: String, many: Option<CollectionOptions>) -> Self {
        Self {
            options: Options {
                name,
                scope: scope(),
                contents: Vec::new(),
                render: None,
                read_only: false,
                llm_readable: false,
                llm_writable: false,
                client: None,
                client_data: None,
                many,
            },
            def: OnceLock::new(),
            _kind: PhantomData,
        }
    }

    /// What its state begins as, instead of `S::default()`.
    pub fn initial(mut self, state: S) -> Self {
        self.def.take();
        self.options.scope = self.options.scope.beginning_as(state);
        self
    }

    /// Holds every state to the rules that `S` declares with `garde`; see [`Scope::validated`].
    pub fn validated(mut self) -> Self
    where
        S: garde::Validate,
        S::Context: Default,
    {
        self.def.take();
        self.options.scope = self.options.scope.validated();
        self
    }

    /// Allows operations that commute on a field of a state with rules; see [`Scope::commuting`].
    pub fn commuting(mut self, field: impl Into<String>) -> Self {
        self.def.take();
        self.options.scope = self.options.scope.commuting(field);
        self
    }

    /// Its body until one is written. An empty text is a body, too.
    pub fn content(mut self, text: impl Into<String>) -> Self {
        self.def.take();
        self.options.contents.push(Initial::Text(text.into().into()));
        self
    }

    /// Its body until one is written, from a file, which is read once, when a flow with it is built; relative to the directory of the process.
    pub fn content_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.def.take();
        self.options.contents.push(Initial::File(path.into()));
        self
    }

    /// What readers get of the body: made of it and the state, at once or in a future. It should depend on nothing else.
    pub fn render<F, R, M>(mut self, render: F) -> Self
    where
        F: Fn(String, S) -> R + Send + Sync + 'static,
        R: Answer<String, M>,
    {
        let made: Render = Arc::new(move |body, state: Val| {
            let state = state.get::<S>().cloned();
            match state {
                Ok(state) => {
                    let answer = render(body, state).answer();
                    Box::pin(answer.get())
                }
                Err(error) => Box::pin(std::future::ready(Err(error))),
            }
        });
        self.def.take();
        self.options.render = Some((made, TypeId::of::<F>()));
        self
    }

    /// Shows clients what `derive` makes of the state: in snapshots, and of a collection in the lists of its instances. Only with
    /// [`Definition::client`]; beside this nothing of a state ever reaches a client.
    pub fn client_data<R, F>(mut self, derive: F) -> Self
    where
        R: Serialize,
        F: Fn(&S) -> R + Send + Sync + 'static,
    {
        let project: Project = Arc::new(move |state: Val| Ok(serde_json::to_value(derive(state.get::<S>()?))?));
        self.def.take();
        self.options.client_data = Some((project, TypeId::of::<F>()));
        self
    }

    /// Renders the body as a template with the state's fields; see [`crate::template`].
    pub fn template(self) -> Self {
        // It may take a while, which is not to hold up what else runs on the thread.
        self.render(|body: String, state: S| async move {
            let rendered = tokio::task::spawn_blocking(move || template::render(&body, &state)).await;
            Ok(rendered??)
        })
    }

    /// Refuses every write of the state and the body; instances of a collection are made and deleted all the same.
    pub fn read_only(mut self) -> Self {
        self.def.take();
        self.options.read_only = true;
        self
    }

    /// A model may read the body, by the tool [`read_resource_content`](crate::read_resource_content), if its generator has that.
    pub fn llm_readable(mut self) -> Self {
        self.def.take();
        self.options.llm_readable = true;
        self
    }

    /// A model may write the body, by the tool [`write_resource_content`](crate::write_resource_content), if its generator has that.
    pub fn llm_writable(mut self) -> Self {
        self.def.take();
        self.options.llm_writable = true;
        self
    }

    /// What clients may do with it, and that they are told of its changes. Without this they do not know that it exists.
    pub fn client(mut self, access: ClientAccess) -> Self {
        self.def.take();
        self.options.client = Some(access);
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.options.name
    }

    /// What it is, without its type.
    pub(crate) fn def(&self) -> &Arc<ResourceDef> {
        self.def.get_or_init(|| Arc::new(self.options.erase()))
    }
}

impl<S: Data + Default> Definition<S, Many> {
    /// At most so many instances, at least 1.
    pub fn max_instances(mut self, max: usize) -> Self {
        self.many().max = Some(max);
        self
    }

    /// Who makes room when there are that many.
    pub fn eviction(mut self, eviction: Eviction) -> Self {
        self.many().eviction = eviction;
        self
    }

    /// Called when an instance was made and that is durable. For light work: whoever made it waits. What it panics with is logged.
    pub fn on_instance_created<F>(mut self, hook: F) -> Self
    where
        F: Fn(&str, &S, &InstanceContext) + Send + Sync + 'static,
    {
        self.many().hooks.created::<S, F>(hook);
        self
    }

    /// Called with the state and the one before, for each write of a state of an instance, when that is durable.
    pub fn on_instance_updated<F>(mut self, hook: F) -> Self
    where
        F: Fn(&str, &S, &S, &InstanceContext) + Send + Sync + 'static,
    {
        self.many().hooks.updated::<S, F>(hook);
        self
    }

    /// Called when an instance was deleted, or had to make room, and that is durable.
    pub fn on_instance_deleted<F>(mut self, hook: F) -> Self
    where
        F: Fn(&str, &InstanceContext) + Send + Sync + 'static,
    {
        self.many().hooks.deleted::<F>(hook);
        self
    }

    fn many(&mut self) -> &mut CollectionOptions {
        self.def.take();
        self.options.many.get_or_insert_with(|| CollectionOptions {
            pattern: String::new(),
            max: None,
            eviction: Eviction::None,
            hooks: Hooks::default(),
        })
    }
}

impl<S: Data + Default> Options<S> {
    fn erase(&self) -> ResourceDef {
        let kind = if self.many.is_some() { "collection" } else { "resource" };
        let what = format!("{kind} {:?}", self.name);
        let mut problems = super::def::name_problems(&what, &self.name);
        let state = self.scope.clone().erase(&what, &mut problems);
        if self.contents.len() > 1 {
            problems.push(format!("{what} has more than one body to begin with"));
        }
        let content = self.contents.first().cloned().unwrap_or_default();
        let body = content.read().unwrap_or_else(|problem| {
            problems.push(format!("{what}: {problem}"));
            None
        });
        let collection = self.many.as_ref().and_then(|many| many.erase(&what, &mut problems));
        let client = self.client.and_then(ClientAccess::problem);
        problems.extend(client.map(|problem| format!("{what}: {problem}")));
        if self.client_data.is_some() && self.client.is_none() {
            problems.push(format!(
                "{what} has client data and is not for clients: say `.client(ClientAccess::new())`"
            ));
        }
        if let (None, Some(client)) = (&self.many, self.client) {
            problems.extend(client.problem_of_one().map(|problem| format!("{what}: {problem}")));
        }
        let is_live = self.client.is_some_and(|client| client.live);
        if is_live && self.client_data.is_none() {
            problems.push(format!("{what} is live and has no client data: say `.client_data(..)`"));
        }
        if let (true, Some(client), Some(collection)) = (is_live, self.client, &collection) {
            let live = collection.live_problem(&self.name, client);
            problems.extend(live.map(|problem| format!("{what}: {problem}")));
        }
        let identity = Identity {
            state_type: TypeId::of::<S>(),
            initial: state.initial.clone(),
            rules: state.rules_of(),
            content,
            render: self.render.as_ref().map(|(_, id)| *id),
            flags: [self.read_only, self.llm_readable, self.llm_writable],
            client: self.client,
            client_data: self.client_data.as_ref().map(|(_, id)| *id),
            collection: self
                .many
                .as_ref()
                .map(|many| (many.pattern.clone(), many.max, many.eviction, many.hooks.identity())),
        };
        ResourceDef {
            name: self.name.clone(),
            state,
            body,
            render: self.render.as_ref().map(|(render, _)| render.clone()),
            read_only: self.read_only,
            llm_readable: self.llm_readable,
            llm_writable: self.llm_writable,
            client: self.client,
            client_data: self.client_data.as_ref().map(|(project, _)| project.clone()),
            is_collection: self.many.is_some(),
            collection,
            identity,
            problems,
        }
    }
}

impl CollectionOptions {
    fn erase(&self, what: &str, problems: &mut Vec<String>) -> Option<CollectionDef> {
        if self.max == Some(0) {
            problems.push(format!("{what} may have no instance: `max_instances` is at least 1"));
        }
        if self.eviction != Eviction::None && self.max.is_none() {
            let eviction = self.eviction.as_str();
            problems.push(format!(
                "{what} has the eviction {eviction:?} and no cap: say `.max_instances(n)`"
            ));
        }
        match super::pattern::Pattern::parse(&self.pattern) {
            Ok(pattern) => Some(CollectionDef {
                pattern,
                max: self.max.and_then(NonZeroUsize::new),
                eviction: self.eviction,
                hooks: self.hooks.clone(),
            }),
            Err(error) => {
                problems.push(format!("{what}: {error}"));
                None
            }
        }
    }
}
