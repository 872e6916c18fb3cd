// SPDX-License-Identifier: GPL-2.0

//! Where bytes come from: physical memory in one form or another, or a plain image.

pub(crate) mod elf;
pub(crate) mod input;
pub(crate) mod kdump;

use crate::host::Host;
use anyhow::{
    bail,
    Context as _,
    Result, //
};
use input::Input;
use mpstore_format::device_dump::{
    self,
    DeviceDump, //
};
use std::{
    io,
    ops::Range,
    path::Path, //
};

/// No device dump is larger.
const DEVICE_DUMP_MAX: u64 = 1 << 30;

/// What is not divided further when reading fails.
const PIECE_LEAST: usize = 4096;

/// A note of an ELF file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) name: String,
    pub(crate) kind: u32,
    pub(crate) desc: Vec<u8>,
}

/// Something with addresses.
pub(crate) trait Memory {
    /// For people.
    fn name(&self) -> &str;

    /// The addresses that are worth a look, ascending.
    fn ranges(&self) -> Vec<Range<u64>>;

    /// Reads as much as there is in one piece at `address`, at most as much as `to` has room for.
    /// Zero if there is nothing.
    fn read_at(&self, address: u64, to: &mut [u8]) -> io::Result<usize>;

    /// Notes, where the form has such.
    fn notes(&self) -> &[Note] {
        &[]
    }

    /// What to do if reading is refused.
    fn advice(&self) -> &'static str {
        ""
    }

    /// Fills `to`. What there is not stays as it is.
    fn read_exact_at(&self, address: u64, to: &mut [u8]) -> Result<()> {
        let mut done = 0;
        while done < to.len() {
            let at = address
                .checked_add(done as u64)
                .context("beyond the last address")?;
            match self.read_at(at, to.get_mut(done..).unwrap_or(&mut [])) {
                Ok(0) => bail!("{}: nothing at {at:#x}{}", self.name(), self.advice()),
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(error)
                        .with_context(|| format!("{}: {at:#x}{}", self.name(), self.advice()))
                }
            }
        }
        Ok(())
    }

    /// Reads from `address` on until `len` bytes are read or nothing more is there. Holes that
    /// begin and end within a page are not crossed.
    fn read_some(&self, address: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        let (mut done, mut piece) = (0, len);
        while done < len {
            let Some(at) = address.checked_add(done as u64) else {
                break;
            };
            let end = done.saturating_add(piece).min(len);
            match self.read_at(at, out.get_mut(done..end).unwrap_or(&mut [])) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // /dev/mem gives nothing of a piece that reaches beyond the end of memory.
                Err(_) if piece > PIECE_LEAST => piece /= 2,
                Err(_) => break,
            }
        }
        out.truncate(done);
        out
    }
}

/// What sort of thing a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    /// Physical memory of this machine, as it is now.
    Live,
    /// Physical memory of some machine at some time.
    Dump,
    /// Bytes from 0: a region, a disk, memory without holes.
    Image,
}

/// An opened raw source.
pub(crate) struct Source {
    pub(crate) memory: Box<dyn Memory>,
    pub(crate) sort: Sort,
}

