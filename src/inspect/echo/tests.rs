use super::*;
use crate::buffer::{Chunk, Segments};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use std::sync::Arc;

const KEY: &str = "k3y-Zq8_LmN0pQrStUv";
const HARD: &str = "p\"a/s+s<w>o&r'd=\\ 1%2é~x";

/// Masks by the definition alone, window by window.
fn oracle(echo: &Echo, text: &[u8]) -> Vec<u8> {
    let mut is_masked = vec![false; text.len()];
    for form in &echo.forms {
        let spelled = &echo.text[form.start as usize..form.end as usize];
        let piece = usize::from(form.piece);
        for at in 0..(text.len() + 1).saturating_sub(piece) {
            if spelled.windows(piece).any(|window| window == &text[at..at + piece]) {
                is_masked[at..at + piece].fill(true);
            }
        }
    }
    let mut out = Vec::new();
    for (at, byte) in text.iter().enumerate() {
        match is_masked[at] {
            false => out.push(*byte),
            true => out.push(MASK),
        }
    }
    out
}

fn scrub(echo: &Arc<Echo>, pieces: &[&[u8]]) -> Vec<u8> {
    let (mut scrub, mut out) = (Scrub::new(echo.clone()), Segments::new());
    for piece in pieces {
        scrub.push(Chunk::from(piece.to_vec()), false, &mut out);
        assert!(scrub.held_bytes() < PIECE_BYTES_MAX);
    }
    scrub.finish(&mut out);
    assert_eq!(scrub.held_bytes(), 0);
    out.to_vec()
}

fn echo(value: &str) -> Arc<Echo> {
    Arc::new(Echo::new(&[value.as_bytes()]))
}

/// `secret` stands in `text` in some spelling, and is gone without a trace.
fn check(secret: &str, spelled: &[u8]) {
    let echo = echo(secret);
    let text = [b"before <", spelled, b"> behind"].concat();
    let shown = String::from_utf8_lossy(&text).into_owned();
    let expected = [&b"before <"[..], &vec![MASK; spelled.len()], b"> behind"].concat();
    assert_eq!(
        String::from_utf8_lossy(&scrub(&echo, &[&text])),
        String::from_utf8_lossy(&expected),
        "{shown}"
    );
    assert_eq!(echo.scrub(&text), Some(expected), "{shown}");
}

#[test]
fn every_spelling_of_a_secret_is_masked() {
    for secret in [KEY, HARD] {
        let bytes = secret.as_bytes();
        let hex = |upper: bool| -> String {
            let digits = |b: &u8| if upper { format!("{b:02X}") } else { format!("{b:02x}") };
            bytes.iter().map(digits).collect()
        };
        check(secret, bytes);
        check(secret, hex(false).as_bytes());
        check(secret, hex(true).as_bytes());
        let all: String = bytes.iter().map(|b| format!("%{b:02X}")).collect();
        check(secret, all.as_bytes());
        check(secret, all.to_lowercase().as_bytes());
        let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        check(secret, &wide);
        let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_be_bytes).collect();
        check(secret, &wide);
        let quoted = serde_json::to_string(secret).unwrap();
        check(secret, quoted.trim_matches('"').as_bytes());
        let twice = serde_json::to_string(quoted.trim_matches('"')).unwrap();
        check(secret, twice.trim_matches('"').as_bytes());
        check(secret, quoted.trim_matches('"').replace('/', "\\/").as_bytes());
        let component = |byte: &u8| match byte {
            byte if byte.is_ascii_alphanumeric() || b"-_.~".contains(byte) => (*byte as char).to_string(),
            byte => format!("%{byte:02X}"),
        };
        let url: String = bytes.iter().map(component).collect();
        check(secret, url.as_bytes());
        check(secret, url.replace("%20", "+").as_bytes());
    }
    check(HARD, b"p&quot;a/s+s&lt;w&gt;o&amp;r&#039;d=\\ 1%2\xc3\xa9~x");
    check(HARD, b"p&quot;a/s+s&lt;w&gt;o&amp;r&#x27;d=\\ 1%2\xc3\xa9~x");
    check(HARD, b"p&#34;a&#47;s&#43;s&lt;w&gt;o&amp;r&#39;d&#61;\\ 1%2\xc3\xa9~x");
    check(HARD, b"p\\\"a/s+s\\u003cw\\u003eo\\u0026r'd=\\\\ 1%2\xc3\xa9~x");
}

