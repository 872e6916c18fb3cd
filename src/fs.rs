// SPDX-License-Identifier: GPL-2.0

//! The filesystem: names, modes, sizes and times of records as in-tree, at one place or two.
//!
//! `layout=tree` has `/<backend>/<kind>-<backend>-<id>`, `layout=flat` has the files at the root,
//! `layout=both` has each in both places. Every layout has one superblock; all show the same
//! [`Catalog`].
//!
//! Lock order: a superblock's or directory's lock, then the mutex around the frontends
//! (`control.rs`), then the catalog's mutex, then what a backend takes. A backend's comings and
//! goings and the rescans lock no directory.

mod catalog;

use crate::sys::errno::ESTALE;
use crate::{
    control::KmsgBytes,
    dispatch::{
        Dispatcher,
        Entry, //
    },
    intree::InTree,
    params,
    sys::{
        bell::{
            Bell,
            Job, //
        },
        shrinker::{
            self,
            Shrink, //
        },
        sysctl::{
            self,
            Sysctl, //
        },
        vfs, //
    },
};
use catalog::{
    Catalog,
    Item,
    Spare, //
};
use kernel::{
    new_mutex,
    prelude::*,
    seq_file::{
        seq_print,
        SeqFile, //
    },
    str::CString,
    sync::{
        atomic::{
            Atomic,
            Relaxed, //
        },
        Arc,
        Mutex, //
    }, //
};

/// Name of the filesystem type, and of the directory in `/sys/fs`.
pub(crate) const NAME: &CStr = c"pstore";

static TYPE: vfs::FsType<Tree> = vfs::FsType::new();

/// Where files are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// In a directory for each backend.
    Tree,
    /// At the root.
    Flat,
    /// In both places.
    Both,
}

impl Layout {
    const ALL: [Self; 3] = [Self::Tree, Self::Flat, Self::Both];

    /// By its name.
    pub(crate) fn parse(name: &[u8]) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|layout| layout.as_str().as_bytes() == name)
    }

    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tree => "tree",
            Self::Flat => "flat",
            Self::Both => "both",
        }
    }

    fn has_dirs(self) -> bool {
        self != Self::Flat
    }

    fn has_files(self) -> bool {
        self != Self::Tree
    }

    const fn index(self) -> usize {
        match self {
            Self::Tree => 0,
            Self::Flat => 1,
            Self::Both => 2,
        }
    }

    fn of(view: usize) -> Self {
        Self::ALL.get(view).copied().unwrap_or(Self::Tree)
    }
}

/// What a mount was given.
#[derive(Default)]
pub(crate) struct Options {
    layout: Option<Layout>,
    kmsg_bytes: Option<usize>,
}

/// The tree.
#[pin_data]
pub(crate) struct Tree {
    dispatcher: Arc<Dispatcher>,
    /// What `layout` is if a mount does not say.
    layout: Layout,
    kmsg_bytes: KmsgBytes,
    /// `kernel.dmesg_restrict`, if the kernel has it.
    restrict: Option<Sysctl>,
    #[pin]
    catalog: Mutex<Catalog>,
    /// What the catalog could give back.
    spare: Spare,
    /// The layouts that are mounted, a bit each. Changed under the catalog's mutex.
    mounted: Atomic<u32>,
}

impl Tree {
    fn is_mounted(&self) -> bool {
        self.mounted.load(Relaxed) != 0
    }

    fn rescan(&self) {
        let mut catalog = self.catalog.lock();
        if self.is_mounted() {
            catalog.scan(&self.dispatcher);
        }
    }

    /// Whether the caller may see and erase what the kernel and others said: the rule of
    /// `dmesg(1)`. What can't be known counts as restricted.
    fn check_permission(&self) -> Result {
        // With `CAP_SYSLOG` it does not matter what the sysctl says.
        if sysctl::has_syslog() {
            return Ok(());
        }
        let mut value = [0; 8];
        let free = self
            .restrict
            .as_ref()
            .and_then(|sysctl| sysctl.read(&mut value).ok())
            .is_some_and(|text| text.trim_ascii() == b"0");
        if free || sysctl::capable_syslog() {
            return Ok(());
        }
        Err(EPERM)
    }

    fn set_kmsg_bytes(&self, options: &Options) -> Result {
        match options.kmsg_bytes {
            Some(bytes) => self.kmsg_bytes.set(bytes),
            None => Ok(()),
        }
    }
}

impl vfs::Tree for Tree {
    type Node = Item;
    type Options = Options;

