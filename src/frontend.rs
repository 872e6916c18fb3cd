// SPDX-License-Identifier: GPL-2.0

//! Frontends: what catches what the machine says.
//!
//! A frontend knows the dispatcher, never a backend. It starts when it is made and stops when it is
//! dropped.

pub(crate) mod console;
pub(crate) mod dmesg;
#[cfg(all(CONFIG_FUNCTION_TRACER, CONFIG_DYNAMIC_FTRACE))]
pub(crate) mod ftrace;
#[cfg(not(all(CONFIG_FUNCTION_TRACER, CONFIG_DYNAMIC_FTRACE)))]
#[path = "frontend/no_ftrace.rs"]
pub(crate) mod ftrace;
pub(crate) mod pmsg;
pub(crate) mod tty;
