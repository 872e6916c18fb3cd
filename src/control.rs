// SPDX-License-Identifier: GPL-2.0

//! What changes while the module is loaded: backends come and go, and frontends start when the
//! first backend wants them.
//!
//! Lock order: the mutex here, then that of the filesystem's catalog. It is never taken on the way
//! of a record.

use crate::{
    backend::Backend,
    dispatch::{
        Dispatcher,
        Entry, //
    },
    frontend::{
        console::Console,
        dmesg::Dmesg,
        ftrace::Ftrace,
        pmsg::Pmsg,
        tty::Tty, //
    },
    fs::PstoreFs,
    params::Config,
    record::{
        Kind,
        Kinds, //
    },
};
use kernel::{
    debugfs::Dir,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        Arc,
        Mutex, //
    }, //
};

/// Settings of the frontends, fixed at load.
pub(crate) struct Settings {
    /// See the parameter `compress`.
    compress: Option<mpstore_format::dump::Method>,
    /// See the parameter `tty_probe`.
    tty_probe: crate::params::ProbeKind,
    /// See the parameter `pmsg_device`.
    pmsg_device: Option<CString>,
    /// See the parameter `record_ftrace`.
    record_ftrace: bool,
    /// Whether a frontend that can't start is an error.
    strict: bool,
}

/// The frontends that run. Once started they stay until the module goes, since an open
/// `/dev/pmsg0` may outlive the backend it was opened for; one without a backend returns at once.
///
/// Dropped in the order of the fields: first those that are called most.
#[derive(Default)]
struct Frontends {
    ftrace: Option<Ftrace>,
    console: Option<Console>,
    tty: Option<Tty>,
    dmesg: Option<Dmesg>,
    pmsg: Option<Pmsg>,
}

/// How much a dump keeps, for who may change it at run time.
pub(crate) struct KmsgBytes {
    frontends: Arc<Mutex<Frontends>>,
    dispatcher: Arc<Dispatcher>,
}

impl KmsgBytes {
    /// Changes it for later dumps; if the dmesg frontend's buffers are too small, it gets larger
    /// ones, and if there is no memory for these, nothing changes. May sleep.
    pub(crate) fn set(&self, bytes: usize) -> Result {
        let mut frontends = self.frontends.lock();
        let before = self.dispatcher.kmsg_bytes();
        self.dispatcher.set_kmsg_bytes(bytes);
        if let Some(dmesg) = &frontends.dmesg {
            if !dmesg.fits(&self.dispatcher) {
                match dmesg.again(self.dispatcher.clone()) {
                    // The old one goes when the new one runs.
                    Ok(larger) => frontends.dmesg = Some(larger),
                    Err(e) => {
                        self.dispatcher.set_kmsg_bytes(before);
                        pr_err!("kmsg_bytes={}: no memory for it: {:?}\n", bytes, e);
                        return Err(e);
                    }
                }
            }
        }
        crate::params::publish_kmsg_bytes(bytes)
    }
}

/// Everything that runs.
///
/// When it is dropped nothing new is recorded first; then, in the order of the fields, nothing is
/// shown, and the last reference to the dispatcher takes the backends with it.
pub(crate) struct Control {
    frontends: Arc<Mutex<Frontends>>,
    fs: PstoreFs,
    /// The module's directory in debugfs, for all who show something there.
    debugfs: Dir,
    dispatcher: Arc<Dispatcher>,
    settings: Settings,
    module: &'static ThisModule,
}

impl Control {
    /// Registers the filesystem, empty as yet. May sleep.
    pub(crate) fn new(
        config: &Config,
        dispatcher: Arc<Dispatcher>,
        module: &'static ThisModule,
    ) -> Result<Arc<Self>> {
        dispatcher.set_kmsg_bytes(config.kmsg_bytes);
        let frontends = Arc::pin_init(new_mutex!(Frontends::default()), GFP_KERNEL)?;
        let kmsg_bytes = KmsgBytes {
            frontends: frontends.clone(),
            dispatcher: dispatcher.clone(),
        };
        let fs = PstoreFs::register(dispatcher.clone(), config.layout, kmsg_bytes, module);
        let fs = fs.inspect_err(|e| {
            let why = if *e == EBUSY {
                "there is one that can't be displaced"
            } else {
                "see the errno"
            };
            pr_err!("can't register the filesystem 'pstore': {:?}, {}\n", e, why);
        })?;
        let settings = Settings {
            compress: config.compress,
            tty_probe: config.tty_probe,
            pmsg_device: match &config.pmsg_device {
                Some(name) => Some(CString::try_from(&**name)?),
                None => None,
            },
            record_ftrace: config.record_ftrace,
            strict: config.strict,
        };
        let this = Self {
            frontends,
            fs,
            debugfs: Dir::new(c"mpstore"),
            dispatcher,
            settings,
            module,
        };
        Ok(Arc::new(this, GFP_KERNEL)?)
    }

    /// The module's directory in debugfs.
    pub(crate) fn debugfs(&self) -> &Dir {
        &self.debugfs
    }

    /// The backends.
    pub(crate) fn dispatcher(&self) -> &Dispatcher {
        &self.dispatcher
    }

