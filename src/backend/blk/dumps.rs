// SPDX-License-Identifier: GPL-2.0

//! The dmesg zones of a device: one dump record each.
//!
//! A dump that the kernel survives is put together in memory, in any context, and written by a task
//! soon after. In a panic it is written at once, if there is a way. Either way the header comes
//! last, in one block, so that a loss of power leaves a whole record or none.

use super::io::{
    get,
    put,
    put_bytes,
    Blocks, //
};
use crate::sys::errno::ESTALE;
use crate::{
    backend::stored::{
        self,
        Shown,
        Stored, //
    },
    compress::Unpacker,
    record::{
        Dump,
        Reason,
        RecordId,
        RecordInfo, //
    },
    sys::{
        bdev::IoBuffer,
        mem::PersistentMem,
        raw_lock::{
            Level,
            RawLock, //
        }, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Full,
        Relaxed,
        Release, //
    },
};
use mpstore_format::{
    layout::Zone,
    zone::{
        dump_head,
        DumpInfo,
        Found,
        Header,
        Slot,
        Sum,
        ZoneLayout,
        ZoneType,
        DUMP_OVERHEAD,
        HEADER_BYTES, //
    },
};

/// Dumps that can wait to be written, at most; and the memory for them, unless a single one is
/// larger.
const WAITING_MAX: usize = 8;
const WAITING_BYTES: usize = 1 << 20;

/// What became of a place for a waiting dump.
const FREE: u32 = 0;
const FILLING: u32 = 1;
const READY: u32 = 2;

/// A place for a dump that is not on the medium yet.
struct Waiting {
    state: Atomic<u32>,
    /// Where it is to go.
    zone: Atomic<usize>,
    /// Whether that zone held another one.
    replaces: Atomic<bool>,
    /// Bytes from the zone's beginning on.
    len: Atomic<usize>,
    /// Which comes first.
    number: Atomic<u64>,
}

/// Writes a dump that was put together in a place of that number.
type WriteOut<'a> = &'a mut dyn FnMut(&Waiting, usize) -> Result;

/// What was in the zones when they were looked at.
#[derive(Default, Clone, Copy)]
pub(super) struct Looked {
    /// Zones in which nothing was ever written.
    pub(super) blank: usize,
    /// Zones of this format.
    pub(super) ours: usize,
    /// Zones with a record.
    pub(super) records: usize,
    /// Records that are not what was written.
    pub(super) torn: usize,
    /// Zones with something else.
    pub(super) foreign: usize,
}

/// What is known of the zones on the medium. Only for tasks, under the mutex of the backend's I/O.
pub(super) struct Table(KVVec<Option<Stored>>);

/// The dmesg zones, as far as a crash needs to know them.
pub(super) struct Dumps {
    count: usize,
    zone_len: usize,
    /// A bit for each zone that holds a record, or is about to.
    used: KVVec<Atomic<u64>>,
    /// Where the next dump goes if no zone is empty: behind the newest.
    next: Atomic<usize>,
    /// Oopses and panics on this medium so far.
    counters: [Atomic<u32>; 2],
    lock: RawLock,
    /// Places for waiting dumps, the last one for a panic.
    waiting: KVec<Waiting>,
    memory: PersistentMem,
    numbers: Atomic<u64>,
    pub(super) looked: Looked,
}

impl Dumps {
    /// Looks at all zones and changes nothing. May sleep.
    pub(super) fn new(
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
    ) -> Result<(Self, Table)> {
        let count = layout.dmesg_count();
        let zone_len = layout.dmesg(0).map_or(0, |zone| zone.len);
        let places = match count {
            0 => 0,
            _ => (WAITING_BYTES / zone_len.max(1)).clamp(2, WAITING_MAX) + 1,
        };
        let mut waiting = KVec::with_capacity(places, GFP_KERNEL)?;
        for _ in 0..places {
            let place = Waiting {
                state: Atomic::new(FREE),
                zone: Atomic::new(0),
                replaces: Atomic::new(false),
                len: Atomic::new(0),
                number: Atomic::new(0),
            };
            waiting.push(place, GFP_KERNEL)?;
        }
        let mut used = KVVec::with_capacity(count.div_ceil(64), GFP_KERNEL)?;
        for _ in 0..count.div_ceil(64) {
            used.push(Atomic::new(0), GFP_KERNEL)?;
        }
        let mut this = Self {
            count,
            zone_len,
            used,
            next: Atomic::new(0),
            counters: [const { Atomic::new(0) }; 2],
            lock: RawLock::new(Level::Inner)?,
            waiting,
            memory: PersistentMem::heap((places * zone_len).max(1))?,
            numbers: Atomic::new(0),
            looked: Looked::default(),
        };
        let mut table = KVVec::with_capacity(count, GFP_KERNEL)?;
        let mut newest = None;
        for index in 0..count {
            let zone = layout.dmesg(index).ok_or(EINVAL)?;
            let (slot, seen) = this.look(medium, buffer, zone)?;
            if let Some(info) = seen {
                // As in-tree: of several that are as new the last one counts, and an erased one
                // tells where to go on as well.
                if newest.is_none_or(|stamp| info.stamp >= stamp) {
                    newest = Some(info.stamp);
                    this.next.store((index + 1) % count.max(1), Relaxed);
                }
                if let Some(counter) = this.counter(info.reason) {
                    counter.store(counter.load(Relaxed).max(info.counter), Relaxed);
                }
            }
            if slot.is_some() {
                this.mark(index, true);
            }
            table.push(slot, GFP_KERNEL)?;
        }
        Ok((this, Table(table)))
    }

