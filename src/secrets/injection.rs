use super::{Error, Template};
use crate::http::{Headers, rules};

/// A header that the gateway sets on requests to one upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Injection {
    header: Box<str>,
    value: Template,
}

impl Injection {
    /// A header called `header`, in any case, with the value of `value`.
    ///
    /// # Errors
    /// [`Error::Header`] unless it is a token (RFC 9110 section 5.1), [`Error::HeaderReserved`] for framing,
    /// hop-by-hop and forwarding headers; the operator is at fault.
    pub fn new(header: &str, value: Template) -> Result<Injection, Error> {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if header.is_empty() || header.len() > NAME_BYTES_MAX || !header.bytes().all(token) {
            return Err(Error::Header(header.escape_debug().to_string().into()));
        }
        let folded = Folded::new(header);
        if RESERVED.binary_search(&folded.as_str()).is_ok() || folded.as_str().starts_with("x-forwarded-") {
            return Err(Error::HeaderReserved(header.into()));
        }
        Ok(Injection { header: header.to_ascii_lowercase().into(), value })
    }

    /// The header's name, a token in lower case.
    pub fn header(&self) -> &str {
        &self.header
    }

    /// The template of its value.
    pub fn value(&self) -> &Template {
        &self.value
    }
}

/// Removes what the caller sent to prove who it is, and every header that `injections` will set, so that an
/// upstream gets the gateway's credential or none (SECURITY R18, R20). Names with `_` count as those with
/// `-`: many servers fold them. Returns how many fields were removed.
pub fn strip_credentials(headers: &mut Headers, injections: &[Injection]) -> usize {
    let before = headers.len();
    rules::strip_credentials(headers);
    if !injections.is_empty() {
        headers.retain(|name, _| {
            !injections.iter().any(|injection| is_alike(injection.header.as_bytes(), name))
        });
    }
    before - headers.len()
}

/// Whether both names are the same to a server that ignores case and takes `_` for `-`.
fn is_alike(one: &[u8], other: &[u8]) -> bool {
    let fold = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.len() == other.len() && one.iter().map(fold).eq(other.iter().map(fold))
}

/// Longest name that can be told; longer names are compared by their beginning.
const NAME_BYTES_MAX: usize = 64;

/// A header name in lower case with `_` written as `-`, on the stack.
struct Folded {
    bytes: [u8; NAME_BYTES_MAX],
    len: usize,
}

impl Folded {
    fn new(name: &str) -> Folded {
        let mut folded = Folded { bytes: [0; NAME_BYTES_MAX], len: name.len().min(NAME_BYTES_MAX) };
        for (to, from) in folded.bytes.iter_mut().zip(name.bytes()) {
            *to = if from == b'_' { b'-' } else { from.to_ascii_lowercase() };
        }
        folded
    }

    fn as_str(&self) -> &str {
        // A field name is a token, so it is ASCII and may be cut anywhere.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }
}

/// Headers of the framing, of one hop, or set by the gateway for other reasons, sorted.
const RESERVED: &[&str] = &[
    "accept-encoding",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "max-forwards",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-real-ip",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn injection(header: &str) -> Result<Injection, Error> {
        Injection::new(header, Template::parse("${secret:a}").unwrap())
    }

    /// Which of `sent` an upstream gets when `injected` is set.
    fn check(injected: &[&str], sent: &[&str], kept: &[&str]) {
        let injections: Vec<_> = injected.iter().map(|header| injection(header).unwrap()).collect();
        let mut headers = Headers::new();
        for name in sent {
            headers.append(name, b"canary");
        }
        assert_eq!(strip_credentials(&mut headers, &injections), sent.len() - kept.len());
        assert_eq!(headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), kept);
    }

    // SECURITY R18, R20.
    #[test]
    fn credentials_of_the_caller_never_go_upstream() {
        check(&[], &["Authorization", "Accept", "COOKIE", "x-api-key"], &["Accept"]);
        check(&[], &["Proxy-Authorization", "proxy_authorization", "X_API_Key"], &[]);
        check(&[], &["authorization", "authorization", "x-request-id"], &["x-request-id"]);
        check(&[], &["X-Goog-Api-Key", "api-key", "DPoP", "X-Amz-Security-Token"], &[]);
        check(&[], &["anthropic-beta", "x-stainless-os"], &["anthropic-beta", "x-stainless-os"]);
        check(&["X-Tenant-Key"], &["x-tenant-key", "X_Tenant_Key", "x-tenant"], &["x-tenant"]);
        check(&["x-tenant-key"], &["authorization", "x-api-key"], &[]);
        check(&[], &[&"x".repeat(500)], &[&"x".repeat(500)]);
    }

    #[test]
    fn headers_of_the_framing_cannot_be_injected() {
        assert_eq!(injection("X-API-Key").unwrap().header(), "x-api-key");
        for header in ["Host", "content-length", "Transfer_Encoding", "connection", "X-Forwarded-For", "te"] {
            assert_eq!(injection(header), Err(Error::HeaderReserved(header.into())));
        }
        for header in ["", "x key", "x:key", "x-key\r\nevil: 1", "schlüssel", ":path"] {
            assert!(matches!(injection(header), Err(Error::Header(_))), "{header:?}");
        }
        assert!(!injection("x\r\ny").unwrap_err().to_string().contains('\n'));
    }

    #[test]
    fn the_table_is_sorted_for_the_binary_search() {
        assert!(RESERVED.is_sorted());
        assert!(RESERVED.iter().all(|name| Folded::new(name).as_str() == *name));
    }
}
