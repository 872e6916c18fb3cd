// SPDX-License-Identifier: GPL-2.0

//! Zones on a block device, as the in-tree pstore_zone (and so pstore_blk) has them.
//!
//! ```text
//!   0                                                                   end of the device
//!   +------+---------+----------+-----+---------+-----+---------+-----+-----------+
//!   | pmsg | console | ftrace 0 | ... | dmesg 0 | ... | dmesg n | tty | signature |
//!   +------+---------+----------+-----+---------+-----+---------+-----+-----------+
//!   \_________________ as the in-tree code has it _____________/
//! ```
//!
//! Each zone begins with twelve bytes. Their fields are those of a ramoops zone in another order,
//! and the ring behind them works alike:
//!
//! ```text
//!   0      4         8       12
//!   +------+---------+-------+----------
//!   | sig  | datalen | start | data ...
//!   +------+---------+-------+----------
//! ```
//!
//! A dmesg zone's data begins with forty bytes about the dump ([`DumpHeader`]); `start` is 0 there.
//! The structure of the in-tree code has two holes in those, which it writes as zeros and never
//! looks at. A checksum is kept in them, since nothing else would tell a record that was only half
//! written when the power went.
//!
//! Numbers are in the byte order of the machine, and the layout is that of 64 bit machines.

use crate::kho::CRC;
use crate::layout::Zone;
use crate::ram::{
    Garbage,
    Ring,
    SIGNATURE, //
};
use crate::record::Stamp;
use core::fmt;
use core::mem::{
    offset_of,
    size_of, //
};
use zerocopy::{
    FromBytes as _,
    IntoBytes as _, //
};

/// Size of [`Header`] on the medium.
pub const HEADER_BYTES: usize = 12;

/// Size of [`DumpHeader`] on the medium.
pub const DUMP_HEADER_BYTES: usize = 40;

/// Bytes of a dmesg zone in front of the text.
pub const DUMP_OVERHEAD: usize = HEADER_BYTES + DUMP_HEADER_BYTES;

/// What all sizes are multiples of: pstore_blk is told KiB and takes multiples of four.
pub const GRAIN: usize = 4096;

/// How much of a device the in-tree code uses.
pub const AREA_MAX: u64 = 128 << 20;

/// Largest zone: the in-tree code has each in one piece of memory.
pub const ZONE_MAX: usize = 4 << 20;

/// Least room for the signature block at the end of the device.
pub const RESERVE_MIN: u64 = 4096;

/// Says that a dmesg zone has a header.
const DUMP_MAGIC: u32 = 0x4dfc_3ae5;

/// Says that a dump header has a checksum: "MPS1" in a little endian dump.
const SUM_MARK: u32 = 0x3153_504d;

/// What a zone is for. The numbers are the kernel's `enum pstore_type_id`, which has none for ttys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum ZoneType {
    /// One dump.
    Dmesg = 0,
    /// The console.
    Console = 2,
    /// Function trace of one CPU.
    Ftrace = 3,
    /// Messages from user space.
    Pmsg = 7,
    /// What is written to ttys; far from what the kernel may use one day.
    Tty = 0x74,
}

impl ZoneType {
    /// What a zone of this type begins with.
    pub const fn signature(self) -> u32 {
        // CAST: As declared.
        SIGNATURE ^ self as u32
    }

    /// The parameter that decides about it.
    const fn field(self) -> &'static str {
        match self {
            Self::Dmesg => "kmsg_size",
            Self::Console => "console_size",
            Self::Ftrace => "ftrace_size",
            Self::Pmsg => "pmsg_size",
            Self::Tty => "tty_size",
        }
    }
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
    /// Whose zone this is, and what for.
    pub sig: u32,
    /// Number of valid bytes.
    pub datalen: u32,
    /// Offset of the next byte to be written.
    pub start: u32,
}

const _: () = {
    assert!(size_of::<Header>() == HEADER_BYTES);
    assert!(offset_of!(Header, sig) == 0);
    assert!(offset_of!(Header, datalen) == 4);
    assert!(offset_of!(Header, start) == 8);
};

impl Header {
    /// The header of a ring.
    pub fn of_ring(kind: ZoneType, ring: &Ring) -> Self {
        let same = ring.header(kind.signature());
        Self {
            sig: same.sig,
            datalen: same.size,
            start: same.start,
        }
    }

    /// The header as it lies on the medium.
    pub fn to_bytes(self) -> [u8; HEADER_BYTES] {
        zerocopy::transmute!(self)
    }

