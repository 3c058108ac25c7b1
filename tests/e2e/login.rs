//! People who log in to the admin interface: at the demo's issuer and at a real one.

use super::support::{
    DEADLINE,
    browser::Browser,
    clients::Issuer,
    eventually,
    gateway::{Demo, Gateway, open_route},
    http::ask,
    upstream::Upstream,
};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};
use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
};

const PROMPT: &str = r#"{"model":"m","max_tokens":50000,"messages":[{"role":"user","content":"Hi"}]}"#;

/// Chooses a person on the sign-in page of the demo's issuer; gives the answer of the gateway.
fn sign_in(browser: &mut Browser, console: &str, person: &str) -> super::support::http::Response {
    let page = browser.follow("GET", &format!("{console}/auth/login?then=/api/v1/me"), None);
    assert!(page.text().contains("There are no passwords"), "{}", page.text());
    browser.submit(&page, &[("person", person)])
}

fn log_in(demo: &Demo, person: &str) -> Browser {
    let mut browser = Browser::new();
    let back = sign_in(&mut browser, demo.get("admin"), person);
    assert_eq!(back.status, 200, "{}", back.text());
    assert!(back.text().contains("url=/api/v1/me"), "{}", back.text());
    browser
}

/// Sends a request that is held.
fn hold(demo: &Demo, route: &str) -> u16 {
    let (method, path, body) = match route {
        "customers" => ("DELETE", "/customers/c-1001".to_owned(), ""),
        _ => ("POST", "/anthropic/v1/messages".to_owned(), PROMPT),
    };
    let bearer = demo.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    ask(demo.get("gateway"), method, &path, &headers, body).status
}

#[test]
fn people_of_the_demo_see_and_decide_what_is_theirs() {
    let demo = Demo::start();
    let console = demo.get("admin");
    assert_eq!(demo.get("ui"), format!("{console}/"));
    let (mut sam, mut kim, mut riley) = (log_in(&demo, "sam"), log_in(&demo, "kim"), log_in(&demo, "riley"));
    let me = sam.api(console, "GET", "/api/v1/me", None).json();
    assert_eq!((&me["principal"], &me["login"]), (&json!("user:sam"), &json!("oidc")), "{me}");
    let roles = kim.api(console, "GET", "/api/v1/me", None).json()["roles"].clone();
    assert_eq!(roles[1], json!({"role": "approver", "routes": ["customers", "customers-tls"]}), "{roles}");
    let cards = |browser: &mut Browser| -> Vec<Value> {
        let list = browser.api(console, "GET", "/api/v1/approvals?state=pending", None);
        assert_eq!(list.status, 200, "{}", list.text());
        list.json()["approvals"].as_array().unwrap().clone()
    };
    let decide = |browser: &mut Browser, card: &Value| {
        let path = format!("/api/v1/approvals/{}/decision", card["id"].as_str().unwrap());
        let decision = json!({"decision": "approve", "revision": card["revision"]});
        browser.api(console, "POST", &path, Some(&decision))
    };
    thread::scope(|scope| {
        let model = scope.spawn(|| hold(&demo, "anthropic"));
        let customers = scope.spawn(|| hold(&demo, "customers"));
        let both = eventually("two cards", || Some(cards(&mut sam)).filter(|cards| cards.len() == 2));
        let own = cards(&mut kim);
        assert!(own.len() == 1 && own[0]["route"] == "customers", "{own:?}");
        let other = both.iter().find(|card| card["route"] == "anthropic").unwrap();
        let path = format!("/api/v1/approvals/{}", other["id"].as_str().unwrap());
        assert_eq!(kim.api(console, "GET", &path, None).status, 404, "as if it were not there");
        assert_eq!(decide(&mut kim, other).status, 404);
        assert_eq!(riley.api(console, "GET", "/api/v1/approvals", None).status, 403);
        assert_eq!(decide(&mut riley, other).status, 403);
        let stop = |whom: &str, name: &str| json!({whom: name, "reason": "Looking."});
        let mut freeze = |whom, name| kim.api(console, "POST", "/api/v1/freezes", Some(&stop(whom, name)));
        assert_eq!(freeze("route", "anthropic").status, 403, "another's route");
        assert_eq!(freeze("subject", "agent-7").status, 403, "it uses other routes, too");
        let approved = decide(&mut kim, &own[0]);
        assert_eq!(approved.status, 200, "{}", approved.text());
        assert_eq!(approved.json()["approvals"][0]["by"], "user:kim");
        assert_ne!(customers.join().unwrap(), 403);
        assert_eq!(decide(&mut sam, other).status, 200);
        assert_eq!(model.join().unwrap(), 200);
    });
    let out = kim.api(console, "POST", "/auth/logout", None);
    assert_eq!(out.status, 200, "{}", out.text());
    let gone = kim.api(console, "GET", "/api/v1/me", None);
    assert_eq!((gone.status, &gone.json()["login"]), (401, &json!("/auth/login")));
    // Who was here and what they did is in the log.
    let admin = format!("unix:{}", demo.get("admin_socket"));
    let logged = || {
        let run = ["sessions", "list", "--json"];
        super::support::gateway::ringward(&run, &[("RINGWARD_ADMIN", &admin)]);
        let bytes = super::support::all_bytes(&demo.path("audit_dir"));
        let text = String::from_utf8_lossy(&bytes);
        ["user:kim", "logout", "user:riley"].iter().all(|word| text.contains(word)).then_some(())
    };
    eventually("records of it", logged);
}