/// Whatever stands in front of it and behind it, in both alphabets: of the secret no character is left that
/// depends on nothing else.
#[test]
fn base64_is_masked_at_every_offset() {
    for secret in [KEY, HARD, "0123456789ab"] {
        let echo = echo(secret);
        for front in 0..6 {
            for behind in 0..4 {
                let plain = [&b"user: "[..front], secret.as_bytes(), &b"tail"[..behind]].concat();
                for spelled in [STANDARD.encode(&plain), URL_SAFE_NO_PAD.encode(&plain)] {
                    let out = scrub(&echo, &[spelled.as_bytes()]);
                    let out = String::from_utf8(out).unwrap();
                    assert_eq!(out.len(), spelled.len());
                    let (left, masked) = out.split_once('*').expect(&spelled);
                    let right = masked.trim_start_matches('*');
                    assert!(left.len() <= (front * 8).div_ceil(6), "{spelled} {out}");
                    assert!(right.len() <= (behind * 8).div_ceil(6) + 4, "{spelled} {out}");
                }
            }
        }
    }
}

/// SECURITY R19: twelve bytes are a piece, eleven are not.
#[test]
fn any_piece_of_twelve_bytes_is_masked() {
    let echo = echo(KEY);
    for length in 1..=KEY.len() {
        for at in 0..=KEY.len() - length {
            let text = format!("a {} b", &KEY[at..at + length]);
            let expected = if length < 12 { text.clone() } else { format!("a {} b", "*".repeat(length)) };
            assert_eq!(String::from_utf8(scrub(&echo, &[text.as_bytes()])).unwrap(), expected);
        }
    }
}

#[test]
fn echoes_that_touch_are_one_and_the_rest_is_untouched() {
    let echo = echo(KEY);
    let cases = [
        (format!("{KEY}{KEY}"), "*".repeat(38)),
        (format!("{KEY} {KEY}"), format!("{} {}", "*".repeat(19), "*".repeat(19))),
        (KEY[..11].to_owned(), KEY[..11].to_owned()),
        (format!("{}{KEY}", &KEY[..5]), format!("{}{}", &KEY[..5], "*".repeat(19))),
        (String::new(), String::new()),
        ("nothing at all".to_owned(), "nothing at all".to_owned()),
    ];
    for (text, expected) in cases {
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(String::from_utf8(scrub(&echo, &[text.as_bytes()])).unwrap(), expected);
        assert_eq!(String::from_utf8(scrub(&echo, &bytes)).unwrap(), expected);
    }
    assert_eq!(echo.scrub(b"nothing at all"), None);
}

/// What every token and every key of a kind begins with is no secret: texts about keys stay readable.
#[test]
fn what_is_the_same_for_all_values_of_a_kind_is_not_masked() {
    let echo = echo("sk-ant-api03-Zq8LmN0pQrStUvWx");
    let text = b"Keys begin with sk-ant-api03- and then 95 characters follow.";
    assert_eq!(echo.scrub(text), None);
    let gone = echo.scrub(b"x sk-ant-api03-Zq8LmN0pQrStUvWx y").unwrap();
    assert_eq!(String::from_utf8(gone).unwrap(), "x sk*************************** y");
    let header = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9";
    let token = format!("{header}.eyJzdWIiOiJyaW5nd2FyZCJ9.c2lnbmF0dXJlIG9mIGl0");
    let echo = Echo::new(&[token.as_bytes()]);
    assert_eq!(echo.scrub(format!("{header}.eyJhIjoxfQ.AAAA").as_bytes()), None);
    let gone = String::from_utf8(echo.scrub(token.as_bytes()).unwrap()).unwrap();
    assert!(gone.starts_with("eyJhbGci") && gone.ends_with("************"), "{gone}");
    assert!(!gone.contains("eyJzdWIi"));
}

