//! Routes with their masks, and the router.

use super::Compiler;
use crate::config::lint::{canonical_prefix, matcher};
use crate::config::tree::at;
use crate::config::{self, Bodies, MaskKind, Record};
use crate::exchange::plan::{Recording, Route, Upstream};
use crate::identity::Issuer;
use crate::inspect::{Direction, Kind, MaskSet, Replacement, Rule, Thinking};
use crate::policy::{Router, RuleSet};
use crate::protocol::Protocol;
use std::sync::Arc;

impl Compiler<'_> {
    pub(super) fn routes(&mut self, issuers: &[Arc<Issuer>], upstreams: &[Arc<Upstream>]) -> Vec<Arc<Route>> {
        let document = self.document;
        let mut routes = Vec::new();
        for (index, written) in document.route.iter().enumerate() {
            // Names were checked with the document; an upstream that failed was noted.
            let Some(upstream) = upstreams.iter().position(|one| *one.name == *written.upstream) else {
                continue;
            };
            let Some(rules) = self.rules(index, upstreams[upstream].protocol) else { continue };
            let Some(masks) = self.masks(index, written) else { continue };
            let accepted =
                issuers.iter().filter(|one| written.identity.iter().any(|name| **name == **one.name()));
            let applies = |way: Direction| Some(&masks).filter(|set| set.applies(way)).cloned();
            routes.push(Arc::new(Route {
                name: written.name.as_str().into(),
                issuers: accepted.cloned().collect(),
                upstream,
                request_masks: applies(Direction::Request),
                response_masks: applies(Direction::Response),
                thinking: match written.thinking {
                    config::Thinking::Flag => Thinking::Flag,
                    config::Thinking::End => Thinking::End,
                },
                record: self.recording(written),
                body_bytes_max: written.max_body.0,
                strip_prefix: written.matching.strip_prefix.as_deref().and_then(canonical_prefix),
                all_paths: written.all_paths,
                digest: self.route_digest(written),
                remembers: self.remembers(written, &rules, upstreams[upstream].protocol),
                rules_digest: self.rules_digest(written),
                rules,
            }));
        }
        routes
    }

    /// Of everything that says what becomes of a request, but for its policies.
    fn route_digest(&self, written: &config::Route) -> [u8; 32] {
        let document = self.document;
        let masks = document.mask.iter().filter(|mask| written.masks.contains(&mask.name));
        let masks: Vec<_> = masks.collect();
        digest(&(written, document.upstreams.get(&written.upstream), masks))
    }

    /// Of the policies, in their order.
    fn rules_digest(&self, written: &config::Route) -> [u8; 32] {
        let find = |name: &String| self.document.policy.iter().find(|policy| policy.name == *name);
        digest(&written.policies.iter().map(find).collect::<Vec<_>>())
    }

    /// Whether anything of its conversations is to be remembered: nothing where no policy looks at them.
    fn remembers(&self, written: &config::Route, rules: &RuleSet, protocol: Protocol) -> bool {
        written.remember && protocol.is_llm() && !written.identity.is_empty() && rules.judges_blocks()
    }

    fn masks(&mut self, index: usize, written: &config::Route) -> Option<Arc<MaskSet>> {
        let rules = match mask_rules(self.document, written) {
            Ok(rules) => rules,
            Err((at, error)) => {
                self.error(&at!["mask", at, "replace"], "mask", error.to_string(), "");
                return None;
            }
        };
        match MaskSet::compile(rules) {
            Ok(set) => Some(Arc::new(set)),
            Err(error) => {
                self.error(&at!["route", index, "masks"], "mask", error.to_string(), "");
                None
            }
        }
    }

    fn recording(&self, written: &config::Route) -> Recording {
        let commit = written.commit.unwrap_or(self.document.audit.commit).into();
        match &written.record {
            Record::Off => Recording::Off,
            Record::On(table) => {
                let kept = if table.bodies == Bodies::Full { table.max_bytes.0 } else { 0 };
                Recording::On { commit, body_bytes_max: kept }
            }
        }
    }

    pub(super) fn router(&mut self) -> Option<Router> {
        let matchers = self.document.route.iter().map(|route| matcher(&route.matching));
        // Both kinds of error were found with the document.
        Router::new(matchers.collect::<Result<Vec<_>, _>>().ok()?).ok()
    }
}

/// Of a part of the configuration, however it is written.
pub(super) fn digest(part: &impl serde::Serialize) -> [u8; 32] {
    // Tables with text keys always serialise.
    let text = serde_json::to_vec(part).unwrap_or_default();
    let mut bytes = [0; 32];
    bytes.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text).as_ref());
    bytes
}

/// The masks of a route, in their order, which records count by.
///
/// # Errors
/// The index of the mask that cannot be compiled, and why: the operator's fault.
pub fn mask_rules(
    document: &config::Document,
    route: &config::Route,
) -> Result<Vec<Rule>, (usize, crate::inspect::Error)> {
    let find = |name: &String| document.mask.iter().position(|mask| mask.name == *name);
    let found = route.masks.iter().filter_map(find);
    found.map(|at| mask_rule(&document.mask[at]).map_err(|error| (at, error))).collect()
}

/// One mask as it was written.
///
/// # Errors
/// Its replacement is wrong: the operator's fault.
pub fn mask_rule(mask: &config::Mask) -> Result<Rule, crate::inspect::Error> {
    let replace = mask.replace.as_deref().unwrap_or("[{name}]");
    Ok(Rule {
        name: mask.name.as_str().into(),
        kind: match mask.kind {
            MaskKind::CreditCard => Kind::CreditCard,
            MaskKind::Email => Kind::Email,
            MaskKind::Ssn => Kind::Ssn,
            MaskKind::Phone => Kind::Phone,
            MaskKind::Iban => Kind::Iban,
            MaskKind::Ipv4 => Kind::Ipv4,
            MaskKind::Ipv6 => Kind::Ipv6,
            MaskKind::Jwt => Kind::Jwt,
            MaskKind::PrivateKey => Kind::PrivateKey,
            MaskKind::ApiKey => Kind::ApiKey,
            MaskKind::GenericSecret => Kind::GenericSecret,
            MaskKind::Literals => Kind::Literals(mask.words.clone()),
            MaskKind::Regex => Kind::Regex(mask.pattern.clone().unwrap_or_default()),
            MaskKind::Key => Kind::Key(mask.keys.clone()),
            MaskKind::Path => Kind::Path(mask.paths.clone()),
        },
        replace: if mask.drop { Replacement::Null } else { Replacement::parse(replace)? },
        direction: match mask.direction {
            config::Direction::Request => Direction::Request,
            config::Direction::Response => Direction::Response,
            config::Direction::Both => Direction::Both,
        },
        dry_run: mask.dry_run,
    })
}
