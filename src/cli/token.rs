//! `ringward token`.

use super::admin_client::cause;
use super::output::{Output, hex};
use super::profile::{Profile, user_dir, write_private};
use super::{block_on, exit};
use crate::background;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::{Zeroize, Zeroizing};

/// A client may use a token this long after it asked for it (Claude Code: 5 min).
const LIFE_LEFT_S: u64 = 330;
/// The token endpoint answers within this time.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Print a fresh, short-lived token; usable as Claude Code's apiKeyHelper
#[derive(Debug, Args)]
#[command(after_help = "A profile is a table in ~/.config/ringward/profiles.toml (mode 0600):\n  \
    [default]\n  issuer = \"https://idp.example.com\"\n  client_id = \"laptop\"\n  \
    client_secret = { file = \"/home/me/.ringward-secret\" }   # or { env = \"NAME\" }\n  \
    audience = \"https://gw.example.com\"\nor RINGWARD_TOKEN_ISSUER (or _ENDPOINT), _CLIENT_ID, \
    _CLIENT_SECRET, _AUDIENCE, _SCOPE, _RESOURCE.")]
pub(super) struct Command {
    /// Which profile [default: the environment's, else `default`]
    #[arg(long, env = "RINGWARD_PROFILE")]
    profile: Option<String>,
    /// Print what the token says instead of the token
    #[arg(long)]
    print_claims: bool,
    /// Fetch one even if the last is still good
    #[arg(long)]
    fresh: bool,
}

/// A token with its times, as it is kept.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    access_token: String,
    fetched_s: u64,
    expires_s: u64,
    /// What it was fetched with; another profile of the name does not get it.
    source: String,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.access_token.zeroize();
    }
}

impl Kept {
    /// Whether a client can work with it: long enough, or for tokens that are short from the start, at least
    /// half of their life.
    fn is_good(&self, now_s: u64, source: &str) -> bool {
        let left = self.expires_s.saturating_sub(now_s);
        let life = self.expires_s.saturating_sub(self.fetched_s);
        self.source == source && self.fetched_s <= now_s && left > 0 && left >= LIFE_LEFT_S.min(life / 2)
    }
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let token = Profile::find(self.profile.as_deref())
            .map_err(|error| error.to_string())
            .and_then(|profile| self.token(&profile, output));
        match token {
            Ok(token) if self.print_claims => self.claims(&token.access_token, output),
            Ok(token) => {
                output.result(&token.access_token);
                output.result("\n");
                exit::OK
            }
            Err(message) => {
                output.error(&message);
                exit::FAILED
            }
        }
    }

    fn token(&self, profile: &Profile, output: &mut Output) -> Result<Kept, String> {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let source = toml::to_string(profile).map_err(|error| error.to_string())?;
        let source = hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, source.as_bytes()).as_ref());
        let file = self.cache();
        let kept = file.as_ref().filter(|_| !self.fresh).and_then(|file| fs::read(file).ok());
        let kept = kept.map(Zeroizing::new).and_then(|bytes| serde_json::from_slice::<Kept>(&bytes).ok());
        if let Some(kept) = kept.filter(|kept| kept.is_good(now_s, &source)) {
            output.detail("the token from before is still good");
            return Ok(kept);
        }
        let answer = block_on(fetch(profile))?;
        let expires_s = now_s + answer.expires_in.unwrap_or(60);
        let kept = Kept { access_token: answer.access_token, fetched_s: now_s, expires_s, source };
        if let Some(Err(error)) = file.map(|file| keep(&file, &kept)) {
            output.detail(&format!("the token is not kept: {error}"));
        }
        Ok(kept)
    }

    /// Where the token is kept between calls.
    fn cache(&self) -> Option<PathBuf> {
        let name = self.profile.as_deref().unwrap_or("default");
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if !plain {
            return None;
        }
        Some(user_dir("XDG_CACHE_HOME", ".cache")?.join(format!("token-{name}.json")))
    }

    fn claims(&self, token: &str, output: &mut Output) -> u8 {
        let claims = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
        let claims = claims.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
        match claims {
            Some(claims) => {
                output.json(&claims);
                exit::OK
            }
            None => {
                output.error("the token is not a JWT, so it says nothing to anyone but its issuer");
                exit::FAILED
            }
        }
    }
}

