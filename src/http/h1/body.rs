use super::chunked::Chunked;
use crate::buffer::{Chunk, Segments};
use crate::http::{Framing, Rejection};

/// What one [`BodyDecoder::push`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to this message. Those behind it belong to the next one, or to nobody.
    pub consumed: usize,
    /// Whether the body is whole.
    pub done: bool,
}

/// Takes a body out of its framing (RFC 9112 sections 6 and 7), without copying it.
///
/// After an error every further call gives the same error: a body that was refused never continues.
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
}

#[derive(Debug)]
enum State {
    Done,
    /// Bytes still to come; never 0.
    Length(u64),
    Chunked(Chunked),
    Close,
    Refused(Rejection),
}

impl BodyDecoder {
    /// A decoder for the body behind a head with this framing.
    pub fn new(framing: Framing) -> BodyDecoder {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
            Framing::Close => State::Close,
        };
        BodyDecoder { state }
    }

    /// Takes the next received bytes. Data goes to `out` as slices of `input`; chunk framing and trailers
    /// are dropped.
    ///
    /// # Errors
    /// The sender's fault: malformed chunks, extensions or trailers. What is in `out` must not be forwarded
    /// as whole.
    pub fn push(&mut self, input: Chunk, out: &mut Segments) -> Result<Progress, Rejection> {
        let consumed = match &mut self.state {
            State::Done => 0,
            State::Refused(rejection) => return Err(*rejection),
            State::Close => {
                let consumed = input.len();
                out.push(input);
                consumed
            }
            State::Length(left) => {
                let consumed = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= consumed as u64;
                if *left == 0 {
                    self.state = State::Done;
                }
                // To slice it would count its holders up and down.
                out.push(if consumed == input.len() { input } else { input.slice(..consumed) });
                consumed
            }
            State::Chunked(chunked) => match chunked.push(&input, out) {
                Ok(consumed) => {
                    if chunked.is_done() {
                        self.state = State::Done;
                    }
                    consumed
                }
                Err(rejection) => {
                    self.state = State::Refused(rejection);
                    return Err(rejection);
                }
            },
        };
        Ok(Progress { consumed, done: self.is_done() })
    }

    /// The connection has ended. It ends a body that lasts until then; any other body is incomplete.
    ///
    /// # Errors
    /// `BodyIncomplete`, or what the body was refused for: what was forwarded so far must not end cleanly.
    pub fn finish_on_eof(&mut self) -> Result<(), Rejection> {
        match self.state {
            State::Done => Ok(()),
            State::Close => {
                self.state = State::Done;
                Ok(())
            }
            State::Refused(rejection) => Err(rejection),
            State::Length(_) | State::Chunked(_) => Err(Rejection::BodyIncomplete),
        }
    }

    /// Whether so many bytes that come next all belong to this message, as far as that is known beforehand.
    pub fn takes_all(&self, bytes: usize) -> bool {
        match self.state {
            State::Length(left) => bytes as u64 <= left,
            State::Close => true,
            State::Done | State::Chunked(_) | State::Refused(_) => false,
        }
    }

    /// Whether the body is whole.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Decodes `wire` in reads of these lengths. Returns the data and how much was consumed.
    fn decode(framing: Framing, wire: &[u8], reads: &[usize]) -> Result<(Vec<u8>, usize), Rejection> {
        let wire = Chunk::from(wire.to_vec());
        let mut decoder = BodyDecoder::new(framing);
        let mut data = Segments::new();
        let mut at = 0;
        let mut reads = reads.iter().copied().chain(std::iter::repeat(usize::MAX));
        while !decoder.is_done() && at < wire.len() {
            let end = at.saturating_add(reads.next().unwrap_or(usize::MAX)).min(wire.len());
            let takes_all = decoder.takes_all(end - at);
            let progress = decoder.push(wire.slice(at..end), &mut data)?;
            assert!(!takes_all || progress.consumed == end - at);
            assert!(progress.consumed <= end - at && progress.done == decoder.is_done());
            assert!(progress.done || progress.consumed == end - at);
            at += progress.consumed;
        }
        decoder.finish_on_eof()?;
        let inside = |chunk: &Chunk| wire.as_ptr_range().contains(&chunk.as_ptr());
        assert!(data.iter().all(inside), "data is never copied");
        Ok((data.to_vec(), at))
    }

    /// The same in one read, in two, and byte by byte.
    fn check(framing: Framing, wire: &[u8], expected: Result<(&[u8], usize), Rejection>) {
        let expected = expected.map(|(data, consumed)| (data.to_vec(), consumed));
        let name = String::from_utf8_lossy(wire);
        for first in 1..=wire.len() {
            assert_eq!(decode(framing, wire, &[first]), expected, "{name:?} split at {first}");
        }
        assert_eq!(decode(framing, wire, &vec![1; wire.len()]), expected, "{name:?} byte by byte");
    }

    #[test]
    fn a_body_ends_where_its_framing_says() {
        // RFC 9112 section 6.3.
        check(Framing::None, b"next", Ok((b"", 0)));
        check(Framing::Length(0), b"next", Ok((b"", 0)));
        check(Framing::Length(4), b"bodynext", Ok((b"body", 4)));
        check(Framing::Length(5), b"body", Err(Rejection::BodyIncomplete));
        check(Framing::Close, b"to the end", Ok((b"to the end", 10)));
    }

    #[test]
    fn chunks_are_taken_apart() {
        // RFC 9112 section 7.1.
        let cases: [(&[u8], &[u8]); 6] = [
            (b"0\r\n\r\n", b""),
            (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
            (b"A\r\n0123456789\r\n00\r\n\r\n", b"0123456789"),
            (b"0000000000000001\r\nx\r\n0000000000000000\r\n\r\n", b"x"),
            (b"1;a;b=c;d=\"e \\\" ;f\\\\\"\r\nx\r\n0;last\r\n\r\n", b"x"),
            (b"1\r\nx\r\n0\r\nVary: *\r\nX-Sum:\t1 2\r\nE:\r\n\r\n", b"x"),
        ];
        for (wire, data) in cases {
            let next = [wire, b"GET"].concat();
            check(Framing::Chunked, &next, Ok((data, wire.len())));
            for end in 0..wire.len() {
                let cut = decode(Framing::Chunked, &wire[..end], &[]);
                assert_eq!(cut, Err(Rejection::BodyIncomplete), "truncated at {end}");
            }
        }
    }

    #[test]
    fn malformed_chunks_are_refused() {
        // RFC 9112 section 7.1; SECURITY R4 and R5.
        let groups: [(Rejection, &[&[u8]]); 9] = [
            (
                Rejection::ChunkSizeInvalid,
                &[
                    b"\r\n",
                    b"0x1\r\n",
                    b"1_0\r\n",
                    b"+1\r\n",
                    b"-1\r\n",
                    b" 1\r\n",
                    b"1 \r\n",
                    b"1\t;a\r\n",
                    b"g\r\n",
                ],
            ),
            (
                Rejection::ChunkSizeInvalid,
                &[b"00000000000000001\r\n", b"10000000000000000\r\n", b";a\r\n", b"\n"],
            ),
            (Rejection::BareLf, &[b"1\nx", b"1;a\nx", b"1;a=\"\n\"", b"0\r\nA: b\n"]),
            (Rejection::BareCr, &[b"1\rx\r\n", b"1;a\rb"]),
            (
                Rejection::ChunkExtensionInvalid,
                &[
                    b"1;\r\n",
                    b"1; a\r\n",
                    b"1;a \r\n",
                    b"1;a=\r\n",
                    b"1;a= b",
                    b"1;a=\"b\"c",
                    b"1;a=\"\0\"",
                    b"1;a=b=c",
                ],
            ),
            (Rejection::ChunkEndInvalid, &[b"1\r\nxx", b"1\r\nx\n", b"1\r\nx\rx", b"2\r\nx\r\n0\r\n\r\n"]),
            (
                Rejection::TrailerInvalid,
                &[
                    b"0\r\nA\r\n",
                    b"0\r\n: b\r\n",
                    b"0\r\nA : b\r\n",
                    b"0\r\n A: b\r\n",
                    b"0\r\nA: b\r\n c\r\n",
                ],
            ),
            (Rejection::TrailerInvalid, &[b"0\r\n\rx", b"0\r\nA: b\rc", b"0\r\nA: \x01\r\n"]),
            (
                Rejection::TrailerForbidden,
                &[
                    b"0\r\nContent-Length: 1\r\n",
                    b"0\r\nA: b\r\nHOST: x\r\n",
                    b"0\r\nTransfer-Encoding:",
                    b"0\r\nauthorization:",
                ],
            ),
        ];
        for (rejection, wires) in groups {
            for wire in wires {
                check(Framing::Chunked, wire, Err(rejection));
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let extension = |length: usize| format!("0;{}\r\n\r\n", "a".repeat(length)).into_bytes();
        assert!(decode(Framing::Chunked, &extension(255), &[]).is_ok());
        let refused = decode(Framing::Chunked, &extension(256), &[]);
        assert_eq!(refused, Err(Rejection::ChunkExtensionTooLong));
        let trailer = format!("0\r\n{}\r\n", "A: bcd\r\n".repeat(1025)).into_bytes();
        assert_eq!(decode(Framing::Chunked, &trailer, &[]), Err(Rejection::TrailerTooLong));
    }

    #[test]
    fn a_refused_body_never_continues() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut out = Segments::new();
        for input in [&b"1\r\nxy"[..], b"\r\n0\r\n\r\n"] {
            let result = decoder.push(Chunk::from_static(input), &mut out);
            assert_eq!(result, Err(Rejection::ChunkEndInvalid));
        }
        assert_eq!(decoder.finish_on_eof(), Err(Rejection::ChunkEndInvalid));
        assert!(!decoder.is_done());
    }

    #[test]
    fn nothing_is_taken_behind_the_end() {
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        let mut out = Segments::new();
        let done = |consumed| Ok(Progress { consumed, done: true });
        assert_eq!(decoder.push(Chunk::from_static(b"0\r\n\r\nGET"), &mut out), done(5));
        assert_eq!(decoder.push(Chunk::from_static(b"GET"), &mut out), done(0));
    }

    proptest! {
        #[test]
        fn chunked_data_comes_back_for_every_chunking_and_every_split(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..8),
            reads in prop::collection::vec(1usize..20, 0..60),
            rest in prop::collection::vec(any::<u8>(), 0..8),
        ) {
            let mut encoder = crate::http::h1::ChunkEncoder::new();
            let mut wire = Segments::new();
            for piece in &pieces {
                encoder.wrap(Segments::from(Chunk::from(piece.clone())), &mut wire);
            }
            encoder.end(&mut wire);
            let length = wire.len_bytes();
            let bytes = [wire.to_vec(), rest].concat();
            prop_assert_eq!(decode(Framing::Chunked, &bytes, &reads), Ok((pieces.concat(), length)));
        }

        #[test]
        fn arbitrary_bytes_are_decoded_alike_for_every_split(
            bytes in prop::collection::vec(
                prop_oneof![prop::sample::select(b"0123;=\"\\a:\r\n \t".to_vec()), any::<u8>()],
                0..40,
            ),
            reads in prop::collection::vec(1usize..10, 0..40),
        ) {
            prop_assert_eq!(decode(Framing::Chunked, &bytes, &reads), decode(Framing::Chunked, &bytes, &[]));
        }
    }
}
