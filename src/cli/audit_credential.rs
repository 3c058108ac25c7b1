//! `ringward audit credential`.

use super::{exit, output::Output};
use crate::{admin::Credential as Kept, cli::output::hex, secrets, segments, time::Timestamp};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::{Args, ValueEnum};
use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};
use zeroize::Zeroizing;

/// What tokens begin with, so that scanners for secrets know them.
const PREFIX: &str = "rwa_";
/// Random bytes in a token.
const TOKEN_BYTES: usize = 32;

/// Make a token for the admin interface, such as that of an auditor who follows the log
///
/// The token is shown once, or written into a new file that only its owner may read. The configuration gets
/// the lines that are printed: they hold the token's digest, never the token.
#[derive(Debug, Args)]
pub(super) struct Credential {
    /// Name of its bearer, as records call it: token:NAME
    #[arg(value_parser = name)]
    name: String,
    /// What its bearer may do
    #[arg(long, value_enum, default_value_t = Role::Auditor)]
    role: Role,
    /// The human who bears it, as the owner claim of callers names them: nobody approves their own requests
    #[arg(long, value_name = "NAME", value_parser = owner)]
    owner: Option<String>,
    /// When it ends, such as 2027-11-22 or 2027-11-22T09:30:00Z [default: never]
    #[arg(long, value_name = "WHEN")]
    expires: Option<Timestamp>,
    /// Write the token into this new file instead of showing it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Role {
    /// See how the gateway is
    Viewer,
    /// Read recordings and the audit log
    Auditor,
    /// Decide about requests that wait
    Approver,
}

impl Role {
    fn word(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Auditor => "auditor",
            Role::Approver => "approver",
        }
    }
}

/// What stands in a quoted text as it is.
fn owner(text: &str) -> Result<String, String> {
    let plain = |c: char| !c.is_control() && c != '"' && c != '\\';
    let bad = || "an owner is text without quotes, backslashes and control characters".to_owned();
    Some(text).filter(|text| !text.is_empty() && text.chars().all(plain)).map(str::to_owned).ok_or_else(bad)
}

fn name(text: &str) -> Result<String, String> {
    let bad = |_| "a name has 1 to 64 letters, digits, `_`, `-` or `.`".to_owned();
    secrets::check_name(text).map(|_| text.to_owned()).map_err(bad)
}

impl Credential {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let random = match segments::random::<TOKEN_BYTES>() {
            Ok(random) => Zeroizing::new(random),
            Err(error) => {
                output.error(&error.to_string());
                return exit::FAILED;
            }
        };
        let token = Zeroizing::new(format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(&random[..])));
        if let Some(file) = &self.token_file
            && let Err(error) = write(file, &token)
        {
            output.error(&format!("cannot write {}: {error}", file.display()));
            return exit::FAILED;
        }
        let lines = self.lines(&token);
        let shown = self.token_file.is_none().then_some(&*token);
        if self.json {
            output.json(&serde_json::json!({
                "name": self.name,
                "role": self.role.word(),
                "hash": hash(&token),
                "expires": self.expires.map(|at| at.to_string()),
                "token": shown.map(|token| token.as_str()),
                "config": lines,
            }));
            return exit::OK;
        }
        if let Some(token) = shown {
            let text = format!(
                "# The token, shown this once: put it into a file of mode 0600 where it is used.\n# {}\n",
                token.as_str()
            );
            output.result(&text);
        }
        output.result(&format!("# For the configuration of the gateway; then `ringward reload`.\n{lines}"));
        exit::OK
    }

    /// The table that the configuration gets.
    fn lines(&self, token: &str) -> String {
        let ends = self.expires.map(|at| format!("expires = \"{at}\"\n")).unwrap_or_default();
        let (name, role, hash) = (&self.name, self.role.word(), hash(token));
        let owner = self.owner.as_ref().map(|owner| format!("owner = \"{owner}\"\n")).unwrap_or_default();
        format!("[[admin.token]]\nname = \"{name}\"\nrole = \"{role}\"\nhash = \"{hash}\"\n{owner}{ends}")
    }
}

fn hash(token: &str) -> String {
    format!("sha256:{}", hex(&Kept::digest_of(token)))
}

/// A new file that only its owner may read: one that is there stays.
fn write(file: &Path, token: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut opened = options.write(true).create_new(true).mode(0o600).open(file)?;
    opened.write_all(format!("{token}\n").as_bytes())?;
    opened.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, AdminToken, Text};

    #[test]
    fn what_is_printed_is_what_the_configuration_takes() {
        let credential = Credential {
            name: "berlin-1".into(),
            role: Role::Approver,
            owner: Some("ada@example.com".into()),
            expires: Some("2027-11-22".parse().unwrap()),
            token_file: None,
            json: false,
        };
        let source = format!("version = 1\n{}", credential.lines("rwa_x"));
        let loaded = config::load(&Text::new("x", ".", source)).unwrap();
        let [token] = &*loaded.document.admin.token else { panic!("one token") };
        assert_eq!(token.digest(), Some(Kept::digest_of("rwa_x")));
        assert_eq!(token.expiry(), credential.expires);
        let found: Vec<&str> = loaded.diagnostics.iter().map(|one| one.code).collect();
        assert!(!found.contains(&"token-hash") && !found.contains(&"time"), "{found:?}");
        let AdminToken { name, role, owner, .. } = token;
        assert_eq!((name.as_str(), *role), ("berlin-1", config::AdminRole::Approver));
        assert_eq!(owner.as_deref(), Some("ada@example.com"));
    }

    #[test]
    fn a_token_file_is_new_and_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("token");
        write(&file, "rwa_x").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(write(&file, "other").unwrap_err().kind(), std::io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "rwa_x\n");
    }
}
