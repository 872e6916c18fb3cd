// SPDX-License-Identifier: GPL-2.0

//! Raw spinlocks with interrupts off, which the `kernel` crate lacks.
//!
//! They protect no data of their own: what is reached under one must be sound without it (atomics,
//! persistent memory), since a panicking CPU goes on when a stopped one holds the lock.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use super::{
    context,
    time, //
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Atomic,
        Relaxed, //
    },
    types::{
        NotThreadSafe,
        Opaque, //
    },
};
use mpstore_bindings as bindings;

/// How often a crash path tries a lock at least.
///
/// On the CPU that panics it is also the most: the others are stopped by then, as a rule, so that a
/// lock which is taken stays so.
const TRIES: u32 = 1 << 16;

/// For how many nanoseconds another CPU tries at least, which has to give up the record if it
/// fails.
///
/// A holder runs with interrupts off and only copies memory and its parity, which is a matter of
/// milliseconds even for a dump to many backends; more only if a hypervisor lets it wait.
const WAIT_NS: u64 = 500_000_000;

/// How often that CPU tries at most, should the clock stand still.
const TRIES_MAX: u32 = 1 << 24;

/// Which of two nested locks this is; lockdep keeps them apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Taken first: a frontend's own order.
    Outer,
    /// Taken last: one zone or record area.
    Inner,
}

/// A `raw_spinlock_t`, taken with interrupts off.
///
/// # Invariants
///
/// `raw` is initialised and does not move.
pub(crate) struct RawLock {
    raw: Pin<KBox<Opaque<kernel::bindings::raw_spinlock_t>>>,
    /// A panicking CPU went on without it once, and need not wait for it again.
    broken: Atomic<bool>,
}

// SAFETY: A raw spinlock may be taken and released on any CPU.
unsafe impl Send for RawLock {}
// SAFETY: Sharing is what a lock is for.
unsafe impl Sync for RawLock {}

impl RawLock {
    /// Makes a lock. May sleep.
    pub(crate) fn new(level: Level) -> Result<Self> {
        let raw = KBox::pin_init(
            Opaque::ffi_init(|slot: *mut kernel::bindings::raw_spinlock_t| {
                // SAFETY: `slot` is valid for writes and pinned, hence initialised where it stays.
                unsafe { bindings::mpstore_raw_spin_lock_init(slot.cast(), level == Level::Outer) }
            }),
            GFP_KERNEL,
        )?;
        // INVARIANT: Just initialised, in a pinned box.
        Ok(Self {
            raw,
            broken: Atomic::new(false),
        })
    }

    /// Takes the lock, waiting for it. Not on a crash path, not in NMI.
    pub(crate) fn lock(&self) -> Guard<'_> {
        // SAFETY: By the type invariant the lock is initialised.
        let flags = unsafe { bindings::mpstore_raw_spin_lock_irqsave(self.raw.get().cast()) };
        Guard {
            held: Some((self, flags)),
            _not_send: NotThreadSafe,
        }
    }

    /// Takes the lock without ever waiting for long. Any context, NMI included.
    ///
    /// Gives up after a bounded number of tries, or of milliseconds. On the CPU that panics it then
    /// goes on without the lock: its holder is stopped, or is this CPU itself. Elsewhere the answer is
    /// [`None`].
    pub(crate) fn lock_crash(&self) -> Option<Guard<'_>> {
        // In NMI the holder may be the very context that was interrupted.
        let once = context::in_nmi() || self.broken.load(Relaxed);
        let (tries, start) = if once {
            (1, None)
        } else if context::panicking() {
            (TRIES, None)
        } else {
            (TRIES_MAX, Some(time::log_ns()))
        };
        for n in 0..tries {
            let mut flags = 0;
            // SAFETY: By the type invariant the lock is initialised; `flags` is valid for writes.
            let got = unsafe {
                bindings::mpstore_raw_spin_trylock_irqsave(self.raw.get().cast(), &mut flags)
            };
            if got {
                return Some(Guard {
                    held: Some((self, flags)),
                    _not_send: NotThreadSafe,
                });
            }
            let over = |start| time::log_ns().saturating_sub(start) > WAIT_NS;
            if n >= TRIES && start.is_some_and(over) {
                break;
            }
            // SAFETY: No preconditions.
            unsafe { bindings::mpstore_cpu_relax() };
        }
        if !context::panicking() {
            return None;
        }
        self.broken.store(true, Relaxed);
        Some(Guard {
            held: None,
            _not_send: NotThreadSafe,
        })
    }
}

/// Holds a [`RawLock`], or stands for it on a panicking CPU that could not get it.
#[must_use = "the lock is released at once when the guard is dropped"]
pub(crate) struct Guard<'a> {
    held: Option<(&'a RawLock, usize)>,
    _not_send: NotThreadSafe,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some((lock, flags)) = self.held {
            // SAFETY: The lock is initialised by its invariant and was taken by this CPU, which
            // has not left it since because interrupts are off and the guard is not `Send`.
            unsafe { bindings::mpstore_raw_spin_unlock_irqrestore(lock.raw.get().cast(), flags) };
        }
    }
}
