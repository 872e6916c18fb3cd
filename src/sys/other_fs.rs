// SPDX-License-Identifier: GPL-2.0

//! Another filesystem: taking the place of its type, and using its tree through a mount of our own
//! that nobody else sees.
//!
//! C headers: [`include/linux/fs.h`](srctree/include/linux/fs.h),
//! [`include/linux/mount.h`](srctree/include/linux/mount.h),
//! [`include/linux/namei.h`](srctree/include/linux/namei.h)

use super::vfs::Time;
use core::{
    marker::PhantomData,
    ptr::NonNull, //
};
use kernel::{
    bindings::{
        dentry,
        dir_context,
        file,
        file_system_type,
        loff_t,
        path,
        qstr,
        vfsmount, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_uint, //
    },
    prelude::*,
    str::CStr,
    types::NotThreadSafe, //
};
use mpstore_bindings as bindings;

/// The task acts with the kernel's own credentials until this is dropped.
struct AsKernel(*const kernel::bindings::cred, PhantomData<NotThreadSafe>);

impl AsKernel {
    fn new() -> Self {
        // SAFETY: A task may take other credentials for a while; `drop()` gives the old ones back.
        let old = unsafe { bindings::mpstore_override_kernel_creds() };
        Self(old, PhantomData)
    }
}

impl Drop for AsKernel {
    fn drop(&mut self) {
        // SAFETY: What this task had before; it is not another task, since the value can't be sent.
        unsafe { bindings::mpstore_revert_creds(self.0) };
    }
}

/// A filesystem type that was registered by somebody else and is not while this lives. Its mounts
/// go on. Dropping it registers it again.
///
/// # Invariants
///
/// `ty` is a filesystem type that is not registered; its owner can't go, for we hold the module.
pub(crate) struct Displaced {
    ty: NonNull<file_system_type>,
}

// SAFETY: A type may be registered by any thread.
unsafe impl Send for Displaced {}
// SAFETY: Nothing is changed through a shared reference.
unsafe impl Sync for Displaced {}

impl Displaced {
    /// Takes the type called `name` out; `EBUSY` if it can't be had. To be called for a type that
    /// is there: one that is not makes the kernel ask for a module of that name. May sleep.
    pub(super) fn take(name: &CStr) -> Result<Self> {
        // SAFETY: The name is NUL-terminated. A reference to the owner comes with the type.
        let ty = unsafe { bindings::get_fs_type(name.as_char_ptr()) };
        let ty = NonNull::new(ty).ok_or(EBUSY)?;
        // SAFETY: A filesystem type, which stays because its owner does.
        let result = to_result(unsafe { bindings::unregister_filesystem(ty.as_ptr()) });
        if let Err(e) = result {
            // SAFETY: The reference from above.
            unsafe { kernel::bindings::module_put((*ty.as_ptr()).owner) };
            return Err(e);
        }
        // INVARIANT: Just taken out, with a reference to the owner.
        Ok(Self { ty })
    }

    /// Mounts it, for us only. May sleep.
    pub(crate) fn mount(&self) -> Result<KernMount> {
        // SAFETY: A filesystem type by the type invariant, which need not be registered.
        unsafe { KernMount::of(self.ty.as_ptr()) }
    }
}

impl Drop for Displaced {
    fn drop(&mut self) {
        // SAFETY: By the type invariant it is not registered, and stays as long as its owner, which
        // takes it out itself before it goes.
        let result = to_result(unsafe { bindings::register_filesystem(self.ty.as_ptr()) });
        if let Err(e) = result {
            pr_err!(
                "the filesystem that was there can't be registered again: {:?}\n",
                e
            );
        }
        // SAFETY: The reference of `take()`.
        unsafe { kernel::bindings::module_put((*self.ty.as_ptr()).owner) };
    }
}

