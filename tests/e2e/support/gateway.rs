//! The gateway as a process: the demo, or `run` with a configuration of the test.

use super::{DEADLINE, eventually};
use serde_json::Value;
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
};
use tempfile::TempDir;

const BINARY: &str = env!("CARGO_BIN_EXE_ringward");

/// A process that is told to end when it is dropped.
pub struct Process {
    child: Child,
}

impl Process {
    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        eventually("the end of the gateway", || self.child.try_wait().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        // A panicking test has no time for a drain.
        let _ = if thread::panicking() { self.child.kill() } else { self.terminate() };
        let _ = self.child.wait();
    }
}

impl Process {
    fn terminate(&mut self) -> std::io::Result<()> {
        self.signal("TERM");
        let end = std::time::Instant::now() + DEADLINE;
        while self.child.try_wait()?.is_none() && std::time::Instant::now() < end {
            thread::park_timeout(std::time::Duration::from_millis(10));
        }
        self.child.kill()
    }
}

/// The first line that a process writes.
pub(super) fn first_line(stdout: ChildStdout) -> String {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    receiver.recv_timeout(DEADLINE).expect("a line on standard output")
}

/// Runs the binary to its end.
pub fn ringward(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let environment = environment.iter().copied();
    Command::new(BINARY).args(arguments).envs(environment).stdin(Stdio::null()).output().unwrap()
}

/// Writes a file anew.
pub fn rewrite(file: &Path, change: impl FnOnce(String) -> String) {
    fs::write(file, change(fs::read_to_string(file).unwrap())).unwrap();
}

/// A running demo.
pub struct Demo {
    pub process: Process,
    ready: Value,
    /// Home of what the demo's clients keep.
    pub home: TempDir,
}

impl Demo {
    pub fn start() -> Demo {
        let home = tempfile::tempdir().unwrap();
        let mut command = Demo::program(home.path());
        let mut child = command.arg("--json").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().expect("it was piped");
        let process = Process { child };
        let line = first_line(stdout);
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Demo { process, ready, home }
    }

    /// `ringward demo` with everything that it leaves anywhere below `home`.
    fn program(home: &Path) -> Command {
        let mut command = Command::new(BINARY);
        command.arg("demo").env("HOME", home).env("TMPDIR", home).env("XDG_RUNTIME_DIR", home);
        command.stdin(Stdio::null());
        command
    }

    /// Starts a demo as a person does, and gives the commands that it prints to be pasted.
    pub fn printed(home: &Path) -> (Process, Vec<String>) {
        let (process, receiver) = Demo::lines(home);
        let lines = std::iter::from_fn(|| receiver.recv_timeout(DEADLINE).ok());
        let lines: Vec<String> = lines.take_while(|line| !line.starts_with("Then see")).collect();
        let text = lines.join("\n");
        let (_, commands) = text.split_once("Paste one of these").unwrap_or_else(|| panic!("{text}"));
        // Each command stands below a title, up to the next empty line.
        let commands =
            commands.split("\n\n").filter_map(|part| part.trim().strip_prefix('#')?.split_once('\n'));
        (process, commands.map(|(_, command)| command.to_owned()).collect())
    }

    /// Starts a demo as a person does, and gives the lines that it prints.
    pub fn lines(home: &Path) -> (Process, mpsc::Receiver<String>) {
        let mut child = Demo::program(home).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().expect("it was piped");
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        (Process { child }, receiver)
    }

    /// A member of the line that the demo printed.
    pub fn get(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_else(|| panic!("no {name} in {}", self.ready))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(self.get(name))
    }

