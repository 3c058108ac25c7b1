//! Whole bodies: text and JSON.

use crate::folded::{self, INVISIBLE_MAX};
use crate::generate::{self, chunks};
use crate::oracle::{self, Reading};
use proptest::prelude::*;
use ringward::buffer::{Chunk, Segments, Tally};
use ringward::inspect::{Context, Direction, Edit, Error, Inspector, Kind, MaskSet, Rule};
use std::cell::RefCell;
use std::collections::{BTreeMap, btree_map::Entry};
use std::sync::Arc;

/// Everything that came out of an inspector.
#[derive(Debug, Default)]
pub struct Masked {
    pub body: Vec<u8>,
    pub edits: Vec<Edit>,
    pub tally: Tally,
    pub hits: u64,
    pub held_max: usize,
    /// What the record gets.
    pub recorded: Vec<u8>,
    /// Matches in thinking.
    pub shown: u64,
}

/// `rules`, compiled when they are first asked for: that takes longer than to run them over a short text.
fn compiled(rules: &[Rule]) -> Result<Arc<MaskSet>, Error> {
    thread_local! {
        static COMPILED: RefCell<BTreeMap<String, Arc<MaskSet>>> = RefCell::default();
    }
    COMPILED.with_borrow_mut(|compiled| {
        let known = compiled.entry(format!("{rules:?}"));
        Ok(match known {
            Entry::Occupied(set) => set.get().clone(),
            Entry::Vacant(place) => place.insert(Arc::new(MaskSet::compile(rules.to_vec())?)).clone(),
        })
    })
}

pub fn run(rules: &[Rule], context: Context, pieces: &[&[u8]]) -> Result<Masked, Error> {
    run_with(rules, context, pieces, |inspector| inspector)
}

/// [`run`] with an inspector that `prepare` makes.
pub fn run_with(
    rules: &[Rule],
    context: Context,
    pieces: &[&[u8]],
    prepare: impl FnOnce(Inspector) -> Inspector,
) -> Result<Masked, Error> {
    let set = compiled(rules)?;
    let mut inspector = prepare(Inspector::new(set, Direction::Response, context));
    let mut masked = Masked::default();
    let mut out = Segments::new();
    for piece in pieces {
        inspector.push(Chunk::from(piece.to_vec()), &mut out, &mut masked.edits, &mut masked.tally)?;
        masked.held_max = masked.held_max.max(inspector.held_bytes());
    }
    inspector.finish(&mut out, &mut masked.edits, &mut masked.tally)?;
    assert_eq!(inspector.held_bytes(), 0, "an ended body holds nothing");
    let hits: u64 = inspector.hits().map(|(_, count)| count).sum();
    let recorded = inspector.take_recorded().unwrap_or_else(|| out.clone()).to_vec();
    Ok(Masked { body: out.to_vec(), hits, recorded, shown: inspector.shown(), ..masked })
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The received body with its edits cut out equals the masked body with its masks cut out: checked by
/// putting a mark in the place of both.
fn check_edits(body: &[u8], edits: &[Edit]) {
    let mut last = 0;
    for edit in edits {
        assert!(edit.offset >= last && edit.len > 0, "edits are in order: {edits:?}");
        last = edit.offset + edit.len;
    }
    assert!(last <= body.len() as u64);
}

fn check(rules: &[Rule], context: Context, reading: Reading, body: &[u8], lengths: &[usize]) {
    let pieces = chunks(body, lengths);
    let masked = run(rules, context, &pieces).expect("a body that can be masked");
    let (expected, count) = oracle::mask(rules, Direction::Response, reading, body);
    assert_eq!(show(&masked.body), show(&expected), "of {:?} in {} chunks", show(body), pieces.len());
    check_edits(body, &masked.edits);
    assert_eq!(masked.edits.len(), count);
    // Escapes of a character in four bytes are twice as long.
    let (widest, invisible) = if reading == Reading::Json { (6, 12) } else { (3, 4) };
    let most = 640 * widest + (640 + INVISIBLE_MAX) * invisible;
    assert!(masked.held_max <= most, "held {}", masked.held_max);
}

proptest! {
    #![proptest_config(generate::config())]

    #[test]
    fn text_streams_as_the_oracle_reads_it(
        rules in generate::rules(), text in generate::text(0..14), cuts in generate::cuts(),
    ) {
        // The x keeps it from looking like JSON.
        check(&rules, Context::Text, Reading::Plain, format!("x{text}").as_bytes(), &cuts);
    }

    #[test]
    fn documents_stream_as_the_oracle_reads_them_and_stay_documents(
        rules in generate::rules(), document in generate::document(), cuts in generate::cuts(),
    ) {
        check(&rules, Context::Json, Reading::Json, document.as_bytes(), &cuts);
        let masked = run(&rules, Context::Json, &chunks(document.as_bytes(), &cuts)).expect("masked");
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&masked.body);
        // A nine may make a number larger than a double: it is still one (RFC 8259 section 6 sets no range).
        let is_document =
            parsed.as_ref().err().is_none_or(|error| error.to_string().starts_with("number out of range"));
        prop_assert!(is_document, "{:?} from {document}: {parsed:?}", show(&masked.body));
    }

    #[test]
    fn what_paths_lead_to_streams_as_the_oracle_reads_it(
        rules in generate::rules_with_paths(), document in generate::document(), cuts in generate::cuts(),
    ) {
        check(&rules, Context::Json, Reading::Json, document.as_bytes(), &cuts);
    }

    #[test]
    fn what_only_claims_to_be_json_streams_the_same(
        rules in generate::rules(), text in generate::text(0..14), cuts in generate::cuts(),
    ) {
        check(&rules, Context::Json, Reading::Json, text.as_bytes(), &cuts);
    }
}

