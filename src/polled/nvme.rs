// SPDX-License-Identifier: GPL-2.0

//! NVMe on PCI: an admin queue and one pair of queues, one command at a time.
//!
//! Source: NVM Express Base Specification 1.4, 3.1 Register Definition, 5 Admin Command Set, 6 NVM
//! Command Set, 7.6.1 Initialization.

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
    REQUEST_US, //
};

/// A namespace of a controller, whose registers are in base address register 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nvme {
    /// The namespace.
    pub nsid: u32,
    /// How long it must be left alone after it was told to stop or to start, in microseconds: some
    /// controllers can't be asked at once.
    pub settle_us: u32,
    /// Bytes of the register that are mapped.
    pub bar_len: u32,
}

const BAR: u8 = 0;
const CAP: usize = 0x00;
const CC: usize = 0x14;
const CSTS: usize = 0x1c;
const AQA: usize = 0x24;
const ASQ: usize = 0x28;
const ACQ: usize = 0x30;
const DOORBELLS: usize = 0x1000;

const CC_EN: u32 = 1;
const CC_SHN: u32 = 3 << 14;
const CSTS_RDY: u32 = 1;
const CSTS_CFS: u32 = 2;

/// Entries of every queue.
const ENTRIES: u16 = 8;
const ADMIN_SQ_AT: usize = 0x0000;
const ADMIN_CQ_AT: usize = 0x1000;
const IO_SQ_AT: usize = 0x2000;
const IO_CQ_AT: usize = 0x3000;

const COMMAND_BYTES: usize = 64;
const COMPLETION_BYTES: usize = 16;

/// How many queues are asked for. The last one granted is used, as the live kernel's processors
/// have the first ones, and one of them may still run.
const QUEUES: u32 = 128;

/// A pair of queues: their memory, their doorbells, and how far they are.
#[derive(Clone, Copy, Debug)]
struct Queue {
    id: u16,
    sq: usize,
    cq: usize,
    sq_bell: usize,
    cq_bell: usize,
    tail: u16,
    head: u16,
    phase: bool,
}

/// A controller that was taken over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queues {
    io: Queue,
    nsid: u32,
    /// Of each queue.
    entries: u16,
    /// Number of the next command.
    next: u16,
}

/// A command, but for what is the same in all.
#[derive(Clone, Copy, Default)]
struct Command {
    opcode: u8,
    nsid: u32,
    /// Data, from [`DATA_AT`] on.
    bytes: usize,
    /// Instead of data: where the memory of a queue is.
    memory: Option<usize>,
    words: [u32; 6],
}

/// All ones is what a device that is gone answers.
fn alive(stage: Stage, csts: u32) -> Result<u32> {
    if csts == u32::MAX {
        return Err(Error::new(stage, Cause::Gone, 0));
    }
    Ok(csts)
}

impl Nvme {
    pub(crate) fn sum(&self, add: &mut dyn FnMut(u64)) {
        add(3);
        add(u64::from(self.nsid));
        add((u64::from(self.settle_us) << 32) | u64::from(self.bar_len));
    }

