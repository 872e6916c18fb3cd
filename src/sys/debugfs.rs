// SPDX-License-Identifier: GPL-2.0

//! What `kernel::debugfs` lacks.
//!
//! C header: [`include/linux/debugfs.h`](srctree/include/linux/debugfs.h)

use kernel::str::CStr;
#[cfg(CONFIG_DEBUG_FS)]
use kernel::str::CStrExt as _;

/// Whether debugfs has something of that name at its root already. Making it again would be
/// reported as an error in the kernel log. May sleep.
#[cfg(CONFIG_DEBUG_FS)]
pub(crate) fn exists(name: &CStr) -> bool {
    // SAFETY: `name` is NUL-terminated; without a parent the root is meant.
    let dentry =
        unsafe { kernel::bindings::debugfs_lookup(name.as_char_ptr(), core::ptr::null_mut()) };
    if dentry.is_null() {
        return false;
    }
    // SAFETY: The lookup gave us a reference.
    unsafe { kernel::bindings::dput(dentry) };
    true
}

/// There is no debugfs.
#[cfg(not(CONFIG_DEBUG_FS))]
pub(crate) fn exists(_name: &CStr) -> bool {
    true
}
