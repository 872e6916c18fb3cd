// SPDX-License-Identifier: GPL-2.0

//! Dump records that firmware keeps, as they are shown.
//!
//! Firmware takes milliseconds for each call, so what it has is read once, at load, and held in
//! memory. What this kernel adds is noted in a crash without allocation and fetched when somebody
//! looks.

use crate::sys::errno::ESTALE;
use crate::{
    compress::Unpacker,
    record::{
        Kind,
        RecordId,
        RecordInfo,
        Stamp, //
    },
    sys::{
        bytes,
        context,
        sysctl::Sysctl, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed,
            Release, //
        },
        Mutex, //
    },
};
use mpstore_format::{
    dump::{
        Part,
        EXPANSION_MAX, //
    },
    efi::CONTENT_MAX, //
};

/// Records that are held, and the bytes of all, at most. No firmware has room for so many; what one
/// claims beyond is not shown.
const ITEMS_MAX: usize = 1024;
const BYTES_MAX: usize = 4 << 20;

/// A record's text may be as long as the largest record could be made of, since nothing tells how
/// large its writer's records were.
const TEXT_MAX: usize = CONTENT_MAX * EXPANSION_MAX;

/// A record, by a key that firmware finds it by.
pub(super) struct Item<K> {
    pub(super) key: K,
    /// Number among files; another one if that is taken.
    pub(super) id: u64,
    pub(super) sec: Option<u64>,
    pub(super) compressed: bool,
    pub(super) content: VVec<u8>,
    /// What it takes of the medium.
    pub(super) cost: u64,
}

struct Held<K> {
    item: Item<K>,
    /// Bytes of text.
    size: usize,
    /// Whether it can't be decompressed.
    damaged: bool,
}

/// The records.
pub(super) struct Shelf<K> {
    held: Pin<KBox<Mutex<KVec<Held<K>>>>>,
}

#[cfg_attr(not(CONFIG_EFI), allow(dead_code))]
impl<K: Copy + PartialEq + Send> Shelf<K> {
    /// May sleep.
    pub(super) fn new() -> Result<Self> {
        Ok(Self {
            held: KBox::pin_init(new_mutex!(KVec::new()), GFP_KERNEL)?,
        })
    }

    /// Whether there is one of that key. May sleep.
    pub(super) fn has(&self, key: K) -> bool {
        self.held.lock().iter().any(|held| held.item.key == key)
    }

    /// How many there are. May sleep.
    pub(super) fn len(&self) -> usize {
        self.held.lock().len()
    }

    /// The keys of all. May sleep.
    pub(super) fn keys(&self) -> Result<KVec<K>> {
        let mut keys = KVec::new();
        for held in self.held.lock().iter() {
            keys.push(held.item.key, GFP_KERNEL)?;
        }
        Ok(keys)
    }

    /// Adds a record of the backend `name`; `ENOSPC` if there are too many. May sleep.
    pub(super) fn add(&self, name: &CStr, mut item: Item<K>, unpacker: &mut Unpacker) -> Result {
        let mut list = self.held.lock();
        let bytes: usize = list.iter().map(|held| held.item.content.len()).sum();
        if list.len() >= ITEMS_MAX || bytes.saturating_add(item.content.len()) > BYTES_MAX {
            return Err(ENOSPC);
        }
        // Ends, for there are fewer records than numbers.
        while list.iter().any(|held| held.item.id == item.id) {
            item.id = item.id.wrapping_add(1);
        }
        let (mut size, mut damaged) = (item.content.len(), false);
        if item.compressed {
            match unpacker.unpack(&item.content, TEXT_MAX)? {
                Ok(text) => size = text.len(),
                Err(why) => {
                    damaged = true;
                    pr_warn!(
                        "{}: dmesg record {} can't be decompressed and is shown as it is: {}\n",
                        name,
                        item.id,
                        why
                    );
                }
            }
        }
        list.push(
            Held {
                item,
                size,
                damaged,
            },
            GFP_KERNEL,
        )?;
        Ok(())
    }

