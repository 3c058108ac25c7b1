//! The files of a log folder.

use super::Error;
use crate::segments::{self, Form, Input, Keys, SegmentFile};
use std::{
    io::{self, ErrorKind},
    path::Path,
};

pub(super) use crate::segments::{exists, path};

/// The segments in order. What else lies there is the verifier's business.
pub(super) fn list(dir: &Path) -> Result<Vec<SegmentFile>, Error> {
    let listed = segments::list(dir).map_err(|source| Error::Io { path: dir.to_owned(), source })?;
    Ok(listed.0)
}

/// Segment `number` with random access; nothing, where it is encrypted and none of `keys` opens it.
///
/// # Errors
/// As [`Input::open`].
pub(super) fn open(dir: &Path, number: u64, keys: &Keys) -> io::Result<Option<Input>> {
    match Input::open(dir, number, keys) {
        Ok(input) => Ok(Some(input)),
        // A file that this user may not read is no encrypted one.
        Err(error) if error.kind() == ErrorKind::PermissionDenied && is_encrypted(dir, number)? => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether segment `number` is there in its encrypted form alone.
fn is_encrypted(dir: &Path, number: u64) -> io::Result<bool> {
    let (segments, _) = segments::list(dir)?;
    Ok(segments.iter().any(|segment| segment.number == number && segment.form == Form::Encrypted))
}
