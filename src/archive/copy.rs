//! The folder of a follower: sealed segments as they were taken from their source, each verified before it
//! gets its name; the newest head of the source; the keys; and what speaks against the source, once
//! something does.
//!
//! ```text
//!  000000000007.segment.zst       segments, as in any log folder
//!  head                           the newest head that was proven to go on from the one before it
//!  .follow.json                   the keys of the log; says that this is a copy
//!  .000000000008.segment.zst.part what is being taken; .part.json says of which file it is a part
//!  evidence-…                     both heads, what was found, and the segment if it was one
//! ```
//! A follower that is killed goes on where it was: whatever has its name is whole, verified and synced.

use crate::{
    audit::{
        Checkpoint, Damage, Distrust, Hash, Item, KeyChain, NOTE_BYTES_MAX, ReadError, Record, SegmentHeader,
        SegmentReader, State, StatedKey, Trust, Verifier, Why,
    },
    segments::{self, COPY_HEAD, COPY_MARK, EVIDENCE, Form, Keys, SegmentFile, is_closed},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Which download `.part` is a part of.
const PART_MARK: &str = ".part.json";
/// What this follower writes, version 1.
const VERSION: u32 = 1;

/// Why the folder cannot be used; whoever keeps it has to act.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error("{0} is in use by another follower")]
    Locked(PathBuf),
    /// Segments lie there that no follower has taken.
    #[error("{0} holds an audit log that no follower has taken: name a folder of its own with --into")]
    NotACopy(PathBuf),
    #[error("{path} is not what a follower wrote: {why}")]
    State { path: PathBuf, why: String },
    /// A segment that was good when it was taken.
    #[error("the copy in {dir} was changed since it was taken: {damage}")]
    Damaged { dir: PathBuf, damage: Damage },
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

/// What a segment turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It follows from those before it, record by record.
    Verified(Verified),
    /// It is encrypted, and nothing here opens it.
    Unopened,
}

/// What a verified segment brings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Records of the log up to its end, from the first one on, and the root of their tree.
    pub records: u64,
    pub root: Hash,
    /// ERASED records in it: bodies that were taken out of the log at its source.
    pub erasures: u64,
}

/// Why a segment that was taken is not kept.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not what the log's writer wrote.
    #[error("segment {number} of the source does not verify: {why}")]
    Bad {
        number: u64,
        why: String,
        /// It is not what a kept head covers.
        is_fork: bool,
    },
    #[error(transparent)]
    Copy(#[from] CopyError),
}

/// What is there of a download that was broken off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub number: u64,
    /// Name of the file at the source.
    pub name: String,
    /// What tells that file from the one that may have taken its place.
    pub tag: String,
}

#[derive(Serialize, Deserialize)]
struct Mark {
    version: u32,
    source: String,
    keys: Vec<MarkedKey>,
}

#[derive(Serialize, Deserialize)]
struct MarkedKey {
    since: u64,
    statement: String,
}

/// The heads and keys beside the segments.
#[derive(Debug)]
pub struct Heads {
    dir: PathBuf,
    source: String,
}

