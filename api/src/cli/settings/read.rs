//! Values of settings, from what was said. Each error says what would do.

use std::path::PathBuf;
use std::time::Duration;

use flowstate_engine::model::{ModelRef, ScriptedModel};

use super::StoreKind;
use crate::auth::JwtAlgorithm;
use crate::server::guard::{Host, Origin};

const BYTES: [(&str, usize); 4] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)];
/// Units of time, the longest first, in milliseconds.
const TIMES: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];
const ALGORITHMS: [(&str, JwtAlgorithm); 12] = [
    ("HS256", JwtAlgorithm::HS256),
    ("HS384", JwtAlgorithm::HS384),
    ("HS512", JwtAlgorithm::HS512),
    ("RS256", JwtAlgorithm::RS256),
    ("RS384", JwtAlgorithm::RS384),
    ("RS512", JwtAlgorithm::RS512),
    ("PS256", JwtAlgorithm::PS256),
    ("PS384", JwtAlgorithm::PS384),
    ("PS512", JwtAlgorithm::PS512),
    ("ES256", JwtAlgorithm::ES256),
    ("ES384", JwtAlgorithm::ES384),
    ("EdDSA", JwtAlgorithm::EdDSA),
];

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("give a path".to_owned()),
        path => Ok(PathBuf::from(path)),
    }
}

pub(super) fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("give a text".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn store(text: &str) -> Result<StoreKind, String> {
    match text {
        "lsm" => Ok(StoreKind::Lsm),
        "fjall" => Ok(StoreKind::Fjall),
        "memory" => Ok(StoreKind::Memory),
        _ => Err("name lsm, fjall or memory".to_owned()),
    }
}

pub(super) fn listen(text: &str) -> Result<String, String> {
    match text.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err("give an address and a port, such as 127.0.0.1:4400".to_owned()),
    }
}

pub(super) fn host(text: &str) -> Result<String, String> {
    text.parse::<Host>().map(|_| text.to_owned())
}

pub(super) fn origin(text: &str) -> Result<String, String> {
    text.parse::<Origin>().map(|_| text.to_owned())
}

/// The name of one model; blank is none, as with a variable that is set to nothing.
pub(super) fn model(text: &str) -> Result<Option<String>, String> {
    let text = text.trim();
    match text.parse::<ModelRef>() {
        _ if text.is_empty() => Ok(None),
        _ if text == ScriptedModel::NAME => Ok(Some(text.to_owned())),
        Ok(name) if name.is_concrete() => Ok(Some(text.to_owned())),
        Ok(_) => Err("it has to be one model".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.trim().to_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err("say true or false".to_owned()),
    }
}

pub(super) fn number(text: &str) -> Result<u32, String> {
    text.trim().parse().map_err(|_| "give a whole number".to_owned())
}

pub(super) fn count(text: &str) -> Result<usize, String> {
    text.trim().parse().map_err(|_| "give a whole number".to_owned())
}

/// A number of bytes, with or without a unit.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let wrong = || "give a number of bytes, such as 65536, 64KiB or 1MiB".to_owned();
    let (number, unit) = split(text);
    let (_, factor) = BYTES.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: usize = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).ok_or_else(wrong)
}

/// A time, with its unit.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let wrong = || "give a time with its unit, such as 15s, 500ms or 2m".to_owned();
    let (number, unit) = split(text);
    let (_, factor) = TIMES.into_iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number.checked_mul(factor).map(Duration::from_millis).ok_or_else(wrong)
}

fn split(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim_start())
}

pub(super) fn algorithm(text: &str) -> Result<JwtAlgorithm, String> {
    let known = ALGORITHMS
        .into_iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text.trim()));
    known.map(|(_, algorithm)| algorithm).ok_or_else(|| {
        let names = ALGORITHMS.map(|(name, _)| name);
        format!("name one of {}", names.join(", "))
    })
}

/// A name and a value.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("give a name and a value, as NAME=VALUE".to_owned()),
    }
}

/// Values as one would say them.
pub(super) mod shown {
    use super::*;

    pub(in super::super) fn bytes(bytes: usize) -> String {
        let unit = BYTES
            .into_iter()
            .find(|(_, factor)| bytes > 0 && bytes.is_multiple_of(*factor));
        let (name, factor) = unit.unwrap_or(("", 1));
        format!("{}{name}", bytes / factor)
    }

    pub(in super::super) fn time(time: Duration) -> String {
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        // An hour and a half is told in minutes, and 75 s in seconds.
        let unit = TIMES
            .into_iter()
            .find(|(_, factor)| ms > 0 && ms.is_multiple_of(*factor));
        let (name, factor) = unit.unwrap_or(("ms", 1));
        format!("{}{name}", ms / factor)
    }

    pub(in super::super) fn count(count: usize) -> String {
        count.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_read_as_they_are_shown() {
        for (text, value) in [
            ("1MiB", 1 << 20),
            ("8KiB", 8 << 10),
            ("1000", 1000),
            ("3GiB", 3 << 30),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Ok(value));
            assert_eq!(shown::bytes(value), text);
        }
        for (text, ms) in [
            ("15s", 15_000),
            ("75s", 75_000),
            ("500ms", 500),
            ("90m", 5_400_000),
            ("2h", 7_200_000),
        ] {
            assert_eq!(time(text), Ok(Duration::from_millis(ms)));
            assert_eq!(shown::time(Duration::from_millis(ms)), text);
        }
        assert_eq!(bytes(" 64 KiB "), Ok(64 << 10));
        for wrong in ["", "KiB", "1KB", "1.5MiB", "-1", "99999999999GiB"] {
            assert!(bytes(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "15", "s", "1d", "1.5s", "-1s", "99999999999999999h"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_switch_says_yes_or_no_and_nothing_else() {
        for (text, value) in [("true", true), ("1", true), ("YES", true), ("off", false), ("", false)] {
            assert_eq!(switch(text), Ok(value), "{text:?}");
        }
        assert!(switch("maybe").is_err());
    }
}
