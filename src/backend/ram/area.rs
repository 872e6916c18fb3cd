// SPDX-License-Identifier: GPL-2.0

//! Zones as bytes on the medium: header, ring, parity. Where ECC is on, every write also writes
//! the parity of what it touched, and every read is of a corrected copy.

use crate::{
    record::Stamp,
    sys::{
        bytes,
        mem::{
            PersistentMem,
            UserBytes, //
        }, //
    },
};
use kernel::{
    prelude::*,
    str::CString,
    sync::atomic::{
        Atomic,
        Relaxed, //
    }, //
};
use mpstore_format::{
    ecc::{
        repair_zone,
        Codec,
        EccGeometry,
        Repair,
        BLOCK_BYTES,
        ECC_SIZE_MAX, //
    },
    layout::Zone,
    ram::{
        Garbage,
        Header,
        Ring,
        Span,
        HEADER_BYTES,
        SIGNATURE, //
    },
    record::{
        DmesgHeader,
        DMESG_HEADER_MAX, //
    },
};
use zerocopy::{
    Immutable,
    IntoBytes, //
};

/// Where a header's counters are, behind its signature.
const COUNTERS_AT: usize = core::mem::offset_of!(Header, start);

/// The mapped region, and how its zones are protected.
pub(super) struct Area {
    mem: PersistentMem,
    codec: Option<Codec>,
    /// Damage that was found, for those who ask.
    corrected: Atomic<u64>,
    lost: Atomic<u64>,
}

/// A zone and how it is divided.
#[derive(Clone, Copy)]
pub(super) struct Place {
    zone: Zone,
    geometry: EccGeometry,
}

impl Place {
    /// Bytes of data that the zone holds.
    pub(super) fn capacity(&self) -> usize {
        self.geometry.capacity()
    }
}

/// Content of a zone in order, and what it took to get it.
pub(super) struct Content {
    /// The bytes, oldest first.
    pub(super) bytes: KVVec<u8>,
    /// Damage.
    pub(super) repair: Repair,
}

impl Area {
    /// `ecc_size` parity bytes for each block, 0 for none.
    pub(super) fn new(mem: PersistentMem, ecc_size: usize) -> Result<Self> {
        let codec = match ecc_size {
            0 => None,
            size => Some(Codec::new(size)?),
        };
        Ok(Self {
            mem,
            codec,
            corrected: Atomic::new(0),
            lost: Atomic::new(0),
        })
    }

    /// Damage found so far.
    pub(super) fn repairs(&self) -> Repair {
        let count = |n: &Atomic<u64>| usize::try_from(n.load(Relaxed)).unwrap_or(usize::MAX);
        Repair {
            corrected: count(&self.corrected),
            lost: count(&self.lost),
        }
    }

    /// Whether zones carry parity.
    pub(super) fn has_ecc(&self) -> bool {
        self.codec.is_some()
    }

    fn ecc_size(&self) -> usize {
        self.codec.as_ref().map_or(0, Codec::ecc_size)
    }

    fn geometry(&self, zone: Zone) -> Option<EccGeometry> {
        EccGeometry::new(zone.len, self.ecc_size()).ok()
    }

    /// Bytes of data that a zone holds.
    pub(super) fn capacity(&self, zone: Zone) -> usize {
        self.geometry(zone).map_or(0, |g| g.capacity())
    }

    /// Reads and checks a zone's header.
    pub(super) fn check(&self, zone: Zone) -> Result<Ring, Garbage> {
        Ring::check(self.header(zone), SIGNATURE, self.capacity(zone))
    }

    /// Reads a zone's header, corrected.
    pub(super) fn header(&self, zone: Zone) -> Header {
        let mut raw = [0; HEADER_BYTES];
        self.mem.read(zone.offset, &mut raw);
        if let Some(span) = self.geometry(zone).and_then(|g| g.header_parity()) {
            self.correct(zone, span, &mut raw);
        }
        Header::from_bytes(raw)
    }

    /// Corrects a copy of one block by the parity at `span`, if that is possible.
    fn correct(&self, zone: Zone, span: Span, data: &mut [u8]) {
        let mut parity = [0; ECC_SIZE_MAX];
        if let (Some(codec), Some(parity)) = (&self.codec, parity.get_mut(..span.len)) {
            self.mem.read(zone.offset + HEADER_BYTES + span.at, parity);
            // What can't be corrected is judged like any other content.
            let _ = codec.decode(data, parity);
        }
    }

    /// Writes the parity of `data` to `span`.
    fn protect(&self, zone: Zone, span: Span, data: &[u8]) {
        let Some(codec) = &self.codec else { return };
        let at = zone.offset + HEADER_BYTES + span.at;
        if let Some(parity) = codec.encode_default(data) {
            return self.mem.write(at, &parity);
        }
        let mut parity = [0; ECC_SIZE_MAX];
        if let Some(parity) = parity.get_mut(..span.len) {
            codec.encode(data, parity);
            self.mem.write(at, parity);
        }
    }

