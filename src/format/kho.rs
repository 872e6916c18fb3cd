// SPDX-License-Identifier: GPL-2.0

//! The index that one kernel hands to the next over kexec (Kexec HandOver): where the memory of
//! each generation of records is, and how it is divided.
//!
//! ```text
//!   0        slot_offset              + slot_size                        total_size
//!   +--------+------------------------+------------------------+---------------+
//!   | header | slot 0                 | slot 1                 | (room)        |
//!   +--------+------------------------+------------------------+---------------+
//!            +------+-------------+--------+
//!            | slot | generations | chunks |
//!            +------+-------------+--------+
//! ```
//!
//! The slots are two complete versions of the same tables. Changes are written to the older one,
//! which then counts by its higher sequence, so that a jump in the middle of a change finds the
//! version before it. `Documentation/format-kho.md` and `mpstore_kho.h` say the same for readers in
//! C.
//!
//! What a generation's memory holds is the same as in a RAM region: see [`crate::ram`].

use crate::layout::{
    LayoutError,
    RamLayout,
    ZoneKind, //
};
use crate::record::Stamp;
use core::fmt;
use core::mem::offset_of;
use zerocopy::{
    FromBytes as _,
    IntoBytes as _, //
};

/// Name of the subtree.
pub const NODE_NAME: &core::ffi::CStr = c"mpstore";

/// The version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// "MPKO" in a little endian dump.
pub const MAGIC: u32 = 0x4f4b_504d;

/// Size of [`Header`].
pub const HEADER_BYTES: usize = 64;
/// Size of [`SlotHeader`].
pub const SLOT_BYTES: usize = 48;
/// Size of [`GenerationEntry`].
pub const GENERATION_BYTES: usize = 264;
/// Size of [`ZoneEntry`].
pub const ZONE_BYTES: usize = 24;
/// Size of [`ChunkEntry`].
pub const CHUNK_BYTES: usize = 16;

/// Bytes of an index as it is written.
pub const INDEX_BYTES: usize = 65536;
/// How many slots there are.
pub const SLOTS: usize = 2;
/// Generations that a slot has room for as it is written.
pub const GENERATIONS_WRITTEN: usize = 96;
/// Chunks that a slot has room for as it is written.
pub const CHUNKS_WRITTEN: usize = 400;
const SLOT_STRIDE: usize =
    SLOT_BYTES + GENERATIONS_WRITTEN * GENERATION_BYTES + CHUNKS_WRITTEN * CHUNK_BYTES;

/// Most generations that a reader believes in.
pub const GENERATIONS_MAX: usize = 256;
/// Most chunks that a reader believes in; each is compared with each.
pub const CHUNKS_MAX: usize = 1024;
/// Largest index that a reader believes in.
pub const INDEX_MAX: usize = 1 << 20;
/// Largest memory of one generation that a reader believes in.
pub const MEM_MAX: u64 = 1 << 30;
/// Numbers of generations and seconds stay below.
const NUMBER_MAX: u64 = 1 << 40;

/// Rows of zones in a generation.
pub const ZONES: usize = 5;
/// Bytes of a generation's release string.
pub const RELEASE_BYTES: usize = 72;

/// The generation was still being written when the entry was.
pub const FLAG_OPEN: u32 = 1;

