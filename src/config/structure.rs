//! Keys and types of the document, checked against its own JSON Schema: every deviation is one diagnostic.
//! What passes here deserialises; what the tables say about each other is checked in
//! [`lint`](super::lint).

use super::diagnostic::{nearest, suggestion};
use super::schema::{alternatives, has_type, resolve, schema, words};
use super::tree::{Entry, Node, Path, Step, Value as Toml};
use super::value::{PERIOD_EXAMPLE, SHARE_EXAMPLE, SIZE_EXAMPLE};
use super::{Cores, CpuList, Diagnostic, Period, Severity, Share, Size, Tree};
use serde_json::Value;

/// Code of a key that the schema does not know. The document can still be read without it.
pub const UNKNOWN_KEY: &str = "unknown-key";
const MISSING_KEY: &str = "missing-key";
const WRONG_TYPE: &str = "wrong-type";
const WRONG_VALUE: &str = "wrong-value";

/// Compares the text with the schema.
pub fn check(tree: &Tree) -> Vec<Diagnostic> {
    check_against(&schema(), tree)
}

/// Compares the text with the schema of another file than the configuration.
pub fn check_against(root: &Value, tree: &Tree) -> Vec<Diagnostic> {
    let mut checker = Checker { root, tree, found: Vec::new() };
    checker.node(root, &tree.root, &mut Path::new());
    checker.found
}

struct Checker<'a> {
    root: &'a Value,
    tree: &'a Tree,
    found: Vec<Diagnostic>,
}

