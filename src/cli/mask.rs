//! `ringward mask`: standard input → standard output, masked as the gateway masks a body.

use super::{exit, output::Output};
use crate::buffer::{Chunk, Segments, Tally};
use crate::config;
use crate::inspect::dialect::{ANTHROPIC, Dialect, GENERIC, OPENAI_CHAT, OPENAI_RESPONSES};
use crate::inspect::{self, Context, Direction, Inspector, Kind, MaskSet, Replacement, Rule};
use crate::limits::RECEIVE_BYTES_MAX;
use clap::{Args, ValueEnum, value_parser};
use std::io::{self, ErrorKind, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;

/// Mask what is sensitive: standard input, as the gateway would mask it, to standard output
///
/// The input may be endless: what is decided is written at once. Exit code 0: done, also where whoever reads
/// the output goes away. 1: the input cannot be masked or read; what was written until then is masked. 3: the
/// rules have errors.
#[derive(Debug, Args)]
pub(super) struct Command {
    /// File with [[mask]] tables, such as a ringward.toml [default: all that is found without being told]
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// What the input is
    #[arg(long = "as", value_enum, value_name = "FORMAT", default_value = "text")]
    format: Format,
    /// Whose events they are, with --as sse: values that are streamed in pieces are put together. Whose
    /// bodies, with --as json: the arguments of tool calls are looked into
    #[arg(long, value_enum, value_name = "API", default_value = "generic")]
    events: Events,
    /// Which rules: those for requests, for responses, or all
    #[arg(long, value_enum, default_value = "both")]
    direction: Way,
    /// Write what was found instead, one JSON object a line: offset and length in the input, mask, kind
    #[arg(long)]
    explain: bool,
    /// Take the input in pieces of N bytes: the output is the same
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..=RECEIVE_BYTES_MAX as u64))]
    chunk_bytes: Option<u64>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// One JSON document
    Json,
    /// JSON, one document a line
    Ndjson,
    /// Server-sent events
    Sse,
    /// Any text; JSON is recognised
    Text,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Events {
    /// Any events: each for itself
    Generic,
    /// Messages of Anthropic
    Anthropic,
    /// Chat completions of OpenAI
    OpenaiChat,
    /// Responses of OpenAI
    OpenaiResponses,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Way {
    Request,
    Response,
    Both,
}

impl Command {
    pub(super) fn run(self, output: &mut Output) -> u8 {
        let set = match self.rules(output) {
            Ok(set) => set,
            Err(code) => return code,
        };
        let way = match self.direction {
            Way::Request => Direction::Request,
            Way::Response => Direction::Response,
            Way::Both => Direction::Both,
        };
        let context = match self.format {
            Format::Json | Format::Ndjson => Context::Json,
            Format::Sse => Context::Sse(self.events.dialect()),
            Format::Text => Context::Text,
        };
        let filter = Filter {
            inspector: Inspector::new(set.clone(), way, context).with_documents(self.events.dialect()),
            set,
            piece_bytes: self.chunk_bytes.map_or(RECEIVE_BYTES_MAX, |bytes| bytes as usize),
            explains: self.explain,
        };
        match filter.run(&mut io::stdin().lock(), &mut io::stdout().lock()) {
            Ok(()) => exit::OK,
            Err(Stop::Unread(error)) => {
                output.error(&format!("standard input cannot be read: {error}"));
                exit::FAILED
            }
            // Whoever reads has enough, as `head` has.
            Err(Stop::Unwritten(error)) if error.kind() == ErrorKind::BrokenPipe => exit::OK,
            Err(Stop::Unwritten(error)) => {
                output.error(&format!("standard output takes no more: {error}"));
                exit::FAILED
            }
            Err(Stop::Unmaskable(offset, error)) => {
                output.error(&format!("the input cannot be masked from byte {offset} on: {error}"));
                exit::FAILED
            }
        }
    }

    fn rules(&self, output: &mut Output) -> Result<Arc<MaskSet>, u8> {
        let Some(path) = &self.rules else { return Ok(Arc::new(built_in())) };
        if path.as_os_str() == "-" {
            output.error("standard input is what is masked: name a file with rules");
            return Err(exit::USAGE);
        }
        let text = config::Text::read_alone(path).map_err(|error| {
            output.error(&format!("{}: {error}", path.display()));
            exit::FAILED
        })?;
        let loaded = config::load_masks(&text).map_err(|found| {
            output.diagnostics(&found);
            exit::CONFIG
        })?;
        Ok(Arc::new(loaded))
    }
}

impl Events {
    fn dialect(self) -> &'static Dialect {
        match self {
            Events::Generic => &GENERIC,
            Events::Anthropic => &ANTHROPIC,
            Events::OpenaiChat => &OPENAI_CHAT,
            Events::OpenaiResponses => &OPENAI_RESPONSES,
        }
    }
}

