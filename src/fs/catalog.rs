// SPDX-License-Identifier: GPL-2.0

//! What is in the filesystem: the backends and their records, as they were when last looked at.
//!
//! One catalog serves all views. It is empty while nothing is mounted.

use super::Layout;
use crate::sys::errno::ESTALE;
use crate::{
    dispatch::{
        Dispatcher,
        Entry, //
    },
    intree::{
        InTree,
        Neighbour, //
    },
    record::{
        Kind,
        RecordId,
        RecordInfo,
        Stamp, //
    },
    sys::{
        shrinker, time,
        vfs::{
            Content,
            FileInfo,
            Kept,
            Node,
            Time,
            FIRST, //
        },
    },
};
use kernel::{
    new_spinlock,
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
        Arc,
        SpinLock, //
    },
};

/// What the names of records end in that can't be decompressed.
const SUFFIX: &str = ".enc.z";

/// How many bytes of [`Text`] there are.
#[derive(Clone)]
struct Held(Arc<Atomic<u64>>);

impl Held {
    fn get(&self) -> usize {
        usize::try_from(self.0.load(Relaxed)).unwrap_or(usize::MAX)
    }
}

/// Content that had to be made before a record could be listed, kept for who opens it first. What
/// reads a directory and then its files would else have each record decompressed twice.
struct Text {
    bytes: KVVec<u8>,
    /// What was counted for it.
    size: u64,
    held: Held,
}

impl Text {
    /// [`None`] where memory is short: all texts together are at most as much as is left then. Task
    /// context.
    fn new(bytes: KVVec<u8>, held: &Held) -> Option<Self> {
        let size = bytes.capacity();
        if held.get().saturating_add(size) > shrinker::available() {
            return None;
        }
        let size = size as u64;
        held.0.fetch_add(size, Relaxed);
        Some(Self {
            bytes,
            size,
            held: held.clone(),
        })
    }

    fn into_bytes(mut self) -> KVVec<u8> {
        core::mem::take(&mut self.bytes)
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        self.held.0.fetch_add(self.size.wrapping_neg(), Relaxed);
    }
}

/// A record, or the directory of a backend.
#[pin_data]
pub(crate) struct Item {
    number: u64,
    /// With [`SUFFIX`], which only some have, if it is a record of ours.
    name: CString,
    record: Option<Record>,
    alive: Atomic<bool>,
    found: Time,
    #[pin]
    kept: Kept,
    #[pin]
    text: SpinLock<Option<Text>>,
}

/// Whose records a directory has.
#[derive(Clone)]
pub(super) enum Source {
    /// A backend of ours.
    Backend(Arc<Entry>),
    /// One of the in-tree pstore.
    InTree(Arc<Neighbour>),
}

impl Source {
    fn name(&self) -> &CStr {
        match self {
            Self::Backend(entry) => entry.name(),
            Self::InTree(other) => other.name(),
        }
    }

    fn is(&self, entry: &Entry) -> bool {
        matches!(self, Self::Backend(e) if core::ptr::eq(&**e, entry))
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        match self {
            Self::Backend(entry) => entry.backend().records(f),
            Self::InTree(other) => other.records(f),
        }
    }

    fn file_name(&self, info: &RecordInfo) -> Result<CString> {
        match self {
            Self::Backend(entry) => Ok(CString::try_from_fmt(fmt!(
                "{}-{}-{}{}",
                info.id.kind.as_str(),
                entry.name(),
                info.id.id,
                SUFFIX
            ))?),
            Self::InTree(other) => other.file_name(&info.id),
        }
    }

    fn settle(&self, id: &RecordId) -> Result<(KVVec<u8>, bool)> {
        match self {
            Self::Backend(entry) => entry.backend().settle(id),
            Self::InTree(_) => Err(ESTALE),
        }
    }

    fn still(&self, id: &RecordId) -> Result {
        match self {
            Self::Backend(entry) => entry.backend().still(id),
            Self::InTree(_) => Err(ESTALE),
        }
    }

    /// What is in a record; `ESTALE` if another has its place. May sleep.
    fn open(&self, id: &RecordId) -> Result<Content> {
        match self {
            Self::Backend(entry) => Ok(Content::Bytes(entry.backend().read(id)?)),
            Self::InTree(other) => other.open(id),
        }
    }

