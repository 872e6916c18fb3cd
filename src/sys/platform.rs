// SPDX-License-Identifier: GPL-2.0

//! A platform driver for devices that describe a ramoops region: platform data as board code and
//! `chromeos_pstore` give it, or the properties of the device tree binding.
//!
//! `kernel::platform` gives a probe neither the platform data nor an object of the driver's own.
//!
//! C headers: [`include/linux/platform_device.h`](srctree/include/linux/platform_device.h),
//! [`include/linux/pstore_ram.h`](srctree/include/linux/pstore_ram.h)

use super::hooked::Hooked;
use kernel::{
    bindings::platform_device,
    error::{
        from_result,
        to_result, //
    },
    ffi::{
        c_int,
        c_void, //
    },
    prelude::*,
    sync::Arc, //
};
use mpstore_bindings as bindings;

/// What a device says of its region, unchecked.
#[derive(Clone, Copy, Default)]
pub(crate) struct RamoopsData {
    /// Physical address.
    pub(crate) mem_address: u64,
    /// Bytes.
    pub(crate) mem_size: u64,
    /// As ramoops' parameter.
    pub(crate) mem_type: u64,
    /// Bytes of a dmesg record.
    pub(crate) record_size: u64,
    /// Bytes of the console zone.
    pub(crate) console_size: u64,
    /// Bytes of the ftrace zones together.
    pub(crate) ftrace_size: u64,
    /// Bytes of the pmsg zone.
    pub(crate) pmsg_size: u64,
    /// Parity bytes.
    pub(crate) ecc_size: u64,
    /// As ramoops' parameter.
    pub(crate) max_reason: i64,
    /// Whether there is an ftrace zone for each CPU.
    pub(crate) ftrace_per_cpu: bool,
}

/// What binds to such devices.
pub(crate) trait Binder: Send + Sync + 'static {
    /// What is there while a device is bound; dropped when it is unbound.
    type Bound: Send + Sync + 'static;

    /// A device was found. May sleep.
    fn probe(&self, data: &RamoopsData) -> Result<Self::Bound>;
}

/// A registered driver; dropping it unbinds its devices.
///
/// # Invariants
///
/// The driver is registered, and stays where it is until it is unregistered.
pub(crate) struct Registration<T: Binder> {
    inner: Pin<KBox<Hooked<kernel::bindings::platform_driver, T>>>,
}

#[cfg(CONFIG_OF)]
/// The device tree binding's name, and an end.
struct OfTable([kernel::bindings::of_device_id; 2]);
#[cfg(CONFIG_OF)]
// SAFETY: Never changed.
unsafe impl Sync for OfTable {}

#[cfg(CONFIG_OF)]
static OF_TABLE: OfTable = {
    let mut first: kernel::bindings::of_device_id = pin_init::zeroed();
    let name = b"ramoops";
    let mut n = 0;
    while n < name.len() {
        first.compatible[n] = name[n] as _;
        n += 1;
    }
    OfTable([first, pin_init::zeroed()])
};

impl<T: Binder> Registration<T> {
    /// Registers the driver under `name`, to which a device without a device tree is bound by its
    /// `driver_override`. Devices may be probed before this returns. May sleep.
    pub(crate) fn new(
        target: Arc<T>,
        module: &'static ThisModule,
        name: &'static CStr,
    ) -> Result<Self> {
        let mut raw = kernel::bindings::platform_driver {
            probe: Some(Self::probe_callback),
            remove: Some(Self::remove_callback),
            ..Default::default()
        };
        raw.driver.name = name.as_char_ptr();
        #[cfg(CONFIG_OF)]
        {
            raw.driver.of_match_table = OF_TABLE.0.as_ptr();
        }
        let inner = Hooked::new(raw, target)?;
        // SAFETY: The driver is initialised, pinned, and unregistered before it is freed.
        to_result(unsafe {
            kernel::bindings::__platform_driver_register(
                inner.raw(),
                module.as_ptr(),
                name.as_char_ptr(),
            )
        })?;
        // INVARIANT: Just registered, in a pinned box.
        Ok(Self { inner })
    }

    /// # Safety
    ///
    /// Called by the driver core for a device that it binds to a driver of this type.
    unsafe extern "C" fn probe_callback(pdev: *mut platform_device) -> c_int {
        from_result(|| {
            // SAFETY: By the contract the device's driver is the `driver` of a registered
            // `platform_driver`, which is in a `Hooked` with this `T` and is unregistered, hence
            // not called any more, before it is freed.
            let target: &T = unsafe {
                let driver = (*pdev).dev.driver;
                Hooked::target(kernel::container_of!(
                    driver,
                    kernel::bindings::platform_driver,
                    driver
                ))
            };
            // SAFETY: The device is valid for as long as it is being probed.
            let data = unsafe { describe(pdev)? };
            let bound = KBox::new(target.probe(&data)?, GFP_KERNEL)?;
            // SAFETY: The driver data of a device belongs to the driver that binds to it.
            unsafe { (*pdev).dev.driver_data = KBox::into_raw(bound).cast::<c_void>() };
            Ok(0)
        })
    }

