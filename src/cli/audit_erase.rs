//! `ringward audit erase`.

use super::{
    admin_client::{Target, report},
    audit_proof::detail,
    block_on, exit,
    output::Output,
};
use crate::admin::ErasedBodies;
use clap::Args;

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
    #[command(flatten)]
    target: Target,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Erase {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let path = path(&self.subject, self.issuer.as_deref());
        let answer = match block_on(self.target.ask(reqwest::Method::POST, &path)) {
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
        } else {
            output.result(&sentence(&erased, &self.subject));
        }
        exit::OK
    }
}

/// The path that asks for it.
fn path(subject: &str, issuer: Option<&str>) -> String {
    let pairs = [("subject", Some(subject)), ("issuer", issuer)];
    let pairs = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let url = reqwest::Url::parse_with_params("http://localhost/api/v1/audit/erase", pairs);
    url.map_or_else(|_| String::new(), |url| format!("{}?{}", url.path(), url.query().unwrap_or_default()))
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