    /// Reads what lies on the medium. Any twelve bytes are a header.
    pub fn from_bytes(bytes: [u8; HEADER_BYTES]) -> Self {
        zerocopy::transmute!(bytes)
    }

    /// The ring that it tells of, in a zone of `kind` and `len` bytes.
    ///
    /// Accepts what the in-tree code accepts, save a `start` beyond the end of the content, where
    /// that code reads a negative number of bytes.
    pub fn ring(self, kind: ZoneType, len: usize) -> Result<Ring, Garbage> {
        let capacity = len.saturating_sub(HEADER_BYTES);
        let sig = kind.signature();
        if self.sig == sig && self.datalen == 0 && self.in_range(capacity) {
            // Erased: `start` means nothing any more.
            return Ok(Ring::empty(capacity));
        }
        let same = crate::ram::Header {
            sig: self.sig,
            start: self.start,
            size: self.datalen,
        };
        Ring::check(same, sig, capacity)
    }

    fn in_range(&self, capacity: usize) -> bool {
        usize::try_from(self.start).is_ok_and(|start| start <= capacity)
    }
}

/// What the data of a dmesg zone begin with.
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
pub struct DumpHeader {
    magic: u32,
    /// A hole in-tree.
    mark: u32,
    sec: i64,
    nsec: i64,
    compressed: u8,
    pad: [u8; 3],
    counter: u32,
    reason: u32,
    /// A hole in-tree.
    sum: u32,
}

const _: () = {
    assert!(size_of::<DumpHeader>() == DUMP_HEADER_BYTES);
    assert!(offset_of!(DumpHeader, magic) == 0);
    assert!(offset_of!(DumpHeader, sec) == 8);
    assert!(offset_of!(DumpHeader, nsec) == 16);
    assert!(offset_of!(DumpHeader, compressed) == 24);
    assert!(offset_of!(DumpHeader, counter) == 28);
    assert!(offset_of!(DumpHeader, reason) == 32);
    assert!(offset_of!(DumpHeader, sum) == 36);
};

/// What is known of a dump beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DumpInfo {
    /// When it was made.
    pub stamp: Stamp,
    /// Whether the text is compressed.
    pub compressed: bool,
    /// How many dumps for this reason there have been on this medium; 0 for reasons that are not
    /// counted.
    pub counter: u32,
    /// `enum kmsg_dump_reason`.
    pub reason: u32,
}

/// CRC-32, a piece at a time.
#[derive(Clone, Copy, Debug)]
pub struct Sum(u32);

impl Sum {
    /// Of the header of a dump with `len` bytes of text. The text is to follow.
    pub fn new(info: &DumpInfo, len: usize) -> Self {
        let mut sum = Self(!0);
        let header = DumpHeader::new(info, 0);
        let covered = header.as_bytes();
        sum.add(covered.get(..offset_of!(DumpHeader, sum)).unwrap_or(&[]));
        sum.add(&(len as u64).to_ne_bytes());
        sum
    }

    /// Goes on with these bytes. Any context.
    pub fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            // CAST: The lowest byte.
            let at = usize::from((self.0 as u8) ^ byte);
            self.0 = CRC.get(at).copied().unwrap_or(0) ^ (self.0 >> 8);
        }
    }

    /// The number for the medium.
    pub const fn value(self) -> u32 {
        !self.0
    }
}

impl DumpHeader {
    fn new(info: &DumpInfo, sum: u32) -> Self {
        Self {
            magic: DUMP_MAGIC,
            mark: SUM_MARK,
            sec: i64::try_from(info.stamp.sec).unwrap_or(i64::MAX),
            nsec: i64::from(info.stamp.usec).saturating_mul(1000),
            compressed: u8::from(info.compressed),
            pad: [0; 3],
            counter: info.counter,
            reason: info.reason,
            sum,
        }
    }
}

/// The first bytes of a dmesg zone with `len` bytes of text behind them, whose checksum is `sum`.
/// Any context.
pub fn dump_head(info: &DumpInfo, len: usize, sum: Sum) -> [u8; DUMP_OVERHEAD] {
    let mut out = [0; DUMP_OVERHEAD];
    let header = Header {
        sig: ZoneType::Dmesg.signature(),
        datalen: u32::try_from(len.saturating_add(DUMP_HEADER_BYTES)).unwrap_or(0),
        start: 0,
    };
    let dump = DumpHeader::new(info, sum.value());
    let bytes = header.as_bytes().iter().chain(dump.as_bytes());
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}

