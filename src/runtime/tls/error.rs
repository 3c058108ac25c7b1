use rustls::CertificateError;
use std::io;

/// Why a TLS connection or its configuration failed.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// We refuse the peer's certificate: the peer's or the operator's fault. Holds the reason.
    #[error("certificate refused: {0}")]
    Certificate(String),
    /// The peer refused us with this alert.
    #[error("the peer refused with the alert {0}")]
    Refused(String),
    /// The peer does not speak TLS, or not as we do.
    #[error("TLS failed: {0}")]
    Protocol(String),
    /// The connection failed or ended in the middle of the handshake.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The handshake took too long.
    #[error("the TLS handshake took too long")]
    TimedOut,
    /// Certificate, key, roots or server name cannot be used: the operator's fault.
    #[error("{0}")]
    Configuration(String),
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InvalidCertificate(error) => TlsError::Certificate(certificate_reason(&error)),
            rustls::Error::NoCertificatesPresented => {
                TlsError::Certificate("the peer presented none".to_owned())
            }
            rustls::Error::AlertReceived(alert) => TlsError::Refused(format!("{alert:?}")),
            other => TlsError::Protocol(other.to_string()),
        }
    }
}

/// Says what is wrong so that an operator knows what to change.
fn certificate_reason(error: &CertificateError) -> String {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            format!("it has expired ({error})")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("it is not valid yet ({error})")
        }
        CertificateError::UnknownIssuer => "unknown issuer: it is self-signed, or the authority that signed \
             it is not among the trusted roots"
            .to_owned(),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("wrong name ({error})")
        }
        CertificateError::BadSignature => {
            "it is not signed by the trusted authority of that name (bad signature)".to_owned()
        }
        other => other.to_string(),
    }
}
