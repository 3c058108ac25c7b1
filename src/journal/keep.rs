//! The thread that keeps house: it watches the room on the disk, holds a reserve for the last records, and
//! deletes the oldest segments when they are old or many. What is deleted is recorded before.

use super::{Handle, commit::Shared, disk::Disk, openings, segment};
use crate::{
    audit::{Commit, Removal},
    limits::{KEEP_INTERVAL, REMOVED_SEGMENTS_MAX, RESERVE_BYTES},
    segments::{self, Form, SegmentFile},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// How long segments are kept, and how full the disk may be.
#[derive(Clone, Debug)]
pub struct Keep {
    /// Sealed segments older than this are deleted; `None` keeps them.
    pub age: Option<Duration>,
    /// The oldest ones are deleted while the log is larger than this.
    pub max: Option<Bound>,
    /// Used part of the disk from which on the operator is warned, and no INTENT is taken, in percent.
    pub warn_percent: u8,
    pub refuse_percent: u8,
    /// How often all of it is looked at.
    pub interval: Duration,
    /// Size of the reserve; 0 for none.
    pub reserve_bytes: u64,
}

impl Default for Keep {
    /// Everything is kept; a warning at 90 %, no INTENT from 95 % on.
    fn default() -> Keep {
        Keep {
            age: None,
            max: None,
            warn_percent: 90,
            refuse_percent: 95,
            interval: KEEP_INTERVAL,
            reserve_bytes: RESERVE_BYTES,
        }
    }
}

/// A bound on the size of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Percent of the disk that it lies on.
    Percent(u8),
    Bytes(u64),
}

/// The room on a disk, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// What is used and what is available together, as `df` counts: not what is kept for others.
    pub total: u64,
    /// What is left for the gateway's user.
    pub available: u64,
}

impl Room {
    /// Of a file system of `blocks` of `size` bytes, of which `free` hold nothing and `available` can be had.
    pub(super) fn of_blocks(blocks: u64, free: u64, available: u64, size: u64) -> Room {
        let used = blocks.saturating_sub(free);
        Room { total: (used + available) * size, available: available * size }
    }

    /// How much is used, in percent, rounded down.
    pub fn used_percent(self) -> u8 {
        let used = self.total.saturating_sub(self.available);
        (u128::from(used) * 100).checked_div(u128::from(self.total)).unwrap_or(0) as u8
    }
}

/// How full the disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    #[default]
    Fine,
    /// The operator should make room.
    Low,
    /// No INTENT is taken.
    Full,
}

/// A file that only holds room, for the records of exchanges that are open when the disk gets full.
#[derive(Debug)]
pub(super) struct Reserve {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    bytes: u64,
    /// Its room was used, and is not held again.
    freed: AtomicBool,
}

impl Reserve {
    pub(super) fn new(disk: Arc<dyn Disk>, path: PathBuf, bytes: u64) -> Reserve {
        Reserve { disk, path, bytes, freed: AtomicBool::new(false) }
    }

    /// Gives the room back. Returns whether there was any.
    pub(super) fn free(&self) -> bool {
        let is_free = self.bytes > 0 && self.path.exists() && self.disk.remove(&self.path).is_ok();
        self.freed.fetch_or(is_free, Ordering::AcqRel);
        is_free
    }

    fn is_freed(&self) -> bool {
        self.freed.load(Ordering::Acquire)
    }

    /// Takes the room, unless it is held already.
    fn hold(&self) -> io::Result<()> {
        let is_held = fs::metadata(&self.path).is_ok_and(|metadata| metadata.len() == self.bytes);
        if self.bytes == 0 || is_held {
            return Ok(());
        }
        if self.path.exists() {
            self.disk.remove(&self.path)?;
        }
        let file = self.disk.create(&self.path)?;
        if let Err(error) = file.write_zeros(0, self.bytes) {
            // Half of it would be missed elsewhere.
            let _ = self.disk.remove(&self.path);
            return Err(error);
        }
        file.sync()?;
        self.freed.store(false, Ordering::Release);
        Ok(())
    }
}

/// The state of the thread.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) shared: Arc<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) folder: PathBuf,
    pub(super) openings: PathBuf,
    pub(super) keep: Keep,
}

impl Keeper {
    /// Runs until the journal is closed.
    pub(super) fn run(self) {
        let mut level = Level::Fine;
        while !self.shared.bell.closing.load(Ordering::Acquire) {
            let found = self.look();
            if found != level {
                self.tell(found);
                level = found;
            }
            if let Err(error) = self.remove_old() {
                tracing::warn!(%error, "old audit segments cannot be deleted");
            }
            thread::park_timeout(self.keep.interval);
        }
    }