/// Declares a struct of the index, with its size and the offset of every field asserted.
macro_rules! wire {
    ($(#[$meta:meta])* $name:ident, $size:expr, {
        $($(#[$doc:meta])* $field:ident: $type:ty = $offset:expr,)*
    }) => {
        $(#[$meta])*
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
        pub struct $name {
            $($(#[$doc])* pub $field: $type,)*
        }

        const _: () = {
            assert!(core::mem::size_of::<$name>() == $size);
            $(assert!(offset_of!($name, $field) == $offset);)*
        };
    };
}

wire! {
    /// What the blob begins with.
    Header, HEADER_BYTES, {
        /// [`VERSION`].
        version: u32 = 0,
        /// Bytes of this header; a longer one has fields behind those known.
        header_size: u32 = 4,
        /// Bytes of the whole index.
        total_size: u64 = 8,
        /// [`MAGIC`].
        magic: u32 = 16,
        /// CRC-32 of `header_size` bytes, with this field and `taken` as zero.
        checksum: u32 = 20,
        /// Where the first slot begins.
        slot_offset: u32 = 24,
        /// Bytes from one slot to the next.
        slot_size: u32 = 28,
        /// How many slots there are.
        slot_count: u32 = 32,
        /// Page size of the kernel that wrote it; chunks are made of whole pages.
        page_size: u32 = 36,
        /// Not zero once a kernel has taken over what the index lists.
        taken: u64 = 40,
        /// Zero.
        reserved: [u64; 2] = 48,
    }
}

wire! {
    /// What a slot begins with. Offsets count from its first byte.
    SlotHeader, SLOT_BYTES, {
        /// CRC-32 of the bytes from `used_size` up to `used_size` bytes of the slot.
        checksum: u32 = 0,
        /// Bytes of the slot that mean something.
        used_size: u32 = 4,
        /// The slot with the higher one is the newer one.
        sequence: u64 = 8,
        /// What the next generation is to be called.
        next_number: u64 = 16,
        /// Where the generations are.
        generation_offset: u32 = 24,
        /// Bytes from one to the next; a longer entry has fields behind those known.
        generation_size: u32 = 28,
        /// How many there are.
        generation_count: u32 = 32,
        /// Where the chunks are.
        chunk_offset: u32 = 36,
        /// Bytes from one to the next.
        chunk_size: u32 = 40,
        /// How many there are.
        chunk_count: u32 = 44,
    }
}

wire! {
    /// A row of zones of equal size in a generation's memory.
    ZoneEntry, ZONE_BYTES, {
        /// See [`kind_number`].
        kind: u32 = 0,
        /// How many there are.
        count: u32 = 4,
        /// Where the first one begins.
        offset: u64 = 8,
        /// Bytes of each.
        len: u64 = 16,
    }
}

wire! {
    /// What one run of the recorder left.
    GenerationEntry, GENERATION_BYTES, {
        /// Ascending, never used again.
        number: u64 = 0,
        /// When it began, seconds since the epoch.
        start_sec: u64 = 8,
        /// When it ended, zero if that is not known.
        end_sec: u64 = 16,
        /// Microseconds of `start_sec`.
        start_usec: u32 = 24,
        /// Microseconds of `end_sec`.
        end_usec: u32 = 28,
        /// `/proc/sys/kernel/random/boot_id` of its kernel, zeros if not known.
        boot_id: [u8; 16] = 32,
        /// Release of its kernel, padded with zeros, at least one.
        release: [u8; RELEASE_BYTES] = 48,
        /// Bytes of its memory; its chunks together have at least as many.
        mem_size: u64 = 120,
        /// [`FLAG_OPEN`].
        flags: u32 = 128,
        /// Parity bytes of each block, zero for none.
        ecc_size: u32 = 132,
        /// Its first chunk.
        first_chunk: u32 = 136,
        /// How many chunks it has. Laid end to end they are its memory.
        chunk_count: u32 = 140,
        /// How its memory is divided.
        zones: [ZoneEntry; ZONES] = 144,
    }
}

wire! {
    /// A stretch of physical memory, preserved as one folio.
    ChunkEntry, CHUNK_BYTES, {
        /// Its address, a multiple of its size.
        phys: u64 = 0,
        /// Its size, a power of two.
        size: u64 = 8,
    }
}

const _: () = assert!(HEADER_BYTES + SLOTS * SLOT_STRIDE <= INDEX_BYTES);

/// How a kind of zone is written.
pub const fn kind_number(kind: ZoneKind) -> u32 {
    match kind {
        ZoneKind::Dmesg => 0,
        ZoneKind::Console => 1,
        ZoneKind::Pmsg => 2,
        ZoneKind::Ftrace => 3,
        ZoneKind::Tty => 4,
    }
}

fn kind_of(number: u32) -> Option<ZoneKind> {
    [
        ZoneKind::Dmesg,
        ZoneKind::Console,
        ZoneKind::Pmsg,
        ZoneKind::Ftrace,
        ZoneKind::Tty,
    ]
    .into_iter()
    .find(|kind| kind_number(*kind) == number)
}

/// Why an index can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KhoError {
    /// It ends before its header does, or is larger than any can be.
    Size,
    /// It is of a version that is not read.
    Version(u32),
    /// The header contradicts itself or the blob.
    Header(&'static str),
    /// No slot is whole.
    NoSlot,
    /// The tables of the newest slot contradict themselves.
    Slot(&'static str),
    /// An entry contradicts itself.
    Generation {
        /// Its place in the table.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// A generation can't be divided as it says.
    Zones {
        /// Its place in the table.
        index: usize,
        /// What is wrong.
        error: LayoutError,
    },
    /// A chunk is impossible.
    Chunk {
        /// Its place in the table.
        index: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The index has no room for more.
    Full,
}

impl fmt::Display for KhoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Size => f.write_str("its size is impossible"),
            Self::Version(version) => {
                write!(f, "its version is {version}, only {VERSION} is read")
            }
            Self::Header(what) => write!(f, "header: {what}"),
            Self::NoSlot => f.write_str("no checksum is right"),
            Self::Slot(what) => write!(f, "tables: {what}"),
            Self::Generation { index, what } => write!(f, "generation {index}: {what}"),
            Self::Zones { index, error } => write!(f, "generation {index}: {error}"),
            Self::Chunk { index, what } => write!(f, "chunk {index}: {what}"),
            Self::Full => f.write_str("it is full"),
        }
    }
}

impl core::error::Error for KhoError {}

#[cfg(CONFIG_RUST)]
impl kernel::fmt::Display for KhoError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        core::fmt::Display::fmt(self, f)
    }
}

/// Table of CRC-32 (IEEE 802.3, reflected), as zlib and `cksum -a crc32b` have it.
pub(crate) const CRC: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut n = 0;
    while n < 256 {
        // CAST: Below 256.
        let mut c = n as u32;
        let mut bit = 0;
        while bit < 8 {
            c = if c & 1 != 0 {
                0xedb8_8320 ^ (c >> 1)
            } else {
                c >> 1
            };
            bit += 1;
        }
        table[n] = c;
        n += 1;
    }
    table
};

/// CRC-32 of some bytes.
pub(crate) fn crc32<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u32 {
    let mut c = !0u32;
    for byte in bytes {
        // CAST: The lowest byte.
        let at = usize::from((c as u8) ^ byte);
        c = CRC.get(at).copied().unwrap_or(0) ^ (c >> 8);
    }
    !c
}

/// `bytes` as if those of `holes` were zero.
fn crc32_without(bytes: &[u8], holes: [(usize, usize); 2]) -> u32 {
    let in_hole = |at: usize| {
        holes
            .iter()
            .any(|(from, len)| (*from..*from + *len).contains(&at))
    };
    crc32(
        bytes
            .iter()
            .enumerate()
            .map(|(at, byte)| if in_hole(at) { &0 } else { byte }),
    )
}

fn header_checksum(bytes: &[u8]) -> u32 {
    crc32_without(
        bytes,
        [
            (offset_of!(Header, checksum), 4),
            (offset_of!(Header, taken), 8),
        ],
    )
}

fn slot_checksum(used: &[u8]) -> u32 {
    crc32(used.get(offset_of!(SlotHeader, used_size)..).unwrap_or(&[]))
}

impl Header {
    /// The header of an index of [`INDEX_BYTES`].
    pub fn new(page_size: u32) -> Self {
        let mut header = Self {
            version: VERSION,
            // CAST: Constants, far below 2^32.
            header_size: HEADER_BYTES as u32,
            total_size: INDEX_BYTES as u64,
            magic: MAGIC,
            checksum: 0,
            slot_offset: HEADER_BYTES as u32,
            slot_size: SLOT_STRIDE as u32,
            slot_count: SLOTS as u32,
            page_size,
            taken: 0,
            reserved: [0; 2],
        };
        header.checksum = header_checksum(header.as_bytes());
        header
    }

    /// Where slot `index` begins.
    pub const fn slot_at(index: usize) -> usize {
        HEADER_BYTES + (index % SLOTS) * SLOT_STRIDE
    }
}

/// Where in an index the mark is that it was taken over.
pub const TAKEN_AT: usize = offset_of!(Header, taken);

/// A stretch of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Its physical address.
    pub phys: u64,
    /// Its size in bytes.
    pub size: u64,
}

impl Chunk {
    const fn end(self) -> u64 {
        self.phys.saturating_add(self.size)
    }

    const fn meets(self, other: Self) -> bool {
        self.phys < other.end() && other.phys < self.end()
    }

    fn check(self, page_size: u64) -> Result<(), &'static str> {
        if self.size < page_size || !self.size.is_power_of_two() {
            return Err("its size is no power of two of pages");
        }
        if self.phys & (self.size - 1) != 0 {
            return Err("its address is no multiple of its size");
        }
        if self.phys == 0 || self.phys.checked_add(self.size).is_none() {
            return Err("its address is impossible");
        }
        Ok(())
    }
}

