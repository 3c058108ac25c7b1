//! What is sent: one request, a weighted mix, or requests that were recorded. Start at [`Plan`].

mod mix;
mod profile;
mod replay;

pub use profile::Profile;
pub use replay::Timing;

use crate::{exit::Failure, limits, options::Options, schedule::Random, target::Url};
use bytes::Bytes;
use std::{fs, io::Read, path::Path, sync::Arc};

/// One request, without what depends on whom it goes to.
#[derive(Clone, Debug)]
pub struct Request {
    pub name: String,
    pub method: String,
    /// Path and query; none: those of the URL.
    pub path: Option<String>,
    pub fields: Vec<(String, String)>,
    pub body: Bytes,
    pub profile: Profile,
}

/// Which request is next.
#[derive(Clone, Debug, PartialEq)]
enum Order {
    /// One after the other, again and again.
    InTurn,
    /// At random; the sums of the weights up to each.
    Weighted(Vec<f64>),
}

/// The requests of a run.
#[derive(Clone, Debug)]
pub struct Plan {
    pub requests: Vec<Request>,
    order: Order,
    /// Of a recording: when each request began, in nanoseconds, and its place in the plan.
    pub times: Option<Vec<(u64, usize)>>,
    /// What was left out of a recording, and why.
    pub notes: Vec<String>,
}

/// A request as it goes over the wire to one target.
#[derive(Clone, Debug)]
pub struct Wire {
    /// The head, and the body where that is short.
    pub head: Bytes,
    /// A long body, which all copies share.
    pub body: Option<Bytes>,
    pub is_head: bool,
    pub profile: Profile,
}

impl Plan {
    /// What the options say.
    ///
    /// # Errors
    /// A file that cannot be read or holds something else: exit code 2, with its place.
    pub fn load(options: &Options) -> Result<Plan, Failure> {
        let plan = match (&options.mix, &options.replay) {
            (Some(mix), _) => mix::load(mix, options)?,
            (None, Some(replay)) => replay::load(replay, options)?,
            (None, None) => {
                let request = Request {
                    name: options.profile.name().to_owned(),
                    method: method(options.method.as_deref(), options.profile, options.body.is_some())?,
                    path: None,
                    fields: fields(options.profile, &options.headers())?,
                    body: match &options.body {
                        Some(path) => read_body(path)?,
                        None => options.profile.body(),
                    },
                    profile: options.profile,
                };
                Plan { requests: vec![request], order: Order::InTurn, times: None, notes: vec![] }
            }
        };
        let bytes: usize = plan.requests.iter().map(|request| request.body.len()).sum();
        if bytes > limits::PLAN_BYTES_MAX {
            let most = limits::PLAN_BYTES_MAX >> 20;
            return Err(Failure::usage(format!("the bodies have {} MiB: {most} are the most", bytes >> 20)));
        }
        Ok(plan)
    }

    /// Names by which requests are told apart in the report; none if there is only one, or very many.
    pub fn names(&self) -> Vec<String> {
        let apart = matches!(self.order, Order::Weighted(_));
        if apart { self.requests.iter().map(|request| request.name.clone()).collect() } else { vec![] }
    }

    /// The place of the next request; `turn` counts those before it.
    pub fn pick(&self, random: &mut Random, turn: u64) -> usize {
        match &self.order {
            Order::InTurn => (turn % self.requests.len() as u64) as usize,
            Order::Weighted(sums) => {
                let at = random.unit() * sums.last().copied().unwrap_or_default();
                sums.partition_point(|sum| *sum <= at).min(self.requests.len() - 1)
            }
        }
    }

    /// All requests as they go to `url`. `extra` fields replace those of the same name.
    pub fn wires(
        &self,
        url: &Url,
        extra: &[(String, String)],
        token: Option<&str>,
        close: bool,
    ) -> Vec<Wire> {
        let wire = |request: &Request| request.wire(url, extra, token, close);
        self.requests.iter().map(wire).collect()
    }
}

