// SPDX-License-Identifier: GPL-2.0

//! Zstandard frames, with memory taken beforehand.
//!
//! The library keeps all state in a workspace that the caller brings. It takes no lock, allocates
//! nothing and does not sleep, so it can be called in any context, NMI included.
//!
//! C header: [`include/linux/zstd.h`](srctree/include/linux/zstd.h)

// A kernel may have one half only, or none.
#![cfg_attr(
    not(all(CONFIG_ZSTD_COMPRESS, CONFIG_ZSTD_DECOMPRESS)),
    allow(dead_code, unused_imports)
)]

use super::Damage;
use kernel::prelude::*;
use mpstore_bindings as bindings;

/// A compressor.
///
/// # Invariants
///
/// `workspace` has the size that zstd asks for these parameters, and the alignment of a page.
#[cfg(CONFIG_ZSTD_COMPRESS)]
pub(crate) struct Compress {
    workspace: VVec<u8>,
    params: bindings::zstd_parameters,
}

#[cfg(CONFIG_ZSTD_COMPRESS)]
impl Compress {
    /// For frames of at most `size` bytes. May sleep.
    pub(crate) fn new(level: c_int, size: usize) -> Result<Self> {
        // SAFETY: No preconditions; a level out of range becomes the nearest one.
        let params = unsafe { bindings::zstd_get_params(level, size as u64) };
        // SAFETY: The parameters are zstd's own.
        let bound = unsafe { bindings::zstd_cctx_workspace_bound(&params.cParams) };
        // INVARIANT: vmalloc memory begins at a page.
        Ok(Self {
            workspace: VVec::from_elem(0, bound, GFP_KERNEL)?,
            params,
        })
    }

    /// Compresses `input` to a frame of its own. [`None`] if `output` is too small. Any context.
    pub(crate) fn frame(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        // SAFETY: The workspace is valid for writes of its length, and by the type invariant
        // aligned for what zstd puts there.
        let context = unsafe {
            bindings::zstd_init_cctx(self.workspace.as_mut_ptr().cast(), self.workspace.len())
        };
        if context.is_null() {
            return None;
        }
        // SAFETY: The context was just made in the workspace, which by the type invariant is large
        // enough for these parameters; `input` and `output` are valid for the lengths given.
        let len = unsafe {
            bindings::zstd_compress_cctx(
                context,
                output.as_mut_ptr().cast(),
                output.len(),
                input.as_ptr().cast(),
                input.len(),
                &self.params,
            )
        };
        // SAFETY: No preconditions.
        (unsafe { bindings::zstd_is_error(len) } == 0 && len <= output.len()).then_some(len)
    }
}

/// A decompressor.
///
/// # Invariants
///
/// `workspace` has the size that zstd asks for, and the alignment of a page.
#[cfg(CONFIG_ZSTD_DECOMPRESS)]
pub(crate) struct Decompress {
    workspace: VVec<u8>,
}

#[cfg(CONFIG_ZSTD_DECOMPRESS)]
impl Decompress {
    /// May sleep.
    pub(crate) fn new() -> Result<Self> {
        // SAFETY: No preconditions.
        let size = unsafe { bindings::zstd_dctx_workspace_bound() };
        // INVARIANT: vmalloc memory begins at a page.
        Ok(Self {
            workspace: VVec::from_elem(0, size, GFP_KERNEL)?,
        })
    }

    /// Decompresses `input`, which is whole frames and nothing else, to the end of `output`, as far
    /// as there is room.
    pub(crate) fn run(&mut self, input: &[u8], output: &mut KVVec<u8>) -> Result<(), Damage> {
        // SAFETY: The workspace is valid for writes of its length, and by the type invariant
        // aligned for what zstd puts there.
        let context = unsafe {
            bindings::zstd_init_dctx(self.workspace.as_mut_ptr().cast(), self.workspace.len())
        };
        if context.is_null() {
            return Err(Damage::Invalid);
        }
        let room = output.spare_capacity_mut();
        let size = room.len();
        // SAFETY: The context was just made; `input` and `room` are valid for the lengths given,
        // and zstd checks what it reads.
        let len = unsafe {
            bindings::zstd_decompress_dctx(
                context,
                room.as_mut_ptr().cast(),
                size,
                input.as_ptr().cast(),
                input.len(),
            )
        };
        // SAFETY: No preconditions.
        match unsafe { bindings::zstd_get_error_code(len) } {
            bindings::ZSTD_ErrorCode_ZSTD_error_no_error => {
                // SAFETY: So many bytes were written to the room, from its front on.
                unsafe { output.inc_len(len.min(size)) };
                Ok(())
            }
            bindings::ZSTD_ErrorCode_ZSTD_error_dstSize_tooSmall => Err(Damage::TooLong),
            bindings::ZSTD_ErrorCode_ZSTD_error_srcSize_wrong => Err(Damage::Cut),
            _ => Err(Damage::Invalid),
        }
    }
}
