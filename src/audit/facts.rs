//! Fields of the parts that several records share: subject, head, decision.

use super::{
    record::{
        Action, Decision, DryRun, Edit, Head, LeaseFacts, MaskHits, Predicate, Scheme, Stages, Subject,
    },
    wire::{DecodeError, Fields, Reader, Writer, array, choice, present, short, text, time},
};
use crate::http::{Headers, Method};
use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

const SCHEMES: [(u8, Scheme); 2] = [(1, Scheme::Http), (2, Scheme::Https)];
/// How the caller's connection was protected. A reader may skip it.
const SCHEME_TAG: u8 = 0x80;
/// What was judged of a conversation in former turns. A reader may skip it.
const PASSED_TAG: u8 = 0x80;
const REMOVED_TAG: u8 = 0x81;
const ACTIONS: [(u8, Action); 3] = [(1, Action::Allow), (2, Action::Block), (3, Action::Approve)];

/// A block of a conversation that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its number in the conversation, from 0.
    pub block: u64,
    /// The policy that blocked it.
    pub policy: Arc<str>,
}

impl Fields for Subject {
    fn write(&self, out: &mut Writer<'_>) {
        out.text(1, &self.issuer);
        out.text(2, &self.subject);
        out.optional(3, &self.owner);
        out.texts(4, &self.groups);
        out.optional(5, &self.purpose);
        out.optional(6, &self.token);
        if let Some(token_id) = &self.token_id {
            out.bytes(7, token_id);
        }
    }

    fn read(bytes: &[u8]) -> Result<Subject, DecodeError> {
        let mut subject = Subject {
            issuer: "".into(),
            subject: "".into(),
            owner: None,
            groups: Vec::new(),
            purpose: None,
            token: None,
            token_id: None,
        };
        let mut fields = Reader::new(bytes, &[4]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => subject.issuer = text(tag, value)?.into(),
                2 => subject.subject = text(tag, value)?.into(),
                3 => subject.owner = Some(text(tag, value)?.into()),
                4 => subject.groups.push(text(tag, value)?.into()),
                5 => subject.purpose = Some(text(tag, value)?.into()),
                6 => subject.token = Some(text(tag, value)?.into()),
                7 => subject.token_id = Some(array(tag, value)?),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(subject)
    }
}

/// Each field of a message under `tag`.
pub(super) fn write_headers(tag: u8, headers: &Headers, out: &mut Writer<'_>) {
    for (name, value) in headers.raw() {
        out.nested(tag, |out| {
            out.bytes(1, name);
            out.bytes(2, value);
        });
    }
}

/// Reads one field and appends it.
pub(super) fn add_header(headers: &mut Headers, bytes: &[u8]) -> Result<(), DecodeError> {
    let (name, value) = read_header(bytes)?;
    headers.append(name, value);
    Ok(())
}

fn read_header(bytes: &[u8]) -> Result<(&str, &[u8]), DecodeError> {
    let (mut name, mut value) = (None, None);
    let mut fields = Reader::new(bytes, &[]);
    while let Some((tag, bytes)) = fields.next()? {
        match tag {
            1 => name = Some(text(tag, bytes)?),
            2 => value = Some(bytes),
            _ => return Err(DecodeError::Unknown(tag)),
        }
    }
    let value = value.ok_or(DecodeError::Missing(2))?;
    if value.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0)) {
        return Err(DecodeError::Value(2));
    }
    Ok((name.ok_or(DecodeError::Missing(1))?, value))
}

impl Fields for Head {
    fn write(&self, out: &mut Writer<'_>) {
        out.text(1, &self.listener);
        if let Some(peer) = self.peer {
            out.bytes(2, &write_address(peer));
        }
        out.optional(3, &self.route);
        out.optional(4, &self.upstream);
        out.optional(5, &self.method.as_ref().map(Method::as_str));
        out.text(6, &self.authority);
        out.text(7, &self.target);
        write_headers(8, &self.headers, out);
        if let Some(scheme) = self.scheme {
            out.bytes(SCHEME_TAG, &[scheme as u8]);
        }
    }

    fn read(bytes: &[u8]) -> Result<Head, DecodeError> {
        let mut head = Head::default();
        let mut fields = Reader::new(bytes, &[8]).knowing(&[SCHEME_TAG]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => head.listener = text(tag, value)?.into(),
                2 => head.peer = Some(read_address(value).ok_or(DecodeError::Value(tag))?),
                3 => head.route = Some(text(tag, value)?.into()),
                4 => head.upstream = Some(text(tag, value)?.into()),
                5 => head.method = Some(Method::from_token(text(tag, value)?)),
                6 => head.authority = text(tag, value)?.into(),
                7 => head.target = text(tag, value)?.into(),
                8 => add_header(&mut head.headers, value)?,
                SCHEME_TAG => head.scheme = Some(choice(tag, value, &SCHEMES)?),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(head)
    }
}

/// 4 or 16 bytes of address, then the port, both big-endian.
fn write_address(address: SocketAddr) -> Vec<u8> {
    let mut bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend_from_slice(&address.port().to_be_bytes());
    bytes
}

fn read_address(bytes: &[u8]) -> Option<SocketAddr> {
    let (ip, port) = bytes.split_last_chunk::<2>()?;
    let ip = match ip.len() {
        4 => IpAddr::from(<[u8; 4]>::try_from(ip).ok()?),
        16 => IpAddr::from(<[u8; 16]>::try_from(ip).ok()?),
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_be_bytes(*port)))
}

