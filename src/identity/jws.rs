use super::{
    algorithm::Algorithm,
    base64url,
    error::{Shown, TokenError},
    json::Json,
};

/// A compact JWS (RFC 7515 section 7.1), decoded, not verified.
pub struct Jws<'t> {
    /// JSON text of the protected header.
    header: Vec<u8>,
    /// What was signed about; JSON text in a JWT.
    pub payload: Vec<u8>,
    pub signature: Vec<u8>,
    /// The bytes that the signature covers.
    pub signed: &'t [u8],
}

/// What the protected header says, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
pub struct Header {
    pub algorithm: Algorithm,
    /// Any text of any length: it is compared, nothing else.
    pub kid: Option<String>,
    pub typ: Option<String>,
}

impl<'t> Jws<'t> {
    /// Splits and decodes `token`, strictly: three parts, each canonical base64url.
    ///
    /// # Errors
    /// [`TokenError::Malformed`] for anything else, an encrypted token (JWE) included; the caller is at
    /// fault.
    pub fn parse(token: &'t str) -> Result<Jws<'t>, TokenError> {
        let malformed = |problem| TokenError::Malformed { problem };
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("it does not have three parts"));
        };
        match parts.count() {
            0 => {}
            2 => return Err(malformed("it is encrypted (JWE)")),
            _ => return Err(malformed("it does not have three parts")),
        }
        let decode = |part: &str, problem| base64url::decode(part.as_bytes()).ok_or(malformed(problem));
        Ok(Jws {
            header: decode(header, "its header is not base64url")?,
            payload: decode(payload, "its payload is not base64url")?,
            signature: decode(signature, "its signature is not base64url")?,
            signed: &token.as_bytes()[..header.len() + 1 + payload.len()],
        })
    }

    /// Reads the protected header (RFC 7515 section 4).
    ///
    /// `jku`, `x5u`, `x5c` and other hints are ignored: keys come from the issuer's key set alone (SECURITY
    /// R27). `crit` is refused whatever it lists, for no extension is understood; so are `b64` (RFC 7797) and
    /// an embedded `jwk`.
    ///
    /// # Errors
    /// What is wrong with it; the caller is at fault.
    pub fn header(&self) -> Result<Header, TokenError> {
        let refused = |problem| TokenError::Header { problem };
        let json = Json::parse(&self.header).ok_or(refused("it is not strict JSON"))?;
        if !matches!(json, Json::Object(_)) {
            return Err(refused("it is not a JSON object"));
        }
        for (name, problem) in [
            ("crit", "it has critical extensions (crit)"),
            ("b64", "it has b64"),
            ("jwk", "it brings its own key (jwk)"),
            ("enc", "it is of an encrypted token (enc)"),
            ("zip", "it has zip"),
        ] {
            if json.member(name).is_some() {
                return Err(refused(problem));
            }
        }
        let text = |name, problem| match json.member(name) {
            None => Ok(None),
            Some(value) => value.text().map(|text| Some(text.to_owned())).ok_or(refused(problem)),
        };
        let alg = text("alg", "alg is not a text")?.ok_or(refused("it has no alg"))?;
        let algorithm = Algorithm::from_name(&alg);
        Ok(Header {
            algorithm: algorithm.ok_or_else(|| TokenError::Algorithm { found: Shown::new(&alg) })?,
            kid: text("kid", "kid is not a text")?,
            typ: text("typ", "typ is not a text")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

    fn header(json: &str) -> Result<Header, TokenError> {
        let token = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(json));
        Jws::parse(&token).and_then(|jws| jws.header())
    }

    #[test]
    fn only_three_canonical_parts_are_a_jws() {
        let bad = [
            "",
            "a",
            "e30.e30",
            "e30.e30.",
            "e30.e30.AA.AA",
            "e30.e30.AA.AA.AA",
            "e30.e30.AA.AA.AA.AA",
            "e30=.e30.AA",
            "e30.e30 .AA",
            "e30.e30.AB",
            "e30.e31.AA",
            "e30.e30.A+A",
            "e30\n.e30.AA",
        ];
        for token in bad {
            let accepted = Jws::parse(token).is_ok_and(|jws| !jws.signature.is_empty());
            assert!(!accepted, "{token:?}");
        }
        let jws = Jws::parse("e30.e30.AAA").expect("sound");
        assert_eq!((jws.signed, &jws.payload[..]), (&b"e30.e30"[..], &b"{}"[..]));
    }

    /// RFC 8725 sections 3.1 to 3.3 and 3.10, SECURITY R27.
    #[test]
    fn headers_that_ask_for_trouble_are_refused() {
        for alg in ["none", "None", "nOnE", "NONE", "HS256", "hs256", "RS1", "es256", "ES256 ", ""] {
            let error = header(&format!(r#"{{"alg":"{alg}"}}"#)).expect_err(alg);
            assert_eq!(error.reason(), "algorithm", "{alg}");
        }
        let bad = [
            r#"[]"#,
            r#""ES256""#,
            r#"{}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["ES256"]}"#,
            r#"{"alg":"ES256","alg":"ES256"}"#,
            r#"{"alg":"none","\u0061lg":"ES256"}"#,
            r#"{"alg":"ES256","crit":["exp"],"exp":1}"#,
            r#"{"alg":"ES256","crit":[]}"#,
            r#"{"alg":"ES256","b64":false,"crit":["b64"]}"#,
            r#"{"alg":"ES256","b64":true}"#,
            r#"{"alg":"ES256","jwk":{"kty":"EC"}}"#,
            r#"{"alg":"ES256","enc":"A128GCM"}"#,
            r#"{"alg":"ES256","zip":"DEF"}"#,
            r#"{"alg":"ES256","kid":7}"#,
            r#"{"alg":"ES256","typ":["JWT"]}"#,
            r#"{"alg":"ES256"} x"#,
        ];
        for json in bad {
            assert_eq!(header(json).expect_err(json).reason(), "header", "{json}");
        }
    }

    #[test]
    fn hints_where_keys_could_be_are_ignored() {
        let json = r#"{"alg":"ES256","typ":"JWT","kid":"../../etc/passwd\u0000' OR 1=1",
            "jku":"http://evil.example",
            "x5u":"http://evil.example","x5c":["AA"],"x5t":"AA"}"#;
        let expected = Header {
            algorithm: Algorithm::Es256,
            kid: Some("../../etc/passwd\0' OR 1=1".to_owned()),
            typ: Some("JWT".to_owned()),
        };
        assert_eq!(header(json), Ok(expected));
    }
}
