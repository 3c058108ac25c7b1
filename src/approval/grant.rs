//! Standing permissions, each opened by an approval.

use super::{Card, Question, card::Who};
use crate::{
    audit::{self, GrantEvent},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A permission for what one policy holds on one route, until it ends or is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// `gra_…`
    pub id: String,
    /// The approval that opened it.
    pub approval: String,
    pub issuer: String,
    /// Whom it is for; empty where it is for a group.
    pub subject: String,
    /// Everybody of this issuer's in the group; empty where it is for a subject.
    pub group: String,
    /// Of one session only, as the caller names it.
    pub session: Option<String>,
    pub route: String,
    pub policy: String,
    /// Digests of policy and route: a permission does not outlive what it was given for.
    pub rule: [u8; 32],
    pub route_digest: [u8; 32],
    pub opened_us: u64,
    pub expires_us: u64,
    pub uses: u64,
    pub uses_max: Option<u64>,
    /// Who opened it.
    pub by: Vec<String>,
}

/// A grant as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GrantView {
    pub id: String,
    pub approval: String,
    pub subject: Option<String>,
    pub group: Option<String>,
    pub session: Option<String>,
    pub route: String,
    pub policy: String,
    /// RFC 3339.
    pub opened: String,
    pub expires: String,
    pub uses: u64,
    pub uses_max: Option<u64>,
    pub by: Vec<String>,
}

impl Grant {
    /// Whether it lets `question` through.
    pub(super) fn covers(&self, question: &Question, now: Timestamp) -> bool {
        let who = Who::of(question);
        let is_for = if self.group.is_empty() {
            self.subject == who.subject
        } else {
            who.groups.contains(&self.group)
        };
        is_for
            && self.issuer == who.issuer
            && self.session.as_deref().is_none_or(|session| session == &*question.session)
            && (&*self.route, &*self.policy) == (&*question.route, &*question.policy)
            && (self.rule, self.route_digest) == (question.terms.digest, question.route_digest)
            && now.0 < self.expires_us
            && self.uses_max.is_none_or(|max| self.uses < max)
    }

    /// Whether it lets through what waits for `card`, as far as uses go.
    pub(super) fn is_about(&self, card: &Card) -> bool {
        let is_for = match self.group.is_empty() {
            true => self.subject == card.who.subject,
            false => card.who.groups.contains(&self.group),
        };
        is_for
            && self.issuer == card.who.issuer
            && self.session.as_ref().is_none_or(|session| *session == card.session)
            && (&self.route, &self.policy) == (&card.route, &card.policy)
            && (self.rule, self.route_digest) == (card.rule, card.route_digest)
    }

    /// What the log says of it.
    pub(super) fn record(&self, event: GrantEvent, author: &str, now: Timestamp) -> audit::Record {
        audit::Record::Grant(Box::new(audit::Grant {
            at: now,
            grant: self.id.as_str().into(),
            event,
            author: author.into(),
            approval: self.approval.as_str().into(),
            issuer: self.issuer.as_str().into(),
            subject: self.subject.as_str().into(),
            group: self.group.as_str().into(),
            session: self.session.as_deref().map(Into::into),
            route: self.route.as_str().into(),
            policy: self.policy.as_str().into(),
            expires: Timestamp(self.expires_us),
            reason: None,
        }))
    }

    /// As it is shown.
    pub fn view(&self) -> GrantView {
        let named = |name: &String| Some(name.clone()).filter(|name| !name.is_empty());
        GrantView {
            id: self.id.clone(),
            approval: self.approval.clone(),
            subject: named(&self.subject),
            group: named(&self.group),
            session: self.session.clone(),
            route: self.route.clone(),
            policy: self.policy.clone(),
            opened: Timestamp(self.opened_us).to_string(),
            expires: Timestamp(self.expires_us).to_string(),
            uses: self.uses,
            uses_max: self.uses_max,
            by: self.by.clone(),
        }
    }
}
