//! The binary as people and scripts call it: exit codes, streams, files.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

fn ringward(dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
    command.args(arguments).current_dir(dir).env_clear().stdin(Stdio::null());
    command.env("HOME", dir).env("XDG_RUNTIME_DIR", dir.join("run"));
    command.output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A directory after `ringward init`.
fn initialised() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let output = ringward(dir.path(), &["init"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    dir
}

fn replace(dir: &Path, from: &str, to: &str) {
    let file = dir.join("ringward.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{from}");
    fs::write(&file, text.replacen(from, to, 1)).unwrap();
}

#[test]
fn the_command_line_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let check = |arguments: &[&str], code, on_stdout: &str| {
        let output = ringward(dir.path(), arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(stdout(&output).contains(on_stdout), "{arguments:?}: {}", stdout(&output));
    };
    check(&["--help"], 0, "Usage: ringward");
    check(&["--version"], 0, concat!("ringward ", env!("CARGO_PKG_VERSION")));
    check(&["version"], 0, concat!("ringward ", env!("CARGO_PKG_VERSION")));
    check(&["version", "--json"], 0, "\"version\": \"");
    check(&["completions", "bash"], 0, "_ringward");
    check(&["config", "schema"], 0, "https://json-schema.org/draft/2020-12/schema");
    check(&["config", "explain", "route.match.path"], 0, "route.match.path: a string");
    check(&["config", "explain", "runtime.cores"], 0, "Default: \"auto\"");
    check(&["config", "explain", "policy.action"], 0, "\"block\"  Refuses it with the reason.");
    check(&["config", "explain", "upstreams.anthropic.timeout.idle"], 0, "Default: \"5m\"");
    check(&[], 2, "");
    check(&["chekc"], 2, "");
    check(&["check", "--format", "xml"], 2, "");
    let output = ringward(dir.path(), &["config", "explain", "rout"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("did you mean `route`?"));
}

#[test]
fn man_pages_are_written_for_every_command() {
    let dir = tempfile::tempdir().unwrap();
    let output = ringward(dir.path(), &["man", "pages"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    for page in ["ringward.1", "ringward-check.1", "ringward-config-explain.1"] {
        assert!(dir.path().join("pages").join(page).exists(), "{page}");
    }
}

#[test]
fn init_writes_what_check_finds_good() {
    let dir = initialised();
    let mode = |file: &str| fs::metadata(dir.path().join(file)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("key.pem"), mode("anthropic.key")), (0o600, 0o600));
    let output = ringward(dir.path(), &["check", "--strict"]);
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), "ringward.toml: good\n".into()));
    assert_eq!(stdout(&output), "");
    let printed = ringward(dir.path(), &["config", "print"]);
    assert!(stdout(&printed).contains("first_byte = \"10m\""), "{}", stdout(&printed));
    assert!(!stdout(&printed).contains("replace-me"), "secrets only as sources");
    let env = ringward(dir.path(), &["env", "claude-code"]);
    assert!(
        stdout(&env).contains("export ANTHROPIC_BASE_URL='https://127.0.0.1:8443'\n"),
        "{}",
        stdout(&env)
    );
}

#[test]
fn init_never_overwrites() {
    let dir = initialised();
    fs::write(dir.path().join("cert.pem"), "mine").unwrap();
    let output = ringward(dir.path(), &["init"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("already there; nothing was written"), "{}", stderr(&output));
    assert_eq!(fs::read_to_string(dir.path().join("cert.pem")).unwrap(), "mine");
    let fresh = tempfile::tempdir().unwrap();
    let output = ringward(fresh.path(), &["init", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(fs::read_dir(fresh.path()).unwrap().count(), 0);
}

#[test]
fn init_for_the_unit_writes_its_folders_and_keys_for_its_group() {
    let dir = tempfile::tempdir().unwrap();
    let output = ringward(dir.path(), &["init", "--service"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("systemctl enable --now ringward"), "{}", stderr(&output));
    let text = fs::read_to_string(dir.path().join("ringward.toml")).unwrap();
    assert!(text.contains("\nsocket = \"/run/ringward/admin.sock\"\n"), "{text}");
    assert!(text.contains("\ndir = \"/var/lib/ringward/audit\"\n"), "{text}");
    let mode = fs::metadata(dir.path().join("key.pem")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert_eq!(ringward(dir.path(), &["check", "--strict"]).status.code(), Some(0));
}

#[test]
fn check_names_file_line_column_and_remedy() {
    let dir = initialised();
    replace(dir.path(), "upstream = \"anthropic\"", "upstream = \"antropic\"");
    let output = ringward(dir.path(), &["check"]);
    assert_eq!(output.status.code(), Some(3));
    let shown = "\
error: unknown upstream `antropic`
  --> ringward.toml:42:12
   |
42 | upstream = \"antropic\"
   |            ^^^^^^^^^^
   |
   = help: did you mean `anthropic`? defined: `anthropic`

ringward.toml: 1 error
";
    assert_eq!(stderr(&output), shown);
    let output = ringward(dir.path(), &["check", "--format", "json"]);
    assert_eq!(output.status.code(), Some(3));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["diagnostics"][0]["line"], 42);
    let output = ringward(dir.path(), &["check", "--format", "sarif"]);
    let sarif: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sarif["runs"][0]["results"][0]["ruleId"], "unknown-name");
}

#[test]
fn warnings_fail_only_when_strict() {
    let dir = initialised();
    replace(dir.path(), "masks = [", "record = \"off\"\nmasks = [");
    let code = |arguments: &[&str]| ringward(dir.path(), arguments).status.code();
    assert_eq!((code(&["check"]), code(&["check", "--strict"])), (Some(0), Some(4)));
}

#[test]
fn check_reads_keys_and_secrets() {
    let dir = initialised();
    let check = |from: &str, to: &str, expected: &str| {
        replace(dir.path(), from, to);
        let output = ringward(dir.path(), &["check"]);
        assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
        replace(dir.path(), to, from);
    };
    check("{ file = \"anthropic.key\" }", "{ env = \"NOT_SET_ANYWHERE\" }", "ringward.toml:29:10");
    check("{ file = \"cert.pem\" }", "{ file = \"no.pem\" }", "cannot read ./no.pem");
    check("{ file = \"key.pem\" }", "{ credential = \"tls.key\" }", "$CREDENTIALS_DIRECTORY");
    check("{ file = \"key.pem\" }", "{ file = \"anthropic.key\" }", "no usable private key");
    fs::set_permissions(dir.path().join("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    let output = ringward(dir.path(), &["check"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("= help: chmod 600 ./key.pem"), "{}", stderr(&output));
}

#[test]
fn check_finds_a_folder_where_the_log_cannot_be_written() {
    let dir = initialised();
    replace(dir.path(), "dir = \"audit\"", "dir = \"closed/audit\"");
    fs::create_dir(dir.path().join("closed")).unwrap();
    fs::set_permissions(dir.path().join("closed"), fs::Permissions::from_mode(0o555)).unwrap();
    // Root may write everywhere, unless it has lost its capabilities.
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let without = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    let program = if is_root { &without[..] } else { &["env"] };
    let mut command = Command::new(program[0]);
    command.args(&program[1..]).args([env!("CARGO_BIN_EXE_ringward"), "check"]).current_dir(dir.path());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", stderr(&output));
    assert!(stderr(&output).contains("the log cannot be written: ./closed: "), "{}", stderr(&output));
}

#[test]
fn check_reads_standard_input_and_the_environment() {
    let dir = initialised();
    let run = |arguments: &[&str], config: Option<&str>| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
        command.args(arguments).current_dir(dir.path()).env_clear();
        command.envs(config.map(|config| ("RINGWARD_CONFIG", config)));
        command.stdin(fs::File::open(dir.path().join("ringward.toml")).unwrap());
        command.output().unwrap()
    };
    assert_eq!(stderr(&run(&["check", "-c", "-"], None)), "<stdin>: good\n");
    assert_eq!(stderr(&run(&["check"], Some("./ringward.toml"))), "./ringward.toml: good\n");
    assert_eq!(run(&["check"], Some("missing.toml")).status.code(), Some(1));
    assert_eq!(stderr(&run(&["-q", "check"], None)), "");
}

#[test]
fn a_gateway_that_is_not_there_is_unreachable() {
    let dir = initialised();
    for command in ["status", "healthcheck", "reload"] {
        let output = ringward(dir.path(), &[command]);
        assert_eq!(output.status.code(), Some(5), "{command}");
        assert!(stderr(&output).contains("no gateway answers at unix:./admin.sock"), "{}", stderr(&output));
    }
    let output = ringward(dir.path(), &["status", "--admin", "ftp://x"]);
    assert_eq!(output.status.code(), Some(2));
}

/// The usual socket was asked instead, and its absence reported.
#[test]
fn a_broken_file_is_what_keeps_a_gateway_from_being_found() {
    let dir = initialised();
    // Bad, but it says where the gateway is.
    replace(dir.path(), "version = 1", "version = 7");
    let output = ringward(dir.path(), &["reload"]);
    assert_eq!(output.status.code(), Some(5));
    assert!(stderr(&output).contains("no gateway answers at unix:./admin.sock"), "{}", stderr(&output));
    replace(dir.path(), "version = 7", "version =");
    let output = ringward(dir.path(), &["reload"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("ringward.toml:4:") && said.contains("--admin unix:PATH"), "{said}");
}

#[test]
fn a_profile_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let output = ringward(dir.path(), &["token"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("there is no profile `default`"), "{}", stderr(&output));
    let profiles = dir.path().join(".config/ringward/profiles.toml");
    fs::create_dir_all(profiles.parent().unwrap()).unwrap();
    let profile = "[default]\ntoken_endpoint = \"http://127.0.0.1:1/token\"\nclient_id = \"a\"\n\
                   client_secret = { value = \"b\" }\n";
    fs::write(&profiles, profile).unwrap();
    fs::set_permissions(&profiles, fs::Permissions::from_mode(0o644)).unwrap();
    assert!(stderr(&ringward(dir.path(), &["token"])).contains("run chmod 600"));
    fs::set_permissions(&profiles, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(stderr(&ringward(dir.path(), &["token"])).contains("does not answer"));
}

/// A token endpoint that answers `answers` times, each with another token; the requests it got come back.
fn token_endpoint(answers: usize) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let mut requests = Vec::new();
        for number in 0..answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                assert_ne!(reader.read_line(&mut head).unwrap(), 0);
            }
            let length = head.to_lowercase().lines().find_map(|line| {
                line.strip_prefix("content-length: ").map(|digits| digits.parse::<usize>().unwrap())
            });
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            requests.push(head + &String::from_utf8(body).unwrap());
            // {"alg":"none"} . {"n":N}, unsigned: the command does not verify, the gateway does.
            let claims = ["eyJuIjowfQ", "eyJuIjoxfQ", "eyJuIjoyfQ"][number];
            let json = format!("{{\"access_token\":\"eyJhbGciOiJub25lIn0.{claims}.\",\"expires_in\":3600}}");
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n";
            write!(stream, "{head}content-length: {}\r\n\r\n{json}", json.len()).unwrap();
        }
        requests
    };
    (format!("http://{address}/token"), std::thread::spawn(serve))
}

#[test]
fn a_token_is_fetched_once_and_kept_for_its_owner_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (endpoint, server) = token_endpoint(2);
    let run = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
        command.arg("token").args(arguments).env_clear().env("HOME", dir.path());
        command.env("RINGWARD_TOKEN_ENDPOINT", &endpoint).env("RINGWARD_TOKEN_CLIENT_ID", "laptop");
        command.env("RINGWARD_TOKEN_CLIENT_SECRET", "s3cret").env("RINGWARD_TOKEN_AUDIENCE", "gw");
        command.output().unwrap()
    };
    let first = stdout(&run(&[]));
    assert_eq!(first, "eyJhbGciOiJub25lIn0.eyJuIjowfQ.\n");
    assert_eq!(stdout(&run(&[])), first, "the first is still good");
    let claims: serde_json::Value = serde_json::from_str(&stdout(&run(&["--print-claims"]))).unwrap();
    assert_eq!(claims, serde_json::json!({ "n": 0 }));
    assert_eq!(stdout(&run(&["--fresh"])), "eyJhbGciOiJub25lIn0.eyJuIjoxfQ.\n");
    let kept = dir.path().join(".cache/ringward/token-default.json");
    assert_eq!(fs::metadata(kept).unwrap().permissions().mode() & 0o777, 0o600);
    let requests = server.join().unwrap();
    // RFC 6749 sections 2.3.1 and 4.4.2: `laptop:s3cret`.
    assert!(requests[0].to_lowercase().contains("authorization: basic bgfwdg9wonmzy3jlda=="));
    assert!(requests[0].ends_with("grant_type=client_credentials&audience=gw"), "{}", requests[0]);
}

#[test]
fn an_audit_folder_without_a_log_does_not_verify() {
    let dir = tempfile::tempdir().unwrap();
    let code = |path: &str| ringward(dir.path(), &["audit", "verify", path]).status.code();
    assert_eq!(code("missing"), Some(1));
    fs::create_dir(dir.path().join("audit")).unwrap();
    assert_eq!(code("audit"), Some(6));
    fs::write(dir.path().join("audit/stranger"), "x").unwrap();
    assert_eq!(code("audit"), Some(6));
}

#[test]
fn mask_is_a_filter() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str], input: &[u8]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
        command.arg("mask").args(arguments).current_dir(dir.path()).env_clear();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        // It may have said what is wrong without reading anything.
        let _ = child.stdin.take().unwrap().write_all(input);
        child.wait_with_output().unwrap()
    };
    let text = b"card 4242 4242 4242 4242, mail ann@example.com\n";
    for arguments in [&[][..], &["--chunk-bytes", "1"], &["--as", "text", "--chunk-bytes", "5"]] {
        let output = run(arguments, text);
        assert_eq!(
            (output.status.code(), &*stdout(&output)),
            (Some(0), "card [credit_card], mail [email]\n")
        );
    }
    fs::write(
        dir.path().join("rules.toml"),
        "[[mask]]\nname = \"mails\"\nkind = \"email\"\nreplace = \"<{name}>\"",
    )
    .unwrap();
    let rules = ["--rules", "rules.toml"];
    assert_eq!(stdout(&run(&rules, text)), "card 4242 4242 4242 4242, mail <mails>\n");
    let output = run(&["--rules", "rules.toml", "--explain"], text);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found, serde_json::json!({"offset": 31, "len": 15, "mask": "mails", "kind": "email"}));
    let lines = b"{\"a\": \"ann@example.com\"}\n{\"b\": 1}\n";
    assert_eq!(stdout(&run(&["--as", "ndjson"], lines)), "{\"a\": \"[email]\"}\n{\"b\": 1}\n");
    fs::write(dir.path().join("bad.toml"), "[[mask]]\nname = \"a\"\nkind = \"nonsense\"").unwrap();
    let output = run(&["--rules", "bad.toml"], text);
    assert_eq!((output.status.code(), stdout(&output).len()), (Some(3), 0));
    assert!(stderr(&output).contains("bad.toml:3"), "{}", stderr(&output));
    assert_eq!(run(&["--rules", "missing.toml"], text).status.code(), Some(1));
    assert_eq!(run(&["--rules", "-"], text).status.code(), Some(2));
    assert_eq!(run(&["--chunk-bytes", "0"], text).status.code(), Some(2));
    let output = run(&[], b"\xff\xfea\0");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("from byte 0"), "{}", stderr(&output));
}

