// SPDX-License-Identifier: GPL-2.0

//! ACPI's Error Record Serialization Table, in the form of the in-tree erst backend: see
//! `Documentation/firmware.md`.
//!
//! Dumps only: the store belongs to errors of the hardware first of all, and is small.

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
    params::ErstConfig,
    record::{
        Dump,
        Kind,
        Kinds,
        RecordId,
        RecordInfo, //
    },
    sys::{
        erst,
        staging::Staging,
        sysctl::Sysctl, //
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
use mpstore_format::erst::{
    exchange_bytes,
    header,
    parse,
    Found,
    HEADER_BYTES, //
};

/// Records that are looked at, at most; the kernel's own list of them ends there too.
const IDS_MAX: usize = 1024;

/// Bytes of a record where nobody says and nothing can be found out. Firmware's buffers are not
/// smaller.
const RECORD_SIZE: usize = 4096;

/// Bytes of a record, at most: larger ones gain nothing.
const RECORD_SIZE_MAX: usize = 0x1_0000;

/// The store.
pub(crate) struct Erst {
    config: ErstConfig,
    /// Bytes of a record with its headers.
    size: usize,
    shelf: Shelf<u64>,
    fresh: Fresh,
    /// Dumps in the store.
    records: Atomic<u64>,
    live: Atomic<bool>,
    buffers: [Staging<VVec<u8>>; 2],
}

/// What was found beside the dumps.
#[derive(Default)]
struct Others {
    /// Records of other writers.
    foreign: usize,
    /// Records of a pstore that are no dumps.
    other: usize,
    /// Records that can't be read.
    unreadable: usize,
}

impl Erst {
    /// Reads what is there and changes nothing. May sleep.
    pub(crate) fn new(config: &ErstConfig) -> Result<Self> {
        let name = &*config.name;
        if !erst::is_enabled() {
            pr_err!(
                "{}: this machine has no ACPI ERST, or the kernel was booted with erst_disable\n",
                name
            );
            return Err(EOPNOTSUPP);
        }
        if Self::in_tree() {
            pr_err!(
                "{}: the in-tree pstore records to it, being built in; boot with \
                 pstore.backend=none, which keeps it from all backends\n",
                name
            );
            return Err(EBUSY);
        }
        let exchange = exchange();
        let size = match (config.record_size, exchange) {
            (Some(size), Some(most)) if size > most => {
                pr_err!(
                    "erst_record_size={}: the firmware takes records of at most {} bytes\n",
                    size,
                    most
                );
                return Err(EINVAL);
            }
            (Some(size), _) => size,
            (None, Some(most)) => most.min(RECORD_SIZE_MAX),
            (None, None) => RECORD_SIZE,
        };
        let shelf = Shelf::new()?;
        let largest = exchange.unwrap_or(RECORD_SIZE_MAX).max(RECORD_SIZE_MAX);
        let (records, others) = Self::scan(config, &shelf, largest)?;
        let buffer = || VVec::from_elem(0u8, size, GFP_KERNEL).map(Staging::new);
        let this = Self {
            size,
            fresh: Fresh::new(usize::try_from(config.records)?)?,
            shelf,
            records: Atomic::new(records),
            live: Atomic::new(false),
            buffers: [buffer()?, buffer()?],
            config: config.copy()?,
        };
        this.report(&others);
        Ok(this)
    }

    fn in_tree() -> bool {
        shelf::in_tree_records_to(b"erst")
    }

    /// Reads all records, and answers with how many dumps there are.
    fn scan(config: &ErstConfig, shelf: &Shelf<u64>, largest: usize) -> Result<(u64, Others)> {
        let mut ids = KVec::with_capacity(IDS_MAX, GFP_KERNEL)?;
        // Firmware that names records in circles is cut short here.
        erst::ids(&mut |id| {
            ids.len() < IDS_MAX && (ids.contains(&id) || ids.push(id, GFP_KERNEL).is_ok())
        })?;
        let mut buffer = VVec::from_elem(0u8, largest, GFP_KERNEL)?;
        let mut unpacker = Unpacker::default();
        let (mut records, mut others) = (0u64, Others::default());
        for id in ids {
            let got = erst::read(id, &mut buffer);
            let found = match got.map(|len| buffer.get(..len)) {
                Ok(Some(bytes)) => parse(bytes),
                // Cleared meanwhile.
                Err(e) if e == ENOENT => continue,
                _ => Found::Damaged,
            };
            match found {
                Found::Dump(dump) => {
                    records = records.saturating_add(1);
                    let item = Self::item(id, dump.sec, dump.compressed, dump.content)?;
                    match shelf.add(&config.name, item, &mut unpacker) {
                        Err(e) if e == ENOMEM => return Err(e),
                        Err(_) => others.unreadable += 1,
                        Ok(()) => {}
                    }
                }
                Found::Other => others.other += 1,
                Found::Foreign => others.foreign += 1,
                Found::Damaged => others.unreadable += 1,
            }
        }
        Ok((records, others))
    }

    fn item(id: u64, sec: Option<u64>, compressed: bool, content: &[u8]) -> Result<Item<u64>> {
        let mut kept = VVec::new();
        kept.extend_from_slice(content, GFP_KERNEL)?;
        Ok(Item {
            key: id,
            id,
            sec,
            compressed,
            cost: 1,
            content: kept,
        })
    }

    fn report(&self, others: &Others) {
        let name = self.name();
        let records = self.records.load(Relaxed);
        pr_info!(
            "{}: {} records of {} bytes each, {} of earlier kernels\n",
            name,
            self.config.records,
            self.size.saturating_sub(HEADER_BYTES),
            records
        );
        if others.foreign + others.other + others.unreadable > 0 {
            pr_info!(
                "{}: not shown: {} records of other writers, {} that are no dumps, {} that can't be \
                 read\n",
                name,
                others.foreign,
                others.other,
                others.unreadable
            );
        }
        if records >= self.config.records {
            pr_warn!(
                "{}: no room for a dump: erst_records={} with {} there; erase some or change it\n",
                name,
                self.config.records,
                records
            );
        }
    }

    /// Writes as many parts as there is room for. Crash context.
    fn write(&self, buffer: &mut [u8], dump: &Dump<'_>) -> Result {
        let mut parts = dump.parts();
        while parts.more() {
            let first = parts.number() == 1;
            let room = buffer.len().saturating_sub(HEADER_BYTES);
            let Some(part) = parts.next(room) else {
                break;
            };
            if self.records.load(Relaxed) >= self.config.records {
                // Only part 1 is owed a place.
                return if first { Err(ENOSPC) } else { Ok(()) };
            }
            let end = shelf::fill(&part, buffer, HEADER_BYTES);
            let id = erst::next_id();
            let compressed = part.method().is_some();
            if let Some(head) = buffer.first_chunk_mut::<HEADER_BYTES>() {
                let content = end.saturating_sub(HEADER_BYTES);
                header(head, id, dump.stamp.sec, content, compressed);
            }
            match erst::write(buffer.get(..end).unwrap_or(&[])) {
                Ok(()) => {}
                Err(e) if e == ENOSPC && !first => return Ok(()),
                Err(e) => return Err(e),
            }
            self.records.fetch_add(1, Relaxed);
            self.fresh.note([id, 0]);
        }
        Ok(())
    }

    /// Fetches what this kernel wrote. May sleep.
    fn fetch(&self) -> Result {
        let mut unpacker = Unpacker::default();
        let mut buffer = VVec::new();
        self.fresh.take(&mut |[id, _]| {
            if buffer.is_empty() {
                buffer = VVec::from_elem(0u8, self.size, GFP_KERNEL)?;
            }
            let dump = match erst::read(id, &mut buffer).map(|len| buffer.get(..len)) {
                Ok(Some(bytes)) => match parse(bytes) {
                    Found::Dump(dump) => dump,
                    _ => return Ok(()),
                },
                Ok(None) => return Ok(()),
                Err(e) if e == ENOENT => return Ok(()),
                Err(e) => return Err(e),
            };
            let item = Self::item(id, dump.sec, dump.compressed, dump.content)?;
            self.shelf.add(&self.config.name, item, &mut unpacker)
        })
    }
}

/// Bytes of the buffer by which the kernel exchanges records with firmware, as far as it can be
/// found out: no interface of the kernel tells, but it claims that memory. May sleep.
fn exchange() -> Option<usize> {
    let file = Sysctl::open(c"iomem").ok()?;
    let mut text = VVec::new();
    let mut piece = KVec::from_elem(0u8, 4096, GFP_KERNEL).ok()?;
    // Bounded: a megabyte is more than the longest.
    for _ in 0..256 {
        let pos = i64::try_from(text.len()).ok()?;
        let more = file.read_from(pos, &mut piece).ok()?;
        if more.is_empty() {
            break;
        }
        text.extend_from_slice(more, GFP_KERNEL).ok()?;
    }
    exchange_bytes(&text)
}

impl Backend for Erst {
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
        self.size.saturating_sub(HEADER_BYTES)
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
        let mut result = Err(EBUSY);
        shelf::for_this_cpu(&self.buffers).with(|buffer| result = self.write(buffer, dump));
        result
    }

    fn append(&self, _kind: Kind, _parts: &[&[u8]], _context: Context) -> Result {
        Err(EINVAL)
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        if let Err(e) = self.fetch() {
            pr_warn!("{}: new records can't be read yet: {:?}\n", self.name(), e);
        }
        self.shelf.records(f)
    }

    fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        self.shelf.read(id)
    }

    fn erase(&self, id: &RecordId) -> Result {
        self.shelf.erase(id, |id, _| {
            match erst::clear(id) {
                Err(e) if e != ENOENT => return Err(e),
                _ => {}
            }
            // Never below zero: each was counted when it was read or written.
            self.records.fetch_sub(1, Relaxed);
            Ok(())
        })
    }
}
