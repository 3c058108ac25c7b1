use super::*;
use crate::{
    audit::{Content, Trust},
    buffer::{Chunk, Segments},
    journal::{
        disk::Disk,
        faults::{FaultDisk, Faulty},
        pack::{Memory, Packer},
    },
    segments::{Decryptor, Encryptor, Form, Identity, KeyError, Recipient},
};
use proptest::prelude::*;
use std::io::{Read, Write};

const IDENTITY: &str = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX";

/// A pair made of `byte`s.
fn pair(byte: u8) -> (Identity, Recipient) {
    let hrp = bech32::Hrp::parse("age-secret-key-").unwrap();
    let text = bech32::encode_upper::<bech32::Bech32>(hrp, &[byte; 32]).unwrap();
    let secret =
        aws_lc_rs::agreement::PrivateKey::from_private_key(&aws_lc_rs::agreement::X25519, &[byte; 32])
            .unwrap();
    let public = bech32::encode::<bech32::Bech32>(
        bech32::Hrp::parse("age").unwrap(),
        secret.compute_public_key().unwrap().as_ref(),
    );
    (text.parse().unwrap(), public.unwrap().parse().unwrap())
}

fn encrypt(plain: &[u8], recipients: &[Recipient]) -> Vec<u8> {
    let mut encryptor = Encryptor::new(Vec::new(), recipients).unwrap();
    encryptor.write_all(plain).unwrap();
    encryptor.finish().unwrap()
}

fn decrypt(file: &[u8], identities: &[Identity]) -> io::Result<Vec<u8>> {
    let mut plain = Vec::new();
    Decryptor::new(file, identities)?.read_to_end(&mut plain)?;
    Ok(plain)
}

#[test]
fn every_recipient_and_nobody_else_reads_an_encrypted_file() {
    let ((first, one), (second, two), (stranger, _)) = (pair(1), pair(2), pair(3));
    for len in [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000] {
        let plain: Vec<u8> = (0..len).map(|index| (index % 251) as u8).collect();
        let file = encrypt(&plain, &[one.clone(), two.clone()]);
        for identity in [&first, &second] {
            let identity = std::slice::from_ref(identity);
            assert_eq!(decrypt(&file, identity).unwrap(), plain, "{len} bytes");
        }
        for nobody in [&[][..], std::slice::from_ref(&stranger)] {
            assert_eq!(decrypt(&file, nobody).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }
}

#[test]
fn a_proof_out_of_what_only_auditors_read_needs_their_key_and_says_so() {
    let mut house = House::signed();
    house.open().0.close().unwrap();
    let (_, recipient) = pair(4);
    house.packing = Packing { compress: true, recipients: vec![recipient] };
    let (journal, _producer) = house.open();
    wait_until("the first segment is encrypted", || list(&house.log()).unwrap().0[0].form == Form::Encrypted);
    let error = prove(&house.log(), &Keys::default(), 1).unwrap_err();
    assert!(error.to_string().contains("--identity FILE"), "{error}");
    journal.close().unwrap();
    let file = house.root.path().join("auditor.txt");
    let hrp = bech32::Hrp::parse("age-secret-key-").unwrap();
    fs::write(&file, bech32::encode_upper::<bech32::Bech32>(hrp, &[4; 32]).unwrap()).unwrap();
    let proof = prove(&house.log(), &Keys::read(&file).unwrap(), 1).unwrap();
    assert_eq!(proof.check(None).unwrap().sequence, 1);
}

#[test]
fn an_encrypted_file_that_was_changed_or_cut_is_not_read() {
    let (identity, recipient) = pair(7);
    let identity = std::slice::from_ref(&identity);
    let plain: Vec<u8> = (0..70_000u32).map(|index| index as u8).collect();
    let file = encrypt(&plain, &[recipient]);
    let places = (0..300).chain([65_000, 66_000, file.len() - 1]);
    for place in places {
        let mut changed = file.clone();
        changed[place] ^= 1;
        assert!(decrypt(&changed, identity).is_err(), "byte {place} changed");
        assert!(decrypt(&file[..place], identity).is_err(), "cut at {place}");
    }
    let longer = [&file[..], b"x"].concat();
    assert!(decrypt(&longer, identity).is_err(), "a byte behind the end");
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_of_encrypted_files_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let (identity, _) = pair(7);
        let with_intro = [b"age-encryption.org/v1\n-> X25519 ", &bytes[..]].concat();
        prop_assert!(decrypt(&bytes, std::slice::from_ref(&identity)).is_err());
        prop_assert!(decrypt(&with_intro, std::slice::from_ref(&identity)).is_err());
    }
}

#[test]
fn keys_are_read_as_age_keygen_writes_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key.txt");
    fs::write(&path, format!("# created: 2026-01-01\n# public key: age1…\n{IDENTITY}\n")).unwrap();
    Keys::read(&path).unwrap();
    for bad in ["# nothing", "", "age1qqqq", &IDENTITY[..60]] {
        fs::write(&path, bad).unwrap();
        assert_eq!(Keys::read(&path).unwrap_err().kind(), io::ErrorKind::InvalidData, "{bad}");
    }
    for bad in ["", "age1", IDENTITY, "age1qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"] {
        assert_eq!(bad.parse::<Recipient>(), Err(KeyError::Recipient), "{bad}");
    }
    let (_, recipient) = pair(9);
    assert_eq!(recipient.to_string().parse::<Recipient>(), Ok(recipient));
}

