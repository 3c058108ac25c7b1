//! The shard's way to the background thread: what must arrive there waits here when there is no room.

use crate::{
    exchange::handover::{Errand, Errands, Work},
    limits::ERRANDS_OWED_MAX,
};
use std::{cell::RefCell, collections::VecDeque};

/// Errands of one shard. What nobody waits for, but somebody must learn, is never refused because others were
/// faster: how an approved request ended, that one waits no more, that a lease is to be revoked.
pub struct OwedErrands {
    queue: Box<dyn Errands>,
    owed: RefCell<VecDeque<Errand>>,
}

impl OwedErrands {
    /// Errands that go to `queue`.
    pub fn new(queue: Box<dyn Errands>) -> OwedErrands {
        OwedErrands { queue, owed: RefCell::default() }
    }

    /// Hands over what has waited for room, the first ones first; gives how many still wait.
    pub fn catch_up(&self) -> usize {
        let mut owed = self.owed.borrow_mut();
        while let Some(errand) = owed.pop_front() {
            if let Err(back) = self.queue.send(errand) {
                owed.push_front(back);
                break;
            }
        }
        owed.len()
    }

    fn keep(&self, errand: Errand) -> Result<(), Errand> {
        let mut owed = self.owed.borrow_mut();
        if owed.len() >= ERRANDS_OWED_MAX {
            return Err(errand);
        }
        owed.push_back(errand);
        Ok(())
    }
}

impl Errands for OwedErrands {
    /// Takes an errand.
    ///
    /// # Errors
    /// Too many wait: of those that somebody waits for, or [`ERRANDS_OWED_MAX`] of the others.
    fn send(&self, errand: Errand) -> Result<(), Errand> {
        let is_owed = matches!(errand.work, Work::Settle(..) | Work::Leave | Work::Release(_));
        if is_owed && !self.owed.borrow().is_empty() {
            return self.keep(errand);
        }
        match self.queue.send(errand) {
            Err(back) if is_owed => self.keep(back),
            sent => sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{approval::Settlement, audit::ExchangeId};
    use std::{cell::Cell, rc::Rc};

    /// A queue with so much room, and what it took.
    #[derive(Clone, Default)]
    struct Narrow(Rc<(Cell<usize>, RefCell<Vec<u64>>)>);

    impl Errands for Narrow {
        fn send(&self, errand: Errand) -> Result<(), Errand> {
            let Some(left) = self.0.0.get().checked_sub(1) else { return Err(errand) };
            self.0.0.set(left);
            self.0.1.borrow_mut().push(errand.ticket);
            Ok(())
        }
    }

    fn errand(ticket: u64, work: Work) -> Errand {
        Errand { shard: 0, ticket, work }
    }

    #[test]
    fn a_full_queue_leaves_no_card_being_sent_for_ever() {
        let narrow = Narrow::default();
        let errands = OwedErrands::new(Box::new(narrow.clone()));
        let settle = || Work::Settle(ExchangeId([7; 16]), Settlement::Complete);
        assert!(errands.send(errand(1, settle())).is_ok(), "it waits for room");
        assert!(errands.send(errand(2, Work::Leave)).is_ok());
        narrow.0.0.set(1);
        assert!(errands.send(errand(3, settle())).is_ok(), "behind those that wait");
        assert_eq!((errands.catch_up(), narrow.0.1.borrow().clone()), (2, vec![1]));
        narrow.0.0.set(8);
        assert_eq!((errands.catch_up(), narrow.0.1.borrow().clone()), (0, vec![1, 2, 3]));
    }

    #[test]
    fn what_waits_for_room_is_bounded() {
        let errands = OwedErrands::new(Box::new(Narrow::default()));
        for ticket in 0..ERRANDS_OWED_MAX as u64 {
            assert!(errands.send(errand(ticket, Work::Leave)).is_ok());
        }
        assert!(errands.send(errand(0, Work::Leave)).is_err());
    }
}
