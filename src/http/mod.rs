//! HTTP messages without a wire (RFC 9110), the HTTP/1.1 wire (RFC 9112), canonical targets, header rules.
//!
//! Pure: bytes in, values out. HTTP/2 will build the same [`RequestHead`] and [`ResponseHead`]. What this is
//! not: it knows no connection, no route and no policy, and it never repairs what is ambiguous: it refuses.
//!
//! Start with [`h1`], whose functions follow a message from its first byte to its last; [`target`] says what
//! a canonical path is, [`rules`] which fields never pass the gateway, [`client_address`] where a request
//! comes from.

mod class;
pub mod client_address;
pub mod h1;
mod header;
mod message;
pub mod proxy_protocol;
mod rejection;
pub mod rules;
mod syntax;
pub mod target;

pub use header::Headers;
pub use message::{Framing, Method, RequestHead, ResponseHead, Version};
pub use rejection::Rejection;

/// Whether `name` may name a field (RFC 9110 section 5.1).
pub fn is_token(name: &str) -> bool {
    syntax::is_token(name.as_bytes())
}
