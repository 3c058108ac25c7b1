//! `ringward login` and `ringward logout`: with a browser on this computer (RFC 8252), or on another device.

use super::{
    admin_client::{Answer, Failure, Target, exit_code},
    audit_proof::detail,
    block_on, exit, inert,
    kept_login::{self, Kept},
    output::Output,
    sessions::lines::clock,
};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use clap::Args;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use std::{net::Ipv4Addr, process::Stdio, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// How long somebody may take in the browser.
const PATIENCE: Duration = Duration::from_secs(600);
/// A browser sends the head of its request within this time and size.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
const HEAD_BYTES_MAX: usize = 16 << 10;

/// Log in to the admin interface of a gateway, for the commands with --url
///
/// Opens your browser, where you log in as the gateway wants it and let the command line in. What it gets is
/// kept for this user alone, until it ends or you log out.
#[derive(Debug, Args)]
pub(super) struct Login {
    /// Log in on another device: shows a code to enter there
    #[arg(long)]
    device: bool,
    /// Print the address only, and open no browser
    #[arg(long, conflicts_with = "device")]
    no_browser: bool,
    #[command(flatten)]
    target: Target,
}

/// End the login at a gateway, there and here
#[derive(Debug, Args)]
pub(super) struct Logout {
    /// Only say which login would end
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

/// The session that the gateway has opened.
#[derive(Deserialize)]
struct Opened {
    token: String,
    principal: String,
    name: String,
    ends: String,
}

impl Login {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let result = block_on(async {
            let url = self.target.url()?;
            let opened = match self.device {
                true => on_device(&self.target, output).await?,
                false => in_browser(&self.target, &url, self.no_browser, output).await?,
            };
            let (name, ends) = (inert::line(&opened.name), clock(&opened.ends));
            let principal = inert::line(&opened.principal);
            let Opened { token, principal: recorded, ends: until, .. } = opened;
            let kept = Kept { token, principal: recorded, ends: until, ca: self.target.ca()? };
            kept_login::keep(&url, Some(kept)).map_err(failed)?;
            output.result(&format!("logged in to {url} as {name} ({principal}) until {ends}\n"));
            Ok(())
        });
        exit_code(result, output)
    }
}

impl Logout {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let result = block_on(async {
            let url = self.target.url()?;
            let Some(kept) = kept_login::find(&url).map_err(failed)? else {
                return Err(failed(format!("you are not logged in to {url}")));
            };
            if self.dry_run {
                let (who, ends) = (inert::line(&kept.principal), clock(&kept.ends));
                output.result(&format!(
                    "{who} would be logged out of {url}, not at {ends}; nothing was done\n"
                ));
                return Ok(());
            }
            let ended = self.target.ask_with(Method::POST, "/auth/logout", &json!({})).await;
            // Here it ends in any case.
            kept_login::keep(&url, None).map_err(failed)?;
            match ended {
                Ok(Answer { status: 200 | 401 | 404, .. }) => {
                    output.result(&format!("logged out of {url}\n"));
                    Ok(())
                }
                Ok(answer) => Err(refused(&answer)),
                Err(failure) => {
                    let message =
                        format!("{}; the login is forgotten here and ends there by itself", failure.message);
                    Err(Failure { message, code: failure.code })
                }
            }
        });
        exit_code(result, output)
    }
}

fn failed(message: impl Into<String>) -> Failure {
    Failure { message: message.into(), code: exit::FAILED }
}

fn refused(answer: &Answer) -> Failure {
    match answer.status {
        404 => failed("nobody logs in there with a browser: the gateway has no [admin.login]"),
        _ => failed(format!("the gateway refuses the login: {}", detail(&answer.body))),
    }
}

fn opened(answer: &Answer) -> Result<Opened, Failure> {
    match answer.status {
        200 => serde_json::from_str(&answer.body).map_err(|_| super::approvals::other_version()),
        _ => Err(refused(answer)),
    }
}

/// What only this process knows, until it has it back.
struct Begun {
    state: String,
    /// RFC 7636 section 4.1.
    verifier: String,
}

impl Begun {
    fn new() -> Result<Begun, Failure> {
        let random = || {
            let mut bytes = [0; 32];
            let filled = aws_lc_rs::rand::fill(&mut bytes);
            filled
                .map(|()| URL_SAFE_NO_PAD.encode(bytes))
                .map_err(|_| failed("the system gives no random bytes"))
        };
        Ok(Begun { state: random()?, verifier: random()? })
    }

    fn challenge(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, self.verifier.as_bytes()))
    }

    /// The code in the first line of a request, if it is the answer to this login.
    fn code(&self, head: &str) -> Option<String> {
        let target = head.lines().next()?.strip_prefix("GET ")?.split(' ').next()?;
        let url = reqwest::Url::parse(&format!("http://127.0.0.1{target}")).ok()?;
        let find = |name: &str| {
            let mut values = url.query_pairs().filter(|(own, _)| own == name).map(|(_, value)| value);
            let value = values.next()?.into_owned();
            values.next().is_none().then_some(value)
        };
        (url.path() == "/" && find("state")? == self.state).then(|| find("code"))?
    }
}

