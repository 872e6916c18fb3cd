// SPDX-License-Identifier: GPL-2.0

//! Zones of a block device in any division.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::zone::{
    ZoneLayout,
    ZoneSizes, //
};

#[path = "../../tests/believe/zone.rs"]
mod believe;
mod take;

fuzz_target!(|data: &[u8]| {
    let Some((image, p)) = take::take::<8>(data) else {
        return;
    };
    let size = |p: u8| usize::from(p) << 9;
    let sizes = ZoneSizes {
        bytes: image.len() as u64,
        block: [512, 4096][usize::from(p[6] & 1)],
        kmsg_size: size(p[0]),
        pmsg_size: size(p[1]),
        console_size: size(p[2]),
        ftrace_size: size(p[3]),
        tty_size: size(p[4]),
        cpus: usize::from(p[5] & 7),
    };
    if let Ok(layout) = ZoneLayout::new(&sizes, p[7] & 1 != 0) {
        if let Err(what) = believe::believe(image, &layout) {
            panic!("{what}");
        }
    }
});
