//! Reads HTTP/1.1 by the letter of its grammar and with nothing optional. It shares no code with the gateway,
//! whose output it judges: what it does not take in, two recipients could take for two different things.
//!
//! Used by `tests/http_vectors`, by `tests/relay` and by the fuzz target `gateway`.

/// A request as an upstream received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: String,
    pub target: String,
    pub fields: Fields,
    /// As far as it came, without its framing.
    pub body: Vec<u8>,
}

/// A response as a caller received it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub fields: Fields,
    /// As far as it came, without its framing.
    pub body: Vec<u8>,
}

/// Names in lower case, values as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fields(pub Vec<(String, Vec<u8>)>);

/// What one direction of a connection has carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Messages<M> {
    pub whole: Vec<M>,
    pub rest: Rest<M>,
}

/// What came behind the last whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rest<M> {
    Nothing,
    /// The beginning of a head.
    Head,
    /// A head, and a body that is not whole.
    Body(M),
}

/// What is wrong, in words.
pub type Fault = String;

enum Framing {
    None,
    Length(usize),
    Chunked,
    Close,
}

impl Fields {
    /// All values of the fields called `name`, which is in lower case.
    pub fn all(&self, name: &str) -> Vec<&[u8]> {
        self.0.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value).collect()
    }

    /// Reads field lines: a token, `: `, a value without white space around it or control characters in it.
    fn parse(lines: &[&[u8]]) -> Result<Fields, Fault> {
        let mut fields = Fields::default();
        for line in lines {
            let shown = || String::from_utf8_lossy(line).into_owned();
            let colon = line.iter().position(|&byte| byte == b':').ok_or_else(|| shown() + ": no colon")?;
            let (name, value) = (&line[..colon], &line[colon + 1..]);
            if name.is_empty() || !name.iter().all(is_token) {
                return Err(shown() + ": a name that is no token");
            }
            let value = value.strip_prefix(b" ").ok_or_else(|| shown() + ": no space behind the colon")?;
            let edges = [value.first(), value.last()];
            if edges.iter().any(|edge| matches!(edge, Some(b' ' | b'\t'))) {
                return Err(shown() + ": white space around a value");
            }
            if value.iter().any(|&byte| (byte < b' ' && byte != b'\t') || byte == 0x7f) {
                return Err(shown() + ": a control character");
            }
            fields.0.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
        }
        Ok(fields)
    }

    /// Fields for one hop, or fields that some server takes for those that frame or route.
    fn are_end_to_end(&self, others: &[&str]) -> Result<(), Fault> {
        const FRAMING: [&str; 3] = ["host", "content-length", "transfer-encoding"];
        const HOP: [&str; 6] =
            ["te", "upgrade", "keep-alive", "trailer", "http2-settings", "proxy-connection"];
        for (name, _) in &self.0 {
            let words = name.split(|letter: char| !letter.is_ascii_alphanumeric());
            let plain = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
            let gone = HOP.contains(&&*plain) || others.contains(&&*plain);
            if gone || (FRAMING.contains(&&*plain) && plain != *name) {
                return Err(format!("{name} is forwarded"));
            }
        }
        Ok(())
    }

    /// The one length of the message; `None` if it says none.
    fn framing(&self) -> Result<Option<Framing>, Fault> {
        match (&*self.all("content-length"), &*self.all("transfer-encoding")) {
            ([], []) => Ok(None),
            ([length], []) if (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit) => {
                let digits = String::from_utf8_lossy(length).into_owned();
                Ok(Some(Framing::Length(digits.parse().map_err(|_| digits)?)))
            }
            ([], [b"chunked"]) => Ok(Some(Framing::Chunked)),
            other => Err(format!("framing {other:?}")),
        }
    }
}

/// Reads what an upstream received.
///
/// # Errors
/// Anything that is not canonical: nothing behind it means anything.
pub fn requests(mut wire: &[u8]) -> Result<Messages<Request>, Fault> {
    let mut whole = Vec::new();
    loop {
        let Some((head, behind)) = split_head(wire)? else {
            let rest = if wire.is_empty() { Rest::Nothing } else { Rest::Head };
            return Ok(Messages { whole, rest });
        };
        let lines = lines(head)?;
        let (method, target) = request_line(lines[0])?;
        let fields = Fields::parse(&lines[1..])?;
        fields.are_end_to_end(&["connection", "expect"])?;
        let hosts = fields.all("host");
        if hosts.len() != 1 || hosts[0].is_empty() {
            return Err(format!("{} Host fields", hosts.len()));
        }
        let framing = fields.framing()?.unwrap_or(Framing::None);
        let (body, length) = body(framing, behind)?;
        let request = Request { method, target, fields, body };
        match length {
            Some(length) => wire = &behind[length..],
            None => return Ok(Messages { whole, rest: Rest::Body(request) }),
        }
        whole.push(request);
    }
}

