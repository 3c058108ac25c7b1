//! The documents of JSONTestSuite (Nicolas Seriot, "Parsing JSON is a Minefield") pass byte for byte.

use crate::bodies::run;
use crate::generate::{self, chunks};
use base64::Engine as _;
use ringward::inspect::{Context, Kind, Rule};

fn rules() -> Vec<Rule> {
    let others = [
        Kind::Literals(vec!["Project Falcon".to_owned()]),
        Kind::Regex(r"EMP-\d{6}".to_owned()),
        Kind::Key(vec!["ssn".to_owned()]),
    ];
    Kind::BUILT_IN.into_iter().chain(others).map(|kind| generate::rule("x", kind, "[x]")).collect()
}

#[test]
fn documents_without_matches_pass_byte_for_byte() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/data/json-parsing.json");
    let Ok(suite) = std::fs::read(path) else {
        println!("skipped: the documents of JSONTestSuite are not in ../shared/data");
        return;
    };
    let suite: Vec<serde_json::Value> = serde_json::from_slice(&suite).expect("the suite");
    let mut whole = 0;
    for case in &suite {
        let body = base64::engine::general_purpose::STANDARD.decode(case["b64"].as_str().expect("bytes"));
        let body = body.expect("base64");
        for length in [1, 7, 64, body.len().max(1)] {
            let masked = run(&rules(), Context::Json, &chunks(&body, &[length]));
            match masked {
                Ok(masked) => {
                    assert_eq!(masked.body, body, "{} by {length}", case["name"]);
                    whole += usize::from(case["expect"] == "accept");
                }
                Err(error) => assert_ne!(case["expect"], "accept", "{}: {error}", case["name"]),
            }
        }
    }
    assert!(whole >= 4 * 90, "{whole}");
}
