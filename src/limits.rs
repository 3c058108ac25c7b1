//! Every bound of the gateway, by module. Relations between bounds are checked at compile time.

use std::time::Duration;

// Bytes in one of them.
const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

// --- Buffers -------------------------------------------------------------------------------------------

/// First receive buffer of a connection. Small, because most idle connections hold exactly one.
pub const RECEIVE_BYTES_MIN: usize = 4 * KIB;
/// A receive buffer grows up to this size when reads fill it: 64 KiB of a body together with its head. Large
/// ones halve the CPU of a large body.
pub const RECEIVE_BYTES_MAX: usize = 68 * KIB;
/// Reads in a row that are tried at once, without the ring, after one that filled its buffer: more is
/// probably there. Others have their turn after that.
pub const RECEIVE_EAGER_READS: u8 = 4;
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
/// The PROXY header of a connection, with its type-length-value triples.
pub const PROXY_HEADER_BYTES_MAX: usize = 4 * KIB;
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
/// Bytes a second that a request body must come with, after [`BODY_RATE_GRACE`] (SECURITY R41).
pub const BODY_RATE_MIN: u64 = KIB as u64;
/// Waiting for a request body that its rate is not asked for (SECURITY R41).
pub const BODY_RATE_GRACE: Duration = Duration::from_secs(10);
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

// --- Callers -------------------------------------------------------------------------------------------

/// Connections of one address, unless they are configured; callers on this host have no limit then
/// (SECURITY R41).
pub const CONNECTIONS_PER_ADDRESS: usize = 256;
/// Connections of all callers, unless they are configured and where the descriptors would allow more.
pub const CONNECTIONS_MAX: usize = 64 * KIB;
/// Descriptors that callers' connections leave over: for the operators' side, the journal, listeners, names
/// and secrets (SECURITY R41).
pub const DESCRIPTORS_RESERVED: u64 = 512;
/// Connections that one shard turns away with an answer at once; more are cut without a word.
pub const TURNED_AWAY_MAX: usize = 64;
/// How long a connection that is turned away may take to get its answer.
pub const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(1);
/// What a connection counts in the budget of its shard beside its buffers.
pub const CONNECTION_BYTES: usize = 4 * KIB;
/// Smallest `limits.memory`.
pub const MEMORY_BYTES_MIN: u64 = 16 * MIB as u64;
/// The share of the host's memory that callers may take, unless it is configured: one part of so many.
pub const MEMORY_SHARE: u64 = 4;
/// Memory that is assumed where the host does not say what it has.
pub const MEMORY_BYTES_UNKNOWN: u64 = 1024 * MIB as u64;
/// Idle connections that are closed at one look while memory is short: of all that idle, one of so many.
pub const SHED_SHARE: usize = 8;
/// And at least so many.
pub const SHED_COUNT_MIN: usize = 16;
/// Looks of the sweeper after which an idle connection gives its buffer back: 1.5 s.
pub const IDLE_SWEEPS: u8 = 6;

// --- Upstream ------------------------------------------------------------------------------------------

/// Default of `timeout.connect` of an upstream.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of `timeout.first_byte` of an upstream: LLM calls think long.
pub const FIRST_BYTE_TIMEOUT: Duration = Duration::from_secs(600);
/// Default of `timeout.idle` of an upstream: silence within a response body.
pub const RESPONSE_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Default of `pool.max_idle`: idle upstream connections kept by one shard for one upstream.
pub const POOL_IDLE_MAX: usize = 128;
/// Default of `pool.idle`: an idle upstream connection is closed after this time. Servers often wait 60 s.
pub const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(55);
/// Default of `pool.max_age`: an older connection carries no further request, so that changes of DNS and of
/// balancers come through.
pub const POOL_AGE_MAX: Duration = Duration::from_secs(3600);
/// Default of `pool.max_connections`: as many as exchanges may be open.
pub const POOL_CONNECTIONS_MAX: usize = OPEN_EXCHANGES_MAX;
/// Default of `pool.max_waiting`: requests that wait for one of those connections.
pub const POOL_WAITING_MAX: usize = KIB;
/// Default of `pool.wait`: how long they wait.
pub const POOL_WAIT_TIMEOUT: Duration = Duration::from_secs(5);
/// Addresses that one connection tries.
pub const CONNECT_ADDRESSES_MAX: usize = 8;
/// Pause before the next address is tried while the one before it has not answered (RFC 8305 section 5).
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);
/// Failed connections in a row after which an address is set aside.
pub const EJECT_FAILURES: u32 = 2;
/// First time that it is set aside; doubled with each failed probe.
pub const EJECT_BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// Longest time that it is set aside.
pub const EJECT_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Addresses of one upstream, of all its names together.
pub const RESOLVED_ADDRESSES_MAX: usize = 32;
/// Time between two look-ups of a name that resolves.
pub const RESOLVE_INTERVAL: Duration = Duration::from_secs(30);
/// Time until a name that did not resolve is looked up again.
pub const RESOLVE_RETRY: Duration = Duration::from_secs(2);
/// Addresses of a name that does not resolve any more are used this long.
pub const RESOLVE_STALE_MAX: Duration = Duration::from_secs(3600);
/// One look-up of one name.
pub const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

