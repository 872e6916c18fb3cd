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

use dispatch::Dispatcher;
use frontend::{
    console::Console,
    dmesg::Dmesg,
    pmsg::Pmsg,
    tty::Tty, //
};
use fs::PstoreFs;
use kernel::{
    prelude::*,
    sync::Arc, //
};
use params::Config;
use record::Kind;

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
/// Fields are dropped in this order: first nothing new is recorded, then nothing is shown, and the
/// last reference to the dispatcher takes the backends with it.
struct Mpstore {
    _console: Option<Console>,
    _tty: Option<Tty>,
    _dmesg: Option<Dmesg>,
    _pmsg: Option<Pmsg>,
    _fs: PstoreFs,
}

impl kernel::Module for Mpstore {
    fn init(module: &'static ThisModule) -> Result<Self> {
        let config = Config::read()?;
        let made = regions::make(&config)?;
        match made.failed {
            // Each has had its line.
            Some(e) if made.backends.is_empty() => return Err(e),
            Some(e) if config.strict => {
                pr_err!("strict=1: not loaded because a backend can't start, see above\n");
                return Err(e);
            }
            None if made.backends.is_empty() => {
                pr_err!(
                    "nothing to record to: give mem_address= and mem_size=, or mem_name= of a \
                     reserve_mem= region\n"
                );
                return Err(EINVAL);
            }
            _ => {}
        }

        let dispatcher = Arc::new(Dispatcher::new(made.backends)?, GFP_KERNEL)?;
        let kinds = dispatcher.kinds();
        let start = Starter {
            strict: config.strict,
        };

        // What can fail comes first: before `activate()` no medium is written to.
        let fs = PstoreFs::register(dispatcher.clone(), module).inspect_err(|e| {
            let why = if *e == EBUSY {
                "the in-tree pstore is in this kernel"
            } else {
                "see the errno"
            };
            pr_err!("can't register the filesystem 'pstore': {:?}, {}\n", e, why);
        })?;
        let pmsg = start.frontend(kinds.has(Kind::Pmsg), Kind::Pmsg, || {
            Pmsg::start(dispatcher.clone(), module)
        })?;
        let dmesg = start.frontend(kinds.has(Kind::Dmesg), Kind::Dmesg, || {
            Dmesg::start(dispatcher.clone(), config.kmsg_bytes)
        })?;
        let tty = start.frontend(kinds.has(Kind::Tty), Kind::Tty, || {
            Tty::start(dispatcher.clone(), config.tty_probe)
        })?;

        made.effective.publish()?;
        dispatcher.activate();

        // Last: it is written to while it registers.
        let console = start.frontend(kinds.has(Kind::Console), Kind::Console, || {
            Console::start(dispatcher.clone())
        })?;
        sys::param::go_live();
        Ok(Self {
            _console: console,
            _tty: tty,
            _dmesg: dmesg,
            _pmsg: pmsg,
            _fs: fs,
        })
    }
}

/// Starts frontends.
struct Starter {
    strict: bool,
}

impl Starter {
    /// Starts a frontend if some backend wants its records. One that can't start is one line in
    /// the log, and an error only with `strict`.
    fn frontend<T>(
        &self,
        wanted: bool,
        kind: Kind,
        start: impl FnOnce() -> Result<T>,
    ) -> Result<Option<T>> {
        if !wanted {
            return Ok(None);
        }
        match start() {
            Ok(frontend) => Ok(Some(frontend)),
            Err(e) => {
                pr_err!("{}: frontend can't start: {:?}\n", kind.as_str(), e);
                if self.strict {
                    Err(e)
                } else {
                    Ok(None)
                }
            }
        }
    }
}
