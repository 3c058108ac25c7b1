use super::{
    algorithm::{Algorithm, AlgorithmError},
    keys::KeySlot,
};
use crate::limits;
use aws_lc_rs::digest;
use std::{net::IpAddr, sync::Arc, time::Duration};

/// Where a caller may put its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accept {
    /// `Authorization: Bearer TOKEN` (RFC 6750 section 2.1).
    pub bearer: bool,
    /// `x-api-key: TOKEN`, where SDKs put what they take for an API key.
    pub x_api_key: bool,
}

impl Accept {
    /// Both places.
    pub const BOTH: Accept = Accept { bearer: true, x_api_key: true };
    /// No place; the neutral element of [`Accept::or`].
    pub const NONE: Accept = Accept { bearer: false, x_api_key: false };

    /// What either accepts.
    pub fn or(self, other: Accept) -> Accept {
        Accept { bearer: self.bearer || other.bearer, x_api_key: self.x_api_key || other.x_api_key }
    }
}

/// Which claims say what. A name that begins with `/` is a JSON pointer (RFC 6901) into the claims, so that
/// nested ones such as `/realm_access/roles` can be read; any other name is a top-level member as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    pub subject: String,
    pub groups: String,
    pub purpose: String,
    /// The first that is present wins; empty: tokens have no owner.
    pub owner: Vec<String>,
}

impl Default for ClaimNames {
    fn default() -> ClaimNames {
        ClaimNames {
            subject: "sub".to_owned(),
            groups: "groups".to_owned(),
            purpose: "purpose".to_owned(),
            owner: Vec::new(),
        }
    }
}

/// One `[[identity.map]]`: what tokens of one client or subject are given. The first rule whose every
/// condition equals the token's decides; what it gives replaces the claim of the same meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapRule {
    /// Equals the OAuth client (`azp`, `client_id`, `appid`, `cid`).
    pub azp: Option<String>,
    /// Equals the subject.
    pub sub: Option<String>,
    /// Groups that the rule gives; empty: those of the token stay.
    pub groups: Vec<String>,
    /// Purpose that the rule gives.
    pub purpose: Option<String>,
}

/// What an `[[identity]]` table says, before it was checked.
#[derive(Clone, Debug)]
pub struct Settings {
    pub name: String,
    /// Issuer identifier exactly as `iss` has it (OpenID Connect Discovery 1.0 section 3).
    pub issuer: String,
    pub audience: Vec<String>,
    /// JWS names, such as `ES256`.
    pub algorithms: Vec<String>,
    /// At most 60 s.
    pub clock_skew: Duration,
    /// Tokens older than this, by `iat`, are refused; then `iat` is required.
    pub max_token_age: Option<Duration>,
    pub accept: Accept,
    pub claims: ClaimNames,
    pub require_purpose: bool,
    /// Media types of the header's `typ`; empty: [`Settings::TYPES`].
    pub types: Vec<String>,
    pub map: Vec<MapRule>,
}

impl Settings {
    /// Types accepted unless the table lists others. A token without `typ` counts as `JWT`: Okta and
    /// Kubernetes leave it out.
    pub const TYPES: [&str; 2] = ["JWT", "at+jwt"];

    /// Settings with the defaults of everything that has one.
    pub fn new(name: &str, issuer: &str, audience: &[&str], algorithms: &[&str]) -> Settings {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        Settings {
            name: name.to_owned(),
            issuer: issuer.to_owned(),
            audience: owned(audience),
            algorithms: owned(algorithms),
            clock_skew: limits::CLOCK_SKEW_DEFAULT,
            max_token_age: None,
            accept: Accept::BOTH,
            claims: ClaimNames::default(),
            require_purpose: false,
            types: Vec::new(),
            map: Vec::new(),
        }
    }
}

/// Why an `[[identity]]` table cannot be used. The operator is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IssuerError {
    #[error("issuer {url:?} is not a URL of the form https://host[:port][/path]")]
    Url { url: String },
    #[error(
        "issuer {url:?} is plain http: only a loopback address may be, for anybody could replace its keys"
    )]
    PlainHttp { url: String },
    #[error("audience is empty: every token of this issuer would be accepted, whoever it is for")]
    AudienceEmpty,
    #[error("algorithms is empty: name those that the issuer signs with, such as [\"ES256\"]")]
    AlgorithmsEmpty,
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    #[error("clock_skew of {found_s} s is above 60 s")]
    ClockSkew { found_s: u64 },
    #[error("max_token_age is zero: no token would be accepted")]
    TokenAge,
    #[error("accept is empty: no token could be presented")]
    AcceptEmpty,
    #[error("claims.{field} is empty")]
    ClaimName { field: &'static str },
    #[error("types contains an empty text")]
    Type,
    #[error("map rule {index} has neither azp nor sub: it would apply to everybody")]
    MapUnconditional { index: usize },
    #[error("map rule {index} gives neither groups nor a purpose")]
    MapEmpty { index: usize },
}

