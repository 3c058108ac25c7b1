//! The HTTP client of the background: one TLS configuration, no redirects, no proxies, no surprises.

use crate::{identity::Issuer, limits::CONNECT_TIMEOUT};
use reqwest::redirect::Policy;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use std::sync::{Arc, Mutex, PoisonError};

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A configured CA that is none; the operator is at fault.
    #[error("a configured CA certificate cannot be used: {0}")]
    Root(rustls::Error),
    /// The TLS configuration is not accepted.
    #[error("the TLS configuration is refused: {0}")]
    Tls(rustls::Error),
    /// The client cannot be built.
    #[error("the HTTP client cannot be built")]
    Build,
}

/// A client that trusts the authorities in `roots` (PEM) and nobody else; without them the system's.
/// Redirects are answers like any other (SECURITY R12), proxies of the environment are ignored, nothing is
/// repeated on its own.
///
/// # Errors
/// See [`Error`]; the operator is at fault.
pub fn client(roots: Option<&[u8]>) -> Result<reqwest::Client, Error> {
    builder(roots)?.build().map_err(|_| Error::Build)
}

/// The same before it is built.
///
/// # Errors
/// As [`client`].
pub fn builder(roots: Option<&[u8]>) -> Result<reqwest::ClientBuilder, Error> {
    let mut store = RootCertStore::empty();
    match roots {
        None => drop(store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
        Some(pem) => {
            for root in CertificateDer::pem_slice_iter(pem) {
                let root = root.map_err(|_| Error::Root(rustls::CertificateError::BadEncoding.into()))?;
                store.add(root).map_err(Error::Root)?;
            }
        }
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(store)
        .with_no_client_auth();
    Ok(reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION"))))
}

/// One client for each set of authorities, so that no endpoint trusts those of another. Cheap to clone;
/// clones share the clients.
#[derive(Clone, Debug, Default)]
pub struct Clients(Arc<Mutex<Vec<Trusting>>>);

/// The authorities in PEM, and the client that trusts them.
type Trusting = (Option<Arc<[u8]>>, reqwest::Client);

impl Clients {
    /// The client that trusts `roots` (PEM), or the system's.
    ///
    /// # Errors
    /// As [`client`].
    pub fn trusting(&self, roots: Option<&Arc<[u8]>>) -> Result<reqwest::Client, Error> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, http)) = known.iter().find(|(trusted, _)| trusted.as_ref() == roots) {
            return Ok(http.clone());
        }
        let http = client(roots.map(|pem| &**pem))?;
        known.push((roots.cloned(), http.clone()));
        Ok(http)
    }

    /// Gives the client for each of `issuers`, whose authorities are in `roots` in the same order.
    ///
    /// # Errors
    /// As [`client`].
    pub fn of_issuers(
        &self,
        issuers: &[Arc<Issuer>],
        roots: &[Option<Arc<[u8]>>],
    ) -> Result<impl Fn(&Issuer) -> reqwest::Client + use<>, Error> {
        let system = self.trusting(None)?;
        let mut known = Vec::new();
        for (issuer, roots) in issuers.iter().zip(roots) {
            known.push((issuer.url().clone(), self.trusting(roots.as_ref())?));
        }
        Ok(move |issuer: &Issuer| {
            let own = known.iter().find(|(url, _)| url == issuer.url());
            own.map_or_else(|| system.clone(), |(_, http)| http.clone())
        })
    }

    /// Forgets all clients: the system's authorities may have changed, and configured ones are replaced.
    pub fn renew(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