/// RFC 6749 section 5.1.
#[derive(Deserialize)]
struct Answer {
    access_token: String,
    expires_in: Option<u64>,
}

/// RFC 6749 section 5.2.
#[derive(Deserialize)]
struct Refusal {
    error: String,
    error_description: Option<String>,
}

#[derive(Deserialize)]
struct Discovery {
    token_endpoint: String,
}

async fn fetch(profile: &Profile) -> Result<Answer, String> {
    let secret = profile.secret().map_err(|error| error.to_string())?;
    let http = background::client::client(None).map_err(|error| error.to_string())?;
    let endpoint = match (&profile.token_endpoint, &profile.issuer) {
        (Some(endpoint), _) => endpoint.clone(),
        (None, Some(issuer)) => discover(&http, issuer).await?,
        (None, None) => return Err("the profile names neither `issuer` nor `token_endpoint`".into()),
    };
    let endpoint = crate::secrets::Endpoint::parse(&endpoint).map_err(|error| error.to_string())?;
    let mut form = vec![("grant_type", "client_credentials")];
    let optional =
        [("audience", &profile.audience), ("resource", &profile.resource), ("scope", &profile.scope)];
    form.extend(optional.iter().filter_map(|(name, value)| Some((*name, value.as_deref()?))));
    let request =
        http.post(endpoint.as_str()).timeout(TIMEOUT).basic_auth(&profile.client_id, Some(secret.as_str()));
    let answer = request.header("accept", "application/json").form(&form).send().await;
    let answer = answer.map_err(|error| format!("{endpoint} does not answer: {}", cause(&error)))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| format!("{endpoint}: {}", cause(&error)))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|_| format!("{endpoint} answered without a token"));
    }
    Err(match serde_json::from_slice::<Refusal>(&body) {
        Ok(refusal) => {
            let why = refusal.error_description.unwrap_or_default();
            format!("{endpoint} refused: {} {}", refusal.error.escape_debug(), why.escape_debug())
        }
        Err(_) => format!("{endpoint} refused with status {status}"),
    })
}

/// OpenID Connect Discovery 1.0 section 4.
async fn discover(http: &reqwest::Client, issuer: &str) -> Result<String, String> {
    let issuer = crate::secrets::Endpoint::parse(issuer).map_err(|error| error.to_string())?;
    let url = format!("{}/.well-known/openid-configuration", issuer.as_str().trim_end_matches('/'));
    let answer = http.get(&url).timeout(TIMEOUT).send().await;
    let answer = answer.map_err(|error| format!("{url} does not answer: {}", cause(&error)))?;
    let body = answer.bytes().await.map_err(|error| format!("{url}: {}", cause(&error)))?;
    let discovery: Result<Discovery, _> = serde_json::from_slice(&body);
    discovery.map(|found| found.token_endpoint).map_err(|_| format!("{url} names no token endpoint"))
}

fn keep(file: &Path, kept: &Kept) -> io::Result<()> {
    write_private(file, &Zeroizing::new(serde_json::to_vec(kept)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_handed_out_with_life_left() {
        let kept = |life: u64| Kept {
            access_token: "t".into(),
            fetched_s: 1_000,
            expires_s: 1_000 + life,
            source: "s".into(),
        };
        let check = |life: u64, age: u64, good| {
            assert_eq!(kept(life).is_good(1_000 + age, "s"), good, "{life} after {age}")
        };
        check(3_600, 0, true);
        check(3_600, 3_270, true);
        check(3_600, 3_271, false);
        check(60, 30, true);
        check(60, 31, false);
        check(60, 61, false);
        assert!(!kept(3_600).is_good(1_000, "another profile"));
        assert!(!kept(3_600).is_good(999, "s"), "a clock that went back");
    }
}
