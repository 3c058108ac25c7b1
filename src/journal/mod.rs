//! The audit journal on disk: own threads that commit, sync, rotate and recover.
//!
//! Each shard owns one [`Producer`], a bounded ring into the commit thread. That thread drains all rings,
//! encodes and chains the records, writes one batch, and acknowledges what asked for [`Commit::Written`]; the
//! sync thread beside it acknowledges [`Commit::Durable`] after `fdatasync`, by group. Nothing is dropped: a
//! full ring says so to its shard. The first failed write or sync poisons the segment, and everything is
//! refused from then on (see [`Failure`]); after a full disk the journal goes on by itself.
//!
//! A shard wakes the commit thread for records that somebody waits for, once for all of one turn. Others wait
//! for 1 ms (`limits::BATCH_TIME_MAX`): so much of a response and of outcomes a process that dies may lose.
//!
//! This is not the byte format, which is pure and lives in `audit`. Start at [`Journal::open`], then
//! `commit`.

mod acks;
mod book;
mod checkpoint;
mod commit;
mod disk;
mod erase;
#[cfg(test)]
mod faults;
mod health;
mod keep;
mod keys;
mod nonces;
mod openings;
mod pack;
mod producer;
mod prove;
mod read;
mod recover;
mod segment;
mod sync;
#[cfg(test)]
mod tests;
mod turns;

pub use crate::audit::Commit;
pub use checkpoint::RotateError;
pub use disk::{Disk, DiskFile, OsDisk};
pub use erase::{EraseError, ErasedReport, Erasure};
pub use health::{Health, Latency, WRITE_BUCKETS_US};
pub use keep::{Bound, Keep, Level, Room};
pub use keys::KeyFileError;
pub use openings::read_openings;
pub use pack::Packing;
pub use producer::{Ack, AckSink, Failure, Full, Producer, Submission};
pub use prove::{Consistency, ProveError, consistency, prove, signing_keys, stated_keys};
pub use read::{VerifyError, newest_checkpoint, verify_dir, verify_dir_against};
pub use recover::RecoverError;

use crate::{
    audit::{Damage, Outcome, Position, PublicKey, Record, Why},
    limits::{CALL_TIMEOUT, CALLS_MAX, SEGMENT_BYTES_DEFAULT, SEGMENT_BYTES_MIN, SYNC_INTERVAL_MAX},
};
use acks::Acks;
use book::Book;
use checkpoint::{Checkpoints, Signer};
use commit::{Committer, Live, Shared};
use crossbeam::queue::ArrayQueue;
use keep::{Keeper, Reserve};
use pack::Packer;
use producer::{Bell, STATE_DEAD};
use segment::Segments;
use std::{
    fs::{self, File, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering, mpsc::sync_channel},
    thread::JoinHandle,
    time::Duration,
};

/// Where and how the journal writes.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of the segments; it holds nothing else but checkpoints. Created with mode 0700.
    pub dir: PathBuf,
    /// Folder of the nonces that open commitments, beside `dir` and never inside it. Created with mode 0700.
    pub openings_dir: PathBuf,
    /// Preallocated size of a segment, at least [`SEGMENT_BYTES_MIN`].
    pub segment_bytes: u64,
    /// How long a written record may wait for its sync, at most [`SYNC_INTERVAL_MAX`].
    pub sync_interval: Duration,
    /// File of the key that signs checkpoints, made if it is missing and the log is new; `None` signs
    /// nothing.
    pub key: Option<PathBuf>,
    /// What becomes of sealed segments.
    pub packing: Packing,
    /// How long segments are kept, and how full the disk may be.
    pub keep: Keep,
}

impl Options {
    /// The defaults: 64 MiB segments, synced at least every 10 ms.
    pub fn new(dir: impl Into<PathBuf>, openings_dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            openings_dir: openings_dir.into(),
            segment_bytes: SEGMENT_BYTES_DEFAULT,
            sync_interval: SYNC_INTERVAL_MAX,
            key: None,
            packing: Packing::default(),
            keep: Keep::default(),
        }
    }
}

