// SPDX-License-Identifier: GPL-2.0

//! A few shared objects that come and go while others use them without a lock, by RCU.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use super::{
    context::{
        NoPreempt,
        PreemptOff, //
    },
    inline_atomic, //
};
use kernel::{
    prelude::*,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full, //
        },
        rcu,
        Arc, //
    },
};

/// `N` places for an [`Arc`].
///
/// # Invariants
///
/// A pointer that is not null came from [`Arc::into_raw`], and its reference is given up only after
/// a grace period without it.
pub(crate) struct RcuSlots<T, const N: usize> {
    places: [Atomic<*const T>; N],
}

// SAFETY: The objects may be shared and dropped anywhere.
unsafe impl<T: Send + Sync, const N: usize> Send for RcuSlots<T, N> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync, const N: usize> Sync for RcuSlots<T, N> {}

/// What may be seen of [`RcuSlots`] while its guard lives.
pub(crate) struct View<'a, T, G, const N: usize> {
    slots: &'a RcuSlots<T, N>,
    _guard: G,
}

impl<T, const N: usize> RcuSlots<T, N> {
    /// Empty places.
    pub(crate) const fn new() -> Self {
        Self {
            places: [const { Atomic::new(core::ptr::null()) }; N],
        }
    }

    /// A look at the objects, which stay for as long as it is held. Any context in which RCU is
    /// watching, NMI included; no sleeping while it is held.
    pub(crate) fn view(&self) -> View<'_, T, rcu::Guard, N> {
        View {
            slots: self,
            _guard: rcu::read_lock(),
        }
    }

    /// The same, at less cost, for a short look: preemption is off meanwhile, which is a read-side
    /// section by itself.
    #[inline]
    pub(crate) fn glance(&self) -> View<'_, T, NoPreempt, N> {
        View {
            slots: self,
            _guard: NoPreempt::new(),
        }
    }

    /// The same where preemption is off already, which is a read-side section by itself.
    #[allow(dead_code)]
    pub(crate) fn view_preempt_off<'a>(
        &'a self,
        proof: PreemptOff<'a>,
    ) -> View<'a, T, PreemptOff<'a>, N> {
        View {
            slots: self,
            _guard: proof,
        }
    }

    /// A reference of one's own to the object at `index`. Any context, like [`Self::view`].
    pub(crate) fn get(&self, index: usize) -> Option<Arc<T>> {
        let _guard = rcu::read_lock();
        let raw = self.places.get(index)?.load(Acquire);
        if raw.is_null() {
            return None;
        }
        // SAFETY: By the type invariant `raw` is from `Arc::into_raw()`, and under the guard that
        // reference is not given up. It is only borrowed here: `ManuallyDrop` keeps it.
        let borrowed = core::mem::ManuallyDrop::new(unsafe { Arc::from_raw(raw) });
        Some(Arc::clone(&borrowed))
    }

    /// Puts an object into an empty place; gives it back if there is something.
    pub(crate) fn put(&self, index: usize, object: Arc<T>) -> Result<(), Arc<T>> {
        let Some(place) = self.places.get(index) else {
            return Err(object);
        };
        let raw = object.into_raw();
        match place.cmpxchg(core::ptr::null(), raw, Full) {
            // INVARIANT: From `into_raw()`.
            Ok(_) => Ok(()),
            // SAFETY: From `into_raw()` above, and not published.
            Err(_) => Err(unsafe { Arc::from_raw(raw) }),
        }
    }

    /// Empties a place and waits until nobody looks at its object any more. May sleep.
    pub(crate) fn take(&self, index: usize) -> Option<Arc<T>> {
        let raw = self.places.get(index)?.xchg(core::ptr::null(), Full);
        if raw.is_null() {
            return None;
        }
        // SAFETY: The module's init, exit and configuration call this, where sleeping is allowed.
        unsafe { kernel::bindings::synchronize_rcu() };
        // SAFETY: By the type invariant `raw` is from `into_raw()`; it was taken out once, and a
        // grace period has passed.
        Some(unsafe { Arc::from_raw(raw) })
    }
}

impl<T, G, const N: usize> View<'_, T, G, N> {
    /// The object at `index`.
    pub(crate) fn get(&self, index: usize) -> Option<&T> {
        // As `rcu_dereference()`: an instruction and not a call, for trace callbacks.
        let raw = inline_atomic::read_once(self.slots.places.get(index)?);
        // SAFETY: By the type invariant a pointer is null or valid, and while this view's guard is
        // held the reference behind it is not given up.
        unsafe { raw.as_ref() }
    }
}

impl<T, const N: usize> Drop for RcuSlots<T, N> {
    fn drop(&mut self) {
        for place in &self.places {
            let raw = place.xchg(core::ptr::null(), Full);
            if !raw.is_null() {
                // SAFETY: By the type invariant; with `&mut self` nobody looks at it.
                drop(unsafe { Arc::from_raw(raw) });
            }
        }
    }
}
