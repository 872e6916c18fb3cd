// SPDX-License-Identifier: GPL-2.0

//! Raw deflate by the kernel's zlib, with memory taken beforehand.
//!
//! The library keeps all state in a workspace that the caller brings. It takes no lock, allocates
//! nothing and does not sleep; it has no loop that does not advance in its input or output. So it
//! can be called in any context, NMI included.
//!
//! C header: [`include/linux/zlib.h`](srctree/include/linux/zlib.h)

// A kernel may have one half only, or none.
#![cfg_attr(
    not(all(CONFIG_ZLIB_DEFLATE, CONFIG_ZLIB_INFLATE)),
    allow(dead_code, unused_imports)
)]

use super::Damage;
use core::mem::MaybeUninit;
use kernel::prelude::*;
use mpstore_bindings as bindings;

/// As much history as deflate allows, for what another writer used is not known. Negative means a
/// raw stream, without header.
#[cfg(CONFIG_ZLIB_INFLATE)]
const RAW_WINDOW_BITS_MAX: c_int = -15;

fn stream(workspace: *mut u8, input: &[u8], output: &mut [MaybeUninit<u8>]) -> bindings::z_stream {
    bindings::z_stream {
        workspace: workspace.cast(),
        next_in: input.as_ptr(),
        avail_in: input.len(),
        next_out: output.as_mut_ptr().cast(),
        avail_out: output.len(),
        ..Default::default()
    }
}

/// A compressor.
///
/// # Invariants
///
/// `workspace` has the size that zlib asks for these settings, and the alignment of a page. The
/// history is of 4 KiB or less.
#[cfg(CONFIG_ZLIB_DEFLATE)]
pub(crate) struct Deflate {
    workspace: VVec<u8>,
    level: c_int,
    /// Negative, which means a raw stream, without header.
    raw_window_bits: c_int,
    mem_level: c_int,
}

#[cfg(CONFIG_ZLIB_DEFLATE)]
impl Deflate {
    /// `level` 1 to 9, a history of `2^window_bits` bytes (9 to 12), and `mem_level` 1 to 9: a hash
    /// table of `2^(mem_level + 7)` entries and blocks of `2^(mem_level + 6)` symbols. May sleep.
    pub(crate) fn new(level: c_int, window_bits: c_int, mem_level: c_int) -> Result<Self> {
        if !((1..=9).contains(&level)
            && (9..=12).contains(&window_bits)
            && (1..=9).contains(&mem_level))
        {
            return Err(EINVAL);
        }
        // SAFETY: Both are in range; no other preconditions.
        let size = unsafe { bindings::zlib_deflate_workspacesize(-window_bits, mem_level) };
        // INVARIANT: vmalloc memory begins at a page.
        let mut this = Self {
            workspace: VVec::from_elem(0, usize::try_from(size)?, GFP_KERNEL)?,
            level,
            raw_window_bits: -window_bits,
            mem_level,
        };
        // The first use of zlib anywhere fills static tables; not in the middle of a crash.
        match this.chunk(b"\n", &mut [0; 32]) {
            Some(_) => Ok(this),
            None => Err(EIO),
        }
    }

    /// The longest input: three bytes, the shortest match, for each symbol of a block.
    fn input_max(&self) -> usize {
        3 << self.mem_level.saturating_add(6).clamp(7, 15)
    }

    /// Compresses `input` without reference to anything before it and up to a byte boundary, so
    /// that more of that kind or the end of a stream may follow. [`None`] if `input` is too long
    /// for these settings or `output` too small. Any context.
    pub(crate) fn chunk(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        if input.len() > self.input_max() {
            return None;
        }
        // SAFETY: Initialised memory is also memory that may be uninitialised; zlib only writes to
        // it.
        let out = unsafe { &mut *(core::ptr::from_mut(output) as *mut [MaybeUninit<u8>]) };
        let mut stream = stream(self.workspace.as_mut_ptr(), input, out);
        // This zlib has a block's output and the N symbols it is made of in one buffer of 4N bytes,
        // and would read symbol i overwritten if those before it took more than N + 2i bytes
        // (CVE-2018-25032). A literal takes less than 2. Matches, of 3 bytes or more, are N at
        // most in an input of 3N, so for that the first i would have to take more than 3 bytes each
        // on average. Of a match 10 bits at most are not Huffman coded in 4 KiB of history (and 5
        // more in one of 131 bytes or more), and Huffman codes of 14 bits are for what is rare.
        // Nor is a block ever longer than its text and a few bytes, which is less than the buffer.
        //
        // SAFETY: By the type invariant the workspace is what this call needs, and all that zlib
        // keeps is in there. `stream` outlives the calls; its state's pointer back to it is set
        // anew by each of them. `input` and `output` are valid for the lengths given,
        // and the text above says why nothing beyond the workspace is touched.
        let status = unsafe {
            let status = bindings::zlib_deflateInit2(
                &mut stream,
                self.level,
                bindings::Z_DEFLATED as c_int,
                self.raw_window_bits,
                self.mem_level,
                bindings::Z_DEFAULT_STRATEGY as c_int,
            );
            if status == bindings::Z_OK as c_int {
                bindings::zlib_deflate(&mut stream, bindings::Z_FULL_FLUSH as c_int)
            } else {
                status
            }
        };
        // With output left, the flush is complete.
        (status == bindings::Z_OK as c_int && stream.avail_in == 0 && stream.avail_out > 0)
            .then(|| output.len().checked_sub(stream.avail_out))
            .flatten()
    }
}

/// A decompressor.
///
/// # Invariants
///
/// `workspace` has room for what zlib asks for, which need not be initialised, and is aligned for
/// any type of C, as all that kvmalloc() gives.
#[cfg(CONFIG_ZLIB_INFLATE)]
pub(crate) struct Inflate {
    workspace: KVVec<u8>,
}

#[cfg(CONFIG_ZLIB_INFLATE)]
impl Inflate {
    /// May sleep.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: No preconditions.
        let size = unsafe { bindings::zlib_inflate_workspacesize() };
        // INVARIANT: The kernel's allocators align for any type of C.
        Ok(Self {
            workspace: KVVec::with_capacity(usize::try_from(size)?, GFP_KERNEL)?,
        })
    }

    /// Decompresses one raw stream at the front of `input` to the end of `output`, as far as there
    /// is room. What follows the stream is ignored, as the in-tree pstore does.
    pub(crate) fn run(&mut self, input: &[u8], output: &mut KVVec<u8>) -> Result<(), Damage> {
        let room = output.spare_capacity_mut();
        let len = room.len();
        let mut stream = stream(self.workspace.as_mut_ptr(), input, room);
        // SAFETY: By the type invariant the workspace is what this call needs. `stream` outlives
        // the calls, `input` and `room` are valid for the lengths given, and zlib_inflate() checks
        // what it reads; of the window it reads only what it has put there.
        let status = unsafe {
            let status = bindings::zlib_inflateInit2(&mut stream, RAW_WINDOW_BITS_MAX);
            if status == bindings::Z_OK as c_int {
                bindings::zlib_inflate(&mut stream, bindings::Z_FINISH as c_int)
            } else {
                status
            }
        };
        if status == bindings::Z_STREAM_END as c_int {
            // SAFETY: zlib counts down from the whole room as it fills it from the front.
            unsafe { output.inc_len(len - stream.avail_out) };
            Ok(())
        } else if status == bindings::Z_OK as c_int || status == bindings::Z_BUF_ERROR {
            Err(match stream.avail_out {
                0 => Damage::TooLong,
                _ => Damage::Cut,
            })
        } else {
            Err(Damage::Invalid)
        }
    }
}
