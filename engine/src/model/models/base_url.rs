//! Addresses of providers: what they may look like.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Checks an address. Gives it without a slash at its end, and whether what is sent there can be read on the way.
pub(super) fn check(url: &str) -> Result<(String, bool), &'static str> {
    if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it has a blank");
    }
    let (scheme, rest) = url
        .split_once("://")
        .ok_or("it does not begin with http:// or https://")?;
    let plain = match scheme.to_ascii_lowercase().as_str() {
        "http" => true,
        "https" => false,
        _ => return Err("it does not begin with http:// or https://"),
    };
    if rest.contains(['?', '#', '\\']) {
        return Err("it has more than an address and a path");
    }
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err("it has a user in it: give the key by itself");
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(v6) => {
            let (host, port) = v6.split_once(']').ok_or("its host is malformed")?;
            host.parse::<Ipv6Addr>().map_err(|_| "its host is malformed")?;
            match port {
                "" => (host, None),
                _ => (host, Some(port.strip_prefix(':').ok_or("its host is malformed")?)),
            }
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("it has no host");
    }
    if port.is_some_and(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
        return Err("its port is malformed");
    }
    Ok((url.trim_end_matches('/').to_owned(), plain && !is_loopback(host)))
}

fn is_loopback(host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    host == "localhost"
        || host.ends_with(".localhost")
        || host.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        || host.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::check;

    #[test]
    fn addresses_are_http_and_plain_ones_beyond_this_machine_are_known() {
        for (url, kept, readable) in [
            ("https://api.openai.com/v1", "https://api.openai.com/v1", false),
            ("https://api.openai.com/v1/", "https://api.openai.com/v1", false),
            ("HTTPS://Example.org:8443", "HTTPS://Example.org:8443", false),
            ("http://localhost:11434/v1", "http://localhost:11434/v1", false),
            ("http://models.localhost", "http://models.localhost", false),
            ("http://127.1.2.3:80", "http://127.1.2.3:80", false),
            ("http://[::1]:8000/v1", "http://[::1]:8000/v1", false),
            ("http://[2001:db8::1]", "http://[2001:db8::1]", true),
            ("http://10.0.0.7:8000/v1", "http://10.0.0.7:8000/v1", true),
            ("http://localhost.example.org", "http://localhost.example.org", true),
        ] {
            assert_eq!(check(url), Ok((kept.to_owned(), readable)), "{url}");
        }
        for url in [
            "",
            "localhost:11434",
            "ftp://example.org",
            "file:///etc/passwd",
            "https://",
            "https:///v1",
            "https://:80",
            "http://a b",
            "https://user:key@example.org",
            "https://example.org/v1?key=1",
            "https://example.org#x",
            "https://example.org:0",
            "https://example.org:65536",
            "https://[::1",
            "https://[example]",
            "https://[::1]x",
            "https://a\\b",
        ] {
            assert!(check(url).is_err(), "{url}");
        }
    }
}
