// SPDX-License-Identifier: GPL-2.0

//! One takeover: what was armed, checked and then used, and the gate that every write goes through.

use crate::{
    Cause,
    Clock,
    Controller,
    Dma,
    Error,
    Hardware,
    Mmio,
    Op,
    Result,
    Stage,
    Taken,
    DATA_AT,
    DATA_BYTES, //
};

/// Bytes of the signature that are compared, from the start of its block.
pub const SIGNATURE_BYTES: usize = 128;

/// What was armed: a controller, a place on a disk, and the signature that lies in its last block.
///
/// Plain values with a checksum, so that one which a dying kernel has written over is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    controller: Controller,
    /// First block, counted from the start of the disk.
    first: u64,
    /// Blocks that may be written.
    blocks: u64,
    /// The block of the signature, counted from `first`, not below `blocks`.
    signature_block: u64,
    /// The size of a block as a power of two.
    shift: u32,
    signature: [u8; SIGNATURE_BYTES],
    /// Whatever else must be as it was, for the caller.
    tag: [u64; 4],
    checksum: u32,
}

impl Target {
    /// Describes the place of `bytes` at `start` of a disk with blocks of `block_bytes`; the
    /// signature is at `signature_at` bytes from its start, and what comes before that may be
    /// written. [`None`] if that is no whole number of blocks.
    pub fn new(
        controller: Controller,
        start: u64,
        signature_at: u64,
        block_bytes: u32,
        signature: [u8; SIGNATURE_BYTES],
        tag: [u64; 4],
    ) -> Option<Self> {
        if !block_bytes.is_power_of_two() || !(512..=4096).contains(&block_bytes) {
            return None;
        }
        let shift = block_bytes.trailing_zeros();
        let mask = u64::from(block_bytes).wrapping_sub(1);
        if (start | signature_at) & mask != 0 || start.checked_add(signature_at).is_none() {
            return None;
        }
        let mut target = Self {
            controller,
            first: start >> shift,
            blocks: signature_at >> shift,
            signature_block: signature_at >> shift,
            shift,
            signature,
            tag,
            checksum: 0,
        };
        target.checksum = target.sum();
        Some(target)
    }

    /// The controller.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Bytes that may be written, from the start of the place.
    pub fn bytes(&self) -> u64 {
        self.blocks.wrapping_shl(self.shift)
    }

    /// Whether it is as it was made, with that `tag`.
    pub fn intact(&self, tag: &[u64; 4]) -> bool {
        self.checksum == self.sum() && self.tag == *tag
    }

    /// CRC-32 over all values, in their order here.
    fn sum(&self) -> u32 {
        let mut crc = Crc(!0);
        match &self.controller {
            Controller::VirtioModern(c) => c.sum(&mut |v| crc.add(v)),
            Controller::VirtioLegacy(c) => c.sum(&mut |v| crc.add(v)),
            Controller::Nvme(c) => c.sum(&mut |v| crc.add(v)),
            Controller::Ahci(c) => c.sum(&mut |v| crc.add(v)),
        }
        for value in [
            self.first,
            self.blocks,
            self.signature_block,
            u64::from(self.shift),
        ]
        .iter()
        .chain(&self.tag)
        {
            crc.add(*value);
        }
        for byte in &self.signature {
            crc.byte(*byte);
        }
        !crc.0
    }
}

/// CRC-32 (IEEE 802.3, reflected), bit by bit: there is little to sum up.
struct Crc(u32);

impl Crc {
    fn byte(&mut self, byte: u8) {
        self.0 ^= u32::from(byte);
        for _ in 0..8 {
            self.0 = (self.0 >> 1) ^ (0xedb8_8320 & 0u32.wrapping_sub(self.0 & 1));
        }
    }

    fn add(&mut self, value: u64) {
        for byte in value.to_le_bytes() {
            self.byte(byte);
        }
    }
}

/// A disk that was taken over.
///
/// # Invariants
///
/// `taken` is there only after the signature was found where `target` says.
#[derive(Debug)]
pub struct Session {
    target: Target,
    taken: Option<Taken>,
    failed: Option<Error>,
}

