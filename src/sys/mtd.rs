// SPDX-License-Identifier: GPL-2.0

//! Memory technology devices, flash memory as a rule: written in pages, each once, and erased in
//! blocks of many.
//!
//! The code for them is a module of its own in most kernels and need not be loaded; so its functions
//! are looked up when a device is opened, and kept until it is closed.
//!
//! C header: [`include/linux/mtd/mtd.h`](srctree/include/linux/mtd/mtd.h)

use super::slots::RcuSlots;
use kernel::{
    bindings as c,
    error::to_result,
    new_mutex,
    prelude::*,
    str::CString,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Full,
            Relaxed, //
        },
        Arc,
        Mutex, //
    },
    types::Opaque, //
};
use mpstore_bindings as bindings;

/// Devices that can be open at once.
pub(crate) const OPEN_MAX: usize = 8;

/// What a driver answers with when it had to correct so much that the block should be renewed, and
/// when there was more to correct than it can.
const CORRECTED: c_int = -(c::EUCLEAN as c_int); // CAST: An errno is small.
const DAMAGED: c_int = -(c::EBADMSG as c_int); // CAST: As above.

/// Who is told about a device that it has opened.
pub(crate) trait Holder: Send + Sync + 'static {
    /// The device is going: whatever is asked of it from now on fails. May sleep; must not open or
    /// close another one.
    fn removed(&self);
}

/// How a device is named.
pub(crate) enum Name {
    /// By its number, else by this text as its name.
    Number(u32, CString),
    /// By its name.
    Text(CString),
}

/// What is known of a device.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    /// N of `mtdN`.
    pub(crate) index: u32,
    /// Bytes that it holds.
    pub(crate) bytes: u64,
    /// Bytes that are erased at once.
    pub(crate) block: usize,
    /// Bytes that are written at once.
    pub(crate) page: usize,
    /// Whether it may be written to, and erased.
    pub(crate) writable: bool,
    /// Whether all its blocks are of one size.
    pub(crate) uniform: bool,
    /// Whether its driver has a function for writing in a panic.
    pub(crate) panic_write: bool,
}

/// What the callbacks of a device work on.
struct Shared {
    calls: bindings::mpstore_mtd_calls,
    /// The device, null before it was found and after it went.
    ///
    /// Not null, it is referenced by `__get_mtd_device()`, and by the notifier valid until its
    /// removal returns, which waits for `io`.
    mtd: Atomic<*const bindings::mtd_info>,
    name: Name,
    opening: Atomic<bool>,
    /// It was found, but is open already.
    busy: Atomic<bool>,
    closing: Atomic<bool>,
    io: Pin<KBox<Mutex<()>>>,
    holder: Arc<dyn Holder>,
}

// SAFETY: The device belongs to no thread.
unsafe impl Send for Shared {}
// SAFETY: The subsystem orders what is done at the same time.
unsafe impl Sync for Shared {}

/// The callbacks get no pointer of ours, so each open device has its own, by its place here.
static OPEN: RcuSlots<Shared, OPEN_MAX> = RcuSlots::new();

type Callback = unsafe extern "C" fn(*mut bindings::mtd_info);

/// By place.
const ADD: [Callback; OPEN_MAX] = [
    added::<0>, added::<1>, added::<2>, added::<3>, added::<4>, added::<5>, added::<6>, added::<7>,
];
const REMOVE: [Callback; OPEN_MAX] = [
    removed::<0>,
    removed::<1>,
    removed::<2>,
    removed::<3>,
    removed::<4>,
    removed::<5>,
    removed::<6>,
    removed::<7>,
];

/// # Safety
///
/// `mtd` is a registered device, and the table of all is locked.
unsafe extern "C" fn added<const I: usize>(mtd: *mut bindings::mtd_info) {
    if let Some(shared) = OPEN.get(I) {
        // SAFETY: By the contract.
        unsafe { shared.added(mtd) };
    }
}

