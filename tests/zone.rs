// SPDX-License-Identifier: GPL-2.0

//! Zones of a block device: what the in-tree pstore_blk wrote is read to the byte, and whatever a
//! disk holds, the parser does not panic or believe something impossible.

use miniz_oxide::inflate::decompress_to_vec_with_limit;
use mpstore_format::{
    ftrace::{
        Merge,
        Run, //
    },
    probe,
    record::Stamp,
    zone::{
        dump_head,
        DumpInfo,
        Header,
        Slot,
        Sum,
        ZoneLayout,
        ZoneSizes,
        ZoneType,
        DUMP_OVERHEAD,
        HEADER_BYTES, //
    },
};

#[path = "believe/zone.rs"]
mod believe;
use believe::{
    believe,
    ring_of, //
};

const SIZES: ZoneSizes = ZoneSizes {
    bytes: 0x2_0000,
    block: 512,
    kmsg_size: 0x2000,
    pmsg_size: 0x1000,
    console_size: 0x2000,
    ftrace_size: 0x2000,
    tty_size: 0,
    cpus: 2,
};

fn image() -> Vec<u8> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/c-pstore-blk-128k.img"
    );
    std::fs::read(path).unwrap()
}

#[test]
fn what_the_in_tree_code_wrote() {
    let image = image();
    let layout = ZoneLayout::new(&SIZES, false).unwrap();
    assert_eq!(layout.dmesg_count(), 13);
    assert_eq!(believe(&image, &layout), Ok(4));

    let (ring, pmsg) = ring_of(layout.pmsg().unwrap().of(&image), ZoneType::Pmsg).unwrap();
    assert_eq!((ring.size(), ring.start()), (47, 47));
    assert_eq!(
        pmsg,
        b"d1cc8821-cdeflate one\n\0\xff\r\nd1cc8821-cdeflate two"
    );

    let (ring, console) = ring_of(layout.console().unwrap().of(&image), ZoneType::Console).unwrap();
    assert_eq!((ring.size(), ring.start()), (0x1ff4, 0x1d2a));
    let console = String::from_utf8(console).unwrap();
    assert!(console.contains("d1cc8821-cdeflate kmsg\n"));
    assert!(console.ends_with('\n'));

    let traces: Vec<_> = (0..layout.ftrace_count())
        .map(|i| ring_of(layout.ftrace(i).unwrap().of(&image), ZoneType::Ftrace))
        .map(|ring| ring.map_or(Vec::new(), |(_, text)| text))
        .collect();
    let mut runs: Vec<_> = traces
        .iter()
        .enumerate()
        .map(|(i, t)| Run::new(t, i))
        .collect();
    let records: Vec<_> = Merge::new(&mut runs).collect();
    assert!(!records.is_empty());
    assert!(records
        .windows(2)
        .all(|w| w[0].1.sequence() < w[1].1.sequence()));
    assert!(records.iter().all(|(i, r)| usize::from(r.cpu()) == *i));

    let zone = layout.dmesg(0).unwrap().of(&image);
    let Slot::Dump(dump) = Slot::parse(zone.first_chunk().unwrap(), zone.len()) else {
        panic!();
    };
    let info = DumpInfo {
        stamp: Stamp {
            sec: 0x6b01_7be6,
            usec: 0x0596_663b / 1000,
        },
        compressed: true,
        counter: 1,
        reason: 2,
    };
    assert_eq!((dump.info, dump.text_len()), (info, 0x1459 - 40));
    let text = &zone[DUMP_OVERHEAD..][..dump.text_len()];
    assert_eq!(dump.intact(text), None);
    let text = decompress_to_vec_with_limit(text, 1 << 20).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.starts_with("Oops#1 Part1\n"));
    assert!(text.contains("d1cc8821-cdeflate kmsg\n"));

    // No sign of something else.
    let mut piece = [0; 4096];
    let found = probe::identify(image.len() as u64, &mut piece, &mut |at, to| {
        to.copy_from_slice(&image[at as usize..][..to.len()]);
        true
    });
    assert_eq!(found, None);
}

/// What is encoded anew from what was read is what the in-tree code wrote, the checksum aside.
#[test]
fn the_same_bytes_again() {
    let image = image();
    let layout = ZoneLayout::new(&SIZES, false).unwrap();
    for (kind, zone) in layout.zones() {
        let bytes = zone.of(&image);
        match kind {
            ZoneType::Dmesg => {
                let head = bytes.first_chunk().unwrap();
                let Slot::Dump(dump) = Slot::parse(head, zone.len) else {
                    continue;
                };
                let text = &bytes[DUMP_OVERHEAD..][..dump.text_len()];
                let mut sum = Sum::new(&dump.info, text.len());
                sum.add(text);
                let mut made = dump_head(&dump.info, text.len(), sum);
                let Slot::Dump(again) = Slot::parse(&made, zone.len) else {
                    panic!();
                };
                assert_eq!(again.intact(text), Some(true));
                // The holes, and what is finer than a microsecond.
                for hole in [16..20, 48..52, 28..32] {
                    made[hole.clone()].copy_from_slice(&head[hole]);
                }
                assert_eq!(made, *head);
            }
            _ => {
                let Some((ring, _)) = ring_of(bytes, kind) else {
                    continue;
                };
                assert_eq!(
                    Header::of_ring(kind, &ring).to_bytes(),
                    bytes[..HEADER_BYTES]
                );
            }
        }
    }
}

