//! The whole gateway as a process, with real clients, a real issuer, and upstreams that misbehave.

mod support;

mod audit;
mod canary;
mod demo;
mod issuer;
mod lifecycle;
mod sdk;
mod upstream_tls;
mod wire;
