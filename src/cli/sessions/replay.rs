//! `ringward sessions replay`: a session at the pace at which it happened.

use super::{
    lines,
    source::{Go, Place, Purpose},
};
use crate::{
    archive::{Body, Recording, Span},
    cli::{admin_client::Failure, inert, output::Output},
    protocol::{self, Carried, Said, Voice},
};
use clap::Args;
use std::time::Duration;

/// With `--skip-idle` no pause is longer.
const IDLE_MAX: Duration = Duration::from_secs(1);
/// Bytes shown of a body that is no conversation.
const SHOWN_BYTES_MAX: usize = 4 * 1024;
/// What stands in front of every line that came from outside: none of them can pass for one of ours.
const REQUEST: &str = "  > ";
const RESPONSE: &str = "  | ";

/// Play a session as it happened: what was asked and what was answered, at the original pace
///
/// Streams of language models are shown as the text that they carried. Control and direction characters of
/// recorded text are shown as escapes and never reach the terminal.
#[derive(Debug, Args)]
pub(super) struct Replay {
    /// Session (ses_…, or the beginning of it), or one of its requests (req_…)
    id: String,
    /// So many times as fast
    #[arg(long, value_name = "N", default_value_t = 1.0, value_parser = factor)]
    speed: f64,
    /// Shorten pauses to one second
    #[arg(long)]
    skip_idle: bool,
    /// Show messages as they are, with their fields and whole, instead of the conversation in them
    #[arg(long)]
    raw: bool,
    #[command(flatten)]
    place: Place,
}

impl Replay {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let source = self.place.clone().open()?;
        let session = source.session(&self.id).await?;
        let span = Span { session: Some(session.id), ..Span::default() };
        let mut at_us = None;
        let pace = Pace { speed: self.speed, skip_idle: self.skip_idle };
        source
            .recordings(
                &span,
                Purpose::Replay,
                |_| {},
                async |recording| {
                    let player = Player { pace, raw: self.raw, recording: &recording };
                    let is_read = player.play(&mut at_us, output).await;
                    Ok(if is_read { Go::On } else { Go::Stop })
                },
            )
            .await
    }
}

fn factor(text: &str) -> Result<f64, String> {
    let factor = text.parse::<f64>().ok().filter(|factor| factor.is_finite() && *factor > 0.0);
    factor.ok_or_else(|| "expected a number above zero, such as 4 or 0.5".to_owned())
}

/// How fast.
#[derive(Clone, Copy)]
struct Pace {
    speed: f64,
    skip_idle: bool,
}

impl Pace {
    /// How long to wait between two recorded times.
    fn pause(self, from_us: u64, to_us: u64) -> Duration {
        let pause = Duration::from_micros(to_us.saturating_sub(from_us)).div_f64(self.speed.max(1e-6));
        if self.skip_idle { pause.min(IDLE_MAX) } else { pause }
    }
}

/// Plays one exchange.
struct Player<'a> {
    pace: Pace,
    raw: bool,
    recording: &'a Recording,
}

