//! Texts that values stand in.

use super::random::Random;
use super::{Document, near, values};
use ringward::inspect::Kind;

/// One document; `index` chooses what it is.
pub fn document(random: &mut Random, index: usize) -> Document {
    let mut document = Document { json: index % 4 == 1, ..Document::default() };
    let paragraphs = 4 + random.next(6);
    match index % 4 {
        0 => (0..paragraphs).for_each(|_| paragraph(&mut document, random)),
        1 => answer(&mut document, random, paragraphs),
        2 => (0..2 * paragraphs).for_each(|_| log_line(&mut document, random)),
        _ => (0..2 * paragraphs).for_each(|_| code_line(&mut document, random)),
    }
    document
}

const WORDS: &[&str] = &[
    "the",
    "of",
    "and",
    "to",
    "in",
    "is",
    "that",
    "it",
    "was",
    "for",
    "server",
    "request",
    "database",
    "configure",
    "customer",
    "account",
    "invoice",
    "payment",
    "however",
    "therefore",
    "consider",
    "people",
    "number",
    "phone",
    "card",
    "address",
    "key",
    "token",
    "during",
    "quarterly",
    "migration",
];

fn sentence(document: &mut Document, random: &mut Random) {
    let words: Vec<&str> = (0..4 + random.next(9)).map(|_| random.pick(WORDS)).collect();
    document.say(&format!("{}. ", words.join(" ")));
}

/// What stands in front of a value and behind it, by its kind.
type Frame = (&'static str, &'static str);

fn prose_frames(kind: &Kind) -> &'static [Frame] {
    match kind {
        Kind::CreditCard => &[
            ("Please charge my card ", " for it. "),
            ("Visa: ", ", valid until 04/29. "),
            ("the number (", ") was declined. "),
            ("Paid with ", ".\n"),
        ],
        Kind::Email => &[
            ("Write to ", ". "),
            ("Best regards, Anna <", ">\n"),
            ("my address is ", ", but not on Sundays. "),
            ("[contact](mailto:", ") "),
        ],
        Kind::Ssn => {
            &[("Her SSN is ", ". "), ("the applicant (", ") signed. "), ("social security no. ", ", ")]
        }
        Kind::Phone => &[
            ("You can call me at ", " after five. "),
            ("Fax: ", "\n"),
            ("Reach the desk on ", ". "),
            ("office ", ", second floor. "),
        ],
        Kind::Iban => &[("Transfer it to ", ". "), ("IBAN: ", "\n"), ("from account ", " to ours. ")],
        Kind::Ipv4 => {
            &[("The host ", " is down. "), ("blocked ", "/32 at noon. "), ("ssh to ", ":22 first. ")]
        }
        Kind::Ipv6 => {
            &[("It resolves to ", ". "), ("open http://[", "]:8080/ now. "), ("pinged ", " twice. ")]
        }
        Kind::Jwt => &[("My session was ", ". "), ("curl -H 'Authorization: Bearer ", "' now. ")],
        Kind::PrivateKey => &[("This is the key:\n", "\n"), ("", "\nkeep it safe. ")],
        Kind::ApiKey => &[("I use ", " for that. "), ("key: ", "\n"), ("the old one (", ") is revoked. ")],
        _ => &[("The password: ", "\n"), ("secret = ", "\n"), ("Authorization: Bearer ", "\n")],
    }
}

fn put(document: &mut Document, random: &mut Random, kind: &Kind, frames: &[Frame]) {
    let (front, behind) = frames[random.next(frames.len())];
    document.say(front);
    document.put(kind, &values::of(kind, random));
    document.say(behind);
}

fn any_kind(random: &mut Random) -> Kind {
    Kind::BUILT_IN[random.next(Kind::BUILT_IN.len())].clone()
}

fn paragraph(document: &mut Document, random: &mut Random) {
    sentence(document, random);
    let kind = any_kind(random);
    match random.next(8) {
        0 => document.say(&format!("See order {}. ", near::number(random))),
        1 => document.say(&format!("It was {} before. ", near::identifier(random))),
        2 => {
            // Numbers that only the word in front of them tells from others.
            let (front, number, kind) = [
                ("her social security number is ", values::ssn(random, ""), Kind::Ssn),
                ("Phone: ", random.fill("N##N######"), Kind::Phone),
                ("Tel. ", random.fill("030 9018####"), Kind::Phone),
                ("mobile ", random.fill("07700 900###"), Kind::Phone),
            ][random.next(4)]
            .clone();
            document.say(front);
            document.put(&kind, &number);
            document.say(". ");
        }
        // Without such a word.
        3 if random.next(4) == 0 => {
            document.say("After five it is ");
            document.put(&Kind::Phone, &random.fill("020 7946 0###"));
            document.say(". ");
        }
        _ => put(document, random, &kind, prose_frames(&kind)),
    }
    sentence(document, random);
    document.say("\n\n");
}

