use ringward::buffer::{Chunk, Segments};
use ringward::http::h1::{
    BodyDecoder, Role, encode_request, encode_response, find_head_end, parse_request, parse_response,
};
use ringward::http::{Framing, Headers, Method, Rejection, rules, target as targets};

/// A head is found alike for every split; what is accepted is forwarded canonically and comes back the same.
pub fn request_head(data: &[u8]) {
    let Some(head) = head(data, Role::Request) else { return };
    let Ok(mut request) = parse_request(head) else { return };
    if rules::strip_request(&mut request.headers, None).is_err() {
        return;
    }
    let mut wire = Vec::new();
    encode_request(&request, &[], &mut wire);
    let head_end = find_head_end(&wire, &mut 0, Role::Request);
    if head_end.is_err() || request.authority.is_empty() {
        // A canonical path may be longer than the one received, and HTTP/1.0 may lack a host.
        return;
    }
    assert_eq!(head_end, Ok(Some(wire.len())));
    let again = parse_request(Chunk::from(wire)).expect("what is forwarded is accepted");
    assert_eq!((again.method, again.path, again.query), (request.method, request.path, request.query));
    assert_eq!((again.authority, again.framing), (request.authority, request.framing));
    assert_same(&again.headers, &request.headers);
}

/// As [`request_head`], for a response; the first byte chooses the method that it answers.
pub fn response_head(data: &[u8]) {
    let Some((first, data)) = data.split_first() else { return };
    let method = if first % 2 == 0 { Method::Get } else { Method::Head };
    let Some(head) = head(data, Role::Response) else { return };
    let Ok(mut response) = parse_response(head, &method) else { return };
    assert!((100..1000).contains(&response.status));
    if rules::strip_response(&mut response.headers).is_err() {
        return;
    }
    let mut wire = Vec::new();
    encode_response(&response, response.keep_alive, &mut wire);
    let again = match parse_response(Chunk::from(wire), &method) {
        // The canonical form may be longer than the received one, and it may say `connection: close` besides.
        Err(Rejection::FieldsTooMany | Rejection::HeadTooLong) => return,
        again => again.expect("what is forwarded is accepted"),
    };
    assert_eq!((again.status, again.framing), (response.status, response.framing));
    assert_eq!(again.declared_length, response.declared_length);
}

/// A body means the same in one read and in reads of any length; the first byte seeds the lengths.
pub fn chunked(data: &[u8]) {
    let Some((&seed, wire)) = data.split_first() else { return };
    let whole = decode(wire, |_| usize::MAX);
    let split = decode(wire, |at| 1 + (at * 7 + usize::from(seed)) % 13);
    assert_eq!(whole, split);
    assert_eq!(whole, decode(wire, |_| 1));
}

/// Canonical targets come back unchanged and hold nothing that a server could resolve otherwise.
pub fn target(data: &[u8]) {
    if let Ok(authority) = targets::authority(data) {
        assert_eq!(targets::authority(authority.as_bytes()), Ok(authority));
    }
    let Ok((path, query)) = targets::canonicalise(data) else { return };
    assert!(path.starts_with('/') && !path.contains("//") && !path.contains('\\'));
    assert!(path.split('/').all(|segment| segment != "." && segment != ".."));
    assert!(path.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#".contains(&byte)));
    let whole = query.as_ref().map_or(path.clone(), |query| format!("{path}?{query}"));
    assert_eq!(targets::canonicalise(whole.as_bytes()), Ok((path, query.clone())));
    let pairs = targets::query_pairs(query.as_deref().unwrap_or_default()).count();
    assert!(pairs <= data.len());
}

/// The head at the start of `data`, if there is a whole one, found at once and byte by byte.
fn head(data: &[u8], role: Role) -> Option<Chunk> {
    let at_once = find_head_end(data, &mut 0, role);
    let mut searched = 0;
    let stepwise = (1..=data.len())
        .map(|length| find_head_end(&data[..length], &mut searched, role))
        .find(|result| !matches!(result, Ok(None)))
        .unwrap_or(Ok(None));
    match (at_once, stepwise) {
        (Ok(end), other) => assert_eq!(Ok(end), other),
        // Which of several faults is named first may depend on the split, that there is one may not.
        (Err(_), other) => assert!(other.is_err()),
    }
    at_once.ok().flatten().map(|end| Chunk::from(data[..end].to_vec()))
}

/// Data and consumed bytes of a chunked body.
fn decode(wire: &[u8], read: impl Fn(usize) -> usize) -> Result<(Vec<u8>, usize), Rejection> {
    let wire = Chunk::from(wire.to_vec());
    let mut decoder = BodyDecoder::new(Framing::Chunked);
    let mut data = Segments::new();
    let mut at = 0;
    while at < wire.len() && !decoder.is_done() {
        let end = at.saturating_add(read(at)).min(wire.len());
        at += decoder.push(wire.slice(at..end), &mut data)?.consumed;
    }
    decoder.finish_on_eof()?;
    Ok((data.to_vec(), at))
}

fn assert_same(one: &Headers, other: &Headers) {
    assert_eq!(one.iter().collect::<Vec<_>>(), other.iter().collect::<Vec<_>>());
}
