// SPDX-License-Identifier: GPL-2.0

//! Notes with a region in a vmcore.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::{
    device_dump::{
        complete,
        DeviceDump,
        HEADER_BYTES, //
    },
    layout::RamLayout,
};

mod take;

fuzz_target!(|data: &[u8]| {
    let Some((image, [how])) = take::take::<1>(data) else {
        return;
    };
    let mut image = image.to_vec();
    if let Ok(dump) = DeviceDump::parse(&image) {
        assert!(dump.data().len() + HEADER_BYTES <= image.len());
        let _ = (
            dump.name(),
            dump.kind(),
            dump.address(),
            RamLayout::new(&dump.sizes()),
        );
        let sizes = dump.sizes();
        // Made anew with the sizes that it told, it says the same again.
        if how & 1 != 0 {
            complete(&mut image, b"again", 1, &sizes);
            let again = DeviceDump::parse(&image).expect("not what was written");
            assert_eq!(again.sizes().record_size, sizes.record_size);
        }
    }
});
