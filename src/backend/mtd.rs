// SPDX-License-Identifier: GPL-2.0

//! Dumps on an MTD, flash memory as a rule, in the byte format of the in-tree pstore_zone, as
//! mtdpstore has them there.
//!
//! See `Documentation/mtd.md`. Flash is erased in blocks and then written once, page by page, so
//! that there are dmesg zones only, and some of them are kept erased for what is to come: a dump
//! that the kernel survives is put together in memory and written there by a task; a panic's is
//! written at once, by the driver's function for that, if it has one.
//!
//! No record on its way takes a lock. The mutex of the I/O is only for tasks.

mod media;
mod zones;

use self::{
    media::Media,
    zones::{
        Looked,
        State,
        Zones, //
    },
};
use crate::sys::errno::{
    EOPNOTSUPP,
    ESTALE, //
};
use crate::{
    backend::{
        lazy::{
            Lazy,
            Progress,
            Worker, //
        },
        stored::{
            self,
            Shown,
            Stored, //
        },
        Backend,
        Context,
        Risk, //
    },
    compress::Unpacker,
    params::BlkConfig,
    record::{
        Dump,
        Kind,
        Kinds,
        Reason,
        RecordId,
        RecordInfo, //
    },
    sys::{
        context,
        mtd::{
            Holder,
            Mtd,
            OPEN_MAX, //
        },
        staging::Staging, //
    },
};
use kernel::{
    fmt, new_mutex,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Arc,
        Mutex, //
    },
};
use mpstore_format::{
    dump::Part,
    zone::{
        dump_head,
        DumpInfo,
        Found,
        Slot,
        Sum,
        ZoneLayout,
        ZoneSizes,
        DUMP_OVERHEAD, //
    },
};

/// Zones that are kept erased, if they can be without erasing a record.
const READY_ZONES: usize = 4;

/// Dumps that can wait to be written, at most; and the memory for them, unless a single one is
/// larger.
const WAITING_MAX: usize = 8;
const WAITING_BYTES: usize = 1 << 20;

/// Zones that are tried for one dump: in a panic each can take the driver's whole patience.
const TRIES_IN_PANIC: usize = 3;
const TRIES: usize = 16;

/// What became of a place for a waiting dump.
const FREE: u32 = 0;
const FILLING: u32 = 1;
const READY: u32 = 2;

/// A place for a dump that is not on the medium yet.
struct Waiting {
    state: Atomic<u32>,
    /// Which comes first.
    number: Atomic<u64>,
    /// Bytes from the zone's beginning on, whole pages.
    len: Atomic<usize>,
    /// As it will lie on the medium.
    zone: Staging<KVec<u8>>,
}

/// What tasks share, one at a time.
struct Io {
    /// Room for a zone, physically contiguous, since not every driver takes other memory.
    buffer: KVec<u8>,
    table: KVVec<Option<Stored>>,
}

/// Who is told about the device.
struct Watch {
    name: CString,
}

impl Holder for Watch {
    fn removed(&self) {
        pr_err!(
            "{}: the device is gone; nothing more is kept there\n",
            &*self.name
        );
    }
}

/// Everything that the worker needs.
struct Core {
    name: CString,
    device: Mtd,
    layout: ZoneLayout,
    zones: Zones,
    waiting: KVec<Waiting>,
    numbers: Atomic<u64>,
    /// Oopses and panics on this medium so far.
    counters: [Atomic<u32>; 2],
    io: Pin<KBox<Mutex<Io>>>,
    looked: Looked,
    progress: Progress,
    /// Blocks erased since it was loaded.
    erased: Atomic<u64>,
}

/// Puts a part together as it will lie in a zone; answers with its length in whole pages, the last
/// one filled up with what erased flash reads as. Crash context.
fn put_together(info: &DumpInfo, part: &Part<'_>, page: usize, to: &mut [u8]) -> usize {
    let mut sum = Sum::new(info, part.len());
    let mut at = DUMP_OVERHEAD;
    part.write(&mut |bytes| {
        sum.add(bytes);
        for (to, from) in to.get_mut(at..).unwrap_or(&mut []).iter_mut().zip(bytes) {
            *to = *from;
            at = at.saturating_add(1);
        }
    });
    let head = dump_head(info, part.len(), sum);
    for (to, from) in to.iter_mut().zip(head) {
        *to = from;
    }
    let len = at.next_multiple_of(page.max(1)).min(to.len());
    for byte in to.get_mut(at..len).unwrap_or(&mut []) {
        *byte = 0xff;
    }
    len
}

