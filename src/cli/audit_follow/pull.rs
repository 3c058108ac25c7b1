//! Takes the segments that the source has sealed, verifies each, and has them proven by the kept head.

use super::{
    Alarm, End, Follower,
    source::{Failure, broken},
};
use crate::{
    admin::{OfferedSegment, Offers},
    archive::{CopyError, CopyPart, CopyRefused, CopyTaken, CopyVerified, FollowedCopy},
    audit::Damage,
    cli::exit,
    segments,
};
use serde_json::json;
use std::{
    io::Write,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// Without a new head, the source is asked for segments this often.
const LOOK: Duration = Duration::from_secs(5);
/// Before a segment is asked for again.
const RETRY: Duration = Duration::from_millis(500);
/// `--once` tries so long to get a segment.
const ONCE_TIMEOUT: Duration = Duration::from_secs(30);
/// A head comes at most this long after the records that it covers.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a round was not finished.
enum Halt {
    End(End),
    /// The source cannot give it now.
    Later(Failure),
}

impl From<End> for Halt {
    fn from(end: End) -> Halt {
        Halt::End(end)
    }
}

impl From<CopyError> for Halt {
    fn from(error: CopyError) -> Halt {
        Halt::End(error.into())
    }
}

/// What stands between two rounds.
#[derive(Default)]
struct Rounds {
    /// Records up to which the segments are proven.
    proven: u64,
    /// Erased bodies that nothing explained at the end of the last round.
    unexplained: Option<Damage>,
    /// Segments that were taken.
    taken: u64,
}

impl Follower<'_> {
    /// Takes segments until one speaks against the source, or with `--once` until all are here.
    pub(super) async fn pull(&self, mut copy: FollowedCopy) -> End {
        let mut newest = self.newest.subscribe();
        let mut rounds = Rounds::default();
        let begun = Instant::now();
        loop {
            if newest.borrow_and_update().is_none() {
                // The sender lives as long as this does.
                let _ = newest.changed().await;
                continue;
            }
            let (returned, done) = self.round(copy, &mut rounds).await;
            copy = match (returned, done) {
                (_, Err(Halt::End(end))) => return end,
                (Some(copy), Err(Halt::Later(failure))) => {
                    if let Some(end) = self.gives_up(&failure, begun) {
                        return end;
                    }
                    sleep(RETRY).await;
                    copy
                }
                (Some(copy), Ok(())) if self.once => return End::Done(self.summary(&copy, &rounds)),
                (Some(copy), Ok(())) => {
                    let _ = timeout(LOOK, newest.changed()).await;
                    copy
                }
                (None, _) => {
                    let message = "a thread that verified a segment ended unexpectedly".to_owned();
                    return End::Failed { message, code: exit::FAILED };
                }
            };
        }
    }

    /// Whether what is missing is not waited for any more.
    fn gives_up(&self, failure: &Failure, begun: Instant) -> Option<End> {
        let why = match self.why(failure) {
            Ok(why) => why,
            Err(end) => return Some(end),
        };
        self.says.detail("waits", json!({ "error": why }), &format!("a segment is waited for: {why}"));
        let is_over = self.once && begun.elapsed() >= ONCE_TIMEOUT;
        is_over.then(|| End::Failed {
            message: format!("no segment from {}: {why}", self.source.name()),
            code: exit::UNREACHABLE,
        })
    }

    /// Takes everything that is sealed now, and has it proven. Gives the copy back, unless its thread died.
    async fn round(
        &self,
        copy: FollowedCopy,
        rounds: &mut Rounds,
    ) -> (Option<FollowedCopy>, Result<(), Halt>) {
        let offers = match self.source.offers(copy.last()).await {
            Ok(offers) => offers,
            Err(failure) => return (Some(copy), Err(Halt::Later(failure))),
        };
        if let Err(end) = self.check_order(&offers, copy.last()) {
            return (Some(copy), Err(Halt::End(end)));
        }
        let mut copy = copy;
        for offered in &offers.segments {
            let part = match self.download(&copy, offered).await {
                Ok(part) => part,
                Err(halt) => return (Some(copy), Err(halt)),
            };
            // Not before: a kept head that the source can still prove may have moved meanwhile.
            self.hold_head(&mut copy);
            // Reading 64 MiB takes a while; heads go on being looked at.
            let verifying = tokio::task::spawn_blocking(move || {
                let taken = copy.take(&part);
                (copy, part, taken)
            });
            let Ok((back, part, taken)) = verifying.await else { return (None, Ok(())) };
            copy = back;
            let taken = match taken {
                Ok(taken) => taken,
                Err(CopyRefused::Copy(error)) => return (Some(copy), Err(error.into())),
                Err(CopyRefused::Bad { number, why, is_fork }) => {
                    let kind = if is_fork { "fork" } else { "segment" };
                    let message = format!("segment {number} does not verify: {why}");
                    let (seen, segment) = (format!("{part:?}"), Some(copy.part_path(&part)));
                    let end = End::Alarm(Alarm { kind, message, seen, segment });
                    return (Some(copy), Err(Halt::End(end)));
                }
            };
            rounds.taken += 1;
            self.read.set(copy.proven());
            self.say_taken(&part, &taken);
            if let Err(end) = self.erased(&copy, offered.number, &taken) {
                return (Some(copy), Err(Halt::End(end)));
            }
        }
        let done = self.prove(&copy, rounds).await;
        (Some(copy), done)
    }

    /// A list has no holes; only its beginning may be gone.
    fn check_order(&self, offers: &Offers, last: u64) -> Result<(), End> {
        let numbers: Vec<u64> = offers.segments.iter().map(|segment| segment.number).collect();
        let Some(first) = numbers.first().copied() else { return Ok(()) };
        let has_hole = numbers.windows(2).any(|pair| pair[1] != pair[0] + 1);
        let is_removed = first == offers.oldest && first > last;
        if has_hole || !(first == last + 1 || is_removed) {
            let message =
                format!("segments are missing between {last} and those that it offers: {numbers:?}");
            return Err(End::Alarm(Alarm {
                kind: "segment",
                message,
                seen: format!("{offers:?}"),
                segment: None,
            }));
        }
        if first > last + 1 {
            let (from, to) = (last + 1, first - 1);
            let sentence =
                format!("segments {from} to {to} were removed at the source before they were taken");
            self.says.note("removed", json!({ "from": from, "to": to }), &sentence);
        }
        Ok(())
    }

    /// Holds the segments that come against the kept head: with encrypted ones this is what proves it.
    fn hold_head(&self, copy: &mut FollowedCopy) {
        let witness = self.witness.borrow();
        let Some((own, note)) = witness.own() else { return };
        if self.held.get() != own.size && copy.hold(note).unwrap_or(false) {
            self.held.set(own.size);
        }
    }

    /// Takes the bytes of a segment, as far as they are not here already.
    async fn download(&self, copy: &FollowedCopy, offered: &OfferedSegment) -> Result<CopyPart, Halt> {
        let kept = copy.resumable()?.filter(|(part, bytes)| part.number == offered.number && *bytes > 0);
        let resume = kept.as_ref().map(|(part, bytes)| (part, *bytes));
        let answer = match self.source.segment(offered.number, resume).await {
            // Everything of it may be here, or what is here is of another file.
            Err(Failure::Missing(_)) if resume.is_some() => self.source.segment(offered.number, None).await,
            answer => answer,
        };
        let (part, offset, total, mut answer) = answer.map_err(Halt::Later)?;
        if segments::number_of(&part.name).map(|(number, _)| number) != Some(offered.number) {
            let why = format!("it gives a file that is not segment {}", offered.number);
            return Err(Halt::Later(Failure::Refused(why)));
        }
        let mut file = copy.begin(&part, offset > 0)?;
        let path = copy.part_path(&part);
        let failed = |source| End::Failed {
            message: format!("cannot write {}: {source}", path.display()),
            code: exit::FAILED,
        };
        let mut taken = offset;
        while let Some(piece) = answer.chunk().await.map_err(|error| Halt::Later(broken(error)))? {
            file.write_all(&piece).map_err(failed)?;
            taken += piece.len() as u64;
        }
        if offset > 0 {
            let sentence = format!("segment {} was resumed at byte {offset} of {total}", offered.number);
            self.says.detail("resumed", json!({ "segment": offered.number, "offset": offset }), &sentence);
        }
        match taken == total {
            true => Ok(part),
            false => Err(Halt::Later(Failure::Unreachable("a segment was broken off".to_owned()))),
        }
    }

    fn say_taken(&self, part: &CopyPart, taken: &CopyTaken) {
        let (name, number) = (&part.name, part.number);
        match taken {
            CopyTaken::Verified(CopyVerified { records, .. }) => {
                let fields = json!({ "segment": number, "name": name, "verified": true, "records": records });
                self.says.note("segment", fields, &format!("{name}: verified, up to record {records}"));
            }
            CopyTaken::Unopened => {
                let fields = json!({ "segment": number, "name": name, "verified": false });
                let sentence =
                    format!("{name}: kept, not verified: it is encrypted, and --identity opens it");
                self.says.note("segment", fields, &sentence);
            }
        }
    }

    /// Bodies that were erased at the source: said, and with `--prune-erased` taken out here, too.
    fn erased(&self, copy: &FollowedCopy, number: u64, taken: &CopyTaken) -> Result<(), End> {
        let CopyTaken::Verified(CopyVerified { erasures: 1.., .. }) = taken else { return Ok(()) };
        if !self.prune {
            let sentence = format!(
                "segment {number} says that bodies were erased at the source: they are still in this copy; \
                 --prune-erased takes them out"
            );
            self.says.note("erased", json!({ "segment": number, "pruned": false }), &sentence);
            return Ok(());
        }
        let pruned = copy.prune(number)?;
        let fields = json!({
            "segment": number, "pruned": true, "segments": pruned.segments, "contents": pruned.contents,
            "bytes": pruned.bytes, "encrypted_segments": pruned.encrypted,
        });
        let sentence = format!(
            "bodies that were erased at the source were taken out: {} in {} segments; {} encrypted ones stay",
            pruned.contents, pruned.segments, pruned.encrypted
        );
        self.says.note("erased", fields, &sentence);
        Ok(())
    }

    /// Has the segments proven by the kept head, once that covers them.
    async fn prove(&self, copy: &FollowedCopy, rounds: &mut Rounds) -> Result<(), Halt> {
        let unexplained = copy.unexplained();
        if let (Some(before), Some(_)) = (rounds.unexplained, unexplained) {
            // Its ERASED record was sealed before the first byte was erased: a whole round later it is here.
            let (message, seen) = (format!("it offers a changed segment: {before}"), format!("{before:?}"));
            return Err(End::Alarm(Alarm { kind: "segment", message, seen, segment: None }).into());
        }
        rounds.unexplained = unexplained;
        let Some(CopyVerified { records, root, .. }) = copy.proven() else { return Ok(()) };
        if records == rounds.proven {
            return Ok(());
        }
        let mut newest = self.newest.subscribe();
        let covering = newest.wait_for(|own| own.as_ref().is_some_and(|own| own.size >= records));
        let own = match timeout(HEAD_TIMEOUT, covering).await {
            Ok(Ok(own)) => own.clone(),
            _ => return Err(Halt::Later(Failure::Missing("no head covers the segments yet".to_owned()))),
        };
        let Some(own) = own else { return Ok(()) };
        let path = match self.source.consistency(records, own.size).await {
            Ok(path) => path,
            // The records behind are encrypted, too: their own segment proves these, once it is here.
            Err(Failure::Encrypted | Failure::Removed(_)) => return Ok(()),
            Err(failure) => return Err(Halt::Later(failure)),
        };
        let witness = self.witness.borrow();
        let Some((newest, note)) = witness.own() else { return Ok(()) };
        if *newest != own {
            // A newer one was kept meanwhile: it is asked for that one.
            return Err(Halt::Later(Failure::Missing("a newer head came".to_owned())));
        }
        witness.holds(records, &root, &path).map_err(|found| End::suspicion(&found, note))?;
        rounds.proven = records;
        Ok(())
    }

    fn summary(&self, copy: &FollowedCopy, rounds: &Rounds) -> String {
        let covered = self.newest.borrow().as_ref().map_or(0, |own| own.size);
        let unopened = match copy.unopened() {
            0 => String::new(),
            count => format!("; {count} encrypted ones not opened"),
        };
        let (last, taken) = (copy.last(), rounds.taken);
        let fields = json!({
            "signed_through": covered, "last_segment": last, "taken": taken, "unopened": copy.unopened(),
            "proven_through": rounds.proven,
        });
        self.says.detail("done", fields, "done");
        format!("{covered} records signed, segments up to {last}, {taken} of them new{unopened}")
    }
}
