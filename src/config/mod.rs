//! The configuration: TOML text → [`Document`] (what was written, one file a table) → `Snapshot` (what runs).
//!
//! What it is not: it binds no socket and starts nothing. Reading the file, the secrets and the certificates
//! that it names is all the I/O here. Whatever is wrong is a [`Diagnostic`] with file, line, column, the
//! source line and a remedy; all of them are collected, not the first only.
//!
//! Start at [`document::Document`] for the shape, [`structure`] for keys and types, [`lint`] for what goes
//! wrong between tables.

mod admin;
mod audit;
pub mod compile;
mod deny;
pub mod diagnostic;
pub mod document;
mod hold;
mod host;
mod identity;
pub mod included;
mod limits;
pub mod lint;
mod listen;
mod log;
mod login;
mod mask;
mod mask_file;
mod notify;
pub mod origin;
mod policy;
mod route;
mod runtime;
pub mod schema;
mod secrets;
pub mod snapshot;
pub mod structure;
pub mod tree;
mod tuning;
mod upstreams;
mod value;

pub use compile::{compile, mask_rules, unreadable_secret, unusable_notify};
pub use diagnostic::{Diagnostic, Format, Severity, UNREADABLE_FILE};
pub use document::Document;
pub use host::Host;
pub use origin::{ListenAddr, Origin};
pub use snapshot::{
    AccessLog, AdminCredential, AdminPlan, AuditPlan, CapacityPlan, Listener, LogPlan, LoginPlan, LoginRole,
    RuntimePlan, Snapshot,
};
pub use tree::{Path, Step, Tree};
pub use value::{Period, Share, Size};

pub use admin::{Admin, AdminRole, AdminToken};
pub use audit::{Audit, Commit};
pub use deny::{Deny, DenyStatus};
pub use hold::Hold;
pub use identity::{Accept, Claims, Identity, IdentityMap, MapCondition};
pub use included::{Change, FileName, Folder, Included};
pub use limits::Limits;
pub use listen::{
    ClientAddress, KeySource, Listen, ListenTls, ProxyProtocol, ServerTls, TlsVersion, UnknownSni,
};
pub use log::{Level, Log};
pub use login::{ApproverRole, ApproverTable, Login, LoginClaims, Roles};
pub use mask::{Direction, Mask, MaskKind};
pub use mask_file::load_masks;
pub use notify::{Notify, NotifyKind};
pub use policy::{
    Action, Approval, BodyCondition, FieldCondition, FieldTable, JsonCondition, Policy, Scalar, SqlCondition,
    Timeout, When,
};
pub use route::{Bodies, Match, Record, RecordTable, Route, Thinking};
pub use runtime::{Cores, Driver, Runtime};
pub use secrets::{ClientAuth, ExchangeKind, ExchangeSource, Secret, Source};
pub use tuning::{CpuList, ShardTuning, Tuning, load_tuning};
pub use upstreams::{
    Authorization, CaSource, EndpointTls, Inject, Pool, Protocol, Timeouts, Upstream, UpstreamTls,
};

use std::path::PathBuf;

/// The text of a configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Text {
    /// Name shown in diagnostics and in the `rule` member of refusals, such as `ringward.toml`.
    pub name: String,
    /// Directory that relative paths in the file start from.
    pub base: PathBuf,
    /// The TOML itself, with that of the included files behind it.
    pub source: String,
    /// The files of the include folders, in their order.
    pub included: Vec<Included>,
}

impl Text {
    /// A text without included files.
    pub fn new(name: impl Into<String>, base: impl Into<PathBuf>, source: impl Into<String>) -> Text {
        Text { name: name.into(), base: base.into(), source: source.into(), included: Vec::new() }
    }

    /// Reads a configuration: its main file, and those of the include folders beside it. Standard input,
    /// for `-`, stands alone (its relative paths start from the working directory).
    ///
    /// # Errors
    /// The operator's: a file is missing, unreadable, or not UTF-8.
    pub fn read(path: &std::path::Path) -> std::io::Result<Text> {
        Text::read_with(path, None)
    }

