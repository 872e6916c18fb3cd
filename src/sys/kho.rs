// SPDX-License-Identifier: GPL-2.0

//! Kexec HandOver: memory that the next kernel gets, and what the one before handed over.
//!
//! All of it takes mutexes: task context only. The memory itself may be written in any context.
//!
//! C header: [`include/linux/kexec_handover.h`](srctree/include/linux/kexec_handover.h)

use super::errno::EOPNOTSUPP;
use super::mem::PersistentMem;
use core::{
    mem::ManuallyDrop,
    ptr::NonNull, //
};
use kernel::{
    bindings::{
        page,
        platform_device, //
    },
    error::{
        from_err_ptr,
        to_result, //
    },
    prelude::*,
    str::CStr, //
};
use mpstore_bindings as bindings;

/// Bytes in a page.
pub(crate) const PAGE_SIZE: usize = bindings::MPSTORE_PAGE_SIZE as usize;

/// Bytes of the largest block.
pub(crate) const BLOCK_MAX: usize = PAGE_SIZE << bindings::MPSTORE_MAX_PAGE_ORDER;

/// What KHO writes to `page->private` of the first page of each folio that was handed over, until
/// it is restored: order below, this above (`kernel/liveupdate/kexec_handover.c`). It checks the
/// same when it restores, but warns with a backtrace, which what another kernel wrote must not be
/// able to cause. A kernel in which it is another number hands over nothing that is taken.
const KHO_PAGE_MAGIC: u32 = 0x4b48_4f50;

/// Whether this kernel hands anything over. May sleep.
pub(crate) fn is_enabled() -> bool {
    // SAFETY: Reads a variable.
    unsafe { bindings::kho_is_enabled() }
}

/// Whether the kernel before handed anything over. May sleep.
pub(crate) fn is_handover_boot() -> bool {
    // SAFETY: Reads a variable.
    unsafe { bindings::is_kho_boot() }
}

/// The first page of the folio at `phys` if it was handed over, has `size` bytes and was not
/// restored yet.
fn preserved(phys: u64, size: usize) -> Option<NonNull<page>> {
    let pages = size / PAGE_SIZE;
    if size % PAGE_SIZE != 0
        || !pages.is_power_of_two()
        || size > BLOCK_MAX
        || phys & (size as u64 - 1) != 0
    {
        return None;
    }
    let pfn = usize::try_from(phys / PAGE_SIZE as u64).ok()?;
    // SAFETY: Any frame number may be asked about.
    let head = NonNull::new(unsafe { bindings::mpstore_pfn_to_online_page(pfn) })?;
    // SAFETY: A page that is online has a descriptor.
    let private = unsafe { bindings::mpstore_page_private(head.as_ptr()) } as u64;
    // The fields of a union, in the order of memory.
    let [order, magic]: [u32; 2] = zerocopy::transmute!(private.to_ne_bytes());
    (magic == KHO_PAGE_MAGIC && order == pages.trailing_zeros()).then_some(head)
}

/// A folio that is handed to the next kernel as it is at that moment. Dropping it gives it back to
/// this kernel.
///
/// # Invariants
///
/// `head` is the first page of a folio of `size` bytes, of which this is a reference, and which
/// is preserved.
pub(crate) struct Block {
    head: NonNull<page>,
    size: usize,
}

// SAFETY: A folio belongs to no thread.
unsafe impl Send for Block {}
// SAFETY: No method of a shared one changes anything.
unsafe impl Sync for Block {}

impl Block {
    /// Allocates zeroed memory of `size` bytes, a power of two of pages. `try_hard` as long as it
    /// takes. May sleep.
    pub(crate) fn alloc(size: usize, try_hard: bool) -> Result<Self> {
        let pages = size / PAGE_SIZE;
        if size % PAGE_SIZE != 0 || !pages.is_power_of_two() || size > BLOCK_MAX {
            return Err(EINVAL);
        }
        // SAFETY: No preconditions.
        let head = unsafe { bindings::mpstore_folio_alloc(pages.trailing_zeros(), try_hard) };
        // SAFETY: The folio is new, and the reference ours.
        unsafe { Self::preserve(NonNull::new(head).ok_or(ENOMEM)?, size) }
    }

