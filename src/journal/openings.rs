//! The openings store: the nonces of commitments, beside the log and never in it. Whoever holds a nonce can
//! prove what a body was; whoever does not learns nothing from its commitment.

use super::{
    book::Opening,
    disk::{Disk, DiskFile},
};
use crate::audit::{Direction, ExchangeId, Hash};
use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    slice::ChunksExact,
    sync::Arc,
};

/// First bytes of an openings file; its version is the last one.
const MAGIC: &[u8; 16] = b"RINGWARD-OPEN\0\0\x01";
/// 16 bytes exchange id, 1 byte direction, 15 zeros, 32 bytes nonce.
const ENTRY_BYTES: usize = 64;

/// The openings of the bodies that begin in one segment.
#[derive(Debug)]
pub(super) struct Openings {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Openings {
    /// A new store for segment `number`; one that a failed start left behind is replaced.
    pub(super) fn create(disk: &dyn Disk, folder: &Path, number: u64) -> io::Result<Openings> {
        let path = path(folder, number);
        disk.remove_if_there(&path)?;
        let file = disk.create(&path)?;
        file.write_at(MAGIC, 0)?;
        Ok(Openings { file, offset: MAGIC.len() as u64 })
    }

    /// Writes `openings` and leaves it empty.
    pub(super) fn write(&mut self, openings: &mut Vec<Opening>) -> io::Result<()> {
        if openings.is_empty() {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(openings.len() * ENTRY_BYTES);
        for Opening { id, direction, nonce } in openings.iter() {
            bytes.extend_from_slice(&id.0);
            bytes.push(*direction as u8);
            bytes.extend_from_slice(&[0; 15]);
            bytes.extend_from_slice(nonce);
        }
        self.file.write_at(&bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        openings.clear();
        Ok(())
    }

    /// The file, for the sync thread.
    pub(super) fn file(&self) -> Arc<dyn DiskFile> {
        Arc::clone(&self.file)
    }
}

/// The file of the openings of segment `number`.
pub(super) fn path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:012}.openings"))
}

/// The openings of one segment, to take some out.
pub(super) struct Nonces(Vec<u8>);

impl Nonces {
    /// Those of segment `number`; `None` if there are none.
    pub(super) fn read(folder: &Path, number: u64) -> io::Result<Option<Nonces>> {
        match fs::read(path(folder, number)) {
            Ok(bytes) if bytes.starts_with(MAGIC) => Ok(Some(Nonces(bytes))),
            Ok(_) => Err(io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// What is there of each nonce. A torn last one is left out.
    fn entries(&self) -> ChunksExact<'_, u8> {
        self.0[MAGIC.len()..].chunks_exact(ENTRY_BYTES)
    }

    /// The file without the nonces of `exchanges`, and how many that were.
    pub(super) fn without(&self, exchanges: &BTreeSet<ExchangeId>) -> (Vec<u8>, u64) {
        let (mut left, mut removed) = (MAGIC.to_vec(), 0);
        for entry in self.entries() {
            let is_named = entry.first_chunk().is_some_and(|id| exchanges.contains(&ExchangeId(*id)));
            removed += u64::from(is_named);
            if !is_named {
                left.extend_from_slice(entry);
            }
        }
        (left, removed)
    }
}

/// The nonces of the bodies that began in segment `number`. A torn last entry is left out.
///
/// # Errors
/// The file cannot be read, or is not an openings file.
pub fn read_openings(folder: &Path, number: u64) -> io::Result<Vec<(ExchangeId, Direction, Hash)>> {
    let nonces = Nonces::read(folder, number)?.ok_or(io::ErrorKind::NotFound)?;
    let entry = |entry: &[u8]| {
        let direction = match entry[16] {
            1 => Direction::Request,
            2 => Direction::Response,
            _ => return None,
        };
        let id = ExchangeId(entry[..16].try_into().ok()?);
        Some((id, direction, entry[32..].try_into().ok()?))
    };
    Ok(nonces.entries().filter_map(entry).collect())
}
