//! What an order would do, without doing it.

use super::{
    super::{Approver, Freeze, Order, Whom},
    Book, Effects, Fault,
};
use crate::time::Timestamp;

/// Stands for the name of what is not made.
const NOBODY: &str = "";

impl Book {
    /// What would come of an order that changes something, in words; nothing of any other. It is carried out
    /// on a copy, so that it is refused for what would refuse it.
    ///
    /// # Errors
    /// [`Fault`], as the order itself.
    pub fn foresee(&self, now: Timestamp, order: Order) -> Result<Vec<String>, Fault> {
        let mut book = self.clone();
        let effects = match order {
            Order::Decide(id, decision) => book.decide(now, &id, decision, NOBODY.to_owned())?,
            Order::Revoke(id, approver) => book.revoke(now, &id, &approver)?,
            Order::Freeze(whom, approver, reason) => book.freeze(now, freeze(whom, &approver, reason)?),
            Order::Thaw(id, approver) => book.thaw(now, &id, &approver)?.1,
            _ => return Ok(Vec::new()),
        };
        Ok(self.difference(&book, &effects))
    }

    fn difference(&self, then: &Book, effects: &Effects) -> Vec<String> {
        let mut lines: Vec<String> = effects.kept.iter().filter_map(|id| self.change(then, id)).collect();
        match effects.told.len() {
            0 => {}
            1 => lines.push("a request that waits is answered".to_owned()),
            count => lines.push(format!("{count} requests that wait are answered")),
        }
        lines
    }

    /// What happens to one thing.
    fn change(&self, then: &Book, id: &str) -> Option<String> {
        if let Some(card) = then.card(id) {
            let before = self.card(id).map_or("new", |card| card.state.as_str());
            let after = card.state.as_str();
            let (given, min) = (card.voices.len(), card.approvals_min);
            let count =
                if before == after { format!(" ({given} of {min} have approved)") } else { String::new() };
            return Some(format!("approval {id}: {before}, then {after}{count}"));
        }
        if let Some(freeze) = then.freeze_of(id) {
            return Some(format!("{} is stopped", freeze.whom));
        }
        if let Some(grant) = then.grant(id) {
            let until = Timestamp(grant.expires_us);
            return Some(format!(
                "a grant for route {} and policy {} opens until {until}",
                grant.route, grant.policy
            ));
        }
        if let Some(grant) = self.grant(id) {
            return Some(format!("grant {id} for route {} and policy {} ends", grant.route, grant.policy));
        }
        self.freeze_of(id).map(|freeze| format!("{} goes on", freeze.whom))
    }
}

fn freeze(whom: Whom, approver: &Approver, reason: String) -> Result<Freeze, Fault> {
    approver.must_stop(&whom)?;
    let (id, at) = (NOBODY.to_owned(), NOBODY.to_owned());
    Ok(Freeze { id, whom, reason, by: approver.name.to_string(), at })
}
