use crate::http::{Headers, Method};

/// What is known of a request before its body. Everything is borrowed.
#[derive(Clone, Copy, Debug)]
pub struct HeadFacts<'a> {
    pub method: &'a Method,
    /// Canonical path: the one that goes upstream (SECURITY R13), before `strip_prefix`.
    pub path: &'a str,
    /// Query without `?`, as received.
    pub query: Option<&'a str>,
    pub headers: &'a Headers,
    /// Subject of the verified token; `None` on routes without identity.
    pub subject: Option<&'a str>,
    pub groups: &'a [String],
    pub purpose: Option<&'a str>,
}
