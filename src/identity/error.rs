use crate::time::Timestamp;
use std::fmt;

/// What kind of answer a [`TokenError`] leads to. The exchange maps it to a status and a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenClass {
    /// 401 `token_missing`: no token came.
    Missing,
    /// 401 `token_invalid`: the caller has to bring another one.
    Invalid,
    /// 401 `token_expired`: the caller has to fetch a fresh one.
    Expired,
    /// 503 `keys_unavailable`: nobody can tell, for the issuer's keys cannot be had. A 401 would make the
    /// caller throw away a token that may be good.
    Unavailable,
}

impl TokenClass {
    /// The code of the reply.
    pub fn code(self) -> &'static str {
        match self {
            TokenClass::Missing => "token_missing",
            TokenClass::Invalid => "token_invalid",
            TokenClass::Expired => "token_expired",
            TokenClass::Unavailable => "keys_unavailable",
        }
    }
}

/// Text that came from a token, made fit to be shown: printable ASCII without quote and backslash, at most
/// 100 characters, never more than one claim of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown(Box<str>);

/// Characters of foreign text that a message repeats.
const SHOWN_CHARS_MAX: usize = 100;

impl Shown {
    /// Makes `text` fit to be shown; other characters become `?`.
    pub fn new(text: &str) -> Shown {
        let fit = |c: char| if matches!(c, ' '..='~') && c != '"' && c != '\\' { c } else { '?' };
        let mut shown: String = text.chars().take(SHOWN_CHARS_MAX).map(fit).collect();
        if text.chars().nth(SHOWN_CHARS_MAX).is_some() {
            shown.push_str("...");
        }
        Shown(shown.into())
    }
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a token does not authenticate its bearer. The caller is at fault, but for
/// [`TokenError::KeysUnavailable`]. The text says exactly what is wrong and never repeats the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("No token came with the request.")]
    Missing,
    #[error("Authorization and x-api-key carry different tokens.")]
    Conflicting,
    #[error("The header {header} came more than once.")]
    Repeated { header: &'static str },
    #[error("The Authorization header is not of the form 'Bearer TOKEN'.")]
    Scheme,
    #[error("A token in {header} is not accepted here.")]
    Place { header: &'static str },
    #[error("The token is longer than {max} bytes.")]
    TooLong { max: usize },
    #[error("The token is not a signed JWT: {problem}.")]
    Malformed { problem: &'static str },
    #[error("The token's header is not accepted: {problem}.")]
    Header { problem: &'static str },
    #[error("The token's algorithm '{found}' is not accepted for its issuer.")]
    Algorithm { found: Shown },
    #[error("The token's type '{found}' is not accepted for its issuer.")]
    Type { found: Shown },
    #[error("The token's issuer '{found}' is not accepted here.")]
    Issuer { found: Shown },
    #[error("The token's audience '{found}' is not accepted here.")]
    Audience { found: Shown },
    #[error("The token's claim '{name}' {problem}.")]
    Claim { name: Shown, problem: &'static str },
    #[error("The token expired {ago_s} s ago, at {at}.")]
    Expired { at: Timestamp, ago_s: u64 },
    #[error("The token is {age_s} s old; this gateway accepts {max_s} s.")]
    TooOld { age_s: u64, max_s: u64 },
    #[error("The token is not valid before {at}; by this gateway's clock that is in {in_s} s.")]
    NotYetValid { at: Timestamp, in_s: u64 },
    #[error("The token was issued {in_s} s in the future, at {at}; check the clocks.")]
    IssuedInFuture { at: Timestamp, in_s: u64 },
    #[error(
        "The token lists no groups because there are too many (groups overage); assign fewer groups to it."
    )]
    GroupsOverage,
    #[error("The token states no purpose, and this gateway requires one.")]
    PurposeMissing,
    #[error("The token was signed with a key that its issuer does not publish.")]
    UnknownKey,
    #[error("The token names no key, and its issuer publishes several for its algorithm.")]
    KeyUnnamed,
    #[error("The token's key is not meant for the token's algorithm.")]
    KeyAlgorithm,
    #[error("The token's signature does not match its content.")]
    Signature,
    #[error("The keys of the token's issuer cannot be fetched at the moment.")]
    KeysUnavailable,
}

impl TokenError {
    /// What kind of answer this leads to.
    pub fn class(&self) -> TokenClass {
        match self {
            TokenError::Missing => TokenClass::Missing,
            TokenError::Expired { .. } | TokenError::TooOld { .. } => TokenClass::Expired,
            TokenError::KeysUnavailable => TokenClass::Unavailable,
            _ => TokenClass::Invalid,
        }
    }

    /// Snake-case reason for records and the metric `ringward_auth_failures_total{reason}`.
    pub fn reason(&self) -> &'static str {
        match self {
            TokenError::Missing => "missing",
            TokenError::Conflicting => "conflicting",
            TokenError::Repeated { .. } => "repeated",
            TokenError::Scheme => "scheme",
            TokenError::Place { .. } => "place",
            TokenError::TooLong { .. } => "too_long",
            TokenError::Malformed { .. } => "malformed",
            TokenError::Header { .. } => "header",
            TokenError::Algorithm { .. } => "algorithm",
            TokenError::Type { .. } => "type",
            TokenError::Issuer { .. } => "issuer",
            TokenError::Audience { .. } => "audience",
            TokenError::Claim { .. } => "claim",
            TokenError::Expired { .. } => "expired",
            TokenError::TooOld { .. } => "too_old",
            TokenError::NotYetValid { .. } => "not_yet_valid",
            TokenError::IssuedInFuture { .. } => "issued_in_future",
            TokenError::GroupsOverage => "groups_overage",
            TokenError::PurposeMissing => "purpose_missing",
            TokenError::UnknownKey => "unknown_key",
            TokenError::KeyUnnamed => "key_unnamed",
            TokenError::KeyAlgorithm => "key_algorithm",
            TokenError::Signature => "signature",
            TokenError::KeysUnavailable => "keys_unavailable",
        }
    }

    /// Value of `WWW-Authenticate` for a 401 (RFC 6750 section 3); `None` where the answer is no 401.
    ///
    /// There is no `error` when no token came (RFC 6750 section 3.1). The description consists of the
    /// characters that the RFC allows, because every foreign text went through [`Shown`].
    pub fn challenge(&self) -> Option<String> {
        match self.class() {
            TokenClass::Missing => Some("Bearer realm=\"ringward\"".to_owned()),
            TokenClass::Invalid | TokenClass::Expired => Some(format!(
                "Bearer realm=\"ringward\", error=\"invalid_token\", error_description=\"{self}\""
            )),
            TokenClass::Unavailable => None,
        }
    }
}

/// Why the published keys cannot decide about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeysWanted {
    /// No key of that name: the issuer may have rotated.
    UnknownKid,
    /// The key of that name does not fit: the issuer may have replaced it under the same name.
    BadSignature,
    /// No keys at all: not fetched yet, or too old to be trusted.
    NoKeys,
}

/// Why [`super::authenticate`] gave no principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Final.
    Refused(TokenError),
    /// The keys of `issuers[issuer]` should be fetched, then `authenticate` be called once more.
    NeedKeys { issuer: usize, wanted: KeysWanted },
}

