//! The hashes of the log, each with its own domain; `FORMAT.md` section "Hashes".

use super::record::{Commitment, Content, Leaves};
use crate::buffer::Segments;
use aws_lc_rs::digest::{Context, SHA256, digest};
use zeroize::Zeroizing;

/// A SHA-256 value.
pub type Hash = [u8; 32];

/// First byte of a node of the tree; `0x00` begins a leaf (RFC 6962 section 2.1).
const NODE: u8 = 1;
/// First byte of a link of the chain.
const LINK: u8 = 2;
/// Bytes of a leaf that are joined on the stack: a hash that goes on takes memory from the heap.
const JOINED_BYTES_MAX: usize = 1_024;
/// Bytes of the short checks in headers.
pub(super) const CHECK_BYTES: usize = 16;

pub(super) fn sha256(bytes: &[u8]) -> Hash {
    to_hash(digest(&SHA256, bytes))
}

/// The chain's next link: what came before, then the leaf hash of the new record.
pub(super) fn link(previous: &Hash, leaf: &Hash) -> Hash {
    let mut bytes = [LINK; 65];
    bytes[1..33].copy_from_slice(previous);
    bytes[33..].copy_from_slice(leaf);
    sha256(&bytes)
}

/// A node of the tree over its two children (RFC 6962 section 2.1).
pub(super) fn node(left: &Hash, right: &Hash) -> Hash {
    let mut bytes = [NODE; 65];
    bytes[1..33].copy_from_slice(left);
    bytes[33..].copy_from_slice(right);
    sha256(&bytes)
}

/// The check of a header: bound to its segment by the segment's salt, so that nobody who can only send bodies
/// can make something that looks like one.
pub(super) fn check(salt: &[u8], header: &[u8]) -> [u8; CHECK_BYTES] {
    let mut context = Context::new(&SHA256);
    context.update(salt);
    context.update(header);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&context.finish().as_ref()[..CHECK_BYTES]);
    check
}

/// `SHA-256(salt ‖ bytes)` of stored bytes.
pub(super) fn stored_leaf(salt_and_bytes: &[u8]) -> Hash {
    sha256(salt_and_bytes)
}

fn leaf(salt: &Hash, bytes: &Segments) -> Hash {
    let len = salt.len() + bytes.len_bytes();
    if len <= JOINED_BYTES_MAX {
        let mut joined = [0; JOINED_BYTES_MAX];
        joined[..salt.len()].copy_from_slice(salt);
        let mut at = salt.len();
        for chunk in bytes.iter() {
            joined[at..at + chunk.len()].copy_from_slice(chunk);
            at += chunk.len();
        }
        return sha256(&joined[..len]);
    }
    let mut context = Context::new(&SHA256);
    context.update(salt);
    for chunk in bytes.iter() {
        context.update(chunk);
    }
    to_hash(context.finish())
}

fn to_hash(digest: aws_lc_rs::digest::Digest) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest.as_ref());
    hash
}

/// Which side's view of a body a leaf is over.
#[derive(Clone, Copy)]
enum View {
    Caller = 1,
    Upstream = 2,
}

/// The running commitment to one body. Every byte is hashed once: into the leaf of its CONTENT record.
#[derive(Clone)]
pub struct Body {
    nonce: Hash,
    state: Hash,
    leaves: u64,
}

impl std::fmt::Debug for Body {
    /// Without the nonce.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("leaves", &self.leaves).finish_non_exhaustive()
    }
}

impl Body {
    /// A body without bytes yet. `nonce` is fresh and random, one a body and direction, and goes to the
    /// openings store.
    pub fn new(nonce: Hash) -> Body {
        Body { nonce, state: nonce, leaves: 0 }
    }

    /// Takes the next CONTENT in, in order, and returns its leaves.
    pub fn add(&mut self, content: &Content) -> Leaves {
        let salt = self.salt(View::Caller);
        let own = leaf(&salt, &content.bytes);
        let upstream = content
            .upstream
            .as_ref()
            .map(|bytes| (bytes.len_bytes() as u64, leaf(&self.salt(View::Upstream), bytes)));
        let committed = upstream.map_or(own, |(_, leaf)| leaf);
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&self.state);
        bytes[32..].copy_from_slice(&committed);
        self.state = sha256(&bytes);
        self.leaves += 1;
        let salt = if content.keep { salt } else { [0; 32] };
        Leaves { len: content.bytes.len_bytes() as u64, leaf: own, upstream, salt }
    }

    /// The commitment to everything taken in so far, as the upstream had it.
    pub fn commitment(&self) -> Commitment {
        Commitment(self.state)
    }

    /// The salt of the next leaf: derived, so that one nonce opens the whole body, and one-way, so that the
    /// salt stored beside kept bytes opens nothing else.
    fn salt(&self, view: View) -> Hash {
        let mut message = [view as u8; 9];
        message[1..].copy_from_slice(&self.leaves.to_le_bytes());
        hmac(&self.nonce, &message)
    }
}

