//! What the tests run: functions in flows with a plan and files.

use std::future::Future;
use std::sync::LazyLock;

use flowstate_engine::prelude::*;
use flowstate_engine::{Collection, Definition, FlowBuilder, NoState, Resource, collection, resource};
use flowstate_log::Options;
use flowstate_log::disk::Disk;
use serde_json::Value;

use crate::support::{engine, going, memory};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Plan {
    pub steps: Vec<String>,
    pub done: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct File {
    pub language: String,
    pub reads: i64,
}

impl Default for File {
    fn default() -> Self {
        Self {
            language: "text".into(),
            reads: 0,
        }
    }
}

pub static PLAN: LazyLock<Resource<Plan>> = LazyLock::new(|| resource("plan"));
pub static FILES: LazyLock<Collection<File>> = LazyLock::new(|| collection("files", "files/**"));

/// The flow `f` whose action runs `run`, with this in each session.
pub fn with<S: Data + Default, K, F, Fut>(resource: &Definition<S, K>, run: F) -> FlowBuilder
where
    F: Fn(Value, Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, BlockError>> + Send + 'static,
{
    going("f", run).session(scope::<NoState>().resource(resource))
}

/// The same, with an action that is given the resource.
pub async fn given<S: Data + Default, K: 'static, F, Fut>(resource: Definition<S, K>, run: F) -> Engine
where
    F: Fn(Value, Ctx, Definition<S, K>) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, BlockError>> + Send + 'static,
{
    let own = resource.clone();
    engine(with(&resource, move |input, ctx| run(input, ctx, own.clone()))).await
}

/// An engine with a plan and files in each session.
pub async fn both<F, Fut>(run: F) -> Engine
where
    F: Fn(Value, Ctx) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Value, BlockError>> + Send + 'static,
{
    let has = scope::<NoState>().resource(&PLAN).resource(&FILES);
    engine(going("f", run).session(has)).await
}

/// A small log on this disk.
pub fn on(disk: impl Disk) -> Options {
    Options {
        disk: std::sync::Arc::new(disk),
        ..memory()
    }
}
