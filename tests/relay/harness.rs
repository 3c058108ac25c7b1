//! A gateway in this process, the upstreams behind it, and its audit log.

use super::wire::{PATIENCE, Wire};
use ringward::{
    app::{self, Ended, Options, Running},
    audit::{Cause, Direction, Item, Outcome, Place, Record, Refusal, SegmentReader},
    config::{Format, diagnostic},
    journal::{self, Disk, OsDisk},
    segments::{self, Keys, SegmentFile},
};
use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::{fs::PermissionsExt, net::UnixStream},
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// A server that a test plays itself: it accepts connections when the test says so.
pub struct Upstream {
    listener: TcpListener,
    pub address: SocketAddr,
    tls: Option<Arc<rustls::ServerConfig>>,
}

impl Upstream {
    pub fn bind() -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        socket2::SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        let address = listener.local_addr().unwrap();
        Upstream { listener, address, tls: None }
    }

    pub fn with_tls(config: Arc<rustls::ServerConfig>) -> Upstream {
        Upstream { tls: Some(config), ..Upstream::bind() }
    }

    /// The next connection.
    #[track_caller]
    pub fn accept(&self) -> Wire {
        let (socket, _) = self.listener.accept().expect("the gateway connects");
        match &self.tls {
            None => Wire::new(socket),
            Some(config) => {
                let session = rustls::ServerConnection::new(config.clone()).unwrap();
                let stream = rustls::StreamOwned::new(session, socket.try_clone().unwrap());
                Wire::over(stream, socket)
            }
        }
    }

    /// The next connection, or the one that is there already if that is used again.
    #[track_caller]
    pub fn accept_or(&self, other: Wire) -> Wire {
        let began = Instant::now();
        self.listener.set_nonblocking(true).unwrap();
        let wire = loop {
            match self.listener.accept() {
                Ok((socket, _)) => break Wire::new(socket),
                Err(_) if other.is_readable() => break other,
                Err(_) => assert!(began.elapsed() < PATIENCE, "neither connects nor sends"),
            }
            std::thread::yield_now();
        };
        self.listener.set_nonblocking(false).unwrap();
        wire
    }

    /// Asserts that no further connection came.
    #[track_caller]
    pub fn is_left_alone(&self) {
        self.listener.set_nonblocking(true).unwrap();
        let error = self.listener.accept().map(|(_, peer)| peer).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::WouldBlock);
        self.listener.set_nonblocking(false).unwrap();
    }

    /// Serves connections with `script`, each on a thread of its own, for as long as the process lives.
    pub fn serve(self, script: impl Fn(Wire) + Clone + Send + 'static) -> SocketAddr {
        let address = self.address;
        std::thread::spawn(move || {
            loop {
                // The patience of an accept is no error.
                let Ok((socket, _)) = self.listener.accept() else { continue };
                let script = script.clone();
                std::thread::spawn(move || script(Wire::new(socket)));
            }
        });
        address
    }
}

/// What differs between the gateways of the tests: lines for the tables of their configuration.
#[derive(Clone, Debug)]
pub struct Setup {
    pub listen: String,
    pub upstream: String,
    pub route: String,
    pub tables: String,
    /// The table of the journal, but for `commit`.
    pub audit: &'static str,
    /// Where the access log goes.
    pub log: &'static str,
    pub cores: u16,
    pub commit: &'static str,
}

impl Setup {
    /// One listener, one route, one upstream, which speaks clear text.
    pub fn to(upstream: SocketAddr) -> Setup {
        Setup::to_url(&format!("http://{upstream}"))
    }

    pub fn to_url(url: &str) -> Setup {
        let empty = String::new;
        let upstream = format!("url = \"{url}\"\n");
        Setup {
            listen: empty(),
            upstream,
            route: empty(),
            tables: empty(),
            // Each refusal has its own record, however many there are.
            audit: "segment_bytes = \"4MiB\"\nrefusals_per_second = 1000000",
            log: "off",
            cores: 1,
            commit: "written",
        }
    }

    /// Adds lines to the table of the listener.
    pub fn listen(mut self, lines: &str) -> Setup {
        self.listen += lines;
        self
    }

    /// Adds lines to the table of the upstream.
    pub fn upstream(mut self, lines: &str) -> Setup {
        self.upstream = self.upstream + lines + "\n";
        self
    }

    /// Adds lines to the table of the route, which has only `policies = ["default"]`.
    pub fn route(mut self, lines: &str) -> Setup {
        self.route = self.route + lines + "\n";
        self
    }

    /// Adds whole tables.
    pub fn tables(mut self, tables: &str) -> Setup {
        self.tables = self.tables + tables + "\n";
        self
    }

