//! What an exchange runs on: one immutable value a configuration, shared by all shards. An exchange keeps the
//! plan it began with (DESIGN invariant 5).

use crate::{
    approval::{Conversations, Freezer},
    audit::Commit,
    http::client_address::{ClientAddress, Network},
    identity::Issuer,
    inspect::{MaskSet, Thinking, token::TokenBook},
    policy::{Router, RuleSet},
    protocol::{DenyStatus, Protocol},
    secrets::{Injection, LeaseSource, Scrub, Slots, Template},
    upstream::PoolLimits,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use std::{borrow::Cow, net::SocketAddr, sync::Arc, time::Duration};

/// The compiled configuration, as far as requests are concerned.
#[derive(Debug)]
pub struct Plan {
    /// Counts the configurations of this process, from 1; records cite it.
    pub generation: u64,
    /// Name of this process in the Via field of requests that it forwards (RFC 9110 section 7.6.3), by which
    /// it knows those that come back to it.
    pub pseudonym: Box<str>,
    /// Names of the listeners; an index into this is an [`super::Arrival::listener`].
    pub listeners: Vec<Arc<str>>,
    /// How each of them learns where its callers are.
    pub client_addresses: Vec<ClientAddress>,
    /// Finds the route of a request: an index into `routes`.
    pub router: Router,
    pub routes: Vec<Arc<Route>>,
    pub upstreams: Vec<Arc<Upstream>>,
    /// All issuers; routes hold theirs.
    pub issuers: Vec<Arc<Issuer>>,
    /// All secrets that templates name.
    pub secrets: Slots,
    pub deny_status: DenyStatus,
    /// Tokens that masks put in the place of values; one book for all configurations of this process.
    pub tokens: Arc<TokenBook>,
    pub limits: CallerLimits,
    /// What operators have stopped; one for all configurations of this process.
    pub freezer: Arc<Freezer>,
    /// What was judged of conversations; one for all configurations of this process.
    pub conversations: Arc<Conversations>,
    /// Longest that a held request is kept without an answer.
    pub hold_slice: Duration,
}

/// How long callers may take, and how many connections one of them may have (SECURITY R41).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    /// From the first byte of a head to its last.
    pub header: Duration,
    /// Silence within a request's body.
    pub body_idle: Duration,
    /// Bytes a second of a request's body, after the grace; zero asks for none.
    pub body_rate_min: u64,
    /// Waiting for a body that its rate is not asked for.
    pub body_rate_grace: Duration,
    /// Between two requests.
    pub keep_alive: Duration,
    /// TLS handshake.
    pub handshake: Duration,
    /// One write to a caller.
    pub write: Duration,
    /// Connections of one address; `None`: [`crate::limits::CONNECTIONS_PER_ADDRESS`], and none on loopback;
    /// zero: no limit.
    pub connections_per_address: Option<u32>,
}

impl Default for CallerLimits {
    fn default() -> Self {
        use crate::limits as bounds;
        CallerLimits {
            header: bounds::HEAD_READ_TIMEOUT,
            body_idle: bounds::BODY_IDLE_TIMEOUT,
            body_rate_min: bounds::BODY_RATE_MIN,
            body_rate_grace: bounds::BODY_RATE_GRACE,
            keep_alive: bounds::KEEP_ALIVE_TIMEOUT,
            handshake: bounds::HANDSHAKE_TIMEOUT,
            write: bounds::WRITE_STALL_TIMEOUT,
            connections_per_address: None,
        }
    }
}

/// One route: who may come, what decides, where it goes, what is masked and recorded.
#[derive(Debug)]
pub struct Route {
    pub name: Arc<str>,
    /// Issuers whose tokens are accepted; empty only where the operator wrote `identity = "none"`.
    pub issuers: Vec<Arc<Issuer>>,
    /// Index into [`Plan::upstreams`].
    pub upstream: usize,
    pub rules: RuleSet,
    /// Masks of request bodies; `None` when there is none.
    pub request_masks: Option<Arc<MaskSet>>,
    /// Masks of response bodies; `None` when there is none.
    pub response_masks: Option<Arc<MaskSet>>,
    /// What becomes of a match in a model's thinking.
    pub thinking: Thinking,
    pub record: Recording,
    /// Larger request bodies are refused with 413, in bytes.
    pub body_bytes_max: u64,
    /// Removed from the front of the path before it goes upstream.
    pub strip_prefix: Option<String>,
    /// Whether an LLM route also forwards paths that are not inference (files, batches, stored objects).
    pub all_paths: bool,
    /// Of the route, its upstream and its masks, as they are configured: an approval is good for no others.
    pub digest: [u8; 32],
    /// Of its policies, as they are configured: what they judged is judged again by others.
    pub rules_digest: [u8; 32],
    /// Whether what was judged in a turn of a conversation is remembered in the next one.
    pub remembers: bool,
}

