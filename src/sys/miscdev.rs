// SPDX-License-Identifier: GPL-2.0

//! Write-only character devices, with a file mode, which `kernel::miscdevice` does not set.
//!
//! C header: [`include/linux/miscdevice.h`](srctree/include/linux/miscdevice.h)

use super::{
    hooked::Hooked,
    mem::UserBytes, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_char,
        c_int, //
    },
    prelude::*,
    str::CString,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// What a device does with what is written to it.
pub(crate) trait Sink: Send + Sync + 'static {
    /// One `write(2)`. Answers how many bytes were taken. May sleep.
    fn write(&self, from: UserBytes) -> Result<usize>;
}

#[repr(C)]
struct Device {
    dev: kernel::bindings::miscdevice,
    fops: kernel::bindings::file_operations,
}

/// A registered device; dropping it removes the node. Open files hold the module.
///
/// # Invariants
///
/// The device is registered, and stays where it is until it is deregistered.
pub(crate) struct Registration<T: Sink> {
    inner: Pin<KBox<Hooked<Device, T>>>,
    /// The device points to it.
    _name: CString,
}

impl<T: Sink> Registration<T> {
    /// Makes `/dev/<name>` with the permission bits `mode`. May sleep.
    pub(crate) fn new(
        target: Arc<T>,
        module: &'static ThisModule,
        name: CString,
        mode: u16,
    ) -> Result<Self> {
        let dev = kernel::bindings::miscdevice {
            // CAST: 255.
            minor: kernel::bindings::MISC_DYNAMIC_MINOR as c_int,
            // What a `CString` points to stays where it is, and this one stays as long.
            name: name.as_char_ptr(),
            mode,
            ..pin_init::zeroed()
        };
        let fops = kernel::bindings::file_operations {
            owner: module.as_ptr(),
            open: Some(Self::open_callback),
            write: Some(Self::write_callback),
            llseek: Some(bindings::noop_llseek),
            ..pin_init::zeroed()
        };
        let inner = Hooked::new(Device { dev, fops }, target)?;
        let raw = inner.raw();
        // SAFETY: Both are in the same pinned box, which outlives the registration.
        unsafe { (*raw).dev.fops = &raw const (*raw).fops };
        // SAFETY: The device is initialised, pinned, and deregistered before it is freed.
        to_result(unsafe { kernel::bindings::misc_register(&raw mut (*raw).dev) })?;
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner, _name: name })
    }

    /// # Safety
    ///
    /// Called by the misc core: `file.private_data` is the `struct miscdevice`.
    unsafe extern "C" fn open_callback(
        _inode: *mut kernel::bindings::inode,
        _file: *mut kernel::bindings::file,
    ) -> c_int {
        // An `open` operation must exist for the core to keep its pointer in `private_data`.
        0
    }

    /// # Safety
    ///
    /// Called by the VFS for a file of this device.
    unsafe extern "C" fn write_callback(
        file: *mut kernel::bindings::file,
        buf: *const c_char,
        len: usize,
        _pos: *mut kernel::bindings::loff_t,
    ) -> isize {
        from_result(|| {
            // SAFETY: The misc core left the `struct miscdevice` there at open, the first field of a
            // `Device`; the open file holds the module and so the registration.
            let target: &T = unsafe { Hooked::target((*file).private_data.cast::<Device>()) };
            let n = target.write(UserBytes::new(buf as usize, len))?;
            // NO-OVERFLOW: `write(2)` is limited to `MAX_RW_COUNT`.
            Ok(n as isize)
        })
    }
}

impl<T: Sink> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { kernel::bindings::misc_deregister(&raw mut (*self.inner.raw()).dev) };
    }
}
