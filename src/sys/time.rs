// SPDX-License-Identifier: GPL-2.0

//! Clocks that may be read in any context, NMI included.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use mpstore_bindings as bindings;

/// Nanoseconds since the Unix epoch.
///
/// NMI-safe; may be off by a little around an update of the clock, which a record's time stamp can
/// stand.
pub(crate) fn real_ns() -> u64 {
    // SAFETY: The fast accessors are lockless and have no preconditions.
    unsafe { bindings::ktime_get_real_fast_ns() }
}

/// Nanoseconds since boot as printk counts them, so that stamps compare with the kernel log's.
///
/// NMI-safe.
pub(crate) fn log_ns() -> u64 {
    // SAFETY: `local_clock()` has no preconditions.
    unsafe { bindings::mpstore_local_clock() }
}
