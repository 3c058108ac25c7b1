//! Taking the bodies of a subject out of the log. Its records stay, and everything still verifies: zeros
//! replace salts and bytes, and the nonces leave the openings store.

use super::{
    Failure, Handle,
    openings::{self, Nonces},
    pack::{Memory, Sealed, Shared},
};
use crate::{
    audit::{Commit, Erased, ExchangeId, Record},
    limits::{CALL_TIMEOUT, ERASED_EXCHANGES_MAX},
    segments::{self, Form, Keys, SegmentFile, Zeroed, each_record},
};
use std::{
    collections::BTreeSet,
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

/// While the segment in use is not sealed yet, the journal's health is looked at this often.
const LOOK: Duration = Duration::from_millis(100);

/// Whose bodies are erased, and who asked for it.
#[derive(Clone, Debug)]
pub struct Erasure {
    pub author: Arc<str>,
    /// Only tokens of this issuer; `None`: of every issuer.
    pub issuer: Option<Arc<str>>,
    pub subject: Arc<str>,
}

/// What was erased.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErasedReport {
    /// Exchanges of the subject that the log holds.
    pub exchanges: u64,
    /// CONTENT records whose bytes were replaced now.
    pub contents: u64,
    /// Those bytes.
    pub bytes: u64,
    /// Nonces that were removed now.
    pub nonces: u64,
    /// Segments that only auditors can read: nothing was erased in them but their nonces.
    pub encrypted_segments: u64,
}

/// Why nothing, or not everything, was erased; asked again, it goes on.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The journal does not record that it happens, so that it does not happen.
    #[error("the erasure cannot be recorded, so nothing was erased: {0}")]
    Record(#[from] Failure),
    /// The segment that is being written was not sealed in time.
    #[error("the segment in use was not sealed in time; nothing was erased: try again")]
    Unsealed,
    #[error("the log cannot be read or rewritten: {0}; erase again to go on")]
    Io(#[from] io::Error),
}

impl Handle {
    /// Erases the bodies of `erasure.subject` that are in the log by now: first an ERASED record says so,
    /// then the segment in use is sealed and the bytes are replaced. Blocks for as long as reading the whole
    /// log takes.
    ///
    /// # Errors
    /// [`EraseError`].
    pub fn erase(&self, erasure: &Erasure) -> Result<ErasedReport, EraseError> {
        let shared = self.0.packer.shared();
        let mut report = ErasedReport::default();
        let exchanges = {
            let _turn = shared.turn();
            exchanges_of(&segments::list(&shared.folder)?.0, erasure)?
        };
        report.exchanges = exchanges.len() as u64;
        let Some((first, last)) = self.record_erasure(erasure, &exchanges)? else { return Ok(report) };
        let sealed = self.sealed_behind(last)?;
        let _turn = shared.turn();
        let (segments, _) = segments::list(&shared.folder)?;
        for segment in segments.iter().filter(|segment| segment.number < sealed.below) {
            if segment.form == Form::Encrypted {
                report.encrypted_segments += 1;
            } else {
                unless_removed(segment, erase_in(shared, segment, &exchanges, first, &mut report))?;
            }
            report.nonces += erase_nonces(shared, &self.0.openings_dir, segment.number, &exchanges)?;
        }
        Ok(report)
    }

    /// Exchanges whose bodies [`Handle::erase`] would take out; nothing is changed. Blocks as that does.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn count_erasable(&self, erasure: &Erasure) -> io::Result<u64> {
        let shared = self.0.packer.shared();
        let _turn = shared.turn();
        Ok(exchanges_of(&segments::list(&shared.folder)?.0, erasure)?.len() as u64)
    }

    /// What is sealed once record `sequence` is.
    fn sealed_behind(&self, sequence: u64) -> Result<Sealed, EraseError> {
        let begun = Instant::now();
        loop {
            if let Some(sealed) = self.0.packer.shared().wait_sealed(sequence, LOOK) {
                return Ok(sealed);
            }
            if begun.elapsed() >= CALL_TIMEOUT || self.health().failure.is_some() {
                return Err(EraseError::Unsealed);
            }
        }
    }

    /// The first and the last record that name the exchanges; nothing, if there are none.
    fn record_erasure(
        &self,
        erasure: &Erasure,
        exchanges: &BTreeSet<ExchangeId>,
    ) -> Result<Option<(u64, u64)>, Failure> {
        let all: Vec<ExchangeId> = exchanges.iter().copied().collect();
        let mut records = None;
        for exchanges in all.chunks(ERASED_EXCHANGES_MAX) {
            let record = Record::Erased(Box::new(Erased {
                at: super::segment::now(),
                author: erasure.author.clone(),
                issuer: erasure.issuer.clone().unwrap_or_default(),
                subject: erasure.subject.clone(),
                exchanges: exchanges.to_vec(),
            }));
            let sequence = self.append_blocking(Commit::Durable, record)?;
            records = Some((records.map_or(sequence, |(first, _)| first), sequence));
        }
        Ok(records)
    }
}

