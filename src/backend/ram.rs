// SPDX-License-Identifier: GPL-2.0

//! RAM that keeps its content over a warm reset, in the byte format of the in-tree ramoops.
//!
//! See `Documentation/format-ram.md`. One mapping per region; zones are offsets into it.

mod area;
mod slots;
mod stream;
mod trace;

use crate::sys::errno::ESTALE;
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
        RecordId,
        RecordInfo, //
    },
    sys::{
        context,
        mem::{
            PersistentMem,
            UserBytes, //
        }, //
    },
};
use area::Area;
use kernel::{
    prelude::*,
    str::CString, //
};
use mpstore_format::{
    ecc::Repair,
    layout::RamLayout,
    ram::{
        Garbage,
        Ring, //
    },
};
use slots::Slots;
use stream::Stream;
use trace::Trace;

/// A region with zones.
///
/// Nothing but `area` has to be torn down; it goes last because the others only know offsets.
pub(crate) struct Ram {
    name: CString,
    max_reason: u32,
    /// Where it lies, if anywhere in particular.
    range: Option<(u64, u64)>,
    slots: Slots,
    streams: [Option<Stream>; Kind::COUNT],
    trace: Option<Trace>,
    layout: RamLayout,
    area: Area,
}

/// What was in the zones when they were read.
struct Survey {
    zones: usize,
    garbage: usize,
    /// Those of them that were never written.
    blank: usize,
    /// Those with the right signature.
    ours: usize,
    records: usize,
}

impl Ram {
    /// Reads what is in the region and changes nothing. Memory without a `range` can hold nothing
    /// of an earlier kernel, so this one's streams are shown. May sleep.
    ///
    /// In a box, and in a function of its own: it is large, and stacks are not.
    #[inline(never)]
    pub(crate) fn new(
        name: CString,
        mem: PersistentMem,
        layout: RamLayout,
        max_reason: u32,
        ecc_size: usize,
        range: Option<(u64, u64)>,
    ) -> Result<KBox<Self>> {
        let live = range.is_none();
        let area = Area::new(mem, ecc_size)?;
        let stream = |zone| match zone {
            Some(zone) => Stream::new(&area, zone, live).map(Some),
            None => Ok(None),
        };
        let streams = [
            None,
            stream(layout.console())?,
            stream(layout.pmsg())?,
            None,
            stream(layout.tty())?,
        ];
        let this = Self {
            slots: Slots::new(&area, &layout)?,
            streams,
            trace: Trace::new(&area, &layout, live)?,
            name,
            max_reason,
            range,
            layout,
            area,
        };
        Ok(KBox::new(this, GFP_KERNEL)?)
    }

    /// How many dump records there is room for.
    pub(crate) fn records_max(&self) -> usize {
        self.layout.dmesg_count()
    }

    /// Erases a record on the medium too, for a region that nobody writes to any more.
    pub(crate) fn wipe(&self, id: &RecordId) -> Result {
        self.erase(id)?;
        if let Some(stream) = self.stream(id.kind) {
            stream.activate(&self.area);
        }
        if let (Kind::Ftrace, Some(trace)) = (id.kind, &self.trace) {
            trace.activate(&self.area);
        }
        Ok(())
    }

    /// Begins to record, without a word about what was found.
    pub(crate) fn begin(&self) {
        self.slots.activate(&self.area, &self.layout);
        for stream in self.streams.iter().flatten() {
            stream.activate(&self.area);
        }
        if let Some(trace) = &self.trace {
            trace.activate(&self.area);
        }
        context::write_barrier();
    }

    /// Copies zone `index` of a stream or of the trace as it is at this moment, for who keeps it
    /// elsewhere: `to` is as long as the zone, and gets its data behind room for a header. Task
    /// context.
    #[cfg(CONFIG_BLOCK)]
    pub(crate) fn copy(&self, kind: Kind, index: usize, to: &mut [u8]) -> Result<Ring> {
        match kind {
            Kind::Ftrace => {
                let trace = self.trace.as_ref().ok_or(EINVAL)?;
                trace.copy(&self.area, index, to)
            }
            _ => Ok(self.stream(kind).ok_or(EINVAL)?.copy(&self.area, to)),
        }
    }

    /// The ring in such a zone, when nobody writes to it any more. [`Context::Crash`].
    #[cfg(CONFIG_BLOCK)]
    pub(crate) fn still_ring(&self, kind: Kind, index: usize) -> Option<Ring> {
        match kind {
            Kind::Ftrace => self.trace.as_ref()?.ring(index),
            _ => Some(self.stream(kind)?.ring()),
        }
    }

    /// Bytes of such a zone from `at` on, when nobody writes to it any more. [`Context::Crash`].
    #[cfg(CONFIG_BLOCK)]
    pub(crate) fn still_bytes(&self, kind: Kind, index: usize, at: usize, to: &mut [u8]) {
        let zone = match kind {
            Kind::Console => self.layout.console(),
            Kind::Pmsg => self.layout.pmsg(),
            Kind::Tty => self.layout.tty(),
            Kind::Ftrace => self.layout.ftrace(index),
            Kind::Dmesg => None,
        };
        if let Some(zone) = zone {
            self.area.copy_part(zone, at, to);
        }
    }

    fn stream(&self, kind: Kind) -> Option<&Stream> {
        self.streams.get(kind.index())?.as_ref()
    }

