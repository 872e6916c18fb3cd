// SPDX-License-Identifier: GPL-2.0

//! Names for the addresses of a function trace.

use anyhow::{
    Context as _,
    Result, //
};
use mpstore_format::ftrace::{
    Record,
    Slide, //
};
use std::fmt::Write as _;
use std::path::Path;

/// Where x86-64 links the kernel's image, and where modules begin behind it, with KASLR compiled
/// in. `CONFIG_RANDOMIZE_BASE` is what every distribution has.
const IMAGE: std::ops::Range<u64> = 0xffff_ffff_8000_0000..0xffff_ffff_c000_0000;

/// The symbols of a kernel, from `System.map` or `/proc/kallsyms`.
#[derive(Default)]
pub(crate) struct Symbols {
    /// Sorted by address: address, name, module.
    table: Vec<(u64, String, Option<String>)>,
    /// `LINUX_VERSION_CODE` of the kernel they are of, if that is known.
    version: Option<u32>,
    /// How far the kernel that they are of was moved by KASLR.
    offset: u64,
}

impl Symbols {
    /// Reads a file of lines `address type name [module]`. `offset` is what KASLR added to the
    /// addresses in it.
    pub(crate) fn read(path: &Path, version: Option<u32>, offset: u64) -> Result<Self> {
        let bytes = std::fs::read(path)
            .with_context(|| format!("{}: can't read the symbols", path.display()))?;
        let text = String::from_utf8_lossy(&bytes);
        let mut this = Self::parse(&text);
        anyhow::ensure!(
            !this.table.is_empty(),
            "{}: no symbols with addresses in there. For /proc/kallsyms, be root and see \
             kernel.kptr_restrict; else give a System.map",
            path.display()
        );
        this.version = version;
        this.offset = offset;
        Ok(this)
    }

    /// Of which kernel version they are.
    pub(crate) fn version(&self) -> Option<u32> {
        self.version
    }

    fn parse(text: &str) -> Self {
        let mut table = Vec::new();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
            else {
                continue;
            };
            let Ok(address) = u64::from_str_radix(address, 16) else {
                continue;
            };
            if address == 0 {
                continue;
            }
            let module = words
                .next()
                .and_then(|m| m.strip_prefix('[')?.strip_suffix(']'))
                .map(str::to_owned);
            table.push((address, name.to_owned(), module));
        }
        // Stable: of several names at one address the kernel takes the first one.
        table.sort_by_key(|(address, _, _)| *address);
        Self {
            table,
            version: None,
            offset: 0,
        }
    }

    /// The symbol that an address lies in: its index and the distance.
    fn find(&self, address: u64) -> Option<(usize, u64)> {
        let behind = self
            .table
            .partition_point(|(start, _, _)| *start <= address);
        let last = behind.checked_sub(1)?;
        let (start, _, _) = self.table.get(last)?;
        let first = self.table.partition_point(|(other, _, _)| other < start);
        let distance = address - start;
        // No function is as large as that.
        (distance < 1 << 20).then_some((first, distance))
    }

    fn name(&self, address: u64, with_offset: bool, out: &mut String) {
        let Some((index, distance)) = self.find(address) else {
            let _ = write!(out, "{address:#x}");
            return;
        };
        let Some((start, name, module)) = self.table.get(index) else {
            return;
        };
        out.push_str(name);
        if with_offset {
            let next = self.table.partition_point(|(other, _, _)| other <= start);
            let size = self.table.get(next).map_or(0, |(next, _, _)| next - start);
            let _ = write!(out, "+{distance:#x}/{size:#x}");
        }
        if let Some(module) = module {
            let _ = write!(out, " [{module}]");
        }
    }

    /// One line of the trace, as the kernel prints it, of a kernel of this version.
    pub(crate) fn line(&self, version: u32, record: &Record, out: &mut String) {
        let named = !self.table.is_empty() && self.version.is_none_or(|ours| ours == version);
        let slide = Slide::new(IMAGE.start, IMAGE.end, self.offset);
        let decode = |ip| {
            if named {
                slide.decode(ip)
            } else {
                slide.decode_foreign(ip)
            }
        };
        let (ip, parent) = (decode(record.ip), decode(record.parent_ip));
        let _ = write!(
            out,
            "CPU:{} ts:{} {ip:08x}  {parent:08x}  ",
            record.cpu(),
            record.sequence()
        );
        if named {
            self.name(ip, false, out);
            out.push_str(" <- ");
            self.name(parent, true, out);
        } else {
            let _ = write!(out, "{ip:#x} <- {parent:#x}");
        }
        out.push('\n');
    }
}

