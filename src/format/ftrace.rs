// SPDX-License-Identifier: GPL-2.0

//! The function trace: 24 bytes for each function that the kernel entered.
//!
//! ```text
//!   0       8            16
//!   +-------+------------+-------------------+-----+
//!   | ip    | parent ip  | sequence, 56 bits | cpu |   all u64, in the machine's byte order;
//!   +-------+------------+-------------------+-----+   the CPU in the low 8 bits
//! ```
//!
//! The sequence is one for all CPUs, so that their zones can be merged into one order. A ring of
//! such records is a ring of bytes: the oldest record of one that wrapped may be cut, and what is
//! left of it is skipped.
//!
//! This is the in-tree format on 64 bit machines (`struct pstore_ftrace_record`). [`Slide`] is how
//! it makes addresses outlive a boot with another KASLR offset.

use crate::ram::SIGNATURE;
use zerocopy::FromBytes as _;

/// Size of [`Record`] on the medium.
pub const RECORD_BYTES: usize = 24;

const CPU_BITS: u32 = 8;
const CPU_MASK: u64 = (1 << CPU_BITS) - 1;
const TOP_BIT: u64 = 1 << 63;

/// One entry of the trace.
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
pub struct Record {
    /// The function, as [`Slide::encode`] has it.
    pub ip: u64,
    /// Where it was called from, likewise.
    pub parent_ip: u64,
    stamp: u64,
}

const _: () = {
    assert!(core::mem::size_of::<Record>() == RECORD_BYTES);
    assert!(core::mem::offset_of!(Record, ip) == 0);
    assert!(core::mem::offset_of!(Record, parent_ip) == 8);
    assert!(core::mem::offset_of!(Record, stamp) == 16);
};

impl Record {
    /// A record. Of the CPU's number the low 8 bits are kept, where the in-tree code lets a larger
    /// one run into the sequence.
    #[inline]
    pub const fn new(ip: u64, parent_ip: u64, sequence: u64, cpu: u32) -> Self {
        Self {
            ip,
            parent_ip,
            // CAST: Widens.
            stamp: (sequence << CPU_BITS) | (cpu as u64 & CPU_MASK),
        }
    }

    /// Place in the order of all CPUs' records.
    #[inline]
    pub const fn sequence(&self) -> u64 {
        self.stamp >> CPU_BITS
    }

    /// The CPU, modulo 256.
    pub const fn cpu(&self) -> u8 {
        // CAST: The low 8 bits.
        (self.stamp & CPU_MASK) as u8
    }

    /// Takes a record off the front.
    fn split(bytes: &[u8]) -> Option<(Self, &[u8])> {
        Self::read_from_prefix(bytes).ok()
    }
}

/// The version of the kernel (`LINUX_VERSION_CODE`) that wrote a zone with this signature, if it is
/// one at all. Nothing else about the signature is known, so only numbers that kernels have had, or
/// may have before long, count.
pub fn version_of(sig: u32) -> Option<u32> {
    let version = sig ^ SIGNATURE;
    (3..=31).contains(&(version >> 16)).then_some(version)
}

/// Makes room for a record in a ring of `capacity` bytes, which is at least one record: answers
/// where it goes, and the counters after it. As [`crate::ram::Ring::append`] does it, but on both
/// counters in one word, so that a writer can move them at once: `start` in the upper half, `size`
/// in the lower.
#[inline]
pub const fn reserve(counters: u64, capacity: u32) -> (u32, u64) {
    let (start, size) = split(counters);
    // CAST: A small constant.
    let (end, filled) = (
        start.saturating_add(RECORD_BYTES as u32),
        size.saturating_add(RECORD_BYTES as u32),
    );
    let next = if end >= capacity { end - capacity } else { end };
    let size = if filled > capacity { capacity } else { filled };
    (start, join(next, size))
}

/// `start` and `size` out of one word.
#[inline]
pub const fn split(counters: u64) -> (u32, u32) {
    // CAST: Halves.
    ((counters >> 32) as u32, counters as u32)
}

const fn join(start: u32, size: u32) -> u64 {
    // CAST: Widen.
    ((start as u64) << 32) | size as u64
}

/// How addresses are kept, so that the next kernel of the same build can name them although KASLR
/// put it somewhere else.
///
/// An address in the kernel's image is kept as it was linked; bit 63 of any other is cleared to
/// tell it from those. This is what the in-tree code does if it is built in; as a module it keeps
/// addresses as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slide {
    from: u64,
    to: u64,
    offset: u64,
    raw: bool,
}

impl Slide {
    /// Keeps addresses as they are.
    pub const RAW: Self = Self {
        from: 0,
        to: 0,
        offset: 0,
        raw: true,
    };

    /// `from` to `to` is where KASLR may put the image, `offset` is how far it moved it.
    pub const fn new(from: u64, to: u64, offset: u64) -> Self {
        Self {
            from,
            to,
            offset,
            raw: false,
        }
    }