/// Opens whatever is at `path`, by its name or by what it begins with.
pub(crate) fn open(path: &Path, host: &Host) -> Result<Source> {
    let name = path.display().to_string();
    let input = Input::open(path)?;
    if name.ends_with("/dev/mem") || name.ends_with("/dev/fmem") {
        return Ok(Source {
            memory: Box::new(Plain {
                ranges: host.ram(),
                name,
                input,
                notes: Vec::new(),
                advice:
                    ". A kernel with CONFIG_STRICT_DEVMEM gives only what is not System RAM and \
                         that no driver has claimed: boot with iomem=relaxed, or try /proc/kcore",
            }),
            sort: Sort::Live,
        });
    }
    let mut head = [0; 512];
    let got = input
        .read_some_at(0, &mut head)
        .with_context(|| format!("{name}: can't read"))?;
    let head = head.get(..got).unwrap_or(&[]);
    let sort = if name.ends_with("/proc/kcore") {
        Sort::Live
    } else {
        Sort::Dump
    };
    if head.starts_with(b"\x7fELF") {
        let memory = Box::new(elf::Elf::new(name, input, sort == Sort::Live)?);
        return Ok(Source { memory, sort });
    }
    if head.starts_with(input::FLATTENED) {
        let input = input
            .rearranged()
            .with_context(|| format!("{name}: a dump in makedumpfile's flattened form"))?;
        let mut head = [0; 8];
        let _ = input.read_some_at(0, &mut head)?;
        let memory: Box<dyn Memory> = if head.starts_with(b"\x7fELF") {
            Box::new(elf::Elf::new(name, input, false)?)
        } else {
            Box::new(kdump::Kdump::new(name, input)?)
        };
        return Ok(Source {
            memory,
            sort: Sort::Dump,
        });
    }
    if head.starts_with(kdump::SIGNATURE) {
        let memory = Box::new(kdump::Kdump::new(name, input)?);
        return Ok(Source {
            memory,
            sort: Sort::Dump,
        });
    }
    if got == 0 {
        bail!("{name}: is empty");
    }
    let lone = head.starts_with(&device_dump::MAGIC);
    Ok(Source {
        memory: Box::new(Plain {
            ranges: std::iter::once(0..input.len()).collect(),
            notes: if lone {
                vec![lone_note(&input)?]
            } else {
                Vec::new()
            },
            name,
            input,
            advice: "",
        }),
        sort: if lone { Sort::Dump } else { Sort::Image },
    })
}

/// A note without the file that it was in, and without its name: what `dev -v` of the program
/// `crash` writes. The name is made anew.
fn lone_note(input: &Input) -> Result<Note> {
    let mut desc = vec![0; device_dump::NOTE_NAME_BYTES];
    desc.resize(
        desc.len() + usize::try_from(input.len().min(DEVICE_DUMP_MAX))?,
        0,
    );
    let (name, body) = desc.split_at_mut(device_dump::NOTE_NAME_BYTES);
    let got = input.read_some_at(0, body)?;
    let label = match DeviceDump::parse(body.get(..got).unwrap_or(&[])) {
        Ok(dump) => [device_dump::NOTE_NAME_PREFIX, dump.name()].concat(),
        Err(_) => [device_dump::NOTE_NAME_PREFIX, b"?"].concat(),
    };
    for (to, from) in name.iter_mut().zip(label) {
        *to = from;
    }
    desc.truncate(device_dump::NOTE_NAME_BYTES + got);
    Ok(Note {
        name: "LINUX".into(),
        kind: device_dump::NOTE_TYPE,
        desc,
    })
}

/// Bytes whose offset is their address.
struct Plain {
    name: String,
    input: Input,
    ranges: Vec<Range<u64>>,
    notes: Vec<Note>,
    advice: &'static str,
}

impl Memory for Plain {
    fn name(&self) -> &str {
        &self.name
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        self.ranges.clone()
    }

    fn read_at(&self, address: u64, to: &mut [u8]) -> io::Result<usize> {
        self.input.read_some_at(address, to)
    }

    fn notes(&self) -> &[Note] {
        &self.notes
    }

    fn advice(&self) -> &'static str {
        self.advice
    }
}

/// Bytes at hand, from address 0 on.
#[cfg(test)]
pub(crate) struct Bytes<'a>(pub(crate) &'a [u8]);

#[cfg(test)]
impl Memory for Bytes<'_> {
    fn name(&self) -> &str {
        "memory"
    }

    fn ranges(&self) -> Vec<Range<u64>> {
        std::iter::once(0..self.0.len() as u64).collect()
    }

    fn read_at(&self, address: u64, to: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(address)
            .ok()
            .and_then(|at| self.0.get(at..))
            .unwrap_or(&[]);
        let len = from.len().min(to.len());
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        Ok(len)
    }
}
