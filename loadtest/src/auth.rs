//! What a request says about who sends it: nothing, a token from a file, or one of an OpenID Connect issuer
//! that is renewed before its end.

use crate::{blocking, exit::Failure, target::Url};
use base64::{Engine, engine::general_purpose::STANDARD};
use rustls::ClientConfig;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

/// Longest token.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// How often a file is looked at, and an issuer asked again that has failed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// What an issuer's token is taken to last where it does not say.
const LIFETIME_UNSAID: Duration = Duration::from_secs(300);

/// `--auth`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Auth {
    #[default]
    None,
    /// The token in this file; read again when the file changes.
    Token(PathBuf),
    /// The client of this name.
    Oidc(String),
}

impl FromStr for Auth {
    type Err = String;

    fn from_str(text: &str) -> Result<Auth, String> {
        match text.split_once(':') {
            None if text == "none" => Ok(Auth::None),
            Some(("token", file)) if file.len() > 1 && file.starts_with('@') => {
                Ok(Auth::Token(PathBuf::from(&file[1..])))
            }
            Some(("token", _)) => {
                Err("every process can read command lines: put the token into a file, and \
                                       say token:@FILE"
                    .to_owned())
            }
            Some(("oidc", name)) if is_name(name) => Ok(Auth::Oidc(name.to_owned())),
            _ => Err("write none, token:@FILE, or oidc:NAME".to_owned()),
        }
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}

/// A client of an issuer, which gets tokens for itself (RFC 6749 section 4.4).
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    pub token_endpoint: String,
    pub client_id: String,
    pub client_secret_file: PathBuf,
    pub scope: Option<String>,
    /// Sent as `audience`, which many issuers know.
    pub audience: Option<String>,
    /// Sent as `resource` (RFC 8707).
    pub resource: Option<String>,
}

impl Client {
    /// The client called `name`: a table of `file`, else variables of the environment.
    ///
    /// # Errors
    /// It is not there, or not whole: exit code 2, with what is missing.
    pub fn find(name: &str, file: Option<&Path>) -> Result<Client, Failure> {
        let Some(path) = file else { return Client::from_environment(name, |key| std::env::var(key).ok()) };
        let wrong = |what: &str| Failure::usage(format!("--oidc-config {}: {what}", path.display()));
        let text = fs::read_to_string(path).map_err(|error| wrong(&error.to_string()))?;
        let mut clients: BTreeMap<String, Client> =
            toml::from_str(&text).map_err(|error| wrong(error.to_string().trim_end()))?;
        let known = clients.keys().cloned().collect::<Vec<_>>().join(", ");
        let client = clients.remove(name);
        client.ok_or_else(|| wrong(&format!("there is no table [{name}]; there are: {known}")))
    }

    fn from_environment(name: &str, get: impl Fn(&str) -> Option<String>) -> Result<Client, Failure> {
        let prefix = format!("LOADTEST_OIDC_{}_", name.to_ascii_uppercase().replace('-', "_"));
        let optional = |key: &str| get(&format!("{prefix}{key}")).filter(|value| !value.is_empty());
        let needed = |key: &str| {
            optional(key).ok_or_else(|| {
                Failure::usage(format!(
                    "--auth oidc:{name}: {prefix}{key} is not set: set {prefix}TOKEN_ENDPOINT, _CLIENT_ID \
                     and _CLIENT_SECRET_FILE, or write a table [{name}] and name its file with --oidc-config"
                ))
            })
        };
        Ok(Client {
            token_endpoint: needed("TOKEN_ENDPOINT")?,
            client_id: needed("CLIENT_ID")?,
            client_secret_file: needed("CLIENT_SECRET_FILE")?.into(),
            scope: optional("SCOPE"),
            audience: optional("AUDIENCE"),
            resource: optional("RESOURCE"),
        })
    }

