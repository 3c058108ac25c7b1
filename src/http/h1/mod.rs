//! The HTTP/1.1 wire (RFC 9112) in both roles, without I/O.
//!
//! A message's way in: [`find_head_end`] while bytes arrive, [`parse_request`] or [`parse_response`] once
//! over the whole head, then [`BodyDecoder`] over what follows. Its way out: [`encode_request`],
//! [`encode_response`] or [`encode_reply`], then the body as it is or through a [`ChunkEncoder`].
//!
//! What RFC 9112 lets a recipient choose, this one refuses: two readers of one message must never find two
//! different ends of it. What comes out is written anew from parsed values, so that it is canonical.

mod body;
mod chunked;
mod encode;
mod head;
mod lines;
mod marks;
mod request;
mod response;

pub use body::{BodyDecoder, Progress};
pub use encode::{ChunkEncoder, ReplyFraming, encode_reply, encode_request, encode_response};
pub use head::{Role, find_head_end};
pub use request::parse_request;
pub use response::parse_response;
