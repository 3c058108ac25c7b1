//! Single bits change, one at a time, in logs of every kind: the verifier finds each of them and names the
//! record.
//!
//! A bit of a packed segment may mean nothing to the decompressor, so that the segment that comes out is the
//! one that was sealed: those are counted and must be few. A bit of a raw segment always means something,
//! also in the zeros behind the records of a segment in use.

use super::{
    Outcome, Run, Skipped, Tally,
    callers::Caller,
    log,
    support::{
        eventually,
        gateway::{Demo, ringward},
        http,
    },
    world::World,
};
use ringward::{
    audit::{Damage, Item, ReadError, SegmentReader, Trust, Verifier},
    segments::{self, Form, Keys, SegmentFile},
};
use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// A pair of age that nobody uses for anything else.
const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// A log whose bits are flipped.
struct Target {
    name: &'static str,
    folder: PathBuf,
    keys: Keys,
    trust: Trust,
    files: Vec<Victim>,
}

/// One of its segments.
struct Victim {
    file: SegmentFile,
    opened: File,
    stored: Vec<u8>,
    /// What comes out of it.
    inside: Vec<u8>,
    /// Where each record ends in a raw one, in order.
    ends: Vec<(u64, u64)>,
    /// The verifier before it.
    before: Verifier,
}

/// What became of one flip.
enum Found {
    Named,
    Meaningless,
    Missed,
}

pub fn run(run: &mut Run) -> Outcome {
    let scratch = tempfile::tempdir().unwrap();
    let targets = targets(scratch.path())?;
    let (mut flips, mut missed) = (0, 0);
    let each = run.cycles.div_ceil(targets.len() as u64);
    for target in &targets {
        let mut meaningless = 0;
        for _ in 0..each {
            let victim = &target.files[run.random.below(target.files.len() as u64) as usize];
            let bit = run.random.below(victim.stored.len() as u64 * 8);
            flips += 1;
            match target.flip(victim, bit) {
                Found::Named => {}
                Found::Meaningless => meaningless += 1,
                Found::Missed => {
                    println!("  MISSED {}: segment {}, bit {bit}", target.name, victim.file.number);
                    missed += 1;
                }
            }
            run.progress(flips, format_args!("{}, {missed} missed", target.name));
        }
        let bytes: usize = target.files.iter().map(|victim| victim.stored.len()).sum();
        println!(
            "  flips: {each} in {} ({bytes} bytes), {meaningless} of them without a meaning",
            target.name
        );
        assert!(meaningless * 100 <= each, "few bits have no meaning");
    }
    Ok(Tally { cycles: flips, acknowledged: flips, found: flips - missed, lost: missed })
}

impl Target {
    fn read(name: &'static str, folder: PathBuf, keys: Keys) -> Target {
        let note = ringward::journal::newest_checkpoint(&folder).unwrap();
        let trust = Trust { checkpoints: note.map(Into::into).into_iter().collect(), ..Trust::default() };
        let mut verifier = Verifier::with_trust(&trust).unwrap();
        let mut files = Vec::new();
        for file in segments::list(&folder).unwrap().0 {
            let before = verifier.clone();
            let mut inside = Vec::new();
            file.open(&keys).unwrap().read_to_end(&mut inside).unwrap();
            verifier.segment(file.number, &inside[..], |_| {}).unwrap();
            let stored = fs::read(&file.path).unwrap();
            let opened = File::options().write(true).open(&file.path).unwrap();
            let ends = if file.form == Form::Raw { ends(&inside, file.number) } else { Vec::new() };
            files.push(Victim { file, opened, stored, inside, ends, before });
        }
        verifier.finish().unwrap();
        Target { name, folder, keys, trust, files }
    }

