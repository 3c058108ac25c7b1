//! Token → [`Principal`]: strict JWS (RFC 7515, RFC 8725), claims (RFC 7519, RFC 9068), a cache of verified
//! tokens.
//!
//! Pure: the time comes as an argument, keys are what `background` last published into an issuer's
//! [`KeySlot`]. It is not the place where keys are fetched, nor where routes or groups are judged.
//!
//! Start reading at [`authenticate`]. A token goes through `presented` (which header), `jws` (three parts,
//! header), `claims` (dates, audience, who), `keys` (which key, signature), `cache`. `issuer` holds the
//! rules, built by the configuration; `error` says what was wrong and how the caller is told.

mod algorithm;
mod base64url;
mod cache;
mod claims;
mod error;
mod id_token;
mod issuer;
#[cfg(test)]
mod issuers_as_they_are;
mod json;
mod jws;
mod keys;
mod presented;
mod principal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod weak;
#[cfg(test)]
mod wycheproof;

pub use algorithm::{Algorithm, AlgorithmError};
pub use cache::{TokenCache, TokenDigest};
pub use error::{Failure, KeysWanted, Shown, TokenClass, TokenError};
pub use id_token::{IdToken, verify_id_token};
pub use issuer::{Accept, ClaimNames, Issuer, IssuerError, MapRule, Settings};
pub use keys::{Key, KeyProblem, KeySet, KeySetError, KeySlot, Selection, Skipped};
pub use presented::{Presented, extract};
pub use principal::{Principal, TokenId};

use crate::{http::Headers, time::Now};
use claims::Claims;
use jws::Jws;
use std::sync::Arc;

/// Says who calls, by the token in `headers`, the rules of the route's `issuers` and the published keys.
///
/// A token that was verified before costs one HMAC and one look-up; its expiry and its key are checked again
/// every time. Claims are looked at before the signature, which costs most, but nothing is believed and
/// nothing is cached before the signature was verified.
///
/// # Errors
/// [`Failure::Refused`] is final; the caller is at fault, or the issuer where keys cannot be had.
/// [`Failure::NeedKeys`] asks for a fetch of that issuer's keys, then for a second call, whose failure is
/// final ([`Failure::into_refusal`]). It is given only when the last fetch is 30 s ago.
pub fn authenticate(
    now: Now,
    headers: &Headers,
    issuers: &[Arc<Issuer>],
    cache: &mut TokenCache,
) -> Result<Arc<Principal>, Failure> {
    let accept = issuers.iter().fold(Accept::NONE, |all, issuer| all.or(issuer.settings().accept));
    let presented = extract(headers, accept)?.ok_or(TokenError::Missing)?;
    let digest = cache.digest(presented.token);
    for issuer in issuers.iter().filter(|issuer| presented.is_accepted(issuer.settings().accept)) {
        if let Some(principal) = cache.get(now, issuer, &digest) {
            return Ok(principal);
        }
    }
    verify(now, presented, issuers, digest, cache)
}

fn verify(
    now: Now,
    presented: Presented<'_>,
    issuers: &[Arc<Issuer>],
    digest: TokenDigest,
    cache: &mut TokenCache,
) -> Result<Arc<Principal>, Failure> {
    let jws = Jws::parse(presented.token)?;
    let header = jws.header()?;
    let claims = Claims::parse(&jws.payload)?;
    let index = issuer_of(&claims, presented, issuers)?;
    let issuer = &issuers[index];
    if !issuer.allows(header.algorithm) {
        return Err(TokenError::Algorithm { found: Shown::new(header.algorithm.name()) }.into());
    }
    if !issuer.allows_type(header.typ.as_deref()) {
        return Err(TokenError::Type { found: Shown::new(header.typ.as_deref().unwrap_or("JWT")) }.into());
    }
    let principal = claims.principal(now, issuer, digest.token_id())?;
    let need = |wanted, refusal| match issuer.keys().may_refetch(now.wall) {
        true => Failure::NeedKeys { issuer: index, wanted },
        false => Failure::Refused(refusal),
    };
    let keys = issuer.keys().load();
    if keys.is_empty() {
        return Err(need(KeysWanted::NoKeys, TokenError::KeysUnavailable));
    }
    let key = match keys.select(header.kid.as_deref(), header.algorithm) {
        Selection::Found(key) => key,
        Selection::Unknown => return Err(need(KeysWanted::UnknownKid, TokenError::UnknownKey)),
        Selection::Ambiguous => return Err(TokenError::KeyUnnamed.into()),
        Selection::WrongAlgorithm => return Err(need(KeysWanted::BadSignature, TokenError::KeyAlgorithm)),
    };
    if !key.verify(header.algorithm, jws.signed, &jws.signature) {
        return Err(need(KeysWanted::BadSignature, TokenError::Signature));
    }
    let principal = Arc::new(principal);
    cache.insert(now, issuer, digest, principal.clone(), (key, keys.generation()));
    Ok(principal)
}

/// Which of `issuers` the token belongs to: the one whose identifier it names exactly, that accepts the place
/// it came in, and whose audience it was made for. The same issuer may stand there twice with different
/// audiences.
fn issuer_of(
    claims: &Claims<'_>,
    presented: Presented<'_>,
    issuers: &[Arc<Issuer>],
) -> Result<usize, TokenError> {
    let named = claims.issuer()?;
    let mut refusal = TokenError::Issuer { found: Shown::new(named) };
    for (index, issuer) in issuers.iter().enumerate().filter(|(_, issuer)| **issuer.url() == *named) {
        if !presented.is_accepted(issuer.settings().accept) {
            let header = if presented.places.bearer { "Authorization" } else { "x-api-key" };
            refusal = TokenError::Place { header };
            continue;
        }
        match claims.check_audience(issuer) {
            Ok(()) => return Ok(index),
            Err(error) => refusal = error,
        }
    }
    Err(refusal)
}
