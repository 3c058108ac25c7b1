//! The two digests of a held request. Both are HMACs: the log, which holds them, tells nobody what a short
//! body was.

use super::Question;
use crate::http::rules;
use aws_lc_rs::hmac;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The key of a gateway's digests.
#[derive(Clone)]
pub struct Key(hmac::Key);

/// What finds a card again, what a verdict covers, and of which named parts that is made, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Finds the card and permits nothing: who, by which rule and route, method, target and content.
    pub ask: [u8; 32],
    /// Permits: everything that goes upstream, and everything that decides how.
    pub bind: [u8; 32],
    pub parts: Vec<(String, String)>,
}

/// Longest value that the difference between two revisions shows, in bytes.
const VALUE_BYTES_MAX: usize = 256;
/// Most parts of a request that are told apart.
const PARTS_MAX: usize = 64;
/// Members of a language model's request that say what is asked; the others say how.
const CONTENT: [&str; 6] = ["messages", "input", "prompt", "system", "instructions", "contents"];

impl Key {
    /// From 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Key {
        Key(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The digests of `question`, whose body is `body`.
    pub fn digests(&self, question: &Question, body: &[u8]) -> Digests {
        let members = if question.protocol.is_llm() { members(body) } else { None };
        let ask = self.ask(question, body, members.as_deref());
        let parts = self.parts(question, body, members.as_deref());
        let mut bind = Hasher::new(self, "bind");
        bind.add(&ask);
        bind.texts([&*question.upstream, &question.method, &question.target]);
        bind.add(&question.terms.digest);
        bind.add(&question.route_digest);
        bind.number(question.secrets.len());
        bind.texts(question.secrets.iter().map(|name| &**name));
        let headers: Vec<_> = question.headers.iter().filter(|(name, _)| is_bound(name)).collect();
        bind.number(headers.len());
        for (name, value) in headers {
            bind.text(&name.to_ascii_lowercase());
            bind.add(value);
        }
        match &members {
            // Clients fall back to an answer in one piece after a fault in a stream: nothing else may differ.
            Some(members) => {
                let bound = members.iter().filter(|(name, _)| name != "stream");
                bound.for_each(|(name, value)| bind.texts([name, value.get()]));
            }
            None => bind.add(body),
        }
        Digests { ask, bind: bind.finish(), parts }
    }

    fn ask(&self, question: &Question, body: &[u8], members: Option<&[Member<'_>]>) -> [u8; 32] {
        let mut ask = Hasher::new(self, "ask");
        match &question.subject {
            Some(subject) => {
                let owner = subject.owner.as_deref().unwrap_or_default();
                ask.texts([&*subject.issuer, &subject.subject, owner]);
            }
            None => ask.texts(["", &question.address, ""]),
        }
        ask.texts([&*question.policy, &question.route, &question.method, &question.target]);
        match (&question.asked, members) {
            (Some(asked), _) => ask.add(asked),
            (None, Some(members)) => {
                let content = members.iter().filter(|(name, _)| CONTENT.contains(&&**name));
                content.for_each(|(name, value)| ask.texts([name, &*without_cache_control(value)]));
            }
            (None, None) => ask.add(body),
        }
        ask.finish()
    }

    /// What bind covers, by name, with values as far as they are short.
    fn parts(
        &self,
        question: &Question,
        body: &[u8],
        members: Option<&[Member<'_>]>,
    ) -> Vec<(String, String)> {
        let mut parts = vec![
            ("upstream".to_owned(), question.upstream.to_string()),
            ("credentials".to_owned(), question.secrets.join(", ")),
            ("policy".to_owned(), self.mark(&question.terms.digest)),
            ("route".to_owned(), self.mark(&question.route_digest)),
        ];
        for (name, value) in question.headers.iter().filter(|(name, _)| is_bound(name)) {
            let shown = rules::without_credential(name, value);
            parts.push((format!("header {}", name.to_ascii_lowercase()), self.short(&shown)));
        }
        match members {
            Some(members) => {
                let others = members.iter().filter(|(name, _)| name != "stream");
                let named = |(name, value): &Member<'_>| {
                    (format!("member {name}"), self.short(value.get().as_bytes()))
                };
                parts.extend(others.map(named));
            }
            None => parts.push(("body".to_owned(), self.mark(body))),
        }
        parts.truncate(PARTS_MAX);
        parts
    }

    /// A short value as it is, a long one by its mark.
    fn short(&self, value: &[u8]) -> String {
        match std::str::from_utf8(value) {
            Ok(text) if text.len() <= VALUE_BYTES_MAX => text.to_owned(),
            _ => format!("{} bytes, {}", value.len(), self.mark(value)),
        }
    }

    /// Eight digits that differ where the bytes do.
    fn mark(&self, bytes: &[u8]) -> String {
        let mut hasher = Hasher::new(self, "mark");
        hasher.add(bytes);
        hasher.finish()[..4].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}

/// Adds parts, each behind its length, so that no two can pass for one.
pub(super) struct Hasher(hmac::Context);

impl Hasher {
    pub(super) fn new(key: &Key, what: &str) -> Hasher {
        let mut hasher = Hasher(hmac::Context::with_key(&key.0));
        hasher.text(what);
        hasher
    }

    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.number(bytes.len());
        self.0.update(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.add(text.as_bytes());
    }

    pub(super) fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) {
        texts.into_iter().for_each(|text| self.text(text));
    }

    /// More of a part that says itself where it ends.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn number(&mut self, number: usize) {
        self.0.update(&(number as u64).to_le_bytes());
    }

    pub(super) fn finish(self) -> [u8; 32] {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.sign().as_ref());
        bytes
    }
}

/// Whether a verdict covers the field: all but those that differ between two sendings of one request, and
/// those that the gateway writes itself.
fn is_bound(name: &str) -> bool {
    const FREE: [&str; 22] = [
        "user-agent",
        "accept-encoding",
        "via",
        "forwarded",
        "traceparent",
        "tracestate",
        "baggage",
        "b3",
        "x-request-id",
        "request-id",
        "x-correlation-id",
        "x-client-request-id",
        "content-length",
        "transfer-encoding",
        "connection",
        "te",
        "expect",
        "date",
        "content-encoding",
        "content-md5",
        "digest",
        "content-digest",
    ];
    const FREE_PREFIXES: [&str; 6] =
        ["x-stainless-", "x-claude-code-", "x-forwarded-", "x-b3-", "x-ringward-", "x-datadog-"];
    let name = name.to_ascii_lowercase();
    !FREE.contains(&&*name) && !FREE_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// One member of the outermost object, its value as it was written.
type Member<'a> = (String, &'a RawValue);

/// The members of the JSON object `body` in their order, repeated ones too; `None` if it is something else.
fn members(body: &[u8]) -> Option<Vec<Member<'_>>> {
    struct Members;
    impl<'de> Visitor<'de> for Members {
        type Value = Vec<Member<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let members = reader.deserialize_map(Members).ok()?;
    reader.end().ok()?;
    Some(members)
}

/// The value without what only says how long an answer may be kept.
fn without_cache_control(value: &RawValue) -> String {
    fn strip(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(members) => {
                members.remove("cache_control");
                members.values_mut().for_each(strip);
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    match serde_json::from_str::<serde_json::Value>(value.get()) {
        Ok(mut parsed) => {
            strip(&mut parsed);
            parsed.to_string()
        }
        Err(_) => value.get().to_owned(),
    }
}
