// SPDX-License-Identifier: GPL-2.0

//! A probe on the line discipline's write operation, by fprobe.
//!
//! C header: [`include/linux/fprobe.h`](srctree/include/linux/fprobe.h)

use super::tty::Tty;
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc,
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

/// What the entry handler leaves for the exit handler of the same call.
#[repr(C)]
struct Call {
    tty: *const kernel::bindings::tty_struct,
    buf: *const u8,
    count: usize,
}

#[repr(C)]
struct Inner<T> {
    probe: Opaque<bindings::fprobe>,
    target: Arc<T>,
}

/// A registered probe on `n_tty_write()`; dropping it unregisters and waits for running handlers.
///
/// # Invariants
///
/// `inner.probe` is registered, and stays where it is until it is unregistered.
pub(crate) struct TtyWriteProbe<T: TtyWrite> {
    inner: Pin<KBox<Inner<T>>>,
}

// SAFETY: Unregistering may happen on any thread; the target is `Send + Sync`.
unsafe impl<T: TtyWrite> Send for TtyWriteProbe<T> {}
// SAFETY: No method changes anything through `&self`.
unsafe impl<T: TtyWrite> Sync for TtyWriteProbe<T> {}

impl<T: TtyWrite> TtyWriteProbe<T> {
    /// Starts probing. May sleep. Fails with `EOPNOTSUPP` where the kernel has no fprobe.
    pub(crate) fn new(target: Arc<T>) -> Result<Self> {
        let raw = bindings::fprobe {
            entry_data_size: core::mem::size_of::<Call>(),
            entry_handler: Some(Self::entry_callback),
            exit_handler: Some(Self::exit_callback),
            ..Default::default()
        };
        let inner = KBox::pin(
            Inner {
                probe: Opaque::new(raw),
                target,
            },
            GFP_KERNEL,
        )?;
        let mut symbols = [c"n_tty_write".as_char_ptr()];
        // SAFETY: The probe is initialised, pinned, and unregistered before it is freed; the list
        // holds one NUL-terminated name and is not kept.
        to_result(unsafe {
            bindings::register_fprobe_syms(inner.probe.get(), symbols.as_mut_ptr(), 1)
        })?;
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner })
    }

    /// # Safety
    ///
    /// Called by fprobe at the entry of `n_tty_write()`, with room for a [`Call`] in `data`.
    unsafe extern "C" fn entry_callback(
        _probe: *mut bindings::fprobe,
        _ip: usize,
        _ret_ip: usize,
        regs: *mut kernel::bindings::ftrace_regs,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: `regs` belongs to a call of
        // `n_tty_write(struct tty_struct *, struct file *, const u8 *, size_t)`.
        let arg = |n| unsafe { bindings::mpstore_fregs_argument(regs, n) };
        let call = Call {
            tty: arg(0) as *const _,
            buf: arg(2) as *const _,
            count: arg(3),
        };
        // SAFETY: `data` has room for a `Call` by `entry_data_size`, though not its alignment.
        unsafe { data.cast::<Call>().write_unaligned(call) };
        0
    }

    /// # Safety
    ///
    /// Called by fprobe when `n_tty_write()` returns, with what the entry handler stored.
    unsafe extern "C" fn exit_callback(
        probe: *mut bindings::fprobe,
        _ip: usize,
        _ret_ip: usize,
        regs: *mut kernel::bindings::ftrace_regs,
        data: *mut c_void,
    ) {
        // SAFETY: By the contract.
        let call = unsafe { data.cast::<Call>().read_unaligned() };
        // SAFETY: `regs` holds the return value.
        let ret = unsafe { bindings::mpstore_fregs_return_value(regs) };
        // CAST: A `ssize_t`: negative is an error.
        let Ok(accepted) = usize::try_from(ret as isize) else {
            return;
        };
        if accepted == 0 || call.tty.is_null() || call.buf.is_null() {
            return;
        }
        // SAFETY: `probe` is the first field of a `repr(C)` `Inner<T>` that is registered.
        let inner = unsafe { &*probe.cast::<Inner<T>>() };
        // SAFETY: The caller of `n_tty_write()` holds a reference to the tty, and still does.
        let tty = unsafe { Tty::from_raw(call.tty) };
        // SAFETY: The tty core passes its own write buffer of `count` bytes, which it holds under
        // the tty's write lock until the call has returned.
        let bytes = unsafe { core::slice::from_raw_parts(call.buf, accepted.min(call.count)) };
        inner.target.written(tty, bytes);
    }
}

impl<T: TtyWrite> Drop for TtyWriteProbe<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_fprobe(self.inner.probe.get()) };
    }
}
