//! Reads the log: which sessions there were, what each exchange said, and that in forms which others take.
//!
//! The segments are the truth; the index beside them is derived from them and can be deleted at any time. A
//! reader first catches up with what was written since, and every byte that it gives has been checked
//! against the chain. This is not the journal (it writes no segment) and not the verifier (it trusts what it
//! read before). Start at [`Archive`]; `follow` reads segments, `apply` turns records into rows; `copy` keeps
//! the folder of somebody who follows a log from elsewhere.
//!
//! ```text
//!   segments ─► follow ─► apply ─► index (SQLite) ─► query ─► sessions, exchanges
//!      └────────────────────────── parts of an exchange ────► recording ─► jsonl, har
//! ```

mod apply;
mod approvals;
mod copy;
mod copy_erase;
#[cfg(test)]
mod copy_tests;
mod error;
mod folder;
mod follow;
mod har;
mod index;
mod query;
mod recording;
mod session;
#[cfg(test)]
mod tests;

pub use approvals::ApprovalEvent;
pub use copy::{
    Copy as FollowedCopy, CopyError, Heads as CopyHeads, Part as CopyPart, Refused as CopyRefused,
    Taken as CopyTaken, Verified as CopyVerified,
};
pub use copy_erase::Pruned;
pub use error::Error;
pub use har::{Har, entry as har_entry};
pub use query::{Decisions, Exchange, Filter, Session, Sessions, Span};
pub use recording::{Body, Flood, Piece, Recording, Ruling, Who};
pub use session::{NamedBy, SessionId};

use crate::{audit::Record, segments::Keys};
use follow::Log;
use index::Index;
use recording::{Cache, Source};
use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// A log folder and its index. Its methods block: they read files.
#[derive(Debug)]
pub struct Archive {
    dir: PathBuf,
    keys: Arc<Keys>,
    index: Mutex<Index>,
    cache: Mutex<Cache>,
}

/// What a catch-up read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Caught {
    /// Sequence number of the last record that the index knows; 0 for none.
    pub sequence: u64,
    /// Records that were read for it.
    pub records: u64,
    /// What stands behind the last whole batch of the segment that is being written, if anything does: the
    /// half of a batch that a writer leaves when it dies.
    pub torn: Option<crate::audit::Damage>,
}

impl Archive {
    /// The archive of the log in `dir`. Its index lies beside the folder, or in memory where nothing may be
    /// written there; nothing is read yet.
    ///
    /// # Errors
    /// [`Error::Empty`]: there is no folder; [`Error::Index`].
    pub fn open(dir: &Path) -> Result<Archive, Error> {
        Archive::with(dir, None)
    }

    /// The archive of the log in `dir`, whose encrypted segments `keys` open. Its index is in memory.
    ///
    /// # Errors
    /// As [`Archive::open`].
    pub fn open_with(dir: &Path, keys: Keys) -> Result<Archive, Error> {
        Archive::with(dir, Some(Arc::new(keys)))
    }

    fn with(dir: &Path, keys: Option<Arc<Keys>>) -> Result<Archive, Error> {
        if !dir.is_dir() {
            return Err(Error::Empty(dir.to_owned()));
        }
        let index = Mutex::new(Index::open(dir, keys.clone())?);
        Ok(Archive { dir: dir.to_owned(), keys: keys.unwrap_or_default(), index, cache: Mutex::default() })
    }

    /// The log folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the index of a log folder lies.
    pub fn index_path(dir: &Path) -> PathBuf {
        index::path(dir)
    }

    /// The file of this index; nothing, where it is in memory because the folder is somebody else's.
    pub fn index_file(&self) -> Option<PathBuf> {
        self.index().file().map(Path::to_owned)
    }

    /// Reads what was written since the last time, at least up to record `head`: the last one that the
    /// journal has written, or 0 to take what is there.
    ///
    /// # Errors
    /// [`Error::Damage`]: the log is not what was written; [`Error::Behind`]: `head` did not come.
    pub fn catch_up(&self, head: u64) -> Result<Caught, Error> {
        self.index().catch_up(&self.dir, head, &mut |_| {})
    }

