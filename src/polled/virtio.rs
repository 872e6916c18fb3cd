// SPDX-License-Identifier: GPL-2.0

//! virtio-blk on PCI: one split ring, one request at a time.
//!
//! Of what the device offers only what is needed is accepted, so that a plain ring is right whatever
//! its own driver had agreed with it.
//!
//! Source: Virtual I/O Device (VIRTIO) 1.2, 2.7 Split Virtqueues, 4.1 Virtio Over PCI Bus, 5.2 Block
//! Device.

use crate::{
    Cause,
    Clock,
    Dma,
    DmaExt as _,
    Error,
    Geometry,
    Hardware,
    Mmio,
    Op,
    Result,
    Stage,
    DATA_AT,
    DATA_BYTES,
    REQUEST_AT,
    REQUEST_US, //
};

/// Part of a base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which one.
    pub bar: u8,
    /// First byte.
    pub at: u32,
    /// Bytes.
    pub len: u32,
}

impl Window {
    /// Where `offset` is in the register, all ones (where nothing is) if it lies outside.
    fn at(&self, offset: u32, len: u32) -> usize {
        match offset.checked_add(len) {
            Some(end) if end <= self.len => match self.at.checked_add(offset) {
                // CAST: usize has 32 bits at least.
                Some(at) => at as usize,
                None => usize::MAX,
            },
            _ => usize::MAX,
        }
    }

    fn sum(&self, add: &mut dyn FnMut(u64)) {
        add(u64::from(self.bar));
        add((u64::from(self.at) << 32) | u64::from(self.len));
    }
}

/// Where a device as of virtio 1 has its registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioModern {
    /// The common configuration.
    pub common: Window,
    /// Where it is told of requests.
    pub notify: Window,
    /// What a queue's offset there is multiplied with.
    pub notify_multiplier: u32,
    /// The configuration of the disk.
    pub device: Window,
    /// Whether its addresses are bus addresses (`VIRTIO_F_ACCESS_PLATFORM`) and not physical ones.
    pub platform: bool,
}

/// A device from before virtio 1: registers at the start of a base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VirtioLegacy {
    /// Which one.
    pub bar: u8,
    /// Whether MSI-X is on, which puts two registers before the disk's configuration.
    pub msix: bool,
}

const ACKNOWLEDGE: u8 = 1;
const DRIVER: u8 = 2;
const DRIVER_OK: u8 = 4;
const FEATURES_OK: u8 = 8;

// Features, in the lower word.
const F_RO: u32 = 1 << 5;
const F_BLK_SIZE: u32 = 1 << 6;
const F_FLUSH: u32 = 1 << 9;
const F_ZONED: u32 = 1 << 17;
// In the upper one.
const F_VERSION_1: u32 = 1 << 0;
const F_ACCESS_PLATFORM: u32 = 1 << 1;
const F_ORDER_PLATFORM: u32 = 1 << 4;

/// The largest ring that there is room for, which matters where the device decides.
const RING_MAX: u16 = 1024;
const RESET_US: u32 = 5_000_000;

const T_IN: u32 = 0;
const T_OUT: u32 = 1;
const T_FLUSH: u32 = 4;

const DESC_NEXT: u16 = 1;
const DESC_WRITE: u16 = 2;

/// Where the rings of `n` entries are. The used ring begins on a page of its own, as legacy devices
/// want it.
#[derive(Clone, Copy, Debug)]
struct Ring {
    n: u16,
}

impl Ring {
    const DESC: usize = 0;

    const fn avail(self) -> usize {
        // CAST: Widens.
        16 * self.n as usize
    }

    const fn used(self) -> usize {
        // CAST: Widens.
        (self.avail() + 6 + 2 * self.n as usize).next_multiple_of(4096)
    }

    const fn end(self) -> usize {
        // CAST: Widens.
        self.used() + 6 + 8 * self.n as usize
    }
}

const _: () = assert!(Ring { n: RING_MAX }.end() <= REQUEST_AT);

/// How the device is told that there is a request.
#[derive(Clone, Copy, Debug)]
struct Bell {
    bar: u8,
    at: usize,
}

