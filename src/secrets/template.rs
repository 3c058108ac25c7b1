use super::{Error, Lease, SecretValue, Slots, Unavailable, check_name};
use crate::inspect::echo::Echo;
use crate::limits::SECRET_TEMPLATE_BYTES_MAX;
use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use smallvec::SmallVec;
use std::fmt;
use std::sync::Arc;
use zeroize::Zeroizing;

/// A header value with named secrets in it, such as `Bearer ${secret:anthropic}`.
///
/// Comes from the configuration alone: nothing that a caller sends is ever read as a template, and what was
/// substituted is never read again (SECURITY R18).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Box<[Part]>,
    encoding: Encoding,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Secret(Arc<str>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Encoding {
    /// The parts as they are.
    Plain,
    /// `Basic` and the base64 of the user, a colon and the parts (RFC 7617 section 2).
    Basic { user: Box<str>, composed: Composed },
}

/// What must not come back of the values of a request (SECURITY R19); mostly one.
pub type Echoes = SmallVec<[Arc<Echo>; 2]>;

type Values = SmallVec<[Arc<SecretValue>; 2]>;

/// The spellings of a base64 value, which are made anew only when a part of it has changed. Not a part of
/// what the template says: copies and comparisons leave it out.
#[derive(Default)]
struct Composed(ArcSwapOption<(Values, Arc<Echo>)>);

impl Composed {
    fn echo(&self, values: &Values, bytes: &[u8]) -> Arc<Echo> {
        if let Some(known) = &*self.0.load()
            && known.0.iter().zip(values).all(|(one, other)| Arc::ptr_eq(one, other))
        {
            return known.1.clone();
        }
        let echo = Arc::new(Echo::new(&[bytes]));
        self.0.store(Some(Arc::new((values.clone(), echo.clone()))));
        echo
    }
}

impl Clone for Composed {
    fn clone(&self) -> Composed {
        Composed::default()
    }
}

impl PartialEq for Composed {
    fn eq(&self, _: &Composed) -> bool {
        true
    }
}

impl Eq for Composed {}

impl fmt::Debug for Composed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Composed(…)")
    }
}

const OPEN: &str = "${";
const SECRET: &str = "secret:";

impl Template {
    /// Literal text and `${secret:NAME}`, joined. A `$` without `{` stands for itself.
    ///
    /// # Errors
    /// [`Error::Unclosed`], [`Error::Placeholder`], [`Error::Name`], [`Error::Literal`] for a byte that a
    /// header value may not hold or white space at its ends (RFC 9110 section 5.5), [`Error::NoSecret`],
    /// [`Error::TemplateTooLong`]; the operator is at fault.
    pub fn parse(text: &str) -> Result<Template, Error> {
        if text.len() > SECRET_TEMPLATE_BYTES_MAX {
            return Err(Error::TemplateTooLong);
        }
        let mut parts = Vec::new();
        let mut at = 0;
        while let Some(found) = text[at..].find(OPEN) {
            let offset = at + found;
            literal(text, at, offset, &mut parts)?;
            let inside = &text[offset + OPEN.len()..];
            let length = inside.find('}').ok_or(Error::Unclosed { offset })?;
            let name = inside[..length].strip_prefix(SECRET).ok_or(Error::Placeholder { offset })?;
            parts.push(Part::Secret(check_name(name)?));
            at = offset + OPEN.len() + length + 1;
        }
        literal(text, at, text.len(), &mut parts)?;
        if !parts.iter().any(|part| matches!(part, Part::Secret(_))) {
            return Err(Error::NoSecret);
        }
        Ok(Template { parts: parts.into(), encoding: Encoding::Plain })
    }

    /// Basic authentication as `user` with a template as password: `basic = { user, password }`.
    ///
    /// # Errors
    /// [`Error::BasicUser`], and what [`Template::parse`] refuses in `password`.
    pub fn basic(user: &str, password: &str) -> Result<Template, Error> {
        if user.len() > SECRET_TEMPLATE_BYTES_MAX || user.chars().any(|c| c == ':' || c.is_control()) {
            return Err(Error::BasicUser);
        }
        let encoding = Encoding::Basic { user: user.into(), composed: Composed::default() };
        Ok(Template { encoding, ..Template::parse(password)? })
    }

