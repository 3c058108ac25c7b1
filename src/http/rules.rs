//! Which header fields never pass the gateway (RFC 9110 section 7.6.1; SECURITY R9, R16, R17, R20).
//!
//! What a field is called is looked up in [`super::class`]. A field whose name only looks like one of its
//! tables is never forwarded.

use super::class::{Class, class};
use super::header::OwnField;
use super::syntax::{is_token, list};
use super::{Headers, Rejection, Version, target};
use std::borrow::Cow;

const VIA: OwnField = OwnField::new(b"via: ", Class::Via);
const FORWARDED_FOR: OwnField = OwnField::new(b"x-forwarded-for: ", Class::Origin);
const FORWARDED_PROTO: OwnField = OwnField::new(b"x-forwarded-proto: ", Class::Origin);
const FORWARDED_HOST: OwnField = OwnField::new(b"x-forwarded-host: ", Class::Origin);
const REQUEST_ID: OwnField = OwnField::new(b"x-ringward-request-id: ", Class::Response);

/// Who the caller is, for the fields that the gateway sets.
#[derive(Clone, Copy, Debug)]
pub struct Forwarded<'a> {
    /// Address of the caller, without a port.
    pub address: &'a str,
    /// `http` or `https`: what the caller spoke.
    pub proto: &'a str,
    /// Host and port as the caller named them; empty when unknown.
    pub host: &'a str,
    /// What the caller spoke, and the name of the gateway in Via: a token (RFC 9110 section 7.6.3).
    pub version: Version,
    pub pseudonym: &'a str,
}

impl Forwarded<'_> {
    /// Says in a request who the caller is, and that the gateway received it.
    fn say(&self, headers: &mut Headers) {
        // `received-protocol RWS received-by` (RFC 9110 section 7.6.3).
        let version: &[u8] = match self.version {
            Version::Http10 => b"1.0 ",
            Version::Http11 => b"1.1 ",
        };
        headers.append_own(&VIA, &[version, self.pseudonym.as_bytes()]);
        headers.append_own(&FORWARDED_FOR, &[self.address.as_bytes()]);
        headers.append_own(&FORWARDED_PROTO, &[self.proto.as_bytes()]);
        if !self.host.is_empty() {
            headers.append_own(&FORWARDED_HOST, &[self.host.as_bytes()]);
        }
    }
}

/// Whether a member of Via says that `pseudonym` received the message.
fn is_received_by(hop: &[u8], pseudonym: &[u8]) -> bool {
    let mut words = hop.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    words.nth(1).is_some_and(|name| name.eq_ignore_ascii_case(pseudonym))
}

/// Removes from a request what must not go upstream: hop-by-hop fields and those that Connection nominates,
/// Upgrade, `Expect` (the gateway answers it), method and path overrides, and every claim about who the
/// caller is. Then says who it is, if `forwarded` is given. Credentials stay: see [`strip_credentials`].
///
/// # Errors
/// `ConnectionInvalid`, `ConnectionNominates`: the caller's Connection field; see [`check_connection`].
/// `Loop`: the request went through this gateway before. Nobody but the operator can cause that by accident:
/// an upstream leads back here.
pub fn strip_request(headers: &mut Headers, forwarded: Option<&Forwarded<'_>>) -> Result<(), Rejection> {
    strip_connection(headers)?;
    use Class::{Credential, EndToEnd, Framing, HopByHop, Origin, Override, Response, Via};
    if headers.may_have(&[Via])
        && let Some(own) = forwarded.map(|forwarded| forwarded.pseudonym.as_bytes())
        && headers.get_all("via").any(|value| list(value).any(|hop| is_received_by(hop, own)))
    {
        return Err(Rejection::Loop);
    }
    if headers.may_have(&[Credential, Framing, HopByHop, Origin, Override]) {
        headers.retain_classed(|class, name, _| match class {
            EndToEnd | Response | Via => true,
            Credential => !looks_alike(name),
            Framing | HopByHop | Origin | Override => false,
        });
    }
    if let Some(forwarded) = forwarded {
        forwarded.say(headers);
    }
    Ok(())
}

