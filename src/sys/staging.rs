// SPDX-License-Identifier: GPL-2.0

//! A buffer made at load and lent out on a crash path, to one user at a time.

use core::cell::UnsafeCell;
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Full,
        Release, //
    },
};

/// The buffer.
///
/// # Invariants
///
/// `bytes` is only touched by who set `busy`.
pub(crate) struct Staging {
    bytes: UnsafeCell<VVec<u8>>,
    busy: Atomic<bool>,
}

// SAFETY: By the type invariant, access is exclusive.
unsafe impl Sync for Staging {}

impl Staging {
    /// Allocates `size` bytes. May sleep.
    pub(crate) fn new(size: usize) -> Result<Self> {
        Ok(Self {
            bytes: UnsafeCell::new(VVec::from_elem(0, size, GFP_KERNEL)?),
            busy: Atomic::new(false),
        })
    }

    /// Lets `fill` write to the buffer and `then` read as many bytes as it said. Any context; does
    /// nothing and answers `false` if the buffer is in use, which a nested crash can bring about.
    pub(crate) fn fill(
        &self,
        fill: impl FnOnce(&mut [u8]) -> usize,
        then: impl FnOnce(&[u8]),
    ) -> bool {
        if self.busy.xchg(true, Full) {
            return false;
        }
        // SAFETY: `busy` was not set and is now, so by the type invariant access is exclusive.
        let bytes = unsafe { &mut *self.bytes.get() };
        let len = fill(bytes.as_mut_slice());
        then(bytes.get(..len).unwrap_or(&[]));
        self.busy.store(false, Release);
        true
    }
}
