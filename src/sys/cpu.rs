// SPDX-License-Identifier: GPL-2.0

//! Processors.
//!
//! C header: [`include/linux/cpumask.h`](srctree/include/linux/cpumask.h)

/// How many CPU numbers there can be in this boot.
pub(crate) fn possible_ids() -> usize {
    // CAST: A count of CPUs.
    kernel::cpu::nr_cpu_ids() as usize
}
