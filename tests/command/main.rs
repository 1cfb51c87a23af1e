//! The command as its users have it: the real binary, what it prints, and how it ends.

mod config;
mod keys;
mod run;
mod sessions;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use flowstate_tests::process::{Server, bare};
use serde_json::Value;

/// The command with flows of its own.
const BINARY: &str = env!("CARGO_BIN_EXE_own-command");

/// How a call ended.
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("text");
        let ran = Self {
            code: output.status.code(),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        };
        assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
        ran
    }

    /// It must have ended so.
    fn with(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// What it printed, line by line.
    fn lines(&self) -> Vec<Value> {
        let parse = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        self.stdout.lines().map(parse).collect()
    }

    /// The one line of JSON that it printed.
    fn json(&self) -> Value {
        let lines = self.lines();
        assert_eq!(lines.len(), 1, "{}{}", self.stdout, self.stderr);
        lines[0].clone()
    }

    /// The one line of JSON that it failed with.
    fn failure(&self) -> Value {
        serde_json::from_str(&self.stderr).unwrap_or_else(|error| panic!("{error}: {}", self.stderr))
    }
}

/// The command on a folder, in that folder's parent, without pauses of the scripted model.
fn prepared(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = bare(BINARY);
    // A variable says nothing to those that ask a server.
    command
        .args(arguments)
        .env("FLOWSTATE_DATA_DIR", folder)
        .env("FLOWSTATE_SCRIPTED_TOKENS_PER_SECOND", "0")
        .current_dir(folder.parent().expect("a parent"))
        .stdin(Stdio::null());
    command
}

/// Runs it.
fn ran(folder: &Path, arguments: &[&str]) -> Ran {
    Ran::of(prepared(folder, arguments).output().expect("the binary starts"))
}

/// Runs it with this on stdin.
fn ran_with(folder: &Path, arguments: &[&str], input: &str) -> Ran {
    let mut child = prepared(folder, arguments)
        .stdin(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    child
        .stdin
        .take()
        .expect("stdin")
        .write_all(input.as_bytes())
        .expect("written");
    Ran::of(child.wait_with_output().expect("it ends"))
}

fn serve(folder: &Path, arguments: &[&str]) -> Server {
    let arguments = [&["--scripted-tokens-per-second", "0"], arguments].concat();
    Server::start(BINARY, folder, &arguments)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of text")
}
