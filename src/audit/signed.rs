//! Fields that belong to the tree and its signatures: CHECKPOINT, KEY, and what STATE says of both.

use super::{
    merkle::Frontier,
    note::PublicKey,
    wire::{DecodeError, Fields, Reader, Writer, array, present, text, time},
};
use crate::time::Timestamp;
use std::sync::Arc;

/// CHECKPOINT or KEY: a signed note.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    pub at: Timestamp,
    /// The note, as it was signed.
    pub note: Arc<str>,
}

/// The key that signs the log at some place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInForce {
    /// Counts the keys of the log, from 1.
    pub number: u64,
    pub key: PublicKey,
    /// Sequence of its KEY record.
    pub since: u64,
}

impl Fields for Signed {
    fn write(&self, out: &mut Writer<'_>) {
        out.time(1, self.at);
        out.bytes(2, self.note.as_bytes());
    }

    fn read(bytes: &[u8]) -> Result<Signed, DecodeError> {
        let (mut at, mut note) = (Timestamp(0), None);
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => at = time(tag, value)?,
                2 => note = Some(text(tag, value)?.into()),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(Signed { at, note: note.ok_or(DecodeError::Missing(2))? })
    }
}

impl Fields for Frontier {
    fn write(&self, out: &mut Writer<'_>) {
        out.number(1, self.size());
        for node in self.nodes() {
            out.bytes(2, node);
        }
    }

    fn read(bytes: &[u8]) -> Result<Frontier, DecodeError> {
        let (mut size, mut nodes) = (0, Vec::new());
        let mut fields = Reader::new(bytes, &[2]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => size = present(tag, value)?,
                2 => nodes.push(array(tag, value)?),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Frontier::from_nodes(size, nodes).ok_or(DecodeError::Value(2))
    }
}

impl Fields for KeyInForce {
    fn write(&self, out: &mut Writer<'_>) {
        out.number(1, self.number);
        out.text(2, self.key.name());
        out.bytes(3, self.key.bytes());
        out.number(4, self.since);
    }

    fn read(bytes: &[u8]) -> Result<KeyInForce, DecodeError> {
        let (mut count, mut name, mut key, mut since) = (0, "", None, 0);
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => count = present(tag, value)?,
                2 => name = text(tag, value)?,
                3 => key = Some(array(tag, value)?),
                4 => since = present(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        let key = PublicKey::new(name, key.ok_or(DecodeError::Missing(3))?);
        Ok(KeyInForce { number: count, key: key.map_err(|_| DecodeError::Value(2))?, since })
    }
}