    /// # Safety
    ///
    /// The caller has a reference to the folio of `size` bytes that begins with `head`, gives it
    /// away, and the folio is not preserved.
    unsafe fn preserve(head: NonNull<page>, size: usize) -> Result<Self> {
        // SAFETY: The first page is where the folio is.
        let err = unsafe { bindings::kho_preserve_folio(head.as_ptr().cast()) };
        if let Err(e) = to_result(err) {
            // SAFETY: The reference is ours.
            unsafe { bindings::mpstore_folio_put(head.as_ptr()) };
            return Err(e);
        }
        // INVARIANT: Just preserved.
        Ok(Self { head, size })
    }

    /// Whether [`Self::take`] would succeed. May sleep.
    pub(crate) fn is_preserved(phys: u64, size: usize) -> bool {
        preserved(phys, size).is_some()
    }

    /// Takes over what the kernel before preserved, and preserves it anew; `ENXIO` if there is no
    /// such folio, or somebody has it already. May sleep.
    pub(crate) fn take(phys: u64, size: usize) -> Result<Self> {
        preserved(phys, size).ok_or(ENXIO)?;
        // SAFETY: The folio waits to be restored, as just checked.
        let folio = unsafe { bindings::kho_restore_folio(phys) };
        let head = NonNull::new(folio.cast::<page>()).ok_or(ENXIO)?;
        // SAFETY: A restored folio is the caller's, with the order that was preserved, and is not
        // in what this kernel preserves.
        unsafe { Self::preserve(head, size) }
    }

    /// Its physical address.
    pub(crate) fn phys(&self) -> u64 {
        // SAFETY: The page is valid by the invariants.
        unsafe { bindings::mpstore_page_to_phys(self.head.as_ptr()) }
    }

    /// Its size in bytes.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    fn virt(&self) -> *mut core::ffi::c_void {
        // SAFETY: The page is valid, and no high memory: `GFP_KERNEL`, or preserved by one.
        unsafe { bindings::mpstore_page_address(self.head.as_ptr()) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: Preserved by the invariants, as this folio.
        unsafe { bindings::kho_unpreserve_folio(self.head.as_ptr().cast()) };
        // SAFETY: The reference is ours.
        unsafe { bindings::mpstore_folio_put(self.head.as_ptr()) };
    }
}

/// Maps blocks one behind the other, `len` bytes of them. The memory stays as long as the mapping,
/// but it is preserved only as long as the blocks. May sleep.
pub(crate) fn map(blocks: &[Block], len: usize) -> Result<PersistentMem> {
    // SAFETY: By the invariants of a block.
    unsafe { PersistentMem::folios(blocks.iter().map(|b| (b.head, b.size)), len) }
}

/// A block that the next kernel finds by name.
///
/// # Invariants
///
/// A subtree with this block is in what this kernel hands over.
pub(crate) struct Published {
    block: Block,
}

impl Published {
    /// Publishes the first `size` bytes of a block. `EEXIST` if the name is taken. May sleep.
    pub(crate) fn new(name: &CStr, block: Block, size: usize) -> Result<Self> {
        if size > block.size {
            return Err(EINVAL);
        }
        if !is_enabled() {
            // The callee would not look.
            return Err(EOPNOTSUPP);
        }
        // SAFETY: `name` is NUL-terminated and copied; the block is in the direct mapping and
        // stays until it is removed.
        to_result(unsafe { bindings::kho_add_subtree(name.as_char_ptr(), block.virt(), size) })?;
        // INVARIANT: Just added.
        Ok(Self { block })
    }

    /// The block.
    pub(crate) fn block(&self) -> &Block {
        &self.block
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        // SAFETY: Added by the invariants.
        unsafe { bindings::kho_remove_subtree(self.block.virt()) };
    }
}

/// What the kernel before published under a name. It is never restored, since its name can't be
/// taken out of what was handed over, and so stays reserved.
pub(crate) struct Incoming {
    phys: u64,
    size: usize,
    /// Of its folio.
    room: usize,
}

