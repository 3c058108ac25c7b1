//! HTTP messages without a wire (RFC 9110), the HTTP/1.1 wire (RFC 9112), canonical targets, header rules.
//!
//! Pure: bytes in, values out. HTTP/2 will build the same [`RequestHead`] and [`ResponseHead`].

mod header;
mod message;

pub use header::Headers;
pub use message::{Framing, Method, RequestHead, ResponseHead, Version};
