use super::*;
use crate::secrets::Scrub;
use std::fs;
use std::os::unix::fs::symlink;
use tempfile::TempDir;

const CANARY: &str = "canary-4f9c2b7e";

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// A file of `mode` in `directory` that holds `bytes`.
fn file(directory: &TempDir, name: &str, bytes: impl AsRef<[u8]>, mode: u32) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

fn nothing() -> Surroundings {
    Surroundings::with(|_| None)
}

/// What a secret from `source` is, as text; an error as its message, which never shows the canary.
fn fetched(source: Source, surroundings: &Surroundings) -> Result<String, String> {
    let spec = SecretSpec::new("x", source, None, Scrub::Off).unwrap();
    let value = run(fetch(&spec, surroundings)).map_err(|error| {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
        error.to_string()
    })?;
    Ok(String::from_utf8(value.expose().to_vec()).unwrap())
}

fn check(source: Source, surroundings: &Surroundings, expected: Result<&str, &str>) {
    let got = fetched(source, surroundings);
    match expected {
        Ok(value) => assert_eq!(got.as_deref(), Ok(value)),
        Err(part) => assert!(got.as_ref().is_err_and(|error| error.contains(part)), "{got:?} without {part}"),
    }
}

fn exec(argv: &[&str]) -> Source {
    Source::exec(argv).unwrap()
}

fn shell(script: &str) -> Source {
    exec(&["/bin/sh", "-c", script])
}

#[test]
fn the_environment_is_read_as_it_is() {
    let surroundings = Surroundings::with(|name| (name == "KEY").then(|| CANARY.into()));
    check(Source::env("KEY").unwrap(), &surroundings, Ok(CANARY));
    check(Source::env("OTHER").unwrap(), &surroundings, Err("is not set"));
    let broken = Surroundings::with(|_| Some(format!("{CANARY}\n").into()));
    check(Source::env("KEY").unwrap(), &broken, Err("control character"));
}

#[test]
fn a_file_gives_its_text_without_the_newline_at_its_end() {
    let directory = TempDir::new().unwrap();
    for (index, end) in ["", "\n", "\r\n"].iter().enumerate() {
        let path = file(&directory, &index.to_string(), format!("{CANARY}{end}"), 0o600);
        check(Source::file(path).unwrap(), &nothing(), Ok(CANARY));
    }
    for (index, end) in ["\n\n", "\0", "\nmore"].iter().enumerate() {
        let path = file(&directory, &format!("bad-{index}"), format!("{CANARY}{end}"), 0o600);
        check(Source::file(path).unwrap(), &nothing(), Err("control character"));
    }
    let path = file(&directory, "group", CANARY, 0o640);
    symlink(&path, directory.path().join("link")).unwrap();
    check(Source::file(directory.path().join("link")).unwrap(), &nothing(), Ok(CANARY));
}

#[test]
fn a_file_that_cannot_be_a_secret_is_refused() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| Source::file(directory.path().join(name)).unwrap();
    check(path("missing"), &nothing(), Err("cannot open"));
    check(Source::file(directory.path()).unwrap(), &nothing(), Err("is not a regular file"));
    check(Source::file("/dev/null").unwrap(), &nothing(), Err("is not a regular file"));
    for mode in [0o644, 0o602, 0o604] {
        let shown = file(&directory, "open", CANARY, mode).display().to_string();
        symlink("open", directory.path().join("link")).ok();
        check(path("link"), &nothing(), Err(&format!("(mode {mode:04o}): run `chmod 600 {shown}`")));
    }
    file(&directory, "fat", vec![b'a'; SECRET_BYTES_MAX + 1], 0o600);
    check(path("fat"), &nothing(), Err("more than 65536 bytes"));
    file(&directory, "empty", "", 0o600);
    check(path("empty"), &nothing(), Err("the value has 0 bytes"));
}

// systemd.exec(5), "Credentials".
#[test]
fn a_credential_is_a_file_in_the_directory_that_systemd_names() {
    let directory = TempDir::new().unwrap();
    file(&directory, "anthropic", CANARY, 0o400);
    let credential = || Source::credential("anthropic").unwrap();
    let path = directory.path().as_os_str().to_owned();
    let started = Surroundings::with(move |name| (name == "CREDENTIALS_DIRECTORY").then(|| path.clone()));
    check(credential(), &started, Ok(CANARY));
    check(credential(), &nothing(), Err("`LoadCredential=`"));
}

