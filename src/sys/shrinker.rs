// SPDX-License-Identifier: GPL-2.0

//! Memory that can be made again, given back when it is short.
//!
//! C header: [`include/linux/shrinker.h`](srctree/include/linux/shrinker.h)

use core::ptr::NonNull;
use kernel::{
    ffi::c_ulong,
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

const PAGE_SIZE: usize = bindings::MPSTORE_PAGE_SIZE as usize;

/// `SHRINK_STOP`: nothing can be had now.
const SHRINK_STOP: c_ulong = c_ulong::MAX;

/// How many bytes can be had without swapping, by the kernel's own estimate. Task context.
pub(crate) fn available() -> usize {
    // SAFETY: Adds up counters.
    let pages = unsafe { bindings::si_mem_available() };
    usize::try_from(pages)
        .unwrap_or(0)
        .saturating_mul(PAGE_SIZE)
}

/// What has such memory.
///
/// Both are called in whatever task wants memory, which may hold any lock: what can't be taken at
/// once is not waited for, unless nobody asks for memory while he holds it.
pub(crate) trait Shrink: Send + Sync + 'static {
    /// How many bytes it has.
    fn held(&self) -> usize;

    /// Gives back so many bytes or more, if there are as many, and answers how many; [`None`] if
    /// somebody is in the way.
    fn give_back(&self, bytes: usize) -> Option<usize>;
}

/// A registered shrinker; dropping it unregisters it and waits for running calls.
///
/// # Invariants
///
/// `raw` is registered, and its private data is `_target`.
pub(crate) struct Registration<T: Shrink> {
    raw: NonNull<bindings::shrinker>,
    _target: Arc<T>,
}

// SAFETY: A shrinker may be freed by any task; the target may be shared.
unsafe impl<T: Shrink> Send for Registration<T> {}
// SAFETY: Nothing is done by reference.
unsafe impl<T: Shrink> Sync for Registration<T> {}

impl<T: Shrink> Registration<T> {
    /// May sleep.
    pub(crate) fn new(target: Arc<T>) -> Result<Self> {
        // SAFETY: The format has no arguments.
        let raw = unsafe { bindings::shrinker_alloc(0, c"mpstore".as_char_ptr()) };
        let raw = NonNull::new(raw).ok_or(ENOMEM)?;
        let ptr: *const T = &*target;
        // SAFETY: Just allocated and not registered, so that nobody else looks at it. The target stays
        // as long as the registration.
        unsafe {
            let raw = raw.as_ptr();
            (*raw).count_objects = Some(Self::count_callback);
            (*raw).scan_objects = Some(Self::scan_callback);
            (*raw).seeks = bindings::MPSTORE_DEFAULT_SEEKS;
            (*raw).private_data = ptr.cast_mut().cast();
            bindings::shrinker_register(raw);
        }
        // INVARIANT: As just done.
        Ok(Self {
            raw,
            _target: target,
        })
    }

    /// # Safety
    ///
    /// `raw` is registered, by a `Registration` of this `T`.
    unsafe extern "C" fn count_callback(
        raw: *mut bindings::shrinker,
        _control: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: By the contract; the target outlives the registration.
        let target = unsafe { &*(*raw).private_data.cast::<T>() };
        target.held().div_ceil(PAGE_SIZE)
    }

    /// # Safety
    ///
    /// As for [`Self::count_callback`]; `control` is valid.
    unsafe extern "C" fn scan_callback(
        raw: *mut bindings::shrinker,
        control: *mut bindings::shrink_control,
    ) -> c_ulong {
        // SAFETY: As above.
        let target = unsafe { &*(*raw).private_data.cast::<T>() };
        // SAFETY: By the contract.
        let pages = unsafe { (*control).nr_to_scan };
        target
            .give_back(pages.saturating_mul(PAGE_SIZE))
            .map_or(SHRINK_STOP, |bytes| bytes.div_ceil(PAGE_SIZE))
    }
}

impl<T: Shrink> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::shrinker_free(self.raw.as_ptr()) };
    }
}
