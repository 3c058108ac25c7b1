//! ID tokens: who has logged in (OpenID Connect Core 1.0 section 2).

use super::{
    Claims, Failure, Issuer, Jws, Presented, Principal, TokenCache, TokenError, issuer::Accept, verify,
};
use crate::{limits, time::Now};
use std::sync::Arc;

/// Somebody who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdToken {
    pub principal: Principal,
    /// How the issuer calls them, for people to read; unlike the subject it identifies nobody.
    pub name: Option<String>,
}

/// Verifies an ID token of `issuer`, whose only audience is our client, by the rules for all tokens and those
/// of OpenID Connect Core 1.0 section 3.1.3.7. `nonce` is the one that the login began with; `None` where the
/// way of logging in has none (RFC 8628).
///
/// # Errors
/// As [`super::authenticate`].
pub fn verify_id_token(
    now: Now,
    token: &str,
    issuer: &Arc<Issuer>,
    nonce: Option<&str>,
) -> Result<IdToken, Failure> {
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong { max: limits::TOKEN_BYTES_MAX }.into());
    }
    // Used once: nothing is remembered, and nothing names it in records.
    let mut cache = TokenCache::with_capacity(&[0; 32], 1);
    let digest = cache.digest(token);
    let presented = Presented { token, places: Accept::BOTH };
    let principal = verify(now, presented, std::slice::from_ref(issuer), digest, &mut cache)?;
    let jws = Jws::parse(token)?;
    let claims = Claims::parse(&jws.payload)?;
    let client = issuer.settings().audience.first().map_or("", String::as_str);
    claims.check_login(client, nonce)?;
    Ok(IdToken { principal: Principal::clone(&principal), name: claims.display_name() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{
        KeySet, Settings,
        testing::{ISSUER, NOW_S, Signer, at},
    };
    use serde_json::{Value, json};

    #[test]
    fn a_login_is_of_this_client_and_this_nonce() {
        let signer = Signer::es256();
        let issuer = Issuer::new(Settings::new("login", ISSUER, &["console"], &["ES256"])).unwrap();
        let keys = json!({ "keys": [signer.jwk("k")] }).to_string();
        issuer.keys().publish(Arc::new(KeySet::parse(keys.as_bytes()).unwrap()));
        let issuer = Arc::new(issuer);
        let verified = |change: &dyn Fn(&mut Value), nonce: Option<&str>| {
            let mut claims = json!({
                "iss": ISSUER, "aud": "console", "sub": "sam", "iat": NOW_S, "exp": NOW_S + 60,
                "nonce": "n-1", "name": "Sam", "groups": ["sre"],
            });
            change(&mut claims);
            verify_id_token(at(1), &signer.token("k", &claims), &issuer, nonce)
                .map_err(|failure| failure.into_refusal().to_string())
        };
        let sam = verified(&|_| {}, Some("n-1")).unwrap();
        assert_eq!((sam.name.as_deref(), sam.principal.subject.as_str()), (Some("Sam"), "sam"));
        assert_eq!(sam.principal.groups, ["sre"]);
        assert!(verified(&|_| {}, None).is_ok(), "a device has no nonce");
        type Change<'a> = &'a dyn Fn(&mut Value);
        let cases: [(Change<'_>, &str); 7] = [
            (&|claims| claims["nonce"] = "n-2".into(), "'nonce'"),
            (&|claims| drop(claims.as_object_mut().unwrap().remove("nonce")), "'nonce'"),
            (&|claims| claims["aud"] = "other".into(), "audience"),
            (&|claims| claims["azp"] = "other".into(), "'azp'"),
            (&|claims| claims["aud"] = json!(["console", "other"]), "'azp'"),
            (&|claims| claims["exp"] = (NOW_S - 60).into(), "expired"),
            (&|claims| claims["iss"] = "https://other.example.com".into(), "issuer"),
        ];
        for (change, wrong) in cases {
            let refused = verified(change, Some("n-1"));
            assert!(refused.as_ref().is_err_and(|why| why.contains(wrong)), "{wrong}: {refused:?}");
        }
        let both = verified(
            &|claims| {
                claims["aud"] = json!(["console", "other"]);
                claims["azp"] = "console".into();
            },
            Some("n-1"),
        );
        assert!(both.is_ok(), "{both:?}");
    }
}