async fn in_browser(
    target: &Target,
    url: &str,
    no_browser: bool,
    output: &mut Output,
) -> Result<Opened, Failure> {
    // Whoever is not there, or has no login, is named before a browser shows it.
    let there = target.ask_unknown(Method::GET, "/api/v1/me").await?;
    if there.status != 401 {
        return Err(refused(&there));
    }
    let begun = Begun::new()?;
    let unheard = |error: std::io::Error| failed(format!("cannot listen for the browser: {error}"));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(unheard)?;
    let port = listener.local_addr().map_err(unheard)?.port();
    let (state, challenge) = (&begun.state, begun.challenge());
    let page = format!("{url}/auth/cli?port={port}&state={state}&code_challenge={challenge}");
    let is_open = !no_browser && open(&page);
    let hint = if is_open { "Your browser shows this page" } else { "Open this page in your browser" };
    output.result(&format!("{hint}:\n\n  {page}\n\n"));
    let answered = timeout(PATIENCE, heard(&listener, &begun, target)).await;
    answered.map_err(|_| failed("nobody has logged in within 10 minutes: begin again"))?
}

fn open(page: &str) -> bool {
    let mut browser = std::process::Command::new("xdg-open");
    browser.arg(page).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    browser.spawn().is_ok()
}

/// Waits for the browser to bring the code of this login; whatever else knocks is sent away.
async fn heard(listener: &TcpListener, begun: &Begun, target: &Target) -> Result<Opened, Failure> {
    loop {
        // A connection that is gone already is none of ours.
        let Ok((mut stream, _)) = listener.accept().await else { continue };
        let head = timeout(HEAD_TIMEOUT, head(&mut stream)).await.unwrap_or_default();
        let Some(code) = begun.code(&head) else {
            say(&mut stream, "404 Not Found", "This is not the answer to a login.").await;
            continue;
        };
        let body = json!({ "code": code, "code_verifier": begun.verifier });
        let opened = match target.ask_with(Method::POST, "/auth/token", &body).await {
            Ok(answer) => opened(&answer),
            Err(failure) => Err(failure),
        };
        let text = match &opened {
            Ok(_) => "You are logged in. You can close this page.",
            Err(_) => "That did not work: the command line says why.",
        };
        say(&mut stream, "200 OK", text).await;
        return opened;
    }
}

/// The head of a request, or what came of it.
async fn head(stream: &mut TcpStream) -> String {
    let (mut bytes, mut piece) = (Vec::new(), [0; 2048]);
    while !bytes.windows(4).any(|four| four == b"\r\n\r\n") && bytes.len() < HEAD_BYTES_MAX {
        match stream.read(&mut piece).await {
            Ok(count @ 1..) => bytes.extend_from_slice(&piece[..count]),
            _ => break,
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

async fn say(stream: &mut TcpStream, status: &str, text: &str) {
    let page = format!("<!doctype html>\n<meta charset=\"utf-8\">\n<title>ringward</title>\n<p>{text}</p>\n");
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {}\r\n\
         content-security-policy: default-src 'none'\r\nreferrer-policy: no-referrer\r\n\
         cache-control: no-store\r\nconnection: close\r\n\r\n{page}",
        page.len()
    );
    // A browser that has gone needs no answer.
    let _ = stream.write_all(answer.as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// What a person enters on the other device.
#[derive(Deserialize)]
struct Device {
    handle: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    interval_s: u64,
    expires_s: u64,
}

#[derive(Deserialize)]
struct Pending {
    interval_s: u64,
}

async fn on_device(target: &Target, output: &mut Output) -> Result<Opened, Failure> {
    let answer = target.ask_with(Method::POST, "/auth/device", &json!({})).await?;
    if answer.status != 200 {
        return Err(refused(&answer));
    }
    let device: Device = serde_json::from_str(&answer.body).map_err(|_| super::approvals::other_version())?;
    let (code, page) = (inert::line(&device.user_code), inert::line(&device.verification_uri));
    let whole = device.verification_uri_complete.as_deref().map(inert::line);
    let or = whole.map(|whole| format!("\nor open {whole}")).unwrap_or_default();
    output.result(&format!("On any device open {page} and enter {code}{or}\n"));
    let handle = json!({ "handle": device.handle });
    let asking = async {
        let mut interval_s = device.interval_s;
        loop {
            tokio::time::sleep(Duration::from_secs(interval_s.clamp(1, 60))).await;
            let answer = target.ask_with(Method::POST, "/auth/device/token", &handle).await?;
            match answer.status {
                202 => {
                    let pending: Result<Pending, _> = serde_json::from_str(&answer.body);
                    interval_s = pending.map_or(interval_s, |pending| pending.interval_s);
                }
                _ => return opened(&answer),
            }
        }
    };
    let asked = timeout(Duration::from_secs(device.expires_s), asking).await;
    asked.map_err(|_| failed("nobody has entered the code in time: begin again"))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_answer_to_this_login_is_taken() {
        let begun = Begun { state: "st".into(), verifier: "v".into() };
        let cases = [
            ("GET /?code=c&state=st HTTP/1.1\r\nhost: x\r\n\r\n", Some("c")),
            ("GET /?state=st&code=c HTTP/1.1\r\n\r\n", Some("c")),
            ("GET /?code=c&state=other HTTP/1.1\r\n\r\n", None),
            ("GET /?code=c HTTP/1.1\r\n\r\n", None),
            ("GET /?code=c&code=d&state=st HTTP/1.1\r\n\r\n", None),
            ("GET /x?code=c&state=st HTTP/1.1\r\n\r\n", None),
            ("POST /?code=c&state=st HTTP/1.1\r\n\r\n", None),
            ("GET /favicon.ico HTTP/1.1\r\n\r\n", None),
            ("\u{0}", None),
            ("", None),
        ];
        for (head, expected) in cases {
            assert_eq!(begun.code(head).as_deref(), expected, "{head:?}");
        }
    }
}
