//! People who log in with a browser; the issuer is what the tests say it is.

use super::{super::Role, *};
use crate::{admin::RoleRule, approval::Reach};
use std::collections::BTreeMap;

const ISSUER: &str = "https://idp.example.com";
const MINUTE: u64 = 60_000_000;

fn rules() -> LoginRules {
    let rule = |role, who: &str, reach| RoleRule { role, who: who.into(), reach };
    LoginRules {
        issuer: ISSUER.into(),
        client_id: "console".into(),
        scope: "openid groups".into(),
        url: None,
        idle: Duration::from_secs(600),
        lifetime: Duration::from_secs(3_600),
        roles: vec![
            rule(Role::Viewer, "group:staff", Reach::All),
            rule(Role::Approver, "group:sre", Reach::All),
            rule(Role::Approver, "group:payments", Reach::Routes(vec!["payments".into()])),
            rule(Role::Admin, "user:alex", Reach::All),
        ],
    }
}

fn person(subject: &str, groups: &[&str]) -> Person {
    Person {
        issuer: ISSUER.into(),
        client_id: "console".into(),
        subject: subject.into(),
        name: format!("{subject} <b>").into(),
        owner: Some(format!("{subject}@example.com").into()),
        groups: groups.iter().map(|group| (*group).into()).collect(),
    }
}

/// A world in which these people may log in, over clear text on loopback.
fn world(people: &[Person]) -> World {
    let world = World::new();
    *world.process.login.lock().unwrap() = Some(rules());
    let codes = people.iter().map(|person| (format!("code-{}", person.subject), person.clone()));
    *world.process.people.lock().unwrap() = codes.collect();
    world
}

/// A browser with its cookies.
struct Browser<'a> {
    world: &'a World,
    cookies: BTreeMap<String, String>,
}

impl<'a> Browser<'a> {
    fn new(world: &'a World) -> Browser<'a> {
        Browser { world, cookies: BTreeMap::new() }
    }

    /// Sends a request with all cookies and these headers, and takes what it is given.
    fn ask(&mut self, line: &str, more: &str) -> Answer {
        let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies =
            if pairs.is_empty() { String::new() } else { format!("Cookie: {}\r\n", pairs.join("; ")) };
        let tcp = self.world.tcp;
        let text = request(line, &tcp.to_string(), &format!("{cookies}{more}\r\n"));
        let mut stream = connect(tcp);
        stream.write_all(text.as_bytes()).unwrap();
        let text = String::from_utf8(everything(stream)).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        for line in head.lines().filter_map(|line| line.split_once(": ")) {
            if line.0.eq_ignore_ascii_case("set-cookie") {
                let (pair, attributes) = line.1.split_once("; ").unwrap();
                let (name, value) = pair.split_once('=').unwrap();
                assert!(name.starts_with("__Host-"), "{line:?}");
                assert!(attributes.starts_with("Path=/; Secure; HttpOnly; SameSite="), "{line:?}");
                match attributes.ends_with("Max-Age=0") {
                    true => drop(self.cookies.remove(name)),
                    false => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
                }
            }
        }
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head: head.to_owned() + "\r\n", body: body.to_owned() }
    }

    /// Begins a login; gives the query of the address that the issuer is asked at.
    fn begin(&mut self, then: &str) -> BTreeMap<String, String> {
        let answer = self.ask(&format!("GET /auth/login?then={then}"), "");
        assert_eq!(answer.status, 302, "{}", answer.body);
        let target = answer.head.lines().find_map(|line| line.strip_prefix("location: ")).unwrap();
        let url = reqwest::Url::parse(target).unwrap();
        assert_eq!((url.host_str(), url.path()), (Some("idp.example.com"), "/authorize"));
        url.query_pairs().into_owned().collect()
    }

    fn come_back(&mut self, state: &str, more: &str) -> Answer {
        self.ask(&format!("GET /auth/callback?state={state}&{more}"), "Sec-Fetch-Site: cross-site\r\n")
    }

