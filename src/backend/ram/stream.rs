// SPDX-License-Identifier: GPL-2.0

//! A zone that is a ring of bytes: console, pmsg, tty.

use super::area::{
    Area,
    Place, //
};
use crate::sys::errno::{
    EOPNOTSUPP,
    ESTALE, //
};
use crate::{
    backend::Context,
    sys::{
        bytes,
        context,
        inline_atomic,
        mem::UserBytes,
        raw_lock::{
            Level,
            RawLock, //
        }, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::Atomic,
        Mutex, //
    },
};
use mpstore_format::{
    layout::Zone,
    ram::{
        Garbage,
        Ring, //
    },
};

/// A ring zone: what an earlier kernel left in it, and what this one writes.
pub(super) struct Stream {
    zone: Zone,
    place: Place,
    /// The counters, in one word: whoever goes on without the lock in a panic still sees a ring
    /// that was true at some moment.
    state: Atomic<u64>,
    lock: RawLock,
    /// The earlier kernel's bytes, until they are erased.
    old: Pin<KBox<Mutex<Option<KVVec<u8>>>>>,
    /// What the header was worth.
    pub(super) found: Result<bool, Garbage>,
    /// Whether this kernel's bytes are shown, not the earlier one's.
    live: bool,
}

impl Stream {
    /// Reads what the zone holds and changes nothing. May sleep.
    pub(super) fn new(area: &Area, zone: Zone, live: bool) -> Result<Self> {
        let found = area.check(zone);
        let old = match &found {
            Ok(ring) if !ring.is_empty() => {
                let mut raw = KVVec::with_capacity(zone.len, GFP_KERNEL)?;
                area.copy_raw_more(zone, &mut raw);
                let mut content = area.content(raw)?;
                if let Some(notice) = area.notice(content.repair)? {
                    bytes::append(&mut content.bytes, notice.to_bytes())?;
                }
                Some(content.bytes)
            }
            _ => None,
        };
        Ok(Self {
            zone,
            place: area.place(zone).ok_or(EINVAL)?,
            state: Atomic::new(0),
            lock: RawLock::new(Level::Inner)?,
            old: KBox::pin_init(new_mutex!(old), GFP_KERNEL)?,
            found: found.map(|ring| !ring.is_empty()),
            live,
        })
    }

    /// The zone as it is at this moment.
    #[cfg(CONFIG_BLOCK)]
    pub(super) fn copy(&self, area: &Area, to: &mut [u8]) -> Ring {
        let _guard = self.lock.lock();
        area.copy_raw(self.zone, to);
        self.ring()
    }

    /// The ring as this kernel left it last.
    pub(super) fn ring(&self) -> Ring {
        let state = inline_atomic::read_once(&self.state);
        // CAST: The lower and the upper half.
        let counters = [state as u32, (state >> 32) as u32];
        let capacity = self.place.capacity();
        Ring::of(counters, capacity).unwrap_or(Ring::empty(capacity))
    }

    fn set_ring(&self, area: &Area, ring: &Ring) {
        let [start, size] = ring.counters();
        inline_atomic::write_once(&self.state, u64::from(size) << 32 | u64::from(start));
        area.write_counters(&self.place, ring);
    }

    /// Begins this kernel's log.
    pub(super) fn activate(&self, area: &Area) {
        let ring = Ring::empty(self.place.capacity());
        area.write_header(self.zone, &ring);
        self.set_ring(area, &ring);
    }

    /// Appends as one piece. Data first, then the header: what a reset cuts off was never there.
    pub(super) fn append(&self, area: &Area, parts: &[&[u8]], how: Context) -> Result {
        let _guard = match how {
            Context::Task => self.lock.lock(),
            Context::Crash => self.lock.lock_crash(),
        }
        .ok_or(EBUSY)?;
        let mut ring = self.ring();
        area.append_parts_at(&self.place, &mut ring, parts);
        context::write_barrier();
        self.set_ring(area, &ring);
        // A reset must not find it in a write-combining buffer.
        context::write_barrier();
        Ok(())
    }

    /// The same for bytes of the running task. After an `EFAULT` nothing was appended; it is then up
    /// to the caller to append the same bytes by way of memory that is there, since what was copied
    /// is beyond the end of the ring or over its oldest bytes.
    pub(super) fn append_user(&self, area: &Area, bytes: UserBytes) -> Result {
        let _guard = self.lock.try_once().ok_or(EOPNOTSUPP)?;
        let mut ring = self.ring();
        area.append_user_at(&self.place, &mut ring, bytes)?;
        context::write_barrier();
        self.set_ring(area, &ring);
        context::write_barrier();
        Ok(())
    }

    /// Bytes that can be read, zero if there is no record.
    pub(super) fn size(&self) -> usize {
        if self.live {
            return self.ring().size();
        }
        self.old.lock().as_ref().map_or(0, |old| old.len())
    }

    /// The record. May sleep.
    pub(super) fn read(&self, area: &Area) -> Result<KVVec<u8>> {
        if self.live {
            let mut bytes = KVVec::with_capacity(self.place.capacity(), GFP_KERNEL)?;
            let _guard = self.lock.lock().ok_or(EBUSY)?;
            area.copy_more(self.zone, &self.ring(), 0, &mut bytes);
            return Ok(bytes);
        }
        bytes::copy(self.old.lock().as_ref().ok_or(ESTALE)?)
    }

    /// Erases the record. The medium was taken over by this kernel's log already, which stays.
    pub(super) fn erase(&self, area: &Area) -> Result {
        if self.live {
            let _guard = self.lock.lock().ok_or(EBUSY)?;
            self.set_ring(area, &Ring::empty(self.place.capacity()));
            return Ok(());
        }
        self.old.lock().take().map(drop).ok_or(ESTALE)
    }
}
