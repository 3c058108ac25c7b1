//! What people order: verdicts, grants and stops.

use super::{
    super::{Approver, Card, Freeze, Grant, Notice, NoticeKind, State, Verdict, Voice, Whom},
    Book, Decision, Effects, Fault, Given, Scope, Waiting, consume,
};
use crate::{
    audit::{CardEvent, GrantEvent},
    limits::{GRANT_MAX, GRANT_SESSION_USES},
    time::Timestamp,
};
use std::sync::Arc;

impl Book {
    /// Somebody decides. `grant` names what a lasting yes opens.
    ///
    /// # Errors
    /// [`Fault`]: nothing has changed.
    pub fn decide(
        &mut self,
        now: Timestamp,
        id: &str,
        decision: Decision,
        grant: String,
    ) -> Result<Effects, Fault> {
        let card = self.cards.get(id).filter(|card| decision.approver.sees(card));
        let mut card = card.ok_or_else(|| Fault::NotFound(format!("approval {id}")))?.clone();
        may_decide(&card, &decision)?;
        let mut effects = Effects::default();
        effects.kept.insert(card.id.clone());
        let by = decision.approver.name.to_string();
        match decision.given {
            Given::No { reason } => {
                effects.records.push(card.record(CardEvent::Denied, Some(&by), Some(&reason), now));
                let told: Arc<str> = reason.as_str().into();
                card.state = State::Denied { by, reason, at_us: now.0, frozen: false };
                let verdict = |approval| Verdict::Denied { approval, reason: told.clone() };
                self.tell_all(&[card.id.clone()].into(), verdict, &mut effects);
            }
            Given::Yes { scope, reason } => {
                effects.records.push(card.record(CardEvent::Approved, Some(&by), reason.as_deref(), now));
                let owner = decision.approver.owner.as_deref().map(str::to_owned);
                card.voices.push(Voice { by, at: now.to_string(), reason, owner });
                card.scopes.push(scope);
                if card.voices.len() >= card.approvals_min as usize {
                    card.state = State::Approved;
                    // What lasts takes as many as what does not: it is for as long as all of them said.
                    let all = card.scopes.len() == card.voices.len();
                    let scope = card.scopes.iter().cloned().reduce(Scope::and).filter(|_| all);
                    let scope = scope.unwrap_or(Scope::Once);
                    if scope != Scope::Once {
                        self.grant_more(now, &card, scope, grant, &mut effects);
                    }
                    self.release(now, &mut card, &mut effects);
                }
            }
        }
        self.put(card);
        Ok(effects)
    }

    /// A decision is not recorded: there was none. `card` is as it was before, `grant` what it opened, if
    /// anything. Who has been told of it is gone.
    pub fn take_back(&mut self, now: Timestamp, mut card: Card, grant: &str) {
        self.grants.remove(grant);
        if !self.waiting.values().any(|waiting| waiting.card == card.id) {
            card.away_us = Some(now.0);
        }
        self.put(card);
    }

    /// A card is approved: the first request that has its bytes takes it, the others ask again.
    fn release(&mut self, now: Timestamp, card: &mut Card, effects: &mut Effects) {
        let of_card = self.waiting.iter().find(|(_, one)| one.card == card.id && one.bind == card.bind);
        if let Some(seat) = of_card.map(|(seat, _)| *seat)
            && let Some(waiting) = self.waiting.remove(&seat)
        {
            consume(now, seat, &waiting, card, 0, effects);
        }
        self.tell_all(&[card.id.clone()].into(), |approval| Verdict::Pending { approval }, effects);
        // Nobody waits any more; an approval that was not used waits for its caller.
        card.away_us = Some(now.0);
    }

