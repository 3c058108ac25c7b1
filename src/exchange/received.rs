use crate::{
    buffer::{Chunk, Segments},
    limits::MASK_HOLD_BYTES_MAX,
};

/// What came from upstream and is in no record yet. Masks send most bytes on as they came, some later: each
/// span that goes on is laid beside what it was, so that only what differs is committed a second time.
#[derive(Debug, Default)]
pub struct Received(Segments);

impl Received {
    /// More came.
    pub fn push(&mut self, data: &Segments) {
        self.0.append(data.clone());
    }

    /// What `data`, which goes to the caller now, was when it came; `None` if it was the same. `held` are the
    /// received bytes that still go through the masks.
    pub fn take(&mut self, data: &Segments, held: usize) -> Option<Segments> {
        let is_same = starts_with(&self.0, data);
        let len = if is_same { data.len_bytes() } else { self.0.len_bytes().saturating_sub(held) };
        let span = self.0.split_to(len);
        // A stream may pause here: few bytes must not keep the memory of a whole read.
        if !self.0.is_empty() && self.0.len_bytes() <= 6 * MASK_HOLD_BYTES_MAX {
            self.0 = Chunk::from(self.0.to_vec()).into();
        }
        (!is_same).then_some(span)
    }

    /// What never went on: the body was cut off. `None` if there is nothing.
    pub fn take_rest(&mut self) -> Option<Segments> {
        Some(std::mem::take(&mut self.0)).filter(|rest| !rest.is_empty())
    }
}

/// Whether `whole` begins with `part`. Slices of the same memory are not looked at.
fn starts_with(whole: &Segments, part: &Segments) -> bool {
    let (mut chunks, mut ours) = (whole.iter(), &[][..]);
    for chunk in part.iter() {
        let mut theirs = &chunk[..];
        while !theirs.is_empty() {
            if ours.is_empty() {
                let Some(next) = chunks.next() else { return false };
                ours = next;
            }
            let (left, right) = (ours.len().min(theirs.len()), theirs);
            if ours.as_ptr() != right.as_ptr() && ours[..left] != right[..left] {
                return false;
            }
            (ours, theirs) = (&ours[left..], &theirs[left..]);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segments(parts: &[&'static str]) -> Segments {
        let mut segments = Segments::new();
        parts.iter().for_each(|part| segments.push(Chunk::from_static(part.as_bytes())));
        segments
    }

    #[test]
    fn only_spans_that_a_mask_changed_have_a_second_view() {
        let mut received = Received::default();
        let mut check = |came: &str, goes: &[&'static str], held: usize, was: Option<&str>| {
            received.push(&Chunk::from(came.as_bytes().to_vec()).into());
            let view = received.take(&segments(goes), held).map(|view| view.to_vec());
            assert_eq!(view.as_deref(), was.map(str::as_bytes), "{came} {goes:?}");
        };
        check("abcdef", &["abc", "d"], 2, None);
        check("gh", &["e", "fg"], 1, None);
        check("card 4242 4", &["h", "card ..42"], 2, Some("hcard 4242"));
        check("5", &[], 3, None);
        check("6 end", &[" 456", " end"], 0, None);
        check("xx", &[], 2, None);
        check("", &["y"], 0, Some("xx"));
        check("longer", &["longer", "than"], 0, Some("longer"));
        assert!(received.take_rest().is_none());
        received.push(&segments(&["cut", " off"]));
        assert_eq!(received.take_rest().unwrap().to_vec(), b"cut off");
    }

    #[test]
    fn what_waits_holds_no_other_memory() {
        let whole = Chunk::from(vec![b'x'; 65_536]);
        let mut received = Received::default();
        received.push(&whole.clone().into());
        assert!(received.take(&whole.slice(..65_000).into(), 536).is_none());
        let rest = received.take_rest().unwrap();
        assert!(rest.iter().all(|chunk| !whole.as_ptr_range().contains(&chunk.as_ptr())));
        assert_eq!(rest.len_bytes(), 536);
    }
}
