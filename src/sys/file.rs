// SPDX-License-Identifier: GPL-2.0

//! Reading a small file of another filesystem.
//!
//! C header: [`include/linux/fs.h`](srctree/include/linux/fs.h)

use kernel::{
    error::from_err_ptr,
    prelude::*,
    str::CStr, //
};
use mpstore_bindings as bindings;

/// Reads `path` from its beginning until `to` is full or the file ends. Task context, may sleep.
pub(crate) fn read(path: &CStr, to: &mut [u8]) -> Result<usize> {
    // SAFETY: `path` is NUL-terminated. O_RDONLY is 0.
    let file = from_err_ptr(unsafe { bindings::filp_open(path.as_char_ptr(), 0, 0) })?;
    let (mut pos, mut done) = (0, 0);
    let result = loop {
        let Some(rest) = to.get_mut(done..).filter(|r| !r.is_empty()) else {
            break Ok(done);
        };
        // SAFETY: `file` is open; `rest` is valid for writes of its length; `pos` is ours.
        let n =
            unsafe { bindings::kernel_read(file, rest.as_mut_ptr().cast(), rest.len(), &mut pos) };
        match usize::try_from(n) {
            Ok(0) => break Ok(done),
            Ok(n) => done += n,
            // CAST: An errno is small.
            Err(_) => break Err(Error::from_errno(n as i32)),
        }
    };
    // SAFETY: Opened above, closed once.
    unsafe { bindings::filp_close(file, core::ptr::null_mut()) };
    result
}
