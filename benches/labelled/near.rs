//! What is easily taken for a sensitive value.

use super::random::Random;
use super::values::{ALPHANUMERIC, check_digit};

/// Digits.
pub fn number(random: &mut Random) -> String {
    let digits = random.digits(15);
    match random.next(19) {
        // An order of 16 digits with a wrong check digit.
        0 => format!("4{}{}", &digits[1..], (check_digit(&format!("4{}", &digits[1..])) + 3) % 10),
        1 => random.fill("17###########"),
        2 => random.fill("17########"),
        3 => random.fill("17################0"),
        // Device, parcel, book, account of a cloud, purchase order.
        4 => format!("35{}", random.digits(13)),
        5 => random.fill("9400 1### #### #### #### ##"),
        6 => random.fill("978-3-16-1#####-#"),
        7 => random.fill("############"),
        8 => random.fill("45000#####"),
        9 => random.fill("2026-0N-1# 1#:2#:3#"),
        10 => random.fill("000-#N-####"),
        11 => random.fill("9N#-1#-####"),
        12 => random.fill("###-##-####-0#"),
        13 => random.fill("#####-####"),
        14 => random.fill("N#.##N###, -1N#.######"),
        15 => random.fill("ORD-2026-######"),
        16 => random.fill("INV-####-####-####"),
        17 => random.fill("1N############4567"),
        _ => random.fill("N,###,###.##"),
    }
}

/// Identifiers, hashes, versions, paths.
pub fn identifier(random: &mut Random) -> String {
    match random.next(24) {
        0 | 1 => random.fill("~~~~~~~~-~~~~-4~~~-a~~~-~~~~~~~~~~~~"),
        2 => random.hex(40),
        3 => random.hex(64),
        4 => format!("sha256:{}", random.hex(64)),
        5 => random.fill("1.2#.#"),
        6 => random.fill("Chrome/1#1.0.6099.1##"),
        7 => random.fill("10.0.19045.3###"),
        8 => random.fill("v2.#.1#.#"),
        9 => random.fill("00:1b:~~:11:~~:b7"),
        10 => "std::collections::BTreeMap".to_owned(),
        11 => "crate::de::Error".to_owned(),
        12 => random.fill("1#:2#:3#.###"),
        13 => format!("icon-{}@2x.png", random.next(50)),
        14 => random.fill("react@18.#.0"),
        15 => "@acme/widgets@^4.1.0".to_owned(),
        16 => "deploy@build-host".to_owned(),
        17 => random.fill("DE#########"),
        18 => random.fill("GB00 BARC 2000 0#00 0000 00"),
        19 => format!("req_{}", random.string(ALPHANUMERIC, 24)),
        20 => "1.3.6.1.4.1.311.21.20".to_owned(),
        21 => "sk-spinner-container-large".to_owned(),
        22 => "npm_config_registry".to_owned(),
        _ => format!("data:image/png;base64,iVBORw0KGgo{}", random.string(ALPHANUMERIC, 60)),
    }
}

/// Assignments to words of secrets that assign none.
pub fn assignment(random: &mut Random) -> &'static str {
    random.pick(&[
        "password = os.environ[\"DB_PASSWORD_1\"]",
        "password: ${DB_PASSWORD}",
        "password=$DB_PASSWORD_PRODUCTION_2",
        "\"token\": \"<your-token-goes-here>\"",
        "max_tokens: 128000000000",
        "\"next_page_token\": \"Q2lBS0dnb3cxMjM0NTY3ODkw\"",
        "api_key = process.env.OPENAI_API_KEY_2",
        "secret_name: prod/billing/stripe-key-v2",
        "password: \"****************\"",
        "token = tokenizer.encode(prompt_text_1)",
        "access_token_url = \"https://auth.example.com/oauth2/v2.0/token\"",
        "secret: {{ .Values.database.existingSecret2 }}",
        "apiKey: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        "-----BEGIN PUBLIC KEY-----",
        "token: eyJhbGciOi...",
    ])
}