/// What leaves lies where it was received, and an ended event leaves whole.
#[test]
fn nothing_is_copied_and_no_event_waits() {
    let echo = echo(KEY);
    let mut scrub = Scrub::new(echo);
    for text in
        [&b"data: {\"a\": 1}\n\n"[..], b"data: k3y-Zq8_\n\n", b"{\"some\": [\"json\"]}", b"k3y-Zq8_LmN0 "]
    {
        let (chunk, mut out) = (Chunk::from(text.to_vec()), Segments::new());
        scrub.push(chunk.clone(), false, &mut out);
        assert_eq!(scrub.held_bytes(), 0, "{text:?}");
        let range = chunk.as_ptr_range();
        assert!(
            out.iter().all(|part| range.contains(&part.as_ptr()) || part.iter().all(|byte| *byte == MASK))
        );
    }
    let (chunk, mut out) = (Chunk::from(b"text and k3y-Zq".to_vec()), Segments::new());
    scrub.push(chunk, false, &mut out);
    assert_eq!((out.to_vec(), scrub.held_bytes()), (b"text and ".to_vec(), 6));
    scrub.push(Chunk::from_static(b"! k3y"), true, &mut out);
    assert_eq!((out.to_vec(), scrub.held_bytes()), (b"text and k3y-Zq! k3y".to_vec(), 0));
    assert_eq!(scrub.masks(), 1);
}

#[test]
fn nothing_of_a_value_is_printed_and_short_ones_are_not_looked_for() {
    assert!(!format!("{:?}", Scrub::new(echo(KEY))).contains("k3y"));
    assert!(Echo::new(&[b"too short"]).is_empty());
    assert_eq!(Echo::new(&[b"too short"]).scrub(b"this is too short"), None);
    assert!(Echo::new(&[]).is_empty());
    let both = Echo::new(&[KEY.as_bytes(), b"another-secret-value"]);
    let gone = both.scrub(format!("{KEY} another-secret-value").as_bytes()).unwrap();
    assert_eq!(gone, b"******************* ********************");
}

/// Text in which pieces of spellings, whole ones and noise follow each other.
fn text_about(secret: &'static str) -> impl Strategy<Value = Vec<u8>> {
    let echo = Echo::new(&[secret.as_bytes()]);
    let spelled: Vec<Vec<u8>> =
        echo.forms.iter().map(|form| echo.text[form.start as usize..form.end as usize].to_vec()).collect();
    let piece = (prop::sample::select(spelled), any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let part = prop_oneof![
        4 => piece.prop_map(|(form, one, other)| {
            let (one, other) = (one.index(form.len() + 1), other.index(form.len() + 1));
            form[one.min(other)..one.max(other)].to_vec()
        }),
        1 => prop::collection::vec(prop::sample::select(secret.as_bytes().to_vec()), 0..9),
        1 => prop::collection::vec(any::<u8>(), 0..40),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

fn for_all_cuts(secret: &'static str, text: &[u8], cuts: &[usize]) -> Result<(), TestCaseError> {
    let echo = echo(secret);
    let expected = oracle(&echo, text);
    prop_assert_eq!(&scrub(&echo, &[text]), &expected);
    prop_assert_eq!(&echo.scrub(text).unwrap_or(text.to_vec()), &expected);
    let bytes: Vec<&[u8]> = text.chunks(1).collect();
    prop_assert_eq!(&scrub(&echo, &bytes), &expected);
    let (mut pieces, mut rest) = (Vec::new(), text);
    for cut in cuts.iter().cycle().take_while(|_| !text.is_empty()) {
        let (piece, behind) = rest.split_at((*cut).min(rest.len()));
        pieces.push(piece);
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    prop_assert_eq!(&scrub(&echo, &pieces), &expected);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn however_it_is_cut_the_definition_holds(
        text in text_about(KEY),
        cuts in prop::collection::vec(1..50usize, 1..12),
    ) {
        for_all_cuts(KEY, &text, &cuts)?;
    }

    #[test]
    fn it_holds_for_secrets_with_characters_that_are_escaped(
        text in text_about(HARD),
        cuts in prop::collection::vec(1..50usize, 1..12),
    ) {
        for_all_cuts(HARD, &text, &cuts)?;
    }

    #[test]
    fn it_holds_for_a_secret_that_repeats_itself(
        text in text_about("abababababababababab"),
        cuts in prop::collection::vec(1..50usize, 1..12),
    ) {
        for_all_cuts("abababababababababab", &text, &cuts)?;
    }
}
