//! What people elsewhere are told of: that a request waits, how it was decided, what was granted or stopped.
//!
//! Nothing in a notice was written by a caller: names that its issuer and the configuration give, what
//! operators said, times, and a link. It is made here and rendered by its [`Target`]; it is sent by
//! `background`, and kept by `app` until it has arrived. Start at [`Notice::of`].

mod retry;
mod signature;
mod slack;
mod target;

pub use retry::{pause_after, wait_asked_for};
pub use signature::{MalformedKey, SigningKey};
pub use target::{Address, Keys, Rendered, Target, TargetKind, Unsendable};

use super::{Card, Freeze, State, Whom};
use crate::{
    audit::{CardEvent, GrantEvent, Record},
    time::Timestamp,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum NoticeKind {
    /// A request waits for people.
    #[serde(rename = "approval.requested")]
    ApprovalRequested,
    /// Enough people have said yes, or somebody has said no, or a freeze did.
    #[serde(rename = "approval.decided")]
    ApprovalDecided,
    /// Nobody decided in time, or the caller went away before.
    #[serde(rename = "approval.expired")]
    ApprovalExpired,
    /// An approval lets further requests pass for a while.
    #[serde(rename = "grant.created")]
    GrantCreated,
    /// Somebody took a grant away, or a freeze did.
    #[serde(rename = "grant.revoked")]
    GrantRevoked,
    /// Somebody stopped a caller, a session, a route or everything.
    #[serde(rename = "freeze.created")]
    FreezeCreated,
    /// Somebody let it go on.
    #[serde(rename = "freeze.removed")]
    FreezeRemoved,
    /// Somebody tries whether notices arrive: nothing has happened. It comes whatever is asked for.
    #[serde(rename = "notify.test")]
    Test,
}

impl NoticeKind {
    /// Its name, as it is sent and configured.
    pub fn as_str(self) -> &'static str {
        match self {
            NoticeKind::ApprovalRequested => "approval.requested",
            NoticeKind::ApprovalDecided => "approval.decided",
            NoticeKind::ApprovalExpired => "approval.expired",
            NoticeKind::GrantCreated => "grant.created",
            NoticeKind::GrantRevoked => "grant.revoked",
            NoticeKind::FreezeCreated => "freeze.created",
            NoticeKind::FreezeRemoved => "freeze.removed",
            NoticeKind::Test => "notify.test",
        }
    }
}

/// The body of a webhook.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Notice {
    /// What happened.
    #[serde(rename = "type")]
    pub kind: NoticeKind,
    /// When it happened: RFC 3339, in UTC.
    pub timestamp: String,
    pub data: NoticeData,
}

/// What a notice says. What does not apply is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NoticeData {
    /// The held request: `apr_…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<String>,
    /// `pending`, `approved`, `denied`, `frozen`, `expired` or `abandoned`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// `gra_…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    /// `frz_…`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub freeze: Option<String>,
    /// Who asks, or whom a grant or a freeze is for: as its token names it, or its address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The group that a grant is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Of a grant: `session` or `period`. Of a freeze: `subject`, `session`, `route` or `all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// Why: of the policy where a request waits, else of whoever decided or stopped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Who did it, such as `local:1000` or `user:sam`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// When a request is refused without a decision, or a grant ends: RFC 3339, in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
    /// Where it can be seen and decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

impl Notice {
    /// What is to be told of a record; `card`: the one that it is about, as it is now.
    pub fn of(record: &Record, card: Option<&Card>) -> Option<Notice> {
        match record {
            Record::Approval(_) => Notice::of_card(record, card?),
            Record::Grant(grant) => {
                let kind = match grant.event {
                    GrantEvent::Opened => NoticeKind::GrantCreated,
                    GrantEvent::Revoked => NoticeKind::GrantRevoked,
                };
                let scope = if grant.session.is_some() { "session" } else { "period" };
                let data = NoticeData {
                    grant: some(&grant.grant),
                    approval: some(&grant.approval),
                    subject: some(&grant.subject),
                    group: some(&grant.group),
                    scope: some(scope),
                    route: some(&grant.route),
                    policy: some(&grant.policy),
                    reason: grant.reason.as_deref().and_then(some),
                    by: some(&grant.author),
                    expires: Some(grant.expires.to_string()),
                    ..NoticeData::default()
                };
                Some(Notice::at(grant.at, kind, data))
            }
            _ => None,
        }
    }

