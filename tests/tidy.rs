//! Holds the house rules that the compiler does not: floors, purity, sizes, words, and where `unsafe` stands.
//! Each finding is one line `file:line: what is wrong`. The checks read the sources as text: comments and
//! literals are blanked first, so that a word in a sentence or in test data is never taken for code.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
};

/// Modules and their floors; a module imports only from lower floors.
const FLOORS: &[(u8, &[&str])] = &[
    (9, &["main", "cli", "demo"]),
    (8, &["app"]),
    (7, &["shard", "admin", "background", "config", "tune"]),
    (6, &["journal", "archive", "exchange"]),
    (5, &["approval", "segments"]),
    (4, &["audit", "policy"]),
    (3, &["protocol", "identity", "secrets", "upstream"]),
    (2, &["runtime", "inspect", "http"]),
    (1, &["buffer"]),
    (0, &["limits", "time", "metrics"]),
];

/// Imports that stay on one floor: the entry point calls the commands, and one command is the demo.
const WITHIN_A_FLOOR: &[(&str, &str)] = &[("main", "cli"), ("main", "demo"), ("cli", "demo")];

/// Imports that a floor would allow and the design does not: these meet in channels that `app` hands out, and
/// the shard leaves every decision to the exchange.
const APART: &[(&str, &[&str])] = &[("shard", &["identity", "policy", "inspect"]), ("archive", &["journal"])];

/// Modules that touch the kernel or the clock. All others are pure.
const IO: &[&str] = &[
    "main",
    "cli",
    "demo",
    "app",
    "shard",
    "admin",
    "background",
    "config",
    "journal",
    "archive",
    "runtime",
    "segments",
    "tune",
];

/// What a pure module never names: the outside world comes as arguments.
const IMPURE: &[&str] = &[
    "tokio",
    "socket2",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "std::fs",
    "std::env",
    "std::process",
    "std::thread",
    "std::io::stdin",
    "std::io::stdout",
    "std::io::stderr",
    "Instant::now",
    "SystemTime::now",
    "SystemTime::UNIX_EPOCH",
    "RandomState",
    "DefaultHasher",
    "HashMap::new",
    "HashSet::new",
    "HashMap::with_capacity",
    "HashSet::with_capacity",
    "aws_lc_rs::rand",
    "SystemRandom",
    ".await",
];

/// The files that may say `unsafe`, each with `#![allow(unsafe_code)]` on top.
const UNSAFE_FILES: &[&str] = &[
    "src/background/sys.rs",
    "src/http/h1/marks.rs",
    "src/inspect/detect/block.rs",
    "src/inspect/echo/look.rs",
    "src/runtime/slices.rs",
    "src/runtime/sys.rs",
    "src/runtime/tls/ciphertext.rs",
    "tests/allocations/counting.rs",
    "tests/faults.d/disks.rs",
];
const FORBIDDEN_MACROS: &[&str] = &["todo!", "dbg!", "unimplemented!"];
const FILE_LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;
const LINE_CHARS_MAX: usize = 110;

/// Where Rust sources live.
const SOURCES: &[&str] = &["src", "tests", "benches", "loadtest", "fuzz"];
/// Texts that are committed and may not name one machine.
const TEXTS: &[&str] = &["src", "tests", "benches", "loadtest", "fuzz", "tuning", "ui", ".ci", "."];

/// One source file, as text and as code without comments and literals (same length, same lines).
struct Source {
    path: String,
    text: String,
    code: String,
    /// Byte ranges of `#[cfg(test)]` items; the whole file where its `mod` is one.
    tests: Vec<Range<usize>>,
}

impl Source {
    fn new(path: &str, text: String, is_test: bool) -> Source {
        let code = blank(&text);
        let tests = if is_test { vec![Range { start: 0, end: code.len() }] } else { test_items(&code) };
        Source { path: path.to_owned(), text, code, tests }
    }

