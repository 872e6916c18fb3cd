// SPDX-License-Identifier: GPL-2.0

//! A job that any context may ask for, NMI included, and that runs some time later in a task.
//!
//! C headers: [`include/linux/irq_work.h`](srctree/include/linux/irq_work.h),
//! [`include/linux/workqueue.h`](srctree/include/linux/workqueue.h)

use core::mem::offset_of;
use kernel::{
    prelude::*,
    sync::Arc,
    types::Opaque, //
};
use mpstore_bindings as bindings;

use kernel::bindings::{
    delayed_work,
    irq_work,
    work_struct, //
};

/// What a [`Bell`] calls.
pub(crate) trait Job: Send + Sync + 'static {
    /// How many milliseconds after a ring, or after the last run, it is to run; [`None`] is not at
    /// all. Hard interrupt or task.
    fn delay(&self) -> Option<u32>;

    /// Does it. May sleep.
    fn run(&self);
}

#[repr(C)]
struct Inner {
    irq: Opaque<irq_work>,
    work: Opaque<delayed_work>,
    job: Arc<dyn Job>,
}

/// A job that waits to be asked for. Dropping it waits until the job does not run; nobody may ring
/// any more then.
///
/// # Invariants
///
/// The C objects are initialised and stay where they are.
pub(crate) struct Bell(Pin<KBox<Inner>>);

// SAFETY: The C objects may be used from anywhere; a job may be shared.
unsafe impl Send for Bell {}
// SAFETY: As above.
unsafe impl Sync for Bell {}

impl Bell {
    /// Nothing runs before the first ring. May sleep.
    pub(crate) fn new(job: Arc<dyn Job>) -> Result<Self> {
        let inner = KBox::pin(
            Inner {
                irq: Opaque::zeroed(),
                work: Opaque::zeroed(),
                job,
            },
            GFP_KERNEL,
        )?;
        // SAFETY: Both are valid for writes, pinned, and not used by anybody yet.
        unsafe {
            bindings::mpstore_init_irq_work(inner.irq.get(), Some(Self::irq_callback));
            bindings::mpstore_init_delayed_work(inner.work.get(), Some(Self::work_callback));
        }
        // INVARIANT: Just initialised, in a pinned box.
        Ok(Self(inner))
    }

    /// Asks for the job, as late as its delay says; one that is due already is put off. Any
    /// context, NMI included.
    pub(crate) fn ring(&self) {
        // SAFETY: By the type invariant.
        unsafe { bindings::irq_work_queue(self.0.irq.get()) };
    }

    fn arm(inner: &Inner) {
        if let Some(ms) = inner.job.delay() {
            // SAFETY: By the type invariant of `Bell` the work is initialised.
            unsafe { bindings::mpstore_mod_delayed_work(inner.work.get(), ms) };
        }
    }

    /// # Safety
    ///
    /// `irq` is that of an [`Inner`] which is not freed meanwhile.
    unsafe extern "C" fn irq_callback(irq: *mut irq_work) {
        // SAFETY: By the contract; it is the first field of a `repr(C)` struct, and `Opaque` is
        // transparent.
        Self::arm(unsafe { &*irq.cast::<Inner>() });
    }

    /// # Safety
    ///
    /// `work` is that of an [`Inner`] which is not freed meanwhile.
    unsafe extern "C" fn work_callback(work: *mut work_struct) {
        // SAFETY: By the contract; the work is the first field of a `struct delayed_work`, and
        // that lies so far into an `Inner`.
        let inner = unsafe {
            &*work
                .cast::<u8>()
                .sub(offset_of!(Inner, work) + offset_of!(delayed_work, work))
                .cast::<Inner>()
        };
        inner.job.run();
        Self::arm(inner);
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; dropping happens in a task. First what starts the work,
        // then the work, which can't start itself while it is cancelled.
        unsafe {
            bindings::irq_work_sync(self.0.irq.get());
            kernel::bindings::cancel_delayed_work_sync(self.0.work.get());
        }
    }
}