/// A dump on the medium, as its first bytes have it.
///
/// # Invariants
///
/// `len` bytes of text fit the zone that it was found in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// What is known of it.
    pub info: DumpInfo,
    len: usize,
    sum: Option<u32>,
    /// As on the medium, where it may be finer than in [`DumpInfo`].
    nsec: i64,
}

impl Found {
    /// Bytes of text.
    pub const fn text_len(&self) -> usize {
        self.len
    }

    /// Tells it from another dump in the same zone.
    pub fn cookie(&self) -> u64 {
        self.info
            .stamp
            .sec
            .wrapping_mul(1_000_000_000)
            // CAST: Only to be the same again.
            .wrapping_add(self.nsec as u64)
            .wrapping_mul(31)
            .wrapping_add(u64::from(self.info.counter))
    }

    /// Whether `text` is what was written. [`None`] if the writer left no checksum, as the in-tree
    /// code does.
    pub fn intact(&self, text: &[u8]) -> Option<bool> {
        let wanted = self.sum?;
        let mut sum = Sum::new(&self.info, self.len);
        sum.add(text);
        Some(text.len() == self.len && sum.value() == wanted)
    }
}

/// What a dmesg zone holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Nothing was ever written there: zeros or ones.
    Blank,
    /// The record that was there was erased, but its header counts still; it may be damaged.
    Erased(Option<DumpInfo>),
    /// A dump.
    Dump(Found),
    /// No zone of this kind.
    Garbage(Garbage),
    /// A zone, but no dump.
    Unknown,
}

/// Whether nothing was ever written to these bytes: a new disk, or erased flash memory.
pub fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0) || bytes.iter().all(|byte| *byte == 0xff)
}

impl Slot {
    /// Judges a dmesg zone of `len` bytes by its first ones.
    pub fn parse(head: &[u8; DUMP_OVERHEAD], len: usize) -> Self {
        if is_blank(head) {
            return Self::Blank;
        }
        let Ok((header, rest)) = Header::read_from_prefix(head) else {
            return Self::Unknown;
        };
        let ring = match header.ring(ZoneType::Dmesg, len) {
            Ok(ring) => ring,
            Err(garbage) => return Self::Garbage(garbage),
        };
        let dump = DumpHeader::read_from_bytes(rest)
            .ok()
            .filter(|dump| dump.magic == DUMP_MAGIC);
        let info = |dump: &DumpHeader| {
            // Times before 1970 and odd fractions of a second are somebody's mistake, no reason to
            // lose the record.
            let usec = u32::try_from(dump.nsec / 1000).unwrap_or(0).min(999_999);
            DumpInfo {
                stamp: Stamp {
                    sec: u64::try_from(dump.sec).unwrap_or(0),
                    usec,
                },
                compressed: dump.compressed != 0,
                counter: dump.counter,
                reason: dump.reason,
            }
        };
        let Some(text) = ring.size().checked_sub(DUMP_HEADER_BYTES) else {
            return match ring.size() {
                0 => Self::Erased(dump.as_ref().map(info)),
                _ => Self::Unknown,
            };
        };
        match dump {
            // INVARIANT: The ring fits the zone.
            Some(dump) => Self::Dump(Found {
                info: info(&dump),
                len: text,
                sum: (dump.mark == SUM_MARK).then_some(dump.sum),
                nsec: dump.nsec,
            }),
            None => Self::Unknown,
        }
    }
}

/// What the owner of a device asks for. A size of zero leaves that kind of zone out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ZoneSizes {
    /// The whole device.
    pub bytes: u64,
    /// Its logical blocks.
    pub block: usize,
    /// Each dump.
    pub kmsg_size: usize,
    /// The zone for messages from user space.
    pub pmsg_size: usize,
    /// The console's zone.
    pub console_size: usize,
    /// All zones of the function trace together.
    pub ftrace_size: usize,
    /// The zone for what is written to ttys.
    pub tty_size: usize,
    /// Possible CPUs, as the kernel numbers them.
    pub cpus: usize,
}