/// Reads what a caller received; `methods` are those of its requests, in order, and GET behind them.
/// `ended` says whether the connection has ended cleanly.
///
/// # Errors
/// Anything that is not canonical: nothing behind it means anything.
pub fn responses(mut wire: &[u8], methods: &[&str], ended: bool) -> Result<Messages<Response>, Fault> {
    let mut whole: Vec<Response> = Vec::new();
    loop {
        let Some((head, behind)) = split_head(wire)? else {
            let rest = if wire.is_empty() { Rest::Nothing } else { Rest::Head };
            return Ok(Messages { whole, rest });
        };
        let lines = lines(head)?;
        let status = status_line(lines[0])?;
        let fields = Fields::parse(&lines[1..])?;
        fields.are_end_to_end(&["host", "alt-svc"])?;
        if fields.all("connection").iter().any(|value| *value != b"close") {
            return Err("a Connection field with more than close".to_owned());
        }
        let answered = whole.iter().filter(|response| response.status >= 200).count();
        let is_head = methods.get(answered) == Some(&"HEAD");
        let framing = match (status, fields.framing()?) {
            (100..200 | 204, Some(_)) => return Err(format!("a {status} with a length")),
            (100..200 | 204 | 304, _) => Framing::None,
            _ if is_head => Framing::None,
            (_, Some(framing)) => framing,
            (_, None) if fields.all("connection").is_empty() => {
                return Err("neither a length nor an end".to_owned());
            }
            (_, None) => Framing::Close,
        };
        let (body, length) = match framing {
            Framing::Close => (behind.to_vec(), ended.then_some(behind.len())),
            framing => body(framing, behind)?,
        };
        let response = Response { status, fields, body };
        match length {
            Some(length) => wire = &behind[length..],
            None => return Ok(Messages { whole, rest: Rest::Body(response) }),
        }
        whole.push(response);
    }
}

/// A head without its blank line, and what is behind that.
type Split<'a> = (&'a [u8], &'a [u8]);

/// The first head.
fn split_head(wire: &[u8]) -> Result<Option<Split<'_>>, Fault> {
    match find(wire, b"\r\n\r\n") {
        Some(end) => Ok(Some((&wire[..end], &wire[end + 4..]))),
        None if wire.first().is_some_and(|first| !is_token(first)) => Err("no head begins so".to_owned()),
        None => Ok(None),
    }
}

fn lines(head: &[u8]) -> Result<Vec<&[u8]>, Fault> {
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

/// `METHOD SP path SP HTTP/1.1`, the path without anything that servers resolve.
fn request_line(line: &[u8]) -> Result<(String, String), Fault> {
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
    let method_ok = !method.is_empty() && method.bytes().all(|byte| is_token(&byte));
    match target_ok && path_ok && method_ok && version == "HTTP/1.1" {
        true => Ok((method.to_owned(), target.to_owned())),
        false => Err(format!("request line {line:?}")),
    }
}

/// `HTTP/1.1 SP 3DIGIT SP reason`.
fn status_line(line: &[u8]) -> Result<u16, Fault> {
    let shown = String::from_utf8_lossy(line).into_owned();
    let code = line.strip_prefix(b"HTTP/1.1 ").and_then(|rest| rest.split_at_checked(3));
    let Some((digits, [b' ', reason @ ..])) = code else { return Err(format!("status line {shown:?}")) };
    let is_plain = reason.iter().all(|byte| (b' '..=b'~').contains(byte));
    match digits.iter().all(u8::is_ascii_digit) && digits[0] != b'0' && is_plain {
        true => Ok(digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0'))),
        false => Err(format!("status line {shown:?}")),
    }
}

/// The body at the start of `wire`, and its length there; `None` if it is cut off.
fn body(framing: Framing, wire: &[u8]) -> Result<(Vec<u8>, Option<usize>), Fault> {
    match framing {
        Framing::None => Ok((Vec::new(), Some(0))),
        Framing::Length(length) => {
            Ok((wire[..length.min(wire.len())].to_vec(), (length <= wire.len()).then_some(length)))
        }
        Framing::Chunked => chunks(wire),
        Framing::Close => Ok((wire.to_vec(), None)),
    }
}

/// A chunked body without extensions and trailers.
fn chunks(wire: &[u8]) -> Result<(Vec<u8>, Option<usize>), Fault> {
    let mut data = Vec::new();
    let mut at = 0;
    loop {
        let Some(line) = find(&wire[at..], b"\r\n") else { return Ok((data, None)) };
        let size = &wire[at..at + line];
        if size.is_empty() || size.len() > 16 || !size.iter().all(u8::is_ascii_hexdigit) {
            return Err(format!("chunk size {:?}", String::from_utf8_lossy(size)));
        }
        let size =
            u64::from_str_radix(&String::from_utf8_lossy(size), 16).map_err(|error| error.to_string())?;
        at += line + 2;
        let size = usize::try_from(size).unwrap_or(usize::MAX).min(wire.len() + 1);
        let Some(behind) = wire.get(at + size..at + size + 2) else {
            data.extend(&wire[at..wire.len().min(at + size)]);
            return Ok((data, None));
        };
        if behind != b"\r\n" {
            return Err("a chunk that does not end with CRLF".to_owned());
        }
        data.extend(&wire[at..at + size]);
        at += size + 2;
        if size == 0 {
            return Ok((data, Some(at)));
        }
    }
}

fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Where `needle` begins.
pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