/// # Safety
///
/// As [`added`].
unsafe extern "C" fn removed<const I: usize>(mtd: *mut bindings::mtd_info) {
    if let Some(shared) = OPEN.get(I) {
        // SAFETY: By the contract.
        unsafe { shared.removed(mtd) };
    }
}

impl Shared {
    /// # Safety
    ///
    /// As [`added`].
    unsafe fn added(&self, mtd: *mut bindings::mtd_info) {
        if !self.opening.load(Acquire) {
            return;
        }
        // SAFETY: By the contract.
        let facts = unsafe { facts(mtd) };
        let called = |wanted: &CStr| {
            // SAFETY: By the contract; a registered device has a name.
            let name = unsafe { bindings::mpstore_mtd_name(mtd) };
            // SAFETY: As above, and it is NUL-terminated.
            !name.is_null() && unsafe { CStr::from_char_ptr(name) } == wanted
        };
        let (right, sure) = match &self.name {
            Name::Number(index, _) if facts.index == *index => (true, true),
            Name::Number(_, text) | Name::Text(text) => (called(text), false),
        };
        let old = self.mtd.load(Acquire);
        // The first of a name, and a number counts for more.
        if !right || (!old.is_null() && !sure) {
            return;
        }
        let (Some(get), Some(put)) = (self.calls.get_device, self.calls.put_device) else {
            return;
        };
        // Who opens one at the same time waits for the table.
        let has = |place| {
            OPEN.get(place)
                .is_some_and(|o| o.mtd.load(Acquire) == mtd.cast_const())
        };
        if (0..OPEN_MAX).any(has) {
            self.busy.store(true, Relaxed);
            return;
        }
        // SAFETY: By the contract.
        if unsafe { get(mtd) } != 0 {
            return;
        }
        let old = self.mtd.xchg(mtd.cast_const(), Full);
        if !old.is_null() {
            // SAFETY: Referenced by us, and no longer known here.
            unsafe { put(old.cast_mut()) };
        }
    }

    /// # Safety
    ///
    /// As [`added`].
    unsafe fn removed(&self, mtd: *mut bindings::mtd_info) {
        {
            // Whoever uses it is waited for, and the next one finds none.
            let _io = self.io.lock();
            if self
                .mtd
                .cmpxchg(mtd.cast_const(), core::ptr::null(), Full)
                .is_err()
            {
                return;
            }
        }
        if !self.closing.load(Acquire) {
            self.holder.removed();
        }
        if let Some(put) = self.calls.put_device {
            // SAFETY: The reference was ours, and is given up once.
            unsafe { put(mtd) };
        }
    }
}

/// # Safety
///
/// `mtd` is valid.
unsafe fn facts(mtd: *mut bindings::mtd_info) -> Facts {
    let mut raw = bindings::mpstore_mtd_facts::default();
    // SAFETY: By the contract; `raw` is valid for writes.
    unsafe { bindings::mpstore_mtd_get_facts(mtd, &mut raw) };
    Facts {
        index: raw.index,
        bytes: raw.size,
        // CAST: 64 bit machines.
        block: raw.erasesize as usize,
        page: raw.writesize as usize, // CAST: As above.
        writable: raw.writable,
        uniform: raw.uniform,
        panic_write: raw.panic_write,
    }
}

/// An open device.
///
/// # Invariants
///
/// `notifier` is registered with the callbacks of place `place` of [`OPEN`], which holds `shared`;
/// the functions in there are referenced.
pub(crate) struct Mtd {
    shared: Arc<Shared>,
    place: usize,
    notifier: Pin<KBox<Opaque<bindings::mtd_notifier>>>,
    facts: Facts,
}

// SAFETY: The notifier is only passed to the subsystem.
unsafe impl Send for Mtd {}
// SAFETY: As above.
unsafe impl Sync for Mtd {}

