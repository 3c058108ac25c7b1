//! Certificates and keys.

use super::Compiler;
use crate::config::tree::{Path, at};
use crate::config::{
    CaSource, KeySource, ListenTls, Listener, ServerTls as Pair, TlsVersion, UNREADABLE_FILE, UnknownSni,
};
use crate::limits::CERTIFICATE_WARNING;
use crate::runtime;
use crate::runtime::tls::{Certificate, ClientTls, Pem, ServerTls, UnknownName, Version};
use crate::time::Timestamp;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Largest certificate or key file.
const PEM_BYTES_MAX: u64 = 1 << 20;

impl Compiler<'_> {
    /// Reads the certificates and keys of the listener called `name` and tries them.
    pub(super) fn listen_tls(&mut self, path: &Path, name: &str, written: &ListenTls) -> Option<ServerTls> {
        let single = match (&written.cert, &written.key) {
            (Some(cert), Some(key)) => Some((path.clone(), Pair { cert: cert.clone(), key: key.clone() })),
            _ => None,
        };
        let several = written.certs.iter().enumerate();
        let several =
            several.map(|(index, pair)| ([path.clone(), at!["certs", index]].concat(), pair.clone()));
        let mut pems = Vec::new();
        for (path, pair) in single.into_iter().chain(several) {
            pems.push((self.server_pem(&path, &pair)?, path));
        }
        for (pem, path) in &pems {
            self.usable(path, &pem.0, &pem.1)?;
        }
        let pems: Vec<Pem<'_>> = pems.iter().map(|((chain, key), _)| Pem { chain, key }).collect();
        let unknown = match written.unknown_sni {
            UnknownSni::Default => UnknownName::First,
            UnknownSni::Reject => UnknownName::Refused,
        };
        match ServerTls::new(&pems, unknown, version(written.min_version)) {
            Ok(tls) => {
                let listeners = self.previous.into_iter().flat_map(|previous| &previous.listeners);
                let before =
                    listeners.filter(|listener| *listener.name == *name).find_map(|one| one.tls.as_ref());
                Some(before.map_or_else(|| tls.clone(), |before| tls.clone().resuming(before)))
            }
            Err(error) => {
                self.error(path, "tls", error.to_string(), "");
                None
            }
        }
    }

    /// Tries a certificate and its key.
    pub(super) fn usable(&mut self, path: &Path, chain: &[u8], key: &[u8]) -> Option<()> {
        let Err(error) = ServerTls::from_pem(chain, key) else { return Some(()) };
        let help = "the certificate and its key must be in PEM and belong together";
        self.error(path, "tls", error.to_string(), help);
        None
    }

    /// Warns of what keeps clients from accepting a certificate, now or soon.
    pub(super) fn check_certificates(&mut self, listeners: &[Listener]) {
        let now = i64::try_from(runtime::now().wall.0 / 1_000_000).unwrap_or(i64::MAX);
        for (index, listener) in listeners.iter().enumerate() {
            let Some(tls) = &listener.tls else { continue };
            let single = self
                .document
                .listen
                .get(index)
                .is_some_and(|one| one.tls.as_ref().is_some_and(|tls| tls.cert.is_some()));
            for (number, certificate) in tls.certificates().iter().enumerate() {
                // The single one comes first.
                let path = match number.checked_sub(usize::from(single)) {
                    None => at!["listen", index, "tls", "cert"],
                    Some(number) => at!["listen", index, "tls", "certs", number, "cert"],
                };
                self.check_certificate(&path, certificate, now);
            }
            self.check_hosts(&listener.name, tls.certificates());
        }
    }

    fn check_certificate(&mut self, path: &Path, certificate: &Certificate, now: i64) {
        let name = certificate.name_shown();
        let date = |seconds: i64| Timestamp(u64::try_from(seconds).unwrap_or(0) * 1_000_000);
        let end = date(certificate.not_after);
        let soon = CERTIFICATE_WARNING.as_secs().cast_signed();
        if certificate.not_after < now {
            let message = format!("the certificate of {name} has expired on {end}: no client accepts it");
            self.warning(path, "certificate", message, "renew it, then `ringward reload`");
        } else if certificate.not_after < now + soon {
            let days = (certificate.not_after - now) / 86_400;
            let message = format!("the certificate of {name} expires on {end}, in {days} days");
            self.warning(path, "certificate", message, "renew it, then `ringward reload`");
        }
        if certificate.not_before > now {
            let message =
                format!("the certificate of {name} is not valid before {}", date(certificate.not_before));
            self.warning(path, "certificate", message, "look at the clock of this host");
        }
        if certificate.dns_names.is_empty() && certificate.addresses.is_empty() {
            let message = format!("the certificate of {name} names no host: no client accepts it");
            self.warning(path, "certificate", message, "have one issued with a subjectAltName");
        }
    }

    /// Hosts that routes wait for on a listener must be in its certificates, or nobody gets that far.
    fn check_hosts(&mut self, listener: &str, certificates: &[Certificate]) {
        let document = self.document;
        for (index, route) in document.route.iter().enumerate() {
            let here = route.matching.listen.as_deref().is_none_or(|name| name == listener);
            let Some(host) = route.matching.host.as_deref().filter(|_| here) else { continue };
            // Any name below stands for all of them.
            let host = host.to_ascii_lowercase().replacen("*.", "any.", 1);
            if !certificates.iter().any(|certificate| certificate.covers(&host)) {
                let message = format!("no certificate of the listener `{listener}` covers this host");
                let help = "add one to its `tls.certs`; its clients refuse the connection otherwise";
                self.warning(&at!["route", index, "match", "host"], "certificate", message, help);
            }
        }
    }

    /// The certificate chain and the key as they stand in their files.
    pub(super) fn server_pem(
        &mut self,
        path: &Path,
        written: &Pair,
    ) -> Option<(Vec<u8>, Zeroizing<Vec<u8>>)> {
        let chain = self.pem(&[path.clone(), at!["cert"]].concat(), &written.cert, false);
        let key = self.pem(&[path.clone(), at!["key"]].concat(), &written.key, true);
        Some((chain?.to_vec(), key?))
    }

    fn pem(&mut self, path: &Path, source: &KeySource, secret: bool) -> Option<Zeroizing<Vec<u8>>> {
        let file = match source {
            KeySource::File(file) => self.base.join(file),
            KeySource::Credential(name) => match &self.host.credentials {
                Some(directory) => directory.join(name),
                None => {
                    let message =
                        "there is no $CREDENTIALS_DIRECTORY: systemd sets it for units with credentials";
                    self.error(
                        path,
                        "credential",
                        message,
                        "add LoadCredential= to the unit, or use { file = … }",
                    );
                    return None;
                }
            },
        };
        self.read(path, &file, secret)
    }

    /// Reads a file; one that holds a secret must not be readable by every user.
    pub(super) fn read(&mut self, path: &Path, file: &PathBuf, secret: bool) -> Option<Zeroizing<Vec<u8>>> {
        let shown = file.display();
        let metadata = match fs::metadata(file) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.error(path, UNREADABLE_FILE, format!("cannot read {shown}: {error}"), "");
                return None;
            }
        };
        let mode = metadata.permissions().mode();
        if secret && mode & 0o007 != 0 {
            let message = format!("every user of this host can use {shown} (mode {:04o})", mode & 0o7777);
            self.error(path, "world-readable", message, &format!("chmod 600 {shown}"));
            return None;
        }
        if !metadata.is_file() || metadata.len() > PEM_BYTES_MAX {
            let message = format!("{shown} is not a regular file of at most {PEM_BYTES_MAX} bytes");
            self.error(path, UNREADABLE_FILE, message, "");
            return None;
        }
        match fs::read(file) {
            Ok(bytes) => Some(Zeroizing::new(bytes)),
            Err(error) => {
                self.error(path, UNREADABLE_FILE, format!("cannot read {shown}: {error}"), "");
                None
            }
        }
    }

    /// Reads authorities and tries them.
    pub(super) fn authorities(&mut self, path: &Path, ca: &CaSource) -> Option<Arc<[u8]>> {
        let path = [path.clone(), at!["tls", "ca", "file"]].concat();
        let pem = self.read(&path, &self.base.join(&ca.file), false)?;
        match ClientTls::with_pem_roots(&pem, Version::default()) {
            Ok(_) => Some(pem.as_slice().into()),
            Err(error) => {
                self.error(&path, "tls", error.to_string(), "name a file with certificates in PEM");
                None
            }
        }
    }

    /// The authorities of the issuers, in their order. What one table says of an issuer holds for all of it:
    /// its keys are fetched once.
    pub(super) fn issuer_roots(&mut self) -> Vec<Option<Arc<[u8]>>> {
        let document = self.document;
        let mut all = Vec::new();
        for (index, identity) in document.identity.iter().enumerate() {
            let own = identity.tls.as_ref().map(|tls| self.authorities(&at!["identity", index], &tls.ca));
            all.push((identity.issuer.as_str(), own.flatten()));
        }
        let of =
            |issuer: &str| all.iter().filter(|(other, _)| *other == issuer).find_map(|(_, own)| own.clone());
        document.identity.iter().map(|identity| of(&identity.issuer)).collect()
    }
}

/// The version as the TLS layer knows it.
pub(super) fn version(written: TlsVersion) -> Version {
    match written {
        TlsVersion::Tls12 => Version::Tls12,
        TlsVersion::Tls13 => Version::Tls13,
    }
}
