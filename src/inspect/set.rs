use super::Error;
use super::detect::{Expression, Lane, Path};
use super::fold;
use super::rule::{Direction, Kind, Replacement, Rule};
use super::work::Plan;
use crate::limits::{
    MASK_KEY_BYTES_MAX, MASK_KEYS_MAX, MASK_LITERAL_BYTES_MAX, MASK_LITERALS_MAX, MASK_PATHS_MAX,
    MASK_RULES_MAX,
};
use std::sync::Arc;

/// Compiled rules: immutable, shared by all exchanges of a snapshot.
#[derive(Debug)]
pub struct MaskSet {
    rules: Vec<Rule>,
    request: Plan,
    response: Plan,
    both: Plan,
}

impl MaskSet {
    /// Compiles rules; their order is their priority among matches of equal start and length.
    ///
    /// # Errors
    /// Too many rules, literals or keys, an empty, too long or unprintable literal or key, an expression that
    /// cannot be searched for, `null` for what is no JSON value: the operator's fault.
    pub fn compile(rules: Vec<Rule>) -> Result<MaskSet, Error> {
        if rules.len() > MASK_RULES_MAX {
            return Err(Error::TooManyRules);
        }
        let mut literals = 0;
        for rule in &rules {
            if let Kind::Literals(words) = &rule.kind {
                literals += words.len();
                words.iter().try_for_each(|word| check_literal(rule, word))?;
            }
        }
        if literals > MASK_LITERALS_MAX {
            return Err(Error::TooManyLiterals);
        }
        let paths = rules.iter().map(|rule| if let Kind::Path(paths) = &rule.kind { paths.len() } else { 0 });
        if paths.sum::<usize>() > MASK_PATHS_MAX {
            return Err(Error::TooManyPaths);
        }
        let mut expressions = Vec::new();
        for rule in &rules {
            expressions.push(match &rule.kind {
                Kind::Regex(pattern) => {
                    Some(Arc::new(Expression::compile(&rule.name, &folded_pattern(pattern))?))
                }
                _ => None,
            });
            check_keys(rule)?;
        }
        let read: Vec<Rule> = rules.iter().map(as_read).collect();
        let lane = |way, dry_run| Lane::compile(&read, &expressions, way, dry_run);
        let plan = |way| Plan::new([false, true].map(|dry_run| lane(way, dry_run)));
        let (request, response) = (plan(Direction::Request), plan(Direction::Response));
        let both = plan(Direction::Both);
        Ok(MaskSet { rules, request, response, both })
    }

    /// The names of the rules, by their index in [`super::Edit::rule`] and [`super::Inspector::hits`].
    pub fn rule_names(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.rules.iter().map(|rule| &rule.name)
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any rule, dry-run rules included, looks at bodies that go `way`. Where none does the body
    /// needs no inspector.
    pub fn applies(&self, way: Direction) -> bool {
        !self.plan(way).is_empty()
    }

    /// Whether JSON and text bodies keep their length, so that Content-Length may stay. Event streams never
    /// do.
    pub fn keeps_length(&self, way: Direction) -> bool {
        let changes = |rule: &&Rule| rule.direction.covers(way) && !rule.dry_run;
        self.rules.iter().filter(changes).all(|rule| rule.replace == Replacement::Asterisks)
    }

    /// What to look for in bodies that go `way`.
    pub(super) fn plan(&self, way: Direction) -> &Plan {
        match way {
            Direction::Request => &self.request,
            Direction::Response => &self.response,
            Direction::Both => &self.both,
        }
    }

    /// The rules as compiled.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

/// A rule with its words as the text has them.
fn as_read(rule: &Rule) -> Rule {
    let mut rule = rule.clone();
    if let Kind::Literals(words) = &mut rule.kind {
        words.iter_mut().for_each(|word| *word = fold::folded(word));
    }
    rule
}

/// A pattern whose characters are those that the text has.
fn folded_pattern(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    for char in pattern.chars() {
        match fold::fold(char) {
            // What stands for a character of the syntax stands for the character itself.
            Some(ascii @ (b'(' | b')' | b'+' | b'-' | b'.')) => out.extend(['\\', char::from(ascii)]),
            Some(ascii) => out.push(char::from(ascii)),
            None if fold::is_invisible(char) => {}
            None => out.push(char),
        }
    }
    out
}

fn check_keys(rule: &Rule) -> Result<(), Error> {
    if let Kind::Path(paths) = &rule.kind {
        return paths.iter().try_for_each(|path| Path::parse(&rule.name, path).map(drop));
    }
    let Kind::Key(keys) = &rule.kind else {
        return match rule.replace {
            Replacement::Null => Err(Error::NotAValue(rule.name.to_string())),
            _ => Ok(()),
        };
    };
    if keys.len() > MASK_KEYS_MAX {
        return Err(Error::TooManyKeys(rule.name.to_string()));
    }
    let fits = |key: &String| {
        key.len() <= MASK_KEY_BYTES_MAX
            && !fold::folded(key).is_empty()
            && !key.contains('"')
            && !key.chars().any(char::is_control)
    };
    match keys.iter().all(fits) {
        true => Ok(()),
        false => Err(Error::BadKey(rule.name.to_string())),
    }
}

fn check_literal(rule: &Rule, word: &str) -> Result<(), Error> {
    if fold::folded(word).is_empty() {
        return Err(Error::EmptyLiteral(rule.name.to_string()));
    }
    if word.len() > MASK_LITERAL_BYTES_MAX {
        return Err(Error::LiteralTooLong(rule.name.to_string()));
    }
    if word.chars().any(|char| char.is_control() && !matches!(char, '\t' | '\n' | '\r')) {
        return Err(Error::ControlCharacter(rule.name.to_string()));
    }
    Ok(())
}
