//! A corpus of texts with labels: prose, answers of APIs, logs and source code, in which stand values of
//! every built-in kind, and what is easily taken for one: order numbers, times, versions, hashes,
//! identifiers.
//!
//! Values follow what their issuers publish, not what the detectors look for: some are written in ways that
//! no detector knows. The same seed gives the same texts.

mod near;
mod random;
mod templates;
mod values;

pub use random::Random;
use ringward::inspect::Kind;
use std::ops::Range;

/// A text and what of it is sensitive.
#[derive(Debug, Default)]
pub struct Document {
    pub text: String,
    /// Whether it is JSON.
    pub json: bool,
    pub labels: Vec<(Range<usize>, Kind)>,
}

impl Document {
    /// Appends what is not sensitive.
    fn say(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Appends a value of `kind`, escaped where the text is JSON.
    fn put(&mut self, kind: &Kind, value: &str) {
        let start = self.text.len();
        match self.json {
            true => self.text.push_str(&value.replace('\n', "\\n")),
            false => self.text.push_str(value),
        }
        self.labels.push((start..self.text.len(), kind.clone()));
    }
}

/// `count` documents of `seed`, every kind of text in turn.
pub fn documents(seed: u64, count: usize) -> Vec<Document> {
    let mut random = Random(seed);
    (0..count).map(|index| templates::document(&mut random, index)).collect()
}
