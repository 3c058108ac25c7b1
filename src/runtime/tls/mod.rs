//! TLS for [`Connection`]: rustls through its unbuffered API, full duplex, one crypto backend (aws-lc-rs).
//!
//! This is not certificate management: it takes PEM bytes and gives connections or reasons.
//!
//! Start with [`Connection::accept_tls`] and [`Connection::connect_tls`]. `session` is the state of one
//! connection without sockets; `stream` carries it: the reader owns the ciphertext that comes in, the writer
//! the socket's sending half, and what a read makes us say (tickets, key updates, alerts) is sent by whoever
//! holds that half, never by two at a time.
//!
//! Copies of a byte, all of them counted (`path="tls_read"`, `"tls_written"`): two when it is read (rustls
//! decrypts in the received buffer but hands records out of memory of its own; then into the chunk), and
//! two when it is written (into the record that rustls encrypts in place, and out of that into the one buffer
//! that a write sends). Small slices are joined before (`"coalesced"`), and what is left of a record that a
//! read has cut is copied in front of the next read.
//!
//! [`Connection`]: super::Connection

mod certificate;
mod ciphertext;
mod client;
mod error;
mod handshake;
mod server;
mod session;
pub(super) mod stream;

pub use certificate::Certificate;
pub use client::ClientTls;
pub use error::TlsError;
pub use handshake::TlsInfo;
pub use server::{Pem, ServerTls, UnknownName};

use rustls::{
    SupportedProtocolVersion,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, pem::PemObject},
    version::{TLS12, TLS13},
};
use std::sync::Arc;

/// Newest first.
static ALL_VERSIONS: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];
const HTTP_1_1: &[u8] = b"http/1.1";

/// A version of TLS that may be spoken; older ones are not (RFC 8996).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    #[default]
    Tls12,
    Tls13,
}

impl Version {
    fn and_newer(self) -> &'static [&'static SupportedProtocolVersion] {
        match self {
            Version::Tls12 => ALL_VERSIONS,
            Version::Tls13 => &ALL_VERSIONS[..1],
        }
    }
}

/// aws-lc-rs with AES-128 before AES-256: as strong for our purpose, and a fifth cheaper. A client of ours
/// has its own order respected.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| {
        let name = format!("{:?}", suite.suite());
        let is_tls12 = suite.tls13().is_none();
        // ECDSA before RSA, as it was; then AES-128, AES-256, ChaCha20.
        let cipher = ["AES_128", "AES_256"].iter().position(|cipher| name.contains(cipher)).unwrap_or(2);
        (is_tls12, name.contains("_RSA_WITH"), cipher)
    });
    Arc::new(provider)
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

#[cfg(test)]
mod tests {
    use super::provider;

    #[test]
    fn cheap_ciphers_are_offered_first() {
        let suites: Vec<String> =
            provider().cipher_suites.iter().map(|suite| format!("{:?}", suite.suite())).collect();
        assert_eq!(suites.len(), 9);
        assert_eq!(suites[..2], ["TLS13_AES_128_GCM_SHA256", "TLS13_AES_256_GCM_SHA384"]);
        assert_eq!(suites[3], "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(suites[6], "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
    }
}