impl Heads {
    /// Those in `dir`, which is made where it is missing, for the source of that name.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn open(dir: &Path, source: &str) -> Result<Heads, CopyError> {
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed(dir))?;
        let (listed, _) = segments::list(dir).map_err(failed(dir))?;
        if !listed.is_empty() && !segments::is_copy(dir) {
            return Err(CopyError::NotACopy(dir.to_owned()));
        }
        Ok(Heads { dir: dir.to_owned(), source: source.to_owned() })
    }

    /// The kept head; `None` before the first one.
    ///
    /// # Errors
    /// [`CopyError`]: it cannot be read.
    pub fn head(&self) -> Result<Option<Arc<str>>, CopyError> {
        let path = self.dir.join(COPY_HEAD);
        let mut text = String::new();
        match File::open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.and_then(|file| file.take(NOTE_BYTES_MAX as u64 + 1).read_to_string(&mut text)),
        }
        .map_err(failed(&path))?;
        Ok(Some(text.into()))
    }

    /// Keeps a head, durably.
    ///
    /// # Errors
    /// [`CopyError`]: it is not kept; the one before it is.
    pub fn keep(&self, note: &str) -> Result<(), CopyError> {
        put(&self.dir, COPY_HEAD, note.as_bytes())
    }

    /// The kept keys; none before the first contact.
    ///
    /// # Errors
    /// [`CopyError::State`]: they do not come from one another.
    pub fn keys(&self) -> Result<KeyChain, CopyError> {
        let path = self.dir.join(COPY_MARK);
        let Some(mark) = read_json::<Mark>(&path)? else { return Ok(KeyChain::default()) };
        let state = |why: String| CopyError::State { path: path.clone(), why };
        if mark.version != VERSION {
            return Err(state(format!("version {} is newer than this program", mark.version)));
        }
        let stated: Vec<StatedKey> = mark
            .keys
            .into_iter()
            .map(|key| StatedKey { note: key.statement.into(), since: key.since })
            .collect();
        KeyChain::of(&stated).map_err(|error| state(error.to_string()))
    }

    /// Keeps the keys, durably.
    ///
    /// # Errors
    /// [`CopyError`]: those before are kept.
    pub fn keep_keys(&self, chain: &KeyChain) -> Result<(), CopyError> {
        let keys = chain.stated();
        let keys = keys.map(|key| MarkedKey { since: key.since, statement: key.note.to_string() }).collect();
        write_json(&self.dir, COPY_MARK, &Mark { version: VERSION, source: self.source.clone(), keys })
    }

    /// Keeps what speaks against the source: texts by their names, and the file of a segment. The same
    /// finding is kept once. Gives the folder.
    ///
    /// # Errors
    /// [`CopyError`]: it cannot be written.
    pub fn accuse(
        &self,
        finding: &str,
        texts: &[(&str, &str)],
        segment: Option<&Path>,
    ) -> Result<PathBuf, CopyError> {
        let folder = self.dir.join(format!("{EVIDENCE}{finding}"));
        DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed(&folder))?;
        for (name, text) in texts {
            put(&folder, name, text.as_bytes())?;
        }
        if let Some(path) = segment.filter(|path| path.exists()) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.trim_start_matches('.').trim_end_matches(".part");
            fs::rename(path, folder.join(name)).map_err(failed(path))?;
        }
        sync(&self.dir)?;
        Ok(folder)
    }
}

/// The segments of a copy, and what they prove so far.
#[derive(Debug)]
pub struct Copy {
    pub(super) dir: PathBuf,
    pub(super) keys: Keys,
    /// Behind the last segment; `None` where that one cannot be opened.
    verifier: Option<Verifier>,
    last: u64,
    /// Encrypted segments that nothing here opens.
    unopened: u64,
    /// Held as long as the folder is in use.
    _lock: File,
}

