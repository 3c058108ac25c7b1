//! Whom the load goes to: addresses, names, and how TLS is spoken there.

use crate::exit::Failure;
use rustls::{
    ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::Path,
    sync::Arc,
};

/// An `http` or `https` URL, in the parts that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    pub port: u16,
    /// What the `Host` field says.
    pub authority: String,
    /// Path and query; `/` where there is none.
    pub path: String,
}

impl Url {
    /// # Errors
    /// What is wrong with it, without the URL.
    pub fn parse(text: &str) -> Result<Url, String> {
        let (scheme, rest) = text.split_once("://").ok_or("write a URL such as http://127.0.0.1:8080/")?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            other => return Err(format!("`{other}` is no scheme that is spoken here: http or https is")),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if authority.contains('@') {
            return Err("a URL holds no user and password here: use --auth or --header".to_owned());
        }
        if rest.bytes().any(|byte| byte <= b' ' || byte >= 0x7f) {
            return Err("a URL holds printable ASCII only: write the rest as %xx".to_owned());
        }
        let (host, port) = host_and_port(authority, tls)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        Ok(Url { tls, host, port, authority: authority.to_owned(), path })
    }

    /// `host:port`, for messages.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The addresses that the name has now.
    ///
    /// # Errors
    /// It has none: exit code 5.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, Failure> {
        let found = (self.host.as_str(), self.port).to_socket_addrs();
        let found: Vec<SocketAddr> = found
            .map_err(|error| Failure::unreachable(format!("{}: {error}: check the name", self.place())))?
            .collect();
        if found.is_empty() {
            return Err(Failure::unreachable(format!("{}: the name has no address", self.place())));
        }
        Ok(found)
    }
}

fn host_and_port(authority: &str, tls: bool) -> Result<(String, u16), String> {
    let default = if tls { 443 } else { 80 };
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, behind) = rest.split_once(']').ok_or("an IPv6 address ends with `]`")?;
            (host, behind.strip_prefix(':'))
        }
        None => match authority.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("the URL names no host".to_owned());
    }
    let port = match port {
        None => default,
        Some(port) => port.parse().ok().filter(|port| *port > 0).ok_or("a port is 1 to 65535")?,
    };
    Ok((host.to_owned(), port))
}

/// How certificates are judged.
///
/// # Errors
/// The file cannot be read or holds no certificate: exit code 2.
pub fn tls(ca: Option<&Path>, insecure: bool) -> Result<Arc<ClientConfig>, Failure> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Failure::failed(format!("TLS: {error}")))?;
    let mut config = if insecure {
        let verifier = Arc::new(Unverified(provider));
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    } else {
        builder.with_root_certificates(roots(ca)?).with_no_client_auth()
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn roots(ca: Option<&Path>) -> Result<RootCertStore, Failure> {
    let mut roots = RootCertStore::empty();
    let Some(path) = ca else {
        // What the system has and cannot be read is not there.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok(roots);
    };
    let wrong = |what: &dyn std::fmt::Display| {
        Failure::usage(format!("--ca {}: {what}: give a file of certificates in PEM", path.display()))
    };
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))? {
        let added = certificate.map_err(|error| wrong(&error)).map(|one| roots.add(one))?;
        added.map_err(|error| wrong(&error))?;
    }
    if roots.is_empty() { Err(wrong(&"no certificate in it")) } else { Ok(roots) }
}

/// The name that a certificate has to be for.
///
/// # Errors
/// The host is none: exit code 2.
pub fn server_name(url: &Url) -> Result<ServerName<'static>, Failure> {
    ServerName::try_from(url.host.clone())
        .map_err(|_| Failure::usage(format!("{}: no name that a certificate could be for", url.host)))
}

/// Takes any certificate, as `--insecure` says; signatures are checked all the same.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

impl ServerCertVerifier for Unverified {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let check = |text: &str, tls: bool, host: &str, port: u16, path: &str| {
            let url = Url::parse(text).expect(text);
            let found = (url.tls, url.host.as_str(), url.port, url.path.as_str());
            assert_eq!(found, (tls, host, port, path), "{text}");
        };
        check("http://localhost", false, "localhost", 80, "/");
        check("HTTPS://gw.example:8443/a?b=c#d", true, "gw.example", 8443, "/a?b=c");
        check("http://[::1]:81?x", false, "::1", 81, "/?x");
        for text in [
            "localhost",
            "ftp://x/",
            "http://",
            "http://u:p@h/",
            "http://h:0/",
            "http://h:x/",
            "http://[::1/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(Url::parse("http://h/ä b").is_err());
    }
}
