use std::fmt;

/// A bound that somebody met: the label of `ringward_limit_hits_total`, and the reason in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Limit {
    /// A request's head took too long.
    Header,
    /// Silence within a request's body.
    BodyIdle,
    /// A request's body came too slowly.
    BodyRate,
    /// A peer took too long to take what it was sent.
    Write,
    /// A caller's connection waited too long for its next request: closed.
    KeepAlive,
    /// A connection that was to be closed was read from for too long.
    Linger,
    /// A TLS handshake took too long.
    Handshake,
    /// An upstream's answer did not begin in time.
    FirstByte,
    /// Silence within an upstream's answer.
    ResponseIdle,
    /// A request line that is too long.
    RequestLine,
    /// Too many header fields.
    HeaderCount,
    /// A head that is too long.
    HeaderBytes,
    /// Too many connections of one address.
    AddressConnections,
    /// Too many connections of all callers.
    Connections,
    /// Memory is short: a new connection was turned away.
    MemoryConnection,
    /// Memory is short: an idle connection was closed.
    MemoryIdle,
    /// No memory for the head of a request.
    MemoryHead,
    /// No memory for a request's body, which a policy has to read as a whole.
    MemoryBody,
    /// One agent has as much on its way to the audit log as it may have.
    AuditBackpressure,
}

impl Limit {
    /// Every limit, in the order of its numbers.
    pub const ALL: [Limit; 19] = [
        Limit::Header,
        Limit::BodyIdle,
        Limit::BodyRate,
        Limit::Write,
        Limit::KeepAlive,
        Limit::Linger,
        Limit::Handshake,
        Limit::FirstByte,
        Limit::ResponseIdle,
        Limit::RequestLine,
        Limit::HeaderCount,
        Limit::HeaderBytes,
        Limit::AddressConnections,
        Limit::Connections,
        Limit::MemoryConnection,
        Limit::MemoryIdle,
        Limit::MemoryHead,
        Limit::MemoryBody,
        Limit::AuditBackpressure,
    ];

    /// Its name in metrics and records: stable.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Header => "header_timeout",
            Limit::BodyIdle => "body_idle",
            Limit::BodyRate => "body_rate",
            Limit::Write => "write_timeout",
            Limit::KeepAlive => "keep_alive",
            Limit::Linger => "linger",
            Limit::Handshake => "tls_handshake",
            Limit::FirstByte => "first_byte",
            Limit::ResponseIdle => "response_idle",
            Limit::RequestLine => "request_line",
            Limit::HeaderCount => "header_count",
            Limit::HeaderBytes => "header_bytes",
            Limit::AddressConnections => "address_connections",
            Limit::Connections => "connections",
            Limit::MemoryConnection => "memory_connection",
            Limit::MemoryIdle => "memory_idle",
            Limit::MemoryHead => "memory_head",
            Limit::MemoryBody => "memory_body",
            Limit::AuditBackpressure => "audit_backpressure",
        }
    }

    /// The limit of a number; `None` for a number that none has.
    pub fn from_byte(byte: u8) -> Option<Limit> {
        Limit::ALL.get(usize::from(byte)).copied()
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn numbers_and_names_are_unique() {
        for (number, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!((limit as usize, Limit::from_byte(number as u8)), (number, Some(limit)));
        }
        assert_eq!(Limit::from_byte(Limit::ALL.len() as u8), None);
        let names: BTreeSet<_> = Limit::ALL.into_iter().map(Limit::as_str).collect();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