impl Session {
    /// Takes the controller over and looks for the signature. Whatever comes of it, nothing is
    /// written to the disk. If it fails the controller is left stopped, unless it was not touched
    /// ([`Stage::Check`], [`Stage::Alive`]) or does not stop.
    pub fn open<M: Mmio, D: Dma, C: Clock>(
        target: &Target,
        tag: &[u64; 4],
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<Self> {
        // A copy, so that what was checked is what is used.
        let target = *target;
        if !target.intact(tag) {
            return Err(Error::new(Stage::Check, Cause::Mismatch, 0));
        }
        match Self::verified(&target, hw) {
            // INVARIANT: Verified.
            Ok(taken) => Ok(Self {
                target,
                taken: Some(taken),
                failed: None,
            }),
            Err(e) => {
                if !matches!(e.stage, Stage::Check | Stage::Alive) {
                    // The first error is the one that says something.
                    let _ = target.controller.quiesce(hw);
                }
                Err(e)
            }
        }
    }

    fn verified<M: Mmio, D: Dma, C: Clock>(
        target: &Target,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<Taken> {
        let (mut taken, geometry) = target.controller.take(hw)?;
        let bytes = 1u64.wrapping_shl(target.shift);
        let mismatch = |code| Error::new(Stage::Identify, Cause::Mismatch, code);
        let end = target
            .first
            .checked_add(target.signature_block)
            .and_then(|n| n.checked_add(1))
            .ok_or(mismatch(0))?;
        let there = match geometry.block_bytes {
            0 => geometry.blocks.wrapping_shr(target.shift.saturating_sub(9)),
            n if u64::from(n) == bytes => geometry.blocks,
            n => return Err(mismatch(n)),
        };
        if end > there {
            return Err(mismatch(1));
        }

        let at = target
            .first
            .checked_add(target.signature_block)
            .ok_or(mismatch(0))?;
        // So that what is found there was read.
        hw.zero(DATA_AT, SIGNATURE_BYTES);
        taken
            .transfer(hw, Op::Read, at, 1, target.shift)
            .map_err(|e| Error::new(Stage::Signature, e.cause, e.code))?;
        let mut found = [0; SIGNATURE_BYTES];
        hw.dma.get(DATA_AT, &mut found);
        if found != target.signature {
            return Err(Error::new(Stage::Signature, Cause::Mismatch, 0));
        }
        Ok(taken)
    }

    /// Reads from `at` bytes on.
    pub fn read<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        at: u64,
        to: &mut [u8],
    ) -> Result {
        let len = to.len();
        self.each(hw, Op::Read, at, len, |hw, _, done, n| {
            if let Some(to) = to.get_mut(done..done.saturating_add(n)) {
                hw.dma.get(DATA_AT, to);
            }
        })
    }

    /// Writes from `at` bytes on.
    pub fn write<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        at: u64,
        from: &[u8],
    ) -> Result {
        self.each(hw, Op::Write, at, from.len(), |hw, before, done, n| {
            if before {
                hw.dma.put(
                    DATA_AT,
                    from.get(done..done.saturating_add(n)).unwrap_or(&[]),
                );
            }
        })
    }

    /// One request after the other; `data` is called with `true` before one that writes and with
    /// `false` after one that reads.
    fn each<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        op: Op,
        at: u64,
        len: usize,
        mut data: impl FnMut(&mut Hardware<'_, M, D, C>, bool, usize, usize),
    ) -> Result {
        let stage = op.stage();
        let range = Error::new(stage, Cause::Range, 0);
        let shift = self.target.shift;
        let mask = 1u64.wrapping_shl(shift).wrapping_sub(1);
        let end = u64::try_from(len)
            .ok()
            .and_then(|len| at.checked_add(len))
            .ok_or(range)?;
        if (at | end) & mask != 0 || end > self.target.bytes() {
            return Err(range);
        }
        let mut done = 0usize;
        while done < len {
            let n = len.saturating_sub(done).min(DATA_BYTES);
            let block = at
                .wrapping_shr(shift)
                .checked_add(u64::try_from(done.wrapping_shr(shift)).map_err(|_| range)?)
                .and_then(|n| n.checked_add(self.target.first))
                .ok_or(range)?;
            let blocks = u16::try_from(n.wrapping_shr(shift)).map_err(|_| range)?;
            if op == Op::Write {
                data(hw, true, done, n);
            }
            self.ask(stage, |taken| taken.transfer(hw, op, block, blocks, shift))?;
            if op == Op::Read {
                data(hw, false, done, n);
            }
            done = done.saturating_add(n);
        }
        Ok(())
    }

    /// What was written so far is on the medium when this returns.
    pub fn flush<M: Mmio, D: Dma, C: Clock>(&mut self, hw: &mut Hardware<'_, M, D, C>) -> Result {
        self.ask(Stage::Flush, |taken| taken.flush(hw))
    }

    /// Stops the controller. Nothing else can be asked of it after.
    pub fn close<M: Mmio, D: Dma, C: Clock>(&mut self, hw: &mut Hardware<'_, M, D, C>) -> Result {
        if self.taken.take().is_none() {
            return Err(Error::new(Stage::Stop, Cause::State, 0));
        }
        self.target.controller.quiesce(hw)
    }

    /// The error after which nothing more is asked of the controller.
    pub fn failed(&self) -> Option<Error> {
        self.failed
    }

    fn ask(&mut self, stage: Stage, f: impl FnOnce(&mut Taken) -> Result) -> Result {
        if self.failed.is_some() {
            return Err(Error::new(stage, Cause::State, 1));
        }
        let Some(taken) = &mut self.taken else {
            return Err(Error::new(stage, Cause::State, 0));
        };
        let result = f(taken);
        if let Err(e) = result {
            self.failed = Some(e);
        }
        result
    }
}
