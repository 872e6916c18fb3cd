// SPDX-License-Identifier: GPL-2.0

//! Something made at load and lent out on a crash path, to one user at a time.

use core::cell::UnsafeCell;
use kernel::sync::atomic::{
    Atomic,
    Full,
    Release, //
};

/// The thing, buffers as a rule.
///
/// # Invariants
///
/// `inner` is only touched by who set `busy`.
pub(crate) struct Staging<T> {
    inner: UnsafeCell<T>,
    busy: Atomic<bool>,
}

// SAFETY: By the type invariant, access is exclusive, so sharing it hands it from one user to the
// next and nothing more.
unsafe impl<T: Send> Sync for Staging<T> {}

impl<T> Staging<T> {
    /// Takes it over.
    pub(crate) fn new(inner: T) -> Self {
        Self {
            inner: UnsafeCell::new(inner),
            busy: Atomic::new(false),
        }
    }

    /// Lets `f` use it. Any context; does nothing and answers `false` if it is in use, which a
    /// nested crash can bring about.
    pub(crate) fn with(&self, f: impl FnOnce(&mut T)) -> bool {
        if self.busy.xchg(true, Full) {
            return false;
        }
        // SAFETY: `busy` was not set and is now, so by the type invariant access is exclusive.
        f(unsafe { &mut *self.inner.get() });
        self.busy.store(false, Release);
        true
    }
}
