// SPDX-License-Identifier: GPL-2.0

//! A zone of persistent RAM: a ring of bytes behind a twelve byte header.
//!
//! ```text
//!   0      4       8      12                     12 + capacity
//!   +------+-------+------+---------------------+-----------------------------+
//!   | sig  | start | size | data                | parity (see `ecc`), if any  |
//!   +------+-------+------+---------------------+-----------------------------+
//! ```
//!
//! `start` is where the next byte goes and `size` is how many bytes are valid. A ring that was
//! never full has its text at `data[..size]`; in a full one the oldest byte is at `start`. Both
//! cases read as `data[start..size]` followed by `data[..start]`.
//!
//! Numbers are in the byte order of the machine, as the in-tree ramoops writes them.

use crate::ecc::EccGeometry;
use crate::error::Error;
use zerocopy::IntoBytes as _;

/// Says that a zone belongs to ramoops; reads "DBGC" in a little endian dump.
pub const SIGNATURE: u32 = 0x4347_4244;

/// Size of [`Header`] on the medium.
pub const HEADER_BYTES: usize = 12;

/// Longest data area that the header's counters describe: the in-tree code holds them as `int`.
pub const CAPACITY_MAX: usize = 0x7fff_ffff;

/// The signature that ramoops gives its function trace zones, which is bound to the kernel's
/// version (`LINUX_VERSION_CODE`): addresses of another kernel would mean nothing.
pub const fn ftrace_signature(version_code: u32) -> u32 {
    SIGNATURE ^ version_code
}

/// What a zone begins with.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    zerocopy_derive::FromBytes,
    zerocopy_derive::IntoBytes,
    zerocopy_derive::Immutable,
    zerocopy_derive::KnownLayout,
)]
#[repr(C)]
pub struct Header {
    /// Whose zone this is.
    pub sig: u32,
    /// Offset of the next byte to be written.
    pub start: u32,
    /// Number of valid bytes.
    pub size: u32,
}

const _: () = {
    assert!(core::mem::size_of::<Header>() == HEADER_BYTES);
    assert!(core::mem::align_of::<Header>() == 4);
    assert!(core::mem::offset_of!(Header, sig) == 0);
    assert!(core::mem::offset_of!(Header, start) == 4);
    assert!(core::mem::offset_of!(Header, size) == 8);
};

impl Header {
    /// The header as it lies on the medium.
    #[inline]
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        for (to, from) in bytes.iter_mut().zip(self.as_bytes()) {
            *to = *from;
        }
        bytes
    }

    /// Reads what lies on the medium. Any twelve bytes are a header; [`Ring::check`] judges it.
    #[inline]
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        zerocopy::transmute!(bytes)
    }
}

/// Why a zone is not ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Garbage {
    /// The signature is this one instead.
    Signature(u32),
    /// The signature fits but the counters contradict each other or the zone.
    Counters {
        /// As found.
        start: u32,
        /// As found.
        size: u32,
    },
}

/// A stretch of bytes, counted from the first byte behind the zone's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Where it begins.
    pub at: usize,
    /// How long it is.
    pub len: usize,
}

impl Span {
    /// The first byte behind it.
    pub const fn end(self) -> usize {
        self.at.saturating_add(self.len)
    }

    /// The bytes it covers, nothing if it reaches beyond `data`.
    pub fn of(self, data: &[u8]) -> &[u8] {
        data.get(self.at..self.end()).unwrap_or(&[])
    }
}

/// Where the bytes of one append go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How many bytes of the input are left out at its front, because later ones would overwrite
    /// them anyway.
    pub skip: usize,
    /// Where the rest goes, in order. Either may be empty. Together they are as long as the input
    /// less `skip`.
    pub spans: [Span; 2],
}

/// The counters of a zone.
///
/// # Invariants
///
/// `start <= size <= capacity <= CAPACITY_MAX`, and `start < capacity` unless both are zero. So
/// every [`Span`] that comes out of a ring lies in `0..capacity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    capacity: usize,
    start: usize,
    size: usize,
}