/// Removes from a response what must not go to the caller: hop-by-hop fields and those that Connection
/// nominates, Upgrade, Alt-Svc, which would lead the caller around the gateway, and `x-ringward-…`, which
/// only the gateway itself says.
///
/// # Errors
/// `ConnectionInvalid`, `ConnectionNominates`: the upstream's Connection field; see [`check_connection`].
pub fn strip_response(headers: &mut Headers) -> Result<(), Rejection> {
    strip_connection(headers)?;
    const REMOVED: [Class; 3] = [Class::HopByHop, Class::Response, Class::Framing];
    if headers.may_have(&REMOVED) {
        headers.retain_classed(|class, _, _| !REMOVED.contains(&class));
    }
    Ok(())
}

/// Says in a response which exchange it ended. Upstream's own claim to that went with [`strip_response`].
pub fn name_exchange(headers: &mut Headers, id: &[u8]) {
    headers.append_own(&REQUEST_ID, &[id]);
}

/// Removes the caller's own credentials: they never go upstream (SECURITY R20).
pub fn strip_credentials(headers: &mut Headers) {
    if headers.may_have(&[Class::Credential]) {
        headers.retain_classed(|class, _, _| class != Class::Credential);
    }
}

/// The value of a response's field as it may be recorded: credentials are replaced, of a cookie its value
/// (RFC 6265 section 4.1.1), of a place to go to those in its query.
pub fn without_credential<'a>(name: &str, value: &'a [u8]) -> Cow<'a, [u8]> {
    const REDACTED: &[u8] = target::REDACTED.as_bytes();
    let is = |other: &str| name.eq_ignore_ascii_case(other);
    if is("set-cookie") || is("set-cookie2") {
        let end = memchr::memchr(b';', value).unwrap_or(value.len());
        let start = memchr::memchr(b'=', &value[..end]).map_or(0, |at| at + 1);
        return Cow::Owned([&value[..start], REDACTED, &value[end..]].concat());
    }
    if is_credential(name) || is("authentication-info") || is("proxy-authentication-info") {
        return Cow::Borrowed(REDACTED);
    }
    // They may hold URLs.
    if memchr::memchr(b'?', value).is_some()
        && let Ok(text) = std::str::from_utf8(value)
        && let Cow::Owned(text) = target::without_credentials(text)
    {
        return Cow::Owned(text.into_bytes());
    }
    Cow::Borrowed(value)
}

/// Whether fields called `name` carry a credential of the caller.
pub fn is_credential(name: &str) -> bool {
    class(name.as_bytes()) == Class::Credential
}

/// Checks a Connection field's value (RFC 9110 section 7.6.1).
///
/// # Errors
/// `ConnectionInvalid` if a member is not a token; `ConnectionNominates` if it names a field that frames or
/// routes the message, describes its body, carries a credential, or says where it came from: removing that
/// field on request would let the caller decide what policy and upstream see.
pub fn check_connection(value: &[u8]) -> Result<(), Rejection> {
    for option in list(value) {
        if !is_token(option) {
            return Err(Rejection::ConnectionInvalid);
        }
        match class(option) {
            Class::Framing | Class::Credential | Class::Origin | Class::Override | Class::Via => {
                return Err(Rejection::ConnectionNominates);
            }
            Class::EndToEnd if is_body_field(option) => return Err(Rejection::ConnectionNominates),
            Class::EndToEnd | Class::HopByHop | Class::Response => {}
        }
    }
    Ok(())
}

/// Removes the fields that Connection nominates; Connection itself goes with the other hop-by-hop fields.
fn strip_connection(headers: &mut Headers) -> Result<(), Rejection> {
    if !headers.may_have(&[Class::HopByHop]) {
        return Ok(());
    }
    let mut nominated: Vec<Vec<u8>> = Vec::new();
    for value in headers.get_all("connection") {
        check_connection(value)?;
        // `close` and the hop-by-hop names need no second look.
        let others = list(value).filter(|option| class(option) == Class::EndToEnd);
        nominated.extend(others.filter(|option| !option.eq_ignore_ascii_case(b"close")).map(<[u8]>::to_vec));
    }
    if !nominated.is_empty() {
        headers
            .retain_classed(|_, name, _| !nominated.iter().any(|option| option.eq_ignore_ascii_case(name)));
    }
    Ok(())
}

