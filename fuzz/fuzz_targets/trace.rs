// SPDX-License-Identifier: GPL-2.0

//! Records of the function trace, any number of zones merged, and what tells their addresses.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::ftrace::{
    self,
    kaslr_offset,
    Merge,
    Run,
    Slide, //
};

mod take;

fuzz_target!(|data: &[u8]| {
    let Some((image, p)) = take::take::<4>(data) else {
        return;
    };
    let _ = kaslr_offset(image);
    let pieces: Vec<_> = image
        .chunks(usize::from(u16::from_le_bytes([p[0], p[1]])).max(256))
        .collect();
    let mut runs: Vec<_> = (0..).zip(&pieces).map(|(i, z)| Run::new(z, i)).collect();
    let slide = Slide::new(p[2].into(), u64::from(p[3]) << 56, 1 << 31);
    let mut count = 0;
    for (index, record) in Merge::new(&mut runs) {
        assert!(index < pieces.len());
        let _ = (
            slide.decode(record.ip),
            slide.decode_foreign(record.parent_ip),
        );
        count += 1;
    }
    assert_eq!(
        count,
        pieces.iter().map(|z| ftrace::count(z)).sum::<usize>()
    );
});
