//! What clients do to the collections of a session, outside of any request: worked out from what is visible, appended under the version of that,
//! and worked out again if others were first.

use std::sync::Arc;

use bytes::Bytes;
use flowstate_log::append::{Append, Expect, NewRecord, Part, Target};
use flowstate_log::error::AppendError;
use flowstate_log::record::StreamId;
use tokio::sync::oneshot;

use crate::error::{RecordError, ResourceAccessError};
use crate::exec::Core;
use crate::projection::resource::{self, ResourceFold};
use crate::record::{ResourceAt, ScopeKind};
use crate::resource::{Decided, InstanceContext, ResourceDef, ResourceProblem, StorageKey, decide};
use crate::scope::Fields;

/// How often a change is worked out again because others were first.
const ATTEMPTS_MAX: u32 = 64;

/// A change of one instance of a session's collection.
pub(crate) struct ClientChange {
    pub(crate) stream: StreamId,
    pub(crate) session: String,
    pub(crate) def: Arc<ResourceDef>,
    /// What the topic may mean, in the order in which it is looked for.
    pub(crate) keys: Vec<StorageKey>,
    pub(crate) what: ClientChangeKind,
}

/// What is done.
pub(crate) enum ClientChangeKind {
    /// It is made, with this body if there is one.
    Create(Option<Bytes>),
    /// Its body is replaced.
    Write(Bytes),
    /// It goes; nothing if there is none.
    Delete,
}

/// Makes a change. Durable on return, and hooks were told. It is made in a task of the engine, so that a caller who goes away does not keep
/// hooks from what has happened.
pub(crate) async fn change(core: &Arc<Core>, change: ClientChange, topic: &str) -> Result<(), ResourceAccessError> {
    let (answer, answered) = oneshot::channel();
    let (name, session) = (change.def.name.clone(), change.session.clone());
    let task = {
        let core = core.clone();
        async move { drop(answer.send(change.run(&core).await)) }
    };
    {
        let mut tasks = core.tasks.lock();
        if core.closing.is_cancelled() {
            return Err(ResourceAccessError::closing());
        }
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }
    match answered.await {
        Ok(Ok(())) => Ok(()),
        // It was deleted meanwhile.
        Ok(Err(ResourceProblem::Record(RecordError::Append(AppendError::UnknownStream(_))))) => {
            Err(ResourceAccessError::UnknownSession(session))
        }
        Ok(Err(problem)) => Err(ResourceAccessError::of(problem, &name, topic)),
        Err(_) => Err(ResourceAccessError::closing()),
    }
}

impl ClientChange {
    async fn run(&self, core: &Core) -> Result<(), ResourceProblem> {
        let beginning = match self.what {
            ClientChangeKind::Create(_) => self.def.beginning(None)?,
            ClientChangeKind::Write(_) | ClientChangeKind::Delete => Fields::new(),
        };
        let Some(key) = self.keys.first() else { return Ok(()) };
        let subject = self.def.instances_subject(&self.at(key));
        let told = core.latest.of_session(self.stream, subject);
        let _turn = told.turn.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let decided = resource::read(&core.log, self.stream, |resources| self.decide(resources, &beginning));
            let Some((key, decided)) = decided.await?? else {
                return Ok(());
            };
            match self.append(core, &decided).await {
                Ok(()) => {
                    self.tell(&key, &beginning, &decided);
                    return Ok(());
                }
                Err(RecordError::Append(AppendError::VersionMismatch { actual, .. })) => {
                    // What was first has its place; now it is visible.
                    core.log.follow(self.stream, actual).await?.page().await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        let attempts = ATTEMPTS_MAX;
        Err(ResourceProblem::Contended { attempts })
    }

    fn at(&self, key: &StorageKey) -> ResourceAt {
        self.def.at(ScopeKind::Session, None, Some(key.to_string()), 0)
    }

    /// Which instance, and what to append. `None` if there is nothing to do.
    fn decide(
        &self,
        resources: &ResourceFold,
        beginning: &Fields,
    ) -> Result<Option<(String, Decided)>, ResourceProblem> {
        let def = &*self.def;
        let at = |key: &StorageKey| self.at(key);
        let there = self.keys.iter().map(at).find(|at| resources.instance(at).is_some());
        let (at, decided) = match (&self.what, there) {
            (ClientChangeKind::Create(content), _) => {
                let at = at(self.keys.first().ok_or(ResourceProblem::NotFound)?);
                let made = decide::create(resources, def, &at, beginning.clone())?;
                let made = match content {
                    Some(content) => made.with_body(&at, content.clone()),
                    None => made,
                };
                (at, made)
            }
            (ClientChangeKind::Write(_), None) => return Err(ResourceProblem::NotFound),
            (ClientChangeKind::Delete, None) => return Ok(None),
            (ClientChangeKind::Write(content), Some(at)) => {
                let written = decide::write(resources, def, &at, content.clone());
                (at, written.ok_or(ResourceProblem::NotFound)?)
            }
            (ClientChangeKind::Delete, Some(at)) => match decide::delete(resources, def, &at) {
                Some(deleted) => (at, deleted),
                None => return Ok(None),
            },
        };
        Ok(Some((at.path().to_owned(), decided)))
    }

    /// In the session's stream, and in no request.
    async fn append(&self, core: &Core, decided: &Decided) -> Result<(), RecordError> {
        let mut records = Vec::with_capacity(decided.facts.len());
        for fact in &decided.facts {
            let subject = fact.subject(&self.def);
            let fact = fact.clone().into_fact();
            let payload = fact.encode().map_err(|error| RecordError::Encode(error.to_string()))?;
            if payload.len() > core.payload_bytes_max {
                return Err(RecordError::TooLarge {
                    bytes: payload.len(),
                    max: core.payload_bytes_max,
                });
            }
            records.push(NewRecord {
                kind: fact.kind(),
                subject,
                sub: None,
                causation: [0; 16],
                origin: 0,
                payload,
            });
        }
        let part = Part {
            stream: Target::Id(self.stream),
            expect: vec![Expect::Version(decided.under.0, decided.under.1)],
            records,
        };
        core.log.append(Append::of(vec![part])).await?.await?;
        Ok(())
    }

    fn tell(&self, key: &str, beginning: &Fields, decided: &Decided) {
        let Some(hooks) = self.def.hooks() else { return };
        let context = InstanceContext::new(&self.def.name, ScopeKind::Session, &self.session);
        decided.evicted.iter().for_each(|key| hooks.tell_deleted(key, &context));
        match self.what {
            ClientChangeKind::Create(_) => hooks.tell_created(key, beginning, &self.def.state, &context),
            ClientChangeKind::Delete => hooks.tell_deleted(key, &context),
            ClientChangeKind::Write(_) => {}
        }
    }
}
