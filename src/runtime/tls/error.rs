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
    /// The peer speaks no version, no cipher or no signature of ours.
    #[error("nothing in common: {0}")]
    Incompatible(String),
    /// A client speaks HTTP without TLS; it was answered with 400.
    #[error("HTTP where TLS is spoken")]
    ClearText,
    /// A client asks for this name, which no certificate covers and which is refused.
    #[error("no certificate for the name {0:?}")]
    UnknownName(String),
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

impl TlsError {
    /// A word for labels.
    pub fn reason(&self) -> &'static str {
        match self {
            TlsError::Certificate(_) => "certificate",
            TlsError::Refused(_) => "alert",
            TlsError::Incompatible(_) => "incompatible",
            TlsError::ClearText => "clear_text",
            TlsError::UnknownName(_) => "unknown_name",
            TlsError::Protocol(_) => "protocol",
            TlsError::Io(_) => "closed",
            TlsError::TimedOut => "timeout",
            TlsError::Configuration(_) => "configuration",
        }
    }
}

impl From<rustls::Error> for TlsError {
    fn from(error: rustls::Error) -> TlsError {
        match error {
            rustls::Error::InvalidCertificate(error) => TlsError::Certificate(certificate_reason(&error)),
            rustls::Error::NoCertificatesPresented => {
                TlsError::Certificate("the peer presented none".to_owned())
            }
            rustls::Error::PeerIncompatible(why) => TlsError::Incompatible(format!("{why:?}")),
            rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType) => {
                TlsError::Protocol("the peer speaks no TLS; if that is meant, write http://".to_owned())
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
            format!("it has expired ({error}): the server needs a new one")
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            format!("it is not valid yet ({error}): look at the clocks of both hosts")
        }
        CertificateError::UnknownIssuer => {
            "unknown issuer: no chain leads to a trusted root; name the authority in `tls.ca`".to_owned()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("wrong name ({error}): if the server has another name, write it as `tls.server_name`")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            format!("wrong purpose ({error}): it needs the extended key usage `serverAuth`")
        }
        CertificateError::BadSignature => {
            "it is not signed by the trusted authority of that name (bad signature): renew `tls.ca`"
                .to_owned()
        }
        other => other.to_string(),
    }
}
