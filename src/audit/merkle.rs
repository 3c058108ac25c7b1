//! The tree over the records of a log: RFC 6962 section 2.1 hashing, proofs as RFC 9162 section 2.1 checks
//! them.
//!
//! Leaf `i` (from 0) is the leaf hash of record `i + 1`. Nothing here holds a whole tree: [`Frontier`] keeps
//! one node a bit of its size, and [`Prover`] gathers a proof while the leaves stream by.

use super::hash::{Hash, node, sha256};
use std::ops::Range;

/// A tree that grows at its right end, as the roots of its perfect subtrees, largest first: one for each set
/// bit of its size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    nodes: Vec<Hash>,
}

impl Frontier {
    /// A tree of `size` leaves from its nodes; `None` if that size has another number of them.
    pub fn from_nodes(size: u64, nodes: Vec<Hash>) -> Option<Frontier> {
        (nodes.len() == size.count_ones() as usize).then_some(Frontier { size, nodes })
    }

    /// Number of leaves.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the perfect subtrees, largest first; at most 64.
    pub fn nodes(&self) -> &[Hash] {
        &self.nodes
    }

    /// Its nodes with their levels: a node of level *l* is over 2^*l* leaves.
    fn levels(&self) -> impl Iterator<Item = (u32, &Hash)> {
        let levels = (0..u64::BITS).rev().filter(|level| self.size >> level & 1 == 1);
        levels.zip(&self.nodes)
    }

    /// Appends a leaf, given by its leaf hash.
    pub fn push(&mut self, leaf: Hash) {
        let mut root = leaf;
        // Each trailing one is a perfect subtree as large as the one that just became whole.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.nodes.pop() {
                root = node(&left, &root);
            }
        }
        self.nodes.push(root);
        self.size += 1;
    }

    /// Root of the tree; of the empty one the hash of nothing (RFC 6962 section 2.1).
    pub fn root(&self) -> Hash {
        let right_to_left = self.nodes.iter().rev().copied();
        right_to_left.reduce(|right, left| node(&left, &right)).unwrap_or_else(|| sha256(&[]))
    }
}

/// Gathers a proof in one pass over the leaves of a tree, in memory for some hashes a level of the tree.
#[derive(Clone, Debug)]
pub struct Prover {
    /// Subtrees whose roots make the proof, in the order of their leaves, each with its place in the proof.
    parts: Vec<(Range<u64>, Frontier, usize)>,
    /// The first part that is not whole.
    at: usize,
    /// Index of the next leaf.
    next: u64,
}

impl Prover {
    /// A proof that the leaf at `index`, from 0, is in the tree of the first `size` leaves (RFC 6962 section
    /// 2.1.1). `None` unless `index < size`.
    pub fn inclusion(index: u64, size: u64) -> Option<Prover> {
        (index < size).then(|| Prover::new(inclusion_parts(index, size)))
    }

    /// A proof that the first `from` leaves of the tree of `size` leaves are the tree of that size (RFC 6962
    /// section 2.1.2). `None` unless `from <= size`. It is empty for `from` 0 and for equal sizes.
    pub fn consistency(from: u64, size: u64) -> Option<Prover> {
        (from <= size).then(|| Prover::new(consistency_parts(from, size)))
    }

    fn new(ranges: Vec<Range<u64>>) -> Prover {
        let numbered = ranges.into_iter().enumerate();
        let mut parts: Vec<_> = numbered.map(|(place, range)| (range, Frontier::default(), place)).collect();
        parts.sort_by_key(|(range, ..)| range.start);
        Prover { parts, at: 0, next: 0 }
    }

    /// Begins behind the tree `before` instead of at the first leaf. `None` if the proof needs single leaves
    /// of it: it never does where the proven leaf, or all that the older tree has not, is behind it.
    pub fn start_behind(mut self, before: &Frontier) -> Option<Prover> {
        let mut end = 0;
        for (level, root) in before.levels() {
            let start = end;
            end += 1 << level;
            while self.parts.get(self.at).is_some_and(|(part, ..)| part.end <= start) {
                self.at += 1;
            }
            match self.parts.get_mut(self.at) {
                Some((part, subtree, _)) if part.start <= start && end <= part.end => {
                    // Parts are as large as a power of two, or begin where one ends: the node fits as it is.
                    subtree.nodes.push(*root);
                    subtree.size += end - start;
                    self.at += usize::from(end == part.end);
                }
                Some((part, ..)) if part.start < end => return None,
                // A node that the proof leaves out.
                _ => {}
            }
        }
        self.next = before.size;
        Some(self)
    }

