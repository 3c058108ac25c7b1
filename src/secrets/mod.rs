//! Secrets as values: where they come from, how they become a header, and what a lease is.
//!
//! Pure. Nothing here opens a file, runs a command or speaks to a token endpoint: `background` does, and
//! publishes what it got into the [`SecretSlot`]s, which the shards read. Neither does this module search
//! upstream answers for echoed secrets; `inspect` does, with the values it is given.
//!
//! Start at [`Slots`] (all secrets of one configuration), then [`Injection`] (a header made of them). No type
//! and no error of this module shows a value: `Debug` and `Display` name secrets, nothing more.

mod injection;
mod lease;
#[cfg(test)]
pub mod samples;
mod slot;
mod source;
mod template;
mod value;

pub use injection::{Injection, strip_credentials};
pub use lease::{ClientAuth, Endpoint, Lease, LeaseFacts, LeaseKind, LeaseSource, SubjectTokenType};
pub use slot::{Health, SecretSlot, Slots};
pub use source::{Scrub, SecretSpec, Source, check_name};
pub use template::{Echoes, Template, basic};
pub use value::SecretValue;

use crate::limits;
use std::sync::Arc;

/// Why a secret, a template or a lease source was refused. The operator is at fault in every case but those
/// of a value, where it is whoever provides the value. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value that the echo scrub could not tell from ordinary text (SECURITY R19).
    #[error(
        "the value has {len} bytes; at least {} are needed, or `scrub = false`",
        limits::SECRET_BYTES_MIN
    )]
    TooShort {
        /// Bytes that it has.
        len: usize,
    },
    /// A value beyond [`limits::SECRET_BYTES_MAX`].
    #[error("the value has more than {} bytes", limits::SECRET_BYTES_MAX)]
    TooLong,
    /// A value that would break out of a header line (SECURITY R18, RFC 9110 section 5.5).
    #[error("the value holds a control character (such as CR, LF or NUL) at byte {offset}")]
    ControlCharacter {
        /// Where it is.
        offset: usize,
    },
    /// A name that is not 1 to 64 letters, digits, `_`, `-` or `.`.
    #[error("a secret's name has 1 to 64 letters, digits, `_`, `-` or `.`")]
    Name,
    /// Two secrets of one name.
    #[error("the secret `{0}` is defined twice")]
    Duplicate(Arc<str>),
    /// A source that cannot work, whatever the host looks like.
    #[error("{0}")]
    Source(&'static str),
    /// A `${` without its `}`.
    #[error("`${{` at byte {offset} is not closed")]
    Unclosed {
        /// Where it begins in the template.
        offset: usize,
    },
    /// A `${…}` that is not `${secret:NAME}`.
    #[error("`${{…}}` at byte {offset} is not `${{secret:NAME}}`")]
    Placeholder {
        /// Where it begins in the template.
        offset: usize,
    },
    /// A byte that a header value may not hold (RFC 9110 section 5.5).
    #[error("byte {offset} of the template may not stand in a header value")]
    Literal {
        /// Where it is in the template.
        offset: usize,
    },
    /// A template of literal text only: a credential in clear, or a header that is no credential.
    #[error("the template names no secret: write `${{secret:NAME}}`")]
    NoSecret,
    /// A template beyond [`limits::SECRET_TEMPLATE_BYTES_MAX`].
    #[error("the template has more than {} bytes", limits::SECRET_TEMPLATE_BYTES_MAX)]
    TemplateTooLong,
    /// A Basic user that cannot be told from its password (RFC 7617 section 2).
    #[error("a Basic user holds no colon and no control character")]
    BasicUser,
    /// A header name that is not a token (RFC 9110 section 5.1).
    #[error("`{0}` is not a header name")]
    Header(Box<str>),
    /// A header that belongs to the framing or to the gateway.
    #[error("the header `{0}` is set by the gateway itself")]
    HeaderReserved(Box<str>),
    /// A token or revocation endpoint that may not be used, and why.
    #[error("the endpoint {0}")]
    Endpoint(&'static str),
}

/// A secret that a template names has no value now: never fetched, or its lease is missing. Answered with 503
/// `secret_unavailable`; the operator or the source is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret `{name}` has no value")]
pub struct Unavailable {
    /// Which one.
    pub name: Arc<str>,
}