    /// Erases a record; `ESTALE` if another has its place. May sleep.
    pub(super) fn erase(&self, id: &RecordId) -> Result {
        match self {
            Self::Backend(entry) => entry.backend().erase(id),
            Self::InTree(other) => other.erase(id),
        }
    }
}

/// What a file stands for.
pub(super) struct Record {
    pub(super) source: Source,
    pub(super) id: RecordId,
    /// Some grow while they are shown.
    size: Atomic<u64>,
    stamp: Option<Stamp>,
    /// One of those below.
    state: Atomic<u32>,
}

/// Neither size nor name are known yet.
const OPEN: u32 = 0;
/// It is shown as it should be.
const WHOLE: u32 = 1;
/// It can't be decompressed and is shown as it is.
const PACKED: u32 = 2;

fn state(info: &RecordInfo) -> u32 {
    match info.compressed {
        _ if info.open => OPEN,
        false => WHOLE,
        true => PACKED,
    }
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
                text <- new_spinlock!(None),
            }),
            GFP_KERNEL,
        )
    }

    /// The record; a directory has none.
    pub(super) fn record(&self) -> Option<&Record> {
        self.record.as_ref()
    }

    /// What is in it; `ESTALE` if another record has its place. May sleep.
    pub(super) fn open(&self) -> Result<Content> {
        let record = self.record().ok_or(EISDIR)?;
        let Some(text) = self.take_text() else {
            return record.source.open(&record.id);
        };
        record.source.still(&record.id)?;
        Ok(Content::Bytes(text.into_bytes()))
    }

    fn take_text(&self) -> Option<Text> {
        self.text.lock().take()
    }

    /// It is gone: nobody finds it any more. What is open stays so.
    fn kill(&self) {
        self.alive.store(false, Release);
        drop(self.take_text());
    }

    /// Whether it stands for the record that `info` tells of, which may have grown.
    fn is(&self, info: &RecordInfo) -> bool {
        self.record.as_ref().is_some_and(|record| {
            let same =
                record.id == info.id && (info.open || record.state.load(Relaxed) == state(info));
            if same && !info.open {
                record.size.store(info.size as u64, Relaxed);
            }
            same
        })
    }

    /// Finds out what its name and its size are, which a mount does not wait for. Answers whether
    /// it is there at all. To be called with the catalog locked. May sleep.
    fn settle(&self, held: &Held) -> bool {
        let Some(record) = &self.record else {
            return true;
        };
        if record.state.load(Relaxed) != OPEN {
            return true;
        }
        match record.source.settle(&record.id) {
            Ok((text, packed)) => {
                record.size.store(text.len() as u64, Relaxed);
                record
                    .state
                    .store(if packed { PACKED } else { WHOLE }, Relaxed);
                if !packed {
                    *self.text.lock() = Text::new(text, held);
                }
                true
            }
            // Another has its place: the next look at the backend finds that one.
            Err(e) if e == ESTALE => {
                self.kill();
                false
            }
            Err(e) => {
                pr_err!("{}: can't be read now: {:?}\n", &*self.name, e);
                true
            }
        }
    }
}

impl Node for Item {
    fn number(&self) -> u64 {
        self.number
    }

