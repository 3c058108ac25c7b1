//! Certificates and keys.

use super::Compiler;
use crate::config::tree::{Path, at};
use crate::config::{KeySource, ServerTls as Written, UNREADABLE_FILE};
use crate::runtime::tls::ServerTls;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Largest certificate or key file.
const PEM_BYTES_MAX: u64 = 1 << 20;

impl Compiler<'_> {
    /// Reads certificate and key and tries them.
    pub(super) fn server_tls(&mut self, path: &Path, written: &Written) -> Option<ServerTls> {
        let (chain, key) = self.server_pem(path, written)?;
        match ServerTls::from_pem(&chain, &key) {
            Ok(tls) => Some(tls),
            Err(error) => {
                let help = "the certificate and its key must be in PEM and belong together";
                self.error(path, "tls", error.to_string(), help);
                None
            }
        }
    }

    /// The certificate chain and the key as they stand in their files.
    pub(super) fn server_pem(
        &mut self,
        path: &Path,
        written: &Written,
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

    /// The authorities of issuers and token endpoints.
    pub(super) fn roots(&mut self) -> Vec<CertificateDer<'static>> {
        let document = self.document;
        let issuers = document.identity.iter().enumerate();
        let issuers = issuers.filter_map(|(index, one)| Some((at!["identity", index], one.tls.as_ref()?)));
        let leases = document.secrets.iter().filter_map(|(name, secret)| match &secret.source {
            crate::config::Source::Exchange(exchange) => {
                Some((at!["secrets", name, "source"], exchange.tls.as_ref()?))
            }
            _ => None,
        });
        let mut roots = Vec::new();
        for (path, tls) in issuers.chain(leases).collect::<Vec<_>>() {
            let path = [path, at!["tls", "ca", "file"]].concat();
            let Some(pem) = self.read(&path, &self.base.join(&tls.ca.file), false) else { continue };
            let certificates = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
            match certificates {
                Ok(found) if !found.is_empty() => roots.extend(found),
                _ => self.error(&path, "tls", "this file holds no certificate in PEM", ""),
            }
        }
        roots
    }
}