    /// # Safety
    ///
    /// Called by the driver core for a device that was probed with success.
    unsafe extern "C" fn remove_callback(pdev: *mut platform_device) {
        // SAFETY: Set by `probe_callback()`; the core calls this once for each probe.
        drop(unsafe { KBox::from_raw((*pdev).dev.driver_data.cast::<T::Bound>()) });
    }
}

/// Reads what a device says.
///
/// # Safety
///
/// `pdev` is valid.
unsafe fn describe(pdev: *mut platform_device) -> Result<RamoopsData> {
    // SAFETY: By the contract.
    let data = unsafe { (*pdev).dev.platform_data }.cast::<bindings::ramoops_platform_data>();
    // SAFETY: Whoever makes a device of this kind puts such a structure there, or nothing; the
    // in-tree driver relies on it in the same way.
    if let Some(data) = unsafe { data.as_ref() } {
        let ecc = &data.ecc_info;
        if !matches!(
            (ecc.block_size, ecc.symsize, ecc.poly),
            (0 | 128, 0 | 8, 0 | 0x11d)
        ) {
            pr_err!(
                "platform device: ecc_info: block_size {}, symsize {}, poly {:#x}: only 128, 8 and \
                 0x11d are known\n",
                ecc.block_size,
                ecc.symsize,
                ecc.poly
            );
            return Err(EINVAL);
        }
        return Ok(RamoopsData {
            mem_address: data.mem_address,
            mem_size: data.mem_size as u64,
            mem_type: data.mem_type.into(),
            record_size: data.record_size as u64,
            console_size: data.console_size as u64,
            ftrace_size: data.ftrace_size as u64,
            pmsg_size: data.pmsg_size as u64,
            ecc_size: u64::try_from(data.ecc_info.ecc_size)?,
            max_reason: data.max_reason.into(),
            ftrace_per_cpu: data.flags & bindings::MPSTORE_RAMOOPS_FTRACE_PER_CPU != 0,
        });
    }
    // SAFETY: By the contract.
    let res = unsafe {
        kernel::bindings::platform_get_resource(pdev, kernel::bindings::IORESOURCE_MEM, 0)
    };
    // SAFETY: Null, or valid while the device is.
    let res = unsafe { res.as_ref() }.ok_or(EINVAL)?;
    // SAFETY: By the contract.
    let dev = unsafe { &raw const (*pdev).dev };
    let number = |name: &CStr, default: u64| -> Result<u64> {
        let mut value = 0u32;
        // SAFETY: `dev` is valid, `name` is NUL-terminated, and there is room for one value.
        let err = unsafe {
            kernel::bindings::device_property_read_u32_array(dev, name.as_char_ptr(), &mut value, 1)
        };
        match to_result(err) {
            Ok(()) => Ok(value.into()),
            // The property is missing.
            Err(e) if e == EINVAL => Ok(default),
            Err(e) => {
                pr_err!("platform device: property {}: not a number\n", name);
                Err(e)
            }
        }
    };
    let has = |name: &CStr| {
        // SAFETY: As above.
        unsafe { kernel::bindings::device_property_present(dev, name.as_char_ptr()) }
    };
    // The deprecated properties count where the newer ones are missing.
    let mut data = RamoopsData {
        mem_address: res.start,
        mem_size: (res.end.wrapping_sub(res.start)).wrapping_add(1),
        mem_type: number(c"mem-type", has(c"unbuffered").into())?,
        record_size: number(c"record-size", 0)?,
        console_size: number(c"console-size", 0)?,
        ftrace_size: number(c"ftrace-size", 0)?,
        pmsg_size: number(c"pmsg-size", 0)?,
        ecc_size: number(c"ecc-size", 0)?,
        max_reason: i64::try_from(number(
            c"max-reason",
            if has(c"no-dump-oops") { 1 } else { 2 },
        )?)?,
        ftrace_per_cpu: number(c"flags", 0)? & u64::from(bindings::MPSTORE_RAMOOPS_FTRACE_PER_CPU)
            != 0,
    };
    // SAFETY: As above.
    let old_place = unsafe { bindings::mpstore_device_outside_reserved_memory(dev) };
    let others = data.console_size | data.ftrace_size | data.pmsg_size | data.ecc_size;
    if old_place && others == 0 {
        // Old Chromebooks have the node under the root, and rely on these sizes.
        data.console_size = data.record_size;
        data.pmsg_size = data.record_size;
    }
    Ok(data)
}

impl<T: Binder> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: Registered by the type invariant.
        unsafe { kernel::bindings::platform_driver_unregister(self.inner.raw()) };
    }
}