impl Core {
    /// Bytes of text that a zone holds.
    fn capacity(&self) -> usize {
        self.zones.zone_len().saturating_sub(DUMP_OVERHEAD)
    }

    fn counter(&self, reason: u32) -> Option<&Atomic<u32>> {
        let [oops, panic] = &self.counters;
        match Reason::from_kmsg(reason) {
            Reason::Oops => Some(oops),
            Reason::Panic => Some(panic),
            _ => None,
        }
    }

    /// What is said of the parts of a dump. Crash context.
    fn info(&self, dump: &Dump<'_>) -> DumpInfo {
        let reason = dump.reason.to_kmsg();
        DumpInfo {
            stamp: dump.stamp,
            compressed: false,
            counter: self
                .counter(reason)
                .map_or(0, |n| n.fetch_add(1, Relaxed).wrapping_add(1)),
            reason,
        }
    }

    fn waits(&self) -> usize {
        let ready = |w: &&Waiting| w.state.load(Acquire) == READY;
        self.waiting.iter().filter(ready).count()
    }

    /// Keeps a dump until it is written. Crash context.
    fn keep(&self, dump: &Dump<'_>) -> Result {
        let mut info = self.info(dump);
        let mut parts = dump.parts();
        while parts.more() {
            let first = parts.number() == 1;
            // Only part 1 is owed a place; one zone is for a panic.
            let room = self.zones.count(State::Ready) > self.waits().saturating_add(1);
            let free = |w: &&Waiting| w.state.cmpxchg(FREE, FILLING, Full).is_ok();
            let place = (first || room).then(|| self.waiting.iter().find(free));
            let Some(place) = place.flatten() else {
                return if first { Err(ENOSPC) } else { Ok(()) };
            };
            let mut len = 0;
            if let Some(part) = parts.next(self.capacity()) {
                info.compressed = part.method().is_some();
                place.zone.with(|to| {
                    len = put_together(&info, &part, self.zones.page(), to);
                });
            }
            place.len.store(len, Relaxed);
            place
                .number
                .store(self.numbers.fetch_add(1, Relaxed), Relaxed);
            let state = if len == 0 { FREE } else { READY };
            place.state.store(state, Release);
            if len == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Writes a zone to a place that was erased; if that fails, to another one. Crash context if
    /// `write` is for that.
    fn put(
        &self,
        bytes: &[u8],
        tries: usize,
        write: &mut dyn FnMut(u64, &[u8]) -> Result,
    ) -> Result<usize> {
        let mut last = ENOSPC;
        for _ in 0..tries {
            let Some(index) = self.zones.claim() else {
                break;
            };
            let zone = self.layout.dmesg(index).ok_or(EINVAL)?;
            match write(zone.offset as u64, bytes) {
                Ok(()) => {
                    self.zones.set(index, State::Live);
                    return Ok(index);
                }
                Err(e) => {
                    self.zones.set(index, State::Bad);
                    last = e;
                }
            }
        }
        Err(last)
    }

    /// Writes a dump, and those that wait. In a panic.
    fn write_panic(&self, dump: &Dump<'_>, buffer: &mut KVec<u8>) -> Result {
        let mut write = |at: u64, bytes: &[u8]| self.device.panic_write(at, bytes);
        let mut info = self.info(dump);
        let mut parts = dump.parts();
        let mut done = Ok(());
        while parts.more() {
            let first = parts.number() == 1;
            if self.zones.count(State::Ready) == 0 {
                done = if first { Err(ENOSPC) } else { Ok(()) };
                break;
            }
            let Some(part) = parts.next(self.capacity()) else {
                break;
            };
            info.compressed = part.method().is_some();
            let len = put_together(&info, &part, self.zones.page(), buffer);
            let bytes = buffer.get(..len).ok_or(EINVAL)?;
            if let Err(e) = self.put(bytes, TRIES_IN_PANIC, &mut write) {
                done = Err(e);
                break;
            }
        }
        while let Some(place) = self.first_waiting() {
            place.zone.with(|zone| {
                let bytes = zone.get(..place.len.load(Relaxed)).unwrap_or(&[]);
                let _ = self.put(bytes, TRIES_IN_PANIC, &mut write);
            });
            place.state.store(FREE, Release);
        }
        done
    }

    /// The dump that has waited longest.
    fn first_waiting(&self) -> Option<&Waiting> {
        let ready = |w: &&Waiting| w.state.load(Acquire) == READY;
        let all = self.waiting.iter().filter(ready);
        all.min_by_key(|w| w.number.load(Relaxed))
    }

    fn media(&self) -> Media<'_> {
        Media {
            name: &self.name,
            device: &self.device,
            layout: &self.layout,
            zones: &self.zones,
            erased: &self.erased,
        }
    }

    fn flush_locked(&self, io: &mut Io) -> Result {
        if !self.progress.active() {
            return Ok(());
        }
        self.usable()?;
        let mut wrote = false;
        while let Some(place) = self.first_waiting() {
            if self.zones.count(State::Ready) == 0 {
                self.prepare(io)?;
            }
            let mut done = Err(EBUSY);
            let mut head = [0; DUMP_OVERHEAD];
            place.zone.with(|zone| {
                let bytes = zone.get(..place.len.load(Relaxed)).unwrap_or(&[]);
                if let Some(from) = bytes.first_chunk() {
                    head = *from;
                }
                done = self.put(bytes, TRIES, &mut |at, bytes| self.device.write(at, bytes));
            });
            let index = done?;
            wrote = true;
            if let (Slot::Dump(found), Some(slot)) = (
                Slot::parse(&head, self.zones.zone_len()),
                io.table.get_mut(index),
            ) {
                *slot = Some(Stored::new(found));
            }
            place.state.store(FREE, Release);
        }
        wrote |= self.zones.count(State::Removed) > 0;
        let cleared = self.clear(io);
        let prepared = self.prepare(io);
        self.progress.flushes.fetch_add(u64::from(wrote), Relaxed);
        cleared.and(prepared)
    }

    /// Makes what was erased as a record void on the medium. May sleep.
    fn clear(&self, io: &mut Io) -> Result {
        let media = self.media();
        for block in 0..self.zones.blocks() {
            if self.zones.in_block(block, State::Removed) {
                let table = &mut io.table;
                media.rewrite(block, &mut io.buffer, &mut |index| {
                    if let Some(slot) = table.get_mut(index) {
                        *slot = None;
                    }
                })?;
            }
        }
        Ok(())
    }

    /// The block whose newest record is older than that of the others.
    fn oldest(&self, table: &[Option<Stored>]) -> Option<usize> {
        let newest = |block: usize| {
            let slots = table.get(self.zones.of_block(block)).unwrap_or(&[]);
            let stamps = slots.iter().flatten().map(|stored| stored.found.info.stamp);
            stamps.max_by(|a, b| (a.sec, a.usec).cmp(&(b.sec, b.usec)))
        };
        // What a panic wrote that did not come to pass is not in the table.
        let holds = |block: &usize| {
            self.zones.in_block(*block, State::Live) || self.zones.in_block(*block, State::Removed)
        };
        (0..self.zones.blocks())
            .filter(holds)
            .min_by_key(|block| newest(*block).map(|stamp| (stamp.sec, stamp.usec)))
    }

    /// Sees to it that there are erased zones: those that hold no record first, and if there are
    /// none, those of the block with the oldest ones. May sleep.
    fn prepare(&self, io: &mut Io) -> Result {
        let media = self.media();
        media.renew(READY_ZONES, &mut io.buffer)?;
        if self.zones.count(State::Ready) > 0 {
            return Ok(());
        }
        let mut lost = 0usize;
        // Each time there is one block less to try.
        while self.zones.count(State::Ready) == 0 {
            let block = self.oldest(&io.table).ok_or(ENOSPC)?;
            for index in self.zones.of_block(block) {
                let slot = io.table.get_mut(index).and_then(Option::take);
                lost = lost.saturating_add(usize::from(slot.is_some()));
            }
            media.erase_or_give_up(block)?;
        }
        if lost > 0 {
            pr_info!(
                "{}: full; the {} oldest records were erased, to have room for the next ones\n",
                &*self.name,
                lost
            );
        }
        Ok(())
    }

    /// A record as it is shown, and what is wrong with it. May sleep.
    fn text(&self, index: usize, found: &Found, unpacker: &mut Unpacker) -> Result<Shown> {
        let stored = self.media().fetch(index, found)?;
        stored::shown(stored, found, self.capacity(), unpacker)
    }
}

impl Lazy for Core {
    fn name(&self) -> &CStr {
        &self.name
    }