/// A mount that no path leads to.
///
/// # Invariants
///
/// `mount` is a mount that we made.
pub(crate) struct KernMount {
    mount: NonNull<vfsmount>,
}

// SAFETY: Mounts may be used and put by any task.
unsafe impl Send for KernMount {}
// SAFETY: As above.
unsafe impl Sync for KernMount {}

/// A name in a directory, and the number of its inode.
pub(crate) struct Name {
    /// As it is there.
    pub(crate) name: KVec<u8>,
    /// Of its inode.
    pub(crate) number: u64,
}

/// Where a directory's names go to.
#[repr(C)]
struct Lister {
    ctx: dir_context,
    names: KVec<Name>,
    result: Result,
}

impl Lister {
    /// # Safety
    ///
    /// Called by a filesystem for each name, with the context of a `Lister` that nobody else uses
    /// meanwhile.
    unsafe extern "C" fn actor(
        ctx: *mut dir_context,
        name: *const c_char,
        len: c_int,
        _pos: loff_t,
        number: u64,
        _kind: c_uint,
    ) -> bool {
        // SAFETY: By the contract; the context is the first field.
        let this = unsafe { &mut *ctx.cast::<Self>() };
        let len = usize::try_from(len).unwrap_or(0);
        // SAFETY: The name is valid for its length while we are called.
        let text = unsafe { core::slice::from_raw_parts(name.cast::<u8>(), len) };
        if text == b"." || text == b".." {
            return true;
        }
        this.result = this.put(text, number);
        this.result.is_ok()
    }

    fn put(&mut self, text: &[u8], number: u64) -> Result {
        let mut name = KVec::with_capacity(text.len(), GFP_KERNEL)?;
        name.extend_from_slice(text, GFP_KERNEL)?;
        self.names.push(Name { name, number }, GFP_KERNEL)?;
        Ok(())
    }
}

impl KernMount {
    /// Mounts the filesystem called `name`, one that is no module. Task context, may sleep.
    pub(crate) fn new(name: &CStr) -> Result<Self> {
        // SAFETY: The name is NUL-terminated.
        let ty = unsafe { bindings::get_fs_type(name.as_char_ptr()) };
        if ty.is_null() {
            return Err(ENODEV);
        }
        // SAFETY: A filesystem type, and what comes with it is a reference to its module, if it is
        // one, so that it stays meanwhile; the mount takes another.
        unsafe {
            let mount = Self::of(ty);
            kernel::bindings::module_put((*ty).owner);
            mount
        }
    }

    /// # Safety
    ///
    /// `ty` is a filesystem type whose owner stays meanwhile.
    unsafe fn of(ty: *mut file_system_type) -> Result<Self> {
        // SAFETY: By the contract.
        let mount = from_err_ptr(unsafe { bindings::kern_mount(ty) })?;
        // INVARIANT: From `kern_mount()`.
        Ok(Self {
            mount: NonNull::new(mount).ok_or(EINVAL)?,
        })
    }

    fn root(&self) -> path {
        let mnt = self.mount.as_ptr();
        // SAFETY: By the type invariant; the root of a mount stays the same.
        let dentry = unsafe { (*mnt).mnt_root };
        path { mnt, dentry }
    }

