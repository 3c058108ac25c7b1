//! Custom expressions, as anchored automata: an expression is tried only where one of the literals stands
//! that its matches begin with, so that its cost is bounded by its longest match, not by the text.

use super::{Outcome, Text};
use crate::inspect::Error;
use crate::inspect::codec::ESCAPED_QUOTE;
use crate::limits::{
    MASK_REGEX_BYTES_MAX, MASK_REGEX_LITERAL_BYTES_MIN, MASK_REGEX_LITERALS_MAX, MASK_REGEX_SIZE_MAX,
};
use regex_automata::dfa::{Automaton, StartKind, dense};
use regex_automata::nfa::thompson;
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::literal::Extractor;

/// A compiled expression.
#[derive(Debug)]
pub struct Expression {
    automaton: dense::DFA<Vec<u32>>,
    literals: Vec<Box<[u8]>>,
}

/// Bytes of a literal that are compared.
const LITERAL_BYTES_MAX: usize = 8;

impl Expression {
    /// Compiles `pattern` for the mask `name`. Characters outside of ASCII stand for their bytes in UTF-8,
    /// classes and boundaries are those of ASCII.
    ///
    /// # Errors
    /// [`Error::Expression`], the operator's fault: it does not parse, is too large, its matches have no
    /// bound or one that is too large, or they do not begin with literals of at least
    /// `MASK_REGEX_LITERAL_BYTES_MIN` bytes.
    pub fn compile(name: &str, pattern: &str) -> Result<Expression, Error> {
        let refuse = |why: String| Error::Expression { name: name.to_owned(), why };
        let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).nest_limit(64).build();
        let parsed = parser.parse(pattern).map_err(|error| refuse(first_line(&error.to_string())))?;
        const LONGEST: usize = MASK_REGEX_BYTES_MAX;
        match parsed.properties().maximum_len() {
            Some(..=LONGEST) => {}
            Some(length) => {
                let why = format!("its matches may have {length} bytes, more than {LONGEST}");
                return Err(refuse(why + ": bound its repetitions"));
            }
            None => {
                let why = "its matches have no bound: write";
                return Err(refuse(format!("{why} {{0,{LONGEST}}} or less instead of * or +")));
            }
        }
        let mut literals = Extractor::new().limit_total(MASK_REGEX_LITERALS_MAX).extract(&parsed);
        literals.keep_first_bytes(LITERAL_BYTES_MAX);
        literals.dedup();
        let literals: Vec<Box<[u8]>> = match literals.literals() {
            Some(all) if all.iter().all(|one| one.as_bytes().len() >= MASK_REGEX_LITERAL_BYTES_MIN) => {
                all.iter().map(|one| one.as_bytes().into()).collect()
            }
            _ => {
                let why = "its matches do not all begin with at least";
                let remedy = "fixed characters, which a search needs";
                return Err(refuse(format!("{why} {MASK_REGEX_LITERAL_BYTES_MIN} {remedy}")));
            }
        };
        let config = dense::Config::new()
            .start_kind(StartKind::Anchored)
            .match_kind(MatchKind::All)
            .dfa_size_limit(Some(MASK_REGEX_SIZE_MAX))
            .determinize_size_limit(Some(4 * MASK_REGEX_SIZE_MAX));
        let automaton = dense::Builder::new()
            .configure(config)
            .syntax(syntax::Config::new().unicode(false).utf8(false).nest_limit(64))
            .thompson(thompson::Config::new().utf8(false).nfa_size_limit(Some(MASK_REGEX_SIZE_MAX)))
            .build(pattern)
            .map_err(|_| refuse("its automaton is too large: use smaller repetitions".to_owned()))?;
        Ok(Expression { automaton, literals })
    }

    /// What its matches begin with.
    pub fn literals(&self) -> impl Iterator<Item = &[u8]> {
        self.literals.iter().map(|literal| &**literal)
    }

    /// The longest match at `start`. In JSON a quote ends the text that it sees.
    pub fn at(&self, text: &Text, start: usize, rule: u16) -> Option<Outcome> {
        let rest = &text.bytes[start..];
        let may_begin = self.literals().any(|literal| {
            let length = literal.len().min(rest.len());
            rest[..length] == literal[..length]
        });
        if !may_begin {
            return None;
        }
        let is_end = |byte: u8| byte == 0 || (text.json && byte == b'"') || text.is_document_end(byte);
        let left = Some(text.before(start, 1)).filter(|byte| !is_end(*byte));
        let config = start::Config::new().anchored(Anchored::Yes).look_behind(left);
        let mut state = self.automaton.start_state(&config).ok()?;
        let mut end = None;
        for length in 0..=MASK_REGEX_BYTES_MAX {
            let byte = match text.at(start + length) {
                None => return Some(Outcome::Live),
                Some(0) if text.bytes.len() == start + length => None,
                Some(b'"') if text.json => None,
                Some(byte) if text.is_document_end(byte) => None,
                Some(ESCAPED_QUOTE) if text.json => Some(b'"'),
                Some(byte) => Some(byte),
            };
            state = match byte {
                Some(byte) => self.automaton.next_state(state, byte),
                None => self.automaton.next_eoi_state(state),
            };
            // An automaton says that there was a match one byte late.
            if self.automaton.is_match_state(state) {
                end = Some(start + length);
            }
            if byte.is_none() || self.automaton.is_dead_state(state) || self.automaton.is_quit_state(state) {
                break;
            }
        }
        end.map(|end| Outcome::Match { end, rule })
    }
}

/// What a parser's report of several lines says at its end.
fn first_line(report: &str) -> String {
    let last = report.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it does not parse");
    last.trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, expected: &str) {
        let refused = Expression::compile("x", pattern).err().map(|error| error.to_string());
        let refused = refused.unwrap_or_default();
        let why = refused.strip_prefix("mask \"x\" has an expression that cannot be used: ");
        assert_eq!(why.unwrap_or(""), expected, "{pattern}");
    }

    #[test]
    fn what_cannot_be_searched_is_refused_with_the_reason() {
        check(r"\bEMP-\d{6}\b", "");
        check(r"(?i)emp-\d{6}", "");
        check(r"(?:EMP|CST)-[A-Z]{2}\d{4,80}", "");
        check("EMP-(", "unclosed group");
        check(r"EMP-\d+", "its matches have no bound: write {0,256} or less instead of * or +");
        check(r"EMP-\d{300}", "its matches may have 304 bytes, more than 256: bound its repetitions");
        check(
            r"\d{6}-EMP",
            "its matches do not all begin with at least 3 fixed characters, which a search needs",
        );
    }
}
