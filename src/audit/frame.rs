use super::{
    hash::{Hash, link, sha256, stored_leaf},
    payload,
    record::{Kind, Record},
    segment::{read_array, read_u64},
    wire::DecodeError,
};
use crate::{
    buffer::append,
    limits::{CONTENT_BYTES_MAX, RECORD_BYTES_MAX},
};

/// Bytes in front of a payload.
///
/// ```text
///   0  u8 zero (RFC 6962's mark of a leaf)      1  u8 kind      2  u16 flags
///   4  u32 payload length      8  u64 sequence      16  u32 tail length
///  20  payload
///   …  32 bytes: chain hash = SHA-256(0x02 ‖ chain hash before ‖ SHA-256(this frame up to here))
///   …  tail: only with flag 1, salt (32 bytes) ‖ body bytes
/// ```
pub(super) const FRAME_HEADER_BYTES: usize = 20;
/// Flag: body bytes are stored behind the record.
const FLAG_KEPT: u16 = 1;
/// Salt in front of stored bytes.
const SALT_BYTES: usize = 32;

/// A record that no frame can hold; whoever built it is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes is too large")]
pub struct TooLarge {
    pub bytes: usize,
}

/// Hashes of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// Its leaf in the tree.
    pub leaf: Hash,
    /// The chain up to and with it.
    pub chain: Hash,
}

/// Appends `record` as the frame with that sequence number behind `previous`, and returns its hashes.
///
/// # Errors
/// [`TooLarge`]; `out` is as it was.
pub fn encode(
    record: &Record,
    sequence: u64,
    previous: &Hash,
    out: &mut Vec<u8>,
) -> Result<Hashes, TooLarge> {
    let start = out.len();
    out.resize(start + FRAME_HEADER_BYTES, 0);
    payload::write(record, out);
    let payload = out.len() - start - FRAME_HEADER_BYTES;
    let kept = match record {
        Record::Content(content) if content.keep => content.leaves.as_ref().map(|leaves| (content, leaves)),
        _ => None,
    };
    let body = kept.map_or(0, |(content, _)| content.bytes.len_bytes());
    if payload > RECORD_BYTES_MAX || body > CONTENT_BYTES_MAX {
        out.truncate(start);
        return Err(TooLarge { bytes: payload.max(body) });
    }
    let tail = if kept.is_some() { SALT_BYTES + body } else { 0 };
    let flags = if kept.is_some() { FLAG_KEPT } else { 0 };
    let header = &mut out[start..start + FRAME_HEADER_BYTES];
    header[1] = record.kind() as u8;
    header[2..4].copy_from_slice(&flags.to_le_bytes());
    header[4..8].copy_from_slice(&(payload as u32).to_le_bytes());
    header[8..16].copy_from_slice(&sequence.to_le_bytes());
    header[16..20].copy_from_slice(&(tail as u32).to_le_bytes());
    let leaf = sha256(&out[start..]);
    let chain = link(previous, &leaf);
    out.extend_from_slice(&chain);
    if let Some((content, leaves)) = kept {
        out.extend_from_slice(&leaves.salt);
        for chunk in content.bytes.iter() {
            append(out, chunk);
        }
    }
    Ok(Hashes { leaf, chain })
}

