// SPDX-License-Identifier: GPL-2.0

//! Memory that outlives the kernel: finding, mapping and copying it.
//!
//! C headers: [`include/linux/io.h`](srctree/include/linux/io.h),
//! [`include/linux/ioport.h`](srctree/include/linux/ioport.h),
//! [`include/linux/vmalloc.h`](srctree/include/linux/vmalloc.h)

use core::ptr::NonNull;
use kernel::{
    error::to_result,
    ffi::{
        c_char,
        c_int,
        c_void, //
    },
    prelude::*,
    str::CStr,
    uaccess::{
        UserPtr,
        UserSlice, //
    }, //
};
use mpstore_bindings as bindings;
use zerocopy::{
    Immutable,
    IntoBytes, //
};

/// Up to this many bytes are taken from a task by words: a string instruction takes its time to
/// begin.
const WORDWISE_MAX: usize = 4096;

const PAGE_SIZE: u64 = bindings::MPSTORE_PAGE_SIZE;

/// Why a region can't be used.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum RegionError {
    /// Part of it is memory that the kernel uses.
    SystemRam,
    /// It ends beyond what the CPU can address, or wraps.
    Address,
    /// A driver or another user of this module has it.
    Busy,
    /// The kernel would not map it.
    Map,
    /// Nothing answers there.
    NoMemory,
    /// Out of memory for the mapping's bookkeeping.
    Alloc,
}

impl RegionError {
    /// What is wrong and what would be right, for the log.
    pub(crate) fn remedy(self) -> &'static str {
        match self {
            Self::SystemRam => {
                "it is memory in use by the kernel; reserve it with memmap=SIZE$ADDRESS, or use \
                 reserve_mem= and mem_name="
            }
            Self::Address => "it ends beyond the physical address space of this machine",
            Self::Busy => "a driver has claimed it already (see /proc/iomem)",
            Self::Map => "the kernel can't map it",
            Self::NoMemory => "no memory answers there; take a range of RAM from the memory map",
            Self::Alloc => "out of memory while mapping it",
        }
    }

    /// The errno that goes with it.
    pub(crate) fn errno(self) -> Error {
        match self {
            Self::SystemRam | Self::Address => EINVAL,
            Self::Busy => EBUSY,
            Self::NoMemory => ENODEV,
            Self::Map | Self::Alloc => ENOMEM,
        }
    }
}

/// Address and size in bytes of the region that `reserve_mem=` made under `name`. May sleep.
pub(crate) fn reserved_by_name(name: &CStr) -> Option<(u64, usize)> {
    let (mut start, mut size) = (0, 0);
    // SAFETY: `name` is NUL-terminated, the others are valid for writes.
    let found =
        unsafe { bindings::reserve_mem_find_by_name(name.as_char_ptr(), &mut start, &mut size) };
    (found != 0).then_some((start, usize::try_from(size).ok()?))
}

/// How a region is mapped; the numbers are those of ramoops' `mem_type`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemType {
    /// Write-combining: fast, and not in a cache that a reset may lose.
    WriteCombining = 0,
    /// Not cached at all.
    Uncached = 1,
    /// Cached; what a reset finds in a cache may be lost. Without pages uncached, as in-tree.
    Cached = 2,
}

/// Bytes in the memory of the task that runs.
#[derive(Clone, Copy)]
pub(crate) struct UserBytes {
    addr: usize,
    len: usize,
}

impl UserBytes {
    /// Any address may be given.
    pub(crate) fn new(addr: usize, len: usize) -> Self {
        Self { addr, len }
    }

    /// How many.
    pub(crate) fn len(self) -> usize {
        self.len
    }

    /// `len` of them from the `at`th on, or as many as there are.
    pub(crate) fn part(self, at: usize, len: usize) -> Self {
        let at = at.min(self.len);
        Self {
            addr: self.addr.wrapping_add(at),
            len: len.min(self.len - at),
        }
    }

