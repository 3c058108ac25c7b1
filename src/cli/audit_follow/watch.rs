//! Takes every new head of the source, and holds it against the kept one.

use super::{
    Alarm, End, Follower,
    source::{Failure, Newest},
};
use crate::{
    audit::{Sight, Suspicion},
    cli::exit,
    runtime,
    time::Timestamp,
};
use serde_json::json;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Pauses before a source that does not answer is asked again. An alarm is never later than the last one.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// A source that is not there is mentioned again after this time.
const REMIND: Duration = Duration::from_secs(60);
/// A source that goes on signing heads, and for so long does not prove one, hides something.
const PROOF_TIMEOUT: Duration = Duration::from_secs(10);

/// Since when the source does not answer, and how often it was asked.
#[derive(Default)]
struct Outage {
    since: Option<(Timestamp, Instant)>,
    said: Option<Instant>,
    attempts: u32,
}

/// What became of a head.
enum Judged {
    Kept,
    /// It is neither proven nor disproven yet, because of this.
    Open(Failure),
    /// What it has to be proven from has to be pulled first.
    Waits,
}

impl Follower<'_> {
    /// Follows the heads until something speaks against the source.
    pub(super) async fn watch(&self) -> End {
        let mut known: Option<String> = None;
        let mut outage = Outage::default();
        // Since when a head stands open that the source does not prove.
        let mut unproven: Option<Instant> = None;
        loop {
            let failure = match self.source.head(known.as_deref()).await {
                Ok(Newest::Same) => {
                    self.answers_again(&mut outage);
                    continue;
                }
                Ok(Newest::Note { note, tag }) => match self.judge(&note).await {
                    Err(end) => return end,
                    Ok(Judged::Kept) => {
                        self.answers_again(&mut outage);
                        (known, unproven) = (Some(tag), None);
                        continue;
                    }
                    Ok(Judged::Waits) => {
                        self.answers_again(&mut outage);
                        // It waits for segments, so they are pulled on what is known so far.
                        self.newest.send_replace(self.witness.borrow().own().map(|(own, _)| own.clone()));
                        sleep(RETRY_MAX).await;
                        continue;
                    }
                    Ok(Judged::Open(failure)) => {
                        let is_answer = matches!(failure, Failure::Missing(_) | Failure::Refused(_));
                        let since = unproven.get_or_insert_with(Instant::now);
                        if is_answer && since.elapsed() >= PROOF_TIMEOUT {
                            return unproven_head(&failure, &note);
                        }
                        failure
                    }
                },
                Err(failure) => failure,
            };
            if let Some(end) = self.waits(failure, &mut outage).await {
                return end;
            }
        }
    }

    /// Says that there is no answer, and waits a moment before the next attempt.
    async fn waits(&self, failure: Failure, outage: &mut Outage) -> Option<End> {
        let why = match self.why(&failure) {
            Ok(why) => why,
            Err(end) => return Some(end),
        };
        let (since, begun) = *outage.since.get_or_insert_with(|| (runtime::now().wall, Instant::now()));
        outage.attempts += 1;
        if self.once && begun.elapsed() >= RETRY_MAX {
            let message = format!("no head from {}: {why}", self.source.name());
            return Some(End::Failed { message, code: exit::UNREACHABLE });
        }
        // A restart is over sooner than this.
        let is_due = begun.elapsed() >= RETRY_MAX && outage.said.is_none_or(|said| said.elapsed() >= REMIND);
        if is_due {
            outage.said = Some(Instant::now());
            let fields = json!({ "since": since.to_string(), "error": why });
            let sentence = format!("no head from {} since {since}: {why}; still trying", self.source.name());
            self.says.note("unreachable", fields, &sentence);
        }
        let pause = RETRY_FIRST.saturating_mul(1 << outage.attempts.min(10)).min(RETRY_MAX);
        sleep(pause).await;
        None
    }

    fn answers_again(&self, outage: &mut Outage) {
        if let (Some((since, _)), Some(_)) = (outage.since, outage.said) {
            let fields = json!({ "since": since.to_string() });
            self.says.note("reachable", fields, &format!("{} answers again", self.source.name()));
        }
        *outage = Outage::default();
    }

    /// Holds a head against the kept one, and keeps it.
    async fn judge(&self, note: &str) -> Result<Judged, End> {
        let mut sight = self.witness.borrow().look(note);
        if let Err(Suspicion::Untrusted(_)) = sight {
            // A key may have come that is not known yet; it has to be one that the known ones have signed.
            if let Err(failure) = self.learn().await? {
                return Ok(Judged::Open(failure));
            }
            sight = self.witness.borrow().look(note);
        }
        let accused = |suspicion: Suspicion| End::suspicion(&suspicion, note);
        match sight.map_err(accused)? {
            Sight::Same => {}
            Sight::First(_) => self.witness.borrow_mut().accept(note, &[]).map_err(accused)?,
            Sight::Further { from, seen } => match self.source.consistency(from, seen.size).await {
                Ok(path) => self.witness.borrow_mut().accept(note, &path).map_err(accused)?,
                Err(Failure::Encrypted) if self.has_identity => {
                    return self.judge_from_copy(note, from).await;
                }
                Err(Failure::Removed(why)) => {
                    self.witness.borrow_mut().accept_unproven(note).map_err(accused)?;
                    let fields = json!({ "from": from, "to": seen.size, "error": why });
                    let sentence = format!(
                        "NOT PROVEN: the source has removed what leads on from record {from}; that its head \
                         of {} records goes on from there is signed, no more: {why}",
                        seen.size
                    );
                    self.says.alarm("unproven", fields, &sentence);
                }
                Err(Failure::Encrypted) => {
                    self.witness.borrow_mut().accept_unproven(note).map_err(accused)?;
                    let fields = json!({ "from": from, "to": seen.size });
                    let sentence = format!(
                        "records {from} to {} are encrypted: that they follow from those before is signed \
                         and not proven; --identity FILE opens them",
                        seen.size
                    );
                    self.says.note("unproven", fields, &sentence);
                }
                Err(failure) => return Ok(Judged::Open(failure)),
            },
        }
        self.keep()?;
        Ok(Judged::Kept)
    }

    /// Proves a head from the segments that were pulled, where the source cannot read them any more.
    async fn judge_from_copy(&self, note: &str, own: u64) -> Result<Judged, End> {
        let Some(read) = self.read.get().filter(|read| read.records >= own && self.held.get() == own) else {
            return Ok(Judged::Waits);
        };
        let seen = self.witness.borrow().look(note).map_err(|found| End::suspicion(&found, note))?;
        let Sight::Further { seen, .. } = seen else { return Ok(Judged::Waits) };
        if read.records > seen.size {
            return Ok(Judged::Waits);
        }
        match self.source.consistency(read.records, seen.size).await {
            Ok(path) => {
                let accepted = self.witness.borrow_mut().accept_from(note, read.records, &read.root, &path);
                accepted.map_err(|found| End::suspicion(&found, note))?;
                self.keep()?;
                Ok(Judged::Kept)
            }
            Err(Failure::Encrypted) => Ok(Judged::Waits),
            Err(failure) => Ok(Judged::Open(failure)),
        }
    }

    /// Writes down the head that was just accepted.
    fn keep(&self) -> Result<(), End> {
        let witness = self.witness.borrow();
        let Some((own, note)) = witness.own() else { return Ok(()) };
        if self.newest.borrow().as_ref() == Some(own) {
            return Ok(());
        }
        self.heads.keep(note)?;
        self.newest.send_replace(Some(own.clone()));
        let root = crate::cli::output::hex(&own.root);
        let sentence = format!("head of {} records, {root}", own.size);
        self.says.detail("head", json!({ "records": own.size, "root": root }), &sentence);
        Ok(())
    }

    /// Asks for the keys of the log and takes those that follow from the known ones.
    async fn learn(&self) -> Result<Result<(), Failure>, End> {
        let stated = match self.source.keys().await {
            Ok(stated) => stated,
            Err(failure) => return Ok(Err(failure)),
        };
        let is_first = self.witness.borrow().keys().current().is_none();
        let learned = self.witness.borrow_mut().learn(&stated, self.pinned.as_ref());
        let new = learned.map_err(|suspicion| {
            let seen: Vec<Arc<str>> = stated.into_iter().map(|key| key.note).collect();
            End::suspicion(&suspicion, &seen.join("\n"))
        })?;
        let Some(key) = new.last().map(ToString::to_string) else { return Ok(Ok(())) };
        self.heads.keep_keys(self.witness.borrow().keys())?;
        let fields = json!({ "key": key, "first_contact": is_first, "pinned": self.pinned.is_some() });
        let sentence = match (is_first, &self.pinned) {
            (true, None) => format!(
                "FIRST CONTACT: the key of {} is believed from now on: {key}\n\
                 compare it with what `ringward audit key` prints there, or give --key",
                self.source.name()
            ),
            (true, Some(_)) => format!("the log of {} is signed with {key}", self.source.name()),
            (false, _) => format!("the log is signed with a new key, which the one before has signed: {key}"),
        };
        for line in sentence.lines() {
            self.says.note("key", fields.clone(), line);
        }
        Ok(Ok(()))
    }
}

fn unproven_head(failure: &Failure, note: &str) -> End {
    let why = match failure {
        Failure::Missing(why)
        | Failure::Refused(why)
        | Failure::Removed(why)
        | Failure::Unreachable(why)
        | Failure::Denied(why) => why,
        Failure::Encrypted => "it is encrypted",
    };
    let seconds = PROOF_TIMEOUT.as_secs();
    let message = format!("it signs heads, and for {seconds} s has not proven that they go on: {why}");
    End::Alarm(Alarm { kind: "unproven", message, seen: note.to_owned(), segment: None })
}
