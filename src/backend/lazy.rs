// SPDX-License-Identifier: GPL-2.0

//! Records that are written to memory and brought to a device later, by a task.
//!
//! Whoever records never waits for the device: he marks what he wrote and rings. A worker comes at
//! most `flush_ms` later, before a restart, and when somebody asks; after an error it tries again.

use crate::sys::{
    bell::{
        Bell,
        Job, //
    },
    context,
    errno::ESHUTDOWN,
    inline_atomic,
    reboot::{
        self,
        Reboot, //
    },
};
use kernel::{
    fmt,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc, //
    },
    time::{
        delay::fsleep,
        Delta, //
    },
};

/// How long a restart is held up for what is not written yet, in milliseconds.
const REBOOT_WAIT_MS: u32 = 10_000;

/// After an error it is tried again after a second, then later and later, up to a minute.
const RETRY_MS: u32 = 1000;
const RETRY_MAX_MS: u32 = 60_000;

/// How far the writing is.
pub(crate) struct Progress {
    /// Milliseconds that a record may wait.
    pub(crate) flush_ms: u32,
    /// Whether the worker is on its way.
    armed: Atomic<bool>,
    /// Whether it should hurry.
    urgent: Atomic<bool>,
    /// Records are taken.
    active: Atomic<bool>,
    /// The machine goes down: devices must be left alone.
    stopped: Atomic<bool>,
    /// Milliseconds until it is tried again after an error, else 0.
    retry: Atomic<u32>,
    /// Times that the worker has come.
    begun: Atomic<u32>,
    /// Times that it has gone again.
    rounds: Atomic<u32>,
    /// The errno of the latest error of the device.
    pub(crate) last_error: Atomic<i32>,
    /// Times that something was written.
    pub(crate) flushes: Atomic<u64>,
}

impl Progress {
    /// Nothing is taken yet.
    pub(crate) fn new(flush_ms: u32) -> Self {
        Self {
            flush_ms,
            armed: Atomic::new(false),
            urgent: Atomic::new(false),
            active: Atomic::new(false),
            stopped: Atomic::new(false),
            retry: Atomic::new(0),
            begun: Atomic::new(0),
            rounds: Atomic::new(0),
            last_error: Atomic::new(0),
            flushes: Atomic::new(0),
        }
    }

    /// From now on records are taken, and written.
    pub(crate) fn activate(&self) {
        self.active.store(true, Release);
    }

    /// Whether records are taken. Any context.
    pub(crate) fn active(&self) -> bool {
        self.active.load(Acquire)
    }

    /// Whether a record that was just written to memory has to ring. Any context; for where each
    /// instruction counts.
    #[inline]
    pub(crate) fn wants_ring(&self) -> bool {
        !inline_atomic::read_once(&self.armed) && inline_atomic::read_once(&self.active)
    }
}

/// What a [`Worker`] works for.
pub(crate) trait Lazy: Send + Sync + 'static {
    /// The backend's name.
    fn name(&self) -> &CStr;

    /// Where it keeps how far it is.
    fn progress(&self) -> &Progress;

    /// Calls `f` with the kernel's name of the device. May sleep.
    fn with_device(&self, f: &mut dyn FnMut(fmt::Arguments<'_>));

    /// The device is gone. Any context.
    fn dead(&self) -> bool;

    /// The device can't be written to, for good or for now. May sleep.
    fn read_only(&self) -> bool {
        false
    }

    /// Something is in memory only. Any context.
    fn dirty(&self) -> bool;

    /// Writes what is in memory only. May sleep.
    fn write_out(&self) -> Result;

    /// Whether the device may be written to now, by a task.
    fn usable(&self) -> Result {
        if self.dead() {
            Err(ENODEV)
        } else if self.read_only() {
            Err(EROFS)
        } else if self.progress().stopped.load(Acquire) {
            Err(ESHUTDOWN)
        } else {
            Ok(())
        }
    }

    /// [`Self::write_out`], and what becomes of errors. May sleep.
    fn flush_now(&self) -> Result {
        let done = self.write_out();
        self.note(done);
        done
    }

    /// What becomes of errors: one line, and another try later. May sleep.
    fn note(&self, done: Result) {
        let progress = self.progress();
        match done {
            Ok(()) => {
                if progress.retry.xchg(0, Relaxed) != 0 {
                    pr_info!("{}: the device can be written to again\n", self.name());
                }
            }
            // That was said.
            Err(_) if self.dead() || progress.stopped.load(Relaxed) => {
                progress.retry.store(0, Relaxed);
            }
            Err(e) => {
                progress.last_error.store(e.to_errno(), Relaxed);
                let before = progress.retry.load(Relaxed);
                let next = before.saturating_mul(2).clamp(RETRY_MS, RETRY_MAX_MS);
                progress.retry.store(next, Relaxed);
                if before == 0 {
                    self.with_device(&mut |device| {
                        pr_err!(
                            "{}: {} can't be written to: {:?}; records wait in memory, and it is \
                             tried again\n",
                            self.name(),
                            device,
                            e
                        );
                    });
                }
            }
        }
    }

    /// How the device is, in a word.
    fn state(&self) -> &'static str {
        if self.dead() {
            "gone"
        } else if self.progress().retry.load(Relaxed) != 0 {
            "failing"
        } else {
            "ok"
        }
    }
}

