// SPDX-License-Identifier: GPL-2.0

//! The zones of the function trace: one for each CPU, or one for all.
//!
//! A record is kept on the path of nearly every function of the kernel, in any context. So without
//! parity no lock is taken and no function called: a writer moves the zone's counters with one
//! atomic instruction, which gives it a place of its own, stores its record there, and then stores
//! the header. One that comes in between (an interrupt or NMI on this CPU, or another CPU where one
//! zone serves all) does the same with the next place. Whoever finds that the counters have moved
//! on stores the header again, so that the last store is of the latest counters.
//!
//! With parity a block has one writer at a time.

use super::area::Area;
use crate::sys::errno::ESTALE;
use crate::{
    record::Call,
    sys::{
        bytes,
        context::{
            self,
            IrqsOff, //
        },
        cpu,
        inline_atomic::{
            Claim,
            Counter, //
        },
        kallsyms, //
    },
    trace, //
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::Mutex, //
};
use mpstore_format::{
    ecc::Repair,
    ftrace::{
        self,
        Record,
        RECORD_BYTES, //
    },
    layout::{
        RamLayout,
        Zone, //
    },
    ram::{
        ftrace_signature,
        Garbage,
        Header,
        Ring,
        HEADER_BYTES, //
    },
};

/// What this kernel's zones are signed with, as in-tree.
const SIGNATURE: u32 = ftrace_signature(kallsyms::VERSION);

/// How often a header is stored again because another writer came in between. The last of the
/// others does the same, so that giving up leaves at most their newest records out for a moment.
const HEADER_TRIES: u32 = 4;

/// How often a writer tries to become the only one, where parity is on and one zone serves all
/// CPUs. In a CPU's own zone only the context that was interrupted can be in the way.
const CLAIM_TRIES: u32 = 1 << 12;

/// One zone. CPUs do not share cache lines.
#[repr(align(64))]
struct Lane {
    zone: Zone,
    /// Bytes of data that it holds; at least one record.
    capacity: u32,
    /// See [`ftrace::reserve`].
    counters: Counter,
    /// The one writer, with parity.
    claim: Claim,
}

/// What an earlier kernel left in one zone.
struct Old {
    version: u32,
    bytes: KVVec<u8>,
}

/// What an earlier kernel left, and what it took to get it.
#[derive(Default)]
struct Earlier {
    runs: KVec<Old>,
    repair: Repair,
}

/// What the headers were worth.
#[derive(Clone, Copy, Default)]
pub(super) struct Found {
    /// Zones that never were any.
    pub(super) blank: usize,
    /// Zones that are nobody's, or contradict themselves.
    pub(super) garbage: usize,
    /// Zones with the signature of a trace.
    pub(super) ours: usize,
    /// Records in the sense of files: one, if there is anything.
    pub(super) records: usize,
}

/// All zones of the trace.
pub(super) struct Trace {
    lanes: KVec<Lane>,
    /// Whether each CPU has its own zone.
    per_cpu: bool,
    /// Order of the records of all CPUs.
    sequence: Counter,
    /// What an earlier kernel left, until it is erased.
    old: Pin<KBox<Mutex<Option<Earlier>>>>,
    /// What was found in the zones.
    pub(super) found: Found,
    /// Whether this kernel's records are shown, not the earlier one's.
    live: bool,
}

impl Lane {
    /// A place of the writer's own, and a sequence number that is higher than that of the place
    /// before: one that came in between took the place, so that both are taken anew.
    #[inline]
    fn reserve(&self, sequence: &Counter) -> (u32, u64) {
        let mut counters = self.counters.get();
        loop {
            let number = sequence.next();
            let (at, next) = ftrace::reserve(counters, self.capacity);
            // Fails only if another writer got through.
            match self.counters.replace(counters, next) {
                Ok(()) => return (at, number),
                Err(now) => counters = now,
            }
        }
    }

    /// Stores a record at an offset into the data.
    #[inline]
    fn put(&self, area: &Area, at: u32, record: &Record) {
        // CAST: Widens.
        let (at, capacity) = (at as usize, self.capacity as usize);
        let end = at.wrapping_add(RECORD_BYTES);
        if end <= capacity {
            area.put(self.zone, HEADER_BYTES.wrapping_add(at), *record);
        } else {
            // Around the end of the ring.
            for (to, byte) in (at..end).zip(record.as_bytes()) {
                let to = to.checked_sub(capacity).unwrap_or(to);
                area.put(self.zone, HEADER_BYTES.wrapping_add(to), *byte);
            }
        }
    }

