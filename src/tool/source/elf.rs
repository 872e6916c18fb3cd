// SPDX-License-Identifier: GPL-2.0

//! Memory in ELF form: `/proc/vmcore`, what was saved of it, `/proc/kcore`, QEMU's
//! `dump-guest-memory`.

use super::{
    input::Input,
    Memory,
    Note, //
};
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use object::{
    elf::{
        FileHeader32,
        FileHeader64,
        PT_LOAD,
        PT_NOTE, //
    },
    read::elf::{
        FileHeader,
        ProgramHeader as _,
        SectionHeader as _, //
    },
    Endian as _,
    Endianness, //
};
use std::{
    io,
    ops::Range, //
};

/// Most bytes of notes that are read. Device dumps are notes, so they may be large.
const NOTES_MAX: u64 = 1 << 30;
/// Most segments that are believed in.
const SEGMENTS_MAX: u64 = 1 << 20;

/// By how much segments may say more than four times what the file has: they may overlap.
const SLACK: u64 = 1 << 30;

/// Part of memory.
#[derive(Clone, Copy, Debug)]
struct Segment {
    phys: u64,
    len: u64,
    offset: u64,
}

/// An ELF core file.
pub(crate) struct Elf {
    name: String,
    input: Input,
    /// By address.
    segments: Vec<Segment>,
    notes: Vec<Note>,
}

impl Elf {
    /// `live`: of the kernel that runs, whose `/proc/kcore` has segments without an address.
    pub(crate) fn new(name: String, input: Input, live: bool) -> Result<Self> {
        let class = input
            .bytes(4, 1)
            .with_context(|| format!("{name}: too short"))?;
        let (segments, notes) = match class.first() {
            Some(1) => segments::<FileHeader32<Endianness>>(&input),
            Some(2) => segments::<FileHeader64<Endianness>>(&input),
            _ => bail!("{name}: neither a 32 bit nor a 64 bit ELF file"),
        }
        .with_context(|| format!("{name}: not a core file that can be read"))?;
        let mut segments: Vec<Segment> = segments
            .into_iter()
            .filter(|s| s.len > 0 && s.phys.checked_add(s.len).is_some())
            .filter(|s| s.offset.checked_add(s.len).is_some())
            .collect();
        if live && segments.iter().all(|s| s.phys == 0) {
            bail!(
                "{name}: does not tell physical addresses, as kernels before 4.19 have it; \
                 try /dev/mem"
            );
        }
        // The same bytes over and over would be searched over and over.
        let most = input.len().saturating_mul(4).saturating_add(SLACK);
        let claimed = segments
            .iter()
            .fold(0u64, |sum, s| sum.saturating_add(s.len.min(input.len())));
        if !live && claimed > most {
            bail!(
                "{name}: its segments claim {claimed} bytes of a file that has {}",
                input.len()
            );
        }
        segments.sort_by_key(|s| s.phys);
        Ok(Self {
            name,
            input,
            segments,
            notes,
        })
    }
}

