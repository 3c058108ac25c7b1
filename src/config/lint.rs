//! What the tables say about each other.

use super::{Diagnostic, Document, Tree};

/// Everything that can be said from the document alone.
pub fn check(_document: &Document, _tree: &Tree) -> Vec<Diagnostic> {
    Vec::new()
}
