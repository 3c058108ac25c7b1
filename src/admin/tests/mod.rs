//! The admin side over real sockets: a unix socket in a temporary directory, and loopback.

mod abuse;
mod auditors;
mod files;
mod local;
mod login;
mod network;
mod openapi;
mod readiness;
mod sessions;
mod trials;

use super::{
    AuditState, AuditStatus, Candidate, ConfigFile, Configured, ConfiguredIdentities, ConfiguredPolicies,
    ConfiguredSecrets, Connection, Consistency, Control, Credential, DeviceLogin, Edit, EditFault, Edited,
    Editor, ErasedBodies, Events, Expected, Folder, IssuerStatus, LogFolder, LoginRules, NotLoggedIn, Parts,
    Person, Redemption, Rejected, Reloaded, ReplayFault, Replayed, SecretStatus, Server, ShardStatus,
    SignInPlace, Status, Trial, Tried, Unproven, UpstreamStatus, Work, door::Bounds,
};
use crate::{
    approval,
    archive::{self, Archive},
    audit::StatedKey,
    metrics::Metrics,
    time::Timestamp,
};
use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{Arc, Mutex, mpsc},
    thread::JoinHandle,
    time::Duration,
};
use tokio::sync::{Semaphore, oneshot};

/// Guards a test against hanging; nothing waits for it to pass.
const DEADLINE: Duration = Duration::from_secs(30);

/// A process as the tests want it.
struct Process {
    status: Mutex<Status>,
    reload: Mutex<Result<Reloaded, Rejected>>,
    checkpoint: Mutex<Option<Arc<str>>>,
    credentials: Mutex<Vec<Credential>>,
    login: Mutex<Option<LoginRules>>,
    /// Who comes with which code; the codes of a real issuer are met in the end-to-end tests.
    people: Mutex<Vec<(String, Person)>>,
    now: Mutex<Timestamp>,
    /// What was asked and by whom.
    calls: Mutex<Vec<String>>,
    /// Announces that a reload began, and that it ended.
    progress: mpsc::Sender<&'static str>,
    /// A reload takes one permit.
    gate: Semaphore,
    /// Folder of recordings.
    log: PathBuf,
}

impl Process {
    fn note(&self, call: String) {
        self.calls.lock().unwrap().push(call);
    }
}

impl Control for Process {
    fn status(&self) -> Status {
        let status = self.status.lock().unwrap().clone();
        assert_ne!(status.version, "panic", "as the test wants");
        status
    }

