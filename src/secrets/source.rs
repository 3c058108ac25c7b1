use super::Error;
use crate::limits::{SECRET_NAME_BYTES_MAX, SECRET_REFRESH_MIN};
use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Whether upstream answers are searched for a secret (SECURITY R19).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scrub {
    /// An echo is masked; so the value must be long enough to be told from ordinary text.
    #[default]
    On,
    /// The operator said that it may be short and may come back.
    Off,
}

/// Where a value is read. Build it with the functions of the same names, which refuse what can never work.
/// `Debug` shows no argument of a command but its program.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// An environment variable of the gateway.
    Env { name: Box<str> },
    /// A file that is not readable by everybody; one newline at its end is dropped.
    File { path: PathBuf },
    /// A file of this name in `$CREDENTIALS_DIRECTORY`, which systemd sets (`systemd.exec(5)`).
    Credential { name: Box<str> },
    /// Standard output of a command, run without a shell and with an empty environment.
    Exec { argv: Box<[Box<str>]> },
}

impl Source {
    /// An environment variable.
    ///
    /// # Errors
    /// An empty name, or one with `=` or NUL.
    pub fn env(name: &str) -> Result<Source, Error> {
        if name.is_empty() || name.contains(['=', '\0']) {
            return Err(Error::Source("an environment variable's name is not empty and holds no `=`"));
        }
        Ok(Source::Env { name: name.into() })
    }

    /// A file; a relative path is relative to the working directory, so make it absolute first.
    ///
    /// # Errors
    /// An empty path.
    pub fn file(path: impl Into<PathBuf>) -> Result<Source, Error> {
        let path = path.into();
        if path.as_os_str().is_empty() {
            return Err(Error::Source("the path of a secret file is empty"));
        }
        Ok(Source::File { path })
    }

    /// A systemd credential.
    ///
    /// # Errors
    /// A name that is not one plain file name: it must not lead out of the directory.
    pub fn credential(name: &str) -> Result<Source, Error> {
        let mut components = Path::new(name).components();
        let plain = matches!(components.next(), Some(Component::Normal(only)) if only == name);
        if !plain || components.next().is_some() || name.contains('\0') {
            return Err(Error::Source("a credential's name is one file name without `/`"));
        }
        Ok(Source::Credential { name: name.into() })
    }

    /// A command and its arguments.
    ///
    /// # Errors
    /// No command, a program without an absolute path, or a NUL.
    pub fn exec<S: AsRef<str>>(argv: impl IntoIterator<Item = S>) -> Result<Source, Error> {
        let argv: Box<[Box<str>]> = argv.into_iter().map(|word| word.as_ref().into()).collect();
        if !argv.first().is_some_and(|program| Path::new(&**program).is_absolute()) {
            return Err(Error::Source("the program of `exec` needs an absolute path"));
        }
        if argv.iter().any(|word| word.contains('\0')) {
            return Err(Error::Source("an argument of `exec` holds a NUL"));
        }
        Ok(Source::Exec { argv })
    }
}

/// For messages: what kind it is and where, such as `file /etc/ringward/key`. No argument of a command.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Env { name } => write!(f, "env {name}"),
            Source::File { path } => write!(f, "file {}", path.display()),
            Source::Credential { name } => write!(f, "credential {name}"),
            Source::Exec { argv } => write!(f, "exec {}", argv.first().map_or("", |program| program)),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({self})")
    }
}

/// One `[secrets.NAME]` table: what to read, and how often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretSpec {
    /// Letters, digits, `_`, `-`, `.`; the only thing about it that is ever shown or recorded.
    pub name: Arc<str>,
    /// Where it is read.
    pub source: Source,
    /// Time between two reads while the gateway runs; `None` reads at start and at a reload only.
    pub refresh: Option<Duration>,
    /// Whether an echo of it is masked.
    pub scrub: Scrub,
}

impl SecretSpec {
    /// A secret, read again every `refresh`.
    ///
    /// # Errors
    /// [`Error::Name`], and [`Error::Source`] for an interval under one second; the operator is at fault.
    pub fn new(
        name: &str,
        source: Source,
        refresh: Option<Duration>,
        scrub: Scrub,
    ) -> Result<SecretSpec, Error> {
        if refresh.is_some_and(|interval| interval < SECRET_REFRESH_MIN) {
            return Err(Error::Source("a secret is refreshed at most once a second"));
        }
        Ok(SecretSpec { name: check_name(name)?, source, refresh, scrub })
    }
}

/// Takes the name of a secret or lease source.
///
/// # Errors
/// [`Error::Name`] unless it is 1 to 64 letters, digits, `_`, `-` or `.`.
pub fn check_name(name: &str) -> Result<Arc<str>, Error> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    if name.is_empty() || name.len() > SECRET_NAME_BYTES_MAX || !name.bytes().all(allowed) {
        return Err(Error::Name);
    }
    Ok(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(source: Result<Source, Error>, shown: Option<&str>) {
        assert_eq!(source.as_ref().ok().map(Source::to_string).as_deref(), shown, "{source:?}");
    }

    #[test]
    fn sources_that_can_never_work_are_refused() {
        check(Source::env("API_KEY"), Some("env API_KEY"));
        check(Source::env(""), None);
        check(Source::env("A=B"), None);
        check(Source::file("/etc/key"), Some("file /etc/key"));
        check(Source::file(""), None);
        check(Source::credential("tls.key"), Some("credential tls.key"));
        for name in ["", ".", "..", "a/b", "/etc/shadow", "../key", "key/"] {
            check(Source::credential(name), None);
        }
        check(Source::exec(["/usr/bin/pass", "show", "x"]), Some("exec /usr/bin/pass"));
        check(Source::exec(["pass", "show"]), None);
        check(Source::exec(["./pass"]), None);
        check(Source::exec(["/bin/echo", "a\0b"]), None);
        check(Source::exec::<&str>([]), None);
    }

    #[test]
    fn arguments_of_a_command_are_not_shown() {
        let source = Source::exec(["/bin/echo", "canary"]).unwrap();
        assert!(!format!("{source} {source:?}").contains("canary"));
    }

    #[test]
    fn names_and_intervals_are_checked() {
        let spec = |name: &str, refresh| {
            SecretSpec::new(name, Source::env("X").unwrap(), refresh, Scrub::On).map(|spec| spec.name)
        };
        assert_eq!(spec("a-Z_0.9", None), Ok("a-Z_0.9".into()));
        assert_eq!(spec(&"n".repeat(64), None).map(|name| name.len()), Ok(64));
        for name in ["", "a b", "a}", "a:b", "ä", &"n".repeat(65)] {
            assert_eq!(spec(name, None), Err(Error::Name), "{name}");
        }
        assert!(spec("a", Some(Duration::from_secs(1))).is_ok());
        assert!(spec("a", Some(Duration::from_millis(999))).is_err());
    }
}
