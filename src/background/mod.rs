//! What is fetched from, or sent to, the world beside the data path: keys, secrets, leases, webhooks, names.
//!
//! Runs on the tokio thread. Not the data path: nothing here sees a request, and what is fetched reaches the
//! shards as immutable values. Start at [`secrets`] for what is read, at [`client`] for how HTTP is spoken.

pub mod access_log;
pub mod client;
pub mod errands;
mod exec;
pub mod lease;
pub mod notify;
pub mod oidc;
pub mod resolve;
pub mod secrets;
mod sys;
mod token;