/// Why a device can't be divided as asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZoneError {
    /// The device is smaller than one grain.
    NoDevice,
    /// Every size is zero.
    NoZones,
    /// A size is no multiple of [`GRAIN`], or too large.
    Size {
        /// Which.
        field: &'static str,
        /// As asked for.
        size: usize,
    },
    /// A zone is larger than what the others leave over.
    NoRoom {
        /// Which size.
        field: &'static str,
        /// As asked for.
        size: usize,
        /// What is left for it.
        room: u64,
    },
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice => f.write_str("the device holds less than 4096 bytes"),
            Self::NoZones => f.write_str(
                "at least one of kmsg_size, console_size, ftrace_size, pmsg_size and tty_size \
                 must not be zero",
            ),
            Self::Size { field, size } if *size > ZONE_MAX => {
                write!(f, "{field}={size:#x}: give at most 4M")
            }
            Self::Size { field, size } if *size < GRAIN => write!(
                f,
                "{field}={size}: give bytes in multiples of 4096, not KiB as for pstore_blk: \
                 {size}K?"
            ),
            Self::Size { field, size } => {
                write!(f, "{field}={size:#x}: give a multiple of 4096 bytes")
            }
            Self::NoRoom { field, size, room } => write!(
                f,
                "{field}={size:#x}: does not fit, the device has {room:#x} bytes left for it"
            ),
        }
    }
}

impl core::error::Error for ZoneError {}

#[cfg(CONFIG_RUST)]
impl kernel::fmt::Display for ZoneError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

#[cfg(CONFIG_RUST)]
impl From<ZoneError> for kernel::error::Error {
    fn from(error: ZoneError) -> Self {
        match error {
            ZoneError::NoRoom { .. } => kernel::error::code::ENOSPC,
            _ => kernel::error::code::EINVAL,
        }
    }
}

/// A device divided into zones.
///
/// # Invariants
///
/// Zones do not overlap each other nor the reserve, and lie within the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZoneLayout {
    pmsg: Option<Zone>,
    console: Option<Zone>,
    ftrace: (usize, usize, usize),
    dmesg: (usize, usize, usize),
    /// How many dmesg zones the in-tree code has, which knows nothing of what comes after ours.
    in_tree: usize,
    tty: Option<Zone>,
    reserve: Option<(u64, u64)>,
}

impl ZoneLayout {
    /// Divides a device. With `tail` there are a tty zone and a reserve behind what the in-tree
    /// code uses, or, on a device of less than 128 MiB, instead of its last dmesg zones.
    pub fn new(sizes: &ZoneSizes, tail: bool) -> Result<Self, ZoneError> {
        let grain = GRAIN as u64;
        let bytes = sizes.bytes / grain * grain;
        let total = bytes.min(AREA_MAX);
        if total == 0 {
            return Err(ZoneError::NoDevice);
        }
        let tty_size = if tail { sizes.tty_size } else { 0 };
        let asked = [
            (ZoneType::Pmsg, sizes.pmsg_size),
            (ZoneType::Console, sizes.console_size),
            (ZoneType::Ftrace, sizes.ftrace_size),
            (ZoneType::Dmesg, sizes.kmsg_size),
            (ZoneType::Tty, tty_size),
        ];
        for (kind, size) in asked {
            // All CPUs' traces are many zones.
            let most = match kind {
                ZoneType::Ftrace => ZONE_MAX.saturating_mul(sizes.cpus.max(1)),
                _ => ZONE_MAX,
            };
            if size % GRAIN != 0 || size > most {
                let field = kind.field();
                return Err(ZoneError::Size { field, size });
            }
        }
        if asked.iter().all(|(_, size)| *size == 0) {
            return Err(ZoneError::NoZones);
        }
        let mut room = total;
        for (kind, size) in asked.into_iter().take(3) {
            let field = kind.field();
            room = room
                .checked_sub(size as u64)
                .ok_or(ZoneError::NoRoom { field, size, room })?;
        }

        let one = |offset, len| (len != 0).then_some(Zone { offset, len });
        let pmsg = one(0, sizes.pmsg_size);
        let console = one(sizes.pmsg_size, sizes.console_size);
        let traces = sizes.pmsg_size + sizes.console_size;
        // As many as such zones fit, which may be some more than CPUs.
        let share = sizes.ftrace_size / sizes.cpus.max(1);
        let count = sizes.ftrace_size.checked_div(share).unwrap_or(0);
        // CAST: At most 128 MiB.
        let first = traces + share * count;
        let fixed = traces as u64 + sizes.ftrace_size as u64;
        let in_tree = ((total - fixed) as usize)
            .checked_div(sizes.kmsg_size)
            .unwrap_or(0);
        if in_tree == 0 && sizes.kmsg_size != 0 {
            return Err(ZoneError::NoRoom {
                field: ZoneType::Dmesg.field(),
                size: sizes.kmsg_size,
                room: total - fixed,
            });
        }

        let reserve_len = RESERVE_MIN.max(sizes.block as u64);
        let reserve_at = (sizes.bytes / reserve_len * reserve_len).checked_sub(reserve_len);
        // What comes first must not reach beyond `end`.
        let plan = |reserve: Option<u64>| {
            let end = reserve.unwrap_or(bytes);
            let tty = tty_size as u64;
            let at = match end.checked_sub(tty) {
                Some(at) if at > AREA_MAX => AREA_MAX,
                Some(at) => at / GRAIN as u64 * GRAIN as u64,
                None => return None,
            };
            let least = match sizes.kmsg_size {
                0 => fixed,
                size => (first + size) as u64,
            };
            if at < least {
                return None;
            }
            // CAST: At most 128 MiB.
            let tty = one(at as usize, tty_size);
            let limit = if tty_size == 0 { end.min(total) } else { at };
            let count = (limit.saturating_sub(first as u64) as usize)
                .checked_div(sizes.kmsg_size)
                .unwrap_or(0)
                .min(in_tree);
            Some((tty, count, reserve.map(|at| (at, reserve_len))))
        };
        let with = reserve_at.filter(|_| tail).and_then(|at| plan(Some(at)));
        let (tty, dumps, reserve) = with.or_else(|| plan(None)).ok_or(ZoneError::NoRoom {
            field: ZoneType::Tty.field(),
            size: tty_size,
            room: room.saturating_sub(sizes.kmsg_size as u64),
        })?;
        // INVARIANT: Each begins where the one before ends or later, by the arithmetic above.
        Ok(Self {
            pmsg,
            console,
            ftrace: (traces, share, count),
            dmesg: (first, sizes.kmsg_size, dumps),
            in_tree,
            tty,
            reserve,
        })
    }

