//! One mask rule as the operator wrote it: what is found, what is put in its place, in which direction.

use super::Error;
use super::value::Value;
use crate::limits::MASK_REPLACEMENT_BYTES_MAX;
use std::sync::Arc;

/// One `[[mask]]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The rule's name, for records, metrics and the `{name}` placeholder.
    pub name: Arc<str>,
    /// What is found.
    pub kind: Kind,
    /// What is put in its place.
    pub replace: Replacement,
    /// Which bodies are looked at.
    pub direction: Direction,
    /// Count hits, change nothing, hold nothing back.
    pub dry_run: bool,
}

/// What a rule finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// 14 to 19 digits in a known grouping, of a known issuer and length, with a right check digit.
    CreditCard,
    /// An e-mail address: local part up to 64 bytes, domain up to 254, alphabetic top level.
    Email,
    /// A United States social security number.
    Ssn,
    /// A phone number: international, North American, or national behind a key word.
    Phone,
    /// An international bank account number.
    Iban,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// A JSON web token.
    Jwt,
    /// A private key in PEM.
    PrivateKey,
    /// A key of a provider, by its prefix, shape and entropy.
    ApiKey,
    /// A random string behind a word such as `password` and an assignment.
    GenericSecret,
    /// Words or phrases, without regard to the case of ASCII letters, not inside a longer word.
    Literals(Vec<String>),
    /// What an expression matches, see [`super::detect::Expression`].
    Regex(String),
    /// The values of JSON members with one of these keys, without regard to the case of ASCII letters.
    Key(Vec<String>),
    /// The values that paths such as `$.customers[*].ssn` lead to, in JSON documents.
    Path(Vec<String>),
}

impl Kind {
    /// The kinds that need nothing but their name.
    pub const BUILT_IN: [Kind; 11] = [
        Kind::CreditCard,
        Kind::Email,
        Kind::Ssn,
        Kind::Phone,
        Kind::Iban,
        Kind::Ipv4,
        Kind::Ipv6,
        Kind::Jwt,
        Kind::PrivateKey,
        Kind::ApiKey,
        Kind::GenericSecret,
    ];

    /// The word for this kind in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Kind::CreditCard => "credit_card",
            Kind::Email => "email",
            Kind::Ssn => "ssn",
            Kind::Phone => "phone",
            Kind::Iban => "iban",
            Kind::Ipv4 => "ipv4",
            Kind::Ipv6 => "ipv6",
            Kind::Jwt => "jwt",
            Kind::PrivateKey => "private_key",
            Kind::ApiKey => "api_key",
            Kind::GenericSecret => "generic_secret",
            Kind::Literals(_) => "literals",
            Kind::Regex(_) => "regex",
            Kind::Key(_) => "key",
            Kind::Path(_) => "path",
        }
    }
}

/// Which way a body goes. An inspector of `Both` runs the rules of either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the caller to the upstream.
    Request,
    /// From the upstream to the caller.
    Response,
    /// Both ways.
    Both,
}

impl Direction {
    /// Whether a rule of direction `self` looks at a body that goes `way`.
    pub fn covers(self, way: Direction) -> bool {
        self == way || self == Direction::Both || way == Direction::Both
    }
}

/// What is put in the place of a match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// A text made of fixed parts and parts of the match.
    Template(Vec<Part>),
    /// As many asterisks as the match has bytes as received, so that a body keeps its length (in events: as
    /// it has decoded bytes). A bare JSON number becomes as many nines.
    Asterisks,
    /// `null` for the whole JSON value; only for [`Kind::Key`] and [`Kind::Path`].
    Null,
}

/// One part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Text(Box<str>),
    /// `{name}`: the rule's name.
    Name,
    /// `{kind}`: the rule's kind.
    Kind,
    /// `{length}`: bytes of the match, decoded.
    Length,
    /// `{last4}`: the last four digits of the match, or its last four ASCII characters where it has fewer
    /// digits; nothing if the match has fewer than eight bytes.
    Last4,
    /// `{token}`: 24 hexadecimal digits that stand for the value within its session, see
    /// [`super::token`]. Where the session had too many the whole mask is that without a template.
    Token,
}

