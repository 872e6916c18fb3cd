// SPDX-License-Identifier: GPL-2.0

//! The index that an earlier kernel hands over by kexec.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::kho::seal;

#[path = "../../tests/believe/kho.rs"]
mod believe;
mod take;

fuzz_target!(|data: &[u8]| {
    let Some((image, p)) = take::take::<4>(data) else {
        return;
    };
    let mut image = image.to_vec();
    // Behind a right checksum is where the rest can be reached.
    for slot in 0..2 {
        if p[0] & 1 << slot != 0 {
            seal(&mut image, slot, u16::from_le_bytes([p[2], p[3]]).into());
        }
    }
    if let Err(error) = believe::believe(&image) {
        assert!(!error.to_string().is_empty());
    }
});
