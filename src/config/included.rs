//! The include folders beside the main file: `policies.d/*.toml` holds `[[policy]]` alone,
//! `connections.d/*.toml` holds `[upstreams.NAME]`, `[[route]]` and `[[mask]]`. They are what the admin
//! interface may write; identity, secrets, commands and the interface itself stand in the main file, which it
//! never touches.
//!
//! The text of a configuration is the main file with the included ones behind it, in the order of their
//! folders and names: one TOML document. Each file must therefore be whole by itself, which [`check`] holds.

use super::{Diagnostic, Severity, Text};
use crate::limits::{INCLUDED_BYTES_MAX, INCLUDED_FILES_MAX};
use std::{
    collections::BTreeMap,
    fmt, fs,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr,
};
use toml::de::{DeTable, DeValue};

/// Ending of the files in an include folder.
const SUFFIX: &str = ".toml";

/// One of the include folders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Folder {
    Connections,
    Policies,
}

impl Folder {
    /// In the order in which they are read.
    pub const ALL: [Folder; 2] = [Folder::Connections, Folder::Policies];

    /// Its name, beside the main file.
    pub fn name(self) -> &'static str {
        match self {
            Folder::Connections => "connections.d",
            Folder::Policies => "policies.d",
        }
    }

    /// Tables that its files may hold.
    pub fn tables(self) -> &'static [&'static str] {
        match self {
            Folder::Connections => &["upstreams", "route", "mask"],
            Folder::Policies => &["policy"],
        }
    }

    /// The same, as people write them.
    fn headers(self) -> &'static str {
        match self {
            Folder::Connections => "[upstreams.NAME], [[route]] and [[mask]]",
            Folder::Policies => "[[policy]]",
        }
    }
}

/// Names a file in an include folder; [`FromStr`] takes it without `.toml`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileName(String);

impl FileName {
    /// Without `.toml`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Below the directory of the main file, such as `policies.d/no-drop.toml`.
    pub fn below(&self, folder: Folder) -> String {
        format!("{}/{}{SUFFIX}", folder.name(), self.0)
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FileName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<FileName, &'static str> {
        let is_named = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        match (1..=64).contains(&text.len()) && text.bytes().all(is_named) {
            true => Ok(FileName(text.to_owned())),
            false => Err("a name has 1 to 64 lower-case letters, digits or `-`"),
        }
    }
}

/// A file of an include folder, in [`Text::source`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Included {
    pub folder: Folder,
    /// Name in diagnostics: the path.
    pub name: String,
    /// Below the directory of the main file, such as `policies.d/no-drop.toml`.
    pub below: String,
    /// Where its text stands in that of the whole configuration.
    pub range: Range<usize>,
}

/// A file of an include folder that is not written yet: what a configuration would be with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    pub folder: Folder,
    pub name: FileName,
    /// Its text; `None` where it is removed.
    pub text: Option<String>,
}

/// Puts the files of the include folders behind the main file of `text`; `change` stands in for its file.
///
/// # Errors
/// A folder or a file cannot be read, and which; the operator's.
pub(super) fn append(text: &mut Text, change: Option<&Change>) -> io::Result<()> {
    for folder in Folder::ALL {
        let mut files = files(&text.base, folder)?;
        if let Some(change) = change.filter(|change| change.folder == folder) {
            files.remove(change.name.as_str());
            if let Some(new) = &change.text {
                files.insert(change.name.as_str().to_owned(), new.clone());
            }
        }
        for (name, source) in files {
            let below = format!("{}/{name}{SUFFIX}", folder.name());
            add(text, folder, below, &source);
        }
    }
    Ok(())
}

/// Puts one file behind what is there.
fn add(text: &mut Text, folder: Folder, below: String, source: &str) {
    if !text.source.ends_with('\n') {
        text.source.push('\n');
    }
    // Who reads the record of a configuration sees where a file begins.
    text.source.push_str(&format!("# {below}\n"));
    let start = text.source.len();
    text.source.push_str(source);
    let name = text.base.join(&below).display().to_string();
    let name = name.strip_prefix("./").map_or(name.clone(), str::to_owned);
    text.included.push(Included { folder, name, below, range: start..text.source.len() });
}

