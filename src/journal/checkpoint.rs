//! The thread that signs the head of the tree, and when it does so.
//!
//! ```text
//!  commit thread: head is due ── synced? ──► signing thread: signature, checkpoint file, for witnesses
//!                 CHECKPOINT record ◄────── the note
//! ```
//! Nobody waits for a signature. Only records that are durable are signed: a log that a power cut made
//! shorter than one of its checkpoints would be a fork.

use super::{
    keys::{KeyFile, KeyFileError},
    producer::Failure,
    segment,
};
use crate::{
    audit::{Checkpoint, Frontier, Hash, KeyStatement, Kind, PublicKey, Record, Signed, SigningKey},
    limits::{CHECKPOINT_INTERVAL, CHECKPOINT_LAG_RECORDS_MAX, CHECKPOINT_RECORDS},
    segments,
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// The newest checkpoint, in the folder of the segments.
pub(super) const FILE_NAME: &str = "checkpoint";
/// Where it is written before it is renamed.
const STAGING_NAME: &str = ".checkpoint";
/// Checkpoints are for whoever may read the log.
const FILE_MODE: u32 = 0o600;
/// The file is written anew at most this often; the newest one is always written in the end.
const PUBLISH_INTERVAL: Duration = Duration::from_millis(500);

/// The signing thread has nothing to do.
const IDLE: u8 = 0;
/// It has a head to sign.
const BUSY: u8 = 1;
/// Its note waits for the commit thread.
const SIGNED: u8 = 2;

/// A head of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Head {
    size: u64,
    root: Hash,
}

/// Why a key was not exchanged.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    #[error("this journal signs nothing")]
    Unsigned,
    #[error(transparent)]
    Key(#[from] KeyFileError),
    /// Which key is in force is known again after a restart.
    #[error("{0}; nothing is signed until the gateway is started anew")]
    Record(Failure),
    #[error("a rotation before this one failed: start the gateway anew")]
    Doubtful,
}

/// Signs, on a thread of its own.
#[derive(Debug)]
pub(super) struct Signer {
    file: KeyFile,
    /// Folder of the segments.
    folder: PathBuf,
    keys: Mutex<Keys>,
    /// One of `IDLE`, `BUSY`, `SIGNED`: what the commit thread looks at in passing.
    state: AtomicU8,
    work: Mutex<Work>,
    wake: Condvar,
    newest: Mutex<Newest>,
}

#[derive(Debug)]
struct Keys {
    current: SigningKey,
    number: u64,
    /// Records that a head must cover at least to be signed by this key.
    since: u64,
    /// Nobody knows whether the next key is in force.
    is_doubtful: bool,
}

