// SPDX-License-Identifier: GPL-2.0

//! This machine as its kernel describes it. With another root than `/`, that of tests or of a
//! machine that was copied.

use serde::Serialize;
use std::{
    collections::BTreeMap,
    ops::Range,
    path::{
        Path,
        PathBuf, //
    },
};

/// A line of `/proc/iomem`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Resource {
    /// How deep it lies in others.
    pub(crate) depth: usize,
    pub(crate) start: u64,
    /// Behind the last byte.
    pub(crate) end: u64,
    pub(crate) name: String,
}

/// Where the kernel's files are.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    root: PathBuf,
}

impl Host {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// A file's text without the white space around it.
    pub(crate) fn read(&self, path: &str) -> Option<String> {
        let bytes = std::fs::read(self.path(path)).ok()?;
        Some(String::from_utf8_lossy(&bytes).trim().to_owned())
    }

    /// The names in a folder, sorted.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    pub(crate) fn cmdline(&self) -> String {
        self.read("/proc/cmdline").unwrap_or_default()
    }

    pub(crate) fn release(&self) -> Option<String> {
        self.read("/proc/sys/kernel/osrelease")
    }

    pub(crate) fn boot_id(&self) -> Option<String> {
        self.read("/proc/sys/kernel/random/boot_id")
    }

    /// `/proc/iomem`. Who is not root sees zeros, which is nothing here.
    pub(crate) fn iomem(&self) -> Vec<Resource> {
        let text = self.read_raw("/proc/iomem");
        parse_iomem(&text)
    }

    fn read_raw(&self, path: &str) -> String {
        let bytes = std::fs::read(self.path(path)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The memory map that the firmware gave, before any parameter changed it: start, end, type.
    pub(crate) fn firmware_map(&self) -> Vec<Resource> {
        let mut map: Vec<Resource> = self
            .names("/sys/firmware/memmap")
            .into_iter()
            .filter_map(|n| {
                let field = |f: &str| self.read(&format!("/sys/firmware/memmap/{n}/{f}"));
                Some(Resource {
                    depth: 0,
                    start: parse_number(&field("start")?)?,
                    end: parse_number(&field("end")?)?.checked_add(1)?,
                    name: field("type")?,
                })
            })
            .collect();
        map.sort_by_key(|r| (r.start, r.end));
        map
    }

    /// What is memory and may be looked at: what the kernel uses, and what it was told to leave
    /// alone although the firmware calls it memory. Reading other addresses may upset devices.
    pub(crate) fn ram(&self) -> Vec<Range<u64>> {
        let iomem = self.iomem();
        let mut out: Vec<Range<u64>> = iomem
            .iter()
            .filter(|r| r.depth == 0 && r.name == "System RAM")
            .map(|r| r.start..r.end)
            .collect();
        let firmware = self.firmware_map();
        for reserved in iomem
            .iter()
            .filter(|r| r.depth == 0 && r.name.to_ascii_lowercase().contains("reserved"))
        {
            for ram in firmware.iter().filter(|r| r.name == "System RAM") {
                let both = reserved.start.max(ram.start)..reserved.end.min(ram.end);
                if both.start < both.end {
                    out.push(both);
                }
            }
        }
        out.sort_by_key(|r| (r.start, r.end));
        let mut merged: Vec<Range<u64>> = Vec::new();
        for range in out {
            match merged.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => merged.push(range),
            }
        }
        merged
    }

    /// How many processors the kernel counts with: zones of a function trace.
    pub(crate) fn possible_cpus(&self) -> Option<usize> {
        let text = self.read("/sys/devices/system/cpu/possible")?;
        let last = text.rsplit(['-', ',']).next()?;
        last.parse::<usize>().ok()?.checked_add(1)
    }

    /// A module's parameters by name.
    pub(crate) fn parameters(&self, module: &str) -> BTreeMap<String, String> {
        let folder = format!("/sys/module/{module}/parameters");
        self.names(&folder)
            .into_iter()
            .filter_map(|name| {
                let value = self.read(&format!("{folder}/{name}"))?;
                Some((name, value))
            })
            .collect()
    }

    /// Where file systems of a type are mounted, with their options.
    pub(crate) fn mounts(&self, kind: &str) -> Vec<(PathBuf, String)> {
        let text = self.read_raw("/proc/self/mounts");
        let text = if text.is_empty() {
            self.read_raw("/proc/mounts")
        } else {
            text
        };
        text.lines()
            .filter_map(|line| {
                let words: Vec<&str> = line.split(' ').collect();
                match words.as_slice() {
                    [_, at, fs, options, ..] if *fs == kind => {
                        Some((self.path(&unescape(at)), (*options).to_owned()))
                    }
                    _ => None,
                }
            })
            .collect()
    }
}