/// One generation, its memory aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Ascending, never used again.
    pub number: u64,
    /// When it began.
    pub start: Stamp,
    /// When it ended, if that is known.
    pub end: Option<Stamp>,
    /// Of its kernel's boot.
    pub boot_id: [u8; 16],
    /// Of its kernel, padded with zeros.
    pub release: [u8; RELEASE_BYTES],
    /// Whether it was still being written.
    pub open: bool,
    /// Bytes of its memory.
    pub mem_size: usize,
    /// How it is divided.
    pub layout: RamLayout,
    /// Parity bytes of each block.
    pub ecc_size: usize,
}

impl Generation {
    /// Whether a time may stand in an entry.
    pub const fn is_time(stamp: Stamp) -> bool {
        stamp.sec < NUMBER_MAX && stamp.usec < 1_000_000
    }

    /// Its kernel's release, printable ASCII.
    pub fn release(&self) -> &str {
        let len = self.release.iter().position(|b| *b == 0).unwrap_or(0);
        self.release
            .get(..len)
            .and_then(|text| core::str::from_utf8(text).ok())
            .unwrap_or("")
    }

    /// As much of `text` as there is room for, in the form that entries have it: what is not
    /// printable becomes a question mark.
    pub fn release_from(text: &[u8]) -> [u8; RELEASE_BYTES] {
        let mut release = [0; RELEASE_BYTES];
        for (to, from) in release.iter_mut().take(RELEASE_BYTES - 1).zip(text) {
            *to = if from.is_ascii_graphic() { *from } else { b'?' };
        }
        release
    }

    fn check(index: usize, entry: &GenerationEntry) -> Result<Self, KhoError> {
        let wrong = |what| Err(KhoError::Generation { index, what });
        if entry.number >= NUMBER_MAX {
            return wrong("its number is impossible");
        }
        let stamp = |sec, usec| Some(Stamp { sec, usec }).filter(|stamp| Self::is_time(*stamp));
        let (Some(start), Some(end)) = (
            stamp(entry.start_sec, entry.start_usec),
            stamp(entry.end_sec, entry.end_usec),
        ) else {
            return wrong("its time is impossible");
        };
        let len = entry.release.iter().position(|b| *b == 0);
        match len.and_then(|len| entry.release.split_at_checked(len)) {
            Some((text, rest))
                if text.iter().all(u8::is_ascii_graphic) && rest.iter().all(|b| *b == 0) => {}
            _ => return wrong("its release is no text"),
        }
        if entry.flags & !FLAG_OPEN != 0 {
            return wrong("it has unknown flags");
        }
        if entry.mem_size > MEM_MAX {
            return wrong("its memory is too large");
        }
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let mut rows = [(ZoneKind::Dmesg, 0, 0, 0); ZONES];
        for (row, zone) in rows.iter_mut().zip(&entry.zones) {
            let Some(kind) = kind_of(zone.kind) else {
                return wrong("it has zones of an unknown kind");
            };
            *row = (
                kind,
                number(zone.offset),
                number(zone.len),
                // CAST: Not wider than usize on any machine that runs this.
                zone.count as usize,
            );
        }
        let (mem_size, ecc_size) = (number(entry.mem_size), entry.ecc_size as usize);
        let layout = RamLayout::from_rows(rows, mem_size, ecc_size)
            .map_err(|error| KhoError::Zones { index, error })?;
        Ok(Self {
            number: entry.number,
            start,
            end: (end.sec > 0).then_some(end),
            boot_id: entry.boot_id,
            release: entry.release,
            open: entry.flags & FLAG_OPEN != 0,
            mem_size,
            layout,
            ecc_size,
        })
    }

    fn entry(&self, first_chunk: u32) -> GenerationEntry {
        let end = self.end.unwrap_or(Stamp { sec: 0, usec: 0 });
        let zone = |(kind, offset, len, count): (ZoneKind, usize, usize, usize)| ZoneEntry {
            kind: kind_number(kind),
            count: u32::try_from(count).unwrap_or(0),
            // CAST: Not wider than u64.
            offset: offset as u64,
            len: len as u64,
        };
        GenerationEntry {
            number: self.number,
            start_sec: self.start.sec,
            end_sec: end.sec,
            start_usec: self.start.usec,
            end_usec: end.usec,
            boot_id: self.boot_id,
            release: self.release,
            // CAST: Not wider than u64.
            mem_size: self.mem_size as u64,
            flags: if self.open { FLAG_OPEN } else { 0 },
            ecc_size: u32::try_from(self.ecc_size).unwrap_or(0),
            first_chunk,
            chunk_count: 0,
            zones: self.layout.rows().map(zone),
        }
    }
}

/// An index that was checked: every number in it is possible, and no two chunks share memory. That
/// there is preserved memory at these addresses is not known from it.
#[derive(Clone, Copy, Debug)]
pub struct Index<'a> {
    header: Header,
    slot: SlotHeader,
    generations: &'a [u8],
    chunks: &'a [u8],
}

