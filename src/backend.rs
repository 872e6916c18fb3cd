// SPDX-License-Identifier: GPL-2.0

//! Backends: what keeps records on a medium that outlives the kernel.
//!
//! A backend never names a frontend.

#[cfg(CONFIG_BLOCK)]
pub(crate) mod blk;
#[cfg(CONFIG_EFI)]
pub(crate) mod efi;
#[cfg(CONFIG_ACPI_APEI)]
pub(crate) mod erst;
pub(crate) mod kept;
#[cfg(CONFIG_KEXEC_HANDOVER)]
pub(crate) mod kho;
#[cfg(any(CONFIG_BLOCK, CONFIG_MTD))]
mod lazy;
pub(crate) mod mem;
#[cfg(CONFIG_MTD)]
pub(crate) mod mtd;
pub(crate) mod ram;
#[cfg(any(CONFIG_EFI, CONFIG_ACPI_APEI))]
mod shelf;
#[cfg(any(CONFIG_BLOCK, CONFIG_MTD))]
mod stored;

use crate::record::{
    Call,
    Dump,
    GenerationInfo,
    Kind,
    Kinds,
    RecordId,
    RecordInfo, //
};
use crate::sys::errno::{
    EOPNOTSUPP,
    ESTALE, //
};
use crate::sys::mem::UserBytes;
use kernel::{
    fmt,
    prelude::*, //
};
use mpstore_format::ecc::Repair;

/// In which order backends get a panic's dump: those that can hang come last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Risk {
    /// Copies to memory.
    Memory,
    /// Calls firmware, or a flash driver that polls: it may take its time, or not come back.
    #[cfg_attr(not(any(CONFIG_EFI, CONFIG_ACPI_APEI, CONFIG_MTD)), allow(dead_code))]
    Firmware,
    /// Takes a disk's controller over: it may hang, and afterwards no disk there can be used.
    Disk,
}

impl Risk {
    /// How many there are.
    pub(crate) const COUNT: usize = Self::Disk.index() + 1;

    /// Place in tables by risk, safest first.
    pub(crate) const fn index(self) -> usize {
        // CAST: As declared.
        self as usize
    }
}

/// How a record reaches a backend.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// A task, which may wait for a spinlock but not sleep.
    Task,
    /// The kernel prints, oopses or panics, maybe in NMI, maybe with other CPUs stopped: no
    /// allocation, no printing, no lock that is waited for without a bound.
    Crash,
}

/// A medium with records.
///
/// A backend is made in two steps, so that a load that fails loses nothing: its constructor reads
/// the medium and checks everything but writes nothing; [`Backend::activate`] then begins a new
/// log. Before that no record is written to it.
pub(crate) trait Backend: Send + Sync {
    /// Directory name, and part of file names.
    fn name(&self) -> &CStr;

    /// What it takes.
    fn kinds(&self) -> Kinds;

    /// Highest `enum kmsg_dump_reason` of which it takes dumps; 0 follows
    /// `printk.always_kmsg_dump`.
    fn max_reason(&self) -> u32;

    /// Bytes that one dump record holds, zero without [`Kind::Dmesg`].
    fn record_capacity(&self) -> usize;

    /// Physical memory that it occupies, first and last byte + 1.
    fn range(&self) -> Option<(u64, u64)> {
        None
    }

    /// Damage found so far in what was read: each check of a zone counts.
    fn repairs(&self) -> Repair {
        Repair::default()
    }

    /// When it is called in a panic.
    fn risk(&self) -> Risk;

    /// Begins to record. What was read before stays readable. One that fails here must refuse
    /// records. May sleep.
    fn activate(&self) -> Result;

    /// Keeps a dump, in as many parts as fit. [`Context::Crash`].
    fn dump(&self, dump: &Dump<'_>) -> Result;

    /// Appends `parts` to a stream as one piece. Not for [`Kind::Dmesg`] and [`Kind::Ftrace`].
    fn append(&self, kind: Kind, parts: &[&[u8]], context: Context) -> Result;

    /// Keeps a record of the function trace, if it takes [`Kind::Ftrace`].
    ///
    /// Called for nearly every function of the kernel, in any context, NMI included, with
    /// preemption off: no lock that is waited for, no printing, no allocation, and better nothing
    /// that is a function of the kernel, for that would be traced as well.
    fn trace(&self, _call: &Call) -> Result {
        Err(EINVAL)
    }

    /// The same for bytes of the running task, without a copy in between. [`Context::Task`], with
    /// preemption off: it waits for nobody.
    ///
    /// `EFAULT` and `EOPNOTSUPP` mean that nothing was appended and that [`Self::append`] may do.
    fn append_user(&self, _kind: Kind, _bytes: UserBytes) -> Result {
        Err(EOPNOTSUPP)
    }

    /// Calls `f` for every record that can be read. May sleep.
    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result;

    /// What [`Self::records`] left open ([`RecordInfo::open`]): the content of a record, and whether
    /// it is still compressed because it can't be decompressed. `ESTALE` if another has taken its
    /// place. May sleep.
    fn settle(&self, _id: &RecordId) -> Result<(KVVec<u8>, bool)> {
        Err(ESTALE)
    }

    /// Whether a record that [`Self::settle`] gave the content of is still there; `ESTALE` if
    /// another has taken its place. May sleep.
    fn still(&self, _id: &RecordId) -> Result {
        Ok(())
    }

    /// Calls `f` for every run of the recorder of which it keeps records apart from the others'.
    /// May sleep.
    fn generations(&self, _f: &mut dyn FnMut(&GenerationInfo<'_>) -> Result) -> Result {
        Ok(())
    }

    /// Brings what it took so far to its medium, if it does not do so at once. May sleep.
    fn flush(&self) -> Result {
        Ok(())
    }

    /// Writes a line about its medium, if there is more to say than the counts of records. May
    /// sleep.
    fn describe(&self, _f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Ok(())
    }

    /// Content of a record; `ESTALE` if another has taken its place. May sleep.
    fn read(&self, id: &RecordId) -> Result<KVVec<u8>>;

    /// Erases that record and nothing else; `ESTALE` if another has taken its place. May sleep.
    fn erase(&self, id: &RecordId) -> Result;
}
