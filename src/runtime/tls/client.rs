//! Upstreams: whom we trust, and why we do not trust somebody.

use super::{Certificate, TlsError, Version, certificate::common_name, certificates, provider, unusable};
use crate::limits;
use aws_lc_rs::digest::{Context, SHA256};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{cell::RefCell, sync::Arc};

/// Whom we trust when we connect; cheap to clone, shared by all shards. Clones share the sessions that are
/// resumed.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    fingerprint: [u8; 32],
}

impl ClientTls {
    /// Trusts the system's roots.
    ///
    /// # Errors
    /// [`TlsError::Configuration`] if the system has none.
    pub fn with_system_roots(oldest: Version) -> Result<ClientTls, TlsError> {
        let found = rustls_native_certs::load_native_certs();
        if found.certs.is_empty() {
            let cause = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
            return Err(TlsError::Configuration(format!("the system has no trusted roots{cause}")));
        }
        // What the system has beside them may be too old to be read.
        Ok(ClientTls::with_roots(&found.certs, oldest)?.0)
    }

    /// Trusts the authorities in `roots` (PEM) and nobody else.
    ///
    /// # Errors
    /// [`TlsError::Configuration`] if the PEM holds no certificate or a broken one.
    pub fn with_pem_roots(roots: &[u8], oldest: Version) -> Result<ClientTls, TlsError> {
        let roots = certificates(roots)?;
        let (client, added) = ClientTls::with_roots(&roots, oldest)?;
        if added < roots.len() {
            return Err(TlsError::Configuration(
                "the PEM holds a certificate that cannot be used".to_owned(),
            ));
        }
        Ok(client)
    }

    /// Whether both trust the same authorities in the same way.
    pub fn trusts_as(&self, other: &ClientTls) -> bool {
        self.fingerprint == other.fingerprint
    }

    /// Also gives the number of roots that can be used.
    fn with_roots(
        roots: &[CertificateDer<'static>],
        oldest: Version,
    ) -> Result<(ClientTls, usize), TlsError> {
        let mut store = RootCertStore::empty();
        let mut fingerprint = Context::new(&SHA256);
        fingerprint.update(&[oldest as u8]);
        for root in roots {
            fingerprint.update(&(root.len() as u64).to_le_bytes());
            fingerprint.update(root);
        }
        let (added, _) = store.add_parsable_certificates(roots.iter().cloned());
        if added == 0 {
            return Err(TlsError::Configuration("none of the trusted roots can be used".to_owned()));
        }
        let subjects = store.roots.iter().map(|root| root.subject.to_vec()).collect();
        let provider = provider();
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone())
            .build()
            .map_err(|error| TlsError::Configuration(error.to_string()))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(oldest.and_newer())
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Explaining { inner, subjects }))
            .with_no_client_auth();
        config.alpn_protocols = vec![super::HTTP_1_1.to_vec()];
        config.resumption = Resumption::in_memory_sessions(limits::TLS_CLIENT_SESSIONS);
        let fingerprint = fingerprint.finish().as_ref().try_into().unwrap_or_default();
        Ok((ClientTls { config: Arc::new(config), fingerprint }, added))
    }

    pub(super) fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }
}

thread_local! {
    /// What is wrong with the certificate that this thread has refused last.
    static REFUSED: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The error of a handshake, with what is known of a refused certificate.
pub(super) fn explained(error: Error) -> TlsError {
    match (REFUSED.take(), error) {
        (Some(reason), Error::InvalidCertificate(_)) => TlsError::Certificate(reason),
        (_, error) => error.into(),
    }
}

/// The usual verifier, and words for an operator: rustls says `UnknownIssuer` for three different mistakes.
#[derive(Debug)]
struct Explaining {
    inner: Arc<WebPkiServerVerifier>,
    /// Those of the trusted roots.
    subjects: Vec<Vec<u8>>,
}

impl Explaining {
    fn unknown_issuer(&self, own: &CertificateDer<'_>, sent: &[CertificateDer<'_>]) -> Option<String> {
        let mut last = Certificate::parse(own)?;
        if last.is_self_issued() {
            return Some(
                "unknown issuer: it is self-signed; name it in `tls.ca`, or have an authority issue one"
                    .to_owned(),
            );
        }
        let sent: Vec<Certificate> = sent.iter().filter_map(|der| Certificate::parse(der)).collect();
        for _ in 0..sent.len() {
            match sent.iter().find(|one| one.subject == last.issuer) {
                Some(issuer) if !last.is_self_issued() => last = issuer.clone(),
                _ => break,
            }
        }
        let authority = common_name(&last.issuer).unwrap_or_else(|| "an authority without a name".to_owned());
        if self.subjects.contains(&last.issuer) {
            return None;
        }
        Some(match sent.len() {
            0 => format!(
                "unknown issuer: \"{authority}\" is not among the trusted roots, and the server sends an \
                 incomplete chain, its own certificate alone: let it send the intermediate ones too, or name \
                 the authority in `tls.ca`"
            ),
            _ => format!(
                "unknown issuer: its chain leads to \"{authority}\", which is not among the trusted roots: \
                 name that authority in `tls.ca`"
            ),
        })
    }
}

impl ServerCertVerifier for Explaining {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let result = self.inner.verify_server_cert(own, sent, name, ocsp, now);
        let unknown = matches!(&result, Err(Error::InvalidCertificate(CertificateError::UnknownIssuer)));
        REFUSED.set(if unknown { self.unknown_issuer(own, sent) } else { None });
        result
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
