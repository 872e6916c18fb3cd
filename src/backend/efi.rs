// SPDX-License-Identifier: GPL-2.0

//! EFI variables, in the form of the in-tree efi_pstore: see `Documentation/firmware.md`.
//!
//! Dumps only: the store is flash memory, small and worn out by writing, and holds what the machine
//! needs to boot. A budget and a floor are kept whatever happens.

use super::shelf::{
    self,
    Fresh,
    Item,
    Shelf, //
};
use crate::sys::errno::EOPNOTSUPP;
use crate::{
    backend::{
        Backend,
        Context,
        Risk, //
    },
    compress::Unpacker,
    params::EfiConfig,
    record::{
        Dump,
        Kind,
        Kinds,
        RecordId,
        RecordInfo, //
    },
    sys::{
        efivar::{
            self,
            Lock, //
        },
        staging::Staging, //
    },
};
use kernel::{
    prelude::*,
    sync::atomic::{
        Acquire,
        Atomic,
        Relaxed,
        Release, //
    },
};
use mpstore_format::efi::{
    cost,
    walk,
    Cursor,
    Name,
    Refusal,
    CONTENT_MAX,
    GUID,
    NAME_UNITS,
    TYPE_DMESG, //
};

/// Set in the second word that is noted of a record: its content is compressed.
const NOTE_COMPRESSED: u64 = 1 << 31;

/// No dump was refused since that was last said.
const TOLD: u32 = 0;

/// The variables.
pub(crate) struct Efi {
    config: EfiConfig,
    shelf: Shelf<Name>,
    fresh: Fresh,
    /// The records that were there at load: none of them is to be written over, whatever the clock
    /// says.
    taken: KVec<Name>,
    /// Variables of our vendor, and what they take.
    records: Atomic<u64>,
    bytes: Atomic<u64>,
    /// What of the store was free when it could last be asked, less what was written since;
    /// `u64::MAX` if firmware does not tell.
    free: Atomic<u64>,
    live: Atomic<bool>,
    /// [`TOLD`], or the [`Refusal`] of the latest dump, as a number from 1.
    refused: Atomic<u32>,
    buffers: [Staging<KVec<u8>>; 2],
}

/// What was found beside the records.
#[derive(Default)]
struct Others {
    /// Variables of our vendor that are no dumps.
    foreign: usize,
    /// Dumps that can't be read.
    unreadable: usize,
}

impl Efi {
    /// Reads what is there and changes nothing. May sleep.
    pub(crate) fn new(config: &EfiConfig) -> Result<Self> {
        let name = &*config.name;
        if !efivar::is_available() || !efivar::supports_writes() {
            let why = if efivar::is_available() {
                "the firmware's can't be written to by this kernel"
            } else if efivar::has_runtime_services() {
                "the firmware offers none"
            } else {
                "it was not started by UEFI, or with noefi or efi=noruntime"
            };
            pr_err!("{}: this machine has no EFI variables: {}\n", name, why);
            return Err(EOPNOTSUPP);
        }
        if Self::in_tree() {
            pr_err!(
                "{}: the in-tree efi_pstore records to EFI variables; switch it off with \
                 'echo Y >/sys/module/efi_pstore/parameters/pstore_disable' or load it with \
                 pstore_disable=Y\n",
                name
            );
            return Err(EBUSY);
        }
        let shelf = Shelf::new()?;
        let lock = Lock::wait()?;
        let free = Self::room(&lock, config)?;
        let (records, bytes, others) = Self::scan(&lock, config, &shelf)?;
        drop(lock);
        let buffer = || KVec::from_elem(0u8, config.record_size, GFP_KERNEL).map(Staging::new);
        let this = Self {
            fresh: Fresh::new(usize::try_from(config.budget.records)?)?,
            taken: shelf.keys()?,
            shelf,
            records: Atomic::new(records),
            bytes: Atomic::new(bytes),
            free: Atomic::new(free.unwrap_or(u64::MAX)),
            live: Atomic::new(false),
            refused: Atomic::new(TOLD),
            buffers: [buffer()?, buffer()?],
            config: config.copy()?,
        };
        this.report(&others);
        Ok(this)
    }