    fn survey(&self) -> Survey {
        let streams = || self.streams.iter().flatten();
        let count =
            |f: &dyn Fn(&Result<bool, Garbage>) -> bool| streams().filter(|s| f(&s.found)).count();
        let found = self.slots.found;
        let trace = self.trace.as_ref().map(|t| t.found).unwrap_or_default();
        Survey {
            zones: self.layout.dmesg_count() + streams().count() + self.layout.ftrace_count(),
            garbage: found.garbage + trace.garbage + count(&|f| f.is_err()),
            blank: found.blank + trace.blank + count(&|f| *f == Err(Garbage::Signature(0))),
            ours: found.ours + trace.ours + count(&|f| !matches!(f, Err(Garbage::Signature(_)))),
            records: found.records + trace.records + count(&|f| *f == Ok(true)),
        }
    }

    /// Says what was found where nothing is changed: `whose` records.
    pub(crate) fn report_kept(&self, whose: &str) {
        let found = self.survey();
        pr_info!("{}: {} records of {}\n", &*self.name, found.records, whose);
    }

    /// Says what was found: nothing at all is a new region, anything else that is not whole is
    /// worth a line.
    fn report(&self) {
        let Survey {
            zones,
            garbage,
            blank,
            ours,
            records,
        } = self.survey();
        let name = &*self.name;
        if blank == zones {
            pr_info!("{}: new region, formatted\n", name);
        } else if ours == 0 {
            pr_warn!(
                "{}: no zone of these sizes in it, or noise; formatted\n",
                name
            );
        } else if garbage > 0 {
            pr_warn!(
                "{}: {} of {} zones hold garbage and were reformatted, {} records kept\n",
                name,
                garbage,
                zones,
                records
            );
        } else if records > 0 {
            pr_info!("{}: {} records of earlier kernels\n", name, records);
        }
    }
}

impl Backend for Ram {
    fn name(&self) -> &CStr {
        &self.name
    }

    fn kinds(&self) -> Kinds {
        let mut kinds = Kinds::default();
        if self.layout.dmesg_count() > 0 {
            kinds = kinds.with(Kind::Dmesg);
        }
        for kind in Kind::ALL {
            if self.stream(kind).is_some() {
                kinds = kinds.with(kind);
            }
        }
        if self.trace.is_some() {
            kinds = kinds.with(Kind::Ftrace);
        }
        kinds
    }

    fn max_reason(&self) -> u32 {
        self.max_reason
    }

    fn record_capacity(&self) -> usize {
        self.layout.dmesg(0).map_or(0, |z| self.area.capacity(z))
    }

    fn range(&self) -> Option<(u64, u64)> {
        self.range
    }

    fn repairs(&self) -> Repair {
        self.area.repairs()
    }

    fn risk(&self) -> Risk {
        Risk::Memory
    }

    fn activate(&self) -> Result {
        self.report();
        self.begin();
        Ok(())
    }

    fn dump(&self, dump: &Dump<'_>) -> Result {
        self.slots.dump(&self.area, &self.layout, dump)
    }

    fn append(&self, kind: Kind, parts: &[&[u8]], context: Context) -> Result {
        self.stream(kind)
            .ok_or(EINVAL)?
            .append(&self.area, parts, context)
    }

    fn trace(&self, call: &Call) -> Result {
        match &self.trace {
            Some(trace) => trace.write(&self.area, call),
            None => Err(EINVAL),
        }
    }

    fn append_user(&self, kind: Kind, bytes: UserBytes) -> Result {
        self.stream(kind)
            .ok_or(EINVAL)?
            .append_user(&self.area, bytes)
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        self.slots.records(&self.area, &self.layout, f)?;
        for kind in Kind::ALL {
            let size = match (kind, &self.trace) {
                (Kind::Ftrace, Some(trace)) => trace.size(&self.area)?,
                _ => self.stream(kind).map_or(0, Stream::size),
            };
            if size > 0 {
                f(&RecordInfo {
                    id: RecordId {
                        kind,
                        id: 0,
                        cookie: 0,
                    },
                    size,
                    stamp: None,
                    compressed: false,
                    open: false,
                })?;
            }
        }
        Ok(())
    }

    fn settle(&self, id: &RecordId) -> Result<(KVVec<u8>, bool)> {
        match id.kind {
            Kind::Dmesg => self.slots.settle(&self.name, &self.area, &self.layout, id),
            _ => Err(ESTALE),
        }
    }

    fn still(&self, id: &RecordId) -> Result {
        match id.kind {
            Kind::Dmesg => self.slots.still(&self.area, &self.layout, id),
            _ => Err(ESTALE),
        }
    }

    fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        match id.kind {
            Kind::Dmesg => self.slots.read(&self.area, &self.layout, id),
            Kind::Ftrace => self.trace.as_ref().ok_or(ESTALE)?.read(&self.area),
            kind => self.stream(kind).ok_or(ESTALE)?.read(&self.area),
        }
    }

    fn erase(&self, id: &RecordId) -> Result {
        match id.kind {
            Kind::Dmesg => self.slots.erase(&self.area, &self.layout, id),
            Kind::Ftrace => self.trace.as_ref().ok_or(ESTALE)?.erase(&self.area),
            kind => self.stream(kind).ok_or(ESTALE)?.erase(&self.area),
        }
    }
}
