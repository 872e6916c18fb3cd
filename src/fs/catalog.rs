// SPDX-License-Identifier: GPL-2.0

//! What is in the filesystem: the backends and their records, as they were when last looked at.
//!
//! One catalog serves all views. It is empty while nothing is mounted.

use super::Layout;
use crate::{
    dispatch::{
        Dispatcher,
        Entry, //
    },
    record::{
        Kind,
        RecordId,
        RecordInfo,
        Stamp, //
    },
    sys::{
        time,
        vfs::{
            FileInfo,
            Kept,
            Node,
            Time,
            FIRST, //
        },
    },
};
use kernel::{
    prelude::*,
    rbtree::RBTree,
    str::CString,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Relaxed,
            Release, //
        },
        Arc, //
    },
};

/// A record, or the directory of a backend.
#[pin_data]
pub(crate) struct Item {
    number: u64,
    name: CString,
    record: Option<Record>,
    alive: Atomic<bool>,
    found: Time,
    #[pin]
    kept: Kept,
}

/// What a file stands for.
pub(super) struct Record {
    pub(super) entry: Arc<Entry>,
    pub(super) id: RecordId,
    /// Some grow while they are shown.
    size: Atomic<u64>,
    stamp: Option<Stamp>,
    compressed: bool,
}

impl Item {
    fn new(number: u64, name: CString, record: Option<Record>) -> Result<Arc<Self>> {
        let ns = time::real_ns();
        let found = (
            i64::try_from(ns / 1_000_000_000)?,
            // CAST: Below a billion.
            (ns % 1_000_000_000) as u32,
        );
        Arc::pin_init(
            pin_init!(Self {
                number,
                found,
                name,
                record,
                alive: Atomic::new(true),
                kept <- Kept::new(),
            }),
            GFP_KERNEL,
        )
    }

    /// The record; a directory has none.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// It is gone: nobody finds it any more. What is open stays so.
    fn kill(&self) {
        self.alive.store(false, Release);
    }

    /// Whether it stands for the record that `info` tells of, which may have grown.
    fn is(&self, info: &RecordInfo) -> bool {
        self.record.as_ref().is_some_and(|record| {
            let same = record.id == info.id && record.compressed == info.compressed;
            if same {
                record.size.store(info.size as u64, Relaxed);
            }
            same
        })
    }
}

impl Node for Item {
    fn number(&self) -> u64 {
        self.number
    }

    fn name(&self) -> &[u8] {
        self.name.to_bytes()
    }

    fn file(&self) -> Option<FileInfo> {
        let record = self.record.as_ref()?;
        let time = record
            .stamp
            .filter(|stamp| stamp.sec > 0)
            .and_then(|stamp| Some((i64::try_from(stamp.sec).ok()?, stamp.usec * 1000)));
        Some(FileInfo {
            size: record.size.load(Relaxed),
            time,
        })
    }

    fn found(&self) -> Time {
        self.found
    }

    fn alive(&self) -> bool {
        self.alive.load(Acquire)
    }

    fn kept(&self) -> &Kept {
        &self.kept
    }
}

/// What records are found by.
type Key = (usize, u64);

fn key(id: &RecordId) -> Key {
    (id.kind.index(), id.id)
}

/// One backend.
struct Shelf {
    entry: Arc<Entry>,
    dir: Arc<Item>,
    by_key: RBTree<Key, Arc<Item>>,
    /// In the order of their numbers. Those that are gone stay until the backend is looked at
    /// again.
    by_number: VVec<Arc<Item>>,
}

impl Shelf {
    /// Takes what the backend has now for what it had. A failure is one line, and what was not
    /// looked at stays as it was. May sleep.
    fn scan(&mut self, next: &mut u64) {
        let mut old = core::mem::replace(&mut self.by_key, RBTree::new());
        let entry = self.entry.clone();
        let result = entry.backend().records(&mut |info| {
            let key = key(&info.id);
            if self.by_key.get(&key).is_some() {
                return Ok(());
            }
            match old.remove(&key) {
                Some(item) if item.is(info) => self.put(key, item),
                gone => {
                    if let Some(item) = gone {
                        item.kill();
                    }
                    let item = Self::make(&entry, info, next)?;
                    // Numbers rise, so the order is kept.
                    self.by_number.push(item.clone(), GFP_KERNEL)?;
                    self.put(key, item)
                }
            }
        });
        match result {
            Ok(()) => old.values().for_each(|item| item.kill()),
            Err(e) => {
                pr_err!("{}: can't list its records: {:?}\n", entry.name(), e);
                for (key, item) in old.iter() {
                    // One that can't be kept is gone.
                    let _ = self.put(*key, item.clone());
                }
            }
        }
        self.by_number.retain(|item| item.alive());
    }

    fn make(entry: &Arc<Entry>, info: &RecordInfo, next: &mut u64) -> Result<Arc<Item>> {
        let name = CString::try_from_fmt(fmt!(
            "{}-{}-{}{}",
            info.id.kind.as_str(),
            entry.name(),
            info.id.id,
            if info.compressed { ".enc.z" } else { "" }
        ))?;
        let record = Record {
            entry: entry.clone(),
            id: info.id,
            size: Atomic::new(info.size as u64),
            stamp: info.stamp,
            compressed: info.compressed,
        };
        let number = *next;
        *next += 1;
        Item::new(number, name, Some(record))
    }

