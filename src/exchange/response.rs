//! The response: its head, then its body, masked and recorded as it comes.

use super::{Cause, Exchange, Side, Stage, Step, Steps, flow, plan::Recording};
use crate::{
    audit::Direction,
    buffer::Segments,
    http::{Framing, Headers, ResponseHead, rules},
    inspect::{
        self, Inspector,
        dialect::Dialect,
        echo::{Echo, Scrub},
        encoding::{Coding, Decoder},
    },
    protocol::{self, Code},
    time::Now,
};
use std::sync::Arc;

/// Validators and digests of a body that is not the one they were made for (SECURITY R25).
const STALE_AFTER_MASKS: [&str; 5] = ["etag", "content-md5", "digest", "content-digest", "repr-digest"];

/// What is only true of a body in its coding (RFC 9530 sections 2 and 3).
const STALE_AFTER_DECODING: [&str; 4] = ["content-md5", "digest", "content-digest", "repr-digest"];

/// Fields of a response that may hold text of its content.
const TEXTS: [&str; 7] = [
    "content-disposition",
    "content-location",
    "link",
    "location",
    "refresh",
    "set-cookie",
    "www-authenticate",
];

impl Exchange {
    /// Informational responses are passed on, but for 100: the gateway gave its own (SECURITY R8).
    pub(super) fn inform(&mut self, mut head: Box<ResponseHead>, steps: &mut Steps) {
        let is_open = matches!(self.stage, Stage::Open) && !self.ending.responded;
        if is_open && head.status != 100 && rules::strip_response(&mut head.headers).is_ok() {
            self.mask_fields(&mut head.headers);
            steps.push(Step::Inform(head));
        }
    }

    pub(super) fn respond(
        &mut self,
        now: Now,
        mut head: Box<ResponseHead>,
        mut data: Segments,
        end: bool,
        steps: &mut Steps,
    ) {
        if !matches!(self.stage, Stage::Open) || self.ending.responded {
            return;
        }
        if self.stop(now, steps) {
            return;
        }
        if let Err(rejection) = rules::strip_response(&mut head.headers) {
            let cause = Cause::Malformed { reason: rejection.reason(), status: 502 };
            return self.gone(now, Side::Upstream, cause, steps);
        }
        self.mask_fields(&mut head.headers);
        if let Err(detail) = self.inspect_response(&mut head) {
            steps.push(Step::Abort(Side::Upstream));
            return self.refuse(Code::ResponseUnmaskable, detail, steps);
        }
        self.gathered.release();
        self.is_event_stream = takes_events(&head);
        data.join_tiny(&mut self.response.tally);
        self.keep_received(&data);
        let (data, end) = match self.pass(data, end) {
            Ok(passed) => passed,
            Err(error) => {
                steps.push(Step::Abort(Side::Upstream));
                return self.refuse(Code::ResponseUnmaskable, error.to_string(), steps);
            }
        };
        if end && self.response.is_inspected() {
            head.framing = Framing::Length(data.len_bytes() as u64);
        }
        self.keep_response_headers(&head.headers);
        // Upstream's own was stripped with the others of that prefix.
        rules::name_exchange(&mut head.headers, &self.caller.id.to_ascii());
        self.ending.status = Some(head.status);
        self.ending.responded = true;
        self.note_response(now, &data, steps);
        steps.push(Step::Respond { head, data, end });
    }

    pub(super) fn response_body(&mut self, now: Now, mut data: Segments, end: bool, steps: &mut Steps) {
        if !matches!(self.stage, Stage::Open) || !self.ending.responded {
            return;
        }
        if self.stop(now, steps) {
            return;
        }
        data.join_tiny(&mut self.response.tally);
        self.keep_received(&data);
        match self.pass(data, end) {
            Ok((data, end)) => {
                self.note_response(now, &data, steps);
                if !data.is_empty() || end {
                    steps.push(Step::Send { data, end });
                }
            }
            Err(error) => {
                steps.push(Step::Abort(Side::Upstream));
                self.break_off(now, Code::ResponseUnmaskable, &error.to_string(), steps);
            }
        }
    }

    /// What may go to the caller of what came, and whether the body ends with that.
    fn pass(&mut self, data: Segments, end: bool) -> Result<(Segments, bool), flow::Error> {
        let (data, end) = self.response.decode(data, end)?;
        Ok((self.response.push(data, end)?, end))
    }

    /// Prepares the masks of this response, or says why it cannot be masked and so cannot be sent.
    fn inspect_response(&mut self, head: &mut ResponseHead) -> Result<(), String> {
        let masks = self.route.as_ref().and_then(|route| route.response_masks.clone());
        if masks.is_none() && self.echoes.is_empty() {
            return Ok(());
        }
        let keeps_length =
            masks.as_ref().is_none_or(|masks| masks.keeps_length(inspect::Direction::Response));
        if masks.is_some() {
            STALE_AFTER_MASKS.iter().for_each(|name| {
                head.headers.remove(name);
            });
        }
        head.headers.remove("accept-ranges");
        if head.framing == Framing::None {
            // What HEAD and 304 say of a body is said of the one that was neither decoded nor masked.
            let is_coded = matches!(coding(&head.headers), Ok(Some(_)));
            if is_coded {
                strip_coding(&mut head.headers);
            }
            head.declared_length = head.declared_length.filter(|_| keeps_length && !is_coded);
            return Ok(());
        }
        if head.status == 206 {
            return Err("upstream sent a part of a document (206), which cannot be masked".to_owned());
        }
        let is_decoded = self.decode_response(head)?;
        if let Some(masks) = masks {
            let content_type = content_type(&head.headers)?;
            let Some(context) = inspect::Context::of(content_type, self.dialect()) else {
                return Err(format!("a body of type {:?} cannot be masked", content_type.unwrap_or("")));
            };
            let inspector = Inspector::new(masks, inspect::Direction::Response, context);
            let inspector = self.prepared(inspector);
            self.response.inspect_with(inspector);
        }
        let is_empty = head.framing == Framing::Length(0);
        if (is_decoded || !keeps_length) && !is_empty {
            head.framing = Framing::Chunked;
        }
        for echo in &self.echoes {
            self.response.scrub_with(Scrub::new(echo.clone()));
        }
        Ok(())
    }