// --- Hand-over -----------------------------------------------------------------------------------------

/// Records one shard may have on their way to the journal.
pub const JOURNAL_QUEUE_RECORDS: usize = 8 * KIB;
/// Errands of all shards that wait for the background thread.
pub const ERRAND_QUEUE: usize = 4 * KIB;
/// Errands of one shard that find no room there and must arrive all the same: as many approved requests may
/// end at once.
pub const ERRANDS_OWED_MAX: usize = 2 * HOLD_WAITING_MAX;
/// Access log lines that wait to be written; more are dropped and counted.
pub const LOG_QUEUE_LINES: usize = 16 * KIB;
/// An INTENT that is not acknowledged within this time fails the request (SECURITY "Audit").
pub const RECORD_TIMEOUT: Duration = Duration::from_secs(1);
/// So long an INTENT waits for room in the share of its agent; the rest of [`RECORD_TIMEOUT`] is left for its
/// acknowledgement.
pub const SHARE_WAIT_MAX: Duration = Duration::from_millis(500);
/// A record that found the queue full is offered again after this time, then after twice as long, and so on.
pub const RECORD_RETRY_MIN: Duration = Duration::from_millis(1);
/// Longest pause between two offers.
pub const RECORD_RETRY_MAX: Duration = Duration::from_millis(64);
/// A body record that finds no room for this long ends its exchange (SECURITY "Audit"); a log line waits
/// no longer for the acknowledgement of its record.
pub const RECORD_STALL_MAX: Duration = Duration::from_secs(10);
/// An exchange waits this long for keys or a lease, which take less unless their answer was lost.
pub const ERRAND_TIMEOUT: Duration = Duration::from_secs(15);
/// An answer that finds the mailbox of its shard full is offered again for this long.
pub const DELIVERY_TIMEOUT: Duration = Duration::from_secs(2);
/// First pause between two offers; it doubles.
pub const DELIVERY_RETRY: Duration = Duration::from_millis(1);
/// What a slice of a recorded body counts beside its bytes.
pub const SLICE_BYTES: usize = 32;
/// Slices of one step are joined when there are more of them than this
pub const SLICES_MAX: usize = 16;
/// and they are smaller than this on average.
pub const SLICE_BYTES_MIN: usize = 256;
/// Recorded body bytes of one shard that the journal has not written yet; beyond it reading stops.
pub const RECORD_INFLIGHT_BYTES_MAX: usize = 64 * MIB;
/// Default of `audit.agent_share_percent`: how much of a shard's queue into the journal one agent may fill
/// (SECURITY R44).
pub const AGENT_SHARE_PERCENT: u8 = 25;
/// Agents that one shard holds to a share of their own at once; more have one together.
pub const SHARES_MAX: usize = 4 * KIB;
/// The smallest share, in records: a body, its INTENT and its OUTCOME, and what follows meanwhile.
pub const SHARE_RECORDS_MIN: usize = 8;
/// Default of `audit.refusals_per_second`: REFUSALs of one unproven caller that are recorded one by one.
pub const REFUSALS_PER_SECOND: u32 = 20;
/// And so many seconds' worth of them at once.
pub const REFUSAL_BURST: u64 = 10;
/// Refusals that are alike are recorded together once in so long.
pub const FOLD_INTERVAL: Duration = Duration::from_secs(1);
/// Kinds of refusals that gather at once in one shard; more are not told apart.
pub const FOLDS_MAX: usize = KIB;

// --- Secrets -------------------------------------------------------------------------------------------

