//! The files of a log folder: their names and forms, and what is inside of them.
//!
//! Written by `journal`, read by it, by `archive` and by commands. This is not the format of what is inside,
//! which is pure and lives in `audit`. Start at [`list`] and [`SegmentFile::open`].

mod age;
mod bodies;

pub use age::{Decryptor, Encryptor, Identity, KeyError, Recipient};
pub use bodies::{Zeroed, each_record};

use std::{
    fs::{self, File},
    io::{self, BufRead, BufReader, Cursor, Read, Seek, SeekFrom},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::Arc,
};
use zstd::stream::read::Decoder;

/// What a segment's file name ends with, before the suffix of its form.
const SUFFIX: &str = ".segment";
/// Digits of the number in it.
const DIGITS: usize = 12;
/// A folder that changes while it is listed is listed this often.
const LOOKS: u32 = 5;
/// Matches reach back 32 MiB; this is also what reading a packed segment takes as memory.
pub const WINDOW_LOG: u32 = 25;

/// How a segment's bytes lie in its file, in the order in which they are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// As written.
    Raw,
    /// Compressed with zstd (RFC 8878).
    Packed,
    /// Compressed, then encrypted with age.
    Encrypted,
}

impl Form {
    /// All forms.
    pub const ALL: [Form; 3] = [Form::Raw, Form::Packed, Form::Encrypted];

    /// What follows in the file's name.
    pub fn suffix(self) -> &'static str {
        match self {
            Form::Raw => "",
            Form::Packed => ".zst",
            Form::Encrypted => ".zst.age",
        }
    }
}

/// What opens encrypted segments; by default nothing.
#[derive(Debug, Default)]
pub struct Keys(Vec<Identity>);

impl Keys {
    /// Those in a file as `age-keygen` writes it: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// The file cannot be read; `InvalidData`: a line is no identity, or there is none.
    pub fn read(path: &Path) -> io::Result<Keys> {
        let text = zeroize::Zeroizing::new(std::fs::read_to_string(path)?);
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let invalid = |message: String| io::Error::new(io::ErrorKind::InvalidData, message);
        let keys: Vec<Identity> = lines
            .enumerate()
            .map(|(index, line)| line.parse().map_err(|e| invalid(format!("key {}: {e}", index + 1))))
            .collect::<Result<_, _>>()?;
        if keys.is_empty() {
            return Err(invalid("there is no age identity in it".to_owned()));
        }
        Ok(Keys(keys))
    }

    fn decrypt<R: BufRead>(&self, input: R) -> io::Result<BufReader<Decryptor<R>>> {
        Decryptor::new(input, &self.0).map(BufReader::new)
    }
}

/// Random bytes for a key, a nonce or a salt.
///
/// # Errors
/// The system gives none.
pub fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("the system gives no random bytes"))?;
    Ok(bytes)
}

/// One segment file of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// Its number, by its name.
    pub number: u64,
    pub path: PathBuf,
    /// Its size now, in bytes.
    pub bytes: u64,
    /// How its bytes lie in the file.
    pub form: Form,
}

impl SegmentFile {
    /// The segment's bytes as they were written, out of whatever the file is.
    ///
    /// # Errors
    /// The file cannot be opened, or is encrypted and none of `keys` opens it (`PermissionDenied`).
    pub fn open(&self, keys: &Keys) -> io::Result<Box<dyn Read>> {
        let mut opened = (File::open(&self.path), self.form);
        for form in [Form::Packed, Form::Encrypted] {
            if matches!(&opened.0, Err(error) if error.kind() == io::ErrorKind::NotFound) {
                // It was packed since the folder was listed.
                let folder = self.path.parent().unwrap_or(Path::new(""));
                opened = (File::open(path_in(folder, self.number, form)), form);
            }
        }
        let (file, form) = (opened.0?, opened.1);
        match form {
            Form::Raw => Ok(Box::new(BufReader::new(file))),
            Form::Packed => Ok(Box::new(decompress(file)?)),
            Form::Encrypted => Ok(Box::new(decompress(keys.decrypt(BufReader::new(file))?)?)),
        }
    }
}

/// Whether a segment could not be read only because it is encrypted to others. A file that this user may not
/// read is something else: that is what the system says.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied && error.raw_os_error().is_none()
}

/// The file of segment `number` in `folder` as it is written.
pub fn path(folder: &Path, number: u64) -> PathBuf {
    path_in(folder, number, Form::Raw)
}

/// The file of segment `number` in `folder` where it is there in this form.
pub fn path_in(folder: &Path, number: u64, form: Form) -> PathBuf {
    folder.join(format!("{number:0DIGITS$}{SUFFIX}{}", form.suffix()))
}

