//! SECURITY R1 to R9, R11 to R14, R16 and R17 through a gateway that runs. Each rule, and what proves it; `…`
//! stands for the rest of a name.
//!
//! - R1, what is canonical and audited reaches the origin, and nothing else: `http_vectors::gateway` (3,702
//!   raw requests), fuzz target `gateway`.
//! - R2, lengths and codings. Requests: `http::h1::request`, `framing::malformed_requests_…`. Responses:
//!   `answers::an_answer_with_more_or_less_…`.
//! - R3, heads. Requests: `http::h1::{head, request}`, `framing::malformed_requests_…`. Responses:
//!   `answers::an_answer_with_a_malformed_head_…`.
//! - R4, chunks. Requests: `http::h1::body`, `framing::a_body_that_breaks_…`. Responses:
//!   `answers::{an_answer_with_malformed_chunks_…, an_answer_that_turns_out_…}`.
//! - R5, trailers. Requests: `trailers_are_dropped_or_refused`. Responses:
//!   `answers::{an_answer_with_malformed_chunks_…, what_an_answer_is_made_of_…}`.
//! - R6, upstream connections are used again: `pool`, `answers::{what_an_answer_is_made_of_…,
//!   an_early_answer_…, an_answer_that_ends_too_early_…}`.
//! - R7, Upgrade and h2c: `an_upgrade_is_no_tunnel`, `answers::an_answer_that_must_not_have_a_body_…`.
//! - R8, Expect: `framing::{the_body_is_asked_for_…, a_refused_expectation_…, informational_answers_…}`.
//! - R9, hop-by-hop and nominated fields. Requests: `http::rules`, `a_connection_field_nominates_…`.
//!   Responses: `answers::what_an_answer_is_made_of_…`.
//! - R11, the destination is the configuration's: `the_destination_is_never_the_callers`,
//!   `requests_for_the_whole_server_…`, `background::resolve`, `config::lint::network`; a Host that is not
//!   the name of the handshake: `tls::requests_pass_…`, `exchange::tests::hygiene`.
//! - R12, redirects: `redirects_are_passed_on_and_never_followed`.
//! - R13, the policy sees what is forwarded: `exchange::tests::{canonical, hygiene}`,
//!   `policy::tests::a_raw_path_…`, `a_path_in_disguise_…`.
//! - R14, repeated parameters: `policy::tests::any_occurrence_of_a_parameter_counts`, `a_path_in_disguise_…`.
//! - R16 and R17, overrides and claims about the caller: `http::rules`, `overrides_and_claims_are_removed_…`.
//! - R40, credentials in a query: `http::target`, `credentials_in_a_query_are_in_no_record`.

use super::{
    harness::{Setup, Upstream},
    oracle,
    wire::{End, Wire},
};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// The next request that upstream receives, judged; it is answered.
#[track_caller]
fn forwarded(served: &mut Wire) -> oracle::Request {
    let head = served.raw_head();
    served.send(OK);
    let messages = oracle::requests(&head).unwrap_or_else(|fault| panic!("{fault}"));
    messages.whole.into_iter().next().expect("a request without a body")
}

fn names(request: &oracle::Request) -> Vec<&str> {
    request.fields.0.iter().map(|(name, _)| &**name).collect()
}

// SECURITY R7.
#[test]
fn an_upgrade_is_no_tunnel() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut served = None;
    for (upgrade, behind) in [
        (
            "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        ),
        (
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13",
            "\u{81}\u{5}hello\r\n\r\n",
        ),
        ("connection: upgrade\r\nUpgrade: TLS/1.0, h2c", "\u{16}\u{3}\u{1}\u{2}"),
    ] {
        let mut client = gateway.ask(format!("GET / HTTP/1.1\r\nhost: a\r\n{upgrade}\r\n\r\n{behind}"));
        let served = served.get_or_insert_with(|| upstream.accept());
        let request = forwarded(served);
        for gone in ["connection", "upgrade", "http2-settings"] {
            assert!(!names(&request).contains(&gone), "{gone} in {request:?}");
        }
        assert_eq!(client.response().status(), 200, "{upgrade}");
        // What was pipelined behind it is the next request, and none.
        client.response().is_refusal(400, "malformed_request", "");
        assert_eq!(client.end(), End::Clean);
    }
    // HTTP/2 with prior knowledge.
    let mut client = gateway.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.response().is_refusal(400, "malformed_request", "version_unsupported");
    drop((client, served));
    upstream.is_left_alone();
    gateway.stop(3, 4);
}

