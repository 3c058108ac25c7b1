use super::Outcome;
use crate::http::target;
use std::fmt;

/// A path pattern: `/v1/messages` exactly, `*` for one whole segment, `**` at the end for any rest.
///
/// `/v1/**` also matches `/v1`. Everything else is literal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPattern {
    source: Box<str>,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    Literal(Box<str>),
    /// One segment that is not empty.
    One,
    /// Any number of segments; the last of a pattern.
    Rest,
}

/// Why a pattern is refused; the config is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("a path pattern begins with `/`")]
    NoSlash,
    #[error("`**` may only stand at the end of a path pattern")]
    RestNotLast,
    #[error("`*` stands for a whole path segment and cannot be part of one")]
    PartialWildcard,
    #[error("a path pattern has no empty segment, no `.` and no `..`: paths are canonical before they match")]
    NotCanonical,
    #[error("a path pattern holds a path only: no `?`, `#`, `\\` or white space; others than ASCII as `%XX`")]
    NotAPath,
    #[error("a host is a name such as `api.example.com`, or `*.example.com`, without port")]
    Host,
}

impl PathPattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// [`PatternError`] when it could never match a canonical path, or has a wildcard in a wrong place.
    pub fn parse(source: &str) -> Result<PathPattern, PatternError> {
        let rest = source.strip_prefix('/').ok_or(PatternError::NoSlash)?;
        if source.contains(|c: char| matches!(c, '?' | '#' | '\\') || c.is_whitespace() || c.is_control()) {
            return Err(PatternError::NotAPath);
        }
        let last = rest.split('/').count() - 1;
        let canonical = canonical(source, rest)?;
        let rest = canonical.strip_prefix('/').unwrap_or(rest);
        let segments = rest.split('/').enumerate().map(|(index, text)| match text {
            "**" if index == last => Ok(Segment::Rest),
            "**" => Err(PatternError::RestNotLast),
            "*" => Ok(Segment::One),
            _ if text.contains('*') => Err(PatternError::PartialWildcard),
            _ => Ok(Segment::Literal(text.into())),
        });
        Ok(PathPattern { source: source.into(), segments: segments.collect::<Result<_, _>>()? })
    }

    /// Whether the pattern is for this very path.
    pub fn matches(&self, path: &str) -> bool {
        let rest = match path.strip_prefix('/') {
            Some(rest) if !self.matches_everything() => rest.as_bytes(),
            _ => return self.matches_everything(),
        };
        let mut given = rest.split(|&byte| byte == b'/');
        for segment in &self.segments {
            let matches = match (segment, given.next()) {
                (Segment::Rest, _) => return true,
                (Segment::Literal(literal), Some(text)) => literal.as_bytes() == text,
                (Segment::One, Some(text)) => !text.is_empty(),
                (_, None) => false,
            };
            if !matches {
                return false;
            }
        }
        given.next().is_none()
    }

    /// Match for this very path, unsure for one that servers often take for the same: other case, a slash at
    /// the end, `;parameters`, needless or repeated percent encoding.
    pub fn outcome(&self, path: &str) -> Outcome {
        if self.matches(path) {
            Outcome::Match
        } else if self.resembles(path) {
            Outcome::Unsure
        } else {
            Outcome::Miss
        }
    }

    /// Whether this pattern matches every path.
    pub fn matches_everything(&self) -> bool {
        matches!(self.segments[..], [Segment::Rest])
    }

    /// Whether some path matches both patterns.
    pub fn intersects(&self, other: &PathPattern) -> bool {
        let (mut ours, mut theirs) = (self.segments.iter(), other.segments.iter());
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(Segment::Rest), _) | (_, Some(Segment::Rest)) => return true,
                (None, Some(_)) | (Some(_), None) => return false,
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a != b => return false,
                (Some(Segment::Literal(a)), Some(Segment::One)) if a.is_empty() => return false,
                (Some(Segment::One), Some(Segment::Literal(b))) if b.is_empty() => return false,
                _ => {}
            }
        }
    }

    /// Whether every path that matches `other` matches this pattern too.
    pub fn covers(&self, other: &PathPattern) -> bool {
        let mut theirs = other.segments.iter();
        for ours in &self.segments {
            let covered = match (ours, theirs.next()) {
                (Segment::Rest, _) => return true,
                (_, None) | (_, Some(Segment::Rest)) => false,
                (Segment::One, Some(Segment::Literal(text))) => !text.is_empty(),
                (Segment::One, Some(Segment::One)) => true,
                (Segment::Literal(_), Some(segment)) => ours == segment,
            };
            if !covered {
                return false;
            }
        }
        theirs.next().is_none()
    }

    /// What makes one pattern more specific than another: bytes before the first wildcard, literal segments,
    /// and whether it ends.
    pub fn specificity(&self) -> (usize, usize, bool) {
        let literal = |segment: &&Segment| matches!(segment, Segment::Literal(_));
        let length = |segment: &Segment| match segment {
            Segment::Literal(text) => text.len() + 1,
            Segment::One | Segment::Rest => 0,
        };
        let prefix = self.segments.iter().take_while(literal).map(length).sum();
        let ends = !matches!(self.segments.last(), Some(Segment::Rest));
        (prefix, self.segments.iter().filter(literal).count(), ends)
    }

    fn resembles(&self, path: &str) -> bool {
        let mut given = path.split('/').filter(|text| !text.is_empty());
        let pattern =
            self.segments.iter().filter(|s| !matches!(s, Segment::Literal(text) if text.is_empty()));
        for segment in pattern {
            let resembles = match (segment, given.next()) {
                (Segment::Rest, _) => return true,
                (Segment::Literal(literal), Some(text)) => folded(literal).eq(folded(text)),
                (Segment::One, Some(_)) => true,
                (_, None) => false,
            };
            if !resembles {
                return false;
            }
        }
        given.next().is_none()
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.source)
    }
}

