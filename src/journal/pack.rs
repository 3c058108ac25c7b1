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
    collections::VecDeque,
    fmt,
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    rc::Rc,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};
use zstd::{
    stream::{raw::CParameter, write},
    zstd_safe::{CCtx, DCtx},
};

/// The fastest of zstd's usual levels: what is gained here is gained by long matches.
const LEVEL: i32 = 1;

/// What the name of a file ends with that is not done yet.
const STAGED: &str = "staged";

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

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

/// What compressing works in: two windows, more than a segment has bytes. Kept from one segment to the next:
/// the system would have to clear it anew for each.
pub(super) struct Memory {
    compress: CCtx<'static>,
    decompress: DCtx<'static>,
}

impl Default for Memory {
    fn default() -> Memory {
        Memory { compress: CCtx::create(), decompress: DCtx::create() }
    }
}

/// The thread that packs.
#[derive(Debug)]
pub(super) struct Packer {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

pub(super) struct Shared {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    openings: PathBuf,
    packing: Packing,
    sealed: Mutex<Sealed>,
    /// Somebody waits for more sealed segments.
    more: Condvar,
    /// Held by whoever exchanges files of sealed segments.
    turn: Mutex<()>,
    stopping: AtomicBool,
    /// Held while files take the place of others, and while retention deletes.
    quiet: Mutex<()>,
}

/// What is sealed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sealed {
    /// All segments below this one,
    pub(super) below: u64,
    /// and so all records below this one.
    pub(super) first_sequence: u64,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Packer {
    /// A packer of `folder`, whose nonces lie in `openings`; without a thread where nothing is to be packed.
    ///
    /// # Errors
    /// The system gives no thread, or the folders cannot be cleared of what a former process staged.
    pub(super) fn start(
        disk: Arc<dyn Disk>,
        folder: &Path,
        openings: &Path,
        packing: Packing,
    ) -> io::Result<Packer> {
        let is_idle = !packing.compress && packing.recipients.is_empty();
        let shared = Arc::new(Shared {
            disk,
            folder: folder.to_owned(),
            openings: openings.to_owned(),
            packing,
            sealed: Mutex::default(),
            more: Condvar::new(),
            turn: Mutex::default(),
            stopping: AtomicBool::new(false),
            quiet: Mutex::new(()),
        });
        shared.discard_staged()?;
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
    pub(super) fn pack_now(&self, number: u64, memory: &mut Memory) -> io::Result<()> {
        self.shared.pack_below(number, memory)
    }

    /// What is shared with the thread.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Segments below `number`, which begins with record `first_sequence`, are sealed now.
    pub(super) fn sealed_below(&self, number: u64, first_sequence: u64) {
        *lock(&self.shared.sealed) = Sealed { below: number, first_sequence };
        self.shared.more.notify_all();
        if let Some(thread) = &*lock(&self.thread) {
            thread.thread().unpark();
        }
    }

    /// Nothing is packed until this is dropped.
    pub(super) fn quiet(&self) -> MutexGuard<'_, ()> {
        lock(&self.shared.quiet)
    }

    /// Ends the thread; a segment that is half packed is packed again after the next start.
    pub(super) fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        let thread = lock(&self.thread).take();
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
        let (mut done, mut memory) = (0, None);
        while !self.stopping.load(Ordering::Acquire) {
            let active = lock(&self.sealed).below;
            if active == done {
                memory = None;
                thread::park();
                continue;
            }
            done = active;
            if let Err(error) = self.pack_below(active, memory.get_or_insert_default())
                && !self.stopping.load(Ordering::Acquire)
            {
                let folder = self.folder.display().to_string();
                tracing::warn!(folder, %error, "a sealed audit segment stays as it is: packing it failed");
            }
        }
    }

    /// Waits until record `sequence` is in a sealed segment, and says what is sealed then; `None` if that
    /// takes longer than `patience`.
    pub(super) fn wait_sealed(&self, sequence: u64, patience: Duration) -> Option<Sealed> {
        let waits = |sealed: &mut Sealed| sealed.first_sequence <= sequence;
        let waited = self.more.wait_timeout_while(lock(&self.sealed), patience, waits);
        let (sealed, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        (!timeout.timed_out()).then_some(*sealed)
    }

    /// Nobody else exchanges files of sealed segments as long as this is held.
    pub(super) fn turn(&self) -> MutexGuard<'_, ()> {
        lock(&self.turn)
    }

    /// Removes what a former process did not get done.
    fn discard_staged(&self) -> io::Result<()> {
        for folder in [&self.folder, &self.openings] {
            for entry in std::fs::read_dir(folder)? {
                let path = entry?.path();
                if path.extension().is_some_and(|extension| extension == STAGED) {
                    self.disk.remove(&path)?;
                }
            }
        }
        Ok(())
    }

    fn pack_below(&self, active: u64, memory: &mut Memory) -> io::Result<()> {
        let _turn = self.turn();
        let (segments, _) = segments::list(&self.folder)?;
        for segment in segments.iter().filter(|segment| segment.number < active) {
            if segment.form == Form::Raw && recover::seal_of(segment)?.is_some() {
                self.pack(segment, memory)?;
            }
        }
        Ok(())
    }

