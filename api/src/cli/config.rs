//! `flowstate config`: what the settings are and who says so, and whether a server would start with them.

use serde_json::{Value, json};

use super::failure::Failure;
use super::output::Output;
use super::settings::{Kind, Resolved, Settings};
use super::start::{self, Application};

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

#[derive(Debug, clap::Subcommand)]
enum ConfigCommand {
    /// Shows each setting, what it is, and where that was said: as a file that would say the same.
    Show,
    /// Checks everything that can be checked without opening anything.
    Check,
}

pub(super) fn run(
    settings: &Settings,
    resolved: &[Resolved],
    args: ConfigArgs,
    application: Application<'_>,
    out: &Output,
) -> Result<(), Failure> {
    match args.command {
        ConfigCommand::Show => show(resolved, out),
        ConfigCommand::Check => {
            let app = start::build(settings, application)?;
            start::check_exposure(settings, &app)?;
            let who = start::answering(settings, app.models())?;
            let told =
                json!({ "ok": true, "profile": app.active_profile(), "flows": app.meta().flow_keys, "answers": who });
            out.say(&told, || format!("ok; answers would come from {who}"))
        }
    }
}

fn show(resolved: &[Resolved], out: &Output) -> Result<(), Failure> {
    if out.is_json() {
        for this in resolved {
            let origin = this.origin.to_string();
            let told = json!({ "setting": this.setting.key, "value": value(this), "origin": origin });
            out.say(&told, String::new)?;
        }
        return Ok(());
    }
    let (tables, plain): (Vec<_>, Vec<_>) = resolved.iter().partition(|this| this.setting.key.contains('.'));
    let mut lines: Vec<String> = plain.into_iter().map(|this| line(this, this.setting.key)).collect();
    lines.push("\n[limits]".to_owned());
    lines.extend(tables.into_iter().map(|this| {
        let name = this.setting.key.trim_start_matches("limits.");
        line(this, name)
    }));
    out.say(&(), || lines.join("\n"))
}

fn line(this: &Resolved, name: &str) -> String {
    match value(this) {
        Value::Null => format!("# {name} is not set"),
        value => format!("{:<50} # {}", format!("{name} = {value}"), this.origin),
    }
}

/// As the file would have it; JSON and TOML write these values alike.
fn value(this: &Resolved) -> Value {
    let text = |text: &String| Value::from(text.as_str());
    match (this.setting.kind, this.values.as_slice()) {
        (_, []) => Value::Null,
        (Kind::List(_), values) => values.iter().map(text).collect(),
        (Kind::Switch, [value, ..]) => json!(super::settings::is_on(value)),
        (Kind::Number, [value, ..]) => value.trim().parse::<u64>().map_or_else(|_| text(value), Value::from),
        (Kind::Text(_), [value, ..]) => text(value),
    }
}
