use std::fmt;

/// Why the gateway answers a request itself. Each is one line of [`TABLE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    TokenMissing,
    TokenInvalid,
    TokenExpired,
    PolicyDenied,
    Frozen,
    ApprovalPending,
    ApprovalDenied,
    ApprovalExpired,
    ApprovalConsumed,
    ApprovalUnavailable,
    RateLimited,
    BudgetExhausted,
    MalformedRequest,
    ExpectationFailed,
    UriTooLong,
    HeadersTooLarge,
    NotImplemented,
    RequestTimeout,
    BodyUnreadable,
    Misdirected,
    LoopDetected,
    NoRoute,
    BodyTooLarge,
    KeysUnavailable,
    SecretUnavailable,
    AuditUnavailable,
    AuditBackpressure,
    Overloaded,
    UpstreamUnreachable,
    UpstreamTls,
    UpstreamInvalid,
    UpstreamTimeout,
    ResponseUnmaskable,
    InternalError,
}

/// What a refusal says in `x-ringward-decision`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A rule, a freeze or an approver said no.
    Block,
    /// A human has to say yes first.
    Approve,
    /// The gateway could not or would not process the request; no rule decided.
    Refuse,
}

impl Verdict {
    /// The header's value.
    pub fn as_str(self) -> &'static str {
        match self {
            Verdict::Block => "block",
            Verdict::Approve => "approve",
            Verdict::Refuse => "refuse",
        }
    }
}

/// One line of the table of refusals.
struct Row {
    code: Code,
    name: &'static str,
    status: u16,
    /// `x-should-retry`; `None` leaves the header out, which lets clients follow their own rules.
    should_retry: Option<bool>,
    /// `retry-after` in seconds. Claude Code gives up at once above 60.
    retry_after_s: Option<u8>,
    /// The error type of the Anthropic API.
    kind: &'static str,
    verdict: Verdict,
    title: &'static str,
}

const INVALID: &str = "invalid_request_error";
const AUTHENTICATION: &str = "authentication_error";
const PERMISSION: &str = "permission_error";
const RATE: &str = "rate_limit_error";
const API: &str = "api_error";
const TIMEOUT: &str = "timeout_error";

