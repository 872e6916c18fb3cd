// SPDX-License-Identifier: GPL-2.0

//! Stands in for the function trace frontend where the kernel has no function tracer.

use crate::dispatch::Dispatcher;
use crate::sys::errno::EOPNOTSUPP;
use kernel::{
    debugfs::Dir,
    prelude::*,
    sync::Arc, //
};

/// Nothing.
pub(crate) struct Ftrace;

impl Ftrace {
    /// Refuses to be on.
    pub(crate) fn start(
        _dispatcher: Arc<Dispatcher>,
        _debugfs: &Dir,
        _beside: bool,
        on: bool,
    ) -> Result<Self> {
        if on {
            pr_err!(
                "record_ftrace=Y: this kernel was built without CONFIG_FUNCTION_TRACER or \
                 CONFIG_DYNAMIC_FTRACE; leave it off\n"
            );
            return Err(EOPNOTSUPP);
        }
        Ok(Self)
    }
}
