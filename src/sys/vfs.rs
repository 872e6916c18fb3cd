// SPDX-License-Identifier: GPL-2.0

//! A small in-memory filesystem: one level of directories, read-only files, removable.
//!
//! What is in a directory is asked for whenever somebody looks. No dentry is kept, and one that is
//! in use is asked before each step through it whether its object is still there. So objects come
//! and go without a lock of any directory, and one object may have several names.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h),
//! [`include/linux/dcache.h`](srctree/include/linux/dcache.h)

use super::errno::{
    ENAMETOOLONG,
    ESTALE, //
};
use super::other_fs::{
    Displaced,
    OpenFile, //
};
use core::marker::PhantomData;
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_uint,
        c_void, //
    },
    new_mutex,
    prelude::*,
    seq_file::SeqFile,
    str::{
        CStr,
        CString, //
    },
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Release, //
        },
        Arc,
        Mutex, //
    },
    types::Opaque, //
};
use mpstore_bindings as bindings;

use kernel::bindings::{
    dentry,
    dentry_operations,
    dir_context,
    file,
    file_operations,
    file_system_type,
    iattr,
    inode,
    inode_operations,
    kstat,
    mnt_idmap,
    path,
    qstr,
    seq_file,
    super_block,
    super_operations, //
};

/// Number of the root directory's inode.
const ROOT: u64 = 1;

/// The least number of a [`Node`]; 0 and 1 are the positions of `.` and `..` in a directory.
pub(crate) const FIRST: u64 = 2;

/// What is behind a name: a file or a directory in the root directory.
pub(crate) trait Node: Send + Sync + 'static {
    /// Number of its inode and place among its neighbours, at least [`FIRST`]. No two nodes that a
    /// tree ever has share one.
    fn number(&self) -> u64;

    /// Its name.
    fn name(&self) -> &[u8];

    /// What a file looks like; [`None`] is a directory.
    fn file(&self) -> Option<FileInfo>;

    /// When it was found.
    fn found(&self) -> Time;

    /// Whether it is still there. Any task context.
    fn alive(&self) -> bool;

    /// What was changed of it.
    fn kept(&self) -> &Kept;
}

/// A tree that can be mounted, maybe in several views, each with a superblock of its own.
pub(crate) trait Tree: Send + Sync + 'static {
    /// What is in it.
    type Node: Node;
    /// What a mount may choose.
    type Options: Default + Send + 'static;

    /// Takes one option of `mount`; an error refuses the mount. May sleep.
    fn option(&self, options: &mut Self::Options, key: &CStr, value: Option<&CStr>) -> Result;

    /// A new mount, or one more: answers which view it is of. May sleep.
    fn mount(&self, options: &Self::Options) -> Result<usize>;

    /// There is a superblock for `view` now. May sleep.
    fn shown(&self, view: usize);

    /// There is none any more. May sleep.
    fn hidden(&self, view: usize);

    /// A mount of `view` was made: what is in the tree should be up to date. May sleep.
    fn refresh(&self);

    /// `sync`, by whatever name: what was taken so far is to be where it lasts. May sleep.
    fn sync(&self) -> Result;

    /// `mount -o remount`. May sleep.
    fn remount(&self, view: usize, options: &Self::Options) -> Result;

    /// Prints the options for `/proc/mounts`, each with a comma in front. May sleep.
    fn show(&self, view: usize, to: &SeqFile);

    /// What `name` is in a directory, [`None`] being the root. May sleep.
    fn lookup(&self, view: usize, dir: Option<&Self::Node>, name: &[u8])
        -> Option<Arc<Self::Node>>;

    /// The node in a directory with the least number not below `from`. May sleep.
    fn next(&self, view: usize, dir: Option<&Self::Node>, from: u64) -> Option<Arc<Self::Node>>;

    /// How many directories the root has. May sleep.
    fn dirs(&self, view: usize) -> u32;

    /// How many names a file has.
    fn links(&self, view: usize) -> u32;

    /// The content of a file, read when it is opened. After `ESTALE` the name is looked up once
    /// more. May sleep.
    fn open(&self, node: &Self::Node) -> Result<Content>;

    /// Removes a file, with all its names if this succeeds. May sleep.
    fn unlink(&self, node: &Self::Node) -> Result;
}

/// What is in a file that was opened.
pub(crate) enum Content {
    /// These bytes.
    Bytes(KVVec<u8>),
    /// What is in this file of another filesystem.
    File(OpenFile),
}

