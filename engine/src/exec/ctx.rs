//! What a block sees of its run. It holds no store: everything goes through the recorder.

use std::fmt::Write;
use std::sync::Arc;

use flowstate_log::record::Record;
use serde_json::Value;
use xxhash_rust::xxh3::xxh3_64;

use super::recorder::Recorder;
use super::run::Run;
use crate::block::BlockDef;
use crate::error::{BlockError, QueryError, RecordError, StateError};
use crate::flow::Flow;
use crate::item::{Phase, Provenance};
use crate::model::Model;
use crate::projection;
use crate::record::{Fact, StateChanged};
use crate::scope::StateRef;

/// A block's view of the run that it is part of. Owned, and cheap to clone.
#[derive(Clone)]
pub struct Ctx {
    run: Arc<Run>,
    place: Arc<Place>,
}

impl Ctx {
    /// The request's id.
    pub fn request_id(&self) -> &str {
        &self.run.request
    }

    /// The session's id.
    pub fn session_id(&self) -> &str {
        &self.run.session
    }

    /// The user who asked.
    pub fn user_id(&self) -> &str {
        &self.run.user
    }

    /// Kind of the flow.
    pub fn flow_kind(&self) -> &str {
        self.run.flow.kind()
    }

    /// The session's state. `S` may have only the fields that the block cares about.
    pub fn session<S>(&self) -> StateRef<S> {
        StateRef::new(self.clone())
    }

    pub(super) fn root(run: Arc<Run>, action: &str, block: &BlockDef) -> Self {
        let flow = run.flow.kind().to_owned();
        let place = Place::new(
            &run.request,
            block,
            "root".into(),
            format!("{flow}/{action}"),
            None,
            None,
        );
        Self {
            run,
            place: Arc::new(place),
        }
    }

    /// Where step `index` of this block stands; `segment` is its part of the path.
    pub(crate) fn step(&self, segment: &str, index: u32, block: &BlockDef) -> Self {
        let path = format!("{}/{segment}", self.place.path);
        let (action, parent) = (self.place.action.clone(), Some(self.place.instance.clone()));
        let place = Place::new(&self.run.request, block, path, action, parent, Some(index));
        Self {
            run: self.run.clone(),
            place: Arc::new(place),
        }
    }

    /// Id of this block instance.
    pub(crate) fn instance(&self) -> &str {
        &self.place.instance
    }

    pub(crate) fn flow(&self) -> &Flow {
        &self.run.flow
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.run.recorder
    }

    /// Records a fact that this block makes.
    pub(crate) async fn record(&self, fact: impl Into<Fact>) -> Result<(), RecordError> {
        self.run.recorder.add(&self.place, fact.into()).await
    }

    pub(crate) async fn change_state(&self, change: StateChanged) -> Result<(), RecordError> {
        self.run.recorder.change_state(&self.place, change).await
    }

    /// The session's state as it is stored: without the fields that only the flow's default has.
    pub(crate) async fn session_state(&self) -> Result<Value, StateError> {
        let run = &self.run;
        Ok(projection::state::read(&run.core.log, run.recorder.stream(), |state| state.value().clone()).await?)
    }

    /// The model of this name, or the default one.
    pub(crate) fn model(&self, name: Option<&str>) -> Result<Arc<dyn Model>, BlockError> {
        self.run.core.registry.model(name).cloned().ok_or_else(|| {
            let name = name.unwrap_or("(default)");
            BlockError::new("unknown_model", format!("no model is named {name:?}"))
        })
    }

    /// The final records of what a model may see of the session, in order: the newest `turns_max` requests,
    /// and everything that this one has recorded up to now.
    pub(crate) async fn history_records(&self, turns_max: Option<usize>) -> Result<Vec<Record>, BlockError> {
        let run = &self.run;
        let recorder = &run.recorder;
        recorder.settle().await?;
        let log = &run.core.log;
        let positions =
            projection::items::read(log, recorder.stream(), |items| items.history(recorder.sub(), turns_max))
                .await
                .map_err(QueryError::from)?;
        let records = log.read_positions(recorder.stream(), &positions).await;
        Ok(records.map_err(QueryError::from)?)
    }
}

/// The place of a block instance in its run.
pub(crate) struct Place {
    block: Arc<str>,
    /// `root/then[0]/…`
    path: String,
    /// `<flow kind>/<action>`
    action: String,
    /// `<request id>:<path>:<attempt>`
    instance: String,
    parent: Option<String>,
    step_index: Option<u32>,
    origin: u64,
}

/// Blocks are tried once; the number is part of their instance's id.
const ATTEMPT: u32 = 0;

impl Place {
    fn new(
        request: &str,
        block: &BlockDef,
        path: String,
        action: String,
        parent: Option<String>,
        step_index: Option<u32>,
    ) -> Self {
        let mut instance = String::with_capacity(request.len() + path.len() + 3);
        // Writing to a String can't fail.
        let _ = write!(instance, "{request}:{path}:{ATTEMPT}");
        let origin = xxh3_64(path.as_bytes());
        Self {
            block: block.name().clone(),
            path,
            action,
            instance,
            parent,
            step_index,
            origin,
        }
    }

    /// The number that records carry for it.
    pub(super) fn origin(&self) -> u64 {
        self.origin
    }

    pub(super) fn provenance(&self) -> Provenance {
        Provenance {
            block_name: self.block.to_string(),
            instance: self.instance.clone(),
            parent: self.parent.clone(),
            phase: Phase::Main,
            step_index: self.step_index,
            attempt: Some(ATTEMPT),
            definition: Some(format!("{}/{}", self.action, self.path)),
        }
    }
}