    fn log_in(&mut self, subject: &str) {
        let asked = self.begin("/");
        let back = self.come_back(&asked["state"], &format!("code=code-{subject}&iss={ISSUER}"));
        assert_eq!(back.status, 200, "{}", back.body);
    }

    fn me(&mut self) -> Answer {
        self.ask("GET /api/v1/me", "Sec-Fetch-Site: same-origin\r\n")
    }

    fn session(&self) -> Option<(&String, &String)> {
        self.cookies.iter().find(|(name, _)| name.contains("-session"))
    }
}

#[test]
fn somebody_logs_in_is_known_and_logs_out() {
    let world = world(&[person("sam", &["sre", "staff"])]);
    let mut browser = Browser::new(&world);
    let unknown = browser.me();
    assert_eq!((unknown.status, unknown.problem().as_str()), (401, "login_required"));
    assert_eq!(unknown.json()["login"], "/auth/login");
    let asked = browser.begin("/approvals%3Fstate=pending");
    let callback = format!("http://{}/auth/callback", world.tcp);
    for (name, value) in [
        ("tenant", "1"),
        ("response_type", "code"),
        ("client_id", "console"),
        ("scope", "openid groups"),
        ("redirect_uri", &callback),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked.get(name).map(String::as_str), Some(value), "{name}");
    }
    assert!(["state", "nonce", "code_challenge"].iter().all(|name| asked[*name].len() == 43));
    assert_eq!(browser.cookies.len(), 1);
    let back = browser.come_back(&asked["state"], &format!("code=code-sam&iss={ISSUER}"));
    assert_eq!(back.status, 200);
    assert!(back.body.contains("content=\"0; url=/approvals?state=pending\""), "{}", back.body);
    assert!(back.body.contains("sam &lt;b&gt;") && !back.body.contains("<script"), "{}", back.body);
    assert!(back.head.contains("SameSite=Strict; Max-Age=3600"), "{}", back.head);
    assert!(
        back.head.contains("content-security-policy: default-src 'none'; style-src 'sha256-"),
        "{}",
        back.head
    );
    assert!(back.head.contains("x-frame-options: DENY"), "{}", back.head);
    assert_eq!(browser.cookies.len(), 1, "the transaction's is gone");
    let me = browser.me().json();
    assert_eq!((&me["principal"], &me["subject"]), (&"user:sam".into(), &"sam".into()), "{me}");
    assert_eq!((&me["name"], &me["login"]), (&"sam <b>".into(), &"oidc".into()));
    assert_eq!(
        (&me["owner"], &me["ends"]),
        (&"sam@example.com".into(), &"1970-01-01T01:00:00.001000Z".into())
    );
    let roles = serde_json::json!([{"role": "viewer", "routes": null}, {"role": "approver", "routes": null}]);
    assert_eq!(me["roles"], roles);
    assert_eq!(browser.ask("GET /api/v1/status", "").status, 200);
    assert_eq!(browser.ask("GET /api/v1/audit/head", "").problem(), "role_required");

    let kept = browser.cookies.clone();
    let out = browser.ask("POST /auth/logout", "Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n");
    assert_eq!(out.status, 200, "{}", out.body);
    assert!(browser.cookies.is_empty());
    browser.cookies = kept;
    assert_eq!(browser.me().problem(), "session_ended", "the cookie is worth nothing any more");
    let calls = world.process.calls.lock().unwrap().clone();
    assert_eq!(
        calls,
        [&format!("redeem code-sam at {callback}"), "login by user:sam browser", "logout by user:sam"]
    );
}

