// SPDX-License-Identifier: GPL-2.0

//! A probe on the n_tty line discipline's write operation, by kretprobe, for kernels
//! without fprobe.
//!
//! C header: [`include/linux/kprobes.h`](srctree/include/linux/kprobes.h)

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
    ffi::c_int,
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// How many writers can be inside the function at once; a sleeping one counts. A further one is
/// not recorded, and counted by the kernel.
const ACTIVE_MAX: i32 = 256;

/// A registered probe; dropping it unregisters and waits for running handlers.
///
/// # Invariants
///
/// The probe is registered, and stays where it is until it is unregistered.
pub(crate) struct Kretprobe<T: TtyWrite> {
    inner: Pin<KBox<Hooked<bindings::kretprobe, T>>>,
}

impl<T: TtyWrite> Kretprobe<T> {
    /// Starts probing. May sleep.
    pub(crate) fn new(target: Arc<T>) -> Result<Self> {
        let mut raw = bindings::kretprobe {
            handler: Some(Self::return_callback),
            entry_handler: Some(Self::entry_callback),
            maxactive: ACTIVE_MAX,
            data_size: core::mem::size_of::<Call>(),
            ..pin_init::zeroed()
        };
        raw.kp.symbol_name = FUNCTION.as_char_ptr();
        let inner = Hooked::new(raw, target)?;
        // SAFETY: The probe is initialised, pinned, and unregistered before it is freed.
        to_result(unsafe { bindings::register_kretprobe(inner.raw()) })?;
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner })
    }

    /// # Safety
    ///
    /// Called by kprobes at the entry of `n_tty_write()`, with room for a [`Call`] behind `ri`.
    unsafe extern "C" fn entry_callback(
        ri: *mut bindings::kretprobe_instance,
        regs: *mut kernel::bindings::pt_regs,
    ) -> c_int {
        let mut args = [0; 4];
        // SAFETY: `regs` belongs to a call of `FUNCTION`, which has four arguments; there is room for
        // as many.
        unsafe { bindings::mpstore_regs_arguments(regs, args.as_mut_ptr()) };
        let call = Call::new(args);
        // SAFETY: There is room for a `Call` by `data_size`, though not its alignment.
        unsafe {
            bindings::mpstore_kretprobe_data(ri)
                .cast::<Call>()
                .write_unaligned(call)
        };
        0
    }

    /// # Safety
    ///
    /// Called by kprobes when `n_tty_write()` returns, with what the entry handler stored.
    unsafe extern "C" fn return_callback(
        ri: *mut bindings::kretprobe_instance,
        regs: *mut kernel::bindings::pt_regs,
    ) -> c_int {
        // SAFETY: By the contract.
        let probe = unsafe { bindings::mpstore_kretprobe_of(ri) };
        if probe.is_null() {
            // It was unregistered while the writer slept.
            return 0;
        }
        // SAFETY: By the contract.
        let call = unsafe {
            bindings::mpstore_kretprobe_data(ri)
                .cast::<Call>()
                .read_unaligned()
        };
        // SAFETY: `regs` holds the return value.
        let ret = unsafe { bindings::mpstore_regs_return_value(regs) };
        // SAFETY: The probe is registered, in a `Hooked` with this `T`.
        let target: &T = unsafe { Hooked::target(probe) };
        // SAFETY: The call is just returning.
        unsafe { call.returned(target, ret) };
        0
    }
}

impl<T: TtyWrite> Drop for Kretprobe<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_kretprobe(self.inner.raw()) };
    }
}
