//! Server-sent events (WHATWG HTML, "Server-sent events").
pub mod dialect;
