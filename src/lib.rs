//! ringward: a Layer-7 security gateway for AI agents.
//!
//! The modules are floors of one house: a module imports only from lower floors. `tests/tidy.rs` holds the
//! table and checks it. Start reading at [`exchange`], the state machine of one request and its response.

pub mod admin;
pub mod app;
pub mod approval;
pub mod archive;
pub mod audit;
pub mod background;
pub mod buffer;
pub mod cli;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod exchange;
pub mod http;
pub mod identity;
pub mod inspect;
pub mod journal;
pub mod limits;
pub mod metrics;
pub mod policy;
pub mod protocol;
pub mod runtime;
pub mod secrets;
pub mod segments;
pub mod shard;
pub mod time;
pub mod tune;
pub mod upstream;