    fn header(&self, counters: u64) -> Header {
        let (start, size) = ftrace::split(counters);
        Header {
            sig: SIGNATURE,
            start,
            size,
        }
    }

    /// The ring as it was last.
    fn ring(&self) -> Ring {
        let capacity = self.capacity as usize;
        Ring::check(self.header(self.counters.get()), SIGNATURE, capacity)
            .unwrap_or(Ring::empty(capacity))
    }

    /// Without parity. Calls nothing that can be traced.
    #[inline]
    fn write(&self, area: &Area, call: &Call, sequence: &Counter) {
        let (at, number) = self.reserve(sequence);
        let record = Record::new(call.ip, call.parent_ip, number, call.cpu);
        self.put(area, at, &record);
        let mut counters = self.counters.get();
        for _ in 0..HEADER_TRIES {
            area.put(self.zone, 0, self.header(counters));
            let now = self.counters.get();
            if now == counters {
                break;
            }
            counters = now;
        }
    }

    /// With parity, which covers whole blocks.
    fn write_protected(&self, area: &Area, call: &Call, sequence: &Counter, tries: u32) -> Result {
        let _irqs = IrqsOff::new();
        let _claimed = self.claim.get(tries).ok_or(EBUSY)?;
        let record = Record::new(call.ip, call.parent_ip, sequence.next(), call.cpu);
        let mut ring = self.ring();
        area.append(self.zone, &mut ring, record.as_bytes());
        self.set_ring(area, &ring);
        Ok(())
    }

    fn set_ring(&self, area: &Area, ring: &Ring) {
        let header = ring.header(SIGNATURE);
        self.counters
            .set(u64::from(header.start) << 32 | u64::from(header.size));
        area.write_header_as(self.zone, header);
    }

    /// What this kernel recorded, oldest first. May sleep.
    fn snapshot(&self, area: &Area) -> Result<KVVec<u8>> {
        let mut bytes = KVVec::with_capacity(self.capacity as usize, GFP_KERNEL)?;
        let ring = self.ring();
        area.copy_more(self.zone, &ring, 0, &mut bytes);
        // What was written meanwhile went over the oldest.
        let end = self.ring().start();
        let moved = match end.checked_sub(ring.start()) {
            Some(moved) => moved,
            None => end + ring.capacity() - ring.start(),
        };
        let free = ring.capacity() - ring.size();
        let keep = ring
            .size()
            .saturating_sub(moved.saturating_sub(free).next_multiple_of(RECORD_BYTES));
        bytes::copy(bytes.get(ring.size() - keep..ring.size()).unwrap_or(&[]))
    }
}

impl Trace {
    /// Reads what the zones hold and changes nothing; nothing if there are no zones. May sleep.
    pub(super) fn new(area: &Area, layout: &RamLayout, live: bool) -> Result<Option<Self>> {
        let count = layout.ftrace_count();
        if count == 0 {
            return Ok(None);
        }
        let mut lanes = KVec::with_capacity(count, GFP_KERNEL)?;
        let mut found = Found::default();
        let mut earlier = Earlier::default();
        for zone in (0..count).filter_map(|cpu| layout.ftrace(cpu)) {
            let capacity = area.capacity(zone);
            match Self::check(area, zone) {
                Ok((version, ring)) => {
                    found.ours += 1;
                    if !ring.is_empty() {
                        let mut raw = KVVec::with_capacity(zone.len, GFP_KERNEL)?;
                        area.copy_raw_more(zone, &mut raw);
                        let content = area.content_as(raw, ftrace_signature(version))?;
                        earlier.repair.corrected += content.repair.corrected;
                        earlier.repair.lost += content.repair.lost;
                        let bytes = content.bytes;
                        earlier.runs.push(Old { version, bytes }, GFP_KERNEL)?;
                    }
                }
                Err(Garbage::Signature(0)) => found.blank += 1,
                Err(_) => found.garbage += 1,
            }
            lanes.push(
                Lane {
                    zone,
                    capacity: u32::try_from(capacity)?,
                    counters: Counter::new(0),
                    claim: Claim::new(),
                },
                GFP_KERNEL,
            )?;
        }
        let whole = trace::size(&earlier.slices()?) > 0;
        let old = whole.then_some(earlier);
        found.records = usize::from(old.is_some());
        Ok(Some(Self {
            lanes,
            per_cpu: count >= cpu::possible_ids(),
            sequence: Counter::new(0),
            old: KBox::pin_init(new_mutex!(old), GFP_KERNEL)?,
            found,
            live,
        }))
    }

