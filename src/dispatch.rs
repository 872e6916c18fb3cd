// SPDX-License-Identifier: GPL-2.0

//! The dispatcher: hands each record to every live backend that takes its kind.
//!
//! The set of backends is fixed when the module is loaded, so nothing here needs a lock in a
//! panic. One backend's failure is counted, said once, and costs the others nothing.

use crate::{
    backend::{
        Backend,
        Context, //
    },
    record::{
        Dump,
        Kind,
        Kinds,
        Reason, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
};

/// Most backends at once.
pub(crate) const BACKENDS_MAX: usize = 32;

struct Slot {
    backend: KBox<dyn Backend>,
    /// Records that it lost.
    lost: Atomic<u32>,
    /// Whether that was said.
    told: Atomic<bool>,
}

/// All live backends and who gets what.
pub(crate) struct Dispatcher {
    slots: KVec<Slot>,
    /// Backends by kind, a bit each.
    routes: [u32; Kind::COUNT],
    /// Whether backends may be written to.
    live: Atomic<bool>,
}

impl Dispatcher {
    /// Takes the backends over, to be called safest first. May sleep.
    pub(crate) fn new(mut backends: KVec<KBox<dyn Backend>>) -> Result<Self> {
        if backends.len() > BACKENDS_MAX {
            pr_err!(
                "{} backends: at most {} at once\n",
                backends.len(),
                BACKENDS_MAX
            );
            return Err(E2BIG);
        }
        backends.sort_unstable_by_key(|b| b.risk());
        let mut routes = [0; Kind::COUNT];
        let mut slots = KVec::with_capacity(backends.len(), GFP_KERNEL)?;
        for (bit, backend) in backends.into_iter().enumerate() {
            for kind in Kind::ALL {
                if backend.kinds().has(kind) {
                    if let Some(route) = routes.get_mut(kind.index()) {
                        *route |= 1 << bit;
                    }
                }
            }
            slots.push(
                Slot {
                    backend,
                    lost: Atomic::new(0),
                    told: Atomic::new(false),
                },
                GFP_KERNEL,
            )?;
        }
        Ok(Self {
            slots,
            routes,
            live: Atomic::new(false),
        })
    }

    /// Lets the backends begin; from now on records go to them. One that can't begin is reported,
    /// and refuses what it gets. May sleep.
    pub(crate) fn activate(&self) {
        for slot in &self.slots {
            if let Err(e) = slot.backend.activate() {
                pr_err!("{}: can't begin to record: {:?}\n", slot.backend.name(), e);
            }
        }
        self.live.store(true, Release);
    }

    /// The backends, in the order in which they are called.
    pub(crate) fn backends(&self) -> impl Iterator<Item = &dyn Backend> {
        self.slots.iter().map(|s| &*s.backend)
    }

    /// The backend at `index` of [`Self::backends`].
    pub(crate) fn backend(&self, index: usize) -> Option<&dyn Backend> {
        self.slots.get(index).map(|s| &*s.backend)
    }

    /// The kinds that some backend takes.
    pub(crate) fn kinds(&self) -> Kinds {
        Kind::ALL
            .into_iter()
            .zip(self.routes)
            .filter(|(_, route)| *route != 0)
            .fold(Kinds::default(), |kinds, (kind, _)| kinds.with(kind))
    }

    fn route(&self, kind: Kind) -> impl Iterator<Item = &Slot> {
        let live = self.live.load(Acquire);
        let route = self
            .routes
            .get(kind.index())
            .copied()
            .filter(|_| live)
            .unwrap_or(0);
        self.slots
            .iter()
            .enumerate()
            .filter(move |(bit, _)| route & 1 << bit != 0)
            .map(|(_, slot)| slot)
    }

    /// Appends `parts` as one piece to the stream of `kind` on every backend that takes it.
    ///
    /// Succeeds if one of them took it, or if none wants it; else the first error.
    pub(crate) fn append(&self, kind: Kind, parts: &[&[u8]], context: Context) -> Result {
        let (mut taken, mut first) = (false, None);
        for slot in self.route(kind) {
            match slot.backend.append(kind, parts, context) {
                Ok(()) => taken = true,
                Err(e) => {
                    slot.lose(kind, e, context);
                    first = first.or(Some(e));
                }
            }
        }
        match first {
            Some(e) if !taken => Err(e),
            _ => Ok(()),
        }
    }

    /// Hands a dump to every backend whose `max_reason` allows it. [`Context::Crash`].
    ///
    /// `always` tells what `printk.always_kmsg_dump` says for this reason.
    pub(crate) fn dump(&self, dump: &Dump<'_>, always: bool) {
        for slot in self.route(Kind::Dmesg) {
            let wanted = match slot.backend.max_reason() {
                0 => always || dump.reason.to_kmsg() <= Reason::Oops.to_kmsg(),
                max => dump.reason.to_kmsg() <= max,
            };
            if wanted {
                if let Err(e) = slot.backend.dump(dump) {
                    slot.lose(Kind::Dmesg, e, Context::Crash);
                }
            }
        }
    }
}

impl Slot {
    fn lose(&self, kind: Kind, e: Error, context: Context) {
        self.lost.fetch_add(1, Relaxed);
        // Printing from a crash path could recurse into the console; the counter stays.
        if context == Context::Task && !self.told.xchg(true, Relaxed) {
            pr_err!(
                "{}: lost a {} record: {:?}; further losses are only counted\n",
                self.backend.name(),
                kind.as_str(),
                e
            );
        }
    }
}

impl Drop for Dispatcher {
    fn drop(&mut self) {
        for slot in &self.slots {
            let lost = slot.lost.load(Relaxed);
            if lost > 0 {
                pr_warn!("{}: {} records lost\n", slot.backend.name(), lost);
            }
        }
    }
}
