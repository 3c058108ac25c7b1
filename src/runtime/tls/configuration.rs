use super::TlsError;
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use std::{cell::RefCell, sync::Arc};

const HTTP_1_1: &[u8] = b"http/1.1";

/// A listener's certificate and settings; cheap to clone, shared by all shards.
#[derive(Clone, Debug)]
pub struct ServerTls(Arc<ServerConfig>);

impl ServerTls {
    /// `chain` holds the certificates in PEM, the server's own first; `key` its private key (PKCS#8, PKCS#1
    /// or SEC1). Speaks TLS 1.2 and 1.3, offers `http/1.1`, and resumes sessions by tickets whose keys live
    /// and change in memory.
    ///
    /// # Errors
    /// [`TlsError::Configuration`] says what is wrong with the PEM, or that key and certificate do not match.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<ServerTls, TlsError> {
        let chain = certificates(chain)?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|error| TlsError::Configuration(format!("no usable private key: {error}")))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(unusable)?;
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
        Ok(ServerTls::from_config(config))
    }

    /// A configuration that was made elsewhere, for example with several certificates. It must be made with
    /// the aws-lc-rs provider.
    pub fn from_config(mut config: ServerConfig) -> ServerTls {
        config.cert_resolver = Arc::new(NameWitness(config.cert_resolver));
        ServerTls(Arc::new(config))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.0)
    }
}

thread_local! {
    static SERVER_NAME: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// rustls' unbuffered connection does not tell the server name that the client asked for, but its certificate
/// resolver is told, on the same thread and within the same call, also when a session is resumed.
#[derive(Debug)]
struct NameWitness(Arc<dyn ResolvesServerCert>);

impl ResolvesServerCert for NameWitness {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        SERVER_NAME.set(hello.server_name().map(str::to_owned));
        self.0.resolve(hello)
    }

    fn only_raw_public_keys(&self) -> bool {
        self.0.only_raw_public_keys()
    }
}

/// The server name that the last processed ClientHello of this thread asked for, in lower case.
pub(super) fn take_server_name() -> Option<String> {
    SERVER_NAME.take()
}

/// Whom we trust when we connect; cheap to clone, shared by all shards.
#[derive(Clone, Debug)]
pub struct ClientTls(Arc<ClientConfig>);

impl ClientTls {
    /// Trusts the system's roots.
    ///
    /// # Errors
    /// [`TlsError::Configuration`] if the system has none.
    pub fn with_system_roots() -> Result<ClientTls, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let cause = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(TlsError::Configuration(format!("the system has no trusted roots{cause}")));
        }
        ClientTls::with_roots(roots)
    }

    /// Trusts the authorities in `roots` (PEM) and nobody else.
    ///
    /// # Errors
    /// [`TlsError::Configuration`] if the PEM holds no certificate or a broken one.
    pub fn with_pem_roots(roots: &[u8]) -> Result<ClientTls, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in certificates(roots)? {
            store.add(certificate).map_err(unusable)?;
        }
        ClientTls::with_roots(store)
    }

    fn with_roots(roots: RootCertStore) -> Result<ClientTls, TlsError> {
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(ClientTls(Arc::new(config)))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.0)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| TlsError::Configuration(format!("broken PEM: {error}")))?;
    if chain.is_empty() {
        return Err(TlsError::Configuration("the PEM holds no certificate".to_owned()));
    }
    Ok(chain)
}

fn unusable(error: rustls::Error) -> TlsError {
    TlsError::Configuration(error.to_string())
}
