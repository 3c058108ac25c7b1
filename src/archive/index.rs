//! The index: an SQLite file beside the log, or memory.

use super::{
    Caught, Error, apply, folder,
    follow::{self, Log, Mark, Met, Place, Stop},
};
use crate::segments::{Form, Keys};
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use std::{
    fs,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

const SCHEMA: &str = include_str!("schema.sql");
/// Another layout is another number: an index with a different one is made anew.
const SCHEMA_VERSION: i32 = 4;
/// "RWix" in SQLite's header, so that no other database is taken for an index.
const APPLICATION_ID: i32 = 0x5257_6978;
/// Another process may be catching up meanwhile.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// Records of one transaction.
const TRANSACTION_RECORDS: u64 = 50_000;
/// How long a record that the journal has written may take to be readable.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_PAUSE: Duration = Duration::from_millis(5);

/// An open index.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) connection: Connection,
    /// What opens encrypted segments.
    keys: Arc<Keys>,
    is_keyed: bool,
    /// Nothing, where it is in memory.
    file: Option<PathBuf>,
}

/// The index of the log in `dir`, beside that folder.
pub(super) fn path(dir: &Path) -> PathBuf {
    let mut name = dir.file_name().unwrap_or_default().to_owned();
    name.push("-index.sqlite");
    dir.with_file_name(name)
}

impl Index {
    /// Opens the index of `dir`, or makes an empty one where there is none that can be used. With `keys` it
    /// is in memory: what was encrypted is not written down again.
    pub(super) fn open(dir: &Path, keys: Option<Arc<Keys>>) -> Result<Index, Error> {
        // `audit/` and `audit` are the same folder, and so is a relative name of it.
        let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        let file = path(&dir);
        if keys.is_none()
            && is_own(&dir)
            && let Ok(index) = Index::on_disk(&file)
        {
            return Ok(index);
        }
        let connection = Connection::open_in_memory()?;
        let is_keyed = keys.is_some();
        let index = Index { connection, keys: keys.unwrap_or_default(), is_keyed, file: None };
        index.create()?;
        Ok(index)
    }

    fn on_disk(file: &Path) -> Result<Index, Error> {
        let opened = Index::opened(file);
        if opened.is_ok() {
            return opened;
        }
        discard(file);
        Index::opened(file)
    }

    fn opened(file: &Path) -> Result<Index, Error> {
        // SQLite gives its other files the mode of this one.
        let made = fs::OpenOptions::new().create(true).append(true).mode(0o600).open(file);
        drop(made.map_err(|source| Error::Io { path: file.to_owned(), source })?);
        let connection = Connection::open(file)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "synchronous", "normal")?;
        // What is deleted because it was encrypted since, is gone.
        connection.pragma_update(None, "secure_delete", "on")?;
        let index = Index { connection, keys: Arc::default(), is_keyed: false, file: Some(file.to_owned()) };
        let application: i32 = index.pragma("application_id")?;
        let version: i32 = index.pragma("user_version")?;
        if (application, version) == (0, 0) {
            index.create()?;
        } else if (application, version) != (APPLICATION_ID, SCHEMA_VERSION) {
            return Err(Error::Index(rusqlite::Error::InvalidQuery));
        }
        Ok(index)
    }

    fn pragma(&self, name: &str) -> Result<i32, Error> {
        Ok(self.connection.pragma_query_value(None, name, |row| row.get(0))?)
    }

    /// Makes the tables, unless another process was faster.
    fn create(&self) -> Result<(), Error> {
        let there: Option<i64> = self
            .connection
            .query_row("SELECT 1 FROM sqlite_schema WHERE name = 'progress'", [], |row| row.get(0))
            .optional()?;
        if there.is_none() {
            let script = format!(
                "BEGIN IMMEDIATE; {SCHEMA} PRAGMA application_id = {APPLICATION_ID}; \
                 PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
            );
            self.connection.execute_batch(&script)?;
        }
        Ok(())
    }

    /// Reads what is new, at least to record `head`.
    pub(super) fn catch_up(
        &mut self,
        dir: &Path,
        head: u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Caught, Error> {
        let deadline = Instant::now() + HEAD_TIMEOUT;
        let mut records = 0;
        let mut was_stale = false;
        loop {
            let round = match self.round(dir, progress) {
                // A file that is damaged or was taken away: made anew once.
                Err(Error::Index(error)) if !was_stale && is_spoilt(&error) => {
                    was_stale = true;
                    self.reset(dir)?;
                    continue;
                }
                other => other?,
            };
            records += round.records;
            match round.stop {
                Stop::Enough => {}
                Stop::Stale => {
                    self.clear()?;
                    records = 0;
                }
                Stop::Tail(_) if round.sequence < head && Instant::now() < deadline => {
                    std::thread::sleep(HEAD_PAUSE);
                }
                Stop::Tail(Some(damage)) if round.sequence < head => return Err(damage.into()),
                Stop::Tail(None) if round.sequence < head => {
                    return Err(Error::Behind { wanted: head, found: round.sequence });
                }
                Stop::Tail(torn) => return Ok(Caught { sequence: round.sequence, records, torn }),
            }
        }
    }

    /// Forgets everything and reads the whole log.
    pub(super) fn rebuild(&mut self, dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<Caught, Error> {
        self.reset(dir)?;
        self.catch_up(dir, 0, progress)
    }

    /// One transaction's worth of reading.
    fn round(&mut self, dir: &Path, progress: &mut dyn FnMut(u64)) -> Result<Round, Error> {
        let transaction = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let segments = folder::list(dir)?;
        let Some(oldest) = segments.first().map(|segment| segment.number) else {
            return Err(Error::Empty(dir.to_owned()));
        };
        let mut mark = load(&transaction)?.unwrap_or(Mark::begin(oldest));
        let done = |mark: &Mark| -> u64 {
            segments.iter().filter(|segment| segment.number < mark.segment).map(|s| s.bytes).sum::<u64>()
                + mark.offset
        };
        let mut records = 0;
        let log = Log { dir, keys: &self.keys };
        let stop = follow::follow(log, &mut mark, &mut |mark, met| {
            match met {
                Met::Batch(batch) => {
                    records += batch.records.len() as u64;
                    apply::batch(&transaction, &batch)?;
                }
                Met::Closed(segment) => apply::close(&transaction, segment)?,
            }
            progress(done(mark));
            Ok(records < TRANSACTION_RECORDS)
        })?;
        // What was encrypted since it was read is for those alone who have a key.
        if !self.is_keyed {
            let encrypted = segments.iter().filter(|segment| segment.form == Form::Encrypted);
            for segment in encrypted.filter(|segment| segment.number < mark.segment) {
                apply::close(&transaction, segment.number)?;
            }
        }
        apply::forget(&transaction, oldest)?;
        store(&transaction, &mark)?;
        transaction.commit()?;
        let sequence = mark.next.map_or(0, |(sequence, _)| sequence - 1);
        Ok(Round { stop, records, sequence })
    }

    fn clear(&mut self) -> Result<(), Error> {
        self.connection.execute_batch(
            "BEGIN IMMEDIATE; DELETE FROM progress; DELETE FROM closed; DELETE FROM part; DELETE FROM batch; \
             DELETE FROM config; \
             DELETE FROM exchange; DELETE FROM session; COMMIT;",
        )?;
        Ok(())
    }

    /// Begins an empty index: in the same file, which another process may have open, or in a new one where
    /// that is spoilt.
    fn reset(&mut self, dir: &Path) -> Result<(), Error> {
        if self.clear().is_ok() {
            return Ok(());
        }
        if let Some(file) = self.file.take() {
            // Closed first: what is unlinked is not written to any more.
            self.connection = Connection::open_in_memory()?;
            discard(&file);
            *self = Index::open(dir, None)?;
        }
        Ok(())
    }

    /// The file; nothing, where the index is in memory.
    pub(super) fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }
}

