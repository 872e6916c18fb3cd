// SPDX-License-Identifier: GPL-2.0

//! Plain memory with the zones of [`Ram`], for tests: it shows what reaches a backend without a
//! reboot, and can be told to fail.

use crate::{
    backend::{
        ram::Ram,
        Backend,
        Context,
        Risk, //
    },
    record::{
        Call,
        Dump,
        Kind,
        Kinds,
        RecordId,
        RecordInfo, //
    },
    sys::mem::PersistentMem,
};
use kernel::{
    prelude::*,
    str::CString, //
};
use mpstore_format::{
    ecc::Repair,
    layout::RamLayout, //
};

/// What a test backend does wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// It can't register.
    Register,
    /// It loses every record.
    Write,
    /// It can't erase one.
    Erase,
}

/// Memory that does not outlive the module.
pub(crate) struct Mem {
    ram: KBox<Ram>,
    fault: Fault,
}

impl Mem {
    /// Allocates `size` bytes. May sleep.
    pub(crate) fn new(
        name: CString,
        size: usize,
        layout: RamLayout,
        max_reason: u32,
        ecc_size: usize,
        fault: Fault,
    ) -> Result<Self> {
        if fault == Fault::Register {
            return Err(EIO);
        }
        Ok(Self {
            ram: Ram::new(
                name,
                PersistentMem::heap(size)?,
                layout,
                max_reason,
                ecc_size,
                None,
            )?,
            fault,
        })
    }

    fn check(&self) -> Result {
        match self.fault {
            Fault::Write => Err(EIO),
            _ => Ok(()),
        }
    }
}

impl Backend for Mem {
    fn name(&self) -> &CStr {
        self.ram.name()
    }

    fn kinds(&self) -> Kinds {
        self.ram.kinds()
    }

    fn max_reason(&self) -> u32 {
        self.ram.max_reason()
    }

    fn record_capacity(&self) -> usize {
        self.ram.record_capacity()
    }

    fn repairs(&self) -> Repair {
        self.ram.repairs()
    }

    fn risk(&self) -> Risk {
        self.ram.risk()
    }

    fn activate(&self) -> Result {
        self.ram.activate()
    }

    fn dump(&self, dump: &Dump<'_>) -> Result {
        self.check()?;
        self.ram.dump(dump)
    }

    fn append(&self, kind: Kind, parts: &[&[u8]], context: Context) -> Result {
        self.check()?;
        self.ram.append(kind, parts, context)
    }

    fn trace(&self, call: &Call) -> Result {
        self.check()?;
        self.ram.trace(call)
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
        match self.fault {
            Fault::Erase => Err(EIO),
            _ => self.ram.erase(id),
        }
    }
}