impl Player<'_> {
    /// Plays from `at_us`, the recorded time that was shown last, and moves it. `false`: nobody reads.
    async fn play(&self, at_us: &mut Option<u64>, output: &mut Output) -> bool {
        let exchange = &self.recording.exchange;
        self.wait(at_us, exchange.started_us).await;
        let mut is_read = output.piece(&self.head()) && output.piece(&self.asked());
        is_read = is_read && output.piece(&self.fields(&self.recording.response_headers, RESPONSE));
        let mut screen = Screen::new(RESPONSE);
        let mut answer = Answer::of(&self.recording.response, self.raw);
        for piece in &self.recording.response.pieces {
            let text = answer.push(&piece.content(), &mut screen);
            if text.is_empty() {
                continue;
            }
            self.wait(at_us, exchange.started_us + piece.at_us).await;
            is_read = is_read && output.piece(&text);
            if !is_read {
                return false;
            }
        }
        let ended_us = exchange.started_us + exchange.duration_us.unwrap_or(0);
        self.wait(at_us, ended_us.max(at_us.unwrap_or(0))).await;
        let rest = answer.finish(&self.recording.response, &mut screen) + &screen.end_line();
        is_read && output.piece(&rest) && output.piece(&self.tail())
    }

    async fn wait(&self, at_us: &mut Option<u64>, until_us: u64) {
        let pause = self.pace.pause(at_us.unwrap_or(until_us), until_us);
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        *at_us = Some(until_us.max(at_us.unwrap_or(0)));
    }

    /// When, what, and how it was decided.
    fn head(&self) -> String {
        let exchange = &self.recording.exchange;
        let decision = match (&exchange.decision, &exchange.policy) {
            (Some(decision), Some(policy)) => format!("{decision} ({policy})"),
            (decision, _) => decision.clone().unwrap_or_default(),
        };
        let route = lines::shown(&exchange.route);
        let (method, target) = (exchange.method.as_deref(), exchange.target.as_deref());
        format!(
            "\n{}  {} {}  route {route}  {}  {}\n",
            lines::clock(&exchange.started),
            inert::line(method.unwrap_or("?")),
            inert::line(&self.url(target.unwrap_or("-"))),
            inert::line(&decision),
            exchange.id,
        )
    }

    /// The target, and where it was sent to if messages are shown as they were.
    fn url(&self, target: &str) -> String {
        match &self.recording.scheme {
            Some(scheme) if self.raw => format!("{scheme}://{}{target}", self.recording.authority),
            _ => target.to_owned(),
        }
    }

    /// The request's body.
    fn asked(&self) -> String {
        let body = &self.recording.request;
        let content = body.content();
        let said = if self.raw { Vec::new() } else { protocol::question(&content) };
        let mut screen = Screen::new(REQUEST);
        let fields = self.fields(&self.recording.headers, REQUEST);
        let mut text = if said.is_empty() { screen.bytes(self.cut(&content)) } else { screen.said(&said) };
        text.push_str(&screen.end_line());
        fields + &text + &missing(body, self.hidden(&content, &said), REQUEST)
    }

    /// The fields of a message, one a line, where it is shown as it was.
    fn fields(&self, fields: &[(String, String)], before: &str) -> String {
        let shown = if self.raw { fields } else { &[] };
        let line = |(name, value): &(String, String)| {
            format!("{before}{}: {}\n", inert::line(name), inert::line(value))
        };
        let mut text: String = shown.iter().map(line).collect();
        if !text.is_empty() {
            text.push_str(&format!("{}\n", before.trim_end()));
        }
        text
    }

    /// How it ended.
    fn tail(&self) -> String {
        let exchange = &self.recording.exchange;
        let status = exchange.status.map_or_else(|| "no status".to_owned(), |status| status.to_string());
        let mut parts = vec![status];
        match (exchange.cause.as_deref(), exchange.reason.as_deref().filter(|reason| !reason.is_empty())) {
            (None, _) => parts.push("still runs".to_owned()),
            (Some("complete"), _) => {}
            (Some(cause), Some(reason)) => parts.push(format!("{cause}: {}", inert::line(reason))),
            (Some(cause), None) => parts.push(cause.to_owned()),
        }
        if let Some(folded) = &self.recording.folded {
            parts.push(format!("and {} more since {}", folded.more, lines::clock(&folded.since)));
        }
        parts.extend(exchange.duration_us.map(lines::duration));
        parts.push(lines::size(self.recording.response.bytes));
        let masks = self.recording.masks.iter().map(|(mask, count)| format!("{} {count}", inert::line(mask)));
        let masks = masks.collect::<Vec<_>>().join(", ");
        if !masks.is_empty() {
            parts.push(format!("masked: {masks}"));
        }
        format!("  = {}\n", parts.join("  "))
    }

    fn cut<'b>(&self, content: &'b [u8]) -> &'b [u8] {
        if self.raw { content } else { &content[..content.len().min(SHOWN_BYTES_MAX)] }
    }

    /// Kept bytes that are not shown.
    fn hidden(&self, content: &[u8], said: &[Said]) -> usize {
        if said.is_empty() { content.len() - self.cut(content).len() } else { 0 }
    }
}

/// How a response is shown.
enum Answer {
    /// Events of a language model.
    Stream(Carried, bool),
    /// The bytes as they came.
    Raw,
    /// All of it at the end.
    Whole,
}

impl Answer {
    fn of(body: &Body, raw: bool) -> Answer {
        let first = body.pieces.iter().map(|piece| piece.content()).find(|content| !content.is_empty());
        let starts = |start: &[u8]| first.as_ref().is_some_and(|first| first.starts_with(start));
        let is_stream = [&b"event:"[..], b"data:", b"id:", b"retry:", b":"].into_iter().any(starts);
        match (raw, is_stream) {
            (true, _) => Answer::Raw,
            (false, true) => Answer::Stream(Carried::default(), false),
            (false, false) => Answer::Whole,
        }
    }

    /// What a piece adds to the screen.
    fn push(&mut self, content: &[u8], screen: &mut Screen) -> String {
        match self {
            Answer::Stream(carried, spoke) => {
                let said = carried.push(content);
                *spoke |= !said.is_empty();
                screen.said(&said)
            }
            Answer::Raw => screen.bytes(content),
            Answer::Whole => String::new(),
        }
    }

    /// What the end adds.
    fn finish(&self, body: &Body, screen: &mut Screen) -> String {
        if matches!(self, Answer::Raw | Answer::Stream(_, true)) {
            return screen.end_line() + &missing(body, 0, RESPONSE);
        }
        let content = body.content();
        let said = protocol::answer(&content);
        let shown = &content[..content.len().min(SHOWN_BYTES_MAX)];
        let mut text = if said.is_empty() { screen.bytes(shown) } else { screen.said(&said) };
        text.push_str(&screen.end_line());
        let hidden = if said.is_empty() { content.len() - shown.len() } else { 0 };
        text + &missing(body, hidden, RESPONSE)
    }
}

