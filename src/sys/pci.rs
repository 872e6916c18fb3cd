// SPDX-License-Identifier: GPL-2.0

//! PCI devices that belong to another driver: found behind a disk, looked at, their registers mapped
//! a second time.
//!
//! `kernel::pci` gives all that to the driver of a device only, which this module never is.
//!
//! C headers: [`include/linux/pci.h`](srctree/include/linux/pci.h),
//! [`include/linux/iommu.h`](srctree/include/linux/iommu.h)

use super::bdev;
use core::ptr::NonNull;
use kernel::{
    bindings as c,
    ffi::c_void,
    prelude::*,
    str::CStr, //
};
use mpstore_bindings as bindings;

/// How many base address registers there are.
const BARS: usize = 6;

/// A device, with a reference.
///
/// # Invariants
///
/// Valid, and a reference to it is owned.
pub(crate) struct Device(NonNull<c::pci_dev>);

// SAFETY: A device belongs to no thread; what is read of it here does not change while it is bound,
// or is a single word.
unsafe impl Send for Device {}
// SAFETY: As above.
unsafe impl Sync for Device {}

/// What lies between a disk and its controller.
pub(crate) struct Path {
    /// The controller.
    pub(crate) pci: Device,
    /// What `VIRTIO_F_ACCESS_PLATFORM` was negotiated to, if it is a virtio device.
    pub(crate) virtio_platform: Option<bool>,
    /// The port of a controller for ATA disks.
    pub(crate) ata: Option<AtaPort>,
}

/// A port with a disk.
#[derive(Clone, Copy)]
pub(crate) struct AtaPort {
    /// Its number on the controller.
    pub(crate) number: u32,
    /// Whether there is a disk behind it that takes addresses of 48 bits.
    pub(crate) disk: bool,
    /// Whether there is a port multiplier.
    pub(crate) multiplier: bool,
}

/// Whose memory a device sees.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Iommu {
    /// Physical memory: there is none, or it lets everything through.
    Direct,
    /// What the DMA API maps for it.
    Dma,
    /// Something else.
    Other(u32),
}

impl Path {
    /// Follows the parents of a disk up to a PCI device. [`None`] if it is on no PCI bus. May sleep.
    pub(crate) fn of(disk: &bdev::Device) -> Option<Self> {
        let (mut virtio_platform, mut ata) = (None, None);
        // SAFETY: The disk is open, and so there.
        let mut dev = unsafe { bindings::mpstore_bdev_device(disk.as_ptr()) };
        // No chain is longer.
        for _ in 0..16 {
            if dev.is_null() {
                return None;
            }
            // SAFETY: A device's parent stays while the device does, and the disk does.
            unsafe {
                if c::dev_is_pci(dev) {
                    let pci = NonNull::new(bindings::mpstore_to_pci_dev(dev))?;
                    c::pci_dev_get(pci.as_ptr());
                    return Some(Self {
                        // INVARIANT: Just taken.
                        pci: Device(pci),
                        virtio_platform,
                        ata,
                    });
                }
                match bindings::mpstore_virtio_platform(dev) {
                    n if n < 0 => {}
                    n => virtio_platform = Some(n != 0),
                }
                let (mut number, mut disk, mut multiplier) = (0, false, false);
                if ata.is_none()
                    && bindings::mpstore_ata_port(dev, &mut number, &mut disk, &mut multiplier)
                {
                    ata = Some(AtaPort {
                        number,
                        disk,
                        multiplier,
                    });
                }
                dev = (*dev).parent;
            }
        }
        None
    }
}

impl Device {
    /// Finds one by its address. May sleep.
    pub(crate) fn find(domain: i32, bus: u32, slot: u32, function: u32) -> Option<Self> {
        let devfn = (slot & 31) << 3 | function & 7;
        // SAFETY: Any address may be asked for. The answer comes with a reference.
        let dev = unsafe { c::pci_get_domain_bus_and_slot(domain, bus, devfn) };
        // INVARIANT: With a reference.
        NonNull::new(dev).map(Self)
    }

    fn dev(&self) -> *mut c::device {
        // SAFETY: Valid by the type invariant.
        unsafe { &raw mut (*self.0.as_ptr()).dev }
    }

    /// Whether `other` is this device. Any context.
    pub(crate) fn is(&self, other: *mut c::device) -> bool {
        self.dev() == other
    }