    /// As `Backend::records()`. May sleep.
    pub(super) fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        let mut list = KVec::new();
        for Held {
            item,
            size,
            damaged,
        } in self.held.lock().iter()
        {
            let info = RecordInfo {
                id: RecordId {
                    kind: Kind::Dmesg,
                    id: item.id,
                    cookie: 0,
                },
                size: *size,
                stamp: item.sec.map(|sec| Stamp { sec, usec: 0 }),
                compressed: *damaged,
                open: false,
            };
            list.push(info, GFP_KERNEL)?;
        }
        // Without the mutex: `f` may take locks under which `erase()` is called.
        list.iter().try_for_each(f)
    }

    /// As `Backend::read()`. May sleep.
    pub(super) fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        let list = self.held.lock();
        let same = |held: &&Held<K>| id.kind == Kind::Dmesg && held.item.id == id.id;
        let held = list.iter().find(same).ok_or(ESTALE)?;
        let mut unpacker = Unpacker::default();
        let mut text = &held.item.content[..];
        if held.item.compressed && !held.damaged {
            text = unpacker
                .unpack(&held.item.content, TEXT_MAX)?
                .map_err(|_| EIO)?;
        }
        bytes::copy(text)
    }

    /// Has `f` erase a record, of which it is told key and cost, on the medium, and forgets it if
    /// that succeeds. May sleep.
    pub(super) fn erase(&self, id: &RecordId, f: impl FnOnce(K, u64) -> Result) -> Result {
        let mut list = self.held.lock();
        let same = |held: &Held<K>| id.kind == Kind::Dmesg && held.item.id == id.id;
        let at = list.iter().position(same).ok_or(ESTALE)?;
        let item = &list.get(at).ok_or(ESTALE)?.item;
        f(item.key, item.cost)?;
        list.remove(at).map_err(|_| EINVAL)?;
        Ok(())
    }
}

/// Names of records that were written and not yet fetched.
pub(super) struct Fresh {
    slots: KVec<Slot>,
}

struct Slot {
    claimed: Atomic<bool>,
    full: Atomic<bool>,
    words: [Atomic<u64>; 2],
}

impl Fresh {
    /// For so many. May sleep.
    pub(super) fn new(count: usize) -> Result<Self> {
        let mut slots = KVec::with_capacity(count, GFP_KERNEL)?;
        for _ in 0..count {
            let slot = Slot {
                claimed: Atomic::new(false),
                full: Atomic::new(false),
                words: [const { Atomic::new(0) }; 2],
            };
            slots.push(slot, GFP_KERNEL)?;
        }
        Ok(Self { slots })
    }

    /// Notes one. If there is no place left, it is shown after the next load only. Any context.
    pub(super) fn note(&self, words: [u64; 2]) {
        let free = |slot: &&Slot| !slot.claimed.xchg(true, Full);
        if let Some(slot) = self.slots.iter().find(free) {
            for (to, from) in slot.words.iter().zip(words) {
                to.store(from, Relaxed);
            }
            slot.full.store(true, Release);
        }
    }

    /// Gives each to `f`, which may answer with an error to be asked again another time. May sleep.
    pub(super) fn take(&self, f: &mut dyn FnMut([u64; 2]) -> Result) -> Result {
        for slot in self.slots.iter().filter(|slot| slot.full.load(Acquire)) {
            let [a, b] = &slot.words;
            f([a.load(Relaxed), b.load(Relaxed)])?;
            slot.full.store(false, Relaxed);
            slot.claimed.store(false, Release);
        }
        Ok(())
    }
}

/// Puts the bytes of `part` into `to` from `at` on and answers with where they end. Any context.
pub(super) fn fill(part: &Part<'_>, to: &mut [u8], at: usize) -> usize {
    let mut end = at;
    part.write(&mut |bytes| {
        let rest = to.get_mut(end..).unwrap_or(&mut []);
        for (to, from) in rest.iter_mut().zip(bytes) {
            *to = *from;
            end = end.saturating_add(1);
        }
    });
    end
}

/// One of two things made at load: the second is for the CPU that panics, while another may have
/// been stopped with the first. Any context.
pub(super) fn for_this_cpu<T>([usual, panicking]: &[T; 2]) -> &T {
    if context::panicking() {
        panicking
    } else {
        usual
    }
}

fn setting_is(path: &CStr, value: &[u8]) -> bool {
    let mut text = [0; 64];
    Sysctl::open_sys(path).is_ok_and(|file| {
        file.read(&mut text)
            .is_ok_and(|text| text.trim_ascii() == value)
    })
}

/// Whether the in-tree pstore records to the backend `name` at this moment. May sleep.
pub(super) fn in_tree_records_to(name: &[u8]) -> bool {
    setting_is(c"module/pstore/parameters/backend", name)
}

/// Whether the in-tree efi_pstore is loaded and not switched off. May sleep.
#[cfg(CONFIG_EFI)]
pub(super) fn efi_pstore_is_on() -> bool {
    setting_is(c"module/efi_pstore/parameters/pstore_disable", b"N")
}