/// Shortest secret whose echo can be told from ordinary text (SECURITY R19).
pub const SECRET_BYTES_MIN: usize = 12;
/// A piece of a secret, of this length, is masked where it comes back: what is shorter says little.
pub const ECHO_PIECE_BYTES: usize = SECRET_BYTES_MIN;
/// Longest secret, and the most that a file or a command may give.
pub const SECRET_BYTES_MAX: usize = 64 * KIB;
/// Longest name of a secret.
pub const SECRET_NAME_BYTES_MAX: usize = 64;
/// Longest template of an injected header.
pub const SECRET_TEMPLATE_BYTES_MAX: usize = 4 * KIB;
/// A command that gives a secret is killed after this time (SECURITY "Credentials").
pub const SECRET_EXEC_TIMEOUT: Duration = Duration::from_secs(10);
/// Shortest `refresh` of a secret.
pub const SECRET_REFRESH_MIN: Duration = Duration::from_secs(1);
/// How often the files of secrets are looked at for a change.
pub const SECRET_FILE_POLL: Duration = Duration::from_secs(5);
/// Symbolic links on the way to a command that gives a secret.
pub const SECRET_SYMLINK_COUNT_MAX: usize = 16;
/// A token endpoint has this long for its whole answer.
pub const LEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// The answer of a token endpoint.
pub const LEASE_ANSWER_BYTES_MAX: usize = 64 * KIB;
/// Leases that are being fetched at once; more wait within their time.
pub const LEASE_INFLIGHT_MAX: usize = 128;
/// Ended leases that wait for their revocation; beyond it they are left to expire, and counted.
pub const REVOKE_QUEUE_LEASES: usize = 4 * KIB;
/// Revocations under way at once.
pub const REVOKE_INFLIGHT_MAX: usize = 16;
/// Requests made to revoke one lease.
pub const REVOKE_ATTEMPTS_MAX: u32 = 3;
/// Pause before a revocation is repeated; doubled each time.
pub const REVOKE_BACKOFF: Duration = Duration::from_millis(500);

// --- Audit ---------------------------------------------------------------------------------------------

/// Body bytes of one CONTENT record; the journal cuts longer ones.
pub const CONTENT_BYTES_MAX: usize = 64 * KIB;
/// Payload of one record without its body bytes. The largest is CONFIG: the whole configuration text.
pub const RECORD_BYTES_MAX: usize = MIB;
/// Records of one batch together: it is closed at [`BATCH_BYTES_TARGET`], so one record may lie across that.
pub const BATCH_BYTES_MAX: usize = 2 * MIB;
/// The journal writes a batch once it has this many bytes (SECURITY "Audit").
pub const BATCH_BYTES_TARGET: usize = 256 * KIB;
/// Records that nobody waits for are written after this time: so long the commit thread dozes between two
/// looks at its rings (SECURITY "Audit").
pub const BATCH_TIME_MAX: Duration = Duration::from_millis(1);
/// Records in one ring that wake the commit thread although nobody waits for any of them.
pub const JOURNAL_WAKE_RECORDS: usize = KIB;
/// Batches whose memory is kept for the next ones, so that none is asked for while records flow.
pub const BATCH_BUFFERS_MAX: usize = 16;
/// Memory that a batch begins with: it grows beyond only for records of uncommon length.
pub const BATCH_BUFFER_BYTES: usize = BATCH_BYTES_TARGET + 2 * CONTENT_BYTES_MAX;
/// So long a write goes around the page cache, which would take new memory for all of it; a shorter one is
/// done sooner when it ends there.
pub const DIRECT_WRITE_BYTES_MIN: usize = 128 * KIB;
/// Names and values of a response's fields that its OUTCOME holds.
pub const RESPONSE_FIELDS_BYTES_MAX: usize = 8 * KIB;
/// Edits of one CONTENT record.
pub const CONTENT_EDITS_MAX: usize = 16 * KIB;
/// Exchanges that may be open at once, in all shards.
pub const OPEN_EXCHANGES_MAX: usize = 32 * KIB;
/// Records after which the tree's head is signed at the latest (SECURITY "Audit").
pub const CHECKPOINT_RECORDS: u64 = 1_000;
/// Time after which it is signed at the latest, if there is a new record.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);
/// A CHECKPOINT record stands at most this many records behind those that it covers: a reader keeps their
/// hashes.
pub const CHECKPOINT_LAG_RECORDS_MAX: usize = 256 * KIB;
/// Exchanges that one ERASED record names.
pub const ERASED_EXCHANGES_MAX: usize = 16 * KIB;
/// Bytes of a sealed segment that are packed at once; between two pieces the packing can be stopped.
pub const PACK_PIECE_BYTES: usize = 256 << 10;

