use ringward::buffer::Segments;
use ringward::inspect::echo::{Echo, MASK, Scrub};
use ringward::inspect::encoding::{Coding, Decoder};
use ringward::limits::{DECODED_FREE_BYTES, DECODED_PIECE_BYTES, DECODED_RATIO_MAX};
use std::sync::Arc;

pub fn gzip(data: &[u8]) {
    decode(Coding::Gzip, data);
}

pub fn deflate(data: &[u8]) {
    decode(Coding::Deflate, data);
}

pub fn brotli(data: &[u8]) {
    decode(Coding::Brotli, data);
}

pub fn zstd(data: &[u8]) {
    decode(Coding::Zstd, data);
}

/// However a body is cut, the same comes out if anything does, and never more than its bound. The first byte
/// is the length of the chunks.
fn decode(coding: Coding, data: &[u8]) {
    let Some((length, body)) = data.split_first() else { return };
    let whole = pieces(coding, [body].into_iter());
    let cut = pieces(coding, body.chunks(usize::from(*length).max(1)));
    if let (Some(whole), Some(cut)) = (whole, cut) {
        assert_eq!(whole, cut);
    }
}

fn pieces<'a>(coding: Coding, pieces: impl Iterator<Item = &'a [u8]>) -> Option<Vec<u8>> {
    let (mut decoder, mut all, mut received) = (Decoder::new(coding), Segments::new(), 0);
    for piece in pieces {
        received += piece.len() as u64;
        decoder.push(piece.to_vec().into());
        let mut result = Ok(());
        while result.is_ok() && decoder.has_more() {
            result = decoder.pull(&mut all);
        }
        let bound = DECODED_FREE_BYTES + received * DECODED_RATIO_MAX + DECODED_PIECE_BYTES as u64;
        assert!(decoder.decoded_bytes() <= bound);
        assert_eq!(decoder.decoded_bytes(), all.len_bytes() as u64);
        result.ok()?;
    }
    decoder.finish().ok()?;
    Some(all.to_vec())
}

/// However a body is cut, the same comes out, and no piece of a secret. The first byte is the length of the
/// secret, the second that of the chunks; the secret itself stands in front of the body.
pub fn echo(data: &[u8]) {
    let [secret, length, rest @ ..] = data else { return };
    let (secret, body) = rest.split_at(usize::from(*secret).min(rest.len()));
    let echo = Arc::new(Echo::new(&[secret]));
    let whole = scrub(&echo, [body].into_iter());
    let cut = scrub(&echo, body.chunks(usize::from(*length).max(1)));
    assert_eq!(whole, cut);
    assert_eq!(whole, echo.scrub(body).unwrap_or(body.to_vec()));
    assert_eq!(whole.len(), body.len());
    // A secret that the mask may make up cannot be masked away, nor is a public beginning.
    let is_public = secret.contains(&MASK) || secret.starts_with(b"eyJ") || secret.starts_with(b"sk-ant-");
    if secret.len() >= 12 && !is_public {
        assert!(!whole.windows(secret.len()).any(|window| window == secret));
    }
}

fn scrub<'a>(echo: &Arc<Echo>, pieces: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut scrub, mut out) = (Scrub::new(echo.clone()), Segments::new());
    pieces.for_each(|piece| scrub.push(piece.to_vec().into(), false, &mut out));
    scrub.finish(&mut out);
    out.to_vec()
}
