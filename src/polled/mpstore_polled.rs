// SPDX-License-Identifier: GPL-2.0

//! Disk controllers driven by polling, for a kernel that is dying.
//!
//! A controller is taken over: reset, whatever its own driver had it do, and then given one request
//! at a time. Nothing here knows a kernel. Registers are reached through [`Mmio`], the memory that
//! the controller reads and writes through [`Dma`], and time passes in [`Clock`], so that the same
//! code runs against models of controllers on a host.
//!
//! What holds throughout, since nobody is left who could help:
//!
//! - no allocation, no lock, nothing that can panic;
//! - every wait is bounded, each by its own limit and all together by the clock's;
//! - a controller that has failed once is not asked again;
//! - [`Session`] writes nothing before it has read the signature back that was written in better
//!   days, and nothing outside of the place that this names.

#![crate_name = "mpstore_polled"]
#![cfg_attr(not(any(CONFIG_RUST, test)), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod ahci;
mod error;
mod nvme;
mod session;
mod virtio;

pub use ahci::Ahci;
pub use error::{
    Cause,
    Error,
    Result,
    Stage, //
};
pub use nvme::Nvme;
pub use session::{
    Session,
    Target,
    SIGNATURE_BYTES, //
};
pub use virtio::{
    Virtio,
    VirtioLegacy,
    VirtioModern,
    Window, //
};

/// Registers, in base address registers of a PCI device. Where nothing is mapped, reads are all
/// ones and writes are lost, as on the bus.
pub trait Mmio {
    /// Reads a byte at `at` in base address register number `bar`.
    fn read8(&self, bar: u8, at: usize) -> u8;
    /// Reads 16 bits.
    fn read16(&self, bar: u8, at: usize) -> u16;
    /// Reads 32 bits.
    fn read32(&self, bar: u8, at: usize) -> u32;
    /// Writes a byte.
    fn write8(&self, bar: u8, at: usize, value: u8);
    /// Writes 16 bits.
    fn write16(&self, bar: u8, at: usize, value: u16);
    /// Writes 32 bits.
    fn write32(&self, bar: u8, at: usize, value: u32);
}

/// [`DMA_BYTES`] of memory that a controller reads and writes as well, in one piece on its side and
/// aligned to a page. What lies outside reads as zero and is not written.
pub trait Dma {
    /// The address of the byte at `at`, for the controller.
    fn bus(&self, at: usize) -> u64;
    /// Copies from `at` on.
    fn get(&self, at: usize, to: &mut [u8]);
    /// Copies to `at` on.
    fn put(&self, at: usize, from: &[u8]);
    /// What was written before is there for the controller before anything that follows, and what
    /// follows is read after.
    fn barrier(&self);
}

/// How time passes.
pub trait Clock {
    /// Lets at least that many microseconds pass. Answers whether there is time left for the whole
    /// of what is being done.
    fn pause(&mut self, us: u32) -> bool;
}

/// What [`Dma`] must have.
pub const DMA_BYTES: usize = 0x1_0000;
/// Queues and command lists are at the start of it; what there is of requests besides data, here.
const REQUEST_AT: usize = 0x8000;
/// A request's data.
const DATA_AT: usize = 0xc000;
/// Bytes of data in one request: what NVMe takes without a list of pages, and less than any limit
/// that a controller can have.
const DATA_BYTES: usize = 0x2000;

/// What a driver needs of its surroundings.
pub struct Hardware<'a, M, D, C> {
    /// Its registers.
    pub regs: &'a M,
    /// Its memory.
    pub dma: &'a D,
    /// Its time.
    pub clock: &'a mut C,
}

impl<M: Mmio, D: Dma, C: Clock> Hardware<'_, M, D, C> {
    /// Waits until `done` says so, at most about `limit_us`.
    fn wait(
        &mut self,
        stage: Stage,
        limit_us: u32,
        mut done: impl FnMut(&M, &D) -> Result<bool>,
    ) -> Result {
        let mut waited = 0u32;
        loop {
            if done(self.regs, self.dma)? {
                return Ok(());
            }
            if waited >= limit_us {
                return Err(Error::new(stage, Cause::Timeout, waited / 1000));
            }
            // Often at first, for most answers come soon.
            let step = if waited < 1000 { 5 } else { 50 };
            if !self.clock.pause(step) {
                return Err(Error::new(stage, Cause::OutOfTime, waited / 1000));
            }
            waited = waited.saturating_add(step);
        }
    }

    fn sleep(&mut self, stage: Stage, us: u32) -> Result {
        let mut left = us;
        while left > 0 {
            let step = left.min(50);
            if !self.clock.pause(step) {
                return Err(Error::new(stage, Cause::OutOfTime, 0));
            }
            left = left.saturating_sub(step);
        }
        Ok(())
    }

    fn zero(&self, at: usize, len: usize) {
        let zeros = [0u8; 64];
        let mut done = 0;
        while done < len {
            let n = len.saturating_sub(done).min(zeros.len());
            self.dma
                .put(at.saturating_add(done), zeros.get(..n).unwrap_or(&[]));
            done = done.saturating_add(n);
        }
    }
}

