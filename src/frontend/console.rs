// SPDX-License-Identifier: GPL-2.0

//! Console frontend: every line that the kernel prints to its consoles, as printed.
//!
//! A legacy console and not an nbcon one on purpose: it is written by the CPU that prints, before
//! `printk()` returns, so that a line is kept although no thread ever runs again.

use crate::{
    backend::Context,
    dispatch::Dispatcher,
    record::Kind,
    sys::console, //
};
use kernel::{
    prelude::*,
    sync::Arc, //
};

impl console::Console for Dispatcher {
    fn write(&self, text: &[u8]) {
        // A failure is counted by the dispatcher; there is nobody here to tell.
        let _ = self.append(Kind::Console, &[text], Context::Crash);
    }
}

/// The frontend.
pub(crate) struct Console {
    _registration: console::Registration<Dispatcher>,
}

impl Console {
    /// Registers the console, which first gets what is in the log. May sleep.
    pub(crate) fn start(dispatcher: Arc<Dispatcher>) -> Result<Self> {
        // The kernel's pstore selftest looks for a console of this name.
        Ok(Self {
            _registration: console::Registration::new(dispatcher, c"pstore")?,
        })
    }
}