    fn of_row((first, len, count): (usize, usize, usize), index: usize) -> Option<Zone> {
        (index < count).then(|| Zone {
            offset: first.saturating_add(len.saturating_mul(index)),
            len,
        })
    }

    /// How many dumps there is room for.
    pub fn dmesg_count(&self) -> usize {
        self.dmesg.2
    }

    /// The zone of one dump.
    pub fn dmesg(&self, index: usize) -> Option<Zone> {
        Self::of_row(self.dmesg, index)
    }

    /// Zones for dumps that the in-tree code has where here the tty zone and the reserve are.
    pub fn dmesg_lost(&self) -> impl Iterator<Item = Zone> {
        let (first, len, count) = self.dmesg;
        let all = (first, len, self.in_tree);
        (count..self.in_tree).filter_map(move |index| Self::of_row(all, index))
    }

    /// The console's zone.
    pub fn console(&self) -> Option<Zone> {
        self.console
    }

    /// The zone for messages from user space.
    pub fn pmsg(&self) -> Option<Zone> {
        self.pmsg
    }

    /// How many zones the function trace has: one for each CPU, and maybe some that are not used.
    pub fn ftrace_count(&self) -> usize {
        self.ftrace.2
    }

    /// One zone of the function trace.
    pub fn ftrace(&self, index: usize) -> Option<Zone> {
        Self::of_row(self.ftrace, index)
    }

    /// The zone for what is written to ttys.
    pub fn tty(&self) -> Option<Zone> {
        self.tty
    }

    /// Offset and length of what is kept free at the end of the device, if there is room.
    pub fn reserve(&self) -> Option<(u64, u64)> {
        self.reserve
    }

    /// Every zone in the order of the medium.
    pub fn zones(&self) -> impl Iterator<Item = (ZoneType, Zone)> + '_ {
        let single = |kind, zone: Option<Zone>| zone.map(|zone| (kind, zone)).into_iter();
        let traces = (0..self.ftrace_count()).filter_map(|i| self.ftrace(i));
        let dumps = (0..self.dmesg_count()).filter_map(|i| self.dmesg(i));
        single(ZoneType::Pmsg, self.pmsg)
            .chain(single(ZoneType::Console, self.console))
            .chain(traces.map(|zone| (ZoneType::Ftrace, zone)))
            .chain(dumps.map(|zone| (ZoneType::Dmesg, zone)))
            .chain(single(ZoneType::Tty, self.tty))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::STRIDE;