    /// Makes them readable for now without a page fault, if they can be and if it takes that to
    /// copy all of them or none: what lies in one page needs nothing. May sleep.
    pub(crate) fn fault_in(self) -> bool {
        let last = self.addr.wrapping_add(self.len.saturating_sub(1));
        // CAST: A page is smaller than the address space.
        if (self.addr ^ last) < PAGE_SIZE as usize {
            return true;
        }
        // SAFETY: Any address may be given.
        unsafe { kernel::bindings::fault_in_readable(self.addr as *const c_char, self.len) == 0 }
    }

    /// Copies them. Fails with `EFAULT`. May sleep.
    pub(crate) fn read(self, to: &mut [u8]) -> Result {
        UserSlice::new(UserPtr::from_addr(self.addr), self.len)
            .reader()
            .read_slice(to)
    }
}

enum Kind {
    /// Pages that the kernel knows, mapped again.
    Vmap(NonNull<c_void>),
    /// Memory without pages, mapped as device memory; the resource is claimed.
    Io { start: u64 },
    /// Ordinary kernel memory, which does not outlive anything. Kept by `VVec`.
    Heap(VVec<u8>),
    /// Folios laid end to end, each with a reference.
    #[cfg(CONFIG_KEXEC_HANDOVER)]
    Folios {
        base: NonNull<c_void>,
        heads: KVec<*mut kernel::bindings::page>,
    },
}

/// A mapped range of bytes that others (hardware, an earlier kernel) may have written.
///
/// All access is by copy and checked against the length; what lies outside reads as zero and is
/// not written.
///
/// # Invariants
///
/// `virt` is valid for reads and writes of `len` bytes until the value is dropped. `writable` is at
/// most `len`.
pub(crate) struct PersistentMem {
    virt: NonNull<u8>,
    len: usize,
    /// Bytes from the beginning that may be written: all, or none.
    writable: usize,
    kind: Kind,
}

// SAFETY: The mapping belongs to no thread.
unsafe impl Send for PersistentMem {}
// SAFETY: Concurrent copies may tear but touch only the mapped bytes, to which no reference is
// ever made.
unsafe impl Sync for PersistentMem {}

impl PersistentMem {
    /// Maps `len` bytes at the physical address `start`. Writes nothing, except that a region that
    /// begins with all ones or zeros is probed for memory with one word, put back after.
    ///
    /// `owned` says that the caller was given the range (`reserve_mem=`), so that it may lie in
    /// System RAM. May sleep.
    pub(crate) fn map(
        start: u64,
        len: usize,
        owned: bool,
        how: MemType,
    ) -> Result<Self, RegionError> {
        let mem = Self::map_unseen(start, len, owned, how)?;
        if !mem.answers() {
            return Err(RegionError::NoMemory);
        }
        Ok(mem)
    }

    /// The same for memory that is somebody else's: what is written to it is dropped, and nothing is
    /// probed. May sleep.
    pub(crate) fn map_read_only(start: u64, len: usize, how: MemType) -> Result<Self, RegionError> {
        let mut mem = Self::map_unseen(start, len, false, how)?;
        mem.writable = 0;
        Ok(mem)
    }

    fn map_unseen(start: u64, len: usize, owned: bool, how: MemType) -> Result<Self, RegionError> {
        let last = u64::try_from(len)
            .ok()
            .and_then(|len| len.checked_sub(1))
            .and_then(|l| start.checked_add(l))
            .ok_or(RegionError::Address)?;
        // SAFETY: Looks at CPU data only.
        if !unsafe { bindings::mpstore_phys_addr_fits(last) } {
            return Err(RegionError::Address);
        }
        if !owned && Self::is_system_ram(start, len) {
            return Err(RegionError::SystemRam);
        }
        // SAFETY: Any frame number may be asked about.
        let known = unsafe {
            bindings::mpstore_pfn_valid((start / PAGE_SIZE) as usize)
                && bindings::mpstore_pfn_valid((last / PAGE_SIZE) as usize)
        };
        if known {
            Self::vmap(start, last, len, how)
        } else {
            Self::ioremap(start, len, how)
        }
    }

