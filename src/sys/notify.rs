// SPDX-License-Identifier: GPL-2.0

//! Being told when PCI devices lose their driver, and when the machine goes to sleep.
//!
//! C headers: [`include/linux/device/bus.h`](srctree/include/linux/device/bus.h),
//! [`include/linux/suspend.h`](srctree/include/linux/suspend.h)

use super::{
    hooked::Hooked,
    pci, //
};
use kernel::{
    bindings as c,
    error::to_result,
    ffi::{
        c_int,
        c_ulong,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// What is told.
pub(crate) trait Watcher: Send + Sync + 'static {
    /// The device that is watched.
    fn device(&self) -> Option<&pci::Device>;

    /// It is about to lose its driver (true), or is removed. May sleep.
    fn leaving(&self, unbound: bool);

    /// The machine is about to sleep, or is awake again. May sleep.
    fn sleeping(&self, asleep: bool);
}

/// A registered watcher; dropping it unregisters it and waits for running calls.
///
/// # Invariants
///
/// Both blocks are registered and stay where they are until they are unregistered.
pub(crate) struct Registration<T: Watcher> {
    bus: Pin<KBox<Hooked<c::notifier_block, T>>>,
    pm: Pin<KBox<Hooked<c::notifier_block, T>>>,
}

impl<T: Watcher> Registration<T> {
    /// Registers it. May sleep.
    pub(crate) fn new(target: Arc<T>) -> Result<Self> {
        let block = |call| c::notifier_block {
            notifier_call: Some(call),
            ..Default::default()
        };
        let bus = Hooked::new(block(Self::bus_callback), target.clone())?;
        let pm = Hooked::new(block(Self::pm_callback), target)?;
        // SAFETY: The block is initialised, pinned, and unregistered before it is freed.
        unsafe {
            to_result(c::bus_register_notifier(
                &raw const c::pci_bus_type,
                bus.raw(),
            ))?;
            if let Err(e) = to_result(bindings::mpstore_register_pm_notifier(pm.raw().cast())) {
                c::bus_unregister_notifier(&raw const c::pci_bus_type, bus.raw());
                return Err(e);
            }
        }
        // INVARIANT: Just registered, in pinned boxes.
        Ok(Self { bus, pm })
    }

    /// # Safety
    ///
    /// `block` is registered, in a [`Hooked`] with this `T`; `data` is a device of the bus.
    unsafe extern "C" fn bus_callback(
        block: *mut c::notifier_block,
        event: c_ulong,
        data: *mut c_void,
    ) -> c_int {
        // SAFETY: A registered block is not freed while it is called.
        let target: &T = unsafe { Hooked::target(block) };
        // CAST: Few events.
        let event = event as u32;
        let unbound = event == c::bus_notifier_event_BUS_NOTIFY_UNBIND_DRIVER;
        if (unbound || event == c::bus_notifier_event_BUS_NOTIFY_DEL_DEVICE)
            && target.device().is_some_and(|d| d.is(data.cast()))
        {
            target.leaving(unbound);
        }
        0
    }

    /// # Safety
    ///
    /// As above, but for `data`.
    unsafe extern "C" fn pm_callback(
        block: *mut c::notifier_block,
        event: c_ulong,
        _data: *mut c_void,
    ) -> c_int {
        // SAFETY: As above.
        let target: &T = unsafe { Hooked::target(block) };
        // CAST: Few events.
        match event as u32 {
            bindings::PM_SUSPEND_PREPARE
            | bindings::PM_HIBERNATION_PREPARE
            | bindings::PM_RESTORE_PREPARE => target.sleeping(true),
            bindings::PM_POST_SUSPEND
            | bindings::PM_POST_HIBERNATION
            | bindings::PM_POST_RESTORE => target.sleeping(false),
            _ => {}
        }
        0
    }
}

impl<T: Watcher> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe {
            c::bus_unregister_notifier(&raw const c::pci_bus_type, self.bus.raw());
            bindings::mpstore_unregister_pm_notifier(self.pm.raw().cast());
        }
    }
}
