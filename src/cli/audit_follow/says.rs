//! What a follower says: sentences for people on standard error, lines of JSON for programs on standard
//! output. What came from the source is shown and never obeyed.

use crate::{
    cli::{inert, output::Output},
    runtime,
};
use serde_json::{Value, json};
use std::cell::RefCell;

/// Both ways of saying it. Nobody borrows the output over an `.await`.
pub(super) struct Says<'a> {
    output: RefCell<&'a mut Output>,
    json: bool,
}

impl<'a> Says<'a> {
    pub(super) fn new(output: &'a mut Output, json: bool) -> Says<'a> {
        Says { output: RefCell::new(output), json }
    }

    /// An event, and the sentence for it.
    pub(super) fn note(&self, event: &str, fields: Value, sentence: &str) {
        self.line(event, fields);
        self.output.borrow_mut().note(&inert::line(sentence));
    }

    /// An event that comes every second.
    pub(super) fn detail(&self, event: &str, fields: Value, sentence: &str) {
        self.line(event, fields);
        self.output.borrow_mut().detail(&inert::line(sentence));
    }

    /// Something that somebody has to look at.
    pub(super) fn alarm(&self, event: &str, fields: Value, sentence: &str) {
        self.line(event, fields);
        self.output.borrow_mut().error(&inert::line(sentence));
    }

    /// The result of `--once`, for people.
    pub(super) fn result(&self, sentence: &str) {
        if !self.json {
            self.output.borrow_mut().result(&(inert::line(sentence) + "\n"));
        }
    }

    /// `{"at": …, "event": …, …}`.
    fn line(&self, event: &str, fields: Value) {
        if !self.json {
            return;
        }
        let mut line = json!({ "at": runtime::now().wall.to_string(), "event": event });
        if let (Value::Object(line), Value::Object(fields)) = (&mut line, fields) {
            line.extend(fields);
        }
        self.output.borrow_mut().result(&format!("{line}\n"));
    }
}
