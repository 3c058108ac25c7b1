//! What makes a process ready, as plain values.

use super::*;
use crate::admin::Readiness;

/// Changes one thing about a process in which everything is well.
type Change = fn(&mut Status);

#[test]
fn what_is_missing_is_named() {
    assert_eq!(well().readiness().summary(), "ready");
    let cases: [(Change, &str); 8] = [
        (
            |status| {
                status.issuers[0].ready = false;
                status.issuers[0].last_error = Some("connection refused".to_owned());
            },
            "not ready: issuer corp: connection refused",
        ),
        (
            |status| status.issuers[0].ready = false,
            "not ready: issuer corp: no keys of https://idp.example.com yet",
        ),
        (
            |status| status.upstreams[0].addresses.clear(),
            "not ready: upstream llm: api.example.com is not resolved yet",
        ),
        (
            |status| {
                status.upstreams[0].addresses.clear();
                status.upstreams[0].last_error = Some("no such name".to_owned());
            },
            "not ready: upstream llm: no such name",
        ),
        (|status| status.secrets[0].age_s = None, "not ready: secret anthropic: not read yet"),
        (|status| status.audit.state = AuditState::Starting, "not ready: audit: starting"),
        (
            |status| {
                status.audit.state = AuditState::Failed;
                status.audit.last_error = Some("no space left on device".to_owned());
            },
            "not ready: audit: no space left on device",
        ),
        (|status| status.draining = true, "not ready: process: draining"),
    ];
    for (change, expected) in cases {
        let mut status = well();
        change(&mut status);
        assert_eq!(status.readiness().summary(), expected);
        assert!(!status.readiness().ready);
    }
}

#[test]
fn what_could_not_be_fetched_anew_is_good_enough() {
    let mut status = well();
    status.issuers[0].last_error = Some("timed out".to_owned());
    status.secrets[0].last_error = Some("gone".to_owned());
    status.upstreams[0].last_error = Some("no such name".to_owned());
    assert!(status.readiness().ready);
}

#[test]
fn nothing_to_check_is_ready() {
    assert!(Readiness::of(Vec::new()).ready);
    assert_eq!(Readiness::default().summary(), "not ready");
}

#[test]
fn a_scrape_shows_ages_that_exist() {
    let mut status = well();
    status.secrets[0].age_s = None;
    let scrape = status.scrape();
    assert_eq!(scrape.jwks_age, [("corp".to_owned(), 1.5)]);
    assert!(scrape.secret_age.is_empty());
    assert_eq!(scrape.audit_sequence, 9);
}

#[test]
fn a_status_survives_the_wire() {
    let text = serde_json::to_string(&well()).unwrap();
    assert_eq!(serde_json::from_str::<Status>(&text).unwrap(), well());
    assert!(text.contains(r#""state":"recording""#), "{text}");
}