    /// Judges one zone, and counts what it found.
    fn look(
        &mut self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        zone: Zone,
    ) -> Result<(Option<Stored>, Option<DumpInfo>)> {
        let mut head = [0; DUMP_OVERHEAD];
        get(medium, buffer, zone.offset as u64, &mut head)?;
        Ok(match Slot::parse(&head, zone.len) {
            Slot::Blank => {
                self.looked.blank += 1;
                (None, None)
            }
            Slot::Erased(info) => {
                self.looked.ours += 1;
                (None, info)
            }
            Slot::Garbage(_) | Slot::Unknown => {
                self.looked.foreign += 1;
                (None, None)
            }
            Slot::Dump(found) => {
                self.looked.ours += 1;
                self.looked.records += 1;
                let mut text = KVVec::from_elem(0, found.text_len(), GFP_KERNEL)?;
                let at = (zone.offset + DUMP_OVERHEAD) as u64;
                get(medium, buffer, at, &mut text)?;
                let torn = found.intact(&text) == Some(false);
                self.looked.torn += usize::from(torn);
                let stored = Stored::new(found);
                // A time that may be wrong must not decide about anything.
                (Some(stored), (!torn).then_some(found.info))
            }
        })
    }

    fn counter(&self, reason: u32) -> Option<&Atomic<u32>> {
        let [oops, panic] = &self.counters;
        match Reason::from_kmsg(reason) {
            Reason::Oops => Some(oops),
            Reason::Panic => Some(panic),
            _ => None,
        }
    }

    /// Bytes of text that a zone holds.
    pub(super) fn capacity(&self) -> usize {
        self.zone_len.saturating_sub(DUMP_OVERHEAD)
    }

    fn mark(&self, index: usize, used: bool) {
        if let Some(word) = self.used.get(index / 64) {
            let bit = 1u64 << (index % 64);
            let old = word.load(Relaxed);
            word.store(if used { old | bit } else { old & !bit }, Relaxed);
        }
    }

    fn is_used(&self, index: usize) -> bool {
        let word = self.used.get(index / 64).map_or(0, |w| w.load(Relaxed));
        word >> (index % 64) & 1 != 0
    }

    /// The zone for the next record: the first empty one from `next` on, else `next` itself.
    fn pick(&self, may_replace: bool) -> Option<usize> {
        let next = self.next.load(Relaxed).checked_rem(self.count)?;
        let from_next = (next..self.count).find(|i| !self.is_used(*i));
        from_next
            .or_else(|| (0..next).find(|i| !self.is_used(*i)))
            .or_else(|| may_replace.then_some(next))
    }

    /// Where waiting dump `place` lies in memory.
    fn base(&self, place: usize) -> usize {
        place.saturating_mul(self.zone_len)
    }

