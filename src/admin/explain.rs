//! Why a request went as it did: `/api/v1/requests/{id}/explain`, read from its records.

use super::{
    access::Principal,
    endpoint::{Endpoint, get},
    problem::{Problem, answer},
    routes::Desked,
    sessions::{self, at_work},
};
use crate::{
    archive::Exchange,
    audit::{self, Record},
};
use axum::{
    extract::{Extension, Path, State},
    http::StatusCode,
    response::Response,
};
use schemars::JsonSchema;
use serde::Serialize;
use std::{collections::BTreeMap, sync::Arc};

/// Everything that decided about one request.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Explained {
    pub request: Exchange,
    /// The caller as its token proved it; `null` where no identity was asked for, or none was proven.
    pub caller: Option<Caller>,
    /// Generation of the configuration that it ran on, and the sequence number of the CONFIG record that
    /// holds it; `null` where the log does not hold that any more.
    pub generation: u64,
    pub config_record: Option<u64>,
    pub listener: String,
    /// Host that the caller named.
    pub authority: String,
    /// What the policies said; `null` where it came to none.
    pub decision: Option<Decided>,
    /// Why it was refused; `null` where it was forwarded.
    pub refusal: Option<Refused>,
    /// Names of the secrets that were injected.
    pub secrets: Vec<String>,
    /// The credential that was fetched for it alone.
    pub lease: Option<Lease>,
    /// Matches by the name of the mask.
    pub masks: BTreeMap<String, u64>,
    /// Microseconds of each stage; `null` where it was refused, or has not ended.
    pub stages: Option<Stages>,
    /// Where in its trip it ended, such as `response_body`; `null` as for `stages`.
    pub ended_in: Option<String>,
}

/// Who called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Caller {
    pub issuer: String,
    pub subject: String,
    pub owner: Option<String>,
    pub groups: Vec<String>,
    pub purpose: Option<String>,
}

/// What the policies said.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Decided {
    /// `allow`, `block` or `approve`.
    pub action: String,
    /// The policy that decided.
    pub policy: Option<String>,
    /// Where it stood, such as `ringward.toml:58`.
    pub place: Option<String>,
    pub reason: Option<String>,
    /// Every condition that was looked at, in order. Those behind the first of a policy that did not hold
    /// were not.
    pub predicates: Vec<Condition>,
    /// Policies on trial that would have decided before this one.
    pub dry_runs: Vec<OnTrial>,
}

/// One condition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct Condition {
    pub policy: String,
    pub name: String,
    pub held: bool,
}

/// A policy on trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct OnTrial {
    pub policy: String,
    /// What it would have done.
    pub action: String,
}

/// Why it was refused.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Refused {
    pub status: u16,
    pub code: String,
    pub reason: String,
}

/// A credential that was fetched just in time; never its value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Lease {
    pub source: String,
    pub id: String,
    /// RFC 3339.
    pub expires: String,
}

/// Microseconds of each stage; 0 where it did not happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub(super) struct Stages {
    pub head_us: u64,
    pub body_us: u64,
    pub record_us: u64,
    pub hold_us: u64,
    pub connect_us: u64,
    pub first_byte_us: u64,
    pub response_us: u64,
    pub total_us: u64,
}

/// What is served here.
pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        get("/api/v1/requests/{id}/explain", explain)
            .says("Why a recorded request went as it did")
            .json::<Explained>(),
    ]
}

/// It says what a caller asked for, so who reads it is recorded.
async fn explain(
    State(desk): Desked,
    Extension(principal): Extension<Principal>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let explained = at_work(desk, move |desk| {
        let archive = sessions::caught_up(desk)?;
        let exchange = archive.exchange(&id)?;
        sessions::record(desk, principal.name(), "explain", &exchange.id)?;
        let records = archive.records(&exchange)?;
        let mut explained = Explained { request: exchange, ..Explained::default() };
        records.iter().for_each(|record| explained.add(record));
        let sequence = explained.request.sequence;
        explained.config_record = archive.configured_by(explained.generation, sequence)?;
        Ok(explained)
    });
    Ok(answer(StatusCode::OK, &explained.await?))
}