/// Undoes the octal escapes of `/proc/mounts`.
fn unescape(text: &str) -> String {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        let octal = (*byte == b'\\')
            .then(|| std::str::from_utf8(rest.get(..3)?).ok())
            .flatten()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match octal {
            Some(value) => {
                out.push(value);
                rest = rest.get(3..).unwrap_or(&[]);
            }
            None => out.push(*byte),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn parse_iomem(text: &str) -> Vec<Resource> {
    text.lines()
        .filter_map(|line| {
            let body = line.trim_start();
            let depth = (line.len() - body.len()) / 2;
            let (range, name) = body.split_once(" : ")?;
            let (start, end) = range.split_once('-')?;
            let start = u64::from_str_radix(start, 16).ok()?;
            let end = u64::from_str_radix(end, 16).ok()?.checked_add(1)?;
            (end > start + 1 || start > 0).then(|| Resource {
                depth,
                start,
                end,
                name: name.to_owned(),
            })
        })
        .collect()
}

/// A number as the kernel takes it: decimal, octal or hexadecimal, with K, M, G, T behind it.
pub(crate) fn parse_number(text: &str) -> Option<u64> {
    let text = text.trim();
    let (digits, shift) = match text.char_indices().next_back()? {
        (at, 'k' | 'K') => (text.get(..at)?, 10),
        (at, 'm' | 'M') => (text.get(..at)?, 20),
        (at, 'g' | 'G') => (text.get(..at)?, 30),
        (at, 't' | 'T') => (text.get(..at)?, 40),
        _ => (text, 0),
    };
    let number = match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    number.checked_mul(1 << shift)
}

/// The words of a command line; double quotes keep blanks together.
pub(crate) fn words(cmdline: &str) -> Vec<String> {
    let (mut out, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for c in cmdline.chars() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => {
                if !word.is_empty() {
                    out.push(std::mem::take(&mut word));
                }
            }
            c => word.push(c),
        }
    }
    if !word.is_empty() {
        out.push(word);
    }
    // What follows is for init.
    out.into_iter().take_while(|word| word != "--").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (text, value) in [
            ("0", Some(0)),
            ("0x10", Some(16)),
            ("64K", Some(65536)),
            ("0x2M", Some(2 << 20)),
            ("1g", Some(1 << 30)),
            ("", None),
            ("K", None),
            ("-1", None),
            ("99999999999G", None),
        ] {
            assert_eq!(parse_number(text), value, "{text}");
        }
    }

    #[test]
    fn lines_of_iomem() {
        let map = parse_iomem(
            "00000000-00000fff : Reserved\n00001000-0009fbff : System RAM\n  01000000-01dfffff : Kernel code\n",
        );
        assert_eq!(map.len(), 3);
        assert_eq!(
            (map[1].start, map[1].end, map[1].depth),
            (0x1000, 0x9fc00, 0)
        );
        assert_eq!((map[2].depth, map[2].name.as_str()), (1, "Kernel code"));
        assert!(parse_iomem("00000000-00000000 : System RAM\n").is_empty());
    }

    #[test]
    fn words_and_escapes() {
        assert_eq!(words("a \"b=c d\" e=\"f g\" -- h"), ["a", "b=c d", "e=f g"]);
        assert_eq!(unescape(r"/a\040b\x"), r"/a b\x");
    }
}
