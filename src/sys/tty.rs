// SPDX-License-Identifier: GPL-2.0

//! Terminals.
//!
//! C header: [`include/linux/tty.h`](srctree/include/linux/tty.h)

use kernel::prelude::*;
use mpstore_bindings as bindings;

/// A tty that a writer holds.
#[repr(transparent)]
pub(crate) struct Tty(kernel::types::Opaque<kernel::bindings::tty_struct>);

impl Tty {
    /// # Safety
    ///
    /// `ptr` is a valid `struct tty_struct`, which stays so for `'a`.
    pub(super) unsafe fn from_raw<'a>(ptr: *const kernel::bindings::tty_struct) -> &'a Self {
        // SAFETY: By the contract; `Tty` is transparent.
        unsafe { &*ptr.cast() }
    }

    /// The kernel's name of it, as in /proc/tty/drivers and `ps`: "ttyS0", "tty1", "pts0".
    pub(crate) fn name(&self) -> &[u8] {
        // SAFETY: The tty is valid by the type's invariant; its name is a NUL-terminated array that
        // never changes after creation.
        unsafe { CStr::from_char_ptr(bindings::mpstore_tty_name(self.0.get())) }.to_bytes()
    }
}
