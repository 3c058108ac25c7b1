//! The way through an egress proxy: a tunnel that it opens for one connection (RFC 9110 section 9.3.6).

use crate::{
    buffer::{ChunkMut, Segments},
    http::{
        Method, ResponseHead,
        h1::{self, Role},
    },
    limits::INFORMATIONAL_COUNT_MAX,
    runtime::Connection,
    secrets::SecretValue,
};

/// Why there is no tunnel, as the end of a sentence about the egress proxy. Names no address.
pub type Refusal = String;

/// Asks the proxy at the other end of `connection` for a tunnel to `target` (`host:port`). May be dropped.
///
/// # Errors
/// The proxy answers otherwise than with 2xx, breaks off, or says more than that.
pub async fn open(
    mut connection: Connection,
    target: &str,
    authorization: Option<&SecretValue>,
) -> Result<Connection, Refusal> {
    let head = request(target, authorization);
    connection.writer.write_head(head, true, Segments::new()).await.map_err(|_| closed())?;
    let mut buffer = ChunkMut::default();
    for _ in 0..=INFORMATIONAL_COUNT_MAX {
        let head = response(&mut connection, &mut buffer).await?;
        match head.status {
            100..200 => continue,
            200..300 if buffer.is_empty() => return Ok(connection),
            // Whoever is at the tunnel's other end speaks only when spoken to.
            200..300 => return Err("sent bytes behind its answer".to_owned()),
            status => return Err(format!("answered {status}")),
        }
    }
    Err("sent too many informational answers".to_owned())
}

/// The request's head in one allocation: growing would leave unwiped copies of a credential behind.
fn request(target: &str, authorization: Option<&SecretValue>) -> Vec<u8> {
    let name = b"proxy-authorization: ";
    let credential = authorization.map_or(&[][..], |value| value.expose());
    let mut head = Vec::with_capacity(64 + 2 * target.len() + name.len() + credential.len());
    for part in [b"CONNECT ", target.as_bytes(), b" HTTP/1.1\r\nhost: ", target.as_bytes(), b"\r\n"] {
        head.extend_from_slice(part);
    }
    if authorization.is_some() {
        for part in [&name[..], credential, b"\r\n"] {
            head.extend_from_slice(part);
        }
    }
    head.extend_from_slice(b"\r\n");
    head
}

/// The next response head; what follows it stays in `buffer`.
async fn response(connection: &mut Connection, buffer: &mut ChunkMut) -> Result<ResponseHead, Refusal> {
    let mut searched = 0;
    let length = loop {
        match h1::find_head_end(buffer, &mut searched, Role::Response) {
            Err(rejection) => return Err(malformed(rejection.reason())),
            Ok(Some(length)) => break length,
            Ok(None) => {}
        }
        let held = std::mem::take(buffer);
        *buffer = match connection.reader.read_more(held).await {
            Ok(Some(longer)) => longer,
            Ok(None) | Err(_) => return Err(closed()),
        };
    };
    // Lengths in the answer to CONNECT mean nothing, as in that to HEAD.
    h1::parse_response(buffer.split_to(length), &Method::Head).map_err(|error| malformed(error.reason()))
}

fn closed() -> Refusal {
    "closed the connection".to_owned()
}

fn malformed(reason: &str) -> Refusal {
    format!("sent a malformed answer: {reason}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Scrub;

    #[test]
    fn the_request_names_the_target_twice_and_fits_its_allocation() {
        let secret = SecretValue::new(b"Basic dTpwYXNzd29yZA==".to_vec(), Scrub::Off).unwrap();
        for (target, authorization, expected) in [
            ("up.test:443", None, "CONNECT up.test:443 HTTP/1.1\r\nhost: up.test:443\r\n\r\n"),
            (
                "[::1]:80",
                Some(&secret),
                "CONNECT [::1]:80 HTTP/1.1\r\nhost: [::1]:80\r\n\
                 proxy-authorization: Basic dTpwYXNzd29yZA==\r\n\r\n",
            ),
        ] {
            let head = request(target, authorization);
            assert_eq!(String::from_utf8_lossy(&head), expected);
            let room = 64 + 2 * target.len() + 21 + authorization.map_or(0, |value| value.expose().len());
            assert!(head.len() <= room);
        }
    }
}
