//! Who is told, of what, and how a notice looks there.

use super::{Letter, Notice, NoticeKind, signature::SigningKey, slack};
use crate::{
    secrets::{Endpoint, SecretSlot},
    time::Timestamp,
};
use std::sync::Arc;
use zeroize::Zeroizing;

/// Where notices go.
#[derive(Debug)]
pub struct Target {
    pub name: Arc<str>,
    pub kind: TargetKind,
    pub address: Address,
    /// Of what; `None`: all.
    pub events: Option<Vec<NoticeKind>>,
    /// Of which routes; `None`: all.
    pub routes: Option<Vec<Arc<str>>>,
    /// The authorities of its certificate in PEM; `None`: the system's.
    pub roots: Option<Arc<[u8]>>,
}

/// What a target understands.
#[derive(Debug)]
pub enum TargetKind {
    /// Signed JSON (standardwebhooks.com).
    Webhook(Keys),
    /// An incoming webhook of Slack's.
    Slack,
}

/// What signs for a target: several while a key is replaced by another.
#[derive(Debug)]
pub struct Keys(pub Vec<Arc<SecretSlot>>);

/// Where a target is.
#[derive(Debug)]
pub enum Address {
    Plain(Endpoint),
    /// Whoever knows it may send there.
    Secret(Arc<SecretSlot>),
}

/// Why nothing can be sent to a target; the operator is at fault. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsendable {
    #[error("the secret `{0}` has no value")]
    NoValue(Arc<str>),
    #[error("the secret `{0}` is no signing key: it is no `whsec_` with the base64 of 24 to 64 bytes")]
    NoKey(Arc<str>),
    #[error("the secret `{0}` is no https address")]
    NoAddress(Arc<str>),
}

/// A request as it is sent. It is not printed: the address may be a secret.
pub struct Rendered {
    pub url: Zeroizing<String>,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Target {
    /// Whether it is told of this.
    pub fn wants(&self, notice: &Notice) -> bool {
        let of_route = |route: &String| {
            self.routes.as_ref().is_none_or(|routes| routes.iter().any(|name| **name == **route))
        };
        self.events.as_ref().is_none_or(|events| events.contains(&notice.kind))
            // What concerns all routes concerns each.
            && notice.data.route.as_ref().is_none_or(of_route)
    }

    /// Whether its secrets are what they must be.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn check(&self) -> Result<(), Unsendable> {
        self.url()?;
        match &self.kind {
            TargetKind::Webhook(keys) => keys.parse().map(|_| ()),
            TargetKind::Slack => Ok(()),
        }
    }

    /// `letter` as it is sent `at`.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn render(&self, letter: &Letter, at: Timestamp) -> Result<Rendered, Unsendable> {
        let mut headers = vec![("content-type", "application/json".to_owned())];
        let body = match &self.kind {
            TargetKind::Webhook(_) => serde_json::to_vec(&letter.notice),
            TargetKind::Slack => serde_json::to_vec(&slack::message(&letter.notice)),
        };
        // A value with text keys always serialises.
        let body = body.unwrap_or_default();
        if let TargetKind::Webhook(keys) = &self.kind {
            let seconds = at.unix_seconds();
            let signatures: Vec<String> =
                keys.parse()?.iter().map(|key| key.sign(&letter.id, seconds, &body)).collect();
            headers.push(("webhook-id", letter.id.clone()));
            headers.push(("webhook-timestamp", seconds.to_string()));
            headers.push(("webhook-signature", signatures.join(" ")));
        }
        Ok(Rendered { url: self.url()?, headers, body })
    }

    /// Scheme, host and port for people; of a secret address its name.
    pub fn place(&self) -> String {
        match &self.address {
            Address::Secret(slot) => format!("${{secret:{}}}", slot.name()),
            Address::Plain(endpoint) => origin(endpoint.as_str()).to_owned(),
        }
    }

    /// Its whole address, which may be a secret.
    ///
    /// # Errors
    /// [`Unsendable`].
    pub fn url(&self) -> Result<Zeroizing<String>, Unsendable> {
        let slot = match &self.address {
            Address::Plain(endpoint) => return Ok(Zeroizing::new(endpoint.as_str().to_owned())),
            Address::Secret(slot) => slot,
        };
        let value = slot.value().ok_or_else(|| Unsendable::NoValue(slot.name().clone()))?;
        let text = std::str::from_utf8(value.expose()).ok();
        let endpoint = text.and_then(|text| Endpoint::parse(text).ok());
        let endpoint = endpoint.ok_or_else(|| Unsendable::NoAddress(slot.name().clone()))?;
        Ok(Zeroizing::new(endpoint.as_str().to_owned()))
    }
}

