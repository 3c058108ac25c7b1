//! A card: one held request, from the question to its end. It is kept as it stands here.

use super::{Digests, Question, Scope};
use crate::{
    audit::{self, CardEvent, ExchangeId, Subject},
    http::target,
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// One held request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// `apr_…`
    pub id: String,
    pub state: State,
    pub revision: u64,
    pub ask: [u8; 32],
    pub bind: [u8; 32],
    /// The named parts that bind is made of.
    pub parts: Vec<(String, String)>,
    /// What differs from the revision before.
    pub changes: Vec<Changed>,
    /// The request that asked last (`req_…`).
    pub exchange: String,
    pub who: Who,
    pub session: String,
    pub is_session_claimed: bool,
    /// Users of the processes that have asked, where they run on this host and that is known.
    #[serde(default)]
    pub uids: BTreeSet<u32>,
    pub route: String,
    pub upstream: String,
    /// Whether it is a language model's route, where a request may be sent again.
    pub is_llm: bool,
    pub method: String,
    pub target: String,
    pub body_bytes: u64,
    /// What people see of the body, masked, and how many bytes of it they do not see.
    pub excerpt: String,
    #[serde(default)]
    pub hidden_bytes: u64,
    /// Whether it is what is new in a conversation, not the beginning of the body.
    #[serde(default)]
    pub is_new: bool,
    pub secrets: Vec<String>,
    pub policy: String,
    pub place: String,
    pub reason: String,
    /// Digests of policy and route, for grants.
    pub rule: [u8; 32],
    pub route_digest: [u8; 32],
    /// Who may decide, how many must, and whether the caller's owner may.
    pub by: Vec<String>,
    pub approvals_min: u32,
    pub allow_self: bool,
    pub asked_us: u64,
    pub expires_us: u64,
    /// Since when no request waits for it.
    pub away_us: Option<u64>,
    pub voices: Vec<Voice>,
    /// For how long each of them said so.
    #[serde(default)]
    pub scopes: Vec<Scope>,
}

/// How far a card is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    Pending,
    Approved,
    Denied {
        by: String,
        reason: String,
        at_us: u64,
        frozen: bool,
    },
    Expired {
        at_us: u64,
    },
    Abandoned {
        at_us: u64,
    },
    /// Used for `exchange`; `end` says how that ended, once it has.
    Consumed {
        exchange: String,
        at_us: u64,
        first_us: u64,
        resends: u64,
        end: Option<End>,
    },
}

/// How the request of a consumed card ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    Complete,
    Incomplete,
    /// The gateway died meanwhile: nobody knows.
    Lost,
}

impl State {
    /// One word.
    pub fn as_str(&self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Approved => "approved",
            State::Denied { .. } => "denied",
            State::Expired { .. } => "expired",
            State::Abandoned { .. } => "abandoned",
            State::Consumed { .. } => "consumed",
        }
    }

    /// All words, in the order of the variants.
    pub const NAMES: [&'static str; 6] =
        ["pending", "approved", "denied", "expired", "abandoned", "consumed"];

    /// When it came to its end, if it has.
    pub fn ended_us(&self) -> Option<u64> {
        match self {
            State::Pending | State::Approved => None,
            State::Denied { at_us, .. } | State::Expired { at_us } | State::Abandoned { at_us } => {
                Some(*at_us)
            }
            State::Consumed { at_us, .. } => Some(*at_us),
        }
    }
}

/// One who said yes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Voice {
    pub by: String,
    pub at: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The human behind, where that is known: several yeses are of several people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

/// A named part that differs between two revisions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Changed {
    pub what: String,
    pub before: Option<String>,
    pub after: Option<String>,
}

/// The caller as it is kept; one without identity is its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// Empty without identity.
    pub issuer: String,
    pub subject: String,
    pub owner: Option<String>,
    pub groups: Vec<String>,
    pub purpose: Option<String>,
}

impl Who {
    /// Who asks.
    pub fn of(question: &Question) -> Who {
        let text = |value: &Option<Arc<str>>| value.as_deref().map(str::to_owned);
        match &question.subject {
            Some(subject) => Who {
                issuer: subject.issuer.to_string(),
                subject: subject.subject.to_string(),
                owner: text(&subject.owner),
                groups: subject.groups.iter().map(ToString::to_string).collect(),
                purpose: text(&subject.purpose),
            },
            None => Who { subject: format!("address {}", question.address), ..Who::default() },
        }
    }