impl Copy {
    /// The segments in `dir`. Those behind the kept head `own`, and the last one in any case, are verified
    /// again and held against it; the next one has to follow from them.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn open(dir: &Path, keys: Keys, own: Option<&Arc<str>>) -> Result<Copy, CopyError> {
        let lock = File::open(dir).map_err(failed(dir))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(CopyError::Locked(dir.to_owned())),
            Err(TryLockError::Error(source)) => return Err(failed(dir)(source)),
        }
        let (listed, _) = segments::list(dir).map_err(failed(dir))?;
        let verifier = Some(fresh().map_err(|fault| fault.of(dir, dir))?);
        let mut copy = Copy { dir: dir.to_owned(), keys, verifier, last: 0, unopened: 0, _lock: lock };
        for segment in listed.iter().filter(|segment| segment.form == Form::Encrypted) {
            match segment.open(&copy.keys) {
                Ok(_) => {}
                Err(error) if is_closed(&error) => copy.unopened += 1,
                Err(error) => return Err(failed(&segment.path)(error)),
            }
        }
        for segment in &listed[copy.first_to_read(&listed, own)..] {
            let at = |fault: Fault| fault.of(dir, &segment.path);
            copy.verifier = copy.begun(segment).map_err(at)?;
            if let Some(own) = own {
                // What is no head was found when it was read.
                let _ = copy.hold(own);
            }
            (copy.verifier, _) = copy.verified(segment).map_err(at)?;
            copy.last = segment.number;
        }
        Ok(copy)
    }

    /// The segment from which on what is here is read again: the one that the kept head ends in.
    fn first_to_read(&self, listed: &[SegmentFile], own: Option<&Arc<str>>) -> usize {
        let newest = listed.len().saturating_sub(1);
        let size = own.and_then(|note| Checkpoint::parse(note).ok()).map(|(own, _)| own.size);
        let Some(size) = size else { return newest };
        let begins_before = |segment: &SegmentFile| {
            let input = segment.open(&self.keys).ok();
            let reader = input.and_then(|input| SegmentReader::open(input, segment.number, None).ok());
            reader.is_none_or(|reader| reader.header().first_sequence <= size)
        };
        listed.iter().rposition(begins_before).unwrap_or(newest).min(newest)
    }

    /// Number of the last segment that is here; 0 for none.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Encrypted segments that nothing here opens.
    pub fn unopened(&self) -> u64 {
        self.unopened
    }

    /// What the segments up to the last one prove; `None` where that one cannot be read.
    pub fn proven(&self) -> Option<Verified> {
        let verifier = self.verifier.as_ref()?;
        let (records, root) = verifier.tree();
        (records > 0).then_some(Verified { records, root, erasures: verifier.erasures() })
    }

    /// Holds the next segments against a head of their source. `false`: they begin behind it.
    ///
    /// # Errors
    /// [`Distrust`]: it is no head.
    pub fn hold(&mut self, note: &Arc<str>) -> Result<bool, Distrust> {
        self.verifier.as_mut().map_or(Ok(false), |verifier| verifier.hold(note))
    }

    /// Erased bodies that no record explains, although everything that was sealed is here.
    pub fn unexplained(&self) -> Option<Damage> {
        self.verifier.as_ref()?.unexplained()
    }

    /// How far the download of that file came, in bytes; 0 where it is another one or was not begun.
    ///
    /// # Errors
    /// [`CopyError`].
    pub fn resumable(&self) -> Result<Option<(Part, u64)>, CopyError> {
        let Some(part) = read_json::<Part>(&self.dir.join(PART_MARK)).unwrap_or_default() else {
            return Ok(None);
        };
        if segments::number_of(&part.name).map(|(number, _)| number) != Some(part.number) {
            return Ok(None);
        }
        let bytes = fs::metadata(self.part_path(&part)).map(|facts| facts.len()).unwrap_or(0);
        Ok(Some((part, bytes)))
    }

    /// The file that a download is written to: from its beginning, or behind what is there of it.
    ///
    /// # Errors
    /// [`CopyError`]: it cannot be written, or the source gave it a name that is none of a segment.
    pub fn begin(&self, part: &Part, resume: bool) -> Result<File, CopyError> {
        let path = self.part_path(part);
        if segments::number_of(&part.name).map(|(number, _)| number) != Some(part.number) {
            let why = "the source names a file that is no segment of this number".to_owned();
            return Err(CopyError::State { path, why });
        }
        if !resume {
            self.discard_parts()?;
            write_json(&self.dir, PART_MARK, part)?;
        }
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o600);
        options.open(&path).map_err(failed(&path))
    }

    /// Where what was taken lies until it is verified.
    pub fn part_path(&self, part: &Part) -> PathBuf {
        self.dir.join(format!(".{}.part", part.name))
    }

    /// Verifies what was taken and gives it its name, durably.
    ///
    /// # Errors
    /// [`Refused`]: it stays without a name.
    pub fn take(&mut self, part: &Part) -> Result<Taken, Refused> {
        let path = self.part_path(part);
        let file = File::open(&path).map_err(failed(&path))?;
        file.sync_all().map_err(failed(&path))?;
        let bytes = file.metadata().map_err(failed(&path))?.len();
        let number = part.number;
        let form = segments::number_of(&part.name).map_or(Form::Raw, |(_, form)| form);
        let segment = SegmentFile { number, path: path.clone(), bytes, form };
        let bad = |why: String, is_fork| Refused::Bad { number, why, is_fork };
        let (verifier, is_open) = self.verified(&segment).map_err(|fault| match fault {
            Fault::Damage(damage) => bad(damage.to_string(), matches!(damage.why, Why::Fork(_))),
            Fault::Unreadable(why) => bad(why, false),
            Fault::Io(source) => Refused::Copy(failed(&path)(source)),
        })?;
        let before = self.verifier.as_ref().map_or(0, Verifier::erasures);
        let own = self.dir.join(&part.name);
        fs::rename(&path, &own).map_err(failed(&own))?;
        sync(&self.dir)?;
        let _ = fs::remove_file(self.dir.join(PART_MARK));
        (self.last, self.verifier) = (number, verifier);
        self.unopened += u64::from(!is_open);
        let Some(proven) = self.proven() else { return Ok(Taken::Unopened) };
        let erasures = proven.erasures.saturating_sub(before);
        Ok(Taken::Verified(Verified { erasures, ..proven }))
    }

    /// The state behind a segment, and whether it could be opened.
    fn verified(&self, segment: &SegmentFile) -> Result<(Option<Verifier>, bool), Fault> {
        let Some(mut verifier) = self.begun(segment)? else { return Ok((None, false)) };
        let input = match segment.open(&self.keys) {
            Ok(input) => input,
            Err(error) if is_closed(&error) => return Ok((None, false)),
            Err(error) => return Err(error.into()),
        };
        verifier.segment(segment.number, input, |_| {})?;
        Ok((Some(verifier), true))
    }

    /// The state in front of a segment: behind the one before it; else, where that is not here, what its
    /// STATE says of everything before it. That is believed here, and proven with the head of the source.
    /// `None` where it cannot be opened.
    fn begun(&self, segment: &SegmentFile) -> Result<Option<Verifier>, Fault> {
        let follows = |verifier: &&Verifier| verifier.next_segment() == segment.number;
        if let Some(verifier) = self.verifier.as_ref().filter(follows) {
            return Ok(Some(verifier.clone()));
        }
        let input = match segment.open(&self.keys) {
            Ok(input) => input,
            Err(error) if is_closed(&error) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut verifier = fresh()?;
        if segment.number > 1 {
            let (header, state) = opening(input, segment.number)?;
            verifier.begin_at(&header, &state);
            if verifier.next_segment() != segment.number {
                let why = "its beginning does not say what came before it".to_owned();
                return Err(Fault::Unreadable(why));
            }
        }
        Ok(Some(verifier))
    }

    /// Removes what earlier downloads have left.
    fn discard_parts(&self) -> Result<(), CopyError> {
        for entry in fs::read_dir(&self.dir).map_err(failed(&self.dir))? {
            let path = entry.map_err(failed(&self.dir))?.path();
            if path.extension().is_some_and(|extension| extension == "part") {
                fs::remove_file(&path).map_err(failed(&path))?;
            }
        }
        Ok(())
    }
}