    /// Names of the secrets and lease sources in it, in order, at least one.
    pub fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Secret(name) => Some(name),
            Part::Literal(_) => None,
        })
    }

    /// The header value: each name replaced by the lease of that name, else by the secret.
    ///
    /// # Errors
    /// [`Unavailable`] with the first name that has no value.
    pub fn render(&self, slots: &Slots, leases: &[Lease]) -> Result<SecretValue, Unavailable> {
        self.render_to_scrub(slots, leases, &mut Echoes::new())
    }

    /// The same, and adds to `echoes` what of it must not come back: the values, and what base64 made of
    /// them.
    ///
    /// # Errors
    /// As for [`Template::render`].
    pub fn render_to_scrub(
        &self,
        slots: &Slots,
        leases: &[Lease],
        echoes: &mut Echoes,
    ) -> Result<SecretValue, Unavailable> {
        let mut values = Values::new();
        for name in self.names() {
            let lease = leases.iter().find(|lease| lease.source.name == *name);
            let value = match lease {
                Some(lease) => Some(lease.value.clone()),
                None => slots.find(name).and_then(|slot| slot.value()),
            };
            values.push(value.ok_or_else(|| Unavailable { name: name.clone() })?);
        }
        for echo in values.iter().filter_map(|value| value.echo()) {
            if !echoes.iter().any(|known| Arc::ptr_eq(known, echo)) {
                echoes.push(echo.clone());
            }
        }
        match &self.encoding {
            Encoding::Plain => Ok(SecretValue::composed(self.join(None, &values))),
            Encoding::Basic { user, composed } => {
                let value = basic(&self.join(Some(user), &values));
                if values.iter().any(|value| value.echo().is_some()) {
                    echoes.push(composed.echo(&values, &value[SCHEME.len()..]));
                }
                Ok(SecretValue::composed(value))
            }
        }
    }

    /// All parts in one buffer that is allocated once: growing would leave unwiped copies behind.
    fn join(&self, user: Option<&str>, values: &[Arc<SecretValue>]) -> Zeroizing<Vec<u8>> {
        let literals = self.parts.iter().map(|part| match part {
            Part::Literal(text) => text.len(),
            Part::Secret(_) => 0,
        });
        let secrets = values.iter().map(|value| value.len());
        let length = literals.chain(secrets).sum::<usize>() + user.map_or(0, |user| user.len() + 1);
        let mut joined = Zeroizing::new(Vec::with_capacity(length));
        if let Some(user) = user {
            joined.extend_from_slice(user.as_bytes());
            joined.push(b':');
        }
        let mut values = values.iter();
        for part in &self.parts {
            match part {
                Part::Literal(text) => joined.extend_from_slice(text.as_bytes()),
                // One value was looked up for each name, in the same order.
                Part::Secret(_) => joined.extend_from_slice(values.next().map_or(&[][..], |v| v.expose())),
            }
        }
        debug_assert_eq!(joined.len(), length);
        joined
    }
}

fn literal(text: &str, from: usize, to: usize, parts: &mut Vec<Part>) -> Result<(), Error> {
    let literal = &text[from..to];
    if literal.is_empty() {
        return Ok(());
    }
    let allowed = |byte: u8| byte.is_ascii_graphic() || byte == b' ' || byte == b'\t';
    let edge = |offset: usize| offset == 0 || offset == text.len() - 1;
    let refused =
        |(index, byte): &(usize, u8)| !allowed(*byte) || (edge(from + index) && byte.is_ascii_whitespace());
    match literal.bytes().enumerate().find(refused) {
        Some((index, _)) => Err(Error::Literal { offset: from + index }),
        None => {
            parts.push(Part::Literal(literal.into()));
            Ok(())
        }
    }
}

/// What stands in front of the base64.
const SCHEME: &[u8] = b"Basic ";

