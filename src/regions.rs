// SPDX-License-Identifier: GPL-2.0

//! Makes backends from the configuration.
//!
//! Nothing is written to a medium here. One that can't be made is one line in the log and leaves
//! the others alone.

use crate::{
    backend::{
        kept::{
            Kept,
            Whose, //
        },
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
        BlkConfig,
        Config,
        Effective,
        EfiConfig,
        ErstConfig,
        KhoConfig,
        MemConfig,
        Place,
        RegionConfig,
        MTD_PREFIX, //
    },
    sys::{
        crash_dump::in_crash_kernel,
        mem::{
            self,
            PersistentMem, //
        },
    },
    vmcore,
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
    let others = [
        config.kho.is_some(),
        config.efi.is_some(),
        config.erst.is_some(),
    ];
    let others = others.into_iter().filter(|there| *there).count();
    let count = config.regions.len() + config.blks.len() + others + config.mems.len();
    if count > BACKENDS_MAX {
        pr_err!("{} backends: at most {} at once\n", count, BACKENDS_MAX);
        return Err(E2BIG);
    }
    for region in &config.regions {
        if let Err(e) = pieces(region, dispatcher, &mut made) {
            made.failed = made.failed.or(Some(e));
        }
    }
    if in_crash_kernel() && !config.regions.is_empty() {
        if config.regions.iter().all(|region| region.crash_size == 0) {
            pr_warn!(
                "this is a crash kernel, and the regions are left to the kernel that crashed: give \
                 crash_size= for a part to record to\n"
            );
        }
    }
    for config in &config.blks {
        match blk(config).and_then(|backend| dispatcher.add(backend)) {
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
    if let Some(config) = &config.efi {
        match efi(config).and_then(|backend| dispatcher.add(backend)) {
            Ok(entry) => made.entries.push(entry, GFP_KERNEL)?,
            Err(e) => made.failed = made.failed.or(Some(e)),
        }
    }
    if let Some(config) = &config.erst {
        match erst(config).and_then(|backend| dispatcher.add(backend)) {
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
    let how = "mem_address= and mem_size=, mem_name= of a reserve_mem= region, blkdev=, kho=Y, \
               efi=Y or erst=Y";
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

/// Where a region is, its size, and whether the kernel reserved it for us by name; or a line that
/// says why that is not known.
fn place(region: &RegionConfig) -> Result<(u64, usize, bool)> {
    let name = &*region.name;
    match &region.place {
        Place::Address(address) => match region.size {
            Some(size) if size > 0 => Ok((*address, size, false)),
            _ => {
                pr_err!(
                    "{}: mem_address={:#x}: mem_size is missing; give the region's size in bytes\n",
                    name,
                    address
                );
                Err(EINVAL)
            }
        },
        Place::Name(label) if in_crash_kernel() => {
            pr_err!(
                "{}: mem_name={}: in a crash kernel that is another area; give mem_address= and \
                 mem_size= of the first kernel's\n",
                name,
                &**label
            );
            Err(EINVAL)
        }
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
                Ok((address, size, true))
            }
            None => {
                pr_err!(
                    "{}: mem_name={}: no such region; add reserve_mem=SIZE:ALIGN:{} to the kernel \
                     command line\n",
                    name,
                    &**label,
                    &**label
                );
                Err(ENOENT)
            }
        },
    }
}

/// Whether this kernel records to a piece of memory.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// It does.
    Recorder,
    /// Another kernel does or did.
    Reader(Whose),
}

/// A piece of memory with zones.
struct Piece<'a> {
    name: &'a CStr,
    region: &'a RegionConfig,
    address: u64,
    sizes: RamSizes,
    owned: bool,
    role: Role,
}

impl Piece<'_> {
    /// Makes its backend. May sleep.
    fn backend(&self, dispatcher: &Dispatcher) -> Result<KBox<dyn Backend>> {
        let (name, address, size) = (self.name, self.address, self.sizes.mem_size);
        layout(name, &self.sizes)?;
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
        let how = self.region.mem_type;
        let mem = match self.role {
            Role::Reader(Whose::Crashed) => PersistentMem::map_read_only(address, size, how),
            _ => PersistentMem::map(address, size, self.owned, how),
        };
        let mem = mem.map_err(|e| {
            pr_err!(
                "{}: mem_address={:#x} mem_size={:#x}: {}\n",
                name,
                address,
                size,
                e.remedy()
            );
            e.errno()
        })?;
        let mut sizes = self.sizes;
        if self.role == Role::Reader(Whose::Crashed) {
            // It had more CPUs than this kernel.
            let word = |at| {
                let mut bytes = [0; 4];
                mem.read(at, &mut bytes);
                u32::from_ne_bytes(bytes)
            };
            if let Some(zones) = sizes.ftrace_zones_found(word) {
                sizes.ftrace_zones = zones;
            }
            vmcore::add(name, &mem, address, &sizes, self.region.vmcore)?;
        }
        let ram = Ram::new(
            CString::try_from(name)?,
            mem,
            layout(name, &sizes)?,
            self.region.max_reason,
            sizes.ecc_size,
            Some((address, end)),
        )?;
        match self.role {
            Role::Recorder => {
                pr_info!(
                    "{}: {:#x} bytes at {:#x}, {} dmesg records of {} bytes\n",
                    name,
                    size,
                    address,
                    ram.records_max(),
                    ram.record_capacity()
                );
                Ok(ram)
            }
            Role::Reader(whose) => Ok(KBox::new(Kept::new(ram, whose), GFP_KERNEL)?),
        }
    }
}

