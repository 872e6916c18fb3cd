// SPDX-License-Identifier: GPL-2.0

//! A small in-memory filesystem: one level of directories, read-only files, removable.
//!
//! All mounts share one superblock. What is in it is decided when the first mount is made.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/fs_context.h`](srctree/include/linux/fs_context.h)

use core::marker::PhantomData;
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
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
        Arc, //
    },
    types::Opaque, //
};
use mpstore_bindings as bindings;

use kernel::bindings::{
    dentry,
    file,
    file_operations,
    file_system_type,
    inode,
    inode_operations,
    super_block,
    super_operations, //
};

/// A tree that can be mounted.
pub(crate) trait Tree: Send + Sync + 'static {
    /// What stands behind a file.
    type Node: Send + Sync + 'static;

    /// Fills the root directory of a new superblock. May sleep.
    fn populate(&self, root: &Dir<'_, Self>) -> Result
    where
        Self: Sized;

    /// The content of a file, read when it is opened. May sleep.
    fn open(&self, node: &Self::Node) -> Result<VVec<u8>>;

    /// Removes what stands behind a file; the name goes only if this succeeds. May sleep.
    fn unlink(&self, node: &Self::Node) -> Result;
}

/// What a file looks like.
pub(crate) struct FileInfo {
    /// Size in bytes.
    pub(crate) size: u64,
    /// Time of the record, seconds since the epoch and nanoseconds; `None` is the present.
    pub(crate) time: Option<(i64, u32)>,
}

/// A directory that is being filled.
pub(crate) struct Dir<'a, T> {
    dentry: *mut dentry,
    sb: *mut super_block,
    _p: PhantomData<&'a T>,
}

impl<T: Tree> Dir<'_, T> {
    /// Makes a directory with mode 0750.
    pub(crate) fn dir(&self, name: &CStr) -> Result<Dir<'_, T>> {
        // SAFETY: `self.sb` is a superblock of `T` by construction.
        let inode = unsafe { Ops::<T>::new_dir(self.sb)? };
        // SAFETY: `inode` is new and ours.
        let dentry = unsafe { self.add(name, inode)? };
        // SAFETY: The parent's inode is valid, and no other mount can see it yet.
        unsafe { kernel::bindings::inc_nlink((*self.dentry).d_inode) };
        Ok(Dir {
            dentry,
            sb: self.sb,
            _p: PhantomData,
        })
    }

    /// Makes a file with mode 0444.
    pub(crate) fn file(&self, name: &CStr, info: &FileInfo, node: T::Node) -> Result {
        let node = KBox::new(node, GFP_KERNEL)?;
        // SAFETY: `self.sb` is a superblock of `T` by construction.
        let inode = unsafe { Ops::<T>::new_inode(self.sb)? };
        // SAFETY: The inode is new and ours; `i_private` is freed by `evict_callback()`.
        unsafe {
            // CAST: File modes have 16 bits.
            (*inode).i_mode = (kernel::bindings::S_IFREG | 0o444) as u16;
            (*inode).i_size = i64::try_from(info.size)?;
            (*inode).__bindgen_anon_3.i_fop = &Ops::<T>::FILE;
            (*inode).i_private = KBox::into_raw(node).cast();
            if let Some((sec, nsec)) = info.time {
                bindings::mpstore_inode_set_mtime(inode, sec, isize::try_from(nsec)?);
            }
        }
        // SAFETY: As above.
        unsafe { self.add(name, inode)? };
        Ok(())
    }

    /// # Safety
    ///
    /// `inode` is a new inode of this superblock, whose reference is given away.
    unsafe fn add(&self, name: &CStr, inode: *mut inode) -> Result<*mut dentry> {
        // SAFETY: The parent is a live directory, `name` is NUL-terminated.
        let dentry = unsafe { bindings::d_alloc_name(self.dentry, name.as_char_ptr()) };
        if dentry.is_null() {
            // SAFETY: By the contract the reference is ours.
            unsafe { kernel::bindings::iput(inode) };
            return Err(ENOMEM);
        }
        // SAFETY: A new, negative dentry and a new inode; the tree keeps a reference of its own,
        // so that ours is dropped and the pointer stays valid while the superblock lives.
        unsafe {
            bindings::d_make_persistent(dentry, inode);
            kernel::bindings::dput(dentry);
        }
        Ok(dentry)
    }
}

