// SPDX-License-Identifier: GPL-2.0

//! The compressed format of makedumpfile, which QEMU's `dump-guest-memory -z` writes too.
//!
//! ```text
//!   block 0     1             1 + sub_hdr_size              + bitmap_blocks
//!   +--------+------------+------------------------------+-------------------+-------
//!   | header | sub header | bitmap: pages there are      | a descriptor for  | pages
//!   |        | notes ...  | bitmap: pages in this file   | each in the file  |
//!   +--------+------------+------------------------------+-------------------+-------
//! ```
//!
//! Source: `diskdump_mod.h` and `IMPLEMENTATION` of makedumpfile, `include/sysemu/dump.h` of QEMU.

use super::{
    elf::parse_notes,
    input::Input,
    Memory,
    Note, //
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use object::Endianness;
use std::{
    cell::RefCell,
    io,
    ops::Range, //
};

/// Most bytes of a bitmap that are believed in: 32 TiB of memory.
const BITMAP_MAX: u64 = 1 << 30;
/// Most bytes of notes.
const NOTES_MAX: u64 = 1 << 30;
pub(crate) const SIGNATURE: &[u8] = b"KDUMP   ";

/// Pages for which the number of set bits before them is kept.
const STEP: usize = 4096;
/// Bytes of a page's descriptor: offset, size, flags, page flags.
const DESC_BYTES: u64 = 24;

const ZLIB: u32 = 0x1;
const LZO: u32 = 0x2;
const SNAPPY: u32 = 0x4;
const ZSTD: u32 = 0x20;

/// A dump that is not split over several files.
pub(crate) struct Kdump {
    name: String,
    input: Input,
    page: usize,
    /// A bit for each page in the file.
    bitmap: Vec<u8>,
    /// Set bits before each [`STEP`] of them.
    ranks: Vec<u64>,
    descriptors: u64,
    notes: Vec<Note>,
    /// The page that was read last.
    last: RefCell<Option<(u64, Vec<u8>)>>,
}

/// Where fields are, which differs with the size of `long`.
struct Places {
    status: usize,
    long: usize,
}

impl Kdump {
    pub(crate) fn new(name: String, input: Input) -> Result<Self> {
        Self::parse(name.clone(), input)
            .with_context(|| format!("{name}: not a compressed dump that can be read"))
    }

    fn parse(name: String, input: Input) -> Result<Self> {
        let head = input.bytes(0, 4096).context("too short")?;
        let word = |at: usize| -> Result<u32> {
            let word = head.get(at..at + 4).context("too short")?;
            Ok(u32::from_le_bytes(word.try_into()?))
        };
        if !head.starts_with(SIGNATURE) {
            bail!("it does not begin with KDUMP");
        }
        let possible = |size: u32| (4096..=65536).contains(&size) && size.is_power_of_two();
        let places = [
            Places {
                status: 424,
                long: 8,
            },
            Places {
                status: 412,
                long: 4,
            },
        ]
        .into_iter()
        .find(|p| word(p.status + 4).is_ok_and(possible))
        .context("its page size is impossible, or it is of a machine of another byte order")?;
        let version = word(8)?;
        let block = word(places.status + 4)?;
        let sub_blocks = word(places.status + 8)?;
        let bitmap_blocks = word(places.status + 12)?;
        let mut pages = u64::from(word(places.status + 16)?);
        let block64 = u64::from(block);

        let sub = input.bytes(block64, 104).context("no sub header")?;
        let long = |at: usize, len: usize| -> u64 {
            let mut bytes = [0; 8];
            if let Some(from) = sub.get(at..at + len) {
                for (to, from) in bytes.iter_mut().zip(from) {
                    *to = *from;
                }
            }
            u64::from_le_bytes(bytes)
        };
        let split_at = places.long + 4;
        if version >= 2 && long(split_at, 4) != 0 {
            bail!("one part of a split dump; put it together with makedumpfile --reassemble");
        }
        // phys_base, dump_level, split, two page numbers; then off_t and size of two things.
        let info_at = split_at + 4 + 2 * places.long;
        let note_at = info_at + 8 + places.long;
        let after = (note_at + 8 + places.long) + 8 + places.long;
        if version >= 6 {
            let more = long(after + 16, 8);
            if more > 0 {
                pages = more;
            }
        }
        let half = u64::from(bitmap_blocks) * block64 / 2;
        if half > input.len().min(BITMAP_MAX) || pages > half * 8 {
            bail!("its bitmap can't be as large as it says");
        }
        let bitmap_at = (1 + u64::from(sub_blocks)) * block64;
        let bitmap = input
            .bytes(bitmap_at + half, usize::try_from(half)?)
            .context("no bitmap")?;
        let mut ranks = Vec::with_capacity(bitmap.len() * 8 / STEP + 1);
        let mut sum = 0;
        for bytes in bitmap.chunks(STEP / 8) {
            ranks.push(sum);
            sum += bytes.iter().map(|b| u64::from(b.count_ones())).sum::<u64>();
        }
        let mut notes = Vec::new();
        if version >= 4 {
            let (at, len) = (long(note_at, 8), long(note_at + 8, places.long));
            if len > 0 && len <= input.len().min(NOTES_MAX) {
                if let Ok(bytes) = input.bytes(at, usize::try_from(len)?) {
                    notes = parse_notes(&bytes, Endianness::Little);
                }
            }
        }
        Ok(Self {
            name,
            input,
            page: usize::try_from(block)?,
            bitmap,
            ranks,
            descriptors: bitmap_at + u64::from(bitmap_blocks) * block64,
            notes,
            last: RefCell::new(None),
        })
    }

    fn has(&self, page: u64) -> bool {
        usize::try_from(page / 8)
            .ok()
            .and_then(|at| self.bitmap.get(at))
            .is_some_and(|byte| byte & (1 << (page % 8)) != 0)
    }

    /// How many pages of the file come before this one.
    fn rank(&self, page: u64) -> Option<u64> {
        let page = usize::try_from(page).ok()?;
        let step = page / STEP;
        let from = step * STEP / 8;
        let bytes = self.bitmap.get(from..page / 8)?;
        let part = self.bitmap.get(page / 8)? & ((1u8 << (page % 8)) - 1);
        let sum: u64 = bytes.iter().map(|b| u64::from(b.count_ones())).sum();
        Some(self.ranks.get(step)? + sum + u64::from(part.count_ones()))
    }

    fn load(&self, page: u64) -> io::Result<Vec<u8>> {
        let wrong = |what: &str| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("page {page:#x}: {what}"),
            )
        };
        let rank = self.rank(page).ok_or_else(|| wrong("not in the bitmap"))?;
        let at = rank
            .checked_mul(DESC_BYTES)
            .and_then(|n| n.checked_add(self.descriptors))
            .ok_or_else(|| wrong("no descriptor"))?;
        let desc = self.input.bytes(at, 24)?;
        let number = |from: usize, len: usize| {
            let mut bytes = [0; 8];
            for (to, from) in bytes.iter_mut().zip(desc.iter().skip(from).take(len)) {
                *to = *from;
            }
            u64::from_le_bytes(bytes)
        };
        let (offset, size) = (number(0, 8), number(8, 4));
        let flags = u32::try_from(number(12, 4)).unwrap_or(0);
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size > self.page * 2 {
            return Err(wrong("its size is impossible"));
        }
        let stored = self.input.bytes(offset, size)?;
        let text = match flags & (ZLIB | LZO | SNAPPY | ZSTD) {
            0 => stored,
            ZLIB => miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(&stored, self.page)
                .map_err(|e| wrong(&e.to_string()))?,
            LZO => crate::decode::lzo::decompress(&stored, self.page)
                .ok_or_else(|| wrong("damaged"))?,
            SNAPPY => {
                let len = snap::raw::decompress_len(&stored).map_err(|e| wrong(&e.to_string()))?;
                if len > self.page {
                    return Err(wrong("too large"));
                }
                snap::raw::Decoder::new()
                    .decompress_vec(&stored)
                    .map_err(|e| wrong(&e.to_string()))?
            }
            ZSTD => {
                let mut out = Vec::new();
                crate::decode::unzstd_frame(&stored, self.page, &mut out)
                    .ok_or_else(|| wrong("damaged"))?;
                out
            }
            other => return Err(wrong(&format!("compressed in an unknown way, {other:#x}"))),
        };
        if text.len() != self.page {
            return Err(wrong("its length is not that of a page"));
        }
        Ok(text)
    }
}

