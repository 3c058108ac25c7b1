//! What operators have stopped, for the exchanges to look at.

use arc_swap::ArcSwap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

/// One stop, until somebody takes it away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Freeze {
    /// `frz_…`
    pub id: String,
    pub whom: Whom,
    /// What its callers are told.
    pub reason: String,
    /// Who did it.
    pub by: String,
    /// RFC 3339.
    pub at: String,
}

/// What is stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Whom {
    /// A caller, as its token names it.
    Subject(String),
    /// A session, as its client names it.
    Session(String),
    Route(String),
    All,
}

impl Whom {
    /// Whether a request of these is meant.
    pub fn meets(&self, subject: Option<&str>, session: &str, route: &str) -> bool {
        match self {
            Whom::Subject(name) => subject == Some(name),
            Whom::Session(name) => session == name,
            Whom::Route(name) => route == name,
            Whom::All => true,
        }
    }
}

/// `subject agent-7`, for records.
impl std::fmt::Display for Whom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Whom::Subject(name) => write!(f, "subject {name}"),
            Whom::Session(name) => write!(f, "session {name}"),
            Whom::Route(name) => write!(f, "route {name}"),
            Whom::All => f.write_str("all"),
        }
    }
}

/// All stops in force, published to every shard.
#[derive(Debug, Default)]
pub struct Freezer {
    /// Most of the time nothing is: then nothing else is looked at.
    any: AtomicBool,
    list: ArcSwap<Vec<Freeze>>,
    version: AtomicU64,
}

impl Freezer {
    /// What is in force from now on.
    pub fn publish(&self, list: Vec<Freeze>) {
        let any = !list.is_empty();
        self.list.store(Arc::new(list));
        self.any.store(any, Ordering::Release);
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Grows with each change: who has looked at one version need not look again.
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Whether anything is stopped.
    pub fn is_any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// Why a request of these is stopped, if it is.
    pub fn reason(&self, subject: Option<&str>, session: &str, route: &str) -> Option<String> {
        let list = self.list.load();
        let found = list.iter().find(|freeze| freeze.whom.meets(subject, session, route));
        found.map(|freeze| freeze.reason.clone())
    }
}
