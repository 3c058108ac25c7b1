//! 3,702 raw requests of public suites, most of them made to smuggle, through the HTTP/1 parser.
//!
//! Each byte string is read as a connection would read it: head, body, next request. What the gateway would
//! forward is then judged by an oracle that shares no code with the parser: nothing non-canonical may be in
//! it, and it must hold exactly as many requests as were accepted.

use base64::Engine;
use ringward::buffer::{Chunk, Segments};
use ringward::http::h1::{BodyDecoder, ChunkEncoder, Role, encode_request, find_head_end, parse_request};
use ringward::http::{Framing, Rejection, rules};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(serde::Deserialize)]
struct Case {
    suite: String,
    id: String,
    b64: String,
    expect: String,
}

fn cases() -> Option<Vec<(Case, Vec<u8>)>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/http1-requests.json");
    let Ok(text) = std::fs::read(&path) else {
        eprintln!("skipped: {} is not there", path.display());
        return None;
    };
    let cases: Vec<Case> = serde_json::from_slice(&text).unwrap();
    let decode = |case: Case| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(&case.b64).unwrap();
        (case, bytes)
    };
    Some(cases.into_iter().map(decode).collect())
}

/// What became of the bytes of one connection.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// Requests read to their end.
    whole: usize,
    /// A head was accepted, but its body never ended.
    cut: bool,
    rejection: Option<Rejection>,
    /// What upstream would have received.
    forwarded: Vec<u8>,
}

/// Reads `bytes` as a connection does, in reads of `step` bytes.
fn receive(bytes: &[u8], step: usize) -> Outcome {
    let mut outcome = Outcome::default();
    if let Err(rejection) = receive_into(bytes, step, &mut outcome) {
        outcome.rejection = Some(rejection);
    }
    outcome
}

fn receive_into(bytes: &[u8], step: usize, outcome: &mut Outcome) -> Result<(), Rejection> {
    let mut start = 0;
    while start < bytes.len() {
        let Some(head_end) = receive_head(&bytes[start..], step)? else { return Ok(()) };
        let mut head = parse_request(Chunk::from(bytes[start..start + head_end].to_vec()))?;
        start += head_end;
        rules::strip_request(&mut head.headers, None)?;
        encode_request(&head, &[], &mut outcome.forwarded);
        outcome.cut = true;
        start += receive_body(&bytes[start..], step, head.framing, outcome)?;
        if outcome.cut || !head.keep_alive {
            return Ok(());
        }
    }
    Ok(())
}

fn receive_head(bytes: &[u8], step: usize) -> Result<Option<usize>, Rejection> {
    let mut searched = 0;
    let mut known = 0;
    while known < bytes.len() {
        known = bytes.len().min(known + step);
        if let Some(end) = find_head_end(&bytes[..known], &mut searched, Role::Request)? {
            return Ok(Some(end));
        }
    }
    Ok(None)
}

fn receive_body(
    bytes: &[u8],
    step: usize,
    framing: Framing,
    outcome: &mut Outcome,
) -> Result<usize, Rejection> {
    let mut decoder = BodyDecoder::new(framing);
    let mut encoder = ChunkEncoder::new();
    let mut at = 0;
    let mut result = Ok(());
    let mut data = Segments::new();
    while !decoder.is_done() && at < bytes.len() && result.is_ok() {
        let end = bytes.len().min(at + step);
        match decoder.push(Chunk::from(bytes[at..end].to_vec()), &mut data) {
            Ok(progress) => at += progress.consumed,
            Err(rejection) => result = Err(rejection),
        }
    }
    let mut wire = Segments::new();
    if framing == Framing::Chunked {
        // One chunk whatever the reads were, so that outcomes can be compared.
        encoder.wrap(Segments::from(Chunk::from(data.to_vec())), &mut wire);
        if decoder.is_done() {
            encoder.end(&mut wire);
        }
    } else {
        wire = data;
    }
    outcome.forwarded.extend(wire.to_vec());
    result?;
    if decoder.is_done() {
        outcome.whole += 1;
        outcome.cut = false;
    }
    Ok(at)
}

/// Reads what upstream received, by the letter of the grammar and with nothing optional. Returns how many
/// requests it holds and whether the last one is cut off.
fn oracle(mut wire: &[u8]) -> Result<(usize, bool), String> {
    let mut whole = 0;
    while !wire.is_empty() {
        let text = String::from_utf8_lossy(wire).into_owned();
        let end = find(wire, b"\r\n\r\n").ok_or(format!("no head in {text:?}"))?;
        let framing = oracle_head(&wire[..end])?;
        wire = &wire[end + 4..];
        let length = match framing {
            Wire::Length(length) if length > wire.len() => return Ok((whole, true)),
            Wire::Length(length) => length,
            Wire::Chunked => match oracle_chunks(wire)? {
                Some(length) => length,
                None => return Ok((whole, true)),
            },
        };
        wire = &wire[length..];
        whole += 1;
    }
    Ok((whole, false))
}