impl Plan {
    /// Whether a route remembers conversations.
    pub fn remembers(&self) -> bool {
        self.routes.iter().any(|route| route.remembers)
    }
}

impl Route {
    /// The path as the upstream's API knows it: without [`Route::strip_prefix`], whose segments are whole.
    pub fn stripped<'a>(&self, path: &'a str) -> Cow<'a, str> {
        match self.strip_prefix.as_deref().and_then(|prefix| path.strip_prefix(prefix)) {
            Some("") => Cow::Borrowed("/"),
            Some(rest) if rest.starts_with('/') => Cow::Borrowed(rest),
            _ => Cow::Borrowed(path),
        }
    }
}

/// What the journal gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recording {
    /// Nothing; written explicitly by the operator.
    Off,
    /// Every exchange.
    On {
        commit: Commit,
        /// Body bytes kept a direction; zero keeps none, and commits to them all the same.
        body_bytes_max: u64,
    },
}

/// One upstream.
#[derive(Debug)]
pub struct Upstream {
    pub name: Arc<str>,
    /// Unique for ever in this process; pools are keyed by it, so that a changed upstream starts afresh.
    pub key: u64,
    pub protocol: Protocol,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Host name or address, without brackets.
    pub host: String,
    /// Name or address that its certificate must be valid for; mostly the host.
    pub server_name: String,
    pub port: u16,
    /// `Host` header: the host, and the port where it is not the scheme's own.
    pub authority: String,
    /// Path prefix of the URL, without a trailing slash; put in front of every path.
    pub path_prefix: String,
    /// Where connections lead: the host itself, others that stand for it, or the egress proxy.
    pub destinations: Vec<Destination>,
    /// Where the destinations resolved to; kept fresh by `background`. Empty: not resolved yet, or failing.
    pub addresses: Arc<ArcSwap<Vec<SocketAddr>>>,
    /// Why a destination does not resolve, for operators.
    pub resolve_failure: Arc<ArcSwapOption<String>>,
    /// Addresses that names may lead to although nobody means them (SECURITY R11).
    pub allowed: Vec<Network>,
    /// The egress proxy that connections go through.
    pub via: Option<Via>,
    /// What its connections are bounded by, in the whole process.
    pub pool: PoolLimits,
    pub inject: Vec<Injection>,
    /// A short-lived credential that `inject` names, fetched for each exchange.
    pub lease: Option<Arc<LeaseSource>>,
    pub timeouts: Timeouts,
}

impl Upstream {
    /// Whether its answers are searched for what is injected (SECURITY R19).
    pub fn is_scrubbed(&self, secrets: &Slots) -> bool {
        let mut names = self.inject.iter().flat_map(|injection| injection.value().names());
        names.any(|name| match &self.lease {
            Some(lease) if lease.name == *name => lease.scrub == Scrub::On,
            _ => secrets.find(name).is_some_and(|slot| slot.scrub() == Scrub::On),
        })
    }

    /// Names of the secrets and leases that are injected, for the record.
    pub fn secret_names(&self) -> Vec<Arc<str>> {
        self.inject.iter().flat_map(|injection| injection.value().names().cloned()).collect()
    }
}

/// A host and a port to connect to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// A name or an address, without brackets.
    pub host: String,
    pub port: u16,
}

/// An egress proxy that opens tunnels with CONNECT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// The upstream as the proxy is asked for it: `host:port`.
    pub target: String,
    /// What the proxy is told of who we are (`Proxy-Authorization`).
    pub authorization: Option<Template>,
}

/// How long an upstream may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// Until the connection stands, with TLS.
    pub connect: Duration,
    /// From the request's last byte to the response's first.
    pub first_byte: Duration,
    /// Silence within a response.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        use crate::limits::{CONNECT_TIMEOUT, FIRST_BYTE_TIMEOUT, RESPONSE_IDLE_TIMEOUT};
        Timeouts { connect: CONNECT_TIMEOUT, first_byte: FIRST_BYTE_TIMEOUT, idle: RESPONSE_IDLE_TIMEOUT }
    }
}

#[cfg(test)]
impl Upstream {
    /// An upstream for tests: clear text on port 80 of `up.test`, which is not resolved.
    pub fn plain(name: &str) -> Upstream {
        Upstream {
            name: name.into(),
            key: 1,
            protocol: Protocol::Http,
            tls: false,
            host: "up.test".to_owned(),
            port: 80,
            authority: "up.test".to_owned(),
            path_prefix: String::new(),
            server_name: "up.test".to_owned(),
            destinations: vec![Destination { host: "up.test".to_owned(), port: 80 }],
            addresses: Arc::default(),
            resolve_failure: Arc::default(),
            allowed: Vec::new(),
            via: None,
            pool: PoolLimits::default(),
            inject: Vec::new(),
            lease: None,
            timeouts: Timeouts::default(),
        }
    }
}
