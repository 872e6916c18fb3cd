// SPDX-License-Identifier: GPL-2.0

//! Bytes at any offset of a medium that is written in whole blocks.

use super::panic_io::PanicIo;
use crate::sys::bdev::{
    Device,
    IoBuffer, //
};
use kernel::prelude::*;

/// A medium of blocks. Offsets and lengths are multiples of [`Self::block`].
pub(super) trait Blocks {
    /// Bytes in a block.
    fn block(&self) -> usize;

    /// Reads `len` bytes to offset `skip` of a buffer.
    fn read(&self, at: u64, to: &mut IoBuffer, skip: usize, len: usize) -> Result;

    /// Writes the first `len` bytes of a buffer.
    fn write(&self, at: u64, from: &IoBuffer, len: usize) -> Result;

    /// Returns when what was written would survive a loss of power.
    fn flush(&self) -> Result;
}

/// By the block layer. May sleep.
impl Blocks for Device {
    fn block(&self) -> usize {
        self.block_size()
    }

    fn read(&self, at: u64, to: &mut IoBuffer, skip: usize, len: usize) -> Result {
        self.read_into(at, to, skip, len)
    }

    fn write(&self, at: u64, from: &IoBuffer, len: usize) -> Result {
        Device::write(self, at, from, len)
    }

    fn flush(&self) -> Result {
        Device::flush(self)
    }
}

/// In a panic.
pub(super) struct InPanic<'a> {
    pub(super) io: &'a dyn PanicIo,
    pub(super) block: usize,
}

impl Blocks for InPanic<'_> {
    fn block(&self) -> usize {
        self.block
    }

    fn read(&self, at: u64, to: &mut IoBuffer, skip: usize, len: usize) -> Result {
        let part = to.bytes_mut().get_mut(skip..).ok_or(EINVAL)?;
        Ok(self.io.read(at, part.get_mut(..len).ok_or(EINVAL)?)?)
    }

    fn write(&self, at: u64, from: &IoBuffer, len: usize) -> Result {
        Ok(self.io.write(at, from.bytes().get(..len).ok_or(EINVAL)?)?)
    }

    fn flush(&self) -> Result {
        Ok(self.io.flush()?)
    }
}

/// The blocks that hold a stretch of bytes, as many as fit a buffer.
struct Chunk {
    /// Where the blocks begin.
    at: u64,
    /// Bytes of whole blocks.
    len: usize,
    /// The bytes that are meant, within them.
    from: usize,
    to: usize,
}

fn chunk(block: usize, room: usize, at: u64, len: usize) -> Option<Chunk> {
    // CAST: Below the block size.
    let from = at.checked_rem(block as u64)? as usize;
    let to = from.checked_add(len)?.min(room / block * block);
    if to <= from {
        return None;
    }
    Some(Chunk {
        at: at.checked_sub(from as u64)?,
        len: to.checked_next_multiple_of(block)?,
        from,
        to,
    })
}

/// Writes `len` bytes to `at`. `fill` is called in order with offsets into these bytes and the room
/// for them. Of blocks that are written in part the rest is read before. In a panic if `medium` is
/// for that.
pub(super) fn put(
    medium: &dyn Blocks,
    buffer: &mut IoBuffer,
    at: u64,
    len: usize,
    fill: &mut dyn FnMut(usize, &mut [u8]),
) -> Result {
    let (block, room) = (medium.block(), buffer.bytes().len());
    let mut done = 0usize;
    while done < len {
        let here = at.checked_add(done as u64).ok_or(EINVAL)?;
        let part = chunk(block, room, here, len.saturating_sub(done)).ok_or(EINVAL)?;
        let last = part.len.saturating_sub(block);
        if part.from != 0 {
            medium.read(part.at, buffer, 0, block)?;
        }
        if part.to != part.len && (last != 0 || part.from == 0) {
            medium.read(part.at.saturating_add(last as u64), buffer, last, block)?;
        }
        let bytes = buffer.bytes_mut().get_mut(part.from..part.to);
        fill(done, bytes.ok_or(EINVAL)?);
        medium.write(part.at, buffer, part.len)?;
        done = done.saturating_add(part.to.saturating_sub(part.from));
    }
    Ok(())
}

/// Writes bytes to `at`.
pub(super) fn put_bytes(
    medium: &dyn Blocks,
    buffer: &mut IoBuffer,
    at: u64,
    bytes: &[u8],
) -> Result {
    put(medium, buffer, at, bytes.len(), &mut |from, to| {
        for (to, from) in to.iter_mut().zip(bytes.get(from..).unwrap_or(&[])) {
            *to = *from;
        }
    })
}

/// Reads bytes from `at` on until `to` is full.
pub(super) fn get(medium: &dyn Blocks, buffer: &mut IoBuffer, at: u64, to: &mut [u8]) -> Result {
    let (block, room) = (medium.block(), buffer.bytes().len());
    let mut rest = to;
    let mut here = at;
    while !rest.is_empty() {
        let part = chunk(block, room, here, rest.len()).ok_or(EINVAL)?;
        medium.read(part.at, buffer, 0, part.len)?;
        let bytes = buffer.bytes().get(part.from..part.to).ok_or(EINVAL)?;
        let (now, later) = rest.split_at_mut_checked(bytes.len()).ok_or(EINVAL)?;
        now.copy_from_slice(bytes);
        here = here.saturating_add(bytes.len() as u64);
        rest = later;
    }
    Ok(())
}