impl Ring {
    /// A ring without content. A capacity beyond [`CAPACITY_MAX`] is cut to it.
    pub const fn empty(capacity: usize) -> Self {
        // INVARIANT: Both counters are zero, the capacity is limited.
        Self {
            capacity: if capacity > CAPACITY_MAX {
                CAPACITY_MAX
            } else {
                capacity
            },
            start: 0,
            size: 0,
        }
    }

    /// Accepts what a medium says, exactly if the in-tree code would: the signature is `sig`, and
    /// `start <= size <= capacity`.
    ///
    /// `start == capacity` passes that test. It stands for a full ring about to wrap and comes out
    /// as `start == 0`, which reads the same.
    #[inline]
    pub fn check(header: Header, sig: u32, capacity: usize) -> core::result::Result<Self, Garbage> {
        if header.sig != sig {
            return Err(Garbage::Signature(header.sig));
        }
        let garbage = Garbage::Counters {
            start: header.start,
            size: header.size,
        };
        let empty = Self::empty(capacity);
        let start = usize::try_from(header.start).map_err(|_| garbage)?;
        let size = usize::try_from(header.size).map_err(|_| garbage)?;
        if size > empty.capacity || start > size {
            return Err(garbage);
        }
        // INVARIANT: Just checked; the one case left over, `start == capacity`, is mapped to zero.
        Ok(Self {
            start: if start == empty.capacity { 0 } else { start },
            size,
            ..empty
        })
    }

    /// A ring with counters that [`Self::counters`] gave. [`None`] if they contradict each other or
    /// `capacity`.
    #[inline]
    pub fn of(counters: [u32; 2], capacity: usize) -> Option<Self> {
        let [start, size] = counters;
        let header = Header {
            sig: SIGNATURE,
            start,
            size,
        };
        Self::check(header, SIGNATURE, capacity).ok()
    }

    /// The counters as they follow the signature on the medium: `start` and `size`.
    #[inline]
    pub fn counters(&self) -> [u32; 2] {
        let header = self.header(SIGNATURE);
        [header.start, header.size]
    }

    /// The header for the medium.
    #[inline]
    pub fn header(&self, sig: u32) -> Header {
        // By the type invariants neither conversion fails.
        Header {
            sig,
            start: u32::try_from(self.start).unwrap_or(0),
            size: u32::try_from(self.size).unwrap_or(0),
        }
    }

    /// Bytes that the ring can hold.
    pub const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Where the next byte goes.
    pub const fn start(&self) -> usize {
        self.start
    }

    /// Bytes that the ring holds.
    pub const fn size(&self) -> usize {
        self.size
    }

    /// Whether it holds none.
    pub const fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Makes room for `len` bytes at the end, over the oldest ones if need be, and says where they
    /// go.
    #[inline]
    pub fn append(&mut self, len: usize) -> Plan {
        let skip = len.saturating_sub(self.capacity);
        let len = len.saturating_sub(skip);
        // By the type invariants `start <= capacity`.
        let first = len.min(self.capacity.saturating_sub(self.start));
        let plan = Plan {
            skip,
            spans: [
                Span {
                    at: self.start,
                    len: first,
                },
                Span {
                    at: 0,
                    len: len.saturating_sub(first),
                },
            ],
        };
        // INVARIANT: `len <= capacity`, so one subtraction wraps `start` into the ring. If it does
        // not wrap, `start` grew by `len` and `size` by as much or up to the capacity; if it does,
        // `size` is the capacity, since it was at least the old `start`.
        self.size = self.size.saturating_add(len).min(self.capacity);
        let start = self.start.saturating_add(len);
        self.start = start.checked_sub(self.capacity).unwrap_or(start);
        plan
    }

    /// The same if the bytes go in one piece and leave a byte before the end of the ring, as most
    /// do: says where. Otherwise nothing changes.
    #[inline]
    pub fn append_within(&mut self, len: usize) -> Option<usize> {
        let at = self.start;
        let end = at.checked_add(len).filter(|end| *end < self.capacity)?;
        // INVARIANT: `start` grew by `len` and is below the capacity; `size` was no less than
        // `start`, and grew by as much or up to the capacity.
        self.start = end;
        self.size = self.size.saturating_add(len).min(self.capacity);
        Some(at)
    }

