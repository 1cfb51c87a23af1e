//! What a file of cases may say. Anything else in it is refused when it is read.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::matcher::{Matcher, Selection};

/// One file: the cases of a section.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Section {
    pub(crate) section: String,
    /// Steps that several cases begin with.
    #[serde(default)]
    pub(crate) setups: BTreeMap<String, Vec<Step>>,
    pub(crate) cases: Vec<Case>,
}

/// One check of the contract.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// Its number in the contract.
    pub(crate) check: u32,
    pub(crate) title: String,
    /// Steps whose calls must succeed.
    #[serde(default)]
    pub(crate) given: Vec<Step>,
    pub(crate) when: Vec<Step>,
    /// What must hold of the results; all of it.
    pub(crate) then: Vec<Matcher>,
    /// Has a server of its own, which may be restarted.
    #[serde(default)]
    pub(crate) own_server: bool,
    /// Takes long because time has to pass: runs beside all others.
    #[serde(default)]
    pub(crate) slow: bool,
}

/// Something that is done. What comes of it is kept under a name, if it has one.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// A call, and its whole answer.
    Http(Http),
    /// A stream, read until something holds, then left.
    Stream(Open),
    /// A stream that is read on beside the steps that follow.
    Open(Open),
    /// Waits until something holds of an open stream, and keeps what has come so far.
    Collect(Collect),
    /// Leaves an open stream.
    Leave(String),
    /// All of these at once.
    Together(Vec<Vec<Step>>),
    /// The same steps several times; `${n}` is the number, from 0. The result is a list.
    Repeat(Repeat),
    /// Ends the case's own server, and starts it again on its folder.
    Restart(Ending),
    /// Makes a call again and again until this holds of its answer.
    Await(Await),
    /// A call whose connection is left as soon as the head of the answer is there.
    Abandon(Http),
    /// Keeps the first thing that is selected under a name.
    Pick(Pick),
    /// Time passes.
    PauseMs(u64),
    /// The steps of that name in the file.
    Setup(String),
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Http {
    #[serde(default = "get")]
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// Sent as JSON. `{"$repeat": {"text", "count"}}` in it is that text so many times.
    pub(crate) body: Option<Value>,
    /// Sent as it is; by itself its type is JSON.
    pub(crate) text: Option<String>,
    /// Asks the server without a voice.
    #[serde(default)]
    pub(crate) bare: bool,
    #[serde(rename = "as")]
    pub(crate) name: Option<String>,
}

fn get() -> String {
    "GET".into()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Open {
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) until: Until,
    #[serde(rename = "as")]
    pub(crate) name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Collect {
    pub(crate) stream: String,
    #[serde(default)]
    pub(crate) until: Until,
    #[serde(rename = "as")]
    pub(crate) name: String,
}

/// How far a stream is read.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Until {
    /// The server ends it.
    #[default]
    End,
    /// So many frames are there.
    Frames(usize),
    /// So many comments are there.
    Comments(usize),
    /// A frame is there whose data has at least this.
    Sees(Value),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Repeat {
    pub(crate) count: usize,
    /// All of them at once.
    #[serde(default)]
    pub(crate) together: bool,
    pub(crate) steps: Vec<Step>,
    #[serde(rename = "as")]
    pub(crate) name: String,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and it has time to end.
    Term,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Await {
    pub(crate) http: Http,
    pub(crate) then: Vec<Matcher>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Pick {
    pub(crate) from: Selection,
    #[serde(rename = "as")]
    pub(crate) name: String,
}
