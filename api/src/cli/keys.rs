//! `flowstate keys`: the file of API keys. A key itself is shown once, when it is made; the file has digests.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::failure::Failure;
use super::output::Output;
use super::settings::Settings;
use crate::auth::{ApiKey, ApiKeyError, Identity, edit_key_file};

/// The arguments.
#[derive(Debug, clap::Args)]
pub(super) struct KeysArgs {
    /// The file; without it, that of the setting api_keys. Its owner alone may read it.
    #[arg(long, global = true, value_name = "FILE")]
    file: Option<PathBuf>,

    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeysCommand {
    /// Makes a key, prints it, and adds its digest to the file, which is made if there is none. A server that runs knows it within 5 seconds.
    New(NewArgs),
    /// Lists the keys of the file: whose they are, not the keys.
    List,
    /// Removes a key. What it opened ends within half a minute.
    Remove {
        /// What the key is called.
        name: String,
    },
}

#[derive(Debug, clap::Args)]
struct NewArgs {
    /// What to call the key; no other key of the file is called so.
    #[arg(long, value_name = "NAME")]
    name: String,

    /// The tenant.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    tenant: String,

    /// Whose key it is.
    #[arg(long, value_name = "ID")]
    user: String,

    /// Project that the user may name. Repeatable.
    #[arg(long, value_name = "ID")]
    project: Vec<String>,

    /// It is for who runs the server: /metrics is for these only.
    #[arg(long)]
    operator: bool,
}

pub(super) fn run(settings: &Settings, args: KeysArgs, out: &Output) -> Result<(), Failure> {
    let file = args.file.as_deref().or(settings.api_keys.as_deref());
    let file =
        file.ok_or_else(|| Failure::Usage("name the file of keys with --file or FLOWSTATE_API_KEYS".to_owned()))?;
    match args.command {
        KeysCommand::New(args) => new(file, args, out),
        KeysCommand::List => list(file, out),
        KeysCommand::Remove { name } => remove(file, &name, out),
    }
}

fn new(file: &Path, args: NewArgs, out: &Output) -> Result<(), Failure> {
    let identity = args
        .project
        .into_iter()
        .fold(Identity::new(args.tenant, args.user), Identity::project);
    let identity = Identity {
        is_operator: args.operator,
        ..identity
    };
    let made = edit_key_file(file, |keys| {
        let (key, text) = ApiKey::generate(&*args.name, &identity)?;
        keys.push(key.clone());
        Ok((key, text))
    });
    let (key, text) = made.map_err(failure)?;
    let shown = out.say(&json!({ "key": text, "name": args.name, "file": file }), || {
        text.clone()
    });
    if let Err(reason) = shown {
        // Nobody has it.
        let taken_back = edit_key_file(file, |keys| {
            keys.retain(|other| *other != key);
            Ok(())
        });
        return Err(Failure::Failed(match taken_back {
            Ok(()) => format!("the key could not be shown, and was taken back: {reason}"),
            Err(error) => format!("the key could not be shown ({reason}); remove it, which failed: {error}"),
        }));
    }
    if !out.is_json() {
        out.note(&format!(
            "this is {:?}; it is shown once, and {} has its digest",
            args.name,
            file.display()
        ));
    }
    Ok(())
}

fn list(file: &Path, out: &Output) -> Result<(), Failure> {
    look(file)?;
    let keys = edit_key_file(file, |keys| Ok(keys.clone())).map_err(failure)?;
    for key in keys {
        let told = json!({
            "name": key.name,
            "tenant": key.tenant,
            "user": key.user,
            "projects": key.projects,
            "operator": key.operator,
        });
        out.say(&told, || {
            let projects: Vec<_> = key.projects.iter().map(String::as_str).collect();
            let of = match key.tenant.as_str() {
                "" => key.user.clone(),
                tenant => format!("{tenant}/{}", key.user),
            };
            let operator = if key.operator { "  operator" } else { "" };
            let projects = match projects.as_slice() {
                [] => String::new(),
                projects => format!("  projects {}", projects.join(", ")),
            };
            format!("{}  {of}{projects}{operator}", key.name)
        })?;
    }
    Ok(())
}

fn remove(file: &Path, name: &str, out: &Output) -> Result<(), Failure> {
    look(file)?;
    let removed = edit_key_file(file, |keys| {
        let before = keys.len();
        keys.retain(|key| key.name != name);
        Ok(keys.len() < before)
    });
    match removed.map_err(failure)? {
        true => out.say(&json!({ "removed": name }), || format!("{name} is removed")),
        false => Err(Failure::Usage(format!("{} has no key {name:?}", file.display()))),
    }
}

/// A file that is not there has no keys to list or to remove.
fn look(file: &Path) -> Result<(), Failure> {
    match file.exists() {
        true => Ok(()),
        false => Err(Failure::Usage(format!("there is no file {}", file.display()))),
    }
}

fn failure(error: ApiKeyError) -> Failure {
    match error {
        ApiKeyError::Key { .. } => Failure::Usage(error.to_string()),
        _ => Failure::Failed(error.to_string()),
    }
}
