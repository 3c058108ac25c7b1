//! 3,702 raw requests of public suites, most of them made to smuggle, through the HTTP/1 parser here, and
//! through a gateway that runs in [`gateway`].
//!
//! Each byte string is read as a connection would read it: head, body, next request. What the gateway would
//! forward is then judged by an oracle that shares no code with the parser: nothing non-canonical may be in
//! it, and it must hold exactly as many requests as were accepted.

mod gateway;
#[allow(dead_code)]
#[path = "../relay/harness.rs"]
mod harness;
#[allow(dead_code)]
#[path = "../oracle/mod.rs"]
mod oracle;
#[allow(dead_code)]
#[path = "../relay/wire.rs"]
mod wire;

use base64::Engine;
use oracle::{Rest, find};
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
    /// Methods of the accepted heads.
    methods: Vec<String>,
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
        outcome.methods.push(head.method.to_string());
        // As the exchange does: HTTP/1.0 need not name a host.
        head.authority = "up.test".to_owned();
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

#[test]
fn nothing_non_canonical_is_forwarded() {
    let Some(cases) = cases() else { return };
    let mut dirty = Vec::new();
    let mut forwarded = 0;
    for (case, bytes) in &cases {
        for bytes in [bytes.clone(), completed(bytes)] {
            let outcome = receive(&bytes, usize::MAX >> 1);
            forwarded += outcome.whole;
            let rest = |cut| if cut { "a body" } else { "nothing" };
            let judged = oracle::requests(&outcome.forwarded).map(|seen| {
                let cut = match seen.rest {
                    Rest::Nothing => "nothing",
                    Rest::Head => "a head",
                    Rest::Body(_) => "a body",
                };
                (seen.whole.len(), cut)
            });
            if judged != Ok((outcome.whole, rest(outcome.cut))) {
                dirty.push(format!("{}: {judged:?} for {outcome:?}", case.id));
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