    /// Ordinary zeroed memory, for tests. May sleep.
    pub(crate) fn heap(len: usize) -> Result<Self> {
        let mut mem = VVec::from_elem(0u8, len, GFP_KERNEL)?;
        let virt = NonNull::new(mem.as_mut_ptr()).ok_or(ENOMEM)?;
        // INVARIANT: The vector is never resized and lives as long as the value.
        Ok(Self {
            virt,
            len,
            writable: len,
            kind: Kind::Heap(mem),
        })
    }

    /// Maps folios one behind the other, cached. Each is given by its first page and its size in
    /// bytes. The mapping holds a reference to them. May sleep.
    ///
    /// # Safety
    ///
    /// Each is a folio of that size, to which the caller has a reference.
    #[cfg(CONFIG_KEXEC_HANDOVER)]
    pub(super) unsafe fn folios(
        folios: impl Iterator<Item = (NonNull<kernel::bindings::page>, usize)>,
        len: usize,
    ) -> Result<Self> {
        let (mut heads, mut pages, mut sum) = (KVec::new(), VVec::new(), 0usize);
        for (head, size) in folios {
            heads.push(head.as_ptr(), GFP_KERNEL)?;
            for n in 0..size / (PAGE_SIZE as usize) {
                // SAFETY: The folio has that many pages, whose descriptors are an array.
                pages.push(unsafe { head.as_ptr().add(n) }, GFP_KERNEL)?;
            }
            sum = sum.saturating_add(size);
        }
        if len == 0 || len > sum {
            return Err(EINVAL);
        }
        let count = u32::try_from(pages.len()).map_err(|_| E2BIG)?;
        // SAFETY: `pages` holds `count` page pointers, which the callee only reads.
        let base = unsafe {
            bindings::mpstore_vmap(pages.as_mut_ptr().cast(), count, MemType::Cached as u32)
        };
        let base = NonNull::new(base).ok_or(ENOMEM)?;
        for head in &heads {
            // SAFETY: The caller has a reference.
            unsafe { bindings::mpstore_folio_get(*head) };
        }
        // INVARIANT: The mapping covers `sum` bytes, and its pages stay by the references.
        Ok(Self {
            virt: base.cast(),
            len,
            writable: len,
            kind: Kind::Folios { base, heads },
        })
    }

    fn is_system_ram(start: u64, len: usize) -> bool {
        // SAFETY: Only looks at the resource tree, under its lock.
        let hit = unsafe {
            bindings::region_intersects(
                start,
                len,
                kernel::bindings::IORESOURCE_SYSTEM_RAM as usize,
                bindings::IORES_DESC_NONE as usize,
            )
        };
        // CAST: An enum of C, small either way.
        hit as u32 != bindings::REGION_DISJOINT
    }

    fn vmap(start: u64, last: u64, len: usize, how: MemType) -> Result<Self, RegionError> {
        let (first, last) = (start / PAGE_SIZE, last / PAGE_SIZE);
        let mut pages = VVec::new();
        for pfn in first..=last {
            // SAFETY: Any frame number may be asked about.
            if !unsafe { bindings::mpstore_pfn_valid(pfn as usize) } {
                return Err(RegionError::Map);
            }
            // SAFETY: The frame is valid.
            let page = unsafe { bindings::mpstore_pfn_to_page(pfn as usize) };
            pages
                .push(page, GFP_KERNEL)
                .map_err(|_| RegionError::Alloc)?;
        }
        let count = u32::try_from(pages.len()).map_err(|_| RegionError::Map)?;
        // SAFETY: `pages` holds `count` page pointers, which the callee only reads.
        let base = unsafe { bindings::mpstore_vmap(pages.as_mut_ptr().cast(), count, how as u32) };
        let base = NonNull::new(base).ok_or(RegionError::Map)?;
        // CAST: Below PAGE_SIZE.
        let offset = (start % PAGE_SIZE) as usize;
        // INVARIANT: The mapping covers every page from the first to the last byte.
        // SAFETY: `offset` lies within the first mapped page.
        let virt = unsafe { base.cast::<u8>().add(offset) };
        Ok(Self {
            virt,
            len,
            writable: len,
            kind: Kind::Vmap(base),
        })
    }

