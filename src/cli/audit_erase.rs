//! `ringward audit erase`.

use super::{
    admin_client::{Target, report, with_query},
    audit_proof::detail,
    block_on, exit,
    output::Output,
};
use crate::admin::ErasedBodies;
use clap::Args;
use serde::Serialize;

/// Take the recorded bodies of a subject out of the log
///
/// Its records stay: who did what and when, and that bodies were there. Salts and bytes are replaced by zeros
/// and the nonces of their commitments removed, so that nobody can read them or prove what they were. The log
/// still verifies, with a record of this erasure. Bodies in segments that are encrypted to auditors stay
/// there.
#[derive(Debug, Args)]
pub(super) struct Erase {
    /// The subject as its token names it (`sub`, or the claim that the configuration says)
    #[arg(long, value_name = "SUBJECT")]
    subject: String,
    /// Only as a token of this issuer names it [default: of every issuer]
    #[arg(long, value_name = "ISSUER")]
    issuer: Option<String>,
    /// Only count the exchanges whose bodies would go
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Whose bodies go.
#[derive(Serialize)]
struct Question<'a> {
    subject: &'a str,
    issuer: Option<&'a str>,
    dry_run: Option<bool>,
}

impl Erase {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let dry_run = self.dry_run.then_some(true);
        let question = Question { subject: &self.subject, issuer: self.issuer.as_deref(), dry_run };
        let answer = with_query("/api/v1/audit/erase", &question)
            .and_then(|path| block_on(self.target.ask(reqwest::Method::POST, &path)));
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return report(&failure, output),
        };
        let erased: ErasedBodies = match serde_json::from_str(&answer.body) {
            Ok(erased) if answer.status == 200 => erased,
            _ => {
                output.error(&detail(&answer.body));
                return exit::FAILED;
            }
        };
        if self.json {
            output.json(&erased);
        } else if self.dry_run {
            let (who, count) = (super::inert::line(&self.subject), erased.exchanges);
            output.result(&format!("{who}: the bodies of {count} exchanges would go; nothing was erased\n"));
        } else {
            output.result(&sentence(&erased, &self.subject));
        }
        exit::OK
    }
}

fn sentence(erased: &ErasedBodies, subject: &str) -> String {
    let ErasedBodies { exchanges, contents, bytes, nonces, encrypted_segments } = erased;
    let mut text = format!(
        "{}: {exchanges} exchanges; {contents} recorded pieces ({bytes} bytes) and {nonces} nonces erased\n",
        super::inert::line(subject)
    );
    if *encrypted_segments > 0 {
        text +=
            &format!("{encrypted_segments} segments are encrypted to auditors: their bodies stay in them\n");
    }
    text
}
