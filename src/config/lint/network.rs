//! Listeners and the admin port.

use super::Lint;
use crate::config::origin::ListenAddr;
use crate::config::tree::{Path, at};
use crate::config::{ClientAddress, KeySource, Period, ServerTls, Size};
use crate::http::client_address::Network;
use crate::limits::MEMORY_BYTES_MIN;
use std::net::SocketAddr;
use std::time::Duration;

pub(super) fn check(lint: &mut Lint<'_>) {
    let document = lint.document;
    if document.listen.is_empty() {
        let help = "add [[listen]] with `name` and `addr = \"127.0.0.1:8443\"`";
        lint.error(&at!["listen"], "no-listener", "there is no [[listen]]: nobody could call").remedy(help);
    }
    let mut bound: Vec<(SocketAddr, Path)> = Vec::new();
    for (index, listener) in document.listen.iter().enumerate() {
        let path = at!["listen", index, "addr"];
        let Some(addr) = address(lint, &path, &listener.addr, true) else { continue };
        if listener.tls.is_none() && !addr.is_loopback() && matches!(addr, ListenAddr::Socket(_)) {
            let message = format!("callers reach {addr} over the network in clear text, with their tokens");
            let help = "add `tls.cert` and `tls.key`, or listen on 127.0.0.1";
            lint.warning(&path, "clear-text", message).remedy(help);
        }
        // SECURITY R36: whoever reaches the demo's issuer gets any token.
        if !addr.is_loopback() && document.identity.iter().any(|identity| identity.dev) {
            let message = format!("{addr} is reached over the network, with the issuer of the demo");
            let help = "remove the [[identity]] with `dev = true`, or listen on 127.0.0.1";
            lint.error(&path, "dev-issuer", message).remedy(help);
        }
        collide(lint, &mut bound, &addr, path);
    }
    for (index, listener) in document.listen.iter().enumerate() {
        if let Some(written) = &listener.client_address {
            client_address(lint, &at!["listen", index, "client_address"], written);
        }
    }
    admin(lint, &mut bound);
    super::upstreams::check(lint, &bound);
    tls_files(lint);
    limits(lint);
    let drain = document.runtime.drain;
    if drain.0 > Duration::from_secs(86_400) {
        let path = at!["runtime", "drain"];
        lint.error(&path, "duration", "a drain takes at most 1d").remedy("write \"10m\"");
    }
}

/// Exactly one way of telling, and peers that may tell.
fn client_address(lint: &mut Lint<'_>, path: &Path, written: &ClientAddress) {
    let example = "write { proxy_protocol = \"v2\", from = \"10.0.0.0/8\" }";
    let at = |key: &str| [path.clone(), at![key]].concat();
    match (&written.proxy_protocol, written.header.as_deref()) {
        (Some(_), Some(_)) => {
            let message = "`proxy_protocol` and `header` do not go together: either tells the address";
            lint.error(&at("header"), "client-address", message).remedy("remove one");
        }
        (None, None) => {
            let message = "nothing says how the address of callers is told";
            lint.error(path, "client-address", message).remedy(example);
        }
        (None, Some(name)) if name.eq_ignore_ascii_case("forwarded") || !crate::http::is_token(name) => {
            let message = format!("`{name}` is no field that lists addresses alone");
            lint.error(&at("header"), "client-address", message).remedy("write \"x-forwarded-for\"");
        }
        _ => {}
    }
    if written.from.is_empty() {
        let message = "`from` names no peer: nobody would be believed";
        lint.error(path, "client-address", message).remedy(example);
    }
    networks(lint, &at("from"), &written.from);
}

/// Each entry of the list at `path` is a block of addresses; it may also be written without the list.
pub(super) fn networks(lint: &mut Lint<'_>, path: &Path, written: &[String]) {
    for (index, text) in written.iter().enumerate() {
        let Err(error) = text.parse::<Network>() else { continue };
        let indexed = [path.clone(), at![index]].concat();
        let place = if lint.tree.has(&indexed) { &indexed } else { path };
        lint.error(place, "address", format!("`{text}` {error}")).remedy("write \"10.0.0.0/8\"");
    }
}