/// Whether the name is one of the table only by folding: real names hold letters, digits and `-`.
fn looks_alike(name: &[u8]) -> bool {
    !name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
}

/// Fields that say how the body is to be read: nobody on the way may drop them.
fn is_body_field(name: &[u8]) -> bool {
    const FIELDS: [&str; 5] =
        ["content-type", "content-encoding", "content-range", "cache-control", "set-cookie"];
    FIELDS.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORWARDED: Forwarded<'static> = Forwarded {
        address: "192.0.2.1",
        proto: "https",
        host: "gw.example:8443",
        version: Version::Http10,
        pseudonym: "gw-1",
    };

    fn headers(fields: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::new();
        for (name, value) in fields {
            headers.append(name, value.as_bytes());
        }
        headers
    }

    fn names(headers: &Headers) -> Vec<String> {
        headers.iter().map(|(name, _)| name.to_owned()).collect()
    }

    #[test]
    fn hop_by_hop_fields_go_both_ways() {
        // RFC 9110 section 7.6.1; upgrades and h2c: SECURITY R7.
        let fields = [
            ("Connection", "close, X-Session, upgrade ,, HTTP2-Settings"),
            ("x-session", "1"),
            ("Keep-Alive", "timeout=5"),
            ("Proxy-Connection", "keep-alive"),
            ("TE", "trailers"),
            ("Trailer", "X-Sum"),
            ("Upgrade", "h2c"),
            ("HTTP2-Settings", "AAMAAABkAAQAAP__"),
            ("Accept", "*/*"),
        ];
        let mut request = headers(&fields);
        strip_request(&mut request, None).unwrap();
        assert_eq!(names(&request), ["Accept"]);
        let mut response = headers(&fields);
        response.append("Alt-Svc", b"h3=\":443\"");
        response.append("Set-Cookie", b"a=b");
        strip_response(&mut response).unwrap();
        assert_eq!(names(&response), ["Accept", "Set-Cookie"]);
    }

    #[test]
    fn what_is_recorded_of_a_response_holds_no_credential() {
        let cases = [
            ("Set-Cookie", "sid=s3cret; Path=/; HttpOnly", "sid=[redacted]; Path=/; HttpOnly"),
            ("set-cookie", "sid=a=b", "sid=[redacted]"),
            ("set-cookie", "s3cret; Secure", "[redacted]; Secure"),
            ("X-Auth-Token", "s3cret", "[redacted]"),
            ("authentication-info", "nextnonce=\"s3cret\"", "[redacted]"),
            ("location", "/next?access_token=s3cret", "/next?access_token=[redacted]"),
            ("link", "</p?page=2>; rel=next", "</p?page=2>; rel=next"),
            ("content-type", "text/plain", "text/plain"),
        ];
        for (name, value, expected) in cases {
            let shown = without_credential(name, value.as_bytes());
            assert_eq!(String::from_utf8_lossy(&shown), expected, "{name}");
        }
        assert_eq!(&*without_credential("x", b"\xff?a"), b"\xff?a");
    }

    #[test]
    fn connection_nominates_only_its_own() {
        // SECURITY R9.
        for value in [
            "Host",
            "close, content-length",
            "Transfer-Encoding",
            "AUTHORIZATION",
            "x-api-key",
            "cookie",
            "proxy-authorization",
            "forwarded",
            "x-forwarded-for",
            "x-real-ip",
            "x_api_key",
            "api-key",
            "content-type",
            "content-encoding",
            "x-http-method-override",
            "keep-alive,\thost",
        ] {
            assert_eq!(check_connection(value.as_bytes()), Err(Rejection::ConnectionNominates), "{value}");
            let mut fields = headers(&[("connection", value)]);
            assert_eq!(strip_request(&mut fields, None), Err(Rejection::ConnectionNominates), "{value}");
            assert_eq!(strip_response(&mut fields), Err(Rejection::ConnectionNominates), "{value}");
        }
        for value in ["a b", "close;q=1", "\"close\"", "é", "a:b"] {
            assert_eq!(check_connection(value.as_bytes()), Err(Rejection::ConnectionInvalid), "{value}");
        }
        for value in ["", ",", "close", "Keep-Alive", "TE, Upgrade", "x-anything", "keep-alive,"] {
            assert_eq!(check_connection(value.as_bytes()), Ok(()), "{value}");
        }
    }

    #[test]
    fn overrides_and_claims_are_removed_whatever_their_spelling() {
        // SECURITY R16 and R17.
        let mut request = headers(&[
            ("X-HTTP-Method-Override", "DELETE"),
            ("x_http_method", "DELETE"),
            ("X-Method-Override", "DELETE"),
            ("X-Original-URL", "/admin"),
            ("Forwarded", "for=1.2.3.4"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("X_Forwarded_For", "1.2.3.4"),
            ("x-forwarded_proto", "https"),
            ("X-Forwarded-Some-Very-Long-Extension-Name-Indeed", "1"),
            ("X.Real.IP", "1.2.3.4"),
            ("Content_Length", "5"),
            ("Transfer---Encoding", "chunked"),
            ("_Host", "x"),
            ("x_api_key", "1"),
            ("Expect", "100-continue"),
            ("Authorization", "Bearer t"),
            ("openai_organization", "o"),
        ]);
        strip_request(&mut request, Some(&FORWARDED)).unwrap();
        let expected =
            ["Authorization", "openai_organization", "via", "x-forwarded-for", "x-forwarded-proto"];
        assert_eq!(names(&request)[..5], expected);
        assert_eq!(request.get("x-forwarded-for"), Some(&b"192.0.2.1"[..]));
        assert_eq!(request.get("x-forwarded-host"), Some(&b"gw.example:8443"[..]));
        assert_eq!(request.len(), 6);
    }

    #[test]
    fn a_request_that_was_here_before_is_a_loop() {
        // RFC 9110 section 7.6.3.
        for (via, is_loop) in [
            ("1.1 other", false),
            ("1.0 fred, 1.1 p.example.net", false),
            ("1.1 gw-12", false),
            ("1.1 gw-1", true),
            ("1.1 gw-12, 1.1 gw-1.example, gw-1", false),
            ("1.0 fred, HTTP/1.1 \t GW-1 (ringward) , 1.1 b", true),
        ] {
            let mut request = headers(&[("Via", "1.1 first"), ("via", via)]);
            let expected = if is_loop { Err(Rejection::Loop) } else { Ok(()) };
            assert_eq!(strip_request(&mut request, Some(&FORWARDED)), expected, "{via}");
            if !is_loop {
                let hops: Vec<_> = request.get_all("via").collect();
                assert_eq!(hops, [&b"1.1 first"[..], via.as_bytes(), b"1.0 gw-1"], "the last is our own");
            }
        }
        let mut nominated = headers(&[("connection", "via"), ("via", "1.1 gw-1")]);
        let refused = strip_request(&mut nominated, Some(&FORWARDED));
        assert_eq!(refused, Err(Rejection::ConnectionNominates));
    }

    #[test]
    fn credentials_of_the_caller_are_removed_in_their_own_step() {
        let mut request = headers(&[
            ("authorization", "a"),
            ("Proxy-Authorization", "b"),
            ("X-Api-Key", "c"),
            ("Cookie", "d"),
            ("anthropic-version", "2023-06-01"),
        ]);
        strip_request(&mut request, None).unwrap();
        assert_eq!(request.len(), 5);
        strip_credentials(&mut request);
        assert_eq!(names(&request), ["anthropic-version"]);
        assert!(is_credential("X-API-KEY") && !is_credential("x-api-version"));
    }
}
