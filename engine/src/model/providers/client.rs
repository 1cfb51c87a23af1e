//! HTTP clients: one for each runtime, since a connection that is kept is driven by the runtime that made it, and for each time that a
//! connection may take. With the system's proxies and certificates, and without redirects, which would show a key to somebody else.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::{Handle, Id};

/// Most clients that are kept. When there are more, all are made anew: most of them are of runtimes that are gone.
const CLIENTS_MAX: usize = 32;

/// Whose client: the runtime, how long a connection may take, and whether it is to this machine.
type Key = (Id, Duration, bool);

static CLIENTS: LazyLock<Mutex<HashMap<Key, reqwest::Client>>> = LazyLock::new(Mutex::default);
static TLS: LazyLock<Result<ClientConfig, String>> = LazyLock::new(tls);

/// The present runtime's client for servers elsewhere or on this machine.
pub(super) fn client(connect: Duration, here: bool) -> Result<reqwest::Client, String> {
    let key = (Handle::current().id(), connect, here);
    let mut clients = CLIENTS.lock();
    if let Some(client) = clients.get(&key) {
        return Ok(client.clone());
    }
    let builder = reqwest::Client::builder()
        .connect_timeout(connect)
        .redirect(Policy::none())
        .user_agent(concat!("flowstate/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(TLS.clone()?);
    let builder = if here { builder.no_proxy() } else { builder };
    let client = builder.build().map_err(|error| error.to_string())?;
    if clients.len() >= CLIENTS_MAX {
        clients.clear();
    }
    clients.insert(key, client.clone());
    Ok(client)
}

/// A client for servers at this address, as models are reached with.
#[cfg(feature = "otel")]
pub fn http_client(address: &str, connect: Duration) -> Result<reqwest::Client, String> {
    client(connect, is_loopback(address))
}

/// Trusts whom the system trusts. Where the system has no certificates nobody is trusted, but plain connections work.
fn tls() -> Result<ClientConfig, String> {
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let versions = || {
        let builder = ClientConfig::builder_with_provider(ring.clone());
        builder
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())
    };
    Ok(match versions()?.with_platform_verifier() {
        Ok(builder) => builder.with_no_client_auth(),
        Err(error) => {
            tracing::warn!(%error, "no certificates of authorities: models are reached without TLS only");
            versions()?
                .with_root_certificates(RootCertStore::empty())
                .with_no_client_auth()
        }
    })
}

/// Whether the address is this machine's: no proxy is asked for it.
pub(super) fn is_loopback(url: &str) -> bool {
    let Ok(url) = reqwest::Url::parse(url) else {
        return false;
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_reached_without_proxy() {
        for here in [
            "http://127.0.0.1:1/v1",
            "http://localhost",
            "http://[::1]:4000",
            "https://user:pw@127.1.2.3/",
        ] {
            assert!(is_loopback(here), "{here}");
        }
        for there in [
            "https://api.openai.com/v1",
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "?",
        ] {
            assert!(!is_loopback(there), "{there}");
        }
    }

    #[test]
    fn models_share_a_client_but_runtimes_do_not() {
        let wait = Duration::from_millis(12_345);
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                for here in [true, false, true] {
                    client(wait, here).expect("a client");
                }
            });
        }
        let kept = CLIENTS.lock().keys().filter(|(_, connect, _)| *connect == wait).count();
        assert_eq!(kept, 4);
        for n in 0..3 * CLIENTS_MAX as u64 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .build()
                .expect("a runtime");
            runtime.block_on(async { client(Duration::from_secs(n), true).expect("a client") });
            assert!(CLIENTS.lock().len() <= CLIENTS_MAX);
        }
    }
}