// SECURITY "Credentials".
#[test]
fn a_command_gives_its_output_and_shows_nothing_else() {
    check(exec(&["/bin/echo", CANARY]), &nothing(), Ok(CANARY));
    check(shell(&format!("echo {CANARY} >&2; exit 3")), &nothing(), Err("failed, exit code 3"));
    check(shell("kill -9 $$"), &nothing(), Err("killed by a signal"));
    check(exec(&["/usr/bin/env"]), &nothing(), Err("the value has 0 bytes"));
    check(shell("pwd"), &nothing(), Ok("/"));
    check(shell("read -r line; echo got:$line"), &nothing(), Ok("got:"));
    // No shell reads the arguments.
    check(exec(&["/bin/echo", "$HOME; `id`"]), &nothing(), Ok("$HOME; `id`"));
    check(exec(&["/nonexistent/program"]), &nothing(), Err("cannot look at /nonexistent"));
}

#[test]
fn a_command_gives_64_kib_and_no_more() {
    let zeros = |count: &str| exec(&["/usr/bin/head", "-c", count, "/dev/zero"]);
    assert_eq!(run(read(&zeros("65536"), &nothing())).unwrap().len(), SECRET_BYTES_MAX);
    check(zeros("65537"), &nothing(), Err("more than 65536 bytes"));
    check(exec(&["/bin/cat", "/dev/zero"]), &nothing(), Err("more than 65536 bytes"));
}

#[test]
fn a_slow_command_is_killed() {
    let surroundings = Surroundings { exec_timeout: Duration::from_millis(20), ..nothing() };
    check(exec(&["/bin/sleep", "600"]), &surroundings, Err("did not end within"));
    // Neither does it help to close the output, or to leave a child behind that holds it.
    check(shell("exec >&-; sleep 600"), &surroundings, Err("did not end within"));
    check(shell("sleep 600 & exit 0"), &surroundings, Err("did not end within"));
}

#[test]
fn children_of_a_command_die_with_it() {
    let directory = TempDir::new().unwrap();
    let (partial, path) = (directory.path().join("partial"), directory.path().join("pid"));
    let (from, to) = (partial.display(), path.display());
    let source = shell(&format!("sleep 600 & echo $! > {from}; mv {from} {to}; wait"));
    run(async {
        let reading = tokio::spawn(async move { read(&source, &nothing()).await.map(|_| ()) });
        let pid = until(|| fs::read_to_string(&path).ok()).await;
        assert!(is_alive(pid.trim()));
        reading.abort();
        assert!(reading.await.is_err());
        until(|| (!is_alive(pid.trim())).then_some(())).await;
    });
}