    fn ioremap(start: u64, len: usize, how: MemType) -> Result<Self, RegionError> {
        // SAFETY: The name is static; the region is released when the mapping goes.
        let res = unsafe {
            kernel::bindings::request_mem_region(start, len as u64, c"mpstore".as_char_ptr())
        };
        if res.is_null() {
            return Err(RegionError::Busy);
        }
        // SAFETY: The range is ours by the claim above.
        let virt = unsafe { bindings::mpstore_ioremap(start, len, how as u32) };
        match NonNull::new(virt.cast::<u8>()) {
            // INVARIANT: The callee mapped `len` bytes.
            Some(virt) => Ok(Self {
                virt,
                len,
                writable: len,
                kind: Kind::Io { start },
            }),
            None => {
                // SAFETY: Claimed above.
                unsafe { kernel::bindings::release_mem_region(start, len as u64) };
                Err(RegionError::Map)
            }
        }
    }

    /// Whether there is memory. An address that nobody answers reads as all ones or all zeros. A
    /// region that begins so has no zone there that could be damaged, and one word of it is tried.
    fn answers(&self) -> bool {
        let mut old = [0u8; 16];
        self.read(0, &mut old);
        if old != [0; 16] && old != [0xff; 16] {
            return true;
        }
        let (probe, mut back) = ([0x5a, 0xa5, 0x5a, 0xa5], [0u8; 4]);
        self.write(0, &probe);
        super::context::write_barrier();
        self.read(0, &mut back);
        self.write(0, old.get(..4).unwrap_or(&[]));
        super::context::write_barrier();
        probe == back
    }

    /// How many of `want` bytes at `at` there are.
    fn clamp(&self, at: usize, want: usize) -> usize {
        self.len.saturating_sub(at).min(want)
    }

    /// How many of `want` bytes at `at` may be written.
    fn clamp_write(&self, at: usize, want: usize) -> usize {
        self.writable.saturating_sub(at).min(want)
    }

    /// Copies from offset `at` into `to`. Any context.
    pub(crate) fn read(&self, at: usize, to: &mut [u8]) {
        let n = self.clamp(at, to.len());
        if let Some(rest) = to.get_mut(n..) {
            rest.fill(0);
        }
        if n > 0 {
            // SAFETY: `at + n <= len` by `clamp()`, and `virt` is valid for `len` bytes; `to` has
            // at least `n` bytes and does not overlap a mapping that no reference points into.
            unsafe {
                kernel::bindings::memcpy_fromio(
                    to.as_mut_ptr().cast(),
                    self.virt.as_ptr().add(at).cast(),
                    n,
                )
            };
        }
    }

    /// Copies `len` bytes from offset `at` on to the end of `to`, or what there is and what there
    /// is room for. Any context.
    pub(crate) fn read_more(&self, at: usize, len: usize, to: &mut KVVec<u8>) {
        let room = to.spare_capacity_mut();
        let n = self.clamp(at, len).min(room.len());
        if n > 0 {
            // SAFETY: `at + n <= len` by `clamp()`, and `virt` is valid for `len` bytes; there is
            // room for `n` bytes, which does not overlap the mapping.
            unsafe {
                kernel::bindings::memcpy_fromio(
                    room.as_mut_ptr().cast(),
                    self.virt.as_ptr().add(at).cast(),
                    n,
                );
                to.inc_len(n);
            }
        }
    }