    /// The address for the medium.
    #[inline]
    pub const fn encode(&self, ip: u64) -> u64 {
        if self.raw {
            ip
        } else if self.from <= ip && ip < self.to {
            ip.wrapping_sub(self.offset)
        } else {
            ip & !TOP_BIT
        }
    }

    /// The address in this kernel.
    ///
    /// One with bit 63 that lies behind the image can only come from a writer that keeps addresses
    /// as they are, and stays so.
    pub const fn decode(&self, ip: u64) -> u64 {
        if self.raw {
            ip
        } else if ip & TOP_BIT == 0 || ip >= self.to {
            ip | TOP_BIT
        } else {
            ip.wrapping_add(self.offset)
        }
    }

    /// The address that a writer of another kernel version meant, in that kernel as it was linked.
    pub const fn decode_foreign(&self, ip: u64) -> u64 {
        if self.raw {
            ip
        } else {
            ip | TOP_BIT
        }
    }
}

/// The KASLR offset, as the kernel's vmcoreinfo tells it: an ELF note of lines `KEY=value`.
///
/// [`None`] if it is no such note or does not tell.
pub fn kaslr_offset(note: &[u8]) -> Option<u64> {
    const NAME: &[u8] = b"VMCOREINFO\0";
    let word = |at: usize| {
        let bytes = note.get(at..at.checked_add(4)?)?;
        usize::try_from(u32::from_ne_bytes(bytes.try_into().ok()?)).ok()
    };
    let (name, desc) = (word(0)?, word(4)?);
    if name != NAME.len() || note.get(12..)?.get(..name)? != NAME {
        return None;
    }
    let text = note
        .get(12usize.checked_add(name.next_multiple_of(4))?..)?
        .get(..desc)?;
    let value = text
        .split(|byte| *byte == b'\n')
        .find_map(|line| line.strip_prefix(b"KERNELOFFSET="))?;
    if value.is_empty() || value.len() > 16 {
        return None;
    }
    value.iter().try_fold(0u64, |sum, digit| {
        Some((sum << 4) | u64::from(char::from(*digit).to_digit(16)?))
    })
}

/// The records of one zone, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct Run<'a> {
    rest: &'a [u8],
    sequence: u64,
    index: usize,
}

/// How many whole records the content of a zone holds.
pub const fn count(content: &[u8]) -> usize {
    content.len() / RECORD_BYTES
}

impl<'a> Run<'a> {
    /// The content of a zone, in order. What remains of a cut record in front is skipped.
    /// `index` is given back with each record.
    pub fn new(content: &'a [u8], index: usize) -> Self {
        let mut run = Self {
            rest: content
                .get(content.len() % RECORD_BYTES..)
                .unwrap_or_default(),
            sequence: 0,
            index,
        };
        run.look();
        run
    }

    /// Knows its first record's sequence number; an exhausted run sorts behind all others.
    fn look(&mut self) {
        self.sequence = Record::split(self.rest).map_or(u64::MAX, |(record, _)| record.sequence());
    }

    fn take(&mut self) -> Option<Record> {
        let (record, rest) = Record::split(self.rest)?;
        self.rest = rest;
        self.look();
        Some(record)
    }

    fn key(&self) -> (u64, usize) {
        (self.sequence, self.index)
    }
}

/// Merges the records of several zones by their sequence numbers, each zone in its own order.
///
/// That is how the in-tree code merges two. Equal numbers come in the order of the runs' indexes.
pub struct Merge<'a, 'b> {
    /// A heap: no run's first record comes before that of the run at half its place.
    runs: &'b mut [Run<'a>],
}

impl<'a, 'b> Merge<'a, 'b> {
    /// Merges `runs`, in whatever order they are.
    pub fn new(runs: &'b mut [Run<'a>]) -> Self {
        let mut this = Self { runs };
        // Not by `sort`, which may panic.
        for at in (0..this.runs.len() / 2).rev() {
            this.sink(at);
        }
        this
    }

    /// Lets the run at `at` sink to its place.
    fn sink(&mut self, mut at: usize) {
        loop {
            let left = at.saturating_mul(2).saturating_add(1);
            let right = left.saturating_add(1);
            let key = |i: usize| self.runs.get(i).map(Run::key);
            let (Some(here), Some(first)) = (key(at), key(left)) else {
                return;
            };
            let (child, least) = match key(right) {
                Some(second) if second < first => (right, second),
                _ => (left, first),
            };
            if here <= least {
                return;
            }
            self.runs.swap(at, child);
            at = child;
        }
    }
}

impl Iterator for Merge<'_, '_> {
    /// The index of the run, and the record.
    type Item = (usize, Record);