/// Name without ending and text of each file, by name. A folder that is not there is empty.
fn files(base: &Path, folder: Folder) -> io::Result<BTreeMap<String, String>> {
    let dir = base.join(folder.name());
    let entries = match fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(about(&dir, &error)),
    };
    let mut files = BTreeMap::new();
    for entry in entries {
        let path = entry.map_err(|error| about(&dir, &error))?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        // Hidden files are those that editors and writers are still busy with.
        let Some(stem) = name.strip_suffix(SUFFIX).filter(|stem| !stem.starts_with('.')) else { continue };
        if !stem.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')) {
            let why = "its name has other characters than letters, digits, `-`, `_` and `.`: rename it";
            return Err(about(&path, &io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
        files.insert(stem.to_owned(), read(&path).map_err(|error| about(&path, &error))?);
        if files.len() > INCLUDED_FILES_MAX {
            let why = format!("holds more than {INCLUDED_FILES_MAX} files");
            return Err(about(&dir, &io::Error::new(io::ErrorKind::InvalidInput, why)));
        }
    }
    Ok(files)
}

/// One file of an include folder.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    fs::File::open(path)?.take(INCLUDED_BYTES_MAX as u64 + 1).read_to_string(&mut text)?;
    match text.len() > INCLUDED_BYTES_MAX {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("is longer than {INCLUDED_BYTES_MAX} bytes: share it out among several files"),
        )),
        false => Ok(text),
    }
}

fn about(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Where the file of a name is.
pub fn path(base: &Path, folder: Folder, name: &FileName) -> PathBuf {
    base.join(name.below(folder))
}

/// The part of a diagnostic's file name from the include folder on; nothing for the main file.
pub fn below(file: &str) -> Option<&str> {
    let folder = |folder: Folder| file.rfind(&format!("{}/", folder.name()));
    Folder::ALL.into_iter().find_map(folder).map(|at| &file[at..])
}

/// That each file is whole by itself, and holds what its folder may hold. Says nothing where nothing is
/// included.
pub(super) fn check(text: &Text) -> Vec<Diagnostic> {
    if text.included.is_empty() {
        return Vec::new();
    }
    let main = &text.source[..text.main_bytes()];
    let mut found = syntax(&text.name, main).1;
    let mut upstreams: BTreeMap<String, &str> = BTreeMap::new();
    for name in upstream_names(&DeTable::parse_recoverable(main).0) {
        upstreams.insert(name.1, &text.name);
    }
    for file in &text.included {
        let source = &text.source[file.range.clone()];
        let (table, faults) = syntax(&file.name, source);
        if !faults.is_empty() {
            found.extend(faults);
            continue;
        }
        found.extend(shape(file, source, &table));
        for (span, name) in upstream_names(&table) {
            if let Some(first) = upstreams.insert(name.clone(), &file.name) {
                let message = format!("the upstream `{name}` is defined twice, first in {first}");
                found.push(fault(file, source, span, "duplicate-name", message, "give each its own name"));
            }
        }
    }
    found
}

type Table<'a> = serde_spanned::Spanned<DeTable<'a>>;

fn syntax<'a>(name: &str, source: &'a str) -> (Table<'a>, Vec<Diagnostic>) {
    let (table, errors) = DeTable::parse_recoverable(source);
    let place = |error: &toml::de::Error| {
        let span = error.span().unwrap_or(0..0);
        Diagnostic::new((name, source), span, Severity::Error, "syntax", error.message())
    };
    let found = errors.iter().map(place).collect();
    (table, found)
}

/// What a file holds that it may not.
fn shape(file: &Included, source: &str, table: &Table<'_>) -> Vec<Diagnostic> {
    let headers = file.folder.headers();
    let mut found = Vec::new();
    for (key, value) in table.get_ref().iter() {
        let name: &str = key.get_ref();
        if !file.folder.tables().contains(&name) {
            let message = format!("`{name}` may not stand in a file of {}", file.folder.name());
            let help = format!("it holds {headers}; everything else stands in the main file");
            found.push(fault(file, source, key.span(), "not-included", message, &help));
            continue;
        }
        // Behind the main file `[policy.when]` would belong to the last policy of that.
        let is_list = matches!(value.get_ref(), DeValue::Array(_));
        if name != "upstreams" && !is_list {
            let message = format!("`{name}` is an array of tables");
            found.push(fault(file, source, key.span(), "wrong-type", message, &format!("write [[{name}]]")));
        }
    }
    if let (Some(span), true) = (bare_key(source), found.is_empty()) {
        let message = "a key stands before the first table";
        found.push(fault(file, source, span, "not-included", message, &format!("begin with {headers}")));
    }
    found
}