/// Why a segment could not be verified.
enum Fault {
    Damage(Damage),
    /// What is inside is no segment: the coding around it is broken.
    Unreadable(String),
    /// This system is at fault.
    Io(io::Error),
}

impl Fault {
    /// What it means for a file of the copy that was good when it was taken.
    fn of(self, dir: &Path, path: &Path) -> CopyError {
        match self {
            Fault::Damage(damage) => CopyError::Damaged { dir: dir.to_owned(), damage },
            Fault::Unreadable(why) => CopyError::State { path: path.to_owned(), why },
            Fault::Io(source) => failed(path)(source),
        }
    }
}

/// A verifier for the sealed segments of a log, from the first one on.
fn fresh() -> Result<Verifier, Fault> {
    let trust = Trust { copied: Some(Default::default()), ..Trust::default() };
    Verifier::with_trust(&trust).map_err(|error| Fault::Unreadable(error.to_string()))
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Fault {
        // What the system says has a number; what a decoder says of the bytes has none.
        match error.raw_os_error() {
            Some(_) => Fault::Io(error),
            None => Fault::Unreadable(error.to_string()),
        }
    }
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Fault {
        match error {
            ReadError::Damage(damage) => Fault::Damage(damage),
            ReadError::Io { source, .. } => source.into(),
        }
    }
}

/// Header and STATE of a segment.
fn opening(input: impl Read, number: u64) -> Result<(SegmentHeader, State), Fault> {
    let mut reader = SegmentReader::open(input, number, None)?;
    let header = *reader.header();
    reader.next_item()?;
    let record = match reader.next_item()? {
        Item::Frame(frame) => frame.decode().ok(),
        _ => None,
    };
    match record {
        Some(Record::State(state)) => Ok((header, state)),
        _ => Err(Fault::Unreadable("it does not begin with a STATE".to_owned())),
    }
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> CopyError + use<> {
    let path = path.to_owned();
    |source| CopyError::Io { path, source }
}

pub(super) fn sync(dir: &Path) -> Result<(), CopyError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed(dir))
}

/// Puts a file in the place of another, whole or not at all.
fn put(dir: &Path, name: &str, bytes: &[u8]) -> Result<(), CopyError> {
    let staging = dir.join(format!(".{}.staged", name.trim_start_matches('.')));
    let write = || -> io::Result<()> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&staging)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&staging, dir.join(name))
    };
    write().map_err(failed(&staging))?;
    sync(dir)
}

fn write_json(dir: &Path, name: &str, value: &impl Serialize) -> Result<(), CopyError> {
    let text = serde_json::to_vec_pretty(value);
    put(dir, name, &text.map_err(|error| failed(&dir.join(name))(error.into()))?)
}

/// `None` where there is no file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, CopyError> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path)(error)),
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| CopyError::State { path: path.to_owned(), why: error.to_string() }),
    }
}
