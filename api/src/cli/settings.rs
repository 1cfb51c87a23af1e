//! Every setting of a server, once: what it is called, what it may be, and what it is if nobody says. Its flag, its variable and its key in
//! the file follow from its name; which of them counts is decided in `settings/resolve`.

mod file;
mod flags;
mod limits;
mod read;
mod resolve;

use std::path::PathBuf;
use std::time::Duration;

use crate::Limits;
use crate::auth::JwtAlgorithm;

pub(super) use file::File;
pub(super) use flags::{Given, LIMIT, global, with};
pub(super) use resolve::{Origin, Resolved, resolve};

/// What a setting may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A text; what help calls it.
    Text(&'static str),
    /// A whole number.
    Number,
    /// On or off.
    Switch,
    /// Several texts; what help calls each.
    List(&'static str),
}

/// Which commands a setting means something to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum For {
    /// All: the folder.
    All,
    /// Those that open it.
    Opening,
    /// Those that run requests.
    Running,
    /// Those that serve.
    Serving,
}

/// A setting.
pub(super) struct Setting {
    /// Its name in lower snake case, behind that of its table in the file: `limits.body_bytes`.
    pub(super) key: &'static str,
    pub(super) kind: Kind,
    pub(super) who: For,
    pub(super) help: &'static str,
    /// What it is if nobody says, as one would say it.
    pub(super) default: fn() -> Option<String>,
    /// Reads one value.
    pub(super) set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// `--data-dir`. Limits have none of their own; see [`LIMIT`].
    pub(super) fn flag(&self) -> String {
        match self.key.strip_prefix("limits.") {
            Some(limit) => format!("--limit {limit}=.."),
            None => format!("--{}", self.key.replace('_', "-")),
        }
    }

    /// `FLOWSTATE_DATA_DIR`.
    pub(super) fn variable(&self) -> String {
        format!("FLOWSTATE_{}", self.key.replace('.', "_").to_uppercase())
    }
}

/// A kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum StoreKind {
    /// The log: segments and sorted runs of its own.
    #[default]
    Lsm,
    /// The control, to compare: records in a fjall tree.
    Fjall,
    /// The log, in memory.
    Memory,
}

/// The settings, as they were read.
#[derive(Debug, Clone, Default)]
pub(super) struct Settings {
    pub(super) data_dir: PathBuf,
    pub(super) store: StoreKind,
    pub(super) model: Option<String>,
    pub(super) tokens_per_second: u32,
    pub(super) listen: String,
    pub(super) allow_host: Vec<String>,
    pub(super) allow_origin: Vec<String>,
    pub(super) api_keys: Option<PathBuf>,
    pub(super) allow_unauthenticated_public: bool,
    pub(super) resume: bool,
    pub(super) trace_access: bool,
    pub(super) later_stop_names: bool,
    pub(super) drain_within: Duration,
    pub(super) close_within: Duration,
    pub(super) jwt: Tokens,
    pub(super) limits: Limits,
    /// What was said at all, and where.
    pub(super) said: Vec<(&'static str, Origin)>,
}

/// How JSON Web Tokens are checked.
#[derive(Debug, Clone, Default)]
pub(super) struct Tokens {
    pub(super) keys: Vec<PathBuf>,
    pub(super) algorithms: Vec<JwtAlgorithm>,
    pub(super) issuers: Vec<String>,
    pub(super) audiences: Vec<String>,
    pub(super) tenant_claim: String,
    pub(super) projects_claim: String,
    pub(super) operator_claim: Option<(String, String)>,
    pub(super) leeway: Duration,
}

/// All settings, in the order in which they are shown.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(limits::LIMITS)
}

