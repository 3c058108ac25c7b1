//! The gateway that is followed, asked over TLS with the token of an auditor.

use crate::{
    admin::{Consistency, Offers, SEGMENT_NAME, StatedKeys},
    archive::CopyPart,
    audit::{Hash, NOTE_BYTES_MAX, StatedKey},
    background,
    cli::{admin_client::cause, audit_proof::detail},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{StatusCode, header};
use serde::de::DeserializeOwned;
use std::time::Duration;
use zeroize::Zeroizing;

/// How long the source is asked to wait for another head.
const HEAD_WAIT: Duration = Duration::from_secs(20);
/// A source that says nothing for so long is not there; longer than it is asked to wait.
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// An answer that is not a segment.
const ANSWER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nobody answers, or not to the end. That is no evidence.
    Unreachable(String),
    /// It answers that it cannot, or with nonsense.
    Refused(String),
    /// The token opens nothing, or not this.
    Denied(String),
    /// What was asked for is not there, or not yet.
    Missing(String),
    /// It takes records that the source has removed.
    Removed(String),
    /// It lies in segments that the source itself cannot read any more.
    Encrypted,
}

/// An answer about the newest head.
#[derive(Debug)]
pub(super) enum Newest {
    Same,
    /// The note, and what names it in the next question.
    Note {
        note: String,
        tag: String,
    },
}

/// A connection to the source.
pub(super) struct Source {
    http: reqwest::Client,
    base: String,
    token: Zeroizing<String>,
}

type Answered<T> = Result<T, Failure>;

impl Source {
    /// `base` is an https URL; `ca` holds the authorities to trust in PEM, instead of the system's.
    ///
    /// # Errors
    /// What is wrong with `ca`, in words.
    pub(super) fn new(base: &str, token: Zeroizing<String>, ca: Option<&[u8]>) -> Result<Source, String> {
        let builder = background::client::builder(ca).map_err(|error| error.to_string())?;
        let http = builder.read_timeout(READ_TIMEOUT).build().map_err(|error| error.to_string())?;
        Ok(Source { http, base: base.trim_end_matches('/').to_owned(), token })
    }

    pub(super) fn name(&self) -> &str {
        &self.base
    }

    /// The newest head, as soon as it is another one than that of `known`; at once without one.
    pub(super) async fn head(&self, known: Option<&str>) -> Answered<Newest> {
        let wait = if known.is_some() { HEAD_WAIT.as_secs() } else { 0 };
        let mut request = self.get(&format!("/api/v1/audit/head?wait={wait}"));
        if let Some(tag) = known {
            request = request.header(header::IF_NONE_MATCH, tag);
        }
        let answer = self.send(request).await?;
        if answer.status() == StatusCode::NOT_MODIFIED {
            return Ok(Newest::Same);
        }
        let tag = field(&answer, header::ETAG);
        let note = self.body(answer, NOTE_BYTES_MAX + 1).await?;
        let note = String::from_utf8(note).map_err(|_| odd("a head that is no text"))?;
        Ok(Newest::Note { note, tag })
    }

    /// The proof that the first `from` records are the beginning of the first `to`.
    pub(super) async fn consistency(&self, from: u64, to: u64) -> Answered<Vec<Hash>> {
        if from == to {
            return Ok(Vec::new());
        }
        let path = format!("/api/v1/audit/consistency?from={from}&to={to}");
        let found: Consistency = self.json(&path).await?;
        let hash = |text: &String| STANDARD.decode(text).ok()?.try_into().ok();
        let path: Option<Vec<Hash>> = found.proof.iter().map(hash).collect();
        path.ok_or_else(|| odd("a proof that is none"))
    }

    /// The statements of the log's keys.
    pub(super) async fn keys(&self) -> Answered<Vec<StatedKey>> {
        let stated: StatedKeys = self.json("/api/v1/audit/keys").await?;
        let keys = stated.keys.into_iter();
        Ok(keys.map(|key| StatedKey { note: key.statement.into(), since: key.since }).collect())
    }

    /// The sealed segments behind number `after`.
    pub(super) async fn offers(&self, after: u64) -> Answered<Offers> {
        self.json(&format!("/api/v1/audit/segments?after={after}")).await
    }

    /// A segment: all of it, or from byte `offset` of the file that `part` is a part of. Gives what file it
    /// is now, where the bytes begin in it, how many bytes it has, and the answer that they come out of.
    pub(super) async fn segment(
        &self,
        number: u64,
        resume: Option<(&CopyPart, u64)>,
    ) -> Answered<(CopyPart, u64, u64, reqwest::Response)> {
        let mut request = self.get(&format!("/api/v1/audit/segments/{number}"));
        if let Some((part, offset)) = resume {
            request = request.header(header::RANGE, format!("bytes={offset}-"));
            request = request.header(header::IF_RANGE, &part.tag);
        }
        let answer = self.send(request).await?;
        let (name, tag) = (field(&answer, SEGMENT_NAME), field(&answer, header::ETAG));
        let length = answer.content_length().ok_or_else(|| odd("a segment without a length"))?;
        let is_part = answer.status() == StatusCode::PARTIAL_CONTENT;
        let offset = resume.filter(|_| is_part).map_or(0, |(_, offset)| offset);
        Ok((CopyPart { number, name, tag }, offset, offset + length, answer))
    }

    fn get(&self, path: &str) -> reqwest::RequestBuilder {
        self.http.get(format!("{}{path}", self.base)).bearer_auth(&*self.token)
    }

    async fn json<T: DeserializeOwned>(&self, path: &str) -> Answered<T> {
        let answer = self.send(self.get(path)).await?;
        let body = self.body(answer, ANSWER_BYTES_MAX).await?;
        serde_json::from_slice(&body).map_err(|_| odd("an answer that is none of a gateway of this version"))
    }

    async fn body(&self, mut answer: reqwest::Response, most: usize) -> Answered<Vec<u8>> {
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(broken)? {
            body.extend_from_slice(&piece);
            if body.len() > most {
                return Err(odd("an answer that is too long"));
            }
        }
        Ok(body)
    }

    /// An answer that is what was asked for.
    async fn send(&self, request: reqwest::RequestBuilder) -> Answered<reqwest::Response> {
        let answer = request.send().await.map_err(broken)?;
        let status = answer.status();
        if status.is_success() || status == StatusCode::NOT_MODIFIED {
            return Ok(answer);
        }
        let body = self.body(answer, ANSWER_BYTES_MAX).await.unwrap_or_default();
        let said = detail(&String::from_utf8_lossy(&body));
        Err(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Denied(said),
            StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE => Failure::Missing(said),
            StatusCode::GONE => Failure::Removed(said),
            StatusCode::CONFLICT => Failure::Encrypted,
            _ => Failure::Refused(format!("it answers with status {status}: {said}")),
        })
    }
}

/// A header of an answer as text; nothing where it is missing.
fn field(answer: &reqwest::Response, name: header::HeaderName) -> String {
    let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().to_owned()
}

/// The connection broke, or was not made.
pub(super) fn broken(error: reqwest::Error) -> Failure {
    Failure::Unreachable(cause(&error))
}

/// An answer that no gateway gives.
fn odd(what: &str) -> Failure {
    Failure::Refused(format!("it answers with {what}"))
}