    /// Takes the content coding off the head, and prepares to take it off the body.
    fn decode_response(&mut self, head: &mut ResponseHead) -> Result<bool, String> {
        let coding = coding(&head.headers)
            .map_err(|codings| format!("upstream sent content-encoding {codings:?}, which is not decoded"))?;
        let Some(coding) = coding else { return Ok(false) };
        strip_coding(&mut head.headers);
        self.response.decode_with(Decoder::new(coding));
        Ok(true)
    }

    /// Takes credentials and what masks find out of the fields. What an upstream gives to whoever holds the
    /// injected credential (sessions, tokens) is for the gateway alone (SECURITY R19).
    fn mask_fields(&self, headers: &mut Headers) {
        if !self.echoes.is_empty() {
            rules::strip_credentials(headers);
            headers.remove("set-cookie");
            headers.remove("set-cookie2");
            headers.rewrite(|_, value| scrub(&self.echoes, value));
        }
        if let Some(masks) = self.route.as_ref().and_then(|route| route.response_masks.as_ref()) {
            headers.rewrite(|name, value| {
                let is_text = TEXTS.iter().any(|text| name.eq_ignore_ascii_case(text));
                is_text.then(|| inspect::mask_value(masks, inspect::Direction::Response, value)).flatten()
            });
        }
    }

    /// Keeps what masks may change until it is recorded.
    fn keep_received(&mut self, data: &Segments) {
        if self.response.is_inspected() && self.recording() != Recording::Off {
            self.response.unrecorded.push(data);
        }
    }

    /// Records what the caller gets, and commits to what upstream sent where a mask came between.
    fn note_response(&mut self, now: Now, data: &Segments, steps: &mut Steps) {
        if self.recording() == Recording::Off {
            self.response.take_edits();
            return;
        }
        let is_inspected = self.response.is_inspected();
        let held = self.response.held_bytes();
        let recorded = self.response.recorded_of(data).clone();
        let received = is_inspected.then(|| self.response.unrecorded.take(&recorded, held)).flatten();
        if !recorded.is_empty() || received.is_some() {
            steps.push(Step::Note(self.content(now, Direction::Response, data, received)));
        }
    }

    /// Commits to what upstream sent and no caller got: the response was cut off.
    pub(super) fn note_rest(&mut self, now: Now, steps: &mut Steps) {
        let is_admitted = self.ending.intent && self.recording() != Recording::Off;
        if let Some(rest) = self.response.unrecorded.take_rest().filter(|_| is_admitted) {
            steps.push(Step::Note(self.content(now, Direction::Response, &Segments::new(), Some(rest))));
        }
    }

    /// Canonical path, as the caller named it.
    pub(super) fn path(&self) -> &str {
        let end = self.facts.target.bytes().position(|byte| byte == b'?');
        &self.facts.target[..end.unwrap_or(self.facts.target.len())]
    }

    /// How the upstream streams its values, by the path that its API knows.
    pub(super) fn dialect(&self) -> &'static Dialect {
        let path = self.route.as_ref().map(|route| route.stripped(self.path()));
        protocol::dialect(self.protocol(), &path.unwrap_or_default())
    }
}

/// Whether an event of the gateway's own may be put behind what upstream sends.
fn takes_events(head: &ResponseHead) -> bool {
    let is_text_of_events = || {
        let content_type = head.headers.get_str("content-type").unwrap_or_default();
        content_type.trim_start().starts_with("text/event-stream")
    };
    matches!(head.framing, Framing::Chunked | Framing::Close)
        && is_text_of_events()
        && coding(&head.headers) == Ok(None)
}

/// `value` without echoes; `None` if it has none.
fn scrub(echoes: &[Arc<Echo>], value: &[u8]) -> Option<Vec<u8>> {
    echoes.iter().fold(None, |scrubbed: Option<Vec<u8>>, echo| {
        echo.scrub(scrubbed.as_deref().unwrap_or(value)).or(scrubbed)
    })
}

/// The content coding of a response.
fn coding(headers: &Headers) -> Result<Option<Coding>, String> {
    Coding::of(headers.get_all("content-encoding"))
}

/// Says of a body in a content coding what is true of it without.
fn strip_coding(headers: &mut Headers) {
    headers.remove("content-encoding");
    STALE_AFTER_DECODING.iter().for_each(|name| {
        headers.remove(name);
    });
    weaken_etag(headers);
}

/// What is decoded has the meaning of what was encoded, but not its bytes (RFC 9110 section 8.8.1).
fn weaken_etag(headers: &mut Headers) {
    headers.rewrite(|name, value| {
        let is_strong = name.eq_ignore_ascii_case("etag") && !value.starts_with(b"W/");
        is_strong.then(|| [b"W/", value].concat())
    });
}

/// The one content type, if there is one.
///
/// # Errors
/// Two readers could take the body for different things; its sender is at fault.
pub(super) fn content_type(headers: &Headers) -> Result<Option<&str>, String> {
    let mut types = headers.get_all("content-type");
    match (types.next(), types.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            std::str::from_utf8(value).map(Some).map_err(|_| "its content-type is not text".to_owned())
        }
        (Some(_), Some(_)) => Err("it has several content-types".to_owned()),
    }
}