#[test]
fn a_code_is_used_once_and_only_with_its_verifier() {
    let demo = Demo::start();
    let console = demo.get("admin");
    let mut browser = Browser::new();
    let page = browser.follow("GET", &format!("{console}/auth/login"), None);
    let back = browser.redirect_of(&page, &[("person", "sam")]);
    let first = browser.follow("GET", &back, None);
    assert_eq!(first.status, 200, "{}", first.text());
    let again = browser.follow("GET", &back, None);
    assert_eq!(again.status, 400, "{}", again.text());
    // The code of one login in the state of another: its verifier is not that of the code.
    let mut other = Browser::new();
    let page = other.follow("GET", &format!("{console}/auth/login"), None);
    let stolen = other.redirect_of(&page, &[("person", "alex")]);
    let code = stolen.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let page = browser.follow("GET", &format!("{console}/auth/login"), None);
    let own = browser.redirect_of(&page, &[("person", "riley")]);
    let own_code = own.split("code=").nth(1).unwrap().split('&').next().unwrap();
    let injected = browser.follow("GET", &own.replace(own_code, code), None);
    assert_eq!(injected.status, 403, "{}", injected.text());
    assert!(injected.text().contains("invalid_grant"), "{}", injected.text());
    assert!(!injected.head.to_lowercase().contains("ringward-session"), "{}", injected.head);
}

/// A gateway that people log in to at a real issuer, as this client.
fn at_issuer(issuer: &Issuer, client: &str, upstream: &Upstream) -> (Gateway, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("console.secret");
    // Characters that Basic has to encode (RFC 6749 section 2.3.1).
    fs::write(&file, "console-secret:+/\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let admin = format!(
        "roles = {{ viewer = \"group:staff\", approver = \"group:sre\" }}\n[admin.login]\nissuer = \"{}\"\n\
         {client}\nalgorithms = [\"RS256\"]\nscopes = [\"openid\", \"groups\"]\n",
        issuer.url
    );
    let secret = match client.contains("client_secret") {
        true => "[secrets.console]\nsource = { file = \"console.secret\" }\n",
        false => "",
    };
    let routes = open_route("up", upstream.address) + secret;
    let gateway = Gateway::start_with(folder, &routes, &admin, "");
    let console = format!("http://{}", gateway.find_address("admin").expect("an admin port"));
    (gateway, console)
}

/// Logs in at a real issuer; gives what the gateway says.
fn sign_in_really(browser: &mut Browser, console: &str) -> super::support::http::Response {
    // Its keys may not be there yet: then the callback fetches them.
    let sign_in = browser.follow("GET", &format!("{console}/auth/login?then=/x"), None);
    assert_eq!(sign_in.status, 200, "{}", sign_in.text());
    let consent = browser.submit(&sign_in, &[("login", "sam"), ("password", "x")]);
    match consent.text().contains("<form") {
        true => browser.submit(&consent, &[]),
        false => consent,
    }
}