impl Checker<'_> {
    fn node(&mut self, schema: &Value, node: &Node, path: &mut Path) {
        let root = self.root;
        let all = alternatives(root, schema);
        let fitting: Vec<&Value> = all.iter().copied().filter(|one| accepts(one, &node.value)).collect();
        if fitting.is_empty() {
            let message = format!("expected {}, found {}", expected(root, &all), node.value.kind());
            let diagnostic = self.at(node, WRONG_TYPE, message);
            let tables = matches!(node.value, Toml::Table(_)) && expected(root, &all).ends_with("of tables");
            let help = match tables {
                true => Some(format!("write [[{}]]", super::tree::display(path))),
                false => conversion(&all, &node.value),
            };
            self.found.push(match help {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            });
            return;
        }
        match &node.value {
            Toml::Table(entries) => self.table(&fitting, entries, path),
            Toml::Array(items) => {
                let Some(inner) = fitting.iter().find_map(|one| one.get("items")) else { return };
                for (index, item) in items.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.node(inner, item, path);
                    path.pop();
                }
            }
            Toml::String(text) => self.string(&fitting, node, text),
            Toml::Integer(number) => self.integer(&all, &fitting, node, *number),
            Toml::Float(_) | Toml::Boolean(_) | Toml::Datetime => {}
        }
    }

    fn at(&self, node: &Node, code: &'static str, message: impl Into<String>) -> Diagnostic {
        self.tree.diagnostic_at(node.span.clone(), Severity::Error, code, message)
    }

    fn table(&mut self, fitting: &[&Value], entries: &[Entry], path: &mut Path) {
        let knows =
            |schema: &Value, key: &str| schema.get("properties").is_some_and(|all| all.get(key).is_some());
        let known_keys = |schema: &&Value| entries.iter().filter(|entry| knows(schema, &entry.key)).count();
        // Of several shapes the one that is meant is the one that knows most of the keys. Ties go to the
        // first key written, so that a second source beside the first one is the one called unknown.
        let first = |schema: &&Value| entries.first().is_some_and(|entry| knows(schema, &entry.key));
        let Some(meant) = fitting.iter().rev().max_by_key(|one| (known_keys(one), first(one))) else {
            return;
        };
        let undecided = fitting.len() > 1 && known_keys(meant) == 0;
        let allowed = if undecided { required_of(fitting) } else { keys_of(&[meant]) };
        for entry in entries {
            path.push(Step::Key(entry.key.clone()));
            let inner = meant.get("properties").and_then(|all| all.get(&entry.key));
            let inner = inner.or_else(|| meant.get("additionalProperties").filter(|any| any.is_object()));
            match inner {
                Some(inner) if !undecided => self.node(inner, &entry.node, path),
                _ => self.unknown(entry, &allowed, fitting, path),
            }
            path.pop();
        }
        if undecided {
            if entries.is_empty() {
                let message = format!("`{}` needs one of its keys", super::tree::display(path));
                let list = suggestion("", &allowed, "one of");
                let diagnostic = self.tree.value(path, Severity::Error, MISSING_KEY, message);
                self.found.push(diagnostic.help(list));
            }
            return;
        }
        self.missing(meant, entries, path);
    }

    fn unknown(&mut self, entry: &Entry, allowed: &[&str], fitting: &[&Value], path: &Path) {
        let place = super::tree::display(&path[..path.len() - 1]);
        let place = if place.is_empty() { "at the top level".into() } else { format!("in `{place}`") };
        let elsewhere =
            !allowed.contains(&entry.key.as_str()) && keys_of(fitting).contains(&entry.key.as_str());
        let (code, message) = if elsewhere {
            (WRONG_VALUE, format!("`{}` does not go together with the other keys {place}", entry.key))
        } else {
            (UNKNOWN_KEY, format!("unknown key `{}` {place}", entry.key))
        };
        let help = suggestion(&entry.key, allowed, "allowed keys");
        let span = entry.key_span.clone();
        self.found.push(self.tree.diagnostic_at(span, Severity::Error, code, message).help(help));
    }

    fn missing(&mut self, meant: &Value, entries: &[Entry], path: &Path) {
        let required = meant.get("required").and_then(Value::as_array);
        for key in required.into_iter().flatten().filter_map(Value::as_str) {
            let allowed = keys_of(&[meant]);
            let misspelt = |entry: &Entry| {
                !allowed.contains(&entry.key.as_str())
                    && nearest(&entry.key, allowed.iter().copied()) == Some(key)
            };
            if entries.iter().any(|entry| entry.key == key || misspelt(entry)) {
                continue;
            }
            let place = super::tree::display(path);
            let (message, example) = if place.is_empty() {
                (format!("missing key `{key}` at the top level"), "add `version = 1`".to_owned())
            } else {
                let inner = meant.pointer(&format!("/properties/{key}")).unwrap_or(&Value::Null);
                let described = inner.get("description").and_then(Value::as_str);
                let what = described
                    .map_or_else(|| expected(self.root, &alternatives(self.root, inner)), first_sentence);
                (format!("missing key `{key}` in `{place}`"), format!("add `{key} = …`: {what}"))
            };
            let diagnostic = self.tree.value(path, Severity::Error, MISSING_KEY, message);
            self.found.push(diagnostic.help(example));
        }
    }

    fn string(&mut self, fitting: &[&Value], node: &Node, text: &str) {
        let mut allowed = Vec::new();
        let mut units = Vec::new();
        for one in fitting {
            let words = words(one);
            match one.get("x-unit").and_then(Value::as_str) {
                _ if words.contains(&text) => return,
                _ if !words.is_empty() => allowed.extend(words),
                Some(unit) if unit_accepts(unit, text) => return,
                Some(unit) => units.push(unit_example(unit)),
                None => return,
            }
        }
        let diagnostic = if let Some(unit) = units.first() {
            self.at(node, WRONG_VALUE, format!("expected {unit}, found \"{text}\""))
        } else {
            let help = suggestion(text, &allowed, "allowed values");
            self.at(node, WRONG_VALUE, format!("unknown value \"{text}\"")).help(help)
        };
        self.found.push(diagnostic);
    }

    fn integer(&mut self, all: &[&Value], fitting: &[&Value], node: &Node, number: Option<i64>) {
        let within = |schema: &&&Value| {
            let Some(number) = number else { return false };
            let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
            let listed = schema.get("enum").and_then(Value::as_array);
            bound("minimum").is_none_or(|min| number >= min)
                && bound("maximum").is_none_or(|max| number <= max)
                && bound("const").is_none_or(|only| number == only)
                && listed.is_none_or(|list| list.iter().any(|one| one.as_i64() == Some(number)))
        };
        if fitting.iter().any(|one| within(&one)) {
            return;
        }
        let found = number.map_or_else(|| "a number beyond 64 bits".into(), |number| number.to_string());
        let message = format!("expected {}, found {found}", expected(self.root, all));
        self.found.push(self.at(node, WRONG_VALUE, message));
    }
}