    /// The first bytes of a file, with the kernel's rights. May sleep.
    pub(crate) fn read<'a>(&self, name: &CStr, to: &'a mut [u8]) -> Result<&'a [u8]> {
        let _kernel = AsKernel::new();
        let root = self.root();
        // SAFETY: `root` is a directory that stays as long as the mount, `name` is NUL-terminated.
        // O_RDONLY is 0.
        let file = unsafe { bindings::file_open_root(&root, name.as_char_ptr(), 0, 0) };
        // INVARIANT: Just opened.
        let file = OpenFile {
            file: NonNull::new(from_err_ptr(file)?).ok_or(EINVAL)?,
        };
        let mut pos = 0;
        // SAFETY: `file` is open; `to` is valid for writes of its length.
        let n = unsafe {
            bindings::kernel_read(
                file.file.as_ptr(),
                to.as_mut_ptr().cast(),
                to.len(),
                &mut pos,
            )
        };
        match usize::try_from(n) {
            Ok(n) => to.get(..n).ok_or(EIO),
            // CAST: An errno is small.
            Err(_) => Err(Error::from_errno(n as i32)),
        }
    }

    /// What is in its root directory. May sleep.
    pub(crate) fn list(&self) -> Result<KVec<Name>> {
        let _kernel = AsKernel::new();
        let dir = OpenFile::open(&self.root())?;
        let mut lister = Lister {
            ctx: dir_context {
                actor: Some(Lister::actor),
                // As large as need be.
                count: c_int::MAX,
                ..pin_init::zeroed()
            },
            names: KVec::new(),
            result: Ok(()),
        };
        // SAFETY: The directory is open and only ours; the context is that of a `Lister`, which
        // stays where it is meanwhile. The pointer is one to the whole `Lister`.
        to_result(unsafe {
            kernel::bindings::iterate_dir(dir.file.as_ptr(), (&raw mut lister).cast())
        })?;
        lister.result?;
        Ok(lister.names)
    }

    /// The file of that name in its root directory; `ENOENT` if there is none. May sleep.
    pub(crate) fn find(&self, name: &[u8]) -> Result<Object> {
        let _kernel = AsKernel::new();
        let root = self.root();
        let mut text = qstr {
            name: name.as_ptr(),
            ..Default::default()
        };
        text.__bindgen_anon_1.__bindgen_anon_1.len = u32::try_from(name.len())?;
        // SAFETY: `text` is a name for as long as it is looked for, the root is a directory that is
        // not locked by us.
        let dentry = from_err_ptr(unsafe {
            bindings::lookup_noperm_positive_unlocked(&mut text, root.dentry)
        })?;
        // SAFETY: With the reference to the dentry comes one to the mount.
        unsafe { kernel::bindings::mntget(root.mnt) };
        // INVARIANT: A reference to each. The dentry has an inode, and with our reference to it it
        // can't lose that: `d_delete()` takes it only from a dentry with no other user.
        let object = Object {
            path: path {
                mnt: root.mnt,
                dentry,
            },
        };
        // SAFETY: By the invariant.
        let mode = unsafe { (*(*dentry).d_inode).i_mode };
        if u32::from(mode) & kernel::bindings::S_IFMT != kernel::bindings::S_IFREG {
            return Err(ENOENT);
        }
        Ok(object)
    }
}

impl Drop for KernMount {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; made once. Who still has an object or a file of it keeps
        // it until that is gone.
        unsafe { bindings::kern_unmount(self.mount.as_ptr()) };
    }
}

/// A file of another filesystem, not open.
///
/// # Invariants
///
/// A reference to mount and dentry. The dentry has an inode, and keeps it.
pub(crate) struct Object {
    path: path,
}

// SAFETY: Paths may be used and put by any task.
unsafe impl Send for Object {}
// SAFETY: As above; what is read here needs no lock.
unsafe impl Sync for Object {}

impl Object {
    fn inode(&self) -> *mut kernel::bindings::inode {
        // SAFETY: By the type invariant.
        unsafe { (*self.path.dentry).d_inode }
    }

    /// Number of its inode.
    pub(crate) fn number(&self) -> u64 {
        // SAFETY: By the type invariant.
        unsafe { (*self.inode()).i_ino }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        // SAFETY: By the type invariant.
        u64::try_from(unsafe { (*self.inode()).i_size }).unwrap_or(0)
    }

    /// When it was made.
    pub(crate) fn time(&self) -> Time {
        // SAFETY: By the type invariant.
        unsafe { ((*self.inode()).i_mtime_sec, (*self.inode()).i_mtime_nsec) }
    }