    pub fn text(&self) -> String {
        let policies = if self.route.contains("policies") { "" } else { "policies = [\"default\"]" };
        // Set to "epoll" to run all of this on the driver of containers.
        let driver = std::env::var("RINGWARD_TEST_DRIVER").unwrap_or_else(|_| "auto".to_owned());
        let Setup { listen, upstream, route, tables, audit, log, cores, commit } = self;
        format!(
            r#"
version = 1
[runtime]
cores = {cores}
driver = "{driver}"
[[listen]]
name = "in"
addr = "127.0.0.1:0"
{listen}
[admin]
socket = "admin.sock"
[upstreams.up]
{upstream}
[[route]]
name = "all"
match = {{ listen = "in" }}
identity = []
upstream = "up"
{policies}
{route}
[[policy]]
name = "default"
action = "allow"
[audit]
commit = "{commit}"
{audit}
[log]
access = "{log}"
{tables}
"#
        )
    }

    /// A gateway of this configuration, in a folder of its own.
    #[track_caller]
    pub fn start(self) -> Gateway {
        self.start_in(tempfile::tempdir().unwrap())
    }

    /// The same in a folder that holds what the configuration names.
    #[track_caller]
    pub fn start_in(self, dir: tempfile::TempDir) -> Gateway {
        self.start_text_in(&self.text(), dir)
    }

    /// A gateway of another text than [`Setup::text`].
    #[track_caller]
    pub fn start_text_in(&self, text: &str, dir: tempfile::TempDir) -> Gateway {
        match Setup::try_start_text_in(text, dir.path()) {
            Ok(running) => Gateway { address: running.addresses.listeners[0].1, running, dir },
            Err(error) => panic!("no start: {}\n{text}", explain(&error)),
        }
    }

    pub fn try_start_in(&self, dir: &Path) -> Result<Running, app::Error> {
        Setup::try_start_text_in(&self.text(), dir)
    }

    fn try_start_text_in(text: &str, dir: &Path) -> Result<Running, app::Error> {
        Setup::try_start_on(Arc::new(OsDisk), text, dir)
    }

    fn try_start_on(disk: Arc<dyn Disk>, text: &str, dir: &Path) -> Result<Running, app::Error> {
        fs::write(dir.join("ringward.toml"), text).unwrap();
        let options = Options { author: "test".to_owned(), allow_dev: true };
        app::start_on(disk, &dir.join("ringward.toml"), options)
    }

    /// A gateway whose audit log lies on `disk`.
    #[track_caller]
    pub fn start_on(self, disk: Arc<dyn Disk>) -> Gateway {
        let dir = tempfile::tempdir().unwrap();
        match Setup::try_start_on(disk, &self.text(), dir.path()) {
            Ok(running) => Gateway { address: running.addresses.listeners[0].1, running, dir },
            Err(error) => panic!("no start: {}", explain(&error)),
        }
    }
}

/// An error with all its diagnostics.
pub fn explain(error: &app::Error) -> String {
    match error {
        app::Error::Config(found) => diagnostic::render_all(found, Format::Text, false),
        other => other.to_string(),
    }
}

/// Writes a file that only its owner may read.
pub fn write_private(path: &Path, content: impl AsRef<[u8]>) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub struct Gateway {
    pub dir: tempfile::TempDir,
    pub running: Running,
    pub address: SocketAddr,
}

/// What a gateway has recorded, and the folder that holds it.
pub struct Log {
    pub records: Vec<Record>,
    audit: PathBuf,
    _dir: tempfile::TempDir,
}

