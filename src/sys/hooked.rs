// SPDX-License-Identifier: GPL-2.0

//! A C object that is registered somewhere and calls back, together with what it calls.

use kernel::{
    prelude::*,
    sync::Arc,
    types::Opaque, //
};

/// `R` for the C side, `T` for ours.
///
/// The C object comes first, so that the pointer a callback gets is also one to this struct.
#[repr(C)]
pub(super) struct Hooked<R, T> {
    raw: Opaque<R>,
    target: Arc<T>,
}

// SAFETY: The C object belongs to the subsystem it is registered with, which may be told from any
// thread; the target may be shared.
unsafe impl<R, T: Send + Sync> Send for Hooked<R, T> {}
// SAFETY: Nothing here gives access to the C object but by raw pointer; the target may be shared.
unsafe impl<R, T: Send + Sync> Sync for Hooked<R, T> {}

impl<R, T> Hooked<R, T> {
    /// Puts both in one place, where they stay. May sleep.
    pub(super) fn new(raw: R, target: Arc<T>) -> Result<Pin<KBox<Self>>> {
        Ok(KBox::pin(
            Self {
                raw: Opaque::new(raw),
                target,
            },
            GFP_KERNEL,
        )?)
    }

    /// The C object.
    pub(super) fn raw(&self) -> *mut R {
        self.raw.get()
    }

    /// What the callbacks of a C object are for.
    ///
    /// # Safety
    ///
    /// `raw` came from [`Self::raw`] of a `Hooked` with the same `T`, which is not freed for `'a`.
    pub(super) unsafe fn target<'a>(raw: *const R) -> &'a T {
        // SAFETY: By the contract; `raw` is the first field of a `repr(C)` struct, and `Opaque` is
        // transparent.
        unsafe { &(*raw.cast::<Self>()).target }
    }
}
