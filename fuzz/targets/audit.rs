//! The audit log's parser.

use ringward::audit::{
    Checkpoint, End, KeyChain, KeyStatement, Note, Position, Proof, PublicKey, SegmentReader, Verifier,
    parse_segment,
};

/// Any bytes are parsed or refused, and what is taken is taken by all three ways of reading.
pub fn segment(data: &[u8]) {
    let parsed = parse_segment(data);
    let number = parsed.as_ref().map_or(1, |summary| summary.header.number);
    let opened = SegmentReader::open(data, number, None);
    let Ok(summary) = parsed else { return };
    assert!(opened.is_ok());
    if let End::Sealed(seal) = summary.end {
        assert_eq!(seal.records, summary.records);
        assert_eq!(seal.offset + ringward::audit::SEAL_BYTES as u64, data.len() as u64);
    }
    let header = &summary.header;
    let is_first = (header.number, header.first_sequence, header.previous)
        == (Position::START.segment, Position::START.sequence, Position::START.hash);
    if is_first {
        let mut verifier = Verifier::new();
        // It may still contradict itself in what happened to an exchange.
        let _ = verifier.segment(1, data, |_| {});
    }
}

/// Any text is a note or not; what is one has one form, and nobody's key has signed it.
pub fn note(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Ok(key) = text.trim_end().parse::<PublicKey>() {
        assert_eq!(key.to_string(), text.trim_end());
    }
    let Ok(note) = Note::parse(text) else {
        assert!(Checkpoint::parse(text).is_err() && KeyStatement::read(text).is_err());
        return;
    };
    assert!(note.text.ends_with('\n') && text.starts_with(note.text) && note.signatures() > 0);
    let stranger = PublicKey::new("stranger", [9; 32]).expect("a name");
    assert!(note.verify(&stranger).is_err());
    if let Ok((checkpoint, _)) = Checkpoint::parse(text) {
        assert_eq!(checkpoint.to_string(), note.text);
        assert!(KeyStatement::read(text).is_err(), "nothing is both");
        assert!(KeyChain::default().check(text).is_err(), "a log without keys signs nothing");
    }
    let mut chain = KeyChain::default();
    if chain.push(text, 2).is_ok() {
        assert!(chain.push(text, 3).is_err(), "the same key twice");
    }
}

/// Any text is a proof or not; what is one has one form, and no part of it can be left out unnoticed.
pub fn proof(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let Ok(proof) = Proof::parse(text) else { return };
    assert_eq!(proof.to_text(), text);
    let Ok(proven) = proof.check(None) else { return };
    assert!(proven.sequence <= proven.checkpoint.size);
    assert!(proof.check(Some(&proven.key)).is_ok() && proof.check(Some(&proven.first_key)).is_ok());
    let other = Proof { sequence: proof.sequence + 1, ..proof.clone() };
    assert!(other.check(None).is_err());
    let keyless = Proof { keys: Vec::new(), ..proof };
    assert!(keyless.check(None).is_err());
}
