// SPDX-License-Identifier: GPL-2.0

//! Which device is meant: a path, `PARTUUID=`, `PARTLABEL=` or major:minor.

use crate::sys::{
    bdev::{
        Device,
        Holder,
        Name, //
    },
    file, //
};
use kernel::{
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::Arc, //
};

fn number(text: &[u8]) -> Option<u32> {
    if text.is_empty() || text.len() > 9 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')),
    )
}

/// `major:minor`.
fn numbers(text: &[u8]) -> Option<(u32, u32)> {
    let at = text.iter().position(|byte| *byte == b':')?;
    let (major, minor) = text.split_at_checked(at)?;
    Some((number(major)?, number(minor.strip_prefix(b":")?)?))
}

/// The first partition of which the kernel says `key` in its `uevent`. May sleep.
///
/// The kernel's own list of partitions is not exported, so this asks `/proc` and `/sys`.
fn find(key: &[u8], value: &[u8], any_case: bool) -> Result<(u32, u32)> {
    let mut list = VVec::from_elem(0u8, 1 << 16, GFP_KERNEL)?;
    let mut event = VVec::from_elem(0u8, 4096, GFP_KERNEL)?;
    let len = file::read(c"/proc/partitions", &mut list)?;
    for line in list.get(..len).unwrap_or(&[]).split(|b| *b == b'\n') {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|w| !w.is_empty());
        let pair = words
            .next()
            .and_then(number)
            .zip(words.next().and_then(number));
        let Some((major, minor)) = pair else { continue };
        let path = CString::try_from_fmt(fmt!("/sys/dev/block/{}:{}/uevent", major, minor))?;
        let Ok(len) = file::read(&path, &mut event) else {
            continue;
        };
        let mut lines = event.get(..len).unwrap_or(&[]).split(|b| *b == b'\n');
        let found = lines.find_map(|line| line.strip_prefix(key));
        let same = |found: &[u8]| match any_case {
            true => found.eq_ignore_ascii_case(value),
            false => found == value,
        };
        if found.is_some_and(same) {
            return Ok((major, minor));
        }
    }
    Err(ENODEV)
}

/// Opens the device that `text` names; if that fails, one line says why. May sleep.
pub(super) fn open(backend: &CStr, text: &[u8], holder: Arc<dyn Holder>) -> Result<Device> {
    let opened = if let Some(uuid) = text.strip_prefix(b"PARTUUID=") {
        find(b"PARTUUID=", uuid, true).and_then(|n| by_number(n, holder))
    } else if let Some(label) = text.strip_prefix(b"PARTLABEL=") {
        find(b"PARTNAME=", label, false).and_then(|n| by_number(n, holder))
    } else if let Some(pair) = numbers(text) {
        by_number(pair, holder)
    } else {
        let path = CString::try_from_fmt(fmt!("{}", BStr::from_bytes(text)))?;
        Device::open(Name::Path(&path), holder)
    };
    opened.inspect_err(|e| {
        let why = match *e {
            e if e == EBUSY => {
                "somebody uses it: a mount, swap, another backend, or partitions of it"
            }
            e if e == EACCES || e == EROFS => "it is read-only",
            e if e == ENOTBLK => "no block device",
            e if e == ENOENT || e == ENODEV || e == ENXIO => {
                "no such device; give a path, PARTUUID=, PARTLABEL= or major:minor"
            }
            _ => "can't be opened",
        };
        pr_err!(
            "{}: blkdev={}: {} ({:?})\n",
            backend,
            BStr::from_bytes(text),
            why,
            e
        );
    })
}

fn by_number((major, minor): (u32, u32), holder: Arc<dyn Holder>) -> Result<Device> {
    Device::open(Name::Number { major, minor }, holder)
}
