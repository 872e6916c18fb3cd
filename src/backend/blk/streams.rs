// SPDX-License-Identifier: GPL-2.0

//! Console, pmsg, tty and the function trace: rings that are written to memory by whoever has
//! something to keep, in any context, and copied to the device by a task.
//!
//! The memory is a [`Ram`] of its own. Beside it there is a copy of each zone as it is on the
//! device, so that only blocks that differ are written, and none must be read for that.

use super::io::{
    get,
    put,
    put_bytes,
    Blocks, //
};
use crate::{
    backend::ram::Ram,
    record::Kind,
    sys::{
        bdev::IoBuffer,
        kallsyms,
        mem::PersistentMem, //
    },
};
use kernel::{
    prelude::*,
    str::CString,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
};
use mpstore_format::{
    layout::{
        RamLayout,
        Zone,
        ZoneKind, //
    },
    ram::{
        self,
        ftrace_signature,
        Ring, //
    },
    zone::{
        is_blank,
        Header,
        ZoneLayout,
        ZoneType,
        HEADER_BYTES, //
    },
};

/// Least length of a zone of the trace that is of use: a header and a record.
const TRACE_MIN: usize = HEADER_BYTES + mpstore_format::ftrace::RECORD_BYTES;

/// One zone on the device.
struct Place {
    kind: Kind,
    /// Number within its kind.
    index: usize,
    zone: Zone,
}

impl Place {
    fn zone_type(&self) -> ZoneType {
        match self.kind {
            Kind::Console => ZoneType::Console,
            Kind::Pmsg => ZoneType::Pmsg,
            Kind::Ftrace => ZoneType::Ftrace,
            Kind::Tty => ZoneType::Tty,
            Kind::Dmesg => ZoneType::Dmesg,
        }
    }
}

/// What was in the zones when they were looked at.
#[derive(Default, Clone, Copy)]
pub(super) struct Looked {
    pub(super) blank: usize,
    pub(super) ours: usize,
    pub(super) foreign: usize,
    /// Those with content.
    pub(super) records: usize,
}

/// What the device holds. Only for tasks, under the mutex of the backend's I/O.
pub(super) struct Images {
    /// As the zones are on the device.
    images: KVec<VVec<u8>>,
    /// Zones of which that is not known, after an error.
    unknown: KVec<bool>,
    /// As the zones are in memory.
    now: VVec<u8>,
    /// How much had been written to memory when it was copied last.
    copied: [u64; Kind::COUNT],
}

/// The rings in memory.
pub(super) struct Streams {
    pub(super) ram: KBox<Ram>,
    places: KVec<Place>,
    /// Counts what is written to memory, by kind.
    touched: [Atomic<u64>; Kind::COUNT],
    /// What of that is on the device.
    written: [Atomic<u64>; Kind::COUNT],
    pub(super) looked: Looked,
}

/// The rings that are in memory, as of another kernel.
fn open(name: &CStr, memory: PersistentMem, layout: RamLayout) -> Result<KBox<Ram>> {
    let name = CString::try_from(name)?;
    Ram::new(name, memory, layout, 0, 0, Some((0, 0)))
}

