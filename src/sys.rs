// SPDX-License-Identifier: GPL-2.0

//! Safe wrappers around the C API that the `kernel` crate lacks.
//!
//! This is the only place in `src/` that may contain `unsafe` code. Each file reads like a missing
//! `rust/kernel/*.rs` and knows nothing of mpstore.

#[cfg(CONFIG_BLOCK)]
pub(crate) mod bdev;
pub(crate) mod bell;
pub(crate) mod bytes;
pub(crate) mod console;
pub(crate) mod context;
pub(crate) mod cpu;
pub(crate) mod crash_dump;
#[cfg(all(CONFIG_BLOCK, CONFIG_FS_DAX))]
pub(crate) mod dax;
pub(crate) mod debugfs;
#[cfg(all(CONFIG_BLOCK, CONFIG_PCI))]
pub(crate) mod delay;
#[cfg(all(CONFIG_BLOCK, CONFIG_PCI))]
pub(crate) mod dmabuf;
#[cfg(CONFIG_EFI)]
pub(crate) mod efivar;
pub(crate) mod errno;
#[cfg(CONFIG_ACPI_APEI)]
pub(crate) mod erst;
pub(crate) mod file;
#[cfg(CONFIG_FPROBE)]
pub(crate) mod fprobe;
#[cfg(all(CONFIG_FUNCTION_TRACER, CONFIG_DYNAMIC_FTRACE))]
pub(crate) mod ftrace;
mod hooked;
pub(crate) mod inline_atomic;
pub(crate) mod kallsyms;
#[cfg(CONFIG_KEXEC_HANDOVER)]
pub(crate) mod kho;
pub(crate) mod kmsg_dump;
#[cfg(CONFIG_KRETPROBES)]
pub(crate) mod kretprobe;
pub(crate) mod mem;
pub(crate) mod miscdev;
#[cfg(CONFIG_MTD)]
pub(crate) mod mtd;
#[cfg(all(CONFIG_BLOCK, CONFIG_PCI))]
pub(crate) mod notify;
pub(crate) mod other_fs;
pub(crate) mod param;
#[cfg(all(CONFIG_BLOCK, CONFIG_PCI))]
pub(crate) mod pci;
pub(crate) mod platform;
#[cfg(all(CONFIG_BLOCK, CONFIG_PCI))]
pub(crate) mod random;
pub(crate) mod raw_lock;
pub(crate) mod reboot;
pub(crate) mod shrinker;
pub(crate) mod slots;
pub(crate) mod staging;
pub(crate) mod sysctl;
pub(crate) mod time;
pub(crate) mod tty;
pub(crate) mod vfs;
pub(crate) mod zlib;
pub(crate) mod zstd;

/// Why compressed bytes can't be decompressed.
#[derive(Clone, Copy, PartialEq, Eq)]
// A kernel without the libraries has one reason only.
#[allow(dead_code)]
pub(crate) enum Damage {
    /// They are no compressed stream.
    Invalid,
    /// They are the beginning of one.
    Cut,
    /// They are more than was allowed for.
    TooLong,
    /// This kernel can't do it.
    Unsupported,
}
