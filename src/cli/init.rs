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
        let files = match files() {
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
            output.note(&next_steps(&self.dir));
        }
        exit::OK
    }
}

fn next_steps(dir: &Path) -> String {
    let config = dir.join("ringward.toml").display().to_string();
    let key = dir.join("anthropic.key").display().to_string();
    format!(
        "\nNow edit:\n  {config}  `issuer` and `audience` under [[identity]]: whose tokens are accepted\n  \
         {key}  the API key that callers never see\n\nThen:\n  ringward check -c {config}\n  \
         ringward run -c {config}\n\nThe certificate is for development: clients must be told to trust it \
         (`ringward env CLIENT --ca {}`).",
        dir.join("cert.pem").display()
    )
}

fn files() -> Result<Vec<File>, rcgen::Error> {
    let (cert, key) = certificate()?;
    Ok(vec![
        File { name: "ringward.toml", about: "the configuration", mode: 0o644, content: CONFIG.into() },
        File {
            name: "cert.pem",
            about: "a certificate for localhost, for development",
            mode: 0o644,
            content: cert,
        },
        File { name: "key.pem", about: "its private key", mode: 0o600, content: key },
        File {
            name: "anthropic.key",
            about: "put the API key here",
            mode: 0o600,
            content: PLACEHOLDER.into(),
        },
    ])
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
