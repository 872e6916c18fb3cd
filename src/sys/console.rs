// SPDX-License-Identifier: GPL-2.0

//! Consoles: callbacks that get every line the kernel prints.
//!
//! C header: [`include/linux/console.h`](srctree/include/linux/console.h)

use kernel::{
    ffi::{
        c_char,
        c_uint, //
    },
    prelude::*,
    sync::Arc,
    types::Opaque, //
};
use mpstore_bindings as bindings;

/// What a console does with text.
pub(crate) trait Console: Send + Sync + 'static {
    /// Text for the console, whole lines as a rule.
    ///
    /// Runs under the console lock with interrupts off, in a panic after the lock was broken: no
    /// sleeping, no allocation, no lock that another CPU could hold for ever, no printing.
    fn write(&self, text: &[u8]);
}

#[repr(C)]
struct Inner<T> {
    console: Opaque<bindings::console>,
    target: Arc<T>,
}

/// A registered console; dropping it unregisters and waits for the last line.
///
/// # Invariants
///
/// `inner.console` is registered, and stays where it is until it is unregistered.
pub(crate) struct Registration<T: Console> {
    inner: Pin<KBox<Inner<T>>>,
}

// SAFETY: Unregistering may happen on any thread; the target is `Send + Sync`.
unsafe impl<T: Console> Send for Registration<T> {}
// SAFETY: No method takes `&self`.
unsafe impl<T: Console> Sync for Registration<T> {}

impl<T: Console> Registration<T> {
    /// Registers a console called `name` (at most 15 bytes), which first gets what is in the log
    /// already. May sleep, and calls [`Console::write`].
    pub(crate) fn new(target: Arc<T>, name: &'static CStr) -> Result<Self> {
        let mut raw = bindings::console {
            write: Some(Self::write_callback),
            // CAST: The flags are small; the field is a C `short`.
            flags: (bindings::cons_flags_CON_PRINTBUFFER
                | bindings::cons_flags_CON_ENABLED
                | bindings::cons_flags_CON_ANYTIME) as i16,
            index: -1,
            ..Default::default()
        };
        let room = raw.name.len() - 1;
        for (to, from) in raw.name.iter_mut().take(room).zip(name.to_bytes()) {
            // CAST: `c_char` is a byte either way.
            *to = *from as c_char;
        }
        let inner = KBox::pin(
            Inner {
                console: Opaque::new(raw),
                target,
            },
            GFP_KERNEL,
        )?;
        let raw = inner.console.get();
        // SAFETY: The box is not moved out of, `data` is only read by the callback.
        unsafe { (*raw).data = core::ptr::from_ref(&*inner).cast_mut().cast() };
        // SAFETY: The console is initialised, pinned, and unregistered before it is freed. The
        // binding's `struct console` is the C one.
        unsafe { bindings::register_console(raw) };
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner })
    }

    /// # Safety
    ///
    /// `con` is the console of a registered [`Inner<T>`], and `s` is valid for reads of `count`
    /// bytes.
    unsafe extern "C" fn write_callback(
        con: *mut bindings::console,
        s: *const c_char,
        count: c_uint,
    ) {
        // SAFETY: By the contract, `data` was set to the `Inner<T>` that holds `con`, which is not
        // freed before the console is unregistered.
        let inner = unsafe { &*(*con).data.cast::<Inner<T>>() };
        // SAFETY: By the contract of this function.
        let text = unsafe { core::slice::from_raw_parts(s.cast::<u8>(), count as usize) };
        inner.target.write(text);
    }
}

impl<T: Console> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_console(self.inner.console.get()) };
    }
}
