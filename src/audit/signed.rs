//! Fields that belong to the tree and its signatures: CHECKPOINT, KEY, and what STATE says of both.

use super::{
    merkle::Frontier,
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

/// A KEY record, as STATE repeats it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatedKey {
    /// Its note.
    pub note: Arc<str>,
    /// Its sequence number.
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

impl Fields for StatedKey {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, self.note.as_bytes());
        out.number(2, self.since);
    }

    fn read(bytes: &[u8]) -> Result<StatedKey, DecodeError> {
        let (mut note, mut since) = (None, 0);
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => note = Some(text(tag, value)?.into()),
                2 => since = present(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(StatedKey { note: note.ok_or(DecodeError::Missing(1))?, since })
    }
}
