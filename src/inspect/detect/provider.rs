//! Keys of providers: one table of prefix, shape and entropy.
//!
//! Facts: the rules of gitleaks (`config/gitleaks.toml`) and the providers' own pages, where they say it:
//! GitHub ("Behind GitHub's new authentication token formats"), Slack ("Token types"), Stripe ("API keys"),
//! GitLab ("Token prefixes"), npm ("Creating and viewing access tokens"), AWS ("IAM identifiers"). Checksums
//! (GitHub, npm: CRC-32) are not a condition: a key that was typed wrong is still one to hide.

use super::class::Class;

/// What follows a prefix.
#[derive(Clone, Copy, Debug)]
pub enum Body {
    /// So many characters of the class, no more.
    Exactly(usize),
    /// So many characters of the class, and whatever else of a key follows.
    AtLeast(usize),
    /// Characters of the class with this mark within the first `limit`, and 20 more behind it.
    Marked { mark: &'static str, limit: usize },
}

/// The keys of one provider.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What they begin with: at least three bytes, none of them the beginning of another with fewer.
    pub prefixes: &'static [&'static str],
    /// What follows.
    pub body: Body,
    /// Of which characters.
    pub class: &'static Class,
    /// Least entropy of these, in tenths of a bit a character.
    pub entropy: u32,
}

const BASE32: Class = Class::of(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567");
const HEX: Class = Class::of(b"0123456789abcdefABCDEF");
const ALPHANUMERIC: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
const WORD: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_");
/// Base64 for URLs.
pub const URL: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-");
const DOTTED: Class = Class::of(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-.");
const BECH32: Class = Class::of(b"QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L");

const fn exactly(
    prefixes: &'static [&'static str],
    length: usize,
    class: &'static Class,
    entropy: u32,
) -> Shape {
    Shape { prefixes, body: Body::Exactly(length), class, entropy }
}

const fn at_least(
    prefixes: &'static [&'static str],
    length: usize,
    class: &'static Class,
    entropy: u32,
) -> Shape {
    Shape { prefixes, body: Body::AtLeast(length), class, entropy }
}

/// All of them.
pub const SHAPES: &[Shape] = &[
    // AWS: access key ids.
    exactly(&["AKIA", "ASIA", "ABIA", "ACCA"], 16, &BASE32, 25),
    // GitHub: classic tokens, fine-grained tokens.
    exactly(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"], 36, &ALPHANUMERIC, 30),
    exactly(&["github_pat_"], 82, &WORD, 30),
    // GitLab: personal, deploy, runner, trigger, feed, agent, session and other tokens.
    at_least(
        &["glpat-", "gldt-", "glrt-", "glptt-", "glft-", "glagent-", "glcbt-", "glimt-", "glsoat-", "gloas-"],
        20,
        &URL,
        30,
    ),
    // Models: Anthropic, OpenAI (all its keys have the mark), Hugging Face, Groq, Perplexity, xAI, Replicate.
    at_least(&["sk-ant-"], 20, &URL, 30),
    Shape {
        prefixes: &["sk-"],
        body: Body::Marked { mark: "T3BlbkFJ", limit: 180 },
        class: &URL,
        entropy: 30,
    },
    exactly(&["hf_"], 34, &ALPHANUMERIC, 30),
    exactly(&["gsk_"], 52, &ALPHANUMERIC, 30),
    exactly(&["pplx-"], 48, &ALPHANUMERIC, 35),
    exactly(&["xai-"], 80, &ALPHANUMERIC, 35),
    exactly(&["r8_"], 37, &ALPHANUMERIC, 30),
    // Payments: Stripe, Square, Shopify.
    at_least(
        &["sk_live_", "sk_test_", "sk_prod_", "rk_live_", "rk_test_", "rk_prod_"],
        16,
        &ALPHANUMERIC,
        25,
    ),
    at_least(&["whsec_"], 24, &ALPHANUMERIC, 30),
    at_least(&["sq0atp-", "sq0csp-"], 22, &URL, 25),
    exactly(&["shpat_", "shpca_", "shppa_", "shpss_"], 32, &HEX, 25),
    // Slack: bot, user, app, legacy, refresh and configuration tokens.
    at_least(
        &["xoxb-", "xoxp-", "xoxa-", "xoxo-", "xoxr-", "xoxs-", "xoxe-", "xoxe.xox", "xapp-"],
        10,
        &URL,
        // Ten digits of a workspace's number come first.
        15,
    ),
    // Google: API keys, OAuth client secrets, OAuth access tokens.
    exactly(&["AIza"], 35, &URL, 30),
    exactly(&["GOCSPX-"], 28, &URL, 30),
    at_least(&["ya29."], 40, &URL, 30),
    // Package registries: npm, PyPI, RubyGems, NuGet, crates.io.
    exactly(&["npm_"], 36, &ALPHANUMERIC, 30),
    at_least(&["pypi-AgEIcHlwaS5vcmc"], 50, &URL, 30),
    exactly(&["rubygems_"], 48, &HEX, 25),
    exactly(&["oy2"], 43, &ALPHANUMERIC, 35),
    exactly(&["cio"], 32, &ALPHANUMERIC, 40),
    // Mail and messages: SendGrid, Twilio, Mailgun, Brevo.
    exactly(&["SG."], 66, &DOTTED, 35),
    exactly(&["SK0", "SK1", "SK2", "SK3", "SK4", "SK5", "SK6", "SK7", "SK8", "SK9"], 31, &HEX, 30),
    exactly(&["SKa", "SKb", "SKc", "SKd", "SKe", "SKf"], 31, &HEX, 30),
    exactly(&["key-"], 32, &HEX, 30),
    at_least(&["xkeysib-"], 64, &URL, 25),
    // Clouds and operations: DigitalOcean, Alibaba, Databricks, HashiCorp Vault, Pulumi, Linear, Notion,
    // Figma, Grafana, New Relic, Postman, Doppler, PlanetScale, Sentry, Atlassian, Fly, age.
    exactly(&["dop_v1_", "doo_v1_", "dor_v1_"], 64, &HEX, 30),
    exactly(&["LTAI"], 20, &ALPHANUMERIC, 30),
    exactly(&["dapi"], 32, &HEX, 30),
    at_least(&["hvs.", "hvb."], 24, &URL, 35),
    exactly(&["pul-"], 40, &HEX, 30),
    exactly(&["lin_api_"], 40, &ALPHANUMERIC, 30),
    exactly(&["ntn_"], 46, &ALPHANUMERIC, 35),
    at_least(&["figd_"], 36, &URL, 30),
    at_least(&["glsa_", "glc_"], 32, &WORD, 30),
    exactly(&["NRAK-"], 27, &ALPHANUMERIC, 30),
    exactly(&["PMAK-"], 59, &URL, 30),
    at_least(&["dp.pt.", "dp.st.", "dp.ct."], 40, &ALPHANUMERIC, 30),
    at_least(&["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], 32, &DOTTED, 30),
    exactly(&["sntryu_"], 64, &HEX, 30),
    at_least(&["ATATT3"], 180, &URL, 35),
    at_least(&["fo1_"], 43, &URL, 30),
    exactly(&["AGE-SECRET-KEY-1"], 58, &BECH32, 30),
];