/// A device that was taken over.
#[derive(Clone, Copy, Debug)]
pub struct Virtio {
    bell: Bell,
    ring: Ring,
    /// Requests so far, as the ring counts them.
    count: u16,
    flush: bool,
}

/// What says that the device is gone, or has given up.
fn gone(stage: Stage, status: u8) -> Result {
    if status == 0xff {
        return Err(Error::new(stage, Cause::Gone, 0));
    }
    Ok(())
}

fn reset<M: Mmio, D: Dma, C: Clock>(
    hw: &mut Hardware<'_, M, D, C>,
    stage: Stage,
    bar: u8,
    at: usize,
) -> Result {
    hw.regs.write8(bar, at, 0);
    hw.wait(stage, RESET_US, |regs, _| {
        let status = regs.read8(bar, at);
        gone(stage, status)?;
        Ok(status == 0)
    })
}

/// What can be agreed on of `offered` (lower word).
fn acceptable(offered: u32) -> Result<u32> {
    if offered & F_RO != 0 {
        return Err(Error::new(Stage::Setup, Cause::Unsupported, F_RO));
    }
    if offered & F_ZONED != 0 {
        return Err(Error::new(Stage::Setup, Cause::Unsupported, F_ZONED));
    }
    Ok(offered & (F_BLK_SIZE | F_FLUSH))
}

impl VirtioModern {
    pub(crate) fn sum(&self, add: &mut dyn FnMut(u64)) {
        add(1);
        self.common.sum(add);
        self.notify.sum(add);
        add(u64::from(self.notify_multiplier));
        self.device.sum(add);
        add(u64::from(self.platform));
    }

    fn status_at(&self) -> usize {
        self.common.at(20, 1)
    }

    pub(crate) fn quiesce<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result {
        reset(hw, Stage::Stop, self.common.bar, self.status_at())
    }

    pub(crate) fn take<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<(Virtio, Geometry)> {
        let (bar, common) = (self.common.bar, &self.common);
        let status_at = self.status_at();
        gone(Stage::Alive, hw.regs.read8(bar, status_at))?;
        reset(hw, Stage::Reset, bar, status_at)?;

        let regs = hw.regs;
        let offered = |half: u32| {
            regs.write32(bar, common.at(0, 4), half);
            regs.read32(bar, common.at(4, 4))
        };
        let accept = |half: u32, value: u32| {
            regs.write32(bar, common.at(8, 4), half);
            regs.write32(bar, common.at(12, 4), value);
        };
        let unsupported = |code| Error::new(Stage::Setup, Cause::Unsupported, code);
        let status = |value: u8| -> Result {
            regs.write8(bar, status_at, value);
            gone(Stage::Setup, regs.read8(bar, status_at))
        };
        status(ACKNOWLEDGE)?;
        status(ACKNOWLEDGE | DRIVER)?;
        let (low, high) = (offered(0), offered(1));
        let low = acceptable(low)?;
        if high & F_VERSION_1 == 0 {
            return Err(unsupported(0));
        }
        if (high & F_ACCESS_PLATFORM != 0) != self.platform {
            return Err(Error::new(Stage::Setup, Cause::Mismatch, high));
        }
        accept(0, low);
        accept(
            1,
            high & (F_VERSION_1 | F_ACCESS_PLATFORM | F_ORDER_PLATFORM),
        );
        status(ACKNOWLEDGE | DRIVER | FEATURES_OK)?;
        if regs.read8(bar, status_at) & FEATURES_OK == 0 {
            return Err(unsupported(1));
        }

        // No interrupts.
        regs.write16(bar, common.at(16, 2), 0xffff);
        regs.write16(bar, common.at(22, 2), 0);
        let n = regs.read16(bar, common.at(24, 2)).min(8);
        if n < 4 || !n.is_power_of_two() {
            return Err(unsupported(u32::from(n)));
        }
        let ring = Ring { n };
        hw.zero(0, ring.end());
        regs.write16(bar, common.at(24, 2), n);
        regs.write16(bar, common.at(26, 2), 0xffff);
        let notify_off = u32::from(regs.read16(bar, common.at(30, 2)));
        for (at, place) in [(32, Ring::DESC), (40, ring.avail()), (48, ring.used())] {
            let (low, high) = crate::halves(hw.dma.bus(place));
            regs.write32(bar, common.at(at, 4), low);
            regs.write32(bar, common.at(at + 4, 4), high);
        }
        let bell = notify_off
            .checked_mul(self.notify_multiplier)
            .filter(|at| at.checked_add(2).is_some_and(|end| end <= self.notify.len))
            .ok_or(unsupported(2))?;
        // The device must see no interrupts wanted from the first request on.
        hw.dma.put16(ring.avail(), 1);
        hw.dma.barrier();
        regs.write16(bar, common.at(28, 2), 1);
        status(ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK)?;

        let config = |at| regs.read32(self.device.bar, self.device.at(at, 4));
        let geometry = Geometry {
            // The size in the configuration counts sectors of 512 bytes in any case.
            blocks: u64::from(config(0)) | (u64::from(config(4)) << 32),
            block_bytes: 0,
        };
        let geometry = sized(geometry, low, config(20))?;
        Ok((
            Virtio {
                bell: Bell {
                    bar: self.notify.bar,
                    at: self.notify.at(bell, 2),
                },
                ring,
                count: 0,
                flush: low & F_FLUSH != 0,
            },
            geometry,
        ))
    }
}