fn member_names(kind: &Kind) -> &'static [&'static str] {
    match kind {
        Kind::CreditCard => &["card_number", "pan", "number", "memo"],
        Kind::Email => &["email", "contact", "owner", "cc"],
        Kind::Ssn => &["ssn", "tax_id", "note"],
        Kind::Phone => &["phone", "mobile", "contact", "fax"],
        Kind::Iban => &["iban", "account", "destination"],
        Kind::Ipv4 | Kind::Ipv6 => &["remote_addr", "client_ip", "host"],
        Kind::Jwt => &["id_token", "session", "authorization"],
        Kind::PrivateKey => &["private_key", "pem", "key"],
        Kind::ApiKey => &["api_key", "key", "credential", "note"],
        _ => &["password", "client_secret", "access_token", "db_password"],
    }
}

fn answer(document: &mut Document, random: &mut Random, records: usize) {
    document.say("{\"data\":[");
    for index in 0..records {
        let kind = any_kind(random);
        document.say(if index > 0 { "," } else { "" });
        document.say(&format!(
            "{{\"id\":\"{}\",\"order\":\"{}\",\"created_ms\":17{},\"amount\":{}.{:02},\"sequence\":{},\
             \"name\":\"{}\",\"revision\":\"{}\",\"",
            random.fill("~~~~~~~~-~~~~-4~~~-a~~~-~~~~~~~~~~~~"),
            near::number(random),
            random.digits(11),
            random.next(9999),
            random.next(100),
            match random.next(8) {
                0 => random.fill("N###############"),
                _ => random.fill("N#####"),
            },
            values::first_name(random),
            near::identifier(random),
        ));
        document.say(random.pick(member_names(&kind)));
        document.say(random.pick(&["\":\"", "\": \""]));
        document.put(&kind, &values::of(&kind, random));
        document.say("\"}");
    }
    document.say("]}");
}

fn log_frames(kind: &Kind) -> &'static [Frame] {
    match kind {
        Kind::CreditCard => &[("charge failed pan=", " code=51"), ("card ", " declined")],
        Kind::Email => &[("login user=", " ok"), ("mail to=<", "> queued"), ("user '", "' not found")],
        Kind::Ssn => &[("lookup ssn=", " miss"), ("subject ", " matched")],
        Kind::Phone => &[("sms to=", " sent"), ("dialled ", " busy")],
        Kind::Iban => &[("payout iban=", " ok"), ("credit ", " settled")],
        Kind::Ipv4 => &[("", " - - \"GET / HTTP/1.1\" 200"), ("peer=", ":443 closed"), ("from ", " port 22")],
        Kind::Ipv6 => &[("peer=[", "]:443 closed"), ("addr ", " added")],
        Kind::Jwt => &[("authorization=\"Bearer ", "\""), ("cookie session=", "; path=/")],
        Kind::PrivateKey => &[("loaded ", "")],
        Kind::ApiKey => &[("x-api-key: ", ""), ("using key ", " for upstream")],
        _ => &[("dsn user=app password=", " db=main"), ("env API_TOKEN=", "")],
    }
}

fn log_line(document: &mut Document, random: &mut Random) {
    let level = random.pick(&["INFO", "WARN", "ERROR", "DEBUG"]);
    let time = random.fill("2026-01-1#T0#:1#:2#.###Z");
    let process =
        format!("[{}] {}", random.next(65_000), random.fill("trace=~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~"));
    document.say(&format!("{time} {level} {process} "));
    let kind = any_kind(random);
    match random.next(5) {
        0 => document.say(&format!("order={} took={}us", near::number(random), random.next(90_000))),
        1 => document.say(&format!("built {}", near::identifier(random))),
        2 => document.say(near::assignment(random)),
        _ => put(document, random, &kind, log_frames(&kind)),
    }
    document.say("\n");
}

fn code_frames(kind: &Kind) -> &'static [Frame] {
    match kind {
        Kind::CreditCard => &[("const TEST_CARD = \"", "\";"), ("charge('", "', 100)")],
        Kind::Email => &[("  author = \"", "\""), ("# Maintainer: ", ""), ("to=[\"", "\"]")],
        Kind::Ssn => &[("assert mask(\"", "\")"), ("-- example: ", "")],
        Kind::Phone => &[("phone: '", "',"), ("sms.send(\"", "\", body)")],
        Kind::Iban => &[("let iban = \"", "\";"), ("  account: ", "")],
        Kind::Ipv4 => &[("bind(\"", "\", 80)"), ("host = ", ""), ("allow ", "/24;")],
        Kind::Ipv6 => &[("listen [", "]:443;"), ("addr = \"", "\"")],
        Kind::Jwt => &[("const TOKEN = \"", "\";"), ("headers['Authorization'] = 'Bearer ", "'")],
        Kind::PrivateKey => &[("KEY = \"\"\"", "\"\"\"")],
        Kind::ApiKey => &[("export API_KEY=", ""), ("client = Client(\"", "\")"), ("// ", "")],
        _ => &[("password = \"", "\""), ("  client_secret: '", "',"), ("DB_PASSWORD=", "")],
    }
}

fn code_line(document: &mut Document, random: &mut Random) {
    let kind = any_kind(random);
    match random.next(6) {
        0 => document.say(&format!("let id = \"{}\";", near::identifier(random))),
        1 => document.say(&format!("const N = \"{}\"; // {}", near::number(random), random.fill("1.#.2"))),
        2 => document.say(near::assignment(random)),
        3 => document.say(&format!("    return {}(index + {});", random.pick(WORDS), random.next(4096))),
        _ => put(document, random, &kind, code_frames(&kind)),
    }
    document.say("\n");
}
