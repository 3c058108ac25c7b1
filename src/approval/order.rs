//! What operators and approvers order, and what comes of it.

use super::{Approver, CardView, Decision, Freeze, GrantView, Whom};

/// An order.
#[derive(Clone, Debug)]
pub enum Order {
    /// Cards, in this state or all.
    List(Option<String>),
    Show(String),
    Decide(String, Decision),
    Grants,
    Revoke(String, Approver),
    Freezes,
    /// Whom, by whom, and what the callers are told.
    Freeze(Whom, String, String),
    /// Which, and by whom.
    Thaw(String, String),
}

/// What comes of an order.
#[derive(Clone, Debug)]
pub enum Answered {
    Cards(Vec<CardView>),
    Card(Box<CardView>),
    Grants(Vec<GrantView>),
    Freezes(Vec<Freeze>),
}
