use super::*;
use flate2::{Compression, write as deflating};
use proptest::prelude::*;
use std::io::Write;

const CODINGS: [Coding; 4] = Coding::ALL;

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    encode_flushing(coding, &[plain])
}

/// Encodes pieces with a flush behind each of them.
fn encode_flushing(coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
    fn write(mut into: impl Write, pieces: &[&[u8]]) {
        for piece in pieces {
            into.write_all(piece).unwrap();
            into.flush().unwrap();
        }
    }
    let mut encoded = Vec::new();
    match coding {
        Coding::Gzip => write(deflating::GzEncoder::new(&mut encoded, Compression::default()), pieces),
        Coding::Deflate => write(deflating::ZlibEncoder::new(&mut encoded, Compression::default()), pieces),
        Coding::Brotli => write(::brotli::CompressorWriter::new(&mut encoded, 4096, 5, 22), pieces),
        Coding::Zstd => {
            let mut encoder = ::zstd::stream::write::Encoder::new(&mut encoded, 3).unwrap();
            write(&mut encoder, pieces);
            encoder.finish().unwrap();
        }
    }
    encoded
}

fn decode(coding: Coding, pieces: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let (mut decoder, mut out) = (Decoder::new(coding), Segments::new());
    pieces.iter().try_for_each(|piece| push(&mut decoder, piece, &mut out).map(drop))?;
    decoder.finish()?;
    assert_eq!(decoder.decoded_bytes(), out.len_bytes() as u64);
    Ok(out.to_vec())
}

/// Decodes all that comes of `piece`; gives the most that came in one step.
fn push(decoder: &mut Decoder, piece: &[u8], out: &mut Segments) -> Result<usize, Error> {
    decoder.push(Chunk::from(piece.to_vec()));
    let mut most = 0;
    while decoder.has_more() {
        let before = out.len_bytes();
        decoder.pull(out)?;
        most = most.max(out.len_bytes() - before);
    }
    Ok(most)
}

/// Text that no coding shortens much.
fn text(length: usize) -> Vec<u8> {
    noise(length).iter().map(|byte| b"abcdefghijklmnop"[usize::from(byte & 15)]).collect()
}

fn noise(length: usize) -> Vec<u8> {
    let mut seed = 1_u32;
    let next = |_| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 24) as u8
    };
    (0..length).map(next).collect()
}

#[test]
fn the_values_of_content_encoding_name_at_most_one_known_coding() {
    let check = |values: &[&str], expected: Result<Option<Coding>, &str>| {
        let found = Coding::of(values.iter().map(|value| value.as_bytes()));
        assert_eq!(found, expected.map_err(str::to_owned), "{values:?}");
    };
    check(&[], Ok(None));
    check(&["", "identity", " IDENTITY ,"], Ok(None));
    check(&["gzip"], Ok(Some(Coding::Gzip)));
    check(&["X-GZip"], Ok(Some(Coding::Gzip)));
    check(&["identity", "br"], Ok(Some(Coding::Brotli)));
    check(&["deflate, identity"], Ok(Some(Coding::Deflate)));
    check(&["Zstd"], Ok(Some(Coding::Zstd)));
    check(&["gzip, gzip"], Err("gzip, gzip"));
    check(&["gzip", "br"], Err("gzip, br"));
    check(&["compress"], Err("compress"));
    check(&["gzipped"], Err("gzipped"));
    check(&["aws-chunked,gzip"], Err("aws-chunked, gzip"));
}

#[test]
fn every_coding_comes_back_for_every_cut() {
    for coding in CODINGS {
        for plain in [&b""[..], b"x", b"hello, hello", &text(700)] {
            let encoded = encode(coding, plain);
            for cut in 0..=encoded.len() {
                let (first, second) = encoded.split_at(cut);
                assert_eq!(decode(coding, &[first, second]).as_deref(), Ok(plain), "{coding} {cut}");
            }
            let bytes: Vec<&[u8]> = encoded.chunks(1).collect();
            assert_eq!(decode(coding, &bytes).as_deref(), Ok(plain), "{coding}");
        }
        let plain = text(1_200_000);
        let encoded = encode(coding, &plain);
        let pieces: Vec<&[u8]> = encoded.chunks(65_536).collect();
        assert!(decode(coding, &pieces).as_ref() == Ok(&plain), "{coding}");
    }
}

/// Without a header `deflate` is taken as raw blocks, which some servers mean by it.
#[test]
fn deflate_without_its_header_is_read() {
    let mut encoder = deflating::DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&text(5000)).unwrap();
    let encoded = encoder.finish().unwrap();
    for cut in 0..encoded.len() {
        let (first, second) = encoded.split_at(cut);
        assert_eq!(decode(Coding::Deflate, &[first, second]), Ok(text(5000)), "{cut}");
    }
}

#[test]
fn a_cut_off_body_is_never_whole() {
    for coding in CODINGS {
        let encoded = encode(coding, &text(400));
        for end in 1..encoded.len() {
            assert_eq!(decode(coding, &[&encoded[..end]]), Err(Error::Truncated(coding)), "{end}");
        }
        assert_eq!(decode(coding, &[]), Ok(Vec::new()), "a body without a byte is empty");
    }
}

