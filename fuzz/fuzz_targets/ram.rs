// SPDX-License-Identifier: GPL-2.0

//! Regions of persistent RAM in any division.

#![no_main]

use libfuzzer_sys::fuzz_target;
use mpstore_format::{
    layout::{
        RamLayout,
        RamSizes, //
    },
    ram::Ring,
    text::HeadLine,
};

#[allow(dead_code)]
#[path = "../../tests/guest/regions.rs"]
mod regions;
mod take;

fuzz_target!(|data: &[u8]| {
    let Some((image, p)) = take::take::<8>(data) else {
        return;
    };
    let size = |p: u8| usize::from(p) << 6;
    let sizes = RamSizes {
        mem_size: image.len(),
        record_size: size(p[0]),
        console_size: size(p[1]),
        ftrace_size: size(p[2]),
        pmsg_size: size(p[3]),
        tty_size: size(p[4]),
        ftrace_zones: usize::from(p[5] & 7),
        ecc_size: usize::from(p[6]),
    };
    let Ok(layout) = RamLayout::new(&sizes) else {
        return;
    };
    for (_, _, zone) in layout.zones() {
        assert!(zone.offset + zone.len <= image.len());
    }
    let machine = regions::Machine {
        cpus: sizes.ftrace_zones.max(1),
        version: 0x07_03_04,
        mem_most: image.len(),
    };
    for record in regions::records(image, &sizes, &machine) {
        assert!(record.skip <= record.content.len());
        if let Some((_, len)) = HeadLine::parse(record.payload()) {
            assert!(len <= record.payload().len());
        }
    }
    // A ring that counters give goes on in bounds.
    if let Some(counters) = image.first_chunk::<8>() {
        let word = |at: usize| {
            counters[at..at + 4]
                .try_into()
                .map_or(0, u32::from_le_bytes)
        };
        if let Some(mut ring) = Ring::of([word(0), word(4)], size(p[7])) {
            let plan = ring.append(image.len());
            for span in plan.spans.into_iter().chain(ring.linear()) {
                assert!(span.at + span.len <= size(p[7]));
            }
        }
    }
});
