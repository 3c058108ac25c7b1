//! `ringward policy replay`.

use super::report::{Report, Shape};
use crate::{
    app::{self, replay::Finding},
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
    time::Timestamp,
};
use clap::Args;
use std::path::PathBuf;

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

/// Takes one exchange, or that one was passed over; says whether it wants more.
type Take<'a> = dyn FnMut(Option<(&Exchange, Finding)>) -> Result<bool, Failure> + 'a;

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
                Some((exchange, finding)) => report.take(exchange, &finding, output),
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

    /// Replays the exchanges of `span` in their order.
    fn all(
        &self,
        archive: &Archive,
        snapshot: &Snapshot,
        span: Span,
        take: &mut Take<'_>,
    ) -> Result<(), Stop> {
        let mut replay = app::replay::Replay::new(archive, snapshot);
        let mut span = Span { limit: Some(PAGE), ..span };
        loop {
            let page = archive.exchanges(&span)?;
            for exchange in &page {
                let is_wanted = self.route.is_none() || self.route == exchange.route;
                let finding = if is_wanted { replay.one(exchange)? } else { None };
                if !take(finding.map(|finding| (exchange, finding)))? {
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
