use super::{testing::*, *};
use proptest::prelude::*;
use serde_json::{Value, json};
use std::{slice::from_ref, time::Duration};

/// Tokens with changed claims, the reason they are refused for, and a word of the text.
fn check_claims(issuer: &Arc<Issuer>, signer: &Signer, cases: &[(Value, &str, &str)]) {
    for (changes, reason, word) in cases {
        let token = signer.token("k", &claims_with(changes.clone()));
        let error = once(at(0), &token, from_ref(issuer)).expect_err(word).into_refusal();
        assert_eq!(error.reason(), *reason, "{changes}");
        assert!(error.to_string().contains(word), "{error} lacks {word}");
        assert!(!token.split('.').any(|part| error.to_string().contains(part)), "{error}");
    }
}

#[test]
fn a_sound_token_says_who_calls() {
    let signer = Signer::es256();
    let mut settings = settings();
    settings.claims.owner = vec!["oid".to_owned(), "email".to_owned()];
    let issuer = issuer(settings, &[signer.jwk("k")]);
    let token = signer.token("k", &claims_with(json!({"email": "ada@example.com"})));
    let principal = once(at(0), &token, &[issuer]).expect("sound");
    let shown = serde_json::to_value(&*principal).expect("serializable");
    let expected = json!({
        "identity": "corp", "issuer": ISSUER, "subject": "agent-7", "owner": "ada@example.com",
        "groups": ["agents", "blue"], "purpose": "nightly report", "jti": "t-1", "client": "client-3",
        "expires": "2026-11-21T11:20:00.000000Z", "token_id": principal.token_id.to_string(),
    });
    assert_eq!(shown, expected);
    assert!(!format!("{principal:?}").contains(&token[token.len() - 40..]));
}

