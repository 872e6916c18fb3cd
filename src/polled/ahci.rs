// SPDX-License-Identifier: GPL-2.0

//! A disk on a port of an AHCI controller: one command slot, one command at a time. The other ports
//! are left alone, but for interrupts, which are off for all.
//!
//! Source: Serial ATA AHCI 1.3.1, 3 HBA Memory Registers, 4 System Memory Structures, 10.4 Reset;
//! ATA8-ACS for the commands.

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

/// A port of a controller, whose registers are in base address register 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahci {
    /// Number of the port.
    pub port: u8,
}

/// A port that was taken over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Port {
    base: usize,
}

const BAR: u8 = 5;
const CAP: usize = 0x00;
const GHC: usize = 0x04;
const PI: usize = 0x0c;

const GHC_IE: u32 = 1 << 1;
const GHC_AE: u32 = 1 << 31;
const CAP_S64A: u32 = 1 << 31;

// Of a port.
const CLB: usize = 0x00;
const FB: usize = 0x08;
const IS: usize = 0x10;
const IE: usize = 0x14;
const CMD: usize = 0x18;
const TFD: usize = 0x20;
const SIG: usize = 0x24;
const SSTS: usize = 0x28;
const SCTL: usize = 0x2c;
const SERR: usize = 0x30;
const SACT: usize = 0x34;
const CI: usize = 0x38;

const CMD_ST: u32 = 1 << 0;
const CMD_SUD: u32 = 1 << 1;
const CMD_POD: u32 = 1 << 2;
const CMD_FRE: u32 = 1 << 4;
const CMD_FR: u32 = 1 << 14;
const CMD_CR: u32 = 1 << 15;
/// Interface communication control: the link may be asleep.
const CMD_ICC: u32 = 0xf << 28;
const CMD_ICC_ACTIVE: u32 = 1 << 28;

const TFD_ERR: u32 = 1 << 0;
const TFD_DRQ: u32 = 1 << 3;
const TFD_BSY: u32 = 1 << 7;
/// Task file, host bus and interface errors.
const IS_ERRORS: u32 = 0xf << 27;

/// What a disk says it is after a reset.
const SIG_DISK: u32 = 0x0000_0101;

const LIST_AT: usize = 0x0000;
const FIS_AT: usize = 0x1000;
const TABLE_AT: usize = REQUEST_AT;

/// How long the engines of a port may take to stop.
const ENGINE_US: u32 = 500_000;
/// How long it may take until the link is there again.
const LINK_US: u32 = 10_000_000;
/// A disk that must spin up takes its time.
const SPIN_US: u32 = 30_000_000;

const IDENTIFY_DEVICE: u8 = 0xec;
const READ_DMA_EXT: u8 = 0x25;
const WRITE_DMA_EXT: u8 = 0x35;
const FLUSH_CACHE_EXT: u8 = 0xea;

fn alive(stage: Stage, value: u32) -> Result<u32> {
    if value == u32::MAX {
        return Err(Error::new(stage, Cause::Gone, 0));
    }
    Ok(value)
}

impl Ahci {
    pub(crate) fn sum(&self, add: &mut dyn FnMut(u64)) {
        add(4);
        add(u64::from(self.port));
    }

    fn base(&self) -> usize {
        0x100 + 0x80 * usize::from(self.port & 0x1f)
    }

