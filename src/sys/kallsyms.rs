// SPDX-License-Identifier: GPL-2.0

//! Addresses and names of functions.
//!
//! C headers: [`include/linux/kallsyms.h`](srctree/include/linux/kallsyms.h),
//! [`include/linux/vmcore_info.h`](srctree/include/linux/vmcore_info.h)

use kernel::prelude::*;
use mpstore_bindings as bindings;

const NAME_MAX: usize = bindings::MPSTORE_SYMBOL_LEN as usize;

/// Where on this architecture KASLR may put the kernel's image; modules lie behind it. Empty where
/// KASLR does not move it, or not so.
pub(crate) const IMAGE: core::ops::Range<u64> =
    bindings::MPSTORE_IMAGE_START_MB << 20..bindings::MPSTORE_IMAGE_END_MB << 20;

/// `LINUX_VERSION_CODE` of the kernel that this is built for.
pub(crate) const VERSION: u32 = bindings::MPSTORE_VERSION_CODE;

/// Room for a name.
pub(crate) struct Symbol {
    text: KBox<[u8; NAME_MAX]>,
}

impl Symbol {
    /// May sleep.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self {
            text: KBox::new([0; NAME_MAX], GFP_KERNEL)?,
        })
    }

    fn look(&mut self, get: impl FnOnce(*mut kernel::ffi::c_char) -> kernel::ffi::c_int) -> &[u8] {
        let len = get(self.text.as_mut_ptr().cast());
        let len = usize::try_from(len).unwrap_or(0);
        self.text.get(..len).unwrap_or(&[])
    }

    /// `function [module]` as `%ps` prints it; any number may be asked about, one that is in no
    /// function gives the number. Task context.
    pub(crate) fn name(&mut self, address: usize) -> &[u8] {
        // SAFETY: The buffer has room for the longest text.
        self.look(|to| unsafe { bindings::mpstore_sprint_symbol_no_offset(to, address) })
    }

    /// `function+offset/size [module]` as `%pS` prints it. Task context.
    pub(crate) fn name_and_offset(&mut self, address: usize) -> &[u8] {
        // SAFETY: The buffer has room for the longest text.
        self.look(|to| unsafe { bindings::mpstore_sprint_symbol(to, address) })
    }
}

/// The kernel's vmcoreinfo note, which tells where KASLR put the image. [`None`] where this kernel
/// has none or it can't be read. May sleep.
pub(crate) fn vmcoreinfo() -> Option<VVec<u8>> {
    let mut note =
        VVec::from_elem(0u8, bindings::MPSTORE_VMCOREINFO_LEN as usize, GFP_KERNEL).ok()?;
    // SAFETY: There is room for as many bytes.
    let got = unsafe { bindings::mpstore_read_vmcoreinfo(note.as_mut_ptr().cast(), note.len()) };
    got.then_some(note)
}
