//! The journal's view of a file system: the seam where tests make operations fail.

use crate::limits::PAGE_BYTES;
use std::{
    fmt::Debug,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
    sync::Arc,
};

/// Recordings are for the gateway's user alone.
const FILE_MODE: u32 = 0o600;

/// What the journal does to files. Reading is not behind the seam: it happens at start and by verifiers.
pub(super) trait Disk: Send + Sync + Debug {
    /// Creates a file that must not exist yet.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file for writing.
    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Writes `len` zeros at `offset` into an existing file, both multiples of [`PAGE_BYTES`], around the
    /// page cache where the file system allows it.
    fn write_zeros(&self, path: &Path, offset: u64, len: u64) -> io::Result<()>;
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes created and renamed names in a folder durable.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// What the journal does to one file.
pub(super) trait DiskFile: Send + Sync + Debug {
    /// Writes all of `bytes` at `offset`.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// `fdatasync`.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file to `len` bytes.
    fn truncate(&self, len: u64) -> io::Result<()>;
}

/// The real file system.
#[derive(Debug)]
pub(super) struct OsDisk;

impl Disk for OsDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
        Ok(Arc::new(OsFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(OsFile(OpenOptions::new().write(true).open(path)?)))
    }

    fn write_zeros(&self, path: &Path, offset: u64, len: u64) -> io::Result<()> {
        // Direct input and output wants memory at a page boundary.
        let room = vec![0; len as usize + PAGE_BYTES];
        let start = room.as_ptr().align_offset(PAGE_BYTES);
        let zeros = &room[start..start + len as usize];
        let direct = OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path);
        match direct.and_then(|file| file.write_all_at(zeros, offset)) {
            // Some file systems refuse it at the opening, others at the first write.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                OpenOptions::new().write(true).open(path)?.write_all_at(zeros, offset)
            }
            written => written,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct OsFile(File);

impl DiskFile for OsFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
}
