//! `ringward tune`: is the machine as a gateway wants it, and what would put it right?

use super::{exit, output::Output, sessions::lines::listing};
use crate::tune::{
    self, Applied, Definition, Finding, Host, Mark, Outcome, Severity, StateError, Topology, definitions,
};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Check the settings of this machine, change them, and take that back
///
/// It changes files below /proc/sys alone, after it has kept what was there; it never reboots.
#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    List(List),
    Check(Check),
    Plan(Plan),
    Apply(Apply),
    Revert(Revert),
    Suggest(Suggest),
    Help(Help),
}

/// List what is checked
#[derive(Debug, Args)]
struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Which settings of which machine.
#[derive(Debug, Args)]
struct Chosen {
    /// Only these, such as somaxconn,port-range
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    #[command(flatten)]
    root: Root,
}

#[derive(Debug, Args)]
struct Root {
    /// Where /proc, /sys and /etc of the machine are, such as /host where a container has them there
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// Say what is not as it should be
///
/// Exit code 0: everything is; 8: there are warnings; 9: there are failures.
#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    chosen: Chosen,
    /// Look at the limits of this process, such as those of a running gateway
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Print the script that apply would run, and what would be gone after a reboot
#[derive(Debug, Args)]
struct Plan {
    #[command(flatten)]
    chosen: Chosen,
}

/// Put right what is not as it should be, and keep what was before
#[derive(Debug, Args)]
struct Apply {
    #[command(flatten)]
    chosen: Chosen,
    #[command(flatten)]
    state: StateFile,
    /// Also write /etc/sysctl.d/90-ringward.conf, so that it is so after a reboot
    #[arg(long)]
    persist: bool,
    /// Change nothing: the same as plan
    #[arg(long)]
    dry_run: bool,
}

/// Put back what apply has changed
#[derive(Debug, Args)]
struct Revert {
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    state: StateFile,
    /// Also what somebody else has changed since
    #[arg(long)]
    force: bool,
    /// Change nothing: say what would be put back
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct StateFile {
    /// Where apply keeps what was before
    #[arg(long = "state", value_name = "FILE", default_value = "/var/lib/ringward/tune.json")]
    file: PathBuf,
}

/// Write a cores.toml that fits this machine to standard output
#[derive(Debug, Args)]
struct Suggest {
    #[command(flatten)]
    root: Root,
}

/// Explain one setting: why, what was measured, how to undo it
#[derive(Debug, Args)]
struct Help {
    /// Its name, as `tune list` shows it
    name: String,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        match self.what {
            What::List(list) => list.run(output),
            What::Check(check) => check.run(output),
            What::Plan(plan) => print_plan(&plan.chosen, output),
            What::Apply(apply) => apply.run(output),
            What::Revert(revert) => revert.run(output),
            What::Suggest(Suggest { root }) => {
                output.result(&tune::suggest(&Topology::of(&Host::new(root.root, None))));
                exit::OK
            }
            What::Help(help) => help.run(output),
        }
    }
}

impl List {
    fn run(self, output: &mut Output) -> u8 {
        let all = definitions();
        if self.json {
            output.json(&all.iter().map(described).collect::<Vec<_>>());
            return exit::OK;
        }
        let heading = ["NAME", "SETTING", "WANTED", "IF NOT", "WHY"];
        let row = |one: &Definition| {
            let word = severity(one.severity).to_owned();
            vec![one.id.clone(), one.setting(), one.wanted(), word, one.why.clone()]
        };
        output.result(&listing(&heading, all.iter().map(row)));
        exit::OK
    }
}

fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Warning => "warning",
        Severity::Failure => "failure",
    }
}

fn described(one: &Definition) -> Value {
    json!({
        "id": one.id, "setting": one.setting(), "wanted": one.wanted(), "severity": severity(one.severity),
        "why": one.why, "evidence": one.evidence, "fix": one.fix, "undo": one.undo, "source": one.source,
    })
}

/// The settings that were asked for; a name that there is not is a fault of the command line.
fn selected(only: &[String], output: &mut Output) -> Result<Vec<Definition>, u8> {
    let all = definitions();
    let names: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
    if let Some(unknown) = only.iter().find(|name| !names.contains(&name.as_str())) {
        output.error(&format!("there is no setting `{}`", super::inert::line(unknown)));
        output.note(&crate::config::diagnostic::suggestion(unknown, &names, "settings"));
        return Err(exit::USAGE);
    }
    Ok(all.into_iter().filter(|one| only.is_empty() || only.contains(&one.id)).collect())
}

impl Check {
    fn run(self, output: &mut Output) -> u8 {
        let chosen = match selected(&self.chosen.only, output) {
            Ok(chosen) => chosen,
            Err(code) => return code,
        };
        let host = Host::new(self.chosen.root.root, self.pid);
        let findings: Vec<_> = chosen.iter().map(|one| tune::look(&host, one)).collect();
        let count = |mark| findings.iter().filter(|finding| finding.mark == mark).count();
        let (warnings, failures) = (count(Mark::Warning), count(Mark::Failure));
        if self.json {
            let checks: Vec<_> = findings.iter().map(as_json).collect();
            output.json(&json!({ "checks": checks, "warnings": warnings, "failures": failures }));
        } else {
            output.result(&rows(&findings));
            if failures + warnings > 0 {
                output.note(&format!(
                    "failures: {failures}, warnings: {warnings}; `ringward tune help NAME` explains one, \
                     `ringward tune plan` prints what would change it"
                ));
            }
        }
        match (failures, warnings) {
            (0, 0) => exit::OK,
            (0, _) => exit::TUNE_WARNINGS,
            _ => exit::TUNE_FAILURES,
        }
    }
}