    /// Tells it to stop, and waits until it has. `limit_us` as it says itself.
    fn disable<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
        stage: Stage,
        limit_us: u32,
    ) -> Result {
        let cc = alive(stage, hw.regs.read32(BAR, CC))?;
        hw.regs.write32(BAR, CC, cc & !(CC_EN | CC_SHN));
        hw.sleep(stage, self.settle_us)?;
        hw.wait(stage, limit_us, |regs, _| {
            Ok(alive(stage, regs.read32(BAR, CSTS))? & CSTS_RDY == 0)
        })
    }

    /// How long it may take to start or stop.
    fn limit_us(cap_low: u32) -> u32 {
        (cap_low >> 24).saturating_add(1).saturating_mul(500_000)
    }

    pub(crate) fn quiesce<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result {
        let cap = alive(Stage::Stop, hw.regs.read32(BAR, CAP))?;
        self.disable(hw, Stage::Stop, Self::limit_us(cap))
    }

    pub(crate) fn take<M: Mmio, D: Dma, C: Clock>(
        &self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result<(Queues, Geometry)> {
        let unsupported = |code| Error::new(Stage::Setup, Cause::Unsupported, code);
        alive(Stage::Alive, hw.regs.read32(BAR, CSTS))?;
        let cap_low = alive(Stage::Alive, hw.regs.read32(BAR, CAP))?;
        let cap_high = alive(Stage::Alive, hw.regs.read32(BAR, CAP + 4))?;
        let limit_us = Self::limit_us(cap_low);
        // CAST: 16 bits of it.
        let entries = (cap_low as u16).saturating_add(1).min(ENTRIES);
        let stride = 4usize << (cap_high & 0xf);
        self.disable(hw, Stage::Reset, limit_us)?;

        // Pages of 4 KiB, and a command set for disks.
        if (cap_high >> 16) & 0xf != 0 || entries < 2 {
            return Err(unsupported(cap_high));
        }
        let css = match (cap_high >> 5) & 0xff {
            css if css & 1 != 0 => 0,
            css if css & 0x40 != 0 => 6,
            css => return Err(unsupported(css)),
        };
        hw.zero(ADMIN_SQ_AT, 0x4000);
        hw.dma.barrier();
        let regs = hw.regs;
        let depth = u32::from(entries.wrapping_sub(1));
        regs.write32(BAR, AQA, (depth << 16) | depth);
        for (at, place) in [(ASQ, ADMIN_SQ_AT), (ACQ, ADMIN_CQ_AT)] {
            let (low, high) = crate::halves(hw.dma.bus(place));
            regs.write32(BAR, at, low);
            regs.write32(BAR, at + 4, high);
        }
        // Entries of 64 and 16 bytes.
        regs.write32(BAR, CC, (4 << 20) | (6 << 16) | (css << 4) | CC_EN);
        hw.sleep(Stage::Setup, self.settle_us)?;
        hw.wait(Stage::Setup, limit_us, |regs, _| {
            let csts = alive(Stage::Setup, regs.read32(BAR, CSTS))?;
            if csts & CSTS_CFS != 0 {
                return Err(Error::new(Stage::Setup, Cause::Status, csts));
            }
            Ok(csts & CSTS_RDY != 0)
        })?;

        let mut next = 1u16;
        let mut admin = Queue::new(0, ADMIN_SQ_AT, ADMIN_CQ_AT, stride);
        // Number of Queues.
        let granted = admin.run(
            hw,
            Stage::Setup,
            &mut next,
            entries,
            &Command {
                opcode: 0x09,
                words: [0x07, ((QUEUES - 1) << 16) | (QUEUES - 1), 0, 0, 0, 0],
                ..Command::default()
            },
        )?;
        let granted = (granted & 0xffff).min(granted >> 16).saturating_add(1);
        // CAST: At most 128.
        let id = granted.min(QUEUES) as u16;
        let io = Queue::new(id, IO_SQ_AT, IO_CQ_AT, stride);
        // CAST: usize has 32 bits at least.
        if io.cq_bell.saturating_add(4) > self.bar_len as usize {
            return Err(unsupported(u32::from(id)));
        }
        let size_and_id = (depth << 16) | u32::from(id);
        // Create Completion Queue, without interrupts; Create Submission Queue.
        for (opcode, place, flags) in [
            (0x05, IO_CQ_AT, 1),
            (0x01, IO_SQ_AT, (u32::from(id) << 16) | 1),
        ] {
            admin.run(
                hw,
                Stage::Setup,
                &mut next,
                entries,
                &Command {
                    opcode,
                    memory: Some(place),
                    words: [size_and_id, flags, 0, 0, 0, 0],
                    ..Command::default()
                },
            )?;
        }

        // Identify Namespace.
        hw.zero(DATA_AT, 4096);
        admin.run(
            hw,
            Stage::Identify,
            &mut next,
            entries,
            &Command {
                opcode: 0x06,
                nsid: self.nsid,
                bytes: 4096,
                ..Command::default()
            },
        )?;
        let byte = |at: usize| {
            let mut byte = [0];
            hw.dma.get(DATA_AT + at, &mut byte);
            byte[0]
        };
        // Of 16 formats; more than 16 are a feature that must be switched on.
        let format = usize::from(byte(26) & 0xf);
        let format = hw.dma.get32(DATA_AT + 128 + 4 * format);
        let unsupported = |code| Error::new(Stage::Identify, Cause::Unsupported, code);
        // No metadata, no protection information, not write protected.
        if format & 0xffff != 0 || byte(29) & 7 != 0 || byte(99) & 1 != 0 {
            return Err(unsupported(format));
        }
        let shift = (format >> 16) & 0xff;
        if !(9..=12).contains(&shift) {
            return Err(unsupported(format));
        }
        Ok((
            Queues {
                io,
                nsid: self.nsid,
                entries,
                next,
            },
            Geometry {
                block_bytes: 1 << shift,
                blocks: hw.dma.get64(DATA_AT),
            },
        ))
    }
}

