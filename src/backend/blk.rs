// SPDX-License-Identifier: GPL-2.0

//! Zones on a block device, in the byte format of the in-tree pstore_zone.

pub(crate) mod panic_io;
