// SPDX-License-Identifier: GPL-2.0

//! EFI variables.
//!
//! C header: [`include/linux/efi.h`](srctree/include/linux/efi.h)

use super::context;
use kernel::{
    error::to_result,
    prelude::*, //
};
use mpstore_bindings as bindings;
use mpstore_format::efi::{
    Cursor,
    Next,
    ATTRIBUTES, //
};

/// A vendor, aligned as the kernel wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Guid([u8; 16]);

/// Whether this machine has variables at all. Any context.
pub(crate) fn is_available() -> bool {
    // SAFETY: Reads a variable.
    unsafe { bindings::efivar_is_available() }
}

/// Whether they can be written. Any context.
pub(crate) fn supports_writes() -> bool {
    // SAFETY: Reads variables.
    unsafe { bindings::efivar_supports_writes() }
}

/// Whether the firmware's runtime services may be called. Any context.
pub(crate) fn has_runtime_services() -> bool {
    // SAFETY: Reads a variable.
    unsafe { bindings::mpstore_efi_runtime() }
}

/// Whether firmware may be called in this context. Any context.
pub(crate) fn may_call() -> bool {
    // SAFETY: Reads this CPU's state; no preconditions.
    unsafe { bindings::mpstore_efi_may_call(context::panicking()) }
}

fn check(status: bindings::efi_status_t) -> Result {
    // SAFETY: Translates a number.
    to_result(unsafe { bindings::mpstore_efi_errno(status) })
}

/// Room in the store.
#[derive(Clone, Copy, Default)]
pub(crate) struct Room {
    /// Bytes that are free.
    pub(crate) free: u64,
    /// Bytes of the largest variable.
    pub(crate) largest: u64,
}

/// Exclusive use of the variables, a semaphore that also user space's accesses take.
///
/// # Invariants
///
/// The semaphore is held.
pub(crate) struct Lock(());

impl Lock {
    /// Waits for it; `EINTR` if a signal comes first. Task context, may sleep.
    pub(crate) fn wait() -> Result<Self> {
        if !is_available() {
            return Err(ENODEV);
        }
        // SAFETY: There are variables. A provider that is a module could go at this very moment,
        // which the kernel's own callers, being as exposed, rely on not to happen.
        to_result(unsafe { bindings::efivar_lock() })?;
        // INVARIANT: Taken.
        Ok(Self(()))
    }

    /// Takes it if it is free, else `EBUSY`. Does not sleep.
    ///
    /// Inside is a raw spinlock that is held for a few instructions with interrupts off. Only an
    /// NMI can come in between, and only for good if it panics.
    pub(crate) fn take() -> Result<Self> {
        if !is_available() {
            return Err(ENODEV);
        }
        // SAFETY: As in `wait()`.
        to_result(unsafe { bindings::efivar_trylock() })?;
        // INVARIANT: Taken.
        Ok(Self(()))
    }

    /// Goes on to the next variable. May sleep.
    pub(crate) fn next(&self, cursor: &mut Cursor) -> Next {
        let most = core::mem::size_of_val(&cursor.name);
        let mut bytes = cursor.bytes.min(most);
        let mut guid = Guid(cursor.guid);
        // SAFETY: The semaphore is held. The name ends with a zero within the array, which has
        // `bytes` bytes; the vendor is aligned and valid.
        let status = unsafe {
            bindings::efivar_get_next_variable(
                &mut bytes,
                cursor.name.as_mut_ptr(),
                (&raw mut guid).cast(),
            )
        };
        cursor.bytes = bytes;
        cursor.guid = guid.0;
        match check(status) {
            Ok(()) => Next::Found,
            Err(e) if e == ENOENT => Next::End,
            Err(e) if e == EOVERFLOW => Next::TooSmall,
            Err(_) => Next::Failed,
        }
    }

    /// Reads a variable and answers with its length, which is more than there is room for if it is
    /// larger than `to`; then nothing is read. `name` ends with a zero. May sleep.
    pub(crate) fn get(&self, name: &[u16], vendor: &[u8; 16], to: &mut [u8]) -> Result<usize> {
        if name.last() != Some(&0) {
            return Err(EINVAL);
        }
        let (mut len, mut guid, mut attributes) = (to.len(), Guid(*vendor), 0);
        // SAFETY: The semaphore is held. The name ends with a zero and is not written to; the
        // vendor is aligned; `to` is valid for writes of `len` bytes.
        let status = unsafe {
            bindings::efivar_get_variable(
                name.as_ptr().cast_mut(),
                (&raw mut guid).cast(),
                &mut attributes,
                &mut len,
                to.as_mut_ptr().cast(),
            )
        };
        match check(status) {
            // Firmware may say what it likes.
            Ok(()) => Ok(len.min(to.len())),
            Err(e) if e == EOVERFLOW && len > to.len() => Ok(len),
            Err(e) => Err(e),
        }
    }

    /// Writes a variable, or erases it if `content` is empty. `name` ends with a zero. Unless
    /// `atomic`, may sleep. The caller has asked [`may_call`] if `atomic`.
    pub(crate) fn set(
        &self,
        name: &[u16],
        vendor: &[u8; 16],
        content: &mut [u8],
        atomic: bool,
    ) -> Result {
        if name.last() != Some(&0) {
            return Err(EINVAL);
        }
        let mut guid = Guid(*vendor);
        // SAFETY: The semaphore is held. The name ends with a zero and is not written to; the
        // vendor is aligned; `content` is valid for its length.
        check(unsafe {
            bindings::efivar_set_variable_locked(
                name.as_ptr().cast_mut(),
                (&raw mut guid).cast(),
                ATTRIBUTES,
                content.len(),
                content.as_mut_ptr().cast(),
                atomic,
            )
        })
    }

    /// Room in the store; `EOPNOTSUPP` where firmware does not tell. May sleep.
    pub(crate) fn room(&self) -> Result<Room> {
        let (mut all, mut room) = (0, Room::default());
        // SAFETY: The semaphore is held; all three are valid for writes.
        check(unsafe {
            bindings::efivar_query_variable_info(
                ATTRIBUTES,
                &mut all,
                &mut room.free,
                &mut room.largest,
            )
        })?;
        Ok(room)
    }

    /// The same without sleeping. The caller has asked [`may_call`].
    pub(crate) fn room_atomic(&self) -> Result<Room> {
        let mut room = Room::default();
        // SAFETY: Both are valid for writes.
        to_result(unsafe {
            bindings::mpstore_efi_query_nonblocking(ATTRIBUTES, &mut room.free, &mut room.largest)
        })?;
        Ok(room)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // SAFETY: By the type invariant; a semaphore may be released by anybody.
        unsafe { bindings::efivar_unlock() };
    }
}
