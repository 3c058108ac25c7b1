//! Payloads of the record kinds, each as fields in ascending order of their tags.

use super::{
    Approval, Consume, ExchangeId, Grant,
    facts::{add_header, write_headers},
    merkle::Frontier,
    record::{
        Access, Cause, Commitment, Config, Content, Decision, Direction, Edit, Erased, Folded, Head, Intent,
        IntentBody, Kind, LeaseFacts, Leaves, MaskHits, Outcome, Place, Record, Recovery, Refusal, Stages,
        State, Subject,
    },
    signed::{Signed, StatedKey},
    wire::{DecodeError, Fields, Reader, Writer, array, choice, id, number, present, short, text, time},
};
use crate::{
    buffer::{Chunk, Segments},
    time::Timestamp,
};
use std::sync::Arc;

/// What STATE says of the tree and of its keys. A reader may skip it: it follows from the records before.
const TREE_TAG: u8 = 0x80;
const KEY_TAG: u8 = 0x81;
/// What REFUSAL says of those that it stands for.
const FOLDED_TAG: u8 = 0x80;
const SINCE_TAG: u8 = 0x81;
/// The fields of a response, which OUTCOME says.
const HEADER_TAG: u8 = 0x80;

const DIRECTIONS: [(u8, Direction); 2] = [(1, Direction::Request), (2, Direction::Response)];
const CAUSES: [(u8, Cause); 12] = [
    (1, Cause::Complete),
    (2, Cause::ClientGone),
    (3, Cause::UpstreamGone),
    (4, Cause::Timeout),
    (5, Cause::Lost),
    (6, Cause::Refused),
    (7, Cause::ClientFault),
    (8, Cause::UpstreamFault),
    (9, Cause::Unmaskable),
    (10, Cause::Unrecorded),
    (11, Cause::Cut),
    (12, Cause::Internal),
];
const PLACES: [(u8, Place); 10] = [
    (1, Place::RequestBody),
    (2, Place::Hold),
    (3, Place::Secret),
    (4, Place::Connect),
    (5, Place::Send),
    (6, Place::FirstByte),
    (7, Place::ResponseHead),
    (8, Place::ResponseBody),
    (9, Place::End),
    (10, Place::Unknown),
];

/// Appends the payload of `record`.
pub(super) fn write(record: &Record, out: &mut Vec<u8>) {
    let out = &mut Writer(out);
    match record {
        Record::Config(config) => config.write(out),
        Record::Intent(intent) => intent.write(out),
        Record::Content(content) => content.write(out),
        Record::Outcome(outcome) => outcome.write(out),
        Record::Refusal(refusal) => refusal.write(out),
        Record::Recovery(recovery) => recovery.write(out),
        Record::State(state) => state.write(out),
        Record::Admin(access) | Record::Read(access) => access.write(out),
        Record::Erased(erased) => erased.write(out),
        Record::Approval(approval) => approval.write(out),
        Record::Consume(consume) => consume.write(out),
        Record::Grant(grant) => grant.write(out),
        Record::Checkpoint(signed) | Record::Key(signed) => signed.write(out),
    }
}

/// Reads a payload. Of a CONTENT record, `kept` are the stored salt and bytes.
///
/// # Errors
/// [`DecodeError`]: it is not the payload of that kind.
pub(super) fn read(kind: Kind, payload: &[u8], kept: Option<&[u8]>) -> Result<Record, DecodeError> {
    Ok(match kind {
        Kind::Config => Record::Config(Config::read(payload)?),
        Kind::Intent => Record::Intent(Box::new(Intent::read(payload)?)),
        Kind::Content => Record::Content(Box::new(read_content(payload, kept)?)),
        Kind::Outcome => Record::Outcome(Box::new(Outcome::read(payload)?)),
        Kind::Refusal => Record::Refusal(Box::new(Refusal::read(payload)?)),
        Kind::Recovery => Record::Recovery(Recovery::read(payload)?),
        Kind::State => Record::State(State::read(payload)?),
        Kind::Admin => Record::Admin(Access::read(payload)?),
        Kind::Read => Record::Read(Access::read(payload)?),
        Kind::Erased => Record::Erased(Box::new(Erased::read(payload)?)),
        Kind::Checkpoint => Record::Checkpoint(Signed::read(payload)?),
        Kind::Key => Record::Key(Signed::read(payload)?),
        Kind::Approval => Record::Approval(Box::new(Approval::read(payload)?)),
        Kind::Consume => Record::Consume(Box::new(Consume::read(payload)?)),
        Kind::Grant => Record::Grant(Box::new(Grant::read(payload)?)),
    })
}

