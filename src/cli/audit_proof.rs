//! `ringward audit prove | check-proof | head | key | rotate-key`.

use super::{
    ConfigFile,
    admin_client::{Answer, Target, report},
    block_on, exit,
    output::{Output, hex},
};
use crate::{
    admin, app,
    audit::{PROOF_BYTES_MAX, Proof, Proven, PublicKey, Record},
    config,
    journal::{self, Journal, OpenError, ProveError, VerifyError},
    segments::Keys,
};
use clap::Args;
use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// Print the proof that one record is in the log
///
/// Whoever has the log's key checks it with `ringward audit check-proof`, without the log.
#[derive(Debug, Args)]
pub(super) struct Prove {
    /// Sequence number of the record
    #[arg(value_parser = clap::value_parser!(u64).range(1..))]
    record: u64,
    #[command(flatten)]
    log: Log,
}

/// Check a proof that `ringward audit prove` has printed, without the log
///
/// Exit code 6 says that it was changed, or is of another log.
#[derive(Debug, Args)]
pub(super) struct CheckProof {
    /// File of the proof; - is standard input
    file: PathBuf,
    /// A key of the log, learned elsewhere: NAME+ID+KEY as `ringward audit key` prints it, or a file that
    /// holds it
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    key: Option<PublicKey>,
    /// What was proven, as JSON
    #[arg(long)]
    json: bool,
}

/// Print the newest checkpoint: keep it elsewhere, and nobody can roll the log back unnoticed
#[derive(Debug, Args)]
pub(super) struct Head {
    #[command(flatten)]
    log: Log,
}

/// Print the public key that signs the log
#[derive(Debug, Args)]
pub(super) struct Key {
    #[command(flatten)]
    log: LogFolder,
    /// All keys in their order, with their numbers
    #[arg(long, conflicts_with = "pem")]
    all: bool,
    /// As PEM, for other tools such as openssl
    #[arg(long)]
    pem: bool,
}