impl<'a> Index<'a> {
    /// Checks a whole index, which lies at `own`.
    pub fn parse(blob: &'a [u8], own: Chunk) -> Result<Self, KhoError> {
        let version = blob.first_chunk::<4>().ok_or(KhoError::Size)?;
        let version = u32::from_ne_bytes(*version);
        if version != VERSION {
            return Err(KhoError::Version(version));
        }
        let (header, _) = Header::read_from_prefix(blob).map_err(|_| KhoError::Size)?;
        if header.magic != MAGIC {
            return Err(KhoError::Header("no magic number"));
        }
        // CAST: Not wider than usize.
        let header_size = header.header_size as usize;
        let total = usize::try_from(header.total_size).unwrap_or(usize::MAX);
        if total > INDEX_MAX {
            return Err(KhoError::Size);
        }
        let blob = blob.get(..total).ok_or(KhoError::Size)?;
        if header_size < HEADER_BYTES {
            return Err(KhoError::Header("header_size"));
        }
        let raw = blob
            .get(..header_size)
            .ok_or(KhoError::Header("header_size"))?;
        if header_checksum(raw) != header.checksum {
            return Err(KhoError::Header("checksum"));
        }
        let page = header.page_size;
        if !page.is_power_of_two() || !(4096..=65536).contains(&page) {
            return Err(KhoError::Header("page_size"));
        }
        let (offset, size, count) = (
            header.slot_offset as usize,
            header.slot_size as usize,
            header.slot_count as usize,
        );
        let end = size
            .checked_mul(count)
            .and_then(|len| len.checked_add(offset));
        if offset < header_size
            || offset % 8 != 0
            || size % 8 != 0
            || size < SLOT_BYTES
            || !(1..=16).contains(&count)
            || end.is_none_or(|end| end > total)
        {
            return Err(KhoError::Header("slots"));
        }
        let (slot, used) = (0..count)
            .filter_map(|n| whole_slot(blob.get(offset + n * size..offset + (n + 1) * size)?))
            .max_by_key(|(slot, _)| slot.sequence)
            .ok_or(KhoError::NoSlot)?;
        let table = |offset: u32, size: u32, count: u32, least: usize, most: usize| {
            let (offset, size, count) = (offset as usize, size as usize, count as usize);
            if offset < SLOT_BYTES || offset % 8 != 0 || size % 8 != 0 || size < least {
                return None;
            }
            (count <= most)
                .then_some(count)?
                .checked_mul(size)?
                .checked_add(offset)
                .and_then(|end| used.get(offset..end))
        };
        let generations = table(
            slot.generation_offset,
            slot.generation_size,
            slot.generation_count,
            GENERATION_BYTES,
            GENERATIONS_MAX,
        )
        .ok_or(KhoError::Slot("generations"))?;
        let chunks = table(
            slot.chunk_offset,
            slot.chunk_size,
            slot.chunk_count,
            CHUNK_BYTES,
            CHUNKS_MAX,
        )
        .ok_or(KhoError::Slot("chunks"))?;
        let generation_end = slot.generation_offset as usize + generations.len();
        let chunk_end = slot.chunk_offset as usize + chunks.len();
        if (slot.generation_offset as usize) < chunk_end
            && (slot.chunk_offset as usize) < generation_end
        {
            return Err(KhoError::Slot("tables overlap"));
        }
        let index = Self {
            header,
            slot,
            generations,
            chunks,
        };
        index.check(own)?;
        Ok(index)
    }

    fn check(&self, own: Chunk) -> Result<(), KhoError> {
        if self.slot.next_number > NUMBER_MAX {
            return Err(KhoError::Slot("next_number"));
        }
        let mut next = 0;
        let mut chunks = 0usize;
        for (index, entry) in self.entries().enumerate() {
            let wrong = |what| Err(KhoError::Generation { index, what });
            let generation = Generation::check(index, &entry)?;
            if generation.number < next || generation.number >= self.slot.next_number {
                return wrong("its number is out of order");
            }
            next = generation.number + 1;
            if entry.first_chunk as usize != chunks || entry.chunk_count == 0 {
                return wrong("its chunks are not those behind its predecessor's");
            }
            chunks = chunks.saturating_add(entry.chunk_count as usize);
            let sizes = self
                .chunks_of(&entry)
                .try_fold(0u64, |sum, chunk| sum.checked_add(chunk.size));
            if sizes.is_none_or(|sum| sum < entry.mem_size || sum > MEM_MAX) {
                return wrong("its chunks are not as large as its memory");
            }
        }
        if chunks != self.slot.chunk_count as usize {
            return Err(KhoError::Slot("chunks that are nobody's"));
        }
        let page = u64::from(self.header.page_size);
        for (index, chunk) in self.all_chunks().enumerate() {
            let wrong = |what| KhoError::Chunk { index, what };
            chunk.check(page).map_err(wrong)?;
            if chunk.meets(own) {
                return Err(wrong("it overlaps the index"));
            }
            if self.all_chunks().take(index).any(|c| c.meets(chunk)) {
                return Err(wrong("it overlaps another"));
            }
        }
        Ok(())
    }

    fn entries(&self) -> impl Iterator<Item = GenerationEntry> + 'a {
        self.generations
            .chunks_exact((self.slot.generation_size as usize).max(1))
            .filter_map(|raw| Some(GenerationEntry::read_from_prefix(raw).ok()?.0))
    }

    fn all_chunks(&self) -> impl Iterator<Item = Chunk> + 'a {
        self.chunks
            .chunks_exact((self.slot.chunk_size as usize).max(1))
            .filter_map(|raw| {
                let (entry, _) = ChunkEntry::read_from_prefix(raw).ok()?;
                Some(Chunk {
                    phys: entry.phys,
                    size: entry.size,
                })
            })
    }

    fn chunks_of(&self, entry: &GenerationEntry) -> impl Iterator<Item = Chunk> + 'a {
        self.all_chunks()
            .skip(entry.first_chunk as usize)
            .take(entry.chunk_count as usize)
    }

    /// Page size of the kernel that wrote it.
    pub fn page_size(&self) -> u64 {
        u64::from(self.header.page_size)
    }

    /// Whether a kernel has taken over what it lists.
    pub fn taken(&self) -> bool {
        self.header.taken != 0
    }

    /// Number of this version of the tables.
    pub fn sequence(&self) -> u64 {
        self.slot.sequence
    }

    /// What the next generation is to be called.
    pub fn next_number(&self) -> u64 {
        self.slot.next_number
    }

    /// The generations, oldest first, each with its memory in order.
    pub fn generations(
        &self,
    ) -> impl Iterator<Item = (Generation, impl Iterator<Item = Chunk> + 'a)> + use<'a> {
        let this = *self;
        self.entries()
            .enumerate()
            .filter_map(move |(index, entry)| {
                let generation = Generation::check(index, &entry).ok()?;
                Some((generation, this.chunks_of(&entry)))
            })
    }
}

