use super::class::Fingerprints;
use super::expression::Expression;
use super::hits::{Families, Family, Hits, Numbers, Scan};
use super::literal::Literals;
use super::member::Members;
use super::path::{Path, Paths, Walk};
use super::swallow::Swallow;
use super::vectors::Vectors;
use super::{Candidate, Extent, Found, Outcome, Text, address, card, email, iban, key, phone, random, ssn};
use crate::inspect::rule::{Direction, Kind, Replacement, Rule};
use smallvec::SmallVec;
use std::sync::Arc;

/// Rules that compete for the same text: those that change it, or those that only count.
#[derive(Debug, Default)]
pub struct Lane {
    families: Families,
    card: Option<u16>,
    ssn: Option<u16>,
    phone: Option<u16>,
    iban: Option<u16>,
    email: Option<u16>,
    v4: Option<u16>,
    v6: Option<u16>,
    keys: key::Rules,
    random: Option<u16>,
    expressions: Vec<(Arc<Expression>, u16)>,
    members: Members,
    paths: Paths,
    literals: Option<Literals>,
}

/// Up to where a text was decided, and the match without a bound that it ends in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// First undecided byte.
    pub end: usize,
    /// The rule and the state of a match that reaches there.
    pub swallow: Option<(u16, Swallow)>,
}

/// What one finder looks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    Family(Family),
    /// Literals that are too many for a family.
    Literals,
    Paths,
}

/// Where one finder is in a text.
#[derive(Clone, Copy, Debug)]
struct Finder {
    wanted: Wanted,
    /// Hits in front of this one have been looked at.
    hit: usize,
    next: Option<Candidate>,
}

/// The finders of a lane at most: one a family, those of the literals and of the paths.
const FINDERS_MAX: usize = Family::ALL.len() + 2;
/// Those that have something to look for in one text: few.
type Finders = SmallVec<[Finder; FINDERS_MAX]>;

impl Lane {
    /// The lane of those rules that go `way` and are (or are not) dry runs; `None` if there are none.
    /// `expressions`: those of the rules, compiled.
    pub fn compile(
        rules: &[Rule],
        expressions: &[Option<Arc<Expression>>],
        way: Direction,
        dry_run: bool,
    ) -> Option<Lane> {
        let (mut lane, mut words, mut any) = (Lane::default(), Vec::new(), false);
        for (index, rule) in rules.iter().enumerate() {
            if rule.dry_run != dry_run || !rule.direction.covers(way) {
                continue;
            }
            any = true;
            // Bounded by MASK_RULES_MAX.
            let index = index as u16;
            let slot = match &rule.kind {
                Kind::CreditCard => &mut lane.card,
                Kind::Ssn => &mut lane.ssn,
                Kind::Phone => &mut lane.phone,
                Kind::Iban => &mut lane.iban,
                Kind::Email => &mut lane.email,
                Kind::Ipv4 => &mut lane.v4,
                Kind::Ipv6 => &mut lane.v6,
                Kind::Jwt => &mut lane.keys.jwt,
                Kind::PrivateKey => &mut lane.keys.pem,
                Kind::ApiKey => &mut lane.keys.provider,
                Kind::GenericSecret => &mut lane.random,
                Kind::Literals(literals) => {
                    words.extend(literals.iter().map(|literal| (literal.as_str(), index)));
                    continue;
                }
                Kind::Regex(_) => {
                    lane.expressions.extend(expressions[usize::from(index)].clone().map(|one| (one, index)));
                    continue;
                }
                Kind::Path(paths) => {
                    let whole = rule.replace == Replacement::Null;
                    // They were parsed when the set was checked.
                    let parsed = paths.iter().filter_map(|path| Path::parse(&rule.name, path).ok());
                    parsed.for_each(|path| lane.paths.push(path, index, whole));
                    continue;
                }
                Kind::Key(keys) => {
                    let whole = rule.replace == Replacement::Null;
                    keys.iter().for_each(|key| lane.members.push(key, index, whole));
                    continue;
                }
            };
            *slot = slot.or(Some(index));
        }
        lane.literals = Literals::compile(words);
        lane.note_families();
        any.then_some(lane)
    }