    /// Takes the next leaf of the tree, from the first one on. Leaves behind the tree are left out.
    pub fn push(&mut self, leaf: Hash) {
        let index = self.next;
        self.next += 1;
        let Some((range, subtree, _)) = self.parts.get_mut(self.at) else { return };
        if range.contains(&index) {
            subtree.push(leaf);
        }
        self.at += usize::from(index + 1 == range.end);
    }

    /// The proof; `None` if leaves are missing.
    pub fn finish(mut self) -> Option<Vec<Hash>> {
        if self.at < self.parts.len() {
            return None;
        }
        self.parts.sort_by_key(|(.., place)| *place);
        Some(self.parts.iter().map(|(_, subtree, _)| subtree.root()).collect())
    }
}

/// Where a tree of that many leaves, at least 2, splits: the largest power of two below (RFC 6962 section
/// 2.1).
fn split(leaves: u64) -> u64 {
    1 << (leaves - 1).ilog2()
}

fn inclusion_parts(index: u64, size: u64) -> Vec<Range<u64>> {
    let (mut start, mut end, mut parts) = (0, size, Vec::new());
    while end - start > 1 {
        let middle = start + split(end - start);
        if index < middle {
            parts.push(middle..end);
            end = middle;
        } else {
            parts.push(start..middle);
            start = middle;
        }
    }
    parts.reverse();
    parts
}

fn consistency_parts(from: u64, size: u64) -> Vec<Range<u64>> {
    let (mut start, mut end, mut parts) = (0, size, Vec::new());
    while from != 0 && from != end {
        let middle = start + split(end - start);
        if from <= middle {
            parts.push(middle..end);
            end = middle;
        } else {
            parts.push(start..middle);
            start = middle;
        }
    }
    // The old tree is known to whoever asks, if it is one subtree.
    if start > 0 {
        parts.push(start..end);
    }
    parts.reverse();
    parts
}

