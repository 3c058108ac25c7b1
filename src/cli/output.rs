//! What commands say: results on standard output, everything else on standard error.

use crate::config::{Diagnostic, Format, diagnostic};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{IsTerminal, Write};

/// How far reading the bytes of a log is.
pub const BYTES_BAR: &str =
    "{bar:30} {percent:>3} %  {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}";
/// How far reading the requests of a log is.
pub const REQUESTS_BAR: &str = "{bar:40} {pos}/{len} requests, {eta} left";

/// Both streams, and how much is wanted on them.
pub struct Output {
    quiet: bool,
    verbose: u8,
    color: bool,
}

impl Output {
    /// Colour is used on a terminal unless `NO_COLOR` is set (no-color.org).
    pub fn new(quiet: bool, verbose: u8) -> Output {
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Output { quiet, verbose, color: !no_color && std::io::stderr().is_terminal() }
    }

    /// What the process logs: more with each `-v`, less with `-q`.
    pub fn log_level(&self) -> String {
        let level = match (self.quiet, self.verbose) {
            (true, _) => "warn",
            (false, 0) => "info",
            (false, 1) => "debug",
            (false, _) => "trace",
        };
        // Libraries are of interest only when somebody looks closely.
        if self.verbose > 1 { level.to_owned() } else { format!("warn,ringward={level}") }
    }

    /// Whether messages may be coloured.
    pub fn is_colored(&self) -> bool {
        self.color
    }

    /// A result. A reader that went away is no failure.
    pub fn result(&mut self, text: &str) {
        self.piece(text);
    }

    /// A piece of a result that goes on; `false` where nobody reads any more.
    pub fn piece(&mut self, text: &str) -> bool {
        let mut stdout = std::io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
    }

    /// Whether progress may be shown: on a terminal, unless less is wanted.
    pub fn shows_progress(&self) -> bool {
        !self.quiet && std::io::stderr().is_terminal()
    }

    /// A bar that is drawn as `template` says where progress may be shown; elsewhere it only counts.
    pub fn progress(&self, template: &str) -> ProgressBar {
        if !self.shows_progress() {
            return ProgressBar::hidden();
        }
        let bar = ProgressBar::new(0);
        // The templates are ours; without one the bar only looks plainer.
        match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        }
    }

    /// A result as one JSON document.
    pub fn json(&mut self, value: &impl serde::Serialize) {
        // Values that commands show have text keys only.
        let text = serde_json::to_string_pretty(value).expect("a value with text keys serialises");
        self.result(&(text + "\n"));
    }

    /// What people want to know while it goes on.
    pub fn note(&mut self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Details.
    pub fn detail(&mut self, text: &str) {
        if self.verbose > 0 {
            self.say(text);
        }
    }

    /// Why it failed, in one line.
    pub fn error(&mut self, text: &str) {
        let name = if self.color { "\x1b[1;31merror\x1b[0m" } else { "error" };
        self.say(&format!("{name}: {text}"));
    }

    /// Findings, for people.
    pub fn diagnostics(&mut self, found: &[Diagnostic]) {
        let text = diagnostic::render_all(found, Format::Text, self.color);
        if !text.is_empty() {
            self.say(text.trim_end_matches('\n'));
            self.say("");
        }
    }

    fn say(&mut self, text: &str) {
        let mut stderr = std::io::stderr().lock();
        let _ = writeln!(stderr, "{text}");
    }
}

/// Bytes in hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
