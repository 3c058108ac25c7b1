//! What the tables say about each other: unknown and unused names, policies that can never decide, listeners
//! in each other's way. Works on the document alone; what files and the environment say is checked in
//! `provision`.

mod credentials;
mod login;
mod names;
mod network;
mod notify;
mod policies;
mod routes;
mod upstreams;

pub(super) use policies::approvers;
pub(super) use routes::{canonical_prefix, matcher};

use super::diagnostic::suggestion;
use super::tree::Path;
use super::{Diagnostic, Document, Severity, Tree};

/// Codes of findings that a misspelt key elsewhere may be the cause of.
pub const FOLLOWS: [&str; 4] = ["unused", "unknown-name", "no-listener", "fall-through"];

/// Everything that can be said from the document alone.
pub fn check(document: &Document, tree: &Tree) -> Vec<Diagnostic> {
    let mut lint = Lint { document, tree, found: Vec::new() };
    names::check(&mut lint);
    network::check(&mut lint);
    credentials::check(&mut lint);
    login::check(&mut lint);
    notify::check(&mut lint);
    policies::check(&mut lint);
    routes::check(&mut lint);
    lint.found
}

/// The findings so far, and what they are about.
struct Lint<'a> {
    document: &'a Document,
    tree: &'a Tree,
    found: Vec<Diagnostic>,
}

impl Lint<'_> {
    /// An error about the value at `path`.
    fn error(&mut self, path: &Path, code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
        self.push(self.tree.value(path, Severity::Error, code, message))
    }

    /// A warning about the value at `path`.
    fn warning(&mut self, path: &Path, code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
        self.push(self.tree.value(path, Severity::Warning, code, message))
    }

    /// An error about a name that is not among `allowed`.
    fn unknown(&mut self, path: &Path, what: &str, written: &str, allowed: &[&str]) {
        let help = suggestion(written, allowed, "defined");
        self.error(path, "unknown-name", format!("unknown {what} `{written}`")).help = Some(help);
    }

    fn push(&mut self, diagnostic: Diagnostic) -> &mut Diagnostic {
        self.found.push(diagnostic);
        // It was pushed in the line above.
        self.found.last_mut().expect("the list is not empty")
    }
}

impl Diagnostic {
    /// Adds the remedy to one that is already in a list.
    fn remedy(&mut self, help: impl Into<String>) {
        self.help = Some(help.into());
    }
}
