//! Who decides, and about what.

use super::{Card, Fault, Grant, Whom};
use std::sync::Arc;

/// Who decides, as the door knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Approver {
    /// `local:UID`, `token:NAME` or `user:SUBJECT`.
    pub name: Arc<str>,
    /// The user on the other end of the unix socket.
    pub uid: Option<u32>,
    /// The human who bears the token or has logged in, as issuers name them.
    pub owner: Option<Arc<str>>,
    /// Issuer and subject of somebody who has logged in.
    pub subject: Option<(Arc<str>, Arc<str>)>,
    /// Their groups, as that issuer says.
    pub groups: Vec<Arc<str>>,
    /// What they may see and decide about.
    pub reach: Reach,
}

/// The routes that somebody decides about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Every route.
    #[default]
    All,
    /// These; what concerns others is as if it were not there.
    Routes(Vec<Arc<str>>),
}

impl Reach {
    /// Whether it holds a route.
    pub fn covers(&self, route: &str) -> bool {
        match self {
            Reach::All => true,
            Reach::Routes(routes) => routes.iter().any(|one| **one == *route),
        }
    }

    /// Both together.
    pub fn and(self, other: Reach) -> Reach {
        match (self, other) {
            (Reach::Routes(mut routes), Reach::Routes(more)) => {
                routes.extend(more);
                routes.sort_unstable();
                routes.dedup();
                Reach::Routes(routes)
            }
            _ => Reach::All,
        }
    }
}

impl Approver {
    /// Whether a policy means them by `who`: their name, or `group:` and one of their groups.
    pub fn is(&self, who: &str) -> bool {
        match who.strip_prefix("group:") {
            Some(group) => self.groups.iter().any(|own| **own == *group),
            None => *self.name == *who,
        }
    }

    /// Whether it is their business.
    pub fn sees(&self, card: &Card) -> bool {
        self.reach.covers(&card.route)
    }

    /// Whether it is their business.
    pub fn sees_grant(&self, grant: &Grant) -> bool {
        self.reach.covers(&grant.route)
    }

    /// As [`Approver::may_stop`].
    ///
    /// # Errors
    /// [`Fault::Forbidden`].
    pub fn must_stop(&self, whom: &Whom) -> Result<(), Fault> {
        let why = || format!("{} stops only routes that they decide about", self.name);
        if self.may_stop(whom) { Ok(()) } else { Err(Fault::Forbidden(why())) }
    }

    /// Whether they may stop these, and let them go on: whoever decides about some routes only stops those,
    /// for a caller or a session may use others as well.
    pub fn may_stop(&self, whom: &Whom) -> bool {
        match (&self.reach, whom) {
            (Reach::All, _) => true,
            (reach, Whom::Route(route)) => reach.covers(route),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_names_people_and_groups() {
        let groups = vec!["sre".into()];
        let sam = Approver { name: "user:sam".into(), groups, ..Approver::default() };
        for (who, expected) in [
            ("user:sam", true),
            ("group:sre", true),
            ("group:dev", false),
            ("user:sre", false),
            ("sre", false),
        ] {
            assert_eq!(sam.is(who), expected, "{who}");
        }
        let odd = Approver { name: "user:group:sre".into(), ..Approver::default() };
        assert!(!odd.is("group:sre"), "a subject is no group");
    }

    #[test]
    fn whoever_decides_about_some_routes_stops_only_those() {
        let reach = Reach::Routes(vec!["a".into()]).and(Reach::Routes(vec!["b".into(), "a".into()]));
        assert_eq!(reach, Reach::Routes(vec!["a".into(), "b".into()]));
        let some = Approver { reach, ..Approver::default() };
        assert!(some.may_stop(&Whom::Route("b".into())) && !some.may_stop(&Whom::Route("c".into())));
        assert!(!some.may_stop(&Whom::Subject("x".into())) && !some.may_stop(&Whom::All));
        assert!(Approver::default().may_stop(&Whom::All));
        assert_eq!(some.reach.and(Reach::All), Reach::All);
    }
}
