// SPDX-License-Identifier: GPL-2.0

//! Time that passes by counting, when nothing else counts any more.
//!
//! C header: [`include/linux/delay.h`](srctree/include/linux/delay.h)

use mpstore_bindings as bindings;

/// Does nothing for so many microseconds, at most 1000. Any context.
pub(crate) fn busy_us(us: u32) {
    // SAFETY: No preconditions.
    unsafe { bindings::mpstore_udelay(us.min(1000)) };
}

/// The processor's counter and how many counts a millisecond has, zero if that is not known. Any
/// context.
pub(crate) fn counter() -> (u64, u64) {
    // SAFETY: No preconditions.
    unsafe {
        (
            bindings::mpstore_cycles(),
            bindings::mpstore_cycles_per_ms(),
        )
    }
}
