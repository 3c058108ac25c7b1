//! `ringward policy replay`.

use super::report::{About, Finding, Report, Shape};
use crate::{
    archive::{Archive, Exchange, Filter, Span},
    cli::{
        ConfigFile,
        admin_client::Failure,
        audit_proof, exit,
        output::{Output, REQUESTS_BAR},
        sessions::{
            source::{failure, open_folder},
            when,
        },
    },
    config::{self, Host, Snapshot, Text},
    exchange::replay::{Recorded, Replayer},
    inspect::Rule,
    time::Timestamp,
};
use clap::Args;
use std::{collections::HashMap, path::PathBuf, sync::Arc};

/// Exchanges that are listed at once.
const PAGE: usize = 500;

/// Decide recorded requests again, by another configuration: what would its policies and masks change?
///
/// Nothing is sent anywhere. Each recorded request goes through the routes and policies of FILE, with the
/// caller as it was proven then, and recorded bodies go through its masks. What a record does not hold is
/// UNKNOWN and counted apart: a body that was not recorded, is cut, or was masked where a policy looks at it,
/// and requests that were refused before a policy was asked.
///
/// Exit code 0: every decision that can be told is the same. 7: there are differences. 3: FILE has errors.
/// 6: the log is damaged.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// The other configuration, whole; - is standard input
    #[arg(long, value_name = "FILE")]
    against: PathBuf,
    /// Folder of the log [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// File with the age identity of an auditor, for segments that are encrypted
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
    /// Only what began since then: a time in UTC such as 2026-11-21T09:30:00Z, or how long ago, such as 2h
    #[arg(long, value_name = when::EXAMPLE, value_parser = when::parse)]
    since: Option<Timestamp>,
    /// Only what began before then
    #[arg(long, value_name = when::EXAMPLE, value_parser = when::parse)]
    until: Option<Timestamp>,
    /// Only this session (ses_…, or the beginning of it), or that of a request (req_…)
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only requests that this route took
    #[arg(long, value_name = "ROUTE")]
    route: Option<String>,
    /// As one JSON document
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    file: ConfigFile,
}

/// Why there is no answer.
pub(super) enum Stop {
    /// It was said already.
    Said(u8),
    Failure(Failure),
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Stop {
        Stop::Failure(failure)
    }
}

impl From<crate::archive::Error> for Stop {
    fn from(error: crate::archive::Error) -> Stop {
        Stop::Failure(failure(error))
    }
}

impl Replay {
    pub(super) fn run(self, output: &mut Output) -> Result<u8, Stop> {
        let snapshot = self.other(output)?;
        let dir = audit_proof::folder(self.dir.clone(), &self.file, output).map_err(Stop::Said)?;
        let archive = open_folder(&dir, self.identity.as_deref())?;
        let closed = archive.sessions(&Filter { limit: Some(1), ..Filter::default() })?.encrypted_segments;
        if closed > 0 {
            output.note(&format!("{closed} encrypted segments are left out: --identity opens them"));
        }
        let session = match &self.session {
            Some(id) => Some(archive.session(id)?.id),
            None => None,
        };
        let span = Span { session, since: self.since, until: self.until, ..Span::default() };
        let bar = output.progress(REQUESTS_BAR);
        bar.set_length(archive.count(&span)?);
        let shape = if self.json { Shape::Json } else { Shape::Text };
        let mut report = Report::new(shape, bar.clone());
        report.begin(output)?;
        self.all(&archive, &snapshot, span, &mut |finding| {
            bar.inc(1);
            match finding {
                Some(finding) => report.take(&finding, output),
                None => Ok(true),
            }
        })?;
        bar.finish_and_clear();
        Ok(report.end(output)?)
    }

    /// Compiles the other configuration as `check` does.
    fn other(&self, output: &mut Output) -> Result<Snapshot, Stop> {
        let text = Text::read(&self.against).map_err(|error| Failure {
            message: format!("cannot read {}: {error}", self.against.display()),
            code: exit::FAILED,
        })?;
        let compiled =
            config::load(&text).and_then(|loaded| config::compile(&loaded, &text, &Host::of_process(), None));
        compiled.map_err(|found| {
            output.diagnostics(&found);
            Stop::Said(exit::CONFIG)
        })
    }

    /// Replays the exchanges of `span` in their order; nothing for those that are not wanted. `take` says
    /// whether it wants more.
    fn all(
        &self,
        archive: &Archive,
        snapshot: &Snapshot,
        span: Span,
        take: &mut dyn FnMut(Option<Finding<'_>>) -> Result<bool, Failure>,
    ) -> Result<(), Stop> {
        let secure = snapshot.listeners.iter().map(|listener| listener.tls.is_some()).collect();
        let mut replayer = Replayer::new(snapshot.plan.clone(), secure);
        let mut masks = Masks { archive, newest: None };
        let mut span = Span { limit: Some(PAGE), ..span };
        loop {
            let page = archive.exchanges(&span)?;
            for exchange in &page {
                let is_wanted = self.route.is_none() || self.route == exchange.route;
                let records = if is_wanted { archive.records(exchange)? } else { Vec::new() };
                let recorded = Recorded::new(&records);
                let goes_on = match &recorded {
                    None => take(None)?,
                    Some(recorded) => {
                        let then = masks.of(recorded.generation, exchange)?;
                        let replayed = replayer.replay(recorded, then.as_deref());
                        take(Some(Finding { exchange, about: About::new(recorded, replayed) }))?
                    }
                };
                if !goes_on {
                    return Ok(());
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => span.after = Some(last.sequence),
                _ => return Ok(()),
            }
        }
    }
}

/// Masks by the name of their route.
type ByRoute = HashMap<String, Arc<[Rule]>>;

/// The masks of each route in the configuration that was in force.
struct Masks<'a> {
    archive: &'a Archive,
    /// The configuration that was asked for last, by the number of its record.
    newest: Option<(u64, ByRoute)>,
}

impl Masks<'_> {
    /// Nothing, where the log does not hold the configuration or this program cannot read it any more.
    fn of(&mut self, generation: u64, exchange: &Exchange) -> Result<Option<Arc<[Rule]>>, Stop> {
        let Some(sequence) = self.archive.configured_by(generation, exchange.sequence)? else {
            return Ok(None);
        };
        if self.newest.as_ref().is_none_or(|(known, _)| *known != sequence) {
            let text = self.archive.configuration(sequence)?;
            self.newest = Some((sequence, text.map(|text| masks(&text)).unwrap_or_default()));
        }
        let routes = self.newest.as_ref().map(|(_, routes)| routes);
        Ok(routes.zip(exchange.route.as_ref()).and_then(|(routes, route)| routes.get(route).cloned()))
    }
}

/// The masks of each route of a configuration.
fn masks(source: &str) -> ByRoute {
    let text = Text::new("", "", source);
    let Ok(loaded) = config::load(&text) else { return HashMap::new() };
    let document = &loaded.document;
    let routes = document.route.iter();
    routes
        .filter_map(|route| Some((route.name.clone(), config::mask_rules(document, route).ok()?.into())))
        .collect()
}