    /// The C object, for other wrappers in `sys`. It stays while this reference does.
    pub(super) fn as_device(&self) -> *mut c::device {
        self.dev()
    }

    /// Calls `f` with its name, which is its address.
    pub(crate) fn with_name<R>(&self, f: impl FnOnce(&CStr) -> R) -> R {
        // SAFETY: The name of a registered device stays.
        f(unsafe { CStr::from_char_ptr(c::dev_name(self.dev())) })
    }

    /// Vendor, device and class.
    pub(crate) fn ids(&self) -> (u16, u16, u32) {
        // SAFETY: Valid by the type invariant; fixed.
        unsafe {
            let dev = self.0.as_ptr();
            ((*dev).vendor, (*dev).device, (*dev).class)
        }
    }

    /// Whether its driver is called `name`. May sleep.
    pub(crate) fn driver_is(&self, name: &CStr) -> bool {
        // SAFETY: Valid by the type invariant. The device lock keeps the driver.
        unsafe {
            bindings::mpstore_device_lock(self.dev());
            let driver = (*self.dev()).driver;
            let is = !driver.is_null() && CStr::from_char_ptr((*driver).name) == name;
            bindings::mpstore_device_unlock(self.dev());
            is
        }
    }

    /// Whether MSI-X is on.
    pub(crate) fn msix(&self) -> bool {
        // SAFETY: Valid by the type invariant.
        unsafe { bindings::mpstore_pci_msix(self.0.as_ptr()) }
    }

    /// Whether the bus has had no error with it. Any context.
    pub(crate) fn healthy(&self) -> bool {
        // SAFETY: Valid by the type invariant; one word.
        unsafe { bindings::mpstore_pci_healthy(self.0.as_ptr()) }
    }

    /// The IOMMU's domain that it is in, as a number that tells one from another, and what that
    /// means. Only while it is bound. Any context.
    pub(crate) fn iommu(&self) -> (u64, Iommu) {
        let mut kind = 0;
        // SAFETY: Valid by the type invariant, and a bound device's domain stays.
        let domain = unsafe { bindings::mpstore_iommu_domain(self.dev(), &mut kind) };
        let kind = match kind {
            bindings::MPSTORE_IOMMU_NONE | bindings::MPSTORE_IOMMU_IDENTITY => Iommu::Direct,
            bindings::MPSTORE_IOMMU_DMA | bindings::MPSTORE_IOMMU_DMA_FQ => Iommu::Dma,
            n => Iommu::Other(n),
        };
        // CAST: A pointer's value, not used as one.
        (domain as u64, kind)
    }

    /// Calls `f` with the place of each capability with that number in configuration space, until it
    /// answers something.
    pub(crate) fn capabilities<R>(&self, id: u8, f: impl Fn(u8) -> Option<R>) -> Option<R> {
        // SAFETY: Valid by the type invariant.
        let mut at = unsafe { c::pci_find_capability(self.0.as_ptr(), id.into()) };
        for _ in 0..48 {
            if at == 0 {
                return None;
            }
            if let Some(found) = f(at) {
                return Some(found);
            }
            // SAFETY: As above.
            at = unsafe { c::pci_find_next_capability(self.0.as_ptr(), at, id.into()) };
        }
        None
    }

    /// Reads 32 bits of configuration space. May sleep.
    pub(crate) fn config32(&self, at: i32) -> u32 {
        let mut value = u32::MAX;
        // SAFETY: Valid by the type invariant; what can't be read is all ones.
        unsafe { c::pci_read_config_dword(self.0.as_ptr(), at, &mut value) };
        value
    }

    /// Bytes in a base address register, zero if there is none.
    pub(crate) fn bar_len(&self, bar: u8) -> usize {
        if usize::from(bar) >= BARS {
            return 0;
        }
        // SAFETY: Valid by the type invariant; the number is in range.
        let len = unsafe { c::pci_resource_len(self.0.as_ptr(), bar.into()) };
        usize::try_from(len).unwrap_or(0)
    }
}

impl Clone for Device {
    fn clone(&self) -> Self {
        // SAFETY: Valid by the type invariant.
        unsafe { c::pci_dev_get(self.0.as_ptr()) };
        // INVARIANT: Just taken.
        Self(self.0)
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // SAFETY: The reference is owned.
        unsafe { c::pci_dev_put(self.0.as_ptr()) };
    }
}

