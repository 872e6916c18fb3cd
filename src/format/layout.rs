// SPDX-License-Identifier: GPL-2.0

//! How a region of persistent RAM is divided into zones.
//!
//! ```text
//!   0                                                               mem_size
//!   +-------+-----+---------+------+----------+-----+----------+-------+-----+
//!   | dmesg | ... | console | pmsg | ftrace 0 | ... |  unused  |      tty    |
//!   +-------+-----+---------+------+----------+-----+----------+-------------+
//!   \___________ as the in-tree ramoops does it _______________/
//! ```
//!
//! The tty zone, which ramoops does not know, is at the very end. An in-tree ramoops that is told
//! `mem_size - tty_size` finds its own zones where they are here.
//!
//! What remains besides the other zones goes to kernel message records in equal parts, so their
//! zones are usually somewhat larger than asked for and begin at any even offset.

use crate::ecc::{
    EccGeometry,
    ECC_SIZE_MAX, //
};
use crate::ftrace::RECORD_BYTES;
use crate::ram::CAPACITY_MAX;
use crate::record::DMESG_HEADER_MAX;
use core::fmt;

/// Least room for text that is worth a zone.
const TEXT_LEAST: usize = 16;

/// What the owner of the machine asks for. A size of zero leaves that kind of zone out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RamSizes {
    /// The whole region.
    pub mem_size: usize,
    /// Each kernel message record, at least.
    pub record_size: usize,
    /// The console's zone.
    pub console_size: usize,
    /// All zones of the function trace together.
    pub ftrace_size: usize,
    /// The zone for messages from user space.
    pub pmsg_size: usize,
    /// The zone for what is written to ttys.
    pub tty_size: usize,
    /// Into how many zones the function trace is divided: one for each possible CPU, or one for
    /// all. Zero counts as one.
    pub ftrace_zones: usize,
    /// Parity bytes for each block, zero for none.
    pub ecc_size: usize,
}

impl RamSizes {
    /// The sizes as the in-tree ramoops takes them: each rounded down to a power of two, save that
    /// of the region.
    pub fn rounded(self) -> Self {
        Self {
            record_size: round_down(self.record_size),
            console_size: round_down(self.console_size),
            ftrace_size: round_down(self.ftrace_size),
            pmsg_size: round_down(self.pmsg_size),
            tty_size: round_down(self.tty_size),
            ..self
        }
    }
}

/// The least that can be set aside for a crash kernel.
pub const CRASH_SIZE_LEAST: usize = 16384;

impl RamSizes {
    /// How a crash kernel divides `size` bytes of its own: by that number alone, so that everybody
    /// who knows it finds the zones. Of the largest power of two in it a quarter each is for console
    /// and ttys, an eighth for pmsg and for each kernel message record; there are three records at
    /// least. A function trace it has none.
    pub fn of_crash_kernel(size: usize, ecc_size: usize) -> Self {
        let whole = round_down(size);
        Self {
            mem_size: size,
            record_size: whole / 8,
            console_size: whole / 4,
            ftrace_size: 0,
            pmsg_size: whole / 8,
            tty_size: whole / 4,
            ftrace_zones: 1,
            ecc_size,
        }
    }

    /// Into how many zones another kernel divided the function trace of this region, if it did so
    /// for each of its possible CPUs: a crash kernel has fewer. The most zones that all begin with
    /// the signature of a trace of one version; [`None`] if the first one has none.
    ///
    /// `word` gives the four bytes at an offset.
    pub fn ftrace_zones_found(&self, word: impl Fn(usize) -> u32) -> Option<usize> {
        let at = |zones| {
            let layout = Self {
                ftrace_zones: zones,
                ..*self
            };
            RamLayout::new(&layout).ok()
        };
        let first = word(at(1)?.ftrace(0)?.offset);
        crate::ftrace::version_of(first)?;
        let most = self.rounded().ftrace_size / (crate::ram::HEADER_BYTES + RECORD_BYTES);
        (1..=most).rev().find(|zones| {
            at(*zones).is_some_and(|layout| {
                layout.ftrace_count() == *zones
                    && (0..*zones)
                        .filter_map(|n| layout.ftrace(n))
                        .all(|zone| word(zone.offset) == first)
            })
        })
    }
}

