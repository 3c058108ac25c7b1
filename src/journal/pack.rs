//! Packing sealed segments while the machine has nothing better to do: compressed, and where auditors are
//! named encrypted to them alone.
//!
//! What is inside stays byte for byte the segment that was sealed, so that every proof stays good and
//! `zstd -d` (after `age -d`) gives it back. An agent sends its whole history again with every turn: matches
//! reach over half a segment, so that a history is stored about once.

use super::{
    disk::{Disk, DiskFile},
    recover,
};
use crate::{
    limits::PACK_PIECE_BYTES,
    runtime,
    segments::{self, Encryptor, Form, Recipient, SegmentFile, WINDOW_LOG},
};
use std::{
    fmt,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
};
use zstd::stream::{raw::CParameter, write};

/// The fastest of zstd's usual levels: what is gained here is gained by long matches.
const LEVEL: i32 = 1;

/// What to do with sealed segments.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packing {
    /// Whether they are compressed at all.
    pub compress: bool,
    /// Who may read them; nobody: everybody who may read the folder.
    pub recipients: Vec<Recipient>,
}

impl Packing {
    fn form(&self) -> Form {
        if self.recipients.is_empty() { Form::Packed } else { Form::Encrypted }
    }
}

/// The thread that packs.
#[derive(Debug)]
pub(super) struct Packer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    packing: Packing,
    /// Segments below this one are sealed.
    active: AtomicU64,
    stopping: AtomicBool,
    /// Held while files take the place of others, and while retention deletes.
    quiet: Mutex<()>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Packer {
    /// A packer of `folder`; without a thread where nothing is to be packed.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn start(disk: Arc<dyn Disk>, folder: &Path, packing: Packing) -> io::Result<Packer> {
        let is_idle = !packing.compress && packing.recipients.is_empty();
        let shared = Arc::new(Shared {
            disk,
            folder: folder.to_owned(),
            packing,
            active: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            quiet: Mutex::new(()),
        });
        let thread = if is_idle {
            None
        } else {
            let shared = Arc::clone(&shared);
            Some(thread::Builder::new().name("journal-pack".into()).spawn(move || shared.run())?)
        };
        Ok(Packer { shared, thread: Mutex::new(thread) })
    }

    /// Packs what is sealed below segment `number`, in the calling thread.
    ///
    /// # Errors
    /// A file cannot be read or written: nothing is lost, what is not packed stays as it was.
    #[cfg(test)]
    pub(super) fn pack_now(&self, number: u64) -> io::Result<()> {
        self.shared.pack_below(number)
    }

    /// Segments below `number` are sealed now.
    pub(super) fn sealed_below(&self, number: u64) {
        self.shared.active.store(number, Ordering::Release);
        if let Some(thread) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            thread.thread().unpark();
        }
    }

    /// Nothing is packed until this is dropped.
    pub(super) fn quiet(&self) -> MutexGuard<'_, ()> {
        self.shared.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the thread; a segment that is half packed is packed again after the next start.
    pub(super) fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            drop(thread.join());
        }
    }
}

impl Shared {
    fn run(&self) {
        // Where the system does not allow it, packing competes with everything else.
        let _ = runtime::run_when_idle();
        let mut done = 0;
        while !self.stopping.load(Ordering::Acquire) {
            let active = self.active.load(Ordering::Acquire);
            if active == done {
                thread::park();
                continue;
            }
            done = active;
            if let Err(error) = self.pack_below(active)
                && !self.stopping.load(Ordering::Acquire)
            {
                let folder = self.folder.display().to_string();
                tracing::warn!(folder, %error, "a sealed audit segment stays as it is: packing it failed");
            }
        }
    }

    fn pack_below(&self, active: u64) -> io::Result<()> {
        let (segments, _) = segments::list(&self.folder)?;
        for segment in segments.iter().filter(|segment| segment.number < active) {
            if segment.form == Form::Raw && recover::seal_of(segment)?.is_some() {
                self.pack(segment)?;
            }
        }
        Ok(())
    }

    /// Puts a packed file in the place of `segment`'s, after it was read back and compared.
    fn pack(&self, segment: &SegmentFile) -> io::Result<()> {
        let staging = self.folder.join(format!(".{:012}.packing", segment.number));
        match self.disk.remove(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let packed = self.write(segment, &staging);
        if packed.is_err() {
            // If it cannot be removed now, the next attempt says so.
            let _ = self.disk.remove(&staging);
        }
        let file = packed?;
        file.sync()?;
        let _quiet = self.quiet.lock().unwrap_or_else(PoisonError::into_inner);
        if !segment.path.exists() {
            // Retention deleted it meanwhile.
            return self.disk.remove(&staging);
        }
        let name = format!("{:012}.segment{}", segment.number, self.packing.form().suffix());
        self.disk.rename(&staging, &self.folder.join(name))?;
        self.disk.sync_folder(&self.folder)?;
        self.disk.remove(&segment.path)?;
        self.disk.sync_folder(&self.folder)
    }

    fn write(&self, segment: &SegmentFile, staging: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let file = self.disk.create(staging)?;
        let output = Appender { file: Arc::clone(&file), offset: 0 };
        if self.packing.recipients.is_empty() {
            self.compress(segment, output)?;
        } else {
            let encryptor = Encryptor::new(output, &self.packing.recipients)?;
            self.compress(segment, encryptor)?.finish()?;
        }
        Ok(file)
    }

    /// Compresses the segment into `output`, and beside that decompresses and compares.
    fn compress<W: Write>(&self, segment: &SegmentFile, output: W) -> io::Result<W> {
        let mut raw = File::open(&segment.path)?;
        let original = Original { file: File::open(&segment.path)?, scratch: Vec::new() };
        let mut check = write::Decoder::new(original)?;
        check.window_log_max(WINDOW_LOG)?;
        let mut encoder = write::Encoder::new(Tee { output, check }, LEVEL)?;
        encoder.include_checksum(true)?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        encoder.set_pledged_src_size(Some(segment.bytes))?;
        let mut piece = vec![0; PACK_PIECE_BYTES];
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            match raw.read(&mut piece)? {
                0 => break,
                read => encoder.write_all(&piece[..read])?,
            }
        }
        let Tee { output, mut check } = encoder.finish()?;
        check.flush()?;
        let mut rest = check.into_inner().file;
        if rest.read(&mut piece)? != 0 {
            return Err(io::Error::other("the packed segment lacks bytes of the segment"));
        }
        Ok(output)
    }
}

/// Writes to the end of a file.
struct Appender {
    file: Arc<dyn DiskFile>,
    offset: u64,
}

impl Write for Appender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.offset)?;
        self.offset += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to both.
struct Tee<W, C> {
    output: W,
    check: C,
}

impl<W: Write, C: Write> Write for Tee<W, C> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write_all(bytes)?;
        self.check.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.output.flush()
    }
}

/// Takes only what stands in a file, in order.
struct Original {
    file: File,
    scratch: Vec<u8>,
}

impl Write for Original {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.scratch.resize(bytes.len(), 0);
        self.file.read_exact(&mut self.scratch)?;
        if self.scratch != bytes {
            return Err(io::Error::other("the packed segment differs from the segment"));
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
