//! Listeners and the admin interface.

use super::Compiler;
use crate::config::origin::{ListenAddr, Origin};
use crate::config::snapshot::{AdminCredential, AdminPlan, Listener, LoginPlan, LoginRole};
use crate::config::tree::at;
use crate::config::{self, AdminRole, AdminToken, Listen, Login};
use crate::http::client_address::ClientAddress;
use crate::identity::Issuer;
use crate::runtime::tls::Certificate;
use crate::secrets::Slots;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::net::SocketAddr;
use std::sync::Arc;

impl Compiler<'_> {
    pub(super) fn listeners(&mut self) -> Vec<Listener> {
        let mut listeners = Vec::new();
        for (index, listener) in self.document.listen.iter().enumerate() {
            let path = at!["listen", index, "tls"];
            let tls = listener.tls.as_ref().map(|tls| self.listen_tls(&path, &listener.name, tls));
            // The address was checked with the document; a failed TLS was noted, which ends the compilation.
            let Some(addr) = ListenAddr::parse(&listener.addr) else { continue };
            listeners.push(Listener { name: listener.name.as_str().into(), addr, tls: tls.flatten() });
        }
        listeners
    }

    /// How each listener learns where its callers are, in the order of [`Compiler::listeners`].
    pub(super) fn client_addresses(&self) -> Vec<ClientAddress> {
        let one = |listener: &Listen| listener.client_address.as_ref().map(client_address);
        self.document.listen.iter().map(|listener| one(listener).unwrap_or_default()).collect()
    }

    pub(super) fn admin(&mut self, slots: Option<&Slots>) -> Option<AdminPlan> {
        let admin = &self.document.admin;
        let tls = match &admin.tls {
            Some(tls) => {
                let pem = self.server_pem(&at!["admin", "tls"], tls)?;
                self.usable(&at!["admin", "tls"], &pem.0, &pem.1)?;
                Some(pem)
            }
            None => None,
        };
        let login = match &admin.login {
            Some(login) => Some(self.login(login, slots?)?),
            None => None,
        };
        let mut hosts = admin.hosts.clone();
        hosts.extend(tls.iter().flat_map(|(chain, _)| names(chain)));
        let socket = admin.socket.as_ref();
        Some(AdminPlan {
            socket: socket.map_or_else(|| self.host.admin_socket(), |path| self.base.join(path)),
            addr: admin.addr.as_deref().and_then(address),
            tls,
            hosts,
            metrics: admin.metrics.as_deref().and_then(address),
            tokens: admin.token.iter().filter_map(credential).collect(),
            login,
        })
    }

    fn login(&mut self, login: &Login, slots: &Slots) -> Option<LoginPlan> {
        let path = at!["admin", "login"];
        let issuer = match Issuer::new(login.settings()) {
            Ok(issuer) => Arc::new(issuer),
            Err(error) => {
                self.error(&path, "identity", error.to_string(), "");
                return None;
            }
        };
        let roots = match &login.tls {
            Some(tls) => Some(self.authorities(&path, &tls.ca)?),
            None => None,
        };
        let secret = match &login.client_secret {
            Some(_) => Some(login.secret_name().and_then(|name| slots.find(name)).cloned()?),
            None => None,
        };
        Some(LoginPlan {
            issuer,
            roots,
            secret,
            scope: login.scope().into(),
            url: login
                .url
                .as_deref()
                .and_then(|url| Origin::parse(url).ok())
                .map(|url| url.to_string().into()),
            idle: login.idle.0,
            lifetime: login.lifetime.0,
            roles: roles(&self.document.admin.roles),
        })
    }
}

/// Roles that a login gives; what tokens and the socket may do is known elsewhere.
fn roles(written: &config::Roles) -> Arc<[LoginRole]> {
    let of_login = |who: &str| who.starts_with("group:") || who.starts_with("user:");
    let mut roles = Vec::new();
    let mut add = |role, who: &[String], routes: Option<&[String]>| {
        let routes: Option<Arc<[Arc<str>]>> =
            routes.map(|routes| routes.iter().map(|route| route.as_str().into()).collect());
        for who in who.iter().filter(|who| of_login(who)) {
            roles.push(LoginRole { role, who: who.as_str().into(), routes: routes.clone() });
        }
    };
    add(Some(AdminRole::Viewer), &written.viewer, None);
    add(Some(AdminRole::Auditor), &written.auditor, None);
    written.approver.iter().for_each(|one| add(Some(AdminRole::Approver), one.who(), one.routes()));
    add(None, &written.admin, None);
    roles.into()
}

/// The DNS names in the first certificate of a chain; a wildcard names no host.
fn names(chain: &[u8]) -> Vec<String> {
    let first = CertificateDer::pem_slice_iter(chain).next().and_then(Result::ok);
    let facts = first.and_then(|der| Certificate::parse(&der));
    let names = facts.map(|facts| facts.dns_names).unwrap_or_default();
    names.into_iter().filter(|name| !name.starts_with('*')).collect()
}

/// Digest and expiry were checked with the document.
fn credential(token: &AdminToken) -> Option<AdminCredential> {
    let (name, digest) = (token.name.as_str().into(), token.digest()?);
    let owner = token.owner.as_deref().map(Into::into);
    Some(AdminCredential { name, role: token.role, owner, digest, expires: token.expiry() })
}

/// Blocks and combinations were checked with the document.
fn client_address(written: &config::ClientAddress) -> ClientAddress {
    let from = written.from.iter().filter_map(|text| text.parse().ok()).collect();
    match (written.proxy_protocol, &written.header) {
        (Some(version), _) => ClientAddress::Proxy { version: version.into(), from },
        (None, Some(name)) => ClientAddress::Header { name: name.as_str().into(), from },
        (None, None) => ClientAddress::Peer,
    }
}

fn address(text: &str) -> Option<SocketAddr> {
    match ListenAddr::parse(text)? {
        ListenAddr::Socket(address) => Some(address),
        ListenAddr::Inherited(_) => None,
    }
}
