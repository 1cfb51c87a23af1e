//! The server that the conformance cases call: flows that do each thing that the contract speaks of, on a folder and a socket.
//!
//! `conformance-server --data-dir <folder> --listen <address> [--bare]`: with `--bare` it has one flow without states and no voice.

mod flows;
mod gates;
mod kitchen;
mod puppet;

use std::process::ExitCode;

use flowstate::engine::voice::VoiceProviders;
use flowstate::prelude::*;
use flowstate::{FlowState, FlowStateBuilder, Limits, lsm};
use tokio::net::TcpListener;

use puppet::Puppet;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The origin that preflights come from.
const ORIGIN: &str = "https://app.example.org";

fn builder(bare: bool) -> Result<FlowStateBuilder, FlowError> {
    // All cases call from one address, one of them with 100 streams at once.
    let limits = Limits {
        streams_per_client: 256,
        ..Limits::default()
    };
    let builder = FlowState::builder().models(Models::new()).model(Puppet).limits(limits);
    if bare {
        return Ok(builder.flow(flows::plain()?));
    }
    Ok(builder
        .flow(kitchen::kitchen()?)
        .flow(flows::plain()?)
        .flow(flows::unicode()?)
        .flow(flows::talk()?)
        .voice(VoiceProviders::scripted())
        .transcription_model("scripted")
        .allow_origin(ORIGIN))
}

async fn serve(folder: &str, address: &str, bare: bool) -> Result<(), Failure> {
    let server = builder(bare)?.store(lsm(folder)).build()?;
    let listener = TcpListener::bind(address).await?;
    println!("Ready: http://{}", listener.local_addr()?);
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    let served = server.serve_on(listener, async {
        terminate.recv().await;
    });
    let served = served.await;
    server.dispose().await;
    Ok(served?)
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    let (Some(folder), Some(address)) = (value("--data-dir"), value("--listen")) else {
        eprintln!("conformance-server --data-dir <folder> --listen <address> [--bare]");
        return ExitCode::FAILURE;
    };
    let bare = arguments.iter().any(|argument| argument == "--bare");
    match serve(&folder, &address, bare).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("conformance-server: {error}");
            ExitCode::FAILURE
        }
    }
}