fn admin(lint: &mut Lint<'_>, bound: &mut Vec<(SocketAddr, Path)>) {
    let admin = &lint.document.admin;
    let path = at!["admin", "addr"];
    if let Some(addr) = admin.addr.as_deref().and_then(|text| address(lint, &path, text, false)) {
        if !addr.is_loopback() && admin.tls.is_none() {
            let message = format!("the admin interface on {addr} is reached over the network in clear text");
            let help = "add `admin.tls.cert` and `admin.tls.key`, or use 127.0.0.1";
            lint.error(&path, "clear-text", message).remedy(help);
        }
        collide(lint, bound, &addr, path);
    }
    tokens(lint);
    let path = at!["admin", "metrics"];
    if let Some(addr) = admin.metrics.as_deref().and_then(|text| address(lint, &path, text, false)) {
        if !addr.is_loopback() {
            let message = format!("metrics on {addr} are reached over the network, without a login");
            let help = "use 127.0.0.1, and let an agent on this host read them";
            lint.error(&path, "clear-text", message).remedy(help);
        }
        collide(lint, bound, &addr, path);
    }
}

/// Tokens of the admin interface: whole, and never sent in clear text.
fn tokens(lint: &mut Lint<'_>) {
    let admin = &lint.document.admin;
    for (index, host) in admin.hosts.iter().enumerate() {
        if host.is_empty()
            || !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte))
        {
            let indexed = at!["admin", "hosts", index];
            let path = if lint.tree.has(&indexed) { indexed } else { at!["admin", "hosts"] };
            let message = format!("`{}` is no name of a host", host.escape_debug());
            lint.error(&path, "address", message)
                .remedy("write \"gw.example.com\" or \"gw.example.com:443\"");
        }
    }
    if !admin.token.is_empty() && (admin.addr.is_none() || admin.tls.is_none()) {
        let message = "tokens are taken over TLS only, and there is no such admin interface";
        let help = "add `admin.addr`, `admin.tls.cert` and `admin.tls.key`";
        lint.error(&at!["admin", "token"], "clear-text", message).remedy(help);
    }
    for (index, token) in admin.token.iter().enumerate() {
        if token.digest().is_none() {
            let message = "the hash is not `sha256:` with 64 hexadecimal digits";
            let help = "`ringward audit credential NAME` makes a token and prints its lines";
            lint.error(&at!["admin", "token", index, "hash"], "token-hash", message).remedy(help);
        } else if let Some(first) =
            admin.token[..index].iter().position(|earlier| earlier.digest() == token.digest())
        {
            let line = lint.tree.line(&at!["admin", "token", first, "hash"]);
            let message =
                format!("the token of line {line} has the same hash: one of them would never count");
            lint.error(&at!["admin", "token", index, "hash"], "token-hash", message)
                .remedy("give each its own");
        }
        if token.expires.is_some() && token.expiry().is_none() {
            let message = "this is no point in time";
            let help = "write \"2027-11-22\" or \"2027-11-22T09:30:00Z\" (UTC)";
            lint.error(&at!["admin", "token", index, "expires"], "time", message).remedy(help);
        }
    }
}

/// Times that are too short would turn every caller away, too long ones would bound nothing.
fn limits(lint: &mut Lint<'_>) {
    let limits = &lint.document.limits;
    let least = Duration::from_millis(100);
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    let periods = [
        ("header_timeout", limits.header_timeout, 10 * minute),
        ("body_idle", limits.body_idle, hour),
        ("body_rate_grace", limits.body_rate_grace, 10 * minute),
        ("keep_alive", limits.keep_alive, hour),
        ("tls_handshake", limits.tls_handshake, minute),
        ("write_timeout", limits.write_timeout, hour),
    ];
    let memory = limits.memory;
    for (key, period, most) in periods {
        if period.0 < least || period.0 > most {
            let bounds = format!("from {} to {}", Period(least), Period(most));
            let message = format!("{period} is out of bounds: {bounds}");
            let path = at!["limits", key];
            lint.error(&path, "duration", message).remedy("remove the key for the default");
        }
    }
    if let Some(memory) = memory.filter(|memory| memory.0 < MEMORY_BYTES_MIN) {
        let message = format!("{memory} is too little: at least {}", Size(MEMORY_BYTES_MIN));
        lint.error(&at!["limits", "memory"], "size", message).remedy("remove the key for the default");
    }
}

