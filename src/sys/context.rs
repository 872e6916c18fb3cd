// SPDX-License-Identifier: GPL-2.0

//! In which context this CPU runs, as far as a crash recorder must know.
//!
//! C headers: [`include/linux/panic.h`](srctree/include/linux/panic.h),
//! [`include/linux/preempt.h`](srctree/include/linux/preempt.h)

use kernel::types::NotThreadSafe;
use mpstore_bindings as bindings;

/// Whether this CPU is the one that panics.
///
/// The others are stopped by then, or about to be. Any context.
pub(crate) fn panicking() -> bool {
    // SAFETY: Reads one atomic variable; no preconditions.
    unsafe { bindings::panic_on_this_cpu() }
}

/// Whether this CPU handles a non-maskable interrupt. Any context.
pub(crate) fn in_nmi() -> bool {
    // SAFETY: Reads this CPU's preemption count; no preconditions.
    unsafe { bindings::mpstore_in_nmi() }
}

/// Whether a kernel is loaded that a panic jumps to. Any context.
pub(crate) fn crash_kernel_loaded() -> bool {
    // SAFETY: Reads one variable.
    unsafe { bindings::kexec_crash_loaded() != 0 }
}

/// Orders memory accesses, also as devices see them.
///
/// Any context.
pub(crate) fn full_barrier() {
    // SAFETY: No preconditions.
    unsafe { bindings::mpstore_mb() };
}

/// Makes earlier stores reach memory before later ones, write-combining buffers included.
///
/// Any context.
pub(crate) fn write_barrier() {
    #[cfg(CONFIG_X86_64)]
    // SAFETY: Orders stores and does nothing else; every 64-bit processor has it.
    unsafe {
        core::arch::asm!("sfence", options(nostack, preserves_flags))
    };
    // A call of a function elsewhere.
    #[cfg(all(not(CONFIG_X86_64), not(mpstore_before_7_3)))]
    kernel::sync::barrier::mb(kernel::sync::barrier::Write);
    #[cfg(all(not(CONFIG_X86_64), mpstore_before_7_3))]
    full_barrier();
}

/// Orders stores and loads as the other CPUs see them, a store in front of a load as well. Any
/// context.
pub(crate) fn smp_full_barrier() {
    #[cfg(not(mpstore_before_7_3))]
    kernel::sync::barrier::smp_mb(kernel::sync::barrier::Full);
    #[cfg(mpstore_before_7_3)]
    kernel::sync::barrier::smp_mb();
}

/// Orders stores as the other CPUs see them. Any context.
pub(crate) fn smp_write_barrier() {
    #[cfg(not(mpstore_before_7_3))]
    kernel::sync::barrier::smp_mb(kernel::sync::barrier::Write);
    #[cfg(mpstore_before_7_3)]
    kernel::sync::barrier::smp_wmb();
}

/// Orders loads of what other CPUs store. Any context.
pub(crate) fn smp_read_barrier() {
    #[cfg(not(mpstore_before_7_3))]
    kernel::sync::barrier::smp_mb(kernel::sync::barrier::Read);
    #[cfg(mpstore_before_7_3)]
    kernel::sync::barrier::smp_rmb();
}

#[allow(dead_code)] // A kernel without the function tracer has no use for it.
/// Evidence that this CPU can't be preempted for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct PreemptOff<'a>(core::marker::PhantomData<(&'a (), NotThreadSafe)>);

impl PreemptOff<'_> {
    /// # Safety
    ///
    /// Preemption is off for as long as the evidence lives.
    #[allow(dead_code)]
    pub(super) unsafe fn assume() -> Self {
        Self(core::marker::PhantomData)
    }
}

/// Keeps preemption off on this CPU, unseen by the function tracer.
pub(crate) struct NoPreempt(NotThreadSafe);

impl NoPreempt {
    /// Turns it off. Any context.
    #[inline]
    pub(crate) fn new() -> Self {
        // SAFETY: Undone when the value is dropped, by this task because it is not `Send`.
        unsafe { bindings::mpstore_preempt_disable() };
        Self(NotThreadSafe)
    }
}

impl Drop for NoPreempt {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: Turned off by `new()`.
        unsafe { bindings::mpstore_preempt_enable() };
    }
}

/// Lets others run if they are due. Task context.
pub(crate) fn cond_resched() {
    // SAFETY: By the contract.
    unsafe { bindings::mpstore_cond_resched() };
}

/// Keeps interrupts off on this CPU, unseen by lockdep and by the function tracer.
///
/// For trace callbacks, which may come at any moment, those in which lockdep learns of the same
/// included. Dropped in the reverse order of making.
pub(crate) struct IrqsOff {
    flags: usize,
    _not_send: NotThreadSafe,
}

impl IrqsOff {
    /// Turns them off. Any context.
    pub(crate) fn new() -> Self {
        Self {
            // SAFETY: Undone when the value is dropped, on this CPU because it is not `Send` and
            // nothing can be scheduled.
            flags: unsafe { bindings::mpstore_raw_irq_save() },
            _not_send: NotThreadSafe,
        }
    }
}

impl Drop for IrqsOff {
    fn drop(&mut self) {
        // SAFETY: The flags were saved on this CPU.
        unsafe { bindings::mpstore_raw_irq_restore(self.flags) };
    }
}