struct Round {
    stop: Stop,
    records: u64,
    sequence: u64,
}

/// Whether the folder belongs to who runs this process. Another one, such as root, leaves no files there that
/// the gateway could not write.
fn is_own(dir: &Path) -> bool {
    let owner = |path: &Path| fs::metadata(path).map(|metadata| metadata.uid()).ok();
    owner(dir).is_some() && owner(dir) == owner(Path::new("/proc/self"))
}

fn discard(file: &Path) {
    for suffix in ["", "-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(suffix);
        // What cannot be removed is found when it is opened.
        let _ = fs::remove_file(PathBuf::from(name));
    }
}

/// Whether the file is no index any more.
fn is_spoilt(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{
        CannotOpen, ConstraintViolation, DatabaseCorrupt, NotADatabase, SystemIoFailure,
    };
    let code = error.sqlite_error_code();
    let spoilt = [CannotOpen, ConstraintViolation, DatabaseCorrupt, NotADatabase, SystemIoFailure];
    code.is_some_and(|code| spoilt.contains(&code)) || matches!(error, rusqlite::Error::SqlInputError { .. })
}

fn load(transaction: &Transaction<'_>) -> Result<Option<Mark>, Error> {
    let row = transaction
        .query_row(
            "SELECT segment, offset, sequence, hash, salt, last_segment, last_offset, last_sequence, \
             last_previous FROM progress",
            [],
            |row| {
                let next = row.get::<_, Option<u64>>(2)?.zip(row.get(3)?);
                let last = match row.get(5)? {
                    None => None,
                    Some(segment) => Some(Place {
                        segment,
                        offset: row.get(6)?,
                        sequence: row.get(7)?,
                        previous: row.get(8)?,
                    }),
                };
                Ok(Mark { segment: row.get(0)?, offset: row.get(1)?, next, salt: row.get(4)?, last })
            },
        )
        .optional()?;
    Ok(row)
}

fn store(transaction: &Transaction<'_>, mark: &Mark) -> Result<(), Error> {
    let last = mark.last;
    transaction.execute(
        "INSERT OR REPLACE INTO progress VALUES (1, ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        params![
            mark.segment,
            mark.offset,
            mark.next.map(|(sequence, _)| sequence),
            mark.next.map(|(_, hash)| hash),
            mark.salt,
            last.map(|place| place.segment),
            last.map(|place| place.offset),
            last.map(|place| place.sequence),
            last.map(|place| place.previous),
        ],
    )?;
    Ok(())
}