impl Memory for Kdump {
    fn name(&self) -> &str {
        &self.name
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        let mut out: Vec<Range<u64>> = Vec::new();
        let size = self.page as u64;
        for (n, byte) in self.bitmap.iter().enumerate() {
            for bit in 0..8u64 {
                if byte & (1 << bit) == 0 {
                    continue;
                }
                let at = (n as u64 * 8 + bit) * size;
                match out.last_mut() {
                    Some(last) if last.end == at => last.end = at + size,
                    _ => out.push(at..at + size),
                }
            }
        }
        out
    }

    fn read_at(&self, address: u64, to: &mut [u8]) -> io::Result<usize> {
        let size = self.page as u64;
        let (page, skip) = (address / size, usize::try_from(address % size).unwrap_or(0));
        if !self.has(page) {
            return Ok(0);
        }
        let mut last = self.last.borrow_mut();
        if last.as_ref().is_none_or(|(number, _)| *number != page) {
            *last = Some((page, self.load(page)?));
        }
        let from = last
            .as_ref()
            .and_then(|(_, bytes)| bytes.get(skip..))
            .unwrap_or(&[]);
        let len = from.len().min(to.len());
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        Ok(len)
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn advice(&self) -> &'static str {
        ". The dump leaves that page out, or there is no memory. What memmap=...$... takes out of \
         the kernel's hands is in no dump but in its device dump notes"
    }
}
