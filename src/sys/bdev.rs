// SPDX-License-Identifier: GPL-2.0

//! Block devices: opened for this module alone, read and written by whole blocks past the page
//! cache.
//!
//! C headers: [`include/linux/blkdev.h`](srctree/include/linux/blkdev.h),
//! [`include/linux/bio.h`](srctree/include/linux/bio.h)

use core::ptr::NonNull;
use kernel::{
    bindings as c,
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CStr,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// The unit of the kernel's sector numbers, whatever the device's block size.
pub(crate) const SECTOR_BYTES: u64 = 512;

/// Who is told about a device that it has opened.
pub(crate) trait Holder: Send + Sync + 'static {
    /// The device is gone, or is going: what is written from now on fails. May sleep.
    fn removed(&self);

    /// Somebody wants everything written that is still to be (`blockdev --flushbufs`). May sleep.
    fn sync(&self);
}

/// How a device is named.
#[derive(Clone, Copy)]
pub(crate) enum Name<'a> {
    /// By a path.
    Path(&'a CStr),
    /// By its number.
    Number {
        /// Major.
        major: u32,
        /// Minor.
        minor: u32,
    },
}

/// What the kernel is given as holder. It stays where it is while the device is open.
struct Claim(Arc<dyn Holder>);

/// Memory that devices can be read to and written from: physically contiguous, and aligned to what
/// any block size asks for.
pub(crate) struct IoBuffer(KVec<u8>);

impl IoBuffer {
    /// Zeroed memory of `size` bytes, a power of two from a page upwards: allocations of such sizes
    /// are aligned to themselves. May sleep.
    pub(crate) fn new(size: usize) -> Result<Self> {
        let size = size.max(4096).checked_next_power_of_two().ok_or(EINVAL)?;
        Ok(Self(KVec::from_elem(0, size, GFP_KERNEL)?))
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// An open device that nobody else may claim: no mount, no `mkfs`, no other `O_EXCL`.
///
/// # Invariants
///
/// `file` is an open block device's, claimed with the address of `claim`.
pub(crate) struct Device {
    file: NonNull<c::file>,
    claim: KBox<Claim>,
}

// SAFETY: An open file belongs to no thread.
unsafe impl Send for Device {}
// SAFETY: The block layer orders what is done at the same time.
unsafe impl Sync for Device {}

static HOLDER_OPS: c::blk_holder_ops = c::blk_holder_ops {
    mark_dead: Some(Device::mark_dead_callback),
    sync: Some(Device::sync_callback),
    freeze: None,
    thaw: None,
};

impl Device {
    /// Opens a device for reading and writing and claims it, after what others left in the page
    /// cache for it was written. May sleep.
    ///
    /// `EBUSY` if it is in use, `EACCES` if it is read-only, `ENOTBLK` if it is no block device.
    pub(crate) fn open(name: Name<'_>, holder: Arc<dyn Holder>) -> Result<Self> {
        let claim = KBox::new(Claim(holder), GFP_KERNEL)?;
        let mode = bindings::MPSTORE_BLK_OPEN_RW;
        let who = core::ptr::from_ref(&*claim).cast_mut().cast();
        let file = match name {
            // SAFETY: `path` is NUL-terminated; the claim and the operations outlive the file.
            Name::Path(path) => unsafe {
                c::bdev_file_open_by_path(path.as_char_ptr(), mode, who, &HOLDER_OPS)
            },
            // SAFETY: Any number may be asked for; the rest as above.
            Name::Number { major, minor } => unsafe {
                c::bdev_file_open_by_dev(
                    bindings::mpstore_mkdev(major, minor),
                    mode,
                    who,
                    &HOLDER_OPS,
                )
            },
        };
        let file = NonNull::new(from_err_ptr(file)?).ok_or(ENODEV)?;
        // INVARIANT: Just opened with this claim.
        let this = Self { file, claim };
        if this.read_only() {
            return Err(EACCES);
        }
        // SAFETY: The device is open.
        unsafe {
            to_result(c::sync_blockdev(this.as_ptr()))?;
            c::invalidate_bdev(this.as_ptr());
        }
        Ok(this)
    }

    /// The device, for other wrappers in `sys`.
    pub(super) fn as_ptr(&self) -> *mut c::block_device {
        // SAFETY: By the type invariant it is a block device's file.
        unsafe { c::file_bdev(self.file.as_ptr()) }
    }

    /// Bytes that it holds. It may be given another size while it is open.
    pub(crate) fn bytes(&self) -> u64 {
        // SAFETY: The device is open.
        unsafe { bindings::mpstore_bdev_nr_bytes(self.as_ptr()) }
    }

    /// Bytes in a block, the least that it reads or writes: a power of two from 512 upwards.
    pub(crate) fn block_size(&self) -> usize {
        // SAFETY: The device is open.
        // CAST: Small.
        unsafe { bindings::mpstore_bdev_logical_block_size(self.as_ptr()) as usize }
    }

    /// Where a partition begins on its disk, in sectors of [`SECTOR_BYTES`]; 0 for a whole disk.
    pub(crate) fn start_sector(&self) -> u64 {
        // SAFETY: The device is open.
        unsafe { bindings::mpstore_bdev_start_sector(self.as_ptr()) }
    }

    /// Its number, major and minor.
    pub(crate) fn number(&self) -> (u32, u32) {
        // SAFETY: The device is open.
        let dev = unsafe { bindings::mpstore_bdev_dev(self.as_ptr()) };
        (dev >> 20, dev & 0xf_ffff)
    }

    /// Whether it can't be written to. That may change while it is open.
    pub(crate) fn read_only(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::mpstore_bdev_read_only(self.as_ptr()) }
    }

    /// Whether its blocks can be written only in a certain order.
    pub(crate) fn zoned(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::mpstore_bdev_is_zoned(self.as_ptr()) }
    }