impl Incoming {
    /// Looks for it. `None` if there is nothing of that name, `EINVAL` if there is, but not in
    /// memory that was preserved for it. May sleep.
    pub(crate) fn find(name: &CStr) -> Result<Option<Self>> {
        let (mut phys, mut size) = (0, 0);
        // SAFETY: `name` is NUL-terminated, the others are valid for writes.
        let err =
            unsafe { bindings::kho_retrieve_subtree(name.as_char_ptr(), &mut phys, &mut size) };
        match to_result(err) {
            Err(e) if e == ENOENT => return Ok(None),
            other => other?,
        }
        if size == 0 || size > BLOCK_MAX {
            return Err(EINVAL);
        }
        let room = size.next_power_of_two().max(PAGE_SIZE);
        let this = Self { phys, size, room };
        this.virt().ok_or(EINVAL)?;
        Ok(Some(this))
    }

    /// Its physical address.
    pub(crate) fn phys(&self) -> u64 {
        self.phys
    }

    /// Bytes of memory that it lies in.
    pub(crate) fn room(&self) -> usize {
        self.room
    }

    /// Where it is, for as long as nobody restores it.
    fn virt(&self) -> Option<NonNull<u8>> {
        let head = preserved(self.phys, self.room)?;
        // SAFETY: The page has a descriptor.
        NonNull::new(unsafe { bindings::mpstore_page_address(head.as_ptr()) }.cast())
    }

    /// Its bytes from `at` on, at most `len`. May sleep.
    pub(crate) fn copy(&self, at: usize, len: usize) -> Result<VVec<u8>> {
        let len = len.min(self.size.saturating_sub(at));
        let mut to = VVec::from_elem(0u8, len, GFP_KERNEL)?;
        let virt = self.virt().ok_or(ENXIO)?;
        if len > 0 {
            // SAFETY: The folio has `room` bytes, at least `size`, and `at + len <= size`. It waits
            // to be restored, so it is nobody's.
            unsafe {
                core::ptr::copy_nonoverlapping(virt.as_ptr().add(at), to.as_mut_ptr(), len);
            }
        }
        Ok(to)
    }

    /// Writes to it. May sleep.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> Result {
        let end = at.checked_add(bytes.len()).ok_or(EINVAL)?;
        if end > self.size {
            return Err(EINVAL);
        }
        let virt = self.virt().ok_or(ENXIO)?;
        // SAFETY: As in `copy()`, and no reference to its bytes is ever made.
        unsafe {
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), virt.as_ptr().add(at), bytes.len());
        }
        Ok(())
    }
}

/// Blocks that a module left in place when it went, for the next kernel and for the module's next
/// load in this one. A platform device without a driver remembers them, since nobody else would.
pub(crate) struct Left {
    dev: NonNull<platform_device>,
}

// SAFETY: A device belongs to no thread, and what it remembers does not change.
unsafe impl Send for Left {}
// SAFETY: As above.
unsafe impl Sync for Left {}

/// Guards against another device of that name.
const LEFT_MAGIC: u64 = 0x6d70_7374_6f72_654b;

/// Leaves a published block and the others it speaks of, which stay as they are. If that fails
/// they are given back. May sleep.
pub(crate) fn leave(name: &CStr, published: Published, blocks: KVec<Block>) -> Result {
    let mut data = VVec::with_capacity(2 * blocks.len() + 4, GFP_KERNEL)?;
    data.push(LEFT_MAGIC, GFP_KERNEL)?;
    data.push(blocks.len() as u64 + 1, GFP_KERNEL)?;
    for block in Iterator::chain(core::iter::once(published.block()), &blocks) {
        data.push(block.head.as_ptr() as u64, GFP_KERNEL)?;
        data.push(block.size as u64, GFP_KERNEL)?;
    }
    // SAFETY: `name` is NUL-terminated; it and `data` are copied.
    let dev = unsafe {
        bindings::mpstore_platform_device_register(
            name.as_char_ptr(),
            data.as_ptr().cast(),
            data.len() * size_of::<u64>(),
        )
    };
    from_err_ptr(dev)?;
    // The device has them now.
    core::mem::forget(published);
    for block in blocks {
        core::mem::forget(block);
    }
    Ok(())
}

