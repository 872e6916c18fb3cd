// SPDX-License-Identifier: GPL-2.0

//! The medium of an MTD: which one, what it holds, and the erasing of its blocks. For tasks.

use super::zones::{
    Looked,
    State,
    Zones, //
};
use crate::{
    params::{
        BlkConfig,
        MTD_PREFIX, //
    },
    sys::{
        mtd::{
            Holder,
            Mtd,
            Name, //
        },
        sysctl::Sysctl, //
    },
};
use kernel::{
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc, //
    },
};
use mpstore_format::{
    layout::Zone,
    probe,
    zone::{
        is_blank,
        Found,
        Slot,
        ZoneLayout,
        DUMP_OVERHEAD, //
    },
};

/// Bytes that are looked at to tell whether a zone, or a block, holds anything.
const GLANCE: usize = 4096;

fn is_erased(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0xff)
}

/// Whether the in-tree mtdpstore records to the device that is called so at this moment.
fn in_tree_has(number: u32, name: &CStr) -> bool {
    let mut text = [0; 128];
    let setting = c"module/pstore_blk/parameters/blkdev";
    let loaded = Sysctl::open_sys(c"module/mtdpstore/initstate").is_ok();
    loaded
        && Sysctl::open_sys(setting).is_ok_and(|file| {
            file.read(&mut text).is_ok_and(|text| {
                let text = text.trim_ascii();
                text == name.to_bytes() || parse(text) == Some(number)
            })
        })
}

fn parse(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.len() <= 9 && text.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        text.iter()
            .fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
    })
}

/// Opens the device that `text` names; if that fails, one line says why. May sleep.
pub(super) fn open(backend: &CStr, text: &[u8], holder: Arc<dyn Holder>) -> Result<Mtd> {
    let wanted = text.strip_prefix(MTD_PREFIX).unwrap_or(text);
    let owned = CString::try_from_fmt(fmt!("{}", BStr::from_bytes(wanted)))?;
    let name = match parse(wanted) {
        Some(number) => Name::Number(number, owned),
        None => Name::Text(owned),
    };
    let device = Mtd::open(name, holder).inspect_err(|e| {
        let why = match *e {
            e if e == ENXIO => "the kernel's module mtd is not loaded, so there is no such device",
            e if e == ENODEV => "no such device; give the name or number of one in /proc/mtd",
            e if e == EBUSY => "another backend has it",
            _ => "can't be opened",
        };
        pr_err!(
            "{}: blkdev={}: {} ({:?})\n",
            backend,
            BStr::from_bytes(text),
            why,
            e
        );
    })?;
    let number = device.facts().index;
    let called = device.with_name(|name| CString::try_from(name))??;
    if in_tree_has(number, &called) {
        pr_err!(
            "{}: blkdev={}: mtdpstore uses it; unload that first\n",
            backend,
            BStr::from_bytes(text)
        );
        return Err(EBUSY);
    }
    Ok(device)
}

/// Looks at all zones and changes nothing. `remember` is called for each in order, with the record
/// that it holds. May sleep.
pub(super) fn look(
    device: &Mtd,
    layout: &ZoneLayout,
    zones: &mut Zones,
    buffer: &mut [u8],
    remember: &mut dyn FnMut(Option<Found>) -> Result,
) -> Result<Looked> {
    let mut looked = Looked::default();
    let mut newest = None;
    for block in 0..zones.blocks() {
        let bad = device.is_bad(zones.block_at(block))?;
        looked.bad += usize::from(bad);
        for index in zones.of_block(block) {
            let zone = layout.dmesg(index).ok_or(EINVAL)?;
            let (state, found) = match bad {
                true => (State::Bad, None),
                false => look_at(device, zone, buffer, &mut looked),
            };
            if let Some((found, true)) = found {
                // As in-tree: of several that are as new the last one counts.
                if newest.is_none_or(|stamp| found.info.stamp >= stamp) {
                    newest = Some(found.info.stamp);
                    zones.set_next(index);
                }
            }
            zones.set(index, state);
            remember(found.map(|(found, _)| found))?;
        }
    }
    // Of a block that is divided, what is left behind the zones can't be used.
    for index in zones.of_block(zones.blocks()) {
        zones.set(index, State::Bad);
        remember(None)?;
    }
    Ok(looked)
}