/// Default of `segment_bytes`.
pub const SEGMENT_BYTES_DEFAULT: u64 = 64 * MIB as u64;
/// Smallest segment.
pub const SEGMENT_BYTES_MIN: u64 = 64 * KIB as u64;
/// A segment without a prepared file is preallocated only this far, so that a start does not wait.
pub const SEGMENT_FILL_BYTES: u64 = 8 * MIB as u64;
/// Zeros that one write puts into a prepared segment.
pub const SEGMENT_FILL_PIECE_BYTES: u64 = MIB as u64;
/// Unit of direct input and output, and of the page cache: what is written ends at such a boundary.
pub const PAGE_BYTES: usize = 4 * KIB;
/// A written record is synced within this time (SECURITY "Audit").
pub const SYNC_INTERVAL_MAX: Duration = Duration::from_millis(10);
/// The nonces of commitments are synced within this time, while records are.
pub const OPENINGS_SYNC_INTERVAL: Duration = Duration::from_millis(100);
/// Written bytes that the disk has not confirmed; beyond it the journal takes nothing more.
pub const UNSYNCED_BYTES_MAX: usize = 32 * MIB;
/// The commit thread dozes this long after the last record, then it sleeps until any record wakes it.
pub const JOURNAL_DOZE_FOR: Duration = Duration::from_millis(2);
/// Longest sleep of the commit thread.
pub const JOURNAL_PARK_MAX: Duration = Duration::from_millis(100);
/// Pause between attempts to go on after the disk was full.
pub const NO_SPACE_RETRY: Duration = Duration::from_millis(250);
/// Pause between looks at the room on the audit disk and at old segments.
pub const KEEP_INTERVAL: Duration = Duration::from_secs(5);
/// Segments that retention deletes at once: one record says what goes.
pub const REMOVED_SEGMENTS_MAX: usize = 256;
/// Room that is kept for the records of exchanges that are open when the disk gets full: a fresh segment, and
/// as much again for what was not synced.
pub const RESERVE_BYTES: u64 = 2 * SEGMENT_FILL_BYTES;
/// Blocking callers that wait for the journal at once.
pub const CALLS_MAX: usize = 64;
/// A blocking caller gives up after this time.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const _: () = assert!(SEGMENT_BYTES_MIN.is_multiple_of(PAGE_BYTES as u64));
const _: () = assert!(SEGMENT_FILL_BYTES.is_multiple_of(PAGE_BYTES as u64));
const _: () = assert!(SEGMENT_FILL_PIECE_BYTES.is_multiple_of(PAGE_BYTES as u64));
const _: () = assert!(JOURNAL_WAKE_RECORDS * 4 <= JOURNAL_QUEUE_RECORDS);
const _: () = assert!(SHARE_WAIT_MAX.as_millis() < RECORD_TIMEOUT.as_millis());
const _: () = assert!(SHARE_RECORDS_MIN >= 8 && SHARE_RECORDS_MIN <= JOURNAL_QUEUE_RECORDS / 100);
// With the tree: 64 nodes.
const _: () = assert!(OPEN_EXCHANGES_MAX * 18 + 4 * KIB <= RECORD_BYTES_MAX);
const _: () = assert!(CONTENT_EDITS_MAX * 32 <= RECORD_BYTES_MAX);
const _: () = assert!(BATCH_BYTES_TARGET + RECORD_BYTES_MAX + CONTENT_BYTES_MAX + KIB <= BATCH_BYTES_MAX);

// --- Protocols -----------------------------------------------------------------------------------------

/// Bytes of the session id that a client may claim.
pub const SESSION_ID_BYTES_MAX: usize = 128;

// --- Policy --------------------------------------------------------------------------------------------

/// Nesting of a JSON body that a policy reads (SECURITY R15).
pub const POLICY_JSON_DEPTH_MAX: usize = 64;
/// Nesting of one SQL text that a policy reads.
pub const POLICY_SQL_DEPTH_MAX: usize = 64;
/// Operators and keywords that one SQL expression may chain (`a OR b OR …`): its tree is as deep.
pub const POLICY_SQL_CHAIN_MAX: usize = 512;
/// Bytes of one SQL text that a policy reads; a longer one counts as unparsable.
pub const POLICY_SQL_BYTES_MAX: usize = 64 * KIB;
/// Policies of one route, and conditions of one policy.
pub const POLICY_COUNT_MAX: usize = 1024;
/// Bytes of the automaton that finds the texts of one content rule.
pub const POLICY_AUTOMATON_BYTES_MAX: usize = 16 * MIB;

