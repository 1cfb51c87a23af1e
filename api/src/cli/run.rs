//! `flowstate run <flow> <action>`: one request, from its input to its last event.

use std::io::{IsTerminal, stdout};
use std::process::ExitCode;
use std::time::Duration;

use axum::http::Method;
use serde_json::Value;

use super::client::{Client, Folder, Where, asked, segment};
use super::events::{Event, Events};
use super::failure::Failure;
use super::input::input;
use super::output::Output;
use super::settings::{Origin, Settings, StoreKind};
use super::shown::{Form, Shown};
use super::start::{Application, StartError};
use crate::signals::Signals;

/// How often a stream that broke off is asked for again without having told anything meanwhile.
const TRIES_MAX: u32 = 5;
/// How long to wait before that.
const TRY_PAUSE: Duration = Duration::from_secs(1);

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 completed; 1 failed, stopped, or could not run; 2 wrong arguments, an unknown flow or action, or a wrong \
                        input; 3 the folder is in use by another process. Ctrl-C stops the request and waits for its last event; a second one leaves."
)]
pub(super) struct RunArgs {
    /// Kind of the flow.
    flow: String,

    /// The action.
    action: String,

    /// Its input, in JSON. @FILE reads it from a file, - from stdin.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    input: Option<String>,

    /// Who asks [default: local; with a credential, whom it was given to].
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// The session, which is made if there is none; without it, a new one.
    #[arg(long, value_name = "ID")]
    session: Option<String>,

    /// The project of a new session.
    #[arg(long, value_name = "ID")]
    project: Option<String>,

    /// The request's id; without it, a new one.
    #[arg(long, value_name = "ID")]
    request: Option<String>,

    /// Keep nothing: short for --store memory.
    #[arg(long, conflicts_with_all = ["store", "url"])]
    memory: bool,

    /// Print text even if stdout is no terminal; without it, events are printed there as with --json.
    #[arg(long, conflicts_with = "json")]
    text: bool,

    #[command(flatten)]
    place: Where,
}

pub(super) async fn run(
    mut settings: Settings,
    args: RunArgs,
    application: Application<'_>,
    out: &Output,
) -> Result<ExitCode, Failure> {
    if args.memory {
        settings.store = StoreKind::Memory;
        settings.said.push(("store", Origin::Flag("--memory".to_owned())));
    }
    // Until all of it is there, a signal ends the process.
    let input = args.input.as_deref().map(input).transpose()?;
    let mut signals = Signals::receive().map_err(StartError::Signals)?;
    let client = tokio::select! {
        client = Client::open(settings, &args.place, Folder::MayBeMade, application) => client?,
        signal = signals.next() => return Ok(ExitCode::from(signal)),
    };
    let form = match out.is_json() || !(args.text || stdout().is_terminal()) {
        true => Form::Json,
        false => Form::Answers,
    };
    let run = Run {
        client: &client,
        shown: Shown::new(form),
        out,
    };
    let done = run.go(&args, input, &mut signals).await;
    tokio::select! {
        () = client.close() => done,
        signal = signals.next() => std::process::exit(signal.into()),
    }
}

struct Run<'a> {
    client: &'a Client,
    shown: Shown,
    out: &'a Output,
}

/// What a signal stops.
struct Watch<'a> {
    signals: &'a mut Signals,
    flow: &'a str,
    /// The request, once its id is known.
    request: Option<String>,
    is_stopping: bool,
}

