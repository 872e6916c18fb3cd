// SPDX-License-Identifier: GPL-2.0

//! Which device is meant: a path, `PARTUUID=` (with `/PARTNROFF=`), `PARTLABEL=` or major:minor.

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

/// What the kernel says of a device in its `uevent`, by its key.
fn said<'a>(event: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    event
        .split(|b| *b == b'\n')
        .find_map(|line| line.strip_prefix(key))
}

/// The first device for whose `uevent` `f` answers something. May sleep.
///
/// The kernel's own list of partitions is not exported, so this asks `/proc` and `/sys`.
fn find<R>(f: impl Fn((u32, u32), &[u8]) -> Option<R>) -> Result<R> {
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
        if let Some(found) = f((major, minor), event.get(..len).unwrap_or(&[])) {
            return Ok(found);
        }
    }
    Err(ENODEV)
}

/// A number with a sign.
fn signed(text: &[u8]) -> Option<i64> {
    match text.strip_prefix(b"-") {
        Some(rest) => number(rest).map(|n| -i64::from(n)),
        None => number(text).map(i64::from),
    }
}

/// `UUID`, or `UUID/PARTNROFF=N`: the partition whose number on the same disk is that much larger.
/// May sleep.
fn by_uuid(text: &[u8]) -> Result<(u32, u32)> {
    const OFFSET: &[u8] = b"/PARTNROFF=";
    let at = text.windows(OFFSET.len()).position(|w| w == OFFSET);
    let (uuid, offset) = match at.and_then(|at| text.split_at_checked(at)) {
        Some((uuid, rest)) => {
            let offset = rest.strip_prefix(OFFSET).and_then(signed);
            (uuid, Some(offset.ok_or(EINVAL)?))
        }
        None => (text, None),
    };
    let (found, place) = find(|device, event| {
        if !said(event, b"PARTUUID=")?.eq_ignore_ascii_case(uuid) {
            return None;
        }
        let place = said(event, b"DISKSEQ=").and_then(number);
        Some((device, place.zip(said(event, b"PARTN=").and_then(number))))
    })?;
    let Some(offset) = offset else {
        return Ok(found);
    };
    let (disk, number_there) = place.ok_or(ENODEV)?;
    let wanted = i64::from(number_there) + offset;
    find(|device, event| {
        let same = said(event, b"DISKSEQ=").and_then(number) == Some(disk);
        let that = said(event, b"PARTN=").and_then(number).map(i64::from) == Some(wanted);
        (same && that).then_some(device)
    })
}

/// The first partition of that name. May sleep.
fn by_label(label: &[u8]) -> Result<(u32, u32)> {
    find(|device, event| (said(event, b"PARTNAME=")? == label).then_some(device))
}

/// Opens the device that `text` names; if that fails, one line says why. May sleep.
pub(super) fn open(backend: &CStr, text: &[u8], holder: Arc<dyn Holder>) -> Result<Device> {
    let opened = if let Some(uuid) = text.strip_prefix(b"PARTUUID=") {
        by_uuid(uuid).and_then(|n| by_number(n, holder))
    } else if let Some(label) = text.strip_prefix(b"PARTLABEL=") {
        by_label(label).and_then(|n| by_number(n, holder))
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
            e if e == EINVAL => "give PARTUUID=UUID/PARTNROFF=NUMBER",
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