/// `Basic` and the base64 of `user:password` (RFC 7617 section 2), in one allocation.
pub fn basic(credentials: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut value = Zeroizing::new(vec![0; SCHEME.len() + credentials.len().div_ceil(3) * 4]);
    let (scheme, encoded) = value.split_at_mut(SCHEME.len());
    scheme.copy_from_slice(SCHEME);
    // Padded base64 has exactly four characters for each begun group of three bytes.
    STANDARD.encode_slice(credentials, encoded).expect("the buffer has the length of the encoding");
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{
        ClientAuth, Endpoint, LeaseKind, LeaseSource, Scrub, SecretSlot, SecretSpec, Source,
    };
    use crate::time::Timestamp;
    use proptest::prelude::*;

    fn secret(text: &str) -> SecretValue {
        SecretValue::new(text.as_bytes().to_vec(), Scrub::Off).unwrap()
    }

    fn spec(name: &str) -> SecretSpec {
        SecretSpec::new(name, Source::env("X").unwrap(), None, Scrub::Off).unwrap()
    }

    /// `a` and `b` have values, `empty` has none.
    fn slots() -> Slots {
        let slots = Slots::new(["a", "b", "empty"].map(spec)).unwrap();
        slots.find("a").unwrap().publish(secret("canary-a"), Timestamp(1));
        slots.find("b").unwrap().publish(secret("${secret:a}"), Timestamp(1));
        slots
    }

    fn lease(name: &str, value: &str) -> Lease {
        let source = LeaseSource {
            name: name.into(),
            kind: LeaseKind::ClientCredentials,
            token_endpoint: Endpoint::parse("https://idp.example.com/token").unwrap(),
            revoke_endpoint: None,
            client_id: "ringward".into(),
            client_secret: Arc::new(SecretSlot::new(spec("client"))),
            auth_method: ClientAuth::Basic,
            audience: None,
            resource: None,
            scope: None,
            lifetime_default: None,
            scrub: Scrub::Off,
            roots: None,
        };
        let value = Arc::new(secret(value));
        Lease { id: "lease-1".into(), source: Arc::new(source), value, expires: Timestamp(9) }
    }

    fn check(template: Result<Template, Error>, expected: Result<&str, Error>) {
        let leases = [lease("lent", "canary-lent")];
        let rendered = template.map(|template| template.render(&slots(), &leases).unwrap());
        let rendered = rendered.map(|value| String::from_utf8(value.expose().to_vec()).unwrap());
        assert_eq!(rendered, expected.map(str::to_owned));
    }

    #[test]
    fn secrets_and_leases_are_put_between_literal_text() {
        check(Template::parse("${secret:a}"), Ok("canary-a"));
        check(Template::parse("Bearer ${secret:a}"), Ok("Bearer canary-a"));
        check(Template::parse("Bearer ${secret:lent}"), Ok("Bearer canary-lent"));
        check(Template::parse("${secret:a}-${secret:lent}$"), Ok("canary-a-canary-lent$"));
        check(Template::parse("a=\"${secret:a}\", $ {x}"), Ok("a=\"canary-a\", $ {x}"));
    }

    // RFC 7617 section 2: the example has user `Aladdin` and password `open sesame`.
    #[test]
    fn basic_joins_user_and_password() {
        check(Template::basic("u", "${secret:a}"), Ok("Basic dTpjYW5hcnktYQ=="));
        check(Template::basic("", "x${secret:a}"), Ok("Basic OnhjYW5hcnktYQ=="));
        check(Template::basic("a:b", "${secret:a}"), Err(Error::BasicUser));
        check(Template::basic("a\n", "${secret:a}"), Err(Error::BasicUser));
        check(Template::basic("user", "password"), Err(Error::NoSecret));
        assert_eq!(&basic(b"Aladdin:open sesame")[..], b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
    }

    // SECURITY R18: a value that looks like a template stays what it is.
    #[test]
    fn what_was_substituted_is_not_read_again() {
        check(Template::parse("${secret:b}"), Ok("${secret:a}"));
    }

    #[test]
    fn templates_that_cannot_be_meant_are_refused() {
        check(Template::parse(""), Err(Error::NoSecret));
        check(Template::parse("sk-ant-in-clear"), Err(Error::NoSecret));
        check(Template::parse("x ${secret:a"), Err(Error::Unclosed { offset: 2 }));
        check(Template::parse("x ${"), Err(Error::Unclosed { offset: 2 }));
        check(Template::parse("${env:HOME}"), Err(Error::Placeholder { offset: 0 }));
        check(Template::parse("${secret:a} ${}"), Err(Error::Placeholder { offset: 12 }));
        check(Template::parse("${secret:}"), Err(Error::Name));
        check(Template::parse("${secret:a b}"), Err(Error::Name));
        check(Template::parse("${secret:${secret:a}}"), Err(Error::Name));
        check(Template::parse(" ${secret:a}"), Err(Error::Literal { offset: 0 }));
        check(Template::parse("${secret:a}\t"), Err(Error::Literal { offset: 11 }));
        check(Template::parse("${secret:a}\r\nx: y"), Err(Error::Literal { offset: 11 }));
        check(Template::parse("ä${secret:a}"), Err(Error::Literal { offset: 0 }));
        check(Template::parse(&"x".repeat(4097)), Err(Error::TemplateTooLong));
    }

    #[test]
    fn a_missing_value_is_named() {
        for name in ["empty", "unknown"] {
            let template = Template::parse(&format!("${{secret:a}}${{secret:{name}}}")).unwrap();
            let missing = template.render(&slots(), &[]).unwrap_err();
            assert_eq!(missing.to_string(), format!("the secret `{name}` has no value"));
            let names: Vec<_> = template.names().map(|name| &**name).collect();
            assert_eq!(names, ["a", name]);
        }
    }

    #[test]
    fn nothing_prints_a_value() {
        let leases = [lease("lent", "canary-lent")];
        let template = Template::parse("Bearer ${secret:a}").unwrap();
        let shown = format!(
            "{leases:?} {:?} {:?} {template:?} {:?}",
            leases[0].facts(),
            slots(),
            template.render(&slots(), &leases)
        );
        assert!(!shown.contains("canary"), "{shown}");
        assert!(leases[0].is_expired(Timestamp(9)) && !leases[0].is_expired(Timestamp(8)));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "(\\$|\\{|\\}|secret:|a| |\t|\\PC){0,24}") {
            if let Ok(template) = Template::parse(&text) {
                prop_assert!(template.names().count() > 0);
            }
        }
    }
}
