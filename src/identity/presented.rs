use super::{error::TokenError, issuer::Accept};
use crate::{http::Headers, limits};

const AUTHORIZATION: &str = "authorization";
const API_KEY: &str = "x-api-key";

/// A token as it came, not looked at yet.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Not empty, at most `TOKEN_BYTES_MAX` long.
    pub token: &'a str,
    /// Where it came: in one place, or the same token in both (Claude Code with an `apiKeyHelper` does so).
    pub places: Accept,
}

impl Presented<'_> {
    /// Whether it came in a place that `accept` names.
    pub fn is_accepted(&self, accept: Accept) -> bool {
        (self.places.bearer && accept.bearer) || (self.places.x_api_key && accept.x_api_key)
    }
}

/// Finds the token of a request; `None` if there is none.
///
/// # Errors
/// Both headers with different content, one of them twice, a scheme other than Bearer, a place that `accept`
/// does not name, or more than `TOKEN_BYTES_MAX`; the caller is at fault.
pub fn extract(headers: &Headers, accept: Accept) -> Result<Option<Presented<'_>>, TokenError> {
    let authorization = single(headers, AUTHORIZATION, "Authorization")?;
    let api_key = single(headers, API_KEY, API_KEY)?;
    let bearer = match authorization {
        None => None,
        Some(value) => Some(bearer(value).ok_or(TokenError::Scheme)?),
    };
    let places = Accept { bearer: bearer.is_some(), x_api_key: api_key.is_some() };
    let token = match (bearer, api_key) {
        (None, None) => return Ok(None),
        (Some(bearer), Some(key)) if bearer != key => return Err(TokenError::Conflicting),
        (Some(token), _) | (None, Some(token)) => token,
    };
    if token.len() > limits::TOKEN_BYTES_MAX {
        return Err(TokenError::TooLong { max: limits::TOKEN_BYTES_MAX });
    }
    let not_text = TokenError::Malformed { problem: "it is empty or not ASCII" };
    let token = std::str::from_utf8(token).ok().filter(|token| !token.is_empty() && token.is_ascii());
    let presented = Presented { token: token.ok_or(not_text)?, places };
    if !presented.is_accepted(accept) {
        return Err(TokenError::Place { header: if places.bearer { "Authorization" } else { API_KEY } });
    }
    Ok(Some(presented))
}

fn single<'a>(
    headers: &'a Headers,
    name: &'static str,
    shown: &'static str,
) -> Result<Option<&'a [u8]>, TokenError> {
    let mut values = headers.get_all(name);
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(TokenError::Repeated { header: shown }),
    }
}

/// `Bearer`, in any case, spaces, and the rest (RFC 6750 section 2.1, RFC 9110 section 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked("Bearer".len())?;
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    (scheme.eq_ignore_ascii_case(b"Bearer") && spaces > 0).then(|| &rest[spaces..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&str, &str)], accept: Accept, expected: Result<Option<&str>, TokenError>) {
        let mut headers = Headers::new();
        fields.iter().for_each(|(name, value)| headers.append(name, value.as_bytes()));
        let found = extract(&headers, accept).map(|found| found.map(|presented| presented.token));
        assert_eq!(found, expected, "{fields:?}");
    }

    #[test]
    fn tokens_are_found_where_they_are_accepted() {
        let bearer = Accept { bearer: true, x_api_key: false };
        let api_key = Accept { bearer: false, x_api_key: true };
        check(&[], Accept::BOTH, Ok(None));
        check(&[("Authorization", "Bearer a.b.c")], Accept::BOTH, Ok(Some("a.b.c")));
        check(&[("authorization", "bEARER   a")], bearer, Ok(Some("a")));
        check(&[("X-Api-Key", "a")], Accept::BOTH, Ok(Some("a")));
        check(&[("x-api-key", "a")], bearer, Err(TokenError::Place { header: "x-api-key" }));
        check(&[("authorization", "Bearer a")], api_key, Err(TokenError::Place { header: "Authorization" }));
        let same = [("authorization", "Bearer a"), ("x-api-key", "a")];
        check(&same, bearer, Ok(Some("a")));
        check(&same, api_key, Ok(Some("a")));
    }

    #[test]
    fn what_is_ambiguous_is_refused() {
        let malformed = Err(TokenError::Malformed { problem: "it is empty or not ASCII" });
        let long = format!("Bearer {}", "a".repeat(limits::TOKEN_BYTES_MAX + 1));
        let bearer_twice = [("authorization", "Bearer a"), ("Authorization", "Bearer a")];
        check(&bearer_twice, Accept::BOTH, Err(TokenError::Repeated { header: "Authorization" }));
        let key_twice = [("x-api-key", "a"), ("x-api-key", "a")];
        check(&key_twice, Accept::BOTH, Err(TokenError::Repeated { header: "x-api-key" }));
        let unequal = [("authorization", "Bearer a"), ("x-api-key", "b")];
        check(&unequal, Accept::BOTH, Err(TokenError::Conflicting));
        for value in ["Basic YTpi", "Bearer", "Bearera", "", "Bearer\ta"] {
            check(&[("authorization", value)], Accept::BOTH, Err(TokenError::Scheme));
        }
        check(&[("authorization", "Bearer ")], Accept::BOTH, malformed.clone());
        check(&[("x-api-key", "")], Accept::BOTH, malformed.clone());
        check(&[("x-api-key", "é")], Accept::BOTH, malformed);
        check(&[("authorization", &long)], Accept::BOTH, Err(TokenError::TooLong { max: 16_384 }));
    }
}
