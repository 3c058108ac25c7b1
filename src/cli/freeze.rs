//! `ringward freeze` and `thaw`: stop a caller, a session, a route or everything, and let it go on.

use super::{
    admin_client::{Answer, Failure, exit_code, report},
    approvals::{Shown, foresee, read},
    block_on, exit,
    grants::id_path,
    inert,
    output::Output,
    sessions::lines::{clock, listing},
};
use crate::approval::Freeze as Stop;
use clap::Args;
use reqwest::Method;
use serde_json::json;

/// Stop a caller, a session, a route or everything, until it is thawed
///
/// New requests get 403 with the reason, what waits is refused, streams end, credentials are given back, and
/// grants are void. Without a choice it lists what is stopped.
#[derive(Debug, Args)]
pub(super) struct Freeze {
    /// A caller, as its token names it
    #[arg(long, group = "whom", requires = "reason")]
    subject: Option<String>,
    /// A session, as its client names it
    #[arg(long, group = "whom", requires = "reason")]
    session: Option<String>,
    /// A route
    #[arg(long, group = "whom", requires = "reason")]
    route: Option<String>,
    /// Every request
    #[arg(long, group = "whom", requires = "reason")]
    all: bool,
    /// What callers are told
    #[arg(short = 'm', long, alias = "message", value_name = "TEXT", requires = "whom")]
    reason: Option<String>,
    /// Only say what would happen
    #[arg(long, requires = "whom")]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

/// Let what was stopped go on
#[derive(Debug, Args)]
pub(super) struct Thaw {
    /// Freeze (frz_…)
    id: String,
    /// Only say what would happen
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    shown: Shown,
}

impl Freeze {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let Freeze { subject, session, route, all, reason, dry_run, shown } = self;
        let is_order = all || subject.is_some() || session.is_some() || route.is_some();
        let body = json!({
            "subject": subject, "session": session, "route": route, "all": all, "reason": reason,
        });
        if dry_run {
            return exit_code(block_on(foresee(&shown, &json!({ "freeze": body }), output)), output);
        }
        let asked = block_on(async {
            let path = "/api/v1/freezes";
            if !is_order {
                return shown.target.ask(Method::GET, path).await;
            }
            shown.target.ask_with(Method::POST, path, &body).await
        });
        finish(asked, None, shown.json, output)
    }
}

impl Thaw {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        if self.dry_run {
            return exit_code(block_on(foresee(&self.shown, &json!({ "thaw": self.id }), output)), output);
        }
        let asked =
            block_on(async { self.shown.target.ask(Method::DELETE, &id_path("freezes", &self.id)?).await });
        finish(asked, Some(format!("{} is thawed", self.id)), self.shown.json, output)
    }
}

/// Says what was `done`, if that has to be said, and shows what is stopped then.
fn finish(asked: Result<Answer, Failure>, done: Option<String>, json: bool, output: &mut Output) -> u8 {
    match asked.and_then(|answer| read::<Stop>(&answer, "freezes")) {
        Ok(stops) => {
            done.iter().for_each(|done| output.note(done));
            if json || done.is_none() || !stops.is_empty() {
                show(&stops, json, output);
            }
            exit::OK
        }
        Err(failure) => report(&failure, output),
    }
}

fn show(stops: &[Stop], json: bool, output: &mut Output) {
    if json {
        return output.json(&stops);
    }
    if stops.is_empty() {
        return output.note("nothing is frozen");
    }
    let heading = ["FREEZE", "WHOM", "SINCE", "BY", "REASON"];
    let row = |stop: &Stop| {
        let (whom, reason) = (inert::line(&stop.whom.to_string()), inert::line(&stop.reason));
        vec![stop.id.clone(), whom, clock(&stop.at), inert::line(&stop.by), reason]
    };
    output.result(&listing(&heading, stops.iter().map(row)));
}