/// What a follower writes into the folder of its copy beside the segments.
pub const COPY_MARK: &str = ".follow.json";
/// The newest head of the source of a copy.
pub const COPY_HEAD: &str = "head";
/// What the names of folders begin with that a follower keeps as evidence.
pub const EVIDENCE: &str = "evidence-";

/// Whether the segments in `folder` were taken by a follower.
pub fn is_copy(folder: &Path) -> bool {
    folder.join(COPY_MARK).is_file()
}

/// The segments of a folder in order, and the files that do not belong there. Names that begin with a dot
/// or with `checkpoint`, and what a follower keeps beside its segments, are left out.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> io::Result<(Vec<SegmentFile>, Vec<PathBuf>)> {
    // A segment that is packed meanwhile may be seen in both forms or in none: then it is listed again.
    let mut attempts = 1;
    loop {
        let listed = list_once(folder);
        let is_steady = match &listed {
            Ok((segments, _)) => segments.windows(2).all(|pair| pair[0].number + 1 == pair[1].number),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if is_steady || attempts == LOOKS || !folder.exists() {
            return listed;
        }
        attempts += 1;
    }
}

fn list_once(folder: &Path) -> io::Result<(Vec<SegmentFile>, Vec<PathBuf>)> {
    let (mut segments, mut strangers) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let is_beside = name == COPY_HEAD || name.starts_with(EVIDENCE);
        if name.starts_with('.') || name.starts_with("checkpoint") || is_beside {
            continue;
        }
        match number_of(&name) {
            Some((number, form)) => {
                let bytes = entry.metadata()?.len();
                segments.push(SegmentFile { number, path: entry.path(), bytes, form });
            }
            None => strangers.push(entry.path()),
        }
    }
    // A process that died while it packed may leave a segment twice: what it was packed from goes first.
    segments.sort_by_key(|segment| (segment.number, segment.form));
    segments.dedup_by_key(|segment| segment.number);
    strangers.sort();
    Ok((segments, strangers))
}

/// The number and the form of a segment, by the name of its file; `None` if it is no such name.
pub fn number_of(name: &str) -> Option<(u64, Form)> {
    let (form, digits) = Form::ALL
        .into_iter()
        .find_map(|form| Some((form, name.strip_suffix(form.suffix())?.strip_suffix(SUFFIX)?)))?;
    let plain = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|number| plain && *number > 0).map(|number| (number, form))
}

/// A segment's bytes with random access.
#[derive(Debug)]
pub enum Input {
    /// The file itself, which may still grow.
    File(File),
    /// What was inside of a packed one.
    Memory(Cursor<Arc<[u8]>>),
}

impl Input {
    /// Opens segment `number` of `folder`, in whatever form it is there. A packed one is unpacked into
    /// memory.
    ///
    /// # Errors
    /// As [`SegmentFile::open`]; `NotFound`: it is there in no form.
    pub fn open(folder: &Path, number: u64, keys: &Keys) -> io::Result<Input> {
        let path = path(folder, number);
        match File::open(&path) {
            Ok(file) => return Ok(Input::File(file)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Err(_) => {}
        }
        let mut bytes = Vec::new();
        SegmentFile { number, path, bytes: 0, form: Form::Raw }.open(keys)?.read_to_end(&mut bytes)?;
        Ok(Input::Memory(Cursor::new(bytes.into())))
    }

    /// Another one on the same bytes.
    ///
    /// # Errors
    /// The process has no descriptor left.
    pub fn try_clone(&self) -> io::Result<Input> {
        match self {
            Input::File(file) => file.try_clone().map(Input::File),
            Input::Memory(bytes) => Ok(Input::Memory(bytes.clone())),
        }
    }

    /// Reads at `offset`, as `pread(2)`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        match self {
            Input::File(file) => file.read_at(buffer, offset),
            Input::Memory(bytes) => {
                let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.get_ref().len());
                (&bytes.get_ref()[start..]).read(buffer)
            }
        }
    }
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Input::File(file) => file.read(buffer),
            Input::Memory(bytes) => bytes.read(buffer),
        }
    }
}

impl Seek for Input {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        match self {
            Input::File(file) => file.seek(position),
            Input::Memory(bytes) => bytes.seek(position),
        }
    }
}

/// Whether segment `number` of `folder` is there in some form.
pub fn exists(folder: &Path, number: u64) -> bool {
    Form::ALL.into_iter().any(|form| path_in(folder, number, form).exists())
}

/// The bytes that were compressed into `input`.
fn decompress(input: impl Read) -> io::Result<BufReader<impl Read>> {
    let mut decoder = Decoder::new(input)?;
    decoder.window_log_max(WINDOW_LOG)?;
    Ok(BufReader::new(decoder))
}