impl Explained {
    fn add(&mut self, record: &Record) {
        match record {
            Record::Intent(intent) => {
                self.opening(intent.generation, &intent.head, intent.subject.as_deref());
                self.decision = Some(Decided::of(&intent.decision));
                self.secrets = intent.secrets.iter().map(ToString::to_string).collect();
            }
            Record::Refusal(refusal) => {
                self.opening(refusal.generation, &refusal.head, refusal.subject.as_deref());
                self.decision = refusal.decision.as_ref().map(Decided::of);
                self.refusal = Some(Refused {
                    status: refusal.status,
                    code: refusal.code.to_string(),
                    reason: refusal.reason.to_string(),
                });
            }
            Record::Outcome(outcome) => self.end(outcome),
            _ => {}
        }
    }

    fn opening(&mut self, generation: u64, head: &audit::Head, subject: Option<&audit::Subject>) {
        self.generation = generation;
        self.listener = head.listener.to_string();
        self.authority = head.authority.clone();
        self.caller = subject.map(|subject| Caller {
            issuer: subject.issuer.to_string(),
            subject: subject.subject.to_string(),
            owner: text(&subject.owner),
            groups: subject.groups.iter().map(ToString::to_string).collect(),
            purpose: text(&subject.purpose),
        });
    }

    fn end(&mut self, outcome: &audit::Outcome) {
        let stages = outcome.stages;
        self.masks = outcome.masks.iter().map(|hits| (hits.mask.to_string(), hits.count)).collect();
        self.lease = outcome.lease.as_ref().map(|lease| Lease {
            source: lease.source.to_string(),
            id: lease.id.to_string(),
            expires: lease.expires.to_string(),
        });
        self.ended_in = Some(place(outcome.place).to_owned());
        self.stages = Some(Stages {
            head_us: stages.head_us,
            body_us: stages.body_us,
            record_us: stages.record_us,
            hold_us: stages.hold_us,
            connect_us: stages.connect_us,
            first_byte_us: stages.first_byte_us,
            response_us: stages.response_us,
            total_us: stages.total_us,
        });
    }
}

impl Decided {
    /// What a record says.
    pub fn of(decision: &audit::Decision) -> Decided {
        let condition = |one: &audit::Predicate| Condition {
            policy: one.policy.to_string(),
            name: one.name.to_string(),
            held: one.held,
        };
        let on_trial = |run: &audit::DryRun| OnTrial {
            policy: run.policy.to_string(),
            action: action(run.action).to_owned(),
        };
        Decided {
            action: action(decision.action).to_owned(),
            policy: text(&decision.policy),
            place: text(&decision.place),
            reason: text(&decision.reason),
            predicates: decision.predicates.iter().map(condition).collect(),
            dry_runs: decision.dry_runs.iter().map(on_trial).collect(),
        }
    }
}

fn text(value: &Option<Arc<str>>) -> Option<String> {
    value.as_deref().map(str::to_owned)
}

fn action(action: audit::Action) -> &'static str {
    match action {
        audit::Action::Allow => "allow",
        audit::Action::Block => "block",
        audit::Action::Approve => "approve",
    }
}

fn place(place: audit::Place) -> &'static str {
    match place {
        audit::Place::RequestBody => "request_body",
        audit::Place::Hold => "hold",
        audit::Place::Secret => "secret",
        audit::Place::Connect => "connect",
        audit::Place::Send => "send",
        audit::Place::FirstByte => "first_byte",
        audit::Place::ResponseHead => "response_head",
        audit::Place::ResponseBody => "response_body",
        audit::Place::End => "end",
        audit::Place::Unknown => "unknown",
    }
}
