//! Real clients that `tests/run` installs below `target/clients`.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

fn installed(below: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(below);
    if !path.exists() {
        eprintln!("skipped: {below} is not installed; `tests/run tools` does that");
        return None;
    }
    Some(path)
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

/// Python with the SDKs, and the script that uses them.
pub fn python_sdk() -> Option<Command> {
    let mut command = Command::new(installed("venv/bin/python")?);
    command.arg(script("sdk.py"));
    Some(command)
}

/// Python with the library of Standard Webhooks, and the script that verifies with it.
pub fn webhook_verifier() -> Option<Command> {
    let mut command = Command::new(installed("venv/bin/python")?);
    command.arg(script("webhook.py"));
    Some(command)
}

/// Node with the SDKs, and the script that uses them.
pub fn node_sdk() -> Option<Command> {
    installed("npm/node_modules/openai")?;
    let mut command = Command::new(installed("bin/node")?);
    command.arg(script("sdk.mjs"));
    Some(command)
}

/// Node with the validator of HTTP archives; it takes the name of a file.
pub fn har_validator() -> Option<Command> {
    installed("npm/node_modules/har-validator")?;
    let mut command = Command::new(installed("bin/node")?);
    command.arg(script("har.mjs"));
    Some(command)
}

/// Claude Code's own binary, for this machine.
pub fn claude_code() -> Option<PathBuf> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    installed(&format!("npm/node_modules/@anthropic-ai/claude-code-linux-{machine}/claude"))
}

/// A real OpenID Connect issuer; it ends with this value.
pub struct Issuer {
    child: Child,
    _stdin: ChildStdin,
    pub url: String,
}

impl Issuer {
    /// Starts on `port`; 0 lets the system choose.
    pub fn start(port: u16) -> Option<Issuer> {
        installed("npm/node_modules/oidc-provider")?;
        let mut command = Command::new(installed("bin/node")?);
        command
            .arg(script("issuer.mjs"))
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().expect("piped"), child.stdout.take().expect("piped"));
        let url = super::gateway::first_line(stdout).trim().to_owned();
        Some(Issuer { child, _stdin: stdin, url })
    }

    /// A token for a resource of `issuer.mjs`.
    pub fn token(&self, resource: &str) -> String {
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let body = format!(
            "grant_type=client_credentials&client_id=agent&client_secret=agent-secret&resource={resource}"
        );
        let reply = super::http::ask(&self.url, "POST", "/token", &form, &body);
        reply.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
    }

    /// Exchanges its keys for new ones.
    pub fn rotate(&self) {
        assert_eq!(super::http::ask(&self.url, "POST", "/test/rotate", &[], "").status, 204);
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a client to its end; one that takes longer than `limit` is killed and fails the test.
pub fn run(command: &mut Command, limit: Duration) -> Output {
    let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdout, mut stderr) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
    let collect = |source: &mut dyn Read| {
        let mut bytes = vec![];
        source.read_to_end(&mut bytes).map(|_| bytes)
    };
    let out = thread::spawn(move || collect(&mut stdout));
    let err = thread::spawn(move || collect(&mut stderr));
    let end = Instant::now() + limit;
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() >= end => break None,
            None => thread::park_timeout(Duration::from_millis(20)),
        }
    };
    if status.is_none() {
        child.kill().unwrap();
    }
    let (stdout, stderr) = (out.join().unwrap().unwrap(), err.join().unwrap().unwrap());
    let status = status.unwrap_or_else(|| {
        panic!("no end: {}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr))
    });
    Output { status, stdout, stderr }
}

/// Stands between a client and the gateway and counts the requests that the client makes.
pub struct Counter {
    pub url: String,
    requests: Arc<AtomicUsize>,
}

impl Counter {
    /// Forwards to `gateway` (`http://HOST:PORT`), counting requests that name `path`.
    pub fn start(gateway: &str, path: &str) -> Counter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let to = gateway.trim_start_matches("http://").to_owned();
        let line = format!("POST {path}");
        let requests = Arc::<AtomicUsize>::default();
        let count = requests.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(&to) else { continue };
                let (line, count) = (line.clone(), count.clone());
                let back = (server.try_clone().unwrap(), client.try_clone().unwrap());
                thread::spawn(move || pump(back.0, back.1, |_| {}));
                thread::spawn(move || {
                    pump(client, server, |bytes| {
                        // A client writes a head at once, so its first line is never cut in two.
                        count.fetch_add(usize::from(bytes.starts_with(line.as_bytes())), Ordering::SeqCst);
                    });
                });
            }
        });
        Counter { url, requests }
    }

    /// How many requests came since they were last taken.
    pub fn seen(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }

    /// How many requests came since the last time.
    pub fn take(&self) -> usize {
        self.requests.swap(0, Ordering::SeqCst)
    }
}

fn pump(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut buffer = vec![0; 65536];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        see(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(std::net::Shutdown::Write);
}