/// What stands before the first header: behind the main file it would belong to the last table of that.
fn bare_key(source: &str) -> Option<Range<usize>> {
    let mut start = 0;
    for line in source.split_inclusive('\n') {
        let text = line.trim();
        match text.chars().next() {
            None | Some('#') => start += line.len(),
            Some('[') => return None,
            Some(_) => return Some(start..start + line.trim_end().len()),
        }
    }
    None
}

fn upstream_names(table: &Table<'_>) -> Vec<(Range<usize>, String)> {
    let named = |(key, value): (&serde_spanned::Spanned<_>, &serde_spanned::Spanned<DeValue<'_>>)| {
        let key: &std::borrow::Cow<'_, str> = key.get_ref();
        match (key.as_ref(), value.get_ref()) {
            ("upstreams", DeValue::Table(all)) => {
                all.iter().map(|(name, _)| (name.span(), name.get_ref().to_string())).collect()
            }
            _ => Vec::new(),
        }
    };
    table.get_ref().iter().flat_map(named).collect()
}

fn fault(
    file: &Included,
    source: &str,
    span: Range<usize>,
    code: &'static str,
    message: impl Into<String>,
    help: &str,
) -> Diagnostic {
    Diagnostic::new((&file.name, source), span, Severity::Error, code, message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Format, diagnostic};

    const MAIN: &str = r#"version = 1
[[listen]]
name = "main"
addr = "127.0.0.1:0"
[upstreams.old]
url = "http://127.0.0.1:1"
[[route]]
name = "old"
match = { listen = "main", path = "/old/**" }
identity = []
upstream = "old"
policies = ["no-drop", "default"]
[[policy]]
name = "default"
action = "allow""#;
    const NO_DROP: &str = "# why\n[[policy]]\nname = \"no-drop\"\nwhen = { method = \"DELETE\" }\n\
                           action = \"block\"\nreason = \"No.\"\n";
    const CONNECTION: &str = "[upstreams.new]\nurl = \"http://127.0.0.1:2\"\n[[route]]\nname = \"new\"\n\
                              match = { listen = \"main\", path = \"/new/**\" }\nidentity = []\n\
                              upstream = \"new\"\npolicies = [\"default\"]\n";

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        dir
    }

    fn loaded(dir: &tempfile::TempDir) -> Result<config::Loaded, Vec<Diagnostic>> {
        config::load(&Text::read(&dir.path().join("ringward.toml")).unwrap())
    }

    #[test]
    fn files_of_the_include_folders_join_the_main_file_in_the_order_of_their_names() {
        let second = NO_DROP.replace("no-drop", "second");
        let dir = folder(&[
            ("ringward.toml", MAIN),
            ("policies.d/20-second.toml", &second),
            ("policies.d/10-no-drop.toml", NO_DROP),
            ("policies.d/.hidden.toml", "broken ["),
            ("policies.d/README", "not one of them"),
            ("connections.d/new.toml", CONNECTION),
        ]);
        let loaded = loaded(&dir).unwrap();
        let names: Vec<_> = loaded.document.policy.iter().map(|policy| &*policy.name).collect();
        assert_eq!(names, ["default", "no-drop", "second"]);
        assert!(loaded.document.upstreams.contains_key("new") && loaded.document.route.len() == 2);
        let place = |index: usize| loaded.tree.place(&config::tree::at!["policy", index, "name"]);
        assert_eq!(place(0), "ringward.toml:14");
        assert_eq!(place(1), "policies.d/10-no-drop.toml:3");
        // What is recorded of it reads as the same configuration, by itself.
        let again = config::load(&Text::new("recorded", ".", loaded.tree.source.clone())).unwrap();
        assert_eq!(toml::to_string(&again.document).unwrap(), toml::to_string(&loaded.document).unwrap());
        let unused = loaded.diagnostics.iter().find(|one| one.code == "unused").unwrap();
        assert!(unused.file.ends_with("policies.d/20-second.toml") && unused.line == 3, "{unused:?}");
    }

    /// What is found with `text` in `name`, each as `file:line code: message`.
    fn found(name: &str, text: &str) -> Vec<String> {
        let dir = folder(&[("ringward.toml", MAIN), ("policies.d/no-drop.toml", NO_DROP), (name, text)]);
        let found = loaded(&dir).map_or_else(|found| found, |loaded| loaded.diagnostics);
        let shown = diagnostic::render_all(&found, Format::Text, false);
        assert!(found.iter().all(|one| one.help.is_some() || one.code == "syntax"), "{shown}");
        let line = |one: &Diagnostic| {
            let file = below(&one.file).unwrap_or("main");
            format!("{file}:{} {}: {}", one.line, one.code, one.message)
        };
        found.iter().map(line).collect()
    }

    #[test]
    fn an_included_file_holds_only_what_its_folder_may_hold() {
        let cases = [
            ("policies.d/a.toml", "\n[secrets.x]\nsource = { env = \"X\" }\n", "2 not-included: `secrets`"),
            ("policies.d/a.toml", "[[route]]\nname = \"x\"\n", "1 not-included: `route`"),
            ("policies.d/a.toml", "version = 1\n", "1 not-included: `version`"),
            ("connections.d/a.toml", "[admin]\naddr = \"0.0.0.0:1\"\n", "1 not-included: `admin`"),
            ("connections.d/a.toml", "[[identity]]\nname = \"x\"\n", "1 not-included: `identity`"),
            ("connections.d/a.toml", "[[policy]]\nname = \"x\"\n", "1 not-included: `policy`"),
            ("connections.d/a.toml", "#\nupstreams.x.url = \"http://x\"\n", "2 not-included: a key stands"),
            (
                "policies.d/a.toml",
                "policy = [{ name = \"x\", action = \"allow\" }]\n",
                "1 not-included: a key",
            ),
            ("policies.d/a.toml", "[policy.when]\nmethod = \"GET\"\n", "1 wrong-type: `policy` is an array"),
            ("policies.d/a.toml", "[[policy]]\nname = \"x\n", "2 syntax: "),
            (
                "connections.d/a.toml",
                "[upstreams.old.timeout]\nidle = \"1s\"\n",
                "1 duplicate-name: the upstream",
            ),
            (
                "policies.d/a.toml",
                "[[policy]]\nname = \"default\"\naction = \"allow\"\n",
                "2 duplicate-name: ",
            ),
            ("policies.d/a.toml", "[[policy]]\nname = \"x\"\naktion = \"allow\"\n", "3 unknown-key: "),
        ];
        for (name, text, expected) in cases {
            let found = found(name, text);
            let expected = format!("{name}:{expected}");
            assert!(found.iter().any(|one| one.starts_with(&expected)), "{expected}: {found:#?}");
        }
    }

    #[test]
    fn a_change_is_tried_without_being_written() {
        let dir = folder(&[("ringward.toml", MAIN), ("policies.d/no-drop.toml", NO_DROP)]);
        let main = dir.path().join("ringward.toml");
        let with = |text: Option<&str>| {
            let name = "no-drop".parse().unwrap();
            let change = Change { folder: Folder::Policies, name, text: text.map(str::to_owned) };
            config::load(&Text::read_with(&main, Some(&change)).unwrap())
        };
        assert!(!with(Some(&NO_DROP.replace("DELETE", "PUT"))).unwrap().has_errors());
        assert!(with(None).unwrap().has_errors(), "the route names the policy");
        assert!(!loaded(&dir).unwrap().has_errors(), "the file is as it was");
    }

    #[test]
    fn names_that_lead_elsewhere_are_no_names() {
        for name in ["", "../ringward", "a/b", "a.b", "A", ".hidden", "a\0", &"a".repeat(65)] {
            assert!(name.parse::<FileName>().is_err(), "{name:?}");
        }
        assert_eq!(
            "10-no-drop".parse::<FileName>().unwrap().below(Folder::Policies),
            "policies.d/10-no-drop.toml"
        );
        let dir = folder(&[("ringward.toml", MAIN), ("policies.d/a b.toml", NO_DROP)]);
        let error = Text::read(&dir.path().join("ringward.toml")).unwrap_err().to_string();
        assert!(error.contains("a b.toml") && error.contains("rename"), "{error}");
    }
}