    /// A zone with what is known about it, for who writes to it often.
    pub(super) fn place(&self, zone: Zone) -> Option<Place> {
        Some(Place {
            zone,
            geometry: self.geometry(zone)?,
        })
    }

    /// Writes a zone's header.
    pub(super) fn write_header(&self, zone: Zone, ring: &Ring) {
        self.write_header_as(zone, ring.header(SIGNATURE));
    }

    /// Writes this header to a zone.
    pub(super) fn write_header_as(&self, zone: Zone, header: Header) {
        if let Some(place) = self.place(zone) {
            self.put_header(&place, header);
        }
    }

    /// Writes the counters of a zone that has its signature already, in one store.
    #[inline]
    pub(super) fn write_counters(&self, place: &Place, ring: &Ring) {
        let at = place.zone.offset.wrapping_add(COUNTERS_AT);
        self.mem.put(at, ring.counters());
        if let Some(span) = place.geometry.header_parity() {
            self.protect(place.zone, span, &ring.header(SIGNATURE).to_bytes());
        }
    }

    fn put_header(&self, place: &Place, header: Header) {
        self.mem
            .write_words(place.zone.offset, [header.sig, header.start, header.size]);
        if let Some(span) = place.geometry.header_parity() {
            self.protect(place.zone, span, &header.to_bytes());
        }
    }

    /// Appends to the data of a ring, whose header is written by the caller.
    pub(super) fn append(&self, zone: Zone, ring: &mut Ring, bytes: &[u8]) {
        if let Some(place) = self.place(zone) {
            self.append_at(&place, ring, bytes);
        }
    }

    /// The same with the geometry known.
    pub(super) fn append_at(&self, place: &Place, ring: &mut Ring, bytes: &[u8]) {
        let zone = place.zone;
        if let Some(at) = ring.append_within(bytes.len()) {
            self.mem.write(zone.offset + HEADER_BYTES + at, bytes);
            let len = bytes.len();
            return self.protect_span(place, Span { at, len });
        }
        let plan = ring.append(bytes.len());
        let mut rest = bytes.get(plan.skip..).unwrap_or(&[]);
        for span in plan.spans {
            let Some((part, after)) = rest.split_at_checked(span.len) else {
                return;
            };
            if span.len == 0 {
                // Most writes do not reach the end of the ring.
                return;
            }
            self.mem.write(zone.offset + HEADER_BYTES + span.at, part);
            self.protect_span(place, span);
            rest = after;
        }
    }

    /// Appends `parts` one behind the other, as [`Self::append_at`]. Where all go in one piece, what
    /// they touch is protected once.
    pub(super) fn append_parts_at(&self, place: &Place, ring: &mut Ring, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum();
        let Some(at) = ring.append_within(len) else {
            for part in parts {
                self.append_at(place, ring, part);
            }
            return;
        };
        let mut to = place.zone.offset + HEADER_BYTES + at;
        for part in parts {
            self.mem.write(to, part);
            to += part.len();
        }
        self.protect_span(place, Span { at, len });
    }

    /// Stores a small value at an offset into a zone, without parity. Calls nothing.
    #[inline]
    pub(super) fn put<T: IntoBytes + Immutable>(&self, zone: Zone, at: usize, value: T) {
        self.mem.put(zone.offset.wrapping_add(at), value);
    }

    /// The same for bytes of the running task. Fails with `EFAULT` like
    /// [`PersistentMem::write_user`].
    pub(super) fn append_user_at(
        &self,
        place: &Place,
        ring: &mut Ring,
        bytes: UserBytes,
    ) -> Result {
        let zone = place.zone;
        if let Some(at) = ring.append_within(bytes.len()) {
            self.mem
                .write_user(zone.offset + HEADER_BYTES + at, bytes)?;
            let len = bytes.len();
            self.protect_span(place, Span { at, len });
            return Ok(());
        }
        let plan = ring.append(bytes.len());
        let mut at = plan.skip;
        for span in plan.spans {
            if span.len == 0 {
                break;
            }
            let part = bytes.part(at, span.len);
            self.mem
                .write_user(zone.offset + HEADER_BYTES + span.at, part)?;
            self.protect_span(place, span);
            at += span.len;
        }
        Ok(())
    }

    /// Encodes the blocks that `span` touches anew, from what is in memory.
    #[inline]
    fn protect_span(&self, place: &Place, span: Span) {
        if place.geometry.ecc_size() > 0 {
            self.encode_span(place, span);
        }
    }

    #[inline(never)]
    fn encode_span(&self, place: &Place, span: Span) {
        let (zone, geometry) = (place.zone, &place.geometry);
        // Clearing it for each block would be a good part of the work.
        let mut data = [0; BLOCK_BYTES];
        for block in geometry.touched(span).filter_map(|i| geometry.block(i)) {
            if let Some(data) = data.get_mut(..block.data.len) {
                self.mem
                    .read(zone.offset + HEADER_BYTES + block.data.at, data);
                self.protect(zone, block.parity, data);
            }
        }
    }

