//! Credentials in a query: some APIs take them there, and no record may hold them (SECURITY R40).

use super::{decode, query_of};
use std::borrow::Cow;

/// What a record shows in place of a credential.
pub const REDACTED: &str = "[redacted]";
/// Parameters that carry a credential, in lower case and without what is neither letter nor digit.
#[rustfmt::skip]
const NAMES: [&str; 61] = [
    "token", "accesstoken", "refreshtoken", "idtoken", "authtoken", "oauthtoken", "bearertoken",
    "sessiontoken", "securitytoken", "privatetoken", "jobtoken", "apitoken", "usertoken", "xaccesstoken",
    "xauthtoken", "subjecttoken", "actortoken", "sastoken", "logintoken", "bottoken",
    "xamzsecuritytoken", "apikey", "xapikey", "appkey", "accesskey", "authkey", "secretkey", "hapikey",
    "privatekey", "servicekey", "subscriptionkey", "ocpapimsubscriptionkey", "secret", "clientsecret",
    "appsecret", "apisecret", "secretaccesskey", "password", "passwd", "pwd", "pass", "passphrase",
    "passcode", "otp", "sig", "signature", "xamzsignature", "xgoogsignature", "sharedaccesssignature",
    "xamzcredential", "xgoogcredential", "credential", "credentials", "jwt", "assertion",
    "clientassertion", "samlresponse", "codeverifier", "auth", "authorization", "bearer",
];
/// Longest of them.
const NAME_BYTES_MAX: usize = 24;
/// A value shorter than this is no credential by its looks alone.
const CREDENTIAL_BYTES_MIN: usize = 16;

/// A target, or a URL, as a record may hold it: `[redacted]` for the value of each query parameter that is
/// known to carry a credential (`access_token`, `sig`, `X-Amz-Signature`), or whose value looks like one
/// (`key=AIza…`, a JWT). Borrowed where there is none, which allocates nothing.
///
/// Names are compared decoded, without case and without what is neither letter nor digit. `;` and `?` begin a
/// parameter too, as they do for some servers and in URLs within URLs; a value that hides one in escapes is
/// replaced as a whole. Where in doubt more is replaced: up to the next `&`.
pub fn without_credentials(target: &str) -> Cow<'_, str> {
    let Some(query) = query_of(target) else { return Cow::Borrowed(target) };
    let mut redacted: Option<String> = None;
    // Where the part begins that was not written yet.
    let mut written = 0;
    let mut start = target.len() - query.len();
    for pair in query.split('&') {
        if let Some(at) = credential(pair) {
            let out = redacted.get_or_insert_with(|| String::with_capacity(target.len()));
            out.push_str(&target[written..start + at]);
            out.push_str(REDACTED);
            written = start + pair.len();
        }
        start += pair.len() + 1;
    }
    match redacted {
        None => Cow::Borrowed(target),
        Some(mut out) => {
            out.push_str(&target[written..]);
            Cow::Owned(out)
        }
    }
}

/// Where the first credential begins in one `name=value` and what some servers find in it besides.
fn credential(pair: &str) -> Option<usize> {
    let mut start = 0;
    for parameter in pair.split([';', '?']) {
        let (at, value) = match parameter.split_once('=') {
            Some((name, value)) if is_credential_name(name) && !value.is_empty() => {
                return Some(start + parameter.len() - value.len());
            }
            Some((name, value)) => (start + name.len() + 1, value),
            None => (start, parameter),
        };
        if is_credential(value) || hides_credential(value) {
            return Some(at);
        }
        start += parameter.len() + 1;
    }
    None
}

/// Whether a value holds parameters of its own, escaped once, and a credential in one of them.
fn hides_credential(value: &str) -> bool {
    match decode(value) {
        Cow::Borrowed(_) => false,
        Cow::Owned(decoded) => is_credential(&decoded) || decoded.split('&').any(credential_in_clear),
    }
}

fn credential_in_clear(pair: &str) -> bool {
    pair.split([';', '?']).any(|parameter| match parameter.split_once('=') {
        Some((name, value)) => is_credential_name(name) && !value.is_empty() || is_credential(value),
        None => is_credential(parameter),
    })
}

/// Whether parameters of this name carry a credential, whatever their value is.
fn is_credential_name(name: &str) -> bool {
    let name = decode(name);
    let mut folded = [0; NAME_BYTES_MAX];
    let mut len = 0;
    for byte in name.bytes().filter(u8::is_ascii_alphanumeric) {
        let Some(slot) = folded.get_mut(len) else { return false };
        *slot = byte.to_ascii_lowercase();
        len += 1;
    }
    NAMES.iter().any(|known| known.as_bytes() == &folded[..len])
}