    /// The module below `src`, `main` for the entry point; none for the crate's root and other packages.
    fn module(&self) -> Option<&str> {
        let below = self.path.strip_prefix("src/")?;
        let first = below.split('/').next()?;
        Some(first.strip_suffix(".rs").unwrap_or(first)).filter(|name| *name != "lib")
    }

    fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    fn finding(&self, at: usize, what: &str) -> String {
        let line = self.text[..at].matches('\n').count() + 1;
        format!("{}:{line}: {what}", self.path)
    }
}

fn floor(module: &str) -> Option<u8> {
    FLOORS.iter().find(|(_, modules)| modules.contains(&module)).map(|(floor, _)| *floor)
}

// ---------------------------------------------------------------------------------------------- the rules

/// Every import leads to a lower floor, but for the named exceptions.
fn check_floors(source: &Source, findings: &mut Vec<String>) {
    let Some(module) = source.module() else { return };
    let Some(own) = floor(module) else {
        findings.push(source.finding(0, &format!("module `{module}` stands on no floor of tests/tidy.rs")));
        return;
    };
    for (at, path) in paths(&source.code).into_iter().filter(|(at, _)| !source.is_test(*at)) {
        let Some(target) = imported(&path, source, at, findings) else { continue };
        let Some(other) = floor(&target).filter(|_| target != module) else { continue };
        let sibling = WITHIN_A_FLOOR.contains(&(module, target.as_str()));
        let apart = APART.iter().any(|(who, whom)| *who == module && whom.contains(&target.as_str()));
        if (other >= own && !sibling) || apart {
            let what = format!("`{module}` (floor {own}) may not import `{target}` (floor {other})");
            findings.push(source.finding(at, &what));
        }
    }
    // A path of a `use` statement is met there and in the code.
    findings.dedup();
}

/// The module of this crate that a path names, if it names one.
fn imported(path: &str, source: &Source, at: usize, findings: &mut Vec<String>) -> Option<String> {
    let mut parts = path.split("::").map(str::trim);
    let first = parts.next()?;
    if first == "super" {
        // How many folders deep a file is says how often `super` stays within its module.
        let supers = 1 + parts.take_while(|part| *part == "super").count();
        let depth = source.path.matches('/').count() - usize::from(source.path.ends_with("/mod.rs"));
        if supers >= depth {
            findings.push(source.finding(at, "`super` leaves the module: say `crate::`"));
        }
        return None;
    }
    let is_crate = first == "crate" || (first == "ringward" && source.path == "src/main.rs");
    if is_crate { parts.next().map(str::to_owned) } else { None }
}

/// Pure modules name nothing of the outside world; only `runtime` names monoio.
fn check_purity(source: &Source, findings: &mut Vec<String>) {
    let Some(module) = source.module() else { return };
    let mut words: Vec<&str> = if IO.contains(&module) { vec![] } else { IMPURE.to_vec() };
    if module != "runtime" {
        words.push("monoio");
    }
    let imports = use_statements(&source.code)
        .into_iter()
        .flat_map(|(at, tree)| expand(&tree).into_iter().map(move |path| (at, path)).collect::<Vec<_>>());
    let mut found: Vec<(usize, &str)> = vec![];
    for (at, path) in imports {
        found.extend(words.iter().filter(|word| find_words(&path, word).next().is_some()).map(|w| (at, *w)));
    }
    for word in words {
        found.extend(find_words(&source.code, word).map(|at| (at, word)));
    }
    found.sort_unstable();
    found.dedup();
    for (at, word) in found.into_iter().filter(|(at, _)| !source.is_test(*at)) {
        findings.push(source.finding(at, &format!("`{module}` may not name `{word}`")));
    }
    findings.dedup();
}