    fn of_card(record: &Record, card: &Card) -> Option<Notice> {
        let Record::Approval(approval) = record else { return None };
        let is_frozen = matches!(card.state, State::Denied { frozen: true, .. });
        let (kind, state) = match approval.event {
            CardEvent::Asked => (NoticeKind::ApprovalRequested, "pending"),
            // One yes of several is no decision yet.
            CardEvent::Approved if card.state == State::Pending => return None,
            CardEvent::Approved => (NoticeKind::ApprovalDecided, "approved"),
            CardEvent::Denied if is_frozen => (NoticeKind::ApprovalDecided, "frozen"),
            CardEvent::Denied => (NoticeKind::ApprovalDecided, "denied"),
            CardEvent::Expired => (NoticeKind::ApprovalExpired, "expired"),
            CardEvent::Abandoned => (NoticeKind::ApprovalExpired, "abandoned"),
            CardEvent::Revised | CardEvent::Restored => return None,
        };
        let expires = (kind == NoticeKind::ApprovalRequested).then(|| approval.expires.to_string());
        let data = NoticeData {
            approval: some(&card.id),
            state: some(state),
            subject: some(&card.who.subject),
            route: some(&card.route),
            policy: some(&card.policy),
            reason: approval.reason.as_deref().and_then(some),
            by: approval.author.as_deref().and_then(some),
            expires,
            ..NoticeData::default()
        };
        Some(Notice::at(approval.at, kind, data))
    }

    /// A stop that was ordered, or taken away by `by`.
    pub fn of_freeze(kind: NoticeKind, freeze: &Freeze, by: &str, now: Timestamp) -> Notice {
        let (scope, subject, route) = match &freeze.whom {
            Whom::Subject(name) => ("subject", some(name), None),
            // A client names its session itself.
            Whom::Session(_) => ("session", None, None),
            Whom::Route(name) => ("route", None, some(name)),
            Whom::All => ("all", None, None),
        };
        let data = NoticeData {
            freeze: some(&freeze.id),
            scope: some(scope),
            subject,
            route,
            reason: some(&freeze.reason),
            by: some(by),
            ..NoticeData::default()
        };
        Notice::at(now, kind, data)
    }

    /// One that tries whether notices arrive.
    pub fn test(by: &str, now: Timestamp) -> Notice {
        Notice::at(now, NoticeKind::Test, NoticeData { by: some(by), ..NoticeData::default() })
    }

    /// The same with a link below `base`, the address of the interface for people.
    pub fn linked(mut self, base: &str) -> Notice {
        let page = match (&self.data.approval, &self.data.grant, &self.data.freeze) {
            (Some(id), None, _) => format!("ui/approvals/{id}"),
            _ => "ui/approvals".to_owned(),
        };
        self.data.link = Some(format!("{base}/{page}"));
        self
    }

    fn at(at: Timestamp, kind: NoticeKind, data: NoticeData) -> Notice {
        Notice { kind, timestamp: at.to_string(), data }
    }
}

fn some(text: impl AsRef<str>) -> Option<String> {
    Some(text.as_ref().to_owned()).filter(|text| !text.is_empty())
}

/// A notice on its way to one target. It is kept until it has arrived there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// `msg_…`: the same with each try, so that who gets it twice knows.
    pub id: String,
    /// Name of the target.
    pub target: String,
    /// When it was written.
    pub at_us: u64,
    pub notice: Notice,
}