/// Whether a value looks like a credential of a well-known maker, or is a JWT.
fn is_credential(value: &str) -> bool {
    const PREFIXES: [&str; 29] = [
        "AIza",
        "ya29.",
        "sk-",
        "sk_live_",
        "sk_test_",
        "rk_live_",
        "ghp_",
        "gho_",
        "ghu_",
        "ghs_",
        "ghr_",
        "github_pat_",
        "glpat-",
        "xoxb-",
        "xoxp-",
        "xoxa-",
        "xoxe-",
        "xapp-",
        "AKIA",
        "ASIA",
        "hf_",
        "SG.",
        "npm_",
        "pypi-",
        "shpat_",
        "dop_v1_",
        "Bearer ",
        "Basic ",
        "hvs.",
    ];
    let is_jwt = || value.starts_with("eyJ") && value.bytes().filter(|byte| *byte == b'.').count() >= 2;
    value.len() >= CREDENTIAL_BYTES_MIN
        && (PREFIXES.iter().any(|prefix| value.starts_with(prefix)) || is_jwt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn credentials_in_a_query_are_replaced() {
        for (target, expected) in [
            ("/v1?access_token=abc&b=c", "/v1?access_token=[redacted]&b=c"),
            ("/v1?a=b&api_key=abc", "/v1?a=b&api_key=[redacted]"),
            (
                "/v1?API-Key=a&apikey=b&x-api-key=c",
                "/v1?API-Key=[redacted]&apikey=[redacted]&x-api-key=[redacted]",
            ),
            ("/v1?key=AIzaSyA-0123456789abcdef", "/v1?key=[redacted]"),
            ("/blob?sv=2022&sig=a%2Bb%3D&se=2030", "/blob?sv=2022&sig=[redacted]&se=2030"),
            ("/?X-Amz-Signature=ff&X-Amz-Date=1", "/?X-Amz-Signature=[redacted]&X-Amz-Date=1"),
            ("/?access%5Ftoken=abc", "/?access%5Ftoken=[redacted]"),
            ("/?auth[token]=abc", "/?auth[token]=[redacted]"),
            ("/?token=a=b&token=c", "/?token=[redacted]&token=[redacted]"),
            ("/?a=b;token=c;d=e&f=g", "/?a=b;token=[redacted]&f=g"),
            ("/?next=https://a.test/?token=c&f=g", "/?next=https://a.test/?token=[redacted]&f=g"),
            ("/?next=https%3A%2F%2Fa%3Ftoken%3Dc&f=g", "/?next=[redacted]&f=g"),
            ("/?q=eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln", "/?q=[redacted]"),
            ("/?eyJhbGciOiJSUzI1NiJ9.eyJhIjoxfQ.c2ln", "/?[redacted]"),
            ("/?h=Bearer%20abcdefghijkl", "/?h=[redacted]"),
            ("/?h=Bearer+abcdefghijkl&password=", "/?h=[redacted]&password="),
            ("https://a.test/x?secret=y", "https://a.test/x?secret=[redacted]"),
        ] {
            assert_eq!(without_credentials(target), expected, "{target}");
        }
    }

    #[test]
    fn what_is_no_credential_stays_and_costs_nothing() {
        for target in [
            "/v1/messages",
            "/v1/messages?beta=true",
            "/token?",
            "/?key=orders/7&sk-1=sk-1",
            "/?page_token=CAUQAA&max_tokens=5&tokens=7",
            "/?sort=signature&author=token",
            "/?a=%74oken&b=%zz&c=100%25",
            "*",
            "/?&&;;==?",
        ] {
            let result = without_credentials(target);
            assert!(matches!(&result, Cow::Borrowed(same) if *same == target), "{target}: {result}");
        }
    }

    proptest! {
        /// Whatever stands around it: the value is never shown, and nothing behind its parameter is lost.
        #[test]
        fn a_credential_is_never_shown(before in "[a-z=&;?%0-9]{0,12}", after in "[a-z=;?%0-9]{0,8}") {
            let target = format!("/p?{before}&access_token=CANARY{after}&kept=1");
            let shown = without_credentials(&target);
            prop_assert!(!shown.contains("CANARY"), "{}", shown);
            prop_assert!(shown.starts_with("/p?") && shown.ends_with("&kept=1"), "{}", shown);
            prop_assert_eq!(without_credentials(&shown), shown.clone(), "once is enough");
        }
    }
}