#[test]
fn a_login_ends_in_its_own_browser_in_time_and_once() {
    let people = [person("sam", &["sre"]), person("kim", &["sre"])];
    let world = world(&people);
    let mut browser = Browser::new(&world);
    let good = format!("code=code-sam&iss={ISSUER}");
    let check = |answer: Answer, status: u16, why: &str| {
        assert_eq!(answer.status, status, "{why}: {}", answer.body);
        assert!(answer.body.contains(why) && answer.body.contains("/auth/login"), "{why}: {}", answer.body);
        assert!(!answer.head.contains("-session"), "{}", answer.head);
    };
    let unknown = "was not begun in this browser";
    let asked = browser.begin("/");
    check(browser.come_back("guessed", &good), 400, unknown);
    check(browser.ask("GET /auth/callback", ""), 400, unknown);
    check(browser.ask(&format!("GET /auth/callback?state=a&state=b&{good}"), ""), 400, unknown);
    let mut other = Browser::new(&world);
    other.begin("/");
    check(other.come_back(&asked["state"], &good), 400, unknown);
    // None of that has ended the login itself.
    let again = asked["state"].clone();
    check(
        browser.come_back(&again, "error=access_denied&error_description=%3Cb%3E"),
        400,
        "does not come from the issuer",
    );
}

#[test]
fn an_answer_of_another_issuer_or_without_a_code_is_none() {
    let world = world(&[person("sam", &["sre"])]);
    let mut browser = Browser::new(&world);
    for (answer, status, why) in [
        ("code=code-sam&iss=https://evil.example", 400, "does not come from the issuer"),
        ("code=code-sam", 400, "does not come from the issuer"),
        (&*format!("error=access_denied&iss={ISSUER}"), 403, "(access_denied)"),
        (&*format!("error=%3Cscript%3E&iss={ISSUER}"), 403, "(no code)"),
        (&*format!("code=&iss={ISSUER}"), 403, "(no code)"),
        (&*format!("code=stolen&iss={ISSUER}"), 403, "invalid_grant"),
    ] {
        let asked = browser.begin("/");
        let back = browser.come_back(&asked["state"], answer);
        assert_eq!(back.status, status, "{answer}: {}", back.body);
        assert!(back.body.contains(why) && browser.session().is_none(), "{answer}: {}", back.body);
        let replayed = browser.come_back(&asked["state"], &format!("code=code-sam&iss={ISSUER}"));
        assert_eq!(replayed.status, 400, "it was used: {answer}");
    }
    let asked = browser.begin("/");
    *world.process.now.lock().unwrap() = Timestamp(1_000 + 10 * MINUTE);
    let late = browser.come_back(&asked["state"], &format!("code=code-sam&iss={ISSUER}"));
    assert_eq!(late.status, 400);
    assert!(browser.session().is_none());
}

#[test]
fn nobody_is_sent_elsewhere_afterwards() {
    let world = world(&[]);
    let mut browser = Browser::new(&world);
    for then in [
        "//evil.example",
        "https://evil.example/",
        "%2F%5Cevil.example",
        "%09/evil",
        "evil",
        "",
        "/%0d%0aX:y",
    ] {
        let answer = browser.ask(&format!("GET /auth/login?then={then}"), "");
        assert_eq!((answer.status, answer.problem().as_str()), (400, "malformed_request"), "{then}");
    }
    assert!(browser.cookies.is_empty());
}

#[test]
fn an_id_from_before_the_login_is_worth_nothing() {
    let world = world(&[person("sam", &["sre"]), person("kim", &["sre"])]);
    let mut browser = Browser::new(&world);
    browser.log_in("sam");
    let (name, first) = browser.session().map(|(name, value)| (name.clone(), value.clone())).unwrap();
    browser.log_in("kim");
    assert_ne!(browser.session().unwrap().1, &first, "another id");
    assert_eq!(browser.me().json()["subject"], "kim");
    let mut other = Browser::new(&world);
    other.cookies.insert(name.clone(), first);
    assert_eq!(other.me().status, 401, "the session from before has ended with the login");
    other.cookies.insert(name, "planted".to_owned());
    assert_eq!(other.me().status, 401);
}

