//! Changes of settings: what would be done, doing it, and undoing it.

use super::{
    Definition, Finding, Host, Mark, Saved, State, StateError, definition::Read, definitions, host::spaced,
    look, state,
};
use std::{
    fmt::Write as _,
    fs, io,
    path::{Path, PathBuf},
};

/// Where `sysctl --system` finds ours.
pub const PERSISTED: &str = "/etc/sysctl.d/90-ringward.conf";

/// What `apply` would do.
#[derive(Debug)]
pub struct Plan<'a> {
    pub changes: Vec<Change<'a>>,
    /// What is not as wanted, and for people to put right.
    pub by_hand: Vec<Finding<'a>>,
}

/// One value to write.
#[derive(Clone, Debug)]
pub struct Change<'a> {
    pub finding: Finding<'a>,
    pub file: PathBuf,
    pub target: String,
    /// Line of sysctl.d that keeps it over a reboot; `None`: nothing here does.
    pub line: Option<String>,
    /// Why it cannot be written.
    pub obstacle: Option<String>,
}

/// How one change went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// From, to.
    Changed(String, String),
    /// It is so already.
    Kept(String),
    /// Why not; nothing was changed.
    Failed(String),
}

/// One setting that was written, or should have been.
#[derive(Clone, Debug)]
pub struct Applied {
    pub id: String,
    pub file: PathBuf,
    pub outcome: Outcome,
}

/// Sorts out what is not as wanted.
pub fn plan<'a>(host: &Host, findings: Vec<Finding<'a>>) -> Plan<'a> {
    let mut plan = Plan { changes: Vec::new(), by_hand: Vec::new() };
    for finding in findings {
        if !matches!(finding.mark, Mark::Warning | Mark::Failure) {
            continue;
        }
        let definition = finding.definition;
        match (definition.target(), host.file(&definition.read)) {
            (Some(target), Some(file)) => {
                let line = match &definition.read {
                    Read::Sysctl(name) => Some(format!("{name} = {target}")),
                    _ => None,
                };
                let obstacle = obstacle(host, &host.place(&file));
                plan.changes.push(Change { finding, file, target, line, obstacle });
            }
            _ => plan.by_hand.push(finding),
        }
    }
    plan
}

impl Plan<'_> {
    /// The script that does what `apply` does.
    pub fn script(&self) -> String {
        let mut text = String::from("#!/bin/sh\n# What `ringward tune apply` does.\nset -eu\n");
        for change in &self.changes {
            let Change { finding, file, target, .. } = change;
            let _ = write!(text, "\n# {}: {} -> {target}\n", finding.definition.id, finding.current);
            if let Some(obstacle) = &change.obstacle {
                let _ = writeln!(text, "# {obstacle}");
            }
            let _ = writeln!(text, "printf '%s\\n' '{target}' > {}", file.display());
        }
        if self.changes.is_empty() {
            text.push_str("\n# Nothing is to be written.\n");
        }
        self.say_what_does_not_persist(&mut text);
        for finding in &self.by_hand {
            let definition = finding.definition;
            let _ = write!(text, "\n# By hand, {}: {}\n", definition.id, definition.fix);
        }
        text
    }

    fn say_what_does_not_persist(&self, text: &mut String) {
        let lines: Vec<_> = self.changes.iter().filter_map(|change| change.line.as_deref()).collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n# Gone after a reboot, unless {PERSISTED} says (`apply --persist`):\n");
            lines.iter().for_each(|line| {
                let _ = writeln!(text, "#   {line}");
            });
        }
        for change in self.changes.iter().filter(|change| change.line.is_none()) {
            let _ = write!(text, "\n# Gone after a reboot: {}\n", change.file.display());
        }
    }
}

/// Why a file cannot be written, as far as that can be known without writing it.
fn obstacle(host: &Host, place: &Path) -> Option<String> {
    let access = rustix::fs::access(place, rustix::fs::Access::WRITE_OK);
    access.err().map(|error| refused(host, &error.into()))
}

fn refused(host: &Host, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ReadOnlyFilesystem => "read-only here: set it on the host".to_owned(),
        io::ErrorKind::PermissionDenied if host.is_container() => {
            "read-only here: set it on the host".to_owned()
        }
        io::ErrorKind::PermissionDenied => "not permitted: run it as root".to_owned(),
        _ => error.to_string(),
    }
}

/// Does what `plan` says: for each change keeps the old value in the state at `path`, writes, and looks
/// again. What cannot be changed keeps nothing else from being so.
///
/// # Errors
/// The state cannot be kept; what was changed until then is in it.
pub fn apply(host: &Host, plan: &Plan<'_>, path: &Path) -> Result<Vec<Applied>, StateError> {
    let mut state = State::load(path)?;
    let mut done = Vec::new();
    for change in &plan.changes {
        let definition = change.finding.definition;
        let old = change.finding.current.clone();
        // Where it was applied before, what was first is what is gone back to.
        match state.changes.iter_mut().find(|saved| saved.id == definition.id) {
            Some(saved) => saved.new.clone_from(&change.target),
            None => state.changes.push(Saved {
                id: definition.id.clone(),
                file: change.file.clone(),
                old: old.clone(),
                new: change.target.clone(),
            }),
        }
        state.store(path)?;
        let outcome = match fs::write(host.place(&change.file), format!("{}\n", change.target)) {
            Err(error) => Outcome::Failed(refused(host, &error)),
            Ok(()) => match look(host, definition) {
                Finding { mark: Mark::Good, current, .. } => Outcome::Changed(old, current),
                Finding { current, .. } => Outcome::Failed(format!("the kernel keeps {current}")),
            },
        };
        if matches!(outcome, Outcome::Failed(_)) {
            forget_unchanged(host, &mut state, &definition.id);
            state.store(path)?;
        }
        done.push(Applied { id: definition.id.clone(), file: change.file.clone(), outcome });
    }
    Ok(done)
}

