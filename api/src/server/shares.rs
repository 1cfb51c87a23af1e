//! Who has how much of what there is only so much of.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use parking_lot::Mutex;

/// Who has a share of something.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Client {
    /// Of this principal, with whatever projects a credential names.
    Known(Arc<str>),
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
        let client = |text: &str| Some(Client::Known(text.into()));
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
