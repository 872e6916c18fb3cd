// SPDX-License-Identifier: GPL-2.0

//! The dispatcher: hands each record to every live backend that takes its kind.
//!
//! Backends come and go while records are under way. Whoever hands one out looks at them under RCU
//! and takes no lock, so that a panic finds them whatever another CPU was doing; who adds or
//! removes one holds a mutex (in `control.rs`) and waits for a grace period. One backend's failure
//! is counted, said once, and costs the others nothing.

use crate::sys::errno::EOPNOTSUPP;
use crate::{
    backend::{
        Backend,
        Context,
        Risk, //
    },
    record::{
        Call,
        Dump,
        Kind,
        Kinds,
        Reason, //
    },
    sys::{
        bell::Bell,
        context::{
            self,
            PreemptOff, //
        },
        inline_atomic,
        mem::UserBytes,
        slots::RcuSlots, //
    },
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
};
use mpstore_format::ftrace::RECORD_BYTES;

/// Most backends at once.
pub(crate) const BACKENDS_MAX: usize = 32;

/// What became of the records of one kind on one backend.
pub(crate) struct Tally {
    /// Records kept.
    pub(crate) records: Atomic<u64>,
    /// Bytes in them, as the frontend made them.
    pub(crate) bytes: Atomic<u64>,
    /// Lost because somebody was in the way who could not be waited for (`EBUSY`).
    pub(crate) busy: Atomic<u64>,
    /// Lost because there was no room (`ENOSPC`).
    pub(crate) full: Atomic<u64>,
    /// Lost because the medium failed.
    pub(crate) failed: Atomic<u64>,
}

impl Tally {
    const fn new() -> Self {
        Self {
            records: Atomic::new(0),
            bytes: Atomic::new(0),
            busy: Atomic::new(0),
            full: Atomic::new(0),
            failed: Atomic::new(0),
        }
    }

    /// Records lost, for whatever reason.
    pub(crate) fn lost(&self) -> u64 {
        self.busy.load(Relaxed) + self.full.load(Relaxed) + self.failed.load(Relaxed)
    }
}

/// A live backend, and what the dispatcher knows of it.
pub(crate) struct Entry {
    backend: KBox<dyn Backend>,
    /// Never used for another backend.
    id: u64,
    /// The kinds that are handed to it, of those that it takes.
    enabled: Atomic<u32>,
    tallies: [Tally; Kind::COUNT],
    /// The errno of the latest loss, 0 if there was none.
    last_error: Atomic<i32>,
    /// Whether a loss was said.
    told: Atomic<bool>,
}

impl Entry {
    /// The medium.
    pub(crate) fn backend(&self) -> &dyn Backend {
        &*self.backend
    }

    /// Its name.
    pub(crate) fn name(&self) -> &CStr {
        self.backend.name()
    }

    /// What became of the records of `kind`.
    pub(crate) fn tally(&self, kind: Kind) -> Option<&Tally> {
        self.tallies.get(kind.index())
    }

    /// The kinds that are handed to it.
    pub(crate) fn enabled(&self) -> Kinds {
        Kinds::from_bits(self.enabled.load(Relaxed)).and(self.backend.kinds())
    }

    /// The errno of the latest loss.
    pub(crate) fn last_error(&self) -> i32 {
        self.last_error.load(Relaxed)
    }

    /// Leaves a kind out, before the backend is active.
    pub(crate) fn switch_off(&self, kind: Kind) {
        let kinds = self.enabled().without(kind);
        self.enabled.store(kinds.bits(), Relaxed);
    }

    fn keep(&self, kind: Kind, bytes: usize) {
        if let Some(tally) = self.tallies.get(kind.index()) {
            inline_atomic::add(&tally.records, 1);
            inline_atomic::add(&tally.bytes, bytes as u64);
        }
    }

