//! The product through its router, by what a user would say.

mod bad_input;
mod conversation;
mod exports;
mod failures;
mod real_server;
mod resources;
mod resume;
mod voice;

use axum::Router;
use flowstate::engine::model::{Models, ScriptedModel};
use flowstate::{FlowState, Store, memory};

/// The server that the command starts, without a socket: the built-in flow and model, the latter at this speed (0: without pause).
async fn server(store: Store, tokens_per_second: u32) -> (FlowState, Router) {
    let built = FlowState::builder()
        .flow(flowstate::cli::hello_chat().expect("the built-in flow"))
        .models(Models::new())
        .model(ScriptedModel::new(tokens_per_second))
        .store(store)
        .build()
        .expect("a server");
    let router = built.router().expect("routes");
    (built, router)
}

async fn quick() -> (FlowState, Router) {
    server(memory(), 0).await
}