// --- Identity ------------------------------------------------------------------------------------------

/// A token as it is presented.
pub const TOKEN_BYTES_MAX: usize = 16 * KIB;
/// One claim's text that is kept: subject, owner, a group, purpose, client, token id.
pub const CLAIM_BYTES_MAX: usize = KIB;
/// Groups of one token.
pub const GROUPS_MAX: usize = 512;
/// Nesting of a token's JSON or of a key set.
pub const IDENTITY_JSON_DEPTH_MAX: usize = 16;
/// Members of one JSON object in a token or a key set.
pub const IDENTITY_JSON_MEMBERS_MAX: usize = 256;
/// Largest clock skew that may be configured (SECURITY R29).
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(60);
/// Default of `clock_skew`.
pub const CLOCK_SKEW_DEFAULT: Duration = Duration::from_secs(30);
/// A verified token is trusted this long without another look at its signature (SECURITY R32).
pub const TOKEN_CACHE_LIFE: Duration = Duration::from_secs(300);
/// Verified tokens that one shard remembers.
pub const TOKEN_CACHE_ENTRIES: usize = 4 * KIB;
/// A JWK Set document, and a discovery document (SECURITY R30).
pub const JWKS_BYTES_MAX: usize = 256 * KIB;
/// Keys of one JWK Set (SECURITY R30).
pub const JWKS_KEYS_MAX: usize = 64;
/// RSA moduli from this size, in bits (SECURITY R28).
pub const RSA_BITS_MIN: usize = 2048;
/// RSA moduli up to this size, in bits: a larger one costs too much to verify.
pub const RSA_BITS_MAX: usize = 8192;
/// Least time between two fetches of an issuer's keys that tokens caused (SECURITY R30).
pub const JWKS_REFETCH_INTERVAL: Duration = Duration::from_secs(30);
/// Keys are fetched anew after this time.
pub const JWKS_REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// Keys that could not be fetched anew are trusted this long (SECURITY R30).
pub const JWKS_STALE_MAX: Duration = Duration::from_secs(3600);
/// First pause before another try while an issuer was never reached; it doubles up to 30 s.
pub const JWKS_RETRY_FIRST: Duration = Duration::from_secs(1);
/// One request to an issuer, from connect to the last byte.
pub const JWKS_FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Requests for a fetch that wait in one issuer's queue; more are answered at once.
pub const JWKS_WAITING_MAX: usize = KIB;
// --- Runtime -------------------------------------------------------------------------------------------

/// Reads in a row that use less than a quarter of their buffer before the buffers shrink.
pub const RECEIVE_SMALL_READS: u8 = 4;
/// Ciphertext that one TLS connection gathers before it is written.
pub const TLS_WRITE_BYTES: usize = 64 * KIB;
/// Plaintext of small slices that goes into one TLS record (RFC 8446 section 5.1: at most 2^14 bytes).
pub const TLS_RECORD_BYTES: usize = 16 * KIB;
/// What one TLS record adds to its plaintext, at most: header, explicit nonce or content type, tag.
pub const TLS_RECORD_OVERHEAD: usize = 64;
/// A buffer for the ciphertext of one large write: what was gathered, and one more piece of that size.
pub const TLS_OUTPUT_BYTES: usize = TLS_WRITE_BYTES + 2 * KIB;
/// Such buffers that a shard keeps between writes.
pub const TLS_SPARE_BUFFERS: usize = 8;
/// A larger one is not kept.
pub const TLS_SPARE_BYTES: usize = 2 * TLS_OUTPUT_BYTES;
const _: () = assert!(TLS_WRITE_BYTES / TLS_RECORD_BYTES * TLS_RECORD_OVERHEAD < 2 * KIB);
/// Sessions that are remembered to be resumed with upstreams of one trust, in all shards.
pub const TLS_CLIENT_SESSIONS: usize = KIB;
/// `ringward check` warns of certificates that expire within this time.
pub const CERTIFICATE_WARNING: Duration = Duration::from_secs(14 * 86_400);
/// Entries of a shard's ring, unless they are configured.
pub const RING_ENTRIES: u32 = 4096;
/// Connections that the kernel queues for one listener, unless it is configured.
pub const LISTEN_BACKLOG: i32 = 4096;
/// A connection whose deadline has passed may still be written to for this long, to say why.
pub const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a drain waits for the first request of a connection that has not had one.
pub const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(5);
/// An executor that ends waits this long for operations that dropped connections have left.
pub const SETTLE_TIMEOUT: Duration = Duration::from_secs(1);
/// How often it looks.
pub const SETTLE_INTERVAL: Duration = Duration::from_millis(1);
// --- Inspection ----------------------------------------------------------------------------------------