fn rows(findings: &[Finding<'_>]) -> String {
    let heading = ["MARK", "NAME", "SETTING", "CURRENT", "WANTED", "WHY"];
    let row = |finding: &Finding<'_>| {
        let one = finding.definition;
        let mark = finding.mark.word().to_owned();
        vec![mark, one.id.clone(), one.setting(), finding.current.clone(), one.wanted(), one.why.clone()]
    };
    listing(&heading, findings.iter().map(row))
}

fn as_json(finding: &Finding<'_>) -> Value {
    let mark = match finding.mark {
        Mark::Good => "ok",
        Mark::Warning => "warning",
        Mark::Failure => "failure",
        Mark::Skipped => "skipped",
    };
    let mut value = described(finding.definition);
    value["mark"] = mark.into();
    value["current"] = finding.current.as_str().into();
    value
}

fn print_plan(chosen: &Chosen, output: &mut Output) -> u8 {
    let definitions = match selected(&chosen.only, output) {
        Ok(definitions) => definitions,
        Err(code) => return code,
    };
    let host = Host::new(&chosen.root.root, None);
    let findings = definitions.iter().map(|one| tune::look(&host, one)).collect();
    output.result(&tune::plan(&host, findings).script());
    exit::OK
}

impl Apply {
    fn run(self, output: &mut Output) -> u8 {
        if self.dry_run {
            return print_plan(&self.chosen, output);
        }
        let definitions = match selected(&self.chosen.only, output) {
            Ok(definitions) => definitions,
            Err(code) => return code,
        };
        let host = Host::new(self.chosen.root.root, None);
        let findings = definitions.iter().map(|one| tune::look(&host, one)).collect();
        let plan = tune::plan(&host, findings);
        let applied = match tune::apply(&host, &plan, &self.state.file) {
            Ok(applied) => applied,
            Err(error) => return failed(&error, output),
        };
        if plan.changes.is_empty() {
            output.note("nothing is to be written");
        }
        let code = report(&applied, output);
        for finding in &plan.by_hand {
            output.note(&format!("by hand, {}: {}", finding.definition.id, finding.definition.fix));
        }
        if self.persist {
            match tune::persist(&host, &self.state.file) {
                Ok(Some(file)) => output.note(&format!("{} keeps it over a reboot", file.display())),
                Ok(None) => output.note("nothing was applied that a reboot would undo"),
                Err(error) => return failed(&error, output),
            }
        } else if applied.iter().any(|one| matches!(one.outcome, Outcome::Changed(..))) {
            output.note("gone after a reboot; `apply --persist` keeps it, `revert` undoes it");
        }
        code
    }
}

fn failed(error: &StateError, output: &mut Output) -> u8 {
    output.error(&error.to_string());
    if let StateError::Read { source, .. } | StateError::Write { source, .. } = error
        && source.kind() == std::io::ErrorKind::PermissionDenied
    {
        output.note("run it as root");
    }
    exit::FAILED
}

/// One line a setting; fails where one of them did.
fn report(applied: &[Applied], output: &mut Output) -> u8 {
    let mut code = exit::OK;
    for one in applied {
        match &one.outcome {
            Outcome::Changed(from, to) => output.result(&format!("{}: {from} -> {to}\n", one.id)),
            Outcome::Kept(value) => output.result(&format!("{}: {value} already\n", one.id)),
            Outcome::Failed(why) => {
                output.error(&format!("{} ({}): {why}", one.id, one.file.display()));
                code = exit::FAILED;
            }
        }
    }
    code
}

impl Revert {
    fn run(self, output: &mut Output) -> u8 {
        let host = Host::new(self.root.root, None);
        let reverted = match tune::revert(&host, &self.state.file, self.force, self.dry_run) {
            Ok(reverted) => reverted,
            Err(error) => return failed(&error, output),
        };
        let code = report(&reverted, output);
        match tune::unpersist(&host, &self.state.file, self.dry_run) {
            Ok(Some(file)) => output.result(&format!("{} removed\n", file.display())),
            Ok(None) if reverted.is_empty() => output.note("nothing is to be put back"),
            Ok(None) => {}
            Err(error) => return failed(&error, output),
        }
        if self.dry_run {
            output.note("nothing was changed (--dry-run)");
        }
        code
    }
}

impl Help {
    fn run(self, output: &mut Output) -> u8 {
        let definitions = match selected(std::slice::from_ref(&self.name), output) {
            Ok(definitions) => definitions,
            Err(code) => return code,
        };
        for one in &definitions {
            let lines = [
                ("setting", one.setting()),
                ("wanted", one.wanted()),
                ("if not", severity(one.severity).to_owned()),
                ("why", one.why.clone()),
                ("measured", one.evidence.clone()),
                ("fix", one.fix.clone()),
                ("undo", one.undo.clone()),
                ("source", one.source.clone()),
            ];
            let lines: String = lines.iter().map(|(name, text)| format!("  {name:9} {text}\n")).collect();
            output.result(&format!("{}\n{lines}", one.id));
        }
        exit::OK
    }
}