#[test]
fn what_follows_the_end_is_refused() {
    for coding in CODINGS {
        let encoded = encode(coding, b"hello");
        for tail in [&b"\0"[..], b"x", b"trailing text", b"\r\n"] {
            for pieces in [vec![[&encoded[..], tail].concat()], vec![encoded.clone(), tail.to_vec()]] {
                let pieces: Vec<&[u8]> = pieces.iter().map(|piece| &piece[..]).collect();
                assert!(decode(coding, &pieces).is_err(), "{coding} {tail:?}");
            }
        }
    }
}

/// RFC 1952 section 2.2, RFC 8878 section 3.1: parts simply follow each other.
#[test]
fn several_parts_are_one_body_and_many_tiny_ones_are_none() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let (one, two) = (encode(coding, b"one "), encode(coding, b"two"));
        assert_eq!(decode(coding, &[&[&one[..], &two].concat()]).as_deref(), Ok(&b"one two"[..]));
        assert_eq!(decode(coding, &[&one, &two]).as_deref(), Ok(&b"one two"[..]));
        let many = encode(coding, b"").repeat(10_000);
        assert_eq!(decode(coding, &[&many]), Err(Error::TooManyParts(coding)));
    }
    for coding in [Coding::Deflate, Coding::Brotli] {
        let twice = encode(coding, b"one").repeat(2);
        assert_eq!(decode(coding, &[&twice]), Err(Error::Trailing(coding)));
    }
}

#[test]
fn a_changed_byte_of_gzip_is_found_by_its_checksum() {
    let encoded = encode(Coding::Gzip, &text(300));
    for at in 0..encoded.len() {
        let mut changed = encoded.clone();
        changed[at] ^= 0x40;
        // Bits of no meaning may differ: the time, and what stands behind the last block.
        let decoded = decode(Coding::Gzip, &[&changed]);
        assert!(decoded.is_err() || decoded == Ok(text(300)), "byte {at}");
    }
}

#[test]
fn the_optional_parts_of_a_gzip_header_are_read_over() {
    let builder = || flate2::GzBuilder::new().mtime(77);
    let plain = encode(Coding::Gzip, b"hello");
    let mut cases = vec![];
    for builder in [
        builder().filename("a name"),
        builder().comment("a comment"),
        builder().extra(b"extra".to_vec()),
        builder().extra(vec![]),
        builder().filename("a name").comment("a comment").extra(vec![7; 3000]),
    ] {
        let mut encoder = builder.write(Vec::new(), Compression::default());
        encoder.write_all(b"hello").unwrap();
        cases.push(encoder.finish().unwrap());
    }
    // With a checksum of the header.
    let head = [0x1f, 0x8b, 8, 2, 0, 0, 0, 0, 0, 255];
    let mut crc = flate2::Crc::new();
    crc.update(&head);
    let check = ((crc.sum() & 0xffff) as u16).to_le_bytes();
    cases.push([&head[..], &check, &plain[10..]].concat());
    for encoded in &cases {
        for cut in 0..encoded.len().min(60) {
            let (first, second) = encoded.split_at(cut);
            assert_eq!(decode(Coding::Gzip, &[first, second]).as_deref(), Ok(&b"hello"[..]), "{cut}");
        }
    }
    let corrupt = Err(Error::Corrupt(Coding::Gzip));
    assert_eq!(decode(Coding::Gzip, &[&[&head[..], &[!check[0], check[1]], &plain[10..]].concat()]), corrupt);
    let endless = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255][..], &[b'n'; 9000]].concat();
    assert_eq!(decode(Coding::Gzip, &[&endless]), corrupt);
    for (at, wrong) in [(0, 0x1e), (1, 0x8a), (2, 7), (3, 0x20)] {
        let mut encoded = plain.clone();
        encoded[at] = wrong;
        assert_eq!(decode(Coding::Gzip, &[&encoded]), corrupt);
    }
}

/// What one event needs has come: then the event leaves.
#[test]
fn flushed_data_leaves_at_once() {
    for coding in CODINGS {
        let events: Vec<String> = (0..50).map(|n| format!("data: event number {n}\n\n")).collect();
        let mut prefixes = Vec::new();
        for count in 0..=events.len() {
            let pieces: Vec<&[u8]> = events[..count].iter().map(|event| event.as_bytes()).collect();
            prefixes.push(flushed(coding, &pieces));
        }
        let (mut decoder, mut sent) = (Decoder::new(coding), 0);
        for (count, prefix) in prefixes.iter().enumerate().skip(1) {
            let mut out = Segments::new();
            push(&mut decoder, &prefix[sent..], &mut out).unwrap();
            sent = prefix.len();
            assert_eq!(String::from_utf8(out.to_vec()).unwrap(), events[count - 1], "{coding}");
        }
    }
}