const fn row(
    code: Code,
    name: &'static str,
    status: u16,
    (should_retry, retry_after_s): (Option<bool>, Option<u8>),
    (kind, verdict): (&'static str, Verdict),
    title: &'static str,
) -> Row {
    Row { code, name, status, should_retry, retry_after_s, kind, verdict, title }
}

const NEVER: (Option<bool>, Option<u8>) = (Some(false), None);
const UNSAID: (Option<bool>, Option<u8>) = (None, None);
const IN_A_MINUTE: (Option<bool>, Option<u8>) = (None, Some(60));
const NOT_YET: (Option<bool>, Option<u8>) = (Some(false), Some(60));
const AFTER_1_S: (Option<bool>, Option<u8>) = (Some(true), Some(1));
const AFTER_5_S: (Option<bool>, Option<u8>) = (Some(true), Some(5));

const DENIED: (&str, Verdict) = (PERMISSION, Verdict::Block);
const UNKNOWN: (&str, Verdict) = (AUTHENTICATION, Verdict::Refuse);
const WRONG: (&str, Verdict) = (INVALID, Verdict::Refuse);
const FAULT: (&str, Verdict) = (API, Verdict::Refuse);
const SLOW: (&str, Verdict) = (TIMEOUT, Verdict::Refuse);
const CONFLICT: (&str, Verdict) = ("conflict_error", Verdict::Block);
const PENDING: (&str, Verdict) = (RATE, Verdict::Approve);
const ABSENT: (&str, Verdict) = ("not_found_error", Verdict::Refuse);
const TOO_LARGE: (&str, Verdict) = ("request_too_large", Verdict::Refuse);
const NO_APPROVER: (&str, Verdict) = (API, Verdict::Approve);
const BUSY: (&str, Verdict) = ("overloaded_error", Verdict::Refuse);
const LIMITED: (&str, Verdict) = (RATE, Verdict::Refuse);

/// The one table of refusals, in the order of [`Code`]'s variants.
///
/// 401 leaves `x-should-retry` out: Claude Code runs its `apiKeyHelper` again only then.
#[rustfmt::skip]
const TABLE: [Row; 34] = [
    row(Code::TokenMissing, "token_missing", 401, UNSAID, UNKNOWN, "Token missing"),
    row(Code::TokenInvalid, "token_invalid", 401, UNSAID, UNKNOWN, "Token invalid"),
    row(Code::TokenExpired, "token_expired", 401, UNSAID, UNKNOWN, "Token expired"),
    row(Code::PolicyDenied, "policy_denied", 403, NEVER, DENIED, "Blocked by policy"),
    row(Code::Frozen, "frozen", 403, NEVER, DENIED, "Frozen by an operator"),
    row(Code::ApprovalPending, "approval_pending", 429, AFTER_1_S, PENDING, "Approval pending"),
    row(Code::ApprovalDenied, "approval_denied", 403, NEVER, DENIED, "Approval denied"),
    row(Code::ApprovalExpired, "approval_expired", 403, NEVER, DENIED, "Approval expired"),
    row(Code::ApprovalConsumed, "approval_consumed", 409, NEVER, CONFLICT, "Approval already used"),
    row(Code::ApprovalUnavailable, "approval_unavailable", 503, NEVER, NO_APPROVER, "Approval not available"),
    row(Code::RateLimited, "rate_limited", 429, IN_A_MINUTE, LIMITED, "Rate limited"),
    row(Code::BudgetExhausted, "budget_exhausted", 429, NOT_YET, LIMITED, "Budget exhausted"),
    row(Code::MalformedRequest, "malformed_request", 400, NEVER, WRONG, "Malformed request"),
    row(Code::ExpectationFailed, "expectation_failed", 417, NEVER, WRONG, "Unknown expectation"),
    row(Code::UriTooLong, "uri_too_long", 414, NEVER, WRONG, "Request line too long"),
    row(Code::HeadersTooLarge, "headers_too_large", 431, NEVER, WRONG, "Headers too large"),
    row(Code::NotImplemented, "not_implemented", 501, NEVER, WRONG, "Not supported by the gateway"),
    row(Code::RequestTimeout, "request_timeout", 408, UNSAID, SLOW, "Request too slow"),
    row(Code::BodyUnreadable, "body_unreadable", 415, NEVER, WRONG, "Body unreadable for the policy"),
    row(Code::Misdirected, "misdirected", 421, NEVER, WRONG, "Wrong host for this connection"),
    row(Code::LoopDetected, "loop_detected", 508, NEVER, WRONG, "Request went in a circle"),
    row(Code::NoRoute, "no_route", 404, NEVER, ABSENT, "No route"),
    row(Code::BodyTooLarge, "body_too_large", 413, NEVER, TOO_LARGE, "Body too large"),
    row(Code::KeysUnavailable, "keys_unavailable", 503, AFTER_5_S, FAULT, "Keys of the issuer unavailable"),
    row(Code::SecretUnavailable, "secret_unavailable", 503, AFTER_5_S, FAULT, "Secret unavailable"),
    row(Code::AuditUnavailable, "audit_unavailable", 503, AFTER_5_S, FAULT, "Audit store unavailable"),
    row(Code::AuditBackpressure, "audit_backpressure", 503, AFTER_1_S, BUSY, "Too much to record"),
    row(Code::Overloaded, "overloaded", 503, AFTER_1_S, BUSY, "Overloaded"),
    row(Code::UpstreamUnreachable, "upstream_unreachable", 502, UNSAID, FAULT, "Upstream unreachable"),
    row(Code::UpstreamTls, "upstream_tls", 502, UNSAID, FAULT, "Upstream certificate refused"),
    row(Code::UpstreamInvalid, "upstream_invalid", 502, UNSAID, FAULT, "Upstream answer invalid"),
    row(Code::UpstreamTimeout, "upstream_timeout", 504, UNSAID, SLOW, "Upstream too slow"),
    row(Code::ResponseUnmaskable, "response_unmaskable", 502, NEVER, FAULT, "Answer cannot be masked"),
    row(Code::InternalError, "internal_error", 500, UNSAID, FAULT, "Internal error"),
];

const _: () = {
    let mut index = 0;
    while index < TABLE.len() {
        assert!(TABLE[index].code as usize == index);
        index += 1;
    }
    assert!(Code::InternalError as usize + 1 == TABLE.len());
};

impl Code {
    /// Every code, in the table's order.
    pub fn all() -> impl Iterator<Item = Code> {
        TABLE.iter().map(|row| row.code)
    }

    /// The name in bodies, records and metrics.
    pub fn as_str(self) -> &'static str {
        self.row().name
    }

    /// HTTP status, before `[deny] status` changes it.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// What `x-should-retry` says; `None` when the header must be absent.
    pub fn should_retry(self) -> Option<bool> {
        self.row().should_retry
    }

    /// Seconds of `retry-after`; at most 60.
    pub fn retry_after_s(self) -> Option<u8> {
        self.row().retry_after_s
    }

    /// A few words for people; the title of RFC 9457 section 3.1.3.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The error type of the Anthropic API.
    pub fn anthropic_type(self) -> &'static str {
        self.row().kind
    }

    /// The error type of the OpenAI API, which knows no `api_error`.
    pub fn openai_type(self) -> &'static str {
        match self.row().kind {
            API | TIMEOUT | "overloaded_error" => "server_error",
            "request_too_large" | "conflict_error" | "not_found_error" => INVALID,
            kind => kind,
        }
    }

    /// What `x-ringward-decision` says.
    pub fn verdict(self) -> Verdict {
        self.row().verdict
    }

    /// Whether `[deny] status` applies: Claude Code shows every 403 as a failed login.
    pub fn is_denial(self) -> bool {
        self.status() == 403
    }

    fn row(self) -> &'static Row {
        // The constant assertion above holds the table in the order of the variants.
        &TABLE[self as usize]
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_retry_after_never_fails_claude_code() {
        let mut names: Vec<_> = Code::all().map(Code::as_str).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), TABLE.len());
        assert!(Code::all().all(|code| code.retry_after_s().is_none_or(|s| s <= 60)));
    }

    #[test]
    fn a_401_never_says_whether_to_retry() {
        assert!(Code::all().filter(|c| c.status() == 401).all(|c| c.should_retry().is_none()));
    }
}