/// With the size of a block, if the device tells.
fn sized(geometry: Geometry, features: u32, block_bytes: u32) -> Result<Geometry> {
    if geometry.blocks == u64::MAX {
        return Err(Error::new(Stage::Identify, Cause::Gone, 0));
    }
    if features & F_BLK_SIZE == 0 {
        return Ok(geometry);
    }
    if !block_bytes.is_power_of_two() || block_bytes < 512 {
        return Err(Error::new(Stage::Identify, Cause::Unsupported, block_bytes));
    }
    Ok(Geometry {
        blocks: geometry.blocks >> block_bytes.trailing_zeros().saturating_sub(9),
        block_bytes,
    })
}

impl VirtioLegacy {
    const STATUS: usize = 18;

    pub(crate) fn sum(&self, add: &mut dyn FnMut(u64)) {
        add(2);
        add(u64::from(self.bar));
        add(u64::from(self.msix));
    }

    pub(crate) fn quiesce<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result {
        reset(hw, Stage::Stop, self.bar, Self::STATUS)
    }

    pub(crate) fn take<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<(Virtio, Geometry)> {
        let (bar, regs) = (self.bar, hw.regs);
        gone(Stage::Alive, regs.read8(bar, Self::STATUS))?;
        reset(hw, Stage::Reset, bar, Self::STATUS)?;
        let status = |value: u8| -> Result {
            regs.write8(bar, Self::STATUS, value);
            gone(Stage::Setup, regs.read8(bar, Self::STATUS))
        };
        status(ACKNOWLEDGE)?;
        status(ACKNOWLEDGE | DRIVER)?;
        let features = acceptable(regs.read32(bar, 0))?;
        regs.write32(bar, 4, features);

        if self.msix {
            regs.write16(bar, 20, 0xffff);
        }
        regs.write16(bar, 14, 0);
        let n = regs.read16(bar, 12);
        if !(4..=RING_MAX).contains(&n) || !n.is_power_of_two() {
            return Err(Error::new(Stage::Setup, Cause::Unsupported, u32::from(n)));
        }
        let ring = Ring { n };
        hw.zero(0, ring.end());
        if self.msix {
            regs.write16(bar, 22, 0xffff);
        }
        hw.dma.put16(ring.avail(), 1);
        hw.dma.barrier();
        let page = u32::try_from(hw.dma.bus(0) >> 12)
            .map_err(|_| Error::new(Stage::Setup, Cause::Unsupported, 3))?;
        regs.write32(bar, 8, page);
        status(ACKNOWLEDGE | DRIVER | DRIVER_OK)?;

        let config = if self.msix { 24 } else { 20 };
        let geometry = Geometry {
            blocks: u64::from(regs.read32(bar, config))
                | (u64::from(regs.read32(bar, config + 4)) << 32),
            block_bytes: 0,
        };
        let geometry = sized(geometry, features, regs.read32(bar, config + 20))?;
        Ok((
            Virtio {
                bell: Bell { bar, at: 16 },
                ring,
                count: 0,
                flush: features & F_FLUSH != 0,
            },
            geometry,
        ))
    }
}

