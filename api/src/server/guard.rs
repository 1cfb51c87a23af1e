//! Who may talk to the server from a browser: the `Host` that was asked for, the `Origin` of a page that calls, and CORS for configured pages.
//! A server on the loopback address is reachable from every page that the user opens; these checks are what keeps those pages out.
//! Whose call it is, and whether there is room for it, is in `server/gate`; what a body may be in `server/body`.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::gate::{self, Gate};

/// Hosts and origins that were configured, besides the loopback names and the server's own page.
#[derive(Debug)]
pub(crate) struct Guard {
    pub(crate) hosts: Vec<Host>,
    pub(crate) origins: Vec<Origin>,
    pub(crate) gate: Arc<Gate>,
}

/// A host name or address, and a port if one is given. Compared without regard to case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Host {
    name: String,
    port: Option<u16>,
}

/// Where a page comes from: `http://` or `https://`, host and port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    scheme: &'static str,
    name: String,
    port: u16,
}

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a host such as flows.example.org or flows.example.org:8443");
        let authority: Authority = text.parse().map_err(|_| wrong())?;
        let name = authority.host();
        let port = match text.get(name.len()..) {
            Some("") => None,
            Some(rest) => Some(
                rest.strip_prefix(':')
                    .and_then(|port| port.parse().ok())
                    .ok_or_else(wrong)?,
            ),
            None => return Err(wrong()),
        };
        if name.is_empty() || !text.starts_with(name) {
            return Err(wrong());
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            port,
        })
    }
}

impl Host {
    fn is_loopback(&self) -> bool {
        let v6 = self.name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
        self.name == "localhost"
            || self.name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || v6.is_some_and(|name| name.parse::<Ipv6Addr>().is_ok_and(|address| address.is_loopback()))
    }

    /// Whether `self`, as configured, stands for `asked`: an entry without a port stands for every port.
    fn covers(&self, asked: &Host) -> bool {
        self.name == asked.name && (self.port.is_none() || self.port == asked.port)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an origin such as https://app.example.org");
        let (scheme, host) = text.split_once("://").ok_or_else(wrong)?;
        let (scheme, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => ("http", 80),
            "https" => ("https", 443),
            _ => return Err(wrong()),
        };
        let host: Host = host.parse().map_err(|_| wrong())?;
        Ok(Self {
            scheme,
            name: host.name,
            port: host.port.unwrap_or(default_port),
        })
    }
}

impl Origin {
    /// Whether the page came from `host`. A proxy may have ended TLS, so the scheme does not count.
    fn is_of(&self, host: &Host) -> bool {
        let default_port = if self.scheme == "https" { 443 } else { 80 };
        self.name == host.name && self.port == host.port.unwrap_or(default_port)
    }
}

impl Guard {
    /// The host that the caller asked for, if this server answers for it.
    fn host(&self, request: &Request) -> Result<Host, ApiError> {
        let asked = match request.uri().authority() {
            Some(authority) => authority.as_str(),
            None => only(request.headers(), header::HOST).ok_or(ApiError::HostMissing)?,
        };
        let foreign = || ApiError::HostForeign(asked.to_owned());
        let host: Host = asked.parse().map_err(|_| foreign())?;
        let served = host.is_loopback() || self.hosts.iter().any(|configured| configured.covers(&host));
        served.then_some(host).ok_or_else(foreign)
    }

    /// The page on whose behalf the call comes.
    fn page(&self, headers: &HeaderMap, host: &Host) -> Page {
        if !headers.contains_key(header::ORIGIN) {
            let says = |name, value| only(headers, HeaderName::from_static(name)) == Some(value);
            // An image, a script, a frame of another site: a page that may call sends its origin, and links are followed.
            let is_embedded = says("sec-fetch-site", "cross-site") && !says("sec-fetch-mode", "navigate");
            return if is_embedded { Page::Foreign } else { Page::None };
        }
        match only(headers, header::ORIGIN).and_then(|origin| origin.parse::<Origin>().ok()) {
            Some(origin) if self.origins.contains(&origin) => Page::Configured,
            Some(origin) if origin.is_of(host) => Page::Own,
            _ => Page::Foreign,
        }
    }
}

