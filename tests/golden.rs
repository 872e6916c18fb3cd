// SPDX-License-Identifier: GPL-2.0

//! Reads what the C code wrote. `golden/README.md` tells where the images come from.

use mpstore_format::{
    ecc::{
        repair_zone,
        seal_zone,
        Codec,
        EccGeometry,
        Repair, //
    },
    ftrace::{
        Merge,
        Run, //
    },
    layout::{
        RamLayout,
        RamSizes,
        Zone,
        ZoneKind, //
    },
    ram::{
        ftrace_signature,
        split_zone,
        zone_text,
        Garbage,
        Header,
        Ring,
        HEADER_BYTES,
        SIGNATURE, //
    },
    record::{
        DmesgHeader,
        Stamp,
        DMESG_HEADER_MAX, //
    },
    text::{
        head_line,
        HeadLine,
        Reason,
        HEAD_LINE_MAX, //
    },
    Error,
};

const REGION: &[u8] = include_bytes!("golden/c-ramoops-64k-ecc16.img");
const FIXED_HUFFMAN: &[u8] = include_bytes!("golden/c-ramoops-fixedhuffman-0b.bin");

/// LINUX_VERSION_CODE of the kernel that wrote the images.
const VERSION: u32 = 0x07_03_04;
const ECC_SIZE: usize = 16;

fn layout() -> RamLayout {
    RamLayout::new(&RamSizes {
        mem_size: REGION.len(),
        record_size: 0x1000,
        console_size: 0x2000,
        ftrace_size: 0x1000,
        pmsg_size: 0x1000,
        tty_size: 0,
        ftrace_zones: 2,
        ecc_size: ECC_SIZE,
    })
    .unwrap()
}

fn signature(kind: ZoneKind) -> u32 {
    match kind {
        ZoneKind::Ftrace => ftrace_signature(VERSION),
        _ => SIGNATURE,
    }
}

fn text(kind: ZoneKind, zone: Zone) -> Vec<u8> {
    zone_text(zone.of(REGION), signature(kind), ECC_SIZE)
        .unwrap()
        .concat()
}

fn inflate(deflated: &[u8]) -> Vec<u8> {
    miniz_oxide::inflate::decompress_to_vec(deflated).unwrap()
}

/// Header line, first line, all text after decompression.
fn record(text: &[u8]) -> (DmesgHeader, HeadLine, String) {
    let (header, len) = DmesgHeader::parse(text).unwrap();
    assert!(header.compressed);
    let text = inflate(&text[len..]);
    let (head, len) = HeadLine::parse(&text).unwrap();
    // Both lines come out again as they went in.
    let mut out = [0; HEAD_LINE_MAX];
    assert_eq!(head_line(&mut out, head.reason, head.count, head.part), len);
    assert_eq!(out[..len], text[..len]);
    (header, head, String::from_utf8(text).unwrap())
}

#[test]
fn every_zone_is_where_the_layout_says() {
    let zones: Vec<_> = layout()
        .zones()
        .map(|(kind, index, zone)| {
            let (header, _) = split_zone(zone.of(REGION)).unwrap();
            assert_eq!(header.sig, signature(kind), "{kind:?} {index}");
            (
                kind.as_str(),
                zone.offset,
                zone.len,
                header.start,
                header.size,
            )
        })
        .filter(|(_, _, _, _, size)| *size != 0)
        .collect();
    assert_eq!(
        zones,
        [
            ("dmesg", 0x0000, 0x1000, 2318, 2318),
            ("dmesg", 0x1000, 0x1000, 1825, 1825),
            ("dmesg", 0x2000, 0x1000, 1407, 1407),
            ("console", 0xc000, 0x2000, 4130, 7252),
            ("pmsg", 0xe000, 0x1000, 58, 58),
            ("ftrace", 0xf000, 0x800, 120, 120),
            ("ftrace", 0xf800, 0x800, 72, 72),
        ]
    );
    assert_eq!(layout().dmesg_count(), 12);
    assert_eq!(layout().ftrace_count(), 2);
    assert_eq!(layout().tty(), None);
}

