//! `ringward notify`: who is told of what waits for people, and whether it arrives there.

use super::{
    admin_client::{Answer, Failure, exit_code},
    approvals::{Shown, other_version, refused},
    block_on, exit, inert,
    output::Output,
    sessions::lines::{clock, listing},
};
use crate::{
    admin::{NotifyTarget, NotifyTargets, NotifyTried},
    approval::Notice,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::de::DeserializeOwned;

/// See who is told of what waits for approval, and try it
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List them, and how it stands with each
    List(Shown),
    Test(Test),
    /// Print the JSON Schema of what webhooks get
    Schema,
}

/// Send a notice that says it is a test
///
/// Exit code 1 says that it did not arrive, and why. Who has answered 410 Gone and takes it is told
/// everything again.
#[derive(Debug, Args)]
struct Test {
    /// Name of a [[notify]]
    name: String,
    /// Only say where it would go
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let result = match self.what {
            What::List(shown) => block_on(list(&shown, output)),
            What::Test(test) => block_on(test.run(output)),
            What::Schema => {
                output.json(&schemars::schema_for!(Notice));
                Ok(())
            }
        };
        exit_code(result, output)
    }
}

async fn targets(shown: &Shown) -> Result<Vec<NotifyTarget>, Failure> {
    let answer = shown.target.ask(Method::GET, "/api/v1/notify").await?;
    Ok(parsed::<NotifyTargets>(&answer)?.targets)
}

async fn list(shown: &Shown, output: &mut Output) -> Result<(), Failure> {
    let targets = targets(shown).await?;
    if shown.json {
        output.json(&targets);
    } else if targets.is_empty() {
        output.note("nobody is told: add a [[notify]] to the configuration");
    } else {
        let heading = ["NAME", "KIND", "WHERE", "EVENTS", "ROUTES", "STATE"];
        output.result(&listing(&heading, targets.iter().map(row)));
    }
    Ok(())
}

fn row(target: &NotifyTarget) -> Vec<String> {
    let all =
        |list: &[String]| if list.is_empty() { "all".to_owned() } else { inert::line(&list.join(", ")) };
    let mut state = format!("{} delivered, {} waiting", target.delivered, target.waiting);
    if let Some(since) = &target.gone_since {
        state = format!("told nothing since {}: it answered 410 Gone", clock(since));
    } else if let Some(error) = &target.last_error {
        state += &format!(", {} failed ({})", target.failed, inert::line(error));
    }
    vec![
        inert::line(&target.name),
        target.kind.clone(),
        inert::line(&target.place),
        all(&target.events),
        all(&target.routes),
        state,
    ]
}

impl Test {
    async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let found = targets(&self.shown).await?.into_iter().find(|one| one.name == self.name);
        let Some(target) = found else {
            let message = format!("there is no [[notify]] of the name `{}`", inert::line(&self.name));
            return Err(Failure { message, code: exit::FAILED });
        };
        let place = inert::line(&target.place);
        if self.dry_run {
            output.result(&format!("a test would go to {} ({})\n", place, target.kind));
            return Ok(());
        }
        let path = format!("/api/v1/notify/{}/test", target.name);
        let tried: NotifyTried = parsed(&self.shown.target.ask(Method::POST, &path).await?)?;
        if self.shown.json {
            output.json(&tried);
        }
        match tried.error {
            None if self.shown.json => Ok(()),
            None => {
                output.result(&format!("a test has arrived at {place}\n"));
                Ok(())
            }
            Some(error) => {
                let message = format!("no test has arrived at {place}: {}", inert::line(&error));
                Err(Failure { message, code: exit::FAILED })
            }
        }
    }
}

fn parsed<T: DeserializeOwned>(answer: &Answer) -> Result<T, Failure> {
    match answer.status {
        200 => serde_json::from_str(&answer.body).map_err(|_| other_version()),
        _ => Err(refused(answer)),
    }
}