    /// Where the content lies, oldest byte first.
    #[inline]
    pub fn linear(&self) -> [Span; 2] {
        [
            Span {
                at: self.start,
                len: self.size.saturating_sub(self.start),
            },
            Span {
                at: 0,
                len: self.start,
            },
        ]
    }
}

/// The header and the rest of a zone.
pub fn split_zone(zone: &[u8]) -> Option<(Header, &[u8])> {
    let (header, area) = zone.split_first_chunk::<HEADER_BYTES>()?;
    Some((Header::from_bytes(*header), area))
}

/// The content of a whole zone, oldest byte first, as it lies there: where the zone has parity
/// (`ecc_size` is not zero), [`crate::ecc::repair_zone`] is to be called before.
///
/// The two slices are to be read as one text. Both are empty in an empty zone.
pub fn zone_text(zone: &[u8], sig: u32, ecc_size: usize) -> crate::Result<[&[u8]; 2]> {
    let geometry = EccGeometry::new(zone.len(), ecc_size)?;
    let (header, area) = split_zone(zone).ok_or(Error::ZoneTooSmall { len: zone.len() })?;
    let ring = Ring::check(header, sig, geometry.capacity())?;
    Ok(ring.linear().map(|span| span.of(area)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STRIDE;

    fn header(start: u32, size: u32) -> Header {
        Header {
            sig: SIGNATURE,
            start,
            size,
        }
    }

    fn check(start: u32, size: u32, capacity: usize) -> core::result::Result<Ring, Garbage> {
        Ring::check(header(start, size), SIGNATURE, capacity)
    }

    /// Carries a plan out.
    fn write(ring: &mut Ring, data: &mut [u8], text: &[u8]) {
        let plan = ring.append(text.len());
        let mut rest = &text[plan.skip..];
        for span in plan.spans {
            let (now, later) = rest.split_at(span.len);
            data[span.at..span.end()].copy_from_slice(now);
            rest = later;
        }
        assert!(rest.is_empty());
    }

    fn read(ring: &Ring, data: &[u8]) -> Vec<u8> {
        ring.linear().map(|span| span.of(data)).concat()
    }

    #[test]
    fn header_bytes_are_those_of_the_medium() {
        let bytes = [
            0x44, 0x42, 0x47, 0x43, 0x75, 0, 0, 0, 0x76, 0, 0, 0, //
        ];
        let expected = header(0x75, 0x76);
        assert_eq!(Header::from_bytes(bytes), expected);
        assert_eq!(expected.to_bytes(), bytes);
    }

    #[test]
    fn trace_signature_is_the_one_seen() {
        assert_eq!(ftrace_signature(0x07_03_04), 0x4340_4140);
    }

    #[test]
    fn check_accepts_what_the_in_tree_code_accepts() {
        for (start, size) in [
            (0, 0),
            (0, 100),
            (5, 5),
            (5, 100),
            (99, 100),
            (0, 7),
            (3, 7),
        ] {
            let ring = check(start, size, 100).unwrap();
            assert_eq!(ring.header(SIGNATURE), header(start, size));
            assert_eq!(ring.is_empty(), size == 0);
        }
    }

    #[test]
    fn check_refuses_the_rest() {
        for (start, size) in [
            (0, 101),
            (1, 0),
            (8, 7),
            (101, 101),
            (0, u32::MAX),
            (u32::MAX, u32::MAX),
            (0x8000_0000, 5),
        ] {
            let garbage = Garbage::Counters { start, size };
            assert_eq!(check(start, size, 100), Err(garbage));
        }
        assert_eq!(
            Ring::check(header(0, 0), SIGNATURE ^ 1, 100),
            Err(Garbage::Signature(SIGNATURE))
        );
        // Negative for the in-tree code, whatever the capacity.
        assert!(check(0, 0x8000_0000, usize::MAX).is_err());
        assert!(check(0, 0x7fff_ffff, usize::MAX).is_ok());
    }

    #[test]
    fn start_at_the_end_wraps_at_once() {
        let mut ring = check(10, 10, 10).unwrap();
        assert_eq!((ring.start(), ring.size()), (0, 10));
        let mut data = *b"0123456789";
        assert_eq!(read(&ring, &data), b"0123456789");
        write(&mut ring, &mut data, b"ab");
        assert_eq!(&data, b"ab23456789");
        assert_eq!(read(&ring, &data), b"23456789ab");
    }

    #[test]
    fn an_exactly_filled_ring_starts_at_zero() {
        let mut ring = Ring::empty(8);
        let mut data = [0; 8];
        write(&mut ring, &mut data, b"01234567");
        assert_eq!(ring.header(SIGNATURE), header(0, 8));
        write(&mut ring, &mut data, b"8");
        assert_eq!(ring.header(SIGNATURE), header(1, 8));
        assert_eq!(read(&ring, &data), b"12345678");
    }

    #[test]
    fn too_much_keeps_its_end() {
        let mut ring = Ring::empty(8);
        let mut data = [0; 8];
        write(&mut ring, &mut data, b"abc");
        let plan = ring.clone().append(20);
        assert_eq!(plan.skip, 12);
        write(&mut ring, &mut data, b"0123456789ABCDEFGHIJ");
        assert_eq!(read(&ring, &data), b"CDEFGHIJ");
        assert_eq!(ring.header(SIGNATURE), header(3, 8));
    }

    #[test]
    fn no_capacity_takes_nothing() {
        let mut ring = Ring::empty(0);
        let plan = ring.append(5);
        assert_eq!(plan.skip, 5);
        assert_eq!(plan.spans, [Span::default(); 2]);
        assert_eq!((ring.start(), ring.size()), (0, 0));
        assert!(check(0, 0, 0).unwrap().is_empty());
        assert!(check(0, 1, 0).is_err());
        assert_eq!(Ring::empty(usize::MAX).capacity(), CAPACITY_MAX);
    }

    #[test]
    fn every_history_reads_as_its_last_bytes() {
        for capacity in 1..12 {
            for first in 0..30 {
                for second in 0..30 {
                    let mut ring = Ring::empty(capacity);
                    let mut data = vec![0; capacity];
                    let text: Vec<u8> = (0..first + second).collect();
                    let (one, two) = text.split_at(usize::from(first));
                    write(&mut ring, &mut data, one);
                    write(&mut ring, &mut data, two);
                    let kept = text.len().min(capacity);
                    assert_eq!(read(&ring, &data), text[text.len() - kept..]);
                    assert_eq!(ring.size(), kept);
                    // What is written is accepted when read back.
                    let again = Ring::check(ring.header(7), 7, capacity);
                    assert_eq!(again, Ok(ring));
                }
            }
        }
    }

    #[test]
    fn every_accepted_ring_plans_inside_its_zone() {
        for capacity in 0..9usize {
            for size in 0..12 {
                for start in 0..12 {
                    let Ok(mut ring) = check(start, size, capacity) else {
                        continue;
                    };
                    for len in (0..25).step_by(STRIDE) {
                        for span in ring.linear() {
                            assert!(span.end() <= capacity);
                        }
                        let before = ring;
                        let plan = ring.append(len);
                        for span in plan.spans {
                            assert!(span.end() <= capacity);
                        }
                        assert_eq!(plan.skip + plan.spans[0].len + plan.spans[1].len, len);
                        assert!(ring.start() <= ring.size() && ring.size() <= capacity);
                        assert!(ring.start() < capacity.max(1));
                        ring = before;
                    }
                }
            }
        }
    }

    #[test]
    fn zone_text_reads_a_wrapped_zone() {
        let mut zone = header(2, 5).to_bytes().to_vec();
        zone.extend(b"deabc");
        assert_eq!(
            zone_text(&zone, SIGNATURE, 0),
            Ok([&b"abc"[..], &b"de"[..]])
        );
        zone[4] = 6;
        let garbage = Garbage::Counters { start: 6, size: 5 };
        assert_eq!(zone_text(&zone, SIGNATURE, 0), Err(Error::Garbage(garbage)));
        assert_eq!(
            zone_text(&zone[..12], SIGNATURE, 0),
            Err(Error::ZoneTooSmall { len: 12 })
        );
    }
}
