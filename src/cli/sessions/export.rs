//! `ringward sessions export`.

use super::{
    source::{Go, Place, Purpose},
    when::{self, EXAMPLE},
};
use crate::{
    archive::{Har, Recording, Span},
    cli::{
        admin_client::Failure,
        exit,
        output::{Output, REQUESTS_BAR},
    },
    time::Timestamp,
};
use clap::{Args, ValueEnum};
use std::{
    fs::{File, OpenOptions},
    io::{BufWriter, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

/// Write recordings, with all that was kept of them, for other programs
///
/// They hold what callers and models said: keep them as you keep the log.
#[derive(Debug, Args)]
pub(super) struct Export {
    /// Session (ses_…, or the beginning of it), or one of its requests (req_…); without, a span of time
    #[arg(required_unless_present_any = ["since", "until"])]
    id: Option<String>,
    /// jsonl: one request a line, with the time of every piece; har: HTTP Archive 1.2
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Only what began since then: a time in UTC such as 2026-11-21T09:30:00Z, or how long ago, such as 2h
    #[arg(long, value_name = EXAMPLE, value_parser = when::parse)]
    since: Option<Timestamp>,
    /// Only what began before then
    #[arg(long, value_name = EXAMPLE, value_parser = when::parse)]
    until: Option<Timestamp>,
    /// Write here, readable for its owner only, instead of to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    Jsonl,
    Har,
}

impl Export {
    pub(super) async fn run(self, output: &mut Output) -> Result<(), Failure> {
        let source = self.place.open()?;
        let session = match &self.id {
            Some(id) => Some(source.session(id).await?.id),
            None => None,
        };
        let span = Span { session, since: self.since, until: self.until, ..Span::default() };
        let mut sink = Sink::open(self.output.as_deref(), self.format)?;
        let bar = output.progress(REQUESTS_BAR);
        let mut is_read = sink.begin()?;
        source
            .recordings(
                &span,
                Purpose::Export,
                |total| bar.set_length(total),
                async |recording| {
                    is_read = is_read && sink.recording(&recording)?;
                    bar.inc(1);
                    Ok(if is_read { Go::On } else { Go::Stop })
                },
            )
            .await?;
        sink.end()?;
        let count = bar.position();
        bar.finish_and_clear();
        let to = self.output.map_or_else(String::new, |file| format!(" to {}", file.display()));
        output.detail(&format!("{count} requests written{to}"));
        Ok(())
    }
}

/// Where an export goes.
struct Sink {
    writer: Box<dyn Write>,
    name: String,
    format: Format,
    har: Har,
}

impl Sink {
    fn open(file: Option<&Path>, format: Format) -> Result<Sink, Failure> {
        let (writer, name): (Box<dyn Write>, _) = match file.filter(|file| file.as_os_str() != "-") {
            None => (Box::new(std::io::stdout()), "standard output".to_owned()),
            Some(path) => (Box::new(create(path)?), path.display().to_string()),
        };
        Ok(Sink { writer: Box::new(BufWriter::new(writer)), name, format, har: Har::default() })
    }

    fn begin(&mut self) -> Result<bool, Failure> {
        if self.format == Format::Har { self.write(&Har::begin()) } else { Ok(true) }
    }

    fn recording(&mut self, recording: &Recording) -> Result<bool, Failure> {
        let text = match self.format {
            // Text keys only: it always serialises.
            Format::Jsonl => serde_json::to_string(recording).unwrap_or_default() + "\n",
            Format::Har => self.har.entry(recording),
        };
        self.write(&text)
    }

    fn end(&mut self) -> Result<(), Failure> {
        if self.format == Format::Har {
            self.write(Har::end())?;
        }
        let flushed = self.writer.flush();
        self.checked(flushed).map(drop)
    }

    /// `false`: nobody reads any more.
    fn write(&mut self, text: &str) -> Result<bool, Failure> {
        let written = self.writer.write_all(text.as_bytes());
        self.checked(written)
    }

    fn checked(&self, result: std::io::Result<()>) -> Result<bool, Failure> {
        match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => {
                Err(Failure { message: format!("cannot write {}: {error}", self.name), code: exit::FAILED })
            }
        }
    }
}

/// A new file for its owner only: one that is there may be readable for others.
fn create(path: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    made.map_err(|error| Failure {
        message: match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                format!("{} is there already: remove it, or name another file", path.display())
            }
            _ => format!("cannot write {}: {error}", path.display()),
        },
        code: exit::FAILED,
    })
}