    fn note_families(&mut self) {
        let number = self.card.or(self.ssn).or(self.phone);
        let wanted = [
            (Family::Number, number.is_some()),
            (Family::Ipv4, self.v4.is_some()),
            (Family::Ipv6, self.v6.is_some()),
            (Family::Iban, self.iban.is_some()),
            (Family::Email, self.email.is_some()),
            (Family::Prefix, self.keys.any()),
            (Family::Random, self.random.is_some()),
            (Family::Expression, !self.expressions.is_empty()),
            (Family::Member, !self.members.is_empty()),
            (Family::Literal, self.literals.as_ref().is_some_and(Literals::are_hits)),
        ];
        wanted.into_iter().filter(|(_, wanted)| *wanted).for_each(|(family, _)| self.families.insert(family));
    }

    /// Where these lanes together have to look.
    pub fn scan_for(lanes: &[Option<Lane>]) -> Scan {
        let mut scan = Scan { vectors: Vectors::of_machine(), ..Scan::default() };
        for lane in lanes.iter().flatten() {
            for family in Family::ALL.into_iter().filter(|family| lane.families.has(*family)) {
                scan.families.insert(family);
            }
        }
        let any = |has: fn(&Lane) -> bool| lanes.iter().flatten().any(has);
        scan.numbers = Numbers {
            card: any(|lane| lane.card.is_some()),
            ssn: any(|lane| lane.ssn.is_some()),
            phone: any(|lane| lane.phone.is_some()),
        };
        let expressions = lanes.iter().flatten().flat_map(|lane| &lane.expressions);
        scan.expressions = Fingerprints::new(expressions.flat_map(|(one, _)| one.literals()));
        let members: Vec<[u8; 3]> = lanes.iter().flatten().flat_map(|lane| lane.members.prefixes()).collect();
        let literals = lanes.iter().flatten().filter(|lane| lane.families.has(Family::Literal));
        let literals: Vec<[u8; 3]> =
            literals.flat_map(|lane| &lane.literals).flat_map(Literals::prefixes).collect();
        scan.literals = Fingerprints::folded(literals.iter().map(|prefix| &prefix[..]));
        scan.members = Fingerprints::new(members.iter().map(|prefix| &prefix[..]));
        scan
    }

    /// A walk for the paths of this lane, if it has any; in front of a document or behind its first byte.
    pub fn walk(&self, opened: Option<u8>) -> Option<Walk> {
        (!self.paths.is_empty()).then(|| Walk::new(&self.paths, opened))
    }

    /// Decides `text` from `from` on, of which `hits` are known; `swallow` is the match that it begins in,
    /// and `walk` stands where it came to.
    /// Gives the matches in order.
    pub fn scan(
        &self,
        text: &Text,
        from: usize,
        hits: &Hits,
        swallow: Option<(u16, Swallow)>,
        mut walk: Option<&mut Walk>,
        mut give: impl FnMut(Found),
    ) -> Scanned {
        let scanned = self.matches(text, from, hits, swallow, walk.as_deref_mut(), &mut give);
        // What a match took in is passed by, so that a walk never stands in front of what is decided.
        if let Some(walk) = walk {
            walk.find(&self.paths, text, scanned.end);
        }
        scanned
    }