#[derive(Debug, Default)]
struct Work {
    head: Option<Head>,
    note: Option<(u64, Arc<str>)>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Newest {
    note: Option<Arc<str>>,
    /// Records that it covers.
    size: u64,
    /// Why the file could not be written the last time.
    failure: Option<String>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Signer {
    /// Takes the key in `path` for the log in `folder`, whose key in force is `in_force`. For a log without
    /// one it gives the statement that begins its chain of keys, to be recorded before anything is signed.
    ///
    /// # Errors
    /// [`KeyFileError`]: there is no such key.
    pub(super) fn open(
        path: &Path,
        folder: &Path,
        in_force: Option<(u64, &PublicKey)>,
    ) -> Result<(Arc<Signer>, Option<Record>), KeyFileError> {
        let file = KeyFile(path.to_owned());
        let salt = segments::random().map_err(|_| KeyFileError::Random)?;
        let current = file.open(in_force.map(|(_, key)| key), &salt)?;
        let first = in_force.is_none().then(|| KeyStatement::sign_first(&current, salt));
        let number = in_force.map_or(1, |(number, _)| number);
        let note = fs::read_to_string(folder.join(FILE_NAME)).ok();
        // It says how far the log is signed, and is not offered: a process that was killed may have shown a
        // newer one than it wrote down, and to whoever saw that, this one would look as if the log was rolled
        // back. The first of this process covers more than either.
        let kept = note.and_then(|note| {
            let (checkpoint, _) = Checkpoint::parse(&note).ok()?;
            let is_own = checkpoint.origin == current.public().name();
            is_own.then_some(checkpoint.size)
        });
        let signer = Signer {
            file,
            folder: folder.to_owned(),
            keys: Mutex::new(Keys { current, number, since: 0, is_doubtful: false }),
            state: AtomicU8::new(IDLE),
            work: Mutex::default(),
            wake: Condvar::new(),
            newest: Mutex::new(Newest { note: None, size: kept.unwrap_or(0), failure: None }),
        };
        Ok((Arc::new(signer), first.map(record_of_key)))
    }

    /// The newest checkpoint that this process has signed, as a signed note.
    pub(super) fn newest(&self) -> Option<Arc<str>> {
        lock(&self.newest).note.clone()
    }

    /// Records that the newest checkpoint covers, and why its file could not be written.
    pub(super) fn health(&self) -> (u64, Option<String>) {
        let newest = lock(&self.newest);
        (newest.size, newest.failure.clone())
    }

    /// The thread: signs what it is given, and keeps the file.
    fn run(&self) {
        let mut published: Option<Instant> = None;
        let mut unpublished: Option<Arc<str>> = None;
        loop {
            let (head, stop) = self.next(unpublished.is_some());
            if let Some(head) = head {
                let note = self.sign(head);
                let mut work = lock(&self.work);
                work.note = note.clone().map(|note| (head.size, note));
                self.state.store(if note.is_some() { SIGNED } else { IDLE }, Ordering::Release);
                drop(work);
                unpublished = note.or(unpublished);
            }
            let is_due = published.is_none_or(|at| at.elapsed() >= PUBLISH_INTERVAL);
            if let Some(note) = unpublished.take_if(|_| stop || is_due) {
                self.publish(&note);
                published = Some(Instant::now());
            }
            if stop {
                return;
            }
        }
    }

    /// The next head to sign, and whether that was all. Returns without one when the file is due.
    fn next(&self, is_file_due: bool) -> (Option<Head>, bool) {
        let mut work = lock(&self.work);
        loop {
            let head = work.head.take();
            if head.is_some() || work.stop {
                return (head, work.stop);
            }
            if is_file_due {
                let waited = self.wake.wait_timeout(work, PUBLISH_INTERVAL);
                let (mut work, _) = waited.unwrap_or_else(PoisonError::into_inner);
                return (work.head.take(), work.stop);
            }
            work = self.wake.wait(work).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Signs a head with the key in force; `None` if that key may not sign it.
    fn sign(&self, head: Head) -> Option<Arc<str>> {
        let keys = lock(&self.keys);
        if keys.is_doubtful || head.size < keys.since {
            return None;
        }
        let origin = keys.current.public().name().to_owned();
        let note: Arc<str> =
            Checkpoint { origin, size: head.size, root: head.root }.sign(&keys.current).into();
        drop(keys);
        let mut newest = lock(&self.newest);
        (newest.note, newest.size) = (Some(Arc::clone(&note)), head.size);
        Some(note)
    }

    /// Puts a checkpoint into its file, whole or not at all. A failure is told, and harms no record.
    fn publish(&self, note: &str) {
        let failure = publish(&self.folder, note).err().map(|error| error.to_string());
        lock(&self.newest).failure = failure;
    }

    /// Exchanges the key: the old one signs the new one, `append` records that durably.
    ///
    /// # Errors
    /// [`RotateError`]; unless it says otherwise the old key stays in force.
    pub(super) fn rotate(
        &self,
        append: impl FnOnce(Record) -> Result<u64, Failure>,
    ) -> Result<PublicKey, RotateError> {
        let mut keys = lock(&self.keys);
        if keys.is_doubtful {
            return Err(RotateError::Doubtful);
        }
        let next = self.file.prepare_next(keys.current.public().name())?;
        let statement = KeyStatement::sign(keys.number + 1, &next, &keys.current);
        let since = append(record_of_key(statement)).map_err(|failure| {
            keys.is_doubtful = true;
            RotateError::Record(failure)
        })?;
        let public = next.public().clone();
        *keys = Keys { current: next, number: keys.number + 1, since, is_doubtful: false };
        // The record is what counts: a start finds the next key where it is.
        self.file.take_next()?;
        Ok(public)
    }
}

fn record_of_key(statement: String) -> Record {
    Record::Key(Signed { at: segment::now(), note: statement.into() })
}

fn publish(folder: &Path, note: &str) -> io::Result<()> {
    let staging = folder.join(STAGING_NAME);
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create(true).truncate(true).mode(FILE_MODE).open(&staging)?;
    file.write_all(note.as_bytes())?;
    file.sync_all()?;
    fs::rename(&staging, folder.join(FILE_NAME))
}

/// The commit thread's side: when a head is signed, and what comes of it.
#[derive(Debug)]
pub(super) struct Checkpoints {
    signer: Option<(Arc<Signer>, JoinHandle<()>)>,
    /// Records that the last head covers.
    covered: u64,
    /// When the first record came that no head covers, leaving CHECKPOINT out.
    since: Option<Instant>,
    /// A head that waits until its records are synced.
    pending: Option<Head>,
}

impl Checkpoints {
    /// # Errors
    /// The system gives no thread.
    pub(super) fn new(signer: Option<Arc<Signer>>) -> io::Result<Checkpoints> {
        let spawn = |signer: Arc<Signer>| {
            let thread = Arc::clone(&signer);
            super::spawn("journal-sign", move || thread.run()).map(|thread| (signer, thread))
        };
        let signer = signer.map(spawn).transpose()?;
        Ok(Checkpoints { signer, covered: 0, since: None, pending: None })
    }

    /// A record of that kind went into the tree.
    pub(super) fn entered(&mut self, kind: Kind) {
        if kind != Kind::Checkpoint {
            self.since.get_or_insert_with(Instant::now);
        }
    }

    /// Hands the head over when it is due and everything in it is synced; gives back what was signed since.
    pub(super) fn look(&mut self, tree: &Frontier, synced: u64) -> Option<Record> {
        let (signer, _) = self.signer.as_ref()?;
        let state = signer.state.load(Ordering::Acquire);
        if state == SIGNED {
            return self.take(tree.size());
        }
        if self.pending.is_none()
            && state == IDLE
            && let Some(since) = self.since
            && (tree.size() - self.covered >= CHECKPOINT_RECORDS || since.elapsed() >= CHECKPOINT_INTERVAL)
        {
            self.pending = Some(Head { size: tree.size(), root: tree.root() });
            (self.covered, self.since) = (tree.size(), None);
        }
        if let Some(head) = self.pending.take_if(|head| head.size <= synced) {
            signer.state.store(BUSY, Ordering::Release);
            lock(&signer.work).head = Some(head);
            signer.wake.notify_one();
        }
        None
    }

    fn take(&self, size: u64) -> Option<Record> {
        let (signer, _) = self.signer.as_ref()?;
        let (covered, note) = lock(&signer.work).note.take()?;
        signer.state.store(IDLE, Ordering::Release);
        // A reader would not look back so far. The file has it all the same.
        let is_near = size - covered < CHECKPOINT_LAG_RECORDS_MAX as u64 / 2;
        is_near.then(|| Record::Checkpoint(Signed { at: segment::now(), note }))
    }

    /// Ends the thread and signs everything, which is synced; gives what has to be recorded still.
    pub(super) fn end(&mut self, tree: &Frontier) -> Vec<Record> {
        let Some((signer, _)) = &self.signer else { return Vec::new() };
        let signer = Arc::clone(signer);
        self.stop();
        let mut records: Vec<Record> = Vec::new();
        let left = lock(&signer.work).note.take();
        records.extend(left.map(|(_, note)| Record::Checkpoint(Signed { at: segment::now(), note })));
        if (self.since.is_some() || self.pending.is_some())
            && let Some(note) = signer.sign(Head { size: tree.size(), root: tree.root() })
        {
            signer.publish(&note);
            records.push(Record::Checkpoint(Signed { at: segment::now(), note }));
        }
        records
    }

    fn stop(&mut self) {
        if let Some((signer, thread)) = self.signer.take() {
            lock(&signer.work).stop = true;
            signer.wake.notify_one();
            // If it panicked, that was printed; checkpoints are missing then.
            drop(thread.join());
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.stop();
    }
}
