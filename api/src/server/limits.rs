//! How much the server takes on: the named settings, and who has how much of what is shared.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::http::Extensions;
use flowstate_engine::Principal;
use parking_lot::Mutex;

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
    /// Most streams and long polls of one client: 32.
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
            streams_per_client: 32,
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

/// Who has a share of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    Known(Principal),
    Address(IpAddr),
}

impl Client {
    /// Who calls from this address. One who has an IPv6 address has 2^64 of them.
    pub(crate) fn at(address: IpAddr) -> Self {
        Self::Address(match address.to_canonical() {
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into(),
            v4 => v4,
        })
    }
}

/// Why there is no share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The client has all that it may have.
    OfClient,
    /// There is nothing left.
    OfAll,
}

/// Something that there is so much of, in all and for each client.
#[derive(Debug)]
pub(crate) struct Shares {
    in_all: usize,
    per_client: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    in_all: usize,
    /// Only clients that have some.
    by_client: HashMap<Client, usize>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Shares>,
    client: Option<Client>,
}

impl Shares {
    pub(crate) fn new(in_all: usize, per_client: usize) -> Arc<Self> {
        Arc::new(Self {
            in_all,
            per_client,
            taken: Mutex::default(),
        })
    }

    /// Takes one for a client; for nobody in particular if it is not known.
    pub(crate) fn take(self: &Arc<Self>, client: Option<Client>) -> Result<Share, Full> {
        let mut taken = self.taken.lock();
        // The client first: one who has too much is told so even if nothing is left.
        if let Some(client) = &client {
            let its = taken.by_client.get(client).copied().unwrap_or_default();
            if its >= self.per_client {
                return Err(Full::OfClient);
            }
        }
        if taken.in_all >= self.in_all {
            return Err(Full::OfAll);
        }
        taken.in_all += 1;
        if let Some(client) = &client {
            *taken.by_client.entry(client.clone()).or_default() += 1;
        }
        Ok(Share {
            of: Arc::clone(self),
            client,
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken.lock();
        taken.in_all -= 1;
        let Some(client) = self.client.take() else { return };
        if let Some(its) = taken.by_client.get_mut(&client) {
            *its -= 1;
            if *its == 0 {
                taken.by_client.remove(&client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_in_all_and_per_client_and_given_back() {
        let shares = Shares::new(3, 2);
        let client = |text: &str| Some(Client::Known(Principal::new(text)));
        let first = shares.take(client("a")).unwrap();
        let second = shares.take(client("a")).unwrap();
        assert_eq!(shares.take(client("a")).unwrap_err(), Full::OfClient);
        let third = shares.take(None).unwrap();
        assert_eq!(shares.take(client("b")).unwrap_err(), Full::OfAll);
        assert_eq!(shares.take(None).unwrap_err(), Full::OfAll);
        assert_eq!(shares.take(client("a")).unwrap_err(), Full::OfClient);
        drop((first, third));
        let _fourth = shares.take(client("b")).unwrap();
        drop(second);
        assert_eq!(shares.taken.lock().by_client.len(), 1, "who has none is forgotten");
    }

    #[test]
    fn a_client_is_an_address_however_it_is_written() {
        let at = |text: &str| Client::at(text.parse().unwrap());
        assert_eq!(at("::ffff:10.0.0.1"), at("10.0.0.1"));
        assert_ne!(at("10.0.0.1"), at("10.0.0.2"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
    }
}