/// The encoded bytes that a server has sent after it flushed the last piece, without an end.
fn flushed(coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
    fn write<W: Write>(mut into: W, pieces: &[&[u8]], take: impl FnOnce(&W) -> Vec<u8>) -> Vec<u8> {
        for piece in pieces {
            into.write_all(piece).unwrap();
            into.flush().unwrap();
        }
        take(&into)
    }
    let level = Compression::default();
    match coding {
        Coding::Gzip => write(deflating::GzEncoder::new(Vec::new(), level), pieces, |e| e.get_ref().clone()),
        Coding::Deflate => {
            write(deflating::ZlibEncoder::new(Vec::new(), level), pieces, |e| e.get_ref().clone())
        }
        Coding::Brotli => {
            write(::brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22), pieces, |e| e.get_ref().clone())
        }
        Coding::Zstd => {
            let encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
            write(encoder, pieces, |e| e.get_ref().clone())
        }
    }
}

/// SECURITY R43: what swells beyond its bound is refused before it takes memory.
#[test]
fn a_bomb_is_refused_at_its_bound() {
    for coding in CODINGS {
        let bomb = encode(coding, &vec![0; 16 << 20]);
        for length in [bomb.len(), 1024] {
            let (mut decoder, mut out) = (Decoder::new(coding), Segments::new());
            let result =
                bomb.chunks(length).try_for_each(|piece| push(&mut decoder, piece, &mut out).map(drop));
            assert_eq!(result, Err(Error::Swells(coding)));
            let bound = DECODED_FREE_BYTES + bomb.len() as u64 * DECODED_RATIO_MAX;
            assert!(decoder.decoded_bytes() <= bound + DECODED_PIECE_BYTES as u64, "{coding}");
        }
    }
}

/// One read of 64 KiB may stand for many megabytes, and these come one step after the other.
#[test]
fn what_swells_within_its_bound_comes_in_steps() {
    for coding in CODINGS {
        let mut data = noise(1 << 20);
        data.resize(17 << 20, 0);
        let encoded = encode(coding, &data);
        let (mut decoder, mut out, mut most) = (Decoder::new(coding), Segments::new(), 0);
        for piece in encoded.chunks(65_536) {
            most = most.max(push(&mut decoder, piece, &mut out).unwrap());
        }
        decoder.finish().unwrap();
        assert!(out.to_vec() == data, "{coding}");
        assert!(most < DECODED_STEP_BYTES + DECODED_PIECE_BYTES, "{coding}: {most}");
    }
}

#[test]
fn windows_beyond_the_bound_are_refused() {
    let brotli = |bits: u32| {
        let mut encoded = Vec::new();
        let mut writer = ::brotli::CompressorWriter::new(&mut encoded, 4096, 5, bits);
        writer.write_all(&text(9000)).unwrap();
        drop(writer);
        decode(Coding::Brotli, &[&encoded])
    };
    for bits in 10..=22 {
        assert_eq!(brotli(bits), Ok(text(9000)), "{bits}");
    }
    for bits in [23, 24] {
        assert_eq!(brotli(bits), Err(Error::Window(Coding::Brotli)), "{bits}");
    }
    let zstd = |bits: u32| {
        let mut encoder = ::zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(bits).unwrap();
        encoder.write_all(&text(9000)).unwrap();
        encoder.flush().unwrap();
        encoder.write_all(&text(9000)).unwrap();
        decode(Coding::Zstd, &[&encoder.finish().unwrap()])
    };
    assert_eq!(zstd(23), Ok(text(9000).repeat(2)));
    assert_eq!(zstd(24), Err(Error::Window(Coding::Zstd)));
    assert_eq!(zstd(27), Err(Error::Window(Coding::Zstd)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_body_comes_back_for_any_cut(
        plain in prop::collection::vec(prop_oneof![3 => Just(b'a'), 1 => any::<u8>()], 0..4000),
        cuts in prop::collection::vec(1..300usize, 1..20),
    ) {
        for coding in CODINGS {
            let encoded = encode(coding, &plain);
            let (mut pieces, mut rest) = (Vec::new(), &encoded[..]);
            for cut in cuts.iter().cycle() {
                let (piece, behind) = rest.split_at((*cut).min(rest.len()));
                pieces.push(piece);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(&decode(coding, &pieces), &Ok(plain.clone()));
        }
    }

    #[test]
    fn damaged_data_never_panics_and_cuts_agree(
        plain in prop::collection::vec(any::<u8>(), 0..300),
        at in any::<prop::sample::Index>(),
        flip in 1..=255u8,
    ) {
        for coding in CODINGS {
            let mut encoded = encode(coding, &plain);
            let at = at.index(encoded.len());
            encoded[at] ^= flip;
            let bytes: Vec<&[u8]> = encoded.chunks(1).collect();
            // A decoder that sees the whole frame finds more that is wrong with it.
            if let (Ok(whole), Ok(cut)) = (decode(coding, &[&encoded]), decode(coding, &bytes)) {
                prop_assert_eq!(whole, cut, "{}", coding);
            }
        }
    }
}