/// The slot in `raw` and the bytes in use, if it is whole.
fn whole_slot(raw: &[u8]) -> Option<(SlotHeader, &[u8])> {
    let (slot, _) = SlotHeader::read_from_prefix(raw).ok()?;
    let used = raw.get(..slot.used_size as usize)?;
    (used.len() >= SLOT_BYTES && slot_checksum(used) == slot.checksum).then_some((slot, used))
}

/// Puts a slot together.
pub struct SlotWriter<'a> {
    buf: &'a mut [u8],
    generations: usize,
    chunks: usize,
}

const CHUNKS_AT: usize = SLOT_BYTES + GENERATIONS_WRITTEN * GENERATION_BYTES;

/// Bytes that a [`SlotWriter`] needs.
pub const SLOT_ROOM: usize = SLOT_STRIDE;

impl<'a> SlotWriter<'a> {
    /// Begins in `buf`, which has [`SLOT_ROOM`] bytes.
    pub fn new(buf: &'a mut [u8]) -> Self {
        buf.fill(0);
        Self {
            buf,
            generations: 0,
            chunks: 0,
        }
    }

    /// Adds a generation; its chunks follow.
    pub fn generation(&mut self, generation: &Generation) -> Result<(), KhoError> {
        if self.generations >= GENERATIONS_WRITTEN {
            return Err(KhoError::Full);
        }
        let at = SLOT_BYTES + self.generations * GENERATION_BYTES;
        let entry = generation.entry(u32::try_from(self.chunks).map_err(|_| KhoError::Full)?);
        put(self.buf, at, entry.as_bytes()).ok_or(KhoError::Full)?;
        self.generations += 1;
        Ok(())
    }

    /// Adds a chunk to the generation that was added last.
    pub fn chunk(&mut self, chunk: Chunk) -> Result<(), KhoError> {
        if self.chunks >= CHUNKS_WRITTEN || self.generations == 0 {
            return Err(KhoError::Full);
        }
        let entry = ChunkEntry {
            phys: chunk.phys,
            size: chunk.size,
        };
        let at = CHUNKS_AT + self.chunks * CHUNK_BYTES;
        put(self.buf, at, entry.as_bytes()).ok_or(KhoError::Full)?;
        self.chunks += 1;
        let at = SLOT_BYTES
            + (self.generations - 1) * GENERATION_BYTES
            + offset_of!(GenerationEntry, chunk_count);
        let count = get_u32(self.buf, at).ok_or(KhoError::Full)?;
        put(self.buf, at, &count.wrapping_add(1).to_ne_bytes()).ok_or(KhoError::Full)
    }

    /// Ends it, and says how many bytes are in use.
    pub fn finish(self, sequence: u64, next_number: u64) -> Result<usize, KhoError> {
        let used = CHUNKS_AT + self.chunks * CHUNK_BYTES;
        // CAST: All below `SLOT_STRIDE`.
        let mut slot = SlotHeader {
            checksum: 0,
            used_size: used as u32,
            sequence,
            next_number,
            generation_offset: SLOT_BYTES as u32,
            generation_size: GENERATION_BYTES as u32,
            generation_count: self.generations as u32,
            chunk_offset: CHUNKS_AT as u32,
            chunk_size: CHUNK_BYTES as u32,
            chunk_count: self.chunks as u32,
        };
        put(self.buf, 0, slot.as_bytes()).ok_or(KhoError::Full)?;
        slot.checksum = slot_checksum(self.buf.get(..used).ok_or(KhoError::Full)?);
        put(self.buf, 0, slot.as_bytes()).ok_or(KhoError::Full)?;
        Ok(used)
    }
}

fn put(buf: &mut [u8], at: usize, bytes: &[u8]) -> Option<()> {
    buf.get_mut(at..at.checked_add(bytes.len())?)?
        .copy_from_slice(bytes);
    Some(())
}

fn get_u32(buf: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*buf.get(at..)?.first_chunk()?))
}

fn get_u64(buf: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(*buf.get(at..)?.first_chunk()?))
}

/// What [`damage`] changes.
#[derive(Clone, Copy)]
enum Place {
    Header(usize),
    Slot(usize),
    /// The first generation.
    First(usize),
    /// The last generation.
    Last(usize),
    /// A row of zones of the first generation.
    Zone(usize, usize),
    Chunk(usize),
    LastChunk(usize),
}

#[derive(Clone, Copy)]
enum Change {
    Set4(u32),
    Set8(u64),
    Add4(u32),
    Add8(u64),
}

use Change::*;
use Place::*;

