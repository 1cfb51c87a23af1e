//! The tools by which a model reads and writes the bodies of resources that allow it. A generator has them only if they are given to it.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::def::ResourceDef;
use super::error::ResourceProblem;
use super::handle::ResourceRef;
use super::instances::CollectionRef;
use super::lookup::SCOPES;
use crate::block::{Block, handler};
use crate::error::BlockError;
use crate::exec::Ctx;
use crate::record::ScopeKind;

/// Most paths that a model is told at once.
const PATHS_MAX: usize = 1_000;

/// What [`read_resource_content`] takes.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadResourceContent {
    /// Which resource to read, as `session/notes`. Without it, the paths of all that can be read are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

/// What [`read_resource_content`] gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ResourceContent {
    /// What can be read.
    Paths {
        /// Scope and name of each, or key in its collection, sorted: `session/files/readme.md`.
        paths: Vec<String>,
        /// How many more there are; absent if these are all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        more: Option<usize>,
    },
    /// What one says.
    Content {
        /// Which.
        path: String,
        /// Its body, rendered; null if it has none.
        content: Option<String>,
    },
}

/// What [`write_resource_content`] takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteResourceContent {
    /// Which resource to write, as `session/notes`.
    pub path: String,
    /// Its whole new body.
    pub content: String,
}

/// What [`write_resource_content`] gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ResourceContentWritten {
    /// Which was written.
    pub path: String,
    /// That it was.
    pub ok: bool,
}

/// A tool named `readResourceContent` that lists and reads the bodies of the resources and instances that are declared as
/// [`llm_readable`](crate::Definition::llm_readable).
pub fn read_resource_content() -> Block<ReadResourceContent, ResourceContent> {
    handler("readResourceContent")
        .run(|input: ReadResourceContent, ctx: Ctx| async move {
            let Some(path) = input.path else {
                return readable(&ctx).await;
            };
            let found = find(&ctx, &path, |def| def.llm_readable).await?;
            let found = found.ok_or_else(|| refused("resource_not_readable", &path, "read"))?;
            let content = found.rendered().await.map_err(|problem| problem.of(&path))?;
            Ok(ResourceContent::Content { path, content })
        })
        .describe("Reads the text of a resource. Without a path it lists the paths of all resources that can be read.")
}

/// A tool named `writeResourceContent` that replaces the bodies of the resources and instances that are declared as
/// [`llm_writable`](crate::Definition::llm_writable).
pub fn write_resource_content() -> Block<WriteResourceContent, ResourceContentWritten> {
    handler("writeResourceContent")
        .run(|input: WriteResourceContent, ctx: Ctx| async move {
            let WriteResourceContent { path, content } = input;
            let found = find(&ctx, &path, |def| def.llm_writable).await?;
            let found = found.ok_or_else(|| refused("resource_not_writable", &path, "written"))?;
            found.write_content(content).await?;
            Ok(ResourceContentWritten { path, ok: true })
        })
        .describe("Replaces the whole text of a resource that can be written.")
}

fn refused(code: &'static str, path: &str, done: &str) -> BlockError {
    BlockError::new(code, format!("there is no resource {path:?} that can be {done}"))
}

/// The scopes of this run with what they have.
fn scopes(ctx: &Ctx) -> impl Iterator<Item = (ScopeKind, Vec<Arc<ResourceDef>>)> {
    let has = SCOPES.into_iter().filter(|kind| ctx.scope(*kind).is_some());
    has.map(|kind| (kind, ctx.flow().scope(kind).resources().cloned().collect()))
}

async fn readable(ctx: &Ctx) -> Result<ResourceContent, BlockError> {
    let (mut paths, mut more) = (Vec::new(), 0);
    for (scope, defs) in scopes(ctx) {
        for def in defs.into_iter().filter(|def| def.llm_readable) {
            let path = |name: &str| format!("{}/{name}", scope.as_str());
            if !def.is_collection {
                paths.push(path(&def.name));
                continue;
            }
            let instances = CollectionRef::<Value>::new(ctx.clone(), scope, def);
            let page = instances.list_page(None, None, PATHS_MAX).await?;
            more += instances.count().await?.saturating_sub(page.len());
            paths.extend(page.iter().map(|instance| path(instance.path())));
        }
    }
    paths.sort();
    more += paths.len().saturating_sub(PATHS_MAX);
    paths.truncate(PATHS_MAX);
    let more = (more > 0).then_some(more);
    Ok(ResourceContent::Paths { paths, more })
}

/// The resource or instance at a path, if it is there and allows it.
async fn find(
    ctx: &Ctx,
    path: &str,
    allows: impl Fn(&ResourceDef) -> bool,
) -> Result<Option<ResourceRef<Value>>, BlockError> {
    let Some((scope, name)) = path.split_once('/') else {
        return Ok(None);
    };
    let Some((scope, defs)) = scopes(ctx).find(|(kind, _)| kind.as_str() == scope) else {
        return Ok(None);
    };
    let fits = |def: &ResourceDef| match &def.collection {
        Some(collection) => collection.pattern.matches(name),
        None => def.name == name,
    };
    let Some(def) = defs.into_iter().find(|def| fits(def) && allows(def)) else {
        return Ok(None);
    };
    if !def.is_collection {
        return Ok(Some(ctx.one(scope, def)?));
    }
    match CollectionRef::new(ctx.clone(), scope, def).find_path(name).await {
        Err(error) if matches!(error.problem, ResourceProblem::NotFound) => Ok(None),
        found => Ok(found?),
    }
}