/// The largest power of two that is not above `size`, zero for zero.
fn round_down(size: usize) -> usize {
    match size.checked_ilog2() {
        Some(log) => 1 << log,
        None => 0,
    }
}

/// Where a zone lies in its region.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone {
    /// Its first byte, counted from the start of the region.
    pub offset: usize,
    /// How long it is, header and parity included.
    pub len: usize,
}

impl Zone {
    /// The bytes of this zone in `region`, nothing if the region is too short.
    pub fn of(self, region: &[u8]) -> &[u8] {
        region
            .get(self.offset..self.offset.saturating_add(self.len))
            .unwrap_or(&[])
    }

    /// The bytes of this zone in `region`, nothing if the region is too short.
    pub fn of_mut(self, region: &mut [u8]) -> &mut [u8] {
        region
            .get_mut(self.offset..self.offset.saturating_add(self.len))
            .unwrap_or(&mut [])
    }
}

/// What a zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneKind {
    /// One kernel message record.
    Dmesg,
    /// The console.
    Console,
    /// Messages from user space.
    Pmsg,
    /// Function trace.
    Ftrace,
    /// What is written to ttys.
    Tty,
}

impl ZoneKind {
    /// Its name, as in the names of record files.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dmesg => "dmesg",
            Self::Console => "console",
            Self::Pmsg => "pmsg",
            Self::Ftrace => "ftrace",
            Self::Tty => "tty",
        }
    }

    /// The member of [`RamSizes`] that decides about it.
    const fn field(self) -> &'static str {
        match self {
            Self::Dmesg => "record_size",
            Self::Console => "console_size",
            Self::Pmsg => "pmsg_size",
            Self::Ftrace => "ftrace_size",
            Self::Tty => "tty_size",
        }
    }

    /// The least capacity with which such a zone is of any use.
    const fn least(self) -> usize {
        match self {
            Self::Dmesg => DMESG_HEADER_MAX + TEXT_LEAST,
            Self::Ftrace => RECORD_BYTES,
            Self::Console | Self::Pmsg | Self::Tty => TEXT_LEAST,
        }
    }

    /// Whether a zone of `len` bytes is of any use.
    fn fits(self, len: usize, ecc_size: usize) -> bool {
        EccGeometry::new(len, ecc_size).is_ok_and(|geometry| geometry.capacity() >= self.least())
    }
}

/// Why a region cannot be divided as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayoutError {
    /// `mem_size` is zero.
    NoMemory,
    /// Every size of a zone is zero.
    NoZones,
    /// A zone is larger than what the others leave over.
    NoRoom {
        /// Which size.
        field: &'static str,
        /// As asked for, rounded.
        size: usize,
        /// What is left for it.
        room: usize,
    },
    /// A zone has no use, because its header and parity take it up.
    TooSmall {
        /// Which size.
        field: &'static str,
        /// As asked for, rounded.
        size: usize,
        /// The smallest size that would do.
        least: usize,
    },
    /// A zone is longer than its header can tell.
    TooLarge {
        /// Which size.
        field: &'static str,
        /// The zone that would come out.
        size: usize,
        /// The longest possible zone.
        most: usize,
    },
    /// The code has no room for so many parity bytes.
    EccSize {
        /// As asked for.
        ecc_size: usize,
    },
}

