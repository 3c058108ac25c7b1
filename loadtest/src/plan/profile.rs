//! What a request and its answer are: of a model's API, streamed or whole, or anything.

use crate::wire::Dialect;
use bytes::Bytes;

/// `--profile`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Anthropic Messages, streamed: time to the first token and between tokens
    AnthropicSse,
    /// Anthropic Messages, answered whole
    AnthropicJson,
    /// OpenAI chat completions, streamed
    OpenaiSse,
    /// Anything: nothing is added, and bodies are only counted
    #[default]
    Raw,
    /// Of a recording: events are looked at where the answer is a stream.
    #[value(skip)]
    #[serde(skip)]
    RecordedAnthropic,
    /// As [`Profile::RecordedAnthropic`].
    #[value(skip)]
    #[serde(skip)]
    RecordedOpenai,
}

impl Profile {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Profile::AnthropicSse => "anthropic-sse",
            Profile::AnthropicJson => "anthropic-json",
            Profile::OpenaiSse => "openai-sse",
            Profile::Raw => "raw",
            Profile::RecordedAnthropic | Profile::RecordedOpenai => "recorded",
        }
    }

    /// The path where the URL has none.
    pub(super) fn path(self) -> &'static str {
        match self {
            Profile::AnthropicSse | Profile::AnthropicJson | Profile::RecordedAnthropic => "/v1/messages",
            Profile::OpenaiSse | Profile::RecordedOpenai => "/v1/chat/completions",
            Profile::Raw => "/",
        }
    }

    /// The path and query that a request goes to: those of the URL, which for a model's API may be the base
    /// address that its SDKs take.
    pub(super) fn target(self, path: &str) -> String {
        let own = self.path();
        let (base, end) = (path.trim_end_matches('/'), own.trim_start_matches("/v1"));
        if self == Profile::Raw || path.split('?').next().is_some_and(|path| path.ends_with(end)) {
            return path.to_owned();
        }
        if base.ends_with("/v1") { format!("{base}{end}") } else { format!("{base}{own}") }
    }

    pub(super) fn fields(self) -> &'static [(&'static str, &'static str)] {
        const JSON: (&str, &str) = ("content-type", "application/json");
        const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");
        match self {
            Profile::AnthropicSse | Profile::AnthropicJson => &[JSON, VERSION],
            Profile::OpenaiSse => &[JSON],
            _ => &[],
        }
    }

    /// The body where none is given.
    pub(super) fn body(self) -> Bytes {
        let text = match self {
            Profile::AnthropicSse => concat!(
                r#"{"model":"claude-sonnet-4-5","max_tokens":256,"stream":true,"#,
                r#""messages":[{"role":"user","content":"Say something about gateways."}]}"#
            ),
            Profile::AnthropicJson => concat!(
                r#"{"model":"claude-sonnet-4-5","max_tokens":256,"#,
                r#""messages":[{"role":"user","content":"Say something about gateways."}]}"#
            ),
            Profile::OpenaiSse => concat!(
                r#"{"model":"gpt-5","stream":true,"#,
                r#""messages":[{"role":"user","content":"Say something about gateways."}]}"#
            ),
            _ => "",
        };
        Bytes::from_static(text.as_bytes())
    }

    /// Whose events the answer holds, if it is looked at.
    pub fn dialect(self) -> Option<Dialect> {
        match self {
            Profile::AnthropicSse | Profile::RecordedAnthropic => Some(Dialect::Anthropic),
            Profile::OpenaiSse | Profile::RecordedOpenai => Some(Dialect::OpenAi),
            _ => None,
        }
    }

    /// Whether an answer that is no stream is a fault.
    pub fn needs_stream(self) -> bool {
        matches!(self, Profile::AnthropicSse | Profile::OpenaiSse)
    }

    /// Of a recorded request.
    pub(super) fn of_path(path: &str) -> Profile {
        let path = path.split('?').next().unwrap_or_default();
        if path.ends_with("/messages") {
            Profile::RecordedAnthropic
        } else if path.ends_with("/chat/completions") {
            Profile::RecordedOpenai
        } else {
            Profile::Raw
        }
    }
}
