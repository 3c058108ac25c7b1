//! HTTP messages without a wire (RFC 9110), the HTTP/1.1 wire (RFC 9112), canonical targets, header rules.
//!
//! Pure: bytes in, values out. HTTP/2 will build the same [`RequestHead`] and [`ResponseHead`]. What this is
//! not: it knows no connection, no route and no policy, and it never repairs what is ambiguous: it refuses.
//!
//! Start with [`h1`], whose functions follow a message from its first byte to its last; [`target`] says what
//! a canonical path is, [`rules`] which fields never pass the gateway.

pub mod h1;
mod header;
mod message;
mod rejection;
pub mod rules;
mod syntax;
pub mod target;

pub use header::Headers;
pub use message::{Framing, Method, RequestHead, ResponseHead, Version};
pub use rejection::Rejection;
