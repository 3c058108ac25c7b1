use super::*;
use crate::{background::client, identity::Settings};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::State as Extract,
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use std::slice::from_ref;
use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};
use tokio::{net::TcpListener, sync::Semaphore};

/// Nothing here takes this long; it bounds tests that hang.
const DEADLINE: Duration = Duration::from_secs(20);

/// Fetches of keys that may be answered at once.
const GATE: usize = 1000;

/// What the issuer answers at a path.
#[derive(Clone)]
enum Answer {
    Json(Value),
    Bytes(StatusCode, Bytes),
    Endless,
    Redirect(String),
}

/// A real issuer on loopback.
struct Server {
    url: String,
    discovery: Mutex<Answer>,
    keys: Mutex<Answer>,
    discovered: AtomicUsize,
    fetched: watch::Sender<usize>,
    /// A fetch of keys takes a permit; a test that wants to see it wait has none.
    gate: Semaphore,
}

impl Server {
    async fn start() -> Arc<Server> {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
        Server::serve(listener)
    }

    fn serve(listener: TcpListener) -> Arc<Server> {
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let server = Arc::new(Server {
            discovery: Mutex::new(Answer::Json(json!({"issuer": url, "jwks_uri": format!("{url}/jwks")}))),
            keys: Mutex::new(Answer::Json(json!({"keys": [jwk("first")]}))),
            discovered: AtomicUsize::new(0),
            fetched: watch::Sender::new(0),
            gate: Semaphore::new(GATE),
            url,
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/jwks", get(keys))
            .with_state(server.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        server
    }

    fn issuer(&self) -> Arc<Issuer> {
        issuer(&self.url, "corp")
    }

    fn publish(&self, kids: &[&str]) {
        let keys: Vec<_> = kids.iter().map(|kid| jwk(kid)).collect();
        *self.keys.lock().expect("no panic") = Answer::Json(json!({ "keys": keys }));
    }

    fn fetches(&self) -> usize {
        *self.fetched.borrow()
    }
}

async fn discovery(Extract(server): Extract<Arc<Server>>) -> Response {
    server.discovered.fetch_add(1, Ordering::SeqCst);
    let answer = server.discovery.lock().expect("no panic").clone();
    respond(answer)
}

async fn keys(Extract(server): Extract<Arc<Server>>) -> Response {
    server.fetched.send_modify(|count| *count += 1);
    let _permit = server.gate.acquire().await.expect("never closed");
    let answer = server.keys.lock().expect("no panic").clone();
    respond(answer)
}

fn respond(answer: Answer) -> Response {
    match answer {
        Answer::Json(value) => axum::Json(value).into_response(),
        Answer::Bytes(status, bytes) => (status, bytes).into_response(),
        Answer::Redirect(to) => Redirect::temporary(&to).into_response(),
        Answer::Endless => Body::new(Spaces).into_response(),
    }
}

/// A body without an end and without a declared length.
struct Spaces;

impl hyper::body::Body for Spaces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, std::io::Error>>> {
        std::task::Poll::Ready(Some(Ok(hyper::body::Frame::data(Bytes::from_static(&[b' '; 4096])))))
    }
}

fn jwk(kid: &str) -> Value {
    let pair = Ed25519KeyPair::generate().expect("randomness");
    let x = URL_SAFE_NO_PAD.encode(pair.public_key());
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
}

fn issuer(url: &str, name: &str) -> Arc<Issuer> {
    Arc::new(Issuer::new(Settings::new(name, url, &["gw"], &["EdDSA"])).expect("sound"))
}

fn spawn(issuers: &[Arc<Issuer>], timing: Timing) -> Oidc {
    Oidc::spawn(issuers, |_: &Issuer| client::client(None).expect("a client"), timing, None)
}

/// No limit between fetches, so that a test can cause them; all else as in the product.
fn unlimited() -> Timing {
    Timing { refetch: Duration::ZERO, ..Timing::default() }
}

async fn ready(oidc: &Oidc) {
    tokio::time::timeout(DEADLINE, oidc.ready()).await.expect("keys within the deadline");
}

/// Waits until a fetch ended that was not there before, and says how it ended.
async fn fetched(oidc: &Oidc, count: u64) -> IssuerStatus {
    let mut state = oidc.keepers[0].state.clone();
    let waiting = state.wait_for(|state| state.fetches >= count);
    tokio::time::timeout(DEADLINE, waiting).await.expect("within the deadline").expect("the task lives");
    oidc.status().remove(0)
}

fn has(issuer: &Issuer, kid: &str) -> bool {
    use crate::identity::{Algorithm, Selection};
    matches!(issuer.keys().load().select(Some(kid), Algorithm::EdDsa), Selection::Found(_))
}

#[tokio::test]
async fn keys_are_discovered_and_published_to_every_table_of_the_issuer() {
    let server = Server::start().await;
    let issuers = [server.issuer(), issuer(&server.url, "second")];
    let oidc = spawn(&issuers, Timing::default());
    assert!(!oidc.status()[0].is_ready);
    ready(&oidc).await;
    assert!(issuers.iter().all(|issuer| has(issuer, "first")));
    let status = oidc.status().remove(0);
    assert!(status.is_ready && status.last_error.is_none() && status.age.is_some());
    assert_eq!((status.keys, status.fetches, status.failures, server.fetches()), (1, 1, 0, 1));
}

/// SECURITY R30.
#[tokio::test]
async fn tokens_of_unknown_keys_cause_no_second_fetch_in_30_s() {
    let server = Server::start().await;
    let issuer = server.issuer();
    let oidc = spawn(from_ref(&issuer), Timing::default());
    ready(&oidc).await;
    for _ in 0..2000 {
        assert_eq!(oidc.refetch(&issuer).await, Refetch::TooSoon);
    }
    assert_eq!((server.fetches(), server.discovered.load(Ordering::SeqCst)), (1, 1));
    let stranger = self::issuer("https://other.example.com", "other");
    assert_eq!(oidc.refetch(&stranger).await, Refetch::Failed);
}

#[tokio::test]
async fn all_who_ask_during_a_fetch_share_it() {
    let server = Server::start().await;
    let issuer = server.issuer();
    let oidc = spawn(from_ref(&issuer), unlimited());
    ready(&oidc).await;
    server.publish(&["second"]);
    let all = server.gate.acquire_many(GATE as u32).await.expect("never closed");
    let first = tokio::spawn(oidc.refetch(&issuer));
    let mut seen = server.fetched.subscribe();
    let waiting = seen.wait_for(|count| *count == 2);
    tokio::time::timeout(DEADLINE, waiting).await.expect("within the deadline").expect("the server lives");
    let asking: Vec<_> = (0..limits::JWKS_WAITING_MAX).map(|_| oidc.refetch(&issuer)).collect();
    // One more than may wait is told at once.
    assert_eq!(oidc.refetch(&issuer).await, Refetch::TooSoon);
    drop(all);
    assert_eq!(first.await.expect("no panic"), Refetch::Fetched);
    for answer in asking {
        assert_eq!(answer.await, Refetch::Fetched);
    }
    assert!(has(&issuer, "second") && !has(&issuer, "first"));
    assert_eq!(server.fetches(), 2);
}

#[tokio::test]
async fn a_rotated_key_replaces_the_old_one() {
    let server = Server::start().await;
    let (issuer, stale) = (server.issuer(), server.issuer());
    let oidc = spawn(from_ref(&issuer), unlimited());
    ready(&oidc).await;
    server.publish(&["first", "second"]);
    assert_eq!(oidc.refetch(&issuer).await, Refetch::Fetched);
    assert!(has(&issuer, "first") && has(&issuer, "second"));
    server.publish(&["second"]);
    // The issuer of a snapshot that a reload replaced gets the keys as well.
    assert_eq!(oidc.refetch(&stale).await, Refetch::Fetched);
    assert!(!has(&issuer, "first") && has(&issuer, "second") && has(&stale, "second"));
    // Discovery is not repeated while it works.
    assert_eq!(server.discovered.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn answers_that_cannot_be_trusted_give_no_keys() {
    let ok = |bytes: &[u8]| Answer::Bytes(StatusCode::OK, Bytes::copy_from_slice(bytes));
    let server = Server::start().await;
    let sound = server.discovery.lock().expect("no panic").clone();
    let document = |issuer: &str, keys: &str| Answer::Json(json!({"issuer": issuer, "jwks_uri": keys}));
    let slash = format!("{}/", server.url);
    let keys_url = format!("{}/jwks", server.url);
    let none = Answer::Json(json!({"keys": [{"kty": "oct", "k": "AAAA"}]}));
    let twice = ok(br#"{"issuer":"a","issuer":"b","jwks_uri":"c"}"#);
    let failing = Answer::Bytes(StatusCode::INTERNAL_SERVER_ERROR, Bytes::from_static(b"{}"));
    let redirect = Answer::Redirect(keys_url.clone());
    let cases = [
        (document(&slash, &keys_url), sound.clone(), "of another issuer"),
        (document(&server.url, "http://keys.example.com/jwks"), sound.clone(), "plain http"),
        (document(&server.url, "file:///etc/passwd"), sound.clone(), "jwks_uri is refused"),
        (twice, sound.clone(), "not JSON with issuer"),
        (ok(b"<html>"), sound.clone(), "not JSON with issuer"),
        (redirect.clone(), sound.clone(), "307 Temporary Redirect; redirects are not followed"),
        (sound.clone(), redirect, "the key set answered 307"),
        (sound.clone(), failing, "500 Internal Server Error"),
        (sound.clone(), Answer::Endless, "longer than 262144 bytes"),
        (sound.clone(), ok(&[b' '; 262_145]), "longer than 262144 bytes"),
        (sound.clone(), ok(b"{}"), "not a JSON object with an array"),
        (sound.clone(), none, "it is symmetric"),
    ];
    for (discovery, keys, word) in cases {
        *server.discovery.lock().expect("no panic") = discovery;
        *server.keys.lock().expect("no panic") = keys;
        let issuer = server.issuer();
        let oidc = spawn(from_ref(&issuer), Timing::default());
        let status = fetched(&oidc, 1).await;
        let error = status.last_error.expect(word);
        assert!(error.contains(word), "{error:?} lacks {word:?}");
        assert!(!status.is_ready && issuer.keys().load().is_empty());
    }
}

#[tokio::test]
async fn keys_outlive_errors_but_not_for_ever() {
    let server = Server::start().await;
    let issuer = server.issuer();
    let oidc = spawn(from_ref(&issuer), unlimited());
    ready(&oidc).await;
    *server.keys.lock().expect("no panic") = Answer::Bytes(StatusCode::BAD_GATEWAY, Bytes::new());
    assert_eq!(oidc.refetch(&issuer).await, Refetch::Failed);
    let status = oidc.status().remove(0);
    assert!(status.is_ready && status.failures > 0 && status.last_error.is_some());

    // The same history under a shorter patience: the keys are too old at once.
    let impatient = Timing { stale: Duration::ZERO, ..Timing::default() };
    let http = |_: &Issuer| client::client(None).expect("a client");
    let next = Oidc::spawn(from_ref(&issuer), http, impatient, Some(&oidc));
    drop(oidc);
    let mut state = next.keepers[0].state.clone();
    let waiting = state.wait_for(|state| state.schedule.stale_at().is_none());
    tokio::time::timeout(DEADLINE, waiting).await.expect("within the deadline").expect("the task lives");
    assert!(!next.status()[0].is_ready && issuer.keys().load().is_empty());
}

#[tokio::test]
async fn a_reload_takes_fresh_keys_over_without_a_fetch() {
    let server = Server::start().await;
    let oidc = spawn(&[server.issuer()], Timing::default());
    ready(&oidc).await;
    let after = issuer(&server.url, "renamed");
    let http = |_: &Issuer| client::client(None).expect("a client");
    let next = Oidc::spawn(from_ref(&after), http, Timing::default(), Some(&oidc));
    drop(oidc);
    assert!(has(&after, "first") && next.status()[0].is_ready);
    assert_eq!(next.refetch(&after).await, Refetch::TooSoon);
    assert_eq!(server.fetches(), 1);
}

#[tokio::test]
async fn an_issuer_that_is_down_at_start_is_tried_until_it_is_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    drop(listener);
    let issuer = issuer(&format!("http://{address}"), "corp");
    let oidc = spawn(from_ref(&issuer), Timing { retry: Duration::from_millis(20), ..Timing::default() });
    let status = fetched(&oidc, 2).await;
    let error = status.last_error.expect("nobody listens");
    assert!(error.contains("the discovery document cannot be reached: "), "{error}");
    assert!(!status.is_ready);
    let listener = TcpListener::bind(address).await.expect("the port is still free");
    let _server = Server::serve(listener);
    ready(&oidc).await;
    assert!(has(&issuer, "first") && oidc.status()[0].last_error.is_none());
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_is_given_up() {
    let server = Server::start().await;
    let _all = server.gate.acquire_many(GATE as u32).await.expect("never closed");
    let oidc = spawn(&[server.issuer()], Timing { timeout: Duration::from_millis(50), ..Timing::default() });
    let error = fetched(&oidc, 1).await.last_error.expect("no answer");
    assert!(error.contains("did not answer within"), "{error}");
}