/// The setting of this key.
pub(super) fn named(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

/// Whether a switch that was read is on.
pub(super) fn is_on(text: &str) -> bool {
    read::switch(text) == Ok(true)
}

/// One that nobody has to say.
fn none() -> Option<String> {
    None
}

fn off() -> Option<String> {
    Some("false".to_owned())
}

macro_rules! switch {
    ($($field:ident).+) => {
        |settings, text| {
            settings.$($field).+ = read::switch(text)?;
            Ok(())
        }
    };
}

macro_rules! one {
    ($read:path, $($field:ident).+) => {
        |settings, text| {
            settings.$($field).+ = $read(text)?;
            Ok(())
        }
    };
}

macro_rules! some {
    ($read:path, $($field:ident).+) => {
        |settings, text| {
            settings.$($field).+ = Some($read(text)?);
            Ok(())
        }
    };
}

macro_rules! push {
    ($read:path, $($field:ident).+) => {
        |settings, text| {
            settings.$($field).+.push($read(text)?);
            Ok(())
        }
    };
}

macro_rules! setting {
    ($key:literal, $kind:expr, $who:ident, $default:expr, $set:expr, $help:literal) => {
        Setting {
            key: $key,
            kind: $kind,
            who: For::$who,
            help: $help,
            default: $default,
            set: $set,
        }
    };
}

#[rustfmt::skip] // a table
static SETTINGS: &[Setting] = &[
    setting!("data_dir", Kind::Text("FOLDER"), All, || Some("./flowstate-data".to_owned()), one!(read::path, data_dir),
        "Folder that everything is kept in; a server makes it if there is none"),
    setting!("store", Kind::Text("STORE"), Opening, || Some("lsm".to_owned()), one!(read::store, store),
        "What keeps the records: lsm, the log's own segments; fjall, a tree, to compare; memory, nothing on disk"),
    setting!("model", Kind::Text("MODEL"), Running, none, one!(read::model, model),
        "Model that answers where flows name none, such as openai/gpt-5-mini; without it, the built-in scripted model. Keys are read from the \
         variables of the providers, such as OPENAI_API_KEY"),
    setting!("scripted_tokens_per_second", Kind::Number, Running, || Some("50".to_owned()), one!(read::number, tokens_per_second),
        "Speed of the built-in scripted model; 0 is without pause"),
    setting!("listen", Kind::Text("HOST:PORT"), Serving, || Some("127.0.0.1:4400".to_owned()), one!(read::listen, listen),
        "Address and port to listen on; port 0 takes a free one"),
    setting!("allow_host", Kind::List("HOST"), Serving, none, push!(read::host, allow_host),
        "Host name that clients reach the server under, with or without port. Loopback names always work"),
    setting!("allow_origin", Kind::List("ORIGIN"), Serving, none, push!(read::origin, allow_origin),
        "Origin of another site whose pages may call the server"),
    setting!("api_keys", Kind::Text("FILE"), Serving, none, some!(read::path, api_keys),
        "File of API keys: calls need one of them then. Its owner alone may read it"),
    setting!("jwt_key", Kind::List("FILE"), Serving, none, push!(read::path, jwt.keys),
        "File of a key that JSON Web Tokens are signed with: a public key in PEM, a key set, or a secret that its owner alone may read. Calls \
         need a token, or an API key, then"),
    setting!("jwt_algorithm", Kind::List("NAME"), Serving, none, push!(read::algorithm, jwt.algorithms),
        "How tokens are signed, such as ES256 or RS256; no other algorithm counts"),
    setting!("jwt_issuer", Kind::List("NAME"), Serving, none, push!(read::text, jwt.issuers),
        "Issuer that tokens must be of"),
    setting!("jwt_audience", Kind::List("NAME"), Serving, none, push!(read::text, jwt.audiences),
        "Audience that tokens must be for"),
    setting!("jwt_tenant_claim", Kind::Text("NAME"), Serving, || Some("tenant".to_owned()), one!(read::text, jwt.tenant_claim),
        "Claim that names the tenant"),
    setting!("jwt_projects_claim", Kind::Text("NAME"), Serving, || Some("projects".to_owned()), one!(read::text, jwt.projects_claim),
        "Claim that lists the projects"),
    setting!("jwt_operator_claim", Kind::Text("NAME=VALUE"), Serving, none, some!(read::pair, jwt.operator_claim),
        "Claim, and its value, by which tokens of operators are known; without it there are none"),
    setting!("jwt_leeway", Kind::Text("TIME"), Serving, || Some("30s".to_owned()), one!(read::time, jwt.leeway),
        "How far the clock of who signs may be off"),
    setting!("allow_unauthenticated_public", Kind::Switch, Serving, off, switch!(allow_unauthenticated_public),
        "Serve an address that other machines can reach although nobody is asked for a credential"),
    setting!("resume", Kind::Switch, Serving, off, switch!(resume),
        "Go on with the requests that were open when the server last stopped, instead of closing them as interrupted. No answer of a model \
         and no result of a tool that is recorded is asked for again"),
    setting!("trace_access", Kind::Switch, Serving, off, switch!(trace_access),
        "Let callers see what clients don't: hidden items, for those that ask for them (include=trace)"),
    setting!("later_stop_names", Kind::Switch, Serving, off, switch!(later_stop_names),
        "Call the end of a request that was stopped request.aborted or request.interrupted, instead of request.incomplete"),
    setting!("drain_within", Kind::Text("TIME"), Serving, || Some("4s".to_owned()), one!(read::time, drain_within),
        "How long calls that are being answered are given at a stop"),
    setting!("close_within", Kind::Text("TIME"), Serving, || Some("5s".to_owned()), one!(read::time, close_within),
        "How long runs are given at a stop to write their last record"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_lower_snake_case_and_no_two_settings_share_a_flag_or_a_variable() {
        let (mut flags, mut variables) = (BTreeSet::new(), BTreeSet::new());
        for setting in all() {
            let plain = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
            assert!(setting.key.chars().all(plain), "{}", setting.key);
            assert!(flags.insert(setting.flag()), "{}", setting.flag());
            assert!(variables.insert(setting.variable()), "{}", setting.variable());
            assert!(
                !setting.help.is_empty() && !setting.help.ends_with('.'),
                "{}",
                setting.key
            );
        }
        assert!(all().count() > 35);
    }

    #[test]
    fn every_default_is_a_value_and_those_of_the_server_are_its_own() {
        let mut settings = Settings {
            limits: Limits {
                calls: 1,
                ..Limits::default()
            },
            ..Settings::default()
        };
        for setting in all() {
            if let Some(text) = (setting.default)() {
                (setting.set)(&mut settings, &text).unwrap_or_else(|error| panic!("{}: {error}", setting.key));
            }
        }
        assert_eq!(settings.limits, Limits::default());
        assert_eq!(settings.drain_within, crate::server::connection::DRAIN_WITHIN);
        assert_eq!(settings.jwt.leeway, Duration::from_secs(30));
        assert_eq!(settings.tokens_per_second, 50);
    }
}
