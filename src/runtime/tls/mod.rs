//! TLS for [`Connection`]: rustls through its unbuffered API, full duplex, one crypto backend (aws-lc-rs).
//!
//! This is not certificate management: it takes PEM bytes and gives connections or reasons.
//!
//! Start with [`Connection::accept_tls`] and [`Connection::connect_tls`]. `session` is the state of one
//! connection without sockets; `stream` carries it: the reader owns the ciphertext that comes in, the writer
//! the socket's sending half, and what a read makes us say (tickets, key updates, alerts) is sent by whoever
//! holds that half, never by two at a time.
//!
//! [`Connection`]: super::Connection

mod configuration;
mod error;
mod handshake;
mod session;
pub(super) mod stream;

pub use configuration::{ClientTls, ServerTls};
pub use error::TlsError;
pub use handshake::TlsInfo;
