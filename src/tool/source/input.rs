// SPDX-License-Identifier: GPL-2.0

//! A file that is read at offsets, and makedumpfile's flattened form of one.

use anyhow::{
    bail,
    Context as _,
    Result, //
};
use std::{
    collections::BTreeMap,
    fs::File,
    io::{
        self,
        Seek as _, //
    },
    os::unix::fs::FileExt as _,
    path::Path, //
};

/// What a flattened file begins with, see `struct makedumpfile_header`.
pub(crate) const FLATTENED: &[u8] = b"makedumpfile\0\0\0\0";
/// The header's length.
const FLATTENED_HEADER: u64 = 4096;
/// Most pieces that are believed in: each takes memory here.
const PIECES_MAX: usize = 1 << 24;

/// A file, or pieces of one at other offsets.
pub(crate) struct Input {
    file: File,
    len: u64,
    /// By offset in the rearranged file: length, and offset in the file.
    pieces: Option<BTreeMap<u64, (u64, u64)>>,
}

impl Input {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let mut file = File::open(path).with_context(|| {
            let hint = match path.metadata() {
                Err(e) if e.kind() == io::ErrorKind::NotFound => "",
                _ => " (as root it may work)",
            };
            format!("{}: can't open{hint}", path.display())
        })?;
        // The size of a device is only to be had so; /dev/mem has none, and no end.
        let len = file.seek(io::SeekFrom::End(0)).unwrap_or(u64::MAX);
        Ok(Self {
            file,
            len,
            pieces: None,
        })
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Reads what is there in one piece.
    pub(crate) fn read_some_at(&self, at: u64, to: &mut [u8]) -> io::Result<usize> {
        let Some(pieces) = &self.pieces else {
            if i64::try_from(at).is_err() {
                return Ok(0);
            }
            return self.file.read_at(to, at);
        };
        let within = |left: u64, room: usize| room.min(usize::try_from(left).unwrap_or(usize::MAX));
        if let Some((start, (len, from))) = pieces.range(..=at).next_back() {
            let skip = at - start;
            let len = within(len.saturating_sub(skip), to.len());
            if let Some(to) = to.get_mut(..len).filter(|to| !to.is_empty()) {
                return self.file.read_at(to, from + skip);
            }
        }
        // Between pieces are zeros, as in a file: QEMU writes headers without the rest of their blocks.
        let next = pieces
            .range(at..)
            .next()
            .map_or(self.len, |(next, _)| *next);
        let len = within(next.saturating_sub(at), to.len());
        if let Some(hole) = to.get_mut(..len) {
            hole.fill(0);
        }
        Ok(len)
    }

    /// Fills `to` or fails.
    pub(crate) fn read_exact_at(&self, at: u64, to: &mut [u8]) -> io::Result<()> {
        let mut done = 0;
        while done < to.len() {
            let here = at
                .checked_add(done as u64)
                .ok_or(io::ErrorKind::UnexpectedEof)?;
            match self.read_some_at(here, to.get_mut(done..).unwrap_or(&mut []))? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    /// As many bytes from `at` on.
    pub(crate) fn bytes(&self, at: u64, len: usize) -> io::Result<Vec<u8>> {
        let mut out = vec![0; len];
        self.read_exact_at(at, &mut out)?;
        Ok(out)
    }

    /// The file that this is the flattened form of: a header, then pieces, each with its offset and
    /// length in front in 64 bit big endian, then one with -1 for both.
    pub(crate) fn rearranged(self) -> Result<Self> {
        let head = self.bytes(16, 16)?;
        if head != [1u64.to_be_bytes(), 1u64.to_be_bytes()].concat() {
            bail!("its type or version is not known");
        }
        let mut pieces = BTreeMap::new();
        let mut at = FLATTENED_HEADER;
        let mut end = 0;
        loop {
            let mut head = [0; 16];
            if self.read_exact_at(at, &mut head).is_err() {
                bail!(
                    "it ends at {at:#x} without its end mark: it was cut off, or is still written"
                );
            }
            let (offset, len) = head.split_at(8);
            let number = |b: &[u8]| b.try_into().map_or(0, i64::from_be_bytes);
            let (offset, len) = (number(offset), number(len));
            if offset == -1 && len == -1 {
                break;
            }
            let (Ok(offset), Ok(len)) = (u64::try_from(offset), u64::try_from(len)) else {
                bail!("the piece at {at:#x} has an impossible place");
            };
            at += 16;
            let last = offset
                .checked_add(len)
                .context("a piece beyond all files")?;
            if at.checked_add(len).is_none_or(|end| end > self.len) {
                bail!("the piece at {at:#x} is longer than the file");
            }
            if pieces.len() >= PIECES_MAX {
                bail!("more than {PIECES_MAX} pieces");
            }
            if len > 0 {
                insert(&mut pieces, offset, len, at);
            }
            end = end.max(last);
            at += len;
        }
        Ok(Self {
            file: self.file,
            len: end,
            pieces: Some(pieces),
        })
    }
}

/// Puts a piece over whatever was there before.
fn insert(pieces: &mut BTreeMap<u64, (u64, u64)>, offset: u64, len: u64, from: u64) {
    let end = offset + len;
    let over: Vec<(u64, (u64, u64))> = pieces
        .range(..end)
        .rev()
        .take_while(|(start, (len, _))| *start + len > offset)
        .map(|(start, piece)| (*start, *piece))
        .collect();
    for (start, (old, from)) in over {
        pieces.remove(&start);
        if start < offset {
            pieces.insert(start, (offset - start, from));
        }
        if start + old > end {
            pieces.insert(end, (start + old - end, from + (end - start)));
        }
    }
    pieces.insert(offset, (len, from));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_pieces_count() {
        let mut pieces = BTreeMap::new();
        insert(&mut pieces, 0, 100, 1000);
        insert(&mut pieces, 40, 20, 2000);
        insert(&mut pieces, 90, 20, 3000);
        let all: Vec<_> = pieces.into_iter().collect();
        assert_eq!(
            all,
            [
                (0, (40, 1000)),
                (40, (20, 2000)),
                (60, (30, 1060)),
                (90, (20, 3000))
            ]
        );
    }
}
