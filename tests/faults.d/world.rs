//! A gateway with its upstream, its callers and its log, through many lives.

use super::{
    Run, Tally,
    callers::{Answer, Load, Upstream, Wanted},
    log::Log,
    support::{
        eventually,
        gateway::{Gateway, ringward},
    },
};
use std::{
    fs,
    io::{Read, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;

/// The routes whose commits differ; `refused` is the third one.
pub const BOTH: &[&str] = &["durable", "written"];

/// Where the log lies: on whatever is mounted at `disk`.
const AUDIT: &str = "disk/audit";

pub struct World {
    gateway: Option<Gateway>,
    pub upstream: Upstream,
    pub log: Log,
    /// Loads so far.
    tag: u64,
}

impl World {
    /// Starts the first life in `folder`, whose folder `disk` is there already. `audit` is more of that
    /// table.
    pub fn start(folder: TempDir, audit: &str) -> World {
        let upstream = Upstream::start();
        configure(folder.path(), &upstream, audit);
        let log = Log::new(&folder.path().join(AUDIT));
        let mut world = World { gateway: None, upstream, log, tag: 0 };
        world.begin(folder);
        world
    }

    /// A folder for a world, with `disk` in it.
    pub fn folder() -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("disk")).unwrap();
        folder
    }

    /// The next life, whose log nobody reads.
    pub fn begin(&mut self, folder: TempDir) {
        let command = command(folder.path());
        self.gateway = Some(Gateway::spawn(folder, command));
    }

    pub fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    /// Callers that ask on `routes` from now on.
    pub fn load(&mut self, routes: &'static [&'static str], callers: u64, body: usize) -> Load {
        self.tag += 1;
        let wanted = Wanted { routes, callers, body, tag: self.tag };
        Load::start(&self.gateway().address(), &wanted)
    }

    /// Kills the gateway. Its folder stays.
    pub fn kill(&mut self) -> TempDir {
        let Gateway { mut process, folder } = self.gateway.take().expect("it runs");
        process.signal("KILL");
        process.wait();
        folder
    }

    /// Ends the gateway in peace. Its folder stays.
    pub fn stop(&mut self) -> TempDir {
        let Gateway { mut process, folder } = self.gateway.take().expect("it runs");
        process.signal("TERM");
        assert_eq!(process.wait().code(), Some(0));
        folder
    }

    /// The next life, in the folder of the one before; what it has lost is said now and then.
    pub fn revive(&mut self, folder: TempDir, run: &mut Run, cycle: u64) {
        self.begin(folder);
        self.log.follow(false);
        let lost = self.log.lost();
        run.progress(cycle, format_args!("{} acknowledged, {lost} lost", self.log.acknowledged));
    }

    /// The same life goes on: every caller was served, or told that there is no record.
    pub fn went_on(&mut self, answers: &[Answer], run: &mut Run, cycle: u64) {
        assert!(answers.iter().all(|answer| [200, 503].contains(&answer.status)), "{:?}", answers.last());
        self.acknowledge(answers);
        self.log.follow(false);
        run.progress(cycle, format_args!("{} acknowledged", self.log.acknowledged));
    }

    /// A life that is killed after so long, whether it serves by then or not.
    pub fn short_life(&self, folder: &Path, time: Duration) {
        let mut command = command(folder);
        let null = || Stdio::null();
        let mut child: Child = command.stdin(null()).stdout(null()).stderr(null()).spawn().unwrap();
        std::thread::park_timeout(time);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What these answers, and what the upstream saw until now, acknowledge.
    pub fn acknowledge(&mut self, answers: &[Answer]) {
        let mut all = self.upstream.take();
        all.extend(answers.iter().filter(|answer| answer.status == 200).map(|answer| answer.target.clone()));
        self.log.expect(all);
    }

    /// `GET path` on the admin socket.
    pub fn admin(&self, path: &str) -> String {
        let mut stream = UnixStream::connect(self.gateway().folder.path().join("admin.sock")).unwrap();
        stream.set_read_timeout(Some(super::support::DEADLINE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        body.to_owned()
    }

    /// A member of the journal's status.
    pub fn audit_status(&self, name: &str) -> serde_json::Value {
        let status: serde_json::Value = serde_json::from_str(&self.admin("/api/v1/status")).unwrap();
        status["audit"][name].clone()
    }

    /// Records that wait in the journal's queues.
    pub fn queue_depth(&self) -> u64 {
        self.audit_status("queue_depth").as_u64().expect("a number")
    }

    /// The sum of all samples of a metric whose labels contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.admin("/metrics");
        let lines = text.lines().filter(|line| line.starts_with(name) && line.contains(label));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Waits until a load got so many more answers with success.
    pub fn until_served(&self, load: &Load, more: u64) {
        let from = load.served();
        eventually("answers", || (load.served() >= from + more).then_some(()));
    }

    /// Waits until a load was turned away so many more times.
    pub fn until_refused(&self, load: &Load, more: u64) {
        let from = load.refused();
        eventually("refusals", || (load.refused() >= from + more).then_some(()));
    }

    /// Ends the last life in peace and reads all of the log. Also says how many recoveries it records.
    pub fn end(mut self, cycles: u64) -> (Tally, u64) {
        let _folder = self.stop();
        let audit = self.log.audit.to_str().expect("a name in UTF-8").to_owned();
        let key = ringward(&["audit", "key", "--dir", &audit], &[]);
        assert!(key.status.success(), "{}", String::from_utf8_lossy(&key.stderr));
        let lost = self.log.end(&String::from_utf8_lossy(&key.stdout));
        let Log { acknowledged, found, recoveries, .. } = self.log;
        (Tally { cycles, acknowledged, found, lost }, recoveries)
    }
}

fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
    command.arg("run").current_dir(folder).arg("-c").arg("ringward.toml");
    command
}

fn configure(folder: &Path, upstream: &Upstream, audit: &str) {
    let route = |name: &str, policy: &str, commit: &str| {
        format!(
            "[[route]]\nname = \"{name}\"\nmatch = {{ listen = \"main\", path = \"/{name}/**\" }}\n\
             identity = []\nupstream = \"up\"\npolicies = [\"{policy}\"]\ncommit = \"{commit}\"\n"
        )
    };
    let routes = format!(
        "[upstreams.up]\nurl = \"http://{}\"\n\
         [[policy]]\nname = \"never\"\naction = \"block\"\nreason = \"Nobody may.\"\n{}{}{}",
        upstream.address,
        route("durable", "default", "durable"),
        route("written", "default", "written"),
        route("refused", "never", "durable"),
    );
    Gateway::prepare(folder, &routes);
    let file = folder.join("ringward.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("dir = \"audit\"", &format!("dir = \"{AUDIT}\"\n{audit}"))).unwrap();
}