/// `ringward mask` with `arguments` over `input`, which must succeed.
fn masked(arguments: &[&str], input: &[u8]) -> String {
    let mut child = mask(arguments);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", stderr(&output));
    stdout(&output)
}

fn mask(arguments: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ringward"));
    command.arg("mask").args(arguments).env_clear();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn mask_gives_the_same_byte_by_byte_for_every_format() {
    let text = "Write to bob@example.com or call (212) 555-0123, card 4111 1111 1111 1111.\n";
    let json = r#"{"a":"bob\u0040example.com","n":4111111111111111,"l":["10.0.0.1",null]}"#;
    let block = |delta: &str| {
        format!(
            "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":\
             {{\"type\":\"text_delta\",\"text\":\"{delta}\"}}}}\n\n"
        )
    };
    let choice = |delta: &str| {
        format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{delta}\"}}}}]}}\n\n")
    };
    let part = |delta: &str| {
        format!(
            "data: {{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"{delta}\"}}\n\n"
        )
    };
    let streamed = |event: &dyn Fn(&str) -> String| ["to bo", "b@exa", "mple.com "].map(event).concat();
    let cases: [(&[&str], String); 7] = [
        (&[], text.to_owned()),
        (&["--as", "json"], json.to_owned()),
        (&["--as", "ndjson"], [json, "\n", json, "\n"].concat()),
        (&["--as", "sse"], format!("data: {json}\n\n")),
        (&["--as", "sse", "--events", "anthropic"], streamed(&block)),
        (&["--as", "sse", "--events", "openai-chat"], streamed(&choice)),
        (&["--as", "sse", "--events", "openai-responses"], streamed(&part)),
    ];
    for (arguments, input) in cases {
        let whole = masked(arguments, input.as_bytes());
        assert!(whole.contains("[email]") && !whole.contains("example.com"), "{arguments:?}: {whole}");
        let pieces = [arguments, &["--chunk-bytes", "1"]].concat();
        assert_eq!(masked(&pieces, input.as_bytes()), whole, "{arguments:?}");
    }
}

/// As `ringward mask <FILE | head -n 1` does.
#[test]
fn mask_ends_quietly_when_its_reader_has_enough() {
    let mut child = mask(&[]);
    let mut stdin = child.stdin.take().unwrap();
    let endless = std::thread::spawn(move || while stdin.write_all(b"mail bob@example.com\n").is_ok() {});
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "mail [email]\n");
    let output = child.wait_with_output().unwrap();
    endless.join().unwrap();
    assert_eq!((output.status.code(), stderr(&output)), (Some(0), String::new()));
}

/// The most memory that a process has held, in KiB.
fn resident_kib_max(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn mask_holds_no_more_of_a_long_input_than_of_a_short_one() {
    let mut child = mask(&[]);
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()).unwrap());
    let text = ["Nothing to see in here, move along. ".repeat(99), "bob@example.com\n".to_owned()].concat();
    let text = text.repeat((1 << 20) / text.len());
    // All that was written was taken in, but for what a pipe holds.
    let mut after = |mebibytes: usize| {
        (0..mebibytes).for_each(|_| stdin.write_all(text.as_bytes()).unwrap());
        resident_kib_max(child.id())
    };
    let (short, long) = (after(1), after(5));
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(reader.join().unwrap() > 4 << 20);
    assert!(long < short + 2048, "{short} KiB after one mebibyte, {long} KiB after six");
}
