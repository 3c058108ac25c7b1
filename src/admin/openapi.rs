//! The description of the API: OpenAPI 3.1, made of the table that is served.

use super::{
    access,
    endpoint::{Content, Endpoint},
    problem::ProblemDocument,
    routes::endpoints,
};
use axum::{
    http::header,
    response::{IntoResponse, Response},
};
use schemars::{
    SchemaGenerator,
    generate::{Contract, SchemaSettings},
};
use serde_json::{Map, Value, json};
use std::sync::LazyLock;

const ABOUT: &str = "What operators see and do. Over the unix socket nobody has to log in; over TCP it takes \
                     TLS and a token, or the session of a login. Each operation names its role.";

/// The description as text: the table does not change while the process runs.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
    // A value of strings and numbers always serialises.
    serde_json::to_string_pretty(&document(&endpoints())).unwrap_or_default() + "\n"
});

/// `GET /api/v1/openapi.json`.
pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str()).into_response()
}

/// The schemas that operations refer to: of what is sent and of what is answered.
struct Schemas {
    sent: SchemaGenerator,
    answered: SchemaGenerator,
}

impl Schemas {
    fn new() -> Schemas {
        let generator = |contract: Contract| {
            let settings = SchemaSettings::draft2020_12().with(|settings| {
                settings.definitions_path = "/components/schemas".into();
                settings.contract = contract.clone();
                settings.meta_schema = None;
            });
            settings.into_generator()
        };
        Schemas { sent: generator(Contract::Deserialize), answered: generator(Contract::Serialize) }
    }

    /// All of them, by name.
    fn all(mut self) -> Map<String, Value> {
        let mut all = self.sent.take_definitions(true);
        all.extend(self.answered.take_definitions(true));
        all
    }
}

/// The description of a table.
pub(super) fn document(table: &[Endpoint]) -> Value {
    let mut schemas = Schemas::new();
    let mut paths = Map::new();
    for endpoint in table {
        let described = operation(endpoint, &mut schemas);
        let path = paths.entry(endpoint.path).or_insert_with(|| json!({}));
        path[endpoint.method.as_str().to_ascii_lowercase()] = described;
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "ringward admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": ABOUT,
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas.all(),
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "A token of [[admin.token]].",
                },
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "__Host-ringward-session",
                    "description": "The session of a login. In clear text its name has the port.",
                },
            },
        },
    })
}

fn operation(endpoint: &Endpoint, schemas: &mut Schemas) -> Value {
    let role = access::role_of(&endpoint.method, endpoint.path);
    let security = match role {
        Some(_) => json!([{ "token": [] }, { "session": [] }]),
        None => json!([]),
    };
    let mut operation = json!({
        "operationId": name(endpoint),
        "summary": endpoint.summary,
        "tags": [tag(endpoint.path)],
        "security": security,
        "x-ringward-role": role,
        "parameters": parameters(endpoint, schemas),
        "responses": responses(endpoint, schemas),
    });
    if let Some((kind, body)) = endpoint.body {
        let schema = body(&mut schemas.sent);
        operation["requestBody"] = json!({ "required": true, "content": { kind: { "schema": schema } } });
    }
    operation
}

/// Unique, and made of the method and the path alone.
fn name(endpoint: &Endpoint) -> String {
    let path = endpoint.path.trim_start_matches("/api/v1");
    let words = path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let all: Vec<&str> = words.collect();
    format!("{}_{}", endpoint.method.as_str().to_ascii_lowercase(), all.join("_"))
}

/// What the operation is about: the first part of its path.
fn tag(path: &str) -> &str {
    let path = path.trim_start_matches("/api/v1").trim_start_matches('/');
    path.split(['/', ':', '.']).next().unwrap_or(path)
}

fn parameters(endpoint: &Endpoint, schemas: &mut Schemas) -> Vec<Value> {
    let in_path = endpoint.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let mut all: Vec<Value> = in_path
        .map(|name| {
            let schema = match name {
                "number" => json!({ "type": "integer", "minimum": 0 }),
                "name" => json!({ "type": "string", "pattern": "^[a-z0-9-]{1,64}$" }),
                _ => json!({ "type": "string", "minLength": 1 }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        })
        .collect();
    for (name, what) in &endpoint.fields {
        let schema = json!({ "type": "string" });
        all.push(json!({ "name": name, "in": "header", "description": what, "schema": schema }));
    }
    let Some(query) = endpoint.query else { return all };
    let schema = query(&mut schemas.sent).to_value();
    let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
    for (name, schema) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        let mut schema = schema.clone();
        let described = schema.as_object_mut().and_then(|schema| schema.remove("description"));
        let is_required = required.contains(&Value::String(name.clone()));
        let mut parameter = json!({ "name": name, "in": "query", "required": is_required, "schema": schema });
        if let Some(text) = described {
            parameter["description"] = text;
        }
        all.push(parameter);
    }
    all
}

fn responses(endpoint: &Endpoint, schemas: &mut Schemas) -> Value {
    let mut responses = Map::new();
    for answer in &endpoint.answers {
        let content = match &answer.content {
            Content::Nothing => json!({}),
            Content::Json(schema) => {
                json!({ "application/json": { "schema": schema(&mut schemas.answered) } })
            }
            Content::Media(kinds) => kinds.iter().map(|kind| ((*kind).to_owned(), json!({}))).collect(),
        };
        let description = reason(answer.status);
        let response = match &answer.content {
            Content::Nothing => json!({ "description": description }),
            _ => json!({ "description": description, "content": content }),
        };
        responses.insert(answer.status.to_string(), response);
    }
    let problem = schemas.answered.subschema_for::<ProblemDocument>();
    let problem = json!({ "application/problem+json": { "schema": problem } });
    responses.insert("default".to_owned(), json!({ "description": "What is wrong.", "content": problem }));
    responses.into()
}

fn reason(status: u16) -> &'static str {
    let status = axum::http::StatusCode::from_u16(status).ok();
    status.and_then(|status| status.canonical_reason()).unwrap_or("Answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The description as it was last looked at. Where it is meant to change, run this test with
    /// `RINGWARD_BLESS=1` and look at the difference.
    #[test]
    fn the_description_is_the_one_that_was_looked_at() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/admin/openapi.json");
        if std::env::var_os("RINGWARD_BLESS").is_some() {
            std::fs::write(path, DOCUMENT.as_str()).unwrap();
        }
        let known = std::fs::read_to_string(path).unwrap();
        for (index, (known, now)) in known.lines().zip(DOCUMENT.lines()).enumerate() {
            assert_eq!(known, now, "line {} of {path}", index + 1);
        }
        assert_eq!(known.lines().count(), DOCUMENT.lines().count(), "of {path}");
    }

    #[test]
    fn every_need_is_that_of_something_that_is_served() {
        let table = endpoints();
        for (method, path) in access::listed() {
            let is_it = |one: &Endpoint| one.method.as_str() == method && one.path == path;
            assert!(table.iter().any(is_it), "{method} {path} is not served");
        }
    }
}
