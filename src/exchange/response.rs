//! The response: its head, then its body, masked and recorded as it comes.

use super::{Cause, Exchange, Side, Stage, Step, Steps, plan::Recording};
use crate::{
    audit::Direction,
    buffer::Segments,
    http::{Framing, Headers, ResponseHead, rules},
    inspect::{self, Inspector, dialect::Dialect},
    protocol::{self, Code},
    time::Now,
};
use std::borrow::Cow;

/// Validators and digests of a body that is not the one they were made for (SECURITY R25).
const STALE_AFTER_MASKS: [&str; 6] =
    ["etag", "content-md5", "digest", "content-digest", "repr-digest", "accept-ranges"];

impl Exchange {
    /// Informational responses are passed on, but for 100: the gateway gave its own (SECURITY R8).
    pub(super) fn inform(&mut self, mut head: Box<ResponseHead>, steps: &mut Steps) {
        let is_open = matches!(self.stage, Stage::Open) && !self.ending.responded;
        if is_open && head.status != 100 && rules::strip_response(&mut head.headers).is_ok() {
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
        if let Err(rejection) = rules::strip_response(&mut head.headers) {
            let cause = Cause::Malformed { reason: rejection.reason(), status: 502 };
            return self.gone(now, Side::Upstream, cause, steps);
        }
        if let Err(detail) = self.inspect_response(&mut head) {
            steps.push(Step::Abort(Side::Upstream));
            return self.refuse(Code::ResponseUnmaskable, detail, steps);
        }
        self.gathered.release();
        self.is_event_stream = takes_events(&head);
        data.join_tiny(&mut self.response.tally);
        self.keep_received(&data);
        let data = match self.response.push(data, end) {
            Ok(data) => data,
            Err(error) => {
                steps.push(Step::Abort(Side::Upstream));
                return self.refuse(Code::ResponseUnmaskable, error.reason().to_owned(), steps);
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
        data.join_tiny(&mut self.response.tally);
        self.keep_received(&data);
        match self.response.push(data, end) {
            Ok(data) => {
                self.note_response(now, &data, steps);
                if !data.is_empty() || end {
                    steps.push(Step::Send { data, end });
                }
            }
            Err(error) => {
                steps.push(Step::Abort(Side::Upstream));
                self.break_off(now, Code::ResponseUnmaskable, error.reason(), steps);
            }
        }
    }

    /// Prepares the masks of this response, or says why it cannot be masked and so cannot be sent.
    fn inspect_response(&mut self, head: &mut ResponseHead) -> Result<(), String> {
        let Some(masks) = self.route.as_ref().and_then(|route| route.response_masks.clone()) else {
            return Ok(());
        };
        let keeps_length = masks.keeps_length(inspect::Direction::Response);
        STALE_AFTER_MASKS.iter().for_each(|name| {
            head.headers.remove(name);
        });
        if head.framing == Framing::None {
            // What HEAD and 304 say of a body is said of the one that was not masked.
            head.declared_length = head.declared_length.filter(|_| keeps_length);
            return Ok(());
        }
        if head.status == 206 {
            return Err("upstream sent a part of a document (206), which cannot be masked".to_owned());
        }
        if let Some(coding) = content_coding(&head.headers) {
            return Err(format!("upstream sent content-encoding {coding:?} although it was asked for none"));
        }
        let content_type = content_type(&head.headers)?;
        let Some(context) = inspect::Context::of(content_type, self.dialect()) else {
            return Err(format!("a body of type {:?} cannot be masked", content_type.unwrap_or("")));
        };
        if !keeps_length {
            head.framing = Framing::Chunked;
        }
        let inspector = Inspector::new(masks, inspect::Direction::Response, context);
        self.response.inspect_with(inspector.with_tokens(self.tokens()));
        Ok(())
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
        let received = is_inspected.then(|| self.response.unrecorded.take(data, held)).flatten();
        if !data.is_empty() || received.is_some() {
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
        self.facts.target.split('?').next().unwrap_or_default()
    }

    /// How the upstream streams its values, by the path that its API knows.
    pub(super) fn dialect(&self) -> &'static Dialect {
        let path = self.route.as_ref().map(|route| route.stripped(self.path()));
        protocol::dialect(self.protocol(), &path.unwrap_or_default())
    }
}

/// Whether an event of the gateway's own may be put behind what upstream sends.
fn takes_events(head: &ResponseHead) -> bool {
    let content_type = head.headers.get_str("content-type").unwrap_or_default();
    content_type.trim_start().starts_with("text/event-stream")
        && content_coding(&head.headers).is_none()
        && matches!(head.framing, Framing::Chunked | Framing::Close)
}

/// The first content coding that is not `identity`, of all fields.
pub(super) fn content_coding(headers: &Headers) -> Option<Cow<'_, str>> {
    let mut codings = headers.get_all("content-encoding");
    let coding = codings.find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(b"identity"))?;
    Some(String::from_utf8_lossy(coding))
}

/// The one content type, if there is one.
///
/// # Errors
/// Two readers could take the body for different things; its sender is at fault.
pub(super) fn content_type(headers: &Headers) -> Result<Option<&str>, String> {
    let mut types = headers.get_all("content-type");
    match (types.next(), types.next()) {
        (None, _) => Ok(None),
        (Some(_), None) => {
            headers.get_str("content-type").map(Some).ok_or("its content-type is not text".to_owned())
        }
        (Some(_), Some(_)) => Err("it has several content-types".to_owned()),
    }
}
