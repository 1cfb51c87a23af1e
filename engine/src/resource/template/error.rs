//! Why a template was not filled.

use minijinja::{Error, ErrorKind};

use super::{FUEL, OUTPUT_LEN_MAX, SOURCE_LEN_MAX};

/// Why a template was not filled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the template{}: {problem}", .line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct TemplateError {
    /// Where, from 1, if it is in a line.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: TemplateProblem,
}

/// What is wrong with a template, or with its state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    /// The source is longer than sources may be.
    #[error("it has {0} bytes, and {SOURCE_LEN_MAX} are allowed")]
    TooLong(usize),
    /// It can't be read.
    #[error("{0}")]
    Syntax(String),
    /// It asks for what templates don't have.
    #[error("{0}")]
    Refused(String),
    /// The state does not have it.
    #[error("{0} is not in the state; ask for it with `is defined`, or give it a value with `|default(..)`")]
    Missing(String),
    /// It does with a value what can't be done with that.
    #[error("{0}")]
    Failed(String),
    /// It takes more steps than allowed.
    #[error("it takes more than {FUEL} steps; show less of the state")]
    TooMuchWork,
    /// It makes more text than allowed.
    #[error("it makes more than {OUTPUT_LEN_MAX} bytes of text; show less of the state")]
    TooMuchText,
    /// The state has no JSON.
    #[error("the state can't be read: {0}")]
    State(String),
}

impl TemplateProblem {
    /// In no line.
    pub(super) fn somewhere(self) -> TemplateError {
        TemplateError {
            line: None,
            problem: self,
        }
    }

    pub(super) fn at(self, line: usize) -> TemplateError {
        TemplateError {
            line: Some(line),
            problem: self,
        }
    }
}

impl TemplateError {
    /// A source that can't be read.
    pub(super) fn syntax(error: Error) -> Self {
        Self {
            line: error.line(),
            problem: TemplateProblem::Syntax(said(&error)),
        }
    }

    /// A run that failed.
    pub(super) fn running(error: &Error) -> Self {
        let problem = match error.kind() {
            ErrorKind::OutOfFuel => TemplateProblem::TooMuchWork,
            ErrorKind::WriteFailure => TemplateProblem::TooMuchText,
            ErrorKind::UndefinedError => TemplateProblem::Missing(missing(error.detail())),
            _ => TemplateProblem::Failed(said(error)),
        };
        Self {
            line: error.line(),
            problem,
        }
    }
}

/// What the engine says is undefined, as it is written in the source.
fn missing(detail: Option<&str>) -> String {
    let detail = detail.unwrap_or("a value");
    detail.strip_suffix(" is undefined").unwrap_or(detail).to_owned()
}

fn said(error: &Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}
