//! What operators and approvers order, and what comes of it.

use super::{Approver, CardView, Decision, Freeze, GrantView, Whom};

/// An order. Whoever gives it sees and changes only what is within their reach.
#[derive(Clone, Debug)]
pub enum Order {
    /// Cards, in this state or all.
    List(Option<String>, Approver),
    Show(String, Approver),
    Decide(String, Decision),
    Grants(Approver),
    Revoke(String, Approver),
    Freezes(Approver),
    /// Whom, by whom, and what the callers are told.
    Freeze(Whom, Approver, String),
    /// Which, and by whom.
    Thaw(String, Approver),
    /// What would come of an order that changes something.
    Foresee(Box<Order>),
}

/// What comes of an order.
#[derive(Clone, Debug)]
pub enum Answered {
    Cards(Vec<CardView>),
    Card(Box<CardView>),
    Grants(Vec<GrantView>),
    Freezes(Vec<Freeze>),
    /// What would happen, in words.
    Foreseen(Vec<String>),
}
