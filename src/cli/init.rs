//! `ringward init`.

use super::{exit, output::Output};
use clap::Args;
use rcgen::{CertificateParams, DnType, KeyPair};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Write a commented configuration, keys and a development certificate
#[derive(Debug, Args)]
pub(super) struct Command {
    /// Directory to write into; it is created
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// For the systemd unit: state in /var/lib/ringward, the admin socket in /run/ringward, and keys that the
    /// group of the directory may read
    #[arg(long)]
    service: bool,
    /// Only say what would be written
    #[arg(long)]
    dry_run: bool,
}

const CONFIG: &str = include_str!("init.toml");
const PLACEHOLDER: &str = "replace-me-with-the-api-key\n";

struct File {
    name: &'static str,
    about: &'static str,
    mode: u32,
    content: String,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let files = match files(self.service) {
            Ok(files) => files,
            Err(error) => {
                output.error(&format!("no certificate could be made: {error}"));
                return exit::FAILED;
            }
        };
        let there: Vec<_> = files.iter().filter(|file| self.dir.join(file.name).exists()).collect();
        if !there.is_empty() {
            let names: Vec<_> =
                there.iter().map(|file| self.dir.join(file.name).display().to_string()).collect();
            output.error(&format!("{} already there; nothing was written", names.join(", ")));
            output.note("choose another directory, or move them away");
            return exit::FAILED;
        }
        for file in &files {
            let path = self.dir.join(file.name);
            if self.dry_run {
                output.result(&format!("would write {:24} {}\n", path.display().to_string(), file.about));
                continue;
            }
            if let Err(error) = fs::create_dir_all(&self.dir).and_then(|()| write(&path, file)) {
                output.error(&format!("cannot write {}: {error}", path.display()));
                return exit::FAILED;
            }
            output.result(&format!("wrote {:24} {}\n", path.display().to_string(), file.about));
        }
        if !self.dry_run {
            output.note(&next_steps(&self.dir, self.service));
        }
        exit::OK
    }
}

fn next_steps(dir: &Path, service: bool) -> String {
    let config = dir.join("ringward.toml").display().to_string();
    let key = dir.join("anthropic.key").display().to_string();
    let run = match service {
        true => "systemctl enable --now ringward".to_owned(),
        false => format!("ringward run -c {config}"),
    };
    format!(
        "\nNow edit:\n  {config}  `issuer` and `audience` under [[identity]]: whose tokens are accepted\n  \
         {key}  the API key that callers never see\n\nThen:\n  ringward check -c {config}\n  \
         {run}\n\nThe certificate is for development: clients must be told to trust it \
         (`ringward env CLIENT --ca {}`).",
        dir.join("cert.pem").display()
    )
}

fn files(service: bool) -> Result<Vec<File>, rcgen::Error> {
    let (cert, key) = certificate()?;
    let (config, secret) = match service {
        // The service's user reads them as the group of the directory, and writes nothing there.
        true => (for_service(), 0o640),
        false => (CONFIG.to_owned(), 0o600),
    };
    Ok(vec![
        File { name: "ringward.toml", about: "the configuration", mode: 0o644, content: config },
        File {
            name: "cert.pem",
            about: "a certificate for localhost, for development",
            mode: 0o644,
            content: cert,
        },
        File { name: "key.pem", about: "its private key", mode: secret, content: key },
        File {
            name: "anthropic.key",
            about: "put the API key here",
            mode: secret,
            content: PLACEHOLDER.into(),
        },
    ])
}

/// The configuration with the folders of the unit.
fn for_service() -> String {
    let paths = [
        ("socket = \"admin.sock\"", "socket = \"/run/ringward/admin.sock\""),
        ("dir = \"audit\"", "dir = \"/var/lib/ringward/audit\""),
        ("into the file, which only you can read", "into the file"),
    ];
    paths.iter().fold(CONFIG.to_owned(), |text, (from, to)| text.replacen(from, to, 1))
}

/// A self-signed certificate for this host's own names.
fn certificate() -> Result<(String, String), rcgen::Error> {
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from).to_vec();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, "ringward development");
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok((certificate.pem(), key.serialize_pem()))
}

/// Never over a file that is there.
fn write(path: &Path, file: &File) -> io::Result<()> {
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(file.mode).open(path)?;
    opened.write_all(file.content.as_bytes())
}