#[test]
fn records_are_read() {
    let layout = layout();
    let expected = [
        (1_795_229_824, 301_610, Reason::Oops, 5986),
        (1_795_229_824, 560_708, Reason::Oops, 5995),
        (1_795_229_825, 539_237, Reason::Panic, 5991),
    ];
    for (index, (sec, usec, reason, len)) in expected.into_iter().enumerate() {
        let zone = layout.dmesg(index).unwrap();
        let stored = text(ZoneKind::Dmesg, zone);
        let (header, head, text) = record(&stored);
        assert_eq!(header.stamp, Stamp { sec, usec });
        assert_eq!(head.reason, reason);
        assert_eq!(head.count, index as u64 + 1);
        assert_eq!(head.part, 1);
        assert_eq!(text.len(), len);
        // The header line comes out again as it went in.
        let mut out = [0; DMESG_HEADER_MAX];
        let len = header.encode(&mut out);
        assert_eq!(out[..len], stored[..len]);

        let last = text.lines().last().unwrap();
        match reason {
            Reason::Oops => assert_eq!(last, "<4>---[ end trace 0000000000000000 ]---"),
            _ => assert!(text.contains("<0>Kernel panic - not syncing: sysrq triggered crash\n")),
        }
    }
    for index in expected.len()..layout.dmesg_count() {
        assert!(text(ZoneKind::Dmesg, layout.dmesg(index).unwrap()).is_empty());
    }
}

#[test]
fn the_console_is_put_in_order() {
    let text = text(ZoneKind::Console, layout().console().unwrap());
    let text = String::from_utf8(text).unwrap();
    assert_eq!(text.len(), 7252);
    assert!(text.starts_with("sc-early\npnp: PnP ACPI init\n"));
    assert!(text.ends_with("\nRebooting in 3 seconds..\n"));
    // Here the ring wraps.
    assert!(text.contains("\nRIP: "));
    let wrap = text.len() - 4130;
    assert_eq!(&text[wrap..wrap + 9], "be78\nRDX:");
    let panics = text
        .matches("Kernel panic - not syncing: sysrq triggered crash")
        .count();
    assert_eq!(panics, 1);
}

#[test]
fn the_message_from_user_space_is_read() {
    assert_eq!(
        text(ZoneKind::Pmsg, layout().pmsg().unwrap()),
        b"Testing pstore: uuid=56d215a0-9113-4edc-89d1-f1b9848f5ace\n"
    );
}

#[test]
fn trace_zones_hold_whole_records() {
    let layout = layout();
    let mut seen = Vec::new();
    for cpu in 0..layout.ftrace_count() {
        for record in text(ZoneKind::Ftrace, layout.ftrace(cpu).unwrap()).chunks(24) {
            let word = |at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
            assert_eq!(word(0), 0xffff_ffff_8123_1a34);
            assert_eq!(word(8), 0xffff_ffff_8124_8ad5);
            // The lowest byte is the CPU, the others are a number in sequence.
            assert_eq!(word(16) & 0xff, cpu as u64);
            seen.push(word(16) >> 8);
        }
    }
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3, 4, 5, 6, 7]);
}

#[test]
fn trace_zones_merge_into_one_order() {
    let layout = layout();
    let contents: Vec<_> = (0..layout.ftrace_count())
        .map(|cpu| text(ZoneKind::Ftrace, layout.ftrace(cpu).unwrap()))
        .collect();
    let mut runs: Vec<_> = (0..)
        .zip(&contents)
        .map(|(cpu, content)| Run::new(content, cpu))
        .collect();
    let all: Vec<_> = Merge::new(&mut runs).collect();
    assert!((0..8).eq(all.iter().map(|(_, record)| record.sequence())));
    for (cpu, record) in all {
        assert_eq!(usize::from(record.cpu()), cpu);
        assert_eq!(record.ip, 0xffff_ffff_8123_1a34);
    }
}

#[test]
fn trace_of_another_kernel_is_refused() {
    let zone = layout().ftrace(0).unwrap();
    assert_eq!(
        zone_text(zone.of(REGION), ftrace_signature(VERSION + 1), ECC_SIZE),
        Err(Error::Garbage(Garbage::Signature(0x4340_4140)))
    );
}