    fn option(&self, options: &mut Options, key: &CStr, value: Option<&CStr>) -> Result {
        let text = value.map_or(&b""[..], CStr::to_bytes);
        match key.to_bytes() {
            b"layout" => {
                options.layout = Some(params::layout("mount option layout", text)?);
            }
            b"kmsg_bytes" => {
                options.kmsg_bytes = Some(params::kmsg_bytes("mount option kmsg_bytes", text)?);
            }
            _ => {
                pr_err!(
                    "mount option {}: unknown, there are layout= and kmsg_bytes=\n",
                    key
                );
                return Err(EINVAL);
            }
        }
        Ok(())
    }

    fn mount(&self, options: &Options) -> Result<usize> {
        self.set_kmsg_bytes(options)?;
        Ok(options.layout.unwrap_or(self.layout).index())
    }

    fn shown(&self, view: usize) {
        let _guard = self.catalog.lock();
        self.mounted
            .store(self.mounted.load(Relaxed) | 1 << view, Relaxed);
    }

    fn hidden(&self, view: usize) {
        let mut catalog = self.catalog.lock();
        let left = self.mounted.load(Relaxed) & !(1 << view);
        self.mounted.store(left, Relaxed);
        if left == 0 {
            catalog.clear();
        }
    }

    fn refresh(&self) {
        self.rescan();
    }

    fn sync(&self) -> Result {
        let mut first = Ok(());
        for entry in self.dispatcher.entries() {
            first = first.and(entry.backend().flush());
        }
        first
    }

    fn remount(&self, view: usize, options: &Options) -> Result {
        match options.layout {
            Some(layout) if layout.index() != view => {
                pr_err!(
                    "remount with layout={}: a mount keeps its layout, {}; unmount it, or make \
                     another mount\n",
                    layout.as_str(),
                    Layout::of(view).as_str()
                );
                return Err(EINVAL);
            }
            _ => {}
        }
        self.set_kmsg_bytes(options)?;
        self.rescan();
        Ok(())
    }

    fn show(&self, view: usize, to: &SeqFile) {
        seq_print!(to, ",layout={}", Layout::of(view).as_str());
        let bytes = self.dispatcher.kmsg_bytes();
        // As in-tree: only if it is not the default.
        if bytes != params::KMSG_BYTES {
            seq_print!(to, ",kmsg_bytes={}", bytes);
        }
    }

    fn lookup(&self, view: usize, dir: Option<&Item>, name: &[u8]) -> Option<Arc<Item>> {
        let (layout, mut catalog) = (Layout::of(view), self.catalog.lock());
        catalog.lookup(layout, dir, name).or_else(|| {
            let looked = self.is_mounted() && catalog.look_next_door(&self.dispatcher);
            looked.then(|| catalog.lookup(layout, dir, name)).flatten()
        })
    }

    fn next(&self, view: usize, dir: Option<&Item>, from: u64) -> Option<Arc<Item>> {
        let mut catalog = self.catalog.lock();
        if from == vfs::FIRST && self.is_mounted() {
            // Somebody looks from the beginning.
            catalog.look_next_door(&self.dispatcher);
        }
        catalog.next(Layout::of(view), dir, from)
    }

    fn dirs(&self, view: usize) -> u32 {
        match Layout::of(view).has_dirs() {
            // CAST: At most as many as there can be backends.
            true => self.catalog.lock().dirs() as u32,
            false => 0,
        }
    }

    fn links(&self, view: usize) -> u32 {
        let layout = Layout::of(view);
        u32::from(layout.has_dirs()) + u32::from(layout.has_files())
    }

    fn open(&self, item: &Item) -> Result<vfs::Content> {
        self.check_permission()?;
        let record = item.record().ok_or(EISDIR)?;
        item.open().inspect_err(|e| {
            // Another record has its place. The VFS looks the name up again.
            if *e == ESTALE {
                let mut catalog = self.catalog.lock();
                if vfs::Node::alive(item) {
                    catalog.scan_again(&record.source, &self.dispatcher);
                }
            }
        })
    }

    fn unlink(&self, item: &Item) -> Result {
        self.check_permission()?;
        let record = item.record().ok_or(EPERM)?;
        // Held meanwhile, so that no rescan sees the record and brings it back.
        let mut catalog = self.catalog.lock();
        if !vfs::Node::alive(item) {
            return Err(ENOENT);
        }
        match record.source.erase(&record.id) {
            // Another record took its place: the one that the file stood for is gone already.
            Err(e) if e != ESTALE => return Err(e),
            _ => {}
        }
        catalog.forget(item);
        Ok(())
    }
}