/// Seconds since the epoch and nanoseconds.
pub(crate) type Time = (i64, u32);

/// What a file looks like.
pub(crate) struct FileInfo {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Time of the record, if known, for mtime and ctime.
    pub(crate) time: Option<Time>,
}

/// What `chmod` and its like made of mode, owner and times, which lasts as long as the node does,
/// while its inode is in memory only when somebody uses it.
#[pin_data]
pub(crate) struct Kept {
    #[pin]
    saved: Mutex<Option<Saved>>,
}

#[derive(Clone, Copy)]
struct Saved {
    mode: u16,
    uid: kernel::bindings::kuid_t,
    gid: kernel::bindings::kgid_t,
    atime: Time,
    mtime: Time,
    ctime: Time,
}

impl Kept {
    /// Nothing yet.
    pub(crate) fn new() -> impl PinInit<Self> {
        pin_init!(Self {
            saved <- new_mutex!(None),
        })
    }
}

/// The operations of a filesystem of `T`.
struct Ops<T>(PhantomData<T>);

impl<T: Tree> Ops<T> {
    const SUPER: super_operations = super_operations {
        statfs: Some(bindings::simple_statfs),
        drop_inode: Some(kernel::bindings::inode_just_drop),
        evict_inode: Some(Self::evict_callback),
        show_options: Some(Self::show_callback),
        sync_fs: Some(Self::sync_callback),
        ..pin_init::zeroed()
    };

    const DENTRY: dentry_operations = dentry_operations {
        d_revalidate: Some(Self::revalidate_callback),
        d_delete: Some(kernel::bindings::always_delete_dentry),
        ..pin_init::zeroed()
    };

    const DIR: inode_operations = inode_operations {
        lookup: Some(Self::lookup_callback),
        unlink: Some(Self::unlink_callback),
        setattr: Some(Self::setattr_callback),
        getattr: Some(Self::getattr_callback),
        ..pin_init::zeroed()
    };

    const DIR_FILE: file_operations = file_operations {
        iterate_shared: Some(Self::iterate_callback),
        read: Some(kernel::bindings::generic_read_dir),
        llseek: Some(kernel::bindings::generic_file_llseek),
        fsync: Some(kernel::bindings::noop_fsync),
        ..pin_init::zeroed()
    };

    const FILE: inode_operations = inode_operations {
        setattr: Some(Self::setattr_callback),
        getattr: Some(Self::getattr_callback),
        ..pin_init::zeroed()
    };

    const FILE_FILE: file_operations = file_operations {
        open: Some(Self::open_callback),
        read: Some(Self::read_callback),
        llseek: Some(bindings::default_llseek),
        release: Some(Self::release_callback),
        ..pin_init::zeroed()
    };

