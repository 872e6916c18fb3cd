// SPDX-License-Identifier: GPL-2.0

//! A callback before an orderly restart, halt, power-off or kexec.
//!
//! C header: [`include/linux/reboot.h`](srctree/include/linux/reboot.h)

use super::hooked::Hooked;
use kernel::{
    bindings::notifier_block,
    error::to_result,
    ffi::c_void,
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// Who is told.
pub(crate) trait Reboot: Send + Sync + 'static {
    /// The machine goes down; devices work for as long as this does not return. Task context, may
    /// sleep, but holds everything up.
    fn reboot(&self);
}

/// A registered callback; dropping it unregisters and waits until it does not run.
///
/// # Invariants
///
/// The notifier is registered, and stays where it is until it is unregistered.
pub(crate) struct Registration<T: Reboot> {
    inner: Pin<KBox<Hooked<notifier_block, T>>>,
}

impl<T: Reboot> Registration<T> {
    /// Registers `target`, to be called after others, since what they print is worth keeping. May
    /// sleep.
    pub(crate) fn new(target: Arc<T>) -> Result<Self> {
        let raw = notifier_block {
            notifier_call: Some(Self::callback),
            priority: i32::MIN,
            ..Default::default()
        };
        let inner = Hooked::new(raw, target)?;
        // SAFETY: The notifier is initialised, pinned, and unregistered before it is freed.
        to_result(unsafe { bindings::register_reboot_notifier(inner.raw()) })?;
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner })
    }

    /// # Safety
    ///
    /// `nb` is registered, in a [`Hooked`] with this `T`.
    unsafe extern "C" fn callback(
        nb: *mut notifier_block,
        _action: usize,
        _data: *mut c_void,
    ) -> c_int {
        // SAFETY: A registered notifier is not freed while it is called.
        let target: &T = unsafe { Hooked::target(nb) };
        target.reboot();
        // NOTIFY_DONE.
        0
    }
}

impl<T: Reboot> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_reboot_notifier(self.inner.raw()) };
    }
}
