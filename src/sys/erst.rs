// SPDX-License-Identifier: GPL-2.0

//! ACPI's Error Record Serialization Table: records of errors that firmware keeps over resets.
//!
//! C header: [`include/acpi/apei.h`](srctree/include/acpi/apei.h)

use kernel::{
    error::to_result,
    prelude::*, //
};
use mpstore_bindings as bindings;
use mpstore_format::erst::INVALID_ID;

/// Where a record's header says how long it is.
const LENGTH_AT: usize = 20;

/// Bytes of a record's header.
const RECORD_HEADER: usize = 128;

/// Whether this machine has it and the kernel uses it. Any context.
pub(crate) fn is_enabled() -> bool {
    // SAFETY: Set at boot and not changed since.
    unsafe { bindings::erst_disable == 0 }
}

/// The id for a new record, unique over reboots as long as the clock goes on. Any context.
pub(crate) fn next_id() -> u64 {
    // SAFETY: No preconditions.
    unsafe { bindings::cper_next_record_id() }
}

/// Writes the error record at the front of `record`.
///
/// Does not sleep: `EBUSY` if another CPU uses the table. Waits for firmware for as long as the
/// table says it may take. `EINVAL` if the record is larger than the table's buffer, or no error
/// record; `ENOSPC` if the store is full. Any context, NMI included.
pub(crate) fn write(record: &[u8]) -> Result {
    let length = record
        .get(LENGTH_AT..)
        .and_then(|rest| rest.first_chunk::<4>())
        .map(|bytes| u32::from_le_bytes(*bytes));
    let whole = length
        .and_then(|n| usize::try_from(n).ok())
        .is_some_and(|n| (RECORD_HEADER..=record.len()).contains(&n));
    if !whole {
        return Err(EINVAL);
    }
    // SAFETY: As many bytes are read as the header says, and there are as many. The header is
    // packed and needs no alignment.
    to_result(unsafe { bindings::erst_write(record.as_ptr().cast()) })
}

/// Reads a record and answers with its length, which is more than there is room for if it is larger
/// than `to`; then nothing is read. `ENOENT` if there is none. Task context.
pub(crate) fn read(id: u64, to: &mut [u8]) -> Result<usize> {
    // SAFETY: No more is written than there is room for. The header is packed.
    let n = unsafe { bindings::erst_read(id, to.as_mut_ptr().cast(), to.len()) };
    match usize::try_from(n) {
        Ok(n) => Ok(n),
        // CAST: An errno is small.
        Err(_) => Err(Error::from_errno(n as i32)),
    }
}

/// Calls `f` with the ids of the records there are, until it answers `false`. May sleep.
pub(crate) fn ids(f: &mut dyn FnMut(u64) -> bool) -> Result {
    let mut pos = 0;
    // SAFETY: `pos` is valid for writes.
    to_result(unsafe { bindings::erst_get_record_id_begin(&mut pos) })?;
    let result = loop {
        let mut id = INVALID_ID;
        // SAFETY: Between begin and end; `pos` is as the last call left it, and not the end.
        match to_result(unsafe { bindings::erst_get_record_id_next(&mut pos, &mut id) }) {
            Ok(()) if id == INVALID_ID || pos < 0 => break Ok(()),
            Ok(()) if f(id) => {}
            Ok(()) => break Ok(()),
            Err(e) => break Err(e),
        }
    };
    // SAFETY: After a begin that succeeded.
    unsafe { bindings::erst_get_record_id_end() };
    result
}

/// Erases a record; `ENOENT` if there is none. May sleep.
pub(crate) fn clear(id: u64) -> Result {
    // SAFETY: No preconditions.
    to_result(unsafe { bindings::erst_clear(id) })
}