    fn progress(&self) -> &Progress {
        &self.progress
    }

    fn with_device(&self, f: &mut dyn FnMut(fmt::Arguments<'_>)) {
        f(fmt!("mtd{}", self.device.facts().index));
    }

    fn dead(&self) -> bool {
        self.device.dead()
    }

    fn dirty(&self) -> bool {
        self.waits() > 0 || self.zones.count(State::Removed) > 0
    }

    fn write_out(&self) -> Result {
        let mut io = self.io.lock();
        self.flush_locked(&mut io)
    }
}

/// An MTD with dumps.
///
/// Dropped in the order of the fields: the worker ends, then the device goes.
pub(crate) struct OnMtd {
    worker: Worker<Core>,
    panic_buffer: Staging<KVec<u8>>,
    core: Arc<Core>,
    max_reason: u32,
    force: bool,
    best_effort: bool,
}

/// Whether zones can be laid out on such a device; if not, one line says why.
fn suits(config: &BlkConfig, device: &Mtd) -> Result<ZoneLayout> {
    let (name, facts) = (&*config.name, device.facts());
    let kmsg = config.sizes.kmsg_size;
    if !facts.writable {
        pr_err!("{}: mtd{} is read-only\n", name, facts.index);
        return Err(EROFS);
    }
    if !facts.uniform {
        pr_err!(
            "{}: the blocks of mtd{} are of several sizes; give a partition where they are not\n",
            name,
            facts.index
        );
        return Err(EOPNOTSUPP);
    }
    let (block, page) = (facts.block, facts.page);
    let fits = kmsg != 0
        && block.checked_rem(kmsg) == Some(0)
        && kmsg.checked_rem(page) == Some(0)
        && facts.bytes >= 2 * kmsg as u64;
    if !fits {
        pr_err!(
            "{}: kmsg_size={:#x}: give a part of an erase block of mtd{}, {:#x} bytes or one divided \
             by a whole number, in whole pages of {:#x} bytes, of which at least two fit in {:#x}\n",
            name,
            kmsg,
            facts.index,
            block,
            page,
            facts.bytes
        );
        return Err(EINVAL);
    }
    let sizes = ZoneSizes {
        bytes: facts.bytes,
        block: page,
        kmsg_size: kmsg,
        pmsg_size: 0,
        console_size: 0,
        ftrace_size: 0,
        tty_size: 0,
        cpus: config.sizes.cpus,
    };
    ZoneLayout::new(&sizes, false).map_err(|e| {
        pr_err!("{}: {}\n", name, e);
        Error::from(e)
    })
}

impl OnMtd {
    /// Opens the device, reads what it holds and changes nothing. What stands against it is one
    /// line. May sleep.
    pub(crate) fn new(config: &BlkConfig) -> Result<Self> {
        let name = &*config.name;
        let watch = Arc::new(
            Watch {
                name: CString::try_from(name)?,
            },
            GFP_KERNEL,
        )?;
        let device = media::open(name, config.target.to_bytes(), watch).inspect_err(|e| {
            if *e == E2BIG {
                pr_err!("{}: at most {} MTDs at once\n", name, OPEN_MAX);
            }
        })?;
        let facts = device.facts();
        let layout = suits(config, &device)?;
        let mut zones = Zones::new(&layout, facts.block, facts.page)?;
        let mut buffer = KVec::from_elem(0, zones.zone_len(), GFP_KERNEL)?;
        let mut table = KVVec::with_capacity(layout.dmesg_count(), GFP_KERNEL)?;
        let counters = [const { Atomic::new(0) }; 2];
        let mut remember = |found: Option<Found>| -> Result {
            if let Some(found) = &found {
                let [oops, panic]: &[Atomic<u32>; 2] = &counters;
                let counter = match Reason::from_kmsg(found.info.reason) {
                    Reason::Oops => Some(oops),
                    Reason::Panic => Some(panic),
                    _ => None,
                };
                if let Some(counter) = counter {
                    counter.store(counter.load(Relaxed).max(found.info.counter), Relaxed);
                }
            }
            Ok(table.push(found.map(Stored::new), GFP_KERNEL)?)
        };
        let looked = media::look(&device, &layout, &mut zones, &mut buffer, &mut remember)
            .inspect_err(|e| pr_err!("{}: mtd{} can't be read: {:?}\n", name, facts.index, e))?;
        media::judge(config, &device, &looked)?;
        if !facts.panic_write && !config.best_effort {
            pr_err!(
                "{}: blkdev={}: a panic can't be written to it, and best_effort=N: its driver has no \
                 panic_write\n",
                name,
                BStr::from_bytes(config.target.to_bytes())
            );
            return Err(EOPNOTSUPP);
        }
        let places = (WAITING_BYTES / zones.zone_len().max(1)).clamp(2, WAITING_MAX);
        let mut waiting = KVec::with_capacity(places, GFP_KERNEL)?;
        for _ in 0..places {
            let place = Waiting {
                state: Atomic::new(FREE),
                number: Atomic::new(0),
                len: Atomic::new(0),
                zone: Staging::new(KVec::from_elem(0, zones.zone_len(), GFP_KERNEL)?),
            };
            waiting.push(place, GFP_KERNEL)?;
        }
        let panic_buffer = Staging::new(KVec::from_elem(0, zones.zone_len(), GFP_KERNEL)?);
        let core = Core {
            name: CString::try_from(name)?,
            device,
            layout,
            zones,
            waiting,
            numbers: Atomic::new(0),
            counters,
            io: KBox::pin_init(new_mutex!(Io { buffer, table }), GFP_KERNEL)?,
            looked,
            progress: Progress::new(config.flush_ms),
            erased: Atomic::new(0),
        };
        let core = Arc::new(core, GFP_KERNEL)?;
        Ok(Self {
            worker: Worker::new(core.clone())?,
            panic_buffer,
            core,
            max_reason: config.max_reason,
            force: config.force,
            best_effort: config.best_effort,
        })
    }