impl LayoutError {
    /// The member of [`RamSizes`] that is at fault, which is also the name of the parameter.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::NoMemory => "mem_size",
            // Any of them would do, so name the one that everybody wants.
            Self::NoZones => "record_size",
            Self::NoRoom { field, .. }
            | Self::TooSmall { field, .. }
            | Self::TooLarge { field, .. } => field,
            Self::EccSize { .. } => "ecc_size",
        }
    }
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMemory => f.write_str("mem_size: must not be zero"),
            Self::NoZones => f.write_str(
                "record_size: at least one of record_size, console_size, ftrace_size, pmsg_size \
                 and tty_size must not be zero",
            ),
            Self::NoRoom { field, size, room } => write!(
                f,
                "{field}: {size:#x} bytes do not fit, the region has {room:#x} left for it"
            ),
            Self::TooSmall { field, size, least } => write!(
                f,
                "{field}: {size:#x} bytes are of no use, at least {least:#x} are needed"
            ),
            Self::TooLarge { field, size, most } => write!(
                f,
                "{field}: makes a zone of {size:#x} bytes, at most {most:#x} are possible"
            ),
            Self::EccSize { ecc_size } => write!(
                f,
                "ecc_size: {ecc_size} parity bytes, 0 to {ECC_SIZE_MAX} are possible"
            ),
        }
    }
}

/// Equal zones, one behind the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    offset: usize,
    len: usize,
    count: usize,
}

impl Row {
    fn get(self, index: usize) -> Option<Zone> {
        if index >= self.count {
            return None;
        }
        Some(Zone {
            // By the invariants of `RamLayout` this lies in the region, so it does not overflow.
            offset: self.offset.saturating_add(index.saturating_mul(self.len)),
            len: self.len,
        })
    }

    const fn end(self) -> usize {
        self.offset + self.count * self.len
    }
}

/// A region divided into zones.
///
/// # Invariants
///
/// The rows lie in `0..mem_size` in the order dmesg, console, pmsg, ftrace, tty, and none begins
/// before the one in front of it ends. Each zone has a valid [`EccGeometry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RamLayout {
    rows: [(ZoneKind, Row); 5],
}

impl RamLayout {
    /// Divides a region. The sizes are rounded here; whether the caller has done so before makes no
    /// difference.
    pub fn new(sizes: &RamSizes) -> Result<Self, LayoutError> {
        let RamSizes {
            mem_size,
            record_size,
            console_size,
            ftrace_size,
            pmsg_size,
            tty_size,
            ftrace_zones,
            ecc_size,
        } = sizes.rounded();

        if mem_size == 0 {
            return Err(LayoutError::NoMemory);
        }
        if ecc_size > ECC_SIZE_MAX {
            return Err(LayoutError::EccSize { ecc_size });
        }
        if record_size | console_size | ftrace_size | pmsg_size | tty_size == 0 {
            return Err(LayoutError::NoZones);
        }

        // Whatever the zones of a fixed size leave over is for kernel messages.
        let mut room = mem_size;
        for (kind, size) in [
            (ZoneKind::Console, console_size),
            (ZoneKind::Pmsg, pmsg_size),
            (ZoneKind::Ftrace, ftrace_size),
            (ZoneKind::Tty, tty_size),
        ] {
            room = room.checked_sub(size).ok_or(LayoutError::NoRoom {
                field: kind.field(),
                size,
                room,
            })?;
        }

        let dmesg = if record_size == 0 || room == 0 {
            Row::default()
        } else {
            let count = room / record_size;
            let len = room.checked_div(count).ok_or(LayoutError::NoRoom {
                field: ZoneKind::Dmesg.field(),
                size: record_size,
                room,
            })?;
            Row {
                offset: 0,
                len: len & !1,
                count,
            }
        };
        let one = |offset, len| Row {
            offset,
            len,
            count: usize::from(len != 0),
        };
        let console = one(dmesg.end(), console_size);
        let pmsg = one(console.end(), pmsg_size);
        let ftrace = if ftrace_size == 0 {
            one(pmsg.end(), 0)
        } else {
            let count = ftrace_zones.max(1);
            // One zone for all is as large as asked for; only shares are made even, but a power
            // of two is so from two upwards.
            let len = (ftrace_size / count) & !1;
            let fits = ZoneKind::Ftrace.fits(len, ecc_size);
            Row {
                offset: pmsg.end(),
                len,
                // Shares that are too small for a record, as a machine with many CPUs has them by
                // default, hold none; their space stays theirs.
                count: if fits { count } else { 0 },
            }
        };
        let tty = one(mem_size - tty_size, tty_size);

        let rows = [
            (ZoneKind::Dmesg, dmesg),
            (ZoneKind::Console, console),
            (ZoneKind::Pmsg, pmsg),
            (ZoneKind::Ftrace, ftrace),
            (ZoneKind::Tty, tty),
        ];
        let asked = [record_size, console_size, pmsg_size, ftrace_size, tty_size];
        for ((kind, row), size) in rows.into_iter().zip(asked) {
            if row.count == 0 {
                continue;
            }
            let field = kind.field();
            if row.len > CAPACITY_MAX {
                return Err(LayoutError::TooLarge {
                    field,
                    size: row.len,
                    most: CAPACITY_MAX,
                });
            }
            if !kind.fits(row.len, ecc_size) {
                return Err(LayoutError::TooSmall {
                    field,
                    size,
                    least: least_size(kind, ecc_size),
                });
            }
        }
        if rows.iter().all(|(_, row)| row.count == 0) {
            return Err(LayoutError::NoZones);
        }
        // INVARIANT: `count * len` is at most `room` for dmesg and `ftrace_size` for ftrace, so the
        // rows up to ftrace end at `mem_size - tty_size` or before, where the last one begins.
        Ok(Self { rows })
    }