// SECURITY R9.
#[test]
fn a_connection_field_nominates_only_its_own() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let refused = [
        "Host",
        "close, Content-Length",
        "transfer-encoding",
        "Authorization",
        "x-api-key",
        "X_Api_Key",
        "Cookie",
        "proxy-authorization",
        "x-forwarded-for",
        "forwarded",
        "via",
        "content-type",
        "content-encoding",
        "x-http-method-override",
    ];
    for value in refused {
        let mut client = gateway.ask(format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: {value}\r\n\r\n"));
        client.response().is_refusal(400, "malformed_request", "connection_nominates");
        assert_eq!(client.end(), End::Clean, "{value}");
    }
    upstream.is_left_alone();
    let mut client = gateway.ask(concat!(
        "GET / HTTP/1.1\r\nhost: a\r\nConnection: x-a, keep-alive\r\nconnection: X-B\r\nX-A: 1\r\nx-b: 2\r\n",
        "Keep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\nTE: trailers\r\n",
        "Trailer: x-c\r\nx-c: 3\r\n\r\n"
    ));
    let mut served = upstream.accept();
    let request = forwarded(&mut served);
    let own = ["host", "x-c", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    assert_eq!(names(&request), own);
    client.response();
    drop(client);
    gateway.stop(1, refused.len() as u64);
}

// SECURITY R5.
#[test]
fn trailers_are_dropped_or_refused() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let post = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n";
    for trailer in ["Content-Length: 9", "transfer-encoding: chunked", "HOST: b", "Authorization: Basic eA=="]
    {
        let mut client = gateway.ask(format!("{post}a: b\r\n{trailer}\r\n\r\n"));
        client.response().is_refusal(400, "malformed_request", "trailer_forbidden");
    }
    upstream.is_left_alone();
    let mut client = gateway.ask(format!("{post}X-Sum: 1\r\nX-Api-Version: 2\r\n\r\n"));
    let mut served = upstream.accept();
    let request = served.request();
    assert_eq!((&*request.text(), request.head.get("x-sum")), ("hi", None));
    served.send(OK);
    assert_eq!(client.response().status(), 200);
    drop(client);
    gateway.stop(1, 4);
}