    /// Whether its disk is gone, or going. Any context.
    pub(crate) fn dead(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::mpstore_bdev_dead(self.as_ptr()) }
    }

    /// Whether its blocks go with checksums that the disk looks at.
    pub(crate) fn integrity(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::mpstore_bdev_integrity(self.as_ptr()) }
    }

    /// The number of the NVMe namespace that it is or lies on, if that is what it is. May sleep.
    pub(crate) fn nvme_namespace(&self) -> Option<u32> {
        if !self.with_name(|name| name.starts_with(b"nvme")) {
            return None;
        }
        // SAFETY: The device is open.
        let nsid = unsafe { bindings::mpstore_nvme_namespace(self.as_ptr()) };
        u32::try_from(nsid).ok().filter(|n| *n > 0)
    }

    /// Whether it is a part of a disk.
    #[allow(dead_code)] // For who looks for the controller behind it.
    pub(crate) fn is_partition(&self) -> bool {
        // SAFETY: The device is open.
        unsafe { bindings::mpstore_bdev_is_partition(self.as_ptr()) }
    }

    /// Its name in the kernel, such as `sda2`. Calls `f` with it.
    pub(crate) fn with_name<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        let mut name = [0u8; c::BDEVNAME_SIZE as usize];
        // SAFETY: The device is open; `name` is as large as the callee takes it to be.
        let len = unsafe { bindings::mpstore_bdev_name(self.as_ptr(), name.as_mut_ptr().cast()) };
        f(name.get(..len).unwrap_or(b"?"))
    }

    /// Checks that `len` bytes of a buffer from `skip` on and `len` bytes of the device from `at` on
    /// are there and whole blocks. Answers the sector.
    fn check(&self, at: u64, buffer: &IoBuffer, skip: usize, len: usize) -> Result<u64> {
        let block = self.block_size().max(1);
        // CAST: Widen.
        let end = at.checked_add(len as u64).ok_or(EINVAL)?;
        let whole = at % block as u64 == 0 && len % block == 0 && skip % block == 0;
        let fits = skip
            .checked_add(len)
            .is_some_and(|end| end <= buffer.0.len());
        if !whole || len == 0 || !fits || end > self.bytes() {
            return Err(EINVAL);
        }
        Ok(at / SECTOR_BYTES)
    }

    /// Reads `len` bytes from `at` on to offset `skip` of `to`, in whole blocks. May sleep.
    pub(crate) fn read_into(&self, at: u64, to: &mut IoBuffer, skip: usize, len: usize) -> Result {
        let sector = self.check(at, to, skip, len)?;
        // SAFETY: The device is open; the buffer was allocated by `kmalloc()`, is valid for writes
        // of `len` bytes at `skip` as just checked, and nobody else uses it until the callee
        // returns.
        to_result(unsafe {
            c::bdev_rw_virt(
                self.as_ptr(),
                sector,
                to.0.as_mut_ptr().add(skip).cast(),
                len,
                c::req_op_REQ_OP_READ,
            )
        })
    }

    /// The same to the front of `to`.
    #[allow(dead_code)] // For who looks for the controller behind it.
    pub(crate) fn read(&self, at: u64, to: &mut IoBuffer, len: usize) -> Result {
        self.read_into(at, to, 0, len)
    }

    /// Writes the first `len` bytes of `from` to `at`, in whole blocks. They may be in the device's
    /// cache when this returns. May sleep.
    pub(crate) fn write(&self, at: u64, from: &IoBuffer, len: usize) -> Result {
        let sector = self.check(at, from, 0, len)?;
        // SAFETY: The device is open; the buffer was allocated by `kmalloc()`, is valid for reads of
        // `len` bytes as just checked, and a write does not change it.
        to_result(unsafe {
            c::bdev_rw_virt(
                self.as_ptr(),
                sector,
                from.0.as_ptr().cast_mut().cast(),
                len,
                c::req_op_REQ_OP_WRITE,
            )
        })
    }

    /// Returns when everything that was written would survive a loss of power. May sleep.
    pub(crate) fn flush(&self) -> Result {
        // SAFETY: The device is open.
        to_result(unsafe { c::blkdev_issue_flush(self.as_ptr()) })
    }

    /// Forgets what others have of it in the page cache, so that they read what was written here.
    /// May sleep.
    pub(crate) fn invalidate(&self) {
        // SAFETY: The device is open.
        unsafe { c::invalidate_bdev(self.as_ptr()) };
    }

    /// Calls `f` with the holder of a device, after its lock was released as the callbacks must.
    ///
    /// The module can't be unloaded meanwhile; one that is being unloaded already gives the device up
    /// anyway, and is not told.
    ///
    /// # Safety
    ///
    /// `bdev` is valid, claimed with a [`Claim`], and its holder lock is held.
    unsafe fn tell(bdev: *mut c::block_device, f: impl FnOnce(&dyn Holder)) {
        let module = super::param::this_module();
        // SAFETY: While the lock is held the claim, and so the module, can't go.
        let stays = unsafe { c::try_module_get(module) };
        // SAFETY: By the contract; a claim can't be given up while the lock is held.
        let holder = stays.then(|| unsafe { &*(*bdev).bd_holder.cast::<Claim>() }.0.clone());
        // SAFETY: By the contract.
        unsafe { c::mutex_unlock(&raw mut (*bdev).bd_holder_lock) };
        let Some(holder) = holder else {
            return;
        };
        f(&*holder);
        drop(holder);
        // SAFETY: Got above. Nothing but the way back follows: a few instructions, against all that
        // rmmod has to do, several grace periods among it, before the code goes.
        unsafe { c::module_put(module) };
    }

    /// # Safety
    ///
    /// As [`Self::tell`].
    unsafe extern "C" fn mark_dead_callback(bdev: *mut c::block_device, _surprise: bool) {
        // SAFETY: By the contract.
        unsafe { Self::tell(bdev, |holder| holder.removed()) };
    }

    /// # Safety
    ///
    /// As [`Self::tell`].
    unsafe extern "C" fn sync_callback(bdev: *mut c::block_device) {
        // SAFETY: By the contract.
        unsafe { Self::tell(bdev, |holder| holder.sync()) };
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: Open by the type invariant. This gives the claim up at once, under the lock that
        // callbacks are called with, so that none looks at it any more.
        unsafe { c::bdev_fput(self.file.as_ptr()) };
        let _ = &self.claim;
    }
}