/// Waits until `ready` gives something, for at most a minute.
async fn until<T>(ready: impl Fn() -> Option<T>) -> T {
    let polling = async {
        let mut interval = tokio::time::interval(Duration::from_millis(5));
        loop {
            interval.tick().await;
            if let Some(value) = ready() {
                return value;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), polling).await.unwrap()
}

fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // A process that was killed but not yet waited for by its new parent has state Z.
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

#[test]
fn a_command_that_others_could_exchange_is_not_run() {
    let directory = TempDir::new().unwrap();
    let path = |name: &str| exec(&[&directory.path().join(name).display().to_string()]);
    let mode = |name: &str, mode| {
        fs::set_permissions(directory.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    symlink("/bin/pwd", directory.path().join("link")).unwrap();
    check(path("link"), &nothing(), Ok("/"));
    for bits in [0o775, 0o757] {
        file(&directory, "script", "#!/bin/sh\n", bits);
        check(path("script"), &nothing(), Err("script is writable by others"));
    }
    fs::create_dir(directory.path().join("bin")).unwrap();
    symlink("/bin/pwd", directory.path().join("bin/link")).unwrap();
    symlink("bin/link", directory.path().join("outer")).unwrap();
    check(path("bin/../bin/./link"), &nothing(), Ok("/"));
    for (bits, refused) in [(0o775, true), (0o777, true), (0o1777, false), (0o755, false)] {
        mode("bin", bits);
        let expected = if refused { Err("bin is writable by others") } else { Ok("/") };
        check(path("bin/link"), &nothing(), expected);
        check(path("outer"), &nothing(), expected);
    }
    symlink("loop", directory.path().join("loop")).unwrap();
    check(path("loop"), &nothing(), Err("too many symbolic links"));
    check(path("bin"), &nothing(), Err("is not a regular file"));
    file(&directory, "plain", "text", 0o600);
    check(path("plain"), &nothing(), Err("cannot run"));
    let relative = Source::Exec { argv: ["pwd".into()].into() };
    check(relative, &nothing(), Err("absolute path"));
}

fn slots(specs: &[(&str, Source, Option<u64>)]) -> Slots {
    let spec = |(name, source, refresh): &(&str, Source, Option<u64>)| {
        SecretSpec::new(name, source.clone(), refresh.map(Duration::from_secs), Scrub::On).unwrap()
    };
    Slots::new(specs.iter().map(spec)).unwrap()
}

fn at(seconds: u64) -> Now {
    Now { instant: Instant(0) + Duration::from_secs(seconds), wall: Timestamp(seconds * 1_000_000) }
}

fn value(slots: &Slots, name: &str) -> Vec<u8> {
    slots.find(name).unwrap().value().unwrap().expose().to_vec()
}

#[test]
fn provisioning_names_every_secret_that_has_no_value() {
    let good = exec(&["/bin/echo", CANARY]);
    let specs = [
        ("short", exec(&["/bin/echo", "canary"]), None),
        ("good", good.clone(), None),
        ("absent", Source::env("ABSENT").unwrap(), None),
    ];
    let slots = slots(&specs);
    let failures = run(provision(&slots, &nothing())).unwrap_err();
    let shown: Vec<_> = failures.iter().map(Failure::to_string).collect();
    assert_eq!(
        shown,
        [
            "secret `absent` (env ABSENT): the environment variable is not set",
            "secret `short` (exec /bin/echo): \
             the value has 6 bytes; at least 12 are needed, or `scrub = false`",
        ]
    );
    assert!(!format!("{failures:?} {slots:?}").contains("canary"));
    assert_eq!(value(&slots, "good"), CANARY.as_bytes());
    assert!(slots.find("good").unwrap().health().fetched_at.is_some());
}

#[test]
fn a_reload_keeps_a_value_whose_source_fails_now() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "key", CANARY, 0o600);
    let spec = [("key", Source::file(&path).unwrap(), None)];
    let old = slots(&spec);
    run(provision(&old, &nothing())).unwrap();
    fs::remove_file(&path).unwrap();
    let new = slots(&spec);
    assert_eq!(run(provision(&new, &nothing())).unwrap_err().len(), 1);
    new.inherit(&old);
    run(provision(&new, &nothing())).unwrap();
    assert_eq!(value(&new, "key"), CANARY.as_bytes());
    assert!(new.find("key").unwrap().health().failure.is_some());
}

#[test]
fn a_changed_file_is_read_at_the_next_look_and_the_rest_at_its_interval() {
    let directory = TempDir::new().unwrap();
    let path = file(&directory, "key", "canary-number-1", 0o600);
    let count = directory.path().join("count");
    let counting = shell(&format!("echo x >> {0}; echo canary-$(wc -l < {0})-times", count.display()));
    let specs = [
        ("file", Source::file(&path).unwrap(), Some(300)),
        ("exec", counting, Some(60)),
        ("once", exec(&["/bin/echo", CANARY]), None),
    ];
    let slots = slots(&specs);
    run(async {
        provision(&slots, &nothing()).await.unwrap();
        let mut keeper = Keeper::new(&slots, nothing());
        assert_eq!(keeper.tick(at(1)).await, Some(SECRET_FILE_POLL));
        assert_eq!(value(&slots, "exec"), b"canary-1-times");
        // Written beside and renamed, as deployments do: another inode whatever the clock says.
        let next = file(&directory, "next", "canary-number-2", 0o600);
        fs::rename(next, &path).unwrap();
        keeper.tick(at(6)).await;
        assert_eq!(value(&slots, "file"), b"canary-number-2");
        assert_eq!(slots.find("file").unwrap().age(at(7).wall), Some(Duration::from_secs(1)));
        fs::remove_file(&path).unwrap();
        keeper.tick(at(11)).await;
        keeper.tick(at(16)).await;
        let health = slots.find("file").unwrap().health();
        assert_eq!(health.failure_count, 1, "it is not tried again before it changes or is due");
        assert_eq!(value(&slots, "file"), b"canary-number-2");
        assert_eq!(keeper.tick(at(58)).await, Some(Duration::from_secs(2)));
        keeper.tick(at(60)).await;
        assert_eq!(value(&slots, "exec"), b"canary-2-times");
        file(&directory, "key", "canary-number-3", 0o600);
        keeper.tick(at(65)).await;
        assert_eq!(value(&slots, "file"), b"canary-number-3");
        assert!(slots.find("file").unwrap().health().failure.is_none());
    });
}

#[test]
fn a_keeper_ends_when_it_is_told() {
    let idle = Keeper::new(&slots(&[]), nothing());
    let busy = Keeper::new(&slots(&[("a", Source::env("A").unwrap(), Some(1))]), nothing());
    run(async {
        idle.run(std::future::ready(())).await;
        busy.run(tokio::task::yield_now()).await;
    });
}