    /// Stops both engines of the port.
    fn stop<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
        stage: Stage,
    ) -> Result {
        let at = self.base() + CMD;
        // First the one, then the other, or what the first does goes nowhere.
        for (bit, running) in [(CMD_ST, CMD_CR), (CMD_FRE, CMD_FR)] {
            let cmd = alive(stage, hw.regs.read32(BAR, at))?;
            hw.regs.write32(BAR, at, cmd & !(bit | CMD_ICC));
            hw.wait(stage, ENGINE_US, |regs, _| {
                Ok(alive(stage, regs.read32(BAR, at))? & running == 0)
            })?;
        }
        Ok(())
    }

    pub(crate) fn quiesce<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result {
        self.stop(hw, Stage::Stop)
    }

    pub(crate) fn take<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<(Port, Geometry)> {
        let (regs, base) = (hw.regs, self.base());
        let unsupported = |code| Error::new(Stage::Setup, Cause::Unsupported, code);
        let cap = alive(Stage::Alive, regs.read32(BAR, CAP))?;
        let ports = alive(Stage::Alive, regs.read32(BAR, PI))?;
        let ghc = alive(Stage::Alive, regs.read32(BAR, GHC))?;
        if self.port > 31 || (ports >> self.port) & 1 == 0 {
            return Err(Error::new(Stage::Alive, Cause::Mismatch, ports));
        }
        regs.write32(BAR, GHC, (ghc | GHC_AE) & !GHC_IE);
        regs.write32(BAR, base + IE, 0);
        self.stop(hw, Stage::Reset)?;

        hw.zero(0, 0x2000);
        hw.zero(TABLE_AT, 0x100);
        for (at, place) in [(CLB, LIST_AT), (FB, FIS_AT)] {
            let (low, high) = crate::halves(hw.dma.bus(place));
            if high != 0 && cap & CAP_S64A == 0 {
                return Err(unsupported(high));
            }
            regs.write32(BAR, base + at, low);
            regs.write32(BAR, base + at + 4, high);
        }
        hw.dma.barrier();
        // What the disk says of itself after the reset must find a place.
        let cmd = alive(Stage::Reset, regs.read32(BAR, base + CMD))? & !CMD_ICC;
        regs.write32(
            BAR,
            base + CMD,
            cmd | CMD_FRE | CMD_SUD | CMD_POD | CMD_ICC_ACTIVE,
        );
        let sctl = alive(Stage::Reset, regs.read32(BAR, base + SCTL))? & !0xf;
        // No sleep of the link either.
        regs.write32(BAR, base + SCTL, sctl | 0x301);
        hw.sleep(Stage::Reset, 2000)?;
        regs.write32(BAR, base + SCTL, sctl | 0x300);
        hw.wait(Stage::Reset, LINK_US, |regs, _| {
            Ok(alive(Stage::Reset, regs.read32(BAR, base + SSTS))? & 0xf == 3)
        })?;
        regs.write32(BAR, base + SERR, u32::MAX);
        hw.wait(Stage::Reset, SPIN_US, |regs, _| {
            Ok(alive(Stage::Reset, regs.read32(BAR, base + TFD))? & (TFD_BSY | TFD_DRQ) == 0)
        })?;
        let sig = regs.read32(BAR, base + SIG);
        if sig != SIG_DISK {
            return Err(unsupported(sig));
        }
        regs.write32(BAR, base + SERR, u32::MAX);
        regs.write32(BAR, base + IS, u32::MAX);
        let cmd = alive(Stage::Setup, regs.read32(BAR, base + CMD))? & !CMD_ICC;
        regs.write32(BAR, base + CMD, cmd | CMD_ST);

        let mut port = Port { base };
        let geometry = port.identify(hw)?;
        Ok((port, geometry))
    }
}

/// A command.
struct Command {
    code: u8,
    lba: u64,
    count: u16,
    /// Bytes of data, from [`DATA_AT`] on.
    bytes: usize,
    write: bool,
}

impl Port {
    fn identify<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<Geometry> {
        hw.zero(DATA_AT, 512);
        let command = Command {
            code: IDENTIFY_DEVICE,
            lba: 0,
            count: 0,
            bytes: 512,
            write: false,
        };
        self.run(hw, Stage::Identify, &command)?;
        let word = |n: usize| hw.dma.get16(DATA_AT + 2 * n);
        // Addresses of 48 bits, and FLUSH CACHE EXT; bits 15 and 14 say that the word means
        // something.
        if word(83) & 0xe400 != 0x6400 {
            return Err(Error::new(
                Stage::Identify,
                Cause::Unsupported,
                u32::from(word(83)),
            ));
        }
        let block_bytes = match word(106) {
            // Bit 12: longer than 256 words.
            w if w & 0xd000 == 0x5000 => {
                ((u32::from(word(118)) << 16) | u32::from(word(117))).saturating_mul(2)
            }
            _ => 512,
        };
        Ok(Geometry {
            block_bytes,
            blocks: hw.dma.get64(DATA_AT + 200) & 0xffff_ffff_ffff,
        })
    }