    fn in_tree() -> bool {
        shelf::in_tree_records_to(b"efi_pstore") && shelf::efi_pstore_is_on()
    }

    /// What of the store is free, if that is known. A record must fit, and a floor needs to be
    /// known.
    fn room(lock: &Lock, config: &EfiConfig) -> Result<Option<u64>> {
        match lock.room() {
            Ok(room) => {
                let needs = cost(config.record_size as u64, NAME_UNITS);
                if needs > room.largest {
                    pr_err!(
                        "efi_record_size={}: needs variables of {} bytes, the firmware takes at \
                         most {}\n",
                        config.record_size,
                        needs,
                        room.largest
                    );
                    return Err(EINVAL);
                }
                Ok(Some(room.free))
            }
            Err(_) if config.budget.floor == 0 => Ok(None),
            Err(e) => {
                pr_err!(
                    "efi_floor={}: the firmware does not tell how much is free ({:?}); give 0 to \
                     go without a floor\n",
                    config.budget.floor,
                    e
                );
                Err(e)
            }
        }
    }

    /// Reads all variables of our vendor and answers with how many there are and what they take.
    ///
    /// At load only: elsewhere the shelf's mutex is taken before the semaphore.
    fn scan(lock: &Lock, config: &EfiConfig, shelf: &Shelf<Name>) -> Result<(u64, u64, Others)> {
        let mut cursor = KBox::new(Cursor::new(), GFP_KERNEL)?;
        let mut buffer = VVec::from_elem(0u8, CONTENT_MAX, GFP_KERNEL)?;
        let mut unpacker = Unpacker::default();
        let (mut records, mut bytes, mut others) = (0u64, 0u64, Others::default());
        let mut failed = Ok(());
        let end = walk(
            &mut cursor,
            &mut |cursor| lock.next(cursor),
            &mut |name, vendor| {
                if *vendor != GUID {
                    return true;
                }
                let letters = name.len().saturating_sub(1);
                let parsed = name.get(..letters).and_then(Name::parse);
                if parsed.is_some_and(|name| shelf.has(name)) {
                    // It came round.
                    return true;
                }
                let got = lock.get(name, &GUID, &mut buffer);
                records = records.saturating_add(1);
                let size = got.as_ref().copied().unwrap_or(0) as u64;
                bytes = bytes.saturating_add(cost(size, letters));
                let Some(parsed) = parsed.filter(|name| name.kind == TYPE_DMESG) else {
                    others.foreign += 1;
                    return true;
                };
                let content = got.ok().and_then(|len| buffer.get(..len));
                let added = match content {
                    Some(content) => Self::item(parsed, content)
                        .and_then(|item| shelf.add(&config.name, item, &mut unpacker)),
                    None => Err(EIO),
                };
                match added {
                    Err(e) if e == ENOMEM => failed = Err(e),
                    Err(_) => others.unreadable += 1,
                    Ok(()) => {}
                }
                failed.is_ok()
            },
        );
        failed?;
        if let Err(astray) = end {
            pr_warn!(
                "{}: not all variables could be looked at: {}\n",
                &*config.name,
                astray.as_str()
            );
        }
        Ok((records, bytes, others))
    }

    fn item(name: Name, content: &[u8]) -> Result<Item<Name>> {
        let mut kept = VVec::new();
        kept.extend_from_slice(content, GFP_KERNEL)?;
        let mut out = [0; NAME_UNITS];
        let letters = name.encode(&mut out);
        Ok(Item {
            key: name,
            id: name.id(),
            sec: Some(name.sec),
            compressed: name.compressed(),
            cost: cost(kept.len() as u64, letters),
            content: kept,
        })
    }