impl Streams {
    /// Reads all zones and changes nothing; nothing if there are none. May sleep.
    pub(super) fn new(
        name: &CStr,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        layout: &ZoneLayout,
        cpus: usize,
    ) -> Result<Option<(KBox<Self>, Images)>> {
        let traces = match layout.ftrace(0) {
            Some(zone) if zone.len >= TRACE_MIN => layout.ftrace_count().min(cpus),
            _ => 0,
        };
        // In memory the zones lie in the order of a RAM region.
        let mut places = KVec::new();
        for (kind, zone) in [
            (Kind::Console, layout.console()),
            (Kind::Pmsg, layout.pmsg()),
        ] {
            if let Some(zone) = zone {
                places.push(
                    Place {
                        kind,
                        index: 0,
                        zone,
                    },
                    GFP_KERNEL,
                )?;
            }
        }
        for index in 0..traces {
            let kind = Kind::Ftrace;
            let zone = layout.ftrace(index).ok_or(EINVAL)?;
            places.push(Place { kind, index, zone }, GFP_KERNEL)?;
        }
        if let Some(zone) = layout.tty() {
            let kind = Kind::Tty;
            places.push(
                Place {
                    kind,
                    index: 0,
                    zone,
                },
                GFP_KERNEL,
            )?;
        }
        if places.is_empty() {
            return Ok(None);
        }
        let mut end = 0;
        let mut row = |kind, zone: Option<Zone>, count: usize| {
            let len = zone.map_or(0, |zone| zone.len);
            // Zones in memory begin on word boundaries if they can.
            let at = end;
            end += len * count;
            (kind, at, if count > 0 { len } else { 0 }, count)
        };
        let one = |zone: &Option<Zone>| usize::from(zone.is_some());
        let rows = [
            row(ZoneKind::Dmesg, None, 0),
            row(ZoneKind::Console, layout.console(), one(&layout.console())),
            row(ZoneKind::Pmsg, layout.pmsg(), one(&layout.pmsg())),
            row(ZoneKind::Ftrace, layout.ftrace(0), traces),
            row(ZoneKind::Tty, layout.tty(), one(&layout.tty())),
        ];
        let memory = PersistentMem::heap(end)?;
        let mut looked = Looked::default();
        let mut images = KVec::with_capacity(places.len(), GFP_KERNEL)?;
        let mut unknown = KVec::with_capacity(places.len(), GFP_KERNEL)?;
        let (mut at, mut largest) = (0, 0);
        for place in &places {
            let mut image = VVec::from_elem(0u8, place.zone.len, GFP_KERNEL)?;
            get(medium, buffer, place.zone.offset as u64, &mut image)?;
            let header = image.first_chunk::<HEADER_BYTES>().ok_or(EINVAL)?;
            let ring = Header::from_bytes(*header).ring(place.zone_type(), place.zone.len);
            match ring {
                Ok(ring) => {
                    looked.ours += 1;
                    looked.records += usize::from(!ring.is_empty());
                    let sig = match place.kind {
                        // Who wrote it does not say of which version it was.
                        Kind::Ftrace => ftrace_signature(kallsyms::VERSION),
                        _ => ram::SIGNATURE,
                    };
                    memory.write(at, &ring.header(sig).to_bytes());
                    memory.write(at + HEADER_BYTES, image.get(HEADER_BYTES..).unwrap_or(&[]));
                }
                Err(_) if is_blank(header) => looked.blank += 1,
                Err(_) => looked.foreign += 1,
            }
            at += place.zone.len;
            largest = largest.max(place.zone.len);
            images.push(image, GFP_KERNEL)?;
            unknown.push(false, GFP_KERNEL)?;
        }
        let layout = RamLayout::from_rows(rows, end, 0)?;
        let ram = open(name, memory, layout)?;
        let images = Images {
            images,
            unknown,
            now: VVec::from_elem(0, largest, GFP_KERNEL)?,
            copied: [0; Kind::COUNT],
        };
        let this = Self {
            ram,
            places,
            touched: [const { Atomic::new(0) }; Kind::COUNT],
            written: [const { Atomic::new(0) }; Kind::COUNT],
            looked,
        };
        Ok(Some((KBox::new(this, GFP_KERNEL)?, images)))
    }

    /// Begins this kernel's rings, in memory; they are to be written.
    pub(super) fn begin(&self) {
        self.ram.begin();
        for kind in Kind::ALL {
            self.touch(kind);
        }
    }

    /// Notes that something was written to memory. Any context.
    pub(super) fn touch(&self, kind: Kind) {
        if let Some(count) = self.touched.get(kind.index()) {
            count.fetch_add(1, Release);
        }
    }

    /// The same for the trace. For trace callbacks: calls nothing.
    #[inline]
    pub(super) fn touch_trace(&self) {
        if let Some(count) = self.touched.get(Kind::Ftrace.index()) {
            crate::sys::inline_atomic::add(count, 1);
        }
    }

    fn is_dirty(&self, kind: Kind) -> bool {
        let count = |all: &[Atomic<u64>; Kind::COUNT]| {
            all.get(kind.index()).map_or(0, |count| count.load(Relaxed))
        };
        count(&self.touched) != count(&self.written)
    }

    /// Whether something is in memory only.
    pub(super) fn dirty(&self) -> bool {
        self.places.iter().any(|place| self.is_dirty(place.kind))
    }