#[test]
fn a_real_issuer_vouches_for_people() {
    let Some(issuer) = Issuer::start(0) else { return };
    let upstream = Upstream::answering("welcome");
    let confidential = "client_id = \"console-2\"\nclient_secret = \"${secret:console}\"";
    for client in ["client_id = \"console\"", confidential] {
        let (_gateway, console) = at_issuer(&issuer, client, &upstream);
        let mut browser = Browser::new();
        let back = sign_in_really(&mut browser, &console);
        assert!(back.status == 200 && back.text().contains("url=/x"), "{client}: {}", back.text());
        let me = browser.api(&console, "GET", "/api/v1/me", None).json();
        assert_eq!((&me["principal"], &me["groups"]), (&json!("user:sam"), &json!(["sre", "staff"])), "{me}");
        assert_eq!(browser.api(&console, "GET", "/api/v1/approvals", None).status, 200);
        assert_eq!(browser.api(&console, "POST", "/api/v1/drain", None).status, 403);
    }
    // A client whose password the gateway does not have.
    let (gateway, console) = at_issuer(&issuer, "client_id = \"console-2\"", &upstream);
    let refused = sign_in_really(&mut Browser::new(), &console);
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert!(refused.text().contains("invalid_client"), "{}", refused.text());
    assert!(!refused.text().contains("console-secret") && !gateway.log().contains("console-secret"));
}

/// `ringward login` as it waits for somebody.
struct Waiting {
    child: Child,
    lines: mpsc::Receiver<String>,
    said: String,
}

