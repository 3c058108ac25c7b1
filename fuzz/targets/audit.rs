//! The audit log's parser.

use ringward::audit::{End, Position, SegmentReader, Verifier, parse_segment};

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
