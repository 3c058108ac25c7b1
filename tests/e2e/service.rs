//! The gateway as a service: what its manager hears, and sockets that it hands over.

use super::support::{
    DEADLINE,
    gateway::{Gateway, open_route, rewrite},
    http::ask,
    upstream::Upstream,
};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How often the watchdog wants to hear of the gateway. Longer than a shard of a busy machine may be kept
/// from its CPU.
const WATCHDOG: Duration = Duration::from_secs(2);

/// A service manager: the socket that it listens on.
struct Manager(UnixDatagram);

impl Manager {
    fn new(folder: &Path) -> Manager {
        Manager(UnixDatagram::bind(folder.join("notify")).unwrap())
    }

    /// The next message within `time`.
    fn message(&self, time: Duration) -> Option<String> {
        let mut bytes = [0; 4096];
        self.0.set_read_timeout(Some(time)).unwrap();
        let length = self.0.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Waits for a message with this line.
    fn await_line(&self, line: &str) -> String {
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            let message = self.message(DEADLINE).unwrap_or_default();
            if message.lines().any(|one| one == line) {
                return message;
            }
        }
        panic!("never came: {line}");
    }

    /// Waits until nothing is said any more for twice the time of the watchdog.
    fn await_silence(&self) {
        let end = Instant::now() + DEADLINE;
        while self.message(2 * WATCHDOG).is_some() {
            assert!(Instant::now() < end, "it never fell silent");
        }
    }
}

/// A gateway with this manager.
fn managed(folder: tempfile::TempDir, routes: &str) -> Gateway {
    Gateway::prepare(folder.path(), routes);
    let mut command = Gateway::run_in(folder.path());
    command.env("NOTIFY_SOCKET", folder.path().join("notify"));
    command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
    Gateway::spawn(folder, command)
}

#[test]
fn a_manager_hears_of_the_start_of_reloads_and_of_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let mut gateway = managed(folder, &open_route("up", "127.0.0.1:9"));
    assert!(manager.await_line("READY=1").contains("STATUS=serving"));
    manager.await_line("WATCHDOG=1");
    gateway.process.signal("HUP");
    assert!(manager.await_line("RELOADING=1").contains("\nMONOTONIC_USEC="));
    manager.await_line("READY=1");
    let file = gateway.folder.path().join("ringward.toml");
    fs::write(&file, "version = 2").unwrap();
    gateway.process.signal("HUP");
    assert!(manager.await_line("READY=1").contains("the last reload was refused"));
    gateway.process.signal("TERM");
    manager.await_line("STOPPING=1");
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.log());
}

/// Stops one thread of a process until it is told to let go of it, as nothing else does.
const STOP_THREAD: &str = "
import ctypes, os, sys
libc, thread = ctypes.CDLL(None, use_errno=True), int(sys.argv[1])
PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
def trace(request):
    if libc.ptrace(request, thread, None, None) != 0:
        print('refused', os.strerror(ctypes.get_errno()), flush=True)
        sys.exit(0)
trace(PTRACE_SEIZE)
trace(PTRACE_INTERRUPT)
os.waitpid(thread, WALL)
print('stopped', flush=True)
sys.stdin.read()
trace(PTRACE_DETACH)
";

/// A thread that is stopped; dropping it lets it run again.
struct Stopped(Child);

impl Stopped {
    /// `None` where that is not permitted.
    fn stop(pid: u32, name: &str) -> Option<Stopped> {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
        let is_it = |task: &std::path::PathBuf| {
            fs::read_to_string(task.join("comm")).is_ok_and(|comm| comm.trim() == name)
        };
        let task = tasks.into_iter().find(is_it).expect("the thread is there");
        let mut command = Command::new("python3");
        command.args(["-c", STOP_THREAD]).arg(task.file_name().unwrap());
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let stopped = Stopped(child);
        if line.trim() == "stopped" {
            return Some(stopped);
        }
        println!("skipped: stopping a thread of a process that is not dumpable takes root ({})", line.trim());
        None
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_shard_that_hangs_silences_the_watchdog_until_it_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let manager = Manager::new(folder.path());
    let gateway = managed(folder, &open_route("up", "127.0.0.1:9"));
    manager.await_line("READY=1");
    manager.await_line("WATCHDOG=1");
    let Some(stopped) = Stopped::stop(gateway.process.id(), "shard-0") else { return };
    manager.await_silence();
    assert!(gateway.log().contains("a shard hangs"), "{}", gateway.log());
    drop(stopped);
    manager.await_line("WATCHDOG=1");
}

/// Listens, and becomes the gateway with that socket, as systemd starts one.
const ACTIVATE: &str = "
import os, socket, sys
server = socket.create_server(('127.0.0.1', 0), backlog=50)
print(server.getsockname()[1], flush=True)
os.dup2(server.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='agents', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[1], sys.argv[1:])
";

#[test]
fn a_socket_that_was_handed_over_serves_all_shards() {
    let upstream = Upstream::answering("through the manager's socket");
    let folder = tempfile::tempdir().unwrap();
    Gateway::prepare(folder.path(), &open_route("up", upstream.address));
    let file = folder.path().join("ringward.toml");
    rewrite(&file, |text| {
        text.replacen("addr = \"127.0.0.1:0\"", "addr = \"fd:agents\"", 1).replace("cores = 1", "cores = 3")
    });
    let mut command = Command::new("python3");
    command.args(["-c", ACTIVATE, env!("CARGO_BIN_EXE_ringward"), "run", "-c", "ringward.toml"]);
    command.current_dir(folder.path());
    let mut gateway = Gateway::spawn(folder, command);
    for _ in 0..20 {
        let answer = ask(&gateway.address(), "GET", "/", &[], "");
        assert_eq!(answer.text(), "through the manager's socket");
    }
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.log());
}

/// A service manager gives its log as a socket, which cannot be opened by a name.
#[test]
fn the_access_log_goes_to_a_standard_output_that_is_a_socket() {
    let upstream = Upstream::answering("done");
    let folder = tempfile::tempdir().unwrap();
    Gateway::prepare(folder.path(), &open_route("up", upstream.address));
    let file = folder.path().join("ringward.toml");
    rewrite(&file, |text| text.replace("access = \"access.log\"", "access = \"stdout\""));
    let (log, theirs) = UnixStream::pair().unwrap();
    log.set_read_timeout(Some(DEADLINE)).unwrap();
    let command = Gateway::run_in(folder.path());
    let gateway = Gateway::spawn_onto(folder, command, OwnedFd::from(theirs).into());
    ask(&gateway.address(), "GET", "/logged", &[], "");
    let mut line = String::new();
    BufReader::new(log).read_line(&mut line).unwrap();
    assert!(line.contains("\"path\":\"/logged\""), "{line}");
}
