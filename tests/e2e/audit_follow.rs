//! The log followed by another process: over the TLS port of the operators, with the token of an auditor.

use super::support::{
    DEADLINE, all_bytes, eventually,
    gateway::{Follower, Gateway, open_route, ringward},
    http::Client,
    relay::Relay,
    upstream::Upstream,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::Value;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Instant,
};
use tempfile::TempDir;

/// Keys of age, made for these tests.
const RECIPIENT: &str = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// A gateway with an admin port over TLS, behind a relay whose address stays when the gateway is started
/// anew, and the folder of whoever follows it.
struct Scene {
    relay: Relay,
    upstream: Upstream,
    gateway: Option<Gateway>,
    /// What is kept of a gateway that was stopped.
    folder: Option<TempDir>,
    /// The auditor's: token, authority, copy.
    auditor: TempDir,
    /// More keys of `[audit]`.
    audit: String,
}

/// The end of the configuration.
fn tables(upstream: &Upstream, tokens: &str) -> String {
    let tls = "[admin.tls]\ncert = { file = \"admin.pem\" }\nkey = { file = \"admin-key.pem\" }\n";
    format!("{tls}{tokens}{}", open_route("up", upstream.address))
}

impl Scene {
    fn start() -> Scene {
        Scene::start_with("")
    }

    /// With more keys of `[audit]`.
    fn start_with(audit: &str) -> Scene {
        let (folder, auditor) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key);
        let pem = certificate.unwrap().pem();
        fs::write(folder.path().join("admin.pem"), &pem).unwrap();
        fs::write(auditor.path().join("ca.pem"), &pem).unwrap();
        let file = folder.path().join("admin-key.pem");
        fs::write(&file, key.serialize_pem()).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        let mut tables = String::new();
        for (name, role) in [("berlin", "auditor"), ("wall", "viewer")] {
            let token = auditor.path().join(name);
            let made = ["audit", "credential", name, "--role", role, "--token-file", path(&token)];
            tables += &succeed(ringward(&made, &[]));
        }
        fs::write(folder.path().join("tokens.toml"), tables).unwrap();
        let (relay, upstream) = (Relay::start(), Upstream::answering("followed"));
        let audit = audit.to_owned();
        let mut scene = Scene { relay, upstream, gateway: None, folder: Some(folder), auditor, audit };
        scene.resume();
        scene
    }

    /// Starts the gateway, or starts it again.
    fn resume(&mut self) {
        let folder = self.folder.take().expect("it was stopped");
        let tokens = fs::read_to_string(folder.path().join("tokens.toml")).unwrap();
        let routes = tables(&self.upstream, &tokens);
        // The relay is dialled by another port than the gateway's own.
        let hosts = format!("hosts = [\"localhost:{}\"]\n", self.relay.address.port());
        let gateway = Gateway::start_with(folder, &routes, &hosts, &self.audit);
        let address = eventually("the admin port", || gateway.find_address("admin"));
        self.relay.lead_to(Some(address));
        self.gateway = Some(gateway);
    }

    /// Stops the gateway as an operator does.
    fn stop(&mut self) -> &Path {
        self.relay.lead_to(None);
        let mut gateway = self.gateway.take().expect("it runs");
        gateway.process.signal("TERM");
        assert_eq!(gateway.process.wait().code(), Some(0), "{}", gateway.log());
        let Gateway { folder, .. } = gateway;
        self.folder.insert(folder).path()
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    /// Requests with bodies of 64 KiB: sixteen of them fill a segment.
    fn requests(&self, count: usize) {
        let mut client = Client::connect(&self.gateway().address());
        for number in 0..count {
            // Not to be packed away: a segment that is pulled should be as large as it was.
            let body: String = (0..4096)
                .map(|at| format!("{:016x}", (at + number as u64 * 4096).wrapping_mul(0x9e37_79b9_7f4a_7c15)))
                .collect();
            assert_eq!(client.ask("POST", &format!("/{number}"), &[], &body).status, 200);
        }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.relay.address.port())
    }

    fn copy(&self) -> PathBuf {
        self.auditor.path().join("copy")
    }

    fn arguments(&self, more: &[&str]) -> Vec<String> {
        let file = |name: &str| self.auditor.path().join(name).display().to_string();
        let mut all = ["audit", "follow"].map(str::to_owned).to_vec();
        all.extend([self.url(), "--into".into(), self.copy().display().to_string()]);
        all.extend(["--ca".into(), file("ca.pem"), "--token-file".into(), file("berlin"), "--json".into()]);
        all.extend(more.iter().map(|one| (*one).to_owned()));
        all
    }

    /// Follows until everything that is sealed is here.
    fn once(&self, more: &[&str]) -> Output {
        let arguments = self.arguments(&[&["--once"], more].concat());
        ringward(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[])
    }

    fn follow(&self) -> Follower {
        Follower::start(&self.arguments(&["-v"]))
    }

    /// Number of the segment that the gateway writes to.
    fn active(&self) -> u64 {
        // By its name: one that is just being packed is there twice.
        number(segments(&self.gateway().folder.path().join("audit")).last().unwrap())
    }

    /// The newest head, as the socket shows it.
    fn head(&self) -> Option<u64> {
        let output = self.gateway().command(&["audit", "head"]);
        output.status.success().then(|| text(&output).lines().nth(1).unwrap().parse().unwrap())
    }

    fn curl(&self, target: &str, token: Option<&str>) -> Option<(u32, String)> {
        let url = format!("{}{target}", self.url());
        let mut command = Command::new("curl");
        command.args(["-sS", "-w", "\n%{http_code}", "--cacert", path(&self.auditor.path().join("ca.pem"))]);
        if let Some(name) = token {
            let token = fs::read_to_string(self.auditor.path().join(name)).unwrap();
            command.args(["-H", &format!("Authorization: Bearer {}", token.trim())]);
        }
        let output = command.arg(&url).output().ok()?;
        let said = text(&output);
        let (body, status) = said.rsplit_once('\n').unwrap_or_else(|| panic!("{output:?}"));
        Some((status.parse().unwrap(), body.to_owned()))
    }
}

