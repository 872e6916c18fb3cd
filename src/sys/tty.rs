// SPDX-License-Identifier: GPL-2.0

//! Terminals.
//!
//! C header: [`include/linux/tty.h`](srctree/include/linux/tty.h)

use kernel::{
    prelude::*,
    types::Opaque, //
};
use mpstore_bindings as bindings;

/// What is called after a write to a tty.
pub(crate) trait TtyWrite: Send + Sync + 'static {
    /// `n_tty_write()` returned, and the driver of `tty` took `bytes`.
    ///
    /// Runs in the writer's context with preemption off: no sleeping. `bytes` is the kernel's copy
    /// of what the caller wrote, before output processing.
    fn written(&self, tty: &Tty, bytes: &[u8]);
}

/// The function that both kinds of probe look at:
/// `ssize_t n_tty_write(struct tty_struct *, struct file *, const u8 *, size_t)`.
pub(super) const FUNCTION: &CStr = c"n_tty_write";

/// The arguments of one call, kept from its entry for its return.
#[repr(C)]
pub(super) struct Call {
    tty: *const kernel::bindings::tty_struct,
    buf: *const u8,
    count: usize,
}

impl Call {
    /// `arg` reads an argument of [`FUNCTION`] by its place.
    pub(super) fn new(arg: impl Fn(u32) -> usize) -> Self {
        Self {
            tty: arg(0) as *const _,
            buf: arg(2) as *const _,
            count: arg(3),
        }
    }

    /// The call returned `ret`.
    ///
    /// # Safety
    ///
    /// The call's caller is still about to get `ret`, so that its arguments are valid.
    pub(super) unsafe fn returned<T: TtyWrite>(&self, target: &T, ret: usize) {
        // CAST: A `ssize_t`: negative is an error.
        let Ok(accepted) = usize::try_from(ret as isize) else {
            return;
        };
        if accepted == 0 || self.tty.is_null() || self.buf.is_null() {
            return;
        }
        // SAFETY: The caller of `n_tty_write()` holds a reference to the tty, and still does.
        let tty = unsafe { Tty::from_raw(self.tty) };
        // SAFETY: The tty core passes its own write buffer of `count` bytes, which it holds under
        // the tty's write lock until the call has returned.
        let bytes = unsafe { core::slice::from_raw_parts(self.buf, accepted.min(self.count)) };
        target.written(tty, bytes);
    }
}

/// A tty that a writer holds.
#[repr(transparent)]
pub(crate) struct Tty(Opaque<kernel::bindings::tty_struct>);

impl Tty {
    /// # Safety
    ///
    /// `ptr` is a valid `struct tty_struct`, which stays so for `'a`.
    unsafe fn from_raw<'a>(ptr: *const kernel::bindings::tty_struct) -> &'a Self {
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