/// Words that compress as text does.
fn words(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 40
    };
    (0..count).flat_map(|_| format!("{:x} ", next()).into_bytes()).collect()
}

fn body(bytes: &[u8]) -> Record {
    let segments = Segments::from(Chunk::from(bytes.to_vec()));
    Record::Content(Box::new(Content { bytes: segments, ..samples::content(1, b"", true) }))
}

/// A log of several sealed segments.
fn sealed_log(house: &House) -> u64 {
    let (journal, mut producer) = house.open();
    let text = words(3_000, 1).repeat(10);
    submit(&mut producer, 0, Commit::Written, samples::intent(1));
    for ticket in 1..=15 {
        submit(&mut producer, ticket, Commit::Written, body(&text));
        house.acks.wait(ticket).unwrap();
    }
    submit(&mut producer, 16, Commit::Durable, samples::outcome(1));
    house.acks.wait(16).unwrap();
    journal.close().unwrap();
    list(&house.log()).unwrap().0.len() as u64
}

#[test]
fn sealed_segments_are_packed_and_read_as_before() {
    let mut house = House::new();
    let count = sealed_log(&house);
    assert!(count > 2, "{count} segments");
    let before = (insides(&house.log()), house.verify());
    let raw: u64 = list(&house.log()).unwrap().0.iter().map(|file| file.bytes).sum();

    house.packing = Packing { compress: true, recipients: Vec::new() };
    let (journal, _producer) = house.open();
    wait_until("all sealed segments are packed", || {
        let files = list(&house.log()).unwrap().0;
        files.iter().all(|file| (file.form == Form::Packed) == (file.number <= count))
    });
    journal.close().unwrap();
    let packed: u64 =
        list(&house.log()).unwrap().0.iter().filter(|file| file.number <= count).map(|file| file.bytes).sum();
    assert!(packed * 3 < raw, "{raw} bytes became {packed}");
    assert!(insides(&house.log())[..count as usize] == before.0, "the bytes inside are the same");
    assert!(house.verify().records > before.1.records);
    assert!(
        fs::read_dir(house.log())
            .unwrap()
            .all(|entry| { !entry.unwrap().file_name().to_string_lossy().starts_with('.') })
    );
}

