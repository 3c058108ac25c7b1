//! The journal's view of a file system: the seam where tests make operations fail.

use super::keep::Room;
use crate::limits::{DIRECT_WRITE_BYTES_MIN, PAGE_BYTES, SEGMENT_FILL_PIECE_BYTES};
use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io,
    ops::Range,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

/// Recordings are for the gateway's user alone.
const FILE_MODE: u32 = 0o600;

/// What the journal does to files. Reading is not behind the seam: it happens at start and by verifiers.
pub trait Disk: Send + Sync + Debug {
    /// Creates a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes a file that a failed start, or somebody who was faster, may have left or taken.
    fn remove_if_there(&self, path: &Path) -> io::Result<()> {
        match self.remove(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
    /// The room on the disk that `path` lies on.
    fn room(&self, path: &Path) -> io::Result<Room>;
    /// Makes created and renamed names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// What the journal does to one file.
pub trait DiskFile: Send + Sync + Debug {
    /// Writes all of `bytes` at `offset`. Whole pages of a long write, but for the last one, go around the
    /// page cache, where they lie at a page boundary in memory as well and the file system allows it.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes `len` zeros at `offset`, both multiples of [`PAGE_BYTES`], piece by piece and around the page
    /// cache where the file system allows it.
    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()>;
    /// `fdatasync`.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        // Some file systems refuse it here, others at the first write.
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).ok();
        Ok(Arc::new(OsFile { file, direct }))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile { file: OpenOptions::new().write(true).open(path)?, direct: None }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        let found = rustix::fs::statvfs(path)?;
        Ok(Room::of_blocks(found.f_blocks, found.f_bfree, found.f_bavail, found.f_frsize))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct OsFile {
    file: File,
    /// The same file, around the page cache. Only whole pages are written there, and never one that another
    /// write leaves in the cache.
    direct: Option<File>,
}

impl OsFile {
    /// Writes whole pages at page boundaries around the page cache, or through it where that is refused.
    fn write_pages(&self, pages: &[u8], offset: u64) -> io::Result<()> {
        match self.direct.as_ref().map(|direct| direct.write_all_at(pages, offset)) {
            Some(Err(error)) if error.kind() != io::ErrorKind::InvalidInput => Err(error),
            Some(Ok(())) => Ok(()),
            _ => self.file.write_all_at(pages, offset),
        }
    }
}

/// The whole pages of a write that is long enough and lies right to go around the page cache. The last page
/// goes through it: the next write goes on in there, and would have to wait until the disk gave it back.
fn direct_part(bytes: &[u8], offset: u64) -> Option<Range<usize>> {
    let head = (offset.next_multiple_of(PAGE_BYTES as u64) - offset) as usize;
    let pages = bytes.len().checked_sub(head + 1)? / PAGE_BYTES * PAGE_BYTES;
    let is_aligned = bytes[head..].as_ptr().align_offset(PAGE_BYTES) == 0;
    (pages >= DIRECT_WRITE_BYTES_MIN && is_aligned).then_some(head..head + pages)
}

impl DiskFile for OsFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let Some(Range { start, end }) = direct_part(bytes, offset).filter(|_| self.direct.is_some()) else {
            return self.file.write_all_at(bytes, offset);
        };
        self.file.write_all_at(&bytes[..start], offset)?;
        self.write_pages(&bytes[start..end], offset + start as u64)?;
        self.file.write_all_at(&bytes[end..], offset + end as u64)
    }

    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        // One room for all pieces: fresh memory would have to be cleared for each.
        let most = SEGMENT_FILL_PIECE_BYTES.min(len);
        let room = vec![0; most as usize + PAGE_BYTES];
        let zeros = &room[room.as_ptr().align_offset(PAGE_BYTES)..];
        let end = offset + len;
        (offset..end).step_by(SEGMENT_FILL_PIECE_BYTES as usize).try_for_each(|offset| {
            let piece = most.min(end - offset) as usize;
            self.write_pages(&zeros[..piece], offset)
        })
    }

    fn sync(&self) -> io::Result<()> {
        // Of both: it is the file that is synced, not what was written through one of its names.
        self.file.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_whole_pages_at_page_boundaries_go_around_the_cache() {
        let room = vec![0; DIRECT_WRITE_BYTES_MIN + 3 * PAGE_BYTES];
        let page = room.as_ptr().align_offset(PAGE_BYTES);
        let check = |from: usize, len: usize, offset: u64, expected: Option<Range<usize>>| {
            assert_eq!(direct_part(&room[page + from..][..len], offset), expected, "{from} {len} {offset}");
        };
        let (least, page) = (DIRECT_WRITE_BYTES_MIN, PAGE_BYTES as u64);
        check(0, least + 1, page, Some(0..least));
        check(0, least, page, None);
        check(0, least + PAGE_BYTES, page, Some(0..least));
        check(0, least + 4_000, page, Some(0..least));
        check(100, least + 4_000, page + 100, Some(3_996..3_996 + least));
        check(100, least + 3_997, page + 100, Some(3_996..3_996 + least));
        check(100, least + 3_996, page + 100, None);
        check(100, least + 4_000, page + 101, None);
        check(0, 10, 20, None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn writes_around_the_cache_and_through_it_make_one_file(
            lengths in prop::collection::vec(1usize..300_000, 1..6),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("file");
            let file = OsDisk.create(&path).unwrap();
            let size = 2 << 20;
            file.write_zeros(0, size).unwrap();
            let mut expected = Vec::new();
            for (index, length) in lengths.iter().enumerate() {
                let mut room = vec![0; length + 2 * PAGE_BYTES];
                let lead = room.as_ptr().align_offset(PAGE_BYTES) + expected.len() % PAGE_BYTES;
                room[lead..lead + length].fill(index as u8 + 1);
                file.write_at(&room[lead..lead + length], expected.len() as u64).unwrap();
                expected.extend_from_slice(&room[lead..lead + length]);
                prop_assert!(fs::read(&path).unwrap().starts_with(&expected));
            }
            expected.resize(size as usize, 0);
            prop_assert!(fs::read(&path).unwrap() == expected);
        }
    }
}
