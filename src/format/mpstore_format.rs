// SPDX-License-Identifier: GPL-2.0

//! What mpstore's media look like, byte for byte.
//!
//! Bytes go in and values come out, or the other way round. Nothing here allocates, logs, takes a
//! lock or reads a clock, so the same source serves the kernel module (compiled by Kbuild) and
//! the program, the tests and the fuzzers in user space (compiled by Cargo).
//!
//! Two rules hold throughout:
//!
//! - Bytes from a medium are hostile. Each parser checks once and hands out a type whose
//!   invariants make everything after it infallible.
//! - Whatever a crashing kernel calls is infallible, bounded and free of `core::fmt`. Its
//!   arithmetic saturates where the compiler cannot see that it never overflows, so that its object
//!   code has no way into `core::panicking`, overflow checks or not.

#![crate_name = "mpstore_format"]
#![cfg_attr(not(any(CONFIG_RUST, test)), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod device_dump;
pub mod dump;
pub mod ecc;
pub mod efi;
pub mod error;
pub mod erst;
pub mod ftrace;
pub mod kho;
pub mod layout;
pub mod probe;
mod put;
pub mod ram;
pub mod record;
pub mod takeover;
pub mod text;
pub mod tty;
pub mod zone;

pub use error::{
    Error,
    Result, //
};

/// Of the rounds of a test that tries everything, every so manyth: Miri takes a thousand times as long.
#[cfg(test)]
pub(crate) const STRIDE: usize = if cfg!(miri) { 61 } else { 1 };
