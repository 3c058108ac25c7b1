use std::{cell::Cell, rc::Rc};

/// The memory that one shard may use for connections and bodies, and what is used of it. Clones are the same
/// budget. Nothing is enforced here: whoever takes memory asks, and refuses or waits.
///
/// What is held is counted by those who hold it; recorded bytes on their way to the journal are told from
/// time to time.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Counts>);

#[derive(Debug)]
struct Counts {
    held: Cell<usize>,
    recorded: Cell<usize>,
    max: Cell<usize>,
}

impl Budget {
    /// A budget of `max` bytes of which nothing is used.
    pub fn new(max: usize) -> Budget {
        Budget(Rc::new(Counts { held: Cell::new(0), recorded: Cell::new(0), max: Cell::new(max) }))
    }

    /// Bytes used.
    pub fn used(&self) -> usize {
        self.0.held.get() + self.0.recorded.get()
    }

    /// Bytes that may be used.
    pub fn max(&self) -> usize {
        self.0.max.get()
    }

    /// Changes the bytes that may be used; what is held already stays.
    pub fn set_max(&self, max: usize) {
        self.0.max.set(max);
    }

    /// Takes note of the bytes that wait for the journal.
    pub fn set_recorded(&self, bytes: usize) {
        self.0.recorded.set(bytes);
    }

    /// Whether memory is short: three quarters are used. Then nothing new is begun.
    pub fn is_short(&self) -> bool {
        self.used() >= self.max() / 4 * 3
    }

    /// Whether all of it is used.
    pub fn is_spent(&self) -> bool {
        self.used() > self.max()
    }

    /// Counts bytes that are there already, whether they fit or not.
    pub fn hold(&self, bytes: usize) -> Held {
        self.0.held.set(self.0.held.get() + bytes);
        Held { budget: self.clone(), bytes }
    }
}

/// Bytes that are counted in a budget until this is dropped.
#[derive(Debug)]
pub struct Held {
    budget: Budget,
    bytes: usize,
}

impl Held {
    /// Bytes that are counted.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The budget they are counted in.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Counts so many bytes from now on.
    pub fn resize(&mut self, bytes: usize) {
        let held = &self.budget.0.held;
        held.set(held.get() - self.bytes + bytes);
        self.bytes = bytes;
    }

    /// Counts `additional` more bytes if they fit; says whether they do.
    #[must_use]
    pub fn try_grow(&mut self, additional: usize) -> bool {
        let fits = self.budget.used() + additional <= self.budget.max();
        if fits {
            self.resize(self.bytes + additional);
        }
        fits
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_counted_until_it_is_dropped() {
        let budget = Budget::new(100);
        let mut one = budget.hold(10);
        assert!(one.try_grow(64) && !budget.is_short());
        assert_eq!((budget.used(), one.bytes()), (74, 74));
        let two = budget.hold(1);
        assert!(budget.is_short() && !one.try_grow(26));
        assert_eq!(one.bytes(), 74, "what does not fit is not counted");
        budget.set_recorded(30);
        assert!(budget.is_spent());
        one.resize(4);
        assert_eq!(budget.used(), 35);
        drop((one, two));
        assert_eq!(budget.used(), 30);
    }
}