/// Files, functions and lines stay readable.
fn check_sizes(source: &Source, findings: &mut Vec<String>) {
    let lines = source.text.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(source.finding(0, &format!("{lines} lines, more than {FILE_LINES_MAX}")));
    }
    for (index, line) in source.text.lines().enumerate() {
        let length = line.chars().count();
        if length > LINE_CHARS_MAX {
            let place = format!("{}:{}", source.path, index + 1);
            findings.push(format!("{place}: {length} characters, more than {LINE_CHARS_MAX}"));
        }
    }
    for (at, name, body) in functions(&source.code) {
        let lines = source.code[at..body.end].matches('\n').count() + 1;
        if lines > FUNCTION_LINES_MAX {
            let what = format!("function `{name}` has {lines} lines, more than {FUNCTION_LINES_MAX}");
            findings.push(source.finding(at, &what));
        }
    }
}

/// Unfinished work, globs of the parent, and `unsafe` outside of its files.
fn check_words(source: &Source, findings: &mut Vec<String>) {
    for word in FORBIDDEN_MACROS {
        findings.extend(find_words(&source.code, word).map(|at| source.finding(at, &format!("`{word}`"))));
    }
    for at in find_words(&source.code, "use super::*").filter(|at| !source.is_test(*at)) {
        findings.push(source.finding(at, "`use super::*` outside of tests"));
    }
    for at in find_words(&source.code, "unsafe") {
        if !UNSAFE_FILES.contains(&source.path.as_str()) {
            findings.push(source.finding(at, "`unsafe` outside of the files that tests/tidy.rs names"));
        } else if !explained(&source.text[..at]) {
            findings.push(source.finding(at, "`unsafe` without a `// SAFETY:` comment above it"));
        }
    }
    if source.path.ends_with("/mod.rs") && source.path.starts_with("src/") && !source.is_test(0) {
        let floor_room = source.path.matches('/').count() == 2;
        if floor_room && !source.text.starts_with("//!") {
            findings.push(source.finding(0, "opens without `//!`: what it is, what not, where to start"));
        }
    }
}

/// Whether a `SAFETY:` comment stands within the few lines before the end of `before`.
fn explained(before: &str) -> bool {
    before.lines().rev().take(12).any(|line| line.contains("SAFETY:"))
}

/// No committed text names a folder of the machine it was written on, nor a package registry.
fn check_machine_words(path: &str, text: &str, findings: &mut Vec<String>) {
    // Spelled in pieces, so that this file does not name them either.
    let places = [["/wo", "rk/"], ["/fa", "rm/"], ["/ro", "ot/"], ["/tmp", "/w/"]];
    let hosts = [["registry.npm", "js"], ["registry.yarn", "pkg"], ["files.python", "hosted"]];
    for (index, line) in text.lines().enumerate() {
        for word in places.iter().chain(&hosts).map(|pieces| pieces.concat()) {
            let named = line.match_indices(&word).any(|(at, _)| !line[..at].ends_with(is_path_end));
            if named {
                findings.push(format!("{path}:{}: names `{word}`", index + 1));
            }
        }
    }
}

/// The end of a longer path or URL, which is no folder of a machine.
fn is_path_end(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._}~-".contains(c)
}

// ------------------------------------------------------------------------------------- reading Rust as text

/// Replaces comments, strings and character literals by spaces; lines and offsets stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = literal_end(text, at).unwrap_or(at);
        for byte in &mut code[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end.max(at + 1);
    }
    // Whole literals were replaced by ASCII; what lies between them is untouched UTF-8.
    String::from_utf8(code).expect("blanking keeps the text valid")
}

/// The end of the comment or literal that begins at `at`, if one does.
fn literal_end(text: &str, at: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let rest = &bytes[at..];
    let after_name = at > 0 && is_name(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => Some(at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len())),
        [b'/', b'*', ..] => Some(block_comment_end(bytes, at)),
        [b'"', ..] => Some(string_end(bytes, at + 1)),
        [b'b' | b'c', b'"', ..] if !after_name => Some(string_end(bytes, at + 2)),
        [b'r', b'"' | b'#', ..] if !after_name => raw_string_end(text, at + 1),
        [b'b' | b'c', b'r', b'"' | b'#', ..] if !after_name => raw_string_end(text, at + 2),
        [b'\'', b'\\', ..] => {
            Some(at + 3 + rest[3..].iter().position(|b| *b == b'\'').map_or(rest.len() - 3, |i| i + 1))
        }
        [b'\'', ..] => {
            // A lifetime has no quote behind its first character.
            let character = text[at + 1..].chars().next()?;
            let end = at + 1 + character.len_utf8();
            (bytes.get(end) == Some(&b'\'')).then_some(end + 1)
        }
        _ => None,
    }
}

