// SPDX-License-Identifier: GPL-2.0

//! mpstore: keeps the last words of a machine in every place that can hold them.
//!
//! See `Documentation/architecture.md`. This file holds the list of modules and the order in which
//! things start and stop, nothing else.

#![crate_name = "mpstore"]
#![recursion_limit = "256"]
// Users of what is new here come in the next commits.
#![allow(dead_code)]

#[forbid(unsafe_code)]
mod backend;
#[forbid(unsafe_code)]
mod control;
#[forbid(unsafe_code)]
mod dispatch;
#[forbid(unsafe_code)]
mod frontend;
#[forbid(unsafe_code)]
mod fs;
// Its table expands to linker sections, which the lint counts as unsafe code.
mod params;
#[forbid(unsafe_code)]
mod record;
#[forbid(unsafe_code)]
mod regions;
#[forbid(unsafe_code)]
mod shared;
mod sys;

use control::Control;
use dispatch::Dispatcher;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use params::Config;

module! {
    type: Mpstore,
    name: "mpstore",
    authors: ["The mpstore developers"],
    description: "Crash recorder with several backends at once",
    license: "GPL",
    alias: ["fs-pstore"],
}

/// The loaded module.
struct Mpstore {
    _control: Arc<Control>,
}

impl kernel::Module for Mpstore {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let config = Config::read()?;
        let dispatcher = Arc::new(Dispatcher::new(), GFP_KERNEL)?;
        let made = regions::make(&config, &dispatcher)?;
        match made.failed {
            // Each has had its line.
            Some(e) if made.entries.is_empty() => return Err(e),
            Some(e) if config.strict => {
                pr_err!("strict=1: not loaded because a backend can't start, see above\n");
                return Err(e);
            }
            None if made.entries.is_empty() => {
                pr_err!(
                    "nothing to record to: give mem_address= and mem_size=, or mem_name= of a \
                     reserve_mem= region\n"
                );
                return Err(EINVAL);
            }
            _ => {}
        }

        // What can fail comes first: before the backends begin no medium is written to.
        let control = Control::new(&config, dispatcher, module)?;
        control.start(&made.entries, || made.effective.publish())?;
        sys::param::go_live();
        Ok(Self { _control: control })
    }
}
