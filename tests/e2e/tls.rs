//! The TLS port as scanners and other people's clients see it: sslscan, OpenSSL, curl.

use super::support::{
    clients::run,
    eventually,
    gateway::{Gateway, ringward},
    upstream::Upstream,
};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Output, Stdio},
    time::Duration,
};

const LIMIT: Duration = Duration::from_secs(60);
const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A self-signed certificate with its key, in `NAME.pem` and `NAME-key.pem`; gives its serial number.
fn certificate(folder: &Path, name: &str, serial: u8, change: impl FnOnce(&mut CertificateParams)) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.serial_number = Some(vec![0x42, serial].into());
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2080, 1, 1));
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    fs::write(folder.join(format!("{name}.pem")), params.self_signed(&key).unwrap().pem()).unwrap();
    private(&folder.join(format!("{name}-key.pem")), &key.serialize_pem());
}

fn private(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// Another one for the same name, with an RSA key.
fn rsa_certificate(folder: &Path) {
    let arguments = "req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=localhost -set_serial 0x4299 \
                     -addext subjectAltName=DNS:localhost -keyout rsa-key.pem -out rsa.pem";
    let mut command = Command::new("openssl");
    let output = run(command.args(arguments.split_whitespace()).current_dir(folder), LIMIT);
    assert!(output.status.success(), "{}", text(&output));
    fs::set_permissions(folder.join("rsa-key.pem"), fs::Permissions::from_mode(0o600)).unwrap();
}

/// A gateway with one TLS listener, called `secure`.
fn gateway() -> Gateway {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), "own", 1, |_| {});
    rsa_certificate(folder.path());
    let upstream = Upstream::answering("through TLS");
    let routes = format!(
        "[[listen]]\nname = \"secure\"\naddr = \"127.0.0.1:0\"\n\
         tls.cert = {{ file = \"own.pem\" }}\ntls.key = {{ file = \"own-key.pem\" }}\n\
         tls.certs = [{{ cert = {{ file = \"rsa.pem\" }}, key = {{ file = \"rsa-key.pem\" }} }}]\n\
         [upstreams.up]\nurl = \"http://{}\"\n\
         [[route]]\nname = \"up\"\nmatch = {{ path = \"/**\" }}\nidentity = []\n\
         upstream = \"up\"\npolicies = [\"default\"]\n",
        upstream.address
    );
    Gateway::start_in(folder, &routes)
}

fn address(gateway: &Gateway) -> String {
    eventually("the TLS listener", || gateway.find_address("secure"))
}

/// `openssl s_client` with `input`; all that it says.
fn s_client(gateway: &Gateway, arguments: &str, input: &str) -> String {
    let mut command = Command::new("openssl");
    command.args(["s_client", "-connect", &address(gateway), "-servername", "localhost"]);
    command.args(arguments.split_whitespace()).current_dir(gateway.folder.path());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().expect("piped");
    // It may have ended already.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    text(&child.wait_with_output().unwrap())
}