/// Where a call comes from, as far as a browser tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Page {
    /// Not from a page.
    None,
    /// From a page of this server.
    Own,
    /// From a page of an origin that was configured.
    Configured,
    /// From any other page, an opaque one (`null`) included.
    Foreign,
}

/// The value of a header that is given once, in ASCII.
fn only(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).into_iter();
    let value = values.next().filter(|_| values.next().is_none())?;
    value.to_str().ok()
}

const PREFLIGHT: [(HeaderName, &str); 3] = [
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        "GET, POST, PATCH, DELETE, OPTIONS",
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        "content-type, accept, last-event-id, x-tenant-id, authorization, idempotency-key",
    ),
    (header::ACCESS_CONTROL_MAX_AGE, "600"),
];

/// Lets a call through to the routes, or answers it here.
pub(crate) async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let host = match guard.host(&request) {
        Ok(host) => host,
        Err(error) => return error.into_response(),
    };
    let page = guard.page(request.headers(), &host);
    let origin = request.headers().get(header::ORIGIN).cloned();
    let is_preflight =
        request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);

    // What has a length too may have been cut elsewhere by another server in front. The HTTP library takes the chunks, and does not tell that there
    // was a length; what comes behind is not looked at.
    let is_last = request.headers().contains_key(header::TRANSFER_ENCODING);

    let mut response = match page {
        Page::Foreign if request.method() != Method::OPTIONS => ApiError::OriginForeign.into_response(),
        Page::Configured if is_preflight => (StatusCode::NO_CONTENT, PREFLIGHT).into_response(),
        Page::None | Page::Own | Page::Configured | Page::Foreign => gate::pass(&guard.gate, request, next).await,
    };

    if is_last {
        let close = HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
    }
    if !guard.origins.is_empty() {
        let headers = response.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = origin.filter(|_| page == Page::Configured) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let exposed = HeaderValue::from_static("x-request-id, x-session-id, retry-after");
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(text: &str) -> Host {
        text.parse().unwrap()
    }

    #[test]
    fn loopback_hosts_are_known_by_every_spelling_and_port() {
        for text in [
            "localhost",
            "LocalHost:4400",
            "127.0.0.1",
            "127.8.9.1:1",
            "[::1]",
            "[::1]:65535",
        ] {
            assert!(host(text).is_loopback(), "{text}");
        }
        for text in [
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "128.0.0.1",
            "0.0.0.0",
            "[::2]",
            "example.org",
            "127.1",
        ] {
            assert!(!host(text).is_loopback(), "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        for text in [
            "",
            ":80",
            "a:b",
            "a:",
            "a:65536",
            "a:-1",
            "user@localhost",
            "a b",
            "a/b",
            "http://a",
            "[::1",
        ] {
            assert!(text.parse::<Host>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_configured_host_without_port_stands_for_every_port() {
        assert!(host("Flows.example").covers(&host("flows.example:8443")));
        assert!(host("flows.example:8443").covers(&host("FLOWS.example:8443")));
        assert!(!host("flows.example:8443").covers(&host("flows.example")));
        assert!(!host("flows.example").covers(&host("x.flows.example")));
    }

    #[test]
    fn an_origin_is_the_hosts_own_whatever_the_scheme_but_not_on_another_port() {
        let own = |origin: &str, of: &str| origin.parse::<Origin>().unwrap().is_of(&host(of));
        assert!(own("http://localhost:4400", "LOCALHOST:4400"));
        assert!(own("https://localhost", "localhost"));
        assert!(own("https://localhost", "localhost:443"));
        assert!(own("http://[::1]:1", "[::1]:1"));
        assert!(!own("http://localhost", "localhost:4400"));
        assert!(!own("http://localhost:4401", "localhost:4400"));
        assert!(!own("http://127.0.0.1:4400", "localhost:4400"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "null",
            "",
            "localhost",
            "file://",
            "http://",
            "http://a/b",
            "chrome-extension://abc",
            "http://a@b",
        ] {
            assert!(text.parse::<Origin>().is_err(), "{text}");
        }
        assert_eq!(
            "https://GOOD.example:443".parse::<Origin>(),
            "https://good.example".parse()
        );
        assert_ne!(
            "https://good.example.evil".parse::<Origin>(),
            "https://good.example".parse()
        );
    }
}
