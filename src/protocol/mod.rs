//! What an upstream speaks: `http`, `anthropic`, `openai` or `mcp`.
//!
//! Here are the replies that the gateway makes itself in each protocol's own shape, the paths that a protocol
//! allows by default, and what a request's headers say about the client. It does not decide anything and
//! does not parse bodies for policy: `policy` and `inspect` do. Start at [`Code`], the one table of refusals,
//! and [`render`], which turns a [`Refusal`] into a [`Reply`].

mod carried;
mod client;
mod code;
mod dialect;
mod mcp;
mod refusal;
mod shape;
mod surface;

pub use carried::{Carried, Said, Voice, answer, question};
pub use client::{ClientHint, client_hint, session_id};
pub use code::{Code, Verdict};
pub use dialect::dialect;
pub use mcp::tools_call_id;
pub use refusal::{DenyStatus, Refusal, Reply, render, stream_error};
pub use surface::{allows_by_default, usual_path};

use std::fmt;
use std::str::FromStr;

/// The protocol of an upstream, as its table in the config names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Any HTTP API; nothing is known of its bodies.
    Http,
    /// The Anthropic Messages API.
    Anthropic,
    /// An API that follows OpenAI's chat completions and responses.
    OpenAi,
    /// The Model Context Protocol over streamable HTTP.
    Mcp,
}

/// A protocol name that is none of [`Protocol::NAMES`]; the config is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol; known are http, anthropic, openai and mcp")]
pub struct UnknownProtocol;

impl Protocol {
    /// The names that [`Protocol::from_str`] takes, in the order of the variants.
    pub const NAMES: [&'static str; 4] = ["http", "anthropic", "openai", "mcp"];

    /// Its name in config, records and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Anthropic => "anthropic",
            Protocol::OpenAi => "openai",
            Protocol::Mcp => "mcp",
        }
    }

    /// Whether every request body of this protocol is one JSON document.
    pub fn speaks_json(self) -> bool {
        self != Protocol::Http
    }

    /// Whether this is a language model's API, where conversations are sent again and again.
    pub fn is_llm(self) -> bool {
        matches!(self, Protocol::Anthropic | Protocol::OpenAi)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(name: &str) -> Result<Protocol, UnknownProtocol> {
        match name {
            "http" => Ok(Protocol::Http),
            "anthropic" => Ok(Protocol::Anthropic),
            "openai" => Ok(Protocol::OpenAi),
            "mcp" => Ok(Protocol::Mcp),
            _ => Err(UnknownProtocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_protocols_are_each_others_inverse() {
        for name in Protocol::NAMES {
            assert_eq!(name.parse::<Protocol>().map(Protocol::as_str), Ok(name));
        }
        assert_eq!("grpc".parse::<Protocol>(), Err(UnknownProtocol));
    }
}
