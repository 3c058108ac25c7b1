//! The demo: an embedded dev issuer, embedded upstreams, and the gateway before them, on loopback, without a
//! network or a configuration file.
//!
//! It is no part of the data plane, and nothing of it runs in a gateway that was started otherwise.

mod issuer;
mod recorder;
mod serve;
mod stream;
mod upstream;