    /// Address and path of one of the demo's routes.
    pub fn route(&self, name: &str) -> String {
        format!("{}{}", self.get("gateway"), self.ready["routes"][name].as_str().expect("a route"))
    }

    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.get("token"))
    }

    /// Writes its configuration anew, and has it in force.
    pub fn reconfigure(&self, change: impl FnOnce(String) -> String) {
        rewrite(&self.path("config"), change);
        let reloaded = self.command(&["reload"]);
        assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    }

    /// Runs a command of the binary against it.
    pub fn command(&self, arguments: &[&str]) -> Output {
        ringward(arguments, &[("RINGWARD_ADMIN", &format!("unix:{}", self.get("admin_socket")))])
    }

    /// Runs a command that must succeed, and gives what it said.
    pub fn run(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments);
        let said =
            [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
        said
    }

    /// Runs `ringward approvals …` against it.
    pub fn approvals(&self, arguments: &[&str]) -> Output {
        self.command(&[&["approvals"][..], arguments].concat())
    }

    /// Waits for a request that is held, and gives its card.
    pub fn held(&self) -> Value {
        eventually("a request that waits", || {
            let listed = self.approvals(&["list", "--state", "pending", "--json"]);
            assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
            serde_json::from_slice::<Vec<Value>>(&listed.stdout).unwrap().pop()
        })
    }

    /// Denies the request that `asks` makes.
    pub fn denying(&self, asks: impl FnOnce()) {
        thread::scope(|scope| {
            scope.spawn(|| {
                let id = self.held()["id"].as_str().expect("an id").to_owned();
                let denied = self.approvals(&["deny", &id, "--reason", "Not today."]);
                assert!(denied.status.success(), "{}", String::from_utf8_lossy(&denied.stderr));
            });
            asks();
        });
    }

    /// A token of the agent's client, with parameters of the dev issuer such as `lifetime`.
    pub fn token(&self, parameters: &str) -> String {
        let secret = fs::read_to_string(self.path("client_secret_file")).unwrap();
        let body = format!(
            "grant_type=client_credentials&client_id={}&client_secret={}&{parameters}",
            self.get("client_id"),
            secret.trim()
        );
        let form = [("content-type", "application/x-www-form-urlencoded")];
        let reply = super::http::ask(self.get("issuer"), "POST", "/token", &form, &body);
        reply.json()["access_token"].as_str().unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
    }

    /// The real credentials of the demo, by the name of their file.
    pub fn secrets(&self) -> Vec<(String, String)> {
        let folder = self.path("config").parent().expect("a folder").join("secrets");
        let read = |entry: std::io::Result<fs::DirEntry>| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read_to_string(path).unwrap())
        };
        fs::read_dir(folder).unwrap().map(read).map(|(name, text)| (name, text.trim().to_owned())).collect()
    }
}

/// `ringward run` in a folder of its own.
pub struct Gateway {
    pub process: Process,
    pub folder: TempDir,
}

impl Gateway {
    /// Starts with the configuration of [`Gateway::prepare`] and waits until it listens.
    pub fn start(routes: &str) -> Gateway {
        Gateway::start_in(tempfile::tempdir().unwrap(), routes)
    }

    /// As [`Gateway::start`], in a folder that already holds what the configuration names.
    pub fn start_in(folder: TempDir, routes: &str) -> Gateway {
        Gateway::start_with(folder, routes, "", "")
    }

    /// As [`Gateway::start_in`], with more keys of `[admin]` and of `[audit]`.
    pub fn start_with(folder: TempDir, routes: &str, admin: &str, audit: &str) -> Gateway {
        Gateway::prepare_with(folder.path(), routes, admin, audit);
        let command = Gateway::run_in(folder.path());
        Gateway::spawn(folder, command)
    }

    /// The command that runs what [`Gateway::prepare`] has written in a folder.
    pub fn run_in(folder: &Path) -> Command {
        let mut command = Command::new(BINARY);
        command.current_dir(folder).args(["run", "-c", "ringward.toml"]);
        command
    }

    /// Spawns `command`, which runs a gateway in `folder`, and waits until it listens.
    pub fn spawn(folder: TempDir, command: Command) -> Gateway {
        Gateway::spawn_onto(folder, command, Stdio::null())
    }

