// SPDX-License-Identifier: GPL-2.0

//! mpstore: keeps the last words of a machine in every place that can hold them.
//!
//! See `Documentation/architecture.md`. This file holds the list of modules and the order in which
//! things start and stop, nothing else.

#![crate_name = "mpstore"]
#![recursion_limit = "256"]

#[forbid(unsafe_code)]
mod backend;
#[forbid(unsafe_code)]
mod compress;
#[cfg(CONFIG_CONFIGFS_FS)]
#[forbid(unsafe_code)]
mod configfs;
#[forbid(unsafe_code)]
mod control;
#[forbid(unsafe_code)]
mod dispatch;
#[forbid(unsafe_code)]
mod frontend;
#[forbid(unsafe_code)]
mod fs;
#[forbid(unsafe_code)]
mod intree;
// Its table expands to linker sections, which the lint counts as unsafe code.
mod params;
#[forbid(unsafe_code)]
mod platform;
#[forbid(unsafe_code)]
mod record;
#[forbid(unsafe_code)]
mod regions;
#[forbid(unsafe_code)]
mod shared;
#[forbid(unsafe_code)]
mod status;
mod sys;
#[cfg(all(CONFIG_BLOCK, CONFIG_PCI))]
#[forbid(unsafe_code)]
mod takeover;
#[forbid(unsafe_code)]
mod trace;
#[forbid(unsafe_code)]
mod vmcore;

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
///
/// Dropped in the order of the fields: first nothing can be changed any more, then all that runs.
struct Mpstore {
    #[cfg(CONFIG_CONFIGFS_FS)]
    _configfs: configfs::Configfs,
    _platform: platform::Platform,
    _status: status::Status,
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
            None if made.entries.is_empty() => regions::none_given(&config)?,
            _ => {}
        }

        // What can fail comes first: before the backends begin no medium is written to.
        let control = Control::new(&config, dispatcher.clone(), module)?;
        let status = status::Status::new(dispatcher, control.debugfs())?;
        #[cfg(CONFIG_CONFIGFS_FS)]
        let configfs = configfs::Configfs::register(control.clone())?;
        control.start(&made.entries, || made.effective.publish())?;
        let platform = platform::Platform::register(control.clone(), module)?;
        sys::param::go_live();
        control.open();
        Ok(Self {
            #[cfg(CONFIG_CONFIGFS_FS)]
            _configfs: configfs,
            _platform: platform,
            _status: status,
            _control: control,
        })
    }
}