/// HMAC-SHA-256 (RFC 2104) of a short message under a key that is used a few times only: two hashes of what
/// lies on the stack. A key of the library takes four allocations and as many hashes before its first use.
fn hmac(key: &Hash, message: &[u8; 9]) -> Hash {
    const BLOCK_BYTES: usize = 64;
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK_BYTES];
        block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
        block
    };
    let mut inner = Zeroizing::new([0; BLOCK_BYTES + 9]);
    inner[..BLOCK_BYTES].copy_from_slice(&padded(0x36));
    inner[BLOCK_BYTES..].copy_from_slice(message);
    let mut outer = Zeroizing::new([0; BLOCK_BYTES + 32]);
    outer[..BLOCK_BYTES].copy_from_slice(&padded(0x5c));
    outer[BLOCK_BYTES..].copy_from_slice(&sha256(&inner[..]));
    sha256(&outer[..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        audit::{Direction, Edit, ExchangeId},
        buffer::Chunk,
    };
    use aws_lc_rs::hmac as library;

    fn content(bytes: &'static [u8], upstream: Option<&'static [u8]>, keep: bool) -> Content {
        Content {
            id: ExchangeId::default(),
            direction: Direction::Response,
            offset: 0,
            elapsed_us: 0,
            bytes: Chunk::from_static(bytes).into(),
            upstream: upstream.map(|bytes| Chunk::from_static(bytes).into()),
            edits: Vec::<Edit>::new(),
            keep,
            leaves: None,
        }
    }

    #[test]
    fn the_short_hmac_is_that_of_the_library() {
        for key in [[0; 32], [7; 32], std::array::from_fn(|n| (n as u8).wrapping_mul(31))] {
            for message in [[0; 9], [1, 0, 0, 0, 0, 0, 0, 0, 255]] {
                let expected = library::sign(&library::Key::new(library::HMAC_SHA256, &key), &message);
                assert_eq!(hmac(&key, &message), expected.as_ref());
            }
        }
    }

    #[test]
    fn the_commitment_opens_with_the_nonce_alone() {
        let nonce = [7; 32];
        let mut body = Body::new(nonce);
        body.add(&content(b"first", None, true));
        body.add(&content(b"m****d", Some(b"masked"), true));

        let key = library::Key::new(library::HMAC_SHA256, &nonce);
        let mut state = nonce;
        for (view, index, bytes) in [(1u8, 0u64, &b"first"[..]), (2, 1, b"masked")] {
            let mut message = vec![view];
            message.extend_from_slice(&index.to_le_bytes());
            let mut leaf = library::sign(&key, &message).as_ref().to_vec();
            leaf.extend_from_slice(bytes);
            state = sha256(&[&state[..], &sha256(&leaf)[..]].concat());
        }
        assert_eq!(body.commitment(), Commitment(state));
    }

    #[test]
    fn only_kept_bytes_publish_their_salt() {
        let mut body = Body::new([7; 32]);
        let kept = body.add(&content(b"kept", None, true));
        assert_eq!(kept.leaf, stored_leaf(&[&kept.salt[..], b"kept"].concat()));
        assert_eq!(body.add(&content(b"dropped", None, false)).salt, [0; 32]);
    }

    #[test]
    fn equal_bytes_have_different_leaves() {
        let mut body = Body::new([7; 32]);
        let first = body.add(&content(b"4242", None, true));
        let second = body.add(&content(b"4242", Some(b"4242"), true));
        assert_ne!(first.leaf, second.leaf);
        assert_ne!(Some(second.leaf), second.upstream.map(|(_, leaf)| leaf));
        assert_ne!(first.leaf, Body::new([8; 32]).add(&content(b"4242", None, true)).leaf);
    }
}
