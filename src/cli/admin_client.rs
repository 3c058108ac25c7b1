//! Talks to the admin interface of a running gateway: over its unix socket, or over https with a token.

use super::{
    ConfigFile, exit, inert,
    kept_login::{self, Kept},
    output::Output,
};
use crate::background;
use crate::config::{self, Host};
use clap::Args;
use serde::Serialize;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use zeroize::Zeroizing;

/// A gateway that does not answer within this time is unreachable.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A long answer may pause for this long.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// Which gateway.
#[derive(Clone, Debug, Args)]
pub(super) struct Target {
    /// Admin interface: unix:PATH or an https URL [default: the socket that the configuration names]
    #[arg(long, visible_alias = "url", value_name = "WHERE", env = "RINGWARD_ADMIN")]
    admin: Option<String>,
    /// File with the token for an https URL [default: what `ringward login` has kept]
    #[arg(long, value_name = "FILE", env = "RINGWARD_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
    /// Certificates in PEM that may sign that of an https URL, instead of the system's authorities
    #[arg(long, value_name = "FILE", env = "RINGWARD_ADMIN_CA")]
    admin_ca: Option<PathBuf>,
    #[command(flatten)]
    file: ConfigFile,
}

/// Why there is no answer, in words, with the exit code.
pub(super) struct Failure {
    pub message: String,
    pub code: u8,
}

/// An answer, whatever its status.
pub(super) struct Answer {
    pub status: u16,
    pub body: String,
}

impl Target {
    /// Whether somebody said where the interface is.
    pub(super) fn is_given(&self) -> bool {
        self.admin.is_some()
    }

    /// The configuration that names it otherwise.
    pub(super) fn file(&self) -> &ConfigFile {
        &self.file
    }

    /// The URL of the interface, for what people do with it.
    ///
    /// # Errors
    /// It is a socket, or makes no sense.
    pub(super) fn url(&self) -> Result<String, Failure> {
        match self.place()? {
            Place::Url(url) => Ok(url),
            Place::Socket(_) => Err(Failure {
                message: "a login needs the address of a gateway: --url https://gw.example.com:8444"
                    .to_owned(),
                code: exit::USAGE,
            }),
        }
    }

    /// The file with the authorities, wherever the next command is called.
    ///
    /// # Errors
    /// There is no such file.
    pub(super) fn ca(&self) -> Result<Option<PathBuf>, Failure> {
        let Some(file) = &self.admin_ca else { return Ok(None) };
        file.canonicalize().map(Some).map_err(|error| unreadable(file, &error))
    }

    /// Where the interface is.
    fn place(&self) -> Result<Place, Failure> {
        let usage = |message: String| Failure { message, code: exit::USAGE };
        match self.admin.as_deref() {
            None => Ok(Place::Socket(self.configured_socket()?)),
            Some(text) => match (text.strip_prefix("unix:"), text.starts_with("https://")) {
                (Some(path), _) if !path.is_empty() => Ok(Place::Socket(path.into())),
                (None, true) => Ok(Place::Url(text.trim_end_matches('/').to_owned())),
                (None, false)
                    if ["http://127.0.0.1:", "http://[::1]:", "http://localhost:"]
                        .iter()
                        .any(|loopback| text.starts_with(loopback)) =>
                {
                    Ok(Place::Url(text.trim_end_matches('/').to_owned()))
                }
                _ => Err(usage(format!("`{text}` is neither unix:PATH nor an https URL"))),
            },
        }
    }