    fn record(&self) -> Option<Arc<Subject>> {
        let text = |value: &Option<String>| value.as_deref().map(Into::into);
        (!self.issuer.is_empty()).then(|| {
            Arc::new(Subject {
                issuer: self.issuer.as_str().into(),
                subject: self.subject.as_str().into(),
                owner: text(&self.owner),
                groups: self.groups.iter().map(|group| group.as_str().into()).collect(),
                purpose: text(&self.purpose),
                token: None,
                token_id: None,
            })
        })
    }
}

/// Whether a request waits for the verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Client {
    Waiting,
    /// It is between two sendings, or gone.
    Away,
}

/// A card as approvers see it. What came from an agent is text and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CardView {
    pub id: String,
    /// `pending`, `approved`, `denied`, `expired`, `abandoned` or `consumed`.
    pub state: String,
    pub revision: u64,
    /// The caller, as a verified token says; nothing without identity.
    pub subject: Option<String>,
    pub issuer: Option<String>,
    pub owner: Option<String>,
    pub groups: Vec<String>,
    pub purpose: Option<String>,
    /// Address of a caller without identity.
    pub address: Option<String>,
    pub session: String,
    /// Whether only the client says so.
    pub session_claimed: bool,
    pub method: String,
    pub target: String,
    pub route: String,
    pub upstream: String,
    /// Which model is asked, where the request names one.
    pub model: Option<String>,
    pub body_bytes: u64,
    /// What is new in a conversation, what matched first, or the beginning of the body; masked.
    pub excerpt: String,
    /// Whether it is what is new.
    pub excerpt_is_new: bool,
    /// Bytes of what would go upstream that the excerpt does not show.
    pub hidden_bytes: u64,
    pub policy: String,
    pub reason: String,
    pub place: String,
    /// Names of the credentials that would be used.
    pub secrets: Vec<String>,
    pub changes: Vec<Changed>,
    pub by: Vec<String>,
    pub approvals: Vec<Voice>,
    pub approvals_min: u32,
    pub client: Client,
    /// The request that asked last, and the one that it was used for.
    pub request: String,
    pub used_by: Option<String>,
    /// RFC 3339.
    pub asked: String,
    pub expires: String,
    pub ended: Option<String>,
    /// Who said no, and why.
    pub denied_by: Option<String>,
    pub denied_reason: Option<String>,
    pub outcome: Option<String>,
}

impl Card {
    /// The card of a new question.
    pub(super) fn new(
        id: String,
        question: &Question,
        digests: &Digests,
        body_bytes: usize,
        now: Timestamp,
    ) -> Card {
        let text = |text: &Arc<str>| text.to_string();
        let terms = &question.terms;
        Card {
            id,
            state: State::Pending,
            revision: 1,
            ask: digests.ask,
            bind: digests.bind,
            parts: digests.parts.clone(),
            changes: Vec::new(),
            exchange: question.exchange.to_string(),
            who: Who::of(question),
            session: text(&question.session),
            is_session_claimed: question.is_session_claimed,
            uids: BTreeSet::new(),
            route: text(&question.route),
            upstream: text(&question.upstream),
            is_llm: question.protocol.is_llm(),
            method: question.method.clone(),
            target: target::without_credentials(&question.target).into_owned(),
            body_bytes: body_bytes as u64,
            excerpt: question.excerpt.text.clone(),
            hidden_bytes: question.excerpt.hidden_bytes,
            is_new: question.excerpt.is_new,
            secrets: question.secrets.iter().map(text).collect(),
            policy: text(&question.policy),
            place: text(&question.place),
            reason: text(&question.reason),
            rule: terms.digest,
            route_digest: question.route_digest,
            by: terms.by.clone(),
            approvals_min: terms.approvals_min,
            allow_self: terms.allow_self,
            asked_us: now.0,
            expires_us: now.0 + terms.timeout.as_micros() as u64,
            away_us: None,
            voices: Vec::new(),
            scopes: Vec::new(),
        }
    }

    /// The same question with other bytes: what was said so far does not hold.
    pub(super) fn revise(
        &mut self,
        question: &Question,
        digests: &Digests,
        body_bytes: usize,
        now: Timestamp,
    ) {
        let changes = difference(&self.parts, &digests.parts);
        let next = Card::new(self.id.clone(), question, digests, body_bytes, now);
        let (revision, asked_us, expires_us) = (self.revision + 1, self.asked_us, self.expires_us);
        let uids = std::mem::take(&mut self.uids);
        *self = Card { revision, asked_us, expires_us, changes, uids, ..next };
    }