    /// Whether it still has its name. Any task context.
    pub(crate) fn is_there(&self) -> bool {
        // SAFETY: By the type invariant.
        !unsafe { bindings::mpstore_dentry_unhashed(self.path.dentry) }
    }

    /// Opens it for reading, with the kernel's rights. May sleep.
    pub(crate) fn open(&self) -> Result<OpenFile> {
        OpenFile::open(&self.path)
    }

    /// Removes it, with the kernel's rights; `ENOENT` if somebody else was first. May sleep.
    pub(crate) fn remove(&self) -> Result {
        let _kernel = AsKernel::new();
        // SAFETY: By the type invariant.
        to_result(unsafe { kernel::bindings::mnt_want_write(self.path.mnt) })?;
        let result = self.remove_from_dir();
        // SAFETY: Taken above.
        unsafe { kernel::bindings::mnt_drop_write(self.path.mnt) };
        result
    }

    fn remove_from_dir(&self) -> Result {
        if !self.is_there() {
            return Err(ENOENT);
        }
        let child = self.path.dentry;
        // SAFETY: By the type invariant. The directory is the mount's root, of which everything
        // that is found is a child; it is not locked by us. It comes back locked.
        let victim = from_err_ptr(unsafe {
            let dir: *mut dentry = (*self.path.mnt).mnt_root;
            bindings::start_removing_dentry(dir, child)
        })
        // It went between the two.
        .map_err(|_| ENOENT)?;
        // SAFETY: `victim` is the dentry, its directory is locked, and nobody can hand out a lease
        // on a file in a filesystem that is only in memory.
        let result = to_result(unsafe {
            let dir = (*(*victim).d_parent).d_inode;
            let idmap = &raw mut kernel::bindings::nop_mnt_idmap;
            kernel::bindings::vfs_unlink(idmap, dir, victim, core::ptr::null_mut())
        });
        // SAFETY: Begun above.
        unsafe { kernel::bindings::end_dirop(victim) };
        result
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        // SAFETY: The references of the type invariant.
        unsafe { kernel::bindings::path_put(&self.path) };
    }
}

/// An open file of another filesystem. It holds mount and filesystem.
///
/// # Invariants
///
/// `file` is open for reading, and is ours.
pub(crate) struct OpenFile {
    file: NonNull<file>,
}

// SAFETY: Files may be used and put by any task.
unsafe impl Send for OpenFile {}
// SAFETY: Reading at a position of one's own takes what locks it needs.
unsafe impl Sync for OpenFile {}

impl OpenFile {
    fn open(path: &path) -> Result<Self> {
        // SAFETY: `path` is of a mount and a dentry with references. The kernel's credentials stay.
        // O_RDONLY is 0.
        let file = from_err_ptr(unsafe {
            kernel::bindings::dentry_open(path, 0, bindings::mpstore_kernel_cred())
        })?;
        // INVARIANT: Just opened.
        Ok(Self {
            file: NonNull::new(file).ok_or(EINVAL)?,
        })
    }

    /// Reads at `pos`, straight to user space: some files can be read by nobody else. Answers as
    /// `read(2)` does.
    ///
    /// # Safety
    ///
    /// In a task that reads: `buf` is an address of its own, checked as the VFS does; `pos` is only
    /// ours meanwhile.
    pub(super) unsafe fn read_user(&self, buf: *mut c_char, len: usize, pos: *mut loff_t) -> isize {
        let file = self.file.as_ptr();
        // SAFETY: By the type invariant the operations are those of an open file.
        match unsafe { (*(*file).f_op).read } {
            // SAFETY: By the contract this is how the VFS would call it.
            Some(read) => unsafe { read(file, buf, len, pos) },
            // CAST: An errno is small.
            None => EINVAL.to_errno() as isize,
        }
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        // SAFETY: By the type invariant.
        unsafe { kernel::bindings::fput(self.file.as_ptr()) };
    }
}