/// Masks of one set.
pub const MASK_RULES_MAX: usize = 64;
/// Literals of all masks of one set together.
pub const MASK_LITERALS_MAX: usize = 5_000;
/// One literal.
pub const MASK_LITERAL_BYTES_MAX: usize = 256;
/// One replacement template, as written.
pub const MASK_REPLACEMENT_BYTES_MAX: usize = 256;
/// Longest match of a custom expression.
pub const MASK_REGEX_BYTES_MAX: usize = 256;
/// Fixed bytes that matches of a custom expression begin with.
pub const MASK_REGEX_LITERAL_BYTES_MIN: usize = 3;
/// Different beginnings of one custom expression.
pub const MASK_REGEX_LITERALS_MAX: usize = 64;
/// Memory for the automaton of a custom expression.
pub const MASK_REGEX_SIZE_MAX: usize = KIB * KIB;
/// Keys of one mask.
pub const MASK_KEYS_MAX: usize = 64;
/// Bytes of one key.
pub const MASK_KEY_BYTES_MAX: usize = 64;
/// Paths of all masks of one set together.
pub const MASK_PATHS_MAX: usize = 64;
/// Steps of one path.
pub const MASK_PATH_STEPS_MAX: usize = 32;
/// White space and the colon between a key and its value.
pub const MASK_MEMBER_GAP_BYTES_MAX: usize = 64;
/// Different tokens of one session in an hour.
pub const MASK_TOKENS_MAX: usize = 1_000;
/// Sessions whose tokens are counted.
pub const MASK_TOKEN_SESSIONS_MAX: usize = 1_000;
/// Decoded bytes of one value that may be held back because they may still match.
pub const MASK_HOLD_BYTES_MAX: usize = 640;
/// Invisible characters that are left out between two places of a text, besides one for each byte there.
pub const MASK_INVISIBLE_MAX: usize = 128;
/// What is held, as received: decoded bytes as escapes of six bytes, and invisible characters as two of them.
pub const MASK_HOLD_RAW_BYTES_MAX: usize = 14 * KIB;
/// Bytes of a body that are looked at in one go; bounds the scratch memory for decoded escapes.
pub const INSPECT_BLOCK_BYTES: usize = 16 * KIB;
/// Scratch memory that a body keeps between two of its pieces, with what it holds of an event.
pub const INSPECT_SCRATCH_BYTES_MAX: usize = 48 * KIB;
/// Local part of an e-mail address (RFC 5321 section 4.5.3.1.1).
pub const EMAIL_LOCAL_BYTES_MAX: usize = 64;
/// Domain of an e-mail address (RFC 5321 section 4.5.3.1.2, less its trailing dot).
pub const EMAIL_DOMAIN_BYTES_MAX: usize = 254;
/// A server-sent event up to this size is taken as a whole; a larger one is masked while it streams.
pub const SSE_EVENT_BYTES_MAX: usize = 48 * KIB;
/// Decoded bytes of an encoded body that leave in one piece.
pub const DECODED_PIECE_BYTES: usize = 32 * KIB;
/// Decoded bytes that are passed on before more are decoded; the last piece may go beyond it.
pub const DECODED_STEP_BYTES: usize = 64 * KIB;
/// How much longer than itself an encoded body may become, beyond [`DECODED_FREE_BYTES`] (SECURITY R23).
pub const DECODED_RATIO_MAX: u64 = 100;
/// Decoded bytes that are not asked for their ratio.
pub const DECODED_FREE_BYTES: u64 = MIB as u64;
/// Average length of the parts of an encoded body (gzip members, zstd frames), beyond the first few.
pub const ENCODED_MEMBER_BYTES_MIN: u64 = KIB as u64;
/// Parts of any length.
pub const ENCODED_MEMBERS_FREE: u64 = 16;
/// One header of a gzip member: most is names and comments, which nobody reads.
pub const GZIP_HEADER_BYTES_MAX: usize = 8 * KIB;
/// Window of a zstd stream: 8 MiB (RFC 9659). Those of brotli have at most 4 MiB.
pub const ZSTD_WINDOW_BITS_MAX: u32 = 23;
/// Values of one answer that are streamed at the same time.
pub const SSE_STREAMS_MAX: usize = 16;
/// Pieces of streamed values in one event.
pub const SSE_PIECES_MAX: usize = 128;
/// Bytes of the members that are repeated in an event that the gateway makes to end a value.
pub const SSE_ECHO_BYTES_MAX: usize = KIB;