    /// Flips one bit, verifies, and flips it back.
    fn flip(&self, victim: &Victim, bit: u64) -> Found {
        let (at, byte) = (bit / 8, victim.stored[(bit / 8) as usize]);
        victim.opened.write_all_at(&[byte ^ 1 << (bit % 8)], at).unwrap();
        let found = self.verify(victim, at);
        victim.opened.write_all_at(&[byte], at).unwrap();
        found
    }

    fn verify(&self, victim: &Victim, at: u64) -> Found {
        let mut inside = Vec::new();
        let read = victim.file.open(&self.keys).and_then(|mut input| input.read_to_end(&mut inside));
        if read.is_err() {
            // The file is named, and with it its segment.
            return if victim.file.form == Form::Raw { Found::Missed } else { Found::Named };
        }
        if victim.file.form != Form::Raw && inside == victim.inside {
            return Found::Meaningless;
        }
        let mut verifier = victim.before.clone();
        match verifier.segment(victim.file.number, &inside[..], |_| {}) {
            Err(ReadError::Damage(damage)) if victim.is_named(&damage, at) => Found::Named,
            Err(error) => {
                println!("  {error}");
                Found::Missed
            }
            Ok(()) => Found::Missed,
        }
    }

    /// The whole log by the command, for the bits of the checkpoint beside it.
    fn flip_checkpoint(&self) -> (u64, u64) {
        let path = self.folder.join("checkpoint");
        let Ok(text) = fs::read(&path) else { return (0, 0) };
        let (mut found, mut count) = (0, 0);
        for bit in 0..text.len() * 8 {
            let mut changed = text.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            count += 1;
            found += u64::from(!self.believes(&changed));
        }
        (count, found)
    }

    /// Whether the log verifies against a checkpoint.
    fn believes(&self, note: &[u8]) -> bool {
        let Ok(note) = str::from_utf8(note) else { return false };
        let trust = Trust { checkpoints: vec![note.into()], ..self.trust.clone() };
        let Ok(mut verifier) = Verifier::with_trust(&trust) else { return false };
        let all = self
            .files
            .iter()
            .all(|victim| verifier.segment(victim.file.number, &victim.inside[..], |_| {}).is_ok());
        all && verifier.finish().is_ok()
    }
}

impl Victim {
    /// Whether the damage names this segment, and in a raw one the record that holds the byte, or the next
    /// one where it lies between records.
    fn is_named(&self, damage: &Damage, at: u64) -> bool {
        if damage.segment != self.file.number {
            return false;
        }
        if self.file.form != Form::Raw {
            return true;
        }
        let index = self.ends.partition_point(|(end, _)| *end <= at);
        let last = self.ends.last().map_or(0, |(_, sequence)| sequence + 1);
        let expected = self.ends.get(index).map_or(last, |(_, sequence)| *sequence);
        // What contradicts the name of the file or the segment before is told before any record is read.
        damage.sequence == expected
            || (at < ringward::audit::SEGMENT_HEADER_BYTES as u64 && damage.offset == 0)
    }
}

/// Where each record ends.
fn ends(segment: &[u8], number: u64) -> Vec<(u64, u64)> {
    let mut reader = SegmentReader::open(segment, number, None).unwrap();
    let (mut ends, mut at) = (Vec::new(), 0);
    loop {
        let behind = reader.offset();
        match reader.next_item().unwrap() {
            Item::Batch(_) => at = behind + ringward::audit::BATCH_HEADER_BYTES as u64,
            Item::Frame(frame) => {
                at += frame.length as u64;
                ends.push((at, frame.sequence));
            }
            Item::End(_) => return ends,
        }
    }
}

