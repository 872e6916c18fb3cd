// SPDX-License-Identifier: GPL-2.0

//! Vectors of bytes. The kernel crate fills and copies them one by one, which a kernel without
//! vector instructions does not make faster.

use kernel::{
    alloc::{
        Allocator,
        Vec, //
    },
    prelude::*, //
};

/// Puts `from` at the end of `to`. May sleep.
pub(crate) fn append<A: Allocator>(to: &mut Vec<u8, A>, from: &[u8]) -> Result {
    to.reserve(from.len(), GFP_KERNEL)?;
    // SAFETY: There is room for as many bytes behind those that are there, which `from` can't be
    // in, and all of it is initialised.
    unsafe {
        let end = to.as_mut_ptr().add(to.len());
        core::ptr::copy_nonoverlapping(from.as_ptr(), end, from.len());
        to.inc_len(from.len());
    }
    Ok(())
}

/// A copy. May sleep.
pub(crate) fn copy(from: &[u8]) -> Result<KVVec<u8>> {
    let mut to = KVVec::new();
    append(&mut to, from)?;
    Ok(to)
}
