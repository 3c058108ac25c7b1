//! `ringward audit follow`.
//!
//! Two loops share what is known of the source: `watch` takes every new head within moments and holds it
//! against the kept one, `pull` takes what was sealed. Only `watch` moves the head, so that a long download
//! delays no alarm, and heads are compared in the order in which they were signed.

mod pull;
mod says;
mod source;
mod watch;

use super::{
    audit_proof::{identity, public_key},
    block_on, exit,
    output::{Output, hex},
};
use crate::{
    admin::Credential,
    archive::{CopyError, CopyHeads, CopyVerified, FollowedCopy},
    audit::{Checkpoint, PublicKey, Suspicion, Witness},
    runtime,
    segments::{COPY_HEAD, Keys},
};
use clap::Args;
use says::Says;
use serde_json::json;
use source::{Failure, Source};
use std::{
    cell::{Cell, RefCell},
    path::{Path, PathBuf},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch as channel,
};
use zeroize::Zeroizing;

/// Keep a copy of a gateway's audit log, as another user or on another host, and raise an alarm when the log
/// is rolled back, forked or changed
///
/// Each head that the gateway signs has to go on from the one before it; each sealed segment has to be what
/// was signed. Exit code 6 says that something is not, and DIR/evidence-… what. A gateway that does not
/// answer is waited for. `ringward audit verify DIR` and `ringward sessions list --dir DIR` read the copy.
/// It holds what was said, with personal data: keep it as well as the log itself.
#[derive(Debug, Args)]
pub(super) struct Follow {
    /// Admin interface of the gateway, such as https://gw.example.com:8444
    #[arg(value_parser = https)]
    url: String,
    /// Folder of the copy
    #[arg(long, value_name = "DIR")]
    into: PathBuf,
    /// File with the token of an auditor, which `ringward audit credential` makes at the gateway
    #[arg(long, value_name = "FILE", env = "RINGWARD_ADMIN_TOKEN_FILE")]
    token_file: PathBuf,
    /// Authorities in PEM to trust for the gateway's certificate, instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A key of the log, learned elsewhere: NAME+ID+KEY as `ringward audit key` prints it, or a file that
    /// holds it [default: the key of the first contact is believed]
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    key: Option<PublicKey>,
    /// File with the age identity of an auditor, for segments that are encrypted
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Take what is there, and end
    #[arg(long)]
    once: bool,
    /// Also take the bodies out of the copy that were erased at the gateway
    #[arg(long)]
    prune_erased: bool,
    /// Say what happens as lines of JSON on standard output
    #[arg(long)]
    json: bool,
}

fn https(text: &str) -> Result<String, String> {
    let url: reqwest::Url = text.parse().map_err(|error| format!("{error}"))?;
    let is_plain = url.path() == "/" && url.query().is_none() && url.username().is_empty();
    match url.scheme() == "https" && is_plain {
        true => Ok(text.trim_end_matches('/').to_owned()),
        false => Err("want https://HOST:PORT: a token is sent over TLS only".to_owned()),
    }
}

/// Why it ends.
enum End {
    /// `--once`: everything is here.
    Done(String),
    /// Somebody has to act, and nothing speaks against the source.
    Failed { message: String, code: u8 },
    /// The source contradicts itself.
    Alarm(Alarm),
}

/// What was found, and what shows it.
struct Alarm {
    /// One word for it.
    kind: &'static str,
    message: String,
    /// The head, or something about the segment, as the source gave it.
    seen: String,
    /// File of a segment.
    segment: Option<PathBuf>,
}

impl From<CopyError> for End {
    fn from(error: CopyError) -> End {
        let code = if matches!(error, CopyError::Damaged { .. }) { exit::AUDIT } else { exit::FAILED };
        End::Failed { message: error.to_string(), code }
    }
}

impl End {
    fn suspicion(suspicion: &Suspicion, seen: &str) -> End {
        let (kind, message) = (suspicion.word(), suspicion.to_string());
        End::Alarm(Alarm { kind, message, seen: seen.to_owned(), segment: None })
    }
}

/// What both loops share.
struct Follower<'a> {
    source: Source,
    heads: CopyHeads,
    witness: RefCell<Witness>,
    /// The newest head that was kept; nothing before one of this process was looked at.
    newest: channel::Sender<Option<Checkpoint>>,
    /// What the readable segments up to the last one prove.
    read: Cell<Option<CopyVerified>>,
    /// Records of the kept head that the segments behind the last one are held against; 0 for none.
    held: Cell<u64>,
    pinned: Option<PublicKey>,
    has_identity: bool,
    once: bool,
    prune: bool,
    says: Says<'a>,
}

impl Follower<'_> {
    /// Why there is no answer, in words; it ends where the token opens nothing.
    fn why<'f>(&self, failure: &'f Failure) -> Result<&'f str, End> {
        match failure {
            Failure::Denied(why) => {
                let message = format!("{}: {why}", self.source.name());
                Err(End::Failed { message, code: exit::FAILED })
            }
            Failure::Unreachable(why)
            | Failure::Refused(why)
            | Failure::Missing(why)
            | Failure::Removed(why) => Ok(why),
            Failure::Encrypted => Ok("it cannot read its own segments"),
        }
    }
}