    /// A region whose division is given by another kernel: kind, offset, length and number of the
    /// zones in each row, in the order of the medium. A row without zones has length and number
    /// zero.
    pub fn from_rows(
        given: [(ZoneKind, usize, usize, usize); 5],
        mem_size: usize,
        ecc_size: usize,
    ) -> Result<Self, LayoutError> {
        if mem_size == 0 {
            return Err(LayoutError::NoMemory);
        }
        if ecc_size > ECC_SIZE_MAX {
            return Err(LayoutError::EccSize { ecc_size });
        }
        let order = [
            ZoneKind::Dmesg,
            ZoneKind::Console,
            ZoneKind::Pmsg,
            ZoneKind::Ftrace,
            ZoneKind::Tty,
        ];
        let mut rows = order.map(|kind| (kind, Row::default()));
        let mut end = 0;
        for ((kind, row), (given, offset, len, count)) in rows.iter_mut().zip(given) {
            let field = kind.field();
            let no_room = LayoutError::NoRoom {
                field,
                size: len,
                room: mem_size.saturating_sub(end),
            };
            let one = !matches!(kind, ZoneKind::Dmesg | ZoneKind::Ftrace);
            if *kind != given || (one && count > 1) {
                return Err(no_room);
            }
            let next = len.checked_mul(count).and_then(|n| n.checked_add(offset));
            match next {
                Some(next) if offset >= end && next <= mem_size => end = next,
                _ => return Err(no_room),
            }
            if count > 0 && len > CAPACITY_MAX {
                return Err(LayoutError::TooLarge {
                    field,
                    size: len,
                    most: CAPACITY_MAX,
                });
            }
            if count > 0 && !kind.fits(len, ecc_size) {
                return Err(LayoutError::TooSmall {
                    field,
                    size: len,
                    least: least_size(*kind, ecc_size),
                });
            }
            *row = Row { offset, len, count };
        }
        if rows.iter().all(|(_, row)| row.count == 0) {
            return Err(LayoutError::NoZones);
        }
        // INVARIANT: Checked above.
        Ok(Self { rows })
    }

