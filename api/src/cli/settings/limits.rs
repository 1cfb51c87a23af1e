//! The limits of a server as settings: one for each field of [`Limits`], and none is left out.

use super::{For, Kind, Setting, read};
use crate::Limits;

macro_rules! limits {
    ($($field:ident: $kind:ident, $help:literal;)*) => {
        /// The limits.
        pub(super) static LIMITS: &[Setting] = &[$(Setting {
            key: concat!("limits.", stringify!($field)),
            kind: limits!(@kind $kind),
            who: For::Serving,
            help: $help,
            default: || Some(read::shown::$kind(Limits::default().$field)),
            set: |settings, text| {
                settings.limits.$field = read::$kind(text)?;
                Ok(())
            },
        }),*];

        // Names every field, so that a new one can't be forgotten.
        const _: fn(Limits) = |limits| {
            let Limits { $($field: _),* } = limits;
        };
    };
    (@kind bytes) => { Kind::Text("BYTES") };
    (@kind time) => { Kind::Text("TIME") };
    (@kind count) => { Kind::Number };
}

limits! {
    body_bytes: bytes, "Largest body of a call";
    sound_bytes: bytes, "Largest sound that is to be written down";
    bodies_bytes: bytes, "All bodies that have not arrived in full";
    body_time: time, "Longest time that a body may take to arrive";
    uri_bytes: bytes, "Longest path and query together";
    head_bytes: bytes, "Largest head of a call";
    headers: count, "Most headers of a call";
    head_time: time, "Longest time that the head of a call may take to arrive";
    idle_time: time, "Longest time that a connection may wait for its next call";
    write_time: time, "Longest time that a connection may take nothing of what is written to it";
    json_depth: count, "Deepest nesting of JSON, 127 at most";
    json_keys: count, "Most keys in one object of JSON";
    connections: count, "Most connections";
    connections_per_address: count, "Most connections from one address";
    streams: count, "Most streams and long polls";
    streams_per_client: count, "Most streams and long polls of one client";
    calls: count, "Most other calls that are being answered";
    calls_per_client: count, "Most other calls of one client that are being answered";
    credential_check: time, "Longest time between two questions whether the credential of an open stream still counts";
}