    const BASE: ZoneSizes = ZoneSizes {
        bytes: 1 << 20,
        block: 512,
        kmsg_size: 0x1_0000,
        pmsg_size: 0x1_0000,
        console_size: 0x1_0000,
        ftrace_size: 0x1_0000,
        tty_size: 0,
        cpus: 2,
    };

    /// What the in-tree code does (`psz_alloc_zones()`), written down in its own words.
    fn in_tree(sizes: &ZoneSizes) -> Option<Vec<(ZoneType, usize, usize)>> {
        let total = (sizes.bytes & !4095).min(AREA_MAX) as usize;
        let (mut off, mut off_size, mut zones) = (0, 0, Vec::new());
        let mut init = |kind, off: &mut usize, size: usize| {
            if size == 0 {
                return Some(());
            }
            if *off + size > total {
                return None;
            }
            zones.push((kind, *off, size));
            *off += size;
            Some(())
        };
        off_size += sizes.pmsg_size;
        init(ZoneType::Pmsg, &mut off, sizes.pmsg_size)?;
        off_size += sizes.console_size;
        init(ZoneType::Console, &mut off, sizes.console_size)?;
        off_size += sizes.ftrace_size;
        for (kind, all, each) in [
            (
                ZoneType::Ftrace,
                sizes.ftrace_size,
                sizes.ftrace_size / sizes.cpus,
            ),
            (
                ZoneType::Dmesg,
                total.checked_sub(off_size)?,
                sizes.kmsg_size,
            ),
        ] {
            if all == 0 || each == 0 {
                continue;
            }
            let count = all / each;
            if count == 0 || off + all > total {
                return None;
            }
            for _ in 0..count {
                init(kind, &mut off, each)?;
            }
        }
        Some(zones)
    }

    fn ours(layout: &ZoneLayout) -> Vec<(ZoneType, usize, usize)> {
        layout
            .zones()
            .map(|(kind, zone)| (kind, zone.offset, zone.len))
            .collect()
    }

    #[test]
    fn without_a_tail_the_layout_is_the_in_tree_one() {
        let mut tried = 0;
        for bytes in [
            4096,
            0x1_0000,
            1 << 20,
            (1 << 20) + 512,
            0x12_3400,
            if cfg!(miri) { 2 << 20 } else { 200 << 20 },
        ] {
            for kmsg_size in [0x1000, 0x3000, 0x1_0000] {
                for pmsg_size in [0, 0x1000, 0x1_0000] {
                    for ftrace_size in [0, 0x1000, 0x1_0000] {
                        for cpus in [1, 2, 3, 7, 100, 5000] {
                            let sizes = ZoneSizes {
                                bytes,
                                kmsg_size,
                                pmsg_size,
                                ftrace_size,
                                cpus,
                                ..BASE
                            };
                            let Ok(layout) = ZoneLayout::new(&sizes, false) else {
                                assert!(in_tree(&sizes).is_none_or(|z| z
                                    .iter()
                                    .all(|(kind, ..)| *kind != ZoneType::Dmesg)));
                                continue;
                            };
                            assert_eq!(Some(ours(&layout)), in_tree(&sizes), "{sizes:?}");
                            assert_eq!(layout.reserve(), None);
                            tried += 1;
                        }
                    }
                }
            }
        }
        assert!(tried > 400);
    }

    #[test]
    fn a_tail_leaves_the_in_tree_zones_where_they_are() {
        for bytes in [
            1 << 20,
            (1 << 20) + 0x2200,
            127 << 20,
            128 << 20,
            (128 << 20) + 4096,
            (128 << 20) + 0x1_1000,
            1 << 33,
        ] {
            for tty_size in [0, 0x1000, 0x1_0000] {
                for block in [512, 4096, 16384] {
                    let sizes = ZoneSizes {
                        bytes,
                        tty_size,
                        block,
                        ..BASE
                    };
                    let layout = ZoneLayout::new(&sizes, true).unwrap();
                    let theirs = in_tree(&sizes).unwrap();
                    let mut mine = ours(&layout);
                    let tty = layout.tty();
                    if let Some(tty) = tty {
                        assert_eq!(mine.pop(), Some((ZoneType::Tty, tty.offset, tty.len)));
                        assert_eq!(tty.len, tty_size);
                        assert_eq!(tty.offset % GRAIN, 0);
                    }
                    assert_eq!(tty.is_some(), tty_size != 0);
                    assert_eq!(mine, theirs[..mine.len()]);
                    assert_eq!(layout.dmesg_lost().count(), theirs.len() - mine.len());
                    let (at, len) = layout.reserve().unwrap();
                    assert_eq!(len, RESERVE_MIN.max(block as u64));
                    assert!(at % len == 0 && at + len <= bytes && bytes - at < 2 * len);
                    let end = ours(&layout).last().map(|(_, at, len)| at + len).unwrap();
                    assert!(end as u64 <= at);
                    // Beyond what the in-tree code uses nothing is lost for it.
                    if bytes >= AREA_MAX + tty_size as u64 + 2 * len {
                        assert_eq!(layout.dmesg_lost().count(), 0);
                    }
                }
            }
        }
    }

