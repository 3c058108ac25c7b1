//! Bodies made to cost much: what their sender spends on them, and what decoding and inspecting them takes.
//!
//! `cargo test --release --test inspect -- --ignored --nocapture bombs` prints the time of each.

use crate::generate;
use brotli::CompressorWriter;
use flate2::{Compression, write::GzEncoder, write::ZlibEncoder};
use ringward::buffer::{Chunk, Segments, Tally};
use ringward::inspect::encoding::{Coding, Decoder, Error};
use ringward::inspect::{Context, Direction, Inspector, Kind, MaskSet};
use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes that arrive at once.
const PIECE_BYTES: usize = 64 << 10;
/// Decoded bytes of a bomb: what its sender hopes for.
const DECODED_BYTES: usize = if cfg!(debug_assertions) { 16 << 20 } else { 64 << 20 };
/// What may come out of a body that is refused: a free MiB, a hundred times what was read, and one piece.
const FREE_BYTES: u64 = (1 << 20) + (32 << 10);

fn encode(coding: Coding, plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        Coding::Gzip => GzEncoder::new(&mut out, Compression::best()).write_all(plain),
        Coding::Deflate => ZlibEncoder::new(&mut out, Compression::best()).write_all(plain),
        Coding::Brotli => CompressorWriter::new(&mut out, 4096, 5, 22).write_all(plain),
        Coding::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(&mut out, 3).expect("an encoder");
            encoder.write_all(plain).and_then(|()| encoder.finish().map(drop))
        }
    }
    .expect("memory takes all");
    out
}

/// `unit` again and again, in front of it enough that no coding shortens for a ratio below the bound.
fn swelling(unit: &[u8], noise: usize, length: usize) -> Vec<u8> {
    let mut seed = 1_u64;
    let mut plain = Vec::with_capacity(length + 65_536);
    while plain.len() < length {
        for _ in 0..noise {
            seed = seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
            plain.push(
                b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-"[(seed >> 58) as usize],
            );
        }
        plain.extend(unit.iter().cycle().take(65_536 - noise));
    }
    plain
}

/// Parts that decode to nothing: members, frames, blocks.
fn empty_parts(coding: Coding, length: usize) -> Vec<u8> {
    match coding {
        Coding::Gzip | Coding::Zstd => encode(coding, b"").repeat(length / encode(coding, b"").len()),
        // A header, then stored blocks of no byte (RFC 1951 section 3.2.4).
        Coding::Deflate => [&[0x78, 0x9c][..], &[0, 0, 0, 0xff, 0xff].repeat(length / 5)].concat(),
        // A window's bit, then metadata blocks of no byte (RFC 7932 section 9.2): 0, 11, 0, 00, and padding.
        Coding::Brotli => [&[0x0c_u8][..], &vec![0x06; length]].concat(),
    }
}

#[derive(Debug)]
struct Cost {
    read: u64,
    decoded: u64,
    time: Duration,
    end: Result<(), Error>,
}

/// Decodes and inspects what comes of `body`, as far as it is taken.
fn defuse(set: &Arc<MaskSet>, coding: Coding, body: &[u8]) -> Cost {
    let pieces: Vec<Chunk> = body.chunks(PIECE_BYTES).map(|piece| Chunk::from(piece.to_vec())).collect();
    let mut decoder = Decoder::new(coding);
    let mut inspector = Inspector::new(set.clone(), Direction::Response, Context::Text);
    let (mut read, mut end) = (0, Ok(()));
    let began = Instant::now();
    'body: for piece in pieces {
        read += piece.len() as u64;
        decoder.push(piece);
        while decoder.has_more() {
            let mut plain = Segments::new();
            end = decoder.pull(&mut plain);
            for chunk in plain.iter() {
                let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
                inspector.push(chunk.clone(), &mut out, &mut edits, &mut tally).expect("text");
            }
            if end.is_err() {
                break 'body;
            }
        }
    }
    Cost { read, decoded: decoder.decoded_bytes(), time: began.elapsed(), end }
}

fn all_kinds() -> Arc<MaskSet> {
    let rules = Kind::BUILT_IN.into_iter().map(|kind| generate::rule("x", kind, "[x]")).collect();
    Arc::new(MaskSet::compile(rules).expect("good rules"))
}

/// What a body is filled with: nothing to find, and what detectors look at most closely.
const FILLED: [(&str, &[u8]); 4] =
    [("zeros", b"0"), ("spaces", b" "), ("cards", b"4111 1111 1111 1112 "), ("at signs", b"a@b.c@")];

/// However much of it arrives at once, no more is decoded than the length read allows.
#[test]
fn a_body_that_swells_is_refused_after_a_free_part() {
    let set = Arc::new(MaskSet::compile(vec![]).expect("no rules"));
    for coding in Coding::ALL {
        let body = encode(coding, &vec![b' '; 16 << 20]);
        let cost = defuse(&set, coding, &body);
        assert_eq!(cost.end, Err(Error::Swells(coding)));
        assert!(cost.decoded <= FREE_BYTES + 100 * body.len() as u64, "{coding}: {cost:?}");
        // All of it came at once, but only what had to be read for this much was asked.
        assert!(cost.decoded <= 3 << 20, "{coding}: {cost:?}");
    }
}

#[test]
#[ignore = "measures time, prints it, and takes minutes unless it is optimised"]
fn what_bombs_cost() {
    let set = all_kinds();
    let report = |case: &str, coding: Coding, body: &[u8]| {
        let cost = (0..5).map(|_| defuse(&set, coding, body)).min_by_key(|cost| cost.time);
        let Some(Cost { read, decoded, time, end }) = cost else { return };
        let end = end.map_or_else(|error| error.reason(), |()| "taken");
        let milliseconds = time.as_secs_f64() * 1e3;
        println!(
            "{case:<26} {coding:<8} {:>9} {read:>9} {decoded:>10} {milliseconds:>8.2} {end}",
            body.len()
        );
    };
    println!(
        "{:<26} {:<8} {:>9} {:>9} {:>10} {:>8} end",
        "case", "coding", "bytes", "arrived", "decoded", "ms"
    );
    for (name, unit) in FILLED {
        let plain = swelling(unit, 0, DECODED_BYTES);
        for coding in Coding::ALL {
            report(name, coding, &encode(coding, &plain));
        }
    }
    // As much as passes: 64 KiB that decode to nearly a hundred times as much.
    for (name, unit) in FILLED {
        for coding in Coding::ALL {
            let plain = swelling(unit, 900, 6 << 20);
            report(&format!("{name}, below the ratio"), coding, &encode(coding, &plain));
        }
    }
    for coding in Coding::ALL {
        report("parts of no byte, 1 MiB", coding, &empty_parts(coding, 1 << 20));
    }
}