impl Job for Tree {
    fn delay(&self) -> Option<u32> {
        // Without a mount there is nothing to bring up to date.
        let ms = u32::try_from(params::UPDATE_MS.load(Relaxed)).ok()?;
        self.is_mounted().then_some(ms.max(1))
    }

    fn run(&self) {
        self.rescan();
    }
}

impl Shrink for Tree {
    fn held(&self) -> usize {
        self.spare.bytes()
    }

    fn give_back(&self, bytes: usize) -> Option<usize> {
        // Who has it may be the one that wants the memory.
        let catalog = self.catalog.try_lock()?;
        Some(catalog.give_back(bytes))
    }
}

/// The registered filesystem.
///
/// Dropped in the order of the fields: no new mounts, then the place to mount on. Before that the
/// rescans are ended, when no dump asks for one any more.
pub(crate) struct PstoreFs {
    registration: vfs::Registration<Tree>,
    _mount_point: Option<vfs::MountPoint>,
    _shrinker: shrinker::Registration<Tree>,
    dispatcher: Arc<Dispatcher>,
}

impl PstoreFs {
    /// Registers it, and makes the mount point where there is none. It can be mounted after
    /// [`Self::open`]. May sleep.
    pub(crate) fn register(
        dispatcher: Arc<Dispatcher>,
        layout: Layout,
        kmsg_bytes: KmsgBytes,
        module: &'static ThisModule,
    ) -> Result<Self> {
        let restrict = Sysctl::open(c"sys/kernel/dmesg_restrict")
            .inspect_err(|e| {
                pr_warn!(
                    "can't read kernel.dmesg_restrict: {:?}; taken for 1, so that records are for \
                     CAP_SYSLOG only\n",
                    e
                )
            })
            .ok();
        let (shown, catalog) = (dispatcher.clone(), Catalog::new()?);
        let tree = Arc::pin_init(
            pin_init!(Tree {
                dispatcher: shown,
                layout,
                kmsg_bytes,
                restrict,
                spare: catalog.spare(),
                catalog <- new_mutex!(catalog),
                mounted: Atomic::new(0),
            }),
            GFP_KERNEL,
        )?;
        let _shrinker = shrinker::Registration::new(tree.clone())?;
        let registration = vfs::Registration::new(&TYPE, tree.clone(), module, NAME)?;
        let mount_point = match registration.displaced() {
            // The in-tree pstore, which has made the mount point as well.
            Some(displaced) => {
                let intree = InTree::new(displaced).inspect_err(|e| {
                    pr_err!(
                        "can't look into the in-tree pstore, whose records would be out of reach: \
                         {:?}\n",
                        e
                    )
                })?;
                pr_info!(
                    "the in-tree pstore is in this kernel: 'mount -t pstore' is mpstore's until it \
                     is unloaded, what was mounted before stays\n"
                );
                tree.catalog.lock().adopt(intree);
                None
            }
            None => Some(vfs::MountPoint::new(CString::try_from_fmt(fmt!(
                "{}", NAME
            ))?)?),
        };
        let this = Self {
            registration,
            _mount_point: mount_point,
            _shrinker,
            dispatcher,
        };
        this.dispatcher.set_news(Some(Bell::new(tree)?))?;
        Ok(this)
    }

    /// From now on it can be mounted: the module can't fail to load any more.
    pub(crate) fn open(&self) {
        self.registration.open();
    }

    /// Whether the in-tree pstore is in this kernel.
    pub(crate) fn is_beside_intree(&self) -> bool {
        self.registration.displaced().is_some()
    }

    /// Whether the in-tree pstore has `/dev/pmsg0`. May sleep.
    pub(crate) fn intree_has_pmsg(&self) -> bool {
        let catalog = self.registration.tree().catalog.lock();
        catalog.intree().is_some_and(InTree::has_pmsg)
    }

    /// A backend was added. May sleep.
    pub(crate) fn added(&self, entry: &Arc<Entry>) {
        let tree = self.registration.tree();
        let mut catalog = tree.catalog.lock();
        if tree.is_mounted() {
            catalog.scan_one(entry);
            // It may have a name that the in-tree pstore's has had.
            catalog.look_next_door(&self.dispatcher);
        }
    }

    /// A backend was removed, from the dispatcher too: its files and its directory vanish. What is
    /// open stays so. May sleep.
    pub(crate) fn removed(&self, entry: &Entry) {
        self.registration.tree().catalog.lock().remove(entry);
    }
}

impl Drop for PstoreFs {
    fn drop(&mut self) {
        // Taking it out can't fail.
        let _ = self.dispatcher.set_news(None);
    }
}