    /// Number and size of the device, and how many dumps there is room for.
    pub(crate) fn size(&self) -> (u32, u64, usize) {
        let facts = self.core.device.facts();
        (facts.index, facts.bytes, self.core.layout.dmesg_count())
    }

    fn report(&self) {
        let (name, looked) = (&*self.core.name, &self.core.looked);
        if looked.bad > 0 {
            pr_info!("{}: {} blocks are bad\n", name, looked.bad);
        }
        if looked.ours == 0 && looked.foreign == 0 {
            pr_info!("{}: new device\n", name);
        } else if looked.foreign > 0 {
            pr_warn!(
                "{}: {} of {} zones hold garbage, {} records kept\n",
                name,
                looked.foreign,
                self.core.layout.dmesg_count(),
                looked.ours
            );
        } else {
            pr_info!("{}: {} records of earlier kernels\n", name, looked.ours);
        }
        if looked.torn > 0 {
            pr_warn!(
                "{}: {} of {} dumps were written in part only\n",
                name,
                looked.torn,
                looked.ours
            );
        }
        if !self.core.device.facts().panic_write {
            pr_info!(
                "{}: panics are not written: the driver has no panic_write\n",
                name
            );
        }
    }
}

impl Drop for OnMtd {
    fn drop(&mut self) {
        // What was not due yet.
        let _ = self.core.flush_now();
    }
}

impl Backend for OnMtd {
    fn name(&self) -> &CStr {
        &self.core.name
    }