    /// The rows of zones as [`Self::from_rows`] takes them.
    pub fn rows(&self) -> [(ZoneKind, usize, usize, usize); 5] {
        self.rows
            .map(|(kind, row)| (kind, row.offset, row.len, row.count))
    }

    fn row(&self, kind: ZoneKind) -> Row {
        self.rows
            .iter()
            .find(|(other, _)| *other == kind)
            .map_or(Row::default(), |(_, row)| *row)
    }

    /// How many kernel message records there is room for.
    pub fn dmesg_count(&self) -> usize {
        self.row(ZoneKind::Dmesg).count
    }

    /// The zone of one kernel message record.
    pub fn dmesg(&self, index: usize) -> Option<Zone> {
        self.row(ZoneKind::Dmesg).get(index)
    }

    /// The console's zone.
    pub fn console(&self) -> Option<Zone> {
        self.row(ZoneKind::Console).get(0)
    }

    /// The zone for messages from user space.
    pub fn pmsg(&self) -> Option<Zone> {
        self.row(ZoneKind::Pmsg).get(0)
    }

    /// How many zones the function trace has.
    pub fn ftrace_count(&self) -> usize {
        self.row(ZoneKind::Ftrace).count
    }

    /// One zone of the function trace.
    pub fn ftrace(&self, index: usize) -> Option<Zone> {
        self.row(ZoneKind::Ftrace).get(index)
    }

    /// The zone for what is written to ttys.
    pub fn tty(&self) -> Option<Zone> {
        self.row(ZoneKind::Tty).get(0)
    }

    /// Every zone in the order of the medium, with its kind and its number within that kind.
    pub fn zones(&self) -> impl Iterator<Item = (ZoneKind, usize, Zone)> + '_ {
        self.rows.iter().flat_map(|(kind, row)| {
            (0..row.count).filter_map(move |index| Some((*kind, index, row.get(index)?)))
        })
    }
}