/// The exchange that a record belongs to, without reading the rest: its first field.
pub(super) fn read_id(payload: &[u8]) -> Result<ExchangeId, DecodeError> {
    match Reader::new(payload, &[]).next()? {
        Some((1, value)) => id(1, value),
        _ => Err(DecodeError::Missing(1)),
    }
}

impl Fields for Config {
    fn write(&self, out: &mut Writer<'_>) {
        out.time(1, self.at);
        out.number(2, self.generation);
        out.text(3, &self.author);
        out.text(4, &self.text);
    }

    fn read(bytes: &[u8]) -> Result<Config, DecodeError> {
        let mut config = Config { at: Timestamp(0), generation: 0, author: "".into(), text: "".into() };
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => config.at = time(tag, value)?,
                2 => config.generation = present(tag, value)?,
                3 => config.author = text(tag, value)?.into(),
                4 => config.text = text(tag, value)?.into(),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(config)
    }
}

impl Fields for Intent {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, &self.id.0);
        out.time(2, self.at);
        out.number(3, self.generation);
        out.text(4, &self.session);
        out.part(5, self.subject.as_deref());
        out.part(6, Some(&self.head));
        out.part(7, Some(&self.decision));
        out.texts(8, &self.secrets);
        match &self.body {
            IntentBody::Streamed => {}
            // Without CONTENT before it, a buffered body is an empty one: there is nothing to commit to.
            IntentBody::Buffered => out.bytes(9, &[]),
            IntentBody::Committed(Commitment(hash)) => out.bytes(9, hash),
        }
    }

    fn read(bytes: &[u8]) -> Result<Intent, DecodeError> {
        let mut intent = Intent {
            id: ExchangeId::default(),
            at: Timestamp(0),
            generation: 0,
            session: "".into(),
            subject: None,
            head: Head::default(),
            decision: Decision::default(),
            secrets: Vec::new(),
            body: IntentBody::Streamed,
        };
        intent.id = read_id(bytes)?;
        let (mut head, mut decision) = (None, None);
        let mut fields = Reader::new(bytes, &[8]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => {}
                2 => intent.at = time(tag, value)?,
                3 => intent.generation = present(tag, value)?,
                4 => intent.session = text(tag, value)?.into(),
                5 => intent.subject = Some(Arc::new(Subject::read(value)?)),
                6 => head = Some(Head::read(value)?),
                7 => decision = Some(Decision::read(value)?),
                8 => intent.secrets.push(text(tag, value)?.into()),
                9 if value.is_empty() => intent.body = IntentBody::Buffered,
                9 => intent.body = IntentBody::Committed(Commitment(array(tag, value)?)),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        intent.head = head.ok_or(DecodeError::Missing(6))?;
        intent.decision = decision.ok_or(DecodeError::Missing(7))?;
        Ok(intent)
    }
}

impl Content {
    /// The fields of a CONTENT whose leaves the journal has filled in; without them, those of an empty body.
    fn write(&self, out: &mut Writer<'_>) {
        let empty = Leaves { len: 0, leaf: [0; 32], upstream: None, salt: [0; 32] };
        let leaves = self.leaves.as_ref().unwrap_or(&empty);
        out.bytes(1, &self.id.0);
        out.bytes(2, &[self.direction as u8]);
        out.number(3, self.offset);
        out.number(4, self.elapsed_us);
        out.number(5, leaves.len);
        out.bytes(6, &leaves.leaf);
        if let Some((len, leaf)) = &leaves.upstream {
            out.number(7, *len);
            out.bytes(8, leaf);
        }
        for edit in &self.edits {
            out.nested(9, |out| edit.write(out));
        }
    }
}

fn read_content(payload: &[u8], kept: Option<&[u8]>) -> Result<Content, DecodeError> {
    let (mut direction, mut leaf, mut upstream) = (None, None, None);
    let (mut offset, mut elapsed_us, mut len, mut upstream_len) = (0, 0, 0, 0);
    let mut edits = Vec::new();
    let mut fields = Reader::new(payload, &[9]);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            1 => {}
            2 => direction = Some(choice(tag, value, &DIRECTIONS)?),
            3 => offset = present(tag, value)?,
            4 => elapsed_us = present(tag, value)?,
            5 => len = present(tag, value)?,
            6 => leaf = Some(array(tag, value)?),
            7 => upstream_len = present(tag, value)?,
            8 => upstream = Some(array(tag, value)?),
            9 => edits.push(Edit::read(value)?),
            _ => return Err(DecodeError::Unknown(tag)),
        }
    }
    let (salt, bytes) = match kept {
        None => ([0; 32], Segments::new()),
        Some(kept) => {
            let (salt, bytes) = kept.split_first_chunk::<32>().ok_or(DecodeError::Missing(5))?;
            (*salt, Segments::from(Chunk::from(bytes.to_vec())))
        }
    };
    let leaf = leaf.ok_or(DecodeError::Missing(6))?;
    if upstream_len > 0 && upstream.is_none() {
        return Err(DecodeError::Missing(8));
    }
    Ok(Content {
        id: read_id(payload)?,
        direction: direction.ok_or(DecodeError::Missing(2))?,
        offset,
        elapsed_us,
        bytes,
        upstream: None,
        edits,
        keep: kept.is_some(),
        leaves: Some(Leaves { len, leaf, upstream: upstream.map(|leaf| (upstream_len, leaf)), salt }),
    })
}