    /// The socket that the configuration names, also where the rest of it is bad, else the default.
    fn configured_socket(&self) -> Result<PathBuf, Failure> {
        let usual = Host::of_process().admin_socket();
        let path = self.file.path();
        if path.as_os_str() == "-" {
            return Ok(usual);
        }
        let Ok(text) = config::Text::read_alone(&path) else { return Ok(usual) };
        let named = match config::load(&text) {
            Ok(loaded) => loaded.document.admin.socket,
            Err(found) => match toml::from_str::<toml::Table>(&text.source) {
                Ok(table) => {
                    let socket = table.get("admin").and_then(|admin| admin.get("socket"));
                    socket.and_then(toml::Value::as_str).map(PathBuf::from)
                }
                // Whatever the file would say, nobody else is asked in its place.
                Err(_) if !usual.exists() => {
                    let shown = config::diagnostic::render_all(&found, config::Format::Text, false);
                    let hint = "--admin unix:PATH says where the gateway is";
                    return Err(Failure {
                        message: format!("{}\n{hint}", shown.trim_end()),
                        code: exit::CONFIG,
                    });
                }
                Err(_) => None,
            },
        };
        Ok(named.map_or(usual, |socket| text.base.join(socket)))
    }

    /// Asks, and gives back what came, whatever its status.
    ///
    /// # Errors
    /// No gateway answers, or the target makes no sense.
    pub(super) async fn ask(&self, method: reqwest::Method, path: &str) -> Result<Answer, Failure> {
        self.answered(method, path, None).await
    }

