// SPDX-License-Identifier: GPL-2.0

//! How a device is written to when the kernel panics.
//!
//! The block layer can't be used then. What can (a controller that is taken over, memory behind a
//! DAX device, an MTD with a panic write) implements [`PanicIo`]; the block backend has one for each
//! device where there is a way, and keeps no panics where there is none.

use crate::sys::errno::{
    EOPNOTSUPP,
    ESTALE, //
};
use kernel::{
    fmt,
    prelude::*, //
};

/// Why a write in a panic did not work. [`Copy`], without an allocation, so that a panic can have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
// Which of them there are is up to the implementations in a build.
#[allow(dead_code)]
pub(crate) enum PanicError {
    /// It was never armed, or was disarmed since.
    NotArmed,
    /// The device is gone: it answers with ones only.
    Gone,
    /// What was read back before the first write is not what was put there when it was armed.
    Signature,
    /// The device did not do its work in the time that it was given.
    Timeout,
    /// The device reported an error; the number is its own.
    Device(u32),
    /// The bytes asked for are outside of the device, or not whole blocks.
    Range,
}

impl From<PanicError> for Error {
    fn from(e: PanicError) -> Self {
        match e {
            PanicError::NotArmed => EOPNOTSUPP,
            PanicError::Gone => ENODEV,
            PanicError::Signature => ESTALE,
            PanicError::Timeout => ETIMEDOUT,
            PanicError::Device(_) => EIO,
            PanicError::Range => EINVAL,
        }
    }
}

/// Access to a device in a panic.
///
/// Offsets are bytes from the beginning of the device that the backend was given (the partition);
/// offsets and lengths are multiples of its logical block size.
///
/// Except for [`Self::armed`] and [`Self::show`] the functions are for the CPU that panics: no
/// allocation, no sleeping, no lock that is waited for without a bound; of printk nothing but a
/// line that says what became of it; they may run in NMI with all other CPUs stopped. They are
/// called in the order `begin`, any of `read`, `write` and `flush`, `end`; not again after `end`, and
/// nothing after a `begin` that failed.
pub(crate) trait PanicIo: Send + Sync {
    /// Gets hold of the device. Nothing may have been written to it if this fails.
    fn begin(&self) -> Result<(), PanicError>;

    /// Reads from `offset` on until `to` is full.
    fn read(&self, offset: u64, to: &mut [u8]) -> Result<(), PanicError>;

    /// Writes all of `from` to `offset`.
    fn write(&self, offset: u64, from: &[u8]) -> Result<(), PanicError>;

    /// Returns when everything written so far would survive a loss of power.
    fn flush(&self) -> Result<(), PanicError>;

    /// Leaves the device quiet.
    fn end(&self);

    /// Whether a panic now would be written. Any context.
    fn armed(&self) -> bool;

    /// Says in a few words by what means it writes, and if it is not armed, why. Task context.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}
