//! A server that is not ours: nginx, where it is installed.

use loadtest::report::Run;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// Nothing here takes this long; it bounds tests that hang.
const DEADLINE: Duration = Duration::from_secs(60);
/// Another process may take a free port before nginx does.
const ATTEMPTS: usize = 5;

struct Nginx {
    child: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // Its worker ends with it: it runs none beside itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether there is one; Debian keeps it where only root looks.
fn program() -> Option<&'static str> {
    ["nginx", "/usr/sbin/nginx"].into_iter().find(|program| {
        let tried = Command::new(program).arg("-v").stderr(Stdio::null()).stdout(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    })
}

fn start(program: &str) -> Nginx {
    (0..ATTEMPTS).find_map(|_| try_start(program)).expect("nginx listens on one of the free ports")
}

fn try_start(program: &str) -> Option<Nginx> {
    let directory = tempfile::tempdir().expect("a folder");
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a port").port();
    let at = directory.path().display();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name}; "));
    let configuration = format!(
        "daemon off; master_process off; pid {at}/pid; error_log {at}/error;\n\
         events {{ worker_connections 256; }}\n\
         http {{ access_log off; keepalive_requests 10; {}\n\
         server {{ listen 127.0.0.1:{port}; root {at}; location /small {{ return 200 \"small\"; }} }} }}\n",
        temporary.concat()
    );
    fs::write(directory.path().join("large"), vec![b'x'; 300_000]).expect("a file");
    let file = directory.path().join("nginx.conf");
    fs::write(&file, configuration).expect("a configuration");
    let mut command = Command::new(program);
    command.arg("-c").arg(&file).arg("-e").arg(directory.path().join("error"));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
    let mut nginx = Nginx { child, port, directory };
    let began = Instant::now();
    while began.elapsed() < DEADLINE {
        if nginx.child.try_wait().expect("a child").is_some() {
            return None;
        }
        if nginx.directory.path().join("pid").exists() && TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Some(nginx);
        }
        std::thread::yield_now();
    }
    None
}

fn run(nginx: &Nginx, path: &str, more: &[&str], driver: &str) -> Run {
    let out = nginx.directory.path().join("run.json");
    let url = format!("http://127.0.0.1:{}{path}", nginx.port);
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.args(["run", &url, "--warmup", "0s", "--ui", "none", "--duration", "500ms", "--out"]).arg(&out);
    let output = command.args(more).env("LOADTEST_DRIVER", driver).output().expect("it runs");
    Run::read(Path::new(&out)).unwrap_or_else(|failure| panic!("{failure}: {output:?}"))
}

#[test]
fn a_server_that_closes_after_ten_answers_is_asked_on_without_an_error() {
    let Some(program) = program() else {
        println!("skipped: nginx is not installed; `tests/run tools` does that");
        return;
    };
    let nginx = start(program);
    for driver in ["io_uring", "epoll"] {
        let closed = ["--closed", "--concurrency", "4"];
        let target = run(&nginx, "/small", &closed, driver).target;
        assert!(target.done > 0 && target.error_count() == 0, "{driver}: {:?}", target.errors);
        assert!(target.connections_opened >= target.done / 10, "{driver}");
        assert_eq!(target.resent, 0, "nginx says when it closes");
        let target = run(&nginx, "/large", &["--rate", "40"], driver).target;
        assert_eq!((target.sent + target.dropped, target.error_count()), (20, 0), "{:?}", target.errors);
        assert!(target.bytes_received > target.done * 300_000);
        let target = run(&nginx, "/none", &["--rate", "40"], driver).target;
        assert_eq!(target.statuses, [(404, target.done)].into());
        assert_eq!(target.errors, [("status".to_owned(), target.done)].into());
    }
}