#[test]
fn a_scanner_finds_nothing_weak() {
    if Command::new("sslscan").arg("--version").output().is_err() {
        eprintln!("skipped: sslscan is not installed; `tests/run tools` does that");
        return;
    }
    let gateway = gateway();
    let mut command = Command::new("sslscan");
    command.args(["--no-colour", "--sni-name=localhost", "--xml=scan.xml", &address(&gateway)]);
    let output = run(command.current_dir(gateway.folder.path()), LIMIT);
    assert!(output.status.success(), "{}", text(&output));
    let scan = fs::read_to_string(gateway.folder.path().join("scan.xml")).unwrap();
    let elements = |name: &str| -> Vec<&str> {
        let start = format!("<{name} ");
        scan.lines().map(str::trim).filter(|line| line.starts_with(&start)).collect()
    };
    let protocols = elements("protocol");
    assert_eq!(protocols.len(), 6, "{scan}");
    for (kind, version, enabled) in [
        ("ssl", "2", 0),
        ("ssl", "3", 0),
        ("tls", "1.0", 0),
        ("tls", "1.1", 0),
        ("tls", "1.2", 1),
        ("tls", "1.3", 1),
    ] {
        let line = format!("<protocol type=\"{kind}\" version=\"{version}\" enabled=\"{enabled}\" />");
        assert!(protocols.contains(&line.as_str()), "{protocols:?}");
    }
    let ciphers = elements("cipher");
    assert!(ciphers.len() >= 9, "three of TLS 1.3, three each of TLS 1.2 for ECDSA and RSA: {scan}");
    for cipher in ciphers {
        let is_authenticated = cipher.contains("GCM") || cipher.contains("POLY1305");
        let is_ephemeral = cipher.contains("TLSv1.3") || cipher.contains("\"ECDHE-");
        assert!(is_authenticated && is_ephemeral && !cipher.contains("\"weak\""), "{cipher}");
    }
    assert_eq!(elements("renegotiation"), ["<renegotiation supported=\"0\" secure=\"0\" />"]);
    assert!(elements("heartbleed").iter().all(|line| line.contains("vulnerable=\"0\"")), "{scan}");
    assert!(elements("compression").iter().all(|line| line.contains("supported=\"0\"")), "{scan}");
    let said = s_client(&gateway, "-tls1_2 -comp", "");
    assert!(said.contains("Compression: NONE"), "{said}");
}

#[test]
fn openssl_speaks_both_versions_and_resumes_sessions() {
    let gateway = gateway();
    for (version, shown) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let first = s_client(&gateway, &format!("{version} -ign_eof -sess_out session"), GET);
        assert!(first.contains(&format!("New, {shown}, Cipher is")), "{first}");
        assert!(first.contains("HTTP/1.1 200 OK") && first.contains("through TLS"), "{first}");
        assert!(!first.contains("Max Early Data: 1") && first.contains("Compression: NONE"), "{first}");
        let second = s_client(&gateway, &format!("{version} -ign_eof -sess_in session"), GET);
        assert!(second.contains(&format!("Reused, {shown}, Cipher is")), "{second}");
        assert!(second.contains("through TLS"), "{second}");
    }
    let again = s_client(&gateway, "-tls1_2 -reconnect", "");
    assert_eq!(again.matches("Reused, TLSv1.2").count(), 5, "{again}");
    let identifiers = s_client(&gateway, "-tls1_2 -reconnect -no_ticket", "");
    assert_eq!(identifiers.matches("Reused, TLSv1.2").count(), 5, "also without tickets: {identifiers}");
    for version in ["-tls1", "-tls1_1"] {
        let refused = s_client(&gateway, &format!("{version} -cipher ALL:@SECLEVEL=0"), "");
        assert!(refused.contains("New, (NONE), Cipher is (NONE)"), "{version}: {refused}");
        assert!(refused.contains("alert"), "{version}: {refused}");
    }
    // RFC 5746, RFC 8446 section 4.1.2: it is refused, and the connection goes on or ends.
    let renegotiated = s_client(&gateway, "-tls1_2", "R\n");
    assert!(renegotiated.contains("no renegotiation"), "{renegotiated}");
}

/// RFC 7301 section 3.2, and certificates by the algorithms of a client.
#[test]
fn openssl_gets_the_protocol_and_the_certificate_that_it_can_use() {
    let gateway = gateway();
    let agreed = s_client(&gateway, "-alpn h2,http/1.1", "");
    assert!(agreed.contains("ALPN protocol: http/1.1"), "{agreed}");
    let refused = s_client(&gateway, "-alpn h2", "");
    assert!(refused.contains("no application protocol"), "{refused}");
    let usual = s_client(&gateway, "", "");
    assert!(usual.contains("a:PKEY: id-ecPublicKey"), "{usual}");
    for arguments in ["-tls1_3 -sigalgs RSA-PSS+SHA256", "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"] {
        let rsa = s_client(&gateway, arguments, "");
        assert!(rsa.contains("a:PKEY: rsaEncryption"), "{arguments}: {rsa}");
    }
}

