//! Every bound of the gateway, by module. Relations between bounds are checked at compile time.

use std::time::Duration;

/// Bytes in one kibibyte.
const KIB: usize = 1024;
/// Bytes in one mebibyte.
const MIB: usize = 1024 * KIB;

// --- Buffers -------------------------------------------------------------------------------------------

/// First receive buffer of a connection. Small, because most idle connections hold exactly one.
pub const RECEIVE_BYTES_MIN: usize = 4 * KIB;
/// A receive buffer grows up to this size when reads fill it. 64 KiB halves the CPU of a large body.
pub const RECEIVE_BYTES_MAX: usize = 64 * KIB;
/// Slices below this size are joined before TLS encrypts them: a record costs more than the copy.
pub const COALESCE_BYTES_MAX: usize = 4 * KIB;
/// Slices handed to the kernel in one vectored write (Linux allows 1,024).
pub const WRITE_SLICES_MAX: usize = 64;

// --- HTTP ----------------------------------------------------------------------------------------------

/// Method, target and version together (SECURITY R41).
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * KIB;
/// Header fields of one message (SECURITY R41).
pub const HEADER_COUNT_MAX: usize = 100;
/// A whole message head with its start line (SECURITY R41: 32 KiB of headers, 8 KiB of request line).
pub const HEAD_BYTES_MAX: usize = 40 * KIB;
/// Hexadecimal digits of one chunk size (SECURITY R4).
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;
/// Bytes of one chunk's extensions; they are dropped.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of a trailer section; it is dropped.
pub const TRAILER_BYTES_MAX: usize = 8 * KIB;
/// Informational responses before the final one.
pub const INFORMATIONAL_COUNT_MAX: usize = 8;

// --- Bodies --------------------------------------------------------------------------------------------

/// Default of `max_body` of a route: a Claude Code turn starts at 100 KB and re-sends its history.
pub const BODY_BYTES_DEFAULT: usize = 32 * MIB;

// --- Timers --------------------------------------------------------------------------------------------

/// A request head must be complete within this time after its first byte (SECURITY R41).
pub const HEAD_READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Silence within a request body (SECURITY R41).
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// A kept-alive connection without a request (SECURITY R41).
pub const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(60);
/// A TLS handshake (SECURITY R41).
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A write to a client that does not read.
pub const WRITE_STALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a shard looks for connections whose deadline has passed.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// Pause after `accept` failed for want of descriptors: without it the loop burns the core.
pub const ACCEPT_BACKOFF: Duration = Duration::from_millis(50);

// --- Upstream ------------------------------------------------------------------------------------------

/// Default of `timeout.connect` of an upstream.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `timeout.first_byte` of an upstream: LLM calls think long.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(600);
/// Default of `timeout.idle` of an upstream: silence within a response body.
pub const RESPONSE_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Idle upstream connections kept by one shard for one upstream.
pub const POOL_IDLE_MAX: usize = 128;
/// An idle upstream connection is closed after this time.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(55);

// --- Hand-over -----------------------------------------------------------------------------------------

/// Records one shard may have on their way to the journal.
pub const JOURNAL_QUEUE_RECORDS: usize = 8 * KIB;
/// An INTENT that is not acknowledged within this time fails the request (SECURITY "Audit").
pub const RECORD_TIMEOUT: Duration = Duration::from_secs(1);
/// Recorded body bytes of one shard that the journal has not written yet; beyond it reading stops.
pub const RECORD_INFLIGHT_BYTES_MAX: usize = 64 * MIB;

const _: () = assert!(RECEIVE_BYTES_MIN <= RECEIVE_BYTES_MAX);
const _: () = assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX);
const _: () = assert!(HEAD_BYTES_MAX <= RECEIVE_BYTES_MAX);