    fn kinds(&self) -> Kinds {
        Kinds::default().with(Kind::Dmesg)
    }

    fn max_reason(&self) -> u32 {
        self.max_reason
    }

    fn record_capacity(&self) -> usize {
        self.core.capacity()
    }

    fn risk(&self) -> Risk {
        Risk::Firmware
    }

    fn activate(&self) -> Result {
        self.report();
        let core = &self.core;
        let mut io = core.io.lock();
        if self.force {
            // So that the next load knows it.
            core.media().renew(usize::MAX, &mut io.buffer)?;
        }
        core.prepare(&mut io)?;
        core.progress.activate();
        Ok(())
    }

    fn dump(&self, dump: &Dump<'_>) -> Result {
        let core = &self.core;
        if !core.progress.active() {
            return Err(EINVAL);
        }
        if core.device.dead() {
            return Err(ENODEV);
        }
        // Another CPU's oops may come while one panics.
        if dump.reason == Reason::Panic && context::panicking() {
            if !core.device.facts().panic_write {
                return Err(EOPNOTSUPP);
            }
            let mut done = Err(EBUSY);
            self.panic_buffer
                .with(|buffer| done = core.write_panic(dump, buffer));
            return done;
        }
        core.keep(dump)?;
        self.worker.ring();
        Ok(())
    }