/// The worker's part.
struct Rounds<T: Lazy>(Arc<T>);

impl<T: Lazy> Job for Rounds<T> {
    fn delay(&self) -> Option<u32> {
        let progress = self.0.progress();
        if self.0.dead() || progress.stopped.load(Relaxed) {
            None
        } else if progress.urgent.load(Relaxed) {
            Some(0)
        } else if progress.retry.load(Relaxed) != 0 {
            Some(progress.retry.load(Relaxed))
        } else if progress.armed.load(Relaxed) {
            Some(progress.flush_ms)
        } else {
            None
        }
    }

    fn run(&self) {
        let progress = self.0.progress();
        // Full, as where `stopped` is set: either that is seen by `usable()`, or this is seen there.
        progress.begun.fetch_add(1, Full);
        // From here on who writes to memory rings again. Full, as is the barrier in `ring()`: who does
        // not see this was seen, and what he wrote is found.
        progress.armed.xchg(false, Full);
        progress.urgent.store(false, Relaxed);
        let _ = self.0.flush_now();
        progress.rounds.fetch_add(1, Release);
    }
}

/// Writes what is left before the machine goes down.
struct Last<T: Lazy> {
    lazy: Arc<T>,
    bell: Arc<Bell>,
}

impl<T: Lazy> Reboot for Last<T> {
    fn reboot(&self) {
        let progress = self.lazy.progress();
        let before = progress.begun.load(Acquire);
        progress.urgent.store(true, Relaxed);
        self.bell.ring();
        // Not by this task: a device that does not answer would hold it for ever.
        let mut left = REBOOT_WAIT_MS / 5;
        let mut wait = |over: &dyn Fn() -> bool| {
            while left > 0 && !over() {
                left -= 1;
                fsleep(Delta::from_millis(5));
            }
        };
        // One that began later has all that was there by now. Others may go on writing to memory, so
        // that something is always left.
        let later = |rounds: u32| rounds.wrapping_sub(before).wrapping_sub(1) < u32::MAX / 2;
        wait(&|| self.lazy.dead() || !self.lazy.dirty() || later(progress.rounds.load(Acquire)));
        // No further one begins to write. One that is under way is to come to its end: cut off
        // between data and header it would leave a ring with a wrong beginning.
        progress.stopped.xchg(true, Full);
        wait(&|| self.lazy.dead() || progress.rounds.load(Acquire) == progress.begun.load(Acquire));
    }
}

/// The task that writes, and who calls it before a restart.
///
/// Dropped in the order of the fields: nobody rings any more, then it ends.
pub(crate) struct Worker<T: Lazy> {
    _reboot: reboot::Registration<Last<T>>,
    bell: Arc<Bell>,
    lazy: Arc<T>,
}

impl<T: Lazy> Worker<T> {
    /// Does nothing before the first ring, or a restart. Says so if it can't be. May sleep.
    pub(crate) fn new(lazy: Arc<T>) -> Result<Self> {
        Self::make(&lazy).inspect_err(|e| {
            pr_err!(
                "{}: the worker that writes can't start: {:?}\n",
                lazy.name(),
                e
            )
        })
    }

    fn make(lazy: &Arc<T>) -> Result<Self> {
        let rounds = Arc::new(Rounds(lazy.clone()), GFP_KERNEL)?;
        let bell = Arc::new(Bell::new(rounds)?, GFP_KERNEL)?;
        let last = Last {
            lazy: lazy.clone(),
            bell: bell.clone(),
        };
        Ok(Self {
            _reboot: reboot::Registration::new(Arc::new(last, GFP_KERNEL)?)?,
            bell,
            lazy: lazy.clone(),
        })
    }

    /// Has it come, after something was written to memory. Any context.
    pub(crate) fn ring(&self) {
        let armed = &self.lazy.progress().armed;
        // First what was written, then whether somebody comes for it.
        context::smp_full_barrier();
        // An interrupt that a panicking kernel asks itself for would be of no use.
        if !armed.load(Relaxed) && !context::panicking() && !armed.xchg(true, Full) {
            self.bell.ring();
        }
    }
}