/// What came of reading a segment: nothing is left to be erased where retention has removed it meanwhile. Its
/// other form cannot have come, as long as it is our turn.
fn unless_removed(segment: &SegmentFile, read: io::Result<()>) -> io::Result<()> {
    match read {
        Err(error) if error.kind() == io::ErrorKind::NotFound && !segment.path.exists() => Ok(()),
        read => read,
    }
}

/// The exchanges of the subject in all of these segments that can be read.
pub(super) fn exchanges_of(segments: &[SegmentFile], erasure: &Erasure) -> io::Result<BTreeSet<ExchangeId>> {
    let mut found = BTreeSet::new();
    let last = segments.last().map_or(0, |segment| segment.number);
    for segment in segments.iter().filter(|segment| segment.form != Form::Encrypted) {
        let read = each_record(segment, &Keys::default(), segment.number == last, |_, record, _| {
            let (id, subject) = match &record {
                Record::Intent(intent) => (intent.id, &intent.subject),
                Record::Refusal(refusal) => (refusal.id, &refusal.subject),
                _ => return,
            };
            if let Some(subject) = subject
                && subject.subject == erasure.subject
                && erasure.issuer.as_ref().is_none_or(|issuer| *issuer == subject.issuer)
            {
                found.insert(id);
            }
        });
        unless_removed(segment, read)?;
    }
    Ok(found)
}

/// Replaces salts and bytes of the exchanges in one sealed segment, in the records before `until`.
fn erase_in(
    shared: &Shared,
    segment: &SegmentFile,
    exchanges: &BTreeSet<ExchangeId>,
    until: u64,
    report: &mut ErasedReport,
) -> io::Result<()> {
    let mut ranges = Vec::new();
    each_record(segment, &Keys::default(), false, |sequence, record, tail| {
        if let (Record::Content(content), Some(tail)) = (record, tail)
            && sequence < until
            && exchanges.contains(&content.id)
        {
            ranges.push(tail);
        }
    })?;
    if ranges.is_empty() {
        return Ok(());
    }
    let (contents, bytes) =
        (ranges.len() as u64, ranges.iter().map(|range| range.end - range.start).sum::<u64>());
    let mut raw = Zeroed::new(segment.open(&Keys::default())?, ranges.into());
    let is_there = shared.replace(&segment.path, &segment.path, |mut output| match segment.form {
        Form::Packed => shared.compress(&mut raw, None, output, &mut Memory::default()).map(drop),
        _ => io::copy(&mut raw, &mut output).map(drop),
    })?;
    if !is_there {
        return Ok(());
    }
    (report.contents, report.bytes) = (report.contents + contents, report.bytes + bytes);
    Ok(())
}

/// Takes the nonces of the exchanges out of the openings of one segment.
fn erase_nonces(
    shared: &Shared,
    folder: &Path,
    number: u64,
    exchanges: &BTreeSet<ExchangeId>,
) -> io::Result<u64> {
    let Some(nonces) = Nonces::read(folder, number)? else { return Ok(0) };
    let (left, removed) = nonces.without(exchanges);
    if removed > 0 {
        let path = openings::path(folder, number);
        shared.replace(&path, &path, |mut output| io::Write::write_all(&mut output, &left))?;
    }
    Ok(removed)
}