// --- Approvals -----------------------------------------------------------------------------------------

/// Requests of one caller, and of all, that may wait for people; more are refused (SECURITY R37).
pub const HOLD_WAITING_PER_AGENT: usize = 100;
pub const HOLD_WAITING_MAX: usize = 10_000;
/// How long a held request may be without its caller.
pub const HOLD_RETURN: Duration = Duration::from_secs(60);
/// How long a refusal, or a use that is not to be repeated, is remembered.
pub const HOLD_REFUSAL_STICKY: Duration = Duration::from_secs(600);
/// How often, and for how long, a model may be asked again whose answer broke off.
pub const HOLD_RESENDS: u64 = 2;
pub const HOLD_RESEND_WINDOW: Duration = Duration::from_secs(120);
/// How long one request is kept without an answer; what language models' clients wait for, and the rest that
/// is left to them; never less than this.
pub const HOLD_SLICE_HTTP: Duration = Duration::from_secs(90);
pub const HOLD_SLICE_MCP: Duration = Duration::from_secs(50);
pub const HOLD_SLICE_LLM_MAX: Duration = Duration::from_secs(300);
pub const HOLD_SLICE_MARGIN: Duration = Duration::from_secs(20);
pub const HOLD_SLICE_MIN: Duration = Duration::from_millis(100);
/// How much later a shard answers by itself.
pub const HOLD_SLICE_GRACE: Duration = Duration::from_secs(5);
/// What people see of a body.
pub const HOLD_EXCERPT_BYTES: usize = 4 * KIB;
/// Held bodies in memory; further ones wait in files without a name.
pub const HOLD_MEMORY_BYTES: usize = 64 * MIB;
/// Events that a watcher may have missed.
pub const HOLD_EVENTS: usize = KIB;
/// Notices that wait for one target; further ones are dropped and counted.
pub const NOTIFY_WAITING_MAX: usize = KIB;
/// Pauses between the tries of one notice (Standard Webhooks, "Deliverability and reliability"). Then it is
/// given up.
pub const NOTIFY_PAUSES: [Duration; 9] = [
    Duration::from_secs(5),
    Duration::from_secs(5 * 60),
    Duration::from_secs(30 * 60),
    Duration::from_secs(2 * 3_600),
    Duration::from_secs(5 * 3_600),
    Duration::from_secs(10 * 3_600),
    Duration::from_secs(14 * 3_600),
    Duration::from_secs(20 * 3_600),
    Duration::from_secs(24 * 3_600),
];
/// One try, from the look-up of the name to the end of the answer's head.
pub const NOTIFY_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest that a receiver may ask to be left alone.
pub const NOTIFY_RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);
/// How often what waits is looked at.
pub const HOLD_TICK: Duration = Duration::from_millis(250);
/// Blocks of one conversation that are told apart; one with more is looked at whole every turn.
pub const CONVERSATION_BLOCKS_MAX: usize = 16 * KIB;
/// Turns that are remembered of one subject; the one that was met longest ago is forgotten first.
pub const CONVERSATION_TURNS_PER_SUBJECT: usize = 512;
/// Turns that are remembered of all subjects.
pub const CONVERSATION_TURNS_MAX: usize = 64 * KIB;
/// Blocks of one conversation that are replaced; one with more is refused.
pub const CONVERSATION_REMOVED_MAX: usize = 64;
/// Changes of what is remembered that wait to be stored; a restart forgets more.
pub const CONVERSATION_CHANGES_MAX: usize = 16 * KIB;
/// How often they are stored.
pub const CONVERSATION_STORE_INTERVAL: Duration = Duration::from_millis(500);
/// A held body up to this size is read once more for what is new in it; of a longer one people see the
/// beginning.
pub const CONVERSATION_EXCERPT_BODY_MAX: usize = 8 * MIB;
/// Longest life of a grant, and the uses of one for a session.
pub const GRANT_MAX: Duration = Duration::from_secs(8 * 3_600);
pub const GRANT_SESSION_USES: u64 = 50;

// --- Admin ---------------------------------------------------------------------------------------------