/// What one zone holds: its record, and whether that is whole.
fn look_at(
    device: &Mtd,
    zone: Zone,
    buffer: &mut [u8],
    looked: &mut Looked,
) -> (State, Option<(Found, bool)>) {
    let at = zone.offset as u64;
    let glance = GLANCE.min(zone.len).min(buffer.len());
    let (front, _) = buffer.split_at_mut(glance);
    // A zone that can't be read is none to be written to either.
    if device.read(at, front).is_err() {
        return (State::Bad, None);
    }
    let Some(head) = front.first_chunk::<DUMP_OVERHEAD>() else {
        return (State::Bad, None);
    };
    match Slot::parse(head, zone.len) {
        Slot::Blank if is_erased(front) => (State::Blank, None),
        // Memory that was never used.
        Slot::Blank if is_blank(front) => (State::Stale, None),
        Slot::Erased(_) => (State::Stale, None),
        Slot::Blank | Slot::Garbage(_) | Slot::Unknown => {
            looked.foreign += 1;
            (State::Stale, None)
        }
        Slot::Dump(found) => {
            looked.ours += 1;
            let whole = buffer
                .get_mut(..found.text_len())
                .and_then(|text| {
                    let read = device.read(at.saturating_add(DUMP_OVERHEAD as u64), text);
                    read.is_ok().then(|| found.intact(text) != Some(false))
                })
                .unwrap_or(false);
            looked.torn += usize::from(!whole);
            (State::Live, Some((found, whole)))
        }
    }
}

/// Whether what a device holds is ours, or nothing; else one line says what was found. May sleep.
pub(super) fn judge(config: &BlkConfig, device: &Mtd, looked: &Looked) -> Result {
    if looked.foreign == 0 {
        return Ok(());
    }
    let facts = device.facts();
    let mut piece = KBox::new([0u8; 4096], GFP_KERNEL)?;
    // No driver has to be able to read a bad block.
    let mut fetch = |at: u64, to: &mut [u8]| {
        let block = at / (facts.block as u64).max(1) * facts.block as u64;
        matches!(device.is_bad(block), Ok(false)) && device.read(at, to).is_ok()
    };
    let found = match probe::identify_flash(facts.bytes, facts.block as u64, &mut piece, &mut fetch)
    {
        Some(found) => found,
        None if looked.ours > 0 => return Ok(()),
        None => "something that is no pstore zone",
    };
    let (name, target) = (&*config.name, BStr::from_bytes(config.target.to_bytes()));
    if config.force {
        pr_warn!(
            "{}: blkdev={}: holds {}, which is erased because of force=1\n",
            name,
            target,
            found
        );
        return Ok(());
    }
    pr_err!(
        "{}: blkdev={}: holds {}; erase it, or give force=1 to have it erased\n",
        name,
        target,
        found
    );
    Err(EEXIST)
}

/// What is needed to erase and write.
pub(super) struct Media<'a> {
    pub(super) name: &'a CStr,
    pub(super) device: &'a Mtd,
    pub(super) layout: &'a ZoneLayout,
    pub(super) zones: &'a Zones,
    pub(super) erased: &'a Atomic<u64>,
}

