//! Takes the bodies out of a copy that were erased at its source: what ERASED records name, and nothing else.
//! Their records stay, and the copy still verifies.

use super::copy::{Copy, CopyError, failed, sync};
use crate::{
    audit::{ExchangeId, Record},
    segments::{self, Form, SegmentFile, WINDOW_LOG, Zeroed, each_record, is_closed},
};
use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    ops::Range,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    sync::Arc,
};
use zstd::stream::write::Encoder;

/// The fastest of zstd's usual levels, as sealed segments have it.
const LEVEL: i32 = 1;

/// What was taken out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Segments that were written anew.
    pub segments: u64,
    /// Records whose bodies were replaced by zeros, and their bytes with their salts.
    pub contents: u64,
    pub bytes: u64,
    /// Segments that are encrypted: their bodies stay in them.
    pub encrypted: u64,
}

impl Copy {
    /// Takes out the bodies that the ERASED records of segment `number` name, from it and all before it.
    ///
    /// # Errors
    /// [`CopyError`]: a segment cannot be read or written; what was not reached is as it was.
    pub fn prune(&self, number: u64) -> Result<Pruned, CopyError> {
        let (listed, _) = segments::list(&self.dir).map_err(failed(&self.dir))?;
        let mut pruned = Pruned::default();
        let Some(telling) = listed.iter().find(|segment| segment.number == number) else { return Ok(pruned) };
        // Each exchange, and the record that takes out what comes before it.
        let mut named: BTreeMap<ExchangeId, u64> = BTreeMap::new();
        each_record(telling, &self.keys, false, |sequence, record, _| {
            if let Record::Erased(erased) = record {
                named.extend(erased.exchanges.iter().map(|id| (*id, sequence)));
            }
        })
        .map_err(failed(&telling.path))?;
        for segment in listed.iter().filter(|segment| segment.number <= number) {
            if segment.form == Form::Encrypted {
                pruned.encrypted += 1;
                continue;
            }
            match self.prune_one(segment, &named, &mut pruned) {
                Err(error) if is_closed(&error) => {}
                result => result.map_err(failed(&segment.path))?,
            }
        }
        sync(&self.dir)?;
        Ok(pruned)
    }

    fn prune_one(
        &self,
        segment: &SegmentFile,
        named: &BTreeMap<ExchangeId, u64>,
        pruned: &mut Pruned,
    ) -> io::Result<()> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        each_record(segment, &self.keys, false, |sequence, record, tail| {
            if let (Record::Content(content), Some(tail)) = (record, tail)
                && named.get(&content.id).is_some_and(|until| sequence < *until)
            {
                ranges.push(tail);
            }
        })?;
        if ranges.is_empty() {
            return Ok(());
        }
        pruned.segments += 1;
        pruned.contents += ranges.len() as u64;
        pruned.bytes += ranges.iter().map(|range| range.end - range.start).sum::<u64>();
        let input = Zeroed::new(segment.open(&self.keys)?, Arc::from(ranges));
        write_anew(&segment.path, segment.form, input)
    }
}

/// Puts what `input` reads in the place of a segment, whole or not at all.
fn write_anew(path: &Path, form: Form, mut input: impl Read) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let staging = path.with_file_name(format!(".{name}.staged"));
    let mut options = OpenOptions::new();
    let file: File = options.write(true).create(true).truncate(true).mode(0o600).open(&staging)?;
    let mut output = io::BufWriter::new(file);
    if form == Form::Raw {
        io::copy(&mut input, &mut output)?;
    } else {
        let mut encoder = Encoder::new(&mut output, LEVEL)?;
        encoder.long_distance_matching(true)?;
        encoder.window_log(WINDOW_LOG)?;
        io::copy(&mut input, &mut encoder)?;
        encoder.finish()?;
    }
    output.flush()?;
    output.get_ref().sync_all()?;
    fs::rename(&staging, path)
}