    fn matches(
        &self,
        text: &Text,
        from: usize,
        hits: &Hits,
        swallow: Option<(u16, Swallow)>,
        mut walk: Option<&mut Walk>,
        mut give: impl FnMut(Found),
    ) -> Scanned {
        let mut at = from;
        if let Some((rule, swallow)) = swallow {
            match take(text, from, from, rule, swallow, false, &mut give) {
                Ok(end) => at = end,
                Err(scanned) => return scanned,
            }
        }
        // A quote in front of it belongs to a value that was taken in, and begins no key.
        let mut floor = at;
        let mut finders = Finders::new();
        self.add_finders(text, hits, walk.is_some(), &mut finders);
        loop {
            let mut best: Option<Candidate> = None;
            let mut index = 0;
            while let Some(finder) = finders.get_mut(index) {
                if finder.next.is_none_or(|candidate| candidate.start < at) {
                    finder.next = match (finder.wanted, &mut walk) {
                        (Wanted::Paths, Some(walk)) => walk.find(&self.paths, text, at),
                        _ => self.find(finder, text, hits, at, floor),
                    };
                }
                match (finder.next, best) {
                    (None, _) => {
                        // Nothing more can be found.
                        finders.swap_remove(index);
                        continue;
                    }
                    (Some(next), Some(other)) => best = Some(better(other, next)),
                    (next, None) => best = next,
                }
                index += 1;
            }
            let Some(best) = best else { return Scanned { end: text.bytes.len(), swallow: None } };
            let (start, known, rule, swallow) = match best.outcome {
                Outcome::Live => return Scanned { end: best.start, swallow: None },
                Outcome::Match { end, rule } => {
                    let (start, extent) = (best.start, Extent::Bounded);
                    give(Found { start, end, rule, begins: true, ends: true, extent });
                    at = end;
                    continue;
                }
                Outcome::Value { start, rule, swallow } => (start, value_end(start, swallow), rule, swallow),
                Outcome::Open { end, rule, swallow } => (best.start, end, rule, swallow),
            };
            match take(text, start, known, rule, swallow, true, &mut give) {
                Ok(end) => at = end,
                Err(scanned) => return scanned,
            }
            floor = at;
            look_for_keys_again(&mut finders);
        }
    }

    /// Adds the finders of this lane that may find something.
    fn add_finders(&self, text: &Text, hits: &Hits, has_walk: bool, finders: &mut Finders) {
        let mut add = |wanted| finders.push(Finder { wanted, hit: 0, next: None });
        for family in self.families.iter() {
            // In an open text an address or a member may begin without a hit.
            let open = match family {
                Family::Email => !text.last,
                Family::Member if !text.json => continue,
                Family::Member => true,
                _ => false,
            };
            if open || !hits.of(family).is_empty() {
                add(Wanted::Family(family));
            }
        }
        if self.literals.is_some() && !self.families.has(Family::Literal) {
            add(Wanted::Literals);
        }
        if has_walk {
            add(Wanted::Paths);
        }
    }

    fn find(
        &self,
        finder: &mut Finder,
        text: &Text,
        hits: &Hits,
        from: usize,
        floor: usize,
    ) -> Option<Candidate> {
        let Wanted::Family(family) = finder.wanted else {
            return self.literals.as_ref()?.find(text, from);
        };
        let hits = hits.of(family);
        match family {
            Family::Email => email::find(text, hits, &mut finder.hit, from, self.email?),
            Family::Member => self.members.find(text, hits, &mut finder.hit, from, floor),
            _ => finder.find(hits, from, |start| self.anchored(family, text, start)),
        }
    }

    /// What the detectors of a family say of one start.
    #[inline]
    fn anchored(&self, family: Family, text: &Text, start: usize) -> Option<Outcome> {
        match family {
            Family::Number => self.number(text, start),
            Family::Ipv4 => address::v4(text, start, self.v4?),
            Family::Ipv6 => address::v6(text, start, self.v6?),
            Family::Iban => iban::at(text, start, self.iban?),
            Family::Prefix => self.keys.at(text, start),
            Family::Random => random::at(text, start, self.random?),
            Family::Expression => {
                let found = self.expressions.iter().filter_map(|(one, rule)| one.at(text, start, *rule));
                found.reduce(Outcome::better)
            }
            Family::Literal => self.literals.as_ref()?.at(text, start),
            Family::Email | Family::Member => None,
        }
    }

