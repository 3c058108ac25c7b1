//! The parsed text with the place of every key and value. The [`Document`](super::Document) itself is plain
//! data; whoever has something to say about it names the path, and this finds the line.

use super::{Diagnostic, Included, Severity, Text};
use serde_spanned::Spanned;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// One step into the document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Key(String),
    Index(usize),
}

impl From<&str> for Step {
    fn from(key: &str) -> Step {
        Step::Key(key.to_owned())
    }
}

impl From<&String> for Step {
    fn from(key: &String) -> Step {
        Step::Key(key.clone())
    }
}

impl From<usize> for Step {
    fn from(index: usize) -> Step {
        Step::Index(index)
    }
}

/// Where something stands in the document, such as `route[2].match.path`.
pub type Path = Vec<Step>;

/// Builds a [`Path`]: `at!["route", 2, "match"]`.
macro_rules! at {
    ($($step:expr),* $(,)?) => { $crate::config::Path::from([$($crate::config::Step::from($step)),*]) };
}
pub(super) use at;

/// The path as people write it.
pub fn display(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => {
                text.push('.');
                text.push_str(key);
            }
            Step::Index(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// A value of the text and its byte span.
#[derive(Clone, Debug)]
pub struct Node {
    pub span: Range<usize>,
    pub value: Value,
}

/// What TOML can say.
#[derive(Clone, Debug)]
pub enum Value {
    /// In the order of the file.
    Table(Vec<Entry>),
    Array(Vec<Node>),
    String(String),
    /// `None` beyond 64 bits.
    Integer(Option<i64>),
    Float(f64),
    Boolean(bool),
    Datetime,
}

/// One key of a table.
#[derive(Clone, Debug)]
pub struct Entry {
    pub key: String,
    pub key_span: Range<usize>,
    pub node: Node,
}

impl Value {
    /// Its type as the TOML specification names it, with an article.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Table(_) => "a table",
            Value::Array(_) => "an array",
            Value::String(_) => "a string",
            Value::Integer(_) => "an integer",
            Value::Float(_) => "a float",
            Value::Boolean(_) => "a boolean",
            Value::Datetime => "a date",
        }
    }
}

impl Node {
    fn new(spanned: &Spanned<DeValue<'_>>) -> Node {
        let value = match spanned.get_ref() {
            DeValue::Table(table) => Value::Table(entries(table)),
            DeValue::Array(array) => Value::Array(array.iter().map(Node::new).collect()),
            DeValue::String(text) => Value::String(text.to_string()),
            DeValue::Integer(number) => {
                Value::Integer(i64::from_str_radix(number.as_str(), number.radix()).ok())
            }
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(yes) => Value::Boolean(*yes),
            DeValue::Datetime(_) => Value::Datetime,
        };
        Node { span: spanned.span(), value }
    }
}

fn entries(table: &DeTable<'_>) -> Vec<Entry> {
    let entry = |(key, node): (&Spanned<_>, &Spanned<_>)| {
        let text: &std::borrow::Cow<'_, str> = key.get_ref();
        Entry { key: text.to_string(), key_span: key.span(), node: Node::new(node) }
    };
    table.iter().map(entry).collect()
}

/// The text, parsed, with spans.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Name of the file, for diagnostics.
    pub file: String,
    /// The text that was parsed: the main file, and the included ones behind it.
    pub source: String,
    /// Where those stand in it.
    pub included: Vec<Included>,
    /// The whole document as one table.
    pub root: Node,
}

impl Tree {
    /// Parses; every syntax error is one diagnostic, and the tree holds what could be read.
    pub fn parse(text: &Text) -> (Tree, Vec<Diagnostic>) {
        let (table, errors) = DeTable::parse_recoverable(&text.source);
        let root = Node { span: table.span(), value: Value::Table(entries(table.get_ref())) };
        let tree = Tree {
            file: text.name.clone(),
            source: text.source.clone(),
            included: text.included.clone(),
            root,
        };
        let diagnostics = errors.iter().map(|error| {
            let span = error.span().unwrap_or(0..0);
            tree.diagnostic_at(span, Severity::Error, "syntax", error.message())
        });
        let diagnostics = diagnostics.collect();
        (tree, diagnostics)
    }

