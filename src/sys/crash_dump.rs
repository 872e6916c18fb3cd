// SPDX-License-Identifier: GPL-2.0

//! The crash kernel, and what it adds to `/proc/vmcore`.
//!
//! C headers: [`include/linux/crash_dump.h`](srctree/include/linux/crash_dump.h),
//! [`include/linux/namei.h`](srctree/include/linux/namei.h)

use super::errno::EOPNOTSUPP;
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int,
        c_void, //
    },
    prelude::*,
    str::CStr, //
};
use mpstore_bindings as bindings;

/// Whether this kernel was booted to save the memory of one that crashed. Any context.
pub(crate) fn in_crash_kernel() -> bool {
    // SAFETY: Reads a variable that is set at boot.
    unsafe { bindings::mpstore_is_kdump_kernel() }
}

/// Whether there is something of that name. May sleep.
fn exists(path: &CStr) -> bool {
    let mut found = kernel::bindings::path::default();
    // SAFETY: `path` is NUL-terminated, `found` is ours.
    if unsafe { bindings::kern_path(path.as_char_ptr(), 0, &mut found) } != 0 {
        return false;
    }
    // SAFETY: The lookup gave us a reference.
    unsafe { bindings::path_put(&found) };
    true
}

/// A dump that is being added.
#[repr(C)]
struct Request<'a> {
    data: bindings::vmcoredd_data,
    fill: &'a mut dyn FnMut(&mut [u8]) -> Result,
}

/// # Safety
///
/// `data` is the first field of a [`Request`] that nobody else uses, `to` has `data.size` bytes.
unsafe extern "C" fn collect(data: *mut bindings::vmcoredd_data, to: *mut c_void) -> c_int {
    from_result(|| {
        // SAFETY: By the contract of this function; the first field is where the struct is.
        let request = unsafe { &mut *data.cast::<Request<'_>>() };
        // CAST: Widens.
        let len = request.data.size as usize;
        // SAFETY: By the contract of this function. The kernel made the buffer for this and
        // cleared it.
        (request.fill)(unsafe { core::slice::from_raw_parts_mut(to.cast::<u8>(), len) })?;
        Ok(0)
    })
}

/// Adds `size` bytes called `name` to `/proc/vmcore`, filled in by `fill`. What is longer of the
/// name than 43 bytes is cut off. May sleep.
///
/// Fails with `ENODEV` in a kernel that is no crash kernel, `ENOENT` if there is no vmcore,
/// `EOPNOTSUPP` if this kernel can't do it, `EINVAL` if it was told not to, `EBUSY` while the vmcore
/// is open, `ENOMEM`.
pub(crate) fn add_device_dump(
    name: &CStr,
    size: u32,
    fill: &mut dyn FnMut(&mut [u8]) -> Result,
) -> Result {
    // The kernel looks at nothing before it writes to the vmcore's headers, if there are any.
    if !in_crash_kernel() {
        return Err(ENODEV);
    }
    if !cfg!(CONFIG_PROC_VMCORE_DEVICE_DUMP) {
        return Err(EOPNOTSUPP);
    }
    if !exists(c"/proc/vmcore") {
        return Err(ENOENT);
    }
    let mut request = Request {
        data: bindings::vmcoredd_data {
            size,
            vmcoredd_callback: Some(collect),
            ..Default::default()
        },
        fill,
    };
    let room = request.data.dump_name.len() - 1;
    for (to, from) in request
        .data
        .dump_name
        .iter_mut()
        .zip(name.to_bytes())
        .take(room)
    {
        // CAST: A byte, whatever its sign.
        *to = *from as c_char;
    }
    // SAFETY: This is a crash kernel with a vmcore. The request stays until the call returns, which
    // calls back at most once and before that; it is reached through the pointer to the whole.
    to_result(unsafe {
        bindings::mpstore_vmcore_add_device_dump(
            (&raw mut request).cast::<bindings::vmcoredd_data>(),
        )
    })
}