    /// Looks how full the disk is, and whether the reserve is held.
    fn look(&self) -> Level {
        let Ok(room) = self.disk.room(&self.folder) else { return Level::Fine };
        let level = match room.used_percent() {
            used if used >= self.keep.refuse_percent => Level::Full,
            used if used >= self.keep.warn_percent => Level::Low,
            _ => Level::Fine,
        };
        // A small disk has no room for a reserve: to take it would be what fills it. Once it was freed, it
        // must be held again before the next exchange begins.
        let has_room = room.available >= 4 * self.keep.reserve_bytes;
        let is_held = level != Level::Full && has_room && self.shared.reserve.hold().is_ok();
        let level = if !is_held && self.shared.reserve.is_freed() { Level::Full } else { level };
        self.shared.bell.disk_full.store(level == Level::Full, Ordering::Release);
        self.shared.gauges.set_disk(room, level);
        level
    }

    fn tell(&self, level: Level) {
        let Room { total, available } = self.shared.gauges.snapshot().room;
        match level {
            Level::Fine => tracing::info!(total, available, "the audit disk has room"),
            Level::Low => tracing::warn!(total, available, "the audit disk is getting full: make room"),
            Level::Full => {
                tracing::error!(
                    total,
                    available,
                    "the audit disk is full: requests are refused until there is room"
                )
            }
        }
    }

    /// Records and deletes the oldest segments that need not be kept.
    fn remove_old(&self) -> io::Result<()> {
        if self.keep.age.is_none() && self.keep.max.is_none() {
            return Ok(());
        }
        let _quiet = self.shared.packer.quiet();
        let (files, _) = segments::list(&self.folder)?;
        let Some((removal, count)) = self.choose(&files)? else { return Ok(()) };
        let record = removal.to_record(segment::now());
        let recorded = Handle(Arc::clone(&self.shared)).append_blocking(Commit::Durable, record);
        recorded.map_err(io::Error::other)?;
        // Oldest first: wherever this ends, what is left is the end of a log.
        for file in &files[..count] {
            self.disk.remove_if_there(&openings::path(&self.openings, file.number))?;
            // A process that died while it packed may have left it in two forms.
            for form in Form::ALL {
                self.disk.remove_if_there(&segments::path_in(&self.folder, file.number, form))?;
            }
        }
        self.disk.sync_folder(&self.folder)?;
        self.shared.gauges.removed.store(removal.segment, Ordering::Relaxed);
        tracing::info!(%removal, "old audit segments were deleted");
        Ok(())
    }

    /// What a segment takes of the disk, with its openings.
    fn bytes_of(&self, file: &SegmentFile) -> u64 {
        let openings = fs::metadata(openings::path(&self.openings, file.number));
        file.bytes + openings.map_or(0, |openings| openings.len())
    }

    /// The oldest segments that go, and how many they are.
    fn choose(&self, files: &[SegmentFile]) -> io::Result<Option<(Removal, usize)>> {
        let gauges = &self.shared.gauges;
        // Exchanges that are open began in it, or later.
        let first_live = gauges.oldest_live.load(Ordering::Relaxed);
        let max = self.keep.max.map(|max| match max {
            Bound::Bytes(bytes) => bytes,
            Bound::Percent(percent) => gauges.snapshot().room.total / 100 * u64::from(percent),
        });
        let mut bytes: u64 = files.iter().map(|file| self.bytes_of(file)).sum();
        let (mut removal, mut count) = (None, 0);
        for file in files.iter().take(REMOVED_SEGMENTS_MAX).take_while(|file| file.number < first_live) {
            // Sealed, or packed since: nothing is written to it any more. What is inside may be for auditors
            // alone.
            let age = fs::metadata(&file.path)?.modified()?.elapsed().unwrap_or_default();
            let is_old = self.keep.age.is_some_and(|keep| age >= keep);
            if !is_old && max.is_none_or(|max| bytes <= max) {
                break;
            }
            bytes -= self.bytes_of(file);
            count += 1;
            removal = Some(Removal { segment: file.number });
        }
        Ok(removal.map(|removal| (removal, count)))
    }
}

/// Where the reserve lies: on the disk of the log.
pub(super) fn reserve_path(staging: &Path) -> PathBuf {
    staging.with_file_name(".reserve")
}