    #[test]
    fn a_device_that_is_full_of_zones_has_no_reserve() {
        let sizes = ZoneSizes {
            bytes: 0x4_0000,
            ..BASE
        };
        let layout = ZoneLayout::new(&sizes, true).unwrap();
        assert_eq!((layout.dmesg_count(), layout.reserve()), (1, None));
        // With room for two dumps the second makes place.
        let sizes = ZoneSizes {
            bytes: 0x5_0000,
            ..BASE
        };
        let layout = ZoneLayout::new(&sizes, true).unwrap();
        assert_eq!(layout.dmesg_count(), 1);
        assert_eq!(layout.reserve(), Some((0x4_f000, 0x1000)));
        assert_eq!(layout.dmesg_lost().count(), 1);
    }

    #[test]
    fn faults_name_the_size() {
        let fault = |sizes: ZoneSizes| ZoneLayout::new(&sizes, true).unwrap_err().to_string();
        assert!(fault(ZoneSizes {
            bytes: 4095,
            ..BASE
        })
        .contains("4096"));
        assert!(fault(ZoneSizes {
            kmsg_size: 64,
            ..BASE
        })
        .contains(
            "kmsg_size=64: give bytes in multiples of 4096, not KiB as for pstore_blk: 64K?"
        ));
        assert!(fault(ZoneSizes {
            console_size: 0x1200,
            ..BASE
        })
        .starts_with("console_size=0x1200: "));
        assert!(fault(ZoneSizes {
            pmsg_size: 8 << 20,
            ..BASE
        })
        .contains("at most 4M"));
        assert_eq!(
            fault(ZoneSizes {
                console_size: 1 << 20,
                ..BASE
            }),
            "console_size=0x100000: does not fit, the device has 0xf0000 bytes left for it"
        );
        assert!(fault(ZoneSizes {
            tty_size: 0xd_0000,
            ..BASE
        })
        .starts_with("tty_size="));
        assert!(fault(ZoneSizes {
            bytes: 1 << 20,
            block: 512,
            ..ZoneSizes::default()
        })
        .contains("at least one of"));
    }

    /// The dmesg zone of the in-tree code that `pstore-in-tree.md` quotes.
    #[test]
    fn a_dump_of_the_in_tree_code() {
        let mut head = [0; DUMP_OVERHEAD];
        head[..12].copy_from_slice(b"\x44\x42\x47\x43\x6d\x14\x00\x00\x00\x00\x00\x00");
        head[12..16].copy_from_slice(b"\xe5\x3a\xfc\x4d");
        head[20..28].copy_from_slice(&1_795_230_075u64.to_le_bytes());
        head[28..36].copy_from_slice(&90_760_323u64.to_le_bytes());
        head[36] = 1;
        head[40] = 1;
        head[44] = 2;
        let Slot::Dump(found) = Slot::parse(&head, 0x2000) else {
            panic!();
        };
        assert_eq!(
            found.info,
            DumpInfo {
                stamp: Stamp {
                    sec: 1_795_230_075,
                    usec: 90_760
                },
                compressed: true,
                counter: 1,
                reason: 2
            }
        );
        assert_eq!(found.text_len(), 5229 - 40);
        assert_eq!(found.intact(&[]), None);
        // A zone that is too small for it.
        assert!(matches!(Slot::parse(&head, 5240), Slot::Garbage(_)));
        assert!(matches!(Slot::parse(&head, 5241), Slot::Dump(_)));
        // Erased: only the header's length changes.
        head[4..8].fill(0);
        assert_eq!(Slot::parse(&head, 0x2000), Slot::Erased(Some(found.info)));
        head[12] = 0;
        assert_eq!(Slot::parse(&head, 0x2000), Slot::Erased(None));
        head[4] = 41;
        assert_eq!(Slot::parse(&head, 0x2000), Slot::Unknown);
        head[4] = 39;
        assert_eq!(Slot::parse(&head, 0x2000), Slot::Unknown);
    }

