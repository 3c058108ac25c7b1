//! What an exchange asks, and what it is told.

use crate::{
    audit::{ExchangeId, Subject},
    buffer::Segments,
    http::Headers,
    policy::ApprovalTerms,
    protocol::Protocol,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, sync::Arc, time::Duration};

/// A request that a policy holds. Its body is whole.
#[derive(Debug)]
pub struct Question {
    pub exchange: ExchangeId,
    /// Of the configuration that it was decided by.
    pub generation: u64,
    pub subject: Option<Arc<Subject>>,
    /// When its token is not good any more.
    pub token_ends: Option<Timestamp>,
    pub peer: SocketAddr,
    /// Our end of the connection of `peer`; `None` where that is not its own.
    pub local: Option<SocketAddr>,
    /// The address of `peer`: the name of callers without identity.
    pub address: Arc<str>,
    pub session: Arc<str>,
    /// Whether the client named the session itself.
    pub is_session_claimed: bool,
    pub route: Arc<str>,
    pub upstream: Arc<str>,
    pub protocol: Protocol,
    pub method: String,
    pub target: String,
    /// As they go upstream, without credentials.
    pub headers: Headers,
    /// Names of what is injected.
    pub secrets: Vec<Arc<str>>,
    pub policy: Arc<str>,
    /// Where the policy stands, such as `ringward.toml:58`.
    pub place: Arc<str>,
    /// Why it is held.
    pub reason: Arc<str>,
    pub terms: Arc<ApprovalTerms>,
    /// Digest of the route, its upstream and its masks, as they are configured.
    pub route_digest: [u8; 32],
    /// How long the caller is kept without an answer.
    pub slice: Duration,
    /// Of what is new in a conversation: it finds the card in place of the body.
    pub asked: Option<[u8; 32]>,
    /// What people see of the body, masked.
    pub excerpt: Excerpt,
    /// The body as it arrived, decoded.
    pub body: Segments,
}

/// What people see of a held body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excerpt {
    /// As it would go upstream.
    pub text: String,
    /// Bytes of what would go upstream that are not shown.
    pub hidden_bytes: u64,
    /// Whether it is what is new in a conversation, and not the beginning of the body.
    pub is_new: bool,
}

/// The place of a waiting exchange: its shard, and its ticket there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seat {
    pub shard: usize,
    pub ticket: u64,
}

/// What a waiting exchange is told.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// It may go upstream, once: that is recorded.
    Approved {
        approval: Arc<str>,
    },
    /// Nobody has decided yet: the caller asks again. Empty where there is no approval yet.
    Pending {
        approval: Arc<str>,
    },
    Denied {
        approval: Arc<str>,
        reason: Arc<str>,
    },
    Expired {
        approval: Arc<str>,
    },
    /// It was used; how that ended.
    Consumed {
        approval: Arc<str>,
        outcome: Arc<str>,
    },
    /// An operator has stopped this caller, session or route.
    Frozen {
        reason: Arc<str>,
    },
    /// Too many wait.
    Overflow {
        detail: Arc<str>,
    },
    /// The token ended while it waited; what was decided stays.
    TokenExpired,
    /// It cannot be kept or recorded.
    Unavailable {
        detail: Arc<str>,
    },
}

/// How a request that was let through ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// No byte of it went upstream.
    Unsent,
    /// It was sent, and no complete answer was delivered.
    Incomplete,
    /// Its answer was delivered whole.
    Complete,
}
