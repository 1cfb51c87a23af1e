//! `flowstate serve`, which is what no command is: bind, open, announce, serve, stop.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::output::Output;
use super::settings::{Settings, StoreKind};
use super::start::{Application, StartError, answering, build, explained};
use crate::flow_state::defences::is_exposed;
use crate::signals::Signals;

/// Longest time from the first signal to the end of the process, beyond what the settings give to calls and runs.
const STOP_TIME_MORE: Duration = Duration::from_secs(1);
/// Exit code after the log failed (`EX_IOERR`).
const EXIT_POISONED: u8 = 74;

/// Serves until a signal, or a log that failed, says to stop.
pub(super) async fn run(
    settings: &Settings,
    application: Application<'_>,
    out: &Output,
) -> Result<ExitCode, StartError> {
    let mut signals = Signals::receive().map_err(StartError::Signals)?;
    let (listener, address) = bind(&settings.listen).await?;
    let application: Application<'_> = Box::new(|builder| application(builder.allow_host(address.to_string())));
    let app = build(settings, application)?;
    if is_exposed(address) && !app.may_be_public() {
        return Err(StartError::Exposed(address));
    }
    let who = answering(settings, app.models())?;
    let stop = CancellationToken::new();
    let work = async {
        let served = app.serve_on(listener, stop.cancelled()).await;
        app.dispose().await;
        served
    };
    tokio::pin!(work);
    // Probes are answered meanwhile; other calls wait.
    let engine = tokio::select! {
        served = &mut work => return served.map(|()| ExitCode::SUCCESS).map_err(StartError::Serve),
        opened = app.ready() => opened.map_err(|error| explained(error, &settings.data_dir))?,
        signal = signals.next() => return Ok(ExitCode::from(signal)),
    };

    announce(address, settings, app.active_profile(), &who, out);
    let exit = tokio::select! {
        served = &mut work => return served.map(|()| ExitCode::SUCCESS).map_err(StartError::Serve),
        _signal = signals.next() => ExitCode::SUCCESS,
        reason = engine.log().poisoned() => {
            out.note(&format!("stopping, because nothing more can be stored: {reason}"));
            ExitCode::from(EXIT_POISONED)
        }
    };
    stop.cancel();
    let stop_time_max = settings.drain_within + settings.close_within + STOP_TIME_MORE;
    // What does not end by itself is not waited for, nor is what would end when it is dropped.
    tokio::select! {
        ended = timeout(stop_time_max, &mut work) => {
            if ended.is_err() {
                out.note("not everything was closed in time; the next start puts it in order");
                std::process::exit(1);
            }
            Ok(exit)
        }
        signal = signals.next() => std::process::exit(signal.into()),
    }
}

async fn bind(listen: &str) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = async {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound.await.map_err(|source: io::Error| {
        let address = listen.to_owned();
        match source.kind() {
            ErrorKind::AddrInUse => StartError::AddressInUse(address),
            _ => StartError::Listen { address, source },
        }
    })
}

/// Tells where the server is, where it keeps everything, and who answers. Who reads the first line can connect.
fn announce(mut address: SocketAddr, settings: &Settings, profile: &str, who: &str, out: &Output) {
    if address.ip().is_unspecified() {
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let folder = std::path::absolute(&settings.data_dir).unwrap_or_else(|_| settings.data_dir.clone());
    let folder = match (profile, settings.store) {
        (crate::store::DEFAULT, StoreKind::Lsm | StoreKind::Fjall) => Some(folder.display().to_string()),
        _ => None,
    };
    let told = json!({
        "listening": format!("http://{address}"),
        "data_dir": folder,
        "profile": profile,
        "answers": who,
        "version": env!("CARGO_PKG_VERSION"),
    });
    let kept = match &told["data_dir"] {
        Value::String(folder) => format!("Data is kept in {folder}"),
        _ if profile == crate::store::DEFAULT => "Nothing is kept when it ends".to_owned(),
        _ => format!("Data is kept by the profile {profile}"),
    };
    // That nobody reads stdout is no reason not to serve.
    let _ = out.say(&told, || {
        format!("Flowstate is ready: http://{address}\n{kept}\nAnswers come from {who}\n")
    });
}
