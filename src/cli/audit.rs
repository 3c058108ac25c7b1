//! `ringward audit`.

use super::audit_erase::Erase;
use super::audit_proof::{CheckProof, Head, Key, Prove, RotateKey, folder, identity, public_key};
use super::output::{BYTES_BAR, Output, hex};
use super::{ConfigFile, exit, sessions::lines::counted};
use crate::audit::{PublicKey, Report, Trust};
use crate::journal::{self, VerifyError};
use crate::segments;
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};

/// Look at the record of what happened
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    Verify(Verify),
    Prove(Prove),
    CheckProof(CheckProof),
    Head(Head),
    Key(Key),
    RotateKey(RotateKey),
    Reindex(super::reindex::Reindex),
    Erase(Erase),
    Credential(super::audit_credential::Credential),
    Follow(super::audit_follow::Follow),
}

/// Check the whole log: its chain, its order, its signatures, and that every exchange makes sense
///
/// Exit code 6 names the first bad record. Without --key a log that was written anew with another key is as
/// good as any; without --checkpoint nobody can tell a log from a shorter one that was cut.
#[derive(Debug, Args)]
struct Verify {
    /// Directory of the segments [default: that of the configuration]
    #[arg(conflicts_with = "dir")]
    path: Option<PathBuf>,
    /// The same
    #[arg(long)]
    dir: Option<PathBuf>,
    /// A key of the log, learned elsewhere: NAME+ID+KEY as `ringward audit key` prints it, or a file that
    /// holds it
    #[arg(long, value_name = "KEY", value_parser = public_key)]
    key: Option<PublicKey>,
    /// A checkpoint of the log that was kept elsewhere, as `ringward audit head` prints it; may be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
    /// File with the age identity of an auditor, for segments that are encrypted
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        match self.what {
            What::Verify(verify) => verify.run(output),
            What::Prove(prove) => prove.run(output),
            What::CheckProof(check) => check.run(output),
            What::Head(head) => head.run(output),
            What::Key(key) => key.run(output),
            What::RotateKey(rotate) => rotate.run(output),
            What::Reindex(reindex) => reindex.run(output),
            What::Erase(erase) => erase.run(output),
            What::Credential(credential) => credential.run(output),
            What::Follow(follow) => follow.run(output),
        }
    }
}

impl Verify {
    fn run(mut self, output: &mut Output) -> u8 {
        let dir = self.path.take().or(self.dir.take());
        let dir = match folder(dir, &self.file, output) {
            Ok(dir) => dir,
            Err(code) => return code,
        };
        let mut trust = Trust { key: self.key.clone(), ..Trust::default() };
        for file in &self.checkpoint {
            if is_head_of(&dir, file) {
                // It is read with the copy anyway, and may be ahead of it.
                continue;
            }
            match std::fs::read_to_string(file) {
                Ok(note) => trust.checkpoints.push(note.into()),
                Err(error) => {
                    output.error(&format!("cannot read {}: {error}", file.display()));
                    return exit::FAILED;
                }
            }
        }
        let keys = match identity(self.identity.as_deref(), output) {
            Ok(keys) => keys,
            Err(code) => return code,
        };
        let bar = output.progress(BYTES_BAR);
        let verified = journal::verify_dir_against(&dir, &keys, trust, |done, total| {
            bar.set_length(total);
            bar.set_position(done);
        });
        bar.finish_and_clear();
        match verified {
            Ok(report) => {
                self.good(&dir, &report, output);
                exit::OK
            }
            Err(error @ VerifyError::Io { .. }) => {
                output.error(&error.to_string());
                exit::FAILED
            }
            Err(error) => {
                if self.json {
                    output.json(&bad(&error));
                }
                output.error(&format!("{}: {error}", dir.display()));
                exit::AUDIT
            }
        }
    }

    fn good(&self, dir: &Path, report: &Report, output: &mut Output) {
        let found = &report.signatures;
        if self.json {
            output.json(&serde_json::json!({
                "valid": true,
                "segments": report.segments,
                "records": report.records,
                "removed_through": report.removed_through,
                "exchanges_closed": report.exchanges_closed,
                "exchanges_open": report.exchanges_open,
                "refusals": report.refusals,
                "bytes": report.bytes,
                "sealed": report.sealed,
                "head": hex(&report.head),
                "root": hex(&found.root),
                "checkpoints": found.checkpoints,
                "signed_through": found.signed_through,
                "keys": found.keys.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "key_trusted": self.key.is_some(),
                "source_signed_through": (found.source_size > 0).then_some(found.source_size),
            }));
            return;
        }
        let mut text = format!(
            "{}: good\n  {} in {} ({} bytes)\n  {}, {} of them open; {}\n",
            dir.display(),
            counted(report.records, "record"),
            counted(report.segments, "segment"),
            report.bytes,
            counted(report.exchanges_closed + report.exchanges_open, "exchange"),
            report.exchanges_open,
            counted(report.refusals, "refusal"),
        );
        if report.removed_through > 0 {
            text.push_str(&format!("  records 1 to {} were removed by retention\n", report.removed_through));
        }
        text.push_str(&format!("  head {}\n", hex(&report.head)));
        text.push_str(&self.signatures(report));
        if found.source_size > 0 {
            let more = found.source_size;
            text.push_str(&format!("  a follower's copy: its source has signed {more} records so far\n"));
        }
        output.result(&text);
    }

    /// How far the log is signed, and by whom.
    fn signatures(&self, report: &Report) -> String {
        let found = &report.signatures;
        let Some(key) = found.keys.last() else { return "  not signed\n".to_owned() };
        let through = match found.signed_through {
            0 => "no record is covered by a signature yet".to_owned(),
            through => format!("signed through record {through}, by {} checkpoints", found.checkpoints),
        };
        let count = found.keys.len();
        let keys = if count == 1 { String::new() } else { format!(", the last of {count}") };
        let trusted = match self.key {
            Some(_) => "",
            None => {
                "  compare the key with what you know, or give --key: the log says only that it is its own\n"
            }
        };
        format!("  {through}\n  key {key}{keys}\n{trusted}")
    }
}

/// Whether this is the head that a follower keeps beside its copy in `dir`.
fn is_head_of(dir: &Path, file: &Path) -> bool {
    let own = segments::is_copy(dir).then(|| dir.join(segments::COPY_HEAD).canonicalize().ok()).flatten();
    own.is_some() && own == file.canonicalize().ok()
}

/// What is wrong, with the first bad record where there is one.
fn bad(error: &VerifyError) -> serde_json::Value {
    let mut value = serde_json::json!({ "valid": false, "error": error.to_string() });
    if let VerifyError::Damage(damage) = error {
        value["segment"] = damage.segment.into();
        value["record"] = damage.sequence.into();
        value["offset"] = damage.offset.into();
    }
    value
}