    /// Puts the parts of a dump together in memory. Those that have no place there are given to
    /// `write`, which must write place `panic` out, in a panic; otherwise they are lost. Crash
    /// context.
    fn assemble(&self, dump: &Dump<'_>, panic: Option<WriteOut<'_>>) -> Result {
        let _guard = self.lock.lock_crash().ok_or(EBUSY)?;
        let last = self.waiting.len().saturating_sub(1);
        let counter = match self.counter(dump.reason.to_kmsg()) {
            Some(counter) => {
                let next = counter.load(Relaxed).wrapping_add(1);
                counter.store(next, Relaxed);
                next
            }
            None => 0,
        };
        let mut panic = panic;
        let mut parts = dump.parts();
        while parts.more() {
            let first = parts.number() == 1;
            let free = |waiting: &Waiting| waiting.state.cmpxchg(FREE, FILLING, Full).is_ok();
            let place = match panic {
                // Nobody else uses that one.
                Some(_) => Some(last),
                None => (0..last).find(|i| self.waiting.get(*i).is_some_and(free)),
            };
            let picked = self.pick(first);
            let (Some(place), Some(index)) = (place, picked) else {
                if let Some(place) = place.and_then(|i| self.waiting.get(i)) {
                    place.state.store(FREE, Relaxed);
                }
                // Only part 1 is owed a place.
                return if first { Err(ENOSPC) } else { Ok(()) };
            };
            let waiting = self.waiting.get(place).ok_or(EINVAL)?;
            let Some(part) = parts.next(self.capacity()) else {
                waiting.state.store(FREE, Relaxed);
                break;
            };
            let info = DumpInfo {
                stamp: dump.stamp,
                compressed: part.method().is_some(),
                counter,
                reason: dump.reason.to_kmsg(),
            };
            let base = self.base(place);
            let mut sum = Sum::new(&info, part.len());
            let mut at = DUMP_OVERHEAD;
            part.write(&mut |bytes| {
                sum.add(bytes);
                self.memory.write(base.saturating_add(at), bytes);
                at = at.saturating_add(bytes.len());
            });
            self.memory.write(base, &dump_head(&info, part.len(), sum));
            waiting.zone.store(index, Relaxed);
            waiting.replaces.store(self.is_used(index), Relaxed);
            waiting.len.store(at, Relaxed);
            waiting
                .number
                .store(self.numbers.fetch_add(1, Relaxed), Relaxed);
            self.mark(index, true);
            self.next.store(
                index.saturating_add(1).checked_rem(self.count).unwrap_or(0),
                Relaxed,
            );
            match &mut panic {
                Some(write) => write(waiting, place)?,
                None => waiting.state.store(READY, Release),
            }
        }
        Ok(())
    }

    /// Keeps a dump until it is written. Crash context.
    pub(super) fn keep(&self, dump: &Dump<'_>) -> Result {
        self.assemble(dump, None)
    }

    /// Writes a dump, and those that wait. In a panic.
    pub(super) fn write_in_panic(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        dump: &Dump<'_>,
    ) -> Result {
        let done = self.assemble(
            dump,
            Some(&mut |waiting, place| self.write(medium, buffer, layout, waiting, place)),
        );
        while let Some((place, waiting)) = self.first_waiting() {
            self.write(medium, buffer, layout, waiting, place)?;
            waiting.state.store(FREE, Release);
        }
        done
    }

    /// The dump that has waited longest.
    fn first_waiting(&self) -> Option<(usize, &Waiting)> {
        let ready = |w: &(usize, &Waiting)| w.1.state.load(Acquire) == READY;
        let all = self.waiting.iter().enumerate().filter(ready);
        all.min_by_key(|(_, w)| w.number.load(Relaxed))
    }

    /// Whether a dump waits.
    pub(super) fn is_waiting(&self) -> bool {
        self.first_waiting().is_some()
    }

    /// Writes one dump to its zone: what was there is made void, then the text, then, in one
    /// block, the header. In a panic if `medium` is for that.
    fn write(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        waiting: &Waiting,
        place: usize,
    ) -> Result {
        let zone = layout.dmesg(waiting.zone.load(Relaxed)).ok_or(EINVAL)?;
        let (start, base) = (zone.offset as u64, self.base(place));
        let len = waiting.len.load(Relaxed).min(zone.len);
        if waiting.replaces.load(Relaxed) {
            void(medium, buffer, zone)?;
        }
        let block = medium.block();
        // Up to the end of the block that the zone begins in, which is one block further if the
        // header does not fit that one.
        let head = zone
            .offset
            .saturating_add(DUMP_OVERHEAD)
            .next_multiple_of(block.max(1));
        let head = head.saturating_sub(zone.offset).min(len);
        let mut copy = |from: usize, len: usize| {
            put(
                medium,
                buffer,
                start.saturating_add(from as u64),
                len,
                &mut |at, to| {
                    let from = base.saturating_add(from).saturating_add(at);
                    self.memory.read(from, to);
                },
            )
        };
        if len > head {
            copy(head, len.saturating_sub(head))?;
            medium.flush()?;
        }
        copy(0, head)?;
        medium.flush()
    }

    /// Writes what waits. May sleep.
    pub(super) fn write_waiting(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        table: &mut Table,
    ) -> Result {
        while let Some((place, waiting)) = self.first_waiting() {
            self.write(medium, buffer, layout, waiting, place)?;
            let mut head = [0; DUMP_OVERHEAD];
            self.memory.read(self.base(place), &mut head);
            let index = waiting.zone.load(Relaxed);
            if let (Slot::Dump(found), Some(slot)) =
                (Slot::parse(&head, self.zone_len), table.0.get_mut(index))
            {
                *slot = Some(Stored::new(found));
            }
            waiting.state.store(FREE, Release);
        }
        Ok(())
    }