/// What [`damage`] knows: where, what, and whether checksums are left alone, so that nothing but
/// these tells.
const DAMAGES: [(Place, Change, bool); 73] = [
    // Checksums that do not fit.
    (Header(offset_of!(Header, checksum)), Add4(1), true),
    (Header(offset_of!(Header, total_size)), Add8(8), true),
    (Header(offset_of!(Header, slot_offset)), Add4(8), true),
    (Slot(offset_of!(SlotHeader, checksum)), Add4(1), true),
    (Slot(offset_of!(SlotHeader, sequence)), Add8(1), true),
    (Slot(offset_of!(SlotHeader, used_size)), Add4(8), true),
    (Slot(offset_of!(SlotHeader, used_size)), Set4(0), true),
    (
        Slot(offset_of!(SlotHeader, used_size)),
        Set4(u32::MAX),
        true,
    ),
    (First(offset_of!(GenerationEntry, release)), Add4(1), true),
    (First(offset_of!(GenerationEntry, number)), Add8(1), true),
    (Chunk(offset_of!(ChunkEntry, phys)), Add8(4096), true),
    (LastChunk(offset_of!(ChunkEntry, size)), Add8(4096), true),
    // Versions and headers.
    (Header(offset_of!(Header, version)), Set4(0), false),
    (Header(offset_of!(Header, version)), Set4(2), false),
    (Header(offset_of!(Header, version)), Set4(u32::MAX), false),
    (Header(offset_of!(Header, magic)), Set4(0), false),
    (Header(offset_of!(Header, header_size)), Set4(0), false),
    (
        Header(offset_of!(Header, header_size)),
        Set4(u32::MAX),
        false,
    ),
    (Header(offset_of!(Header, header_size)), Set4(72), false),
    (Header(offset_of!(Header, total_size)), Set8(0), false),
    (Header(offset_of!(Header, total_size)), Set8(64), false),
    (
        Header(offset_of!(Header, total_size)),
        Set8(u64::MAX),
        false,
    ),
    (Header(offset_of!(Header, slot_offset)), Set4(0), false),
    (
        Header(offset_of!(Header, slot_offset)),
        Set4(u32::MAX),
        false,
    ),
    (Header(offset_of!(Header, slot_offset)), Set4(68), false),
    (Header(offset_of!(Header, slot_size)), Set4(0), false),
    (Header(offset_of!(Header, slot_size)), Set4(u32::MAX), false),
    (Header(offset_of!(Header, slot_count)), Set4(0), false),
    (
        Header(offset_of!(Header, slot_count)),
        Set4(u32::MAX),
        false,
    ),
    (Header(offset_of!(Header, page_size)), Set4(0), false),
    (Header(offset_of!(Header, page_size)), Set4(3), false),
    // Tables.
    (Slot(offset_of!(SlotHeader, next_number)), Set8(0), false),
    (
        Slot(offset_of!(SlotHeader, next_number)),
        Set8(u64::MAX),
        false,
    ),
    (
        Slot(offset_of!(SlotHeader, generation_offset)),
        Set4(0),
        false,
    ),
    (
        Slot(offset_of!(SlotHeader, generation_offset)),
        Set4(u32::MAX),
        false,
    ),
    (
        Slot(offset_of!(SlotHeader, generation_size)),
        Set4(0),
        false,
    ),
    (
        Slot(offset_of!(SlotHeader, generation_size)),
        Set4(u32::MAX),
        false,
    ),
    (
        Slot(offset_of!(SlotHeader, generation_count)),
        Add4(1),
        false,
    ),
    (
        Slot(offset_of!(SlotHeader, generation_count)),
        Set4(u32::MAX),
        false,
    ),
    (Slot(offset_of!(SlotHeader, chunk_offset)), Set4(48), false),
    (
        Slot(offset_of!(SlotHeader, chunk_offset)),
        Set4(u32::MAX),
        false,
    ),
    (Slot(offset_of!(SlotHeader, chunk_size)), Set4(0), false),
    (Slot(offset_of!(SlotHeader, chunk_count)), Set4(0), false),
    (Slot(offset_of!(SlotHeader, chunk_count)), Add4(1), false),
    (
        Slot(offset_of!(SlotHeader, chunk_count)),
        Set4(u32::MAX),
        false,
    ),
    // Generations.
    (
        First(offset_of!(GenerationEntry, number)),
        Set8(u64::MAX),
        false,
    ),
    (
        First(offset_of!(GenerationEntry, start_sec)),
        Set8(u64::MAX),
        false,
    ),
    (
        First(offset_of!(GenerationEntry, end_usec)),
        Set4(1_000_000),
        false,
    ),
    (
        First(offset_of!(GenerationEntry, release)),
        Set4(0x0a0a_0a0a),
        false,
    ),
    (First(offset_of!(GenerationEntry, mem_size)), Set8(0), false),
    (
        First(offset_of!(GenerationEntry, mem_size)),
        Set8(u64::MAX),
        false,
    ),
    (
        First(offset_of!(GenerationEntry, mem_size)),
        Add8(1 << 23),
        false,
    ),
    (
        First(offset_of!(GenerationEntry, flags)),
        Set4(0x8000_0000),
        false,
    ),
    (
        First(offset_of!(GenerationEntry, ecc_size)),
        Set4(u32::MAX),
        false,
    ),
    (
        First(offset_of!(GenerationEntry, first_chunk)),
        Add4(1),
        false,
    ),
    (
        Last(offset_of!(GenerationEntry, first_chunk)),
        Set4(u32::MAX),
        false,
    ),
    (
        Last(offset_of!(GenerationEntry, chunk_count)),
        Set4(0),
        false,
    ),
    (
        Last(offset_of!(GenerationEntry, chunk_count)),
        Set4(u32::MAX),
        false,
    ),
    // Zones.
    (Zone(0, offset_of!(ZoneEntry, kind)), Set4(5), false),
    (Zone(0, offset_of!(ZoneEntry, kind)), Set4(1), false),
    (Zone(0, offset_of!(ZoneEntry, count)), Set4(u32::MAX), false),
    (Zone(0, offset_of!(ZoneEntry, len)), Set8(u64::MAX), false),
    (Zone(0, offset_of!(ZoneEntry, len)), Set8(4), false),
    (Zone(1, offset_of!(ZoneEntry, offset)), Set8(0), false),
    (
        Zone(4, offset_of!(ZoneEntry, offset)),
        Set8(u64::MAX - 65535),
        false,
    ),
    (Zone(4, offset_of!(ZoneEntry, count)), Set4(2), false),
    // Chunks.
    (Chunk(offset_of!(ChunkEntry, phys)), Set8(0), false),
    (Chunk(offset_of!(ChunkEntry, phys)), Add8(8), false),
    (Chunk(offset_of!(ChunkEntry, size)), Set8(u64::MAX), false),
    (LastChunk(offset_of!(ChunkEntry, size)), Set8(0), false),
    // Possible, but a kernel with other pages wrote it, or there is no such memory, or it was not
    // handed over.
    (Header(offset_of!(Header, page_size)), Set4(16384), false),
    (Chunk(offset_of!(ChunkEntry, phys)), Set8(1 << 62), false),
    (
        LastChunk(offset_of!(ChunkEntry, phys)),
        Add8(1 << 24),
        false,
    ),
];