/// Logs of every kind, each in a folder of its own.
fn targets(scratch: &Path) -> Result<Vec<Target>, Skipped> {
    let copied = |name: &str, from: &Path| -> io::Result<PathBuf> {
        let to = scratch.join(name);
        log::copy(from, &to)?;
        Ok(to)
    };
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/audit");
    let none = Keys::default;
    let mut all = Vec::new();
    for (name, version) in [("the golden log", "v1"), ("the golden signed log", "v1-signed")] {
        all.push(Target::read(name, copied(version, &golden.join(version)).unwrap(), none()));
    }
    let (raw, used) = recorded("compress = false", scratch);
    all.push(Target::read("a raw log", copied("raw", &raw.path().join("disk/audit")).unwrap(), none()));
    all.push(Target::read("a log in use", used, none()));
    let (packed, _) = recorded("compress = true", scratch);
    all.push(Target::read(
        "a packed log",
        copied("packed", &packed.path().join("disk/audit")).unwrap(),
        none(),
    ));
    let identity = scratch.join("identity");
    fs::write(&identity, IDENTITY).unwrap();
    let recipient = "age1zvkyg2lqzraa2lnjvqej32nkuu0ues2s82hzrye869xeexvn73equnujwj";
    let (encrypted, _) = recorded(&format!("recipients = [\"{recipient}\"]"), scratch);
    let keys = Keys::read(&identity).unwrap();
    all.push(Target::read(
        "an encrypted log",
        copied("encrypted", &encrypted.path().join("disk/audit")).unwrap(),
        keys,
    ));
    all.push(Target::read("a log with erased bodies", erased(&scratch.join("erased")), none()));
    for target in &all {
        let (count, found) = target.flip_checkpoint();
        assert_eq!(count, found, "each bit of the checkpoint of {} means something", target.name);
    }
    Ok(all)
}

/// A log of several lives of a gateway, and a copy of it as it was in use.
fn recorded(audit: &str, scratch: &Path) -> (TempDir, PathBuf) {
    let mut world = World::start(World::folder(), audit);
    let used = scratch.join(format!("used-{}", audit.len()));
    for life in 1..=3 {
        let mut caller = Caller::connect(&world.gateway().address()).unwrap();
        for number in 0..4 {
            let route = ["durable", "written"][number % 2];
            assert_eq!(caller.ask(&format!("/{route}/{life}/{number}"), 100 * number).unwrap(), 200);
        }
        drop(caller);
        if life == 3 {
            let folder = world.kill();
            log::copy(&world.log.audit, &used).unwrap();
            trim(&used);
            world.begin(folder);
            break;
        }
        let folder = world.stop();
        world.begin(folder);
    }
    let is_packed = audit != "compress = false";
    eventually("packed segments", || {
        let files = segments::list(&world.log.audit).unwrap().0;
        let packed = files.iter().filter(|file| file.form != Form::Raw).count();
        (!is_packed || packed + 1 >= files.len()).then_some(())
    });
    (world.stop(), used)
}

/// The log of a demo, out of which a subject was erased.
fn erased(to: &Path) -> PathBuf {
    let demo = Demo::start();
    let bearer = demo.bearer();
    let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
    let body = r#"{"sql":"select forget_me from words"}"#;
    for _ in 0..3 {
        let reply = http::ask(demo.get("gateway"), "POST", "/warehouse/query", &headers, body);
        assert_eq!(reply.status, 200, "{}", reply.text());
    }
    let admin = format!("unix:{}", demo.get("admin_socket"));
    let erased =
        ringward(&["audit", "erase", "--subject", "agent-7", "--json"], &[("RINGWARD_ADMIN", &admin)]);
    assert!(erased.status.success(), "{}", String::from_utf8_lossy(&erased.stderr));
    let from = demo.path("audit_dir");
    log::copy(&from, to).unwrap();
    trim(to);
    to.to_owned()
}

/// Takes most of the zeros away that the segment in use has behind its records: a verifier reads them all.
fn trim(folder: &Path) {
    for file in segments::list(folder).unwrap().0 {
        let bytes = fs::read(&file.path).unwrap();
        let records = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let len = (records + 4096).min(bytes.len());
        File::options().write(true).open(&file.path).and_then(|opened| opened.set_len(len as u64)).unwrap();
    }
}