fn block_comment_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < bytes.len() {
        match &bytes[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] if depth == 1 => return at + 2,
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
    }
    at
}

fn string_end(bytes: &[u8], mut at: usize) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(text: &str, hashes_at: usize) -> Option<usize> {
    let rest = &text[hashes_at..];
    let hashes = rest.bytes().take_while(|b| *b == b'#').count();
    let inner = rest[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let length = inner.find(&close).map_or(inner.len(), |found| found + close.len());
    Some(hashes_at + hashes + 1 + length)
}

fn is_name(byte: u8) -> bool {
    byte == b'_' || byte.is_ascii_alphanumeric()
}

/// Where `word` stands in `code` by itself: no name goes on before or behind it.
fn find_words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    let bytes = code.as_bytes();
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let starts = at.checked_sub(1).is_none_or(|before| !is_name(bytes[before])) || word.starts_with('.');
        let ends = bytes.get(at + word.len()).is_none_or(|after| !is_name(*after)) || word.ends_with('*');
        starts && ends
    })
}

/// The end of the block whose `{` is the first one at or behind `at`.
fn block(code: &str, at: usize) -> Option<Range<usize>> {
    let open = at + code[at..].find('{')?;
    let mut depth = 0usize;
    for (index, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return Some(open..index + 1),
            b'}' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// Items under `#[cfg(test)]`, attribute included. A `mod x;` counts as one; its file is found by its name.
fn test_items(code: &str) -> Vec<Range<usize>> {
    let attribute = "#[cfg(test)]";
    let item = |(at, _)| {
        let rest = at + code[at..].find(';').unwrap_or(code.len() - at);
        match block(code, at) {
            Some(block) if block.start < rest => at..block.end,
            _ => at..rest,
        }
    };
    code.match_indices(attribute).map(item).collect()
}

/// The functions that have a body: where each begins, its name, its block.
fn functions(code: &str) -> Vec<(usize, &str, Range<usize>)> {
    let function = |at: usize| {
        let name_at = at + 3;
        let name_end = name_at + code[name_at..].find(|c: char| !c.is_alphanumeric() && c != '_')?;
        // A declaration without body ends with `;` outside of brackets (an array type holds one inside).
        let mut depth = 0i32;
        let body_at = code[name_end..].char_indices().find_map(|(index, c)| {
            depth += i32::from("([".contains(c)) - i32::from(")]".contains(c));
            (depth == 0 && "{;".contains(c)).then_some((name_end + index, c))
        });
        let (body_at, _) = body_at.filter(|(_, c)| *c == '{')?;
        (name_end > name_at).then(|| Some((at, &code[name_at..name_end], block(code, body_at)?)))?
    };
    find_words(code, "fn").filter(|at| code[at + 2..].starts_with(' ')).filter_map(function).collect()
}

/// Every path that leads somewhere: those of `use` trees, expanded, and those in the code.
fn paths(code: &str) -> Vec<(usize, String)> {
    let mut all: Vec<(usize, String)> = vec![];
    for (at, tree) in use_statements(code) {
        all.extend(expand(&tree).into_iter().map(|path| (at, path)));
    }
    for root in ["crate", "ringward", "super"] {
        for at in find_words(code, root) {
            let end = code[at..].find(|c: char| !is_name(c as u8) && c != ':').map_or(code.len(), |i| at + i);
            let path = &code[at..end];
            if path.contains("::") && !path.ends_with("::") && !code[..at].ends_with("::") {
                all.push((at, path.to_owned()));
            }
        }
    }
    all.sort();
    all.dedup();
    all
}

/// The trees of all `use` statements, without white space, each with its place.
fn use_statements(code: &str) -> Vec<(usize, String)> {
    let statement = |at: usize| {
        let rest = code[at + 3..].split(';').next()?;
        let tree = rest.replace(" as ", " # ").split('#').map(str::trim).collect::<Vec<_>>().join(" ");
        rest.starts_with([' ', '\n']).then_some((at, tree))
    };
    find_words(code, "use").filter_map(statement).collect()
}

/// `a::{b, c::{d, e}}` → `a::b`, `a::c::d`, `a::c::e`.
fn expand(tree: &str) -> Vec<String> {
    let mut paths = vec![];
    let mut prefixes: Vec<String> = vec![];
    let mut current = String::new();
    for c in tree.chars() {
        match c {
            '{' => prefixes.push(std::mem::take(&mut current)),
            ',' | '}' => {
                if !current.trim().is_empty() {
                    paths.push(prefixes.concat() + current.trim());
                }
                current.clear();
                if c == '}' {
                    prefixes.pop();
                }
            }
            c if c.is_whitespace() && current.is_empty() => {}
            c => current.push(c),
        }
    }
    if !current.trim().is_empty() {
        paths.push(current.trim().to_owned());
    }
    paths
}

// ------------------------------------------------------------------------------------- walking the project

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `folder` (relative to the root), sorted; `.` means the root's own files alone.
fn files(folder: &str) -> Vec<String> {
    let mut found = vec![];
    let mut folders = vec![PathBuf::from(folder)];
    while let Some(next) = folders.pop() {
        let Ok(entries) = fs::read_dir(root().join(&next)) else { continue };
        for entry in entries {
            let entry = entry.expect("an entry of a folder that was opened");
            let path =
                if next == Path::new(".") { entry.file_name().into() } else { next.join(entry.file_name()) };
            let skipped = ["target", "node_modules", "corpus", "golden"].iter().any(|s| path.ends_with(s));
            let is_folder = entry.file_type().expect("the type of an entry").is_dir();
            if is_folder && !skipped && folder != "." {
                folders.push(path);
            } else if !is_folder && !path.starts_with(".git") {
                found.push(path.to_str().expect("file names are UTF-8").to_owned());
            }
        }
    }
    found.sort();
    found
}

/// All Rust sources. A file is a test where it lies outside `src`, or where the `mod` that names it, or one
/// above that, stands under `#[cfg(test)]`.
fn sources() -> Vec<Source> {
    let all = SOURCES.iter().flat_map(|folder| files(folder)).filter(|path| path.ends_with(".rs"));
    let read = |path: String| {
        let text = fs::read_to_string(root().join(&path)).expect("a source is UTF-8");
        Source::new(&path, text, !path.starts_with("src/"))
    };
    let mut all: Vec<Source> = all.map(read).collect();
    let test_files: Vec<String> = all.iter().flat_map(test_modules).collect();
    for source in &mut all {
        let stem = source.path.strip_suffix(".rs").unwrap_or(&source.path);
        if test_files.iter().any(|file| stem == file || stem.starts_with(&format!("{file}/"))) {
            source.tests = vec![Range { start: 0, end: source.code.len() }];
        }
    }
    all
}

/// Paths without `.rs` of the files that a source declares as `#[cfg(test)] mod x;`.
fn test_modules(source: &Source) -> Vec<String> {
    let path = source.path.strip_suffix(".rs").unwrap_or(&source.path);
    let folder = path.strip_suffix("/mod").or(path.strip_suffix("/lib")).unwrap_or(path);
    let name = |range: &Range<usize>| {
        let item = source.code[range.clone()].trim_end_matches(';').trim();
        let name = item.rsplit_once("mod ")?.1.trim();
        name.bytes().all(is_name).then(|| format!("{folder}/{name}"))
    };
    source.tests.iter().filter_map(name).collect()
}

fn report(what: &str, findings: &[String]) {
    let text = findings.join("\n");
    assert!(findings.is_empty(), "{what}: {} findings\n{text}", findings.len());
}

fn check_sources(what: &str, rule: fn(&Source, &mut Vec<String>)) {
    let sources = sources();
    assert!(sources.len() > 50, "the sources were not found");
    let mut findings = vec![];
    sources.iter().for_each(|source| rule(source, &mut findings));
    report(what, &findings);
}

#[test]
fn a_module_imports_only_from_lower_floors() {
    check_sources("floors", check_floors);
}

#[test]
fn pure_modules_name_nothing_of_the_outside_world() {
    check_sources("purity", check_purity);
}

#[test]
fn files_functions_and_lines_stay_readable() {
    check_sources("sizes", check_sizes);
}

#[test]
fn no_unfinished_work_and_unsafe_only_in_named_files() {
    check_sources("words", check_words);
}

#[test]
fn no_text_names_the_machine_it_was_written_on() {
    let mut findings = vec![];
    for path in TEXTS.iter().flat_map(|folder| files(folder)) {
        if let Ok(text) = fs::read_to_string(root().join(&path)) {
            check_machine_words(&path, &text, &mut findings);
        }
    }
    report("machine", &findings);
}

#[test]
fn each_rule_finds_what_it_is_for() {
    let check = |rule: fn(&Source, &mut Vec<String>), path: &str, text: &str, expected: &[&str]| {
        let mut findings = vec![];
        rule(&Source::new(path, text.to_owned(), false), &mut findings);
        assert_eq!(findings.len(), expected.len(), "{text}: {findings:?}");
        findings.iter().zip(expected).for_each(|(f, e)| assert!(f.contains(e), "{text}: {f}"));
    };
    let http = "src/http/a.rs";
    check(check_floors, http, "use crate::{limits, time::Now};", &[]);
    check(check_floors, http, "\nuse crate::{limits::{A, B},\n policy::C};", &["a.rs:2: `http` (floor 2)"]);
    check(check_floors, http, "fn a() { crate::inspect::b() }", &["may not import `inspect`"]);
    check(check_floors, http, "// crate::policy\nconst A: &str = \"crate::policy::b\";", &[]);
    check(check_floors, http, "use super::super::policy;", &["`super` leaves the module"]);
    check(check_floors, "src/http/h1/a.rs", "use super::super::policy;", &[]);
    check(check_floors, http, "#[cfg(test)]\nmod tests { use crate::policy; }", &[]);
    check(check_floors, "src/shard/a.rs", "use crate::policy::B;", &["`shard` (floor 7)"]);
    check(check_floors, "src/new/mod.rs", "", &["stands on no floor"]);
    check(check_purity, http, "use std::{fs, sync::Arc};", &["`std::fs`"]);
    check(check_purity, http, "fn a() { b().await; '\"'; SystemTime::now() }", &[".await", "SystemTime"]);
    check(check_purity, http, "fn a() { r#\"\" monoio\"#; my_tokio() }", &[]);
    check(check_purity, "src/shard/a.rs", "use tokio::a; use monoio::b;", &["`monoio`"]);
    check(check_words, http, "fn a() { todo!() }", &["todo!"]);
    check(check_words, http, "use super::*;\n#[cfg(test)]\nmod tests { use super::*; }", &["a.rs:1: "]);
    check(check_words, http, "unsafe fn a() {}", &["outside of the files"]);
    check(check_words, "src/runtime/sys.rs", "unsafe { a() }", &["SAFETY"]);
    check(check_words, "src/runtime/sys.rs", "// SAFETY: so.\nunsafe { a() }", &[]);
    let long = format!("fn a(b: [u8; 2]) {{{}}}\nfn c();", "\n".repeat(70));
    check(check_sizes, http, &long, &["function `a` has 71 lines"]);
    check(check_sizes, http, &"x".repeat(111), &["111 characters"]);
}
