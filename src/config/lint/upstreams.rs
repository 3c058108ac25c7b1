//! Upstreams: where connections lead, how, how many, and for how long.

use super::Lint;
use super::network::networks;
use crate::config::origin::{Origin, host_port};
use crate::config::tree::{Path, at};
use crate::config::{Authorization, Period, Source, Upstream};
use rustls::pki_types::ServerName;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// `bound` are the gateway's own sockets and the keys that name them.
pub(super) fn check(lint: &mut Lint<'_>, bound: &[(SocketAddr, Path)]) {
    let document = lint.document;
    for (name, upstream) in &document.upstreams {
        let path = at!["upstreams", name, "url"];
        match Origin::parse(&upstream.url) {
            Err(why) => {
                let message = format!("the address {why}");
                lint.error(&path, "address", message).remedy("write \"https://api.example.com\"");
            }
            Ok(origin) => {
                sane(lint, &path, &origin.host);
                origin_rules(lint, &path, &origin, !upstream.inject.is_empty(), bound);
            }
        }
        if upstream.tls.is_some() && upstream.url.starts_with("http://") {
            let message = "`tls` is given, but the address is not https";
            lint.error(&at!["upstreams", name, "tls"], "tls", message).remedy("write https, or remove `tls`");
        }
        let server_name = upstream.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        if let Some(server_name) = server_name.filter(|name| ServerName::try_from(*name).is_err()) {
            let path = at!["upstreams", name, "tls", "server_name"];
            let message = format!("`{server_name}` is not the name or the address of a server");
            lint.error(&path, "tls", message).remedy("write a name without port, such as \"api.internal\"");
        }
        connections(lint, name, upstream);
        let timeout = &upstream.timeout;
        let periods = [
            ("connect", timeout.connect, Duration::from_secs(60)),
            ("first_byte", timeout.first_byte, Duration::from_secs(3_600)),
            ("idle", timeout.idle, Duration::from_secs(3_600)),
        ];
        for (key, period, most) in periods {
            bounded(lint, &at!["upstreams", name, "timeout", key], period, most);
        }
        pool(lint, name, upstream);
    }
}

fn origin_rules(
    lint: &mut Lint<'_>,
    path: &Path,
    origin: &Origin,
    injects: bool,
    bound: &[(SocketAddr, Path)],
) {
    if injects && !origin.tls && !origin.is_loopback() {
        let message = "the credential goes to this upstream over the network in clear text";
        lint.warning(path, "clear-text", message).remedy("use https");
    }
    let ip = if origin.host == "localhost" { Some([127, 0, 0, 1].into()) } else { origin.host.parse().ok() };
    let own = |(addr, key): &&(SocketAddr, Path)| {
        let same = ip.is_some_and(|ip: std::net::IpAddr| {
            addr.ip() == ip || (addr.ip().is_unspecified() && ip.is_loopback())
        });
        same && addr.port() == origin.port && key.first() == Some(&"admin".into())
    };
    if let Some((_, key)) = bound.iter().find(own) {
        let place = lint.tree.line_from(key, path);
        let message = format!("this is the gateway's own admin port ({place})");
        lint.error(path, "own-port", message).remedy("callers must not reach it; use another address");
    }
}

fn bounded(lint: &mut Lint<'_>, path: &Path, period: Period, most: Duration) {
    if period.0.is_zero() || period.0 > most {
        let message = format!("{period} is out of bounds: more than 0s, at most {}", Period(most));
        lint.error(path, "duration", message).remedy("remove the key for the default");
    }
}

fn pool(lint: &mut Lint<'_>, name: &str, upstream: &Upstream) {
    let (pool, day) = (&upstream.pool, Duration::from_secs(86_400));
    let periods = [("idle", pool.idle), ("max_age", pool.max_age), ("wait", pool.wait)];
    for (key, period) in periods {
        bounded(lint, &at!["upstreams", name, "pool", key], period, day);
    }
    let counts = [
        ("max_idle", pool.max_idle, 0, 65_536),
        ("max_connections", pool.max_connections, 1, 1_000_000),
        ("max_waiting", pool.max_waiting, 0, 1_000_000),
    ];
    for (key, count, least, most) in counts {
        if !(least..=most).contains(&count) {
            let message = format!("{count} is out of bounds: at least {least}, at most {most}");
            let path = at!["upstreams", name, "pool", key];
            lint.error(&path, "count", message).remedy("remove the key for the default");
        }
    }
}

/// `addresses`, `allow_addresses`, `via` and its credential.
fn connections(lint: &mut Lint<'_>, name: &str, upstream: &Upstream) {
    let at = |key: &str| at!["upstreams", name, key];
    for (index, text) in upstream.addresses.iter().enumerate() {
        let indexed = [at("addresses"), at![index]].concat();
        let path = if lint.tree.has(&indexed) { indexed } else { at("addresses") };
        match host_port(text) {
            Ok(destination) => sane(lint, &path, &destination.host),
            Err(why) => {
                let help = "write a host with its port, such as \"10.0.0.7:8443\"";
                lint.error(&path, "address", format!("`{text}` {why}")).remedy(help);
            }
        }
    }
    networks(lint, &at("allow_addresses"), &upstream.allow_addresses);
    if let Some(via) = &upstream.via {
        proxy(lint, &at("via"), via);
        if !upstream.addresses.is_empty() {
            let message = "the proxy of `via` finds the server itself: `addresses` would have no effect";
            lint.error(&at("addresses"), "address", message).remedy("remove `addresses` or `via`");
        }
    }
    if let Some(authorization) = &upstream.via_authorization {
        if upstream.via.is_none() {
            let message = "there is no proxy to tell this: `via` is missing";
            let help = "add via = \"http://proxy.internal:3128\"";
            lint.error(&at("via_authorization"), "inject", message).remedy(help);
        }
        credential(lint, &at("via_authorization"), authorization);
    }
}

fn proxy(lint: &mut Lint<'_>, path: &Path, via: &str) {
    let help = "write \"http://proxy.internal:3128\"";
    match Origin::parse(via) {
        Err(why) => lint.error(path, "address", format!("the address {why}")).remedy(help),
        Ok(origin) if origin.tls => {
            let message = "an egress proxy is spoken to in clear text; what goes through it may be TLS";
            lint.error(path, "address", message).remedy(help);
        }
        Ok(origin) if !origin.path_prefix.is_empty() => {
            lint.error(path, "address", "a proxy has no path").remedy(help);
        }
        Ok(origin) => sane(lint, path, &origin.host),
    }
}

/// Addresses that nobody can connect to.
fn sane(lint: &mut Lint<'_>, path: &Path, host: &str) {
    let Ok(ip) = host.parse::<IpAddr>() else { return };
    let ip = ip.to_canonical();
    let is_broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
    if ip.is_unspecified() || ip.is_multicast() || is_broadcast {
        let message = format!("{ip} is not the address of a server");
        lint.error(path, "address", message).remedy("write the server's own address");
    }
}

/// What the proxy is told: a template with secrets that are there at any time.
fn credential(lint: &mut Lint<'_>, path: &Path, authorization: &Authorization) {
    let path = [path.clone(), at!["value"]].concat();
    let Some(template) = super::credentials::template(lint, &path, authorization.template()) else { return };
    for name in template.names() {
        let source = lint.document.secrets.get(&**name).map(|secret| &secret.source);
        if matches!(source, Some(Source::Exchange(_))) {
            let message = "a proxy cannot be told a token that is fetched for one exchange";
            lint.error(&path, "inject", message).remedy("name a secret from env, file, credential or exec");
        }
    }
}