    /// Copies what has changed to the device: data first, then headers. May sleep.
    pub(super) fn write(
        &self,
        medium: &dyn Blocks,
        buffer: &mut IoBuffer,
        state: &mut Images,
    ) -> Result {
        if !self.dirty() {
            return Ok(());
        }
        // What is counted here is in what is copied below.
        for (kind, copied) in Kind::ALL.into_iter().zip(&mut state.copied) {
            *copied = self
                .touched
                .get(kind.index())
                .map_or(0, |count| count.load(Acquire));
        }
        let mut headers = KVec::with_capacity(self.places.len(), GFP_KERNEL)?;
        let rows = state.images.iter_mut().zip(&mut state.unknown);
        for (at, (place, (image, unknown))) in self.places.iter().zip(rows).enumerate() {
            if !self.is_dirty(place.kind) {
                continue;
            }
            let now = state.now.get_mut(..place.zone.len).ok_or(EINVAL)?;
            // Beyond the end of a trace nothing changes.
            now.copy_from_slice(image);
            let ring = self.ram.copy(place.kind, place.index, now)?;
            let header = Header::of_ring(place.zone_type(), &ring).to_bytes();
            headers.push((at, header), GFP_KERNEL)?;
            let (Some(old), Some(new)) = (image.get_mut(HEADER_BYTES..), now.get(HEADER_BYTES..))
            else {
                return Err(EINVAL);
            };
            // An error leaves the device in a state that nobody knows.
            let all = core::mem::replace(unknown, true);
            write_changes(
                medium,
                buffer,
                place.zone.offset + HEADER_BYTES,
                old,
                new,
                all,
            )?;
            *unknown = all;
        }
        medium.flush()?;
        for (at, header) in &headers {
            let (Some(place), Some(image), Some(unknown)) = (
                self.places.get(*at),
                state.images.get_mut(*at),
                state.unknown.get_mut(*at),
            ) else {
                return Err(EINVAL);
            };
            let old = image.get_mut(..HEADER_BYTES).ok_or(EINVAL)?;
            if *old != *header || *unknown {
                let failed = core::mem::replace(unknown, true);
                put_bytes(medium, buffer, place.zone.offset as u64, header)?;
                old.copy_from_slice(header);
                *unknown = failed;
            }
        }
        medium.flush()?;
        state
            .unknown
            .iter_mut()
            .for_each(|unknown| *unknown = false);
        for (written, copied) in self.written.iter().zip(state.copied) {
            written.store(copied, Relaxed);
        }
        Ok(())
    }

    /// Writes what has changed, whole zones of it. In a panic.
    pub(super) fn write_in_panic(&self, medium: &dyn Blocks, buffer: &mut IoBuffer) -> Result {
        let mut first = Ok(());
        for place in self.places.iter().filter(|p| self.is_dirty(p.kind)) {
            let done = self.write_still(medium, buffer, place);
            first = first.and(done);
        }
        first.and(medium.flush())
    }

    fn write_still(&self, medium: &dyn Blocks, buffer: &mut IoBuffer, place: &Place) -> Result {
        let ring: Ring = self.ram.still_ring(place.kind, place.index).ok_or(EINVAL)?;
        let start = (place.zone.offset as u64).saturating_add(HEADER_BYTES as u64);
        put(medium, buffer, start, ring.size(), &mut |at, to| {
            let at = HEADER_BYTES.saturating_add(at);
            self.ram.still_bytes(place.kind, place.index, at, to);
        })?;
        medium.flush()?;
        let header = Header::of_ring(place.zone_type(), &ring).to_bytes();
        put_bytes(medium, buffer, place.zone.offset as u64, &header)
    }
}

/// Writes the blocks in which `new` differs from `old`, or all, and makes `old` the same. `at` is
/// where they begin on the device.
fn write_changes(
    medium: &dyn Blocks,
    buffer: &mut IoBuffer,
    at: usize,
    old: &mut [u8],
    new: &[u8],
    all: bool,
) -> Result {
    let block = medium.block();
    let mut from = 0;
    while from < new.len() {
        // Blocks of the device, not of the zone.
        let next = |from: usize| {
            let end = (at + from + 1).next_multiple_of(block.max(1)) - at;
            end.min(new.len())
        };
        let differs = |from: usize| all || old.get(from..next(from)) != new.get(from..next(from));
        if !differs(from) {
            from = next(from);
            continue;
        }
        let mut to = next(from);
        while to < new.len() && differs(to) {
            to = next(to);
        }
        let part = new.get(from..to).ok_or(EINVAL)?;
        put_bytes(medium, buffer, (at + from) as u64, part)?;
        old.get_mut(from..to).ok_or(EINVAL)?.copy_from_slice(part);
        from = to;
    }
    Ok(())
}