impl Media<'_> {
    /// The text of a record as it is stored. May sleep.
    pub(super) fn fetch(&self, index: usize, found: &Found) -> Result<KVVec<u8>> {
        let zone = self.layout.dmesg(index).ok_or(EINVAL)?;
        let mut text = KVVec::from_elem(0, found.text_len(), GFP_KERNEL)?;
        let at = (zone.offset as u64).saturating_add(DUMP_OVERHEAD as u64);
        self.device.read(at, &mut text)?;
        Ok(text)
    }

    /// Whether every byte of a zone is as after erasing. May sleep.
    fn is_erased(&self, index: usize, buffer: &mut [u8]) -> bool {
        self.layout.dmesg(index).is_some_and(|zone| {
            buffer.get_mut(..zone.len).is_some_and(|to| {
                self.device.read(zone.offset as u64, to).ok() == Some(true) && is_erased(to)
            })
        })
    }

    /// Erases a block of which no zone holds a record that is to be kept. May sleep.
    fn erase(&self, block: usize) -> Result {
        // From here on nobody writes there.
        for index in self.zones.of_block(block) {
            self.zones.change(index, State::Ready, State::Stale);
        }
        if self.zones.in_block(block, State::Busy) {
            return Err(EBUSY);
        }
        let done = self.device.erase(self.zones.block_at(block));
        match done {
            Ok(()) => {
                self.erased.fetch_add(1, Relaxed);
            }
            Err(e) if !self.device.dead() => pr_warn!(
                "{}: block {} can't be erased and is not used: {:?}\n",
                self.name,
                block,
                e
            ),
            Err(_) => {}
        }
        done
    }

    /// Sets all zones of a block that are not bad. One that was found to be is so until the next
    /// load.
    fn settle(&self, block: usize, state: State) {
        for index in self.zones.of_block(block) {
            if !self.zones.is(index, State::Bad) {
                self.zones.set(index, state);
            }
        }
    }

    /// Has zones erased that hold no record, until so many are. May sleep.
    pub(super) fn renew(&self, wanted: usize, buffer: &mut [u8]) -> Result {
        for block in self.zones.next_blocks() {
            if self.zones.count(State::Ready) >= wanted {
                break;
            }
            self.renew_block(block, buffer)?;
        }
        Ok(())
    }

    fn renew_block(&self, block: usize, buffer: &mut [u8]) -> Result {
        let zones = self.zones;
        let has = |state| zones.in_block(block, state);
        if !has(State::Blank) && !has(State::Stale) {
            return Ok(());
        }
        let keep = has(State::Live) || has(State::Removed) || has(State::Busy);
        if !keep && has(State::Stale) {
            return self.erase_or_give_up(block);
        }
        let mut clean = true;
        // From the end: what lies before something that was written can't be used.
        for index in zones.of_block(block).rev() {
            if zones.is(index, State::Blank) {
                clean &= self.is_erased(index, buffer);
                let state = if clean { State::Ready } else { State::Stale };
                zones.change(index, State::Blank, state);
            } else if !zones.is(index, State::Ready) {
                clean = false;
            }
        }
        if !keep && has(State::Stale) {
            return self.erase_or_give_up(block);
        }
        Ok(())
    }

    /// Erases a block with the records that are there. If it can't be, it is not used any more. May
    /// sleep.
    pub(super) fn erase_or_give_up(&self, block: usize) -> Result {
        match self.erase(block) {
            Ok(()) => {
                self.settle(block, State::Ready);
                Ok(())
            }
            Err(e) if e == EBUSY || self.device.dead() => Err(e),
            // There are others.
            Err(_) => {
                self.settle(block, State::Bad);
                Ok(())
            }
        }
    }

    /// Erases a block and writes the records back that are to stay, as the in-tree code does.
    /// `forget` is told of those that are lost. May sleep.
    pub(super) fn rewrite(
        &self,
        block: usize,
        buffer: &mut [u8],
        forget: &mut dyn FnMut(usize),
    ) -> Result {
        let zones = self.zones;
        let mut kept = KVec::<(usize, KVVec<u8>)>::new();
        for index in zones.of_block(block) {
            if !zones.is(index, State::Live) {
                continue;
            }
            let zone = self.layout.dmesg(index).ok_or(EINVAL)?;
            let mut bytes = KVVec::from_elem(0, zone.len, GFP_KERNEL)?;
            self.device.read(zone.offset as u64, &mut bytes)?;
            // Pages that were not written shall not be now.
            let used = bytes.iter().rposition(|byte| *byte != 0xff);
            let len = used.map_or(0, |at| at + 1);
            bytes.truncate(len.next_multiple_of(zones.page().max(1)).min(zone.len));
            kept.push((index, bytes), GFP_KERNEL)?;
        }
        if let Err(e) = self.erase(block) {
            if e != EBUSY && !self.device.dead() {
                // What is there can be read still, and is there again after the next load.
                for index in zones.of_block(block) {
                    zones.change(index, State::Removed, State::Bad);
                    zones.change(index, State::Stale, State::Bad);
                    zones.change(index, State::Blank, State::Bad);
                }
            }
            return Err(e);
        }
        let mut first = Ok(());
        for (index, bytes) in &kept {
            let zone = self.layout.dmesg(*index).ok_or(EINVAL)?;
            let to = buffer.get_mut(..bytes.len()).ok_or(EINVAL)?;
            to.copy_from_slice(bytes);
            if let Err(e) = self.device.write(zone.offset as u64, to) {
                pr_err!("{}: dmesg record {} is lost: {:?}\n", self.name, index, e);
                zones.set(*index, State::Bad);
                forget(*index);
                first = first.and(Err(e));
            }
        }
        let mut clean = true;
        for index in zones.of_block(block).rev() {
            match zones.is(index, State::Live) || zones.is(index, State::Bad) {
                true => clean = false,
                false => zones.set(index, if clean { State::Ready } else { State::Stale }),
            }
        }
        first
    }
}
