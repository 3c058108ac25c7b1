//! Recorded requests under another configuration: `ringward policy replay` and
//! `POST /api/v1/policies:replay`.

use crate::{
    archive::{self, Archive, Exchange},
    config::{self, Snapshot, Text},
    exchange::replay::{Change, Recorded, Replayed, Replayer, Unknown, Verdict},
    inspect::Rule,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// One exchange: what was decided, and what would be.
#[derive(Debug)]
pub struct Finding {
    pub then: Option<Verdict>,
    /// The code of a refusal.
    pub code: Option<String>,
    pub now: Replayed,
}

impl Finding {
    /// What changes, in a word; `None` for nothing that is known.
    pub fn change(&self) -> Option<String> {
        match (&self.then, &self.now.verdict) {
            (Some(then), Ok(now)) if then.answer != now.answer => {
                Some(format!("{}→{}", then.answer.as_str(), now.answer.as_str()))
            }
            (Some(then), Ok(now)) if !then.agrees(now) => Some("POLICY".to_owned()),
            _ if !self.now.spans.is_empty() => Some("MASKS".to_owned()),
            _ => None,
        }
    }

    /// What is not known, and why.
    pub fn unknown(&self) -> Option<(&'static str, Unknown)> {
        let decision = self.now.verdict.as_ref().err().map(|unknown| ("decision", *unknown));
        decision.or(self.now.spans_unknown.map(|unknown| ("masks", unknown)))
    }
}

/// How many exchanges, and what became of them.
#[derive(Debug, Default)]
pub struct Counts {
    pub exchanges: u64,
    pub different: u64,
    /// Nothing of them differs, and not all of them is known.
    pub unknown: u64,
    pub changes: BTreeMap<String, u64>,
    pub spans_added: u64,
    pub spans_removed: u64,
    pub spans_exchanges: u64,
    pub reasons: BTreeMap<&'static str, u64>,
}

impl Counts {
    /// Takes one exchange in.
    pub fn count(&mut self, finding: &Finding) {
        self.exchanges += 1;
        let change = finding.change();
        if let Some((_, reason)) = finding.unknown() {
            self.unknown += u64::from(change.is_none());
            *self.reasons.entry(reason.as_str()).or_default() += 1;
        }
        if let Some(change) = change {
            self.different += 1;
            *self.changes.entry(change).or_default() += 1;
        }
        let spans = &finding.now.spans;
        let added = spans.iter().filter(|span| span.change == Change::Added).count() as u64;
        self.spans_added += added;
        self.spans_removed += spans.len() as u64 - added;
        self.spans_exchanges += u64::from(!spans.is_empty());
    }

    /// Exchanges of which all is known, and nothing differs.
    pub fn same(&self) -> u64 {
        self.exchanges - self.different - self.unknown
    }
}

/// Recorded exchanges of one archive on one configuration.
pub struct Replay<'a> {
    archive: &'a Archive,
    replayer: Replayer,
    masks: Masks<'a>,
}

impl<'a> Replay<'a> {
    /// The exchanges of `archive` on `snapshot`.
    pub fn new(archive: &'a Archive, snapshot: &Snapshot) -> Replay<'a> {
        let secure = snapshot.listeners.iter().map(|listener| listener.tls.is_some()).collect();
        let replayer = Replayer::new(snapshot.plan.clone(), secure);
        Replay { archive, replayer, masks: Masks { archive, newest: None } }
    }

    /// What changes about one exchange; nothing, where its records have no beginning.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn one(&mut self, exchange: &Exchange) -> Result<Option<Finding>, archive::Error> {
        let records = self.archive.records(exchange)?;
        let Some(recorded) = Recorded::new(&records) else { return Ok(None) };
        let then = self.masks.of(recorded.generation, exchange)?;
        let now = self.replayer.replay(&recorded, then.as_deref());
        let code = recorded.code.map(str::to_owned);
        Ok(Some(Finding { then: recorded.verdict, code, now }))
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
    fn of(&mut self, generation: u64, exchange: &Exchange) -> Result<Option<Arc<[Rule]>>, archive::Error> {
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
    let Ok(loaded) = config::load(&Text::new("", "", source)) else { return HashMap::new() };
    let document = &loaded.document;
    let routes = document.route.iter();
    routes
        .filter_map(|route| Some((route.name.clone(), config::mask_rules(document, route).ok()?.into())))
        .collect()
}
