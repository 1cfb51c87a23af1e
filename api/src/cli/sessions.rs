//! `flowstate sessions`: which there are, what is in one, and deleting one.

use std::collections::BTreeMap;
use std::io::{BufRead, IsTerminal, stdin};

use axum::http::Method;
use serde_json::{Value, json};

use super::client::{Client, Folder, Where, segment};
use super::failure::Failure;
use super::output::Output;
use super::settings::Settings;
use super::start::Application;
use super::terminal::plain;
use super::time;

/// Most items that are counted by their types.
const ITEMS_MAX: usize = 1_000;

/// The arguments.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct SessionsArgs {
    #[command(subcommand)]
    command: Option<SessionsCommand>,

    /// Of this user only.
    #[arg(long, value_name = "ID")]
    user: Option<String>,

    /// Of this kind of flow only.
    #[arg(long, value_name = "KIND")]
    flow: Option<String>,

    /// At most so many; the ones that were active last come first.
    #[arg(long, value_name = "N", default_value = "50")]
    limit: u64,

    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Subcommand)]
enum SessionsCommand {
    /// Shows a session, its requests, and how many items it has.
    Show(OneArgs),
    /// Deletes a session and everything in it.
    Delete(DeleteArgs),
}

#[derive(Debug, clap::Args)]
struct OneArgs {
    /// The session.
    session: String,

    #[command(flatten)]
    place: Where,
}

#[derive(Debug, clap::Args)]
struct DeleteArgs {
    #[command(flatten)]
    one: OneArgs,

    /// Do not ask.
    #[arg(long)]
    yes: bool,
}

pub(super) async fn run(
    settings: Settings,
    args: SessionsArgs,
    application: Application<'_>,
    out: &Output,
) -> Result<(), Failure> {
    let place = match &args.command {
        Some(SessionsCommand::Show(args)) => &args.place,
        Some(SessionsCommand::Delete(args)) => &args.one.place,
        None => &args.place,
    };
    let client = Client::open(settings, place, Folder::MustExist, application).await?;
    let done = match &args.command {
        Some(SessionsCommand::Show(args)) => show(&client, &args.session, out).await,
        Some(SessionsCommand::Delete(args)) => delete(&client, args, out).await,
        None => list(&client, &args, out).await,
    };
    client.close().await;
    done
}

async fn list(client: &Client, args: &SessionsArgs, out: &Output) -> Result<(), Failure> {
    let mut path = format!("/api/flows/sessions?limit={}", args.limit);
    for (name, value) in [("userId", &args.user), ("flowKind", &args.flow)] {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", segment(value)));
        }
    }
    let answer = client.get(&path).await?;
    let sessions = answer["sessions"].as_array().map(Vec::as_slice).unwrap_or_default();
    if out.is_json() {
        return sessions.iter().try_for_each(|session| out.say(session, String::new));
    }
    let mut rows = vec![["SESSION", "FLOW", "USER", "REQUESTS", "LAST ACTIVE", "TITLE"].map(str::to_owned)];
    rows.extend(sessions.iter().map(|session| {
        [
            text(&session["id"]),
            text(&session["flowKind"]),
            text(&session["userId"]),
            text(&session["requestCount"]),
            at(&session["updatedAt"]),
            text(&session["title"]),
        ]
    }));
    out.say(&(), || table(&rows))
}

async fn show(client: &Client, id: &str, out: &Output) -> Result<(), Failure> {
    let path = format!("/api/flows/sessions/{}", segment(id));
    let session = client.get(&path).await?;
    let requests = client.get(&format!("{path}/requests")).await?;
    let items = client
        .get(&format!("{path}/state?include_items=true&limit={ITEMS_MAX}"))
        .await;
    // A flow that is not there any more has no snapshots.
    let items = match items {
        Err(Failure::Refused(refusal)) if refusal.status == 404 => None,
        items => Some(summary(&items?)),
    };
    let (session, requests) = (&session["session"], &requests["requests"]);
    let told = json!({ "session": session, "requests": requests, "items": items });
    out.say(&told, || {
        let field = |(name, value): (&str, String)| format!("{name:<12} {value}");
        let fields = [
            ("session", text(&session["id"])),
            (
                "flow",
                format!("{}/{}", text(&session["flowKind"]), text(&session["flowId"])),
            ),
            ("user", text(&session["userId"])),
            ("project", text(&session["projectId"])),
            ("title", text(&session["title"])),
            ("created", at(&session["createdAt"])),
            ("last active", at(&session["updatedAt"])),
            ("items", items.as_ref().map_or("-".to_owned(), in_words)),
        ];
        let mut lines: Vec<String> = fields.into_iter().map(field).collect();
        let mut rows = vec![["REQUEST", "ACTION", "STATUS", "STARTED"].map(str::to_owned)];
        rows.extend(requests.as_array().into_iter().flatten().map(|request| {
            [
                text(&request["id"]),
                text(&request["actionName"]),
                text(&request["status"]),
                at(&request["startedAtMs"]),
            ]
        }));
        lines.push(String::new());
        lines.push(table(&rows));
        lines.join("\n")
    })
}

async fn delete(client: &Client, args: &DeleteArgs, out: &Output) -> Result<(), Failure> {
    let path = format!("/api/flows/sessions/{}", segment(&args.one.session));
    let session = client.get(&path).await?;
    if !args.yes {
        let requests = text(&session["session"]["requestCount"]);
        ask(&args.one.session, &requests, out)?;
    }
    client.call(Method::DELETE, &path, None, &[]).await?;
    let told = json!({ "deleted": args.one.session });
    out.say(&told, || format!("{} is deleted", plain(&args.one.session)))
}

/// Asks whoever is there; nobody has not said yes.
fn ask(session: &str, requests: &str, out: &Output) -> Result<(), Failure> {
    if out.is_json() || !stdin().is_terminal() {
        return Err(Failure::Usage("nobody can be asked: say --yes".to_owned()));
    }
    eprint!(
        "Delete the session {} with {requests} requests, for good? [y/N] ",
        plain(session)
    );
    let mut answer = String::new();
    let read = stdin().lock().read_line(&mut answer);
    read.map_err(Failure::io("reading the answer"))?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(()),
        _ => Err(Failure::Failed("nothing was deleted".to_owned())),
    }
}

/// How many items there are, and of the first thousand how many of each type.
fn summary(snapshot: &Value) -> Value {
    let mut types: BTreeMap<&str, u64> = BTreeMap::new();
    for item in snapshot["items"].as_array().into_iter().flatten() {
        *types.entry(item["type"].as_str().unwrap_or_default()).or_default() += 1;
    }
    json!({ "total": snapshot["pagination"]["total"], "byType": types })
}

fn in_words(items: &Value) -> String {
    let types = items["byType"].as_object().into_iter().flatten();
    let types: Vec<String> = types.map(|(name, count)| format!("{count} {name}")).collect();
    match types.is_empty() {
        true => text(&items["total"]),
        false => format!("{} ({})", text(&items["total"]), types.join(", ")),
    }
}

/// A value in a cell.
fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => plain(text).replace(['\n', '\t'], " "),
        other => other.to_string(),
    }
}

/// A time in a cell, from milliseconds since the Unix epoch.
fn at(value: &Value) -> String {
    value.as_i64().map_or("-".to_owned(), |ms| time::rfc3339(ms * 1_000))
}

/// Rows with columns as wide as their widest cell.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let lines = rows.iter().map(|row| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    });
    lines.collect::<Vec<_>>().join("\n")
}