/// Sign the log with a new key, which the old one signs
///
/// The running gateway does it; where none runs, --offline does it in the folder of the configuration.
#[derive(Debug, Args)]
pub(super) struct RotateKey {
    #[command(flatten)]
    target: Target,
    /// Without a gateway: open the log that the configuration names
    #[arg(long)]
    offline: bool,
    /// Only say from which record on a new key would sign
    #[arg(long)]
    dry_run: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Where a log is: in a folder, or with a running gateway.
#[derive(Debug, Args)]
struct Log {
    /// Directory of the segments [default: that of the configuration, unless --admin says whom to ask]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// File with the age identity of an auditor, for segments that are encrypted
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    target: Target,
}

impl Log {
    /// Whether a gateway is asked. A folder that is named is read, whatever the environment says.
    fn asks(&self) -> bool {
        self.dir.is_none() && self.target.is_given()
    }
}

/// Where a log is, in a folder.
#[derive(Debug, Args)]
struct LogFolder {
    /// Directory of the segments [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// File with the age identity of an auditor, for segments that are encrypted
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

/// A public key as it is written, or the file that holds it.
pub(super) fn public_key(text: &str) -> Result<PublicKey, String> {
    text.parse().or_else(|error: crate::audit::KeyError| {
        if text.contains('+') && !Path::new(text).exists() {
            return Err(error.to_string());
        }
        let held = std::fs::read_to_string(text).map_err(|error| format!("{text}: {error}"))?;
        held.trim_end().parse().map_err(|_| format!("{text}: {error}"))
    })
}

/// The folder of the log: `dir`, else that of the configuration. The exit code, if there is none, was said.
pub(super) fn folder(dir: Option<PathBuf>, file: &ConfigFile, output: &mut Output) -> Result<PathBuf, u8> {
    if let Some(dir) = dir {
        return Ok(dir);
    }
    let text = super::config::read(file, output).ok_or(exit::FAILED)?;
    match config::load(&text) {
        Ok(loaded) => Ok(loaded.document.audit.dir_in(&text.base)),
        Err(found) => {
            output.diagnostics(&found);
            Err(exit::CONFIG)
        }
    }
}

/// What opens encrypted segments. The exit code, if the file cannot be read, was said.
pub(super) fn identity(file: Option<&Path>, output: &mut Output) -> Result<Keys, u8> {
    let keys = file.map(Keys::read).transpose().map_err(|error| {
        output.error(&format!("--identity: {error}"));
        exit::USAGE
    })?;
    Ok(keys.unwrap_or_default())
}

fn refused(error: &ProveError, output: &mut Output) -> u8 {
    output.error(&error.to_string());
    match error {
        ProveError::Log(VerifyError::Io { .. } | VerifyError::Empty(_))
        | ProveError::NoCheckpoint
        | ProveError::NotCovered { .. }
        | ProveError::Sizes { .. }
        | ProveError::Removed { .. }
        | ProveError::Encrypted(_)
        | ProveError::Erased(_) => exit::FAILED,
        ProveError::Log(_) | ProveError::Contradiction(_) => exit::AUDIT,
    }
}

/// Asks the gateway for a text and prints it as it is.
fn ask(target: &Target, path: &str, output: &mut Output) -> u8 {
    match block_on(target.ask(reqwest::Method::GET, path)) {
        Err(failure) => report(&failure, output),
        Ok(answer) if answer.status == 200 => {
            output.result(&answer.body);
            exit::OK
        }
        Ok(answer) => {
            output.error(&detail(&answer.body));
            exit::FAILED
        }
    }
}

/// What a problem says (RFC 9457), else the answer as it is.
pub(super) fn detail(body: &str) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_str(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    detail.unwrap_or(body.trim_end()).to_owned()
}

impl Prove {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        if self.log.asks() {
            return ask(&self.log.target, &format!("/api/v1/audit/prove?record={}", self.record), output);
        }
        let folder = match folder(self.log.dir, self.log.target.file(), output) {
            Ok(folder) => folder,
            Err(code) => return code,
        };
        let keys = match identity(self.log.identity.as_deref(), output) {
            Ok(keys) => keys,
            Err(code) => return code,
        };
        match journal::prove(&folder, &keys, self.record) {
            Ok(proof) => {
                output.result(&proof.to_text());
                exit::OK
            }
            Err(error) => refused(&error, output),
        }
    }
}

impl CheckProof {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let text = match read_bounded(&self.file) {
            Ok(text) => text,
            Err(error) => {
                output.error(&format!("cannot read {}: {error}", self.file.display()));
                return exit::FAILED;
            }
        };
        let proof = str::from_utf8(&text).ok().map(Proof::parse);
        let checked = match proof {
            Some(proof) => proof.and_then(|proof| proof.check(self.key.as_ref())).map_err(|e| e.to_string()),
            None => Err("it is no proof: it is no text".to_owned()),
        };
        match checked {
            Ok(proven) if self.json => output.json(&as_json(&proven, self.key.is_some())),
            Ok(proven) => output.result(&as_text(&proven, self.key.is_some())),
            Err(why) => {
                if self.json {
                    output.json(&serde_json::json!({ "valid": false, "error": why }));
                }
                output.error(&format!("{}: {why}", self.file.display()));
                return exit::AUDIT;
            }
        }
        exit::OK
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let most = PROOF_BYTES_MAX as u64 + 1;
    match path.as_os_str() == "-" {
        true => io::stdin().lock().take(most).read_to_end(&mut bytes)?,
        false => File::open(path)?.take(most).read_to_end(&mut bytes)?,
    };
    Ok(bytes)
}

fn as_json(proven: &Proven, is_trusted: bool) -> serde_json::Value {
    serde_json::json!({
        "valid": true,
        "record": proven.sequence,
        "kind": proven.record.kind().name(),
        "exchange": proven.record.exchange().map(|id| id.to_string()),
        "log": proven.checkpoint.origin,
        "checkpoint_size": proven.checkpoint.size,
        "root": hex(&proven.checkpoint.root),
        "key": proven.key.to_string(),
        "first_key": proven.first_key.to_string(),
        "key_trusted": is_trusted,
        "bytes_hex": match &proven.record {
            Record::Content(content) if content.keep => Some(hex(&content.bytes.to_vec())),
            _ => None,
        },
    })
}

fn as_text(proven: &Proven, is_trusted: bool) -> String {
    let exchange = proven.record.exchange().map(|id| format!(" of {id}")).unwrap_or_default();
    let kind = proven.record.kind().name();
    let mut text = format!(
        "record {}: {kind}{exchange}\n  is in the log {}, among its first {} records\n  signed by {}\n",
        proven.sequence, proven.checkpoint.origin, proven.checkpoint.size, proven.key
    );
    if !is_trusted {
        text.push_str(&format!(
            "  the proof agrees with itself; compare the first key, or give --key:\n  {}\n",
            proven.first_key
        ));
    }
    text
}

impl Head {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        if self.log.asks() {
            return ask(&self.log.target, "/api/v1/audit/head", output);
        }
        let folder = match folder(self.log.dir, self.log.target.file(), output) {
            Ok(folder) => folder,
            Err(code) => return code,
        };
        match journal::newest_checkpoint(&folder) {
            Ok(Some(note)) => {
                output.result(&note);
                exit::OK
            }
            Ok(None) => refused(&ProveError::NoCheckpoint, output),
            Err(error) => refused(&error.into(), output),
        }
    }
}