#[test]
fn all_parity_is_the_one_computed_here() {
    let codec = Codec::new(ECC_SIZE).unwrap();
    let parity = |data: &[u8]| {
        let mut parity = [0; ECC_SIZE];
        codec.encode(data, &mut parity);
        parity
    };
    let mut blocks = 0;
    for (kind, index, zone) in layout().zones() {
        let bytes = zone.of(REGION);
        let geometry = EccGeometry::new(zone.len, ECC_SIZE).unwrap();
        let (header, area) = split_zone(bytes).unwrap();
        let of_header = geometry.header_parity().unwrap();
        assert_eq!(of_header.end() + HEADER_BYTES, zone.len);
        assert_eq!(
            of_header.of(area),
            parity(&header.to_bytes()),
            "{kind:?} {index}"
        );
        let ring = Ring::check(header, signature(kind), geometry.capacity()).unwrap();
        for number in 0..ring.size().div_ceil(128) {
            let block = geometry.block(number).unwrap();
            assert_eq!(
                block.parity.of(area),
                parity(block.data.of(area)),
                "{kind:?} {index}, block {number}"
            );
            blocks += 1;
        }
    }
    assert_eq!(blocks, 19 + 15 + 11 + 57 + 1 + 1 + 1);
}

#[test]
fn nothing_needs_repair() {
    for (kind, _, zone) in layout().zones() {
        let mut bytes = zone.of(REGION).to_vec();
        assert_eq!(
            repair_zone(&mut bytes, signature(kind), ECC_SIZE),
            Ok(Repair::default())
        );
        assert_eq!(bytes, zone.of(REGION));
    }
}

#[test]
fn damage_is_repaired() {
    for (kind, _, zone) in layout().zones() {
        let geometry = EccGeometry::new(zone.len, ECC_SIZE).unwrap();
        let (header, _) = split_zone(zone.of(REGION)).unwrap();
        let ring = Ring::check(header, signature(kind), geometry.capacity()).unwrap();
        let mut bytes = zone.of(REGION).to_vec();
        // Eight bytes of the header, two of them in its parity, and eight of each block.
        let mut damaged = 8;
        for place in (0..12).step_by(2).chain([zone.len - 16, zone.len - 1]) {
            bytes[place] ^= 0x81;
        }
        for number in 0..ring.size().div_ceil(128) {
            let block = geometry.block(number).unwrap();
            for step in 0..7 {
                let place = block.data.at + step * block.data.len / 7;
                bytes[HEADER_BYTES + place] ^= 0xff;
            }
            bytes[HEADER_BYTES + block.parity.at + number % 16] ^= 1;
            damaged += 8;
        }
        assert_eq!(
            repair_zone(&mut bytes, signature(kind), ECC_SIZE),
            Ok(Repair {
                corrected: damaged,
                lost: 0
            })
        );
        assert_eq!(bytes, zone.of(REGION));
    }
}

#[test]
fn a_zone_written_here_is_the_same() {
    // The pmsg zone was written once from the front and nothing but zeros was there before.
    let zone = layout().pmsg().unwrap();
    let message = text(ZoneKind::Pmsg, zone);
    let geometry = EccGeometry::new(zone.len, ECC_SIZE).unwrap();
    let mut ring = Ring::empty(geometry.capacity());
    let plan = ring.append(message.len());
    let mut bytes = vec![0; zone.len];
    let [first, second] = plan.spans;
    assert_eq!((plan.skip, second.len), (0, 0));
    let at = HEADER_BYTES + first.at;
    bytes[at..at + first.len].copy_from_slice(&message);
    bytes[..HEADER_BYTES].copy_from_slice(&ring.header(SIGNATURE).to_bytes());
    seal_zone(&mut bytes, ECC_SIZE).unwrap();
    assert_eq!(bytes, zone.of(REGION));
}

#[test]
fn a_deflate_stream_that_begins_with_white_space_is_read() {
    let [stored, rest] = zone_text(FIXED_HUFFMAN, SIGNATURE, 0).unwrap();
    // `start` is `size` here, so all of it is in the second part.
    assert!(stored.is_empty());
    assert_eq!(rest.len(), 0x75);
    assert_eq!(rest[24], 0x0b);
    let (header, head, text) = record(rest);
    assert_eq!(
        header.stamp,
        Stamp {
            sec: 1_795_229_979,
            usec: 851_876
        }
    );
    assert_eq!(head.reason, Reason::Shutdown);
    assert_eq!(
        text,
        "Shutdown#1 Part1\n\
         <6>ACPI: PM: Preparing to enter system sleep state S5\n\
         <0>reboot: Restarting system\n"
    );
    assert_eq!(text.len(), 100);
}

#[test]
fn golden_header_bytes() {
    let (header, _) = split_zone(FIXED_HUFFMAN).unwrap();
    assert_eq!(
        header,
        Header {
            sig: SIGNATURE,
            start: 0x75,
            size: 0x75
        }
    );
    assert_eq!(header.to_bytes(), FIXED_HUFFMAN[..HEADER_BYTES]);
}