impl Run<'_> {
    /// Asks, and shows what comes of it.
    async fn go(mut self, args: &RunArgs, input: Option<Value>, signals: &mut Signals) -> Result<ExitCode, Failure> {
        let text = |text: &Option<String>| text.as_deref().map(Value::from);
        let body = asked([
            ("input", input),
            (
                "userId",
                text(&args.user).or(self.client.default_user().map(Value::from)),
            ),
            ("sessionId", text(&args.session)),
            ("projectId", text(&args.project)),
            ("requestId", text(&args.request)),
        ]);
        let (flow, action) = (segment(&args.flow), segment(&args.action));
        let path = format!("/api/flows/{flow}/actions/{action}");
        let stream = [("accept", "text/event-stream")];
        let response = tokio::select! {
            response = self.client.call(Method::POST, &path, Some(&body), &stream) => response?,
            // Whether it was accepted is not known, and nobody waits for it.
            signal = signals.next() => std::process::exit(signal.into()),
        };
        let mut events = Events::new(response.into_body());
        let named = args.request.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let mut watch = Watch {
            signals,
            flow: &flow,
            request: named.map(str::to_owned),
            is_stopping: false,
        };
        let (mut last, mut tries) = (None, 0);
        loop {
            let event: Option<Event> = match self.unless_stopped(&mut watch, events.next()).await {
                Ok(event) => event?,
                Err(exit) => return Ok(exit),
            };
            if let Some(event) = event {
                tries = 0;
                last = event.id.clone().or(last);
                if watch.request.is_none() {
                    watch.request = event.data["requestId"].as_str().map(str::to_owned);
                }
                match self.shown.event(&event) {
                    Ok(()) => {}
                    // Nobody sees how it ends.
                    Err(Failure::NobodyReads) => return Ok(ExitCode::FAILURE),
                    Err(failure) => return Err(failure),
                }
                match event.ends() {
                    Some(true) => return Ok(ExitCode::SUCCESS),
                    Some(false) => return Ok(ExitCode::FAILURE),
                    None => continue,
                }
            }
            let Some(request) = watch.request.clone() else {
                return Err(Failure::Failed(
                    "the stream broke off before its first event".to_owned(),
                ));
            };
            tries += 1;
            if self.client.is_here() || tries > TRIES_MAX {
                return Err(Failure::Failed(format!(
                    "the stream broke off; `flowstate tail --request {request}` shows how it goes on"
                )));
            }
            let again = async {
                tokio::time::sleep(TRY_PAUSE).await;
                self.again(&flow, &request, last.as_deref()).await
            };
            events = match self.unless_stopped(&mut watch, again).await {
                Ok(again) => again.unwrap_or(events),
                Err(exit) => return Ok(exit),
            };
        }
    }

    /// Does this. A signal meanwhile stops the request, and the next one leaves; where nobody knows the request, the first one does.
    async fn unless_stopped<T>(&self, watch: &mut Watch<'_>, work: impl Future<Output = T>) -> Result<T, ExitCode> {
        tokio::pin!(work);
        loop {
            let signal = tokio::select! {
                biased;
                signal = watch.signals.next() => signal,
                done = &mut work => return Ok(done),
            };
            if watch.is_stopping {
                std::process::exit(signal.into());
            }
            let Some(request) = watch.request.as_deref() else {
                return Err(ExitCode::from(signal));
            };
            watch.is_stopping = true;
            self.out.note("stopping the request; once more leaves at once");
            tokio::select! {
                () = self.abort(watch.flow, request) => {}
                signal = watch.signals.next() => std::process::exit(signal.into()),
            }
        }
    }

    /// The stream behind the last event that came.
    async fn again(&self, flow: &str, request: &str, last: Option<&str>) -> Result<Events, Failure> {
        let path = format!("/api/flows/{flow}/requests/{}/stream", segment(request));
        let cursor = last.map(|id| ("last-event-id", id));
        let headers: Vec<_> = cursor.into_iter().collect();
        let response = self.client.call(Method::GET, &path, None, &headers).await?;
        Ok(Events::new(response.into_body()))
    }

    /// Asks that the request be stopped. One that has ended meanwhile says so by its last event.
    async fn abort(&self, flow: &str, request: &str) {
        let path = format!("/api/flows/{flow}/requests/{}/abort", segment(request));
        match self.client.call(Method::POST, &path, None, &[]).await {
            Ok(_) => {}
            Err(Failure::Refused(refusal)) if refusal.status == 409 => {}
            Err(failure) => self.out.note(&format!("it could not be stopped: {failure}")),
        }
    }
}