/// The smallest power of two that makes a zone of some use.
fn least_size(kind: ZoneKind, ecc_size: usize) -> usize {
    let mut size: usize = 1;
    while !kind.fits(size, ecc_size) {
        match size.checked_mul(2) {
            Some(double) => size = double,
            None => break,
        }
    }
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zones(sizes: RamSizes) -> Vec<(ZoneKind, usize, usize, usize)> {
        RamLayout::new(&sizes)
            .unwrap()
            .zones()
            .map(|(kind, index, zone)| (kind, index, zone.offset, zone.len))
            .collect()
    }

    fn row(
        kind: ZoneKind,
        count: usize,
        len: usize,
        from: usize,
    ) -> Vec<(ZoneKind, usize, usize, usize)> {
        (0..count).map(|i| (kind, i, from + i * len, len)).collect()
    }

    #[test]
    fn a_crash_kernel_divides_by_size_alone() {
        let sizes = RamSizes::of_crash_kernel(0x1_0000, 0);
        assert_eq!(sizes.rounded(), sizes);
        let mut expected = row(ZoneKind::Dmesg, 3, 0x2000, 0);
        expected.extend(row(ZoneKind::Console, 1, 0x4000, 0x6000));
        expected.extend(row(ZoneKind::Pmsg, 1, 0x2000, 0xa000));
        expected.extend(row(ZoneKind::Tty, 1, 0x4000, 0xc000));
        assert_eq!(zones(sizes), expected);
        // What is beyond a power of two is for more records.
        let more = RamLayout::new(&RamSizes::of_crash_kernel(0x1_8000, 0)).unwrap();
        assert_eq!(more.dmesg_count(), 7);
        for ecc_size in [0, 16, 127] {
            for size in [CRASH_SIZE_LEAST, CRASH_SIZE_LEAST + 2, 3 << 20, 64 << 20] {
                let layout = RamLayout::new(&RamSizes::of_crash_kernel(size, ecc_size)).unwrap();
                assert!(layout.dmesg_count() >= 3 && layout.console().is_some());
                assert!(layout.pmsg().is_some() && layout.tty().is_some());
            }
        }
    }

    #[test]
    fn zones_of_another_number_of_cpus_are_found() {
        let sizes = RamSizes {
            mem_size: 0x2_0000,
            record_size: 0x1000,
            console_size: 0x1000,
            ftrace_size: 0x8000,
            pmsg_size: 0x1000,
            tty_size: 0x1000,
            ftrace_zones: 0,
            ecc_size: 0,
        };
        let found = |region: &[u8]| {
            sizes.ftrace_zones_found(|at| {
                let bytes = region.get(at..at + 4).unwrap();
                u32::from_le_bytes(bytes.try_into().unwrap())
            })
        };
        let signature = crate::ram::ftrace_signature(0x07_03_04);
        for zones in [1, 2, 3, 4, 6, 7, 8, 64, 255] {
            let mut region = vec![0x43; sizes.mem_size];
            let layout = RamLayout::new(&RamSizes {
                ftrace_zones: zones,
                ..sizes
            })
            .unwrap();
            for n in 0..zones {
                let at = layout.ftrace(n).unwrap().offset;
                region[at..at + 4].copy_from_slice(&signature.to_le_bytes());
            }
            assert_eq!(found(&region), Some(zones));
        }
        assert_eq!(found(&vec![0; sizes.mem_size]), None);
        assert_eq!(found(&vec![0xff; sizes.mem_size]), None);
        let none = RamSizes {
            ftrace_size: 0,
            ..sizes
        };
        assert_eq!(none.ftrace_zones_found(|_| signature), None);
    }

    #[test]
    fn sizes_are_rounded_down() {
        let sizes = RamSizes {
            mem_size: 1001,
            record_size: 4097,
            console_size: 4095,
            ftrace_size: 0,
            pmsg_size: 1,
            tty_size: usize::MAX,
            ftrace_zones: 3,
            ecc_size: 5,
        };
        let rounded = sizes.rounded();
        let expected = RamSizes {
            record_size: 4096,
            console_size: 2048,
            tty_size: 1 << (usize::BITS - 1),
            ..sizes
        };
        assert_eq!(rounded, expected);
        assert_eq!(rounded.rounded(), rounded);
    }

    // Three layouts that the C code was seen to make.

    #[test]
    fn rows_make_the_same_layout_again() {
        for ecc_size in [0, 16] {
            let sizes = RamSizes {
                mem_size: 0x10_0000,
                record_size: 0x4000,
                console_size: 0x4000,
                ftrace_size: 0x4000,
                pmsg_size: 0x4000,
                tty_size: 0x4000,
                ftrace_zones: 3,
                ecc_size,
            };
            let layout = RamLayout::new(&sizes).unwrap();
            let rows = layout.rows();
            assert_eq!(RamLayout::from_rows(rows, 0x10_0000, ecc_size), Ok(layout));
            // One byte less, and the tty zone at its end has no room.
            assert!(RamLayout::from_rows(rows, 0xf_ffff, ecc_size).is_err());
            for i in 0..rows.len() {
                let mut other = rows;
                other[i].1 = other[i].1.wrapping_sub(2);
                if i != 0 && i != 4 {
                    assert!(RamLayout::from_rows(other, 0x10_0000, ecc_size).is_err());
                }
                other = rows;
                other.swap(i, (i + 1) % rows.len());
                assert!(RamLayout::from_rows(other, 0x10_0000, ecc_size).is_err());
                other = rows;
                other[i].3 = usize::MAX;
                assert!(RamLayout::from_rows(other, 0x10_0000, ecc_size).is_err());
                other = rows;
                other[i].2 = 3;
                assert!(RamLayout::from_rows(other, 0x10_0000, ecc_size).is_err());
            }
        }
    }

    #[test]
    fn zones_larger_than_asked_for() {
        let found = zones(RamSizes {
            mem_size: 0x10000,
            record_size: 0x2000,
            console_size: 0x1000,
            ftrace_size: 0x1000,
            pmsg_size: 0x1000,
            ftrace_zones: 1,
            ..RamSizes::default()
        });
        let expected = [
            row(ZoneKind::Dmesg, 6, 0x22aa, 0),
            row(ZoneKind::Console, 1, 0x1000, 0xcffc),
            row(ZoneKind::Pmsg, 1, 0x1000, 0xdffc),
            row(ZoneKind::Ftrace, 1, 0x1000, 0xeffc),
        ];
        assert_eq!(found, expected.concat());
    }

    #[test]
    fn three_cpus() {
        let found = zones(RamSizes {
            mem_size: 0x10_0000,
            record_size: 0x2_0000,
            console_size: 0x2_0000,
            ftrace_size: 0x2_0000,
            pmsg_size: 0x2_0000,
            ftrace_zones: 3,
            ..RamSizes::default()
        });
        let expected = [
            row(ZoneKind::Dmesg, 5, 0x2_0000, 0),
            row(ZoneKind::Console, 1, 0x2_0000, 0xa_0000),
            row(ZoneKind::Pmsg, 1, 0x2_0000, 0xc_0000),
            row(ZoneKind::Ftrace, 3, 0xaaaa, 0xe_0000),
        ];
        assert_eq!(found, expected.concat());
    }

    #[test]
    fn with_parity_and_without_trace() {
        let found = zones(RamSizes {
            mem_size: 0x10000,
            record_size: 0x1000,
            console_size: 0x2000,
            pmsg_size: 0x1000,
            ecc_size: 16,
            ..RamSizes::default()
        });
        let expected = [
            row(ZoneKind::Dmesg, 13, 0x1000, 0),
            row(ZoneKind::Console, 1, 0x2000, 0xd000),
            row(ZoneKind::Pmsg, 1, 0x1000, 0xf000),
        ];
        assert_eq!(found, expected.concat());
    }

    #[test]
    fn the_tty_zone_hides_behind_the_others() {
        let sizes = RamSizes {
            mem_size: 0x2_0123,
            record_size: 0x2000,
            console_size: 0x1000,
            ftrace_size: 0x1000,
            pmsg_size: 0x800,
            tty_size: 0x17ff,
            ftrace_zones: 3,
            ecc_size: 8,
        };
        let with = RamLayout::new(&sizes).unwrap();
        let tty = with.tty().unwrap();
        assert_eq!((tty.offset, tty.len), (0x1_f123, 0x1000));
        let without = RamLayout::new(&RamSizes {
            mem_size: sizes.mem_size - 0x1000,
            tty_size: 0,
            ..sizes
        })
        .unwrap();
        assert_eq!(without.tty(), None);
        let others: Vec<_> = with.zones().filter(|(_, _, zone)| *zone != tty).collect();
        assert_eq!(others, without.zones().collect::<Vec<_>>());
        assert_eq!(with.dmesg_count(), without.dmesg_count());
        assert_eq!(with.ftrace_count(), 3);
        assert_eq!(with.console(), without.console());
        assert_eq!(with.pmsg(), without.pmsg());
        assert_eq!(with.ftrace(2), without.ftrace(2));
        assert_eq!(with.ftrace(3), None);
        assert_eq!(with.dmesg(with.dmesg_count()), None);
        assert_eq!(with.dmesg(usize::MAX), None);
    }

    #[test]
    fn no_room_left_over_means_no_records() {
        let sizes = RamSizes {
            mem_size: 0x1000,
            record_size: 0x1000,
            console_size: 0x1000,
            ..RamSizes::default()
        };
        assert_eq!(zones(sizes), row(ZoneKind::Console, 1, 0x1000, 0));
    }

    #[test]
    fn many_cpus_leave_no_trace_zones_but_their_space() {
        let sizes = |ftrace_zones| RamSizes {
            mem_size: 0x10000,
            record_size: 0x1000,
            ftrace_size: 0x1000,
            pmsg_size: 0x1000,
            ftrace_zones,
            ..RamSizes::default()
        };
        let (few, many) = (
            RamLayout::new(&sizes(2)).unwrap(),
            RamLayout::new(&sizes(512)).unwrap(),
        );
        assert_eq!((few.ftrace_count(), many.ftrace_count()), (2, 0));
        assert_eq!(few.dmesg_count(), many.dmesg_count());
        assert_eq!(few.pmsg(), many.pmsg());
    }

    #[test]
    fn faults_name_the_size() {
        let base = RamSizes {
            mem_size: 0x10000,
            record_size: 0x1000,
            ..RamSizes::default()
        };
        let fault = |sizes: RamSizes| {
            let error = RamLayout::new(&sizes).unwrap_err();
            let message = error.to_string();
            let prefix = format!("{}: ", error.field());
            assert!(message.starts_with(&prefix), "{message}");
            message
        };
        assert_eq!(fault(RamSizes::default()), "mem_size: must not be zero");
        assert!(fault(RamSizes {
            record_size: 0,
            ..base
        })
        .contains("at least one of"));
        assert_eq!(
            fault(RamSizes {
                console_size: 0x20000,
                ..base
            }),
            "console_size: 0x20000 bytes do not fit, the region has 0x10000 left for it"
        );
        assert_eq!(
            fault(RamSizes {
                console_size: 0x8000,
                tty_size: 0x10000,
                ..base
            }),
            "tty_size: 0x10000 bytes do not fit, the region has 0x8000 left for it"
        );
        assert_eq!(
            fault(RamSizes {
                record_size: 0x10000,
                pmsg_size: 0x1000,
                ..base
            }),
            "record_size: 0x10000 bytes do not fit, the region has 0xf000 left for it"
        );
        assert_eq!(
            fault(RamSizes {
                pmsg_size: 16,
                ..base
            }),
            "pmsg_size: 0x10 bytes are of no use, at least 0x20 are needed"
        );
        assert_eq!(
            fault(RamSizes {
                ecc_size: 128,
                ..base
            }),
            "ecc_size: 128 parity bytes, 0 to 127 are possible"
        );
        assert_eq!(
            fault(RamSizes {
                mem_size: 1 << 33,
                console_size: 1 << 31,
                ..base
            }),
            "console_size: makes a zone of 0x80000000 bytes, at most 0x7fffffff are possible"
        );
        assert_eq!(
            fault(RamSizes {
                mem_size: usize::MAX,
                console_size: usize::MAX,
                pmsg_size: usize::MAX,
                ..base
            })
            .split(':')
            .next(),
            Some("pmsg_size")
        );
    }

    #[test]
    fn what_an_error_asks_for_is_enough() {
        for ecc_size in [0, 1, 8, 16, 127] {
            for ftrace_zones in [0, 1, 2, 3, 7, 64] {
                // Too small a share of the trace's is no error, but means no zones.
                for field in [0, 1, 3, 4] {
                    let sizes = |size| {
                        let mut sizes = [0; 5];
                        sizes[field] = size;
                        RamSizes {
                            mem_size: 1 << 20,
                            record_size: sizes[0],
                            console_size: sizes[1],
                            ftrace_size: sizes[2],
                            pmsg_size: sizes[3],
                            tty_size: sizes[4],
                            ftrace_zones,
                            ecc_size,
                        }
                    };
                    let mut size = 1;
                    while let Err(error) = RamLayout::new(&sizes(size)) {
                        let LayoutError::TooSmall { least, .. } = error else {
                            panic!("{error}");
                        };
                        assert!(least > size);
                        RamLayout::new(&sizes(least)).unwrap();
                        if field != 0 {
                            RamLayout::new(&sizes(least / 2)).unwrap_err();
                        }
                        size *= 2;
                    }
                }
            }
        }
    }
}
