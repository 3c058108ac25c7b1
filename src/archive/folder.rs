//! The files of a log folder.

use super::Error;
use crate::segments::{self, Input, Keys, SegmentFile};
use std::{io, path::Path};

pub(super) use crate::segments::{exists, path};

/// The segments in order. What else lies there is the verifier's business.
pub(super) fn list(dir: &Path) -> Result<Vec<SegmentFile>, Error> {
    let listed = segments::list(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
    Ok(listed.0)
}

/// Segment `number` with random access.
pub(super) fn open(dir: &Path, number: u64) -> io::Result<Input> {
    Input::open(dir, number, &Keys::default())
}
