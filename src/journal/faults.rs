//! Disks for tests: one whose operations fail on demand, and one that forgets what was not synced.

use super::{
    disk::{Disk, DiskFile, OsDisk},
    keep::Room,
};
use crate::limits::PAGE_BYTES;
use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

/// Fails the operations that it is told to fail; otherwise the real file system.
#[derive(Debug)]
pub struct FaultDisk {
    /// Operations so far.
    count: AtomicU64,
    /// The first operation that fails, and whether all later ones fail too.
    first: u64,
    lasting: bool,
    kind: io::ErrorKind,
    healed: AtomicBool,
    /// Syncs that succeeded.
    pub syncs: AtomicU64,
    /// What is said of the room on the disk, instead of the truth.
    pub room: Mutex<Option<Room>>,
    /// See [`FaultDisk::fill_while`].
    reserve: Mutex<Option<PathBuf>>,
    /// Whether writes stand still.
    held: Mutex<bool>,
    released: Condvar,
}

impl FaultDisk {
    /// Only operation `number` fails, counted from 1.
    pub fn once(number: u64, kind: io::ErrorKind) -> Arc<FaultDisk> {
        FaultDisk::new(number, false, kind)
    }

    /// All operations fail from `number` on, until [`FaultDisk::heal`].
    pub fn from(number: u64, kind: io::ErrorKind) -> Arc<FaultDisk> {
        FaultDisk::new(number, true, kind)
    }

    fn new(first: u64, lasting: bool, kind: io::ErrorKind) -> Arc<FaultDisk> {
        let (count, healed, syncs, room, reserve) = Default::default();
        let (held, released) = Default::default();
        Arc::new(FaultDisk { count, first, lasting, kind, healed, syncs, room, reserve, held, released })
    }

    /// Writes stand still until [`FaultDisk::release`].
    pub fn hold(&self) {
        *self.held.lock().unwrap() = true;
    }

    pub fn release(&self) {
        *self.held.lock().unwrap() = false;
        self.released.notify_all();
    }

    /// The disk is full until the file `reserve` is removed; then there is room, but not for that file again.
    pub fn fill_while(&self, reserve: PathBuf) {
        *self.reserve.lock().unwrap() = Some(reserve);
    }

    /// Whether there is no room, for anything or for the file at `path`.
    fn is_full(&self, path: Option<&Path>) -> bool {
        let reserve = self.reserve.lock().unwrap();
        let is_full = reserve.as_deref().is_some_and(|reserve| reserve.exists() || path == Some(reserve));
        is_full && !self.healed.load(Ordering::SeqCst)
    }

    pub fn heal(&self) {
        self.healed.store(true, Ordering::SeqCst);
    }

    /// Operations so far.
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn step(&self) -> io::Result<()> {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let fails = number == self.first || (self.lasting && number > self.first) || self.is_full(None);
        if fails && !self.healed.load(Ordering::SeqCst) {
            return Err(io::Error::new(self.kind, "made to fail"));
        }
        Ok(())
    }
}

/// A disk and its files share the counter.
#[derive(Debug)]
pub struct Faulty(pub Arc<FaultDisk>);

#[derive(Debug)]
struct FaultyFile(Arc<FaultDisk>, Arc<dyn DiskFile>);

impl Disk for Faulty {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.step()?;
        if self.0.is_full(Some(path)) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Arc::new(FaultyFile(Arc::clone(&self.0), OsDisk.create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.0.step()?;
        Ok(Arc::new(FaultyFile(Arc::clone(&self.0), OsDisk.open(path)?)))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.step()?;
        OsDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // A full disk lets files go.
        if !self.0.is_full(None) {
            self.0.step()?;
        }
        OsDisk.remove(path)
    }

    /// Is not counted: nothing depends on when somebody looks.
    fn room(&self, path: &Path) -> io::Result<Room> {
        self.0.room.lock().unwrap().map_or_else(|| OsDisk.room(path), Ok)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        self.0.step()
    }
}

impl DiskFile for FaultyFile {
    /// A write that fails leaves half of its bytes.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        drop(self.0.released.wait_while(self.0.held.lock().unwrap(), |held| *held).unwrap());
        if let Err(error) = self.0.step() {
            self.1.write_at(&bytes[..bytes.len() / 2], offset)?;
            return Err(error);
        }
        self.1.write_at(bytes, offset)
    }

    /// One that fails leaves half of its zeros.
    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        if let Err(error) = self.0.step() {
            let half = len / 2 / PAGE_BYTES as u64 * PAGE_BYTES as u64;
            self.1.write_zeros(offset, half)?;
            return Err(error);
        }
        self.1.write_zeros(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.step()?;
        self.0.syncs.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.0.step()?;
        self.1.truncate(len)
    }
}

/// Remembers what each file held at its last sync, so that a power cut can be played: any subset of the pages
/// written since may be lost.
#[derive(Clone, Debug, Default)]
pub struct PowerDisk(Arc<Mutex<HashMap<PathBuf, Synced>>>);

type Synced = Arc<Mutex<Vec<u8>>>;

#[derive(Debug)]
struct PowerFile {
    file: Arc<dyn DiskFile>,
    /// Another name of the same file, which lasts through a rename.
    real: fs::File,
    synced: Synced,
}

impl PowerDisk {
    /// Writes the folder `from` as a power cut may leave it into `to`; `survives` is asked for each page that
    /// was written and not synced.
    pub fn cut(&self, from: &Path, to: &Path, mut survives: impl FnMut() -> bool) {
        fs::create_dir_all(to).unwrap();
        for (path, synced) in self.0.lock().unwrap().iter().filter(|(path, _)| path.starts_with(from)) {
            let now = fs::read(path).unwrap();
            let mut after = synced.lock().unwrap().clone();
            after.resize(now.len(), 0);
            for start in (0..now.len()).step_by(PAGE_BYTES) {
                let page = start..(start + PAGE_BYTES).min(now.len());
                if after[page.clone()] != now[page.clone()] && survives() {
                    after[page.clone()].copy_from_slice(&now[page]);
                }
            }
            fs::write(to.join(path.file_name().unwrap()), after).unwrap();
        }
    }

    fn wrap(&self, path: &Path, file: Arc<dyn DiskFile>) -> io::Result<Arc<dyn DiskFile>> {
        let synced = Arc::clone(self.0.lock().unwrap().entry(path.to_owned()).or_default());
        Ok(Arc::new(PowerFile { file, real: fs::File::open(path)?, synced }))
    }
}

impl Disk for PowerDisk {
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(path, OsDisk.create(path)?)
    }

    fn open(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        self.wrap(path, OsDisk.open(path)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)?;
        let mut files = self.0.lock().unwrap();
        if let Some(synced) = files.remove(from) {
            files.insert(to.to_owned(), synced);
        }
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.lock().unwrap().remove(path);
        OsDisk.remove(path)
    }

    fn room(&self, path: &Path) -> io::Result<Room> {
        OsDisk.room(path)
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for PowerFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_at(bytes, offset)
    }

    fn write_zeros(&self, offset: u64, len: u64) -> io::Result<()> {
        self.file.write_zeros(offset, len)
    }

    fn sync(&self) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let mut bytes = vec![0; self.real.metadata()?.len() as usize];
        self.real.read_exact_at(&mut bytes, 0)?;
        *self.synced.lock().unwrap() = bytes;
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }
}