    /// Starts the frontends that `new` backends, which the dispatcher has but are not active, need;
    /// then lets these begin. `ready` is called in between, when nothing can fail any more and no
    /// medium was written to. May sleep.
    pub(crate) fn start(&self, new: &[Arc<Entry>], ready: impl FnOnce() -> Result) -> Result {
        let mut frontends = self.frontends.lock();
        let started = self.start_locked(&mut frontends, new, ready);
        if self.settings.record_ftrace && !self.dispatcher.kinds().has(Kind::Ftrace) {
            pr_warn!(
                "record_ftrace=Y: no backend has room for a trace; give ftrace_size= more than 40 \
                 bytes for each CPU\n"
            );
        }
        if started.is_err() {
            for entry in new {
                self.dispatcher.remove(entry);
            }
        }
        started
    }

    /// Lets the filesystem be mounted. To be called when the module can't fail to load any more.
    pub(crate) fn open(&self) {
        self.fs.open();
    }

    fn start_locked(
        &self,
        frontends: &mut Frontends,
        new: &[Arc<Entry>],
        ready: impl FnOnce() -> Result,
    ) -> Result {
        let dispatcher = || self.dispatcher.clone();
        self.ensure(Kind::Pmsg, &mut frontends.pmsg, || {
            let name = self.pmsg_device()?;
            crate::params::publish_pmsg_device(&name)?;
            Pmsg::start(dispatcher(), self.module, name)
        })?;
        self.ensure(Kind::Tty, &mut frontends.tty, || {
            Tty::start(dispatcher(), self.settings.tty_probe)
        })?;
        self.ensure(Kind::Ftrace, &mut frontends.ftrace, || {
            let (beside, on) = (self.fs.is_beside_intree(), self.settings.record_ftrace);
            Ftrace::start(dispatcher(), &self.debugfs, beside, on)
        })?;
        // One that is too small stays until a larger one runs: better a record twice than none.
        let fits = frontends
            .dmesg
            .as_ref()
            .is_none_or(|d| d.fits(&self.dispatcher));
        let mut larger = None;
        if !fits {
            self.ensure(Kind::Dmesg, &mut larger, || {
                Dmesg::start(dispatcher(), self.settings.compress)
            })?;
        } else {
            self.ensure(Kind::Dmesg, &mut frontends.dmesg, || {
                Dmesg::start(dispatcher(), self.settings.compress)
            })?;
        }
        if larger.is_some() {
            frontends.dmesg = larger;
        }
        ready()?;
        for entry in new {
            self.dispatcher.activate(entry);
        }
        // Last: it is written to while it registers.
        self.ensure(Kind::Console, &mut frontends.console, || {
            Console::start(dispatcher())
        })
    }

    /// What the pmsg frontend's device is called. The in-tree pstore may have the usual name.
    fn pmsg_device(&self) -> Result<CString> {
        let taken = self.fs.intree_has_pmsg();
        match &self.settings.pmsg_device {
            Some(name) if taken && name.to_bytes() == b"pmsg0" => {
                pr_err!(
                    "pmsg_device=pmsg0: the in-tree pstore has it; give another name, or nothing \
                     for pmsg1\n"
                );
                Err(EBUSY)
            }
            Some(name) => Ok(CString::try_from(&**name)?),
            None if taken => {
                pr_info!(
                    "/dev/pmsg0 is the in-tree pstore's, mpstore's is /dev/pmsg1 (see pmsg_device=)\n"
                );
                Ok(CString::try_from(c"pmsg1")?)
            }
            None => Ok(CString::try_from(c"pmsg0")?),
        }
    }

    /// Starts a frontend if some backend wants its records and it does not run. One that can't
    /// start is one line in the log, and an error only with `strict`.
    fn ensure<T>(
        &self,
        kind: Kind,
        place: &mut Option<T>,
        start: impl FnOnce() -> Result<T>,
    ) -> Result {
        if place.is_some() || !self.dispatcher.kinds().has(kind) {
            return Ok(());
        }
        match start() {
            Ok(frontend) => *place = Some(frontend),
            Err(e) => {
                pr_err!("{}: frontend can't start: {:?}\n", kind.as_str(), e);
                if self.settings.strict {
                    return Err(e);
                }
            }
        }
        Ok(())
    }

    /// Adds a backend made by `make`, which is called with changes of the set excluded, without
    /// the kinds in `off`. May sleep.
    pub(crate) fn add(
        &self,
        off: Kinds,
        make: impl FnOnce(&Dispatcher) -> Result<KBox<dyn Backend>>,
    ) -> Result<Arc<Entry>> {
        let mut frontends = self.frontends.lock();
        let entry = self.dispatcher.add(make(&self.dispatcher)?)?;
        for kind in Kind::ALL.into_iter().filter(|kind| off.has(*kind)) {
            entry.switch_off(kind);
        }
        let new = core::slice::from_ref(&entry);
        if let Err(e) = self.start_locked(&mut frontends, new, || Ok(())) {
            self.dispatcher.remove(&entry);
            // A mount may have seen it.
            self.fs.removed(&entry);
            return Err(e);
        }
        self.fs.added(&entry);
        Ok(entry)
    }

    /// Removes a backend: its records stay on the medium. May sleep.
    pub(crate) fn remove(&self, entry: &Entry) {
        let _guard = self.frontends.lock();
        self.dispatcher.remove(entry);
        self.fs.removed(entry);
        pr_info!("{}: removed\n", entry.name());
    }

    /// Switches the records of a kind on or off for one backend. May sleep.
    pub(crate) fn enable(&self, entry: &Entry, kind: Kind, on: bool) {
        let _guard = self.frontends.lock();
        self.dispatcher.enable(entry, kind, on);
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // Not under the mutex: the frontends wait for their callbacks.
        let frontends = core::mem::take(&mut *self.frontends.lock());
        drop(frontends);
    }
}
