//! The JSON Schema of the document, and what `config explain` reads out of it.

use super::Document;
use serde_json::Value;

/// JSON Schema 2020-12 of the configuration.
pub fn schema() -> Value {
    schemars::schema_for!(Document).to_value()
}

/// What a `$ref` points at; everything else as it is.
pub fn resolve<'a>(root: &'a Value, mut schema: &'a Value) -> &'a Value {
    while let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        // References are made by schemars and point into the same document.
        let target = root.pointer(reference.trim_start_matches('#'));
        match target {
            Some(target) => schema = target,
            None => break,
        }
    }
    schema
}

/// The ways in which a value may satisfy a schema: `anyOf` and `oneOf` spread out, null left away.
pub fn alternatives<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolve(root, schema);
    let choice = schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array);
    match choice {
        Some(choice) => choice.iter().flat_map(|one| alternatives(root, one)).collect(),
        None if schema.get("type").and_then(Value::as_str) == Some("null") => Vec::new(),
        None => vec![schema],
    }
}

/// Whether the schema's `type` names `kind`, alone or in a list.
pub fn has_type(schema: &Value, kind: &str) -> bool {
    match schema.get("type") {
        Some(Value::String(one)) => one == kind,
        Some(Value::Array(several)) => several.iter().any(|one| one == kind),
        _ => false,
    }
}

/// The words that a schema permits: its `const` or `enum`.
pub fn words(schema: &Value) -> Vec<&str> {
    let one = schema.get("const").and_then(Value::as_str);
    let several = schema.get("enum").and_then(Value::as_array);
    one.into_iter().chain(several.into_iter().flatten().filter_map(Value::as_str)).collect()
}
