//! APPROVAL, CONSUME and GRANT: what people decided about requests that a policy held.

use super::{
    ExchangeId,
    payload::read_id,
    record::Subject,
    wire::{DecodeError, Fields, Reader, Writer, array, choice, present, text, time},
};
use crate::time::Timestamp;
use std::sync::Arc;

/// APPROVAL: something happened to a card, which stands for a request that a policy held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval {
    /// The request that asked, or the one that asked last.
    pub exchange: ExchangeId,
    pub at: Timestamp,
    /// `apr_…`
    pub approval: Arc<str>,
    pub event: CardEvent,
    /// How often what is to be sent has changed, from 1.
    pub revision: u64,
    /// Who decided: `local:UID` or `token:NAME`; `None` where nobody did.
    pub author: Option<Arc<str>>,
    /// The approver's reason, or why the gateway did it.
    pub reason: Option<Arc<str>>,
    pub subject: Option<Arc<Subject>>,
    pub route: Arc<str>,
    pub policy: Arc<str>,
    /// Where the policy stands, such as `ringward.toml:58`.
    pub place: Arc<str>,
    /// When it ends without a verdict.
    pub expires: Timestamp,
    /// HMAC of what finds the card again, and of all that the verdict covers.
    pub ask: [u8; 32],
    pub bind: [u8; 32],
    /// How many must say yes.
    pub approvals_min: u64,
}

/// What happened to a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum CardEvent {
    /// A request waits for people.
    Asked = 1,
    /// It came again with other bytes: what was said of the former ones does not hold.
    Revised = 2,
    /// Somebody said yes.
    Approved = 3,
    /// Somebody said no, or a freeze did.
    Denied = 4,
    /// Nobody decided in time.
    Expired = 5,
    /// The caller went away and did not come back.
    Abandoned = 6,
    /// What was used did not go upstream, so that it may be used again.
    Restored = 7,
}

const EVENTS: [(u8, CardEvent); 7] = [
    (1, CardEvent::Asked),
    (2, CardEvent::Revised),
    (3, CardEvent::Approved),
    (4, CardEvent::Denied),
    (5, CardEvent::Expired),
    (6, CardEvent::Abandoned),
    (7, CardEvent::Restored),
];

impl CardEvent {
    /// One word, as it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            CardEvent::Asked => "asked",
            CardEvent::Revised => "revised",
            CardEvent::Approved => "approved",
            CardEvent::Denied => "denied",
            CardEvent::Expired => "expired",
            CardEvent::Abandoned => "abandoned",
            CardEvent::Restored => "restored",
        }
    }
}

/// CONSUME: an approval or a grant is used for one request, which may go upstream only then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consume {
    pub exchange: ExchangeId,
    pub at: Timestamp,
    /// `apr_…`, or `gra_…` where a grant allows it.
    pub approval: Arc<str>,
    pub revision: u64,
    pub bind: [u8; 32],
    /// Who said yes, in order.
    pub authors: Vec<Arc<str>>,
    /// How often it was sent before without a complete answer (LLM routes).
    pub resends: u64,
}

/// GRANT: a standing permission was opened or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub at: Timestamp,
    /// `gra_…`
    pub grant: Arc<str>,
    pub event: GrantEvent,
    /// Who did it.
    pub author: Arc<str>,
    /// The approval that opened it.
    pub approval: Arc<str>,
    /// For whom: an issuer's subject, or a group.
    pub issuer: Arc<str>,
    pub subject: Arc<str>,
    pub group: Arc<str>,
    /// Of one session only, as the caller names it.
    pub session: Option<Arc<str>>,
    pub route: Arc<str>,
    pub policy: Arc<str>,
    pub expires: Timestamp,
    pub reason: Option<Arc<str>>,
}

/// What happened to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum GrantEvent {
    Opened = 1,
    Revoked = 2,
}

const GRANT_EVENTS: [(u8, GrantEvent); 2] = [(1, GrantEvent::Opened), (2, GrantEvent::Revoked)];

