//! Requests that a gateway recorded, as `ringward sessions export ID --format jsonl` writes them.

use super::{Order, Plan, Profile, Request, field, method};
use crate::{exit::Failure, limits, options::Options};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Deserialize;
use std::{
    fs::File,
    io::{BufRead, BufReader, Read},
    path::Path,
};

/// When recorded requests are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Timing {
    /// At the rate of the run, again and again
    #[default]
    Rate,
    /// Once, at the distances at which they were recorded
    Recorded,
}

/// One line: what of it is sent again.
#[derive(Deserialize)]
struct Recording {
    #[serde(default)]
    id: String,
    started_us: u64,
    method: String,
    target: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    request: Body,
}

#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    whole: bool,
    #[serde(default)]
    pieces: Vec<Piece>,
}

#[derive(Deserialize)]
struct Piece {
    text: Option<String>,
    base64: Option<String>,
}

/// Fields that belong to the recorded connection, or that only make sense with it. The answer has to come
/// uncoded, so that its events can be told apart.
const LEFT_OUT: [&str; 17] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authorization",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "authorization",
    "x-api-key",
    "accept-encoding",
    "cookie",
    // What gateways say of the way that a request has come: sent again it looks like a circle.
    "via",
    "forwarded",
];

/// The same, by the beginnings of their names.
const LEFT_OUT_PREFIXES: [&str; 2] = ["x-forwarded-", "x-ringward-"];

fn is_left_out(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    LEFT_OUT.contains(&name.as_str()) || LEFT_OUT_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Reads the file, line by line.
pub(super) fn load(path: &Path, options: &Options) -> Result<Plan, Failure> {
    let wrong = |what: String| Failure::usage(format!("--replay {}: {what}", path.display()));
    let file = File::open(path).map_err(|error| wrong(error.to_string()))?;
    let mut reader = BufReader::new(file);
    let (mut requests, mut starts, mut bytes, mut partial) = (vec![], vec![], 0, 0);
    // Base64 in JSON, and both directions.
    let line_max = 4 * limits::BODY_BYTES_MAX;
    for number in 1.. {
        let mut line = vec![];
        let read = (&mut reader).take(line_max).read_until(b'\n', &mut line);
        if read.map_err(|error| wrong(error.to_string()))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        let at = |what: String| wrong(format!("line {number}: {what}"));
        let recording: Recording = serde_json::from_slice(&line).map_err(|error| {
            at(format!("{error}: it has to be what `ringward sessions export --format jsonl` writes"))
        })?;
        if !recording.request.whole {
            partial += 1;
            continue;
        }
        starts.push(recording.started_us);
        let request = recording.into_request(options).map_err(|failure| at(failure.message))?;
        bytes += request.body.len();
        requests.push(request);
        if requests.len() > limits::REPLAY_MAX || bytes > limits::PLAN_BYTES_MAX {
            let (count, size) = (limits::REPLAY_MAX, limits::PLAN_BYTES_MAX >> 20);
            return Err(wrong(format!("more than {count} requests or {size} MiB: export a shorter time")));
        }
    }
    if requests.is_empty() {
        let what = if partial > 0 { "whose body was recorded whole " } else { "" };
        return Err(wrong(format!("there is no request {what}in it")));
    }
    let times = (options.timing == Timing::Recorded).then(|| times(&starts));
    let left_out = format!("{partial} recorded requests are left out: their bodies were not recorded whole");
    let notes = if partial > 0 { vec![left_out] } else { vec![] };
    Ok(Plan { requests, order: Order::InTurn, times, notes })
}

/// When each began after the first, in order.
fn times(starts_us: &[u64]) -> Vec<(u64, usize)> {
    let first = starts_us.iter().min().copied().unwrap_or_default();
    let at = |(place, start): (usize, &u64)| ((start - first).saturating_mul(1_000), place);
    let mut times: Vec<_> = starts_us.iter().enumerate().map(at).collect();
    times.sort_unstable();
    times
}

impl Recording {
    fn into_request(self, options: &Options) -> Result<Request, Failure> {
        if !self.target.starts_with('/') || !self.target.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::usage(format!("its target `{}` is no path", self.target)));
        }
        let mut fields: Vec<(String, String)> = vec![];
        for (name, value) in &self.headers {
            if !is_left_out(name) && !value.starts_with('@') {
                fields.push(field(&format!("{name}: {value}"))?);
            }
        }
        for line in options.headers() {
            let own = field(&line)?;
            fields.retain(|(name, _)| !name.eq_ignore_ascii_case(&own.0));
            fields.push(own);
        }
        let mut body = vec![];
        for piece in &self.request.pieces {
            match (&piece.text, &piece.base64) {
                (Some(text), _) => body.extend_from_slice(text.as_bytes()),
                (None, Some(coded)) => STANDARD
                    .decode_vec(coded, &mut body)
                    .map_err(|_| Failure::usage("a piece of its body is no base64"))?,
                (None, None) => {}
            }
        }
        Ok(Request {
            name: self.id,
            method: method(Some(&self.method), Profile::Raw, false)?,
            profile: Profile::of_path(&self.target),
            path: Some(self.target),
            fields,
            body: body.into(),
        })
    }
}