    /// Reads data from `span` on, corrected, into `to`, which is no longer than the span.
    fn read_corrected(&self, zone: Zone, span: Span, to: &mut [u8]) {
        let geometry = self.geometry(zone).filter(|g| g.ecc_size() > 0);
        let Some(geometry) = geometry else {
            return self.mem.read(zone.offset + HEADER_BYTES + span.at, to);
        };
        for block in geometry.touched(span).filter_map(|i| geometry.block(i)) {
            let mut data = [0; BLOCK_BYTES];
            let Some(data) = data.get_mut(..block.data.len) else {
                return;
            };
            self.mem
                .read(zone.offset + HEADER_BYTES + block.data.at, data);
            self.correct(zone, block.parity, data);
            let (skip, at) = (
                span.at.saturating_sub(block.data.at),
                block.data.at.saturating_sub(span.at),
            );
            let from = data.get(skip..).unwrap_or(&[]);
            for (to, from) in to.iter_mut().skip(at).zip(from) {
                *to = *from;
            }
        }
    }

    /// The header line of the dump record in a zone, and its length.
    pub(super) fn dump_header(&self, zone: Zone, ring: &Ring) -> Option<(DmesgHeader, usize)> {
        let mut head = [0; DMESG_HEADER_MAX];
        let mut done = 0;
        for span in ring.linear() {
            let rest = head.get_mut(done..)?;
            let len = span.len.min(rest.len());
            self.read_corrected(zone, Span { at: span.at, len }, rest.get_mut(..len)?);
            done += len;
        }
        DmesgHeader::parse(head.get(..done)?)
    }

    /// Copies a ring's data in order, as it is and without the first `skip` bytes, to the end of
    /// `to`, as far as there is room.
    pub(super) fn copy_more(&self, zone: Zone, ring: &Ring, mut skip: usize, to: &mut KVVec<u8>) {
        for span in ring.linear() {
            let less = skip.min(span.len);
            skip -= less;
            let at = zone.offset + HEADER_BYTES + span.at + less;
            self.mem.read_more(at, span.len - less, to);
        }
    }

    /// Copies a whole zone, header and parity included. Any context.
    #[cfg(CONFIG_BLOCK)]
    pub(super) fn copy_raw(&self, zone: Zone, to: &mut [u8]) {
        self.mem.read(zone.offset, to);
    }

    /// The same to the end of `to`, which has room for it.
    pub(super) fn copy_raw_more(&self, zone: Zone, to: &mut KVVec<u8>) {
        self.mem.read_more(zone.offset, zone.len, to);
    }

    /// Copies a part of a zone, as it is, from an offset into it. Any context.
    #[cfg(CONFIG_BLOCK)]
    pub(super) fn copy_part(&self, zone: Zone, at: usize, to: &mut [u8]) {
        let len = to.len().min(zone.len.saturating_sub(at));
        if let Some(to) = to.get_mut(..len) {
            self.mem.read(zone.offset.saturating_add(at), to);
        }
    }

    /// Takes the content out of a copy made by [`Self::copy_raw`], corrected. May sleep.
    pub(super) fn content(&self, raw: KVVec<u8>) -> Result<Content> {
        self.content_as(raw, SIGNATURE)
    }

    /// [`Self::content`] of a zone with this signature.
    pub(super) fn content_as(&self, mut raw: KVVec<u8>, sig: u32) -> Result<Content> {
        let repair = repair_zone(&mut raw, sig, self.ecc_size())?;
        self.corrected.fetch_add(repair.corrected as u64, Relaxed);
        self.lost.fetch_add(repair.lost as u64, Relaxed);
        let capacity = EccGeometry::new(raw.len(), self.ecc_size())?.capacity();
        let (header, data) = raw.split_first_chunk::<HEADER_BYTES>().ok_or(EIO)?;
        let ring = Ring::check(Header::from_bytes(*header), sig, capacity)
            .unwrap_or(Ring::empty(capacity));
        let mut bytes = KVVec::with_capacity(ring.size(), GFP_KERNEL)?;
        for span in ring.linear() {
            bytes::append(&mut bytes, span.of(data))?;
        }
        Ok(Content { bytes, repair })
    }

    /// What is appended to a record's content about its damage, as in-tree; nothing without ECC.
    pub(super) fn notice(&self, repair: Repair) -> Result<Option<CString>> {
        if self.codec.is_none() {
            return Ok(None);
        }
        let notice = if repair == Repair::default() {
            CString::try_from_fmt(fmt!("\nECC: No errors detected\n"))?
        } else {
            CString::try_from_fmt(fmt!(
                "\nECC: {} Corrected bytes, {} unrecoverable blocks\n",
                repair.corrected,
                repair.lost
            ))?
        };
        Ok(Some(notice))
    }
}

/// Tells a record from another in the same zone.
pub(super) fn cookie(stamp: Stamp) -> u64 {
    stamp
        .sec
        .wrapping_mul(1_000_000)
        .wrapping_add(u64::from(stamp.usec))
}
