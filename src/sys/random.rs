// SPDX-License-Identifier: GPL-2.0

//! Random bytes.
//!
//! C header: [`include/linux/random.h`](srctree/include/linux/random.h)

/// Fills `to`. Any context but NMI.
pub(crate) fn fill(to: &mut [u8]) {
    // SAFETY: `to` is valid for writes of its length.
    unsafe { kernel::bindings::get_random_bytes(to.as_mut_ptr().cast(), to.len()) };
}