/// Makes the backend of one region, or of what is left of it besides the bank of a crash kernel, and
/// says where it is and which sizes are in force. May sleep.
pub(crate) fn ram(
    region: &RegionConfig,
    dispatcher: &Dispatcher,
) -> Result<(KBox<dyn Backend>, u64, RamSizes)> {
    let (address, size, owned) = place(region)?;
    let sizes = RamSizes {
        mem_size: size.saturating_sub(region.crash_size),
        ..region.sizes
    };
    let own = Piece {
        name: &region.name,
        region,
        address,
        sizes,
        owned,
        role: match in_crash_kernel() {
            true => Role::Reader(Whose::Crashed),
            false => Role::Recorder,
        },
    };
    Ok((own.backend(dispatcher)?, address, sizes))
}

/// Makes the backend of a crash kernel's bank. May sleep.
fn bank(
    region: &RegionConfig,
    (address, size, owned): (u64, usize, bool),
    dispatcher: &Dispatcher,
) -> Result<KBox<dyn Backend>> {
    let before = size.saturating_sub(region.crash_size);
    let name = match before {
        0 => CString::try_from(&*region.name)?,
        _ => CString::try_from_fmt(fmt!("{}_crash", &*region.name))?,
    };
    if dispatcher.find(&name).is_some() {
        pr_err!(
            "{}: crash_size={:#x}: there is a backend of that name; give another by name=\n",
            &*name,
            region.crash_size
        );
        return Err(EEXIST);
    }
    let piece = Piece {
        name: &name,
        region,
        address: u64::try_from(before)
            .ok()
            .and_then(|before| address.checked_add(before))
            .ok_or(EINVAL)?,
        sizes: RamSizes::of_crash_kernel(region.crash_size, region.sizes.ecc_size),
        owned,
        role: match in_crash_kernel() {
            true => Role::Recorder,
            false => Role::Reader(Whose::CrashKernel),
        },
    };
    piece.backend(dispatcher)
}

/// Makes what a region has room for: the backend of its own, that of a crash kernel, or both.
fn pieces(region: &RegionConfig, dispatcher: &Dispatcher, made: &mut Made) -> Result {
    let found = place(region)?;
    let (address, size, _) = found;
    if region.crash_size > size {
        pr_err!(
            "{}: crash_size={:#x}: the region has {:#x} bytes; give no more\n",
            &*region.name,
            region.crash_size,
            size
        );
        return Err(EINVAL);
    }
    let mut failed = None;
    let mut keep = |backend: Result<KBox<dyn Backend>>, made: &mut Made| -> Result<bool> {
        match backend.and_then(|backend| dispatcher.add(backend)) {
            Ok(entry) => {
                made.entries.push(entry, GFP_KERNEL)?;
                Ok(true)
            }
            Err(e) => {
                failed = failed.or(Some(e));
                Ok(false)
            }
        }
    };
    let mut used = false;
    if region.crash_size < size {
        used |= keep(ram(region, dispatcher).map(|made| made.0), made)?;
    }
    if region.crash_size > 0 {
        used |= keep(bank(region, found, dispatcher), made)?;
    }
    if used {
        let sizes = RamSizes {
            mem_size: size,
            ..region.sizes
        };
        made.effective.add(region, address, &sizes)?;
    }
    failed.map_or(Ok(()), Err)
}

/// Makes a plain-memory backend. May sleep.
#[inline(never)] // As above.
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
#[inline(never)] // As above.
pub(crate) fn kho(config: &KhoConfig) -> Result<KBox<dyn Backend>> {
    let layout = layout(&config.name, &config.sizes)?;
    Ok(crate::backend::kho::Kho::new(config, layout)?)
}