impl Gateway {
    pub fn connect(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Sends one request on a connection of its own.
    #[track_caller]
    pub fn ask(&self, request: impl AsRef<[u8]>) -> Wire {
        let mut client = self.connect();
        client.send(request);
        client
    }

    /// Writes a new configuration and has it taken.
    pub fn reload(&self, setup: &Setup) -> Result<u64, app::Error> {
        self.reload_text(&setup.text())
    }

    pub fn reload_text(&self, text: &str) -> Result<u64, app::Error> {
        fs::write(self.dir.path().join("ringward.toml"), text).unwrap();
        self.running.background().block_on(self.running.reload("test"))
    }

    /// `GET path` on the admin socket; the body of the answer.
    pub fn admin(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("admin.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }

    /// Sends an order on the admin socket, whatever comes of it.
    pub fn order(&self, method: &str, path: &str, body: &str) {
        let mut stream = UnixStream::connect(self.dir.path().join("admin.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{kind}\
             content-length: {length}\r\n\r\n{body}"
        )
        .unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    }

    /// The value of one metric, with its labels as they are written; zero while it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.admin("/metrics");
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until a metric has a value.
    #[track_caller]
    pub fn until(&self, name: &str, value: f64) {
        let began = Instant::now();
        while self.metric(name) != value {
            assert!(began.elapsed() < PATIENCE, "{name} is {}, not {value}", self.metric(name));
            std::thread::yield_now();
        }
    }

    /// Waits until a record holds `text`.
    #[track_caller]
    pub fn until_recorded(&self, text: &str) {
        let began = Instant::now();
        while !inside(&self.running.addresses.audit_dir)
            .windows(text.len())
            .any(|part| part == text.as_bytes())
        {
            assert!(began.elapsed() < PATIENCE, "no record holds {text}");
            std::thread::yield_now();
        }
    }

    /// Stops the gateway and verifies its log: every forwarded exchange has one INTENT and one OUTCOME, every
    /// refused one a REFUSAL.
    #[track_caller]
    pub fn stop(self, forwarded: u64, refused: u64) -> Log {
        let Gateway { dir, running, .. } = self;
        let audit = running.addresses.audit_dir.clone();
        assert_eq!(running.stop(PATIENCE), Ended::Drained);
        Log::of(dir, audit, Some((forwarded, refused)))
    }
}

/// All records of a log that is closed.
fn read(audit: &Path) -> Vec<Record> {
    let (segments, strangers) = segments::list(audit).unwrap();
    assert!(strangers.is_empty(), "{strangers:?}");
    let mut records = Vec::new();
    for segment in segments {
        let input = segment.open(&Keys::default()).unwrap();
        let mut reader = SegmentReader::open(input, segment.number, None).unwrap();
        loop {
            match reader.next_item().unwrap() {
                Item::Batch(_) => {}
                Item::Frame(frame) => records.push(frame.decode().unwrap()),
                Item::End(_) => break,
            }
        }
    }
    records
}

impl Log {
    /// The verified log of a gateway that has stopped; `counts` are those of forwarded and refused exchanges.
    #[track_caller]
    pub fn of(dir: tempfile::TempDir, audit: PathBuf, counts: Option<(u64, u64)>) -> Log {
        let report = journal::verify_dir(&audit, |_, _| {}).expect("the log is good");
        let log = Log { records: read(&audit), audit, _dir: dir };
        assert_eq!((report.exchanges_open, report.sealed), (0, true));
        let counted = (report.exchanges_closed, report.refusals);
        assert_eq!(counted, counts.unwrap_or(counted), "{:?} {:?}", log.ends(), log.reasons());
        log
    }

    /// All OUTCOMEs, in order.
    pub fn outcomes(&self) -> impl Iterator<Item = &Outcome> {
        self.records.iter().filter_map(|record| match record {
            Record::Outcome(outcome) => Some(&**outcome),
            _ => None,
        })
    }

    pub fn refusals(&self) -> impl Iterator<Item = &Refusal> {
        self.records.iter().filter_map(|record| match record {
            Record::Refusal(refusal) => Some(&**refusal),
            _ => None,
        })
    }

    /// The bytes that were kept of all bodies of one direction, in order.
    pub fn kept(&self, direction: Direction) -> String {
        let contents = self.records.iter().filter_map(|record| match record {
            Record::Content(content) if content.direction == direction => Some(content.bytes.to_vec()),
            _ => None,
        });
        String::from_utf8(contents.flatten().collect()).expect("text")
    }

    /// How often each mask matched, by exchange.
    pub fn masks(&self) -> Vec<Vec<(&str, u64)>> {
        fn counts(outcome: &Outcome) -> Vec<(&str, u64)> {
            outcome.masks.iter().map(|hits| (&*hits.mask, hits.count)).collect()
        }
        self.outcomes().map(counts).collect()
    }

    /// How each forwarded exchange ended.
    pub fn ends(&self) -> Vec<(Cause, Place)> {
        self.outcomes().map(|outcome| (outcome.cause, outcome.place)).collect()
    }

    /// Codes and reasons of the refusals.
    pub fn reasons(&self) -> Vec<(&str, &str)> {
        self.refusals().map(|refusal| (&*refusal.code, &*refusal.reason)).collect()
    }

    /// The bytes of all segments: what must never hold a secret.
    pub fn bytes(&self) -> Vec<u8> {
        inside(&self.audit)
    }
}

/// The bytes of all segments of a log, which may be in use.
fn inside(audit: &Path) -> Vec<u8> {
    let (segments, _) = segments::list(audit).unwrap();
    let inside = |segment: &SegmentFile| {
        let mut bytes = Vec::new();
        segment.open(&Keys::default()).unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    };
    segments.iter().flat_map(inside).collect()
}

/// Asserts that nobody listens at `address` any more.
#[track_caller]
pub fn is_refused(address: SocketAddr) {
    let error = TcpStream::connect(address).map(drop).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}