/// Little-endian values in shared memory.
trait DmaExt: Dma {
    fn get16(&self, at: usize) -> u16 {
        let mut bytes = [0; 2];
        self.get(at, &mut bytes);
        u16::from_le_bytes(bytes)
    }

    fn get32(&self, at: usize) -> u32 {
        let mut bytes = [0; 4];
        self.get(at, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn get64(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        self.get(at, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn put16(&self, at: usize, value: u16) {
        self.put(at, &value.to_le_bytes());
    }

    fn put32(&self, at: usize, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    fn put64(&self, at: usize, value: u64) {
        self.put(at, &value.to_le_bytes());
    }
}

impl<D: Dma> DmaExt for D {}

/// The low and the high half of an address.
fn halves(value: u64) -> (u32, u32) {
    // CAST: The halves are what is wanted.
    (value as u32, (value >> 32) as u32)
}

/// What one request does with its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Op {
    Read,
    Write,
}

impl Op {
    const fn stage(self) -> Stage {
        match self {
            Self::Read => Stage::Read,
            Self::Write => Stage::Write,
        }
    }
}

/// What a disk says of itself after the reset, to compare with what it said before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Geometry {
    /// Bytes of a logical block, zero if it does not say.
    block_bytes: u32,
    /// How many of them; units of 512 bytes if it does not say how large they are.
    blocks: u64,
}

/// A controller, and how to reach the disk behind it. Plain values, fixed when it is armed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// virtio-blk on PCI, as of virtio 1.
    VirtioModern(VirtioModern),
    /// The same before that.
    VirtioLegacy(VirtioLegacy),
    /// NVMe on PCI.
    Nvme(Nvme),
    /// A port of a SATA controller.
    Ahci(Ahci),
}

/// A controller that was taken over.
#[derive(Clone, Copy, Debug)]
enum Taken {
    Virtio(Virtio),
    Nvme(nvme::Queues),
    Ahci(ahci::Port),
}

impl Controller {
    /// Its name, as a user knows it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::VirtioModern(_) => "virtio-blk",
            Self::VirtioLegacy(_) => "virtio-blk (legacy)",
            Self::Nvme(_) => "nvme",
            Self::Ahci(_) => "ahci",
        }
    }

    fn take<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<(Taken, Geometry)> {
        match self {
            Self::VirtioModern(c) => c.take(hw).map(|(v, g)| (Taken::Virtio(v), g)),
            Self::VirtioLegacy(c) => c.take(hw).map(|(v, g)| (Taken::Virtio(v), g)),
            Self::Nvme(c) => c.take(hw).map(|(q, g)| (Taken::Nvme(q), g)),
            Self::Ahci(c) => c.take(hw).map(|(p, g)| (Taken::Ahci(p), g)),
        }
    }

    /// Stops it, whatever state it is in: no more memory is touched by it.
    fn quiesce<M: Mmio, D: Dma, C: Clock>(&self, hw: &mut Hardware<'_, M, D, C>) -> Result {
        match self {
            Self::VirtioModern(c) => c.quiesce(hw),
            Self::VirtioLegacy(c) => c.quiesce(hw),
            Self::Nvme(c) => c.quiesce(hw),
            Self::Ahci(c) => c.quiesce(hw),
        }
    }
}

impl Taken {
    /// Moves `blocks` of `1 << shift` bytes between the data buffer and the disk.
    fn transfer<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        op: Op,
        block: u64,
        blocks: u16,
        shift: u32,
    ) -> Result {
        match self {
            Self::Virtio(v) => v.transfer(hw, op, block, blocks, shift),
            Self::Nvme(q) => q.transfer(hw, op, block, blocks, shift),
            Self::Ahci(p) => p.transfer(hw, op, block, blocks, shift),
        }
    }

    fn flush<M: Mmio, D: Dma, C: Clock>(&mut self, hw: &mut Hardware<'_, M, D, C>) -> Result {
        match self {
            Self::Virtio(v) => v.flush(hw),
            Self::Nvme(q) => q.flush(hw),
            Self::Ahci(p) => p.flush(hw),
        }
    }
}

/// How long a controller may take for a request, in microseconds; the clock's limit is less as a
/// rule.
const REQUEST_US: u32 = 30_000_000;
