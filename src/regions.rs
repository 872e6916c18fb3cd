// SPDX-License-Identifier: GPL-2.0

//! Makes backends from the configuration.
//!
//! Nothing is written to a medium here. One that can't be made is one line in the log and leaves
//! the others alone.

use crate::{
    backend::{
        mem::Mem,
        ram::Ram,
        Backend, //
    },
    dispatch::{
        Dispatcher,
        Entry,
        BACKENDS_MAX, //
    },
    intree,
    params::{
        Config,
        Effective,
        KhoConfig,
        MemConfig,
        Place,
        RegionConfig, //
    },
    sys::mem::{
        self,
        PersistentMem, //
    },
};
use kernel::{
    prelude::*,
    str::CString,
    sync::Arc, //
};
use mpstore_format::layout::{
    RamLayout,
    RamSizes, //
};

/// What became of the configuration.
pub(crate) struct Made {
    /// The backends, not yet active.
    pub(crate) entries: KVec<Arc<Entry>>,
    /// What is in force.
    pub(crate) effective: Effective,
    /// Error of the first backend that could not be made.
    pub(crate) failed: Option<Error>,
}

/// Makes all backends of the parameters. May sleep.
pub(crate) fn make(config: &Config, dispatcher: &Dispatcher) -> Result<Made> {
    let mut made = Made {
        entries: KVec::new(),
        effective: Effective::default(),
        failed: None,
    };
    let count = config.regions.len() + usize::from(config.kho.is_some()) + config.mems.len();
    if count > BACKENDS_MAX {
        pr_err!("{} backends: at most {} at once\n", count, BACKENDS_MAX);
        return Err(E2BIG);
    }
    for region in &config.regions {
        let added = ram(region, dispatcher).and_then(|(backend, address, sizes)| {
            made.effective.add(region, address, &sizes)?;
            dispatcher.add(backend)
        });
        match added {
            Ok(entry) => made.entries.push(entry, GFP_KERNEL)?,
            Err(e) => made.failed = made.failed.or(Some(e)),
        }
    }
    if let Some(config) = &config.kho {
        match kho(config).and_then(|backend| dispatcher.add(backend)) {
            Ok(entry) => made.entries.push(entry, GFP_KERNEL)?,
            Err(e) => made.failed = made.failed.or(Some(e)),
        }
    }
    for config in &config.mems {
        match plain(config).and_then(|backend| dispatcher.add(backend)) {
            Ok(entry) => made.entries.push(entry, GFP_KERNEL)?,
            Err(e) => made.failed = made.failed.or(Some(e)),
        }
    }
    Ok(made)
}

/// What to do where no backend was asked for: they can be made later, unless that is an error or
/// this kernel has no way.
pub(crate) fn none_given(config: &Config) -> Result {
    let how = "mem_address= and mem_size=, mem_name= of a reserve_mem= region, or kho=Y";
    if config.strict || !cfg!(CONFIG_CONFIGFS_FS) {
        pr_err!("nothing to record to: give {}\n", how);
        return Err(EINVAL);
    }
    pr_warn!(
        "nothing to record to yet: make a backend in configfs, or load again with {}\n",
        how
    );
    Ok(())
}

/// Zones that fit, or a line that says what does not.
fn layout(name: &CStr, sizes: &RamSizes) -> Result<RamLayout> {
    RamLayout::new(sizes).map_err(|e| {
        pr_err!("{}: {}\n", name, e);
        Error::from(e)
    })
}