proptest! {
    // The oracle is slow: it begins anew behind every match.
    #![proptest_config(ProptestConfig { cases: 12, ..generate::config() })]

    #[test]
    fn large_bodies_stream_the_same(
        rules in generate::rules(), text in generate::text(10..40), length in 4_000usize..16_000,
        escaped in any::<u64>(),
    ) {
        let filler = "Nothing to see in here, move along now, please. ".repeat(30);
        let text = format!("x{text} {filler}").repeat(24_000 / (text.len() + filler.len()));
        check(&rules, Context::Text, Reading::Plain, text.as_bytes(), &[length]);
        let document = format!("[\"{}\"]", generate::escape(&text, 15, escaped));
        check(&rules, Context::Json, Reading::Json, document.as_bytes(), &[length]);
    }
}

fn all_kinds() -> Vec<Rule> {
    let words = ["Project Falcon", "falcon"].map(str::to_owned).to_vec();
    vec![
        generate::rule("cards", Kind::CreditCard, "[card …{last4}]"),
        generate::rule("emails", Kind::Email, "[email]"),
        generate::rule("words", Kind::Literals(words), "[{name}]"),
    ]
}

fn check_json(body: &str, expected: &str) {
    for length in 1..=body.len().max(1) {
        let masked = run(&all_kinds(), Context::Json, &chunks(body.as_bytes(), &[length])).expect("masked");
        assert_eq!(show(&masked.body), expected, "of {body} by {length}");
    }
}

fn check_text(body: &str, expected: &str) {
    for length in 1..=body.len().max(1) {
        let masked = run(&all_kinds(), Context::Text, &chunks(body.as_bytes(), &[length])).expect("masked");
        assert_eq!(show(&masked.body), expected, "of {body} by {length}");
    }
}

#[test]
fn cards_are_found_in_their_groupings_only() {
    check_text("4111111111111111", "[card …1111]");
    check_text("4111 1111 1111 1111 12/26", "[card …1111] 12/26");
    check_text("4111-1111-1111-1111.", "[card …1111].");
    check_text("3782 822463 10005", "[card …0005]");
    check_text("5555555555554444,6011111111111117", "[card …4444],[card …1117]");
    check_text("pan=4111111111111111;", "pan=[card …1111];");
    check_text("order-4111111111111111", "order-[card …1111]");
    check_text("4111 1111-1111 1111", "4111 1111-1111 1111");
    check_text("411 1111 1111 11111", "411 1111 1111 11111");
    check_text("4111111111111112", "4111111111111112");
    check_text("41111111111111111", "41111111111111111");
    check_text("x4111111111111111", "x4111111111111111");
    check_text("0.4111111111111111", "0.4111111111111111");
    check_text("4444444444444444", "4444444444444444");
    check_text("1700000000000 1700000000000000", "1700000000000 1700000000000000");
    check_text("a1111111-1111-4111-1111-111111111111", "a1111111-1111-4111-1111-111111111111");
}

