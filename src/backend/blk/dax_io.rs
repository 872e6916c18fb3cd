// SPDX-License-Identifier: GPL-2.0

//! A panic to a device that is memory. It needs no controller, and can't hang.

use super::panic_io::{
    PanicError,
    PanicIo, //
};
use crate::sys::{
    bdev::Device,
    dax::Dax, //
};
use kernel::{
    fmt,
    prelude::*,
    sync::Arc, //
};

/// A device's memory.
pub(super) struct DaxIo(Dax);

impl DaxIo {
    /// [`None`] if the device is none of that kind. May sleep.
    pub(super) fn new(device: Arc<Device>) -> Option<Self> {
        Dax::new(device).map(Self)
    }
}

impl PanicIo for DaxIo {
    fn begin(&self) -> Result<(), PanicError> {
        match self.0.alive() {
            true => Ok(()),
            false => Err(PanicError::Gone),
        }
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), PanicError> {
        self.0.read(offset, to).map_err(|_| PanicError::Range)
    }

    fn write(&self, offset: u64, from: &[u8]) -> Result<(), PanicError> {
        self.0.write(offset, from).map_err(|_| PanicError::Range)
    }

    fn flush(&self) -> Result<(), PanicError> {
        self.0.flush();
        Ok(())
    }

    fn end(&self) {}

    fn armed(&self) -> bool {
        self.0.alive()
    }

    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device is memory")
    }
}