/// Knuth's, as good as any.
struct Random(u64);

impl Random {
    fn number(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.number() % n as u64).unwrap()
    }
}

/// Rounds and seed: `MPSTORE_FUZZ=ROUNDS[,SEED]`, or some and always the same.
fn fuzz() -> (u64, u64) {
    let given = std::env::var("MPSTORE_FUZZ").unwrap_or_default();
    let mut numbers = given.split(',').map(|n| n.parse().ok());
    let rounds = numbers.next().flatten().unwrap_or(12_000);
    let seed = numbers.next().flatten().unwrap_or(0x6d70_7374_6f72_6521);
    (rounds, seed.max(1))
}

#[test]
fn damaged_disks_are_never_believed_too_much() {
    let (rounds, seed) = fuzz();
    println!("{rounds} rounds, seed {seed}");
    let mut random = Random(seed);
    let whole = image();
    let mut counts = [0u64; 8];
    for round in 0..rounds {
        let mut image = whole.clone();
        let sizes = ZoneSizes {
            tty_size: 0x1000 * random.below(3),
            cpus: 1 + random.below(5),
            ..SIZES
        };
        let layout = ZoneLayout::new(&sizes, random.below(2) == 0).unwrap();
        // A dump with a checksum beside the one without.
        let zone = layout.dmesg(1).unwrap();
        let text = vec![b'x'; random.below(zone.len - DUMP_OVERHEAD)];
        let info = DumpInfo {
            counter: 3,
            reason: 1,
            ..DumpInfo::default()
        };
        let mut sum = Sum::new(&info, text.len());
        sum.add(&text);
        image[zone.offset..][..DUMP_OVERHEAD].copy_from_slice(&dump_head(&info, text.len(), sum));
        image[zone.offset + DUMP_OVERHEAD..][..text.len()].copy_from_slice(&text);

        let zones: Vec<_> = layout.zones().collect();
        for _ in 0..1 + random.below(4) {
            let (_, zone) = zones[random.below(zones.len())];
            // Mostly where it counts.
            let most = if random.below(4) == 0 {
                zone.len - 8
            } else {
                DUMP_OVERHEAD
            };
            let at = zone.offset + random.below(most);
            let number = match random.below(4) {
                0 => random.number(),
                1 => u64::MAX - random.number() % 64,
                2 => zone.len as u64 + random.number() % 128 - 64,
                _ => random.number() % 128,
            };
            match random.below(4) {
                0 => image[at] ^= 1 << random.below(8),
                1 => image[at & !3..][..4].copy_from_slice(&(number as u32).to_ne_bytes()),
                2 => image[at & !7..][..8].copy_from_slice(&number.to_ne_bytes()),
                _ => {
                    let from = zones[random.below(zones.len())].1.offset;
                    let part = image[from..][..DUMP_OVERHEAD].to_vec();
                    image[zone.offset..][..DUMP_OVERHEAD].copy_from_slice(&part);
                }
            }
        }
        match believe(&image, &layout) {
            Ok(found) => counts[found.min(7)] += 1,
            Err(e) => panic!("round {round} of seed {seed}: {e}"),
        }
    }
    // Neither is everything refused nor does everything pass.
    assert!(
        counts.iter().filter(|n| **n > rounds / 100).count() >= 3,
        "{counts:?}"
    );
}

/// A record that was cut anywhere while it was written, in the order in which it is written, is
/// whole or not there.
#[test]
fn a_dump_is_there_or_not() {
    const BLOCK: usize = 512;
    let old: Vec<u8> = (0..0x2000u32).map(|n| (n % 251) as u8).collect();
    let text: Vec<u8> = (0..5000u32).map(|n| (n % 241) as u8).collect();
    let info = DumpInfo {
        reason: 1,
        ..DumpInfo::default()
    };
    let mut sum = Sum::new(&info, text.len());
    sum.add(&text);
    let new = [&dump_head(&info, text.len(), sum)[..], &text].concat();
    let void = Header {
        sig: ZoneType::Dmesg.signature(),
        datalen: 0,
        start: 0,
    };
    let mut steps: Vec<(usize, Vec<u8>)> = vec![(0, void.to_bytes().to_vec())];
    for at in (BLOCK..new.len()).step_by(BLOCK) {
        steps.push((at, new[at..new.len().min(at + BLOCK)].to_vec()));
    }
    steps.push((0, new[..BLOCK].to_vec()));
    let mut zone = old;
    let last = steps.len();
    for (n, (at, bytes)) in steps.into_iter().enumerate() {
        zone[at..at + bytes.len()].copy_from_slice(&bytes);
        let slot = Slot::parse(zone.first_chunk().unwrap(), zone.len());
        match (n + 1 == last, slot) {
            (true, Slot::Dump(dump)) => {
                assert_eq!(
                    dump.intact(&zone[DUMP_OVERHEAD..][..text.len()]),
                    Some(true)
                );
            }
            (false, Slot::Erased(_)) => {}
            other => panic!("{n}: {other:?}"),
        }
    }
}