    /// Judges a zone: of which kernel version it is, and its counters.
    fn check(area: &Area, zone: Zone) -> Result<(u32, Ring), Garbage> {
        let header = area.header(zone);
        let version = ftrace::version_of(header.sig).ok_or(Garbage::Signature(header.sig))?;
        Ring::check(header, header.sig, area.capacity(zone)).map(|ring| (version, ring))
    }

    /// Begins this kernel's trace. The sequence numbers begin anew with every boot, so that records
    /// of two must not share a ring, or their order is lost.
    pub(super) fn activate(&self, area: &Area) {
        for lane in &self.lanes {
            lane.set_ring(area, &Ring::empty(lane.capacity as usize));
        }
    }

    /// Keeps a record. Any context, NMI included; preemption off.
    #[inline]
    pub(super) fn write(&self, area: &Area, call: &Call) -> Result {
        let (index, tries) = if self.per_cpu {
            // CAST: Widens.
            (call.cpu as usize, 1)
        } else {
            (0, CLAIM_TRIES)
        };
        let lane = self.lanes.get(index).ok_or(EINVAL)?;
        if area.has_ecc() {
            lane.write_protected(area, call, &self.sequence, tries)
        } else {
            lane.write(area, call, &self.sequence);
            Ok(())
        }
    }

    /// Zone `index` as it is at this moment, its oldest record first. May sleep.
    #[cfg(CONFIG_BLOCK)]
    pub(super) fn copy(&self, area: &Area, index: usize, to: &mut [u8]) -> Result<Ring> {
        let lane = self.lanes.get(index).ok_or(EINVAL)?;
        let bytes = lane.snapshot(area)?;
        let mut ring = Ring::empty(lane.capacity as usize);
        let _ = ring.append(bytes.len());
        to.get_mut(HEADER_BYTES..)
            .and_then(|to| to.get_mut(..bytes.len()))
            .ok_or(EINVAL)?
            .copy_from_slice(&bytes);
        Ok(ring)
    }

    /// The ring in zone `index` as it was last. Any context.
    #[cfg(CONFIG_BLOCK)]
    pub(super) fn ring(&self, index: usize) -> Option<Ring> {
        Some(self.lanes.get(index)?.ring())
    }

    /// What can be read: this kernel's records or an earlier one's.
    fn with_records<R>(
        &self,
        area: &Area,
        f: impl FnOnce(&Earlier) -> Result<R>,
    ) -> Result<Option<R>> {
        if !self.live {
            return self.old.lock().as_ref().map(f).transpose();
        }
        let mut now = Earlier::default();
        for lane in &self.lanes {
            let bytes = lane.snapshot(area)?;
            let version = kallsyms::VERSION;
            now.runs.push(Old { version, bytes }, GFP_KERNEL)?;
        }
        f(&now).map(Some)
    }

    /// Bytes of whole records, and of the notice about damage; zero if there is no record. May
    /// sleep.
    pub(super) fn size(&self, area: &Area) -> Result<usize> {
        let size = self.with_records(area, |earlier| {
            let notice = area.notice(earlier.repair)?;
            Ok(match trace::size(&earlier.slices()?) {
                0 => 0,
                size => size + notice.map_or(0, |notice| notice.to_bytes().len()),
            })
        })?;
        Ok(size.unwrap_or(0))
    }

    /// The records as text. May sleep.
    pub(super) fn read(&self, area: &Area) -> Result<KVVec<u8>> {
        self.with_records(area, |earlier| {
            let mut text = trace::text(&earlier.slices()?)?;
            if let Some(notice) = area.notice(earlier.repair)? {
                bytes::append(&mut text, notice.to_bytes())?;
            }
            Ok(text)
        })?
        .ok_or(ESTALE)
    }

    /// Erases the record, which is all CPUs'. The medium was taken over by this kernel's trace
    /// already, which stays. May sleep.
    pub(super) fn erase(&self, area: &Area) -> Result {
        if !self.live {
            return self.old.lock().take().map(drop).ok_or(ESTALE);
        }
        for lane in &self.lanes {
            let _claimed = lane.claim.get(CLAIM_TRIES);
            lane.set_ring(area, &Ring::empty(lane.capacity as usize));
        }
        context::write_barrier();
        Ok(())
    }
}

impl Earlier {
    fn slices(&self) -> Result<KVec<(u32, &[u8])>> {
        let mut slices = KVec::with_capacity(self.runs.len(), GFP_KERNEL)?;
        for run in &self.runs {
            slices.push((run.version, &*run.bytes), GFP_KERNEL)?;
        }
        Ok(slices)
    }
}