/// The operations of a filesystem of `T`.
struct Ops<T>(PhantomData<T>);

impl<T: Tree> Ops<T> {
    const SUPER: super_operations = super_operations {
        statfs: Some(bindings::simple_statfs),
        drop_inode: Some(kernel::bindings::inode_just_drop),
        evict_inode: Some(Self::evict_callback),
        ..pin_init::zeroed()
    };

    const DIR: inode_operations = inode_operations {
        lookup: Some(bindings::simple_lookup),
        unlink: Some(Self::unlink_callback),
        ..pin_init::zeroed()
    };

    const FILE: file_operations = file_operations {
        open: Some(Self::open_callback),
        read: Some(Self::read_callback),
        llseek: Some(bindings::default_llseek),
        release: Some(Self::release_callback),
        ..pin_init::zeroed()
    };

    const CONTEXT: bindings::fs_context_operations = bindings::fs_context_operations {
        get_tree: Some(Self::get_tree_callback),
        ..pin_init::zeroed()
    };

    /// # Safety
    ///
    /// `sb` is a superblock of this filesystem.
    unsafe fn tree<'a>(sb: *const super_block) -> &'a T {
        // SAFETY: The type of the superblock is the first field of a `FsType` with this `T`, whose
        // tree is taken away only after the last superblock is gone.
        unsafe { &*(*(*sb).s_type.cast::<FsType<T>>()).tree.load(Acquire) }
    }

    /// # Safety
    ///
    /// `sb` is a superblock of this filesystem.
    unsafe fn new_inode(sb: *mut super_block) -> Result<*mut inode> {
        // SAFETY: By the contract.
        let inode = unsafe { kernel::bindings::new_inode(sb) };
        if inode.is_null() {
            return Err(ENOMEM);
        }
        // SAFETY: A new inode, not visible to anybody yet.
        unsafe {
            (*inode).i_ino = bindings::get_next_ino().into();
            bindings::simple_inode_init_ts(inode);
        }
        Ok(inode)
    }

    /// # Safety
    ///
    /// `sb` is a superblock of this filesystem.
    unsafe fn new_dir(sb: *mut super_block) -> Result<*mut inode> {
        // SAFETY: By the contract.
        let inode = unsafe { Self::new_inode(sb)? };
        // SAFETY: A new inode, not visible to anybody yet.
        unsafe {
            // CAST: File modes have 16 bits.
            (*inode).i_mode = (kernel::bindings::S_IFDIR | 0o750) as u16;
            (*inode).i_op = &Self::DIR;
            (*inode).__bindgen_anon_3.i_fop = &raw const bindings::simple_dir_operations;
            kernel::bindings::inc_nlink(inode);
        }
        Ok(inode)
    }

