// SPDX-License-Identifier: GPL-2.0

//! dmesg frontend: the kernel log when the kernel oopses, panics or goes down.
//!
//! The log is formatted once per dump; backends cut it to their record size. Walking the log is
//! what a dump costs, not the copies.

use crate::{
    dispatch::Dispatcher,
    record::{
        Dump,
        Reason,
        Stamp, //
    },
    sys::{
        context,
        kmsg_dump::{
            Dumper,
            Log,
            Registration, //
        },
        raw_lock::{
            Level,
            RawLock, //
        },
        staging::Staging,
        time, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};

/// Takes the dumps.
struct Main {
    dispatcher: Arc<Dispatcher>,
    /// Outer: backends take their own locks while it is held.
    lock: RawLock,
    text: Staging,
    /// For the CPU that panics while another, stopped by now, was in the middle of an oops.
    panic_text: Staging,
    /// What `printk.always_kmsg_dump` said for the dump that is being made.
    always: Arc<Always>,
}

/// Finds out what `printk.always_kmsg_dump` says, which no module can read: a dumper that follows
/// it is called for a reason beyond an oops only if it is set. It is registered, and so called,
/// right before [`Main`].
struct Always(Atomic<bool>);

impl Dumper for Always {
    fn dump(&self, reason: u32, _log: &mut Log) {
        self.0.store(reason > Reason::Oops.to_kmsg(), Relaxed);
    }
}

impl Main {
    fn take(&self, staging: &Staging, reason: u32, log: &mut Log) {
        let ns = time::real_ns();
        let stamp = Stamp {
            sec: ns / 1_000_000_000,
            // CAST: Below a million.
            usec: (ns % 1_000_000_000 / 1000) as u32,
        };
        let always = self.always.0.xchg(false, Relaxed);
        let taken = staging.fill(
            |buf| log.fill(buf),
            |text| {
                let dump = Dump {
                    reason: Reason::from_kmsg(reason),
                    count: self.dispatcher.number_dump(),
                    stamp,
                    text,
                    limit: self.dispatcher.kmsg_bytes(),
                };
                self.dispatcher.dump(&dump, always);
            },
        );
        if !taken {
            skipped(reason);
        }
    }
}

impl Dumper for Main {
    fn dump(&self, reason: u32, log: &mut Log) {
        if context::panicking() {
            // No other CPU comes here any more. If this one does twice, the buffer says so.
            self.take(&self.panic_text, reason, log);
        } else if let Some(_guard) = self.lock.lock_crash() {
            self.take(&self.text, reason, log);
        } else {
            skipped(reason);
        }
    }
}

/// Says that a dump was not kept because another one is being made and does not end. printk takes
/// it in any context.
fn skipped(reason: u32) {
    pr_err!(
        "dump skipped, another is in the way: {}\n",
        Reason::from_kmsg(reason).as_str()
    );
}

/// What the backends together ask of the frontend.
#[derive(Clone, Copy)]
struct Reach {
    /// The highest reason for a dump.
    max_reason: u32,
    /// Whether one of them follows `printk.always_kmsg_dump`.
    follow: bool,
    /// Bytes of text that the backend with the largest records may use: whole records, until
    /// `kmsg_bytes` is passed.
    room: usize,
}

impl Reach {
    fn of(dispatcher: &Dispatcher) -> Self {
        let mut reach = Self {
            max_reason: 0,
            follow: false,
            room: 0,
        };
        let limit = dispatcher.kmsg_bytes();
        for entry in dispatcher.entries() {
            let backend = entry.backend();
            if backend.record_capacity() == 0 {
                continue;
            }
            let max = match backend.max_reason() {
                0 => {
                    reach.follow = true;
                    // It may want any reason.
                    Reason::Shutdown.to_kmsg()
                }
                max => max,
            };
            reach.max_reason = reach.max_reason.max(max);
            reach.room = (reach.room).max(backend.record_capacity().saturating_add(limit));
        }
        reach
    }

    fn covers(&self, other: &Self) -> bool {
        self.max_reason >= other.max_reason
            && self.follow >= other.follow
            && self.room >= other.room
    }
}

/// The frontend.
///
/// Dropped in the order of the fields, so that the helper outlives no user.
pub(crate) struct Dmesg {
    _main: Registration<Main>,
    _always: Option<Registration<Always>>,
    reach: Reach,
}

impl Dmesg {
    /// Registers for the reasons that the backends want. May sleep.
    pub(crate) fn start(dispatcher: Arc<Dispatcher>) -> Result<Self> {
        let reach = Reach::of(&dispatcher);
        let always = Arc::new(Always(Atomic::new(false)), GFP_KERNEL)?;
        let main = Arc::new(
            Main {
                lock: RawLock::new(Level::Outer)?,
                text: Staging::new(reach.room)?,
                panic_text: Staging::new(reach.room)?,
                always: always.clone(),
                dispatcher,
            },
            GFP_KERNEL,
        )?;
        let _always = match reach.follow {
            true => Some(Registration::new(always, 0)?),
            false => None,
        };
        Ok(Self {
            _main: Registration::new(main, reach.max_reason)?,
            _always,
            reach,
        })
    }

    /// Whether its buffers and reasons are enough for the backends that there are now.
    pub(crate) fn fits(&self, dispatcher: &Dispatcher) -> bool {
        self.reach.covers(&Reach::of(dispatcher))
    }
}
