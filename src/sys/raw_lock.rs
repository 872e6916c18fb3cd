// SPDX-License-Identifier: GPL-2.0

//! Raw spinlocks with interrupts off, which the `kernel` crate lacks.
//!
//! They protect no data of their own: what is reached under one must be sound without it (atomics,
//! persistent memory), since a panicking CPU goes on when a stopped one holds the lock, and a lock
//! whose holder seems to have died is replaced.
//!
//! C header: [`include/linux/spinlock.h`](srctree/include/linux/spinlock.h)

use super::{
    context,
    inline_atomic,
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

/// How often the CPU that panics tries a lock: the others are stopped by then, as a rule, so that a
/// lock which is taken stays so.
const TRIES: u32 = 1 << 16;

/// How often another CPU tries before it looks at the clock. With lockdep a try is slow.
const TRIES_MIN: u32 = 1 << 10;

/// For how many nanoseconds another CPU tries at least, which has to give up the record if it
/// fails.
///
/// A holder runs with interrupts off and only copies memory and its parity, which is a matter of
/// milliseconds even for a dump to many backends; more only if a hypervisor lets it wait.
const WAIT_NS: u64 = 500_000_000;

/// How often that CPU tries at most, should the clock stand still.
const TRIES_MAX: u32 = 1 << 24;

/// After how many such waits in vain, with nobody getting the lock in between, it counts as lost:
/// its holder has died of an oops.
const WAITS: u32 = 10;

/// How many locks there are to take, one after the other.
const LOCKS: usize = 2;

/// Which of two nested locks this is; lockdep keeps them apart.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Level {
    /// Taken first: a frontend's own order.
    Outer,
    /// Taken last: one zone or record area.
    Inner,
}

/// A `raw_spinlock_t`, taken with interrupts off, and one in reserve.
///
/// A task that dies of an oops never releases what it holds. When that is found out, the second
/// lock takes the place of the first, for all who come then; when that one is lost, too, nobody
/// waits any more.
///
/// # Invariants
///
/// The locks in `raw` are initialised and do not move.
pub(crate) struct RawLock {
    raw: [Pin<KBox<Opaque<kernel::bindings::raw_spinlock_t>>>; LOCKS],
    /// Which of them is in use; [`LOCKS`] if all are lost.
    turn: Atomic<usize>,
    /// Waits in vain since somebody got it.
    waits: Atomic<u32>,
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
        let raw = || {
            KBox::pin_init(
                Opaque::ffi_init(|slot: *mut kernel::bindings::raw_spinlock_t| {
                    let outer = level == Level::Outer;
                    // SAFETY: `slot` is valid for writes and pinned, hence initialised where it
                    // stays.
                    unsafe { bindings::mpstore_raw_spin_lock_init(slot.cast(), outer) }
                }),
                GFP_KERNEL,
            )
        };
        // INVARIANT: Just initialised, in pinned boxes.
        Ok(Self {
            raw: [raw()?, raw()?],
            turn: Atomic::new(0),
            waits: Atomic::new(0),
            broken: Atomic::new(false),
        })
    }

    /// Takes the lock, waiting for it: for some seconds at most, if its holder died. Not on a crash
    /// path, not in NMI. [`None`] if the lock is lost, and the one in reserve as well.
    pub(crate) fn lock(&self) -> Option<Guard<'_>> {
        #[cfg(CONFIG_PROVE_LOCKING)]
        for raw in &self.raw {
            // SAFETY: By the type invariant the lock is initialised.
            unsafe { bindings::mpstore_raw_spin_might_lock(raw.get().cast()) };
        }
        // Nobody has it, as a rule.
        self.try_once().or_else(|| self.lock_slow())
    }

    #[cold]
    fn lock_slow(&self) -> Option<Guard<'_>> {
        for _ in 0..WAITS * 2 {
            let guard = self.wait();
            if guard.is_some() || self.is_lost() {
                return guard;
            }
        }
        None
    }

    /// Takes the lock without ever waiting for long. Any context, NMI included.
    ///
    /// Gives up after a bounded number of tries, or of milliseconds. On the CPU that panics it then
    /// goes on without the lock: its holder is stopped, or is this CPU itself. Elsewhere the answer is
    /// [`None`].
    pub(crate) fn lock_crash(&self) -> Option<Guard<'_>> {
        // Nobody has it, as a rule.
        self.try_once().or_else(|| self.lock_crash_slow())
    }

    #[cold]
    fn lock_crash_slow(&self) -> Option<Guard<'_>> {
        let panicking = context::panicking();
        // In NMI the holder may be the very context that was interrupted.
        let guard = if context::in_nmi() || self.broken.load(Relaxed) {
            self.try_once()
        } else if panicking {
            self.try_often(TRIES)
        } else {
            self.wait()
        };
        if guard.is_some() || !panicking {
            return guard;
        }
        self.broken.store(true, Relaxed);
        Some(Guard {
            held: None,
            _not_send: NotThreadSafe,
        })
    }

    fn is_lost(&self) -> bool {
        self.turn.load(Relaxed) >= LOCKS
    }

    /// Takes the lock if nobody has it. Any context.
    #[inline]
    pub(crate) fn try_once(&self) -> Option<Guard<'_>> {
        let raw = self.raw.get(inline_atomic::read_once(&self.turn))?;
        let mut flags = 0;
        // SAFETY: By the type invariant the lock is initialised; `flags` is valid for writes.
        let got =
            unsafe { bindings::mpstore_raw_spin_trylock_irqsave(raw.get().cast(), &mut flags) };
        if !got {
            return None;
        }
        if inline_atomic::read_once(&self.waits) != 0 {
            self.waits.store(0, Relaxed);
        }
        Some(Guard {
            held: Some((raw, flags)),
            _not_send: NotThreadSafe,
        })
    }

    fn try_often(&self, times: u32) -> Option<Guard<'_>> {
        for _ in 0..times {
            let guard = self.try_once();
            if guard.is_some() || self.is_lost() {
                return guard;
            }
            // SAFETY: No preconditions.
            unsafe { bindings::mpstore_cpu_relax() };
        }
        None
    }

    /// Tries for [`WAIT_NS`], and counts it if that was in vain.
    fn wait(&self) -> Option<Guard<'_>> {
        let guard = self.try_once();
        if guard.is_some() {
            return guard;
        }
        let (turn, start) = (self.turn.load(Relaxed), time::log_ns());
        for _ in 0..TRIES_MAX / TRIES_MIN {
            let guard = self.try_often(TRIES_MIN);
            if guard.is_some() || self.is_lost() {
                return guard;
            }
            if time::log_ns().saturating_sub(start) > WAIT_NS {
                break;
            }
        }
        if self.waits.fetch_add(1, Relaxed) + 1 >= WAITS {
            self.waits.store(0, Relaxed);
            // Of several who come to this at once, one does it.
            let _ = self.turn.cmpxchg(turn, turn + 1, Relaxed);
        }
        None
    }
}

/// Holds a [`RawLock`], or stands for it on a panicking CPU that could not get it.
#[must_use = "the lock is released at once when the guard is dropped"]
pub(crate) struct Guard<'a> {
    held: Option<(&'a Opaque<kernel::bindings::raw_spinlock_t>, usize)>,
    _not_send: NotThreadSafe,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        if let Some((raw, flags)) = self.held {
            // SAFETY: The lock is initialised, being one of a `RawLock`, and was taken by this CPU,
            // which has not left it since because interrupts are off and the guard is not `Send`.
            unsafe { bindings::mpstore_raw_spin_unlock_irqrestore(raw.get().cast(), flags) };
        }
    }
}
