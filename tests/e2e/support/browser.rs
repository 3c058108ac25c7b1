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
}

const REDIRECTS_MAX: usize = 10;

impl Browser {
    pub fn new() -> Browser {
        Browser::default()
    }

    /// One request, without following anything.
    pub fn send(&mut self, method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> Response {
        let (host, path) = split(url);
        let own = self.cookies.iter().filter(|((of, _), _)| *of == host);
        let cookies: Vec<_> = own.map(|((_, name), value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut all = vec![("cookie", cookies.as_str())];
        all.retain(|(_, value)| !value.is_empty());
        all.extend(headers);
        let reply = ask_at(&host, method, &path, &all, body);
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
            Some(form) => self.send(method, url, &kind, form),
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

/// One request with the host that belongs to it.
fn ask_at(host: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    let mut client = super::http::Client::connect(host);
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    client.send(head + "\r\n" + body);
    client.response(method == "HEAD").expect("an answer")
}

fn split(url: &str) -> (String, String) {
    let rest = url.strip_prefix("http://").unwrap_or_else(|| panic!("not clear text: {url}"));
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (host.to_owned(), format!("/{path}"))
}

fn absolute(target: &str, base: &str) -> String {
    reqwest::Url::parse(base).unwrap().join(target).unwrap().to_string()
}

/// An attribute of a tag, decoded.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let value = tag.split(&format!("{name}=\"")).nth(1)?.split('"').next()?;
    Some(value.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
}
