use crate::buffer::{Chunk, ChunkMut, Segments};
use crate::http::syntax::has_low;
use crate::http::{Framing, Headers, RequestHead, ResponseHead};

/// Writes a request's head for an upstream: request line, `host`, the fields as received, `extra` (the
/// injected credential, say), and the length by `framing`.
///
/// The caller has stripped the fields ([`crate::http::rules::strip_request`]) and set `authority` to the
/// upstream's. The version is always HTTP/1.1, the gateway's own (RFC 9110 section 2.5).
pub fn encode_request(head: &RequestHead, extra: &[(&str, &[u8])], out: &mut Vec<u8>) {
    // All at once: growing would leave copies of the credential behind that nobody wipes.
    let added: usize = extra.iter().map(|(name, value)| name.len() + value.len() + 4).sum();
    let target = head.path.len() + head.query.as_ref().map_or(0, String::len) + head.method.as_str().len();
    out.reserve(head.headers.lines_bytes_max() + added + target + head.authority.len() + 128);
    out.extend_from_slice(head.method.as_str().as_bytes());
    out.push(b' ');
    out.extend_from_slice(head.path.as_bytes());
    if let Some(query) = &head.query {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
    }
    out.extend_from_slice(b" HTTP/1.1\r\n");
    write_field(out, "host", head.authority.as_bytes());
    head.headers.write_lines(out);
    for (name, value) in extra {
        write_field(out, name, value);
    }
    write_framing(out, head.framing);
    out.extend_from_slice(b"\r\n");
}

