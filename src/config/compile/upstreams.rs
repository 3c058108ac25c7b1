//! Secrets, leases and upstreams.

use super::Compiler;
use super::files::version;
use crate::config::origin::{Origin, host_port};
use crate::config::tree::{Path, at};
use crate::config::{self, ClientAuth, ExchangeKind, ExchangeSource, Source};
use crate::exchange::plan::{Destination, Timeouts, Upstream, Via};
use crate::http::client_address::Network;
use crate::protocol::Protocol;
use crate::runtime::tls::ClientTls;
use crate::secrets::{
    self, Endpoint, Error, Injection, LeaseKind, LeaseSource, Scrub, SecretSpec, Slots, SubjectTokenType,
    Template,
};
use crate::upstream::PoolLimits;
use arc_swap::ArcSwap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
            let path = at!["secrets", name, "source"];
            let roots = exchange.tls.as_ref().map(|tls| self.authorities(&path, &tls.ca));
            match lease(name, secret, exchange, &slots) {
                Ok(lease) => leases.push(Arc::new(LeaseSource { roots: roots.flatten(), ..lease })),
                Err(error) => self.secret_error(name, &error),
            }
        }
        (Some(slots), leases)
    }

    fn secret_error(&mut self, name: &str, error: &Error) {
        self.error(&at!["secrets", name, "source"], "secret-source", error.to_string(), "");
    }

    /// The upstreams by name, and whom to trust for each.
    pub(super) fn upstreams(
        &mut self,
        leases: &[Arc<LeaseSource>],
    ) -> (Vec<Arc<Upstream>>, Vec<Option<ClientTls>>) {
        let mut upstreams = Vec::new();
        let mut trust = Vec::new();
        let mut shared = Vec::new();
        for (name, written) in &self.document.upstreams {
            let path = at!["upstreams", name];
            let Ok(origin) = Origin::parse(&written.url) else {
                self.error(&path, "address", "the address cannot be used", "");
                continue;
            };
            let Some(inject) = self.inject(&path, written) else { continue };
            let trusted = match origin.tls {
                true => self.trust(&path, written, &mut shared),
                false => None,
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
            upstreams.push(Arc::new(self.upstream((name, written), origin, &trusted, inject, lease)));
            trust.push(trusted);
        }
        (upstreams, trust)
    }

    fn upstream(
        &self,
        (name, written): (&str, &config::Upstream),
        origin: Origin,
        trusted: &Option<ClientTls>,
        inject: Vec<Injection>,
        lease: Option<Arc<LeaseSource>>,
    ) -> Upstream {
        let timeouts = Timeouts {
            connect: written.timeout.connect.0,
            first_byte: written.timeout.first_byte.0,
            idle: written.timeout.idle.0,
        };
        let via = via(written, &origin);
        let (destinations, allowed) = (destinations(written, &origin), allowed(written));
        // The same server keeps its addresses over a reload, and under the same trust its connections.
        let previous = self.previous.into_iter();
        let mut previous =
            previous.flat_map(|previous| previous.plan.upstreams.iter().zip(&previous.upstream_tls));
        let before = previous.find(|(old, _)| {
            *old.name == *name
                && (old.tls, &old.host, old.port) == (origin.tls, &origin.host, origin.port)
                && (&old.destinations, &old.allowed) == (&destinations, &allowed)
        });
        let named = written.tls.as_ref().and_then(|tls| tls.server_name.clone());
        let server_name = named.unwrap_or_else(|| origin.host.clone());
        let same = |(old, tls): &(&Arc<Upstream>, &Option<ClientTls>)| {
            let trust = match (tls, trusted) {
                (Some(old), Some(new)) => old.trusts_as(new),
                (old, new) => old.is_none() && new.is_none(),
            };
            trust && old.server_name == server_name && old.via == via
        };
        let key = before.filter(same).map(|(old, _)| old.key);
        Upstream {
            name: name.into(),
            key: key.unwrap_or_else(|| NEXT_KEY.fetch_add(1, Ordering::Relaxed)),
            protocol: protocol(written.protocol),
            tls: origin.tls,
            authority: origin.authority(),
            addresses: match before {
                Some((old, _)) => old.addresses.clone(),
                None => Arc::new(ArcSwap::from_pointee(literal(&destinations))),
            },
            server_name,
            resolve_failure: before.map(|(old, _)| old.resolve_failure.clone()).unwrap_or_default(),
            destinations,
            allowed,
            via,
            pool: pool(&written.pool),
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

    /// Whom to trust for an upstream. Those that trust alike share what they remember of sessions, and a
    /// reload that changes nothing keeps it.
    fn trust(
        &mut self,
        path: &Path,
        written: &config::Upstream,
        shared: &mut Vec<ClientTls>,
    ) -> Option<ClientTls> {
        let tls = written.tls.clone().unwrap_or_default();
        let oldest = version(tls.min_version);
        let made = match &tls.ca {
            Some(ca) => {
                let pem = self.authorities(path, ca)?;
                ClientTls::with_pem_roots(&pem, oldest)
            }
            None => ClientTls::with_system_roots(oldest),
        };
        let made = match made {
            Ok(made) => made,
            Err(error) => {
                let help = "install ca-certificates, or name the authority: tls.ca = { file = … }";
                self.error(&[path.clone(), at!["url"]].concat(), "tls", error.to_string(), help);
                return None;
            }
        };
        let before = self.previous.into_iter().flat_map(|previous| previous.upstream_tls.iter().flatten());
        let known = shared.iter().chain(before).find(|known| known.trusts_as(&made)).cloned();
        let trust = known.unwrap_or(made);
        shared.push(trust.clone());
        Some(trust)
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
        roots: None,
    })
}

/// Where connections lead. All that can be wrong with it was found with the document.
fn destinations(written: &config::Upstream, origin: &Origin) -> Vec<Destination> {
    let proxy = written.via.as_deref().and_then(|via| Origin::parse(via).ok());
    if let Some(Origin { host, port, .. }) = proxy {
        return vec![Destination { host, port }];
    }
    if !written.addresses.is_empty() {
        return written.addresses.iter().filter_map(|text| host_port(text).ok()).collect();
    }
    vec![Destination { host: origin.host.clone(), port: origin.port }]
}

/// The addresses, where all of them are written.
fn literal(destinations: &[Destination]) -> Vec<SocketAddr> {
    let address = |one: &Destination| Some(SocketAddr::new(one.host.parse::<IpAddr>().ok()?, one.port));
    destinations.iter().map(address).collect::<Option<_>>().unwrap_or_default()
}

fn allowed(written: &config::Upstream) -> Vec<Network> {
    written.allow_addresses.iter().filter_map(|text| text.parse().ok()).collect()
}

fn via(written: &config::Upstream, origin: &Origin) -> Option<Via> {
    written.via.as_ref()?;
    let authorization = written.via_authorization.as_ref().and_then(|one| one.template().ok());
    Some(Via { target: origin.tunnel_target(), authorization })
}

fn pool(written: &config::Pool) -> PoolLimits {
    PoolLimits {
        idle: written.idle.0,
        idle_count_max: written.max_idle as usize,
        age: written.max_age.0,
        connections_max: written.max_connections as usize,
        waiting_max: written.max_waiting as usize,
        wait: written.wait.0,
    }
}

fn protocol(written: config::Protocol) -> Protocol {
    match written {
        config::Protocol::Http => Protocol::Http,
        config::Protocol::Anthropic => Protocol::Anthropic,
        config::Protocol::Openai => Protocol::OpenAi,
        config::Protocol::Mcp => Protocol::Mcp,
    }
}
