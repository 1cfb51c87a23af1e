//! `flowstate tail`: the events of a session, or of one request, from its start or a position on. Records themselves are shown by
//! `flowstate log tail`.

use serde_json::Value;

use super::client::{Client, Folder, Where, segment};
use super::events::Event;
use super::failure::{Failure, Refusal};
use super::output::Output;
use super::settings::Settings;
use super::shown::{Form, Shown};
use super::start::Application;

/// Longest that an answer is waited for, in milliseconds, before it is asked for again.
const WAIT_MS: u64 = 25_000;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Exit codes: 0 shown; 1 failed; 2 wrong arguments, or there is no such session or request; 3 the folder is in use by \
                        another process."
)]
pub(super) struct TailArgs {
    /// The session.
    #[arg(
        value_name = "SESSION",
        required_unless_present = "request",
        conflicts_with = "request"
    )]
    session: Option<String>,

    /// One request, instead of a session.
    #[arg(long, value_name = "ID")]
    request: Option<String>,

    /// Begin with this position of the session, or with this number of the request.
    #[arg(long, value_name = "N", default_value = "1")]
    from: u64,

    /// Go on with what comes, until interrupted, or until the request ends. Needs a server.
    #[arg(long, requires = "url")]
    follow: bool,

    #[command(flatten)]
    place: Where,
}

pub(super) async fn run(
    settings: Settings,
    args: TailArgs,
    application: Application<'_>,
    out: &Output,
) -> Result<(), Failure> {
    let client = Client::open(settings, &args.place, Folder::MustExist, application).await?;
    let done = tail(&client, &args, out).await;
    client.close().await;
    done
}

async fn tail(client: &Client, args: &TailArgs, out: &Output) -> Result<(), Failure> {
    let path = match (&args.session, &args.request) {
        (Some(session), _) => format!("/api/flows/sessions/{}/events", segment(session)),
        (None, Some(request)) => of_request(client, request).await?,
        (None, None) => return Err(Failure::Usage("name a session, or a request with --request".to_owned())),
    };
    let mut shown = Shown::new(match out.is_json() {
        true => Form::Json,
        false => Form::Talk,
    });
    let wait = if args.follow { WAIT_MS } else { 0 };
    let mut after = args.from.saturating_sub(1);
    loop {
        let path = format!("{path}?wait_ms={wait}&starting_after={after}");
        let polled = client.get(&path).await?;
        let events = polled["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        // Where the cursor lies beyond the end of a session, it is answered from its start.
        for event in events.iter().filter(|event| number(&event["id"]) >= args.from) {
            let data = event["data"].clone();
            shown.event(&Event {
                id: None,
                line: data.to_string(),
                data,
            })?;
        }
        let last = number(&polled["cursor"]);
        let is_all = events.is_empty() && last == after;
        if polled["done"] == true || (is_all && !args.follow) {
            return Ok(());
        }
        after = last;
    }
}

/// Where the events of a request are: under its flow, which only its server knows.
async fn of_request(client: &Client, request: &str) -> Result<String, Failure> {
    let request_segment = segment(request);
    let flows = client.get("/api/flows").await?;
    for flow in flows["flows"].as_array().into_iter().flatten() {
        let kind = segment(flow["kind"].as_str().unwrap_or_default());
        let path = format!("/api/flows/{kind}/requests/{request_segment}");
        match client.get(&format!("{path}/status")).await {
            Ok(_) => return Ok(format!("{path}/events")),
            Err(Failure::Refused(refusal)) if refusal.status == 404 => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::Refused(Refusal {
        status: 404,
        error: format!("no flow has a request {request:?}"),
        code: Some("request_not_found".to_owned()),
        details: Vec::new(),
    }))
}

/// The number in a cursor, or in the id of an event.
fn number(id: &Value) -> u64 {
    let id = id.as_str().unwrap_or_default();
    let number = id.rsplit_once(':').map_or(id, |(_, number)| number);
    number.parse().unwrap_or(0)
}
