// SPDX-License-Identifier: GPL-2.0

//! The in-tree pstore, where the kernel has one: what it drives is shown in our tree as well.
//!
//! Everything goes by its filesystem, which is mounted for us alone: it lists, reads and erases,
//! whatever its backend is and whenever that comes or goes, and no symbol of its inside is needed.
//! It goes on to record by itself. See `Documentation/stock.md`.

use crate::{
    dispatch::Dispatcher,
    record::{
        Kind,
        RecordId,
        RecordInfo,
        Stamp, //
    },
    sys::{
        other_fs::{
            Displaced,
            KernMount,
            Object, //
        },
        vfs::Content, //
    },
};
use kernel::{
    new_mutex,
    prelude::*,
    str::{
        BStr,
        CString, //
    },
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Longest value of a parameter that is looked at.
const VALUE_MAX: usize = 64;

/// The kernel's own view of `/sys`, whatever the caller has there.
fn sysfs() -> Result<KernMount> {
    KernMount::new(c"sysfs")
}

fn parameter<'a>(sysfs: &KernMount, path: &CStr, to: &'a mut [u8; VALUE_MAX]) -> Option<&'a [u8]> {
    Some(sysfs.read(path, to).ok()?.trim_ascii())
}

fn number(sysfs: &KernMount, path: &CStr) -> Option<u64> {
    let mut value = [0; VALUE_MAX];
    let text = parameter(sysfs, path, &mut value)?;
    core::str::from_utf8(text).ok()?.parse().ok()
}

/// What the in-tree core records to.
fn backend_of(sysfs: &KernMount) -> Option<CString> {
    let mut value = [0; VALUE_MAX];
    match parameter(sysfs, c"module/pstore/parameters/backend", &mut value)? {
        b"" | b"(null)" => None,
        name => CString::try_from_fmt(fmt!("{}", BStr::from_bytes(name))).ok(),
    }
}

fn region_of(sysfs: &KernMount) -> Option<(u64, u64)> {
    if backend_of(sysfs)?.to_bytes() != b"ramoops" {
        return None;
    }
    // While it runs it keeps them at what is in force, however it was told.
    let start = number(sysfs, c"module/ramoops/parameters/mem_address")?;
    let size = number(sysfs, c"module/ramoops/parameters/mem_size")?;
    Some((start, start.checked_add(size)?))
}

/// The region that the in-tree ramoops records to, first byte and last byte + 1. May sleep.
pub(crate) fn ramoops_region() -> Option<(u64, u64)> {
    region_of(&sysfs().ok()?)
}

/// The in-tree pstore.
pub(crate) struct InTree {
    tree: KernMount,
    sysfs: KernMount,
}