impl Waiting {
    fn start(home: &Path, arguments: &[&str]) -> Waiting {
        let mut command = at_home(home, arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn().unwrap();
        let stdout = child.stdout.take().expect("it was piped");
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).for_each(|line| drop(sender.send(line)));
        });
        Waiting { child, lines, said: String::new() }
    }

    /// The first line with this in it.
    fn line(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{part}: {}", self.said));
            self.said += &line;
            if line.contains(part) {
                return line.trim().to_owned();
            }
        }
    }

    fn code(&mut self) -> Option<i32> {
        eventually("the end of the login", || self.child.try_wait().unwrap()).code()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn at_home(home: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
    command.args(arguments).env("HOME", home).env("XDG_STATE_HOME", home).env_remove("RINGWARD_ADMIN");
    command.stdin(Stdio::null());
    command
}

fn run(home: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = at_home(home, arguments).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

#[test]
fn the_command_line_logs_in_with_a_browser_and_out_again() {
    let demo = Demo::start();
    let (url, home) = (demo.get("admin"), demo.home.path());
    let (code, said) = run(home, &["status", "--url", url]);
    assert!(code == Some(1) && said.contains(&format!("run `ringward login --url {url}`")), "{said}");
    let mut login = Waiting::start(home, &["login", "--url", url, "--no-browser"]);
    let page = login.line("/auth/cli?port=");
    let mut browser = Browser::new();
    let people = browser.follow("GET", &page, None);
    let back = browser.submit(&people, &[("person", "sam")]);
    let next = browser.refresh_of(&back);
    let asked = browser.follow("GET", &next, None);
    assert!(asked.text().contains("wants to act as Sam Okafor"), "{}", asked.text());
    let agreed = browser.submit(&asked, &[]);
    let next = browser.refresh_of(&agreed);
    assert!(next.starts_with("http://127.0.0.1:"), "{next}");
    assert_eq!(browser.follow("GET", &next.replace("state=", "state=x"), None).status, 404, "another state");
    let done = browser.follow("GET", &next, None);
    assert!(done.text().contains("You are logged in"), "{}", done.text());
    assert!(login.line("logged in to").contains("as Sam Okafor (user:sam)"));
    assert_eq!(login.code(), Some(0));
    let kept = home.join("ringward/logins.json");
    assert_eq!(fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
    for arguments in [&["status"][..], &["approvals", "list"], &["grants", "list"], &["freeze"]] {
        let (code, said) = run(home, &[arguments, &["--url", url]].concat());
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
    }
    let (code, said) = run(home, &["sessions", "list", "--url", url]);
    assert!(code == Some(1) && said.contains("auditor"), "{said}");
    let secret = fs::read_to_string(&kept)
        .unwrap()
        .split("rws_")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap()
        .to_owned();
    let (code, said) = run(home, &["logout", "--url", url, "--dry-run"]);
    assert!(code == Some(0) && said.contains("user:") && said.contains("nothing was done"), "{said}");
    let (code, said) = run(home, &["logout", "--url", url]);
    assert_eq!((code, said), (Some(0), format!("logged out of {url}\n")));
    let bearer = format!("Bearer rws_{secret}");
    let gone = browser.send("GET", &format!("{url}/api/v1/me"), &[("authorization", &bearer)], "");
    assert_eq!(gone.status, 401, "it has ended there, too");
    let (code, said) = run(home, &["logout", "--url", url]);
    assert!(code == Some(1) && said.contains("not logged in"), "{said}");
    let (code, said) = run(home, &["login", "--url", "http://127.0.0.1:1", "--no-browser"]);
    assert!(code == Some(5) && said.contains("no gateway answers"), "{said}");
    let (code, said) = run(home, &["login", "--admin", "unix:/x"]);
    assert!(code == Some(2) && said.contains("--url https://"), "{said}");
    let (code, said) = run(home, &["login", "--url", url, "--device"]);
    assert!(code == Some(1) && said.contains("device_authorization_endpoint"), "{said}");
    // What opens something is in no log of the gateway's.
    let log = fs::read_to_string(demo.path("log")).unwrap();
    assert!(!log.contains(&secret) && !log.contains("rws_"));
}

#[test]
fn the_command_line_logs_in_on_another_device() {
    let Some(issuer) = Issuer::start(0) else { return };
    let upstream = Upstream::answering("welcome");
    let admin = format!(
        "roles = {{ viewer = \"group:staff\" }}\n[admin.login]\nissuer = \"{}\"\nclient_id = \"console\"\n\
         scopes = [\"openid\", \"groups\"]\n",
        issuer.url
    );
    let gateway =
        Gateway::start_with(tempfile::tempdir().unwrap(), &open_route("up", upstream.address), &admin, "");
    let url = format!("http://{}", gateway.find_address("admin").expect("an admin port"));
    let home = tempfile::tempdir().unwrap();
    let mut login = Waiting::start(home.path(), &["login", "--url", &url, "--device"]);
    let line = login.line("and enter ");
    let (page, code) = line.strip_prefix("On any device open ").unwrap().split_once(" and enter ").unwrap();
    let mut browser = Browser::new();
    let mut shown = browser.follow("GET", page, None);
    shown = browser.submit(&shown, &[("user_code", code)]);
    // Confirmation, login, consent: as many pages as this issuer likes.
    for _ in 0..4 {
        if shown.text().contains("<form") {
            let entered: &[(&str, &str)] = match shown.text().contains("name=\"password\"") {
                true => &[("login", "riley"), ("password", "x")],
                false => &[],
            };
            shown = browser.submit(&shown, entered);
        }
    }
    assert!(login.line("logged in to").contains("(user:riley)"), "{}", shown.text());
    assert_eq!(login.code(), Some(0));
    let (code, said) = run(home.path(), &["status", "--url", &url]);
    assert_eq!(code, Some(0), "{said}");
}

/// A gateway that people log in to over TLS, at the demo's issuer, and that holds everything for two of them.
struct OverTls {
    gateway: Gateway,
    console: String,
    ca: Vec<u8>,
    /// Of a program that decides in the name of Sam.
    token: String,
    _upstream: Upstream,
}

fn over_tls(demo: &Demo) -> OverTls {
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate =
        CertificateParams::new(vec!["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
    let ca = certificate.pem();
    fs::write(folder.path().join("admin.pem"), &ca).unwrap();
    let file = folder.path().join("admin-key.pem");
    fs::write(&file, key.serialize_pem()).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let token_file = folder.path().join("ada");
    let owner = "sam.okafor@example.com";
    let credential = ["audit", "credential", "ada", "--role", "approver", "--owner", owner, "--token-file"];
    let (_, table) = run(folder.path(), &[&credential[..], &[token_file.to_str().unwrap()]].concat());
    let upstream = Upstream::answering("welcome");
    let (issuer, audience) = (demo.get("issuer"), demo.get("audience"));
    let admin = format!(
        "roles = {{ approver = [\"group:sre\", \"group:payments\"] }}\n[admin.login]\nissuer = \"{issuer}\"\n\
         client_id = \"ringward-console\"\nclaims = {{ owner = \"owner\" }}\nscopes = \"openid\"\n"
    );
    let routes = format!(
        "[admin.tls]\ncert = {{ file = \"admin.pem\" }}\nkey = {{ file = \"admin-key.pem\" }}\n{table}\n\
         [[identity]]\nname = \"people\"\nissuer = \"{issuer}\"\naudience = \"{audience}\"\n\
         claims = {{ owner = \"owner\" }}\n\
         [upstreams.up]\nurl = \"http://{}\"\n[[route]]\nname = \"up\"\n\
         match = {{ listen = \"main\", path = \"/**\" }}\n\
         identity = [\"people\"]\nupstream = \"up\"\npolicies = [\"ask\"]\n[[policy]]\nname = \"ask\"\n\
         action = \"approve\"\nreason = \"Two must look.\"\n\
         approval = {{ by = [\"group:sre\", \"group:payments\", \"token:ada\"], min = 2 }}\n",
        upstream.address
    );
    let token = fs::read_to_string(&token_file).unwrap().trim().to_owned();
    let gateway = Gateway::start_with(folder, &routes, &admin, "");
    let port = gateway.find_address("admin").unwrap().rsplit_once(':').unwrap().1.to_owned();
    let console = format!("https://localhost:{port}");
    OverTls { gateway, console, ca: ca.into_bytes(), token, _upstream: upstream }
}

#[test]
fn two_people_approve_over_tls_and_nobody_twice_or_for_themselves() {
    let demo = Demo::start();
    let OverTls { gateway, console, ca, token, .. } = &over_tls(&demo);
    let person = |name: &str| {
        let mut browser = Browser::trusting(ca.clone());
        let back = sign_in(&mut browser, console, name);
        assert_eq!(back.status, 200, "{}", back.text());
        assert!(back.head.contains("set-cookie: __Host-ringward-session="), "{}", back.head);
        browser
    };
    let (mut sam, mut grace, mut kim) = (person("sam"), person("grace"), person("kim"));
    thread::scope(|scope| {
        let bearer = demo.bearer();
        let address = gateway.address();
        let asked = scope.spawn(move || {
            // Its keys may not be there yet.
            eventually("an answer", || {
                let reply = ask(&address, "GET", "/x", &[("authorization", &bearer)], "");
                (reply.status != 503).then_some(reply.status)
            })
        });
        let card = eventually("a card", || {
            let list = sam.api(console, "GET", "/api/v1/approvals?state=pending", None).json();
            list["approvals"].as_array().unwrap().first().cloned()
        });
        let path = format!("/api/v1/approvals/{}/decision", card["id"].as_str().unwrap());
        let yes = json!({"decision": "approve", "revision": card["revision"]});
        let own = grace.api(console, "POST", &path, Some(&yes));
        assert_eq!(own.status, 403, "{}", own.text());
        assert!(own.text().contains("user:grace is the owner of the caller"), "{}", own.text());
        let bearer = format!("Bearer {token}");
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let mut program = Browser::trusting(ca.clone());
        let first = program.send("POST", &format!("{console}{path}"), &headers, &yes.to_string());
        assert_eq!((first.status, &first.json()["state"]), (200, &json!("pending")), "{}", first.text());
        let same = sam.api(console, "POST", &path, Some(&yes));
        assert_eq!(same.status, 409, "{}", same.text());
        assert!(same.text().contains("are the same person"), "{}", same.text());
        let second = kim.api(console, "POST", &path, Some(&yes));
        assert_eq!(second.status, 200, "{}", second.text());
        assert_eq!(asked.join().unwrap(), 200);
    });
}
