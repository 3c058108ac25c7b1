//! Changes of the files in `policies.d` and `connections.d`.

use super::super::{Core, Error, control, reload};
use super::view::hexadecimal;
use crate::{
    admin::{ConfigFile, Edit, EditFault, Edited, Expected, Folder as Place},
    config::{Change, Diagnostic, FileName, Folder, base_of, included},
    limits::INCLUDED_BYTES_MAX,
};
use similar::TextDiff;
use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Mode of a new file: those who may read the main file mostly share its group.
const MODE: u32 = 0o640;

pub(super) fn folder(folder: Place) -> Folder {
    match folder {
        Place::Policies => Folder::Policies,
        Place::Connections => Folder::Connections,
    }
}

pub(super) fn name(text: &str) -> Result<FileName, EditFault> {
    text.parse().map_err(|why: &str| EditFault::Name(why.to_owned()))
}

/// The files of a folder that have names as they are given here; others are left to those who wrote them.
pub(super) fn list(core: &Core, place: Place) -> Result<Vec<ConfigFile>, EditFault> {
    let dir = base_of(&core.path).join(folder(place).name());
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(&dir, &error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed(&dir, &error))?;
        let stem = entry.file_name().to_str().and_then(|name| name.strip_suffix(".toml")).map(str::to_owned);
        if let Some(Ok(name)) = stem.map(|stem| stem.parse::<FileName>()) {
            files.push(show(core, place, &name)?);
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

pub(super) fn show(core: &Core, place: Place, name: &FileName) -> Result<ConfigFile, EditFault> {
    let folder = folder(place);
    let text = read(&included::path(&base_of(&core.path), folder, name))?;
    let text = text.ok_or_else(|| EditFault::NotFound(format!("there is no {}", name.below(folder))))?;
    let digest = hexadecimal(&text);
    Ok(ConfigFile { name: name.to_string(), file: name.below(folder), toml: text, digest })
}

/// The text of a file; `None` where there is none.
fn read(path: &Path) -> Result<Option<String>, EditFault> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(path, &error)),
    }
}

fn failed(path: &Path, error: &io::Error) -> EditFault {
    EditFault::Failed(format!("{}: {error}", path.display()))
}

/// Changes a file and puts the configuration in force that it is part of.
pub(super) async fn edit(core: Arc<Core>, author: String, edit: Edit) -> Result<Edited, EditFault> {
    let (name, folder) = (name(&edit.name)?, folder(edit.folder));
    let _turn = core.services.turn().await;
    let path = included::path(&base_of(&core.path), folder, &name);
    let old = read(&path)?;
    check_expected(&edit, &name.below(folder), old.as_deref())?;
    let file = name.below(folder);
    let diff = difference(&file, old.as_deref().unwrap_or(""), edit.text.as_deref().unwrap_or(""));
    let change = Change { folder, name: name.clone(), text: edit.text.clone() };
    let mut work = Work { core: core.clone(), author, file: file.clone(), path, old, diff };
    let checked = reload::candidate(&core, Some(&change)).map_err(|error| work.rejected(&error));
    let warnings = match checked {
        Ok((_, warnings)) => warnings,
        Err((fault, _)) if edit.dry_run => return Err(fault),
        Err((fault, why)) => {
            work.record(&format!("refused: {file}: {why}")).await;
            return Err(fault);
        }
    };
    let generation = match (edit.dry_run, edit.text == work.old) {
        // Nothing is written where nothing changes.
        (true, _) | (_, true) => core.snapshot.load().plan.generation,
        (false, false) => work.put(edit.text.clone()).await?,
    };
    let warning = |one: &Diagnostic| serde_json::to_value(one).ok();
    Ok(Edited {
        name: name.to_string(),
        file,
        dry_run: edit.dry_run,
        created: work.old.is_none() && edit.text.is_some(),
        diff: work.diff,
        digest: edit.text.as_deref().map(hexadecimal),
        toml: edit.text,
        generation,
        warnings: warnings.iter().filter_map(warning).collect(),
    })
}

