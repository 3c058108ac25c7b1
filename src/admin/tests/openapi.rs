//! The description of the API and what is served are the same.

use super::*;
use serde_json::Value;

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];
/// Their answers end after the test's patience, or end the process.
const NOT_ASKED: [&str; 3] = ["/api/v1/events", "/api/v1/config:reload", "/api/v1/policies:replay"];

#[test]
fn what_is_described_is_served_and_nothing_else() {
    let world = World::new();
    let document = world.local("GET /api/v1/openapi.json", "\r\n").json();
    assert_eq!(document["openapi"], "3.1.0");
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 40, "{}", paths.len());
    for (path, operations) in paths.iter().filter(|(path, _)| !NOT_ASKED.contains(&path.as_str())) {
        // A name that fits every pattern, and a number.
        let place = path.replace("{number}", "1").replace("{id}", "1").replace("{name}", "1");
        for method in METHODS {
            let line = format!("{} {place}", method.to_uppercase());
            let answer = world.local(&line, &json("{}"));
            let is_described = operations.get(method).is_some();
            assert_eq!(answer.status != 405, is_described, "{line}: {}", answer.body);
            assert!(
                !answer.body.contains("nothing is served at this path") || place.starts_with("/auth"),
                "{line}"
            );
        }
    }
    for other in ["/", "/api", "/api/v1", "/api/v1/config/", "/api/v1/openapi.yaml", "/auth"] {
        assert_eq!(world.local(&format!("GET {other}"), "\r\n").problem(), "not_found", "{other}");
    }
}

#[test]
fn operations_say_what_they_do_and_refer_to_what_is_there() {
    let world = World::new();
    let text = world.local("GET /api/v1/openapi.json", "\r\n").body;
    let document: Value = serde_json::from_str(&text).unwrap();
    let mut names = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let place = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{place}");
            assert!(operation["responses"].as_object().unwrap().len() >= 2, "{place}");
            names.push(operation["operationId"].as_str().unwrap().to_owned());
            let is_public = ["/livez", "/readyz"].contains(&path.as_str()) || path.starts_with("/auth/");
            let has_role = !operation["x-ringward-role"].is_null();
            assert!(has_role != is_public || path.starts_with("/auth/"), "{place}");
        }
    }
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "two operations have one name");
    for (start, _) in text.match_indices("\"$ref\": \"") {
        let reference = text[start + 9..].split('"').next().unwrap();
        let target = document.pointer(reference.trim_start_matches('#'));
        assert!(target.is_some(), "{reference} leads nowhere");
    }
}
