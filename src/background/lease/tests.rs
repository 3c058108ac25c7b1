use super::super::client::Clients;
use super::*;
use crate::secrets::{
    ClientAuth, Endpoint, LeaseKind, LeaseSource, Scrub, SecretSlot, SecretSpec, SecretValue, Source,
    SubjectTokenType,
};
use crate::time::Timestamp;
use axum::Router;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use tokio::net::TcpListener;

const CLIENT_SECRET: &str = "canary client:secret/ä";
const SUBJECT: &str = "canary-subject-token";

/// An authorization server: RFC 6749 section 4.4, RFC 8693, RFC 7009. `scope` chooses how it misbehaves.
#[derive(Default)]
struct Issuer {
    issued: Mutex<u64>,
    live: Mutex<BTreeSet<String>>,
    forms: Mutex<Vec<BTreeMap<String, String>>>,
    /// Answers to the next revocations; 200 when there are none left.
    revocations: Mutex<Vec<u16>>,
}

type Fields = BTreeMap<String, String>;

impl Issuer {
    /// Both ways of RFC 6749 section 2.3.1; exactly one may be used.
    fn knows(headers: &HeaderMap, form: &Fields) -> bool {
        // base64("ring%3Award:canary+client%3Asecret%2F%C3%A4")
        let basic = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes());
        let expected = b"Basic cmluZyUzQXdhcmQ6Y2FuYXJ5K2NsaWVudCUzQXNlY3JldCUyRiVDMyVBNA==";
        let posted = form.get("client_id").map(String::as_str) == Some("ring:ward")
            && form.get("client_secret").map(String::as_str) == Some(CLIENT_SECRET);
        (basic == Some(expected)) != posted
    }
}

fn json(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, "application/json; charset=utf-8")], body).into_response()
}

