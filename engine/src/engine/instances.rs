//! What clients see of the states of resources: the instances of a collection in pages, one of them, and which resources there are.

use serde_json::Value;

use super::Engine;
use super::resources::Found;
use crate::error::ResourceAccessError;
use crate::principal::Principal;
use crate::projection::resource::ResourceFold;
use crate::record::ScopeKind;
use crate::resource::{ClientAccess, RESOURCE_SCOPES, ResourceDef, ScopeResources};
use crate::scope::Fields;

/// Which instances of a collection to list, in the order of their keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstanceQuery {
    /// Whose keys, whole or what differs of them, begin so.
    pub prefix: Option<String>,
    /// Whose whole keys come after this one.
    pub after: Option<String>,
    /// After so many of those.
    pub offset: usize,
    /// At most so many.
    pub limit: usize,
}

/// An instance as clients see it.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownInstance {
    /// What differs of its key.
    pub topic: String,
    /// Its whole key.
    pub storage_key: String,
    /// What the definition makes of its state for clients; `None` if it says nothing, or failed.
    pub client_data: Option<Value>,
    /// Its rendered body, in snapshots that have it.
    pub content: Option<String>,
}

/// A page of instances.
#[derive(Debug, Clone, PartialEq)]
pub struct InstancePage {
    /// Those of the page.
    pub instances: Vec<ShownInstance>,
    /// How many there are on all pages.
    pub total: usize,
    /// There are more behind the page.
    pub has_more: bool,
}

/// A resource that clients may know of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceInfo {
    /// What it is called.
    pub name: String,
    /// Whose it is.
    pub scope: ScopeKind,
    /// The pattern of its keys, of a collection.
    pub pattern: Option<String>,
    /// Whether clients see something of its state.
    pub has_client_data: bool,
    /// What clients may do.
    pub access: ClientAccess,
}

impl Engine {
    /// Instances of a collection as clients see them. Counts as no access.
    pub async fn list_instances(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
        query: &InstanceQuery,
    ) -> Result<InstancePage, ResourceAccessError> {
        let found = self.collection(principal, session, resource).await?;
        let resources = self.resources_of(&found).await?;
        let listed = resources
            .read(|fold| matching(&resources, fold, &found.def, query))
            .await;
        let (page, total, has_more) = listed.map_err(|error| ResourceAccessError::Query(error.into()))?;
        let instances = page.into_iter().map(|(key, fields)| shown(&found.def, key, &fields));
        Ok(InstancePage {
            instances: instances.collect(),
            total,
            has_more,
        })
    }

    /// One instance as clients see it, by its topic or its whole key; `None` if there is none. Counts as no access.
    pub async fn instance(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
        topic: &str,
    ) -> Result<Option<ShownInstance>, ResourceAccessError> {
        let found = self.collection(principal, session, resource).await?;
        let keys = found.keys(topic)?;
        let resources = self.resources_of(&found).await?;
        let read = resources.read(|fold| {
            keys.iter().find_map(|key| {
                let instance = fold.instance(&resources.at(&found.def, Some(key.as_str())))?;
                Some((key.to_string(), instance.fields.clone()))
            })
        });
        let read = read.await.map_err(|error| ResourceAccessError::Query(error.into()))?;
        Ok(read.map(|(key, fields)| shown(&found.def, key, &fields)))
    }

    /// The resources of a session's flow that clients may do something with, or see something of. `None` if there is no such session.
    pub async fn manifest(
        &self,
        principal: &Principal,
        session: &str,
    ) -> Result<Option<(String, Vec<ResourceInfo>)>, ResourceAccessError> {
        let detail = self
            .session(principal, session)
            .await
            .map_err(ResourceAccessError::Query)?;
        let Some(detail) = detail else { return Ok(None) };
        let flow = self.flow(&detail.summary.flow);
        let flow = flow.ok_or_else(|| ResourceAccessError::UnknownFlow(detail.summary.flow.clone()))?;
        let scopes = RESOURCE_SCOPES.into_iter();
        let all = scopes.flat_map(|scope| flow.scope(scope).resources().map(move |def| (scope, def)));
        let infos = all.filter_map(|(scope, def)| {
            let access = def.client?;
            let has_client_data = def.client_data.is_some();
            let is_of_use = has_client_data || access.grants_anything();
            let pattern = def
                .collection
                .as_ref()
                .map(|collection| collection.pattern.as_str().to_owned());
            is_of_use.then(|| ResourceInfo {
                name: def.name.clone(),
                scope,
                pattern,
                has_client_data,
                access,
            })
        });
        Ok(Some((detail.summary.flow.clone(), infos.collect())))
    }

    /// A collection whose instances clients may list.
    async fn collection(
        &self,
        principal: &Principal,
        session: &str,
        resource: &str,
    ) -> Result<Found, ResourceAccessError> {
        let found = self.find_resource(principal, session, resource).await?;
        if found.def.collection.is_none() {
            return Err(ResourceAccessError::NotACollection(resource.to_owned()));
        }
        found.granted(found.access.read_state, "list the instances of")?;
        Ok(found)
    }

    async fn resources_of(&self, found: &Found) -> Result<ScopeResources, ResourceAccessError> {
        let stream = found.place.stream(self.log()).await;
        let stream = stream.map_err(|error| ResourceAccessError::Query(error.into()))?;
        Ok(ScopeResources::new(
            self.log().clone(),
            stream,
            found.scope,
            found.flow.clone(),
        ))
    }
}

/// A page of the instances that a query asks for, how many there are on all pages, and whether there are more behind it.
pub(super) fn matching(
    resources: &ScopeResources,
    fold: &ResourceFold,
    def: &ResourceDef,
    query: &InstanceQuery,
) -> (Vec<(String, Fields)>, usize, bool) {
    let Some(family) = resources.family(fold, def) else {
        return (Vec::new(), 0, false);
    };
    let prefix = def.list_prefix(None);
    let starts = |key: &str| match &query.prefix {
        Some(asked) => key.starts_with(asked.as_str()) || topic(def, key).starts_with(asked.as_str()),
        None => true,
    };
    let total = match query.prefix {
        None => family.count(),
        Some(_) => family.list(&prefix, None).filter(|(key, _)| starts(key)).count(),
    };
    let listed = family
        .list(&prefix, query.after.as_deref())
        .filter(|(key, _)| starts(key));
    let mut listed = listed.skip(query.offset);
    let page = listed.by_ref().take(query.limit);
    let page = page
        .map(|(key, instance)| (key.to_string(), instance.fields.clone()))
        .collect();
    (page, total, listed.next().is_some())
}

/// What differs of a key.
fn topic<'a>(def: &ResourceDef, key: &'a str) -> &'a str {
    def.collection
        .as_ref()
        .map_or(key, |collection| collection.pattern.topic(key))
}

pub(super) fn shown(def: &ResourceDef, key: String, fields: &Fields) -> ShownInstance {
    ShownInstance {
        topic: topic(def, &key).to_owned(),
        client_data: projected(def, fields),
        storage_key: key,
        content: None,
    }
}

/// What clients see of a state. A definition that fails is the operator's to mend.
pub(super) fn projected(def: &ResourceDef, fields: &Fields) -> Option<Value> {
    match def.projected(fields)? {
        Ok(value) => Some(value),
        Err(error) => {
            tracing::warn!(resource = def.name, error, "no client data");
            None
        }
    }
}