/// The rules for the tokens of one issuer, checked, with the keys that were last published. Illegal values
/// cannot be built. Shared by all shards.
#[derive(Debug)]
pub struct Issuer {
    name: Arc<str>,
    url: Arc<str>,
    settings: Settings,
    algorithms: Vec<Algorithm>,
    types: Vec<String>,
    fingerprint: u64,
    keys: KeySlot,
}

impl Issuer {
    /// Checks `settings`.
    ///
    /// # Errors
    /// The first thing that is wrong with them; the operator is at fault.
    pub fn new(settings: Settings) -> Result<Issuer, IssuerError> {
        check_url(&settings.issuer)?;
        if settings.audience.is_empty() || settings.audience.iter().any(String::is_empty) {
            return Err(IssuerError::AudienceEmpty);
        }
        if settings.algorithms.is_empty() {
            return Err(IssuerError::AlgorithmsEmpty);
        }
        let algorithms = settings.algorithms.iter().map(|name| Algorithm::from_config(name));
        let algorithms = algorithms.collect::<Result<Vec<_>, _>>()?;
        if settings.clock_skew > limits::CLOCK_SKEW_MAX {
            return Err(IssuerError::ClockSkew { found_s: settings.clock_skew.as_secs() });
        }
        if settings.max_token_age == Some(Duration::ZERO) {
            return Err(IssuerError::TokenAge);
        }
        if settings.accept == Accept::NONE {
            return Err(IssuerError::AcceptEmpty);
        }
        check_claims(&settings.claims)?;
        settings.map.iter().enumerate().try_for_each(|(index, rule)| check_rule(index, rule))?;
        let types = types(&settings.types)?;
        // Settings hold no secret and no map with a random order, so their text names them.
        let digest = digest::digest(&digest::SHA256, format!("{settings:?}").as_bytes());
        let fingerprint = digest.as_ref().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte));
        Ok(Issuer {
            name: settings.name.as_str().into(),
            url: settings.issuer.as_str().into(),
            algorithms,
            types,
            fingerprint,
            keys: KeySlot::default(),
            settings,
        })
    }

    /// Name of the `[[identity]]` table.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Issuer identifier, equal to `iss` of its tokens.
    pub fn url(&self) -> &Arc<str> {
        &self.url
    }

    /// Everything the table said.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The keys of this issuer: read by the shards, published by `background`.
    pub fn keys(&self) -> &KeySlot {
        &self.keys
    }

    /// Differs between any two issuers whose settings differ: cached tokens are bound to it, so that a
    /// reload forgets what it has to forget.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Whether tokens may be signed with `algorithm`.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    /// Whether `typ` is one of the accepted types; none counts as `JWT`.
    ///
    /// Media types compare without case, and `application/` may be left out (RFC 7515 section 4.1.9).
    pub fn allows_type(&self, typ: Option<&str>) -> bool {
        let typ = bare_type(typ.unwrap_or("JWT"));
        self.types.iter().any(|allowed| allowed.eq_ignore_ascii_case(typ))
    }

    /// Where the issuer publishes its metadata (OpenID Connect Discovery 1.0 section 4).
    pub fn discovery_url(&self) -> String {
        format!("{}/.well-known/openid-configuration", self.url.strip_suffix('/').unwrap_or(&self.url))
    }

    /// Checks that the issuer may name `url` for its keys: https, or http on loopback if the issuer itself
    /// is reached that way.
    ///
    /// # Errors
    /// [`IssuerError::Url`] or [`IssuerError::PlainHttp`]; the issuer is at fault.
    pub fn check_keys_url(&self, url: &str) -> Result<(), IssuerError> {
        let location = url.split_once('?').map_or(url, |(location, _)| location);
        check_url(location)?;
        if self.url.starts_with("https:") && !url.starts_with("https:") {
            return Err(IssuerError::PlainHttp { url: url.to_owned() });
        }
        Ok(())
    }
}

fn types(listed: &[String]) -> Result<Vec<String>, IssuerError> {
    if listed.is_empty() {
        return Ok(Settings::TYPES.map(str::to_owned).to_vec());
    }
    let bare: Vec<String> = listed.iter().map(|text| bare_type(text).to_owned()).collect();
    if bare.iter().any(String::is_empty) { Err(IssuerError::Type) } else { Ok(bare) }
}

fn bare_type(typ: &str) -> &str {
    const PREFIX: &str = "application/";
    match typ.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    }
}

fn check_claims(claims: &ClaimNames) -> Result<(), IssuerError> {
    let named = [("subject", &claims.subject), ("groups", &claims.groups), ("purpose", &claims.purpose)];
    let owners = claims.owner.iter().map(|name| ("owner", name));
    match named.into_iter().chain(owners).find(|(_, name)| name.is_empty()) {
        Some((field, _)) => Err(IssuerError::ClaimName { field }),
        None => Ok(()),
    }
}

fn check_rule(index: usize, rule: &MapRule) -> Result<(), IssuerError> {
    if rule.azp.is_none() && rule.sub.is_none() {
        return Err(IssuerError::MapUnconditional { index });
    }
    if rule.groups.is_empty() && rule.purpose.is_none() {
        return Err(IssuerError::MapEmpty { index });
    }
    Ok(())
}

