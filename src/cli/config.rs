//! `ringward config`: what is configured, and what can be.

use super::{ConfigFile, exit, output::Output};
use crate::config::{self, Severity, Text, schema, structure};
use clap::{Args, Subcommand};
use serde_json::Value;

/// Show the effective configuration, its JSON Schema, or explain a key
#[derive(Debug, Args)]
pub(super) struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print the effective configuration with all defaults; secrets only as their sources
    Print(Print),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Explain a key, such as route.match.path; without one list the tables
    Explain {
        /// Which key
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
struct Print {
    #[command(flatten)]
    file: ConfigFile,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        match self.what {
            What::Print(print) => print.run(output),
            What::Schema => {
                output.json(&schema::schema());
                exit::OK
            }
            What::Explain { key } => explain(&key.unwrap_or_default(), output),
        }
    }
}

impl Print {
    fn run(self, output: &mut Output) -> u8 {
        let Some(text) = read(&self.file, output) else { return exit::FAILED };
        let loaded = match config::load(&text) {
            Ok(loaded) => loaded,
            Err(found) => {
                output.diagnostics(&found);
                return exit::CONFIG;
            }
        };
        if loaded.has_errors() {
            let errors = loaded.diagnostics.iter().filter(|one| one.severity == Severity::Error);
            output.diagnostics(&errors.cloned().collect::<Vec<_>>());
            return exit::CONFIG;
        }
        if self.json {
            output.json(&loaded.document);
            return exit::OK;
        }
        match toml::to_string_pretty(&loaded.document) {
            Ok(text) => {
                output.result(&text);
                exit::OK
            }
            Err(error) => {
                output.error(&format!("the configuration cannot be printed: {error}"));
                exit::FAILED
            }
        }
    }
}

/// Reads the file, or says in one line why not.
pub(super) fn read(file: &ConfigFile, output: &mut Output) -> Option<Text> {
    let path = file.path();
    match Text::read(&path) {
        Ok(text) => Some(text),
        Err(error) => {
            output.error(&format!("cannot read {}: {error}", path.display()));
            if error.kind() == std::io::ErrorKind::NotFound && file.config.is_none() {
                output.note("`ringward init` writes one; -c FILE or RINGWARD_CONFIG names another");
            }
            None
        }
    }
}

fn explain(key: &str, output: &mut Output) -> u8 {
    let root = schema::schema();
    let found = if key.is_empty() { Some(&root) } else { structure::find(&root, key) };
    let Some(found) = found else {
        let parent = key.rsplit_once('.').map_or("", |(parent, _)| parent);
        let around = if parent.is_empty() { Some(&root) } else { structure::find(&root, parent) };
        let allowed: Vec<String> = around
            .map(|one| children(&root, one))
            .unwrap_or_default()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let allowed: Vec<&str> = allowed.iter().map(String::as_str).collect();
        let last = key.rsplit('.').next().unwrap_or(key);
        output.error(&format!("there is no key `{key}`"));
        let place = if parent.is_empty() { "at the top level".into() } else { format!("in `{parent}`") };
        output.note(&config::diagnostic::suggestion(last, &allowed, &format!("keys {place}")));
        return exit::FAILED;
    };
    output.result(&explanation(&root, key, found));
    exit::OK
}

/// Names and descriptions of the keys inside a schema.
fn children<'a>(root: &'a Value, schema: &'a Value) -> Vec<(String, &'a Value)> {
    let mut children = Vec::new();
    for one in schema::alternatives(root, schema) {
        let one = one.get("items").map_or(one, |items| schema::resolve(root, items));
        for shape in schema::alternatives(root, one) {
            let shape = match shape.get("additionalProperties") {
                Some(any) if any.is_object() => schema::resolve(root, any),
                _ => shape,
            };
            let properties = shape.get("properties").and_then(Value::as_object);
            for (name, inner) in properties.into_iter().flatten() {
                if children.iter().all(|(known, _)| known != name) {
                    children.push((name.clone(), inner));
                }
            }
        }
    }
    children
}

/// The description of a key: its own, else that of its type.
fn description<'a>(root: &'a Value, schema: &'a Value) -> &'a str {
    let own = schema.get("description").or_else(|| schema::resolve(root, schema).get("description"));
    own.and_then(Value::as_str).unwrap_or("")
}

fn explanation(root: &Value, key: &str, schema: &Value) -> String {
    let mut text = String::new();
    if !key.is_empty() {
        let what = structure::expected(root, &schema::alternatives(root, schema));
        text.push_str(&format!("{key}: {what}\n"));
    }
    let about = description(root, schema);
    if !about.is_empty() {
        text.push_str(&format!("  {}\n", about.replace('\n', "\n  ")));
    }
    if let Some(default) = schema.get("default").filter(|value| !value.is_null() && !value.is_object()) {
        text.push_str(&format!("  Default: {default}\n"));
    }
    for one in schema::alternatives(root, schema) {
        let about = one.get("description").and_then(Value::as_str).unwrap_or("");
        for word in schema::words(one) {
            text.push_str(&format!("    \"{word}\"  {}\n", about.replace('\n', " ")));
        }
    }
    let children = children(root, schema);
    if !children.is_empty() {
        text.push_str("  Keys:\n");
        let width = children.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, inner) in children {
            let about = description(root, inner).replace('\n', " ");
            let first = about.split_inclusive(". ").next().unwrap_or("").trim_end();
            text.push_str(&format!("    {name:width$}  {first}\n"));
        }
    }
    text
}
