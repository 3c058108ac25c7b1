//! Every bound of the load tester.

use std::time::Duration;

/// Bytes of the head of an answer, status line and fields.
pub const HEAD_BYTES_MAX: usize = 32 << 10;
/// Field lines of the head of an answer, and of its trailer.
pub const FIELDS_MAX: usize = 256;
/// Bytes of the line that says how long a chunk is, extensions included.
pub const CHUNK_LINE_BYTES_MAX: usize = 4 << 10;
/// Bytes of an event that are looked at; what follows them is counted as part of it and not read.
pub const EVENT_BYTES_LOOKED_AT: usize = 1 << 10;
/// Receive buffer of a connection at first, and once a read has filled it.
pub const RECEIVE_BYTES_MIN: usize = 8 << 10;
/// See [`RECEIVE_BYTES_MIN`]; it has to take the longest head. Larger ones of many connections do not stay in
/// the processor's cache.
pub const RECEIVE_BYTES_MAX: usize = 32 << 10;
/// A body up to this size is sent together with its head, from one buffer.
pub const INLINE_BODY_BYTES_MAX: usize = 16 << 10;
/// Connections of one run, which are also the requests in flight: HTTP/1.1 has one a connection.
pub const CONNECTIONS_MAX: usize = 50_000;
/// Threads of one run.
pub const CORES_MAX: usize = 256;
/// Requests a second.
pub const RATE_MAX: f64 = 10_000_000.0;
/// Length of a run.
pub const DURATION_MAX: Duration = Duration::from_secs(24 * 3600);
/// Bytes of one request body.
pub const BODY_BYTES_MAX: u64 = 64 << 20;
/// Bytes of all bodies of a mix or a replay together.
pub const PLAN_BYTES_MAX: usize = 512 << 20;
/// Requests of a mix.
pub const MIX_MAX: usize = 64;
/// Requests of a replay.
pub const REPLAY_MAX: usize = 100_000;
/// Different decisions that are counted by name; what comes after is `other`.
pub const DECISIONS_MAX: usize = 16;
/// Stages of `Server-Timing` that get a histogram each.
pub const STAGES_MAX: usize = 16;
/// Longest time that a histogram tells from longer ones.
pub const TIME_MAX: Duration = Duration::from_secs(3600);
/// How often deadlines are looked at.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(10);
/// How long the connections of a run may take before it begins without those that are not there yet.
pub const WARM_CONNECT: Duration = Duration::from_secs(5);
/// What waits between two attempts to connect where nothing else paces them: first, and at most.
pub const BACKOFF_MIN: Duration = Duration::from_millis(10);
/// See [`BACKOFF_MIN`].
pub const BACKOFF_MAX: Duration = Duration::from_secs(1);
/// How long a run that is ended early waits for what is in flight.
pub const STOP_GRACE: Duration = Duration::from_secs(1);
/// Intervals of a worker that wait for the collector.
pub const INTERVALS_WAITING_MAX: usize = 64;
/// Bytes of an answer of a token endpoint or a metrics page.
pub const PAGE_BYTES_MAX: usize = 8 << 20;
/// How long such an answer may take.
pub const PAGE_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(RECEIVE_BYTES_MAX >= HEAD_BYTES_MAX && RECEIVE_BYTES_MIN < RECEIVE_BYTES_MAX);