fn path(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{output:?}");
    text(&output)
}

/// The segment files of a folder, in order.
fn segments(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.contains(".segment") && !name.starts_with('.')
    };
    let mut files: Vec<PathBuf> = entries.filter(is_segment).collect();
    files.sort();
    files
}

fn number(segment: &Path) -> u64 {
    segment.file_name().unwrap().to_string_lossy()[..12].parse().unwrap()
}

fn copied(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status();
    assert!(done.unwrap().success());
}

fn event(line: &Value, name: &str) -> bool {
    line["event"] == name
}

fn evidence(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("evidence-")).collect()
}

/// Verifies the copy as anybody would.
fn verify(copy: &Path, key: &str) -> Value {
    let head = copy.join("head");
    let all = ["audit", "verify", path(copy), "--key", key, "--checkpoint", path(&head), "--json"];
    serde_json::from_str(&succeed(ringward(&all, &[]))).unwrap()
}

#[test]
fn a_copy_is_kept_elsewhere_and_verifies() {
    let scene = Scene::start();
    scene.requests(40);
    let dir = scene.gateway().folder.path().join("audit");
    let key = succeed(ringward(&["audit", "key", "--dir", path(&dir)], &[]));
    let key = key.trim();
    let mut follower = scene.follow();
    let first = follower.event("a key", |line| event(line, "key"));
    assert_eq!((&first["key"], &first["first_contact"]), (&key.into(), &true.into()));
    let sealed = scene.active() - 1;
    assert!(sealed >= 2);
    follower.event("the sealed segments", |line| event(line, "segment") && line["segment"] == sealed);
    scene.requests(20);
    let sealed = scene.active() - 1;
    follower.event("one more", |line| event(line, "segment") && line["segment"] == sealed);
    let covered = scene.head().unwrap();
    follower.event("the head", |line| event(line, "head") && line["records"].as_u64() >= Some(covered));
    assert_eq!(follower.stop(), Some(0));

    let copy = scene.copy();
    let report = verify(&copy, key);
    // Another one may have been sealed meanwhile: what is taken is recorded, too.
    assert!(report["segments"].as_u64() >= Some(sealed), "{report}");
    assert_eq!(report["key_trusted"], true, "{report}");
    assert!(report["source_signed_through"].as_u64() >= Some(covered), "{report}");
    let listed = succeed(ringward(&["sessions", "list", "--dir", path(&copy), "--json"], &[]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed[1]["requests"], 40, "{listed}");
    // The pinned key is that of the log, and another one is not.
    assert!(scene.once(&["--key", key]).status.success());
    let other = Scene::start();
    let other_dir = other.gateway().folder.path().join("audit");
    let foreign = succeed(ringward(&["audit", "key", "--dir", path(&other_dir)], &[]));
    assert_eq!(scene.once(&["--key", foreign.trim()]).status.code(), Some(6));

    // Who took the segments is in the log, once each; who looks at heads is not.
    let dump = all_bytes(&dir);
    let reads = |number: u64| {
        let what = format!("segment {number}");
        dump.windows(what.len()).filter(|part| *part == what.as_bytes()).count()
    };
    let pulled: Vec<usize> = (1..=sealed).map(reads).collect();
    assert!(pulled.iter().all(|count| *count == 1), "{pulled:?}");
}

#[test]
fn a_follower_does_not_make_the_log_grow_by_itself() {
    let scene = Scene::start();
    scene.requests(20);
    let mut follower = scene.follow();
    let sealed = scene.active() - 1;
    follower.event("the segments", |line| event(line, "segment") && line["segment"] == sealed);
    let status = || -> u64 {
        let output = scene.gateway().command(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap();
        status["audit"]["sequence"].as_u64().unwrap()
    };
    // A head covers everything but the record of itself, and the follower has it.
    let quiet = eventually("silence", || {
        let (records, head) = (status(), scene.head()?);
        (records == head + 1).then_some(head)
    });
    follower.event("the last head", |line| event(line, "head") && line["records"] == quiet);
    assert!(scene.once(&[]).status.code() == Some(1), "the folder is in use");
    let other = scene.auditor.path().join("other");
    let mut arguments = scene.arguments(&["--once"]);
    arguments[4] = other.display().to_string();
    let done = ringward(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert!(done.status.success(), "{done:?}");
    assert_eq!(status(), quiet + 1, "segments that this credential has taken before are not recorded again");
}

#[test]
fn each_credential_opens_what_its_role_grants() {
    let scene = Scene::start();
    scene.requests(20);
    let sealed = scene.active() - 1;
    eventually("a head", || scene.head());
    let Some(_) = scene.curl("/livez", None) else { return eprintln!("skipped: no curl") };
    fs::write(scene.auditor.path().join("wrong"), "rwa_guessed\n").unwrap();
    for (target, none, viewer, auditor) in [
        ("/livez", 200, 200, 200),
        ("/api/v1/status", 401, 200, 403),
        ("/api/v1/audit/head", 401, 403, 200),
        ("/api/v1/audit/keys", 401, 403, 200),
        ("/api/v1/audit/consistency?from=1", 401, 403, 200),
        ("/api/v1/audit/prove?record=1", 401, 403, 200),
        ("/api/v1/audit/segments", 401, 403, 200),
        ("/api/v1/sessions", 401, 403, 200),
        ("/api/v1/approvals", 401, 403, 403),
        ("/nothing", 404, 404, 404),
    ] {
        let tokens = [None, Some("wall"), Some("berlin")];
        let found = tokens.map(|token| scene.curl(target, token).unwrap().0);
        assert_eq!(found, [none, viewer, auditor], "{target}");
        if none == 401 {
            assert_eq!(scene.curl(target, Some("wrong")).unwrap().0, 401, "{target}");
        }
    }
    let list: Value =
        serde_json::from_str(&scene.curl("/api/v1/audit/segments", Some("berlin")).unwrap().1).unwrap();
    assert_eq!(list["segments"].as_array().unwrap().len() as u64, sealed, "{list}");
    // The follower says what is wrong with its token.
    for (token, said) in [("wall", "role"), ("wrong", "opens nothing")] {
        let mut arguments = scene.arguments(&["--once"]);
        let at = arguments.iter().position(|one| one == "--token-file").unwrap() + 1;
        arguments[at] = scene.auditor.path().join(token).display().to_string();
        let output = ringward(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    }
    // A token that was taken away opens nothing after a reload.
    let config = scene.gateway().folder.path().join("ringward.toml");
    let text = fs::read_to_string(&config).unwrap();
    let start = text.find("[[admin.token]]\nname = \"berlin\"").unwrap();
    let end = start + text[start..].find("[[admin.token]]\nname = \"wall\"").unwrap();
    fs::write(&config, [&text[..start], &text[end..]].concat()).unwrap();
    succeed(scene.gateway().command(&["reload"]));
    assert_eq!(scene.curl("/api/v1/audit/head", Some("berlin")).unwrap().0, 401);
}

#[test]
fn an_admin_port_in_clear_text_off_loopback_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let upstream = Upstream::answering("never");
    Gateway::prepare(folder.path(), &open_route("up", upstream.address));
    let config = folder.path().join("ringward.toml");
    let text = fs::read_to_string(&config).unwrap();
    let check = |changed: String, said: &str| {
        fs::write(&config, changed).unwrap();
        let output = ringward(&["run", "-c", path(&config)], &[]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(said), "{output:?}");
    };
    let open = text.replacen("addr = \"127.0.0.1:0\"\nmetrics", "addr = \"0.0.0.0:0\"\nmetrics", 1);
    check(open, "is reached over the network in clear text");
    let token = succeed(ringward(&["audit", "credential", "berlin"], &[]));
    check(text + &token, "tokens are taken over TLS only");
}

/// Rolls the log back to what it was at some point, with everything that signs it.
#[test]
fn a_log_that_was_rolled_back_is_reported() {
    let mut scene = Scene::start();
    scene.requests(3);
    let aside = tempfile::tempdir().unwrap();
    copied(&scene.stop().join("audit"), aside.path());
    scene.resume();
    scene.requests(30);
    let covered = eventually("a head", || scene.head());
    let mut follower = scene.follow();
    follower.event("the head", |line| event(line, "head") && line["records"].as_u64() >= Some(covered));

    let folder = scene.stop().to_owned();
    follower.event("an outage", |line| event(line, "unreachable"));
    fs::remove_dir_all(folder.join("audit")).unwrap();
    copied(&aside.path().join("audit"), &folder);
    scene.resume();
    let signed = eventually("the next head", || scene.head().map(|_| Instant::now()));
    let alarm = follower.event("an alarm", |line| event(line, "alarm"));
    eprintln!("a rollback was reported {:?} after the socket showed the next head", signed.elapsed());
    assert_eq!((&alarm["kind"], &alarm["exit"]), (&"rollback".into(), &6.into()), "{alarm}");
    assert_eq!(follower.wait(), Some(6));
    let [kept] = &*evidence(&scene.copy()) else { panic!("{:?}", evidence(&scene.copy())) };
    let size = |name: &str| -> u64 {
        let note = fs::read_to_string(kept.join(name)).unwrap();
        note.lines().nth(1).unwrap().parse().unwrap()
    };
    assert!(size("seen") < size("own-head"));
    assert!(fs::read_to_string(kept.join("report")).unwrap().contains("was rolled back"));
    // It is still so for whoever starts the follower again, and the copy still verifies.
    assert_eq!(scene.once(&[]).status.code(), Some(6));
    assert!(ringward(&["audit", "verify", path(&scene.copy())], &[]).status.success());
}

/// The log is rolled back, and goes on until it is longer than before: size alone says nothing then.
#[test]
fn a_log_that_was_forked_is_reported() {
    let mut scene = Scene::start();
    scene.requests(3);
    let aside = tempfile::tempdir().unwrap();
    copied(&scene.stop().join("audit"), aside.path());
    scene.resume();
    scene.requests(5);
    let covered = eventually("a head", || scene.head());
    let done = scene.once(&[]);
    assert!(done.status.success(), "{done:?}");

    let folder = scene.stop().to_owned();
    fs::remove_dir_all(folder.join("audit")).unwrap();
    copied(&aside.path().join("audit"), &folder);
    scene.resume();
    scene.requests(30);
    eventually("a longer head", || scene.head().filter(|size| *size > covered));
    let begun = Instant::now();
    let found = scene.once(&[]);
    eprintln!("a fork was reported {:?} after the follower was started", begun.elapsed());
    assert_eq!(found.status.code(), Some(6), "{found:?}");
    let said = text(&found);
    let alarm: Value = said.lines().map(|line| serde_json::from_str(line).unwrap()).next_back().unwrap();
    assert_eq!((&alarm["event"], &alarm["kind"]), (&"alarm".into(), &"fork".into()), "{said}");
    assert!(DEADLINE > begun.elapsed());
}

#[test]
fn a_flipped_bit_in_a_served_segment_is_found() {
    let scene = Scene::start();
    scene.requests(40);
    assert!(scene.active() > 2);
    let dir = scene.gateway().folder.path().join("audit");
    let is_packed = |file: &PathBuf| file.extension().is_some_and(|suffix| suffix == "zst");
    let packed = eventually("a packed segment", || segments(&dir).into_iter().find(is_packed));
    let mut bytes = fs::read(&packed).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(&packed, bytes).unwrap();
    eventually("a head", || scene.head());
    let found = scene.once(&[]);
    assert_eq!(found.status.code(), Some(6), "{found:?}");
    let said = text(&found);
    let alarm: Value = said.lines().map(|line| serde_json::from_str(line).unwrap()).next_back().unwrap();
    assert_eq!((&alarm["event"], &alarm["kind"]), (&"alarm".into(), &"segment".into()), "{said}");
    let [kept] = &*evidence(&scene.copy()) else { panic!("{:?}", evidence(&scene.copy())) };
    assert!(kept.join(packed.file_name().unwrap()).exists(), "{said}");
    assert!(!scene.copy().join(packed.file_name().unwrap()).exists());
}

#[test]
fn a_follower_that_was_killed_goes_on_where_it_was() {
    let scene = Scene::start();
    scene.requests(40);
    let sealed = scene.active() - 1;
    eventually("a head", || scene.head());
    let is_packed = |file: &PathBuf| file.extension().is_some_and(|suffix| suffix == "zst");
    let dir = scene.gateway().folder.path().join("audit");
    // Otherwise the file may change between the two downloads, and then nothing of it is resumed.
    eventually("all packed", || {
        (segments(&dir).iter().filter(|file| is_packed(file)).count() as u64 == sealed).then_some(())
    });
    scene.relay.stall_after(Some(300_000));
    let mut follower = scene.follow();
    let part = || {
        let entries = fs::read_dir(scene.copy()).ok()?.map(|entry| entry.unwrap().path());
        entries.into_iter().find(|path| path.extension().is_some_and(|end| end == "part"))
    };
    let begun = eventually("half a segment", || {
        part().filter(|path| fs::metadata(path).is_ok_and(|facts| facts.len() > 100_000))
    });
    follower.kill();
    assert!(begun.exists());
    scene.relay.stall_after(None);
    let done = scene.once(&["-v"]);
    assert!(done.status.success(), "{done:?}");
    assert!(text(&done).contains("\"event\":\"resumed\""), "{done:?}");
    assert!(segments(&scene.copy()).len() as u64 >= sealed);
    assert!(part().is_none());
    for file in segments(&scene.copy()) {
        let own = dir.join(file.file_name().unwrap());
        assert!(fs::read(&own).unwrap() == fs::read(&file).unwrap(), "{}", file.display());
    }
}

/// A process that is killed may have shown a head that it never wrote down.
#[test]
fn a_gateway_that_was_killed_is_no_rollback() {
    let mut scene = Scene::start();
    scene.requests(3);
    let mut follower = scene.follow();
    follower.event("a head", |line| event(line, "head"));
    for _ in 0..3 {
        scene.requests(2);
        let covered = eventually("a head", || scene.head());
        follower.event("that head", |line| event(line, "head") && line["records"].as_u64() >= Some(covered));
        scene.relay.lead_to(None);
        let mut gateway = scene.gateway.take().unwrap();
        gateway.process.signal("KILL");
        gateway.process.wait();
        let Gateway { folder, .. } = gateway;
        scene.folder = Some(folder);
        scene.resume();
        let further = eventually("a further head", || scene.head().filter(|size| *size > covered));
        follower.event("it", |line| event(line, "head") && line["records"].as_u64() >= Some(further));
    }
    assert_eq!(follower.stop(), Some(0));
}

#[test]
fn a_key_that_the_old_one_signed_is_followed() {
    let scene = Scene::start();
    scene.requests(3);
    let mut follower = scene.follow();
    follower.event("a head", |line| event(line, "head"));
    let second = succeed(scene.gateway().command(&["audit", "rotate-key"]));
    scene.requests(3);
    let learned = follower.event("the new key", |line| event(line, "key") && line["first_contact"] == false);
    assert_eq!(learned["key"], second.trim());
    let covered = eventually("a head", || scene.head());
    follower.event("the head", |line| event(line, "head") && line["records"].as_u64() >= Some(covered));
    assert_eq!(follower.stop(), Some(0));
    assert!(scene.once(&["--key", second.trim()]).status.success());
}

/// The gateway cannot prove then what it cannot read any more; who has the identity can.
#[test]
fn an_encrypted_log_is_followed_with_and_without_an_identity() {
    let recipients = format!("recipients = [\"{RECIPIENT}\"]\n");
    let scene = Scene::start_with(&recipients);
    let identity = scene.auditor.path().join("identity");
    fs::write(&identity, format!("{IDENTITY}\n")).unwrap();
    let mut arguments = scene.arguments(&["-v", "--identity", path(&identity)]);
    arguments[4] = scene.auditor.path().join("opened").display().to_string();
    let mut reader = Follower::start(&arguments);
    let mut blind = scene.follow();
    for follower in [&mut reader, &mut blind] {
        follower.event("a head", |line| event(line, "head"));
    }
    for _ in 0..3 {
        scene.requests(20);
        let covered = eventually("a head", || scene.head());
        let sealed = scene.active() - 1;
        for (follower, is_verified) in [(&mut reader, true), (&mut blind, false)] {
            let mut state = (false, false);
            follower.event("head and segment", |line| {
                state.0 |= event(line, "head") && line["records"].as_u64() >= Some(covered);
                let is_last = event(line, "segment") && line["segment"] == sealed;
                assert!(!is_last || line["verified"] == is_verified, "{line}");
                state.1 |= is_last;
                state.0 && state.1
            });
        }
    }
    assert_eq!((reader.stop(), blind.stop()), (Some(0), Some(0)));
    let opened = scene.auditor.path().join("opened");
    let all = ["audit", "verify", path(&opened), "--identity", path(&identity), "--json"];
    let report: Value = serde_json::from_str(&succeed(ringward(&all, &[]))).unwrap();
    assert_eq!(report["segments"], segments(&opened).len(), "{report}");
    assert_eq!(segments(&scene.copy()).len(), segments(&opened).len());
    assert!(segments(&scene.copy()).iter().all(|file| file.extension().is_some_and(|end| end == "age")));
}

/// What the source removes is kept here, and what it removed before it was taken is said.
#[test]
fn a_beginning_that_was_removed_is_no_rollback() {
    let mut scene = Scene::start();
    scene.requests(20);
    assert!(scene.once(&[]).status.success());
    let kept = number(segments(&scene.copy()).last().unwrap());
    scene.stop();
    scene.audit = "max = \"2MiB\"\n".to_owned();
    scene.resume();
    scene.requests(100);
    let dir = scene.gateway().folder.path().join("audit");
    eventually("a removal", || (number(&segments(&dir)[0]) > kept + 1).then_some(()));
    let done = scene.once(&[]);
    assert!(done.status.success(), "{done:?}");
    assert!(text(&done).contains("\"event\":\"removed\""), "{done:?}");
    assert!(
        scene.copy().join("000000000001.segment.zst").exists()
            || scene.copy().join("000000000001.segment").exists()
    );
    // A copy that begins later is whole as far as it goes.
    let later = scene.auditor.path().join("later");
    let mut arguments = scene.arguments(&["--once"]);
    arguments[4] = later.display().to_string();
    let done = ringward(&arguments.iter().map(String::as_str).collect::<Vec<_>>(), &[]);
    assert!(done.status.success(), "{done:?}");
    assert!(ringward(&["audit", "verify", path(&later)], &[]).status.success());
}
