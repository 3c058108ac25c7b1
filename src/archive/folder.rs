//! The files of a log folder.

use super::Error;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// What a segment's file name ends with.
const SUFFIX: &str = ".segment";
/// Digits of the number in it.
const DIGITS: usize = 12;

/// One segment file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    pub number: u64,
    /// Its size now, with what is preallocated.
    pub bytes: u64,
}

/// The file of segment `number`.
pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:0DIGITS$}{SUFFIX}"))
}

/// The segments in order. What else lies there is the verifier's business.
pub(super) fn list(dir: &Path) -> Result<Vec<Segment>, Error> {
    let failed = |source| Error::Io { path: dir.to_owned(), source };
    let mut segments = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Some(number) = number(&entry.file_name().to_string_lossy()) else { continue };
        // One that was deleted meanwhile is as good as never listed.
        if let Ok(metadata) = entry.metadata() {
            segments.push(Segment { number, bytes: metadata.len() });
        }
    }
    segments.sort_by_key(|segment| segment.number);
    Ok(segments)
}

fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(SUFFIX)?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_segments_are_listed_and_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for name in
            ["000000000010.segment", "000000000009.segment", "checkpoint", "1.segment", ".next.segment"]
        {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        let numbers: Vec<_> = list(dir.path()).unwrap().iter().map(|segment| segment.number).collect();
        assert_eq!(numbers, [9, 10]);
        assert!(path(dir.path(), 9).ends_with("000000000009.segment"));
    }
}