    fn lose(&self, kind: Kind, e: Error, context: Context) {
        if let Some(tally) = self.tallies.get(kind.index()) {
            let why = match e {
                e if e == EBUSY => &tally.busy,
                e if e == ENOSPC => &tally.full,
                _ => &tally.failed,
            };
            why.fetch_add(1, Relaxed);
        }
        self.last_error.store(e.to_errno(), Relaxed);
        // Printing from a crash path could recurse into the console; the counter stays.
        if context == Context::Task && !self.told.xchg(true, Relaxed) {
            pr_err!(
                "{}: lost a {} record: {:?}; further losses are only counted\n",
                self.name(),
                kind.as_str(),
                e
            );
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let lost: u64 = self.tallies.iter().map(Tally::lost).sum();
        if lost > 0 {
            pr_warn!("{}: {} records lost\n", self.backend.name(), lost);
        }
    }
}

/// All live backends and who gets what.
pub(crate) struct Dispatcher {
    entries: RcuSlots<Entry, BACKENDS_MAX>,
    /// Places of backends by kind, a bit each.
    routes: [Atomic<u32>; Kind::COUNT],
    /// Places of backends by risk, a bit each.
    risks: [Atomic<u32>; Risk::COUNT],
    /// What the next backend is called.
    next_id: Atomic<u64>,
    /// Dumps so far.
    dumps: Atomic<u64>,
    /// Places of the backends to which the dump of the panic was handed, a bit each.
    begun: Atomic<u32>,
    /// See the parameter `kmsg_bytes`.
    kmsg_bytes: Atomic<usize>,
    /// Rung when a dump was kept.
    news: RcuSlots<Bell, 1>,
}

impl Dispatcher {
    /// Without backends.
    pub(crate) fn new() -> Self {
        Self {
            entries: RcuSlots::new(),
            routes: [const { Atomic::new(0) }; Kind::COUNT],
            risks: [const { Atomic::new(0) }; Risk::COUNT],
            next_id: Atomic::new(1),
            dumps: Atomic::new(0),
            begun: Atomic::new(0),
            kmsg_bytes: Atomic::new(0),
            news: RcuSlots::new(),
        }
    }

    /// How many bytes of text a dump keeps, in whole records. Any context.
    pub(crate) fn kmsg_bytes(&self) -> usize {
        self.kmsg_bytes.load(Relaxed)
    }

    /// Changes that; the dmesg frontend must fit it.
    pub(crate) fn set_kmsg_bytes(&self, bytes: usize) {
        self.kmsg_bytes.store(bytes, Relaxed);
    }

    /// Sets what is rung when a dump was kept and the kernel goes on, or waits until that is not
    /// used any more. May sleep; changes exclude each other by other means.
    pub(crate) fn set_news(&self, bell: Option<Bell>) -> Result {
        drop(self.news.take(0));
        if let Some(bell) = bell {
            self.news
                .put(0, Arc::new(bell, GFP_KERNEL)?)
                .map_err(|_| EBUSY)?;
        }
        Ok(())
    }

    /// Takes a backend over. It gets no records before [`Self::activate`]. May sleep; changes of
    /// the set exclude each other by other means.
    pub(crate) fn add(&self, backend: KBox<dyn Backend>) -> Result<Arc<Entry>> {
        let entry = Arc::new(
            Entry {
                enabled: Atomic::new(backend.kinds().bits()),
                backend,
                id: self.next_id.fetch_add(1, Relaxed),
                tallies: [const { Tally::new() }; Kind::COUNT],
                last_error: Atomic::new(0),
                told: Atomic::new(false),
            },
            GFP_KERNEL,
        )?;
        for place in 0..BACKENDS_MAX {
            if self.entries.put(place, entry.clone()).is_ok() {
                return Ok(entry);
            }
        }
        pr_err!(
            "{}: there are {} backends already, the most at once; remove one\n",
            entry.name(),
            BACKENDS_MAX
        );
        Err(E2BIG)
    }

    fn place(&self, entry: &Entry) -> Option<usize> {
        let view = self.entries.view();
        (0..BACKENDS_MAX).find(|i| view.get(*i).is_some_and(|e| e.id == entry.id))
    }

