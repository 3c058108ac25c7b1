//! What operators and approvers order, and what comes of it.

use super::{Approver, CardView, Decision, Freeze, GrantView, Whom};
use std::{fmt, str::FromStr};

/// An order. Whoever gives it sees and changes only what is within their reach.
#[derive(Clone, Debug)]
pub enum Order {
    /// Cards, the oldest first.
    List(Page, Approver),
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

/// Which cards.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// In this state; without it all.
    pub state: Option<String>,
    pub after: Option<Place>,
    /// At most so many; without it all.
    pub limit: Option<usize>,
}

/// Where a card stands among all, also when it is gone: what was asked first comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub asked_us: u64,
    pub id: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.asked_us, self.id)
    }
}

impl FromStr for Place {
    type Err = ();

    fn from_str(text: &str) -> Result<Place, ()> {
        let (asked_us, id) = text.split_once('.').ok_or(())?;
        Ok(Place { asked_us: asked_us.parse().map_err(|_| ())?, id: id.to_owned() })
    }
}

/// What comes of an order.
#[derive(Clone, Debug)]
pub enum Answered {
    /// Cards, and the place of the last of them where more follow.
    Cards(Vec<CardView>, Option<Place>),
    Card(Box<CardView>),
    Grants(Vec<GrantView>),
    Freezes(Vec<Freeze>),
    /// What would happen, in words.
    Foreseen(Vec<String>),
}