/// How many ways [`damage`] knows.
pub const DAMAGE_COUNT: usize = DAMAGES.len();

/// How many of them, at the end, an index alone does not show: only who knows the memory sees them.
pub const DAMAGE_OUTSIDE: usize = 3;

/// Damages a good index with at least one generation in way `n`, for tests: nobody may fall for
/// it. Says whether it could.
pub fn damage(index: &mut [u8], n: usize) -> bool {
    change(index, n).is_some()
}

fn change(index: &mut [u8], n: usize) -> Option<()> {
    let (place, change, raw) = *DAMAGES.get(n)?;
    let newest = (0..SLOTS)
        .filter_map(|i| {
            let at = Header::slot_at(i);
            let (slot, _) = whole_slot(index.get(at..at + SLOT_STRIDE)?)?;
            Some((slot.sequence, i, slot))
        })
        .max_by_key(|(sequence, _, _)| *sequence);
    let (_, newest, slot) = newest?;
    // Nothing to fall back to.
    index
        .get_mut(Header::slot_at(newest + 1)..)?
        .get_mut(..4)?
        .iter_mut()
        .for_each(|b| *b = !*b);
    let slot_at = Header::slot_at(newest);
    let last = |count: u32| (count as usize).checked_sub(1);
    let generation = |i: usize| slot_at + SLOT_BYTES + i * GENERATION_BYTES;
    let chunk = |i: usize| slot_at + CHUNKS_AT + i * CHUNK_BYTES;
    let at = match place {
        Header(field) => field,
        Slot(field) => slot_at + field,
        First(field) => generation(0) + field,
        Last(field) => generation(last(slot.generation_count)?) + field,
        Zone(row, field) => {
            generation(0) + offset_of!(GenerationEntry, zones) + row * ZONE_BYTES + field
        }
        Chunk(field) => chunk(0) + field,
        LastChunk(field) => chunk(last(slot.chunk_count)?) + field,
    };
    match change {
        Set4(value) => put(index, at, &value.to_ne_bytes())?,
        Set8(value) => put(index, at, &value.to_ne_bytes())?,
        Add4(value) => {
            let value = get_u32(index, at)?.wrapping_add(value);
            put(index, at, &value.to_ne_bytes())?;
        }
        Add8(value) => {
            let value = get_u64(index, at)?.wrapping_add(value);
            put(index, at, &value.to_ne_bytes())?;
        }
    }
    if raw {
        return Some(());
    }
    seal(index, newest, slot.used_size as usize)
}