#[test]
fn addresses_are_found_with_their_whole_name() {
    check_text("bob@example.com", "[email]");
    check_text("<bob.o+tag@mail.example.co.uk>.", "<[email]>.");
    check_text("...bob@example.com...", "...[email]...");
    check_text("bob@example.com-", "[email]-");
    check_text("bob@example, bob@x.y, @x.com, bob@-x.com", "bob@example, bob@x.y, @x.com, bob@-x.com");
    check_text("a@b.com@c.org", "[email]@c.org");
    check_text("bob@xn--bcher-kva.xn--p1ai", "[email]");
    let long = "a".repeat(70);
    check_text(&format!("{long}@x.com"), "aaaaaa[email]");
    check_text("https://x.com/?to=bob@x.com&cc=eve@x.com", "https://x.com/?to=[email]&cc=[email]");
}

#[test]
fn words_are_found_in_any_case_but_not_in_longer_words() {
    check_text("Project Falcon, PROJECT FALCON; falcon", "[words], [words]; [words]");
    check_text("falcons _falcon falcon9 “falcon” falcon's", "falcons _falcon falcon9 “[words]” [words]'s");
    check_text("Project Falcons", "Project Falcons");
    check_text("project falcon.x@y.com", "[words].[email]");
}

#[test]
fn escapes_do_not_hide_and_bytes_around_masks_keep_theirs() {
    check_json(r#"{"a":"b\u006fb\u0040x.com \u00e9"}"#, r#"{"a":"[email] \u00e9"}"#);
    check_json(r#"["\/\u0066alcon\t"]"#, r#"["\/[words]\t"]"#);
    check_json(r#"["4111\u00201111 1111 1111"]"#, r#"["[card …1111]"]"#);
    check_json(r#"{"bob@x.com":"bob@x.com"}"#, r#"{"[email]":"[email]"}"#);
    check_json(r#"["bob@x.com\","]"#, r#"["[email]\","]"#);
}

#[test]
fn bare_numbers_stay_json() {
    check_json("[4111111111111111]", "[\"[card …1111]\"]");
    check_json("{\"a\": 4111111111111111 }", "{\"a\": \"[card …1111]\" }");
    check_json("[-4111111111111111]", "[-9999999999999999]");
    check_json("[4111111111111111.25]", "[9999999999999999.25]");
    check_json("4111111111111111", "\"[card …1111]\"");
}

/// The letter of an escape glued to a word hid the word.
#[test]
fn a_letter_of_an_escape_is_not_part_of_a_word() {
    check_json(
        r#"["x\nfalcon","\tbob@x.com","\r4111111111111111"]"#,
        r#"["x\n[words]","\t[email]","\r[card …1111]"]"#,
    );
    // The same inside of a document inside of a string, and in source code inside of a text.
    check_json(r#"["{\"a\":\"x\\nfalcon\\tbob@x.com\"}"]"#, r#"["{\"a\":\"x\\n[words]\\t[email]\"}"]"#);
    check_text(r#"print("\nfalcon\u00e9falcon\nbob@x.com")"#, r#"print("\n[words]\u00e9[words]\n[email]")"#);
}

/// The quote that ended the last string was shown as one of them.
#[test]
fn the_last_four_characters_of_an_object_are_none_of_its_quotes() {
    let rules = [generate::rule("members", Kind::Key(vec!["ssn".to_owned()]), "[…{last4}]")];
    let body = r#"{"ssn":{"a":"bcdef\"g"}} "#;
    let (expected, _) = oracle::mask(&rules, Direction::Response, Reading::Json, body.as_bytes());
    assert_eq!(show(&expected), r#"{"ssn":"[…f\"g}]"} "#);
    for length in 1..body.len() {
        check(&rules, Context::Json, Reading::Json, body.as_bytes(), &[length]);
    }
}

/// Whether a mask stood for a number was asked anew for each part of what it replaced.
#[test]
fn a_value_that_begins_like_a_number_has_one_mask_for_all_cuts() {
    let rules = [generate::rule("members", Kind::Key(vec!["a".to_owned()]), "[{name}]")];
    // The first quote turns strings and what is between them around.
    let body = r#"x" "a":"1111111{x" "a":"-1""#;
    for length in 1..=body.len() {
        let out = run(&rules, Context::Json, &chunks(body.as_bytes(), &[length])).expect("masked");
        assert_eq!(show(&out.body), r#"x" "a":"[members]" "a":"[members]""#, "by {length}");
    }
}

/// A masked value with a colon behind it was a key where both came at once.
#[test]
fn a_string_behind_a_colon_is_no_key() {
    let rules = [generate::rule("members", Kind::Key(vec!["a".to_owned()]), "[{name}]")];
    for gap in ["", " ", &" ".repeat(63), &" ".repeat(64)] {
        let body = format!(r#"{{"a":{gap}"A":"bob","a":{gap}1,"b":"a":"x"}} "#);
        for length in 1..=body.len() {
            check(&rules, Context::Json, Reading::Json, body.as_bytes(), &[length]);
        }
    }
    let out = run(&rules, Context::Json, &[br#"{"a":"A":"bob","b": "a":1,"a":2}"#]).expect("masked");
    assert_eq!(show(&out.body), r#"{"a":"[members]":"bob","b": "a":1,"a":"[members]"}"#);
}

/// The quote that ends a masked value began a key where both came at once.
#[test]
fn no_key_begins_within_a_masked_value() {
    let mut null = generate::rule("null", Kind::Key(vec!["b".to_owned()]), "");
    null.replace = ringward::inspect::Replacement::Null;
    let rules = [generate::rule("members", Kind::Key(vec!["a".to_owned()]), "[{name}]"), null];
    let body = br#"{"b":"x"a":1,"a":"x"a":1,"b":"x{"A":{"c":"d"}} "#;
    let whole = run(&rules, Context::Json, &[body]).expect("masked");
    for length in 1..body.len() {
        let out = run(&rules, Context::Json, &chunks(body, &[length])).expect("masked");
        assert_eq!(show(&out.body), show(&whole.body), "by {length}");
        assert_eq!(out.edits, whole.edits, "by {length}");
    }
}

/// What stands for an escaped quote while a document is read was taken for one where it stood itself.
#[test]
fn a_unit_separator_is_no_quote() {
    let rules = [generate::rule("members", Kind::Key(vec!["ssn".to_owned()]), "[…{last4}]")];
    let body = r#"{"ssn":"abcdefg\u001fh\u001f"} "#;
    let (expected, _) = oracle::mask(&rules, Direction::Response, Reading::Json, body.as_bytes());
    assert_eq!(show(&expected), r#"{"ssn":"[…efgh]"} "#);
    check(&rules, Context::Json, Reading::Json, body.as_bytes(), &[body.len()]);
}

/// A window that began within an escape read the rest of it as text.
/// The letter came in one piece with the key, the backslash before them: the key was not looked at.
#[test]
fn a_key_behind_an_escape_that_was_cut_is_masked() {
    let rules = [generate::rule("keys", Kind::ApiKey, "[key]")];
    for escape in ["\\n", "\\u00e9"] {
        let body = format!("a {escape}AKIAA22A2A3B4C5D6E7F b");
        let (expected, count) = oracle::mask(&rules, Direction::Response, Reading::Plain, body.as_bytes());
        assert_eq!(count, 1, "{}", show(&expected));
        for cut in 0..body.len() {
            check(&rules, Context::Text, Reading::Plain, body.as_bytes(), &[cut, body.len()]);
        }
    }
}

#[test]
fn no_window_begins_inside_of_an_escape() {
    check_json(r#"["\u0034111111111111111"]"#, r#"["[card …1111]"]"#);
    check_json(
        r#"["\\u0041falcon \\\\nfalcon \\\"falcon"]"#,
        r#"["\\u0041[words] \\\\n[words] \\\"[words]"]"#,
    );
    check_json(r#"["\ud83d\ude00falcon\ud83d"]"#, r#"["\ud83d\ude00[words]\ud83d"]"#);
    let filler = "\\u0061".repeat(4000);
    check_edges(&format!(r#"["{filler} bob@x.com {filler}"]"#), &format!(r#"["{filler} [email] {filler}"]"#));
}

fn check_edges(body: &str, expected: &str) {
    for length in [1, 5, 6, 7, 1000, 16_384, 16_385, body.len()] {
        let masked = run(&all_kinds(), Context::Json, &chunks(body.as_bytes(), &[length])).expect("masked");
        assert_eq!(show(&masked.body), expected, "by {length}");
    }
}

/// Asks for every invisible character whether it hides a value: raw, and as an escape.
#[test]
fn no_invisible_character_hides_a_value() {
    for char in folded::invisibles().filter(|char| (*char as u32) < 0xe0200) {
        let value =
            format!("{char}bob{char}@x.c{char}{char}om{char} 4111{char} 1111{char} 1111 111{char}1{char}!");
        let expected = format!("{char}[email]{char} [card …1111]{char}!");
        for length in [1, 3, value.len()] {
            let masked =
                run(&all_kinds(), Context::Text, &chunks(value.as_bytes(), &[length])).expect("masked");
            assert_eq!(show(&masked.body), expected);
        }
        for percent in [0, 30, 100] {
            let escaped = generate::escape(&value, percent, u64::from(char as u32));
            let body = format!("[\"{escaped}\",\"{char}\"]");
            let masked = run(&all_kinds(), Context::Json, &chunks(body.as_bytes(), &[3])).expect("masked");
            let read: Vec<String> = serde_json::from_slice(&masked.body).expect("a document");
            assert_eq!(read, [expected.clone(), char.to_string()]);
        }
    }
}

#[test]
fn a_match_without_a_bound_takes_in_what_nobody_sees_between_its_bytes() {
    let rules = [generate::rule("key", Kind::Key(vec!["ssn".to_owned()]), "*")];
    let body = "{\"s\u{ad}sn\":\"\u{feff}1\\u200b\u{200b}2\u{2060}\",\
        \"ssn\" \u{200b}: 1\u{200b}2\u{200b},\"a\":\"\u{200b}\"}";
    let expected = "{\"s\u{ad}sn\":\"*****************\",\"ssn\" \u{200b}: 99999\u{200b},\"a\":\"\u{200b}\"}";
    for length in 1..=body.len() {
        let masked = run(&rules, Context::Json, &chunks(body.as_bytes(), &[length])).expect("masked");
        assert_eq!(show(&masked.body), expected, "by {length}");
    }
}

#[test]
fn what_nobody_sees_is_held_within_a_bound() {
    let hidden = |count| format!("4111{}111111111111!", "\u{200b}".repeat(count));
    check_text(&hidden(INVISIBLE_MAX), "[card …1111]!");
    check_text(&hidden(INVISIBLE_MAX + 1), &hidden(INVISIBLE_MAX + 1));
    let body = format!("bob@{}", "\u{ad}".repeat(100_000));
    let masked = run(&all_kinds(), Context::Text, &chunks(body.as_bytes(), &[7])).expect("masked");
    assert_eq!(show(&masked.body), body);
    assert!(masked.held_max <= 2 * INVISIBLE_MAX + 16, "held {}", masked.held_max);
}

#[test]
fn untouched_chunks_leave_as_they_came() {
    let set = Arc::new(MaskSet::compile(all_kinds()).expect("compiled"));
    let mut inspector = Inspector::new(set, Direction::Response, Context::Json);
    let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
    let chunk = Chunk::from(br#"{"id":123456,"name":"no one \n","at":"2026-01-01T00:00:00Z"}"#.to_vec());
    inspector.push(chunk.clone(), &mut out, &mut edits, &mut tally).expect("masked");
    let slices: Vec<&Chunk> = out.iter().collect();
    assert_eq!(slices.len(), 1);
    assert_eq!(slices[0].as_ptr(), chunk.as_ptr(), "the same memory");
    assert_eq!((slices[0].len(), tally.copied, inspector.held_bytes()), (chunk.len(), 0, 0));
}

#[test]
fn only_what_may_still_match_is_held() {
    let held = |text: &str| {
        let set = Arc::new(MaskSet::compile(all_kinds()).expect("compiled"));
        let mut inspector = Inspector::new(set, Direction::Response, Context::Text);
        let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
        inspector
            .push(Chunk::from(text.as_bytes().to_vec()), &mut out, &mut edits, &mut tally)
            .expect("masked");
        assert!(!edits.is_empty() || out.len_bytes() + inspector.held_bytes() == text.len());
        assert_eq!(tally.copied, inspector.held_bytes() as u64, "what is held is what was copied");
        inspector.held_bytes()
    };
    assert_eq!(held("see project"), 7);
    assert_eq!(held("see project "), 8);
    assert_eq!(held("see Projector "), 0);
    assert_eq!(held("the end. "), 0);
    assert_eq!(held("a word"), 4, "may be a local part");
    assert_eq!(held("(4111 1111 1"), 11);
    assert_eq!(held("(9111 1111 1"), 1, "no issuer begins with 9111");
    assert_eq!(held("bob@example.com"), 15);
    assert_eq!(held("bob@example.com "), 0);
    assert_eq!(held(&"a".repeat(1000)), 64);
}

#[test]
fn dry_runs_count_and_change_and_hold_nothing() {
    let rules: Vec<Rule> = all_kinds().into_iter().map(|rule| Rule { dry_run: true, ..rule }).collect();
    let body = "falcon bob@x.com 4111111111111111 Project Falc";
    let set = Arc::new(MaskSet::compile(rules).expect("compiled"));
    for length in 1..body.len() {
        let mut inspector = Inspector::new(set.clone(), Direction::Request, Context::Text);
        let (mut out, mut edits, mut tally) = (Segments::new(), Vec::new(), Tally::default());
        for piece in chunks(body.as_bytes(), &[length]) {
            inspector.push(Chunk::from(piece.to_vec()), &mut out, &mut edits, &mut tally).expect("masked");
            assert_eq!(inspector.held_bytes(), 0);
        }
        inspector.finish(&mut out, &mut edits, &mut tally).expect("masked");
        assert_eq!((show(&out.to_vec()).as_str(), edits.len()), (body, 0));
        assert_eq!(inspector.hits().collect::<Vec<_>>(), [(0, 1), (1, 1), (2, 1)]);
    }
}

#[test]
fn asterisks_keep_the_length() {
    let rules: Vec<Rule> =
        all_kinds().into_iter().map(|rule| generate::rule(&rule.name, rule.kind.clone(), "*")).collect();
    let body = r#"{"a":"b\u006fb@x.com","n":4111111111111111,"f":"Project Falcon"}"#;
    let masked = run(&rules, Context::Json, &[body.as_bytes()]).expect("masked");
    assert_eq!(masked.body.len(), body.len());
    let expected = r#"{"a":"**************","n":9999999999999999,"f":"**************"}"#;
    assert_eq!(show(&masked.body), expected);
    assert_eq!(
        masked.edits.iter().map(|edit| (edit.offset, edit.len)).collect::<Vec<_>>(),
        [(6, 14), (26, 16), (48, 14)]
    );
}

#[test]
fn a_text_that_is_json_is_read_as_json() {
    check_text("\n {\"a\":\"bob\\u0040x.com\"}", "\n {\"a\":\"[email]\"}");
    check_text("[ [\"bob\\u0040x.com\"]]", "[ [\"[email]\"]]");
    check_text("{a bob@x.com}", "{a [email]}");
    check_text("[INFO] \"bob@x.com\\", "[INFO] \"[email]\\");
}

#[test]
fn what_is_not_text_is_refused() {
    for body in [&b"\xff\xfea\0"[..], b"\xfe\xff\0a", b"{\0\"\0", b"\0\0\xfe\xff"] {
        for length in 1..body.len() {
            let refused = run(&all_kinds(), Context::Json, &chunks(body, &[length]));
            assert_eq!(refused.unwrap_err(), Error::NotText);
        }
    }
}

#[test]
fn dense_escapes_of_escapes_end_in_an_error_not_in_memory() {
    let body = format!("[\"{}", "\\u0061".repeat(100_000));
    let masked = run(&all_kinds(), Context::Json, &chunks(body.as_bytes(), &[1000])).expect("masked");
    assert!(masked.held_max <= 640 * 6);
}