/// That the file is what its editor takes it for.
fn check_expected(edit: &Edit, file: &str, old: Option<&str>) -> Result<(), EditFault> {
    if edit.text.as_ref().is_some_and(|text| text.len() > INCLUDED_BYTES_MAX) {
        let message = format!("{file} would be longer than {INCLUDED_BYTES_MAX} bytes");
        return Err(EditFault::Invalid(message));
    }
    if old.is_none() && edit.text.is_none() {
        return Err(EditFault::NotFound(format!("there is no {file}")));
    }
    let changed = |why: &str| Err(EditFault::Changed(format!("{file} {why}")));
    match (&edit.expected, old) {
        (Expected::Unsaid, None) | (Expected::Absent, None) | (Expected::Present, Some(_)) => Ok(()),
        (Expected::Unsaid, Some(_)) if edit.dry_run => Ok(()),
        (Expected::Unsaid, Some(_)) => Err(EditFault::Unconditional(format!(
            "{file} exists: send `If-Match` with the ETag that it was shown with"
        ))),
        (Expected::Absent, Some(_)) => changed("exists already"),
        (Expected::Present | Expected::OneOf(_), None) => changed("does not exist"),
        (Expected::OneOf(digests), Some(old)) => match digests.contains(&hexadecimal(old)) {
            true => Ok(()),
            false => changed("was changed meanwhile: read it again"),
        },
    }
}

/// What differs, as `diff -u` shows it.
fn difference(file: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(3).header(&format!("a/{file}"), &format!("b/{file}")).to_string()
}

/// A change under way.
struct Work {
    core: Arc<Core>,
    author: String,
    /// Below the directory of the main file.
    file: String,
    path: PathBuf,
    old: Option<String>,
    diff: String,
}

impl Work {
    /// The answer to a configuration that is bad, and the same in one line.
    fn rejected(&self, error: &Error) -> (EditFault, String) {
        let rejected = control::rejected(&self.core.path.display().to_string(), error);
        let line = rejected.message.clone();
        (EditFault::Rejected { rejected, diff: self.diff.clone() }, line)
    }

    /// Writes the file and reloads; gives the new generation. Whatever fails, the old file is there again.
    async fn put(&mut self, text: Option<String>) -> Result<u64, EditFault> {
        let digest = |text: Option<&str>| {
            text.map_or_else(|| "none".to_owned(), |text| format!("sha256:{}", hexadecimal(text)))
        };
        let change = format!("{}: {} -> {}", self.file, digest(self.old.as_deref()), digest(text.as_deref()));
        if let Err(error) = self.write(text).await {
            self.record(&format!("refused: {change}: {error}")).await;
            return Err(failed(&self.path, &error));
        }
        match reload::reload_in_turn(&self.core, &self.author).await {
            Ok(generation) => {
                tracing::info!(author = self.author, file = self.file, generation, "a file was changed");
                self.record(&format!("{change}, generation {generation}")).await;
                Ok(generation)
            }
            Err(error) => {
                let (fault, why) = self.rejected(&error);
                let restored = self.write(self.old.clone()).await;
                let mut said = format!("refused: {change}: {why}");
                if let Err(error) = restored {
                    tracing::error!(file = self.file, %error, "the old file is not there again");
                    said += &format!("; the old file is not there again: {error}");
                }
                self.record(&said).await;
                Err(fault)
            }
        }
    }

    async fn write(&self, text: Option<String>) -> io::Result<()> {
        let path = self.path.clone();
        let written = tokio::task::spawn_blocking(move || put(&path, text.as_deref())).await;
        written.unwrap_or_else(|_| Err(io::Error::other("the gateway failed at this")))
    }

    async fn record(&self, object: &str) {
        let (journal, author, object) = (self.core.journal.clone(), self.author.clone(), object.to_owned());
        let recording = move || control::record_admin(&journal, &author, "edit", &object);
        // It says itself when it fails.
        let _ = tokio::task::spawn_blocking(recording).await;
    }
}

/// Puts a text in the place of a file, or removes it: whoever reads meanwhile, or after a power cut, finds
/// the old one or the new one, whole.
fn put(path: &Path, text: Option<&str>) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    match text {
        Some(text) => {
            make_folder(dir)?;
            let mode = fs::metadata(path).map_or(MODE, |old| old.permissions().mode() & 0o777);
            let mut new = tempfile::Builder::new().prefix(".").suffix(".new").tempfile_in(dir)?;
            new.write_all(text.as_bytes())?;
            new.as_file().set_permissions(Permissions::from_mode(mode))?;
            new.as_file().sync_all()?;
            new.persist(path).map_err(|error| error.error)?;
        }
        None => fs::remove_file(path)?,
    }
    File::open(dir)?.sync_all()
}

fn make_folder(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Ok(()) => {
            fs::set_permissions(dir, Permissions::from_mode(0o750))?;
            File::open(dir.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new(".")))?
                .sync_all()
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}