#[test]
fn a_session_ends_by_itself() {
    let world = world(&[person("sam", &["sre"]), person("kim", &["sre"])]);
    let mut browser = Browser::new(&world);
    browser.log_in("sam");
    for minutes in [9, 18, 27, 36, 45, 54] {
        *world.process.now.lock().unwrap() = Timestamp(minutes * MINUTE);
        assert_eq!(browser.me().status, 200, "{minutes}");
    }
    *world.process.now.lock().unwrap() = Timestamp(60 * MINUTE + 1_000);
    assert_eq!(browser.me().problem(), "session_ended", "after its lifetime");
    browser.log_in("kim");
    *world.process.now.lock().unwrap() = Timestamp(70 * MINUTE + 1_000);
    assert_eq!(browser.me().problem(), "session_ended", "after being idle");
    *world.process.login.lock().unwrap() = None;
    assert_eq!(browser.me().status, 404, "nobody logs in any more");
}

/// A page that was left open asked every few seconds, so that no session was ever idle.
#[test]
fn what_a_page_asks_for_by_itself_keeps_no_session_open() {
    let world = world(&[person("sam", &["sre"])]);
    let mut browser = Browser::new(&world);
    browser.log_in("sam");
    let mut status_at = |minutes: u64, more: &str| {
        *world.process.now.lock().unwrap() = Timestamp(minutes * MINUTE);
        browser.ask("GET /api/v1/me", more).status
    };
    assert_eq!(status_at(9, ""), 200);
    for minutes in [12, 15, 18] {
        assert_eq!(status_at(minutes, "X-Ringward-Background: 1\r\n"), 200, "{minutes}");
    }
    assert_eq!(status_at(20, "X-Ringward-Background: 1\r\n"), 401);
    assert_eq!(status_at(20, ""), 401);
}