    fn fetch(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        zone: Zone,
        found: &Found,
    ) -> Result<KVVec<u8>> {
        let mut text = KVVec::from_elem(0, found.text_len(), GFP_KERNEL)?;
        let at = (zone.offset + DUMP_OVERHEAD) as u64;
        get(medium, buffer, at, &mut text)?;
        Ok(text)
    }

    /// A record as it is shown, and what is wrong with it. May sleep.
    fn text(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        zone: Zone,
        found: &Found,
        unpacker: &mut Unpacker,
    ) -> Result<Shown> {
        let stored = self.fetch(medium, buffer, zone, found)?;
        stored::shown(stored, found, self.capacity(), unpacker)
    }

    /// Calls `f` for every record, newest first. May sleep.
    pub(super) fn records(
        &self,
        name: &CStr,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        table: &mut Table,
        f: &mut dyn FnMut(&RecordInfo) -> Result,
    ) -> Result {
        let mut unpacker = Unpacker::default();
        let next = self.next.load(Relaxed);
        for index in Iterator::chain((0..next).rev(), (next..self.count).rev()) {
            let (Some(zone), Some(Some(stored))) = (layout.dmesg(index), table.0.get_mut(index))
            else {
                continue;
            };
            let info = stored.info(name, index, |found| {
                self.text(medium, buffer, zone, found, &mut unpacker)
            })?;
            f(&info)?;
        }
        Ok(())
    }

    /// The zone that still holds the record that is meant.
    fn same<'t>(
        layout: &ZoneLayout,
        table: &'t mut Table,
        id: &RecordId,
    ) -> Result<(usize, Zone, &'t mut Option<Stored>)> {
        let index = usize::try_from(id.id)?;
        let zone = layout.dmesg(index).ok_or(ESTALE)?;
        let slot = table.0.get_mut(index).ok_or(ESTALE)?;
        match slot {
            Some(stored) if stored.found.cookie() == id.cookie => Ok((index, zone, slot)),
            _ => Err(ESTALE),
        }
    }

    /// Content of a record. May sleep.
    pub(super) fn read(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        table: &mut Table,
        id: &RecordId,
    ) -> Result<KVVec<u8>> {
        let (_, zone, slot) = Self::same(layout, table, id)?;
        let found = slot.as_ref().ok_or(ESTALE)?.found;
        let mut unpacker = Unpacker::default();
        Ok(self.text(medium, buffer, zone, &found, &mut unpacker)?.0)
    }

    /// Erases a record on the medium. May sleep.
    pub(super) fn erase(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        table: &mut Table,
        id: &RecordId,
    ) -> Result {
        let (index, zone, slot) = Self::same(layout, table, id)?;
        void(medium, buffer, zone)?;
        *slot = None;
        let _guard = self.lock.lock();
        // Another one may have been put together for this place meanwhile.
        let taken = |w: &Waiting| w.state.load(Acquire) != FREE && w.zone.load(Relaxed) == index;
        if !self.waiting.iter().any(taken) {
            self.mark(index, false);
        }
        Ok(())
    }

    /// Makes zones void that hold nothing of ours, so that the next load knows the device again.
    /// May sleep.
    pub(super) fn clean(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        table: &Table,
    ) -> Result {
        for (index, slot) in table.0.iter().enumerate() {
            let Some(zone) = layout.dmesg(index).filter(|_| slot.is_none()) else {
                continue;
            };
            let mut head = [0; DUMP_OVERHEAD];
            get(medium, buffer, zone.offset as u64, &mut head)?;
            if let Slot::Garbage(_) | Slot::Unknown = Slot::parse(&head, zone.len) {
                put_bytes(medium, buffer, zone.offset as u64, &[0; DUMP_OVERHEAD])?;
            }
        }
        medium.flush()
    }
}

/// Makes a zone's record void, as the in-tree code erases one: of the header only the length is
/// another one. In a panic if `medium` is for that.
fn void(medium: &dyn Blocks, buffer: &mut IoBuffer, zone: Zone) -> Result {
    let header = Header {
        sig: ZoneType::Dmesg.signature(),
        datalen: 0,
        start: 0,
    };
    let bytes: [u8; HEADER_BYTES] = header.to_bytes();
    put_bytes(medium, buffer, zone.offset as u64, &bytes)?;
    medium.flush()
}