    /// Span of the value at `path`, else of the nearest table around it that was written.
    pub fn value_span(&self, path: &[Step]) -> Range<usize> {
        self.spans(path).1
    }

    /// Span of the key that leads to `path`, else of the nearest table around it that was written.
    pub fn key_span(&self, path: &[Step]) -> Range<usize> {
        self.spans(path).0
    }

    /// Whether something was written at `path`.
    pub fn has(&self, path: &[Step]) -> bool {
        self.nodes(path).len() == path.len()
    }

    fn spans(&self, path: &[Step]) -> (Range<usize>, Range<usize>) {
        let last = self.nodes(path).into_iter().last();
        last.map_or((0..0, 0..0), |(key, node)| (key, node.span.clone()))
    }

    /// Key span and node of each step of `path`, as far as it was written.
    fn nodes(&self, path: &[Step]) -> Vec<(Range<usize>, &Node)> {
        let mut node = &self.root;
        let mut found = Vec::new();
        for step in path {
            let key_span;
            match (step, &node.value) {
                (Step::Key(name), Value::Table(entries)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *name) else { break };
                    (key_span, node) = (entry.key_span.clone(), &entry.node);
                }
                (Step::Index(index), Value::Array(items)) => {
                    let Some(item) = items.get(*index) else { break };
                    (key_span, node) = (item.span.clone(), item);
                }
                _ => break,
            }
            found.push((key_span, node));
        }
        found
    }

    /// Line from 1 of what stands at `path`, in its file.
    pub fn line(&self, path: &[Step]) -> usize {
        self.line_at(self.key_span(path).start)
    }

    fn line_at(&self, at: usize) -> usize {
        let start = at.min(self.source.len());
        let (.., file) = self.file_at(start);
        let before = &self.source.as_bytes()[file.start.min(start)..start];
        before.iter().filter(|byte| **byte == b'\n').count() + 1
    }

    /// The line of what stands at `path`, for people who look at a finding in the file of `from`.
    pub fn line_from(&self, path: &[Step], from: &[Step]) -> String {
        let file = |path: &[Step]| self.file_at(self.key_span(path).start).0;
        match file(path) == file(from) {
            true => format!("line {}", self.line(path)),
            false => format!("{}:{}", file(path), self.line(path)),
        }
    }

    /// File and line of what stands at `path`, such as `ringward.toml:58` or `policies.d/sql.toml:3`.
    pub fn place(&self, path: &[Step]) -> String {
        self.place_at(self.key_span(path).start)
    }

    /// The same of a value of this tree.
    pub fn place_of(&self, node: &Node) -> String {
        self.place_at(node.span.start)
    }

    fn place_at(&self, at: usize) -> String {
        format!("{}:{}", self.file_at(at).1, self.line_at(at))
    }

    /// The text of the main file.
    pub fn main(&self) -> &str {
        &self.source[self.file_at(0).2]
    }

    /// The file that a byte of the text belongs to: its name, its name below the directory of the main
    /// file, and where it stands.
    fn file_at(&self, at: usize) -> (&str, &str, Range<usize>) {
        let file = self.included.iter().rev().find(|file| file.range.start <= at);
        match file {
            Some(file) => (&file.name, &file.below, file.range.clone()),
            None => {
                let main = std::path::Path::new(&self.file).file_name().and_then(|name| name.to_str());
                let end = self.included.first().map_or(self.source.len(), |first| first.range.start);
                (&self.file, main.unwrap_or(&self.file), 0..end)
            }
        }
    }

    /// A finding about the value at `path`.
    pub fn value(
        &self,
        path: &[Step],
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic_at(self.value_span(path), severity, code, message)
    }

    /// A finding about the key at `path`.
    pub fn key(
        &self,
        path: &[Step],
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        self.diagnostic_at(self.key_span(path), severity, code, message)
    }

    /// A finding at a byte span of the text.
    pub fn diagnostic_at(
        &self,
        span: Range<usize>,
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        let (name, _, file) = self.file_at(span.start);
        let within = |at: usize| at.clamp(file.start, file.end) - file.start;
        let span = within(span.start)..within(span.end);
        Diagnostic::new((name, &self.source[file]), span, severity, code, message)
    }
}
