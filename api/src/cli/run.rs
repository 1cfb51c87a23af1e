//! `flowstate run <flow> <action>`: one request, from its input to its last event.

use std::io::{IsTerminal, Read, stdin, stdout};
use std::process::ExitCode;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Response};
use serde_json::Value;

use super::client::{Client, Folder, Where, asked, segment};
use super::events::{Event, Events};
use super::failure::Failure;
use super::output::Output;
use super::settings::{Settings, StoreKind};
use super::shown::{Form, Shown};
use super::start::{Application, StartError};
use crate::signals::Signals;

/// Largest input.
const INPUT_BYTES_MAX: u64 = 64 << 20;
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
    let mut signals = Signals::receive().map_err(StartError::Signals)?;
    if args.memory {
        settings.store = StoreKind::Memory;
    }
    let input = args.input.as_deref().map(input).transpose()?;
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
    client.close().await;
    match done? {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

struct Run<'a> {
    client: &'a Client,
    shown: Shown,
    out: &'a Output,
}

impl Run<'_> {
    /// Asks, and shows what comes of it. Whether it completed.
    async fn go(mut self, args: &RunArgs, input: Option<Value>, signals: &mut Signals) -> Result<bool, Failure> {
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
        let request = segment(header(&response, "x-request-id"));
        let mut events = Events::new(response.into_body());
        let (mut last, mut tries, mut is_stopping) = (None, 0, false);
        loop {
            let event: Option<Event> = tokio::select! {
                biased;
                signal = signals.next() => {
                    if is_stopping {
                        std::process::exit(signal.into());
                    }
                    is_stopping = true;
                    self.out.note("stopping the request; once more leaves at once");
                    tokio::select! {
                        () = self.abort(&flow, &request) => continue,
                        signal = signals.next() => std::process::exit(signal.into()),
                    }
                }
                event = events.next() => event?,
            };
            if let Some(event) = event {
                tries = 0;
                last = event.id.clone().or(last);
                match self.shown.event(&event) {
                    Ok(()) => {}
                    // Nobody sees how it ends.
                    Err(Failure::NobodyReads) => return Ok(false),
                    Err(failure) => return Err(failure),
                }
                if let Some(is_completed) = event.ends() {
                    return Ok(is_completed);
                }
                continue;
            }
            tries += 1;
            if self.client.is_here() || tries > TRIES_MAX {
                return Err(Failure::Failed(format!(
                    "the stream broke off; `flowstate tail --request {}` shows how it goes on",
                    args.request.as_deref().unwrap_or(&request)
                )));
            }
            tokio::select! {
                () = tokio::time::sleep(TRY_PAUSE) => {}
                signal = signals.next() => std::process::exit(signal.into()),
            }
            events = self.again(&flow, &request, last.as_deref()).await.unwrap_or(events);
        }
    }

    /// The stream behind the last event that came.
    async fn again(&self, flow: &str, request: &str, last: Option<&str>) -> Result<Events, Failure> {
        let path = format!("/api/flows/{flow}/requests/{request}/stream");
        let cursor = last.map(|id| ("last-event-id", id));
        let headers: Vec<_> = cursor.into_iter().collect();
        let response = self.client.call(Method::GET, &path, None, &headers).await?;
        Ok(Events::new(response.into_body()))
    }

    /// Asks that the request be stopped. One that has ended meanwhile says so by its last event.
    async fn abort(&self, flow: &str, request: &str) {
        let path = format!("/api/flows/{flow}/requests/{request}/abort");
        match self.client.call(Method::POST, &path, None, &[]).await {
            Ok(_) => {}
            Err(Failure::Refused(refusal)) if refusal.status == 409 => {}
            Err(failure) => self.out.note(&format!("it could not be stopped: {failure}")),
        }
    }
}

/// What the input says; `@` and `-` say where it is.
fn input(said: &str) -> Result<Value, Failure> {
    let read = |what: &str, from: &mut dyn Read| {
        let mut text = String::new();
        from.take(INPUT_BYTES_MAX)
            .read_to_string(&mut text)
            .map_err(|error| Failure::Usage(format!("{what} can't be read: {error}")))?;
        Ok::<_, Failure>(text)
    };
    let text = match said.strip_prefix('@') {
        _ if said == "-" => read("stdin", &mut stdin())?,
        Some(path) => {
            let opened = std::fs::File::open(path);
            read(
                path,
                &mut opened.map_err(|error| Failure::Usage(format!("{path} can't be read: {error}")))?,
            )?
        }
        None => said.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| {
        Failure::Usage(format!(
            "the input is no JSON: {error}; a text needs quotes of its own, as in --input '\"hello\"'"
        ))
    })
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    let value = response.headers().get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default()
}