    /// Lets a backend begin; from now on records go to it. One that can't begin is reported, and
    /// refuses what it gets. May sleep.
    pub(crate) fn activate(&self, entry: &Entry) {
        if let Err(e) = entry.backend.activate() {
            pr_err!("{}: can't begin to record: {:?}\n", entry.name(), e);
        }
        if let Some(place) = self.place(entry) {
            if let Some(risk) = self.risks.get(entry.backend.risk().index()) {
                risk.store(risk.load(Relaxed) | 1 << place, Release);
            }
            self.reroute(place, entry.enabled());
        }
    }

    /// Puts the place of a backend into the routes of `kinds` and no others.
    fn reroute(&self, place: usize, kinds: Kinds) {
        for (kind, route) in Kind::ALL.into_iter().zip(&self.routes) {
            let old = route.load(Relaxed);
            let new = match kinds.has(kind) {
                true => old | 1 << place,
                false => old & !(1 << place),
            };
            route.store(new, Release);
        }
    }

    /// Switches the records of `kind` on or off for one backend, which takes effect at once. May
    /// sleep; changes exclude each other by other means.
    pub(crate) fn enable(&self, entry: &Entry, kind: Kind, on: bool) {
        let kinds = entry.enabled();
        let kinds = if on {
            kinds.with(kind)
        } else {
            kinds.without(kind)
        };
        entry.enabled.store(kinds.bits(), Relaxed);
        if let Some(place) = self.place(entry) {
            self.reroute(place, entry.enabled());
        }
    }

    /// Takes a backend out and waits until no record is on its way to it. May sleep; changes of
    /// the set exclude each other by other means.
    pub(crate) fn remove(&self, entry: &Entry) {
        let Some(place) = self.place(entry) else {
            return;
        };
        self.reroute(place, Kinds::default());
        for risk in &self.risks {
            risk.store(risk.load(Relaxed) & !(1 << place), Release);
        }
        drop(self.entries.take(place));
    }

    /// The backends at this moment, in no particular order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Arc<Entry>> + '_ {
        (0..BACKENDS_MAX).filter_map(|place| self.entries.get(place))
    }

    /// The backend of that name.
    pub(crate) fn find(&self, name: &CStr) -> Option<Arc<Entry>> {
        self.entries().find(|e| e.name() == name)
    }

    /// The kinds that some backend takes.
    pub(crate) fn kinds(&self) -> Kinds {
        self.entries().fold(Kinds::default(), |kinds, entry| {
            Kind::ALL
                .into_iter()
                .filter(|kind| entry.backend.kinds().has(*kind))
                .fold(kinds, Kinds::with)
        })
    }

    /// The number of the next dump, from 1. Any context.
    pub(crate) fn number_dump(&self) -> u64 {
        self.dumps.fetch_add(1, Relaxed) + 1
    }

    /// The places that get records of `kind`. To be asked within the read-side section in which they
    /// are looked at: outside of it, another backend may have got such a place meanwhile, which is
    /// not active yet.
    fn route(&self, kind: Kind) -> u32 {
        // What is read through a bit comes after the bit: its place is computed from it.
        self.routes
            .get(kind.index())
            .map_or(0, inline_atomic::read_once)
    }

    /// Appends `parts` as one piece to the stream of `kind` on every backend that takes it.
    ///
    /// Succeeds if one of them took it, or if none wants it; else the first error.
    pub(crate) fn append(&self, kind: Kind, parts: &[&[u8]], context: Context) -> Result {
        let view = self.entries.view();
        let route = self.route(kind);
        if route == 0 {
            return Ok(());
        }
        let (mut taken, mut first) = (false, None);
        for entry in bits(route).filter_map(|place| view.get(place)) {
            match entry.backend.append(kind, parts, context) {
                Ok(()) => {
                    taken = true;
                    entry.keep(kind, parts.iter().map(|p| p.len()).sum());
                }
                Err(e) => {
                    entry.lose(kind, e, context);
                    first = first.or(Some(e));
                }
            }
        }
        match first {
            Some(e) if !taken => Err(e),
            _ => Ok(()),
        }
    }