    /// As [`Gateway::spawn`], with this standard output.
    pub fn spawn_onto(folder: TempDir, mut command: Command, stdout: Stdio) -> Gateway {
        let log = fs::File::create(folder.path().join("stderr")).unwrap();
        command.stdin(Stdio::null()).stdout(stdout).stderr(log).env("NO_COLOR", "1");
        let mut gateway = Gateway { process: Process { child: command.spawn().unwrap() }, folder };
        eventually("a listening gateway", || {
            if let Some(ended) = gateway.process.child.try_wait().unwrap() {
                panic!("{ended}: {}", gateway.log());
            }
            gateway.find_address("main")
        });
        gateway
    }

    /// Writes a configuration with one clear-text listener `main`, and `routes` behind it.
    pub fn prepare(folder: &Path, routes: &str) {
        Gateway::prepare_with(folder, routes, "", "");
    }

    fn prepare_with(folder: &Path, routes: &str, admin: &str, audit: &str) {
        let text = format!(
            "version = 1\n[runtime]\ncores = 1\ndrain = \"30s\"\n\
             [[listen]]\nname = \"main\"\naddr = \"127.0.0.1:0\"\n\
             [admin]\nsocket = \"admin.sock\"\naddr = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\n{admin}\
             [audit]\ndir = \"audit\"\nsegment_bytes = \"1MiB\"\n{audit}[log]\naccess = \"access.log\"\n\
             [[policy]]\nname = \"default\"\naction = \"allow\"\n{routes}"
        );
        fs::write(folder.join("ringward.toml"), text).unwrap();
    }

    /// Address of the listener `main`.
    pub fn address(&self) -> String {
        self.find_address("main").expect("it listens")
    }

    /// Address of one listener, once it has said so.
    pub fn find_address(&self, name: &str) -> Option<String> {
        let log = self.log();
        let line = log.lines().find(|line| line.contains(&format!("listener={name}")))?;
        let address = line.split("address=").nth(1)?.split_whitespace().next()?;
        Some(address.to_owned())
    }

    /// What it said on standard error.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("stderr")).unwrap_or_default()
    }

    /// Runs a command of the binary against this gateway.
    pub fn command(&self, arguments: &[&str]) -> Output {
        let admin = format!("unix:{}", self.folder.path().join("admin.sock").display());
        ringward(arguments, &[("RINGWARD_ADMIN", &admin)])
    }

    /// The access log's lines so far.
    pub fn access_log(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }
}

/// `ringward audit follow` as a process, and the lines that it writes.
pub struct Follower {
    process: Process,
    lines: mpsc::Receiver<Value>,
    seen: Vec<Value>,
}

impl Follower {
    /// Starts with these arguments, `--json` among them.
    pub fn start(arguments: &[String]) -> Follower {
        let mut command = Command::new(BINARY);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdout = child.stdout.take().expect("it was piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).unwrap_or(Value::String(line)));
            }
        });
        Follower { process: Process { child }, lines, seen: Vec::new() }
    }

    /// Waits for an event that fits.
    pub fn event(&mut self, what: &str, mut fits: impl FnMut(&Value) -> bool) -> Value {
        let end = std::time::Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if fits(&line) => return line,
                Ok(line) => self.seen.push(line),
                Err(error) => panic!("{what} never came ({error}): {:#?}", self.seen),
            }
        }
    }

    /// Ends it as an operator does.
    pub fn stop(&mut self) -> Option<i32> {
        self.process.signal("TERM");
        self.wait()
    }

    pub fn wait(&mut self) -> Option<i32> {
        self.process.wait().code()
    }

    pub fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.wait();
    }
}

/// A route without identity from every path to an upstream on loopback.
pub fn open_route(name: &str, address: impl std::fmt::Display) -> String {
    format!(
        "[upstreams.{name}]\nurl = \"http://{address}\"\n\
         [[route]]\nname = \"{name}\"\nmatch = {{ listen = \"main\", path = \"/**\" }}\nidentity = []\n\
         upstream = \"{name}\"\npolicies = [\"default\"]\n"
    )
}
