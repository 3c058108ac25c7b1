//! What a browser does in a login, as far as it matters: cookies for each host, redirects, forms.

use super::http::Response;
use serde_json::Value;
use std::collections::BTreeMap;

/// A browser with its cookies, by host and port, which is stricter than browsers are.
#[derive(Debug, Default)]
pub struct Browser {
    cookies: BTreeMap<(String, String), String>,
    /// Address of the page that is shown.
    at: String,
    /// Authority of servers that are spoken to over TLS.
    ca: Option<Vec<u8>>,
}

const REDIRECTS_MAX: usize = 10;

impl Browser {
    pub fn new() -> Browser {
        Browser::default()
    }

    /// One that trusts this authority (PEM).
    pub fn trusting(ca: Vec<u8>) -> Browser {
        Browser { ca: Some(ca), ..Browser::default() }
    }

    /// One request, without following anything.
    pub fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let host = host_of(url);
        let own = self.cookies.iter().filter(|((of, _), _)| *of == host);
        let cookies: Vec<_> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = vec![("cookie", cookies.as_str())];
        all.retain(|(_, value)| !value.is_empty());
        all.extend(headers);
        let reply = match (url.strip_prefix("http://"), &self.ca) {
            (Some(rest), _) => in_clear_text(&host, method, rest, &all, body),
            (None, Some(ca)) => over_tls(ca, method, url, &all, body),
            (None, None) => panic!("no authority for {url}"),
        };
        for line in reply.head.lines().filter_map(|line| line.split_once(": ")) {
            if !line.0.eq_ignore_ascii_case("set-cookie") {
                continue;
            }
            let (name, value) =
                line.1.split(';').next().and_then(|pair| pair.split_once('=')).expect("a pair");
            let key = (host.clone(), name.to_owned());
            let is_gone =
                line.1.contains("Max-Age=0") || line.1.to_lowercase().contains("expires=thu, 01 jan 1970");
            match is_gone {
                true => drop(self.cookies.remove(&key)),
                false => drop(self.cookies.insert(key, value.to_owned())),
            }
        }
        self.at = url.to_owned();
        reply
    }

    /// A navigation, through all redirects.
    pub fn follow(&mut self, method: &str, url: &str, form: Option<&str>) -> Response {
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let mut reply = match form {
            Some(form) => {
                let origin = reqwest::Url::parse(&self.at).unwrap().origin().ascii_serialization();
                self.send(method, url, &[kind[0], ("origin", &origin)], form)
            }
            None => self.send(method, url, &[], ""),
        };
        for _ in 0..REDIRECTS_MAX {
            let Some(target) = reply.header("location").filter(|_| (300..400).contains(&reply.status)) else {
                return reply;
            };
            let target = absolute(target, &self.at);
            reply = self.send("GET", &target, &[], "");
        }
        panic!("too many redirects to {}", self.at);
    }

    /// Sends the form of the page that is shown, with what a person enters.
    pub fn submit(&mut self, page: &Response, entered: &[(&str, &str)]) -> Response {
        let (action, form) = self.form(page, entered);
        self.follow("POST", &action, Some(&form))
    }

    /// Where a page goes on to by itself.
    pub fn refresh_of(&self, page: &Response) -> String {
        let text = page.text();
        let target = text.split("http-equiv=\"refresh\" content=\"0; url=").nth(1);
        let target = target.unwrap_or_else(|| panic!("no refresh: {text}")).split('"').next().unwrap();
        absolute(&target.replace("&amp;", "&"), &self.at)
    }

    /// Where the form of a page leads, without going there.
    pub fn redirect_of(&mut self, page: &Response, entered: &[(&str, &str)]) -> String {
        let (action, form) = self.form(page, entered);
        let kind = [("content-type", "application/x-www-form-urlencoded")];
        let reply = self.send("POST", &action, &kind, &form);
        reply.header("location").unwrap_or_else(|| panic!("{}", reply.text())).to_owned()
    }

    /// Address and fields of the first form.
    fn form(&self, page: &Response, entered: &[(&str, &str)]) -> (String, String) {
        let text = page.text();
        let form = text.split("<form").nth(1).unwrap_or_else(|| panic!("no form: {text}"));
        let form = form.split("</form>").next().unwrap();
        let action = attribute(form.split('>').next().unwrap(), "action").unwrap_or_default();
        let inputs = form.split("<input").skip(1).filter_map(|tag| tag.split('>').next());
        let hidden = inputs.filter(|tag| attribute(tag, "type").as_deref() == Some("hidden"));
        let hidden = hidden.map(|tag| (attribute(tag, "name").unwrap(), attribute(tag, "value").unwrap()));
        let entered = entered.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let pairs: Vec<_> = hidden.chain(entered).collect();
        let url = reqwest::Url::parse_with_params("http://x/", &pairs).unwrap();
        (absolute(&action, &self.at), url.query().unwrap_or_default().to_owned())
    }

    /// A request of a page of `console` to its own API.
    pub fn api(&mut self, console: &str, method: &str, path: &str, body: Option<&Value>) -> Response {
        let text = body.map(Value::to_string).unwrap_or_default();
        let mut headers = vec![("sec-fetch-site", "same-origin"), ("origin", console)];
        match body {
            Some(_) => headers.push(("content-type", "application/json")),
            None if method != "GET" => headers.push(("content-length", "0")),
            None => {}
        }
        self.send(method, &format!("{console}{path}"), &headers, &text)
    }
}

fn in_clear_text(host: &str, method: &str, rest: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let path = rest.strip_prefix(host).filter(|path| !path.is_empty()).unwrap_or("/");
    let path = path.split('#').next().unwrap_or("/");
    let mut client = super::http::Client::connect(host);
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    client.send(head + "\r\n" + body);
    client.response(method == "HEAD").expect("an answer")
}

fn over_tls(ca: &[u8], method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let client = ringward::background::client::client(Some(ca)).unwrap();
    let mut request = client.request(method.parse().unwrap(), url).body(body.to_owned());
    for (name, value) in headers.iter().filter(|(name, _)| *name != "content-length") {
        request = request.header(*name, *value);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let answer =
            request.timeout(super::DEADLINE).send().await.unwrap_or_else(|error| panic!("{url}: {error:?}"));
        let status = answer.status().as_u16();
        let field = |(name, value): (&reqwest::header::HeaderName, &reqwest::header::HeaderValue)| {
            format!("{name}: {}\r\n", value.to_str().unwrap())
        };
        let fields: String = answer.headers().iter().map(field).collect();
        let head = format!("HTTP/1.1 {status}\r\n{fields}\r\n");
        Response { status, head, body: answer.bytes().await.unwrap().to_vec(), is_whole: true }
    })
}

fn host_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap_or_else(|| panic!("no URL: {url}"));
    rest.split(['/', '?']).next().unwrap_or_default().to_owned()
}

fn absolute(target: &str, base: &str) -> String {
    reqwest::Url::parse(base).unwrap().join(target).unwrap().to_string()
}

/// An attribute of a tag, decoded.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
    Some(value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}