    fn grant_more(&mut self, now: Timestamp, card: &Card, scope: Scope, id: String, effects: &mut Effects) {
        let (session, period, group) = match scope {
            Scope::Once => return,
            Scope::Session => (Some(card.session.clone()), GRANT_MAX, None),
            Scope::Period(period, group) => (None, period, group),
        };
        let by: Vec<String> = card.voices.iter().map(|voice| voice.by.clone()).collect();
        let uses_max = session.is_some().then_some(GRANT_SESSION_USES);
        let grant = Grant {
            id,
            approval: card.id.clone(),
            issuer: card.who.issuer.clone(),
            subject: if group.is_some() { String::new() } else { card.who.subject.clone() },
            group: group.unwrap_or_default(),
            session,
            route: card.route.clone(),
            policy: card.policy.clone(),
            rule: card.rule,
            route_digest: card.route_digest,
            opened_us: now.0,
            expires_us: now.0 + period.as_micros() as u64,
            uses: 0,
            uses_max,
            by,
        };
        let author = grant.by.last().map_or("", String::as_str);
        effects.records.push(grant.record(GrantEvent::Opened, author, now));
        effects.kept.insert(grant.id.clone());
        // What queues behind the decided card need not be decided one by one.
        let is_about = |waiting: &Waiting| {
            let other = self.cards.get(&waiting.card).filter(|other| other.id != card.id);
            other.is_some_and(|other| other.state == State::Pending && grant.is_about(other))
        };
        effects.again =
            self.waiting.extract_if(.., |_, waiting| is_about(waiting)).map(|(seat, _)| seat).collect();
        self.grants.insert(grant.id.clone(), grant);
    }

    /// Takes a grant away, at once.
    ///
    /// # Errors
    /// [`Fault::NotFound`].
    pub fn revoke(&mut self, now: Timestamp, id: &str, approver: &Approver) -> Result<Effects, Fault> {
        let grant = self.grants.get(id).filter(|grant| approver.sees_grant(grant)).cloned();
        let grant = grant.ok_or_else(|| Fault::NotFound(format!("grant {id}")))?;
        self.grants.remove(id);
        let mut effects = Effects::default();
        effects.records.push(grant.record(GrantEvent::Revoked, &approver.name, now));
        effects.kept.insert(grant.id);
        Ok(effects)
    }

    /// Stops somebody: what waits is refused, what was approved or granted is void.
    pub fn freeze(&mut self, now: Timestamp, freeze: Freeze) -> Effects {
        let mut effects = Effects::default();
        let meets = |card: &Card| {
            let subject = (!card.who.issuer.is_empty()).then_some(&*card.who.subject);
            freeze.whom.meets(subject, &card.session, &card.route)
        };
        let open = |card: &Card| matches!(card.state, State::Pending | State::Approved);
        let frozen: Vec<Card> =
            self.cards.values().filter(|card| open(card) && meets(card)).cloned().collect();
        let ids = frozen.iter().map(|card| card.id.clone()).collect();
        let reason: Arc<str> = freeze.reason.as_str().into();
        self.tell_all(&ids, |_| Verdict::Frozen { reason: reason.clone() }, &mut effects);
        for mut card in frozen {
            let record = card.record(CardEvent::Denied, Some(&freeze.by), Some(&freeze.reason), now);
            effects.records.push(record);
            effects.kept.insert(card.id.clone());
            let (by, reason) = (freeze.by.clone(), freeze.reason.clone());
            card.state = State::Denied { by, reason, at_us: now.0, frozen: true };
            self.put(card);
        }
        let is_void = |grant: &Grant| match &freeze.whom {
            Whom::Session(name) => grant.session.as_ref() == Some(name),
            whom => whom.meets(Some(&grant.subject), "", &grant.route),
        };
        for (id, grant) in self.grants.extract_if(.., |_, grant| is_void(grant)) {
            effects.records.push(grant.record(GrantEvent::Revoked, &freeze.by, now));
            effects.kept.insert(id);
        }
        let notice = Notice::of_freeze(NoticeKind::FreezeCreated, &freeze, &freeze.by, now);
        effects.notices.push(notice);
        effects.kept.insert(freeze.id.clone());
        self.freezes.insert(freeze.id.clone(), freeze);
        effects
    }