/// `LINUX_VERSION_CODE` of a release such as `7.3.4-custom`.
pub(crate) fn version_code(release: &str) -> Option<u32> {
    let end = release
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(release.len());
    let mut numbers = release
        .get(..end)?
        .split('.')
        .map(|n| n.parse::<u32>().ok());
    let major = numbers.next().flatten()?;
    let minor = numbers.next().flatten()?;
    let patch = numbers.next().flatten().unwrap_or(0);
    Some((major << 16) | (minor.min(255) << 8) | patch.min(255))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "ffffffff81000000 T _stext\nffffffff81231a30 T vfs_write\n\
                       ffffffff81248ad0 t ksys_write\nffffffff81248b00 T next\n\
                       ffffffffc0000010 t inside\t[mod]\nffffffffc0000020 t end\t[mod]\n";

    fn line(symbols: &Symbols, version: u32, ip: u64, parent: u64) -> String {
        let mut out = String::new();
        symbols.line(version, &Record::new(ip, parent, 7, 1), &mut out);
        out
    }

    #[test]
    fn lines_are_those_of_the_kernel() {
        let mut symbols = Symbols::parse(MAP);
        symbols.version = Some(0x07_03_04);
        let (ip, parent) = (0xffff_ffff_8123_1a34, 0xffff_ffff_8124_8ad5);
        assert_eq!(
            line(&symbols, 0x07_03_04, ip, parent),
            "CPU:1 ts:7 ffffffff81231a34  ffffffff81248ad5  vfs_write <- ksys_write+0x5/0x30\n"
        );
        // A module's address is kept without its top bit.
        assert_eq!(
            line(&symbols, 0x07_03_04, 0x7fff_ffff_c000_0014, parent),
            "CPU:1 ts:7 ffffffffc0000014  ffffffff81248ad5  inside [mod] <- ksys_write+0x5/0x30\n"
        );
        // Another kernel's, and one without names.
        assert_eq!(
            line(&symbols, 0x07_02_00, ip, parent),
            "CPU:1 ts:7 ffffffff81231a34  ffffffff81248ad5  0xffffffff81231a34 <- 0xffffffff81248ad5\n"
        );
        assert!(
            line(&Symbols::default(), 0x07_03_04, ip, 0x10).ends_with(" <- 0x8000000000000010\n")
        );
    }

    #[test]
    fn offsets_of_kaslr() {
        let mut symbols = Symbols::parse("ffffffff91231a30 T vfs_write\nffffffff91248ad0 T x\n");
        symbols.offset = 0x1000_0000;
        assert!(
            line(&symbols, 1, 0xffff_ffff_8123_1a34, 0xffff_ffff_8123_1a35).starts_with(
                "CPU:1 ts:7 ffffffff91231a34  ffffffff91231a35  vfs_write <- vfs_write+0x5/0x170a0"
            )
        );
    }

    #[test]
    fn versions() {
        assert_eq!(version_code("7.3.4-1~bpo13+1-custom"), Some(0x07_03_04));
        assert_eq!(version_code("7.3"), Some(0x07_03_00));
        assert_eq!(version_code("6.1.300"), Some(0x06_01_ff));
        assert_eq!(version_code("x"), None);
    }
}
