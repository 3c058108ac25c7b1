use super::{record::Access, record::Record};
use crate::time::Timestamp;
use std::fmt;

/// What retention took away: the beginning of a log, recorded before it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// The last segment that goes.
    pub segment: u64,
}

/// Who removes: no person.
const AUTHOR: &str = "retention";
/// What is done.
const ACTION: &str = "remove";

impl Removal {
    /// The ADMIN record of it.
    pub fn to_record(self, at: Timestamp) -> Record {
        let object = self.to_string().into();
        Record::Admin(Access { at, author: AUTHOR.into(), action: ACTION.into(), object })
    }

    /// What an ADMIN record says of a removal; `None` where it says something else.
    pub fn of(record: &Record) -> Option<Removal> {
        let Record::Admin(access) = record else { return None };
        let is_removal = (&*access.author, &*access.action) == (AUTHOR, ACTION);
        let number = access.object.strip_prefix("segments to ").filter(|_| is_removal)?;
        number.parse().ok().map(|segment| Removal { segment })
    }
}

/// `segments to 7`.
impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "segments to {}", self.segment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_removal_reads_as_it_was_written_and_nothing_else_reads_as_one() {
        let removal = Removal { segment: 7 };
        let record = removal.to_record(Timestamp(1));
        assert_eq!(Removal::of(&record), Some(removal));
        let Record::Admin(access) = record else { panic!("an ADMIN record") };
        let changed = |change: fn(&mut Access)| {
            let mut access = access.clone();
            change(&mut access);
            Removal::of(&Record::Admin(access))
        };
        assert_eq!(changed(|access| access.author = "local:0".into()), None);
        assert_eq!(changed(|access| access.action = "show".into()), None);
        assert_eq!(changed(|access| access.object = "7".into()), None);
        assert_eq!(changed(|access| access.object = "segments to -7".into()), None);
    }
}