impl Fields for Decision {
    fn write(&self, out: &mut Writer<'_>) {
        out.bytes(1, &[self.action as u8]);
        out.optional(2, &self.policy);
        out.optional(3, &self.place);
        out.optional(4, &self.reason);
        for dry_run in &self.dry_runs {
            out.nested(5, |out| dry_run.write(out));
        }
        for predicate in &self.predicates {
            out.nested(6, |out| predicate.write(out));
        }
        out.number(PASSED_TAG, self.passed);
        for removed in &self.removed {
            out.nested(REMOVED_TAG, |out| removed.write(out));
        }
    }

    fn read(bytes: &[u8]) -> Result<Decision, DecodeError> {
        let mut decision = Decision::default();
        let mut action = None;
        let mut fields = Reader::new(bytes, &[5, 6, REMOVED_TAG]).knowing(&[PASSED_TAG, REMOVED_TAG]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => action = Some(choice(tag, value, &ACTIONS)?),
                2 => decision.policy = Some(text(tag, value)?.into()),
                3 => decision.place = Some(text(tag, value)?.into()),
                4 => decision.reason = Some(text(tag, value)?.into()),
                5 => decision.dry_runs.push(DryRun::read(value)?),
                6 => decision.predicates.push(Predicate::read(value)?),
                PASSED_TAG => decision.passed = present(tag, value)?,
                REMOVED_TAG => decision.removed.push(Removed::read(value)?),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        decision.action = action.ok_or(DecodeError::Missing(1))?;
        Ok(decision)
    }
}

impl Fields for DryRun {
    fn write(&self, out: &mut Writer<'_>) {
        out.text(1, &self.policy);
        out.bytes(2, &[self.action as u8]);
    }

    fn read(bytes: &[u8]) -> Result<DryRun, DecodeError> {
        let (mut policy, mut action) = ("", None);
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => policy = text(tag, value)?,
                2 => action = Some(choice(tag, value, &ACTIONS)?),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(DryRun { policy: policy.into(), action: action.ok_or(DecodeError::Missing(2))? })
    }
}

impl Fields for Predicate {
    fn write(&self, out: &mut Writer<'_>) {
        out.text(1, &self.policy);
        out.text(2, &self.name);
        out.number(3, u64::from(self.held));
    }

    fn read(bytes: &[u8]) -> Result<Predicate, DecodeError> {
        let mut predicate = Predicate { policy: "".into(), name: "".into(), held: false };
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => predicate.policy = text(tag, value)?.into(),
                2 => predicate.name = text(tag, value)?.into(),
                3 => predicate.held = choice(tag, value, &[(1, true)])?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(predicate)
    }
}

impl Fields for Removed {
    fn write(&self, out: &mut Writer<'_>) {
        out.number(1, self.block);
        out.text(2, &self.policy);
    }

    fn read(bytes: &[u8]) -> Result<Removed, DecodeError> {
        let mut removed = Removed { block: 0, policy: "".into() };
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => removed.block = present(tag, value)?,
                2 => removed.policy = text(tag, value)?.into(),
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(removed)
    }
}

impl Fields for Edit {
    fn write(&self, out: &mut Writer<'_>) {
        out.number(1, self.offset);
        out.number(2, self.len);
        out.number(3, u64::from(self.rule));
    }

    fn read(bytes: &[u8]) -> Result<Edit, DecodeError> {
        let mut edit = Edit { offset: 0, len: 0, rule: 0 };
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => edit.offset = present(tag, value)?,
                2 => edit.len = present(tag, value)?,
                3 => edit.rule = short(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(edit)
    }
}

impl Fields for LeaseFacts {
    fn write(&self, out: &mut Writer<'_>) {
        out.text(1, &self.source);
        out.text(2, &self.id);
        out.time(3, self.expires);
    }

    fn read(bytes: &[u8]) -> Result<LeaseFacts, DecodeError> {
        let mut lease = LeaseFacts { source: "".into(), id: "".into(), expires: Default::default() };
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => lease.source = text(tag, value)?.into(),
                2 => lease.id = text(tag, value)?.into(),
                3 => lease.expires = time(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(lease)
    }
}

impl Fields for MaskHits {
    fn write(&self, out: &mut Writer<'_>) {
        out.text(1, &self.mask);
        out.number(2, self.count);
    }

    fn read(bytes: &[u8]) -> Result<MaskHits, DecodeError> {
        let mut hits = MaskHits { mask: "".into(), count: 0 };
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => hits.mask = text(tag, value)?.into(),
                2 => hits.count = present(tag, value)?,
                _ => return Err(DecodeError::Unknown(tag)),
            }
        }
        Ok(hits)
    }
}

impl Fields for Stages {
    fn write(&self, out: &mut Writer<'_>) {
        out.number(1, self.head_us);
        out.number(2, self.body_us);
        out.number(3, self.record_us);
        out.number(4, self.hold_us);
        out.number(5, self.connect_us);
        out.number(6, self.first_byte_us);
        out.number(7, self.response_us);
        out.number(8, self.total_us);
    }

    fn read(bytes: &[u8]) -> Result<Stages, DecodeError> {
        let mut stages = Stages::default();
        let mut fields = Reader::new(bytes, &[]);
        while let Some((tag, value)) = fields.next()? {
            let stage = match tag {
                1 => &mut stages.head_us,
                2 => &mut stages.body_us,
                3 => &mut stages.record_us,
                4 => &mut stages.hold_us,
                5 => &mut stages.connect_us,
                6 => &mut stages.first_byte_us,
                7 => &mut stages.response_us,
                8 => &mut stages.total_us,
                _ => return Err(DecodeError::Unknown(tag)),
            };
            *stage = present(tag, value)?;
        }
        Ok(stages)
    }
}
