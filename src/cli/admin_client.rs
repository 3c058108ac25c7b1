//! Talks to the admin interface of a running gateway: over its unix socket, or over https with a token.

use super::{ConfigFile, exit, output::Output};
use crate::config::{self, Host};
use clap::Args;
use serde::Serialize;
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
    #[arg(long, value_name = "WHERE", env = "RINGWARD_ADMIN")]
    admin: Option<String>,
    /// File with the token for an https URL
    #[arg(long, value_name = "FILE", env = "RINGWARD_ADMIN_TOKEN_FILE")]
    admin_token_file: Option<PathBuf>,
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

    /// Where the interface is.
    fn place(&self) -> Result<Place, Failure> {
        let usage = |message: String| Failure { message, code: exit::USAGE };
        match self.admin.as_deref() {
            None => Ok(Place::Socket(self.configured_socket())),
            Some(text) => match (text.strip_prefix("unix:"), text.starts_with("https://")) {
                (Some(path), _) if !path.is_empty() => Ok(Place::Socket(path.into())),
                (None, true) => Ok(Place::Url(text.trim_end_matches('/').to_owned())),
                (None, false)
                    if text.starts_with("http://127.0.0.1:") || text.starts_with("http://[::1]:") =>
                {
                    Ok(Place::Url(text.trim_end_matches('/').to_owned()))
                }
                _ => Err(usage(format!("`{text}` is neither unix:PATH nor an https URL"))),
            },
        }
    }

    /// The socket of the configuration, if that can be read, else the default.
    fn configured_socket(&self) -> PathBuf {
        let host = Host::of_process();
        let path = self.file.path();
        if path.as_os_str() == "-" {
            return host.admin_socket();
        }
        let text = config::Text::read_alone(&path).ok();
        let loaded = text.as_ref().and_then(|text| config::load(text).ok());
        match (text, loaded.and_then(|loaded| loaded.document.admin.socket)) {
            (Some(text), Some(socket)) => text.base.join(socket),
            _ => host.admin_socket(),
        }
    }

    /// Asks, and gives back what came, whatever its status.
    ///
    /// # Errors
    /// No gateway answers, or the target makes no sense.
    pub(super) async fn ask(&self, method: reqwest::Method, path: &str) -> Result<Answer, Failure> {
        self.answered(method, path, None).await
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
        let status = answer.status().as_u16();
        let failed = |error: reqwest::Error| unreachable(format!("{place}: {}", cause(&error)));
        let body = answer.text().await.map_err(failed)?;
        Ok(Answer { status, body })
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
        let mut builder = bounds(reqwest::Client::builder())
            .connect_timeout(TIMEOUT)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("ringward/", env!("CARGO_PKG_VERSION")));
        let base = match &place {
            Place::Socket(socket) => {
                builder = builder.unix_socket(socket.clone());
                "http://localhost".to_owned()
            }
            Place::Url(url) => url.clone(),
        };
        let client = builder.build().map_err(|error| unreachable(error.to_string()))?;
        let mut request = client.request(method, format!("{base}{path}"));
        if let Some(body) = body {
            request = request.json(body);
        }
        if let (Place::Url(_), Some(token)) = (&place, self.token()?) {
            request = request.bearer_auth(token.trim());
        }
        match request.send().await {
            Ok(answer) => Ok((place, answer)),
            Err(error) => Err(unreachable(format!("no gateway answers at {place}: {}", cause(&error)))),
        }
    }

    fn token(&self) -> Result<Option<Zeroizing<String>>, Failure> {
        let Some(file) = &self.admin_token_file else { return Ok(None) };
        let token = std::fs::read_to_string(file);
        let token = token.map_err(|error| Failure {
            message: format!("cannot read {}: {error}", file.display()),
            code: exit::FAILED,
        })?;
        Ok(Some(Zeroizing::new(token)))
    }
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