    /// Hands a call of a function to every backend that keeps a trace.
    ///
    /// For trace callbacks: nothing here is a call into the kernel, which would be traced as well.
    /// Losses excepted, which are rare.
    #[inline]
    pub(crate) fn trace(&self, call: &Call, here: PreemptOff<'_>) {
        let route = self.route(Kind::Ftrace);
        let view = self.entries.view_preempt_off(here);
        for entry in bits(route).filter_map(|place| view.get(place)) {
            match entry.backend.trace(call) {
                Ok(()) => {
                    if let Some(tally) = entry.tallies.get(Kind::Ftrace.index()) {
                        inline_atomic::add(&tally.records, 1);
                        inline_atomic::add(&tally.bytes, RECORD_BYTES as u64);
                    }
                }
                Err(e) => entry.lose(Kind::Ftrace, e, Context::Crash),
            }
        }
    }

    /// Appends a task's bytes to the one backend that takes `kind`, without a copy in between.
    ///
    /// [`None`] if there are several or it can't be done at once: nothing was appended then.
    pub(crate) fn append_user(&self, kind: Kind, bytes: UserBytes) -> Option<Result> {
        let view = self.entries.glance();
        let route = self.route(kind);
        if !route.is_power_of_two() {
            return None;
        }
        // CAST: Below 32.
        let entry = view.get(route.trailing_zeros() as usize)?;
        match entry.backend.append_user(kind, bytes) {
            Ok(()) => {
                entry.keep(kind, bytes.len());
                Some(Ok(()))
            }
            Err(e) if e == EFAULT || e == EOPNOTSUPP => None,
            Err(e) => {
                entry.lose(kind, e, Context::Task);
                Some(Err(e))
            }
        }
    }

    /// Hands a dump to every backend whose `max_reason` allows it, safest first.
    /// [`Context::Crash`].
    ///
    /// `always` tells what `printk.always_kmsg_dump` says for this reason. `rest` means that this
    /// CPU crashed while it handed the dump of its panic out: only those to which it had not come get
    /// this one, so that who made it crash does not do so again.
    pub(crate) fn dump(&self, dump: &Dump<'_>, always: bool, rest: bool) {
        let panicking = context::panicking();
        if panicking && !rest {
            self.begun.store(0, Relaxed);
        }
        let view = self.entries.view();
        let mut route = self.route(Kind::Dmesg);
        if rest {
            route &= !self.begun.load(Relaxed);
        }
        let mut kept = false;
        for risk in &self.risks {
            for place in bits(route & risk.load(Acquire)) {
                let Some(entry) = view.get(place) else {
                    continue;
                };
                // On one CPU only, so that reading and writing need not be one.
                if panicking {
                    self.begun
                        .store(self.begun.load(Relaxed) | 1 << place, Relaxed);
                }
                let wanted = match entry.backend.max_reason() {
                    0 => always || dump.reason.to_kmsg() <= Reason::Oops.to_kmsg(),
                    max => dump.reason.to_kmsg() <= max,
                };
                if !wanted {
                    continue;
                }
                match entry.backend.dump(dump) {
                    Ok(()) => {
                        kept = true;
                        entry.keep(Kind::Dmesg, dump.log.len());
                    }
                    Err(e) => entry.lose(Kind::Dmesg, e, Context::Crash),
                }
            }
        }
        if kept && !panicking {
            if let Some(bell) = self.news.view().get(0) {
                bell.ring();
            }
        }
    }
}

/// The numbers of the bits that are set, lowest first.
fn bits(mut set: u32) -> impl Iterator<Item = usize> {
    core::iter::from_fn(move || {
        if set == 0 {
            return None;
        }
        // CAST: Below 32.
        let bit = set.trailing_zeros() as usize;
        set &= set - 1;
        Some(bit)
    })
}
