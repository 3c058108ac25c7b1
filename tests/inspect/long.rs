//! The long form, run by `tests/masking --long`: random chunkings by the million, each against what the whole
//! body gives, and random splits of echoed secrets. Each test says how many it did; without being asked for
//! they are skipped.

use crate::bodies::run;
use crate::generate::{self, chunks, escape};
use crate::oracle::{self, Reading};
use crate::streams;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use ringward::buffer::Segments;
use ringward::inspect::dialect::{ANTHROPIC, OPENAI_CHAT};
use ringward::inspect::echo::{Echo, Scrub};
use ringward::inspect::{Context, Direction, Rule};
use std::sync::Arc;

/// Chunkings of each body.
const OF_EACH: u64 = 100;
/// Of a hundred chunkings those of texts, of documents, and of either kind of event streams, which are a
/// hundred times as long.
const SHARES: [u64; 3] = [48, 48, 2];

/// How many `variable` asks for.
fn asked(variable: &str) -> Option<u64> {
    let asked = std::env::var(variable).ok().and_then(|count| count.parse().ok());
    if asked.is_none() {
        println!("skipped: the long form of masking, which `tests/masking --long` runs");
    }
    asked
}

/// Lengths of chunks: mostly a few bytes, sometimes many.
fn lengths(random: &mut impl FnMut(u64) -> u64) -> Vec<usize> {
    let most = [1, 2, 4, 9, 30, 120][random(6) as usize];
    (0..1 + random(30)).map(|_| 1 + random(most) as usize).collect()
}