    /// Takes a stop away.
    ///
    /// # Errors
    /// [`Fault::NotFound`].
    pub fn thaw(
        &mut self,
        now: Timestamp,
        id: &str,
        approver: &Approver,
    ) -> Result<(Freeze, Effects), Fault> {
        let freeze = self.freezes.get(id).filter(|freeze| approver.may_stop(&freeze.whom)).cloned();
        let freeze = freeze.ok_or_else(|| Fault::NotFound(format!("freeze {id}")))?;
        self.freezes.remove(id);
        let mut effects = Effects::default();
        effects.kept.insert(freeze.id.clone());
        effects.notices.push(Notice::of_freeze(NoticeKind::FreezeRemoved, &freeze, &approver.name, now));
        Ok((freeze, effects))
    }
}

/// Whether this approver may say this of this card (SECURITY R36).
fn may_decide(card: &Card, decision: &Decision) -> Result<(), Fault> {
    let Decision { approver, revision, given } = decision;
    if card.state != State::Pending {
        return Err(Fault::Conflict(format!("approval {} is {} already", card.id, card.state.as_str())));
    }
    if card.revision != *revision {
        let now = card.revision;
        return Err(Fault::Conflict(format!(
            "the request has changed: it is at revision {now} now, the decision is about {revision}"
        )));
    }
    if !card.by.iter().any(|by| approver.is(by)) {
        return Err(Fault::Forbidden(format!(
            "{} is not among the approvers of policy \"{}\": {}",
            approver.name,
            card.policy,
            card.by.join(", ")
        )));
    }
    let scope = match given {
        Given::No { reason } if reason.trim().is_empty() => {
            return Err(Fault::Malformed("a denial needs a reason: the caller reads it".to_owned()));
        }
        Given::No { .. } => return Ok(()),
        Given::Yes { scope, .. } => scope,
    };
    if card.voices.iter().any(|voice| *voice.by == *approver.name) {
        return Err(Fault::Conflict(format!("{} has approved it already", approver.name)));
    }
    let is_same =
        |voice: &&Voice| voice.owner.is_some() && voice.owner.as_deref() == approver.owner.as_deref();
    if let Some(voice) = card.voices.iter().find(is_same) {
        let (name, other) = (&approver.name, &voice.by);
        return Err(Fault::Conflict(format!("{name} and {other}, who has approved it, are the same person")));
    }
    let is_caller_too = approver
        .subject
        .as_ref()
        .is_some_and(|(issuer, subject)| (&**issuer, &**subject) == (&*card.who.issuer, &*card.who.subject));
    let is_owner = approver.owner.is_some() && approver.owner.as_deref() == card.who.owner.as_deref();
    let is_owner = is_owner || is_caller_too;
    let is_caller = approver.uid.is_some_and(|uid| card.uids.contains(&uid));
    if !card.allow_self && (is_owner || is_caller) {
        let who = if is_owner { "is the owner of the caller" } else { "runs the process that asks" };
        return Err(Fault::Forbidden(format!(
            "{} {who}: somebody else must approve, unless the policy says `approval = {{ self = true }}`",
            approver.name
        )));
    }
    check_scope(card, scope)
}

fn check_scope(card: &Card, scope: &Scope) -> Result<(), Fault> {
    match scope {
        Scope::Period(period, _) if period.is_zero() || *period > GRANT_MAX => {
            let hours = GRANT_MAX.as_secs() / 3_600;
            Err(Fault::Malformed(format!("a grant lasts more than nothing and at most {hours} h")))
        }
        Scope::Period(_, Some(group)) if !card.who.groups.contains(group) => {
            Err(Fault::Malformed("the caller is not in that group".to_owned()))
        }
        _ => Ok(()),
    }
}
