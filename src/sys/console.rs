// SPDX-License-Identifier: GPL-2.0

//! Consoles: callbacks that get every line the kernel prints.
//!
//! C header: [`include/linux/console.h`](srctree/include/linux/console.h)

use super::hooked::Hooked;
use kernel::{
    ffi::{
        c_char,
        c_uint, //
    },
    prelude::*,
    sync::Arc, //
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

/// A registered console; dropping it unregisters and waits for the last line.
///
/// # Invariants
///
/// The console is registered, and stays where it is until it is unregistered.
pub(crate) struct Registration<T: Console> {
    inner: Pin<KBox<Hooked<bindings::console, T>>>,
}

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
        let inner = Hooked::new(raw, target)?;
        // SAFETY: The console is initialised, pinned, and unregistered before it is freed. The
        // binding's `struct console` is the C one.
        unsafe { bindings::register_console(inner.raw()) };
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner })
    }

    /// # Safety
    ///
    /// `con` is registered, in a [`Hooked`] with this `T`, and `s` is valid for reads of `count`
    /// bytes.
    unsafe extern "C" fn write_callback(
        con: *mut bindings::console,
        s: *const c_char,
        count: c_uint,
    ) {
        // SAFETY: A registered console is not freed while it is written.
        let target: &T = unsafe { Hooked::target(con) };
        // SAFETY: By the contract of this function.
        let text = unsafe { core::slice::from_raw_parts(s.cast::<u8>(), count as usize) };
        target.write(text);
    }
}

impl<T: Console> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { bindings::unregister_console(self.inner.raw()) };
    }
}
