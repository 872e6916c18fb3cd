// SPDX-License-Identifier: GPL-2.0

//! In a crash kernel: the records of the kernel that crashed, in the vmcore that is saved.
//!
//! See `Documentation/kdump.md`.

use crate::sys::errno::EOPNOTSUPP;
use crate::{
    params::Vmcore,
    sys::{
        crash_dump,
        mem::PersistentMem, //
    },
};
use kernel::{
    prelude::*,
    str::CString, //
};
use mpstore_format::{
    device_dump::{
        self,
        HEADER_BYTES, //
    },
    layout::RamSizes,
};

/// Adds the region `name` at `address` to the vmcore, if `how` asks for it, and says what came of it.
/// In a kernel that is no crash kernel nothing is done. That it can't be is an error only if `how` says
/// so. May sleep.
pub(crate) fn add(
    name: &CStr,
    mem: &PersistentMem,
    address: u64,
    sizes: &RamSizes,
    how: Vmcore,
) -> Result {
    if how == Vmcore::Never || !crash_dump::in_crash_kernel() {
        return Ok(());
    }
    let added = try_add(name, mem, address, sizes);
    let why = match added {
        Ok(()) => {
            pr_info!(
                "{}: {:#x} bytes added to the vmcore as mpstore-{}\n",
                name,
                sizes.mem_size,
                name
            );
            return Ok(());
        }
        Err(e) if e == EOPNOTSUPP => "this kernel was built without CONFIG_PROC_VMCORE_DEVICE_DUMP",
        Err(e) if e == ENOENT => {
            "there is no /proc/vmcore; mount /proc before, and see what the kernel said about \
             elfcorehdr="
        }
        Err(e) if e == EBUSY => "/proc/vmcore is open; load mpstore before anything reads it",
        Err(e) if e == EINVAL => "novmcoredd on the kernel command line turns it off",
        Err(e) if e == ENOMEM => "there is no memory for a copy; give crashkernel= more",
        Err(_) => "it is too large for a note",
    };
    match how {
        Vmcore::Always | Vmcore::Required => {
            pr_err!("{}: vmcore=Y: not added to the vmcore: {}\n", name, why);
        }
        _ => pr_info!("{}: not added to the vmcore: {}\n", name, why),
    }
    match how {
        Vmcore::Required => added,
        _ => Ok(()),
    }
}

fn try_add(name: &CStr, mem: &PersistentMem, address: u64, sizes: &RamSizes) -> Result {
    let size = device_dump::total_size(sizes.mem_size).ok_or(E2BIG)?;
    let title = CString::try_from_fmt(fmt!("mpstore-{}", name))?;
    crash_dump::add_device_dump(&title, size, &mut |to| {
        mem.read(0, to.get_mut(HEADER_BYTES..).ok_or(EIO)?);
        device_dump::complete(to, name.to_bytes(), address, sizes);
        Ok(())
    })
}