    fn dump(text: &[u8]) -> (DumpInfo, [u8; DUMP_OVERHEAD]) {
        let info = DumpInfo {
            stamp: Stamp {
                sec: 1_795_230_075,
                usec: 90_760,
            },
            compressed: false,
            counter: 7,
            reason: 1,
        };
        let mut sum = Sum::new(&info, text.len());
        for piece in text.chunks(5) {
            sum.add(piece);
        }
        (info, dump_head(&info, text.len(), sum))
    }

    #[test]
    fn what_is_written_is_read() {
        let text = b"Panic#7 Part1\n<0>gone\n";
        let (info, head) = dump(text);
        let Slot::Dump(found) = Slot::parse(&head, 0x1000) else {
            panic!();
        };
        assert_eq!((found.info, found.text_len()), (info, text.len()));
        assert_eq!(found.intact(text), Some(true));
        // As the in-tree code would read it.
        assert_eq!(&head[..4], b"DBGC");
        assert_eq!(head[4..8], (40 + text.len() as u32).to_le_bytes());
        assert_eq!(&head[12..16], b"\xe5\x3a\xfc\x4d");
        assert_eq!(head[28..36], 90_760_000u64.to_le_bytes());
    }

    #[test]
    fn every_damaged_bit_is_seen() {
        let text = b"some text that was to be kept";
        let (_, head) = dump(text);
        for bit in (0..8 * (DUMP_OVERHEAD + text.len())).step_by(STRIDE) {
            let mut zone = [&head[..], text].concat();
            zone[bit / 8] ^= 1 << (bit % 8);
            let head = zone[..DUMP_OVERHEAD].try_into().unwrap();
            let Slot::Dump(found) = Slot::parse(&head, 0x1000) else {
                continue;
            };
            let rest = &zone[DUMP_OVERHEAD..];
            let text = rest.get(..found.text_len()).unwrap_or(rest);
            // Whether the mark itself is damaged can't be known.
            let mark = 8 * (HEADER_BYTES + 4)..8 * (HEADER_BYTES + 8);
            // Nor are the padding, the start of a zone whose start does not count, and the
            // fraction of a microsecond of any meaning; a bool has one bit.
            let unused = 8 * 8..8 * 12;
            let fine = 8 * (HEADER_BYTES + 16)..8 * (HEADER_BYTES + 28);
            if mark.contains(&bit) || unused.contains(&bit) || fine.contains(&bit) {
                continue;
            }
            assert_eq!(found.intact(text), Some(false), "bit {bit}");
        }
    }

    #[test]
    fn rings() {
        let header = |datalen, start| Header {
            sig: ZoneType::Pmsg.signature(),
            datalen,
            start,
        };
        let ring = |datalen, start| header(datalen, start).ring(ZoneType::Pmsg, 112);
        assert_eq!(
            ZoneType::Pmsg.signature().to_le_bytes(),
            *b"\x43\x42\x47\x43"
        );
        assert_eq!(ZoneType::Console.signature(), 0x4347_4246);
        assert_eq!(ZoneType::Ftrace.signature(), 0x4347_4247);
        assert_eq!(ring(11, 11).unwrap().size(), 11);
        assert_eq!(ring(100, 40).unwrap().linear()[0].at, 40);
        assert_eq!(ring(100, 100).unwrap().start(), 0);
        assert!(ring(0, 70).unwrap().is_empty());
        assert!(ring(101, 1).is_err());
        assert!(ring(5, 6).is_err());
        assert!(ring(0, 101).is_err());
        assert!(header(5, 5).ring(ZoneType::Tty, 112).is_err());
        for (datalen, start) in [(0, 0), (11, 11), (100, 40), (100, 0)] {
            let ring = ring(datalen, start).unwrap();
            assert_eq!(
                Header::of_ring(ZoneType::Pmsg, &ring),
                header(datalen, start)
            );
        }
    }

    #[test]
    fn blank() {
        assert_eq!(Slot::parse(&[0; DUMP_OVERHEAD], 0x1000), Slot::Blank);
        assert_eq!(Slot::parse(&[0xff; DUMP_OVERHEAD], 0x1000), Slot::Blank);
        assert!(matches!(
            Slot::parse(&[1; DUMP_OVERHEAD], 0x1000),
            Slot::Garbage(_)
        ));
    }
}
