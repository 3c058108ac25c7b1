//! Bitmaps of consecutive blocks, and what moves them.

use super::scalar::Block;
use std::marker::PhantomData;
use std::ops::{BitAnd, BitOr, Not};

/// The bitmaps of `N` blocks in a row; a multiple of four.
///
/// A stride of `N - 2` blocks is at hand. The first is the block in front of them, so that predicates can
/// look back, the last the one behind: whatever reaches less than a block is exact in between.
#[derive(Debug)]
pub struct Row<B, const N: usize> {
    maps: Bitmaps<N>,
    block: PhantomData<B>,
}

/// Bitmaps with nothing on either side.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Bitmaps<const N: usize> {
    front: u64,
    /// The bitmaps.
    pub bits: [u64; N],
    behind: u64,
}

impl<const N: usize> Bitmaps<N> {
    /// Of no bytes.
    pub const EMPTY: Bitmaps<N> = Bitmaps::of([0; N]);

    /// These.
    pub const fn of(bits: [u64; N]) -> Bitmaps<N> {
        Bitmaps { front: 0, bits, behind: 0 }
    }
}

impl<B, const N: usize> Copy for Row<B, N> {}

impl<B, const N: usize> Clone for Row<B, N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Block, const N: usize> Row<B, N> {
    /// Of no bytes.
    pub const EMPTY: Row<B, N> = Row { maps: Bitmaps::EMPTY, block: PhantomData };

    #[inline(always)]
    fn new(maps: Bitmaps<N>) -> Row<B, N> {
        Row { maps, block: PhantomData }
    }

    /// The bitmap of a block.
    #[inline(always)]
    pub fn bits(&self, index: usize) -> u64 {
        self.maps.bits[index]
    }

    /// Sets that of a block.
    #[inline(always)]
    pub fn set(&mut self, index: usize, bits: u64) {
        self.maps.bits[index] = bits;
    }

    /// The bytes that have a byte of this row `K` places in front of them; 1 to 63.
    #[inline(always)]
    pub fn back<const K: u32>(&self) -> Row<B, N> {
        Row::new(B::back(&self.maps, K))
    }

    /// The bytes that have a byte of this row `K` places behind them; 1 to 63.
    #[inline(always)]
    pub fn ahead<const K: u32>(&self) -> Row<B, N> {
        Row::new(B::ahead(&self.maps, K))
    }

    /// The bytes of this row, and the `K` in front of each; 1 to 30.
    #[inline(always)]
    pub fn reach<const K: u32>(&self) -> Row<B, N> {
        let (mut all, mut width) = (*self, 1);
        while 2 * width <= K + 1 {
            all = all | Row::new(B::ahead(&all.maps, width));
            width *= 2;
        }
        if K + 1 > width { all | Row::new(B::ahead(&all.maps, K + 1 - width)) } else { all }
    }

    /// Whether it has no byte.
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        B::is_empty(&self.maps)
    }

    /// The blocks of the stride at hand that have a byte, one bit each.
    #[inline(always)]
    pub fn blocks(&self) -> u32 {
        B::blocks(&self.maps) & ((1 << (N - 1)) - 2)
    }

    /// Goes on to the next stride: its first two blocks are the last two of this one.
    #[inline(always)]
    pub fn carry(&mut self) {
        self.maps.bits[0] = self.maps.bits[N - 2];
        self.maps.bits[1] = self.maps.bits[N - 1];
    }
}

impl<B: Block, const N: usize> BitAnd for Row<B, N> {
    type Output = Row<B, N>;

    #[inline(always)]
    fn bitand(self, other: Row<B, N>) -> Row<B, N> {
        Row::new(B::and(&self.maps, &other.maps))
    }
}

impl<B: Block, const N: usize> BitOr for Row<B, N> {
    type Output = Row<B, N>;

    #[inline(always)]
    fn bitor(self, other: Row<B, N>) -> Row<B, N> {
        Row::new(B::or(&self.maps, &other.maps))
    }
}

impl<B: Block, const N: usize> Not for Row<B, N> {
    type Output = Row<B, N>;

    #[inline(always)]
    fn not(self) -> Row<B, N> {
        Row::new(B::not(&self.maps))
    }
}

#[cfg(test)]
mod tests {
    use super::super::scalar::Scalar;
    use super::*;

    /// Bytes 64 and 130 of four blocks.
    const ROW: Row<Scalar, 4> = Row { maps: Bitmaps::of([0, 1, 4, 0]), block: PhantomData };

    fn bytes(row: Row<Scalar, 4>) -> Vec<u32> {
        (0..256).filter(|at| row.bits(*at as usize / 64) >> (at % 64) & 1 != 0).collect()
    }

    #[test]
    fn rows_move_over_the_edges_of_blocks() {
        assert_eq!(bytes(ROW.back::<3>()), [67, 133]);
        assert_eq!(bytes(ROW.back::<62>()), [126, 192]);
        assert_eq!(bytes(ROW.ahead::<3>()), [61, 127]);
        assert_eq!(bytes(ROW.ahead::<63>()), [1, 67]);
        assert_eq!(bytes(!ROW & ROW.reach::<1>()), [63, 129]);
        assert_eq!(bytes(ROW.reach::<5>()), Vec::from_iter((59..=64).chain(125..=130)));
    }

    #[test]
    fn a_row_reaches_as_far_as_it_says() {
        fn check<const K: u32>() {
            assert_eq!(bytes(ROW.reach::<K>()), Vec::from_iter((64 - K..=64).chain(130 - K..=130)), "{K}");
        }
        let checks = [check::<1>, check::<2>, check::<3>, check::<4>, check::<6>, check::<7>, check::<8>];
        checks
            .into_iter()
            .chain([check::<14>, check::<15>, check::<19>, check::<30>])
            .for_each(|check| check());
    }
}