    /// What the log says of it.
    pub(super) fn record(
        &self,
        event: CardEvent,
        author: Option<&str>,
        reason: Option<&str>,
        now: Timestamp,
    ) -> audit::Record {
        audit::Record::Approval(Box::new(audit::Approval {
            // It was printed by us.
            exchange: self.exchange.parse().unwrap_or_default(),
            at: now,
            approval: self.id.as_str().into(),
            event,
            revision: self.revision,
            author: author.map(Into::into),
            reason: reason.map(Into::into),
            subject: self.who.record(),
            route: self.route.as_str().into(),
            policy: self.policy.as_str().into(),
            place: self.place.as_str().into(),
            expires: Timestamp(self.expires_us),
            ask: self.ask,
            bind: self.bind,
            approvals_min: self.approvals_min.into(),
        }))
    }

    /// What the log says of its use for `exchange`.
    pub(super) fn consumption(&self, exchange: ExchangeId, resends: u64, now: Timestamp) -> audit::Record {
        audit::Record::Consume(Box::new(audit::Consume {
            exchange,
            at: now,
            approval: self.id.as_str().into(),
            revision: self.revision,
            bind: self.bind,
            authors: self.voices.iter().map(|voice| voice.by.as_str().into()).collect(),
            resends,
        }))
    }

    /// The model that a request to a language model names.
    fn model(&self) -> Option<String> {
        let (_, value) = self.parts.iter().find(|(name, _)| name == "member model")?;
        serde_json::from_str(value).ok()
    }

    /// As approvers see it.
    pub fn view(&self) -> CardView {
        let is_proven = !self.who.issuer.is_empty();
        let proven = |text: &String| is_proven.then(|| text.clone());
        let (mut denied_by, mut denied_reason, mut used_by, mut outcome) = (None, None, None, None);
        match &self.state {
            State::Denied { by, reason, .. } => {
                (denied_by, denied_reason) = (Some(by.clone()), Some(reason.clone()));
            }
            State::Consumed { exchange, end, .. } => {
                used_by = Some(exchange.clone());
                outcome = Some(outcome_words(*end).to_owned());
            }
            _ => {}
        }
        CardView {
            id: self.id.clone(),
            state: self.state.as_str().to_owned(),
            revision: self.revision,
            subject: proven(&self.who.subject),
            issuer: proven(&self.who.issuer),
            owner: self.who.owner.clone(),
            groups: self.who.groups.clone(),
            purpose: self.who.purpose.clone(),
            address: self.who.subject.strip_prefix("address ").filter(|_| !is_proven).map(str::to_owned),
            session: self.session.clone(),
            session_claimed: self.is_session_claimed,
            method: self.method.clone(),
            target: self.target.clone(),
            route: self.route.clone(),
            upstream: self.upstream.clone(),
            model: self.model(),
            body_bytes: self.body_bytes,
            excerpt: self.excerpt.clone(),
            excerpt_is_new: self.is_new,
            hidden_bytes: self.hidden_bytes,
            policy: self.policy.clone(),
            reason: self.reason.clone(),
            place: self.place.clone(),
            secrets: self.secrets.clone(),
            changes: self.changes.clone(),
            by: self.by.clone(),
            approvals: self.voices.clone(),
            approvals_min: self.approvals_min,
            client: if self.away_us.is_none() { Client::Waiting } else { Client::Away },
            request: self.exchange.clone(),
            used_by,
            asked: Timestamp(self.asked_us).to_string(),
            expires: Timestamp(self.expires_us).to_string(),
            ended: self.state.ended_us().map(|at| Timestamp(at).to_string()),
            denied_by,
            denied_reason,
            outcome,
        }
    }
}

/// How the request that used a card ended, for people.
pub(super) fn outcome_words(end: Option<End>) -> &'static str {
    match end {
        None => "it is being sent",
        Some(End::Complete) => "its answer was delivered whole",
        Some(End::Incomplete) => "it was sent and got no complete answer",
        Some(End::Lost) => "the gateway ended meanwhile: it may have been sent",
    }
}

/// Parts that are other, new or gone.
fn difference(before: &[(String, String)], after: &[(String, String)]) -> Vec<Changed> {
    let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
        (before.iter().cloned().collect(), after.iter().cloned().collect());
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let changed = names.into_iter().filter(|name| old.get(*name) != new.get(*name));
    changed
        .map(|name| Changed {
            what: name.clone(),
            before: old.get(name).cloned(),
            after: new.get(name).cloned(),
        })
        .collect()
}