async fn token(State(issuer): State<Arc<Issuer>>, headers: HeaderMap, Form(form): Form<Fields>) -> Response {
    issuer.forms.lock().unwrap().push(form.clone());
    if !Issuer::knows(&headers, &form) {
        return json(401, r#"{"error":"invalid_client","error_description":"canary"}"#.into());
    }
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    let exchange = field("grant_type") == "urn:ietf:params:oauth:grant-type:token-exchange";
    if exchange && (field("subject_token") != SUBJECT || field("subject_token_type").is_empty()) {
        return json(400, r#"{"error":"invalid_grant"}"#.into());
    }
    if !exchange && field("grant_type") != "client_credentials" {
        return json(400, r#"{"error":"unsupported_grant_type"}"#.into());
    }
    let scope = field("scope");
    if let Some(body) = scope.strip_prefix("body ") {
        return json(200, body.to_owned());
    }
    if let Some(status) = scope.strip_prefix("status ") {
        return json(status.parse().unwrap(), r#"{"error":"canary"}"#.into());
    }
    match scope {
        "slow" => return std::future::pending().await,
        "fat" => return json(200, format!(r#"{{"access_token":"{}"}}"#, "canary".repeat(12_000))),
        "html" => return (StatusCode::OK, r#"{"access_token":"canary-html-page"}"#).into_response(),
        "moved" => return (StatusCode::FOUND, [(header::LOCATION, "/token")]).into_response(),
        _ => {}
    }
    let mut issued = issuer.issued.lock().unwrap();
    *issued += 1;
    let value = format!("canary-token-{}", *issued);
    issuer.live.lock().unwrap().insert(value.clone());
    let kind =
        if exchange { r#""issued_token_type":"urn:ietf:params:oauth:token-type:access_token","# } else { "" };
    json(200, format!(r#"{{"access_token":"{value}","token_type":"bearer",{kind}"expires_in":60,"x":[1]}}"#))
}

async fn revoke(State(issuer): State<Arc<Issuer>>, headers: HeaderMap, Form(form): Form<Fields>) -> Response {
    if !Issuer::knows(&headers, &form) || form["token_type_hint"] != "access_token" {
        return json(401, r#"{"error":"invalid_client"}"#.into());
    }
    match issuer.revocations.lock().unwrap().pop() {
        None | Some(200) => {
            issuer.live.lock().unwrap().remove(&form["token"]);
            StatusCode::OK.into_response()
        }
        Some(status) => json(status, r#"{"error":"unsupported_token_type"}"#.into()),
    }
}

/// A running issuer, a source that points at it, and a client whose ends are collected.
struct World {
    issuer: Arc<Issuer>,
    source: LeaseSource,
    client: LeaseClient,
    revoker: Revoker,
    ends: Arc<Mutex<Vec<LeaseEnd>>>,
}

fn slot(value: Option<&str>) -> Arc<SecretSlot> {
    let spec = SecretSpec::new("client", Source::env("X").unwrap(), None, Scrub::On).unwrap();
    let slot = SecretSlot::new(spec);
    if let Some(value) = value {
        slot.publish(SecretValue::new(value.as_bytes().to_vec(), Scrub::On).unwrap(), Timestamp(1));
    }
    Arc::new(slot)
}

async fn world(timing: Timing) -> World {
    let issuer = Arc::new(Issuer::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/token", post(token)).route("/revoke", post(revoke));
    let server = axum::serve(listener, routes.with_state(issuer.clone()));
    tokio::spawn(async move { server.await.unwrap() });
    let source = LeaseSource {
        name: "customers".into(),
        kind: LeaseKind::ClientCredentials,
        token_endpoint: Endpoint::parse(&format!("{base}/token")).unwrap(),
        revoke_endpoint: Some(Endpoint::parse(&format!("{base}/revoke")).unwrap()),
        client_id: "ring:ward".into(),
        client_secret: slot(Some(CLIENT_SECRET)),
        auth_method: ClientAuth::Basic,
        audience: Some("customers".into()),
        resource: None,
        scope: None,
        lifetime_default: None,
        scrub: Scrub::On,
        roots: None,
    };
    let ends = Arc::new(Mutex::new(Vec::new()));
    let collected = ends.clone();
    let report = move |end: &LeaseEnd| collected.lock().unwrap().push(end.clone());
    let (client, revoker) = LeaseClient::with_timing(Clients::default(), timing, report);
    World { issuer, source, client, revoker, ends }
}

impl World {
    async fn acquire(&self, change: impl FnOnce(&mut LeaseSource)) -> Result<Lease, LeaseError> {
        let mut source = self.source.clone();
        change(&mut source);
        let scope = format!("{:?}", source.scope);
        let subject_token = SecretValue::new(SUBJECT.as_bytes().to_vec(), Scrub::Off).ok();
        let acquired = self.client.acquire(LeaseRequest { source: Arc::new(source), subject_token }).await;
        let error = acquired.as_ref().err().map(LeaseError::to_string).unwrap_or_default();
        // The scope holds what the issuer is to answer, and no secret.
        let shown = format!("{acquired:?} {error}").replace(&scope, "");
        assert!(!shown.contains("canary"), "{shown}");
        acquired
    }

    /// Lets the revoker deal with what was released; gives the outcomes, sorted.
    async fn finish(self) -> (Vec<LeaseOutcome>, LeaseCounts) {
        let World { client, revoker, ends, .. } = self;
        let counting = client.shared.clone();
        drop(client);
        revoker.run().await;
        let ends = ends.lock().unwrap();
        assert!(!format!("{ends:?}").contains("canary"));
        let outcomes = ends.iter().map(|end| end.outcome.clone()).collect();
        (outcomes, counting.counters.snapshot())
    }
}

fn patient() -> Timing {
    Timing { answer: Duration::from_secs(60), backoff: Duration::from_millis(1), queue: 8 }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn exchange(source: &mut LeaseSource) {
    source.kind = LeaseKind::TokenExchange { subject: SubjectTokenType::Jwt };
}

// RFC 6749 section 4.4, RFC 7009.
#[test]
fn a_token_lives_as_long_as_its_exchange() {
    run(async {
        let world = world(patient()).await;
        let before = wall_clock();
        let lease = world.acquire(|_| ()).await.unwrap();
        assert_eq!(lease.value.expose(), b"canary-token-1");
        assert!(lease.expires >= Timestamp(before.0 + 60_000_000));
        assert!(world.issuer.live.lock().unwrap().contains("canary-token-1"));
        let other = world.acquire(|source| source.auth_method = ClientAuth::Post).await.unwrap();
        assert_ne!(lease.id, other.id);
        assert_eq!(lease.id.len(), "lease-".len() + 32);
        assert_eq!(lease.facts().source, "customers".into());
        {
            let forms = world.issuer.forms.lock().unwrap();
            assert_eq!(forms[0]["grant_type"], "client_credentials");
            assert_eq!(forms[0]["audience"], "customers");
            assert!(!forms[0].contains_key("subject_token") && !forms[0].contains_key("client_secret"));
        }
        world.client.release(lease);
        world.client.release(other);
        let issuer = world.issuer.clone();
        let (outcomes, counts) = world.finish().await;
        assert_eq!(outcomes, vec![LeaseOutcome::Revoked { attempts: 1 }; 2]);
        assert_eq!(counts, LeaseCounts { acquired: 2, revoked: 2, ..LeaseCounts::default() });
        assert!(issuer.live.lock().unwrap().is_empty());
    });
}

// RFC 8693 section 2.
#[test]
fn the_token_of_the_caller_is_exchanged() {
    run(async {
        let world = world(patient()).await;
        let lease = world.acquire(|source| {
            exchange(source);
            source.resource = Some("https://customers.example/a b".into());
        });
        let lease = lease.await.unwrap();
        {
            let forms = world.issuer.forms.lock().unwrap();
            assert_eq!(forms[0]["subject_token"], SUBJECT);
            assert_eq!(forms[0]["subject_token_type"], "urn:ietf:params:oauth:token-type:jwt");
            assert_eq!(forms[0]["resource"], "https://customers.example/a b");
        }
        let request = LeaseRequest { source: lease.source.clone(), subject_token: None };
        assert_eq!(world.client.acquire(request).await.err(), Some(LeaseError::NoSubjectToken));
        assert_eq!(world.issuer.forms.lock().unwrap().len(), 1, "nothing was asked");
        world.client.release(lease);
        assert_eq!(world.finish().await.0, [LeaseOutcome::Revoked { attempts: 1 }]);
    });
}

#[test]
fn answers_that_are_not_what_the_standard_says_give_no_lease() {
    const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
    let malformed = [
        (r#"{"access_token":"canary-token-x","expires_in":60}"#, "JSON members"),
        (r#"{"token_type":"Bearer","expires_in":60}"#, "JSON members"),
        (r#"{"access_token":7,"token_type":"Bearer","expires_in":60}"#, "JSON members"),
        (r#"{"access_token":"canary-token-x","access_token":"y","token_type":"Bearer"}"#, "JSON members"),
        (r#"{"access_token":"canary-token-x","token_type":"Bearer","expires_in":"60"}"#, "JSON members"),
        (r#"{"access_token":"canary-token-x","token_type":"Bearer","expires_in":-1}"#, "JSON members"),
        (r#"{"access_token":"canary-token-x","token_type":"Bearer","expires_in":60} x"#, "JSON members"),
        (r#"["canary-token-x"]"#, "JSON members"),
        ("", "JSON members"),
        (r#"{"access_token":"canary-token-x","token_type":"N_A","expires_in":60}"#, "token_type"),
        (r#"{"access_token":"canary-token-x","token_type":"DPoP","expires_in":60}"#, "token_type"),
        (r#"{"access_token":"canary-token-x","token_type":"Bearer"}"#, "expires_in"),
        (r#"{"access_token":"canary-token-x","token_type":"Bearer","expires_in":0}"#, "expires_in"),
        (r#"{"access_token":"canary","token_type":"Bearer","expires_in":60}"#, "access_token"),
        (r#"{"access_token":"canary token x","token_type":"Bearer","expires_in":60}"#, "access_token"),
        (r#"{"access_token":"canary\r\ntoken-x","token_type":"Bearer","expires_in":60}"#, "access_token"),
    ];
    run(async {
        let world = world(patient()).await;
        let answer = async |body: &str, exchanged: bool| {
            let change = |source: &mut LeaseSource| {
                source.scope = Some(format!("body {body}").into());
                if exchanged {
                    exchange(source);
                }
            };
            world.acquire(change).await.map(|lease| lease.value.expose().to_vec())
        };
        for (body, part) in malformed {
            assert_eq!(answer(body, false).await, Err(LeaseError::Malformed(part)), "{body}");
        }
        let typed = |kind: &str| {
            let rest = r#""token_type":"BEARER","expires_in":1,"issued_token_type""#;
            format!(r#"{{"access_token":"canary-tok\u0065n",{rest}:{kind}}}"#)
        };
        let saml = r#""urn:ietf:params:oauth:token-type:saml2""#;
        let wrong = Err(LeaseError::Malformed("issued_token_type"));
        assert_eq!(answer(&typed(&format!("\"{JWT}\"")), true).await, Ok(b"canary-token".to_vec()));
        assert_eq!(answer(&typed("null"), true).await, wrong);
        assert_eq!(answer(&typed(saml), true).await, wrong);
        assert_eq!(answer(&typed(saml), false).await, Ok(b"canary-token".to_vec()));
    });
}

#[test]
fn a_default_lifetime_stands_in_for_a_missing_one() {
    run(async {
        let world = world(patient()).await;
        let before = wall_clock();
        let lease = world.acquire(|source| {
            source.scope = Some(r#"body {"access_token":"canary-token-x","token_type":"Bearer"}"#.into());
            source.lifetime_default = Some(Duration::from_secs(30));
        });
        let expires = lease.await.unwrap().expires;
        assert!(expires >= Timestamp(before.0 + 30_000_000));
    });
}

#[test]
fn an_endpoint_that_fails_gives_no_lease_and_its_text_goes_nowhere() {
    let refused = |status, code| LeaseError::Refused { status, code };
    run(async {
        let world = world(patient()).await;
        let scope = |scope: &'static str| move |source: &mut LeaseSource| source.scope = Some(scope.into());
        assert_eq!(world.acquire(scope("fat")).await.err(), Some(LeaseError::Oversize));
        assert_eq!(world.acquire(scope("html")).await.err(), Some(LeaseError::Malformed("Content-Type")));
        // SECURITY R12.
        assert_eq!(world.acquire(scope("moved")).await.err(), Some(refused(302, "")));
        assert_eq!(world.acquire(scope("status 201")).await.err(), Some(refused(201, "")));
        assert_eq!(world.acquire(scope("status 400")).await.err(), Some(refused(400, "")));
        assert_eq!(world.acquire(scope("status 500")).await.err(), Some(refused(500, "")));
        let wrong = |source: &mut LeaseSource| source.client_secret = slot(Some("canary-not-the-one"));
        assert_eq!(world.acquire(wrong).await.err(), Some(refused(401, "invalid_client")));
        let missing = world.acquire(|source| source.client_secret = slot(None)).await.unwrap_err();
        assert_eq!(missing.to_string(), "the secret `client` has no value");
        assert_eq!(world.client.counts().failed, 8);
    });
}

#[test]
fn an_endpoint_that_is_slow_gone_or_broken_is_told_apart() {
    run(async {
        let world = world(Timing { answer: Duration::from_millis(50), ..patient() }).await;
        let slow = world.acquire(|source| source.scope = Some("slow".into())).await;
        assert_eq!(slow.err(), Some(LeaseError::Timeout));
    });
    run(async {
        let world = world(patient()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap());
        let endpoint = Endpoint::parse(&url).unwrap();
        let closing = tokio::spawn(async move { drop(listener.accept().await) });
        let broken = world.acquire(|source| source.token_endpoint = endpoint.clone()).await;
        assert_eq!(broken.err(), Some(LeaseError::Broken));
        closing.await.unwrap();
        let gone = world.acquire(|source| source.token_endpoint = endpoint.clone()).await;
        assert_eq!(gone.err(), Some(LeaseError::Unreachable));
    });
}

/// What becomes of one lease whose revocations are answered by `statuses`.
async fn revoked(statuses: &[u16], change: impl FnOnce(&mut Lease)) -> LeaseOutcome {
    let world = world(patient()).await;
    *world.issuer.revocations.lock().unwrap() = statuses.iter().rev().copied().collect();
    let mut lease = world.acquire(|_| ()).await.unwrap();
    change(&mut lease);
    world.client.release(lease);
    let (mut outcomes, _) = world.finish().await;
    assert_eq!(outcomes.len(), 1);
    outcomes.remove(0)
}

// RFC 7009 section 2.2.
#[test]
fn a_revocation_is_repeated_when_that_may_help() {
    let failed = |attempts, status| {
        let error = LeaseError::Refused { status, code: "unsupported_token_type" };
        LeaseOutcome::Failed { attempts, error }
    };
    let without_endpoint = |lease: &mut Lease| {
        let mut source = LeaseSource::clone(&lease.source);
        source.revoke_endpoint = None;
        lease.source = Arc::new(source);
    };
    run(async {
        assert_eq!(revoked(&[503], |_| ()).await, LeaseOutcome::Revoked { attempts: 2 });
        assert_eq!(revoked(&[503, 429], |_| ()).await, LeaseOutcome::Revoked { attempts: 3 });
        assert_eq!(revoked(&[503, 503, 503], |_| ()).await, failed(3, 503));
        assert_eq!(revoked(&[400], |_| ()).await, failed(1, 400));
        let expired = revoked(&[], |lease| lease.expires = Timestamp(1)).await;
        assert_eq!(expired, LeaseOutcome::Expired);
        assert_eq!(revoked(&[], without_endpoint).await, LeaseOutcome::NotRevocable);
        assert_eq!(failed(1, 400).as_str(), "failed");
    });
}

#[test]
fn leases_beyond_the_queue_are_dropped_and_counted() {
    run(async {
        let world = world(Timing { queue: 2, ..patient() }).await;
        for _ in 0..3 {
            let lease = world.acquire(|_| ()).await.unwrap();
            world.client.release(lease);
        }
        let (outcomes, counts) = world.finish().await;
        assert_eq!(outcomes[0], LeaseOutcome::Dropped);
        assert_eq!((counts.revoked, counts.revoke_dropped), (2, 1));
    });
}