#[test]
fn every_algorithm_verifies_its_own_signatures_only() {
    let signers = [
        Signer::es256(),
        Signer::es384(),
        Signer::ed25519(),
        Signer::rsa("RS256"),
        Signer::rsa("RS384"),
        Signer::rsa("RS512"),
        Signer::rsa("PS256"),
        Signer::rsa("PS384"),
        Signer::rsa("PS512"),
    ];
    let all = Settings::new("corp", ISSUER, &[AUDIENCE], &Algorithm::NAMES);
    for signer in &signers {
        let issuer = issuer(all.clone(), &[signer.jwk("k")]);
        let token = signer.token("k", &claims());
        assert!(once(at(0), &token, from_ref(&issuer)).is_ok(), "{}", signer.algorithm());
        for other in &signers {
            if other.algorithm() == signer.algorithm() {
                continue;
            }
            // The header claims another algorithm than the signature has, or the signature has another key.
            let header = format!(r#"{{"alg":"{}","kid":"k"}}"#, other.algorithm());
            for token in [signer.raw(&header, &claims().to_string()), other.token("k", &claims())] {
                assert!(once(at(0), &token, from_ref(&issuer)).is_err());
            }
        }
    }
}

/// SECURITY R27.
#[test]
fn algorithms_outside_of_the_issuers_list_are_refused() {
    let signer = Signer::rsa("RS256");
    let settings = Settings::new("corp", ISSUER, &[AUDIENCE], &["ES256"]);
    let issuer = issuer(settings, &[signer.jwk("k")]);
    let error = once(at(0), &signer.token("k", &claims()), from_ref(&issuer)).expect_err("not listed");
    assert_eq!(error.into_refusal().reason(), "algorithm");

    // HS/RS confusion: an HMAC under the published key as the secret.
    let signed = format!("{}.{}", base64(r#"{"alg":"HS256","kid":"k"}"#), base64(claims().to_string()));
    let secret = signer.jwk("k").to_string();
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret.as_bytes());
    let token = format!("{signed}.{}", base64(aws_lc_rs::hmac::sign(&key, signed.as_bytes())));
    let error = once(at(0), &token, from_ref(&issuer)).expect_err("symmetric");
    assert_eq!(error.into_refusal().reason(), "algorithm");

    let unsigned = format!("{}.{}.", base64(r#"{"alg":"none"}"#), base64(claims().to_string()));
    let error = once(at(0), &unsigned, &[issuer]).expect_err("unsigned");
    assert_eq!(error.into_refusal().reason(), "algorithm");
}

/// RFC 8725 section 3.11, SECURITY R29.
#[test]
fn tokens_of_another_type_are_refused() {
    let signer = Signer::es256();
    let issuer = issuer(settings(), &[signer.jwk("k")]);
    let cases = [
        (r#","typ":"JWT""#, true),
        (r#","typ":"at+jwt""#, true),
        ("", true),
        (r#","typ":"logout+jwt""#, false),
        (r#","typ":"dpop+jwt""#, false),
        (r#","typ":"""#, false),
    ];
    for (typ, is_accepted) in cases {
        let token = signer.raw(&format!(r#"{{"alg":"ES256","kid":"k"{typ}}}"#), &claims().to_string());
        assert_eq!(once(at(0), &token, from_ref(&issuer)).is_ok(), is_accepted, "{typ}");
    }
}

/// RFC 7519 section 4.1, SECURITY R29.
#[test]
fn claims_are_compared_exactly() {
    let signer = Signer::es256();
    let issuer = issuer(settings(), &[signer.jwk("k")]);
    let other = |text: &str| json!({ "iss": text });
    let cases = [
        (other("https://idp.example.com/"), "issuer", "not accepted here"),
        (other("HTTPS://idp.example.com"), "issuer", "HTTPS"),
        (other("x\"\r\nSet-Cookie: a"), "issuer", "x???Set-Cookie: a"),
        (json!({"iss": null}), "claim", "'iss' is missing"),
        (json!({"iss": [ISSUER]}), "claim", "'iss' is missing or not a text"),
        (json!({"aud": "https://gw.example.com/"}), "audience", "https://gw.example.com/"),
        (json!({"aud": ["a", "b"]}), "audience", "a b"),
        (json!({"aud": null}), "claim", "'aud'"),
        (json!({"aud": []}), "claim", "'aud'"),
        (json!({"aud": [AUDIENCE, 7]}), "claim", "'aud'"),
        (json!({"aud": {"0": AUDIENCE}}), "claim", "'aud'"),
        (json!({"sub": null}), "claim", "'sub' is missing"),
        (json!({"sub": ""}), "claim", "'sub' is empty"),
        (json!({"sub": 7}), "claim", "'sub' is not a text"),
        (json!({"sub": "a\nb"}), "claim", "control characters"),
        (json!({"sub": "x".repeat(1025)}), "claim", "too long"),
        (json!({"groups": [7]}), "claim", "'groups' is not a text"),
        (json!({"groups": {"a": true}}), "claim", "'groups' is not a text"),
        (json!({"groups": vec!["g"; 513]}), "claim", "too many groups"),
        (json!({"purpose": ["a"]}), "claim", "'purpose' is not a text"),
    ];
    check_claims(&issuer, &signer, &cases);
    let lists = json!({"aud": ["https://other.example.com", AUDIENCE], "groups": "agents"});
    let principal = once(at(0), &signer.token("k", &claims_with(lists)), &[issuer]).expect("sound");
    assert_eq!(principal.groups, ["agents"]);
}

#[test]
fn dates_are_required_well_formed_and_in_order() {
    let signer = Signer::es256();
    let issuer = issuer(settings(), &[signer.jwk("k")]);
    let cases = [
        (json!({"exp": null}), "claim", "'exp' is missing"),
        (json!({"exp": (NOW_S + 600).to_string()}), "claim", "'exp' is not a date"),
        (json!({"exp": -1}), "claim", "'exp' is not a date"),
        (json!({"exp": 1e300}), "claim", "'exp' is not a date"),
        (json!({"exp": true}), "claim", "'exp' is not a date"),
        (json!({"exp": NOW_S - 30}), "expired", "expired 30 s ago, at 2026-11-21T11:09:30"),
        (json!({"exp": NOW_S - 86_400}), "expired", "86400 s ago"),
        (json!({"nbf": NOW_S + 31}), "not_yet_valid", "in 31 s"),
        (json!({"nbf": "soon"}), "claim", "'nbf' is not a date"),
        (json!({"iat": NOW_S + 31}), "issued_in_future", "31 s in the future"),
        (json!({"iat": []}), "claim", "'iat' is not a date"),
    ];
    check_claims(&issuer, &signer, &cases);
    // Within the skew of 30 s, and fractions of a second.
    for changes in [
        json!({"exp": NOW_S - 29}),
        json!({"exp": NOW_S as f64 - 29.5}),
        json!({"nbf": NOW_S + 30, "iat": NOW_S + 30}),
        json!({"iat": null}),
    ] {
        let token = signer.token("k", &claims_with(changes.clone()));
        assert!(once(at(0), &token, from_ref(&issuer)).is_ok(), "{changes}");
    }
}

#[test]
fn old_tokens_are_refused_where_their_age_is_limited() {
    let signer = Signer::es256();
    let limited = Settings { max_token_age: Some(Duration::from_secs(300)), ..settings() };
    let issuer = issuer(limited, &[signer.jwk("k")]);
    let cases = [
        (json!({"iat": null}), "claim", "'iat' is missing"),
        (json!({"iat": NOW_S - 330}), "too_old", "is 330 s old; this gateway accepts 300 s"),
    ];
    check_claims(&issuer, &signer, &cases);
    assert_eq!(TokenError::TooOld { age_s: 1, max_s: 1 }.class(), TokenClass::Expired);
    let token = signer.token("k", &claims_with(json!({"iat": NOW_S - 329, "exp": NOW_S + 86_400})));
    let principal = once(at(0), &token, &[issuer]).expect("within age and skew");
    assert_eq!(principal.expires, at(-29).wall);
}

#[test]
fn duplicate_claims_and_deep_or_foreign_payloads_are_refused() {
    let signer = Signer::es256();
    let issuer = issuer(settings(), &[signer.jwk("k")]);
    let sound = claims().to_string();
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(40), "]".repeat(40));
    let payloads = [
        sound.replacen('{', r#"{"sub":"root","#, 1),
        sound.replacen('{', r#"{"\u0073ub":"root","#, 1),
        sound.replacen('{', r#"{"x":{"a":1,"a":2},"#, 1),
        format!("{sound} {{}}"),
        format!("\u{feff}{sound}"),
        format!("[{sound}]"),
        deep,
        "foo".to_owned(),
        String::new(),
    ];
    for payload in payloads {
        let token = signer.raw(r#"{"alg":"ES256","kid":"k"}"#, &payload);
        let error = once(at(0), &token, from_ref(&issuer)).expect_err("not strict").into_refusal();
        assert_eq!(error.reason(), "malformed", "{payload}");
    }
}

#[test]
fn a_purpose_can_be_required() {
    let signer = Signer::es256();
    let issuer = issuer(Settings { require_purpose: true, ..settings() }, &[signer.jwk("k")]);
    check_claims(&issuer, &signer, &[(json!({"purpose": null}), "purpose_missing", "no purpose")]);
    assert!(once(at(0), &signer.token("k", &claims()), &[issuer]).is_ok());
}

#[test]
fn missing_and_foreign_tokens_are_told_apart() {
    let issuer = issuer(settings(), &[Signer::es256().jwk("k")]);
    let answer = authenticate(at(0), &Headers::new(), from_ref(&issuer), &mut cache());
    assert_eq!(answer.expect_err("no token"), Failure::Refused(TokenError::Missing));
    for token in ["sk-ant-api03-abc", "a.b.c", "...", "{}"] {
        let error = once(at(0), token, from_ref(&issuer)).expect_err("no JWT").into_refusal();
        assert_eq!((error.reason(), error.class()), ("malformed", TokenClass::Invalid), "{token}");
    }
    let answer = once(at(0), &Signer::es256().token("k", &claims()), &[]);
    assert_eq!(answer.expect_err("no issuer").into_refusal().reason(), "place");
}

#[test]
fn one_issuer_may_stand_there_twice_with_different_audiences() {
    let signer = Signer::es256();
    let second = Settings { name: "second".to_owned(), audience: vec!["b".to_owned()], ..settings() };
    let issuers = [issuer(settings(), &[signer.jwk("k")]), issuer(second, &[signer.jwk("k")])];
    let token = signer.token("k", &claims_with(json!({"aud": "b"})));
    assert_eq!(*once(at(0), &token, &issuers).expect("sound").identity, *"second");
    assert_eq!(
        once(at(0), &token, &issuers[..1]).expect_err("other audience").into_refusal().reason(),
        "audience"
    );
}

#[test]
fn a_token_counts_only_where_its_issuer_accepts_it() {
    let signer = Signer::es256();
    let by_key = Settings { accept: Accept { bearer: false, x_api_key: true }, ..settings() };
    let other = Settings { issuer: "https://other.example.com".to_owned(), ..settings() };
    let issuers = [issuer(by_key, &[signer.jwk("k")]), issuer(other, &[signer.jwk("k")])];
    let token = signer.token("k", &claims());
    let error = once(at(0), &token, &issuers).expect_err("wrong header").into_refusal();
    assert_eq!(error, TokenError::Place { header: "Authorization" });
    let mut headers = Headers::new();
    headers.append("x-api-key", token.as_bytes());
    assert!(authenticate(at(0), &headers, &issuers, &mut cache()).is_ok());
}

/// SECURITY R28 and R30.
#[test]
fn keys_are_asked_for_once_and_then_not_for_30_s() {
    let (signer, stranger) = (Signer::es256(), Signer::es256());
    let issuer = Arc::new(Issuer::new(settings()).expect("sound"));
    let issuers = [issuer.clone()];
    let token = signer.token("k", &claims());
    let need = |wanted| Failure::NeedKeys { issuer: 0, wanted };
    let ask = |token: &str, seconds| once(at(seconds), token, &issuers).map(|_| ());

    assert_eq!(ask(&token, 0), Err(need(KeysWanted::NoKeys)));
    issuer.keys().note_attempt(at(0).wall);
    assert_eq!(ask(&token, 1), Err(Failure::Refused(TokenError::KeysUnavailable)));
    publish(&issuer, &[signer.jwk("k")]);
    assert_eq!(ask(&token, 1), Ok(()));

    let unknown = stranger.token("../../etc/passwd", &claims());
    assert_eq!(ask(&unknown, 29), Err(Failure::Refused(TokenError::UnknownKey)));
    assert_eq!(ask(&unknown, 30), Err(need(KeysWanted::UnknownKid)));
    let forged = stranger.token("k", &claims());
    assert_eq!(ask(&forged, 29), Err(Failure::Refused(TokenError::Signature)));
    assert_eq!(ask(&forged, 30), Err(need(KeysWanted::BadSignature)));
    issuer.keys().note_attempt(at(30).wall);
    assert_eq!(ask(&forged, 31), Err(Failure::Refused(TokenError::Signature)));
}

#[test]
fn a_token_without_kid_needs_a_single_fitting_key() {
    let (signer, other) = (Signer::es256(), Signer::es256());
    let token = signer.raw(r#"{"alg":"ES256"}"#, &claims().to_string());
    let one = issuer(settings(), &[signer.jwk("k"), Signer::es384().jwk("l")]);
    assert!(once(at(0), &token, &[one]).is_ok());
    let two = issuer(settings(), &[signer.jwk("k"), other.jwk("l")]);
    let error = once(at(0), &token, &[two]).expect_err("ambiguous").into_refusal();
    assert_eq!(error, TokenError::KeyUnnamed);
}

#[test]
fn the_cache_checks_a_signature_once_and_everything_else_every_time() {
    let (signer, other) = (Signer::es256(), Signer::es256());
    let issuer = issuer(settings(), &[signer.jwk("k")]);
    let issuers = [issuer.clone()];
    let headers = bearer(&signer.token("k", &claims()));
    let mut cache = cache();
    let first = authenticate(at(0), &headers, &issuers, &mut cache).expect("sound");
    let again = authenticate(at(299), &headers, &issuers, &mut cache).expect("sound");
    assert!(Arc::ptr_eq(&first, &again), "verified twice");

    // After 5 minutes the signature is looked at again.
    let later = authenticate(at(300), &headers, &issuers, &mut cache).expect("sound");
    assert!(!Arc::ptr_eq(&first, &later) && first == later);

    // A new key set that still has the key keeps the entry; one that has not drops it.
    publish(&issuer, &[other.jwk("new"), signer.jwk("k")]);
    let kept = authenticate(at(301), &headers, &issuers, &mut cache).expect("sound");
    assert!(Arc::ptr_eq(&later, &kept));
    publish(&issuer, &[other.jwk("new")]);
    let gone = authenticate(at(302), &headers, &issuers, &mut cache).expect_err("rotated away");
    assert_eq!(gone.into_refusal(), TokenError::UnknownKey);
    assert!(cache.is_empty());
    // Another key under the same kid is another key.
    publish(&issuer, &[signer.jwk("k")]);
    authenticate(at(303), &headers, &issuers, &mut cache).expect("sound");
    publish(&issuer, &[other.jwk("k")]);
    let replaced = authenticate(at(304), &headers, &issuers, &mut cache).expect_err("replaced");
    assert_eq!(replaced.into_refusal(), TokenError::Signature);
    // No keys at all: nobody is let in from memory.
    publish(&issuer, &[signer.jwk("k")]);
    authenticate(at(305), &headers, &issuers, &mut cache).expect("sound");
    issuer.keys().publish(Arc::default());
    let stale = authenticate(at(306), &headers, &issuers, &mut cache).expect_err("no keys");
    assert_eq!(stale.into_refusal(), TokenError::KeysUnavailable);
}

/// SECURITY R32: also on a kept-alive connection.
#[test]
fn an_expired_token_is_refused_although_it_is_cached() {
    let signer = Signer::es256();
    let issuers = [issuer(settings(), &[signer.jwk("k")])];
    let headers = bearer(&signer.token("k", &claims_with(json!({"exp": NOW_S + 60}))));
    let mut cache = cache();
    authenticate(at(0), &headers, &issuers, &mut cache).expect("sound");
    authenticate(at(89), &headers, &issuers, &mut cache).expect("within the skew");
    let error = authenticate(at(90), &headers, &issuers, &mut cache).expect_err("expired").into_refusal();
    assert_eq!(error, TokenError::Expired { at: at(60).wall, ago_s: 30 });
    assert!(cache.is_empty());
}

#[test]
fn a_cached_token_does_not_pass_other_rules_of_the_same_issuer() {
    let signer = Signer::es256();
    let token = bearer(&signer.token("k", &claims()));
    let mut cache = cache();
    let first = [issuer(settings(), &[signer.jwk("k")])];
    authenticate(at(0), &token, &first, &mut cache).expect("sound");
    let other_audience = Settings { audience: vec!["b".to_owned()], ..settings() };
    let other_map = Settings {
        map: vec![MapRule {
            sub: Some("agent-7".to_owned()),
            groups: vec!["m".to_owned()],
            ..MapRule::default()
        }],
        ..settings()
    };
    let second = [issuer(other_audience, &[signer.jwk("k")])];
    let error = authenticate(at(0), &token, &second, &mut cache).expect_err("audience").into_refusal();
    assert_eq!(error.reason(), "audience");
    let third = [issuer(other_map, &[signer.jwk("k")])];
    assert_eq!(authenticate(at(0), &token, &third, &mut cache).expect("sound").groups, ["m"]);
    assert_eq!(cache.len(), 2);
}

#[test]
fn the_cache_is_bounded_and_keeps_what_is_used() {
    let signer = Signer::ed25519();
    let issuers = [issuer(settings(), &[signer.jwk("k")])];
    let mut cache = TokenCache::with_capacity(&[1; 32], 8);
    let token = |n: u32| bearer(&signer.token("k", &claims_with(json!({"jti": n.to_string()}))));
    let busy = token(0);
    let first = authenticate(at(0), &busy, &issuers, &mut cache).expect("sound");
    for n in 1..50 {
        authenticate(at(0), &token(n), &issuers, &mut cache).expect("sound");
        let again = authenticate(at(0), &busy, &issuers, &mut cache).expect("sound");
        assert!(Arc::ptr_eq(&first, &again), "the busy token was dropped after {n}");
        assert!(cache.len() <= 8);
    }
}

#[test]
fn tokens_that_fail_leave_nothing_behind() {
    let (signer, stranger) = (Signer::es256(), Signer::es256());
    let issuers = [issuer(settings(), &[signer.jwk("k")])];
    let mut cache = cache();
    for token in [stranger.token("k", &claims()), stranger.token("x", &claims())] {
        authenticate(at(0), &bearer(&token), &issuers, &mut cache).expect_err("forged");
    }
    assert!(cache.is_empty());
}

#[test]
fn any_change_of_one_byte_is_rejected() {
    let signers = [Signer::es256(), Signer::rsa("RS256"), Signer::ed25519()];
    let issuers: Vec<_> = signers.iter().map(|signer| issuer(settings(), &[signer.jwk("k")])).collect();
    let tokens: Vec<_> = signers.iter().map(|signer| signer.token("k", &claims())).collect();
    let mut caches: Vec<_> = signers.iter().map(|_| cache()).collect();
    for ((issuer, token), cache) in issuers.iter().zip(&tokens).zip(&mut caches) {
        authenticate(at(0), &bearer(token), from_ref(issuer), cache).expect("sound");
    }
    let caches = std::cell::RefCell::new(caches);
    let change = (0..signers.len(), any::<prop::sample::Index>(), any::<u8>(), 0..3);
    proptest!(ProptestConfig::with_cases(3000), |((which, place, byte, how) in change)| {
        let mut changed = tokens[which].clone().into_bytes();
        let place = place.index(changed.len());
        match how {
            0 => changed[place] = byte,
            1 => drop(changed.remove(place)),
            _ => changed.insert(place, byte),
        }
        // Such bytes never come out of the HTTP parser.
        prop_assume!(!matches!(byte, b'\r' | b'\n' | 0));
        // Spaces between the scheme and the token are not part of it.
        prop_assume!(changed != tokens[which].as_bytes() && changed[0] != b' ');
        let mut headers = Headers::new();
        headers.append("authorization", &[b"Bearer ", &changed[..]].concat());
        let answer = authenticate(at(0), &headers, &issuers[which..=which], &mut caches.borrow_mut()[which]);
        prop_assert!(answer.is_err());
    });
}

proptest! {
    #[test]
    fn no_input_panics(text in "[ -~]{0,80}", payload in "[ -~]{0,80}") {
        let issuers = [Arc::new(Issuer::new(settings()).expect("sound"))];
        let _ = once(at(0), &text, &issuers);
        let _ = once(at(0), &format!("{}.{}.AA", base64(&text), base64(&payload)), &issuers);
        let _ = KeySet::parse(text.as_bytes());
    }
}