impl Mtd {
    /// Opens a device. There is no way to keep others in the kernel from opening it as well. May
    /// sleep.
    ///
    /// `EBUSY` if it is open here already, `ENXIO` if the kernel's code for such devices is not loaded, `ENODEV` if there is no such
    /// device, `E2BIG` if too many are open.
    pub(crate) fn open(name: Name, holder: Arc<dyn Holder>) -> Result<Self> {
        let mut calls = bindings::mpstore_mtd_calls::default();
        let io = KBox::pin_init(new_mutex!(()), GFP_KERNEL)?;
        // SAFETY: `calls` is valid for writes.
        if !unsafe { bindings::mpstore_mtd_get_calls(&mut calls) } {
            return Err(ENXIO);
        }
        let made = Self::register(calls, io, name, holder);
        if made.is_err() {
            // SAFETY: Got above, and not kept.
            unsafe { bindings::mpstore_mtd_put_calls() };
        }
        let mut this = made?;
        // From here on `drop()` gives everything back.
        if this.dead() && this.shared.busy.load(Relaxed) {
            return Err(EBUSY);
        }
        this.facts = this.with(|mtd| {
            // SAFETY: Valid, says `with()`.
            Ok(unsafe { facts(mtd) })
        })?;
        Ok(this)
    }

    fn register(
        calls: bindings::mpstore_mtd_calls,
        io: Pin<KBox<Mutex<()>>>,
        name: Name,
        holder: Arc<dyn Holder>,
    ) -> Result<Self> {
        let shared = Arc::new(
            Shared {
                calls,
                mtd: Atomic::new(core::ptr::null()),
                name,
                opening: Atomic::new(true),
                busy: Atomic::new(false),
                closing: Atomic::new(false),
                io,
                holder,
            },
            GFP_KERNEL,
        )?;
        let notifier = KBox::pin(Opaque::new(bindings::mtd_notifier::default()), GFP_KERNEL)?;
        let free = |place: &usize| OPEN.put(*place, shared.clone()).is_ok();
        let place = (0..OPEN_MAX).find(free).ok_or(E2BIG)?;
        let register = calls.register_user.ok_or(ENXIO);
        let register = register.inspect_err(|_| drop(OPEN.take(place)))?;
        // SAFETY: The notifier is pinned, and not known to anybody yet.
        unsafe {
            (*notifier.get()).add = ADD.get(place).copied();
            (*notifier.get()).remove = REMOVE.get(place).copied();
            register(notifier.get());
        }
        // All that there are were offered.
        shared.opening.store(false, Relaxed);
        // INVARIANT: Just registered, with the place that was just taken.
        Ok(Self {
            shared,
            place,
            notifier,
            facts: Facts {
                index: 0,
                bytes: 0,
                block: 0,
                page: 0,
                writable: false,
                uniform: false,
                panic_write: false,
            },
        })
    }

    /// Lets `f` use the device, which is valid meanwhile; `ENODEV` if it is gone. May sleep.
    fn with<R>(&self, f: impl FnOnce(*mut bindings::mtd_info) -> Result<R>) -> Result<R> {
        let _io = self.shared.io.lock();
        let mtd = self.shared.mtd.load(Acquire);
        if mtd.is_null() {
            return Err(ENODEV);
        }
        f(mtd.cast_mut())
    }

    /// What is known of it.
    pub(crate) fn facts(&self) -> Facts {
        self.facts
    }

    /// Whether it is gone. Any context.
    pub(crate) fn dead(&self) -> bool {
        self.shared.mtd.load(Acquire).is_null()
    }

    /// Calls `f` with its name. May sleep.
    pub(crate) fn with_name<R>(&self, f: impl FnOnce(&CStr) -> R) -> Result<R> {
        self.with(|mtd| {
            // SAFETY: Valid, says `with()`; its name lives as long.
            let name = unsafe { bindings::mpstore_mtd_name(mtd) };
            if name.is_null() {
                return Err(EINVAL);
            }
            // SAFETY: As above, and it is NUL-terminated.
            Ok(f(unsafe { CStr::from_char_ptr(name) }))
        })
    }

    fn offset(at: u64) -> Result<c::loff_t> {
        c::loff_t::try_from(at).map_err(|_| EINVAL)
    }