    /// Puts a packed file in the place of `segment`'s, after it was read back and compared.
    fn pack(&self, segment: &SegmentFile, memory: &mut Memory) -> io::Result<()> {
        let packed = segments::path_in(&self.folder, segment.number, self.packing.form());
        let raw = File::open(&segment.path)?;
        let is_there = self.replace(&segment.path, &packed, |output| {
            if self.packing.recipients.is_empty() {
                return self.compress(&raw, Some(segment.bytes), output, memory).map(drop);
            }
            let encryptor = Encryptor::new(output, &self.packing.recipients)?;
            self.compress(&raw, Some(segment.bytes), encryptor, memory)?.finish().map(drop)
        })?;
        if !is_there {
            return Ok(());
        }
        // It is gone where retention was faster.
        self.disk.remove_if_there(&segment.path)?;
        self.disk.sync_folder(&self.folder)
    }

    /// Puts what `write` writes in the place of the file at `path`, durably and at once. `false`: the file at
    /// `original` that it is made of was deleted meanwhile, and nothing was put anywhere.
    pub(super) fn replace(
        &self,
        original: &Path,
        path: &Path,
        write: impl FnOnce(Appender) -> io::Result<()>,
    ) -> io::Result<bool> {
        let invalid = || io::Error::from(io::ErrorKind::InvalidInput);
        let name = path.file_name().ok_or_else(invalid)?.to_string_lossy();
        let staging = path.with_file_name(format!(".{name}.{STAGED}"));
        self.disk.remove_if_there(&staging)?;
        let file = self.disk.create(&staging)?;
        let written = write(Appender { file: Arc::clone(&file), offset: 0 }).and_then(|()| file.sync());
        if let Err(error) = written {
            // If it cannot be removed now, the next attempt says so.
            let _ = self.disk.remove(&staging);
            return Err(error);
        }
        let _quiet = lock(&self.quiet);
        if !original.exists() {
            // Retention deleted it.
            return self.disk.remove(&staging).map(|()| false);
        }
        self.disk.rename(&staging, path)?;
        self.disk.sync_folder(path.parent().ok_or_else(invalid)?)?;
        Ok(true)
    }

    /// Compresses into `output` what `raw` gives, and beside that decompresses and compares.
    pub(super) fn compress<W: Write>(
        &self,
        mut raw: impl Read,
        bytes: Option<u64>,
        output: W,
        memory: &mut Memory,
    ) -> io::Result<W> {
        let mut check = write::Decoder::with_context(Original::default(), &mut memory.decompress);
        check.window_log_max(WINDOW_LOG)?;
        let mut encoder = write::Encoder::with_context(Tee { output, check }, &mut memory.compress);
        encoder.set_parameter(CParameter::CompressionLevel(LEVEL))?;
        encoder.include_checksum(true)?;
        encoder.set_parameter(CParameter::WindowLog(WINDOW_LOG))?;
        encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
        encoder.set_pledged_src_size(bytes)?;
        loop {
            if self.stopping.load(Ordering::Acquire) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let original = encoder.get_mut().check.get_mut();
            let mut piece = original.spare();
            let read = raw.read(&mut piece)?;
            if read == 0 {
                break;
            }
            piece.truncate(read);
            let piece = Rc::new(piece);
            original.pieces.push_back(Rc::clone(&piece));
            encoder.write_all(&piece)?;
        }
        let Tee { output, mut check } = encoder.finish()?;
        check.flush()?;
        if !check.into_inner().pieces.is_empty() {
            return Err(io::Error::other("the packed segment lacks bytes of the segment"));
        }
        Ok(output)
    }
}

/// Writes to the end of a file.
pub(super) struct Appender {
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

/// Takes only the bytes that went into the encoder, in order. It is at most a few blocks behind.
#[derive(Default)]
struct Original {
    /// What is still to come, but for the first `seen` bytes.
    pieces: VecDeque<Rc<Vec<u8>>>,
    seen: usize,
    /// The last ones that came, whose memory is used again.
    spare: Vec<Rc<Vec<u8>>>,
}

impl Original {
    /// Room for the next piece.
    fn spare(&mut self) -> Vec<u8> {
        let mut piece = self.spare.pop().and_then(Rc::into_inner).unwrap_or_default();
        piece.resize(PACK_PIECE_BYTES, 0);
        piece
    }
}

impl Write for Original {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(piece) = self.pieces.front() else {
            return Err(io::Error::other("the packed segment has more bytes than the segment"));
        };
        let expected = &piece[self.seen..];
        let len = expected.len().min(bytes.len());
        if expected[..len] != bytes[..len] {
            return Err(io::Error::other("the packed segment differs from the segment"));
        }
        self.seen += len;
        if self.seen == piece.len() {
            self.seen = 0;
            self.spare.extend(self.pieces.pop_front());
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
