//! Listeners: their certificates, and which of them a client gets.

use super::{Certificate, TlsError, Version, certificate::wildcard, certificates, provider, unusable};
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{cell::RefCell, collections::HashMap, sync::Arc};

/// A certificate chain in PEM, the server's own first, and its private key (PKCS#8, PKCS#1 or SEC1).
#[derive(Clone, Copy, Debug)]
pub struct Pem<'a> {
    pub chain: &'a [u8],
    pub key: &'a [u8],
}

/// What a client gets that asks for a name which no certificate covers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownName {
    /// The first certificate.
    #[default]
    First,
    /// An alert. A client that asks for no name gets the first certificate all the same.
    Refused,
}

/// A listener's certificates and settings; cheap to clone, shared by all shards.
#[derive(Clone, Debug)]
pub struct ServerTls {
    config: Arc<ServerConfig>,
    certificates: Arc<[Certificate]>,
}

impl ServerTls {
    /// One certificate for everybody, TLS 1.2 and 1.3.
    ///
    /// # Errors
    /// As [`ServerTls::new`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<ServerTls, TlsError> {
        ServerTls::new(&[Pem { chain, key }], UnknownName::First, Version::Tls12)
    }

    /// Takes the certificates in their order: of those that cover the name that a client asks for the first
    /// that its algorithms allow. Offers `http/1.1`, takes no early data (it can be replayed), and resumes
    /// sessions by tickets whose keys live and change in memory (RFC 5077, RFC 8446 section 4.6.1), or by
    /// identifiers for TLS 1.2 clients without tickets.
    ///
    /// # Errors
    /// [`TlsError::Configuration`] says what is wrong with the PEM, or that key and certificate do not match.
    pub fn new(pems: &[Pem<'_>], unknown: UnknownName, oldest: Version) -> Result<ServerTls, TlsError> {
        let provider = provider();
        let mut resolver = Resolver { unknown, ..Resolver::default() };
        let mut facts = Vec::new();
        for pem in pems {
            let chain = certificates(pem.chain)?;
            let key = PrivateKeyDer::from_pem_slice(pem.key)
                .map_err(|error| TlsError::Configuration(format!("no usable private key: {error}")))?;
            let certificate = Certificate::parse(&chain[0])
                .ok_or_else(|| TlsError::Configuration("the first certificate is none".to_owned()))?;
            let key = CertifiedKey::from_der(chain, key, &provider).map_err(unusable)?;
            resolver.add(key, &certificate);
            facts.push(certificate);
        }
        if facts.is_empty() {
            return Err(TlsError::Configuration("there is no certificate".to_owned()));
        }
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(oldest.and_newer())
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![super::HTTP_1_1.to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        Ok(ServerTls { config: Arc::new(config), certificates: facts.into() })
    }

    /// The same with the ticket keys and sessions of `previous`, so that a reload makes no client negotiate
    /// anew.
    #[must_use]
    pub fn resuming(self, previous: &ServerTls) -> ServerTls {
        let mut config = (*self.config).clone();
        config.ticketer = previous.config.ticketer.clone();
        config.session_storage = previous.config.session_storage.clone();
        ServerTls { config: Arc::new(config), ..self }
    }

    /// What the certificates say, in their order.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.config)
    }
}

/// What the last ClientHello of this thread asked for.
pub(super) struct Seen {
    /// In lower case.
    pub name: String,
    pub refused: bool,
}

thread_local! {
    static SEEN: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// rustls' unbuffered connection does not tell the server name that the client asked for, but its certificate
/// resolver is told, on the same thread and within the same call, also when a session is resumed.
pub(super) fn take_server_name() -> Option<Seen> {
    SEEN.take()
}

/// Finds the certificate for a name.
#[derive(Debug, Default)]
struct Resolver {
    keys: Vec<Arc<CertifiedKey>>,
    /// Their indices, for who asks for no name.
    all: Vec<usize>,
    /// Indices into `keys`, by the whole name.
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind `*.`.
    below: HashMap<String, Vec<usize>>,
    unknown: UnknownName,
}

impl Resolver {
    fn add(&mut self, key: CertifiedKey, certificate: &Certificate) {
        for name in &certificate.dns_names {
            let (map, name) = match wildcard(name) {
                Some(suffix) => (&mut self.below, suffix),
                None => (&mut self.exact, name.as_str()),
            };
            map.entry(name.to_owned()).or_default().push(self.keys.len());
        }
        self.all.push(self.keys.len());
        self.keys.push(Arc::new(key));
    }

    /// The certificates that cover a name: those that say it, else those that say a wildcard.
    fn find(&self, name: &str) -> Option<&[usize]> {
        let wildcard = || self.below.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(wildcard).map(Vec::as_slice)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name().map(str::to_ascii_lowercase);
        let found = name.as_deref().and_then(|name| self.find(name));
        let refused = name.is_some() && found.is_none() && self.unknown == UnknownName::Refused;
        SEEN.set(name.map(|name| Seen { name, refused }));
        if refused {
            return None;
        }
        let candidates = found.unwrap_or(&self.all);
        let usable =
            |index: &&usize| self.keys[**index].key.choose_scheme(hello.signature_schemes()).is_some();
        let chosen = candidates.iter().find(usable).or(candidates.first())?;
        self.keys.get(*chosen).cloned()
    }
}
