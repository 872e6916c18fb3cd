// SPDX-License-Identifier: GPL-2.0

//! Regions that the platform describes: a device tree node `ramoops`, or a platform device as
//! `chromeos_pstore` and board code make it.
//!
//! The driver is called `mpstore`, so that it does not stand in the way of the in-tree one, and a
//! device is bound to one of them only. Nodes of a device tree are taken by whoever comes first;
//! other devices by `driver_override`.

use crate::{
    control::Control,
    dispatch::{
        Dispatcher,
        Entry,
        BACKENDS_MAX, //
    },
    params::{
        Place,
        RegionConfig,
        Vmcore, //
    },
    record::Kinds,
    regions,
    sys::{
        cpu,
        mem::MemType,
        platform::{
            self,
            RamoopsData, //
        },
    },
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use mpstore_format::{
    ecc::{
        ECC_SIZE_DEFAULT,
        ECC_SIZE_MAX, //
    },
    layout::RamSizes,
};

struct Binder {
    control: Arc<Control>,
}

/// A backend, for as long as its device is bound.
struct Bound {
    control: Arc<Control>,
    entry: Arc<Entry>,
}

impl Drop for Bound {
    fn drop(&mut self) {
        self.control.remove(&self.entry);
    }
}

/// A value that can't be right, in one line.
fn refuse<T>(what: &str, value: u64, right: &str) -> Result<T> {
    pr_err!("platform device: {}={}: {}\n", what, value, right);
    Err(EINVAL)
}

impl Binder {
    /// The first name of the series that is free, for who holds changes of the set up.
    fn name(dispatcher: &Dispatcher) -> Result<CString> {
        for n in 0..=BACKENDS_MAX {
            let name = match n {
                0 => CString::try_from_fmt(fmt!("ramoops"))?,
                n => CString::try_from_fmt(fmt!("ramoops{}", n))?,
            };
            if dispatcher.find(&name).is_none() {
                return Ok(name);
            }
        }
        Err(E2BIG)
    }
}

impl platform::Binder for Binder {
    type Bound = Bound;

    fn probe(&self, data: &RamoopsData) -> Result<Bound> {
        let size = |n: u64| usize::try_from(n).map_err(|_| EOVERFLOW);
        let mut config = RegionConfig {
            name: CString::try_from(c"ramoops")?,
            place: Place::Address(data.mem_address),
            size: Some(size(data.mem_size)?),
            crash_size: 0,
            vmcore: Vmcore::Auto,
            mem_type: match data.mem_type {
                0 => MemType::WriteCombining,
                1 => MemType::Uncached,
                2 => MemType::Cached,
                other => return refuse("mem_type", other, "must be 0, 1 or 2"),
            },
            sizes: RamSizes {
                mem_size: 0,
                record_size: size(data.record_size)?,
                console_size: size(data.console_size)?,
                ftrace_size: size(data.ftrace_size)?,
                pmsg_size: size(data.pmsg_size)?,
                // Nothing in the platform's description leaves room for it.
                tty_size: 0,
                ftrace_zones: match data.ftrace_per_cpu {
                    true => cpu::possible_ids(),
                    false => 1,
                },
                ecc_size: match size(data.ecc_size)? {
                    1 => ECC_SIZE_DEFAULT,
                    n if n <= ECC_SIZE_MAX => n,
                    _ => return refuse("ecc_size", data.ecc_size, "must be at most 127"),
                },
            }
            .rounded(),
            max_reason: match u32::try_from(data.max_reason) {
                Ok(reason) if reason <= 4 => reason,
                _ => {
                    pr_err!(
                        "platform device: max_reason={}: must be 0 to 4\n",
                        data.max_reason
                    );
                    return Err(EINVAL);
                }
            },
        };
        let make = |dispatcher: &Dispatcher| {
            config.name = Self::name(dispatcher)?;
            Ok(regions::ram(&config, dispatcher)?.0)
        };
        Ok(Bound {
            entry: self.control.add(Kinds::default(), make)?,
            control: self.control.clone(),
        })
    }
}

/// The registered driver.
pub(crate) struct Platform {
    _registration: platform::Registration<Binder>,
}

impl Platform {
    /// Registers it; devices that wait are bound at once. May sleep.
    pub(crate) fn register(control: Arc<Control>, module: &'static ThisModule) -> Result<Self> {
        let binder = Arc::new(Binder { control }, GFP_KERNEL)?;
        Ok(Self {
            _registration: platform::Registration::new(binder, module, c"mpstore")?,
        })
    }
}