    #[inline]
    fn number(&self, text: &Text, start: usize) -> Option<Outcome> {
        let run = digit_run(&text.bytes[start..]);
        // A row of digits that may go on may become any number.
        let is_open = !text.last && start + run == text.bytes.len();
        let may_be = |runs: u32| is_open || runs >> run & 1 != 0;
        let mut best = None;
        let card = self.card.filter(|_| may_be(card::FIRST_RUNS));
        let ssn = self.ssn.filter(|_| may_be(ssn::FIRST_RUNS));
        if (card.is_some() || ssn.is_some()) && run > 0 && card::may_start(text, start) {
            best = card.and_then(|rule| card::at(text, start, rule));
            best = better_of(best, ssn.and_then(|rule| ssn::at(text, start, rule)));
        }
        match self.phone.filter(|_| may_be(phone::FIRST_RUNS) || text.bytes[start] == b'0') {
            Some(rule) => better_of(best, phone::at(text, start, rule)),
            None => best,
        }
    }
}

/// Digits at the beginning of `bytes`, up to one more than any number has.
#[inline]
fn digit_run(bytes: &[u8]) -> usize {
    let looked_at = &bytes[..bytes.len().min(DIGIT_RUN_MAX)];
    let mut run = 0;
    while run < looked_at.len() && looked_at[run].is_ascii_digit() {
        run += 1;
    }
    run
}

/// One more than the digits of the longest number; fits a bit set.
const DIGIT_RUN_MAX: usize = 20;

fn better_of(one: Option<Outcome>, other: Option<Outcome>) -> Option<Outcome> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.better(other)),
        (one, other) => one.or(other),
    }
}

impl Finder {
    /// The first of `starts` from `from` on that is not a no.
    #[inline]
    fn find(
        &mut self,
        starts: &[u32],
        from: usize,
        anchored: impl Fn(usize) -> Option<Outcome>,
    ) -> Option<Candidate> {
        while let Some(start) = starts.get(self.hit).map(|start| *start as usize) {
            self.hit += 1;
            if start >= from
                && let Some(outcome) = anchored(start)
            {
                return Some(Candidate { start, outcome });
            }
        }
        None
    }
}

/// Has members looked for anew: the key of the one that was found may lie in a value that was taken in.
fn look_for_keys_again(finders: &mut Finders) {
    let members = |finder: &&mut Finder| matches!(finder.wanted, Wanted::Family(Family::Member));
    finders.iter_mut().filter(members).for_each(|finder| finder.next = None);
}

/// How far a JSON value was read when it began: all but the inside of a string have a first byte.
fn value_end(start: usize, swallow: Swallow) -> usize {
    match swallow {
        Swallow::String | Swallow::Document { whole: false } => start,
        _ => start + 1,
    }
}

/// Takes in a match without a bound that was confirmed up to `at`; gives its end, or ends the text.
fn take(
    text: &Text,
    start: usize,
    at: usize,
    rule: u16,
    swallow: Swallow,
    begins: bool,
    give: &mut impl FnMut(Found),
) -> Result<usize, Scanned> {
    let extent = match swallow {
        Swallow::Scalar | Swallow::Nested { .. } | Swallow::Document { whole: true } => Extent::JsonValue,
        Swallow::Document { whole: false } => Extent::Document,
        Swallow::String => Extent::String,
        _ => Extent::Unbounded,
    };
    let whole = text.bytes.len();
    let (end, ends, state) = match swallow.take(&text.bytes[at..], text.nested) {
        Err(length) => (at + length, true, None),
        Ok(_) if text.last => (whole, true, None),
        Ok(state) => (whole, false, Some((rule, state))),
    };
    if begins || ends || end > start {
        give(Found { start, end, rule, begins, ends, extent });
    }
    match state {
        None => Ok(end),
        Some(_) => Err(Scanned { end, swallow: state }),
    }
}

/// Leftmost, then what [`Outcome::better`] says.
fn better(one: Candidate, other: Candidate) -> Candidate {
    if other.start < one.start
        || (other.start == one.start && one.outcome.better(other.outcome) != one.outcome)
    {
        other
    } else {
        one
    }
}
