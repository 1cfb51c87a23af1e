//! Every setting of a server, once: what it is called, what it may be, and what it is if nobody says. Its flag, its variable and its key in
//! the file follow from its name; which of them counts is decided in `settings/resolve`.

mod file;
mod flags;
mod limits;
mod read;
mod resolve;
mod table;

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
    table::SETTINGS.iter().chain(limits::LIMITS)
}

/// The setting of this key.
pub(super) fn named(key: &str) -> Option<&'static Setting> {
    all().find(|setting| setting.key == key)
}

/// Whether a switch that was read is on.
pub(super) fn is_on(text: &str) -> bool {
    read::switch(text) == Ok(true)
}

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