impl Keys {
    fn parse(&self) -> Result<Vec<SigningKey>, Unsendable> {
        let parse = |slot: &Arc<SecretSlot>| {
            let value = slot.value().ok_or_else(|| Unsendable::NoValue(slot.name().clone()))?;
            SigningKey::parse(value.expose()).map_err(|_| Unsendable::NoKey(slot.name().clone()))
        };
        self.0.iter().map(parse).collect()
    }
}

/// An URL up to its path.
fn origin(url: &str) -> &str {
    let path = url.find("://").and_then(|at| Some(at + 3 + url.get(at + 3..)?.find(['/', '?'])?));
    path.map_or(url, |path| &url[..path])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        approval::NoticeData,
        secrets::{Scrub, SecretSpec, SecretValue, Source},
    };

    fn slot(name: &str, value: &str) -> Arc<SecretSlot> {
        let spec = SecretSpec::new(name, Source::env("X").unwrap(), None, Scrub::On).unwrap();
        let slot = SecretSlot::new(spec);
        slot.publish(SecretValue::new(value.as_bytes().to_vec(), Scrub::On).unwrap(), Timestamp(1));
        Arc::new(slot)
    }

    fn webhook(keys: Vec<Arc<SecretSlot>>) -> Target {
        Target {
            name: "pager".into(),
            kind: TargetKind::Webhook(Keys(keys)),
            address: Address::Plain(Endpoint::parse("https://hooks.example.com/a?b=c").unwrap()),
            events: None,
            routes: None,
            roots: None,
        }
    }

    fn letter() -> Letter {
        let notice = Notice::test("local:0", Timestamp(1_614_265_330_000_000));
        Letter { id: "msg_1".into(), target: "pager".into(), at_us: 1, notice }
    }

    #[test]
    fn while_a_key_is_replaced_both_sign() {
        let keys = ["MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];
        let slots = keys.map(|key| slot("key", &format!("whsec_{key}")));
        let target = webhook(slots.to_vec());
        let rendered = target.render(&letter(), Timestamp(1_614_265_330_000_000)).unwrap();
        let field = |name: &str| &rendered.headers.iter().find(|(own, _)| *own == name).unwrap().1;
        assert_eq!(
            (field("webhook-id").as_str(), field("webhook-timestamp").as_str()),
            ("msg_1", "1614265330")
        );
        let expected = keys.map(|key| {
            let key = SigningKey::parse(format!("whsec_{key}").as_bytes()).unwrap();
            key.sign("msg_1", 1_614_265_330, &rendered.body)
        });
        assert_eq!(*field("webhook-signature"), expected.join(" "));
        assert_eq!(target.place(), "https://hooks.example.com");
    }

    #[test]
    fn what_is_no_key_and_no_address_is_said_without_it() {
        let wrong = webhook(vec![slot("hook-key", "not-a-key-at-all")]);
        let why = wrong.check().unwrap_err().to_string();
        assert!(why.contains("`hook-key`") && !why.contains("not-a-key"), "{why}");
        let mut lost = webhook(vec![]);
        lost.kind = TargetKind::Slack;
        lost.address = Address::Secret(slot("slack", "http://hooks.example.com/T/B/x"));
        assert_eq!(lost.check(), Err(Unsendable::NoAddress("slack".into())));
        assert_eq!(lost.place(), "${secret:slack}");
    }

    #[test]
    fn a_target_hears_of_what_it_asks_for() {
        let notice = |kind, route: Option<&str>| Notice {
            kind,
            timestamp: String::new(),
            data: NoticeData { route: route.map(str::to_owned), ..NoticeData::default() },
        };
        let mut target = webhook(vec![]);
        target.events = Some(vec![NoticeKind::FreezeCreated, NoticeKind::ApprovalRequested]);
        target.routes = Some(vec!["claude".into()]);
        assert!(target.wants(&notice(NoticeKind::ApprovalRequested, Some("claude"))));
        assert!(!target.wants(&notice(NoticeKind::ApprovalRequested, Some("other"))));
        assert!(!target.wants(&notice(NoticeKind::ApprovalExpired, Some("claude"))));
        assert!(target.wants(&notice(NoticeKind::FreezeCreated, None)), "a freeze of everything");
    }
}