/// Says that this kernel has no Kexec HandOver.
#[cfg(not(CONFIG_KEXEC_HANDOVER))]
pub(crate) fn kho(config: &KhoConfig) -> Result<KBox<dyn Backend>> {
    pr_err!(
        "{}: nothing can be handed over: this kernel was built without CONFIG_KEXEC_HANDOVER\n",
        &*config.name
    );
    Err(crate::sys::errno::EOPNOTSUPP)
}

/// Makes the backend for EFI variables. May sleep.
#[cfg(CONFIG_EFI)]
pub(crate) fn efi(config: &EfiConfig) -> Result<KBox<dyn Backend>> {
    Ok(KBox::new(
        crate::backend::efi::Efi::new(config)?,
        GFP_KERNEL,
    )?)
}

/// Says that this kernel has none.
#[cfg(not(CONFIG_EFI))]
pub(crate) fn efi(config: &EfiConfig) -> Result<KBox<dyn Backend>> {
    pr_err!(
        "{}: there are no EFI variables: this kernel was built without CONFIG_EFI\n",
        &*config.name
    );
    Err(crate::sys::errno::EOPNOTSUPP)
}

/// Makes the backend for ACPI's ERST. May sleep.
#[cfg(CONFIG_ACPI_APEI)]
pub(crate) fn erst(config: &ErstConfig) -> Result<KBox<dyn Backend>> {
    Ok(KBox::new(
        crate::backend::erst::Erst::new(config)?,
        GFP_KERNEL,
    )?)
}

/// Says that this kernel has none.
#[cfg(not(CONFIG_ACPI_APEI))]
pub(crate) fn erst(config: &ErstConfig) -> Result<KBox<dyn Backend>> {
    pr_err!(
        "{}: there is no ACPI ERST: this kernel was built without CONFIG_ACPI_APEI\n",
        &*config.name
    );
    Err(crate::sys::errno::EOPNOTSUPP)
}

/// Makes the backend of one block device or MTD. May sleep.
#[inline(never)] // As above.
pub(crate) fn blk(config: &BlkConfig) -> Result<KBox<dyn Backend>> {
    if in_crash_kernel() {
        // Its zones are the kernel's that crashed, which may just have written its panic there.
        pr_err!(
            "{}: blkdev={}: this is a crash kernel, and the device is left to the kernel that \
             crashed; its records can be read after the next boot\n",
            &*config.name,
            kernel::str::BStr::from_bytes(config.target.to_bytes())
        );
        return Err(EROFS);
    }
    match config.target.to_bytes().starts_with(MTD_PREFIX) {
        true => on_mtd(config),
        false => on_disk(config),
    }
}

#[cfg(CONFIG_BLOCK)]
#[inline(never)] // As above.
fn on_disk(config: &BlkConfig) -> Result<KBox<dyn Backend>> {
    let backend = crate::backend::blk::Blk::new(config)?;
    backend.with_device(|device, bytes| {
        pr_info!(
            "{}: {}, {:#x} bytes, {} dmesg records of {} bytes\n",
            &*config.name,
            kernel::str::BStr::from_bytes(device),
            bytes,
            backend.records_max(),
            backend.record_capacity()
        );
    });
    Ok(KBox::new(backend, GFP_KERNEL)?)
}

#[cfg(CONFIG_MTD)]
#[inline(never)] // As above.
fn on_mtd(config: &BlkConfig) -> Result<KBox<dyn Backend>> {
    let backend = crate::backend::mtd::OnMtd::new(config)?;
    let (number, bytes, records) = backend.size();
    pr_info!(
        "{}: mtd{}, {:#x} bytes, {} dmesg records of {} bytes\n",
        &*config.name,
        number,
        bytes,
        records,
        backend.record_capacity()
    );
    Ok(KBox::new(backend, GFP_KERNEL)?)
}

/// Says that this kernel has no such devices.
#[cfg(not(all(CONFIG_BLOCK, CONFIG_MTD)))]
fn missing(config: &BlkConfig, option: &str) -> Result<KBox<dyn Backend>> {
    pr_err!(
        "{}: blkdev={}: this kernel was built without {}\n",
        &*config.name,
        kernel::str::BStr::from_bytes(config.target.to_bytes()),
        option
    );
    Err(crate::sys::errno::EOPNOTSUPP)
}

#[cfg(not(CONFIG_BLOCK))]
fn on_disk(config: &BlkConfig) -> Result<KBox<dyn Backend>> {
    missing(config, "CONFIG_BLOCK")
}

#[cfg(not(CONFIG_MTD))]
fn on_mtd(config: &BlkConfig) -> Result<KBox<dyn Backend>> {
    missing(config, "CONFIG_MTD")
}