/// Open connections of one admin listener; more wait in the kernel's queue. Each listener has its own.
pub const ADMIN_CONNECTIONS_MAX: usize = 64;
/// Connections that wait in the kernel's queue of the admin socket.
pub const ADMIN_BACKLOG: i32 = 64;
/// A request body of the admin interface.
pub const ADMIN_BODY_BYTES_MAX: usize = 512 * KIB;
/// A file in an include folder of the configuration.
pub const INCLUDED_BYTES_MAX: usize = 256 * KIB;
/// Files in one include folder.
pub const INCLUDED_FILES_MAX: usize = 1_024;
/// What one connection of the admin interface may have read and not yet handled.
pub const ADMIN_BUFFER_BYTES_MAX: usize = 64 * KIB;
/// A connection of the admin interface is closed after this time, between two requests.
pub const ADMIN_CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// A request that is under way then may take this much longer.
pub const ADMIN_CONNECTION_GRACE: Duration = Duration::from_secs(30);
/// At the end of the process all requests under way may take this long.
pub const ADMIN_STOP_TIMEOUT: Duration = Duration::from_secs(3);

/// How long somebody may take to log in, from the click to the way back from the issuer.
pub const LOGIN_TIMEOUT: Duration = Duration::from_secs(600);
/// Logins under way, of all addresses and of one; then the oldest of them ends.
pub const LOGINS_MAX: usize = 512;
pub const LOGINS_PER_ADDRESS: usize = 64;
/// Logins that the issuer is asked about at once; more are turned away.
pub const LOGIN_REQUESTS_MAX: usize = 8;
/// People who are logged in, and the logins of one of them; then the one that was idle longest ends.
pub const LOGIN_SESSIONS_MAX: usize = 1_024;
pub const LOGIN_SESSIONS_PER_PERSON: usize = 16;
/// How long a session and its idleness may be configured to last.
pub const LOGIN_IDLE_MIN: Duration = Duration::from_secs(60);
pub const LOGIN_LIFETIME_MAX: Duration = Duration::from_secs(24 * 3_600);
/// A page to come back to, and an authorization code.
pub const LOGIN_PATH_BYTES_MAX: usize = 2 * KIB;
pub const LOGIN_CODE_BYTES_MAX: usize = 4 * KIB;
/// What is known of where an issuer's endpoints are is looked at again after this time.
pub const LOGIN_DISCOVERY_AGE: Duration = Duration::from_secs(300);
/// How long a code that a browser brings to the command line is good.
pub const LOGIN_HANDOVER_TIMEOUT: Duration = Duration::from_secs(60);
// --- Demo ----------------------------------------------------------------------------------------------

/// Request body that an upstream of the demo takes.
pub const DEMO_BODY_BYTES_MAX: usize = 64 * MIB;
/// Bytes that the recorder of the demo keeps, of all connections together.
pub const RECORDER_BYTES_MAX: usize = 256 * MIB;

const _: () = assert!(RECEIVE_BYTES_MIN <= RECEIVE_BYTES_MAX && HEAD_BYTES_MAX <= RECEIVE_BYTES_MAX);
const _: () = assert!(REQUEST_LINE_BYTES_MAX < HEAD_BYTES_MAX && HEAD_BYTES_MAX <= ADMIN_BUFFER_BYTES_MAX);
const _: () = assert!(SECRET_BYTES_MIN <= SECRET_BYTES_MAX);
const _: () = assert!(JWKS_REFETCH_INTERVAL.as_secs() <= JWKS_REFRESH_INTERVAL.as_secs());
const _: () = assert!(EMAIL_LOCAL_BYTES_MAX + EMAIL_DOMAIN_BYTES_MAX + 2 <= MASK_HOLD_BYTES_MAX);
const _: () = assert!(MASK_LITERAL_BYTES_MAX < MASK_HOLD_BYTES_MAX);
const _: () = assert!(MASK_REGEX_BYTES_MAX < MASK_HOLD_BYTES_MAX);
const _: () = assert!(MASK_KEY_BYTES_MAX + MASK_MEMBER_GAP_BYTES_MAX + 4 < MASK_HOLD_BYTES_MAX);
const _: () = assert!(MASK_HOLD_BYTES_MAX * 18 + MASK_INVISIBLE_MAX * 12 <= MASK_HOLD_RAW_BYTES_MAX);
const _: () = assert!(MASK_HOLD_RAW_BYTES_MAX < INSPECT_BLOCK_BYTES);
