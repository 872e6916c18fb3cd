// SPDX-License-Identifier: GPL-2.0

//! The function trace as addresses and as text: what frontend and backends share.
//!
//! The text is that of the in-tree code, a line for each record:
//!
//! ```text
//! CPU:0 ts:1 ffffffff81231a34  ffffffff81248ad5  vfs_write <- ksys_write+0x65/0xe0
//! ```

use crate::sys::{
    bytes, context,
    kallsyms::{
        self,
        Symbol, //
    },
};
use kernel::{
    fmt::Write,
    prelude::*, //
};
use mpstore_format::ftrace::{
    self,
    Merge,
    Run,
    Slide,
    RECORD_BYTES, //
};

/// How addresses are kept. May sleep.
///
/// Where KASLR moves the kernel and nothing tells how far, they are kept as they are.
pub(crate) fn slide() -> Slide {
    if kallsyms::IMAGE.is_empty() {
        return Slide::RAW;
    }
    match kallsyms::vmcoreinfo().and_then(|note| ftrace::kaslr_offset(&note)) {
        Some(offset) => Slide::new(kallsyms::IMAGE.start, kallsyms::IMAGE.end, offset),
        None => Slide::RAW,
    }
}

/// Bytes of the whole records in the contents of zones.
pub(crate) fn size(zones: &[(u32, &[u8])]) -> usize {
    zones
        .iter()
        .map(|(_, content)| ftrace::count(content) * RECORD_BYTES)
        .sum()
}

/// Text that grows, for [`write!`].
struct Text(KVVec<u8>);

impl Write for Text {
    fn write_str(&mut self, s: &str) -> kernel::fmt::Result {
        bytes::append(&mut self.0, s.as_bytes()).map_err(|_| kernel::fmt::Error)
    }
}

/// How many names are remembered. A trace has few functions and many records, and looking one up
/// takes longer than all else.
const CACHED: usize = 1024;

/// Longest name that is remembered.
const CACHED_LEN: usize = 104;

/// The name of an address. None if `len` is zero.
#[derive(Clone, Copy)]
struct Cached {
    address: u64,
    len: usize,
    name: [u8; CACHED_LEN],
}

/// Looks names up and remembers them.
struct Names {
    symbol: Symbol,
    with_offset: bool,
    cache: VVec<Cached>,
}

impl Names {
    fn new(with_offset: bool) -> Result<Self> {
        let none = Cached {
            address: 0,
            len: 0,
            name: [0; CACHED_LEN],
        };
        Ok(Self {
            symbol: Symbol::new()?,
            with_offset,
            cache: VVec::from_elem(none, CACHED, GFP_KERNEL)?,
        })
    }

    fn write(&mut self, text: &mut Text, address: u64) -> Result {
        // CAST: The low bits, where functions differ.
        let slot = (address ^ address >> 10) as usize % CACHED;
        let cached = self.cache.get_mut(slot).ok_or(EINVAL)?;
        if cached.address == address {
            if let Some(name) = cached.name.get(..cached.len).filter(|n| !n.is_empty()) {
                bytes::append(&mut text.0, name)?;
                return Ok(());
            }
        }
        // CAST: Addresses are of this size on the machines that this is built for.
        let here = address as usize;
        let name = if self.with_offset {
            self.symbol.name_and_offset(here)
        } else {
            self.symbol.name(here)
        };
        bytes::append(&mut text.0, name)?;
        if let Some(room) = cached.name.get_mut(..name.len()) {
            room.copy_from_slice(name);
            (cached.address, cached.len) = (address, name.len());
        }
        Ok(())
    }
}

/// The records of all zones in one order, as text. For each zone the version of the kernel that
/// wrote it, and its content. May sleep.
///
/// Only addresses of this kernel's version are named. Those of another are given as numbers, as
/// they were linked, for that kernel's `System.map`.
pub(crate) fn text(zones: &[(u32, &[u8])]) -> Result<KVVec<u8>> {
    let slide = slide();
    let (mut callee, mut caller) = (Names::new(false)?, Names::new(true)?);
    let mut runs = KVec::with_capacity(zones.len(), GFP_KERNEL)?;
    for (index, (_, content)) in zones.iter().enumerate() {
        runs.push(Run::new(content, index), GFP_KERNEL)?;
    }
    let mut text = Text(KVVec::with_capacity(size(zones) * 4, GFP_KERNEL)?);
    for (n, (index, record)) in Merge::new(&mut runs).enumerate() {
        let same = zones
            .get(index)
            .is_some_and(|(version, _)| *version == kallsyms::VERSION);
        let decode = |ip| {
            if same {
                slide.decode(ip)
            } else {
                slide.decode_foreign(ip)
            }
        };
        let (ip, parent) = (decode(record.ip), decode(record.parent_ip));
        write!(
            text,
            "CPU:{} ts:{} {:08x}  {:08x}  ",
            record.cpu(),
            record.sequence(),
            ip,
            parent
        )
        .map_err(|_| ENOMEM)?;
        if same {
            callee.write(&mut text, ip)?;
            text.write_str(" <- ").map_err(|_| ENOMEM)?;
            caller.write(&mut text, parent)?;
            text.write_str("\n").map_err(|_| ENOMEM)?;
        } else {
            writeln!(text, "{ip:#x} <- {parent:#x}").map_err(|_| ENOMEM)?;
        }
        if n % 256 == 0 {
            context::cond_resched();
        }
    }
    Ok(text.0)
}
