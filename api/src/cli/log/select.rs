//! Naming streams on the command line, and finding them in a folder that is not open.

use flowstate_engine::{Principal, offline};
use flowstate_log::folder::StreamSummary;
use flowstate_log::record::Name;

use super::failure::Failure;

/// One stream, if any, by its name or by its session.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Only this stream.
    #[arg(long, value_name = "NAME", conflicts_with = "session")]
    pub(super) stream: Option<String>,

    /// Only the stream of this session.
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,

    /// Whose it is, if the server has principals.
    #[arg(long, value_name = "PRINCIPAL", default_value = "", hide_default_value = true)]
    pub(super) principal: String,
}

impl One {
    /// The name asked for; `None` for all streams.
    pub(super) fn name(&self) -> Result<Option<Name>, Failure> {
        let named = match (&self.stream, &self.session) {
            (Some(stream), _) => Name::new(&self.principal, stream),
            (None, Some(session)) => offline::session_stream(&Principal::new(&self.principal), session),
            (None, None) => return Ok(None),
        };
        named.map(Some).map_err(|error| Failure::Usage(error.to_string()))
    }
}

/// The live stream of a name.
pub(super) fn find<'a>(streams: &'a [StreamSummary], name: &Name) -> Result<&'a StreamSummary, Failure> {
    let live = |stream: &&StreamSummary| !stream.deleted && stream.name.as_ref() == Some(name);
    streams.iter().find(live).ok_or_else(|| absent(name))
}

/// That there is no such stream.
pub(super) fn absent(name: &Name) -> Failure {
    Failure::Usage(format!(
        "there is no stream {:?}{}; `flowstate log stats` lists the largest ones, and sessions are named with --session",
        name.name(),
        match name.principal() {
            "" => String::new(),
            principal => format!(" of {principal:?}"),
        }
    ))
}

/// Whether a stream is the log's own.
pub(super) fn is_own(name: &Name) -> bool {
    name.name().starts_with('\0')
}

/// A stream's name for people.
pub(super) fn shown(name: &Name) -> String {
    match (name.principal(), is_own(name)) {
        (_, true) => "(the log's own stream)".to_owned(),
        ("", _) => name.name().to_owned(),
        (principal, _) => format!("{principal}:{}", name.name()),
    }
}