    fn name(&self) -> &[u8] {
        let name = self.name.to_bytes();
        match &self.record {
            Some(Record {
                source: Source::Backend(_),
                state,
                ..
            }) if state.load(Relaxed) != PACKED => {
                name.strip_suffix(SUFFIX.as_bytes()).unwrap_or(name)
            }
            _ => name,
        }
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
        let by_others = |record: &Record| match &record.source {
            Source::Backend(_) => false,
            // Others erase there as well.
            Source::InTree(other) => !other.has(&record.id),
        };
        self.alive.load(Acquire) && !self.record.as_ref().is_some_and(by_others)
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
    source: Source,
    dir: Arc<Item>,
    by_key: RBTree<Key, Arc<Item>>,
    /// In the order of their numbers. Those that are gone stay until the backend is looked at
    /// again.
    by_number: KVVec<Arc<Item>>,
    held: Held,
}

impl Shelf {
    /// Takes what the backend has now for what it had. A failure is one line, and what was not
    /// looked at stays as it was. May sleep.
    fn scan(&mut self, next: &mut u64) {
        let mut old = core::mem::replace(&mut self.by_key, RBTree::new());
        let source = self.source.clone();
        let result = source.records(&mut |info| {
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
                    let item = Self::make(&source, info, next)?;
                    // Numbers rise, so the order is kept.
                    self.by_number.push(item.clone(), GFP_KERNEL)?;
                    self.put(key, item)
                }
            }
        });
        match result {
            Ok(()) => old.values().for_each(|item| item.kill()),
            Err(e) => {
                pr_err!("{}: can't list its records: {:?}\n", source.name(), e);
                for (key, item) in old.iter() {
                    // One that can't be kept is gone.
                    let _ = self.put(*key, item.clone());
                }
            }
        }
        self.by_number.retain(|item| item.alive());
    }

    fn make(source: &Source, info: &RecordInfo, next: &mut u64) -> Result<Arc<Item>> {
        let name = source.file_name(info)?;
        let record = Record {
            source: source.clone(),
            id: info.id,
            size: Atomic::new(info.size as u64),
            stamp: info.stamp,
            state: Atomic::new(state(info)),
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
        let Source::Backend(entry) = &self.source else {
            // These have names of their own.
            let mut items = self.by_number.iter();
            return items.find(|item| item.name.to_bytes() == name && item.alive());
        };
        let at = name.iter().position(|b| *b == b'-')?;
        let (word, rest) = name.split_at(at);
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| kind.as_str().as_bytes() == word)?;
        let digits = rest
            .strip_prefix(b"-")?
            .strip_prefix(entry.name().to_bytes())?
            .strip_prefix(b"-")?;
        let mut id = 0u64;
        for b in digits.iter().take_while(|b| b.is_ascii_digit()) {
            id = id.checked_mul(10)?.checked_add(u64::from(b - b'0'))?;
        }
        // The number may have been written otherwise, and there may be a suffix.
        self.by_key
            .get(&(kind.index(), id))
            .filter(|item| item.alive() && item.settle(&self.held) && item.name() == name)
    }

    /// The file with the least number from `from` on.
    fn next(&self, from: u64) -> Option<&Arc<Item>> {
        let start = self.by_number.partition_point(|item| item.number < from);
        self.by_number
            .get(start..)?
            .iter()
            .find(|item| item.alive() && item.settle(&self.held))
    }

    fn kill(&self) {
        self.dir.kill();
        self.by_number.iter().for_each(|item| item.kill());
    }
}

/// Everything that is shown.
pub(super) struct Catalog {
    shelves: KVec<Shelf>,
    /// The pstore that the kernel has anyway.
    intree: Option<Arc<InTree>>,
    /// The directory that was said to be its.
    told: Option<CString>,
    /// The number of the next item. Never used twice.
    next: u64,
    held: Held,
}

/// How many bytes of memory a catalog could give back, for those who don't lock it.
pub(super) struct Spare(Held);

impl Spare {
    /// Any context.
    pub(super) fn bytes(&self) -> usize {
        self.0.get()
    }
}