/// Why the journal does not start; the operator has to act.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes to this folder.
    #[error("{} is in use by another gateway{}", .0.display(), with_pid(*.1))]
    Locked(PathBuf, Option<u32>),
    /// The openings would lie inside the log, or the log inside the openings.
    #[error("{0} must not lie inside of the other audit folder")]
    Nested(PathBuf),
    /// The log that is there cannot be continued.
    #[error(transparent)]
    Recover(#[from] RecoverError),
    /// There is no key to sign it with.
    #[error(transparent)]
    Key(#[from] KeyFileError),
    #[error("cannot write {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// The running journal. Dropping it closes it.
#[derive(Debug)]
pub struct Journal {
    shared: Arc<Shared>,
    commit: Option<JoinHandle<()>>,
    sync: Option<JoinHandle<()>>,
    keeper: Option<JoinHandle<()>>,
    /// Held as long as the folder is in use.
    _lock: File,
}

/// A handle for everybody who is not a shard.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Shared>);

impl Journal {
    /// Opens the log in `options.dir`, or begins one; recovers what a crash left; starts the threads.
    /// Exchanges that were open get their `OUTCOME cause=lost`, durable when this returns. Each of the
    /// `shards` producers belongs to one shard; `acks` takes their acknowledgements.
    ///
    /// # Errors
    /// [`OpenError`]: the folder is in use, damaged, or cannot be written.
    pub fn open(
        options: Options,
        shards: usize,
        acks: Box<dyn AckSink>,
    ) -> Result<(Journal, Vec<Producer>), OpenError> {
        Journal::open_on(Arc::new(OsDisk), options, shards, acks)
    }

    /// [`Journal::open`] on another file system than the real one: on one that is slow, or fails.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: Options,
        shards: usize,
        acks: Box<dyn AckSink>,
    ) -> Result<(Journal, Vec<Producer>), OpenError> {
        let (dir, openings) = (&options.dir, &options.openings_dir);
        create_folder(dir)?;
        create_folder(openings)?;
        check_apart(dir, openings)?;
        let lock = lock(dir)?;
        let io_error = |source| OpenError::Io { path: dir.clone(), source };
        let segment_bytes = options.segment_bytes.max(SEGMENT_BYTES_MIN);
        let segments = Segments::new(Arc::clone(&disk), dir, openings, segment_bytes).map_err(io_error)?;
        let mut recovered = recover::recover(&*disk, dir)?;
        check_not_cut(dir, &recovered)?;
        let key = recovered.keys.current();
        let signer = options.key.as_deref().map(|path| Signer::open(path, dir, key)).transpose()?;
        let (signer, first_key) = signer.map_or((None, None), |(signer, first)| (Some(signer), first));

        let bell = Arc::new(Bell::default());
        let (producers, lanes) = (0..shards).map(|_| Producer::new(Arc::clone(&bell))).unzip();
        let shared = Arc::new(Shared {
            lanes,
            calls: ArrayQueue::new(CALLS_MAX),
            bell,
            acks: Acks::new(acks, shards),
            sync: Default::default(),
            gauges: Default::default(),
            signer: signer.clone(),
            openings_dir: openings.clone(),
            packer: Packer::start(Arc::clone(&disk), dir, openings, options.packing.clone())
                .map_err(io_error)?,
            reserve: Reserve::new(Arc::clone(&disk), segments.reserve_path(), options.keep.reserve_bytes),
        });
        let live = Live {
            book: Book::with_open(&recovered.open),
            tree: recovered.tree.clone(),
            keys: recovered.keys.clone(),
        };
        let checkpoints = Checkpoints::new(signer).map_err(io_error)?;
        let unclean = recovered.unclean.take();
        let position = &recovered.position;
        let mut committer =
            Committer::start(Arc::clone(&shared), segments, position, live, checkpoints, unclean)
                .map_err(io_error)?;
        let sync = spawn("journal-sync", {
            let (shared, interval) = (Arc::clone(&shared), options.sync_interval.min(SYNC_INTERVAL_MAX));
            move || {
                let _guard = DeathNotice(Arc::clone(&shared));
                shared.sync.run(interval, &shared.acks, &shared.bell, &shared.gauges)
            }
        });
        let sync = sync.map_err(io_error)?;
        let (keeper, commit, sync) = (None, None, Some(sync));
        let mut journal = Journal { shared: Arc::clone(&shared), commit, sync, keeper, _lock: lock };
        committer.write_first(lost_outcomes(recovered).chain(first_key)).map_err(io_error)?;
        let guard = DeathNotice(Arc::clone(&shared));
        let commit = spawn("journal", move || {
            let _guard = guard;
            committer.run()
        });
        let commit = commit.map_err(io_error)?;
        // Set before any producer can be used: `open` has not returned.
        let _ = shared.bell.thread.set(commit.thread().clone());
        journal.commit = Some(commit);
        journal.keep_house(disk, &options).map_err(io_error)?;
        Ok((journal, producers))
    }

    /// Starts the thread that watches the disk and deletes what is old.
    fn keep_house(&mut self, disk: Arc<dyn Disk>, options: &Options) -> io::Result<()> {
        let (folder, openings) = (options.dir.clone(), options.openings_dir.clone());
        let (shared, keep) = (Arc::clone(&self.shared), options.keep.clone());
        let keeper = Keeper { shared, disk, folder, openings, keep };
        self.keeper = Some(spawn("journal-keeper", move || keeper.run())?);
        Ok(())
    }

    /// A handle for the admin thread and the application.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// [`Handle::append_blocking`].
    ///
    /// # Errors
    /// As there.
    pub fn append_blocking(&self, commit: Commit, record: Record) -> Result<u64, Failure> {
        self.handle().append_blocking(commit, record)
    }

    /// [`Handle::health`].
    pub fn health(&self) -> Health {
        self.handle().health()
    }

    /// Writes and syncs what is queued, seals the segment and ends the threads. Call it when the shards have
    /// ended; what they submit afterwards is thrown away.
    ///
    /// # Errors
    /// [`Failure`]: not everything could be committed.
    pub fn close(mut self) -> Result<(), Failure> {
        self.stop();
        match self.health().failure {
            None => Ok(()),
            Some((failure, _)) => Err(failure),
        }
    }

    fn stop(&mut self) {
        self.shared.bell.closing.store(true, Ordering::Release);
        match self.commit.take() {
            Some(commit) => {
                commit.thread().unpark();
                // A panic there was printed there; the log is recovered at the next start.
                drop(commit.join());
            }
            None => self.shared.sync.stop(),
        }
        if let Some(sync) = self.sync.take() {
            drop(sync.join());
        }
        self.shared.packer.stop();
        if let Some(keeper) = self.keeper.take() {
            keeper.thread().unpark();
            drop(keeper.join());
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Handle {
    /// Records something that belongs to no shard, such as CONFIG, and waits for it. Not for shards: it
    /// blocks.
    ///
    /// # Errors
    /// [`Failure`]: it is not committed.
    pub fn append_blocking(&self, commit: Commit, record: Record) -> Result<u64, Failure> {
        let (sender, receiver) = sync_channel(1);
        let submission = Submission { share: 0, ticket: 1, commit, record };
        if self.0.bell.closing.load(Ordering::Acquire) {
            return Err(Failure::Closed);
        }
        self.0.calls.push((submission, sender)).map_err(|_| Failure::Overloaded)?;
        self.0.bell.ring();
        receiver.recv_timeout(CALL_TIMEOUT).unwrap_or(Err(Failure::Overloaded))
    }

    /// The newest checkpoint, as a signed note; `None` until this process has signed one.
    pub fn checkpoint(&self) -> Option<Arc<str>> {
        self.0.signer.as_ref()?.newest()
    }

    /// Has the key in force sign a new one, which signs from then on. Blocks as [`Handle::append_blocking`].
    ///
    /// # Errors
    /// [`RotateError`]: the old key stays in force, unless it says otherwise.
    pub fn rotate_key(&self) -> Result<PublicKey, RotateError> {
        let signer = self.0.signer.as_ref().ok_or(RotateError::Unsigned)?;
        signer.rotate(|record| self.append_blocking(Commit::Durable, record))
    }

    /// How the journal is.
    pub fn health(&self) -> Health {
        let (signed_through, checkpoint_failure) =
            self.0.signer.as_ref().map(|signer| signer.health()).unwrap_or_default();
        Health {
            signed_through,
            checkpoint_failure,
            queue_depth: self.0.lanes.iter().map(|lane| lane.depth()).sum(),
            turned_away: self.0.bell.turned_away.load(Ordering::Relaxed),
            ..self.0.gauges.snapshot()
        }
    }
}

/// Refuses everything once a thread of the journal has panicked: fail closed.
struct DeathNotice(Arc<Shared>);

impl Drop for DeathNotice {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.bell.state.store(STATE_DEAD, Ordering::Release);
            let what = "a thread of the journal ended unexpectedly".to_owned();
            self.0.gauges.set_failure(Some((Failure::Disk, what)));
            self.0.sync.abandon();
        }
    }
}

fn lost_outcomes(recovered: recover::Recovered) -> impl Iterator<Item = Record> {
    recovered.open.into_iter().map(|id| Record::Outcome(Box::new(Outcome::lost(id, segment::now()))))
}

/// A log that ends before its own newest checkpoint was cut or rolled back: going on would fork it.
fn check_not_cut(dir: &Path, recovered: &recover::Recovered) -> Result<(), RecoverError> {
    // What cannot be read, or nobody has signed, says nothing.
    let note = read::newest_checkpoint(dir).ok().flatten();
    let Some(checkpoint) = note.and_then(|note| recovered.keys.check(&note).ok()) else { return Ok(()) };
    let Position { segment, sequence, .. } = recovered.position;
    if checkpoint.size < sequence {
        return Ok(());
    }
    let why = Why::Cut(checkpoint.size);
    Err(Damage { segment: segment.saturating_sub(1), sequence, offset: 0, why }.into())
}

fn create_folder(path: &Path) -> Result<(), OpenError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

/// The log folder is handed out whole; the nonces must not go with it.
fn check_apart(dir: &Path, openings: &Path) -> Result<(), OpenError> {
    let real =
        |path: &Path| path.canonicalize().map_err(|source| OpenError::Io { path: path.to_owned(), source });
    let (log, nonces) = (real(dir)?, real(openings)?);
    if nonces.starts_with(&log) || log.starts_with(&nonces) {
        return Err(OpenError::Nested(openings.to_owned()));
    }
    Ok(())
}

/// Locks the folder itself: a lock file would be one more file in it.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let io_error = |source| OpenError::Io { path: dir.to_owned(), source };
    let folder = File::open(dir).map_err(io_error)?;
    match folder.try_lock() {
        Ok(()) => Ok(folder),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked(dir.to_owned(), locked_by(&folder))),
        Err(TryLockError::Error(source)) => Err(io_error(source)),
    }
}

fn with_pid(pid: Option<u32>) -> String {
    pid.map_or_else(String::new, |pid| format!(", PID {pid}"))
}

/// The process that holds a lock of this folder, as `/proc/locks` has it; `None` in another PID namespace.
fn locked_by(folder: &File) -> Option<u32> {
    let metadata = folder.metadata().ok()?;
    let (major, minor) = (libc::major(metadata.dev()), libc::minor(metadata.dev()));
    let place = format!("{major:02x}:{minor:02x}:{}", metadata.ino());
    let locks = fs::read_to_string("/proc/locks").ok()?;
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let held = locks.lines().map(fields).find(|fields| fields.get(5) == Some(&place));
    held?.get(4)?.parse().ok().filter(|pid| *pid > 0)
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.into()).spawn(run)
}