// SECURITY R11.
#[test]
fn the_destination_is_never_the_callers() {
    let (upstream, elsewhere) = (Upstream::bind(), Upstream::bind());
    let tables = "[[listen]]\nname = \"hosts\"\naddr = \"127.0.0.1:0\"\n[[route]]\nname = \"hosts\"
        match = { listen = \"hosts\", host = \"gw.test\", path = \"/v1/**\" }\nidentity = []
        upstream = \"up\"\npolicies = [\"default\"]";
    let gateway = Setup::to(upstream.address).tables(tables).start();
    let listener = gateway.running.addresses.listeners[1].1;
    let ask = |request: &str| {
        let mut client = Wire::connect(listener);
        client.send(request);
        client
    };
    let other = elsewhere.address;
    let cases = [
        (format!("GET http://{other}/v1/x HTTP/1.1\r\nhost: {other}\r\n\r\n"), 421, "misdirected"),
        (format!("GET /v1/x HTTP/1.1\r\nhost: {other}\r\n\r\n"), 421, "misdirected"),
        ("GET /v1/x HTTP/1.1\r\nhost: gw.test.evil.test\r\n\r\n".to_owned(), 421, "misdirected"),
        ("GET /v1/x HTTP/1.1\r\nhost: evil.gw.test\r\n\r\n".to_owned(), 421, "misdirected"),
        ("GET /v1/x HTTP/1.0\r\n\r\n".to_owned(), 421, "misdirected"),
        ("GET http://gw.test/v2 HTTP/1.1\r\nhost: gw.test\r\n\r\n".to_owned(), 404, "no_route"),
        ("GET /v1/../v2 HTTP/1.1\r\nhost: gw.test\r\n\r\n".to_owned(), 404, "no_route"),
        // Two readers would take different hosts from these.
        (format!("GET http://{other}/v1/x HTTP/1.1\r\nhost: gw.test\r\n\r\n"), 400, "malformed_request"),
        (
            format!("GET http://gw.test@{other}/v1/x HTTP/1.1\r\nhost: gw.test\r\n\r\n"),
            400,
            "malformed_request",
        ),
        ("GET ftp://gw.test/v1/x HTTP/1.1\r\nhost: gw.test\r\n\r\n".to_owned(), 400, "malformed_request"),
        ("GET //evil.test/v1/x HTTP/1.1\r\nhost: gw.test\r\n\r\n".to_owned(), 404, "no_route"),
        (format!("CONNECT {other} HTTP/1.1\r\nhost: {other}\r\n\r\n"), 501, "not_implemented"),
    ];
    for (request, status, code) in &cases {
        ask(request).response().is_refusal(*status, code, "");
    }
    elsewhere.is_left_alone();
    upstream.is_left_alone();
    let mut served = None;
    for target in ["/v1/x", "http://gw.test/v1/x", "HTTPS://GW.test/v1/./x"] {
        let mut client = ask(&format!("GET {target} HTTP/1.1\r\nHost: GW.test\r\n\r\n"));
        let request = forwarded(served.get_or_insert_with(|| upstream.accept()));
        assert_eq!(request.target, "/v1/x", "{target}");
        assert_eq!(request.fields.all("host"), [upstream.address.to_string().as_bytes()]);
        assert_eq!(request.fields.all("x-forwarded-host"), [b"gw.test"]);
        client.response();
    }
    drop(served);
    gateway.stop(3, cases.len() as u64);
}

/// The asterisk has no path that a prefix could be put in front of (RFC 9110 section 9.3.7).
#[test]
fn requests_for_the_whole_server_have_no_path() {
    let upstream = Upstream::bind();
    let gateway = Setup::to_url(&format!("http://{}/base", upstream.address)).start();
    let mut served = None;
    for (target, seen) in [("*", "*"), ("http://a", "*"), ("/", "/base/"), ("http://a/x", "/base/x")] {
        let mut client = gateway.ask(format!("OPTIONS {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        let request = forwarded(served.get_or_insert_with(|| upstream.accept()));
        assert_eq!((&*request.method, &*request.target), ("OPTIONS", seen), "{target}");
        client.response();
    }
    let mut client = gateway.ask("GET * HTTP/1.1\r\nhost: a\r\n\r\n");
    client.response().is_refusal(400, "malformed_request", "target_form_invalid");
    drop((client, served));
    gateway.stop(4, 1);
}

// SECURITY R12.
#[test]
fn redirects_are_passed_on_and_never_followed() {
    let (upstream, elsewhere) = (Upstream::bind(), Upstream::bind());
    let gateway = Setup::to(upstream.address).start();
    let mut served = None;
    for status in [301, 302, 303, 307, 308] {
        let mut client = gateway.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi");
        let served = served.get_or_insert_with(|| upstream.accept());
        served.request();
        let location = format!("http://{}/there", elsewhere.address);
        served.send(format!("HTTP/1.1 {status} X\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"));
        let response = client.response();
        assert_eq!((response.status(), response.head.get("location")), (status, Some(&*location)));
    }
    elsewhere.is_left_alone();
    upstream.is_left_alone();
    drop(served);
    gateway.stop(5, 0);
}

// SECURITY R13 and R14.
#[test]
fn a_path_in_disguise_is_decided_as_what_it_is() {
    let upstream = Upstream::bind();
    let closed = "[[policy]]\nname = \"closed\"\nwhen = { path = \"/admin/**\" }\naction = \"block\"\n\
                  [[policy]]\nname = \"query\"\nwhen = { query.admin = \"1\" }\naction = \"block\"";
    let setup = Setup::to(upstream.address).route("policies = [\"closed\", \"query\", \"default\"]");
    let gateway = setup.tables(closed).start();
    let refused = [
        "/admin",
        "/admin/x",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2E/admin",
        "/%61dmin",
        "/%2561dmin",
        "/ADMIN/x",
        "/admin;x=1",
        "/admin%3bx",
        "/x?admin=1",
        "/x?admin=0&admin=1",
        "/x?%61dmin=%31",
    ];
    for target in refused {
        let mut client = gateway.ask(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        client.response().is_refusal(403, "policy_denied", "");
    }
    let malformed =
        ["/x/..%2fadmin", "/x%5c..%5cadmin", "/%c0%ae/admin", "/%252e%252e/admin", "/..;/admin", "/a\\b"];
    for target in malformed {
        let mut client = gateway.ask(format!("GET {target} HTTP/1.1\r\nhost: a\r\n\r\n"));
        client.response().is_refusal(400, "malformed_request", "target_");
    }
    upstream.is_left_alone();
    let mut client = gateway.ask("GET //public/./%7euser/../x?admin=0 HTTP/1.1\r\nhost: a\r\n\r\n");
    let mut served = upstream.accept();
    assert_eq!(forwarded(&mut served).target, "/public/x?admin=0");
    client.response();
    drop(client);
    gateway.stop(1, (refused.len() + malformed.len()) as u64);
}

// SECURITY R16 and R17.
#[test]
fn overrides_and_claims_are_removed_whatever_their_spelling() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let claimed = [
        "X-HTTP-Method-Override",
        "X-HTTP-Method",
        "X-Method-Override",
        "x_http_method_override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-For",
        "X_Forwarded_For",
        "x-forwarded_host",
        "X.Forwarded.Proto",
        "X-Forwarded-Prefix",
        "Forwarded",
        "_Forwarded",
        "X-Real-IP",
        "x_real_ip",
        "True-Client-IP",
        "CF-Connecting-IP",
        "X-Client-IP",
        "X-Host",
    ];
    let lines: String = claimed.iter().map(|name| format!("{name}: 192.0.2.66\r\n")).collect();
    let mut client = gateway.ask(format!("GET / HTTP/1.1\r\nhost: gw.test\r\n{lines}x-kept: 1\r\n\r\n"));
    let mut served = upstream.accept();
    let request = forwarded(&mut served);
    let own = ["host", "x-kept", "via", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    assert_eq!(names(&request), own);
    assert_eq!(request.fields.all("x-forwarded-for"), [b"127.0.0.1"]);
    assert_eq!(request.fields.all("x-forwarded-proto"), [b"http"]);
    assert_eq!(request.fields.all("x-forwarded-host"), [b"gw.test"]);
    client.response();
    drop(client);
    gateway.stop(1, 0);
}

/// An upstream that leads back to the gateway: without its Via it would call itself until nothing is left.
#[test]
fn a_request_that_goes_in_a_circle_is_refused() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let mut client = gateway.ask("GET / HTTP/1.1\r\nhost: a\r\nvia: 1.0 fred, 1.1 b.test\r\n\r\n");
    let mut served = upstream.accept();
    let request = forwarded(&mut served);
    let via = request.fields.all("via").into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>();
    assert!(
        matches!(&*via, [first, own] if first == "1.0 fred, 1.1 b.test" && own.starts_with("1.1 ringward-"))
    );
    client.response();
    assert_eq!(gateway.reload(&Setup::to(gateway.address)).ok(), Some(2));
    client.send("GET /circle HTTP/1.1\r\nhost: a\r\n\r\n");
    let response = client.response();
    // Its second half refused what its first half had sent.
    assert_eq!((response.status(), response.head.get("x-ringward-response")), (508, None));
    assert!(response.text().contains("\"loop_detected\""), "{}", response.text());
    drop((client, served));
    let log = gateway.stop(2, 1);
    assert_eq!(log.outcomes().last().unwrap().status, Some(508));
}

// SECURITY R40.
#[test]
fn credentials_in_a_query_are_in_no_record() {
    let upstream = Upstream::bind();
    let gateway = Setup::to(upstream.address).start();
    let query = "a=1&access_token=CANARY-1&api_key=CANARY-2&sig=CANARY-3&key=AIzaCANARY-4-0123456789";
    let fields = "host: a\r\nreferer: https://a.test/?token=CANARY-5";
    let mut client = gateway.ask(format!("GET /x?{query} HTTP/1.1\r\n{fields}\r\n\r\n"));
    let mut served = upstream.accept();
    let request = forwarded(&mut served);
    assert_eq!(request.target, format!("/x?{query}"), "the API gets what it needs");
    client.response();
    client.send(format!("TRACE /x?{query} HTTP/1.1\r\n{fields}\r\n\r\n"));
    client.response().is_refusal(400, "malformed_request", "TRACE");
    drop(client);
    let log = gateway.stop(1, 1);
    let bytes = String::from_utf8_lossy(&log.bytes()).into_owned();
    assert!(!bytes.contains("CANARY"), "a credential is in the log");
    assert_eq!(
        bytes.matches("/x?a=1&access_token=[redacted]&api_key=[redacted]&sig=[redacted]&key=").count(),
        2
    );
}