impl Catalog {
    /// Empty. May sleep.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            shelves: KVec::new(),
            intree: None,
            told: None,
            next: FIRST,
            held: Held(Arc::new(Atomic::new(0), GFP_KERNEL)?),
        })
    }

    /// Tells how much it could give back.
    pub(super) fn spare(&self) -> Spare {
        Spare(self.held.clone())
    }

    /// Gives back so many bytes of what it has only to be faster, or all; answers how many. Waits for
    /// no memory.
    pub(super) fn give_back(&self, bytes: usize) -> usize {
        let mut given = 0usize;
        for item in self.shelves.iter().flat_map(|shelf| &shelf.by_number) {
            if given >= bytes {
                break;
            }
            if let Some(text) = item.take_text() {
                given = given.saturating_add(text.bytes.capacity());
            }
        }
        given
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.shelves.iter().for_each(Shelf::kill);
        self.shelves = KVec::new();
    }

    /// Looks at all backends there are. May sleep.
    pub(super) fn scan(&mut self, dispatcher: &Dispatcher) {
        self.keep(|source| match source {
            Source::Backend(_) => dispatcher.entries().any(|entry| source.is(&entry)),
            Source::InTree(_) => true,
        });
        for entry in dispatcher.entries() {
            self.scan_one(&entry);
        }
        self.look_next_door(dispatcher);
    }

    /// Forgets the sources of which `there` says no.
    fn keep(&mut self, there: impl Fn(&Source) -> bool) {
        self.shelves.retain(|shelf| {
            let there = there(&shelf.source);
            if !there {
                shelf.kill();
            }
            there
        });
    }

    /// Shows the records of the in-tree pstore as well.
    pub(super) fn adopt(&mut self, intree: Arc<InTree>) {
        self.intree = Some(intree);
    }

    /// The in-tree pstore, if there is one.
    pub(super) fn intree(&self) -> Option<&InTree> {
        self.intree.as_deref()
    }

    /// Looks at what the in-tree pstore has, of which nobody tells when it changes. A name that
    /// one of ours has taken is given up. Answers whether there is anything. May sleep.
    pub(super) fn look_next_door(&mut self, dispatcher: &Dispatcher) -> bool {
        let Some(intree) = self.intree.clone() else {
            return false;
        };
        let backend = intree.backend();
        self.keep(|source| match source {
            Source::Backend(_) => true,
            Source::InTree(other) => {
                let same = backend.as_ref().is_some_and(|b| &**b == other.backend());
                same && dispatcher.find(other.name()).is_none()
            }
        });
        let Some(backend) = backend else {
            return false;
        };
        let known = |shelf: &Shelf| matches!(shelf.source, Source::InTree(_));
        if !self.shelves.iter().any(known) {
            let made = Neighbour::new(intree.clone(), backend, dispatcher);
            let added = made.and_then(|other| {
                self.tell(&intree, &other, dispatcher)?;
                self.add(Source::InTree(other))
            });
            if let Err(e) = added {
                pr_err!("records of the in-tree pstore can't be shown: {:?}\n", e);
                return false;
            }
        }
        if let Some(shelf) = self.shelves.iter_mut().find(|shelf| known(shelf)) {
            shelf.scan(&mut self.next);
        }
        true
    }

    /// Looks at one backend, which may be new. May sleep.
    pub(super) fn scan_one(&mut self, entry: &Arc<Entry>) {
        if !(self.shelves.iter()).any(|shelf| shelf.source.is(entry)) {
            if let Err(e) = self.add(Source::Backend(entry.clone())) {
                pr_err!("{}: can't be shown: {:?}\n", entry.name(), e);
                return;
            }
        }
        let mut shelves = self.shelves.iter_mut();
        if let Some(shelf) = shelves.find(|shelf| shelf.source.is(entry)) {
            shelf.scan(&mut self.next);
        }
    }

    /// Says once where the records of an in-tree backend are.
    fn tell(&mut self, intree: &InTree, other: &Neighbour, dispatcher: &Dispatcher) -> Result {
        if self
            .told
            .as_ref()
            .is_some_and(|name| &**name == other.name())
        {
            return Ok(());
        }
        self.told = Some(CString::try_from(other.name())?);
        pr_info!(
            "the in-tree pstore records to {}; its records are shown in the directory {}\n",
            other.backend(),
            other.name()
        );
        intree.check_regions(dispatcher);
        Ok(())
    }

    /// Looks again at whose record that is. May sleep.
    pub(super) fn scan_again(&mut self, source: &Source, dispatcher: &Dispatcher) {
        match source {
            Source::Backend(entry) => self.scan_one(entry),
            Source::InTree(_) => {
                self.look_next_door(dispatcher);
            }
        }
    }

    fn add(&mut self, source: Source) -> Result {
        let dir = Item::new(self.next, CString::try_from(source.name())?, None)?;
        self.next += 1;
        self.shelves.push(
            Shelf {
                source,
                dir,
                by_key: RBTree::new(),
                by_number: KVVec::new(),
                held: self.held.clone(),
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// A backend is gone. May sleep.
    pub(super) fn remove(&mut self, entry: &Entry) {
        self.keep(|source| !source.is(entry));
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
