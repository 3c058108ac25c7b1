//! The HTTP client of the background: one TLS configuration, no redirects, no proxies, no surprises.

use crate::limits::CONNECT_TIMEOUT;
use reqwest::redirect::Policy;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs};
use std::sync::Arc;

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

/// A client that trusts the system's roots and `roots`. Redirects are answers like any other (SECURITY R12),
/// proxies of the environment are ignored, nothing is repeated on its own.
///
/// # Errors
/// See [`Error`]; the operator is at fault.
pub fn client(roots: &[CertificateDer<'static>]) -> Result<reqwest::Client, Error> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in roots {
        store.add(root.clone()).map_err(Error::Root)?;
    }
    let tls = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(Error::Tls)?
        .with_root_certificates(store)
        .with_no_client_auth();
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
        .referer(false)
        .connect_timeout(CONNECT_TIMEOUT)
        .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|_| Error::Build)
}