enum Wire {
    Length(usize),
    Chunked,
}

fn oracle_head(head: &[u8]) -> Result<Wire, String> {
    if head
        .iter()
        .any(|&byte| (byte < b' ' && byte != b'\t' && byte != b'\r' && byte != b'\n') || byte == 127)
    {
        return Err("a control character".to_owned());
    }
    let lines = lines(head)?;
    oracle_request_line(lines[0])?;
    let mut seen: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for line in &lines[1..] {
        let colon = line.iter().position(|&byte| byte == b':').ok_or("no colon")?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        if name.is_empty() || !name.iter().all(token) {
            return Err(format!("a name that is no token: {:?}", String::from_utf8_lossy(name)));
        }
        let value = value.strip_prefix(b" ").ok_or("no space behind the colon")?;
        if value.starts_with(b" ")
            || value.ends_with(b" ")
            || value.starts_with(b"\t")
            || value.ends_with(b"\t")
        {
            return Err("white space around a value".to_owned());
        }
        seen.entry(String::from_utf8_lossy(name).to_lowercase()).or_default().push(value.to_vec());
    }
    let of = |name: &str| seen.get(name).map(Vec::as_slice).unwrap_or_default();
    for name in seen.keys() {
        let words: Vec<&str> = name.split(|letter: char| !letter.is_ascii_alphanumeric()).collect();
        let plain = words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
        let framing = ["host", "content-length", "transfer-encoding"].contains(&plain.as_str());
        let gone = ["connection", "te", "upgrade", "keep-alive", "trailer", "expect", "http2-settings"];
        if gone.contains(&plain.as_str()) || (framing && plain != *name) {
            return Err(format!("{name} is forwarded"));
        }
    }
    if of("host").len() != 1 {
        return Err(format!("{} Host fields", of("host").len()));
    }
    match (of("content-length"), of("transfer-encoding")) {
        ([], []) => Ok(Wire::Length(0)),
        ([length], []) if (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit) => {
            Ok(Wire::Length(String::from_utf8_lossy(length).parse().unwrap()))
        }
        ([], [coding]) if coding == b"chunked" => Ok(Wire::Chunked),
        other => Err(format!("framing {other:?}")),
    }
}

fn lines(head: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut lines = Vec::new();
    let mut rest = head;
    while let Some(end) = find(rest, b"\r\n") {
        lines.push(&rest[..end]);
        rest = &rest[end + 2..];
    }
    lines.push(rest);
    match lines.iter().all(|line| !line.contains(&b'\r') && !line.contains(&b'\n') && !line.is_empty()) {
        true => Ok(lines),
        false => Err("a bare CR or LF, or an empty line".to_owned()),
    }
}

fn oracle_request_line(line: &[u8]) -> Result<(), String> {
    let line = std::str::from_utf8(line).map_err(|_| "a request line that is not ASCII")?;
    let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(format!("request line {line:?}"));
    };
    let target_ok = (target.starts_with('/') || (target == "*" && method == "OPTIONS"))
        && target.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#');
    let path = target.split('?').next().unwrap_or_default();
    let path_ok = !path.contains("//")
        && !path.contains('\\')
        && path.split('/').all(|segment| segment != "." && segment != "..")
        && !path
            .to_lowercase()
            .split('%')
            .skip(1)
            .any(|escape| ["2e", "2f", "5c", "00", "0d", "0a"].iter().any(|bad| escape.starts_with(bad)));
    match target_ok && path_ok && version == "HTTP/1.1" && !method.is_empty() {
        true => Ok(()),
        false => Err(format!("request line {line:?}")),
    }
}