/// What is not shown of a body, and why.
fn missing(body: &Body, hidden: usize, prefix: &str) -> String {
    if hidden > 0 {
        format!("{prefix}({hidden} more bytes: --raw shows them)\n")
    } else if !body.whole {
        format!("{prefix}(of {} bytes not all were kept)\n", body.bytes)
    } else {
        String::new()
    }
}

/// Lines with a prefix, over any cutting.
struct Screen {
    prefix: &'static str,
    in_line: bool,
    voice: Option<Voice>,
    /// Bytes of a character that is not whole yet.
    rest: Vec<u8>,
}

impl Screen {
    fn new(prefix: &'static str) -> Screen {
        Screen { prefix, in_line: false, voice: None, rest: Vec::new() }
    }

    fn said(&mut self, said: &[Said]) -> String {
        let mut text = String::new();
        for one in said {
            if self.voice != Some(one.voice) || one.voice == Voice::Call {
                if self.voice != Some(Voice::Call) || one.voice != Voice::Arguments {
                    text.push_str(&self.end_line());
                }
                self.voice = Some(one.voice);
                text.push_str(&self.block(mark(one.voice)));
            }
            text.push_str(&self.block(&inert::block(&one.text)));
        }
        text
    }

    fn bytes(&mut self, bytes: &[u8]) -> String {
        self.rest.extend_from_slice(bytes);
        // A character may go on in the next piece.
        let keep = match std::str::from_utf8(&self.rest) {
            Err(error) if error.error_len().is_none() => self.rest.len() - error.valid_up_to(),
            _ => 0,
        };
        let rest = self.rest.split_off(self.rest.len() - keep);
        let whole = std::mem::replace(&mut self.rest, rest);
        self.block(&inert::bytes(&whole))
    }

    fn block(&mut self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        for part in text.split_inclusive('\n') {
            if !self.in_line {
                out.push_str(self.prefix);
            }
            out.push_str(part);
            self.in_line = !part.ends_with('\n');
        }
        out
    }

    fn end_line(&mut self) -> String {
        let rest = std::mem::take(&mut self.rest);
        let mut text = self.block(&inert::bytes(&rest));
        if std::mem::take(&mut self.in_line) {
            text.push('\n');
        }
        text
    }
}

fn mark(voice: Voice) -> &'static str {
    match voice {
        Voice::Text => "",
        Voice::Thinking => "[thinks] ",
        Voice::Call => "[calls] ",
        Voice::Arguments => " ",
        Voice::Error => "[error] ",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_as_they_were_or_shorter() {
        let pause = |speed, skip_idle, us: u64| Pace { speed, skip_idle }.pause(1_000, 1_000 + us);
        assert_eq!(pause(1.0, false, 5_000_000), Duration::from_secs(5));
        assert_eq!(pause(4.0, false, 5_000_000), Duration::from_millis(1_250));
        assert_eq!(pause(0.5, false, 5_000_000), Duration::from_secs(10));
        assert_eq!(pause(1.0, true, 5_000_000), IDLE_MAX);
        assert_eq!(Pace { speed: 1.0, skip_idle: false }.pause(9, 4), Duration::ZERO);
        for text in ["0", "-1", "fast", "inf", "NaN"] {
            assert!(factor(text).is_err(), "{text}");
        }
    }

    #[test]
    fn every_line_has_its_prefix_however_the_text_is_cut() {
        let text = "a\n\nb é\r\nc\x1b[2J\u{202e}";
        let expected = "  | a\n  | \n  | b é\n  | c\\x1b[2J\\u{202e}\n";
        for cut in 0..=text.len() {
            // A line end that is cut in two is one character more, shown as what it is.
            if text.as_bytes()[..cut].ends_with(b"\r") {
                continue;
            }
            let mut screen = Screen::new(RESPONSE);
            let shown = screen.bytes(&text.as_bytes()[..cut]) + &screen.bytes(&text.as_bytes()[cut..]);
            assert_eq!(shown + &screen.end_line(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn voices_are_told_apart() {
        let said = |voice, text: &str| Said { voice, text: text.to_owned() };
        let mut screen = Screen::new(RESPONSE);
        let all = [
            said(Voice::Thinking, "hm"),
            said(Voice::Thinking, "m"),
            said(Voice::Text, "Hello\n"),
            said(Voice::Text, "you"),
            said(Voice::Call, "run"),
            said(Voice::Arguments, "{}"),
            said(Voice::Call, "stop"),
        ];
        let text = screen.said(&all) + &screen.end_line();
        assert_eq!(text, "  | [thinks] hmm\n  | Hello\n  | you\n  | [calls] run {}\n  | [calls] stop\n");
    }
}
