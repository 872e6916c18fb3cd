// SPDX-License-Identifier: GPL-2.0

//! Memory that a device reads and writes, for a device that belongs to another driver.
//!
//! C header: [`include/linux/dma-mapping.h`](srctree/include/linux/dma-mapping.h)

use super::pci;
use core::ptr::NonNull;
use kernel::{
    bindings as c,
    ffi::c_void,
    prelude::*, //
};
use mpstore_bindings as bindings;

enum Kind {
    /// Of the DMA API, for this device.
    Coherent(pci::Device),
    /// A folio that the device is given the physical address of.
    Physical(NonNull<c::page>),
}

/// Zeroed memory in one piece, aligned to a page.
///
/// # Invariants
///
/// `virt` is valid for reads and writes of `len` bytes; no reference is ever made to them.
pub(crate) struct DmaMemory {
    virt: NonNull<u8>,
    bus: u64,
    len: usize,
    kind: Kind,
}

// SAFETY: Memory belongs to no thread.
unsafe impl Send for DmaMemory {}
// SAFETY: Copies may tear, as they may with the device, but touch only these bytes.
unsafe impl Sync for DmaMemory {}

impl DmaMemory {
    /// Memory of the DMA API, at an address that the device's IOMMU, if it has one, knows. It must be
    /// given back while the device is bound to the driver that it is bound to now. May sleep.
    pub(crate) fn coherent(pci: &pci::Device, len: usize) -> Result<Self> {
        let mut bus = 0;
        // SAFETY: The device is valid.
        let virt = unsafe {
            c::dma_alloc_attrs(
                pci.as_device(),
                len,
                &mut bus,
                bindings::MPSTORE_GFP_ZERO,
                0,
            )
        };
        let virt = NonNull::new(virt.cast::<u8>()).ok_or(ENOMEM)?;
        // INVARIANT: Just allocated.
        Ok(Self {
            virt,
            bus,
            len,
            kind: Kind::Coherent(pci.clone()),
        })
    }

    /// Memory that the device finds at its physical address, `1 << order` pages. May sleep.
    pub(crate) fn physical(order: u32) -> Result<Self> {
        // SAFETY: No preconditions.
        let page = unsafe { bindings::mpstore_folio_alloc(order, true) };
        let page = NonNull::new(page).ok_or(ENOMEM)?;
        // SAFETY: Just allocated, without highmem.
        let (virt, bus) = unsafe {
            (
                bindings::mpstore_page_address(page.as_ptr()),
                bindings::mpstore_page_to_phys(page.as_ptr()),
            )
        };
        let virt: *mut c_void = virt;
        // INVARIANT: Just allocated.
        Ok(Self {
            virt: NonNull::new(virt.cast::<u8>()).ok_or(ENOMEM)?,
            bus,
            // CAST: A page's size.
            len: (bindings::MPSTORE_PAGE_SIZE as usize) << order,
            kind: Kind::Physical(page),
        })
    }

    /// Where it is for the device.
    pub(crate) fn bus(&self) -> u64 {
        self.bus
    }

    fn part(&self, at: usize, len: usize) -> Option<*mut u8> {
        (at.checked_add(len)? <= self.len).then(|| self.virt.as_ptr().wrapping_add(at))
    }

    /// Copies from `at` on; what lies outside is not copied. Any context.
    pub(crate) fn get(&self, at: usize, to: &mut [u8]) {
        let Some(from) = self.part(at, to.len()) else {
            return;
        };
        for (n, byte) in to.iter_mut().enumerate() {
            // SAFETY: Within the memory as just checked. Volatile, as the device writes there.
            *byte = unsafe { from.wrapping_add(n).read_volatile() };
        }
    }

    /// Copies to `at` on; what lies outside is not copied. Any context.
    pub(crate) fn put(&self, at: usize, from: &[u8]) {
        let Some(to) = self.part(at, from.len()) else {
            return;
        };
        // A device may look at a field while it changes; in one piece it is right before and after.
        match *from {
            [a, b] if at % 2 == 0 => {
                // SAFETY: Within the memory, which is aligned to a page, and aligned as just checked.
                unsafe { to.cast::<u16>().write_volatile(u16::from_ne_bytes([a, b])) }
            }
            _ => {
                for (n, byte) in from.iter().enumerate() {
                    // SAFETY: Within the memory as just checked.
                    unsafe { to.wrapping_add(n).write_volatile(*byte) };
                }
            }
        }
    }
}

impl Drop for DmaMemory {
    fn drop(&mut self) {
        match &self.kind {
            // SAFETY: Allocated for this device with this size, and by the contract of `coherent()`
            // it is still bound.
            Kind::Coherent(pci) => unsafe {
                c::dma_free_attrs(
                    pci.as_device(),
                    self.len,
                    self.virt.as_ptr().cast(),
                    self.bus,
                    0,
                );
            },
            // SAFETY: The reference is from the allocation.
            Kind::Physical(page) => unsafe { bindings::mpstore_folio_put(page.as_ptr()) },
        }
    }
}