/// A pattern written as the paths that it will meet (`{` is `%7B` there); wildcards stay as they are.
fn canonical(source: &str, rest: &str) -> Result<String, PatternError> {
    let empty = rest.split('/').rev().skip(1).any(str::is_empty);
    if empty || rest.split('/').any(|text| matches!(text, "." | "..")) {
        return Err(PatternError::NotCanonical);
    }
    target::canonicalise(source.as_bytes()).map(|(path, _)| path).map_err(|_| PatternError::NotAPath)
}

/// A segment as a lax server sees it.
fn folded(segment: &str) -> impl Iterator<Item = u8> + '_ {
    let decoded = Decoded { is_repeated: true, ..percent_decoded(segment.as_bytes()) };
    decoded.take_while(|b| *b != b';').map(|b| b.to_ascii_lowercase())
}

/// Bytes with `%XX` decoded; a `%` without two hexadecimal digits stays.
pub(super) fn percent_decoded(bytes: &[u8]) -> Decoded<'_> {
    Decoded { rest: bytes, plus_is_space: false, is_repeated: false }
}

/// Bytes of a form or a query with `%XX` and `+` decoded.
pub(super) fn form_decoded(bytes: &[u8]) -> Decoded<'_> {
    Decoded { rest: bytes, plus_is_space: true, is_repeated: false }
}

/// See [`percent_decoded`] and [`form_decoded`].
#[derive(Clone, Debug)]
pub(super) struct Decoded<'a> {
    rest: &'a [u8],
    plus_is_space: bool,
    /// Whether what was decoded is decoded again (`%2561`), as often as it goes.
    is_repeated: bool,
}

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        match self.rest {
            [b'%', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                self.rest = tail;
                let mut byte = hex(*high) << 4 | hex(*low);
                while self.is_repeated && byte == b'%' {
                    let [high, low, tail @ ..] = self.rest else { break };
                    if !high.is_ascii_hexdigit() || !low.is_ascii_hexdigit() {
                        break;
                    }
                    self.rest = tail;
                    byte = hex(*high) << 4 | hex(*low);
                }
                Some(byte)
            }
            [byte, tail @ ..] => {
                self.rest = tail;
                Some(if self.plus_is_space && *byte == b'+' { b' ' } else { *byte })
            }
            [] => None,
        }
    }
}

/// Value of one hexadecimal digit.
fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

/// Which hosts: every one, one name, or all names below one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    Any,
    /// Lower case.
    Exact(Box<str>),
    /// Lower case with the leading dot.
    Below(Box<str>),
}

impl HostPattern {
    /// Compiles `api.example.com` or `*.example.com`.
    ///
    /// # Errors
    /// [`PatternError::Host`] for anything that is not a host name or an address.
    pub fn parse(source: &str) -> Result<HostPattern, PatternError> {
        let name = source.strip_prefix("*.").unwrap_or(source);
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        let named = plain && !name.is_empty() && !name.starts_with('.') && !name.ends_with('.');
        let bracketed = name.starts_with('[') && name.ends_with(']') && name == source;
        if !named && !bracketed {
            return Err(PatternError::Host);
        }
        let name = name.to_ascii_lowercase();
        Ok(if source.starts_with("*.") {
            HostPattern::Below(format!(".{name}").into())
        } else {
            HostPattern::Exact(name.into())
        })
    }

    /// Whether it is for this authority: lower case, with or without port.
    pub fn matches(&self, authority: &str) -> bool {
        match self {
            HostPattern::Any => true,
            HostPattern::Exact(name) => **name == *host_of(authority),
            HostPattern::Below(suffix) => {
                let host = host_of(authority);
                host.len() > suffix.len() && host.ends_with(&**suffix)
            }
        }
    }

    /// Whether some host matches both.
    pub fn intersects(&self, other: &HostPattern) -> bool {
        match (self, other) {
            (HostPattern::Any, _) | (_, HostPattern::Any) => true,
            (HostPattern::Exact(a), HostPattern::Exact(b)) => a == b,
            (HostPattern::Exact(name), below) | (below, HostPattern::Exact(name)) => below.matches(name),
            (HostPattern::Below(a), HostPattern::Below(b)) => a.ends_with(&**b) || b.ends_with(&**a),
        }
    }

