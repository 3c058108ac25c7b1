//! Claim tests with the shapes that issuers really send.

use super::{testing::*, *};
use serde_json::{Value, json};

/// Checks what a token with `header` fields and `claims` becomes under `settings`.
fn check(settings: Settings, header: &str, claims: Value, expected: Result<Value, &str>) {
    let signer = Signer::rsa("RS256");
    let issuer = issuer(settings, &[signer.jwk("k")]);
    let token = signer.raw(&format!(r#"{{"alg":"RS256","kid":"k"{header}}}"#), &claims.to_string());
    let found = match once(at(0), &token, &[issuer]) {
        Ok(principal) => Ok(json!({
            "subject": principal.subject, "groups": principal.groups, "purpose": principal.purpose,
            "client": principal.client, "owner": principal.owner,
        })),
        Err(failure) => Err(failure.into_refusal().reason()),
    };
    assert_eq!(found, expected);
}

fn dated(mut claims: Value) -> Value {
    claims["iat"] = NOW_S.into();
    claims["exp"] = (NOW_S + 3600).into();
    claims
}

fn rs256(issuer: &str, audience: &str) -> Settings {
    Settings::new("corp", issuer, &[audience], &["RS256"])
}

#[test]
fn okta_access_token_without_typ() {
    let issuer = "https://dev-1.okta.com/oauth2/default";
    let claims = dated(json!({
        "ver": 1, "jti": "AT.0mP4JKAZX1iACIT4vbEDF7", "iss": issuer, "aud": "api://default",
        "cid": "nmdP1fcyvdVO11AL7ECm", "uid": "00ujmkLgagxeRrAg20g3", "scp": ["openid"],
        "sub": "agent@example.com", "groups": ["Everyone", "agents"],
    }));
    let expected = json!({
        "subject": "agent@example.com", "groups": ["Everyone", "agents"], "purpose": null,
        "client": "nmdP1fcyvdVO11AL7ECm", "owner": "00ujmkLgagxeRrAg20g3",
    });
    let mut settings = rs256(issuer, "api://default");
    settings.claims.owner = vec!["uid".to_owned()];
    check(settings, "", claims, Ok(expected));
}

fn entra(changes: Value) -> Value {
    let mut claims = dated(json!({
        "aud": "6e74172b-be56-4843-9ff4-e66a39bb12e3", "aio": "AXQAi/8I", "azpacr": "1", "tid": "72f988bf",
        "iss": "https://login.microsoftonline.com/72f988bf/v2.0", "nbf": NOW_S, "ver": "2.0",
        "azp": "14a71fdf", "oid": "690222be-ff1a", "sub": "HKZpfaHyWadeOouYlitjrI", "uti": "fqiBqXLPj0eQa82S",
    }));
    for (name, value) in changes.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

fn entra_settings() -> Settings {
    let mut settings =
        rs256("https://login.microsoftonline.com/72f988bf/v2.0", "6e74172b-be56-4843-9ff4-e66a39bb12e3");
    settings.claims.owner = vec!["oid".to_owned()];
    settings
}

#[test]
fn entra_groups_and_their_overage() {
    let person = |groups: Value| {
        json!({
            "subject": "HKZpfaHyWadeOouYlitjrI", "groups": groups, "purpose": null, "client": "14a71fdf",
            "owner": "690222be-ff1a",
        })
    };
    let typ = r#","typ":"JWT""#;
    check(entra_settings(), typ, entra(json!({"groups": ["g-1"]})), Ok(person(json!(["g-1"]))));
    check(entra_settings(), typ, entra(json!({})), Ok(person(json!([]))));
    let linked = json!({
        "_claim_names": {"groups": "src1"},
        "_claim_sources": {"src1": {"endpoint": "https://graph.windows.net/72f988bf/getMemberObjects"}},
    });
    check(entra_settings(), typ, entra(linked.clone()), Err("groups_overage"));
    check(entra_settings(), typ, entra(json!({"hasgroups": true})), Err("groups_overage"));
    check(entra_settings(), typ, entra(json!({"hasgroups": "true"})), Err("groups_overage"));
    // A rule that gives groups makes those of the token irrelevant.
    let mut mapped = entra_settings();
    let groups = vec!["agents".to_owned()];
    mapped.map = vec![MapRule { azp: Some("14a71fdf".to_owned()), groups, ..MapRule::default() }];
    check(mapped, typ, entra(linked), Ok(person(json!(["agents"]))));
}

#[test]
fn google_service_account_mapped_by_subject() {
    let claims = dated(json!({
        "aud": "https://gw.example.com", "azp": "113774264463038321964",
        "email": "agent@p.iam.gserviceaccount.com",
        "email_verified": true, "iss": "https://accounts.google.com", "sub": "113774264463038321964",
    }));
    let mut settings = rs256("https://accounts.google.com", AUDIENCE);
    settings.claims.owner = vec!["oid".to_owned(), "email".to_owned()];
    settings.require_purpose = true;
    let rule = |sub: &str, purpose: &str| MapRule {
        sub: Some(sub.to_owned()),
        groups: vec!["agents".to_owned()],
        purpose: Some(purpose.to_owned()),
        ..MapRule::default()
    };
    settings.map = vec![rule("113774264463038321964", "billing"), rule("113774264463038321964", "second")];
    let expected = json!({
        "subject": "113774264463038321964", "groups": ["agents"], "purpose": "billing",
        "client": "113774264463038321964", "owner": "agent@p.iam.gserviceaccount.com",
    });
    check(settings.clone(), r#","typ":"JWT""#, claims.clone(), Ok(expected));
    settings.map.drain(..).for_each(drop);
    check(settings, r#","typ":"JWT""#, claims, Err("purpose_missing"));
}

#[test]
fn github_actions_job() {
    let issuer = "https://token.actions.githubusercontent.com";
    let sub = "repo:octo-org/octo-repo:environment:prod";
    let claims = dated(json!({
        "typ": "JWT", "iss": issuer, "aud": "https://gw.example.com", "sub": sub, "jti": "example-id",
        "environment": "prod", "ref": "refs/heads/main", "repository": "octo-org/octo-repo",
        "repository_owner": "octo-org", "actor": "octocat", "workflow": "deploy",
        "runner_environment": "self-hosted",
    }));
    let mut settings = rs256(issuer, AUDIENCE);
    settings.claims.groups = "repository".to_owned();
    settings.claims.purpose = "workflow".to_owned();
    settings.claims.owner = vec!["actor".to_owned()];
    let expected = json!({
        "subject": sub, "groups": ["octo-org/octo-repo"], "purpose": "deploy", "client": null,
        "owner": "octocat",
    });
    check(settings, r#","typ":"JWT","x5t":"AbC""#, claims, Ok(expected));
}

#[test]
fn kubernetes_service_account_with_nested_claims() {
    let issuer = "https://oidc.eks.eu-west-1.amazonaws.com/id/ABC";
    let claims = dated(json!({
        "aud": ["https://gw.example.com"], "iss": issuer, "nbf": NOW_S,
        "kubernetes.io": {"namespace": "agents", "pod": {"name": "agent-5f", "uid": "1"},
            "serviceaccount": {"name": "reporter", "uid": "2"}},
        "sub": "system:serviceaccount:agents:reporter",
    }));
    let mut settings = rs256(issuer, AUDIENCE);
    settings.claims.groups = "/kubernetes.io/namespace".to_owned();
    settings.claims.purpose = "/kubernetes.io/serviceaccount/name".to_owned();
    let expected = json!({
        "subject": "system:serviceaccount:agents:reporter", "groups": ["agents"], "purpose": "reporter",
        "client": null, "owner": null,
    });
    check(settings, "", claims, Ok(expected));
}