    /// Throws the index away and reads the whole log. `progress` is told the bytes read so far.
    ///
    /// # Errors
    /// As [`Archive::catch_up`].
    pub fn rebuild(&self, progress: &mut dyn FnMut(u64)) -> Result<Caught, Error> {
        self.index().rebuild(&self.dir, progress)
    }

    /// Bytes of all segments, as far as they are allocated.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn bytes(&self) -> Result<u64, Error> {
        Ok(folder::list(&self.dir)?.iter().map(|segment| segment.bytes).sum())
    }

    /// Sessions, the one that was active last first.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn sessions(&self, filter: &Filter) -> Result<Sessions, Error> {
        self.index().sessions(filter)
    }

    /// The session of an id, of the beginning of one, or of one of its requests (`req_…`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Ambiguous`], [`Error::Index`].
    pub fn session(&self, name: &str) -> Result<Session, Error> {
        self.index().session(name)
    }

    /// The exchanges of a span of the log, in the order in which they were admitted or refused.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn exchanges(&self, span: &Span) -> Result<Vec<Exchange>, Error> {
        self.index().exchanges(span)
    }

    /// The exchange of an id (`req_…`).
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Index`].
    pub fn exchange(&self, id: &str) -> Result<Exchange, Error> {
        self.index().exchange(id)
    }

    /// How many exchanges a span holds, whatever its limit.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn count(&self, span: &Span) -> Result<u64, Error> {
        self.index().count(span)
    }

    /// How many sessions and exchanges there are.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn counts(&self) -> Result<(u64, u64), Error> {
        self.index().counts()
    }

    /// Exchanges that ended behind record `after`, in the order of their ends.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn ended(&self, after: u64, limit: usize) -> Result<Vec<Exchange>, Error> {
        self.index().ended(after, limit)
    }

    /// The last `limit` exchanges that ended, the oldest of them first.
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn last_ended(&self, limit: usize) -> Result<Vec<Exchange>, Error> {
        self.index().last_ended(limit)
    }

    /// All that was recorded of one exchange, read again from the log.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Damage`]: what the index points at was changed.
    pub fn recording(&self, exchange: &Exchange) -> Result<Recording, Error> {
        let parts = self.index().parts(exchange)?;
        self.read(|source| recording::read(source, exchange, &parts))
    }

    /// Gives back what reading recordings has kept in memory.
    pub fn rest(&self) {
        *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Cache::default();
    }

    /// The records of one exchange as they stand in the log, in their order.
    ///
    /// # Errors
    /// As [`Archive::recording`].
    pub fn records(&self, exchange: &Exchange) -> Result<Vec<Record>, Error> {
        let parts = self.index().parts(exchange)?;
        self.read(|source| recording::records(source, exchange, &parts))
    }

    /// The sequence number of the configuration number `generation` of the process that wrote record
    /// `sequence`; `None` where that is not in the log (any more).
    ///
    /// # Errors
    /// [`Error::Index`].
    pub fn configured_by(&self, generation: u64, sequence: u64) -> Result<Option<u64>, Error> {
        self.index().configured_by(generation, sequence)
    }

    /// The text of the configuration whose record has this number; `None` where no configuration has it.
    ///
    /// # Errors
    /// [`Error::Index`]; [`Error::Damage`]: what the index points at was changed.
    pub fn configuration(&self, sequence: u64) -> Result<Option<Arc<str>>, Error> {
        let place = self.index().configuration(sequence)?;
        place.map_or(Ok(None), |place| self.read(|source| recording::config(source, &place, sequence)))
    }

    fn read<T>(&self, read: impl FnOnce(&mut Source<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        read(&mut Source { log: Log { dir: &self.dir, keys: &self.keys }, cache: &mut cache })
    }

    fn index(&self) -> std::sync::MutexGuard<'_, Index> {
        // A panic in another reader leaves at most a transaction open, and that is rolled back.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
