//! Which `Host` a TCP listener answers to. A page that rebinds its own name to 127.0.0.1 still sends that
//! name, and is turned away here.

use super::{door::Caller, problem::Problem};
use axum::{
    extract::{Request, State},
    http::{StatusCode, header, uri::Authority},
    middleware::Next,
    response::Response,
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

/// The names of one listener.
#[derive(Debug)]
pub(super) struct Hosts {
    /// Lower case, with a port where it is not the listener's.
    names: Vec<(String, Option<u16>)>,
    /// Port that an authority without one means: 80, or 443 under TLS (RFC 9110 section 4.2).
    default_port: u16,
}

impl Hosts {
    /// `names` as [`super::Parts::hosts`] has them; loopback needs no mention.
    pub(super) fn new(names: &[String], is_tls: bool) -> Hosts {
        let split = |name: &String| match name.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) if !host.ends_with(':') => (host.to_ascii_lowercase(), Some(port)),
            _ => (name.to_ascii_lowercase(), None),
        };
        Hosts { names: names.iter().map(split).collect(), default_port: if is_tls { 443 } else { 80 } }
    }

    /// Whether a connection to `local` may ask for `authority`: loopback, the address that was dialled, or a
    /// configured name, each with the right port.
    pub(super) fn allows(&self, authority: &str, local: SocketAddr) -> bool {
        if authority.contains('@') {
            return false;
        }
        let Ok(authority) = authority.parse::<Authority>() else { return false };
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => self.default_port,
            Some(rest) => match rest.strip_prefix(':').map(str::parse) {
                Some(Ok(port)) => port,
                _ => return false,
            },
            None => return false,
        };
        let host = authority.host().to_ascii_lowercase();
        if self.names.iter().any(|(name, own)| *name == host && own.unwrap_or(local.port()) == port) {
            return true;
        }
        port == local.port() && (host == "localhost" || address(&host).is_some_and(|ip| is_here(ip, local)))
    }
}

fn address(host: &str) -> Option<IpAddr> {
    match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => host.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn is_here(ip: IpAddr, local: SocketAddr) -> bool {
    ip == Ipv4Addr::LOCALHOST || ip == Ipv6Addr::LOCALHOST || ip == local.ip().to_canonical()
}

/// Lets a request pass whose `Host`, and absolute-form target if it has one, belong here.
///
/// # Errors
/// 400 without exactly one Host (RFC 9112 section 3.2), 421 for a name that is not ours.
pub(super) async fn guard(
    State(hosts): State<Arc<Hosts>>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let mut fields = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (fields.next(), fields.next()) else {
        return Err(Problem::malformed("a request needs exactly one Host header"));
    };
    let Some(Caller::Network { local, .. }) = request.extensions().get::<Caller>() else {
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "no address is known"));
    };
    let target = request.uri().authority().map(Authority::as_str);
    let asked = [host.to_str().ok(), target.or(host.to_str().ok())];
    if !asked.iter().all(|one| one.is_some_and(|one| hosts.allows(one, *local))) {
        let message =
            "this port does not answer to that host; use 127.0.0.1, localhost or its configured name";
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected", message));
    }
    Ok(next.run(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_names_with_our_own_port_are_answered() {
        let configured = ["Gw.Example.com".to_owned(), "alias.example:9443".to_owned()];
        let hosts = Hosts::new(&configured, false);
        let local: SocketAddr = "192.0.2.7:8444".parse().unwrap();
        let cases = [
            ("127.0.0.1:8444", true),
            ("localhost:8444", true),
            ("LOCALHOST:8444", true),
            ("[::1]:8444", true),
            ("192.0.2.7:8444", true),
            ("gw.example.com:8444", true),
            ("GW.example.COM:8444", true),
            ("alias.example:9443", true),
            ("alias.example:8444", false),
            ("gw.example.com:80", false),
            ("gw.example.com", false),
            ("127.0.0.1", false),
            ("127.0.0.1:80", false),
            ("127.0.0.1:", false),
            ("localhost.:8444", false),
            ("127.0.0.2:8444", false),
            ("192.0.2.8:8444", false),
            ("0.0.0.0:8444", false),
            ("0x7f.1:8444", false),
            ("2130706433:8444", false),
            ("::1:8444", false),
            ("[::ffff:127.0.0.1]:8444", false),
            ("evil.example:8444", false),
            ("127.0.0.1.evil.example:8444", false),
            ("localhost.evil.example:8444", false),
            ("user@127.0.0.1:8444", false),
            ("127.0.0.1:8444@evil.example", false),
            ("127.0.0.1:8444,evil.example", false),
            ("127.0.0.1:99999", false),
            ("", false),
            (" ", false),
        ];
        for (authority, expected) in cases {
            assert_eq!(hosts.allows(authority, local), expected, "{authority:?}");
        }
    }

    #[test]
    fn an_absent_port_means_the_default_of_the_scheme() {
        let cases =
            [(false, "127.0.0.1:80", true), (false, "127.0.0.1:443", false), (true, "[::1]:443", true)];
        for (is_tls, local, expected) in cases {
            assert_eq!(
                Hosts::new(&[], is_tls).allows("localhost", local.parse().unwrap()),
                expected,
                "{local}"
            );
        }
    }

    #[test]
    fn a_mapped_address_is_the_one_that_was_dialled() {
        let local = "[::ffff:192.0.2.7]:8444".parse().unwrap();
        assert!(Hosts::new(&[], false).allows("192.0.2.7:8444", local));
    }
}