/// Whether devices can't read this machine's memory unless it is shared with them.
pub(crate) fn guest_encrypted() -> bool {
    // SAFETY: No preconditions.
    unsafe { bindings::mpstore_guest_encrypted() }
}

/// Registers that are mapped, and not claimed: their owner goes on using them.
///
/// # Invariants
///
/// `virt` is null, or what `pci_iomap()` mapped for that register, `len` bytes.
pub(crate) struct Bars {
    pci: Device,
    virt: [*mut c_void; BARS],
    len: [usize; BARS],
}

// SAFETY: A mapping belongs to no thread.
unsafe impl Send for Bars {}
// SAFETY: Registers may be reached from any CPU.
unsafe impl Sync for Bars {}

impl Bars {
    /// Maps these registers. May sleep.
    pub(crate) fn map(pci: &Device, which: &[u8]) -> Result<Self> {
        let mut this = Self {
            pci: pci.clone(),
            virt: [core::ptr::null_mut(); BARS],
            len: [0; BARS],
        };
        for &bar in which {
            let (Some(virt), Some(len)) = (
                this.virt.get_mut(usize::from(bar)),
                this.len.get_mut(usize::from(bar)),
            ) else {
                return Err(EINVAL);
            };
            if !virt.is_null() {
                continue;
            }
            let bytes = pci.bar_len(bar);
            // SAFETY: Valid; the number is in range. Zero maps all of it.
            let mapped = unsafe { c::pci_iomap(pci.0.as_ptr(), bar.into(), 0) };
            if mapped.is_null() || bytes == 0 {
                return Err(ENOMEM);
            }
            // INVARIANT: Just mapped.
            (*virt, *len) = (mapped, bytes);
        }
        Ok(this)
    }

    /// A register of `N` bytes, if it is mapped and aligned.
    fn register<const N: usize>(&self, bar: u8, at: usize) -> Option<*mut c_void> {
        let virt = *self.virt.get(usize::from(bar))?;
        let len = *self.len.get(usize::from(bar))?;
        if virt.is_null() || at % N != 0 || at.checked_add(N)? > len {
            return None;
        }
        Some(virt.wrapping_byte_add(at))
    }

    /// Reads a byte; all ones where nothing is mapped, as in all of these. Any context.
    pub(crate) fn read8(&self, bar: u8, at: usize) -> u8 {
        match self.register::<1>(bar, at) {
            // SAFETY: A mapped register.
            Some(r) => unsafe { c::ioread8(r) as u8 },
            None => !0,
        }
    }

    /// Reads 16 bits. Any context.
    pub(crate) fn read16(&self, bar: u8, at: usize) -> u16 {
        match self.register::<2>(bar, at) {
            // SAFETY: A mapped register.
            Some(r) => unsafe { c::ioread16(r) as u16 },
            None => !0,
        }
    }

    /// Reads 32 bits. Any context.
    pub(crate) fn read32(&self, bar: u8, at: usize) -> u32 {
        match self.register::<4>(bar, at) {
            // SAFETY: A mapped register.
            Some(r) => unsafe { c::ioread32(r) },
            None => !0,
        }
    }

    /// Writes a byte, or nothing where nothing is mapped. Any context.
    pub(crate) fn write8(&self, bar: u8, at: usize, value: u8) {
        if let Some(r) = self.register::<1>(bar, at) {
            // SAFETY: A mapped register.
            unsafe { c::iowrite8(value, r) };
        }
    }

    /// Writes 16 bits. Any context.
    pub(crate) fn write16(&self, bar: u8, at: usize, value: u16) {
        if let Some(r) = self.register::<2>(bar, at) {
            // SAFETY: A mapped register.
            unsafe { c::iowrite16(value, r) };
        }
    }

    /// Writes 32 bits. Any context.
    pub(crate) fn write32(&self, bar: u8, at: usize, value: u32) {
        if let Some(r) = self.register::<4>(bar, at) {
            // SAFETY: A mapped register.
            unsafe { c::iowrite32(value, r) };
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        for virt in self.virt.iter().filter(|v| !v.is_null()) {
            // SAFETY: Mapped by the type invariant.
            unsafe { c::pci_iounmap(self.pci.0.as_ptr(), *virt) };
        }
    }
}