    /// Reads from `at` on until `to` is full. `false` if there is more damage in it than can be
    /// corrected; it is filled all the same. May sleep.
    pub(crate) fn read(&self, at: u64, to: &mut [u8]) -> Result<bool> {
        let call = self.shared.calls.read.ok_or(ENXIO)?;
        let mut intact = true;
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let from = Self::offset(at.saturating_add(done as u64))?;
            let mut n = 0;
            let ret = self.with(|mtd| {
                // SAFETY: Valid, says `with()`; no more is written than there is room for. The
                // callee checks the range.
                Ok(unsafe { call(mtd, from, rest.len(), &mut n, rest.as_mut_ptr()) })
            })?;
            match ret {
                0 | CORRECTED => {}
                DAMAGED => {
                    intact = false;
                    // Not every driver says how far it came.
                    if n == 0 {
                        n = rest.len();
                    }
                }
                e => to_result(e)?,
            }
            if n == 0 {
                return Err(EIO);
            }
            done = done.saturating_add(n);
        }
        Ok(intact)
    }

    /// Writes whole pages to `at`, which must have been erased. May sleep.
    pub(crate) fn write(&self, at: u64, from: &[u8]) -> Result {
        let call = self.shared.calls.write.ok_or(ENXIO)?;
        let to = Self::offset(at)?;
        let mut n = 0;
        self.with(|mtd| {
            // SAFETY: Valid, says `with()`; no more is read than there is. The callee checks the
            // range.
            to_result(unsafe { call(mtd, to, from.len(), &mut n, from.as_ptr()) })
        })?;
        match n == from.len() {
            true => Ok(()),
            false => Err(EIO),
        }
    }

    /// The same in a panic, on the CPU that panics: the driver takes no lock and polls. NMI too.
    pub(crate) fn panic_write(&self, at: u64, from: &[u8]) -> Result {
        let call = self.shared.calls.panic_write.ok_or(ENXIO)?;
        let to = Self::offset(at)?;
        let mtd = self.shared.mtd.load(Acquire);
        if mtd.is_null() {
            return Err(ENODEV);
        }
        let mut n = 0;
        // SAFETY: Not null, so the device is referenced; who could remove it on another CPU was
        // stopped when the kernel panicked. No more is read than there is.
        to_result(unsafe { call(mtd.cast_mut(), to, from.len(), &mut n, from.as_ptr()) })?;
        match n == from.len() {
            true => Ok(()),
            false => Err(EIO),
        }
    }

    /// Erases a block. May sleep.
    pub(crate) fn erase(&self, at: u64) -> Result {
        let call = self.shared.calls.erase.ok_or(ENXIO)?;
        let mut what = bindings::erase_info {
            addr: at,
            len: self.facts.block as u64,
            ..Default::default()
        };
        self.with(|mtd| {
            // SAFETY: Valid, says `with()`; `what` is valid for the call, and the callee checks it.
            to_result(unsafe { call(mtd, &mut what) })
        })
    }

    /// Whether a block is marked bad. May sleep.
    pub(crate) fn is_bad(&self, at: u64) -> Result<bool> {
        let call = self.shared.calls.block_isbad.ok_or(ENXIO)?;
        let at = Self::offset(at)?;
        self.with(|mtd| {
            // SAFETY: Valid, says `with()`.
            match unsafe { call(mtd, at) } {
                0 => Ok(false),
                e if e < 0 => Err(Error::from_errno(e)),
                _ => Ok(true),
            }
        })
    }
}

impl Drop for Mtd {
    fn drop(&mut self) {
        self.shared.closing.store(true, Relaxed);
        if let Some(unregister) = self.shared.calls.unregister_user {
            // SAFETY: Registered by the type invariant. The callee removes every device that there
            // is for this notifier, so that the reference is given up.
            unsafe { unregister(self.notifier.get()) };
        }
        drop(OPEN.take(self.place));
        // SAFETY: Referenced by the type invariant; nothing is called any more.
        unsafe { bindings::mpstore_mtd_put_calls() };
    }
}