impl Key {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let folder = match folder(self.log.dir, &self.log.file, output) {
            Ok(folder) => folder,
            Err(code) => return code,
        };
        let opener = match identity(self.log.identity.as_deref(), output) {
            Ok(keys) => keys,
            Err(code) => return code,
        };
        let keys = match journal::signing_keys(&folder, &opener) {
            Ok(keys) => keys,
            Err(error) => return refused(&error, output),
        };
        let Some((_, newest)) = keys.last() else {
            output.error(&format!(
                "{}: the log has no key: it is signed from the next start on",
                folder.display()
            ));
            return exit::FAILED;
        };
        let text = match (self.all, self.pem) {
            (true, _) => keys.iter().map(|(number, key)| format!("{number} {key}\n")).collect(),
            (_, true) => newest.to_pem(),
            _ => format!("{newest}\n"),
        };
        output.result(&text);
        exit::OK
    }
}

impl RotateKey {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        if self.dry_run {
            return self.foresee(output).map_or_else(|code| code, |()| exit::OK);
        }
        let rotated = if self.offline { self.offline(output) } else { self.online(output) };
        match rotated {
            Ok(key) if self.json => output.json(&serde_json::json!({ "key": key })),
            Ok(key) => output.result(&format!("{key}\n")),
            Err(code) => return code,
        }
        exit::OK
    }

    /// Says what would be done; the log and its key stay as they are.
    fn foresee(&self, output: &mut Output) -> Result<(), u8> {
        let (dir, record) = if self.offline {
            let (text, audit) = self.configured(output)?;
            let dir = audit.dir_in(&text.base);
            let head =
                journal::verify_dir(&dir, |_, _| {}).map(|report| report.removed_through + report.records);
            let head = head.map_err(|error| {
                output.error(&error.to_string());
                exit::FAILED
            })?;
            (dir.display().to_string(), head)
        } else {
            let answer = self.asked(reqwest::Method::GET, "/api/v1/status", output)?;
            let status = serde_json::from_str::<admin::Status>(&answer.body).map_err(|_| {
                output.error(&detail(&answer.body));
                exit::FAILED
            })?;
            (status.audit.dir, status.audit.sequence)
        };
        let from = record + 1;
        match self.json {
            true => output.json(&serde_json::json!({ "dir": dir, "from_record": from })),
            false => output.result(&format!(
                "{dir}: a new key would sign from record {from} on, and the key of now would sign it; \
                 nothing was done\n"
            )),
        }
        Ok(())
    }

    fn asked(&self, method: reqwest::Method, path: &str, output: &mut Output) -> Result<Answer, u8> {
        block_on(self.target.ask(method, path)).map_err(|failure| {
            let code = report(&failure, output);
            output.note("where no gateway runs, use --offline");
            code
        })
    }

    fn online(&self, output: &mut Output) -> Result<String, u8> {
        let answer = self.asked(reqwest::Method::POST, "/api/v1/audit/key:rotate", output)?;
        let body: Option<serde_json::Value> = serde_json::from_str(&answer.body).ok();
        let key = body.as_ref().and_then(|body| body.get("key")?.as_str());
        match key {
            Some(key) if answer.status == 200 => Ok(key.to_owned()),
            _ => {
                output.error(&detail(&answer.body));
                Err(exit::FAILED)
            }
        }
    }

    fn configured(&self, output: &mut Output) -> Result<(config::Text, config::Audit), u8> {
        let text = super::config::read(self.target.file(), output).ok_or(exit::FAILED)?;
        let audit = config::load(&text).map(|loaded| loaded.document.audit).map_err(|found| {
            output.diagnostics(&found);
            exit::CONFIG
        })?;
        Ok((text, audit))
    }

    /// Opens the log as a gateway would, and has its key exchanged.
    fn offline(&self, output: &mut Output) -> Result<String, u8> {
        let (text, audit) = self.configured(output)?;
        let dir = audit.dir_in(&text.base);
        let mut options = journal::Options::new(&dir, app::openings_dir(&dir));
        options.segment_bytes = audit.segment_bytes.0;
        options.key = Some(audit.key_in(&text.base));
        let mut failed = |error: &dyn std::fmt::Display, code| {
            output.error(&error.to_string());
            code
        };
        let (journal, _) = Journal::open(options, 0, Box::new(Nobody)).map_err(|error| match error {
            OpenError::Locked(..) => failed(&format!("{error}: leave --offline out"), exit::FAILED),
            error => failed(&error, exit::FAILED),
        })?;
        let rotated = journal.handle().rotate_key();
        let closed = journal.close();
        let key = rotated.map_err(|error| failed(&error, exit::FAILED))?;
        closed.map_err(|error| failed(&error, exit::FAILED))?;
        Ok(key.to_string())
    }
}

/// No shard waits for an acknowledgement.
struct Nobody;

impl journal::AckSink for Nobody {
    fn deliver(&mut self, _: usize, acks: &mut Vec<journal::Ack>) {
        acks.clear();
    }
}