impl InTree {
    /// Looks at the one whose filesystem type was displaced. May sleep.
    pub(crate) fn new(displaced: &Displaced) -> Result<Arc<Self>> {
        let this = Self {
            tree: displaced.mount()?,
            sysfs: sysfs()?,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// The name of its backend at this moment. May sleep.
    pub(crate) fn backend(&self) -> Option<CString> {
        backend_of(&self.sysfs)
    }

    /// Whether it has made `/dev/pmsg0`. May sleep.
    pub(crate) fn has_pmsg(&self) -> bool {
        let mut value = [0; VALUE_MAX];
        parameter(&self.sysfs, c"class/pmsg/pmsg0/dev", &mut value).is_some()
    }

    /// Says so if its backend records to memory that one of ours has as well, which neither can
    /// keep the other from where the memory has pages. May sleep.
    pub(crate) fn check_regions(&self, dispatcher: &Dispatcher) {
        let Some((from, to)) = region_of(&self.sysfs) else {
            return;
        };
        for entry in dispatcher.entries() {
            let Some((start, end)) = entry.backend().range() else {
                continue;
            };
            if start < to && from < end {
                pr_err!(
                    "{}: the in-tree ramoops was loaded on its memory, {:#x}-{:#x}; unload one of \
                     the two, they destroy each other's records\n",
                    entry.name(),
                    from,
                    to - 1
                );
            }
        }
    }
}

/// One of its records.
struct File {
    object: Object,
    name: KVec<u8>,
}

/// A backend of the in-tree pstore, as a directory of ours.
#[pin_data]
pub(crate) struct Neighbour {
    intree: Arc<InTree>,
    /// What it is called in-tree.
    backend: CString,
    /// What it is called here: the same, unless one of ours has that name.
    name: CString,
    #[pin]
    files: Mutex<KVec<File>>,
}

impl Neighbour {
    /// What shows `backend`. May sleep.
    pub(crate) fn new(
        intree: Arc<InTree>,
        backend: CString,
        dispatcher: &Dispatcher,
    ) -> Result<Arc<Self>> {
        let name = Self::free_name(&backend, dispatcher)?;
        Arc::pin_init(
            pin_init!(Self {
                intree,
                backend,
                name,
                files <- new_mutex!(KVec::new()),
            }),
            GFP_KERNEL,
        )
    }

    fn free_name(backend: &CStr, dispatcher: &Dispatcher) -> Result<CString> {
        // As all names of directories: what stands in front of an id must not hold a `-`.
        let mut name = KVec::new();
        for byte in backend.to_bytes() {
            let fits = byte.is_ascii_alphanumeric() || *byte == b'_';
            name.push(if fits { *byte } else { b'_' }, GFP_KERNEL)?;
        }
        loop {
            let text = CString::try_from_fmt(fmt!("{}", BStr::from_bytes(&name)))?;
            if dispatcher.find(&text).is_none() {
                return Ok(text);
            }
            name.extend_from_slice(b"_intree", GFP_KERNEL)?;
        }
    }

    /// Name of its directory.
    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// What it is called in-tree.
    pub(crate) fn backend(&self) -> &CStr {
        &self.backend
    }

    /// Calls `f` for each record that it has now. May sleep.
    pub(crate) fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        let mut files = self.files.lock();
        let mut old = core::mem::take(&mut *files);
        for name in self.intree.tree.list()? {
            let known = old
                .iter()
                .position(|file| file.object.number() == name.number && file.object.is_there());
            let file = match known {
                Some(at) => old.remove(at).map_err(|_| EINVAL)?,
                None => match self.intree.tree.find(&name.name) {
                    Ok(object) => File {
                        object,
                        name: name.name,
                    },
                    // It went meanwhile.
                    Err(e) if e == ENOENT => continue,
                    Err(e) => return Err(e),
                },
            };
            files.push(file, GFP_KERNEL)?;
        }
        let mut infos = VVec::with_capacity(files.len(), GFP_KERNEL)?;
        for file in &*files {
            infos.push(Self::info(file), GFP_KERNEL)?;
        }
        // Whoever is told of a record may ask more about it.
        drop(files);
        infos.iter().try_for_each(f)
    }

    fn info(file: &File) -> RecordInfo {
        let word = file.name.split(|b| *b == b'-').next().unwrap_or_default();
        let mut kinds = Kind::ALL.into_iter();
        let kind = kinds.find(|kind| kind.as_str().as_bytes() == word);
        let (sec, nsec) = file.object.time();
        RecordInfo {
            id: RecordId {
                // There are in-tree kinds that we don't have. Numbers of inodes are unique anyway.
                kind: kind.unwrap_or(Kind::Dmesg),
                id: file.object.number(),
                cookie: 0,
            },
            size: usize::try_from(file.object.size()).unwrap_or(usize::MAX),
            stamp: u64::try_from(sec).ok().map(|sec| Stamp {
                sec,
                usec: nsec / 1000,
            }),
            compressed: false,
            open: false,
        }
    }

    fn with<R>(&self, id: &RecordId, f: impl FnOnce(&File) -> Result<R>) -> Result<R> {
        let files = self.files.lock();
        let mut same = files.iter().filter(|file| file.object.number() == id.id);
        f(same.next().ok_or(ENOENT)?)
    }

    /// What a record's file is called: as in-tree, with our name for its backend. May sleep.
    pub(crate) fn file_name(&self, id: &RecordId) -> Result<CString> {
        self.with(id, |file| {
            let (name, backend) = (&*file.name, self.backend.to_bytes());
            let mut starts = 0..name.len();
            let at = starts.find(|at| {
                let rest = name.get(*at..).and_then(|rest| rest.strip_prefix(b"-"));
                let rest = rest.and_then(|rest| rest.strip_prefix(backend));
                rest.is_some_and(|rest| rest.starts_with(b"-"))
            });
            let Some(at) = at else {
                return CString::try_from_fmt(fmt!("{}", BStr::from_bytes(name)));
            };
            let kind = name.get(..at).unwrap_or_default();
            let rest = name.get(at + 1 + backend.len()..).unwrap_or_default();
            CString::try_from_fmt(fmt!(
                "{}-{}{}",
                BStr::from_bytes(kind),
                &*self.name,
                BStr::from_bytes(rest)
            ))
        })
    }

    /// Whether a record is still there. May sleep.
    pub(crate) fn has(&self, id: &RecordId) -> bool {
        self.with(id, |file| Ok(file.object.is_there()))
            .unwrap_or(false)
    }

    /// What is in a record. May sleep.
    pub(crate) fn open(&self, id: &RecordId) -> Result<Content> {
        self.with(id, |file| Ok(Content::File(file.object.open()?)))
    }

    /// Has the in-tree core erase a record. May sleep.
    pub(crate) fn erase(&self, id: &RecordId) -> Result {
        self.with(id, |file| file.object.remove())?;
        // What nobody has open is not to be kept by us.
        self.files.lock().retain(|file| file.object.is_there());
        Ok(())
    }
}
