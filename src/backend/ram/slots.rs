// SPDX-License-Identifier: GPL-2.0

//! The dmesg zones of a region: one dump record each.
//!
//! In-tree code starts at zone 0 after every boot. Here a new dump goes to an empty zone, and only
//! when there is none takes the place of the oldest: a machine that panics again and again keeps as
//! many dumps as it has zones. Part 2 and later of a dump never push out another record.

use super::stream;
use crate::{
    record::{
        Dump,
        Kind,
        RecordId,
        RecordInfo,
        Stamp, //
    },
    sys::{
        context,
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
        Atomic,
        Relaxed, //
    },
};
use mpstore_format::{
    layout::RamLayout,
    ram::{
        Garbage,
        Ring,
        HEADER_BYTES, //
    },
    record::{
        DmesgHeader,
        DMESG_HEADER_MAX, //
    },
    text::{
        head_line,
        split_newest,
        HEAD_LINE_MAX, //
    },
};

/// What a zone holds.
#[derive(Clone, Copy)]
enum Slot {
    Empty,
    Record {
        header: DmesgHeader,
        /// Bytes before the text.
        skip: usize,
        size: usize,
    },
    Garbage(Garbage),
    /// A ring that is no dump record.
    Unknown,
}

/// Tells a record from another in the same zone.
fn cookie(stamp: Stamp) -> u64 {
    stamp
        .sec
        .wrapping_mul(1_000_000)
        .wrapping_add(u64::from(stamp.usec))
}

pub(super) struct Slots {
    /// A bit for each zone that holds a record.
    used: VVec<Atomic<u64>>,
    count: usize,
    /// Where the next dump goes if no zone is empty: behind the newest.
    next: Atomic<usize>,
    lock: RawLock,
    pub(super) found: Found,
}

/// What was in the zones when they were looked at.
#[derive(Default, Clone, Copy)]
pub(super) struct Found {
    /// Zones with this format's signature.
    pub(super) ours: usize,
    /// Zones with a record.
    pub(super) records: usize,
    /// Zones with something else.
    pub(super) garbage: usize,
}

impl Slots {
    /// Looks at all zones and changes nothing. May sleep.
    pub(super) fn new(mem: &PersistentMem, layout: &RamLayout) -> Result<Self> {
        let count = layout.dmesg_count();
        let mut used = VVec::with_capacity(count.div_ceil(64), GFP_KERNEL)?;
        for _ in 0..count.div_ceil(64) {
            used.push(Atomic::new(0), GFP_KERNEL)?;
        }
        let mut this = Self {
            used,
            count,
            next: Atomic::new(0),
            lock: RawLock::new(Level::Inner)?,
            found: Found::default(),
        };
        let (mut found, mut newest) = (Found::default(), 0);
        for index in 0..count {
            match this.look(mem, layout, index) {
                Slot::Record { header, .. } => {
                    found.records += 1;
                    found.ours += 1;
                    this.mark(index, true);
                    let time = cookie(header.stamp);
                    if time >= newest {
                        newest = time;
                        this.next.store((index + 1) % count, Relaxed);
                    }
                }
                Slot::Empty => found.ours += 1,
                Slot::Unknown => {
                    found.ours += 1;
                    found.garbage += 1;
                }
                Slot::Garbage(Garbage::Counters { .. }) => {
                    found.ours += 1;
                    found.garbage += 1;
                }
                Slot::Garbage(Garbage::Signature(_)) => found.garbage += 1,
            }
        }
        this.found = found;
        Ok(this)
    }

    fn look(&self, mem: &PersistentMem, layout: &RamLayout, index: usize) -> Slot {
        let Some(zone) = layout.dmesg(index) else {
            return Slot::Empty;
        };
        let ring = match stream::check(mem, zone) {
            Ok(ring) => ring,
            Err(garbage) => return Slot::Garbage(garbage),
        };
        if ring.is_empty() {
            return Slot::Empty;
        }
        let mut head = [0; DMESG_HEADER_MAX];
        mem.read(zone.offset + HEADER_BYTES, &mut head);
        let head = head.get(..ring.size()).unwrap_or(&head);
        match DmesgHeader::parse(head) {
            Some((header, skip)) => Slot::Record {
                header,
                skip,
                size: ring.size(),
            },
            None => Slot::Unknown,
        }
    }

    fn mark(&self, index: usize, used: bool) {
        if let Some(word) = self.used.get(index / 64) {
            let bit = 1u64 << (index % 64);
            let old = word.load(Relaxed);
            word.store(if used { old | bit } else { old & !bit }, Relaxed);
        }
    }

    /// The zone for the next record: the first empty one from `next` on, else `next` itself.
    fn pick(&self, may_replace: bool) -> Option<usize> {
        let next = self.next.load(Relaxed) % self.count.max(1);
        let free_from = |from: usize, to: usize| {
            let mut index = from;
            while index < to {
                let word = self.used.get(index / 64)?.load(Relaxed) >> (index % 64);
                // CAST: At most 64.
                let taken = word.trailing_ones() as usize;
                let left = 64 - index % 64;
                if taken < left {
                    return Some(index + taken).filter(|i| *i < to);
                }
                index += left;
            }
            None
        };
        free_from(next, self.count)
            .or_else(|| free_from(0, next))
            .or_else(|| (may_replace && self.count > 0).then_some(next))
    }