/// Whether a schema takes values of this type at all.
fn accepts(schema: &Value, value: &Toml) -> bool {
    match value {
        Toml::Table(_) => has_type(schema, "object"),
        Toml::Array(_) => has_type(schema, "array"),
        Toml::String(_) => has_type(schema, "string"),
        Toml::Integer(_) => has_type(schema, "integer") || has_type(schema, "number"),
        Toml::Float(_) => has_type(schema, "number"),
        Toml::Boolean(_) => has_type(schema, "boolean"),
        Toml::Datetime => false,
    }
}

/// The keys that tell several shapes apart: the first that each requires.
fn required_of<'a>(schemas: &[&'a Value]) -> Vec<&'a str> {
    let required = schemas.iter().filter_map(|schema| schema.get("required").and_then(Value::as_array));
    required.filter_map(|keys| keys.first()?.as_str()).collect()
}

fn keys_of<'a>(schemas: &[&'a Value]) -> Vec<&'a str> {
    let mut keys = Vec::new();
    for schema in schemas {
        let properties = schema.get("properties").and_then(Value::as_object);
        for key in properties.into_iter().flat_map(|all| all.keys()) {
            if !keys.contains(&key.as_str()) {
                keys.push(key.as_str());
            }
        }
    }
    keys
}

fn first_sentence(text: &str) -> String {
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').replace('\n', " ")
}

fn unit_accepts(unit: &str, text: &str) -> bool {
    match unit {
        "duration" => text.parse::<Period>().is_ok(),
        "size" => text.parse::<Size>().is_ok(),
        "share" => text.parse::<Share>().is_ok(),
        "cpus" => CpuList::parse(text).is_some(),
        _ => Cores::parse(text).is_some(),
    }
}

fn unit_example(unit: &str) -> &'static str {
    match unit {
        "duration" => PERIOD_EXAMPLE,
        "size" => SIZE_EXAMPLE,
        "share" => SHARE_EXAMPLE,
        "cpus" => "a list such as \"0-3,8-11\"",
        _ => "\"auto\", a list such as \"0-3,8-11\"",
    }
}

/// What the alternatives take, in words: "a string", "one of `allow`, `block`", "a table with the keys …".
pub fn expected(root: &Value, alternatives: &[&Value]) -> String {
    let shapes: Vec<&Value> = alternatives.iter().copied().filter(|one| has_type(one, "object")).collect();
    if shapes.len() > 1 && shapes.len() == alternatives.len() {
        let keys: Vec<String> = required_of(&shapes).iter().map(|key| format!("`{key}`")).collect();
        return format!("a table with one of the keys {}", keys.join(", "));
    }
    let mut words_allowed: Vec<String> = Vec::new();
    let mut kinds: Vec<String> = Vec::new();
    for one in alternatives {
        let words = words(one);
        if !words.is_empty() {
            words_allowed.extend(words.iter().map(|word| format!("\"{word}\"")));
            continue;
        }
        let text = match one.get("x-unit").and_then(Value::as_str) {
            Some(unit) => unit_example(unit).to_owned(),
            None => kind_of(root, one),
        };
        if !kinds.contains(&text) {
            kinds.push(text);
        }
    }
    match words_allowed.as_slice() {
        [] => {}
        [one] => kinds.insert(0, one.clone()),
        several => kinds.insert(0, format!("one of {}", several.join(", "))),
    }
    kinds.join(" or ")
}

