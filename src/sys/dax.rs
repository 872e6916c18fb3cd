// SPDX-License-Identifier: GPL-2.0

//! Block devices that are memory: read and written in place.
//!
//! C header: [`include/linux/dax.h`](srctree/include/linux/dax.h)

use super::{
    bdev::Device,
    context, //
};
use core::ptr::NonNull;
use kernel::{
    bindings as c,
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// The memory of a whole device (or partition).
///
/// All access is by copy and checked against the length.
///
/// # Invariants
///
/// `dax` is referenced, if there is one; else `base` was mapped by `memremap()`. `base` is valid for
/// reads and writes of `len` bytes for as long as the driver has the device.
pub(crate) struct Dax {
    /// [`None`] for a raw namespace, which has no DAX.
    dax: Option<NonNull<bindings::dax_device>>,
    base: NonNull<u8>,
    len: usize,
    /// Claimed as long as this is used.
    device: Arc<Device>,
}

// SAFETY: The memory belongs to no thread.
unsafe impl Send for Dax {}
// SAFETY: Concurrent copies may tear but touch only the device's bytes, to which no reference is
// ever made.
unsafe impl Sync for Dax {}

impl Dax {
    /// The memory behind a device; [`None`] if it has none, if that is not in one piece, or if a
    /// write takes more than the processor to be safe, as that of virtio-pmem does. May sleep.
    pub(crate) fn new(device: Arc<Device>) -> Option<Self> {
        let len = usize::try_from(device.bytes()).ok()?;
        let mut start = 0;
        // SAFETY: The device is open; `start` is valid for writes.
        let dax = unsafe { bindings::mpstore_dax_get(device.as_ptr(), &mut start) };
        let Some(dax) = NonNull::new(dax) else {
            // SAFETY: The device is open.
            let base = unsafe { bindings::mpstore_raw_pmem_map(device.as_ptr(), len) };
            return Some(Self {
                dax: None,
                // INVARIANT: The callee mapped `len` bytes.
                base: NonNull::new(base.cast::<u8>())?,
                len,
                device,
            });
        };
        // SAFETY: The reference is ours.
        let base = unsafe { bindings::mpstore_dax_map(dax.as_ptr(), start, len) };
        match NonNull::new(base.cast::<u8>()) {
            // INVARIANT: Referenced; the callee found `len` bytes there.
            Some(base) => Some(Self {
                dax: Some(dax),
                base,
                len,
                device,
            }),
            None => {
                // SAFETY: The reference is ours, and given up once.
                unsafe { bindings::mpstore_dax_put(dax.as_ptr()) };
                None
            }
        }
    }

    /// Whether its driver still has the device. Any context.
    ///
    /// The driver marks the disk dead before it lets go of the memory. `dax_alive()` is for those who
    /// hold a lock that can't be taken in every context.
    pub(crate) fn alive(&self) -> bool {
        !self.device.dead()
    }

    fn place(&self, at: u64, len: usize) -> Result<*mut u8> {
        let at = usize::try_from(at).map_err(|_| EINVAL)?;
        if at.checked_add(len).is_none_or(|end| end > self.len) || !self.alive() {
            return Err(EINVAL);
        }
        // SAFETY: `at` lies within the memory by the check.
        Ok(unsafe { self.base.as_ptr().add(at) })
    }

    /// Copies from offset `at` on until `to` is full. Any context.
    pub(crate) fn read(&self, at: u64, to: &mut [u8]) -> Result {
        let from = self.place(at, to.len())?;
        // SAFETY: Valid for reads by the type invariant, as the driver has it; a buffer of ours does
        // not overlap a device.
        unsafe { bindings::mpstore_dax_read(to.as_mut_ptr().cast(), from.cast(), to.len()) }
            .then_some(())
            .ok_or(EIO)
    }

    /// Copies `from` to offset `at`, past the caches. Any context.
    pub(crate) fn write(&self, at: u64, from: &[u8]) -> Result {
        let to = self.place(at, from.len())?;
        // SAFETY: Valid for writes by the type invariant, as the driver has it.
        unsafe { bindings::mpstore_dax_write(to.cast(), from.as_ptr().cast(), from.len()) };
        Ok(())
    }

    /// Makes what was written reach memory. Any context.
    pub(crate) fn flush(&self) {
        context::write_barrier();
    }
}

impl Drop for Dax {
    fn drop(&mut self) {
        // SAFETY: The reference, or the mapping, is ours by the type invariant, and given up once.
        unsafe {
            match self.dax {
                Some(dax) => bindings::mpstore_dax_put(dax.as_ptr()),
                None => c::memunmap(self.base.as_ptr().cast()),
            }
        }
    }
}