/// Length of a chunked body with its framing, or `None` if it is cut off.
fn oracle_chunks(wire: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(line) = find(&wire[at..], b"\r\n") else { return Ok(None) };
        let size = &wire[at..at + line];
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("chunk size {:?}", String::from_utf8_lossy(size)));
        }
        let size = usize::from_str_radix(std::str::from_utf8(size).unwrap(), 16).unwrap();
        at += line + 2;
        let Some(behind) = wire.get(at + size..at + size + 2) else { return Ok(None) };
        if behind != b"\r\n" {
            return Err("a chunk that does not end with CRLF".to_owned());
        }
        at += size + 2;
        if size == 0 {
            return Ok(Some(at));
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn nothing_non_canonical_is_forwarded() {
    let Some(cases) = cases() else { return };
    let mut dirty = Vec::new();
    let mut forwarded = 0;
    for (case, bytes) in &cases {
        for bytes in [bytes.clone(), completed(bytes)] {
            let outcome = receive(&bytes, usize::MAX >> 1);
            forwarded += outcome.whole;
            match oracle(&outcome.forwarded) {
                Ok((whole, cut)) if whole == outcome.whole && cut == outcome.cut => {}
                verdict => dirty.push(format!("{}: {verdict:?} for {outcome:?}", case.id)),
            }
        }
    }
    println!("{} cases, {forwarded} requests forwarded, {} not canonical", cases.len(), dirty.len());
    assert_eq!(cases.len(), 3702);
    assert!(dirty.is_empty(), "{dirty:#?}");
}

#[test]
fn every_split_gives_the_same_outcome() {
    let Some(cases) = cases() else { return };
    for (case, bytes) in &cases {
        let whole = receive(bytes, usize::MAX >> 1);
        for step in [1, 7] {
            assert_eq!(receive(bytes, step), whole, "{} in reads of {step}", case.id);
        }
    }
}

/// Makes a case of llhttp whole: that suite leaves out the blank line and Host, because its parser wants
/// neither.
fn completed(bytes: &[u8]) -> Vec<u8> {
    let Some(line) = find(bytes, b"\r\n") else { return [bytes, b"\r\nHost: a.test\r\n\r\n"].concat() };
    let head = &bytes[..find(bytes, b"\r\n\r\n").unwrap_or(bytes.len())];
    let has_host = find(&head.to_ascii_lowercase(), b"\nhost:").is_some();
    let host: &[u8] = if has_host { b"" } else { b"\r\nHost: a.test" };
    let blank: &[u8] = match find(bytes, b"\r\n\r\n") {
        Some(_) => b"",
        None if bytes.ends_with(b"\r\n") => b"\r\n",
        None => b"\r\n\r\n",
    };
    [&bytes[..line], host, &bytes[line..], blank].concat()
}

/// Accepted though the suite says `reject…`, and why.
const ACCEPTED: [(&str, &str); 15] = [
    ("connection.md:No restart when keep-alive is off (1.0):request", AFTER_CLOSE),
    (
        "connection.md:Resetting flags when keep-alive is off (1.0, lenient):request-lenient-keep-alive",
        AFTER_CLOSE,
    ),
    ("invalid.md:HTTP protocol and ANNOUNCE method:request", ANY_METHOD),
    ("invalid.md:Invalid method:request", ANY_METHOD),
    ("transfer-encoding.md:Missing last-chunk:request", "cut off: the next byte decides, none comes"),
    ("ambiguous.yaml#7:Transfer_Encoding with underscore.", DROPPED),
    ("ambiguous.yaml#8:Content_Length with underscore.", DROPPED),
    ("ambiguous.yaml#30:Transfer-Encoding with multiple hyphens", DROPPED),
    ("ambiguous.yaml#31:Transfer-Encoding with multiple delimiters", DROPPED),
    ("ambiguous.yaml#12:Get with a body and Content-Length", BODY_OF_GET),
    ("ambiguous.yaml#13:Get with a body and Transfer-Encoding", BODY_OF_GET),
    ("ambiguous.yaml#14:Head with a body and Content-Length", BODY_OF_GET),
    ("ambiguous.yaml#15:Head with a body and Transfer-Encoding", BODY_OF_GET),
    ("real-life-test-cases.yaml#0:Has a CL in GET", BODY_OF_GET),
    ("real-life-test-cases.yaml#1:Has a TE in GET", BODY_OF_GET),
];

const AFTER_CLOSE: &str = "the connection closes behind an HTTP/1.0 request: what follows is never read";
const ANY_METHOD: &str = "any token is a method (RFC 9110 section 9.1); policy decides";
const DROPPED: &str = "normalised: the field that looks like framing is not forwarded";
const BODY_OF_GET: &str =
    "framed like any body (RFC 9110 section 9.3.1) and written anew, so that both ends agree";

/// Refused though the suite says `accept`, and why.
const REFUSED: [(&str, &str); 38] = [
    ("finish.md:It should be unsafe to finish inside of the header:request-finish", CUT_NAME),
    ("invalid.md:Headers separated by LF:request", BARE_LF),
    ("invalid.md:Missing CR between headers:request", BARE_LF),
    ("sample.md:Line folding in header value with LF:request", BARE_LF),
    ("method.md:CONNECT request:request", CONNECT),
    ("method.md:CONNECT request with CAPS:request", CONNECT),
    ("method.md:CONNECT with body:request", CONNECT),
    ("uri.md:Underscore in hostname:request", CONNECT),
    ("method.md:M-SEARCH request:request", ASTERISK),
    ("method.md:PRI request HTTP2:request", ASTERISK),
    ("method.md:SOURCE request with ICE:request", VERSION),
    ("method.md:OPTIONS request with RTSP:request", VERSION),
    ("method.md:ANNOUNCE request with RTSP:request", VERSION),
    ("sample.md:No HTTP version:request", VERSION),
    ("pipelining.md:Should parse multiple events:request", BLANK),
    ("sample.md:Prefix newline:request", BLANK),
    ("sample.md:Request starting with CRLF:request", BLANK),
    ("sample.md:curl GET:request", HOST),
    ("sample.md:Firefox GET:request", HOST),
    ("uri.md:Host terminated by a query string:request", MISMATCH),
    ("uri.md:`host:port` terminated by a query string:request", MISMATCH),
    ("uri.md:`host:port` terminated by a space:request", MISMATCH),
    ("uri.md:`host:port` and basic auth:request", TARGET),
    ("uri.md:Fragment in URI:request", TARGET),
    ("rfc-compliant.yaml#11:Compliant URL", TARGET),
    ("rfc-compliant.yaml#13:Empty URI", TARGET),
    ("uri-specific-test-cases.yaml#10:%09 in URI is OK", CONTROL),
    ("uri-specific-test-cases.yaml#12:%0D in URI is OK", CONTROL),
    ("uri-specific-test-cases.yaml#13:%0A in URI is OK", CONTROL),
    ("transfer-encoding.md:POST with `chunked` as last transfer-encoding:request", CODING),
    ("transfer-encoding.md:POST with `chunked` as last transfer-encoding (multiple headers):request", CODING),
    ("more-compliant-tests.yaml#5:Correct TE OK", CODING),
    ("more-compliant-tests.yaml#7:Transfer-Encoding: identity and chunked OK", CODING),
    ("more-compliant-tests.yaml#8:Multiple transfer encoding headers in a single request OK", CODING),
    ("more-compliant-tests.yaml#9:TE with custom parameters OK", CODING),
    ("rfc-compliant.yaml#8:Different Transfer-Encoding headers", CODING),
    ("rfc-compliant.yaml#9:Different Transfer-Encoding headers combined", CODING),
    ("rfc-compliant.yaml#10:Transfer-Encoding with a param: chunked;custom_param", CODING),
];

const CUT_NAME: &str = "a field name that never ends, made whole by this test, is a line without a colon";
const BARE_LF: &str = "a line that ends with LF alone (RFC 9112 section 2.2)";
const CONNECT: &str = "no tunnels";
const ASTERISK: &str = "the asterisk belongs to OPTIONS (RFC 9112 section 3.2.4)";
const VERSION: &str = "another protocol, or HTTP/0.9";
const BLANK: &str =
    "an empty line in front of a request: allowed to ignore (RFC 9112 section 2.2), safer to refuse";
const HOST: &str = "a host with `=`: no name that can be resolved";
const MISMATCH: &str = "the Host that this test added is not the target's";
const TARGET: &str = "a fragment, a user or nothing where RFC 9112 section 3.2 wants a target";
const CONTROL: &str = "an escaped control character in a path";
const CODING: &str = "another transfer coding than chunked, once";

#[test]
fn expectations_are_met() {
    let Some(cases) = cases() else { return };
    let mut counts: BTreeMap<(&str, &str, &str), usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (case, bytes) in &cases {
        let bytes = if case.suite == "llhttp" { completed(bytes) } else { bytes.clone() };
        let outcome = receive(&bytes, usize::MAX >> 1);
        let verdict = match (&outcome.rejection, outcome.whole, outcome.cut) {
            (Some(_), _, _) => "refused",
            (None, 0, false) => "no whole head",
            (None, _, true) => "cut off in a body",
            (None, _, false) => "accepted",
        };
        *counts.entry((&case.suite, &case.expect, verdict)).or_default() += 1;
        let excepted = |list: &[(&str, &str)]| list.iter().any(|(id, _)| *id == case.id);
        let met = match case.expect.as_str() {
            "reject" | "reject-strict" | "reject-or-normalise" => {
                (verdict == "refused") != excepted(&ACCEPTED)
            }
            "accept" => (verdict != "refused") != excepted(&REFUSED),
            _ => true,
        };
        if !met {
            wrong.push(format!(
                "{} {}: {verdict} {:?} {:?}",
                case.expect,
                case.id,
                outcome.rejection,
                String::from_utf8_lossy(&bytes[..bytes.len().min(400)])
            ));
        }
    }
    for ((suite, expect, verdict), count) in &counts {
        println!("{suite:16} {expect:20} {verdict:18} {count:5}");
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