/// Everything that is found without being told, under its own name.
fn built_in() -> MaskSet {
    let rule = |kind: Kind| Rule {
        name: kind.name().into(),
        kind,
        replace: Replacement::parse("[{kind}]").expect("a template with a known placeholder"),
        direction: Direction::Both,
        dry_run: false,
    };
    MaskSet::compile(Kind::BUILT_IN.map(rule).into()).expect("built-in rules are good")
}

/// Why the filter stopped before the end.
#[derive(Debug)]
enum Stop {
    Unread(io::Error),
    Unwritten(io::Error),
    /// With how much was read until then.
    Unmaskable(u64, inspect::Error),
}

struct Filter {
    set: Arc<MaskSet>,
    inspector: Inspector,
    piece_bytes: usize,
    explains: bool,
}

impl Filter {
    fn run(mut self, input: &mut impl Read, output: &mut impl Write) -> Result<(), Stop> {
        let (mut buffer, mut offset) = (vec![0; RECEIVE_BYTES_MAX], 0);
        loop {
            let read = match input.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Stop::Unread(error)),
            };
            for piece in buffer[..read].chunks(self.piece_bytes) {
                let chunk = Chunk::from(piece.to_vec());
                self.step(output, offset, |inspector, out, edits, tally| {
                    inspector.push(chunk, out, edits, tally)
                })?;
                offset += piece.len() as u64;
            }
            output.flush().map_err(Stop::Unwritten)?;
        }
        self.step(output, offset, Inspector::finish)?;
        output.flush().map_err(Stop::Unwritten)
    }

    /// Writes what the inspector makes of the next piece, which begins at `offset`.
    fn step(
        &mut self,
        output: &mut impl Write,
        offset: u64,
        step: impl FnOnce(
            &mut Inspector,
            &mut Segments,
            &mut Vec<inspect::Edit>,
            &mut Tally,
        ) -> Result<(), inspect::Error>,
    ) -> Result<(), Stop> {
        let (mut out, mut edits) = (Segments::new(), Vec::new());
        let result = step(&mut self.inspector, &mut out, &mut edits, &mut Tally::default());
        if self.explains {
            for edit in edits {
                let rule = &self.set.rules()[usize::from(edit.rule)];
                let finding = serde_json::json!({
                    "offset": edit.offset,
                    "len": edit.len,
                    "mask": &*rule.name,
                    "kind": rule.kind.name(),
                });
                writeln!(output, "{finding}").map_err(Stop::Unwritten)?;
            }
        } else {
            out.iter().try_for_each(|chunk| output.write_all(chunk)).map_err(Stop::Unwritten)?;
        }
        result.map_err(|error| Stop::Unmaskable(offset, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(format: Context, piece_bytes: usize, explains: bool, input: &[u8]) -> Result<String, Stop> {
        let set = Arc::new(built_in());
        let inspector = Inspector::new(set.clone(), Direction::Both, format);
        let mut out = Vec::new();
        Filter { set, inspector, piece_bytes, explains }.run(&mut &*input, &mut out)?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn pieces_of_any_length_give_the_same() {
        let json = br#"{"card": "4242 4242 4242 4242", "mail": "ann\u0040example.com", "n": 17}"#;
        let expected = r#"{"card": "[credit_card]", "mail": "[email]", "n": 17}"#;
        for piece_bytes in [1, 2, 3, 7, 64, RECEIVE_BYTES_MAX] {
            for context in [Context::Json, Context::Text] {
                assert_eq!(filter(context, piece_bytes, false, json).unwrap(), expected, "{piece_bytes}");
            }
            let found = filter(Context::Json, piece_bytes, true, json).unwrap();
            let found: Vec<serde_json::Value> =
                found.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(found.len(), 2);
            let card = serde_json::json!(
                {"offset": 10, "len": 19, "mask": "credit_card", "kind": "credit_card"}
            );
            assert_eq!(found[0], card);
        }
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let stopped = filter(Context::Text, 64, false, b"\xff\xfea\0").unwrap_err();
        assert!(matches!(stopped, Stop::Unmaskable(0, inspect::Error::NotText)));
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_goes_away_is_told_from_other_failures() {
        let set = Arc::new(built_in());
        let inspector = Inspector::new(set.clone(), Direction::Both, Context::Text);
        let filter = Filter { set, inspector, piece_bytes: 9, explains: false };
        let stopped = filter.run(&mut &b"some text that goes nowhere"[..], &mut Closed).unwrap_err();
        assert!(matches!(stopped, Stop::Unwritten(error) if error.kind() == ErrorKind::BrokenPipe));
    }
}
