//! What the scopes of a session show in a snapshot: client data, and which resources clients may know of.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use flowstate_log::record::StreamId;
use futures_util::FutureExt;
use futures_util::future::{Either, select, try_join_all};
use serde_json::{Map, Value};

use super::{ClientDataError, ResourceEntry, Snapshot, SnapshotQuery};
use crate::engine::instances::{self, InstanceQuery, ShownInstance, matching, projected};
use crate::engine::place::ScopePlace;
use crate::engine::resources::RENDER_TIME_MAX;
use crate::error::QueryError;
use crate::exec::{Core, panic_message};
use crate::flow::Flow;
use crate::flow::client_data::derive;
use crate::principal::Principal;
use crate::projection::{SessionSummary, state};
use crate::record::ScopeKind;
use crate::resource::{RESOURCE_SCOPES, ResourceDef, ScopeResources};
use crate::scope::Fields;

/// What the scopes show: all of them are looked at at once, so that what is slow in one is waited for with the others.
pub(super) async fn add(
    core: &Core,
    principal: &Principal,
    stream: StreamId,
    summary: &SessionSummary,
    query: &SnapshotQuery,
    snapshot: &mut Snapshot,
) -> Result<(), QueryError> {
    let Some(flow) = core.registry.flow(&snapshot.flow) else {
        snapshot.client_data_errors.push(ClientDataError {
            scope: ScopeKind::Session.as_str().into(),
            name: String::new(),
            message: format!("no flow is registered under kind {:?}", snapshot.flow),
        });
        return Ok(());
    };
    let places = RESOURCE_SCOPES.into_iter().filter_map(|kind| {
        let place = ScopePlace::of(principal, stream, summary, kind)?;
        Some((kind, place))
    });
    let shown = places.map(|(kind, place)| of_scope(core, flow, kind, place, query).boxed());
    for shown in try_join_all(shown).await? {
        let scope = shown.kind.as_str();
        if !shown.values.is_empty() {
            snapshot.client_data.insert(scope.into(), shown.values);
        }
        if !shown.resources.is_empty() {
            snapshot.resources.insert(scope.into(), shown.resources);
        }
        let errors = shown.errors.into_iter().map(|(name, message)| ClientDataError {
            scope: scope.into(),
            name,
            message,
        });
        snapshot.client_data_errors.extend(errors);
    }
    Ok(())
}

/// What one scope shows.
struct ScopeShown {
    kind: ScopeKind,
    values: Map<String, Value>,
    errors: Vec<(String, String)>,
    resources: BTreeMap<String, ResourceEntry>,
}

async fn of_scope(
    core: &Core,
    flow: &Arc<Flow>,
    kind: ScopeKind,
    place: ScopePlace,
    query: &SnapshotQuery,
) -> Result<ScopeShown, QueryError> {
    let (def, scope) = (flow.scope(kind), kind.as_str());
    let wanted = |name: &str| match &query.client_data {
        Some(entries) => entries.iter().any(|entry| entry.0 == scope && entry.1 == name),
        None => true,
    };
    let asks = def.client_data.iter().any(|entry| wanted(&entry.name));
    let visible: Vec<&Arc<ResourceDef>> = def.resources().filter(|def| def.client.is_some()).collect();
    let mut shown = ScopeShown {
        kind,
        values: Map::new(),
        errors: Vec::new(),
        resources: BTreeMap::new(),
    };
    if !asks && visible.is_empty() {
        return Ok(shown);
    }
    let stream = place.stream(&core.log).await?;
    let resources = ScopeResources::new(core.log.clone(), stream, kind, flow.clone());
    if asks {
        let stored = match stream {
            Some(stream) => state::of_flow(&core.log, stream, kind, def.shared, flow.kind()).await?,
            None => Fields::new(),
        };
        (shown.values, shown.errors) = derive(def, &stored, &resources, &*core.timer, wanted).await;
    }
    for def in visible {
        let (entry, error) = of_resource(core, &resources, def).await?;
        shown.errors.extend(error.map(|error| (def.name.clone(), error)));
        shown.resources.insert(def.name.clone(), entry);
    }
    Ok(shown)
}

/// What a snapshot has of a resource, and why it lacks a body.
async fn of_resource(
    core: &Core,
    resources: &ScopeResources,
    def: &Arc<ResourceDef>,
) -> Result<(ResourceEntry, Option<String>), QueryError> {
    let access = def.client.unwrap_or_default();
    let with_content = access.prefetch_content && access.read_content;
    let body = async |key: Option<&str>| match with_content {
        true => body(core, resources, def, key).await,
        false => Ok(None),
    };
    if !def.is_collection {
        let fields = resources.read(|fold| {
            let instance = fold.instance(&resources.at(def, None));
            instance.map(|instance| instance.fields.clone()).unwrap_or_default()
        });
        let client_data = projected(def, &fields.await?);
        let (content, error) = match body(None).await {
            Ok(content) => (with_content.then_some(content), None),
            Err(error) => (None, Some(error)),
        };
        return Ok((ResourceEntry::One { client_data, content }, error));
    }
    let first = InstanceQuery {
        limit: access.prefetch,
        ..InstanceQuery::default()
    };
    let (count, (page, ..)) = resources
        .read(|fold| (resources.count_in(fold, def), matching(resources, fold, def, &first)))
        .await?;
    let (mut prefetched, mut failed) = (Vec::with_capacity(page.len()), None);
    for (key, fields) in page {
        let content = body(Some(&key)).await.unwrap_or_else(|error| {
            failed = Some(error);
            None
        });
        prefetched.push(ShownInstance {
            content,
            ..instances::shown(def, key, &fields)
        });
    }
    Ok((ResourceEntry::Collection { count, prefetched }, failed))
}

/// The rendered body; `Err` says why there is none. How it is rendered is not ours.
async fn body(
    core: &Core,
    resources: &ScopeResources,
    def: &ResourceDef,
    key: Option<&str>,
) -> Result<Option<String>, String> {
    let rendered = AssertUnwindSafe(resources.rendered(def, key)).catch_unwind().boxed();
    match select(rendered, core.timer.wait(RENDER_TIME_MAX)).await {
        Either::Left((Ok(content), _)) => content.map(Option::flatten).map_err(|problem| problem.to_string()),
        Either::Left((Err(panic), _)) => Err(format!("it panicked: {}", panic_message(&*panic))),
        Either::Right(_) => Err(format!("it took longer than {RENDER_TIME_MAX:?}")),
    }
}