/// Makes the backend of one region, and says where it is and which sizes are in force. May sleep.
pub(crate) fn ram(
    region: &RegionConfig,
    dispatcher: &Dispatcher,
) -> Result<(KBox<dyn Backend>, u64, RamSizes)> {
    let name = &*region.name;
    let (address, size, owned) = match &region.place {
        Place::Address(address) => match region.size {
            Some(size) if size > 0 => (*address, size, false),
            _ => {
                pr_err!(
                    "{}: mem_address={:#x}: mem_size is missing; give the region's size in bytes\n",
                    name,
                    address
                );
                return Err(EINVAL);
            }
        },
        Place::Name(label) => match mem::reserved_by_name(label) {
            Some((address, most)) => {
                let size = region.size.unwrap_or(most);
                if size == 0 || size > most {
                    pr_err!(
                        "{}: mem_size={:#x}: reserve_mem region '{}' has {:#x} bytes; give no more\n",
                        name,
                        size,
                        &**label,
                        most
                    );
                    return Err(EINVAL);
                }
                (address, size, true)
            }
            None => {
                pr_err!(
                    "{}: mem_name={}: no such region; add reserve_mem=SIZE:ALIGN:{} to the kernel \
                     command line\n",
                    name,
                    &**label,
                    &**label
                );
                return Err(ENOENT);
            }
        },
    };
    let sizes = RamSizes {
        mem_size: size,
        ..region.sizes
    };
    let layout = layout(name, &sizes)?;
    let end = u64::try_from(size)
        .ok()
        .and_then(|size| address.checked_add(size))
        .unwrap_or(u64::MAX);
    let overlaps = |(from, to): &(u64, u64)| address < *to && *from < end;
    let other = dispatcher
        .entries()
        .filter_map(|e| e.backend().range())
        .find(overlaps);
    if let Some((from, to)) = other {
        pr_err!(
            "{}: mem_address={:#x}: overlaps the region at {:#x}-{:#x}; give each its own\n",
            name,
            address,
            from,
            to - 1
        );
        return Err(EBUSY);
    }
    if let Some((from, to)) = intree::ramoops_region().filter(overlaps) {
        pr_err!(
            "{}: mem_address={:#x}: the in-tree ramoops records to {:#x}-{:#x}; give another \
             region, or unload ramoops first\n",
            name,
            address,
            from,
            to - 1
        );
        return Err(EBUSY);
    }
    let mem = PersistentMem::map(address, size, owned, region.mem_type).map_err(|e| {
        pr_err!(
            "{}: mem_address={:#x} mem_size={:#x}: {}\n",
            name,
            address,
            size,
            e.remedy()
        );
        e.errno()
    })?;
    let backend = Ram::new(
        CString::try_from(name)?,
        mem,
        layout,
        region.max_reason,
        sizes.ecc_size,
        Some((address, end)),
    )?;
    pr_info!(
        "{}: {:#x} bytes at {:#x}, {} dmesg records of {} bytes\n",
        name,
        size,
        address,
        backend.records_max(),
        backend.record_capacity()
    );
    Ok((KBox::new(backend, GFP_KERNEL)?, address, sizes))
}

/// Makes a plain-memory backend. May sleep.
pub(crate) fn plain(config: &MemConfig) -> Result<KBox<dyn Backend>> {
    let layout = layout(&config.name, &config.sizes)?;
    let backend = Mem::new(
        CString::try_from(&*config.name)?,
        config.sizes.mem_size,
        layout,
        config.max_reason,
        config.sizes.ecc_size,
        config.fault,
    )
    .inspect_err(|e| pr_err!("{}: can't register: {:?}\n", &*config.name, e))?;
    Ok(KBox::new(backend, GFP_KERNEL)?)
}

/// Makes the backend for Kexec HandOver. May sleep.
#[cfg(CONFIG_KEXEC_HANDOVER)]
pub(crate) fn kho(config: &KhoConfig) -> Result<KBox<dyn Backend>> {
    let layout = layout(&config.name, &config.sizes)?;
    Ok(KBox::new(
        crate::backend::kho::Kho::new(config, layout)?,
        GFP_KERNEL,
    )?)
}

/// Says that this kernel has no Kexec HandOver.
#[cfg(not(CONFIG_KEXEC_HANDOVER))]
pub(crate) fn kho(config: &KhoConfig) -> Result<KBox<dyn Backend>> {
    pr_err!(
        "{}: nothing can be handed over: this kernel was built without CONFIG_KEXEC_HANDOVER\n",
        &*config.name
    );
    Err(EOPNOTSUPP)
}