/// Accepts `https://host[:port][/path]`, and `http` where the host is a loopback address or `localhost`.
fn check_url(url: &str) -> Result<(), IssuerError> {
    let wrong = || IssuerError::Url { url: url.to_owned() };
    let (scheme, rest) = url.split_once("://").ok_or_else(wrong)?;
    let authority = rest.split('/').next().unwrap_or_default();
    let printable = url.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    if !printable || url.contains(['?', '#', '\\']) || authority.contains('@') {
        return Err(wrong());
    }
    let host = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    if host.is_empty() {
        return Err(wrong());
    }
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match scheme {
        "https" => Ok(()),
        "http" if loopback => Ok(()),
        "http" => Err(IssuerError::PlainHttp { url: url.to_owned() }),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> Settings {
        Settings::new("corp", "https://idp.example.com", &["https://gw.example.com"], &["ES256"])
    }

    #[test]
    fn unsound_settings_cannot_be_built() {
        type Change = fn(&mut Settings);
        let cases: [(Change, &str); 16] = [
            (|s| s.audience.clear(), "audience is empty"),
            (|s| s.audience.push(String::new()), "audience is empty"),
            (|s| s.algorithms.clear(), "algorithms is empty"),
            (|s| s.algorithms.push("HS256".to_owned()), "HS256"),
            (|s| s.algorithms.push("nOnE".to_owned()), "none"),
            (|s| s.algorithms.push("ES521".to_owned()), "ES521"),
            (|s| s.clock_skew = Duration::from_secs(61), "61 s"),
            (|s| s.max_token_age = Some(Duration::ZERO), "max_token_age"),
            (|s| s.accept = Accept::NONE, "accept is empty"),
            (|s| s.claims.owner.push(String::new()), "claims.owner"),
            (|s| s.types.push("application/".to_owned()), "types"),
            (|s| s.map.push(MapRule { purpose: Some("x".to_owned()), ..MapRule::default() }), "neither azp"),
            (|s| s.map.push(MapRule { sub: Some("x".to_owned()), ..MapRule::default() }), "gives neither"),
            (|s| s.issuer = "http://idp.example.com".to_owned(), "plain http"),
            (|s| s.issuer = "https://user@idp.example.com".to_owned(), "not a URL"),
            (|s| s.issuer = "https://idp.example.com?x=1".to_owned(), "not a URL"),
        ];
        for (change, message) in cases {
            let mut settings = sound();
            change(&mut settings);
            let error = Issuer::new(settings).expect_err(message).to_string();
            assert!(error.contains(message), "{error:?} lacks {message:?}");
        }
    }

    #[test]
    fn loopback_issuers_may_be_plain_http() {
        for url in ["http://127.0.0.1:9000", "http://localhost:9000/realm/", "http://[::1]:9000"] {
            let issuer = Issuer::new(Settings { issuer: url.to_owned(), ..sound() }).expect(url);
            assert!(
                issuer.discovery_url().ends_with("0/.well-known/openid-configuration")
                    || url.contains("realm")
            );
            assert_eq!(issuer.check_keys_url("http://127.0.0.1:9001/jwks?v=1"), Ok(()));
        }
        for url in [
            "http://127.0.0.1.example.com",
            "http://localhost.example.com",
            "http://[::2]",
            "ftp://localhost",
        ] {
            assert!(Issuer::new(Settings { issuer: url.to_owned(), ..sound() }).is_err(), "{url}");
        }
        let issuer = Issuer::new(sound()).expect("sound");
        assert!(issuer.check_keys_url("http://127.0.0.1:9001/jwks").is_err());
        assert_eq!(issuer.check_keys_url("https://keys.example.net/jwks?p=policy"), Ok(()));
    }

    #[test]
    fn types_compare_as_media_types() {
        let issuer = Issuer::new(sound()).expect("sound");
        for typ in [None, Some("JWT"), Some("jwt"), Some("at+jwt"), Some("application/AT+JWT")] {
            assert!(issuer.allows_type(typ), "{typ:?}");
        }
        for typ in [Some(""), Some("logout+jwt"), Some("dpop+jwt"), Some("JWT "), Some("application/")] {
            assert!(!issuer.allows_type(typ), "{typ:?}");
        }
        let only = Issuer::new(Settings { types: vec!["application/at+jwt".to_owned()], ..sound() });
        let only = only.expect("sound");
        assert!(
            only.allows_type(Some("at+jwt")) && !only.allows_type(None) && !only.allows_type(Some("JWT"))
        );
    }

    #[test]
    fn any_change_of_settings_changes_the_fingerprint() {
        let first = Issuer::new(sound()).expect("sound").fingerprint();
        let same = Issuer::new(sound()).expect("sound").fingerprint();
        let other = Issuer::new(Settings { require_purpose: true, ..sound() }).expect("sound").fingerprint();
        assert_eq!(first, same);
        assert_ne!(first, other);
    }
}