    const CONTEXT: bindings::fs_context_operations = bindings::fs_context_operations {
        free: Some(Self::free_callback),
        parse_param: Some(Self::option_callback),
        get_tree: Some(Self::get_tree_callback),
        reconfigure: Some(Self::reconfigure_callback),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `ty` is the type of a superblock or of a `fs_context` of this filesystem.
    unsafe fn tree_of<'a>(ty: *const file_system_type) -> &'a T {
        // SAFETY: The type is the first field of a `FsType` with this `T`. Its tree is there
        // before the first `fs_context` is made, and taken away only after the last superblock and
        // `fs_context` are gone, since both hold the module.
        unsafe { &*(*ty.cast::<FsType<T>>()).tree.load(Acquire) }
    }

    /// # Safety
    ///
    /// `sb` is a superblock of this filesystem.
    unsafe fn tree<'a>(sb: *const super_block) -> &'a T {
        // SAFETY: By the contract.
        unsafe { Self::tree_of((*sb).s_type) }
    }

    /// # Safety
    ///
    /// `sb` is a superblock of this filesystem.
    unsafe fn view(sb: *const super_block) -> usize {
        // SAFETY: By the contract. `get_tree_callback()` made this of a view, one more than which
        // it is; superblocks are told apart by it.
        unsafe { (*sb).s_fs_info }.addr().wrapping_sub(1)
    }

    /// The node of an inode; the root has none.
    ///
    /// # Safety
    ///
    /// `inode` is an inode of this filesystem that is in use for `'a`.
    unsafe fn node<'a>(inode: *const inode) -> Option<&'a T::Node> {
        // SAFETY: `i_private` is NULL or a reference to a node that `evict_callback()` gives up.
        unsafe { (*inode).i_private.cast::<T::Node>().as_ref() }
    }

    /// The inode of a node, with a reference.
    ///
    /// # Safety
    ///
    /// `sb` is a superblock of this filesystem.
    unsafe fn inode(sb: *mut super_block, node: Arc<T::Node>) -> Result<*mut inode> {
        // SAFETY: By the contract.
        let inode = unsafe { kernel::bindings::iget_locked(sb, node.number()) };
        if inode.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: The inode is ours to look at.
        if !unsafe { bindings::mpstore_inode_is_new(inode) } {
            // Numbers are unique, so this is the node's inode already.
            return Ok(inode);
        }
        let file = node.file();
        let saved = *node.kept().saved.lock();
        // SAFETY: By the contract; the inode is new, and nobody else uses it before
        // `unlock_new_inode()`. The reference in `i_private` is given up by `evict_callback()`.
        unsafe {
            let time = node.found();
            ((*inode).i_atime_sec, (*inode).i_atime_nsec) = time;
            let time = file.as_ref().and_then(|info| info.time).unwrap_or(time);
            ((*inode).i_mtime_sec, (*inode).i_mtime_nsec) = time;
            ((*inode).i_ctime_sec, (*inode).i_ctime_nsec) = time;
            match &file {
                Some(info) => {
                    // CAST: File modes have 16 bits.
                    (*inode).i_mode = (kernel::bindings::S_IFREG | 0o444) as u16;
                    (*inode).i_op = &Self::FILE;
                    (*inode).__bindgen_anon_3.i_fop = &Self::FILE_FILE;
                    (*inode).i_size = i64::try_from(info.size).unwrap_or(i64::MAX);
                    kernel::bindings::set_nlink(inode, Self::tree(sb).links(Self::view(sb)));
                }
                None => Self::make_dir(inode),
            }
            if let Some(saved) = saved {
                (*inode).i_mode = saved.mode;
                (*inode).i_uid = saved.uid;
                (*inode).i_gid = saved.gid;
                ((*inode).i_atime_sec, (*inode).i_atime_nsec) = saved.atime;
                ((*inode).i_mtime_sec, (*inode).i_mtime_nsec) = saved.mtime;
                ((*inode).i_ctime_sec, (*inode).i_ctime_nsec) = saved.ctime;
            }
            (*inode).i_private = Arc::into_raw(node).cast_mut().cast();
            kernel::bindings::unlock_new_inode(inode);
        }
        Ok(inode)
    }

    /// # Safety
    ///
    /// `inode` is a new inode of this filesystem.
    unsafe fn make_dir(inode: *mut inode) {
        // SAFETY: Not visible to anybody yet.
        unsafe {
            // CAST: File modes have 16 bits.
            (*inode).i_mode = (kernel::bindings::S_IFDIR | 0o750) as u16;
            (*inode).i_op = &Self::DIR;
            (*inode).__bindgen_anon_3.i_fop = &Self::DIR_FILE;
            kernel::bindings::set_nlink(inode, 2);
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an option of a mount.
    unsafe extern "C" fn option_callback(
        fc: *mut bindings::fs_context,
        param: *mut bindings::fs_parameter,
    ) -> c_int {
        // SAFETY: By the contract.
        let ret = unsafe { bindings::vfs_parse_fs_param_source(fc, param) };
        // CAST: A small number.
        if ret != -(bindings::ENOPARAM as c_int) {
            return ret;
        }
        from_result(|| {
            // SAFETY: By the contract; keys and strings are NUL-terminated, and the options are
            // those that `init_fs_context_callback()` made.
            unsafe {
                let key = CStr::from_char_ptr((*param).key);
                let value = bindings::mpstore_fs_parameter_string(param);
                let value = (!value.is_null()).then(|| CStr::from_char_ptr(value));
                let options = &mut *(*fc).fs_private.cast::<T::Options>();
                Self::tree_of((*fc).fs_type).option(options, key, value)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS for a `fs_context` that is not needed any more.
    unsafe extern "C" fn free_callback(fc: *mut bindings::fs_context) {
        // SAFETY: NULL or from `init_fs_context_callback()`, and freed once.
        let options = unsafe { (*fc).fs_private }.cast::<T::Options>();
        if !options.is_null() {
            // SAFETY: As above.
            drop(unsafe { KBox::from_raw(options) });
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for a new mount.
    unsafe extern "C" fn get_tree_callback(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: By the contract; the options are those of `init_fs_context_callback()`.
            let (tree, options) = unsafe {
                (
                    Self::tree_of((*fc).fs_type),
                    &*(*fc).fs_private.cast::<T::Options>(),
                )
            };
            let key = core::ptr::without_provenance_mut::<c_void>(tree.mount(options)? + 1);
            // SAFETY: By the contract; the key is never followed.
            to_result(unsafe { bindings::get_tree_keyed(fc, Some(Self::fill_callback), key) })?;
            tree.refresh();
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS for a remount.
    unsafe extern "C" fn reconfigure_callback(fc: *mut bindings::fs_context) -> c_int {
        from_result(|| {
            // SAFETY: By the contract; `root` is of the superblock that is remounted.
            unsafe {
                let options = &*(*fc).fs_private.cast::<T::Options>();
                let sb = (*(*fc).root).d_sb;
                Self::tree(sb).remount(Self::view(sb), options)?;
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS for a new superblock.
    unsafe extern "C" fn fill_callback(
        sb: *mut super_block,
        _fc: *mut bindings::fs_context,
    ) -> c_int {
        from_result(|| {
            // SAFETY: The superblock is new and only ours.
            let inode = unsafe {
                (*sb).s_maxbytes = i64::MAX;
                (*sb).s_blocksize = bindings::MPSTORE_PAGE_SIZE as usize;
                (*sb).s_blocksize_bits = bindings::MPSTORE_PAGE_SIZE.trailing_zeros() as u8;
                (*sb).s_magic = bindings::PSTOREFS_MAGIC as usize;
                (*sb).s_op = &Self::SUPER;
                (*sb).s_time_gran = 1;
                kernel::bindings::set_default_d_op(sb, &Self::DENTRY);
                kernel::bindings::new_inode(sb)
            };
            if inode.is_null() {
                return Err(ENOMEM);
            }
            // SAFETY: A new inode, not visible to anybody yet; `d_make_root()` takes it over, also
            // when it fails.
            let root = unsafe {
                (*inode).i_ino = ROOT;
                bindings::simple_inode_init_ts(inode);
                Self::make_dir(inode);
                bindings::d_make_root(inode)
            };
            if root.is_null() {
                return Err(ENOMEM);
            }
            // SAFETY: As above.
            unsafe {
                (*sb).s_root = root;
                Self::tree(sb).shown(Self::view(sb));
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS for a superblock that nobody uses any more.
    unsafe extern "C" fn kill_callback(sb: *mut super_block) {
        // SAFETY: By the contract. The superblock itself stays until this returns, and so does the
        // hold on the module.
        unsafe {
            bindings::kill_anon_super(sb);
            Self::tree(sb).hidden(Self::view(sb));
        }
    }

    /// # Safety
    ///
    /// Called by the VFS to print the options of a mount.
    unsafe extern "C" fn show_callback(to: *mut seq_file, root: *mut dentry) -> c_int {
        // SAFETY: By the contract; `to` is only ours meanwhile.
        unsafe {
            let sb = (*root).d_sb;
            Self::tree(sb).show(Self::view(sb), SeqFile::from_raw(to));
        }
        0
    }

    /// # Safety
    ///
    /// Called by the VFS for a superblock of this filesystem.
    unsafe extern "C" fn sync_callback(sb: *mut super_block, wait: c_int) -> c_int {
        if wait == 0 {
            // It comes again, to wait.
            return 0;
        }
        // SAFETY: By the contract.
        match unsafe { Self::tree(sb) }.sync() {
            Ok(()) => 0,
            Err(e) => e.to_errno(),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an inode of this filesystem that nobody uses any more.
    unsafe extern "C" fn evict_callback(inode: *mut inode) {
        // SAFETY: By the contract.
        unsafe { kernel::bindings::clear_inode(inode) };
        // SAFETY: `i_private` is NULL (the root) or what `inode()` put there.
        let node = unsafe { (*inode).i_private }.cast_const().cast::<T::Node>();
        if node.is_null() {
            return;
        }
        // SAFETY: As above; the inode is gone, so this happens once.
        drop(unsafe { Arc::from_raw(node) });
    }

    /// # Safety
    ///
    /// Called by the VFS before it goes on through a dentry that it has.
    unsafe extern "C" fn revalidate_callback(
        _dir: *mut inode,
        _name: *const qstr,
        dentry: *mut dentry,
        flags: c_uint,
    ) -> c_int {
        if flags & bindings::MPSTORE_LOOKUP_RCU != 0 {
            // Without a reference the node may go meanwhile.
            return ECHILD.to_errno();
        }
        // SAFETY: By the contract the VFS has a reference to the dentry, and thus to its inode.
        let alive = unsafe {
            let inode = (*dentry).d_inode;
            !inode.is_null() && Self::node(inode).is_none_or(T::Node::alive)
        };
        c_int::from(alive)
    }

    /// # Safety
    ///
    /// Called by the VFS for a name in a directory of this filesystem.
    unsafe extern "C" fn lookup_callback(
        dir: *mut inode,
        dentry: *mut dentry,
        _flags: c_uint,
    ) -> *mut dentry {
        let found = (|| {
            // SAFETY: By the contract; the name stays while the directory is locked.
            let (sb, name, parent) = unsafe {
                let name = bindings::mpstore_dentry_name(dentry);
                let len = bindings::mpstore_dentry_name_len(dentry) as usize;
                (
                    (*dir).i_sb,
                    core::slice::from_raw_parts(name.cast::<u8>(), len),
                    Self::node(dir),
                )
            };
            if name.len() > bindings::NAME_MAX as usize {
                return Err(ENAMETOOLONG);
            }
            // SAFETY: The superblock is of this filesystem.
            unsafe {
                match Self::tree(sb).lookup(Self::view(sb), parent, name) {
                    Some(node) => Self::inode(sb, node),
                    // A name without an object, which `revalidate_callback()` never trusts.
                    None => Ok(core::ptr::null_mut()),
                }
            }
        })();
        match found {
            // SAFETY: The dentry is new; the reference to the inode is given away.
            Ok(inode) => unsafe { kernel::bindings::d_splice_alias(inode, dentry) },
            // CAST: This is how C returns an errno for a pointer.
            Err(e) => core::ptr::without_provenance_mut(e.to_errno() as isize as usize),
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for an open directory of this filesystem.
    unsafe extern "C" fn iterate_callback(file: *mut file, ctx: *mut dir_context) -> c_int {
        // SAFETY: By the contract.
        let (tree, view, dir) = unsafe {
            let inode = (*file).f_inode;
            let sb = (*inode).i_sb;
            (Self::tree(sb), Self::view(sb), Self::node(inode))
        };
        if dir.is_some_and(|dir| !dir.alive()) {
            return ENOENT.to_errno();
        }
        // SAFETY: By the contract.
        if !unsafe { bindings::mpstore_dir_emit_dots(file, ctx) } {
            return 0;
        }
        loop {
            // SAFETY: By the contract the context is ours meanwhile.
            let from = u64::try_from(unsafe { (*ctx).pos }).unwrap_or(0).max(FIRST);
            let Some(node) = tree.next(view, dir, from) else {
                return 0;
            };
            let (name, number) = (node.name(), node.number());
            // SAFETY: As above; `name` is valid for its length.
            // CAST: Names are short, numbers count up from zero.
            unsafe {
                (*ctx).pos = number as i64;
                if !bindings::mpstore_dir_emit(
                    ctx,
                    name.as_ptr().cast(),
                    name.len() as c_int,
                    number,
                    node.file().is_none(),
                ) {
                    return 0;
                }
                (*ctx).pos += 1;
            }
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for `stat` of an object of this filesystem.
    unsafe extern "C" fn getattr_callback(
        idmap: *mut mnt_idmap,
        path: *const path,
        stat: *mut kstat,
        mask: u32,
        _flags: c_uint,
    ) -> c_int {
        // SAFETY: By the contract.
        unsafe {
            let inode = (*(*path).dentry).d_inode;
            let sb = (*inode).i_sb;
            kernel::bindings::generic_fillattr(idmap, mask, inode, stat);
            match Self::node(inode) {
                None => (*stat).nlink = 2 + Self::tree(sb).dirs(Self::view(sb)),
                Some(node) if !node.alive() => (*stat).nlink = 0,
                Some(node) => {
                    if let Some(info) = node.file() {
                        // One that grows while it is shown.
                        (*stat).size = i64::try_from(info.size).unwrap_or(i64::MAX);
                    }
                }
            }
        }
        0
    }

    /// # Safety
    ///
    /// Called by the VFS for `chmod` and its like.
    unsafe extern "C" fn setattr_callback(
        idmap: *mut mnt_idmap,
        dentry: *mut dentry,
        attr: *mut iattr,
    ) -> c_int {
        // SAFETY: By the contract.
        if unsafe { (*attr).ia_valid } & bindings::MPSTORE_ATTR_SIZE != 0 {
            // A record can be removed, not cut.
            return EPERM.to_errno();
        }
        // SAFETY: By the contract.
        let ret = unsafe { kernel::bindings::simple_setattr(idmap, dentry, attr) };
        // SAFETY: By the contract the inode is locked.
        let (node, saved) = unsafe {
            let inode = (*dentry).d_inode;
            let saved = Saved {
                mode: (*inode).i_mode,
                uid: (*inode).i_uid,
                gid: (*inode).i_gid,
                atime: ((*inode).i_atime_sec, (*inode).i_atime_nsec),
                mtime: ((*inode).i_mtime_sec, (*inode).i_mtime_nsec),
                ctime: ((*inode).i_ctime_sec, (*inode).i_ctime_nsec),
            };
            (Self::node(inode), saved)
        };
        if let Some(node) = node.filter(|_| ret == 0) {
            *node.kept().saved.lock() = Some(saved);
        }
        ret
    }

    /// # Safety
    ///
    /// Called by the VFS for a file of this filesystem.
    unsafe extern "C" fn unlink_callback(dir: *mut inode, dentry: *mut dentry) -> c_int {
        from_result(|| {
            // SAFETY: A positive dentry in a directory that the VFS has locked, like the inode.
            unsafe {
                let inode = (*dentry).d_inode;
                let node = Self::node(inode).ok_or(EPERM)?;
                Self::tree((*inode).i_sb).unlink(node)?;
                bindings::mpstore_inode_touch(dir);
                bindings::mpstore_inode_touch(inode);
                // All names go together; the others are found to be dead.
                kernel::bindings::clear_nlink(inode);
            }
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS for a file of this filesystem.
    unsafe extern "C" fn open_callback(inode: *mut inode, file: *mut file) -> c_int {
        from_result(|| {
            // SAFETY: A file's node lives as long as its inode, which the open file holds.
            let content = unsafe {
                let node = Self::node(inode).ok_or(EINVAL)?;
                if !node.alive() {
                    return Err(ESTALE);
                }
                Self::tree((*inode).i_sb).open(node)?
            };
            let content = KBox::new(content, GFP_KERNEL)?;
            // SAFETY: The file is being opened; the pointer is freed by `release_callback()`.
            unsafe { (*file).private_data = KBox::into_raw(content).cast() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS for an open file of this filesystem.
    unsafe extern "C" fn read_callback(
        file: *mut file,
        buf: *mut c_char,
        len: usize,
        pos: *mut kernel::bindings::loff_t,
    ) -> isize {
        // SAFETY: Set by `open_callback()`, not freed while the file is open, never changed.
        let content = match unsafe { &*(*file).private_data.cast::<Content>() } {
            Content::Bytes(content) => content,
            // SAFETY: As the VFS called us.
            Content::File(other) => return unsafe { other.read_user(buf, len, pos) },
        };
        // SAFETY: `content` is valid for reads of its length; the rest is as the VFS called us.
        unsafe {
            bindings::simple_read_from_buffer(
                buf.cast(),
                len,
                pos,
                content.as_ptr().cast(),
                content.len(),
            )
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for the last close of a file of this filesystem.
    unsafe extern "C" fn release_callback(_inode: *mut inode, file: *mut file) -> c_int {
        // SAFETY: Set by `open_callback()`; nobody uses the file any more.
        drop(unsafe { KBox::from_raw((*file).private_data.cast::<Content>()) });
        0
    }

    /// # Safety
    ///
    /// Called by the VFS for a new `fs_context`.
    unsafe extern "C" fn init_fs_context_callback(fc: *mut kernel::bindings::fs_context) -> c_int {
        // The binding's `struct fs_context` is the C one.
        let fc = fc.cast::<bindings::fs_context>();
        from_result(|| {
            // SAFETY: By the contract; the type is the first field of a `FsType`.
            let ty = unsafe { &*(*fc).fs_type.cast::<FsType<T>>() };
            if ty.tree.load(Acquire).is_null() {
                // The module has not started yet and may still fail.
                return Err(EBUSY);
            }
            let options = KBox::new(T::Options::default(), GFP_KERNEL)?;
            // SAFETY: As above; `free_callback()` frees the options.
            unsafe {
                (*fc).fs_private = KBox::into_raw(options).cast();
                (*fc).ops = &Self::CONTEXT;
            }
            Ok(0)
        })
    }
}

/// A filesystem type. It must be static, because its lock classes are.
///
/// # Invariants
///
/// `tree` is null, or valid while the type is registered.
#[repr(C)]
pub(crate) struct FsType<T> {
    fs: Opaque<file_system_type>,
    tree: Atomic<*const T>,
    used: Atomic<bool>,
}

// SAFETY: The C side has locks of its own; the tree may be shared.
unsafe impl<T: Send + Sync> Sync for FsType<T> {}

impl<T: Tree> FsType<T> {
    /// A type that is not registered.
    pub(crate) const fn new() -> Self {
        Self {
            fs: Opaque::new(pin_init::zeroed()),
            tree: Atomic::new(core::ptr::null()),
            used: Atomic::new(false),
        }
    }
}

/// A registered filesystem; dropping it unregisters. Mounts hold the module.
///
/// # Invariants
///
/// `ty` is registered; its tree is null or `tree`.
pub(crate) struct Registration<T: Tree> {
    ty: &'static FsType<T>,
    tree: Arc<T>,
    /// Whose place it has taken. Registered again after ours is not any more.
    displaced: Option<Displaced>,
}

impl<T: Tree> Registration<T> {
    /// Registers a filesystem type, which can't be mounted before [`Self::open`], in the place of
    /// one that has the name already. May sleep. `EBUSY` means that this one can't be displaced.
    pub(crate) fn new(
        ty: &'static FsType<T>,
        tree: Arc<T>,
        module: &'static ThisModule,
        name: &'static CStr,
    ) -> Result<Self> {
        if ty.used.xchg(true, Full) {
            return Err(EBUSY);
        }
        let raw = ty.fs.get();
        // SAFETY: The type was not used, so it is not registered, and nobody else has come this
        // far.
        unsafe {
            (*raw).name = name.as_char_ptr();
            (*raw).owner = module.as_ptr();
            (*raw).init_fs_context = Some(Ops::<T>::init_fs_context_callback);
            (*raw).kill_sb = Some(Ops::<T>::kill_callback);
        }
        // SAFETY: The type is initialised, static, and unregistered before the module goes.
        let register = || to_result(unsafe { bindings::register_filesystem(raw) });
        let result = match register() {
            // Only now is it sure that there is one, and that no module is loaded by asking.
            Err(e) if e == EBUSY => {
                Displaced::take(name).and_then(|displaced| register().map(|()| Some(displaced)))
            }
            result => result.map(|()| None),
        };
        if result.is_err() {
            ty.used.store(false, Release);
        }
        // INVARIANT: Just registered, with a null tree.
        result.map(|displaced| Self {
            ty,
            tree,
            displaced,
        })
    }

    /// From now on it can be mounted. To be called when the module can't fail to load any more:
    /// a module that does is taken away under its mounts.
    pub(crate) fn open(&self) {
        // INVARIANT: Valid as long as `self`.
        self.ty.tree.store(Arc::as_ptr(&self.tree), Release);
    }

    /// Whose place it has taken, if there was somebody.
    pub(crate) fn displaced(&self) -> Option<&Displaced> {
        self.displaced.as_ref()
    }

    /// The tree.
    pub(crate) fn tree(&self) -> &Arc<T> {
        &self.tree
    }
}

impl<T: Tree> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_filesystem(self.ty.fs.get()) };
        self.ty.tree.store(core::ptr::null(), Release);
        self.ty.used.store(false, Release);
    }
}

/// A directory in `/sys/fs` to mount on; dropping it removes it.
pub(crate) struct MountPoint(CString);

impl MountPoint {
    /// Makes `/sys/fs/<name>`. May sleep.
    pub(crate) fn new(name: CString) -> Result<Self> {
        // SAFETY: `fs_kobj` exists from early boot on; the name is NUL-terminated and copied.
        to_result(unsafe {
            bindings::sysfs_create_mount_point(bindings::fs_kobj, name.as_char_ptr())
        })?;
        Ok(Self(name))
    }
}

impl Drop for MountPoint {
    fn drop(&mut self) {
        // SAFETY: Made by `new()`.
        unsafe { bindings::sysfs_remove_mount_point(bindings::fs_kobj, self.0.as_char_ptr()) };
    }
}
