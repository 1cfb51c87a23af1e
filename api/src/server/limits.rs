//! How much the server takes on: the named settings. Who has how much of what is shared is in `server/shares`.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;

use crate::wire::json::Bounds;

/// How much a server takes on. What goes beyond is refused at once, never queued: what a client has too much of with 429, what the server has
/// too much of with 503, both with `retry-after`.
///
/// A client is the user of a credential, or else the address that it calls from (of IPv6, its first 64 bits). Callers behind one proxy share
/// its address: raise the limits per address there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, in bytes: 1 MiB. More is answered 413.
    pub body_bytes: usize,
    /// Largest sound that is to be written down, in bytes: 25 MiB. More is answered 413.
    pub sound_bytes: usize,
    /// Most bytes of bodies that have not arrived in full, of all calls together: 256 MiB. More is answered 503.
    pub bodies_bytes: usize,
    /// Longest time that a body may take to arrive: 15 s. More is answered 408.
    pub body_time: Duration,
    /// Longest path and query together, in bytes: 8 KiB. More is answered 414.
    pub uri_bytes: usize,
    /// Largest head of a call (its first line and headers), in bytes: 16 KiB. More is answered 431.
    pub head_bytes: usize,
    /// Most headers of a call: 64. More is answered 431.
    pub headers: usize,
    /// Longest time for the head of a call to arrive, from its first byte on: 5 s. The connection is closed then.
    pub head_time: Duration,
    /// Longest time that a connection may wait for its next call: 75 s, longer than common proxies keep one. It is closed then.
    pub idle_time: Duration,
    /// Longest time that a connection may take none of what is written to it: 30 s. It is closed then; a stream is resumed with its last id.
    pub write_time: Duration,
    /// Deepest nesting of JSON: 64 levels. More is answered 400; more than 127 are not possible.
    pub json_depth: usize,
    /// Most keys in one object of JSON: 10,000. More is answered 400.
    pub json_keys: usize,
    /// Most connections: 10,000, or as many as the process has descriptors for.
    pub connections: usize,
    /// Most connections from one address: 256.
    pub connections_per_address: usize,
    /// Most streams that are open or waiting for their request, and long polls: 10,000.
    pub streams: usize,
    /// Most streams and long polls of one client: 128.
    pub streams_per_client: usize,
    /// Most other calls that are being answered: 1,024.
    pub calls: usize,
    /// Most other calls of one client that are being answered: 256.
    pub calls_per_client: usize,
    /// Longest time between two questions whether the credential of an open stream still counts: 15 s.
    pub credential_check: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1 << 20,
            sound_bytes: 25 << 20,
            bodies_bytes: 256 << 20,
            body_time: Duration::from_secs(15),
            uri_bytes: 8 << 10,
            head_bytes: 16 << 10,
            headers: 64,
            head_time: Duration::from_secs(5),
            idle_time: Duration::from_secs(75),
            write_time: Duration::from_secs(30),
            json_depth: 64,
            json_keys: 10_000,
            connections: 10_000,
            connections_per_address: 256,
            streams: 10_000,
            streams_per_client: 128,
            calls: 1_024,
            calls_per_client: 256,
            credential_check: Duration::from_secs(15),
        }
    }
}

impl Limits {
    /// Those of the server that a call came to.
    pub(crate) fn of(extensions: &Extensions) -> Arc<Self> {
        extensions.get::<Arc<Self>>().cloned().unwrap_or_default()
    }

    /// How deep and how wide the JSON of a body may be.
    pub(crate) fn json(&self) -> Bounds {
        Bounds {
            depth: self.json_depth,
            keys: self.json_keys,
        }
    }

    /// Largest body with a sound in base64, which has four bytes for three, and other fields.
    pub(crate) fn sound_json_bytes(&self) -> usize {
        (self.sound_bytes / 3 + 1)
            .saturating_mul(4)
            .saturating_add(self.body_bytes)
    }
}
