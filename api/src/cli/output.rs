//! What a command says: results to stdout, as text or JSON; progress and failures to stderr.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Duration;

use flowstate_log::folder::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use super::failure::Failure;
use super::terminal::{self, plain};

/// How to say it.
pub(super) struct Output {
    json: bool,
}

impl Output {
    pub(super) fn new(json: bool) -> Self {
        Self { json }
    }

    pub(super) fn is_json(&self) -> bool {
        self.json
    }

    /// One result: as one line of JSON, or as this text.
    pub(super) fn say(&self, value: &impl Serialize, text: impl FnOnce() -> String) -> Result<(), Failure> {
        let mut line = match self.json {
            true => {
                let line = serde_json::to_string(value).map_err(|error| Failure::Failed(error.to_string()))?;
                terminal::json(line, &stdout())
            }
            false => text(),
        };
        if !line.ends_with('\n') {
            line.push('\n');
        }
        terminal::print(line.as_bytes())
    }

    /// Something to know that is no result.
    pub(super) fn note(&self, text: &str) {
        self.tell(&json!({ "note": text }), text);
    }

    pub(super) fn fail(&self, failure: &Failure) {
        if !matches!(failure, Failure::NobodyReads) {
            self.tell(&failure.json(), &failure.to_string());
        }
    }

    fn tell(&self, value: &Value, text: &str) {
        let line = match self.json {
            true => terminal::json(value.to_string(), &stderr()),
            false => format!("flowstate: {}", plain(text)),
        };
        // That nobody reads stderr is no reason to stop.
        let _ = writeln!(stderr(), "{line}");
    }

    /// A bar for something long; shown on a terminal only, and not beside JSON.
    pub(super) fn bar(&self) -> Bar {
        let bar = ProgressBar::with_draw_target(Some(0), self.target());
        let style = ProgressStyle::with_template("{msg:20} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Bar(bar)
    }

    /// The same for something that can't say how far it is: what it does, and since when.
    pub(super) fn spinner(&self, step: &'static str) -> Bar {
        let bar = ProgressBar::with_draw_target(None, self.target());
        let style = ProgressStyle::with_template("{spinner} {msg} {elapsed}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
        bar.set_message(step);
        bar.enable_steady_tick(TURN);
        Bar(bar)
    }

    fn target(&self) -> ProgressDrawTarget {
        match self.json || !stderr().is_terminal() {
            true => ProgressDrawTarget::hidden(),
            false => ProgressDrawTarget::stderr(),
        }
    }
}

/// How often a spinner turns.
const TURN: Duration = Duration::from_millis(100);

/// See [`Output::bar`]. Gone when dropped.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn show(&self, progress: Progress) {
        self.0.set_length(progress.total.max(progress.done));
        self.0.set_position(progress.done);
        self.0.set_message(progress.step);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// Bytes as people read them.
pub(super) fn bytes(count: u64) -> String {
    indicatif::HumanBytes(count).to_string()
}