    fn report(&self, others: &Others) {
        let (name, budget) = (self.name(), &self.config.budget);
        let (records, bytes) = (self.records.load(Relaxed), self.bytes.load(Relaxed));
        let free = self.free.load(Relaxed);
        pr_info!(
            "{}: {} records of earlier kernels; {} of {} variables and {} of {} bytes in use\n",
            name,
            self.shelf.len(),
            records,
            budget.records,
            bytes,
            budget.bytes
        );
        if others.foreign > 0 {
            pr_warn!(
                "{}: {} variables of this vendor are no dumps; they count, and are left alone\n",
                name,
                others.foreign
            );
        }
        if others.unreadable > 0 {
            pr_warn!(
                "{}: {} records can't be read and are not shown\n",
                name,
                others.unreadable
            );
        }
        // Part 1 of a dump in the largest form.
        let needs = cost(self.config.record_size as u64, NAME_UNITS);
        let free = (free != u64::MAX).then_some(free);
        if let Err(refusal) = budget.admits(records, bytes, free, needs) {
            self.complain(refusal);
        }
    }

    fn complain(&self, refusal: Refusal) {
        let (budget, free) = (&self.config.budget, self.free.load(Relaxed));
        let (param, value) = match refusal {
            Refusal::Records => ("efi_records", budget.records),
            Refusal::Bytes => ("efi_bytes", budget.bytes),
            Refusal::Floor => ("efi_floor", budget.floor),
        };
        let (records, bytes) = (self.records.load(Relaxed), self.bytes.load(Relaxed));
        pr_warn!(
            "{}: no room for a dump: {}={} with {} variables of {} bytes there; erase records or \
             change it\n",
            self.name(),
            param,
            value,
            records,
            bytes
        );
        if free != u64::MAX {
            pr_warn!("{}: {} bytes of the store are free\n", self.name(), free);
        }
    }

    /// Writes as many parts as the budget allows. The semaphore is held. Crash context.
    fn write(&self, lock: &Lock, buffer: &mut [u8], dump: &Dump<'_>) -> Result {
        let known = match lock.room_atomic() {
            Ok(room) => room.free,
            Err(_) => self.free.load(Relaxed),
        };
        let mut free = (known != u64::MAX).then_some(known);
        let mut count = i32::try_from(dump.count).unwrap_or(i32::MAX);
        let same = |name: &Name, count| {
            name.sec == dump.stamp.sec && name.count.unwrap_or_default() == count
        };
        // At most once for each that was there.
        while self.taken.iter().any(|name| same(name, count)) {
            count = count.wrapping_add(1);
        }
        let mut parts = dump.parts();
        while parts.more() {
            let number = parts.number();
            let Some(part) = parts.next(buffer.len()) else {
                break;
            };
            let len = shelf::fill(&part, buffer, 0);
            let Some(content) = buffer.get_mut(..len) else {
                break;
            };
            let compressed = part.method().is_some();
            let name = Name::dump(number, count, dump.stamp.sec, compressed);
            let mut units = [0; NAME_UNITS];
            let letters = name.encode(&mut units);
            let needs = cost(content.len() as u64, letters);
            let (records, bytes) = (self.records.load(Relaxed), self.bytes.load(Relaxed));
            if let Err(refusal) = self.config.budget.admits(records, bytes, free, needs) {
                // Only part 1 is owed a place.
                if number > 1 {
                    return Ok(());
                }
                // CAST: As declared.
                self.refused.store(refusal as u32 + 1, Relaxed);
                return Err(ENOSPC);
            }
            match lock.set(&units, &GUID, content, true) {
                Ok(()) => {}
                // The kernel keeps a reserve of its own.
                Err(e) if e == ENOSPC && number > 1 => return Ok(()),
                Err(e) => return Err(e),
            }
            self.records.store(records.saturating_add(1), Relaxed);
            self.bytes.store(bytes.saturating_add(needs), Relaxed);
            free = free.map(|free| free.saturating_sub(needs));
            self.free.store(free.unwrap_or(u64::MAX), Relaxed);
            let mut note = u64::from(number) & (NOTE_COMPRESSED - 1);
            if name.compressed() {
                note |= NOTE_COMPRESSED;
            }
            // CAST: Positive.
            self.fresh
                .note([name.sec, note | u64::from(count as u32) << 32]);
        }
        Ok(())
    }