/// Whether `path` proves that `leaf` is the leaf at `index`, from 0, of the tree of `size` leaves with that
/// root (RFC 9162 section 2.1.3.2).
pub fn is_included(leaf: &Hash, index: u64, size: u64, path: &[Hash], root: &Hash) -> bool {
    if index >= size {
        return false;
    }
    let (mut place, mut last, mut hash) = (index, size - 1, *leaf);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            hash = node(sibling, &hash);
            climb(&mut place, &mut last);
        } else {
            hash = node(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && hash == *root
}

/// Whether `path` proves that the tree of `from` leaves with root `old` is the beginning of the tree of
/// `size` leaves with root `new` (RFC 9162 section 2.1.4.2).
pub fn is_consistent(from: u64, old: &Hash, size: u64, new: &Hash, path: &[Hash]) -> bool {
    if from > size {
        return false;
    }
    if from == 0 {
        return path.is_empty() && *old == sha256(&[]);
    }
    if from == size {
        return path.is_empty() && old == new;
    }
    let mut path = path.iter();
    // A perfect old tree is a node of the new one, and is left out of the proof.
    let Some(first) = (if from.is_power_of_two() { Some(old) } else { path.next() }) else { return false };
    let (mut place, mut last) = (from - 1, size - 1);
    let shared = place.trailing_ones();
    (place, last) = (place >> shared, last >> shared);
    let (mut before, mut after) = (*first, *first);
    for sibling in path {
        if last == 0 {
            return false;
        }
        if place & 1 == 1 || place == last {
            before = node(sibling, &before);
            after = node(sibling, &after);
            climb(&mut place, &mut last);
        } else {
            after = node(&after, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    last == 0 && before == *old && after == *new
}

/// Levels where the node at `place` has no sibling are passed over: it moves up unchanged.
fn climb(place: &mut u64, last: &mut u64) {
    let levels = if *place == 0 { 0 } else { place.trailing_zeros() };
    (*place, *last) = (*place >> levels, *last >> levels);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Every size up to this one is looked at with every index.
    const SIZES: u64 = 130;

    fn leaf(number: u64) -> Hash {
        sha256(&[&[0][..], &number.to_be_bytes()].concat())
    }

    fn hash(hexadecimal: &str) -> Hash {
        std::array::from_fn(|at| u8::from_str_radix(&hexadecimal[at * 2..at * 2 + 2], 16).unwrap())
    }

    /// MTH as RFC 6962 section 2.1 writes it down.
    fn naive_root(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => sha256(&[]),
            [leaf] => *leaf,
            _ => {
                let (left, right) = leaves.split_at(naive_split(leaves.len()));
                node(&naive_root(left), &naive_root(right))
            }
        }
    }

    fn naive_split(leaves: usize) -> usize {
        let mut power = 1;
        while power * 2 < leaves {
            power *= 2;
        }
        power
    }

    /// PATH of RFC 6962 section 2.1.1.
    fn naive_inclusion(index: usize, leaves: &[Hash]) -> Vec<Hash> {
        if leaves.len() == 1 {
            return Vec::new();
        }
        let at = naive_split(leaves.len());
        let (left, right) = leaves.split_at(at);
        let (mut path, sibling) = if index < at {
            (naive_inclusion(index, left), right)
        } else {
            (naive_inclusion(index - at, right), left)
        };
        path.push(naive_root(sibling));
        path
    }

    /// SUBPROOF of RFC 6962 section 2.1.2.
    fn naive_consistency(from: usize, leaves: &[Hash], is_whole: bool) -> Vec<Hash> {
        if from == leaves.len() {
            return if is_whole { Vec::new() } else { vec![naive_root(leaves)] };
        }
        let at = naive_split(leaves.len());
        let (left, right) = leaves.split_at(at);
        let (mut path, sibling) = if from <= at {
            (naive_consistency(from, left, is_whole), right)
        } else {
            (naive_consistency(from - at, right, false), left)
        };
        path.push(naive_root(sibling));
        path
    }

    fn prove(mut prover: Prover, leaves: &[Hash]) -> Vec<Hash> {
        leaves.iter().for_each(|leaf| prover.push(*leaf));
        prover.finish().expect("all leaves were given")
    }

    /// The vectors of the Certificate Transparency reference implementation.
    #[test]
    fn known_vectors_hold() {
        let inputs: [&[u8]; 8] = [
            b"",
            b"\x00",
            b"\x10",
            b"\x20\x21",
            b"\x30\x31",
            b"\x40\x41\x42\x43",
            b"\x50\x51\x52\x53\x54\x55\x56\x57",
            b"\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f",
        ];
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ];
        let leaves = inputs.map(|input| sha256(&[&[0][..], input].concat()));
        let mut tree = Frontier::default();
        for (size, root) in roots.iter().enumerate() {
            assert_eq!(tree.root(), hash(root), "size {size}");
            leaves.get(size).into_iter().for_each(|leaf| tree.push(*leaf));
        }
        let inclusion = prove(Prover::inclusion(0, 8).unwrap(), &leaves);
        let expected = [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ];
        assert_eq!(inclusion, expected.map(hash));
        let consistency = prove(Prover::consistency(6, 8).unwrap(), &leaves);
        let expected = [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ];
        assert_eq!(consistency, expected.map(hash));
    }

    #[test]
    fn every_tree_and_proof_is_that_of_the_definition() {
        let leaves: Vec<Hash> = (0..SIZES).map(leaf).collect();
        let mut tree = Frontier::default();
        let roots: Vec<Hash> = (0..=SIZES as usize).map(|size| naive_root(&leaves[..size])).collect();
        for size in 0..=SIZES {
            let (first, root) = (&leaves[..size as usize], &roots[size as usize]);
            assert_eq!((tree.size(), tree.root()), (size, *root));
            assert_eq!(Frontier::from_nodes(size, tree.nodes().to_vec()), Some(tree.clone()));
            for index in 0..size {
                let path = prove(Prover::inclusion(index, size).unwrap(), first);
                assert_eq!(path, naive_inclusion(index as usize, first), "{index} of {size}");
                assert!(is_included(&first[index as usize], index, size, &path, root));
            }
            for from in 1..=size {
                let path = prove(Prover::consistency(from, size).unwrap(), &leaves);
                assert_eq!(path, naive_consistency(from as usize, first, true), "{from} of {size}");
                assert!(is_consistent(from, &roots[from as usize], size, root, &path));
            }
            assert!(is_consistent(0, &roots[0], size, root, &[]));
            leaves.get(size as usize).into_iter().for_each(|leaf| tree.push(*leaf));
        }
    }

    #[test]
    fn a_proof_may_begin_behind_what_is_known() {
        let leaves: Vec<Hash> = (0..SIZES).map(leaf).collect();
        let mut before = Frontier::default();
        for start in 0..70 {
            let behind = |prover: Prover, size: u64| {
                let mut prover = prover.start_behind(&before)?;
                leaves[start as usize..size as usize].iter().for_each(|leaf| prover.push(*leaf));
                prover.finish()
            };
            for size in [start + 1, start + 2, start + 17, SIZES] {
                let first = &leaves[..size as usize];
                for index in start..size {
                    let path = behind(Prover::inclusion(index, size).unwrap(), size);
                    assert_eq!(path, Some(naive_inclusion(index as usize, first)), "{index} behind {start}");
                }
                for from in start.max(1)..=size {
                    let path = behind(Prover::consistency(from, size).unwrap(), size);
                    assert_eq!(path, Some(naive_consistency(from as usize, first, true)), "{from}, {start}");
                }
                // Before it, a proof is right or there is none.
                for index in 0..start {
                    let path = behind(Prover::inclusion(index, size).unwrap(), size);
                    assert!(path.is_none_or(|path| path == naive_inclusion(index as usize, first)));
                }
            }
            before.push(leaves[start as usize]);
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_no_proof() {
        assert!(Prover::inclusion(3, 3).is_none() && Prover::inclusion(0, 0).is_none());
        assert!(Prover::consistency(4, 3).is_none());
        assert!(Prover::inclusion(1, 3).unwrap().finish().is_none(), "no leaves were given");
        assert!(Frontier::from_nodes(3, vec![[0; 32]]).is_none());
        let root = leaf(0);
        assert!(is_included(&root, 0, 1, &[], &root));
        assert!(!is_included(&root, 1, 1, &[], &root) && !is_included(&root, 0, 0, &[], &root));
        assert!(!is_consistent(2, &root, 1, &root, &[]) && !is_consistent(0, &root, 1, &root, &[]));
        // Sizes at the very end of what a number can say.
        assert!(!is_included(&root, u64::MAX - 1, u64::MAX, &[root; 64], &root));
        assert!(!is_consistent(u64::MAX - 1, &root, u64::MAX, &root, &[root; 65]));
        assert_eq!(Prover::inclusion(u64::MAX - 1, u64::MAX).unwrap().parts.len(), 63);
    }

    proptest! {
        /// A proof holds for its leaf, its place, its size and its root, and for nothing else.
        #[test]
        fn a_changed_proof_proves_nothing(
            size in 2u64..SIZES,
            index in any::<u64>(),
            from in any::<u64>(),
            bit in 0usize..256,
            part in any::<usize>(),
        ) {
            let leaves: Vec<Hash> = (0..size).map(leaf).collect();
            let (index, from) = (index % size, 1 + from % (size - 1));
            let flip = |hash: &Hash| { let mut hash = *hash; hash[bit / 8] ^= 1 << (bit % 8); hash };
            let (root, old) = (naive_root(&leaves), naive_root(&leaves[..from as usize]));

            let path = prove(Prover::inclusion(index, size).unwrap(), &leaves);
            let own = &leaves[index as usize];
            prop_assert!(is_included(own, index, size, &path, &root));
            prop_assert!(!is_included(&flip(own), index, size, &path, &root));
            prop_assert!(!is_included(own, index, size, &path, &flip(&root)));
            for other in (0..size).filter(|other| *other != index) {
                prop_assert!(!is_included(own, other, size, &path, &root));
            }
            let mut changed = path.clone();
            let at = part % changed.len();
            changed[at] = flip(&changed[at]);
            prop_assert!(!is_included(own, index, size, &changed, &root));
            prop_assert!(!is_included(own, index, size, &path[1..], &root));
            prop_assert!(!is_included(own, index, size, &[&path[..], &[root]].concat(), &root));

            let path = prove(Prover::consistency(from, size).unwrap(), &leaves);
            prop_assert!(is_consistent(from, &old, size, &root, &path));
            prop_assert!(!is_consistent(from, &flip(&old), size, &root, &path));
            prop_assert!(!is_consistent(from, &old, size, &flip(&root), &path));
            let mut changed = path.clone();
            let at = part % changed.len();
            changed[at] = flip(&changed[at]);
            prop_assert!(!is_consistent(from, &old, size, &root, &changed));
            prop_assert!(!is_consistent(from, &old, size, &root, &path[1..]));
            prop_assert!(!is_consistent(from, &old, size, &root, &[&path[..], &[root]].concat()));
        }
    }
}
