//! What is wrong with a configuration, and how it is shown: as text for people, as JSON, as SARIF 2.1.0.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde::Serialize;

/// [`Diagnostic::code`] of a file that the configuration names and that cannot be read.
pub const UNREADABLE_FILE: &str = "unreadable-file";

/// How bad a [`Diagnostic`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration must not run.
    Error,
    /// It runs, but probably not as meant. An error under `--strict`.
    Warning,
}

/// How diagnostics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Source excerpts for people.
    Text,
    /// One JSON array.
    Json,
    /// SARIF 2.1.0, as code hosts read it.
    Sarif,
}

/// One finding, placed in the text. It holds its source line, so that it can be shown without the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    pub severity: Severity,
    /// Stable name of the rule, such as `unknown-key`.
    pub code: &'static str,
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Characters that are underlined, at least 1, all on this line.
    pub length: usize,
    /// The line of the file, without its end.
    pub source: String,
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Diagnostic {
    /// Places a finding at a byte span of `source`. A span over several lines is cut to its first.
    pub fn new(
        (file, source): (&str, &str),
        span: std::ops::Range<usize>,
        severity: Severity,
        code: &'static str,
        message: impl Into<String>,
    ) -> Diagnostic {
        let start = floor_char_boundary(source, span.start);
        let before = &source[..start];
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
        let text = source[line_start..line_end].trim_end_matches('\r');
        let end = floor_char_boundary(source, span.end.clamp(start, line_start + text.len()).max(start));
        Diagnostic {
            severity,
            code,
            file: file.to_owned(),
            line,
            column: source[line_start..start].chars().count() + 1,
            length: source[start..end].chars().count().max(1),
            source: text.to_owned(),
            message: message.into(),
            help: None,
        }
    }

    /// Adds the remedy.
    pub fn help(mut self, help: impl Into<String>) -> Diagnostic {
        self.help = Some(help.into());
        self
    }

    /// The text form, without a final newline.
    pub fn render(&self, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let byte_at = |column: usize| {
            let mut ends = self.source.char_indices().map(|(at, _)| at);
            ends.nth(column).unwrap_or(self.source.len())
        };
        let span = byte_at(self.column - 1)..byte_at(self.column - 1 + self.length);
        let snippet = Snippet::source(self.source.as_str())
            .line_start(self.line)
            .path(self.file.as_str())
            .annotation(AnnotationKind::Primary.span(span));
        let mut group = Group::with_title(level.primary_title(self.message.as_str())).element(snippet);
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

fn floor_char_boundary(text: &str, mut at: usize) -> usize {
    at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// Orders by place, errors before warnings on one line.
pub fn sort(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| {
        (&a.file, a.line, a.severity, a.column).cmp(&(&b.file, b.line, b.severity, b.column))
    });
    diagnostics.dedup();
}

/// All of them in one format, ending with a newline unless empty.
pub fn render_all(diagnostics: &[Diagnostic], format: Format, color: bool) -> String {
    match format {
        Format::Text => diagnostics.iter().map(|one| one.render(color) + "\n\n").collect(),
        Format::Json => pretty(&serde_json::json!({ "diagnostics": diagnostics })),
        Format::Sarif => pretty(&sarif(diagnostics)),
    }
}

fn pretty(value: &serde_json::Value) -> String {
    // A value of strings and numbers always serialises.
    serde_json::to_string_pretty(value).expect("a JSON value serialises") + "\n"
}

/// SARIF 2.1.0 section 3.13: one run, one result a diagnostic.
fn sarif(diagnostics: &[Diagnostic]) -> serde_json::Value {
    let mut rules: Vec<&str> = diagnostics.iter().map(|one| one.code).collect();
    rules.sort_unstable();
    rules.dedup();
    let rules: Vec<_> = rules.iter().map(|id| serde_json::json!({ "id": id })).collect();
    let results: Vec<_> = diagnostics.iter().map(sarif_result).collect();
    serde_json::json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ringward",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn sarif_result(one: &Diagnostic) -> serde_json::Value {
    let level = match one.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    let text = match &one.help {
        Some(help) => format!("{}\n{help}", one.message),
        None => one.message.clone(),
    };
    serde_json::json!({
        "ruleId": one.code,
        "level": level,
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": one.file },
            "region": {
                "startLine": one.line,
                "startColumn": one.column,
                "endColumn": one.column + one.length,
                "snippet": { "text": one.source },
            },
        }}],
    })
}

/// Names close to what was written, for "did you mean": edit distance at most 2, and less than the name's
/// own length; the closest first.
pub fn nearest<'a>(written: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&written.to_lowercase(), &name.to_lowercase());
    let close = allowed.into_iter().map(|name| (distance(name), name));
    let close = close.filter(|(distance, name)| *distance <= 2 && *distance < name.chars().count());
    close.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The remedy for an unknown name: the nearest one, then all.
pub fn suggestion(written: &str, allowed: &[&str], what: &str) -> String {
    let list = allowed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    match nearest(written, allowed.iter().copied()) {
        Some(name) => format!("did you mean `{name}`? {what}: {list}"),
        None if allowed.is_empty() => format!("{what}: none is defined"),
        None => format!("{what}: {list}"),
    }
}