    fn next(&mut self) -> Option<Self::Item> {
        let run = self.runs.first_mut()?;
        let index = run.index;
        let record = run.take()?;
        self.sink(0);
        Some((index, record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ram::{
        ftrace_signature,
        Header,
        Ring, //
    };
    use zerocopy::IntoBytes as _;

    /// What the in-tree code wrote on a kernel with KASLR and pstore built in.
    const SEEN: [u8; RECORD_BYTES] = [
        0x34, 0x1a, 0x23, 0x81, 0xff, 0xff, 0xff, 0xff, 0xd5, 0x8a, 0x24, 0x81, 0xff, 0xff, 0xff,
        0xff, 0x00, 0x01, 0, 0, 0, 0, 0, 0,
    ];

    fn run(list: &[(u64, u32)]) -> Vec<u8> {
        list.iter()
            .flat_map(|(sequence, cpu)| {
                Record::new(*sequence, 0, *sequence, *cpu)
                    .as_bytes()
                    .to_vec()
            })
            .collect()
    }

    fn merged(contents: &[Vec<u8>]) -> Vec<(usize, u64)> {
        let mut runs: Vec<_> = contents
            .iter()
            .enumerate()
            .map(|(i, content)| Run::new(content, i))
            .collect();
        Merge::new(&mut runs)
            .map(|(i, record)| (i, record.sequence()))
            .collect()
    }

    #[test]
    fn a_record_is_what_was_seen_on_a_medium() {
        let (record, rest) = Record::split(&SEEN).unwrap();
        assert!(rest.is_empty());
        assert_eq!(record.ip, 0xffff_ffff_8123_1a34);
        assert_eq!(record.parent_ip, 0xffff_ffff_8124_8ad5);
        assert_eq!((record.sequence(), record.cpu()), (1, 0));
        assert_eq!(record, Record::new(record.ip, record.parent_ip, 1, 0));
        assert_eq!(record.as_bytes(), SEEN);
    }

    #[test]
    fn a_large_cpu_number_leaves_the_sequence_alone() {
        let record = Record::new(1, 2, (1 << 56) - 1, 0x1ff);
        assert_eq!((record.sequence(), record.cpu()), ((1 << 56) - 1, 0xff));
        // A sequence number that has run over begins anew.
        assert_eq!(Record::new(1, 2, 1 << 56, 3).sequence(), 0);
    }

    #[test]
    fn versions_are_told_from_noise() {
        assert_eq!(version_of(0x4340_4140), Some(0x07_03_04));
        for version in [0x03_00_00, 0x06_0c_ff, 0x07_03_04, 0x1f_ff_ff] {
            assert_eq!(version_of(ftrace_signature(version)), Some(version));
        }
        for sig in [
            0,
            u32::MAX,
            SIGNATURE,
            ftrace_signature(0x02_06_27),
            ftrace_signature(0x20_00_00),
            ftrace_signature(0x0107_0304),
        ] {
            assert_eq!(version_of(sig), None, "{sig:#x}");
        }
    }

    #[test]
    fn reserving_is_appending_a_record() {
        for capacity in RECORD_BYTES..200 {
            let mut ring = Ring::empty(capacity);
            let mut counters = 0;
            for _ in 0..40 {
                let plan = ring.append(RECORD_BYTES);
                let (at, next) = reserve(counters, capacity as u32);
                assert_eq!((plan.skip, plan.spans[0].at), (0, at as usize));
                assert_eq!(
                    ring.header(7),
                    Header {
                        sig: 7,
                        start: split(next).0,
                        size: split(next).1,
                    }
                );
                counters = next;
            }
        }
    }

    #[test]
    fn an_image_address_moves_with_the_image() {
        let (from, to) = (0xffff_ffff_8000_0000, 0xffff_ffff_c000_0000);
        let (here, later) = (
            Slide::new(from, to, 0x1900_0000),
            Slide::new(from, to, 0x0260_0000),
        );
        let linked = 0xffff_ffff_8123_1a34u64;
        assert_eq!(here.encode(linked + 0x1900_0000), linked);
        assert_eq!(later.decode(linked), linked + 0x0260_0000);
        assert_eq!(later.decode_foreign(linked), linked);
        // A module's, as it is; bit 63 tells.
        let module = 0xffff_ffff_c012_3456;
        assert_eq!(here.encode(module), 0x7fff_ffff_c012_3456);
        assert_eq!(later.decode(0x7fff_ffff_c012_3456), module);
        assert_eq!(later.decode_foreign(0x7fff_ffff_c012_3456), module);
        // The in-tree code as a module does not clear it.
        assert_eq!(later.decode(module), module);
        // Any address comes out again.
        for ip in [
            0,
            1,
            from,
            to - 1,
            to,
            u64::MAX,
            TOP_BIT,
            0xffff_8880_0000_1000,
        ] {
            assert_eq!(here.decode(here.encode(ip)), ip | TOP_BIT);
            assert_eq!(Slide::RAW.decode(Slide::RAW.encode(ip)), ip);
        }
        assert_eq!(later.decode(0xffff_ffff_bfff_ffff), 0xffff_ffff_c25f_ffff);
    }

    fn note(name: &[u8], text: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [name.len(), text.len(), 0] {
            note.extend((word as u32).to_ne_bytes());
        }
        note.extend(name);
        note.resize(note.len().next_multiple_of(4), 0);
        note.extend(text);
        note.resize(note.len() + 40, 0);
        note
    }

    #[test]
    fn the_offset_is_found() {
        let name = b"VMCOREINFO\0";
        let text =
            b"OSRELEASE=7.3.4\nSYMBOL(_stext)=ffffffff9a000000\nKERNELOFFSET=19000000\nX=1\n";
        assert_eq!(kaslr_offset(&note(name, text)), Some(0x1900_0000));
        assert_eq!(kaslr_offset(&note(name, b"KERNELOFFSET=0")), Some(0));
        assert_eq!(
            kaslr_offset(&note(name, b"KERNELOFFSET=ffffffffffffffff\n")),
            Some(u64::MAX)
        );
    }

    #[test]
    fn what_is_no_such_note_has_no_offset() {
        let name = b"VMCOREINFO\0";
        for text in [
            &b""[..],
            b"KERNELOFFSET=\n",
            b"KERNELOFFSET=xyz\n",
            b"KERNELOFFSET=10000000000000000\n",
            b"NKERNELOFFSET=1\n",
        ] {
            assert_eq!(kaslr_offset(&note(name, text)), None);
        }
        assert_eq!(kaslr_offset(&note(b"CORE\0", b"KERNELOFFSET=1\n")), None);
        let whole = note(name, b"KERNELOFFSET=19000000\n");
        // However it is cut, nothing is read beyond its end.
        for len in 0..24 + 22 {
            assert_eq!(kaslr_offset(&whole[..len]), None, "{len}");
        }
        let mut long = whole.clone();
        long[4..8].fill(0xff);
        assert_eq!(kaslr_offset(&long), None);
        long[0..4].fill(0xff);
        assert_eq!(kaslr_offset(&long), None);
    }

    #[test]
    fn two_runs_merge_as_in_tree() {
        let one = run(&[(1, 0), (3, 0), (4, 0)]);
        let two = run(&[(2, 1), (5, 1)]);
        assert_eq!(
            merged(&[one.clone(), two.clone()]),
            [(0, 1), (1, 2), (0, 3), (0, 4), (1, 5)]
        );
        // Bytes of a cut record in front are skipped.
        let cut = [&[0xee; 23][..], &one].concat();
        assert_eq!(merged(&[cut]), [(0, 1), (0, 3), (0, 4)]);
        assert_eq!(merged(&[vec![1; 23], vec![], two]), [(2, 2), (2, 5)]);
        assert_eq!(merged(&[]), []);
    }

    #[test]
    fn each_run_stays_in_its_order() {
        // Two boots in one ring, as the in-tree code leaves them.
        let one = run(&[(500, 0), (502, 0), (1, 0), (3, 0)]);
        let two = run(&[(501, 1), (503, 1), (2, 1)]);
        assert_eq!(
            merged(&[one, two]),
            [
                (0, 500),
                (1, 501),
                (0, 502),
                (0, 1),
                (0, 3),
                (1, 503),
                (1, 2)
            ]
        );
    }

    #[test]
    fn many_runs_merge_into_one_order() {
        // 57 runs, the numbers dealt out by a generator.
        let mut state = 12345u32;
        let mut lists = vec![Vec::new(); 57];
        for sequence in 0..5000 {
            state = state.wrapping_mul(1_103_515_245).wrapping_add(12345);
            let cpu = (state >> 16) % 57;
            lists[cpu as usize].push((sequence, cpu));
        }
        let contents: Vec<_> = lists.iter().map(|list| run(list)).collect();
        let all = merged(&contents);
        assert_eq!(all.len(), 5000);
        for (at, (index, sequence)) in all.iter().enumerate() {
            assert_eq!(*sequence, at as u64);
            assert!(lists[*index].contains(&(*sequence, *index as u32)));
        }
    }

    #[test]
    fn equal_and_absurd_numbers_are_all_kept() {
        let most = (1 << 56) - 1;
        let one = run(&[(7, 0), (most, 0), (0, 0)]);
        let two = run(&[(7, 1), (7, 1)]);
        assert_eq!(
            merged(&[one, two]),
            [(0, 7), (1, 7), (1, 7), (0, most), (0, 0)]
        );
        let noise: Vec<_> = (0..5).map(|i| vec![i * 51; 24 * 9 + 5]).collect();
        assert_eq!(merged(&noise).len(), 45);
    }
}