    /// Fetches what this kernel wrote. May sleep.
    fn fetch(&self) -> Result {
        let mut unpacker = Unpacker::default();
        let mut buffer = VVec::new();
        self.fresh.take(&mut |[sec, note]| {
            if buffer.is_empty() {
                buffer = VVec::from_elem(0u8, CONTENT_MAX, GFP_KERNEL)?;
            }
            // CAST: The two halves of what was noted.
            let (part, count) = (note as u32 & 0x7fff_ffff, (note >> 32) as i32);
            let name = Name::dump(part, count, sec, note & NOTE_COMPRESSED != 0);
            let mut units = [0; NAME_UNITS];
            name.encode(&mut units);
            let lock = Lock::wait()?;
            let got = lock.get(&units, &GUID, &mut buffer);
            drop(lock);
            match got.map(|len| buffer.get(..len)) {
                Ok(Some(content)) => {
                    self.shelf
                        .add(&self.config.name, Self::item(name, content)?, &mut unpacker)
                }
                // Erased by somebody else meanwhile, or spoilt.
                Ok(None) => Ok(()),
                Err(e) if e == ENOENT => Ok(()),
                Err(e) => Err(e),
            }
        })
    }
}

impl Backend for Efi {
    fn name(&self) -> &CStr {
        &self.config.name
    }

    fn kinds(&self) -> Kinds {
        Kinds::default().with(Kind::Dmesg)
    }

    fn max_reason(&self) -> u32 {
        self.config.max_reason
    }

    fn record_capacity(&self) -> usize {
        self.config.record_size
    }

    fn risk(&self) -> Risk {
        Risk::Firmware
    }

    fn activate(&self) -> Result {
        self.live.store(true, Release);
        Ok(())
    }

    fn dump(&self, dump: &Dump<'_>) -> Result {
        if !self.live.load(Acquire) {
            return Err(ENODEV);
        }
        if !efivar::may_call() {
            return Err(EBUSY);
        }
        let lock = Lock::take()?;
        let mut result = Err(EBUSY);
        shelf::for_this_cpu(&self.buffers).with(|buffer| result = self.write(&lock, buffer, dump));
        result
    }

    fn append(&self, _kind: Kind, _parts: &[&[u8]], _context: Context) -> Result {
        Err(EINVAL)
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        if self.live.load(Acquire) && Self::in_tree() {
            self.live.store(false, Release);
            pr_warn!(
                "{}: the in-tree efi_pstore has begun to record to EFI variables; this ends here \
                 until the module is loaded again\n",
                self.name()
            );
        }
        let refusal = match self.refused.xchg(TOLD, Relaxed) {
            1 => Some(Refusal::Records),
            2 => Some(Refusal::Bytes),
            3 => Some(Refusal::Floor),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.complain(refusal);
        }
        if let Err(e) = self.fetch() {
            pr_warn!("{}: new records can't be read yet: {:?}\n", self.name(), e);
        }
        self.shelf.records(f)
    }

    fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        self.shelf.read(id)
    }

    fn erase(&self, id: &RecordId) -> Result {
        self.shelf.erase(id, |name, cost| {
            let mut units = [0; NAME_UNITS];
            name.encode(&mut units);
            let lock = Lock::wait()?;
            match lock.set(&units, &GUID, &mut [], false) {
                Err(e) if e != ENOENT => return Err(e),
                _ => {}
            }
            // As in `write()`: by who holds the semaphore.
            let less = |count: &Atomic<u64>, by| {
                count.store(count.load(Relaxed).saturating_sub(by), Relaxed);
            };
            less(&self.records, 1);
            less(&self.bytes, cost);
            if let Ok(room) = lock.room() {
                self.free.store(room.free, Relaxed);
            }
            Ok(())
        })
    }
}
