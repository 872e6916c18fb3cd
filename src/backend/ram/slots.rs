// SPDX-License-Identifier: GPL-2.0

//! The dmesg zones of a region: one dump record each.
//!
//! In-tree code starts at zone 0 after every boot. Here a new dump goes to an empty zone, and only
//! when there is none takes the place of the oldest: a machine that panics again and again keeps as
//! many dumps as it has zones. Part 2 and later of a dump never push out another record.

use super::area::{
    cookie,
    Area, //
};
use crate::sys::errno::ESTALE;
use crate::{
    compress::Unpacker,
    record::{
        Dump,
        Kind,
        RecordId,
        RecordInfo, //
    },
    sys::{
        bytes,
        context,
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
    dump::EXPANSION_MAX,
    layout::{
        RamLayout,
        Zone, //
    },
    ram::{
        Garbage,
        Ring, //
    },
    record::{
        DmesgHeader,
        DMESG_HEADER_MAX, //
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
        ring: Ring,
    },
    Garbage(Garbage),
    /// A ring that is no dump record.
    Unknown,
}

/// The record that is meant.
struct Same {
    index: usize,
    header: DmesgHeader,
    skip: usize,
    ring: Ring,
}

/// A record as it is shown.
struct Text {
    bytes: KVVec<u8>,
    /// Why it is not decompressed.
    damage: Option<&'static str>,
}

pub(super) struct Slots {
    /// A bit for each zone that holds a record.
    used: KVVec<Atomic<u64>>,
    /// A bit for each zone whose record can't be decompressed, once that was said.
    told: KVVec<Atomic<u64>>,
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
    /// Those of them that begin with zeros, as memory does that was never written.
    pub(super) blank: usize,
}

impl Slots {
    /// Looks at all zones and changes nothing. May sleep.
    pub(super) fn new(area: &Area, layout: &RamLayout) -> Result<Self> {
        let count = layout.dmesg_count();
        let bits = || -> Result<_> {
            let mut bits = KVVec::with_capacity(count.div_ceil(64), GFP_KERNEL)?;
            for _ in 0..count.div_ceil(64) {
                bits.push(Atomic::new(0), GFP_KERNEL)?;
            }
            Ok(bits)
        };
        let mut this = Self {
            used: bits()?,
            told: bits()?,
            count,
            next: Atomic::new(0),
            lock: RawLock::new(Level::Inner)?,
            found: Found::default(),
        };
        let (mut found, mut newest) = (Found::default(), 0);
        for index in 0..count {
            match this.look(area, layout, index) {
                Slot::Record { header, .. } => {
                    found.records += 1;
                    found.ours += 1;
                    this.mark(index, true);
                    let time = cookie(header.stamp);
                    if time >= newest {
                        newest = time;
                        this.next.store((index + 1) % count.max(1), Relaxed);
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
                Slot::Garbage(Garbage::Signature(sig)) => {
                    found.garbage += 1;
                    found.blank += usize::from(sig == 0);
                }
            }
        }
        this.found = found;
        Ok(this)
    }

    fn look(&self, area: &Area, layout: &RamLayout, index: usize) -> Slot {
        let Some(zone) = layout.dmesg(index) else {
            return Slot::Empty;
        };
        let ring = match area.check(zone) {
            Ok(ring) => ring,
            Err(garbage) => return Slot::Garbage(garbage),
        };
        if ring.is_empty() {
            return Slot::Empty;
        }
        match area.dump_header(zone, &ring) {
            Some((header, skip)) => Slot::Record { header, skip, ring },
            None => Slot::Unknown,
        }
    }

    fn mark(&self, index: usize, used: bool) {
        if let Some(word) = self.used.get(index / 64) {
            let bit = 1u64 << (index % 64);
            let old = word.load(Relaxed);
            word.store(if used { old | bit } else { old & !bit }, Relaxed);
        }
        if let Some(word) = self.told.get(index / 64) {
            word.store(word.load(Relaxed) & !(1u64 << (index % 64)), Relaxed);
        }
    }

    /// The zone for the next record: the first empty one from `next` on, else `next` itself.
    ///
    /// Where all are empty that is the first: programs made for the in-tree code look for record 0.
    fn pick(&self, may_replace: bool) -> Option<usize> {
        let next = match self.used.iter().all(|word| word.load(Relaxed) == 0) {
            true => 0,
            false => self.next.load(Relaxed) % self.count.max(1),
        };
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
    pub(super) fn activate(&self, area: &Area, layout: &RamLayout) {
        for index in 0..self.count {
            if let (Slot::Garbage(_) | Slot::Unknown, Some(zone)) =
                (self.look(area, layout, index), layout.dmesg(index))
            {
                area.write_header(zone, &Ring::empty(area.capacity(zone)));
            }
        }
    }

    /// Keeps a dump. Crash context.
    pub(super) fn dump(&self, area: &Area, layout: &RamLayout, dump: &Dump<'_>) -> Result {
        let _guard = self.lock.lock_crash().ok_or(EBUSY)?;
        let line = |compressed, out: &mut [u8; DMESG_HEADER_MAX]| {
            DmesgHeader {
                stamp: dump.stamp,
                compressed,
            }
            .encode(out)
        };
        let mut header = [0; DMESG_HEADER_MAX];
        let header_len = line(false, &mut header);
        let mut parts = dump.parts();
        while parts.more() {
            let first = parts.number() == 1;
            let Some((index, zone)) = self
                .pick(first)
                .and_then(|index| Some((index, layout.dmesg(index)?)))
            else {
                // Only part 1 is owed a place.
                return if first { Err(ENOSPC) } else { Ok(()) };
            };
            let Some(part) = parts.next(area.capacity(zone).saturating_sub(header_len)) else {
                break;
            };
            // As long as before.
            line(part.method().is_some(), &mut header);
            // The zone reads as empty until all of it is there.
            let mut ring = Ring::empty(area.capacity(zone));
            area.write_header(zone, &ring);
            area.append(zone, &mut ring, header.get(..header_len).unwrap_or(&[]));
            part.write(&mut |bytes| area.append(zone, &mut ring, bytes));
            context::write_barrier();
            area.write_header(zone, &ring);
            self.mark(index, true);
            self.next.store((index + 1) % self.count.max(1), Relaxed);
        }
        context::write_barrier();
        Ok(())
    }

    /// Calls `f` for every record. May sleep.
    ///
    /// The size of a compressed record is that of its text, and with parity a notice at the end
    /// tells what was corrected: such are left open.
    pub(super) fn records(
        &self,
        area: &Area,
        layout: &RamLayout,
        f: &mut dyn FnMut(&RecordInfo) -> Result,
    ) -> Result {
        for index in 0..self.count {
            if let Slot::Record { header, skip, ring } = self.look(area, layout, index) {
                f(&RecordInfo {
                    id: RecordId {
                        kind: Kind::Dmesg,
                        id: index as u64,
                        cookie: cookie(header.stamp),
                    },
                    size: ring.size().saturating_sub(skip),
                    stamp: Some(header.stamp),
                    compressed: false,
                    open: header.compressed || area.has_ecc(),
                })?;
            }
        }
        Ok(())
    }

    /// What was left open of a record of the backend `name`. May sleep.
    pub(super) fn settle(
        &self,
        name: &CStr,
        area: &Area,
        layout: &RamLayout,
        id: &RecordId,
    ) -> Result<(KVVec<u8>, bool)> {
        let text = self.fetch(area, layout, id)?;
        if let Some(why) = text.damage {
            self.complain(name, usize::try_from(id.id)?, why);
        }
        Ok((text.bytes, text.damage.is_some()))
    }

    /// Whether a record is still there. May sleep.
    pub(super) fn still(&self, area: &Area, layout: &RamLayout, id: &RecordId) -> Result {
        let _guard = self.lock.lock().ok_or(EBUSY)?;
        self.same(area, layout, id).map(drop)
    }

    /// Says, once for each record, why it is shown as it is.
    fn complain(&self, name: &CStr, index: usize, why: &str) {
        let bit = 1u64 << (index % 64);
        if let Some(word) = self.told.get(index / 64) {
            let old = word.load(Relaxed);
            word.store(old | bit, Relaxed);
            if old & bit == 0 {
                pr_warn!(
                    "{}: dmesg record {} can't be decompressed and is shown as it is: {}\n",
                    name,
                    index,
                    why
                );
            }
        }
    }

    /// Whether zone `id` still holds the record that is meant, and where in its ring the text is.
    /// The lock is held.
    fn same(&self, area: &Area, layout: &RamLayout, id: &RecordId) -> Result<Same> {
        let index = usize::try_from(id.id)?;
        match self.look(area, layout, index) {
            Slot::Record { header, skip, ring } if cookie(header.stamp) == id.cookie => Ok(Same {
                index,
                header,
                skip,
                ring,
            }),
            _ => Err(ESTALE),
        }
    }

    /// Content of a record. May sleep.
    pub(super) fn read(&self, area: &Area, layout: &RamLayout, id: &RecordId) -> Result<KVVec<u8>> {
        Ok(self.fetch(area, layout, id)?.bytes)
    }

    fn fetch(&self, area: &Area, layout: &RamLayout, id: &RecordId) -> Result<Text> {
        let zone = layout.dmesg(usize::try_from(id.id)?).ok_or(ESTALE)?;
        let mut bytes = KVVec::with_capacity(zone.len, GFP_KERNEL)?;
        if area.has_ecc() {
            {
                let _guard = self.lock.lock().ok_or(EBUSY)?;
                self.same(area, layout, id)?;
                area.copy_raw_more(zone, &mut bytes);
            }
            let content = area.content(bytes)?;
            let (header, skip) = DmesgHeader::parse(&content.bytes).ok_or(ESTALE)?;
            let stored = bytes::copy(content.bytes.get(skip..).unwrap_or(&[]))?;
            let mut text = Self::unpack(area, zone, header, stored)?;
            if let Some(notice) = area.notice(content.repair)? {
                bytes::append(&mut text.bytes, notice.to_bytes())?;
            }
            return Ok(text);
        }
        let header = {
            let _guard = self.lock.lock().ok_or(EBUSY)?;
            let same = self.same(area, layout, id)?;
            area.copy_more(zone, &same.ring, same.skip, &mut bytes);
            same.header
        };
        Self::unpack(area, zone, header, bytes)
    }

    fn unpack(area: &Area, zone: Zone, header: DmesgHeader, stored: KVVec<u8>) -> Result<Text> {
        let whole = Text {
            bytes: stored,
            damage: None,
        };
        if !header.compressed {
            return Ok(whole);
        }
        // The in-tree reader's limit; no writer should have put in more.
        let limit = area.capacity(zone).saturating_mul(EXPANSION_MAX);
        let mut unpacker = Unpacker::default();
        let damage = unpacker.unpack(&whole.bytes, limit)?.err();
        Ok(match damage {
            None => Text {
                bytes: unpacker.take(),
                damage,
            },
            Some(_) => Text { damage, ..whole },
        })
    }

    /// Erases a record.
    pub(super) fn erase(&self, area: &Area, layout: &RamLayout, id: &RecordId) -> Result {
        let _guard = self.lock.lock().ok_or(EBUSY)?;
        let index = self.same(area, layout, id)?.index;
        let zone = layout.dmesg(index).ok_or(ESTALE)?;
        area.write_header(zone, &Ring::empty(area.capacity(zone)));
        self.mark(index, false);
        Ok(())
    }
}
