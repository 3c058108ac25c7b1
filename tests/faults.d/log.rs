//! Follows the log of a gateway through its lives: each sealed segment is verified once, in order, and what
//! was acknowledged is looked for in it.

use ringward::{
    audit::{Item, Record, Recovery, SegmentReader, Trust, Verifier},
    journal,
    segments::{self, Keys},
};
use std::{
    collections::HashSet,
    io::{self, Read},
    path::{Path, PathBuf},
};

/// A log, as far as it was read.
pub struct Log {
    pub audit: PathBuf,
    verifier: Verifier,
    /// The segment that was read last: its number, its last record, the exchanges that were open there.
    last: (u64, u64, u64),
    /// Acknowledged requests that were not found yet.
    pending: HashSet<String>,
    /// Intents that nobody was told of yet: the log is read before the callers are asked, or after.
    ahead: HashSet<String>,
    pub acknowledged: u64,
    pub found: u64,
    pub recoveries: u64,
}

impl Log {
    pub fn new(audit: &Path) -> Log {
        let (pending, ahead) = Default::default();
        let (verifier, audit) = (Verifier::new(), audit.to_owned());
        Log { audit, verifier, last: (0, 0, 0), pending, ahead, acknowledged: 0, found: 0, recoveries: 0 }
    }

    /// These requests were acknowledged.
    pub fn expect(&mut self, targets: impl IntoIterator<Item = String>) {
        for target in targets.into_iter().collect::<HashSet<_>>() {
            self.acknowledged += 1;
            if self.ahead.remove(&target) {
                self.found += 1;
            } else {
                self.pending.insert(target);
            }
        }
    }

    /// Reads what is sealed by now, and with `to_end` the last segment as well.
    ///
    /// # Panics
    /// The log does not verify, or a RECOVERY says what is not so.
    pub fn follow(&mut self, to_end: bool) {
        let (files, strangers) = segments::list(&self.audit).unwrap();
        assert!(strangers.is_empty(), "{strangers:?}");
        let sealed = if to_end { files.len() } else { files.len().saturating_sub(1) };
        for file in &files[..sealed] {
            if file.number < self.verifier.next_segment() {
                continue;
            }
            let mut bytes = Vec::new();
            file.open(&Keys::default()).and_then(|mut input| input.read_to_end(&mut bytes)).unwrap();
            let verified = self.verifier.segment(file.number, &bytes[..], |_| {});
            verified.unwrap_or_else(|damage| panic!("{}: {damage}", file.path.display()));
            self.enter(file.number, &bytes);
        }
    }

    fn enter(&mut self, number: u64, bytes: &[u8]) {
        let mut reader = SegmentReader::open(bytes, number, None).unwrap();
        loop {
            let frame = match reader.next_item().unwrap() {
                Item::Batch(_) => continue,
                Item::Frame(frame) => frame,
                Item::End(_) => break,
            };
            match frame.decode().unwrap() {
                Record::Intent(intent) => {
                    let target = intent.head.target.clone();
                    if self.pending.remove(&target) {
                        self.found += 1;
                    } else {
                        self.ahead.insert(target);
                    }
                }
                Record::Recovery(recovery) => self.check_recovery(number, &recovery),
                _ => {}
            }
        }
        self.last = (number, reader.position().sequence - 1, self.verifier.open().len() as u64);
    }

    /// RECOVERY must say of the segment before it what is there.
    fn check_recovery(&mut self, number: u64, recovery: &Recovery) {
        self.recoveries += 1;
        let said = (recovery.segment, recovery.kept_through, recovery.open);
        assert_eq!(said, self.last, "{recovery:?} in segment {number}");
        assert!(recovery.lost.is_none_or(|(first, _)| first == recovery.kept_through + 1), "{recovery:?}");
    }

    /// Acknowledged requests that should have been found by now and were not.
    pub fn lost(&self) -> u64 {
        for target in self.pending.iter().take(5) {
            println!("  LOST {target}");
        }
        self.pending.len() as u64
    }

    /// Reads the log of a gateway that has ended; then everything must be there. Returns what is lost.
    ///
    /// # Panics
    /// The log does not verify, or an exchange has no end.
    pub fn end(&mut self, key: &str) -> u64 {
        self.follow(true);
        let trust = Trust { key: Some(key.trim().parse().unwrap()), ..Trust::default() };
        let report = journal::verify_dir_against(&self.audit, &Keys::default(), trust, |_, _| {});
        let report = report.unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((report.exchanges_open, report.sealed), (0, true), "{report:?}");
        // One checkpoint may have been under way when the last one was made.
        assert!(report.records - report.signatures.signed_through <= 2, "{report:?}");
        self.lost()
    }
}

/// Copies the files of a log, which may be in use: where one is replaced meanwhile, all are copied anew.
pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    loop {
        std::fs::create_dir_all(to)?;
        match copy_files(std::fs::read_dir(from)?, to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::remove_dir_all(to)?,
            result => return result,
        }
    }
}

fn copy_files(entries: std::fs::ReadDir, to: &Path) -> io::Result<()> {
    for entry in entries {
        let path = entry?.path();
        std::fs::copy(&path, to.join(path.file_name().unwrap_or_default()))?;
    }
    Ok(())
}