fn kind_of(root: &Value, schema: &Value) -> String {
    let bound = |name: &str| schema.get(name).and_then(Value::as_i64);
    if has_type(schema, "integer") {
        let listed = schema.get("enum").and_then(Value::as_array);
        return match (bound("const"), listed, bound("minimum"), bound("maximum")) {
            (Some(only), ..) => only.to_string(),
            (_, Some(list), ..) => list.iter().map(Value::to_string).collect::<Vec<_>>().join(" or "),
            (_, _, Some(min), Some(max)) => format!("an integer from {min} to {max}"),
            (_, _, Some(min), None) => format!("an integer of at least {min}"),
            _ => "an integer".into(),
        };
    }
    if has_type(schema, "array") {
        let items = schema.get("items").map(|items| resolve(root, items)).unwrap_or(&Value::Null);
        return match (has_type(items, "string"), has_type(items, "object")) {
            (true, _) => "an array of strings".into(),
            (_, true) => "an array of tables".into(),
            _ => "an array".into(),
        };
    }
    for (kind, text) in [("string", "a string"), ("number", "a number"), ("boolean", "true or false")] {
        if has_type(schema, kind) {
            return text.into();
        }
    }
    match keys_of(&[schema]).as_slice() {
        [] => "a table".into(),
        [key] => format!("a table such as `{{ {key} = … }}`"),
        _ => "a table".into(),
    }
}

/// The remedy where the right value can be guessed from the wrong one.
fn conversion(all: &[&Value], value: &Toml) -> Option<String> {
    let unit = all.iter().find_map(|one| one.get("x-unit")).and_then(Value::as_str);
    match (value, unit) {
        (Toml::Integer(Some(number)), Some("duration")) => {
            Some(format!("write \"{number}s\" for {number} seconds"))
        }
        (Toml::Integer(Some(number)), Some("size")) => {
            Some(format!("write \"{number}B\" for {number} bytes"))
        }
        (Toml::String(text), None) if all.iter().any(|one| has_type(one, "array")) => {
            Some(format!("write [\"{text}\"]"))
        }
        (Toml::String(_), None) if all.iter().any(|one| has_type(one, "object")) => {
            let shapes: Vec<&Value> = all.iter().copied().filter(|one| has_type(one, "object")).collect();
            let keys = if shapes.len() > 1 { required_of(&shapes) } else { keys_of(&shapes) };
            Some(format!("write a table such as {{ {} = … }}", keys.first()?))
        }
        (Toml::String(text), None) if text.parse::<i64>().is_ok() => {
            Some(format!("write {text} without quotes"))
        }
        (Toml::String(text), None) if text == "true" || text == "false" => {
            Some(format!("write {text} without quotes"))
        }
        _ => None,
    }
}

/// Finds the schema of a key such as `route.match.path`. The names of a map may be there or not:
/// `upstreams.anthropic.url` and `upstreams.url` are the same.
pub fn find<'a>(root: &'a Value, key: &str) -> Option<&'a Value> {
    let mut schema = root;
    for part in key.split('.') {
        let part = part.trim_end_matches(|c: char| c == ']' || c == '[' || c.is_ascii_digit());
        schema = shapes(root, schema).into_iter().find_map(|shape| {
            let property = |shape: &'a Value| shape.get("properties").and_then(|all| all.get(part));
            let named = shape.get("additionalProperties").filter(|any| any.is_object());
            let below = named.into_iter().flat_map(|any| shapes(root, any)).find_map(property);
            property(shape).or(below).or(named)
        })?;
    }
    Some(schema)
}

/// The tables that a value may be, or that an array may hold.
fn shapes<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let items = |one: &'a Value| one.get("items").map_or(one, |items| resolve(root, items));
    alternatives(root, schema).into_iter().flat_map(|one| alternatives(root, items(one))).collect()
}