    pub(crate) fn transfer<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        op: Op,
        block: u64,
        blocks: u16,
        shift: u32,
    ) -> Result {
        let range = Error::new(op.stage(), Cause::Range, 1);
        let bytes = usize::from(blocks).checked_shl(shift).ok_or(range)?;
        if bytes == 0 || bytes > DATA_BYTES || block >> 48 != 0 {
            return Err(range);
        }
        let command = Command {
            code: match op {
                Op::Read => READ_DMA_EXT,
                Op::Write => WRITE_DMA_EXT,
            },
            lba: block,
            count: blocks,
            bytes,
            write: op == Op::Write,
        };
        self.run(hw, op.stage(), &command)?;
        // What was moved, by the controller's own count.
        let moved = hw.dma.get32(LIST_AT + 4);
        if usize::try_from(moved) != Ok(bytes) {
            return Err(Error::new(op.stage(), Cause::Protocol, moved));
        }
        Ok(())
    }

    pub(crate) fn flush<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result {
        let command = Command {
            code: FLUSH_CACHE_EXT,
            lba: 0,
            count: 0,
            bytes: 0,
            write: false,
        };
        self.run(hw, Stage::Flush, &command)
    }

    fn run<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        stage: Stage,
        command: &Command,
    ) -> Result {
        let (regs, dma, base) = (hw.regs, hw.dma, self.base);
        let [l0, l1, l2, l3, l4, l5, ..] = command.lba.to_le_bytes();
        let [c0, c1] = command.count.to_le_bytes();
        // Bit 6 of the device: addresses of blocks. IDENTIFY DEVICE does not look.
        let fis = [
            0x27,
            0x80,
            command.code,
            0,
            l0,
            l1,
            l2,
            0x40,
            l3,
            l4,
            l5,
            0,
            c0,
            c1,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        dma.put(TABLE_AT, &fis);
        let (low, high) = crate::halves(dma.bus(DATA_AT));
        dma.put32(TABLE_AT + 0x80, low);
        dma.put32(TABLE_AT + 0x84, high);
        dma.put32(TABLE_AT + 0x88, 0);
        // CAST: At most DATA_BYTES.
        dma.put32(TABLE_AT + 0x8c, command.bytes.saturating_sub(1) as u32);

        let entries = u32::from(command.bytes > 0);
        // Five words of command; bit 6: to the disk.
        dma.put32(
            LIST_AT,
            (entries << 16) | (u32::from(command.write) << 6) | 5,
        );
        dma.put32(LIST_AT + 4, 0);
        let (low, high) = crate::halves(dma.bus(TABLE_AT));
        dma.put32(LIST_AT + 8, low);
        dma.put32(LIST_AT + 12, high);
        regs.write32(BAR, base + IS, u32::MAX);
        dma.barrier();
        // Not one of those that are queued in the disk.
        if alive(stage, regs.read32(BAR, base + SACT))? != 0 {
            return Err(Error::new(stage, Cause::Protocol, 1));
        }
        regs.write32(BAR, base + CI, 1);
        hw.wait(stage, REQUEST_US, |regs, _| {
            let is = alive(stage, regs.read32(BAR, base + IS))?;
            let tfd = alive(stage, regs.read32(BAR, base + TFD))?;
            if is & IS_ERRORS != 0 {
                return Err(Error::new(stage, Cause::Status, tfd));
            }
            Ok(alive(stage, regs.read32(BAR, base + CI))? & 1 == 0)
        })?;
        dma.barrier();
        let tfd = alive(stage, regs.read32(BAR, base + TFD))?;
        let is = alive(stage, regs.read32(BAR, base + IS))?;
        if tfd & (TFD_ERR | TFD_BSY | TFD_DRQ) != 0 || is & IS_ERRORS != 0 {
            return Err(Error::new(stage, Cause::Status, tfd));
        }
        Ok(())
    }
}
