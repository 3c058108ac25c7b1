//! Certificates, tokens and what a gateway says of its stages.

mod server;

use loadtest::report::Run;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use server::{Answer, Server};
use std::{
    process::{Command, Output, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
    time::Duration,
};

/// Nothing here takes this long; it bounds tests that hang.
const DEADLINE: Duration = Duration::from_secs(60);

fn loadtest(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    command.arg("run").args(["--warmup", "0s", "--ui", "none", "--rate", "50", "--json"]).args(arguments);
    command.env_remove("RINGWARD_ADMIN").stdin(Stdio::null());
    command
}

fn finished(output: &Output) -> Run {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// A server with a certificate of its own, and the PEM of that.
fn secure(body: &'static str) -> (Server, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .expect("a configuration");
    (Server::start_tls(config, move |_| Answer::new(200, body)), made.cert.pem())
}

#[test]
fn a_certificate_has_to_be_that_of_the_authority_or_nobody_asks() {
    // Longer than any record, so that records are read in pieces.
    let body: &'static str = "x".repeat(100_000).leak();
    let (server, pem) = secure(body);
    let (_, other) = secure("");
    let directory = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (own, wrong, empty) =
        (file("own.pem", &pem), file("other.pem", &other), file("empty.pem", "nothing"));
    for trust in [&["--ca", &own][..], &["--insecure"]] {
        let output =
            loadtest(&[&[server.url(), "--duration", "300ms"], trust].concat()).output().expect("it runs");
        let run = finished(&output);
        assert_eq!((output.status.code(), run.target.error_count()), (Some(0), 0), "{output:?}");
        assert!(run.target.done > 0 && run.target.bytes_received > run.target.done * 100_000);
    }
    for (trust, code, part) in
        [(&["--ca", &wrong][..], 5, "--insecure"), (&[], 5, "--ca"), (&["--ca", &empty], 2, "empty.pem")]
    {
        let output = loadtest(&[&[server.url()], trust].concat()).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && said.contains(part), "{trust:?}: {said}");
    }
}

#[test]
fn a_token_from_a_file_is_sent_and_never_shown() {
    let server = Server::start(|request| match request.field("authorization") {
        Some("Bearer secret.of.mine") => Answer::new(200, "x"),
        _ => Answer::new(401, "who?"),
    });
    let directory = tempfile::tempdir().expect("a folder");
    let file = directory.path().join("token");
    std::fs::write(&file, "secret.of.mine\n").expect("a token");
    let auth = format!("token:@{}", file.display());
    let output = loadtest(&[server.url(), "--duration", "300ms", "--auth", &auth]).output().expect("it runs");
    let run = finished(&output);
    assert!(run.target.done > 0 && run.target.error_count() == 0, "{:?}", run.target.statuses);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("secret"), "it is in the report");
}

/// An issuer whose tokens last a second: the run ends when a third one was used.
#[test]
fn tokens_of_an_issuer_are_renewed_before_their_end() {
    let given = AtomicU64::new(0);
    let issuer = Server::start(move |request| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        // `me` and `a+b`, form-encoded and then in base64.
        let is_client = request.field("authorization") == Some("Basic bWU6YSUyQmI=");
        if !is_client || form != "grant_type=client_credentials&audience=https%3A%2F%2Fgw" {
            return Answer::new(401, r#"{"error":"invalid_client"}"#);
        }
        let number = given.fetch_add(1, Ordering::Relaxed);
        Answer::new(200, &format!(r#"{{"access_token":"t{number}","token_type":"bearer","expires_in":1}}"#))
    });
    let (seen, arrived) = channel();
    let seen = Mutex::new(seen);
    let server = Server::start(move |request| {
        let token = request.field("authorization").unwrap_or("none").to_owned();
        let _ = seen.lock().map(|seen| seen.send(token));
        Answer::new(200, "x")
    });
    let directory = tempfile::tempdir().expect("a folder");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let bad = file("secret", "a:b\n");
    let config = |secret: &str| {
        let endpoint = format!("{}/token", issuer.url());
        format!(
            "[corp]\ntoken_endpoint = \"{endpoint}\"\nclient_id = \"me\"\nclient_secret_file = \"{secret}\"\n\
             audience = \"https://gw\"\n"
        )
    };
    let (good, refused) = (file("good.toml", &config(&file("key", "a+b"))), file("bad.toml", &config(&bad)));
    let with = |file: &str| {
        let arguments = [server.url(), "--duration", "2m", "--auth", "oidc:corp", "--oidc-config", file];
        let mut command = loadtest(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
    };
    let output = with(&refused).wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(1) && said.contains("invalid_client"), "{said}");

    let child = with(&good);
    while arrived.recv_timeout(DEADLINE).expect("a request") != "Bearer t2" {}
    let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(kill.success());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!((output.status.code(), finished(&output).target.error_count()), (Some(0), 0));
}

#[test]
fn stages_are_those_of_the_answers_else_of_the_metrics() {
    let telling =
        Server::start(|_| Answer::new(200, "x").field("server-timing", "policy;dur=2.5, record;dur=1"));
    let output = loadtest(&[telling.url(), "--duration", "300ms", "--stages"]).output().expect("it runs");
    let run = finished(&output);
    let stage = run.stages.iter().find(|stage| stage.name == "policy").expect("a stage");
    assert_eq!((stage.count, stage.is_bound), (run.target.done, false));
    assert!((2.4e6..2.6e6).contains(&stage.p50_ns));

    let answered = Arc::new(AtomicU64::new(0));
    let counted = answered.clone();
    let gateway = Server::start(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        Answer::new(200, "x")
    });
    let metrics = Server::start(move |request| {
        assert_eq!(request.line, "GET /metrics HTTP/1.1");
        let count = answered.load(Ordering::Relaxed);
        let name = "ringward_stage_duration_seconds_bucket";
        let text = ["0.001", "+Inf"].map(|le| format!("{name}{{le=\"{le}\",stage=\"record\"}} {count}\n"));
        Answer::new(200, &text.concat())
    });
    let from = format!("--stages={}", metrics.url());
    let output = loadtest(&[gateway.url(), "--duration", "2s", &from]).output().expect("it runs");
    let run = finished(&output);
    let stage = run.stages.first().expect("a stage");
    assert_eq!((stage.name.as_str(), stage.is_bound, stage.p99_ns as u64), ("record", true, 1_000_000));
    assert!(stage.count > 0 && stage.count <= run.target.done);
}
