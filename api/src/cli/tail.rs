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
/// The largest cursor.
const BEYOND: u64 = (1 << 53) - 1;

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
    // A cursor beyond the end counts as the end: that is how far there is something now.
    let end = client.get(&format!("{path}?wait_ms=0&starting_after={BEYOND}")).await?;
    let end = position(&end);
    let mut after = args.from.saturating_sub(1);
    while args.follow || after < end {
        let polled = client
            .get(&format!("{path}?wait_ms={WAIT_MS}&starting_after={after}"))
            .await?;
        for event in polled["events"].as_array().into_iter().flatten() {
            let data = event["data"].clone();
            shown.event(&Event {
                id: None,
                line: data.to_string(),
                data,
            })?;
        }
        if polled["done"] == true {
            break;
        }
        after = position(&polled).max(after);
    }
    Ok(())
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

/// The number in the cursor of an answer.
fn position(polled: &Value) -> u64 {
    let cursor = polled["cursor"].as_str().unwrap_or_default();
    let number = cursor.rsplit_once(':').map_or(cursor, |(_, number)| number);
    number.parse().unwrap_or(0)
}