/// Parses an address, or says what one looks like.
fn address(lint: &mut Lint<'_>, path: &Path, text: &str, passed: bool) -> Option<ListenAddr> {
    match ListenAddr::parse(text) {
        Some(ListenAddr::Inherited(_)) if !passed => {}
        Some(addr) => return Some(addr),
        None => {}
    }
    let message = format!("`{text}` is not an IP address with a port");
    let or = if passed { ", or \"fd:NAME\" for a socket that systemd passes" } else { "" };
    lint.error(path, "address", message).remedy(format!("write \"127.0.0.1:8443\" or \"[::]:8443\"{or}"));
    None
}

/// Two sockets on one port. Port 0 is a different one each time.
fn collide(lint: &mut Lint<'_>, bound: &mut Vec<(SocketAddr, Path)>, addr: &ListenAddr, path: Path) {
    let ListenAddr::Socket(addr) = addr else { return };
    let overlaps = |other: &SocketAddr| {
        let any = addr.ip().is_unspecified() || other.ip().is_unspecified();
        addr.port() != 0 && addr.port() == other.port() && (any || addr.ip() == other.ip())
    };
    if let Some((other, first)) = bound.iter().find(|(other, _)| overlaps(other)) {
        let line = lint.tree.line(first);
        let message = format!("{addr} is taken by {other} in line {line}");
        lint.error(&path, "port-taken", message).remedy("choose another port");
    }
    bound.push((*addr, path));
}

/// Each TLS table names files; empty names say nothing later that anyone would understand.
fn tls_files(lint: &mut Lint<'_>) {
    let document = lint.document;
    let mut files: Vec<(Path, &KeySource)> = Vec::new();
    let pair = |path: Path, pair: &'_ ServerTls| -> [(Path, KeySource); 2] {
        let key = |key: &str| [path.clone(), at![key]].concat();
        [(key("cert"), pair.cert.clone()), (key("key"), pair.key.clone())]
    };
    let mut pairs: Vec<(Path, KeySource)> = Vec::new();
    for (index, listener) in document.listen.iter().enumerate() {
        let Some(tls) = &listener.tls else { continue };
        let path = at!["listen", index, "tls"];
        for (key, other, source, beside) in
            [("cert", "key", &tls.cert, &tls.key), ("key", "cert", &tls.key, &tls.cert)]
        {
            let Some(source) = source else { continue };
            files.push(([path.clone(), at![key]].concat(), source));
            if beside.is_none() {
                let message = format!("there is `tls.{key}`, but no `tls.{other}`");
                lint.error(&path, "tls", message).remedy("a certificate and its key come together");
            }
        }
        if tls.cert.is_none() && tls.key.is_none() && tls.certs.is_empty() {
            let help = "add `tls.cert` and `tls.key`";
            lint.error(&path, "tls", "there is `tls`, but no certificate").remedy(help);
        }
        for (number, one) in tls.certs.iter().enumerate() {
            pairs.extend(pair([path.clone(), at!["certs", number]].concat(), one));
        }
    }
    pairs.extend(document.admin.tls.iter().flat_map(|tls| pair(at!["admin", "tls"], tls)));
    for (path, source) in files.into_iter().chain(pairs.iter().map(|(path, source)| (path.clone(), source))) {
        let empty = match source {
            KeySource::File(file) => file.as_os_str().is_empty(),
            KeySource::Credential(name) => name.is_empty() || name.contains('/'),
        };
        if empty {
            lint.error(&path, "file-name", "this names no file").remedy("write { file = \"NAME.pem\" }");
        }
    }
}
