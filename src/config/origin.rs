//! Addresses as they are written: the origin of an upstream, the socket address of a listener.

use crate::exchange::plan::Destination;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Scheme, host and port of an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whether it is `https`.
    pub tls: bool,
    /// A name or an address in lower case, without brackets.
    pub host: String,
    /// As written, else the scheme's own.
    pub port: u16,
    /// What stands in front of every path, without a slash at its end; mostly empty.
    pub path_prefix: String,
}

impl Origin {
    /// Parses `https://host[:port][/path]`.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence about "the address"; the operator is at fault.
    pub fn parse(url: &str) -> Result<Origin, &'static str> {
        let (rest, tls) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => return Err("does not begin with `https://` or `http://`"),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err("holds a user or a password; credentials belong into [secrets]");
        }
        if rest.contains(['?', '#', '\\', '%']) || !path.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("holds more than scheme, host, port and a plain path");
        }
        let path_prefix = path.trim_end_matches('/').to_owned();
        if path_prefix.split('/').skip(1).any(|segment| matches!(segment, "" | "." | "..")) {
            return Err("has a path with an empty segment, `.` or `..`");
        }
        let (host, port) = split_port(authority)?;
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("has a port that is no number")?,
            None if tls => 443,
            None => 80,
        };
        Ok(Origin { tls, host, port, path_prefix })
    }

    /// Whether it can only be this host.
    pub fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// Parses a host with its port: `host:port`, `address:port`, `[IPv6 address]:port`.
///
/// # Errors
/// What is wrong with it, as the end of a sentence about it; the operator is at fault.
pub fn host_port(text: &str) -> Result<Destination, &'static str> {
    let (host, port) = split_port(text)?;
    let port = port.ok_or("has no port")?;
    let port = port.parse().ok().filter(|port| *port > 0).ok_or("has a port that is no number")?;
    Ok(Destination { host, port })
}

fn split_port(authority: &str) -> Result<(String, Option<&str>), &'static str> {
    if let Some(rest) = authority.strip_prefix('[') {
        let (inside, after) = rest.split_once(']').ok_or("has a `[` without its `]`")?;
        let address: std::net::Ipv6Addr =
            inside.parse().map_err(|_| "has no IPv6 address in its brackets")?;
        let port = match after {
            "" => None,
            after => Some(after.strip_prefix(':').ok_or("has something else than a port behind its host")?),
        };
        return Ok((address.to_string(), port));
    }
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (authority, None),
    };
    let named = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() || !host.bytes().all(named) {
        return Err("has no host, or a host that is no name and no address");
    }
    Ok((host.to_ascii_lowercase(), port))
}

impl Origin {
    /// Host and port, as CONNECT names them (RFC 9110 section 9.3.6).
    pub fn tunnel_target(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{host}:{}", self.port)
    }

    /// The `Host` header: the host, and the port where it is not the scheme's own.
    pub fn authority(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == default { host } else { format!("{host}:{}", self.port) }
    }
}

/// `https://api.example.com`, with the port only if it is not the scheme's own.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path_prefix)
    }
}

/// Where a listener gets its socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddr {
    /// Binds it.
    Socket(SocketAddr),
    /// Takes the socket of this name that systemd passes.
    Inherited(String),
}

impl ListenAddr {
    /// Parses `127.0.0.1:8443`, `[::1]:8443` or `fd:NAME`; `None` for anything else.
    pub fn parse(text: &str) -> Option<ListenAddr> {
        if let Some(name) = text.strip_prefix("fd:") {
            return (!name.is_empty()).then(|| ListenAddr::Inherited(name.to_owned()));
        }
        let text =
            text.strip_prefix("localhost:").map_or(text.to_owned(), |port| format!("127.0.0.1:{port}"));
        text.parse().ok().map(ListenAddr::Socket)
    }

    /// Whether only this host reaches it; a passed socket counts as not.
    pub fn is_loopback(&self) -> bool {
        matches!(self, ListenAddr::Socket(address) if address.ip().is_loopback())
    }
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Socket(address) => address.fmt(f),
            ListenAddr::Inherited(name) => write!(f, "fd:{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_scheme_host_and_port() {
        let check = |url: &str, shown: Option<&str>| {
            assert_eq!(Origin::parse(url).ok().map(|origin| origin.to_string()).as_deref(), shown, "{url}");
        };
        check("https://api.example.com", Some("https://api.example.com"));
        check("https://API.example.com:443/", Some("https://api.example.com"));
        check("http://127.0.0.1:8080", Some("http://127.0.0.1:8080"));
        check("https://[::1]:8443", Some("https://[::1]:8443"));
        check("https://x/api/", Some("https://x/api"));
        for url in [
            "api.example.com",
            "ftp://x",
            "https://",
            "https://user:pw@x",
            "https://x//v1",
            "https://x/../v1",
            "https://x?y",
            "https://x:0",
            "https://x:99999",
            "https://x y",
            "https://[::1",
            "https://[x]",
        ] {
            check(url, None);
        }
    }

    #[test]
    fn listeners_are_addresses_or_passed_sockets() {
        let check = |text: &str, shown: Option<&str>| {
            assert_eq!(ListenAddr::parse(text).map(|addr| addr.to_string()).as_deref(), shown, "{text}");
        };
        check("127.0.0.1:8443", Some("127.0.0.1:8443"));
        check("localhost:1", Some("127.0.0.1:1"));
        check("[::]:443", Some("[::]:443"));
        check("fd:agents", Some("fd:agents"));
        for text in ["fd:", "8443", ":8443", "127.0.0.1", "example.com:443", "127.0.0.1:70000"] {
            check(text, None);
        }
    }
}