    /// [`Target::ask`] without saying who asks.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn ask_unknown(&self, method: reqwest::Method, path: &str) -> Result<Answer, Failure> {
        let place = self.place()?;
        let kept = self.kept(&place)?;
        let (client, base) = self.client(&place, kept.as_ref(), |client| client.timeout(TIMEOUT))?;
        whole(&place, client.request(method, format!("{base}{path}")).send().await).await
    }

    /// [`Target::ask`] with a JSON body.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn ask_with(
        &self,
        method: reqwest::Method,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<Answer, Failure> {
        self.answered(method, path, Some(body)).await
    }

    async fn answered(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&serde_json::Value>,
    ) -> Result<Answer, Failure> {
        let (place, answer) = self.send(method, path, body, |client| client.timeout(TIMEOUT)).await?;
        whole(&place, Ok(answer)).await
    }

    /// Asks for a long answer, which is read piece by piece.
    ///
    /// # Errors
    /// As [`Target::ask`].
    pub(super) async fn open(&self, path: &str) -> Result<reqwest::Response, Failure> {
        let bounds = |client: reqwest::ClientBuilder| client.read_timeout(READ_TIMEOUT);
        self.send(reqwest::Method::GET, path, None, bounds).await.map(|(_, answer)| answer)
    }

    async fn send(
        &self,
        method: reqwest::Method,
        path: &str,
        body: Option<&serde_json::Value>,
        bounds: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<(Place, reqwest::Response), Failure> {
        let place = self.place()?;
        let kept = self.kept(&place)?;
        let (client, base) = self.client(&place, kept.as_ref(), bounds)?;
        let mut request = client.request(method, format!("{base}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let (Place::Url(_), Some(token)) = (&place, self.token()?) {
            request = request.bearer_auth(token.trim());
        } else if let Some(kept) = &kept {
            request = request.bearer_auth(&kept.token);
        }
        let answer = request.send().await.map_err(|error| unheard(&place, &error))?;
        if answer.status() == 401 && !path.starts_with("/auth/") {
            return Err(unknown(&place, answer).await);
        }
        Ok((place, answer))
    }

    /// What `ringward login` has kept for a place, unless a token is given.
    fn kept(&self, place: &Place) -> Result<Option<Kept>, Failure> {
        match place {
            Place::Url(url) if self.admin_token_file.is_none() => {
                kept_login::find(url).map_err(|message| Failure { message, code: exit::FAILED })
            }
            _ => Ok(None),
        }
    }

    /// A client for a place, and what its paths begin with.
    fn client(
        &self,
        place: &Place,
        kept: Option<&Kept>,
        bounds: impl FnOnce(reqwest::ClientBuilder) -> reqwest::ClientBuilder,
    ) -> Result<(reqwest::Client, String), Failure> {
        let ca = self.admin_ca.as_ref().or(kept.and_then(|kept| kept.ca.as_ref()));
        let builder = match ca {
            Some(file) => {
                let pem = std::fs::read(file).map_err(|error| unreadable(file, &error))?;
                let built = background::client::builder(Some(&pem));
                let failed =
                    |error| Failure { message: format!("{}: {error}", file.display()), code: exit::FAILED };
                built.map_err(failed)?
            }
            None => reqwest::Client::builder(),
        };
        let mut builder = bounds(builder)
            .connect_timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")));
        let base = match place {
            Place::Socket(socket) => {
                builder = builder.unix_socket(socket.clone());
                "http://localhost".to_owned()
            }
            Place::Url(url) => url.clone(),
        };
        let client = builder.build().map_err(|error| unreachable(error.to_string()))?;
        Ok((client, base))
    }

    fn token(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(file) = &self.admin_token_file else { return Ok(None) };
        let token = std::fs::read_to_string(file);
        let token = token.map_err(|error| unreadable(file, &error))?;
        Ok(Some(Zeroizing::new(token)))
    }
}

/// An answer to its end.
async fn whole(place: &Place, answer: reqwest::Result<reqwest::Response>) -> Result<Answer, Failure> {
    let answer = answer.map_err(|error| unheard(place, &error))?;
    let status = answer.status().as_u16();
    let failed = |error: reqwest::Error| unreachable(format!("{place}: {}", cause(&error)));
    let body = answer.text().await.map_err(failed)?;
    Ok(Answer { status, body })
}

/// Nobody who is known has asked: where a login would help, that is said.
async fn unknown(place: &Place, answer: reqwest::Response) -> Failure {
    let body = answer.text().await.unwrap_or_default();
    let problem: Value = serde_json::from_str(&body).unwrap_or_default();
    let why = inert::line(problem["message"].as_str().unwrap_or("status 401"));
    let message = match problem["login"].is_string() {
        true => format!("{place}: {why}\nrun `ringward login --url {place}`"),
        false => format!("{place}: {why}"),
    };
    Failure { message, code: exit::FAILED }
}

fn unheard(place: &Place, error: &reqwest::Error) -> Failure {
    unreachable(format!("no gateway answers at {place}: {}", cause(error)))
}

fn unreadable(file: &std::path::Path, error: &std::io::Error) -> Failure {
    Failure { message: format!("cannot read {}: {error}", file.display()), code: exit::FAILED }
}

/// `path` with the fields of `question` as its query; a field that is `null` is not asked for.
///
/// # Errors
/// The question is no struct.
pub(super) fn with_query(path: &str, question: &impl Serialize) -> Result<String, Failure> {
    let unasked = |error: &dyn std::fmt::Display| Failure { message: error.to_string(), code: exit::FAILED };
    let fields = serde_json::to_value(question).map_err(|error| unasked(&error))?;
    let fields = fields.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let pairs = fields.map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), value)
    });
    let url = reqwest::Url::parse_with_params("http://localhost/", pairs).map_err(|error| unasked(&error))?;
    Ok(format!("{path}?{}", url.query().unwrap_or_default()))
}

fn unreachable(message: String) -> Failure {
    Failure { message, code: exit::UNREACHABLE }
}

enum Place {
    Socket(PathBuf),
    Url(String),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Place::Socket(path) => write!(f, "unix:{}", path.display()),
            Place::Url(url) => f.write_str(url),
        }
    }
}

/// The innermost cause: what the kernel or TLS said.
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// The exit code of what was asked; says why there is no answer.
pub(super) fn exit_code(result: Result<(), Failure>, output: &mut Output) -> u8 {
    result.map_or_else(|failure| report(&failure, output), |()| exit::OK)
}

/// Says why there is no answer.
pub(super) fn report(failure: &Failure, output: &mut Output) -> u8 {
    output.error(&failure.message);
    failure.code
}