    fn append(&self, _kind: Kind, _parts: &[&[u8]], _context: Context) -> Result {
        Err(EINVAL)
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        let core = &self.core;
        if core.device.dead() {
            return Ok(());
        }
        let mut io = core.io.lock();
        if core.waits() > 0 {
            let done = core.flush_locked(&mut io);
            core.note(done);
        }
        let mut unpacker = Unpacker::default();
        for index in core.zones.newest_first() {
            let Some(Some(stored)) = io.table.get_mut(index) else {
                continue;
            };
            let info = stored.info(&core.name, index, |found| {
                core.text(index, found, &mut unpacker)
            })?;
            f(&info)?;
        }
        Ok(())
    }

    fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        let io = self.core.io.lock();
        let (index, found) = same(&io, id)?;
        Ok(self.core.text(index, &found, &mut Unpacker::default())?.0)
    }

    fn erase(&self, id: &RecordId) -> Result {
        let core = &self.core;
        core.usable()?;
        let mut io = core.io.lock();
        let (index, _) = same(&io, id)?;
        core.zones.set(index, State::Removed);
        if let Some(slot) = io.table.get_mut(index) {
            *slot = None;
        }
        let block = core.zones.block_of(index);
        if core.zones.in_block(block, State::Live) || core.zones.in_block(block, State::Busy) {
            // The others there go elsewhere and back meanwhile: once for all that go now.
            drop(io);
            self.worker.ring();
            return Ok(());
        }
        core.clear(&mut io)
    }

    fn flush(&self) -> Result {
        self.core.flush_now()
    }

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let core = &self.core;
        let facts = core.device.facts();
        let panic = if core.device.dead() {
            "no: the device is gone"
        } else if !facts.panic_write {
            "no: the driver has no panic_write"
        } else if core.zones.count(State::Ready) == 0 {
            "no: no zone is erased"
        } else {
            "armed: the driver's panic_write"
        };
        f.write_fmt(fmt!(
            "{} mtd{} 90:{} bytes={} block={} page={} dumps={} kmsg_size={} live={} erased={} bad={} \
             max_reason={} best_effort={} flush_ms={} waiting={} flushes={} erasures={} \
             last_error={} state={} panic={}\n",
            &*core.name,
            facts.index,
            facts.index.saturating_mul(2),
            facts.bytes,
            facts.block,
            facts.page,
            core.layout.dmesg_count(),
            core.zones.zone_len(),
            core.zones.count(State::Live),
            core.zones.count(State::Ready),
            core.zones.count(State::Bad),
            self.max_reason,
            if self.best_effort { "Y" } else { "N" },
            core.progress.flush_ms,
            if core.dirty() { "Y" } else { "N" },
            core.progress.flushes.load(Relaxed),
            core.erased.load(Relaxed),
            core.progress.last_error.load(Relaxed),
            core.state(),
            panic
        ))
    }
}

/// The zone that still holds the record that is meant.
fn same(io: &Io, id: &RecordId) -> Result<(usize, Found)> {
    let index = usize::try_from(id.id)?;
    match io.table.get(index) {
        Some(Some(stored)) if id.kind == Kind::Dmesg && stored.found.cookie() == id.cookie => {
            Ok((index, stored.found))
        }
        _ => Err(ESTALE),
    }
}