impl Failure {
    /// The refusal, when keys were fetched already or cannot be.
    pub fn into_refusal(self) -> TokenError {
        match self {
            Failure::Refused(error) => error,
            Failure::NeedKeys { wanted: KeysWanted::UnknownKid, .. } => TokenError::UnknownKey,
            Failure::NeedKeys { wanted: KeysWanted::BadSignature, .. } => TokenError::Signature,
            Failure::NeedKeys { wanted: KeysWanted::NoKeys, .. } => TokenError::KeysUnavailable,
        }
    }
}

impl From<TokenError> for Failure {
    fn from(error: TokenError) -> Failure {
        Failure::Refused(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_follow_rfc_6750() {
        let expired = TokenError::Expired { at: Timestamp(0), ago_s: 7 };
        let cases = [
            (TokenError::Missing, Some("Bearer realm=\"ringward\"")),
            (
                expired,
                Some(
                    "Bearer realm=\"ringward\", error=\"invalid_token\", error_description=\"The token \
                     expired 7 s ago, at 1970-01-01T00:00:00.000000Z.\"",
                ),
            ),
            (TokenError::KeysUnavailable, None),
        ];
        for (error, expected) in cases {
            assert_eq!(error.challenge().as_deref(), expected);
        }
    }

    #[test]
    fn foreign_text_cannot_break_out_of_a_message() {
        let long = "x".repeat(200);
        let cases = [("a\"b\\c\r\nd", "a?b?c??d"), ("\u{202e}é", "??"), (&long, &("x".repeat(100) + "..."))];
        for (text, expected) in cases {
            assert_eq!(Shown::new(text).to_string(), expected);
        }
    }
}