    fn reload(&self, author: String) -> Work<'_, Result<Reloaded, Rejected>> {
        Box::pin(async move {
            self.note(format!("reload by {author}"));
            self.progress.send("begun").unwrap();
            self.gate.acquire().await.unwrap().forget();
            self.progress.send("ended").unwrap();
            self.reload.lock().unwrap().clone()
        })
    }

    fn check(&self) -> Work<'_, Result<(), Rejected>> {
        Box::pin(async { self.reload.lock().unwrap().clone().map(drop) })
    }

    fn credentials(&self) -> Arc<[Credential]> {
        self.credentials.lock().unwrap().clone().into()
    }

    fn login(&self) -> Option<Arc<LoginRules>> {
        self.login.lock().unwrap().clone().map(Arc::new)
    }

    fn sign_in_place(&self) -> Work<'_, Result<SignInPlace, NotLoggedIn>> {
        let url = "https://idp.example.com/authorize?tenant=1".to_owned();
        Box::pin(async { Ok(SignInPlace { url, names_issuer: true }) })
    }

    fn redeem(&self, redemption: Redemption) -> Work<'_, Result<Person, NotLoggedIn>> {
        self.note(format!("redeem {} at {}", redemption.code, redemption.redirect_uri));
        let mut people = self.people.lock().unwrap();
        let index = people.iter().position(|(code, _)| *code == redemption.code);
        let person = index.map(|index| people.remove(index).1);
        Box::pin(async { person.ok_or_else(|| NotLoggedIn::Refused("invalid_grant".to_owned())) })
    }

    fn begin_device(&self) -> Work<'_, Result<DeviceLogin, NotLoggedIn>> {
        Box::pin(async {
            Ok(DeviceLogin {
                device_code: "secret-of-the-issuer".to_owned(),
                user_code: "WDJB-MJHT".to_owned(),
                verification_uri: "https://idp.example.com/device".to_owned(),
                verification_uri_complete: None,
                expires: Duration::from_secs(300),
                interval: Duration::from_secs(5),
            })
        })
    }

    fn ask_device(&self, device_code: String) -> Work<'_, Result<Option<Person>, NotLoggedIn>> {
        self.note(format!("ask about {device_code}"));
        let person = self.people.lock().unwrap().pop().map(|(_, person)| person);
        Box::pin(async { Ok(person) })
    }

    fn record_action(&self, author: &str, action: &str, object: &str) {
        self.note(format!("{action} by {author} {object}").trim().to_owned());
    }

    fn now(&self) -> Timestamp {
        *self.now.lock().unwrap()
    }

    fn log(&self) -> LogFolder {
        LogFolder { dir: self.log.clone(), only_encrypted: self.log.join(".only-encrypted").exists() }
    }

    fn stated_keys(&self) -> Work<'_, Result<Vec<StatedKey>, Unproven>> {
        let note = crate::audit::samples::first_statement(1).into();
        Box::pin(async move { Ok(vec![StatedKey { note, since: 2 }]) })
    }

    fn checkpoint(&self) -> Option<Arc<str>> {
        self.checkpoint.lock().unwrap().clone()
    }

    fn prove(&self, record: u64) -> Work<'_, Result<String, Unproven>> {
        Box::pin(async move {
            match record {
                0 => Err(Unproven::Failed("the disk".to_owned())),
                1..9 => Ok(format!("proof of {record}\n")),
                _ => Err(Unproven::NotCovered(format!("record {record} is not covered"))),
            }
        })
    }

    fn consistency(&self, from: u64, to: Option<u64>) -> Work<'_, Result<Consistency, Unproven>> {
        let (proof, checkpoint) = (vec!["AAAA".to_owned()], "note\n".to_owned());
        Box::pin(async move { Ok(Consistency { from, to: to.unwrap_or(9), proof, checkpoint }) })
    }

    fn rotate_key(&self, author: String) -> Work<'_, Result<String, Unproven>> {
        Box::pin(async move {
            self.note(format!("key rotated by {author}"));
            Ok("log+00000000+AQ==".to_owned())
        })
    }

    fn erase(
        &self,
        author: String,
        subject: String,
        issuer: Option<String>,
        dry_run: bool,
    ) -> Work<'_, Result<ErasedBodies, Unproven>> {
        Box::pin(async move {
            let done = if dry_run { "counted" } else { "erased" };
            self.note(format!("{subject} of {issuer:?} {done} by {author}"));
            Ok(ErasedBodies { exchanges: 1, contents: 2, bytes: 3, nonces: 4, encrypted_segments: 5 })
        })
    }

    fn drain(&self, author: &str) {
        self.note(format!("drain by {author}"));
    }

    fn set_log_level(&self, author: &str, level: &str) -> Result<(), String> {
        self.note(format!("log level {level} by {author}"));
        if level == "loud" { Err("no such level: loud".to_owned()) } else { Ok(()) }
    }

    fn approvals(&self, order: approval::Order) -> Work<'_, Result<approval::Answered, approval::Fault>> {
        self.note(format!("{order:?}"));
        Box::pin(async { Ok(approval::Answered::Cards(Vec::new(), None)) })
    }

    fn notify_targets(&self) -> Vec<super::NotifyTarget> {
        Vec::new()
    }

    fn test_notify(&self, author: String, name: String) -> Work<'_, Option<super::NotifyTried>> {
        self.note(format!("test {name} by {author}"));
        Box::pin(async { None })
    }

    fn editor(&self) -> &dyn Editor {
        self
    }

    fn events(&self) -> Arc<Events> {
        Arc::default()
    }

    fn archive(&self) -> Result<(Arc<Archive>, u64), archive::Error> {
        Archive::open(&self.log).map(|archive| (Arc::new(archive), 0))
    }

    fn record_read(&self, author: &str, action: &str, object: &str) -> Result<(), String> {
        self.note(format!("{action} of {object} by {author}"));
        if self.log.join("full").exists() { Err("the audit disk is full".to_owned()) } else { Ok(()) }
    }
}