    fn put(&mut self, key: Key, item: Arc<Item>) -> Result {
        self.by_key
            .try_create_and_insert(key, item.clone(), GFP_KERNEL)
            .map(drop)
            .inspect_err(|_| item.kill())
    }

    /// The file of that name: `<kind>-<backend>-<id>` and maybe a suffix.
    fn find(&self, name: &[u8]) -> Option<&Arc<Item>> {
        let at = name.iter().position(|b| *b == b'-')?;
        let (word, rest) = name.split_at(at);
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str().as_bytes() == word)?;
        let digits = rest
            .strip_prefix(b"-")?
            .strip_prefix(self.entry.name().to_bytes())?
            .strip_prefix(b"-")?;
        let mut id = 0u64;
        for b in digits.iter().take_while(|b| b.is_ascii_digit()) {
            id = id.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
        }
        // The number may have been written otherwise, and there may be a suffix.
        self.by_key
            .get(&(kind.index(), id))
            .filter(|item| item.alive() && item.name.to_bytes() == name)
    }

    /// The file with the least number from `from` on.
    fn next(&self, from: u64) -> Option<&Arc<Item>> {
        let start = self.by_number.partition_point(|item| item.number < from);
        self.by_number
            .get(start..)?
            .iter()
            .find(|item| item.alive())
    }

    fn kill(&self) {
        self.dir.kill();
        self.by_number.iter().for_each(|item| item.kill());
    }
}

/// Everything that is shown.
pub(super) struct Catalog {
    shelves: KVec<Shelf>,
    /// The number of the next item. Never used twice.
    next: u64,
}

impl Catalog {
    /// Empty.
    pub(super) fn new() -> Self {
        Self {
            shelves: KVec::new(),
            next: FIRST,
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.shelves.iter().for_each(Shelf::kill);
        self.shelves = KVec::new();
    }

    /// Looks at all backends there are. May sleep.
    pub(super) fn scan(&mut self, dispatcher: &Dispatcher) {
        self.shelves.retain(|shelf| {
            let there = dispatcher.entries().any(|e| Arc::ptr_eq(&e, &shelf.entry));
            if !there {
                shelf.kill();
            }
            there
        });
        for entry in dispatcher.entries() {
            self.scan_one(&entry);
        }
    }

    /// Looks at one backend, which may be new. May sleep.
    pub(super) fn scan_one(&mut self, entry: &Arc<Entry>) {
        if !(self.shelves.iter()).any(|shelf| Arc::ptr_eq(&shelf.entry, entry)) {
            if let Err(e) = self.add(entry) {
                pr_err!("{}: can't be shown: {:?}\n", entry.name(), e);
                return;
            }
        }
        let mut shelves = self.shelves.iter_mut();
        if let Some(shelf) = shelves.find(|shelf| Arc::ptr_eq(&shelf.entry, entry)) {
            shelf.scan(&mut self.next);
        }
    }

    fn add(&mut self, entry: &Arc<Entry>) -> Result {
        let dir = Item::new(self.next, CString::try_from(entry.name())?, None)?;
        self.next += 1;
        self.shelves.push(
            Shelf {
                entry: entry.clone(),
                dir,
                by_key: RBTree::new(),
                by_number: VVec::new(),
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// A backend is gone. May sleep.
    pub(super) fn remove(&mut self, entry: &Entry) {
        self.shelves.retain(|shelf| {
            let gone = core::ptr::eq(&*shelf.entry, entry);
            if gone {
                shelf.kill();
            }
            !gone
        });
    }

    /// A record is gone, unless another one has its place already.
    pub(super) fn forget(&mut self, item: &Item) {
        item.kill();
        let Some(record) = item.record() else { return };
        let key = key(&record.id);
        for shelf in &mut self.shelves {
            let here = shelf.by_key.get(&key).map(|found| found.number);
            if here == Some(item.number) {
                shelf.by_key.remove(&key);
            }
        }
    }

    /// What has that name, in a directory or the root.
    pub(super) fn lookup(
        &self,
        layout: Layout,
        dir: Option<&Item>,
        name: &[u8],
    ) -> Option<Arc<Item>> {
        let Some(dir) = dir else {
            let mut dirs = self.shelves.iter().map(|shelf| &shelf.dir);
            let found = dirs.find(|dir| layout.has_dirs() && dir.name.to_bytes() == name);
            return found
                .or_else(|| {
                    let mut shelves = self.shelves.iter().filter(|_| layout.has_files());
                    shelves.find_map(|shelf| shelf.find(name))
                })
                .cloned();
        };
        self.shelf(dir)?.find(name).cloned()
    }

    /// What has the least number from `from` on, in a directory or the root.
    pub(super) fn next(&self, layout: Layout, dir: Option<&Item>, from: u64) -> Option<Arc<Item>> {
        let Some(dir) = dir else {
            let dirs = self
                .shelves
                .iter()
                .map(|shelf| &shelf.dir)
                .filter(|dir| layout.has_dirs() && dir.number >= from);
            let files = self
                .shelves
                .iter()
                .filter(|_| layout.has_files())
                .filter_map(|shelf| shelf.next(from));
            let all = Iterator::chain(dirs, files);
            return all.min_by_key(|item| item.number).cloned();
        };
        self.shelf(dir)?.next(from).cloned()
    }

    fn shelf(&self, dir: &Item) -> Option<&Shelf> {
        self.shelves
            .iter()
            .find(|shelf| shelf.dir.number == dir.number)
    }

    /// How many backends there are.
    pub(super) fn dirs(&self) -> usize {
        self.shelves.len()
    }
}