#[test]
fn segments_for_auditors_are_verified_with_their_identity_only() {
    let mut house = House::new();
    let count = sealed_log(&house);
    let (_, recipient) = pair(4);
    house.packing = Packing { compress: true, recipients: vec![recipient] };
    let (journal, _producer) = house.open();
    wait_until("all sealed segments are encrypted", || {
        let files = list(&house.log()).unwrap().0;
        files.iter().filter(|file| file.form == Form::Encrypted).count() as u64 == count
    });
    journal.close().unwrap();
    let locked = verify_dir(&house.log(), |_, _| {}).unwrap_err();
    assert!(locked.to_string().contains("--identity FILE"), "{locked}");
    let path = house.root.path().join("key.txt");
    let hrp = bech32::Hrp::parse("age-secret-key-").unwrap();
    fs::write(&path, bech32::encode_upper::<bech32::Bech32>(hrp, &[4; 32]).unwrap()).unwrap();
    let keys = Keys::read(&path).unwrap();
    assert_eq!(
        verify_dir_against(&house.log(), &keys, Trust::default(), |_, _| {}).unwrap().exchanges_closed,
        1
    );
    // The gateway goes on without being able to read what it encrypted.
    house.open().0.close().unwrap();
}

/// Whatever fails while a segment is packed: the log stays whole, and the next attempt packs it.
#[test]
fn any_operation_of_packing_may_fail() {
    let house = House::new();
    let count = sealed_log(&house);
    let before = insides(&house.log());
    let packing = Packing { compress: true, recipients: Vec::new() };
    // What a failed attempt left in there has no effect on the next one.
    let mut memory = Memory::default();
    let mut number = 0;
    loop {
        number += 1;
        let copy = tempfile::tempdir().unwrap();
        copy_log(&house.log(), copy.path());
        let faults = FaultDisk::once(number, io::ErrorKind::StorageFull);
        let disk: Arc<dyn Disk> = Arc::new(Faulty(Arc::clone(&faults)));
        let packer = Packer::start(disk, copy.path(), copy.path(), packing.clone()).unwrap();
        // Removing what a former attempt left is the only operation that finds nothing to do.
        let failed = packer.pack_now(count + 1, &mut memory).is_err();
        verify_dir(copy.path(), |_, _| {}).unwrap();
        packer.pack_now(count + 1, &mut memory).unwrap();
        packer.stop();
        let files = list(copy.path()).unwrap().0;
        assert!(files.iter().all(|file| file.form == Form::Packed), "operation {number}");
        assert!(insides(copy.path()) == before, "operation {number}");
        if faults.count() < number {
            assert!(!failed && number > 20, "{number} operations");
            return;
        }
    }
}

/// An agent sends its whole history with every turn.
#[test]
fn a_session_of_a_hundred_turns_takes_twice_its_last_body_at_most() {
    let mut house = House::new();
    house.segment_bytes = crate::limits::SEGMENT_BYTES_DEFAULT;
    let (journal, mut producer) = house.open();
    let mut history = Vec::new();
    submit(&mut producer, 0, Commit::Written, samples::intent(1));
    for turn in 1..=100 {
        history.extend(words(300, turn));
        submit(&mut producer, turn, Commit::Written, body(&history));
        house.acks.wait(turn).unwrap();
    }
    submit(&mut producer, 101, Commit::Durable, samples::outcome(1));
    house.acks.wait(101).unwrap();
    journal.close().unwrap();
    let raw: u64 = list(&house.log()).unwrap().0.iter().map(|file| file.bytes).sum();
    let packer = Packer::start(
        Arc::new(OsDisk),
        &house.log(),
        &house.log(),
        Packing { compress: true, recipients: Vec::new() },
    )
    .unwrap();
    packer.pack_now(u64::MAX, &mut Memory::default()).unwrap();
    packer.stop();
    let packed: u64 = list(&house.log()).unwrap().0.iter().map(|file| file.bytes).sum();
    assert!(raw > 40 * history.len() as u64, "{raw}");
    assert!(packed < 2 * history.len() as u64, "{packed} bytes for a last body of {}", history.len());
    house.verify();
}