/// A generator of even bits (splitmix64), begun anew by each process.
fn random() -> impl FnMut(u64) -> u64 {
    let mut state = TestRunner::default().rng().next_u64();
    println!("seed {state}");
    move |below| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// Cuts bodies at random until there were enough chunkings; `expected`: what the whole body gives.
fn check<T>(
    share: u64,
    context: Context,
    bodies: impl Strategy<Value = T>,
    expected: impl Fn(&[Rule], &T) -> (Vec<u8>, Vec<u8>),
) {
    let Some(wanted) = asked("RINGWARD_CHUNKINGS").map(|all| (all * share).div_ceil(100)) else { return };
    let (mut runner, mut random, rules) = (TestRunner::default(), random(), generate::rules());
    let (mut done, mut bytes, mut differences) = (0, 0, 0);
    while done < wanted {
        let rules = rules.new_tree(&mut runner).expect("nothing is filtered").current();
        let body = bodies.new_tree(&mut runner).expect("little is filtered").current();
        let (body, expected) = expected(&rules, &body);
        for _ in 0..OF_EACH.min(wanted - done) {
            let lengths = lengths(&mut random);
            let masked = run(&rules, context, &chunks(&body, &lengths)).expect("a body that can be masked");
            if masked.body != expected {
                differences += 1;
                println!("{lengths:?} of {:?} for {rules:?}", String::from_utf8_lossy(&body));
            }
            done += 1;
            bytes += body.len();
        }
    }
    println!("{done} chunkings of {bytes} bytes, differences: {differences}");
    assert_eq!(differences, 0);
}

fn check_bodies(share: u64, context: Context, reading: Reading, bodies: impl Strategy<Value = String>) {
    check(share, context, bodies, |rules, body| {
        let body = body.as_bytes().to_vec();
        let expected = oracle::mask(rules, Direction::Response, reading, &body).0;
        (body, expected)
    });
}

#[test]
fn random_chunkings_of_text() {
    let bodies = generate::text(0..14).prop_map(|text| format!("x{text}"));
    check_bodies(SHARES[0], Context::Text, Reading::Plain, bodies);
}

#[test]
fn random_chunkings_of_documents() {
    check_bodies(SHARES[1], Context::Json, Reading::Json, generate::document());
}

/// `body`, whose values the properties of `streams` compare with the oracle's, in one piece.
fn whole(rules: &[Rule], context: Context, body: String) -> (Vec<u8>, Vec<u8>) {
    let body = body.into_bytes();
    let masked = run(rules, context, &[&body]).expect("a body that can be masked").body;
    (body, masked)
}

#[test]
fn random_chunkings_of_messages() {
    let (context, streams) = (Context::Sse(&ANTHROPIC), prop::collection::vec(streams::stream(), 1..4));
    check(
        SHARES[2],
        context,
        (streams, streams::order(), any::<bool>()),
        |rules, (streams, order, interleaved)| {
            whole(rules, context, streams::anthropic(streams, order, *interleaved))
        },
    );
}

#[test]
fn random_chunkings_of_chats() {
    let (context, streams) = (Context::Sse(&OPENAI_CHAT), prop::collection::vec(streams::stream(), 1..4));
    check(
        SHARES[2],
        context,
        (streams, streams::order(), any::<bool>()),
        |rules, (streams, order, in_last)| whole(rules, context, streams::chat(streams, order, *in_last)),
    );
}

/// Bytes of a secret that are a piece of it.
const PIECE_BYTES: usize = 12;

/// The spellings of a secret, each with how many of its characters a piece has.
fn spellings(secret: &str) -> Vec<(String, usize)> {
    let hex = |form: fn(&u8) -> String| secret.as_bytes().iter().map(form).collect::<String>();
    let mut all = vec![
        (secret.to_owned(), PIECE_BYTES),
        (escape(secret, 0, 0), 2 * PIECE_BYTES),
        (hex(|byte| format!("{byte:02x}")), 2 * PIECE_BYTES),
        (hex(|byte| format!("{byte:02X}")), 2 * PIECE_BYTES),
        (hex(|byte| format!("%{byte:02X}")), 3 * PIECE_BYTES),
    ];
    for front in 0..3 {
        let plain = [&b"a:b"[..front], secret.as_bytes()].concat();
        all.push((STANDARD_NO_PAD.encode(&plain), PIECE_BYTES * 4 / 3 + 4));
        all.push((URL_SAFE_NO_PAD.encode(&plain), PIECE_BYTES * 4 / 3 + 4));
    }
    all
}

/// SECURITY R19: of an echoed secret no piece is left, however the body is split.
#[test]
fn random_splits_of_echoes() {
    let Some(wanted) = asked("RINGWARD_SPLITS") else { return };
    let (mut random, mut done, mut leaks) = (random(), 0, 0);
    let secrets = ["k3y-Zq8_LmN0pQrStUv", "p\"a/s+s<w>o&r'd=\\ 1%2~x", "sk-ant-api03-Zq8LmN0pQrStUvWx-yZ01"];
    let known = secrets.map(|secret| (Arc::new(Echo::new(&[secret.as_bytes()])), spellings(secret)));
    while done < wanted {
        let (echo, spellings) = &known[random(known.len() as u64) as usize];
        let (spelled, piece) = &spellings[random(spellings.len() as u64) as usize];
        let body =
            format!("{{\"error\":\"no such key: {spelled}\",\"n\":{}, \"k\":\"{spelled}", random(1000));
        for _ in 0..OF_EACH.min(wanted - done) {
            let (mut scrub, mut out) = (Scrub::new(echo.clone()), Segments::new());
            for chunk in chunks(body.as_bytes(), &lengths(&mut random)) {
                scrub.push(chunk.to_vec().into(), false, &mut out);
            }
            scrub.finish(&mut out);
            let out = out.to_vec();
            let mut windows = spelled.as_bytes().windows(*piece);
            let is_left = |window: &[u8]| memchr::memmem::find(&out, window).is_some();
            leaks += u64::from(out.len() != body.len() || windows.any(is_left));
            done += 1;
        }
    }
    println!("{done} random splits, leaks: {leaks}");
    assert_eq!(leaks, 0);
}
