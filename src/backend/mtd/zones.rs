// SPDX-License-Identifier: GPL-2.0

//! In what state the zones of an MTD are, for crashes as well: nothing here waits or takes a lock.

use core::num::NonZeroUsize;
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
};
use mpstore_format::zone::ZoneLayout;

/// What can be done with a zone.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing: its block is bad, or it could not be written to.
    Bad = 0,
    /// It holds a record.
    Live = 1,
    /// Its record was erased, but not yet on the medium.
    Removed = 2,
    /// It can be written to once its block was erased.
    Stale = 3,
    /// It begins like one that is erased.
    Blank = 4,
    /// It is erased.
    Ready = 5,
    /// It is being written to.
    Busy = 6,
}

impl State {
    const fn number(self) -> u32 {
        // CAST: As declared.
        self as u32
    }
}

/// What was in the zones when they were looked at.
#[derive(Default)]
pub(super) struct Looked {
    /// Zones with a record.
    pub(super) ours: usize,
    /// Records that are not what was written.
    pub(super) torn: usize,
    /// Zones with something else.
    pub(super) foreign: usize,
    /// Bad blocks.
    pub(super) bad: usize,
}

/// The zones, and which of them is next.
pub(super) struct Zones {
    states: KVVec<Atomic<u32>>,
    /// Where the next dump goes if that zone is erased: behind the newest.
    next: Atomic<usize>,
    zone_len: usize,
    per_block: NonZeroUsize,
    page: usize,
}

impl Zones {
    /// All of them stale. May sleep.
    pub(super) fn new(layout: &ZoneLayout, block: usize, page: usize) -> Result<Self> {
        let zone_len = layout.dmesg(0).ok_or(EINVAL)?.len;
        let mut states = KVVec::with_capacity(layout.dmesg_count(), GFP_KERNEL)?;
        for _ in 0..layout.dmesg_count() {
            states.push(Atomic::new(State::Stale.number()), GFP_KERNEL)?;
        }
        Ok(Self {
            states,
            next: Atomic::new(0),
            zone_len,
            per_block: block
                .checked_div(zone_len)
                .and_then(NonZeroUsize::new)
                .ok_or(EINVAL)?,
            page,
        })
    }

    pub(super) fn zone_len(&self) -> usize {
        self.zone_len
    }

    pub(super) fn page(&self) -> usize {
        self.page
    }

    /// Blocks that are wholly zones. The rest of the last one, if any, is not used.
    pub(super) fn blocks(&self) -> usize {
        self.states.len() / self.per_block
    }

    pub(super) fn block_of(&self, index: usize) -> usize {
        index / self.per_block
    }

    /// Where a block begins on the medium.
    pub(super) fn block_at(&self, block: usize) -> u64 {
        (block as u64)
            .saturating_mul(self.per_block.get() as u64)
            .saturating_mul(self.zone_len as u64)
    }

    /// The zones of a block.
    pub(super) fn of_block(&self, block: usize) -> core::ops::Range<usize> {
        let len = self.per_block.get();
        let first = block.saturating_mul(len).min(self.states.len());
        let end = first.saturating_add(len).min(self.states.len());
        first..end
    }

    pub(super) fn is(&self, index: usize, state: State) -> bool {
        let is = |now: &Atomic<u32>| now.load(Acquire) == state.number();
        self.states.get(index).is_some_and(is)
    }

    pub(super) fn set(&self, index: usize, state: State) {
        if let Some(now) = self.states.get(index) {
            now.store(state.number(), Release);
        }
    }

    /// Whether it was changed. A panic may do so meanwhile.
    pub(super) fn change(&self, index: usize, from: State, to: State) -> bool {
        let change = |now: &Atomic<u32>| now.cmpxchg(from.number(), to.number(), Full).is_ok();
        self.states.get(index).is_some_and(change)
    }

    pub(super) fn in_block(&self, block: usize, state: State) -> bool {
        self.of_block(block).any(|index| self.is(index, state))
    }

    pub(super) fn count(&self, state: State) -> usize {
        let is = |now: &&Atomic<u32>| now.load(Relaxed) == state.number();
        self.states.iter().filter(is).count()
    }

    /// All blocks, that with the next zone first.
    pub(super) fn next_blocks(&self) -> impl Iterator<Item = usize> {
        let first = self.block_of(self.next.load(Relaxed)).min(self.blocks());
        Iterator::chain(first..self.blocks(), 0..first)
    }

    /// All zones, that with the newest record first.
    pub(super) fn newest_first(&self) -> impl Iterator<Item = usize> {
        let next = self.next.load(Relaxed).min(self.states.len());
        Iterator::chain((0..next).rev(), (next..self.states.len()).rev())
    }

    /// The zone behind the newest record.
    pub(super) fn set_next(&self, newest: usize) {
        let next = newest.saturating_add(1).checked_rem(self.states.len());
        self.next.store(next.unwrap_or(0), Relaxed);
    }

    /// Takes the next erased zone, which is busy then. Any context.
    ///
    /// Flash wants the pages of a block written in their order; so what is erased before it in its
    /// block is not used any more until that block is erased again.
    pub(super) fn claim(&self) -> Option<usize> {
        let next = self.next.load(Relaxed).min(self.states.len());
        let mut order = Iterator::chain(next..self.states.len(), 0..next);
        let index = order.find(|i| self.change(*i, State::Ready, State::Busy))?;
        for before in self
            .of_block(self.block_of(index))
            .take_while(|i| *i < index)
        {
            self.change(before, State::Ready, State::Stale);
            self.change(before, State::Blank, State::Stale);
        }
        self.set_next(index);
        Some(index)
    }
}
