use super::{
    disk::{Disk, DiskFile},
    keep::reserve_path,
    openings::Openings,
};
use crate::{
    audit::{
        Batch, Hash, Position, Record, SEAL_BYTES, SEGMENT_HEADER_BYTES, Seal, SealReason, SegmentHeader,
    },
    limits::{BATCH_BUFFER_BYTES, BATCH_BYTES_TARGET, PAGE_BYTES, SEGMENT_FILL_BYTES},
    segments::{self, random},
    time::Timestamp,
};
use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::{SystemTime, UNIX_EPOCH},
};

/// Makes segments in one folder.
#[derive(Debug)]
pub(super) struct Segments {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    openings: PathBuf,
    /// Where the next segment is prepared: on the same file system, and not in the folder if possible.
    staging: PathBuf,
    segment_bytes: u64,
    /// The next segment's file, filled with zeros on a thread of its own.
    spare: Option<JoinHandle<io::Result<Arc<dyn DiskFile>>>>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) openings: Openings,
    pub(super) header: SegmentHeader,
    /// Where the next batch goes.
    pub(super) offset: u64,
    /// Bytes that are preallocated.
    size: u64,
}

/// Wall-clock time now.
pub(super) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

impl Segments {
    /// # Errors
    /// The folders cannot be looked at, or what a former process staged cannot be removed.
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        folder: &Path,
        openings: &Path,
        segment_bytes: u64,
    ) -> io::Result<Segments> {
        let same = fs::metadata(folder)?.dev() == fs::metadata(openings)?.dev();
        let staging = if same { openings.join("next.segment") } else { folder.join(".next.segment") };
        let segments = Segments {
            disk,
            folder: folder.to_owned(),
            openings: openings.to_owned(),
            staging,
            segment_bytes: segment_bytes.next_multiple_of(PAGE_BYTES as u64),
            spare: None,
        };
        segments.discard_staged()?;
        Ok(segments)
    }

    /// What they lie on.
    pub(super) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    /// Where a reserve may lie.
    pub(super) fn reserve_path(&self) -> PathBuf {
        reserve_path(&self.staging)
    }

    fn discard_staged(&self) -> io::Result<()> {
        self.disk.remove_if_there(&self.staging)
    }

    /// Creates the segment at `position` holding `batches`, durable with its name when this returns.
    /// Without a spare only `SEGMENT_FILL_BYTES` are preallocated, so that a start does not wait.
    pub(super) fn create(
        &mut self,
        position: &Position,
        batches: &mut dyn Iterator<Item = &mut Batch>,
    ) -> io::Result<Active> {
        let (file, size) = match self.spare.take() {
            Some(spare) => {
                let file = spare.join().map_err(|_| io::Error::other("preallocation failed"))?;
                (file?, self.segment_bytes)
            }
            None => {
                let size = self.segment_bytes.min(SEGMENT_FILL_BYTES);
                self.discard_staged()?;
                (allocate(&*self.disk, &self.staging, size)?, size)
            }
        };
        let header = SegmentHeader {
            number: position.segment,
            created: now(),
            first_sequence: position.sequence,
            previous: position.hash,
            salt: random()?,
        };
        let mut page = [0; PAGE_BYTES];
        page[..SEGMENT_HEADER_BYTES].copy_from_slice(&header.to_bytes());
        file.write_at(&page, 0)?;
        let mut offset = SEGMENT_HEADER_BYTES as u64;
        for batch in batches {
            let bytes = batch.close_page(header.number, offset, position.sequence - 1, &header.salt);
            file.write_at(bytes, offset)?;
            offset += batch.len_bytes() as u64;
        }
        let openings = Openings::create(&*self.disk, &self.openings, header.number)?;
        file.sync()?;
        self.disk.rename(&self.staging, &segments::path(&self.folder, header.number))?;
        self.disk.sync_folder(&self.folder)?;
        self.disk.sync_folder(&self.openings)?;
        Ok(Active { file, openings, header, offset, size })
    }

    /// Gives up what a failed [`Segments::create`] left, so that its room is free again.
    pub(super) fn abandon(&mut self) {
        drop(self.spare.take().map(JoinHandle::join));
        // If it cannot be removed now, the next attempt says so.
        let _ = self.discard_staged();
    }

    /// Begins to prepare the next segment once the active one is half full, unless segments are so small that
    /// it is not worth a thread.
    pub(super) fn prepare_next(&mut self, active: &Active) {
        let half_full = active.offset * 2 >= active.size;
        if !half_full || self.spare.is_some() || self.segment_bytes <= SEGMENT_FILL_BYTES {
            return;
        }
        let (disk, path, size) = (Arc::clone(&self.disk), self.staging.clone(), self.segment_bytes);
        let thread = std::thread::Builder::new().name("journal-spare".into());
        // Without a thread the segment is made when it is needed.
        self.spare = thread.spawn(move || allocate(&*disk, &path, size)).ok();
    }
}

impl Active {
    /// Whether the next batch belongs into a new segment.
    pub(super) fn is_full(&self) -> bool {
        self.offset + (BATCH_BYTES_TARGET as u64).min(self.size / 4) + SEAL_BYTES as u64 > self.size
    }
}

/// Writes the seal at `offset` and cuts off everything behind it.
pub(super) fn seal(
    file: &dyn DiskFile,
    header: &SegmentHeader,
    end: &Position,
    offset: u64,
    reason: SealReason,
) -> io::Result<()> {
    let seal = Seal {
        segment: header.number,
        offset,
        last_sequence: end.sequence - 1,
        records: end.sequence - header.first_sequence,
        at: now(),
        reason,
        hash: end.hash,
    };
    file.write_at(&seal.to_bytes(&header.salt), offset)?;
    file.truncate(offset + SEAL_BYTES as u64)?;
    file.sync()
}

/// A file of zeros: written, not only reserved, for then a sync has no new blocks to tell the file system of.
fn allocate(disk: &dyn Disk, path: &Path, size: u64) -> io::Result<Arc<dyn DiskFile>> {
    let file = disk.create(path)?;
    file.write_zeros(0, size)?;
    file.sync()?;
    Ok(file)
}

/// A new segment that begins with these records, the empty batch behind it, and their leaf hashes.
pub(super) fn begin(
    segments: &mut Segments,
    position: &Position,
    records: &[Record],
) -> io::Result<(Active, Batch, Vec<Hash>)> {
    let mut batch = Batch::new(position.sequence, position.hash, Vec::new());
    let mut leaves = Vec::new();
    for record in records {
        // `OPEN_EXCHANGES_MAX` ids in STATE are far below the bound of a record.
        batch.push(record).map_err(io::Error::other)?;
        leaves.push(batch.leaf());
    }
    let active = segments.create(position, &mut std::iter::once(&mut batch))?;
    let buffer = Vec::with_capacity(BATCH_BUFFER_BYTES);
    Ok((active, Batch::new(batch.next_sequence(), batch.hash(), buffer), leaves))
}
