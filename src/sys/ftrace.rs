// SPDX-License-Identifier: GPL-2.0

//! A callback for every function that the kernel enters.
//!
//! Rust code has no `__fentry__` calls, so nothing in this module but the C helpers could be traced
//! itself, and those that are called from a callback are `notrace`. The functions of vmlinux are
//! traced, the kernel crate's helpers included: calling one from a callback is safe, since ftrace
//! refuses to recurse, but costs a call of ftrace.
//!
//! C header: [`include/linux/ftrace.h`](srctree/include/linux/ftrace.h)

use super::{
    context::PreemptOff,
    hooked::Hooked, //
};
use kernel::{
    bindings::{
        ftrace_ops,
        ftrace_regs, //
    },
    error::to_result,
    ffi::c_ulong,
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// Whoever wants to know what is called.
pub(crate) trait Tracer: Send + Sync + 'static {
    /// The kernel entered the function at `ip`, called from `parent_ip`, on the CPU `cpu`.
    ///
    /// In any context, NMI included. Preemption is off and RCU is watching, so this is a read-side
    /// section by itself. Not called again by what it calls, nor while the kernel oopses or panics.
    fn called(&self, ip: usize, parent_ip: usize, cpu: u32, here: PreemptOff<'_>);
}

/// A registered `struct ftrace_ops`; dropping it unregisters and waits for running callbacks.
///
/// Honours the global filter (`set_ftrace_filter` of tracefs).
///
/// # Invariants
///
/// The ops are registered, and stay where they are until they are unregistered.
pub(crate) struct FtraceOps<T: Tracer> {
    inner: Option<Pin<KBox<Hooked<ftrace_ops, T>>>>,
}

impl<T: Tracer> FtraceOps<T> {
    /// Starts tracing. May sleep.
    pub(crate) fn new(target: Arc<T>) -> Result<Self> {
        let raw = ftrace_ops {
            func: Some(Self::callback),
            // Each of the two makes ftrace go through a function of its own that turns preemption
            // off and refuses recursion; the second keeps away calls from where RCU sleeps.
            flags: (bindings::FTRACE_OPS_FL_RECURSION | bindings::FTRACE_OPS_FL_RCU) as c_ulong,
            ..Default::default()
        };
        let inner = Hooked::new(raw, target)?;
        // SAFETY: The ops are zeroed but for what was set, pinned, not registered yet, and
        // unregistered before they are freed.
        to_result(unsafe {
            bindings::ftrace_ops_set_global_filter(inner.raw());
            kernel::bindings::register_ftrace_function(inner.raw())
        })?;
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner: Some(inner) })
    }

    /// # Safety
    ///
    /// Called by ftrace with ops that were registered by [`Self::new`].
    unsafe extern "C" fn callback(
        ip: c_ulong,
        parent_ip: c_ulong,
        op: *mut ftrace_ops,
        _regs: *mut ftrace_regs,
    ) {
        // SAFETY: An `int` that is always there; it may change at any time, hence volatile.
        if unsafe { (&raw const bindings::oops_in_progress).read_volatile() } != 0 {
            return;
        }
        // SAFETY: No preconditions; preemption is off by the flags of the ops.
        let cpu = unsafe { bindings::mpstore_processor_id() };
        // SAFETY: The ops are registered, in a `Hooked` with this `T`.
        let target: &T = unsafe { Hooked::target(op) };
        // SAFETY: Preemption is off by the flags of the ops until the callback returns.
        let here = unsafe { PreemptOff::assume() };
        target.called(ip, parent_ip, cpu, here);
    }
}

impl<T: Tracer> Drop for FtraceOps<T> {
    fn drop(&mut self) {
        let Some(inner) = self.inner.take() else {
            return;
        };
        // SAFETY: Registered by the type invariant. Waits until no CPU is in the callback.
        let result = unsafe { kernel::bindings::unregister_ftrace_function(inner.raw()) };
        if let Err(e) = to_result(result) {
            // ftrace has shut itself down after an error of its own (it has warned) and no longer
            // says who calls what: what the callback uses must stay.
            pr_emerg!("can't unregister from ftrace: {:?}\n", e);
            core::mem::forget(inner);
        }
    }
}
