// SPDX-License-Identifier: GPL-2.0

//! A zone that is a ring of bytes: console, pmsg, tty.

use crate::{
    backend::Context,
    sys::{
        mem::PersistentMem,
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
        atomic::{
            Atomic,
            Relaxed, //
        },
        Mutex, //
    },
};
use mpstore_format::{
    layout::Zone,
    ram::{
        Garbage,
        Header,
        Ring,
        HEADER_BYTES,
        SIGNATURE, //
    },
};

/// Reads and checks a zone's header.
pub(super) fn check(mem: &PersistentMem, zone: Zone) -> Result<Ring, Garbage> {
    let mut raw = [0; HEADER_BYTES];
    mem.read(zone.offset, &mut raw);
    Ring::check(Header::from_bytes(raw), SIGNATURE, capacity(zone))
}

/// Writes a zone's header.
pub(super) fn write_header(mem: &PersistentMem, zone: Zone, ring: &Ring) {
    mem.write(zone.offset, &ring.header(SIGNATURE).to_bytes());
}

/// Bytes of data that a zone holds.
pub(super) fn capacity(zone: Zone) -> usize {
    zone.len.saturating_sub(HEADER_BYTES)
}

/// Appends to the data of a ring, whose header is written by the caller.
pub(super) fn append(mem: &PersistentMem, zone: Zone, ring: &mut Ring, bytes: &[u8]) {
    let plan = ring.append(bytes.len());
    let mut rest = bytes.get(plan.skip..).unwrap_or(&[]);
    for span in plan.spans {
        let Some((part, after)) = rest.split_at_checked(span.len) else {
            return;
        };
        mem.write(zone.offset + HEADER_BYTES + span.at, part);
        rest = after;
    }
}

/// Copies a ring's data out, oldest byte first. `to` has the size of the ring.
pub(super) fn copy_out(mem: &PersistentMem, zone: Zone, ring: &Ring, to: &mut [u8]) {
    let mut rest = to;
    for span in ring.linear() {
        let Some((part, after)) = rest.split_at_mut_checked(span.len) else {
            return;
        };
        mem.read(zone.offset + HEADER_BYTES + span.at, part);
        rest = after;
    }
}

/// A ring zone: what an earlier kernel left in it, and what this one writes.
pub(super) struct Stream {
    zone: Zone,
    /// Start in the upper, size in the lower half: whoever goes on without the lock in a panic
    /// still sees a ring that was true at some moment.
    state: Atomic<u64>,
    lock: RawLock,
    /// The earlier kernel's bytes, until they are erased.
    old: Pin<KBox<Mutex<Option<VVec<u8>>>>>,
    /// What the header was worth.
    pub(super) found: Result<bool, Garbage>,
    /// Whether this kernel's bytes are shown, not the earlier one's.
    live: bool,
}

impl Stream {
    /// Reads what the zone holds and changes nothing. May sleep.
    pub(super) fn new(mem: &PersistentMem, zone: Zone, live: bool) -> Result<Self> {
        let found = check(mem, zone);
        let old = match &found {
            Ok(ring) if !ring.is_empty() => {
                let mut bytes = VVec::from_elem(0, ring.size(), GFP_KERNEL)?;
                copy_out(mem, zone, ring, &mut bytes);
                Some(bytes)
            }
            _ => None,
        };
        Ok(Self {
            zone,
            state: Atomic::new(0),
            lock: RawLock::new(Level::Inner)?,
            old: KBox::pin_init(new_mutex!(old), GFP_KERNEL)?,
            found: found.map(|ring| !ring.is_empty()),
            live,
        })
    }

    /// The ring as this kernel left it last.
    fn ring(&self) -> Ring {
        let state = self.state.load(Relaxed);
        let header = Header {
            sig: SIGNATURE,
            // CAST: The upper half.
            start: (state >> 32) as u32,
            // CAST: The lower half.
            size: state as u32,
        };
        let capacity = capacity(self.zone);
        Ring::check(header, SIGNATURE, capacity).unwrap_or(Ring::empty(capacity))
    }

    fn set_ring(&self, mem: &PersistentMem, ring: &Ring) {
        let header = ring.header(SIGNATURE);
        self.state.store(
            u64::from(header.start) << 32 | u64::from(header.size),
            Relaxed,
        );
        mem.write(self.zone.offset, &header.to_bytes());
    }

    /// Begins this kernel's log.
    pub(super) fn activate(&self, mem: &PersistentMem) {
        self.set_ring(mem, &Ring::empty(capacity(self.zone)));
    }

    /// Appends as one piece. Data first, then the header: what a reset cuts off was never there.
    pub(super) fn append(&self, mem: &PersistentMem, parts: &[&[u8]], context: Context) -> Result {
        let _guard = match context {
            Context::Task => self.lock.lock(),
            Context::Crash => self.lock.lock_crash().ok_or(EBUSY)?,
        };
        let mut ring = self.ring();
        for part in parts {
            append(mem, self.zone, &mut ring, part);
        }
        self.set_ring(mem, &ring);
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
    pub(super) fn read(&self, mem: &PersistentMem) -> Result<VVec<u8>> {
        if self.live {
            let mut bytes = VVec::from_elem(0, capacity(self.zone), GFP_KERNEL)?;
            let size = {
                let _guard = self.lock.lock();
                let ring = self.ring();
                let part = bytes.get_mut(..ring.size()).ok_or(EIO)?;
                copy_out(mem, self.zone, &ring, part);
                ring.size()
            };
            bytes.truncate(size);
            return Ok(bytes);
        }
        let old = self.old.lock();
        let mut bytes = VVec::new();
        bytes.extend_from_slice(old.as_ref().ok_or(ESTALE)?, GFP_KERNEL)?;
        Ok(bytes)
    }

    /// Erases the record. The medium was taken over by this kernel's log already, which stays.
    pub(super) fn erase(&self, mem: &PersistentMem) -> Result {
        if self.live {
            let _guard = self.lock.lock();
            self.set_ring(mem, &Ring::empty(capacity(self.zone)));
            return Ok(());
        }
        self.old.lock().take().map(drop).ok_or(ESTALE)
    }
}