    /// Gives zones with garbage an empty header.
    pub(super) fn activate(&self, mem: &PersistentMem, layout: &RamLayout) {
        for index in 0..self.count {
            if let (Slot::Garbage(_) | Slot::Unknown, Some(zone)) =
                (self.look(mem, layout, index), layout.dmesg(index))
            {
                stream::write_header(mem, zone, &Ring::empty(stream::capacity(zone)));
            }
        }
    }

    /// Keeps a dump. Crash context.
    pub(super) fn dump(&self, mem: &PersistentMem, layout: &RamLayout, dump: &Dump<'_>) -> Result {
        let _guard = self.lock.lock_crash().ok_or(EBUSY)?;
        let mut header = [0; DMESG_HEADER_MAX];
        let header_len = DmesgHeader {
            stamp: dump.stamp,
            compressed: false,
        }
        .encode(&mut header);
        let header = header.get(..header_len).unwrap_or(&[]);
        let (mut rest, mut stored) = (dump.text, 0);
        for part in 1u32.. {
            if rest.is_empty() || (part > 1 && stored >= dump.limit) {
                break;
            }
            let Some((index, zone)) = self
                .pick(part == 1)
                .and_then(|index| Some((index, layout.dmesg(index)?)))
            else {
                // Only part 1 is owed a place.
                return if part > 1 { Ok(()) } else { Err(ENOSPC) };
            };
            let mut title = [0; HEAD_LINE_MAX];
            let title_len = head_line(&mut title, dump.reason, dump.count, part);
            let title = title.get(..title_len).unwrap_or(&[]);
            let room = stream::capacity(zone).saturating_sub(header.len() + title.len());
            let (older, text) = split_newest(rest, room);
            if text.is_empty() {
                break;
            }
            // The zone reads as empty until all of it is there.
            let mut ring = Ring::empty(stream::capacity(zone));
            stream::write_header(mem, zone, &ring);
            for bytes in [header, title, text] {
                stream::append(mem, zone, &mut ring, bytes);
            }
            context::write_barrier();
            stream::write_header(mem, zone, &ring);
            self.mark(index, true);
            self.next.store((index + 1) % self.count.max(1), Relaxed);
            stored += title.len() + text.len();
            rest = older;
        }
        context::write_barrier();
        Ok(())
    }

    /// Calls `f` for every record.
    pub(super) fn records(
        &self,
        mem: &PersistentMem,
        layout: &RamLayout,
        f: &mut dyn FnMut(&RecordInfo) -> Result,
    ) -> Result {
        for index in 0..self.count {
            if let Slot::Record { header, skip, size } = self.look(mem, layout, index) {
                f(&RecordInfo {
                    id: RecordId {
                        kind: Kind::Dmesg,
                        id: index as u64,
                        cookie: cookie(header.stamp),
                    },
                    size: size - skip,
                    stamp: Some(header.stamp),
                    compressed: header.compressed,
                })?;
            }
        }
        Ok(())
    }

    /// Whether zone `id` still holds the record that is meant. The lock is held.
    fn same(&self, mem: &PersistentMem, layout: &RamLayout, id: &RecordId) -> Result<usize> {
        let index = usize::try_from(id.id)?;
        match self.look(mem, layout, index) {
            Slot::Record { header, .. } if cookie(header.stamp) == id.cookie => Ok(index),
            _ => Err(ESTALE),
        }
    }

    /// Content of a record. May sleep.
    pub(super) fn read(
        &self,
        mem: &PersistentMem,
        layout: &RamLayout,
        id: &RecordId,
    ) -> Result<VVec<u8>> {
        let zone = layout.dmesg(usize::try_from(id.id)?).ok_or(ESTALE)?;
        let mut bytes = VVec::from_elem(0, stream::capacity(zone), GFP_KERNEL)?;
        let (skip, size) = {
            let _guard = self.lock.lock();
            let index = self.same(mem, layout, id)?;
            let Slot::Record { skip, size, .. } = self.look(mem, layout, index) else {
                return Err(ESTALE);
            };
            let ring = stream::check(mem, zone).map_err(|_| ESTALE)?;
            let part = bytes.get_mut(..ring.size()).ok_or(EIO)?;
            stream::copy_out(mem, zone, &ring, part);
            (skip, size)
        };
        let mut text = VVec::new();
        text.extend_from_slice(bytes.get(skip..size).ok_or(EIO)?, GFP_KERNEL)?;
        Ok(text)
    }

    /// Erases a record.
    pub(super) fn erase(&self, mem: &PersistentMem, layout: &RamLayout, id: &RecordId) -> Result {
        let _guard = self.lock.lock();
        let index = self.same(mem, layout, id)?;
        let zone = layout.dmesg(index).ok_or(ESTALE)?;
        stream::write_header(mem, zone, &Ring::empty(stream::capacity(zone)));
        self.mark(index, false);
        Ok(())
    }
}