impl Queue {
    fn new(id: u16, sq: usize, cq: usize, stride: usize) -> Self {
        let bell = DOORBELLS.saturating_add(stride.saturating_mul(2).saturating_mul(id.into()));
        Self {
            id,
            sq,
            cq,
            sq_bell: bell,
            cq_bell: bell.saturating_add(stride),
            tail: 0,
            head: 0,
            phase: true,
        }
    }

    /// Has a command done and answers with its result.
    fn run<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
        stage: Stage,
        next: &mut u16,
        entries: u16,
        command: &Command,
    ) -> Result<u32> {
        let dma = hw.dma;
        let id = *next;
        *next = next.wrapping_add(1);
        let at = self
            .sq
            .wrapping_add(usize::from(self.tail).wrapping_mul(COMMAND_BYTES));
        hw.zero(at, COMMAND_BYTES);
        dma.put32(at, u32::from(command.opcode) | (u32::from(id) << 16));
        dma.put32(at.wrapping_add(4), command.nsid);
        // One page each, so that there need be no list.
        if let Some(memory) = command.memory {
            dma.put64(at.wrapping_add(24), dma.bus(memory));
        } else if command.bytes > 0 {
            dma.put64(at.wrapping_add(24), dma.bus(DATA_AT));
            if command.bytes > 4096 {
                dma.put64(at.wrapping_add(32), dma.bus(DATA_AT + 4096));
            }
        }
        for (n, word) in command.words.iter().enumerate() {
            dma.put32(at.wrapping_add(40).wrapping_add(n.wrapping_mul(4)), *word);
        }
        let after = |n: u16| match n.wrapping_add(1) {
            n if n < entries => n,
            _ => 0,
        };
        self.tail = after(self.tail);
        dma.barrier();
        hw.regs.write32(BAR, self.sq_bell, u32::from(self.tail));

        let done = self
            .cq
            .wrapping_add(usize::from(self.head).wrapping_mul(COMPLETION_BYTES));
        let phase = self.phase;
        hw.wait(stage, REQUEST_US, |regs, dma| {
            dma.barrier();
            if (dma.get16(done.wrapping_add(14)) & 1 != 0) == phase {
                return Ok(true);
            }
            let csts = alive(stage, regs.read32(BAR, CSTS))?;
            if csts & CSTS_CFS != 0 {
                return Err(Error::new(stage, Cause::Status, csts));
            }
            Ok(false)
        })?;
        dma.barrier();
        let result = dma.get32(done);
        let queue = dma.get16(done.wrapping_add(10));
        let got = dma.get16(done.wrapping_add(12));
        let status = (dma.get16(done.wrapping_add(14)) >> 1) & 0x7ff;
        if got != id || queue != self.id {
            return Err(Error::new(
                stage,
                Cause::Protocol,
                (u32::from(queue) << 16) | u32::from(got),
            ));
        }
        self.head = after(self.head);
        if self.head == 0 {
            self.phase = !self.phase;
        }
        hw.regs.write32(BAR, self.cq_bell, u32::from(self.head));
        if status != 0 {
            return Err(Error::new(stage, Cause::Status, u32::from(status)));
        }
        Ok(result)
    }
}

impl Queues {
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
        let count = blocks.checked_sub(1).ok_or(range)?;
        if bytes > DATA_BYTES {
            return Err(range);
        }
        let (low, high) = crate::halves(block);
        let command = Command {
            opcode: match op {
                Op::Read => 0x02,
                Op::Write => 0x01,
            },
            nsid: self.nsid,
            bytes,
            memory: None,
            words: [low, high, u32::from(count), 0, 0, 0],
        };
        self.io
            .run(hw, op.stage(), &mut self.next, self.entries, &command)
            .map(drop)
    }

    pub(crate) fn flush<M: Mmio, D: Dma, C: Clock>(
        &mut self,
        hw: &mut Hardware<'_, M, D, C>,
    ) -> Result {
        let command = Command {
            opcode: 0x00,
            nsid: self.nsid,
            ..Command::default()
        };
        self.io
            .run(hw, Stage::Flush, &mut self.next, self.entries, &command)
            .map(drop)
    }
}