impl Follow {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let keys = match identity(self.identity.as_deref(), output) {
            Ok(keys) => keys,
            Err(code) => return code,
        };
        let Parts { source, heads, copy, witness } = match self.parts(keys) {
            Ok(parts) => parts,
            Err(End::Failed { message, code }) => {
                output.error(&message);
                return code;
            }
            Err(End::Done(_) | End::Alarm(_)) => return exit::FAILED,
        };
        // What is here was held against the kept head when it was opened.
        let own = witness.own().map_or(0, |(own, _)| own.size);
        let held = if copy.proven().is_some_and(|proven| proven.records >= own) { own } else { 0 };
        let follower = Follower {
            source,
            heads,
            newest: channel::Sender::new(None),
            witness: RefCell::new(witness),
            read: Cell::new(copy.proven()),
            held: Cell::new(held),
            pinned: self.key,
            has_identity: self.identity.is_some(),
            once: self.once,
            prune: self.prune_erased,
            says: Says::new(output, self.json),
        };
        let end = block_on(follower.run(copy));
        follower.say_end(end, &self.into)
    }

    /// Reads the files and opens the folder. It fails with [`End::Failed`] only.
    fn parts(&self, keys: Keys) -> Result<Parts, End> {
        let failed = |message: String, code| End::Failed { message, code };
        let token = Zeroizing::new(read(&self.token_file)?);
        let token = Zeroizing::new(token.trim().to_owned());
        let ca = self.ca.as_deref().map(read).transpose()?;
        let source = Source::new(&self.url, token, ca.as_deref().map(str::as_bytes));
        let source = source.map_err(|message| failed(message, exit::USAGE))?;
        let heads = CopyHeads::open(&self.into, &self.url)?;
        let head = heads.head()?;
        let copy = FollowedCopy::open(&self.into, keys, head.as_ref())?;
        let chain = heads.keys()?;
        let is_other = |key: &PublicKey| chain.current().is_some() && !chain.contains(key);
        if self.key.as_ref().is_some_and(is_other) {
            let message = format!("--key is no key of the log that was copied into {}", self.into.display());
            return Err(failed(message, exit::AUDIT));
        }
        let witness = Witness::new(chain, head).map_err(|error| {
            let file = self.into.join(COPY_HEAD);
            failed(format!("{}: {error}", file.display()), exit::AUDIT)
        })?;
        Ok(Parts { source, heads, copy, witness })
    }
}

/// What a follower is made of.
struct Parts {
    source: Source,
    heads: CopyHeads,
    copy: FollowedCopy,
    witness: Witness,
}

fn read(file: &Path) -> Result<String, End> {
    std::fs::read_to_string(file).map_err(|error| End::Failed {
        message: format!("cannot read {}: {error}", file.display()),
        code: exit::FAILED,
    })
}

impl Follower<'_> {
    async fn run(&self, copy: FollowedCopy) -> End {
        let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
        let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
            let message = "signals cannot be watched".to_owned();
            return End::Failed { message, code: exit::FAILED };
        };
        tokio::select! {
            // A head that speaks against the source comes before everything else.
            biased;
            end = self.watch() => end,
            end = self.pull(copy) => end,
            _ = terminate.recv() => End::Done("told to stop".to_owned()),
            _ = interrupt.recv() => End::Done("told to stop".to_owned()),
        }
    }

    /// Says how it ended, keeps the evidence if there is any, and gives the exit code.
    fn say_end(&self, end: End, into: &Path) -> u8 {
        let alarm = match end {
            End::Done(sentence) => {
                self.says.result(&format!("{}: {sentence}", into.display()));
                return exit::OK;
            }
            End::Failed { message, code } => {
                self.says.alarm("failed", json!({ "error": message, "exit": code }), &message);
                return code;
            }
            End::Alarm(alarm) => alarm,
        };
        let Alarm { kind, message, seen, segment } = alarm;
        let witness = self.witness.borrow();
        let own = witness.own().map_or("", |(_, note)| &**note);
        // What is found again after a restart is kept in the same place.
        let finding = Credential::digest_of(&format!("{own}\n{seen}"));
        let name = format!("{kind}-{}", hex(&finding[..8]));
        let report = format!("{message}\nfound {}\nat {}\n", runtime::now().wall, self.source.name());
        let texts = [("own-head", own), ("seen", &*seen), ("report", &*report)];
        let kept = self.heads.accuse(&name, &texts, segment.as_deref());
        let (folder, kept) = match kept {
            Ok(folder) => (Some(folder.display().to_string()), format!("evidence in {}", folder.display())),
            Err(error) => (None, format!("the evidence could not be kept: {error}")),
        };
        let fields = json!({ "kind": kind, "message": message, "evidence": folder, "exit": exit::AUDIT });
        let sentence = format!("ALARM: {}: {message}; {kept}", self.source.name());
        self.says.alarm("alarm", fields, &sentence);
        exit::AUDIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_over_tls_only() {
        for (text, expected) in [
            ("https://gw.example.com:8444", Some("https://gw.example.com:8444")),
            ("https://gw.example.com/", Some("https://gw.example.com")),
            ("https://[::1]:8444", Some("https://[::1]:8444")),
            ("http://gw.example.com:8444", None),
            ("http://127.0.0.1:8444", None),
            ("https://gw.example.com/api", None),
            ("https://user:password@gw.example.com", None),
            ("https://gw.example.com?x", None),
            ("unix:/run/admin.sock", None),
            ("gw.example.com", None),
        ] {
            assert_eq!(https(text).ok().as_deref(), expected, "{text}");
        }
    }
}
