//! The fixed parts of a segment: its header, batch headers and the seal. `FORMAT.md` draws them.

use super::hash::{CHECK_BYTES, Hash, check};
use crate::{limits, time::Timestamp};

/// Version that this code writes.
pub const FORMAT_VERSION: u16 = 1;
/// Bytes of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 128;
/// Bytes of a batch header.
pub const BATCH_HEADER_BYTES: usize = 64;
/// Bytes of a seal.
pub const SEAL_BYTES: usize = 104;

const SEGMENT_MAGIC: &[u8; 8] = b"RINGWARD";
/// First bytes of every batch.
pub const BATCH_MAGIC: &[u8; 8] = b"\x89RWBATCH";
const SEAL_MAGIC: &[u8; 8] = b"\x89RW-SEAL";
const ALGORITHM: &[u8; 16] = b"sha-256\0\0\0\0\0\0\0\0\0";

/// First part of a segment.
///
/// ```text
///   0  "RINGWARD"
///   8  u16 version = 1      10  u16 header length = 128      12  u32 zero
///  16  hash algorithm, ASCII, padded with zeros: "sha-256"
///  32  u64 segment number, from 1
///  40  u64 created, microseconds since 1970
///  48  u64 sequence of the first record
///  56  u64 zero
///  64  32 bytes: chain hash of the record before the first one; zeros before record 1
///  96  16 bytes: random salt of this segment's checks
/// 112  16 bytes: check = SHA-256(bytes 0..112)[..16]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    pub number: u64,
    pub created: Timestamp,
    pub first_sequence: u64,
    pub previous: Hash,
    pub salt: [u8; 16],
}

/// Why 128 bytes are not a segment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeaderError {
    Magic,
    Version(u16),
    Algorithm,
    Check,
}

impl SegmentHeader {
    /// The bytes of this header.
    pub fn to_bytes(&self) -> [u8; SEGMENT_HEADER_BYTES] {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[..8].copy_from_slice(SEGMENT_MAGIC);
        bytes[8..10].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[10..12].copy_from_slice(&(SEGMENT_HEADER_BYTES as u16).to_le_bytes());
        bytes[16..32].copy_from_slice(ALGORITHM);
        bytes[32..40].copy_from_slice(&self.number.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.created.0.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[64..96].copy_from_slice(&self.previous);
        bytes[96..112].copy_from_slice(&self.salt);
        let check = check(&[], &bytes[..112]);
        bytes[112..].copy_from_slice(&check);
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8; SEGMENT_HEADER_BYTES]) -> Result<SegmentHeader, HeaderError> {
        if bytes[..8] != *SEGMENT_MAGIC {
            return Err(HeaderError::Magic);
        }
        if bytes[112..] != check(&[], &bytes[..112]) {
            return Err(HeaderError::Check);
        }
        let version = u16::from_le_bytes([bytes[8], bytes[9]]);
        if version != FORMAT_VERSION {
            return Err(HeaderError::Version(version));
        }
        if bytes[16..32] != *ALGORITHM {
            return Err(HeaderError::Algorithm);
        }
        if bytes[10..16] != [SEGMENT_HEADER_BYTES as u8, 0, 0, 0, 0, 0] || bytes[56..64] != [0; 8] {
            return Err(HeaderError::Check);
        }
        Ok(SegmentHeader {
            number: read_u64(bytes, 32),
            created: Timestamp(read_u64(bytes, 40)),
            first_sequence: read_u64(bytes, 48),
            previous: read_array(bytes, 64),
            salt: read_array(bytes, 96),
        })
    }
}

/// Head of a batch: what one write put into the segment. It names its own place, so that it is found behind
/// damage and cannot be moved.
///
/// ```text
///   0  0x89 "RWBATCH"
///   8  u64 segment number      16  u64 offset of this header in the segment
///  24  u64 sequence of the first record
///  32  u64 durable_through: every record up to this one was synced when this batch was built
///  40  u32 bytes of the records that follow      44  u32 number of records
///  48  16 bytes: check = SHA-256(salt ‖ bytes 0..48)[..16]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    pub segment: u64,
    pub offset: u64,
    pub first_sequence: u64,
    pub durable_through: u64,
    pub length: u32,
    pub count: u32,
}