    /// A token, and how long it lasts. The secret is read from its file anew.
    fn fetch(&self, tls: &Arc<ClientConfig>) -> Result<(String, Duration), Failure> {
        let place = |what: String| format!("{}: {what}", self.token_endpoint);
        let url = Url::parse(&self.token_endpoint).map_err(|what| Failure::usage(place(what)))?;
        let secret = read_secret(&self.client_secret_file)?;
        // RFC 6749 section 2.3.1: both are form-encoded before they become one word.
        let basic = STANDARD.encode(format!("{}:{}", form(&self.client_id), form(&secret)));
        let mut body = "grant_type=client_credentials".to_owned();
        for (name, value) in
            [("scope", &self.scope), ("audience", &self.audience), ("resource", &self.resource)]
        {
            if let Some(value) = value {
                body.push_str(&format!("&{name}={}", form(value)));
            }
        }
        let fields = [
            ("authorization", format!("Basic {basic}")),
            ("content-type", "application/x-www-form-urlencoded".to_owned()),
            ("accept", "application/json".to_owned()),
        ];
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let page = blocking::ask(&url, tls, "POST", &fields, body.as_bytes())
            .map_err(|what| Failure::unreachable(place(what)))?;
        read_answer(page.status, &page.body).map_err(|what| Failure::failed(place(what)))
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    expires_in: Option<f64>,
    error: Option<String>,
    error_description: Option<String>,
}

/// RFC 6749 sections 5.1 and 5.2.
fn read_answer(status: u16, body: &[u8]) -> Result<(String, Duration), String> {
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| format!("the answer with status {status} is no token: is this the token endpoint?"))?;
    if let (200, Some(token)) = (status, answer.access_token) {
        let lifetime = answer.expires_in.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        return Ok((checked(token)?, lifetime.unwrap_or(LIFETIME_UNSAID)));
    }
    let error = answer.error.unwrap_or_else(|| format!("status {status}"));
    Err(format!("no token: {error} {}", answer.error_description.unwrap_or_default()).trim_end().to_owned())
}

/// What may stand in a field.
fn checked(token: String) -> Result<String, String> {
    let fits = !token.is_empty() && token.len() <= TOKEN_BYTES_MAX;
    let plain = token.bytes().all(|byte| byte.is_ascii_graphic());
    if fits && plain { Ok(token) } else { Err("the token is empty, too long, or no single word".to_owned()) }
}

fn read_secret(path: &Path) -> Result<String, Failure> {
    let text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{}: {error}: it has to hold the secret", path.display())))?;
    checked(text.trim().to_owned())
        .map_err(|_| Failure::usage(format!("{}: it has to hold one word", path.display())))
}

/// `application/x-www-form-urlencoded`.
fn form(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                coded.push(char::from(byte))
            }
            _ => coded.push_str(&format!("%{byte:02X}")),
        }
    }
    coded
}

/// The token of a run, as it is now; workers look at its generation before each request.
#[derive(Default)]
pub struct Credential {
    token: Mutex<Option<Arc<str>>>,
    generation: AtomicU64,
    stop: AtomicBool,
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({})", self.generation())
    }
}

