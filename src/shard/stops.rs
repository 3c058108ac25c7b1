//! Exchanges under way, to be told when operators stop callers: a stream without a byte under way would
//! notice it only with its next one.

use crate::runtime::Slot;
use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

/// The exchanges of one shard that are with their upstreams. As many as the most that there were at once.
#[derive(Default)]
pub struct Stops {
    /// One place each; a place is used again.
    places: RefCell<Vec<Slot<()>>>,
    free: RefCell<Vec<usize>>,
    /// The version of what operators have stopped that all were told of.
    told: Cell<u64>,
}

/// The place of one exchange, until it is dropped.
pub struct Stop {
    stops: Rc<Stops>,
    place: usize,
    slot: Slot<()>,
}

impl Stops {
    /// Takes a place.
    pub fn enter(self: &Rc<Stops>) -> Stop {
        let place = self.free.borrow_mut().pop();
        let mut places = self.places.borrow_mut();
        let place = place.unwrap_or_else(|| {
            places.push(Slot::new());
            places.len() - 1
        });
        Stop { stops: self.clone(), place, slot: places[place].clone() }
    }

    /// Tells all who have a place to look whether they are meant, once for each version.
    pub fn tell(&self, version: u64) {
        if self.told.replace(version) != version {
            for slot in self.places.borrow().iter() {
                slot.put(());
            }
        }
    }
}

impl Stop {
    /// Waits until operators stop somebody; may be dropped.
    pub async fn ordered(&self) {
        self.slot.take().await;
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        // What it was told is no news for the next one, whose exchange looks by itself when it begins.
        let _ = self.slot.try_take();
        self.stops.free.borrow_mut().push(self.place);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_used_again_and_each_version_is_told_once() {
        let stops = Rc::new(Stops::default());
        let (first, second) = (stops.enter(), stops.enter());
        stops.tell(1);
        assert_eq!((first.slot.try_take(), second.slot.try_take()), (Some(()), Some(())));
        stops.tell(1);
        assert_eq!(first.slot.try_take(), None);
        stops.tell(2);
        let place = first.place;
        drop(first);
        let third = stops.enter();
        assert_eq!((third.place, third.slot.try_take()), (place, None), "it begins without an order");
        assert_eq!(second.slot.try_take(), Some(()));
        assert_eq!(stops.places.borrow().len(), 2);
    }
}