/// A configuration with one file, `policies.d/here.toml`.
impl Editor for Process {
    fn configured(&self) -> Configured {
        Configured { generation: 7, ..Configured::default() }
    }

    fn policies(&self) -> ConfiguredPolicies {
        ConfiguredPolicies { generation: 7, ..ConfiguredPolicies::default() }
    }

    fn identities(&self) -> ConfiguredIdentities {
        ConfiguredIdentities::default()
    }

    fn secrets(&self) -> ConfiguredSecrets {
        ConfiguredSecrets::default()
    }

    fn files(&self, folder: Folder) -> Work<'_, Result<Vec<ConfigFile>, EditFault>> {
        Box::pin(async move { Ok(self.file(folder, "here".to_owned()).await.into_iter().collect()) })
    }

    fn file(&self, folder: Folder, name: String) -> Work<'_, Result<ConfigFile, EditFault>> {
        Box::pin(async move {
            match (folder, &*name) {
                (Folder::Policies, "here") => {
                    Ok(ConfigFile { name, digest: "d1".to_owned(), ..ConfigFile::default() })
                }
                _ => Err(EditFault::NotFound("there is no such file".to_owned())),
            }
        })
    }

    fn edit(&self, author: String, edit: Edit) -> Work<'_, Result<Edited, EditFault>> {
        self.note(format!("{edit:?} by {author}"));
        let file = format!(
            "{}/{}.toml",
            if edit.folder == Folder::Policies { "policies.d" } else { "connections.d" },
            edit.name
        );
        let rejected = Rejected { message: "bad".to_owned(), ..Rejected::default() };
        Box::pin(async move {
            if edit.text.as_deref() == Some("bad") {
                return Err(EditFault::Rejected { rejected, diff: "+bad".to_owned() });
            }
            let created = edit.expected == Expected::Absent;
            let (digest, dry_run) = (edit.text.as_ref().map(|_| "d2".to_owned()), edit.dry_run);
            Ok(Edited {
                name: edit.name,
                file,
                created,
                dry_run,
                digest,
                toml: edit.text,
                ..Edited::default()
            })
        })
    }

    fn connection(&self, connection: &Connection) -> Result<String, EditFault> {
        Ok(format!("# {}", connection.url))
    }

    fn try_out(&self, trial: &Trial) -> Result<Tried, EditFault> {
        Ok(Tried { route: trial.request.route.clone(), answer: "allow".to_owned(), ..Tried::default() })
    }

    fn replay(
        &self,
        _: &Candidate,
        _: &Archive,
        exchanges: &[archive::Exchange],
        goes_on: &dyn Fn() -> bool,
    ) -> Result<Replayed, ReplayFault> {
        self.progress.send("begun").unwrap();
        while goes_on() {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        self.progress.send("ended").unwrap();
        Ok(Replayed { exchanges: exchanges.len() as u64, ..Replayed::default() })
    }
}

/// A process in which everything is well.
fn well() -> Status {
    let text = str::to_owned;
    Status {
        version: text("1.2.3"),
        pid: 42,
        audit: AuditStatus {
            dir: text("/a"),
            sequence: 9,
            state: AuditState::Recording,
            ..AuditStatus::default()
        },
        shards: vec![ShardStatus { driver: text("io_uring"), connections: 3, ..ShardStatus::default() }],
        issuers: vec![IssuerStatus {
            name: text("corp"),
            issuer: text("https://idp.example.com"),
            ready: true,
            keys: 2,
            age_s: Some(1.5),
            last_error: None,
        }],
        secrets: vec![SecretStatus { name: text("anthropic"), age_s: Some(2.0), ..SecretStatus::default() }],
        upstreams: vec![UpstreamStatus {
            name: text("llm"),
            host: text("api.example.com"),
            addresses: vec![text("192.0.2.1")],
            ..UpstreamStatus::default()
        }],
        ..Status::default()
    }
}