impl BatchHeader {
    /// The bytes of this header in the segment with that salt.
    pub fn to_bytes(&self, salt: &[u8; 16]) -> [u8; BATCH_HEADER_BYTES] {
        let mut bytes = [0; BATCH_HEADER_BYTES];
        bytes[..8].copy_from_slice(BATCH_MAGIC);
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.durable_through.to_le_bytes());
        bytes[40..44].copy_from_slice(&self.length.to_le_bytes());
        bytes[44..48].copy_from_slice(&self.count.to_le_bytes());
        let check = check(salt, &bytes[..48]);
        bytes[48..].copy_from_slice(&check);
        bytes
    }

    /// Reads a header; `None` if its magic or its check is wrong, or a length is out of bounds.
    pub fn from_bytes(bytes: &[u8; BATCH_HEADER_BYTES], salt: &[u8; 16]) -> Option<BatchHeader> {
        if bytes[..8] != *BATCH_MAGIC || bytes[48..] != check(salt, &bytes[..48]) {
            return None;
        }
        let header = BatchHeader {
            segment: read_u64(bytes, 8),
            offset: read_u64(bytes, 16),
            first_sequence: read_u64(bytes, 24),
            durable_through: read_u64(bytes, 32),
            length: u32::from_le_bytes(read_array(bytes, 40)),
            count: u32::from_le_bytes(read_array(bytes, 44)),
        };
        (header.length as usize <= limits::BATCH_BYTES_MAX && header.count > 0).then_some(header)
    }
}

/// Why a segment was sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SealReason {
    /// It was full: another segment follows.
    Rotated = 1,
    /// The journal was closed.
    Closed = 2,
    /// A start found it without a seal, and cut what was damaged.
    Recovered = 3,
    /// A write or sync failed: another segment goes on behind the last synced record.
    Poisoned = 4,
}

/// Last part of a segment; nothing may follow it.
///
/// ```text
///   0  0x89 "RW-SEAL"
///   8  u64 segment number      16  u64 offset of this seal in the segment
///  24  u64 sequence of the last record      32  u64 number of records in this segment
///  40  u64 sealed at, microseconds since 1970
///  48  u8 reason (1 rotated, 2 closed, 3 recovered, 4 poisoned)      49  7 zeros
///  56  32 bytes: chain hash of the last record
///  88  16 bytes: check = SHA-256(salt ‖ bytes 0..88)[..16]
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    pub segment: u64,
    pub offset: u64,
    pub last_sequence: u64,
    pub records: u64,
    pub at: Timestamp,
    pub reason: SealReason,
    pub hash: Hash,
}

impl Seal {
    /// The bytes of this seal in the segment with that salt.
    pub fn to_bytes(&self, salt: &[u8; 16]) -> [u8; SEAL_BYTES] {
        let mut bytes = [0; SEAL_BYTES];
        bytes[..8].copy_from_slice(SEAL_MAGIC);
        bytes[8..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last_sequence.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.records.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.at.0.to_le_bytes());
        bytes[48] = self.reason as u8;
        bytes[56..88].copy_from_slice(&self.hash);
        let check = check(salt, &bytes[..88]);
        bytes[88..].copy_from_slice(&check);
        bytes
    }

    /// Whether a seal begins here.
    pub(super) fn is_magic(bytes: &[u8]) -> bool {
        bytes.starts_with(SEAL_MAGIC)
    }

    /// Reads a seal; `None` if its magic, its check or a field is wrong.
    pub fn from_bytes(bytes: &[u8; SEAL_BYTES], salt: &[u8; 16]) -> Option<Seal> {
        if !Seal::is_magic(bytes) || bytes[88..] != check(salt, &bytes[..88]) || bytes[49..56] != [0; 7] {
            return None;
        }
        let reasons = [SealReason::Rotated, SealReason::Closed, SealReason::Recovered, SealReason::Poisoned];
        Some(Seal {
            segment: read_u64(bytes, 8),
            offset: read_u64(bytes, 16),
            last_sequence: read_u64(bytes, 24),
            records: read_u64(bytes, 32),
            at: Timestamp(read_u64(bytes, 40)),
            reason: reasons.into_iter().find(|reason| *reason as u8 == bytes[48])?,
            hash: read_array(bytes, 56),
        })
    }
}

pub(super) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(read_array(bytes, at))
}

/// `N` bytes at `at`. The callers' arrays and offsets are constants that fit.
pub(super) fn read_array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(&bytes[at..at + N]);
    array
}

const _: () = assert!(CHECK_BYTES == 16);