/// Makes the checksums of an index right whatever it says, for tests: those of the header and of
/// `used` bytes of a slot.
pub fn seal(index: &mut [u8], slot: usize, used: usize) -> Option<()> {
    let len = get_u32(index, offset_of!(Header, header_size))? as usize;
    let sum = header_checksum(index.get(..len).unwrap_or(index.get(..HEADER_BYTES)?));
    put(index, offset_of!(Header, checksum), &sum.to_ne_bytes())?;
    let slot_at = Header::slot_at(slot);
    let sum = slot_checksum(index.get(slot_at..)?.get(..used)?);
    put(index, slot_at, &sum.to_ne_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::RamSizes;
    use crate::STRIDE;

    const OWN: Chunk = Chunk {
        phys: 0x100_0000,
        size: 65536,
    };

    fn sizes(mem_size: usize) -> RamSizes {
        RamSizes {
            mem_size,
            record_size: 0x4000,
            console_size: 0x4000,
            ftrace_size: 0x2000,
            pmsg_size: 0x2000,
            tty_size: 0x2000,
            ftrace_zones: 2,
            ecc_size: 0,
        }
    }

    fn generation(number: u64, mem_size: usize) -> Generation {
        Generation {
            number,
            start: Stamp {
                sec: 1_700_000_000 + number,
                usec: 999_999,
            },
            end: (number % 2 == 0).then_some(Stamp {
                sec: 1_700_000_100 + number,
                usec: 1,
            }),
            boot_id: [number as u8; 16],
            release: Generation::release_from(b"7.3.4"),
            open: number % 2 == 1,
            mem_size,
            layout: RamLayout::new(&sizes(mem_size)).unwrap(),
            ecc_size: 0,
        }
    }

    /// Two generations: one chunk, and three.
    fn example() -> (Vec<u8>, Vec<(Generation, Vec<Chunk>)>) {
        let chunk = |phys, size| Chunk { phys, size };
        let list = vec![
            (generation(7, 0x10_0000), vec![chunk(0x200_0000, 0x10_0000)]),
            (
                generation(8, 0x70_0000),
                vec![
                    chunk(0x400_0000, 0x40_0000),
                    chunk(0x300_0000, 0x20_0000),
                    chunk(0x280_0000, 0x10_0000),
                ],
            ),
        ];
        (image(&list, 3), list)
    }

    fn image(list: &[(Generation, Vec<Chunk>)], sequence: u64) -> Vec<u8> {
        let mut blob = vec![0; INDEX_BYTES];
        write(&mut blob, list, sequence);
        blob
    }

    fn write(blob: &mut [u8], list: &[(Generation, Vec<Chunk>)], sequence: u64) {
        blob[..HEADER_BYTES].copy_from_slice(Header::new(4096).as_bytes());
        let at = Header::slot_at(sequence as usize);
        let mut slot = SlotWriter::new(&mut blob[at..at + SLOT_ROOM]);
        for (generation, chunks) in list {
            slot.generation(generation).unwrap();
            for chunk in chunks {
                slot.chunk(*chunk).unwrap();
            }
        }
        slot.finish(sequence, 9).unwrap();
    }

    fn read(blob: &[u8]) -> Vec<(Generation, Vec<Chunk>)> {
        Index::parse(blob, OWN)
            .unwrap()
            .generations()
            .map(|(generation, chunks)| (generation, chunks.collect()))
            .collect()
    }

    #[test]
    fn crc_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn what_is_written_is_read() {
        let (blob, list) = example();
        assert_eq!(read(&blob), list);
        let index = Index::parse(&blob, OWN).unwrap();
        assert_eq!((index.sequence(), index.next_number()), (3, 9));
        assert_eq!(index.page_size(), 4096);
        assert!(!index.taken());
        assert_eq!(list[0].0.release(), "7.3.4");
    }

    #[test]
    fn the_mark_is_no_damage() {
        let (mut blob, list) = example();
        blob[TAKEN_AT] = 1;
        assert!(Index::parse(&blob, OWN).unwrap().taken());
        assert_eq!(read(&blob), list);
    }

    #[test]
    fn the_newer_slot_counts_and_a_torn_one_does_not() {
        let (mut blob, list) = example();
        write(&mut blob, &list[1..], 4);
        assert_eq!(read(&blob), list[1..]);
        // A jump in the middle of writing it.
        blob[Header::slot_at(4) + 100] ^= 1;
        assert_eq!(read(&blob), list);
        blob[Header::slot_at(3) + 100] ^= 1;
        assert_eq!(Index::parse(&blob, OWN).unwrap_err(), KhoError::NoSlot);
    }

    #[test]
    fn an_empty_index_is_one() {
        assert_eq!(read(&image(&[], 1)), []);
    }

    #[test]
    fn longer_entries_are_read_by_who_does_not_know_them() {
        let (_, list) = example();
        let mut blob = vec![0; INDEX_BYTES];
        let (header_size, generation_size, chunk_size) = (72, GENERATION_BYTES + 8, 24);
        let slot_at = 80;
        let generations_at = SLOT_BYTES + 16;
        let chunks_at = generations_at + 2 * generation_size;
        let used = chunks_at + 4 * chunk_size;
        let mut first = 0;
        for (i, (generation, chunks)) in list.iter().enumerate() {
            let mut entry = generation.entry(first as u32);
            entry.chunk_count = chunks.len() as u32;
            let at = slot_at + generations_at + i * generation_size;
            put(&mut blob, at, entry.as_bytes()).unwrap();
            for chunk in chunks {
                let at = slot_at + chunks_at + first * chunk_size;
                put(&mut blob, at, &chunk.phys.to_ne_bytes()).unwrap();
                put(&mut blob, at + 8, &chunk.size.to_ne_bytes()).unwrap();
                first += 1;
            }
        }
        let mut slot = SlotHeader {
            checksum: 0,
            used_size: used as u32,
            sequence: 1,
            next_number: 9,
            generation_offset: generations_at as u32,
            generation_size: generation_size as u32,
            generation_count: 2,
            chunk_offset: chunks_at as u32,
            chunk_size: chunk_size as u32,
            chunk_count: first as u32,
        };
        put(&mut blob, slot_at, slot.as_bytes()).unwrap();
        slot.checksum = slot_checksum(&blob[slot_at..slot_at + used]);
        put(&mut blob, slot_at, slot.as_bytes()).unwrap();
        let mut header = Header {
            header_size,
            slot_offset: slot_at as u32,
            slot_size: 30000,
            slot_count: 1,
            ..Header::new(4096)
        };
        blob[64..72].fill(0xaa);
        put(&mut blob, 0, header.as_bytes()).unwrap();
        header.checksum = header_checksum(&blob[..72]);
        put(&mut blob, 0, header.as_bytes()).unwrap();
        assert_eq!(read(&blob), list);
    }

    #[test]
    fn every_known_damage_is_noticed() {
        let (good, list) = example();
        for n in (0..DAMAGE_COUNT).step_by(STRIDE.min(5)) {
            let mut blob = good.clone();
            assert!(damage(&mut blob, n), "{n}");
            assert_ne!(blob, good, "{n}");
            let found = Index::parse(&blob, OWN);
            if n < DAMAGE_COUNT - DAMAGE_OUTSIDE {
                assert!(found.is_err(), "{n} is not noticed");
                assert!(!found.unwrap_err().to_string().is_empty());
            } else {
                // Only the addresses are others, or the pages.
                assert_eq!(read(&blob).len(), list.len(), "{n}");
                let pages = |blob| Index::parse(blob, OWN).unwrap().page_size();
                assert_ne!(
                    (read(&blob), pages(&blob)),
                    (list.clone(), pages(&good)),
                    "{n}"
                );
            }
        }
        assert!(!damage(&mut good.clone(), DAMAGE_COUNT));
    }

    #[test]
    fn chunks_share_nothing() {
        let (_, mut list) = example();
        list[1].1[2] = Chunk {
            phys: 0x310_0000,
            size: 0x10_0000,
        };
        assert_eq!(
            Index::parse(&image(&list, 1), OWN).unwrap_err(),
            KhoError::Chunk {
                index: 3,
                what: "it overlaps another"
            }
        );
        list[1].1[2] = Chunk {
            phys: OWN.phys,
            size: 0x10_0000,
        };
        assert_eq!(
            Index::parse(&image(&list, 1), OWN).unwrap_err(),
            KhoError::Chunk {
                index: 3,
                what: "it overlaps the index"
            }
        );
    }

    #[test]
    fn a_full_index_says_so() {
        let mut buf = vec![0; SLOT_ROOM];
        let mut slot = SlotWriter::new(&mut buf);
        let one = generation(1, 0x10_0000);
        for _ in 0..GENERATIONS_WRITTEN {
            slot.generation(&one).unwrap();
        }
        assert_eq!(slot.generation(&one), Err(KhoError::Full));
        for _ in 0..CHUNKS_WRITTEN {
            slot.chunk(OWN).unwrap();
        }
        assert_eq!(slot.chunk(OWN), Err(KhoError::Full));
    }

    #[test]
    fn releases_are_printable() {
        let mut one = generation(1, 0x10_0000);
        one.release = Generation::release_from(&[b'x'; 100]);
        assert_eq!(one.release().len(), RELEASE_BYTES - 1);
        one.release = Generation::release_from(b"7.3 \n");
        assert_eq!(one.release(), "7.3??");
    }
}