impl Fields for Approval {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, &self.exchange.0);
        out.time(2, self.at);
        out.text(3, &self.approval);
        out.bytes(4, &[self.event as u8]);
        out.number(5, self.revision);
        out.optional(6, &self.author);
        out.optional(7, &self.reason);
        out.part(8, self.subject.as_deref());
        out.text(9, &self.route);
        out.text(10, &self.policy);
        out.text(11, &self.place);
        out.time(12, self.expires);
        out.bytes(13, &self.ask);
        out.bytes(14, &self.bind);
        out.number(15, self.approvals_min);
    }

    fn read(bytes: &[u8]) -> Result<Approval, DecodeError> {
        let empty = || Arc::<str>::from("");
        let mut approval = Approval {
            exchange: read_id(bytes)?,
            at: Timestamp(0),
            approval: empty(),
            event: CardEvent::Asked,
            revision: 0,
            author: None,
            reason: None,
            subject: None,
            route: empty(),
            policy: empty(),
            place: empty(),
            expires: Timestamp(0),
            ask: [0; 32],
            bind: [0; 32],
            approvals_min: 0,
        };
        let mut event = None;
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => {}
                2 => approval.at = time(tag, value)?,
                3 => approval.approval = text(tag, value)?.into(),
                4 => event = Some(choice(tag, value, &EVENTS)?),
                5 => approval.revision = present(tag, value)?,
                6 => approval.author = Some(text(tag, value)?.into()),
                7 => approval.reason = Some(text(tag, value)?.into()),
                8 => approval.subject = Some(Arc::new(Subject::read(value)?)),
                9 => approval.route = text(tag, value)?.into(),
                10 => approval.policy = text(tag, value)?.into(),
                11 => approval.place = text(tag, value)?.into(),
                12 => approval.expires = time(tag, value)?,
                13 => approval.ask = array(tag, value)?,
                14 => approval.bind = array(tag, value)?,
                15 => approval.approvals_min = present(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        approval.event = event.ok_or(DecodeError::Missing(4))?;
        Ok(approval)
    }
}

impl Fields for Consume {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, &self.exchange.0);
        out.time(2, self.at);
        out.text(3, &self.approval);
        out.number(4, self.revision);
        out.bytes(5, &self.bind);
        out.texts(6, &self.authors);
        out.number(7, self.resends);
    }

    fn read(bytes: &[u8]) -> Result<Consume, DecodeError> {
        let (exchange, authors) = (read_id(bytes)?, Vec::new());
        let (at, approval) = (Timestamp(0), "".into());
        let mut consume = Consume { exchange, at, approval, revision: 0, bind: [0; 32], authors, resends: 0 };
        let mut fields = Reader::new(bytes, &[6]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => {}
                2 => consume.at = time(tag, value)?,
                3 => consume.approval = text(tag, value)?.into(),
                4 => consume.revision = present(tag, value)?,
                5 => consume.bind = array(tag, value)?,
                6 => consume.authors.push(text(tag, value)?.into()),
                7 => consume.resends = present(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(consume)
    }
}

impl Fields for Grant {
    fn write(&self, out: &mut Writer<'_>) {
        out.time(1, self.at);
        out.text(2, &self.grant);
        out.bytes(3, &[self.event as u8]);
        out.text(4, &self.author);
        out.text(5, &self.approval);
        out.text(6, &self.issuer);
        out.text(7, &self.subject);
        out.text(8, &self.group);
        out.optional(9, &self.session);
        out.text(10, &self.route);
        out.text(11, &self.policy);
        out.time(12, self.expires);
        out.optional(13, &self.reason);
    }

    fn read(bytes: &[u8]) -> Result<Grant, DecodeError> {
        let empty = || Arc::<str>::from("");
        let mut grant = Grant {
            at: Timestamp(0),
            grant: empty(),
            event: GrantEvent::Opened,
            author: empty(),
            approval: empty(),
            issuer: empty(),
            subject: empty(),
            group: empty(),
            session: None,
            route: empty(),
            policy: empty(),
            expires: Timestamp(0),
            reason: None,
        };
        let mut event = None;
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => grant.at = time(tag, value)?,
                2 => grant.grant = text(tag, value)?.into(),
                3 => event = Some(choice(tag, value, &GRANT_EVENTS)?),
                4 => grant.author = text(tag, value)?.into(),
                5 => grant.approval = text(tag, value)?.into(),
                6 => grant.issuer = text(tag, value)?.into(),
                7 => grant.subject = text(tag, value)?.into(),
                8 => grant.group = text(tag, value)?.into(),
                9 => grant.session = Some(text(tag, value)?.into()),
                10 => grant.route = text(tag, value)?.into(),
                11 => grant.policy = text(tag, value)?.into(),
                12 => grant.expires = time(tag, value)?,
                13 => grant.reason = Some(text(tag, value)?.into()),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        grant.event = event.ok_or(DecodeError::Missing(3))?;
        Ok(grant)
    }
}
