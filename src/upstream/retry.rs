use crate::http::Method;

/// How far a failed attempt came.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// Whether the connection came out of the pool: only then may the peer have closed it before it saw us.
    pub reused: bool,
    /// Whether any byte of the request was handed to the kernel.
    pub wrote: bool,
    /// Whether any byte of a response arrived.
    pub received: bool,
    /// Whether all bytes of the request are still here to be sent again.
    pub replayable: bool,
    /// Whether it was tried again before.
    pub retried: bool,
    /// Whether a human approved this very request: such a request is never sent twice.
    pub approved: bool,
}

/// Whether the gateway itself sends the request again, on a fresh connection: idempotent methods once, others
/// only if no byte was written, and never after a consumed approval (SECURITY "Framing", RFC 9110 9.2.2).
pub fn may_retry(method: &Method, attempt: Attempt) -> bool {
    attempt.reused
        && attempt.replayable
        && !attempt.received
        && !attempt.retried
        && !attempt.approved
        && (method.is_idempotent() || !attempt.wrote)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STALE: Attempt = Attempt {
        reused: true,
        wrote: true,
        received: false,
        replayable: true,
        retried: false,
        approved: false,
    };

    #[test]
    fn only_harmless_repetitions_are_allowed() {
        let cases = [
            (Method::Get, STALE, true),
            (Method::Post, STALE, false),
            (Method::Post, Attempt { wrote: false, ..STALE }, true),
            (Method::Post, Attempt { wrote: false, approved: true, ..STALE }, false),
            (Method::Post, Attempt { wrote: false, reused: false, ..STALE }, false),
            (Method::Post, Attempt { wrote: false, retried: true, ..STALE }, false),
            (Method::Head, STALE, true),
            (Method::Put, STALE, true),
            (Method::Delete, STALE, true),
            (Method::Options, STALE, true),
            (Method::Patch, STALE, false),
            (Method::from_token("X-METHOD"), STALE, false),
            (Method::Get, Attempt { reused: false, ..STALE }, false),
            (Method::Get, Attempt { received: true, ..STALE }, false),
            (Method::Get, Attempt { replayable: false, ..STALE }, false),
            (Method::Get, Attempt { retried: true, ..STALE }, false),
            (Method::Delete, Attempt { approved: true, ..STALE }, false),
        ];
        for (method, attempt, expected) in cases {
            assert_eq!(may_retry(&method, attempt), expected, "{method} {attempt:?}");
        }
    }
}
