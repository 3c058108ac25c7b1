//! The journal against real files, against failing ones, and against death.

mod crash;
mod erasing;
mod failing;
mod keeping;
mod living;
mod packing;
mod signing;
mod working;

use super::{
    disk::{Disk, OsDisk},
    *,
};
use crate::audit::{End, Frame, Item, ReadError, SegmentReader, samples};
use crate::segments::{Keys, SegmentFile, list};
use std::{
    collections::BTreeMap,
    sync::{Condvar, Mutex},
    time::Instant,
};

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Collects acknowledgements.
#[derive(Clone, Default)]
struct Collected(Arc<(Mutex<Answers>, Condvar)>);

/// The answer to each ticket.
type Answers = BTreeMap<u64, Result<u64, Failure>>;

impl AckSink for Collected {
    fn deliver(&mut self, _: usize, acks: &mut Vec<Ack>) {
        let mut all = self.0.0.lock().unwrap();
        for ack in acks.drain(..) {
            assert!(all.insert(ack.ticket, ack.result).is_none(), "one acknowledgement a ticket");
        }
        self.0.1.notify_all();
    }
}

impl Collected {
    /// The answer to `ticket`, once it is there.
    fn wait(&self, ticket: u64) -> Result<u64, Failure> {
        let all = self.0.0.lock().unwrap();
        let (all, timeout) =
            self.0.1.wait_timeout_while(all, PATIENCE, |all| !all.contains_key(&ticket)).unwrap();
        assert!(!timeout.timed_out(), "no acknowledgement of {ticket}");
        all[&ticket]
    }

    fn committed(&self) -> BTreeMap<u64, u64> {
        let all = self.0.0.lock().unwrap();
        all.iter().filter_map(|(ticket, result)| Some((*ticket, (*result).ok()?))).collect()
    }
}

/// A folder with a journal in it.
struct House {
    root: tempfile::TempDir,
    acks: Collected,
    is_signed: bool,
    packing: Packing,
    segment_bytes: u64,
}

impl House {
    fn new() -> House {
        House {
            root: tempfile::tempdir().unwrap(),
            acks: Collected::default(),
            is_signed: false,
            packing: Packing::default(),
            segment_bytes: SEGMENT_BYTES_MIN,
        }
    }

    /// One whose log is signed.
    fn signed() -> House {
        House { is_signed: true, ..House::new() }
    }

    /// The file of the key.
    fn key(&self) -> PathBuf {
        self.root.path().join("keys/log.key")
    }

    fn log(&self) -> PathBuf {
        self.root.path().join("audit")
    }

    fn options(&self) -> Options {
        let mut options = Options::new(self.log(), self.root.path().join("openings"));
        options.key = self.is_signed.then(|| self.key());
        options.segment_bytes = self.segment_bytes;
        options.packing = self.packing.clone();
        // No operation comes between those of a test.
        options.keep = Keep { reserve_bytes: 0, interval: PATIENCE, ..Keep::default() };
        options
    }

    fn open(&self) -> (Journal, Producer) {
        self.open_on(Arc::new(OsDisk)).unwrap()
    }

    fn open_on(&self, disk: Arc<dyn Disk>) -> Result<(Journal, Producer), OpenError> {
        let (journal, mut producers) =
            Journal::open_on(disk, self.options(), 1, Box::new(self.acks.clone()))?;
        Ok((journal, producers.remove(0)))
    }

    fn verify(&self) -> crate::audit::Report {
        verify_dir(&self.log(), |done, total| assert!(done <= total)).unwrap()
    }

    /// All records with their sequence numbers.
    fn records(&self) -> Vec<(u64, Record)> {
        let mut records = Vec::new();
        for file in list(&self.log()).unwrap().0 {
            each_frame(&file, |frame| records.push((frame.sequence, frame.decode().unwrap()))).unwrap();
        }
        records
    }
}

fn each_frame(file: &SegmentFile, mut each: impl FnMut(&Frame<'_>)) -> Result<End, ReadError> {
    let mut reader = SegmentReader::open(file.open(&Keys::default()).unwrap(), file.number, None)?;
    loop {
        match reader.next_item()? {
            Item::Batch(_) => {}
            Item::Frame(frame) => each(&frame),
            Item::End(end) => return Ok(end),
        }
    }
}

fn submission(ticket: u64, commit: Commit, record: Record) -> Submission {
    Submission { share: 0, ticket, commit, record }
}

fn submit(producer: &mut Producer, ticket: u64, commit: Commit, record: Record) {
    producer.submit(submission(ticket, commit, record)).unwrap();
}

/// Waits until `condition` holds.
fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::yield_now();
    }
}

/// Copies the log as it is now: what a death of the process would leave.
fn copy_log(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in list(from).unwrap().0 {
        fs::copy(&file.path, to.join(file.path.file_name().unwrap())).unwrap();
    }
}

/// What is inside of each segment of a folder.
fn insides(folder: &Path) -> Vec<Vec<u8>> {
    let inside = |file: &SegmentFile| {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut file.open(&Keys::default()).unwrap(), &mut bytes).unwrap();
        bytes
    };
    list(folder).unwrap().0.iter().map(inside).collect()
}
