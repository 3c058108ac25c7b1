//! The whole gateway as a process, with real clients, a real issuer, and upstreams that misbehave.

#[allow(dead_code, reason = "shared with the tests of Claude Code, which use the rest of it")]
mod support;
mod tls;

mod approvals;
mod audit;
mod audit_follow;
mod audit_signed;
mod canary;
mod conversations;
mod crashes;
mod demo;
mod editors;
mod issuer;
mod lifecycle;
mod login;
mod notify;
mod policy_replay;
mod sdk;
mod service;
mod sessions;
mod tuning;
mod upstream_tls;
mod wire;