impl Left {
    /// Looks for what was left under a name. May sleep.
    pub(crate) fn find(name: &CStr) -> Option<Self> {
        // SAFETY: `name` is NUL-terminated.
        let dev = unsafe { bindings::mpstore_platform_device_find(name.as_char_ptr()) };
        let this = Self {
            dev: NonNull::new(dev)?,
        };
        let mut words = this.words();
        (words.next()? == LEFT_MAGIC).then_some(())?;
        drop(words);
        Some(this)
    }

    /// What [`leave`] wrote.
    fn words(&self) -> impl Iterator<Item = u64> + '_ {
        // SAFETY: The device is valid by the reference.
        let data = unsafe { (*self.dev.as_ptr()).dev.platform_data }.cast::<u64>();
        // SAFETY: Not null for a device made by `leave()`, and then it has at least two words.
        let head = (!data.is_null()).then(|| unsafe { [*data, *data.add(1)] });
        let count = match head {
            Some([LEFT_MAGIC, count]) => 2 + 2 * count as usize,
            _ => 0,
        };
        // SAFETY: There are that many.
        (0..count).map(move |n| unsafe { *data.add(n) })
    }

    /// The blocks, the published one first. They belong to the device.
    fn blocks(&self) -> Result<KVec<ManuallyDrop<Block>>> {
        let mut blocks = KVec::new();
        let mut words = self.words().skip(2);
        while let (Some(head), Some(size)) = (words.next(), words.next()) {
            let head = NonNull::new(head as *mut page).ok_or(EINVAL)?;
            // INVARIANT: As it was when `leave()` forgot it.
            let block = Block {
                head,
                size: size as usize,
            };
            blocks.push(ManuallyDrop::new(block), GFP_KERNEL)?;
        }
        Ok(blocks)
    }

    /// Physical address, size and content of the published block. May sleep.
    pub(crate) fn published(&self) -> Result<(u64, VVec<u8>)> {
        let blocks = self.blocks()?;
        let first = blocks.first().ok_or(EINVAL)?;
        let mem = map(core::slice::from_ref(&**first), first.size)?;
        let mut bytes = VVec::from_elem(0u8, first.size, GFP_KERNEL)?;
        mem.read(0, &mut bytes);
        Ok((first.phys(), bytes))
    }

    /// Maps the published block. The mapping outlives this. May sleep.
    pub(crate) fn map(&self) -> Result<PersistentMem> {
        let blocks = self.blocks()?;
        let first = blocks.first().ok_or(EINVAL)?;
        map(core::slice::from_ref(&**first), first.size)
    }

    /// Does all of [`Leaving::take`] that can fail. Changes nothing. May sleep.
    pub(crate) fn prepare(self) -> Result<Leaving> {
        let mut blocks = self.blocks()?;
        let published = blocks.remove(0).map_err(|_| EINVAL)?;
        let others = KVec::with_capacity(blocks.len(), GFP_KERNEL)?;
        Ok(Leaving {
            left: self,
            published,
            blocks,
            others,
        })
    }
}

/// What was left, on the way to its next owner.
pub(crate) struct Leaving {
    left: Left,
    published: ManuallyDrop<Block>,
    blocks: KVec<ManuallyDrop<Block>>,
    /// With space for them.
    others: KVec<Block>,
}

impl Leaving {
    /// Takes them over. May sleep.
    pub(crate) fn take(mut self) -> (Published, KVec<Block>) {
        // SAFETY: The device is valid by the reference, and was registered by `leave()`.
        unsafe { kernel::bindings::platform_device_unregister(self.left.dev.as_ptr()) };
        for block in self.blocks {
            // It has the space.
            let _ = self
                .others
                .push_within_capacity(ManuallyDrop::into_inner(block));
        }
        // INVARIANT: `leave()` forgot it as it was.
        let published = Published {
            block: ManuallyDrop::into_inner(self.published),
        };
        (published, self.others)
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        // SAFETY: The reference is ours.
        unsafe { kernel::bindings::put_device(&raw mut (*self.dev.as_ptr()).dev) };
    }
}

/// Release of this kernel.
pub(crate) fn release() -> &'static [u8] {
    // SAFETY: A NUL-terminated string that stays as it is while the kernel runs.
    unsafe { CStr::from_char_ptr(bindings::mpstore_release()) }.to_bytes()
}
