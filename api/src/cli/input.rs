//! The input of an action: on the command line, in a file, or from stdin.

use std::fs::File;
use std::io::{self, Read, stdin};

use serde_json::Value;

use super::failure::Failure;

/// Largest input, in MiB.
const MIB_MAX: u64 = 64;

/// What the input says; `@` and `-` say where it is.
pub(super) fn input(said: &str) -> Result<Value, Failure> {
    let parsed = match said.strip_prefix('@') {
        _ if said == "-" => serde_json::from_slice(&read("stdin", stdin())?),
        Some(path) => {
            let file = File::open(path).map_err(|error| unreadable(path, &error))?;
            serde_json::from_slice(&read(path, file)?)
        }
        None => serde_json::from_str(said),
    };
    parsed.map_err(|error| {
        Failure::Usage(format!(
            "the input is no JSON: {error}; a text needs quotes of its own, as in --input '\"hello\"'"
        ))
    })
}

fn read(what: &str, from: impl Read) -> Result<Vec<u8>, Failure> {
    let most = MIB_MAX << 20;
    let mut bytes = Vec::new();
    let read = from.take(most + 1).read_to_end(&mut bytes);
    read.map_err(|error| unreadable(what, &error))?;
    match bytes.len() as u64 > most {
        true => Err(Failure::Usage(format!(
            "{what} is larger than {MIB_MAX} MiB, which is the most that an input may be"
        ))),
        false => Ok(bytes),
    }
}

fn unreadable(what: &str, error: &io::Error) -> Failure {
    Failure::Usage(format!("{what} can't be read: {error}"))
}