/// Length and leaf of the caller's view of a CONTENT payload, for the check of its stored bytes.
pub(super) fn read_leaf(payload: &[u8]) -> Result<(u64, [u8; 32]), DecodeError> {
    let (mut len, mut leaf) = (0, None);
    let mut fields = Reader::new(payload, &[9]);
    while let Some((tag, value)) = fields.next()? {
        match tag {
            5 => len = present(tag, value)?,
            6 => leaf = Some(array(tag, value)?),
            _ => {}
        }
    }
    Ok((len, leaf.ok_or(DecodeError::Missing(6))?))
}

impl Fields for Outcome {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, &self.id.0);
        out.time(2, self.at);
        if let Some(status) = self.status {
            out.number_always(3, u64::from(status));
        }
        out.bytes(4, &[self.cause as u8]);
        out.bytes(5, &[self.place as u8]);
        out.optional(6, &self.reason);
        out.number(7, self.request.received);
        out.number(8, self.request.sent);
        out.number(9, self.response.received);
        out.number(10, self.response.sent);
        for (tag, commitment) in [(11, self.commitments.request), (12, self.commitments.response)] {
            if let Some(Commitment(hash)) = commitment {
                out.bytes(tag, &hash);
            }
        }
        out.part(13, self.lease.as_ref());
        for hits in &self.masks {
            out.part(14, Some(hits));
        }
        out.part(15, Some(&self.stages));
        write_headers(HEADER_TAG, &self.headers, out);
    }

    fn read(bytes: &[u8]) -> Result<Outcome, DecodeError> {
        let mut outcome = Outcome::lost(read_id(bytes)?, Timestamp(0));
        let (mut cause, mut place, mut stages) = (None, None, None);
        let mut fields = Reader::new(bytes, &[14, HEADER_TAG]).knowing(&[HEADER_TAG]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => {}
                2 => outcome.at = time(tag, value)?,
                3 => outcome.status = Some(short(tag, value)?),
                4 => cause = Some(choice(tag, value, &CAUSES)?),
                5 => place = Some(choice(tag, value, &PLACES)?),
                6 => outcome.reason = Some(text(tag, value)?.to_owned().into()),
                7 => outcome.request.received = present(tag, value)?,
                8 => outcome.request.sent = present(tag, value)?,
                9 => outcome.response.received = present(tag, value)?,
                10 => outcome.response.sent = present(tag, value)?,
                11 => outcome.commitments.request = Some(Commitment(array(tag, value)?)),
                12 => outcome.commitments.response = Some(Commitment(array(tag, value)?)),
                13 => outcome.lease = Some(LeaseFacts::read(value)?),
                14 => outcome.masks.push(MaskHits::read(value)?),
                15 => stages = Some(Stages::read(value)?),
                HEADER_TAG => add_header(&mut outcome.headers, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        outcome.cause = cause.ok_or(DecodeError::Missing(4))?;
        outcome.place = place.ok_or(DecodeError::Missing(5))?;
        outcome.stages = stages.ok_or(DecodeError::Missing(15))?;
        Ok(outcome)
    }
}

impl Fields for Refusal {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, &self.id.0);
        out.time(2, self.at);
        out.number(3, self.generation);
        out.optional(4, &self.session);
        out.part(5, self.subject.as_deref());
        out.part(6, Some(&self.head));
        out.part(7, self.decision.as_ref());
        out.number(8, u64::from(self.status));
        out.text(9, &self.code);
        out.text(10, &self.reason);
        if let Some(Commitment(hash)) = self.body {
            out.bytes(11, &hash);
        }
        if let Some(Folded { more, since }) = self.folded {
            out.number(FOLDED_TAG, more);
            out.time(SINCE_TAG, since);
        }
    }

    fn read(bytes: &[u8]) -> Result<Refusal, DecodeError> {
        let mut refusal = Refusal {
            id: read_id(bytes)?,
            at: Timestamp(0),
            generation: 0,
            session: None,
            subject: None,
            head: Head::default(),
            decision: None,
            status: 0,
            code: "".into(),
            reason: "".into(),
            body: None,
            folded: None,
        };
        let (mut head, mut more, mut since) = (None, 0, Timestamp(0));
        let mut fields = Reader::new(bytes, &[]).knowing(&[FOLDED_TAG, SINCE_TAG]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => {}
                2 => refusal.at = time(tag, value)?,
                3 => refusal.generation = present(tag, value)?,
                4 => refusal.session = Some(text(tag, value)?.into()),
                5 => refusal.subject = Some(Arc::new(Subject::read(value)?)),
                6 => head = Some(Head::read(value)?),
                7 => refusal.decision = Some(Decision::read(value)?),
                8 => refusal.status = short(tag, value)?,
                9 => refusal.code = text(tag, value)?.to_owned().into(),
                10 => refusal.reason = text(tag, value)?.to_owned().into(),
                11 => refusal.body = Some(Commitment(array(tag, value)?)),
                FOLDED_TAG => more = present(tag, value)?,
                SINCE_TAG => since = time(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        refusal.head = head.ok_or(DecodeError::Missing(6))?;
        refusal.folded = (more > 0).then_some(Folded { more, since });
        Ok(refusal)
    }
}

impl Fields for Recovery {
    fn write(&self, out: &mut Writer<'_>) {
        out.time(1, self.at);
        out.number(2, self.segment);
        out.number(3, self.kept_through);
        if let Some((first, last)) = self.lost {
            out.number_always(4, first);
            out.number_always(5, last);
        }
        out.number(6, self.lost_bytes);
        out.number(7, self.open);
    }

    fn read(bytes: &[u8]) -> Result<Recovery, DecodeError> {
        let mut recovery =
            Recovery { at: Timestamp(0), segment: 0, kept_through: 0, lost: None, lost_bytes: 0, open: 0 };
        let (mut first, mut last) = (None, None);
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => recovery.at = time(tag, value)?,
                2 => recovery.segment = present(tag, value)?,
                3 => recovery.kept_through = present(tag, value)?,
                4 => first = Some(number(tag, value)?),
                5 => last = Some(number(tag, value)?),
                6 => recovery.lost_bytes = present(tag, value)?,
                7 => recovery.open = present(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        recovery.lost = match (first, last) {
            (Some(first), Some(last)) => Some((first, last)),
            (None, None) => None,
            _ => return Err(DecodeError::Missing(5)),
        };
        Ok(recovery)
    }
}

impl Fields for Access {
    fn write(&self, out: &mut Writer<'_>) {
        out.time(1, self.at);
        out.text(2, &self.author);
        out.text(3, &self.action);
        out.text(4, &self.object);
    }

    fn read(bytes: &[u8]) -> Result<Access, DecodeError> {
        let mut access = Access { at: Timestamp(0), author: "".into(), action: "".into(), object: "".into() };
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => access.at = time(tag, value)?,
                2 => access.author = text(tag, value)?.into(),
                3 => access.action = text(tag, value)?.into(),
                4 => access.object = text(tag, value)?.into(),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(access)
    }
}

impl Fields for Erased {
    fn write(&self, out: &mut Writer<'_>) {
        out.time(1, self.at);
        out.text(2, &self.author);
        out.text(3, &self.issuer);
        out.text(4, &self.subject);
        for id in &self.exchanges {
            out.bytes(5, &id.0);
        }
    }

    fn read(bytes: &[u8]) -> Result<Erased, DecodeError> {
        let empty = || Arc::<str>::from("");
        let (at, exchanges) = (Timestamp(0), Vec::new());
        let mut erased = Erased { at, author: empty(), issuer: empty(), subject: empty(), exchanges };
        let mut fields = Reader::new(bytes, &[5]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => erased.at = time(tag, value)?,
                2 => erased.author = text(tag, value)?.into(),
                3 => erased.issuer = text(tag, value)?.into(),
                4 => erased.subject = text(tag, value)?.into(),
                5 => erased.exchanges.push(id(tag, value)?),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(erased)
    }
}

impl Fields for State {
    fn write(&self, out: &mut Writer<'_>) {
        out.time(1, self.at);
        for id in &self.open {
            out.bytes(2, &id.0);
        }
        out.part(TREE_TAG, self.tree.as_ref());
        for key in &self.keys {
            out.part(KEY_TAG, Some(key));
        }
    }

    fn read(bytes: &[u8]) -> Result<State, DecodeError> {
        let mut state = State::default();
        let mut fields = Reader::new(bytes, &[2, KEY_TAG]).knowing(&[TREE_TAG, KEY_TAG]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => state.at = time(tag, value)?,
                2 => state.open.push(id(tag, value)?),
                TREE_TAG => state.tree = Some(Frontier::read(value)?),
                KEY_TAG => state.keys.push(StatedKey::read(value)?),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(state)
    }
}