/// The segments with an address, and the notes.
fn segments<H: FileHeader<Endian = Endianness>>(
    input: &Input,
) -> Result<(Vec<Segment>, Vec<Note>)> {
    let head = input.bytes(0, size_of::<H>())?;
    let header = H::parse(head.as_slice())?;
    let endian = header.endian()?;
    let offset: u64 = header.e_phoff(endian).into();
    let size = size_of::<H::ProgramHeader>();
    if usize::from(header.e_phentsize(endian)) != size {
        bail!("its program headers are of an unknown size");
    }
    let mut count = u64::from(header.e_phnum(endian));
    if count == 0xffff {
        // More than fit: the number is in section 0.
        let section = input.bytes(header.e_shoff(endian).into(), size_of::<H::SectionHeader>())?;
        let (section, _) = object::pod::from_bytes::<H::SectionHeader>(&section)
            .map_err(|()| anyhow::anyhow!("no section 0"))?;
        count = u64::from(section.sh_info(endian));
    }
    if count > SEGMENTS_MAX {
        bail!("it claims {count} segments");
    }
    // At most 2^20 of them.
    let table = input.bytes(offset, usize::try_from(count)? * size)?;
    let (headers, _) =
        object::pod::slice_from_bytes::<H::ProgramHeader>(&table, usize::try_from(count)?)
            .map_err(|()| anyhow::anyhow!("its program headers are not aligned"))?;
    let (mut segments, mut notes) = (Vec::new(), Vec::new());
    let mut read = 0u64;
    for header in headers {
        let offset: u64 = header.p_offset(endian).into();
        let len: u64 = header.p_filesz(endian).into();
        let phys: u64 = header.p_paddr(endian).into();
        match header.p_type(endian) {
            // kcore says -1 for what is not in the direct mapping.
            PT_LOAD if phys != u64::MAX && phys != u64::from(u32::MAX) => {
                segments.push(Segment { phys, len, offset });
            }
            PT_NOTE => {
                read = len.saturating_add(read);
                if read > NOTES_MAX {
                    bail!("its notes claim {read} bytes");
                }
                let mut bytes = Vec::new();
                // Not all at once: the length may be a lie.
                while (bytes.len() as u64) < len {
                    let left = len - bytes.len() as u64;
                    let mut piece = vec![0; usize::try_from(left.min(1 << 20))?];
                    let at = offset.checked_add(bytes.len() as u64).context("notes")?;
                    match input.read_some_at(at, &mut piece) {
                        Ok(0) | Err(_) => break,
                        Ok(n) => bytes.extend(piece.get(..n).unwrap_or(&[])),
                    }
                }
                notes.extend(parse_notes(&bytes, endian));
            }
            _ => {}
        }
    }
    Ok((segments, notes))
}

/// The notes in a segment, as far as they are whole.
pub(crate) fn parse_notes(mut bytes: &[u8], endian: Endianness) -> Vec<Note> {
    let mut notes = Vec::new();
    let word = |bytes: &[u8], at: usize| {
        let word: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
        Some(endian.read_u32_bytes(word))
    };
    while let (Some(name_len), Some(desc_len), Some(kind)) =
        (word(bytes, 0), word(bytes, 4), word(bytes, 8))
    {
        // CAST: Not wider than usize.
        let (name_len, desc_len) = (name_len as usize, desc_len as usize);
        let desc_at = name_len.saturating_add(12).next_multiple_of(4);
        let end = desc_at.saturating_add(desc_len);
        let (Some(name), Some(desc)) = (
            bytes.get(12..name_len.saturating_add(12)),
            bytes.get(desc_at..end),
        ) else {
            break;
        };
        if name_len > 0 || desc_len > 0 {
            let name = name.split(|b| *b == 0).next().unwrap_or(&[]);
            notes.push(Note {
                name: String::from_utf8_lossy(name).into_owned(),
                kind,
                desc: desc.to_vec(),
            });
        }
        bytes = bytes.get(end.next_multiple_of(4)..).unwrap_or(&[]);
    }
    notes
}

impl Memory for Elf {
    fn name(&self) -> &str {
        &self.name
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        let mut out: Vec<Range<u64>> = Vec::new();
        for segment in &self.segments {
            let end = segment.phys + segment.len;
            match out.last_mut() {
                Some(last) if segment.phys <= last.end => last.end = last.end.max(end),
                _ => out.push(segment.phys..end),
            }
        }
        out
    }

    fn read_at(&self, address: u64, to: &mut [u8]) -> io::Result<usize> {
        let behind = self.segments.partition_point(|s| s.phys <= address);
        // Segments may overlap: kcore has the kernel's text twice.
        let found = self
            .segments
            .get(..behind)
            .unwrap_or(&[])
            .iter()
            .rev()
            .take(64)
            .find(|s| address - s.phys < s.len);
        let Some(segment) = found else {
            return Ok(0);
        };
        let skip = address - segment.phys;
        let left = usize::try_from(segment.len - skip).unwrap_or(usize::MAX);
        let len = to.len().min(left);
        match to.get_mut(..len) {
            Some(to) if !to.is_empty() => self.input.read_some_at(segment.offset + skip, to),
            _ => Ok(0),
        }
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn advice(&self) -> &'static str {
        ". What memmap=...$... takes out of the kernel's hands is in no core file; try /dev/mem, or \
         the device dump notes of a vmcore"
    }
}