    /// Exact names first, then longer suffixes, then any host.
    pub fn specificity(&self) -> (u8, usize) {
        match self {
            HostPattern::Any => (0, 0),
            HostPattern::Below(suffix) => (1, suffix.len()),
            HostPattern::Exact(_) => (2, 0),
        }
    }
}

/// The host of an authority: without port and without the root's dot.
fn host_of(authority: &str) -> &str {
    let end = match authority.rfind(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let host = &authority[..end];
    host.strip_suffix('.').unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_paths() {
        let check = |pattern: &str, path, outcome| {
            let compiled = PathPattern::parse(pattern).unwrap();
            assert_eq!(compiled.outcome(path), outcome, "{pattern} {path}");
        };
        use Outcome::{Match, Miss, Unsure};
        check("/v1/**", "/v1/messages", Match);
        check("/v1/**", "/v1", Match);
        check("/v1/**", "/v1/", Match);
        check("/v1/**", "/v10", Miss);
        check("/v1/**", "/V1/messages", Unsure);
        check("/**", "/", Match);
        check("/**", "*", Match);
        check("/", "/", Match);
        check("/", "/a", Miss);
        check("/", "*", Miss);
        check("/customers/*", "/customers/7", Match);
        check("/customers/*", "/customers/", Miss);
        check("/customers/*", "/customers/7/", Unsure);
        check("/customers/*", "/customers/7/orders", Miss);
        check("/a/*/c", "/a/b/c", Match);
        check("/admin", "/admin/", Unsure);
        check("/admin", "/Admin", Unsure);
        check("/admin", "/%61dmin", Unsure);
        check("/admin", "/admin;x=1", Unsure);
        check("/admin", "/admin%3bx", Unsure);
        // Some servers decode more than once.
        check("/admin", "/%2561dmin", Unsure);
        check("/admin", "/adm%2525256%39n", Miss);
        check("/admin", "/adm%25252569n%25253bx", Unsure);
        check("/100%25", "/100%25", Match);
        check("/100%25", "/100%2525", Unsure);
        check("/admin", "/administrator", Miss);
        check("/admin/", "/admin/", Match);
        check("/admin/", "/admin", Unsure);
        check("/admin", "/", Miss);
    }

    #[test]
    fn a_pattern_that_could_never_match_is_refused() {
        let check = |pattern, error| assert_eq!(PathPattern::parse(pattern), Err(error), "{pattern}");
        check("v1", PatternError::NoSlash);
        check("", PatternError::NoSlash);
        check("/**/x", PatternError::RestNotLast);
        check("/a*", PatternError::PartialWildcard);
        check("/a//b", PatternError::NotCanonical);
        check("/a/../b", PatternError::NotCanonical);
        check("/a?b=1", PatternError::NotAPath);
        check("/a b", PatternError::NotAPath);
    }

    #[test]
    fn patterns_know_what_they_share() {
        let check = |a: &str, b: &str, intersects, covers| {
            let (a, b) = (PathPattern::parse(a).unwrap(), PathPattern::parse(b).unwrap());
            assert_eq!(a.intersects(&b), intersects, "{a} {b}");
            assert_eq!(b.intersects(&a), intersects, "{b} {a}");
            assert_eq!(a.covers(&b), covers, "{a} over {b}");
        };
        check("/a", "/a", true, true);
        check("/a", "/b", false, false);
        check("/*", "/a", true, true);
        check("/a", "/*", true, false);
        check("/a/*", "/*/b", true, false);
        check("/a/**", "/a", true, true);
        check("/a/**", "/a/b/**", true, true);
        check("/a/b/**", "/a/**", true, false);
        check("/a/*", "/a/", false, false);
        check("/a/*", "/a/b/c", false, false);
        check("/**", "/a/*/c", true, true);
    }

    #[test]
    fn hosts_match_exactly_or_below_a_name() {
        let check = |pattern: &str, authority, matches| {
            assert_eq!(
                HostPattern::parse(pattern).unwrap().matches(authority),
                matches,
                "{pattern} {authority}"
            );
        };
        check("api.example.com", "api.example.com", true);
        check("API.example.com", "api.example.com:8443", true);
        check("api.example.com", "api.example.com.", true);
        check("api.example.com", "x.api.example.com", false);
        check("*.example.com", "api.example.com", true);
        check("*.example.com", "a.b.example.com", true);
        check("*.example.com", "example.com", false);
        check("*.example.com", "badexample.com", false);
        check("[::1]", "[::1]:8080", true);
        check("127.0.0.1", "127.0.0.1:1", true);
        for wrong in ["", "*", "a b", "*.", "a:1", ".a", "a/b", "*.[::1]"] {
            assert_eq!(HostPattern::parse(wrong), Err(PatternError::Host), "{wrong}");
        }
    }
}