#[test]
fn curl_speaks_both_versions_and_is_told_where_tls_is_spoken() {
    let gateway = gateway();
    let port = address(&gateway).rsplit_once(':').map(|(_, port)| port.to_owned()).expect("a port");
    let curl = |arguments: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--noproxy", "*"]).args(arguments.split_whitespace());
        text(&run(command.current_dir(gateway.folder.path()), LIMIT))
    };
    for version in ["--tls-max 1.2", "--tlsv1.3"] {
        let said = curl(&format!("{version} --cacert own.pem https://localhost:{port}/"));
        assert_eq!(said, "through TLS", "{version}");
    }
    let said = curl(&format!("http://localhost:{port}/"));
    assert!(said.contains("This port speaks TLS"), "{said}");
}

/// By signal and by command; what is wrong with a new certificate keeps the old one, and is said.
#[test]
fn certificates_are_read_again_on_request() {
    let gateway = gateway();
    let folder = gateway.folder.path();
    let serial = || {
        let said = s_client(&gateway, "", "");
        let pem = said
            .split_once("-----BEGIN")
            .map(|(_, rest)| format!("-----BEGIN{rest}"))
            .expect("a certificate");
        fs::write(folder.join("sent.pem"), pem).unwrap();
        let mut command = Command::new("openssl");
        command.args(["x509", "-in", "sent.pem", "-noout", "-serial"]).current_dir(folder);
        text(&run(&mut command, LIMIT)).trim().to_owned()
    };
    assert_eq!(serial(), "serial=4201");
    certificate(folder, "own", 2, |_| {});
    assert_eq!(serial(), "serial=4201", "not before it is asked for");
    gateway.process.signal("HUP");
    eventually("the new certificate", || (serial() == "serial=4202").then_some(()));
    certificate(folder, "own", 3, |_| {});
    let output = gateway.command(&["reload"]);
    assert!(output.status.success(), "{}", text(&output));
    assert_eq!(serial(), "serial=4203");
    let status = text(&gateway.command(&["status"]));
    assert!(status.contains("localhost, serial 4203, until 2080-01-01"), "{status}");

    let key = fs::read_to_string(folder.join("rsa-key.pem")).unwrap();
    private(&folder.join("own-key.pem"), &key);
    let output = gateway.command(&["reload"]);
    assert!(!output.status.success());
    assert!(text(&output).contains("belong together"), "{}", text(&output));
    assert_eq!(serial(), "serial=4203");
}

#[test]
fn check_warns_of_certificates_that_nobody_accepts() {
    let folder = tempfile::tempdir().unwrap();
    let check = |change: &dyn Fn(&mut CertificateParams), host: &str, said: &str| {
        certificate(folder.path(), "own", 1, change);
        let text = format!(
            "version = 1\n[[listen]]\nname = \"in\"\naddr = \"127.0.0.1:0\"\n\
             tls.cert = {{ file = \"own.pem\" }}\ntls.key = {{ file = \"own-key.pem\" }}\n\
             [upstreams.up]\nurl = \"http://127.0.0.1:9\"\n\
             [[route]]\nname = \"all\"\nmatch = {{ host = \"{host}\" }}\nidentity = []\n\
             upstream = \"up\"\npolicies = [\"default\"]\n\
             [[policy]]\nname = \"default\"\naction = \"allow\"\n"
        );
        fs::write(folder.path().join("ringward.toml"), text).unwrap();
        let file = folder.path().join("ringward.toml");
        let output = ringward(&["check", "--strict", "-c", &file.display().to_string()], &[]);
        let printed = self::text(&output);
        assert_eq!(output.status.code(), Some(4), "{printed}");
        assert!(printed.contains(said), "no {said:?} in {printed}");
        assert_eq!(printed.contains("certificate"), said.contains("certificate"), "{printed}");
    };
    check(&|_| {}, "localhost", "takes callers without identity");
    check(&|_| {}, "*.example.com", "no certificate of the listener `in` covers this host");
    check(
        &|params| params.not_after = date_time_ymd(2021, 1, 1),
        "localhost",
        "the certificate of localhost has expired on 2021-01-01",
    );
    check(
        &|params| params.not_before = date_time_ymd(2079, 1, 1),
        "localhost",
        "the certificate of localhost is not valid before 2079-01-01",
    );
    check(
        &|params| params.subject_alt_names.clear(),
        "localhost",
        "the certificate of serial 4201 names no host",
    );
}
