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
    /// What `kmsg_bytes` says: a backend stops after this much text.
    limit: usize,
    /// Dumps so far.
    count: Atomic<u64>,
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
                    count: self.count.fetch_add(1, Relaxed) + 1,
                    stamp,
                    text,
                    limit: self.limit,
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

/// The frontend.
///
/// Dropped in the order of the fields, so that the helper outlives no user.
pub(crate) struct Dmesg {
    _main: Registration<Main>,
    _always: Option<Registration<Always>>,
}

impl Dmesg {
    /// Registers for the reasons that the backends want. May sleep.
    pub(crate) fn start(dispatcher: Arc<Dispatcher>, kmsg_bytes: usize) -> Result<Self> {
        let reasons = || {
            dispatcher
                .backends()
                .filter(|b| b.record_capacity() > 0)
                .map(|b| b.max_reason())
        };
        let follow = reasons().any(|r| r == 0);
        // A backend that follows the setting may want any reason.
        let max = if follow {
            Reason::Shutdown.to_kmsg()
        } else {
            reasons().max().unwrap_or(Reason::Oops.to_kmsg())
        };
        // As much as the backend with the largest records may use: whole records, until the limit
        // is passed.
        let room = dispatcher
            .backends()
            .map(|b| b.record_capacity())
            .max()
            .unwrap_or(0)
            .saturating_add(kmsg_bytes);
        let always = Arc::new(Always(Atomic::new(false)), GFP_KERNEL)?;
        let main = Arc::new(
            Main {
                limit: kmsg_bytes,
                count: Atomic::new(0),
                lock: RawLock::new(Level::Outer)?,
                text: Staging::new(room)?,
                panic_text: Staging::new(room)?,
                always: always.clone(),
                dispatcher,
            },
            GFP_KERNEL,
        )?;
        let _always = match follow {
            true => Some(Registration::new(always, 0)?),
            false => None,
        };
        Ok(Self {
            _main: Registration::new(main, max)?,
            _always,
        })
    }
}
