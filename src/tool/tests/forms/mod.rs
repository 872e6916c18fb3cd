// SPDX-License-Identifier: GPL-2.0

//! Sources of all forms, made after their formats' descriptions, for the tests of the program and for
//! those of its parsers.

use mpstore_format::{
    device_dump,
    ecc::{seal_zone, EccGeometry},
    kho,
    layout::{RamLayout, RamSizes, ZoneKind},
    ram::{Ring, HEADER_BYTES, SIGNATURE},
    record::{DmesgHeader, Stamp, DMESG_HEADER_MAX},
    zone,
};
use zerocopy::IntoBytes as _;

pub(crate) const PAGE: usize = 4096;
/// Where the region is in dumps of memory.
pub(crate) const AT: u64 = 0x18_0000;

/// A region that mpstore wrote, with all kinds of records.
pub(crate) fn region(ecc_size: usize) -> (Vec<u8>, RamSizes) {
    let sizes = RamSizes {
        mem_size: 0x20000,
        record_size: 0x2000,
        console_size: 0x2000,
        ftrace_size: 0x2000,
        pmsg_size: 0x1000,
        tty_size: 0x2000,
        ftrace_zones: 2,
        ecc_size,
    };
    let layout = RamLayout::new(&sizes).unwrap();
    let mut bytes = vec![0; sizes.mem_size];
    for (kind, index, zone) in layout.zones() {
        let dump = |sec, title: &str, lines: &str| {
            let mut line = [0; DMESG_HEADER_MAX];
            let stamp = Stamp { sec, usec: 500_000 };
            let len = DmesgHeader {
                stamp,
                compressed: false,
            }
            .encode(&mut line);
            [&line[..len], title.as_bytes(), lines.as_bytes()].concat()
        };
        let text = match (kind, index) {
            (ZoneKind::Dmesg, 0) => dump(
                1_795_230_010,
                "Oops#1 Part1\n",
                "<6>[    8.000000] before\n<1>[   10.000000] BUG: kernel NULL pointer dereference\n",
            ),
            (ZoneKind::Dmesg, 1) => dump(
                1_795_230_020,
                "Panic#2 Part1\n",
                "<1>[   10.000000] BUG: kernel NULL pointer dereference\n\
                 <0>[   20.000000] Kernel panic - not syncing: test\n",
            ),
            (ZoneKind::Console, _) => b"[    8.000000] before\n[   10.000000] BUG: kernel NULL pointer dereference\n\
                [   20.000000] Kernel panic - not syncing: test\n[   20.000100] Rebooting in 3 seconds..\n"
                .to_vec(),
            (ZoneKind::Pmsg, _) => b"a message\nanother\n".to_vec(),
            (ZoneKind::Tty, _) => b"[    9.000000] ttyS0: login: ro\n[    9.500000] tty2: elsewhere\n\
                [   11.000000] ttyS0+ ot\n"
                .to_vec(),
            (ZoneKind::Ftrace, cpu) => (0..3u64)
                .flat_map(|n| {
                    let stamp = ((n * 2 + cpu as u64) << 8) | cpu as u64;
                    [0xffff_ffff_8123_1a34u64, 0xffff_ffff_8124_8ad5, stamp]
                })
                .flat_map(u64::to_le_bytes)
                .collect(),
            _ => Vec::new(),
        };
        let sig = match kind {
            ZoneKind::Ftrace => SIGNATURE ^ 0x07_03_04,
            _ => SIGNATURE,
        };
        let zone = zone.of_mut(&mut bytes);
        let mut ring = Ring::empty(EccGeometry::new(zone.len(), ecc_size).unwrap().capacity());
        let plan = ring.append(text.len());
        assert_eq!((plan.skip, plan.spans[1].len), (0, 0));
        zone[HEADER_BYTES..HEADER_BYTES + text.len()].copy_from_slice(&text);
        zone[..HEADER_BYTES].copy_from_slice(&ring.header(sig).to_bytes());
        seal_zone(zone, ecc_size).unwrap();
    }
    (bytes, sizes)
}

pub(crate) fn note(name: &str, kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for word in [name.len() + 1, desc.len(), kind as usize] {
        out.extend(u32::try_from(word).unwrap().to_le_bytes());
    }
    out.extend(name.bytes());
    out.push(0);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(desc);
    out.resize(out.len().next_multiple_of(4), 0);
    out
}

