// SPDX-License-Identifier: GPL-2.0

//! A sysctl, or a setting in sysfs, that no symbol is exported for, and what the caller may do.
//!
//! The file is found in a mount of `/proc` or `/sys` of our own, since that of a caller could hold
//! anything.
//!
//! C headers: [`include/linux/mount.h`](srctree/include/linux/mount.h),
//! [`include/linux/capability.h`](srctree/include/linux/capability.h),
//! [`include/linux/seq_file.h`](srctree/include/linux/seq_file.h)

use core::ptr::NonNull;
use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CStr, //
};
use mpstore_bindings as bindings;

/// Whether the caller has `CAP_SYSLOG` in the initial user namespace. Task context; a refusal is
/// audited.
pub(crate) fn capable_syslog() -> bool {
    // SAFETY: No preconditions but a task. CAST: A small number.
    unsafe { kernel::bindings::capable(kernel::bindings::CAP_SYSLOG as i32) }
}

/// The same, without a word to the audit. Task context.
pub(crate) fn has_syslog() -> bool {
    // SAFETY: No preconditions but a task.
    unsafe { bindings::mpstore_has_syslog() }
}

/// An open sysctl.
///
/// # Invariants
///
/// Both are valid, `file` is in `mount`.
pub(crate) struct Sysctl {
    file: NonNull<kernel::bindings::file>,
    mount: NonNull<kernel::bindings::vfsmount>,
}

// SAFETY: Files and mounts may be used and put by any task.
unsafe impl Send for Sysctl {}
// SAFETY: Reading at a position of one's own changes nothing of the file.
unsafe impl Sync for Sysctl {}

impl Sysctl {
    /// Opens `path`, which is below `/proc`. Task context, may sleep.
    pub(crate) fn open(path: &CStr) -> Result<Self> {
        Self::open_in(c"proc", path)
    }

    /// Opens `path`, which is below `/sys`. Task context, may sleep; it may be read in what shows a
    /// file of debugfs.
    pub(crate) fn open_sys(path: &CStr) -> Result<Self> {
        let this = Self::open_in(c"sysfs", path)?;
        // SAFETY: The file is open and of sysfs, and nobody else has it yet.
        unsafe { bindings::mpstore_sysfs_may_nest(this.file.as_ptr()) };
        Ok(this)
    }

    fn open_in(fs: &'static CStr, path: &CStr) -> Result<Self> {
        // SAFETY: The name is NUL-terminated. Neither of the two is a module, so that its type
        // needs no reference.
        let ty = unsafe { bindings::get_fs_type(fs.as_char_ptr()) };
        if ty.is_null() {
            return Err(ENODEV);
        }
        // SAFETY: `ty` is a filesystem type.
        let mount = from_err_ptr(unsafe { bindings::kern_mount(ty) })?;
        // SAFETY: The mount is valid.
        let dentry = unsafe { (*mount).mnt_root };
        let root = kernel::bindings::path { mnt: mount, dentry };
        // SAFETY: `root` is a directory that stays as long as the mount, `path` is NUL-terminated.
        // O_RDONLY is 0.
        let file = unsafe { bindings::file_open_root(&root, path.as_char_ptr(), 0, 0) };
        let file = from_err_ptr(file);
        match file {
            Ok(file) => Ok(Self {
                // INVARIANT: From `file_open_root()` and `kern_mount()`.
                file: NonNull::new(file).ok_or(EINVAL)?,
                mount: NonNull::new(mount).ok_or(EINVAL)?,
            }),
            Err(e) => {
                // SAFETY: Mounted above.
                unsafe { bindings::kern_unmount(mount) };
                Err(e)
            }
        }
    }

    /// The first bytes of its value. Task context, may sleep.
    pub(crate) fn read<'a>(&self, to: &'a mut [u8]) -> Result<&'a [u8]> {
        self.read_from(0, to)
    }

    /// What is at `pos`, nothing at the end. Task context, may sleep.
    pub(crate) fn read_from<'a>(&self, mut pos: i64, to: &'a mut [u8]) -> Result<&'a [u8]> {
        // SAFETY: `file` is open by the type invariant; `to` is valid for writes of its length.
        let n = unsafe {
            bindings::kernel_read(
                self.file.as_ptr(),
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
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; each was opened once. The file keeps the mount until it
        // is really closed.
        unsafe {
            bindings::filp_close(self.file.as_ptr(), core::ptr::null_mut());
            bindings::kern_unmount(self.mount.as_ptr());
        }
    }
}
