//! Secrets, leases and upstreams.

use super::Compiler;
use crate::config::origin::Origin;
use crate::config::tree::{Path, at};
use crate::config::{self, ClientAuth, ExchangeKind, ExchangeSource, Source};
use crate::exchange::plan::{Timeouts, Upstream};
use crate::protocol::Protocol;
use crate::runtime::tls::ClientTls;
use crate::secrets::{
    self, Endpoint, Error, Injection, LeaseKind, LeaseSource, Scrub, SecretSpec, Slots, SubjectTokenType,
    Template,
};
use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The TLS towards an upstream, and the configured authorities in PEM.
type Trust = (Option<ClientTls>, Option<Vec<u8>>);

/// Keys of upstreams: unique in the process, because pools outlive a configuration.
static NEXT_KEY: AtomicU64 = AtomicU64::new(1);

impl Compiler<'_> {
    pub(super) fn secrets(&mut self) -> (Option<Slots>, Vec<Arc<LeaseSource>>) {
        let mut specs = Vec::new();
        for (name, secret) in &self.document.secrets {
            let source = match &secret.source {
                Source::Env { env } => secrets::Source::env(env),
                Source::File { file } => secrets::Source::file(self.base.join(file)),
                Source::Credential { credential } => secrets::Source::credential(credential),
                Source::Exec { exec } => secrets::Source::exec(exec),
                Source::Exchange(_) => continue,
            };
            let refresh = secret.refresh.map(|period| period.0);
            match source.and_then(|source| SecretSpec::new(name, source, refresh, scrub(secret))) {
                Ok(spec) => specs.push(spec),
                Err(error) => self.secret_error(name, &error),
            }
        }
        let slots = match Slots::new(specs) {
            Ok(slots) => slots,
            Err(error) => {
                self.error(&at!["secrets"], "secret-source", error.to_string(), "");
                return (None, Vec::new());
            }
        };
        if let Some(previous) = self.previous {
            slots.inherit(&previous.plan.secrets);
        }
        let mut leases = Vec::new();
        for (name, secret) in &self.document.secrets {
            let Source::Exchange(exchange) = &secret.source else { continue };
            match lease(name, secret, exchange, &slots) {
                Ok(lease) => leases.push(Arc::new(lease)),
                Err(error) => self.secret_error(name, &error),
            }
        }
        (Some(slots), leases)
    }

    fn secret_error(&mut self, name: &str, error: &Error) {
        self.error(&at!["secrets", name, "source"], "secret-source", error.to_string(), "");
    }

    /// The upstreams by name, and whom to trust for each.
    pub(super) fn upstreams(&mut self, leases: &[Arc<LeaseSource>]) -> (Vec<Arc<Upstream>>, Vec<Trust>) {
        let mut upstreams = Vec::new();
        let mut trust = Vec::new();
        let mut system = None;
        for (name, written) in &self.document.upstreams {
            let path = at!["upstreams", name];
            let Ok(origin) = Origin::parse(&written.url) else {
                self.error(&path, "address", "the address cannot be used", "");
                continue;
            };
            let Some(inject) = self.inject(&path, written) else { continue };
            let trusted = match origin.tls {
                true => self.trust(&path, written, &mut system),
                false => Trust::default(),
            };
            let used = |lease: &&Arc<LeaseSource>| {
                inject.iter().any(|one| one.value().names().any(|name| *name == lease.name))
            };
            let mut used = leases.iter().filter(used);
            let lease = used.next().cloned();
            if used.next().is_some() {
                let message = "an upstream gets at most one token that is fetched just in time";
                self.error(&[path.clone(), at!["inject"]].concat(), "inject", message, "");
            }
            upstreams.push(Arc::new(self.upstream((name, written), origin, &trusted.1, inject, lease)));
            trust.push(trusted);
        }
        (upstreams, trust)
    }

    fn upstream(
        &self,
        (name, written): (&str, &config::Upstream),
        origin: Origin,
        roots_now: &Option<Vec<u8>>,
        inject: Vec<Injection>,
        lease: Option<Arc<LeaseSource>>,
    ) -> Upstream {
        let timeouts = Timeouts {
            connect: written.timeout.connect.0,
            first_byte: written.timeout.first_byte.0,
            idle: written.timeout.idle.0,
        };
        // The same server keeps its addresses over a reload, and under the same trust its connections.
        let previous = self.previous.into_iter();
        let mut previous =
            previous.flat_map(|previous| previous.plan.upstreams.iter().zip(&previous.upstream_roots));
        let before = previous.find(|(old, _)| {
            *old.name == *name && (old.tls, &old.host, old.port) == (origin.tls, &origin.host, origin.port)
        });
        let key = before.filter(|(_, roots)| **roots == *roots_now).map(|(old, _)| old.key);
        let address = origin.host.parse::<IpAddr>().map(|ip| vec![SocketAddr::new(ip, origin.port)]);
        Upstream {
            name: name.into(),
            key: key.unwrap_or_else(|| NEXT_KEY.fetch_add(1, Ordering::Relaxed)),
            protocol: protocol(written.protocol),
            tls: origin.tls,
            authority: origin.authority(),
            addresses: match before {
                Some((old, _)) => old.addresses.clone(),
                None => Arc::new(ArcSwap::from_pointee(address.unwrap_or_default())),
            },
            host: origin.host,
            port: origin.port,
            path_prefix: origin.path_prefix,
            inject,
            lease,
            timeouts,
        }
    }

    fn inject(&mut self, path: &Path, written: &config::Upstream) -> Option<Vec<Injection>> {
        let built = written.inject.iter().map(|inject| {
            let template = match &inject.basic_user {
                Some(user) => Template::basic(user, &inject.value),
                None => Template::parse(&inject.value),
            };
            Injection::new(&inject.header, template?)
        });
        match built.collect::<Result<Vec<_>, _>>() {
            Ok(inject) => Some(inject),
            Err(error) => {
                self.error(&[path.clone(), at!["inject"]].concat(), "inject", error.to_string(), "");
                None
            }
        }
    }

    fn trust(&mut self, path: &Path, written: &config::Upstream, system: &mut Option<ClientTls>) -> Trust {
        let Some(tls) = &written.tls else {
            if system.is_none() {
                match ClientTls::with_system_roots() {
                    Ok(tls) => *system = Some(tls),
                    Err(error) => {
                        let help = "install ca-certificates, or name the authority: tls.ca = { file = … }";
                        self.error(&[path.clone(), at!["url"]].concat(), "tls", error.to_string(), help);
                    }
                }
            }
            return (system.clone(), None);
        };
        let path = [path.clone(), at!["tls", "ca", "file"]].concat();
        let Some(pem) = self.read(&path, &self.base.join(&tls.ca.file), false) else {
            return Trust::default();
        };
        match ClientTls::with_pem_roots(&pem) {
            Ok(tls) => (Some(tls), Some(pem.to_vec())),
            Err(error) => {
                self.error(&path, "tls", error.to_string(), "");
                Trust::default()
            }
        }
    }
}