impl Credential {
    /// Changes with each new token.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The token.
    pub fn token(&self) -> Option<Arc<str>> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, token: String) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.into());
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// Ends what keeps it fresh.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
    }

    /// Gets the first token, and starts what renews it.
    ///
    /// # Errors
    /// There is none: a file that cannot be read (2), an issuer that does not answer (5) or refuses (1).
    pub fn start(
        auth: &Auth,
        config: Option<&Path>,
        tls: &Arc<ClientConfig>,
    ) -> Result<Arc<Credential>, Failure> {
        let credential = Arc::new(Credential::default());
        match auth {
            Auth::None => {}
            Auth::Token(path) => {
                credential.set(read_secret(path)?);
                let (credential, path, seen) = (credential.clone(), path.clone(), modified(path));
                thread::spawn(move || credential.watch(&path, seen));
            }
            Auth::Oidc(name) => {
                let client = Client::find(name, config)?;
                let (token, lifetime) = client.fetch(tls)?;
                credential.set(token);
                let (credential, tls) = (credential.clone(), tls.clone());
                thread::spawn(move || credential.renew(&client, &tls, lifetime));
            }
        }
        Ok(credential)
    }

    fn watch(&self, path: &Path, mut seen: Option<SystemTime>) {
        while self.rest(LOOK_INTERVAL) {
            let now = modified(path);
            if now != seen
                && let Ok(token) = read_secret(path)
            {
                seen = now;
                self.set(token);
            }
        }
    }

    fn renew(&self, client: &Client, tls: &Arc<ClientConfig>, mut lifetime: Duration) {
        while self.rest(renewal(lifetime)) {
            match client.fetch(tls) {
                Ok((token, next)) => {
                    lifetime = next;
                    self.set(token);
                }
                Err(failure) => {
                    eprintln!("warning: the token was not renewed: {failure}");
                    lifetime = LOOK_INTERVAL;
                }
            }
        }
    }

    /// Waits; `false` if the run is over.
    fn rest(&self, time: Duration) -> bool {
        let until = Instant::now() + time;
        while !self.stop.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            thread::sleep(left.min(Duration::from_millis(100)));
        }
        false
    }
}

/// When a token that lasts so long is renewed: after four fifths of it, and a second at the least.
fn renewal(lifetime: Duration) -> Duration {
    lifetime.mul_f64(0.8).clamp(LOOK_INTERVAL, Duration::from_secs(24 * 3600))
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_never_taken_from_the_command_line() {
        assert_eq!("token:@a/b".parse(), Ok(Auth::Token("a/b".into())));
        assert_eq!("none".parse(), Ok(Auth::None));
        assert_eq!("oidc:corp-1".parse(), Ok(Auth::Oidc("corp-1".to_owned())));
        assert!("token:eyJ".parse::<Auth>().is_err_and(|error| error.contains("token:@FILE")));
        for text in ["", "token", "token:@", "oidc:", "oidc:a b", "basic:x"] {
            assert!(text.parse::<Auth>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_client_is_found_in_the_environment_or_its_absence_is_explained() {
        let set = |key: &str| match key {
            "LOADTEST_OIDC_MY_ID_TOKEN_ENDPOINT" => Some("http://i/token".to_owned()),
            "LOADTEST_OIDC_MY_ID_CLIENT_ID" => Some("me".to_owned()),
            "LOADTEST_OIDC_MY_ID_CLIENT_SECRET_FILE" => Some("secret".to_owned()),
            _ => None,
        };
        let client = Client::from_environment("my-id", set).expect("all of it is there");
        assert_eq!((client.client_id.as_str(), client.audience), ("me", None));
        let missing = Client::from_environment("other", set).expect_err("nothing is there");
        assert!(missing.code == crate::exit::USAGE && missing.message.contains("LOADTEST_OIDC_OTHER_TOKEN"));
    }

    #[test]
    fn answers_of_issuers_are_read_as_the_standard_says() {
        let read = |status, body: &str| read_answer(status, body.as_bytes());
        let (token, lifetime) = read(200, r#"{"access_token":"a.b","expires_in":60}"#).expect("a token");
        assert_eq!((token.as_str(), renewal(lifetime)), ("a.b", Duration::from_secs(48)));
        let denied = read(401, r#"{"error":"invalid_client","error_description":"who?"}"#);
        assert_eq!(denied, Err("no token: invalid_client who?".to_owned()));
        for body in ["<html>", r#"{"access_token":"a b"}"#, r#"{"access_token":""}"#, "{}"] {
            assert!(read(200, body).is_err(), "{body}");
        }
        assert_eq!(form("a b&c=é"), "a%20b%26c%3D%C3%A9");
    }
}