/// Where the parts of a request are.
const HEADER_AT: usize = REQUEST_AT;
const STATUS_AT: usize = REQUEST_AT + 64;

impl Virtio {
    pub(crate) fn transfer<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        op: Op,
        block: u64,
        blocks: u16,
        shift: u32,
    ) -> Result {
        let range = Error::new(op.stage(), Cause::Range, 1);
        // Sectors have 512 bytes whatever a block has.
        let up = shift.saturating_sub(9);
        let sector = block.checked_shl(up).filter(|s| s >> up == block);
        let sector = sector.ok_or(range)?;
        let bytes = u32::from(blocks).checked_shl(shift).ok_or(range)?;
        // CAST: usize has 32 bits at least.
        if bytes == 0 || bytes as usize > DATA_BYTES {
            return Err(range);
        }
        let kind = match op {
            Op::Read => T_IN,
            Op::Write => T_OUT,
        };
        self.request(hw, op.stage(), kind, sector, Some((op, bytes)))
    }

    /// Without the feature every write goes through, and there is nothing to flush.
    pub(crate) fn flush<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result {
        if !self.flush {
            return Ok(());
        }
        self.request(hw, Stage::Flush, T_FLUSH, 0, None)
    }

    fn request<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        stage: Stage,
        kind: u32,
        sector: u64,
        data: Option<(Op, u32)>,
    ) -> Result {
        let dma = hw.dma;
        dma.put32(HEADER_AT, kind);
        dma.put32(HEADER_AT + 4, 0);
        dma.put64(HEADER_AT + 8, sector);
        dma.put(STATUS_AT, &[0xff]);
        let descriptor = |n: usize, at: usize, len: u32, flags: u16, next: u16| {
            let entry = Ring::DESC.wrapping_add(n.wrapping_mul(16));
            dma.put64(entry, dma.bus(at));
            dma.put32(entry.wrapping_add(8), len);
            dma.put16(entry.wrapping_add(12), flags);
            dma.put16(entry.wrapping_add(14), next);
        };
        match data {
            Some((op, bytes)) => {
                let write = match op {
                    Op::Read => DESC_WRITE,
                    Op::Write => 0,
                };
                descriptor(0, HEADER_AT, 16, DESC_NEXT, 1);
                descriptor(1, DATA_AT, bytes, DESC_NEXT | write, 2);
                descriptor(2, STATUS_AT, 1, DESC_WRITE, 0);
            }
            None => {
                descriptor(0, HEADER_AT, 16, DESC_NEXT, 2);
                descriptor(2, STATUS_AT, 1, DESC_WRITE, 0);
            }
        }
        let (avail, used) = (self.ring.avail(), self.ring.used());
        let slot = usize::from(self.count & self.ring.n.wrapping_sub(1));
        dma.put16(avail.wrapping_add(4).wrapping_add(2 * slot), 0);
        dma.barrier();
        let last = self.count;
        self.count = self.count.wrapping_add(1);
        dma.put16(avail.wrapping_add(2), self.count);
        dma.barrier();
        hw.regs.write16(self.bell.bar, self.bell.at, 0);

        let want = self.count;
        hw.wait(stage, REQUEST_US, |_, dma| {
            dma.barrier();
            match dma.get16(used.wrapping_add(2)) {
                idx if idx == want => Ok(true),
                idx if idx == last => Ok(false),
                idx => Err(Error::new(stage, Cause::Protocol, u32::from(idx))),
            }
        })?;
        hw.dma.barrier();
        let id = hw.dma.get32(used.wrapping_add(4).wrapping_add(8 * slot));
        if id != 0 {
            return Err(Error::new(stage, Cause::Protocol, id));
        }
        let mut status = [0];
        hw.dma.get(STATUS_AT, &mut status);
        match status {
            [0] => Ok(()),
            [0xff] => Err(Error::new(stage, Cause::Protocol, 0xff)),
            [code] => Err(Error::new(stage, Cause::Status, u32::from(code))),
        }
    }
}