impl Replacement {
    /// Parses a template such as `[card …{last4}]`; `*` alone means asterisks.
    ///
    /// # Errors
    /// An unknown placeholder, a brace without its partner, a control character, or more than
    /// `MASK_REPLACEMENT_BYTES_MAX` bytes: the operator's fault.
    pub fn parse(template: &str) -> Result<Replacement, Error> {
        if template == "*" {
            return Ok(Replacement::Asterisks);
        }
        if template.len() > MASK_REPLACEMENT_BYTES_MAX {
            return Err(Error::ReplacementTooLong);
        }
        if template.chars().any(char::is_control) {
            return Err(Error::ControlCharacter(template.escape_debug().to_string()));
        }
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            let doubled = rest.as_bytes().get(at + 1) == Some(&rest.as_bytes()[at]);
            if doubled {
                text.push_str(&rest[at..=at]);
                rest = &rest[at + 2..];
                continue;
            }
            let end = rest[at..].find('}').filter(|end| *end > 0).ok_or(Error::UnbalancedBrace)?;
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text).into()));
            }
            parts.push(placeholder(&rest[at + 1..at + end])?);
            rest = &rest[at + end + 1..];
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Ok(Replacement::Template(parts))
    }

    fn default_parts() -> Vec<Part> {
        vec![Part::Text("[".into()), Part::Name, Part::Text("]".into())]
    }

    /// Whether it shows a token.
    pub fn has_token(&self) -> bool {
        matches!(self, Replacement::Template(parts) if parts.contains(&Part::Token))
    }

    /// Whether it shows the last characters of a value.
    pub(super) fn has_last4(&self) -> bool {
        matches!(self, Replacement::Template(parts) if parts.contains(&Part::Last4))
    }

    /// Renders the replacement of `value` for a place without escapes.
    pub(super) fn render(&self, rule: &Rule, value: &Value, out: &mut Vec<u8>) {
        let token = self.has_token().then(|| value.token());
        let parts = match self {
            Replacement::Template(_) if token == Some(None) => &Replacement::default_parts(),
            Replacement::Template(parts) => parts,
            Replacement::Asterisks => return out.resize(out.len() + value.length(), b'*'),
            Replacement::Null => return out.extend_from_slice(b"null"),
        };
        for part in parts {
            match part {
                Part::Text(text) => out.extend_from_slice(text.as_bytes()),
                Part::Name => out.extend_from_slice(rule.name.as_bytes()),
                Part::Kind => out.extend_from_slice(rule.kind.name().as_bytes()),
                Part::Length => out.extend_from_slice(value.length().to_string().as_bytes()),
                Part::Last4 => out.extend_from_slice(value.last4()),
                Part::Token => {
                    out.extend_from_slice(token.iter().flatten().next().map_or(b"", |one| one.as_bytes()))
                }
            }
        }
    }
}

impl Default for Replacement {
    /// `[{name}]`.
    fn default() -> Replacement {
        Replacement::Template(Replacement::default_parts())
    }
}

fn placeholder(name: &str) -> Result<Part, Error> {
    match name {
        "name" => Ok(Part::Name),
        "kind" => Ok(Part::Kind),
        "length" => Ok(Part::Length),
        "last4" => Ok(Part::Last4),
        "token" => Ok(Part::Token),
        _ => Err(Error::UnknownPlaceholder(name.escape_debug().to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::codec::Codec;

    fn check(template: &str, found: &[u8], expected: Result<&str, Error>) {
        let rendered = Replacement::parse(template).map(|replace| {
            let kind = Kind::CreditCard;
            let rule =
                Rule { name: "cards".into(), kind, replace, direction: Direction::Both, dry_run: false };
            let mut out = Vec::new();
            let mut value = Value::new(None, true);
            value.add(Codec::Plain, found);
            rule.replace.render(&rule, &value, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        });
        assert_eq!(rendered, expected.map(str::to_owned), "{template}");
    }

    #[test]
    fn templates_render_their_placeholders() {
        let card = b"4111 1111 1111 1234";
        check("[card …{last4}]", card, Ok("[card …1234]"));
        check("<{name}/{kind}/{length}>", card, Ok("<cards/credit_card/19>"));
        check("{{{name}}}", card, Ok("{cards}"));
        check("}}{{", card, Ok("}{"));
        check("", card, Ok(""));
        check("*", b"abc", Ok("***"));
        check("**", b"abc", Ok("**"));
        check("{last4}", b"1234567", Ok(""));
        check("{last4}", b"bob@x.com", Ok(".com"));
        check("{", card, Err(Error::UnbalancedBrace));
        check("}", card, Err(Error::UnbalancedBrace));
        check("{name", card, Err(Error::UnbalancedBrace));
        check("{nam}", card, Err(Error::UnknownPlaceholder("nam".into())));
        check("a\nb", card, Err(Error::ControlCharacter("a\\nb".into())));
        check(&"x".repeat(300), card, Err(Error::ReplacementTooLong));
    }

    #[test]
    fn directions_cover_their_way() {
        use Direction::*;
        assert!(Both.covers(Request) && Both.covers(Response) && Request.covers(Both));
        assert!(Request.covers(Request) && !Request.covers(Response));
    }
}