/// A served admin side.
struct World {
    process: Arc<Process>,
    progress: mpsc::Receiver<&'static str>,
    directory: tempfile::TempDir,
    tcp: SocketAddr,
    metrics: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl World {
    fn new() -> World {
        World::with(Bounds::default(), None)
    }

    fn with(bounds: Bounds, tls: Option<Arc<rustls::ServerConfig>>) -> World {
        let (announce, progress) = mpsc::channel();
        let directory = tempfile::tempdir().unwrap();
        let process = Arc::new(Process {
            status: Mutex::new(well()),
            reload: Mutex::new(Ok(Reloaded { generation: 7 })),
            checkpoint: Mutex::new(Some("log\n9\nroot\n\n— log sig\n".into())),
            credentials: Mutex::default(),
            login: Mutex::default(),
            people: Mutex::default(),
            now: Mutex::new(Timestamp(1_000)),
            calls: Mutex::default(),
            progress: announce,
            gate: Semaphore::new(0),
            log: directory.path().join("audit"),
        });
        let listener = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (tcp, metrics) = (listener(), listener());
        let addresses = (tcp.local_addr().unwrap(), metrics.local_addr().unwrap());
        let parts = Parts {
            control: process.clone(),
            metrics: Arc::new(Metrics::default()),
            socket: Some(directory.path().join("admin.sock")),
            tcp: Some(tcp),
            tls,
            hosts: vec!["gw.example.com".to_owned()],
            metrics_listener: Some(metrics),
        };
        let server = Server::bounded(parts, bounds).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(server.run(async { stopped.await.unwrap_or(()) })).unwrap();
        });
        let (tcp, metrics) = addresses;
        World { process, progress, directory, tcp, metrics, stop: Some(stop), thread: Some(thread) }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("admin.sock")
    }

    fn socket(&self) -> UnixStream {
        let stream = UnixStream::connect(self.path()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream
    }

    /// One request over the unix socket; `more` holds further header lines and the body.
    fn local(&self, line: &str, more: &str) -> Answer {
        exchange(self.socket(), &request(line, "localhost", more))
    }

    /// One request over TCP, with the Host that belongs to it.
    fn network(&self, addr: SocketAddr, line: &str) -> Answer {
        exchange(connect(addr), &request(line, &addr.to_string(), "\r\n"))
    }

    fn progressed(&self) -> &'static str {
        self.progress.recv_timeout(DEADLINE).unwrap()
    }

    /// Ends it as SIGTERM would; `thread` is joined by the caller or on drop.
    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        drop(self.stop.take());
        let ended = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            ended.unwrap();
        }
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn request(line: &str, host: &str, more: &str) -> String {
    format!("{line} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}")
}

/// `Content-Length`, `Content-Type` and the body itself, as [`World::local`] takes them.
fn json(body: &str) -> String {
    format!("Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

struct Answer {
    status: u16,
    /// In lower case.
    head: String,
    body: String,
}

impl Answer {
    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {:?}", self.body))
    }

    /// Holds that this is a problem document, and gives its code.
    fn problem(&self) -> String {
        assert!(self.head.contains("content-type: application/problem+json\r\n"), "{}", self.head);
        let body = self.json();
        assert_eq!(body["status"], self.status, "{body}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
        body["code"].as_str().unwrap().to_owned()
    }
}

fn exchange(mut stream: impl Read + Write, request: &str) -> Answer {
    stream.write_all(request.as_bytes()).unwrap();
    answer(stream)
}

/// Reads one answer up to the end of the connection.
fn answer(stream: impl Read) -> Answer {
    let bytes = everything(stream);
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no head in {text:?}"));
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, head: head.to_ascii_lowercase() + "\r\n", body: body.to_owned() }
}

/// What comes until the other side closes. It may reset once it has answered a request that it did not read
/// to its end; a connection on which nothing happens fails the test.
fn everything(mut stream: impl Read) -> Vec<u8> {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut piece) {
            Ok(0) => return bytes,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("the connection stays open")
            }
            Err(_) => return bytes,
        }
    }
}
