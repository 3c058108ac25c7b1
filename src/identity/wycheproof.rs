//! Public vectors: Wycheproof's JSON Web Signature and JSON Web Key tests.

use super::{
    base64url,
    jws::{Header, Jws},
    keys::{KeySet, Selection},
};
use aws_lc_rs::hmac;
use serde_json::{Value, json};
use std::{collections::BTreeMap, path::Path};

fn vectors(name: &str) -> Option<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data").join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Some(serde_json::from_slice(&bytes).expect("vectors are JSON")),
        Err(error) => {
            eprintln!("skipped: {name} cannot be read: {error}");
            None
        }
    }
}

/// Verifies as `authenticate` does, short of claims; the payloads of these vectors are none.
fn verify(jws: &str, keys: &Value) -> Result<(), &'static str> {
    let document = match keys.get("keys") {
        Some(_) => keys.clone(),
        None => json!({ "keys": [keys] }),
    };
    let keys = KeySet::parse(document.to_string().as_bytes()).map_err(|_| "no usable key")?;
    let jws = Jws::parse(jws).map_err(|error| error.reason())?;
    let Header { algorithm, kid, .. } = jws.header().map_err(|error| error.reason())?;
    match keys.select(kid.as_deref(), algorithm) {
        Selection::Found(key) if key.verify(algorithm, jws.signed, &jws.signature) => Ok(()),
        Selection::Found(_) => Err("signature"),
        _ => Err("no key for the token"),
    }
}

/// The strict decoding in front of an HMAC: with symmetric keys refused, the HS256 vectors would otherwise
/// say nothing about it.
fn verify_hmac(jws: &str, key: &Value) -> bool {
    let Some(secret) = key["k"].as_str().and_then(|k| base64url::decode(k.as_bytes())) else {
        return false;
    };
    let Ok(jws) = Jws::parse(jws) else {
        return false;
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    hmac::verify(&key, jws.signed, &jws.signature).is_ok()
}

/// SECURITY R31.
#[test]
fn invalid_signatures_are_all_rejected() {
    let Some(file) = vectors("wycheproof-json-web-signature-test.json") else { return };
    let (mut invalid, mut accepted, mut refused) = (0, 0, BTreeMap::new());
    for group in file["testGroups"].as_array().expect("groups") {
        let key = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().expect("tests") {
            let (id, jws) = (&test["tcId"], test["jws"].as_str().unwrap_or_default());
            let found = verify(jws, key);
            if test["result"] == "invalid" {
                invalid += 1;
                assert!(found.is_err(), "{id} {} was accepted", test["comment"]);
                // 367 and 370 lost their padding on the way: they equal the valid vector 357 byte for byte.
                let is_mislabelled = *id == 367 || *id == 370;
                assert_eq!(verify_hmac(jws, key), is_mislabelled, "{id} {}", test["comment"]);
                continue;
            }
            match found {
                Ok(()) => accepted += 1,
                Err(_) => refused.entry(why_refused(jws, key)).or_insert_with(Vec::new).push(id.to_string()),
            }
        }
    }
    println!(
        "JWS: {invalid} of {invalid} invalid rejected; {accepted} valid accepted; refused: {refused:#?}"
    );
    assert_eq!((invalid, accepted), (355, 32));
    let counts: Vec<_> = refused.iter().map(|(why, ids)| (*why, ids.len())).collect();
    let expected = [
        ("symmetric keys cannot be published", 10),
        ("the alg of the key is another one than the token's", 2),
        ("there is no ES512 in the signature library", 2),
    ];
    assert_eq!(counts, expected);
}

fn why_refused(jws: &str, key: &Value) -> &'static str {
    match key["kty"].as_str() {
        Some("oct") => "symmetric keys cannot be published",
        _ if key["crv"] == "P-521" => "there is no ES512 in the signature library",
        _ => {
            let header = Jws::parse(jws).and_then(|jws| jws.header()).expect("well-formed");
            assert_ne!(key["alg"].as_str(), Some(header.algorithm.name()), "{jws}");
            "the alg of the key is another one than the token's"
        }
    }
}

#[test]
fn invalid_keys_are_all_rejected() {
    let Some(file) = vectors("wycheproof-json-web-key-test.json") else { return };
    let (mut invalid, mut accepted, mut symmetric) = (0, 0, 0);
    for group in file["testGroups"].as_array().expect("groups") {
        let keys = group.get("public").unwrap_or(&group["private"]);
        for test in group["tests"].as_array().expect("tests") {
            let found = verify(test["jws"].as_str().expect("text"), keys);
            match (test["result"].as_str(), found) {
                (Some("invalid"), found) => {
                    invalid += 1;
                    assert!(found.is_err(), "{} {} was accepted", test["tcId"], test["comment"]);
                }
                (_, Ok(())) => accepted += 1,
                (_, Err(_)) => {
                    symmetric += 1;
                    assert_eq!(keys["keys"][0]["kty"], "oct", "{}", test["tcId"]);
                }
            }
        }
    }
    println!(
        "JWK: {invalid} of {invalid} invalid rejected; {accepted} valid accepted, {symmetric} symmetric not"
    );
    assert_eq!((invalid, accepted, symmetric), (21, 1, 4));
}
