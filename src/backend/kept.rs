// SPDX-License-Identifier: GPL-2.0

//! A RAM region that another kernel records to: what is in it is shown, and nothing is recorded.
//!
//! In a crash kernel that is what the kernel that crashed recorded; in the kernel after it, what the
//! crash kernel recorded. See `Documentation/kdump.md`.

use crate::{
    backend::{
        ram::Ram,
        Backend,
        Context,
        Risk, //
    },
    record::{
        Dump,
        Kind,
        Kinds,
        RecordId,
        RecordInfo, //
    },
};
use kernel::prelude::*;
use mpstore_format::ecc::Repair;

/// Whose records they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Whose {
    /// Of the kernel that crashed; this is the crash kernel, and they stay as they are.
    Crashed,
    /// Of a crash kernel, which is gone. They can be erased.
    CrashKernel,
}

/// Records of another kernel.
pub(crate) struct Kept {
    ram: KBox<Ram>,
    whose: Whose,
}

impl Kept {
    /// Shows what is in `ram`.
    pub(crate) fn new(ram: KBox<Ram>, whose: Whose) -> Self {
        Self { ram, whose }
    }
}

impl Backend for Kept {
    fn name(&self) -> &CStr {
        self.ram.name()
    }

    /// Nothing is handed to it.
    fn kinds(&self) -> Kinds {
        Kinds::default()
    }

    fn max_reason(&self) -> u32 {
        self.ram.max_reason()
    }

    fn record_capacity(&self) -> usize {
        self.ram.record_capacity()
    }

    fn range(&self) -> Option<(u64, u64)> {
        self.ram.range()
    }

    fn repairs(&self) -> Repair {
        self.ram.repairs()
    }

    fn risk(&self) -> Risk {
        self.ram.risk()
    }

    fn activate(&self) -> Result {
        self.ram.report_kept(match self.whose {
            Whose::Crashed => "the kernel that crashed, not changed here",
            Whose::CrashKernel => "a crash kernel",
        });
        Ok(())
    }

    fn dump(&self, _dump: &Dump<'_>) -> Result {
        Err(EROFS)
    }

    fn append(&self, _kind: Kind, _parts: &[&[u8]], _context: Context) -> Result {
        Err(EROFS)
    }

    fn records(&self, f: &mut dyn FnMut(&RecordInfo) -> Result) -> Result {
        self.ram.records(f)
    }

    fn settle(&self, id: &RecordId) -> Result<(KVVec<u8>, bool)> {
        self.ram.settle(id)
    }

    fn still(&self, id: &RecordId) -> Result {
        self.ram.still(id)
    }

    fn read(&self, id: &RecordId) -> Result<KVVec<u8>> {
        self.ram.read(id)
    }

    fn erase(&self, id: &RecordId) -> Result {
        match self.whose {
            Whose::Crashed => Err(EROFS),
            Whose::CrashKernel => self.ram.wipe(id),
        }
    }
}