    /// [`Text::read`] as it would be after a change of one included file.
    ///
    /// # Errors
    /// As there.
    pub fn read_with(path: &std::path::Path, change: Option<&Change>) -> std::io::Result<Text> {
        let mut text = Text::read_alone(path)?;
        if path.as_os_str() != "-" {
            included::append(&mut text, change)?;
        }
        Ok(text)
    }

    /// The configuration of the main file at `path` as it would be if that held `source`.
    ///
    /// # Errors
    /// As for [`Text::read`].
    pub fn read_as(path: &std::path::Path, source: String) -> std::io::Result<Text> {
        let mut text = Text::new(path.display().to_string(), base_of(path), source);
        included::append(&mut text, None)?;
        Ok(text)
    }

    /// Reads one file, or standard input, and nothing beside it.
    ///
    /// # Errors
    /// As for [`Text::read`].
    pub fn read_alone(path: &std::path::Path) -> std::io::Result<Text> {
        if path.as_os_str() == "-" {
            let source = std::io::read_to_string(std::io::stdin())?;
            return Ok(Text::new("<stdin>", ".", source));
        }
        let source = std::fs::read_to_string(path)?;
        Ok(Text::new(path.display().to_string(), base_of(path), source))
    }

    /// Bytes of [`Text::source`] that are the main file's.
    pub fn main_bytes(&self) -> usize {
        self.included.first().map_or(self.source.len(), |file| file.range.start)
    }
}

/// Directory that relative paths in the configuration file start from.
pub fn base_of(path: &std::path::Path) -> PathBuf {
    let base = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    base.map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// A document that parsed, with what there is to say about it.
#[derive(Debug)]
pub struct Loaded {
    pub document: Document,
    /// Where everything stands in the text.
    pub tree: Tree,
    /// Sorted by line. May hold errors: then the document must not be run.
    pub diagnostics: Vec<Diagnostic>,
}

impl Loaded {
    /// Whether something forbids running this configuration.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|one| one.severity == Severity::Error)
    }
}

/// Parses and checks a configuration without touching anything but the text: syntax, keys, types, and what
/// the tables say about each other.
///
/// # Errors
/// When no [`Document`] can be made of the text at all: every diagnostic that was found until then.
pub fn load(text: &Text) -> Result<Loaded, Vec<Diagnostic>> {
    let mut broken = included::check(text);
    if !broken.is_empty() {
        diagnostic::sort(&mut broken);
        return Err(broken);
    }
    let (tree, mut diagnostics) = Tree::parse(text);
    if diagnostics.is_empty() {
        diagnostics = structure::check(&tree);
    }
    let fatal = diagnostics.iter().any(|one| one.code != structure::UNKNOWN_KEY);
    if fatal {
        diagnostic::sort(&mut diagnostics);
        return Err(diagnostics);
    }
    let document = match toml::from_str::<Document>(&text.source) {
        Ok(document) => document,
        // The misspelt key is the one that is missing.
        Err(_) if !diagnostics.is_empty() => return Err(diagnostics),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            diagnostics.push(tree.diagnostic_at(span, Severity::Error, "config-type", error.message()));
            return Err(diagnostics);
        }
    };
    let misspelt = !diagnostics.is_empty();
    let found = lint::check(&document, &tree).into_iter();
    // What a misspelt key would have defined or used is not guessed.
    diagnostics.extend(found.filter(|one| !misspelt || !lint::FOLLOWS.contains(&one.code)));
    diagnostic::sort(&mut diagnostics);
    Ok(Loaded { document, tree, diagnostics })
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn text(source: &str) -> Text {
        Text::new("ringward.toml", ".", source)
    }

    #[test]
    fn the_example_loads_without_a_word() {
        let source = include_str!("../../ringward.example.toml");
        match load(&text(source)) {
            Ok(loaded) => {
                let shown = diagnostic::render_all(&loaded.diagnostics, Format::Text, false);
                assert_eq!(shown, "");
                let printed = toml::to_string_pretty(&loaded.document).unwrap();
                let again = load(&text(&printed)).map(|loaded| toml::to_string_pretty(&loaded.document));
                assert_eq!(again.unwrap().unwrap(), printed);
            }
            Err(diagnostics) => panic!("{}", diagnostic::render_all(&diagnostics, Format::Text, false)),
        }
    }
}