impl Request {
    fn wire(&self, url: &Url, extra: &[(String, String)], token: Option<&str>, close: bool) -> Wire {
        let is_extra = |name: &str| extra.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        let target = match &self.path {
            None => self.profile.target(&url.path),
            // The path of the URL is where the API begins.
            Some(path) => {
                format!("{}{path}", url.path.split('?').next().unwrap_or("/").trim_end_matches('/'))
            }
        };
        let mut head = format!("{} {target} HTTP/1.1\r\n", self.method);
        let named = |name: &str| self.fields.iter().any(|(other, _)| other.eq_ignore_ascii_case(name));
        if !named("host") && !is_extra("host") {
            head.push_str(&format!("host: {}\r\n", url.authority));
        }
        let own = self.fields.iter().filter(|(name, _)| !is_extra(name));
        for (name, value) in own.chain(extra) {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if let Some(token) = token {
            head.push_str(&format!("authorization: Bearer {token}\r\n"));
        }
        if close {
            head.push_str("connection: close\r\n");
        }
        // RFC 9110 section 8.6: a length where the method expects a body, also an empty one.
        if !self.body.is_empty() || !matches!(self.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS") {
            head.push_str(&format!("content-length: {}\r\n", self.body.len()));
        }
        head.push_str("\r\n");
        let (mut head, mut body) = (head.into_bytes(), None);
        if self.body.len() > limits::INLINE_BODY_BYTES_MAX {
            body = Some(self.body.clone());
        } else {
            head.extend_from_slice(&self.body);
        }
        Wire { head: head.into(), body, is_head: self.method == "HEAD", profile: self.profile }
    }
}

/// The method: what is said, else what the profile needs.
fn method(said: Option<&str>, profile: Profile, has_body: bool) -> Result<String, Failure> {
    let unsaid = if has_body || profile != Profile::Raw { "POST" } else { "GET" };
    let method = said.unwrap_or(unsaid);
    if method.is_empty() || !method.bytes().all(is_token) || method == "CONNECT" {
        return Err(Failure::usage(format!("`{method}` is no method that can be sent")));
    }
    Ok(method.to_owned())
}

/// RFC 9110 section 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The fields of a profile and those that are said, which win.
fn fields(profile: Profile, said: &[String]) -> Result<Vec<(String, String)>, Failure> {
    let said = said.iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>()?;
    let mut fields: Vec<(String, String)> = vec![("user-agent".into(), "loadtest".into())];
    fields.extend(profile.fields().iter().map(|(name, value)| ((*name).into(), (*value).into())));
    fields.retain(|(name, _)| !said.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)));
    fields.extend(said);
    Ok(fields)
}

/// `NAME: VALUE`, or `NAME: @FILE` with the value in a file.
///
/// # Errors
/// It is none, or one that this program sets itself: exit code 2.
pub fn field(line: &str) -> Result<(String, String), Failure> {
    let wrong = |what: &str| {
        let name = line.split(':').next().unwrap_or_default();
        Failure::usage(format!("field `{name}`: {what}"))
    };
    let (name, value) = line.split_once(':').ok_or_else(|| wrong("write `NAME: VALUE` or `NAME: @FILE`"))?;
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(wrong("this is no name of a field"));
    }
    if ["content-length", "transfer-encoding", "connection", "expect", "upgrade"]
        .iter()
        .any(|own| name.eq_ignore_ascii_case(own))
    {
        return Err(wrong("is set by the load tester itself"));
    }
    let value = match value.trim().strip_prefix('@') {
        Some(path) => fs::read_to_string(path).map_err(|error| wrong(&format!("{path}: {error}")))?,
        None => value.to_owned(),
    };
    let value = value.trim();
    if value.bytes().any(|byte| byte != b'\t' && (byte < b' ' || byte == 0x7f)) {
        return Err(wrong("the value holds control characters"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

/// The body in a file, or on standard input (`-`), so many bytes at most.
fn read_body(path: &Path) -> Result<Bytes, Failure> {
    let wrong = |what: String| Failure::usage(format!("body {}: {what}", path.display()));
    let mut body = vec![];
    let read = if path == Path::new("-") {
        std::io::stdin().take(limits::BODY_BYTES_MAX + 1).read_to_end(&mut body)
    } else {
        fs::File::open(path).and_then(|file| file.take(limits::BODY_BYTES_MAX + 1).read_to_end(&mut body))
    };
    read.map_err(|error| wrong(error.to_string()))?;
    if body.len() as u64 > limits::BODY_BYTES_MAX {
        return Err(wrong(format!("more than {} MiB", limits::BODY_BYTES_MAX >> 20)));
    }
    Ok(body.into())
}

/// A plan that all workers share.
pub type Shared = Arc<Plan>;

#[cfg(test)]
mod tests;
