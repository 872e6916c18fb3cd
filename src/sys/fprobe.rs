// SPDX-License-Identifier: GPL-2.0

//! A probe on the n_tty line discipline's write operation, by fprobe.
//!
//! C header: [`include/linux/fprobe.h`](srctree/include/linux/fprobe.h)

use super::{
    hooked::Hooked,
    tty::{
        Call,
        TtyWrite,
        FUNCTION, //
    }, //
};
use kernel::{
    error::to_result,
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// A registered probe on `n_tty_write()`; dropping it unregisters and waits for running handlers.
///
/// # Invariants
///
/// The probe is registered, and stays where it is until it is unregistered.
pub(crate) struct Fprobe<T: TtyWrite> {
    inner: Pin<KBox<Hooked<bindings::fprobe, T>>>,
}

impl<T: TtyWrite> Fprobe<T> {
    /// Starts probing. May sleep. Fails with `EOPNOTSUPP` where the kernel has no fprobe.
    pub(crate) fn new(target: Arc<T>) -> Result<Self> {
        let raw = bindings::fprobe {
            entry_data_size: core::mem::size_of::<Call>(),
            entry_handler: Some(Self::entry_callback),
            exit_handler: Some(Self::exit_callback),
            ..Default::default()
        };
        let inner = Hooked::new(raw, target)?;
        let mut symbols = [FUNCTION.as_char_ptr()];
        // SAFETY: The probe is initialised, pinned, and unregistered before it is freed; the list
        // holds one NUL-terminated name and is not kept.
        to_result(unsafe { bindings::register_fprobe_syms(inner.raw(), symbols.as_mut_ptr(), 1) })?;
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
        let mut args = [0; 4];
        // SAFETY: `regs` belongs to a call of `FUNCTION`, which has four arguments; there is room for
        // as many.
        unsafe { bindings::mpstore_fregs_arguments(regs, args.as_mut_ptr()) };
        let call = Call::new(args);
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
        // SAFETY: The probe is registered, in a `Hooked` with this `T`.
        let target: &T = unsafe { Hooked::target(probe) };
        // SAFETY: The call is just returning.
        unsafe { call.returned(target, ret) };
    }
}

impl<T: TtyWrite> Drop for Fprobe<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_fprobe(self.inner.raw()) };
    }
}