    /// Stores a small value at offset `at`, or nothing if it does not fit. Calls no function, for
    /// those who are called for every function. Any context.
    #[inline]
    pub(crate) fn put<T: IntoBytes + Immutable>(&self, at: usize, value: T) {
        /// Makes the store one for any alignment.
        #[repr(C, packed)]
        struct Unaligned<T>(T);

        if !cfg!(CONFIG_X86) {
            // Unaligned stores may not do on memory that is mapped as a device.
            return self.write(at, value.as_bytes());
        }
        if self.clamp_write(at, size_of::<T>()) == size_of::<T>() {
            // SAFETY: The value lies in `0..len` as just checked, and `virt` is valid for writes
            // of `len` bytes. A packed struct has no alignment, and to other bytes than these a
            // store is not visible.
            unsafe {
                self.virt
                    .as_ptr()
                    .add(at)
                    .cast::<Unaligned<T>>()
                    .write_volatile(Unaligned(value));
            }
        }
    }

    /// Copies `from` to offset `at`. Fails with `EFAULT` where a page is not there at the moment,
    /// after a part may have been copied. Only in the context of the task whose memory it is; does
    /// not sleep.
    pub(crate) fn write_user(&self, at: usize, from: UserBytes) -> Result {
        if self.clamp_write(at, from.len) < from.len {
            return Err(EINVAL);
        }
        if from.len <= WORDWISE_MAX {
            // SAFETY: `at + from.len <= len`, and `virt` is valid for writes of `len` bytes. The
            // source is checked by the callee.
            let done = unsafe {
                bindings::mpstore_copy_user_words(
                    self.virt.as_ptr().add(at).cast(),
                    from.addr,
                    from.len,
                )
            };
            return done.then_some(()).ok_or(EFAULT);
        }
        // SAFETY: As above.
        to_result(unsafe {
            kernel::bindings::copy_from_user_nofault(
                self.virt.as_ptr().add(at).cast(),
                from.addr as *const c_void,
                from.len,
            )
        } as c_int)
    }

    /// Writes `words` from offset `at` on, each in one piece where it lies on its boundary, first
    /// to last. Any context.
    pub(crate) fn write_words<const N: usize>(&self, at: usize, words: [u32; N]) {
        let to = self.virt.as_ptr().wrapping_add(at).cast::<u32>();
        if self.clamp_write(at, 4 * N) < 4 * N || !to.is_aligned() {
            for (i, word) in words.into_iter().enumerate() {
                self.write(at + 4 * i, &word.to_ne_bytes());
            }
            return;
        }
        for (i, word) in words.into_iter().enumerate() {
            // SAFETY: `at + 4 * N <= len` by `clamp_write()`, `virt` is valid for writes of `len` bytes,
            // and the address was found to be aligned.
            unsafe { to.add(i).write_volatile(word) };
        }
    }

    /// Copies `from` to offset `at`. Any context.
    pub(crate) fn write(&self, at: usize, from: &[u8]) {
        let n = self.clamp_write(at, from.len());
        if n > 0 {
            // SAFETY: `at + n <= len` by `clamp_write()`, and `virt` is valid for `len` bytes; `from`
            // has at least `n` bytes.
            unsafe {
                kernel::bindings::memcpy_toio(
                    self.virt.as_ptr().add(at).cast(),
                    from.as_ptr().cast(),
                    n,
                )
            };
        }
    }
}

impl Drop for PersistentMem {
    fn drop(&mut self) {
        match &self.kind {
            // SAFETY: Made by `vmap()`, and by ownership nobody uses it any more.
            Kind::Vmap(base) => unsafe { bindings::vunmap(base.as_ptr()) },
            Kind::Io { start } => {
                // SAFETY: Made by `ioremap()`, and by ownership nobody uses it any more.
                unsafe { bindings::mpstore_iounmap(self.virt.as_ptr().cast()) };
                // SAFETY: Claimed when it was mapped.
                unsafe { kernel::bindings::release_mem_region(*start, self.len as u64) };
            }
            Kind::Heap(mem) => debug_assert!(mem.len() == self.len),
            #[cfg(CONFIG_KEXEC_HANDOVER)]
            Kind::Folios { base, heads } => {
                // SAFETY: Made by `folios()`, and by ownership nobody uses it any more.
                unsafe { bindings::vunmap(base.as_ptr()) };
                for head in heads {
                    // SAFETY: The reference was taken there.
                    unsafe { bindings::mpstore_folio_put(*head) };
                }
            }
        }
    }
}
