//! People who log in to the admin interface: at the demo's issuer and at a real one.

use super::support::{
    browser::Browser,
    clients::Issuer,
    eventually,
    gateway::{Demo, Gateway, open_route},
    http::ask,
    upstream::Upstream,
};
use serde_json::{Value, json};
use std::thread;

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

#[test]
fn a_real_issuer_vouches_for_people() {
    let Some(issuer) = Issuer::start(0) else { return };
    let upstream = Upstream::answering("welcome");
    let admin = format!(
        "roles = {{ viewer = \"group:staff\", approver = \"group:sre\" }}\n[admin.login]\nissuer = \"{}\"\n\
         client_id = \"console\"\nalgorithms = [\"RS256\"]\nscopes = [\"openid\", \"groups\"]\n",
        issuer.url
    );
    let folder = tempfile::tempdir().unwrap();
    let gateway = Gateway::start_with(folder, &open_route("up", upstream.address), &admin, "");
    let console = format!("http://{}", gateway.find_address("admin").expect("an admin port"));
    let mut browser = Browser::new();
    // Its keys may not be there yet: then the callback fetches them.
    let sign_in = browser.follow("GET", &format!("{console}/auth/login?then=/x"), None);
    assert_eq!(sign_in.status, 200, "{}", sign_in.text());
    let consent = browser.submit(&sign_in, &[("login", "sam"), ("password", "x")]);
    let back = match consent.text().contains("Logged in") {
        true => consent,
        false => browser.submit(&consent, &[]),
    };
    assert!(back.status == 200 && back.text().contains("url=/x"), "{}", back.text());
    let me = browser.api(&console, "GET", "/api/v1/me", None).json();
    assert_eq!((&me["principal"], &me["groups"]), (&json!("user:sam"), &json!(["sre", "staff"])), "{me}");
    assert_eq!(browser.api(&console, "GET", "/api/v1/approvals", None).status, 200);
    assert_eq!(browser.api(&console, "POST", "/api/v1/drain", None).status, 403);
}
