//! `ringward grants`: standing permissions that approvals opened.

use super::{
    admin_client::{Answer, Failure, exit_code},
    approvals::{Shown, foresee, read},
    block_on, exit, inert,
    output::Output,
    sessions::lines::{clock, listing},
};
use crate::approval::GrantView;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

/// See and take away standing permissions
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List those that are in force
    List(Shown),
    Revoke(Revoke),
}

/// Take one away, at once
#[derive(Debug, Args)]
struct Revoke {
    /// Grant (gra_…)
    id: String,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let result = block_on(async {
            match self.what {
                What::List(shown) => {
                    let answer = shown.target.ask(Method::GET, "/api/v1/grants").await?;
                    show(&answer, shown.json, output)
                }
                What::Revoke(Revoke { id, dry_run: true, shown }) => {
                    foresee(&shown, &json!({ "revoke": id }), output).await
                }
                What::Revoke(Revoke { id, dry_run: false, shown }) => {
                    let answer = shown.target.ask(Method::DELETE, &id_path("grants", &id)?).await?;
                    show(&answer, shown.json, output)
                }
            }
        });
        exit_code(result, output)
    }
}

/// The path of one thing; only letters, digits and `_` make an id.
pub(super) fn id_path(of: &str, id: &str) -> Result<String, Failure> {
    let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let message = || format!("`{}` is no id", inert::line(id));
    if is_id {
        Ok(format!("/api/v1/{of}/{id}"))
    } else {
        Err(Failure { message: message(), code: exit::USAGE })
    }
}

fn show(answer: &Answer, json: bool, output: &mut Output) -> Result<(), Failure> {
    let grants: Vec<GrantView> = read(answer, "grants")?;
    if json {
        output.json(&grants);
    } else if grants.is_empty() {
        output.note("no grant is in force");
    } else {
        let heading = ["GRANT", "FOR", "ROUTE", "POLICY", "EXPIRES", "USES", "BY"];
        output.result(&listing(&heading, grants.iter().map(row)));
    }
    Ok(())
}

fn row(grant: &GrantView) -> Vec<String> {
    let whom = match (&grant.group, &grant.session) {
        (Some(group), _) => format!("group {group}"),
        (_, Some(session)) => format!("{}, session {session}", grant.subject.as_deref().unwrap_or("-")),
        _ => grant.subject.clone().unwrap_or_default(),
    };
    let uses = grant.uses_max.map_or(grant.uses.to_string(), |max| format!("{} of {max}", grant.uses));
    vec![
        grant.id.clone(),
        inert::line(&whom),
        inert::line(&grant.route),
        inert::line(&grant.policy),
        clock(&grant.expires),
        uses,
        inert::line(&grant.by.join(", ")),
    ]
}
