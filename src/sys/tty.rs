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
    /// Of the arguments of [`FUNCTION`].
    #[inline]
    pub(super) fn new([tty, _, buf, count]: [usize; 4]) -> Self {
        Self {
            tty: tty as *const _,
            buf: buf as *const _,
            count,
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

/// The name of a tty.
#[derive(Clone, Copy)]
pub(crate) struct TtyName<'a> {
    /// All of it.
    pub(crate) bytes: &'a [u8],
    /// Its first eight bytes, the first in the lowest place, filled up with zeros.
    pub(crate) head: u64,
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
    #[inline]
    pub(crate) fn name(&self) -> TtyName<'_> {
        // SAFETY: The tty is valid by the type's invariant.
        let name = unsafe { bindings::mpstore_tty_name(self.0.get()) };
        // SAFETY: It is an array of more than eight bytes, as is asserted where it comes from.
        let word = u64::from_le_bytes(unsafe { name.cast::<[u8; 8]>().read() });
        const ONES: u64 = 0x0101_0101_0101_0101;
        // The lowest bit that this sets is in the lowest byte that is zero.
        let zero = word.wrapping_sub(ONES) & !word & (ONES << 7);
        let bytes = match zero {
            // SAFETY: The array is NUL-terminated, and never changes after creation.
            0 => unsafe { CStr::from_char_ptr(name) }.to_bytes(),
            // SAFETY: As above; so many of the first eight bytes come before the first NUL.
            // CAST: At most 7.
            _ => unsafe {
                core::slice::from_raw_parts(name.cast(), (zero.trailing_zeros() / 8) as usize)
            },
        };
        // A bit in front of the first NUL, or none, less one: all before it, or all.
        let before = ((zero & zero.wrapping_neg()) >> 7).wrapping_sub(1);
        TtyName {
            bytes,
            head: word & before,
        }
    }
}
