// SPDX-License-Identifier: GPL-2.0

//! Reed-Solomon over any bytes: what is put right is a code word.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::{
    ecc::{
        repair_zone,
        seal_zone,
        Codec,
        BLOCK_BYTES, //
    },
    ram::SIGNATURE,
};

mod take;

fuzz_target!(|data: &[u8]| {
    let Some((image, [ecc_size, split])) = take::take::<2>(data) else {
        return;
    };
    let ecc_size = usize::from(ecc_size);
    let mut zone = image.to_vec();
    let _ = repair_zone(&mut zone, SIGNATURE, ecc_size);
    if seal_zone(&mut zone, ecc_size).is_ok() {
        if let Ok(repair) = repair_zone(&mut zone, SIGNATURE, ecc_size) {
            assert_eq!((repair.corrected, repair.lost), (0, 0));
        }
    }
    let Ok(codec) = Codec::new(ecc_size) else {
        return;
    };
    let (data, parity) = image.split_at(image.len().min(split.into()).min(BLOCK_BYTES));
    let (mut data, mut parity) = (data.to_vec(), parity[..parity.len().min(255)].to_vec());
    let before = (data.clone(), parity.clone());
    match codec.decode(&mut data, &mut parity) {
        Ok(count) => {
            assert!(count <= ecc_size / 2);
            let mut expected = vec![0; ecc_size];
            codec.encode(&data, &mut expected);
            assert_eq!(expected, parity[..ecc_size]);
        }
        Err(_) => assert_eq!(before, (data, parity)),
    }
});