fn scrub(secret: &config::Secret) -> Scrub {
    if secret.scrub { Scrub::On } else { Scrub::Off }
}

fn lease(
    name: &str,
    secret: &config::Secret,
    exchange: &ExchangeSource,
    slots: &Slots,
) -> Result<LeaseSource, Error> {
    let boxed = |text: &Option<String>| text.as_deref().map(Into::into);
    let unknown = Error::Source("the secret of `client_secret` is not defined");
    Ok(LeaseSource {
        name: secrets::check_name(name)?,
        kind: match exchange.exchange {
            ExchangeKind::ClientCredentials => LeaseKind::ClientCredentials,
            ExchangeKind::Rfc8693 => LeaseKind::TokenExchange { subject: SubjectTokenType::default() },
        },
        token_endpoint: Endpoint::parse(&exchange.token_endpoint)?,
        revoke_endpoint: exchange.revoke_endpoint.as_deref().map(Endpoint::parse).transpose()?,
        client_id: exchange.client_id.as_str().into(),
        client_secret: slots.find(&exchange.client_secret).cloned().ok_or(unknown)?,
        auth_method: match exchange.client_auth {
            ClientAuth::Basic => secrets::ClientAuth::Basic,
            ClientAuth::Post => secrets::ClientAuth::Post,
        },
        audience: boxed(&exchange.audience),
        resource: boxed(&exchange.resource),
        scope: boxed(&exchange.scope),
        lifetime_default: exchange.lifetime_default.map(|period| period.0),
        scrub: scrub(secret),
    })
}

fn protocol(written: config::Protocol) -> Protocol {
    match written {
        config::Protocol::Http => Protocol::Http,
        config::Protocol::Anthropic => Protocol::Anthropic,
        config::Protocol::Openai => Protocol::OpenAi,
        config::Protocol::Mcp => Protocol::Mcp,
    }
}
