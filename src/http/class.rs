//! What the gateway does with a header field, by its name.
//!
//! Names are folded before they are looked up: ASCII case is ignored and everything but letters and digits
//! counts as `-`, runs of them as one, as it does for a server that turns fields into variables
//! (`X_Forwarded_For`).

/// What the gateway does with a field, by its folded name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Passes.
    EndToEnd,
    /// Frames or routes the message; the parser took the real ones out, so this one only looks like it.
    Framing,
    /// For one connection only.
    HopByHop,
    /// Authenticates the caller.
    Credential,
    /// Claims where the message came from.
    Origin,
    /// Claims another method or target than that of the start line.
    Override,
    /// Names the intermediaries on the way so far.
    Via,
    /// Not forwarded to the caller.
    Response,
}

impl Class {
    /// One bit for each class.
    pub(super) fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Longest name of the tables of [`class`].
const NAME_BYTES_MAX: usize = 32;

/// Lower-case letters and digits as they are, upper case in lower case, everything else as `-`.
static FOLDED: [u8; 256] = {
    let mut table = [b'-'; 256];
    let mut byte = 0;
    while byte < 256 {
        if (byte as u8).is_ascii_alphanumeric() {
            table[byte] = (byte as u8).to_ascii_lowercase();
        }
        byte += 1;
    }
    table
};

/// The class of a field by its name. Called once for each field.
pub(super) fn class(name: &[u8]) -> Class {
    if is_plain(name) { class_of_plain(name) } else { listed_class(name) }
}

/// [`class`] of a name for which [`is_plain`] holds.
pub(super) fn class_of_plain(name: &[u8]) -> Class {
    if is_unlisted(name) { Class::EndToEnd } else { listed_class(name) }
}

/// Whether a name is written as real ones are: letters, digits, and single dashes between them. It is a token
/// then, and folding changes only its case.
pub(super) fn is_plain(name: &[u8]) -> bool {
    const DASH: u8 = b'-';
    let mut before = DASH;
    for byte in name {
        let folded = FOLDED[usize::from(*byte)];
        // A dash where none may be, or a character that is folded to one.
        if folded == DASH && (before == DASH || *byte != DASH) {
            return false;
        }
        before = folded;
    }
    before != DASH
}

/// Lengths of the names of the tables below, one bit each, by the letters that a name begins and ends with;
/// most names are none of them.
static LISTED_LENGTHS: [u64; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < OTHERS.len() {
        table[ends(OTHERS[index].0)] |= 1 << OTHERS[index].0.len();
        index += 1;
    }
    index = 0;
    while index < CREDENTIALS.len() {
        table[ends(CREDENTIALS[index])] |= 1 << CREDENTIALS[index].len();
        index += 1;
    }
    table
};

/// Index into [`LISTED_LENGTHS`] of a name that is not empty.
const fn ends(name: &[u8]) -> usize {
    let (first, last) = (FOLDED[name[0] as usize], FOLDED[name[name.len() - 1] as usize]);
    (first.wrapping_mul(31) ^ last) as usize
}

/// Whether a plain name is certainly not in the tables: most show it in their ends and their length.
fn is_unlisted(name: &[u8]) -> bool {
    // Whatever follows `x-forwarded-` and `x-ringward-` is listed.
    let may_be_family = match name {
        [] => true,
        [b'x' | b'X', b'-', third, fourth, ..] => {
            matches!([third | 0x20, fourth | 0x20], [b'f', b'o'] | [b'r', b'i'])
        }
        _ => false,
    };
    !may_be_family && (name.len() > NAME_BYTES_MAX || LISTED_LENGTHS[ends(name)] >> name.len() & 1 == 0)
}

fn listed_class(name: &[u8]) -> Class {
    let mut folded = [0; NAME_BYTES_MAX];
    match fold(name, &mut folded) {
        other if is_listed_credential(other) => Class::Credential,
        other if other.starts_with(b"x-forwarded-") => Class::Origin,
        other if other.starts_with(b"x-ringward-") => Class::Response,
        other => {
            let found = OTHERS.binary_search_by(|(listed, _)| (*listed).cmp(other));
            found.map_or(Class::EndToEnd, |index| OTHERS[index].1)
        }
    }
}

/// Fields that the gateway treats in its own way and that are no credentials, folded and sorted.
static OTHERS: &[(&[u8], Class)] = &[
    (b"alt-svc", Class::Response),
    (b"cf-connecting-ip", Class::Origin),
    (b"client-ip", Class::Origin),
    (b"connection", Class::HopByHop),
    (b"content-length", Class::Framing),
    (b"expect", Class::HopByHop),
    (b"fastly-client-ip", Class::Origin),
    (b"forwarded", Class::Origin),
    (b"host", Class::Framing),
    (b"http2-settings", Class::HopByHop),
    (b"keep-alive", Class::HopByHop),
    (b"proxy-authenticate", Class::HopByHop),
    (b"proxy-connection", Class::HopByHop),
    (b"te", Class::HopByHop),
    (b"trailer", Class::HopByHop),
    (b"transfer-encoding", Class::Framing),
    (b"true-client-ip", Class::Origin),
    (b"upgrade", Class::HopByHop),
    (b"via", Class::Via),
    (b"x-client-ip", Class::Origin),
    (b"x-cluster-client-ip", Class::Origin),
    (b"x-forwarded", Class::Origin),
    (b"x-host", Class::Origin),
    (b"x-http-method", Class::Override),
    (b"x-http-method-override", Class::Override),
    (b"x-method-override", Class::Override),
    (b"x-original-forwarded-for", Class::Origin),
    (b"x-original-host", Class::Origin),
    (b"x-original-url", Class::Override),
    (b"x-originating-ip", Class::Origin),
    (b"x-override-url", Class::Override),
    (b"x-real-ip", Class::Origin),
    (b"x-remote-addr", Class::Origin),
    (b"x-remote-ip", Class::Origin),
    (b"x-rewrite-url", Class::Override),
];

/// Fields that carry a caller's credential, folded and sorted: those of the standards and those in use.
static CREDENTIALS: &[&[u8]] = &[
    b"anthropic-api-key",
    b"api-key",
    b"api-token",
    b"apikey",
    b"auth-token",
    b"authentication",
    b"authorization",
    b"cf-access-client-id",
    b"cf-access-client-secret",
    b"cf-access-jwt-assertion",
    b"client-cert",
    b"client-cert-chain",
    b"cookie",
    b"cookie2",
    b"dd-api-key",
    b"dd-application-key",
    b"dpop",
    b"job-token",
    b"ocp-apim-subscription-key",
    b"openai-api-key",
    b"private-token",
    b"proxy-authorization",
    b"x-access-token",
    b"x-amz-security-token",
    b"x-api-key",
    b"x-api-token",
    b"x-apikey",
    b"x-auth-key",
    b"x-auth-token",
    b"x-authorization",
    b"x-client-cert",
    b"x-csrf-token",
    b"x-forwarded-access-token",
    b"x-forwarded-authorization",
    b"x-forwarded-client-cert",
    b"x-functions-key",
    b"x-gitlab-token",
    b"x-goog-api-key",
    b"x-goog-iam-authorization-token",
    b"x-goog-iap-jwt-assertion",
    b"x-id-token",
    b"x-jwt-assertion",
    b"x-ms-authorization-auxiliary",
    b"x-rapidapi-key",
    b"x-secret-key",
    b"x-serverless-authorization",
    b"x-session-token",
    b"x-ssl-client-cert",
    b"x-user-token",
    b"x-vault-token",
    b"x-xsrf-token",
];

/// First letters of [`CREDENTIALS`] with the lengths that begin so, one bit each: most names are none.
static CREDENTIAL_LENGTHS: [u64; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < CREDENTIALS.len() {
        table[CREDENTIALS[index][0] as usize] |= 1 << CREDENTIALS[index].len();
        index += 1;
    }
    table
};

fn is_listed_credential(folded: &[u8]) -> bool {
    let lengths = folded.first().map_or(0, |first| CREDENTIAL_LENGTHS[usize::from(*first)]);
    lengths >> folded.len() & 1 == 1 && CREDENTIALS.binary_search(&folded).is_ok()
}

/// The name in lower case, with one `-` for each run of what is neither letter nor digit. A name too long
/// for the table is cut, which makes it none of the table but for `x-forwarded-…` and `x-ringward-…`.
fn fold<'a>(name: &[u8], folded: &'a mut [u8; NAME_BYTES_MAX]) -> &'a [u8] {
    let mut len = 0;
    for byte in name.iter().map(|byte| FOLDED[usize::from(*byte)]) {
        if byte == b'-' && (len == 0 || folded[len - 1] == b'-') {
            continue;
        }
        match folded.get_mut(len) {
            Some(slot) => *slot = byte,
            None => break,
        }
        len += 1;
    }
    let trailing = usize::from(len > 0 && folded[len - 1] == b'-');
    &folded[..len - trailing]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_to_a_class_finds_the_same() {
        assert!(OTHERS.is_sorted_by(|one, next| one.0 < next.0));
        assert!(CREDENTIALS.is_sorted());
        let listed = OTHERS.iter().map(|(name, _)| *name).chain(CREDENTIALS.iter().copied());
        let ordinary = [
            &b"accept"[..],
            b"content-type",
            b"user-agent",
            b"date",
            b"server",
            b"a",
            b"-",
            b"--",
            b"",
            b"x",
            b"x-",
            b"x-f",
            b"x-rid",
            b"x-request-id",
            b"x-forwarded",
            b"x-forwarded-",
            b"x-forwarded-any",
            b"x-ringward-a",
            b"xforwarded-for",
            b"x-stainless-retry-count-and-more-than-the-table-holds",
            b"x-forwarded-for-a-name-that-is-longer-than-the-table",
            b"te-",
            b"-te",
            b"vi",
            b"viaa",
        ];
        for name in listed.chain(ordinary) {
            let spelled = [
                name.to_vec(),
                name.to_ascii_uppercase(),
                name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect(),
                [b"-", name, b"."].concat(),
                name.iter().flat_map(|byte| vec![*byte; 1 + usize::from(*byte == b'-')]).collect(),
                [name, b"s"].concat(),
            ];
            for name in spelled {
                assert_eq!(class(&name), listed_class(&name), "{}", String::from_utf8_lossy(&name));
            }
        }
        assert_eq!(class(b"X_Forwarded_For"), Class::Origin);
        assert_eq!(class(b"Content-Type"), Class::EndToEnd);
    }

    #[test]
    fn the_credentials_are_sorted_and_folded() {
        assert!(CREDENTIALS.is_sorted());
        for name in CREDENTIALS {
            assert_eq!(fold(name, &mut [0; NAME_BYTES_MAX]), *name);
            assert_eq!(class(name), Class::Credential, "{}", String::from_utf8_lossy(name));
        }
    }
}