/// Leaves a change out of the state that did not come about.
fn forget_unchanged(host: &Host, state: &mut State, id: &str) {
    let is_old = |saved: &Saved| value(host, &saved.file).is_ok_and(|value| value == saved.old);
    state.changes.retain(|saved| saved.id != id || !is_old(saved));
}

fn value(host: &Host, file: &Path) -> io::Result<String> {
    host.value(&Read::File(file.to_owned()))
}

/// Puts back what the state at `path` says, the last change first. What somebody else has changed since is
/// left alone unless `force` is set. What could be put back, or needs not be, leaves the state, so that it
/// may be called again. With `dry_run` it only says what it would do.
///
/// # Errors
/// The state cannot be read or written.
pub fn revert(host: &Host, path: &Path, force: bool, dry_run: bool) -> Result<Vec<Applied>, StateError> {
    let mut state = State::load(path)?;
    let mut done = Vec::new();
    for saved in state.changes.clone().into_iter().rev() {
        let outcome = put_back(host, &saved, force, dry_run);
        if !dry_run && !matches!(outcome, Outcome::Failed(_)) {
            state.changes.retain(|one| *one != saved);
            state.store(path)?;
        }
        done.push(Applied { id: saved.id, file: saved.file, outcome });
    }
    Ok(done)
}

/// The definition by which [`apply`] writes what `saved` says, if there is one. The state may lie where the
/// user of the service can write: it says which of our settings were changed, and never what root writes
/// elsewhere.
fn written_by<'a>(host: &Host, saved: &Saved, definitions: &'a [Definition]) -> Option<&'a Definition> {
    let is_it = |one: &&Definition| {
        one.id == saved.id && one.target().is_some() && host.file(&one.read).as_ref() == Some(&saved.file)
    };
    definitions.iter().find(is_it)
}

fn put_back(host: &Host, saved: &Saved, force: bool, dry_run: bool) -> Outcome {
    if written_by(host, saved, &definitions()).is_none() {
        let why =
            "no setting that `tune apply` writes is there: if it was one of another version, put it back";
        return Outcome::Failed(format!("{why} by hand"));
    }
    let current = match value(host, &saved.file) {
        Ok(current) => current,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    if current == saved.old {
        return Outcome::Kept(current);
    }
    if current != spaced(&saved.new) && !force {
        return Outcome::Failed(format!(
            "it is {current} now, which is not what was applied: somebody changed it; --force puts {} back",
            saved.old
        ));
    }
    if dry_run {
        return Outcome::Changed(current, saved.old.clone());
    }
    if let Err(error) = fs::write(host.place(&saved.file), format!("{}\n", saved.old)) {
        return Outcome::Failed(refused(host, &error));
    }
    match value(host, &saved.file) {
        Ok(now) if now == saved.old => Outcome::Changed(current, now),
        Ok(now) => Outcome::Failed(format!("the kernel keeps {now}")),
        Err(error) => Outcome::Failed(error.to_string()),
    }
}

/// Writes the sysctls that are in force through the state at `path` to [`PERSISTED`]; says which file that
/// was, or `None` where there is nothing to keep.
///
/// # Errors
/// The state cannot be kept, or the file cannot be written.
pub fn persist(host: &Host, path: &Path) -> Result<Option<PathBuf>, StateError> {
    let mut state = State::load(path)?;
    let definitions = definitions();
    let is_ours = |saved: &&Saved| {
        written_by(host, saved, &definitions).is_some_and(|definition| definition.accepts(&saved.new))
    };
    let sysctls = state.changes.iter().filter(is_ours).filter_map(|saved| {
        let name = saved.file.strip_prefix("/proc/sys").ok()?.to_str()?;
        Some(format!("{} = {}\n", name.replace('/', "."), saved.new))
    });
    let lines: String = sysctls.collect();
    if lines.is_empty() {
        return Ok(None);
    }
    let file = PathBuf::from(PERSISTED);
    state.persisted = Some(file.clone());
    state.store(path)?;
    let text =
        format!("# Written by `ringward tune apply --persist`; `ringward tune revert` removes it.\n{lines}");
    let place = host.place(&file);
    let failed = |source| StateError::Write { path: place.clone(), source };
    let folder = place.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).map_err(failed)?;
    state::replace(&place, folder, text.as_bytes()).map_err(failed)?;
    Ok(Some(file))
}

/// Removes what [`persist`] wrote; says which file that was.
///
/// # Errors
/// The file cannot be removed, or is another one; or the state cannot be kept.
pub fn unpersist(host: &Host, path: &Path, dry_run: bool) -> Result<Option<PathBuf>, StateError> {
    let mut state = State::load(path)?;
    let Some(file) = state.persisted.clone() else { return Ok(None) };
    if file != Path::new(PERSISTED) {
        return Err(StateError::Foreign { path: path.to_owned(), file });
    }
    if !dry_run {
        let place = host.place(&file);
        match fs::remove_file(&place) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StateError::Write { path: place, source: error });
            }
            _ => {}
        }
        state.persisted = None;
        state.store(path)?;
    }
    Ok(Some(file))
}
