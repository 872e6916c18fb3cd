// SPDX-License-Identifier: GPL-2.0

//! Atomics for what is called in a trace callback.
//!
//! Those of the kernel crate are calls of helper functions in vmlinux, which are traced themselves:
//! each would cost another trip through ftrace. These are instructions. A [`Counter`] and a
//! [`Claim`] are used by this file only, so that the two memory models do not meet on them. Every
//! operation on those is sequentially consistent, and one that changes something drains
//! write-combining buffers on x86.

use core::sync::atomic::{
    AtomicBool, AtomicU64,
    Ordering::{
        Relaxed,
        SeqCst, //
    },
};
use kernel::sync::atomic::{
    Atomic,
    AtomicType, //
};

/// As `READ_ONCE()`: the value, with no order but that of what depends on it. Any context.
#[inline]
pub(crate) fn read_once<T: AtomicType>(from: &Atomic<T>) -> T {
    // SAFETY: Valid for reads, and of a size that is read with one instruction.
    unsafe { from.as_ptr().read_volatile() }
}

/// As `WRITE_ONCE()`: in no order with anything. Any context.
#[inline]
pub(crate) fn write_once<T: AtomicType>(to: &Atomic<T>, value: T) {
    // SAFETY: Valid for writes, and of a size that is written with one instruction.
    unsafe { to.as_ptr().write_volatile(value) };
}

/// Adds to a counter, in no order with anything. Any context.
#[inline]
pub(crate) fn add(to: &Atomic<u64>, n: u64) {
    // SAFETY: Valid and aligned for as long as the reference. An addition without order is the same
    // instruction in both memory models.
    unsafe { AtomicU64::from_ptr(to.as_ptr()) }.fetch_add(n, Relaxed);
}

/// A number. Any context, NMI included.
pub(crate) struct Counter(AtomicU64);

impl Counter {
    /// Starts at `value`.
    pub(crate) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    /// The value.
    #[inline]
    pub(crate) fn get(&self) -> u64 {
        self.0.load(SeqCst)
    }

    /// Replaces the value.
    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, SeqCst);
    }

    /// Adds one, and answers what it was.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.0.fetch_add(1, SeqCst)
    }

    /// Replaces the value if it is still `old`; otherwise answers what it is.
    #[inline]
    pub(crate) fn replace(&self, old: u64, new: u64) -> Result<(), u64> {
        self.0
            .compare_exchange_weak(old, new, SeqCst, SeqCst)
            .map(drop)
    }
}

/// A mark that one user at a time may have. Any context, NMI included.
pub(crate) struct Claim(AtomicBool);

impl Claim {
    /// Nobody's.
    pub(crate) const fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Tries `tries` times to get it.
    pub(crate) fn get(&self, tries: u32) -> Option<Claimed<'_>> {
        for _ in 0..tries {
            if !self.0.swap(true, SeqCst) {
                return Some(Claimed(self));
            }
            core::hint::spin_loop();
        }
        None
    }
}

/// Holds a [`Claim`].
pub(crate) struct Claimed<'a>(&'a Claim);

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.0 .0.store(false, SeqCst);
    }
}