    /// # Safety
    ///
    /// Called by the VFS for a new mount.
    unsafe extern "C" fn get_tree_callback(fc: *mut bindings::fs_context) -> c_int {
        // SAFETY: By the contract.
        unsafe { bindings::get_tree_single(fc, Some(Self::fill_callback)) }
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
            unsafe {
                (*sb).s_maxbytes = i64::MAX;
                (*sb).s_blocksize = bindings::MPSTORE_PAGE_SIZE as usize;
                (*sb).s_blocksize_bits = bindings::MPSTORE_PAGE_SIZE.trailing_zeros() as u8;
                (*sb).s_magic = bindings::PSTOREFS_MAGIC as usize;
                (*sb).s_op = &Self::SUPER;
                (*sb).s_time_gran = 1;
            }
            // SAFETY: `sb` is of this filesystem.
            let inode = unsafe { Self::new_dir(sb)? };
            // SAFETY: Takes over the inode, also when it fails.
            let root = unsafe { bindings::d_make_root(inode) };
            if root.is_null() {
                return Err(ENOMEM);
            }
            // SAFETY: As above.
            unsafe { (*sb).s_root = root };
            let dir = Dir {
                dentry: root,
                sb,
                _p: PhantomData,
            };
            // SAFETY: `sb` is of this filesystem.
            unsafe { Self::tree(sb) }.populate(&dir)?;
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the VFS for an inode of this filesystem that nobody uses any more.
    unsafe extern "C" fn evict_callback(inode: *mut inode) {
        // SAFETY: By the contract.
        unsafe { kernel::bindings::clear_inode(inode) };
        // SAFETY: `i_private` is NULL (a directory) or what `Dir::file()` put there.
        let node = unsafe { (*inode).i_private }.cast::<T::Node>();
        if !node.is_null() {
            // SAFETY: As above; the inode is gone, so this happens once.
            drop(unsafe { KBox::from_raw(node) });
        }
    }

    /// # Safety
    ///
    /// Called by the VFS for a file of this filesystem.
    unsafe extern "C" fn unlink_callback(dir: *mut inode, dentry: *mut dentry) -> c_int {
        from_result(|| {
            // SAFETY: A positive dentry in a directory that the VFS has locked.
            let inode = unsafe { (*dentry).d_inode };
            // SAFETY: The inode is of this filesystem.
            let node = unsafe { (*inode).i_private }.cast::<T::Node>();
            if node.is_null() {
                return Err(EPERM);
            }
            // SAFETY: Only directories have none; a file's node lives as long as its inode.
            unsafe { Self::tree((*inode).i_sb).unlink(&*node)? };
            // SAFETY: As the VFS called us.
            to_result(unsafe { bindings::simple_unlink(dir, dentry) })?;
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
                let node = &*(*inode).i_private.cast::<T::Node>();
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
        let content = unsafe { &*(*file).private_data.cast::<VVec<u8>>() };
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
        drop(unsafe { KBox::from_raw((*file).private_data.cast::<VVec<u8>>()) });
        0
    }

    /// # Safety
    ///
    /// Called by the VFS for a new `fs_context`.
    unsafe extern "C" fn init_fs_context_callback(fc: *mut kernel::bindings::fs_context) -> c_int {
        // SAFETY: By the contract; the binding's `struct fs_context` is the C one.
        unsafe { (*fc.cast::<bindings::fs_context>()).ops = &Self::CONTEXT };
        0
    }
}

/// A filesystem type. It must be static, because its lock classes are.
///
/// # Invariants
///
/// `tree` is not null while the type is registered, and is valid then.
#[repr(C)]
pub(crate) struct FsType<T> {
    fs: Opaque<file_system_type>,
    tree: Atomic<*const T>,
}

// SAFETY: The C side has locks of its own; the tree may be shared.
unsafe impl<T: Send + Sync> Sync for FsType<T> {}

impl<T: Tree> FsType<T> {
    /// A type that is not registered.
    pub(crate) const fn new() -> Self {
        Self {
            fs: Opaque::new(pin_init::zeroed()),
            tree: Atomic::new(core::ptr::null()),
        }
    }
}

/// A registered filesystem; dropping it unregisters. Mounts hold the module.
///
/// # Invariants
///
/// `ty` is registered, with `tree`.
pub(crate) struct Registration<T: Tree> {
    ty: &'static FsType<T>,
    _tree: Arc<T>,
}

impl<T: Tree> Registration<T> {
    /// Registers a filesystem type. May sleep. `EBUSY` means that the kernel has one of that name.
    pub(crate) fn new(
        ty: &'static FsType<T>,
        tree: T,
        module: &'static ThisModule,
        name: &'static CStr,
    ) -> Result<Self> {
        let tree = Arc::new(tree, GFP_KERNEL)?;
        let used = ty
            .tree
            .cmpxchg(core::ptr::null(), Arc::as_ptr(&tree), Full)
            .is_err();
        if used {
            return Err(EBUSY);
        }
        let raw = ty.fs.get();
        // SAFETY: The tree was null, so by the type invariant the type is not registered, and
        // nobody else has come this far.
        unsafe {
            (*raw).name = name.as_char_ptr();
            (*raw).owner = module.as_ptr();
            (*raw).init_fs_context = Some(Ops::<T>::init_fs_context_callback);
            (*raw).kill_sb = Some(bindings::kill_anon_super);
        }
        // SAFETY: The type is initialised, static, and unregistered before the module goes.
        let result = to_result(unsafe { bindings::register_filesystem(raw) });
        if result.is_err() {
            ty.tree.store(core::ptr::null(), Release);
        }
        // INVARIANT: Just registered.
        result.map(|()| Self { ty, _tree: tree })
    }
}

impl<T: Tree> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_filesystem(self.ty.fs.get()) };
        self.ty.tree.store(core::ptr::null(), Release);
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