/// Writes a response's head for a caller: the fields as received, the length by `framing` or
/// `declared_length`, and `connection: close` unless the connection stays open.
///
/// A 1xx gets none of the latter. `Framing::Close` always closes. `Framing::Chunked` must not go to an
/// HTTP/1.0 caller (RFC 9112 section 6.1): the caller of this function sets `Framing::Close` there.
pub fn encode_response(head: &ResponseHead, keep_alive: bool, out: &mut Vec<u8>) {
    out.reserve(head.headers.lines_bytes_max() + 128);
    write_status_line(out, head.status);
    head.headers.write_lines(out);
    let informational = head.status < 200;
    if !informational {
        match (head.framing, head.declared_length) {
            (Framing::None, Some(length)) if head.status != 204 => write_length(out, length),
            (framing, _) => write_framing(out, framing),
        }
        if !keep_alive || head.framing == Framing::Close {
            out.extend_from_slice(b"connection: close\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// How [`encode_reply`] ends its message.
#[derive(Clone, Copy, Debug)]
pub struct ReplyFraming<'a> {
    /// Now, as an IMF-fixdate (RFC 9110 section 5.6.7); `None` leaves Date out.
    pub date: Option<&'a str>,
    /// Whether another request may follow on this connection.
    pub keep_alive: bool,
    /// The request was HEAD: the length is said but the body is not sent.
    pub head_only: bool,
}

/// Writes a whole reply of the gateway's own: status line, `date`, `headers`, `content-length`, the body.
///
/// 1xx, 204 and 304 have neither length nor body whatever `body` is (RFC 9110 section 8.6).
pub fn encode_reply(
    status: u16,
    headers: &Headers,
    body: &[u8],
    framing: ReplyFraming<'_>,
    out: &mut Vec<u8>,
) {
    out.reserve(headers.lines_bytes_max() + body.len() + 160);
    write_status_line(out, status);
    if let Some(date) = framing.date {
        write_field(out, "date", date.as_bytes());
    }
    headers.write_lines(out);
    let bodiless = status < 200 || matches!(status, 204 | 304);
    if !bodiless {
        write_length(out, body.len() as u64);
    }
    if !framing.keep_alive && status >= 200 {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    if !bodiless && !framing.head_only {
        out.extend_from_slice(body);
    }
}

/// Puts data into the chunked coding (RFC 9112 section 7.1). The data itself is not touched; only the size
/// lines are new bytes, cut one after the other from a small buffer.
#[derive(Debug, Default)]
pub struct ChunkEncoder {
    lines: ChunkMut,
}

/// Longest size line: 16 digits and CRLF.
const SIZE_LINE_BYTES_MAX: usize = 18;
/// Size of a buffer for size lines: one allocation for some hundred of them.
const LINES_BYTES: usize = 1024;
const CRLF: Chunk = Chunk::from_static(b"\r\n");
const LAST_CHUNK: Chunk = Chunk::from_static(b"0\r\n\r\n");

impl ChunkEncoder {
    /// An encoder; allocates nothing before the first data.
    pub fn new() -> ChunkEncoder {
        ChunkEncoder::default()
    }

    /// Appends `data` to `out` as one chunk. No data, no chunk: an empty one would end the body.
    pub fn wrap(&mut self, data: Segments, out: &mut Segments) {
        if data.is_empty() {
            return;
        }
        if self.lines.spare() < SIZE_LINE_BYTES_MAX {
            self.lines = ChunkMut::with_capacity(LINES_BYTES);
        }
        let mut line = [0; SIZE_LINE_BYTES_MAX];
        self.lines.extend_from_slice(size_line(data.len_bytes(), &mut line));
        out.push(self.lines.take());
        out.append(data);
        out.push(CRLF);
    }

    /// Appends the last chunk and an empty trailer section.
    pub fn end(&mut self, out: &mut Segments) {
        out.push(LAST_CHUNK);
    }
}

/// Hexadecimal digits of `size` and CRLF, at the end of `line`.
fn size_line(size: usize, line: &mut [u8; SIZE_LINE_BYTES_MAX]) -> &[u8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    line[SIZE_LINE_BYTES_MAX - 2..].copy_from_slice(b"\r\n");
    let mut at = SIZE_LINE_BYTES_MAX - 2;
    let mut rest = size;
    while rest > 0 || at == SIZE_LINE_BYTES_MAX - 2 {
        at -= 1;
        line[at] = DIGITS[rest & 15];
        rest >>= 4;
    }
    &line[at..]
}

/// A field that did not come out of [`Headers`]: what could end its line becomes a space (RFC 9110 section
/// 5.5).
fn write_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    match has_low(value) {
        false => out.extend_from_slice(value),
        true => out.extend(value.iter().map(|byte| if b"\r\n\0".contains(byte) { b' ' } else { *byte })),
    }
    out.extend_from_slice(b"\r\n");
}

fn write_framing(out: &mut Vec<u8>, framing: Framing) {
    match framing {
        Framing::Length(length) => write_length(out, length),
        Framing::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
        Framing::None | Framing::Close => {}
    }
}

fn write_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    out.extend_from_slice(itoa::Buffer::new().format(length).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn write_status_line(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
    out.push(b' ');
    out.extend_from_slice(reason_phrase(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Reason phrases of RFC 9110 section 15, of 429 and 431 (RFC 6585) and of 508 (RFC 5842); empty for others,
/// as RFC 9112 allows.
fn reason_phrase(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        508 => "Loop Detected",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::h1::{parse_request, parse_response};
    use crate::http::{Method, Version};

    fn response(status: u16, framing: Framing, declared_length: Option<u64>) -> ResponseHead {
        let mut headers = Headers::new();
        headers.append("X-A", b"b");
        ResponseHead { status, version: Version::Http11, headers, framing, declared_length, keep_alive: true }
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn a_request_is_written_canonically() {
        let received = b"POST /a/../b?c HTTP/1.1\r\nX-Id:1\r\nhost: A.test\r\nContent-Length:005\r\n\r\n";
        let mut head = parse_request(Chunk::from_static(received)).unwrap();
        head.authority = "up.example".to_owned();
        let mut out = Vec::new();
        encode_request(&head, &[("authorization", b"Bearer x\r\ny")], &mut out);
        let expected = "POST /b?c HTTP/1.1\r\nhost: up.example\r\nX-Id: 1\r\n\
                        authorization: Bearer x  y\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(text(&out), expected);
    }

    #[test]
    fn a_response_says_its_length_once() {
        // RFC 9112 section 6, RFC 9110 section 8.6.
        for (status, framing, declared, keep_alive, expected) in [
            (200, Framing::Length(5), None, true, "content-length: 5\r\n"),
            (200, Framing::Length(5), None, false, "content-length: 5\r\nconnection: close\r\n"),
            (200, Framing::Chunked, None, true, "transfer-encoding: chunked\r\n"),
            (200, Framing::Close, None, true, "connection: close\r\n"),
            (200, Framing::None, Some(7), true, "content-length: 7\r\n"),
            (304, Framing::None, Some(7), true, "content-length: 7\r\n"),
            (204, Framing::None, Some(0), true, ""),
            (103, Framing::None, None, false, ""),
        ] {
            let mut out = Vec::new();
            encode_response(&response(status, framing, declared), keep_alive, &mut out);
            let fields = text(&out).split_once("\r\nX-A: b\r\n").unwrap().1.to_owned();
            assert_eq!(fields, format!("{expected}\r\n"), "{status} {framing:?}");
        }
    }

    #[test]
    fn responses_come_back() {
        for (framing, declared) in
            [(Framing::Length(5), None), (Framing::Chunked, None), (Framing::Close, None)]
        {
            let mut out = Vec::new();
            encode_response(&response(200, framing, declared), true, &mut out);
            let head = parse_response(Chunk::from(out), &Method::Get).unwrap();
            assert_eq!((head.status, head.framing), (200, framing));
            assert_eq!(head.keep_alive, framing != Framing::Close);
        }
    }

    #[test]
    fn a_reply_of_the_gateway_is_whole() {
        let mut headers = Headers::new();
        headers.append("content-type", b"application/json");
        let framing =
            ReplyFraming { date: Some("Sun, 06 Nov 1994 08:49:37 GMT"), keep_alive: false, head_only: false };
        let mut out = Vec::new();
        encode_reply(403, &headers, b"{}", framing, &mut out);
        let head = "HTTP/1.1 403 Forbidden\r\ndate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
                    content-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
        assert_eq!(text(&out), format!("{head}{{}}"));
        out.clear();
        encode_reply(403, &headers, b"{}", ReplyFraming { head_only: true, ..framing }, &mut out);
        assert_eq!(text(&out), head);
        out.clear();
        let open = ReplyFraming { date: None, keep_alive: true, head_only: false };
        encode_reply(100, &Headers::new(), b"ignored", open, &mut out);
        assert_eq!(text(&out), "HTTP/1.1 100 Continue\r\n\r\n");
    }

    #[test]
    fn chunks_carry_the_data_untouched() {
        let data = Chunk::from(vec![b'x'; 300]);
        let mut encoder = ChunkEncoder::new();
        let mut out = Segments::new();
        encoder.wrap(Segments::new(), &mut out);
        assert!(out.is_empty(), "an empty chunk would end the body");
        for _ in 0..100 {
            let mut both = Segments::from(data.clone());
            both.push(data.clone());
            encoder.wrap(both, &mut out);
        }
        encoder.end(&mut out);
        assert_eq!(out.iter().filter(|chunk| chunk.as_ptr() == data.as_ptr()).count(), 200);
        let expected = format!("258\r\n{}\r\n", "x".repeat(600)).repeat(100) + "0\r\n\r\n";
        assert_eq!(text(&out.to_vec()), expected);
    }

    #[test]
    fn size_lines_are_hexadecimal() {
        for (size, expected) in
            [(0, "0\r\n"), (9, "9\r\n"), (255, "ff\r\n"), (usize::MAX, "ffffffffffffffff\r\n")]
        {
            assert_eq!(text(size_line(size, &mut [0; SIZE_LINE_BYTES_MAX])), expected);
        }
    }
}