#[test]
fn another_site_does_nothing_with_the_cookie() {
    let world = world(&[person("alex", &[])]);
    let mut browser = Browser::new(&world);
    browser.log_in("alex");
    let origin = format!("http://{}", world.tcp);
    for (line, more, status) in [
        ("POST /api/v1/drain", "Origin: https://evil.example\r\n", 403),
        ("POST /api/v1/drain", "Origin: null\r\n", 403),
        ("POST /api/v1/drain", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("POST /api/v1/drain", "Sec-Fetch-Site: same-site\r\n", 403),
        ("POST /api/v1/drain", "", 403),
        ("POST /auth/logout", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("DELETE /api/v1/freezes/frz_1", "Origin: https://evil.example\r\n", 403),
        ("GET /api/v1/events", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("GET /api/v1/events", "", 403),
        ("GET /api/v1/me", "Sec-Fetch-Site: cross-site\r\n", 403),
        ("POST /api/v1/drain", &format!("Origin: {origin}\r\n"), 202),
        ("POST /api/v1/drain", "Sec-Fetch-Site: same-origin\r\n", 202),
    ] {
        let answer = browser.ask(line, &format!("{more}Content-Length: 0\r\n"));
        assert_eq!(answer.status, status, "{line} {more}: {}", answer.body);
        if status == 403 {
            assert_eq!(answer.problem(), "cross_origin");
        }
    }
    let text = "Sec-Fetch-Site: same-origin\r\nContent-Type: text/plain\r\nContent-Length: 17\r\n\r\n\
                {\"level\":\"debug\"}";
    assert_eq!(browser.ask("PUT /api/v1/log-level", text).status, 415, "JSON only");
    let calls = world.process.calls.lock().unwrap().clone();
    assert_eq!(calls.iter().filter(|call| call.starts_with("drain")).count(), 2, "{calls:?}");
    assert!(calls.contains(&"drain by user:alex".to_owned()));
}

#[test]
fn roles_are_those_of_now_and_of_their_routes() {
    let people = [person("kim", &["payments"]), person("nobody", &["other"]), person("riley", &["staff"])];
    let world = world(&people);
    let mut browser = Browser::new(&world);
    let asked = browser.begin("/");
    let refused = browser.come_back(&asked["state"], &format!("code=code-nobody&iss={ISSUER}"));
    assert_eq!(
        (refused.status, refused.body.contains("user:nobody, in other, has no role here")),
        (403, true)
    );
    assert!(browser.session().is_none());
    browser.log_in("riley");
    assert_eq!(browser.ask("GET /api/v1/status", "").status, 200);
    for line in
        ["GET /api/v1/approvals", "GET /api/v1/freezes", "POST /api/v1/freezes", "GET /api/v1/sessions"]
    {
        let answer = browser.ask(line, "Sec-Fetch-Site: same-origin\r\nContent-Length: 0\r\n");
        assert_eq!((answer.status, answer.problem().as_str()), (403, "role_required"), "{line}");
    }
    browser.log_in("kim");
    assert_eq!(browser.ask("GET /api/v1/approvals", "").status, 200);
    assert_eq!(browser.me().json()["roles"][0]["routes"], serde_json::json!(["payments"]));
    let call = world.process.calls.lock().unwrap().last().unwrap().clone();
    assert!(
        call.contains("reach: Routes([\"payments\"])") && call.contains("groups: [\"payments\"]"),
        "{call}"
    );
    world.process.login.lock().unwrap().as_mut().unwrap().roles.clear();
    assert_eq!(browser.ask("GET /api/v1/approvals", "").problem(), "role_required", "taken away meanwhile");
}

#[test]
fn a_secret_of_a_session_is_no_token_and_tokens_need_tls() {
    let world = world(&[person("sam", &["sre"])]);
    let mut browser = Browser::new(&world);
    browser.log_in("sam");
    let id = browser.session().unwrap().1.clone();
    browser.cookies.clear();
    for token in [id.clone(), format!("rws_{id}"), "guessed".to_owned()] {
        let answer = browser.ask("GET /api/v1/me", &format!("Authorization: Bearer {token}\r\n"));
        assert_eq!(answer.status, 401, "{token}: {}", answer.body);
    }
}

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
/// RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

#[test]
fn the_command_line_is_let_in_by_somebody_who_presses_a_button() {
    let world = world(&[person("sam", &["sre"])]);
    let mut browser = Browser::new(&world);
    let page = format!("/auth/cli?port=4711&state=st-1&code_challenge={CHALLENGE}");
    let first = browser.ask(&format!("GET {page}"), "");
    assert_eq!(first.status, 302);
    assert!(
        first.head.contains("location: /auth/login?then=%2Fauth%2Fcli%3Fport%3D4711%26"),
        "{}",
        first.head
    );
    browser.log_in("sam");
    let asked = browser.ask(&format!("GET {page}"), "Sec-Fetch-Site: same-origin\r\n");
    assert!(
        asked.body.contains("<button>Let it in</button>") && !asked.body.contains("4711/"),
        "{}",
        asked.body
    );
    let form = format!("port=4711&state=st-1&code_challenge={CHALLENGE}");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let mut press = |site: &str, form: &str| {
        let length = form.len();
        let head = format!("Sec-Fetch-Site: {site}\r\n{kind}Content-Length: {length}\r\n\r\n{form}");
        browser.ask("POST /auth/cli", &head)
    };
    assert_eq!(press("cross-site", &form).problem(), "cross_origin", "another site presses no button");
    assert_eq!(press("same-origin", "port=1&state=%22%3E&code_challenge=x").status, 400);
    let agreed = press("same-origin", &form);
    assert_eq!(agreed.status, 200, "{}", agreed.body);
    let code = agreed.body.split("http://127.0.0.1:4711/?code=").nth(1).unwrap().split('&').next().unwrap();
    let token = |code: &str, verifier: &str| {
        let body = format!("{{\"code\":\"{code}\",\"code_verifier\":\"{verifier}\"}}");
        let text = request("POST /auth/token", &world.tcp.to_string(), &json(&body));
        exchange(connect(world.tcp), &text)
    };
    assert_eq!(token("guessed", VERIFIER).problem(), "login_refused");
    let opened = token(code, VERIFIER);
    assert_eq!(opened.status, 200, "{}", opened.body);
    assert_eq!(token(code, VERIFIER).problem(), "login_refused", "used");
    let secret = opened.json()["token"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("rws_") && opened.json()["principal"] == "user:sam");
    let mut other = Browser::new(&world);
    let bearer = format!("Authorization: Bearer {secret}\r\n");
    assert_eq!(other.ask("GET /api/v1/me", &bearer).json()["subject"], "sam");
    let out = other.ask("POST /auth/logout", &format!("{bearer}Content-Length: 0\r\n"));
    assert_eq!(out.status, 200, "no cookie, no other site: {}", out.body);
    assert_eq!(other.ask("GET /api/v1/me", &bearer).problem(), "session_ended");
    assert_eq!(browser.me().status, 200, "the browser's own session goes on");
}

#[test]
fn a_session_that_another_has_let_in_ends_with_that() {
    let world = world(&[person("sam", &["sre"])]);
    let mut browser = Browser::new(&world);
    browser.log_in("sam");
    let ends = browser.me().json()["ends"].clone();
    let form = format!("port=4711&state=s&code_challenge={CHALLENGE}");
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let mut proof = "Sec-Fetch-Site: same-origin\r\n".to_owned();
    // The second time the session that was let in lets in another one.
    for _ in 0..2 {
        world.process.now.lock().unwrap().0 += 5 * MINUTE;
        let length = form.len();
        let head = format!("{proof}{kind}Content-Length: {length}\r\n\r\n{form}");
        let agreed = browser.ask("POST /auth/cli", &head);
        let code = agreed.body.split("?code=").nth(1).unwrap().split('&').next().unwrap();
        let body = format!("{{\"code\":\"{code}\",\"code_verifier\":\"{VERIFIER}\"}}");
        let text = request("POST /auth/token", &world.tcp.to_string(), &json(&body));
        let opened = exchange(connect(world.tcp), &text).json();
        assert_eq!(opened["ends"], ends, "nobody has logged in since");
        proof = format!("Authorization: Bearer {}\r\n", opened["token"].as_str().unwrap());
    }
}

#[test]
fn a_code_for_the_command_line_needs_its_verifier() {
    let world = world(&[person("sam", &["sre"])]);
    let mut browser = Browser::new(&world);
    browser.log_in("sam");
    let form = format!("port=4711&state=s&code_challenge={CHALLENGE}");
    let head = format!(
        "Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    );
    let agreed = browser.ask("POST /auth/cli", &head);
    let code = agreed.body.split("?code=").nth(1).unwrap().split('&').next().unwrap();
    for verifier in ["another", VERIFIER] {
        let body = format!("{{\"code\":\"{code}\",\"code_verifier\":\"{verifier}\"}}");
        let text = request("POST /auth/token", &world.tcp.to_string(), &json(&body));
        let answer = exchange(connect(world.tcp), &text);
        assert_eq!(answer.problem(), "login_refused", "{verifier}: one try ends it");
    }
}

#[test]
fn a_device_is_asked_about_as_often_as_the_issuer_wants() {
    let world = world(&[]);
    let post = |path: &str, body: &str| {
        let text = request(&format!("POST {path}"), &world.tcp.to_string(), &json(body));
        exchange(connect(world.tcp), &text)
    };
    let begun = post("/auth/device", "{}");
    assert_eq!((begun.status, &begun.json()["user_code"]), (200, &"WDJB-MJHT".into()), "{}", begun.body);
    assert!(!begun.body.contains("secret-of-the-issuer"), "{}", begun.body);
    let handle = format!("{{\"handle\":{}}}", begun.json()["handle"]);
    for _ in 0..3 {
        assert_eq!(post("/auth/device/token", &handle).status, 202);
    }
    let asked = || world.process.calls.lock().unwrap().iter().filter(|call| call.starts_with("ask")).count();
    assert_eq!(asked(), 1, "once in five seconds");
    world.process.people.lock().unwrap().push((String::new(), person("sam", &["sre"])));
    *world.process.now.lock().unwrap() = Timestamp(5_001_000);
    let opened = post("/auth/device/token", &handle);
    assert_eq!((opened.status, &opened.json()["principal"]), (200, &"user:sam".into()), "{}", opened.body);
    assert_eq!(post("/auth/device/token", &handle).problem(), "login_refused", "used");
    assert_eq!(post("/auth/device/token", "{\"handle\":\"x\"}").problem(), "login_refused");
}
