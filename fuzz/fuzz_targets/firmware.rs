// SPDX-License-Identifier: GPL-2.0

//! Names of EFI variables and records of ACPI ERST.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::{
    efi::{
        Name,
        NAME_UNITS, //
    },
    erst::{
        self,
        Found,
        HEADER_BYTES, //
    },
};

fuzz_target!(|data: &[u8]| {
    let units: Vec<u16> = data
        .chunks_exact(2)
        .map(|c| u16::from_le_bytes([c[0], c[1]]))
        .collect();
    if let Some(name) = Name::parse(&units) {
        let mut out = [0; NAME_UNITS];
        let len = name.encode(&mut out);
        // Erasing goes by the name: it must be the one that was found.
        assert_eq!(&out[..len], &units[..]);
    }
    if let Found::Dump(dump) = erst::parse(data) {
        assert!(dump.content.len() + HEADER_BYTES <= data.len());
    }
    let _ = erst::exchange_bytes(data);
});
