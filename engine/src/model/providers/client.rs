//! HTTP clients: one for each time that a connection may take, with the system's proxies and certificates, and without redirects,
//! which would show a key to somebody else.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use parking_lot::Mutex;
use reqwest::redirect::Policy;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;

/// Most clients that are kept; further ones are their model's own.
const CLIENTS_MAX: usize = 16;

/// By the time that a connection may take, and whether it is to this machine.
static CLIENTS: LazyLock<Mutex<HashMap<(Duration, bool), reqwest::Client>>> = LazyLock::new(Mutex::default);

/// A client for this address.
pub(super) fn client(connect: Duration, url: Option<&str>) -> Result<reqwest::Client, String> {
    let here = url.is_some_and(is_loopback);
    let mut clients = CLIENTS.lock();
    if let Some(client) = clients.get(&(connect, here)) {
        return Ok(client.clone());
    }
    let builder = reqwest::Client::builder()
        .connect_timeout(connect)
        .redirect(Policy::none())
        .user_agent(concat!("flowstate/", env!("CARGO_PKG_VERSION")))
        .tls_backend_preconfigured(tls()?);
    let builder = if here { builder.no_proxy() } else { builder };
    let client = builder.build().map_err(|error| error.to_string())?;
    if clients.len() < CLIENTS_MAX {
        clients.insert((connect, here), client.clone());
    }
    Ok(client)
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
fn is_loopback(url: &str) -> bool {
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
    fn models_share_a_client() {
        let wait = Duration::from_millis(12_345);
        for _ in 0..2 {
            client(wait, Some("http://127.0.0.1:1")).expect("a client");
            client(wait, None).expect("a client");
        }
        let kept = CLIENTS.lock();
        assert_eq!(kept.keys().filter(|(connect, _)| *connect == wait).count(), 2);
    }
}