/// One record as it lies in a segment, checked against the chain.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub kind: Kind,
    pub sequence: u64,
    /// RFC 6962 leaf hash of the record.
    pub leaf: Hash,
    /// Chain hash up to and with this record.
    pub hash: Hash,
    pub payload: &'a [u8],
    /// Salt and body bytes, where they are stored.
    pub kept: Option<&'a [u8]>,
    /// Zeros stand in their place: they were erased.
    pub erased: bool,
    /// All its bytes in the segment.
    pub length: usize,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameError {
    Truncated,
    Shape,
    Kind(u8),
    Sequence(u64),
    Chain,
    Content,
    Payload(DecodeError),
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`, which must be record `sequence` behind `previous`.
    pub(super) fn parse(bytes: &'a [u8], sequence: u64, previous: &Hash) -> Result<Frame<'a>, FrameError> {
        let header = bytes.first_chunk::<FRAME_HEADER_BYTES>().ok_or(FrameError::Truncated)?;
        let payload_len = u32::from_le_bytes(read_array(header, 4)) as usize;
        let tail_len = u32::from_le_bytes(read_array(header, 16)) as usize;
        if header[0] != 0 || payload_len > RECORD_BYTES_MAX || tail_len > SALT_BYTES + CONTENT_BYTES_MAX {
            return Err(FrameError::Shape);
        }
        let hashed = FRAME_HEADER_BYTES + payload_len;
        let length = hashed + 32 + tail_len;
        if bytes.len() < length {
            return Err(FrameError::Truncated);
        }
        let found = read_u64(header, 8);
        if found != sequence {
            return Err(FrameError::Sequence(found));
        }
        let leaf = sha256(&bytes[..hashed]);
        let hash = link(previous, &leaf);
        if bytes[hashed..hashed + 32] != hash {
            return Err(FrameError::Chain);
        }
        let kind = Kind::from_byte(header[1]).ok_or(FrameError::Kind(header[1]))?;
        let kept = match u16::from_le_bytes([header[2], header[3]]) {
            0 if tail_len == 0 => None,
            FLAG_KEPT if kind == Kind::Content => Some(&bytes[hashed + 32..length]),
            _ => return Err(FrameError::Shape),
        };
        let payload = &bytes[FRAME_HEADER_BYTES..hashed];
        let erased = kept.is_some_and(is_erased);
        if let Some(kept) = kept
            && !erased
        {
            check_kept(payload, kept)?;
        }
        Ok(Frame { kind, sequence, leaf, hash, payload, kept, erased, length })
    }

    /// The bytes that its leaf hash is over: header and payload.
    pub fn leaf_bytes(&self) -> Vec<u8> {
        let tail = self.kept.map_or(0, <[u8]>::len) as u32;
        let flags = if self.kept.is_some() { FLAG_KEPT } else { 0 };
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + self.payload.len());
        bytes.extend_from_slice(&[0, self.kind as u8]);
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&(self.payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&tail.to_le_bytes());
        bytes.extend_from_slice(self.payload);
        bytes
    }

    /// The record itself.
    ///
    /// # Errors
    /// [`DecodeError`]: the payload is not one of its kind; its writer is at fault, for the chain held.
    pub fn decode(&self) -> Result<Record, DecodeError> {
        payload::read(self.kind, self.payload, self.kept.filter(|_| !self.erased))
    }

    /// The exchange that the record belongs to; `None` for kinds without one.
    ///
    /// # Errors
    /// [`DecodeError`] as for [`Frame::decode`].
    pub fn exchange(&self) -> Result<Option<super::ExchangeId>, DecodeError> {
        match self.kind {
            Kind::Intent | Kind::Content | Kind::Outcome | Kind::Refusal | Kind::Approval | Kind::Consume => {
                payload::read_id(self.payload).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// One record without its log: what a proof is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct LoneFrame<'a> {
    pub(super) sequence: u64,
    pub(super) leaf: Hash,
    kind: Kind,
    payload: &'a [u8],
    kept: Option<&'a [u8]>,
}

impl<'a> LoneFrame<'a> {
    /// Reads header and payload in `bytes`, with the salt and bytes that stand behind them in a log.
    ///
    /// # Errors
    /// What does not fit together, in words.
    pub(super) fn parse(bytes: &'a [u8], kept: Option<&'a [u8]>) -> Result<LoneFrame<'a>, &'static str> {
        let (header, payload) =
            bytes.split_first_chunk::<FRAME_HEADER_BYTES>().ok_or("its frame ends too early")?;
        let payload_len = u32::from_le_bytes(read_array(header, 4)) as usize;
        let tail_len = u32::from_le_bytes(read_array(header, 16)) as usize;
        if header[0] != 0 || payload_len != payload.len() || payload_len > RECORD_BYTES_MAX {
            return Err("its frame");
        }
        let kind = Kind::from_byte(header[1]).ok_or("its kind is not known")?;
        let flags = u16::from_le_bytes([header[2], header[3]]);
        match (flags, kept) {
            (0, None) if tail_len == 0 => {}
            (FLAG_KEPT, Some(kept)) if kind == Kind::Content && kept.len() == tail_len => {
                check_kept(payload, kept).map_err(|_| "its stored bytes")?;
            }
            _ => return Err("its stored bytes are missing, or too many"),
        }
        Ok(LoneFrame { sequence: read_u64(header, 8), leaf: sha256(bytes), kind, payload, kept })
    }

    /// The record itself.
    ///
    /// # Errors
    /// [`DecodeError`]: the payload is not one of its kind.
    pub(super) fn decode(&self) -> Result<Record, DecodeError> {
        payload::read(self.kind, self.payload, self.kept)
    }
}

/// Whether a salt and the bytes behind it were erased. No random salt is zero.
fn is_erased(kept: &[u8]) -> bool {
    kept.iter().all(|byte| *byte == 0)
}

fn check_kept(payload: &[u8], kept: &[u8]) -> Result<(), FrameError> {
    let (len, leaf) = payload::read_leaf(payload).map_err(FrameError::Payload)?;
    if kept.len() as u64 != len.saturating_add(SALT_BYTES as u64) {
        return Err(FrameError::Shape);
    }
    if stored_leaf(kept) != leaf {
        return Err(FrameError::Content);
    }
    Ok(())
}