/// A 64 bit core file of memory in two segments, the second one first.
pub(crate) fn elf64(memory: &[u8], notes: &[u8]) -> Vec<u8> {
    let mut out = b"\x7fELF\x02\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend([4u8, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0u64, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 3, 64, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    let cut = 0x10_0000.min(memory.len() / 2);
    let at = 64 + 3 * 56;
    let (low, high) = memory.split_at(cut);
    let parts = [
        (4u32, 0u64, notes, at),
        (1, cut as u64, high, at + notes.len()),
        (1, 0, low, at + notes.len() + high.len()),
    ];
    for (kind, phys, bytes, offset) in parts {
        out.extend(kind.to_le_bytes());
        out.extend(7u32.to_le_bytes());
        let len = bytes.len() as u64;
        for word in [
            offset as u64,
            0xffff_8880_0000_0000 + phys,
            phys,
            len,
            len,
            0,
        ] {
            out.extend(word.to_le_bytes());
        }
    }
    out.extend(notes);
    out.extend(high);
    out.extend(low);
    out
}

pub(crate) fn elf32(memory: &[u8]) -> Vec<u8> {
    let mut out = b"\x7fELF\x01\x01\x01".to_vec();
    out.resize(16, 0);
    out.extend([4u8, 0, 3, 0, 1, 0, 0, 0]);
    for word in [0u32, 52, 0, 0] {
        out.extend(word.to_le_bytes());
    }
    for half in [52u16, 32, 1, 40, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    let len = u32::try_from(memory.len()).unwrap();
    for word in [1u32, 52 + 32, 0xc000_0000, 0, len, len, 7, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(memory);
    out
}

/// zstd's raw block, in which a decoder has all to do but entropy.
pub(crate) fn zstd_raw(page: &[u8]) -> Vec<u8> {
    let mut out = vec![0x28, 0xb5, 0x2f, 0xfd, 0x60];
    out.extend(u16::try_from(page.len() - 256).unwrap().to_le_bytes());
    out.extend(&(((page.len() as u32) << 3) | 1).to_le_bytes()[..3]);
    out.extend(page);
    out
}

/// A dump as makedumpfile writes it, every tenth page left out unless it is the region's.
pub(crate) fn kdump(memory: &[u8], how: u32, notes: &[u8]) -> Vec<u8> {
    let pages = memory.len() / PAGE;
    let bitmap_blocks = 2;
    let note_blocks = notes.len().div_ceil(PAGE);
    let sub_blocks = 1 + note_blocks;
    let mut head = b"KDUMP   ".to_vec();
    head.extend(6u32.to_le_bytes());
    head.resize(424, 0);
    for word in [1, PAGE, sub_blocks, bitmap_blocks, pages] {
        head.extend(u32::try_from(word).unwrap().to_le_bytes());
    }
    head.resize(PAGE, 0);
    let mut sub = vec![0; 104];
    sub[48..56].copy_from_slice(&(2 * PAGE as u64).to_le_bytes());
    sub[56..64].copy_from_slice(&(notes.len() as u64).to_le_bytes());
    sub[96..104].copy_from_slice(&(pages as u64).to_le_bytes());
    sub.resize(PAGE, 0);
    sub.extend(notes);
    sub.resize(sub_blocks * PAGE, 0);
    let kept = |page: usize| page % 10 != 9 || page * PAGE >= AT as usize;
    let mut bitmap = vec![0u8; PAGE];
    for page in (0..pages).filter(|page| kept(*page)) {
        bitmap[page / 8] |= 1 << (page % 8);
    }
    let count = (0..pages).filter(|page| kept(*page)).count();
    let (mut descs, mut data) = (Vec::new(), Vec::new());
    let data_at = (1 + sub_blocks + bitmap_blocks) * PAGE + count * 24;
    for page in (0..pages).filter(|page| kept(*page)) {
        let bytes = &memory[page * PAGE..(page + 1) * PAGE];
        let packed = match how {
            1 => miniz_oxide::deflate::compress_to_vec_zlib(bytes, 1),
            2 => lzokay_native::compress(bytes).unwrap(),
            4 => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
            0x20 => zstd_raw(bytes),
            _ => bytes.to_vec(),
        };
        // Pages that do not shrink are stored as they are, but let zstd's.
        let (flags, packed) = if packed.len() < PAGE || how == 0x20 {
            (how, packed)
        } else {
            (0, bytes.to_vec())
        };
        descs.extend(((data_at + data.len()) as u64).to_le_bytes());
        descs.extend(u32::try_from(packed.len()).unwrap().to_le_bytes());
        descs.extend(flags.to_le_bytes());
        descs.extend(0u64.to_le_bytes());
        data.extend(packed);
    }
    [head, sub, vec![0xff; PAGE], bitmap, descs, data].concat()
}

/// The flattened form, in pieces out of order, one of which is written twice, and without a block that
/// is all zeros, as QEMU leaves out the rest of a header's.
pub(crate) fn flattened(file: &[u8]) -> Vec<u8> {
    let mut out = b"makedumpfile\0\0\0\0".to_vec();
    out.extend(1u64.to_be_bytes());
    out.extend(1u64.to_be_bytes());
    out.resize(4096, 0);
    let mut piece = |at: usize, bytes: &[u8]| {
        out.extend((at as u64).to_be_bytes());
        out.extend((bytes.len() as u64).to_be_bytes());
        out.extend(bytes);
    };
    let half = file.len() / 2 + 123;
    piece(5000, &vec![0xee; 5000]);
    piece(half, &file[half..]);
    for (n, bytes) in file[..half].chunks(70_000).enumerate() {
        // The first piece is written in two, which a hole may be between.
        let hole = bytes
            .get(600..4096)
            .filter(|hole| n == 0 && hole.iter().all(|b| *b == 0));
        match hole {
            Some(_) => {
                piece(0, &bytes[..600]);
                piece(4096, &bytes[4096..]);
            }
            None => piece(n * 70_000, bytes),
        }
    }
    out.extend([0xff; 16]);
    out
}

/// The note that a crash kernel adds to its vmcore.
pub(crate) fn device_dump_note(region: &[u8], sizes: &RamSizes) -> Vec<u8> {
    let mut dump = vec![0; device_dump::HEADER_BYTES];
    dump.extend(region);
    device_dump::complete(&mut dump, b"ramoops", AT, sizes);
    let mut desc = b"mpstore-ramoops".to_vec();
    desc.resize(device_dump::NOTE_NAME_BYTES, 0);
    desc.extend(&dump);
    desc.resize(desc.len().next_multiple_of(PAGE), 0);
    note("LINUX", 0x700, &desc)
}

/// What the program `crash` writes of such a note: neither its name nor its owner's.
pub(crate) fn lone_note(region: &[u8], sizes: &RamSizes) -> Vec<u8> {
    let head = 12 + b"LINUX\0".len().next_multiple_of(4) + device_dump::NOTE_NAME_BYTES;
    device_dump_note(region, sizes).split_off(head)
}

/// Writes an index of kho with one generation, number and seconds of its begin as given, in `chunks`.
fn index(
    memory: &mut [u8],
    index_at: usize,
    (number, sec, sequence): (u64, u64, u64),
    chunks: &[kho::Chunk],
    sizes: &RamSizes,
) {
    let blob = &mut memory[index_at..index_at + kho::INDEX_BYTES];
    blob.fill(0);
    blob[..kho::HEADER_BYTES].copy_from_slice(kho::Header::new(4096).as_bytes());
    let at = kho::Header::slot_at(sequence as usize % kho::SLOTS);
    let mut slot = kho::SlotWriter::new(&mut blob[at..at + kho::SLOT_ROOM]);
    slot.generation(&kho::Generation {
        number,
        start: Stamp { sec, usec: 0 },
        end: None,
        boot_id: [7; 16],
        release: kho::Generation::release_from(b"7.3.4"),
        open: true,
        mem_size: sizes.mem_size,
        layout: RamLayout::new(sizes).unwrap(),
        ecc_size: 0,
    })
    .unwrap();
    for chunk in chunks {
        slot.chunk(*chunk).unwrap();
    }
    slot.finish(sequence, number + 1).unwrap();
}

/// Memory with an index of kho, and its one generation in two pieces.
pub(crate) fn handed_over(region: &[u8], sizes: &RamSizes) -> Vec<u8> {
    let mut memory = vec![0x5a; 0x20_0000];
    // The first piece is the higher one.
    let chunks = [0x15_0000, 0x12_0000].map(|phys| kho::Chunk {
        phys,
        size: 0x1_0000,
    });
    index(
        &mut memory,
        0x10_0000,
        (7, 1_795_230_000, 5),
        &chunks,
        sizes,
    );
    memory[0x15_0000..0x16_0000].copy_from_slice(&region[..0x1_0000]);
    memory[0x12_0000..0x13_0000].copy_from_slice(&region[0x1_0000..]);
    memory
}

/// The same, with what a chain of kernels left before the machine was reset: an index with higher
/// numbers, in front of the one that counts or behind it, whose memory is in other use.
pub(crate) fn handed_over_anew(region: &[u8], sizes: &RamSizes, at: usize) -> Vec<u8> {
    let mut memory = handed_over(region, sizes);
    let chunk = kho::Chunk {
        phys: 0x16_0000,
        size: 0x2_0000,
    };
    index(&mut memory, at, (9, 1_795_229_000, 8), &[chunk], sizes);
    memory
}

/// A block device with zones of all kinds.
pub(crate) fn disk() -> Vec<u8> {
    let sizes = zone::ZoneSizes {
        bytes: 0x8_0000,
        block: 512,
        kmsg_size: 0x2000,
        pmsg_size: 0x1000,
        console_size: 0x2000,
        ftrace_size: 0x2000,
        tty_size: 0x2000,
        cpus: 2,
    };
    let layout = zone::ZoneLayout::new(&sizes, true).unwrap();
    let mut disk = vec![0; 0x8_0000];
    let mut ring = |kind: zone::ZoneType, place: mpstore_format::layout::Zone, text: &[u8]| {
        let mut ring = Ring::empty(place.len - zone::HEADER_BYTES);
        ring.append(text.len());
        let head = zone::Header::of_ring(kind, &ring).to_bytes();
        let place = place.of_mut(&mut disk);
        place[..zone::HEADER_BYTES].copy_from_slice(&head);
        place[zone::HEADER_BYTES..zone::HEADER_BYTES + text.len()].copy_from_slice(text);
    };
    ring(zone::ZoneType::Pmsg, layout.pmsg().unwrap(), b"a message\n");
    ring(
        zone::ZoneType::Console,
        layout.console().unwrap(),
        b"[    1.000000] a console\n",
    );
    ring(
        zone::ZoneType::Tty,
        layout.tty().unwrap(),
        b"[    2.000000] ttyS0: a tty\n",
    );
    for cpu in 0..2u64 {
        let words = [
            0xffff_ffff_8123_1a34u64,
            0xffff_ffff_8124_8ad5,
            (cpu << 8) | cpu,
        ];
        let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
        ring(
            zone::ZoneType::Ftrace,
            layout.ftrace(cpu as usize).unwrap(),
            &bytes,
        );
    }
    let mut dump = |index: usize, compressed: bool, text: &[u8], spoil: bool| {
        let stored = if compressed {
            miniz_oxide::deflate::compress_to_vec(text, 6)
        } else {
            text.to_vec()
        };
        let info = zone::DumpInfo {
            stamp: Stamp {
                sec: 1_795_230_075,
                usec: 90_760,
            },
            compressed,
            counter: 1,
            reason: 2,
        };
        let mut sum = zone::Sum::new(&info, stored.len());
        sum.add(&stored);
        let head = zone::dump_head(&info, stored.len(), sum);
        let place = layout.dmesg(index).unwrap().of_mut(&mut disk);
        place[..head.len()].copy_from_slice(&head);
        place[head.len()..head.len() + stored.len()].copy_from_slice(&stored);
        if spoil {
            place[head.len() + stored.len() - 1] ^= 1;
        }
    };
    dump(
        0,
        true,
        b"Oops#1 Part1\n<4>[    1.000000] compressed\n",
        false,
    );
    dump(1, false, b"Oops#1 Part2\n<4>[    0.500000] plain\n", false);
    dump(2, false, b"Oops#1 Part3\n<4>[    0.100000] torn\n", true);
    disk
}
